/* Values, nodes, and how shapes meet (rule 4). */
#include <math.h>
#include <string.h>

#include "frontend/elab.h"

static const int64_t MOST_ELEMENTS = (int64_t)1 << 40;

Value value_error(void) { return (Value){.kind = V_ERROR}; }

Value value_node(Node *n) {
    return n ? (Value){.kind = V_NODE, .node = n, .span = n->span} : value_error();
}

Value value_dim(Dim name, Dim dim, Span span) {
    return (Value){.kind = V_DIM, .name = name, .dim = dim, .span = span};
}

Value value_int(Elab *e, int64_t k, Span span) {
    Dim d = dim_const(e->ctx, k);
    return value_dim(d, d, span);
}

Value value_real(double x, Span span) { return (Value){.kind = V_REAL, .real = x, .span = span}; }

Value value_bool(bool b, Span span) { return (Value){.kind = V_BOOL, .truth = b, .span = span}; }

bool value_int_const(const Value *v, int64_t *out) {
    return v->kind == V_DIM && dim_is_const(v->dim, out);
}

bool value_const(const Value *v, double *out) {
    int64_t k = 0;
    if (v->kind == V_REAL)
        *out = v->real;
    else if (v->kind == V_BOOL)
        *out = v->truth;
    else if (value_int_const(v, &k))
        *out = (double)k;
    else if (v->kind == V_NODE && v->node->kind == N_CONST)
        *out = dtype_is_real(v->node->dt) ? v->node->k.f : (double)v->node->k.i;
    else
        return false;
    return true;
}

Axis axis_dim(Dim name, Dim value) { return (Axis){.name = name, .value = value}; }

void axes_copy(Axis *to, const Axis *from, int n) {
    for (int i = 0; i < n; i++)
        to[i] = from[i];
}

Dim dim_or_error(Elab *e, Dim d, Span span) {
    if (d)
        return d;
    elab_error(e, "E0320", span, "this does not fit into an integer of 64 bits");
    return dim_const(e->ctx, 1);
}

/* ---- texts */

static const char *text_of(Elab *e, const Axis *axes, int rank, bool names) {
    StrBuf sb = sb_new(e->arena);
    sb_putc(&sb, '[');
    for (int i = 0; i < rank; i++) {
        if (i)
            sb_put(&sb, ", ");
        dim_print(&sb, names ? axes[i].name : axes[i].value);
    }
    sb_putc(&sb, ']');
    return sb.text;
}

const char *axes_text(Elab *e, const Axis *axes, int rank) { return text_of(e, axes, rank, false); }

const char *axes_names(Elab *e, const Axis *axes, int rank) { return text_of(e, axes, rank, true); }

const char *value_what(Elab *e, const Value *v) {
    switch (v->kind) {
    case V_NODE: {
        const Node *n = v->node;
        const char *kind = n->dt == DT_BOOL       ? "bool"
                           : dtype_is_real(n->dt) ? "real"
                           : n->bound             ? "index"
                                                  : "int";
        return n->rank ? str_fmt(e->ctx, "%s%s", kind, axes_text(e, n->axes, n->rank)) : kind;
    }
    case V_DIM:
        return "int";
    case V_REAL:
        return "real";
    case V_BOOL:
        return "bool";
    case V_STRING:
        return "a string";
    case V_LIST:
        return str_fmt(e->ctx, "a list of %d", v->n_items);
    case V_INIT:
        return "an initial value";
    case V_DIST:
        return "a distribution";
    case V_ERROR:
        break;
    }
    return "nothing";
}

/* ---- making nodes */

uint64_t node_dim_open(const Elab *e, Dim d) {
    uint64_t open = 0;
    for (int i = 0; i < e->loops.n && i < 64; i++)
        if (dim_mentions(d, e->loops.p[i].sym))
            open |= (uint64_t)1 << i;
    return open;
}

/* A tensor that no machine computes is refused where it is written; symbolic extents are checked when called. */
static void check_size(Elab *e, int rank, const Axis *axes, Span span) {
    int64_t count = 1, extent;
    for (int i = 0; i < rank; i++)
        if (dim_is_const(axes[i].value, &extent) && extent > 1 && __builtin_mul_overflow(count, extent, &count))
            count = INT64_MAX;
    if (count > MOST_ELEMENTS && !e->oversized)
        elab_error(e, "E0603", span, "%s is a shape of more than 2^40 elements", axes_text(e, axes, rank));
    e->oversized |= count > MOST_ELEMENTS;
}

