/* Expressions: operators, conditions, comprehensions. */
#include "frontend/elab.h"

#include <math.h>
#include <string.h>

static Value elab_name(Elab *e, const Expr *x) {
    Binding *b = e->frame ? elab_lookup(e->frame, x->path.names[0].text) : NULL;
    if (b && x->path.n == 1) {
        Value v = b->v;
        v.span = x->span;
        return v;
    }
    if (e->frame && x->path.n > 1) {
        Str path = e->frame->path;
        for (int i = 0; i < x->path.n; i++)
            path = elab_path(e, path, x->path.names[i].text);
        Slot *s = elab_slot(e, path);
        if (s)
            return value_node(s->node);
    }
    return elab_global(e, x);
}

bool elab_dim_value(Elab *e, const Expr *x, Value *out) {
    *out = elab_expr(e, x);
    if (out->kind == V_ERROR)
        return false;
    if (out->kind != V_DIM) {
        Diag *d = elab_error(e, "E0326", x->span,
                             "an int known when compiling is needed here, and this is %s",
                             value_what(e, out));
        if (x->kind == EXPR_BINARY && x->op == OP_DIV)
            diag_help(e->ctx, d, "`/` divides reals: write `//`");
        return false;
    }
    if (node_dim_open(e, out->dim)) {
        elab_error(
            e, "E0329", x->span,
            "an index of a comprehension cannot stand here: a bound or extent uses no index");
        return false;
    }
    return true;
}

/* ---- operators on what is known when compiling */

/* A divisor is at least 1: proved, or checked at the C entry, which knows no index. */
static bool divisor_checked(Elab *e, Dim d, Span at) {
    DimFacts facts = elab_facts(e);
    if (dim_is_const(d, NULL) || dim_prove_positive(e->ctx, &facts, d))
        return true;
    if (node_dim_open(e, d)) {
        elab_error(e, "E0319", at, "the divisor %s is not known to be at least 1",
                   dim_text(e->ctx, d));
        return false;
    }
    elab_check(e, dim_addk(e->ctx, d, -1), at, "the divisor %s is below 1", dim_text(e->ctx, d));
    return true;
}

static Value fold_dims(Elab *e, AstOp op, const Value *a, const Value *b, Span at) {
    Ctx *c = e->ctx;
    Dim n = NULL, d = NULL;
    switch (op) {
    case OP_ADD:
        n = dim_add(c, a->name, b->name), d = dim_add(c, a->dim, b->dim);
        break;
    case OP_SUB:
        n = dim_sub(c, a->name, b->name), d = dim_sub(c, a->dim, b->dim);
        break;
    case OP_MUL:
        n = dim_mul(c, a->name, b->name), d = dim_mul(c, a->dim, b->dim);
        break;
    default: {
        int64_t k;
        if (dim_is_const(b->dim, &k) && k < 1) {
            elab_error(e, "E0319", at, "division by %lld: the divisor of a dim is at least 1",
                       (long long)k);
            return value_error();
        }
        if (!divisor_checked(e, b->dim, at))
            return value_error();
        n = dim_floordiv(c, a->name, b->name), d = dim_floordiv(c, a->dim, b->dim);
        if (op == OP_MOD && n && d)
            n = dim_mod(c, a->name, b->name), d = dim_mod(c, a->dim, b->dim);
    }
    }
    if (!n || !d) {
        dim_or_error(e, NULL, at);
        return value_error();
    }
    return value_dim(n, d, at);
}

/* Does the prover decide a < b, a == b? 1 yes, 0 no, -1 undecided. */
static int decide(Elab *e, AstOp op, Dim a, Dim b) {
    DimFacts f = elab_facts(e);
    Dim less = dim_addk(e->ctx, dim_sub(e->ctx, b, a), -1), geq = dim_sub(e->ctx, a, b);
    if (op == OP_EQ || op == OP_NE) {
        if (a == b)
            return op == OP_EQ;
        if (dim_prove_nonneg(e->ctx, &f, less) || dim_prove_positive(e->ctx, &f, geq))
            return op == OP_NE;
        return -1;
    }
    return dim_prove_nonneg(e->ctx, &f, less) ? 1 : dim_prove_nonneg(e->ctx, &f, geq) ? 0 : -1;
}

