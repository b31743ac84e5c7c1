/* Functions of the language that are not written in it: shapes, linear algebra, initial values. */
#include "frontend/elab.h"

#include <math.h>
#include <string.h>

/* ---- shapes */

static bool shape_arg(Elab *e, const Expr *x, Axis *axes, int *rank) {
    Value v = elab_expr(e, x);
    if (v.kind == V_ERROR)
        return false;
    *rank = v.kind == V_LIST ? v.n_items : -1;
    for (int i = 0; i < *rank && i < LANG_RANK; i++) {
        const Value *k = &v.items[i];
        if (k->kind != V_DIM || node_dim_open(e, k->dim)) {
            *rank = -1;
            break;
        }
        if (!elab_extent(e, k->dim, k->span))
            return false;
        axes[i] = axis_dim(k->name, k->dim);
    }
    if (*rank >= 0 && *rank <= LANG_RANK)
        return true;
    elab_error(e, "E0354", x->span, "a shape is a list of dims, `[N, 3]`");
    return false;
}

static Dim count_of(Elab *e, const Axis *axes, int rank, Span at) {
    Dim n = dim_const(e->ctx, 1);
    for (int i = 0; i < rank; i++)
        n = dim_or_error(e, dim_mul(e->ctx, n, axes[i].value), at);
    return n;
}

/* The counts of two shapes without the axes that both have. */
static void reshape_error(Elab *e, const Node *x, const Axis *axes, int rank, Span at) {
    Axis old[LANG_RANK], now[LANG_RANK];
    int n_old = x->rank, n_now = rank;
    axes_copy(old, x->axes, n_old);
    axes_copy(now, axes, n_now);
    for (int i = 0; i < n_old; i++)
        for (int k = 0; k < n_now; k++)
            if (old[i].value == now[k].value) {
                old[i--] = old[--n_old];
                now[k] = now[--n_now];
                break;
            }
    const char *help = NULL;
    Dim a = count_of(e, now, n_now, at), b = count_of(e, old, n_old, at);
    Diag *d = elab_error(e, "E0355", at, "reshape of %s to %s changes the number of elements",
                         axes_text(e, x->axes, x->rank), axes_text(e, axes, rank));
    diag_note(e->ctx, d, (Span){0}, "%s", dim_explain(e->ctx, a, NULL, b, NULL, &help));
    if (help)
        diag_help(e->ctx, d, "%s", help);
}

static Node *closed(Elab *e, Node *x, Span at, const char *what) {
    if (x && x->open) {
        Diag *d = elab_error(e, "E0356", at,
                             "%s of a tensor that depends on an index of a comprehension", what);
        diag_help(e->ctx, d, "compute it outside the comprehension");
        return NULL;
    }
    return x ? gen_leaf(e, x) : NULL;
}

static Node *arg_node(Elab *e, const Expr *x) {
    Value v = elab_expr(e, x);
    return node_of(e, &v, DT_NONE);
}

static Value call_reshape(Elab *e, const Expr *x, const Expr **a) {
    Axis axes[LANG_RANK];
    int rank;
    Node *n = arg_node(e, a[0]);
    if (!n || !shape_arg(e, a[1], axes, &rank))
        return value_error();
    if (count_of(e, n->axes, n->rank, x->span) != count_of(e, axes, rank, x->span)) {
        reshape_error(e, n, axes, rank, x->path.span);
        return value_error();
    }
    n = closed(e, n, x->path.span, "reshape");
    if (!n)
        return value_error();
    Dim shape[LANG_RANK];
    for (int i = 0; i < rank; i++)
        shape[i] = axes[i].value;
    ReshapeAttr *attr = ARENA_NEW(e->m->arena, ReshapeAttr);
    attr->type = type_new(e->ctx, n->dt, rank, shape);
    Val v = inst_result(
        graph_inst(e->m, e->f, &op_reshape, &n->val, 1, attr, elab_span(e, x->span), elab_label(e)),
        0);
    Node *r = node_leaf(e, v, axes, x->span);
    r->bound = n->bound;
    return value_node(r);
}

