#include "passes/vary.h"

static void note_accesses(Vary *v, const LoopBody *b) {
    for (int k = 0; k < b->stmts.n; k++) {
        LoopStmt *s = b->stmts.p[k];
        bool scalar = s->type.lanes <= 1;
        switch (s->kind) {
        case LOOP_FOR:
            vec_push(v->arena, &v->inner, s->index);
            v->nest = v->nest && !s->parallel;
            for (int j = 0; j < s->n_lo; j++)
                v->nest = v->nest && !dim_mentions(s->lo[j], v->loop->index);
            for (int j = 0; j < s->n_hi; j++)
                v->nest = v->nest && !dim_mentions(s->hi[j], v->loop->index);
            note_accesses(v, &s->body);
            break;
        case LOOP_LOAD:
        case LOOP_STORE:
            vec_push(v->arena, &v->accesses, s);
            v->plain = v->plain && scalar && s->status < 0 && !s->active;
            break;
        case LOOP_LET:
            v->plain = v->plain && scalar && !(scalar_def(s->op)->flags & SF_LANES) && !scalar_def(s->op)->expand;
            break;
        case LOOP_CONST:
        case LOOP_INDEX:
            v->plain = v->plain && scalar;
            break;
        case LOOP_YIELD:
            break;
        case LOOP_POLL:
        case LOOP_STATUS:
        case LOOP_RETURN:
            v->nest = false;
            break;
        case LOOP_WHILE:
        case LOOP_IF:
            v->nest = false;
            note_accesses(v, &s->body);
            note_accesses(v, &s->orelse);
            break;
        case LOOP_CALL:
            v->nest = false;
            v->opaque = true;
            break;
        }
    }
}

static bool set(Vary *v, LVal x) {
    bool changed = !v->varies[x.id];
    v->varies[x.id] = true;
    return changed;
}

static bool access_varies(const Vary *v, const LoopStmt *s) {
    if (s->active && dim_mentions(s->active, v->loop->index))
        return true;
    for (int a = 0; a < s->rank; a++)
        if (dim_mentions(s->subs[a], v->loop->index) ||
            (s->sub_vals && s->sub_vals[a].id && v->varies[s->sub_vals[a].id]))
            return true;
    return false;
}

static bool mark(Vary *v, const LoopBody *b);

static bool mark_inner(Vary *v, const LoopStmt *s) {
    bool changed = mark(v, &s->body);
    if (!s->n_carried)
        return changed;
    const LoopStmt *yield = s->body.stmts.p[s->body.stmts.n - 1];
    for (int k = 0; k < s->n_carried; k++)
        if (v->varies[s->init[k].id] || v->varies[yield->args[k].id]) {
            changed |= set(v, s->phi[k]);
            changed |= set(v, s->out[k]);
        }
    return changed;
}

static bool mark(Vary *v, const LoopBody *b) {
    bool changed = false;
    for (int k = 0; k < b->stmts.n; k++) {
        const LoopStmt *s = b->stmts.p[k];
        if (s->kind == LOOP_FOR)
            changed |= mark_inner(v, s);
        else if (s->kind == LOOP_INDEX && dim_mentions(s->subs[0], v->loop->index))
            changed |= set(v, s->result);
        else if (s->kind == LOOP_LOAD && access_varies(v, s))
            changed |= set(v, s->result);
        for (int j = 0; s->kind == LOOP_LET && j < s->n_args; j++)
            if (v->varies[s->args[j].id])
                changed |= set(v, s->result);
    }
    return changed;
}

/* Does whether a loop inside runs at all vary? */
static bool condition_varies(const Vary *v, const LoopBody *b) {
    for (int k = 0; k < b->stmts.n; k++) {
        const LoopStmt *s = b->stmts.p[k];
        if ((s->kind == LOOP_FOR && s->n_args && v->varies[s->args[0].id]) ||
            condition_varies(v, &s->body))
            return true;
    }
    return false;
}

Vary vary_of(Ctx *ctx, Arena *arena, const LoopFunc *f, const LoopStmt *loop) {
    Vary v = {.ctx = ctx, .arena = arena, .f = f, .loop = loop, .nest = true, .plain = true};
    v.varies = ARENA_ARRAY(arena, bool, f->vals.n);
    note_accesses(&v, &loop->body);
    v.plain = v.plain && v.nest;
    if (!v.nest)
        return v;
    for (int k = 0; k < loop->n_carried; k++)
        v.varies[loop->phi[k].id] = v.varies[loop->out[k].id] = true;
    while (mark(&v, &loop->body)) {
    }
    v.nest = !condition_varies(&v, &loop->body);
    v.plain = v.plain && v.nest;
    return v;
}

bool vary_coef(const Vary *v, Dim d, int64_t *coef) {
    Dim c, rest;
    *coef = 0;
    if (!dim_mentions(d, v->loop->index))
        return true;
    return dim_linear_in(v->ctx, d, v->loop->index, &c, &rest) && dim_is_const(c, coef);
}

bool vary_axis(const Vary *v, const LoopStmt *access, int *axis, int64_t *coef) {
    *axis = -1;
    *coef = 0;
    for (int a = 0; a < access->rank; a++) {
        int64_t c;
        if (!vary_coef(v, access->subs[a], &c) || (c && *axis >= 0))
            return false;
        if (c) {
            *axis = a;
            *coef = c;
        }
    }
    return true;
}

