/* Expressions as text and LaTeX. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver/sym.h"

typedef enum Level { LEVEL_ADD, LEVEL_MUL, LEVEL_UNARY, LEVEL_POW, LEVEL_ATOM } Level;

typedef struct Names { /* of the indices around */
    Sym index;
    Str name;
    const struct Names *up;
} Names;

typedef struct Out {
    const SymPrint *p;
    StrBuf *sb;
    const Names *names;
} Out;

static void print_at(Out *o, Sym e, Level level);
static bool has_minus(const Out *o, Sym t);

static bool is_latex(const Out *o) { return o->p->style == SYM_LATEX; }

/* ---- names */

static const char *const greek[] = {"alpha", "beta",  "gamma", "delta",  "epsilon", "zeta",   "eta",
                                    "theta", "iota",  "kappa", "lambda", "mu",      "nu",     "xi",
                                    "pi",    "rho",   "sigma", "tau",    "upsilon", "phi",    "chi",
                                    "psi",   "omega", "Gamma", "Delta",  "Theta",   "Lambda", "Xi",
                                    "Pi",    "Sigma", "Phi",   "Psi",    "Omega"};

static bool is_greek(Str name, size_t len) {
    for (size_t k = 0; k < sizeof greek / sizeof *greek; k++)
        if (strlen(greek[k]) == len && memcmp(greek[k], name, len) == 0)
            return true;
    return false;
}

/* b1 is b_{1}: the letters, then digits as a subscript. */
static void latex_name(StrBuf *sb, Str name) {
    size_t len = strlen(name), letters = len;
    while (letters > 1 && isdigit((unsigned char)name[letters - 1]))
        letters--;
    if (is_greek(name, letters)) {
        sb_printf(sb, "\\%.*s", (int)letters, name);
    } else if (letters == 1) {
        sb_putc(sb, name[0]);
    } else {
        sb_put(sb, "\\mathrm{");
        for (size_t k = 0; k < letters; k++)
            sb_printf(sb, name[k] == '_' ? "\\%c" : "%c", name[k]);
        sb_putc(sb, '}');
    }
    if (letters < len)
        sb_printf(sb, "_{%s}", name + letters);
}

Str sym_print_name(const SymPrint *p, Str name) {
    if (p->style != SYM_LATEX)
        return name;
    StrBuf sb = sb_new(&p->ctx->perm);
    latex_name(&sb, name);
    return str_of(p->ctx, sb.text);
}

static bool is_used(const Out *o, const char *name) {
    for (int k = 0; k < o->p->n_taken; k++)
        if (strcmp(o->p->taken[k], name) == 0)
            return true;
    for (const Names *n = o->names; n; n = n->up)
        if (strcmp(n->name, name) == 0)
            return true;
    return false;
}

static Str index_name(const Out *o, Sym e) {
    for (const Names *n = o->names; n; n = n->up)
        if (n->index == e)
            return n->name;
    return e->name ? e->name : "?";
}

static Str fresh_name(const Out *o) {
    static const char letters[] = "ijklmnrsuv";
    for (int k = 0;; k++) {
        Str name = k < 10 ? str_fmt(o->p->ctx, "%c", letters[k])
                          : str_fmt(o->p->ctx, "%c%d", letters[k % 10], k / 10);
        if (!is_used(o, name))
            return name;
    }
}

/* ---- numbers */

/* Equal but for the roundings of a few operations. */
static bool is_near(double a, double b) { return a == b || fabs(a - b) <= 1e-14 * fabs(b); }

/* A fraction of small numbers, if v is one. */
static bool fraction_of(double v, int *num, int *den) {
    char text[32];
    snprintf(text, sizeof text, "%.6g", v);
    bool brief = is_near(strtod(text, NULL), v);
    for (int d = 2; d <= (brief ? 12 : 200) && v != floor(v); d++)
        if (d % 5 && is_near(rint(v * d), v * d) && fabs(v * d) < 1000) {
            *num = (int)rint(v * d);
            *den = d;
            return true;
        }
    return false;
}

static void print_number(Out *o, double v) {
    if (v == floor(v) && fabs(v) < 1e15)
        sb_printf(o->sb, "%.0f", v);
    else
        sb_printf(o->sb, "%.15g", v);
}

/* ---- parts */

static void open_bracket(Out *o, bool on) {
    sb_put(o->sb, on ? is_latex(o) ? "\\left(" : "(" : "");
}
static void close_bracket(Out *o, bool on) {
    sb_put(o->sb, on ? is_latex(o) ? "\\right)" : ")" : "");
}

static bool is_short(Sym e) {
    return e->kind == SYM_INDEX || (e->kind == SYM_NUM && e->num >= 0 && e->num < 10) ||
           (e->kind == SYM_NAME && !e->n && strlen(e->name) == 1);
}

