/* Inside of code generation: one LLVM module being built from a loop module. */
#ifndef CNNC_CODEGEN_EMIT_H
#define CNNC_CODEGEN_EMIT_H

#include <llvm-c/Core.h>
#include <llvm-c/DebugInfo.h>
#include <llvm-c/TargetMachine.h>

#include "codegen/codegen.h"

/* The frame: what a call's kernels and jobs need, 8-byte slots on the entry's stack. In order: the C arguments, the dims,
 * the aligned work pointer, the pointer to the jobs' statuses, the set of free arenas (a bit each), of free rows (likewise), the pointer to the
 * jobs that wait for their part in order, the number of the next one, whether a thread is at it, how jobs and threads stand (open, begun,
 * ended, all), whether others than the calling thread have run jobs of this call, and a slot for each by-value buffer. */
typedef struct FrameLayout {
    int args, dims, work, statuses, arenas, rows, waiting, next, busy, open, begun, ended, jobs, awake, values, n;
} FrameLayout;

/* A kernel: the outermost loop of a nest, that stands in a function of its own (kernel.c). */
typedef struct KernelName {
    Str name, symbol;
} KernelName;

typedef struct Kernel {
    int number;
    const char *key; /* canonical form of the loop */
    size_t key_len;
    Str name, symbol; /* "LeNet5.C3.conv.bwd.w"; unique */
    const LoopFunc *f; /* where it stood first */
    const LoopStmt *s;
    int n_bufs, n_symbols; /* its arguments, as called in f */
    const BufId *bufs;
    const DimSym *symbols;
    bool may_fail;
    int cost; /* statements */
    VEC(KernelName) also;
    VEC(const LoopStmt *) loops; /* that are it: s, and others equal to it */
} Kernel;

/* Those of a loop module. apart: they may stand in other LLVM modules than their callers. */
typedef struct Kernels {
    VEC(Kernel *) list;
    VEC(Str) names;
    VEC(DimSym) canonical;
    bool apart;
} Kernels;

typedef struct Emit {
    Ctx *ctx;
    Arena *arena;
    const LoopModule *m;
    const CodegenOptions *o;
    LLVMContextRef c;
    LLVMModuleRef mod;
    LLVMTypeRef i1, i8, i32, i64, f32, f64, ptr, void_;
    bool x86;
    LLVMDIBuilderRef di; /* NULL without line entries */
    LLVMMetadataRef di_unit, di_type, *di_files;
    Kernels *kernels;
    VEC(LLVMValueRef) functions; /* of kernels in this module, by number; NULL: not called here */
} Emit;

typedef struct Cached {
    Dim d;
    LLVMValueRef v;
} Cached;

/* A level of loops around the point of emission: level 0 is the function. Values that depend on nothing deeper are computed
 * once, in the level's head. */
typedef struct Level {
    LLVMValueRef at; /* instruction before which hoisted code goes: the head's terminator */
    DimSym index;
    LLVMValueRef value;
    VEC(Cached) cache;
} Level;

/* One LLVM function: an entry, a job or a kernel. */
typedef struct FnEmit {
    Emit *e;
    const LoopFunc *f;
    FrameLayout layout;
    LLVMValueRef fn, frame;
    LLVMBuilderRef b;
    LLVMMetadataRef scope; /* DISubprogram */
    VEC(Level) levels;
    Arena scratch;      /* of the tables below, as large as the whole function; freed by emit_close */
    LLVMValueRef *vals; /* by LVal id */
    LLVMValueRef *base; /* by BufId id - 1: pointer to the buffer */
    LLVMValueRef *dims; /* by number of the dim, loaded on first use */
    LLVMValueRef at;    /* instruction before which a dim is being computed, or NULL */
    LLVMValueRef arena; /* number of the job's arena, or NULL */
    const LoopStmt *job; /* whose iteration a job or its part in order is, or NULL */
    LLVMValueRef number, row; /* of that; of the row of its buffers that it has been given */
    const LoopStmt **rows_of; /* loop_rows_of_jobs */
    const BufId *totals;      /* loop_totals_of_rows, where the job may work on these, or NULL */
    LLVMValueRef on_totals;   /* i1, in such a job: it does */
    LLVMBasicBlockRef leave; /* block that returns `status` */
    LLVMValueRef status;     /* phi there */
    LLVMValueRef lines_on;    /* in the first or last iteration of a loop by lines: its lanes, else NULL (emit_lines.c) */
    bool in_loop, in_kernel;
    bool waits; /* nothing leaves the entry when asked to stop: a LOOP_POLL says where it ends, or it has begun to
                   change params, state or opt */
    LLVMValueRef exec; /* in kernels that poll: the caller's cnnc_exec */
    Span span;
} FnEmit;

/* emit.c */
void emit_begin(Emit *e, LLVMTargetMachineRef tm); /* context, module, types */
void emit_end(Emit *e);
LLVMTypeRef emit_dtype(const Emit *e, DType dt);            /* of a value: bool is i1 */
LLVMTypeRef emit_memory_type(const Emit *e, DType dt);      /* of a cell: bool is i8 */
LLVMTypeRef emit_ltype(const Emit *e, LType t);
LLVMValueRef emit_i64(const Emit *e, int64_t v);
LLVMValueRef emit_intrinsic(FnEmit *f, const char *name, LLVMTypeRef *overloads, int n, LLVMValueRef *args, int n_args);
void emit_function_attributes(Emit *e, LLVMValueRef fn);
void emit_function_attribute(Emit *e, LLVMValueRef fn, const char *key, const char *value);
void emit_function_attribute(Emit *e, LLVMValueRef fn, const char *key, const char *value);
LLVMValueRef emit_text(Emit *e, const char *text, const char *name); /* private constant */
LLVMBasicBlockRef emit_block(FnEmit *f, const char *name);
/* Opens a function of this type with `leave` and level 0 prepared; the builder stands in its body. */
FnEmit emit_open(Emit *e, const LoopFunc *f, LLVMValueRef fn, Span span);
/* Ends it: returns 0 at the current point, completes `leave`. */
void emit_close(FnEmit *f);
void emit_return_if(FnEmit *f, LLVMValueRef failed, LLVMValueRef status); /* leaves with status where failed (i1) */