/* Cells past its subscript on the axis that an access touches. */
static int64_t reach_of(const LoopStmt *s, int axis) {
    int64_t lanes = s->type.lanes, on;
    lanes = s->active && dim_is_const(s->active, &on) && on < lanes ? on : lanes;
    return lanes > 1 && s->lane_axis == axis ? (lanes - 1) * s->lane_step : 0;
}

/* Does subscript `axis` of s tell the iterations apart, whatever the loops inside do? Its lanes
 * must not reach into the next iteration's. */
static bool tells_apart(const Vary *v, const LoopStmt *s, int axis) {
    int64_t c;
    if (!vary_coef(v, s->subs[axis], &c) || c == 0 || (s->sub_vals && s->sub_vals[axis].id))
        return false;
    int64_t reach = reach_of(s, axis);
    if (reach < 0 || reach >= (c < 0 ? -c : c) * v->loop->step)
        return false;
    for (int k = 0; k < v->inner.n; k++)
        if (dim_mentions(s->subs[axis], v->inner.p[k]))
            return false;
    return true;
}

static bool own_cells(const Vary *v, const LoopStmt *store) {
    uint32_t storage = loop_storage(v->f, store->buf)->id.id;
    for (int a = 0; a < store->rank; a++) {
        int64_t c, least = 0, most = 0;
        bool good = tells_apart(v, store, a);
        for (int k = 0; k < v->accesses.n && good; k++) {
            const LoopStmt *s = v->accesses.p[k];
            int64_t from;
            if (loop_storage(v->f, s->buf)->id.id != storage)
                continue;
            Dim d = s->buf.id == store->buf.id ? dim_sub(v->ctx, s->subs[a], store->subs[a]) : NULL;
            good = d && dim_is_const(d, &from) && tells_apart(v, s, a);
            if (!good)
                break;
            least = from < least ? from : least;
            most = from + reach_of(s, a) > most ? from + reach_of(s, a) : most;
        }
        good = good && vary_coef(v, store->subs[a], &c) && most - least < (c < 0 ? -c : c) * v->loop->step;
        if (good)
            return true;
    }
    return false;
}

bool vary_independent(const Vary *v) {
    for (int k = 0; k < v->accesses.n; k++)
        if (v->accesses.p[k]->kind == LOOP_STORE && !own_cells(v, v->accesses.p[k]))
            return false;
    return true;
}

/* ---- sums */

static int count_in(const LoopBody *b, LVal x) {
    int n = 0;
    for (int k = 0; k < b->stmts.n; k++) {
        const LoopStmt *s = b->stmts.p[k];
        for (int j = 0; j < s->n_args; j++)
            n += s->args[j].id == x.id;
        for (int j = 0; j < s->n_carried; j++)
            n += s->init[j].id == x.id;
        for (int j = 0; s->sub_vals && j < s->rank; j++)
            n += s->sub_vals[j].id == x.id;
        n += count_in(&s->body, x) + count_in(&s->orelse, x);
    }
    return n;
}

int vary_uses(const LoopStmt *loop, LVal x) { return count_in(&loop->body, x); }

/* Does s gather into `sum` by op? */
static bool gathers(const LoopStmt *s, ScalarOp op, LVal sum) {
    if (s->kind != LOOP_LET)
        return false;
    if (op == SC_add && s->op == SC_fma)
        return s->args[2].id == sum.id;
    return s->op == op && (s->args[0].id == sum.id) != (s->args[1].id == sum.id);
}

/* Follows the sum from its phi to its yield in the body of `loop`. */
static bool follow(const Vary *v, const LoopStmt *loop, int carried, ScalarOp op, VarySum *links) {
    LVal sum = loop->phi[carried];
    for (int k = 0; k < loop->body.stmts.n; k++) {
        LoopStmt *s = loop->body.stmts.p[k];
        if (s->kind == LOOP_YIELD)
            return s->args[carried].id == sum.id;
        if (gathers(s, op, sum) && vary_uses(loop, sum) == 1) {
            vec_push(v->arena, links, (VaryLink){s, sum});
            sum = s->result;
        }
        for (int j = 0; j < s->n_carried; j++)
            if (s->init[j].id == sum.id) {
                if (vary_uses(loop, sum) != 1 || !follow(v, s, j, op, links))
                    return false;
                sum = s->out[j];
                break;
            }
    }
    return false;
}

ScalarOp vary_reduction(const Vary *v, int k, VarySum *links) {
    static const ScalarOp ops[] = {SC_add, SC_max, SC_min};
    for (int j = 0; j < 3; j++) {
        links->n = 0;
        if (follow(v, v->loop, k, ops[j], links))
            return ops[j];
    }
    return SC_NONE;
}

int64_t vary_trip(const LoopStmt *s) {
    enum { GUESS = 64 };
    int64_t lo = 0, hi = 0, best = -1;
    if (s->kind != LOOP_FOR)
        return GUESS;
    for (int a = 0; a < s->n_lo; a++)
        for (int b = 0; b < s->n_hi; b++)
            if (dim_is_const(s->lo[a], &lo) && dim_is_const(s->hi[b], &hi) &&
                (best < 0 || hi - lo < best))
                best = hi > lo ? hi - lo : 0;
    return best < 0 ? GUESS : (best + s->step - 1) / s->step;
}
