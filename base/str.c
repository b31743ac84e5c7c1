#include "base/str.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Interner {
    Str *slots; /* open addressing, a power of two */
    size_t n, cap;
} Interner;

/* FNV-1a, 64 bits (Fowler, Noll, Vo). */
static size_t hash_text(const char *s, size_t len) {
    uint64_t h = 14695981039346656037u;
    for (size_t i = 0; i < len; i++)
        h = (h ^ (unsigned char)s[i]) * 1099511628211u;
    return (size_t)(h ^ h >> 29);
}

static void rehash(Ctx *ctx, Interner *in) {
    size_t cap = in->cap ? 2 * in->cap : 256;
    Str *slots = ARENA_ARRAY(&ctx->perm, Str, cap);
    for (size_t i = 0; i < in->cap; i++) {
        if (!in->slots[i])
            continue;
        size_t k = hash_text(in->slots[i], strlen(in->slots[i])) & (cap - 1);
        while (slots[k])
            k = (k + 1) & (cap - 1);
        slots[k] = in->slots[i];
    }
    in->slots = slots;
    in->cap = cap;
}

Str str_intern(Ctx *ctx, const char *s, size_t len) {
    if (!ctx->strs)
        ctx->strs = ARENA_NEW(&ctx->perm, Interner);
    Interner *in = ctx->strs;
    if (2 * (in->n + 1) > in->cap)
        rehash(ctx, in);
    size_t k = hash_text(s, len) & (in->cap - 1);
    for (; in->slots[k]; k = (k + 1) & (in->cap - 1))
        if (strncmp(in->slots[k], s, len) == 0 && in->slots[k][len] == 0)
            return in->slots[k];
    char *copy = arena_alloc(&ctx->perm, len + 1);
    memcpy(copy, s, len);
    in->n++;
    return in->slots[k] = copy;
}

Str str_of(Ctx *ctx, const char *s) { return str_intern(ctx, s, strlen(s)); }

Str str_fmt(Ctx *ctx, const char *fmt, ...) {
    StrBuf sb = sb_new(&ctx->perm);
    va_list ap;
    va_start(ap, fmt);
    sb_vprintf(&sb, fmt, ap);
    va_end(ap);
    return str_intern(ctx, sb.text, sb.len);
}

StrBuf sb_new(Arena *arena) {
    return (StrBuf){.arena = arena, .text = arena_alloc(arena, 64), .cap = 64};
}

void sb_reserve(StrBuf *sb, size_t more) {
    if (sb->cap - sb->len > more)
        return;
    size_t cap = 2 * sb->cap > sb->len + more + 1 ? 2 * sb->cap : sb->len + more + 1;
    sb->text = arena_grow(sb->arena, sb->text, sb->len + 1, cap, 1);
    sb->cap = cap;
}

void sb_putn(StrBuf *sb, const char *s, size_t len) {
    sb_reserve(sb, len);
    memcpy(sb->text + sb->len, s, len);
    sb->len += len;
    sb->text[sb->len] = 0;
}

void sb_put(StrBuf *sb, const char *s) { sb_putn(sb, s, strlen(s)); }
void sb_putc(StrBuf *sb, char c) { sb_putn(sb, &c, 1); }

void sb_vprintf(StrBuf *sb, const char *fmt, va_list ap) {
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    if (n > 0) {
        sb_reserve(sb, (size_t)n);
        vsnprintf(sb->text + sb->len, (size_t)n + 1, fmt, again);
        sb->len += (size_t)n;
    }
    va_end(again);
}

void sb_printf(StrBuf *sb, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    sb_vprintf(sb, fmt, ap);
    va_end(ap);
}

void sb_real(StrBuf *sb, double x) {
    char text[40];
    if (isnan(x) || isinf(x)) {
        sb_put(sb, isnan(x) ? "nan" : x > 0 ? "inf" : "-inf");
        return;
    }
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, x);
        if (strtod(text, NULL) == x)
            break;
    }
    sb_put(sb, text);
    if (!strpbrk(text, ".e"))
        sb_put(sb, ".0");
}
