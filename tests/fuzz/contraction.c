/* A contraction draws an extent for each of its indices (known ones between 1 and 40, N, D, N - 1,
 * 2*D//3 + 1), then the operands: some indices each, as they are, reversed, with stride and offset,
 * as a window of two, as a padded window under conditions, or cut short by one. So every way of
 * `tile`, `batch` and the register blocks to cut such a nest is met, with borders, remainders and
 * conditions, and in both directions of differentiation. */
#include "contraction.h"

#include <stdio.h>
#include <string.h>

#include "program.h"

enum { MOST_INDICES = 7, MOST_OPERANDS = 4, MOST_AXES = 5, MOST_CONDS = 16, LARGEST = 3 };

typedef struct Index {
    char name;
    char extent[16];
    int known; /* the extent, or 0: it has symbols */
} Index;

typedef struct Axis {
    char extent[40], subscript[40];
    int used[2], n_used; /* indices */
} Axis;

typedef struct Operand {
    const char *name;
    char shape[160], read[160];
} Operand;

typedef struct Gen {
    uint64_t rng;
    Index index[MOST_INDICES];
    int n_out, n; /* results first, then those that are summed */
    Operand operand[MOST_OPERANDS];
    int n_operands;
    char cond[MOST_CONDS][48];
    int n_conds;
    int stride; /* that all known results have in an operand, or 0 */
} Gen;

static int below(Gen *g, int n) { return random_below(&g->rng, n); }
static bool percent(Gen *g, int p) { return below(g, 100) < p; }

/* Of an extent at N and D; those with symbols are the ones that put_extent draws. */
static int64_t size_at(const Index *i, int64_t n, int64_t d) {
    if (i->known)
        return i->known;
    if (strcmp(i->extent, "N") == 0)
        return n;
    if (strcmp(i->extent, "N - 1") == 0)
        return n - 1;
    return strcmp(i->extent, "D") == 0 ? d : 2 * d / 3 + 1;
}

static int64_t points(const Gen *g, int from, int64_t n, int64_t d) {
    int64_t p = 1;
    for (int k = from; k < g->n; k++)
        p *= size_at(&g->index[k], n, d);
    return p;
}

static void draw_index(Gen *g, int k, bool is_out) {
    static const int outs[] = {1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 20, 24, 32, 33, 40},
                     sums[] = {1, 2, 3, 4, 5, 7, 8, 9, 12, 16, 20, 33};
    static const char *const out_symbols[] = {"N", "D", "N", "N", "N - 1"}, *const sum_symbols[] = {
                                                                                "N", "D",
                                                                                "2*D//3 + 1"};
    Index *i = &g->index[k];
    *i = (Index){.name = is_out ? (char)('a' + k) : (char)('u' + k - g->n_out)};
    if (percent(g, is_out ? 40 : 25)) {
        const char *e = is_out ? out_symbols[below(g, 5)] : sum_symbols[below(g, 3)];
        snprintf(i->extent, sizeof i->extent, "%s", e);
        return;
    }
    i->known = is_out ? outs[below(g, 15)] : sums[below(g, 12)];
    snprintf(i->extent, sizeof i->extent, "%d", i->known);
}

static void draw_indices(Gen *g) {
    int64_t p = 0;
    for (int tries = 0; tries < 200 && (p < 300 || p > 60000); tries++) {
        g->n_out = 2 + below(g, 5) / 2;
        g->n = g->n_out + 1 + below(g, 5) / 2;
        for (int k = 0; k < g->n; k++)
            draw_index(g, k, k < g->n_out);
        p = points(g, 0, 9, 6);
    }
}

static void add_cond(Gen *g, const char *fmt, ...) CNNC_PRINTF(2, 3);
static void add_cond(Gen *g, const char *fmt, ...) {
    if (g->n_conds == MOST_CONDS)
        return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(g->cond[g->n_conds++], sizeof g->cond[0], fmt, ap);
    va_end(ap);
}

