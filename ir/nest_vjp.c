/* The derivative of a nest: again a nest, over the same box.
 *
 *   d in_k[Mk(i)] += g[M0(i)] * d body / d in_k[Mk(i)]      with guards 0 <= Mk < shape where the box does not imply them
 *
 * The partial derivative of the body is built forwards, one pass over its instructions for each read, in one builder. A select stays
 * outside, so nothing is multiplied in an arm that is not taken (log(x) where x > 0 gives no NaN). For max, min and argmax
 * the point that won takes all: select(arg[M0(i)] == lin(i), ..., 0). */
#include "ir/nest_priv.h"

/* ---- tangent of a body with respect to one of its reads: body indices, -1 where it is 0 */

typedef struct Tangent {
    BodyBuilder *b;
    const Body *from;
    const int *primal; /* the body's instructions in the builder */
    int *d;
} Tangent;

static int zero_of(BodyBuilder *b, DType dt) { return dtype_is_real(dt) ? body_real(b, dt, 0) : body_int(b, dt, 0); }

static int select_of(BodyBuilder *b, int cond, int x, int y) {
    if (x < 0 && y < 0)
        return -1;
    DType dt = body_type(b, x >= 0 ? x : y);
    return body_op3(b, SC_select, cond, x >= 0 ? x : zero_of(b, dt), y >= 0 ? y : zero_of(b, dt));
}

static int times(BodyBuilder *b, int x, int y) {
    const BodyInst *i = &b->insts.p[y];
    if (i->kind == BODY_CONST && i->k.f == 1)
        return x;
    i = &b->insts.p[x];
    return i->kind == BODY_CONST && i->k.f == 1 ? y : body_op2(b, SC_mul, x, y);
}

/* The sum over the operands of (partial derivative) * (tangent of the operand). */
static int chain_rule(Tangent *t, const BodyInst *i, int k) {
    const ScalarDef *def = scalar_def(i->op);
    int sum = -1, a[3] = {0};
    for (int j = 0; j < def->arity; j++)
        a[j] = t->primal[i->args[j]];
    for (int j = 0; j < def->arity; j++) {
        int da = t->d[i->args[j]];
        if (da < 0 || !def->vjp)
            continue;
        int part = def->vjp(t->b, j, body_real(t->b, i->dt, 1), t->primal[k], a);
        if (part < 0)
            continue;
        part = times(t->b, part, da);
        sum = sum < 0 ? part : body_op2(t->b, SC_add, sum, part);
    }
    return sum;
}

/* max(c, x) <= c where x <= c, a NaN included, and c <= min(c, x) where c <= x: of an activation the value is enough,
 * and nobody need keep x. */
static bool tells_second(const Body *body, int k) {
    const BodyInst *i = &body->insts[k];
    return (i->op == SC_max || i->op == SC_min) && body->insts[i->args[0]].kind == BODY_CONST;
}

/* What to compare with the first operand of a max or min: the value itself if that is read anyway. */
static int second_of(const Tangent *t, int k) {
    bool is_read = t->b->insts.p[t->primal[k]].kind == BODY_READ;
    return is_read && tells_second(t->from, k) ? t->primal[k] : t->primal[t->from->insts[k].args[1]];
}

static int tangent_of(Tangent *t, int k, int read) {
    const BodyInst *i = &t->from->insts[k];
    if (k == read)
        return body_real(t->b, i->dt, 1);
    if (i->kind != BODY_OP || !dtype_is_real(i->dt))
        return -1;
    const int *d = t->d, *p = t->primal;
    switch (i->op) {
    case SC_select:
        return select_of(t->b, p[i->args[0]], d[i->args[1]], d[i->args[2]]);
    case SC_max: /* a tie goes to the first */
        return select_of(t->b, body_op2(t->b, SC_le, second_of(t, k), p[i->args[0]]), d[i->args[0]], d[i->args[1]]);
    case SC_min:
        return select_of(t->b, body_op2(t->b, SC_le, p[i->args[0]], second_of(t, k)), d[i->args[0]], d[i->args[1]]);
    case SC_cast:
        return d[i->args[0]] < 0 ? -1 : body_cast(t->b, i->dt, d[i->args[0]]);
    default:
        return chain_rule(t, i, k);
    }
}

/* g times the tangent, inside the arms of outer selects. */
static int scaled(BodyBuilder *b, int g, int d) {
    const BodyInst i = b->insts.p[d];
    if (i.kind == BODY_OP && i.op == SC_select)
        return body_op3(b, SC_select, i.args[0], scaled(b, g, i.args[1]), scaled(b, g, i.args[2]));
    if (i.kind == BODY_CONST && i.k.f == 0)
        return d;
    return times(b, g, d);
}

/* ---- the nest */

struct NestVjp {
    Module *m;
    Func *f;
    const NestOp *n;
    int y, g, arg; /* numbers of the operands; arg -1: no argmax */
    Val *args;
    int n_args;
    BodyBuilder b; /* the body once, and the tangents of all reads: equal ones are one */
    int *primal, *d;
};

/* Row-major number of the point among the reduced indices. */
static Dim lin_of(Ctx *ctx, const Nest *n) {
    uint64_t out;
    nest_outputs(ctx, n, &out);
    Dim lin = dim_const(ctx, 0);
    for (int k = 0; k < n->n_box; k++)
        if (!(out >> k & 1))
            lin = dim_add(ctx, dim_mul(ctx, lin, n->box[k].extent), dim_of(ctx, n->box[k].sym));
    return lin;
}

