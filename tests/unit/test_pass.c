/* passes/pass.c: options, dumps, and what the runner refuses. */
#include "pass_helper.h"

static const char TEXT[] = "graph \"a.cnn\"\nfunc \"f\" f64 @- {\n  dims N\n"
                           "  entry def \"f\" @- {\n  }\n"
                           "  %1: f64[N] = input \"x\" @-\n"
                           "  %2: f64[N] = nest [i] = exp(%1[i]) over i<N @-\n"
                           "  %3: f64 = nest [] += %2[i] over i<N @-\n"
                           "  out \"y\" %3\n}\n";

typedef struct Ran {
    Ctx *ctx;
    Unit u;
    StrBuf dumps;
    const char *why;
    bool ok;
} Ran;

static Ran run_with(PassOptions o) {
    Ran r = {.ctx = ctx_new(0)};
    r.u = unit_of(r.ctx, must_read(r.ctx, TEXT));
    r.dumps = sb_new(&r.ctx->perm);
    o.dumps = &r.dumps;
    r.ok = pass_run(&r.u, &o, &r.why);
    if (!r.dumps.text)
        sb_put(&r.dumps, "");
    return r;
}

static void refused(PassOptions o, const char *part) {
    Ran r = run_with(o);
    assert_false(r.ok);
    if (!strstr(r.why, part))
        fail_msg("no `%s` in `%s`", part, r.why);
    ctx_free(r.ctx);
}

static void test_pipeline(void **state) {
    (void)state;
    Ran r = run_with((PassOptions){.time_passes = true});
    assert_true(r.ok);
    assert_non_null(r.u.loops);
    for (int k = 0; k < n_passes; k++)
        if (!strstr(r.dumps.text, str_fmt(r.ctx, "%s ", pass_table[k].name)))
            fail_msg("no time of %s", pass_table[k].name);
    ctx_free(r.ctx);
}

static void test_stop_and_dumps(void **state) {
    (void)state;
    const char *fuse = "fuse", *all = "all";
    Ran r = run_with((PassOptions){.stop_after = "fuse",
                                   .print_before = &fuse,
                                   .n_print_before = 1,
                                   .print_after = &all,
                                   .n_print_after = 1});
    assert_true(r.ok);
    assert_null(r.u.loops);
    assert_int_equal(count_of(graph_text(r.ctx, r.u.graph), "nest"), 1);
    assert_int_equal(count_of(r.dumps.text, "; IR before fuse\ngraph"), 1);
    assert_int_equal(count_of(r.dumps.text, "; IR after fuse\ngraph"), 1);
    assert_int_equal(count_of(r.dumps.text, "; IR after dce\n(unchanged)\n"), 1);
    assert_null(strstr(r.dumps.text, "batch"));
    ctx_free(r.ctx);
}

static void test_disabled_and_only(void **state) {
    (void)state;
    const char *fuse = "fuse", *two[] = {"cse", "fuse"};
    Ran r = run_with((PassOptions){.stop_after = "fuse", .disabled = &fuse, .n_disabled = 1});
    assert_true(r.ok);
    assert_int_equal(count_of(graph_text(r.ctx, r.u.graph), "nest"), 2);
    ctx_free(r.ctx);
    r = run_with((PassOptions){.only = two, .n_only = 2});
    assert_true(r.ok);
    assert_int_equal(count_of(graph_text(r.ctx, r.u.graph), "nest"), 1);
    ctx_free(r.ctx);
}

static void test_refusals(void **state) {
    (void)state;
    const char *typo = "fuze", *needed = "ad", *loop = "plan", *all = "all";
    refused((PassOptions){.disabled = &typo, .n_disabled = 1}, "did you mean `fuse`?");
    refused((PassOptions){.only = &typo, .n_only = 1}, "`fuze`");
    refused((PassOptions){.only = &all, .n_only = 1}, "`all`");
    refused((PassOptions){.stop_after = "nothing"}, "there is no pass `nothing`");
    refused((PassOptions){.disabled = &needed, .n_disabled = 1}, "`ad` cannot be disabled");
    refused((PassOptions){.only = &loop, .n_only = 1}, "`plan` works on loop IR");
}

/* Every pass that says so can be left out of the pipeline. */
static void test_optional(void **state) {
    (void)state;
    for (int k = 0; k < n_passes; k++) {
        const char *name = pass_table[k].name;
        Ran r = run_with((PassOptions){.disabled = &name, .n_disabled = 1});
        assert_int_equal(r.ok, pass_table[k].optional);
        ctx_free(r.ctx);
    }
}

static void broken_pass(void *arg) {
    Ran *r = arg;
    r->u.graph->funcs.p[0]->results.p[0].val = (Val){99};
    *r = (Ran){.ctx = r->ctx,
               .u = r->u,
               .dumps = r->dumps,
               .ok = pass_run(&r->u, &(PassOptions){.dumps = &r->dumps}, &r->why)};
}

/* The verifier runs after each pass; what it finds is an internal error that names the pass. */
static void test_verifier(void **state) {
    (void)state;
    Ran r = {.ctx = ctx_new(0)};
    r.u = unit_of(r.ctx, must_read(r.ctx, TEXT));
    r.dumps = sb_new(&r.ctx->perm);
    assert_int_equal(ctx_protect(r.ctx, broken_pass, &r), CTX_INTERNAL);
    assert_non_null(strstr(r.ctx->internal, "inline"));
    ctx_free(r.ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pipeline),          cmocka_unit_test(test_stop_and_dumps),
        cmocka_unit_test(test_disabled_and_only), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_optional),          cmocka_unit_test(test_verifier)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