static Value compare_dims(Elab *e, AstOp op, const Value *a, const Value *b, Span at) {
    int r = op == OP_EQ || op == OP_NE ? decide(e, op, a->dim, b->dim)
            : op == OP_LT              ? decide(e, OP_LT, a->dim, b->dim)
            : op == OP_GT              ? decide(e, OP_LT, b->dim, a->dim)
            : op == OP_LE              ? decide(e, OP_LT, b->dim, a->dim)
                                       : decide(e, OP_LT, a->dim, b->dim);
    if (r >= 0)
        return value_bool(op == OP_LE || op == OP_GE ? !r : r, at);
    return value_error();
}

static Value fold_reals(AstOp op, double a, double b, Span at) {
    switch (op) {
    case OP_ADD:
        return value_real(a + b, at);
    case OP_SUB:
        return value_real(a - b, at);
    case OP_MUL:
        return value_real(a * b, at);
    case OP_DIV:
        return value_real(a / b, at);
    case OP_POW:
        return value_real(pow(a, b), at);
    case OP_EQ:
        return value_bool(a == b, at);
    case OP_NE:
        return value_bool(a != b, at);
    case OP_LT:
        return value_bool(a < b, at);
    case OP_LE:
        return value_bool(a <= b, at);
    case OP_GT:
        return value_bool(a > b, at);
    case OP_GE:
        return value_bool(a >= b, at);
    default:
        return value_error();
    }
}

static bool int_power(Elab *e, const Value *a, const Value *b, Span at, Value *out) {
    int64_t x, n, r = 1;
    if (!value_int_const(a, &x) || !value_int_const(b, &n) || n < 0)
        return false;
    for (; n > 0; n--)
        if (__builtin_mul_overflow(r, x, &r)) {
            elab_error(e, "E0601", at, "the constant overflows");
            *out = value_error();
            return true;
        }
    *out = value_int(e, r, at);
    return true;
}

static bool fold(Elab *e, AstOp op, Value *a, Value *b, Span at, Value *out) {
    bool arith = op == OP_ADD || op == OP_SUB || op == OP_MUL || op == OP_FLOORDIV || op == OP_MOD;
    if (a->kind == V_BOOL && b->kind == V_BOOL && (op == OP_AND || op == OP_OR)) {
        *out = value_bool(op == OP_AND ? a->truth && b->truth : a->truth || b->truth, at);
        return true;
    }
    if (a->kind == V_BOOL && !(b->kind == V_BOOL && (op == OP_EQ || op == OP_NE)) && op != OP_AND &&
        op != OP_OR)
        *a = value_int(e, a->truth, a->span);
    if (b->kind == V_BOOL && a->kind != V_BOOL && op != OP_AND && op != OP_OR && a->kind != V_NODE)
        *b = value_int(e, b->truth, b->span);
    if (a->kind == V_DIM && b->kind == V_DIM) {
        if (arith) {
            *out = fold_dims(e, op, a, b, at);
            return true;
        }
        if (op >= OP_EQ && op <= OP_GE) {
            *out = compare_dims(e, op, a, b, at);
            return out->kind != V_ERROR;
        }
        if (op == OP_POW && int_power(e, a, b, at, out))
            return true;
    }
    double x, y;
    if (a->kind == V_NODE || b->kind == V_NODE || !value_const(a, &x) || !value_const(b, &y) ||
        op == OP_AND || op == OP_OR || op == OP_FLOORDIV || op == OP_MOD)
        return false;
    *out = fold_reals(op, x, y, at);
    return out->kind != V_ERROR;
}

/* ---- operators on nodes */

static ScalarOp scalar_of_op(AstOp op, bool *swap) {
    *swap = op == OP_GT || op == OP_GE;
    switch (op) {
    case OP_ADD:
        return SC_add;
    case OP_SUB:
        return SC_sub;
    case OP_MUL:
        return SC_mul;
    case OP_DIV:
        return SC_div;
    case OP_FLOORDIV:
        return SC_floordiv;
    case OP_MOD:
        return SC_mod;
    case OP_POW:
        return SC_pow;
    case OP_EQ:
        return SC_eq;
    case OP_NE:
        return SC_ne;
    case OP_LT:
    case OP_GT:
        return SC_lt;
    case OP_LE:
    case OP_GE:
        return SC_le;
    case OP_AND:
        return SC_and;
    case OP_OR:
        return SC_or;
    default:
        return SC_NONE;
    }
}

