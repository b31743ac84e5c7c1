/* Names of elements, standard errors, tests and intervals.
 *
 * An interval is computed on the scale on which the element is free (log of a positive one, logit
 * of a probability) and mapped back, so it never leaves the kind; the error there is that of the
 * declared scale over the derivative of the map. A test of the value 0 makes sense only where 0
 * lies inside the kind. */
#include "driver/fit_result.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "driver/tails.h"
#include "ir/transform.h"

static const double LEVEL = 0.05; /* of the two tails outside an interval */

/* ---- elements */

static const AxisLabels *labels_of(const LabelList *all, Dim d, int64_t length) {
    DimSym sym = dim_as_symbol(d);
    for (int k = 0; sym && k < all->n; k++)
        if (all->p[k].dim && strcmp(all->p[k].dim->name, sym->name) == 0 && all->p[k].n == length)
            return &all->p[k];
    return NULL;
}

/* ---- axes of constant length: they have no dim, so the names in the source say what they are of
 */

static const char *bare_name(const Expr *x) {
    return x && x->kind == EXPR_NAME && x->path.n == 1 ? x->path.names[0].text : NULL;
}

static const TypeExpr *declared(const Item *source, StmtKind kind, const char *name) {
    for (int k = 0; source && k < source->n_body; k++)
        if (source->body[k]->kind == kind && strcmp(source->body[k]->name.text, name) == 0)
            return source->body[k]->type;
    return NULL;
}

/* The texts of data of kind index(K) where axis d of the parameter is the same K; none where two
 * data have different ones. */
static const AxisLabels *labels_by_name(const Item *source, const LabelList *all,
                                        const AbiTensor *t, int d, int64_t length) {
    const TypeExpr *param = declared(source, STMT_PARAM, t->path);
    const char *axis = param && !param->rest && d < param->rank ? bare_name(param->shape[d]) : NULL;
    const AxisLabels *found = NULL;
    for (int k = 0; axis && k < all->n; k++) {
        const AxisLabels *l = &all->p[k];
        const TypeExpr *of = l->dim ? NULL : declared(source, STMT_DATA, l->data);
        const char *bound = of && of->n_args == 1 ? bare_name(of->args[0].value) : NULL;
        if (!bound || strcmp(bound, axis) != 0 || l->n != length)
            continue;
        if (found)
            return NULL;
        found = l;
    }
    return found;
}

typedef struct Namer {
    Session *s;
    const Item *source;
    const AbiTensor *t;
    int64_t shape[ARRAY_MOST_RANK];
    const AxisLabels *labels[ARRAY_MOST_RANK];
} Namer;

static const char *name_of(Namer *n, const int64_t *at) {
    if (n->t->type.rank == 0)
        return n->t->path;
    StrBuf sb = sb_new(n->s->arena);
    sb_put(&sb, n->t->path);
    for (int d = 0; d < n->t->type.rank; d++) {
        sb_putc(&sb, d ? ',' : '[');
        if (n->labels[d])
            sb_put(&sb, n->labels[d]->names[at[d]]);
        else
            sb_printf(&sb, "%lld", (long long)at[d]);
    }
    sb_putc(&sb, ']');
    return sb.text;
}

static void set_kind(FitElement *e, const AbiTensor *t, const int64_t *at) {
    int rank = t->type.rank;
    e->kind = t->kind;
    e->lo = t->lo;
    e->hi = t->hi;
    if (t->kind == KIND_SIMPLEX) {
        e->kind = KIND_PROB;
    } else if (t->kind == KIND_ORDERED) {
        e->kind = KIND_REAL;
    } else if (t->kind == KIND_CHOLESKY && rank >= 2) {
        e->kind = at[rank - 1] == at[rank - 2] ? KIND_POSITIVE : KIND_REAL;
        e->structural = at[rank - 1] > at[rank - 2];
    }
}

static bool elements_of(Namer *n, int tensor, const DimEnv *env, const LabelList *labels,
                        FitElement *out, int64_t *count) {
    const AbiTensor *t = n->t;
    int64_t at[ARRAY_MOST_RANK] = {0};
    *count = 1;
    for (int d = 0; d < t->type.rank; d++) {
        if (!env_eval(n->s, env, t->type.shape[d], t->path, &n->shape[d]))
            return false;
        n->labels[d] = labels_of(labels, t->type.shape[d], n->shape[d]);
        if (!n->labels[d])
            n->labels[d] = labels_by_name(n->source, labels, t, d, n->shape[d]);
        *count *= n->shape[d];
    }
    for (int64_t k = 0; k < *count && out; k++) {
        out[k] = (FitElement){.name = name_of(n, at), .tensor = tensor, .held = abi_is_held(t, at)};
        set_kind(&out[k], t, at);
        for (int d = t->type.rank - 1; d >= 0 && ++at[d] == n->shape[d]; d--)
            at[d] = 0;
    }
    return true;
}

