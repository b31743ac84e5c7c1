/* Diagnostics as text and as JSON. */
#include <stdio.h>
#include <string.h>

#include "base/diag.h"
#include "base/utf8.h"

enum {
    MAX_LINE = 200, /* bytes of a source line that are quoted */
    LEAD = 60       /* of these, before a place far to the right */
};

typedef struct Painter {
    Ctx *ctx;
    StrBuf *out;
    bool color;
    int gutter; /* digits of the largest line number */
} Painter;

static void paint(const Painter *p, const char *sgr) {
    if (p->color)
        sb_printf(p->out, "\x1b[%sm", sgr);
}

/* --- a line of source --- */

typedef struct SourceLine {
    const char *text;
    size_t len;
} SourceLine;

static SourceLine source_line(const Ctx *ctx, uint32_t file, uint32_t line) {
    const SourceFile *f = &ctx->files[file];
    const char *s = f->text, *end = f->text + f->len;
    for (uint32_t k = 1; k < line && s < end; k++) {
        const char *nl = memchr(s, '\n', (size_t)(end - s));
        s = nl ? nl + 1 : end;
    }
    const char *nl = memchr(s, '\n', (size_t)(end - s));
    size_t len = (size_t)((nl ? nl : end) - s);
    if (len && s[len - 1] == '\r')
        len--;
    return (SourceLine){s, len};
}

/* One character of the user's text as it is shown, a tab as a blank; returns its width in columns.
 */
static int put_char(StrBuf *out, const char *s, int n, uint32_t c) {
    char text[16];
    if (n == 0)
        snprintf(text, sizeof text, "\\x%02x", (unsigned)(unsigned char)*s);
    else if (c == '\t')
        snprintf(text, sizeof text, " ");
    else if (utf8_is_control(c))
        snprintf(text, sizeof text, c < 0x100 ? "\\x%02x" : "\\u{%x}", c);
    else {
        sb_putn(out, s, (size_t)n);
        return 1;
    }
    sb_put(out, text);
    return (int)strlen(text);
}

/* The quoted part of a line, and where its columns are shown. */
typedef struct Quote {
    StrBuf text;
    uint32_t first; /* column of the first character shown */
    uint32_t end;   /* column after the last one shown */
    int *at;        /* at[c - first]: place of column c in the text, c = first .. end */
} Quote;

/* Quotes a line around column col: from its beginning if that fits. */
static Quote quote_line(Ctx *ctx, SourceLine line, uint32_t col) {
    Quote q = {.text = sb_new(&ctx->perm), .first = 1};
    size_t from = 0, to = line.len < MAX_LINE ? line.len : MAX_LINE;
    uint32_t c, k = 1;
    size_t i = 0;
    for (; i < line.len && k < col; k++) {
        int n = utf8_decode(line.text + i, line.len - i, &c);
        i += n ? (size_t)n : 1;
    }
    if (i + LEAD > MAX_LINE &&
        line.len > MAX_LINE) { /* the place is far right: a window around it */
        from = i > LEAD ? i - LEAD : 0;
        while (from < i && (line.text[from] & 0xc0) == 0x80)
            from++;
        to = line.len - from < MAX_LINE ? line.len : from + MAX_LINE;
        for (size_t b = from; b < i; k--) {
            int n = utf8_decode(line.text + b, line.len - b, &c);
            b += n ? (size_t)n : 1;
        }
        q.first = k;
        sb_put(&q.text, "...");
    }
    q.at = ARENA_ARRAY(&ctx->perm, int, to - from + 1);
    int width = q.first == 1 ? 0 : 3;
    uint32_t shown = 0;
    for (i = from; i < to; shown++) {
        int n = utf8_decode(line.text + i, line.len - i, &c);
        if (i + (n ? (size_t)n : 1) > to)
            break;
        q.at[shown] = width;
        width += put_char(&q.text, line.text + i, n, c);
        i += n ? (size_t)n : 1;
    }
    q.at[shown] = width;
    q.end = q.first + shown;
    if (i < line.len)
        sb_put(&q.text, "...");
    return q;
}

/* --- rustc's layout --- */

static void put_gutter(const Painter *p, uint32_t line) {
    paint(p, "1;34");
    if (line)
        sb_printf(p->out, " %*u | ", p->gutter, line);
    else
        sb_printf(p->out, "%*s |", p->gutter + 1, "");
    paint(p, "0");
}

static int place_of(const Quote *q, uint32_t col) {
    uint32_t c = col < q->first ? q->first : col > q->end ? q->end : col;
    return q->at[c - q->first];
}

