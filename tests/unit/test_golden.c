/* Golden files: tests/golden/<command>/NAME.{cnn,ir,txt}, each a test of its own.
 *
 * The first line is a comment `# run: ARGUMENTS`: cnnc is run with them in the file's folder (by
 * the shell, so input may be redirected). NAME.out and NAME.err hold what it writes; a missing file
 * means nothing. Further marks, anywhere:
 *
 *     # exit: 4            the exit status; without it 1 if there are `# error:` marks, else 0
 *     # error: text        an error or warning is reported for this line and its message contains
 *                          the text; every one reported has such a mark
 *     # error@-2: text     the same for the line two above
 *     # count: word 3      the word stands three times on standard output
 *     # approx: 1e-9       numbers of the output may differ by that, relative to the greater of
 *                          1 and their size: the last bits of a fit depend on the machine
 *
 * With CNNC_BLESS=1 in the environment the expectations are written instead of compared; the marks
 * are checked all the same. CNNC names another compiler than that of this build. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ctype.h>
#include <math.h>
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define GOLDEN CNNC_SOURCE_DIR "/tests/golden"

typedef struct Case {
    char name[300]; /* "check/e0101.cnn" */
    char folder[600], file[300];
} Case;

typedef struct Text {
    char *s;
    size_t len;
} Text;

static Text read_text(const char *path) {
    FILE *f = fopen(path, "rb");
    Text t = {calloc(1, 1), 0};
    if (!f)
        return t;
    char block[4096];
    for (size_t n; (n = fread(block, 1, sizeof block, f)) > 0;) {
        t.s = realloc(t.s, t.len + n + 1);
        memcpy(t.s + t.len, block, n);
        t.len += n;
        t.s[t.len] = 0;
    }
    fclose(f);
    return t;
}

static bool number_begins(const char *text, const char *at) {
    bool inside = at > text && (isalnum((unsigned char)at[-1]) || at[-1] == '.' || at[-1] == '_');
    return !inside && isdigit((unsigned char)at[*at == '-']);
}

/* Equal texts, but for numbers that differ by tolerance * max(1, |number|). */
static bool same_text(Text a, Text b, double tolerance) {
    const char *p = a.s, *q = b.s;
    while (*p && *q) {
        if (tolerance > 0 && number_begins(a.s, p) && number_begins(b.s, q)) {
            char *p_end, *q_end;
            double x = strtod(p, &p_end), y = strtod(q, &q_end);
            if (!(fabs(x - y) <= tolerance * fmax(1, fabs(y))))
                return false;
            p = p_end;
            q = q_end;
        } else if (*p++ != *q++) {
            return false;
        }
    }
    return *p == *q;
}

static void compare(const char *what, const char *path, Text got, double tolerance) {
    Text want = read_text(path);
    bool same = want.len == got.len && memcmp(want.s, got.s, got.len) == 0;
    same = same || (tolerance > 0 && same_text(want, got, tolerance));
    if (getenv("CNNC_BLESS") && !same) {
        if (got.len == 0) {
            unlink(path);
            return;
        }
        FILE *f = fopen(path, "wb");
        assert_non_null(f);
        assert_int_equal(fwrite(got.s, 1, got.len, f), got.len);
        fclose(f);
        return;
    }
    if (!same)
        print_error("%s differs from %s; expected:\n%s\ngot:\n%s\n", what, path, want.s, got.s);
    free(want.s);
    assert_true(same);
}

/* --- the marks of a source --- */

static int line_of(const char *text, const char *at) {
    int line = 1;
    for (; text < at; text++)
        line += *text == '\n';
    return line;
}

/* In the diagnostics a head line, "error[E0203]: message", is followed by "  --> file:9:1". */
static bool has_report(const char *err, int line, const char *text, size_t len) {
    for (const char *s = err; s && *s; s = strchr(s, '\n'), s = s ? s + 1 : NULL) {
        if (strncmp(s, "error[", 6) != 0 && strncmp(s, "warning[", 8) != 0)
            continue;
        const char *end = strchr(s, '\n'), *arrow = end ? strstr(end, "--> ") : NULL,
                   *colon = arrow ? strchr(arrow, ':') : NULL;
        const char *found = memmem(s, end ? (size_t)(end - s) : strlen(s), text, len);
        if (found && colon && atoi(colon + 1) == line)
            return true;
    }
    return false;
}

static int count_reports(const char *err) {
    int n = 0;
    for (const char *s = err; s && *s; s = strchr(s, '\n'), s = s ? s + 1 : NULL)
        n += strncmp(s, "error[", 6) == 0 || strncmp(s, "warning[", 8) == 0;
    return n;
}

/* Checks all `# error` marks against the diagnostics; returns how many there are. */
static int check_errors(Text src, const char *err) {
    int n = 0;
    for (const char *s = src.s;
         (s = memmem(s, src.len - (size_t)(s - src.s), "# error", 7)) != NULL; s += 7) {
        int offset = 0;
        const char *text = s + 7;
        if (*text == '@')
            offset = (int)strtol(text + 1, (char **)&text, 10);
        if (strncmp(text, ": ", 2) != 0)
            continue;
        text += 2;
        size_t len = strcspn(text, "\r\n");
        if (!has_report(err, line_of(src.s, s) + offset, text, len))
            fail_msg("no message for line %d that contains \"%.*s\":\n%s",
                     line_of(src.s, s) + offset, (int)len, text, err);
        n++;
    }
    if (n > 0 && n != count_reports(err))
        fail_msg("%d messages, but %d marks:\n%s", count_reports(err), n, err);
    return n;
}