static Value call_fill(Elab *e, const Expr *x, const Expr **a) {
    Axis axes[LANG_RANK];
    int rank;
    if (!shape_arg(e, a[0], axes, &rank))
        return value_error();
    Value v = elab_expr(e, a[1]);
    Node *n =
        v.kind == V_DIM ? node_cast(e, e->real, node_of(e, &v, DT_NONE)) : node_of(e, &v, DT_NONE);
    if (n && n->rank) {
        elab_error(e, "E0357", a[1]->span, "fill takes a scalar, and this is %s",
                   value_what(e, &v));
        return value_error();
    }
    if (!n)
        return value_error();
    Node *cell =
        ARENA_NEW(e->arena, Node); /* what is filled stands where `fill` does, not its scalar */
    *cell = *n;
    cell->span = x->span;
    return value_node(node_fill(e, cell, rank, axes));
}

static Value call_eye(Elab *e, const Expr *x, const Expr **a) {
    Value n;
    if (!elab_dim_value(e, a[0], &n) || !elab_extent(e, n.dim, a[0]->span))
        return value_error();
    LoopIndex idx[2];
    Axis axes[2];
    for (int i = 0; i < 2; i++) {
        idx[i] = (LoopIndex){nest_index(e->ctx, "i"), n.dim};
        axes[i] = axis_dim(n.name, n.dim);
        vec_push(e->arena, &e->loops, idx[i]);
    }
    Node *same = elab_op2(e, SC_eq, node_dim(e, dim_of(e->ctx, idx[0].sym), x->span),
                          node_dim(e, dim_of(e->ctx, idx[1].sym), x->span), x->span);
    Node *r = node_for(e, idx, axes, 2, node_cast(e, e->real, same), x->span);
    e->loops.n -= 2;
    return value_node(r);
}

/* ---- pad, concat */

static bool pad_amounts(Elab *e, const Expr *x, int rank, Value *out) {
    *out = elab_expr(e, x);
    if (out->kind == V_ERROR)
        return false;
    bool ok = out->kind == V_LIST && out->n_items == rank;
    for (int i = 0; ok && i < rank; i++)
        ok = out->items[i].kind == V_DIM && !node_dim_open(e, out->items[i].dim);
    if (!ok)
        elab_error(e, "E0358", x->span, "pad takes a list of %s, one for each axis",
                   elab_count(e, rank, "int", "ints"));
    for (int i = 0; ok && i < rank; i++) {
        int64_t k;
        Dim d = out->items[i].dim;
        if (dim_is_const(d, &k) ? k < 0 : false) {
            elab_error(e, "E0359", x->span, "a pad of %lld: pads are never negative", (long long)k);
            return false;
        }
        if (!dim_prove_nonneg(e->ctx, &(DimFacts){0}, d))
            elab_check(e, d, x->span, "the pad %s is negative", dim_text(e->ctx, d));
    }
    return ok;
}

static const char *pad_why(Elab *e, const Axis *x, Dim before, Dim after) {
    return str_fmt(e->ctx, "%s + %s + %s", dim_text(e->ctx, x->value), dim_text(e->ctx, before),
                   dim_text(e->ctx, after));
}

static Node *pad_node(Elab *e, Node *n, const Value *before, const Value *after, ScalarValue fill,
                      Span at) {
    Axis axes[LANG_RANK];
    DimSym *sym = ARENA_ARRAY(e->arena, DimSym, n->rank + 1);
    Dim *form = ARENA_ARRAY(e->arena, Dim, n->rank + 1), zero = dim_const(e->ctx, 0);
    bool any = false;
    for (int i = 0; i < n->rank; i++) {
        const Value *b = &before[i], *a = &after[i];
        axes[i].name = dim_or_error(
            e, dim_add(e->ctx, n->axes[i].name, dim_add(e->ctx, b->name, a->name)), at);
        axes[i].value =
            dim_or_error(e, dim_add(e->ctx, n->axes[i].value, dim_add(e->ctx, b->dim, a->dim)), at);
        axes[i].why = pad_why(e, &n->axes[i], b->dim, a->dim);
        sym[i] = nest_index(e->ctx, "i");
        form[i] = dim_sub(e->ctx, dim_of(e->ctx, sym[i]), b->dim);
        any |= b->dim != zero || a->dim != zero;
    }
    if (!any) {
        Node *same = arena_dup(e->arena, n, sizeof *n);
        same->axes = arena_dup(e->arena, axes, sizeof axes);
        return same;
    }
    Node *r = node_new(e, N_VIEW, n->dt, n->rank, axes, at);
    r->kid[0] = n;
    r->n_kids = 1;
    r->at = sym;
    r->n_at = n->rank;
    r->form = form;
    r->has_fill = true;
    r->k = fill;
    return r;
}

