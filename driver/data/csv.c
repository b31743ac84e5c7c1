/* CSV with a header (RFC 4180: quotes, doubled quotes, line breaks in quotes; CR, LF and CRLF).
 * Numbers are read exactly and without a locale. A row is its line in the file. An empty cell, NA,
 * N/A, NaN or null is missing: an error, or a NaN where rows with missing cells are dropped
 * (--na=drop). */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "driver/data/array.h"

typedef struct Field { /* a piece of the file, blanks around it left out; quoted: between its
                          quotes, "" not yet one */
    const char *at;
    size_t len;
    bool quoted;
} Field;
typedef VEC(Field) Fields;

typedef struct Csv {
    Session *s;
    const char *path, *at, *end;
    uint32_t file, line;
    bool failed;
} Csv;

static void bad(Csv *c, uint32_t line, const char *fmt, ...) CNNC_PRINTF(3, 4);
static void bad(Csv *c, uint32_t line, const char *fmt, ...) {
    StrBuf sb = sb_new(c->s->arena);
    va_list ap;
    va_start(ap, fmt);
    sb_vprintf(&sb, fmt, ap);
    va_end(ap);
    session_file_error(c->s, (Span){c->file, line, 1, line, 1}, "%s, row %u: %s", c->path, line,
                       sb.text);
    c->failed = true;
}

/* ---- rows */

static Field quoted_field(Csv *c) {
    uint32_t line = c->line;
    Field f = {.at = ++c->at, .quoted = true};
    for (; c->at < c->end; c->at++) {
        if (*c->at == '"' && c->at + 1 < c->end && c->at[1] == '"')
            c->at++;
        else if (*c->at == '"')
            break;
        c->line += *c->at == '\n';
    }
    f.len = (size_t)(c->at - f.at);
    if (c->at == c->end)
        bad(c, line, "a quote is not closed");
    else
        c->at++;
    return f;
}

static Field field(Csv *c) {
    if (c->at < c->end && *c->at == '"')
        return quoted_field(c);
    Field f = {.at = c->at};
    while (c->at < c->end && *c->at != ',' && *c->at != '\n' && *c->at != '\r')
        c->at++;
    f.len = (size_t)(c->at - f.at);
    while (f.len && (f.at[f.len - 1] == ' ' || f.at[f.len - 1] == '\t'))
        f.len--;
    while (f.len && (*f.at == ' ' || *f.at == '\t'))
        f.at++, f.len--;
    return f;
}

/* The fields of the next row that is not empty; false at the end. */
static bool row(Csv *c, Fields *f, uint32_t *line) {
    f->n = 0;
    while (c->at < c->end && (*c->at == '\n' || *c->at == '\r')) {
        c->line += *c->at == '\n' || c->at + 1 == c->end || c->at[1] != '\n';
        c->at++;
    }
    *line = c->line;
    if (c->at >= c->end || c->failed)
        return false;
    for (;;) {
        vec_push(c->s->arena, f, field(c));
        if (c->at < c->end && *c->at == ',') {
            c->at++;
            continue;
        }
        if (c->at < c->end && *c->at != '\n' && *c->at != '\r')
            bad(c, c->line, "text follows a closing quote");
        return !c->failed;
    }
}

static const char *text_of(Csv *c, const Field *f) {
    if (!f->quoted)
        return str_intern(c->s->ctx, f->at, f->len);
    StrBuf sb = sb_new(c->s->arena);
    for (size_t k = 0; k < f->len; k++) {
        sb_putc(&sb, f->at[k]);
        k += f->at[k] == '"'; /* the second of two */
    }
    return str_intern(c->s->ctx, sb.text, sb.len);
}

static bool is_missing(const Field *f) {
    static const char *const words[] = {"", "NA", "N/A", "NaN", "null"};
    for (size_t k = 0; k < sizeof words / sizeof *words; k++)
        if (strlen(words[k]) == f->len && strncasecmp(words[k], f->at, f->len) == 0)
            return true;
    return false;
}

/* A decimal of at most 19 digits whose digits make a number below 2^53 and whose power of ten is
 * at most 22: both are exact, so one multiplication or division rounds once (Clinger, PLDI 1990).
 * false: it is none of these, or no number. */
