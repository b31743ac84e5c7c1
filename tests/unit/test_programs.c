/* Whole programs (tests/programs/): each is checked, laid out as cnnc fmt does, compiled to a library,
 * and its gradients agree with differences. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CNNC CNNC_BINARY_DIR "/cnnc"
#define PROGRAMS CNNC_SOURCE_DIR "/tests/programs"
#define OUT CNNC_BINARY_DIR "/programs.out"

enum { MOST = 64 };

static void passes(const char *what, const char *command) {
    FILE *p = popen(command, "r");
    char out[8192];
    assert_non_null(p);
    size_t n = fread(out, 1, sizeof out - 1, p);
    out[n] = 0;
    if (pclose(p) != 0)
        fail_msg("%s: %s\n%s", what, command, out);
}

static void one_program(void **state) {
    const char *file = *state;
    char command[2048];
    snprintf(command, sizeof command, "%s check -Werror -Wno-unused %s/%s 2>&1", CNNC, PROGRAMS, file);
    passes("check", command);
    snprintf(command, sizeof command, "%s fmt --check %s/%s 2>&1", CNNC, PROGRAMS, file);
    passes("fmt", command);
    snprintf(command, sizeof command, "%s gradcheck %s/%s 2>&1", CNNC, PROGRAMS, file);
    passes("gradcheck", command);
    snprintf(command, sizeof command, "mkdir -p %s && cd %s && %s %s/%s -o %.40s.so 2>&1", OUT, OUT,
             CNNC, PROGRAMS, file, strrchr(file, '/') ? strrchr(file, '/') + 1 : file);
    passes("compile", command);
}

int main(void) {
    static struct CMUnitTest tests[MOST];
    static char names[MOST][64];
    size_t n = 1; /* an example of the kind, and the folder */
    snprintf(names[0], sizeof names[0], "../../examples/attention.cnn");
    tests[0] = (struct CMUnitTest){"attention.cnn", one_program, NULL, NULL, names[0]};
    DIR *d = opendir(PROGRAMS);
    for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
        const char *dot = strrchr(e->d_name, '.');
        if (!dot || strcmp(dot, ".cnn") != 0 || n == MOST)
            continue;
        snprintf(names[n], sizeof names[n], "%.60s", e->d_name);
        tests[n] = (struct CMUnitTest){names[n], one_program, NULL, NULL, names[n]};
        n++;
    }
    if (d)
        closedir(d);
    if (n < 5)
        return 1;
    return _cmocka_run_group_tests("programs", tests, n, NULL, NULL);
}
