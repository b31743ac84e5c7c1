/* passes/tile*.c: which contractions become tiles, and that every sum keeps its bits. */
#include "loop_pass_helper.h"

#include <math.h>

static void tile_loops(Ctx *ctx, LoopModule *m) {
    Unit u = {
        .ctx = ctx, .arena = &ctx->perm, .loops = m, .target = m->target, .groups = 8, .rows = 16};
    ctx->running_pass = "tile";
    pass_tile(&u);
    ctx->running_pass = NULL;
    const char *why = loop_verify(m);
    if (why)
        fail_msg("%s\n%s", why, loops_text(ctx, m));
}

enum { CELLS = 1 << 16 };

/* Bytes of the caches (0: as they are); whole numbers, whose sums are exact in any order. */
typedef struct How {
    int64_t first, second;
    bool whole;
} How;

static void run_with_work(Ctx *ctx, LoopModule *m, const How *how, const int64_t *sizes,
                          float *out) {
    static float a[CELLS], b[CELLS], work[1 << 18];
    for (int k = 0; k < CELLS; k++) {
        a[k] = (float)(k * 7 % 11 - 5) / (how->whole ? 1 : 3);
        b[k] = (float)(k * 5 % 13 - 6) / (how->whole ? 1 : 7);
        out[k] = (float)(k % 3);
    }
    for (size_t k = 0; k < sizeof work / sizeof *work; k++)
        work[k] = NAN; /* what is read was written */
    loop_assign_offsets(m);
    const LoopArg args[] = {{.i = sizes[0]}, {.i = sizes[1]}, {.p = a},
                            {.p = b},        {.p = out},      {.p = work}};
    assert_int_equal(run_loops(ctx, m, 0, args), 0);
}

/* The same bits before and after for every target; for x86-64-v4 the text has the parts. */
static void check_with(How how, const char *bufs, const char *body, const char *const *parts) {
    int n_targets;
    const Target *targets = target_all(&n_targets);
    for (int t = 0; t < n_targets; t++) {
        Ctx *ctx = ctx_new(0);
        const char *text = program(ctx, bufs, body);
        LoopModule *before = must_read_loops(ctx, text), *after = must_read_loops(ctx, text);
        Target target = targets[t];
        target.l1_bytes = how.first ? how.first : target.l1_bytes;
        target.l2_bytes = how.second ? how.second : target.l2_bytes;
        after->target = &target;
        tile_loops(ctx, after);
        const char *got = loops_text(ctx, after);
        for (int k = 0; strcmp(targets[t].name, "x86-64-v4") == 0 && parts[k]; k++)
            if (!strstr(got, parts[k]))
                fail_msg("no `%s` in\n%s", parts[k], got);
        assert_non_null(must_read_loops(ctx, got));
        static float x[CELLS], y[CELLS];
        static const int64_t sizes[][2] = {{1, 5}, {15, 16}, {3, 33}};
        for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
            run_with_work(ctx, before, &how, sizes[k], x);
            run_with_work(ctx, after, &how, sizes[k], y);
            for (int j = 0; j < CELLS; j++)
                if (memcmp(&x[j], &y[j], sizeof(float)) != 0)
                    fail_msg("%s: out[%d] is %g, was %g, with M = %d, N = %d\n%s", targets[t].name,
                             j, (double)y[j], (double)x[j], (int)sizes[k][0], (int)sizes[k][1],
                             got);
        }
        ctx_free(ctx);
    }
}

static void check(const char *bufs, const char *body, const char *const *parts) {
    check_with((How){0}, bufs, body, parts);
}

static void stays(const char *bufs, const char *body) {
    Ctx *ctx = ctx_new(0);
    const char *text = program(ctx, bufs, body);
    LoopModule *m = must_read_loops(ctx, text);
    const char *before = loops_text(ctx, m);
    tile_loops(ctx, m);
    assert_string_equal(before, loops_text(ctx, m));
    ctx_free(ctx);
}

#define SUM(indices, a_at, b_at)                                                                   \
    "%1 = f32 0.0\n%2 = for k in 0..20 with %3 = %1 {\n%4 = load f32 a[" a_at                      \
    "]\n%5 = load f32 b[" b_at "]\n%6 = fma(%4, %5, %3)\nyield %6\n}\nstore out[" indices "] = "   \
    "%2\n"

