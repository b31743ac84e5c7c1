/* Distributions: their arguments, log densities as instructions `density`, means. */
#include <math.h>
#include <string.h>

#include "frontend/foreign.h"
#include "frontend/lower.h"
#include "ir/dist.h"

/* ---- calls of distributions */

static const char *params_text(Elab *e, const DistDef *d) {
    StrBuf sb = sb_new(e->arena);
    for (int f = 0; f < d->n_forms; f++) {
        sb_put(&sb, f ? " | " : "");
        for (int k = 0; k < d->forms[f].n_params; k++)
            sb_printf(&sb, k ? ", %s" : "%s", d->forms[f].params[k].name);
    }
    return sb.text;
}

static void unknown_param(Elab *e, const Name *name, const DistDef *d) {
    const char *all[DIST_MOST_PARAMS * 4];
    int n = 0;
    for (int f = 0; f < d->n_forms; f++)
        for (int k = 0; k < d->forms[f].n_params && n < DIST_MOST_PARAMS * 4; k++)
            all[n++] = d->forms[f].params[k].name;
    Diag *g = elab_error(e, "E0407", name->span, "`%s` has no parameter `%s`: it takes %s", d->name,
                         name->text, params_text(e, d));
    const char *near = diag_nearest(name->text, all, n),
               *other = foreign_help(FOREIGN_ARGUMENT, name->text);
    if (near)
        diag_help(e->ctx, g, "did you mean `%s`?", near);
    else if (other)
        diag_help(e->ctx, g, "%s", other);
}

/* The form that the named arguments choose, or -1 after a message. */
static int choose_form(Elab *e, const Expr *x, const DistDef *d) {
    for (int f = 0; f < d->n_forms; f++) {
        bool fits = true;
        for (int i = 0; i < x->n_args && fits; i++) {
            bool found = !x->args[i].name.text;
            for (int k = 0; k < d->forms[f].n_params; k++)
                found |= x->args[i].name.text &&
                         !strcmp(x->args[i].name.text, d->forms[f].params[k].name);
            fits = found;
        }
        if (fits)
            return f;
    }
    for (int i = 0; i < x->n_args; i++)
        if (x->args[i].name.text && dist_form_named(d, x->args[i].name.text) < 0) {
            unknown_param(e, &x->args[i].name, d);
            return -1;
        }
    for (int i = x->n_args - 1; i >= 0; i--)
        if (x->args[i].name.text) {
            elab_error(e, "E0440", x->args[i].name.span,
                       "`%s` takes one of %s, and `%s` is one too many", d->name, params_text(e, d),
                       x->args[i].name.text);
            break;
        }
    return -1;
}

/* Constants outside what the parameter allows; a rate or scale of 0 is a limit, not a mistake. */
static bool param_allowed(Elab *e, const DistDef *d, const DistParam *p, const Value *v,
                          const Expr *x) {
    double k;
    for (int i = 0; v->kind == V_LIST && i < v->n_items; i++)
        if (!param_allowed(e, d, p, &v->items[i], x))
            return false;
    if (!value_const(v, &k) || (p->kind == KIND_POSITIVE ? k >= 0 : p->kind != KIND_PROB) ||
        (p->kind == KIND_PROB && k >= 0 && k <= 1))
        return true;
    elab_error(e, "E0447", x->span, "the parameter `%s` of `%s` is %s, and must be %s", p->name,
               d->name, elab_number(e, k), p->kind == KIND_PROB ? "between 0 and 1" : "positive");
    return false;
}

static DistValue *dist_args(Elab *e, const Expr *x, const DistDef *d) {
    const Expr *args[DIST_MOST_PARAMS + 1];
    const char *names[DIST_MOST_PARAMS + 1] = {0};
    int form = choose_form(e, x, d);
    if (form < 0)
        return NULL;
    const DistForm *f = &d->forms[form];
    for (int k = 0; k < f->n_params; k++)
        names[k] = f->params[k].name;
    if (!elab_args(e, x, names, f->n_params, args))
        return NULL;
    DistValue *v = ARENA_NEW(e->arena, DistValue);
    v->def = d;
    v->name = x->path.names[0].text;
    v->form = form;
    v->span = x->path.span;
    v->n_args = f->n_params;
    for (int k = 0; k < f->n_params; k++) {
        v->args[k] = elab_expr(e, args[k]);
        if (v->args[k].kind == V_ERROR || !param_allowed(e, d, &f->params[k], &v->args[k], args[k]))
            return NULL;
    }
    return v;
}

