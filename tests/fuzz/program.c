/* A program is a chain of bindings. Every binding draws one form that fits the tensors in scope: elementwise
 * arithmetic, selects, windows with stride, dilation, padding and reversal, slices, transposes, reductions over axes,
 * matrix products, reshapes, pooling, argmax, convolution, nested comprehensions. Extents stay small; the first axis may
 * be the symbolic dim N. */
#include "program.h"

#include <stdio.h>
#include <string.h>

enum { MOST_TENSORS = 24, MOST_AXES = 4, SYMBOL = 0 };

typedef struct RTensor {
    char name[16];
    int rank, axis[MOST_AXES]; /* extent, or SYMBOL: N */
    int64_t size;              /* bound on the magnitude of its integers, to stay exact */
} RTensor;

typedef struct Gen {
    RandomProgram *p;
    uint64_t rng;
    RTensor t[MOST_TENSORS];
    int n;
} Gen;

uint64_t random_next(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

int random_below(uint64_t *state, int n) { return (int)(random_next(state) % (uint64_t)n); }

static int below(Gen *g, int n) { return random_below(&g->rng, n); }

static void put(Gen *g, const char *fmt, ...) CNNC_PRINTF(2, 3);
static void put(Gen *g, const char *fmt, ...) {
    size_t at = strlen(g->p->text);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(g->p->text + at, sizeof g->p->text - at, fmt, ap);
    va_end(ap);
}

static const char *dim(int axis, char *buf) {
    if (axis == SYMBOL)
        return "N";
    snprintf(buf, 8, "%d", axis);
    return buf;
}

static void put_shape(Gen *g, const RTensor *t) {
    char b[8];
    put(g, "[");
    for (int k = 0; k < t->rank; k++)
        put(g, "%s%s", k ? ", " : "", dim(t->axis[k], b));
    put(g, "]");
}

/* Recent tensors more often, so that chains grow deep. */
static RTensor *any(Gen *g) {
    int a = below(g, g->n), b = below(g, g->n);
    return &g->t[a > b ? a : b];
}

/* A tensor of a rank between lo and hi, or NULL. */
static RTensor *of_rank(Gen *g, int lo, int hi) {
    for (int tries = 0; tries < 12; tries++) {
        RTensor *t = any(g);
        if (t->rank >= lo && t->rank <= hi)
            return t;
    }
    return NULL;
}

static bool same_shape(const RTensor *a, const RTensor *b) {
    return a->rank == b->rank && memcmp(a->axis, b->axis, sizeof(int) * (size_t)a->rank) == 0;
}

static RTensor *open(Gen *g, const RTensor *like) {
    RTensor *t = &g->t[g->n];
    *t = *like;
    snprintf(t->name, sizeof t->name, "v%d", g->n);
    put(g, "  %s = ", t->name);
    return t;
}

static int64_t limit(int64_t size) { return size > 100000 ? 100000 : size; }

/* ---- forms; each returns false if it does not fit */

static bool elementwise(Gen *g) {
    static const char *exact_ops[] = {"%s + %s", "%s - %s", "%s * %s", "max(%s, %s)", "min(%s, %s)"};
    RTensor *a = any(g), *b = any(g);
    if (!same_shape(a, b) && b->rank != 0)
        return false;
    int op = below(g, 5);
    int64_t size = op == 2 ? a->size * b->size : a->size + b->size;
    if (size > 3000)
        return false;
    RTensor *t = open(g, a);
    put(g, exact_ops[op], a->name, b->name);
    put(g, "\n");
    t->size = size;
    return true;
}

static bool unary(Gen *g) {
    static const char *exact_ops[] = {"relu(%s)", "abs(%s)", "-%s", "2 * %s - 1", "max(%s, 2)"};
    static const char *smooth[] = {"tanh(%s / 4)", "sigmoid(%s / 3)", "exp(-abs(%s) / 5)", "log(1 + %s * %s)", "sqrt(1 + %s * %s)",
                                   "softplus(%s / 8)", "sin(%s / 10)"};
    RTensor *a = any(g);
    bool is_smooth = !g->p->exact && below(g, 2);
    RTensor *t = open(g, a);
    if (is_smooth) {
        put(g, smooth[below(g, 7)], a->name, a->name);
        t->size = 4;
    } else {
        put(g, exact_ops[below(g, 5)], a->name);
        t->size = limit(2 * a->size + 2);
    }
    put(g, "\n");
    return true;
}

static bool selection(Gen *g) {
    RTensor *a = any(g), *b = any(g);
    if (!same_shape(a, b))
        return false;
    RTensor *t = open(g, a);
    if (below(g, 2) || g->p->exact)
        put(g, "if %s < %s then %s else %s + 1\n", a->name, b->name, b->name, a->name);
    else
        put(g, "if %s > 0 then log(%s) else %s\n", a->name, a->name, b->name);
    t->size = limit(a->size + b->size + 1);
    return true;
}

static bool reduction(Gen *g) {
    static const char *names[] = {"sum", "max", "min", "mean"};
    RTensor *a = of_rank(g, 1, MOST_AXES);
    if (!a)
        return false;
    int axis = below(g, a->rank), op = below(g, g->p->exact ? 3 : 4);
    RTensor *t = open(g, a);
    put(g, "%s(%s, axis = %d)\n", names[op], a->name, axis);
    int extent = a->axis[axis] == SYMBOL ? (int)g->p->n : a->axis[axis];
    memmove(&t->axis[axis], &t->axis[axis + 1], sizeof(int) * (size_t)(MOST_AXES - 1 - axis));
    t->rank = a->rank - 1;
    t->size = op == 0 ? limit(a->size * extent) : a->size;
    return true;
}

static bool transpose(Gen *g) {
    RTensor *a = of_rank(g, 2, 2);
    if (!a)
        return false;
    RTensor *t = open(g, a);
    put(g, "%s'\n", a->name);
    t->axis[0] = a->axis[1];
    t->axis[1] = a->axis[0];
    return true;
}

static bool product(Gen *g) {
    RTensor *a = of_rank(g, 2, 2), *b = of_rank(g, 2, 2);
    if (!a || !b || a->axis[1] != b->axis[0])
        return false;
    int extent = a->axis[1] == SYMBOL ? (int)g->p->n : a->axis[1];
    if (a->size * b->size * extent > 30000)
        return false;
    int rows = a->axis[0], cols = b->axis[1];
    int64_t size = a->size * b->size * extent;
    RTensor *t = open(g, a);
    put(g, "%s @ %s\n", a->name, b->name);
    t->axis[0] = rows;
    t->axis[1] = cols;
    t->size = size;
    return true;
}

static bool flat(Gen *g) {
    RTensor *a = of_rank(g, 2, MOST_AXES);
    if (!a)
        return false;
    int keep = a->axis[0], rest = 1;
    for (int k = 1; k < a->rank; k++) {
        if (a->axis[k] == SYMBOL)
            return false;
        rest *= a->axis[k];
    }
    if (rest > 60)
        return false;
    char b[8];
    RTensor *t = open(g, a);
    put(g, "reshape(%s, [%s, %d])\n", a->name, dim(keep, b), rest);
    t->rank = 2;
    t->axis[1] = rest;
    return true;
}

/* for i.. => a window of the last axis: stride, dilation, padding, reversal. */
static bool window(Gen *g) {
    static const char *names[] = {"sum", "max", "min"};
    RTensor *a = of_rank(g, 1, 3);
    if (!a || a->axis[a->rank - 1] == SYMBOL)
        return false;
    int last = a->rank - 1, extent = a->axis[last], k = 1 + below(g, 3), s = 1 + below(g, 3), d = 1 + below(g, 2), pad = below(g, 3);
    int out = (extent + 2 * pad - d * (k - 1) - 1) / s + 1;
    if (extent + 2 * pad < d * (k - 1) + 1 || a->size * k > 4000)
        return false;
    char b[8];
    RTensor *p = open(g, a);
    char padded[16];
    memcpy(padded, p->name, sizeof padded);
    put(g, "pad(%s, [", a->name);
    for (int side = 0; side < 2; side++) {
        for (int j = 0; j < a->rank; j++)
            put(g, "%s%d", j ? ", " : "", j == last ? pad : 0);
        put(g, side ? "])\n" : "], [");
    }
    p->axis[last] = extent + 2 * pad;
    g->n++;
    if (g->n >= MOST_TENSORS)
        return false;
    const RTensor from = *p;
    RTensor *t = open(g, &from);
    put(g, "for ");
    for (int j = 0; j < last; j++)
        put(g, "i%d < %s, ", j, dim(from.axis[j], b));
    put(g, "i%d < %d => %s(for a < %d => %s[", last, out, names[below(g, 3)], k, padded);
    for (int j = 0; j < last; j++)
        put(g, "i%d, ", j);
    if (below(g, 4) == 0)
        put(g, "%d - (%d*i%d + %d*a)])\n", from.axis[last] - 1, s, last, d);
    else
        put(g, "%d*i%d + %d*a])\n", s, last, d);
    t->axis[last] = out;
    t->size = limit(from.size * k);
    return true;
}

/* A read that a condition guards: if i > 0 then x[i - 1] else 0. */
static bool guarded(Gen *g) {
    RTensor *a = of_rank(g, 1, 2);
    if (!a || a->axis[a->rank - 1] == SYMBOL || a->axis[a->rank - 1] < 2)
        return false;
    int last = a->rank - 1;
    char b[8];
    RTensor *t = open(g, a);
    put(g, "for ");
    for (int j = 0; j <= last; j++)
        put(g, "%si%d < %s", j ? ", " : "", j, dim(a->axis[j], b));
    const char *lead = a->rank == 2 ? "i0, " : "";
    put(g, " => if i%d > 0 then %s[%si%d - 1] * %s[%si%d] else 3\n", last, a->name, lead, last, a->name, lead, last);
    t->size = limit(a->size * a->size + 3);
    return t->size < 5000;
}

static bool slice(Gen *g) {
    RTensor *a = of_rank(g, 1, MOST_AXES);
    if (!a)
        return false;
    int axis = below(g, a->rank);
    if (a->axis[axis] == SYMBOL || a->axis[axis] < 2)
        return false;
    int from = below(g, a->axis[axis] - 1), to = from + 1 + below(g, a->axis[axis] - from - 1);
    RTensor *t = open(g, a);
    put(g, "%s[", a->name);
    for (int k = 0; k < a->rank; k++) {
        if (k == axis)
            put(g, "%s%d:%d", k ? ", " : "", from, to);
        else
            put(g, "%s:", k ? ", " : "");
    }
    put(g, "]\n");
    t->axis[axis] = to - from;
    return true;
}

static bool joined(Gen *g) {
    RTensor *a = of_rank(g, 1, 3), *b = of_rank(g, 1, 3);
    if (!a || !b || a->rank != b->rank)
        return false;
    int axis = a->rank - 1;
    for (int k = 0; k < axis; k++)
        if (a->axis[k] != b->axis[k])
            return false;
    if (a->axis[axis] == SYMBOL || b->axis[axis] == SYMBOL || a->axis[axis] + b->axis[axis] > 16)
        return false;
    int sum = a->axis[axis] + b->axis[axis];
    int64_t size = a->size > b->size ? a->size : b->size;
    RTensor *t = open(g, a);
    put(g, "concat(%s, %s, axis = %d)\n", a->name, b->name, axis);
    t->axis[axis] = sum;
    t->size = size;
    return true;
}

static bool picked(Gen *g) {
    RTensor *a = of_rank(g, 2, 2);
    if (!a || g->p->gradient)
        return false;
    RTensor *t = open(g, a);
    put(g, "1.0 * argmax(%s, axis = 1)\n", a->name);
    t->rank = 1;
    t->size = 16;
    return true;
}

static bool outer(Gen *g) {
    RTensor *a = of_rank(g, 1, 1), *b = of_rank(g, 1, 1);
    if (!a || !b || a->size * b->size > 3000)
        return false;
    char x[8], y[8];
    int rows = a->axis[0], cols = b->axis[0];
    int64_t size = a->size * b->size;
    RTensor *t = open(g, a);
    put(g, "for i < %s, j < %s => %s[i] * %s[j] + j - i\n", dim(rows, x), dim(cols, y), a->name, b->name);
    t->rank = 2;
    t->axis[0] = rows;
    t->axis[1] = cols;
    t->size = limit(size + 16);
    return true;
}

static bool convolved(Gen *g) {
    RTensor *a = of_rank(g, 4, 4), *w = of_rank(g, 4, 4);
    if (!a || !w || w->axis[0] == SYMBOL || a->axis[1] != w->axis[1] || a->axis[2] < w->axis[2] || a->axis[3] < w->axis[3])
        return false;
    int taps = w->axis[1] * w->axis[2] * w->axis[3], s = 1 + below(g, 2), p = below(g, 2);
    if (a->size * w->size * taps > 30000)
        return false;
    int64_t size = a->size * w->size * taps;
    int out[4] = {a->axis[0], w->axis[0], (a->axis[2] + 2 * p - w->axis[2]) / s + 1,
                  (a->axis[3] + 2 * p - w->axis[3]) / s + 1};
    RTensor *t = open(g, a);
    put(g, "conv2d(%s, %s, stride = %d, pad = %d)\n", a->name, w->name, s, p);
    memcpy(t->axis, out, sizeof out);
    t->size = size;
    return true;
}

static bool (*const FORMS[])(Gen *) = {elementwise, elementwise, unary,  unary, selection, reduction, transpose, product, product,
                                       flat,        window,      window, guarded, slice,   joined,    picked,    outer,   convolved, convolved};

/* ---- programs */

static void input(Gen *g, int rank, const int *axis) {
    RTensor *t = &g->t[g->n];
    *t = (RTensor){.rank = rank, .size = 3};
    memcpy(t->axis, axis, sizeof(int) * (size_t)rank);
    snprintf(t->name, sizeof t->name, "v%d", g->n++);
}

static void inputs(Gen *g) {
    int rows = below(g, 3) ? SYMBOL : 1 + below(g, 5), k = 1 + below(g, 5);
    int m[2] = {rows, k}, u[2] = {k, 1 + below(g, 4)}, v[1] = {1 + below(g, 7)};
    input(g, 2, m);
    input(g, 2, u);
    input(g, 1, v);
    if (below(g, 2)) {
        int c = 1 + below(g, 3), x[4] = {rows, c, 3 + below(g, 4), 3 + below(g, 4)}, w[4] = {1 + below(g, 3), c, 1 + below(g, 3), 1 + below(g, 3)};
        input(g, 4, x);
        input(g, 4, w);
    }
    g->p->n_inputs = g->n;
}

static void bindings(Gen *g, int count) {
    for (int made = 0, tries = 0; made < count && tries < 200 && g->n < MOST_TENSORS - 2; tries++) {
        size_t before = strlen(g->p->text);
        int n = g->n;
        if (FORMS[below(g, (int)(sizeof FORMS / sizeof *FORMS))](g)) {
            g->n++;
            made++;
        } else {
            g->p->text[before] = 0;
            g->n = n;
        }
    }
}

static void signature(Gen *g, const RTensor *result) {
    char head[2048] = "", *body = g->p->text;
    static char rest[sizeof g->p->text];
    memcpy(rest, body, sizeof rest);
    body[0] = 0;
    put(g, "def f[N](");
    for (int k = 0; k < g->p->n_inputs; k++) {
        put(g, "%s%s: ", k ? ", " : "", g->t[k].name);
        put_shape(g, &g->t[k]);
    }
    put(g, ", rows: [N]) -> ");
    put_shape(g, result);
    put(g, " {\n%s%s", head, rest);
}

/* Bindings that nothing reads take part in the result all the same. */
static void put_unused(Gen *g, const char *fmt) {
    for (int k = 0; k < g->n - 1; k++) {
        const char *name = g->t[k].name;
        const char *at = g->p->text, *end = g->p->text + strlen(g->p->text);
        int seen = 0;
        for (; (at = strstr(at, name)); at += strlen(name))
            seen += at + strlen(name) == end || at[strlen(name)] < '0' || at[strlen(name)] > '9';
        if (seen < 2 && k >= g->p->n_inputs)
            put(g, fmt, name);
    }
}

void random_program(RandomProgram *p, uint64_t seed) {
    static const int64_t sizes[] = {1, 2, 3, 5, 7, 16, 17, 33};
    *p = (RandomProgram){0};
    Gen g = {.p = p, .rng = seed * 2654435761u + 12345};
    p->exact = below(&g, 3) != 0;
    p->gradient = below(&g, 4) == 0;
    p->n = sizes[below(&g, 8)];
    inputs(&g);
    bindings(&g, 3 + below(&g, 8));
    const RTensor last = g.t[g.n - 1];
    if (p->gradient) {
        const RTensor wrt = g.t[below(&g, p->n_inputs)];
        p->exact = false;
        put(&g, "  L = sum(tanh(%s / 50))", last.name);
        put_unused(&g, " + sum(tanh(%s / 90))");
        put(&g, "\n  return grad(L, %s)\n}\n", wrt.name);
        signature(&g, &wrt);
    } else {
        put(&g, "  return %s + sum(rows) - sum(rows)", last.name);
        put_unused(&g, " + sum(%s)");
        put(&g, "\n}\n");
        signature(&g, &last);
    }
}
