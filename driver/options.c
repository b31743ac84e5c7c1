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

/* The row of an argument and where its value begins ("" : the next word). -O2, -DK=5 and -Wno-x hold theirs. */
static const Row *row_of(const char *arg, const char **value) {
    size_t n = strcspn(arg, "=");
    *value = arg[n] ? arg + n + 1 : NULL;
    for (int k = 0; k < N_ROWS; k++)
        if (strlen(rows[k].name) == n && strncmp(rows[k].name, arg, n) == 0)
            return &rows[k];
    for (int k = 0; k < N_ROWS; k++)
        if ((strcmp(rows[k].name, "-O") == 0 || strcmp(rows[k].name, "-D") == 0) && strncmp(arg, rows[k].name, 2) == 0) {
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

static bool warning_flag(Session *s, const char *arg) {
    if (strncmp(arg, "-Wno-", 5) == 0)
        vec_push(s->arena, &s->o.wno, arg + 5);
    return strncmp(arg, "-W", 2) == 0 && strcmp(arg, "-Werror") != 0;
}

static void one_of(Session *s, const char *name, const char *value, const char *a, const char *b, const char *c) {
    if (value && strcmp(value, a) && strcmp(value, b) && (!c || strcmp(value, c)))
        session_usage(s, "%s is %s, %s%s%s, not `%s`", name, a, c ? b : "or ", c ? " or " : b, c ? c : "", value);
}

void options_parse(Session *s, int argc, char **argv) {
    bool plain = false;
    for (int k = 1; k < argc; k++) {
        const char *arg = argv[k], *value;
        if (plain || arg[0] != '-' || strcmp(arg, "-") == 0) {
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

void options_help(StrBuf *out) {
    for (int k = 0; k < N_ROWS; k++) {
        char left[64];
        snprintf(left, sizeof left, "%s%s%s", rows[k].name, rows[k].value ? (strlen(rows[k].name) == 2 ? " " : "=") : "", rows[k].value ? rows[k].value : "");
        sb_printf(out, "  %-28s %s\n", left, rows[k].help);
    }
}
