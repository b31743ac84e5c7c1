/* A small network with its gradients through the whole pipeline, on every target: on whole numbers
 * the loops compute the same bits after each loop pass, whatever the number of rows, and what the
 * graph means. */
#include "loop_helper.h"

#include <stdlib.h>

#include "ir/interp.h"
#include "passes/pass.h"
#include "passes/plan.h"

static const char *const network =
    "graph \"net.cnn\"\n"
    "func \"net\" f32 @- {\n"
    "  dims N\n"
    "  entry def \"net\" of \"net\" @- {\n"
    "  }\n"
    "  %1: f32[N, 2, 7, 7] = input \"x\" @-\n"
    "  %2: f32[4, 2, 3, 3] = input \"w\" @-\n"
    "  %3: f32[4] = input \"b\" @-\n"
    "  %4: f32[5, 4, 5, 5] = input \"v\" @-\n"
    "  %5: f32[N, 4, 5, 5] = nest [n, k, y, x] += %1[n, c, y + r, x + s] * %2[k, c, r, s] over "
    "n<N, k<4, y<5, x<5, c<2, r<3, s<3 \"conv\" @-\n"
    "  %6: f32[N, 4, 5, 5] = nest [n, k, y, x] = max(%5[n, k, y, x] + %3[k], 0.0) over n<N, k<4, "
    "y<5, x<5 @-\n"
    "  %7: f32[N, 5] = nest [n, o] += %6[n, k, y, x] * %4[o, k, y, x] over n<N, o<5, k<4, y<5, x<5 "
    "\"fc\" @-\n"
    "  %8: f64 = nest [] += f64(%7[n, o]) * f64({o + 1}) over n<N, o<5 \"loss\" @-\n"
    "  %9: f64 = const{1.0} @-\n"
    "  %10: f32[4, 2, 3, 3], %11: f32[4], %12: f32[5, 4, 5, 5], %13: f32[N, 2, 7, 7] = vjp{4}(%8, "
    "%9, %2, %3, %4, %1) @-\n"
    "  out \"loss\" %8\n"
    "  out \"y\" %7\n"
    "  out \"dw\" %10\n"
    "  out \"db\" %11\n"
    "  out \"dv\" %12\n"
    "  out \"dx\" %13\n"
    "}\n";

enum { N_IN = 4, N_OUT = 6 };

static Module *read_network(Ctx *ctx) {
    Module *m = graph_read(ctx, &ctx->perm, ctx_add_file(ctx, "t.ir", network, strlen(network)));
    if (!m) {
        StrBuf sb = sb_new(&ctx->perm);
        diag_render_all(ctx, false, false, &sb);
        fail_msg("%s", sb.text);
    }
    return m;
}

static void run_passes(Unit *u, const char *const *names, int n) {
    StrBuf dumps = sb_new(&u->ctx->perm);
    PassOptions o = {.only = names, .n_only = n, .dumps = &dumps};
    const char *why = "";
    if (!pass_run(u, &o, &why))
        fail_msg("%s", why);
}

/* Whole numbers, so that every order of a sum gives the same bits. */
static float *whole_numbers(Ctx *ctx, int64_t n, int seed) {
    float *p = ARENA_ARRAY(&ctx->perm, float, n + 16);
    for (int64_t k = 0; k < n; k++)
        p[k] = (float)((k * 7 + seed * 5) % 9 - 4);
    return p;
}

static const int64_t in_counts[N_IN] = {98, 72, 4, 500}, out_counts[N_OUT] = {1, 5, 72, 4, 500, 98};
static const bool in_rows[N_IN] = {true}, out_rows[N_OUT] = {[1] = true, [5] = true};

static void run(Ctx *ctx, const LoopModule *m, int64_t rows, char **out, size_t *sizes) {
    const LoopFunc *f = m->funcs.p[0];
    DimValue dims = {f->dims.p[0], rows};
    LoopArg args[16] = {{.p = NULL}};
    int i = 0, o = 0;
    for (int k = 0; k < f->entry->args.n; k++) {
        int64_t bytes = 0;
        switch (f->entry->args.p[k].kind) {
        case ARG_DIM:
            args[k].i = rows;
            break;
        case ARG_INPUT:
            args[k].p = whole_numbers(ctx, in_counts[i] * (in_rows[i] ? rows : 1), i);
            i++;
            break;
        case ARG_OUT:
            sizes[o] = (size_t)(out_counts[o] * (out_rows[o] ? rows : 1)) * (o == 0 ? 8 : 4);
            args[k].p = out[o] = arena_alloc(&ctx->perm, sizes[o] + 64);
            o++;
            break;
        case ARG_WORK:
            assert_true(!f->entry->work_bytes || dim_eval(f->entry->work_bytes, &dims, 1, &bytes));
            args[k].p =
                malloc((size_t)bytes + 1); /* not the arena: sanitizers see what lies past it */
            memset(args[k].p, 0xa5, (size_t)bytes);
            break;
        default:
            break;
        }
    }
    assert_int_equal(run_loops(ctx, m, 0, args), 0);
    for (int k = 0; k < f->entry->args.n; k++)
        if (f->entry->args.p[k].kind == ARG_WORK)
            free(args[k].p);
}

