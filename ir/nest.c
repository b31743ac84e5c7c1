/* Analysis of nests: coefficients, spans, output indices, coverage; copying between functions and nests. */
#include <string.h>

#include "ir/nest_priv.h"

/* ---- between instructions and values */

NestOp nestop_of(const Func *f, const Inst *i) {
    return (NestOp){.nest = *(const Nest *)i->attr, .n_args = i->n_args, .args = i->args, .type = graph_type(f, i->first), .span = i->span, .name = i->name};
}

Val nestop_emit(Module *m, Func *f, const NestOp *n) {
    return graph_nest(m, f, &n->nest, n->args, n->n_args, n->type.dt, n->type.shape, n->span, n->name);
}

static void count_reads(const Body *b, int *to) {
    for (int k = 0; k < b->n; k++)
        if (b->insts[k].kind == BODY_READ)
            to[b->insts[k].operand] = 1;
}

static Body renumber(Ctx *ctx, const Body *b, const int *to) {
    if (!b->n)
        return *b;
    BodyBuilder out = body_new(ctx);
    return body_done(&out, body_import(&out, b, NULL, 0, to));
}

NestOp nestop_compact(Ctx *ctx, const NestOp *n) {
    NestOp r = *n;
    int *to = ARENA_ARRAY(&ctx->perm, int, n->n_args + 1);
    Val *args = ARENA_ARRAY(&ctx->perm, Val, n->n_args + 1);
    count_reads(&n->nest.body, to);
    count_reads(&n->nest.post, to);
    if (n->nest.init >= 0)
        to[n->nest.init] = 1;
    r.n_args = 0;
    for (int k = 0; k < n->n_args; k++) {
        if (!to[k])
            continue;
        int at = 0;
        while (at < r.n_args && (args[at].id != n->args[k].id || !args[at].id))
            at++;
        args[at] = n->args[k];
        r.n_args += at == r.n_args;
        to[k] = at;
    }
    r.args = args;
    r.nest.body = renumber(ctx, &n->nest.body, to);
    r.nest.post = renumber(ctx, &n->nest.post, to);
    r.nest.init = n->nest.init < 0 ? -1 : to[n->nest.init];
    return r;
}

/* ---- affine forms */

int64_t aff_coef(Ctx *ctx, Dim form, DimSym index) {
    Dim c, rest;
    int64_t k;
    if (!dim_mentions(form, index))
        return 0;
    if (!dim_linear_in(ctx, form, index, &c, &rest) || !dim_is_const(c, &k))
        ctx_internal(ctx, "%s is not affine in %s", dim_text(ctx, form), index->name);
    return k;
}

Dim aff_rest(Ctx *ctx, const Nest *n, Dim form) {
    for (int k = 0; k < n->n_box; k++) {
        Dim c;
        if (dim_mentions(form, n->box[k].sym))
            dim_linear_in(ctx, form, n->box[k].sym, &c, &form);
    }
    return form;
}

int nest_box_of(const Nest *n, DimSym s) {
    for (int k = 0; k < n->n_box; k++)
        if (n->box[k].sym == s)
            return k;
    return -1;
}

bool nest_mentions(const Nest *n, Dim form) {
    for (int k = 0; k < n->n_box; k++)
        if (dim_mentions(form, n->box[k].sym))
            return true;
    return false;
}

void nest_span(Ctx *ctx, const Nest *n, Dim form, Dim *lo, Dim *hi) {
    *lo = *hi = aff_rest(ctx, n, form);
    for (int k = 0; k < n->n_box; k++) {
        int64_t c = aff_coef(ctx, form, n->box[k].sym);
        Dim reach = dim_scale(ctx, dim_addk(ctx, n->box[k].extent, -1), c);
        if (c < 0)
            *lo = dim_add(ctx, *lo, reach);
        else if (c > 0)
            *hi = dim_add(ctx, *hi, reach);
    }
}

/* ---- guards */

int nest_within(Ctx *ctx, const Nest *n, int rank, const Dim *forms, const Dim *extents, NestGuard *guards, int n_guards) {
    DimFacts facts = nest_facts(ctx, n);
    for (int k = 0; k < rank; k++) {
        Dim high = dim_addk(ctx, dim_sub(ctx, extents[k], forms[k]), -1);
        bool known = dim_prove_nonneg(ctx, &facts, forms[k]) && dim_prove_nonneg(ctx, &facts, high);
        for (int j = 0; j < n_guards; j++)
            known |= guards[j].form == forms[k] && guards[j].extent == extents[k];
        if (!known)
            guards[n_guards++] = (NestGuard){forms[k], extents[k]};
    }
    return n_guards;
}

