/* frontend/lex.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/diag.h"
#include "frontend/lex.h"

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

static Tokens *lex_n(const char *text, size_t n) {
    return lex_file(ctx, ctx_add_file(ctx, "a.cnn", text, n));
}
static Tokens *lex(const char *text) { return lex_n(text, strlen(text)); }

static void every_kind_is_read(void **state) {
    (void)state;
    Tokens *t = lex("if then else for and or not true false when return minimize expect ( ) [ ] { "
                    "} , : . ... ' ~ = := -> => |> == != < "
                    "<= > >= + - * / // % @ ^");
    assert_int_equal(t->n_tok, N_TOK_KINDS - TOK_IF + 1);
    for (uint32_t i = 0; i + 1 < t->n_tok; i++) {
        assert_int_equal(t->tok[i].kind, TOK_IF + (int)i);
        assert_string_equal(tok_text(ctx, t, i), tok_kind_text((TokKind)(TOK_IF + (int)i)));
    }
    assert_false(diag_any_error(ctx));
}

static void the_longest_token_wins(void **state) {
    (void)state;
    Tokens *t = lex("a:=b==c=>d<=e//f'|>iffy for_ 1e5 2.5E-3 7 x1:N");
    static const uint8_t kinds[] = {
        TOK_NAME, TOK_UPDATE, TOK_NAME, TOK_EQ,    TOK_NAME, TOK_FATARROW, TOK_NAME, TOK_LE,
        TOK_NAME, TOK_SLASH2, TOK_NAME, TOK_QUOTE, TOK_PIPE, TOK_NAME,     TOK_NAME, TOK_REAL,
        TOK_REAL, TOK_INT,    TOK_NAME, TOK_COLON, TOK_NAME, TOK_EOF};
    assert_int_equal(t->n_tok, sizeof kinds);
    for (uint32_t i = 0; i < t->n_tok; i++)
        assert_int_equal(t->tok[i].kind, kinds[i]);
    assert_false(diag_any_error(ctx));
}

static void places_count_characters(void **state) {
    (void)state;
    Tokens *t = lex("\xef\xbb\xbf\"\xc3\xa4\xe2\x82\xac\" x # \xc3\xa4\r\n\ty\n");
    assert_int_equal(t->tok[0].col, 1);
    assert_int_equal(t->tok[0].end_col, 5);
    assert_string_equal(tok_text(ctx, t, 0), "\xc3\xa4\xe2\x82\xac");
    assert_int_equal(t->tok[1].col, 6);
    assert_false(t->tok[1].first);
    assert_int_equal(t->tok[2].line, 2);
    assert_int_equal(t->tok[2].col, 2);
    assert_true(t->tok[2].first);
    assert_int_equal(t->tok[3].line, 3);
    assert_int_equal(t->n_com, 1);
    assert_int_equal(t->com[0].to - t->com[0].from, 4);
    assert_int_equal(t->com[0].next, 2);
    assert_false(t->com[0].first);
}

static void documentation_stands_directly_above(void **state) {
    (void)state;
    Tokens *t = lex("## far\n\n## one\n##two\ndef # no\n## three\n# four\nmodel\n  ## five\n  x\n");
    size_t from = 99;
    assert_string_equal(tok_doc(ctx, t, 0, &from), "one\ntwo");
    assert_int_equal(from, 8);
    assert_null(tok_doc(ctx, t, 1, &from));
    assert_int_equal(from, 8);
    assert_string_equal(tok_doc(ctx, t, 2, NULL), "five");
}

/* One error with this code, and reading goes on or stops. */
static Tokens *one_error(const char *text, size_t n, const char *code, uint32_t col) {
    diag_clear(ctx);
    Tokens *t = lex_n(text, n);
    const Diags *ds = diags_of(ctx);
    assert_int_equal(ds->n_errors, 1);
    assert_string_equal(ds->all.p[0]->code, code);
    assert_int_equal(ds->all.p[0]->span.col, col);
    return t;
}

static void mistakes_are_told_apart(void **state) {
    (void)state;
    static const struct {
        const char *text, *code;
        uint32_t col;
    } cases[] = {
        {"2.", "E0104", 1},       {"a 2.b", "E0104", 3},        {"1e", "E0105", 1},
        {"1e+", "E0105", 1},      {"1.5E-x", "E0105", 1},       {"\"abc\nd", "E0106", 1},
        {"1e999", "E0107", 1},    {"1e-999", "E0107", 1},       {"9223372036854775808", "E0107", 1},
        {"2x", "E0108", 1},       {"1else", "E0108", 1},        {"1 $", "E0103", 3},
        {"a ; b", "E0103", 3},    {"a ! b", "E0103", 3},        {"a || b", "E0103", 3},
        {"a\x01", "E0110", 2},    {"2 \xc3\x97 3", "E0111", 3}, {"= .5", "E0112", 3},
        {"a \xff b", "E0102", 3}, {"# \xc3", "E0102", 3},       {"\"a\xed\xa0\x80\"", "E0102", 3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        one_error(cases[i].text, strlen(cases[i].text), cases[i].code, cases[i].col);
}

static void what_is_no_text_stops_the_reading(void **state) {
    (void)state;
    assert_true(one_error("a = 1 \0 b \xff", 11, "E0101", 7)->cut);
    assert_true(one_error("\"a\0\"", 4, "E0101", 3)->cut);
    assert_true(one_error("a \xff b \0", 7, "E0102", 3)->cut);
}

static void ranges_end_where_they_should(void **state) {
    (void)state;
    lex("9223372036854775807 0.0e-999 0e99999 1.7976931348623157e308 4.9e-324 0");
    assert_false(diag_any_error(ctx));
}

static void long_texts_and_names_are_refused(void **state) {
    (void)state;
    size_t n = MAX_SOURCE + 1;
    char *text = arena_alloc(&ctx->perm, n + 1);
    memset(text, 'x', n);
    assert_true(one_error(text, n, "E0113", 1)->cut);
    one_error(text, n - 1, "E0109", 1);
    assert_true(strlen(diags_of(ctx)->all.p[0]->message) < 200);
    one_error(text, MAX_NAME + 1, "E0109", 1);
    diag_clear(ctx);
    lex_n(text, MAX_NAME);
    assert_false(diag_any_error(ctx));
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(every_kind_is_read),           T(the_longest_token_wins),
        T(places_count_characters),      T(documentation_stands_directly_above),
        T(mistakes_are_told_apart),      T(what_is_no_text_stops_the_reading),
        T(ranges_end_where_they_should), T(long_texts_and_names_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
