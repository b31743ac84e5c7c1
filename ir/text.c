#include "ir/text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

TextReader text_open(Ctx *ctx, Arena *arena, uint32_t file, const char *code) {
    TextReader r = {.ctx = ctx, .arena = arena, .code = code, .file = file, .line = 1, .col = 1};
    r.p = ctx->files[file].text;
    text_next(&r);
    return r;
}

void text_fail(TextReader *r, const char *fmt, ...) {
    if (r->failed)
        return;
    va_list ap;
    va_start(ap, fmt);
    StrBuf sb = sb_new(r->arena);
    sb_vprintf(&sb, fmt, ap);
    va_end(ap);
    diag_error(r->ctx, r->code, r->at, "%s", sb.text);
    r->failed = true;
    r->kind = TEXT_END;
}

/* ---- tokens */

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static void advance(TextReader *r) {
    if (*r->p == '\n') {
        r->line++;
        r->col = 1;
    } else if (((unsigned char)*r->p & 0xc0) != 0x80) { /* columns count characters of UTF-8 */
        r->col++;
    }
    r->p++;
}

static void skip_blanks(TextReader *r) {
    for (;;) {
        if (*r->p == ' ' || *r->p == '\t' || *r->p == '\n' || *r->p == '\r')
            advance(r);
        else if (r->p[0] == ';' && r->p[1] == ';')
            while (*r->p && *r->p != '\n')
                advance(r);
        else
            return;
    }
}

static void lex_number(TextReader *r) {
    const char *s = r->p;
    bool real = false;
    uint64_t v = 0;
    while (is_digit(*r->p)) {
        v = v * 10 + (uint64_t)(*r->p - '0');
        advance(r);
    }
    if (r->p[0] == '.' && is_digit(r->p[1])) {
        real = true;
        advance(r);
        while (is_digit(*r->p))
            advance(r);
    }
    const char *e = r->p + 1;
    if ((*r->p == 'e' || *r->p == 'E') &&
        (is_digit(*e) || ((*e == '-' || *e == '+') && is_digit(e[1])))) {
        real = true;
        advance(r);
        advance(r);
        while (is_digit(*r->p))
            advance(r);
    }
    r->kind = real ? TEXT_REAL : TEXT_INT;
    r->i = (int64_t)v;
    r->f = strtod(str_intern(r->ctx, s, (size_t)(r->p - s)), NULL);
}

