/* The posterior of a closed form as a text, "Beta(9, 5)", and its mean: values come from the
 * compiled entry, moments from the distribution's stanza. */
#include <math.h>

#include "driver/fit_result.h"
#include "ir/dist.h"
#include "ir/interp.h"

enum { MOST_SHOWN = 16 }; /* densities of a parameter; more are left out of the text */

double fit_posterior_mean(Ctx *ctx, Arena *arena, const char *family, const double *values, int n) {
    const DistDef *d = dist_named(str_of(ctx, family));
    Val params[DIST_MOST_PARAMS];
    Tensor cells[DIST_MOST_PARAMS], out;
    const Tensor *args[DIST_MOST_PARAMS];
    if (!d || d->vectors[0] || n != d->forms[0].n_params)
        return NAN;
    Module *m = graph_module_new(ctx, arena, str_of(ctx, "posterior"));
    Func *f = graph_func_new(m, str_of(ctx, "mean"), (Span){0});
    f->real = DT_F64;
    f->block = -1;
    for (int k = 0; k < n; k++) {
        Param p = {.name = str_fmt(ctx, "p%d", k), .role = ROLE_INPUT, .tensor = -1};
        params[k] = graph_param(m, f, p, type_scalar(DT_F64));
        cells[k] = tensor_new(arena, DT_F64, 0, NULL);
        cells[k].f[0] = values[k];
        args[k] = &cells[k];
    }
    DistCall c = {.m = m, .f = f, .params = params, .type = type_scalar(DT_F64), .name = f->name};
    Result r = {.val = dist_mean(d, &c), .name = f->name, .role = RES_OUT, .of = -1};
    graph_result(m, f, r);
    Interp in = {.ctx = ctx, .arena = arena, .m = m};
    return interp_run(&in, f, NULL, 0, args, &out) && out.f ? out.f[0] : NAN;
}

/* Density number k: each parameter of the family has p->count values, p->width of them for this
 * density. */
static void put_density(StrBuf *sb, const FitPosterior *p, int64_t k) {
    sb_printf(sb, "%s(", p->family);
    for (int j = 0; j < p->n_values; j++) {
        const double *at = p->values + j * p->count + k * p->width;
        sb_put(sb, j ? ", " : "");
        sb_put(sb, p->width > 1 ? "[" : "");
        for (int64_t i = 0; i < p->width; i++)
            sb_printf(sb, "%s%.10g", i ? ", " : "", at[i]);
        sb_put(sb, p->width > 1 ? "]" : "");
    }
    sb_putc(sb, ')');
}

void fit_posterior_text(StrBuf *sb, const FitPosterior *p) {
    int64_t n = p->width > 0 ? p->count / p->width : 0;
    for (int64_t k = 0; k < n && k < MOST_SHOWN; k++) {
        sb_put(sb, sb->len ? "; " : "");
        if (!p->alone)
            sb_printf(sb, "%s ~ ",
                      p->width > 1 && n == 1 ? p->path : p->elements[k * p->width].name);
        put_density(sb, p, k);
    }
    if (n > MOST_SHOWN)
        sb_put(sb, "; ...");
}
