/* A tile that does not fit the registers is seen in the code, and the next one is taken: a target's
 * row that promises more registers than there are stands for a choice that is too large. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "codegen/codegen.h"
#include "driver/session.h"
#include "frontend/frontend.h"
#include "frontend/parse.h"
#include "passes/pass.h"

enum { M = 83, K = 70, N = 150, ROUNDS = 12 };

static const char text[] = "def product(a: [83, 70], b: [70, 150]) -> [83, 150] = a @ b\n"
                           "def small(a: [3, 4]) -> [3, 4] = 2 * a\n";

static Unit passes(Ctx *ctx, const Target *target, const PassOptions *o) {
    AstFile *file = parse_file(ctx, ctx_add_file(ctx, "test.cnn", text, strlen(text)));
    LowerOptions lower = {.real = DT_F32};
    Module *m = frontend_lower(ctx, &ctx->perm, file, &lower);
    assert_false(diag_any_error(ctx));
    Unit u = {.ctx = ctx,
              .arena = &ctx->perm,
              .graph = m,
              .target = target,
              .groups = 8,
              .rows = 16,
              .keep_before_tile = true};
    const char *why = NULL;
    assert_true(pass_run(&u, o, &why));
    return u;
}

static const LoopFunc *func_named(const LoopModule *m, const char *name) {
    for (int k = 0; k < m->funcs.n; k++)
        if (strcmp(m->funcs.p[k]->name, name) == 0)
            return m->funcs.p[k];
    return NULL;
}

/* Every sum is exact on whole numbers. */
static void check_exact(Jit *j, const LoopModule *m) {
    static float a[M * K], b[K * N], got[M * N];
    for (int k = 0; k < M * K; k++)
        a[k] = (float)(k * 7 % 11 - 5);
    for (int k = 0; k < K * N; k++)
        b[k] = (float)(k * 5 % 13 - 6);
    const AbiEntry *e = func_named(m, "product")->entry;
    void *work = malloc(codegen_work_bytes(e, NULL, 0) + 1);
    CnncArg args[] = {{.p = NULL}, {.p = a}, {.p = b}, {.p = got}, {.p = work}};
    assert_int_equal(e->args.n, 5);
    assert_int_equal(jit_call(j, e->cname, args), 0);
    free(work);
    for (int i = 0; i < M; i++)
        for (int c = 0; c < N; c++) {
            float sum = 0;
            for (int k = 0; k < K; k++)
                sum += a[i * K + k] * b[k * N + c];
            assert_true(got[i * N + c] == sum);
        }
}

static int sums_of(const LoopModule *m) {
    assert_true(m->tiles.n > 0);
    return m->tiles.p[0].sums;
}

/* The rounds that a module takes; runs the code that is left. */
static int settle(const char *cpu, int registers, int *first, int *last) {
    Ctx *ctx = ctx_new(0);
    Target target = *target_named(cpu);
    target.registers = registers ? registers : target.registers;
    PassOptions po = {.stop_after = NULL};
    Unit u = passes(ctx, &target, &po);
    assert_non_null(u.before_tile);
    *first = sums_of(u.loops);
    int rounds = 0, n;
    const CodeObject *objects;
    CodegenOptions o = {.level = 2, .debug_lines = true, .trampolines = true};
    for (;; rounds++) {
        CodeSpills spills = {0};
        o.spills = &spills;
        objects = codegen_objects(ctx, &ctx->perm, u.loops, &o, &n);
        assert_non_null(objects);
        if (!spills.tiles.n)
            break;
        assert_true(rounds < ROUNDS);
        for (int k = 0; k < spills.tiles.n; k++)
            assert_string_equal(spills.tiles.p[k].name, "product");
        int before = sums_of(u.loops);
        LoopTile all[ROUNDS * 4];
        int total = u.n_spilled + spills.tiles.n;
        assert_true(total <= (int)(sizeof all / sizeof *all));
        for (int k = 0; k < total; k++)
            all[k] = k < u.n_spilled ? u.spilled[k] : spills.tiles.p[k - u.n_spilled];
        u.spilled = arena_dup(&ctx->perm, all, sizeof *all * (size_t)total);
        u.n_spilled = total;
        pass_again(&u, &po);
        assert_null(loop_verify(u.loops));
        assert_true(sums_of(u.loops) < before);
    }
    *last = sums_of(u.loops);
    o.spills = NULL;
    Jit *j = jit_open_objects(ctx, u.loops, &o, objects, n);
    assert_non_null(j);
    check_exact(j, u.loops);
    jit_close(j);
    ctx_free(ctx);
    return rounds;
}

static void the_next_tile_is_taken(void **state) {
    (void)state;
    static const struct {
        const char *cpu;
        int registers, too_many;
    } rows[] = {{"x86-64-v4", 32, 42}, {"x86-64-v3", 16, 26}, {"x86-64", 16, 26}};
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        int first, last;
        if ((k == 0 && !__builtin_cpu_supports("avx512vl")) ||
            (k == 1 && !__builtin_cpu_supports("avx2")))
            continue;
        /* as it is, nothing is done again */
        assert_int_equal(settle(rows[k].cpu, 0, &first, &last), 0);
        assert_int_equal(first, last);
        assert_true(settle(rows[k].cpu, rows[k].too_many, &first, &last) > 0);
        assert_true(first > rows[k].registers - 3);
        assert_true(last < rows[k].registers);
    }
}

/* A loop beside the tile, of its name, spills too: it would in every round. */
static void what_spills_again_and_is_no_tile_ends_the_rounds(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    PassOptions po = {.stop_after = NULL};
    Session s = {.ctx = ctx, .arena = &ctx->perm, .unit = passes(ctx, target_named("x86-64"), &po)};
    int first = sums_of(s.unit.loops);
    LoopTile spilled = s.unit.loops->tiles.p[0];
    CodeSpills spills = {0};
    assert_null(session_next_tiles(&s, &spills));
    vec_push(&ctx->perm, &spills.tiles, spilled);
    assert_non_null(session_next_tiles(&s, &spills));
    int second = sums_of(s.unit.loops);
    assert_true(second < first);
    assert_null(session_next_tiles(&s, &spills));
    assert_int_equal(sums_of(s.unit.loops), second);
    vec_push(&ctx->perm, &spills.tiles, ((LoopTile){spilled.name, second}));
    assert_non_null(session_next_tiles(&s, &spills));
    assert_true(sums_of(s.unit.loops) < second);
    ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_next_tile_is_taken),
        cmocka_unit_test(what_spills_again_and_is_no_tile_ends_the_rounds),
    };
    return cmocka_run_group_tests_name("tile_fallback", tests, NULL, NULL);
}
