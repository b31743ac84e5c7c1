/* ir/graph, ir/signature, ir/abi: copying, splicing, C signatures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ir/signature.h"
#include "tests/unit/graph_helper.h"

static const char callee[] =
    "graph \"t.cnn\"\n"
    "func \"g\" f64 @- {\n"
    "  dims D\n"
    "  %1: f64[D] = input \"x\" @-\n"
    "  %2: f64[D, 2] = nest [i, j] = %1[i] * f64({j + D}) over i<D, j<2 \"y\" @4:1-4:2\n"
    "  %3: f64[2*D] = reshape(%2) @5:1-5:2\n"
    "  out %3\n"
    "}\n"
    "func \"f\" f64 @- {\n"
    "  dims N\n"
    "  %1: f64[2*N] = input \"x\" @-\n"
    "  out %1\n"
    "}\n";

static const char spliced[] =
    "func \"f\" f64 @- {\n"
    "  dims N\n"
    "  %1: f64[2*N] = input \"x\" @-\n"
    "  %2: f64[2*N, 2] = nest [i, j] = %1[i] * f64({2*N + j}) over i<2*N, j<2 \"h.y\" @4:1-4:2\n"
    "  %3: f64[4*N] = reshape(%2) \"h\" @5:1-5:2\n"
    "  out %1\n"
    "}\n";

static void splice(void *arg) {
    Ctx *ctx = arg;
    Module *m = graph_parse(ctx, callee);
    if (!m)
        fail_msg("%s", graph_messages(ctx));
    Func *g = graph_func_named(m, str_of(ctx, "g")), *f = graph_func_named(m, str_of(ctx, "f"));
    Val out;
    DimBinding bind = {g->dims.p[0], dim_scale(ctx, dim_of(ctx, f->dims.p[0]), 2)};
    graph_splice(m, f, g, &f->params.p[0].val, &bind, 1, str_of(ctx, "h"), &out);
    assert_int_equal(out.id, 3);
    StrBuf sb = sb_new(&ctx->perm);
    graph_print_func(&sb, m, f);
    assert_string_equal(sb.text, spliced);
    int *uses = graph_uses(&ctx->perm, f);
    assert_int_equal(uses[1], 2);
    assert_int_equal(uses[3], 0);
    graph_func_remove(m, g->id);
    assert_null(graph_func_named(m, str_of(ctx, "g")));
    assert_null(graph_verify(m));
}

static const char step_text[] = "graph \"t.cnn\"\n"
                                "estimator \"E\" e f32 @1:1-9:2 {\n"
                                "  dims N, D\n"
                                "  param \"w\" W f32[D, 2] real learned 2*D offset 0 @2:3-2:9\n"
                                "  param \"b\" B f32[2] real learned 2 offset 2*D @2:3-2:9\n"
                                "  state \"s\" S f32[3] real learned 0 offset 0 @2:3-2:9\n"
                                "  opt \"w.v\" W_V f32[D, 2] real learned 0 offset 0 @2:3-2:9\n"
                                "  opt \"b.v\" B_V f32[2] real learned 0 offset 0 @2:3-2:9\n"
                                "}\n"
                                "func \"E.step\" f32 block 0 @1:1-9:2 {\n"
                                "  dims N, D\n"
                                "  entry step \"e_step\" of \"E\" @1:1-9:2 {\n"
                                "  }\n"
                                "  %1: f32[N, D] = input \"x\" @1:3-1:4\n"
                                "  %2: i32[N] = input \"y\" bound 2 @1:3-1:4\n"
                                "  %3: f32[D, 2] = param \"w\" tensor 0 @2:3-2:9\n"
                                "  %4: f32[2] = param \"b\" tensor 1 @2:3-2:9\n"
                                "  %5: f32[2] = opt \"b.v\" tensor 1 @2:3-2:9\n"
                                "  %6: f64 = prior \"prior\" @-\n"
                                "  loss \"loss\" %6\n"
                                "  new_param \"b\" %5 of 3\n"
                                "  new_opt \"b.v\" %4 of 4\n"
                                "}\n";

static const char *args_text(Ctx *ctx, const AbiEntry *e) {
    StrBuf sb = sb_new(&ctx->perm);
    for (int k = 0; k < e->args.n; k++)
        sb_printf(&sb, "%s%s %s%s%s", k ? ", " : "", abi_arg_ctype(&e->args.p[k]),
                  e->args.p[k].name, e->args.p[k].bytes ? ":" : "",
                  e->args.p[k].bytes ? dim_text(ctx, e->args.p[k].bytes) : "");
    return sb.text;
}

static void signature(void *arg) {
    Ctx *ctx = arg;
    Module *m = graph_parse(ctx, step_text);
    if (!m)
        fail_msg("%s", graph_messages(ctx));
    Func *f = m->funcs.p[0];
    AbiMap map = abi_signature(m, f);
    assert_string_equal(args_text(ctx, f->entry),
                        "const cnnc_exec * ex, const void * h:40, int64_t N, int64_t D, const "
                        "float * x:4*D*N, const int32_t * y:4*N, "
                        "float * params:8*D + 8, float * state:12, void * opt:8*D + 24, double * "
                        "loss:8, void * work");
    assert_string_equal(dim_text(ctx, map.params[3].offset), "8*D");
    assert_int_equal(map.params[3].arg, 6);
    assert_string_equal(dim_text(ctx, map.params[4].offset), "8*D + 16");
    assert_string_equal(dim_text(ctx, map.params[5].offset), "8");
    assert_int_equal(map.params[5].storage, DT_F64);
    assert_int_equal(map.results[1].arg, 6);
    assert_int_equal(map.results[2].arg, 8);
}

static void case_of_names(void *arg) {
    Ctx *ctx = arg;
    assert_string_equal(abi_upper(ctx, str_of(ctx, "z.C1.w")), "Z_C1_W");
    assert_string_equal(abi_lower(ctx, str_of(ctx, "LeNet5")), "lenet5");
}

static void protect(void (*fn)(void *)) {
    Ctx *ctx = ctx_new(0);
    if (ctx_protect(ctx, fn, ctx) != CTX_OK)
        fail_msg("%s", ctx->internal);
    ctx_free(ctx);
}

static void splicing_substitutes_dims(void **state) {
    (void)state;
    protect(splice);
}

static void a_step_has_its_signature(void **state) {
    (void)state;
    protect(signature);
}

static void c_names(void **state) {
    (void)state;
    protect(case_of_names);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(splicing_substitutes_dims),
        cmocka_unit_test(a_step_has_its_signature),
        cmocka_unit_test(c_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
