/* From nodes to nests. A nest's box holds one index for each axis of the result; the tree is walked
 * with the forms at which each node is wanted. A reduction inside a larger expression becomes a
 * nest of its own over those indices that it depends on, and is read at them; what conditions
 * enclose it goes into its body, so that no branch not taken is evaluated. */
#include <math.h>
#include <string.h>

#include "frontend/elab.h"
#include "ir/dist.h"

typedef struct Guard { /* an enclosing condition */
    const Node *cond;
    const Dim *forms;
    bool holds;
} Guard;

typedef struct Gen {
    Elab *e;
    BodyBuilder b;
    VEC(NestIndex) box;
    VEC(Val) args;
    VEC(DimBinding) env; /* index of the tree -> form in the box; the last one of a symbol counts */
    VEC(Guard) guards;
    bool wide; /* Nest.wide of what is emitted */
} Gen;

static int gen(Gen *g, const Node *n, const Dim *forms);

static DimSym fresh(Gen *g, Str base) {
    Elab *e = g->e;
    for (int k = 0;; k++) {
        Str name = k ? str_fmt(e->ctx, "%s%d", base, k) : base;
        bool taken = false;
        for (int i = 0; i < g->box.n; i++)
            taken |= g->box.p[i].sym->name == name;
        for (int i = 0; i < e->f->dims.n; i++)
            taken |= e->f->dims.p[i]->name == name;
        if (!taken)
            return nest_index(e->ctx, name);
    }
}

static DimSym add_index(Gen *g, Str base, Dim extent) {
    DimSym s = fresh(g, base);
    NestIndex i = {s, extent};
    vec_push(g->e->arena, &g->box, i);
    return s;
}

static void bind(Gen *g, DimSym sym, Dim form) {
    DimBinding b = {sym, form};
    vec_push(g->e->arena, &g->env, b);
}

static Dim at_env(Gen *g, Dim d) {
    DimBinding *now = ARENA_ARRAY(g->e->arena, DimBinding, g->env.n + 1);
    for (int i = 0; i < g->env.n; i++) /* the last binding first */
        now[i] = g->env.p[g->env.n - 1 - i];
    Dim r = dim_subst(g->e->ctx, d, now, g->env.n);
    return r ? r : dim_or_error(g->e, NULL, (Span){0});
}

/* Linear in the box's indices with constant coefficients? */
static bool affine(Gen *g, Dim d) {
    for (int i = 0; i < g->box.n; i++) {
        Dim c, rest;
        if (!dim_mentions(d, g->box.p[i].sym))
            continue;
        if (!dim_linear_in(g->e->ctx, d, g->box.p[i].sym, &c, &rest) || !c || !rest ||
            !dim_is_const(c, NULL))
            return false;
        d = rest;
    }
    return true;
}

static int gen_dim(Gen *g, Dim d);

static int gen_atom(Gen *g, const DimAtom *a) {
    if (a->sym)
        return gen_dim(g, dim_of(g->e->ctx, a->sym));
    return body_op2(&g->b, a->kind == DIM_FLOOR ? SC_floordiv : SC_max, gen_dim(g, a->num), gen_dim(g, a->den));
}

static int gen_dim(Gen *g, Dim d) {
    bool indexed = false;
    for (int i = 0; i < g->box.n; i++)
        indexed |= dim_mentions(d, g->box.p[i].sym);
    if (!indexed)
        return body_dim(&g->b, d);
    if (affine(g, d))
        return body_index(&g->b, d);
    int sum = -1;
    for (int k = 0; k < dim_n_terms(d); k++) {
        DimTerm t = dim_term(d, k);
        int product = -1;
        for (int a = 0; a < t.n_atoms; a++) {
            int x = gen_atom(g, t.atoms[a]);
            product = product < 0 ? x : body_op2(&g->b, SC_mul, product, x);
        }
        int coef = body_int(&g->b, DT_I64, t.coef);
        product = product < 0   ? coef
                  : t.coef == 1 ? product
                                : body_op2(&g->b, SC_mul, coef, product);
        sum = sum < 0 ? product : body_op2(&g->b, SC_add, sum, product);
    }
    return sum < 0 ? body_int(&g->b, DT_I64, 0) : sum;
}

static int operand(Gen *g, Val v) {
    for (int i = 0; i < g->args.n; i++)
        if (g->args.p[i].id == v.id)
            return i;
    vec_push(g->e->arena, &g->args, v);
    return g->args.n - 1;
}

static int gen_read(Gen *g, Val v, const Dim *forms, const ScalarValue *fill) {
    Type t = graph_type(g->e->f, v);
    int o = operand(g, v);
    return fill ? body_read_fill(&g->b, t.dt, o, t.rank, forms, *fill)
                : body_read(&g->b, t.dt, o, t.rank, forms);
}

