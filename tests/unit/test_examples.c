/* The examples are tests: each file's test blocks hold, and the C program trains and predicts with what cnnc made. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CNNC CNNC_BINARY_DIR "/cnnc"
#define EXAMPLES CNNC_SOURCE_DIR "/examples"
#define OUT CNNC_BINARY_DIR "/examples.out"

static int run(const char *command, char *out, size_t size) {
    FILE *p = popen(command, "r");
    assert_non_null(p);
    size_t n = fread(out, 1, size - 1, p);
    out[n] = 0;
    return pclose(p);
}

static void holds(const char *file) {
    char command[1024], out[8192];
    snprintf(command, sizeof command, "%s test %s/%s 2>&1", CNNC, EXAMPLES, file);
    if (run(command, out, sizeof out))
        fail_msg("%s: %s", file, out);
    assert_non_null(strstr(out, " passed, 0 failed"));
    assert_null(strstr(out, "\n0 passed"));
}

/* The estimate of this name that a fit prints, by its JSON; the file is in examples/. */
static double estimate(const char *arguments, const char *name) {
    char command[1024], out[16384], key[80];
    snprintf(command, sizeof command, "cd %s && %s fit %s --json 2>&1", EXAMPLES, CNNC, arguments);
    if (run(command, out, sizeof out))
        fail_msg("%s: %s", arguments, out);
    snprintf(key, sizeof key, "{\"name\":\"%s\",\"estimate\":", name);
    const char *at = strstr(out, key);
    if (!at)
        fail_msg("no %s in %s", name, out);
    return strtod(at + strlen(key), NULL);
}

static void close_to(double got, double want) {
    if (!(fabs(got - want) <= 1e-12 * fmax(1, fabs(want))))
        fail_msg("got %.17g, expected %.17g", got, want);
}

#define FLIPS " --data 'x=[1,1,1,1,1,1,1,1,1,1,0,0]'"
static void lecture_1_bernoulli_mle(void **state) {
    (void)state;
    close_to(estimate("coin.cnn --mle" FLIPS, "phi"), 10.0 / 12);
}

static void lecture_2_bernoulli_map(void **state) {
    (void)state;
    close_to(estimate("coin.cnn -D coin.a=101 -D coin.b=101" FLIPS, "phi"), 110.0 / 212);
    close_to(estimate("coin.cnn -D coin.a=1 -D coin.b=1" FLIPS, "phi"), 10.0 / 12);
}

#define LINE " --data 'X=[[1,0],[1,1],[1,2],[1,3]]' --data 'y=[1,3,4,8]'"
static void lecture_3_and_4_least_squares_and_ridge(void **state) {
    (void)state;
    holds("ridge.cnn");
    close_to(estimate("ridge.cnn ridge --mle" LINE, "w[0]"), 0.7);
    close_to(estimate("ridge.cnn ridge --mle" LINE, "w[1]"), 2.2);
    close_to(estimate("ridge.cnn ridge -D ridge.lambda=3" LINE, "w[0]"), 62.0 / 83);
    close_to(estimate("ridge.cnn ridge -D ridge.lambda=3" LINE, "w[1]"), 149.0 / 83);
}

/* A saturated model: its fitted probabilities are the rates of the groups, 1/4 and 2/3. */
static void logistic_regression_fits_the_rates(void **state) {
    const char *fit = "logistic.cnn --mle --data 'X=[[0],[0],[0],[0],[1],[1],[1]]' --data 'y=[0,0,1,0,1,0,1]'";
    (void)state;
    close_to(estimate(fit, "c"), log(1.0 / 3));
    close_to(estimate(fit, "w[0]"), log(2) - log(1.0 / 3));
}

static void lecture_5_filters(void **state) { (void)state, holds("filters.cnn"); }
static void lecture_6_padding(void **state) { (void)state, holds("padding.cnn"); }
static void lecture_7_pooling(void **state) { (void)state, holds("pooling.cnn"); }
static void lecture_8_stride(void **state) { (void)state, holds("stride.cnn"); }
static void lecture_9_feedforward(void **state) { (void)state, holds("feedforward.cnn"); }
static void lecture_10_channels(void **state) { (void)state, holds("channels.cnn"); }

