#include "frontend/lex.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "base/utf8.h"

static const char *const kind_text[N_TOK_KINDS] = {
    [TOK_IF] = "if",         [TOK_THEN] = "then",     [TOK_ELSE] = "else",
    [TOK_FOR] = "for",       [TOK_AND] = "and",       [TOK_OR] = "or",
    [TOK_NOT] = "not",       [TOK_TRUE] = "true",     [TOK_FALSE] = "false",
    [TOK_WHEN] = "when",     [TOK_RETURN] = "return", [TOK_MINIMIZE] = "minimize",
    [TOK_EXPECT] = "expect", [TOK_LPAREN] = "(",      [TOK_RPAREN] = ")",
    [TOK_LBRACKET] = "[",    [TOK_RBRACKET] = "]",    [TOK_LBRACE] = "{",
    [TOK_RBRACE] = "}",      [TOK_COMMA] = ",",       [TOK_COLON] = ":",
    [TOK_DOT] = ".",         [TOK_DOTS] = "...",     [TOK_QUOTE] = "'",       [TOK_TILDE] = "~",
    [TOK_ASSIGN] = "=",      [TOK_UPDATE] = ":=",     [TOK_ARROW] = "->",
    [TOK_FATARROW] = "=>",   [TOK_PIPE] = "|>",       [TOK_EQ] = "==",
    [TOK_NE] = "!=",         [TOK_LT] = "<",          [TOK_LE] = "<=",
    [TOK_GT] = ">",          [TOK_GE] = ">=",         [TOK_PLUS] = "+",
    [TOK_MINUS] = "-",       [TOK_STAR] = "*",        [TOK_SLASH] = "/",
    [TOK_SLASH2] = "//",     [TOK_PERCENT] = "%",     [TOK_AT] = "@",
    [TOK_CARET] = "^",
};

const char *tok_kind_text(TokKind kind) { return kind_text[kind]; }
bool tok_is_reserved(TokKind kind) { return kind >= TOK_IF && kind <= TOK_EXPECT; }

enum { MAX_SEEN = 16 };

typedef struct Lexer {
    Ctx *ctx;
    Tokens *out;
    const char *s;
    size_t len, at;
    uint32_t line, col;
    bool first; /* no token on this line yet */
    size_t cap_tok, cap_com;
    uint32_t seen[MAX_SEEN]; /* unknown characters that were reported */
    int n_seen;
} Lexer;

static Span span_here(const Lexer *lx, uint32_t chars) {
    return (Span){lx->out->file, lx->line, lx->col, lx->line, lx->col + chars};
}

static char peek(const Lexer *lx, size_t k) { return lx->at + k < lx->len ? lx->s[lx->at + k] : 0; }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/* Appends a token of `bytes` bytes and `chars` columns that begins here, and steps over it. */
static void put_token(Lexer *lx, TokKind kind, size_t bytes, uint32_t chars) {
    Tokens *t = lx->out;
    if (t->n_tok == lx->cap_tok) {
        size_t cap = lx->cap_tok ? 2 * lx->cap_tok : 256;
        t->tok = arena_grow(&lx->ctx->perm, t->tok, t->n_tok, cap, sizeof *t->tok);
        lx->cap_tok = cap;
    }
    t->tok[t->n_tok++] = (Token){.from = (uint32_t)lx->at,
                                 .to = (uint32_t)(lx->at + bytes),
                                 .line = lx->line,
                                 .col = lx->col,
                                 .end_col = lx->col + chars,
                                 .kind = (uint8_t)kind,
                                 .first = lx->first};
    lx->first = false;
    lx->at += bytes;
    lx->col += chars;
}

/* Steps over one character of a comment or string; false at the end of the line and where the text
 * is no text. */
static bool step_in_line(Lexer *lx) {
    uint32_t c;
    if (lx->at >= lx->len || lx->s[lx->at] == '\n' || lx->s[lx->at] == 0)
        return false;
    int n = utf8_decode(lx->s + lx->at, lx->len - lx->at, &c);
    lx->at += (size_t)n;
    lx->col += n > 0;
    return n > 0;
}

