/* cnnc fit and predict in a folder of their own: what is saved, what later data keep of it, and
 * that nothing is left behind where something fails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
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

/* ---- Ctrl-C */

/* Starts cnnc there in the background. */
static pid_t begin(const char *const *arguments) {
    pid_t child = fork();
    if (child != 0)
        return child;
    const char *other = getenv("CNNC"), *argv[16] = {other ? other : CNNC_BINARY_DIR "/cnnc"};
    for (int k = 0; arguments[k] && k < 14; k++)
        argv[k + 1] = arguments[k];
    if (chdir(folder) || !freopen("out.txt", "wb", stdout) || !freopen("err.txt", "wb", stderr))
        _exit(126);
    execv(argv[0], (char *const *)(uintptr_t)argv);
    _exit(127);
}

static void pause_ms(int ms) {
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000L}, NULL);
}

static int interrupt(pid_t child) {
    int status;
    assert_int_equal(kill(child, SIGINT), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void ctrl_c_ends_a_training_and_keeps_what_it_learned(void **state) {
    (void)state;
    put("trained.cnn", "estimator trained[N, K] {\n"
                       "  data  c: index(K)[N]\n"
                       "  param p: simplex[K]\n"
                       "  p ~ Dirichlet(fill([K], 2))\n"
                       "  c ~ Categorical(p)\n"
                       "  using sgd(lr = 1, batch = 2, epochs = 100000000)\n"
                       "}\n");
    int n = count_files();
    pid_t child = begin((const char *[]){"fit", "trained.cnn", "--data", "c=g.csv:g", "--save",
                                         "learned.safetensors", NULL});
    for (int waited = 0; waited < 600; waited++) {
        const char *out = get("out.txt");
        if (out && strstr(out, "epoch   3 "))
            break;
        pause_ms(100);
    }
    assert_int_equal(interrupt(child), 130);
    assert_int_equal(count_files(), n + 1);
    expect("out.txt", "epoch   1   loss (with priors) ");
    int status =
        cnnc("predict trained.cnn --init learned.safetensors --data c=g.csv:g --out p.csv");
    assert_int_equal(status, 0);
    expect("p.csv", "blue,green,red\n");
}

/* A signal that comes before there is any point leaves nothing. */
static void ctrl_c_ends_a_fit_and_keeps_the_best_point(void **state) {
    (void)state;
    static char rows[1 << 17] = "x\n";
    for (int k = 0, used = 2; k < 20000; k++)
        used += snprintf(rows + used, sizeof rows - (size_t)used, "%d\n", k % 97);
    put("many.csv", rows);
    put("waves.cnn", "estimator waves[N] {\n"
                     "  data  x: [N]\n"
                     "  param m: real = 3\n"
                     "  minimize m^2 / 100 + mean(sin(m * x))\n"
                     "}\n");
    int n = count_files(), ms = 300, status = 0;
    bool saved = false;
    for (; !saved && ms < 60000; ms *= 2) {
        pid_t child = begin((const char *[]){"fit", "waves.cnn", "--data", "x=many.csv:x",
                                             "--starts=10000", "--save", "best.safetensors", NULL});
        pause_ms(ms);
        status = interrupt(child);
        assert_int_equal(status, 130);
        saved = get("best.safetensors") != NULL;
        assert_int_equal(count_files(), n + saved);
    }
    assert_true(saved);
    expect("out.txt", "note: stopped "); /* after so many starts, or within the first */
    assert_int_equal(cnnc("fit waves.cnn --data x=many.csv:x --init best.safetensors --json"), 0);
    expect("out.txt", "\"estimate\":");
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
        cmocka_unit_test(ctrl_c_ends_a_training_and_keeps_what_it_learned),
        cmocka_unit_test(ctrl_c_ends_a_fit_and_keeps_the_best_point),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
