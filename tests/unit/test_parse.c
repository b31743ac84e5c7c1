/* frontend/parse.h: every production, the place of every mistake, recovery, the REPL's lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/diag.h"
#include "frontend/lex.h"
#include "frontend/parse.h"

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

static uint32_t file_of(const char *text) { return ctx_add_file(ctx, "a.cnn", text, strlen(text)); }

/* --- expressions, printed with all parentheses --- */

static void show(StrBuf *sb, const Expr *e);

static void show_path(StrBuf *sb, Path p) {
    for (int i = 0; i < p.n; i++)
        sb_printf(sb, "%s%s", i ? "." : "", p.names[i].text);
}

static void show_args(StrBuf *sb, const Arg *args, int n) {
    for (int i = 0; i < n; i++) {
        sb_put(sb, i ? ", " : "");
        if (args[i].name.text)
            sb_printf(sb, "%s=", args[i].name.text);
        show(sb, args[i].value);
    }
}

static void show_subs(StrBuf *sb, const Sub *subs, int n) {
    for (int i = 0; i < n; i++) {
        sb_put(sb, i ? ", " : "");
        if (subs[i].lo)
            show(sb, subs[i].lo);
        if (subs[i].colon)
            sb_putc(sb, ':');
        if (subs[i].hi)
            show(sb, subs[i].hi);
    }
}

static void show_for(StrBuf *sb, const Expr *e) {
    sb_put(sb, "(for");
    for (int i = 0; i < e->n_indices; i++) {
        sb_printf(sb, "%s %s<", i ? "," : "", e->indices[i].name.text);
        show(sb, e->indices[i].bound);
    }
    sb_put(sb, " => ");
    show(sb, e->x);
    sb_putc(sb, ')');
}

static void show(StrBuf *sb, const Expr *e) {
    switch (e->kind) {
    case EXPR_ERROR:
        sb_put(sb, "<error>");
        break;
    case EXPR_INT:
        sb_printf(sb, "%lld", (long long)e->i);
        break;
    case EXPR_REAL:
        sb_real(sb, e->real);
        break;
    case EXPR_STRING:
        sb_printf(sb, "\"%s\"", e->text);
        break;
    case EXPR_BOOL:
        sb_put(sb, e->truth ? "true" : "false");
        break;
    case EXPR_NAME:
        show_path(sb, e->path);
        break;
    case EXPR_LIST:
        sb_putc(sb, '[');
        for (int i = 0; i < e->n_items; i++) {
            sb_put(sb, i ? ", " : "");
            show(sb, e->items[i]);
        }
        sb_putc(sb, ']');
        break;
    case EXPR_UNARY:
        sb_printf(sb, "(%s ", ast_op_text(e->op));
        show(sb, e->x);
        sb_putc(sb, ')');
        break;
    case EXPR_BINARY:
        sb_putc(sb, '(');
        show(sb, e->x);
        sb_printf(sb, " %s ", ast_op_text(e->op));
        show(sb, e->y);
        sb_putc(sb, ')');
        break;
    case EXPR_TRANSPOSE:
        show(sb, e->x);
        sb_putc(sb, '\'');
        break;
    case EXPR_CALL:
        show_path(sb, e->path);
        sb_put(sb, e->piped ? "|(" : "(");
        show_args(sb, e->args, e->n_args);
        sb_putc(sb, ')');
        break;
    case EXPR_INDEX:
        show(sb, e->x);
        sb_putc(sb, '[');
        show_subs(sb, e->subs, e->n_subs);
        sb_putc(sb, ']');
        break;
    case EXPR_IF:
        sb_put(sb, "(if ");
        show(sb, e->x);
        sb_put(sb, " then ");
        show(sb, e->y);
        sb_put(sb, " else ");
        show(sb, e->z);
        sb_putc(sb, ')');
        break;
    case EXPR_FOR:
        show_for(sb, e);
        break;
    }
}

