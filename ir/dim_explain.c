/* One line that says why two dims differ. */
#include "ir/dim_priv.h"

#include <string.h>

enum { MOST_NAMES = 5, MOST_VALUE = 5 };

static const char *side(Ctx *ctx, Dim a, const char *why) {
    const char *t = dim_text(ctx, a);
    return !why || strcmp(t, why) == 0 ? t : str_fmt(ctx, "%s = %s", t, why);
}

/* x = q*(p // q) against y = p: equal only if q divides p. */
static const char *divided(Ctx *ctx, Dim x, const char *x_side, Dim y, const char **help) {
    if (x->n != 1)
        return NULL;
    for (int j = 0; j < x->terms[0].n_atoms; j++) {
        const DimAtom *f = x->terms[0].atoms[j];
        Dim rem = NULL;
        if (f->kind != DIM_FLOOR || x != dim_mul(ctx, f->den, dim_of_atom(ctx, f)))
            continue;
        dim_divide(ctx, dim_sub(ctx, f->num, y), f->den, &rem);
        if (!rem || rem->n)
            continue;
        const char *den = dim_text(ctx, f->den);
        *help = str_fmt(ctx, "crop with [:%s], or declare the axis as %s*M", dim_text(ctx, x), den);
        return str_fmt(ctx, "%s is %s only if %s divides %s", x_side, dim_text(ctx, y), den, dim_text(ctx, y));
    }
    return NULL;
}

static void by_name(DimSym *s, int n) {
    for (int i = 1; i < n; i++)
        for (int j = i; j > 0 && strcmp(s[j - 1]->name, s[j]->name) > 0; j--) {
            DimSym t = s[j];
            s[j] = s[j - 1];
            s[j - 1] = t;
        }
}

/* The first small values of the symbols at which both make sense and differ. */
static const char *example(Ctx *ctx, Dim a, Dim b, const char *sa, const char *sb_) {
    DimSym names[MOST_NAMES];
    int n = dim_symbols(dim_sub(ctx, a, b), names, MOST_NAMES), total = 1;
    n = n > MOST_NAMES ? MOST_NAMES : n;
    by_name(names, n);
    for (int k = 0; k < n; k++)
        total *= MOST_VALUE;
    for (int k = 1; k < total; k++) {
        DimValue env[MOST_NAMES];
        int rest = k;
        for (int i = 0; i < n; i++, rest /= MOST_VALUE)
            env[i] = (DimValue){names[i], 1 + rest % MOST_VALUE};
        int64_t va, vb;
        if (!dim_eval(a, env, n, &va) || !dim_eval(b, env, n, &vb) || va == vb || va < 0 || vb < 0)
            continue;
        StrBuf t = sb_new(&ctx->perm);
        sb_printf(&t, "%s and %s differ, for example at ", sa, sb_);
        for (int i = 0; i < n; i++)
            sb_printf(&t, "%s%s = %lld", i ? ", " : "", names[i]->name, (long long)env[i].value);
        sb_printf(&t, ": %lld and %lld", (long long)va, (long long)vb);
        return t.text;
    }
    return NULL;
}

const char *dim_explain(Ctx *ctx, Dim a, const char *why_a, Dim b, const char *why_b, const char **help) {
    const char *sa = side(ctx, a, why_a), *sb_ = side(ctx, b, why_b), *text, *dropped;
    Dim d = dim_sub(ctx, a, b);
    int64_t k;
    help = help ? help : &dropped;
    *help = NULL;
    if (d && d->n == 0)
        return str_fmt(ctx, "equal: %s, %s", sa, sb_);
    if (dim_is_const(d, &k)) {
        if (dim_is_const(a, NULL))
            return str_fmt(ctx, "%s differs from %s", sa, sb_);
        return str_fmt(ctx, "%s differs from %s by %lld", sa, sb_, (long long)(k < 0 ? -k : k));
    }
    if ((text = divided(ctx, a, sa, b, help)) || (text = divided(ctx, b, sb_, a, help)))
        return text;
    if (d && (text = example(ctx, a, b, sa, sb_)))
        return text;
    return str_fmt(ctx, "%s is not known to be equal to %s: no value up to 5 tells them apart, but shapes compare by normal form", sa, sb_);
}
