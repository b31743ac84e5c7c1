/* An exact fit for people: a heading, the criteria, a line for each estimate. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "driver/fit_result.h"
#include "ir/op.h"

enum { RIGHT = 50, RIGHT_OF_CRITERIA = 61, CELL = 40, COLUMNS = 6 };

static const char *const methods[] = {"no estimation", "closed form", "least squares", "Newton",
                                      "L-BFGS"};

/* Ends the left part of a line and begins its right part. */
static void pad_to(StrBuf *sb, size_t start, size_t column) {
    size_t width = sb->len - start;
    sb_printf(sb, "%*s", (int)(width + 4 > column ? 4 : column - width), "");
}

/* Fits of many rows leave out the evaluation after their last step (FIT_THRIFTY of
 * runtime/rt_fit.h): the number is then a bound, and said to be one, rounded up. */
static void put_gradient(StrBuf *sb, const FitResult *r) {
    double g = r->info.grad_norm, unit = pow(10, floor(log10(g)));
    if (g == 0)
        sb_put(sb, ", |grad| 0");
    else if (r->info.method == BY_NEWTON && r->info.observations >= FIT_MANY_ROWS)
        sb_printf(sb, ", |grad| < %.0e", ceil(g / unit * (1 + 1e-9)) * unit);
    else
        sb_printf(sb, ", |grad| %.0e", g);
}

static void put_method(StrBuf *sb, const FitResult *r) {
    int m = r->info.method;
    sb_put(sb, methods[m >= BY_NONE && m <= BY_LBFGS ? m : BY_NONE]);
    if (r->closed)
        sb_printf(sb, " (%s)", r->closed);
    sb_printf(sb, ", %d iteration%s", r->info.iterations, r->info.iterations == 1 ? "" : "s");
    if (m != BY_CLOSED && isfinite(r->info.grad_norm))
        put_gradient(sb, r);
    if (r->status != FIT_CONVERGED)
        sb_put(sb, r->status == FIT_STOPPED ? ", STOPPED" : ", NOT CONVERGED");
}

static void put_heading(StrBuf *sb, const FitResult *r, const char *prior) {
    size_t start = sb->len;
    sb_printf(sb, "%s: %lld observation%s", r->estimator, (long long)r->info.observations,
              r->info.observations == 1 ? "" : "s");
    if (r->features >= 0)
        sb_printf(sb, ", %lld feature%s", (long long)r->features, r->features == 1 ? "" : "s");
    if (prior)
        sb_printf(sb, ", prior %s", prior);
    pad_to(sb, start, RIGHT);
    put_method(sb, r);
    sb_putc(sb, '\n');
}

static bool any_error(const FitResult *r) {
    for (int64_t k = 0; k < r->n_rows; k++)
        if (isfinite(r->rows[k].std_error))
            return true;
    return false;
}

static void put_source(StrBuf *sb, const FitResult *r) {
    if (!any_error(r))
        sb_put(sb, "no standard errors");
    else if (r->info.method == BY_LSQ && r->by_t)
        sb_printf(sb, "standard errors: s^2 (J'J)^-1, t on %.10g degrees", r->info.df);
    else if (r->info.method == BY_LSQ)
        sb_put(sb, "standard errors: (J'J)^-1 with the known scale");
    else
        sb_put(sb, "standard errors: observed Hessian, positive definite");
}

static void put_criteria(StrBuf *sb, const FitResult *r) {
    size_t start = sb->len;
    bool perfect = r->info.method == BY_LSQ && !isfinite(r->info.loglik);
    if (isnan(r->info.loglik) && !perfect)
        return;
    if (perfect)
        sb_put(sb, "log likelihood without bound: a perfect fit");
    else
        sb_printf(sb, "log likelihood %.4f", r->info.loglik);
    if (r->map && !isnan(r->info.logprior))
        sb_printf(sb, "    log prior %.4f", r->info.logprior);
    if (isfinite(r->aic) && isfinite(r->bic))
        sb_printf(sb, "    AIC %.2f    BIC %.2f", r->aic, r->bic);
    pad_to(sb, start, RIGHT_OF_CRITERIA);
    put_source(sb, r);
    sb_putc(sb, '\n');
}

static void put_residuals(StrBuf *sb, const FitResult *r) {
    if (r->info.method != BY_LSQ || isnan(r->info.s2))
        return;
    sb_printf(sb, "residual standard error %.6g on %.10g degrees of freedom", sqrt(r->info.s2),
              r->info.df);
    if (isfinite(r->info.r2))
        sb_printf(sb, "    R^2 %.6f", r->info.r2);
    sb_putc(sb, '\n');
}

/* ---- the columns */

typedef struct Cells {
    char text[COLUMNS][CELL];
} Cells;

/* Four decimals, where they show at least two digits of the error and the number is no longer than
 * nine digits; else five significant ones. One form for a row. */
static bool is_plain(const FitRow *e) {
    double scale = isfinite(e->std_error) && e->std_error > 0 ? e->std_error : fabs(e->estimate);
    return (scale >= 1e-3 || scale == 0) && fabs(e->estimate) < 1e6 && scale < 1e6;
}