static bool fill_value(Elab *e, const Expr *x, DType dt, ScalarValue *out) {
    *out = (ScalarValue){0};
    if (!x)
        return true;
    Value v = elab_expr(e, x);
    double k;
    if (v.kind == V_ERROR)
        return false;
    if (!value_const(&v, &k)) {
        elab_error(e, "E0360", x->span, "the fill of a pad is a constant");
        return false;
    }
    *out = node_const(e, dt, k, x->span)->k;
    return true;
}

static Value call_pad(Elab *e, const Expr *x, const Expr **a) {
    Value before, after;
    ScalarValue fill;
    Node *n = closed(e, arg_node(e, a[0]), x->path.span, "pad");
    if (!n || !pad_amounts(e, a[1], n->rank, &before) || !pad_amounts(e, a[2], n->rank, &after) ||
        !fill_value(e, a[3], n->dt, &fill))
        return value_error();
    return value_node(pad_node(e, n, before.items, after.items, fill, x->span));
}

static Value call_zeropad(Elab *e, const Expr *x, const Expr **a) {
    Value p, all[LANG_RANK];
    Node *n = closed(e, arg_node(e, a[0]), x->path.span, "zeropad");
    if (!n || !elab_dim_value(e, a[1], &p))
        return value_error();
    if (n->rank < 2) {
        elab_error(e, "E0336", a[0]->span, "zeropad pads the last two axes, and this is %s",
                   axes_text(e, n->axes, n->rank));
        return value_error();
    }
    int64_t k;
    if (dim_is_const(p.dim, &k) && k < 0) {
        elab_error(e, "E0359", a[1]->span, "a pad of %lld: pads are never negative", (long long)k);
        return value_error();
    }
    if (!dim_prove_nonneg(e->ctx, &(DimFacts){0}, p.dim))
        elab_check(e, p.dim, a[1]->span, "the pad %s is negative", dim_text(e->ctx, p.dim));
    for (int i = 0; i < n->rank; i++)
        all[i] = i < n->rank - 2 ? value_int(e, 0, x->span) : p;
    return value_node(pad_node(e, n, all, all, (ScalarValue){0}, x->span));
}

/* Stores x into the result from `offset` of the axis on; cells that it does not reach keep `init`.
 */
static Val concat_part(Elab *e, const Node *x, int axis, Dim offset, const Dim *shape, Val init,
                       Span at) {
    BodyBuilder b = body_new(e->ctx);
    NestIndex *box = ARENA_ARRAY(e->arena, NestIndex, x->rank + 1);
    Dim *map = ARENA_ARRAY(e->arena, Dim, x->rank + 1),
        *to = ARENA_ARRAY(e->arena, Dim, x->rank + 1);
    for (int i = 0; i < x->rank; i++) {
        box[i] = (NestIndex){nest_fresh_index(e->ctx, "i", box, i), x->axes[i].value};
        map[i] = to[i] = dim_of(e->ctx, box[i].sym);
    }
    to[axis] = dim_add(e->ctx, to[axis], offset);
    Body body = body_done(&b, body_read(&b, x->dt, 0, x->rank, map));
    Val args[2] = {x->val, init};
    Nest nest = {.op = NEST_STORE,
                 .n_box = x->rank,
                 .box = box,
                 .rank = x->rank,
                 .map = to,
                 .body = body,
                 .init = init.id ? 1 : -1};
    return graph_nest(e->m, e->f, &nest, args, init.id ? 2 : 1, x->dt, shape, elab_span(e, at),
                      elab_label(e));
}

static bool concat_fits(Elab *e, const Node *a, const Node *b, int axis, Span at) {
    bool ok = a->rank == b->rank;
    int i = 0;
    for (; ok && i < a->rank; i += ok)
        ok = i == axis || a->axes[i].value == b->axes[i].value;
    if (ok)
        return true;
    Diag *d = elab_error(e, "E0361", at, "concat along axis %d of %s and %s", axis,
                         axes_text(e, a->axes, a->rank), axes_text(e, b->axes, b->rank));
    Dim p = a->rank == b->rank ? a->axes[i].value : NULL, q = p ? b->axes[i].value : NULL;
    const char *help = NULL;
    if (p && q && !(dim_is_const(p, NULL) && dim_is_const(q, NULL))) /* these are seen to differ */
        diag_note(e->ctx, d, (Span){0}, "%s", dim_explain(e->ctx, p, NULL, q, NULL, &help));
    if (help)
        diag_help(e->ctx, d, "%s", help);
    return false;
}

