/* base/diag.h: collecting, the text form, JSON, near names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/diag.h"
#include "base/utf8.h"

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

static uint32_t file_of(const char *text) {
    return ctx_add_file(ctx, "lenet.cnn", text, strlen(text));
}
static Span at(uint32_t file, uint32_t line, uint32_t col, uint32_t end_col) {
    return (Span){file, line, col, line, end_col};
}

static const char *text_of(const Diag *d) {
    StrBuf sb = sb_new(&ctx->perm);
    diag_render_text(ctx, d, false, &sb);
    return sb.text;
}

static const char *json_of(const Diag *d) {
    StrBuf sb = sb_new(&ctx->perm);
    diag_render_json(ctx, d, &sb);
    return sb.text;
}

static void text_has_the_documented_layout(void **state) {
    (void)state;
    uint32_t f = file_of("model m\n  a = x |> conv(6, 5)\n\n  b = a + x\n");
    Diag *d = diag_error(ctx, "E0312", at(f, 4, 9, 10),
                         "the two sides of `%s` have different shapes", "+");
    diag_here(ctx, d, "left %s, right %s", "[N, 6]", "[N, 1]");
    diag_label(ctx, d, at(f, 2, 7, 22), "a: [N, 6]");
    diag_note(ctx, d, (Span){0}, "in f, called with C = 6");
    diag_help(ctx, d, "use `for`");
    assert_string_equal(text_of(d), "error[E0312]: the two sides of `+` have different shapes\n"
                                    "  --> lenet.cnn:4:9\n"
                                    "   |\n"
                                    " 2 |   a = x |> conv(6, 5)\n"
                                    "   |       --------------- a: [N, 6]\n"
                                    " 4 |   b = a + x\n"
                                    "   |         ^ left [N, 6], right [N, 1]\n"
                                    "   |\n"
                                    "note: in f, called with C = 6\n"
                                    "help: use `for`\n"
                                    "note: cnnc explain E0312\n");
}

static void columns_are_characters_and_a_tab_is_one(void **state) {
    (void)state;
    uint32_t f = file_of("\ta = \"\xc3\xa4\xe2\x82\xac\" \xc3\x97 3\r\n");
    Diag *d = diag_error(ctx, "E0111", at(f, 1, 11, 12), "no");
    assert_non_null(
        strstr(text_of(d), " 1 |  a = \"\xc3\xa4\xe2\x82\xac\" \xc3\x97 3\n   |           ^\n"));
}

static void control_characters_are_shown_not_sent(void **state) {
    (void)state;
    uint32_t f = file_of("a\x1b[31m\xff = \xe2\x80\xae x\n");
    Diag *d = diag_error(ctx, "E0110", at(f, 1, 11, 12), "not `\x1b[31m`");
    const char *text = text_of(d);
    assert_null(strchr(text, '\x1b'));
    assert_non_null(strstr(text, "not `\\x1b[31m`"));
    assert_non_null(
        strstr(text, " 1 | a\\x1b[31m\\xff = \\u{202e} x\n   |                 ^^^^^^^^\n"));
    assert_null(strchr(json_of(d), '\x1b'));
}

static void long_lines_are_cut_around_the_place(void **state) {
    (void)state;
    char line[100001];
    memset(line, 'x', 100000);
    line[100000] = 0;
    line[50000] = '$';
    uint32_t f = file_of(line);
    const char *text = text_of(diag_error(ctx, "E0103", at(f, 1, 50001, 50002), "no"));
    assert_true(strlen(text) < 600);
    const char *quoted = strstr(text, " 1 | ..."), *caret = strchr(text, '^');
    assert_non_null(quoted);
    const char *dollar = strchr(quoted, '$'), *line_end = strchr(quoted, '\n');
    assert_int_equal(dollar - quoted, caret - (line_end + 1));
    text = text_of(diag_error(ctx, "E0103", at(f, 1, 3, 90000), "no"));
    assert_true(strlen(text) < 900);
    text = text_of(diag_error(ctx, "E0103", at(f, 1, 1, 2), "`%s`", line));
    assert_true(strlen(text) < 2000);
}

static void places_past_the_end_and_over_lines_are_drawn(void **state) {
    (void)state;
    uint32_t f = file_of("one\ntwo\n");
    assert_non_null(
        strstr(text_of(diag_error(ctx, "E0203", at(f, 3, 1, 2), "no")), " 3 | \n   | ^\n"));
    Span over = {f, 1, 2, 2, 3};
    assert_non_null(strstr(text_of(diag_error(ctx, "E0203", over, "no")), " 1 | one\n   |  ^^\n"));
}

static void other_files_follow(void **state) {
    (void)state;
    uint32_t f = file_of("here\n"), g = ctx_add_file(ctx, "lib.cnn", "there\n", 6);
    Diag *d = diag_error(ctx, "E0401", at(f, 1, 1, 5), "no");
    diag_label(ctx, d, at(g, 1, 1, 6), "declared");
    diag_note(ctx, d, at(g, 1, 2, 3), "in it");
    const char *text = text_of(d);
    assert_non_null(strstr(text, "  ::: lib.cnn:1:1\n   |\n 1 | there\n   | ----- declared\n"));
    assert_non_null(strstr(text, "note: in it\n  --> lib.cnn:1:2\n"));
}

static void json_is_one_object(void **state) {
    (void)state;
    uint32_t f = file_of("a \"b\"\n");
    Diag *d = diag_error(ctx, "E0401", at(f, 1, 3, 6), "say \"%s\"\\", "b");
    diag_here(ctx, d, "this");
    diag_help(ctx, d, "that\nand that");
    assert_string_equal(json_of(d),
                        "{\"severity\":\"error\",\"code\":\"E0401\",\"message\":\"say "
                        "\\\"b\\\"\\\\\",\"file\":\"lenet.cnn\",\"line\":1,\"column\":3,"
                        "\"end_line\":1,\"end_column\":6,\"notes\":[{\"message\":\"this\",\"file\":"
                        "\"lenet.cnn\",\"line\":1,\"column\":3}],"
                        "\"help\":\"that\\nand that\"}\n");
    d = diag_error(ctx, "E0901", (Span){0}, "no file");
    assert_string_equal(json_of(d),
                        "{\"severity\":\"error\",\"code\":\"E0901\",\"message\":\"no "
                        "file\",\"file\":null,\"line\":null,\"column\":null,"
                        "\"end_line\":null,\"end_column\":null,\"notes\":[],\"help\":null}\n");
}

static void errors_accumulate_up_to_a_limit(void **state) {
    (void)state;
    uint32_t f = file_of("abc\n");
    diags_of(ctx)->max_errors = 2;
    for (uint32_t i = 1; i < 5; i++)
        diag_error(ctx, "E0401", at(f, 1, i, i + 1), "no");
    assert_int_equal(diags_of(ctx)->n_errors, 4);
    assert_int_equal(diags_of(ctx)->all.n, 2);
    StrBuf sb = sb_new(&ctx->perm);
    diag_render_all(ctx, false, false, &sb);
    assert_non_null(strstr(sb.text, "2 further errors"));
    diag_clear(ctx);
    assert_false(diag_any_error(ctx));
}

static void the_same_words_about_the_same_place_are_said_once(void **state) {
    (void)state;
    uint32_t f = file_of("abc\n");
    diag_error(ctx, "E0401", at(f, 1, 1, 2), "no");
    diag_help(ctx, diag_error(ctx, "E0401", at(f, 1, 1, 2), "no"), "again");
    diag_error(ctx, "E0401", at(f, 1, 1, 2), "other");
    assert_int_equal(diags_of(ctx)->n_errors, 2);
}

static void warnings_obey_their_flags(void **state) {
    (void)state;
    Diags *ds = diags_of(ctx);
    uint32_t f = file_of("abc\n");
    assert_non_null(strstr(text_of(diag_warning(ctx, "W0201", "spacing", at(f, 1, 1, 2), "odd")),
                           "warning[W0201]: odd [-Wspacing]\n"));
    vec_push(&ctx->perm, &ds->disabled, str_of(ctx, "unused"));
    assert_non_null(diag_warning(ctx, "W0601", "unused", at(f, 1, 1, 2), "odd"));
    assert_int_equal(ds->n_warnings, 1);
    assert_false(diag_any_error(ctx));
    ds->werror = true;
    diag_warning(ctx, "W0201", "spacing", at(f, 1, 2, 3), "odd");
    assert_int_equal(ds->n_errors, 1);
    ds->no_warnings = true;
    diag_warning(ctx, "W0201", "spacing", at(f, 1, 3, 4), "odd");
    assert_int_equal(ds->all.n, 2);
}

static void near_names_are_found(void **state) {
    (void)state;
    static const char *const names[] = {"sigmoid", "value", "Normal", "adam", "pad", "x", "real"};
    const int n = sizeof names / sizeof *names;
    assert_string_equal(diag_nearest("sigmod", names, n), "sigmoid");
    assert_string_equal(diag_nearest("vlaue", names, n), "value");
    assert_string_equal(diag_nearest("Norml", names, n), "Normal");
    assert_string_equal(diag_nearest("normal", names, n), "Normal");
    assert_string_equal(diag_nearest("adm", names, n), "adam");
    assert_string_equal(diag_nearest("padd", names, n), "pad");
    assert_string_equal(diag_nearest("reel", names, n), "real");
    assert_null(diag_nearest("y", names, n));
    assert_null(diag_nearest("unrelated", names, n));
}

static void utf8_is_read_defensively(void **state) {
    (void)state;
    uint32_t c;
    assert_int_equal(utf8_decode("\xf0\x9f\x98\x80", 4, &c), 4);
    assert_int_equal(c, 0x1f600);
    static const char *const bad[] = {
        "\x80",         "\xc0\x80",         "\xc1\xbf",         "\xe0\x80\x80",
        "\xed\xa0\x80", "\xf0\x80\x80\x80", "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80",
        "\xff",         "\xe2\x82"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(utf8_decode(bad[i], strlen(bad[i]), &c), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(text_has_the_documented_layout),
        T(columns_are_characters_and_a_tab_is_one),
        T(control_characters_are_shown_not_sent),
        T(long_lines_are_cut_around_the_place),
        T(places_past_the_end_and_over_lines_are_drawn),
        T(other_files_follow),
        T(json_is_one_object),
        T(errors_accumulate_up_to_a_limit),
        T(the_same_words_about_the_same_place_are_said_once),
        T(warnings_obey_their_flags),
        T(near_names_are_found),
        T(utf8_is_read_defensively),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
