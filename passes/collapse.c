/* Two loops that do nothing but walk over neighbouring axes become one over their product.
 *
 *   for i in 0..120 { for j in 0..5 { x = load a[i, j]  store b[g, i, j] = x } }
 * becomes, with aliases a': [600] of a: [120, 5] and b': [4, 600] of b: [4, 120, 5],
 *   for i in 0..600 { x = load a'[i]  store b'[g, i] = x }
 *
 * Every access with one of the two indices has both, alone, on neighbouring axes, and the faster
 * axis is exactly as long as its loop. The points are visited in the same order. Short axes then
 * fill vectors. */
#include "passes/collapse.h"

typedef struct View { /* of a buffer with axes `axis` and `axis` + 1 as one */
    BufId of, to;
    int axis;
} View;

typedef struct Collapse {
    Ctx *ctx;
    Arena *arena;
    LoopModule *m;
    LoopFunc *f;
    VEC(View) views;
    const LoopStmt *outer, *inner; /* the pair at hand */
} Collapse;

static bool mentioned(const Collapse *c, Dim d) {
    return dim_mentions(d, c->outer->index) || dim_mentions(d, c->inner->index);
}

static bool none_mentioned(const Collapse *c, const Dim *d, int n) {
    for (int k = 0; k < n; k++)
        if (mentioned(c, d[k]))
            return false;
    return true;
}

/* The axis of the outer index; -1: neither index is there, -2: they stand otherwise. */
static int pair_axis(const Collapse *c, BufId buf, const LoopStmt *s) {
    const LoopBuf *b = loop_bufp(c->f, buf);
    int axis = -1;
    for (int a = 0; a < s->rank; a++) {
        if (!mentioned(c, s->subs[a]))
            continue;
        bool pair = a + 1 < s->rank && dim_as_symbol(s->subs[a]) == c->outer->index &&
                    dim_as_symbol(s->subs[a + 1]) == c->inner->index;
        bool whole = pair && b->shape[a + 1] == c->inner->hi[0];
        bool lanes = s->type.lanes > 1 && (s->lane_axis == a || s->lane_axis == a + 1);
        if (axis >= 0 || !whole || lanes || s->sub_vals || s->active)
            return -2;
        axis = a++;
    }
    return axis;
}

static bool body_allows(const Collapse *c, const LoopBody *b) {
    for (int k = 0; k < b->stmts.n; k++) {
        const LoopStmt *s = b->stmts.p[k];
        bool good = true;
        switch (s->kind) {
        case LOOP_LOAD:
        case LOOP_STORE:
            good = pair_axis(c, s->buf, s) != -2;
            break;
        case LOOP_INDEX:
            good = none_mentioned(c, s->subs, 1);
            break;
        case LOOP_FOR:
            good = none_mentioned(c, s->lo, s->n_lo) && none_mentioned(c, s->hi, s->n_hi) &&
                   none_mentioned(c, &s->need, s->need != NULL);
            break;
        case LOOP_CALL:
            good = false;
            break;
        case LOOP_LET:
        case LOOP_CONST:
        case LOOP_POLL:
        case LOOP_STATUS:
        case LOOP_RETURN:
        case LOOP_YIELD:
        case LOOP_IF:
        case LOOP_WHILE:
            break;
        }
        if (!good || !body_allows(c, &s->body) || !body_allows(c, &s->orelse))
            return false;
    }
    return true;
}

static BufId view_of(Collapse *c, BufId buf, int axis) {
    for (int k = 0; k < c->views.n; k++)
        if (c->views.p[k].of.id == buf.id && c->views.p[k].axis == axis)
            return c->views.p[k].to;
    LoopBuf b = *loop_bufp(c->f, buf);
    Dim shape[MAX_RANK];
    int rank = 0;
    for (int a = 0; a < b.rank; a++, rank++) {
        shape[rank] = b.shape[a];
        if (a == axis) {
            shape[rank] = dim_mul(c->ctx, b.shape[a], b.shape[a + 1]);
            a++;
        }
        if (!shape[rank])
            return (BufId){0};
    }
    b.kind = BUF_ALIAS;
    b.alias = buf;
    b.offset = NULL;
    b.data = NULL;
    b.written = false; /* of its storage */
    b.rank = rank;
    b.shape = shape;
    View v = {buf, loop_buf(c->m, c->f, b), axis};
    vec_push(c->arena, &c->views, v);
    return v.to;
}

