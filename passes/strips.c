#include "passes/strips.h"

#include "passes/block.h"
#include "passes/vary.h"

enum {
    LEAST_AGAIN = 8, /* iterations of the outer loop: blocks of 4 read the operand twice at least */
    LEAST_STRIP = 4, /* iterations of a strip: those that blocks take */
    PART = 4 /* of the second-level cache: a strip's operand beside other operands and stores */
};

typedef struct Strip {
    Ctx *ctx;
    Arena *arena;
    LoopModule *m;
    LoopFunc *f;
    const Target *target;
    BlockNest nest;
    int64_t trips[2 * MOST_LEVELS]; /* of output loops, then of sums' loops */
} Strip;

typedef VEC(const LoopStmt *) Loads;

static bool constant_trips(Strip *z) {
    for (int k = 0; k < z->nest.n_outs + z->nest.n_sums; k++) {
        const LoopStmt *s = k < z->nest.n_outs ? z->nest.outs[k] : z->nest.sums[k - z->nest.n_outs];
        int64_t lo, hi;
        z->trips[k] = block_bounds(z->ctx, s, NULL, 0, &lo, &hi) ? (hi - lo + s->step - 1) / s->step
                                                                 : vary_trip(s);
        if (z->trips[k] < 1)
            return false;
    }
    return true;
}

static const LoopStmt *loop_at(const Strip *z, int k) {
    return k < z->nest.n_outs ? z->nest.outs[k] : z->nest.sums[k - z->nest.n_outs];
}

/* Bytes that a load reads while the outermost loop stands still and the next one makes `trips`
 * iterations; 0: that is not known. */
static double bytes_of(const Strip *z, const LoopStmt *load, int64_t trips) {
    double bytes =
        (double)dtype_size(load->type.dt) * (load->type.lanes > 1 ? load->type.lanes : 1);
    for (int a = 0; a < load->rank; a++) {
        int64_t reach = 1;
        double points = 1;
        for (int k = 1; k < z->nest.n_outs + z->nest.n_sums; k++) {
            const LoopStmt *s = loop_at(z, k);
            Dim coef, rest;
            int64_t step, n = k == 1 ? trips : z->trips[k];
            if (!dim_mentions(load->subs[a], s->index))
                continue;
            if (!dim_linear_in(z->ctx, load->subs[a], s->index, &coef, &rest) ||
                !dim_is_const(coef, &step))
                return 0;
            reach += (step < 0 ? -step : step) * s->step * (n - 1);
            points *= (double)n;
        }
        bytes *= points < (double)reach ? points : (double)reach;
    }
    return bytes;
}

/* Bytes of the largest operand that the outermost loop reads in each iteration anew. */
static double again(const Strip *z, const Loads *loads, int64_t trips) {
    double most = 0;
    for (int k = 0; k < loads->n; k++) {
        const LoopStmt *s = loads->p[k];
        bool chosen = s->sub_vals != NULL;
        for (int a = 0; a < s->rank; a++)
            chosen |= dim_mentions(s->subs[a], z->nest.outs[0]->index);
        double bytes = chosen ? 0 : bytes_of(z, s, trips);
        most = bytes > most ? bytes : most;
    }
    return most;
}

/* ---- may it be done? */

/* Beside the next loop only values may stand in an output loop: they are computed for every strip.
 */
static bool only_values(const LoopStmt *s, const LoopStmt *next) {
    for (int k = 0; k < s->body.stmts.n; k++) {
        const LoopStmt *x = s->body.stmts.p[k];
        if (x != next && x->kind != LOOP_LET && x->kind != LOOP_CONST && x->kind != LOOP_INDEX &&
            x->kind != LOOP_LOAD)
            return false;
    }
    return true;
}

