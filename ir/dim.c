/* Dims: normal form, arithmetic, text. The prover is in dim_prove.c.
 *
 * A polynomial is a sorted array of terms, an atom a symbol, a floor or a maximum; both are interned in the context, so
 * identity is equality. The order of monomials is graded lexicographic by text, which makes remainders unique. */
#include "ir/dim_priv.h"

#include <string.h>

typedef struct Table {
    void **slots;
    size_t n, cap;
} Table;

struct DimTable {
    Table polys, atoms;
    uint32_t n_symbols;
};

static struct DimTable *table_of(Ctx *ctx) {
    if (!ctx->dims)
        ctx->dims = ARENA_NEW(&ctx->perm, struct DimTable);
    return ctx->dims;
}

static uint64_t mix(uint64_t h, uint64_t x) {
    h = (h ^ x) * 0x9e3779b97f4a7c15u;
    return h ^ h >> 29;
}

/* ---- interning */

static uint64_t atom_hash(const DimAtom *a) {
    return mix(mix(mix(17 + (uint64_t)a->kind, (uintptr_t)a->sym), (uintptr_t)a->num), (uintptr_t)a->den);
}

static uint64_t poly_hash(const struct DimPoly *p) {
    uint64_t h = 31;
    for (int k = 0; k < p->n; k++) {
        h = mix(h, (uint64_t)p->terms[k].coef);
        for (int j = 0; j < p->terms[k].n_atoms; j++)
            h = mix(h, (uintptr_t)p->terms[k].atoms[j]);
    }
    return h;
}

static bool atom_same(const DimAtom *a, const DimAtom *b) {
    return a->kind == b->kind && a->sym == b->sym && a->num == b->num && a->den == b->den;
}

static bool mono_same(const DimTerm *a, const DimTerm *b) {
    return a->n_atoms == b->n_atoms &&
           (!a->n_atoms || memcmp(a->atoms, b->atoms, sizeof *a->atoms * (size_t)a->n_atoms) == 0);
}

static bool poly_same(const struct DimPoly *a, const struct DimPoly *b) {
    if (a->n != b->n)
        return false;
    for (int k = 0; k < a->n; k++)
        if (a->terms[k].coef != b->terms[k].coef || !mono_same(&a->terms[k], &b->terms[k]))
            return false;
    return true;
}

static void table_grow(Ctx *ctx, Table *t, bool atoms) {
    size_t cap = t->cap ? 2 * t->cap : 256;
    void **slots = ARENA_ARRAY(&ctx->perm, void *, cap);
    for (size_t i = 0; i < t->cap; i++) {
        if (!t->slots[i])
            continue;
        uint64_t h = atoms ? atom_hash(&((AtomNode *)t->slots[i])->atom) : poly_hash(t->slots[i]);
        size_t k = h & (cap - 1);
        while (slots[k])
            k = (k + 1) & (cap - 1);
        slots[k] = t->slots[i];
    }
    t->slots = slots;
    t->cap = cap;
}

static const char *text_of_atom(Ctx *ctx, const DimAtom *a);

static const DimAtom *atom_intern(Ctx *ctx, DimAtom a) {
    Table *t = &table_of(ctx)->atoms;
    if (2 * (t->n + 1) > t->cap)
        table_grow(ctx, t, true);
    size_t k = atom_hash(&a) & (t->cap - 1);
    for (; t->slots[k]; k = (k + 1) & (t->cap - 1))
        if (atom_same(&((AtomNode *)t->slots[k])->atom, &a))
            return &((AtomNode *)t->slots[k])->atom;
    AtomNode *n = ARENA_NEW(&ctx->perm, AtomNode);
    n->atom = a;
    t->slots[k] = n;
    t->n++;
    n->text = text_of_atom(ctx, &n->atom);
    return &n->atom;
}

