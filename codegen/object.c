/* Target machines, and modules as objects, assembly, IR text or bitcode. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include <llvm-c/Analysis.h>
#include <llvm-c/BitWriter.h>
#include <llvm-c/Support.h>
#include <llvm-c/Target.h>

#include "base/diag.h"
#include "codegen/emit.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;

/* The back ends that rows of targets.def name; LLVM's other twenty stay out of the program and its start. */
#define BACK_ENDS(X) X(X86) X(AArch64)
#define INITIALIZE(name)                                                                                                                                      \
    LLVMInitialize##name##TargetInfo();                                                                                                                       \
    LLVMInitialize##name##Target();                                                                                                                           \
    LLVMInitialize##name##TargetMC();                                                                                                                         \
    LLVMInitialize##name##AsmPrinter();

/* Line tables name no variables: where these would be found is not computed, which was a twentieth of the time in LLVM. */
static void initialize(void) {
    BACK_ENDS(INITIALIZE)
    const char *const args[] = {"cnnc", "-experimental-debug-variable-locations=false"};
    LLVMParseCommandLineOptions(2, args, NULL);
}

static void without_lsr(void) {
    const char *const args[] = {"cnnc", "-disable-lsr"};
    LLVMParseCommandLineOptions(2, args, NULL);
}

void codegen_for_one_run(void) {
    static pthread_once_t switched = PTHREAD_ONCE_INIT;
    pthread_once(&switched, without_lsr);
}

static const Span nowhere = {0};

LLVMTargetMachineRef object_machine(Ctx *ctx, const Target *t, int level, bool jit) {
    pthread_once(&once, initialize);
    char *triple = t->triple ? LLVMCreateMessage(t->triple) : LLVMGetDefaultTargetTriple(), *why = NULL;
    LLVMTargetRef target;
    LLVMTargetMachineRef tm = NULL;
    if (LLVMGetTargetFromTriple(triple, &target, &why))
        diag_error(ctx, "E0901", nowhere, "LLVM has no target `%s`: %s", triple, why);
    else
        tm = LLVMCreateTargetMachine(target, triple, t->cpu, t->features ? t->features : "", (LLVMCodeGenOptLevel)level, LLVMRelocPIC,
                                     jit ? LLVMCodeModelJITDefault : LLVMCodeModelDefault);
    if (why)
        LLVMDisposeMessage(why);
    LLVMDisposeMessage(triple);
    return tm;
}

const Target *codegen_host(Ctx *ctx) {
    (void)ctx;
    pthread_once(&once, initialize);
    char *cpu = LLVMGetHostCPUName(), *triple = LLVMGetDefaultTargetTriple();
    const Target *t = target_for_cpu(cpu);
    if (!t)
        t = strncmp(triple, "aarch64", 7) == 0 ? target_named("aarch64") : target_named("x86-64");
    LLVMDisposeMessage(cpu);
    LLVMDisposeMessage(triple);
    return t;
}

const char *codegen_triple(Ctx *ctx) {
    char *triple = LLVMGetDefaultTargetTriple();
    Str kept = str_of(ctx, triple);
    LLVMDisposeMessage(triple);
    return kept;
}

const char *codegen_version(Ctx *ctx) {
    unsigned major, minor, patch;
    LLVMGetVersion(&major, &minor, &patch);
    return str_fmt(ctx, "LLVM %u.%u.%u", major, minor, patch);
}

static char *verified(Emit *e) {
    char *why = NULL;
    if (!LLVMVerifyModule(e->mod, LLVMReturnStatusAction, &why)) {
        LLVMDisposeMessage(why);
        return NULL;
    }
    return why;
}

static const char *copy_buffer(Arena *arena, LLVMMemoryBufferRef mb, size_t *len) {
    *len = LLVMGetBufferSize(mb);
    char *text = arena_alloc(arena, *len + 1);
    memcpy(text, LLVMGetBufferStart(mb), *len);
    LLVMDisposeMemoryBuffer(mb);
    return text;
}

static const char *emit_as(Emit *e, LLVMTargetMachineRef tm, EmitKind kind, size_t *len) {
    LLVMMemoryBufferRef mb = NULL;
    char *why = NULL;
    if (kind == EMIT_LLVM) {
        char *text = LLVMPrintModuleToString(e->mod);
        *len = strlen(text);
        const char *copy = arena_dup(e->arena, text, *len + 1);
        LLVMDisposeMessage(text);
        return copy;
    }
    if (kind == EMIT_BITCODE)
        return copy_buffer(e->arena, LLVMWriteBitcodeToMemoryBuffer(e->mod), len);
    if (LLVMTargetMachineEmitToMemoryBuffer(tm, e->mod, kind == EMIT_ASM ? LLVMAssemblyFile : LLVMObjectFile, &why, &mb)) {
        diag_error(e->ctx, "E0902", nowhere, "LLVM cannot emit code: %s", why);
        LLVMDisposeMessage(why);
        return NULL;
    }
    return copy_buffer(e->arena, mb, len);
}

