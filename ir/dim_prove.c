/* Range proofs: is p >= 0 wherever the facts hold?
 *
 * Symbols are shifted to be >= 0. A step keeps B*p >= e with B >= 1: in the terms of e of one sign, c*x is replaced by
 * its bound after multiplying e and B by c unless c divides the cofactor (cofactors are >= 0). p is proved when e + B - 1
 * has no negative coefficient: then B*p > -B, so the integer p is > -1. Bounds come from the facts (conditions first)
 * and from a - b + 1 <= b*(a//b) <= a. A floor counts as >= 0 only where its numerator is proved to be. A claim about
 * max(a, b) is one about a where a >= b, and one about b where b >= a. The search is bounded: 40 steps of at most 64
 * terms, depth 10, four maxima. True is certain; false means "not proved". */
#include "ir/dim_priv.h"

#include <string.h>

enum { BUDGET = 40, TERMS = 64, DEPTH = 10, MOST_ATOMS = 96, MOST_BOUNDS = 64, MOST_MAXIMA = 4 };

typedef struct Sign {
    const DimAtom *atom;
    bool nonneg;
} Sign;

typedef struct Prover {
    Ctx *ctx;
    const DimFacts *given;
    Dim *facts; /* shifted, each >= 0 */
    int n_facts;
    VEC(Sign) signs; /* of floors and maxima */
} Prover;

typedef struct Search {
    Prover *p;
    int left;
    struct Pair {
        Dim e, b;
    } seen[BUDGET];
    int n_seen;
} Search;

static bool search(Prover *p, Dim claim);

/* x = least + x': every symbol becomes >= 0; floors and maxima stay opaque. */
static Dim shift(Ctx *ctx, Dim a) {
    if (!a)
        return NULL;
    Dim sum = dim_const(ctx, 0);
    for (int i = 0; i < a->n; i++) {
        Dim t = dim_const(ctx, a->terms[i].coef);
        for (int j = 0; j < a->terms[i].n_atoms; j++) {
            const DimAtom *x = a->terms[i].atoms[j];
            Dim v = dim_of_atom(ctx, x);
            t = dim_mul(ctx, t, x->sym ? dim_addk(ctx, v, x->sym->least) : v);
        }
        sum = dim_add(ctx, sum, t);
    }
    return sum;
}

static bool nonneg(Prover *p, const DimAtom *a) {
    if (a->sym)
        return true;
    for (int k = 0; k < p->signs.n; k++)
        if (p->signs.p[k].atom == a)
            return p->signs.p[k].nonneg;
    int at = p->signs.n;
    vec_push(&p->ctx->perm, &p->signs, (Sign){a, false}); /* while it is being asked */
    bool yes = search(p, a->num) || (a->kind == DIM_MAX && search(p, a->den));
    p->signs.p[at].nonneg = yes;
    return yes;
}

static bool atoms_nonneg(Prover *p, Dim a) {
    for (int i = 0; i < a->n; i++)
        for (int j = 0; j < a->terms[i].n_atoms; j++)
            if (!nonneg(p, a->terms[i].atoms[j]))
                return false;
    return true;
}

static bool obvious(Prover *p, Dim a) {
    if (!a)
        return false;
    for (int i = 0; i < a->n; i++)
        if (a->terms[i].coef < 0)
            return false;
    return atoms_nonneg(p, a);
}

/* >= 1 at sight. */
static bool positive(Prover *p, Dim a) {
    return a && a->n && !a->terms[a->n - 1].n_atoms && obvious(p, a);
}

static bool contains(Dim a, const DimAtom *x) {
    for (int i = 0; i < a->n; i++)
        for (int j = 0; j < a->terms[i].n_atoms; j++)
            if (a->terms[i].atoms[j] == x)
                return true;
    return false;
}

