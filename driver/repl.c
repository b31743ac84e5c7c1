/* The loop of the REPL: a line is read, compiled in a context of its own, run, answered. */
#include "driver/repl.h"

#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "driver/repl_priv.h"

/* Set by Ctrl-C: a signal handler has no other way to reach the running call, which polls it. */
static volatile int interrupted;

static void on_interrupt(int number) {
    (void)number;
    interrupted = 1;
}

/* --- one input --- */

bool repl_evaluate(Eval *e, const Expr *x, ReplValue *v) {
    Compiled c;
    return repl_compile(e, repl_ast(e->s, e->ctx, NULL), x, &c) && repl_call(e, &c, v);
}

/* A definition that the C interface could export is checked when it is entered; others are, where
 * they are called. */
static bool is_checked_alone(const Item *it) {
    bool typed = it->kind == ITEM_DEF || it->kind == ITEM_MODEL || it->kind == ITEM_ESTIMATOR;
    for (int i = 0; i < it->n_formals; i++) {
        const Formal *f = &it->formals[i];
        bool is_int = f->type && f->type->kind.text && strcmp(f->type->kind.text, "int") == 0;
        typed = typed && f->type && (!is_int || f->default_);
    }
    return typed;
}

static void take_items(Eval *e, const AstFile *f, const char *text) {
    for (int i = 0; i < f->n_items; i++) {
        const Item *it = f->items[i];
        LowerOptions o = repl_lower_options(e->s);
        o.only = it->name.text;
        const AstFile *all = repl_ast(e->s, e->ctx, it);
        if (is_checked_alone(it))
            frontend_lower(e->ctx, &e->arena, all, &o);
        if (diag_any_error(e->ctx))
            return;
        repl_define(e->s, e->ctx, it, text, e->name);
    }
}

/* `x: T = e` is e given for a formal of type T: it is checked, widened and filled by the same
 * rules. */
static const Expr *declared(Eval *e, const Stmt *s, Item *cast) {
    Arena *a = &e->ctx->perm;
    Formal *f = ARENA_NEW(a, Formal);
    Expr *name = ARENA_NEW(a, Expr), *call = ARENA_NEW(a, Expr);
    Stmt *ret = ARENA_NEW(a, Stmt), **body = ARENA_NEW(a, Stmt *);
    *f = (Formal){.name = s->name, .type = s->type, .span = s->span};
    *name = (Expr){.kind = EXPR_NAME,
                   .path = {&f->name, 1, s->name.span},
                   .span = s->name.span,
                   .op_span = s->name.span};
    *ret =
        (Stmt){.kind = STMT_RETURN, .value = name, .span = s->span, .head = s->head, .op = s->op};
    *body = ret;
    *cast = (Item){.kind = ITEM_DEF,
                   .name = {str_of(e->ctx, "_declared"), s->name.span},
                   .has_formals = true,
                   .formals = f,
                   .n_formals = 1,
                   .type = s->type,
                   .body = body,
                   .n_body = 1,
                   .short_body = true,
                   .span = s->span,
                   .head = s->head};
    Arg *arg = ARENA_NEW(a, Arg);
    *arg = (Arg){.value = s->value, .span = s->value->span};
    *call = (Expr){.kind = EXPR_CALL,
                   .path = {&cast->name, 1, s->name.span},
                   .args = arg,
                   .n_args = 1,
                   .depth = s->value->depth + 1,
                   .span = s->value->span,
                   .op_span = s->op,
                   .close = s->op};
    return call;
}

static void bind(Eval *e, const Stmt *s) {
    Item cast;
    const Expr *x = s->type ? declared(e, s, &cast) : s->value;
    Compiled c;
    ReplValue v;
    bool ok = s->type ? repl_compile(e, repl_ast(e->s, e->ctx, &cast), x, &c) && repl_call(e, &c, &v)
                      : repl_evaluate(e, x, &v);
    if (!ok)
        return;
    repl_bind(e->s, s->name.text, &v);
    if (e->s->typed)
        sb_printf(&e->out, "%s : %s\n", s->name.text, v.type_text);
}

static void answer(Eval *e, const Expr *x) {
    ReplValue v;
    if (!repl_evaluate(e, x, &v))
        return;
    repl_put_value(&e->out, &v);
    repl_bind(e->s, "_", &v);
}

/* Only documentation so far: the definition comes in the next line. */
static bool is_pending_doc(const char *text) {
    const char *last = text;
    for (const char *s = text; *s; s++)
        if (*s == '\n' && s[1])
            last = s + 1;
    return strncmp(last, "##", 2) == 0;
}

static void run_input(void *arg) {
    Eval *e = arg;
    if (*e->text == ':' || *e->text == '?') {
        repl_command(e, e->text);
        return;
    }
    const char *text = repl_at_line(e->ctx, e->text, e->line);
    uint32_t file = ctx_add_file(e->ctx, e->name, text, strlen(text));
    ReplInput in = parse_repl_line(e->ctx, file, e->final);
    switch (in.kind) {
    case REPL_EMPTY:
        e->incomplete = !e->final && is_pending_doc(e->text);
        break;
    case REPL_INCOMPLETE:
        e->incomplete = true;
        break;
    case REPL_ITEMS:
        take_items(e, in.items, text);
        break;
    case REPL_STMT:
        if (repl_take_loads(e, in.stmt->value))
            bind(e, in.stmt);
        break;
    case REPL_EXPR:
        if (repl_take_loads(e, in.expr))
            answer(e, in.expr);
        break;
    case REPL_ERROR:
        break;
    }
}

