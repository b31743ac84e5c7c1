/* Least squares: Normal likelihoods (and priors) whose means are linear in the parameters of kind
 * real, with one free scale or a known one. The equations are linear; where they are those of one
 * vector, or of one number, they are solved in symbols. */
#include <string.h>

#include "driver/derive.h"

typedef struct Lsq {
    Derive *d;
    int scale;        /* number of the free scale's tensor, or -1 */
    int n_real, real; /* parameters of kind real; the last one */
    Sym sigma;
} Lsq;

static bool mentions_name(Sym e, Str name) {
    if (e->kind == SYM_NAME && e->name == name)
        return true;
    for (int k = 0; k < e->n; k++)
        if (mentions_name(e->kids[k], name))
            return true;
    return false;
}

static bool mentions_real(const Lsq *q, Sym e) {
    for (int k = 0; k < q->d->block->params.n; k++)
        if (k != q->scale && mentions_name(e, q->d->block->params.p[k].path))
            return true;
    return false;
}

static bool find_params(Lsq *q) {
    const AbiBlock *b = q->d->block;
    for (int k = 0; k < b->params.n; k++) {
        const AbiTensor *t = &b->params.p[k];
        if (t->kind == KIND_REAL) {
            q->n_real++;
            q->real = k;
        } else if (t->kind == KIND_POSITIVE && !t->type.rank && q->scale < 0) {
            q->scale = k;
        } else {
            return false;
        }
    }
    return q->n_real > 0;
}

/* The slope in a real parameter times the square of the scale, multiplied out; NULL unless it is
 * linear in the real parameters, free of the scale. */
static Sym equation(Lsq *q, Sym log_density, Sym at) {
    SymCtx *c = &q->d->c;
    Sym e = sym_diff(c, log_density, at);
    if (q->sigma)
        e = sym_mul(c, e, sym_pow(c, q->sigma, sym_num(c, 2)));
    e = e ? sym_expand(c, e) : NULL;
    if (!e || (q->sigma && mentions_name(e, q->sigma->name)))
        return NULL;
    for (int k = 0; k < q->d->block->params.n; k++) {
        Sym subs[MAX_RANK];
        if (k == q->scale)
            continue;
        Sym second = sym_diff(c, e, derive_element(q->d, k, subs));
        if (!second || mentions_real(q, second))
            return NULL;
    }
    return e;
}

/* ---- terms as matrix products */

typedef struct Chain {
    Sym factor[16], index[8];
    int n, n_index;
    Sym coef;
    bool bad;
} Chain;

static void flatten(SymCtx *c, Chain *h, Sym e) {
    if (e->kind == SYM_MUL) {
        for (int k = 0; k < e->n; k++)
            flatten(c, h, e->kids[k]);
    } else if (e->kind == SYM_SUM && h->n_index < 8) {
        h->index[h->n_index++] = e->kids[0];
        flatten(c, h, e->kids[2]);
    } else if (e->kind == SYM_POW && e->kids[0]->kind == SYM_NAME && e->kids[0]->n &&
               sym_is_num(e->kids[1], 2)) {
        flatten(c, h, e->kids[0]);
        flatten(c, h, e->kids[0]);
    } else if (e->kind == SYM_NAME && e->n && h->n < 16) {
        h->factor[h->n++] = e;
    } else {
        h->coef = sym_mul(c, h->coef, e);
    }
}

/* The product from the free index on: X_ij X_ir w_r is X'X w. The last factor, a vector, is *end.
 * NULL: it is none. */
