/* Subscripts and slices, and the proofs that they stay inside (rule 6). */
#include "frontend/elab.h"

#include <string.h>

DimFacts elab_facts(Elab *e) {
    DimIndex *idx = ARENA_ARRAY(e->arena, DimIndex, e->loops.n + 1);
    for (int i = 0; i < e->loops.n; i++)
        idx[i] = (DimIndex){e->loops.p[i].sym, e->loops.p[i].extent};
    return (DimFacts){e->when.p, e->when.n, idx, e->loops.n};
}

void elab_check(Elab *e, Dim cond, Span span, const char *fmt, ...) {
    if (!cond || !e->f)
        return;
    for (int i = 0; i < e->f->checks.n; i++)
        if (e->f->checks.p[i].cond == cond)
            return;
    StrBuf sb = sb_new(e->arena);
    va_list ap;
    va_start(ap, fmt);
    sb_vprintf(&sb, fmt, ap);
    va_end(ap);
    EntryCheck c = {cond, elab_span(e, span), str_of(e->ctx, sb.text)};
    vec_push(e->m->arena, &e->f->checks, c);
}

bool elab_extent(Elab *e, Dim extent, Span at) {
    int64_t k;
    if (dim_is_const(extent, &k)) {
        if (k >= 0)
            return true;
        elab_error(e, "E0324", at, "the extent %lld is negative", (long long)k);
        return false;
    }
    if (!dim_prove_nonneg(e->ctx, &(DimFacts){0}, extent))
        elab_check(e, extent, at, "the extent %s is negative", dim_text(e->ctx, extent));
    return true;
}

/* ---- facts of conditions: comparisons of dims */

static bool quiet_dim(Elab *e, const Expr *x, Dim *out) {
    Dim a, b;
    if (x->kind == EXPR_INT)
        *out = dim_const(e->ctx, x->i);
    else if (x->kind == EXPR_NAME && x->path.n == 1 && e->frame) {
        const Binding *n = elab_lookup(e->frame, x->path.names[0].text);
        *out = n && n->v.kind == V_DIM ? n->v.dim : NULL;
    } else if (x->kind == EXPR_UNARY && x->op == OP_NEG && quiet_dim(e, x->x, &a))
        *out = dim_neg(e->ctx, a);
    else if (x->kind == EXPR_INDEX || x->kind == EXPR_CALL || x->kind != EXPR_BINARY ||
             !quiet_dim(e, x->x, &a) || !quiet_dim(e, x->y, &b))
        *out = NULL;
    else if (x->op == OP_ADD)
        *out = dim_add(e->ctx, a, b);
    else if (x->op == OP_SUB)
        *out = dim_sub(e->ctx, a, b);
    else if (x->op == OP_MUL)
        *out = dim_mul(e->ctx, a, b);
    else
        *out = x->op == OP_FLOORDIV ? dim_floordiv(e->ctx, a, b)
               : x->op == OP_MOD    ? dim_mod(e->ctx, a, b)
                                    : NULL;
    return *out != NULL;
}

static void fact(Elab *e, Dim nonneg) {
    if (nonneg)
        vec_push(e->arena, &e->when, nonneg);
}

void elab_condition_facts(Elab *e, const Expr *c, bool holds) {
    if (c->kind == EXPR_UNARY && c->op == OP_NOT) {
        elab_condition_facts(e, c->x, !holds);
        return;
    }
    if (c->kind != EXPR_BINARY)
        return;
    if (c->op == (holds ? OP_AND : OP_OR)) {
        elab_condition_facts(e, c->x, holds);
        elab_condition_facts(e, c->y, holds);
        return;
    }
    Dim a, b;
    if (c->op < OP_EQ || c->op > OP_GE || !quiet_dim(e, c->x, &a) || !quiet_dim(e, c->y, &b))
        return;
    Dim up = dim_sub(e->ctx, b, a), down = dim_sub(e->ctx, a, b);
    if (c->op == (holds ? OP_EQ : OP_NE)) {
        fact(e, up);
        fact(e, down);
    } else if (c->op == (holds ? OP_LE : OP_GT)) {
        fact(e, up);
    } else if (c->op == (holds ? OP_LT : OP_GE)) {
        fact(e, up ? dim_addk(e->ctx, up, -1) : NULL);
    } else if (c->op == (holds ? OP_GE : OP_LT)) {
        fact(e, down);
    } else if (c->op == (holds ? OP_GT : OP_LE)) {
        fact(e, down ? dim_addk(e->ctx, down, -1) : NULL);
    }
}