/* Weighted(u, D), Mixture(w, D), LogDensity(e): not in the table, since they stand for no
 * distribution of their own. */
static DistValue *dist_wrapper(Elab *e, const Expr *x) {
    static const char *const weighted[] = {"w", "D", NULL}, *const density[] = {"e", NULL};
    bool inner = strcmp(x->path.names[0].text, "LogDensity") != 0;
    const Expr *args[2];
    if (!elab_args(e, x, inner ? weighted : density, inner ? 2 : 1, args))
        return NULL;
    DistValue *v = ARENA_NEW(e->arena, DistValue);
    v->name = x->path.names[0].text;
    v->span = x->path.span;
    v->n_args = 1;
    v->args[0] = elab_expr(e, args[0]);
    if (v->args[0].kind == V_ERROR)
        return NULL;
    if (inner) {
        Value d = elab_expr(e, args[1]);
        if (d.kind != V_DIST) {
            if (d.kind != V_ERROR)
                elab_error(e, "E0441", args[1]->span,
                           "`%s` takes weights and a distribution, and this is %s", v->name,
                           value_what(e, &d));
            return NULL;
        }
        v->inner = d.dist;
    }
    return v;
}

static Value call_logpdf(Elab *e, const Expr *x) {
    static const char *const names[] = {"D", "x", NULL};
    const Expr *args[2];
    if (!elab_args(e, x, names, 2, args))
        return value_error();
    Value d = elab_expr(e, args[0]), at = elab_expr(e, args[1]);
    double whole;
    if (at.kind == V_DIM && d.kind == V_DIST && d.dist->def &&
        d.dist->def->support < SUPPORT_BOOL && value_const(&at, &whole))
        at = value_real(whole, at.span); /* 0 among reals */
    Node *n = d.kind == V_ERROR ? NULL : node_of(e, &at, DT_NONE);
    if (!n)
        return value_error();
    if (d.kind != V_DIST) {
        elab_error(e, "E0441", args[0]->span, "logpdf takes a distribution, and this is %s",
                   value_what(e, &d));
        return value_error();
    }
    return value_node(lower_density(e, n, d.dist, x->path.span));
}

bool elab_distribution(Elab *e, const Expr *x, Value *out) {
    Str name = x->path.names[0].text;
    if (!strcmp(name, "logpdf")) {
        *out = call_logpdf(e, x);
        return true;
    }
    const DistDef *d = dist_named(name);
    bool wrapper =
        !strcmp(name, "Weighted") || !strcmp(name, "Mixture") || !strcmp(name, "LogDensity");
    if (!d && !wrapper)
        return false;
    const DistValue *v = d ? dist_args(e, x, d) : dist_wrapper(e, x);
    *out = v ? (Value){.kind = V_DIST, .span = x->span, .dist = v} : value_error();
    return true;
}

/* ---- densities */

static bool kind_of_x(Elab *e, const Node *x, const DistValue *d, Span at) {
    DistSupport s = d->def->support;
    bool real = dtype_is_real(x->dt);
    bool ok = s < SUPPORT_BOOL ? real : s == SUPPORT_BOOL ? x->dt == DT_BOOL : !real;
    if (!ok) {
        Diag *g = elab_error(e, "E0443", at, "%s is a distribution of %s, and the left side is %s",
                             d->name, s == SUPPORT_BOOL ? "bool" : "int or index",
                             value_what(e, &(Value){.kind = V_NODE, .node = (Node *)x}));
        diag_help(e->ctx, g, "declare it `data NAME: %s%s`, or take another distribution",
                  s == SUPPORT_BOOL          ? "bool"
                  : d->def->vectors[d->form] ? "index(K)"
                                             : "int",
                  x->rank ? axes_names(e, x->axes, x->rank) : "");
    }
    return ok;
}

