/* Rewriting a nest into register blocks. Several iterations of output loops stand side by side in
 * the loops of their sums ("copies"); what is the same in two copies is computed once, because
 * equal statements of a body are made once. Where the bounds of a sum's loop depend on a blocked
 * index, as at the border of a padded image, they are constant in each copy: points that a copy
 * does not have are left out of the text. Contract of the choice: jam.c. */
#include "passes/block.h"

#include <string.h>

#include "passes/stream.h"
#include "passes/vary.h"

typedef struct Copy {
    LVal *to; /* by number of the nest's own values: the value in this copy */
    DimBinding at[MOST_LEVELS];
    DimValue sample[MOST_LEVELS]; /* one of the values of each: what depends on the index alone is
                                     the same for all of a piece */
    int n;
} Copy;

typedef struct Copies {
    Copy *p;
    int n;
} Copies;

typedef struct Block {
    Ctx *ctx;
    Arena *arena, *scratch;
    LoopModule *m;
    LoopFunc *f;
    const BlockNest *nest;
    const BlockPlan *plan;
    int by[MOST_LEVELS]; /* the plan's, more in the rest of a loop around */
    int *number;         /* by value id: 1 + number among the nest's own values, 0: from outside */
    int n_own;
    VEC(LoopStmt *) known; /* pure statements on the way here */
    VEC(DimBinding) fixed; /* indices of unrolled loops */
} Block;

/* ---- one statement */

static LVal value_in(const Block *b, const Copy *c, LVal x) {
    int k = x.id ? b->number[x.id] : 0;
    return k && c->to[k - 1].id ? c->to[k - 1] : x;
}

static LVal *own(const Block *b, const Copy *c, LVal x) { return &c->to[b->number[x.id] - 1]; }

static LVal *values_in(const Block *b, const Copy *c, const LVal *v, int n) {
    LVal *to = ARENA_ARRAY(b->arena, LVal, n + 1);
    for (int k = 0; k < n; k++)
        to[k] = value_in(b, c, v[k]);
    return to;
}

static Dim dim_in(const Block *b, const Copy *c, Dim d) {
    d = c->n ? dim_subst(b->ctx, d, c->at, c->n) : d;
    return b->fixed.n ? dim_subst(b->ctx, d, b->fixed.p, b->fixed.n) : d;
}

static const Dim *dims_in(const Block *b, const Copy *c, const Dim *d, int n) {
    Dim *to = ARENA_ARRAY(b->arena, Dim, n + 1);
    for (int k = 0; k < n; k++)
        to[k] = dim_in(b, c, d[k]);
    return to;
}

/* What any of the copies needs of a loop; NULL: the loop runs to its end. */
static Dim need_in(const Block *b, const LoopStmt *s, Copies c) {
    Dim most = s->need ? dim_in(b, &c.p[0], s->need) : NULL;
    for (int u = 1; most && u < c.n; u++) {
        Dim x = dim_in(b, &c.p[u], s->need), more = x ? dim_sub(b->ctx, x, most) : NULL;
        int64_t by;
        if (!more || !dim_is_const(more, &by))
            return NULL;
        most = by > 0 ? x : most;
    }
    return most;
}

static bool same_values(const LVal *a, const LVal *b, int n) {
    for (int k = 0; k < n; k++)
        if ((a ? a[k].id : 0) != (b ? b[k].id : 0))
            return false;
    return true;
}

static bool same_dims(const Dim *a, const Dim *b, int n) {
    for (int k = 0; k < n; k++)
        if (a[k] != b[k])
            return false;
    return true;
}

static bool is_pure(const LoopStmt *s) {
    return s->kind == LOOP_LET || s->kind == LOOP_CONST || s->kind == LOOP_INDEX ||
           s->kind == LOOP_LOAD;
}

static bool same_statement(const LoopStmt *a, const LoopStmt *b) {
    return a->kind == b->kind && a->op == b->op && a->type.dt == b->type.dt &&
           a->type.lanes == b->type.lanes && a->buf.id == b->buf.id && a->n_args == b->n_args &&
           a->rank == b->rank && a->lane_axis == b->lane_axis && a->lane_step == b->lane_step &&
           a->active == b->active && same_values(a->args, b->args, a->n_args) &&
           same_values(a->sub_vals, b->sub_vals, a->rank) && same_dims(a->subs, b->subs, a->rank) &&
           (a->kind != LOOP_CONST || memcmp(&a->k, &b->k, sizeof a->k) == 0);
}

