/* The plan of real programs: arenas are within 3 % of the most that lives at one time, in one dim and in several. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "base/diag.h"
#include "frontend/frontend.h"
#include "frontend/parse.h"
#include "passes/pass.h"
#include "passes/plan.h"

#define FOLDER CNNC_SOURCE_DIR "/examples"

static bool suffices(int64_t arena, int64_t live) { return arena >= live && (double)arena <= 1.03 * (double)live; }

static int check_file_on(Ctx *ctx, const char *name, const Target *target) {
    const char *path = str_fmt(ctx, FOLDER "/%s", name), *why = NULL;
    Arena arena;
    arena_init(&arena, ctx);
    static char text[1 << 16];
    FILE *in = fopen(path, "rb");
    assert_non_null(in);
    size_t len = fread(text, 1, sizeof text - 1, in);
    fclose(in);
    text[len] = 0;
    AstFile *file = parse_file(ctx, ctx_add_file(ctx, name, text, len));
    LowerOptions lower = {0};
    Module *m = frontend_lower(ctx, &arena, file, &lower);
    assert_false(diag_any_error(ctx));
    Unit u = {.ctx = ctx, .arena = &arena, .graph = m, .target = target, .groups = 8, .rows = 16};
    PassOptions o = {.stop_after = NULL};
    assert_true(pass_run(&u, &o, &why));
    int n = 0;
    for (int k = 0; k < u.loops->funcs.n; k++) {
        const LoopFunc *f = u.loops->funcs.p[k];
        static const int64_t rows[] = {64, 1000, 64, 1000, 200}, others[] = {24, 24, 64, 200, 1000};
        for (size_t j = 0; j < sizeof rows / sizeof *rows; j++, n++) {
            DimValue *dims = ARENA_ARRAY(&arena, DimValue, f->dims.n + 1);
            for (int d = 0; d < f->dims.n; d++)
                dims[d] = (DimValue){f->dims.p[d], d ? others[j] : rows[j]};
            PlanBytes b;
            assert_true(plan_bytes(u.loops, f, dims, f->dims.n, &b));
            if (!suffices(b.fixed, b.live_fixed) || !suffices(b.job, b.live_job))
                fail_msg("%s on %s, %s, %d rows: shared %lld for %lld, a job %lld for %lld", name, target->name, f->name, (int)rows[j],
                         (long long)b.fixed, (long long)b.live_fixed, (long long)b.job, (long long)b.live_job);
        }
    }
    arena_free(&arena);
    return n;
}

static void arenas_are_within_3_percent_of_the_bound(void **state) {
    (void)state;
    int n = 0;
    DIR *d = opendir(FOLDER);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        const char *dot = strrchr(e->d_name, '.');
        for (int k = 0; dot && strcmp(dot, ".cnn") == 0 && k < 2; k++) {
            Ctx *ctx = ctx_new(0);
            n += check_file_on(ctx, e->d_name, target_named(k ? "x86-64-v3" : "x86-64-v4"));
            ctx_free(ctx);
        }
    }
    closedir(d);
    assert_true(n > 500);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(arenas_are_within_3_percent_of_the_bound)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
