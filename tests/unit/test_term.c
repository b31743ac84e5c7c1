/* A sum without summed indices is its one term: -0 stays -0, whoever computes it and whatever was
 * fused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "graph_helper.h"

enum { CELLS = 4, RESULTS = 5 };

/* A plain one, with a post, with an initial value, read by another nest, into half of the cells. */
static const char text[] =
    "graph \"t.ir\"\n"
    "func \"f\" f64 @- {\n"
    "  %1: f64[4] = input \"x\" @-\n"
    "  %2: f64[4] = input \"z\" @-\n"
    "  %3: f64[4] = nest [i] += %1[i] * 2.0 over i<4 @-\n"
    "  %4: f64[4] = nest [i] += %1[i] over i<4 then acc * 3.0 @-\n"
    "  %5: f64[4] = nest [i] += %1[i] over i<4 from %2 @-\n"
    "  %6: f64[4] = nest [i] += %1[i] over i<4 @-\n"
    "  %7: f64[4] = nest [i] = %6[i] * 5.0 over i<4 @-\n"
    "  %8: f64[4] = nest [i] += %1[i] over i<2 @-\n"
    "  out \"a\" %3\n  out \"b\" %4\n  out \"c\" %5\n  out \"d\" %7\n  out \"e\" %8\n}\n";

static const double x[CELLS] = {-0.0, 0.0, -0.0, -3.0}, z[CELLS] = {-0.0, -0.0, 0.0, 0.0};
static const double want[RESULTS][CELLS] = {{-0.0, 0.0, -0.0, -6.0},
                                            {-0.0, 0.0, -0.0, -9.0},
                                            {-0.0, 0.0, 0.0, -3.0},
                                            {-0.0, 0.0, -0.0, -15.0},
                                            {-0.0, 0.0, 0.0, 0.0}};

static Tensor vector(Ctx *ctx, const double *from) {
    int64_t shape = CELLS;
    Tensor t = tensor_new(&ctx->perm, DT_F64, 1, &shape);
    for (int k = 0; from && k < CELLS; k++)
        t.f[k] = from[k];
    return t;
}

static void expect_bits(const char *who, const Tensor *out) {
    for (int r = 0; r < RESULTS; r++)
        for (int k = 0; k < CELLS; k++)
            if (memcmp(&out[r].f[k], &want[r][k], sizeof(double)) != 0)
                fail_msg("%s: cell %d of result %d is %g, not %g", who, k, r, out[r].f[k],
                         want[r][k]);
}

static void a_sum_of_one_term_keeps_the_sign_of_zero(void **state) {
    (void)state;
    static const char *const ways[] = {"to_loops", "fuse to_loops", "fuse to_loops vectorize"};
    for (int w = 0; w < 3; w++) {
        Ctx *ctx = ctx_new(0);
        Module *m = graph_parse(ctx, text);
        assert_non_null(m);
        graph_as_def(m, m->funcs.p[0]);
        Unit u = graph_unit(ctx, m);
        Tensor in[2] = {vector(ctx, x), vector(ctx, z)}, out[RESULTS];
        char name[16];
        int used;
        for (const char *p = ways[w]; sscanf(p, " %15s%n", name, &used) == 1; p += used) {
            if (strcmp(name, "to_loops") == 0) {
                assert_null(graph_run(ctx, m, m->funcs.p[0], in, out));
                expect_bits("the graph", out);
            }
            pass_named(name)->run(&u);
        }
        for (int r = 0; r < RESULTS; r++)
            out[r] = vector(ctx, NULL);
        LoopRun run = {0};
        assert_null(graph_run_loops(ctx, u.loops, &run, in, out, RESULTS));
        expect_bits(ways[w], out);
        ctx_free(ctx);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_sum_of_one_term_keeps_the_sign_of_zero)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
