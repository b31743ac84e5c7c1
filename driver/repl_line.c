/* Where the REPL's lines come from: a terminal with editing, history and completion (libedit), or a
 * stream, or a text. Without libedit a terminal is read like a stream, with a prompt. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef CNNC_HAVE_LIBEDIT
#include <histedit.h>
#endif

#include "driver/repl_priv.h"

struct LineReader {
    ReplSession *s;
    const char *text; /* the rest of a given text, or NULL: standard input */
    StrBuf line;
    bool terminal, more;
#ifdef CNNC_HAVE_LIBEDIT
    EditLine *el;
    History *history;
    const char *history_file; /* or NULL */
#endif
};

static const char *prompt_of(const LineReader *r) { return r->more ? "  ... " : "cnnc> "; }

#ifdef CNNC_HAVE_LIBEDIT

enum { HISTORY_LINES = 1000, MAX_NAMES = 2048 };

static LineReader *reader_of(EditLine *el) {
    void *r = NULL;
    el_get(el, EL_CLIENTDATA, &r);
    return r;
}

static char *prompt(EditLine *el) { return (char *)prompt_of(reader_of(el)); }

typedef struct Completion {
    Eval eval; /* first: the argument of repl_protected */
    EditLine *el;
    unsigned char result;
} Completion;

/* Inserts what all names that begin with the word before the cursor have in common; if that is
 * nothing, lists them. */
static void complete_word(void *arg) {
    Completion *c = arg;
    const LineInfo *li = el_line(c->el);
    const char *start = li->cursor;
    while (start > li->buffer &&
           (strchr("_:", start[-1]) || (start[-1] >= '0' && start[-1] <= '9') ||
            ((start[-1] | 32) >= 'a' && (start[-1] | 32) <= 'z')))
        start--;
    while (start > li->buffer && start < li->cursor && *start == ':')
        start++;
    bool command = start == li->buffer + 1 && *li->buffer == ':';
    const char *prefix =
        str_intern(c->eval.ctx, start - command, (size_t)(li->cursor - start) + command);
    size_t typed = strlen(prefix) - command;
    const char **names = ARENA_ARRAY(&c->eval.ctx->perm, const char *, MAX_NAMES);
    int n = typed || command ? repl_complete(&c->eval, prefix, names, MAX_NAMES) : 0;
    if (n == 0)
        return;
    size_t common = strlen(names[0]);
    for (int i = 1; i < n; i++)
        while (strncmp(names[0], names[i], common) != 0)
            common--;
    if (common > typed) {
        el_insertstr(c->el, str_intern(c->eval.ctx, names[0] + typed, common - typed));
        c->result = CC_REFRESH;
        return;
    }
    sb_putc(&c->eval.out, '\n');
    for (int i = 0; i < n && i < 60; i++)
        sb_printf(&c->eval.out, "%s%s", names[i], i + 1 == n || i == 59 ? "\n" : "  ");
    c->result = CC_REDISPLAY;
}

static unsigned char complete(EditLine *el, int key) {
    (void)key;
    Completion c = {.el = el, .result = CC_ERROR};
    repl_protected(reader_of(el)->s, &c.eval, complete_word);
    return c.result;
}

static void open_history(LineReader *r, Arena *a) {
    HistEvent ev;
    const char *named = getenv("CNNC_HISTORY"), *home = getenv("HOME");
    r->history = history_init();
    if (!r->history)
        return;
    history(r->history, &ev, H_SETSIZE, HISTORY_LINES);
    history(r->history, &ev, H_SETUNIQUE, 1);
    if (named || home) {
        StrBuf path = sb_new(a);
        sb_printf(&path, "%s%s", named ? named : home, named ? "" : "/.cnnc_history");
        r->history_file = path.len ? path.text : NULL;
    }
    if (r->history_file)
        history(r->history, &ev, H_LOAD, r->history_file);
    el_set(r->el, EL_HIST, history, r->history);
}

static void open_editor(LineReader *r, Arena *a) {
    r->el = el_init("cnnc", stdin, stdout, stderr);
    if (!r->el)
        return;
    el_set(r->el, EL_CLIENTDATA, r);
    el_set(r->el, EL_PROMPT, prompt);
    el_set(r->el, EL_EDITOR, "emacs");
    el_set(r->el, EL_SIGNAL, 0);
    el_set(r->el, EL_ADDFN, "cnnc-complete", "complete a name", complete);
    el_set(r->el, EL_BIND, "^I", "cnnc-complete", NULL);
    el_set(r->el, EL_BIND, "^R", "em-inc-search-prev", NULL);
    open_history(r, a);
}

static LineStatus read_edited(LineReader *r, const char **line) {
    int n = 0;
    const char *text = el_gets(r->el, &n);
    if (*r->s->stop) {
        fputc('\n', stdout);
        return LINE_INTERRUPTED;
    }
    if (!text || n <= 0) {
        fputc('\n', stdout);
        return LINE_END;
    }
    r->line.len = 0;
    sb_putn(&r->line, text, (size_t)n - (text[n - 1] == '\n'));
    *line = r->line.text;
    return LINE_READ;
}

void line_remember(LineReader *r, const char *line) {
    HistEvent ev;
    if (!r->history || !*line)
        return;
    history(r->history, &ev, H_ENTER, line);
    if (r->history_file)
        history(r->history, &ev, H_SAVE, r->history_file);
}

void line_close(LineReader *r) {
    if (r->el)
        el_end(r->el);
    if (r->history)
        history_end(r->history);
}

#else

static void open_editor(LineReader *r, Arena *a) {
    (void)r;
    (void)a;
}

void line_remember(LineReader *r, const char *line) {
    (void)r;
    (void)line;
}

void line_close(LineReader *r) { (void)r; }

#endif

LineReader *line_open(ReplSession *s, Arena *a, const char *text) {
    LineReader *r = ARENA_NEW(a, LineReader);
    r->s = s;
    r->text = text;
    r->line = sb_new(a);
    r->terminal = s->typed;
    if (r->terminal)
        open_editor(r, a);
    return r;
}

static LineStatus read_text(LineReader *r, const char **line) {
    if (!*r->text)
        return LINE_END;
    size_t n = strcspn(r->text, "\n");
    r->line.len = 0;
    sb_putn(&r->line, r->text, n);
    r->text += n + (r->text[n] == '\n');
    *line = r->line.text;
    return LINE_READ;
}

static LineStatus read_stream(LineReader *r, const char **line) {
    if (r->terminal) {
        fputs(prompt_of(r), stdout);
        fflush(stdout);
    }
    char block[1024];
    r->line.len = 0;
    r->line.text[0] = 0;
    bool any = false;
    while (fgets(block, sizeof block, stdin)) {
        any = true;
        size_t n = strlen(block);
        bool ended = n > 0 && block[n - 1] == '\n';
        sb_putn(&r->line, block, n - ended);
        if (ended)
            break;
    }
    if (*r->s->stop) {
        clearerr(stdin);
        return LINE_INTERRUPTED;
    }
    *line = r->line.text;
    return any ? LINE_READ : LINE_END;
}

LineStatus line_read(LineReader *r, bool more, const char **line) {
    r->more = more;
    if (r->text)
        return read_text(r, line);
#ifdef CNNC_HAVE_LIBEDIT
    if (r->el)
        return read_edited(r, line);
#endif
    return read_stream(r, line);
}