/* emit_stmt.c: the iterations from lo to hi, init being the carried values before; out receives those after. */
void emit_iterations(FnEmit *f, const LoopStmt *s, LLVMValueRef lo, LLVMValueRef hi, const LLVMValueRef *init, LLVMValueRef *out);

/* emit_lines.c: a loop whose vectors begin at cache lines. */
void emit_by_lines(FnEmit *f, const LoopStmt *s);

/* emit_dim.c: the value of a dim (i64), computed at the outermost level where its symbols are known. */
LLVMValueRef emit_dim(FnEmit *f, Dim d);
LLVMValueRef emit_floor_div(FnEmit *f, LLVMValueRef a, LLVMValueRef b);
/* The same at the current point with a check: *bad becomes true on overflow or a divisor below 1. */
LLVMValueRef emit_dim_checked(FnEmit *f, Dim d, LLVMValueRef *bad);

/* emit_scalar.c */
LLVMValueRef emit_scalar(FnEmit *f, const LoopStmt *s, const LLVMValueRef *args, LType arg);
LLVMValueRef emit_splat(FnEmit *f, LLVMValueRef v, int lanes);
LLVMValueRef emit_constant(const Emit *e, LType t, ScalarValue k);

/* emit_row.c: a row that has an expansion, on scalars of dt */
LLVMValueRef emit_row(FnEmit *f, ScalarOp op, LLVMValueRef *args, DType dt);

/* emit_memory.c */
LLVMValueRef emit_base(FnEmit *f, BufId id);
void emit_load(FnEmit *f, const LoopStmt *s);
void emit_store(FnEmit *f, const LoopStmt *s);
LLVMValueRef emit_element(FnEmit *f, BufId id, int rank, const Dim *subs); /* pointer */

/* emit_stmt.c */
void emit_body(FnEmit *f, const LoopBody *b);
bool emit_has_status(const LoopBody *b);

/* emit_entry.c */
FrameLayout emit_frame_layout(const LoopFunc *f);
LLVMValueRef emit_frame_slot(FnEmit *f, int slot); /* pointer */
LLVMValueRef emit_frame_load(FnEmit *f, int slot, LLVMTypeRef t);
void emit_store_slot(FnEmit *f, int slot, LLVMValueRef v);
LLVMValueRef emit_status_code(const FnEmit *f, int number);
/* Flushes denormals where real is f32; returns what the mode was, or NULL. */
LLVMValueRef emit_set_mode(FnEmit *f);
void emit_restore_mode(FnEmit *f, LLVMValueRef old);
void emit_entry(Emit *e, const LoopFunc *f);
void emit_strerror(Emit *e);

/* emit_job.c */
void emit_parallel(FnEmit *f, const LoopStmt *s);
LLVMValueRef emit_exec(FnEmit *f); /* the argument, or a null pointer */
void emit_poll(FnEmit *f); /* leaves with the status `stopped` if the caller asks for it, unless the entry waits */
LLVMValueRef emit_asked(FnEmit *f); /* whether the caller asks to stop, as i64 */

/* kernel.c */
void kernel_call(FnEmit *f, const LoopStmt *s);  /* at the current point; the kernel joins e->kernels */
void kernel_emit(Emit *e, const Kernel *k);      /* its code */
void kernel_count(Ctx *ctx, const Target *t, const Kernel *k, KernelInfo *i); /* FLOPs and cycles */
/* In which of n_parts modules each entry, then each kernel stands, so that all have about the same work; load: that of each
 * module. Depends on nothing but the program: the bytes are the same on every machine. */
int kernel_cost(const LoopModule *m); /* statements */
int *kernel_deal_entries(Ctx *ctx, const LoopModule *m, long *load, int n_parts);
int *kernel_deal(Ctx *ctx, const Kernels *all, long *load, int n_parts);

/* spills.c: kernels that have tiles say so while they are compiled if their frame has room for a vector; these alone are looked
 * at as assembly. */
bool spills_watched(const Emit *e, const Kernel *k);
void spills_watch(Emit *e, LLVMValueRef fn);
void spills_note(const Emit *e, const char *what); /* what LLVM said: of a kernel of e */

/* debuginfo.c */
void debug_begin(Emit *e);
void debug_function(FnEmit *f, Str name, Span span);
void debug_location(FnEmit *f, Span span);
void debug_end(Emit *e);

/* object.c */
/* Assembly with LLVM's comments; kernels: filled. NULL: diagnostic. */
const char *codegen_assembly(Ctx *ctx, Arena *arena, const LoopModule *m, const CodegenOptions *o, Kernels *kernels, size_t *len);
/* That of one kernel of e alone, likewise. */
const char *object_kernel_assembly(const Emit *e, const Kernel *k);
LLVMTargetMachineRef object_machine(Ctx *ctx, const Target *t, int level, bool jit); /* NULL: diagnostic */

#endif
