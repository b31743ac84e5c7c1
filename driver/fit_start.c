/* Where an exact fit starts: --start, and the further starts of --starts. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "driver/fit_exact.h"
#include "runtime/rt.h"

double real_get(const AbiBlock *b, const void *p, int64_t k) {
    return b->real == DT_F32 ? (double)((const float *)p)[k] : ((const double *)p)[k];
}

void real_set(const AbiBlock *b, void *p, int64_t k, double v) {
    if (b->real == DT_F32)
        ((float *)p)[k] = (float)v;
    else
        ((double *)p)[k] = v;
}

/* ---- --start */

static bool inside_kind(const FitElement *e, double v) {
    switch (e->kind) {
    case KIND_POSITIVE:
        return v > 0 && isfinite(v);
    case KIND_PROB:
        return v > 0 && v < 1;
    case KIND_INTERVAL:
        return v > e->lo && v < e->hi;
    default:
        return isfinite(v);
    }
}

/* The elements that a name means: all of `w`, or the one `w[0]` or `w[age]`. */
static bool is_meant(Exact *x, int64_t k, int64_t first, const char *name) {
    const AbiTensor *t = &x->f->block->params.p[x->elements[k].tensor];
    if (strcmp(t->path, name) == 0 || strcmp(x->elements[k].name, name) == 0)
        return true;
    size_t n = strlen(t->path);
    if (t->type.rank == 0 || strncmp(t->path, name, n) != 0 || name[n] != '[')
        return false;
    int64_t at = k - first, shape[ARRAY_MOST_RANK];
    StrBuf sb = sb_new(x->s->arena);
    for (int d = 0; d < t->type.rank; d++)
        if (!env_eval(x->s, &x->f->env, t->type.shape[d], t->path, &shape[d]))
            return false;
    int64_t index[ARRAY_MOST_RANK];
    for (int d = t->type.rank - 1; d >= 0; at /= shape[d--])
        index[d] = at % shape[d];
    for (int d = 0; d < t->type.rank; d++)
        sb_printf(&sb, "%c%lld", d ? ',' : '[', (long long)index[d]);
    sb_putc(&sb, ']');
    return strcmp(sb.text, name + n) == 0;
}

static void unknown_start(Exact *x, const char *name) {
    const AbiBlock *b = x->f->block;
    const char **names = ARENA_ARRAY(x->s->arena, const char *, b->params.n + 1);
    for (int k = 0; k < b->params.n; k++)
        names[k] = b->params.p[k].path;
    const char *near = diag_nearest(name, names, b->params.n);
    session_usage(x->s,
                  near ? "--start: `%s` has no parameter `%s`; did you mean `%s`?"
                       : "--start: `%s` has no parameter `%s`",
                  b->name, name, near ? near : "");
}

static bool start_one(Exact *x, const char *text) {
    const char *eq = strchr(text, '=');
    char *end = NULL;
    double v = eq ? strtod(eq + 1, &end) : 0;
    if (!eq || eq == text || end == eq + 1 || *end) {
        session_usage(x->s, "--start wants NAME=VALUE, not `%s`", text);
        return false;
    }
    const char *name = str_intern(x->s->ctx, text, (size_t)(eq - text));
    bool any = false;
    for (int64_t k = 0, first = 0; k < x->n; k++) {
        if (k && x->elements[k].tensor != x->elements[k - 1].tensor)
            first = k;
        if (x->elements[k].structural || !is_meant(x, k, first, name))
            continue;
        any = true;
        if (x->elements[k].held) { /* a name alone fills what is learned */
            if (strcmp(x->f->block->params.p[x->elements[k].tensor].path, name) == 0)
                continue;
            session_usage(x->s, "--start: `when` holds `%s` at its initial value",
                          x->elements[k].name);
            return false;
        }
        if (!inside_kind(&x->elements[k], v)) {
            session_usage(x->s, "--start: %g lies outside the kind of `%s`", v,
                          x->elements[k].name);
            return false;
        }
        real_set(x->f->block, x->params, k, v);
    }
    if (!any)
        unknown_start(x, name);
    return any;
}

