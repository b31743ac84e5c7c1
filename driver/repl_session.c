/* What a REPL session remembers. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "driver/repl_priv.h"

ReplDef *repl_def(const ReplSession *s, const char *name) {
    for (int i = 0; i < s->defs.n; i++)
        if (strcmp(s->defs.p[i].name, name) == 0)
            return &s->defs.p[i];
    return NULL;
}

ReplValue *repl_value(const ReplSession *s, const char *name) {
    for (int i = 0; i < s->values.n; i++)
        if (strcmp(s->values.p[i].name, name) == 0)
            return &s->values.p[i];
    return NULL;
}

static void drop_def(ReplSession *s, ReplDef *d) {
    arena_free(&d->mem);
    *d = s->defs.p[--s->defs.n];
}

void repl_drop_value(ReplSession *s, ReplValue *v) {
    arena_free(&v->mem);
    *v = s->values.p[--s->values.n];
}

static const char *keep(Arena *a, const char *text) { return arena_dup(a, text, strlen(text) + 1); }

void repl_define(ReplSession *s, Ctx *ctx, const Item *it, const char *text, const char *file) {
    if (it->kind == ITEM_TEST)
        return;
    const char *name = it->name.text ? it->name.text : "";
    ReplDef d = {.is_const = it->kind == ITEM_CONST, .line = it->span.line};
    arena_init(&d.mem, s->ctx);
    d.name = keep(&d.mem, name);
    d.file = keep(&d.mem, file);
    d.text = keep(&d.mem, str_intern(ctx, text + it->from, it->to - it->from));
    for (const char *c = text + it->from; c < text + it->to && *c == '#'; c = strchr(c, '\n') + 1)
        d.line--; /* documentation stands above it */
    ReplDef *old = *name ? repl_def(s, name) : NULL;
    ReplValue *hidden = d.is_const ? repl_value(s, name) : NULL;
    if (hidden)
        repl_drop_value(s, hidden);
    if (old) { /* keeps its place in the order */
        arena_free(&old->mem);
        *old = d;
    } else {
        vec_push(&s->ctx->perm, &s->defs, d);
    }
}

void repl_bind(ReplSession *s, const char *name, const ReplValue *v) {
    ReplValue n = *v;
    size_t bytes = v->count * dtype_size(v->dt);
    arena_init(&n.mem, s->ctx);
    n.name = keep(&n.mem, name);
    n.type_text = keep(&n.mem, v->type_text);
    n.shape = arena_dup(&n.mem, v->shape, (size_t)v->rank * sizeof *v->shape);
    n.data = arena_dup(&n.mem, v->data, bytes);
    ReplDef *hidden = repl_def(s, name);
    if (hidden && hidden->is_const)
        drop_def(s, hidden);
    ReplValue *old = repl_value(s, name);
    if (old) {
        arena_free(&old->mem);
        *old = n;
    } else {
        vec_push(&s->ctx->perm, &s->values, n);
    }
}

void repl_keep_data(ReplSession *s, const char *name, const char *text) {
    ReplData d = {.name = NULL};
    arena_init(&d.mem, s->ctx);
    d.name = keep(&d.mem, name);
    d.text = keep(&d.mem, text);
    for (int k = 0; k < s->data.n; k++)
        if (strcmp(s->data.p[k].name, name) == 0) {
            arena_free(&s->data.p[k].mem);
            s->data.p[k] = d;
            return;
        }
    vec_push(&s->ctx->perm, &s->data, d);
}

const char *repl_at_line(Ctx *ctx, const char *text, uint32_t line) {
    StrBuf sb = sb_new(&ctx->perm);
    for (uint32_t i = 1; i < line; i++)
        sb_putc(&sb, '\n');
    sb_put(&sb, text);
    return sb.text;
}

static AstFile *parse_def(Ctx *ctx, const ReplDef *d) {
    const char *text = repl_at_line(ctx, d->text, d->line);
    return parse_file(ctx, ctx_add_file(ctx, d->file, text, strlen(text)));
}

AstFile *repl_ast(const ReplSession *s, Ctx *ctx, const Item *extra) {
    AstFile *all = ARENA_NEW(&ctx->perm, AstFile);
    VEC(Item *) items = {0};
    for (int i = 0; i < s->defs.n; i++) {
        const ReplDef *d = &s->defs.p[i];
        if (extra && extra->name.text && strcmp(d->name, extra->name.text) == 0)
            continue;
        const AstFile *f = parse_def(ctx, d);
        for (int k = 0; k < f->n_items; k++)
            vec_push(&ctx->perm, &items, f->items[k]);
        all->file = f->file;
    }
    if (extra) {
        vec_push(&ctx->perm, &items, (Item *)extra);
        all->file = extra->span.file;
    }
    if (all->file == 0)
        all->file = ctx_add_file(ctx, "input", "", 0);
    all->items = items.p;
    all->n_items = items.n;
    return all;
}

SessionValue *repl_values(const ReplSession *s, Ctx *ctx) {
    SessionValue *values = ARENA_ARRAY(&ctx->perm, SessionValue, s->values.n + 1);
    for (int i = 0; i < s->values.n; i++) {
        const ReplValue *v = &s->values.p[i];
        Dim shape[MAX_RANK] = {NULL};
        for (int k = 0; k < v->rank; k++)
            shape[k] = dim_const(ctx, v->shape[k]);
        values[i].name = str_of(ctx, v->name);
        values[i].type = type_new(ctx, v->dt, v->rank, shape);
    }
    return values;
}

void repl_free(ReplSession *s) {
    while (s->defs.n)
        drop_def(s, &s->defs.p[s->defs.n - 1]);
    while (s->values.n)
        repl_drop_value(s, &s->values.p[s->values.n - 1]);
    while (s->data.n)
        arena_free(&s->data.p[--s->data.n].mem);
    arena_free(&s->loaded_mem);
}

const char *repl_read_file(Ctx *ctx, const char *path, size_t *len) {
    FILE *f = fopen(path, "rb");
    StrBuf sb = sb_new(&ctx->perm);
    char block[4096];
    if (f) {
        for (size_t n; (n = fread(block, 1, sizeof block, f)) > 0;)
            sb_putn(&sb, block, n);
        bool bad = ferror(f);
        int error = errno;
        fclose(f);
        errno = error;
        if (!bad) {
            *len = sb.len;
            return sb.text;
        }
    }
    diag_error(ctx, "E1101", (Span){0}, "cannot read `%s`: %s", path, strerror(errno));
    return NULL;
}

/* `import` reads relative to the working directory, as :load does. */
static const char *load_import(Ctx *ctx, void *self, const char *path, Span span, uint32_t *file) {
    (void)self;
    (void)span;
    FILE *f = fopen(path, "rb");
    if (!f)
        return strerror(errno);
    StrBuf sb = sb_new(&ctx->perm);
    char block[4096];
    for (size_t n; (n = fread(block, 1, sizeof block, f)) > 0;)
        sb_putn(&sb, block, n);
    bool bad = ferror(f);
    fclose(f);
    if (bad)
        return "it cannot be read";
    *file = ctx_add_file(ctx, path, sb.text, sb.len);
    return NULL;
}

LowerOptions repl_lower_options(const ReplSession *s) {
    return (LowerOptions){.real = s->real, .load_import = load_import};
}