static Dim poly_intern(Ctx *ctx, const struct DimPoly *p) {
    Table *t = &table_of(ctx)->polys;
    if (2 * (t->n + 1) > t->cap)
        table_grow(ctx, t, false);
    size_t k = poly_hash(p) & (t->cap - 1);
    for (; t->slots[k]; k = (k + 1) & (t->cap - 1))
        if (poly_same(t->slots[k], p))
            return t->slots[k];
    struct DimPoly *copy = ARENA_NEW(&ctx->perm, struct DimPoly);
    copy->n = p->n;
    copy->terms = arena_dup(&ctx->perm, p->terms, sizeof *p->terms * (size_t)p->n);
    for (int j = 0; j < p->n; j++)
        copy->terms[j].atoms = arena_dup(&ctx->perm, p->terms[j].atoms, sizeof(void *) * (size_t)p->terms[j].n_atoms);
    t->slots[k] = copy;
    t->n++;
    return copy;
}

/* ---- order */

int atom_compare(const DimAtom *a, const DimAtom *b) {
    if (a == b)
        return 0;
    int c = strcmp(atom_text(a), atom_text(b));
    if (c || !a->sym || !b->sym)
        return c;
    return a->sym->id < b->sym->id ? -1 : 1;
}

/* Graded lexicographic: higher degree first, then by the texts. */
static int mono_compare(const DimTerm *a, const DimTerm *b) {
    if (a->n_atoms != b->n_atoms)
        return a->n_atoms > b->n_atoms ? -1 : 1;
    for (int k = 0; k < a->n_atoms; k++) {
        int c = atom_compare(a->atoms[k], b->atoms[k]);
        if (c)
            return c;
    }
    return 0;
}

/* ---- building: like terms are joined; overflow gives NULL */

Dim poly_of(Ctx *ctx, Terms *t) {
    if (t->overflow)
        return NULL;
    for (int i = 1; i < t->v.n; i++) /* insertion sort: few terms */
        for (int j = i; j > 0 && mono_compare(&t->v.p[j - 1], &t->v.p[j]) > 0; j--) {
            DimTerm x = t->v.p[j];
            t->v.p[j] = t->v.p[j - 1];
            t->v.p[j - 1] = x;
        }
    int n = 0;
    for (int i = 0; i < t->v.n; i++) {
        if (n && mono_same(&t->v.p[n - 1], &t->v.p[i])) {
            if (__builtin_add_overflow(t->v.p[n - 1].coef, t->v.p[i].coef, &t->v.p[n - 1].coef))
                return NULL;
        } else {
            t->v.p[n++] = t->v.p[i];
        }
        if (t->v.p[n - 1].coef == 0)
            n--;
    }
    struct DimPoly p = {.n = n, .terms = t->v.p};
    return poly_intern(ctx, &p);
}

void terms_add(Ctx *ctx, Terms *t, DimTerm term) {
    if (!t->v.p) {
        t->v.p = t->few;
        t->v.cap = FEW_TERMS;
    }
    vec_push(&ctx->perm, &t->v, term);
}

void terms_add_poly(Ctx *ctx, Terms *t, Dim a, int64_t k) {
    for (int i = 0; i < a->n; i++) {
        DimTerm x = a->terms[i];
        t->overflow |= __builtin_mul_overflow(x.coef, k, &x.coef);
        terms_add(ctx, t, x);
    }
}

DimSym dim_symbol_new(Ctx *ctx, Str name, int64_t least, bool is_index) {
    struct DimSymbol *s = ARENA_NEW(&ctx->perm, struct DimSymbol);
    *s = (struct DimSymbol){.name = name, .id = ++table_of(ctx)->n_symbols, .least = least, .is_index = is_index};
    return s;
}

Dim dim_const(Ctx *ctx, int64_t k) {
    DimTerm t = {.coef = k};
    struct DimPoly p = {.n = k != 0, .terms = &t};
    return poly_intern(ctx, &p);
}

Dim dim_of_atom(Ctx *ctx, const DimAtom *a) {
    const DimAtom *one[1] = {a};
    DimTerm t = {.coef = 1, .n_atoms = 1, .atoms = one};
    struct DimPoly p = {.n = 1, .terms = &t};
    return poly_intern(ctx, &p);
}