static Str product_text(Derive *d, const Chain *h, Sym at, Sym *end) {
    StrBuf sb = sb_new(&d->ctx->perm);
    bool used[16] = {false};
    Str mark = derive_pick(d, "'", "^\\top ");
    sb_put(&sb, "");
    for (int step = 0; step < h->n; step++) {
        int next = -1, side = 0;
        for (int k = 0; k < h->n && next < 0; k++)
            for (int s = 0; s < h->factor[k]->n && !used[k]; s++)
                if (h->factor[k]->kids[s] == at) {
                    next = k;
                    side = s;
                }
        if (next < 0 || h->factor[next]->n > 2)
            return NULL;
        used[next] = true;
        if (h->factor[next]->n == 1) {
            *end = h->factor[next];
            return step == h->n - 1 ? str_of(d->ctx, sb.text) : NULL;
        }
        sb_printf(&sb, "%s%s", sym_print_name(&d->print, h->factor[next]->name), side ? mark : " ");
        at = h->factor[next]->kids[1 - side];
    }
    return NULL;
}

typedef struct Sides {
    StrBuf matrix, right; /* of (matrix) w = right */
    bool bad;
} Sides;

static void put_signed(Derive *d, StrBuf *sb, Sym coef, Str text, bool last) {
    bool minus = coef->kind == SYM_NUM && coef->num < 0;
    Sym size = minus ? sym_neg(&d->c, coef) : coef;
    sb_put(sb, sb->len ? minus ? " - " : " + " : minus ? "-" : "");
    if (!sym_is_num(size, 1)) {
        bool sum = size->kind == SYM_ADD;
        sb_printf(sb, sum ? "(%s)%s" : "%s%s", derive_sym(d, size), last ? "" : " ");
    }
    sb_put(sb, text);
}

static void put_term(Lsq *q, Sides *s, Sym term, Sym at) {
    Derive *d = q->d;
    Chain h = {.coef = sym_num(&d->c, 1)};
    flatten(&d->c, &h, term);
    Sym end = NULL;
    Str text = product_text(d, &h, at->n ? at->kids[0] : NULL, &end);
    bool own = end && end->name == at->name;
    s->bad |= !text || !h.coef || (own && sym_mentions(h.coef, at->kids[0]));
    if (s->bad)
        return;
    size_t len = strlen(text);
    text = str_fmt(d->ctx, "%.*s", (int)(len && text[len - 1] == ' ' && own ? len - 1 : len), text);
    if (own)
        put_signed(d, &s->matrix, sym_neg(&d->c, h.coef), len ? text : "I", false);
    else
        put_signed(d, &s->right, h.coef,
                   str_fmt(d->ctx, "%s%s", text, sym_print_name(&d->print, end->name)), false);
}

/* (X'X + lambda I) w = X'y of the equation `e` = 0 in the vector `at`; false: it has another form.
 */
static bool matrix_form(Lsq *q, Sym e, Sym at, Sides *out) {
    *out = (Sides){sb_new(&q->d->ctx->perm), sb_new(&q->d->ctx->perm), false};
    for (int k = 0; k < sym_n_terms(e); k++)
        put_term(q, out, sym_term(e, k), at);
    return !out->bad && out->matrix.len && out->right.len;
}

static void vector_answer(Lsq *q, Str label, Sym e, Sym at) {
    Derive *d = q->d;
    Sides s;
    if (!e || !matrix_form(q, e, at, &s))
        return;
    Str name = sym_print_name(&d->print, at->name), inverse = derive_pick(d, "^-1", "^{-1}");
    Str text = str_fmt(d->ctx, "%s = (%s)%s %s", name, s.matrix.text, inverse, s.right.text);
    bool many = strpbrk(s.right.text, "+-") != NULL;
    if (many)
        text = str_fmt(d->ctx, "%s = (%s)%s (%s)", name, s.matrix.text, inverse, s.right.text);
    vec_push(&d->ctx->perm, &d->answers, (DeriveAnswer){label, text, text});
}

/* a + b t = 0 */
static void number_answer(Lsq *q, Str label, Sym e, Sym at) {
    SymCtx *c = &q->d->c;
    Sym b = e ? sym_diff(c, e, at) : NULL;
    Sym a = b ? sym_replace(c, e, at, sym_num(c, 0)) : NULL;
    if (a)
        derive_answer(q->d, label, at, sym_div(c, a, sym_expand(c, sym_neg(c, b))));
}