Node *node_new(Elab *e, NodeKind kind, DType dt, int rank, const Axis *axes, Span span) {
    Node *n = ARENA_NEW(e->arena, Node);
    n->kind = kind;
    n->dt = dt;
    n->rank = rank;
    n->span = span;
    check_size(e, rank, axes, span);
    e->n_nodes++;
    n->axes = rank ? arena_dup(e->arena, axes, (size_t)rank * sizeof *axes) : NULL;
    return n;
}

Node *node_leaf(Elab *e, Val v, const Axis *axes, Span span) {
    Type t = graph_type(e->f, v);
    Axis own[MAX_RANK];
    for (int i = 0; i < t.rank && !axes; i++)
        own[i] = axis_dim(t.shape[i], t.shape[i]);
    Node *n = node_new(e, N_LEAF, t.dt, t.rank, axes ? axes : own, span);
    n->val = v;
    return n;
}

static ScalarValue scalar_of(DType dt, double x) {
    if (dt == DT_F32)
        x = (double)(float)x;
    return dtype_is_real(dt) ? (ScalarValue){.f = x} : (ScalarValue){.i = (int64_t)x};
}

Node *node_const(Elab *e, DType dt, double x, Span span) {
    Node *n = node_new(e, N_CONST, dt, 0, NULL, span);
    n->k = scalar_of(dt, x);
    return n;
}

Node *node_dim(Elab *e, Dim d, Span span) {
    int64_t k;
    if (dim_is_const(d, &k)) {
        Node *n = node_const(e, DT_I64, 0, span);
        n->k.i = k;
        return n;
    }
    Node *n = node_new(e, N_DIM, DT_I64, 0, NULL, span);
    n->dim = d;
    n->open = node_dim_open(e, d);
    return n;
}

Node *node_fill(Elab *e, Node *scalar, int rank, const Axis *axes) {
    if (!rank)
        return scalar;
    Node *n = node_new(e, scalar->kind == N_CONST ? N_CONST : N_VIEW, scalar->dt, rank, axes,
                       scalar->span);
    n->open = scalar->open;
    n->bound = scalar->bound;
    n->k = scalar->k;
    if (n->kind == N_VIEW) {
        n->kid[0] = scalar;
        n->n_kids = 1;
        n->n_at = rank;
        n->at = ARENA_ARRAY(e->arena, DimSym, rank);
        for (int i = 0; i < rank; i++)
            n->at[i] = nest_index(e->ctx, "i");
    }
    return n;
}

Node *node_cast(Elab *e, DType to, Node *n) {
    if (n->dt == to)
        return n;
    if (n->kind == N_CONST) {
        Node *c = node_const(e, to, dtype_is_real(n->dt) ? n->k.f : (double)n->k.i, n->span);
        if (!dtype_is_real(n->dt) && !dtype_is_real(to))
            c->k.i = n->k.i;
        return node_fill(e, c, n->rank, n->axes);
    }
    Node *c = node_new(e, N_CAST, to, n->rank, n->axes, n->span);
    c->kid[0] = n;
    c->n_kids = 1;
    c->open = n->open;
    c->bound = n->bound;
    return c;
}

Node *node_op1(Elab *e, ScalarOp op, Node *a, Span span) {
    Node *kids[1] = {a};
    return node_op(e, op, kids, 1, a->dt, span);
}

static bool is_one(const Node *n) {
    return n->kind == N_CONST && dtype_is_real(n->dt) && n->k.f == 1;
}

