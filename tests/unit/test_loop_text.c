/* ir/loop_text.c, ir/loop_read.c, ir/abi_text.c, ir/text.c: the text reads back exactly; what is
 * malformed is told. */
#include "loop_helper.h"

static const char *const sample =
    "loops \"net.cnn\" for \"x86-64-v4\"\n"
    "status 0 \"net.cnn:20: y holds a \\\"label\\\" outside\"\n"
    "status 1 \"net.cnn: NULL\"\n"
    "\n"
    "estimator \"fit\" fit f64 prior @3:1-9:2 {\n"
    "  doc \"two\\nlines\"\n"
    "  dims N, K >= 0\n"
    "  param \"z.w\" Z_W f32[3, K] interval(0.0, 2.5) learned 3*K offset 0 @4:1-4:9\n"
    "  state \"m\" M f32 real offset 0\n"
    "  hyper \"a\" 2.0 positive @5:1-5:2\n"
    "  hyper \"k\" int 3.0 int\n"
    "  data \"y\" i32[N] index bound 10\n"
    "  report \"error\"\n"
    "  sub \"z\" Z \"Net\" offset 0 state 0\n"
    "  using \"adam\" batch 64 epochs 20 rows N\n"
    "}\n"
    "\n"
    "func \"fit.step\" f32 groups 8 @3:1-9:2 {\n"
    "  dims N, K >= 0\n"
    "  status null 1 dim 1 stop 1 overflow 1\n"
    "  check N - 4 else 0\n"
    "  plan fixed 64*N job 128 jobs 8\n"
    "  entry step \"fit_step\" of \"fit\" work 64*N + 1087 @3:1-3:5 {\n"
    "    exec \"ex\" bytes 32\n"
    "    dim \"N\" is N\n"
    "    scalar \"s\" f64\n"
    "    input \"x\" f32 const bytes 4*K*N @4:1-4:2\n"
    "    out \"out\" f32 bytes 4*N\n"
    "    work \"work\" bytes 64*N + 1087\n"
    "  }\n"
    "  buf x f32[N, K] = arg 3 at 0\n"
    "  buf s f64 = arg 2 at 0\n"
    "  buf out f32[N] = arg 4 at 0 written\n"
    "  buf t f32[16*N] = work at 0 written @\"prelude.cnn\":2:1-2:5\n"
    "  buf j f32[16] = job at 0 written\n"
    "  buf flat f32[4, 4] = alias j\n"
    "  buf c f32[2, 2] = const [1.0, -0.5, inf, 1e-30]\n"
    "  buf b bool[2] = const [0, 1]\n"
    "  for g in 0..8 parallel fetch awake \"fit.z.conv\" {\n"
    "    %1 = f32x16 0.0 @4:1-4:5\n"
    "    %2, %3 = for k in max(0, K - g - 7)..min(K, (N + 1) // 2 + 1) step 16 with %4 = %1, %5 = "
    "%1 unroll 2 @- {\n"
    "      %6 = load f32x16 j[0]\n"
    "      %7 = load f32x16 x[g, 0] by 2 active K - k checked else 0\n"
    "      %8 = index i64 k + 2\n"
    "      %9 = index i64x16 k by 1\n"
    "      %10 = load f32x16 x[0 + %8, %N] axis 0\n"
    "      %11 = fma(%6, %7, %4)\n"
    "      %12 = add(%10, %5)\n"
    "      yield %11, %12\n"
    "    }\n"
    "    %13 = lane_sum(%2)\n"
    "    %14 = cast(%13) : f64\n"
    "    %15 = splat(%14) : f64x8\n"
    "    %16 = lt(%13, %13)\n"
    "    require %16 else 0\n"
    "    if %16 {\n"
    "      store out[g] = %13\n"
    "    } else {\n"
    "      call rt_fill(out[0], x[g, 2], %14)\n"
    "    }\n"
    "    %17 = while with %18 = %13 {\n"
    "      %19 = call rt_next(x[0, 0], %18) : f32\n"
    "      %20 = lt(%19, %13)\n"
    "      yield %20, %19\n"
    "    }\n"
    "    %21 = for q in 0..3 when %16 with %22 = %13 {\n"
    "      yield %22\n"
    "    }\n"
    "  } ordered {\n"
    "    %23 = load f32 out[g]\n"
    "    store out[g] = %23\n"
    "  }\n"
    "}\n";

/* Shows the line of the first difference. */
static void assert_same_text(const char *got, const char *want) {
    size_t k = 0, line = 0;
    for (; got[k] && got[k] == want[k]; k++)
        line = got[k] == '\n' ? k + 1 : line;
    if (got[k] != want[k])
        fail_msg("got\n%.*s\nexpected\n%.*s", (int)strcspn(got + line, "\n"), got + line,
                 (int)strcspn(want + line, "\n"), want + line);
}