static void put_number(char *out, double v, bool plain) {
    if (isnan(v))
        out[0] = 0;
    else
        snprintf(out, CELL, plain ? "%.4f" : "%.4e", v == 0 ? 0 : v);
}

static Cells cells_of(const FitRow *e) {
    Cells c;
    bool plain = is_plain(e);
    put_number(c.text[0], e->estimate, plain);
    put_number(c.text[1], e->std_error, plain);
    if (e->held)
        snprintf(c.text[1], CELL, "held");
    c.text[2][0] = c.text[3][0] = 0;
    if (!isnan(e->statistic))
        snprintf(c.text[2], CELL, fabs(e->statistic) < 1e6 ? "%.2f" : "%.3e", e->statistic);
    if (!isnan(e->p))
        snprintf(c.text[3], CELL, e->p < 5e-5 ? "<0.0001" : "%.4f", e->p);
    put_number(c.text[4], e->low, plain);
    put_number(c.text[5], e->high, plain);
    return c;
}

/* Widths of the columns with their distance; 0: the column is empty everywhere. */
typedef struct Layout {
    int name, width[COLUMNS];
} Layout;

static Layout layout_of(const FitResult *r) {
    static const int least[COLUMNS] = {10, 10, 8, 9, 11, 11};
    Layout l = {.name = 8};
    for (int64_t k = 0; k < r->n_rows; k++) {
        Cells c = cells_of(&r->rows[k]);
        int n = (int)strlen(r->rows[k].name);
        l.name = n > l.name ? n : l.name;
        for (int j = 0; j < COLUMNS; j++) {
            n = (int)strlen(c.text[j]);
            if (n && l.width[j] < least[j])
                l.width[j] = least[j];
            if (n + 2 > l.width[j] && n)
                l.width[j] = n + 2;
        }
    }
    return l;
}

static void put_columns(StrBuf *sb, const FitResult *r) {
    const char *heads[COLUMNS] = {
        "estimate", "std.err.", r->by_t ? "t" : "z", r->by_t ? "P>|t|" : "P>|z|",
        "[0.025",   "0.975]"};
    Layout l = layout_of(r);
    sb_printf(sb, "  %-*s", l.name, "");
    for (int j = 0; j < COLUMNS; j++)
        if (l.width[j])
            sb_printf(sb, "%*s", l.width[j], heads[j]);
    sb_putc(sb, '\n');
    for (int64_t k = 0; k < r->n_rows; k++) {
        Cells c = cells_of(&r->rows[k]);
        int blanks = 0; /* held back: no line ends in them */
        sb_printf(sb, "  %-*s", l.name, r->rows[k].name);
        for (int j = 0; j < COLUMNS; j++) {
            if (c.text[j][0]) {
                sb_printf(sb, "%*s", blanks + l.width[j], c.text[j]);
                blanks = 0;
            } else {
                blanks += l.width[j];
            }
        }
        sb_putc(sb, '\n');
    }
}

static void put_posterior(StrBuf *sb, const FitResult *r) {
    sb_printf(sb, "posterior: %s", r->posterior);
    if (isfinite(r->posterior_mean))
        sb_printf(sb, ", mean %.4f", r->posterior_mean);
}

static void put_notes(StrBuf *sb, const FitResult *r) {
    for (int k = 0; k < r->notes.n; k++)
        sb_printf(sb, "note: %s\n", r->notes.p[k]);
}

void fit_table(StrBuf *sb, const FitResult *r) {
    put_heading(sb, r, r->map ? r->prior : NULL);
    put_criteria(sb, r);
    put_residuals(sb, r);
    if (r->n_rows)
        put_columns(sb, r);
    if (r->posterior) {
        put_posterior(sb, r);
        sb_putc(sb, '\n');
    }
    put_notes(sb, r);
}

static void put_short(StrBuf *sb, int name, const FitRow *e, const char *what) {
    Cells c = cells_of(e);
    sb_printf(sb, "  %-*s%-5s%*s", name, e->name, what, 18 - 8 - 2, c.text[0]);
    if (c.text[1][0])
        sb_printf(sb, "%11s", c.text[1]);
}

void fit_table_both(StrBuf *sb, const FitResult *mle, const FitResult *map) {
    int name = 5;
    for (int64_t k = 0; k < map->n_rows; k++)
        name =
            (int)strlen(map->rows[k].name) + 2 > name ? (int)strlen(map->rows[k].name) + 2 : name;
    put_heading(sb, map, map->prior);
    sb_printf(sb, "  %-*s%*s%11s\n", name + 5, "", 8, "estimate", "std.err.");
    for (int64_t k = 0; k < map->n_rows; k++) {
        if (mle) {
            put_short(sb, name, &mle->rows[k], "MLE");
            if (k == 0 && map->posterior) {
                sb_printf(sb, "%*s", isnan(mle->rows[k].std_error) ? 19 : 8, "");
                put_posterior(sb, map);
            }
            sb_putc(sb, '\n');
        }
        put_short(sb, name, &map->rows[k], "MAP");
        sb_putc(sb, '\n');
    }
    put_notes(sb, map);
}
