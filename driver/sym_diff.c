/* Derivatives: linear by structure, of calls by the scalar table's rules. */
#include "driver/sym.h"

/* The rule's placeholders: operand k of the body stands for operand k of the call, then result and
 * cotangent. */
typedef struct Rule {
    const Sym *values;
} Rule;

static Sym rule_read(SymBody *b, const BodyInst *i) { return ((Rule *)b->at)->values[i->operand]; }

/* d call / d operand k; NULL where the table has no formula; *zero: it is 0. */
static Sym by_table(SymCtx *c, Sym e, int k, bool *zero) {
    const ScalarDef *def = scalar_def(e->op);
    *zero = !def->vjp;
    if (!def->vjp)
        return NULL;
    BodyBuilder b = body_new(c->ctx);
    Sym values[5] = {NULL, NULL, NULL, e, sym_num(c, 1)};
    int reads[5], n = def->arity;
    for (int j = 0; j < n; j++)
        values[j] = e->kids[j];
    for (int j = 0; j < 5; j++)
        reads[j] = body_read(&b, DT_F64, j, 0, NULL);
    int d = def->vjp(&b, k, reads[4], reads[3], reads);
    *zero = d < 0;
    if (d < 0)
        return NULL;
    Rule rule = {values};
    SymBody s = {.c = c, .insts = b.insts.p, .read = rule_read, .at = &rule};
    return sym_of_body(&s, d);
}

static Sym diff_call(SymCtx *c, Sym e, Sym at) {
    Sym r = sym_num(c, 0);
    for (int k = 0; k < e->n; k++) {
        Sym d = sym_diff(c, e->kids[k], at);
        if (!d || sym_is_num(d, 0)) {
            if (!d)
                return NULL;
            continue;
        }
        bool zero;
        Sym by = by_table(c, e, k, &zero);
        if (!zero)
            r = sym_add(c, r, sym_mul(c, d, by));
    }
    return r;
}

/* x_i by x_j: [i = j] */
static Sym diff_name(SymCtx *c, Sym e, Sym at) {
    if ((e->flags & SYM_OPAQUE) && (e->deps & at->deps))
        return NULL;
    if (e->name != at->name || e->n != at->n)
        return sym_num(c, 0);
    Sym r = sym_num(c, 1);
    for (int k = 0; k < e->n; k++)
        r = sym_mul(c, r, sym_delta(c, e->kids[k], at->kids[k]));
    return r;
}

static Sym diff_product(SymCtx *c, Sym e, Sym at) {
    Sym r = sym_num(c, 0);
    for (int k = 0; k < e->n; k++) {
        Sym d = sym_diff(c, e->kids[k], at);
        for (int j = 0; j < e->n; j++)
            if (j != k)
                d = sym_mul(c, d, e->kids[j]);
        r = sym_add(c, r, d);
    }
    return r;
}

Sym sym_diff(SymCtx *c, Sym e, Sym at) {
    if (!e || !at)
        return NULL;
    Sym r = sym_num(c, 0), a, b;
    switch (e->kind) {
    case SYM_NUM:
    case SYM_INDEX:
    case SYM_STOP:
    case SYM_DELTA:
        return r;
    case SYM_NAME:
        return diff_name(c, e, at);
    case SYM_ADD:
        for (int k = 0; k < e->n; k++)
            r = sym_add(c, r, sym_diff(c, e->kids[k], at));
        return r;
    case SYM_MUL:
        return diff_product(c, e, at);
    case SYM_POW: /* exponents with parameters go by the row `pow` */
        if (sym_mentions_flag(e->kids[1], SYM_PARAM)) {
            a = sym_diff(c, e->kids[0], at), b = sym_diff(c, e->kids[1], at);
            r = sym_mul(c, b, sym_call(c, SC_log, e->kids, 1));
            r = sym_add(
                c, r,
                sym_mul(c, sym_mul(c, e->kids[1], a), sym_pow(c, e->kids[0], sym_num(c, -1))));
            return sym_mul(c, e, r);
        }
        a = sym_pow(c, e->kids[0], sym_sub(c, e->kids[1], sym_num(c, 1)));
        return sym_mul(c, sym_mul(c, e->kids[1], a), sym_diff(c, e->kids[0], at));
    case SYM_CALL:
        return diff_call(c, e, at);
    case SYM_SELECT:
        return sym_select(c, e->kids[0], sym_diff(c, e->kids[1], at), sym_diff(c, e->kids[2], at));
    case SYM_SUM:
        return sym_over(c, SYM_SUM, e->kids[0], e->kids[1], sym_diff(c, e->kids[2], at));
    case SYM_MAX:
    case SYM_MIN:
        return sym_mentions_flag(e, SYM_PARAM) ? NULL : r;
    }
    return NULL;
}