/* A window of index i by j: without a border, or padded, where conditions keep the reads inside. */
static bool window(Gen *g, int i, int j, Axis *out) {
    int e = g->index[i].known, f = g->index[j].known, s = 1 + below(g, 3) / 2,
        d = 1 + below(g, 3) / 2, pad = 1 + below(g, 2);
    char a = g->index[i].name, b = g->index[j].name;
    if (!e || !f)
        return false;
    out->used[out->n_used++] = j;
    if (percent(g, 50)) {
        snprintf(out->subscript, sizeof out->subscript, "%d*%c + %d*%c", s, a, d, b);
        snprintf(out->extent, sizeof out->extent, "%d", s * (e - 1) + d * (f - 1) + 1);
        return true;
    }
    int extent = s * (e - 1) + f - 2 * pad;
    extent = extent < 1 ? 1 : extent;
    snprintf(out->subscript, sizeof out->subscript, "%d*%c + %c - %d", s, a, b, pad);
    snprintf(out->extent, sizeof out->extent, "%d", extent);
    add_cond(g, "%s >= 0", out->subscript);
    add_cond(g, "%s < %d", out->subscript, extent);
    return true;
}

static void strided(Gen *g, const Index *x, int s, Axis *a) {
    int from = below(g, 4) / 3;
    snprintf(a->subscript, sizeof a->subscript, "%d*%c + %d", s, x->name, from);
    snprintf(a->extent, sizeof a->extent, "%d", s * (x->known - 1) + from + 1 + below(g, 3) / 2);
}

/* An axis that ends before the index does: a condition leaves the rest out. */
static void cut(Gen *g, const Index *x, Axis *a) {
    const char *end = percent(g, 50) ? "N" : "D";
    snprintf(a->extent, sizeof a->extent, "%s", end);
    add_cond(g, "%c < %s", x->name, end);
}

static void known_axis(Gen *g, int i, unsigned others, Axis *a) {
    int r = below(g, 100), j = below(g, g->n);
    if (g->stride && i < g->n_out)
        strided(g, &g->index[i], g->stride, a);
    else if (r < 30)
        strided(g, &g->index[i], 2 + below(g, 2), a);
    else if (r < 80 && j != i && others >> j & 1)
        window(g, i, j, a);
    else if (r >= 80)
        cut(g, &g->index[i], a);
}

static void symbolic_axis(Gen *g, const Index *x, Axis *a) {
    if (percent(g, 50)) {
        snprintf(a->subscript, sizeof a->subscript, "%c + 1", x->name);
        snprintf(a->extent, sizeof a->extent, "%s + 1", x->extent);
    } else if (!strchr(x->extent, ' ')) {
        snprintf(a->subscript, sizeof a->subscript, "2*%c", x->name);
        snprintf(a->extent, sizeof a->extent, "2*%s", x->extent);
    }
}

/* One axis that index i drives, perhaps with another of those (a mask) that the operand still
 * lacks. */
static Axis draw_axis(Gen *g, int i, unsigned others) {
    const Index *x = &g->index[i];
    Axis a = {.used = {i}, .n_used = 1};
    snprintf(a.subscript, sizeof a.subscript, "%c", x->name);
    snprintf(a.extent, sizeof a.extent, "%s", x->extent);
    bool is_known_sum = x->known && i >= g->n_out;
    if (g->stride && is_known_sum && percent(g, 40)) {
        cut(g, x, &a); /* strided images of which some channels are there */
        return a;
    }
    if (!(g->stride && x->known && i < g->n_out) && percent(g, 55))
        return a;
    if (percent(g, 12))
        snprintf(a.subscript, sizeof a.subscript, "%s - 1 - %c", x->extent, x->name);
    else if (x->known)
        known_axis(g, i, others, &a);
    else
        symbolic_axis(g, x, &a);
    return a;
}