Dim dim_of(Ctx *ctx, DimSym s) { return dim_of_atom(ctx, atom_intern(ctx, (DimAtom){.sym = s})); }

static Dim combine(Ctx *ctx, Dim a, Dim b, int64_t k) {
    if (!a || !b)
        return NULL;
    Terms t = {0};
    terms_add_poly(ctx, &t, a, 1);
    terms_add_poly(ctx, &t, b, k);
    return poly_of(ctx, &t);
}

Dim dim_add(Ctx *ctx, Dim a, Dim b) { return combine(ctx, a, b, 1); }
Dim dim_sub(Ctx *ctx, Dim a, Dim b) { return combine(ctx, a, b, -1); }
Dim dim_neg(Ctx *ctx, Dim a) { return dim_scale(ctx, a, -1); }
Dim dim_addk(Ctx *ctx, Dim a, int64_t k) { return dim_add(ctx, a, dim_const(ctx, k)); }

Dim dim_scale(Ctx *ctx, Dim a, int64_t k) {
    if (!a || k == 0)
        return a ? dim_const(ctx, 0) : NULL;
    Terms t = {0};
    terms_add_poly(ctx, &t, a, k);
    return poly_of(ctx, &t);
}

static DimTerm term_mul(Ctx *ctx, const DimTerm *a, const DimTerm *b, bool *overflow) {
    DimTerm r = {.n_atoms = a->n_atoms + b->n_atoms};
    const DimAtom **atoms = ARENA_ARRAY(&ctx->perm, const DimAtom *, r.n_atoms + 1);
    for (int i = 0, j = 0, k = 0; k < r.n_atoms; k++) {
        bool left = j == b->n_atoms || (i < a->n_atoms && atom_compare(a->atoms[i], b->atoms[j]) <= 0);
        atoms[k] = left ? a->atoms[i++] : b->atoms[j++];
    }
    r.atoms = atoms;
    *overflow |= __builtin_mul_overflow(a->coef, b->coef, &r.coef);
    return r;
}

Dim dim_mul(Ctx *ctx, Dim a, Dim b) {
    if (!a || !b)
        return NULL;
    int64_t k;
    if (dim_is_const(a, &k))
        return dim_scale(ctx, b, k);
    if (dim_is_const(b, &k))
        return dim_scale(ctx, a, k);
    Terms t = {0};
    for (int i = 0; i < a->n; i++)
        for (int j = 0; j < b->n; j++)
            terms_add(ctx, &t, term_mul(ctx, &a->terms[i], &b->terms[j], &t.overflow));
    return poly_of(ctx, &t);
}

/* ---- division */

/* m without the atoms of n, or false. */
bool mono_div(Ctx *ctx, const DimTerm *m, int n, const DimAtom *const *by, DimTerm *out) {
    const DimAtom **left = ARENA_ARRAY(&ctx->perm, const DimAtom *, m->n_atoms + 1);
    int k = 0, j = 0;
    for (int i = 0; i < m->n_atoms; i++) {
        if (j < n && m->atoms[i] == by[j])
            j++;
        else
            left[k++] = m->atoms[i];
    }
    *out = (DimTerm){.coef = m->coef, .n_atoms = k, .atoms = left};
    return j == n;
}

int64_t floor_div(int64_t a, int64_t b) {
    int64_t q = a / b;
    return q - (a % b != 0 && (a % b < 0) != (b < 0));
}

/* One step of the polynomial division of *p by q, or false if none is left. */
static bool divide_step(Ctx *ctx, Dim *p, Dim q, Terms *d) {
    const DimTerm *lead = &q->terms[0];
    int64_t size = lead->coef < 0 ? -lead->coef : lead->coef;
    for (int i = 0; i < (*p)->n; i++) {
        DimTerm k;
        int64_t c = floor_div((*p)->terms[i].coef, size) * (lead->coef > 0 ? 1 : -1);
        if (!c || !mono_div(ctx, &(*p)->terms[i], lead->n_atoms, lead->atoms, &k))
            continue;
        k.coef = c;
        terms_add(ctx, d, k);
        struct DimPoly step = {.n = 1, .terms = &k};
        *p = dim_sub(ctx, *p, dim_mul(ctx, poly_intern(ctx, &step), q));
        return true;
    }
    return false;
}