/* All kids against the largest. */
static bool shapes_meet(Elab *e, Node *const *kids, int n, Span at, const char *what) {
    int large = 0, map[LANG_RANK];
    for (int i = 1; i < n; i++)
        if (kids[i]->rank > kids[large]->rank)
            large = i;
    for (int i = 0; i < n; i++)
        if (i != large && kids[i]->rank &&
            !node_align(e, kids[i], kids[large], map, at, what, i > large))
            return false;
    return true;
}

static DType operand_type(Elab *e, AstOp op, const Node *a, const Node *b) {
    DType dt = node_join(e, a->dt, b->dt);
    if (op == OP_AND || op == OP_OR)
        return DT_BOOL;
    if ((op == OP_DIV || op == OP_POW) && !dtype_is_real(dt))
        return e->real;
    if (dt == DT_BOOL && op != OP_EQ && op != OP_NE)
        return DT_I64;
    return dt;
}

static bool operands_fit(Elab *e, AstOp op, const Value *a, const Value *b, const Node *x,
                         const Node *y, Span at) {
    const char *text = ast_op_text(op);
    bool logic = op == OP_AND || op == OP_OR, ints = op == OP_FLOORDIV || op == OP_MOD;
    const Value *bad = logic && x->dt != DT_BOOL      ? a
                       : logic && y->dt != DT_BOOL    ? b
                       : ints && dtype_is_real(x->dt) ? a
                       : ints && dtype_is_real(y->dt) ? b
                                                      : NULL;
    if (bad)
        elab_error(e, logic ? "E0332" : "E0333", at, "`%s` needs %s on both sides, and one is %s",
                   text, logic ? "a bool" : "an int", value_what(e, bad));
    return !bad;
}

static Node *power(Elab *e, Node *x, const Value *exponent, Span at) {
    double p;
    if (!value_const(exponent, &p) || (p != 2 && p != 3))
        return NULL;
    x = gen_settle(e, x);
    Node *kids[2] = {x, x};
    Node *sq = node_op(e, SC_mul, kids, 2, x->dt, at);
    Node *cube[2] = {sq, x};
    return p == 2 ? sq : node_op(e, SC_mul, cube, 2, x->dt, at);
}

static Value matmul(Elab *e, const Value *a, const Value *b, Span at, Span whole) {
    Node *x = node_of(e, a, DT_NONE), *y = node_of(e, b, DT_NONE);
    if (!x || !y)
        return value_error();
    if (x->rank < 1 || y->rank < 1 || y->rank > 2) {
        elab_error(e, "E0334", at, "`@` multiplies a tensor by a vector or a matrix, not %s by %s",
                   value_what(e, a), value_what(e, b));
        return value_error();
    }
    int m = x->rank - 1, cols = y->rank - 1;
    if (x->axes[m].value != y->axes[0].value) {
        Diag *d = elab_error(
            e, "E0313", at,
            "the last axis of the left side of `@` differs from the first of the right side");
        const char *help = NULL;
        diag_here(e->ctx, d, "left %s, right %s", axes_text(e, x->axes, x->rank),
                  axes_text(e, y->axes, y->rank));
        node_sides(e, d, x, y);
        diag_note(e->ctx, d, (Span){0}, "%s",
                  dim_explain(e->ctx, x->axes[m].value, x->axes[m].why, y->axes[0].value,
                              y->axes[0].why, &help));
        if (help)
            diag_help(e->ctx, d, "%s", help);
        return value_error();
    }
    x = gen_settle(e, x), y = gen_settle(e, y);
    DType dt = node_join(e, x->dt, y->dt);
    dt = dt == DT_BOOL ? DT_I32 : dt;
    Axis axes[LANG_RANK + 2];
    axes_copy(axes, x->axes, m);
    if (cols)
        axes[m] = y->axes[1];
    axes[m + cols] = x->axes[m];
    Node *p = node_new(e, N_OP, dt, m + cols + 1, axes, whole);
    p->op = SC_mul;
    p->n_kids = 2;
    p->kid[0] = node_cast(e, dt, x), p->kid[1] = node_cast(e, dt, y);
    p->open = x->open | y->open;
    for (int i = 0; i < m; i++)
        p->map[0][i] = i;
    p->map[0][m] = p->map[1][0] = m + cols;
    p->map[1][1] = m;
    return value_node(node_reduce(e, NEST_SUM, p, 1u << (m + cols), whole));
}