static void operators_bind_as_the_grammar_says(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"1 + 2 * 3 - 4", "((1 + (2 * 3)) - 4)"},
        {"-2^2", "(- (2 ^ 2))"},
        {"2^-1^2", "(2 ^ (- (1 ^ 2)))"},
        {"a' @ b // c % 2", "(((a' @ b) // c) % 2)"},
        {"not a == b and c or d", "(((not (a == b)) and c) or d)"},
        {"h + x |> f", "f|((h + x))"},
        {"x |> f(2, k = 3) |> L.g", "L.g|(f|(x, 2, k=3))"},
        {"if a then b else if c then d else e", "(if a then b else (if c then d else e))"},
        {"for i < n - 1, j < 2 => x[i, j + 1] * 2", "(for i<(n - 1), j<2 => (x[i, (j + 1)] * 2))"},
        {"x[:, 1:, :N - 1, 2:3, i]", "x[:, 1:, :(N - 1), 2:3, i]"},
        {"[[1, 2.5], [], \"X.\", true]", "[[1, 2.5], [], \"X.\", true]"},
        {"z.C1.w[0]'", "z.C1.w[0]'"},
        {"f()(", "<error>"},
        {"(1 + 2) * -x", "((1 + 2) * (- x))"},
        {"1e3 + 1", "(1e+03 + 1)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        StrBuf sb = sb_new(&ctx->perm);
        show(&sb, parse_expr_text(ctx, file_of(cases[i][0])));
        assert_string_equal(sb.text, cases[i][1]);
    }
}

static void spans_are_those_of_the_text(void **state) {
    (void)state;
    const Expr *e = parse_expr_text(ctx, file_of("(a + b) * x |> f(1)"));
    assert_int_equal(e->span.col, 1);
    assert_int_equal(e->span.end_col, 20);
    assert_int_equal(e->op_span.col, 13);
    assert_int_equal(e->path.span.col, 16);
    assert_int_equal(e->close.col, 19);
    const Expr *product = e->args[0].value;
    assert_int_equal(product->op_span.col, 9);
    assert_true(product->x->parens);
    assert_int_equal(product->x->span.end_col, 8);
    assert_int_equal(product->x->op_span.col, 4);
}

/* --- statements and items --- */

static const char *const everything =
    "import \"lib.cnn\" as L\n"
    "## a constant\n## of two lines\nconst k: int = 3\n"
    "def f[N, K = 3](x: [N], y: index(K)[N, 2] = 0, z) -> real[N] = x\n"
    "model m(x) {\n  state s: real = 0\n  ## its weight\n  param w: [2] = glorot(1, 2) when x\n  "
    "param b: positive\n"
    "  data = 3\n  s := s + 1\n  return w\n}\n"
    "estimator e {\n  data x: bool[N]\n  const c = 1\n  test: [N] = x\n  z.*.w[1:] ~ Normal(0, "
    "1)\n  report r = x\n  using L.adam(lr = 1)\n"
    "  minimize x\n}\n"
    "optimizer o(p, g) { p := p - g }\n"
    "test \"it\" {\n  expect true\n}\n";

static void every_item_is_read(void **state) {
    (void)state;
    AstFile *a = parse_file(ctx, file_of(everything));
    assert_false(diag_any_error(ctx));
    assert_int_equal(a->n_items, 7);
    assert_string_equal(a->items[0]->text, "lib.cnn");
    assert_string_equal(a->items[0]->name.text, "L");
    const Item *k = a->items[1], *f = a->items[2], *m = a->items[3];
    assert_string_equal(k->doc, "a constant\nof two lines");
    assert_memory_equal(everything + k->from, "## a", 4);
    assert_memory_equal(everything + k->to, "\ndef", 4);
    assert_string_equal(k->type->kind.text, "int");
    assert_int_equal(f->n_dims, 2);
    assert_int_equal(f->dims[1].value->i, 3);
    assert_int_equal(f->n_formals, 3);
    assert_null(f->formals[0].type->kind.text);
    assert_int_equal(f->formals[1].type->rank, 2);
    assert_int_equal(f->formals[1].type->n_args, 1);
    assert_int_equal(f->formals[1].default_->i, 0);
    assert_null(f->formals[2].type);
    assert_string_equal(f->type->kind.text, "real");
    assert_true(f->short_body);
    assert_int_equal(f->body[0]->kind, STMT_RETURN);
    assert_int_equal(m->n_body, 6);
    assert_int_equal(m->close.line, 14);
    assert_int_equal(a->items[5]->n_formals, 2);
    assert_string_equal(a->items[6]->text, "it");
}