/* The row of marks under a quoted line; a place that goes on in later lines is marked to the end of
 * this one. */
static void put_marks(const Painter *p, const Quote *q, Span s, char mark, const char *sgr,
                      const char *text) {
    int from = place_of(q, s.col);
    int to = place_of(q, s.end_line > s.line ? q->end : s.end_col);
    put_gutter(p, 0);
    sb_printf(p->out, " %*s", from, "");
    paint(p, sgr);
    for (int i = from; i < to || i == from; i++)
        sb_putc(p->out, mark);
    if (text && *text)
        sb_printf(p->out, " %s", text);
    paint(p, "0");
    sb_putc(p->out, '\n');
}

/* One source line with all marks on it, the main one first. */
static void put_line(const Painter *p, const Diag *d, uint32_t file, uint32_t line) {
    bool main_here = d->span.file == file && d->span.line == line;
    uint32_t col = main_here ? d->span.col : 1;
    for (int i = 0; i < d->labels.n && !main_here; i++)
        if (d->labels.p[i].span.file == file && d->labels.p[i].span.line == line)
            col = d->labels.p[i].span.col;
    Quote q = quote_line(p->ctx, source_line(p->ctx, file, line), col);
    put_gutter(p, line);
    sb_printf(p->out, "%s\n", q.text.text);
    if (main_here)
        put_marks(p, &q, d->span, '^', d->severity == SEV_ERROR ? "1;31" : "1;33", d->here);
    for (int i = 0; i < d->labels.n; i++)
        if (d->labels.p[i].span.file == file && d->labels.p[i].span.line == line)
            put_marks(p, &q, d->labels.p[i].span, '-', "1;34", d->labels.p[i].text);
}

/* The least line above `after` with a mark in this file, or 0. */
static uint32_t next_line(const Diag *d, uint32_t file, uint32_t after) {
    uint32_t best = d->span.file == file && d->span.line > after ? d->span.line : 0;
    for (int i = 0; i < d->labels.n; i++) {
        Span s = d->labels.p[i].span;
        if (s.file == file && s.line > after && (best == 0 || s.line < best))
            best = s.line;
    }
    return best;
}

static void put_lines_of(const Painter *p, const Diag *d, uint32_t file) {
    if (p->ctx->files[file].len == 0) /* its text is not kept: data */
        return;
    put_gutter(p, 0);
    sb_putc(p->out, '\n');
    for (uint32_t line = next_line(d, file, 0); line; line = next_line(d, file, line))
        put_line(p, d, file, line);
    put_gutter(p, 0);
    sb_putc(p->out, '\n');
}

/* "  --> file:line:col"; labels in other files follow under ":::". */
static void put_place(const Painter *p, const char *arrow, Span s) {
    paint(p, "1;34");
    sb_printf(p->out, "%*s%s ", p->gutter + 1, "", arrow);
    paint(p, "0");
    sb_printf(p->out, "%s:%u:%u\n", p->ctx->files[s.file].name, s.line, s.col);
}

static int digits(uint32_t n) {
    int k = 1;
    for (; n >= 10; n /= 10)
        k++;
    return k;
}

static void put_snippets(Painter *p, const Diag *d) {
    uint32_t most = d->span.line;
    for (int i = 0; i < d->labels.n; i++)
        most = d->labels.p[i].span.line > most ? d->labels.p[i].span.line : most;
    p->gutter = digits(most);
    put_place(p, "-->", d->span);
    put_lines_of(p, d, d->span.file);
    for (int i = 0; i < d->labels.n; i++) {
        Span s = d->labels.p[i].span;
        bool seen = s.file == 0 || s.file == d->span.file;
        for (int j = 0; j < i; j++)
            seen = seen || d->labels.p[j].span.file == s.file;
        if (!seen) {
            put_place(p, ":::", s);
            put_lines_of(p, d, s.file);
        }
    }
}

static void put_tail(const Painter *p, const char *head, const char *text) {
    paint(p, "1;36");
    sb_put(p->out, head);
    paint(p, "0");
    sb_printf(p->out, ": %s\n", text);
}

