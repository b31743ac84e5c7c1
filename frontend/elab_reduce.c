/* Reductions: over all axes, over named ones, or over numbered ones (rule 5). */
#include "frontend/elab.h"

#include <string.h>

/* ---- which axes are reduced: all, `over = names`, `axis = numbers` */

static bool one_over(Elab *e, const Node *x, const Value *v, Span at, unsigned *mask) {
    int found = -1, n = 0;
    if (v->kind == V_DIM)
        for (int i = 0; i < x->rank; i++)
            if (x->axes[i].name == v->name) {
                found = i;
                n++;
            }
    if (n == 1) {
        *mask |= 1u << found;
        return true;
    }
    if (v->kind != V_DIM) {
        elab_error(e, "E0350", at, "`over` takes names of axes, and this is %s", value_what(e, v));
        return false;
    }
    elab_error(e, "E0350", at,
               n ? "`%s` names several axes of %s" : "`%s` is the name of no axis of %s",
               dim_text(e->ctx, v->name), x->rank ? axes_names(e, x->axes, x->rank) : "a scalar");
    return false;
}

void elab_no_axis(Elab *e, const Node *x, const Value *v, Span at) {
    int64_t k;
    if (!x->rank) {
        Diag *d = elab_error(e, "E0351", at, "no such axis: this is a scalar, which has no axes");
        diag_help(e->ctx, d, "leave the axis out");
        return;
    }
    const char *all = x->rank == 1 ? "has the axis 0 alone"
                                   : str_fmt(e->ctx, "has the axes 0 to %d", x->rank - 1);
    Diag *d =
        elab_error(e, "E0351", at, "no such axis: %s %s", axes_text(e, x->axes, x->rank), all);
    if (value_int_const(v, &k) && k < 0 && k >= -x->rank)
        diag_help(e->ctx, d, "axes count from 0: write `axis = %lld`", (long long)(x->rank + k));
}

static bool one_axis(Elab *e, const Node *x, const Value *v, Span at, unsigned *mask) {
    int64_t k;
    if (value_int_const(v, &k) && k >= 0 && k < x->rank) {
        *mask |= 1u << k;
        return true;
    }
    elab_no_axis(e, x, v, at);
    return false;
}

static bool pick_axes(Elab *e, const Node *x, const Expr *over, const Expr *axis, unsigned *mask) {
    const Expr *by = over ? over : axis;
    *mask = 0;
    if (!by) {
        *mask = (1u << x->rank) - 1;
        return true;
    }
    Value v = elab_expr(e, by);
    if (v.kind == V_ERROR)
        return false;
    Value *items = v.kind == V_LIST ? v.items : &v;
    for (int i = 0; i < (v.kind == V_LIST ? v.n_items : 1); i++)
        if (!(over ? one_over(e, x, &items[i], by->span, mask)
                   : one_axis(e, x, &items[i], by->span, mask)))
            return false;
    return true;
}

/* The number of reduced elements, as a node of type dt. */
static Node *reduced_count(Elab *e, const Node *x, unsigned mask, DType dt, Span at) {
    Dim n = dim_const(e->ctx, 1);
    for (int i = 0; i < x->rank; i++)
        if (mask >> i & 1)
            n = dim_or_error(e, dim_mul(e->ctx, n, x->axes[i].value), at);
    return node_cast(e, dt, node_dim(e, n, at));
}

Node *elab_op2(Elab *e, ScalarOp op, Node *a, Node *b, Span at) {
    Node *kids[2] = {a, b};
    return node_op(e, op, kids, 2, op == SC_eq || op == SC_ne ? DT_BOOL : a->dt, at);
}

static DType sum_type(const Elab *e, DType dt) {
    if (!dtype_is_real(dt))
        return DT_I64;
    return e->wide && e->wide == e->frame ? DT_F64 : dt;
}

static DType mean_type(const Elab *e, DType dt) {
    DType real = dtype_is_real(dt) ? dt : e->real;
    return e->wide && e->wide == e->frame ? DT_F64 : real;
}

