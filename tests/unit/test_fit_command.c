/* cnnc fit and predict in a folder of their own: what is saved, what later data keep of it, and
 * that nothing is left behind where something fails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[64];

static void put(const char *name, const char *text) {
    char path[200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

/* A file of the folder, freed by the next call; NULL: there is none. */
static const char *get(const char *name) {
    static char text[1 << 16];
    char path[200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "rb");
    if (!f)
        return NULL;
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    return text;
}

/* Runs cnnc there; what it writes is in out.txt and err.txt. */
static int cnnc(const char *arguments) {
    char command[2000];
    const char *other = getenv("CNNC");
    snprintf(command, sizeof command, "cd %s && %s %s > out.txt 2> err.txt", folder,
             other ? other : CNNC_BINARY_DIR "/cnnc", arguments);
    int status = system(command);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void expect(const char *file, const char *text) {
    const char *got = get(file);
    if (!got || !strstr(got, text))
        fail_msg("%s does not hold\n%s\nbut\n%s", file, text, got ? got : "(nothing)");
}

static int count_files(void) {
    int n = 0;
    DIR *d = opendir(folder);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static const char groups[] = "estimator groups[N, J] {\n"
                             "  data  g: index(J)[N]\n"
                             "  data  y: [N]\n"
                             "  param theta: [J]\n"
                             "  param sigma: positive\n"
                             "  y ~ Normal(theta[g], sigma)\n"
                             "}\n";
static const char line[] = "estimator line[N, D] {\n"
                           "  data  X: [N, D]\n"
                           "  data  y: [N]\n"
                           "  param w: [D]\n"
                           "  param sigma: positive\n"
                           "  y ~ Normal(X @ w, sigma)\n"
                           "}\n";
static const char two[] = "estimator two[N] {\n"
                          "  data  x: [N]\n"
                          "  param m: real = 3\n"
                          "  minimize mean((x - m)^2) * 0 + (m^2 - 4)^2 + m\n"
                          "}\n";
static const char kinds[] = "estimator kinds[N, K] {\n"
                            "  data  c: index(K)[N]\n"
                            "  param p: simplex[K]\n"
                            "  c ~ Categorical(p)\n"
                            "}\n";

static int set_up(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/cnnc_fit_XXXXXX");
    if (!mkdtemp(folder))
        return 1;
    put("groups.cnn", groups);
    put("line.cnn", line);
    put("two.cnn", two);
    put("kinds.cnn", kinds);
    put("g.csv", "g,y,x\nred,4,1\nblue,1,2\nred,5,3\ngreen,8,4\nblue,2,5\ngreen,9,7\n");
    return 0;
}

static int tear_down(void **state) {
    char command[200];
    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

static void a_table_is_saved_as_csv(void **state) {
    (void)state;
    assert_int_equal(cnnc("fit groups.cnn --data g=g.csv:g --data y=g.csv:y --save t.csv"), 0);
    const char *text = get("t.csv");
    assert_non_null(text);
    assert_int_equal(
        strncmp(text, "name,estimate,std_error,statistic,p,low,high\ntheta[blue],1.5,", 61), 0);
    expect("t.csv", "\ntheta[green],8.5,");
    expect("t.csv", "\nsigma,0.5,");
}

static void later_data_are_numbered_as_those_of_the_fit(void **state) {
    (void)state;
    assert_int_equal(cnnc("fit groups.cnn --data g=g.csv:g --data y=g.csv:y --save e.safetensors"),
                     0);
    put("new.csv", "g\nred\nred\nblue\n");
    assert_int_equal(cnnc("predict groups.cnn --init e.safetensors --data g=new.csv:g --json"), 0);
    expect("out.txt", "\"shape\":[3],\"data\":[4.5,4.5,1.5]");
    put("new.csv", "g\nred\npurple\n");
    assert_int_equal(cnnc("predict groups.cnn --init e.safetensors --data g=new.csv:g"), 3);
    expect("err.txt",
           "g: new.csv:g, row 3, column `g` holds `purple`, a text that the fit has not seen");
    assert_int_equal(cnnc("predict groups.cnn --init e.safetensors --data 'g=[0,3]'"), 3);
    expect("err.txt", "the labels are texts");
    assert_int_equal(
        cnnc("fit groups.cnn --data 'g=[0,1,1,0]' --data 'y=[1,2,3,4]' --save n.safetensors"), 0);
    assert_int_equal(cnnc("predict groups.cnn --init n.safetensors --data 'g=[1]' --json"), 0);
    expect("out.txt", "\"data\":[2.5]");
    assert_int_equal(cnnc("predict groups.cnn --init n.safetensors --data 'g=[1,2]'"), 3);
    expect("err.txt", "holds 2, which is outside 0 .. 1");
}

static void a_saved_estimate_is_a_start(void **state) {
    (void)state;
    assert_int_equal(
        cnnc("fit line.cnn --data X=g.csv:1,x --data y=g.csv:y --save e.safetensors --json"), 0);
    char first[1 << 14];
    snprintf(first, sizeof first, "%s", strstr(get("out.txt"), "\"estimates\""));
    assert_int_equal(
        cnnc("fit line.cnn --data X=g.csv:1,x --data y=g.csv:y --init e.safetensors --json"), 0);
    assert_non_null(strstr(get("out.txt"), "\"w[x]\""));
    assert_int_equal(cnnc("predict line.cnn --init e.safetensors --data X=g.csv:1,x --out p.csv"),
                     0);
    assert_non_null(get("p.csv"));
    assert_int_equal(cnnc("fit line.cnn --data X=g.csv:x --data y=g.csv:y --init e.safetensors"),
                     3);
    expect("err.txt", "w: `e.safetensors:w` has shape [2], declared is [D] with D = 1");
}

static void probabilities_stand_under_their_texts(void **state) {
    (void)state;
    assert_int_equal(cnnc("fit kinds.cnn --data c=g.csv:g --save k.safetensors"), 0);
    expect("out.txt", "p[blue]");
    assert_int_equal(cnnc("predict kinds.cnn --init k.safetensors --data c=g.csv:g --out p.csv"),
                     0);
    expect("p.csv", "blue,green,red\n");
}

static void more_starts_find_the_better_mode(void **state) {
    (void)state;
    assert_int_equal(cnnc("fit two.cnn --data 'x=[1]' --json"), 0);
    expect("out.txt", "\"estimate\":1.9");
    assert_int_equal(cnnc("fit two.cnn --data 'x=[1]' --json --starts=16"), 0);
    expect("out.txt", "\"estimate\":-2.0");
}

static void nothing_is_left_where_writing_fails(void **state) {
    char path[200];
    (void)state;
    snprintf(path, sizeof path, "%s/full.csv", folder);
    assert_int_equal(symlink("/dev/full", path), 0);
    snprintf(path, sizeof path, "%s/d.safetensors", folder);
    assert_int_equal(mkdir(path, 0755), 0);
    assert_int_equal(cnnc("--version"), 0);
    int n = count_files();
    static const char *const targets[] = {"full.csv", "d.safetensors", "nodir/e.csv"};
    for (int k = 0; k < 3; k++) {
        char arguments[200];
        snprintf(arguments, sizeof arguments,
                 "fit groups.cnn --data g=g.csv:g --data y=g.csv:y --save %s", targets[k]);
        assert_int_equal(cnnc(arguments), 3);
        expect("err.txt", targets[k]);
        assert_int_equal(count_files(), n);
    }
    assert_int_equal(cnnc("fit line.cnn --data X=g.csv:1,x,x --data y=g.csv:y --save e2.csv"),
                     4); /* no estimate */
    assert_int_equal(count_files(), n);
}

static void a_damaged_file_of_labels_is_refused(void **state) {
    (void)state;
    static const char *const heads[] = {
        "{\"__metadata__\":{\"labels.J\":\"[1]\"}}",
        "{\"__metadata__\":{\"labels.J\":\"[\\\"b\\\",\\\"a\\\"]\"}}",
        "{\"__metadata__\":{\"dim.J\":\"-1\"}}", "{\"__metadata__\":{\"dim.J\":\"3x\"}}"};
    for (size_t k = 0; k < sizeof heads / sizeof *heads; k++) {
        char path[200];
        snprintf(path, sizeof path, "%s/bad.safetensors", folder);
        FILE *f = fopen(path, "wb");
        uint64_t len = strlen(heads[k]);
        assert_int_equal(fwrite(&len, 1, 8, f), 8);
        fputs(heads[k], f);
        fclose(f);
        assert_int_equal(cnnc("predict groups.cnn --init bad.safetensors --data g=g.csv:g"), 3);
        expect("err.txt", "its metadata `");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_table_is_saved_as_csv),
        cmocka_unit_test(later_data_are_numbered_as_those_of_the_fit),
        cmocka_unit_test(a_saved_estimate_is_a_start),
        cmocka_unit_test(probabilities_stand_under_their_texts),
        cmocka_unit_test(more_starts_find_the_better_mode),
        cmocka_unit_test(nothing_is_left_where_writing_fails),
        cmocka_unit_test(a_damaged_file_of_labels_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