static uint32_t storage_of(const Block *b, BufId id) { return loop_storage(b->f, id)->id.id; }

/* What is stored to may no longer be what a load found. */
static void forget_loads(Block *b, BufId stored) {
    int kept = 0;
    for (int k = 0; k < b->known.n; k++) {
        LoopStmt *s = b->known.p[k];
        if (s->kind != LOOP_LOAD || storage_of(b, s->buf) != storage_of(b, stored))
            b->known.p[kept++] = s;
    }
    b->known.n = kept;
}

static void forget_stored(Block *b, const LoopBody *body) {
    for (int k = 0; k < body->stmts.n; k++) {
        if (body->stmts.p[k]->kind == LOOP_STORE)
            forget_loads(b, body->stmts.p[k]->buf);
        forget_stored(b, &body->stmts.p[k]->body);
    }
}

static LoopStmt *found(const Block *b, const LoopStmt *s) {
    for (int k = b->known.n - 1; k >= 0; k--)
        if (same_statement(b->known.p[k], s))
            return b->known.p[k];
    return NULL;
}

static void put(Block *b, LoopBody *to, const LoopStmt *s, const Copy *c) {
    LoopStmt n = *s;
    n.args = values_in(b, c, s->args, s->n_args);
    n.subs = s->subs ? dims_in(b, c, s->subs, s->rank) : NULL;
    n.active = s->active ? dim_in(b, c, s->active) : NULL;
    n.sub_vals = s->sub_vals ? values_in(b, c, s->sub_vals, s->rank) : NULL;
    LoopStmt *old = is_pure(s) ? found(b, &n) : NULL;
    if (old) {
        *own(b, c, s->result) = old->result;
        return;
    }
    if (s->kind == LOOP_STORE)
        forget_loads(b, s->buf);
    LoopStmt *made = arena_dup(b->arena, &n, sizeof n);
    if (s->result.id)
        made->result = *own(b, c, s->result) = loop_val(b->m, b->f, s->type);
    vec_push(b->arena, &to->stmts, made);
    if (is_pure(s))
        vec_push(b->scratch, &b->known, made);
}

/* ---- loops of sums */

static void put_body(Block *b, const LoopBody *from, Copies c, LoopBody *to);

static const LoopStmt *yield_of(const LoopStmt *s) { return s->body.stmts.p[s->body.stmts.n - 1]; }

/* The values of the next iteration in those copies. */
static void next_values(Block *b, const LoopStmt *s, Copies c) {
    for (int u = 0; u < c.n; u++) {
        LVal *next = ARENA_ARRAY(b->scratch, LVal, s->n_carried + 1);
        for (int k = 0; k < s->n_carried; k++)
            next[k] = value_in(b, &c.p[u], yield_of(s)->args[k]);
        for (int k = 0; k < s->n_carried; k++)
            *own(b, &c.p[u], s->phi[k]) = next[k];
    }
}

/* The body once, its index being `at`, in the copies that have this point. */
static void put_point(Block *b, const LoopStmt *s, Dim at, Copies c, LoopBody *to) {
    vec_push(b->scratch, &b->fixed, (DimBinding){s->index, at});
    put_body(b, &s->body, c, to);
    b->fixed.n--;
    if (s->n_carried)
        next_values(b, s, c);
}

typedef struct Bounds {
    int64_t lo[MOST_COPIES], hi[MOST_COPIES];
} Bounds;

static void put_points(Block *b, const LoopStmt *s, int64_t from, int64_t end, const Bounds *w,
                       Copies c, LoopBody *to) {
    Copies some = {ARENA_ARRAY(b->scratch, Copy, c.n), 0};
    for (int64_t at = from; at < end; at++) {
        some.n = 0;
        for (int u = 0; u < c.n; u++)
            if (w->lo[u] <= at && at < w->hi[u])
                some.p[some.n++] = c.p[u];
        if (some.n)
            put_point(b, s, dim_const(b->ctx, at), some, to);
    }
}