FitElement *fit_elements(Session *s, const Item *source, const AbiBlock *b, const DimEnv *env,
                         const LabelList *labels, int64_t *n) {
    FitElement *e = NULL;
    for (int pass = 0; pass < 2; pass++) { /* counts, then fills */
        *n = 0;
        for (int k = 0; k < b->params.n; k++) {
            Namer namer = {.s = s, .source = source, .t = &b->params.p[k]};
            int64_t count;
            if (!elements_of(&namer, k, env, labels, e ? e + *n : NULL, &count))
                return NULL;
            *n += count;
        }
        if (!pass)
            e = ARENA_ARRAY(s->arena, FitElement, *n + 1);
    }
    return e;
}

int64_t fit_counted(Session *s, const AbiBlock *b, const DimEnv *env) {
    int64_t sum = 0;
    for (int k = 0; k < b->params.n; k++) {
        const AbiTensor *t = &b->params.p[k];
        Type free = transform_of(t->kind)->free_type(s->ctx, t->type);
        int64_t n;
        if (env_eval(s, env, t->learned ? t->learned : type_count(s->ctx, free), t->path, &n))
            sum += n;
    }
    return sum;
}

/* ---- rows */

typedef struct Range {
    double low, high;
} Range;

static double logit(double p) { return log(p) - log1p(-p); }
static double sigmoid(double u) { return 1 / (1 + exp(-u)); }

static Range interval_of(const FitElement *e, double x, double error, double q) {
    double lo = e->kind == KIND_INTERVAL ? e->lo : 0,
           width = e->kind == KIND_INTERVAL ? e->hi - e->lo : 1;
    double p = (x - lo) / width;
    switch (e->kind) {
    case KIND_POSITIVE:
        return (Range){x * exp(-q * error / x), x * exp(q * error / x)};
    case KIND_PROB:
    case KIND_INTERVAL: {
        double u = logit(p), d = q * error / (width * p * (1 - p));
        return (Range){lo + width * sigmoid(u - d), lo + width * sigmoid(u + d)};
    }
    default:
        return (Range){x - q * error, x + q * error};
    }
}

static bool zero_is_inside(const FitElement *e) {
    return e->kind == KIND_REAL || (e->kind == KIND_INTERVAL && e->lo < 0 && e->hi > 0);
}

bool fit_at_border(const FitElement *e, double x) {
    switch (e->kind) {
    case KIND_POSITIVE:
        return x <= 0;
    case KIND_PROB:
        return x <= 0 || x >= 1;
    case KIND_INTERVAL:
        return x <= e->lo || x >= e->hi;
    default:
        return false;
    }
}

static FitRow row_of(const FitElement *e, double x, double variance, double df, double q,
                     bool perfect) {
    FitRow r = {e->name, x, NAN, NAN, NAN, NAN, NAN, e->held};
    if (e->held || !(variance >= 0) || isinf(variance) || fit_at_border(e, x) ||
        (variance < DBL_MIN && !perfect)) /* smaller than what a double holds */
        return r;
    r.std_error = sqrt(variance);
    Range i = interval_of(e, x, r.std_error, q);
    r.low = i.low;
    r.high = i.high;
    if (zero_is_inside(e) && r.std_error > 0) {
        r.statistic = x / r.std_error;
        r.p = tail_two_sided(r.statistic, df);
    }
    return r;
}

void fit_rows(Arena *a, FitResult *r, const FitElement *e, int64_t n, const double *params,
              const double *cov) {
    double df = r->by_t ? r->info.df : INFINITY, q = NAN;
    FitRow *rows = ARENA_ARRAY(a, FitRow, n + 1);
    if (df > 0) /* no degrees are left: neither tests nor intervals */
        q = quantile_two_sided(LEVEL, df);
    r->n_rows = 0;
    for (int64_t k = 0; k < n; k++)
        if (!e[k].structural)
            rows[r->n_rows++] = row_of(&e[k], params[k], cov ? cov[k * n + k] : NAN,
                                       df > 0 ? df : NAN, q, r->info.s2 == 0);
    r->rows = rows;
    r->aic = -2 * r->info.loglik + 2 * (double)r->counted;
    r->bic = -2 * r->info.loglik + log((double)r->info.observations) * (double)r->counted;
}