/* A scalar formula beside a tensor, or inside a comprehension on whose indices it does not depend,
 * is computed once. */
static void hoist_scalars(Elab *e, Node **kids, int n) {
    bool many = false;
    for (int i = 0; i < n; i++)
        many |= kids[i]->rank > 0 || kids[i]->open;
    for (int i = 0; i < n && many && !e->conditions && !e->in_place; i++) {
        const Node *k = kids[i];
        while (k->kind == N_CAST)
            k = k->kid[0];
        if (!kids[i]->rank && k->kind == N_OP && !k->open)
            kids[i] = gen_leaf(e, kids[i]);
    }
}

Value elab_binary(Elab *e, AstOp op, Value a, Value b, Span at, Span whole) {
    if (a.kind == V_ERROR || b.kind == V_ERROR)
        return value_error();
    if (a.kind == V_STRING || b.kind == V_STRING) {
        elab_error(e, "E0330", at,
                   "`%s` of a string: strings are arguments of mask and import only",
                   ast_op_text(op));
        return value_error();
    }
    Value r;
    if (op == OP_MATMUL)
        return matmul(e, &a, &b, at, whole);
    if (fold(e, op, &a, &b, whole, &r))
        return r;
    DType ra = a.kind == V_NODE ? a.node->dt : DT_NONE,
          rb = b.kind == V_NODE ? b.node->dt : DT_NONE;
    Node *x = node_of(e, &a, rb), *y = node_of(e, &b, ra);
    if (!x || !y || !operands_fit(e, op, &a, &b, x, y, at))
        return value_error();
    DType dt = operand_type(e, op, x, y);
    x = node_cast(e, dt, x), y = node_cast(e, dt, y);
    Node *p = op == OP_POW && dtype_is_real(dt) && !y->rank ? power(e, x, &b, whole) : NULL;
    if (p)
        return value_node(p);
    bool swap;
    ScalarOp sc = scalar_of_op(op, &swap);
    Node *kids[2] = {x, y};
    if (!shapes_meet(e, kids, 2, at, ast_op_text(op)))
        return value_error();
    hoist_scalars(e, kids, 2);
    if (swap) {
        Node *first = kids[0];
        kids[0] = kids[1], kids[1] = first;
    }
    bool is_bool = op >= OP_EQ && op <= OP_OR;
    return value_node(node_op(e, sc, kids, 2, is_bool ? DT_BOOL : dt, whole));
}

Value elab_scalar_call(Elab *e, ScalarOp op, Value *args, int n, Span span, Span at) {
    const ScalarDef *def = scalar_def(op);
    Node *kids[3];
    DType dt = DT_BOOL;
    double x;
    if (n == 1 && args[0].kind != V_NODE && value_const(&args[0], &x) &&
        (args[0].kind == V_REAL || !(def->flags & SF_INT))) {
        ScalarValue k = scalar_eval(op, DT_F64, DT_F64, &(ScalarValue){.f = x});
        return value_real(k.f, span);
    }
    for (int i = 0; i < n; i++) {
        kids[i] = node_of(e, &args[i], DT_NONE);
        if (!kids[i])
            return value_error();
        dt = node_join(e, dt, kids[i]->dt);
    }
    if (!dtype_is_real(dt))
        dt = !(def->flags & SF_INT) ? e->real : dt == DT_BOOL ? DT_I64 : dt;
    for (int i = 0; i < n; i++)
        kids[i] = node_cast(e, dt, kids[i]);
    if (!shapes_meet(e, kids, n, at, def->name))
        return value_error();
    hoist_scalars(e, kids, n);
    return value_node(node_op(e, op, kids, n, dt, span));
}