static DType density_real(const Elab *e, const Node *x) {
    return dtype_is_real(x->dt) ? x->dt : e->real;
}

/* bool[N, K] with K classes is one-hot: as numbers of classes it would be N * K draws of 0 or 1. */
static bool is_one_hot(Elab *e, const Node *x, const DistValue *d, Span at) {
    for (int k = 0; d->def->support == SUPPORT_INDEX && !x->bound && x->rank && k < d->n_args;
         k++) {
        const Node *p =
            dist_is_vector(d->def, d->form, k) ? node_of(e, &d->args[k], density_real(e, x)) : NULL;
        if (!p || !p->rank || p->rank > x->rank ||
            p->axes[p->rank - 1].value != x->axes[x->rank - 1].value)
            continue;
        Diag *g = elab_error(e, "E0448", at,
                             "%s draws the number of a class, and the left side is %s, whose last "
                             "axis is that of the classes",
                             d->name, value_what(e, &(Value){.kind = V_NODE, .node = (Node *)x}));
        diag_label(e->ctx, g, elab_span(e, d->args[k].span), "of shape %s",
                   axes_text(e, p->axes, p->rank));
        return true;
    }
    return false;
}

/* index(K) draws from K classes. */
static bool classes_fit(Elab *e, const Node *x, const DistValue *d, Span at) {
    for (int k = 0; d->def->support == SUPPORT_INDEX && x->bound && k < d->n_args; k++) {
        if (!dist_is_vector(d->def, d->form, k))
            continue;
        const Node *p = node_of(e, &d->args[k], density_real(e, x));
        if (!p)
            return false;
        Dim n = p->rank ? p->axes[p->rank - 1].value : x->bound;
        if (d->def->forms[d->form].params[k].kind == KIND_ORDERED) /* thresholds between classes */
            n = dim_addk(e->ctx, n, 1);
        if (n == x->bound || !dim_is_const(n, NULL) || !dim_is_const(x->bound, NULL))
            continue;
        Diag *g =
            elab_error(e, "E0446", at, "the left side is of kind index(%s), and %s has %s classes",
                       dim_text(e->ctx, x->bound), d->name, dim_text(e->ctx, n));
        diag_label(e->ctx, g, elab_span(e, d->args[k].span), "of shape %s",
                   axes_text(e, p->axes, p->rank));
        return false;
    }
    return true;
}

/* Does the support of the prior leave out a part of what the kind allows? */
static bool support_leaves_out(DistSupport s, const Slot *slot) {
    double lo = slot->kind == KIND_INTERVAL ? slot->lo : slot->kind == KIND_REAL ? -HUGE_VAL : 0;
    double hi = slot->kind == KIND_INTERVAL ? slot->hi : slot->kind == KIND_PROB ? 1 : HUGE_VAL;
    if (slot->kind > KIND_INTERVAL)
        return false;
    return (s == SUPPORT_POSITIVE && lo < 0) || (s == SUPPORT_UNIT && (lo < 0 || hi > 1));
}

void lower_check_support(Elab *e, const Slot *slot, const DistValue *d, Span at) {
    if (!d->def || !support_leaves_out(d->def->support, slot))
        return;
    Diag *w = diag_warning(e->ctx, "W0501", "support", at,
                           "the prior of `%s` has another support than its kind", slot->path);
    diag_help(e->ctx, w,
              d->def->support == SUPPORT_UNIT ? "declare it `prob`" : "declare it `positive`");
}

/* Do draws of d take the last axis of x? */
static bool vector_draws(const DistValue *d) {
    return d->def ? d->def->vector_draws : d->inner && vector_draws(d->inner);
}

static int draws_rank(const Node *x, const DistValue *d) { return x->rank - vector_draws(d); }