Dim dim_divide(Ctx *ctx, Dim a, Dim q, Dim *remainder) {
    *remainder = NULL;
    if (!a || !q || q->n == 0)
        return NULL;
    Terms d = {0};
    int steps = 0;
    while (a && divide_step(ctx, &a, q, &d))
        if (++steps > 10000)
            return NULL;
    *remainder = a;
    return a ? poly_of(ctx, &d) : NULL;
}

static int64_t gcd(int64_t a, int64_t b) {
    while (b) {
        int64_t t = a % b;
        a = b;
        b = t;
    }
    return a < 0 ? -a : a;
}

static Dim divided_coefs(Ctx *ctx, Dim a, int64_t g) {
    Terms t = {0};
    for (int i = 0; i < a->n; i++) {
        DimTerm x = a->terms[i];
        x.coef = floor_div(x.coef, g);
        terms_add(ctx, &t, x);
    }
    return poly_of(ctx, &t);
}

static bool in_all_terms(Dim a, const DimAtom *x) {
    for (int i = 0; i < a->n; i++) {
        bool found = false;
        for (int j = 0; j < a->terms[i].n_atoms; j++)
            found |= a->terms[i].atoms[j] == x;
        if (!found)
            return false;
    }
    return true;
}

static Dim without_factor(Ctx *ctx, Dim a, const DimAtom *x) {
    Terms t = {0};
    for (int i = 0; i < a->n; i++) {
        DimTerm r;
        mono_div(ctx, &a->terms[i], 1, &x, &r);
        terms_add(ctx, &t, r);
    }
    return poly_of(ctx, &t);
}

/* The floor that stands alone in its term with coefficient 1, if there is exactly one. */
static const DimAtom *lone_floor(Dim r) {
    const DimAtom *lone = NULL;
    for (int i = 0; i < r->n; i++) {
        const DimTerm *t = &r->terms[i];
        if (t->coef == 1 && t->n_atoms == 1 && t->atoms[0]->kind == DIM_FLOOR) {
            if (lone)
                return NULL;
            lone = t->atoms[0];
        }
    }
    return lone;
}

/* The one place where floors are made. Each step is an identity of integers:
 *   (q*d + r) // q = d + r // q           multiples out (q = 1 included)
 *   (g*p + c) // (g*q) = (p + c//g) // q  common integer factor, c the constant term
 *   (a*p) // (a*q) = p // q               common symbol
 *   (a//b + r) // q = (a + b*r) // (b*q)  one floor, alone in its term with coefficient 1 */
Dim dim_floordiv(Ctx *ctx, Dim p, Dim q) {
    int64_t k;
    if (!p || !q || (dim_is_const(q, &k) && k < 1))
        return NULL;
    Dim r, d = dim_divide(ctx, p, q, &r);
    if (!d || r->n == 0)
        return d;
    int64_t g = 0;
    for (int i = 0; i < q->n; i++)
        g = gcd(g, q->terms[i].coef);
    for (int i = 0; i < r->n; i++)
        g = r->terms[i].n_atoms ? gcd(g, r->terms[i].coef) : g;
    if (g > 1)
        return dim_add(ctx, d, dim_floordiv(ctx, divided_coefs(ctx, r, g), divided_coefs(ctx, q, g)));
    for (int i = 0; i < q->terms[0].n_atoms; i++) {
        const DimAtom *a = q->terms[0].atoms[i]; /* a floor could be negative, and leave a negative divisor */
        if (a->sym && in_all_terms(r, a) && in_all_terms(q, a))
            return dim_add(ctx, d, dim_floordiv(ctx, without_factor(ctx, r, a), without_factor(ctx, q, a)));
    }
    const DimAtom *f = lone_floor(r);
    if (f) {
        Dim rest = dim_sub(ctx, r, dim_of_atom(ctx, f));
        Dim num = dim_add(ctx, f->num, dim_mul(ctx, f->den, rest));
        return dim_add(ctx, d, dim_floordiv(ctx, num, dim_mul(ctx, f->den, q)));
    }
    return dim_add(ctx, d, dim_of_atom(ctx, atom_intern(ctx, (DimAtom){.kind = DIM_FLOOR, .num = r, .den = q})));
}

