/* driver/explain.h: every code has a page and a golden file, and the programs of the pages do what
 * they say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "driver/explain.h"
#include "frontend/frontend.h"
#include "frontend/parse.h"

/* Codes without a golden file, and where they are tested instead. */
static const char *const without_golden[] = {
    "E0113",          /* a text of 16 MiB: test_lex */
    "E0590",          /* every op that the front end makes has a derivative: a new one may not */
    "E1202",          /* what does not converge today may tomorrow: test_fit_result */
    "E0901", "E0902", /* a target that this machine's LLVM lacks */
    "E0903", "E0904", "E0905", "E0906", /* a damaged installation or a full disk */
};

typedef struct Codes {
    char code[400][8];
    int n;
} Codes;

static bool has_code(const Codes *c, const char *code) {
    for (int i = 0; i < c->n; i++)
        if (strncmp(c->code[i], code, 5) == 0)
            return true;
    return false;
}

/* Adds what follows `before` in the text, if it is a code with `after` behind it. */
static void add_codes(Codes *c, const char *text, char before, char after) {
    for (const char *s = text; (s = strchr(s, before)) != NULL; s++) {
        if ((s[1] == 'E' || s[1] == 'W') && strspn(s + 2, "0123456789") == 4 && s[6] == after &&
            !has_code(c, s + 1)) {
            assert_in_range(c->n, 0, 399);
            memcpy(c->code[c->n++], s + 1, 5);
        }
    }
}

static char *read_file(const char *path) {
    FILE *f = fopen(path, "rb");
    if (!f)
        return NULL;
    char *s = calloc(1, 4 << 20);
    size_t n = fread(s, 1, (4 << 20) - 1, f);
    s[n] = 0;
    fclose(f);
    return s;
}

static void codes_of_folder(Codes *c, const char *folder, const char *suffix, char before,
                            char after) {
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
        const char *dot = strrchr(e->d_name, '.');
        if (!dot || strcmp(dot, suffix) != 0)
            continue;
        char path[1200];
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        char *text = read_file(path);
        assert_non_null(text);
        add_codes(c, text, before, after);
        free(text);
    }
    if (d)
        closedir(d);
}

static Codes *codes_of_sources(void) {
    static const char *const folders[] = {"base", "ir", "frontend", "passes", "codegen", "driver"};
    Codes *c = calloc(1, sizeof *c);
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char path[600];
        snprintf(path, sizeof path, "%s/%s", CNNC_SOURCE_DIR, folders[i]);
        codes_of_folder(c, path, ".c", '"', '"');
    }
    assert_in_range(c->n, 30, 400);
    return c;
}

static void every_code_has_a_page(void **state) {
    (void)state;
    Codes *c = codes_of_sources();
    int missing = 0;
    for (int i = 0; i < c->n; i++) {
        if (!explain_find(c->code[i])) {
            print_error("%s has no page in driver/explain/\n", c->code[i]);
            missing++;
        }
    }
    free(c);
    assert_int_equal(missing, 0);
}

static void every_page_has_a_code_and_they_are_in_order(void **state) {
    (void)state;
    Codes *c = codes_of_sources();
    int n;
    const ExplainPage *pages = explain_pages(&n);
    for (int i = 0; i < n; i++) {
        if (!has_code(c, pages[i].code))
            fail_msg("no message has the code %s", pages[i].code);
        if (i > 0)
            assert_true(strcmp(pages[i - 1].code, pages[i].code) < 0);
    }
    free(c);
}

static void every_code_has_a_golden_file(void **state) {
    (void)state;
    Codes *c = codes_of_sources(), *golden = calloc(1, sizeof *golden);
    DIR *d = opendir(CNNC_SOURCE_DIR "/tests/golden");
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        char path[600];
        snprintf(path, sizeof path, "%s/tests/golden/%s", CNNC_SOURCE_DIR, e->d_name);
        if (e->d_name[0] != '.')
            codes_of_folder(golden, path, ".err", '[', ']');
    }
    closedir(d);
    int missing = 0;
    for (int i = 0; i < c->n; i++) {
        bool found = has_code(golden, c->code[i]);
        for (size_t k = 0; k < sizeof without_golden / sizeof *without_golden; k++)
            found = found || strcmp(without_golden[k], c->code[i]) == 0;
        if (!found) {
            print_error("%s has no file in tests/golden\n", c->code[i]);
            missing++;
        }
    }
    free(c);
    free(golden);
    assert_int_equal(missing, 0);
}

/* A message about a program's text says what to do. */
static void every_code_of_a_program_has_a_fix(void **state) {
    (void)state;
    Codes *c = codes_of_sources();
    int missing = 0;
    for (int i = 0; i < c->n; i++) {
        char code[8] = {0};
        memcpy(code, c->code[i], 5);
        bool program = code[0] == 'W' || code[2] < '7';
        if (program && code[1] == '0' && !diag_default_help(code)) {
            print_error("%s has no row in base/help.def\n", code);
            missing++;
        }
    }
    free(c);
    assert_int_equal(missing, 0);
}

/* Compiles a program of a page; the codes of its messages. */
static Codes codes_of_program(const char *page, const char *text) {
    Codes c = {.n = 0};
    Ctx *ctx = ctx_new(0);
    assert_non_null(ctx);
    AstFile *f = parse_file(ctx, ctx_add_file(ctx, "page.cnn", text, strlen(text)));
    Arena arena;
    arena_init(&arena, ctx);
    LowerOptions options = {.real = DT_NONE, .base = "page"};
    if (!diag_any_error(ctx))
        frontend_lower(ctx, &arena, f, &options);
    const Diags *ds = diags_of(ctx);
    for (int i = 0; i < ds->all.n; i++)
        if (strcmp(ds->all.p[i]->code, "W0502") || !strcmp(page, "W0502")) /* they are short */
            memcpy(c.code[c.n++], ds->all.p[i]->code, 5);
    arena_free(&arena);
    ctx_free(ctx);
    return c;
}

static void the_programs_of_the_pages_do_what_they_say(void **state) {
    (void)state;
    int n;
    const ExplainPage *pages = explain_pages(&n);
    for (int i = 0; i < n; i++) {
        if (pages[i].wrong) {
            Codes c = codes_of_program(pages[i].code, pages[i].wrong);
            if (c.n != 1 || strcmp(c.code[0], pages[i].code) != 0)
                fail_msg("the wrong program of %s: %d messages, first %s", pages[i].code, c.n,
                         c.n ? c.code[0] : "-");
        }
        if (pages[i].right) {
            Codes c = codes_of_program(pages[i].code, pages[i].right);
            if (c.n != 0)
                fail_msg("the right program of %s gives %s", pages[i].code, c.code[0]);
        }
    }
}

static void a_page_is_found_and_printed(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    StrBuf sb = sb_new(&ctx->perm);
    assert_null(explain_find("E9999"));
    assert_null(explain_find("E0208 "));
    explain_print(explain_find("e0208"), &sb);
    assert_memory_equal(sb.text, "E0208: a block without its closing brace\n\nThe block", 51);
    assert_non_null(
        strstr(sb.text, "\nWrong:\n\n    def f(x: real) -> real {\n      return x\n\n    def g"));
    ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_a_page),
        cmocka_unit_test(every_page_has_a_code_and_they_are_in_order),
        cmocka_unit_test(every_code_has_a_golden_file),
        cmocka_unit_test(every_code_of_a_program_has_a_fix),
        cmocka_unit_test(the_programs_of_the_pages_do_what_they_say),
        cmocka_unit_test(a_page_is_found_and_printed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