static void append_axis(Operand *o, const Axis *a, bool is_first) {
    size_t s = strlen(o->shape), r = strlen(o->read);
    snprintf(o->shape + s, sizeof o->shape - s, "%s%s", is_first ? "" : ", ", a->extent);
    snprintf(o->read + r, sizeof o->read - r, "%s%s", is_first ? "" : ", ", a->subscript);
}

/* An operand whose axes are driven by most of `indices` (a mask), in any order. */
static void draw_operand(Gen *g, const char *name, unsigned indices) {
    Operand *o = &g->operand[g->n_operands++];
    *o = (Operand){.name = name};
    int n = 0, start = below(g, g->n), first = -1;
    unsigned left = indices;
    bool in_order = percent(g, 40);
    g->stride = percent(g, 20) ? 2 + below(g, 3) / 2 : 0;
    snprintf(o->read, sizeof o->read, "%s[", name);
    snprintf(o->shape, sizeof o->shape, "[");
    for (int k = 0; k < g->n && n < MOST_AXES; k++) {
        int i = in_order ? k : (start + k) % g->n;
        if (!(left >> i & 1))
            continue;
        first = i;
        left &= ~(1u << i);
        if (percent(g, 15))
            continue;
        Axis a = draw_axis(g, i, left);
        for (int u = 0; u < a.n_used; u++)
            left &= ~(1u << a.used[u]);
        append_axis(o, &a, n++ == 0);
    }
    if (n == 0) {
        first = first < 0 ? 0 : first;
        Axis a = {0};
        snprintf(a.subscript, sizeof a.subscript, "%c", g->index[first].name);
        snprintf(a.extent, sizeof a.extent, "%s", g->index[first].extent);
        append_axis(o, &a, true);
    }
    strcat(o->read, "]");
    strcat(o->shape, "]");
}

static void draw_conditions(Gen *g) {
    static const char *const bounds[] = {"D", "N - 1", "3", "D - 1"};
    int sum = g->n_out + below(g, g->n - g->n_out), i = below(g, g->n), j = below(g, g->n);
    if (percent(g, 12) && i != sum)
        add_cond(g, "%c <= %c", g->index[sum].name, g->index[i].name);
    if (percent(g, 10))
        add_cond(g, "%c < %s", g->index[sum].name, bounds[below(g, 4)]);
    if (percent(g, 6))
        add_cond(g, "%c == %c", g->index[i].name, g->index[j].name);
}

static void draw_operands(Gen *g) {
    unsigned p = 0, q = 0, outs = (1u << g->n_out) - 1, all = (1u << g->n) - 1;
    for (int k = 0; k < g->n_out; k++) {
        bool in_p = percent(g, 60);
        p |= (unsigned)in_p << k;
        q |= (unsigned)(!in_p || percent(g, 15)) << k;
    }
    for (int k = g->n_out; k < g->n; k++)
        q |= (unsigned)percent(g, 85) << k;
    draw_operand(g, "p", p | (all & ~outs));
    draw_operand(g, "q", q ? q : 1);
    if (percent(g, 20))
        draw_operand(g, "s", 1u << below(g, g->n));
}

static void put(RandomContraction *c, const char *fmt, ...) CNNC_PRINTF(2, 3);
static void put(RandomContraction *c, const char *fmt, ...) {
    size_t at = strlen(c->text);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(c->text + at, sizeof c->text - at, fmt, ap);
    va_end(ap);
}

static void put_indices(RandomContraction *c, const Gen *g, int from, int to) {
    for (int k = from; k < to; k++)
        put(c, "%s%c < %s", k > from ? ", " : "", g->index[k].name, g->index[k].extent);
}