static void products_of_matrices(void **state) {
    (void)state;
    check("buf a f32[M, 20] = arg 2 at 0\nbuf b f32[20, N] = arg 3 at 0\n"
          "buf out f32[M, N] = arg 4 at 0 written",
          "for i in 0..M {\nfor j in 0..N {\n" SUM("i, j", "i, k", "k, j") "}\n}",
          PARTS("f32x16", "a.p[", "b.p[", "in 0..M - "));
    /* transposed: the vectors run along the axis that the result has last */
    check("buf a f32[20, M] = arg 2 at 0\nbuf b f32[N, 20] = arg 3 at 0\n"
          "buf out f32[M, N] = arg 4 at 0 written",
          "for i in 0..M {\nfor j in 0..N {\n" SUM("i, j", "k, i", "j, k") "}\n}",
          PARTS("store out["));
    /* constant extents with rows and lanes left over */
    check("buf a f32[37, 20] = arg 2 at 0\nbuf b f32[20, 50] = arg 3 at 0\n"
          "buf out f32[37, 50] = arg 4 at 0 written",
          "for i in 0..37 {\nfor j in 0..50 {\n" SUM("i, j", "i, k", "k, j") "}\n}",
          PARTS("active 50 - "));
    /* the last block of three vectors has one */
    check("buf a f32[40, 20] = arg 2 at 0\nbuf b f32[20, 196] = arg 3 at 0\n"
          "buf out f32[40, 196] = arg 4 at 0 written",
          "for i in 0..40 {\nfor j in 0..196 {\n" SUM("i, j", "i, k", "k, j") "}\n}",
          PARTS(", 4) {", ", 4)..min(", "active 196 - "));
    /* a batch of products, from 1 on */
    check("buf a f32[4, 17, 20] = arg 2 at 0\nbuf b f32[4, 20, 33] = arg 3 at 0\n"
          "buf out f32[4, 17, 33] = arg 4 at 0 written",
          "for h in 1..4 {\nfor i in 0..17 {\nfor j in 0..33 {\n" SUM("h, i, j", "h, i, k",
                                                                      "h, k, j") "}\n}\n}",
          PARTS("for h in 1..4"));
}

static void starts_and_epilogues(void **state) {
    (void)state;
    const char *bufs = "buf a f32[37, 20] = arg 2 at 0\nbuf b f32[20, 50] = arg 3 at 0\n"
                       "buf out f32[37, 50] = arg 4 at 0 written";
    check(bufs,
          "for i in 0..37 {\nfor j in 0..50 {\n%1 = load f32 out[i, j]\n%2 = for k in 0..20 with "
          "%3 = %1 {\n%4 = load f32 a[i, k]\n%5 = load f32 b[k, j]\n%6 = fma(%4, %5, %3)\nyield "
          "%6\n}\nstore out[i, j] = %2\n}\n}",
          PARTS("load f32x16 out["));
    check(bufs,
          "for i in 0..37 {\nfor j in 0..50 {\n%1 = f32 1.0\n%2 = for k in 0..20 with "
          "%3 = %1 {\n%4 = load f32 a[i, k]\n%5 = load f32 b[k, j]\n%6 = mul(%5, %4)\n%7 = add(%3, "
          "%6)\nyield %7\n}\n%8 = load f32 b[3, j]\n%9 = add(%2, %8)\n%10 = f32 0.0\n"
          "%11 = max(%9, %10)\nstore out[i, j] = %11\n}\n}",
          PARTS("mul(", "max("));
}

/* A sum that is too long for the first cache goes by chunks, which start from memory; where that is
 * a zero, the first one does not read it. */
