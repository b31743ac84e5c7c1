/* The compilation context: memory, interned strings, source files, diagnostics. It is the first argument
 * of every function that allocates or reports; there are no globals.
 *
 * Out of memory and broken invariants leave through one path: ctx_protect() calls a function, and a
 * failing allocation or ctx_internal() unwinds to it. Nothing in the compiler calls exit or abort. */
#ifndef CNNC_BASE_CTX_H
#define CNNC_BASE_CTX_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

#if defined(__GNUC__)
#define CNNC_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define CNNC_NORETURN __attribute__((noreturn))
#else
#define CNNC_PRINTF(fmt, args)
#define CNNC_NORETURN
#endif

/* An interned string: NUL-terminated, equal texts are equal pointers. */
typedef const char *Str;

/* A stretch of source text; lines and columns count from 1, columns in characters, the end is exclusive.
 * file is an index into Ctx.files; file 0 means "no place". */
typedef struct Span {
    uint32_t file, line, col, end_line, end_col;
} Span;

typedef struct SourceFile {
    Str name;         /* as the user gave it; shown in messages */
    const char *text; /* NUL-terminated copy, in the context's arena */
    size_t len;
} SourceFile;

struct DimTable;
struct Interner;
struct Diags;

typedef enum CtxStatus { CTX_OK = 0, CTX_OOM = 1, CTX_INTERNAL = 2 } CtxStatus;

struct Ctx {
    Arena perm; /* lives as long as the context */
    struct Interner *strs;
    struct Diags *diags;
    struct DimTable *dims; /* ir/dim.c */
    SourceFile *files; /* files[0] is unused */
    uint32_t n_files, cap_files;

    jmp_buf *escape;          /* innermost ctx_protect, or NULL */
    char internal[512];       /* text of the internal error that unwound */
    const char *running_pass; /* named in internal errors; NULL outside passes */

    long allocs;  /* blocks asked of malloc so far */
    long fail_at; /* tests: the allocation of this number fails; 0: none */
};

/* A new context, or NULL when out of memory. fail_at: see Ctx (0 in production). */
Ctx *ctx_new(long fail_at);
void ctx_free(Ctx *ctx);

/* Calls fn(arg). CTX_OOM or CTX_INTERNAL if it was unwound; memory of arenas stays owned by them. */
CtxStatus ctx_protect(Ctx *ctx, void (*fn)(void *arg), void *arg);

/* Unwinds with CTX_INTERNAL: a broken invariant. The text names the running pass. */
CNNC_NORETURN void ctx_internal(Ctx *ctx, const char *fmt, ...) CNNC_PRINTF(2, 3);
CNNC_NORETURN void ctx_oom(Ctx *ctx);

#define CTX_ASSERT(ctx, cond)                                                                      \
    ((cond) ? (void)0 : ctx_internal((ctx), "%s:%d: assertion failed: %s", __FILE__, __LINE__, #cond))

/* Registers a source text (copied); returns its number for Span.file. */
uint32_t ctx_add_file(Ctx *ctx, const char *name, const char *text, size_t len);

#endif
