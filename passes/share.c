/* share: what is costly and stands in several nests of a fit's body is computed once.
 *
 *   %a = nest [] += %y[n] * %e[n] - exp(%e[n]) over n<N;  %b = nest [i] = neg(exp(%e[i])) over i<N
 * becomes
 *   %t = nest [n] = exp(%e[n]) over n<N
 *   %a = nest [] += %y[n] * %e[n] - %t[n] over n<N;       %b = nest [i] = neg(%t[i]) over i<N
 *
 * Value, gradient and Hessian of a density have the same exp and log in them, but not the same
 * nests. Costly is what machines have no instruction for; its reads must go through their operands
 * cell by cell, so that all points can be computed whatever the conditions around are. Only bodies
 * of fits: their rows come in slices, where keeping a value costs little. */
#include "passes/rewrite.h"

/* One expression as a nest of its own, over the indices that it mentions. */
typedef struct Shared {
    NestOp nest;
    int times; /* nests that have it */
    Val made;  /* in the new function, once it is needed */
} Shared;

typedef struct Share {
    Rewrite r;
    VEC(Shared) known;
} Share;

static bool in_box(const Nest *n, DimSym s, Dim extent) {
    int k = nest_box_of(n, s);
    return k >= 0 && n->box[k].extent == extent;
}

static bool read_fits(const Func *f, const NestOp *n, const BodyInst *x) {
    Type t = graph_type(f, n->args[x->operand]);
    bool fits = !x->has_fill;
    for (int a = 0; fits && a < x->rank; a++)
        fits = dim_as_symbol(x->map[a]) && in_box(&n->nest, dim_as_symbol(x->map[a]), t.shape[a]);
    return fits;
}

/* By instruction of the body: an expression that could stand alone. */
static bool *alone(Arena *arena, const Func *f, const NestOp *n) {
    const Body *b = &n->nest.body;
    bool *fits = ARENA_ARRAY(arena, bool, b->n + 1);
    for (int k = 0; k < b->n; k++) {
        const BodyInst *x = &b->insts[k];
        fits[k] = x->kind == BODY_CONST || (x->kind == BODY_READ && read_fits(f, n, x)) ||
                  x->kind == BODY_OP;
        for (int a = 0; x->kind == BODY_OP && a < scalar_def(x->op)->arity; a++)
            fits[k] = fits[k] && fits[x->args[a]];
    }
    return fits;
}

static bool is_costly(const BodyInst *x) {
    return x->kind == BODY_OP && !(scalar_def(x->op)->flags & SF_NATIVE);
}

static bool mentions(const Body *b, DimSym s) {
    for (int k = 0; k < b->n; k++)
        for (int a = 0; b->insts[k].kind == BODY_READ && a < b->insts[k].rank; a++)
            if (dim_mentions(b->insts[k].map[a], s))
                return true;
    return false;
}

/* Instruction k of n's body as a nest; rank 0: it mentions no index. */
static NestOp expression(const Share *s, const NestOp *n, int k) {
    Ctx *ctx = s->r.u->ctx;
    BodyBuilder b = body_new(ctx);
    Body up_to = {k + 1, n->nest.body.insts};
    NestOp e = {.n_args = n->n_args, .args = n->args, .span = n->span, .name = n->name};
    NestIndex *box = ARENA_ARRAY(s->r.u->arena, NestIndex, n->nest.n_box + 1);
    Dim *map = ARENA_ARRAY(s->r.u->arena, Dim, n->nest.n_box + 1), shape[MAX_RANK];
    e.nest = (Nest){.op = NEST_STORE, .box = box, .map = map, .init = -1};
    e.nest.body = body_done(&b, body_import(&b, &up_to, NULL, 0, NULL));
    for (int j = 0; j < n->nest.n_box && e.nest.n_box < MAX_RANK; j++) {
        if (!mentions(&e.nest.body, n->nest.box[j].sym))
            continue;
        map[e.nest.n_box] = dim_of(ctx, n->nest.box[j].sym);
        shape[e.nest.n_box] = n->nest.box[j].extent;
        box[e.nest.n_box++] = n->nest.box[j];
    }
    e.nest.rank = e.nest.n_box;
    e.type = type_new(ctx, n->nest.body.insts[k].dt, e.nest.rank, shape);
    return nestop_compact(ctx, &e);
}