Dim dim_ceildiv(Ctx *ctx, Dim a, Dim b) {
    return b ? dim_floordiv(ctx, dim_add(ctx, a, dim_addk(ctx, b, -1)), b) : NULL;
}

Dim dim_mod(Ctx *ctx, Dim a, Dim b) { return dim_sub(ctx, a, dim_mul(ctx, b, dim_floordiv(ctx, a, b))); }

/* What a and b have in common: of each monomial in both the smaller coefficient. */
static Dim common_part(Ctx *ctx, Dim a, Dim b) {
    Terms t = {0};
    for (int i = 0, j = 0; i < a->n && j < b->n;) {
        int c = mono_compare(&a->terms[i], &b->terms[j]);
        if (!c)
            terms_add(ctx, &t, a->terms[i].coef < b->terms[j].coef ? a->terms[i] : b->terms[j]);
        i += c <= 0;
        j += c >= 0;
    }
    return poly_of(ctx, &t);
}

/* max(a + c, b + c) = c + max(a, b) and max(g*a, g*b) = g*max(a, b): what is common stands outside. */
Dim dim_max(Ctx *ctx, Dim a, Dim b) {
    int64_t k, g = 0;
    Dim less = dim_sub(ctx, a, b);
    if (!less)
        return NULL;
    if (dim_is_const(less, &k))
        return k < 0 ? b : a;
    Dim c = common_part(ctx, a, b);
    a = dim_sub(ctx, a, c);
    b = dim_sub(ctx, b, c);
    for (int i = 0; a && b && i < a->n + b->n; i++)
        g = gcd(g, i < a->n ? a->terms[i].coef : b->terms[i - a->n].coef);
    if (!g)
        return NULL;
    a = divided_coefs(ctx, a, g);
    b = divided_coefs(ctx, b, g);
    bool swap = dim_compare(a, b) > 0;
    const DimAtom *x = atom_intern(ctx, (DimAtom){.kind = DIM_MAX, .num = swap ? b : a, .den = swap ? a : b});
    return dim_add(ctx, c, dim_scale(ctx, dim_of_atom(ctx, x), g));
}

/* ---- questions */

bool dim_is_const(Dim a, int64_t *value) {
    if (!a || a->n > 1 || (a->n == 1 && a->terms[0].n_atoms))
        return false;
    if (value)
        *value = a->n ? a->terms[0].coef : 0;
    return true;
}

bool dim_is_zero(Dim a) { return a && a->n == 0; }

DimSym dim_as_symbol(Dim a) {
    if (!a || a->n != 1 || a->terms[0].coef != 1 || a->terms[0].n_atoms != 1)
        return NULL;
    return a->terms[0].atoms[0]->sym;
}

bool dim_mentions(Dim a, DimSym s) {
    for (int i = 0; a && i < a->n; i++)
        for (int j = 0; j < a->terms[i].n_atoms; j++) {
            const DimAtom *x = a->terms[i].atoms[j];
            if (x->sym ? x->sym == s : dim_mentions(x->num, s) || dim_mentions(x->den, s))
                return true;
        }
    return false;
}

