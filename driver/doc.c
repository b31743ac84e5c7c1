/* cnnc doc [FILE]: the declarations of a file, or of the library, with their signatures and `##` comments, as Markdown
 * or HTML. */
#include <string.h>

#include "base/utf8.h"
#include "driver/session.h"
#include "frontend/frontend.h"
#include "frontend/parse.h"
#include "ir/dist.h"
#include "ir/scalar.h"

typedef struct Doc {
    Session *s;
    StrBuf *o;
    bool html;
    const SourceFile *file;
} Doc;

/* ---- places as bytes of the text */

static size_t byte_at(const SourceFile *f, uint32_t line, uint32_t col) {
    size_t at = 0;
    for (uint32_t k = 1; k < line && at < f->len; at++)
        k += f->text[at] == '\n';
    for (uint32_t k = 1, c; k < col && at < f->len; k++) {
        int n = utf8_decode(f->text + at, f->len - at, &c);
        at += n ? (size_t)n : 1;
    }
    return at;
}

/* The end of the last part of a head: what follows up to the body is brackets and blanks. */
static size_t head_end(const Doc *d, const Item *it) {
    Span last = it->name.text ? it->name.span : it->head;
    if (it->n_dims)
        last = it->dims[it->n_dims - 1].name.span;
    if (it->n_dims && it->dims[it->n_dims - 1].value)
        last = it->dims[it->n_dims - 1].value->span;
    if (it->n_formals)
        last = it->formals[it->n_formals - 1].span;
    if (it->type)
        last = it->type->span;
    size_t at = byte_at(d->file, last.end_line, last.end_col);
    if (it->type)
        return at;
    char stop = it->short_body ? '=' : '{';
    while (at < d->file->len && d->file->text[at] != stop)
        at++;
    return at;
}

static const char *signature(const Doc *d, const Item *it) {
    size_t from = byte_at(d->file, it->head.line, it->head.col), to = it->kind == ITEM_CONST ? it->to : head_end(d, it);
    while (to > from && strchr(" \t\r\n", d->file->text[to - 1]))
        to--;
    return str_fmt(d->s->ctx, "%.*s", (int)(to - from), d->file->text + from);
}

static const char *statement(const Doc *d, const Stmt *st) {
    size_t from = byte_at(d->file, st->span.line, st->span.col), to = byte_at(d->file, st->span.end_line, st->span.end_col);
    return str_fmt(d->s->ctx, "%.*s", (int)(to - from), d->file->text + from);
}

/* ---- output */

static void put_text(const Doc *d, const char *text) {
    for (; d->html && *text; text++)
        switch (*text) {
        case '<':
            sb_put(d->o, "&lt;");
            break;
        case '>':
            sb_put(d->o, "&gt;");
            break;
        case '&':
            sb_put(d->o, "&amp;");
            break;
        default:
            sb_putc(d->o, *text);
        }
    if (!d->html)
        sb_put(d->o, text);
}

static void put(const Doc *d, const char *before, const char *text, const char *after) {
    sb_put(d->o, before);
    put_text(d, text);
    sb_put(d->o, after);
}

static void heading(const Doc *d, int level, const char *text) {
    if (d->html)
        sb_printf(d->o, "<h%d>", level);
    else
        sb_printf(d->o, "%.*s ", level, "###");
    put_text(d, text);
    if (d->html)
        sb_printf(d->o, "</h%d>\n", level);
    else
        sb_put(d->o, "\n\n");
}

static void code(const Doc *d, const char *text) { put(d, d->html ? "<pre><code>" : "```cnn\n", text, d->html ? "</code></pre>\n" : "\n```\n\n"); }

static void paragraph(const Doc *d, const char *text) {
    if (text)
        put(d, d->html ? "<p>" : "", text, d->html ? "</p>\n" : "\n");
    if (!d->html)
        sb_put(d->o, "\n");
}

