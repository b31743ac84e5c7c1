/* Training and the exact fit of one model (tests/programs/kinds_trained.cnn) end at the same
 * parameters, whatever their kinds: the gradient steps go through the unconstrained scale. */
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
#define PROGRAM CNNC_SOURCE_DIR "/tests/programs/kinds_trained.cnn"

static const char rows[] = "g,y,x,o,z1,z2\n"
                           "0,0,1.07,2,-0.95,0.57\n"
                           "1,1,2.61,1,-0.2,1.63\n"
                           "0,2,0.67,2,1.96,3.96\n"
                           "1,2,1.75,3,0.7,2.52\n"
                           "0,0,-2.15,1,1.23,3.49\n"
                           "1,1,2.48,3,2.11,3.47\n"
                           "0,1,-1.09,0,-0.62,1.31\n"
                           "1,0,-1.65,0,-0.22,2.8\n"
                           "0,2,0.3,0,1.99,2.08\n"
                           "1,0,2.68,3,0.32,2.16\n"
                           "0,1,-3.25,0,-0.05,0.9\n"
                           "1,2,2.03,2,1.72,4.21\n"
                           "0,1,-1.16,2,0.63,1.43\n"
                           "1,2,1.74,2,-0.76,0.35\n"
                           "0,2,1.05,2,1.79,2.94\n"
                           "1,2,-2.17,0,1.01,2.27\n"
                           "0,1,0.94,2,1.17,2.17\n"
                           "1,2,2.46,1,-1.29,0.87\n"
                           "0,2,0.48,2,1.17,1.43\n"
                           "1,1,1.08,3,0.29,1.11\n"
                           "0,0,1.28,2,0.5,2.52\n"
                           "1,2,1.66,3,0.39,1.67\n"
                           "0,1,1.9,3,2.22,2.92\n"
                           "1,1,-1.27,2,3.54,1.18\n";

static char folder[32], data[64];

static int set_up(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/cnnc_kinds_XXXXXX");
    if (!mkdtemp(folder))
        return 1;
    snprintf(data, sizeof data, "%s/d.csv", folder);
    FILE *f = fopen(data, "wb");
    if (!f || fwrite(rows, 1, sizeof rows - 1, f) != sizeof rows - 1)
        return 1;
    return fclose(f);
}

static int tear_down(void **state) {
    (void)state;
    return remove(data) || remove(folder);
}

static const char *output(const char *format, ...) {
    static char text[1 << 18];
    char command[2000];
    va_list ap;
    va_start(ap, format);
    vsnprintf(command, sizeof command, format, ap);
    va_end(ap);
    FILE *p = popen(command, "r");
    assert_non_null(p);
    text[fread(text, 1, sizeof text - 1, p)] = 0;
    if (pclose(p) != 0)
        fail_msg("%s: %s", command, text);
    return text;
}

enum { MOST = 32 };

/* The estimates of an exact fit's JSON. */
static int exact(const char *name, const char *given, double *out) {
    int n = 0;
    const char *p = output("%s fit %s %s_exact %s --json 2>&1", CNNC, PROGRAM, name, given);
    while ((p = strstr(p, "\"estimate\":")) && n < MOST)
        out[n++] = strtod(p += strlen("\"estimate\":"), NULL);
    return n;
}

/* The numbers of the last report; zeros, which no estimate is, stand above a diagonal. */
static int trained(const char *name, const char *given, double *out) {
    int n = 0;
    const char *p =
        output("%s fit %s %s_trained %s --real=f64 --json 2>&1", CNNC, PROGRAM, name, given);
    const char *last = NULL;
    while ((p = strstr(p, "\"report\":")))
        last = p += strlen("\"report\":");
    assert_non_null(last);
    const char *end = strchr(last, '}');
    for (p = last; p && p < end && n < MOST;) {
        char *after;
        double v = strtod(p, &after);
        if (after == p) {
            p++;
            continue;
        }
        p = after;
        if (v != 0)
            out[n++] = v;
    }
    return n;
}

static void same_mode(const char *name, const char *columns) {
    char given[400];
    double want[MOST], got[MOST];
    int used = 0;
    for (const char *c = columns; *c; c += strcspn(c, " ") + (c[strcspn(c, " ")] != 0)) {
        int name_len = (int)strcspn(c, "="), len = (int)strcspn(c, " ");
        used += snprintf(given + used, sizeof given - (size_t)used, "--data %.*s=%s:%.*s ",
                         name_len, c, data, len - name_len - 1, c + name_len + 1);
    }
    int n = exact(name, given, want);
    assert_true(n > 2);
    assert_int_equal(trained(name, given, got), n);
    for (int k = 0; k < n; k++)
        if (!(fabs(got[k] - want[k]) < 1e-8))
            fail_msg("%s: training gives %.17g, the exact fit %.17g", name, got[k], want[k]);
}

static void simplex_of_groups(void **state) {
    (void)state;
    same_mode("simplex", "g=g y=y");
}

static void mixture_weights_and_ordered_means(void **state) {
    (void)state;
    same_mode("mixture", "x=x");
}

static void cutpoints_of_ordinal_regression(void **state) {
    (void)state;
    same_mode("ordinal", "x=x y=o");
}

static void cholesky_factor_of_a_covariance(void **state) {
    (void)state;
    same_mode("covariance", "z=z1,z2");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(simplex_of_groups),
        cmocka_unit_test(mixture_weights_and_ordered_means),
        cmocka_unit_test(cutpoints_of_ordinal_regression),
        cmocka_unit_test(cholesky_factor_of_a_covariance),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
