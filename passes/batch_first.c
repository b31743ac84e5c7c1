/* Which values of a slice have their rows on the first axis.
 *
 * The row axis is the last one, so that it takes the vectors. A sum over rows alone of an outer
 * product (a weight gradient, X'WX) has other axes for them:
 *
 *   %h: f64[D, D] = nest [a, b] += %t[i, b] * %x[i, a] over i<16 a<D b<D
 *
 * b is contiguous in %t and the result if the rows of %t stand first. Operands that are cut from
 * the whole come that way in a plain copy, and values computed from these alone, element by
 * element, for such sums alone are computed in that layout; others are turned in the slice. What is
 * cut for sums of single rows (X w, behind which something is added up over the rows) is read as it
 * lies, too: their vectors lie along the sum. */
#include "passes/batch_priv.h"

static Ctx *ctx_of(const Batch *b) { return b->r.u->ctx; }

/* ---- sums */

/* Is the row index the only one of more than one value that is summed over? */
static bool sums_rows_alone(const Batch *b, const Nest *n, DimSym row) {
    uint64_t out;
    int64_t extent;
    if (!nest_outputs(ctx_of(b), n, &out))
        return false;
    for (int k = 0; k < n->n_box; k++)
        if (!(out >> k & 1) && n->box[k].sym != row &&
            !(dim_is_const(n->box[k].extent, &extent) && extent == 1))
            return false;
    return true;
}

/* The index of the last axis of the result that has more than one cell; NULL: it is no index. */
static DimSym fastest_index(const NestOp *n) {
    int64_t extent;
    for (int k = n->nest.rank - 1; k >= 0; k--)
        if (!dim_is_const(n->type.shape[k], &extent) || extent != 1)
            return dim_as_symbol(n->nest.map[k]);
    return NULL;
}

static bool mentions(const BodyInst *x, DimSym s) {
    for (int a = 0; a < x->rank; a++)
        if (dim_mentions(x->map[a], s))
            return true;
    return false;
}

/* In a product, the operand that has the fastest axis of the result; -1: another kind of sum. */
static int outer_factor(const Batch *b, const NestOp *n, DimSym row) {
    const Body *body = &n->nest.body;
    DimSym fastest = fastest_index(n);
    int found = -1;
    if (!fastest || !batch_is_product(body) || !sums_rows_alone(b, &n->nest, row))
        return -1;
    for (int k = 0; k < 2; k++) {
        const BodyInst *x = &body->insts[k];
        if (!batch_has_rows(b, n->args[x->operand]))
            return -1;
        if (mentions(x, fastest))
            found = found < 0 ? x->operand : -1;
    }
    return found;
}

/* A sum whose vectors lie along the result: what it reads of rows is contiguous along the result's
 * last axis, or does not depend on it. */
static bool is_outer_sum(const Batch *b, const Inst *i) {
    if (!b->vanishes[i->first.id])
        return false;
    NestOp n = nestop_of(b->f, i);
    DimSym row = batch_row_index(b, &n.nest), fastest = fastest_index(&n);
    bool any = false;
    if (!fastest || !sums_rows_alone(b, &n.nest, row))
        return false;
    for (int k = 0; k < n.nest.body.n; k++) {
        const BodyInst *x = &n.nest.body.insts[k];
        if (x->kind != BODY_READ || !batch_has_rows(b, n.args[x->operand]) || !mentions(x, fastest))
            continue;
        any = true;
        for (int a = 0; a < x->rank; a++)
            if (dim_mentions(x->map[a], fastest) &&
                (a != x->rank - 1 || dim_as_symbol(x->map[a]) != fastest))
                return false;
    }
    return any;
}

/* ---- values */

static bool has_other_axes(const Batch *b, Val v) {
    return batch_has_rows(b, v) && graph_type(b->f, v).rank > 1;
}

static int home_of(const Batch *b, Val v, int region) {
    int at = b->f->vals.p[v.id].inst;
    return at >= 0 && b->place[at] == BY_ROW && b->region[at] == region ? at : -1;
}

/* Is v cut from the whole, in a copy that may have either layout? */
static bool is_cut(const Batch *b, Val v, int region) {
    return home_of(b, v, region) < 0 && !b->stacked[v.id] && !b->again[v.id];
}

static bool computes_elements(const Batch *b, int inst) {
    const Inst *i = b->f->insts.p[inst];
    uint64_t out;
    if (i->op != &op_nest || !has_other_axes(b, i->first))
        return false;
    const Nest *n = i->attr;
    return nest_outputs(ctx_of(b), n, &out) &&
           out == (n->n_box < 64 ? ((uint64_t)1 << n->n_box) - 1 : ~(uint64_t)0);
}

/* Does the sum read its operand v with the rows first? */
static bool reads_first(const Batch *b, int sum, Val v, int region) {
    return is_outer_sum(b, b->f->insts.p[sum]) && (b->first[v.id] || is_cut(b, v, region));
}

