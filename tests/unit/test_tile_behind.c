/* The tiles of one part of a factor that is walked over sparsely copy the rows of the next part.
 * Native code gives what the definition says, on whole numbers, for few images and many, whatever
 * parts, blocks and rows are the last ones, and whatever job comes first. */
#include "jit_helper.h"

#include <stdlib.h>

#include "tests/execs.h"

enum { MOST = 17 };

typedef struct Case {
    const char *name;
    int c, o, rows, columns, step, from; /* x is read at step*i + from */
    bool wide;                           /* vectors of 16 run along the pixels, too */
} Case;

static const Case cases[] = {
    {"the last part has fewer rows", 32, 64, 28, 28, 2, 0, true},
    {"all rows are whole vectors", 32, 96, 28, 32, 2, 0, true},
    {"the last vector has few lanes", 64, 80, 10, 10, 2, 1, false},
    {"every third pixel", 24, 96, 16, 16, 3, 0, false},
    {"two rows are a vector", 32, 128, 24, 20, 3, 1, false},
    {"every fourth pixel", 64, 100, 12, 10, 4, 0, false},
};

static int side(int n, const Case *y) { return y->step * (n - 1) + y->from + 1; }

static float *whole_numbers(int n, unsigned seed) {
    float *x = malloc(sizeof *x * (size_t)n); /* no element more: a sanitizer sees what is read */
    assert_non_null(x);
    for (int k = 0; k < n; k++) {
        seed = seed * 1664525u + 1013904223u;
        x[k] = (float)(int)(seed >> 28) - 7;
    }
    return x;
}

static void reference(const Case *y, const float *x, const float *w, float *out) {
    int h = side(y->rows, y), l = side(y->columns, y);
    for (int n = 0; n < MOST; n++)
        for (int o = 0; o < y->o; o++)
            for (int i = 0; i < y->rows; i++)
                for (int j = 0; j < y->columns; j++) {
                    float sum = 0;
                    for (int c = 0; c < y->c; c++)
                        sum += x[((n * y->c + c) * h + y->step * i + y->from) * l + y->step * j +
                                 y->from] *
                               w[o * y->c + c];
                    *out++ = sum;
                }
}

static const char *text_of(Ctx *ctx, const Case *y) {
    return str_fmt(ctx,
                   "def f[N](x: [N, %d, %d, %d], w: [%d, %d]) -> [N, %d, %d, %d] =\n"
                   "  for n < N, o < %d, i < %d, j < %d =>\n"
                   "    sum(for c < %d => x[n, c, %d*i + %d, %d*j + %d] * w[o, c])\n",
                   y->c, side(y->rows, y), side(y->columns, y), y->o, y->c, y->o, y->rows,
                   y->columns, y->o, y->rows, y->columns, y->c, y->step, y->from, y->step, y->from);
}

/* A program of N images, what it is given, and what it gives for MOST of them: `cells` numbers an
 * image. */
typedef struct Program {
    const char *text;
    const float *in[3];
    int n_in;
    const float *want;
    int cells;
    bool sums; /* over the images: wanted are those of the first one, of the first two, ... */
    int64_t l2_bytes; /* or 0 */
} Program;

/* On one thread, and by jobs that begin with the last one. */
static void call(Jit *j, const AbiEntry *e, const Program *p, int images, const char *what) {
    const Exec backwards = {.threads = 2, .run = jobs_backwards};
    DimValue dims[1] = {{e->args.p[1].dim, images}};
    for (int jobs = 0; jobs < 2; jobs++) {
        void *work = malloc(codegen_work_bytes(e, dims, 1) + 1);
        int cells = p->sums ? p->cells : images * p->cells;
        const float *want = p->sums ? p->want + (images - 1) * p->cells : p->want;
        float *got = whole_numbers(cells, 5);
        CnncArg args[7] = {{.p = jobs ? &backwards : NULL}, {.i = images}};
        int n = 2;
        for (int k = 0; k < p->n_in; k++)
            args[n++].p = p->in[k];
        args[n++].p = got;
        args[n++].p = work;
        assert_int_equal(e->args.n, n);
        assert_int_equal(jit_call(j, e->cname, args), 0);
        if (memcmp(got, want, sizeof *got * (size_t)cells) != 0)
            fail_msg("%s: wrong with %d images", what, images);
        free(got);
        free(work);
    }
}

