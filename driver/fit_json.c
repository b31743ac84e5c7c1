/* An exact fit for machines: one JSON object on one line, and the table as CSV; 17 significant
 * digits. */
#include <math.h>

#include "driver/fit_result.h"

static const char *const methods[] = {"none", "closed form", "least squares", "newton", "lbfgs"};

static void member(StrBuf *sb, const char *name, double v) {
    sb_printf(sb, ",\"%s\":", name);
    json_real(sb, v);
}

void fit_json(StrBuf *sb, const FitResult *r) {
    const FitInfo *i = &r->info;
    int method = i->method >= BY_NONE && i->method <= BY_LBFGS ? i->method : BY_NONE;
    sb_printf(sb, "{\"estimator\":\"%s\",\"mode\":\"%s\",\"method\":\"%s\",\"observations\":%lld,",
              r->estimator, r->map ? "map" : "mle", methods[method], (long long)i->observations);
    sb_printf(sb, "\"iterations\":%d,\"converged\":%s", i->iterations,
              r->status == FIT_CONVERGED ? "true" : "false");
    member(sb, "loglik", i->loglik);
    member(sb, "logprior", r->map ? i->logprior : NAN);
    member(sb, "aic", r->aic);
    member(sb, "bic", r->bic);
    member(sb, "grad_norm", i->grad_norm);
    member(sb, "s2", i->s2);
    member(sb, "df", i->df);
    member(sb, "r2", i->r2);
    sb_put(sb, ",\"posterior\":");
    if (r->posterior)
        diag_json_text(sb, r->posterior);
    else
        sb_put(sb, "null");
    sb_put(sb, ",\"estimates\":[");
    for (int64_t k = 0; k < r->n_rows; k++) {
        const FitRow *e = &r->rows[k];
        sb_put(sb, k ? ",{\"name\":" : "{\"name\":");
        diag_json_text(sb, e->name);
        member(sb, "estimate", e->estimate);
        member(sb, "std_error", e->std_error);
        member(sb, "statistic", e->statistic);
        member(sb, "p", e->p);
        member(sb, "low", e->low);
        member(sb, "high", e->high);
        sb_putc(sb, '}');
    }
    sb_put(sb, "]}\n");
}

void fit_csv(StrBuf *sb, const FitResult *r) {
    sb_put(sb, "name,estimate,std_error,statistic,p,low,high\n");
    for (int64_t k = 0; k < r->n_rows; k++) {
        const FitRow *e = &r->rows[k];
        const double cells[] = {e->estimate, e->std_error, e->statistic, e->p, e->low, e->high};
        csv_put_text(sb, e->name);
        for (size_t c = 0; c < sizeof cells / sizeof *cells; c++) {
            sb_putc(sb, ',');
            if (isfinite(cells[c]))
                sb_printf(sb, "%.17g", cells[c]);
        }
        sb_putc(sb, '\n');
    }
}
