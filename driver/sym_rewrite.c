/* Sums over an index, and rewrites of whole expressions. */
#include <math.h>

#include "driver/sym_priv.h"

/* ---- sums over an index */

/* A factor [index = e]: e, and the body without it; NULL if there is none. */
static Sym delta_of(SymCtx *c, Sym index, Sym body, Sym *rest) {
    SymList l = {.c = c};
    symlist_factors(&l, body);
    for (int k = 0; k < l.e.n; k++) {
        Sym d = l.e.p[k];
        if (d->kind != SYM_DELTA || (d->kids[0] != index && d->kids[1] != index))
            continue;
        Sym e = d->kids[0] == index ? d->kids[1] : d->kids[0];
        if (sym_mentions(e, index))
            continue;
        *rest = sym_num(c, 1);
        for (int j = 0; j < l.e.n; j++)
            if (j != k)
                *rest = sym_mul(c, *rest, l.e.p[j]);
        return e;
    }
    return NULL;
}

/* exp(a + b) with b free of the index: exp(b) comes before the sum. */
static Sym shift_out(SymCtx *c, Sym index, Sym body, Sym *factor) {
    *factor = sym_num(c, 1);
    if (!sym_is_call(body, SC_exp) || body->kids[0]->kind != SYM_ADD)
        return body;
    Sym in = sym_num(c, 0), out = sym_num(c, 0);
    for (int k = 0; k < body->kids[0]->n; k++) {
        Sym t = body->kids[0]->kids[k];
        if (sym_mentions(t, index))
            in = sym_add(c, in, t);
        else
            out = sym_add(c, out, t);
    }
    *factor = sym_call(c, SC_exp, &out, 1);
    return sym_call(c, SC_exp, &in, 1);
}

static bool mentions_delta(Sym e, Sym index) {
    bool is = e->kind == SYM_DELTA && (e->kids[0] == index || e->kids[1] == index);
    for (int k = 0; k < e->n && !is; k++)
        is = mentions_delta(e->kids[k], index);
    return is;
}

static Sym expand_product(SymCtx *c, Sym a, Sym b);

/* Products whose factors are sums with such a delta, multiplied out. */
static Sym expand_deltas(SymCtx *c, Sym index, Sym body) {
    Sym total = sym_num(c, 0), rest;
    for (int k = 0; k < sym_n_terms(body); k++) {
        Sym t = sym_term(body, k), r = sym_num(c, 1);
        bool out = t->kind == SYM_MUL && !delta_of(c, index, t, &rest);
        for (int j = 0; out && r && j < t->n; j++)
            r = t->kids[j]->kind == SYM_ADD && mentions_delta(t->kids[j], index)
                    ? expand_product(c, r, t->kids[j])
                : r->kind == SYM_ADD ? expand_product(c, r, t->kids[j])
                                     : sym_mul(c, r, t->kids[j]);
        total = sym_add(c, total, out ? r : t);
    }
    return total;
}

Sym sym_over(SymCtx *c, SymKind kind, Sym index, Sym extent, Sym body) {
    if (!index || !extent || !body)
        return NULL;
    if (sym_is_num(extent, 1))
        return sym_replace(c, body, index, sym_num(c, 0));
    if (kind != SYM_SUM)
        return sym_mentions(body, index)
                   ? sym_node(c, (SymNode){.kind = kind, .n = 3}, (Sym[]){index, extent, body})
                   : body;
    if (sym_is_num(body, 0))
        return body;
    if (!sym_mentions(body, index))
        return sym_mul(c, extent, body);
    if (body->kind == SYM_SUM && mentions_delta(body->kids[2], index)) {
        Sym in = sym_over(c, SYM_SUM, index, extent, body->kids[2]);
        if (in && !sym_mentions(in, index))
            return sym_over(c, SYM_SUM, body->kids[0], body->kids[1], in);
    }
    Sym total = sym_num(c, 0), others = sym_num(c, 0), rest = NULL, factor;
    if (mentions_delta(body, index))
        body = expand_deltas(c, index, body);
    for (int k = 0; body && k < sym_n_terms(body); k++) {
        Sym t = sym_term(body, k), e = delta_of(c, index, t, &rest);
        if (t->kind == SYM_NUM)
            total = sym_add(c, total, sym_mul(c, extent, t));
        else if (e)
            total = sym_add(c, total, sym_replace(c, rest, index, e));
        else
            others = sym_add(c, others, t);
    }
    if (total && sym_is_num(total, 0)) /* as it was */
        others = body;
    if (!others || sym_is_num(others, 0))
        return others ? total : NULL;
    if (!sym_mentions(others, index))
        return sym_add(c, total, sym_mul(c, extent, others));
    body = shift_out(c, index, others, &factor);
    body = sym_node(c, (SymNode){.kind = SYM_SUM, .n = 3}, (Sym[]){index, extent, body});
    return sym_add(c, total, sym_mul(c, factor, body));
}