static bool stays_first(const Batch *b, int inst, int region) {
    const Inst *i = b->f->insts.p[inst];
    bool used = false;
    for (int k = inst + 1; k < b->f->insts.n; k++)
        for (int j = 0; j < b->f->insts.p[k]->n_args; j++) {
            const Inst *user = b->f->insts.p[k];
            if (user->args[j].id != i->first.id)
                continue;
            used = true;
            if (b->place[k] == SUM_OF_ROWS ? !reads_first(b, k, i->first, region)
                                           : !b->first[user->first.id])
                return false;
        }
    for (int j = 0; j < i->n_args; j++)
        if (has_other_axes(b, i->args[j]) && !is_cut(b, i->args[j], region) &&
            !b->first[i->args[j].id])
            return false;
    return used;
}

/* Is the last axis of operand j summed over in each read, by an index that stands alone there? */
static bool sums_along_rows(const Batch *b, const Inst *i, int j) {
    if (i->op != &op_nest || graph_type(b->f, i->first).rank != 1)
        return false;
    const Nest *n = i->attr;
    uint64_t out;
    if (!nest_outputs(ctx_of(b), n, &out))
        return false;
    for (int k = 0; k < n->post.n; k++)
        if (n->post.insts[k].kind == BODY_READ && n->post.insts[k].operand == j)
            return false;
    for (int k = 0; k < n->body.n; k++) {
        const BodyInst *x = &n->body.insts[k];
        if (x->kind != BODY_READ || x->operand != j)
            continue;
        int at = nest_box_of(n, dim_as_symbol(x->map[x->rank - 1]));
        if (at < 0 || out >> at & 1)
            return false;
    }
    return true;
}

/* Is v cut from the whole, and read by such sums and outer sums alone? */
static bool sums_of_rows_read(const Batch *b, Val v, int region) {
    bool any = false;
    if (!has_other_axes(b, v) || !is_cut(b, v, region))
        return false;
    for (int k = 0; k < b->f->insts.n; k++) {
        const Inst *i = b->f->insts.p[k];
        for (int j = 0; j < i->n_args; j++) {
            if (i->args[j].id != v.id || b->place[k] == OUTSIDE || b->region[k] != region)
                continue;
            bool sum = b->place[k] == BY_ROW && sums_along_rows(b, i, j);
            if (!sum && !(b->place[k] == SUM_OF_ROWS && is_outer_sum(b, i)))
                return false;
            any |= sum;
        }
    }
    return any;
}

/* The largest set of values that is closed: what its members are computed from and used by is in
 * it. */
void batch_choose_first(Batch *b, int region) {
    const Func *f = b->f;
    for (int v = 0; v <= f->vals.n - 1; v++)
        b->first[v] = false;
    for (int k = 0; k < f->insts.n; k++)
        if (b->place[k] == BY_ROW && b->region[k] == region && computes_elements(b, k) &&
            !batch_leaves(b, k))
            b->first[f->insts.p[k]->first.id] = true;
    for (bool changed = true; changed;) {
        changed = false;
        for (int k = 0; k < f->insts.n; k++) {
            bool *first = &b->first[f->insts.p[k]->first.id];
            if (b->place[k] == BY_ROW && b->region[k] == region && *first &&
                !stays_first(b, k, region))
                changed = !(*first = false);
        }
    }
    bool sums = false; /* else the region has a body for one row (batch_one.c), which has no rows to turn */
    for (int k = 0; k < f->insts.n; k++)
        sums |= b->place[k] == SUM_OF_ROWS && b->region[k] == region;
    for (int k = 0; k < f->insts.n && sums; k++) { /* what sums of single rows alone cut: X w */
        const Inst *i = f->insts.p[k];
        for (int j = 0; j < i->n_args && b->place[k] != OUTSIDE && b->region[k] == region; j++)
            b->first[i->args[j].id] |= sums_of_rows_read(b, i->args[j], region);
    }
    for (int k = 0; k < f->insts.n; k++) { /* what these and the sums cut from the whole */
        const Inst *i = f->insts.p[k];
        if (b->place[k] == OUTSIDE || b->region[k] != region)
            continue;
        for (int j = 0; j < i->n_args; j++)
            if (has_other_axes(b, i->args[j]) && is_cut(b, i->args[j], region) &&
                (b->place[k] == SUM_OF_ROWS ? is_outer_sum(b, i) : b->first[i->first.id]))
                b->first[i->args[j].id] = true;
    }
}

bool *batch_reads_first(const Batch *b, const Inst *i, Place place) {
    bool *first = ARENA_ARRAY(b->r.u->arena, bool, i->n_args + 1);
    bool own = place == BY_ROW && b->first[i->first.id];
    bool outer = place == SUM_OF_ROWS && is_outer_sum(b, i);
    bool one = place == BY_ROW && graph_type(b->f, i->first).rank == 1; /* X w: lanes of its sums */
    NestOp n = nestop_of(b->f, i);
    int factor = place == SUM_OF_ROWS && b->vanishes[i->first.id]
                     ? outer_factor(b, &n, batch_row_index(b, &n.nest))
                     : -1;
    for (int k = 0; k < i->n_args; k++)
        first[k] = has_other_axes(b, i->args[k]) &&
                   (own || k == factor || ((outer || one) && b->first[i->args[k].id]));
    return first;
}
