/* within: squares about a mean are summed about the means of rows first.
 *
 *   %m = nest [i] += %x[r, i, a, b] over i<C, r<N, a<32, b<32 then acc / f32({1024*N})
 *   %v = nest [i] += let $0 = %x[r, i, a, b] - %m[i]; $0 * $0 over i<C, r<N, a<32, b<32
 * becomes
 *   %s = nest [r, i] += %x[r, i, a, b] over r<N, i<C, a<32, b<32
 *   %m = nest [i] += %s[r, i] over i<C, r<N then acc / f32({1024*N})
 *   %q = nest [r, i] += let $0 = %x[r, i, a, b] - %s[r, i] / 1024; $0 * $0 over r<N, i<C, a<32,
 * b<32 %v = nest [i] += let $0 = %s[r, i] / 1024 - %m[i]; %q[r, i] + 1024 * ($0 * $0) over i<C, r<N
 *
 * so that the squares need not wait for the mean of all rows: a slice reads %x while the cache
 * holds it, and what is left to be done with the mean has a number for each row and channel. The
 * squares within rows and those between them add up to those about any %m; the mean of a row is
 * close to what it is the mean of, so nothing is lost to cancellation. Sums without an axis of
 * constant extent are left alone, and those of squares about something that no sum of rows has to
 * be known for. */
#include "ir/build.h"
#include "passes/rewrite.h"

enum { LEAST = 8 /* elements of a row: fewer are not worth two numbers for each */ };

/* A sum of squares of x - e over rows and over the axes `inner` of x. */
typedef struct Squares {
    const Inst *inst;
    Val x;
    uint64_t inner; /* axes of x that are summed and of constant extent */
    int64_t count;  /* elements along those */
    int read, e;    /* of the body: x, and what is subtracted from it */
    Val sums;       /* of x along those axes, in the function being built; id 0: not yet there */
} Squares;

typedef struct Within {
    Rewrite r;
    VEC(Squares) all;
} Within;

/* A sum without guards, each cell of the operand at most once: *inner and *count of the axes that
 * it sums over constant extents; *open: it sums others too. */
static bool sums_axes(Ctx *ctx, const Nest *n, const BodyInst *x, uint64_t *inner, int64_t *count,
                      bool *open) {
    uint64_t out, seen = 0;
    if (n->op != NEST_SUM || n->init >= 0 || n->n_guards || n->need || !nest_plain_map(n) ||
        !nest_outputs(ctx, n, &out) || x->kind != BODY_READ || x->has_fill || x->rank != n->n_box)
        return false;
    *inner = 0;
    *count = 1;
    *open = false;
    for (int a = 0; a < x->rank; a++) {
        int j = nest_box_of(n, dim_as_symbol(x->map[a]));
        int64_t extent;
        if (j < 0 || seen >> j & 1)
            return false;
        seen |= (uint64_t)1 << j;
        if (out >> j & 1)
            continue;
        bool constant = dim_is_const(n->box[j].extent, &extent);
        *open |= !constant;
        *inner |= constant ? (uint64_t)1 << a : 0;
        *count *= constant ? extent : 1;
    }
    return true;
}

/* Does a value wait for a sum over an extent that is known at run time only? */
static bool waits(Ctx *ctx, const Func *f, Val v) {
    const Inst *def = graph_def(f, v);
    const Nest *n = def && def->op == &op_nest ? def->attr : NULL;
    uint64_t out;
    if (!n || n->op != NEST_SUM || !nest_outputs(ctx, n, &out))
        return false;
    for (int j = 0; j < n->n_box; j++)
        if (!(out >> j & 1) && !dim_is_const(n->box[j].extent, NULL))
            return true;
    return false;
}

static bool is_op(const BodyInst *i, ScalarOp op) { return i->kind == BODY_OP && i->op == op; }

/* Is all that the body reads beside x the same for all that is summed, and has one of it to be
 * waited for? */
