/* The data of an estimator: bound to their declared shapes and kinds, and given to calls. */
#include <string.h>

#include "driver/fit.h"

bool fit_bind_data(Session *s, const AbiBlock *b, const DataSet *given, DimEnv *env, FitData *out,
                   bool need_all) {
    *out = (FitData){.columns = ARENA_ARRAY(s->arena, FitColumn, b->data.n + 1), .n = b->data.n};
    for (int k = 0; k < given->all.n; k++) {
        bool known = false;
        for (int j = 0; j < b->data.n; j++)
            known |= strcmp(b->data.p[j].name, given->all.p[k].name) == 0;
        if (!known) {
            session_usage(s, "`%s` has no data `%s`", b->name, given->all.p[k].name);
            return false;
        }
    }
    for (int k = 0; k < b->data.n; k++) {
        const AbiData *d = &b->data.p[k];
        Array *a = dataset_get(given, d->name);
        int64_t bound = 0;
        out->columns[k].data = d;
        if (!a && !need_all)
            continue;
        if (!a) {
            session_usage(s, "the data `%s` of `%s` are not given: --data %s=FILE", d->name,
                          b->name, d->name);
            return false;
        }
        DimSym free_bound = d->bound ? dim_as_symbol(d->bound) : NULL;
        int64_t known;
        if (free_bound && !env_get(env, free_bound, &known))
            env_set(s, env, free_bound, bind_labels(s, a));
        if (!bind_shape(s, env, d->name, d->type, a) ||
            (d->bound && !env_eval(s, env, d->bound, d->name, &bound)))
            return false;
        out->columns[k].cells = bind_cells(s, d->name, a, d->type.dt, d->kind, bound);
        if (!out->columns[k].cells)
            return false;
        out->columns[k].by_row =
            b->using_.present && d->type.rank && dim_mentions(d->type.shape[0], b->using_.rows);
        out->columns[k].row_bytes = (size_t)(a->count ? a->count : 0) * dtype_size(d->type.dt);
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
        int arg = d->columns[k].cells ? call_arg_named(c->f, d->columns[k].data->name) : -1;
        if (arg < 0)
            continue;
        c->args[arg].p = d->columns[k].cells;
        if (c->f->entry->args.p[arg].kind != ARG_SCALAR)
            continue;
        if (dtype_is_real(c->f->entry->args.p[arg].dt))
            c->args[arg].f = d->columns[k].data->type.dt == DT_F32
                                 ? (double)*(const float *)d->columns[k].cells
                                 : *(const double *)d->columns[k].cells;
        else
            c->args[arg].i = *(const int32_t *)d->columns[k].cells;
    }
}
