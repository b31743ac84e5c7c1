/* ir/graph_print, graph_read, graph_verify: texts read back exactly; what is malformed is said
 * where it stands. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/diag.h"
#include "ir/op.h"

static const char *const texts[] = {
    "graph \"a.cnn\"\n"
    "model \"M\" m f32 @1:1-9:2 {\n"
    "  dims N\n"
    "  param \"w\" W f32[784, 10] real learned 7840 offset 0 @2:3-2:9\n"
    "  param \"c\" C f32[2, N, 3] real learned 4*N mask (0 2, 2 3) \"X.X.XX\" offset 7840 @2:3-2:9\n"
    "}\n"
    "func \"M.forward\" f32 block 0 @1:1-9:2 {\n"
    "  dims N\n"
    "  entry forward \"m_forward\" of \"M\" @1:1-9:2 {\n"
    "  }\n"
    "  check N - 2 \"N is too small\" @3:1-3:2\n"
    "  %1: f32[N, 784] = input \"x\" @1:3-1:4\n"
    "  %2: i32[N] = input \"y\" bound 10 @1:3-1:4\n"
    "  %3: f32[784, 10] = param \"w\" tensor 0 @2:3-2:9\n"
    "  %4: f32[N, 10] = nest [n, o] += %1[n, i] * %3[i, o] over n<N, o<10, i<784 \"M.y\" @3:3-3:4\n"
    "  %5: f32[N, 10] = nest [n, o] = let $0 = exp(%4[n, o]); $0 / (1.0 + $0) over n<N, o<10 "
    "@3:3-3:4\n"
    "  %6: f32[N] = nest [n] max= %4?-inf[n, o - 1] - f32({o}) * 2.0 over n<N, o<12 where 0 <= n - "
    "o < N then max(acc, 0.0) @-\n"
    "  %7: i32[N] = nest [n] argmax= %4[n, o] over n<N, o<10 @\"prelude.cnn\":3:3-3:4\n"
    "  %8: f32[N, 10] = nest [n, o] = select({o} < {N - 2}, %5[n, o], -0.5) over n<N, o<10 from %4 "
    "@3:3-3:4\n"
    "  %9: f32[10*N] = reshape(%8) @4:1-4:2\n"
    "  %10: f64 = nest [] += f64(%9[i]) * (f64(%9[i]) - 1.0 f64) over i<10*N @4:1-4:2\n"
    "  out \"out\" %8\n"
    "  value \"v\" %10\n"
    "}\n",
    "graph \"b.cnn\"\n"
    "func \"f\" f64 @- {\n"
    "  dims N, M >= 0\n"
    "  %1: f64[N] = input \"x\" @-\n"
    "  %2: i64 = seed \"seed\" @-\n"
    "  %3: f64[N, M] = random{uniform site 3 row0 0 axis 0}(%2, %2) @-\n"
    "  %4: i32[N] = random{int site 3 row0 0 axis 0 below M}(%2, %2) @-\n"
    "  %5: f64[N] = gather{at 0}(%1, %4) @-\n"
    "  %6: f64[3] = const{1.0, -inf, nan} @-\n"
    "  %7: bool = nest [] = 1 < 2 over @-\n"
    "  require{\"no \\\"way\\\"\" @3:1-3:9}(%7) @-\n"
    "  %8: f64[N] = density{Normal}(%1, %1, %5) \"f.d\" @-\n"
    "  %9: f64[N] = call{\"g\"}(%8) @-\n"
    "  %10: f64[N] = vjp{1}(%9, %8, %1) @-\n"
    "  out \"out\" %10\n"
    "}\n"
    "func \"g\" f64 @- {\n"
    "  dims N\n"
    "  %1: f64[N] = local \"x\" @-\n"
    "  %2: f64[N] = stop(%1) @-\n"
    "  local %2\n"
    "}\n",
};

static const char *print(Ctx *ctx, const Module *m) {
    StrBuf sb = sb_new(&ctx->perm);
    graph_print(&sb, m);
    return sb.text;
}

static Module *read(Ctx *ctx, const char *text) {
    return graph_read(ctx, &ctx->perm, ctx_add_file(ctx, "t.ir", text, strlen(text)));
}

static const char *messages(Ctx *ctx) {
    StrBuf sb = sb_new(&ctx->perm);
    diag_render_all(ctx, false, false, &sb);
    return sb.text;
}

static void read_back(void *arg) {
    Ctx *ctx = arg;
    for (size_t k = 0; k < sizeof texts / sizeof *texts; k++) {
        Module *m = read(ctx, texts[k]);
        if (!m)
            fail_msg("%s", messages(ctx));
        const char *once = print(ctx, m);
        assert_string_equal(once, texts[k]);
    }
}

static void texts_read_back(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    CtxStatus s = ctx_protect(ctx, read_back, ctx);
    if (s != CTX_OK)
        fail_msg("%s", ctx->internal);
    ctx_free(ctx);
}

static void read_samples(void *arg) {
    Ctx *ctx = arg;
    int n;
    const OpDef *const *ops = op_all(&n);
    for (int k = 0; k < n; k++)
        for (int s = 0; ops[k]->sample; s++) {
            Module *m = graph_module_new(ctx, &ctx->perm, str_of(ctx, "s.cnn"));
            if (!ops[k]->sample(m, s))
                break;
            const char *why = graph_verify(m), *once = print(ctx, m);
            if (why)
                fail_msg("%s sample %d: %s", ops[k]->name, s, why);
            Module *again = read(ctx, once);
            if (!again)
                fail_msg("%s\n%s", messages(ctx), once);
            assert_string_equal(once, print(ctx, again));
        }
}

static void samples_read_back(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    CtxStatus s = ctx_protect(ctx, read_samples, ctx);
    if (s != CTX_OK)
        fail_msg("%s", ctx->internal);
    ctx_free(ctx);
}

typedef struct Broken {
    const char *find, *put;
    uint32_t line, col;
    const char *message;
} Broken;

static const Broken broken[] = {
    {"  %4: f32[N, 10] = nest", "  blah blah", 15, 1, "this line is no instruction"},
    {"over n<N, o<10, i<784 ", "", 15, 0, "without `over`"},
    {"%3[i, o]", "%30[i, o]", 15, 0, "%30 is not defined before"},
    {"%4: f32[N, 10]", "%5: f32[N, 10]", 15, 0, "values are numbered in order"},
    {"reshape(%8)", "reshape(%7)", 20, 0, "reshape"},
    {"f32[10*N]", "f32[11*N]", 20, 0, "elements become"},
    {"(0 2, 2 3)", "(0 2, 0 3)", 5, 0, "an axis of the parameter and its extent"},
    {"(0 2, 2 3)", "(0 2, 2 4)", 5, 0, "an axis of the parameter and its extent"},
    {"X.X.XX", "X.X.X", 5, 0, "6 cells of X and ."},
    {"graph", "grpah", 1, 1, "expected `graph`"},
};

static void malformed(void *arg) {
    Ctx *ctx = arg;
    for (size_t k = 0; k < sizeof broken / sizeof *broken; k++) {
        StrBuf sb = sb_new(&ctx->perm);
        const char *at = strstr(texts[0], broken[k].find);
        sb_putn(&sb, texts[0], (size_t)(at - texts[0]));
        sb_put(&sb, broken[k].put);
        sb_put(&sb, at + strlen(broken[k].find));
        diag_clear(ctx);
        assert_null(read(ctx, sb.text));
        Diag *d = diags_of(ctx)->all.p[0];
        if (!strstr(d->message, broken[k].message) || d->span.line != broken[k].line ||
            (broken[k].col && d->span.col != broken[k].col))
            fail_msg("case %d: %u:%u %s", (int)k, d->span.line, d->span.col, d->message);
    }
}

static void malformed_lines_are_named(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    CtxStatus s = ctx_protect(ctx, malformed, ctx);
    if (s != CTX_OK)
        fail_msg("%s", ctx->internal);
    ctx_free(ctx);
}

/* Every truncation is an error or ends between two functions; every changed byte is an error or a
 * valid text. */