Node *node_op(Elab *e, ScalarOp op, Node *const *kids, int n, DType dt, Span span) {
    const Node *large = kids[n - 1];
    for (int i = n - 1; i >= 0; i--)
        if (kids[i]->rank >= large->rank)
            large = kids[i];
    if (op == SC_mul && n == 2)
        for (int i = 0; i < 2; i++)
            if (is_one(kids[i]) && kids[1 - i] == large)
                return kids[1 - i];
    if (op == SC_select && n == 3 && kids[0] != large && kids[0]->rank > large->rank)
        large = kids[0];
    Node *r = node_new(e, N_OP, dt, large->rank, large->axes, span);
    r->op = op;
    r->n_kids = n;
    for (int j = 0; j < n; j++) {
        r->kid[j] = kids[j];
        r->open |= kids[j]->open;
        if (kids[j]->rank == large->rank)
            for (int a = 0; a < large->rank; a++)
                r->map[j][a] = a;
        else if (kids[j]->rank &&
                 !node_align(e, kids[j], large, r->map[j], span, scalar_def(op)->name, false))
            return NULL;
    }
    return r;
}

Node *node_for(Elab *e, const LoopIndex *idx, const Axis *axes, int n, Node *body, Span span) {
    Axis all[MAX_RANK];
    memcpy(all, axes, (size_t)n * sizeof *all);
    if (body->rank)
        memcpy(all + n, body->axes, (size_t)body->rank * sizeof *all);
    Node *r = node_new(e, N_FOR, body->dt, n + body->rank, all, span);
    r->kid[0] = body;
    r->n_kids = 1;
    r->n_at = n;
    r->at = ARENA_ARRAY(e->arena, DimSym, n);
    r->open = body->open;
    r->bound = body->bound;
    for (int i = 0; i < n; i++) {
        r->at[i] = idx[i].sym;
        for (int k = 0; k < e->loops.n && k < 64; k++)
            if (e->loops.p[k].sym == idx[i].sym)
                r->open &= ~((uint64_t)1 << k);
    }
    return r;
}

Node *node_reduce(Elab *e, NestOpKind red, Node *n, unsigned axes, Span span) {
    Axis left[MAX_RANK];
    int rank = 0;
    for (int i = 0; i < n->rank; i++)
        if (!(axes >> i & 1))
            left[rank++] = n->axes[i];
    Node *r = node_new(e, N_REDUCE, red == NEST_ARGMAX ? DT_I32 : n->dt, rank, left, span);
    r->kid[0] = n;
    r->n_kids = 1;
    r->red = red;
    r->reduced = axes;
    r->open = n->open;
    return r;
}

/* ---- numbers and lists as nodes */

DType node_join(Elab *e, DType a, DType b) {
    (void)e;
    return a > b ? a : b; /* the order of DType is the order of widening */
}

/* The rectangular shape of a list, or false after a message. */
static bool list_shape(Elab *e, const Value *v, int depth, int64_t *shape, int *rank) {
    if (v->kind != V_LIST) {
        *rank = depth;
        return true;
    }
    if (depth == LANG_RANK) {
        elab_error(e, "E0321", v->span, "a tensor has at most %d axes", LANG_RANK);
        return false;
    }
    shape[depth] = v->n_items;
    int first = -1;
    for (int i = 0; i < v->n_items; i++) {
        int64_t inner[LANG_RANK + 1] = {0};
        int r = depth + 1;
        if (v->items[i].kind == V_ERROR || !list_shape(e, &v->items[i], depth + 1, inner, &r))
            return false;
        if (first >= 0 && (r != first || memcmp(inner + depth + 1, shape + depth + 1,
                                                sizeof *shape * (size_t)(r - depth - 1)))) {
            bool lists = v->items[0].kind == V_LIST && v->items[i].kind == V_LIST;
            if (lists)
                elab_error(e, "E0322", v->items[i].span,
                           "rows of unequal length: the first row has %d, this one %d",
                           v->items[0].n_items, v->items[i].n_items);
            else
                elab_error(e, "E0322", v->items[i].span,
                           "a list of numbers and of lists: the first element is %s, this one %s",
                           value_what(e, &v->items[0]), value_what(e, &v->items[i]));
            return false;
        }
        first = r;
        memcpy(shape + depth + 1, inner + depth + 1, sizeof *shape * (size_t)(r - depth - 1));
    }
    *rank = first < 0 ? depth + 1 : first;
    return true;
}

