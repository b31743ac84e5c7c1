/* Target machines, and modules as objects, assembly, IR text or bitcode. */
#include <pthread.h>
#include <string.h>

#include <llvm-c/Analysis.h>
#include <llvm-c/BitWriter.h>
#include <llvm-c/Target.h>

#include "base/diag.h"
#include "codegen/emit.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void initialize(void) {
    LLVMInitializeAllTargetInfos();
    LLVMInitializeAllTargets();
    LLVMInitializeAllTargetMCs();
    LLVMInitializeAllAsmPrinters();
    LLVMInitializeAllAsmParsers();
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

const char *codegen_emit(Ctx *ctx, Arena *arena, const LoopModule *m, const CodegenOptions *o, EmitKind kind, size_t *len) {
    loop_assign_offsets((LoopModule *)(uintptr_t)m);
    if (diag_any_error(ctx))
        return NULL;
    LLVMTargetMachineRef tm = object_machine(ctx, m->target, o->level, false);
    if (!tm)
        return NULL;
    Emit e = {.ctx = ctx, .arena = arena, .m = m, .o = o};
    e.c = LLVMContextCreate();
    emit_module(&e, tm);
    char *why = verified(&e);
    const char *text = why ? NULL : emit_as(&e, tm, kind, len);
    const char *kept = why ? str_fmt(ctx, "%.400s", why) : NULL;
    if (why)
        LLVMDisposeMessage(why);
    LLVMDisposeModule(e.mod);
    LLVMContextDispose(e.c);
    LLVMDisposeTargetMachine(tm);
    if (kept)
        ctx_internal(ctx, "LLVM's verifier: %s", kept);
    return text;
}

size_t codegen_work_bytes(const AbiEntry *e, const DimValue *dims, int n) {
    int64_t v;
    if (!e->work_bytes)
        return 0;
    return dim_eval(e->work_bytes, dims, n, &v) && v >= 0 ? (size_t)v : SIZE_MAX;
}
