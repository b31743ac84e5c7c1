/* For tests on loop IR text. */
#ifndef CNNC_TESTS_LOOP_HELPER_H
#define CNNC_TESTS_LOOP_HELPER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/diag.h"
#include "ir/loop.h"
#include "ir/target.h"

/* The module of a text; NULL after a diagnostic. */
static inline LoopModule *read_loops(Ctx *ctx, const char *text) {
    return loop_read(ctx, &ctx->perm, ctx_add_file(ctx, "test.ir", text, strlen(text)));
}

static inline LoopModule *must_read_loops(Ctx *ctx, const char *text) {
    LoopModule *m = read_loops(ctx, text);
    if (!m) {
        StrBuf sb = sb_new(&ctx->perm);
        diag_render_all(ctx, false, false, &sb);
        fail_msg("%s", sb.text);
    }
    return m;
}

static inline const char *loops_text(Ctx *ctx, const LoopModule *m) {
    StrBuf sb = sb_new(&ctx->perm);
    loop_print(&sb, m);
    return sb.text;
}

/* "E0801 3:7 message" of the first error; "" if there is none. */
static inline const char *first_error(Ctx *ctx) {
    Diags *d = diags_of(ctx);
    if (!d->all.n)
        return "";
    return str_fmt(ctx, "%s %u:%u %s", d->all.p[0]->code, d->all.p[0]->span.line,
                   d->all.p[0]->span.col, d->all.p[0]->message);
}

/* Runs function k of m; fails with the reason if it cannot run. */
static inline int run_loops(Ctx *ctx, const LoopModule *m, int k, const LoopArg *args) {
    const char *why = "";
    int status = loop_run(ctx, m, m->funcs.p[k], args, NULL, &why);
    if (status == INT_MIN)
        fail_msg("%s", why);
    return status;
}

#endif