static Node *sum_of(Elab *e, Node *x, unsigned mask, DType dt, Span at) {
    return mask ? node_reduce(e, NEST_SUM, node_cast(e, dt, x), mask, at) : node_cast(e, dt, x);
}

/* Is an axis of the mask as long as the caller says? */
static bool any_length(const Node *x, unsigned mask) {
    for (int i = 0; i < x->rank; i++)
        if ((mask >> i & 1) && !dim_is_const(x->axes[i].value, NULL))
            return true;
    return false;
}

/* Statistics over any number of rows are added up in f64. */
static Node *mean_of(Elab *e, Node *x, unsigned mask, Span at) {
    DType dt = mean_type(e, x->dt);
    Node *sum = dtype_is_real(x->dt) ? sum_of(e, x, mask, dt, at)
                                     : node_cast(e, dt, sum_of(e, x, mask, DT_I64, at));
    if (sum->kind == N_REDUCE && sum->dt == DT_F32)
        sum->wide = any_length(x, mask);
    return elab_op2(e, SC_div, sum, reduced_count(e, x, mask, dt, at), at);
}

/* Squares of the deviations from the mean, averaged. */
static Node *var_of(Elab *e, Node *x, unsigned mask, Span at) {
    x = gen_settle(e, node_cast(e, mean_type(e, x->dt), x));
    Node *m = gen_settle(e, mean_of(e, x, mask, at));
    Node *d = node_new(e, N_OP, x->dt, x->rank, x->axes, at);
    d->op = SC_sub;
    d->n_kids = 2;
    d->kid[0] = x, d->kid[1] = m;
    d->open = x->open | m->open;
    for (int i = 0, k = 0; i < x->rank; i++) {
        d->map[0][i] = i;
        if (!(mask >> i & 1))
            d->map[1][k++] = i;
    }
    d = gen_settle(e, d);
    return mean_of(e, elab_op2(e, SC_mul, d, d, at), mask, at);
}

Node *elab_truth(Elab *e, Node *x, unsigned mask, bool all, Span at) {
    if (x->dt != DT_BOOL) {
        elab_error(e, "E0332", at, "any and all need bools");
        return NULL;
    }
    Node *n = sum_of(e, all ? node_op1(e, SC_not, x, at) : x, mask, DT_I64, at);
    Node *zero = node_fill(e, node_const(e, DT_I64, 0, at), n->rank, n->axes);
    return elab_op2(e, all ? SC_eq : SC_ne, n, zero, at);
}

/* x with constant subscripts on the axes of mask. */
static Node *fixed(Elab *e, Node *x, unsigned mask, int64_t number) {
    Axis axes[LANG_RANK];
    Node *v = node_new(e, N_VIEW, x->dt, 0, NULL, x->span);
    v->at = ARENA_ARRAY(e->arena, DimSym, x->rank + 1);
    v->form = ARENA_ARRAY(e->arena, Dim, x->rank + 1);
    for (int i = x->rank - 1; i >= 0; i--) {
        int64_t n = 1;
        if (!(mask >> i & 1))
            continue;
        dim_is_const(x->axes[i].value, &n);
        v->form[i] = dim_const(e->ctx, number % n);
        number /= n;
    }
    for (int i = 0; i < x->rank; i++)
        if (!(mask >> i & 1)) {
            axes[v->rank] = x->axes[i];
            v->at[v->rank] = nest_index(e->ctx, "i");
            v->form[i] = dim_of(e->ctx, v->at[v->rank++]);
        }
    v->axes = arena_dup(e->arena, axes, sizeof *axes * LANG_RANK);
    v->kid[0] = x;
    v->n_kids = 1;
    v->n_at = v->rank;
    v->open = x->open;
    return v;
}