static int collect(Dim a, DimSym *out, int n, int max) {
    for (int i = 0; i < a->n; i++)
        for (int j = 0; j < a->terms[i].n_atoms; j++) {
            const DimAtom *x = a->terms[i].atoms[j];
            if (!x->sym) {
                n = collect(x->den, out, collect(x->num, out, n, max), max);
                continue;
            }
            bool known = false;
            for (int k = 0; k < n && k < max; k++)
                known |= out[k] == x->sym;
            if (!known && n < max)
                out[n] = x->sym;
            n += !known;
        }
    return n;
}

int dim_symbols(Dim a, DimSym *out, int max) { return a ? collect(a, out, 0, max) : 0; }

bool dim_linear_in(Ctx *ctx, Dim a, DimSym s, Dim *c, Dim *rest) {
    Terms tc = {0}, tr = {0};
    const DimAtom *x = atom_intern(ctx, (DimAtom){.sym = s});
    for (int i = 0; a && i < a->n; i++) {
        DimTerm r;
        if (mono_div(ctx, &a->terms[i], 1, &x, &r))
            terms_add(ctx, &tc, r);
        else
            terms_add(ctx, &tr, a->terms[i]);
    }
    *c = poly_of(ctx, &tc);
    *rest = poly_of(ctx, &tr);
    return a && !dim_mentions(*c, s) && !dim_mentions(*rest, s);
}

/* ---- substitution, value */

static Dim subst_atom(Ctx *ctx, const DimAtom *a, const DimBinding *b, int n) {
    if (!a->sym) {
        Dim p = dim_subst(ctx, a->num, b, n), q = dim_subst(ctx, a->den, b, n);
        return a->kind == DIM_MAX ? dim_max(ctx, p, q) : dim_floordiv(ctx, p, q);
    }
    for (int k = 0; k < n; k++)
        if (b[k].sym == a->sym)
            return b[k].value;
    return dim_of_atom(ctx, a);
}

Dim dim_subst(Ctx *ctx, Dim a, const DimBinding *b, int n) {
    bool touched = false;
    for (int k = 0; k < n && a; k++)
        touched |= dim_mentions(a, b[k].sym);
    if (!touched)
        return a;
    Dim sum = dim_const(ctx, 0);
    for (int i = 0; i < a->n; i++) {
        Dim t = dim_const(ctx, a->terms[i].coef);
        for (int j = 0; j < a->terms[i].n_atoms; j++)
            t = dim_mul(ctx, t, subst_atom(ctx, a->terms[i].atoms[j], b, n));
        sum = dim_add(ctx, sum, t);
    }
    return sum;
}

static bool atom_value(const DimAtom *a, const DimValue *env, int n, int64_t *out) {
    if (a->sym) {
        for (int k = 0; k < n; k++)
            if (env[k].sym == a->sym) {
                *out = env[k].value;
                return true;
            }
        return false;
    }
    int64_t p, q;
    if (!dim_eval(a->num, env, n, &p) || !dim_eval(a->den, env, n, &q) || (a->kind == DIM_FLOOR && q < 1))
        return false;
    *out = a->kind == DIM_FLOOR ? floor_div(p, q) : p > q ? p : q;
    return true;
}

bool dim_eval(Dim a, const DimValue *env, int n, int64_t *out) {
    int64_t sum = 0;
    for (int i = 0; a && i < a->n; i++) {
        int64_t t = a->terms[i].coef, v;
        for (int j = 0; j < a->terms[i].n_atoms; j++)
            if (!atom_value(a->terms[i].atoms[j], env, n, &v) || __builtin_mul_overflow(t, v, &t))
                return false;
        if (__builtin_add_overflow(sum, t, &sum))
            return false;
    }
    *out = sum;
    return a != NULL;
}

/* ---- text */

static const char *paren(Ctx *ctx, Dim p) {
    const char *t = dim_text(ctx, p);
    return strpbrk(t, " *-") ? str_fmt(ctx, "(%s)", t) : t;
}

static const char *floor_text(Ctx *ctx, Dim num, Dim den) {
    const char *t = dim_text(ctx, num);
    bool one = num->n == 1 && !strchr(t, ' ') && t[0] != '-';
    return str_fmt(ctx, "(%s // %s)", one ? t : paren(ctx, num), paren(ctx, den));
}