static Shared *find(Share *s, const NestOp *e) {
    for (int k = 0; k < s->known.n; k++) {
        const NestOp *o = &s->known.p[k].nest;
        bool same = o->n_args == e->n_args && type_equal(o->type, e->type) &&
                    nest_equal(s->r.u->ctx, &o->nest, &e->nest);
        for (int a = 0; same && a < e->n_args; a++)
            same = o->args[a].id == e->args[a].id;
        if (same)
            return &s->known.p[k];
    }
    return NULL;
}

static void note(Share *s, const NestOp *n) {
    bool *fits = alone(s->r.u->arena, s->r.from, n);
    for (int k = 0; k < n->nest.body.n; k++) {
        if (!fits[k] || !is_costly(&n->nest.body.insts[k]))
            continue;
        Shared e = {.nest = expression(s, n, k), .times = 1};
        Shared *old = find(s, &e.nest);
        if (old)
            old->times++;
        else if (e.nest.nest.rank)
            vec_push(s->r.u->arena, &s->known, e);
    }
}

static Val made(Share *s, Shared *e) {
    NestOp n = e->nest;
    Val *args = ARENA_ARRAY(s->r.u->arena, Val, n.n_args + 1);
    for (int k = 0; k < n.n_args; k++)
        args[k] = rewrite_val(&s->r, n.args[k]);
    n.args = args;
    if (!e->made.id)
        e->made = nestop_emit(s->r.m, s->r.to, &n);
    return e->made;
}

/* n, which has the operands of the old function, with those of the new one. */
static NestOp rewritten(Share *s, const Inst *i) {
    NestOp old = nestop_of(s->r.from, i), n = rewrite_nestop(&s->r, i);
    Arena *arena = s->r.u->arena;
    const Body *body = &old.nest.body;
    bool *fits = alone(arena, s->r.from, &old), any = false;
    int *to = ARENA_ARRAY(arena, int, body->n + 1);
    BodyBuilder b = body_new(s->r.u->ctx);
    VEC(Val) args = {0};
    for (int k = 0; k < n.n_args; k++)
        vec_push(arena, &args, n.args[k]);
    for (int k = 0; k < body->n; k++) {
        BodyInst x = body->insts[k];
        NestOp e;
        Shared *found = NULL;
        if (fits[k] && is_costly(&x)) {
            e = expression(s, &old, k);
            found = find(s, &e);
        }
        if (found && found->times > 1) {
            any = true;
            vec_push(arena, &args, made(s, found));
            to[k] = body_read(&b, x.dt, args.n - 1, e.nest.rank, e.nest.map);
            continue;
        }
        for (int a = 0; x.kind == BODY_OP && a < scalar_def(x.op)->arity; a++)
            x.args[a] = to[x.args[a]];
        vec_push(arena, &b.insts, x);
        to[k] = b.insts.n - 1;
    }
    if (!any)
        return n;
    n.nest.body = body_done(&b, to[body->n - 1]);
    n.args = args.p;
    n.n_args = args.n;
    return nestop_compact(s->r.u->ctx, &n);
}

static bool is_body_of_fit(const Unit *u, const Func *f) {
    for (int k = 0; k < u->graph->funcs.n; k++) {
        const Func *g = u->graph->funcs.p[k];
        for (int j = 0; g && j < g->insts.n; j++)
            if (g->insts.p[j]->op == &op_fit &&
                ((const FitAttr *)g->insts.p[j]->attr)->body.id == f->id.id)
                return true;
    }
    return false;
}

static void share_func(Unit *u, Func *f) {
    if (!is_body_of_fit(u, f))
        return;
    Share s = {.r = rewrite_begin(u, f)};
    for (int k = 0; k < f->insts.n; k++) {
        if (f->insts.p[k]->op != &op_nest)
            continue;
        NestOp n = nestop_of(f, f->insts.p[k]);
        note(&s, &n);
    }
    for (int k = 0; k < f->insts.n; k++) {
        const Inst *i = f->insts.p[k];
        if (i->op != &op_nest) {
            rewrite_copy(&s.r, i);
            continue;
        }
        NestOp n = rewritten(&s, i);
        s.r.map.to[i->first.id] = nestop_emit(s.r.m, s.r.to, &n);
    }
    rewrite_end(&s.r);
}

void pass_share(Unit *u) { each_func(u, share_func); }