/* The last axes of a vector's parameter are as long as the vector. */
static bool tail_fits(Elab *e, const Node *x, const Node *p, const DistValue *d, int tail,
                      Span at) {
    for (int i = 1; i <= tail && vector_draws(d); i++)
        if (p->axes[p->rank - i].value != x->axes[x->rank - 1].value) {
            elab_error(e, "E0312", at,
                       "the two sides of `~` have different shapes: left %s, right %s",
                       axes_text(e, x->axes, x->rank), axes_text(e, p->axes, p->rank));
            return false;
        }
    return true;
}

/* p repeated for the draws that share it: leading axes of the draws, map[i] the one of its axis i,
 * then its last `tail` ones. */
static Node *spread_over(Elab *e, Node *p, const Node *draws, const int *map, int tail) {
    Axis axes[LANG_RANK + 2];
    int rank = draws->rank + tail, lead = p->rank - tail;
    axes_copy(axes, draws->axes, draws->rank);
    axes_copy(axes + draws->rank, p->axes + lead, tail);
    Node *spread = node_new(e, N_VIEW, p->dt, rank, axes, p->span);
    spread->n_kids = 1;
    spread->kid[0] = gen_leaf(e, p);
    spread->n_at = rank;
    spread->at = ARENA_ARRAY(e->arena, DimSym, rank + 1);
    spread->form = ARENA_ARRAY(e->arena, Dim, p->rank + 1);
    for (int i = 0; i < rank; i++)
        spread->at[i] = nest_index(e->ctx, "i");
    for (int i = 0; i < p->rank; i++)
        spread->form[i] = dim_of(e->ctx, spread->at[i < lead ? map[i] : draws->rank + i - lead]);
    return spread;
}

static Node *prepared(Elab *e, Node *p, const DistValue *d, int k, Span at) {
    if (!d->def->prepare)
        return p;
    DistCall c = {
        .m = e->m, .f = e->f, .form = d->form, .span = elab_span(e, at), .name = elab_label(e)};
    Val v = gen_value(e, p), with = d->def->prepare(&c, k, v);
    return with.id == v.id ? p : node_leaf(e, with, p->axes, at);
}

/* A parameter as the density wants it: a scalar, or of the draws' shape; vectors and matrices have
 * their own axes behind, or are one for all draws. */
static bool dist_param(Elab *e, const Node *x, const DistValue *d, int k, DType dt, Span at,
                       Val *out) {
    const Value *v = &d->args[k];
    int tail = dist_tail(d->def, d->form, k), map[LANG_RANK + 2], n_draws = draws_rank(x, d);
    Node *p = node_of(e, v, dt);
    if (!p)
        return false;
    p = node_cast(e, dt, p);
    if (p->open) {
        elab_error(e, "E0356", v->span,
                   "a density inside a comprehension: compute it outside, for the whole tensor");
        return false;
    }
    if (tail == 1 && !p->rank && vector_draws(d)) /* one number for all elements */
        p = gen_leaf(e, node_fill(e, p, 1, &x->axes[x->rank - 1]));
    if (p->rank < tail) {
        elab_error(e, "E0336", v->span, "%s takes a %s, and this is a %s", d->name,
                   tail == 1 ? "vector" : "matrix", p->rank ? "vector" : "scalar");
        return false;
    }
    if (!tail_fits(e, x, p, d, tail, at))
        return false;
    if (tail)
        p = prepared(e, gen_leaf(e, p), d, k, at);
    if (p->rank > tail) {
        Node *draws = node_fill(e, node_const(e, dt, 0, at), n_draws, x->axes), lead = *p;
        lead.rank -= tail;
        if (lead.rank > n_draws) {
            elab_error(e, "E0312", at,
                       "the two sides of `~` have different shapes: left %s, right %s",
                       axes_text(e, x->axes, x->rank), axes_text(e, p->axes, p->rank));
            return false;
        }
        if (!node_align(e, &lead, draws, map, at, "~", true))
            return false;
        if (lead.rank < n_draws)
            p = spread_over(e, p, draws, map, tail);
    }
    *out = gen_value(e, p);
    return true;
}