/* What the graph interpreter gives for the graph after `ad`. */
static void run_reference(Ctx *ctx, const Module *m, int64_t rows, Tensor *results) {
    const Func *f = m->funcs.p[0];
    DimValue dims = {f->dims.p[0], rows};
    const Tensor *args[N_IN];
    for (int k = 0; k < N_IN; k++) {
        Type t = graph_type(f, f->params.p[k].val);
        int64_t shape[MAX_RANK];
        for (int a = 0; a < t.rank; a++)
            dim_eval(t.shape[a], &dims, 1, &shape[a]);
        Tensor *x = ARENA_NEW(&ctx->perm, Tensor);
        *x = tensor_new(&ctx->perm, t.dt, t.rank, shape);
        const float *from = whole_numbers(ctx, x->count, k);
        for (int64_t j = 0; j < x->count; j++)
            x->f[j] = (double)from[j];
        args[k] = x;
    }
    Interp in = {.ctx = ctx, .arena = &ctx->perm, .m = m};
    if (!interp_run(&in, f, &dims, 1, args, results))
        fail_msg("%s", in.status);
}

static void compare_with_graph(const Tensor *want, char **got, int64_t rows) {
    for (int o = 0; o < N_OUT; o++)
        for (int64_t j = 0; j < want[o].count; j++) {
            double v =
                o == 0 ? ((double *)(void *)got[o])[j] : (double)((float *)(void *)got[o])[j];
            if (v != want[o].f[j])
                fail_msg("result %d[%d] is %g, expected %g, of %d rows", o, (int)j, v, want[o].f[j],
                         (int)rows);
        }
}

static const int64_t row_counts[] = {1, 16, 19};

static void check_target(Ctx *ctx, const Target *target) {
    static const char *const graph_passes[] = {"inline", "estimate", "density", "ad"};
    static const char *const middle[] = {"canon", "invert", "cse",     "dce",
                                         "fuse",  "batch",  "to_loops"};
    static const char *const loop_passes[] = {"vectorize", "parallel", "plan"};
    Module *m = read_network(ctx);
    Unit u = {
        .ctx = ctx, .arena = &ctx->perm, .graph = m, .target = target, .groups = 8, .rows = 16};
    enum { N_ROWS = sizeof row_counts / sizeof *row_counts };
    char *want[N_ROWS][N_OUT], *got[N_OUT];
    size_t sizes[N_OUT];
    Tensor results[N_ROWS][N_OUT];
    run_passes(&u, graph_passes, 4);
    for (int k = 0; k < N_ROWS; k++)
        run_reference(ctx, m, row_counts[k], results[k]);
    run_passes(&u, middle, 7);
    for (int k = 0; k < N_ROWS; k++) {
        run(ctx, u.loops, row_counts[k], want[k], sizes);
        compare_with_graph(results[k], want[k], row_counts[k]);
    }
    for (int p = 0; p < 3; p++) {
        run_passes(&u, &loop_passes[p], 1);
        assert_null(loop_verify(u.loops));
        must_read_loops(ctx, loops_text(ctx, u.loops));
        for (int k = 0; k < N_ROWS; k++) {
            run(ctx, u.loops, row_counts[k], got, sizes);
            for (int o = 0; o < N_OUT; o++)
                if (memcmp(got[o], want[k][o], sizes[o]) != 0)
                    fail_msg("%s on %s changes result %d of %d rows", loop_passes[p], target->name,
                             o, (int)row_counts[k]);
        }
    }
    DimValue dims = {u.loops->funcs.p[0]->dims.p[0], 100};
    PlanBytes b;
    assert_true(plan_bytes(u.loops, u.loops->funcs.p[0], &dims, 1, &b));
    assert_true(b.job < b.apart_job && b.job <= b.live_job + b.live_job / 4 &&
                b.fixed <= b.live_fixed + b.live_fixed / 4);
}

static void every_target(void **state) {
    (void)state;
    int n;
    const Target *all = target_all(&n);
    for (int k = 0; k < n; k++) {
        Ctx *ctx = ctx_new(0);
        check_target(ctx, &all[k]);
        ctx_free(ctx);
    }
}

/* Of a power of two the reciprocal is exact, and products with it are the quotients to the last bit. */
static void quotients_by_powers_of_two_are_products(void **state) {
    (void)state;
    static const struct {
        const char *by, *mul;
    } cases[] = {{"4.0", "0.25"}, {"-0.5", "-2.0"}, {"3.0", NULL}, {"1e-40", NULL}, {"inf", NULL}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        Ctx *ctx = ctx_new(0);
        const char *text = str_fmt(ctx, "graph \"t\"\nfunc \"t\" f32 @- {\n  dims N\n  entry def \"t\" of \"t\" @- {\n  }\n"
                                        "  %%1: f32[N] = input \"x\" @-\n  %%2: f32[N] = nest [n] = %%1[n] / %s over n<N @-\n  out \"y\" %%2\n}\n", cases[k].by);
        Unit u = {.ctx = ctx, .arena = &ctx->perm, .target = target_named("x86-64-v4"), .groups = 8, .rows = 16};
        u.graph = graph_read(ctx, &ctx->perm, ctx_add_file(ctx, "t.ir", text, strlen(text)));
        assert_non_null(u.graph);
        StrBuf dumps = sb_new(&ctx->perm);
        PassOptions o = {.stop_after = "to_loops", .dumps = &dumps};
        const char *why = "";
        if (!pass_run(&u, &o, &why))
            fail_msg("%s", why);
        const char *got = loops_text(ctx, u.loops);
        bool divides = strstr(got, "div(") != NULL;
        if (divides != !cases[k].mul || (cases[k].mul && !strstr(got, cases[k].mul)))
            fail_msg("%s:\n%s", cases[k].by, got);
        ctx_free(ctx);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_target), cmocka_unit_test(quotients_by_powers_of_two_are_products)};
    return cmocka_run_group_tests_name("loop_passes", tests, NULL, NULL);
}