/* ---- several parameters: their columns side by side */

/* The mean's derivative by a parameter, as a column: X of X_ij, x of x_i, 1. NULL: it has no short
 * name. */
static Str column_text(Derive *d, Sym slope) {
    if (!slope)
        return NULL;
    if (!sym_mentions(slope, d->row) && slope->kind == SYM_NUM)
        return derive_sym(d, slope);
    if (slope->kind == SYM_NAME && slope->n && slope->kids[0] == d->row)
        return sym_print_name(&d->print, slope->name);
    return slope->kind == SYM_DELTA ? derive_sym(d, slope) : NULL;
}

static Sym without_params(Lsq *q, Sym e) {
    for (int k = 0; k < q->d->block->params.n; k++) {
        Sym subs[MAX_RANK], at = derive_element(q->d, k, subs);
        if (e && !at->n)
            e = sym_replace(&q->d->c, e, at, sym_num(&q->d->c, 0));
    }
    return e;
}

/* J = [1, x], (a, b) = (J'J)^-1 J'y: without priors, and where nothing else is in the mean. */
static void columns_answer(Lsq *q) {
    Derive *d = q->d;
    StrBuf columns = sb_new(&d->ctx->perm), names = sb_new(&d->ctx->perm);
    if (!d->mean || !d->left || d->left->kind != SYM_NAME || d->logprior || q->n_real < 2)
        return;
    for (int k = 0; k < d->block->params.n; k++) {
        Sym subs[MAX_RANK];
        if (k == q->scale)
            continue;
        Sym at = derive_element(d, k, subs);
        Str text = column_text(d, sym_diff(&d->c, d->mean, at));
        if (!text || at->n > 1)
            return;
        sb_printf(&columns, "%s%s", columns.len ? ", " : "", text);
        sb_printf(&names, "%s%s", names.len ? ", " : "", sym_print_name(&d->print, at->name));
    }
    Sym rest = without_params(q, d->mean);
    for (int k = 0; rest && k < sym_n_terms(rest); k++)
        if (!sym_is_num(sym_term(rest, k), 0) && !mentions_real(q, sym_term(rest, k)))
            return;
    Str left = sym_print_name(&d->print, d->left->name), mark = derive_pick(d, "'", "^\\top ");
    derive_equation(d, "J", str_fmt(d->ctx, "[%s]", columns.text),
                    "the mean's derivatives, a column for each parameter");
    derive_equation(d, str_fmt(d->ctx, "(J%sJ) (%s)", mark, names.text),
                    str_fmt(d->ctx, "J%s%s", mark, left), "normal equations");
    Str text = str_fmt(d->ctx, "(%s) = (J%sJ)%s J%s%s", names.text, mark,
                       derive_pick(d, "^-1", "^{-1}"), mark, left);
    vec_push(&d->ctx->perm, &d->answers, (DeriveAnswer){"MLE", text, text});
}

/* ---- the scale: a/sigma + b/sigma^3 = 0 */

static Sym apart(SymCtx *c, Sym e) {
    if (e->kind == SYM_ADD) {
        Sym r = sym_num(c, 0);
        for (int k = 0; k < e->n; k++)
            r = sym_add(c, r, apart(c, e->kids[k]));
        return r;
    }
    if (e->kind != SYM_SUM)
        return e;
    Sym r = sym_num(c, 0), body = apart(c, e->kids[2]);
    for (int k = 0; k < sym_n_terms(body); k++) {
        Sym rest, in = sym_split(c, sym_term(body, k), e->kids[0], &rest);
        r = sym_add(c, r, sym_mul(c, rest, sym_over(c, SYM_SUM, e->kids[0], e->kids[1], in)));
    }
    return r;
}