bool start_given(Exact *x) {
    for (int k = 0; k < x->s->o.start.n; k++)
        if (!start_one(x, x->s->o.start.p[k]))
            return false;
    return true;
}

/* ---- --starts */

/* A normal deviate by Box and Muller from Philox words; key (seed, start), counter the element. */
static double deviate(uint64_t seed, int64_t start, int64_t element) {
    uint64_t counter[4] = {(uint64_t)element, (uint64_t)start, 0, 0x73746172}, key[2] = {seed, 2},
             w[4];
    rt_philox(counter, key, w);
    double u = ((double)(w[0] >> 11) + 0.5) * 0x1p-53, v = ((double)(w[1] >> 11) + 0.5) * 0x1p-53;
    return sqrt(-2 * log(u)) * cos(2 * 3.14159265358979323846 * v);
}

static double moved(const FitElement *e, double v, double z) {
    double lo = e->kind == KIND_INTERVAL ? e->lo : 0, hi = e->kind == KIND_INTERVAL ? e->hi : 1;
    switch (e->kind) {
    case KIND_POSITIVE:
        return v * exp(z);
    case KIND_PROB:
    case KIND_INTERVAL: {
        double p = (v - lo) / (hi - lo), u = log(p) - log1p(-p) + z;
        return lo + (hi - lo) / (1 + exp(-u));
    }
    default:
        return v + z * (0.5 * fabs(v) + 0.5);
    }
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The rows of a simplex sum to one again, those of an ordered vector rise again. */
static void repair(Exact *x, int tensor, int64_t first, int64_t count) {
    const AbiBlock *b = x->f->block;
    const AbiTensor *t = &b->params.p[tensor];
    int64_t width;
    if ((t->kind != KIND_SIMPLEX && t->kind != KIND_ORDERED) ||
        !env_eval(x->s, &x->f->env, t->type.shape[t->type.rank - 1], t->path, &width))
        return;
    double *row = ARENA_ARRAY(x->s->arena, double, width + 1);
    for (int64_t at = first; at < first + count; at += width) {
        double sum = 0;
        for (int64_t k = 0; k < width; k++)
            sum += row[k] = real_get(b, x->params, at + k);
        if (t->kind == KIND_ORDERED)
            qsort(row, (size_t)width, sizeof *row, by_value);
        for (int64_t k = 0; k < width; k++)
            real_set(b, x->params, at + k, t->kind == KIND_ORDERED ? row[k] : row[k] / sum);
    }
}

bool start_another(Exact *x, int64_t k) {
    const AbiBlock *b = x->f->block;
    size_t bytes = (size_t)x->n * dtype_size(b->real);
    void *first = arena_dup(x->s->arena, x->f->v.params, bytes + 1);
    x->f->hyper.seed = (uint64_t)(x->s->o.seed + k);
    if (!x->f->init_path && !fit_init(x->s, x->f, &x->data))
        return false;
    x->f->hyper.seed = (uint64_t)x->s->o.seed;
    bool drawn =
        memcmp(first, x->f->v.params, bytes) != 0; /* initial values that depend on the seed */
    memcpy(x->params, x->f->v.params, bytes);
    memcpy(x->f->v.params, first, bytes);
    if (!start_given(x))
        return false;
    for (int64_t i = 0, from = 0; i < x->n && !drawn; i++) {
        const FitElement *e = &x->elements[i];
        if (!e->structural && !e->held)
            real_set(b, x->params, i,
                     moved(e, real_get(b, x->params, i), deviate((uint64_t)x->s->o.seed, k, i)));
        if (i + 1 < x->n && x->elements[i + 1].tensor == e->tensor)
            continue;
        repair(x, e->tensor, from, i + 1 - from);
        from = i + 1;
    }
    return true;
}