/* Data, parameters and reports of a block, with their own comments. */
static void put_parts(const Doc *d, const Item *it) {
    bool any = false;
    for (int k = 0; k < it->n_body; k++) {
        const Stmt *st = it->body[k];
        if (st->kind > STMT_DATA && st->kind != STMT_REPORT && st->kind != STMT_USING)
            continue;
        sb_put(d->o, any ? "" : d->html ? "<ul>\n" : "");
        any = true;
        put(d, d->html ? "<li><code>" : "- `", statement(d, st), d->html ? "</code>" : "`");
        if (st->doc)
            put(d, d->html ? " " : " ", st->doc, "");
        sb_put(d->o, d->html ? "</li>\n" : "\n");
    }
    if (any)
        sb_put(d->o, d->html ? "</ul>\n" : "\n");
}

static void put_items(const Doc *d, const AstFile *file, int level) {
    for (int k = 0; k < file->n_items; k++) {
        const Item *it = file->items[k];
        if (it->kind == ITEM_IMPORT || it->kind == ITEM_TEST)
            continue;
        heading(d, level, it->name.text);
        code(d, signature(d, it));
        paragraph(d, it->doc);
        if (it->kind == ITEM_MODEL || it->kind == ITEM_ESTIMATOR)
            put_parts(d, it);
    }
}

static void row(const Doc *d, const char *name, const char *text) {
    put(d, d->html ? "<dt><code>" : "- `", name, d->html ? "</code></dt>" : "` ");
    put(d, d->html ? "<dd>" : "", text, d->html ? "</dd>\n" : "\n");
}

static void put_builtins(const Doc *d) {
    const char *names[200];
    int n = frontend_words(FRONTEND_FUNCTIONS, names, 200);
    heading(d, 2, "Functions that are built in");
    sb_put(d->o, d->html ? "<dl>\n" : "");
    for (int k = 0; k < n; k++)
        row(d, names[k], frontend_doc(d->s->ctx, NULL, names[k]) ? frontend_doc(d->s->ctx, NULL, names[k]) : "");
    sb_put(d->o, d->html ? "</dl>\n" : "\n");
    heading(d, 2, "Distributions");
    sb_put(d->o, d->html ? "<dl>\n" : "");
    const DistDef *const *dists = dist_all(&n);
    for (int k = 0; k < n; k++) {
        StrBuf sb = sb_new(d->s->arena);
        for (int f = 0; f < dists[k]->n_forms; f++) {
            sb_printf(&sb, f ? " | " : "%s(", dists[k]->name);
            for (int p = 0; p < dists[k]->forms[f].n_params; p++)
                sb_printf(&sb, p ? ", %s" : "%s", dists[k]->forms[f].params[p].name);
        }
        sb_put(&sb, ")");
        row(d, sb.text, dists[k]->doc);
    }
    sb_put(d->o, d->html ? "</dl>\n" : "\n");
}

void command_doc(Session *s) {
    const char *format = s->o.format ? s->o.format : "markdown";
    Doc d = {.s = s, .o = &s->out, .html = strcmp(format, "html") == 0};
    if (!d.html && strcmp(format, "markdown") != 0)
        session_usage(s, "doc writes markdown or html, not `%s`", format);
    if (s->args.n > 2)
        session_usage(s, "`cnnc doc` wants one file");
    if (s->status)
        return;
    const char *path = s->args.n == 2 ? s->args.p[1] : NULL, *title = path ? session_base(s, path) : "The library";
    AstFile *file = path ? session_parse(s, path) : parse_file(s->ctx, ctx_add_file(s->ctx, "prelude.cnn", frontend_prelude, frontend_prelude_len));
    if (!file)
        return;
    d.file = &s->ctx->files[file->file];
    if (d.html)
        sb_printf(d.o, "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"><title>%s</title></head><body>\n", title);
    heading(&d, 1, title);
    put_items(&d, file, 2);
    if (!path)
        put_builtins(&d);
    if (d.html)
        sb_put(d.o, "</body></html>\n");
}
