/* Arrays bound to what a program declares: shapes, kinds, labels, rows with missing cells. */
#include "driver/bind.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const Span nowhere = {0};

/* ---- shapes */

/* The axes of a declared shape against the lengths of an array. On either side axes of length 1 may
 * be left out; the first way that fits is taken, plain alignment first. */
typedef struct Match {
    Session *s;
    DimEnv *e;
    const Dim *shape;
    int rank;
    const int64_t *length;
    int n;
    int64_t got[MAX_RANK];
} Match;

/* An axis against a length, binding what is free. An axis whose symbols are not all known and that
 * is no multiple of one fits for now. */
static bool axis_fits(Match *m, Dim d, int64_t length, bool *later) {
    DimSym syms[64];
    DimValue values[64];
    int64_t v;
    int n = dim_symbols(d, syms, 64), known = 0;
    for (int k = 0; k < n; k++)
        known += env_get(m->e, syms[k], &values[k].value);
    for (int k = 0; k < n; k++)
        values[k].sym = syms[k];
    if (known == n)
        return dim_eval(d, values, n, &v) && v == length;
    DimTerm t = dim_n_terms(d) == 1 ? dim_term(d, 0) : (DimTerm){0};
    if (t.n_atoms != 1 || !t.atoms[0]->sym || t.coef < 1) {
        *later = true;
        return true;
    }
    if (length % t.coef || length / t.coef < t.atoms[0]->sym->least)
        return false;
    env_set(m->s, m->e, t.atoms[0]->sym, length / t.coef);
    return true;
}

/* All axes once more, now that their symbols have values. */
static bool settled(Match *m) {
    bool later;
    for (int i = 0; i < m->rank; i++)
        if (!axis_fits(m, m->shape[i], m->got[i], &later))
            return false;
    return true;
}

static bool match(Match *m, int i, int j) {
    bool later;
    int known = m->e->v.n;
    if (i == m->rank && j == m->n)
        return settled(m);
    if (i < m->rank && j < m->n && axis_fits(m, m->shape[i], m->got[i] = m->length[j], &later) &&
        match(m, i + 1, j + 1))
        return true;
    m->e->v.n = known;
    if (j < m->n && m->length[j] == 1 && match(m, i, j + 1))
        return true;
    m->e->v.n = known;
    if (i < m->rank && axis_fits(m, m->shape[i], m->got[i] = 1, &later) && match(m, i + 1, j))
        return true;
    m->e->v.n = known;
    return false;
}

/* "[N, D] with N = 20" */
static const char *shape_text(Session *s, const DimEnv *e, Type t) {
    StrBuf sb = sb_new(s->arena), with = sb_new(s->arena);
    DimSym seen[64];
    int n_seen = 0;
    sb_putc(&sb, '[');
    for (int k = 0; k < t.rank; k++) {
        DimSym syms[16];
        int n = dim_symbols(t.shape[k], syms, 16);
        sb_put(&sb, k ? ", " : "");
        dim_print(&sb, t.shape[k]);
        for (int j = 0; j < n; j++) {
            int64_t v;
            bool again = false;
            for (int i = 0; i < n_seen; i++)
                again |= seen[i] == syms[j];
            if (again || n_seen == 64 || !env_get(e, syms[j], &v))
                continue;
            seen[n_seen++] = syms[j];
            sb_printf(&with, "%s%s = %lld", with.len ? ", " : " with ", syms[j]->name,
                      (long long)v);
        }
    }
    sb_printf(&sb, "]%s", with.text ? with.text : "");
    return sb.text;
}

bool bind_shape(Session *s, DimEnv *e, const char *name, Type t, const Array *a) {
    DimEnv tried = env_copy(s, e);
    Match m = {
        .s = s, .e = &tried, .shape = t.shape, .rank = t.rank, .length = a->shape, .n = a->rank};
    if (match(&m, 0, 0)) {
        *e = tried;
        return true;
    }
    Diag *d = session_file_error(s, nowhere, "%s: `%s` has shape %s, declared is %s", name, a->origin,
                                 array_shape_text(s, a), shape_text(s, e, t));
    if (a->columns && a->n_columns > 1 && t.rank < a->rank)
        diag_help(s->ctx, d, "choose a column: `%s=%.*s:%s`", name, (int)strcspn(a->origin, ":"), a->origin, a->columns[0]);
    return false;
}

/* ---- cells */

static const char *cell_place(Session *s, const Array *a, int64_t k) {
    if (a->lines && a->columns)
        return str_fmt(s->ctx, "%s, row %u, column `%s`", a->origin, a->lines[k / a->n_columns],
                       a->columns[k % a->n_columns]);
    StrBuf sb = sb_new(s->arena);
    int64_t rest = k, step = a->count;
    sb_printf(&sb, "%s[", a->origin);
    for (int d = 0; d < a->rank; d++) {
        step /= a->shape[d];
        sb_printf(&sb, "%s%lld", d ? ", " : "", (long long)(rest / step));
        rest %= step;
    }
    sb_putc(&sb, ']');
    return sb.text;
}

