/* The data of an estimator: bound to their declared shapes and kinds, and given to calls. */
#include <string.h>

#include "driver/fit.h"

static bool all_known(Session *s, const AbiBlock *b, const DataSet *given) {
    const char **names = ARENA_ARRAY(s->arena, const char *, b->data.n + 1);
    for (int j = 0; j < b->data.n; j++)
        names[j] = b->data.p[j].name;
    for (int k = 0; k < given->all.n; k++) {
        const char *name = given->all.p[k].name, *near = NULL;
        bool known = false;
        for (int j = 0; j < b->data.n; j++)
            known |= strcmp(names[j], name) == 0;
        if (known)
            continue;
        near = diag_nearest(name, names, b->data.n);
        session_usage(s,
                      near ? "`%s` has no data `%s`; did you mean `%s`?" : "`%s` has no data `%s`",
                      b->name, name, near ? near : "");
        return false;
    }
    return true;
}

/* CSV columns name the positions of the last axis. */
static void add_columns(Session *s, const AbiData *d, const Array *a, LabelList *labels) {
    DimSym sym = d->type.rank > 1 ? dim_as_symbol(d->type.shape[d->type.rank - 1]) : NULL;
    if (!a->columns || !sym)
        return;
    for (int k = 0; k < labels->n; k++)
        if (labels->p[k].dim == sym)
            return;
    vec_push(s->arena, labels, (AxisLabels){sym, d->name, a->columns, a->n_columns});
}

static bool bind_column(Session *s, Fit *f, DimEnv *env, const Array *a, FitColumn *c) {
    const AbiData *d = c->data;
    const AbiUsing *u = &f->block->using_;
    int64_t bound = 0;
    if (!bind_shape(s, env, d->name, d->type, a) ||
        (d->bound && !env_eval(s, env, d->bound, d->name, &bound)))
        return false;
    add_columns(s, d, a, &f->labels);
    c->from = a;
    c->cells = bind_cells(s, d->name, a, d->type.dt, d->kind, bound);
    c->by_row = u->present && d->type.rank && dim_mentions(d->type.shape[0], u->rows);
    c->row_bytes = (size_t)a->count * dtype_size(d->type.dt);
    return c->cells && bind_finite(s, d->name, a);
}

bool fit_bind_data(Session *s, Fit *f, const DataSet *given, DimEnv *env, FitData *out,
                   bool need_all) {
    const AbiBlock *b = f->block;
    bool drop = s->o.na && strcmp(s->o.na, "drop") == 0;
    *out = (FitData){.columns = ARENA_ARRAY(s->arena, FitColumn, b->data.n + 1), .n = b->data.n};
    if (!all_known(s, b, given) || (drop && !bind_drop_missing(s, b, given, &out->dropped)))
        return false;
    for (int k = 0; k < b->data.n && need_all; k++)
        if (!dataset_get(given, b->data.p[k].name)) {
            session_usage(s, "the data `%s` of `%s` are not given: --data %s=FILE",
                          b->data.p[k].name, b->name, b->data.p[k].name);
            return false;
        }
    if (!bind_labels(s, b, given, env, &f->labels))
        return false;
    for (int k = 0; k < b->data.n; k++) {
        const Array *a = dataset_get(given, b->data.p[k].name);
        out->columns[k].data = &b->data.p[k];
        if (a && !bind_column(s, f, env, a, &out->columns[k]))
            return false;
    }
    if (b->using_.rows && !env_get(env, b->using_.rows, &out->rows))
        out->rows = 0;
    for (int k = 0; k < out->n && out->rows; k++)
        if (out->columns[k].by_row)
            out->columns[k].row_bytes /= (size_t)out->rows;
    return true;
}

void fit_set_inputs(Call *c, const FitData *d) {
    for (int k = 0; k < d->n; k++) {
        const FitColumn *from = &d->columns[k];
        int arg = from->cells ? call_arg_named(c->f, from->data->name) : -1;
        if (arg < 0)
            continue;
        c->args[arg].p = from->cells;
        if (c->f->entry->args.p[arg].kind != ARG_SCALAR)
            continue;
        switch (from->data->type.dt) {
        case DT_F32:
            c->args[arg].f = (double)*(const float *)from->cells;
            break;
        case DT_F64:
            c->args[arg].f = *(const double *)from->cells;
            break;
        case DT_BOOL:
            c->args[arg].i = *(const uint8_t *)from->cells;
            break;
        case DT_I64:
            c->args[arg].i = *(const int64_t *)from->cells;
            break;
        default:
            c->args[arg].i = *(const int32_t *)from->cells;
            break;
        }
    }
}
