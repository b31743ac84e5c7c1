/* State of the loops that `tile` appends for one contraction. */
#ifndef CNNC_PASSES_TILE_EMIT_H
#define CNNC_PASSES_TILE_EMIT_H

#include "passes/tile_priv.h"

typedef enum PackMode {
    PACK_DROP,  /* the subscript is known where the operand is packed */
    PACK_INDEX, /* by the value of its only index */
    PACK_AXIS   /* by the subscript itself: the whole axis */
} PackMode;

/* A factor in the order [block of the packed index, other axes..., the packed index]. */
typedef struct Packed {
    BufId buf; /* id 0: read where it is */
    const LoopStmt *load;
    BufId from; /* what is copied: of load, without its first `apart` axes */
    int apart;
    DimSym along;
    int axis, width;
    bool by_block; /* it has several blocks */
    bool by_group; /* those of one group */
    bool by_chunk; /* all chunks of the reduction, one after the other */
    PackMode mode[MAX_RANK];
    TileLoop of[MAX_RANK]; /* PACK_INDEX */
    Dim left[MAX_RANK];    /* fewer than that, or NULL */
} Packed;

/* The copying of a dense buffer. */
typedef struct Apart {
    const DenseCopy *d; /* NULL: none */
    BufId dense;        /* the cells of its first `place` indices */
    int place;          /* so many items stand around it; 0: outside the jobs */
} Apart;

/* The copying of a dense buffer behind the tiles: tile_behind.c. */
typedef struct Behind {
    const DenseCopy *d;  /* of a factor or the result; NULL: none */
    bool blocks;         /* of the other factor: a part is what a block of rows packs */
    int64_t parts, rows; /* of an image; of a part for each value of the other axes */
    int64_t pitch;       /* elements for such a value */
    int64_t n_rows;      /* of a part, in all */
    int64_t steps, each, each_last; /* after so many steps so many rows are copied; in the last part */
    BufId ring; /* [2, other axes..., pitch]; of blocks [rows of one, pitch] */
} Behind;

typedef struct TileEmit {
    const Contraction *c;
    const Scheme *s;
    LoopCursor cur;
    DimSym vg, vb,
        ub; /* group and block numbers; vg is vb where a group is one block and all are alike */
    DimSym chunk;         /* number of it, or NULL */
    Dim v0, u0;           /* values of v and u at their first element: lo + block * size */
    Dim group_v;          /* value of v at the first element of the group */
    Dim first_v;          /* where cells of sums begin */
    int width;            /* vectors * lanes */
    int group_width;      /* of a group */
    DimSym job;           /* or NULL */
    Dim part_lo, part_hi; /* of the job's item, or NULL */
    Packed b, a;
    Apart copy, spread;
    Behind behind;
    BufId sums; /* [outputs that `place_out` leaves open..., width], or id 0: in the result */
    const LoopStmt *total; /* a cell of what the sums of all jobs are added to */
    bool from_sums;        /* sums start from what is in memory */
    DimSym names[32];
    int n_names;
} TileEmit;

/* A symbol whose name no index or dim around has. */
DimSym tile_fresh(TileEmit *e, const char *base);
/* Is the index known when `place` items are open? */
bool tile_known(const TileEmit *e, DimSym x, int place);
Str tile_name(const TileEmit *e);
/* Opens a loop over lo .. hi (a second bound unless NULL). */
LoopStmt *tile_loop(TileEmit *e, DimSym i, Dim lo, Dim hi, Dim hi2);
BufId tile_buffer(TileEmit *e, const char *name, int rank, const Dim *shape, bool in_job);
/* Subscripts of an access with v and u in terms of the blocks. */
const Dim *tile_subs(const TileEmit *e, const LoopStmt *access, const DimBinding *b, int n);
/* The reduction whose chunks are an item: its first value in this one. NULL: there is none, or it
 * is not red. */
Dim tile_chunk(const TileEmit *e, const TileLoop *red);
/* How many chunks there are. */
Dim tile_chunks(const TileEmit *e);
/* first bound of part or whole of an item's blocks */
void tile_item_range(const TileEmit *e, int k, Dim *lo, Dim *hi);

/* A dense buffer without the first n axes of its copy, and as a nest's access sees it. */
BufId tile_dense_buffer(TileEmit *e, const DenseCopy *d, int n, bool in_job);
BufId tile_dense_view(TileEmit *e, BufId dense, const LoopStmt *access, int n);

/* tile_pack.c */
void tile_pack(TileEmit *e, Packed *p, int place, bool of_b);
/* Subscripts of the packed operand at the current point; at: element of the packed index, block
 * and its offset. */
const Dim *tile_packed_subs(const TileEmit *e, const Packed *p, Dim block, int64_t at);
/* 0 in the first chunk and 1 in the others, where the first one takes no sums from memory; else
 * NULL. */
Dim tile_first_chunk(const TileEmit *e);
void tile_begin_sums(TileEmit *e);  /* makes `sums`; fills cells where a reduction is outside */
void tile_finish_sums(TileEmit *e); /* to the result; the epilogue */
/* Subscripts in `sums` of row `u` and lane `at` of the block. */
const Dim *tile_sum_subs(const TileEmit *e, Dim u, int64_t at);

/* tile_turn.c: a square of `lanes` rows. Row i is loaded at from_subs + i*from_step on from_axis,
 * contiguous along the last axis; column i is stored at to_subs + i*to_step on to_axis, likewise.
 */
typedef struct Turn {
    BufId from, to;
    const Dim *from_subs, *to_subs;
    int from_axis, to_axis;
    int64_t from_step, to_step;
    int n_from;   /* rows that there are */
    bool by_rows; /* `at` counts rows, else columns */
} Turn;
/* For `at`, an index in the subscripts, from .. end: squares, and a part of one that is left. */
void tile_turn(TileEmit *e, const Turn *t, DimSym at, Dim from, Dim end);
BufId tile_merged(TileEmit *e, BufId buf, int from, int n); /* id 0: too large */

/* tile_behind.c: false: the factors are copied before the tiles. Else the scheme reads one where its
 * copy is. */
bool tile_behind_choose(const Contraction *c, const Target *t, Scheme *s, Behind *y);
const LoopStmt *tile_behind_use(TileEmit *e, const LoopStmt *l);
/* The first part of a factor, before the loop over images; the last one of a result behind it. */
void tile_behind_around(TileEmit *e, bool before);
/* When a block begins. */
void tile_behind_pages(TileEmit *e);
/* What a tile copies after y->steps steps, for the time'th time. */
void tile_behind_rows(TileEmit *e, Dim time);

/* tile_kernel.c */
void tile_kernel(TileEmit *e, const TilePiece *p, int vectors);

#endif