static Value call_concat(Elab *e, const Expr *x, const Expr **a) {
    int64_t axis = 0;
    Node *l = closed(e, arg_node(e, a[0]), x->path.span, "concat"),
         *r = closed(e, arg_node(e, a[1]), x->path.span, "concat");
    if (!l || !r)
        return value_error();
    if (a[2]) {
        Value v = elab_expr(e, a[2]);
        if (!value_int_const(&v, &axis) || axis < 0 || axis >= l->rank) {
            if (v.kind != V_ERROR)
                elab_no_axis(e, l, &v, a[2]->span);
            return value_error();
        }
    }
    if (!concat_fits(e, l, r, (int)axis, x->path.span))
        return value_error();
    DType dt = node_join(e, l->dt, r->dt);
    l = gen_leaf(e, node_cast(e, dt, l)), r = gen_leaf(e, node_cast(e, dt, r));
    Axis axes[LANG_RANK];
    Dim shape[LANG_RANK];
    for (int i = 0; i < l->rank; i++) {
        axes[i] = l->axes[i];
        if (i == axis)
            axes[i] = axis_dim(dim_add(e->ctx, l->axes[i].name, r->axes[i].name),
                               dim_add(e->ctx, l->axes[i].value, r->axes[i].value));
        shape[i] = dim_or_error(e, axes[i].value, x->span);
    }
    Val first = concat_part(e, l, (int)axis, dim_const(e->ctx, 0), shape, (Val){0}, x->span);
    Val all = concat_part(e, r, (int)axis, l->axes[axis].value, shape, first, x->span);
    return value_node(node_leaf(e, all, axes, x->span));
}

/* ---- linear algebra, tables, initial values */

static bool square(Elab *e, const Node *n, Span at) {
    if (n->rank >= 2 && n->axes[n->rank - 1].value == n->axes[n->rank - 2].value)
        return true;
    elab_error(e, "E0336", at, "a square matrix is needed here, and this is %s",
               axes_text(e, n->axes, n->rank));
    return false;
}

static Node *real_leaf(Elab *e, const Expr *x, Span at, const char *what) {
    Node *n = arg_node(e, x);
    return closed(e, n && !dtype_is_real(n->dt) ? node_cast(e, e->real, n) : n, at, what);
}

static Value call_cholesky(Elab *e, const Expr *x, const Expr **a) {
    Node *n = real_leaf(e, a[0], x->path.span, "cholesky");
    if (!n || !square(e, n, a[0]->span))
        return value_error();
    Val v = inst_result(graph_inst(e->m, e->f, &op_cholesky, &n->val, 1, NULL,
                                   elab_span(e, x->span), elab_label(e)),
                        0);
    return value_node(node_leaf(e, v, n->axes, x->span));
}

static Value call_solve(Elab *e, const Expr *x, const Expr **a) {
    Node *m = real_leaf(e, a[0], x->path.span, "solve"),
         *b = m ? real_leaf(e, a[1], x->path.span, "solve") : NULL;
    if (!m || !b || !square(e, m, a[0]->span))
        return value_error();
    bool vector = b->rank == m->rank - 1;
    int row = vector ? b->rank - 1 : b->rank - 2;
    if (b->rank < m->rank - 1 || b->rank > m->rank ||
        b->axes[row].value != m->axes[m->rank - 1].value) {
        elab_error(e, "E0362", a[1]->span, "solve of %s and %s: the rows differ",
                   axes_text(e, m->axes, m->rank), axes_text(e, b->axes, b->rank));
        return value_error();
    }
    Axis axes[LANG_RANK];
    axes_copy(axes, b->axes, b->rank);
    axes[row] = m->axes[m->rank - 1];
    Val args[2] = {m->val, b->val};
    Val v = inst_result(
        graph_inst(e->m, e->f, &op_solve, args, 2, NULL, elab_span(e, x->span), elab_label(e)), 0);
    return value_node(node_leaf(e, v, axes, x->span));
}

