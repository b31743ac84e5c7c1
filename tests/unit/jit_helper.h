/* For tests of native code: a program in the language, compiled and opened. */
#ifndef CNNC_TESTS_JIT_HELPER_H
#define CNNC_TESTS_JIT_HELPER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/diag.h"
#include "codegen/codegen.h"
#include "driver/pool.h"
#include "frontend/frontend.h"
#include "frontend/parse.h"
#include "passes/pass.h"

/* The whole pipeline on a text that has no error. What `dumps` asks to print is added to it;
 * NULL: nothing is. */
static inline LoopModule *compile_groups(Ctx *ctx, const char *text, DType real, const Target *target,
                                         const PassOptions *dumps, int groups) {
    AstFile *file = parse_file(ctx, ctx_add_file(ctx, "test.cnn", text, strlen(text)));
    LowerOptions lower = {.real = real};
    Module *m = frontend_lower(ctx, &ctx->perm, file, &lower);
    if (diag_any_error(ctx)) {
        StrBuf sb = sb_new(&ctx->perm);
        diag_render_all(ctx, false, false, &sb);
        fail_msg("%s", sb.text);
    }
    Unit u = {
        .ctx = ctx, .arena = &ctx->perm, .graph = m, .target = target, .groups = groups, .rows = 16};
    PassOptions o = {.stop_after = NULL};
    const char *why = NULL;
    if (!pass_run(&u, dumps ? dumps : &o, &why))
        fail_msg("%s", why);
    return u.loops;
}

static inline LoopModule *compile_text(Ctx *ctx, const char *text, DType real, const Target *target,
                                       const PassOptions *dumps) {
    return compile_groups(ctx, text, real, target, dumps, 8);
}

/* A text with one entry, as code of this machine. */
static inline Jit *open_in_groups(Ctx *ctx, const char *text, DType real, const AbiEntry **entry,
                                  int groups) {
    LoopModule *m = compile_groups(ctx, text, real, codegen_host(ctx), NULL, groups);
    *entry = m->funcs.p[0]->entry;
    Jit *j = jit_open(ctx, m, &(CodegenOptions){.level = 2});
    assert_non_null(j);
    return j;
}

static inline Jit *open_text(Ctx *ctx, const char *text, DType real, const AbiEntry **entry) {
    return open_in_groups(ctx, text, real, entry, 8);
}

#endif