/* ---- one subscript */

typedef enum SubKind { SUB_KEEP, SUB_SLICE, SUB_AFFINE, SUB_GATHER } SubKind;

typedef struct SubPlan {
    SubKind kind;
    Axis axis;  /* SUB_KEEP, SUB_SLICE: of the result */
    Dim form;   /* first element, or the affine subscript */
    Node *node; /* SUB_GATHER: the element's number */
} SubPlan;

static bool affine_in_loops(Elab *e, Dim d) {
    for (int i = 0; i < e->loops.n; i++) {
        Dim c, rest;
        if (!dim_mentions(d, e->loops.p[i].sym))
            continue;
        if (!dim_linear_in(e->ctx, d, e->loops.p[i].sym, &c, &rest) || !c || !rest ||
            !dim_is_const(c, NULL))
            return false;
        d = rest;
    }
    return true;
}

/* Where each index stands at the end that drives d towards sign. */
static Dim corner(Elab *e, Dim d, int sign) {
    DimBinding *at = ARENA_ARRAY(e->arena, DimBinding, e->loops.n + 1);
    for (int i = 0; i < e->loops.n; i++) {
        Dim c, rest, zero = dim_const(e->ctx, 0);
        int64_t k = 0;
        bool last = dim_linear_in(e->ctx, d, e->loops.p[i].sym, &c, &rest) && c &&
                    dim_is_const(c, &k) && k * sign > 0;
        at[i] = (DimBinding){e->loops.p[i].sym,
                             last ? dim_addk(e->ctx, e->loops.p[i].extent, -1) : zero};
    }
    return dim_subst(e->ctx, d, at, e->loops.n);
}

static void check_corners(Elab *e, Dim d, Dim n, Span at) {
    DimFacts none = {0};
    Dim low = corner(e, d, -1), high = corner(e, d, 1);
    Dim room = high ? dim_addk(e->ctx, dim_sub(e->ctx, n, high), -1) : NULL;
    if (low && !dim_prove_nonneg(e->ctx, &none, low))
        elab_check(e, low, at, "the subscript %s leaves an axis of %s", dim_text(e->ctx, d),
                   dim_text(e->ctx, n));
    if (room && !dim_prove_nonneg(e->ctx, &none, room))
        elab_check(e, room, at, "the subscript %s leaves an axis of %s", dim_text(e->ctx, d),
                   dim_text(e->ctx, n));
}

static bool leaves_axis(Elab *e, Dim d, Dim n, Span at) {
    Diag *g = elab_error(e, "E0314", at, "the subscript %s leaves an axis of %s",
                         dim_text(e->ctx, d), dim_text(e->ctx, n));
    int64_t k;
    int64_t extent;
    if (dim_is_const(d, &k) && dim_is_const(n, &extent) && k == extent)
        diag_help(e->ctx, g, "subscripts count from 0: the last is %lld", (long long)(extent - 1));
    if (dim_is_const(d, &k) && k < 0)
        diag_help(e->ctx, g, "subscripts count from 0: from the end it is [%s]",
                  dim_text(e->ctx, dim_addk(e->ctx, n, k)));
    return false;
}

/* An int of the compiler as a subscript of an axis of n elements. */
static bool dim_sub_plan(Elab *e, const Expr *x, const Value *v, Dim n, SubPlan *p) {
    DimFacts facts = elab_facts(e);
    bool affine = affine_in_loops(e, v->dim);
    bool bounded = v->bound && v->bound == n;
    DimVerdict r = bounded ? DIM_PROVED : dim_subscript(e->ctx, &facts, v->dim, n);
    if (r == DIM_ERROR && !e->conditions)
        return leaves_axis(e, v->dim, n, x->span);
    if (r == DIM_PROVED && affine) {
        p->kind = SUB_AFFINE;
        p->form = v->dim;
        return true;
    }
    if (r != DIM_PROVED && !affine && !e->conditions) {
        Diag *g = elab_error(e, "E0315", x->span,
                             "the subscript %s is not affine in the indices, and is not known to "
                             "stay inside an axis of %s",
                             dim_text(e->ctx, v->dim), dim_text(e->ctx, n));
        diag_help(e->ctx, g,
                  "use sums of indices with constant factors, or a tensor of kind index(%s)",
                  dim_text(e->ctx, n));
        return false;
    }
    if (affine && !e->conditions) {
        check_corners(e, v->dim, n, x->span);
        p->kind = SUB_AFFINE;
        p->form = v->dim;
        return true;
    }
    p->kind = SUB_GATHER;
    p->node = node_dim(e, v->dim, x->span);
    return true;
}