static void read_comment(Lexer *lx) {
    Tokens *t = lx->out;
    if (t->n_com == lx->cap_com) {
        size_t cap = lx->cap_com ? 2 * lx->cap_com : 64;
        t->com = arena_grow(&lx->ctx->perm, t->com, t->n_com, cap, sizeof *t->com);
        lx->cap_com = cap;
    }
    Comment *c = &t->com[t->n_com++];
    *c = (Comment){.from = (uint32_t)lx->at,
                   .line = lx->line,
                   .col = lx->col,
                   .next = t->n_tok,
                   .first = lx->first};
    while (step_in_line(lx))
        ;
    size_t to = lx->at;
    while (to > c->from && (lx->s[to - 1] == ' ' || lx->s[to - 1] == '\t' || lx->s[to - 1] == '\r'))
        to--;
    c->to = (uint32_t)to;
}

/* NAME = letter { letter | digit } . */
static void read_name(Lexer *lx) {
    size_t n = 1;
    while (is_letter(peek(lx, n)) || is_digit(peek(lx, n)))
        n++;
    TokKind kind = TOK_NAME;
    for (int k = TOK_IF; k <= TOK_EXPECT; k++)
        if (strlen(kind_text[k]) == n && memcmp(kind_text[k], lx->s + lx->at, n) == 0)
            kind = (TokKind)k;
    if (n > MAX_NAME) {
        diag_error(lx->ctx, "E0109", span_here(lx, (uint32_t)n),
                   "the name `%.40s...` has %zu characters, at most %d are allowed", lx->s + lx->at,
                   n, MAX_NAME);
        kind = TOK_BAD;
    }
    put_token(lx, kind, n, (uint32_t)n);
}

static size_t digits_at(const Lexer *lx, size_t k) {
    size_t n = 0;
    while (is_digit(peek(lx, k + n)))
        n++;
    return n;
}

/* The text of a number for a message, cut where it is long. */
static const char *number_text(const Lexer *lx, size_t n) {
    return n > 40 ? str_fmt(lx->ctx, "%.40s...", lx->s + lx->at)
                  : str_intern(lx->ctx, lx->s + lx->at, n);
}

/* A value that no f64 or 64-bit integer holds is an error, not infinity, 0 or a wrapped one. */
static void check_range(Lexer *lx, size_t n, bool is_real) {
    char *copy = arena_alloc(&lx->ctx->perm, n + 1);
    memcpy(copy, lx->s + lx->at, n);
    errno = 0;
    bool bad;
    if (is_real) {
        double x = strtod(copy, NULL);
        bad = isinf(x) || (x == 0 && strcspn(copy, "123456789") < strcspn(copy, "eE"));
    } else {
        bad = strtoll(copy, NULL, 10) < 0 || errno == ERANGE;
    }
    if (bad)
        diag_error(lx->ctx, "E0107", span_here(lx, (uint32_t)n), "`%s` is out of the range of %s",
                   number_text(lx, n), is_real ? "real numbers (f64)" : "integers (64 bits)");
}

/* NUMBER = digits [ "." digits ] [ ("e"|"E") ["+"|"-"] digits ] . */
static void read_number(Lexer *lx) {
    size_t n = digits_at(lx, 0), whole = n;
    bool is_real = false, sound = true;
    if (peek(lx, n) == '.') {
        is_real = true;
        size_t d = digits_at(lx, n + 1);
        if (d == 0) {
            sound = false;
            Diag *d0 = diag_error(lx->ctx, "E0104", span_here(lx, (uint32_t)n + 1),
                                  "the point of `%s.` needs a digit after it", number_text(lx, n));
            diag_help(lx->ctx, d0, "write `%s.0`, or `%s` for an integer", number_text(lx, n),
                      number_text(lx, n));
        }
        n += 1 + d;
    }
    if (sound && (peek(lx, n) == 'e' || peek(lx, n) == 'E')) {
        size_t sign = peek(lx, n + 1) == '+' || peek(lx, n + 1) == '-',
               d = digits_at(lx, n + 1 + sign);
        if (d > 0 || !(is_letter(peek(lx, n + 1)))) {
            is_real = true;
            n += 1 + sign + d;
            if (d == 0) {
                sound = false;
                diag_error(lx->ctx, "E0105", span_here(lx, (uint32_t)n),
                           "the exponent of `%s` has no digits", number_text(lx, n));
            }
        }
    }
    if (sound && is_letter(peek(lx, n))) {
        size_t m = n;
        while (is_letter(peek(lx, m)) || is_digit(peek(lx, m)))
            m++;
        Diag *d = diag_error(lx->ctx, "E0108", span_here(lx, (uint32_t)m),
                             "the number `%s` runs into a name", number_text(lx, m));
        if (n == whole)
            diag_help(lx->ctx, d, "a product needs its `*`, and a name begins with a letter");
        sound = false;
        n = m;
    }
    if (sound)
        check_range(lx, n, is_real);
    put_token(lx, is_real || !sound ? TOK_REAL : TOK_INT, n, (uint32_t)n);
}