static void lecture_10_counts_its_parameters(void **state) {
    char out[65536];
    (void)state;
    assert_int_equal(run("mkdir -p " OUT " && " CNNC " " EXAMPLES "/channels.cnn -o " OUT "/channels.so 2>&1 && cat " OUT "/channels.h", out, sizeof out), 0);
    assert_non_null(strstr(out, "#define ONE_MAP_PARAMS 21 "));
    assert_non_null(strstr(out, "#define FIVE_MAPS_PARAMS 105 "));
}

/* Table I: C3 stores 2,416 and learns 1,516; LeNet-5 stores 61,706 and learns 60,806. */
static void lecture_11_counts_its_parameters(void **state) {
    char out[65536];
    (void)state;
    assert_int_equal(run("mkdir -p " OUT " && " CNNC " " EXAMPLES "/lenet5.cnn -o " OUT "/lenet5.so 2>&1 && cat " OUT "/lenet5.h", out, sizeof out), 0);
    assert_non_null(strstr(out, "#define LENET5_PARAMS 61706 "));
    assert_non_null(strstr(out, "#define LENET5_LEARNED 60806 "));
    assert_non_null(strstr(out, "#define LENET5_C3_W 156 "));
    assert_non_null(strstr(out, "#define LENET5_C5_W 2572 "));
}

static void a_c_program_trains_and_predicts(void **state) {
    char out[8192];
    double error = 100;
    (void)state;
    assert_int_equal(run("cd " OUT " && cc -std=c11 -O2 -Wall -Wextra -Werror -I. -I" EXAMPLES " " EXAMPLES "/train.c " EXAMPLES
                         "/digits.c ./lenet5.so -lm -Wl,-rpath,'$ORIGIN' -o train 2>&1 && ./train 3", out, sizeof out), 0);
    const char *last = strstr(out, "epoch 3");
    assert_non_null(last);
    assert_int_equal(sscanf(strstr(last, "test error") + 10, "%lf", &error), 1);
    if (!(error < 10)) /* digits that the program draws: 90 % would be chance */
        fail_msg("%s", out);
}

static void a_c_program_fits_a_line(void **state) {
    char out[8192];
    (void)state;
    assert_int_equal(run("mkdir -p " OUT " && " CNNC " " EXAMPLES "/ridge.cnn -o " OUT "/ridge.so 2>&1 && cd " OUT " && cc -std=c11 -O2 -Wall -Wextra -Werror -I. " EXAMPLES
                         "/regress.c ./ridge.so -lm -Wl,-rpath,'$ORIGIN' -o regress 2>&1 && ./regress 2>&1", out, sizeof out), 0);
    /* residuals 0.3 0.1 -1.1 0.7: s^2 = 1.8 / 2, (X'X)^-1 = [[0.7, -0.3], [-0.3, 0.2]] */
    assert_non_null(strstr(out, "MLE: 4 observations"));
    assert_non_null(strstr(out, "  w[0]  0.700000   0.793725\n  w[1]  2.200000   0.424264\n  s^2   0.900000 on 2 degrees of freedom\n"));
    assert_non_null(strstr(out, "MAP: 4 observations"));
    assert_non_null(strstr(out, "  w[0]  0.746988 "));
    assert_non_null(strstr(out, "  w[1]  1.795181 "));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lecture_1_bernoulli_mle), cmocka_unit_test(lecture_2_bernoulli_map), cmocka_unit_test(lecture_3_and_4_least_squares_and_ridge),
        cmocka_unit_test(logistic_regression_fits_the_rates), cmocka_unit_test(lecture_5_filters), cmocka_unit_test(lecture_6_padding), cmocka_unit_test(lecture_7_pooling), cmocka_unit_test(lecture_8_stride),
        cmocka_unit_test(lecture_9_feedforward), cmocka_unit_test(lecture_10_channels), cmocka_unit_test(lecture_10_counts_its_parameters),
        cmocka_unit_test(lecture_11_counts_its_parameters), cmocka_unit_test(a_c_program_trains_and_predicts),
        cmocka_unit_test(a_c_program_fits_a_line),
    };
    return cmocka_run_group_tests_name("examples", tests, NULL, NULL);
}
