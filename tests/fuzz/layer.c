/* Six kinds of layers, most of known extents, and these seldom multiples of anything:
 *
 *   products of some rows by hundreds of columns, and of a weight by one input,
 *   1 x 1 convolutions with a stride, of N images or of a few,
 *   chains of dense layers or 1 x 1 convolutions with activations and additions of what went in,
 *   sums of what three tensors of N rows have for each three of them,
 *   squares about a sum over all rows, as a norm by batches has them,
 *
 * forward or as the gradient by one of their operands. */
#include "layer.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/ctx.h"
#include "program.h"

typedef struct Gen {
    RandomLayer *l;
    uint64_t rng;
} Gen;

static int below(Gen *g, int n) { return random_below(&g->rng, n); }
static bool percent(Gen *g, int p) { return below(g, 100) < p; }

static void put(Gen *g, const char *fmt, ...) CNNC_PRINTF(2, 3);
static void put(Gen *g, const char *fmt, ...) {
    size_t at = strlen(g->l->text);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(g->l->text + at, sizeof g->l->text - at, fmt, ap);
    va_end(ap);
}

static int one_of(Gen *g, const int *of, int n) { return of[below(g, n)]; }
#define ONE_OF(g, ...)                                                                             \
    one_of(g, (const int[]){__VA_ARGS__}, (int)(sizeof((int[]){__VA_ARGS__}) / sizeof(int)))

/* What comes behind a sum. */
static const char *behind(Gen *g) {
    static const char *const forms[] = {"%s",         "%s",         "%s",    "max(0, %s)",
                                        "max(%s, 0)", "min(2, %s)", "%s + 1"};
    return forms[below(g, 7)];
}

static void put_body(Gen *g, const char *form, const char *sum) {
    const char *hole = strstr(form, "%s");
    put(g, "%.*s%s%s", (int)(hole - form), form, sum, hole + 2);
}

/* a[i, k] * b[k, j], with offsets, backwards, by rows of b or by columns. */
static void product(Gen *g) {
    int m = ONE_OF(g, 1, 2, 3, 5, 6, 8, 9, 13, 17, 24, 40),
        k = ONE_OF(g, 1, 2, 3, 7, 8, 16, 17, 31, 64, 100),
        n = ONE_OF(g, 256, 257, 300, 384, 511, 512, 513, 520, 600, 777, 1024);
    int from = percent(g, 25) ? 1 + below(g, 3) : 0, past = percent(g, 25) ? below(g, 4) : 0;
    while ((int64_t)m * k * n > 400000)
        m > 3 ? (m /= 2) : (k /= 2);
    char axis[16], at[24], sum[200];
    snprintf(axis, sizeof axis, "%d", k + from + past);
    if (percent(g, 10))
        snprintf(at, sizeof at, "%d - k", k + from - 1);
    else
        snprintf(at, sizeof at, "k + %d", from);
    bool turned = percent(g, 40), grad = percent(g, 35), has_c = percent(g, 30);
    put(g, "def f[N](x: [N], a: [%d, %s], b: [%d, %d]", m, axis, turned ? n : k, turned ? k : n);
    if (has_c)
        put(g, ", c: [%d, %d]", m, n);
    if (grad)
        put(g, ", g: [%d, %d]", m, n);
    int wrt = below(g, 2);
    if (grad)
        put(g, ") -> [%d, %d] {\n", wrt ? turned ? n : k : m,
            wrt ? turned ? k : n : k + from + past);
    else
        put(g, ") -> [%d, %d] {\n", m, n);
    snprintf(sum, sizeof sum, "%ssum(for k < %d => a[i, %s] * b[%s])", has_c ? "c[i, j] + " : "", k,
             at, turned ? "j, k" : "k, j");
    put(g, "  y = for i < %d, j < %d => ", m, n);
    put_body(g, behind(g), sum);
    if (grad)
        put(g, "\n  return grad(sum(y * g), %s)\n}\n", wrt ? "b" : "a");
    else
        put(g, "\n  return y\n}\n");
}