static void check_program(Ctx *ctx, const Case *y, const char *cpu, const Program *p) {
    static const int calls[] = {1, 7, 8, 9, MOST};
    const char *what = str_fmt(ctx, "%s, %s", y->name, cpu);
    Target target = *target_named(cpu);
    if (p->l2_bytes)
        target.l2_bytes = p->l2_bytes;
    LoopModule *m = compile_text(ctx, p->text, DT_F32, &target, NULL);
    StrBuf sb = sb_new(&ctx->perm);
    loop_print_func(&sb, m, m->funcs.p[0]);
    if ((y->wide || strcmp(cpu, "x86-64-v4") != 0) && !strstr(sb.text, "for time in"))
        fail_msg("%s: nothing is moved by the tiles", what);
    Jit *j = jit_open(ctx, m, &(CodegenOptions){.level = 2});
    for (size_t k = 0; k < sizeof calls / sizeof *calls; k++)
        call(j, m->funcs.p[0]->entry, p, calls[k], what);
    jit_close(j);
}

typedef void Check(const Case *y, const char *cpu);

static void on_every_cpu(Check *check, const Case *all, size_t n) {
    for (size_t k = 0; k < n; k++) {
        check(&all[k], "x86-64");
        if (__builtin_cpu_supports("avx2"))
            check(&all[k], "x86-64-v3");
        if (__builtin_cpu_supports("avx512vl"))
            check(&all[k], "x86-64-v4");
    }
}

static void check_copied(const Case *y, const char *cpu) {
    int image = y->c * side(y->rows, y) * side(y->columns, y), result = y->o * y->rows * y->columns;
    float *x = whole_numbers(MOST * image, 1), *w = whole_numbers(y->o * y->c, 2),
          *want = whole_numbers(MOST * result, 3);
    reference(y, x, w, want);
    Ctx *ctx = ctx_new(0);
    check_program(
        ctx, y, cpu,
        &(Program){
            .text = text_of(ctx, y), .in = {x, w}, .n_in = 2, .want = want, .cells = result});
    ctx_free(ctx);
    free(want);
    free(w);
    free(x);
}

static void the_next_part_is_copied_meanwhile(void **state) {
    (void)state;
    on_every_cpu(check_copied, cases, sizeof cases / sizeof *cases);
}

/* ---- the same for a result that is spread */

/* x: [N, c, step*(rows - 1) + 1 + from, ...]; the rows past the last one read are zeros. */
static void reference_back(const Case *y, const float *g, const float *w, float *x) {
    int h = side(y->rows, y), l = side(y->columns, y), pixels = y->rows * y->columns;
    memset(x, 0, sizeof *x * (size_t)(MOST * y->c * h * l));
    for (int n = 0; n < MOST; n++)
        for (int c = 0; c < y->c; c++)
            for (int i = 0; i < y->rows; i++)
                for (int j = 0; j < y->columns; j++) {
                    float sum = 0;
                    for (int o = 0; o < y->o; o++)
                        sum += w[o * y->c + c] * g[(n * y->o + o) * pixels + i * y->columns + j];
                    x[((n * y->c + c) * h + y->step * i) * l + y->step * j] = sum;
                }
}

static const char *text_back(Ctx *ctx, const Case *y) {
    int h = side(y->rows, y), l = side(y->columns, y);
    return str_fmt(ctx,
                   "def f[N](x: [N, %d, %d, %d], w: [%d, %d], g: [N, %d, %d, %d]) -> "
                   "[N, %d, %d, %d] =\n"
                   "  vjp(for n < N, o < %d, i < %d, j < %d =>\n"
                   "    sum(for c < %d => x[n, c, %d*i, %d*j] * w[o, c]), x, g)\n",
                   y->c, h, l, y->o, y->c, y->o, y->rows, y->columns, y->c, h, l, y->o, y->rows,
                   y->columns, y->c, y->step, y->step);
}

static void check_spread(const Case *y, const char *cpu) {
    int image = y->c * side(y->rows, y) * side(y->columns, y), of_g = y->o * y->rows * y->columns;
    float *g = whole_numbers(MOST * of_g, 1), *w = whole_numbers(y->o * y->c, 2),
          *want = whole_numbers(MOST * image, 3), *x = whole_numbers(MOST * image, 4);
    reference_back(y, g, w, want);
    Ctx *ctx = ctx_new(0);
    check_program(
        ctx, y, cpu,
        &(Program){
            .text = text_back(ctx, y), .in = {x, w, g}, .n_in = 3, .want = want, .cells = image});
    ctx_free(ctx);
    free(x);
    free(want);
    free(w);
    free(g);
}

