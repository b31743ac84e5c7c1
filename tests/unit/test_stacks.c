/* Regions of a batch that hand stacks of slices on (passes/batch_stack.c): native code gives the
 * exact result on whole numbers, whatever the last slice holds. */
#include "jit_helper.h"

#include <stdlib.h>

enum { MOST = 40, C = 3, I = 4, K = 5 };

/* h, z are stacks; y is computed again in the last region, from h */
static const char text[] =
    "def f[N](x: [N, 3, 4], w: [5, 3]) -> [N, 5, 4] {\n"
    "  h = for n < N, k < 5, i < 4 => sum(for c < 3 => x[n, c, i] * w[k, c])\n"
    "  t = sum(h, over = N)\n"
    "  y = for n < N, k < 5, i < 4 => max(h[n, k, i] - t[k, i], 1)\n"
    "  z = for n < N, c < 3, i < 4 => sum(for k < 5 => y[n, k, i] * w[k, c])\n"
    "  s = sum(z, over = N)\n"
    "  return for n < N, k < 5, i < 4 => y[n, k, i] + sum(for c < 3 => max(z[n, c, i], s[c, i]) * "
    "w[k, c])\n"
    "}\n";

static double h_of(const double *x, const double *w, int k, int i) {
    double h = 0;
    for (int c = 0; c < C; c++)
        h += x[c * I + i] * w[k * C + c];
    return h;
}

static double y_of(const double *x, const double *w, int n_rows, int n, int k, int i) {
    double sum = 0;
    for (int r = 0; r < n_rows; r++)
        sum += h_of(x + r * C * I, w, k, i);
    double d = h_of(x + n * C * I, w, k, i) - sum;
    return d > 1 ? d : 1;
}

static double z_of(const double *x, const double *w, int n_rows, int n, int c, int i) {
    double z = 0;
    for (int k = 0; k < K; k++)
        z += y_of(x, w, n_rows, n, k, i) * w[k * C + c];
    return z;
}

static void reference(const double *x, const double *w, int n_rows, double *out) {
    for (int i = 0; i < I; i++)
        for (int k = 0; k < K; k++)
            for (int n = 0; n < n_rows; n++)
                out[(n * K + k) * I + i] = y_of(x, w, n_rows, n, k, i);
    for (int i = 0; i < I; i++)
        for (int c = 0; c < C; c++) {
            double s = 0;
            for (int n = 0; n < n_rows; n++)
                s += z_of(x, w, n_rows, n, c, i);
            for (int n = 0; n < n_rows; n++) {
                double z = z_of(x, w, n_rows, n, c, i);
                for (int k = 0; k < K; k++)
                    out[(n * K + k) * I + i] += (z > s ? z : s) * w[k * C + c];
            }
        }
}

static void regions_hand_stacks_on(void **state) {
    (void)state;
    static const int rows[] = {1, 3, 15, 16, 17, MOST};
    static double x[MOST * C * I], w[K * C], out[MOST * K * I], want[MOST * K * I];
    Ctx *ctx = ctx_new(0);
    static const char *const after[] = {"batch"};
    StrBuf sb = sb_new(&ctx->perm);
    PassOptions dumps = {.print_after = after, .n_print_after = 1, .dumps = &sb};
    LoopModule *m = compile_text(ctx, text, DT_F64, codegen_host(ctx), &dumps);
    assert_non_null(strstr(sb.text, "results slices sum}"));
    assert_non_null(strstr(sb.text, "args slice "));
    CodegenOptions o = {.level = 2};
    Jit *j = jit_open(ctx, m, &o);
    const AbiEntry *e = m->funcs.p[0]->entry;
    for (int k = 0; k < MOST * C * I; k++)
        x[k] = k * 7 % 11 - 5;
    for (int k = 0; k < K * C; k++)
        w[k] = k * 5 % 7 - 3;
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        DimValue dims[1] = {{e->args.p[1].dim, rows[r]}};
        size_t bytes = codegen_work_bytes(e, dims, 1);
        void *work = malloc(bytes + 1);
        memset(work, 0xff, bytes + 1); /* NaN: nothing is read that was not written */
        CnncArg args[] = {{.p = NULL}, {.i = rows[r]}, {.p = x}, {.p = w}, {.p = out}, {.p = work}};
        assert_int_equal(e->args.n, 6);
        assert_int_equal(jit_call(j, e->cname, args), 0);
        reference(x, w, rows[r], want);
        assert_memory_equal(out, want, (size_t)(rows[r] * K * I) * sizeof *out);
        free(work);
    }
    jit_close(j);
    ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(regions_hand_stacks_on)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