/* A loop in which every copy carries its own values. */
static void put_loop(Block *b, const LoopStmt *s, const Dim *lo, int n_lo, const Dim *hi, int n_hi,
                     int by, Copies c, LoopBody *to) {
    LoopStmt *n = arena_dup(b->arena, s, sizeof *s);
    int carried = s->n_carried * c.n, j = 0;
    n->need = need_in(b, s, c);
    n->lo = lo;
    n->hi = hi;
    n->n_lo = n_lo;
    n->n_hi = n_hi;
    n->step = by * s->step;
    n->args = values_in(b, &c.p[0], s->args, s->n_args);
    n->n_carried = carried;
    n->init = ARENA_ARRAY(b->arena, LVal, carried + 1);
    n->phi = ARENA_ARRAY(b->arena, LVal, carried + 1);
    n->out = ARENA_ARRAY(b->arena, LVal, carried + 1);
    n->carried = ARENA_ARRAY(b->arena, LType, carried + 1);
    for (int u = 0; u < c.n; u++)
        for (int k = 0; k < s->n_carried; k++, j++) {
            LVal *at = own(b, &c.p[u], s->phi[k]);
            n->init[j] = *at;
            n->carried[j] = s->carried[k];
            *at = n->phi[j] = loop_val(b->m, b->f, s->carried[k]);
        }
    n->body = (LoopBody){0};
    int known = b->known.n;
    forget_stored(b, &s->body);
    known = known < b->known.n ? known : b->known.n;
    for (int q = 0; q < by; q++)
        put_point(b, s, dim_addk(b->ctx, dim_of(b->ctx, s->index), q), c, &n->body);
    b->known.n = known < b->known.n ? known : b->known.n;
    j = 0;
    LVal *last = ARENA_ARRAY(b->arena, LVal, carried + 1);
    for (int u = 0; u < c.n; u++)
        for (int k = 0; k < s->n_carried; k++, j++) {
            LVal *at = own(b, &c.p[u], s->phi[k]);
            last[j] = *at;
            *at = n->out[j] = loop_val(b->m, b->f, s->carried[k]);
        }
    if (carried) {
        LoopStmt *yield = arena_dup(b->arena, yield_of(s), sizeof *yield);
        yield->args = last;
        yield->n_args = carried;
        vec_push(b->arena, &n->body.stmts, yield);
        stream_order(b->arena, b->scratch, b->f, &n->body);
    }
    vec_push(b->arena, &to->stmts, n);
}

static void put_range(Block *b, const LoopStmt *s, int64_t lo, int64_t hi, int by, Copies c,
                      LoopBody *to) {
    Dim bound[2] = {dim_const(b->ctx, lo), dim_const(b->ctx, hi)};
    const Dim *kept = arena_dup(b->arena, bound, sizeof bound);
    if (lo < hi)
        put_loop(b, s, kept, 1, kept + 1, 1, by, c, to);
}

static bool constant_extreme(Ctx *ctx, const Dim *d, int n, bool most, DimSym by, int64_t at,
                             int64_t *out) {
    for (int k = 0; k < n; k++) {
        int64_t v;
        DimBinding here = {by, dim_const(ctx, at)};
        Dim x = by && dim_mentions(d[k], by) ? dim_subst(ctx, d[k], &here, 1) : d[k];
        if (!x || !dim_is_const(x, &v))
            return false;
        *out = !k || (most ? v > *out : v < *out) ? v : *out;
    }
    return true;
}

bool block_bounds(Ctx *ctx, const LoopStmt *s, DimSym by, int64_t at, int64_t *lo, int64_t *hi) {
    return constant_extreme(ctx, s->lo, s->n_lo, true, by, at, lo) &&
           constant_extreme(ctx, s->hi, s->n_hi, false, by, at, hi);
}

/* The bounds in every copy; false: they are not constant. */
static bool bounds_in(const Block *b, const LoopStmt *s, Copies c, Bounds *w) {
    for (int u = 0; u < c.n; u++) {
        DimSym by = NULL;
        int64_t at = 0;
        for (int k = 0; k < c.p[u].n; k++)
            if (loop_bounds_mention(s, c.p[u].sample[k].sym)) {
                by = c.p[u].sample[k].sym;
                at = c.p[u].sample[k].value;
            }
        if (!block_bounds(b->ctx, s, by, at, &w->lo[u], &w->hi[u]))
            return false;
    }
    return true;
}

static int level_of(LoopStmt *const *loops, int n, const LoopStmt *s) {
    for (int k = 0; k < n; k++)
        if (loops[k] == s)
            return k;
    return -1;
}

