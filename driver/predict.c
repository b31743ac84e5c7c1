/* cnnc predict FILE ESTIMATOR --init W --data X=...: the mean of each likelihood. */
#include <string.h>

#include "driver/fit.h"

static void put(Session *s, const char *name, const Array *a, bool many) {
    if (s->o.out_file && many)
        session_usage(s, "--out takes one prediction; `--json` prints all");
    else if (s->o.out_file)
        data_save(s, s->o.out_file, a);
    else if (s->o.json)
        print_array_json(s, &s->out, name, a);
    else
        print_array(s, &s->out, a);
}

/* A prediction stands under the name of its data, class probabilities under the texts of their
 * labels. */
static void name_columns(Session *s, const Fit *f, const char *name, Array *a) {
    if (a->rank == 1) {
        const char **one = ARENA_ARRAY(s->arena, const char *, 1);
        one[0] = name;
        a->columns = one;
        a->n_columns = 1;
    }
    for (int k = 0; k < f->block->data.n; k++) {
        const AbiData *d = &f->block->data.p[k];
        DimSym dim = d->bound ? dim_as_symbol(d->bound) : NULL;
        for (int j = 0; j < f->labels.n && d->kind == KIND_INDEX && strcmp(d->name, name) == 0;
             j++) {
            const AxisLabels *l = &f->labels.p[j];
            bool its = dim ? l->dim == dim : !l->dim && strcmp(l->data, name) == 0;
            if (!its || a->rank < 2 || a->shape[a->rank - 1] != l->n)
                continue;
            a->columns = l->names;
            a->n_columns = l->n;
        }
    }
}

static void predict(Session *s, Fit *f) {
    const LoopFunc *lf = program_entry(&f->p, ENTRY_PREDICT, f->block->name);
    DataSet given;
    FitData d;
    if (!s->o.init) {
        session_usage(s, "`cnnc predict` wants --init FILE: the parameters");
        return;
    }
    if (!lf) {
        session_usage(s, "`%s` has no likelihood to predict by", f->block->name);
        return;
    }
    if (!dataset_load(s, &s->o.data, &given) || !fit_read_init(s, f, s->o.init) ||
        !fit_bind_data(s, f, &given, &f->env, &d, false))
        return;
    for (int k = 0; k < d.n; k++)
        if (!d.columns[k].cells && call_arg_named(lf, d.columns[k].data->name) >= 0) {
            session_usage(s, "the data `%s` of `%s` are not given: --data %s=FILE",
                          d.columns[k].data->name, f->block->name, d.columns[k].data->name);
            return;
        }
    fit_hyper(s, f->block, &f->hyper);
    if (!fit_init(s, f, &d))
        return;
    Call c = call_new(&f->p, lf, &f->env);
    fit_set_inputs(&c, &d);
    call_set(&c, ARG_HYPER, &f->hyper);
    call_set(&c, ARG_PARAMS, f->v.params);
    call_set(&c, ARG_STATE, f->v.state);
    VEC(NamedArray) outs = {0};
    for (int k = 0; k < lf->entry->args.n; k++) {
        if (lf->entry->args.p[k].kind != ARG_OUT)
            continue;
        const char *name = call_arg_buf(lf, k)->name; /* of the likelihood: "y" */
        Array *a = call_out(&c, k, name);
        if (!a)
            return;
        c.args[k].p = a->data;
        name_columns(s, f, name, a);
        vec_push(s->arena, &outs, (NamedArray){name, a});
    }
    int status = call_run(&c);
    if (status) {
        session_file_error(s, (Span){0}, "%s", call_status(&f->p, status));
        return;
    }
    for (int k = 0; k < outs.n; k++)
        put(s, outs.p[k].name, outs.p[k].array, outs.n > 1);
}

void command_predict(Session *s) {
    Fit f;
    SESSION_SKIP(ENTRY_FORWARD, ENTRY_LOSS_GRAD, ENTRY_STEP, ENTRY_REPORT, ENTRY_LOGP, ENTRY_GRAD, ENTRY_FIT);
    if (fit_open(s, &f, NULL))
        predict(s, &f);
    program_close(&f.p);
}
