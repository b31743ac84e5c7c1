/* Rewrites of nests: guards out of bodies, work out of windows, fusion of producers and epilogues. */
#include "ir/nest_priv.h"

/* ---- lift: under a sum, what adds 0 becomes a guard */

typedef struct Lift {
    Ctx *ctx;
    Nest n;
    VEC(NestGuard) guards;
} Lift;

static bool is_zero(const BodyInst *i) { return i->kind == BODY_CONST && i->k.f == 0 && i->k.i == 0; }

static Dim affine_value(Ctx *ctx, const Body *b, int k) {
    const BodyInst *i = &b->insts[k];
    if (i->kind == BODY_INDEX || i->kind == BODY_DIM)
        return i->dim;
    return i->kind == BODY_CONST && !dtype_is_real(i->dt) ? dim_const(ctx, i->k.i) : NULL;
}

/* Appends the guards under which a condition holds (or, with `holds` false, fails); false: it is not affine. */
static bool guards_of(Lift *l, const Body *b, int cond, bool holds) {
    Ctx *ctx = l->ctx;
    const BodyInst *c = &b->insts[cond];
    if (c->kind != BODY_OP)
        return false;
    if (c->op == SC_not)
        return guards_of(l, b, c->args[0], !holds);
    if ((c->op == SC_and && holds) || (c->op == SC_or && !holds))
        return guards_of(l, b, c->args[0], holds) && guards_of(l, b, c->args[1], holds);
    if (c->op != SC_lt && c->op != SC_le && !(c->op == SC_eq && holds))
        return false;
    Dim x = affine_value(ctx, b, c->args[0]), y = affine_value(ctx, b, c->args[1]), lo, hi;
    if (!x || !y)
        return false;
    Dim d = holds ? dim_sub(ctx, y, x) : dim_sub(ctx, x, y); /* not negative on the points that count */
    if (c->op == SC_eq) {
        vec_push(&ctx->perm, &l->guards, (NestGuard){d, dim_const(ctx, 1)});
        return true;
    }
    if ((c->op == SC_lt) == holds)
        d = dim_addk(ctx, d, -1);
    nest_span(ctx, &l->n, d, &lo, &hi);
    vec_push(&ctx->perm, &l->guards, (NestGuard){d, dim_addk(ctx, hi, 1)});
    return true;
}

/* select(c, e, 0): the number of e, with c's guards added; -1 if it is not of that form. */
static int lift_select(Lift *l, const Body *b, int top) {
    const BodyInst *i = &b->insts[top];
    if (i->kind != BODY_OP || i->op != SC_select)
        return -1;
    bool keep_then = is_zero(&b->insts[i->args[2]]);
    if (!keep_then && !is_zero(&b->insts[i->args[1]]))
        return -1;
    int n = l->guards.n;
    if (!guards_of(l, b, i->args[0], keep_then)) {
        l->guards.n = n;
        return -1;
    }
    return i->args[keep_then ? 1 : 2];
}

/* Factors x?0[..] of the product at `top`: x?0 * w differs from 0 only where w is inf or NaN. */
static void mark_factors(const Body *b, int top, bool *drop) {
    const BodyInst *i = &b->insts[top];
    if (i->kind == BODY_OP && i->op == SC_mul) {
        mark_factors(b, i->args[0], drop);
        mark_factors(b, i->args[1], drop);
    } else if (i->kind == BODY_READ && i->has_fill && i->k.f == 0 && i->k.i == 0) {
        drop[top] = true;
    }
}

/* Reads marked in drop lose their fill; where they are inside their operand becomes a guard. */
static void drop_fills(Lift *l, const NestOp *n, const Func *f, const Body *b, const bool *drop, BodyInst *insts) {
    for (int k = 0; k < b->n; k++) {
        if (!drop[k])
            continue;
        Type t = graph_type(f, n->args[insts[k].operand]);
        NestGuard *g = ARENA_ARRAY(&l->ctx->perm, NestGuard, t.rank + 1);
        int added = nest_within(l->ctx, &l->n, t.rank, insts[k].map, t.shape, g, 0);
        for (int j = 0; j < added; j++)
            vec_push(&l->ctx->perm, &l->guards, g[j]);
        insts[k].has_fill = false;
    }
}

