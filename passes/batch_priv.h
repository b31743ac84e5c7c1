/* What the files of the pass batch share. */
#ifndef CNNC_PASSES_BATCH_PRIV_H
#define CNNC_PASSES_BATCH_PRIV_H

#include "passes/rewrite.h"

typedef enum Place { OUTSIDE, BY_ROW, SUM_OF_ROWS } Place;

typedef struct Batch {
    Rewrite r;
    const Func *f;
    DimSym rows_of; /* the symbol N */
    Dim n;
    Place *place;   /* by instruction */
    int *region;    /* by instruction: region, or for OUTSIDE the first region that may follow it */
    int *stage;     /* by value: first region whose body may use it */
    bool *masked;   /* by value: 0 in the rows past the end of the slice */
    bool *stacked;  /* by value: batches alone read it after its region, so it stays in slices */
    bool *again;    /* by value: regions after its own compute it again */
    bool *vanishes; /* by value, of sums of rows: such rows add 0, no guard is needed */
    bool *first;    /* by value, for the region at hand: rows on the first axis (batch_first.c) */
    int n_regions;
    int groups;     /* jobs */
    int rows;       /* of a slice */
    bool reads;     /* slices would spend their time reading weights, or may: these are of unknown extents */
} Batch;

/* Is the function better computed with vectors along channels, by `tile`? (batch_layout.c) */
bool batch_wants_channels(Unit *u, const Func *f);
/* Would slices of rows spend their time reading and writing sums over the rows? */
bool batch_would_stream(Ctx *ctx, const Func *f, const Target *t);
/* Likewise, reading weights? */
bool batch_would_read(Ctx *ctx, const Func *f, const Target *t);
bool batch_is_product(const Body *b); /* of two reads, and nothing else */
bool batch_has_rows(const Batch *b, Val v);
DimSym batch_row_index(const Batch *b, const Nest *n); /* the index of a nest that runs over the rows, or NULL */

/* Does the part of the instruction inside the body use operand k? (init and post of a sum stay outside) */
bool batch_inside(const Batch *b, int inst, int k);
/* Is the value used outside of its region's rows: by a result, outside, or by another region? */
bool batch_leaves(const Batch *b, int inst);

/* Gives the batch of a region a body for one row where that pays; args and results: of the function, as in the batch. */
void batch_one(Batch *b, int region, BatchAttr *a, const Val *args, const Val *results);
/* Does the region compute rows from rows, with nothing else left of it? */
bool batch_is_plain(const Batch *b, int region, const BatchAttr *a);
/* batch_all.c. Gives it a body for all rows at once, where slices would spend their time reading weights. */
void batch_all(Batch *b, int region, BatchAttr *a, const Val *args, const Val *results);

/* batch_turn.c. The axis of the result that fills the vectors of one row better than the last, the factor (of the body's two)
 * that has it, or -1. n: without the axis of rows, its operands still those of the function. */
int turn_axis(const Batch *b, const NestOp *n, int *factor);
/* Drops select(mask, x * w, 0) where w is a product with that mask: w is 0 there. */
void batch_drop_mask(const Batch *b, const Inst *i, NestOp *n);
/* The factor is read from a copy whose axis of the index is last. */
void turn_factor(Module *m, Func *f, NestOp *n, int factor, Dim index);
void turn_result(Ctx *ctx, NestOp *n, int axis); /* its axis goes last */
Val turn_back(Module *m, Func *f, Val v, int axis, const Inst *of); /* v's last axis becomes `axis` again */
const Dim *turn_dims(Arena *arena, const Dim *d, int rank, int axis); /* that one last */

/* Which values regions compute again, and which stay in slices between regions. They are marked as masked. */
void batch_choose_stacks(Batch *b);
/* Sets `first` for the values of a region and the operands that it cuts. */
void batch_choose_first(Batch *b, int region);

/* Can the sum of rows `inst` do without a guard? Then the values it reads are marked as masked. */
void batch_choose_masks(Batch *b, int inst);
/* Can the rows of v be 0 past the end? With `mark`, they will be. */
bool batch_mask_value(Batch *b, Val v, int region, bool mark);
/* Makes the sliced nest n yield 0 where its row index is not below `rows`. */
void batch_mask(Ctx *ctx, NestOp *n, DimSym row, DimSym rows);
/* By operand of a nest at `place`: is it read with its rows first? */
bool *batch_reads_first(const Batch *b, const Inst *i, Place place);
#endif
