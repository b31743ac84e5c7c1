/* What regions hand on to regions.
 *
 * Such a value is not turned to [n, ..] and back: it stays a stack of slices. One that is cheap to
 * compute from a single value of rows that a later region can read anyway is computed again there:
 * memory is slower than a few operations (an activation after a batch norm, in both directions).
 *
 * Rows past the end are 0 in both, as they are in what is cut from the whole, so that a region need
 * not know which of them it reads. */
#include "passes/batch_priv.h"

/* ---- values that are computed again */

static int inst_of(const Batch *b, Val v) { return b->f->vals.p[v.id].inst; }

/* Is the value a stack in any case, because another region than its own reads it? (What is cut from
 * the whole would have to be turned in each.) */
static bool is_shared(const Batch *b, Val v) {
    int at = inst_of(b, v);
    if (at < 0 || b->place[at] != BY_ROW)
        return false;
    for (int k = at + 1; k < b->f->insts.n; k++)
        for (int j = 0; j < b->f->insts.p[k]->n_args; j++)
            if (b->f->insts.p[k]->args[j].id == v.id && b->place[k] != OUTSIDE &&
                b->region[k] != b->region[at])
                return true;
    return false;
}

/* Cycles or so for a vector; a large number where a row is no instruction. */
static int cost_of(const Body *b) {
    enum { LONG = 8, NEVER = 1000 };
    int cost = 0;
    for (int k = 0; k < b->n; k++) {
        if (b->insts[k].kind != BODY_OP)
            continue;
        unsigned flags = scalar_def(b->insts[k].op)->flags;
        cost += !(flags & SF_NATIVE) ? NEVER : flags & SF_SLOW ? LONG : 1;
    }
    return cost;
}

typedef struct Source {
    Val base; /* the one value with rows that it is computed from; id 0: none */
    int cost; /* from there */
} Source;

/* Adds what operand v is computed from; false if that is another base. */
static bool add_source(const Batch *b, const Source *of, Val v, Source *to) {
    bool again = b->again[v.id];
    Val base = again ? of[v.id].base : v;
    to->cost += again ? of[v.id].cost : 0;
    if (to->base.id && base.id && to->base.id != base.id)
        return false;
    to->base = base.id ? base : to->base;
    return again || is_shared(b, v);
}

static bool is_cheap(const Batch *b, const Source *of, int inst, Source *to) {
    enum { MOST = 32 };
    const Inst *i = b->f->insts.p[inst];
    NestOp n = nestop_of(b->f, i);
    *to = (Source){.cost = cost_of(&n.nest.body)};
    if (n.nest.op != NEST_STORE || !nest_elementwise(b->r.u->ctx, &n))
        return false;
    for (int k = 0; k < n.n_args; k++)
        if (batch_has_rows(b, n.args[k]) && !add_source(b, of, n.args[k], to))
            return false;
    return to->base.id && to->cost <= MOST;
}

/* ---- stacks */

/* Does anything but regions read the value? Init and post of a sum are applied outside. */
static bool read_outside(const Batch *b, int inst) {
    Val v = b->f->insts.p[inst]->first;
    for (int k = 0; k < b->f->results.n; k++)
        if (b->f->results.p[k].val.id == v.id)
            return true;
    for (int k = inst + 1; k < b->f->insts.n; k++) {
        const Inst *user = b->f->insts.p[k];
        for (int j = 0; j < user->n_args; j++)
            if (user->args[j].id == v.id && (b->place[k] == OUTSIDE || !batch_inside(b, k, j)))
                return true;
    }
    return false;
}

void batch_choose_stacks(Batch *b) {
    Source *of = ARENA_ARRAY(b->r.u->arena, Source, b->f->vals.n + 1);
    for (int k = 0; k < b->f->insts.n; k++) {
        const Inst *i = b->f->insts.p[k];
        if (b->place[k] != BY_ROW || i->op != &op_nest ||
            !batch_mask_value(b, i->first, b->region[k], false))
            continue;
        b->again[i->first.id] = is_cheap(b, of, k, &of[i->first.id]);
    }
    for (int k = 0; k < b->f->insts.n; k++) {
        const Inst *i = b->f->insts.p[k];
        if (b->place[k] != BY_ROW || i->op != &op_nest ||
            !batch_mask_value(b, i->first, b->region[k], false))
            continue;
        b->stacked[i->first.id] =
            graph_type(b->f, i->first).rank < MAX_RANK && batch_leaves(b, k) && !read_outside(b, k);
        if (b->stacked[i->first.id] || b->again[i->first.id])
            batch_mask_value(b, i->first, b->region[k], true);
    }
}