NestOp nest_lift(Ctx *ctx, const NestOp *n, const Func *f) {
    NestOp r = *n;
    uint64_t out;
    bool settled = nest_outputs(ctx, &n->nest, &out);
    uint64_t all = n->nest.n_box == 64 ? ~(uint64_t)0 : ((uint64_t)1 << n->nest.n_box) - 1;
    if (n->nest.op != NEST_SUM || (settled && out == all)) /* without a reduction nothing is gained */
        return r;
    Lift l = {.ctx = ctx, .n = n->nest};
    for (int k = 0; k < n->nest.n_guards; k++)
        vec_push(&ctx->perm, &l.guards, n->nest.guards[k]);
    int before = l.guards.n, top = n->nest.body.n - 1, next;
    Body body = n->nest.body;
    while ((next = lift_select(&l, &body, top)) >= 0)
        top = next;
    BodyInst *insts = arena_dup(&ctx->perm, body.insts, sizeof *insts * (size_t)body.n);
    bool *drop = ARENA_ARRAY(&ctx->perm, bool, body.n);
    mark_factors(&body, top, drop);
    drop_fills(&l, n, f, &body, drop, insts);
    if (l.guards.n == before && top == body.n - 1)
        return r;
    BodyBuilder b = body_new(ctx);
    Body upto = {top + 1, insts};
    r.nest.body = body_done(&b, body_import(&b, &upto, NULL, 0, NULL));
    r.nest.guards = l.guards.p;
    r.nest.n_guards = l.guards.n;
    r.nest = nest_tidy(ctx, &r.nest);
    return nestop_compact(ctx, &r);
}

/* ---- bodies of one read */

/* The body's only read (all reads equal), or -1; has_idx: it uses index or dim values. */
static int only_read(const Body *b, bool *has_idx) {
    int read = -1;
    *has_idx = false;
    for (int k = 0; k < b->n; k++) {
        *has_idx |= b->insts[k].kind == BODY_INDEX;
        if (b->insts[k].kind != BODY_READ)
            continue;
        if (read >= 0)
            return -1;
        read = k;
    }
    return read;
}

/* The value of the body where its read yields v; false: it needs a dim's value. */
static bool value_at(const Body *b, ScalarValue v, ScalarValue *out, Ctx *ctx) {
    ScalarValue *vals = ARENA_ARRAY(&ctx->perm, ScalarValue, b->n);
    for (int k = 0; k < b->n; k++) {
        const BodyInst *i = &b->insts[k];
        if (i->kind == BODY_READ) {
            vals[k] = v;
        } else if (i->kind == BODY_CONST) {
            vals[k] = i->k;
        } else if (i->kind == BODY_OP) {
            ScalarValue a[3] = {{0}};
            int arity = scalar_def(i->op)->arity;
            for (int j = 0; j < arity; j++)
                a[j] = vals[i->args[j]];
            vals[k] = scalar_eval(i->op, b->insts[i->args[arity - 1]].dt, i->dt, a);
        } else {
            return false;
        }
    }
    *out = vals[b->n - 1];
    return true;
}

/* Is f worth an array of its own? Conversions alone are not. */
static bool computes(const Body *b) {
    for (int k = 0; k < b->n; k++)
        if (b->insts[k].kind == BODY_OP && b->insts[k].op != SC_cast)
            return true;
    return false;
}

static Dim points_of(Ctx *ctx, const Nest *n) {
    Dim p = dim_const(ctx, 1);
    for (int k = 0; k < n->n_box; k++)
        p = dim_mul(ctx, p, n->box[k].extent);
    return p;
}

