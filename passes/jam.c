/* Unroll-and-jam: several iterations of output loops share the loops of their sums.
 *
 *   for k in 0..6 {
 *     for x in 0..28 {
 *       %1 = for s in 0..3 with %2 = 0 { yield fma(w[k, s], in[x + s], %2) }
 *       store out[k, x] = %1
 *
 * becomes, by 2 in x and with s unrolled,
 *
 *   for k in 0..6 {
 *     for x in 0..28 step 2 {
 *       %1 = fma(w[k, 2], in[x + 2], fma(w[k, 1], in[x + 1], fma(w[k, 0], in[x], 0)))
 *       %2 = fma(w[k, 2], in[x + 3], fma(w[k, 1], in[x + 2], fma(w[k, 0], in[x + 1], 0)))
 *       store out[k, x] = %1
 *       store out[k, x + 1] = %2
 *
 * with each weight and each of the four inputs loaded once. At most two output loops of a nest are
 * taken, three where what a block reads does not stay in the first cache, and up to two of the innermost sums' loops, so that the estimated cycles for each term are
 * fewest while sums and operands stay in registers. Where the bounds of a sum's loop depend on the
 * blocked index (padding), they become constants of the copies, and the border gets code of its
 * own. A long epilogue becomes a nest of its own. */
#include "passes/jam.h"

#include "passes/block.h"
#include "passes/vary.h"

enum {
    MOST_LOADS = 24,
    MOST_AXES = 12,
    LINE = 64,
    MOST_TERMS = 140,  /* of one body */
    MOST_TEXT = 320,   /* terms in all pieces of a nest */
    MOST_POINTS = 32,  /* of unrolled loops */
    MOST_OPS = 4,      /* per sum: of bodies that are worth sharing */
    LONG_EPILOGUE = 6, /* operations */
    LEAST_OPEN = 8,    /* terms of a sum over which loops of unknown extent are blocked */
    LATENCY = 4,       /* cycles until a sum is ready for its next term */
    MOST_BLOCKED = 3   /* output loops */
};

/* One load of the innermost body: how its subscripts depend on the loops. */
typedef struct Load {
    const LoopStmt *s;
    int n_axes;
    int64_t out[MOST_AXES][MOST_LEVELS], sum[MOST_AXES][MOST_LEVELS];
    bool linear;
    bool large; /* vectors along the sum, of a buffer that does not stay in the first cache, or may not */
} Load;

typedef struct Kernel {
    BlockNest nest;
    bool may[MOST_LEVELS];
    int64_t extent[MOST_LEVELS]; /* of output loops that may be blocked */
    bool open[MOST_LEVELS];      /* of these: the extent is known at run time only */
    bool half[MOST_LEVELS];      /* output loops that decide together which cells are needed */
    int64_t trip[MOST_LEVELS];   /* of sums' loops, the most; 0: not constant */
    bool ragged[MOST_LEVELS][MOST_LEVELS]; /* [output][sum]: its bounds depend on that */
    Load loads[MOST_LOADS];
    int n_loads, n_carried, n_ops, n_after;
    bool far; /* what the sums of one cell read takes half of the first cache or more */
} Kernel;

typedef struct Choice {
    int level[MOST_BLOCKED + 1], by[MOST_BLOCKED + 1]; /* output loops; -1: none, as is the last */
    int unrolled, unroll_by;
    double cost;
} Choice;

/* ---- the nest */

static int64_t coefficient(Ctx *ctx, Dim d, DimSym x, bool *linear) {
    Dim c, rest;
    int64_t k = 0;
    if (!dim_mentions(d, x))
        return 0;
    *linear = *linear && dim_linear_in(ctx, d, x, &c, &rest) && dim_is_const(c, &k);
    return k;
}

static bool is_large(Ctx *ctx, const LoopFunc *f, const Target *t, BufId id) {
    Dim bytes = loop_buf_bytes(ctx, loop_storage(f, id));
    int64_t size;
    return !bytes || !dim_is_const(bytes, &size) || size > t->l1_bytes;
}