void diag_render_text(Ctx *ctx, const Diag *d, bool color, StrBuf *out) {
    Painter p = {ctx, out, color, 1};
    paint(&p, d->severity == SEV_ERROR ? "1;31" : "1;33");
    sb_printf(out, "%s[%s]", d->severity == SEV_ERROR ? "error" : "warning", d->code);
    paint(&p, "0");
    paint(&p, "1");
    sb_printf(out, ": %s", d->message);
    if (d->warning)
        sb_printf(out, " [-W%s]", d->warning);
    paint(&p, "0");
    sb_putc(out, '\n');
    if (d->span.file)
        put_snippets(&p, d);
    for (int i = 0; i < d->labels.n; i++)
        if (d->labels.p[i].span.file == 0 || d->span.file == 0)
            put_tail(&p, "note", d->labels.p[i].text);
    if (!d->span.file && d->here)
        put_tail(&p, "note", d->here);
    for (int i = 0; i < d->notes.n; i++) {
        put_tail(&p, "note", d->notes.p[i].text);
        if (d->notes.p[i].span.file)
            put_place(&p, "-->", d->notes.p[i].span);
    }
    if (d->help)
        put_tail(&p, "help", d->help);
    put_tail(&p, "note", str_fmt(ctx, "cnnc explain %s", d->code));
}

/* --- JSON (RFC 8259) --- */

void diag_json_text(StrBuf *out, const char *s) {
    size_t len = strlen(s);
    sb_putc(out, '"');
    for (size_t i = 0; i < len;) {
        uint32_t c;
        int n = utf8_decode(s + i, len - i, &c);
        if (n == 0)
            sb_put(out, "\\ufffd");
        else if (c == '"' || c == '\\')
            sb_printf(out, "\\%c", (char)c);
        else if (c == '\n')
            sb_put(out, "\\n");
        else if (c < 0x20 || c == 0x7f)
            sb_printf(out, "\\u%04x", c);
        else
            sb_putn(out, s + i, (size_t)n);
        i += n ? (size_t)n : 1;
    }
    sb_putc(out, '"');
}

static void put_field(StrBuf *out, const char *name, const char *text) {
    sb_printf(out, "\"%s\":", name);
    if (text)
        diag_json_text(out, text);
    else
        sb_put(out, "null");
}

static void put_where(Ctx *ctx, StrBuf *out, Span s, bool with_end) {
    put_field(out, "file", s.file ? ctx->files[s.file].name : NULL);
    if (s.file)
        sb_printf(out, ",\"line\":%u,\"column\":%u", s.line, s.col);
    else
        sb_put(out, ",\"line\":null,\"column\":null");
    if (with_end && s.file)
        sb_printf(out, ",\"end_line\":%u,\"end_column\":%u", s.end_line, s.end_col);
    else if (with_end)
        sb_put(out, ",\"end_line\":null,\"end_column\":null");
}

static void put_note(Ctx *ctx, StrBuf *out, int *n, Span span, const char *text) {
    sb_put(out, (*n)++ ? ",{" : "{");
    put_field(out, "message", text);
    sb_putc(out, ',');
    put_where(ctx, out, span, false);
    sb_putc(out, '}');
}

void diag_render_json(Ctx *ctx, const Diag *d, StrBuf *out) {
    sb_printf(out, "{\"severity\":\"%s\",\"code\":\"%s\",",
              d->severity == SEV_ERROR ? "error" : "warning", d->code);
    put_field(out, "message", d->message);
    sb_putc(out, ',');
    put_where(ctx, out, d->span, true);
    sb_put(out, ",\"notes\":[");
    int n = 0;
    if (d->here)
        put_note(ctx, out, &n, d->span, d->here);
    for (int i = 0; i < d->labels.n; i++)
        put_note(ctx, out, &n, d->labels.p[i].span, d->labels.p[i].text);
    for (int i = 0; i < d->notes.n; i++)
        put_note(ctx, out, &n, d->notes.p[i].span, d->notes.p[i].text);
    sb_put(out, "],");
    put_field(out, "help", d->help);
    if (d->warning) {
        sb_putc(out, ',');
        put_field(out, "warning", d->warning);
    }
    sb_put(out, "}\n");
}

void diag_render_all(Ctx *ctx, bool json, bool color, StrBuf *out) {
    const Diags *ds = diags_of(ctx);
    int shown = 0;
    for (int i = 0; i < ds->all.n; i++) {
        shown += ds->all.p[i]->severity == SEV_ERROR;
        if (json)
            diag_render_json(ctx, ds->all.p[i], out);
        else
            diag_render_text(ctx, ds->all.p[i], color, out);
    }
    if (shown < ds->n_errors && !json)
        sb_printf(out, "%d further errors are not shown (--max-errors=0 shows all)\n",
                  ds->n_errors - shown);
}
