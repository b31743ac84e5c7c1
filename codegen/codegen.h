/* Code generation: loop IR -> LLVM -> object, shared library, JIT; C header and manifest. LLVM is known here only. */
#ifndef CNNC_CODEGEN_CODEGEN_H
#define CNNC_CODEGEN_CODEGEN_H

#include "ir/loop.h"
#include "ir/target.h"

/* Tiles whose innermost loops move vectors to and from the stack. */
typedef struct CodeSpills {
    VEC(LoopTile) tiles;
} CodeSpills;

typedef struct CodegenOptions {
    int level;        /* LLVM code generation level 0..3; 2 */
    bool debug_lines; /* line entries of the .cnn source (default on) */
    bool lines_apart; /* kernels that differ in name or lines alone are not shared (-g) */
    bool poll_stop;   /* poll exec->stop at back edges of jobs' outermost loops too (run, fit, REPL) */
    bool trampolines; /* NAME__call beside every entry, for jit_call */
    const char *base;     /* "lenet5": emits lenet5_strerror and, with manifest, lenet5_manifest; NULL: neither */
    const char *manifest; /* JSON text, or NULL */
    CodeSpills *spills;   /* codegen_objects adds what it sees in the code, for m->tiles; or NULL: does not look */
    uint64_t *counters;   /* JIT only: calls of kernel k and its ticks are added to counters[2k], [2k + 1]; or NULL */
} CodegenOptions;

/* The machine cnnc runs on; its triple; the version of LLVM. */
/* Code of this process will run once: LLVM leaves out loop strength reduction, a third of its time on bodies with many symbolic
 * dims. Kernels of convolutions lose a few percent by it, results are the same to the last bit. LLVM's switch is the process's:
 * a program calls it before it compiles, a library does not. */
void codegen_for_one_run(void);
const Target *codegen_host(Ctx *ctx);
const char *codegen_triple(Ctx *ctx);
const char *codegen_version(Ctx *ctx);

typedef enum EmitKind { EMIT_OBJECT, EMIT_ASM, EMIT_LLVM, EMIT_BITCODE } EmitKind;
/* Bytes in arena; NULL with an error diagnostic E09xx. LLVM's verifier runs always. */
const char *codegen_emit(Ctx *ctx, Arena *arena, const LoopModule *m, const CodegenOptions *o, EmitKind kind, size_t *len);

/* The same module as several objects, made on as many threads as there are processors; together they are what EMIT_OBJECT
 * is. Their number and bytes do not depend on the machine. NULL: diagnostic. */
typedef struct CodeObject {
    const char *bytes;
    size_t len;
} CodeObject;
const CodeObject *codegen_objects(Ctx *ctx, Arena *arena, const LoopModule *m, const CodegenOptions *o, int *n);

/* Kernels in the order of their numbers (counters), the same for the same options. */
typedef struct KernelInfo {
    Str name, entry;  /* its symbol; where it stands first */
    double flops;     /* of a call, lanes past the end included; at 64 rows, 32 of other dims, in the first job */
    Dim formula;      /* the same in the dims, where it is not a number and is a polynomial of them, else NULL */
    bool at_most;     /* conditions that only the data decide leave some of it out */
    int sums, lanes;  /* in registers in the innermost loop; of a vector */
    DType dt;
    int axis;         /* of what is stored, that the lanes lie along: -1 the last; 0: lanes are added up */
    int spills;       /* vector registers stored to and loaded from the stack */
    double predicted; /* share of the multiply-add peak, by a model of issue slots and latencies */
    double cycles;    /* the same as cycles of a call */
    double measured;  /* share of that peak when run; -1: it was not */
    const LoopStmt *const *loops; /* the loops that are this kernel */
    int n_loops;
} KernelInfo;
KernelInfo *codegen_kernels(Ctx *ctx, Arena *arena, const LoopModule *m, const CodegenOptions *o, int *n); /* NULL: diagnostic */
/* What the calls of each kernel in one call of f do, at values of its dims; of a `while` one round. Added to work[0..n). */
typedef struct KernelWork {
    double calls, flops, cycles;
    bool at_most;
} KernelWork;
void codegen_count(Ctx *ctx, const Target *t, const LoopFunc *f, const DimValue *dims, const KernelInfo *kernels, int n, KernelWork *work);
double codegen_share(const Target *t, DType dt, double flops, double cycles); /* of the multiply-add peak of one core */
void codegen_print_kernels(Ctx *ctx, StrBuf *out, const KernelInfo *all, int n);

/* Links objects into a shared library (no start files, exports only entries, strerror and manifest, full RELRO, nothing but
 * libc and libm) or archive, atomically at path. exports: the entries of m. False: diagnostic. */
bool codegen_link_so(Ctx *ctx, const LoopModule *m, const char *base, const CodeObject *objects, int n, const char *path);
bool codegen_archive(Ctx *ctx, const char *base, const char *object, size_t len, const char *path); /* with what it needs of the runtime */

/* The C header and the JSON manifest; base: "lenet5" (names lenet5_strerror, lenet5_manifest), sha256 of the source text. */
const char *codegen_header(Ctx *ctx, Arena *arena, const LoopModule *m, const char *base, const char *sha256);
/* A module on ctypes and NumPy, which loads the file `library` beside it. */
const char *codegen_python(Ctx *ctx, const LoopModule *m, const char *base, const char *sha256, const char *library);
const char *codegen_manifest(Ctx *ctx, Arena *arena, const LoopModule *m, const char *base, const char *sha256);

/* JIT: the same object code, loaded into this process. */
typedef struct Jit Jit;
Jit *jit_open(Ctx *ctx, const LoopModule *m, const CodegenOptions *o); /* NULL: diagnostic */
/* The same from objects that were made of m with o and trampolines. */
Jit *jit_open_objects(Ctx *ctx, const LoopModule *m, const CodegenOptions *o, const CodeObject *objects, int n);
void *jit_lookup(Jit *j, const char *symbol);                         /* NULL if there is none */
void jit_close(Jit *j);

/* Calls an entry with its arguments by kind (pointers, int64_t, double), through a generated trampoline
 * `NAME__call(const union CnncArg *)`: one 8-byte slot an argument, in entry->args order. JIT modules only. */
typedef union CnncArg {
    const void *p;
    int64_t i;
    double f;
    uint64_t u;
} CnncArg;
int jit_call(Jit *j, const char *entry, const CnncArg *args);
/* Value of the work formula. */
size_t codegen_work_bytes(const AbiEntry *e, const DimValue *dims, int n); /* SIZE_MAX: overflow */

#endif