static void print_subscripts(Out *o, const Sym *subs, int n) {
    bool all_short = true;
    for (int k = 0; k < n; k++)
        all_short &= is_short(subs[k]) &&
                     (subs[k]->kind != SYM_INDEX || strlen(index_name(o, subs[k])) == 1);
    bool text = !is_latex(o) && !all_short;
    sb_put(o->sb, is_latex(o) ? "_{" : text ? "[" : "_");
    for (int k = 0; k < n; k++) {
        sb_put(o->sb, k && !all_short ? ", " : "");
        print_at(o, subs[k], LEVEL_ADD);
    }
    sb_put(o->sb, is_latex(o) ? "}" : text ? "]" : "");
}

static void print_name(Out *o, Sym e) {
    if (is_latex(o))
        latex_name(o->sb, e->name);
    else
        sb_put(o->sb, e->name);
    if (e->n)
        print_subscripts(o, e->kids, e->n);
}

static void print_args(Out *o, const Sym *args, int n) {
    open_bracket(o, true);
    for (int k = 0; k < n; k++) {
        sb_put(o->sb, k ? ", " : "");
        print_at(o, args[k], LEVEL_ADD);
    }
    close_bracket(o, true);
}

static const char *latex_function(const char *name) {
    static const char *const known[] = {"log",  "exp",  "sin", "cos", "tan", "sinh",
                                        "cosh", "tanh", "max", "min", NULL};
    for (int k = 0; known[k]; k++)
        if (strcmp(known[k], name) == 0)
            return name;
    return NULL;
}

static void print_call(Out *o, Sym e) {
    const ScalarDef *d = scalar_def(e->op);
    const char *name = d->name;
    if (d->infix || e->op == SC_and || e->op == SC_or) {
        bool latex = is_latex(o);
        const char *sign = e->op == SC_and           ? latex ? "\\wedge" : "and"
                           : e->op == SC_or          ? latex ? "\\vee" : "or"
                           : e->op == SC_le && latex ? "\\le"
                           : e->op == SC_ne && latex ? "\\ne"
                                                     : d->infix;
        print_at(o, e->kids[0], LEVEL_ADD);
        sb_printf(o->sb, " %s ", sign);
        print_at(o, e->kids[1], LEVEL_ADD);
        return;
    }
    if (is_latex(o) && e->op == SC_sigmoid) {
        sb_put(o->sb, "\\sigma");
    } else if (is_latex(o) && e->op == SC_exp) {
        sb_put(o->sb, "e^{");
        print_at(o, e->kids[0], LEVEL_ADD);
        sb_put(o->sb, "}");
        return;
    } else if (is_latex(o) && e->op == SC_lgamma) {
        sb_put(o->sb, "\\log\\Gamma");
    } else if (is_latex(o) && e->op == SC_digamma) {
        sb_put(o->sb, "\\psi");
    } else if (is_latex(o)) {
        sb_printf(o->sb, latex_function(name) ? "\\%s" : "\\operatorname{%s}", name);
    } else {
        sb_put(o->sb, name);
    }
    bool bare = e->n == 1 && e->op == SC_log &&
                (e->kids[0]->kind == SYM_NAME || e->kids[0]->kind == SYM_CALL);
    if (!bare || o->p->style == SYM_FORMULA) {
        print_args(o, e->kids, e->n);
        return;
    }
    sb_put(o->sb, " ");
    print_at(o, e->kids[0], LEVEL_POW);
}

static void print_over(Out *o, Sym e, Level level) {
    const char *what = e->kind == SYM_SUM ? "sum" : e->kind == SYM_MAX ? "max" : "min";
    Names n = {e->kids[0], fresh_name(o), o->names};
    bool brackets =
        e->kids[2]->kind == SYM_ADD || e->kids[2]->kind == SYM_SELECT || has_minus(o, e->kids[2]);
    open_bracket(o, level > LEVEL_MUL);
    sb_printf(o->sb, is_latex(o) ? "\\%s_{%s} " : "%s_%s ", what, n.name);
    Out in = {o->p, o->sb, &n};
    sb_put(o->sb, !brackets ? "" : is_latex(o) ? "\\left[ " : "[ ");
    print_at(&in, e->kids[2], brackets ? LEVEL_ADD : LEVEL_MUL);
    sb_put(o->sb, !brackets ? "" : is_latex(o) ? " \\right]" : " ]");
    close_bracket(o, level > LEVEL_MUL);
}

/* ---- products: number, factors of the numerator, factors of the denominator */

typedef struct Fraction {
    int n_top, n_bottom;
    Sym *top, *bottom;
    double num, den;
} Fraction;

