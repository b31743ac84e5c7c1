/* The command line: options from one table, which --help prints too. */
#include "driver/options.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum Shape { SHAPE_FLAG, SHAPE_TEXT, SHAPE_LIST, SHAPE_NUMBER, SHAPE_REAL } Shape;

typedef struct Row {
    const char *name;
    Shape shape;
    size_t at; /* of the field in Options */
    const char *value, *help;
    double initial;
} Row;

static const Row rows[] = {
#define FLAG(name, field, help) {name, SHAPE_FLAG, offsetof(Options, field), NULL, help, 0},
#define TEXT(name, field, value, help) {name, SHAPE_TEXT, offsetof(Options, field), value, help, 0},
#define LIST(name, field, value, help) {name, SHAPE_LIST, offsetof(Options, field), value, help, 0},
#define NUMBER(name, field, initial, value, help) {name, SHAPE_NUMBER, offsetof(Options, field), value, help, initial},
#define REAL(name, field, initial, value, help) {name, SHAPE_REAL, offsetof(Options, field), value, help, initial},
#include "driver/options.def"
#undef FLAG
#undef TEXT
#undef LIST
#undef NUMBER
#undef REAL
};
enum { N_ROWS = sizeof rows / sizeof *rows };

const char *const options_warnings[] = {"support", "unused", "dead-grad", "logit", "domain", "ident", "cast", "spacing", NULL};

void options_defaults(Options *o) {
    *o = (Options){0};
    for (int k = 0; k < N_ROWS; k++) {
        char *field = (char *)o + rows[k].at;
        if (rows[k].shape == SHAPE_NUMBER)
            *(int64_t *)(void *)field = (int64_t)rows[k].initial;
        else if (rows[k].shape == SHAPE_REAL)
            *(double *)(void *)field = rows[k].initial;
    }
}

/* The row of an argument and where its value begins ("" : the next word). -O2, -DK=5, -Idir and -Wno-x hold theirs. */
static const Row *row_of(const char *arg, const char **value) {
    size_t n = strcspn(arg, "=");
    *value = arg[n] ? arg + n + 1 : NULL;
    for (int k = 0; k < N_ROWS; k++)
        if (strlen(rows[k].name) == n && strncmp(rows[k].name, arg, n) == 0)
            return &rows[k];
    for (int k = 0; k < N_ROWS; k++)
        if ((strcmp(rows[k].name, "-O") == 0 || strcmp(rows[k].name, "-D") == 0 || strcmp(rows[k].name, "-I") == 0) && strncmp(arg, rows[k].name, 2) == 0) {
            *value = arg + 2;
            return &rows[k];
        }
    return NULL;
}

static void unknown(Session *s, const char *arg) {
    const char *names[N_ROWS];
    for (int k = 0; k < N_ROWS; k++)
        names[k] = rows[k].name;
    const char *near = diag_nearest(str_intern(s->ctx, arg, strcspn(arg, "=")), names, N_ROWS);
    if (near)
        session_usage(s, "there is no option `%s`; did you mean `%s`?", arg, near);
    else
        session_usage(s, "there is no option `%s`; `cnnc --help` lists them", arg);
}

/* Commas divide the values of lists of names. */
static void add_names(Session *s, Strings *list, const char *value, bool split) {
    while (split && strchr(value, ',')) {
        size_t n = strcspn(value, ",");
        vec_push(s->arena, list, str_intern(s->ctx, value, n));
        value += n + 1;
    }
    vec_push(s->arena, list, value);
}

static bool takes_names(const Row *r) { return strcmp(r->value, "PASS") == 0 || strcmp(r->value, "PASS|all") == 0 || strcmp(r->value, "A,B") == 0 || strcmp(r->value, "KINDS") == 0; }

static void set(Session *s, const Row *r, const char *value) {
    char *field = (char *)&s->o + r->at, *end;
    errno = 0;
    switch (r->shape) {
    case SHAPE_FLAG:
        *(bool *)(void *)field = true;
        break;
    case SHAPE_TEXT:
        *(const char **)(void *)field = value;
        break;
    case SHAPE_LIST:
        add_names(s, (Strings *)(void *)field, value, takes_names(r));
        break;
    case SHAPE_NUMBER:
        *(int64_t *)(void *)field = strtoll(value, &end, 10);
        if (errno || *end || end == value)
            session_usage(s, "%s wants a whole number, not `%s`", r->name, value);
        break;
    case SHAPE_REAL:
        *(double *)(void *)field = strtod(value, &end);
        if (errno || *end || end == value)
            session_usage(s, "%s wants a number, not `%s`", r->name, value);
        break;
    }
}

/* -Wunused, -Wno-unused: all are on unless they are switched off. */
static bool warning_flag(Session *s, const char *arg) {
    bool no = strncmp(arg, "-Wno-", 5) == 0;
    if (strncmp(arg, "-W", 2) != 0 || strcmp(arg, "-Werror") == 0)
        return false;
    const char *name = arg + (no ? 5 : 2);
    bool known = false;
    for (int k = 0; options_warnings[k]; k++)
        known |= strcmp(options_warnings[k], name) == 0;
    if (known && no)
        vec_push(s->arena, &s->o.wno, name);
    for (int k = 0; known && !no && k < s->o.wno.n; k++)
        if (strcmp(s->o.wno.p[k], name) == 0)
            s->o.wno.p[k--] = s->o.wno.p[--s->o.wno.n];
    if (known)
        return true;
    int n = 0;
    while (options_warnings[n])
        n++;
    const char *near = diag_nearest(name, options_warnings, n);
    session_usage(s, "there is no warning `%s`; %s%s%s", name, near ? "did you mean `" : "they are unused, logit, domain, ...", near ? near : "", near ? "`?" : "");
    return true;
}