/* STRING = '"' { character } '"', on one line. */
static void read_string(Lexer *lx) {
    size_t at = lx->at;
    uint32_t col = lx->col;
    lx->at++;
    lx->col++;
    while (peek(lx, 0) != '"' && step_in_line(lx))
        ;
    bool closed = peek(lx, 0) == '"';
    if (!closed && lx->at < lx->len && lx->s[lx->at] != '\n')
        return; /* what is no text: read_other reports it */
    size_t bytes = lx->at - at + closed;
    uint32_t chars = lx->col - col + closed;
    lx->at = at;
    lx->col = col;
    if (!closed) {
        Diag *d = diag_error(lx->ctx, "E0106", span_here(lx, chars),
                             "the string has no closing quote on its line");
        diag_help(lx->ctx, d, "end it with `\"`; a string cannot go on in the next line");
    }
    put_token(lx, closed ? TOK_STRING : TOK_BAD, bytes, chars);
}

/* Longest match: the longer kinds come first. */
static TokKind read_punctuation(const Lexer *lx, size_t *n) {
    static const uint8_t two[] = {TOK_UPDATE, TOK_ARROW, TOK_FATARROW, TOK_PIPE,  TOK_EQ,
                                  TOK_NE,     TOK_LE,    TOK_GE,       TOK_SLASH2};
    *n = 3;
    if (peek(lx, 0) == '.' && peek(lx, 1) == '.' && peek(lx, 2) == '.')
        return TOK_DOTS;
    *n = 2;
    for (size_t i = 0; i < sizeof two; i++)
        if (peek(lx, 0) == kind_text[two[i]][0] && peek(lx, 1) == kind_text[two[i]][1])
            return (TokKind)two[i];
    *n = 1;
    for (int k = TOK_LPAREN; k < N_TOK_KINDS; k++)
        if (kind_text[k][1] == 0 && peek(lx, 0) == kind_text[k][0])
            return (TokKind)k;
    return TOK_BAD;
}

/* What people write in other languages or paste from papers, and what it is here. */
static const char *advice_for(uint32_t c, char next) {
    switch (c) {
    case ';':
        return "statements need no separator: delete all of them; elements and arguments have commas between them";
    case '!':
        return "write `not`";
    case '&':
        return "write `and`";
    case '|':
        return next == '|' ? "write `or`" : "write `or`; a pipe is `|>`";
    case '\\':
        return "a backslash has no meaning; newlines need none";
    case '$':
        return "names are made of letters, digits and `_`";
    case 0xd7:
    case 0xb7:
    case 0x22c5:
        return "write `*`";
    case 0xf7:
        return "write `/`";
    case 0x2212:
    case 0x2013:
        return "write `-`";
    case 0x2264:
        return "write `<=`";
    case 0x2265:
        return "write `>=`";
    case 0x2260:
        return "write `!=`";
    case 0x2192:
        return "write `->`";
    case 0x201c:
    case 0x201d:
        return "write `\"`";
    case 0x2018:
    case 0x2019:
        return "write `'`";
    case 0xb2:
        return "write `^2`";
    case 0xb3:
        return "write `^3`";
    case 0x3c0:
        return "write `pi`";
    case '?':
        return "a choice is `if c then a else b`";
    case 0xa0:
        return "this is a no-break space: write a blank";
    default:
        return NULL;
    }
}