static void note_load(Ctx *ctx, const LoopFunc *f, const Target *t, Kernel *n, const LoopStmt *s) {
    if (n->n_loads == MOST_LOADS)
        return;
    Load *l = &n->loads[n->n_loads++];
    bool by_lanes = s->type.lanes > 1 && n->nest.sums[n->nest.n_sums - 1]->step == s->type.lanes;
    *l =
        (Load){.s = s, .n_axes = s->rank < MOST_AXES ? s->rank : MOST_AXES, .linear = !s->sub_vals, .large = by_lanes && is_large(ctx, f, t, s->buf)};
    for (int a = 0; a < l->n_axes; a++) {
        for (int k = 0; k < n->nest.n_outs; k++)
            l->out[a][k] = coefficient(ctx, s->subs[a], n->nest.outs[k]->index, &l->linear) *
                           n->nest.outs[k]->step;
        for (int k = 0; k < n->nest.n_sums; k++)
            l->sum[a][k] = coefficient(ctx, s->subs[a], n->nest.sums[k]->index, &l->linear);
    }
}

static bool is_work(const LoopStmt *s, const Target *t) {
    return s->kind == LOOP_LET && s->op != SC_splat &&
           (s->op != SC_select || t->vector_bytes < 64); /* else: masked sums */
}

static void note_body(Ctx *ctx, const LoopFunc *f, const Target *t, Kernel *n) {
    const LoopStmt *inner = n->nest.sums[n->nest.n_sums - 1];
    const LoopBody *cell = &n->nest.outs[n->nest.n_outs - 1]->body;
    n->n_carried = inner->n_carried;
    for (int k = 0; k < inner->body.stmts.n; k++) {
        const LoopStmt *s = inner->body.stmts.p[k];
        n->n_ops += is_work(s, t);
        if (s->kind == LOOP_LOAD)
            note_load(ctx, f, t, n, s);
    }
    bool after = false;
    for (int k = 0; k < cell->stmts.n; k++) {
        n->n_after +=
            after && cell->stmts.p[k]->kind == LOOP_LET && cell->stmts.p[k]->op != SC_splat;
        after = after || cell->stmts.p[k] == n->nest.sums[0];
    }
}

/* The most iterations of a sum's loop, over the values of the index that its bounds depend on; 0:
 * not constant. */
static int64_t trip_of(Ctx *ctx, const Kernel *n, int sum) {
    const LoopStmt *s = n->nest.sums[sum];
    int64_t lo, hi, most = 0;
    if (s->step != 1 || s->n_args)
        return 0;
    if (block_bounds(ctx, s, NULL, 0, &lo, &hi))
        return hi - lo;
    for (int k = 0; k < n->nest.n_outs; k++) {
        int64_t from, end;
        if (!n->ragged[k][sum] || !n->may[k] ||
            !block_bounds(ctx, n->nest.outs[k], NULL, 0, &from, &end))
            continue;
        for (int64_t at = from; at < end && at < from + 64; at += n->nest.outs[k]->step)
            if (block_bounds(ctx, s, n->nest.outs[k]->index, at, &lo, &hi) && hi - lo > most)
                most = hi - lo;
    }
    return most;
}

/* A sum over an extent that is known at run time only. */
static bool is_open(const LoopStmt *s) {
    return !s->n_args && s->n_lo == 1 && s->n_hi == 1 &&
           dim_is_const(s->lo[0], NULL) && !dim_is_const(s->hi[0], NULL);
}

static void note_loops(Ctx *ctx, Arena *scratch, const LoopFunc *f, Kernel *n) {
    const BlockNest *nest = &n->nest;
    for (int k = 0; k < nest->n_outs; k++) {
        int64_t lo, hi;
        n->may[k] = block_allowed(ctx, scratch, f, nest, k);
        if (n->may[k] && block_bounds(ctx, nest->outs[k], NULL, 0, &lo, &hi))
            n->extent[k] = (hi - lo + nest->outs[k]->step - 1) / nest->outs[k]->step;
        for (int j = 0; j < nest->n_sums; j++)
            n->ragged[k][j] = loop_bounds_mention(nest->sums[j], nest->outs[k]->index);
        n->open[k] = n->may[k] && !n->extent[k];
        n->may[k] = n->extent[k] != 0;
    }
    for (int j = 0; j < nest->n_sums; j++)
        n->trip[j] = trip_of(ctx, n, j);
    for (int k = 0; k < nest->n_outs; k++)
        for (int j = 0; nest->outs[k]->need && j <= k; j++)
            n->half[j] |= j == k || dim_mentions(nest->outs[k]->need, nest->outs[j]->index);
    for (int k = 0; k < nest->n_outs; k++) { /* code for the rest is worth it for long sums */
        int64_t trip = n->trip[nest->n_sums - 1];
        n->open[k] = n->open[k] && (trip >= LEAST_OPEN || is_open(nest->sums[nest->n_sums - 1]));
        n->may[k] = n->may[k] || n->open[k];
    }
}