static Fraction fraction_parts(const Out *o, Sym e) {
    SymCtx c = {.ctx = o->p->ctx, .most = 1 << 20};
    int n = e->kind == SYM_MUL ? e->n : 1;
    Arena *arena = &o->p->ctx->perm;
    Fraction f = {.num = 1, .den = 1};
    f.top = ARENA_ARRAY(arena, Sym, n);
    f.bottom = ARENA_ARRAY(arena, Sym, n);
    for (int k = 0; k < n; k++) {
        Sym x = e->kind == SYM_MUL ? e->kids[k] : e;
        int num, den;
        if (x->kind == SYM_NUM && fraction_of(x->num, &num, &den)) {
            f.num = num;
            f.den = den;
        } else if (x->kind == SYM_NUM) {
            f.num = x->num;
        } else if (x->kind == SYM_POW && x->kids[1]->kind == SYM_NUM && x->kids[1]->num < 0) {
            f.bottom[f.n_bottom++] = sym_pow(&c, x->kids[0], sym_num(&c, -x->kids[1]->num));
        } else {
            f.top[f.n_top++] = x;
        }
    }
    return f;
}

/* Sums, and what ends in one, come last: nothing may seem to belong to them. */
static int weight(Sym e) {
    if (e->kind == SYM_SUM || (e->kind == SYM_CALL && e->op == SC_log))
        return 3;
    bool plain = e->kind == SYM_NAME && !e->n && !(e->flags & SYM_PARAM);
    return !plain ? 2 : e->flags & SYM_DIM ? 0 : 1;
}

static void print_factors(Out *o, double number, Sym *f, int n) {
    for (int k = 1; k < n; k++) /* stable: few factors */
        for (int j = k; j > 0 && weight(f[j - 1]) > weight(f[j]); j--) {
            Sym t = f[j];
            f[j] = f[j - 1];
            f[j - 1] = t;
        }
    const char *times = o->p->style == SYM_FORMULA ? " * " : is_latex(o) ? " \\, " : " ";
    bool any = number != 1 || !n;
    if (any)
        print_number(o, number);
    for (int k = 0; k < n; k++) {
        sb_put(o->sb, any ? times : "");
        bool last = k == n - 1;
        print_at(o, f[k],
                 n == 1 && !any              ? LEVEL_MUL
                 : last && weight(f[k]) == 3 ? LEVEL_MUL
                                             : LEVEL_UNARY);
        any = true;
    }
}

/* A product without its sign. */
static void print_product(Out *o, Sym e) {
    Fraction f = fraction_parts(o, e);
    double num = fabs(f.num);
    if (!f.n_bottom && f.den == 1) {
        print_factors(o, num, f.top, f.n_top);
        return;
    }
    if (is_latex(o)) {
        sb_put(o->sb, "\\frac{");
        if (f.n_top == 1 && num == 1)
            print_at(o, f.top[0], LEVEL_ADD);
        else
            print_factors(o, num, f.top, f.n_top);
        sb_put(o->sb, "}{");
        if (f.n_bottom == 1 && f.den == 1)
            print_at(o, f.bottom[0], LEVEL_ADD);
        else
            print_factors(o, f.den, f.bottom, f.n_bottom);
        sb_put(o->sb, "}");
        return;
    }
    bool top_sum = f.n_top == 1 && num == 1 && weight(f.top[0]) == 3;
    open_bracket(o, top_sum);
    if (f.n_top == 1 && num == 1)
        print_at(o, f.top[0], top_sum ? LEVEL_ADD : LEVEL_UNARY);
    else
        print_factors(o, num, f.top, f.n_top);
    close_bracket(o, top_sum);
    sb_put(o->sb, " / ");
    bool many = f.n_bottom + (f.den != 1) > 1;
    open_bracket(o, many);
    if (f.n_bottom == 1 && !many)
        print_at(o, f.bottom[0], LEVEL_POW);
    else
        print_factors(o, f.den, f.bottom, f.n_bottom);
    close_bracket(o, many);
}

static bool is_negative(const Out *o, Sym e) { return fraction_parts(o, e).num < 0; }

static bool has_minus(const Out *o, Sym t) {
    return (t->kind == SYM_NUM && t->num < 0) || (t->kind == SYM_MUL && is_negative(o, t));
}

/* A positive term comes first where there is one: 1 - p. */
static void print_sum(Out *o, Sym e) {
    int n = sym_n_terms(e), first = 0;
    while (first < n && has_minus(o, sym_term(e, first)))
        first++;
    first = first < n ? first : 0;
    for (int k = 0; k < n; k++) {
        Sym t = sym_term(e, !k ? first : k <= first ? k - 1 : k);
        bool minus = has_minus(o, t);
        sb_put(o->sb, k ? minus ? " - " : " + " : minus ? "-" : "");
        if (t->kind == SYM_NUM || t->kind == SYM_MUL)
            print_product(o, t);
        else
            print_at(o, t, LEVEL_MUL);
    }
}

