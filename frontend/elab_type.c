/* Declared types: what a type expression says, dims that it binds, and values made to fit it (rules
 * 2, 3, 9). */
#include <string.h>

#include "frontend/elab.h"
#include "frontend/foreign.h"

/* ---- the user's text of a dim with the facts put in: "(28 + 0 + 0 - 1*(5 - 1) - 1) // 1 + 1" */

static void why_put(Elab *e, StrBuf *sb, const Expr *x, int level) {
    if (x->kind == EXPR_BINARY) {
        int mine = x->op == OP_ADD || x->op == OP_SUB ? 1 : 2;
        sb_put(sb, mine < level ? "(" : "");
        why_put(e, sb, x->x, mine);
        sb_printf(sb, x->op == OP_MUL ? "%s" : " %s ", ast_op_text(x->op));
        why_put(e, sb, x->y, mine + 1);
        sb_put(sb, mine < level ? ")" : "");
        return;
    }
    Value v = elab_expr(e, x);
    const char *t = v.kind == V_DIM ? dim_text(e->ctx, v.dim) : "?";
    bool paren = level && strpbrk(t, " *-");
    sb_printf(sb, paren ? "(%s)" : "%s", t);
}

const char *elab_why(Elab *e, const Expr *x, Dim value) {
    if (x->kind != EXPR_BINARY)
        return NULL;
    StrBuf sb = sb_new(e->arena);
    why_put(e, &sb, x, 0);
    return strcmp(sb.text, dim_text(e->ctx, value)) ? sb.text : NULL;
}

static bool axis_of(Elab *e, const Expr *x, Axis *out) {
    Value v;
    if (!elab_dim_value(e, x, &v))
        return false;
    *out = (Axis){v.name, v.dim, elab_why(e, x, v.dim)};
    int64_t k;
    if (dim_is_const(v.dim, &k) && k < 0) {
        elab_error(e, "E0324", x->span, "the extent %lld is negative", (long long)k);
        return false;
    }
    return true;
}

/* ---- dims bound by axes */

static const Expr *bindable(const Frame *fr, const Expr *x, int64_t *factor) {
    *factor = 1;
    if (x->kind == EXPR_BINARY && x->op == OP_MUL) {
        const Expr *k = x->x->kind == EXPR_INT ? x->x : x->y;
        if (k->kind != EXPR_INT || k->i < 1)
            return NULL;
        *factor = k->i;
        x = k == x->x ? x->y : x->x;
    }
    if (x->kind != EXPR_NAME || x->path.n != 1)
        return NULL;
    for (int i = 0; i < fr->names.n; i++)
        if (fr->names.p[i].name == x->path.names[0].text)
            return NULL;
    for (int i = 0; i < fr->item->n_dims; i++)
        if (fr->item->dims[i].name.text == x->path.names[0].text)
            return x;
    return NULL;
}

static bool bind_axis(Elab *e, const Expr *x, const Axis *a, Span at) {
    Frame *fr = e->frame;
    int64_t k;
    const Expr *name = bindable(fr, x, &k);
    if (!name)
        return true;
    Dim rem, factor = dim_const(e->ctx, k);
    Dim value = dim_divide(e->ctx, a->value, factor, &rem);
    if (!value || !dim_is_zero(rem)) {
        Diag *d = elab_error(e, "E0325", at, "%s is not known to be a multiple of %lld",
                             dim_text(e->ctx, a->value), (long long)k);
        diag_help(e->ctx, d, "declare the axis as %lld*M", (long long)k);
        return false;
    }
    DimSym own = dim_symbol_new(e->ctx, name->path.names[0].text, 1, false);
    DimBinding back = {own, dim_or_error(e, dim_floordiv(e->ctx, a->name, factor), at)};
    vec_push(e->arena, &fr->back, back);
    Value v = value_dim(dim_of(e->ctx, own), value, name->span);
    elab_bind(e, name->path.names[0], B_DIM, v);
    return true;
}

