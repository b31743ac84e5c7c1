/* The compiler as a library (driver/cnnc.h): the steps of a session, each behind ctx_protect. */
#include "driver/cnnc.h"

#include <stdlib.h>
#include <string.h>

#include "driver/options.h"
#include "driver/output.h"

#define API __attribute__((visibility("default")))

struct cnnc_job {
    Session s;
    Compiled made; /* made.m: NULL before cnnc_compile */
    Jit *jit;
    const char *broken; /* what unwound last, or NULL */
};

/* A call: what goes in, what comes out. */
typedef struct Call {
    cnnc_job *job;
    const char *name, *text;
    const char *const *words;
    size_t len;
    int n;
    const void *out;
    void *symbol;
} Call;

static int guarded(Call *c, void (*body)(void *)) {
    cnnc_job *job = c->job;
    if (job->s.status)
        return job->s.status;
    CtxStatus status = ctx_protect(job->s.ctx, body, c);
    if (status != CTX_OK) {
        job->broken = status == CTX_OOM ? "out of memory" : job->s.ctx->internal;
        job->s.status = status == CTX_OOM ? CNNC_FILE : CNNC_BUG;
    } else if (!job->s.status && diag_any_error(job->s.ctx)) {
        job->s.status = CNNC_PROGRAM;
    }
    return job->s.status;
}

static void start(void *arg) {
    Session *s = &((Call *)arg)->job->s;
    s->arena = &s->ctx->perm;
    s->out = sb_new(s->arena);
    options_defaults(&s->o);
}

API cnnc_job *cnnc_new(void) {
    cnnc_job *job = calloc(1, sizeof *job);
    if (job && (job->s.ctx = ctx_new(0)) != NULL) {
        Call c = {.job = job};
        if (guarded(&c, start) == CNNC_OK)
            return job;
    }
    cnnc_free(job);
    return NULL;
}

API void cnnc_free(cnnc_job *job) {
    if (!job)
        return;
    if (job->jit)
        jit_close(job->jit);
    ctx_free(job->s.ctx);
    free(job);
}

static void options(void *arg) {
    Call *c = arg;
    Session *s = &c->job->s;
    char **words = ARENA_ARRAY(s->arena, char *, c->n + 1);
    words[0] = arena_dup(s->arena, "cnnc", 5);
    for (int k = 0; k < c->n; k++)
        words[k + 1] = arena_dup(s->arena, c->words[k], strlen(c->words[k]) + 1);
    options_parse(s, c->n + 1, words);
    if (c->job->made.m)
        session_usage(s, "options come before the text is compiled");
    if (s->args.n)
        session_usage(s, "`%s` is no option", s->args.p[0]);
    options_messages(s);
}

API int cnnc_options(cnnc_job *job, int n, const char *const *words) {
    Call c = {.job = job, .words = words, .n = n};
    return guarded(&c, options);
}

static void compile(void *arg) {
    Call *c = arg;
    Session *s = &c->job->s;
    if (c->job->made.m) {
        session_usage(s, "a job compiles one text");
        return;
    }
    AstFile *file =
        c->text ? session_parse_text(s, c->name, c->text, c->len) : session_parse(s, c->name);
    LoopModule *m = session_compile_file(s, file, NULL);
    if (m)
        c->job->made = compiled_of(s, m, session_base(s, c->name), str_fmt(s->ctx, "%s.so", session_base(s, c->name)));
}

API int cnnc_compile(cnnc_job *job, const char *name, const char *text, size_t length) {
    Call c = {.job = job, .name = name, .text = text, .len = length};
    return guarded(&c, compile);
}

API int cnnc_compile_file(cnnc_job *job, const char *path) {
    Call c = {.job = job, .name = path};
    return guarded(&c, compile);
}

/* dot is drawn before the passes run: the program has it, a job does not. */
static bool ready(Call *c, const char *kind) {
    bool known = output_known(kind) && strcmp(kind, "dot") != 0;
    if (!c->job->made.m)
        session_usage(&c->job->s, "nothing is compiled yet");
    else if (!known)
        session_usage(&c->job->s, "there is no output `%s`: .so .o .a .s .ll .bc .h .py", kind);
    return c->job->made.m && known;
}

static void write_file(void *arg) {
    Call *c = arg;
    const char *dot = strrchr(c->name, '.'), *slash = strrchr(c->name, '/');
    const char *kind = dot && (!slash || dot > slash) ? dot + 1 : "";
    if (ready(c, kind) && !output_write(&c->job->s, &c->job->made, kind, c->name))
        session_fail(&c->job->s, CNNC_FILE);
}

API int cnnc_write(cnnc_job *job, const char *path) {
    Call c = {.job = job, .name = path};
    return guarded(&c, write_file);
}

static void output(void *arg) {
    Call *c = arg;
    if (!ready(c, c->name))
        return;
    if (strcmp(c->name, "so") == 0 || strcmp(c->name, "a") == 0)
        session_usage(&c->job->s, "a library is linked into a file: cnnc_write");
    else
        c->out = output_bytes(&c->job->s, &c->job->made, c->name, &c->len);
}

API const char *cnnc_output(cnnc_job *job, const char *kind, size_t *length) {
    Call c = {.job = job, .name = kind};
    guarded(&c, output);
    if (length)
        *length = c.len;
    return c.out;
}

static void function(void *arg) {
    Call *c = arg;
    if (!ready(c, "o"))
        return;
    if (!c->job->jit)
        c->job->jit = jit_open(c->job->s.ctx, c->job->made.m, &c->job->made.o);
    if (c->job->jit)
        c->symbol = jit_lookup(c->job->jit, c->name);
}

API void *cnnc_function(cnnc_job *job, const char *name) {
    Call c = {.job = job, .name = name};
    guarded(&c, function);
    return c.symbol;
}

API int cnnc_status(const cnnc_job *job) { return job->s.status; }

typedef struct Messages {
    cnnc_job *job;
    bool json;
    const char *text;
} Messages;

static void messages(void *arg) {
    Messages *m = arg;
    StrBuf sb = sb_new(&m->job->s.ctx->perm);
    diag_render_all(m->job->s.ctx, m->json, false, &sb);
    if (m->job->broken)
        sb_printf(&sb, m->json ? "" : "cnnc: %s\n", m->job->broken);
    m->text = sb.text;
}

API const char *cnnc_messages(cnnc_job *job, int json) {
    Messages m = {.job = job, .json = json != 0};
    return ctx_protect(job->s.ctx, messages, &m) == CTX_OK && m.text ? m.text
           : job->broken                                             ? job->broken
                                                                     : "";
}

API const char *cnnc_version(void) { return CNNC_VERSION; }
