/* Which of two layouts a function's contractions are computed in.
 *
 * Rows innermost (batch): vectors hold 16 rows, whatever the layer; everything between two layers
 * stays in the cache, but a call with few rows computes 16 all the same.
 * Channels in vectors (tile): where an output of the nest, 32 or longer, varies one factor alone
 * and another one of constant extent varies the other, so that tiles are full for any number of
 * rows.
 *
 * The second is taken if it fits nearly all of the function's products. Dense layers do not: their
 * tiles would need the rows. It is also taken where slices would be bound by memory: each adds its
 * 16 rows to every sum over the rows, that is reads and writes the gradients of the weights. A
 * dense layer has 32 operations for the 8 bytes of a float of them; where all do not fit into the
 * second-level cache, that is too few (784-512-512-10: 15 % of the peak against 50 %). Where the
 * weights alone do not fit (inference), many rows are computed without slices (batch_all.c).
 *
 * It is not taken where whole tensors would be bound by memory: where what nests write for one
 * another, each tensor as often as it is written and read, takes longer to stream than the products
 * to compute (depthwise and 1 x 1 convolutions on 32 x 32: slices take 0.6 of the time of a step,
 * 0.4 of inference). */
#include "passes/batch_priv.h"

enum { LONG = 32, SLICE = 16 };

/* Bytes that a core streams past its second-level cache in a cycle, about, on what cnnc runs on. */
static const double STREAM = 5;

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

/* Bytes of a sum over the rows: what a slice of rows reads, adds to and writes; else 0. Rows are
 * what is not constant among the extents. */
static double summed_bytes(Ctx *ctx, const Nest *n, DType dt) {
    uint64_t out;
    double cells = 1;
    bool over_rows = false;
    if (!nest_outputs(ctx, n, &out))
        return 0;
    for (int k = 0; k < n->n_box; k++) {
        int64_t extent = 1;
        bool is_const = dim_is_const(n->box[k].extent, &extent);
        if (out >> k & 1)
            cells *= is_const ? (double)extent : 0;
        else
            over_rows |= !is_const;
    }
    return over_rows ? cells * (double)dtype_size(dt) : 0;
}

/* Bytes of the factors that are the same for all rows: what a slice reads. */
static double weight_bytes(const Nest *n, DType dt) {
    Factors f;
    double bytes = 0;
    if (!factors_of(&n->body, &f))
        return 0;
    for (int b = 0; b < 2; b++) {
        double cells = 1;
        int64_t extent;
        for (int k = 0; k < n->n_box; k++)
            if (reads(f.read[b], n->box[k].sym))
                cells *= dim_is_const(n->box[k].extent, &extent) ? (double)extent : 0;
        bytes += cells * (double)dtype_size(dt);
    }
    return bytes;
}

typedef struct Traffic {
    double sums, weights; /* bytes of all contractions */
    double cycles;        /* of their products for a slice, two multiply-adds of a vector in each */
} Traffic;

static Traffic traffic_of(Ctx *ctx, const Func *f, const Target *t) {
    Traffic r = {0};
    for (int k = 0; k < f->insts.n; k++) {
        const Inst *i = f->insts.p[k];
        const Nest *n = i->op == &op_nest ? i->attr : NULL;
        if (!n || !nest_is_contraction(ctx, n))
            continue;
        DType dt = graph_type(f, inst_result(i, 0)).dt;
        r.sums += summed_bytes(ctx, n, dt);
        r.weights += weight_bytes(n, dt);
        r.cycles += work_of(n) * SLICE / (2 * target_lanes(t, dt));
    }
    return r;
}

bool batch_would_stream(Ctx *ctx, const Func *f, const Target *t) {
    Traffic r = traffic_of(ctx, f, t);
    return r.sums > (double)t->l2_bytes / 2 && 2 * r.sums / STREAM > r.cycles / 2;
}

bool batch_would_read(Ctx *ctx, const Func *f, const Target *t) {
    Traffic r = traffic_of(ctx, f, t);
    return r.weights > (double)t->l2_bytes / 2 && r.weights / STREAM > r.cycles / 2;
}

/* Bytes of a row of a value that an instruction computes; 0 without rows. */
static double row_bytes(const Func *f, Val v) {
    Type t = graph_type(f, v);
    double bytes = (double)dtype_size(t.dt);
    bool has_rows = false;
    for (int a = 0; a < t.rank; a++) {
        int64_t extent = 1;
        has_rows |= !dim_is_const(t.shape[a], &extent);
        bytes *= (double)extent;
    }
    return has_rows && f->vals.p[v.id].inst >= 0 ? bytes : 0;
}

/* Bytes of a row that nests write for one another and read. */
static double bytes_between(Unit *u, const Func *f) {
    double bytes = 0;
    bool *is_read = ARENA_ARRAY(u->arena, bool, f->vals.n + 1);
    for (int k = f->insts.n - 1; k >= 0; k--) {
        const Inst *i = f->insts.p[k];
        for (int a = 0; a < i->n_args; a++)
            is_read[i->args[a].id] = true;
        if (i->op != &op_nest)
            continue;
        bytes += is_read[i->first.id] ? row_bytes(f, i->first) : 0;
        for (int a = 0; a < i->n_args; a++)
            bytes += row_bytes(f, i->args[a]);
    }
    return bytes;
}

bool batch_wants_channels(Unit *u, const Func *f) {
    double all = 0, fit = 0, cycles = 0;
    for (int k = 0; k < f->insts.n; k++) {
        const Nest *n = f->insts.p[k]->op == &op_nest ? f->insts.p[k]->attr : NULL;
        if (!n || !nest_is_contraction(u->ctx, n))
            continue;
        all += work_of(n);
        cycles +=
            work_of(n) / (2 * target_lanes(u->target, graph_type(f, f->insts.p[k]->first).dt));
        fit += channels_fit(u->ctx, n) ? work_of(n) : 0;
    }
    return all > 0 && fit >= 0.9 * all && bytes_between(u, f) / STREAM <= cycles;
}
