/* The blocks of docs/NAME.md and README.md are executed: what a page shows is what the program
 * does. A page is a test; it runs top to bottom in a folder of its own, where the files that it
 * shows are written:
 *
 *     ```cnn coin.cnn         the block becomes that file, and is checked (without a name: checked
 * only)
 *     ```csv flips.csv        the block becomes that file; so for any word but those of this list
 *     ```console              lines that begin with "$ " are run by sh, with cnnc on the PATH; what
 * follows is what they print, errors included. A line "..." stands for any lines.
 *     ```repl                 lines that begin with "cnnc> " are typed into one session for the
 * page; what follows is what each prints
 *
 * Every other block is left alone. A page may name files of examples/ (a link to that folder is in
 * its folder). With CNNC_BLESS=1 in the environment outputs are written instead of compared (where
 * they have no "..."). CNNC_DOCS_OUT keeps the folders of the pages there, with the pictures that
 * the commands drew. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ctype.h>
#include <dirent.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct Text {
    char *s;
    size_t len, cap;
} Text;

static void put(Text *t, const char *s, size_t len) {
    if (t->len + len + 1 > t->cap) {
        t->cap = 2 * (t->len + len + 1);
        t->s = realloc(t->s, t->cap);
    }
    memcpy(t->s + t->len, s, len);
    t->len += len;
    t->s[t->len] = 0;
}

static void read_all(Text *t, FILE *f) {
    char block[4096];
    put(t, "", 0);
    for (size_t n; (n = fread(block, 1, sizeof block, f)) > 0;)
        put(t, block, n);
}

typedef struct Page {
    char name[80], path[1000], folder[1000];
    Text out;     /* the page with what the commands print today */
    Text session; /* what was typed into the page's session so far */
    Text printed; /* what it printed */
    bool bless;
} Page;

/* ---- running */

static Text run(const Page *p, const char *command) {
    char all[8000];
    int n = snprintf(all, sizeof all,
                     "cd '%s' && PATH='%s':$PATH NO_COLOR=1 timeout 120 sh -c '%s' </dev/null 2>&1",
                     p->folder, CNNC_BINARY_DIR, command);
    assert_true(n < (int)sizeof all);
    FILE *f = popen(all, "r");
    assert_non_null(f);
    Text t = {0};
    read_all(&t, f);
    pclose(f);
    return t;
}

/* The command between single quotes. */
static void quoted(const char *s, size_t len, char *out, size_t cap) {
    size_t n = 0;
    for (size_t k = 0; k < len; k++) {
        const char *c = s[k] == '\'' ? "'\\''" : (char[]){s[k], 0};
        size_t step = strlen(c);
        assert_true(n + step + 1 < cap);
        memcpy(out + n, c, step);
        n += step;
    }
    out[n] = 0;
}

static Text run_shell(Page *p, const char *s, size_t len) {
    char command[6000];
    quoted(s, len, command, sizeof command);
    return run(p, command);
}

/* The session is typed anew up to this line: what it prints more than before is this line's. */
static Text run_repl(Page *p, const char *s, size_t len) {
    put(&p->session, s, len);
    put(&p->session, "\n", 1);
    char path[1100];
    snprintf(path, sizeof path, "%s/.session", p->folder);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fwrite(p->session.s, 1, p->session.len, f);
    fclose(f);
    Text all = run(p, "cnnc repl < .session"), more = {0};
    size_t known = p->printed.len <= all.len ? p->printed.len : 0;
    put(&more, all.s + known, all.len - known);
    free(p->printed.s);
    p->printed = all;
    return more;
}

/* ---- comparing: a line "..." of `want` stands for any lines. Numbers may differ in the last
 * digits (another CPU adds in another order), and what is rounding error by less than 1e-9; runs of
 * blanks are equal. */

static const char *next_line(const char *s, const char *end) {
    const char *nl = memchr(s, '\n', (size_t)(end - s));
    return nl ? nl + 1 : end;
}

static bool number_at(const char *s, const char *end, const char **after, double *value) {
    char text[40];
    size_t n = 0;
    const char *p = s + (s < end && *s == '-');
    if (p >= end || !isdigit((unsigned char)*p))
        return false;
    for (; s + n < end && n < sizeof text - 1 && strchr("+-.0123456789eE", s[n]); n++)
        text[n] = s[n];
    text[n] = 0;
    char *stop;
    *value = strtod(text, &stop);
    *after = s + (stop - text);
    return true;
}