/* Points that only some copies have are unrolled before and after the loop of those that all have.
 */
static void put_sum(Block *b, const LoopStmt *s, Copies c, LoopBody *to) {
    Bounds *w = ARENA_NEW(b->scratch, Bounds);
    int level = level_of(b->nest->sums, b->nest->n_sums, s), last = b->nest->n_sums - 1;
    bool constant = bounds_in(b, s, c, w) && s->step == 1 && !s->n_args;
    bool all = constant && level >= 0 && level > last - b->plan->unrolled;
    int by = level == last && !b->plan->unrolled && constant ? b->plan->unroll_by : 1;
    for (int u = 0; u < c.n; u++)
        for (int k = 0; k < s->n_carried; k++)
            *own(b, &c.p[u], s->phi[k]) = value_in(b, &c.p[u], s->init[k]);
    if (constant) {
        int64_t first = w->lo[0], start = first, end = w->hi[0], most = end;
        for (int u = 1; u < c.n; u++) {
            first = w->lo[u] < first ? w->lo[u] : first;
            start = w->lo[u] > start ? w->lo[u] : start;
            end = w->hi[u] < end ? w->hi[u] : end;
            most = w->hi[u] > most ? w->hi[u] : most;
        }
        if (all || end < start) {
            put_points(b, s, first, most, w, c, to);
        } else {
            int64_t rest = (end - start) % by;
            put_points(b, s, first, start, w, c, to);
            put_range(b, s, start, end - rest, by, c, to);
            put_points(b, s, end - rest, most, w, c, to);
        }
    } else {
        put_loop(b, s, dims_in(b, &c.p[0], s->lo, s->n_lo), s->n_lo,
                 dims_in(b, &c.p[0], s->hi, s->n_hi), s->n_hi, 1, c, to);
    }
    for (int u = 0; u < c.n; u++)
        for (int k = 0; k < s->n_carried; k++)
            *own(b, &c.p[u], s->out[k]) = *own(b, &c.p[u], s->phi[k]);
}

/* ---- output loops */

static Copy copy_of(Block *b, const Copy *c) {
    Copy n = *c;
    n.to = arena_dup(b->scratch, c->to, (size_t)(b->n_own + 1) * sizeof *n.to);
    return n;
}

/* by copies of each, of the iterations from `at` on; sample: a value of the first one's index. */
static Copies multiply(Block *b, Copies c, const LoopStmt *s, Dim at, int64_t sample, int by) {
    CTX_ASSERT(b->ctx, c.n * by <= MOST_COPIES);
    Copies n = {ARENA_ARRAY(b->scratch, Copy, c.n * by), 0};
    for (int k = 0; k < c.n; k++)
        for (int u = 0; u < by; u++) {
            Copy *x = &n.p[n.n++];
            *x = copy_of(b, &c.p[k]);
            x->at[x->n] = (DimBinding){s->index, dim_addk(b->ctx, at, u * s->step)};
            x->sample[x->n++] = (DimValue){s->index, sample + u * s->step};
        }
    return n;
}

static void put_cell(Block *b, const LoopStmt *s, Copies c, LoopBody *to);

/* `count` blocks of `by` iterations from `from` on, which all have the same inner bounds. */
static void put_piece(Block *b, const LoopStmt *s, int level, int64_t from, int64_t count, int by,
                      Copies c, LoopBody *to) {
    int known = b->known.n;
    if (level && count == 1) {
        put_cell(b, s, multiply(b, c, s, dim_const(b->ctx, from), from, by), to);
        return;
    }
    LoopStmt *n = arena_dup(b->arena, s, sizeof *s);
    int64_t step = by * s->step;
    Dim bound[2] = {dim_const(b->ctx, from), dim_const(b->ctx, from + count * step)};
    const Dim *kept = arena_dup(b->arena, bound, sizeof bound);
    n->lo = kept;
    n->hi = kept + 1;
    n->n_lo = n->n_hi = 1;
    n->need = need_in(b, s, c);
    n->step = step;
    n->body = (LoopBody){0};
    forget_stored(b, &s->body);
    known = known < b->known.n ? known : b->known.n;
    put_cell(b, s, multiply(b, c, s, dim_of(b->ctx, s->index), from, by), &n->body);
    b->known.n = known < b->known.n ? known : b->known.n;
    vec_push(b->arena, &to->stmts, n);
}

