#include "driver/sym_priv.h"

#include <math.h>

/* ---- nodes */

Sym sym_node(SymCtx *c, SymNode n, const Sym *kids) {
    if (++c->n_nodes > c->most)
        return NULL;
    for (int k = 0; k < n.n; k++)
        if (!kids[k])
            return NULL;
    n.kids = n.n ? arena_dup(&c->ctx->perm, kids, (size_t)n.n * sizeof *kids) : NULL;
    return arena_dup(&c->ctx->perm, &n, sizeof n);
}

Sym sym_num(SymCtx *c, double v) { return sym_node(c, (SymNode){.kind = SYM_NUM, .num = v}, NULL); }

Sym sym_name(SymCtx *c, Str name, unsigned flags, const Sym *subs, int n) {
    return sym_node(c, (SymNode){.kind = SYM_NAME, .name = name, .flags = flags, .n = n}, subs);
}

Sym sym_param(SymCtx *c, Str name, unsigned flags, uint64_t deps, const Sym *subs, int n) {
    return sym_node(
        c,
        (SymNode){.kind = SYM_NAME, .name = name, .flags = flags | SYM_PARAM, .deps = deps, .n = n},
        subs);
}

Sym sym_index(SymCtx *c, Str name) {
    return sym_node(c, (SymNode){.kind = SYM_INDEX, .name = name}, NULL);
}

Sym sym_stop(SymCtx *c, Sym a) { return sym_node(c, (SymNode){.kind = SYM_STOP, .n = 1}, &a); }

bool sym_is_num(Sym e, double v) { return e && e->kind == SYM_NUM && e->num == v; }

/* ---- equality */

typedef struct Bound { /* pairs of indices that stand for one another */
    Sym a, b;
    const struct Bound *up;
} Bound;

static bool equal_under(Sym a, Sym b, const Bound *bound);

/* The kids agree in some order. */
static bool equal_sets(Sym a, Sym b, const Bound *bound) {
    uint64_t used = 0;
    for (int k = 0; k < a->n; k++) {
        int j = 0;
        while (j < b->n &&
               ((j < 64 && used >> j & 1) || !equal_under(a->kids[k], b->kids[j], bound)))
            j++;
        if (j == b->n)
            return false;
        used |= j < 64 ? (uint64_t)1 << j : 0;
    }
    return true;
}

static bool equal_under(Sym a, Sym b, const Bound *bound) {
    if (a == b && !bound)
        return true;
    if (!a || !b || a->kind != b->kind || a->n != b->n)
        return false;
    if (a->kind == SYM_INDEX) {
        for (; bound; bound = bound->up)
            if (bound->a == a || bound->b == b)
                return bound->a == a && bound->b == b;
        return a == b;
    }
    if (a->kind == SYM_NUM)
        return a->num == b->num || (isnan(a->num) && isnan(b->num));
    if (a->op != b->op || a->name != b->name)
        return false;
    if (a->kind == SYM_ADD || a->kind == SYM_MUL)
        return a->n <= 64 && equal_sets(a, b, bound);
    bool binds = a->kind == SYM_SUM || a->kind == SYM_MAX || a->kind == SYM_MIN;
    Bound more = {a->n ? a->kids[0] : NULL, b->n ? b->kids[0] : NULL, bound};
    for (int k = binds; k < a->n; k++)
        if (!equal_under(a->kids[k], b->kids[k], binds && k == 2 ? &more : bound))
            return false;
    return true;
}

bool sym_equal(Sym a, Sym b) { return equal_under(a, b, NULL); }

bool sym_mentions(Sym e, Sym part) {
    if (!e || sym_equal(e, part))
        return e != NULL;
    for (int k = 0; k < e->n; k++)
        if (sym_mentions(e->kids[k], part))
            return true;
    return false;
}

bool sym_mentions_flag(Sym e, unsigned flag) {
    if (!e || (e->flags & flag))
        return e != NULL;
    for (int k = 0; k < e->n; k++)
        if (sym_mentions_flag(e->kids[k], flag))
            return true;
    return false;
}

