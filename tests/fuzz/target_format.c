/* Any bytes as .cnn text through the formatter: what comes out means the same, has the same tokens
 * and comments, and formatting it again changes nothing. */
#include <stdio.h>
#include <stdlib.h>

#include "layout.h"
#include "target.h"

typedef struct Input {
    Ctx *ctx;
    const uint8_t *data;
    size_t size;
} Input;

static void body(void *arg) {
    const Input *in = arg;
    const char *formatted;
    const char *fault = layout_fault(
        in->ctx, ctx_add_file(in->ctx, "fuzz.cnn", (const char *)in->data, in->size), &formatted);
    if (!fault)
        return;
    fprintf(stderr, "format: %s:\n%s\n", fault, formatted);
    abort();
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