/* ---- rebuilding */

static Sym rebuilt(SymCtx *c, Sym e, const Sym *kids) {
    Sym r;
    switch (e->kind) {
    case SYM_ADD:
    case SYM_MUL:
        r = kids[0];
        for (int k = 1; k < e->n; k++)
            r = e->kind == SYM_ADD ? sym_add(c, r, kids[k]) : sym_mul(c, r, kids[k]);
        return r;
    case SYM_POW:
        return sym_pow(c, kids[0], kids[1]);
    case SYM_CALL:
        return sym_call(c, e->op, kids, e->n);
    case SYM_SELECT:
        return sym_select(c, kids[0], kids[1], kids[2]);
    case SYM_SUM:
    case SYM_MAX:
    case SYM_MIN:
        return sym_over(c, e->kind, kids[0], kids[1], kids[2]);
    case SYM_DELTA:
        return sym_delta(c, kids[0], kids[1]);
    default:
        return sym_node(c, *e, kids);
    }
}

Sym sym_map(SymCtx *c, Sym e, SymFn fn, void *user) {
    if (!e || !e->n)
        return e;
    Sym *kids = ARENA_ARRAY(&c->ctx->perm, Sym, e->n);
    bool same = true;
    for (int k = 0; k < e->n; k++) {
        kids[k] = fn(c, e->kids[k], user);
        if (!kids[k])
            return NULL;
        same &= kids[k] == e->kids[k];
    }
    return same ? e : rebuilt(c, e, kids);
}

typedef struct Replace {
    Sym part, with;
} Replace;

static Sym replace_fn(SymCtx *c, Sym e, void *user) {
    const Replace *r = user;
    return sym_equal(e, r->part) ? r->with : sym_map(c, e, replace_fn, user);
}

Sym sym_replace(SymCtx *c, Sym e, Sym part, Sym with) {
    if (!e || !part || !with)
        return NULL;
    Replace r = {part, with};
    return replace_fn(c, e, &r);
}

/* ---- expansion */

static Sym expand_product(SymCtx *c, Sym a, Sym b) {
    SymList l = {.c = c};
    for (int i = 0; i < sym_n_terms(a); i++)
        for (int j = 0; j < sym_n_terms(b); j++)
            symlist_put(&l, sym_mul(c, sym_term(a, i), sym_term(b, j)));
    return l.bad ? NULL : sym_sum_of(c, l.e.p, l.e.n);
}

static Sym expand_fn(SymCtx *c, Sym e, void *user) {
    e = sym_map(c, e, expand_fn, user);
    if (!e)
        return NULL;
    Sym r = sym_num(c, 1);
    if (e->kind == SYM_MUL) {
        for (int k = 0; r && k < e->n; k++)
            r = expand_product(c, r, e->kids[k]);
        return r;
    }
    if (e->kind == SYM_POW && e->kids[0]->kind == SYM_ADD && sym_is_num(e->kids[1], 2))
        return expand_product(c, e->kids[0], e->kids[0]);
    if (e->kind != SYM_SUM)
        return e;
    Sym total = sym_num(c, 0), body = e->kids[2];
    for (int k = 0; k < sym_n_terms(body); k++) {
        Sym rest, t = sym_split(c, sym_term(body, k), e->kids[0], &rest);
        total =
            sym_add(c, total, sym_mul(c, rest, sym_over(c, SYM_SUM, e->kids[0], e->kids[1], t)));
    }
    return total;
}

Sym sym_expand(SymCtx *c, Sym e) { return expand_fn(c, e, NULL); }

/* What is simpler to read: fewer nodes, and sums count more. */
int sym_cost(Sym e) {
    int n = e->kind == SYM_SUM ? 5 : !sym_is_num(e, -1);
    for (int k = 0; k < e->n; k++)
        n += sym_cost(e->kids[k]);
    return n;
}

