/* Entries that make initial values: they have no work memory, so everything is computed where it
 * belongs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ir/random.h"
#include "tests/unit/graph_helper.h"

static const char text[] = "graph \"t.cnn\"\n"
                           "model \"M\" m f32 @1:1-9:2 {\n"
                           "  param \"w\" W f32[3, 4] real learned 12 offset 0 @2:3-2:9\n"
                           "  param \"b\" B f32[4] real learned 4 offset 12 @2:3-2:9\n"
                           "  param \"c\" C f32[4] real learned 4 offset 16 @2:3-2:9\n"
                           "}\n"
                           "func \"M.init\" f32 block 0 @1:1-9:2 {\n"
                           "  entry init \"m_init\" of \"M\" @1:1-9:2 {\n"
                           "  }\n"
                           "  %1: i64 = seed \"seed\" @-\n"
                           "  %2: i64 = const{0} @-\n"
                           "  %3: f32[3, 4] = random{uniform site 5 row0 0 axis 0}(%1, %2) @-\n"
                           "  %4: f32[3, 4] = nest [i, j] = 2.0 * %3[i, j] - 1.0 over i<3, j<4 @-\n"
                           "  %5: f32[3, 4] = nest [i, j] = %4[i, j] * 0.25 over i<3, j<4 @-\n"
                           "  %6: f32[4] = nest [i] = 0.5 over i<4 @-\n"
                           "  new_param \"w\" %5 of 0\n"
                           "  new_param \"b\" %6 of 1\n"
                           "  new_param \"c\" %6 of 2\n"
                           "}\n";

/* The one function of the runtime that the text calls. */
static bool call(void *self, Str callee, void *const *bufs, const ScalarValue *args,
                 ScalarValue *result) {
    (void)self, (void)result;
    if (strcmp(callee, "random_uniform_f32") != 0)
        return false;
    RandomKey key = {(uint64_t)args[0].i, (uint64_t)args[1].i, (uint64_t)args[2].i};
    for (int64_t k = 0; k < args[5].i; k++)
        ((float *)bufs[0])[k] = (float)random_uniform32(key, (uint64_t)(args[3].i + k * args[4].i));
    return true;
}

static void init(void *arg) {
    Ctx *ctx = arg;
    Module *m = graph_parse(ctx, text);
    if (!m)
        fail_msg("%s", graph_messages(ctx));
    Unit u = graph_unit(ctx, m);
    pass_to_loops(&u);
    loop_assign_offsets(u.loops);
    const LoopFunc *lf = u.loops->funcs.p[0];
    for (int k = 0; k < lf->bufs.n; k++)
        assert_true(lf->bufs.p[k]->kind != BUF_WORK && lf->bufs.p[k]->kind != BUF_JOB);
    assert_int_equal(lf->entry->args.n, 2);
    assert_int_equal(lf->entry->args.p[0].kind, ARG_SEED);
    assert_int_equal(lf->entry->args.p[1].kind, ARG_PARAMS);
    float params[20];
    LoopArg args[2] = {{.i = 7}, {.p = params}};
    LoopRun run = {.call = call};
    const char *why = "";
    if (loop_run(ctx, u.loops, lf, args, &run, &why))
        fail_msg("%s", why);
    RandomKey key = {7, 5, 0};
    for (int k = 0; k < 20; k++) {
        float want = k < 12 ? (2 * (float)random_uniform32(key, (uint64_t)k) - 1) * 0.25f : 0.5f;
        assert_true(params[k] == want);
    }
}

static void inits_need_no_work(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    if (ctx_protect(ctx, init, ctx) != CTX_OK)
        fail_msg("%s", ctx->internal);
    ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(inits_need_no_work)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