static void every_statement_is_read(void **state) {
    (void)state;
    AstFile *a = parse_file(ctx, file_of(everything));
    static const StmtKind in_model[] = {STMT_STATE, STMT_PARAM,  STMT_PARAM,
                                        STMT_BIND,  STMT_UPDATE, STMT_RETURN};
    static const StmtKind in_estimator[] = {STMT_DATA,   STMT_CONST, STMT_BIND,    STMT_TILDE,
                                            STMT_REPORT, STMT_USING, STMT_MINIMIZE};
    const Item *m = a->items[3], *e = a->items[4];
    for (int i = 0; i < m->n_body; i++)
        assert_int_equal(m->body[i]->kind, in_model[i]);
    assert_string_equal(m->body[1]->doc, "its weight");
    assert_non_null(m->body[1]->when);
    assert_null(m->body[2]->value);
    assert_int_equal(e->n_body, 7);
    for (int i = 0; i < e->n_body; i++)
        assert_int_equal(e->body[i]->kind, in_estimator[i]);
    const Stmt *t = e->body[3];
    assert_int_equal(t->path.n, 3);
    assert_string_equal(t->path.names[1].text, "*");
    assert_int_equal(t->n_subs, 1);
    assert_int_equal(t->op.col, 13);
    assert_string_equal(e->body[5]->value->path.names[0].text, "L");
}

/* --- mistakes: ` marks the place --- */

