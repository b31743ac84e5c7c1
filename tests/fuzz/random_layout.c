/* Random .cnn text through the formatter.
 *
 *   random_layout [--count=200] [--seed=1] [--show]
 *
 * Every text parses; the formatted text parses to the same tree, has the same tokens and comments,
 * and formatting it again changes nothing. A mismatch prints the text, what became of it, and the
 * seed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "layout.h"
#include "source.h"

typedef struct Run {
    Ctx *ctx;
    uint64_t seed;
    const char *text, *formatted, *fault;
} Run;

static void one_text(void *arg) {
    Run *r = arg;
    StrBuf sb = sb_new(&r->ctx->perm);
    random_source(r->seed, &sb);
    r->text = sb.text;
    r->fault =
        layout_fault(r->ctx, ctx_add_file(r->ctx, "random.cnn", sb.text, sb.len), &r->formatted);
    if (!r->formatted) {
        StrBuf messages = sb_new(&r->ctx->perm);
        diag_render_all(r->ctx, false, false, &messages);
        r->fault = str_fmt(r->ctx, "it does not parse\n%s", messages.text);
    }
}

int main(int argc, char **argv) {
    uint64_t count = 200, seed = 1;
    bool show = false;
    size_t bytes = 0, failed = 0;
    for (int k = 1; k < argc; k++) {
        if (!strncmp(argv[k], "--count=", 8))
            count = strtoull(argv[k] + 8, NULL, 10);
        else if (!strncmp(argv[k], "--seed=", 7))
            seed = strtoull(argv[k] + 7, NULL, 10);
        else
            show = !strcmp(argv[k], "--show");
    }
    for (uint64_t k = seed; k < seed + count && failed < 5; k++) {
        Run r = {.ctx = ctx_new(0), .seed = k};
        CtxStatus status = ctx_protect(r.ctx, one_text, &r);
        const char *fault = status == CTX_OK ? r.fault : "internal error or no memory";
        if (fault || show)
            printf("seed %llu%s%s\n%s\n---- formatted:\n%s\n", (unsigned long long)k,
                   fault ? ": " : "", fault ? fault : "", r.text, r.formatted ? r.formatted : "");
        failed += fault != NULL;
        bytes += r.text ? strlen(r.text) : 0;
        ctx_free(r.ctx);
    }
    printf("%llu texts, %zu bytes, %zu failed\n", (unsigned long long)count, bytes, failed);
    return failed > 0;
}