/* ---- what a choice costs */

static int by_of(const Choice *c, int level) {
    for (int k = 0; k < MOST_BLOCKED; k++)
        if (c->level[k] == level)
            return c->by[k];
    return 1;
}

static int copies_of(const Choice *c) {
    int copies = 1;
    for (int k = 0; k < MOST_BLOCKED; k++)
        copies *= c->by[k];
    return copies;
}

/* Iterations of sums' loop j in one body. */
static int64_t points_of(const Kernel *n, const Choice *c, int j) {
    int last = n->nest.n_sums - 1;
    if (j > last - c->unrolled)
        return n->trip[j];
    return j == last && !c->unrolled ? c->unroll_by : 1;
}

/* Different values of the subscript of an axis: sums of its steps along the loops; in one body, or (all) in all of
 * a block's sums. */
static int64_t distinct(const Load *l, int axis, const Kernel *n, const Choice *c, bool all) {
    enum { MOST = 256 };
    bool seen[MOST] = {true}, next[MOST];
    int64_t reach = 1, count = 0;
    for (int k = 0; k <= MOST_BLOCKED + n->nest.n_sums; k++) {
        int sum = k - MOST_BLOCKED - 1;
        int64_t steps = sum >= 0 ? (all ? n->trip[sum] : points_of(n, c, sum)) : c->by[k];
        int64_t coef = sum >= 0 ? l->sum[axis][sum] : c->level[k] < 0 ? 0 : l->out[axis][c->level[k]];
        coef = coef < 0 ? -coef : coef;
        if (!coef || steps == 1)
            continue;
        if (reach + coef * (steps - 1) > MOST)
            return steps * reach;
        for (int64_t x = 0; x < MOST; x++)
            next[x] = false;
        for (int64_t x = 0; x < reach; x++)
            for (int64_t u = 0; u < steps && seen[x]; u++)
                next[x + coef * u] = true;
        reach += coef * (steps - 1);
        for (int64_t x = 0; x < reach; x++)
            seen[x] = next[x];
    }
    for (int64_t x = 0; x < reach; x++)
        count += seen[x];
    return count;
}

/* Rows that a load walks along: values of all its subscripts but the last that changes; with `lanes`, from lane to lane, too. */
static int64_t rows_of(const Load *l, const Kernel *n, const Choice *c, bool lanes) {
    int64_t rows = 1, last = 1;
    for (int a = 0; a < l->n_axes && l->linear; a++) {
        int64_t d = distinct(l, a, n, c, false);
        d *= lanes && l->s->type.lanes > 1 && l->s->lane_axis == a ? l->s->type.lanes : 1;
        rows *= d > 1 ? last : 1;
        last = d > 1 ? d : last;
    }
    return rows;
}

static int64_t times_loaded(const Load *l, const Kernel *n, const Choice *c, int64_t terms) {
    int64_t times = 1;
    for (int a = 0; a < l->n_axes && l->linear; a++)
        times *= distinct(l, a, n, c, false);
    return l->linear && times < terms ? times : terms;
}

/* Of a triangle, blocks that its edge goes through are computed whole: all work by that which is
 * needed. */
static double edge_of(const Kernel *n, const Choice *c) {
    enum { EXTENT = 64 }; /* a guess */
    double over = 1;
    for (int k = 0; k < n->nest.n_outs; k++) {
        int by = by_of(c, k);
        over += n->half[k] ? (double)(by * n->nest.outs[k]->step) / EXTENT : 0;
    }
    return over;
}