static void long_reductions(void **state) {
    (void)state;
    const char *bufs = "buf a f32[37, 157] = arg 2 at 0\nbuf b f32[157, 130] = arg 3 at 0\n"
                       "buf out f32[37, 130] = arg 4 at 0 written";
#define LONG(start, end)                                                                           \
    "for i in 0..37 {\nfor j in 0..130 {\n" start                                                  \
    "\n%2 = for k in 0..157 with %3 = %1 {\n%4 = load f32 a[i, k]\n%5 = load f32 b[k, j]\n"        \
    "%6 = fma(%4, %5, %3)\nyield %6\n}\n" end "}\n}"
    check_with(
        (How){.first = 2048}, bufs, LONG("%1 = f32 0.0", "store out[i, j] = %2\n"),
        PARTS("for kb in 0..3 {", "b.p[kb, ", "(kb + 2) // 3", "+ 64*kb]", "a.p[", "ahead 512"));
    check_with((How){.first = 2048}, bufs, LONG("%1 = f32 0.5", "store out[i, j] = %2\n"),
               PARTS("for kb in 0..3 {", "store out[i, lane]"));
    check_with((How){.first = 2048}, bufs,
               LONG("%1 = load f32 out[i, j]",
                    "%7 = load f32 b[3, j]\n%8 = add(%2, %7)\nstore out[i, j] = %8\n"),
               PARTS("for kb in 0..3 {", "= load f32x16 out["));
#undef LONG
    /* blocks of rows of an extent that is not known, whole lanes and chunks; a batch outside */
    check_with(
        (How){.first = 2048},
        "buf a f32[M, 192] = arg 2 at 0\nbuf b f32[192, 128] = arg 3 at 0\n"
        "buf out f32[M, 128] = arg 4 at 0 written",
        "for i in 0..M {\nfor j in 0..128 {\n%1 = f32 0.0\n%2 = for k in 0..192 with %3 = %1 "
        "{\n%4 = load f32 a[i, k]\n%5 = load f32 b[k, j]\n%6 = fma(%4, %5, %3)\nyield "
        "%6\n}\nstore out[i, j] = %2\n}\n}",
        PARTS("for kb in 0..3 {"));
    check_with((How){.first = 2048},
               "buf a f32[3, 17, 157] = arg 2 at 0\nbuf b f32[3, 157, 130] = arg 3 at 0\n"
               "buf out f32[3, 17, 130] = arg 4 at 0 written",
               "for h in 0..3 {\nfor i in 0..17 {\nfor j in 0..130 {\n%1 = f32 0.0\n%2 = for k in "
               "0..157 with %3 = %1 {\n%4 = load f32 a[h, i, k]\n%5 = load f32 b[h, k, j]\n%6 = "
               "fma(%4, %5, %3)\nyield %6\n}\nstore out[h, i, j] = %2\n}\n}\n}",
               PARTS("for kb in 0.."));
    /* an extent that is not known: jobs have sums of their own, which are added in order */
    const char *sums = "for i in 0..48 {\nfor j in 0..48 {\n%1 = f32 0.0\n%2 = for m in 0..M with "
                       "%3 = %1 {\n%4 = for k in 0..64 with %5 = %3 {\n%6 = load f32 a[m, k, i]\n"
                       "%7 = load f32 b[m, k, j]\n%8 = fma(%6, %7, %5)\nyield %8\n}\nyield "
                       "%4\n}\nstore out[i, j] = %2\n}\n}";
    check_with((How){.whole = true},
               "buf a f32[M, 64, 48] = arg 2 at 0\nbuf b f32[M, 64, 48] = arg 3 at 0\n"
               "buf out f32[48, 48] = arg 4 at 0 written",
               sums, PARTS("part f32[8, 48, 48] = work", "ordered", "64*M - ", "ahead 768"));
}

/* Factors that leave the second cache: each job packs columns of its own, and rows are read where
 * they lie. */