static Type density_type(Elab *e, const Node *x, const DistValue *d) {
    Dim shape[LANG_RANK];
    int rank = draws_rank(x, d);
    for (int i = 0; i < rank; i++)
        shape[i] = x->axes[i].value;
    return type_new(e->ctx, density_real(e, x), rank, shape);
}

static bool dist_params(Elab *e, const Node *x, const DistValue *d, Span at, Val *out) {
    for (int k = 0; k < d->n_args; k++)
        if (!dist_param(e, x, d, k, density_real(e, x), at, &out[k]))
            return false;
    return true;
}

static Node *given_density(Elab *e, const Node *x, const DistValue *d) {
    (void)x;
    Node *n = node_of(e, &d->args[0], DT_NONE);
    return n && !dtype_is_real(n->dt) ? node_cast(e, e->real, n) : n;
}

/* ---- mixtures: a component for each index of the first axis of x */

/* n with a further axis, along which it is constant, before its last `behind` ones. */
static Node *repeated(Elab *e, Node *n, Axis more, int behind) {
    Axis axes[LANG_RANK + 1];
    int place = n->rank - behind;
    axes_copy(axes, n->axes, place);
    axes[place] = more;
    axes_copy(axes + place + 1, n->axes + place, behind);
    Node *r = node_new(e, N_VIEW, n->dt, n->rank + 1, axes, n->span);
    r->n_kids = 1;
    r->kid[0] = gen_leaf(e, n);
    r->n_at = n->rank + 1;
    r->at = ARENA_ARRAY(e->arena, DimSym, n->rank + 1);
    r->form = ARENA_ARRAY(e->arena, Dim, n->rank + 1);
    for (int i = 0; i <= n->rank; i++)
        r->at[i] = nest_index(e->ctx, "i");
    for (int i = 0; i < n->rank; i++)
        r->form[i] = dim_of(e->ctx, r->at[i + (i >= place)]);
    return gen_leaf(e, r);
}

static Node *mixture_weights(Elab *e, const Node *x, const DistValue *d, Span at) {
    Node *w = node_of(e, &d->args[0], density_real(e, x));
    if (!w)
        return NULL;
    if (!x->rank || !w->rank || w->rank > 2 || x->rank >= LANG_RANK || x->open || w->open) {
        elab_error(e, "E0442", at,
                   "Mixture draws a component for each index of the first axis of its left side: "
                   "weights [K] or [N, K], here "
                   "%s, and a tensor, here %s",
                   axes_text(e, w->axes, w->rank), axes_text(e, x->axes, x->rank));
        return NULL;
    }
    return gen_leaf(e, node_cast(e, density_real(e, x), w));
}

static Node *op2(Elab *e, ScalarOp op, Node *a, Node *b, Span at) {
    Value l = value_node(a), r = value_node(b);
    AstOp ast = op == SC_add ? OP_ADD : op == SC_sub ? OP_SUB : OP_MUL;
    Value v = elab_binary(e, ast, l, r, at, at);
    return v.kind == V_NODE ? v.node : NULL;
}

static Node *reduced(Elab *e, NestOpKind op, Node *n, unsigned axes, Span at) {
    return gen_leaf(e, axes ? node_reduce(e, op, n, axes, at) : n);
}

/* u - m for m without u's last axis: by position, since names may repeat. */
static Node *minus_rows(Elab *e, Node *u, Node *m, Span at) {
    return op2(e, SC_sub, u, repeated(e, m, u->axes[u->rank - 1], 0), at);
}

static Node *with_name(Elab *e, Node *n, int axis, Dim name) {
    Axis axes[LANG_RANK + 2];
    n = gen_leaf(e, n);
    axes_copy(axes, n->axes, n->rank);
    axes[axis].name = name;
    return node_leaf(e, n->val, axes, n->span);
}

/* Weights and parameters of literals have numbers for axes: those that stand for the components,
 * the last of a parameter's own, get one name, that of a declared dim if any of them has it. */
