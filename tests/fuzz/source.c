/* Tokens are put one at a time; between two of them come blanks, tabs, line breaks and comments,
 * drawn by a temper that changes with the program: tidy ones look like what people write, with
 * columns, wild ones have a break or comment between any two tokens. */
#include "source.h"

#include <string.h>

#include "program.h"

typedef struct Source {
    StrBuf *out;
    uint64_t rng;
    int wild;      /* 0 .. 3: how often something odd stands between two tokens */
    bool returns;  /* lines end in \r\n */
    bool one_line; /* line breaks are rare: long lines */
    char last;     /* last character that is not blank */
    bool bol;      /* nothing but blanks since the last line break */
} Source;

static int below(Source *s, int n) { return random_below(&s->rng, n); }
static bool often(Source *s, int percent) { return below(s, 100) < percent; }

static const char *pick(Source *s, const char *const *all, int n) { return all[below(s, n)]; }
#define PICK(s, list) pick(s, list, (int)(sizeof(list) / sizeof *(list)))

/* --- what stands between tokens --- */

static void line_break(Source *s) {
    sb_put(s->out, s->returns ? "\r\n" : "\n");
    s->bol = true;
}

static void comment(Source *s) {
    static const char *const texts[] = {
        "#",
        "# a note",
        "#a note   ",
        "## documented",
        "##   indented documentation\t",
        "#\ttab\tinside",
        "# caf\xc3\xa9, \xe2\x88\x91 \xe2\x89\xa4 \xf0\x9f\x98\x80",
        "# \"no string\" { [ ( not brackets",
        "# a very long comment that goes on and on, far past the width of any screen that anybody "
        "has used to read code, and then "
        "some more",
        "### three",
        "#!"};
    sb_put(s->out, PICK(s, texts));
    line_break(s);
}

static void blanks(Source *s, int n) {
    for (int k = 0; k < n; k++)
        sb_putc(s->out, often(s, s->wild) ? '\t' : ' ');
}

/* Anything that may stand between two tokens of one statement; stays_in_line: `as` belongs to its
 * line. */
static void gap(Source *s, bool needed, bool stays_in_line) {
    static const int breaks[] = {1, 3, 8, 25}, comments[] = {0, 1, 3, 10};
    bool broken = false;
    while (!stays_in_line && often(s, s->one_line ? 0 : breaks[s->wild])) {
        if (often(s, 30) && often(s, comments[s->wild] * 4))
            comment(s);
        else
            line_break(s);
        blanks(s, below(s, 12));
        broken = true;
    }
    if (!stays_in_line && often(s, comments[s->wild])) {
        blanks(s, below(s, 4));
        comment(s);
        blanks(s, below(s, 8));
        broken = true;
    }
    if (!broken && (needed || often(s, 60)))
        blanks(s, often(s, 85) ? 1 : 1 + below(s, 9));
}