int sym_size(Sym e) {
    int n = 1;
    for (int k = 0; e && k < e->n; k++)
        n += sym_size(e->kids[k]);
    return n;
}

/* ---- sums and products */

void symlist_put(SymList *l, Sym e) {
    l->bad |= !e;
    vec_push(&l->c->ctx->perm, &l->e, e);
}

double sym_coefficient(Sym e) {
    return e->kind == SYM_NUM                                  ? e->num
           : e->kind == SYM_MUL && e->kids[0]->kind == SYM_NUM ? e->kids[0]->num
                                                               : 1;
}

/* e without its numeric factor; NULL: nothing is left. */
static Sym without_coefficient(SymCtx *c, Sym e) {
    if (e->kind == SYM_NUM)
        return NULL;
    if (e->kind != SYM_MUL || e->kids[0]->kind != SYM_NUM)
        return e;
    return e->n == 2 ? e->kids[1]
                     : sym_node(c, (SymNode){.kind = SYM_MUL, .n = e->n - 1}, e->kids + 1);
}

static Sym scaled(SymCtx *c, double by, Sym e) {
    if (!e || by == 1)
        return e;
    if (by == 0 || e->kind == SYM_NUM)
        return sym_num(c, e->kind == SYM_NUM ? by * e->num : 0);
    SymList l = {.c = c};
    symlist_put(&l, sym_num(c, by));
    if (e->kind == SYM_MUL)
        for (int k = 0; k < e->n; k++)
            symlist_put(&l, e->kids[k]);
    else
        symlist_put(&l, e);
    return sym_node(c, (SymNode){.kind = SYM_MUL, .n = l.e.n}, l.e.p);
}

Sym sym_sum_of(SymCtx *c, const Sym *given, int n_given) {
    SymList flat = {.c = c};
    for (int k = 0; k < n_given; k++) { /* -(a + b) is -a - b */
        Sym e = without_coefficient(c, given[k]);
        bool in = e && e->kind == SYM_ADD && e != given[k];
        for (int j = 0; j < (in ? e->n : 1); j++)
            symlist_put(&flat,
                        in ? scaled(c, sym_coefficient(given[k]) * sym_coefficient(e->kids[j]),
                                    without_coefficient(c, e->kids[j])
                                        ? without_coefficient(c, e->kids[j])
                                        : sym_num(c, 1))
                           : given[k]);
    }
    if (flat.bad)
        return NULL;
    const Sym *terms = flat.e.p;
    int n = flat.e.n;
    double *coef = ARENA_ARRAY(&c->ctx->perm, double, n + 1), number = 0;
    SymList rest = {.c = c}, out = {.c = c};
    for (int k = 0; k < n; k++) {
        Sym e = without_coefficient(c, terms[k]);
        double by = sym_coefficient(terms[k]);
        if (!e) {
            number += by;
            continue;
        }
        int j = 0;
        for (; j < rest.e.n && !sym_equal(rest.e.p[j], e); j++)
            ;
        if (j == rest.e.n)
            symlist_put(&rest, e);
        coef[j] = j == rest.e.n - 1 && coef[j] == 0 ? by : coef[j] + by;
    }
    for (int k = 0; k < rest.e.n; k++)
        if (coef[k] != 0)
            symlist_put(&out, scaled(c, coef[k], rest.e.p[k]));
    if (number != 0 || !out.e.n)
        symlist_put(&out, sym_num(c, number));
    return out.e.n == 1 ? out.e.p[0]
                        : sym_node(c, (SymNode){.kind = SYM_ADD, .n = out.e.n}, out.e.p);
}

int sym_n_terms(Sym e) { return e->kind == SYM_ADD ? e->n : 1; }

Sym sym_term(Sym e, int k) { return e->kind == SYM_ADD ? e->kids[k] : e; }

