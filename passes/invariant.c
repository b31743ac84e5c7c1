/* invariant: terms of a fit's sums that do not depend on the point are summed once.
 *
 *   %f: f64 = nest += %y[n] * %z[n] - exp(%z[n]) - lgamma(%y[n] + 1) over n<N
 * in the body of a fit becomes
 *   %g: f64 = nest += %y[n] * %z[n] - exp(%z[n]) over n<N;  %f = %g + %constant
 * and the fit's function gives the constant, the sum of the rest, to the body.
 *
 * A term is taken if it is costly: what machines have no instruction for. */
#include "ir/build.h"
#include "passes/rewrite.h"

enum { MOST_TERMS = 64 };

typedef struct Term {
    int at; /* body instruction */
    bool minus;
} Term;

typedef struct Terms {
    const Body *b;
    const bool *depends, *costly; /* by body instruction: on the point; contains no native row */
    Term moved[MOST_TERMS], rest[MOST_TERMS];
    int n_moved, n_rest;
    bool too_many;
} Terms;

/* ---- one sum */

static void split(Terms *t, int k, bool minus) {
    const BodyInst *i = &t->b->insts[k];
    if (i->kind == BODY_OP && (i->op == SC_add || i->op == SC_sub)) {
        split(t, i->args[0], minus);
        split(t, i->args[1], minus ^ (i->op == SC_sub));
        return;
    }
    if (i->kind == BODY_OP && i->op == SC_neg) {
        split(t, i->args[0], !minus);
        return;
    }
    t->too_many = t->n_moved + t->n_rest == MOST_TERMS;
    if (t->too_many)
        return;
    if (t->costly[k] && !t->depends[k])
        t->moved[t->n_moved++] = (Term){k, minus};
    else
        t->rest[t->n_rest++] = (Term){k, minus};
}

/* What a value is made from: of the body's params all but the point are the same in every pass. */
static bool is_given(const Func *body, Val v) {
    for (int k = 1; k < body->params.n; k++)
        if (body->params.p[k].val.id == v.id)
            return true;
    return false;
}

static Terms terms_of(Arena *arena, const Func *body, const Inst *i) {
    const Body *b = &((const Nest *)i->attr)->body;
    bool *depends = ARENA_ARRAY(arena, bool, b->n + 1),
         *costly = ARENA_ARRAY(arena, bool, b->n + 1);
    for (int k = 0; k < b->n; k++) {
        const BodyInst *x = &b->insts[k];
        depends[k] =
            x->kind == BODY_ACC || (x->kind == BODY_READ && !is_given(body, i->args[x->operand]));
        if (x->kind != BODY_OP)
            continue;
        costly[k] = !(scalar_def(x->op)->flags & SF_NATIVE);
        for (int a = 0; a < scalar_def(x->op)->arity; a++) {
            depends[k] |= depends[x->args[a]];
            costly[k] |= costly[x->args[a]];
        }
    }
    Terms t = {.b = b, .depends = depends, .costly = costly};
    split(&t, b->n - 1, false);
    return t;
}

static Body sum_of(Ctx *ctx, const Terms *t, const Term *terms, int n) {
    BodyBuilder b = body_new(ctx);
    int *at = ARENA_ARRAY(&ctx->perm, int, t->b->n + 1), sum = -1;
    for (int k = 0; k < t->b->n; k++) {
        BodyInst i = t->b->insts[k];
        for (int a = 0; i.kind == BODY_OP && a < scalar_def(i.op)->arity; a++)
            i.args[a] = at[i.args[a]];
        vec_push(&ctx->perm, &b.insts, i);
        at[k] = b.insts.n - 1;
    }
    for (int k = 0; k < n; k++) {
        int x = at[terms[k].at];
        if (sum < 0)
            sum = terms[k].minus ? body_op1(&b, SC_neg, x) : x;
        else
            sum = body_op2(&b, terms[k].minus ? SC_sub : SC_add, sum, x);
    }
    return body_done(&b, sum);
}

/* ---- one fit */

typedef struct Invariant {
    Rewrite outer, inner; /* the fit's function, the body */
    const Inst *fit;
    VEC(Val) constants; /* in the outer function */
} Invariant;

static bool splits(const Inst *i) {
    if (i->op != &op_nest)
        return false;
    const Nest *n = i->attr;
    return n->op == NEST_SUM && n->rank == 0 && !n->post.n && n->body.n > 0 &&
           n->body.insts[n->body.n - 1].dt == DT_F64;
}