Nest nest_tidy(Ctx *ctx, const Nest *n) {
    Nest r = *n;
    NestGuard *guards = ARENA_ARRAY(&ctx->perm, NestGuard, n->n_guards + 1);
    r.n_guards = 0;
    for (int k = 0; k < n->n_guards; k++)
        r.n_guards = nest_within(ctx, n, 1, &n->guards[k].form, &n->guards[k].extent, guards, r.n_guards);
    r.guards = guards;
    return r;
}

Nest nest_subst(Ctx *ctx, const Nest *n, const DimBinding *b, int n_b) {
    Nest r = *n;
    Dim *map = ARENA_ARRAY(&ctx->perm, Dim, n->rank + 1);
    NestGuard *guards = ARENA_ARRAY(&ctx->perm, NestGuard, n->n_guards + 1);
    for (int k = 0; k < n->rank; k++)
        map[k] = dim_subst(ctx, n->map[k], b, n_b);
    for (int k = 0; k < n->n_guards; k++)
        guards[k] = (NestGuard){dim_subst(ctx, n->guards[k].form, b, n_b), n->guards[k].extent};
    r.map = map;
    r.guards = guards;
    r.need = n->need ? dim_subst(ctx, n->need, b, n_b) : NULL;
    const Body *from[2] = {&n->body, &n->post};
    Body *to[2] = {&r.body, &r.post};
    for (int k = 0; k < 2; k++) {
        if (!from[k]->n)
            continue;
        BodyBuilder out = body_new(ctx);
        *to[k] = body_done(&out, body_import(&out, from[k], b, n_b, NULL));
    }
    return r;
}

/* ---- output indices */

/* Mixed radix: each coefficient exceeds what the smaller ones span, so distinct indices give distinct values. */
static bool injective(Ctx *ctx, const Nest *n, Dim form, uint64_t indices) {
    Dim span = dim_const(ctx, 0);
    uint64_t left = indices;
    while (left) {
        int best = -1;
        int64_t least = INT64_MAX, one;
        for (int k = 0; k < n->n_box; k++) {
            int64_t c = aff_coef(ctx, form, n->box[k].sym);
            c = c < 0 ? -c : c;
            if ((left >> k & 1) && c < least)
                best = k, least = c;
        }
        left &= ~((uint64_t)1 << best);
        Dim e = n->box[best].extent;
        if (dim_is_const(e, &one) && one <= 1)
            continue;
        if (!dim_is_zero(span) && !dim_prove_positive(ctx, NULL, dim_sub(ctx, dim_const(ctx, least), span)))
            return false;
        span = dim_add(ctx, span, dim_scale(ctx, dim_addk(ctx, e, -1), least));
    }
    return true;
}

bool nest_outputs(Ctx *ctx, const Nest *n, uint64_t *out_indices) {
    CTX_ASSERT(ctx, n->n_box <= 64);
    uint64_t out = 0, todo = n->rank ? ((uint64_t)1 << n->rank) - 1 : 0;
    for (bool again = true; again && todo;) {
        again = false;
        for (int a = 0; a < n->rank; a++) {
            uint64_t fresh = 0;
            for (int k = 0; k < n->n_box; k++)
                if (!(out >> k & 1) && dim_mentions(n->map[a], n->box[k].sym))
                    fresh |= (uint64_t)1 << k;
            if (!(todo >> a & 1) || !injective(ctx, n, n->map[a], fresh))
                continue;
            out |= fresh;
            todo &= ~((uint64_t)1 << a);
            again = true;
        }
    }
    *out_indices = out;
    return todo == 0;
}

bool nest_plain_map(const Nest *n) {
    for (int a = 0; a < n->rank; a++) {
        DimSym s = dim_as_symbol(n->map[a]);
        if (!s || nest_box_of(n, s) < 0)
            return false;
        for (int b = 0; b < a; b++)
            if (n->map[b] == n->map[a])
                return false;
    }
    return true;
}

static bool plain_covers(const NestOp *n) {
    if (!nest_plain_map(&n->nest))
        return false;
    for (int a = 0; a < n->nest.rank; a++)
        if (n->nest.box[nest_box_of(&n->nest, dim_as_symbol(n->nest.map[a]))].extent != n->type.shape[a])
            return false;
    return true;
}