static Value call_mask(Elab *e, const Expr *x) {
    Value v = {.kind = V_LIST,
               .span = x->span,
               .n_items = x->n_args,
               .items = ARENA_ARRAY(e->arena, Value, x->n_args + 1)};
    for (int i = 0; i < x->n_args; i++) {
        Value row = elab_expr(e, x->args[i].value);
        if (row.kind == V_ERROR)
            return row;
        size_t n = row.kind == V_STRING ? strlen(row.text) : 0;
        if (row.kind != V_STRING || strspn(row.text, "X.") != n || !n) {
            elab_error(e, "E0363", x->args[i].span, "a row of mask is a string of `X` and `.`");
            return value_error();
        }
        Value r = {.kind = V_LIST,
                   .span = row.span,
                   .n_items = (int)n,
                   .items = ARENA_ARRAY(e->arena, Value, n)};
        for (size_t k = 0; k < n; k++)
            r.items[k] = value_bool(row.text[k] == 'X', row.span);
        v.items[i] = r;
    }
    if (!x->n_args)
        elab_error(e, "E0363", x->path.span, "mask takes rows of `X` and `.`");
    return x->n_args ? v : value_error();
}

static Value call_init(Elab *e, const Expr *x, const Expr **a, int kind) {
    InitValue *i = ARENA_NEW(e->arena, InitValue);
    i->kind = kind;
    i->span = x->span;
    i->fan_in = elab_expr(e, a[0]);
    i->fan_out = a[1] ? elab_expr(e, a[1]) : value_error();
    i->gain = kind == INIT_GLOROT && a[2] ? elab_expr(e, a[2]) : value_real(1, x->span);
    if (i->fan_in.kind == V_ERROR || (a[1] && i->fan_out.kind == V_ERROR) ||
        i->gain.kind == V_ERROR)
        return value_error();
    return (Value){.kind = V_INIT, .span = x->path.span, .init = i};
}

/* k-means++ rows of x, keyed by the seed. */
Node *elab_pick(Elab *e, const InitValue *init) {
    Node *x = node_of(e, &init->fan_in, DT_NONE);
    if (!x)
        return NULL;
    if (!x->rank || !dtype_is_real(x->dt) || x->open || init->fan_out.kind != V_DIM) {
        elab_error(e, "E0509", init->span,
                   "pick takes a tensor of reals with rows, and the number of rows to pick");
        return NULL;
    }
    x = gen_leaf(e, x);
    PickAttr *a = ARENA_NEW(e->m->arena, PickAttr);
    a->k = init->fan_out.dim;
    a->site = e->sites++;
    Val args[2] = {x->val, elab_seed(e)};
    Val v = inst_result(
        graph_inst(e->m, e->f, &op_pick, args, 2, a, elab_span(e, init->span), elab_label(e)), 0);
    Axis axes[LANG_RANK];
    axes_copy(axes, x->axes, x->rank);
    axes[0] = axis_dim(init->fan_out.name, init->fan_out.dim);
    return node_leaf(e, v, axes, init->span);
}

/* close(a, b, tol): every element within tol * (1 + |b|). */
static Value call_close(Elab *e, const Expr *x, const Expr **a) {
    Span at = x->span;
    Value l = elab_expr(e, a[0]), r = elab_expr(e, a[1]);
    Value tol = a[2] ? elab_expr(e, a[2]) : value_real(e->real == DT_F32 ? 1e-5 : 1e-9, at);
    Value d = elab_binary(e, OP_SUB, l, r, x->path.span, at);
    Node *rn = d.kind == V_ERROR ? NULL : node_of(e, &r, DT_NONE);
    if (!rn || d.kind == V_ERROR || tol.kind == V_ERROR)
        return value_error();
    Value size = value_node(rn);
    size = elab_scalar_call(e, SC_abs, &size, 1, at, at);
    d = elab_scalar_call(e, SC_abs, &d, 1, at, at);
    size = elab_binary(e, OP_MUL, tol, elab_binary(e, OP_ADD, value_real(1, at), size, at, at), at,
                       at);
    Value ok = elab_binary(e, OP_LE, d, size, at, at);
    Node *n = ok.kind == V_ERROR ? NULL : node_of(e, &ok, DT_NONE);
    return n ? value_node(elab_truth(e, n, (1u << n->rank) - 1, true, at)) : value_error();
}

