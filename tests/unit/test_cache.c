/* driver/cache.c: what comes from the cache is what would be compiled; entries that are damaged, or
 * that others may write, are made anew. */
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
#include <unistd.h>

static char folder[64];

static int compile(const char *options) {
    char command[1000];
    const char *compiler = getenv("CNNC") ? getenv("CNNC") : CNNC_BINARY_DIR "/cnnc";
    snprintf(command, sizeof command, "cd %s && '%s' f.cnn -o f.so %s 2>err", folder, compiler,
             options);
    int status = system(command);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static char *bytes_of(const char *name, size_t *len) {
    char path[400];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    char *text = malloc(1 << 20);
    *len = fread(text, 1, 1 << 20, f);
    fclose(f);
    return text;
}

/* The only entry of the cache. */
static const char *entry(void) {
    static char path[300];
    char at[100];
    snprintf(at, sizeof at, "%s/cache", folder);
    DIR *d = opendir(at);
    int n = 0;
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] != '.' && ++n)
            snprintf(path, sizeof path, "cache/%.200s", e->d_name);
    closedir(d);
    assert_int_equal(n, 1);
    return path;
}

static void write_file(const char *name, const char *text, size_t len) {
    char path[400];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, len, f), len);
    fclose(f);
}

static void same(const char *a, size_t a_len, const char *name) {
    size_t len;
    char *b = bytes_of(name, &len);
    assert_int_equal(len, a_len);
    assert_memory_equal(a, b, len);
    free(b);
}

static void damaged_entries_are_made_anew(void **state) {
    (void)state;
    static const char program[] = "def f[N](x: [N, 4], w: [4, 3]) -> [N, 3] = tanh(x @ w)\n";
    write_file("f.cnn", program, sizeof program - 1);
    size_t so_len, len;
    assert_int_equal(compile(""), 0);
    char *so = bytes_of("f.so", &so_len);
    assert_int_equal(compile("--cache=cache"), 0);
    same(so, so_len, "f.so");
    char *good = bytes_of(entry(), &len);
    assert_int_equal(compile("--cache=cache"), 0); /* from the cache */
    same(so, so_len, "f.so");
    size_t at[] = {0, 9, 80, 138, 145, 152, len / 2, len - 1};
    for (size_t k = 0; k < sizeof at / sizeof *at; k++) {
        char *bad = malloc(len);
        memcpy(bad, good, len);
        bad[at[k]] ^= 0x40;
        write_file(entry(), bad, len);
        assert_int_equal(compile("--cache=cache"), 0);
        same(so, so_len, "f.so");
        same(good, len, entry());
        write_file(entry(), good, at[k]); /* cut off */
        assert_int_equal(compile("--cache=cache"), 0);
        same(so, so_len, "f.so");
        same(good, len, entry());
        free(bad);
    }
    free(good);
    free(so);
}

static void others_may_not_write(void **state) {
    (void)state;
    char path[400];
    struct stat st;
    assert_int_equal(compile("--cache=cache"), 0);
    snprintf(path, sizeof path, "%s/%s", folder, entry());
    assert_int_equal(chmod(path, 0666), 0);
    assert_int_equal(compile("--cache=cache"), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(compile("--cache=cache -g"), 0); /* other options, another entry */
    assert_int_equal(compile("--cache=f.cnn/cache"), 3); /* no folder can be made under a file */
}

static int make_folder(void **state) {
    (void)state;
    strcpy(folder, "/tmp/cnnc_cache_XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    char command[100];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(damaged_entries_are_made_anew),
                                       cmocka_unit_test(others_may_not_write)};
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