/* Where the declaration stands; of the library: in its own words, since its text is not shown. */
static void note_declared(Elab *e, Diag *d, Span span, const char *what) {
    if (span.file != e->prelude->ast->file) {
        diag_note(e->ctx, d, span, "declared here");
        return;
    }
    const SourceFile *f = &e->ctx->files[span.file];
    const char *s = f->text, *end = f->text + f->len;
    for (uint32_t line = 1; line < span.line && s < end; s++)
        line += *s == '\n';
    if (span.line == span.end_line && s + span.end_col <= end) /* the library is ASCII */
        diag_note(e->ctx, d, (Span){0}, "%s is declared %.*s", what,
                  (int)(span.end_col - span.col), s + span.col - 1);
}

/* "N = 3 here, from `x`": what the dims of the declaration are, where they have a value. */
static void note_dims(Elab *e, Diag *d, const Declared *t) {
    StrBuf sb = sb_new(e->arena);
    for (int i = 0; i < t->rank; i++) {
        const char *name = dim_text(e->ctx, t->axes[i].name),
                   *value = dim_text(e->ctx, t->axes[i].value);
        if (strcmp(name, value) && !strstr(sb.text ? sb.text : "", str_fmt(e->ctx, "%s = ", name)))
            sb_printf(&sb, "%s%s = %s", sb.len ? ", " : "", name, value);
    }
    if (sb.len)
        diag_note(e->ctx, d, (Span){0}, "in the declaration %s", sb.text);
}

bool elab_bind_axes(Elab *e, const TypeExpr *t, const Axis *actual, int rank, Span at,
                    const char *what) {
    if (t->rank != rank) {
        Diag *d = elab_error(e, "E0310", at, "%s needs %s%s, got %s", what,
                             t->rank ? elab_count(e, t->rank, "axis", "axes") : "a scalar",
                             t->rest ? " or more" : "", rank ? axes_text(e, actual, rank) : "a scalar");
        note_declared(e, d, t->span, what);
        if (t->rank == 0)
            diag_help(e->ctx, d, "apply it to each element: `for i < N => f(x[i])`");
        if (t->rank == 2 && rank == 4)
            diag_help(e->ctx, d, "`flatten` makes rows of it");
        return false;
    }
    for (int i = 0; i < rank; i++)
        if (!bind_axis(e, t->shape[i], &actual[i], at))
            return false;
    return true;
}

/* ---- kinds */

static const struct {
    const char *name;
    AbiKind kind;
    DType dt;
} kinds[] = {{"real", KIND_REAL, DT_NONE},         {"f32", KIND_REAL, DT_F32},
             {"f64", KIND_REAL, DT_F64},           {"int", KIND_INT, DT_I32},
             {"bool", KIND_BOOL, DT_BOOL},         {"index", KIND_INDEX, DT_I32},
             {"prob", KIND_PROB, DT_NONE},         {"positive", KIND_POSITIVE, DT_NONE},
             {"interval", KIND_INTERVAL, DT_NONE}, {"simplex", KIND_SIMPLEX, DT_NONE},
             {"ordered", KIND_ORDERED, DT_NONE},   {"cholesky", KIND_CHOLESKY, DT_NONE}};
enum { N_KINDS = sizeof kinds / sizeof kinds[0] };

int elab_kinds(const char **names, int max) {
    int n = 0;
    for (; n < N_KINDS && n < max; n++)
        names[n] = kinds[n].name;
    return n;
}

static bool type_kind(Elab *e, const TypeExpr *t, Declared *d) {
    d->dt = e->real;
    if (!t->kind.text)
        return true;
    for (int i = 0; i < N_KINDS; i++)
        if (!strcmp(kinds[i].name, t->kind.text)) {
            d->kind = kinds[i].kind;
            d->dt = kinds[i].dt ? kinds[i].dt : e->real;
            if (d->dt == DT_I32 && !t->rank)
                d->dt = DT_I64;
            return true;
        }
    const char *names[N_KINDS];
    for (int i = 0; i < N_KINDS; i++)
        names[i] = kinds[i].name;
    Diag *g = elab_error(e, "E0404", t->kind.span, "unknown type `%s`", t->kind.text);
    const char *near = diag_nearest(t->kind.text, names, N_KINDS),
               *other = foreign_help(FOREIGN_TYPE, t->kind.text);
    if (other)
        diag_help(e->ctx, g, "%s", other);
    else if (near)
        diag_help(e->ctx, g, "did you mean `%s`?", near);
    return false;
}

