/* The special forms grad, vjp, jvp, hessian and stop (rule 21). They stay instructions until the
 * pass `ad`. */
#include "frontend/lower.h"

#include <string.h>

Val elab_vjp(Elab *e, Val y, Val g, Val w, Span at) {
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
        if (v.id) {
            Value of = elab_expr(e, x);
            Diag *d = elab_error(e, "E0420", x->span,
                                 "a derivative is with respect to reals, and this is %s",
                                 value_what(e, &of));
            diag_help(e->ctx, d,
                      "make it real: declare it `real`, write a number with its point, `1.0`");
            return false;
        }
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
        node_leaf(e, elab_vjp(e, y->val, ones(e, y)->val, w->val, x->span), w->axes, x->span));
}

static Value call_vjp(Elab *e, const Expr *x, const Expr **a) {
    Node *y, *w, *g;
    if (!differentiated(e, a[0], false, &y) || !wrt(e, a[1], &w) || !cotangent(e, a[2], y, &g))
        return value_error();
    return value_node(node_leaf(e, elab_vjp(e, y->val, g->val, w->val, x->span), w->axes, x->span));
}

/* J v is the derivative of u -> u'J with respect to u: linear, so any u will do. */
static Node *jvp(Elab *e, Node *y, Node *w, Val v, Span at) {
    Node *u = ones(e, y);
    Val uj = elab_vjp(e, y->val, u->val, w->val, at);
    return node_leaf(e, elab_vjp(e, uj, v, u->val, at), y->axes, at);
}

static Value call_jvp(Elab *e, const Expr *x, const Expr **a) {
    Node *y, *w, *v;
    if (!differentiated(e, a[0], false, &y) || !wrt(e, a[1], &w) || !cotangent(e, a[2], w, &v))
        return value_error();
    return value_node(jvp(e, y, w, v->val, x->span));
}

/* ---- hessian: e for the rows of a matrix W that all equal w. Row p of the gradient of their sum
 * depends on row p of W alone, so the gradient of its diagonal's sum is the Hessian. */

/* The vector w in every row. */
static Node *copies(Elab *e, Node *w, Axis axis) {
    Axis axes[2] = {axis, axis};
    Node *m = node_new(e, N_VIEW, w->dt, 2, axes, w->span);
    m->kid[0] = w;
    m->n_kids = 1;
    m->n_at = 2;
    m->at = ARENA_ARRAY(e->arena, DimSym, 2);
    m->form = ARENA_ARRAY(e->arena, Dim, 1);
    m->at[0] = nest_index(e->ctx, "p");
    m->at[1] = nest_index(e->ctx, "i");
    m->form[0] = dim_of(e->ctx, m->at[1]);
    return gen_leaf(e, m);
}

/* Row `index` of the matrix, or its only element if w is a scalar. */
static Node *row_of(Elab *e, Node *m, const Node *w, DimSym index) {
    Node *r = node_new(e, N_VIEW, m->dt, w->rank, w->axes, m->span);
    r->kid[0] = m;
    r->n_kids = 1;
    r->n_at = w->rank;
    r->at = ARENA_ARRAY(e->arena, DimSym, 1);
    r->form = ARENA_ARRAY(e->arena, Dim, 2);
    r->form[0] = r->form[1] = dim_of(e->ctx, index);
    if (w->rank) {
        r->at[0] = nest_index(e->ctx, "i");
        r->form[1] = dim_of(e->ctx, r->at[0]);
    }
    r->open = node_dim_open(e, r->form[0]);
    return r;
}

/* The bindings before this one that depend on w, anew for the row. */
static void rebind_all(Elab *e, Val w) {
    const Item *item = e->frame->item;
    for (int i = 0; i < item->n_body; i++) {
        Binding *b = item->body[i]->kind == STMT_BIND
                         ? elab_lookup(e->frame, item->body[i]->name.text)
                         : NULL;
        if (b && b->kind == B_LOCAL && b->v.kind == V_NODE && !b->v.node->open &&
            lower_reaches(e, e->f, w, gen_value(e, b->v.node)))
            elab_rebind(e, item->body[i], b);
    }
}

/* e at every row of m. */
static Node *at_rows(Elab *e, const Expr *x, Binding *b, Node *w, Node *m) {
    LoopIndex idx = {nest_index(e->ctx, "p"), m->axes[0].value};
    Frame *fr = e->frame;
    int n = fr->names.n;
    Binding *saved = arena_dup(e->arena, fr->names.p, sizeof *saved * (size_t)n);
    vec_push(e->arena, &e->loops, idx);
    b->v = value_node(row_of(e, m, w, idx.sym));
    rebind_all(e, w->val);
    Value v = elab_expr(e, x);
    Node *y = node_of(e, &v, w->dt);
    Axis axis = m->axes[0];
    Node *all = y ? node_for(e, &idx, &axis, 1, y, x->span) : NULL;
    e->loops.n--;
    for (int i = 0; i < n; i++)
        fr->names.p[i] = saved[i];
    return all ? gen_leaf(e, all) : NULL;
}

static Node *diagonal(Elab *e, Node *m) {
    LoopIndex idx = {nest_index(e->ctx, "p"), m->axes[0].value};
    vec_push(e->arena, &e->loops, idx);
    Node *cell = row_of(e, m, &(Node){.rank = 0}, idx.sym);
    Node *d = node_for(e, &idx, m->axes, 1, cell, m->span);
    e->loops.n--;
    return gen_leaf(e, node_reduce(e, NEST_SUM, d, 1, m->span));
}

static Value call_hessian(Elab *e, const Expr *x, const Expr **a) {
    Node *y, *w;
    if (!differentiated(e, a[0], true, &y) || !wrt(e, a[1], &w))
        return value_error();
    Binding *b = a[1]->path.n == 1 ? elab_lookup(e->frame, a[1]->path.names[0].text) : NULL;
    if (w->rank > 1 || !b) {
        elab_error(e, "E0424", x->path.span,
                   "hessian is with respect to a vector or scalar that has a name of its own here");
        return value_error();
    }
    if (!w->rank) {
        Val g = elab_vjp(e, y->val, ones(e, y)->val, w->val, x->span);
        Val h = elab_vjp(e, g, ones(e, w)->val, w->val, x->span);
        return value_node(node_leaf(e, h, NULL, x->span));
    }
    Node *m = copies(e, w, w->axes[0]);
    Node *all = at_rows(e, a[0], b, w, m);
    if (!all)
        return value_error();
    Val g = elab_vjp(e, all->val, ones(e, all)->val, m->val, x->span);
    Node *d = diagonal(e, node_leaf(e, g, m->axes, x->span));
    Val h = elab_vjp(e, d->val, ones(e, d)->val, m->val, x->span);
    return value_node(node_leaf(e, h, m->axes, x->span));
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
