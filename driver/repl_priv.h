/* Shared by the files of the REPL.
 *
 * A session keeps texts of definitions and values, each in an arena of its own, so that what is
 * replaced is given back. Every input is compiled in a fresh context that holds all that the
 * compiler allocates and is freed after it. */
#ifndef CNNC_DRIVER_REPL_PRIV_H
#define CNNC_DRIVER_REPL_PRIV_H

#include "base/diag.h"
#include "codegen/codegen.h"
#include "driver/repl.h"
#include "frontend/frontend.h"
#include "frontend/parse.h"

typedef struct ReplDef {
    Arena mem;
    const char *name; /* "" of an import without a name */
    const char *text; /* of the item, with its documentation */
    const char *file; /* where it stands: "input" or a path */
    uint32_t line;    /* of its first line there */
    bool is_const;    /* a value, not a function */
} ReplDef;

typedef struct ReplValue {
    Arena mem;
    const char *name;
    DType dt; /* of an element in memory */
    int rank;
    const int64_t *shape;
    size_t count;
    const void *data;
    const char *type_text; /* "f64[3]" */
} ReplValue;

typedef struct ReplData { /* :data */
    Arena mem;
    const char *name, *text; /* "x", "x=flips.csv:x" */
} ReplData;

typedef struct ReplSession {
    Ctx *ctx; /* of the arenas; its diagnostics are not used */
    const ReplOptions *options;
    VEC(ReplDef) defs;
    VEC(ReplValue) values;
    VEC(ReplData) data;
    Arena loaded_mem;
    const char *loaded; /* path of the last :load, or NULL */
    DType real;
    uint64_t seed;
    const volatile int *stop; /* set by Ctrl-C */
    int errors, internal;
    bool typed; /* by someone at a terminal */
    bool quit;
} ReplSession;

/* One input being worked on. */
typedef struct Eval {
    ReplSession *s;
    Ctx *ctx;
    Arena arena;
    const char *text, *name; /* name and line: where it stands, for messages */
    uint32_t line;
    bool final;      /* no more lines will come */
    bool incomplete; /* result: the next line belongs to it */
    StrBuf out;      /* for standard output */
    Jit *jit;
} Eval;

/* --- repl_session.c --- */
ReplDef *repl_def(const ReplSession *s, const char *name);
ReplValue *repl_value(const ReplSession *s, const char *name);
/* Takes the item, in place of one of the same name. text: the source that its place refers to. */
void repl_define(ReplSession *s, Ctx *ctx, const Item *it, const char *text, const char *file);
/* Copies the value under this name, in place of what has it; text and data are copied. */
void repl_bind(ReplSession *s, const char *name, const ReplValue *v);
void repl_drop_value(ReplSession *s, ReplValue *v);
/* Remembers data for :fit, in place of what has the name. */
void repl_keep_data(ReplSession *s, const char *name, const char *text);
/* All definitions parsed in ctx, as one file. extra: one more item, or NULL. */
AstFile *repl_ast(const ReplSession *s, Ctx *ctx, const Item *extra);
/* The text moved to this line by empty lines, so that messages name the right one. */
const char *repl_at_line(Ctx *ctx, const char *text, uint32_t line);
SessionValue *repl_values(const ReplSession *s, Ctx *ctx);
void repl_free(ReplSession *s);
/* The text of a file, or NULL with an error diagnostic. */
const char *repl_read_file(Ctx *ctx, const char *path, size_t *len);
LowerOptions repl_lower_options(const ReplSession *s);

/* --- repl_compile.c --- */
/* Compiles an expression; false after diagnostics. type: of the result, before lowering. */
typedef struct Compiled {
    LoopModule *loops;
    const LoopFunc *func;
    Type type;
    const char *type_text;
} Compiled;
bool repl_compile(Eval *e, const AstFile *items, const Expr *x, Compiled *c);
/* The printed type of an expression, NULL after diagnostics. */
const char *repl_type(Eval *e, const AstFile *items, const Expr *x, Type *type);
/* Opens the JIT in e->jit and calls; the value lies in e->arena. False: diagnostics, or
 * interrupted. */
bool repl_call(Eval *e, const Compiled *c, ReplValue *v);
/* Calls again; seconds of the fastest of some calls, < 0: failed. */
double repl_time(Eval *e, const Compiled *c, int *calls);
/* Runs the passes on a module for one declaration, up to the pass `stop` (NULL: to the end). False:
 * diagnostics. */
bool repl_passes(Eval *e, Module *m, const char *stop, LoopModule **loops, Module **graph);
void repl_put_value(StrBuf *out, const ReplValue *v);

/* --- repl_draw.c --- */
void repl_img(Eval *e, const char *arg);  /* "E [FILE.png]" */
void repl_plot(Eval *e, const char *arg); /* "E [FILE.svg]" */
/* --- repl_load.c --- */
/* Every load("FILE") in x becomes a value of the session, and x names it; false after a diagnostic. */
bool repl_take_loads(Eval *e, Expr *x);
void repl_drop_loads(ReplSession *s); /* those values, after the input */
/* --- repl_fit.c --- */
void repl_data(Eval *e, const char *line); /* what follows :data */
void repl_fit(Eval *e, const char *line);
void repl_derive(Eval *e, const char *line);

/* --- repl_command.c --- */
Expr *repl_parse(Eval *e, const char *text); /* the expression of an argument, or NULL with a diagnostic */
void repl_command(Eval *e, const char *line); /* ":type x", "?name" */
/* Names that begin with prefix, in order: commands after a colon, else definitions, values and
 * words. */
int repl_complete(Eval *e, const char *prefix, const char **names, int max);

/* --- repl.c --- */
bool repl_evaluate(Eval *e, const Expr *x, ReplValue *v);
/* Runs fn(e) in a fresh context, prints what it reports and answers. */
void repl_protected(ReplSession *s, Eval *e, void (*fn)(void *e));

/* --- repl_line.c --- */
typedef struct LineReader LineReader;
typedef enum LineStatus { LINE_READ, LINE_END, LINE_INTERRUPTED } LineStatus;
LineReader *line_open(ReplSession *s, Arena *a,
                      const char *text); /* text: its lines; NULL: standard input */
/* One line without its end, valid until the next call. more: a continuation. */
LineStatus line_read(LineReader *r, bool more, const char **line);
void line_remember(LineReader *r, const char *line); /* in the history, at once */
void line_close(LineReader *r);

#endif