static const char *interval_text(Elab *e, const Declared *d) {
    return str_fmt(e->ctx, "this interval goes from %s to %s", elab_number(e, d->lo),
                   elab_number(e, d->hi));
}

static bool type_args(Elab *e, const TypeExpr *t, Declared *d) {
    int want = d->kind == KIND_INDEX ? 1 : d->kind == KIND_INTERVAL ? 2 : 0;
    if (t->n_args != want) {
        elab_error(e, "E0341", t->span, "`%s` takes %s, got %d",
                   t->kind.text ? t->kind.text : "real",
                   elab_count(e, want, "argument", "arguments"), t->n_args);
        return false;
    }
    Value v;
    if (d->kind == KIND_INDEX) {
        if (!elab_dim_value(e, t->args[0].value, &v))
            return false;
        d->bound = v.dim;
    }
    double *ends[2] = {&d->lo, &d->hi};
    for (int i = 0; d->kind == KIND_INTERVAL && i < 2; i++) {
        v = elab_expr(e, t->args[i].value);
        if (v.kind == V_ERROR)
            return false;
        if (!value_const(&v, ends[i])) {
            elab_error(e, "E0342", t->args[i].value->span,
                       "the bounds of an interval are constant");
            return false;
        }
    }
    if (d->kind == KIND_INTERVAL && !(d->lo < d->hi)) {
        elab_error(e, "E0342", t->args[1].value->span,
                   "%s: an interval ends above its beginning", interval_text(e, d));
        return false;
    }
    int64_t k;
    if (d->kind == KIND_INDEX && dim_is_const(d->bound, &k) && k < 1) {
        Diag *g = elab_error(e, "E0324", t->args[0].value->span,
                             "index(%lld) has no values: it needs at least one class", (long long)k);
        diag_help(e->ctx, g, "write the number of classes: `index(10)` has the values 0 to 9");
        return false;
    }
    return true;
}

/* The axes that `...` stands for come first: those of `lead`. */
static Declared declared(Elab *e, const TypeExpr *t, const Axis *lead, int n_lead) {
    Declared d = {.kind = KIND_REAL, .has_shape = t->has_shape, .rank = n_lead + t->rank, .span = t->span};
    if (d.rank > LANG_RANK) {
        elab_error(e, "E0321", t->shape_span, "a tensor has at most %d axes", LANG_RANK);
        d.bad = true;
        return d;
    }
    d.bad = !type_kind(e, t, &d) || !type_args(e, t, &d);
    for (int i = 0; i < n_lead && !d.bad; i++)
        d.axes[i] = lead[i];
    for (int i = 0; i < t->rank && !d.bad; i++)
        d.bad = !axis_of(e, t->shape[i], &d.axes[n_lead + i]);
    int least = d.kind == KIND_CHOLESKY                            ? 2
                : d.kind == KIND_SIMPLEX || d.kind == KIND_ORDERED ? 1
                                                                   : 0;
    if (!d.bad && d.rank < least) {
        elab_error(e, "E0343", t->span, "`%s` needs %s", t->kind.text,
                   elab_count(e, least, "axis", "axes"));
        d.bad = true;
    }
    return d;
}

Declared elab_type(Elab *e, const TypeExpr *t) {
    if (t->rest) {
        elab_error(e, "E0345", t->shape_span, "`...` stands for axes of a value, and here is none");
        return (Declared){.kind = KIND_REAL, .bad = true, .span = t->span};
    }
    return declared(e, t, NULL, 0);
}