static Span place_of(const Array *a, int64_t k) {
    uint32_t line = a->lines ? a->lines[k / a->n_columns] : 0;
    return line ? (Span){a->file, line, 1, line, 1} : nowhere;
}

static bool refuse(Session *s, const char *name, const Array *a, int64_t k, const char *why) {
    session_file_error(s, place_of(a, k), "%s: %s holds %.17g, %s", name, cell_place(s, a, k),
                       array_get(a, k), why);
    return false;
}

static bool cell_ok(Session *s, const char *name, const Array *a, int64_t k, double v, DType dt,
                    AbiKind kind, int64_t bound) {
    if (dtype_is_real(dt))
        return true;
    if (v != rint(v))
        return refuse(s, name, a, k, "which is no whole number");
    if (dt == DT_BOOL && v != 0 && v != 1)
        return refuse(s, name, a, k, "which is neither 0 nor 1");
    if (kind == KIND_INDEX && bound > 0 && (v < 0 || v >= (double)bound))
        return refuse(s, name, a, k,
                      str_fmt(s->ctx, "which is outside 0 .. %lld", (long long)bound - 1));
    if (dt == DT_I32 && (v < INT32_MIN || v > INT32_MAX))
        return refuse(s, name, a, k, "which does not fit 32 bits");
    return true;
}

static void put_cell(void *out, int64_t k, DType dt, double v) {
    switch (dt) {
    case DT_BOOL:
        ((uint8_t *)out)[k] = v != 0;
        break;
    case DT_I32:
        ((int32_t *)out)[k] = (int32_t)v;
        break;
    case DT_I64:
        ((int64_t *)out)[k] = (int64_t)v;
        break;
    case DT_F32:
        ((float *)out)[k] = (float)v;
        break;
    default:
        ((double *)out)[k] = v;
        break;
    }
}

/* What R, pandas and others write for bools. */
static double truth_of(const char *text) {
    static const char *const words[2][4] = {{"false", "False", "FALSE", "F"},
                                            {"true", "True", "TRUE", "T"}};
    for (int v = 0; v < 2; v++)
        for (int k = 0; k < 4; k++)
            if (strcmp(text, words[v][k]) == 0)
                return v;
    return NAN;
}

static bool read_truths(Session *s, const char *name, const Array *a) {
    for (int64_t k = 0; k < a->count; k++) {
        double v = a->texts[k] && isnan(array_get(a, k)) ? truth_of(a->texts[k]) : 0;
        if (isnan(v)) {
            Diag *d = session_file_error(s, place_of(a, k),
                                         "%s: %s holds `%.60s`, which is neither 0 nor 1, true nor "
                                         "false",
                                         name, cell_place(s, a, k), a->texts[k]);
            diag_help(s->ctx, d,
                      "a column of other texts is `index(K)`: they are sorted, so the "
                      "first is 0");
            return false;
        }
        if (a->texts[k] && isnan(array_get(a, k)))
            ((double *)a->data)[k] = v;
    }
    return true;
}

void *bind_cells(Session *s, const char *name, const Array *a, DType dt, AbiKind kind,
                 int64_t bound) {
    bool same = (a->cell == CELL_F64 && dt == DT_F64) || (a->cell == CELL_F32 && dt == DT_F32);
    if (same && !a->texts)
        return a->data;
    if (a->texts && dt == DT_BOOL && !read_truths(s, name, a))
        return NULL;
    void *out = arena_array(s->arena, (size_t)a->count + 1, dtype_size(dt));
    for (int64_t k = 0; a->texts && k < a->count; k++)
        if (a->texts[k] && isnan(array_get(a, k))) {
            session_file_error(s, place_of(a, k), "%s: %s holds `%.60s`, which is no number", name,
                               cell_place(s, a, k), a->texts[k]);
            return NULL;
        }
    for (int64_t k = 0; k < a->count; k++) {
        double v = array_get(a, k);
        if (!cell_ok(s, name, a, k, v, dt, kind, bound))
            return NULL;
        put_cell(out, k, dt, v);
    }
    return out;
}

/* 0 * x is 0 or NaN: whether all are finite, in a loop that has no exit. */
static bool all_finite(const Array *a) {
    double sum = 0;
    for (int64_t k = 0; a->cell == CELL_F64 && k < a->count; k++)
        sum += 0 * ((const double *)a->data)[k];
    for (int64_t k = 0; a->cell == CELL_F32 && k < a->count; k++)
        sum += 0 * (double)((const float *)a->data)[k];
    return sum == 0;
}

