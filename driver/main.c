/* cnnc: the verb, its command, the messages, the exit status. */
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "driver/options.h"

static const Command commands[] = {
#define COMMAND(name, arguments, help) {#name, command_##name, arguments, help},
#include "driver/commands.def"
#undef COMMAND
};
enum { N_COMMANDS = sizeof commands / sizeof *commands };

const Command *command_all(int *n) {
    *n = N_COMMANDS;
    return commands;
}

void command_help(Session *s, const Command *c) {
    StrBuf *o = &s->out;
    if (c) {
        sb_printf(o, "usage: cnnc %s %s\n  %s\n\noptions:\n", c->verb, c->arguments, c->help);
    } else {
        sb_put(o, "usage: cnnc FILE.cnn -o OUT       compile: OUT is .so .o .a .s .ll .bc .h .py or .dot\n"
                  "       cnnc VERB ...\n\nverbs:\n");
        for (int k = 0; k < N_COMMANDS; k++)
            sb_printf(o, "  %-10s %-42s %s\n", commands[k].verb, commands[k].arguments, commands[k].help);
        sb_put(o, "\noptions:\n");
    }
    options_help(o);
}

static const Command *verb_of(Session *s) {
    for (int k = 0; k < N_COMMANDS && s->args.n && !s->no_verb; k++)
        if (strcmp(commands[k].verb, s->args.p[0]) == 0)
            return &commands[k];
    return NULL;
}

static bool has_suffix(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash || strchr(path, '.') || strcmp(path, "-") == 0;
}

/* Verbs that other programs have. */
static const char *foreign_verb(const char *verb) {
    static const struct {
        const char *verb, *help;
    } rows[] = {{"help", "`cnnc --help` lists the verbs, `cnnc fit --help` says more of one"},
                {"compile", "without a verb a file is compiled: `cnnc FILE.cnn -o FILE.so`"},
                {"build", "without a verb a file is compiled: `cnnc FILE.cnn -o FILE.so`"},
                {"train", "training a model is fitting an estimator: `cnnc fit FILE.cnn --data x=FILE`"},
                {"format", "`cnnc fmt FILE.cnn`"},
                {"lint", "`cnnc check FILE.cnn`"},
                {"exec", "`cnnc run FILE.cnn FUNCTION name=value`"},
                {"eval", "`cnnc repl -c EXPRESSION`"},
                {"infer", "`cnnc predict FILE.cnn ESTIMATOR --init W --data x=FILE`"},
                {"version", "`cnnc --version`"}};
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++)
        if (strcmp(rows[k].verb, verb) == 0)
            return rows[k].help;
    return NULL;
}

static void unknown_verb(Session *s) {
    const char *names[N_COMMANDS], *other = foreign_verb(s->args.p[0]);
    for (int k = 0; k < N_COMMANDS; k++)
        names[k] = commands[k].verb;
    const char *near = diag_nearest(s->args.p[0], names, N_COMMANDS);
    if (other)
        session_usage(s, "there is no verb `%s`: %s", s->args.p[0], other);
    else if (near)
        session_usage(s, "there is no verb `%s`; did you mean `%s`?", s->args.p[0], near);
    else
        session_usage(s, "there is no verb `%s`; `cnnc --help` lists them (a file of that name: `./%s`)", s->args.p[0], s->args.p[0]);
}

typedef struct Main {
    Session *s;
    int argc;
    char **argv;
} Main;

static void body(void *arg) {
    Main *m = arg;
    Session *s = m->s;
    s->arena = &s->ctx->perm;
    s->out = sb_new(s->arena);
    options_defaults(&s->o);
    options_parse(s, m->argc, m->argv);
    options_messages(s);
    const Command *c = verb_of(s);
    if (s->status)
        return;
    if (s->o.version) {
        sb_put(&s->out, "cnnc " CNNC_VERSION "\n");
    } else if (s->o.help || (m->argc < 2 && !isatty(0))) {
        command_help(s, c);
        session_fail(s, s->o.help ? EXIT_OK : EXIT_USAGE);
    } else if (!s->args.n && (!isatty(0) || s->o.out.n || s->o.emit.n)) {
        session_usage(s, "there is no input file");
    } else if (!s->args.n) {
        command_repl(s);
    } else if (c) {
        s->verb = c->verb;
        c->run(s);
    } else if (!s->no_verb && !has_suffix(s->args.p[0])) {
        unknown_verb(s);
    } else {
        command_compile(s);
    }
}

static void put_messages(Session *s) {
    bool json = s->o.diagnostics && strcmp(s->o.diagnostics, "json") == 0;
    const char *color = s->o.color ? s->o.color : "auto";
    bool on = strcmp(color, "always") == 0 || (strcmp(color, "auto") == 0 && isatty(2) && !getenv("NO_COLOR"));
    StrBuf sb = sb_new(&s->ctx->perm);
    diag_render_all(s->ctx, json, on, &sb);
    fflush(stdout);
    fwrite(sb.text, 1, sb.len, stderr);
}

typedef struct Finish {
    Session *s;
} Finish;

static void finish(void *arg) {
    Session *s = ((Finish *)arg)->s;
    fwrite(s->out.text, 1, s->out.len, stdout);
    put_messages(s);
    if (s->status == 0 && diag_any_error(s->ctx))
        s->status = EXIT_PROGRAM;
}

int main(int argc, char **argv) {
    setlocale(LC_ALL, "C"); /* numbers are read and written the same everywhere */
    signal(SIGPIPE, SIG_IGN);
    const char *fail_at = getenv("CNNC_FAIL_ALLOC"); /* tests: this allocation fails */
    Session s = {.ctx = ctx_new(fail_at ? atol(fail_at) : 0)};
    Main m = {&s, argc, argv};
    CtxStatus status = s.ctx ? ctx_protect(s.ctx, body, &m) : CTX_OOM;
    Finish f = {&s};
    if (status == CTX_OK)
        status = ctx_protect(s.ctx, finish, &f);
    int code = s.status;
    if (status == CTX_OOM) {
        fputs("cnnc: out of memory\n", stderr);
        code = EXIT_FILE;
    } else if (status == CTX_INTERNAL) {
        fprintf(stderr, "cnnc: internal error: %s\ncnnc: this is a mistake in the compiler, not in your program\n", s.ctx->internal);
        code = EXIT_BUG;
    }
    if (fflush(stdout) != 0 && code == EXIT_OK) {
        fputs("cnnc: cannot write to standard output\n", stderr);
        code = EXIT_FILE;
    }
    ctx_free(s.ctx);
    return code;
}