Value elab_select(Elab *e, Value c, Value a, Value b, Span at) {
    if (c.kind == V_ERROR || a.kind == V_ERROR || b.kind == V_ERROR)
        return value_error();
    DType ra = a.kind == V_NODE ? a.node->dt : DT_NONE,
          rb = b.kind == V_NODE ? b.node->dt : DT_NONE;
    Node *kids[3] = {c.node, node_of(e, &a, rb), node_of(e, &b, ra)};
    if (!kids[1] || !kids[2])
        return value_error();
    DType dt = node_join(e, kids[1]->dt, kids[2]->dt);
    kids[1] = node_cast(e, dt, kids[1]);
    kids[2] = node_cast(e, dt, kids[2]);
    if (!shapes_meet(e, kids, 3, at, "if"))
        return value_error();
    return value_node(node_op(e, SC_select, kids, 3, dt, at));
}

static Value elab_if(Elab *e, const Expr *x) {
    Value c = elab_expr(e, x->x);
    if (c.kind == V_ERROR)
        return c;
    if (c.kind == V_BOOL)
        return elab_expr(e, c.truth ? x->y : x->z);
    if (c.kind != V_NODE || c.node->dt != DT_BOOL) {
        elab_error(e, "E0335", x->x->span, "a condition is a bool, and this is %s",
                   value_what(e, &c));
        return value_error();
    }
    int when = e->when.n;
    e->conditions++;
    elab_condition_facts(e, x->x, true);
    Value a = elab_expr(e, x->y);
    e->when.n = when;
    elab_condition_facts(e, x->x, false);
    Value b = elab_expr(e, x->z);
    e->when.n = when;
    e->conditions--;
    return elab_select(e, c, a, b, x->op_span);
}

/* ---- comprehensions */

static bool for_bounds(Elab *e, const Expr *x, LoopIndex *idx, Axis *axes) {
    for (int i = 0; i < x->n_indices; i++) {
        const Index *ix = &x->indices[i];
        const Binding *old = e->frame ? elab_lookup(e->frame, ix->name.text) : NULL;
        Span first = old ? old->span : (Span){0};
        for (int k = 0; k < i && !first.file; k++)
            if (x->indices[k].name.text == ix->name.text)
                first = x->indices[k].name.span;
        if (first.file) {
            Diag *d = elab_error(e, "E0405", ix->name.span,
                                 "the name `%s` has a value here already", ix->name.text);
            diag_note(e->ctx, d, elab_span(e, first), "it got it here");
            return false;
        }
        Value v;
        if (!elab_dim_value(e, ix->bound, &v) || !elab_extent(e, v.dim, ix->bound->span))
            return false;
        idx[i] = (LoopIndex){nest_index(e->ctx, ix->name.text), v.dim};
        axes[i] = (Axis){v.name, v.dim, elab_why(e, ix->bound, v.dim)};
    }
    return true;
}

static Value elab_for(Elab *e, const Expr *x) {
    LoopIndex idx[LANG_RANK];
    Axis axes[LANG_RANK];
    if (x->n_indices > LANG_RANK || e->loops.n + x->n_indices > 60) {
        elab_error(e, "E0321", x->op_span, "a comprehension has at most %d indices", LANG_RANK);
        return value_error();
    }
    if (!for_bounds(e, x, idx, axes))
        return value_error();
    Frame none = {.lib = e->file, .path = str_of(e->ctx, ""), .label = str_of(e->ctx, "for")},
          *saved = e->frame;
    if (!e->frame)
        e->frame = &none;
    int names = e->frame->names.n;
    for (int i = 0; i < x->n_indices; i++) {
        vec_push(e->arena, &e->loops, idx[i]);
        Dim d = dim_of(e->ctx, idx[i].sym);
        elab_bind(e, x->indices[i].name, B_INDEX, value_dim(d, d, x->indices[i].name.span));
    }
    Value v = elab_expr(e, x->x);
    Node *n = node_of(e, &v, DT_NONE);
    if (n && n->rank + x->n_indices > LANG_RANK) {
        elab_error(e, "E0321", x->op_span, "a tensor has at most %d axes", LANG_RANK);
        n = NULL;
    }
    if (n)
        n = node_for(e, idx, axes, x->n_indices, n, x->span);
    e->loops.n -= x->n_indices;
    e->frame->names.n = names;
    e->frame = saved;
    return value_node(n);
}

/* ---- the rest */