/* ---- one module */

static void dispose(Emit *e, LLVMTargetMachineRef tm) {
    LLVMDisposeModule(e->mod);
    LLVMContextDispose(e->c);
    LLVMDisposeTargetMachine(tm);
}

static bool prepare(Ctx *ctx, const LoopModule *m) {
    loop_assign_offsets((LoopModule *)(uintptr_t)m);
    return !diag_any_error(ctx);
}

static const char *emit_whole(Ctx *ctx, Arena *arena, const LoopModule *m, const CodegenOptions *o, Kernels *kernels, EmitKind kind, bool verbose, size_t *len) {
    LLVMTargetMachineRef tm = prepare(ctx, m) ? object_machine(ctx, m->target, o->level, false) : NULL;
    if (!tm)
        return NULL;
    Emit e = {.ctx = ctx, .arena = arena, .m = m, .o = o, .kernels = kernels};
    LLVMSetTargetMachineAsmVerbosity(tm, verbose);
    emit_begin(&e, tm);
    for (int k = 0; k < m->funcs.n; k++)
        emit_entry(&e, m->funcs.p[k]);
    if (o->base)
        emit_strerror(&e);
    for (int k = 0; k < kernels->list.n; k++)
        kernel_emit(&e, kernels->list.p[k]);
    emit_end(&e);
    char *why = verified(&e);
    const char *text = why ? NULL : emit_as(&e, tm, kind, len);
    const char *kept = why ? str_fmt(ctx, "%.400s", why) : NULL;
    if (why)
        LLVMDisposeMessage(why);
    dispose(&e, tm);
    if (kept)
        ctx_internal(ctx, "LLVM's verifier: %s", kept);
    return text;
}

const char *object_kernel_assembly(const Emit *from, const Kernel *k) {
    LLVMTargetMachineRef tm = object_machine(from->ctx, from->m->target, from->o->level, false);
    if (!tm)
        return NULL;
    CodegenOptions o = *from->o;
    Emit e = {.ctx = from->ctx, .arena = from->arena, .m = from->m, .o = &o, .kernels = from->kernels};
    size_t len;
    o.spills = NULL;
    LLVMSetTargetMachineAsmVerbosity(tm, 1);
    emit_begin(&e, tm);
    kernel_emit(&e, k);
    emit_end(&e);
    const char *text = emit_as(&e, tm, EMIT_ASM, &len);
    dispose(&e, tm);
    return text;
}

const char *codegen_emit(Ctx *ctx, Arena *arena, const LoopModule *m, const CodegenOptions *o, EmitKind kind, size_t *len) {
    Kernels kernels = {.apart = false};
    return emit_whole(ctx, arena, m, o, &kernels, kind, false, len);
}

const char *codegen_assembly(Ctx *ctx, Arena *arena, const LoopModule *m, const CodegenOptions *o, Kernels *kernels, size_t *len) {
    return emit_whole(ctx, arena, m, o, kernels, EMIT_ASM, true, len);
}

/* ---- several modules. They are built here, one after the other; threads verify and compile them: LLVM shares nothing
 * between contexts, and nothing of ours is touched. */

enum { MOST_LARGE = 16 };
typedef struct Part {
    Emit e;
    LLVMTargetMachineRef tm;
    char *invalid, *why; /* of the verifier; of the code generator */
    LLVMMemoryBufferRef object;
    char *large[MOST_LARGE]; /* what was said of frames */
    int n_large;
} Part;

typedef struct Work {
    Part *parts;
    int n;
    atomic_int next;
} Work;

/* Called by the thread that compiles the part. */
static void said(LLVMDiagnosticInfoRef d, void *part) {
    Part *p = part;
    LLVMDiagnosticSeverity severity = LLVMGetDiagInfoSeverity(d);
    char *text = LLVMGetDiagInfoDescription(d);
    if (severity == LLVMDSError && !p->why)
        p->why = text;
    else if (severity == LLVMDSWarning && p->n_large < MOST_LARGE)
        p->large[p->n_large++] = text;
    else
        LLVMDisposeMessage(text);
}