Sym sym_add(SymCtx *c, Sym a, Sym b) {
    if (!a || !b)
        return NULL;
    SymList l = {.c = c};
    const Sym both[2] = {a, b};
    for (int j = 0; j < 2; j++)
        for (int k = 0; k < sym_n_terms(both[j]); k++)
            symlist_put(&l, sym_term(both[j], k));
    return sym_sum_of(c, l.e.p, l.e.n);
}

Sym sym_neg(SymCtx *c, Sym a) { return sym_mul(c, sym_num(c, -1), a); }
Sym sym_sub(SymCtx *c, Sym a, Sym b) { return sym_add(c, a, sym_neg(c, b)); }
Sym sym_div(SymCtx *c, Sym a, Sym b) { return sym_mul(c, a, sym_pow(c, b, sym_num(c, -1))); }

static Sym base_of(Sym e) { return e->kind == SYM_POW ? e->kids[0] : e; }

/* Factors with equal bases get the sum of their exponents; numbers are multiplied. */
static Sym product_of(SymCtx *c, const Sym *factors, int n) {
    SymList base = {.c = c}, power = {.c = c};
    double number = 1;
    for (int k = 0; k < n; k++) {
        if (factors[k]->kind == SYM_NUM) {
            number *= factors[k]->num;
            continue;
        }
        Sym b = base_of(factors[k]);
        Sym e = factors[k]->kind == SYM_POW ? factors[k]->kids[1] : sym_num(c, 1);
        int j = 0;
        for (; j < base.e.n && !sym_equal(base.e.p[j], b); j++)
            ;
        if (j < base.e.n) {
            power.e.p[j] = sym_add(c, power.e.p[j], e);
        } else {
            symlist_put(&base, b);
            symlist_put(&power, e);
        }
    }
    if (number == 0)
        return sym_num(c, 0);
    SymList out = {.c = c};
    if (number != 1)
        symlist_put(&out, sym_num(c, number));
    for (int k = 0; k < base.e.n; k++)
        if (!sym_is_num(power.e.p[k], 0))
            symlist_put(&out, sym_is_num(power.e.p[k], 1)
                                  ? base.e.p[k]
                                  : sym_node(c, (SymNode){.kind = SYM_POW, .n = 2},
                                             (Sym[]){base.e.p[k], power.e.p[k]}));
    if (!out.e.n)
        return sym_num(c, number);
    for (int k = 0; k < out.e.n; k++)
        if (!out.e.p[k])
            return NULL;
    return out.e.n == 1 ? out.e.p[0]
                        : sym_node(c, (SymNode){.kind = SYM_MUL, .n = out.e.n}, out.e.p);
}

void symlist_factors(SymList *l, Sym e) {
    if (e && e->kind == SYM_MUL)
        for (int k = 0; k < e->n; k++)
            symlist_put(l, e->kids[k]);
    else
        symlist_put(l, e);
}

Sym sym_mul(SymCtx *c, Sym a, Sym b) {
    SymList l = {.c = c};
    symlist_factors(&l, a);
    symlist_factors(&l, b);
    return l.bad ? NULL : product_of(c, l.e.p, l.e.n);
}

static bool is_whole(Sym e) { return e->kind == SYM_NUM && e->num == floor(e->num); }

Sym sym_pow(SymCtx *c, Sym base, Sym exponent) {
    if (!base || !exponent)
        return NULL;
    if (sym_is_num(exponent, 0) || sym_is_num(base, 1))
        return sym_num(c, 1);
    if (sym_is_num(exponent, 1))
        return base;
    if (base->kind == SYM_NUM && exponent->kind == SYM_NUM && base->num != 0)
        return sym_num(c, pow(base->num, exponent->num));
    if (base->kind == SYM_POW && (is_whole(exponent) || is_whole(base->kids[1])))
        return sym_pow(c, base->kids[0], sym_mul(c, base->kids[1], exponent));
    if (base->kind == SYM_CALL && base->op == SC_exp)
        return sym_call(c, SC_exp, (Sym[]){sym_mul(c, base->kids[0], exponent)}, 1);
    if (base->kind == SYM_MUL && is_whole(exponent)) {
        Sym r = sym_num(c, 1);
        for (int k = 0; k < base->n; k++)
            r = sym_mul(c, r, sym_pow(c, base->kids[k], exponent));
        return r;
    }
    /* (-a)^2 = a^2 is for sums whose first term is negative: the printed form is the shorter one */
    return sym_node(c, (SymNode){.kind = SYM_POW, .n = 2}, (Sym[]){base, exponent});
}

