/* The derivation of a closed form: statistics of the data, the posterior in their terms, its slope,
 * its mode. All formulas are those of the conjugate rows and of the part that finds the estimate.
 */
#include <string.h>

#include "driver/derive.h"

/* ---- the rows' bodies as expressions */

typedef struct Values {
    const Sym *v; /* by operand */
} Values;

static Sym read_value(SymBody *b, const BodyInst *i) { return ((Values *)b->at)->v[i->operand]; }

static Sym of_body(Derive *d, BodyBuilder *b, int result, const Sym *values) {
    Values v = {values};
    SymBody s = {.c = &d->c, .insts = b->insts.p, .read = read_value, .at = &v};
    return sym_of_body(&s, result);
}

enum { MOST_VALUES = 2 * DIST_MOST_STATS };

static void read_all(BodyBuilder *b, int *reads) {
    for (int k = 0; k < MOST_VALUES; k++)
        reads[k] = body_read(b, DT_F64, k, 0, NULL);
}

static Sym natural(Derive *d, const DistConjugate *f, int k, Sym at) {
    BodyBuilder b = body_new(d->ctx);
    int r[MOST_VALUES];
    read_all(&b, r);
    return of_body(d, &b, f->natural(&b, k, r[0]), &at);
}

static Sym mode_of(Derive *d, const DistConjugate *f, const Sym *totals) {
    BodyBuilder b = body_new(d->ctx);
    int r[MOST_VALUES];
    read_all(&b, r);
    return of_body(d, &b, f->mode(&b, r), totals);
}

static Sym param_of(Derive *d, const DistConjugate *f, int k, const Sym *totals) {
    BodyBuilder b = body_new(d->ctx);
    int r[MOST_VALUES];
    read_all(&b, r);
    return of_body(d, &b, f->param(&b, k, r), totals);
}

/* ---- statistics: sums over the data get names */

static bool is_taken(const Derive *d, Str name) {
    for (int k = 0; k < d->taken.n; k++)
        if (strcmp(d->taken.p[k], name) == 0)
            return true;
    for (int k = 0; k < d->stats.n; k++)
        if (d->stats.p[k].name->name == name)
            return true;
    return false;
}

static Sym new_stat(Derive *d, const char *base, Sym def, const Sym *subs, int n) {
    Str name = str_of(d->ctx, base);
    for (int k = 2; is_taken(d, name); k++)
        name = str_fmt(d->ctx, "%s%d", base, k);
    bool indexed = false;
    for (int k = 0; k < n; k++)
        indexed |= sym_mentions(def, subs[k]);
    DeriveStat s = {sym_name(&d->c, name, 0, subs, indexed ? n : 0), def};
    vec_push(&d->ctx->perm, &d->stats, s);
    return s.name;
}

/* Whole sums of e that no parameter is in, each once. */
static void find_sums(Sym e, Sym *found, int *n) {
    if (e->kind == SYM_SUM) {
        for (int k = 0; k < *n; k++)
            if (sym_equal(found[k], e))
                return;
        if (*n < 4)
            found[(*n)++] = e;
        return;
    }
    for (int k = 0; k < e->n; k++)
        find_sums(e->kids[k], found, n);
}

/* The data's coefficient with names for what is summed over data. */
static Sym named_stat(Derive *d, Sym e, const char *base, const Sym *subs, int n_subs) {
    e = sym_expand(&d->c, e);
    for (int k = 0; e && k < d->stats.n; k++)
        e = sym_replace(&d->c, e, d->stats.p[k].def, d->stats.p[k].name);
    if (!e)
        return NULL;
    Sym sums[4];
    int n = 0;
    find_sums(e, sums, &n);
    if (n > 1)
        return new_stat(d, base, e, subs, n_subs);
    if (n == 1)
        return sym_replace(&d->c, e, sums[0], new_stat(d, base, sums[0], subs, n_subs));
    return e->kind == SYM_ADD ? new_stat(d, base, e, subs, n_subs) : e;
}

/* ---- formulas in fewer terms */

static Sym unnamed(SymCtx *c, Sym e, void *user) {
    const DeriveStat *s = user;
    if (e->kind != SYM_NAME || e->name != s->name->name)
        return sym_map(c, e, unnamed, user);
    Sym def = s->def;
    for (int k = 0; def && k < e->n; k++)
        def = sym_replace(c, def, s->name->kids[k], e->kids[k]);
    return def;
}

static bool is_dims(Sym e) {
    bool dims = e->kind == SYM_NAME && (e->flags & SYM_DIM) && !e->n;
    for (int k = 0; k < e->n && (e->kind == SYM_MUL || e->kind == SYM_POW); k++)
        dims = is_dims(e->kids[k]) || e->kids[k]->kind == SYM_NUM;
    return dims;
}