/* Is the body's value worth reading again, where its derivative asks for it? exp, tanh, relu, .. of stores, not sums. */
static bool keeps_value(const Nest *n) {
    const BodyInst *i = &n->body.insts[n->body.n - 1];
    if (n->op != NEST_STORE || i->kind != BODY_OP)
        return false;
    const ScalarDef *def = scalar_def(i->op);
    return def->expand || (def->flags & SF_LIBM) || tells_second(&n->body, n->body.n - 1);
}

static Body adjoint(NestVjp *v, int read, bool *is_zero) {
    Ctx *ctx = v->m->ctx;
    const Nest *n = &v->n->nest;
    BodyBuilder *b = &v->b;
    Tangent t = {.b = b, .from = &n->body, .primal = v->primal, .d = v->d};
    for (int k = 0; k < n->body.n; k++)
        t.d[k] = k < read ? -1 : tangent_of(&t, k, read);
    int d = t.d[n->body.n - 1];
    *is_zero = d < 0;
    if (d < 0)
        return (Body){0};
    int g = body_read(b, v->n->type.dt, v->g, n->rank, n->map);
    int r = scaled(b, g, d);
    if (v->arg >= 0) {
        int arg = body_read(b, DT_I32, v->arg, n->rank, n->map);
        int lin = body_cast(b, DT_I32, body_index(b, lin_of(ctx, n)));
        r = body_op3(b, SC_select, body_op2(b, SC_eq, arg, lin), r, body_real(b, body_type(b, r), 0));
    }
    return body_done(b, body_cast(b, graph_type(v->f, v->n->args[n->body.insts[read].operand]).dt, r));
}

static Val one_read(NestVjp *v, int read, Val init) {
    Ctx *ctx = v->m->ctx;
    const Nest *n = &v->n->nest;
    const BodyInst *r = &n->body.insts[read];
    bool is_zero;
    Body body = adjoint(v, read, &is_zero);
    if (is_zero)
        return init;
    Type t = graph_type(v->f, v->n->args[r->operand]);
    NestGuard *guards = ARENA_ARRAY(&ctx->perm, NestGuard, n->n_guards + t.rank + 1);
    for (int k = 0; k < n->n_guards; k++)
        guards[k] = n->guards[k];
    NestOp d = {.type = t, .span = v->n->span, .name = v->n->name};
    d.nest = (Nest){.op = NEST_SUM, .n_box = n->n_box, .box = n->box, .rank = r->rank, .map = r->map, .body = body, .guards = guards};
    d.nest.n_guards = nest_within(ctx, n, t.rank, r->map, t.shape, guards, n->n_guards);
    d.nest.init = -1;
    d.args = v->args;
    d.n_args = v->n_args;
    if (init.id) {
        v->args[v->n_args] = init;
        d.nest.init = v->n_args;
        d.n_args++;
    }
    d = nestop_compact(ctx, &d);
    return nestop_emit(v->m, v->f, &d);
}

NestVjp *nest_vjp_new(Module *m, Func *f, const NestOp *n, Val y, Val g, Val arg) {
    Ctx *ctx = m->ctx;
    const Body *body = &n->nest.body;
    CTX_ASSERT(ctx, n->nest.post.n == 0); /* fuse comes after the derivatives */
    NestVjp *v = ARENA_NEW(&ctx->perm, NestVjp);
    *v = (NestVjp){.m = m, .f = f, .n = n, .y = n->n_args, .g = n->n_args + 1, .b = body_new(ctx)};
    v->arg = arg.id ? n->n_args + 2 : -1;
    v->n_args = n->n_args + 3;
    v->args = ARENA_ARRAY(&ctx->perm, Val, v->n_args + 1);
    for (int k = 0; k < n->n_args; k++)
        v->args[k] = n->args[k];
    v->args[v->y] = y;
    v->args[v->g] = g;
    v->args[v->g + 1] = arg;
    v->primal = ARENA_ARRAY(&ctx->perm, int, body->n);
    v->d = ARENA_ARRAY(&ctx->perm, int, body->n);
    body_import_all(&v->b, &(Body){body->n - keeps_value(&n->nest), body->insts}, v->primal);
    if (keeps_value(&n->nest))
        v->primal[body->n - 1] = body_read(&v->b, n->type.dt, v->y, n->nest.rank, n->nest.map);
    return v;
}

Val nest_vjp(NestVjp *v, int operand, Val init) {
    const Body *body = &v->n->nest.body;
    for (int k = 0; k < body->n; k++) {
        const BodyInst *i = &body->insts[k];
        if (i->kind == BODY_READ && i->operand == operand && dtype_is_real(i->dt))
            init = one_read(v, k, init);
    }
    return init;
}

NestOp nest_argmax(Ctx *ctx, const NestOp *n) {
    NestOp a = *n;
    a.nest.op = NEST_ARGMAX;
    a.nest.init = -1;
    a.type = type_with(n->type, DT_I32);
    if (n->nest.op == NEST_MIN) {
        BodyBuilder b = body_new(ctx);
        a.nest.body = body_done(&b, body_op1(&b, SC_neg, body_import(&b, &n->nest.body, NULL, 0, NULL)));
    }
    return nestop_compact(ctx, &a);
}
