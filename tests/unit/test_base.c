/* base/: arenas, interning, text buffers, unwinding. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/ctx.h"
#include "base/str.h"

static void equal_texts_are_equal_pointers(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    Str a = str_of(ctx, "alpha");
    for (int i = 0; i < 2000; i++)
        str_fmt(ctx, "name%d", i);
    assert_ptr_equal(a, str_intern(ctx, "alphabet", 5));
    assert_ptr_not_equal(a, str_of(ctx, "alph"));
    ctx_free(ctx);
}

static void reals_print_as_they_read(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    StrBuf sb = sb_new(&ctx->perm);
    sb_real(&sb, 3);
    sb_putc(&sb, ' ');
    sb_real(&sb, 0.1);
    sb_putc(&sb, ' ');
    sb_real(&sb, 1e-300);
    assert_string_equal(sb.text, "3.0 0.1 1e-300");
    ctx_free(ctx);
}

static void fill(void *arg) {
    Ctx *ctx = arg;
    for (int i = 0; i < 5000; i++)
        str_fmt(ctx, "a name that takes space %d", i);
}

static void every_failing_allocation_unwinds(void **state) {
    (void)state;
    assert_null(ctx_new(1));
    for (long n = 2;; n++) {
        Ctx *ctx = ctx_new(n);
        CtxStatus s = ctx_protect(ctx, fill, ctx);
        ctx_free(ctx);
        if (s == CTX_OK) {
            assert_true(n > 3);
            return;
        }
        assert_int_equal(s, CTX_OOM);
    }
}

static void broken(void *arg) { CTX_ASSERT((Ctx *)arg, 1 == 2); }

static void internal_errors_name_the_pass(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    ctx->running_pass = "fuse";
    assert_int_equal(ctx_protect(ctx, broken, ctx), CTX_INTERNAL);
    assert_non_null(strstr(ctx->internal, "in pass fuse"));
    assert_non_null(strstr(ctx->internal, "1 == 2"));
    ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_texts_are_equal_pointers),
        cmocka_unit_test(reals_print_as_they_read),
        cmocka_unit_test(every_failing_allocation_unwinds),
        cmocka_unit_test(internal_errors_name_the_pass),
    };
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
