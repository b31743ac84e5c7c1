/* Any bytes as .cnn text: lexer, parser, checker, lowering, tests, and every message as text and
 * JSON. An internal error or running out of memory is a finding. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "frontend/frontend.h"
#include "frontend/parse.h"
#include "target.h"

typedef struct Input {
    Ctx *ctx;
    const uint8_t *data;
    size_t size;
} Input;

/* An import names the text itself, or is not found. */
static const char *import(Ctx *ctx, void *self, const char *path, Span span, uint32_t *file) {
    (void)ctx;
    (void)self;
    *file = span.file;
    return strlen(path) % 2 ? "there is no such file" : NULL;
}

static void body(void *arg) {
    const Input *in = arg;
    Ctx *ctx = in->ctx;
    uint32_t file = ctx_add_file(ctx, "fuzz.cnn", (const char *)in->data, in->size);
    AstFile *ast = parse_file(ctx, file);
    LowerOptions o = {.load_import = import, .base = "fuzz"};
    if (!diag_any_error(ctx) && frontend_lower(ctx, &ctx->perm, ast, &o))
        frontend_tests(ctx, &ctx->perm, ast, &o);
    StrBuf sb = sb_new(&ctx->perm);
    diag_render_all(ctx, false, true, &sb);
    diag_render_all(ctx, true, false, &sb);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Input in = {ctx_new(0), data, size};
    if (!in.ctx || ctx_protect(in.ctx, body, &in) != CTX_OK) {
        fprintf(stderr, "internal error: %s\n", in.ctx ? in.ctx->internal : "no context");
        abort();
    }
    ctx_free(in.ctx);
    return 0;
}
