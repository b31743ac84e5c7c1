/* density: log densities, expanded by their distribution before differentiation. */
#include "ir/dist.h"
#include "ir/ops/attr.h"

static const char *density_type(Module *m, const Func *f, const Val *args, int n_args,
                                const void *attr, Type *out, int *n_out) {
    (void)f, (void)args;
    const DensityAttr *a = attr;
    if (!a->dist || a->form < 0 || a->form >= a->dist->n_forms)
        return type_error(m, "names no distribution");
    if (n_args != 1 + a->dist->forms[a->form].n_params)
        return type_error(m, "%s has %d parameters, not %d", a->dist->name,
                          a->dist->forms[a->form].n_params, n_args - 1);
    if (!dtype_is_real(a->type.dt))
        return type_error(m, "a log density is real");
    out[(*n_out)++] = a->type;
    return NULL;
}

/* The expansion, run as a function of its own. */
static bool density_eval(Interp *in, const Func *f, const Inst *i, const Tensor *const *args,
                         Tensor *out) {
    Module *m = graph_module_new(in->ctx, in->arena, in->m->source);
    Func *d = dist_function(m, f, i);
    return interp_run(in, d, in->dims, in->n_dims, args, out);
}

static void density_print(StrBuf *sb, const Module *m, const Func *f, const Inst *i) {
    (void)m, (void)f;
    const DensityAttr *a = i->attr;
    sb_printf(sb, "{%s", a->dist->name);
    if (a->form)
        sb_printf(sb, " form %d", a->form);
    sb_putc(sb, '}');
}

static const void *density_read(IrReader *r) {
    DensityAttr a = {.type = r->type};
    text_expect(&r->t, "{");
    Str name = text_word(&r->t, "a distribution");
    a.dist = dist_named(name);
    if (!a.dist)
        text_fail(&r->t, "`%s` is no distribution", name);
    if (text_accept(&r->t, "form"))
        a.form = (int)text_int(&r->t, "a form");
    text_expect(&r->t, "}");
    return ATTR_COPY(r->t.ctx, &a);
}

static const void *density_subst(Ctx *ctx, const void *attr, const DimBinding *b, int n) {
    DensityAttr a = *(const DensityAttr *)attr;
    a.type = attr_type(ctx, a.type, b, n);
    return ATTR_COPY(ctx, &a);
}

const OpDef op_density = {
    .name = "density",
    .n_args = -1,
    .family = FAM_DENSITY,
    .flags = OPF_PURE,
    .doc = "log densities of x under a distribution: density(x, parameters..)",
    .type = density_type,
    .eval = density_eval,
    .print = density_print,
    .read = density_read,
    .subst = density_subst,
};