/* Are all elements numbers known now? Collects the widest type. */
static bool list_constant(const Value *v, DType *dt) {
    if (v->kind == V_LIST) {
        for (int i = 0; i < v->n_items; i++)
            if (!list_constant(&v->items[i], dt))
                return false;
        return true;
    }
    double x;
    if (!value_const(v, &x))
        return false;
    DType own = v->kind == V_BOOL   ? DT_BOOL
                : v->kind == V_DIM  ? DT_I32
                : v->kind == V_NODE ? v->node->dt
                                    : DT_F32;
    *dt = own > *dt ? own : *dt;
    return true;
}

static void list_fill(const Value *v, DType dt, ScalarValue *out, int64_t *at) {
    for (int i = 0; v->kind == V_LIST && i < v->n_items; i++)
        list_fill(&v->items[i], dt, out, at);
    double x = 0;
    if (v->kind != V_LIST && value_const(v, &x))
        out[(*at)++] = scalar_of(dt, x);
}

/* [a, b] of tensors: select(i == 0, a, b). */
static Node *list_stack(Elab *e, const Value *v, DType want) {
    Node *r = NULL;
    DType dt = DT_BOOL;
    Node **parts = ARENA_ARRAY(e->arena, Node *, v->n_items);
    for (int i = 0; i < v->n_items; i++) {
        parts[i] = node_of(e, &v->items[i], want);
        if (!parts[i])
            return NULL;
        dt = node_join(e, dt, parts[i]->dt);
    }
    LoopIndex idx = {nest_index(e->ctx, "k"), dim_const(e->ctx, v->n_items)};
    vec_push(e->arena, &e->loops, idx);
    Node *k = node_dim(e, dim_of(e->ctx, idx.sym), v->span);
    for (int i = v->n_items - 1; i >= 0; i--) {
        Node *part = node_cast(e, dt, parts[i]);
        if (!r) {
            r = part;
            continue;
        }
        Node *eq[2] = {k, node_dim(e, dim_const(e->ctx, i), v->span)};
        Node *sel[3] = {node_op(e, SC_eq, eq, 2, DT_BOOL, v->span), part, r};
        r = node_op(e, SC_select, sel, 3, dt, v->span);
    }
    if (r) {
        Axis axis = axis_dim(idx.extent, idx.extent);
        r = node_for(e, &idx, &axis, 1, r, v->span);
    }
    e->loops.n--;
    return r;
}

static Node *list_node(Elab *e, const Value *v, DType want) {
    int64_t shape[LANG_RANK + 1] = {0}, count = 1, at = 0;
    int rank = 0;
    if (!list_shape(e, v, 0, shape, &rank))
        return NULL;
    DType dt = DT_BOOL;
    if (v->n_items == 0) {
        elab_error(e, "E0323", v->span, "an empty list has no kind");
        return NULL;
    }
    if (!list_constant(v, &dt))
        return list_stack(e, v, want);
    if (dtype_is_real(dt))
        dt = want == DT_F64 || want == DT_F32 ? want : e->real;
    Axis axes[LANG_RANK];
    for (int i = 0; i < rank; i++) {
        Dim d = dim_const(e->ctx, shape[i]);
        axes[i] = axis_dim(d, d);
        count *= shape[i];
    }
    Node *n = node_new(e, N_DATA, dt, rank, axes, v->span);
    ScalarValue *data = ARENA_ARRAY(e->arena, ScalarValue, count);
    list_fill(v, dt, data, &at);
    n->data = data;
    return n;
}

Node *node_of(Elab *e, const Value *v, DType want) {
    DType real = want == DT_F32 || want == DT_F64 ? want : e->real;
    switch (v->kind) {
    case V_NODE:
        return v->node;
    case V_DIM: {
        Node *n = node_dim(e, v->dim, v->span);
        n->bound = v->bound;
        return n;
    }
    case V_REAL:
        return node_const(e, real, v->real, v->span);
    case V_BOOL:
        return node_const(e, DT_BOOL, v->truth, v->span);
    case V_LIST:
        return list_node(e, v, want);
    case V_INIT:
        elab_error(e, "E0501", v->span,
                   "glorot, he and pick are initial values of a param, and this is none");
        return NULL;
    case V_STRING:
        elab_error(e, "E0330", v->span, "a string is no number");
        return NULL;
    case V_DIST:
        elab_error(e, "E0331", v->span, "a distribution stands after `~` or in logpdf");
        return NULL;
    case V_ERROR:
        break;
    }
    return NULL;
}