static bool node_sub_plan(Elab *e, const Expr *x, const Value *v, Dim n, SubPlan *p) {
    const Node *i = v->node;
    if (i->dt == DT_BOOL || dtype_is_real(i->dt)) {
        elab_error(e, "E0327", x->span, "a subscript is an int or an index, and this is %s",
                   value_what(e, v));
        return false;
    }
    if (i->bound && i->bound != n) {
        Diag *d = elab_error(e, "E0328", x->span, "a subscript of kind index(%s) on an axis of %s",
                             dim_text(e->ctx, i->bound), dim_text(e->ctx, n));
        diag_help(e->ctx, d, "index(K) reads axes of K elements");
        return false;
    }
    p->kind = SUB_GATHER;
    p->node = v->node;
    return true;
}

static bool slice_end(Elab *e, const Expr *x, Axis *out) {
    Value v;
    if (!elab_dim_value(e, x, &v))
        return false;
    *out = (Axis){v.name, v.dim, NULL};
    return true;
}

static bool in_order(Elab *e, Dim low, Dim high, Span at) {
    Dim gap = dim_or_error(e, dim_sub(e->ctx, high, low), at);
    int64_t k;
    if (dim_is_const(gap, &k) ? k >= 0 : dim_prove_nonneg(e->ctx, &(DimFacts){0}, gap))
        return true;
    if (dim_is_const(gap, NULL) ||
        dim_prove_positive(e->ctx, &(DimFacts){0}, dim_neg(e->ctx, gap))) {
        elab_error(e, "E0316", at,
                   "the slice ends at %s, and must start at 0 or later and end at %s or before",
                   dim_text(e->ctx, low), dim_text(e->ctx, high));
        return false;
    }
    elab_check(e, gap, at, "the slice is longer than its axis: %s > %s", dim_text(e->ctx, low),
               dim_text(e->ctx, high));
    return true;
}

static bool slice_plan(Elab *e, const Sub *s, const Axis *axis, SubPlan *p) {
    Dim zero = dim_const(e->ctx, 0);
    Axis lo = {zero, zero, NULL}, hi = *axis;
    p->kind = SUB_KEEP;
    p->axis = *axis;
    p->form = zero;
    if (!s || (!s->lo && !s->hi))
        return true;
    p->kind = SUB_SLICE;
    if ((s->lo && !slice_end(e, s->lo, &lo)) || (s->hi && !slice_end(e, s->hi, &hi)))
        return false;
    if (s->hi && !in_order(e, hi.value, axis->value, s->span))
        return false;
    if (s->lo &&
        (!in_order(e, zero, lo.value, s->span) || !in_order(e, lo.value, hi.value, s->span)))
        return false;
    p->form = lo.value;
    p->axis = (Axis){dim_sub(e->ctx, hi.name, lo.name), dim_sub(e->ctx, hi.value, lo.value), NULL};
    return true;
}

static bool plan_sub(Elab *e, const Sub *s, const Axis *axis, SubPlan *p) {
    if (!s || s->colon)
        return slice_plan(e, s, axis, p);
    Value v = elab_expr(e, s->lo);
    if (v.kind == V_LIST || (v.kind == V_NODE))
        v = value_node(node_of(e, &v, DT_NONE));
    if (v.kind == V_ERROR)
        return false;
    if (v.kind == V_DIM)
        return dim_sub_plan(e, s->lo, &v, axis->value, p);
    if (v.kind == V_NODE)
        return node_sub_plan(e, s->lo, &v, axis->value, p);
    elab_error(e, "E0327", s->span, "a subscript is an int or an index, and this is %s",
               value_what(e, &v));
    return false;
}

/* ---- the whole */

