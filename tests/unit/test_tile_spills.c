/* The tiles that the pass chooses fit the registers: no vector goes to the stack in the code that
 * LLVM makes of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CNNC CNNC_BINARY_DIR "/cnnc"
#define OUT CNNC_BINARY_DIR "/spills.out"

static const char program[] =
    "def mm(a: [150, 96], b: [96, 130]) -> [150, 130] = a @ b\n"
    "def mt[N](a: [96, N], b: [80, 96]) -> [N, 80] = for i < N, j < 80 => sum(for k < 96 => a[k, "
    "i] * b[j, k])\n"
    "def fwd[N](x: [N, 32, 14, 14], w: [64, 32, 3, 3]) -> [N, 64, 14, 14] = conv2d(x, w, [1, 1], "
    "[1, 1, 1, 1])\n"
    "def dx[N](x: [N, 32, 14, 14], w: [64, 32, 3, 3], g: [N, 64, 14, 14]) -> [N, 32, 14, 14] =\n"
    "  vjp(conv2d(x, w, [1, 1], [1, 1, 1, 1]), x, g)\n"
    "def dw[N](x: [N, 32, 14, 14], w: [64, 32, 3, 3], g: [N, 64, 14, 14]) -> [64, 32, 3, 3] =\n"
    "  vjp(conv2d(x, w, [1, 1], [1, 1, 1, 1]), w, g)\n"
    "def strided[N](x: [N, 48, 28, 28], w: [96, 48, 1, 1]) -> [N, 96, 14, 14] = conv2d(x, w, [2, "
    "2], [0, 0, 0, 0])\n";

/* A vector register that is moved to or from the stack. One scalar is none: such as the number of
 * lanes that a mask is made of. */
static bool is_spill(const char *line) {
    bool stack = strstr(line, "(%rsp") || strstr(line, "(%rbp");
    return stack && strstr(line, "mov") && strstr(line, "mm") && !strstr(line, "ss\t") &&
           !strstr(line, "sd\t") && !strstr(line, "movq\t");
}

static void spills(const char *cpu, const char *real) {
    char command[512], line[512];
    snprintf(command, sizeof command,
             "mkdir -p %s && %s %s/tiles.cnn -o %s/tiles.s --real=%s -mcpu=%s", OUT, CNNC, OUT, OUT,
             real, cpu);
    FILE *f = NULL;
    assert_int_equal(system("mkdir -p " OUT), 0);
    f = fopen(OUT "/tiles.cnn", "w");
    assert_non_null(f);
    fputs(program, f);
    fclose(f);
    assert_int_equal(system(command), 0);
    f = fopen(OUT "/tiles.s", "r");
    assert_non_null(f);
    int found = 0, sums = 0, moves = 0, products = 0; /* the last two: of a function */
    while (fgets(line, sizeof line, f)) {
        if (line[0] != '\t' && line[0] != '.' && strchr(line, ':')) {
            found += products ? moves : 0; /* elsewhere vectors fill an entry's frame */
            sums += products;
            moves = products = 0;
        }
        products += strstr(line, "fmadd") || strstr(line, "mulp");
        if (is_spill(line) && moves++ < 3 && products)
            print_error("%s %s: %s", cpu, real, line);
    }
    fclose(f);
    found += products ? moves : 0;
    assert_true(sums > 100); /* there are tiles */
    assert_int_equal(found, 0);
}

static void avx512(void **state) {
    (void)state;
    spills("x86-64-v4", "f32");
    spills("x86-64-v4", "f64");
}

static void avx2(void **state) {
    (void)state;
    spills("x86-64-v3", "f32");
    spills("x86-64-v3", "f64");
}

static void sse2(void **state) {
    (void)state;
    spills("x86-64", "f32");
    spills("x86-64", "f64");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(avx512), cmocka_unit_test(avx2),
                                       cmocka_unit_test(sse2)};
    return cmocka_run_group_tests_name("tile_spills", tests, NULL, NULL);
}