/* Who writes one `;` writes many: one message a file is enough. */
static bool seen_before(Lexer *lx, uint32_t c) {
    c = c == 0x201d ? 0x201c : c == 0x2019 ? 0x2018 : c; /* quotes come in pairs */
    for (int i = 0; i < lx->n_seen; i++)
        if (lx->seen[i] == c)
            return true;
    if (lx->n_seen < MAX_SEEN)
        lx->seen[lx->n_seen++] = c;
    return false;
}

/* A letter outside ASCII takes the rest of its word along: one message a word. */
static void skip_word(Lexer *lx, uint32_t *chars, size_t *bytes) {
    for (;;) {
        uint32_t c = 0;
        size_t at = lx->at + *bytes;
        int n = at < lx->len ? utf8_decode(lx->s + at, lx->len - at, &c) : 0;
        bool letter = n == 1 ? is_letter(lx->s[at]) || is_digit(lx->s[at])
                             : n > 1 && !utf8_is_control(c) && !advice_for(c, 0);
        if (!letter)
            return;
        *bytes += (size_t)n;
        ++*chars;
    }
}

static void read_unknown(Lexer *lx, uint32_t c, int n) {
    uint32_t chars = (c == '&' || c == '|') && peek(lx, 1) == (char)c ? 2 : 1; /* of `&&`, `||` */
    Span span = span_here(lx, chars);
    size_t bytes = (size_t)n + chars - 1;
    if (c >= 0x80 && !utf8_is_control(c) && !advice_for(c, 0))
        skip_word(lx, &chars, &bytes);
    if (seen_before(lx, c)) {
        put_token(lx, TOK_BAD, bytes, chars);
        return;
    }
    Diag *d;
    if (c < 0x80 && !utf8_is_control(c))
        d = diag_error(lx->ctx, "E0103", span, "`%.*s` has no meaning here", (int)bytes,
                       lx->s + lx->at);
    else if (utf8_is_control(c))
        d = diag_error(lx->ctx, "E0110", span, "the control character U+%04X is not allowed", c);
    else
        d = diag_error(lx->ctx, "E0111", span,
                       "`%.*s` (U+%04X) has no meaning outside strings and comments", n,
                       lx->s + lx->at, c);
    const char *advice = advice_for(c, peek(lx, 1));
    if (advice)
        diag_help(lx->ctx, d, "%s", advice);
    put_token(lx, TOK_BAD, bytes, chars);
}

/* One character that begins no name, number or string. False: the text is no text, reading stops.
 */
static bool read_other(Lexer *lx) {
    uint32_t c;
    int n = utf8_decode(lx->s + lx->at, lx->len - lx->at, &c);
    if (n == 0 || c == 0) {
        if (n == 0)
            diag_error(lx->ctx, "E0102", span_here(lx, 1), "the byte 0x%02X is not UTF-8",
                       (unsigned)(unsigned char)lx->s[lx->at]);
        else
            diag_error(lx->ctx, "E0101", span_here(lx, 1), "a NUL byte (0x00) is not text");
        put_token(lx, TOK_BAD, 1, 1);
        return false;
    }
    if (c == '.' && is_digit(peek(lx, 1))) {
        size_t m = 1 + digits_at(lx, 1);
        Diag *d = diag_error(lx->ctx, "E0112", span_here(lx, (uint32_t)m),
                             "the number `%s` needs a digit before its point", number_text(lx, m));
        diag_help(lx->ctx, d, "write `0%s`", number_text(lx, m));
        put_token(lx, TOK_REAL, m, (uint32_t)m);
        return true;
    }
    size_t bytes;
    TokKind kind = read_punctuation(lx, &bytes);
    if (kind == TOK_BAD)
        read_unknown(lx, c, n);
    else
        put_token(lx, kind, bytes, (uint32_t)bytes);
    return true;
}