static void scale_equation(Lsq *q, Sym log_density) {
    SymCtx *c = &q->d->c;
    Sym e = sym_diff(c, log_density, q->sigma), a = sym_num(c, 0), b = sym_num(c, 0);
    e = e ? apart(c, e) : NULL;
    for (int k = 0; e && k < sym_n_terms(e); k++) {
        Sym first = sym_mul(c, sym_term(e, k), q->sigma);
        Sym third = sym_mul(c, sym_term(e, k), sym_pow(c, q->sigma, sym_num(c, 3)));
        if (!mentions_name(first, q->sigma->name))
            a = sym_add(c, a, first);
        else if (!mentions_name(third, q->sigma->name))
            b = sym_add(c, b, third);
        else
            return;
    }
    if (!e)
        return;
    Sym square = sym_div(c, b, sym_expand(c, sym_neg(c, a)));
    derive_equation(q->d, str_fmt(q->d->ctx, "%s^2", derive_sym(q->d, q->sigma)),
                    derive_sym(q->d, square),
                    str_fmt(q->d->ctx, "from the slope in %s", q->sigma->name));
}

/* ---- all of it */

static Str names_of_reals(Lsq *q) {
    StrBuf sb = sb_new(&q->d->ctx->perm);
    for (int k = 0; k < q->d->block->params.n; k++)
        if (k != q->scale)
            sb_printf(&sb, "%s`%s`", sb.len ? ", " : "", q->d->block->params.p[k].path);
    return sb.text;
}

static void answers(Lsq *q, Str label, Sym log_density) {
    Sym subs[MAX_RANK], at = derive_element(q->d, q->real, subs);
    if (q->n_real > 1 || at->n > 1)
        return;
    (at->n ? vector_answer : number_answer)(q, label, equation(q, log_density, at), at);
}

static void normal_equations(Lsq *q, Sym e, Sym at) {
    Derive *d = q->d;
    Sides s;
    derive_equation(
        d, derive_slope(d, at),
        str_fmt(d->ctx, "%s = 0", derive_sym(d, sym_tidy(&d->c, sym_diff(&d->c, e, at)))), NULL);
    Sym slope = equation(q, e, at);
    if (q->n_real == 1 && at->n == 1 && slope && matrix_form(q, slope, at, &s))
        derive_equation(
            d, str_fmt(d->ctx, "(%s) %s", s.matrix.text, sym_print_name(&d->print, at->name)),
            str_of(d->ctx, s.right.text), "normal equations");
}

bool derive_lsq(Derive *d, Sym e) {
    Lsq q = {.d = d, .scale = -1, .real = -1};
    if (!e || !d->affine || d->block->using_.present || !find_params(&q))
        return false;
    for (int k = 0; k < d->block->params.n; k++)
        if (d->block->params.p[k].mask) /* the equations would be those of all elements */
            return false;
    Sym subs[MAX_RANK];
    if (q.scale >= 0)
        q.sigma = derive_element(d, q.scale, subs);
    for (int k = 0; k < d->block->params.n; k++)
        if (k != q.scale && !equation(&q, e, derive_element(d, k, subs)))
            return false;
    derive_words(d, str_fmt(d->ctx,
                            "recognised: Normal data whose mean is linear in %s (least squares)",
                            names_of_reals(&q)));
    for (int k = 0; k < d->block->params.n; k++)
        if (k != q.scale)
            normal_equations(&q, e, derive_element(d, k, subs));
    columns_answer(&q);
    if (q.sigma)
        scale_equation(&q, e);
    d->rule = "least squares";
    d->method = "least squares (Householder QR)";
    if (d->logprior)
        answers(&q, "MAP", e);
    answers(&q, d->logprior ? "MLE (no prior)" : "MLE", d->like);
    derive_words(d, "found by Householder QR of the rows, without forming the equations' matrix");
    return true;
}