static const char *sample_text(Ctx *ctx) {
    StrBuf text = sb_new(&ctx->perm);
    const char *odd = strstr(sample, "%N"); /* a subscript of a value beside one of a dim */
    sb_putn(&text, sample, (size_t)(odd - sample));
    sb_put(&text, "0 + %9");
    sb_put(&text, odd + 2);
    return text.text;
}

static void text_reads_back(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    const char *text = sample_text(ctx);
    LoopModule *m = must_read_loops(ctx, text);
    assert_same_text(loops_text(ctx, m), text);
    LoopModule *again = must_read_loops(ctx, loops_text(ctx, m));
    assert_same_text(loops_text(ctx, again), text);
    assert_int_equal(m->blocks.p[0]->using_.rows == m->funcs.p[0]->dims.p[0], 1);
    ctx_free(ctx);
}

/* Whatever a pass may write to. */
static void spoil(void *arg, LoopStmt *s) {
    (void)arg;
    for (int k = 0; k < s->n_args; k++)
        s->args[k] = (LVal){1};
    for (int k = 0; k < s->n_carried; k++)
        s->init[k] = s->phi[k] = s->out[k] = (LVal){1};
    for (int k = 0; k < s->n_bufs; k++)
        s->bufs[k] = (BufId){1};
    Dim *const dims[3] = {(Dim *)s->subs, (Dim *)s->lo, (Dim *)s->hi};
    const int n[3] = {s->kind == LOOP_INDEX ? 1 : s->subs ? s->rank : 0, s->n_lo, s->n_hi};
    for (int d = 0; d < 3; d++)
        for (int k = 0; k < n[d]; k++)
            dims[d][k] = NULL;
    s->span = (Span){0};
    s->name = s->callee = "other";
}

static void a_copy_is_the_same_and_stays(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    const char *text = sample_text(ctx);
    LoopModule *m = must_read_loops(ctx, text), *copy = loop_module_copy(&ctx->perm, m);
    assert_same_text(loops_text(ctx, copy), text);
    for (int k = 0; k < m->funcs.n; k++) {
        LoopFunc *f = m->funcs.p[k];
        loop_walk(&f->body, spoil, NULL);
        f->body.stmts.n = f->vals.n = f->dims.n = f->checks.n = f->entry->args.n = 0;
        f->entry->work_bytes = f->work_job = NULL;
        for (int b = 0; b < f->bufs.n; b++)
            *f->bufs.p[b] = (LoopBuf){.name = "other"};
    }
    m->funcs.n = m->blocks.n = m->statuses.n = 0;
    assert_same_text(loops_text(ctx, copy), text);
    assert_null(loop_verify(copy));
    ctx_free(ctx);
}

/* The body of a function on `buf x f32[N]`, `buf out f32[N]`. */
static const char *around(Ctx *ctx, const char *body) {
    return str_fmt(ctx,
                   "loops \"a.cnn\"\nfunc \"f\" f32 groups 8 @- {\n dims N\n status null 0 dim 0 "
                   "stop 0 overflow 0\n"
                   " entry def \"f\" {\n  dim \"N\" is N\n  input \"x\" f32 const bytes 4*N\n  out "
                   "\"out\" f32 bytes 4*N\n }\n"
                   " buf x f32[N] = arg 1 at 0\n buf out f32[N] = arg 2 at 0 written\n buf j "
                   "f32[16] = job written\n%s\n}\n",
                   body);
}

static void expect_error(const char *body, const char *start, const char *part) {
    Ctx *ctx = ctx_new(0);
    assert_null(read_loops(ctx, around(ctx, body)));
    const char *e = first_error(ctx);
    if (strncmp(e, start, strlen(start)) != 0 || !strstr(e, part))
        fail_msg("`%s` gives: %s; expected %s ... %s", body, e, start, part);
    ctx_free(ctx);
}

static void malformed_text_is_told(void **state) {
    (void)state;
    expect_error("%1 = nonsense(%2)", "E0801 13:6", "expected a type");
    expect_error("%1 = add(%2, %2)", "E0801 13:10", "%2 is used before");
    expect_error("%1 = f32 1.0\n%1 = f32 1.0", "E0801 14:", "defined twice");
    expect_error("%1 = load f32 y[0]", "E0801 13:15", "name of a buffer");
    expect_error("%1 = load f32 x[0, 1]", "E0801 13:18", "expected `]`");
    expect_error("%1 = load i32 x[0]", "E0801 ", "holds f32");
    expect_error("%1 = load f32 x[M]", "E0801 13:17", "`M` is no dim");
    expect_error("%1 = load f32 x[N // 0]", "E0801", "divides");
    expect_error("for i in 0..N {", "E0801 15:1", "found the end");
    expect_error("%1 = f32x3 0.0", "E0802", "1, 2, 4");
    expect_error("store \"x\"", "E0801 13:7", "name of a buffer");
    expect_error("%1 = f32 \"\\q\"", "E0801", "escape");
    expect_error("buf y f32[2] = const [1.0]", "E0801", "number of elements");
    expect_error("buf x f32[2] = work", "E0801", "two buffers");
}