static Node *prod_of(Elab *e, Node *x, unsigned mask, Span at) {
    int64_t count = 1, k;
    for (int i = 0; i < x->rank; i++)
        if (mask >> i & 1)
            count = dim_is_const(x->axes[i].value, &k) && k <= 16 ? count * k : 17;
    if (count > 16) {
        elab_error(e, "E0352", at, "prod takes at most 16 elements, and a constant number of them");
        return NULL;
    }
    x = gen_settle(e, x->dt == DT_BOOL ? node_cast(e, DT_I64, x) : x);
    Node *r = NULL;
    for (int64_t i = 0; i < count; i++)
        r = r ? elab_op2(e, SC_mul, r, fixed(e, x, mask, i), at) : fixed(e, x, mask, i);
    return r ? r : node_const(e, x->dt, 1, at);
}

static Node *extreme_of(Elab *e, Node *x, unsigned mask, bool greatest, Span at) {
    if (x->dt == DT_BOOL) {
        elab_error(e, "E0333", at, "max and min need numbers: use any or all");
        return NULL;
    }
    return mask ? node_reduce(e, greatest ? NEST_MAX : NEST_MIN, x, mask, at) : x;
}

static Node *argmax_of(Elab *e, Node *x, unsigned mask, Span at) {
    int axis = -1;
    for (int i = 0; i < x->rank; i++)
        if (mask == 1u << i)
            axis = i;
    if (axis < 0) {
        elab_error(e, "E0353", at, "argmax is over one axis: say which, `axis = 1`");
        return NULL;
    }
    Node *n = node_reduce(e, NEST_ARGMAX, x->dt == DT_BOOL ? node_cast(e, DT_I32, x) : x, mask, at);
    n->bound = x->axes[axis].value;
    return n;
}

enum { R_SUM, R_MEAN, R_VAR, R_SD, R_MAX, R_MIN, R_ARGMAX, R_PROD, R_ANY, R_ALL, N_REDUCTIONS };
static const char *const reductions[] = {"sum", "mean",   "var",  "sd",  "max",
                                         "min", "argmax", "prod", "any", "all"};

static Node *reduction(Elab *e, int which, Node *x, unsigned mask, Span at) {
    switch (which) {
    case R_SUM:
        return sum_of(e, x, mask, sum_type(e, x->dt), at);
    case R_MEAN:
        return mean_of(e, x, mask, at);
    case R_VAR:
        return var_of(e, x, mask, at);
    case R_SD:
        return node_op1(e, SC_sqrt, var_of(e, x, mask, at), at);
    case R_MAX:
    case R_MIN:
        return extreme_of(e, x, mask, which == R_MAX, at);
    case R_ARGMAX:
        return argmax_of(e, x, mask, at);
    case R_PROD:
        return prod_of(e, x, mask, at);
    default:
        return elab_truth(e, x, mask, which == R_ALL, at);
    }
}

static Value reduce_call(Elab *e, const Expr *x, int which) {
    static const char *const names[] = {"x", "over", "axis", NULL};
    const Expr *args[3];
    unsigned mask;
    if ((which == R_MAX || which == R_MIN) && x->n_args == 2 && !x->args[0].name.text &&
        !x->args[1].name.text) {
        Value v[2] = {elab_expr(e, x->args[0].value), elab_expr(e, x->args[1].value)};
        if (v[0].kind == V_ERROR || v[1].kind == V_ERROR)
            return value_error();
        double a, b;
        if (v[0].kind != V_NODE && v[1].kind != V_NODE && value_const(&v[0], &a) &&
            value_const(&v[1], &b))
            return (which == R_MAX) == (b <= a) ? v[0] : v[1];
        return elab_scalar_call(e, which == R_MAX ? SC_max : SC_min, v, 2, x->span, x->path.span);
    }
    for (int i = 1; i < x->n_args; i++)
        if (!x->args[i].name.text) {
            Diag *d = elab_error(e, "E0408", x->args[i].span,
                                 "`%s` reduces one tensor: say `over = N` or `axis = 1`", reductions[which]);
            diag_help(e->ctx, d, "of several values it is `%s([a, b])`", reductions[which]);
            return value_error();
        }
    if (!elab_args(e, x, names, 1, args))
        return value_error();
    Value v = elab_expr(e, args[0]);
    Node *n = node_of(e, &v, DT_NONE);
    if (!n || !pick_axes(e, n, args[1], args[2], &mask))
        return value_error();
    return value_node(reduction(e, which, n, mask, x->span));
}

