#include "base/ctx.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

Ctx *ctx_new(long fail_at) {
    if (fail_at == 1)
        return NULL;
    Ctx *ctx = calloc(1, sizeof *ctx); /* the one block that no arena owns */
    if (!ctx)
        return NULL;
    ctx->allocs = 1;
    ctx->fail_at = fail_at;
    arena_init(&ctx->perm, ctx);
    return ctx;
}

void ctx_free(Ctx *ctx) {
    if (!ctx)
        return;
    arena_free(&ctx->perm);
    free(ctx);
}

CtxStatus ctx_protect(Ctx *ctx, void (*fn)(void *arg), void *arg) {
    jmp_buf here, *volatile outer = ctx->escape;
    ctx->escape = &here;
    int status = setjmp(here);
    if (status == 0)
        fn(arg);
    ctx->escape = outer;
    return (CtxStatus)status;
}

void ctx_oom(Ctx *ctx) { longjmp(*ctx->escape, CTX_OOM); }

void ctx_internal(Ctx *ctx, const char *fmt, ...) {
    size_t n = 0;
    if (ctx->running_pass)
        n = (size_t)snprintf(ctx->internal, sizeof ctx->internal, "in pass %s: ", ctx->running_pass);
    va_list ap;
    va_start(ap, fmt);
    if (n < sizeof ctx->internal)
        vsnprintf(ctx->internal + n, sizeof ctx->internal - n, fmt, ap);
    va_end(ap);
    longjmp(*ctx->escape, CTX_INTERNAL);
}

uint32_t ctx_add_file(Ctx *ctx, const char *name, const char *text, size_t len) {
    if (ctx->n_files + 1 >= ctx->cap_files) {
        uint32_t cap = ctx->cap_files ? 2 * ctx->cap_files : 8;
        ctx->files = arena_grow(&ctx->perm, ctx->files, ctx->cap_files, cap, sizeof *ctx->files);
        ctx->cap_files = cap;
    }
    char *copy = arena_alloc(&ctx->perm, len + 1);
    memcpy(copy, text, len);
    ctx->files[++ctx->n_files] = (SourceFile){.name = str_of(ctx, name), .text = copy, .len = len};
    return ctx->n_files;
}