/* ---- rule 4 */

/* "left: [N, 6, 24, 24]   24 = (28 + 0 - 4) // 1 + 1" */
static void label_side(Elab *e, Diag *d, const char *side, const Node *n) {
    StrBuf sb = sb_new(e->arena);
    sb_printf(&sb, "%s: %s", side, axes_text(e, n->axes, n->rank));
    for (int i = 0; i < n->rank; i++) {
        bool shown = false; /* H and W often have one story */
        for (int k = 0; k < i; k++)
            shown |= n->axes[k].why && n->axes[k].value == n->axes[i].value;
        if (n->axes[i].why && !shown)
            sb_printf(&sb, "   %s = %s", dim_text(e->ctx, n->axes[i].value), n->axes[i].why);
    }
    diag_label(e->ctx, d, elab_span(e, n->span), "%s", sb.text);
}

void node_sides(Elab *e, Diag *d, const Node *l, const Node *r) {
    label_side(e, d, "left", l);
    label_side(e, d, "right", r);
}

static const char *differing(Elab *e, const Node *l, const Node *r) {
    StrBuf sb = sb_new(e->arena);
    int n = 0;
    for (int i = 0; l->rank == r->rank && i < l->rank; i++)
        if (l->axes[i].value != r->axes[i].value)
            sb_printf(&sb, n++ ? ", %d" : "%d", i);
    return !n ? "" : str_fmt(e->ctx, n > 1 ? ": axes %s differ" : ": axis %s differs", sb.text);
}

static Diag *shapes_differ(Elab *e, const Node *l, const Node *r, Span op, const char *what) {
    Diag *d = elab_error(e, "E0312", op, "the two sides of `%s` have different shapes", what);
    diag_here(e->ctx, d, "left %s, right %s%s", axes_text(e, l->axes, l->rank),
              axes_text(e, r->axes, r->rank), differing(e, l, r));
    node_sides(e, d, l, r);
    return d;
}

static bool align_positions(Elab *e, const Node *l, const Node *r, Span op, const char *what) {
    for (int i = 0; i < l->rank; i++) {
        if (l->axes[i].value == r->axes[i].value)
            continue;
        Diag *d = shapes_differ(e, l, r, op, what);
        const char *help = NULL;
        const char *why = dim_explain(e->ctx, l->axes[i].value, l->axes[i].why, r->axes[i].value,
                                      r->axes[i].why, &help);
        diag_note(e->ctx, d, (Span){0}, "axis %d: %s", i, why);
        if (help)
            diag_help(e->ctx, d, "%s", help);
        return false;
    }
    return true;
}

static int hits(const Node *n, Dim name) {
    int count = 0;
    for (int i = 0; i < n->rank; i++)
        count += n->axes[i].name == name;
    return count;
}

bool node_align(Elab *e, const Node *small, const Node *large, int *map, Span op, const char *what,
                bool swapped) {
    const Node *l = swapped ? large : small, *r = swapped ? small : large;
    if (small->rank == large->rank) {
        for (int i = 0; i < small->rank; i++)
            map[i] = i;
        return align_positions(e, l, r, op, what);
    }
    for (int i = 0; i < small->rank; i++) {
        Dim name = small->axes[i].name;
        const char *text = dim_text(e->ctx, name);
        int n = hits(large, name);
        bool twice = n > 1 || (n && hits(small, name) > 1), number = dim_is_const(name, NULL);
        if (number || twice || !n) {
            Diag *d = shapes_differ(e, l, r, op, what);
            diag_note(e->ctx, d, (Span){0}, "%s `%s`%s",
                      number || twice ? "axis" : "no axis of the larger one is named", text,
                      number  ? " of the smaller one is a number"
                      : twice ? " is ambiguous"
                              : "");
            diag_help(e->ctx, d, "say with `for` which axes meet");
            return false;
        }
        for (int k = 0; k < large->rank; k++)
            if (large->axes[k].name == name)
                map[i] = k;
    }
    return true;
}