static bool others_wait(Ctx *ctx, const Func *f, const Inst *i, int x) {
    const Nest *n = i->attr;
    uint64_t out;
    bool any = false;
    nest_outputs(ctx, n, &out);
    for (int k = 0; k < n->body.n; k++) {
        const BodyInst *b = &n->body.insts[k];
        for (int j = 0; k != x && j < n->n_box; j++) {
            bool mentions = b->kind == BODY_INDEX && dim_mentions(b->dim, n->box[j].sym);
            for (int a = 0; b->kind == BODY_READ && a < b->rank; a++)
                mentions |= dim_mentions(b->map[a], n->box[j].sym);
            if (mentions && !(out >> j & 1))
                return false;
        }
        any |= k != x && b->kind == BODY_READ && waits(ctx, f, i->args[b->operand]);
    }
    return any;
}

static bool find_squares(Ctx *ctx, const Func *f, const Inst *i, Squares *s) {
    const Nest *n = i->op == &op_nest ? i->attr : NULL;
    if (!n || n->body.n < 4)
        return false;
    const BodyInst *b = n->body.insts, *square = &b[n->body.n - 1];
    if (!is_op(square, SC_mul) || square->args[0] != square->args[1] ||
        !is_op(&b[square->args[0]], SC_sub))
        return false;
    int x = b[square->args[0]].args[0];
    bool open;
    *s = (Squares){.inst = i, .read = x, .e = b[square->args[0]].args[1]};
    if (!sums_axes(ctx, n, &b[x], &s->inner, &s->count, &open) || !open || s->count < LEAST ||
        !others_wait(ctx, f, i, x))
        return false;
    s->x = i->args[b[x].operand];
    Type t = graph_type(f, i->first);
    return dtype_is_real(t.dt) && b[x].dt == square->dt && t.dt == square->dt;
}

/* ---- the nests */

/* Those of a list, by axis of x, that are not along an inner axis. */
static int without_inner(const Squares *s, const Dim *of, int rank, Dim *to) {
    int n = 0;
    for (int a = 0; a < rank; a++)
        if (!(s->inner >> a & 1))
            to[n++] = of[a];
    return n;
}

/* The mean of a row: dt is that of x. */
static int row_mean(BodyBuilder *b, DType dt, const Squares *s, int sum) {
    return body_op2(b, SC_mul, sum, body_real(b, dt, 1.0 / (double)s->count));
}

/* For each row: the sum of x, or (given those) of its squares about their mean. */
static Val by_row(const Within *w, const Squares *s, const Inst *of, bool squares) {
    Val x = rewrite_val(&w->r, s->x);
    Type t = graph_type(w->r.to, x);
    NestMaker m = nest_maker(w->r.m, w->r.to, NEST_SUM);
    Dim at[MAX_RANK], kept[MAX_RANK], shape[MAX_RANK];
    maker_cells(&m, t, at);
    int rank = without_inner(s, at, t.rank, kept), cell = maker_read(&m, x, at);
    without_inner(s, t.shape, t.rank, shape);
    if (squares) {
        int mean = row_mean(&m.b, t.dt, s, maker_read(&m, s->sums, kept)),
            d = body_op2(&m.b, SC_sub, cell, mean);
        cell = body_op2(&m.b, SC_mul, d, d);
    }
    NestOp old = nestop_of(w->r.from, of);
    return maker_done(&m, cell, rank, kept, shape, old.span, old.name);
}

/* The nest reads sums along the inner axes: it loses their indices, and gets operands. */
static void lose_inner(const Within *w, const Squares *s, NestOp *n, const BodyInst *x,
                       const Val *more, int n_more) {
    Ctx *ctx = w->r.u->ctx;
    NestIndex *box = ARENA_ARRAY(&ctx->perm, NestIndex, n->nest.n_box);
    Val *args = ARENA_ARRAY(w->r.u->arena, Val, n->n_args + n_more);
    uint64_t gone = 0;
    int n_box = 0;
    for (int a = 0; a < x->rank; a++)
        if (s->inner >> a & 1)
            gone |= (uint64_t)1 << nest_box_of(&n->nest, dim_as_symbol(x->map[a]));
    for (int j = 0; j < n->nest.n_box; j++)
        if (!(gone >> j & 1))
            box[n_box++] = n->nest.box[j];
    for (int k = 0; k < n->n_args + n_more; k++)
        args[k] = k < n->n_args ? n->args[k] : more[k - n->n_args];
    n->nest.box = box;
    n->nest.n_box = n_box;
    n->args = args;
    n->n_args += n_more;
}