/* The nest t = f(x) over x's own shape. */
static NestOp own_producer(Ctx *ctx, const NestOp *n, int read, Type x) {
    NestIndex *box = ARENA_ARRAY(&ctx->perm, NestIndex, x.rank + 1);
    Dim *map = ARENA_ARRAY(&ctx->perm, Dim, x.rank + 1);
    for (int k = 0; k < x.rank; k++) {
        box[k] = (NestIndex){nest_fresh_index(ctx, str_fmt(ctx, "i%d", k), box, k), x.shape[k]};
        map[k] = dim_of(ctx, box[k].sym);
    }
    BodyInst *insts = arena_dup(&ctx->perm, n->nest.body.insts, sizeof *insts * (size_t)n->nest.body.n);
    insts[read].map = map;
    insts[read].has_fill = false;
    Body body = {n->nest.body.n, insts};
    NestOp p = {.n_args = n->n_args, .args = n->args, .span = n->span, .name = n->name};
    p.type = type_with(x, insts[body.n - 1].dt);
    p.nest = (Nest){.op = NEST_STORE, .n_box = x.rank, .box = box, .rank = x.rank, .map = map, .body = body, .init = -1};
    return nestop_compact(ctx, &p);
}

bool nest_canon(Ctx *ctx, const NestOp *n, const Func *f, NestOp *producer, NestOp *consumer) {
    bool has_idx;
    const Body *b = &n->nest.body;
    int read = only_read(b, &has_idx);
    if (read < 0 || b->n == 1 || has_idx || !computes(b))
        return false;
    const BodyInst *r = &b->insts[read];
    Type x = graph_type(f, n->args[r->operand]);
    ScalarValue fill = {0};
    Dim more = dim_sub(ctx, points_of(ctx, &n->nest), type_count(ctx, x));
    if (!dim_prove_positive(ctx, NULL, more) || (r->has_fill && !value_at(b, r->k, &fill, ctx)))
        return false;
    *producer = own_producer(ctx, n, read, x);
    BodyBuilder nb = body_new(ctx);
    int at = r->has_fill ? body_read_fill(&nb, producer->type.dt, n->n_args, r->rank, r->map, fill)
                         : body_read(&nb, producer->type.dt, n->n_args, r->rank, r->map);
    Val *args = ARENA_ARRAY(&ctx->perm, Val, n->n_args + 1);
    for (int k = 0; k < n->n_args; k++)
        args[k] = n->args[k];
    *consumer = *n;
    consumer->args = args;
    consumer->n_args++;
    consumer->nest.body = body_done(&nb, at);
    *consumer = nestop_compact(ctx, consumer); /* the placeholder has id 0 and stays last */
    return true;
}

/* ---- fusion */

/* A fill v of c's read is taken over by p's only read x[..] if that is a permutation of all of p's indices, covers x,
 * and p's body maps v to v. */
static bool takes_over(Ctx *ctx, const NestOp *p, const Func *f, ScalarValue v) {
    bool has_idx;
    const Body *b = &p->nest.body;
    int read = only_read(b, &has_idx);
    if (read < 0 || has_idx || b->insts[read].has_fill || b->insts[read].rank != p->nest.n_box)
        return false;
    const BodyInst *r = &b->insts[read];
    Type x = graph_type(f, p->args[r->operand]);
    for (int k = 0; k < r->rank; k++) {
        DimSym s = dim_as_symbol(r->map[k]);
        int at = s ? nest_box_of(&p->nest, s) : -1;
        if (at < 0 || p->nest.box[at].extent != x.shape[k])
            return false;
        for (int j = 0; j < k; j++)
            if (r->map[j] == r->map[k])
                return false;
    }
    ScalarValue w;
    if (!value_at(b, v, &w, ctx))
        return false;
    return dtype_is_real(p->type.dt) ? w.f == v.f : w.i == v.i;
}

/* An operation on operands that have moved: shared and folded like what is built. */
static int copy_op(BodyBuilder *b, const BodyInst *i, const int *to) {
    const int *a = i->args;
    if (i->op == SC_cast)
        return body_cast(b, i->dt, to[a[0]]);
    if (i->op == SC_bitcast)
        return body_bitcast(b, i->dt, to[a[0]]);
    switch (scalar_def(i->op)->arity) {
    case 1:
        return body_op1(b, i->op, to[a[0]]);
    case 2:
        return body_op2(b, i->op, to[a[0]], to[a[1]]);
    default:
        return body_op3(b, i->op, to[a[0]], to[a[1]], to[a[2]]);
    }
}

