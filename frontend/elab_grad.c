/* The special forms grad, vjp, jvp, hessian and stop (rule 21). They stay instructions until the
 * pass `ad`. */
#include "frontend/elab.h"

#include <string.h>

static Val emit_vjp(Elab *e, Val y, Val g, Val w, Span at) {
    VjpAttr *a = ARENA_NEW(e->m->arena, VjpAttr);
    a->n_wrt = 1;
    Val args[3] = {y, g, w};
    return inst_result(graph_inst(e->m, e->f, &op_vjp, args, 3, a, elab_span(e, at), elab_label(e)),
                       0);
}

/* The tensor that `w` names: a param, a formal or the path of one tensor. */
static bool wrt(Elab *e, const Expr *x, Node **out) {
    Val v = {0};
    const Axis *axes = NULL;
    if (x->kind == EXPR_NAME && x->path.n == 1) {
        const Binding *b = elab_lookup(e->frame, x->path.names[0].text);
        if (b && b->v.kind == V_ERROR)
            return false;
        if (b && (b->kind == B_PARAM || b->kind == B_FORMAL || b->kind == B_DATA) &&
            b->v.kind == V_NODE) {
            v = b->leaf;
            axes = b->v.node->axes;
        }
    } else if (x->kind == EXPR_NAME) {
        Str path = e->frame->path;
        for (int i = 0; i < x->path.n; i++)
            path = elab_path(e, path, x->path.names[i].text);
        const Slot *s = elab_slot(e, path);
        if (s) {
            v = s->val;
            axes = s->leaf->axes;
        }
    }
    if (!v.id || !dtype_is_real(graph_type(e->f, v).dt)) {
        Diag *d = elab_error(
            e, "E0420", x->span,
            "a derivative is with respect to a param, a formal or the path of one tensor of reals");
        diag_help(e->ctx, d, "bind what it depends on as an argument of a def");
        return false;
    }
    *out = node_leaf(e, v, axes, x->span);
    return true;
}

/* e: an expression or a binding of this block, computed. */
static bool differentiated(Elab *e, const Expr *x, bool scalar, Node **out) {
    if (x->kind == EXPR_NAME && x->path.n == 1) {
        const Binding *b = elab_lookup(e->frame, x->path.names[0].text);
        if (b && b->kind != B_LOCAL) {
            elab_error(
                e, "E0421", x->span,
                "`%s` is a formal: an expression or a binding of this block can be differentiated",
                b->name);
            return false;
        }
    }
    Value v = elab_expr(e, x);
    Node *n = node_of(e, &v, DT_NONE);
    if (!n)
        return false;
    if (!dtype_is_real(n->dt) || (scalar && n->rank)) {
        elab_error(e, "E0422", x->span, "%s is needed here, and this is %s",
                   scalar ? "a real scalar" : "a tensor of reals", value_what(e, &v));
        return false;
    }
    if (n->open || e->loops.n) {
        elab_error(e, "E0423", x->span, "a derivative inside a comprehension: take it outside");
        return false;
    }
    *out = gen_leaf(e, n);
    return true;
}

static bool cotangent(Elab *e, const Expr *x, const Node *like, Node **out) {
    Value v = elab_expr(e, x);
    Declared d = {.kind = KIND_REAL,
                  .dt = like->dt,
                  .rank = like->rank,
                  .has_shape = like->rank > 0,
                  .span = like->span};
    for (int i = 0; i < like->rank; i++)
        d.axes[i] = like->axes[i];
    v = elab_convert(e, v, &d, x->span, "the direction");
    Node *n = v.kind == V_ERROR ? NULL : node_of(e, &v, like->dt);
    *out = n && !n->open ? gen_leaf(e, n) : NULL;
    return *out != NULL;
}

static Node *ones(Elab *e, const Node *like) {
    return gen_leaf(e,
                    node_fill(e, node_const(e, like->dt, 1, like->span), like->rank, like->axes));
}

static Value call_grad(Elab *e, const Expr *x, const Expr **a) {
    Node *y, *w;
    if (!differentiated(e, a[0], true, &y) || !wrt(e, a[1], &w))
        return value_error();
    return value_node(
        node_leaf(e, emit_vjp(e, y->val, ones(e, y)->val, w->val, x->span), w->axes, x->span));
}