static void *compile_parts(void *arg) {
    Work *w = arg;
    for (int k; (k = atomic_fetch_add(&w->next, 1)) < w->n;) {
        Part *p = &w->parts[k];
        p->invalid = verified(&p->e);
        if (!p->invalid && LLVMTargetMachineEmitToMemoryBuffer(p->tm, p->e.mod, LLVMObjectFile, &p->why, &p->object))
            p->object = NULL;
    }
    return NULL;
}

static int processors(void) {
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

static void compile_all(Part *parts, int n) {
    enum { MOST = 15 };
    Work w = {.parts = parts, .n = n};
    pthread_t threads[MOST];
    int extra = processors() - 1, started = 0;
    extra = extra > n - 1 ? n - 1 : extra;
    for (; started < extra && started < MOST; started++)
        if (pthread_create(&threads[started], NULL, compile_parts, &w))
            break;
    compile_parts(&w);
    for (int k = 0; k < started; k++)
        pthread_join(threads[k], NULL);
}

static bool begin_parts(Ctx *ctx, const LoopModule *m, const CodegenOptions *o, Kernels *kernels, Part *parts, int n) {
    for (int p = 0; p < n; p++) {
        parts[p] = (Part){.e = {.ctx = ctx, .arena = &ctx->perm, .m = m, .o = o, .kernels = kernels}};
        parts[p].tm = object_machine(ctx, m->target, o->level, false);
        if (!parts[p].tm)
            return false; /* the first, or none */
        emit_begin(&parts[p].e, parts[p].tm);
        if (o->spills)
            LLVMContextSetDiagnosticHandler(parts[p].e.c, said, &parts[p]);
    }
    return true;
}

static Part *build_parts(Ctx *ctx, const LoopModule *m, const CodegenOptions *o, int *n) {
    enum { ENOUGH = 600, MOST = 6 }; /* statements worth a thread; modules */
    Kernels *kernels = ARENA_NEW(&ctx->perm, Kernels);
    long load[MOST] = {0};
    int cost = kernel_cost(m) / ENOUGH;
    *n = cost < 1 ? 1 : cost > MOST ? MOST : cost;
    Part *parts = ARENA_ARRAY(&ctx->perm, Part, *n);
    kernels->apart = true;
    if (!begin_parts(ctx, m, o, kernels, parts, *n))
        return NULL;
    const int *of_entry = kernel_deal_entries(ctx, m, load, *n);
    for (int k = 0; k < m->funcs.n; k++)
        emit_entry(&parts[of_entry[k]].e, m->funcs.p[k]);
    if (o->base)
        emit_strerror(&parts[0].e);
    const int *of_kernel = kernel_deal(ctx, kernels, load, *n);
    for (int k = 0; k < kernels->list.n; k++)
        kernel_emit(&parts[of_kernel[k]].e, kernels->list.p[k]);
    for (int p = 0; p < *n; p++)
        emit_end(&parts[p].e);
    return parts;
}

const CodeObject *codegen_objects(Ctx *ctx, Arena *arena, const LoopModule *m, const CodegenOptions *o, int *n) {
    Part *parts = prepare(ctx, m) ? build_parts(ctx, m, o, n) : NULL;
    if (!parts)
        return NULL;
    compile_all(parts, *n);
    CodeObject *all = ARENA_ARRAY(arena, CodeObject, *n);
    const char *invalid = NULL, *why = NULL;
    for (int k = 0; k < *n; k++) {
        Part *p = &parts[k];
        invalid = p->invalid && !invalid ? str_fmt(ctx, "%.400s", p->invalid) : invalid;
        for (int j = 0; j < p->n_large; j++) {
            spills_note(&p->e, p->large[j]);
            LLVMDisposeMessage(p->large[j]);
        }
        why = p->why && !why ? str_fmt(ctx, "%.400s", p->why) : why;
        if (p->object)
            all[k].bytes = copy_buffer(arena, p->object, &all[k].len);
        if (p->invalid)
            LLVMDisposeMessage(p->invalid);
        if (p->why)
            LLVMDisposeMessage(p->why);
        dispose(&p->e, p->tm);
    }
    if (invalid)
        ctx_internal(ctx, "LLVM's verifier: %s", invalid);
    if (why)
        diag_error(ctx, "E0902", nowhere, "LLVM cannot emit code: %s", why);
    return why ? NULL : all;
}

size_t codegen_work_bytes(const AbiEntry *e, const DimValue *dims, int n) {
    int64_t v;
    if (!e->work_bytes)
        return 0;
    return dim_eval(e->work_bytes, dims, n, &v) && v >= 0 ? (size_t)v : SIZE_MAX;
}