/* Have the blocks at x and y the same inner bounds, apart from the index itself? */
static bool same_bounds(const Block *b, int64_t x, int64_t y, DimSym index) {
    for (int k = 0; k < b->nest->n_sums; k++) {
        const LoopStmt *s = b->nest->sums[k];
        int64_t lo[2], hi[2];
        if (!loop_bounds_mention(s, index))
            continue;
        if (!block_bounds(b->ctx, s, index, x, &lo[0], &hi[0]) ||
            !block_bounds(b->ctx, s, index, y, &lo[1], &hi[1]) || lo[0] != lo[1] || hi[0] != hi[1])
            return false;
    }
    return true;
}

static bool same_blocks(const Block *b, int64_t x, int64_t y, int by, const LoopStmt *s) {
    for (int u = 0; u < by; u++)
        if (!same_bounds(b, x + u * s->step, y + u * s->step, s->index))
            return false;
    return true;
}

bool block_open(const BlockNest *nest, int level) {
    const LoopStmt *s = nest->outs[level];
    bool depends = s->n_lo != 1 || s->n_hi != 1;
    for (int k = 0; k < nest->n_sums; k++)
        depends |= loop_bounds_mention(nest->sums[k], s->index);
    for (int k = level + 1; k < nest->n_outs; k++)
        depends |= loop_bounds_mention(nest->outs[k], s->index);
    return !depends;
}

/* A loop whose every iteration has `size` values of its index left before `end`. */
typedef struct Whole {
    Ctx *ctx;
    Dim index, end;
    int64_t size;
} Whole;

/* Lanes before `end` are all on: their access needs no mask. */
static void drop_mask(void *arg, LoopStmt *s) {
    const Whole *w = arg;
    Dim past = s->active ? dim_sub(w->ctx, w->end, dim_add(w->ctx, s->active, w->index)) : NULL;
    int64_t skipped;
    if (past && dim_is_const(past, &skipped) && w->size - skipped >= s->type.lanes)
        s->active = NULL;
}

/* Iterations from lo to hi, by blocks. */
static void put_open(Block *b, const LoopStmt *s, Dim lo, Dim hi, int by, Copies c, LoopBody *to) {
    int known = b->known.n;
    LoopStmt *n = arena_dup(b->arena, s, sizeof *s);
    Dim bound[2] = {lo, hi};
    const Dim *kept = arena_dup(b->arena, bound, sizeof bound);
    n->lo = kept;
    n->hi = kept + 1;
    n->need = need_in(b, s, c);
    n->step = by * s->step;
    n->body = (LoopBody){0};
    forget_stored(b, &s->body);
    known = known < b->known.n ? known : b->known.n;
    if (by > 1)
        c = multiply(b, c, s, dim_of(b->ctx, s->index), 0, by);
    put_cell(b, s, c, &n->body);
    Whole whole = {b->ctx, dim_of(b->ctx, s->index), s->hi[0], n->step};
    if (hi != s->hi[0])
        loop_walk(&n->body, drop_mask, &whole);
    b->known.n = known < b->known.n ? known : b->known.n;
    vec_push(b->arena, &to->stmts, n);
}

/* In the rest of a loop, those inside take so many iterations more that there are as many sums at a
 * time as in a block: `around` copies of those stand here. */
static void widen_inner(Block *b, int level, int around) {
    enum { MOST = 8 };
    int planned = 1, now = around;
    for (int k = 0; k < b->nest->n_outs; k++) {
        planned *= b->plan->by[k];
        now *= k > level ? b->by[k] : 1;
    }
    for (int k = level + 1; k < b->nest->n_outs; k++) {
        int64_t lo, hi;
        while (b->plan->by[k] > 1 && !block_bounds(b->ctx, b->nest->outs[k], NULL, 0, &lo, &hi) &&
               b->by[k] * 2 <= MOST && now * 2 <= planned) {
            b->by[k] *= 2;
            now *= 2;
        }
    }
}

/* A loop whose extent is not known: whole blocks, and of what is left halves, halves of these, and
 * so on. */