static void hostile(void *arg) {
    Ctx *ctx = arg;
    const char *text = texts[1];
    size_t len = strlen(text);
    for (size_t n = 0; n < len; n += 3) {
        char *cut = arena_dup(&ctx->perm, text, len + 1);
        cut[n] = 0;
        diag_clear(ctx);
        Module *m = read(ctx, cut);
        assert_true(m || diag_any_error(ctx));
        cut = arena_dup(&ctx->perm, text, len + 1);
        cut[n] = (char)(cut[n] ^ (1 << n % 7));
        if (!cut[n])
            continue;
        diag_clear(ctx);
        m = read(ctx, cut);
        assert_true(m || diag_any_error(ctx));
    }
}

static void hostile_texts_are_errors(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    CtxStatus s = ctx_protect(ctx, hostile, ctx);
    if (s != CTX_OK)
        fail_msg("%s", ctx->internal);
    ctx_free(ctx);
}

static void read_all(void *arg) {
    for (size_t k = 0; k < sizeof texts / sizeof *texts; k++)
        print(arg, read(arg, texts[k]));
}

static void every_failing_allocation_unwinds(void **state) {
    (void)state;
    for (long n = 2;; n++) {
        Ctx *ctx = ctx_new(n);
        CtxStatus s = ctx_protect(ctx, read_all, ctx);
        ctx_free(ctx);
        if (s == CTX_OK) {
            assert_true(n > 5);
            return;
        }
        assert_int_equal(s, CTX_OOM);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_read_back),
        cmocka_unit_test(samples_read_back),
        cmocka_unit_test(malformed_lines_are_named),
        cmocka_unit_test(hostile_texts_are_errors),
        cmocka_unit_test(every_failing_allocation_unwinds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
