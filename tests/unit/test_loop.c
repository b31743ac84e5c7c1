/* ir/loop.c: the builder gives types, names and status numbers, and what it builds verifies. */
#include "loop_helper.h"

static void names_and_statuses_are_shared_or_unique(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    LoopModule *m = loop_module_new(ctx, &ctx->perm, str_of(ctx, "a.cnn"));
    LoopFunc *f = loop_func_new(m, str_of(ctx, "f"), (Span){0});
    assert_int_equal(loop_status(m, str_of(ctx, "one")), 0);
    assert_int_equal(loop_status(m, str_of(ctx, "two")), 1);
    assert_int_equal(loop_status(m, str_of(ctx, "one")), 0);
    LoopBuf b = {.name = str_of(ctx, "x"), .kind = BUF_WORK, .dt = DT_F32};
    BufId x = loop_buf(m, f, b), y = loop_buf(m, f, b);
    b.name = NULL;
    BufId t = loop_buf(m, f, b);
    assert_string_equal(loop_bufp(f, x)->name, "x");
    assert_ptr_not_equal(loop_bufp(f, y)->name, loop_bufp(f, x)->name);
    assert_non_null(loop_bufp(f, t)->name);
    b.kind = BUF_ALIAS;
    b.alias = y;
    assert_ptr_equal(loop_storage(f, loop_buf(m, f, b)), loop_bufp(f, y));
    assert_null(loop_bufp(f, (BufId){99}));
    ctx_free(ctx);
}

static void built_loops_verify(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    LoopModule *m = loop_module_new(ctx, &ctx->perm, str_of(ctx, "a.cnn"));
    LoopFunc *f = loop_func_new(m, str_of(ctx, "f"), (Span){0});
    loop_status(m, str_of(ctx, "no"));
    Dim n = dim_const(ctx, 10), zero = dim_const(ctx, 0);
    BufId x = loop_buf(
        m, f,
        (LoopBuf){
            .name = str_of(ctx, "x"), .kind = BUF_WORK, .dt = DT_F32, .rank = 1, .shape = &n});
    LoopCursor c = {.m = m, .f = f, .at = &f->body};
    DimSym i = dim_symbol_new(ctx, str_of(ctx, "i"), 0, true);
    LType f32 = {DT_F32, 1};
    LVal start[2] = {loop_real(&c, f32, 0.1), loop_int(&c, (LType){DT_I32, 1}, 3)};
    LoopStmt *s = loop_for(&c, i, &zero, 1, &n, 1, 1, start, 2);
    Dim at = dim_of(ctx, i);
    LVal v = loop_load(&c, x, &at), less = loop_let(&c, SC_lt, (LVal[]){v, s->phi[0]}, 2, DT_NONE);
    assert_int_equal(loop_type(f, less).dt, DT_BOOL);
    LVal sum = loop_let(&c, SC_select, (LVal[]){less, v, s->phi[0]}, 3, DT_NONE);
    assert_int_equal(loop_type(f, sum).dt, DT_F32);
    loop_require(&c, less, 0);
    LoopBody *then = c.at;
    LoopStmt *cond = loop_if(&c, less);
    loop_store(&c, x, &at, sum);
    loop_end(&c, cond, then, NULL);
    LVal cast = loop_let(&c, SC_cast, &sum, 1, DT_I32);
    assert_int_equal(loop_type(f, cast).dt, DT_I32);
    loop_end(&c, s, &f->body, (LVal[]){sum, cast});
    assert_ptr_equal(c.at, &f->body);
    LVal wide = loop_splat(&c, s->out[0], 8);
    assert_int_equal(loop_type(f, wide).lanes, 8);
    assert_int_equal(loop_splat(&c, wide, 8).id, wide.id);
    LVal total = loop_let(&c, SC_lane_sum, &wide, 1, DT_NONE);
    assert_int_equal(loop_type(f, total).lanes, 1);
    LoopBody *outer = c.at;
    LoopStmt *again = loop_while(&c, &total, 1);
    LVal less2 = loop_let(&c, SC_lt, (LVal[]){again->phi[0], total}, 2, DT_NONE);
    loop_end(&c, again, outer, (LVal[]){less2, again->phi[0]});
    loop_store(&c, x, &zero, again->out[0]);
    assert_true(loop_bufp(f, x)->written);
    assert_null(loop_verify(m));
    must_read_loops(ctx, loops_text(ctx, m));
    ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_statuses_are_shared_or_unique),
        cmocka_unit_test(built_loops_verify),
    };
    return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
