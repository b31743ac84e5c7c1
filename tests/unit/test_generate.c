/* cnnc generate: every option, verb, keyword, kind, builtin, layer and distribution is in what it writes; completions parse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver/options.h"
#include "frontend/frontend.h"
#include "frontend/lex.h"
#include "frontend/parse.h"
#include "ir/dist.h"

#define CNNC CNNC_BINARY_DIR "/cnnc"

static char out[1 << 18];

static const char *generate(const char *kind) {
    char command[1024];
    snprintf(command, sizeof command, "%s generate %s", CNNC, kind);
    FILE *p = popen(command, "r");
    assert_non_null(p);
    size_t n = fread(out, 1, sizeof out - 1, p);
    out[n] = 0;
    assert_int_equal(pclose(p), 0);
    return out;
}

static bool inside(char c) { return isalnum((unsigned char)c) || c == '_'; }

static void has_word(const char *kind, const char *word) {
    size_t n = strlen(word);
    for (const char *s = out; (s = strstr(s, word)) != NULL; s++)
        if ((s == out || !inside(s[-1])) && !inside(s[n]))
            return;
    fail_msg("`%s` is not in what `cnnc generate %s` writes", word, kind);
}

static void editors_know_every_word(void **state) {
    (void)state;
    static const char *const kinds[] = {"vim", "textmate"};
    Ctx *ctx = ctx_new(0);
    const AstFile *lib = parse_file(ctx, ctx_add_file(ctx, "prelude.cnn", frontend_prelude, frontend_prelude_len));
    for (int e = 0; e < 2; e++) {
        const char *names[200];
        int n;
        generate(kinds[e]);
        for (int k = 0; k < N_TOK_KINDS; k++)
            if (tok_is_reserved((TokKind)k))
                has_word(kinds[e], tok_kind_text((TokKind)k));
        for (int k = ITEM_IMPORT; k <= ITEM_TEST; k++)
            has_word(kinds[e], item_keyword((ItemKind)k));
        for (int k = STMT_PARAM; k < STMT_BIND; k++)
            has_word(kinds[e], stmt_keyword((StmtKind)k));
        for (int w = FRONTEND_KINDS; w <= FRONTEND_FUNCTIONS; w++) {
            n = frontend_words((FrontendWords)w, names, 200);
            assert_true(n > 4);
            for (int k = 0; k < n; k++)
                has_word(kinds[e], names[k]);
        }
        for (int k = 0; k < lib->n_items; k++)
            has_word(kinds[e], lib->items[k]->name.text);
        const DistDef *const *dists = dist_all(&n);
        for (int k = 0; k < n; k++)
            has_word(kinds[e], dists[k]->name);
    }
    ctx_free(ctx);
}

static void shells_and_man_know_every_option(void **state) {
    (void)state;
    static const char *const kinds[] = {"bash", "zsh", "fish", "man"};
    Session s = {.ctx = ctx_new(0)};
    s.arena = &s.ctx->perm;
    int n;
    const OptionInfo *all = options_all(&s, &n);
    assert_true(n > 40);
    for (int e = 0; e < 4; e++) {
        generate(kinds[e]);
        for (int k = 0; k < n; k++) {
            const char *name = all[k].name + strspn(all[k].name, "-");
            char first[64];
            snprintf(first, sizeof first, "%.*s", (int)strcspn(name, "-"), name); /* man writes \- */
            has_word(kinds[e], first);
        }
        has_word(kinds[e], "gradcheck");
        has_word(kinds[e], "explain");
    }
    ctx_free(s.ctx);
}

static void a_make_rule_names_the_imports(void **state) {
    (void)state;
    assert_int_equal(system("cd " CNNC_SOURCE_DIR "/tests/golden/cli && " CNNC " include.cnn -Ifolder -o '" CNNC_BINARY_DIR
                            "/a b.s' -MD && cat '" CNNC_BINARY_DIR "/a b.d' > " CNNC_BINARY_DIR "/rule"), 0);
    FILE *f = fopen(CNNC_BINARY_DIR "/rule", "rb");
    assert_non_null(f);
    size_t n = fread(out, 1, sizeof out - 1, f);
    out[n] = 0;
    fclose(f);
    assert_non_null(strstr(out, "a\\ b.s: include.cnn folder/third.cnn\nfolder/third.cnn:\n"));
}

static void the_bash_completion_is_bash(void **state) {
    (void)state;
    assert_int_equal(system(CNNC " generate bash | bash -n"), 0);
    generate("man");
    assert_memory_equal(out, ".TH CNNC 1", 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(editors_know_every_word),
        cmocka_unit_test(shells_and_man_know_every_option),
        cmocka_unit_test(a_make_rule_names_the_imports),
        cmocka_unit_test(the_bash_completion_is_bash),
    };
    return cmocka_run_group_tests_name("generate", tests, NULL, NULL);
}