static Node *name_components(Elab *e, Node *w, const DistValue *d, const DistValue **named) {
    Axis k = w->axes[w->rank - 1];
    DistValue *to = arena_dup(e->arena, d, sizeof *d);
    Node *p[8] = {NULL};
    int at[8] = {0};
    Dim name = k.name;
    *named = d;
    for (int i = 0; d->def && i < d->n_args; i++) {
        Node *n = d->args[i].kind == V_NODE || d->args[i].kind == V_LIST
                      ? node_of(e, &d->args[i], e->real)
                      : NULL;
        at[i] = n ? n->rank - dist_tail(d->def, d->form, i) - 1 : -1;
        if (at[i] < 0 || n->open || n->axes[at[i]].value != k.value)
            continue;
        p[i] = n;
        if (dim_is_const(name, NULL))
            name = n->axes[at[i]].name;
    }
    if (!dim_is_const(k.value, NULL)) /* without literals names are as they are declared */
        return w;
    if (dim_is_const(name, NULL))
        name = dim_of(e->ctx, dim_symbol_new(e->ctx, str_of(e->ctx, "K"), 1, false));
    for (int i = 0; i < 8; i++)
        if (p[i] && dim_is_const(p[i]->axes[at[i]].name, NULL))
            to->args[i] = value_node(with_name(e, p[i], at[i], name));
    *named = to;
    return dim_is_const(k.name, NULL) ? with_name(e, w, w->rank - 1, name) : w;
}

/* log sum_k w_k exp(sum over the other axes of the log density of component k) */
static Node *mixture_density(Elab *e, Node *x, const DistValue *d, Span at) {
    const DistValue *inner = d->inner;
    Node *w = mixture_weights(e, x, d, at);
    int behind = vector_draws(d);
    w = w ? name_components(e, w, inner, &inner) : NULL;
    Node *terms =
        w ? lower_density(e, repeated(e, x, w->axes[w->rank - 1], behind), inner, at) : NULL;
    if (!terms)
        return NULL;
    unsigned others = ((1u << (x->rank - behind)) - 1) & ~1u;
    terms = reduced(e, NEST_SUM, terms, others, at);
    Value lw = value_node(w);
    lw = elab_scalar_call(e, SC_log, &lw, 1, at, at);
    Node *u = op2(e, SC_add, terms, lw.node, at);
    if (!u)
        return NULL;
    u = gen_leaf(e, u);
    Node *m = reduced(e, NEST_MAX, u, 2, at);
    Val fixed = m->val;
    fixed = inst_result(
        graph_inst(e->m, e->f, &op_stop, &fixed, 1, NULL, elab_span(e, at), elab_label(e)), 0);
    m = node_leaf(e, fixed, m->axes, at);
    Value power = value_node(minus_rows(e, u, m, at));
    power = elab_scalar_call(e, SC_exp, &power, 1, at, at);
    Value sum = value_node(reduced(e, NEST_SUM, power.node, 2, at));
    sum = elab_scalar_call(e, SC_log, &sum, 1, at, at);
    return gen_leaf(e, op2(e, SC_add, sum.node, m, at));
}

static Node *mixture_mean(Elab *e, Node *x, const DistValue *d, Span at) {
    const DistValue *inner = d->inner;
    Node *w = mixture_weights(e, x, d, at);
    int place = draws_rank(x, d);
    w = w ? name_components(e, w, inner, &inner) : NULL;
    Axis k = w ? w->axes[w->rank - 1] : (Axis){0};
    Node *m = w ? lower_dist_mean(e, repeated(e, x, k, x->rank - place), inner, at) : NULL;
    if (!m || m->rank != x->rank + 1)
        return NULL;
    for (int i = 0; i <= x->rank; i++)
        m->axes[i] = i < place ? x->axes[i] : i == place ? k : x->axes[i - 1];
    Node *p = op2(e, SC_mul, m, w, at);
    return p ? reduced(e, NEST_SUM, p, 1u << place, at) : NULL;
}

