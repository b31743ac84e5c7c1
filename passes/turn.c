#include "passes/turn.h"

enum {
    FEWEST_LANES = 4,
    MOST_LANES = 16,
    FAR =
        512 /* bytes: rows of the caller's are fetched so much earlier, side by side as they are */
};

/* The copy of a loop: lane k of iteration i. Rows of a square are what one load takes. */
typedef struct Copy {
    Ctx *ctx;
    Arena *arena;
    LoopCursor cur;
    LoopStmt *loop;
    const LoopStmt *load, *store;
    int lanes;
    int load_axis, store_axis; /* where i stands */
    bool gathers;              /* the load's lanes are apart, not the store's */
} Copy;

/* The only axis that mentions i, where it stands with coefficient 1; -1: none. */
static int axis_of(Ctx *ctx, const LoopStmt *s, DimSym i) {
    int axis = -1;
    for (int a = 0; a < s->rank; a++) {
        Dim coef, rest;
        int64_t one;
        if (!dim_mentions(s->subs[a], i))
            continue;
        if (axis >= 0 || !dim_linear_in(ctx, s->subs[a], i, &coef, &rest) ||
            !dim_is_const(coef, &one) || one != 1)
            return -1;
        axis = a;
    }
    return axis;
}

static bool is_contiguous(const LoopStmt *s) {
    return s->lane_axis == s->rank - 1 && s->lane_step == 1;
}

/* Lanes along `axis`, and i along the last one. */
static bool is_apart(const LoopStmt *s, int axis) {
    return axis == s->rank - 1 && s->lane_axis != axis;
}

static bool plain_access(const LoopStmt *s) {
    return s->rank > 1 && !s->sub_vals && s->status < 0 && !s->ahead;
}

static bool match_pair(Copy *c) {
    const LoopStmt *load = c->load, *store = c->store;
    DimSym i = c->loop->index;
    const LoopFunc *f = c->cur.f;
    if (load->kind != LOOP_LOAD || store->kind != LOOP_STORE ||
        store->args[0].id != load->result.id || !plain_access(load) || !plain_access(store) ||
        loop_storage(f, load->buf) == loop_storage(f, store->buf))
        return false;
    c->lanes = load->type.lanes;
    c->load_axis = axis_of(c->ctx, load, i);
    c->store_axis = axis_of(c->ctx, store, i);
    if (c->lanes < FEWEST_LANES || c->lanes > MOST_LANES || c->load_axis < 0 || c->store_axis < 0 ||
        load->type.dt == DT_BOOL)
        return false;
    c->gathers = is_apart(load, c->load_axis);
    const LoopStmt *apart = c->gathers ? load : store, *along = c->gathers ? store : load;
    int axis = c->gathers ? c->load_axis : c->store_axis,
        other = c->gathers ? c->store_axis : c->load_axis;
    return is_apart(apart, axis) && is_contiguous(along) && other != along->rank - 1 &&
           (!load->active || !dim_mentions(load->active, i)) &&
           (!store->active || !dim_mentions(store->active, i));
}

/* What else the loop does: at most one loop that fills other lanes of the same cells with
 * constants, for the same lanes in every iteration. */
static bool match_rest(const Copy *c) {
    const LoopBody *b = &c->loop->body;
    if (b->stmts.n == 2)
        return true;
    const LoopStmt *fill = b->stmts.p[2];
    if (b->stmts.n > 3 || fill->kind != LOOP_FOR || fill->n_carried || fill->n_args ||
        fill->parallel)
        return false;
    for (int k = 0; k < fill->n_lo + fill->n_hi; k++)
        if (dim_mentions(k < fill->n_lo ? fill->lo[k] : fill->hi[k - fill->n_lo], c->loop->index))
            return false;
    for (int k = 0; k < fill->body.stmts.n; k++) {
        const LoopStmt *s = fill->body.stmts.p[k];
        if (s->kind == LOOP_CONST)
            continue;
        if (s->kind != LOOP_STORE || s->buf.id != c->store->buf.id || s->sub_vals ||
            s->subs[c->store_axis] != c->store->subs[c->store_axis] ||
            axis_of(c->ctx, s, c->loop->index) != c->store_axis)
            return false;
    }
    return true;
}

static bool match(Copy *c) {
    const LoopStmt *s = c->loop;
    int64_t lo, hi;
    if (s->kind != LOOP_FOR || s->parallel || s->n_carried || s->n_args || s->step != 1 ||
        s->n_lo != 1 || s->n_hi != 1 || !dim_is_const(s->lo[0], &lo) ||
        !dim_is_const(s->hi[0], &hi) || s->body.stmts.n < 2)
        return false;
    c->load = s->body.stmts.p[0];
    c->store = s->body.stmts.p[1];
    return match_pair(c) && hi - lo >= c->lanes && match_rest(c);
}

/* ---- the squares */

static const Dim *moved(const Copy *c, const LoopStmt *s, int axis, int64_t by) {
    Dim *to = arena_dup(c->arena, s->subs, sizeof *to * (size_t)s->rank);
    to[axis] = dim_addk(c->ctx, to[axis], by);
    return to;
}