static int hex(char c) {
    return is_digit(c)            ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static void lex_string(TextReader *r) {
    StrBuf sb = sb_new(r->arena);
    advance(r);
    while (*r->p && *r->p != '"' && *r->p != '\n') {
        if (*r->p != '\\') {
            sb_putc(&sb, *r->p);
            advance(r);
            continue;
        }
        advance(r);
        char c = *r->p;
        if (c == 'x' && hex(r->p[1]) >= 0 && hex(r->p[2]) >= 0) {
            sb_putc(&sb, (char)(hex(r->p[1]) * 16 + hex(r->p[2])));
            advance(r);
            advance(r);
        } else if (c == 'n' || c == 't') {
            sb_putc(&sb, c == 'n' ? '\n' : '\t');
        } else if (c == '"' || c == '\\') {
            sb_putc(&sb, c);
        } else {
            text_fail(r, "unknown escape in a string");
            return;
        }
        advance(r);
    }
    if (*r->p != '"') {
        text_fail(r, "a string without its closing quote");
        return;
    }
    advance(r);
    r->kind = TEXT_STRING;
    r->str = str_intern(r->ctx, sb.text, sb.len);
}

void text_next(TextReader *r) {
    if (r->failed)
        return;
    skip_blanks(r);
    r->at = (Span){r->file, r->line, r->col, r->line, r->col};
    r->kind = TEXT_END;
    const char *s = r->p;
    if (!*s) {
        r->at.end_col++;
        return;
    }
    if (is_letter(*s)) {
        while (is_letter(*r->p) || is_digit(*r->p) ||
               (r->p[0] == '.' && (is_letter(r->p[1]) || is_digit(r->p[1]))))
            advance(r);
        r->kind = TEXT_WORD;
        r->str = str_intern(r->ctx, s, (size_t)(r->p - s));
    } else if (is_digit(*s)) {
        lex_number(r);
    } else if (*s == '"') {
        lex_string(r);
    } else {
        static const char *const two[] = {"//", "..", "->", "==", ">=", "<=", "!="};
        advance(r);
        for (size_t k = 0; k < sizeof two / sizeof *two; k++)
            if (s[0] == two[k][0] && s[1] == two[k][1]) {
                advance(r);
                break;
            }
        while (((unsigned char)*r->p & 0xc0) == 0x80)
            advance(r);
        r->kind = TEXT_MARK;
        r->str = str_intern(r->ctx, s, (size_t)(r->p - s));
    }
    r->at.end_line = r->line;
    r->at.end_col = r->col;
}

bool text_is(const TextReader *r, const char *t) {
    return (r->kind == TEXT_WORD || r->kind == TEXT_MARK) && strcmp(r->str, t) == 0;
}

bool text_accept(TextReader *r, const char *t) {
    bool is = text_is(r, t);
    if (is)
        text_next(r);
    return is;
}

static const char *found(const TextReader *r) {
    switch (r->kind) {
    case TEXT_END:
        return "the end";
    case TEXT_INT:
    case TEXT_REAL:
        return "a number";
    case TEXT_STRING:
        return "a string";
    default:
        return str_fmt(r->ctx, "`%s`", r->str);
    }
}

void text_expect(TextReader *r, const char *t) {
    if (!text_accept(r, t))
        text_fail(r, "expected `%s`, found %s", t, found(r));
}

Str text_word(TextReader *r, const char *what) {
    Str s = r->str;
    if (r->kind == TEXT_WORD) {
        text_next(r);
        return s;
    }
    text_fail(r, "expected %s, found %s", what, found(r));
    return str_of(r->ctx, "");
}

Str text_string(TextReader *r, const char *what) {
    Str s = r->str;
    if (r->kind == TEXT_STRING) {
        text_next(r);
        return s;
    }
    text_fail(r, "expected %s in quotes, found %s", what, found(r));
    return str_of(r->ctx, "");
}

int64_t text_int(TextReader *r, const char *what) {
    bool minus = text_accept(r, "-");
    uint64_t v = (uint64_t)r->i;
    if (r->kind != TEXT_INT) {
        text_fail(r, "expected %s, found %s", what, found(r));
        return 0;
    }
    text_next(r);
    return (int64_t)(minus ? 0 - v : v);
}

double text_real(TextReader *r) {
    bool minus = text_accept(r, "-");
    double v = r->f;
    if (text_is(r, "inf"))
        v = strtod("inf", NULL);
    else if (text_is(r, "nan"))
        v = strtod("nan", NULL);
    else if (r->kind != TEXT_INT && r->kind != TEXT_REAL)
        text_fail(r, "expected a number, found %s", found(r));
    text_next(r);
    return minus ? -v : v;
}

DType text_dtype(TextReader *r) {
    DType dt = r->kind == TEXT_WORD ? dtype_named(r->str) : DT_NONE;
    if (dt == DT_NONE)
        text_fail(r, "expected a type (bool i32 i64 f32 f64), found %s", found(r));
    text_next(r);
    return dt;
}

/* ---- dims */

DimSym text_dim_symbol(TextReader *r, Str name, int64_t least) {
    for (int k = 0; k < r->syms.n; k++)
        if (r->syms.p[k].name == name && !r->syms.p[k].sym->is_index &&
            r->syms.p[k].sym->least == least)
            return r->syms.p[k].sym;
    DimSym s = dim_symbol_new(r->ctx, name, least, false);
    vec_push(r->arena, &r->syms, (TextSym){name, s});
    return s;
}

DimSym text_index_symbol(TextReader *r, Str name, int64_t least) {
    DimSym s = dim_symbol_new(r->ctx, name, least, true);
    vec_push(r->arena, &r->syms, (TextSym){name, s});
    return s;
}

static Dim checked_dim(TextReader *r, Dim d) {
    if (!d)
        text_fail(r, "the value of a dim overflows, or it divides by less than 1");
    return d ? d : dim_const(r->ctx, 0);
}

/* factor = int | symbol | "(" dim ")" | "-" factor */
static Dim read_factor(TextReader *r) {
    Dim d = dim_const(r->ctx, 0);
    if (++r->depth > 256) {
        text_fail(r, "a dim is nested too deeply");
    } else if (r->kind == TEXT_INT) {
        d = dim_const(r->ctx, text_int(r, "a number"));
    } else if (text_accept(r, "-")) {
        d = checked_dim(r, dim_neg(r->ctx, read_factor(r)));
    } else if (text_accept(r, "(")) {
        d = text_dim(r);
        text_expect(r, ")");
    } else if (text_is(r, "max") && *r->p == '(') { /* a dim may have that name */
        text_next(r);
        text_next(r);
        d = text_dim(r);
        text_expect(r, ",");
        d = checked_dim(r, dim_max(r->ctx, d, text_dim(r)));
        text_expect(r, ")");
    } else if (r->kind == TEXT_WORD) {
        DimSym s = NULL;
        for (int k = r->syms.n; k-- > 0 && !s;)
            if (r->syms.p[k].name == r->str)
                s = r->syms.p[k].sym;
        if (s)
            d = dim_of(r->ctx, s);
        else
            text_fail(r, "`%s` is no dim and no index here", r->str);
        text_next(r);
    } else {
        text_fail(r, "expected a dim, found %s", found(r));
    }
    r->depth--;
    return d;
}

/* term = factor { ("*" | "//") factor } */
static Dim read_term(TextReader *r) {
    Dim d = read_factor(r);
    for (;;) {
        if (text_accept(r, "*"))
            d = checked_dim(r, dim_mul(r->ctx, d, read_factor(r)));
        else if (text_accept(r, "//"))
            d = checked_dim(r, dim_floordiv(r->ctx, d, read_factor(r)));
        else
            return d;
    }
}

/* dim = term { ("+" | "-") term }. A `+` before `%` ends it: the value of a subscript follows. */
Dim text_dim(TextReader *r) {
    Dim d = read_term(r);
    for (;;) {
        const char *q = r->p;
        while (*q == ' ')
            q++;
        if (text_is(r, "+") && *q == '%')
            return d;
        if (text_accept(r, "+"))
            d = checked_dim(r, dim_add(r->ctx, d, read_term(r)));
        else if (text_accept(r, "-"))
            d = checked_dim(r, dim_sub(r->ctx, d, read_term(r)));
        else
            return d;
    }
}

Type text_type(TextReader *r) {
    DType dt = text_dtype(r);
    Dim shape[MAX_RANK];
    int rank = 0;
    if (text_accept(r, "[")) {
        do {
            if (rank == MAX_RANK) {
                text_fail(r, "more than %d axes", MAX_RANK);
                break;
            }
            shape[rank++] = text_dim(r);
        } while (text_accept(r, ","));
        text_expect(r, "]");
    }
    return type_new(r->ctx, dt, rank, shape);
}

/* ---- spans, strings */

static uint32_t file_named(Ctx *ctx, Str name) {
    for (uint32_t k = 1; k <= ctx->n_files; k++)
        if (ctx->files[k].name == name)
            return k;
    return ctx_add_file(ctx, name, "", 0);
}

static const char *base_of(const char *name) {
    const char *slash = strrchr(name, '/');
    return slash ? slash + 1 : name;
}

void text_source(TextReader *r, Str source) {
    r->source_file = 0;
    for (uint32_t k = 1; k <= r->ctx->n_files && !r->source_file; k++)
        if (strcmp(base_of(r->ctx->files[k].name), source) == 0)
            r->source_file = k;
    if (!r->source_file)
        r->source_file = file_named(r->ctx, source);
}

static uint32_t span_number(TextReader *r) {
    int64_t v = text_int(r, "a line or column");
    if (v < 0 || v > UINT32_MAX)
        text_fail(r, "a line or column is out of range");
    return (uint32_t)v;
}

Span text_span(TextReader *r) {
    Span s = {0};
    if (!text_accept(r, "@"))
        return s;
    if (text_accept(r, "-"))
        return s;
    s.file = r->source_file;
    if (r->kind == TEXT_STRING) {
        s.file = file_named(r->ctx, text_string(r, "a file"));
        text_expect(r, ":");
    }
    s.line = span_number(r);
    text_expect(r, ":");
    s.col = span_number(r);
    text_expect(r, "-");
    s.end_line = span_number(r);
    text_expect(r, ":");
    s.end_col = span_number(r);
    return s;
}

bool text_same_span(Span a, Span b) {
    return a.file == b.file && a.line == b.line && a.col == b.col && a.end_line == b.end_line &&
           a.end_col == b.end_col;
}

void text_print_span(StrBuf *sb, Ctx *ctx, Str source, Span s) {
    if (!s.file) {
        sb_put(sb, "@-");
        return;
    }
    sb_putc(sb, '@');
    if (!source || strcmp(base_of(ctx->files[s.file].name), source) != 0) {
        text_print_string(sb, ctx->files[s.file].name);
        sb_putc(sb, ':');
    }
    sb_printf(sb, "%" PRIu32 ":%" PRIu32 "-%" PRIu32 ":%" PRIu32, s.line, s.col, s.end_line,
              s.end_col);
}

void text_print_string(StrBuf *sb, const char *s) {
    sb_putc(sb, '"');
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\')
            sb_printf(sb, "\\%c", c);
        else if (c == '\n' || c == '\t')
            sb_put(sb, c == '\n' ? "\\n" : "\\t");
        else if (c < 32 || c == 127)
            sb_printf(sb, "\\x%02x", c);
        else
            sb_putc(sb, (char)c);
    }
    sb_putc(sb, '"');
}

void text_print_dims(StrBuf *sb, const Dim *d, int n) {
    for (int k = 0; k < n; k++) {
        if (k)
            sb_put(sb, ", ");
        dim_print(sb, d[k]);
    }
}
