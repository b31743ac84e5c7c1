/* CSV with a header (RFC 4180: quotes, doubled quotes, line breaks in quotes; CR, LF and CRLF). Numbers are read exactly and
 * without a locale. A row is its line in the file. */
#include <stdlib.h>
#include <string.h>

#include "driver/data/array.h"

typedef VEC(const char *) Fields;

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
    session_file_error(c->s, (Span){c->file, line, 1, line, 1}, "%s:%u: %s", c->path, line, sb.text);
    c->failed = true;
}

static const char *field(Csv *c) {
    StrBuf sb = sb_new(c->s->arena);
    if (c->at < c->end && *c->at == '"') {
        uint32_t line = c->line;
        for (c->at++; c->at < c->end; c->at++) {
            if (*c->at == '"' && c->at + 1 < c->end && c->at[1] == '"')
                c->at++;
            else if (*c->at == '"')
                break;
            c->line += *c->at == '\n';
            sb_putc(&sb, *c->at);
        }
        if (c->at == c->end)
            bad(c, line, "a quote is not closed");
        else
            c->at++;
        return sb.text;
    }
    while (c->at < c->end && *c->at != ',' && *c->at != '\n' && *c->at != '\r')
        sb_putc(&sb, *c->at++);
    while (sb.len && (sb.text[sb.len - 1] == ' ' || sb.text[sb.len - 1] == '\t'))
        sb.text[--sb.len] = 0;
    return sb.text + strspn(sb.text, " \t");
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

static bool number_of(const char *text, double *v) {
    char *end;
    if (!*text || strpbrk(text, "xX"))
        return false;
    *v = strtod(text, &end);
    return *end == 0;
}

typedef struct Columns {
    int n;
    int *at; /* number in the file; -1: a column of ones */
    const char **name;
} Columns;

static Columns choose(Csv *c, const Fields *head, const char *columns) {
    Columns r = {0};
    int most = head->n + 1;
    for (const char *p = columns; p && *p; p++)
        most += *p == ',';
    r.at = ARENA_ARRAY(c->s->arena, int, most);
    r.name = ARENA_ARRAY(c->s->arena, const char *, most);
    if (!columns) {
        for (int k = 0; k < head->n; k++)
            r.at[k] = k, r.name[k] = head->p[k];
        r.n = head->n;
        return r;
    }
    for (const char *p = columns; *p;) {
        size_t n = strcspn(p, ",");
        const char *name = str_intern(c->s->ctx, p, n);
        int at = strcmp(name, "1") == 0 ? -1 : -2;
        for (int k = 0; k < head->n; k++)
            at = strcmp(head->p[k], name) == 0 ? k : at;
        if (at == -2) {
            const char *near = diag_nearest(name, head->p, head->n);
            bad(c, 1, near ? "there is no column `%s`; did you mean `%s`?" : "there is no column `%s`", name, near ? near : "");
            return r;
        }
        r.at[r.n] = at;
        r.name[r.n++] = name;
        p += n + (p[n] == ',');
    }
    return r;
}

Array *csv_read(Session *s, const char *path, const char *bytes, size_t len, const char *columns) {
    Csv c = {.s = s, .path = path, .at = bytes, .end = bytes + len, .line = 1};
    Fields head = {0}, f = {0};
    uint32_t line;
    c.file = ctx_add_file(s->ctx, path, "", 0);
    if (len >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0)
        c.at += 3;
    if (memchr(bytes, 0, len)) {
        bad(&c, 1, "it holds NUL bytes: it is no text");
        return NULL;
    }
    if (!row(&c, &head, &line)) {
        if (!c.failed)
            bad(&c, 1, "it is empty");
        return NULL;
    }
    Columns cols = choose(&c, &head, columns);
    VEC(double) v = {0};
    VEC(const char *) texts = {0};
    int64_t rows = 0;
    uint32_t first = 0;
    bool text = false;
    while (!c.failed && row(&c, &f, &line)) {
        first = first ? first : line;
        if (f.n != head.n) {
            bad(&c, line, "it has %d fields, the header %d", f.n, head.n);
            break;
        }
        for (int k = 0; k < cols.n && !c.failed; k++) {
            const char *t = cols.at[k] < 0 ? "1" : f.p[cols.at[k]];
            double x = 0;
            bool ok = number_of(t, &x);
            if (cols.n == 1)
                vec_push(s->arena, &texts, t);
            if (!ok && cols.n == 1 && *t && (rows == 0 || text))
                text = true;
            else if (!ok && !text)
                bad(&c, line, "column `%s` holds `%.60s`, which is no number", cols.name[k], t);
            vec_push(s->arena, &v, x);
        }
        rows++;
    }
    if (!c.failed && rows == 0)
        bad(&c, line, "it has a header and no rows");
    if (c.failed)
        return NULL;
    int64_t shape[2] = {rows, cols.n};
    Array *a = array_new(s, CELL_F64, cols.n == 1 ? 1 : 2, shape, columns ? str_fmt(s->ctx, "%s:%s", path, columns) : path);
    if (!a)
        return NULL;
    memcpy(a->data, v.p, sizeof(double) * (size_t)v.n);
    a->texts = text ? texts.p : NULL;
    a->columns = cols.name;
    a->file = c.file;
    a->first_line = first;
    return a;
}

static void put_cell(StrBuf *sb, const Array *a, int64_t k) {
    if (cell_is_real(a->cell))
        sb_real(sb, array_get(a, k));
    else
        sb_printf(sb, "%.0f", array_get(a, k));
}

/* One line a row of the first axis; a header of column numbers. */
void csv_write(StrBuf *sb, const Array *a) {
    int64_t rows = a->rank ? a->shape[0] : 1, cols = rows ? a->count / rows : 0;
    for (int64_t k = 0; k < cols; k++)
        sb_printf(sb, "%sc%lld", k ? "," : "", (long long)k);
    sb_putc(sb, '\n');
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t k = 0; k < cols; k++) {
            sb_put(sb, k ? "," : "");
            put_cell(sb, a, r * cols + k);
        }
        sb_putc(sb, '\n');
    }
}
