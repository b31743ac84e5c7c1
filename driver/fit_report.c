/* The reports of an estimator: E.report runs, and its values as JSON and as text. */
#include "driver/fit_train.h"

static int by_offset(Session *s, const DimEnv *env, const LoopBuf *a, const LoopBuf *b) {
    int64_t x = 0, y = 0;
    env_eval(s, env, a->offset, "report", &x);
    env_eval(s, env, b->offset, "report", &y);
    return x < y ? -1 : x > y;
}

/* Runs E.report on these rows; false after an error. */
bool report_run(Session *s, Fit *f, const FitData *d, Report *out) {
    const LoopFunc *lf = program_entry(&f->p, ENTRY_REPORT, f->block->name);
    *out = (Report){0};
    if (!lf || !f->block->reports.n || !d->rows)
        return true;
    Call c = call_new(&f->p, lf, &f->env);
    env_set(s, &c.env, f->block->using_.rows, d->rows);
    int arg = call_arg(lf, ARG_VALUES), n = 0;
    const LoopBuf **bufs = ARENA_ARRAY(s->arena, const LoopBuf *, lf->bufs.n + 1);
    for (int k = 0; k < lf->bufs.n; k++)
        if (lf->bufs.p[k]->kind == BUF_ARG && lf->bufs.p[k]->arg == arg)
            bufs[n++] = lf->bufs.p[k];
    for (int k = 1; k < n; k++)
        for (int j = k; j > 0 && by_offset(s, &c.env, bufs[j], bufs[j - 1]) < 0; j--) {
            const LoopBuf *t = bufs[j];
            bufs[j] = bufs[j - 1];
            bufs[j - 1] = t;
        }
    out->values = arena_array(s->arena, (size_t)n + 1, sizeof *out->values);
    int64_t total = 0;
    for (int k = 0; k < n; k++) {
        env_eval(s, &c.env, type_count(s->ctx, (Type){DT_F64, bufs[k]->rank, bufs[k]->shape}),
                 "report", &out->values[k].count);
        out->values[k].name = f->block->reports.p[k];
        total += out->values[k].count;
    }
    double *all = ARENA_ARRAY(s->arena, double, total + 1);
    out->n = n;
    for (int k = 0, at = 0; k < n; at += (int)out->values[k++].count)
        out->values[k].at = all + at;
    fit_set_inputs(&c, d);
    call_set(&c, ARG_HYPER, &f->hyper);
    call_set(&c, ARG_PARAMS, f->v.params);
    call_set(&c, ARG_STATE, f->v.state);
    call_set(&c, ARG_VALUES, all);
    int status = call_run(&c);
    if (status)
        session_file_error(s, (Span){0}, "report: %s", call_status(&f->p, status));
    return status == 0;
}

void report_json(StrBuf *sb, const Report *r) {
    if (!r->n) {
        sb_put(sb, "null");
        return;
    }
    sb_putc(sb, '{');
    for (int k = 0; k < r->n; k++) {
        sb_printf(sb, "%s\"%s\":", k ? "," : "", r->values[k].name);
        bool list = r->values[k].count != 1;
        sb_put(sb, list ? "[" : "");
        for (int64_t j = 0; j < r->values[k].count; j++) {
            sb_put(sb, j ? "," : "");
            json_real(sb, r->values[k].at[j]);
        }
        sb_put(sb, list ? "]" : "");
    }
    sb_putc(sb, '}');
}

void report_text(StrBuf *sb, const char *what, const Report *r) {
    for (int k = 0; k < r->n; k++) {
        if (r->values[k].count == 1)
            sb_printf(sb, "   %s%s %.4g", what, r->values[k].name, r->values[k].at[0]);
    }
}