Declared elab_type_of(Elab *e, const TypeExpr *t, const Value *v) {
    if (!t->rest)
        return elab_type(e, t);
    const Node *n = v->kind == V_NODE ? v->node : v->kind == V_LIST ? node_of(e, v, DT_NONE) : NULL;
    bool more = n && n->rank > t->rank;
    return declared(e, t, more ? n->axes : NULL, more ? n->rank - t->rank : 0);
}

/* ---- values made to fit */

static const char *shape_text(Elab *e, const Axis *axes, int rank) { return rank ? axes_text(e, axes, rank) : "a scalar"; }

static Value shape_error(Elab *e, const Node *n, const Declared *d, Span at, const char *what) {
    Diag *g = elab_error(e, "E0311", at, "%s is declared %s, and this is %s", what,
                         shape_text(e, d->axes, d->rank), shape_text(e, n->axes, n->rank));
    note_declared(e, g, d->span, what);
    note_dims(e, g, d);
    for (int i = 0; n->rank == d->rank && i < d->rank; i++)
        if (n->axes[i].value != d->axes[i].value) {
            const char *help = NULL;
            diag_note(e->ctx, g, (Span){0}, "axis %d: %s", i,
                      dim_explain(e->ctx, n->axes[i].value, n->axes[i].why, d->axes[i].value,
                                  d->axes[i].why, &help));
            if (help)
                diag_help(e->ctx, g, "%s", help);
            break;
        }
    if (n->rank == 4 && d->rank == 2)
        diag_help(e->ctx, g, "`flatten` makes rows of images: `x |> flatten |> dense(%s)`",
                  dim_text(e->ctx, d->axes[1].value));
    return value_error();
}

static Value kind_error(Elab *e, const Value *v, const Declared *d, Span at, const char *what) {
    static const char *const names[] = {"real",     "int",      "bool",    "index",   "prob",
                                        "positive", "interval", "simplex", "ordered", "cholesky"};
    Diag *g = elab_error(e, "E0340", at, "%s is declared %s, and this is %s", what, names[d->kind],
                         value_what(e, v));
    if (v->kind == V_DIST)
        diag_help(e->ctx, g, "a distribution is a statement of its own: `NAME ~ %s(...)`", v->dist->name);
    if (v->kind == V_NODE && dtype_is_real(v->node->dt) && d->kind == KIND_INT)
        diag_help(e->ctx, g, "nothing narrows: a real does not become an int");
    return value_error();
}

/* A constant outside what a constrained kind allows. */
static bool in_support(const Declared *d, double x) {
    switch (d->kind) {
    case KIND_PROB:
        return x >= 0 && x <= 1;
    case KIND_POSITIVE:
        return x > 0;
    case KIND_INTERVAL:
        return x >= d->lo && x <= d->hi;
    default:
        return true;
    }
}

static bool kind_fits(Elab *e, const Value *v, const Declared *d) {
    int64_t k;
    if (v->kind == V_LIST || v->kind == V_STRING || v->kind == V_DIST || v->kind == V_INIT)
        return v->kind == V_LIST;
    DType dt = v->kind == V_BOOL   ? DT_BOOL
               : v->kind == V_DIM  ? DT_I64
               : v->kind == V_REAL ? DT_F64
                                   : v->node->dt;
    if (d->kind == KIND_BOOL)
        return dt == DT_BOOL;
    if (d->kind == KIND_INT)
        return !dtype_is_real(dt);
    if (d->kind != KIND_INDEX)
        return true;
    Dim bound = v->kind == V_DIM ? v->bound : v->kind == V_NODE ? v->node->bound : NULL;
    if (value_int_const(v, &k))
        return k >= 0 &&
               dim_prove_nonneg(e->ctx, &(DimFacts){0}, dim_addk(e->ctx, d->bound, -1 - k));
    return bound && (bound == d->bound ||
                     dim_prove_nonneg(e->ctx, &(DimFacts){0}, dim_sub(e->ctx, d->bound, bound)));
}