static int gen_op(Gen *g, const Node *n, const Dim *forms) {
    int a[3] = {0};
    Dim kid[3][LANG_RANK + 4];
    for (int j = 0; j < n->n_kids; j++)
        for (int k = 0; k < n->kid[j]->rank; k++)
            kid[j][k] = forms[n->map[j][k]];
    for (int j = 0; j < n->n_kids; j++) {
        bool arm = n->op == SC_select && j;
        if (arm) {
            Guard c = {n->kid[0], kid[0], j == 1};
            vec_push(g->e->arena, &g->guards, c);
        }
        a[j] = gen(g, n->kid[j], kid[j]);
        g->guards.n -= arm;
    }
    switch (n->n_kids) {
    case 1:
        return body_op1(&g->b, n->op, a[0]);
    case 2:
        return body_op2(&g->b, n->op, a[0], a[1]);
    default:
        return body_op3(&g->b, n->op, a[0], a[1], a[2]);
    }
}

static int gen_density(Gen *g, const Node *n, const Dim *forms) {
    int a[NODE_KIDS];
    Dim kid[LANG_RANK + 4];
    for (int j = 0; j < n->n_kids; j++) {
        for (int k = 0; k < n->kid[j]->rank; k++)
            kid[k] = forms[n->map[j][k]];
        a[j] = gen(g, n->kid[j], kid);
    }
    return dist_body(n->dist->def, &g->b, n->dist->form, a[0], a + 1);
}

static int gen_view(Gen *g, const Node *n, const Dim *forms) {
    int mark = g->env.n;
    Dim inner[MAX_RANK];
    for (int i = 0; i < n->n_at; i++)
        bind(g, n->at[i], forms[i]);
    for (int k = 0; k < n->kid[0]->rank; k++)
        inner[k] = at_env(g, n->form[k]);
    g->env.n = mark;
    if (n->has_fill)
        return gen_read(g, n->kid[0]->val, inner, &n->k);
    return gen(g, n->kid[0], inner);
}

static int gen_for(Gen *g, const Node *n, const Dim *forms) {
    int mark = g->env.n;
    for (int i = 0; i < n->n_at; i++)
        bind(g, n->at[i], forms[i]);
    int r = gen(g, n->kid[0], forms + n->n_at);
    g->env.n = mark;
    return r;
}

/* ---- nests of their own */

static double neutral(NestOpKind red) {
    return red == NEST_SUM ? 0 : red == NEST_MIN ? HUGE_VAL : -HUGE_VAL;
}

static int guarded(Gen *g, int body, NestOpKind red) {
    DType dt = body_type(&g->b, body);
    for (int i = g->guards.n - 1; i >= 0; i--) {
        Guard c = g->guards.p[i];
        int n = g->guards.n;
        g->guards.n = i;
        int cond = gen(g, c.cond, c.forms);
        g->guards.n = n;
        int none = dtype_is_real(dt) ? body_real(&g->b, dt, neutral(red))
                                     : body_int(&g->b, dt,
                                                red == NEST_SUM   ? 0
                                                : red == NEST_MIN ? INT32_MAX
                                                                  : INT32_MIN);
        body = c.holds ? body_op3(&g->b, SC_select, cond, body, none)
                       : body_op3(&g->b, SC_select, cond, none, body);
    }
    return body;
}

static bool body_mentions(const Body *b, DimSym s) {
    for (int i = 0; i < b->n; i++) {
        const BodyInst *x = &b->insts[i];
        if ((x->kind == BODY_INDEX || x->kind == BODY_DIM) && dim_mentions(x->dim, s))
            return true;
        for (int k = 0; x->kind == BODY_READ && k < x->rank; k++)
            if (dim_mentions(x->map[k], s))
                return true;
    }
    return false;
}

/* The nest over those of the first n_out indices that `keep` marks, and all later ones, which are
 * reduced. */
static Val emit(Gen *g, NestOpKind op, int result, int n_out, const bool *keep, Span span) {
    Elab *e = g->e;
    Body body = body_done(&g->b, result);
    NestIndex *box = ARENA_ARRAY(e->arena, NestIndex, g->box.n + 1);
    Dim *map = ARENA_ARRAY(e->arena, Dim, n_out + 1),
        *shape = ARENA_ARRAY(e->arena, Dim, n_out + 1);
    int n = 0, rank = 0;
    for (int i = 0; i < g->box.n; i++) {
        if (i < n_out && !keep[i])
            continue;
        box[n++] = g->box.p[i];
        if (i < n_out) {
            map[rank] = dim_of(e->ctx, g->box.p[i].sym);
            shape[rank++] = g->box.p[i].extent;
        }
    }
    Nest nest = {
        .op = op, .n_box = n, .box = box, .rank = rank, .map = map, .body = body, .init = -1, .wide = g->wide};
    DType dt = op == NEST_ARGMAX ? DT_I32 : body.insts[body.n - 1].dt;
    return graph_nest(e->m, e->f, &nest, g->args.p, g->args.n, dt, shape, elab_span(e, span),
                      elab_label(e));
}