static Sym dims_first(SymCtx *c, Sym e) {
    if (e->kind != SYM_ADD)
        return e;
    Sym r = sym_num(c, 0);
    for (int pass = 0; pass < 2; pass++)
        for (int k = 0; k < e->n; k++)
            if (is_dims(e->kids[k]) == (pass == 0))
                r = sym_add(c, r, e->kids[k]);
    return r;
}

/* e, with definitions of statistics put back wherever that is shorter. */
static Sym shorter(SymCtx *c, Sym e, void *user) {
    Derive *d = user;
    e = sym_map(c, e, shorter, user);
    if (!e || (e->kind != SYM_ADD && e->kind != SYM_SUM))
        return e;
    Sym best = e;
    for (int k = 0; k < d->stats.n; k++) {
        Sym with = sym_expand(c, unnamed(c, best, &d->stats.p[k]));
        if (with && sym_cost(with) < sym_cost(best))
            best = dims_first(c, with);
    }
    Sym all = sym_expand(c, best);
    return all && sym_cost(all) < sym_cost(best) ? dims_first(c, all) : best;
}

/* ---- one parameter */

typedef struct Found {
    const ClosedParam *p;
    const DistConjugate *family;
    Sym at, subs[MAX_RANK];
    int rank;
    Sym data[MOST_VALUES], prior[MOST_VALUES]; /* coefficients; prior: 0 where there is none */
} Found;

static Sym result_at(Derive *d, int result, const Sym *subs) {
    SymGraph g = {.c = &d->c, .m = d->m, .f = d->form.part, .block = d->block};
    return sym_of_val(&g, d->form.part->results.p[result].val, subs);
}

static Found find(Derive *d, const ClosedParam *p) {
    Found f = {.p = p, .rank = d->block->params.p[p->tensor].type.rank};
    f.at = derive_element(d, p->tensor, f.subs);
    f.family = p->family ? p->family->conjugate : NULL;
    for (int k = 0; f.family && k < f.family->n_stats; k++) {
        Sym e = result_at(d, p->stats + k, f.subs);
        f.data[k] = e ? named_stat(d, e, f.family->names[k], f.subs, f.rank) : NULL;
        f.prior[k] = sym_num(&d->c, 0);
        if (p->has_prior)
            f.prior[k] = sym_expand(&d->c, result_at(d, p->stats + f.family->n_stats + k, f.subs));
    }
    return f;
}

static Sym total(Derive *d, const Found *f, int k, bool prior) {
    return prior ? sym_add(&d->c, f->data[k], f->prior[k]) : f->data[k];
}

/* sum_k C_k A_k(t) */
static Sym density_of(Derive *d, const Found *f) {
    Sym e = sym_num(&d->c, 0);
    for (int k = 0; k < f->family->n_stats; k++)
        e = sym_add(&d->c, e,
                    sym_mul(&d->c, total(d, f, k, true), natural(d, f->family, k, f->at)));
    return e;
}

static Sym over_elements(Derive *d, const Found *f, Sym e) {
    const AbiTensor *t = &d->block->params.p[f->p->tensor];
    for (int k = f->rank - 1; k >= 0; k--)
        e = sym_over(&d->c, SYM_SUM, f->subs[k], sym_of_dim(&d->c, t->type.shape[k], NULL, NULL, 0),
                     e);
    return e;
}

static Sym mode_with(Derive *d, const Found *f, bool prior) {
    Sym totals[MOST_VALUES] = {NULL};
    int n = f->family->n_stats;
    for (int k = 0; k < n; k++) {
        totals[k] = total(d, f, k, prior);
        const AbiTensor *t = &d->block->params.p[f->p->tensor];
        if (f->p->family->vector_draws)
            totals[n + k] =
                sym_over(&d->c, SYM_SUM, f->subs[f->rank - 1],
                         sym_of_dim(&d->c, t->type.shape[f->rank - 1], NULL, NULL, 0), totals[k]);
    }
    Sym e = mode_of(d, f->family, totals);
    return e ? shorter(&d->c, e, d) : NULL;
}

static Str posterior_of(Derive *d, const Found *f, const SymPrint *p) {
    StrBuf sb = sb_new(&d->ctx->perm);
    Sym totals[MOST_VALUES] = {NULL};
    for (int k = 0; k < f->family->n_stats; k++)
        totals[k] = sym_add(&d->c, f->prior[k], f->data[k]);
    Str name = f->p->family->name;
    sb_printf(&sb, p->style == SYM_LATEX ? "\\mathrm{%s}(" : "%s(", name);
    for (int k = 0; k < f->p->n_posterior; k++) {
        sb_put(&sb, k ? ", " : "");
        Sym e = param_of(d, f->family, k, totals);
        if (!e)
            return NULL;
        sym_print(p, &sb, e);
    }
    sb_put(&sb, ")");
    return str_of(d->ctx, sb.text);
}