/* ---- calls */

static bool is_positive(Sym e) {
    if (e->kind == SYM_NUM)
        return e->num > 0;
    if (e->kind == SYM_POW)
        return is_positive(e->kids[0]);
    if (e->kind == SYM_MUL) {
        for (int k = 0; k < e->n; k++)
            if (!is_positive(e->kids[k]))
                return false;
        return true;
    }
    return (e->flags & SYM_POSITIVE) || (e->kind == SYM_CALL && e->op == SC_exp);
}

bool sym_is_call(Sym e, ScalarOp op) { return e && e->kind == SYM_CALL && e->op == op; }

static Sym call_node(SymCtx *c, ScalarOp op, const Sym *args, int n) {
    return sym_node(c, (SymNode){.kind = SYM_CALL, .op = op, .n = n}, args);
}

/* log of products of positive factors, of powers, of exp and of sums of exp(a - b) with b constant.
 */
static Sym log_of(SymCtx *c, Sym a) {
    if (sym_is_call(a, SC_exp))
        return a->kids[0];
    if (sym_is_num(a, 1))
        return sym_num(c, 0);
    if (a->kind == SYM_POW && is_positive(a->kids[0]))
        return sym_mul(c, a->kids[1], log_of(c, a->kids[0]));
    if (a->kind != SYM_MUL)
        return call_node(c, SC_log, &a, 1);
    Sym out = sym_num(c, 0), rest = sym_num(c, 1);
    for (int k = 0; k < a->n; k++) {
        if (is_positive(a->kids[k]))
            out = sym_add(c, out, log_of(c, a->kids[k]));
        else
            rest = sym_mul(c, rest, a->kids[k]);
    }
    return sym_is_num(rest, 1) ? out : sym_add(c, call_node(c, SC_log, &rest, 1), out);
}

static Sym number_call(SymCtx *c, ScalarOp op, const Sym *args, int n) {
    ScalarValue v[3] = {{0}};
    for (int k = 0; k < n; k++) {
        if (args[k]->kind != SYM_NUM)
            return NULL;
        v[k].f = args[k]->num;
    }
    return sym_num(c, scalar_eval(op, DT_F64, DT_F64, v).f);
}

Sym sym_call(SymCtx *c, ScalarOp op, const Sym *a, int n) {
    for (int k = 0; k < n; k++)
        if (!a[k])
            return NULL;
    Sym one;
    switch (op) {
    case SC_add:
        return sym_add(c, a[0], a[1]);
    case SC_sub:
        return sym_sub(c, a[0], a[1]);
    case SC_mul:
        return sym_mul(c, a[0], a[1]);
    case SC_div:
        return sym_div(c, a[0], a[1]);
    case SC_neg:
        return sym_neg(c, a[0]);
    case SC_pow:
        return sym_pow(c, a[0], a[1]);
    case SC_fma:
        return sym_add(c, sym_mul(c, a[0], a[1]), a[2]);
    case SC_sqrt:
        return sym_pow(c, a[0], sym_num(c, 0.5));
    case SC_rsqrt:
        return sym_pow(c, a[0], sym_num(c, -0.5));
    case SC_cast:
        return a[0];
    case SC_select:
        return sym_select(c, a[0], a[1], a[2]);
    case SC_log:
        return log_of(c, a[0]);
    case SC_log1p:
        one = sym_add(c, sym_num(c, 1), a[0]);
        return one ? log_of(c, one) : NULL;
    case SC_expm1:
        return sym_sub(c, sym_call(c, SC_exp, a, 1), sym_num(c, 1));
    case SC_eq:
        return sym_delta(c, a[0], a[1]);
    default:
        break;
    }
    if (op == SC_sigmoid && a[0]->kind == SYM_MUL && sym_coefficient(a[0]) < 0) {
        Sym z = sym_neg(c, a[0]);
        return sym_sub(c, sym_num(c, 1), sym_call(c, SC_sigmoid, &z, 1));
    }
    if (op == SC_exp && sym_is_num(a[0], 0))
        return sym_num(c, 1);
    if (op == SC_exp && sym_is_call(a[0], SC_log))
        return a[0]->kids[0];
    Sym v = scalar_def(op)->flags & SF_REAL && scalar_def(op)->result == SR_SAME
                ? number_call(c, op, a, n)
                : NULL;
    return v && v->num == floor(v->num) ? v : call_node(c, op, a, n);
}

