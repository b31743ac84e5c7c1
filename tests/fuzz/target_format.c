/* Any bytes as .cnn text through the formatter: what comes out has the same tokens and comments,
 * and formatting it again changes nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "frontend/format.h"
#include "frontend/lex.h"
#include "target.h"

typedef struct Input {
    Ctx *ctx;
    const uint8_t *data;
    size_t size;
} Input;

static void finding(const char *what, const char *text) {
    fprintf(stderr, "format: %s:\n%s\n", what, text);
    abort();
}

static bool same_bytes(const Tokens *a, uint32_t from, uint32_t to, const Tokens *b, uint32_t from_b,
                       uint32_t to_b) {
    return to - from == to_b - from_b && !memcmp(a->text + from, b->text + from_b, to - from);
}

/* A comment loses the blanks at its end. */
static uint32_t comment_end(const Tokens *t, const Comment *c) {
    uint32_t to = c->to;
    while (to > c->from && strchr(" \t\r", t->text[to - 1]))
        to--;
    return to;
}

static void compare(const Tokens *a, const Tokens *b) {
    bool same = a->n_tok == b->n_tok && a->n_com == b->n_com;
    for (uint32_t i = 0; same && i < a->n_tok; i++)
        same = a->tok[i].kind == b->tok[i].kind &&
               same_bytes(a, a->tok[i].from, a->tok[i].to, b, b->tok[i].from, b->tok[i].to);
    for (uint32_t i = 0; same && i < a->n_com; i++)
        same = a->com[i].next == b->com[i].next &&
               same_bytes(a, a->com[i].from, comment_end(a, &a->com[i]), b, b->com[i].from,
                          comment_end(b, &b->com[i]));
    if (!same)
        finding("other tokens or comments", b->text);
}

static void body(void *arg) {
    const Input *in = arg;
    Ctx *ctx = in->ctx;
    size_t n, m;
    uint32_t file = ctx_add_file(ctx, "fuzz.cnn", (const char *)in->data, in->size);
    const char *once = format_file(ctx, file, &n);
    if (!once)
        return;
    uint32_t again = ctx_add_file(ctx, "once.cnn", once, n);
    const char *twice = format_file(ctx, again, &m);
    if (!twice)
        finding("the result does not parse", once);
    else if (n != m || memcmp(once, twice, n))
        finding("formatting twice is not formatting once", once);
    compare(lex_file(ctx, file), lex_file(ctx, again));
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