static void products_by_columns(void **state) {
    (void)state;
#define LARGE(start, a_at, end)                                                                    \
    "for i in 0..37 {\nfor j in 0..1040 {\n" start                                                 \
    "\n%2 = for k in 0..60 with %3 = %1 {\n%4 = load f32 a[" a_at "]\n%5 = load f32 b[k, j]\n"     \
    "%6 = fma(%4, %5, %3)\nyield %6\n}\n" end "}\n}"
    const char *bufs = "buf a f32[37, 60] = arg 2 at 0\nbuf b f32[60, 1040] = arg 3 at 0\n"
                       "buf out f32[37, 1040] = arg 4 at 0 written",
               *plain = LARGE("%1 = f32 0.0", "i, k", "store out[i, j] = %2\n");
    check_with((How){.second = 65536}, bufs, plain,
               PARTS("b.p f32[2, 60, 48] = job", "for jg in 3*job // 8 + job..", "a[8*ib + 7, k]",
                     "ahead 256"));
    /* a sum that is too long for the second cache goes by chunks */
    check_with((How){.second = 16384}, bufs, plain,
               PARTS("for kb in 0..", "= job", "(kb + ", "= load f32x16 out[", ", k]"));
    check_with((How){.second = 16384}, bufs,
               LARGE("%1 = load f32 out[i, j]", "i, k", "store out[i, j] = %2\n"),
               PARTS("for kb in 0..", "= job"));
    check_with((How){.second = 65536}, bufs,
               LARGE("%1 = f32 0.5", "i, k",
                     "%7 = load f32 b[3, j]\n%8 = add(%2, %7)\nstore out[i, j] = %8\n"),
               PARTS("= job", "a[8*ib + 7, k]"));
    /* steps of the sum far apart: such rows are packed */
    check_with((How){.second = 65536},
               "buf a f32[60, 37] = arg 2 at 0\nbuf b f32[60, 1040] = arg 3 at 0\n"
               "buf out f32[37, 1040] = arg 4 at 0 written",
               LARGE("%1 = f32 0.0", "k, i", "store out[i, j] = %2\n"), PARTS("a.p[", "b.p["));
#undef LARGE
}

/* Few rows take the factor that they share from where it is; the last block of rows is padded. */
static void few_rows_of_a_large_matrix(void **state) {
    (void)state;
    check_with((How){.second = 16384},
               "buf a f32[M, 60] = arg 2 at 0\nbuf b f32[60, 128] = arg 3 at 0\n"
               "buf out f32[M, 128] = arg 4 at 0 written",
               "for i in 0..M {\nfor j in 0..128 {\n%1 = f32 0.0\n%2 = for k in 0..60 with %3 = %1 "
               "{\n%4 = load f32 a[i, k]\n%5 = load f32 b[k, j]\n%6 = fma(%4, %5, %3)\nyield "
               "%6\n}\n%7 = load f32 b[3, j]\n%8 = add(%2, %7)\nstore out[i, j] = %8\n}\n}",
               PARTS("i64 80", "b.p[", "load f32x16 b[k, 32*jb] ahead 2048", "in 0..(M + 7) // 8",
                     "active 16*M - 128*ib"));
    /* from 24 on, jobs pack columns of their own */
    check_with((How){.second = 65536},
               "buf a f32[N, 60] = arg 2 at 0\nbuf b f32[60, 512] = arg 3 at 0\n"
               "buf out f32[N, 512] = arg 4 at 0 written",
               "for i in 0..N {\nfor j in 0..512 {\n%1 = f32 0.0\n%2 = for k in 0..60 with %3 = %1 "
               "{\n%4 = load f32 a[i, k]\n%5 = load f32 b[k, j]\n%6 = fma(%4, %5, %3)\nyield "
               "%6\n}\n%7 = load f32 b[3, j]\n%8 = add(%2, %7)\nstore out[i, j] = %8\n}\n}",
               PARTS("i64 1024", "i64 24", "f32[60, 64] = job", "f32[(N + 5) // 6, 60, 6] = work"));
    check_with((How){.second = 16384},
               "buf a f32[N, 60] = arg 2 at 0\nbuf b f32[60, 512] = arg 3 at 0\n"
               "buf out f32[N, 512] = arg 4 at 0 written",
               "for i in 0..N {\nfor j in 0..512 {\n%1 = load f32 out[i, j]\n%2 = for k in 0..60 "
               "with %3 = %1 {\n%4 = load f32 a[i, k]\n%5 = load f32 b[k, j]\n%6 = fma(%4, %5, "
               "%3)\nyield %6\n}\nstore out[i, j] = %2\n}\n}",
               PARTS("i64 1024", "i64 24", "] = job"));
}

/* A sum of which the dims say how many terms it has: chunks would add all of them. */
static void sums_that_end_early_have_no_chunks(void **state) {
    (void)state;
    check_with((How){.second = 16384},
               "buf a f32[N, 60] = arg 2 at 0\nbuf b f32[60, 512] = arg 3 at 0\n"
               "buf out f32[N, 512] = arg 4 at 0 written",
               "for i in 0..N {\nfor j in 0..512 {\n%1 = load f32 out[i, j]\n%2 = for k in "
               "0..min(60, N) with %3 = %1 {\n%4 = load f32 a[i, k]\n%5 = load f32 b[k, j]\n"
               "%6 = fma(%4, %5, %3)\nyield %6\n}\nstore out[i, j] = %2\n}\n}",
               PARTS("i64 80", "in 0..min("));
}