/* Copies `from` into b with reads of p's value replaced by p's body. */
static int import_with(BodyBuilder *b, const Body *from, const NestOp *p, const NestOp *c, Val p_val, int shift) {
    Ctx *ctx = b->ctx;
    int *to = ARENA_ARRAY(&ctx->perm, int, from->n), *p_args = ARENA_ARRAY(&ctx->perm, int, p->n_args + 1);
    for (int k = 0; k < p->n_args; k++)
        p_args[k] = shift + k;
    for (int k = 0; k < from->n; k++) {
        const BodyInst *i = &from->insts[k];
        if (i->kind != BODY_READ || c->args[i->operand].id != p_val.id) {
            Body one = {1, i}; /* operands of c keep their numbers */
            to[k] = i->kind == BODY_OP ? copy_op(b, i, to) : body_import(b, &one, NULL, 0, NULL);
            continue;
        }
        DimBinding *bind = ARENA_ARRAY(&ctx->perm, DimBinding, p->nest.rank + 1);
        for (int j = 0; j < p->nest.rank; j++)
            bind[j] = (DimBinding){dim_as_symbol(p->nest.map[j]), i->map[j]};
        Body body = p->nest.body;
        if (i->has_fill) {
            BodyInst *insts = arena_dup(&ctx->perm, body.insts, sizeof *insts * (size_t)body.n);
            for (int j = 0; j < body.n; j++)
                if (insts[j].kind == BODY_READ)
                    insts[j].has_fill = true, insts[j].k = i->k;
            body.insts = insts;
        }
        to[k] = body_import(b, &body, bind, p->nest.rank, p_args);
    }
    return to[from->n - 1];
}

bool nest_cellwise(Ctx *ctx, const NestOp *n, NestOp *out) {
    NestOp bare = *n;
    bare.nest.init = -1;
    bare.nest.post = (Body){0};
    if (n->nest.op != NEST_SUM || (n->nest.init < 0 && !n->nest.post.n) || !nest_elementwise(ctx, &bare))
        return false;
    BodyBuilder b = body_new(ctx);
    const Body *post = &n->nest.post;
    int acc = body_import(&b, &n->nest.body, NULL, 0, NULL), *to = ARENA_ARRAY(&ctx->perm, int, post->n + 1);
    if (n->nest.init >= 0)
        acc = body_op2(&b, SC_add, body_read(&b, body_type(&b, acc), n->nest.init, n->nest.rank, n->nest.map), acc);
    for (int k = 0; k < post->n; k++) {
        const BodyInst *i = &post->insts[k];
        Body one = {1, i};
        to[k] = i->kind == BODY_ACC ? acc : i->kind == BODY_OP ? copy_op(&b, i, to) : body_import(&b, &one, NULL, 0, NULL);
    }
    *out = bare;
    out->nest.op = NEST_STORE;
    out->nest.wide = false;
    out->nest.body = body_done(&b, post->n ? to[post->n - 1] : acc);
    *out = nestop_compact(ctx, out);
    return true;
}

static Val *joined_args(Ctx *ctx, const NestOp *first, const NestOp *second) {
    Val *args = ARENA_ARRAY(&ctx->perm, Val, first->n_args + second->n_args + 1);
    for (int k = 0; k < first->n_args; k++)
        args[k] = first->args[k];
    for (int k = 0; k < second->n_args; k++)
        args[first->n_args + k] = second->args[k];
    return args;
}

static bool reads_are(const Body *b, const NestOp *c, Val p_val, bool (*ok)(const BodyInst *, void *), void *arg, int *n) {
    for (int k = 0; k < b->n; k++) {
        if (b->insts[k].kind != BODY_READ || c->args[b->insts[k].operand].id != p_val.id)
            continue;
        (*n)++;
        if (!ok(&b->insts[k], arg))
            return false;
    }
    return true;
}

typedef struct FuseArg {
    Ctx *ctx;
    const NestOp *p, *c;
    const Func *f;
} FuseArg;