static void put_halves(Block *b, const LoopStmt *s, int level, Copies c, LoopBody *to) {
    Ctx *ctx = b->ctx;
    Dim from = s->lo[0];
    int most = b->by[level], kept[MOST_LEVELS];
    memcpy(kept, b->by, sizeof kept);
    for (int by = most; by; by /= 2) {
        Dim block = dim_const(ctx, by * s->step);
        Dim whole = dim_floordiv(ctx, dim_sub(ctx, s->hi[0], from), block);
        Dim end = by == 1 ? s->hi[0]
                  : whole ? dim_add(ctx, from, dim_mul(ctx, whole, block))
                          : NULL;
        CTX_ASSERT(ctx, end);
        widen_inner(b, level, c.n * by);
        put_open(b, s, from, end, by, c, to);
        memcpy(b->by, kept, sizeof kept);
        from = end;
    }
}

static void put_blocks(Block *b, const LoopStmt *s, int level, Copies c, LoopBody *to) {
    int64_t lo, hi;
    int by = b->by[level];
    bool constant = block_bounds(b->ctx, s, NULL, 0, &lo, &hi);
    if (by == 1 && !(level && constant && hi > lo && hi - lo <= s->step)) {
        LoopStmt *n = arena_dup(b->arena, s, sizeof *s);
        int known = b->known.n;
        n->need = need_in(b, s, c);
        n->args = values_in(b, &c.p[0], s->args, s->n_args);
        n->body = (LoopBody){0};
        forget_stored(b, &s->body);
        known = known < b->known.n ? known : b->known.n;
        put_cell(b, s, c, &n->body);
        b->known.n = known < b->known.n ? known : b->known.n;
        vec_push(b->arena, &to->stmts, n);
        return;
    }
    if (!constant) {
        put_halves(b, s, level, c, to);
        return;
    }
    int64_t left = (hi - lo + s->step - 1) / s->step;
    while (left) {
        int block = left < by ? (int)left : by;
        int64_t count = 1, step = block * s->step;
        while ((count + 1) * block <= left && same_blocks(b, lo, lo + count * step, block, s))
            count++;
        put_piece(b, s, level, lo, count, block, c, to);
        lo += count * step;
        left -= count * block;
    }
}

/* ---- what follows the sums, in loops of its own */

static const LoopStmt *the_store(const LoopBody *body) {
    const LoopStmt *store = NULL;
    for (int k = 0; k < body->stmts.n; k++)
        if (body->stmts.p[k]->kind == LOOP_STORE) {
            if (store)
                return NULL;
            store = body->stmts.p[k];
        }
    return store;
}

bool block_apart_allowed(const LoopFunc *f, const BlockNest *nest) {
    const LoopBody *body = &nest->outs[nest->n_outs - 1]->body;
    const LoopStmt *sum = nest->sums[0], *store = the_store(body);
    if (!store || sum->n_carried != 1)
        return false;
    LType t = sum->carried[0];
    if (loop_bufp(f, store->buf)->dt != t.dt || store->type.lanes != t.lanes)
        return false;
    for (int k = 0; k + 1 < nest->n_outs; k++) /* all that is computed stands in the innermost */
        if (nest->outs[k]->body.stmts.n != 1)
            return false;
    bool after = false;
    for (int k = 0; k < body->stmts.n; k++) {
        const LoopStmt *s = body->stmts.p[k];
        if (after && s->kind == LOOP_LOAD && loop_storage(f, s->buf) == loop_storage(f, store->buf))
            return false;
        after = after || s == sum;
    }
    return true;
}

/* The loops from `level` on once more, as they were, around what stands beside the sums; these are
 * loaded. */
static void put_rest(Block *b, const LoopStmt *s, int level, Copies c, LoopBody *to) {
    const LoopStmt *sum = b->nest->sums[0];
    LoopStmt *n = arena_dup(b->arena, s, sizeof *s);
    int known = b->known.n;
    n->need = need_in(b, s, c);
    n->args = values_in(b, &c.p[0], s->args, s->n_args);
    n->body = (LoopBody){0};
    forget_stored(b, &s->body);
    known = known < b->known.n ? known : b->known.n;
    if (level + 1 < b->nest->n_outs) {
        put_rest(b, b->nest->outs[level + 1], level + 1, c, &n->body);
    } else {
        LoopStmt load = *the_store(&s->body);
        load.kind = LOOP_LOAD;
        load.args = NULL;
        load.n_args = 0;
        load.result = sum->out[0];
        load.status = -1;
        for (int k = 0; k < s->body.stmts.n; k++)
            put(b, &n->body, s->body.stmts.p[k] == sum ? &load : s->body.stmts.p[k], &c.p[0]);
    }
    b->known.n = known < b->known.n ? known : b->known.n;
    vec_push(b->arena, &to->stmts, n);
}