/* The sum of the moved terms, over the operands that the body is given. */
static Val constant(Invariant *v, const Inst *i, const Terms *t) {
    Ctx *ctx = v->outer.u->ctx;
    const Func *body = v->inner.from;
    NestOp n = nestop_of(body, i);
    Val *args = ARENA_ARRAY(&ctx->perm, Val, n.n_args + 1);
    n.nest.body = sum_of(ctx, t, t->moved, t->n_moved);
    n.nest.init = -1;
    n = nestop_compact(ctx, &n);
    for (int k = 0; k < n.n_args; k++)
        for (int p = 1; p < body->params.n; p++)
            if (body->params.p[p].val.id == n.args[k].id)
                args[k] = rewrite_val(&v->outer, v->fit->args[p + 1]);
    n.args = args;
    return nestop_emit(v->outer.m, v->outer.to, &n);
}

static void move_terms(Invariant *v, const Inst *i, const Terms *t) {
    Ctx *ctx = v->outer.u->ctx;
    Rewrite *r = &v->inner;
    NestOp n = rewrite_nestop(r, i);
    n.nest.body = sum_of(ctx, t, t->rest, t->n_rest);
    n = nestop_compact(ctx, &n);
    Val sum[2] = {nestop_emit(r->m, r->to, &n)};
    Param p = {.name = str_fmt(ctx, "constant%d", v->constants.n),
               .role = ROLE_LOCAL,
               .tensor = -1,
               .span = i->span};
    sum[1] = graph_param(r->m, r->to, p, type_scalar(DT_F64));
    vec_push(r->u->arena, &v->constants, constant(v, i, t));
    r->map.to[i->first.id] = graph_map(r->m, r->to, SC_add, sum, 2, i->span, i->name);
}

static int count_fits(const Unit *u, FuncId body) {
    int n = 0;
    for (int k = 0; k < u->graph->funcs.n; k++) {
        const Func *f = u->graph->funcs.p[k];
        for (int j = 0; f && j < f->insts.n; j++)
            n += f->insts.p[j]->op == &op_fit &&
                 ((const FitAttr *)f->insts.p[j]->attr)->body.id == body.id;
    }
    return n;
}

static void visit_fit(Rewrite *outer, const Inst *fit) {
    const FitAttr *attr = fit->attr;
    Unit *u = outer->u;
    Func *body = graph_func(u->graph, attr->body);
    bool any = false;
    for (int k = 0; k < body->insts.n; k++) {
        const Inst *i = body->insts.p[k];
        Terms t = splits(i) ? terms_of(u->arena, body, i) : (Terms){0};
        any |= t.n_moved && t.n_rest && !t.too_many;
    }
    if (!any || count_fits(u, attr->body) > 1) {
        rewrite_copy(outer, fit);
        return;
    }
    Invariant v = {.outer = *outer, .inner = rewrite_begin(u, body), .fit = fit};
    for (int k = 0; k < body->insts.n; k++) {
        const Inst *i = body->insts.p[k];
        Terms t = splits(i) ? terms_of(u->arena, body, i) : (Terms){0};
        if (t.n_moved && t.n_rest && !t.too_many)
            move_terms(&v, i, &t);
        else
            rewrite_copy(&v.inner, i);
    }
    rewrite_end(&v.inner);
    *outer = v.outer;
    Val *args = ARENA_ARRAY(u->arena, Val, fit->n_args + v.constants.n + 1);
    int n = 0;
    for (; n < fit->n_args; n++)
        args[n] = rewrite_val(outer, fit->args[n]);
    for (int k = 0; k < v.constants.n; k++)
        args[n++] = v.constants.p[k];
    const Inst *to = graph_inst(outer->m, outer->to, &op_fit, args, n, attr, fit->span, fit->name);
    for (int k = 0; k < fit->n_results; k++)
        outer->map.to[inst_result(fit, k).id] = inst_result(to, k);
}

static void invariant_func(Unit *u, Func *f) {
    bool any = false;
    for (int k = 0; k < f->insts.n; k++)
        any |= f->insts.p[k]->op == &op_fit;
    if (!any)
        return;
    Rewrite r = rewrite_begin(u, f);
    for (int k = 0; k < f->insts.n; k++)
        if (f->insts.p[k]->op == &op_fit)
            visit_fit(&r, f->insts.p[k]);
        else
            rewrite_copy(&r, f->insts.p[k]);
    rewrite_end(&r);
}

void pass_invariant(Unit *u) { each_func(u, invariant_func); }