static bool may_strip(const Strip *z) {
    LoopStmt *const *outs = z->nest.outs;
    int64_t lo, hi;
    bool may = z->nest.n_outs > 1 && !outs[0]->need && !outs[1]->need && !outs[1]->n_args &&
               block_bounds(z->ctx, outs[1], NULL, 0, &lo, &hi) && lo == 0 &&
               hi % outs[1]->step == 0 && only_values(outs[0], outs[1]) &&
               !loop_bounds_inside_mention(outs[0], outs[0]->index) &&
               !loop_bounds_inside_mention(outs[0], outs[1]->index);
    Arena scratch;
    arena_init(&scratch, z->ctx);
    for (int k = 0; k < 2 && may; k++)
        may = block_allowed(z->ctx, &scratch, z->f, &z->nest, k);
    arena_free(&scratch);
    return may;
}

/* ---- the strips */

static void make_strips(const Strip *z, LoopBody *parent, int at, int64_t trips) {
    Ctx *ctx = z->ctx;
    LoopStmt *top = z->nest.outs[0], *s = z->nest.outs[1];
    int64_t n = z->trips[1] / trips, length = trips * s->step;
    DimSym number = loop_fresh_index(ctx, z->f, str_fmt(ctx, "%sb", s->index->name));
    Dim from = dim_scale(ctx, dim_of(ctx, number), length);
    DimBinding by = {s->index, dim_add(ctx, from, dim_of(ctx, s->index))};
    loop_subst(ctx, z->arena, s, &by);
    Dim hi = dim_const(ctx, length);
    s->hi = arena_dup(z->arena, &hi, sizeof hi);
    s->n_hi = 1;
    LoopBody to = {0};
    LoopCursor cur = {.m = z->m, .f = z->f, .at = &to, .span = top->span};
    Dim zero = dim_const(ctx, 0), end = dim_const(ctx, n);
    LoopStmt *loop = loop_for(&cur, number, &zero, 1, &end, 1, 1, NULL, 0);
    loop->name = top->name;
    vec_push(z->arena, &loop->body.stmts, top);
    loop_end(&cur, loop, &to, NULL);
    parent->stmts.p[at] = loop;
}

/* Iterations of a strip; 0: none is worth it. */
static int64_t choose(const Strip *z) {
    const LoopStmt *inner = z->nest.sums[z->nest.n_sums - 1];
    Loads loads = {0};
    for (int k = 0; k < inner->body.stmts.n; k++)
        if (inner->body.stmts.p[k]->kind == LOOP_LOAD)
            vec_push(z->arena, &loads, inner->body.stmts.p[k]);
    double l2 = (double)z->target->l2_bytes;
    if (z->trips[0] < LEAST_AGAIN || again(z, &loads, z->trips[1]) <= l2 / 2)
        return 0;
    for (int64_t n = 2; n <= z->trips[1] / LEAST_STRIP; n++)
        if (z->trips[1] % n == 0 && again(z, &loads, z->trips[1] / n) <= l2 / PART)
            return z->trips[1] / n;
    return 0;
}

static bool strip(Strip *z, LoopBody *parent, int at) {
    if (!block_find_nest(parent->stmts.p[at], &z->nest) || z->nest.n_outs < 2 || !constant_trips(z))
        return false;
    int64_t trips = choose(z);
    if (!trips || !may_strip(z))
        return false;
    make_strips(z, parent, at, trips);
    return true;
}

static void visit(Strip *z, LoopBody *b) {
    for (int k = 0; k < b->stmts.n; k++) {
        LoopStmt *s = b->stmts.p[k];
        bool output = s->kind == LOOP_FOR && !s->parallel && !s->n_carried;
        if (output && strip(z, b, k))
            continue;
        visit(z, &s->body);
        visit(z, &s->orelse);
    }
}

void strip_loops(Ctx *ctx, Arena *arena, LoopModule *m, LoopFunc *f, const Target *target) {
    Strip z = {.ctx = ctx, .arena = arena, .m = m, .f = f, .target = target};
    visit(&z, &f->body);
}