static void put_output(Block *b, const LoopStmt *s, int level, Copies c, LoopBody *to) {
    put_blocks(b, s, level, c, to);
    if (b->plan->apart == level)
        put_rest(b, s, level, c, to);
}

/* The statements of an output loop's body; what follows the sums is left to put_rest. */
static void put_cell(Block *b, const LoopStmt *s, Copies c, LoopBody *to) {
    bool innermost = s == b->nest->outs[b->nest->n_outs - 1];
    if (!innermost || b->plan->apart < 0) {
        put_body(b, &s->body, c, to);
        return;
    }
    const LoopStmt *sum = b->nest->sums[0];
    LoopBody before = {0};
    for (int k = 0; s->body.stmts.p[k] != sum; k++)
        vec_push(b->scratch, &before.stmts, s->body.stmts.p[k]);
    put_body(b, &before, c, to);
    put_sum(b, sum, c, to);
    LoopStmt raw = *the_store(&s->body);
    raw.args = ARENA_NEW(b->arena, LVal);
    raw.args[0] = sum->out[0];
    for (int u = 0; u < c.n; u++)
        put(b, to, &raw, &c.p[u]);
}

static void put_body(Block *b, const LoopBody *from, Copies c, LoopBody *to) {
    for (int k = 0; k < from->stmts.n; k++) {
        const LoopStmt *s = from->stmts.p[k];
        int level = s->kind == LOOP_FOR ? level_of(b->nest->outs, b->nest->n_outs, s) : -1;
        if (s->kind == LOOP_YIELD)
            continue;
        if (level >= 0)
            put_output(b, s, level, c, to);
        else if (s->kind == LOOP_FOR)
            put_sum(b, s, c, to);
        else
            for (int u = 0; u < c.n; u++)
                put(b, to, s, &c.p[u]);
    }
}

/* ---- the nest */

static void number_value(Block *b, LVal x) {
    if (x.id)
        b->number[x.id] = ++b->n_own;
}

static void number_values(Block *b, const LoopBody *body) {
    for (int k = 0; k < body->stmts.n; k++) {
        const LoopStmt *s = body->stmts.p[k];
        number_value(b, s->result);
        for (int j = 0; j < s->n_carried; j++) {
            number_value(b, s->phi[j]);
            number_value(b, s->out[j]);
        }
        number_values(b, &s->body);
    }
}

void block_nest(Ctx *ctx, Arena *arena, LoopModule *m, LoopFunc *f, LoopBody *parent,
                const BlockNest *nest, const BlockPlan *plan) {
    Arena scratch;
    arena_init(&scratch, ctx);
    Block b = {.ctx = ctx,
               .arena = arena,
               .scratch = &scratch,
               .m = m,
               .f = f,
               .nest = nest,
               .plan = plan};
    memcpy(b.by, plan->by, sizeof b.by);
    b.number = ARENA_ARRAY(&scratch, int, f->vals.n + 1);
    number_values(&b, &nest->outs[0]->body);
    Copy start = {.to = ARENA_ARRAY(&scratch, LVal, b.n_own + 1)};
    LoopBody to = {0};
    put_output(&b, nest->outs[0], 0, (Copies){&start, 1}, &to);
    loop_replace(arena, parent, loop_position(parent, nest->outs[0]), to.stmts.p, to.stmts.n);
    arena_free(&scratch);
}

/* ---- what may be blocked */

static bool only_loops_and_values(const LoopBody *b) {
    for (int k = 0; k < b->stmts.n; k++) {
        const LoopStmt *s = b->stmts.p[k];
        bool access = s->kind == LOOP_LOAD || s->kind == LOOP_STORE;
        if (access ? s->status >= 0 || s->checked
                   : s->kind != LOOP_LET && s->kind != LOOP_CONST && s->kind != LOOP_INDEX &&
                         s->kind != LOOP_YIELD && (s->kind != LOOP_FOR || s->parallel))
            return false;
        if (!only_loops_and_values(&s->body))
            return false;
    }
    return true;
}