/* A factor of all terms before the sum of the rest. */
static Sym common_factors(SymCtx *c, Sym e) {
    Sym out = sym_num(c, 1);
    if (!e || e->kind != SYM_ADD)
        return e;
    Sym first = e->kids[0];
    double size = fabs(sym_coefficient(first));
    for (int k = 1; k < e->n; k++)
        size = fabs(sym_coefficient(e->kids[k])) == size ? size : 1;
    if (size != 1)
        out = sym_num(c, size);
    for (int k = 0; k < (first->kind == SYM_MUL ? first->n : 1); k++) {
        Sym f = first->kind == SYM_MUL ? first->kids[k] : first;
        bool all = f->kind != SYM_NUM;
        for (int j = 1; j < e->n && all; j++) {
            bool has = sym_equal(e->kids[j], f);
            for (int i = 0; e->kids[j]->kind == SYM_MUL && i < e->kids[j]->n; i++)
                has |= sym_equal(e->kids[j]->kids[i], f);
            all = has;
        }
        if (all)
            out = sym_mul(c, out, f);
    }
    if (sym_is_num(out, 1))
        return e;
    Sym inverse = sym_pow(c, out, sym_num(c, -1)), rest = sym_num(c, 0);
    for (int k = 0; k < e->n; k++)
        rest = sym_add(c, rest, sym_mul(c, e->kids[k], inverse));
    return sym_mul(c, out, rest);
}

static Sym tidy_fn(SymCtx *c, Sym e, void *user) {
    e = sym_map(c, e, tidy_fn, user);
    if (!e || (e->kind != SYM_ADD && e->kind != SYM_MUL))
        return e;
    Sym wide = common_factors(c, sym_expand(c, e)), near = common_factors(c, e);
    if (near && sym_cost(near) < sym_cost(e))
        e = near;
    return wide && sym_cost(wide) < sym_cost(e) ? wide : e;
}

Sym sym_tidy(SymCtx *c, Sym e) { return e ? tidy_fn(c, e, NULL) : NULL; }

Sym sym_split(SymCtx *c, Sym term, Sym part, Sym *rest) {
    Sym in = sym_num(c, 1);
    *rest = in;
    SymList l = {.c = c};
    symlist_factors(&l, term);
    for (int k = 0; k < l.e.n; k++) {
        if (sym_mentions(l.e.p[k], part))
            in = sym_mul(c, in, l.e.p[k]);
        else
            *rest = sym_mul(c, *rest, l.e.p[k]);
    }
    return in;
}

Sym sym_drop_constants(SymCtx *c, Sym e, bool *dropped) {
    if (!e)
        return NULL;
    if (!sym_mentions_flag(e, SYM_PARAM)) {
        *dropped |= !sym_is_num(e, 0);
        return sym_num(c, 0);
    }
    if (e->kind == SYM_ADD) {
        Sym r = sym_num(c, 0);
        for (int k = 0; k < e->n; k++)
            r = sym_add(c, r, sym_drop_constants(c, e->kids[k], dropped));
        return r;
    }
    if (e->kind == SYM_SUM && !sym_mentions_flag(e->kids[1], SYM_PARAM))
        return sym_over(c, SYM_SUM, e->kids[0], e->kids[1],
                        sym_drop_constants(c, e->kids[2], dropped));
    if (e->kind == SYM_MUL && e->n == 2) { /* a factor without parameters before a sum */
        for (int k = 0; k < 2; k++)
            if (!sym_mentions_flag(e->kids[k], SYM_PARAM))
                return sym_mul(c, e->kids[k], sym_drop_constants(c, e->kids[1 - k], dropped));
    }
    return e;
}

/* ---- dims */

static Sym atom_of(SymCtx *c, const DimAtom *a, const DimSym *indices, const Sym *values, int n) {
    if (a->kind == DIM_MAX) {
        Sym both[2] = {sym_of_dim(c, a->num, indices, values, n), sym_of_dim(c, a->den, indices, values, n)};
        return both[0] && both[1] ? sym_node(c, (SymNode){.kind = SYM_CALL, .op = SC_max, .n = 2}, both) : NULL;
    }
    if (a->kind == DIM_FLOOR) {
        Sym q = sym_div(c, sym_of_dim(c, a->num, indices, values, n),
                        sym_of_dim(c, a->den, indices, values, n));
        return q ? sym_node(c, (SymNode){.kind = SYM_CALL, .op = SC_floor, .n = 1}, &q) : NULL;
    }
    for (int k = 0; k < n; k++)
        if (indices[k] == a->sym)
            return values[k];
    return sym_name(c, a->sym->name, SYM_DIM | SYM_POSITIVE, NULL, 0);
}

Sym sym_of_dim(SymCtx *c, Dim d, const DimSym *indices, const Sym *values, int n) {
    Sym r = sym_num(c, 0);
    for (int k = 0; k < dim_n_terms(d); k++) {
        DimTerm t = dim_term(d, k);
        Sym p = sym_num(c, (double)t.coef);
        for (int j = 0; j < t.n_atoms; j++)
            p = sym_mul(c, p, atom_of(c, t.atoms[j], indices, values, n));
        r = sym_add(c, r, p);
    }
    return r;
}
