/* The memory of the compiler grows with the program, not with its square: the blocks that arenas ask for when a program
 * is twice as long. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/diag.h"
#include "codegen/codegen.h"
#include "frontend/frontend.h"
#include "frontend/parse.h"
#include "passes/pass.h"

typedef void Write(StrBuf *sb, int n);

/* Blocks for the passes and, where asked, the LLVM module. */
static double blocks(Write *write, int n, bool emit) {
    Ctx *ctx = ctx_new(0);
    StrBuf sb = sb_new(&ctx->perm);
    write(&sb, n);
    AstFile *file = parse_file(ctx, ctx_add_file(ctx, "test.cnn", sb.text, sb.len));
    LowerOptions lower = {0};
    Module *m = frontend_lower(ctx, &ctx->perm, file, &lower);
    assert_false(diag_any_error(ctx));
    Unit u = {.ctx = ctx, .arena = &ctx->perm, .graph = m, .target = target_named("x86-64-v3"), .groups = 8, .rows = 16};
    PassOptions o = {.stop_after = NULL};
    const char *why = NULL;
    long before = ctx->allocs;
    assert_true(pass_run(&u, &o, &why));
    if (emit) {
        CodegenOptions c = {.level = 0};
        size_t len;
        before = ctx->allocs;
        assert_non_null(codegen_emit(ctx, &ctx->perm, u.loops, &c, EMIT_LLVM, &len));
    }
    double r = (double)(ctx->allocs - before);
    ctx_free(ctx);
    return r;
}

/* A sum over n parameters, each of them a name: an exact fit, with its Hessian. */
static void parameters(StrBuf *sb, int n) {
    sb_printf(sb, "estimator e[N] {\n  data x: [N, %d]\n", n);
    for (int k = 0; k < n; k++)
        sb_printf(sb, "  param p%d: real\n", k);
    sb_put(sb, "  minimize mean((for i < N => ");
    for (int k = 0; k < n; k++)
        sb_printf(sb, "%sp%d * x[i, %d]", k ? " + " : "", k, k);
    sb_put(sb, ")^2)\n  using sgd(lr = 0.1, batch = 4, epochs = 1)\n}\n");
}

static void layers(StrBuf *sb, int n) {
    sb_put(sb, "estimator e[N] {\n  data x: [N, 16]\n  h0 = x\n");
    for (int k = 0; k < n; k++)
        sb_printf(sb, "  h%d = h%d |> dense(16) |> tanh\n", k + 1, k);
    sb_printf(sb, "  minimize mean(h%d^2)\n  using sgd(lr = 0.1, batch = 4, epochs = 1)\n}\n", n);
}

/* Buffers that all live until the sum at the end. */
static void values(StrBuf *sb, int n) {
    sb_put(sb, "def f[N, D, K](x: [N, D], w: [D, K]) -> [N, K] {\n");
    for (int k = 0; k < n; k++)
        sb_printf(sb, "  y%d = softmax((x * %d) @ w, axis = 1)\n", k, k + 1);
    sb_put(sb, "  return ");
    for (int k = 0; k < n; k++)
        sb_printf(sb, "%sy%d", k ? " + " : "", k);
    sb_put(sb, "\n}\n");
}

static void doubles(const char *what, Write *write, int n, bool emit, double most) {
    double one = blocks(write, n, emit), two = blocks(write, 2 * n, emit);
    print_message("%s: %.0f blocks, %.0f for twice as many\n", what, one, two);
    if (two > most * one)
        fail_msg("%s: %.0f blocks, %.0f for twice as many", what, one, two);
}

static void many_parameters(void **state) {
    (void)state;
    doubles("parameters", parameters, 100, false, 3);
}

static void many_layers(void **state) {
    (void)state;
    doubles("layers", layers, 24, false, 2.6);
    doubles("layers, code", layers, 24, true, 2.6);
}

static void many_values(void **state) {
    (void)state;
    doubles("values", values, 40, false, 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(many_parameters), cmocka_unit_test(many_layers), cmocka_unit_test(many_values)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