/* Do all views exist? (their sizes do not overflow) */
static bool make_views(Collapse *c, const LoopBody *b) {
    for (int k = 0; k < b->stmts.n; k++) {
        const LoopStmt *s = b->stmts.p[k];
        if (s->kind == LOOP_LOAD || s->kind == LOOP_STORE) {
            int axis = pair_axis(c, s->buf, s);
            if (axis >= 0 && !view_of(c, s->buf, axis).id)
                return false;
        }
        if (!make_views(c, &s->body) || !make_views(c, &s->orelse))
            return false;
    }
    return true;
}

static void use_views(Collapse *c, LoopBody *b) {
    for (int k = 0; k < b->stmts.n; k++) {
        LoopStmt *s = b->stmts.p[k];
        int axis = s->kind == LOOP_LOAD || s->kind == LOOP_STORE ? pair_axis(c, s->buf, s) : -1;
        if (axis >= 0) {
            Dim *subs = ARENA_ARRAY(c->arena, Dim, s->rank);
            for (int a = 0, to = 0; a < s->rank; a++)
                if (a != axis + 1)
                    subs[to++] = s->subs[a];
            s->buf = view_of(c, s->buf, axis);
            s->subs = subs;
            s->rank--;
            s->lane_axis -= s->lane_axis > axis;
        }
        use_views(c, &s->body);
        use_views(c, &s->orelse);
    }
}

static bool from_zero(const LoopStmt *s) {
    return s->kind == LOOP_FOR && !s->parallel && s->step == 1 && s->n_lo == 1 && s->n_hi == 1 &&
           !s->need && dim_is_zero(s->lo[0]);
}

/* The outer body is the inner loop, and the outer carried values only pass through it. */
static bool is_pair(const LoopStmt *s) {
    const LoopBody *b = &s->body;
    const LoopStmt *in = b->stmts.n ? b->stmts.p[0] : NULL;
    if (!from_zero(s) || !in || !from_zero(in) || in->n_args ||
        b->stmts.n != 1 + (s->n_carried > 0) || in->n_carried != s->n_carried ||
        dim_mentions(in->hi[0], s->index))
        return false;
    for (int k = 0; k < s->n_carried; k++)
        if (in->init[k].id != s->phi[k].id || b->stmts.p[1]->args[k].id != in->out[k].id)
            return false;
    return true;
}

/* The results and the name are the outer loop's, phis and body the inner one's. */
static bool collapse(Collapse *c, LoopStmt *s) {
    LoopStmt *in = s->body.stmts.p[0];
    c->outer = s;
    c->inner = in;
    Dim extent = dim_mul(c->ctx, s->hi[0], in->hi[0]);
    if (!extent || !body_allows(c, &in->body) || !make_views(c, &in->body))
        return false;
    use_views(c, &in->body);
    s->hi = arena_dup(c->arena, &extent, sizeof extent);
    s->phi = in->phi;
    s->body = in->body;
    s->name = s->name ? s->name : in->name;
    return true;
}

static void visit(Collapse *c, LoopBody *b) {
    for (int k = 0; k < b->stmts.n; k++) {
        LoopStmt *s = b->stmts.p[k];
        visit(c, &s->body);
        visit(c, &s->orelse);
        if (is_pair(s))
            collapse(c, s);
    }
}

void collapse_loops(Ctx *ctx, Arena *arena, LoopModule *m, LoopFunc *f) {
    Collapse c = {.ctx = ctx, .arena = arena, .m = m, .f = f};
    visit(&c, &f->body);
}