static void one_of(Session *s, const char *name, const char *value, const char *a, const char *b, const char *c) {
    if (value && strcmp(value, a) && strcmp(value, b) && (!c || strcmp(value, c)))
        session_usage(s, "%s is %s, %s%s%s, not `%s`", name, a, c ? b : "or ", c ? " or " : b, c ? c : "", value);
}

/* The words of a file, as a shell divides them: blanks, quotes, backslashes; `@FILE` in it again, to a depth. */
static void add_file_words(Session *s, Strings *out, const char *path, int depth) {
    size_t len;
    if (depth > 8) {
        session_usage(s, "@%s: files of arguments name one another", path);
        return;
    }
    const char *text = session_read(s, path, &len);
    for (size_t k = 0; text && k < len;) {
        StrBuf word = sb_new(s->arena);
        char quote = 0;
        if (strchr(" \t\r\n", text[k])) {
            k++;
            continue;
        }
        for (; k < len && (quote || !strchr(" \t\r\n", text[k])); k++) {
            char c = text[k];
            if (c == quote)
                quote = 0;
            else if (!quote && (c == '"' || c == '\''))
                quote = c;
            else if (c == '\\' && quote != '\'' && k + 1 < len)
                sb_putc(&word, text[++k]);
            else
                sb_putc(&word, c);
        }
        sb_put(&word, "");
        if (word.len && word.text[0] == '@')
            add_file_words(s, out, word.text + 1, depth + 1);
        else
            vec_push(s->arena, out, word.len ? word.text : "");
    }
}

void options_parse(Session *s, int n_words, char **words) {
    bool plain = false;
    Strings all = {0};
    for (int k = 0; k < n_words; k++) {
        if (k && words[k][0] == '@' && words[k][1])
            add_file_words(s, &all, words[k] + 1, 0);
        else
            vec_push(s->arena, &all, words[k]);
    }
    int argc = all.n;
    const char **argv = all.p;
    for (int k = 1; k < argc; k++) {
        const char *arg = argv[k], *value;
        if (plain || arg[0] != '-' || strcmp(arg, "-") == 0) {
            s->no_verb |= plain && !s->args.n;
            vec_push(s->arena, &s->args, arg);
            continue;
        }
        if (strcmp(arg, "--") == 0) {
            plain = true;
            continue;
        }
        if (warning_flag(s, arg))
            continue;
        /* the REPL's -c and -f take text */
        bool repl = s->args.n && strcmp(s->args.p[0], "repl") == 0;
        if (repl && (strcmp(arg, "-c") == 0 || strcmp(arg, "-f") == 0) && k + 1 < argc) {
            *(arg[1] == 'c' ? &s->o.code : &s->o.file) = argv[++k];
            continue;
        }
        const Row *r = row_of(arg, &value);
        if (!r) {
            unknown(s, arg);
            continue;
        }
        if (r->shape == SHAPE_FLAG && value)
            session_usage(s, "%s takes no value", r->name);
        else if (r->shape != SHAPE_FLAG && !value && k + 1 == argc)
            session_usage(s, "%s wants a value: %s", r->name, r->value);
        else
            set(s, r, r->shape == SHAPE_FLAG || value ? value : argv[++k]);
    }
    one_of(s, "--color", s->o.color, "auto", "always", "never");
    one_of(s, "--diagnostics", s->o.diagnostics, "text", "json", NULL);
    one_of(s, "--real", s->o.real, "f32", "f64", NULL);
    one_of(s, "--na", s->o.na, "error", "drop", NULL);
    if (s->o.level < 0 || s->o.level > 3)
        session_usage(s, "-O%lld: the levels are 0 to 3", (long long)s->o.level);
    if (s->o.groups < 1 || s->o.groups > 1024)
        session_usage(s, "--groups is 1 to 1024");
}

void options_messages(Session *s) {
    Diags *d = diags_of(s->ctx);
    d->max_errors = (int)s->o.max_errors;
    d->werror = s->o.werror;
    d->no_warnings = s->o.w;
    for (int k = 0; k < s->o.wno.n; k++)
        vec_push(&s->ctx->perm, &d->disabled, str_of(s->ctx, s->o.wno.p[k]));
}

const OptionInfo *options_all(Session *s, int *n) {
    OptionInfo *all = ARENA_ARRAY(s->arena, OptionInfo, N_ROWS);
    for (int k = 0; k < N_ROWS; k++)
        all[k] = (OptionInfo){rows[k].name, rows[k].value, rows[k].help};
    *n = N_ROWS;
    return all;
}

void options_help(StrBuf *out) {
    for (int k = 0; k < N_ROWS; k++) {
        char left[64];
        snprintf(left, sizeof left, "%s%s%s", rows[k].name, rows[k].value ? (strlen(rows[k].name) == 2 ? " " : "=") : "", rows[k].value ? rows[k].value : "");
        sb_printf(out, "  %-28s %s\n", left, rows[k].help);
    }
}