static bool fill_fits(const BodyInst *r, void *arg) {
    const FuseArg *a = arg;
    return !r->has_fill || takes_over(a->ctx, a->p, a->f, r->k);
}

bool nest_fuse_producer(Ctx *ctx, const NestOp *p, const NestOp *c, Val p_val, const Func *f, NestOp *out) {
    FuseArg a = {ctx, p, c, f};
    int n = 0;
    if (!nest_elementwise(ctx, p) || !reads_are(&c->nest.body, c, p_val, fill_fits, &a, &n) || !reads_are(&c->nest.post, c, p_val, fill_fits, &a, &n) || n == 0)
        return false;
    if (c->nest.init >= 0 && c->args[c->nest.init].id == p_val.id)
        return false;
    *out = *c;
    out->args = joined_args(ctx, c, p);
    out->n_args = c->n_args + p->n_args;
    const Body *from[2] = {&c->nest.body, &c->nest.post};
    Body *to[2] = {&out->nest.body, &out->nest.post};
    for (int k = 0; k < 2; k++) {
        if (!from[k]->n)
            continue;
        BodyBuilder b = body_new(ctx);
        *to[k] = body_done(&b, import_with(&b, from[k], p, c, p_val, c->n_args));
    }
    *out = nestop_compact(ctx, out);
    return true;
}

static bool reads_own_cell(const BodyInst *r, void *arg) {
    const FuseArg *a = arg;
    for (int k = 0; k < r->rank; k++)
        if (r->map[k] != a->c->nest.map[k])
            return false;
    return !r->has_fill && r->rank == a->c->nest.rank;
}

/* Copies c's body into b with reads of p's value replaced by instruction `done`. */
static int import_after(BodyBuilder *b, const NestOp *c, Val p_val, int done, const DimBinding *bind, const int *c_args) {
    const Body *from = &c->nest.body;
    int *to = ARENA_ARRAY(&b->ctx->perm, int, from->n);
    for (int k = 0; k < from->n; k++) {
        BodyInst i = from->insts[k];
        if (i.kind == BODY_READ && c->args[i.operand].id == p_val.id) {
            to[k] = done;
        } else if (i.kind == BODY_OP) {
            to[k] = copy_op(b, &i, to);
        } else {
            Body one = {1, &i};
            to[k] = body_import(b, &one, bind, c->nest.rank, c_args);
        }
    }
    return to[from->n - 1];
}

bool nest_fuse_epilogue(Ctx *ctx, const NestOp *p, const NestOp *c, Val p_val, const Func *f, NestOp *out) {
    FuseArg a = {ctx, p, c, f};
    int n = 0;
    if (!type_equal(type_with(c->type, p->type.dt), p->type)) /* c reads a part of the cells */
        return false;
    if (!nest_elementwise(ctx, c) || !nest_covers(ctx, p) || !reads_are(&c->nest.body, c, p_val, reads_own_cell, &a, &n) || n == 0)
        return false;
    DimBinding *bind = ARENA_ARRAY(&ctx->perm, DimBinding, c->nest.rank + 1);
    for (int k = 0; k < c->nest.rank; k++)
        bind[k] = (DimBinding){dim_as_symbol(c->nest.map[k]), p->nest.map[k]};
    int *c_args = ARENA_ARRAY(&ctx->perm, int, c->n_args + 1);
    for (int k = 0; k < c->n_args; k++)
        c_args[k] = p->n_args + k;
    BodyBuilder b = body_new(ctx);
    int done = p->nest.post.n ? body_import(&b, &p->nest.post, NULL, 0, NULL) : body_acc(&b, p->type.dt);
    int post = import_after(&b, c, p_val, done, bind, c_args);
    *out = *p;
    out->nest.post = body_done(&b, post);
    out->args = joined_args(ctx, p, c);
    out->n_args = p->n_args + c->n_args;
    out->type = type_with(p->type, c->type.dt);
    out->span = c->span;
    out->name = p->name ? p->name : c->name;
    *out = nestop_compact(ctx, out);
    return true;
}