static const LoopStmt *defining(const LoopBody *b, LVal x) {
    for (int k = 0; k < b->stmts.n; k++) {
        const LoopStmt *s = b->stmts.p[k],
                       *inner = s->result.id == x.id ? s : defining(&s->body, x);
        if (inner)
            return inner;
    }
    return NULL;
}

/* Is the loop's condition, a load, the same for all values of the index? */
static bool condition_allows(const BlockNest *nest, const LoopStmt *s, DimSym index) {
    const LoopStmt *def = s->n_args ? defining(&nest->outs[0]->body, s->args[0]) : NULL;
    if (!def)
        return true;
    for (int a = 0; a < def->rank; a++)
        if (dim_mentions(def->subs[a], index))
            return false;
    return def->kind == LOOP_LOAD && !def->sub_vals;
}

/* Bounds of the sums' loops that mention the index mention nothing else, and these loops go one by
 * one, always; no other loop's do. */
static bool bounds_allow(Ctx *ctx, const BlockNest *nest, int level, int64_t at) {
    DimSym index = nest->outs[level]->index;
    for (int k = level + 1; k < nest->n_outs; k++)
        if (nest->outs[k]->n_args || loop_bounds_mention(nest->outs[k], index))
            return false;
    for (int k = 0; k < nest->n_sums; k++) {
        int64_t lo, hi;
        if (!condition_allows(nest, nest->sums[k], index))
            return false;
        if (loop_bounds_mention(nest->sums[k], index) &&
            (nest->sums[k]->step != 1 || nest->sums[k]->n_args ||
             !block_bounds(ctx, nest->sums[k], index, at, &lo, &hi)))
            return false;
    }
    return true;
}

static LoopStmt *only_loop_in(const LoopBody *b, int *n) {
    LoopStmt *found = NULL;
    *n = 0;
    for (int k = 0; k < b->stmts.n; k++)
        if (b->stmts.p[k]->kind == LOOP_FOR) {
            found = b->stmts.p[k];
            (*n)++;
        }
    return *n == 1 ? found : NULL;
}

bool block_find_nest(LoopStmt *s, BlockNest *n) {
    int loops = 1;
    n->n_outs = n->n_sums = 0;
    for (; s && !s->n_carried && n->n_outs < MOST_LEVELS; s = only_loop_in(&s->body, &loops))
        n->outs[n->n_outs++] = s;
    for (; s && s->n_carried && n->n_sums < MOST_LEVELS; s = only_loop_in(&s->body, &loops))
        n->sums[n->n_sums++] = s;
    return !s && !loops && n->n_outs && n->n_sums;
}

static const LoopStmt *definition(const LoopBody *b, LVal x) {
    const LoopStmt *def = NULL;
    for (int k = 0; k < b->stmts.n && !def; k++) {
        const LoopStmt *s = b->stmts.p[k];
        def = s->result.id == x.id ? s : definition(&s->body, x);
    }
    return def;
}

/* Is the condition of each loop inside `b`, if it has one, the same in all iterations of s? Copies share these loops. */
static bool conditions_allow(const LoopStmt *s, const LoopBody *b) {
    for (int k = 0; k < b->stmts.n; k++) {
        const LoopStmt *x = b->stmts.p[k];
        const LoopStmt *def = x->kind == LOOP_FOR && x->n_args ? definition(&s->body, x->args[0]) : NULL;
        bool same = !def || (def->kind == LOOP_LOAD && !def->sub_vals);
        for (int a = 0; def && same && a < def->rank; a++)
            same = !dim_mentions(def->subs[a], s->index);
        if (!same || !conditions_allow(s, &x->body))
            return false;
    }
    return true;
}

bool block_allowed(Ctx *ctx, Arena *scratch, const LoopFunc *f, const BlockNest *nest, int level) {
    const LoopStmt *s = nest->outs[level];
    int64_t lo, hi;
    bool constant = block_bounds(ctx, s, NULL, 0, &lo, &hi);
    if (s->parallel || s->n_carried || !only_loops_and_values(&s->body) ||
        !conditions_allow(s, &s->body))
        return false;
    if (constant ? hi <= lo || !bounds_allow(ctx, nest, level, lo) : !block_open(nest, level))
        return false;
    Vary v = vary_of(ctx, scratch, f, s);
    return vary_independent(&v);
}