/* A view of n at the plans of its axes; the first `lead` axes have none and are kept. */
static Node *view(Elab *e, Node *n, const SubPlan *p, int lead, Span span) {
    Axis axes[LANG_RANK * 2];
    Node v = {0};
    v.at = ARENA_ARRAY(e->arena, DimSym, n->rank + 1);
    v.form = ARENA_ARRAY(e->arena, Dim, n->rank + 1);
    int rank = 0;
    uint64_t open = n->open;
    for (int i = 0; i < n->rank; i++) {
        bool keep = i < lead || p[i].kind == SUB_KEEP || p[i].kind == SUB_SLICE;
        v.form[i] = i < lead ? dim_const(e->ctx, 0) : p[i].form;
        if (keep) {
            axes[rank] = i < lead ? n->axes[i] : p[i].axis;
            v.at[rank] = nest_index(e->ctx, "i");
            v.form[i] = dim_add(e->ctx, v.form[i], dim_of(e->ctx, v.at[rank++]));
        }
        open |= node_dim_open(e, v.form[i]);
    }
    Node *r = node_new(e, N_VIEW, n->dt, rank, axes, span);
    r->kid[0] = n;
    r->n_kids = 1;
    r->at = v.at;
    r->form = v.form;
    r->n_at = rank;
    r->open = open;
    r->bound = n->bound;
    return r;
}

static Node *gather_rows(Elab *e, Node *table, SubPlan *p, Span span) {
    Node *index = p[0].node;
    Axis axes[LANG_RANK * 2];
    axes_copy(axes, index->axes, index->rank);
    axes_copy(axes + index->rank, table->axes + 1, table->rank - 1);
    Node *g = node_new(e, N_GATHER, table->dt, index->rank + table->rank - 1, axes, span);
    g->kid[0] = table;
    g->kid[1] = gen_settle(e, index);
    g->n_kids = 2;
    g->rows = true;
    g->open = index->open;
    g->bound = table->bound;
    bool plain = true;
    SubPlan after[LANG_RANK * 2];
    for (int i = 1; i < table->rank; i++) {
        plain &= p[i].kind == SUB_KEEP;
        after[index->rank + i - 1] = p[i];
    }
    return plain ? g : view(e, g, after, index->rank, span);
}

/* sum where every subscript known at run time lies in its axis, else -1, which ends the call. */
static Node *inside_axes(Elab *e, const Node *table, const SubPlan *p, Node *sum, Span span) {
    Value ok = value_bool(true, span);
    for (int i = 0; i < table->rank && table->rank > 1; i++) {
        Dim n = table->axes[i].value;
        if (p[i].kind != SUB_GATHER || p[i].node->bound == n)
            continue;
        Value s = value_node(node_cast(e, DT_I64, p[i].node)), end = value_dim(n, n, span);
        Value low = elab_binary(e, OP_GE, s, value_int(e, 0, span), span, span);
        Value both =
            elab_binary(e, OP_AND, low, elab_binary(e, OP_LT, s, end, span, span), span, span);
        ok = ok.kind == V_BOOL ? both : elab_binary(e, OP_AND, ok, both, span, span);
    }
    if (ok.kind != V_NODE)
        return sum;
    Value r = elab_select(e, ok, value_node(sum), value_int(e, -1, span), span);
    return r.kind == V_NODE ? r.node : NULL;
}

