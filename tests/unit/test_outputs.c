/* The C header: names that C has already, --prefix, and what the shared library exports beside it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CNNC CNNC_BINARY_DIR "/cnnc"
#define OUT CNNC_BINARY_DIR "/outputs.out"

static char out[1 << 16];

static int run(const char *command) {
    char line[4096];
    snprintf(line, sizeof line, "mkdir -p %s && cd %s && { %s; } 2>&1", OUT, OUT, command);
    FILE *p = popen(line, "r");
    assert_non_null(p);
    size_t n = fread(out, 1, sizeof out - 1, p);
    out[n] = 0;
    return pclose(p);
}

static void succeeds(const char *command) {
    if (run(command))
        fail_msg("%s:\n%s", command, out);
}

static void source(const char *name, const char *text) {
    succeeds("true");
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", OUT, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static const char TAKEN[] =
    "estimator e[N](size: real = 1, seed: real = 2, int: real = 4) {\n"
    "  data class: [N]\n"
    "  data params: [N]\n"
    "  data params_: [N]\n"
    "  data M_NEW: [N]\n"
    "  data out_class: [N]\n"
    "  param out: real\n"
    "  class ~ Normal(out * params * int + M_NEW + params_ + out_class, size)\n"
    "  params ~ Normal(seed, 1)\n"
    "}\n"
    "model M(x: [2, 3]) -> [2] { param new: [3] return x @ new }\n"
    "model while[int](x: [2, int]) -> [2] { param w: [int] param b: [2] return x @ w + b }\n"
    "def f[int, h, work](float: [int], work_: [int], ex: [h, work]) -> [int] = float + work_ + "
    "sum(ex)\n";

static void inputs_dims_and_formals_may_be_called_as_c_calls_its_own(void **state) {
    (void)state;
    source("taken.cnn", TAKEN);
    succeeds(CNNC " taken.cnn -o taken.so");
    succeeds("cc -std=c11 -Wall -Wextra -Werror -fsyntax-only -x c taken.h");
    succeeds("if command -v c++; then c++ -Wall -Wextra -Werror -fsyntax-only -x c++ taken.h; fi");
}

static void a_prefix_that_ends_in_an_underscore_stands_before_every_name(void **state) {
    (void)state;
    source("taken.cnn", TAKEN);
    source("printf.cnn", "def printf(x: real) -> real = 2 * x\n");
    succeeds(CNNC " taken.cnn --prefix=my_ -o pre.so");
    succeeds("nm -D --defined-only pre.so | sed 's/.* //' | grep -v '^my_' | wc -l");
    assert_int_equal(atoi(out), 0);
    succeeds("nm -D --defined-only pre.so | sed 's/.* //' | grep -xE "
             "'my_(e_fit|m_forward|while_init|f|strerror|manifest)' | wc -l");
    assert_int_equal(atoi(out), 6);
    succeeds("cc -std=c11 -Wall -Wextra -Werror -fsyntax-only -x c pre.h");
    succeeds("grep -c -E 'MY_E_HYPER_INIT|MY_M_PARAMS' pre.h");
    succeeds(CNNC " printf.cnn --prefix=my_ -o printf.so");
    succeeds(CNNC " taken.cnn --prefix=lib -o lib.so && nm -D --defined-only lib.so | sed 's/.* "
                  "//' | grep -xE 'e_fit|f|lib_strerror|lib_manifest' | wc -l");
    assert_int_equal(atoi(out), 4);
    assert_int_not_equal(run(CNNC " taken.cnn --prefix='a b' -o bad.so"), 0);
    assert_non_null(strstr(out, "--prefix"));
}

static void work_of_size_0_may_be_null(void **state) {
    (void)state;
    source("square.cnn", "def square(x: real) -> real = x^2\n");
    source("square.c",
           "#include \"square.h\"\n"
           "int main(void) {\n"
           "    double y = 0;\n"
           "    return square(0, 5, &y, 0) != 0 || y != 25 || square(0, 5, 0, 0) != -1;\n"
           "}\n");
    succeeds(CNNC " square.cnn -o square.a && cc square.c square.a -lm -o square && ./square");
}

static void two_dashes_escape_a_file_that_is_named_like_a_verb(void **state) {
    (void)state;
    source("fit", "def square(x: real) -> real = x^2\n");
    succeeds(CNNC " -o escaped.h -- fit && grep -q 'int square(' escaped.h");
    succeeds(CNNC " ./fit -o escaped.h && grep -q 'int square(' escaped.h");
    assert_int_not_equal(run(CNNC " -o escaped.h fit"), 0);
}

static void what_is_emitted_lies_beside_the_output_and_one_is_named_by_it(void **state) {
    (void)state;
    source("square.cnn", "def square(x: real) -> real = x^2\n");
    succeeds("rm -rf one two; mkdir one two; cd one; cp ../square.cnn .; " CNNC " square.cnn --emit=h -o norms.h; " CNNC " square.cnn --emit=h -o plain; ls");
    assert_string_equal(out, "norms.h\nplain\nsquare.cnn\n");
    succeeds(CNNC " square.cnn -o two/m.so --emit=py,manifest; ls two; grep -c \"'m.so'\" two/m_py.py");
    assert_string_equal(out, "m.h\nm.json\nm.so\nm_py.py\n1\n");
    assert_int_not_equal(run(CNNC " square.cnn --emit=exe -o two/m"), 0);
    assert_non_null(strstr(out, "`exe`: --emit takes"));
}

static void a_target_may_be_a_triple_of_linux(void **state) {
    (void)state;
    source("square.cnn", "def square(x: real) -> real = x^2\n");
    succeeds(CNNC " -v square.cnn --target=aarch64-linux-gnu -o arm.o");
    assert_non_null(strstr(out, "for aarch64"));
    assert_non_null(strstr(out, "writing arm.o"));
    succeeds(CNNC " -v square.cnn --target=x86_64-pc-linux-gnu -o old.o");
    assert_non_null(strstr(out, "for x86-64 "));
    assert_int_not_equal(run(CNNC " square.cnn --target=x86_64-pc-windows -o no.o"), 0);
    assert_non_null(strstr(out, "x86_64-pc-windows"));
}

/* The runtime's functions are named so that no exported one can be equal: abi_taken keeps `rt_`. */
static void the_runtime_defines_no_other_names(void **state) {
    (void)state;
    succeeds("nm --defined-only -g " CNNC_BINARY_DIR
             "/libcnnrt.a | grep -E ' [A-Z] ' | grep -v ' rt_' | wc -l");
    assert_int_equal(atoi(out), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inputs_dims_and_formals_may_be_called_as_c_calls_its_own),
        cmocka_unit_test(a_prefix_that_ends_in_an_underscore_stands_before_every_name),
        cmocka_unit_test(work_of_size_0_may_be_null),
        cmocka_unit_test(two_dashes_escape_a_file_that_is_named_like_a_verb),
        cmocka_unit_test(what_is_emitted_lies_beside_the_output_and_one_is_named_by_it),
        cmocka_unit_test(a_target_may_be_a_triple_of_linux),
        cmocka_unit_test(the_runtime_defines_no_other_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