static Dim *reduce_forms(Gen *g, const Node *n, const Dim *own) {
    Dim *forms = ARENA_ARRAY(g->e->arena, Dim, n->kid[0]->rank + 1);
    int at = 0;
    for (int i = 0; i < n->kid[0]->rank; i++) {
        const Node *kid = n->kid[0];
        if (n->reduced >> i & 1) {
            Str base =
                kid->kind == N_FOR && i < kid->n_at ? kid->at[i]->name : str_of(g->e->ctx, "r");
            forms[i] = dim_of(g->e->ctx, add_index(g, base, kid->axes[i].value));
        } else {
            forms[i] = own[at++];
        }
    }
    return forms;
}

/* A builder over fresh copies of g's indices; *forms follow. */
static Gen inner_gen(Gen *g, const Dim **forms, int rank) {
    Elab *e = g->e;
    Gen in = {.e = e, .b = body_new(e->ctx)};
    DimBinding *to = ARENA_ARRAY(e->arena, DimBinding, g->box.n + 1);
    for (int i = 0; i < g->box.n; i++)
        to[i] =
            (DimBinding){g->box.p[i].sym,
                         dim_of(e->ctx, add_index(&in, g->box.p[i].sym->name, g->box.p[i].extent))};
    for (int i = 0; i < g->env.n; i++)
        bind(&in, g->env.p[i].sym, dim_subst(e->ctx, g->env.p[i].value, to, g->box.n));
    for (int i = 0; i < g->guards.n; i++) {
        Guard c = g->guards.p[i];
        Dim *f = ARENA_ARRAY(e->arena, Dim, c.cond->rank + 1);
        for (int k = 0; k < c.cond->rank; k++)
            f[k] = dim_subst(e->ctx, c.forms[k], to, g->box.n);
        c.forms = f;
        vec_push(e->arena, &in.guards, c);
    }
    Dim *f = ARENA_ARRAY(e->arena, Dim, rank + 1);
    for (int k = 0; k < rank; k++)
        f[k] = dim_subst(e->ctx, (*forms)[k], to, g->box.n);
    *forms = f;
    return in;
}

/* Which of g's indices does the finished inner body need? Their forms in g. */
static int needed(Gen *g, Gen *in, int result, bool *keep, Dim *at) {
    Body b = body_done(&in->b, result);
    int n = 0;
    for (int i = 0; i < g->box.n; i++) {
        keep[i] = body_mentions(&b, in->box.p[i].sym);
        if (keep[i])
            at[n++] = dim_of(g->e->ctx, g->box.p[i].sym);
    }
    return n;
}

static int gen_reduce(Gen *g, const Node *n, const Dim *forms) {
    Elab *e = g->e;
    if (!n->open && !g->guards.n)
        return gen_read(g, gen_value(e, (Node *)n), forms, NULL);
    Gen in = inner_gen(g, &forms, n->rank);
    in.wide = n->wide;
    int outer = g->box.n;
    const Dim *kid = reduce_forms(&in, n, forms);
    int body = guarded(&in, gen(&in, n->kid[0], kid), n->red);
    bool *keep = ARENA_ARRAY(e->arena, bool, outer + 1);
    Dim *at = ARENA_ARRAY(e->arena, Dim, outer + 1);
    needed(g, &in, body, keep, at);
    Val v = emit(&in, n->red, body, outer, keep, n->span);
    return gen_read(g, v, at, NULL);
}

static Val gather(Elab *e, const Node *n, Val at) {
    Val table = n->kid[0]->val;
    if (!n->rows) {
        Type t = graph_type(e->f, table);
        Dim count = type_count(e->ctx, t);
        if (t.rank != 1) {
            ReshapeAttr *flat = ARENA_NEW(e->m->arena, ReshapeAttr);
            flat->type = type_new(e->ctx, t.dt, 1, &count);
            table = inst_result(graph_inst(e->m, e->f, &op_reshape, &table, 1, flat,
                                           elab_span(e, n->span), elab_label(e)),
                                0);
        }
    }
    Val args[2] = {table, at};
    GatherAttr *attr = ARENA_NEW(e->m->arena, GatherAttr);
    return inst_result(
        graph_inst(e->m, e->f, &op_gather, args, 2, attr, elab_span(e, n->span), elab_label(e)), 0);
}