bool nest_elementwise(Ctx *ctx, const NestOp *n) {
    (void)ctx;
    const Nest *x = &n->nest;
    return (x->op == NEST_STORE || x->op == NEST_SUM) && !x->n_guards && x->init < 0 && !x->post.n && x->n_box == x->rank && plain_covers(n);
}

bool nest_is_term(const Nest *n) {
    return n->op == NEST_SUM && n->init < 0 && !n->n_guards && n->n_box == n->rank && nest_plain_map(n);
}

bool nest_covers(Ctx *ctx, const NestOp *n) {
    const Nest *x = &n->nest;
    uint64_t out;
    if (!nest_outputs(ctx, x, &out))
        return false;
    for (int k = 0; k < x->n_guards; k++) {
        bool outputs_only = true;
        for (int j = 0; j < x->n_box; j++)
            outputs_only &= (out >> j & 1) || !dim_mentions(x->guards[k].form, x->box[j].sym);
        if (outputs_only)
            return false;
    }
    if (plain_covers(n))
        return true;
    Dim points = dim_const(ctx, 1), cells = type_count(ctx, n->type);
    for (int k = 0; k < x->n_box; k++)
        if (out >> k & 1)
            points = dim_mul(ctx, points, x->box[k].extent);
    return points && points == cells;
}

bool nest_is_view(const Nest *n) {
    return (n->op == NEST_STORE || n->op == NEST_SUM) && n->body.n == 1 && n->body.insts[0].kind == BODY_READ && n->init < 0 && !n->post.n &&
           !n->n_guards && n->n_box == n->rank && nest_plain_map(n);
}

bool nest_is_contraction(Ctx *ctx, const Nest *n) {
    uint64_t out;
    const BodyInst *last = &n->body.insts[n->body.n - 1];
    if (last->kind == BODY_OP && last->op == SC_select) /* terms that a mask leaves out */
        last = &n->body.insts[last->args[1]];
    return n->op == NEST_SUM && last->kind == BODY_OP && last->op == SC_mul && nest_outputs(ctx, n, &out) && out != (n->n_box == 64 ? ~(uint64_t)0 : ((uint64_t)1 << n->n_box) - 1);
}

/* ---- equality up to the names of indices */

static bool same_body(Ctx *ctx, const Body *a, const Body *b, const DimBinding *bind, int n) {
    if (a->n != b->n)
        return false;
    for (int k = 0; k < a->n; k++) {
        const BodyInst *x = &a->insts[k], *y = &b->insts[k];
        if (x->kind != y->kind || x->op != y->op || x->dt != y->dt || memcmp(x->args, y->args, sizeof x->args))
            return false;
        if (x->kind == BODY_READ) {
            if (x->operand != y->operand || x->rank != y->rank || x->has_fill != y->has_fill)
                return false;
            for (int j = 0; j < x->rank; j++)
                if (dim_subst(ctx, x->map[j], bind, n) != y->map[j])
                    return false;
        }
        if ((x->kind == BODY_CONST || (x->kind == BODY_READ && x->has_fill)) && memcmp(&x->k, &y->k, sizeof x->k))
            return false;
        if ((x->kind == BODY_INDEX || x->kind == BODY_DIM) && dim_subst(ctx, x->dim, bind, n) != y->dim)
            return false;
    }
    return true;
}

bool nest_equal(Ctx *ctx, const Nest *a, const Nest *b) {
    if (a->op != b->op || a->n_box != b->n_box || a->rank != b->rank || a->n_guards != b->n_guards || a->init != b->init || a->wide != b->wide)
        return false;
    DimBinding *bind = ARENA_ARRAY(&ctx->perm, DimBinding, a->n_box + 1);
    for (int k = 0; k < a->n_box; k++) {
        if (a->box[k].extent != b->box[k].extent)
            return false;
        bind[k] = (DimBinding){a->box[k].sym, dim_of(ctx, b->box[k].sym)};
    }
    for (int k = 0; k < a->rank; k++)
        if (dim_subst(ctx, a->map[k], bind, a->n_box) != b->map[k])
            return false;
    for (int k = 0; k < a->n_guards; k++)
        if (dim_subst(ctx, a->guards[k].form, bind, a->n_box) != b->guards[k].form || a->guards[k].extent != b->guards[k].extent)
            return false;
    if (!a->need != !b->need || (a->need && dim_subst(ctx, a->need, bind, a->n_box) != b->need))
        return false;
    return same_body(ctx, &a->body, &b->body, bind, a->n_box) && same_body(ctx, &a->post, &b->post, bind, a->n_box);
}