static const struct {
    const char *code, *text, *name;
} mistakes[] = {
    {"E0104", "const a = `2.\n", "number with a bare dot"},
    {"E0112", "const a = `.5\n", "number without a leading digit"},
    {"E0105", "const a = `1e\n", "exponent without digits"},
    {"E0106", "import `\"lib.cnn\n", "unterminated string"},
    {"E0103", "const a = 1 `$ 2\n", "unknown character"},
    {"E0111",
     "const a = 2 `\xc3"
     "\x97"
     " 3\n",
     "multiplication sign"},
    {"E0201", "`modle m(x: real) { return x }\n", "no such item"},
    {"E0203", "const a `1\n", "const without ="},
    {"E0206", "const a = `)\n", "const without a value"},
    {"E0205", "def `(x: real) = x\n", "def without a name"},
    {"E0203", "def f `= 1\n", "def without formals"},
    {"E0212", "def f(x: real `-> real = x\n", "formals not closed"},
    {"E0205", "def f(x: real, `) -> real = x\n", "formals with a trailing comma"},
    {"E0203", "def f(x: real) -> real\n`const a = 1\n", "def without body"},
    {"E0203", "model m(x: real) `= x\n", "model without block"},
    {"E0205", "def f[`3](x: [3]) -> real = sum(x)\n", "a number as dim"},
    {"E0207", "def f(x: `3) -> real = 1\n", "a number as type"},
    {"E0212", "def f[N](x: [N`) -> real = sum(x)\n", "shape not closed"},
    {"E0208", "model m[N](x: [N, 4]) -> [N, 2] `{\n  return dense(x, 2)\n", "block not closed"},
    {"E0202", "def f(x: real) -> real { return x }\n`}\n", "one brace too many"},
    {"E0203", "model m[N](x: [N]) -> [N] {\n  param w `= 1\n  return w * x\n}\n",
     "param without type"},
    {"E0203", "model m[N](x: [N]) -> [N] {\n  state s: real\n  `return s * x\n}\n",
     "state without a start"},
    {"E0203", "estimator e[N] {\n  data x\n  `param m: real\n  x ~ Normal(m, 1)\n}\n",
     "data without type"},
    {"E0206", "def f(x: real) -> real { return `}\n", "return without a value"},
    {"E0203",
     "estimator e[N] {\n  data x: [N, 4]\n  data y: [N]\n  z = dense(x, 1)\n  y ~ Normal(z[:, 0], "
     "1)\n  using adam `}\n",
     "using without arguments"},
    {"E0203",
     "estimator e[N] {\n  data x: [N, 4]\n  data y: [N]\n  z = dense(x, 1)\n  y ~ Normal(z[:, 0], "
     "1)\n  report err `mean(y)\n  using adam()\n}\n",
     "report without ="},
    {"E0206",
     "estimator e[N, D] {\n  data X: [N, D]\n  data y: [N]\n  param w: [D]\n  param s: positive\n  "
     "y ~ `}\n",
     "~ without a distribution"},
    {"E0203", "const a = if true then 1\n`const b = 2\n", "if without else"},
    {"E0203", "const a = if true `1 else 2\n", "if without then"},
    {"E0203", "const a = for i < 3 `i\n", "for without =>"},
    {"E0203", "const a = for i `=> 1\n", "for without a bound"},
    {"E0209", "const a = 1 < 2 `< 3\n", "chained comparison"},
    {"E0205", "const a = 1 |> `2\n", "pipe into a number"},
    {"E0212", "const a = [1, 2\n`const b = 1\n", "list not closed"},
    {"E0206", "const a = (1 + `)\n", "operand missing"},
    {"E0206", "def f[N](x: [N]) -> real = x[`]\n", "empty subscript"},
    {"E0206", "const a = max(1, b = `)\n", "named argument without a value"},
    {"E0203", "import `lib\n", "import without a string"},
    {"E0203", "optimizer o `{ }\n", "optimizer without formals"},
    {"E0219", "def f(x: real) -> real = x `else 1\n", "else alone"},
    {"E0204", "const `for = 1\n", "reserved word as a const"},
    {"E0204", "def `when(x: real) -> real = x\n", "reserved word as a function"},
    {"E0204", "def f(`then: real) -> real = 1\n", "reserved word as a formal"},
    {"E0210", "model m[N](x: [N]) -> [N] {\n  `+ 1\n  return x\n}\n", "statement expected"},
    {"E0214", "const a = 1 + `if true then 1 else 2\n", "if as an operand"},
    {"E0215", "const a = 2`(3)\n", "call of a number"},
    {"E0216", "const a = f(1)`.w\n", "field of a value"},
    {"E0217", "def f(x) {\n  a[0] `= 3\n  return a\n}\n", "assignment to an element"},
    {"E0204", "const a = for `not < 3 => 1\n", "reserved word as an index"},
    {"E0219", "const a = 1\ndef f(x) = 1 `{ }\n", "def with two bodies"},
    {"E0210", "def f(x) {\n  `retrun x\n}\n", "misspelt keyword"},
};

static void place_of_mark(const char *text, char *plain, uint32_t *line, uint32_t *col) {
    *line = *col = 1;
    const char *mark = strchr(text, '`');
    for (const char *s = text; s < mark; s++) {
        *col = *s == '\n' ? 1 : *col + ((*s & 0xc0) != 0x80);
        *line += *s == '\n';
    }
    sprintf(plain, "%.*s%s", (int)(mark - text), text, mark + 1);
}

static void every_mistake_has_its_place(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
        char plain[400];
        uint32_t line, col;
        place_of_mark(mistakes[i].text, plain, &line, &col);
        diag_clear(ctx);
        parse_file(ctx, file_of(plain));
        const Diags *ds = diags_of(ctx);
        const Diag *d = ds->n_errors ? ds->all.p[0] : NULL;
        if (ds->n_errors != 1 || strcmp(d->code, mistakes[i].code) || d->span.line != line ||
            d->span.col != col)
            fail_msg("%s: %d errors, %s at %u:%u", mistakes[i].name, ds->n_errors,
                     d ? d->code : "-", d ? d->span.line : 0, d ? d->span.col : 0);
    }
}