/* The row-major number of the element as an int expression over loops of the kept axes. */
static Node *gather_flat(Elab *e, Node *table, const SubPlan *p, Span span) {
    LoopIndex idx[LANG_RANK];
    Axis axes[LANG_RANK];
    int n = 0, loops = e->loops.n;
    Node *sum = NULL;
    Dim stride = dim_const(e->ctx, 1), fixed = dim_const(e->ctx, 0);
    for (int i = 0; i < table->rank; i++)
        if (p[i].kind == SUB_KEEP || p[i].kind == SUB_SLICE) {
            idx[n] = (LoopIndex){nest_index(e->ctx, "i"), p[i].axis.value};
            axes[n] = p[i].axis;
            vec_push(e->arena, &e->loops, idx[n]);
            n++;
        }
    for (int i = table->rank - 1, k = n; i >= 0; i--) {
        if (p[i].kind == SUB_GATHER) {
            Value a = value_node(p[i].node), s = value_dim(stride, stride, span);
            Value t =
                elab_binary(e, OP_MUL, value_node(node_cast(e, DT_I64, a.node)), s, span, span);
            Value so_far = value_node(sum);
            t = sum ? elab_binary(e, OP_ADD, so_far, t, span, span) : t;
            sum = t.node;
        } else {
            Dim f = p[i].form;
            if (p[i].kind != SUB_AFFINE)
                f = dim_add(e->ctx, f, dim_of(e->ctx, idx[--k].sym));
            fixed = dim_add(e->ctx, fixed, dim_mul(e->ctx, f, stride));
        }
        stride = dim_or_error(e, dim_mul(e->ctx, stride, table->axes[i].value), span);
    }
    Value rest = value_dim(fixed, dim_or_error(e, fixed, span), span);
    Value all = elab_binary(e, OP_ADD, value_node(sum), rest, span, span);
    Node *index = all.kind == V_NODE ? inside_axes(e, table, p, all.node, span) : NULL;
    if (index && n)
        index = node_for(e, idx, axes, n, index, span);
    e->loops.n = loops;
    if (!index)
        return NULL;
    Node *g = node_new(e, N_GATHER, table->dt, index->rank, index->axes, span);
    g->kid[0] = table;
    g->kid[1] = gen_settle(e, index);
    g->n_kids = 2;
    g->open = index->open;
    g->bound = table->bound;
    return g;
}

static Value gathered(Elab *e, Node *n, SubPlan *p, int first, const Expr *x) {
    if (n->open) {
        Diag *d = elab_error(
            e, "E0317", x->op_span,
            "this tensor depends on an index, and its subscript is known at run time only");
        diag_help(e->ctx, d, "compute the tensor in a binding outside the comprehension");
        return value_error();
    }
    int tensors = 0, later = 0, gathers = 0;
    for (int i = 0; i < n->rank; i++) {
        gathers += p[i].kind == SUB_GATHER;
        if (p[i].kind == SUB_GATHER && p[i].node->rank)
            tensors++;
        else if (tensors && (p[i].kind == SUB_KEEP || p[i].kind == SUB_SLICE))
            later++;
    }
    if (tensors > 1 || (later && (first || gathers > 1))) {
        elab_error(e, "E0318", x->op_span,
                   "at most one subscript is a tensor, and the axes after it are kept only where "
                   "it is the first");
        return value_error();
    }
    n = gen_leaf(e, n);
    return value_node(first == 0 && gathers == 1 && n->rank ? gather_rows(e, n, p, x->span)
                                                            : gather_flat(e, n, p, x->span));
}

static bool list_item(Elab *e, const Expr *x, const Value *v, Value *out) {
    if (x->n_subs != 1 || x->subs[0].colon)
        return false;
    Value i = elab_expr(e, x->subs[0].lo);
    int64_t k;
    if (!value_int_const(&i, &k))
        return false;
    if (k < 0 || k >= v->n_items) {
        *out = value_error();
        leaves_axis(e, i.dim, dim_const(e->ctx, v->n_items), x->subs[0].span);
        return true;
    }
    *out = v->items[k];
    return true;
}

Value elab_index(Elab *e, const Expr *x) {
    Value v = elab_expr(e, x->x), item;
    if (v.kind == V_ERROR || (v.kind == V_LIST && list_item(e, x, &v, &item)))
        return v.kind == V_ERROR ? v : item;
    Node *n = node_of(e, &v, DT_NONE);
    if (!n)
        return value_error();
    if (x->n_subs > n->rank) {
        elab_error(e, "E0310", x->subs[n->rank].span, "%s on %s, which has %s",
                   elab_count(e, x->n_subs, "subscript", "subscripts"), value_what(e, &v),
                   n->rank ? elab_count(e, n->rank, "axis", "axes") : "no axes");
        return value_error();
    }
    n = gen_settle(e, n);
    SubPlan p[LANG_RANK * 2] = {0};
    int first = -1;
    for (int i = 0; i < n->rank; i++) {
        if (!plan_sub(e, i < x->n_subs ? &x->subs[i] : NULL, &n->axes[i], &p[i]))
            return value_error();
        if (p[i].kind == SUB_GATHER && first < 0)
            first = i;
    }
    if (first >= 0)
        return gathered(e, n, p, first, x);
    return value_node(view(e, n, p, 0, x->span));
}