/* All lanes where k < active, else none; NULL: all. */
static Dim all_if(const Copy *c, Dim active, int k) {
    return active ? dim_scale(c->ctx, dim_addk(c->ctx, active, -k), c->lanes) : NULL;
}

/* Row k: iteration k of a contiguous load, or lane k of one whose lanes are apart. */
static LVal load_row(Copy *c, int k) {
    const LoopStmt *s = c->load;
    int axis = c->gathers ? s->lane_axis : c->load_axis;
    const Dim *subs = moved(c, s, axis, c->gathers ? k * s->lane_step : k);
    Dim active = c->gathers ? all_if(c, s->active, k) : s->active;
    LoopStmt *row = loop_load_lanes(&c->cur, s->buf, subs, c->lanes, active);
    row->checked = s->checked;
    bool onward = axis != s->rank - 1; /* the next squares lie further along the rows */
    if (onward && loop_storage(c->cur.f, s->buf)->kind == BUF_ARG)
        row->ahead = dim_const(c->ctx, FAR / (int64_t)dtype_size(s->type.dt));
    return row->result;
}

static void store_column(Copy *c, int k, LVal v) {
    const LoopStmt *s = c->store;
    int axis = c->gathers ? c->store_axis : s->lane_axis;
    LoopStmt *col =
        loop_store(&c->cur, s->buf, moved(c, s, axis, c->gathers ? k : k * s->lane_step), v);
    col->active = c->gathers ? s->active : all_if(c, s->active, k);
    col->checked = s->checked;
}

/* zip(v[i], v[i + n/2]) for all i rotates the bits of (row, column) by one place: log2(n) times
 * exchanges them. */
static void square(Copy *c) {
    int n = c->lanes;
    LVal v[MOST_LANES], next[MOST_LANES];
    for (int k = 0; k < n; k++)
        v[k] = load_row(c, k);
    for (int half = n / 2, round = 1; round < n; round *= 2) {
        for (int k = 0; k < half; k++) {
            LVal pair[2] = {v[k], v[k + half]};
            next[2 * k] = loop_let(&c->cur, SC_zip_low, pair, 2, DT_NONE);
            next[2 * k + 1] = loop_let(&c->cur, SC_zip_high, pair, 2, DT_NONE);
        }
        for (int k = 0; k < n; k++)
            v[k] = next[k];
    }
    for (int k = 0; k < n; k++)
        store_column(c, k, v[k]);
}

/* The loop over lo .. hi with this step, of which `body` is the body; NULL: the caller fills it. */
static LoopStmt *part(Copy *c, Dim lo, Dim hi, int64_t step, const LoopBody *body) {
    LoopBody *outer = c->cur.at;
    LoopStmt *s = loop_for(&c->cur, c->loop->index, &lo, 1, &hi, 1, step, NULL, 0);
    s->name = c->loop->name;
    if (!body)
        return s;
    s->body = *body;
    c->cur.at = outer;
    return s;
}

static void turn(Copy *c) {
    int64_t lo = 0, hi = 0;
    dim_is_const(c->loop->lo[0], &lo);
    dim_is_const(c->loop->hi[0], &hi);
    int64_t whole = (hi - lo) / c->lanes * c->lanes;
    Dim mid = dim_const(c->ctx, lo + whole);
    LoopBody *outer = c->cur.at, pair = {0};
    LoopStmt *s = part(c, c->loop->lo[0], mid, c->lanes, NULL);
    square(c);
    loop_end(&c->cur, s, outer, NULL);
    for (int k = 0; k < 2; k++)
        vec_push(c->arena, &pair.stmts, c->loop->body.stmts.p[k]);
    if (lo + whole < hi)
        part(c, mid, c->loop->hi[0], 1, &pair);
    if (c->loop->body.stmts.n == 2)
        return;
    LoopStmt *fill = c->loop->body.stmts.p[2]; /* most often it has no iteration: outside */
    LoopBody inside = fill->body;
    fill->body = (LoopBody){0};
    vec_push(c->arena, &outer->stmts, fill);
    c->cur.at = &fill->body;
    part(c, c->loop->lo[0], c->loop->hi[0], 1, &inside);
    c->cur.at = outer;
}

static void visit(Copy *c, LoopBody *b) {
    LoopBody to = {0};
    bool turned = false;
    for (int k = 0; k < b->stmts.n; k++) {
        c->loop = b->stmts.p[k];
        c->cur.at = &to;
        c->cur.span = c->loop->span;
        if (match(c)) {
            turn(c);
            turned = true;
            continue;
        }
        LoopStmt *s = b->stmts.p[k];
        vec_push(c->arena, &to.stmts, s);
        visit(c, &s->body);
        visit(c, &s->orelse);
    }
    if (turned)
        *b = to;
}

void turn_loops(Ctx *ctx, Arena *arena, LoopModule *m, LoopFunc *f) {
    Copy c = {.ctx = ctx, .arena = arena, .cur = {.m = m, .f = f}};
    visit(&c, &f->body);
}