/* Where it depends on an index of a comprehension: a formula in place. */
static Node *open_density(Elab *e, Node *x, const DistValue *d, Span at) {
    DType dt = density_real(e, x);
    Node *n = node_new(e, N_DENSITY, dt, x->rank, x->axes, at);
    n->dist = d;
    n->n_kids = d->n_args + 1;
    n->kid[0] = d->def->support == SUPPORT_BOOL ? x : node_cast(e, dt, x);
    n->open = x->open;
    for (int i = 0; i < x->rank; i++)
        n->map[0][i] = i;
    for (int k = 0; k < d->n_args; k++) {
        Node *p = node_of(e, &d->args[k], dt);
        if (!p)
            return NULL;
        n->kid[k + 1] = p = node_cast(e, dt, p);
        n->open |= p->open;
        if (p->rank > x->rank || (p->rank && !node_align(e, p, x, n->map[k + 1], at, "~", true))) {
            if (p->rank > x->rank)
                elab_error(e, "E0312", at,
                           "the two sides of `~` have different shapes: left %s, right %s",
                           axes_text(e, x->axes, x->rank), axes_text(e, p->axes, p->rank));
            return NULL;
        }
    }
    return n;
}

Node *lower_density(Elab *e, Node *x, const DistValue *d, Span at) {
    if (!strcmp(d->name, "LogDensity"))
        return given_density(e, x, d);
    if (!strcmp(d->name, "Mixture"))
        return mixture_density(e, x, d, at);
    if (d->inner) {
        Node *n = lower_density(e, x, d->inner, at);
        Value r = n ? elab_binary(e, OP_MUL, d->args[0], value_node(n), at, at) : value_error();
        return r.kind == V_NODE ? r.node : NULL;
    }
    if (d->def->support < SUPPORT_BOOL && !dtype_is_real(x->dt))
        x = node_cast(e, e->real, x); /* bool -> int -> real widen */
    if (!kind_of_x(e, x, d, at) || is_one_hot(e, x, d, at) || !classes_fit(e, x, d, at))
        return NULL;
    if (vector_draws(d) && !x->rank) {
        elab_error(e, "E0336", at, "%s draws vectors, and the left side is a scalar", d->name);
        return NULL;
    }
    bool open = x->open != 0;
    for (int k = 0; k < d->n_args; k++)
        open |= d->args[k].kind == V_NODE && d->args[k].node->open;
    if (open && d->def->body)
        return open_density(e, x, d, at);
    if (x->open) {
        elab_error(e, "E0356", at,
                   "a density inside a comprehension: compute it outside, for the whole tensor");
        return NULL;
    }
    Val args[DIST_MOST_PARAMS + 1];
    args[0] = gen_value(e, x);
    if (!dist_params(e, x, d, at, args + 1))
        return NULL;
    DensityAttr *a = ARENA_NEW(e->m->arena, DensityAttr);
    a->dist = d->def;
    a->form = d->form;
    a->type = density_type(e, x, d);
    Val v = inst_result(graph_inst(e->m, e->f, &op_density, args, d->n_args + 1, a,
                                   elab_span(e, at), elab_label(e)),
                        0);
    return node_leaf(e, v, x->axes, at);
}

Node *lower_dist_mean(Elab *e, Node *x, const DistValue *d, Span at) {
    if (!strcmp(d->name, "Mixture"))
        return mixture_mean(e, x, d, at);
    if (d->inner)
        return lower_dist_mean(e, x, d->inner, at);
    if (!d->def || (!d->def->mean && !d->def->mean_body))
        return NULL;
    Val args[DIST_MOST_PARAMS];
    if (!dist_params(e, x, d, at, args))
        return NULL;
    DistCall c = {.m = e->m,
                  .f = e->f,
                  .form = d->form,
                  .params = args,
                  .type = density_type(e, x, d),
                  .span = elab_span(e, at),
                  .name = elab_label(e)};
    return node_leaf(e, dist_mean(d->def, &c), NULL, at);
}