/* Cache lines that a block's sums read; 0: not constant. */
static double lines_of(const Kernel *n, const Choice *c) {
    double lines = 0;
    for (int j = 0; j < n->nest.n_sums; j++)
        if (!n->trip[j])
            return 0;
    for (int k = 0; k < n->n_loads; k++) {
        const Load *l = &n->loads[k];
        double cells = 1;
        for (int a = 0; a < l->n_axes; a++)
            cells *= (double)distinct(l, a, n, c, true);
        if (!l->linear)
            return 0;
        lines += cells * (double)((size_t)l->s->type.lanes * dtype_size(l->s->type.dt)) / LINE;
    }
    return lines;
}

/* Cycles for each term in which lines come from the second cache: those of a block that its predecessor, the one before
 * along the innermost loop, has not left in the first one. */
static double reading(const Kernel *n, const Target *t, const Choice *c) {
    double lines = n->far ? lines_of(n, c) : 0, terms = copies_of(c) * n->n_carried;
    int along = n->nest.n_outs - 1;
    for (int j = 0; j < n->nest.n_sums; j++)
        terms *= (double)n->trip[j];
    while (along >= 0 && n->extent[along] == by_of(c, along))
        along--;
    if (lines && along >= 0 && lines * LINE <= 2 * (double)t->l1_bytes) {
        Choice both = *c;
        int k = 0;
        while (k < MOST_BLOCKED && both.level[k] != along)
            k++;
        both.level[k] = along;
        both.by[k] *= 2;
        lines = lines_of(n, &both) - lines;
    }
    return lines ? 0.7 * lines / terms : 0;
}

/* Cycles for each term and each row that is read at once, where every element is read once: memory is the limit, and
 * reads few rows best. 24 rows of 2048 floats come from the second cache at half the speed of 8. */
static const double ROW = 0.002, ROW_OF_LARGE = 0.03;

/* Cycles for each term: two operations start in a cycle, and two loads; vectors often come from L2.
 */
static bool cost_of(const Kernel *n, const Target *t, Choice *c) {
    int copies = copies_of(c), last = n->nest.n_sums - 1;
    int64_t points = 1;
    for (int j = 0; j <= last; j++)
        points *= points_of(n, c, j);
    int64_t terms = points * copies;
    int sums = n->n_carried * copies;
    bool heavy = n->n_ops > MOST_OPS * n->n_carried;
    if (terms * n->n_carried > MOST_TERMS || points > MOST_POINTS || sums >= t->registers - 2 ||
        (heavy && terms > 2))
        return false;
    double loads = 0, held = 0, most = 0, rows = 0;
    for (int k = 0; k < n->n_loads; k++) {
        double times = (double)times_loaded(&n->loads[k], n, c, terms);
        if (times >= (double)terms && (n->n_loads == 1 || n->loads[k].large))
            rows += n->n_loads == 1 ? ROW * (double)rows_of(&n->loads[k], n, c, false)
                                    : ROW_OF_LARGE * (double)rows_of(&n->loads[k], n, c, true);
        int lanes = n->loads[k].s->type.lanes;
        bool strided = lanes > 1 && (n->loads[k].s->lane_step != 1 ||
                                     n->loads[k].s->lane_axis != n->loads[k].s->rank - 1);
        loads += times * (strided ? lanes : lanes > 1 ? 0.75 : 0.5);
        held += times;
        most = times > most ? times : most;
    }
    if (sums + held - most + 1 > (t->registers >= 32 ? 29 : t->registers - 1))
        return false; /* more is spilled, for other reasons too */
    double ops = (double)(n->n_ops * terms) / 2, wait = LATENCY * (double)points;
    double best = ops > loads ? ops : loads;
    best = best > wait ? best : wait;
    c->cost =
        edge_of(n, c) * (best + 0.3 * loads + 0.7) / (double)(terms * n->n_carried) + rows;
    return true;
}

/* Iterations of a sum's loop that only some copies have, all copies being those of one block: each is a piece, around the
 * loop of what all have; -1: there is no such block. */