static bool is_blank(const char *s, const char *end) { return s < end && *s == ' '; }

static bool same_line(const char *want, const char *want_end, const char *got,
                      const char *got_end) {
    while (want < want_end && got < got_end) {
        double a, b;
        const char *want_next, *got_next;
        if (is_blank(want, want_end) && is_blank(got, got_end)) {
            while (is_blank(want, want_end))
                want++;
            while (is_blank(got, got_end))
                got++;
        } else if (number_at(want, want_end, &want_next, &a) &&
                   number_at(got, got_end, &got_next, &b)) {
            if (!(fabs(a - b) <= 1e-9 * fmax(1, fabs(a))))
                return false;
            want = want_next;
            got = got_next;
        } else if (*want++ != *got++) {
            return false;
        }
    }
    return want == want_end && got == got_end;
}

static bool matches(const char *want, const char *want_end, const char *got, const char *got_end) {
    if (want == want_end)
        return got == got_end;
    const char *line_end = next_line(want, want_end);
    if (line_end - want == 4 && memcmp(want, "...\n", 4) == 0) {
        for (;; got = next_line(got, got_end)) {
            if (matches(line_end, want_end, got, got_end))
                return true;
            if (got == got_end)
                return false;
        }
    }
    const char *got_next = next_line(got, got_end);
    return same_line(want, line_end, got, got_next) &&
           matches(line_end, want_end, got_next, got_end);
}

/* One command and what the page says it prints: both go into the page's new text. */
static void command(Page *p, const char *input, size_t len,
                    Text (*runner)(Page *, const char *, size_t), const char *want,
                    const char *want_end) {
    Text got = runner(p, input, len);
    if (got.len && got.s[got.len - 1] != '\n')
        put(&got, "\n", 1);
    bool same = matches(want, want_end, got.s, got.s + got.len);
    if (!same && !p->bless)
        fail_msg("%s: `%.*s` prints\n%s\nthe page says\n%.*s", p->name, (int)len, input, got.s,
                 (int)(want_end - want), want);
    put(&p->out, same ? want : got.s, same ? (size_t)(want_end - want) : got.len);
    free(got.s);
}

/* ---- blocks */

static void write_block(Page *p, const char *file, const char *s, const char *end) {
    char path[1200];
    snprintf(path, sizeof path, "%s/%s", p->folder, file);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fwrite(s, 1, (size_t)(end - s), f);
    fclose(f);
}

static void check_block(Page *p, const char *file) {
    char check[300];
    snprintf(check, sizeof check, "cnnc check %s && echo fine", file);
    Text t = run(p, check);
    if (strcmp(t.s, "fine\n") != 0)
        fail_msg("%s: %s does not check:\n%s", p->name, file, t.s);
    free(t.s);
}

static void dialog(Page *p, const char *prompt, Text (*runner)(Page *, const char *, size_t),
                   const char *s, const char *end) {
    size_t skip = strlen(prompt);
    while (s < end) {
        const char *line = s;
        s = next_line(s, end);
        put(&p->out, line, (size_t)(s - line));
        if ((size_t)(s - line) <= skip || strncmp(line, prompt, skip) != 0)
            fail_msg("%s: a line before the first `%s`: %.*s", p->name, prompt, (int)(s - line),
                     line);
        /* A command may go on in lines that begin with "> ". */
        Text input = {0};
        put(&input, line + skip, (size_t)(s - line) - skip - 1);
        while (s < end && strncmp(s, "> ", 2) == 0) {
            const char *more = s;
            s = next_line(s, end);
            put(&p->out, more, (size_t)(s - more));
            put(&input, "\n", 1);
            put(&input, more + 2, (size_t)(s - more) - 3);
        }
        const char *want = s;
        while (s < end && strncmp(s, prompt, skip) != 0)
            s = next_line(s, end);
        command(p, input.s, input.len, runner, want, s);
        free(input.s);
    }
}