static void print_power(Out *o, Sym e, Level level) {
    Sym base = e->kids[0], power = e->kids[1];
    if (power->kind == SYM_NUM && power->num < 0) {
        open_bracket(o, level > LEVEL_MUL && !is_latex(o));
        print_product(o, e);
        close_bracket(o, level > LEVEL_MUL && !is_latex(o));
        return;
    }
    if (sym_is_num(power, 0.5)) {
        sb_put(o->sb, is_latex(o) ? "\\sqrt{" : "sqrt(");
        print_at(o, base, LEVEL_ADD);
        sb_put(o->sb, is_latex(o) ? "}" : ")");
        return;
    }
    print_at(o, base, LEVEL_ATOM);
    sb_put(o->sb, is_latex(o) ? "^{" : "^");
    print_at(o, power, is_latex(o) ? LEVEL_ADD : LEVEL_ATOM);
    sb_put(o->sb, is_latex(o) ? "}" : "");
}

static void print_select(Out *o, Sym e) {
    bool latex = is_latex(o);
    sb_put(o->sb, latex ? "\\begin{cases} " : "(if ");
    print_at(o, e->kids[latex ? 1 : 0], LEVEL_ADD);
    sb_put(o->sb, latex ? " & \\text{if } " : " then ");
    print_at(o, e->kids[latex ? 0 : 1], LEVEL_ADD);
    sb_put(o->sb, latex ? " \\\\ " : " else ");
    print_at(o, e->kids[2], LEVEL_ADD);
    sb_put(o->sb, latex ? " & \\text{else} \\end{cases}" : ")");
}

static Level level_of(const Out *o, Sym e) {
    switch (e->kind) {
    case SYM_NUM: {
        int num, den;
        return e->num < 0 || fraction_of(e->num, &num, &den) ? LEVEL_ADD : LEVEL_ATOM;
    }
    case SYM_ADD:
        return LEVEL_ADD;
    case SYM_MUL:
        return is_negative(o, e) ? LEVEL_ADD : LEVEL_MUL;
    case SYM_SUM:
    case SYM_MAX:
    case SYM_MIN:
        return LEVEL_MUL;
    case SYM_POW:
        return sym_is_num(e->kids[1], 0.5) ? LEVEL_ATOM : LEVEL_POW;
    case SYM_CALL:
        return scalar_def(e->op)->infix || e->op == SC_and || e->op == SC_or ? LEVEL_ADD
                                                                             : LEVEL_POW;
    default:
        return LEVEL_ATOM;
    }
}

static void print_bare(Out *o, Sym e, Level level) {
    switch (e->kind) {
    case SYM_NUM:
    case SYM_ADD:
    case SYM_MUL:
        print_sum(o, e);
        break;
    case SYM_NAME:
        print_name(o, e);
        break;
    case SYM_INDEX:
        sb_put(o->sb, index_name(o, e));
        break;
    case SYM_POW:
        print_power(o, e, level);
        break;
    case SYM_CALL:
        print_call(o, e);
        break;
    case SYM_SELECT:
        print_select(o, e);
        break;
    case SYM_SUM:
    case SYM_MAX:
    case SYM_MIN:
        print_over(o, e, level);
        break;
    case SYM_DELTA:
        sb_put(o->sb, "[");
        print_at(o, e->kids[0], LEVEL_ADD);
        sb_put(o->sb, " = ");
        print_at(o, e->kids[1], LEVEL_ADD);
        sb_put(o->sb, "]");
        break;
    case SYM_STOP:
        print_at(o, e->kids[0], level);
        break;
    }
}

static void print_at(Out *o, Sym e, Level level) {
    Sym in = e->kind == SYM_STOP ? e->kids[0] : e;
    bool brackets = level_of(o, in) < level && in->kind != SYM_SUM && in->kind != SYM_MAX &&
                    in->kind != SYM_MIN && in->kind != SYM_POW;
    if (in->kind == SYM_POW)
        brackets = level == LEVEL_ATOM && level_of(o, in) < level;
    open_bracket(o, brackets);
    print_bare(o, in, brackets ? LEVEL_ADD : level);
    close_bracket(o, brackets);
}

void sym_print(const SymPrint *p, StrBuf *out, Sym e) {
    Out o = {p, out, NULL};
    print_at(&o, e, LEVEL_ADD);
}

Str sym_text(const SymPrint *p, Sym e) {
    StrBuf sb = sb_new(&p->ctx->perm);
    sym_print(p, &sb, e);
    return str_of(p->ctx, sb.text);
}