static int count_word(const char *text, const char *word) {
    int n = 0;
    size_t len = strlen(word);
    for (const char *s = text; (s = strstr(s, word)) != NULL; s += len) {
        bool begins = s == text || !(isalnum((unsigned char)s[-1]) || s[-1] == '_');
        n += begins && !(isalnum((unsigned char)s[len]) || s[len] == '_');
    }
    return n;
}

static void check_counts(const char *src, const char *out) {
    for (const char *s = src; (s = strstr(s, "# count: ")) != NULL; s++) {
        char word[64];
        int want;
        assert_int_equal(sscanf(s + 9, "%63s %d", word, &want), 2);
        if (count_word(out, word) != want)
            fail_msg("`%s` stands %d times on standard output, expected %d:\n%s", word,
                     count_word(out, word), want, out);
    }
}

/* --- one file --- */

static int run(const Case *c, Text src, const char *out, const char *err) {
    const char *compiler = getenv("CNNC") ? getenv("CNNC") : CNNC_BINARY_DIR "/cnnc";
    static const char head[] = "# run: ";
    assert_true(strncmp(src.s, head, sizeof head - 1) == 0);
    char command[3000];
    int n = snprintf(command, sizeof command,
                     "cd '%s' && NO_COLOR=1 timeout 60 '%s' %.*s </dev/null >'%s' 2>'%s'",
                     c->folder, compiler, (int)strcspn(src.s + sizeof head - 1, "\r\n"),
                     src.s + sizeof head - 1, out, err);
    assert_true(n < (int)sizeof command);
    int status = system(command);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void one_file(void **state) {
    const Case *c = *state;
    char path[1000], out_path[200], err_path[200];
    snprintf(path, sizeof path, "%s/%s", c->folder, c->file);
    snprintf(out_path, sizeof out_path, "/tmp/cnnc_golden_%d.out", (int)getpid());
    snprintf(err_path, sizeof err_path, "/tmp/cnnc_golden_%d.err", (int)getpid());
    Text src = read_text(path);
    int status = run(c, src, out_path, err_path);
    Text out = read_text(out_path), err = read_text(err_path);
    unlink(out_path);
    unlink(err_path);
    int errors = check_errors(src, err.s);
    check_counts(src.s, out.s);
    const char *exit_mark = strstr(src.s, "# exit: ");
    int want = exit_mark ? atoi(exit_mark + 8) : strstr(err.s, "error[") && errors > 0;
    if (status != want)
        fail_msg("exit status %d, expected %d:\n%s", status, want, err.s);
    const char *approx = strstr(src.s, "# approx: ");
    char *dot = strrchr(path, '.');
    strcpy(dot, ".out");
    compare("standard output", path, out, approx ? atof(approx + 10) : 0);
    strcpy(dot, ".err");
    compare("standard error", path, err, approx ? atof(approx + 10) : 0);
    free(src.s);
    free(out.s);
    free(err.s);
}

/* --- all files --- */

static bool is_source(const char *name) {
    const char *dot = strrchr(name, '.');
    return dot && (strcmp(dot, ".cnn") == 0 || strcmp(dot, ".ir") == 0 || strcmp(dot, ".txt") == 0);
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const Case *)a)->name, ((const Case *)b)->name);
}

/* Files whose first line is no `# run:` belong to others (imports, data). */
static bool is_case(const Case *c) {
    char path[1000], head[8] = "";
    snprintf(path, sizeof path, "%s/%s", c->folder, c->file);
    FILE *f = fopen(path, "rb");
    bool ok = f && fread(head, 1, 6, f) == 6 && strcmp(head, "# run:") == 0;
    if (f)
        fclose(f);
    return ok;
}

static int find_cases(Case *cases, int cap) {
    int n = 0;
    DIR *top = opendir(GOLDEN);
    for (struct dirent *d; top && (d = readdir(top)) != NULL;) {
        Case c;
        snprintf(c.folder, sizeof c.folder, "%s/%s", GOLDEN, d->d_name);
        DIR *folder = d->d_name[0] == '.' ? NULL : opendir(c.folder);
        for (struct dirent *e; folder && (e = readdir(folder)) != NULL;) {
            snprintf(c.file, sizeof c.file, "%s", e->d_name);
            snprintf(c.name, sizeof c.name, "%.120s/%.160s", d->d_name, e->d_name);
            if (is_source(e->d_name) && is_case(&c) && n < cap)
                cases[n++] = c;
        }
        if (folder)
            closedir(folder);
    }
    if (top)
        closedir(top);
    qsort(cases, (size_t)n, sizeof *cases, by_name);
    return n;
}

int main(void) {
    enum { MAX_CASES = 2000 };
    Case *cases = calloc(MAX_CASES, sizeof *cases);
    struct CMUnitTest *tests = calloc(MAX_CASES, sizeof *tests);
    int n = find_cases(cases, MAX_CASES);
    for (int i = 0; i < n; i++)
        tests[i] = (struct CMUnitTest){cases[i].name, one_file, NULL, NULL, &cases[i]};
    if (n == 0)
        return 1;
    int failed = _cmocka_run_group_tests("golden", tests, (size_t)n, NULL, NULL);
    free(cases);
    free(tests);
    return failed;
}
