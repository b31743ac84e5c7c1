/* One run of cnnc: the context, the options, and the steps from a file to compiled code. */
#ifndef CNNC_DRIVER_SESSION_H
#define CNNC_DRIVER_SESSION_H

#include <stdbool.h>

#include "base/diag.h"
#include "codegen/codegen.h"
#include "frontend/frontend.h"
#include "passes/pass.h"

enum { EXIT_OK = 0, EXIT_PROGRAM = 1, EXIT_USAGE = 2, EXIT_FILE = 3, EXIT_CHECK = 4, EXIT_BUG = 70, EXIT_STOPPED = 130 };

typedef VEC(const char *) Strings;

/* What the command line says; every field has a row in options.def. */
typedef struct Options {
    Strings out, emit, define, data, test, start, wno, only, before, after, disabled, include;
    const char *real, *target, *march, *mcpu, *mattr, *prefix, *stop_after, *color, *diagnostics, *format, *deps_file, *save, *init, *resume, *weights, *out_file,
        *na, *method, *code, *file, *cache;
    int64_t level, groups, seed, threads, batch, epochs, patience, starts, max_errors;
    double holdout;
    bool debug, object, assembly, llvm, mle, quiet, verbose, version, help, json, time_passes, verify_each, print_memory, print_kernels, werror, w, check, deps;
} Options;

typedef struct Session {
    Ctx *ctx;
    Arena *arena; /* of this run; ctx->perm in the program */
    Options o;
    Strings args;     /* positional, the verb first where there is one */
    const char *verb; /* "fit"; NULL: compile */
    bool no_verb;     /* the first positional stands after `--`: it is a file */
    StrBuf out;       /* what goes to standard output at the end of a command that prints at once */
    int status;
    Define *defines;
    int n_defines;
    unsigned skip_entries; /* Unit.skip_entries: what the verb does not call */
    Unit unit;             /* as the passes left it; session_next_tiles goes on from it */
    int tilings;
    struct Table *tables;  /* csv files that were read (data/array.c) */
} Session;

/* A whole number that an int64_t holds: only these are converted. */
static inline bool real_is_int(double v) { return v >= -9223372036854775808.0 && v < 9223372036854775808.0 && v == (double)(int64_t)v; }

/* A usage error: exit status 2. A file error: 3. Both are diagnostics without a place (or with `span`). */
void session_usage(Session *s, const char *fmt, ...) CNNC_PRINTF(2, 3);
Diag *session_file_error(Session *s, Span span, const char *fmt, ...) CNNC_PRINTF(3, 4);
/* With -v, a line on standard error: what is done. */
void session_say(const Session *s, const char *fmt, ...) CNNC_PRINTF(2, 3);
/* status becomes `status` if it was 0; with errors in the context at least 1. */
void session_fail(Session *s, int status);

/* The whole file ("-": standard input), or NULL after an error. */
char *session_read(Session *s, const char *path, size_t *len);
/* Writes under a temporary name, syncs and renames; false after an error: nothing is left behind. */
bool session_is_special(const char *path); /* a device or pipe: written as it is */
bool session_write(Session *s, const char *path, const char *data, size_t len);
/* Asked before long work whose result goes there; false: said why not. */
bool session_can_write(Session *s, const char *path);

/* Each step is NULL after errors. */
AstFile *session_parse(Session *s, const char *path);
AstFile *session_parse_text(Session *s, const char *name, const char *text, size_t len);
LowerOptions session_lower_options(Session *s, const char *only);
Module *session_lower(Session *s, const AstFile *file, const char *only);
Module *session_lower_with(Session *s, const AstFile *file, const LowerOptions *o);
/* Runs the pipeline with the command line's pass options; dumps go to standard error. */
bool session_passes(Session *s, Unit *u);
Unit session_unit(Session *s, Module *m);
/* Tiles that spilled are left for the next ones: the loops with those, or NULL where there is nothing to mend. */
LoopModule *session_next_tiles(Session *s, const CodeSpills *spills);
bool session_sees_spills(const LoopModule *m, const CodegenOptions *o); /* is it to be asked of the code? */
LoopModule *session_compile(Session *s, const char *path, const char *only);
LoopModule *session_compile_file(Session *s, const AstFile *file, const char *only); /* file may be NULL */
/* The verb calls no entries of these kinds: none are compiled. */
#define SESSION_SKIP(...) session_skip(s, (const AbiEntryKind[]){__VA_ARGS__}, (int)(sizeof((AbiEntryKind[]){__VA_ARGS__}) / sizeof(AbiEntryKind)))
void session_skip(Session *s, const AbiEntryKind *kinds, int n);
CodegenOptions session_codegen(const Session *s);
void session_print_kernels(Session *s, LoopModule *m, bool run); /* --print-kernels; run: measured where the target is this machine */
void bench_kernels(Session *s, LoopModule *m, KernelInfo *all, int n); /* runs the entries of m on drawn data; sets what was measured */
bool session_is_ir(const char *path);

/* The file's base name without suffix: "lenet5" of "dir/lenet5.cnn"; --prefix overrides. */
const char *session_base(Session *s, const char *path);

/* ---- commands: one file each, a row of commands.def */
typedef struct Command {
    const char *verb;
    void (*run)(Session *s);
    const char *arguments;
    const char *help;
} Command;
#define COMMAND(name, arguments, help) void command_##name(Session *s);
#include "driver/commands.def"
#undef COMMAND
const Command *command_all(int *n);
void command_compile(Session *s);
void command_help(Session *s, const Command *c);

#endif
