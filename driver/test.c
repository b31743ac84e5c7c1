/* cnnc test FILE: the test blocks, each compiled and run; exit status 4 if an expectation does not hold. */
#include <stdio.h>
#include <string.h>

#include "driver/call.h"

/* The text of a test entry's results: one bool an argument. */
static void run_test(Session *s, Program *p, const LoopFunc *f, int *passed, int *failed) {
    DimEnv env = {0};
    Call c = call_new(p, f, &env);
    uint8_t held[64] = {0};
    int n = 0, wrong = 0;
    for (int k = 0; k < f->entry->args.n && n < 64; k++)
        if (f->entry->args.p[k].kind == ARG_OUT)
            c.args[k].p = &held[n++];
    int status = call_run(&c);
    if (status) {
        diag_error(s->ctx, "E1301", f->span, "test \"%s\": %s", f->entry->decl, call_status(p, status));
        wrong = 1;
    }
    for (int k = 0, out = 0; k < f->entry->args.n && !status; k++) {
        const AbiArg *a = &f->entry->args.p[k];
        if (a->kind != ARG_OUT || held[out++])
            continue;
        Span at = f->span;
        unsigned line, col;
        if (sscanf(call_arg_buf(f, k)->name, "%u:%u", &line, &col) == 2)
            at = (Span){f->span.file, line, col, line, col + 6}; /* the word expect */
        diag_error(s->ctx, "E1302", at, "test \"%s\": this expectation does not hold", f->entry->decl);
        wrong++;
    }
    *passed += wrong == 0;
    *failed += wrong != 0;
    sb_printf(&s->out, "%s  %s\n", wrong ? "FAIL" : "ok  ", f->entry->decl);
}

void command_test(Session *s) {
    Program p = {0};
    int passed = 0, failed = 0;
    if (s->args.n != 2) {
        session_usage(s, "`cnnc test` wants a file");
        return;
    }
    AstFile *file = session_parse(s, s->args.p[1]);
    if (!file)
        return;
    LowerOptions o = session_lower_options(s, NULL);
    Module *m = s->status ? NULL : frontend_tests(s->ctx, s->arena, file, &o);
    if (!m || diag_any_error(s->ctx)) {
        session_fail(s, EXIT_PROGRAM);
        return;
    }
    if (program_open_module(s, &p, m, NULL))
        for (int k = 0; k < p.m->funcs.n; k++)
            run_test(s, &p, p.m->funcs.p[k], &passed, &failed);
    program_close(&p);
    sb_printf(&s->out, "%d passed, %d failed\n", passed, failed);
    if (failed)
        session_fail(s, EXIT_CHECK);
}