/* info: the words after the fence. */
static void block(Page *p, const char *info, const char *s, const char *end) {
    char kind[32] = "", file[100] = "";
    sscanf(info, "%31s %99s", kind, file);
    if (strcmp(kind, "console") == 0) {
        dialog(p, "$ ", run_shell, s, end);
        return;
    }
    if (strcmp(kind, "repl") == 0) {
        dialog(p, "cnnc> ", run_repl, s, end);
        return;
    }
    put(&p->out, s, (size_t)(end - s));
    bool is_cnn = strcmp(kind, "cnn") == 0;
    if (!file[0] && is_cnn)
        strcpy(file, "unnamed.cnn");
    if (file[0] && !strchr(file, '/'))
        write_block(p, file, s, end);
    if (is_cnn)
        check_block(p, file);
}

static void blocks(Page *p, const Text *page) {
    const char *s = page->s, *end = page->s + page->len;
    while (s < end) {
        const char *line = s;
        s = next_line(s, end);
        put(&p->out, line, (size_t)(s - line));
        if (strncmp(line, "```", 3) != 0)
            continue;
        char info[200];
        snprintf(info, sizeof info, "%.*s", (int)(s - line - 4), line + 3);
        const char *body = s;
        while (s < end && strncmp(s, "```", 3) != 0)
            s = next_line(s, end);
        if (s == end)
            fail_msg("%s: a block without end", p->name);
        block(p, info, body, s);
        line = s;
        s = next_line(s, end);
        put(&p->out, line, (size_t)(s - line));
    }
}

/* ---- pages */

static void make_folder(Page *p) {
    const char *keep = getenv("CNNC_DOCS_OUT");
    char command[3000];
    snprintf(p->folder, sizeof p->folder, "%s/%s", keep ? keep : CNNC_BINARY_DIR "/docs.out",
             p->name);
    int n = snprintf(command, sizeof command,
                     "rm -rf '%s' && mkdir -p '%s' && ln -s '%s/examples' '%s/examples'", p->folder,
                     p->folder, CNNC_SOURCE_DIR, p->folder);
    assert_true(n < (int)sizeof command);
    assert_int_equal(system(command), 0);
}

static void one_page(void **state) {
    Page *p = *state;
    Text page = {0};
    FILE *f = fopen(p->path, "rb");
    assert_non_null(f);
    read_all(&page, f);
    fclose(f);
    make_folder(p);
    p->bless = getenv("CNNC_BLESS") != NULL;
    blocks(p, &page);
    if (p->bless && (p->out.len != page.len || memcmp(p->out.s, page.s, page.len) != 0)) {
        f = fopen(p->path, "wb");
        assert_non_null(f);
        assert_int_equal(fwrite(p->out.s, 1, p->out.len, f), p->out.len);
        fclose(f);
    }
    free(page.s);
    free(p->out.s);
    free(p->session.s);
    free(p->printed.s);
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const Page *)a)->name, ((const Page *)b)->name);
}

static int find_pages(Page *pages, int cap) {
    int n = 0;
    snprintf(pages[n].name, sizeof pages[n].name, "README");
    snprintf(pages[n++].path, sizeof pages[0].path, "%s/README.md", CNNC_SOURCE_DIR);
    DIR *d = opendir(CNNC_SOURCE_DIR "/docs");
    for (struct dirent *e; d && (e = readdir(d)) != NULL && n < cap;) {
        size_t len = strlen(e->d_name);
        if (len < 4 || len > 70 || strcmp(e->d_name + len - 3, ".md") != 0)
            continue;
        snprintf(pages[n].name, sizeof pages[n].name, "%.*s", (int)len - 3, e->d_name);
        snprintf(pages[n++].path, sizeof pages[0].path, "%s/docs/%s", CNNC_SOURCE_DIR, e->d_name);
    }
    if (d)
        closedir(d);
    qsort(pages, (size_t)n, sizeof *pages, by_name);
    return n;
}

int main(void) {
    enum { MOST = 200 };
    Page *pages = calloc(MOST, sizeof *pages);
    struct CMUnitTest *tests = calloc(MOST, sizeof *tests);
    int n = find_pages(pages, MOST);
    for (int k = 0; k < n; k++)
        tests[k] = (struct CMUnitTest){pages[k].name, one_page, NULL, NULL, &pages[k]};
    int failed = _cmocka_run_group_tests("docs", tests, (size_t)n, NULL, NULL);
    free(pages);
    free(tests);
    return failed;
}