static Value call_vjp(Elab *e, const Expr *x, const Expr **a) {
    Node *y, *w, *g;
    if (!differentiated(e, a[0], false, &y) || !wrt(e, a[1], &w) || !cotangent(e, a[2], y, &g))
        return value_error();
    return value_node(node_leaf(e, emit_vjp(e, y->val, g->val, w->val, x->span), w->axes, x->span));
}

/* J v is the derivative of u -> u'J with respect to u: linear, so any u will do. */
static Node *jvp(Elab *e, Node *y, Node *w, Val v, Span at) {
    Node *u = ones(e, y);
    Val uj = emit_vjp(e, y->val, u->val, w->val, at);
    return node_leaf(e, emit_vjp(e, uj, v, u->val, at), y->axes, at);
}

static Value call_jvp(Elab *e, const Expr *x, const Expr **a) {
    Node *y, *w, *v;
    if (!differentiated(e, a[0], false, &y) || !wrt(e, a[1], &w) || !cotangent(e, a[2], w, &v))
        return value_error();
    return value_node(jvp(e, y, w, v->val, x->span));
}

/* Row r is the gradient of grad . unit(r), for a vector or scalar of a constant number of elements.
 */
static Value call_hessian(Elab *e, const Expr *x, const Expr **a) {
    Node *y, *w;
    int64_t n = 1;
    if (!differentiated(e, a[0], true, &y) || !wrt(e, a[1], &w))
        return value_error();
    if (w->rank > 1 || (w->rank && (!dim_is_const(w->axes[0].value, &n) || n > 256))) {
        elab_error(e, "E0424", x->path.span,
                   "hessian is available for a vector of at most 256 elements, a number known when "
                   "compiling");
        return value_error();
    }
    Val g = emit_vjp(e, y->val, ones(e, y)->val, w->val, x->span);
    if (!w->rank)
        return value_node(
            node_leaf(e, emit_vjp(e, g, ones(e, w)->val, w->val, x->span), NULL, x->span));
    Value rows = {.kind = V_LIST,
                  .span = x->span,
                  .n_items = (int)n,
                  .items = ARENA_ARRAY(e->arena, Value, n + 1)};
    for (int64_t r = 0; r < n; r++) {
        Value unit = {.kind = V_LIST,
                      .span = x->span,
                      .n_items = (int)n,
                      .items = ARENA_ARRAY(e->arena, Value, n + 1)};
        for (int64_t k = 0; k < n; k++)
            unit.items[k] = value_real(k == r, x->span);
        Val u = gen_value(e, node_of(e, &unit, w->dt));
        rows.items[r] =
            value_node(node_leaf(e, emit_vjp(e, g, u, w->val, x->span), w->axes, x->span));
    }
    Node *h = node_of(e, &rows, w->dt);
    h->axes[0] = h->axes[1] = w->axes[0];
    return value_node(h);
}

static Value call_stop(Elab *e, const Expr *x, const Expr **a) {
    Value v = elab_expr(e, a[0]);
    if (v.kind != V_NODE)
        return v;
    if (v.node->open) {
        elab_error(e, "E0356", x->path.span, "stop inside a comprehension: bind it outside");
        return value_error();
    }
    Val y = gen_value(e, v.node);
    y = inst_result(
        graph_inst(e->m, e->f, &op_stop, &y, 1, NULL, elab_span(e, x->span), elab_label(e)), 0);
    return value_node(node_leaf(e, y, v.node->axes, x->span));
}

static const struct {
    const char *name;
    int required;
    const char *args[4];
    Value (*call)(Elab *e, const Expr *x, const Expr **args);
} forms[] = {
    {"grad", 2, {"e", "w"}, call_grad},    {"vjp", 3, {"e", "w", "v"}, call_vjp},
    {"jvp", 3, {"e", "w", "v"}, call_jvp}, {"hessian", 2, {"e", "w"}, call_hessian},
    {"stop", 1, {"e"}, call_stop},
};

bool elab_special(Elab *e, const Expr *x, Value *out) {
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++)
        if (!strcmp(x->path.names[0].text, forms[i].name)) {
            const Expr *args[4];
            *out = elab_args(e, x, forms[i].args, forms[i].required, args)
                       ? forms[i].call(e, x, args)
                       : value_error();
            return true;
        }
    return false;
}
