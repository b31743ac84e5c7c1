/* What in the data speaks against a fit that failed: notes below its message, each of a fact that
 * was looked up, never a guess. */
#include <math.h>

#include "driver/fit_exact.h"
#include "ir/dist.h"

/* Beyond these a square, or a small share of it, is no double. */
#define LARGE 1e150
#define SMALL 1e-150

static const FitColumn *column_named(const Exact *x, const char *name) {
    for (int k = 0; k < x->data.n; k++)
        if (x->data.columns[k].cells && x->data.columns[k].data->name == name)
            return &x->data.columns[k];
    return NULL;
}

static double cell_of(const FitColumn *c, int64_t k) {
    switch (c->data->type.dt) {
    case DT_F32:
        return (double)((const float *)c->cells)[k];
    case DT_F64:
        return ((const double *)c->cells)[k];
    case DT_BOOL:
        return ((const uint8_t *)c->cells)[k];
    case DT_I64:
        return (double)((const int64_t *)c->cells)[k];
    default:
        return ((const int32_t *)c->cells)[k];
    }
}

/* "`y` holds -1 in row 3", the row as the file counts it; without lines the element from 0. */
static const char *holds(const Exact *x, const FitColumn *c, int64_t k) {
    Ctx *ctx = x->s->ctx;
    const Array *a = c->from;
    int64_t per_row = a->rank > 1 && a->shape[0] > 0 ? a->count / a->shape[0] : 1;
    if (a->lines)
        return str_fmt(ctx, "`%s` holds %.10g in row %u of %s", c->data->name, cell_of(c, k),
                       a->lines[k / per_row], a->origin);
    return str_fmt(ctx, "`%s` holds %.10g at element %lld (from 0)", c->data->name, cell_of(c, k),
                   (long long)k);
}

/* ---- the support of the likelihoods */

/* Weighted(u, D) and Mixture(w, D) have the support of D. */
static const DistDef *dist_of(const Expr *e) {
    while (e && e->kind == EXPR_CALL && e->path.n == 1) {
        const DistDef *d = dist_named(e->path.names[0].text);
        if (d || !e->n_args)
            return d;
        e = e->args[e->n_args - 1].value;
    }
    return NULL;
}

static bool is_outside(DistSupport support, double v) {
    return (support == SUPPORT_POSITIVE && v < 0) || (support == SUPPORT_COUNT && v < 0) ||
           (support == SUPPORT_UNIT && (v < 0 || v > 1));
}

static bool is_border(DistSupport support, double v) {
    return ((support == SUPPORT_POSITIVE || support == SUPPORT_UNIT) && v == 0) ||
           (support == SUPPORT_UNIT && v == 1);
}

/* The first datum that a likelihood's support lacks, or, if there is none, at its border. */
static void doubt_support(Exact *x, Diag *d, const FitColumn *c, const DistDef *dist, Span span) {
    int64_t border = -1;
    for (int64_t k = 0; k < c->from->count; k++) {
        double v = cell_of(c, k);
        if (is_outside(dist->support, v)) {
            diag_note(x->s->ctx, d, span, "%s, where %s has no density", holds(x, c, k),
                      dist->name);
            return;
        }
        border = border < 0 && is_border(dist->support, v) ? k : border;
    }
    if (border >= 0)
        diag_note(x->s->ctx, d, span, "%s, the border of what %s describes", holds(x, c, border),
                  dist->name);
}

static void doubt_likelihoods(Exact *x, Diag *d) {
    const Item *item = x->f->item;
    for (int k = 0; item && k < item->n_body; k++) {
        const Stmt *t = item->body[k];
        const FitColumn *c =
            t->kind == STMT_TILDE && t->path.n == 1 ? column_named(x, t->path.names[0].text) : NULL;
        const DistDef *dist = c ? dist_of(t->value) : NULL;
        if (dist)
            doubt_support(x, d, c, dist, t->span);
    }
}

bool exact_is_discrete(const Exact *x) {
    const Item *item = x->f->item;
    for (int k = 0; item && k < item->n_body; k++) {
        const Stmt *t = item->body[k];
        bool of_data =
            t->kind == STMT_TILDE && t->path.n == 1 && column_named(x, t->path.names[0].text);
        const DistDef *d = of_data ? dist_of(t->value) : NULL;
        if (d && (d->support == SUPPORT_BOOL || d->support == SUPPORT_COUNT ||
                  d->support == SUPPORT_INDEX))
            return true;
    }
    return false;
}

/* ---- scales */

static void doubt_scales(Exact *x, Diag *d) {
    for (int j = 0; j < x->data.n; j++) {
        const FitColumn *c = &x->data.columns[j];
        int64_t at = -1;
        double most = 0;
        for (int64_t k = 0; c->cells && dtype_is_real(c->data->type.dt) && k < c->from->count; k++)
            if (fabs(cell_of(c, k)) > most) {
                most = fabs(cell_of(c, k));
                at = k;
            }
        if (at >= 0 && (most > LARGE || most < SMALL))
            diag_note(x->s->ctx, d, (Span){0}, "%s: squares of it are no doubles; use another unit",
                      holds(x, c, at));
    }
}

/* ---- parameters without data */

/* The label that the element at fault stands for, if no datum has it. */
static void doubt_labels(Exact *x, Diag *d) {
    int64_t at = x->info.where, first = at;
    if (at < 0 || at >= x->n)
        return;
    const AbiTensor *t = &x->f->block->params.p[x->elements[at].tensor];
    while (first > 0 && x->elements[first - 1].tensor == x->elements[at].tensor)
        first--;
    int64_t inner = 1, length;
    for (int axis = t->type.rank - 1; axis >= 0; axis--, inner *= length) {
        if (!env_eval(x->s, &x->f->env, t->type.shape[axis], t->path, &length) || length < 1)
            return;
        int64_t label = (at - first) / inner % length;
        for (int j = 0; j < x->data.n; j++) {
            const FitColumn *c = &x->data.columns[j];
            bool seen = !c->cells || c->data->bound != t->type.shape[axis];
            for (int64_t k = 0; !seen && k < c->from->count; k++)
                seen = (int64_t)cell_of(c, k) == label;
            if (!seen)
                diag_note(
                    x->s->ctx, d, c->data->span,
                    "no datum of `%s` is %lld: labels are 0 .. %lld, and all of them should occur",
                    c->data->name, (long long)label, (long long)(length - 1));
        }
    }
}

/* Fewer rows than coefficients of the parameter at fault. */
static void doubt_rows(Exact *x, Diag *d) {
    int64_t coefficients = 0, n = x->info.observations;
    if (x->info.where < 0 || x->info.where >= x->n)
        return;
    for (int64_t k = 0; k < x->n; k++)
        coefficients += x->elements[k].kind == KIND_REAL &&
                        x->elements[k].tensor == x->elements[x->info.where].tensor;
    if (n > 0 && n < coefficients) /* 0: `minimize` counts none */
        diag_note(x->s->ctx, d, (Span){0}, "there %s %lld observation%s for %lld coefficients",
                  n == 1 ? "is" : "are", (long long)n, n == 1 ? "" : "s", (long long)coefficients);
}

void exact_doubts(Exact *x, Diag *d) {
    doubt_likelihoods(x, d);
    doubt_scales(x, d);
    if (x->status == FIT_DEPENDENT || x->status == FIT_NOT_IDENTIFIED) {
        doubt_labels(x, d);
        doubt_rows(x, d);
    }
}