static void reading_goes_on_after_a_mistake(void **state) {
    (void)state;
    AstFile *a = parse_file(
        ctx,
        file_of(
            "modle m(x) {\n  const b = 1\n  return x\n}\n"
            "def f(x) {\n  a = g(x,\n    k = ),\n    m = 2)\n  b = = 2\n  c = 3\n  return x\n}\n"
            "def g(x = x\n"
            "def h(x) = x\n}\n"
            "const k = 1 $ 2\n"));
    static const uint32_t lines[] = {1, 7, 9, 14, 15, 16};
    const Diags *ds = diags_of(ctx);
    assert_int_equal(ds->n_errors, 6);
    for (int i = 0; i < 6; i++) {
        bool found = false;
        for (int j = 0; j < 6; j++)
            found = found || ds->all.p[j]->span.line == lines[i];
        assert_true(found);
    }
    assert_int_equal(a->n_items, 3);
    assert_true(a->items[0]->broken);
    assert_int_equal(a->items[0]->n_body, 2);
    assert_false(a->items[1]->broken);
}

static void an_open_block_does_not_hide_the_next_item(void **state) {
    (void)state;
    AstFile *a = parse_file(ctx, file_of("model m(x) {\n  return x\n\ndef f(x) = x\n"));
    assert_int_equal(diags_of(ctx)->n_errors, 1);
    assert_string_equal(diags_of(ctx)->all.p[0]->code, "E0208");
    assert_int_equal(a->n_items, 1);
}

static const char *nested(int n, const char *open, const char *close) {
    StrBuf sb = sb_new(&ctx->perm);
    sb_put(&sb, "const a = ");
    for (int i = 0; i < n; i++)
        sb_put(&sb, open);
    sb_putc(&sb, '1');
    for (int i = 0; i < n; i++)
        sb_put(&sb, close);
    return sb.text;
}

static void nesting_has_a_limit(void **state) {
    (void)state;
    static const char *const shapes[][2] = {{"(", ")"},
                                            {"-", ""},
                                            {"not ", ""},
                                            {"[", "]"},
                                            {"f(", ")"},
                                            {"x[", "]"},
                                            {"1^", ""},
                                            {"if true then 1 else ", ""},
                                            {"for i < 2 => ", ""},
                                            {"sum(for i < (", ") => 1)"}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        diag_clear(ctx);
        parse_file(ctx, file_of(nested(i == 9 ? 100 : 250, shapes[i][0], shapes[i][1])));
        assert_int_equal(diags_of(ctx)->n_errors, 0);
        parse_file(ctx, file_of(nested(20000, shapes[i][0], shapes[i][1])));
        assert_int_equal(diags_of(ctx)->n_errors, 1);
        assert_string_equal(diags_of(ctx)->all.p[0]->code, "E0211");
    }
    static const char *const chains[] = {"+1", "'", "[0]", " |> f", " and true", "*2"};
    for (size_t i = 0; i < sizeof chains / sizeof *chains; i++) {
        diag_clear(ctx);
        parse_file(ctx, file_of(nested(900, "", chains[i])));
        assert_int_equal(diags_of(ctx)->n_errors, 0);
        parse_file(ctx, file_of(nested(2000, "", chains[i])));
        assert_int_equal(diags_of(ctx)->n_errors, 1);
        assert_string_equal(diags_of(ctx)->all.p[0]->code, "E0218");
    }
}

static int warnings_in(const char *text) {
    diag_clear(ctx);
    parse_file(ctx, file_of(text));
    assert_int_equal(diags_of(ctx)->n_errors, 0);
    return diags_of(ctx)->n_warnings;
}

