/* frontend/format.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ctype.h>
#include <string.h>

#include "base/diag.h"
#include "frontend/format.h"

static Ctx *ctx;

static int set_up(void **state) {
    (void)state;
    ctx = ctx_new(0);
    return ctx ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    ctx_free(ctx);
    return 0;
}

static const char *format(const char *text) {
    return format_file(ctx, ctx_add_file(ctx, "a.cnn", text, strlen(text)), NULL);
}

/* Laid out by hand as people do: it stays as it is. */
static const char *const by_hand =
    "## a table\n"
    "const table1: bool[6, 16] = mask(      # row = S2 map\n"
    "  \"X...XXX..XXXX.XX\",\n"
    "  \"XX...XXX..XXXX.X\")\n"
    "\n"
    "model LeNet5[N](x: [N, 1, 28, 28]) -> [N, 10] {\n"
    "  C1:  [N,   6, 28, 28] = x  |> conv(6, 5, pad = 2, gain = 4)           |> sigmoid\n"
    "  S2:  [N,   6, 14, 14] = C1 |> meanpool(2)\n"
    "  C3:  [N,  16, 10, 10] = S2 |> conv(16, 5, gain = 4, connect = table1) |> sigmoid\n"
    "  C5:  [N, 120,  1,  1] = S4 |> conv(120, 5, gain = 4)                  |> sigmoid\n"
    "  F6:  [N,  84]         = C5 |> flatten |> dense(84, gain = 4)          |> sigmoid\n"
    "  Out: [N,  10]         = F6 |> dense(10)\n"
    "  return Out\n"
    "}\n"
    "\n"
    "estimator coin[N](a: positive = 2) {\n"
    "  data  x: bool[N]\n"
    "  param phi: prob        # the coin\n"
    "                         # and more of it\n"
    "  phi ~ Beta(a, -1)\n"
    "  x   ~ Bernoulli(phi)\n"
    "  z.*.w[1:] ~ Normal(phi * x[:N - 1], 1)\n"
    "}\n"
    "\n"
    "def f[N](x: [N], k: int[2] = 1,\n"
    "         b: bool = true) =\n"
    "  for i < N, j < (k[0] + 2*k[1] - 1)//2 =>\n"
    "    sum(for a < 2 => x[i*2 + a]' @ x) ^ 2\n"
    "\n"
    "# the end\n";

static void text_laid_out_by_hand_stays(void **state) {
    (void)state;
    assert_string_equal(format(by_hand), by_hand);
}

static void blanks_become_regular(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"const a   =  1\n", "const a = 1\n"},
        {"const a=1", "const a = 1\n"},
        {"\n\nconst a = 1\n\n\n\nconst b = 2\n\n", "const a = 1\n\nconst b = 2\n"},
        {"def f( x:real ,y : [ N,3 ] )->real=x+y*2 # c\r\n",
         "def f(x: real, y: [N, 3]) -> real = x+y*2  # c\n"},
        {"const a = b +c* d-e\n", "const a = b + c * d-e\n"},
        {"const a = x [ 1 : , : -1 ] ' + - 2*not true\n", NULL},
        {"const a = f (x)[ :, - 1: ]'|>g ( k=3 )\n", "const a = f(x)[:, -1:]' |> g(k = 3)\n"},
        {"model m(x){\n\n      a = x\n    # note\n  b=a\n\n return b }\n",
         "model m(x) {\n  a = x\n  # note\n  b = a\n\n  return b }\n"},
        {"estimator e {\nz . * . w~Normal( 0,1 )\n}\n",
         "estimator e {\n  z.*.w ~ Normal(0, 1)\n}\n"},
        {"const a = f(1,\n2,\n      3\n)\n", "const a = f(1,\n  2,\n      3\n)\n"},
        {"\tconst a = 1\n\t  + 2\n", "const a = 1\n  + 2\n"},
        {"def f(x)\n{\n  return x\n  # last\n}\n", "def f(x)\n{\n  return x\n  # last\n}\n"},
        {"const a = 1      # one\n", "const a = 1      # one\n"},
        {"const a = 1          # one\nconst bcd = 1        # two\n",
         "const a = 1    # one\nconst bcd = 1  # two\n"},
        {"const a     = 1\nconst bcd   = 10\n", "const a   = 1\nconst bcd = 10\n"},
        {"const a = [ 1,  -2]\nconst b = [10, -20]\n",
         "const a = [ 1,  -2]\nconst b = [10, -20]\n"},
        {"# only a comment", "# only a comment\n"},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *once = format(cases[i][0]);
        if (!cases[i][1]) {
            assert_null(once);
            continue;
        }
        assert_non_null(once);
        assert_string_equal(once, cases[i][1]);
        assert_string_equal(format(once), once);
    }
}

static void wrong_text_is_left_alone(void **state) {
    (void)state;
    assert_null(format("def f(x) =\n"));
    assert_int_equal(diags_of(ctx)->n_errors, 1);
}

static const char *without_blanks(const char *s) {
    StrBuf sb = sb_new(&ctx->perm);
    for (; *s; s++)
        if (!isspace((unsigned char)*s))
            sb_putc(&sb, *s);
    return sb.text;
}

/* The same tokens with other blanks and line breaks: all are kept, and formatting again changes
 * nothing. */
static void any_layout_is_made_stable(void **state) {
    (void)state;
    uint32_t seed = 1;
    for (int k = 0; k < 60; k++) {
        Ctx *keep = ctx;
        ctx = ctx_new(0);
        StrBuf sb = sb_new(&ctx->perm);
        bool in_string = false, in_comment = false;
        for (const char *s = by_hand; *s; s++) {
            in_comment = *s != '\n' && (in_comment || *s == '#');
            in_string = in_string != (*s == '"' && !in_comment);
            seed = seed * 1664525u + 1013904223u;
            uint32_t dice = seed >> 24;
            if (*s != ' ' || in_string || in_comment || dice > 90)
                sb_putc(&sb, *s);
            else
                sb_printf(&sb, "%s%*s", dice < 10 ? "\n" : " ", (int)(dice % 6), "");
        }
        const char *once = format(sb.text);
        assert_non_null(once);
        assert_string_equal(without_blanks(once), without_blanks(by_hand));
        assert_string_equal(format(once), once);
        ctx_free(ctx);
        ctx = keep;
    }
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {T(text_laid_out_by_hand_stays), T(blanks_become_regular),
                                       T(wrong_text_is_left_alone), T(any_layout_is_made_stable)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