static int gen_gather(Gen *g, const Node *n, const Dim *forms) {
    Elab *e = g->e;
    const Node *index = n->kid[1];
    if (!n->open && !g->guards.n)
        return gen_read(g, gen_value(e, (Node *)n), forms, NULL);
    const Dim *own = forms;
    Gen in = inner_gen(g, &forms, index->rank);
    int outer = g->box.n;
    int body = guarded(&in, gen(&in, index, forms), NEST_SUM);
    bool *keep = ARENA_ARRAY(e->arena, bool, outer + 1);
    Dim *at = ARENA_ARRAY(e->arena, Dim, outer + MAX_RANK);
    int k = needed(g, &in, body, keep, at);
    Val v = gather(e, n, emit(&in, NEST_STORE, body, outer, keep, n->span));
    for (int i = index->rank; i < n->rank; i++)
        at[k++] = own[i];
    return gen_read(g, v, at, NULL);
}

static int gen(Gen *g, const Node *n, const Dim *forms) {
    if (n->val.id)
        return gen_read(g, n->val, forms, NULL);
    switch (n->kind) {
    case N_LEAF:
        break;
    case N_DATA:
        return gen_read(g, gen_value(g->e, (Node *)n), forms, NULL);
    case N_CONST:
        return dtype_is_real(n->dt) ? body_real(&g->b, n->dt, n->k.f)
                                    : body_int(&g->b, n->dt, n->k.i);
    case N_DIM:
        return gen_dim(g, at_env(g, n->dim));
    case N_OP:
        return gen_op(g, n, forms);
    case N_CAST:
        return body_cast(&g->b, n->dt, gen(g, n->kid[0], forms));
    case N_VIEW:
        return gen_view(g, n, forms);
    case N_FOR:
        return gen_for(g, n, forms);
    case N_REDUCE:
        return gen_reduce(g, n, forms);
    case N_DENSITY:
        return gen_density(g, n, forms);
    case N_GATHER:
        return gen_gather(g, n, forms);
    }
    ctx_internal(g->e->ctx, "lower: a node of kind %d without a value", (int)n->kind);
}

/* ---- whole tensors */

static Val gen_data(Elab *e, const Node *n) {
    ConstAttr *a = ARENA_NEW(e->m->arena, ConstAttr);
    Dim shape[MAX_RANK];
    for (int i = 0; i < n->rank; i++)
        shape[i] = n->axes[i].value;
    a->type = type_new(e->ctx, n->dt, n->rank, shape);
    a->values = n->data;
    return inst_result(
        graph_inst(e->m, e->f, &op_const, NULL, 0, a, elab_span(e, n->span), elab_label(e)), 0);
}

/* The reduction that n is, seen through its comprehensions, or NULL. */
static const Node *as_reduce(Gen *g, const Node *n, const Dim **forms) {
    while (n->kind == N_FOR && !n->val.id) {
        for (int i = 0; i < n->n_at; i++)
            bind(g, n->at[i], (*forms)[i]);
        *forms += n->n_at;
        n = n->kid[0];
    }
    return n->kind == N_REDUCE && !n->val.id ? n : NULL;
}

static Val gen_nest(Elab *e, const Node *n) {
    Gen g = {.e = e, .b = body_new(e->ctx)};
    Dim own[MAX_RANK];
    bool keep[MAX_RANK];
    for (int i = 0; i < n->rank; i++) {
        Str base = n->kind == N_FOR && i < n->n_at ? n->at[i]->name : str_of(e->ctx, "i");
        own[i] = dim_of(e->ctx, add_index(&g, base, n->axes[i].value));
        keep[i] = true;
    }
    const Dim *forms = own;
    const Node *red = as_reduce(&g, n, &forms);
    if (red) {
        const Dim *kid = reduce_forms(&g, red, forms);
        g.wide = red->wide;
        return emit(&g, red->red, gen(&g, red->kid[0], kid), n->rank, keep, red->span);
    }
    g.env.n = 0;
    return emit(&g, NEST_STORE, gen(&g, n, own), n->rank, keep, n->span);
}

Val gen_value(Elab *e, Node *n) {
    if (n->val.id)
        return n->val;
    CTX_ASSERT(e->ctx, !n->open);
    if (n->kind == N_DATA)
        n->val = gen_data(e, n);
    else if (n->kind == N_GATHER)
        n->val = gather(e, n, gen_value(e, n->kid[1]));
    else
        n->val = gen_nest(e, n);
    return n->val;
}

Node *gen_leaf(Elab *e, Node *n) {
    if (n->kind == N_LEAF)
        return n;
    Node *l = node_leaf(e, gen_value(e, n), n->axes, n->span);
    l->bound = n->bound;
    l->data = n->data;
    return l;
}

Node *gen_settle(Elab *e, Node *n) {
    const Node *k = n;
    while (k->kind == N_CAST || k->kind == N_VIEW)
        k = k->kid[0];
    if (n->open || n->kind == N_LEAF || k->kind == N_CONST || k->kind == N_DIM ||
        (n->kind == N_VIEW && k->kind == N_LEAF))
        return n;
    return gen_leaf(e, n);
}
