/* What a saved estimate knows beside its tensors: values of J and the label texts of index(J), as
 * metadata
 *
 *     "dim.J": "3"    "labels.J": ["blue","green","red"]
 *     "labels.data.c": [...]    of an index with a constant bound
 *
 * so that later data are numbered as those of the fit were. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "driver/fit.h"

static void put(Session *s, Tensors *t, const char *name, const char *text) {
    Array *a = ARENA_NEW(s->arena, Array);
    a->origin = text;
    vec_push(s->arena, &t->meta, (NamedArray){name, a});
}

static bool is_label_dim(const AbiBlock *b, DimSym d) {
    for (int k = 0; k < b->data.n; k++)
        if (b->data.p[k].kind == KIND_INDEX && b->data.p[k].bound &&
            dim_as_symbol(b->data.p[k].bound) == d)
            return true;
    return false;
}

static const char *list_text(Session *s, const AxisLabels *l) {
    StrBuf sb = sb_new(s->arena);
    for (int64_t k = 0; k < l->n; k++) {
        sb_putc(&sb, k ? ',' : '[');
        diag_json_text(&sb, l->names[k]);
    }
    sb_put(&sb, l->n ? "]" : "[]");
    return sb.text;
}

void fit_save_meta(Session *s, const Fit *f, Tensors *t) {
    const AbiBlock *b = f->block;
    int64_t v;
    put(s, t, "estimator", b->name);
    for (int k = 0; k < b->dims.n; k++)
        if (is_label_dim(b, b->dims.p[k]) && env_get(&f->env, b->dims.p[k], &v))
            put(s, t, str_fmt(s->ctx, "dim.%s", b->dims.p[k]->name),
                str_fmt(s->ctx, "%lld", (long long)v));
    for (int k = 0; k < f->labels.n; k++) {
        const AxisLabels *l = &f->labels.p[k];
        if (!l->dim)
            put(s, t, str_fmt(s->ctx, "labels.data.%s", l->data), list_text(s, l));
        else if (is_label_dim(b, l->dim))
            put(s, t, str_fmt(s->ctx, "labels.%s", l->dim->name), list_text(s, l));
    }
}

/* ---- reading: the file is hostile */

static bool bad(Session *s, const char *path, const char *name) {
    session_file_error(s, (Span){0}, "`%s`: its metadata `%.100s` cannot be read", path, name);
    return false;
}

static bool read_labels(Session *s, const char *text, AxisLabels *out) {
    const char **names;
    if (!json_texts(s, text, &names, &out->n))
        return false;
    for (int64_t k = 1; k < out->n; k++)
        if (strcmp(names[k - 1], names[k]) >= 0) /* they are searched by halves */
            return false;
    out->names = names;
    return true;
}

static DimSym dim_named(const AbiBlock *b, const char *name) {
    for (int k = 0; k < b->dims.n; k++)
        if (strcmp(b->dims.p[k]->name, name) == 0 && is_label_dim(b, b->dims.p[k]))
            return b->dims.p[k];
    return NULL;
}

static bool take_meta(Session *s, Fit *f, const char *path, const char *name, const char *text) {
    DimSym d = strncmp(name, "dim.", 4) == 0 ? dim_named(f->block, name + 4) : NULL;
    if (d) {
        char *end;
        errno = 0;
        long long v = strtoll(text, &end, 10);
        if (errno || end == text || *end || v < 1 || v > INT32_MAX)
            return bad(s, path, name);
        env_set(s, &f->env, d, v);
    }
    if (strncmp(name, "labels.", 7) != 0)
        return true;
    bool of_data = strncmp(name + 7, "data.", 5) == 0;
    AxisLabels l = {.dim = of_data ? NULL : dim_named(f->block, name + 7),
                    .data = name + 7 + (of_data ? 5 : 0)};
    if (!of_data && !l.dim)
        return true;
    if (!read_labels(s, text, &l))
        return bad(s, path, name);
    vec_push(s->arena, &f->labels, l);
    return true;
}

bool fit_read_init(Session *s, Fit *f, const char *path) {
    if (!path)
        return true;
    if (!safetensors_read(s, path, &f->init))
        return false;
    f->init_path = path;
    for (int k = 0; k < f->init.meta.n; k++)
        if (!take_meta(s, f, path, f->init.meta.p[k].name, f->init.meta.p[k].array->origin))
            return false;
    return true;
}
