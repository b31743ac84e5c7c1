#include "base/diag.h"

#include <ctype.h>
#include <string.h>

#include "base/utf8.h"

enum {
    MAX_ERRORS = 20,
    MAX_TEXT = 1200 /* bytes of one message: the user's names may be long */
};

Diags *diags_of(Ctx *ctx) {
    if (!ctx->diags) {
        ctx->diags = ARENA_NEW(&ctx->perm, Diags);
        ctx->diags->max_errors = MAX_ERRORS;
    }
    return ctx->diags;
}

bool diag_any_error(Ctx *ctx) { return diags_of(ctx)->n_errors > 0; }

void diag_clear(Ctx *ctx) {
    Diags *ds = diags_of(ctx);
    ds->all.n = ds->n_errors = ds->n_warnings = 0;
}

/* Formats, escapes what a terminal may act on, and cuts what is too long. */
static const char *format_text(Ctx *ctx, const char *fmt, va_list ap) {
    StrBuf raw = sb_new(&ctx->perm), out = sb_new(&ctx->perm);
    sb_vprintf(&raw, fmt, ap);
    for (size_t i = 0; i < raw.len;) {
        uint32_t c;
        int n = utf8_decode(raw.text + i, raw.len - i, &c);
        if (out.len > MAX_TEXT) {
            sb_put(&out, "...");
            break;
        }
        if (n == 0)
            sb_printf(&out, "\\x%02x", (unsigned)(unsigned char)raw.text[i]);
        else if (c != '\n' && utf8_is_control(c))
            sb_printf(&out, c < 0x100 ? "\\x%02x" : "\\u{%x}", c);
        else
            sb_putn(&out, raw.text + i, (size_t)n);
        i += n ? (size_t)n : 1;
    }
    return out.text;
}

static bool same_span(Span a, Span b) {
    return a.file == b.file && a.line == b.line && a.col == b.col && a.end_line == b.end_line &&
           a.end_col == b.end_col;
}

static bool is_repeated(const Diags *ds, const Diag *d) {
    for (int i = 0; i < ds->all.n; i++) {
        const Diag *e = ds->all.p[i];
        if (e->span.file && same_span(e->span, d->span) && strcmp(e->code, d->code) == 0 &&
            strcmp(e->message, d->message) == 0)
            return true;
    }
    return false;
}

static const struct {
    const char *code, *text;
} helps[] = {
#define HELP(code, text) {#code, text},
#include "base/help.def"
#undef HELP
};

const char *diag_default_help(const char *code) {
    for (size_t i = 0; i < sizeof helps / sizeof *helps; i++)
        if (strcmp(helps[i].code, code) == 0)
            return helps[i].text;
    return NULL;
}

/* A definition is checked once a call, so the same words about the same place may come again: they
 * are said once. The caller gets a diagnostic in any case, to hang labels on. */
static Diag *add(Ctx *ctx, Severity severity, const char *code, const char *warning, Span span,
                 const char *fmt, va_list ap) {
    Diags *ds = diags_of(ctx);
    Diag *d = ARENA_NEW(&ctx->perm, Diag);
    d->severity = severity;
    d->code = code;
    d->warning = warning;
    d->span = span;
    d->message = format_text(ctx, fmt, ap);
    d->help = diag_default_help(code);
    if (is_repeated(ds, d))
        return d;
    if (severity == SEV_WARNING) {
        ds->n_warnings++;
        vec_push(&ctx->perm, &ds->all, d);
        return d;
    }
    ds->n_errors++;
    if (ds->max_errors == 0 || ds->n_errors <= ds->max_errors)
        vec_push(&ctx->perm, &ds->all, d);
    return d;
}

Diag *diag_error(Ctx *ctx, const char *code, Span span, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    Diag *d = add(ctx, SEV_ERROR, code, NULL, span, fmt, ap);
    va_end(ap);
    return d;
}

static bool is_disabled(const Diags *ds, const char *name) {
    for (int i = 0; i < ds->disabled.n; i++)
        if (strcmp(ds->disabled.p[i], name) == 0)
            return true;
    return ds->no_warnings;
}

Diag *diag_warning(Ctx *ctx, const char *code, const char *name, Span span, const char *fmt, ...) {
    const Diags *ds = diags_of(ctx);
    if (is_disabled(ds, name))
        return ARENA_NEW(&ctx->perm, Diag);
    va_list ap;
    va_start(ap, fmt);
    Diag *d = add(ctx, ds->werror ? SEV_ERROR : SEV_WARNING, code, name, span, fmt, ap);
    va_end(ap);
    return d;
}

void diag_here(Ctx *ctx, Diag *d, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    d->here = format_text(ctx, fmt, ap);
    va_end(ap);
}

void diag_label(Ctx *ctx, Diag *d, Span span, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    vec_push(&ctx->perm, &d->labels, (DiagLabel){span, format_text(ctx, fmt, ap)});
    va_end(ap);
}

void diag_note(Ctx *ctx, Diag *d, Span span, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    vec_push(&ctx->perm, &d->notes, (DiagLabel){span, format_text(ctx, fmt, ap)});
    va_end(ap);
}

void diag_help(Ctx *ctx, Diag *d, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    d->help = format_text(ctx, fmt, ap);
    va_end(ap);
}

enum { NEAR_MAX = 64 }; /* longer names have no near ones */

static int least(int a, int b) { return a < b ? a : b; }

/* Edit distance with transpositions of neighbours (optimal string alignment), letters without case.
 */
static int edit_distance(const char *a, int na, const char *b, int nb) {
    int row[3][NEAR_MAX + 1];
    for (int j = 0; j <= nb; j++)
        row[0][j] = j;
    for (int i = 1; i <= na; i++) {
        int *cur = row[i % 3];
        const int *up = row[(i + 2) % 3], *up2 = row[(i + 1) % 3];
        cur[0] = i;
        for (int j = 1; j <= nb; j++) {
            int ca = tolower((unsigned char)a[i - 1]), cb = tolower((unsigned char)b[j - 1]);
            cur[j] = least(least(cur[j - 1], up[j]) + 1, up[j - 1] + (ca != cb));
            if (i > 1 && j > 1 && ca == tolower((unsigned char)b[j - 2]) &&
                cb == tolower((unsigned char)a[i - 2]))
                cur[j] = least(cur[j], up2[j - 2] + 1);
        }
    }
    return row[na % 3][nb];
}

const char *diag_nearest(const char *name, const char *const *candidates, int n) {
    size_t len = strlen(name);
    if (len > NEAR_MAX)
        return NULL;
    const char *best = NULL;
    int best_distance = least((int)len - 1, ((int)len + 1) / 3) + 1;
    for (int i = 0; i < n; i++) {
        size_t m = strlen(candidates[i]);
        if (m > NEAR_MAX || strcmp(candidates[i], name) == 0)
            continue;
        int k = edit_distance(name, (int)len, candidates[i], (int)m);
        if (k < best_distance && k < (int)m) {
            best = candidates[i];
            best_distance = k;
        }
    }
    return best;
}