static bool short_decimal(const Field *f, double *v) {
    static const double ten[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                 1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    enum { MOST_DIGITS = 19, MOST_TEN = 22 };
    const char *p = f->at, *end = f->at + f->len;
    bool negative = p < end && *p == '-', fraction = false, down = false;
    uint64_t digits = 0;
    int n = 0, places = 0, power = 0;
    p += p < end && (*p == '-' || *p == '+');
    for (; p < end && ((*p >= '0' && *p <= '9') || (*p == '.' && !fraction)); p++) {
        if (*p == '.') {
            fraction = true;
            continue;
        }
        digits = 10 * digits + (uint64_t)(*p - '0');
        places += fraction;
        if (++n > MOST_DIGITS)
            return false;
    }
    if (n == 0)
        return false;
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        down = p < end && *p == '-';
        p += p < end && (*p == '-' || *p == '+');
        if (p == end)
            return false;
        for (; p < end && *p >= '0' && *p <= '9' && power <= 999; p++)
            power = 10 * power + (*p - '0');
    }
    power = (down ? -power : power) - places;
    if (p != end || digits >> 53 || power < -MOST_TEN || power > MOST_TEN)
        return false;
    double d = (double)digits;
    d = power < 0 ? d / ten[-power] : d * ten[power];
    *v = negative ? -d : d;
    return true;
}

/* A whole field as a decimal number. What follows a field is a delimiter or the end of the text, so
 * strtod stops there. */
static bool number_of(const Field *f, double *v) {
    char *end;
    if (short_decimal(f, v))
        return true;
    if (f->len == 0 || memchr(f->at, 'x', f->len) || memchr(f->at, 'X', f->len) || *f->at == ' ' ||
        *f->at == '\t' || *f->at == '\n')
        return false;
    *v = strtod(f->at, &end);
    return end == f->at + f->len;
}

/* ---- columns */

typedef struct Columns {
    int n;
    int *at; /* number in the file; -1: a column of ones */
    const char **name;
} Columns;

static bool choose_one(Csv *c, const char *const *head, int n_head, const char *name, Columns *r) {
    int at = strcmp(name, "1") == 0 ? -1 : -2;
    for (int k = 0; k < n_head; k++) {
        if (at >= 0 && strcmp(head[k], name) == 0) {
            bad(c, 1, "columns %d and %d are both named `%s`", at + 1, k + 1, name);
            return false;
        }
        at = strcmp(head[k], name) == 0 ? k : at;
    }
    const char *other = n_head == 1 ? strpbrk(head[0], ";\t|") : NULL;
    if (at == -2 && other) {
        bad(c, 1,
            "there is no column `%s`: the header is a single cell with %s in it, and columns are "
            "separated by commas",
            name, *other == '\t' ? "tabs" : str_fmt(c->s->ctx, "`%c`", *other));
        return false;
    }
    if (at == -2) {
        const char *near = diag_nearest(name, head, n_head);
        StrBuf all = sb_new(c->s->arena);
        for (int k = 0; k < n_head && k < 8; k++)
            sb_printf(&all, "%s`%s`", k ? ", " : "", head[k]);
        bad(c, 1, near ? "there is no column `%s`; did you mean `%s`?" : "there is no column `%s`; the header has %s%s",
            name, near ? near : all.text, n_head > 8 ? ", ..." : "");
        return false;
    }
    r->at[r->n] = at;
    r->name[r->n++] = name;
    return true;
}

static Columns choose(Csv *c, const Fields *f, const char *columns) {
    Columns r = {0};
    int most = f->n + 1;
    const char **head = ARENA_ARRAY(c->s->arena, const char *, f->n + 1);
    for (int k = 0; k < f->n; k++)
        head[k] = text_of(c, &f->p[k]);
    for (const char *p = columns; p && *p; p++)
        most += *p == ',';
    r.at = ARENA_ARRAY(c->s->arena, int, most);
    r.name = ARENA_ARRAY(c->s->arena, const char *, most);
    for (int k = 0; !columns && k < f->n; k++) {
        r.at[k] = k;
        r.name[r.n++] = head[k];
    }
    for (const char *p = columns; p && *p;) {
        size_t n = strcspn(p, ",");
        if (!choose_one(c, head, f->n, str_intern(c->s->ctx, p, n), &r))
            break;
        p += n + (p[n] == ',');
    }
    if (columns && !r.n && !c->failed)
        bad(c, 1, "no column is named after the `:`");
    return r;
}

/* ---- cells */

typedef struct Cells {
    VEC(double) v;
    VEC(const char *) texts; /* NULL: a number */
    VEC(uint32_t) lines;
    bool keep_texts; /* the second pass over a table that has some */
    bool any_text;
} Cells;