#define POINT(out_at, a_at, b_at)                                                                  \
    "%8 = load f32 a[" a_at "]\n%9 = load f32 b[" b_at                                             \
    "]\n%10 = fma(%8, %9, %7)\nyield %10\n}\nyield %6\n}\nyield %4\n}\nstore out[" out_at          \
    "] = %2\n"

static void convolutions(void **state) {
    (void)state;
    /* padding: the first and the last rows have bounds of their own */
    check("buf a f32[2, 5, 9, 9] = arg 2 at 0\nbuf b f32[33, 5, 3, 3] = arg 3 at 0\n"
          "buf out f32[2, 33, 9, 9] = arg 4 at 0 written",
          "for n in 0..2 {\nfor o in 0..33 {\nfor i in 0..9 {\nfor j in 0..9 {\n%1 = f32 0.0\n"
          "%2 = for c in 0..5 with %3 = %1 {\n%4 = for s in max(1 - i, 0)..min(10 - i, 3) with %5 "
          "= %3 {\n%6 = for t in max(1 - j, 0)..min(10 - j, 3) with %7 = %5 {\n" POINT(
              "n, o, i, j", "n, c, s + i - 1, t + j - 1", "o, c, s, t") "}\n}\n}\n}",
          PARTS("c, s, 0, 0]", "c, s, 2, 0] again"));
    /* stride 2, dilation 2, an axis that is wider than what is read, groups of channels */
    check("buf a f32[1, 16, 14, 15] = arg 2 at 0\nbuf b f32[2, 31, 8, 3, 4] = arg 3 at 0\n"
          "buf out f32[2, 31, 6, 6] = arg 4 at 0 written",
          "for g in 0..2 {\nfor o in 0..31 {\nfor i in 0..6 {\nfor j in 0..6 {\n%1 = f32 0.0\n"
          "%2 = for c in 0..8 with %3 = %1 {\n%4 = for s in 0..2 with %5 "
          "= %3 {\n%6 = for t in max(2 - 2*j, 0)..min(16 - 2*j, 3) with %7 = %5 {\n" POINT(
              "g, o, i, j", "0, 8*g + c, 2*i + 2*s, t + 2*j - 2", "g, o, c, s, t") "}\n}\n}\n}",
          PARTS("f32x16"));
    /* backward-weights: rows of images outside, sums in memory */
    check("buf a f32[M, 31, 7, 7] = arg 2 at 0\nbuf b f32[M, 8, 7, 7] = arg 3 at 0\n"
          "buf out f32[31, 8, 3, 3] = arg 4 at 0 written",
          "for o in 0..31 {\nfor c in 0..8 {\nfor s in 0..3 {\nfor t in 0..3 {\n%1 = f32 0.0\n"
          "%2 = for n in 0..M with %3 = %1 {\n%4 = for i in max(1 - s, 0)..min(8 - s, 7) with %5 "
          "= %3 {\n%6 = for j in max(1 - t, 0)..min(8 - t, 7) with %7 = %5 {\n" POINT(
              "o, c, s, t", "n, o, i, j", "n, c, s + i - 1, t + j - 1") "}\n}\n}\n}",
          PARTS("sums[", "f32[8, 7, 7, 16] = job", "for nb in 0..(M + 7) // 8",
                "for n in 8*nb..min(8*nb + 8, M)"));
}