static void a_minus_that_looks_unary_is_warned_of(void **state) {
    (void)state;
    assert_int_equal(warnings_in("const a = [1 -4]\n"), 1);
    assert_int_equal(warnings_in("const a = b\n  -4\n"), 1);
    assert_int_equal(warnings_in("const a = [1 - 4, 1-4, -4, f(1 -4), (1 -4)]\n"), 0);
    assert_int_equal(warnings_in("const a = b\n  - 4 + f(x\n  -4) -b\n"), 0);
}

static void lines_of_the_repl_are_told_apart(void **state) {
    (void)state;
    static const struct {
        const char *text;
        ReplKind kind;
    } cases[] = {
        {"", REPL_EMPTY},
        {" # no\n", REPL_EMPTY},
        {"def f(x) = x", REPL_ITEMS},
        {"const a = 1\nconst b = 2", REPL_ITEMS},
        {"x = 3", REPL_STMT},
        {"x: [3] = 0", REPL_STMT},
        {"data = 3", REPL_STMT},
        {"x + 3", REPL_EXPR},
        {"test + 1", REPL_EXPR},
        {"def f(x) =", REPL_INCOMPLETE},
        {"def f(x) {\n a = 1", REPL_INCOMPLETE},
        {"x = [1,", REPL_INCOMPLETE},
        {"f(", REPL_INCOMPLETE},
        {"if x then 1", REPL_INCOMPLETE},
        {"x |>", REPL_INCOMPLETE},
        {"def", REPL_EXPR},
        {"x + )", REPL_ERROR},
        {"x = 1 y = 2", REPL_ERROR},
        {"def f(x) = )", REPL_ERROR},
        {"f(x))", REPL_ERROR},
        {"\"abc", REPL_ERROR},
        {"def f(x) {\n = 3\n", REPL_ERROR},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        diag_clear(ctx);
        ReplInput in = parse_repl_line(ctx, file_of(cases[i].text), false);
        if (in.kind != cases[i].kind)
            fail_msg("`%s`: kind %d, expected %d", cases[i].text, in.kind, cases[i].kind);
        assert_int_equal(diag_any_error(ctx), in.kind == REPL_ERROR);
        in = parse_repl_line(ctx, file_of(cases[i].text), true);
        assert_true(in.kind != REPL_INCOMPLETE);
    }
}

/* Cut and damaged texts give errors, never a crash or an endless loop. */
static void damaged_texts_are_survived(void **state) {
    (void)state;
    size_t n = strlen(everything);
    char text[2000];
    uint32_t seed = 12345;
    for (size_t k = 0; k < 2 * n; k++) {
        memcpy(text, everything, n + 1);
        if (k < n) {
            text[k] = 0;
        } else {
            for (int j = 0; j < 4; j++) {
                seed = seed * 1664525u + 1013904223u;
                text[(seed >> 8) % n] = "(){}[],:=~ \n\"#'.x1"[(seed >> 24) % 18];
            }
        }
        Ctx *keep = ctx;
        ctx = ctx_new(0);
        parse_file(ctx, file_of(text));
        ctx_free(ctx);
        ctx = keep;
    }
}

static void parse_all(void *arg) {
    parse_file(arg, ctx_add_file(arg, "a.cnn", everything, strlen(everything)));
}

static void running_out_of_memory_unwinds(void **state) {
    (void)state;
    for (long k = 2;; k++) {
        Ctx *c = ctx_new(k);
        assert_non_null(c);
        CtxStatus s = ctx_protect(c, parse_all, c);
        ctx_free(c);
        if (s == CTX_OK)
            break;
        assert_int_equal(s, CTX_OOM);
    }
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(operators_bind_as_the_grammar_says),
        T(spans_are_those_of_the_text),
        T(every_item_is_read),
        T(every_statement_is_read),
        T(every_mistake_has_its_place),
        T(reading_goes_on_after_a_mistake),
        T(an_open_block_does_not_hide_the_next_item),
        T(nesting_has_a_limit),
        T(a_minus_that_looks_unary_is_warned_of),
        T(lines_of_the_repl_are_told_apart),
        T(damaged_texts_are_survived),
        T(running_out_of_memory_unwinds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