static const char *text_of_atom(Ctx *ctx, const DimAtom *a) {
    return a->kind == DIM_SYMBOL ? a->sym->name
           : a->kind == DIM_FLOOR ? floor_text(ctx, a->num, a->den)
                                  : str_fmt(ctx, "max(%s, %s)", dim_text(ctx, a->num), dim_text(ctx, a->den));
}

/* Printed order: positive terms, negative ones, the constant last where a positive term has atoms. */
static int print_compare(const DimTerm *a, const DimTerm *b, bool last) {
    int x = !a->n_atoms && last, y = !b->n_atoms && last;
    if (x != y)
        return x - y;
    if ((a->coef < 0) != (b->coef < 0))
        return (a->coef < 0) - (b->coef < 0);
    return mono_compare(a, b);
}

/* The atoms of a term: symbols first, by text. A floor that stands alone needs no parentheses. */
static void print_atoms(StrBuf *sb, const DimTerm *t, bool bare) {
    int done = 0;
    for (int others = 0; others < 2; others++)
        for (int j = 0; j < t->n_atoms; j++) {
            const DimAtom *a = t->atoms[j];
            if ((a->sym == NULL) != others)
                continue;
            const char *text = atom_text(a);
            sb_put(sb, done++ ? "*" : "");
            sb_putn(sb, text + bare, strlen(text) - 2 * (size_t)bare);
        }
}

static void print_term(StrBuf *sb, const DimTerm *t, bool first) {
    uint64_t size = t->coef < 0 ? 0 - (uint64_t)t->coef : (uint64_t)t->coef;
    sb_put(sb, first ? (t->coef < 0 ? "-" : "") : t->coef < 0 ? " - " : " + ");
    if (!t->n_atoms || size != 1)
        sb_printf(sb, "%llu%s", (unsigned long long)size, t->n_atoms ? "*" : "");
    bool bare = t->n_atoms == 1 && t->atoms[0]->kind == DIM_FLOOR && size == 1 && (t->coef > 0 || !first);
    print_atoms(sb, t, bare);
}

void dim_print(StrBuf *sb, Dim a) {
    if (!a || a->n == 0) {
        sb_put(sb, a ? "0" : "<overflow>");
        return;
    }
    bool last = false;
    for (int i = 0; i < a->n; i++)
        last |= a->terms[i].n_atoms && a->terms[i].coef > 0;
    const DimTerm *before = NULL;
    for (int n = 0; n < a->n; n++) { /* selection: the next in printed order */
        const DimTerm *next = NULL;
        for (int i = 0; i < a->n; i++) {
            const DimTerm *t = &a->terms[i];
            bool past = !before || print_compare(before, t, last) < 0;
            if (past && (!next || print_compare(t, next, last) < 0))
                next = t;
        }
        print_term(sb, next, n == 0);
        before = next;
    }
}

const char *dim_text(Ctx *ctx, Dim a) {
    if (a && a->text)
        return a->text;
    StrBuf sb = sb_new(&ctx->perm);
    dim_print(&sb, a);
    Str text = str_intern(ctx, sb.text, sb.len);
    if (a)
        ((struct DimPoly *)(uintptr_t)a)->text = text; /* a cache: the value does not change */
    return text;
}

int dim_compare(Dim a, Dim b) {
    if (a == b)
        return 0;
    for (int i = 0; i < a->n && i < b->n; i++) {
        int c = mono_compare(&a->terms[i], &b->terms[i]);
        if (c)
            return c;
        if (a->terms[i].coef != b->terms[i].coef)
            return a->terms[i].coef < b->terms[i].coef ? -1 : 1;
    }
    return (a->n > b->n) - (a->n < b->n);
}

int dim_n_terms(Dim a) { return a->n; }
DimTerm dim_term(Dim a, int k) { return a->terms[k]; }
