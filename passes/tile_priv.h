/* The parts of `tile`: what a contraction is, how it is to be computed, and the loops that do it.
 */
#ifndef CNNC_PASSES_TILE_PRIV_H
#define CNNC_PASSES_TILE_PRIV_H

#include "ir/loop.h"
#include "ir/target.h"

enum { TILE_LOOPS = 12, TILE_U = 32, TILE_V = 8, TILE_PIECES = 8 };

/* A loop of the nest. Its range, free of the other indices, holds every iteration. */
typedef struct TileLoop {
    const LoopStmt *loop;
    DimSym sym;
    Dim lo, hi, extent;
    int64_t first, n; /* where the range is constant, else n = -1 */
} TileLoop;

/* A tensor that is walked over sparsely, and the dense buffer that the nest uses instead: an axis
 * for each index of the access. Copied before the nest, or spread from it afterwards together with
 * the constant that fills the cells in between. */
typedef struct DenseCopy {
    BufId dense, sparse;
    const Dim *subs; /* of the sparse access, in the indices of the loops */
    int sparse_rank, rank;
    TileLoop loops[MAX_RANK]; /* by axis of the dense buffer */
    bool result, filled;
    int axis;  /* result: the first of the two sparse axes; those before are whole */
    int lanes; /* of a vector of its elements */
    ScalarValue value;
} DenseCopy;

/* out[..] = init + sum of x * y over the reductions, then post: tile_match.c. */
typedef struct Contraction {
    Ctx *ctx;
    Arena *arena;
    LoopModule *m;
    LoopFunc *f;
    LoopStmt *root;
    int n_out, n_red;
    TileLoop out[TILE_LOOPS], red[TILE_LOOPS]; /* outermost first */
    const LoopStmt *init;                      /* a constant or a load */
    const LoopStmt *load[2];                   /* the factors */
    const LoopStmt *store;
    int n_post;
    const LoopStmt **post; /* the epilogue */
    LVal sum;              /* what it reads as the finished sum */
    DType dt;
    bool fma;
    double rows; /* as many values has an index whose extent is a symbol, likely */
    Dim few;     /* fewer values than f->groups has the index of this extent; or NULL */
    int most;    /* sums of a tile, at most; 0: as many as there are registers for */
    int outside; /* an output that has few values and stays outside the tile, or -1 */
    const DenseCopy *copy[2], *spread; /* of the factors and of the result, or NULL */
} Contraction;

/* The loop of an index, or NULL. */
const TileLoop *tile_loop_of(const Contraction *c, DimSym x);

/* False: s is no nest that can be tiled. */
bool tile_match(Ctx *ctx, Arena *arena, LoopModule *m, LoopFunc *f, LoopStmt *s, Contraction *c);
/* Does the index stand in the subscripts of an access? */
bool tile_in(const LoopStmt *access, DimSym s);
/* The only axis with the index, where it stands alone with this coefficient; -1: none. */
int tile_axis(const Contraction *c, const LoopStmt *access, DimSym s, int64_t *coef);
/* The single index of a subscript and its coefficient; NULL: none, or several. */
DimSym tile_single(const Contraction *c, Dim sub, int64_t *coef, Dim *rest);
/* Does the subscript, which has no other index, stay inside its axis for all of the loop's range? A
 * reduction with several bounds need not visit all of that: what goes over the range reads more
 * than the nest does. */
bool tile_inside(const Contraction *c, const LoopStmt *access, int axis, const TileLoop *l);

/* Blocks of the unrolled index with the same bounds of the loops inside. */
typedef struct TilePiece {
    Dim lo, hi;    /* block numbers */
    int rows;      /* rows of a block */
    int64_t fixed; /* the number of the only block, or -1 */
    bool single;   /* one row at a time, from row lo*U on, hi rows in all */
    bool padded;   /* the last block may have fewer rows; they are 0 in the packed factor */
} TilePiece;

typedef enum TileKind { TILE_OUT, TILE_RED, TILE_V_GROUPS, TILE_U_BLOCKS } TileKind;
typedef struct TileItem {
    TileKind kind;
    int at; /* number of the output or reduction */
} TileItem;

/* How: vectors run along output v, of which `vectors` of `lanes` make a block; rows of output u are
 * unrolled. Factor b varies with v, the other one with u. */
typedef struct Scheme {
    int v, u, b;
    int vectors, rows, lanes;
    bool pack_a;     /* the other factor, in blocks of u */
    bool by_columns; /* the other factor is read where it is, and a job packs its columns */
    bool direct_out; /* v is contiguous in the result */
    int n_items;
    TileItem items[TILE_LOOPS + 2]; /* loops around the tile, outermost first: groups of blocks of
                                       vectors among them; blocks of u last */
    int group;                      /* blocks of vectors that a block of rows meets in turn */
    int64_t
        chunk;  /* > 1: the reduction among the items goes by so many, over which the tile sums */
    bool split; /* that reduction stands outside the groups of blocks */
    int n_inner;
    int inner[TILE_LOOPS]; /* reductions inside the tile */
    int job;               /* item whose blocks are divided into jobs, or -1 */
    int jobs;
    bool partial; /* the first item is a reduction: each job has sums of its own */
    int n_pieces;
    TilePiece pieces[TILE_PIECES];
    int place_b, place_a, place_out; /* number of items around a packed operand */
    bool a_in_job;                   /* the other factor is packed by each job */
    bool in_place;                   /* vectors are loaded from the factor, which is not packed */
    int64_t ahead; /* vectors are fetched so many elements before they are loaded, or 0 */
    double cost;   /* cycles for a product */
} Scheme;