/* (-1)^(n + 1) n! zeta(n + 1, x), where n is none of those that have a row. */
static Value call_polygamma(Elab *e, const Expr *x, const Expr **a) {
    enum { MOST = 12 };
    Value n = elab_expr(e, a[0]), v = elab_expr(e, a[1]);
    int64_t k;
    if (n.kind == V_ERROR || v.kind == V_ERROR)
        return value_error();
    if (!value_int_const(&n, &k) || k < 0 || k > MOST) {
        elab_error(e, "E0364", a[0]->span,
                   "the order of polygamma is a whole number that is known, from 0 to %d", MOST);
        return value_error();
    }
    if (k < 2)
        return elab_scalar_call(e, k ? SC_trigamma : SC_digamma, &v, 1, x->span, x->path.span);
    Value args[2] = {value_real((double)k + 1, x->span), v};
    Value z = elab_scalar_call(e, SC_zeta, args, 2, x->span, x->path.span);
    double factor = (k % 2 ? 1 : -1) * tgamma((double)k + 1);
    return z.kind == V_ERROR
               ? z
               : elab_binary(e, OP_MUL, value_real(factor, x->span), z, x->span, x->span);
}

static Value call_uniform(Elab *e, const Expr *x, const Expr **a) {
    Node *n = arg_node(e, a[0]);
    if (!n)
        return value_error();
    if (n->open) {
        elab_error(e, "E0356", x->path.span,
                   "uniform inside a comprehension: draw outside, with the whole shape");
        return value_error();
    }
    Dim shape[LANG_RANK];
    for (int i = 0; i < n->rank; i++)
        shape[i] = n->axes[i].value;
    Val v = elab_random(e, RANDOM_UNIFORM, NULL, type_new(e->ctx, e->real, n->rank, shape),
                        elab_rng_step(e), x->span);
    return value_node(node_leaf(e, v, n->axes, x->span));
}

static Value call_randint(Elab *e, const Expr *x, const Expr **a) {
    Value k;
    Axis axes[LANG_RANK];
    Dim shape[LANG_RANK];
    int rank;
    if (!elab_dim_value(e, a[0], &k) || !shape_arg(e, a[1], axes, &rank))
        return value_error();
    for (int i = 0; i < rank; i++)
        shape[i] = axes[i].value;
    Val v = elab_random(e, RANDOM_INT, k.dim, type_new(e->ctx, DT_I32, rank, shape),
                        elab_rng_step(e), x->span);
    Node *n = node_leaf(e, v, axes, x->span);
    n->bound = k.dim;
    return value_node(n);
}

static Value call_glorot(Elab *e, const Expr *x, const Expr **a) {
    return call_init(e, x, a, INIT_GLOROT);
}
static Value call_he(Elab *e, const Expr *x, const Expr **a) { return call_init(e, x, a, INIT_HE); }
static Value call_pick(Elab *e, const Expr *x, const Expr **a) {
    return call_init(e, x, a, INIT_PICK);
}

static const struct {
    const char *name;
    int required;
    const char *args[5];
    Value (*call)(Elab *e, const Expr *x, const Expr **args);
} functions[] = {
    {"reshape", 2, {"x", "shape"}, call_reshape},
    {"fill", 2, {"shape", "x"}, call_fill},
    {"eye", 1, {"n"}, call_eye},
    {"pad", 3, {"x", "before", "after", "fill"}, call_pad},
    {"zeropad", 2, {"x", "p"}, call_zeropad},
    {"concat", 2, {"a", "b", "axis"}, call_concat},
    {"cholesky", 1, {"x"}, call_cholesky},
    {"solve", 2, {"a", "b"}, call_solve},
    {"glorot", 2, {"fan_in", "fan_out", "gain"}, call_glorot},
    {"he", 1, {"fan_in", "fan_out"}, call_he},
    {"pick", 2, {"x", "k"}, call_pick},
    {"close", 2, {"a", "b", "tol"}, call_close},
    {"polygamma", 2, {"n", "x"}, call_polygamma},
    {"uniform", 1, {"x"}, call_uniform},
    {"randint", 2, {"k", "shape"}, call_randint},
};

bool elab_builtin(Elab *e, const Expr *x, Value *out) {
    Str name = x->path.names[0].text;
    if (elab_reduction(e, x, out))
        return true;
    if (!strcmp(name, "mask")) {
        *out = call_mask(e, x);
        return true;
    }
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
        if (!strcmp(name, functions[i].name)) {
            const Expr *args[5];
            *out = elab_args(e, x, functions[i].args, functions[i].required, args)
                       ? functions[i].call(e, x, args)
                       : value_error();
            return true;
        }
    return false;
}