static Val squares_of_rows(const Within *w, Squares *s, const Inst *i) {
    NestOp n = rewrite_nestop(&w->r, i);
    const Body *old = &n.nest.body;
    const BodyInst *x = &old->insts[s->read];
    Val more[2] = {by_row(w, s, i, true), s->sums};
    Dim kept[MAX_RANK];
    int rank = without_inner(s, x->map, x->rank, kept), operand = n.n_args;
    BodyBuilder b = body_new(w->r.u->ctx);
    Body e = {s->e + 1, old->insts};
    int within = body_read(&b, x->dt, operand, rank, kept),
        mean = row_mean(&b, x->dt, s, body_read(&b, x->dt, operand + 1, rank, kept)),
        d = body_op2(&b, SC_sub, mean, body_import(&b, &e, NULL, 0, NULL)),
        between = body_op2(&b, SC_mul, body_real(&b, x->dt, (double)s->count),
                           body_op2(&b, SC_mul, d, d));
    lose_inner(w, s, &n, x, more, 2);
    n.nest.body = body_done(&b, body_op2(&b, SC_add, within, between));
    n = nestop_compact(w->r.u->ctx, &n);
    return nestop_emit(w->r.m, w->r.to, &n);
}

static Val sum_of_rows(const Within *w, const Squares *s, const Inst *i) {
    NestOp n = rewrite_nestop(&w->r, i);
    const BodyInst *x = &n.nest.body.insts[0];
    Dim kept[MAX_RANK];
    int rank = without_inner(s, x->map, x->rank, kept);
    BodyBuilder b = body_new(w->r.u->ctx);
    int cell = body_read(&b, x->dt, n.n_args, rank, kept);
    lose_inner(w, s, &n, x, &s->sums, 1);
    n.nest.body = body_done(&b, cell);
    n = nestop_compact(w->r.u->ctx, &n);
    return nestop_emit(w->r.m, w->r.to, &n);
}

/* The squares of the same x whose sums by row the sum i adds up; NULL. */
static Squares *adds_up(Within *w, const Inst *i) {
    const Nest *n = i->op == &op_nest ? i->attr : NULL;
    uint64_t inner;
    int64_t count;
    bool open;
    if (!n || n->body.n != 1 ||
        !sums_axes(w->r.u->ctx, n, &n->body.insts[0], &inner, &count, &open) || !open)
        return NULL;
    for (int k = 0; k < w->all.n; k++) {
        Squares *s = &w->all.p[k];
        if (i->args[n->body.insts[0].operand].id == s->x.id && (s->inner & ~inner) == 0)
            return s;
    }
    return NULL;
}

static Squares *squares_at(Within *w, const Inst *i) {
    for (int k = 0; k < w->all.n; k++)
        if (w->all.p[k].inst == i)
            return &w->all.p[k];
    return NULL;
}

static void within_func(Unit *u, Func *f) {
    Within w = {0};
    if (f->entry && f->entry->kind == ENTRY_INIT) /* it has no memory for more values */
        return;
    for (int k = 0; k < f->insts.n; k++) {
        Squares s;
        if (find_squares(u->ctx, f, f->insts.p[k], &s))
            vec_push(u->arena, &w.all, s);
    }
    if (!w.all.n)
        return;
    w.r = rewrite_begin(u, f);
    for (int k = 0; k < f->insts.n; k++) {
        const Inst *i = f->insts.p[k];
        Squares *squares = squares_at(&w, i), *s = squares ? squares : adds_up(&w, i);
        if (!s) {
            rewrite_copy(&w.r, i);
            continue;
        }
        if (!s->sums.id)
            s->sums = by_row(&w, s, i, false);
        w.r.map.to[i->first.id] = squares ? squares_of_rows(&w, s, i) : sum_of_rows(&w, s, i);
    }
    rewrite_end(&w.r);
}

void pass_within(Unit *u) { each_func(u, within_func); }