/* a = x*c + rest; with a sign, only terms of that sign go into c. */
static Dim cofactor(Ctx *ctx, Dim a, const DimAtom *x, int sign, Dim *rest) {
    Terms c = {0}, r = {0};
    for (int i = 0; i < a->n; i++) {
        DimTerm q;
        bool fits = sign == 0 || (sign > 0 ? a->terms[i].coef > 0 : a->terms[i].coef < 0);
        if (fits && mono_div(ctx, &a->terms[i], 1, &x, &q))
            terms_add(ctx, &c, q);
        else
            terms_add(ctx, &r, a->terms[i]);
    }
    *rest = poly_of(ctx, &r);
    return poly_of(ctx, &c);
}

typedef struct Bound {
    Dim c, r;
} Bound;

/* upper: c*x <= r, lower: c*x >= r, c >= 1. */
static int bounds(Prover *p, const DimAtom *x, bool upper, Bound *out) {
    Ctx *ctx = p->ctx;
    int n = 0;
    if (x->kind == DIM_FLOOR) {
        Dim a = shift(ctx, x->num), b = shift(ctx, x->den);
        if (a && positive(p, b))
            out[n++] = (Bound){b, upper ? a : dim_addk(ctx, dim_sub(ctx, a, b), 1)};
    }
    if (x->kind == DIM_MAX && !upper) { /* as a fact may have it */
        Dim both[2] = {shift(ctx, x->num), shift(ctx, x->den)};
        for (int k = 0; k < 2; k++)
            if (both[k])
                out[n++] = (Bound){dim_const(ctx, 1), both[k]};
    }
    for (int k = 0; k < p->n_facts && n < MOST_BOUNDS; k++) {
        Dim r, c = cofactor(ctx, p->facts[k], x, 0, &r);
        if (c->n == 0 || contains(c, x))
            continue;
        Dim minus = dim_neg(ctx, c);
        if (!upper && positive(p, c))
            out[n++] = (Bound){c, dim_neg(ctx, r)};
        else if (upper && !positive(p, c) && positive(p, minus))
            out[n++] = (Bound){minus, r};
    }
    return n;
}

static bool within(Dim a, const DimAtom *f) { /* does the floor or maximum f occur in a, at any depth? */
    for (int i = 0; i < a->n; i++)
        for (int j = 0; j < a->terms[i].n_atoms; j++) {
            const DimAtom *x = a->terms[i].atoms[j];
            if (x == f || (!x->sym && (within(x->num, f) || within(x->den, f))))
                return true;
        }
    return false;
}

static int index_place(const Prover *p, const DimAtom *a) { /* inner indices first */
    for (int k = 0; k < p->given->n_index; k++)
        if (a->sym && p->given->index[k].sym == a->sym)
            return p->given->n_index - 1 - k;
    return 99;
}

/* Order of elimination: inner indices, outer floors (longer text first), then the other symbols. */
static int turn_compare(const Prover *p, const DimAtom *a, const DimAtom *b) {
    int x = index_place(p, a), y = index_place(p, b);
    if (x != y)
        return x - y;
    if ((a->sym != NULL) != (b->sym != NULL))
        return (a->sym != NULL) - (b->sym != NULL);
    size_t la = strlen(atom_text(a)), lb = strlen(atom_text(b));
    if (la != lb)
        return la > lb ? -1 : 1;
    return atom_compare(a, b);
}

static int atoms_in_turn(const Prover *p, Dim e, const DimAtom **out) {
    int n = 0;
    for (int i = 0; i < e->n; i++)
        for (int j = 0; j < e->terms[i].n_atoms; j++) {
            const DimAtom *a = e->terms[i].atoms[j];
            int k = 0;
            while (k < n && turn_compare(p, out[k], a) < 0)
                k++;
            if ((k < n && out[k] == a) || n == MOST_ATOMS)
                continue;
            memmove(out + k + 1, out + k, sizeof *out * (size_t)(n - k));
            out[k] = a;
            n++;
        }
    return n;
}