/* Here `from` says how many rows and columns there are behind the last ones of the sums. */
static const Case results[] = {
    {"the last part has fewer rows", 80, 64, 28, 28, 2, 1, true},
    {"no row is behind the last one", 80, 64, 28, 28, 2, 0, true},
    {"all rows are whole vectors", 96, 64, 28, 32, 2, 1, true},
    {"the last vector has few lanes", 80, 64, 14, 10, 2, 0, false},
    {"one row is several vectors", 96, 96, 9, 24, 2, 1, false},
};

static void the_part_before_is_spread_meanwhile(void **state) {
    (void)state;
    on_every_cpu(check_spread, results, sizeof results / sizeof *results);
}

/* ---- sums over images: a block of rows copies the next one */

static void reference_sums(const Case *y, const float *x, const float *g, float *sums) {
    int h = side(y->rows, y), l = side(y->columns, y), pixels = y->rows * y->columns;
    for (int n = 0; n < MOST; n++)
        for (int o = 0; o < y->o; o++)
            for (int c = 0; c < y->c; c++) {
                float sum = n ? sums[((n - 1) * y->o + o) * y->c + c] : 0;
                for (int i = 0; i < y->rows; i++)
                    for (int j = 0; j < y->columns; j++)
                        sum += x[((n * y->c + c) * h + y->step * i + y->from) * l + y->step * j +
                                 y->from] *
                               g[(n * y->o + o) * pixels + i * y->columns + j];
                sums[(n * y->o + o) * y->c + c] = sum;
            }
}

static void check_sums(const Case *y, const char *cpu) {
    int h = side(y->rows, y), l = side(y->columns, y), cells = y->o * y->c;
    float *x = whole_numbers(MOST * y->c * h * l, 1),
          *g = whole_numbers(MOST * y->o * y->rows * y->columns, 2),
          *want = whole_numbers(MOST * cells, 3);
    reference_sums(y, x, g, want);
    Ctx *ctx = ctx_new(0);
    const char *text = str_fmt(
        ctx,
        "def f[N](x: [N, %d, %d, %d], g: [N, %d, %d, %d]) -> [%d, %d] = for o < %d, c < %d =>\n"
        "  sum(for n < N, i < %d, j < %d => x[n, c, %d*i + %d, %d*j + %d] * g[n, o, i, j])\n",
        y->c, h, l, y->o, y->rows, y->columns, y->o, y->c, y->o, y->c, y->rows, y->columns, y->step,
        y->from, y->step, y->from);
    check_program(ctx, y, cpu,
                  &(Program){.text = text,
                             .in = {x, g},
                             .n_in = 2,
                             .want = want,
                             .cells = cells,
                             .sums = true,
                             .l2_bytes = 360000});
    ctx_free(ctx);
    free(want);
    free(g);
    free(x);
}

static const Case sums[] = {
    {"the last block has fewer rows", 131, 96, 24, 24, 2, 0, true},
    {"blocks of the same size", 130, 96, 24, 24, 2, 1, true},
    {"every third pixel", 70, 96, 32, 20, 3, 0, true},
    {"rows of one vector", 110, 96, 64, 10, 2, 1, true},
};

static void the_next_block_is_copied_meanwhile(void **state) {
    (void)state;
    on_every_cpu(check_sums, sums, sizeof sums / sizeof *sums);
}

/* Rows that a copy makes are not cut into blocks: the vectors run along them, and no sums are
 * turned afterwards. */
static void rows_of_a_copy_are_vectors(void **state) {
    (void)state;
    const Case y = {"14 x 14 pixels", 512, 256, 14, 14, 2, 0, true};
    Ctx *ctx = ctx_new(0);
    LoopModule *m = compile_text(ctx, text_of(ctx, &y), DT_F32, target_named("x86-64-v4"), NULL);
    StrBuf sb = sb_new(&ctx->perm);
    loop_print_func(&sb, m, m->funcs.p[0]);
    assert_non_null(strstr(sb.text, "buf w.p "));
    assert_null(strstr(sb.text, "buf sums"));
    ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_next_part_is_copied_meanwhile),
                                       cmocka_unit_test(the_part_before_is_spread_meanwhile),
                                       cmocka_unit_test(the_next_block_is_copied_meanwhile),
                                       cmocka_unit_test(rows_of_a_copy_are_vectors)};
    return cmocka_run_group_tests_name("tile_behind", tests, NULL, NULL);
}