static void strides(void **state) {
    (void)state;
    /* a factor of which every other element is read is copied, and two loops become one */
    check("buf a f32[M, 20, 10, 10] = arg 2 at 0\nbuf b f32[33, 20] = arg 3 at 0\n"
          "buf out f32[M, 33, 5, 5] = arg 4 at 0 written",
          "for n in 0..M {\nfor o in 0..33 {\nfor i in 0..5 {\nfor j in 0..5 {\n" SUM(
              "n, o, i, j", "n, k, 2*i, 2*j", "o, k") "}\n}\n}\n}",
          PARTS("f32[M, 20, 5, 5] = work", "f32[M, 33, 25] = alias out"));
    /* each job copies what it reads */
    check_with((How){.second = 4096},
               "buf a f32[M, 20, 12, 12] = arg 2 at 0\nbuf b f32[48, 20] = arg 3 at 0\n"
               "buf out f32[M, 48, 6, 6] = arg 4 at 0 written",
               "for n in 0..M {\nfor o in 0..48 {\nfor i in 0..6 {\nfor j in 0..6 {\n" SUM(
                   "n, o, i, j", "n, k, 2*i, 2*j", "o, k") "}\n}\n}\n}",
               PARTS("f32[6, 6] = job", "f32[7, 20, 6, 6] = work"));
    /* along reductions */
    check("buf a f32[M, 40, 10, 10] = arg 2 at 0\nbuf b f32[M, 36, 5, 5] = arg 3 at 0\n"
          "buf out f32[36, 40] = arg 4 at 0 written",
          "for o in 0..36 {\nfor c in 0..40 {\n%1 = f32 0.0\n%2 = for n in 0..1 with %3 = %1 {\n"
          "%4 = for i in 0..5 with %5 = %3 {\n%6 = for j in 0..5 with %7 = %5 {\n" POINT(
              "o, c", "n, c, 2*i, 2*j", "n, o, i, j") "}\n}",
          PARTS("f32[1, 40, 5, 5] = work", "in 0..25"));
    /* along the rows: each is copied, packed and forgotten */
    check("buf a f32[M, 20, 10, 10] = arg 2 at 0\nbuf b f32[M, 36, 5, 5] = arg 3 at 0\n"
          "buf out f32[36, 20] = arg 4 at 0 written",
          "for o in 0..36 {\nfor c in 0..20 {\n%1 = f32 0.0\n%2 = for n in 0..M with %3 = %1 {\n"
          "%4 = for i in 0..5 with %5 = %3 {\n%6 = for j in 0..5 with %7 = %5 {\n" POINT(
              "o, c", "n, c, 2*i, 2*j", "n, o, i, j") "}\n}",
          PARTS("f32[20, 5, 5] = job", "parallel"));
    /* a result between whose cells a constant stands */
    const char *bufs = "buf a f32[M, 40, 5, 5] = arg 2 at 0\nbuf b f32[40, 20] = arg 3 at 0\n"
                       "buf out f32[M, 20, 10, 10] = arg 4 at 0 written";
    const char *body =
        "for n in 0..M {\nfor o in 0..20 {\nfor i in 0..10 {\nfor j in 0..10 {\n%1 = f32 0.5\n"
        "store out[n, o, i, j] = %1\n}\n}\n}\n}\n"
        "for n in 0..M {\nfor o in 0..20 {\nfor i in 0..5 {\nfor j in 0..5 {\n"
        "%2 = load f32 out[n, o, 2*i, 2*j]\n%3 = for k in 0..40 with %4 = %2 {\n"
        "%5 = load f32 a[n, k, i, j]\n%6 = load f32 b[k, o]\n%7 = fma(%5, %6, %4)\nyield %7\n}\n"
        "store out[n, o, 2*i, 2*j] = %3\n}\n}\n}\n}";
    check(bufs, body, PARTS("f32[M, 20, 5, 5] = work", "= zip_low(", "f32x16 0.5"));
    check_with((How){.second = 4096}, bufs, body, PARTS("f32[20, 5, 5] = job", "f32x16 0.5"));
}

/* A dense copy of one row was packed as if it were a block of rows, where the index that is packed
 * along is the one that goes by steps. */
static void copies_have_the_rows_that_are_packed(void **state) {
    (void)state;
    check_with(
        (How){.whole = true},
        "buf a f32[33, 16, 12] = arg 2 at 0\nbuf b f32[16, 12, 2*M] = arg 3 at 0\n"
        "buf out f32[17, M] = arg 4 at 0 written",
        "for i in 0..17 {\nfor j in 0..M {\n%1 = f32 0.0\n%2 = for k in 0..16 with %3 = %1 {\n"
        "%4 = for l in 0..12 with %5 = %3 {\n%6 = load f32 a[2*i, k, 11 - l]\n"
        "%7 = load f32 b[k, l, 2*j]\n%8 = fma(%6, %7, %5)\nyield %8\n}\nyield %4\n}\n"
        "store out[i, j] = %2\n}\n}",
        PARTS("f32[17, 16, 12] = work"));
}