static bool is_word(char c) {
    return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static void put_token(Source *s, const char *text, bool stays_in_line) {
    gap(s, is_word(s->last) && is_word(text[0]), stays_in_line);
    sb_put(s->out, text);
    s->last = text[strlen(text) - 1];
    s->bol = false;
}

static void put(Source *s, const char *text) { put_token(s, text, false); }

/* Before a statement or item: mostly a line of its own. */
static void start_line(Source *s, int depth) {
    int empty = often(s, 20) ? 1 + below(s, 3) : 0;
    if (!s->bol && often(s, 10))
        comment(s);
    if (!s->bol)
        line_break(s);
    for (int k = 0; k < empty; k++) {
        blanks(s, often(s, 10) ? below(s, 5) : 0);
        line_break(s);
    }
    while (often(s, 12)) {
        blanks(s, below(s, 8));
        comment(s);
    }
    blanks(s, often(s, 70) ? 2 * depth : below(s, 13));
    s->last = '\n';
}

/* --- words --- */

static const char *const names[] = {
    "x",         "y",
    "z",         "w",
    "N",         "K",
    "H",         "a",
    "phi",       "mu",
    "sigma",     "conv",
    "x_1",       "_",
    "data",      "param",
    "test",      "state",
    "using",     "model",
    "const",     "report",
    "def",       "import",
    "as",        "long_name_of_a_value",
    "LeNet5",    "e1",
    "E",         "index",
    "training",  "inf",
    "real",      "sum",
    "argmax",    "exp",
    "dense",     "optimizer",
    "estimator", "A_rather_long_name_for_anything_in_a_program_that_fits_no_column"};

/* Words that begin items or statements are names only where nothing can take them for a beginning.
 */
static void name(Source *s) { put(s, PICK(s, names)); }

static const char *const plain_names[] = {"x",  "y",   "z",      "w",          "b", "C1",
                                          "S2", "out", "lambda", "mean_of_it", "q", "Theta"};
static void plain_name(Source *s) { put(s, PICK(s, plain_names)); }

static void number(Source *s) {
    static const char *const texts[] = {"0",
                                        "1",
                                        "2",
                                        "10",
                                        "255",
                                        "0.5",
                                        "1e-3",
                                        "2.5E+10",
                                        "9223372036854775807",
                                        "0.30000000000000004",
                                        "3e8",
                                        "007",
                                        "1.50"};
    put(s, PICK(s, texts));
}

static void string(Source *s) {
    static const char *const texts[] = {"\"\"",
                                        "\"X..X\"",
                                        "\"blurring a constant image\"",
                                        "\"# no comment\"",
                                        "\"a\tb\"",
                                        "\"\xc3\xbc\xe2\x82\xac  \"",
                                        "\"{ ( [\""};
    put(s, PICK(s, texts));
}

static void path(Source *s, bool stars) {
    plain_name(s);
    for (int k = 0; k < 3 && often(s, 15); k++) {
        put(s, ".");
        if (stars && often(s, 40))
            put(s, "*");
        else
            name(s);
    }
}

/* --- expressions --- */

static void expr(Source *s, int depth);
static void operand(Source *s, int depth);

static void list_of(Source *s, int depth, int most, void (*one)(Source *, int)) {
    int n = below(s, most + 1);
    for (int k = 0; k < n; k++) {
        if (k)
            put(s, ",");
        one(s, depth);
    }
}

static void arg(Source *s, int depth) {
    if (often(s, 30)) {
        name(s);
        put(s, "=");
    }
    expr(s, depth);
}

static void args(Source *s, int depth) {
    put(s, "(");
    list_of(s, depth, 3, arg);
    put(s, ")");
}

static void sub(Source *s, int depth) {
    bool lo = often(s, 70), colon = !lo || often(s, 30);
    if (lo)
        expr(s, depth);
    if (colon)
        put(s, ":");
    if (colon && often(s, 50))
        expr(s, depth);
}

static void subs(Source *s, int depth) {
    put(s, "[");
    sub(s, depth);
    while (often(s, 35)) {
        put(s, ",");
        sub(s, depth);
    }
    put(s, "]");
}

static void list(Source *s, int depth) {
    put(s, "[");
    list_of(s, depth, 4, expr);
    put(s, "]");
}

static void in_parens(Source *s, int depth) {
    put(s, "(");
    expr(s, depth);
    put(s, ")");
}

static void choice(Source *s, int depth) {
    put(s, "if");
    expr(s, depth);
    put(s, "then");
    expr(s, depth);
    put(s, "else");
    expr(s, depth);
}

static void binary(Source *s, int depth, const char *op) {
    operand(s, depth);
    put(s, op);
    operand(s, depth);
}

static void comprehension(Source *s, int depth) {
    put(s, "for");
    do {
        plain_name(s);
        put(s, "<");
        if (often(s, 40))
            binary(s, depth, "+");
        else
            operand(s, depth);
    } while (often(s, 35) && (put(s, ","), true));
    put(s, "=>");
    expr(s, depth);
}

static void primary(Source *s, int depth) {
    int which = depth > 0 ? below(s, 12) : below(s, 6);
    if (which < 3)
        path(s, false);
    else if (which < 5)
        number(s);
    else if (which == 5)
        put(s, often(s, 50) ? "true" : "false");
    else if (which < 8)
        in_parens(s, depth - 1);
    else if (which == 8)
        list(s, depth - 1);
    else if (which == 9)
        string(s);
    else {
        path(s, false);
        args(s, depth - 1);
    }
}

static void operand(Source *s, int depth) {
    if (often(s, 12))
        put(s, "-");
    primary(s, depth);
    if (often(s, 10) && depth > 0)
        subs(s, depth - 1);
    while (often(s, 6))
        put(s, "'");
    if (often(s, 8)) {
        put(s, "^");
        if (often(s, 20))
            put(s, "-");
        primary(s, 0);
    }
}

/* One chain of operators, those of all levels among one another: what binds to what is the parser's
 * affair. */
static void chain(Source *s, int depth) {
    static const char *const ops[] = {"+", "-", "*", "/", "//", "%", "@", "+", "*", "and", "or"};
    static const char *const comparisons[] = {"==", "!=", "<", "<=", ">", ">="};
    bool compared = false;
    if (often(s, 8))
        put(s, "not");
    operand(s, depth);
    for (int k = 0; k < 5 && often(s, 45); k++) {
        const char *op = !compared && often(s, 15) ? PICK(s, comparisons) : PICK(s, ops);
        compared =
            !strcmp(op, "and") || !strcmp(op, "or") ? false : compared || strchr("=!<>", op[0]);
        put(s, op);
        operand(s, depth);
    }
    for (int k = 0; k < 3 && often(s, 12); k++) {
        put(s, "|>");
        path(s, false);
        if (often(s, 70))
            args(s, depth - 1 > 0 ? depth - 1 : 0);
    }
}

static void expr(Source *s, int depth) {
    if (depth > 0 && often(s, 6))
        choice(s, depth - 1);
    else if (depth > 0 && often(s, 7))
        comprehension(s, depth - 1);
    else
        chain(s, depth);
}

/* --- types, statements, items --- */

static void type(Source *s) {
    static const char *const kinds[] = {"real",     "f32",     "f64",     "int",
                                        "bool",     "index",   "prob",    "positive",
                                        "interval", "simplex", "ordered", "cholesky"};
    bool kind = often(s, 60);
    if (kind) {
        put(s, PICK(s, kinds));
        if (often(s, 25))
            args(s, 1);
    }
    if (!kind || often(s, 50))
        list(s, 1);
}

static void typed_value(Source *s, bool need_type, bool need_value) {
    plain_name(s);
    if (need_type || often(s, 35)) {
        put(s, ":");
        type(s);
    }
    if (need_value || often(s, 40)) {
        put(s, "=");
        expr(s, 3);
    }
}

static void keyword_value(Source *s, const char *word) {
    put(s, word);
    expr(s, 3);
}

static void stmt(Source *s) {
    start_line(s, 1);
    switch (below(s, 14)) {
    case 0:
        put(s, "param");
        typed_value(s, true, false);
        if (often(s, 20))
            keyword_value(s, "when");
        break;
    case 1:
        put(s, "state");
        typed_value(s, true, true);
        break;
    case 2:
        put(s, "data");
        plain_name(s);
        put(s, ":");
        type(s);
        break;
    case 3:
        put(s, "const");
        typed_value(s, false, true);
        break;
    case 4:
        keyword_value(s, "return");
        break;
    case 5:
        keyword_value(s, "minimize");
        break;
    case 6:
        keyword_value(s, "expect");
        break;
    case 7:
        put(s, "report");
        plain_name(s);
        keyword_value(s, "=");
        break;
    case 8:
        put(s, "using");
        path(s, false);
        args(s, 2);
        break;
    case 9:
    case 10:
        path(s, true);
        if (often(s, 25))
            subs(s, 1);
        keyword_value(s, "~");
        break;
    case 11:
        plain_name(s);
        keyword_value(s, ":=");
        break;
    case 12: { /* a word that begins statements elsewhere */
        static const char *const words[] = {"data", "test", "param", "using", "report", "state"};
        put(s, PICK(s, words));
        keyword_value(s, "=");
        break;
    }
    default:
        typed_value(s, false, true);
    }
}

static void block(Source *s) {
    int n = below(s, 7);
    put(s, "{");
    for (int k = 0; k < n; k++)
        stmt(s);
    start_line(s, 0);
    put(s, "}");
}

static void dims(Source *s) {
    put(s, "[");
    do {
        name(s);
        if (often(s, 20)) {
            put(s, "=");
            operand(s, 1);
        }
    } while (often(s, 50) && (put(s, ","), true));
    put(s, "]");
}

static void formal(Source *s, int depth) {
    name(s);
    if (often(s, 70)) {
        put(s, ":");
        type(s);
    }
    if (often(s, 25)) {
        put(s, "=");
        expr(s, depth);
    }
}

static void formals(Source *s) {
    put(s, "(");
    list_of(s, 2, 4, formal);
    put(s, ")");
}

static void definition(Source *s, const char *word, bool has_result) {
    put(s, word);
    name(s);
    if (often(s, 60))
        dims(s);
    formals(s);
    if (has_result && often(s, 50)) {
        put(s, "->");
        type(s);
    }
}

static void item(Source *s) {
    start_line(s, 0);
    switch (below(s, 9)) {
    case 0:
        put(s, "import");
        put_token(s, "\"layers.cnn\"", true);
        if (often(s, 50)) {
            put_token(s, "as", true);
            plain_name(s);
        }
        break;
    case 1:
        put(s, "const");
        typed_value(s, false, true);
        break;
    case 2:
        definition(s, "def", true);
        put(s, "=");
        expr(s, 4);
        break;
    case 3:
    case 4:
        definition(s, "def", true);
        block(s);
        break;
    case 5:
        definition(s, "model", true);
        block(s);
        break;
    case 6:
        put(s, "estimator");
        name(s);
        if (often(s, 70))
            dims(s);
        if (often(s, 40))
            formals(s);
        block(s);
        break;
    case 7:
        put(s, "optimizer");
        name(s);
        formals(s);
        block(s);
        break;
    default:
        put(s, "test");
        string(s);
        block(s);
    }
}

void random_source(uint64_t seed, StrBuf *out) {
    Source s = {.out = out, .rng = seed * 0x9e3779b97f4a7c15u + 1, .bol = true, .last = '\n'};
    s.wild = below(&s, 4);
    s.returns = often(&s, 10);
    s.one_line = often(&s, 15);
    int n = 1 + below(&s, 6);
    if (often(&s, 3))
        sb_put(out, "\xef\xbb\xbf");
    for (int k = 0; k < n; k++)
        item(&s);
    if (often(&s, 80))
        line_break(&s);
    if (often(&s, 10))
        sb_put(out, "  # the end, and no line break");
}