static int64_t border_of(Ctx *ctx, const Kernel *n, int level, int by, int sum) {
    const LoopStmt *out = n->nest.outs[level], *s = n->nest.sums[sum];
    int64_t from, end, first = 0, start = 0, stop = 0, most = 0;
    if (n->extent[level] != by || s->step != 1 || s->n_args || !block_bounds(ctx, out, NULL, 0, &from, &end))
        return -1;
    for (int u = 0; u < by; u++) {
        int64_t lo, hi;
        if (!block_bounds(ctx, s, out->index, from + u * out->step, &lo, &hi))
            return -1;
        first = !u || lo < first ? lo : first;
        start = !u || lo > start ? lo : start;
        stop = !u || hi < stop ? hi : stop;
        most = !u || hi > most ? hi : most;
    }
    return stop > start ? start - first + most - stop : -1;
}

/* Terms in the text of all pieces; -1: a loop whose bounds depend on a blocked one is not fit for
 * it. */
static int64_t text_of(Ctx *ctx, const Kernel *n, const Choice *c) {
    int last = n->nest.n_sums - 1;
    int64_t terms = n->n_carried, pieces = 1;
    for (int j = 0; j <= last; j++)
        terms *= points_of(n, c, j);
    terms *= copies_of(c);
    for (int k = 0; k < MOST_BLOCKED; k++) {
        int level = c->level[k], by = c->by[k];
        if (level < 0)
            continue;
        int64_t lo, hi, many = 1 + (n->open[level] || n->extent[level] % by != 0), first[2],
                        other[2];
        for (int j = 0; j <= last; j++) {
            if (!n->ragged[level][j])
                continue;
            if (j <= last - c->unrolled && !(j == last && !c->unrolled)) {
                int64_t points = border_of(ctx, n, level, by, j);
                if (points < 0)
                    return -1;
                pieces *= 1 + points;
                continue;
            }
            block_bounds(ctx, n->nest.outs[level], NULL, 0, &lo, &hi);
            int64_t changes = 1;
            const LoopStmt *out = n->nest.outs[level];
            for (int64_t at = lo + out->step; at < hi && at < lo + 256; at += out->step) {
                block_bounds(ctx, n->nest.sums[j], out->index, at - out->step, &first[0],
                             &first[1]);
                block_bounds(ctx, n->nest.sums[j], out->index, at, &other[0], &other[1]);
                changes += first[0] != other[0] || first[1] != other[1];
            }
            int64_t blocks = (n->extent[level] + by - 1) / by;
            many = changes < blocks ? changes : blocks;
        }
        pieces *= many;
    }
    return terms * pieces;
}

/* ---- choosing */

static bool factor_allowed(const Kernel *n, int level, int by) {
    int64_t e = n->extent[level];
    if (n->open[level])
        return by == 2 || by == 3 || by == 4 || by == 6 || by == 8;
    if (by > e || by >= MOST_COPIES)
        return false;
    if (e % by == 0)
        return true;
    bool divisible = false; /* extents like 13 or 29 leave a remainder */
    for (int k = 3; k < 16; k++)
        divisible |= e % k == 0;
    return !divisible && e > 8 && (by == 4 || by == 6 || by == 8);
}

static void try_choice(Ctx *ctx, const Kernel *n, const Target *t, Choice c, Choice *best) {
    static const int by[] = {1, 2, 4, 5, 7};
    int last = n->nest.n_sums - 1;
    for (c.unrolled = 0; c.unrolled <= 2 && c.unrolled <= last + 1; c.unrolled++) {
        if (c.unrolled && !n->trip[last + 1 - c.unrolled])
            return;
        for (int k = 0; k < (c.unrolled ? 1 : 5); k++) {
            c.unroll_by = c.unrolled ? 1 : by[k];
            if (c.unroll_by > 1 &&
                n->trip[last] < 2 * c.unroll_by + 2 * (n->trip[last] % c.unroll_by))
                continue;
            if (!cost_of(n, t, &c) || c.cost >= best->cost)
                continue;
            int64_t text = text_of(ctx, n, &c);
            c.cost += 0.0003 * (double)text + reading(n, t, &c);
            if (text >= 0 && text <= MOST_TEXT && c.cost < best->cost)
                *best = c;
        }
    }
}