/* ---- logsumexp and softmax: shifted by the maximum, so that nothing overflows */

/* r, reduced over axes of x, beside x again. */
static Node *spread(Elab *e, Node *r, const Node *x, unsigned mask) {
    Node *v = node_new(e, N_VIEW, r->dt, x->rank, x->axes, r->span);
    v->kid[0] = r;
    v->n_kids = 1;
    v->n_at = x->rank;
    v->open = r->open;
    v->at = ARENA_ARRAY(e->arena, DimSym, x->rank + 1);
    v->form = ARENA_ARRAY(e->arena, Dim, r->rank + 1);
    for (int i = 0, k = 0; i < x->rank; i++) {
        v->at[i] = nest_index(e->ctx, "i");
        if (!(mask >> i & 1))
            v->form[k++] = dim_of(e->ctx, v->at[i]);
    }
    return v;
}

/* Its derivative cancels: it is held. */
static Node *held_max(Elab *e, Node *x, unsigned mask, Span at) {
    Node *m = node_reduce(e, NEST_MAX, x, mask, at);
    if (m->open)
        return m;
    Val v = gen_value(e, m);
    v = inst_result(graph_inst(e->m, e->f, &op_stop, &v, 1, NULL, elab_span(e, at), elab_label(e)),
                    0);
    return node_leaf(e, v, m->axes, at);
}

static Value exp_call(Elab *e, const Expr *x, bool soft) {
    static const char *const names[] = {"x", "over", "axis", NULL};
    const Expr *args[3];
    unsigned mask;
    Span at = x->span;
    if (!elab_args(e, x, names, 1, args))
        return value_error();
    Value v = elab_expr(e, args[0]);
    Node *n = node_of(e, &v, DT_NONE);
    if (!n || !pick_axes(e, n, args[1], args[2], &mask))
        return value_error();
    if (!mask) {
        elab_error(e, "E0336", args[0]->span, "softmax and logsumexp need an axis, and this is %s",
                   value_what(e, &v));
        return value_error();
    }
    if (soft && n->rank > 1 && !args[1] && !args[2]) {
        /* over all axes, classes of different rows would share one sum: never what is meant */
        Diag *d = elab_error(e, "E0353", at, "softmax is over one axis: say which, `axis = %d`",
                             n->rank - 1);
        diag_help(e->ctx, d, "write `softmax(x, axis = %d)`, or `|> softmax(axis = %d)`",
                  n->rank - 1, n->rank - 1);
        return value_error();
    }
    n = gen_settle(e, dtype_is_real(n->dt) ? n : node_cast(e, e->real, n));
    Node *m = held_max(e, n, mask, at);
    Node *u = node_op1(e, SC_exp, elab_op2(e, SC_sub, n, spread(e, m, n, mask), at), at);
    if (soft)
        u = gen_settle(e, u);
    Node *sum = node_reduce(e, NEST_SUM, u, mask, at);
    if (soft)
        return value_node(elab_op2(e, SC_div, u, spread(e, gen_settle(e, sum), n, mask), at));
    return value_node(elab_op2(e, SC_add, m, node_op1(e, SC_log, sum, at), at));
}

bool elab_reduction(Elab *e, const Expr *x, Value *out) {
    if (!strcmp(x->path.names[0].text, "softmax") || !strcmp(x->path.names[0].text, "logsumexp")) {
        *out = exp_call(e, x, x->path.names[0].text[0] == 's');
        return true;
    }
    for (int i = 0; i < N_REDUCTIONS; i++)
        if (!strcmp(x->path.names[0].text, reductions[i])) {
            *out = reduce_call(e, x, i);
            return true;
        }
    return false;
}