static bool is_inner(Dim e, const DimAtom *x) { /* its turn comes when the floor around it is gone */
    for (int i = 0; i < e->n && !x->sym; i++)
        for (int j = 0; j < e->terms[i].n_atoms; j++) {
            const DimAtom *f = e->terms[i].atoms[j];
            if (!f->sym && (within(f->num, x) || within(f->den, x)))
                return true;
        }
    return false;
}

static bool go(Search *s, Dim e, Dim b, int depth);

static bool eliminate(Search *s, Dim e, Dim b, const DimAtom *x, int depth) {
    Ctx *ctx = s->p->ctx;
    for (int sign = -1; sign <= 1; sign += 2) {
        Dim rest, m = cofactor(ctx, e, x, sign, &rest);
        if (m->n == 0 || !atoms_nonneg(s->p, m))
            continue;
        Bound *bound = ARENA_ARRAY(&ctx->perm, Bound, MOST_BOUNDS + 1);
        int n = bounds(s->p, x, sign < 0, bound);
        for (int k = 0; k < n; k++) {
            Dim rem, d = dim_divide(ctx, m, bound[k].c, &rem);
            bool even = d && rem && rem->n == 0;
            Dim next = even ? dim_add(ctx, rest, dim_mul(ctx, d, bound[k].r))
                            : dim_add(ctx, dim_mul(ctx, bound[k].c, rest), dim_mul(ctx, m, bound[k].r));
            if (go(s, next, even ? b : dim_mul(ctx, b, bound[k].c), depth - 1))
                return true;
        }
    }
    return false;
}

static bool go(Search *s, Dim e, Dim b, int depth) {
    if (!e || !b || !depth || !s->left || e->n > TERMS)
        return false;
    for (int k = 0; k < s->n_seen; k++)
        if (s->seen[k].e == e && s->seen[k].b == b)
            return false;
    s->seen[s->n_seen++] = (struct Pair){e, b};
    s->left--;
    if (obvious(s->p, dim_addk(s->p->ctx, dim_add(s->p->ctx, e, b), -1)))
        return true;
    const DimAtom *atoms[MOST_ATOMS + 1];
    int n = atoms_in_turn(s->p, e, atoms);
    for (int k = 0; k < n; k++)
        if (!is_inner(e, atoms[k]) && eliminate(s, e, b, atoms[k], depth))
            return true;
    return false;
}

static bool search(Prover *p, Dim claim) {
    Dim e = shift(p->ctx, claim);
    if (!e)
        return false;
    for (int k = 0; k < p->n_facts; k++)
        if (obvious(p, dim_sub(p->ctx, e, p->facts[k])))
            return true;
    Search s = {.p = p, .left = BUDGET};
    return go(&s, e, dim_const(p->ctx, 1), DEPTH);
}

static Prover prover(Ctx *ctx, const DimFacts *f) {
    Prover p = {.ctx = ctx, .given = f};
    p.facts = ARENA_ARRAY(&ctx->perm, Dim, f->n_when + f->n_index + 1);
    for (int k = 0; k < f->n_when; k++)
        if ((p.facts[p.n_facts] = shift(ctx, f->when[k])))
            p.n_facts++;
    for (int k = 0; k < f->n_index; k++) {
        Dim last = dim_addk(ctx, dim_sub(ctx, f->index[k].extent, dim_of(ctx, f->index[k].sym)), -1);
        if ((p.facts[p.n_facts] = shift(ctx, last)))
            p.n_facts++;
    }
    return p;
}

static const DimAtom *maximum_in(Dim a) {
    for (int i = 0; i < a->n; i++)
        for (int j = 0; j < a->terms[i].n_atoms; j++)
            if (a->terms[i].atoms[j]->kind == DIM_MAX)
                return a->terms[i].atoms[j];
    return NULL;
}