/* A weight [out, in] by one input: rows that are read once. */
static void one_input(Gen *g) {
    int in = 16 * ONE_OF(g, 8, 9, 10, 16, 25, 32), out = ONE_OF(g, 33, 40, 64, 65, 84, 120);
    put(g, "def f[N](x: [N, %d], w: [%d, %d], b: [%d]) -> [N, %d] {\n  y = for n < N, o < %d => ",
        in, out, in, out, out, out);
    char sum[160];
    snprintf(sum, sizeof sum, "b[o] + sum(for c < %d => w[o, c] * x[n, c])", in);
    put_body(g, behind(g), sum);
    put(g, "\n  return y\n}\n");
}

/* y[n, o, i, j] = sum of w[o, c] * x[n, c, s*i, s*j] */
static void strided(Gen *g) {
    int c = ONE_OF(g, 4, 8, 8, 16, 24, 32), o = ONE_OF(g, 1, 4, 5, 8, 12, 16, 20),
        s = ONE_OF(g, 2, 2, 2, 3), h = ONE_OF(g, 1, 2, 3, 4, 5, 7, 8, 12),
        w = ONE_OF(g, 1, 3, 4, 5, 7, 8, 14, 16, 17, 20, 28, 33);
    while ((int64_t)c * o * h * w > 40000)
        h > 1 ? (h = (h + 1) / 2) : (c /= 2);
    int high = s * (h - 1) + 1 + below(g, s), wide = s * (w - 1) + 1 + below(g, s),
        mode = below(g, 4), fixed = below(g, 4);
    char images[16] = "N";
    if (!fixed)
        snprintf(images, sizeof images, "%d", 1 + below(g, 9));
    put(g, "def f[N](%sx: [%s, %d, %d, %d], w: [%d, %d], g: [%s, %d, %d, %d]) -> ",
        fixed ? "" : "z: [N], ", images, c, high, wide, o, c, images, o, h, w);
    if (mode == 1 || mode == 3)
        put(g, "[%s, %d, %d, %d] {\n", images, c, high, wide);
    else if (mode == 2)
        put(g, "[%d, %d] {\n", o, c);
    else
        put(g, "[%s, %d, %d, %d] {\n", images, o, h, w);
    put(g, "  y = for n < %s, o < %d, i < %d, j < %d => ", images, o, h, w);
    char sum[160];
    snprintf(sum, sizeof sum, "sum(for c < %d => w[o, c] * x[n, c, %d*i, %d*j])", c, s, s);
    put_body(g, mode ? "%s" : behind(g), sum);
    if (mode == 0)
        put(g, "\n  return y + g\n}\n");
    else
        put(g, "\n  return grad(sum(y * g), %s\n}\n",
            mode == 2   ? "w)"
            : mode == 3 ? "x) + x"
                        : "x)");
}

/* Residual blocks: r = relu(W r + b) + r, ... */
static void chain(Gen *g) {
    static const char *const acts[] = {"max(0, %s)", "max(%s, 0)", "min(1, %s)",
                                       "max(1, min(3, %s))", "max(%s, -1)"};
    int c = ONE_OF(g, 3, 4, 8, 16), p = ONE_OF(g, 1, 4, 9, 16, 30), depth = 1 + below(g, 3);
    bool grad = percent(g, 75), by_w = percent(g, 40);
    put(g, "def f[N](x: [N, %d, %d], w: [%d, %d, %d]) -> ", c, p, depth, c, c);
    if (grad && by_w)
        put(g, "[%d, %d, %d] {\n  y0 = x\n", depth, c, c);
    else
        put(g, "[N, %d, %d] {\n  y0 = x\n", c, p);
    for (int k = 0; k < depth; k++) {
        char sum[160];
        const char *act = acts[below(g, 5)];
        snprintf(sum, sizeof sum, "sum(for c < %d => w[%d, o, c] * y%d[n, c, i])", c, k, k);
        put(g, "  s%d = for n < N, o < %d, i < %d => ", k, c, p);
        put_body(g, percent(g, 60) ? act : "%s", sum);
        put(g, "\n  y%d = ", k + 1);
        char name[40];
        if (percent(g, 60))
            snprintf(name, sizeof name, "s%d + y%d", k, k);
        else
            snprintf(name, sizeof name, "s%d", k);
        put_body(g, percent(g, 50) ? act : "%s", name);
        put(g, "\n");
    }
    if (grad)
        put(g, "  return grad(sum(y%d), %s)\n}\n", depth, by_w ? "w" : "x");
    else
        put(g, "  return y%d\n}\n", depth);
}