/* if CONDS then max(p[..] * q[..] * s[..], 0) else 0 */
static void put_term(RandomContraction *c, Gen *g) {
    int factors = percent(g, 15) ? 1 : g->n_operands;
    bool is_cut = percent(g, 15);
    for (int k = 0; k < g->n_conds; k++)
        put(c, "%s%s", k ? " and " : "if ", g->cond[k]);
    put(c, "%s%s", g->n_conds ? " then " : "", is_cut ? "max(" : "");
    for (int k = 0; k < factors; k++)
        put(c, "%s%s", k ? " * " : "", g->operand[k].read);
    put(c, "%s%s", is_cut ? ", 0)" : "", g->n_conds ? " else 0" : "");
}

typedef enum Behind { NOTHING, A_BIAS, A_RELU, A_FACTOR } Behind;

static void put_result(RandomContraction *c, Gen *g, Behind behind, int bias) {
    static const char *const reductions[] = {"sum", "sum", "sum", "sum", "sum",
                                             "sum", "sum", "sum", "max", "min"};
    put(c, "  y = for ");
    put_indices(c, g, 0, g->n_out);
    put(c, " => %s%s(for ", behind == A_RELU ? "max(" : "", reductions[below(g, 10)]);
    put_indices(c, g, g->n_out, g->n);
    put(c, " => ");
    put_term(c, g);
    put(c, ")");
    if (behind == A_BIAS)
        put(c, " + bias[%c]", g->index[bias].name);
    else if (behind != NOTHING)
        put(c, behind == A_RELU ? ", 0)" : " * (%c - 2)", g->index[0].name);
    put(c, "\n");
}

static void put_shape(RandomContraction *c, const Gen *g) {
    put(c, "[");
    for (int k = 0; k < g->n_out; k++)
        put(c, "%s%s", k ? ", " : "", g->index[k].extent);
    put(c, "]");
}

static void put_cell(RandomContraction *c, const Gen *g) {
    for (int k = 0; k < g->n_out; k++)
        put(c, "%s%c", k ? ", " : "y[", g->index[k].name);
    put(c, "]");
}

/* Every sum of the program is of at most so many products of at most four values and a factor of
 * the epilogue. */
static bool fits_f32(const Gen *g, bool is_grad) {
    int64_t terms = points(g, is_grad ? 0 : g->n_out, CONTRACTION_MOST_N, CONTRACTION_MOST_D);
    return terms * LARGEST * LARGEST * LARGEST * (is_grad ? LARGEST * 40 : 40) < 1 << 24;
}

void random_contraction(RandomContraction *c, uint64_t seed) {
    Gen g = {.rng = seed * 2654435761u + 99};
    *c = (RandomContraction){0};
    draw_indices(&g);
    draw_operands(&g);
    draw_conditions(&g);
    int mode = below(&g, 100), bias = below(&g, g.n_out), wrt = below(&g, g.n_operands),
        b = below(&g, 100);
    Behind behind = b < 15 ? A_BIAS : b < 25 ? A_RELU : b < 30 ? A_FACTOR : NOTHING;
    bool is_grad = mode >= 45 && mode < 85;
    c->single = mode < 85 && fits_f32(&g, is_grad);
    put(c, "def f[N, D](x: [N], z: [D]");
    for (int k = 0; k < g.n_operands; k++)
        put(c, ", %s: %s", g.operand[k].name, g.operand[k].shape);
    if (behind == A_BIAS)
        put(c, ", bias: [%s]", g.index[bias].extent);
    if (is_grad) {
        put(c, ", g: ");
        put_shape(c, &g);
        put(c, ") -> %s {\n", g.operand[wrt].shape);
    } else {
        put(c, ") -> ");
        put_shape(c, &g);
        put(c, " {\n");
    }
    put_result(c, &g, behind, bias);
    if (is_grad) {
        put(c, "  return grad(sum(y * g), %s)\n}\n", g.operand[wrt].name);
    } else if (mode < 45) {
        put(c, "  return y\n}\n");
    } else {
        put(c, "  w = for ");
        put_indices(c, &g, 0, g.n_out);
        put(c, " => ");
        put_cell(c, &g);
        put(c, " + sum(y)\n  return w - sum(y * y)\n}\n");
    }
}