/* a with v in the place of the atom x. */
static Dim in_place_of(Ctx *ctx, Dim a, const DimAtom *x, Dim v) {
    while (a && contains(a, x)) {
        Dim rest, c = cofactor(ctx, a, x, 0, &rest);
        a = dim_add(ctx, dim_mul(ctx, c, v), rest);
    }
    return a;
}

static bool prove(Ctx *ctx, const DimFacts *facts, Dim claim, int maxima);

/* The claim where the maximum x is its operand `is`, which is at least `other`. */
static bool prove_where(Ctx *ctx, const DimFacts *facts, Dim claim, const DimAtom *x, Dim is, Dim other, int maxima) {
    DimFacts more = *facts;
    Dim *when = ARENA_ARRAY(&ctx->perm, Dim, facts->n_when + 1);
    for (int k = 0; k < facts->n_when; k++)
        when[k] = facts->when[k];
    when[more.n_when++] = dim_sub(ctx, is, other);
    more.when = when;
    return prove(ctx, &more, in_place_of(ctx, claim, x, is), maxima);
}

static bool prove(Ctx *ctx, const DimFacts *facts, Dim claim, int maxima) {
    int64_t k;
    if (!claim)
        return false;
    if (dim_is_const(claim, &k))
        return k >= 0;
    const DimAtom *x = maximum_in(claim);
    if (x)
        return maxima > 0 && prove_where(ctx, facts, claim, x, x->num, x->den, maxima - 1) &&
               prove_where(ctx, facts, claim, x, x->den, x->num, maxima - 1);
    Prover p = prover(ctx, facts);
    return search(&p, claim);
}

bool dim_prove_nonneg(Ctx *ctx, const DimFacts *facts, Dim claim) {
    static const DimFacts none = {0};
    return prove(ctx, facts ? facts : &none, claim, MOST_MAXIMA);
}

bool dim_prove_positive(Ctx *ctx, const DimFacts *facts, Dim p) {
    return p && dim_prove_nonneg(ctx, facts, dim_addk(ctx, p, -1));
}

/* ---- subscripts */

/* e where each index stands at the end that drives it towards sign. */
static Dim corner(Ctx *ctx, const DimFacts *f, Dim e, int sign) {
    DimBinding *b = ARENA_ARRAY(&ctx->perm, DimBinding, f->n_index + 1);
    for (int k = 0; k < f->n_index; k++) {
        const DimAtom *x = dim_of(ctx, f->index[k].sym)->terms[0].atoms[0];
        Dim rest, c = cofactor(ctx, e, x, 0, &rest);
        bool up = c->n > 0;
        for (int i = 0; i < c->n; i++)
            up &= sign > 0 ? c->terms[i].coef > 0 : c->terms[i].coef < 0;
        b[k] = (DimBinding){f->index[k].sym, up ? dim_addk(ctx, f->index[k].extent, -1) : dim_const(ctx, 0)};
    }
    return dim_subst(ctx, e, b, f->n_index);
}

DimVerdict dim_subscript(Ctx *ctx, const DimFacts *f, Dim e, Dim n) {
    static const DimFacts none = {0};
    Dim high = dim_addk(ctx, dim_sub(ctx, n, e), -1);
    if (dim_prove_nonneg(ctx, f, e) && dim_prove_nonneg(ctx, f, high))
        return DIM_PROVED;
    if (!e || !n || f->n_when)
        return DIM_RUN_TIME;
    for (int k = 0; k < f->n_index; k++) /* does the loop surely run? */
        if (!dim_prove_positive(ctx, &none, f->index[k].extent))
            return DIM_RUN_TIME;
    Dim over = dim_sub(ctx, corner(ctx, f, e, 1), n), under = dim_neg(ctx, dim_addk(ctx, corner(ctx, f, e, -1), 1));
    if (dim_prove_nonneg(ctx, &none, over) || dim_prove_nonneg(ctx, &none, under))
        return DIM_ERROR;
    return DIM_RUN_TIME;
}