/* Blocks of `c` with one more output loop, outside of those it has, up to `most` of them. */
static void try_outer(Ctx *ctx, const Kernel *n, const Target *t, Choice c, int used, int most, Choice *best) {
    int inner = used ? c.level[used - 1] : n->nest.n_outs, copies = copies_of(&c);
    for (c.level[used] = 0; c.level[used] < inner; c.level[used]++)
        for (int by = 2; by * copies < MOST_COPIES && n->may[c.level[used]]; by++) {
            if (!factor_allowed(n, c.level[used], by))
                continue;
            c.by[used] = by;
            try_choice(ctx, n, t, c, best);
            if (used + 1 < most)
                try_outer(ctx, n, t, c, used + 1, most, best);
        }
}

static Choice choose(Ctx *ctx, Kernel *n, const Target *t) {
    Choice best = {.unroll_by = 1, .cost = 1e30};
    for (int k = 0; k <= MOST_BLOCKED; k++) {
        best.level[k] = -1;
        best.by[k] = 1;
    }
    n->far = lines_of(n, &best) * LINE * 2 > (double)t->l1_bytes;
    cost_of(n, t, &best);
    best.cost += reading(n, t, &best);
    try_choice(ctx, n, t, best, &best);
    Choice none = best;
    none.unrolled = 0;
    none.unroll_by = 1;
    try_outer(ctx, n, t, none, 0, n->far ? MOST_BLOCKED : 2, &best);
    return best;
}

/* Long epilogues are loops over so many cells that their ends do not count, but which stay in the
 * caches. */
static int apart_level(Ctx *ctx, const LoopFunc *f, const BlockNest *nest, const BlockPlan *plan) {
    enum { CELLS = 20 };
    int64_t cells = 1, lo, hi;
    int level = nest->n_outs;
    if (!block_apart_allowed(f, nest))
        return -1;
    for (int k = 0; k < nest->n_outs; k++)
        if (plan->by[k] > 1 && k < level)
            level = k;
    for (int k = nest->n_outs - 1; k >= 0; k--) {
        if (!block_bounds(ctx, nest->outs[k], NULL, 0, &lo, &hi))
            return -1;
        cells *= (hi - lo + nest->outs[k]->step - 1) / nest->outs[k]->step;
        if (k <= level && cells >= CELLS)
            return k;
    }
    return 0;
}

static bool jam_nest(Ctx *ctx, Arena *arena, LoopModule *m, LoopFunc *f, const Target *t,
                     LoopBody *parent, LoopStmt *s) {
    BlockNest nest = {0};
    bool is = block_find_nest(s, &nest);
    int64_t trips = 1;
    for (int k = 0; is && k < nest.n_sums; k++)
        trips *= vary_trip(nest.sums[k]);
    Arena scratch;
    arena_init(&scratch, ctx);
    if (is && trips > 1) {
        Kernel *n = ARENA_NEW(&scratch, Kernel);
        n->nest = nest;
        note_loops(ctx, &scratch, f, n);
        note_body(ctx, f, t, n);
        Choice c = choose(ctx, n, t);
        BlockPlan plan = {.unrolled = c.unrolled, .unroll_by = c.unroll_by};
        for (int k = 0; k < n->nest.n_outs; k++)
            plan.by[k] = by_of(&c, k);
        plan.apart = n->n_after >= LONG_EPILOGUE ? apart_level(ctx, f, &n->nest, &plan) : -1;
        if (c.level[0] >= 0 || c.unrolled || c.unroll_by > 1)
            block_nest(ctx, arena, m, f, parent, &n->nest, &plan);
    }
    arena_free(&scratch);
    return is;
}

static void visit(Ctx *ctx, Arena *arena, LoopModule *m, LoopFunc *f, const Target *t,
                  LoopBody *b) {
    for (int k = 0; k < b->stmts.n; k++) {
        LoopStmt *s = b->stmts.p[k];
        int n = b->stmts.n;
        bool output = s->kind == LOOP_FOR && !s->parallel && !s->n_carried;
        if (output && jam_nest(ctx, arena, m, f, t, b, s)) {
            k += b->stmts.n - n;
            continue;
        }
        visit(ctx, arena, m, f, t, &s->body);
        visit(ctx, arena, m, f, t, &s->orelse);
    }
}

void jam_loops(Ctx *ctx, Arena *arena, LoopModule *m, LoopFunc *f, const Target *t) {
    visit(ctx, arena, m, f, t, &f->body);
}