bool bind_finite(Session *s, const char *name, const Array *a) {
    if (all_finite(a))
        return true;
    for (int64_t k = 0; cell_is_real(a->cell) && k < a->count; k++)
        if (!isfinite(array_get(a, k)))
            return refuse(s, name, a, k,
                          isnan(array_get(a, k))
                              ? "a missing value (`--na=drop` leaves such rows out)"
                              : "which is not finite");
    return true;
}

/* ---- labels */

static int by_text(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Data that share their labels: those with the same index(J), or one with a constant bound. */
typedef struct Group {
    Dim bound;
    DimSym dim; /* NULL: of a constant */
    const char **names;
    Array **arrays;
    int n;
} Group;

static bool shares(const AbiData *a, const AbiData *b) {
    return a == b || (a->bound && a->bound == b->bound && dim_as_symbol(a->bound));
}

/* The given data from number `first` on that share its labels; none if an earlier one does. */
static Group group_of(Session *s, const AbiBlock *b, const DataSet *given, int first) {
    const AbiData *d = &b->data.p[first];
    Group g = {.bound = d->bound, .dim = d->bound ? dim_as_symbol(d->bound) : NULL};
    g.names = ARENA_ARRAY(s->arena, const char *, b->data.n);
    g.arrays = ARENA_ARRAY(s->arena, Array *, b->data.n);
    for (int k = 0; k < b->data.n && d->kind == KIND_INDEX; k++) {
        Array *a = shares(d, &b->data.p[k]) ? dataset_get(given, b->data.p[k].name) : NULL;
        if (a && k < first)
            return (Group){0};
        if (!a)
            continue;
        g.names[g.n] = b->data.p[k].name;
        g.arrays[g.n++] = a;
    }
    return g;
}

static AxisLabels *known_labels(const LabelList *l, const Group *g, const char *data) {
    for (int k = 0; k < l->n; k++)
        if (g->dim ? l->p[k].dim && l->p[k].dim->name == g->dim->name
                   : !l->p[k].dim && strcmp(l->p[k].data, data) == 0)
            return &l->p[k];
    return NULL;
}

static AxisLabels sorted_labels(Session *s, const Group *g) {
    int64_t most = 0, n = 0, m = 0;
    for (int k = 0; k < g->n; k++)
        most += g->arrays[k]->count;
    const char **all = ARENA_ARRAY(s->arena, const char *, most + 1);
    for (int k = 0; k < g->n; k++)
        for (int64_t j = 0; j < g->arrays[k]->count; j++)
            if (g->arrays[k]->texts[j])
                all[m++] = g->arrays[k]->texts[j];
    qsort(all, (size_t)m, sizeof *all, by_text);
    for (int64_t k = 0; k < m; k++)
        if (k == 0 || strcmp(all[k], all[n - 1]) != 0)
            all[n++] = all[k];
    return (AxisLabels){.dim = g->dim, .data = g->names[0], .names = all, .n = n};
}

static bool map_texts(Session *s, const char *name, Array *a, const AxisLabels *l) {
    for (int64_t k = 0; k < a->count; k++) {
        const char *const *at =
            a->texts[k] ? bsearch(&a->texts[k], l->names, (size_t)l->n, sizeof *l->names, by_text)
                        : NULL;
        if (!at) {
            Diag *d = session_file_error(s, place_of(a, k),
                                         "%s: %s holds `%.60s`, a text that the fit has not seen",
                                         name, cell_place(s, a, k), a->texts[k] ? a->texts[k] : "");
            const char *near = a->texts[k] ? diag_nearest(a->texts[k], l->names, (int)l->n) : NULL;
            if (near)
                diag_help(s->ctx, d, "did you mean `%s`?", near);
            return false;
        }
        ((double *)a->data)[k] = (double)(at - l->names);
    }
    a->texts = NULL;
    return true;
}

static bool label_texts(Session *s, const Group *g, DimEnv *env, LabelList *labels) {
    AxisLabels *l = known_labels(labels, g, g->names[0]);
    int64_t v;
    for (int k = 0; k < g->n; k++)
        if (!g->arrays[k]->texts) {
            session_file_error(s, nowhere, "%s: `%s` holds numbers, but the labels are texts",
                               g->names[k], g->arrays[k]->origin);
            return false;
        }
    if (!l) {
        AxisLabels fresh = sorted_labels(s, g);
        vec_push(s->arena, labels, fresh);
        l = &labels->p[labels->n - 1];
    }
    if (g->dim && !env_get(env, g->dim, &v))
        env_set(s, env, g->dim, l->n > 0 ? l->n : 1);
    if (!env_eval(s, env, g->bound, g->names[0], &v))
        return false;
    if (l->n > v) {
        session_file_error(s, nowhere, "%s: `%s` holds %lld different texts, index(%s) takes %lld",
                           g->names[0], g->arrays[0]->origin, (long long)l->n,
                           dim_text(s->ctx, g->bound), (long long)v);
        return false;
    }
    for (int k = 0; k < g->n; k++)
        if (!map_texts(s, g->names[k], g->arrays[k], l))
            return false;
    return true;
}

static void count_labels(Session *s, const Group *g, DimEnv *env) {
    double top = 0;
    int64_t v;
    if (!g->dim || env_get(env, g->dim, &v))
        return;
    for (int k = 0; k < g->n; k++)
        for (int64_t j = 0; j < g->arrays[k]->count; j++)
            top = array_get(g->arrays[k], j) > top ? array_get(g->arrays[k], j) : top;
    env_set(s, env, g->dim,
            top < 1e9 ? (int64_t)top + 1 : 1); /* an absurd one is refused as a cell */
}

bool bind_labels(Session *s, const AbiBlock *b, const DataSet *given, DimEnv *env,
                 LabelList *labels) {
    for (int k = 0; k < b->data.n; k++) {
        Group g = group_of(s, b, given, k);
        bool texts = g.n && known_labels(labels, &g, g.names[0]);
        for (int j = 0; j < g.n; j++)
            texts |= g.arrays[j]->texts != NULL;
        if (texts && !label_texts(s, &g, env, labels))
            return false;
        if (!texts && g.n)
            count_labels(s, &g, env);
    }
    return true;
}

/* ---- rows with missing cells */

static bool is_missing(const Array *a, int64_t k) {
    return isnan(array_get(a, k)) && !(a->texts && a->texts[k]);
}

static void mark_missing(const Array *a, bool *drop) {
    int64_t width = a->shape[0] ? a->count / a->shape[0] : 0;
    for (int64_t k = 0; cell_is_real(a->cell) && k < a->count; k++)
        drop[k / width] |= is_missing(a, k);
}

static void keep_rows(Session *s, Array *a, const bool *drop, int64_t kept) {
    int64_t width = a->count / a->shape[0], at = 0;
    size_t bytes = (size_t)width * cell_size(a->cell);
    char *data = a->data;
    uint32_t *lines = a->lines ? ARENA_ARRAY(s->arena, uint32_t, kept + 1) : NULL;
    for (int64_t r = 0; r < a->shape[0]; r++) {
        if (drop[r])
            continue;
        memmove(data + (size_t)at * bytes, data + (size_t)r * bytes, bytes);
        if (a->texts)
            memmove(a->texts + at * width, a->texts + r * width, (size_t)width * sizeof *a->texts);
        if (lines)
            lines[at] = a->lines[r];
        at++;
    }
    a->lines = lines;
    a->shape[0] = kept;
    a->count = kept * width;
}

/* The data whose first axis is dim, of equal lengths, without the rows in which one has a missing
 * cell. */
static bool drop_rows(Session *s, const AbiBlock *b, const DataSet *given, Dim dim,
                      int64_t *dropped) {
    VEC(Array *) of = {0};
    for (int k = 0; k < b->data.n; k++) {
        const AbiData *d = &b->data.p[k];
        Array *a = d->type.rank && d->type.shape[0] == dim ? dataset_get(given, d->name) : NULL;
        if (!a || !a->rank)
            continue;
        if (of.n && a->shape[0] != of.p[0]->shape[0])
            return true; /* binding the shapes will say so */
        vec_push(s->arena, &of, a);
    }
    int64_t n = of.n ? of.p[0]->shape[0] : 0, kept = 0;
    bool *drop = ARENA_ARRAY(s->arena, bool, n + 1);
    for (int k = 0; k < of.n; k++)
        mark_missing(of.p[k], drop);
    for (int64_t r = 0; r < n; r++)
        kept += !drop[r];
    *dropped += n - kept;
    if (kept == 0 && n) {
        session_file_error(s, nowhere, "`%s`: every row has a missing value", of.p[0]->origin);
        return false;
    }
    for (int k = 0; k < of.n && kept < n; k++)
        keep_rows(s, of.p[k], drop, kept);
    return true;
}

bool bind_drop_missing(Session *s, const AbiBlock *b, const DataSet *given, int64_t *dropped) {
    *dropped = 0;
    for (int k = 0; k < b->data.n; k++) {
        Dim dim = b->data.p[k].type.rank ? b->data.p[k].type.shape[0] : NULL;
        bool earlier = false;
        for (int j = 0; j < k && dim; j++)
            earlier |= b->data.p[j].type.rank && b->data.p[j].type.shape[0] == dim;
        if (dim && !earlier && !drop_rows(s, b, given, dim, dropped))
            return false;
    }
    return true;
}