static bool read_token(Lexer *lx) {
    char c = lx->s[lx->at];
    if (c == '\n') {
        lx->at++;
        lx->line++;
        lx->col = 1;
        lx->first = true;
    } else if (c == ' ' || c == '\t' || c == '\r') {
        lx->at++;
        lx->col++;
    } else if (c == '#') {
        read_comment(lx);
    } else if (is_letter(c)) {
        read_name(lx);
    } else if (is_digit(c)) {
        read_number(lx);
    } else if (c == '"') {
        read_string(lx);
    } else {
        return read_other(lx);
    }
    return true;
}

Tokens *lex_file(Ctx *ctx, uint32_t file) {
    Tokens *t = ARENA_NEW(&ctx->perm, Tokens);
    t->file = file;
    t->text = ctx->files[file].text;
    Lexer lx = {.ctx = ctx,
                .out = t,
                .s = t->text,
                .len = ctx->files[file].len,
                .line = 1,
                .col = 1,
                .first = true};
    if (lx.len > MAX_SOURCE) {
        diag_error(ctx, "E0113", span_here(&lx, 1),
                   "the source text has %zu bytes, at most %d (16 MiB) are allowed", lx.len,
                   MAX_SOURCE);
        lx.len = 0;
        t->cut = true;
    }
    if (lx.len >= 3 && memcmp(lx.s, "\xef\xbb\xbf", 3) == 0) /* a byte order mark is no text */
        lx.at = 3;
    while (lx.at < lx.len)
        if (!read_token(&lx)) {
            t->cut = true;
            break;
        }
    put_token(&lx, TOK_EOF, 0, 1);
    return t;
}

Span tok_span(const Tokens *t, uint32_t i) {
    const Token *k = &t->tok[i];
    return (Span){t->file, k->line, k->col, k->line, k->end_col};
}

Str tok_text(Ctx *ctx, const Tokens *t, uint32_t i) {
    const Token *k = &t->tok[i];
    uint32_t quote = k->kind == TOK_STRING;
    return str_intern(ctx, t->text + k->from + quote, k->to - k->from - 2 * quote);
}

const char *tok_describe(Ctx *ctx, const Tokens *t, uint32_t i) {
    const Token *k = &t->tok[i];
    int n = k->to - k->from > 40 ? 40 : (int)(k->to - k->from);
    const char *dots = n == 40 ? "..." : "";
    switch (k->kind) {
    case TOK_EOF:
        return "the end of the text";
    case TOK_STRING:
        return "a string";
    case TOK_INT:
    case TOK_REAL:
        return str_fmt(ctx, "the number `%.*s%s`", n, t->text + k->from, dots);
    case TOK_NAME:
        return str_fmt(ctx, "the name `%.*s%s`", n, t->text + k->from, dots);
    default:
        return str_fmt(ctx, "`%.*s`", n, t->text + k->from);
    }
}

static bool is_doc(const Tokens *t, const Comment *c) {
    return c->first && c->to - c->from >= 2 && t->text[c->from + 1] == '#';
}

/* The number of comments before token i (they are in order): a binary search. */
static uint32_t comments_before(const Tokens *t, uint32_t i) {
    uint32_t lo = 0, hi = t->n_com;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (t->com[mid].next <= i)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

Str tok_doc(Ctx *ctx, const Tokens *t, uint32_t i, size_t *from) {
    uint32_t end = comments_before(t, i), k = end, line = t->tok[i].line;
    while (k > 0 && t->com[k - 1].next == i && is_doc(t, &t->com[k - 1]) &&
           t->com[k - 1].line + 1 == line)
        line = t->com[--k].line;
    if (k == end)
        return NULL;
    if (from)
        *from = t->com[k].from;
    StrBuf sb = sb_new(&ctx->perm);
    for (; k < end; k++) {
        const char *s = t->text + t->com[k].from + 2, *to = t->text + t->com[k].to;
        if (s < to && *s == ' ')
            s++;
        if (sb.len)
            sb_putc(&sb, '\n');
        sb_putn(&sb, s, (size_t)(to - s));
    }
    return str_intern(ctx, sb.text, sb.len);
}