/* y[i, j, k, v] = sum of a[c, i, v], b[c, j, v] and d[c, k, v] */
static void triples(Gen *g) {
    static const char *const forms[] = {"a[c, i%s] * b[c, j%s] * d[c, k%s]",
                                        "a[c, i%s] + b[c, j%s] * d[c, k%s]",
                                        "min(a[c, i%s], b[c, j%s]) - d[c, k%s]"};
    int v = ONE_OF(g, 0, 1, 3, 8, 16, 17), c = ONE_OF(g, 1, 2, 3, 8, 9);
    char axis[16] = "", loop[16] = "";
    if (v) {
        snprintf(axis, sizeof axis, ", %d", v);
        snprintf(loop, sizeof loop, ", v < %d", v);
    }
    const char *at = v ? ", v" : "";
    put(g, "def f[N](a: [%d, N%s], b: [%d, N%s], d: [%d, N%s]) -> [N, N, N%s] =\n", c, axis, c,
        axis, c, axis, axis);
    put(g, "  for i < N, j < N, k < N%s => sum(for c < %d => ", loop, c);
    put(g, forms[below(g, 3)], at, at, at);
    put(g, ")\n");
}

/* v[o] = sum of the squares of y[n, o, i] - m[o], m[o] the sum of y over n and i. Rows of a power
 * of two numbers: their means are exact. */
static void squares(Gen *g) {
    int c = ONE_OF(g, 1, 2, 3), p = ONE_OF(g, 8, 16, 64), mode = below(g, 4);
    bool product = percent(g, 60);
    put(g, "def f[N](x: [N, %d, %d], w: [%d, %d]) -> ", c, p, c, c);
    if (mode == 0)
        put(g, "[%d] {\n", c);
    else if (mode == 3)
        put(g, "[%d, %d] {\n", c, c);
    else
        put(g, "[N, %d, %d] {\n", c, p);
    put(g, "  y = for n < N, o < %d, i < %d => ", c, p);
    if (product || mode == 3)
        put(g, "sum(for k < %d => w[o, k] * x[n, k, i])\n", c);
    else
        put(g, "x[n, o, i] + w[o, 0]\n");
    put(g, "  m = for o < %d => sum(for n < N, i < %d => y[n, o, i])\n", c, p);
    put(g, "  v = for o < %d => sum(for n < N, i < %d => (y[n, o, i] - %s) ^ 2)\n", c, p,
        percent(g, 30) ? "(m[o] * 2 - 1)" : "m[o]");
    if (mode == 1)
        put(g, "  return for n < N, o < %d, i < %d => y[n, o, i] - m[o] + v[o]\n}\n", c, p);
    else
        put(g, "  return %s\n}\n",
            mode == 0   ? "v"
            : mode == 2 ? "grad(sum(v), x)"
                        : "grad(sum(v), w)");
}

void random_layer(RandomLayer *l, uint64_t seed) {
    Gen g = {.l = l, .rng = seed * 2654435761u + 7};
    *l = (RandomLayer){0};
    int kind = below(&g, 11);
    l->single = kind < 9 && percent(&g, 60);
    if (kind < 4)
        product(&g);
    else if (kind < 5)
        one_input(&g);
    else if (kind < 9)
        strided(&g);
    else if (kind == 10)
        squares(&g);
    else if (percent(&g, 70))
        chain(&g);
    else
        triples(&g);
}
