/* Which of two layouts a function's contractions are computed in.
 *
 * Rows innermost (batch): vectors hold 16 rows, whatever the layer; everything between two layers
 * stays in the cache, but a call with few rows computes 16 all the same.
 * Channels in vectors (tile): where an output of the nest, 32 or longer, varies one factor alone
 * and another one of constant extent varies the other, so that tiles are full for any number of
 * rows.
 *
 * The second is taken if it fits nearly all of the function's products. Dense layers do not: their
 * tiles would need the rows. */
#include "passes/batch_priv.h"

enum { LONG = 32 };

typedef struct Factors {
    const BodyInst *read[2];
} Factors;

static bool factors_of(const Body *b, Factors *f) {
    int n = 0;
    for (int k = 0; k < b->n; k++)
        if (b->insts[k].kind == BODY_READ) {
            if (n == 2)
                return false;
            f->read[n++] = &b->insts[k];
        }
    return n == 2;
}

static bool reads(const BodyInst *read, DimSym x) {
    for (int a = 0; a < read->rank; a++)
        if (dim_mentions(read->map[a], x))
            return true;
    return false;
}

static bool channels_fit(Ctx *ctx, const Nest *n) {
    uint64_t out;
    Factors f;
    if (!factors_of(&n->body, &f) || !nest_outputs(ctx, n, &out))
        return false;
    for (int b = 0; b < 2; b++) {
        int64_t longest = 0, rows = 0, extent;
        for (int k = 0; k < n->n_box; k++) {
            bool mine = reads(f.read[b], n->box[k].sym),
                 other = reads(f.read[1 - b], n->box[k].sym);
            if (!(out >> k & 1) || mine == other || !dim_is_const(n->box[k].extent, &extent))
                continue;
            if (mine && extent > longest)
                longest = extent;
            if (other && extent > rows)
                rows = extent;
        }
        if (longest >= LONG && rows >= 4)
            return true;
    }
    return false;
}

/* Products of a nest for a row. */
static double work_of(const Nest *n) {
    double work = 1;
    int64_t extent;
    for (int k = 0; k < n->n_box; k++)
        work *= dim_is_const(n->box[k].extent, &extent) ? (double)extent : 1;
    return work;
}

bool batch_wants_channels(Ctx *ctx, const Func *f) {
    double all = 0, fit = 0;
    for (int k = 0; k < f->insts.n; k++) {
        const Nest *n = f->insts.p[k]->op == &op_nest ? f->insts.p[k]->attr : NULL;
        if (!n || !nest_is_contraction(ctx, n))
            continue;
        all += work_of(n);
        fit += channels_fit(ctx, n) ? work_of(n) : 0;
    }
    return all > 0 && fit >= 0.9 * all;
}