static Value int_list(Elab *e, Value v, const Declared *d, Span at, const char *what) {
    int64_t n = 0;
    dim_is_const(d->axes[0].value, &n);
    if (v.kind == V_LIST && v.n_items != n) {
        elab_error(e, "E0311", at, "%s is declared [%lld], and this is [%d]", what, (long long)n,
                   v.n_items);
        return value_error();
    }
    Value r = {.kind = V_LIST,
               .span = v.span,
               .n_items = (int)n,
               .items = ARENA_ARRAY(e->arena, Value, n + 1)};
    for (int i = 0; i < n; i++)
        r.items[i] = v.kind == V_LIST ? v.items[i] : v;
    return r;
}

static bool int_items(const Value *v) {
    for (int i = 0; v->kind == V_LIST && i < v->n_items; i++)
        if (v->items[i].kind != V_DIM)
            return false;
    return v->kind == V_LIST || v->kind == V_DIM;
}

static Value convert_scalar(Elab *e, Value v, const Declared *d, Span at) {
    double x;
    if (value_const(&v, &x) && !in_support(d, x)) {
        Diag *g = elab_error(e, "E0344", at, "%s is outside the declared kind: %s", elab_number(e, x),
                             d->kind == KIND_PROB       ? "a prob lies between 0 and 1"
                             : d->kind == KIND_POSITIVE ? "positive is above 0"
                                                        : interval_text(e, d));
        if (d->kind == KIND_PROB && x > 1 && x <= 100)
            diag_help(e->ctx, g, "%g per cent are %g", x, x / 100);
        return value_error();
    }
    if (d->kind == KIND_INDEX && v.kind == V_DIM)
        v.bound = d->bound;
    if (d->kind <= KIND_BOOL ? d->kind != KIND_REAL : d->kind == KIND_INDEX)
        if (v.kind != V_NODE)
            return v;
    if (v.kind == V_REAL || (dtype_is_real(d->dt) && value_const(&v, &x) && v.kind != V_NODE))
        return value_real(x, v.span);
    Node *n = node_of(e, &v, d->dt);
    return n ? value_node(node_cast(e, d->dt, n)) : value_error();
}

Value elab_convert(Elab *e, Value v, const Declared *d, Span at, const char *what) {
    if (v.kind == V_ERROR || d->bad)
        return value_error();
    if (!kind_fits(e, &v, d))
        return kind_error(e, &v, d, at, what);
    if (d->kind == KIND_INT && d->rank == 1 && dim_is_const(d->axes[0].value, NULL) &&
        int_items(&v))
        return int_list(e, v, d, at, what);
    if (!d->rank && (v.kind != V_NODE || !v.node->rank) && v.kind != V_LIST) {
        v = convert_scalar(e, v, d, at);
        return v;
    }
    if (d->rank && (v.kind == V_REAL || v.kind == V_DIM) &&
        convert_scalar(e, v, d, at).kind == V_ERROR)
        return value_error();
    Node *n = node_of(e, &v, d->dt);
    if (!n)
        return value_error();
    Value as = value_node(n);
    if (v.kind == V_LIST && !kind_fits(e, &as, d))
        return kind_error(e, &as, d, at, what);
    bool same = n->rank == d->rank;
    for (int i = 0; same && i < d->rank; i++)
        same = n->axes[i].value == d->axes[i].value;
    if (!same && n->rank)
        return shape_error(e, n, d, at, what);
    n = node_cast(e, d->dt, n);
    if (!same)
        n = node_fill(e, n, d->rank, d->axes);
    Node *named = arena_dup(e->arena, n, sizeof *n);
    named->axes = arena_dup(e->arena, d->axes, sizeof *d->axes * (size_t)(d->rank ? d->rank : 1));
    if (d->kind == KIND_INDEX)
        named->bound = d->bound;
    Value r = value_node(named);
    r.span = v.span;
    return r;
}