static void what_does_not_verify_is_told(void **state) {
    (void)state;
    expect_error("%1 = f32 1.0\n%2 = f64 1.0\n%3 = add(%1, %2)", "E0802",
                 "operand 1 has another type");
    expect_error("%1 = f32 1.0\n%3 = iand(%1, %1)", "E0802", "not defined on f32");
    expect_error("%1 = f32 1.0\nstore x[0] = %1", "E0802", "read-only");
    expect_error("buf w f32 = work\n%1 = f32 1.0\nstore w[] = %1", "E0802",
                 "not marked as written");
    expect_error("%1 = f64 1.0\nstore out[0] = %1", "E0802", "another type");
    expect_error("for i in 0..N {\n%1 = f32 1.0\n}\nstore out[0] = %1", "E0802",
                 "not defined on the way");
    expect_error("%1 = f32 1.0\nfor i in 0..N parallel {\nstore out[i] = %1\n}", "E0802",
                 "outside the parallel loop");
    expect_error("for i in 0..N {\nfor k in 0..2 parallel {\n}\n}", "E0802", "no other `for`");
    expect_error("for i in 0..2 parallel {\n%1 = f32 1.0\n} ordered {\nstore out[i] = %1\n}", "E0802",
                 "not defined on the way");
    expect_error("for i in 0..2 parallel {\n} ordered {\n%1 = load f32 j[0]\n}", "E0802",
                 "outside parallel loops");
    expect_error("for i in 0..2 {\n} ordered {\n}", "E0801", "");
    expect_error("for i in 0..N {\nfor i in 0..2 {\n}\n}", "E0802", "hides another");
    expect_error("for N in 0..2 {\n}", "E0802", "hides another");
    expect_error("%1 = load f32 j[0]", "E0802", "outside parallel loops");
    expect_error("%1 = f32 1.0\n%2 = for i in 0..N with %3 = %1 {\n%4 = add(%3, %3)\n}", "E0802",
                 "does not end with a yield");
    expect_error("%1 = f32 1.0\nyield %1", "E0802", "a yield outside");
    expect_error("%1 = f32 1.0\nrequire %1 else 0", "E0802", "not one bool");
    expect_error("%1 = f32 1.0\nfor i in 0..N when %1 {\n}", "E0802", "one bool");
    expect_error("for i in 0..N step 0 {\n}", "E0802", "a step of at least 1");
    expect_error("for i in -1..N {\n}", "E0802", "the index begins below 0");
    expect_error("for i in max(-2, 1 - 2*N)..N {\n}", "E0802", "the index begins below 0");
    expect_error("%1 = index i64 0\n%2 = load f32 x[0 + %1] else 5", "E0802",
                 "not in the module's table");
    expect_error("%1 = f32 1.0\n%2 = bitcast(%1) : f64", "E0802", "keeps the size");
}

/* Every prefix and every single changed byte is read or refused, never worse. */
static void damaged_text_is_survived(void **state) {
    (void)state;
    size_t len = strlen(sample);
    for (size_t cut = 0; cut < len; cut += 7) {
        Ctx *ctx = ctx_new(0);
        char *text = arena_dup(&ctx->perm, sample, len + 1);
        text[cut] = (char)("\0%[}x9\"@-"[cut % 9]);
        LoopModule *m = read_loops(ctx, text);
        assert_true(m || diag_any_error(ctx));
        ctx_free(ctx);
    }
}

static void deep_nesting_is_refused(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    StrBuf sb = sb_new(&ctx->perm);
    sb_put(&sb, "%1 = index i64 ");
    for (int k = 0; k < 100000; k++)
        sb_putc(&sb, '(');
    expect_error(sb.text, "E0801", "nested too deeply");
    ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_reads_back),
        cmocka_unit_test(a_copy_is_the_same_and_stays),
        cmocka_unit_test(malformed_text_is_told),
        cmocka_unit_test(what_does_not_verify_is_told),
        cmocka_unit_test(damaged_text_is_survived),
        cmocka_unit_test(deep_nesting_is_refused),
    };
    return cmocka_run_group_tests_name("loop_text", tests, NULL, NULL);
}