Sym sym_delta(SymCtx *c, Sym a, Sym b) {
    if (!a || !b)
        return NULL;
    if (sym_equal(a, b))
        return sym_num(c, 1);
    if (a->kind == SYM_NUM && b->kind == SYM_NUM)
        return sym_num(c, 0);
    return sym_node(c, (SymNode){.kind = SYM_DELTA, .n = 2}, (Sym[]){a, b});
}

/* log sigmoid(z), which the densities write as select(0 < z, -log(1 + exp(-z)), z - log(1 + exp
 * z)). */
static Sym log_sigmoid(SymCtx *c, Sym cond, Sym a, Sym b) {
    if (!sym_is_call(cond, SC_lt) || !sym_is_num(cond->kids[0], 0))
        return NULL;
    Sym z = cond->kids[1], one = sym_num(c, 1), minus = sym_neg(c, z);
    Sym up = sym_neg(c, log_of(c, sym_add(c, one, sym_call(c, SC_exp, &minus, 1))));
    Sym down = sym_sub(c, z, log_of(c, sym_add(c, one, sym_call(c, SC_exp, &z, 1))));
    if (!sym_equal(a, up) || !sym_equal(b, down))
        return NULL;
    Sym s = sym_call(c, SC_sigmoid, &z, 1);
    return s ? call_node(c, SC_log, &s, 1) : NULL;
}

static bool is_infinite(Sym e) { return e->kind == SYM_NUM && isinf(e->num); }

/* Is e 0 where d holds? It is a product with a factor that d says is 0. */
static bool vanishes(Sym e, Sym d) {
    if (d->kind != SYM_DELTA || !sym_is_num(d->kids[1], 0))
        return false;
    if (sym_equal(e, d->kids[0]))
        return true;
    for (int k = 0; e->kind == SYM_MUL && k < e->n; k++)
        if (sym_equal(e->kids[k], d->kids[0]))
            return true;
    return false;
}

/* A condition as 0 or 1: a bool of the data, an equality, a number. */
static bool is_indicator(Sym cond) {
    return cond->kind == SYM_NAME || cond->kind == SYM_DELTA || cond->kind == SYM_NUM ||
           sym_is_call(cond, SC_and);
}

Sym sym_select(SymCtx *c, Sym cond, Sym a, Sym b) {
    if (!cond || !a || !b)
        return NULL;
    if (sym_equal(a, b))
        return a;
    if (cond->kind == SYM_NUM)
        return cond->num != 0 ? a : b;
    if (is_infinite(a)) /* outside of the support */
        return b;
    if (is_infinite(b))
        return a;
    if (sym_is_num(a, 0) && vanishes(b, cond)) /* 0 log 0 = 0 */
        return b;
    Sym s = log_sigmoid(c, cond, a, b);
    if (s)
        return s;
    if (is_indicator(cond) && sym_is_num(b, 0))
        return sym_mul(c, cond, a);
    if (cond->kind == SYM_NAME)
        return sym_add(c, sym_mul(c, cond, a), sym_mul(c, sym_sub(c, sym_num(c, 1), cond), b));
    return sym_node(c, (SymNode){.kind = SYM_SELECT, .n = 3}, (Sym[]){cond, a, b});
}