static void answer_posterior(Derive *d, const Found *f) {
    Str text = posterior_of(d, f, &d->print), formula = posterior_of(d, f, &d->formula);
    if (f->rank || d->form.n_params > 1)
        text =
            str_fmt(d->ctx, "%s %s %s", derive_sym(d, f->at), derive_pick(d, "~", "\\sim"), text);
    if (d->form.n_params > 1)
        formula = str_fmt(d->ctx, "%s ~ %s", sym_text(&d->formula, f->at), formula);
    vec_push(&d->ctx->perm, &d->answers,
             (DeriveAnswer){str_of(d->ctx, "posterior"), text, formula});
}

static void slope(Derive *d, const Found *f) {
    Sym e = sym_num(&d->c, 0);
    for (int k = 0; k < f->family->n_stats; k++)
        e = sym_add(&d->c, e,
                    sym_mul(&d->c, total(d, f, k, true),
                            sym_diff(&d->c, natural(d, f->family, k, f->at), f->at)));
    Str rhs = derive_sym(d, e), name = derive_slope(d, f->at);
    if (f->p->family->vector_draws)
        derive_equation(
            d, name, str_fmt(d->ctx, "%s = %s", rhs, derive_pick(d, "l", "\\ell")),
            str_fmt(d->ctx, "l: multiplier of the condition that the elements of %s add up to 1",
                    d->block->params.p[f->p->tensor].path));
    else
        derive_equation(d, name, str_fmt(d->ctx, "%s = 0", rhs), NULL);
}

/* ---- all parameters */

static void recognised(Derive *d) {
    for (int k = 0; k < d->form.n_params; k++) {
        const DistLink *l = d->form.params[k].link;
        bool said = false;
        for (int j = 0; j < k; j++)
            said |= d->form.params[j].link == l;
        if (!said)
            derive_words(d, str_fmt(d->ctx, "recognised: %s (rule %s)", l->doc, l->rule));
    }
}

static void statistics(Derive *d, const Found *f, int n) {
    Sym e = sym_num(&d->c, 0);
    bool any = false;
    for (int k = 0; k < n; k++)
        if (f[k].family) {
            any = true;
            e = sym_add(&d->c, e, over_elements(d, &f[k], density_of(d, &f[k])));
        }
    StrBuf note = sb_new(&d->ctx->perm);
    for (int k = 0; k < d->stats.n; k++)
        sb_printf(&note, "%s%s = %s", k ? ",  " : "", derive_sym(d, d->stats.p[k].name),
                  derive_sym(d, d->stats.p[k].def));
    if (!any)
        return;
    Str rhs = derive_sym(d, e);
    if (d->dropped)
        rhs = str_fmt(d->ctx, "%s + %s", rhs, derive_pick(d, "const", "\\mathrm{const}"));
    bool latex = d->print.style == SYM_LATEX;
    derive_equation(d, "", rhs, latex || !note.len ? NULL : str_of(d->ctx, note.text));
    for (int k = 0; latex && k < d->stats.n; k++)
        derive_equation(d, derive_sym(d, d->stats.p[k].name), derive_sym(d, d->stats.p[k].def),
                        NULL);
}

void derive_closed(Derive *d) {
    int n = d->form.n_params;
    Found *f = ARENA_ARRAY(&d->ctx->perm, Found, n);
    d->rule = d->form.rule;
    d->method = "closed form";
    for (int k = 0; k < n; k++)
        f[k] = find(d, &d->form.params[k]);
    statistics(d, f, n);
    recognised(d);
    for (int k = 0; k < n; k++) {
        if (f[k].family)
            slope(d, &f[k]);
        else
            derive_words(d,
                         str_fmt(d->ctx,
                                 f[k].p->link->extreme == NEST_MIN
                                     ? "the density rises with %s as long as no datum is below it"
                                     : "the density falls with %s, which no datum may exceed",
                                 d->block->params.p[f[k].p->tensor].path));
    }
    for (int k = 0; k < n; k++)
        if (f[k].p->has_prior)
            derive_answer(d, "MAP", f[k].at, mode_with(d, &f[k], true));
    for (int k = 0; k < n; k++)
        derive_answer(d, d->logprior ? "MLE (no prior)" : "MLE", f[k].at,
                      f[k].family ? mode_with(d, &f[k], false)
                                  : result_at(d, f[k].p->estimate, f[k].subs));
    for (int k = 0; k < n; k++)
        if (f[k].p->has_prior)
            answer_posterior(d, &f[k]);
}