static Value elab_transpose(Elab *e, const Expr *x) {
    Value v = elab_expr(e, x->x);
    Node *n = node_of(e, &v, DT_NONE);
    if (!n)
        return value_error();
    if (n->rank != 2) {
        elab_error(e, "E0336", x->op_span, "`'` transposes a matrix, and this is %s",
                   value_what(e, &v));
        return value_error();
    }
    n = gen_settle(e, n);
    Axis axes[2] = {n->axes[1], n->axes[0]};
    Node *t = node_new(e, N_VIEW, n->dt, 2, axes, x->span);
    t->kid[0] = n;
    t->n_kids = 1;
    t->open = n->open;
    t->bound = n->bound;
    t->n_at = 2;
    t->at = ARENA_ARRAY(e->arena, DimSym, 2);
    t->form = ARENA_ARRAY(e->arena, Dim, 2);
    for (int i = 0; i < 2; i++)
        t->at[i] = nest_index(e->ctx, "i");
    t->form[0] = dim_of(e->ctx, t->at[1]);
    t->form[1] = dim_of(e->ctx, t->at[0]);
    return value_node(t);
}

static Value elab_unary(Elab *e, const Expr *x) {
    Value v = elab_expr(e, x->x);
    if (v.kind == V_ERROR)
        return v;
    if (x->op == OP_NOT) {
        if (v.kind == V_BOOL)
            return value_bool(!v.truth, x->span);
        if (v.kind != V_NODE || v.node->dt != DT_BOOL) {
            elab_error(e, "E0332", x->op_span, "`not` needs a bool, and this is %s",
                       value_what(e, &v));
            return value_error();
        }
        return value_node(node_op1(e, SC_not, v.node, x->span));
    }
    if (v.kind == V_REAL)
        return value_real(-v.real, x->span);
    if (v.kind == V_DIM || v.kind == V_BOOL || v.kind == V_STRING)
        return elab_binary(e, OP_SUB, value_int(e, 0, x->span), v, x->op_span, x->span);
    Node *n = node_of(e, &v, DT_NONE);
    return n ? value_node(
                   node_op1(e, SC_neg, n->dt == DT_BOOL ? node_cast(e, DT_I64, n) : n, x->span))
             : value_error();
}

static Value elab_list(Elab *e, const Expr *x) {
    Value v = {.kind = V_LIST,
               .span = x->span,
               .n_items = x->n_items,
               .items = ARENA_ARRAY(e->arena, Value, x->n_items + 1)};
    for (int i = 0; i < x->n_items; i++) {
        v.items[i] = elab_expr(e, x->items[i]);
        if (v.items[i].kind == V_ERROR)
            v.kind = V_ERROR;
    }
    return v;
}

static Value elab_both(Elab *e, const Expr *x) {
    Value a = elab_expr(e, x->x);
    if (a.kind == V_BOOL && (x->op == OP_AND || x->op == OP_OR) && a.truth == (x->op == OP_OR))
        return a; /* a static condition: the other side may not make sense */
    Value b = elab_expr(e, x->y);
    if (b.kind == V_BOOL && a.kind != V_ERROR && (x->op == OP_AND || x->op == OP_OR)) {
        bool decides = b.truth == (x->op == OP_OR),
             scalar = a.kind == V_NODE && a.node->dt == DT_BOOL && !a.node->rank;
        if (a.kind == V_BOOL || (decides && scalar))
            return b;
    }
    return elab_binary(e, x->op, a, b, x->op_span, x->span);
}

Value elab_expr(Elab *e, const Expr *x) {
    switch (x->kind) {
    case EXPR_ERROR:
        break;
    case EXPR_INT:
        return value_int(e, x->i, x->span);
    case EXPR_REAL:
        return value_real(x->real, x->span);
    case EXPR_STRING:
        return (Value){.kind = V_STRING, .text = x->text, .span = x->span};
    case EXPR_BOOL:
        return value_bool(x->truth, x->span);
    case EXPR_NAME:
        return elab_name(e, x);
    case EXPR_LIST:
        return elab_list(e, x);
    case EXPR_UNARY:
        return elab_unary(e, x);
    case EXPR_BINARY:
        return elab_both(e, x);
    case EXPR_TRANSPOSE:
        return elab_transpose(e, x);
    case EXPR_CALL:
        return elab_call(e, x);
    case EXPR_INDEX:
        return elab_index(e, x);
    case EXPR_IF:
        return elab_if(e, x);
    case EXPR_FOR:
        return elab_for(e, x);
    }
    return value_error();
}