/* A dense copy went over all values that a reduction might have, and read past the end of the
 * operand where a condition leaves some of them out. */
static void copies_read_what_the_nest_reads(void **state) {
    (void)state;
    check("buf a f32[M, N, 10, 10] = arg 2 at 0\nbuf b f32[33, 20] = arg 3 at 0\n"
          "buf out f32[M, 33, 5, 5] = arg 4 at 0 written",
          "for n in 0..M {\nfor o in 0..33 {\nfor i in 0..5 {\nfor j in 0..5 {\n"
          "%1 = f32 0.0\n%2 = for k in 0..min(20, N) with %3 = %1 {\n"
          "%4 = load f32 a[n, k, 2*i, 2*j]\n%5 = load f32 b[o, k]\n%6 = fma(%4, %5, %3)\n"
          "yield %6\n}\nstore out[n, o, i, j] = %2\n}\n}\n}\n}",
          PARTS("b.p["));
}

/* Memory of jobs was too small where their loop stands in a condition. */
static void jobs_in_a_condition_have_memory(void **state) {
    (void)state;
    Ctx *ctx = ctx_new(0);
    const char *text =
        program(ctx,
                "buf a f32[M, 20, 9216] = arg 2 at 0\nbuf b f32[64, 20] = arg 3 at 0\n"
                "buf out f32[M, 64, 9216] = arg 4 at 0 written",
                "for n in 0..M {\nfor o in 0..64 {\nfor i in 0..9216 {\n" SUM("n, o, i", "n, k, i",
                                                                              "o, k") "}\n}\n}");
    LoopModule *m = must_read_loops(ctx, text);
    tile_loops(ctx, m);
    const char *got = loops_text(ctx, m);
    assert_non_null(strstr(got, "\n  if %"));
    assert_non_null(strstr(got, "= job"));
    loop_assign_offsets(m);
    int64_t jobs = 0;
    assert_true(dim_is_const(m->funcs.p[0]->jobs, &jobs));
    assert_int_equal(jobs, 8);
    ctx_free(ctx);
}

static void what_is_no_contraction(void **state) {
    (void)state;
    /* little work; a product that is not summed by itself; the result among the factors */
    stays("buf a f32[4, 20] = arg 2 at 0\nbuf b f32[20, 4] = arg 3 at 0\n"
          "buf out f32[4, 4] = arg 4 at 0 written",
          "for i in 0..4 {\nfor j in 0..4 {\n" SUM("i, j", "i, k", "k, j") "}\n}");
    stays("buf a f32[M, 20] = arg 2 at 0\nbuf b f32[M, 20] = arg 3 at 0\n"
          "buf out f32[M, N] = arg 4 at 0 written",
          "for i in 0..M {\nfor j in 0..N {\n" SUM("i, j", "i, k", "i, k") "}\n}");
    stays(
        "buf a f32[M, 20] = arg 2 at 0\nbuf b f32[20, N] = arg 3 at 0\n"
        "buf out f32[M, N] = arg 4 at 0 written",
        "for i in 0..M {\nfor j in 0..N {\n%1 = f32 0.0\n%2 = for k in 0..20 with %3 = %1 {\n%4 = "
        "load f32 out[i, k]\n%5 = load f32 b[k, j]\n%6 = fma(%4, %5, %3)\nyield %6\n}\nstore "
        "out[i, j] = %2\n}\n}");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_of_matrices),
        cmocka_unit_test(starts_and_epilogues),
        cmocka_unit_test(long_reductions),
        cmocka_unit_test(products_by_columns),
        cmocka_unit_test(sums_that_end_early_have_no_chunks),
        cmocka_unit_test(few_rows_of_a_large_matrix),
        cmocka_unit_test(convolutions),
        cmocka_unit_test(strides),
        cmocka_unit_test(copies_read_what_the_nest_reads),
        cmocka_unit_test(copies_have_the_rows_that_are_packed),
        cmocka_unit_test(jobs_in_a_condition_have_memory),
        cmocka_unit_test(what_is_no_contraction),
    };
    return cmocka_run_group_tests_name("tile", tests, NULL, NULL);
}