bool tile_choose(const Contraction *c, const Target *t, Scheme *s);
/* tile_order.c: the order of the loops around the tiles of a candidate; what else is to be said of them
 * once it is chosen. work: products in all. */
void tile_order(const Contraction *c, const Target *t, Scheme *s);
void tile_arrange(const Contraction *c, const Target *t, Scheme *s, double work);
/* Are all outputs but v and u indices of both factors? Blocks of vectors; -1: not known. */
bool tile_others_in_both(const Contraction *c, const Scheme *s);
int64_t tile_blocks_of_v(const Contraction *c, const Scheme *s);
/* Likely values of an index; of one that takes the vectors or the rows of tiles, as in a product of large
 * matrices; of n loops; bytes of the memory that a factor is read from. */
double tile_guess(const Contraction *c, const TileLoop *l);
double tile_guess_long(const TileLoop *l);
double tile_product(const Contraction *c, const TileLoop *l, int n);
double tile_bytes_of(const Contraction *c, const LoopStmt *factor);
/* Vectors that the last block has, if its range is constant: at most those of the others. */
int tile_last_vectors(const Contraction *c, const Scheme *s);
/* The extent of the outermost loop, if its rows are divided into jobs and their number is not
 * known; else NULL. */
Dim tile_rows(const Contraction *c, const Scheme *s);
/* Does the loop go through all of its range, always? Only then may a sum go by chunks. */
bool tile_plain_range(const TileLoop *l);
/* tile_columns.c: what a candidate costs that reads the other factor where it is, as a share of the
 * cost of its tiles; 0: it cannot, or it is not worth it. */
double tile_by_columns(const Contraction *c, const Target *t, const Scheme *s);
/* The loops around its tiles. */
void tile_columns(const Contraction *c, const Target *t, Scheme *s);
/* How the rows of `many` are computed that tile_choose_few knows a way for, below[0] <= rows <
 * below[1]. False: there is no such way. */
bool tile_choose_some(const Contraction *c, const Target *t, const Scheme *many, Scheme *some,
                      int64_t below[2]);
/* tile_few.c: how the rows of `many`, fewer than *below, are computed without packing the factor
 * that all of them share. False: there is no such way. */
bool tile_choose_few(const Contraction *c, const Target *t, const Scheme *many, Scheme *few,
                     int64_t *below);
/* The same where the number of rows is known. */
bool tile_choose_known(const Contraction *c, const Target *t, Scheme *few);
/* Cycles of a step of a tile; do its sums and operands fit into the registers? */
double tile_step_cost(const Contraction *c, int vectors, int rows);
bool tile_fits(const Contraction *c, const Target *t, int vectors, int rows);
/* Bounds of an inner reduction where u is the constant `at` (or as it stands: at < 0), constants
 * folded into one. */
typedef struct TileBounds {
    int n_lo, n_hi;
    Dim lo[4], hi[4];
} TileBounds;
bool tile_bounds(const Contraction *c, const TileLoop *red, DimSym u, int64_t at, TileBounds *out);
bool tile_same_bounds(const TileBounds *a, const TileBounds *b);

/* tile_dense.c: appends the nest with a dense buffer in place of what two of its loops walk over
 * sparsely; the copying is left to the caller. May take a constant fill of the result off the end
 * of `to`. False: nothing was done. */
bool tile_dense(const Contraction *c, LoopBody *to, DenseCopy *copy);
/* How many of the first axes can be copied apart: those of `access`, the nest's, are as they were
 * made. */
int tile_dense_apart(const Contraction *c, const DenseCopy *d, const LoopStmt *access);
/* Appends the copying for the cells whose first n indices are known. The dense buffer holds these
 * cells only. */
void tile_dense_copy(LoopCursor *cur, const DenseCopy *d, BufId dense, const Dim *known, int n);

/* Vectors that a row of the sparse tensor makes (a few, of lanes some elements apart), or 0. */
int tile_dense_vectors(Ctx *ctx, const DenseCopy *d);
/* Appends the copying of one row, all of whose other indices are known, to the last axis of to[subs].
 * Meanwhile the row `ahead` further along the index before those of the pair is fetched. */
void tile_dense_row(LoopCursor *cur, const DenseCopy *d, const Dim *known, BufId to,
                    const Dim *subs, int rank, int64_t ahead);

/* Can a result be written row by row, each row of sums with the rows of the constant behind it? */
bool tile_dense_by_rows(const Contraction *c, const DenseCopy *d);
/* Appends that for the row whose other indices are known, from the last axis of from[subs]; `other`
 * is an index for the rows of the constant. */
void tile_dense_spread_row(LoopCursor *cur, const DenseCopy *d, const Dim *known, BufId from,
                           const Dim *subs, DimSym other, int64_t ahead);

/* Appends the loops to `to`. */
void tile_emit(const Contraction *c, const Target *t, const Scheme *s, LoopBody *to);

#endif