typedef struct Protected {
    Eval *e;
    void (*fn)(void *e);
} Protected;

static void call_protected(void *arg) {
    Protected *p = arg;
    p->e->out = sb_new(&p->e->ctx->perm);
    p->fn(p->e);
}

/* Writes what the input answers and reports; under the protection of the session's context. */
static void answer_protected(void *arg) {
    Protected *p = arg;
    Eval *e = p->e;
    ReplSession *s = e->s;
    CtxStatus status = ctx_protect(e->ctx, call_protected, p);
    if (status == CTX_INTERNAL) {
        fprintf(stderr, "internal error: %s\n", e->ctx->internal);
        s->internal++;
    } else if (status == CTX_OOM) {
        ctx_oom(s->ctx);
    } else {
        fwrite(e->out.text, 1, e->out.len, stdout);
        fflush(stdout);
        StrBuf err = sb_new(&e->ctx->perm);
        diag_render_all(e->ctx, false, s->options->color, &err);
        fwrite(err.text, 1, err.len, stderr);
        s->errors += diag_any_error(e->ctx);
    }
}

void repl_protected(ReplSession *s, Eval *e, void (*fn)(void *e)) {
    Protected p = {e, fn};
    e->s = s;
    e->jit = NULL;
    e->incomplete = false;
    e->ctx = ctx_new(0);
    if (e->ctx)
        arena_init(&e->arena, e->ctx);
    if (!e->ctx || ctx_protect(s->ctx, answer_protected, &p) != CTX_OK) {
        fputs("error: out of memory\n", stderr);
        s->errors++;
    }
    repl_drop_loads(s);
    if (e->jit)
        jit_close(e->jit);
    if (e->ctx) {
        arena_free(&e->arena);
        ctx_free(e->ctx);
    }
}

/* --- the loop --- */

static bool is_blank(const char *s) { return s[strspn(s, " \t\r\n")] == 0; }

/* Reads lines up to the end of an input and runs it; a line that begins with a colon or ? is one by
 * itself. */
static void loop(ReplSession *s, LineReader *lines, Arena *a) {
    StrBuf input = sb_new(a);
    Eval e = {.s = s, .name = s->typed || !s->options->file ? "input" : s->options->file};
    uint32_t lines_read = 0;
    while (!s->quit) {
        const char *line;
        interrupted = 0;
        LineStatus status = line_read(lines, input.len > 0, &line);
        if (status == LINE_INTERRUPTED || (status == LINE_END && input.len == 0)) {
            input.len = 0;
            if (status == LINE_END)
                return;
            continue;
        }
        if (status == LINE_READ) {
            lines_read++;
            if (input.len == 0)
                e.line = s->typed ? 1 : lines_read;
            line_remember(lines, line);
            sb_printf(&input, input.len ? "\n%s" : "%s", line);
        }
        e.final = status == LINE_END;
        e.text = input.text;
        if (is_blank(input.text)) {
            input.len = 0;
            continue;
        }
        repl_protected(s, &e, run_input);
        if (!e.incomplete)
            input.len = 0;
        if (e.final)
            return;
    }
}

typedef struct Main {
    ReplSession s;
    Arena arena;
    int status;
} Main;

static void repl_main(void *arg) {
    Main *m = arg;
    const ReplOptions *o = m->s.options;
    const char *text = o->code;
    if (o->file) {
        size_t len;
        text = repl_read_file(m->s.ctx, o->file, &len);
        if (!text) {
            StrBuf err = sb_new(&m->arena);
            diag_render_all(m->s.ctx, false, o->color, &err);
            fwrite(err.text, 1, err.len, stderr);
            m->status = 3;
            return;
        }
    }
    m->s.typed = o->terminal && !text;
    LineReader *lines = line_open(&m->s, &m->arena, text);
    loop(&m->s, lines, &m->arena);
    line_close(lines);
    m->status = m->s.typed ? 0 : m->s.internal ? 70 : m->s.errors ? 1 : 0;
}

int repl_run(const ReplOptions *o) {
    Main m = {.s = {.options = o, .real = o->real, .seed = o->seed, .stop = &interrupted}};
    m.s.ctx = ctx_new(0);
    if (!m.s.ctx)
        return 70;
    arena_init(&m.arena, m.s.ctx);
    arena_init(&m.s.loaded_mem, m.s.ctx);
    struct sigaction act = {.sa_handler = on_interrupt},
                     old; /* without SA_RESTART: a waiting read returns */
    sigaction(SIGINT, &act, &old);
    setlocale(LC_CTYPE, "");
    if (ctx_protect(m.s.ctx, repl_main, &m) != CTX_OK) {
        fputs("error: out of memory\n", stderr);
        m.status = 70;
    }
    sigaction(SIGINT, &old, NULL);
    repl_free(&m.s);
    arena_free(&m.arena);
    ctx_free(m.s.ctx);
    return m.status;
}