static void cell(Csv *c, Cells *out, const Field *f, const char *column, uint32_t line) {
    double v = NAN;
    bool number = number_of(f, &v) && !isnan(v), missing = !number && !f->quoted && is_missing(f);
    if (missing && (!c->s->o.na || strcmp(c->s->o.na, "drop") != 0))
        bad(c, line, "column `%s` holds %s: a missing value (`--na=drop` leaves such rows out)",
            column, f->len ? str_fmt(c->s->ctx, "`%s`", text_of(c, f)) : "nothing");
    out->any_text |= !number && !missing;
    if (out->keep_texts)
        vec_push(c->s->arena, &out->texts, missing ? NULL : text_of(c, f));
    vec_push(c->s->arena, &out->v, number ? v : NAN);
}

static void read_rows(Csv *c, const Columns *cols, int n_head, Cells *out) {
    static const Field one = {.at = "1", .len = 1};
    Fields f = {0};
    uint32_t line;
    while (!c->failed && row(c, &f, &line)) {
        if (f.n != n_head) {
            bad(c, line, "it has %d fields, the header %d", f.n, n_head);
            return;
        }
        for (int k = 0; k < cols->n && !c->failed; k++)
            cell(c, out, cols->at[k] < 0 ? &one : &f.p[cols->at[k]], cols->name[k], line);
        vec_push(c->s->arena, &out->lines, line);
    }
    if (!c->failed && out->lines.n == 0)
        bad(c, line, "it has a header and no rows");
}

Array *csv_read(Session *s, const char *path, const char *bytes, size_t len, const char *columns) {
    Csv c = {.s = s, .path = path, .at = bytes, .end = bytes + len, .line = 1};
    Fields head = {0};
    uint32_t line;
    c.file = ctx_add_file(s->ctx, path, "", 0);
    if (len >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0)
        c.at += 3;
    const char *nul = memchr(bytes, 0, len);
    if (nul) {
        for (const char *p = bytes; p < nul; p++)
            c.line += *p == '\n' || (*p == '\r' && p[1] != '\n');
        bad(&c, c.line, "it holds a NUL byte: it is no text");
        return NULL;
    }
    if (!row(&c, &head, &line)) {
        if (!c.failed)
            bad(&c, 1, "it is empty");
        return NULL;
    }
    Columns cols = choose(&c, &head, columns);
    Csv body = c;
    Cells cells = {0};
    read_rows(&c, &cols, head.n, &cells);
    if (!c.failed && cells.any_text) {
        cells = (Cells){.keep_texts = true};
        read_rows(&body, &cols, head.n, &cells);
    }
    if (c.failed)
        return NULL;
    int64_t shape[2] = {cells.lines.n, cols.n};
    Array *a = array_new(s, CELL_F64, cols.n == 1 ? 1 : 2, shape,
                         columns ? str_fmt(s->ctx, "%s:%s", path, columns) : path);
    if (!a)
        return NULL;
    memcpy(a->data, cells.v.p, sizeof(double) * (size_t)cells.v.n);
    a->texts = cells.texts.p;
    a->columns = cols.name;
    a->n_columns = cols.n;
    a->file = c.file;
    a->lines = cells.lines.p;
    return a;
}

static void put_cell(StrBuf *sb, const Array *a, int64_t k) {
    if (cell_is_real(a->cell))
        sb_real(sb, array_get(a, k));
    else
        sb_printf(sb, "%.0f", array_get(a, k));
}

/* A field; with a comma, quote or line break it stands in quotes. */
void csv_put_text(StrBuf *sb, const char *text) {
    if (!strpbrk(text, ",\"\r\n")) {
        sb_put(sb, text);
        return;
    }
    sb_putc(sb, '"');
    for (; *text; text++)
        sb_printf(sb, *text == '"' ? "\"%c" : "%c", *text);
    sb_putc(sb, '"');
}

/* One line a row of the first axis; a header of the columns' names, else of their numbers. */
void csv_write(StrBuf *sb, const Array *a) {
    int64_t rows = a->rank ? a->shape[0] : 1, cols = rows ? a->count / rows : 0;
    for (int64_t k = 0; k < cols; k++) {
        sb_put(sb, k ? "," : "");
        if (a->columns && a->n_columns == cols)
            csv_put_text(sb, a->columns[k]);
        else
            sb_printf(sb, "c%lld", (long long)k);
    }
    sb_putc(sb, '\n');
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t k = 0; k < cols; k++) {
            sb_put(sb, k ? "," : "");
            put_cell(sb, a, r * cols + k);
        }
        sb_putc(sb, '\n');
    }
}
