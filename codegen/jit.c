/* The JIT: the object that would be linked, loaded into this process (ORC LLJIT; code pages are never writable and executable). */
#include <stdlib.h>
#include <string.h>

#include <llvm-c/LLJIT.h>
#include <llvm-c/Orc.h>
#include <llvm-c/OrcEE.h>

#include "base/diag.h"
#include "codegen/emit.h"
#include "runtime/rt.h"

struct Jit {
    LLVMOrcLLJITRef lljit;
};

static const Span nowhere = {0};

static bool failed(Ctx *ctx, LLVMErrorRef err) {
    if (!err)
        return false;
    char *text = LLVMGetErrorMessage(err);
    diag_error(ctx, "E0903", nowhere, "the JIT: %s", text);
    LLVMDisposeErrorMessage(text);
    return true;
}

/* Runtime functions that the code may call: rows of rt.def, and libm through the process. */
static LLVMErrorRef add_symbols(LLVMOrcLLJITRef j) {
    static const struct {
        const char *name;
        void (*fn)(void);
    } rows[] = {
#define RT(name, ...) {"rt_" #name, (void (*)(void))rt_##name},
#include "runtime/rt.def"
#undef RT
    };
    enum { N = sizeof rows / sizeof *rows };
    LLVMOrcCSymbolMapPair pairs[N];
    LLVMOrcJITDylibRef dylib = LLVMOrcLLJITGetMainJITDylib(j);
    for (int k = 0; k < N; k++) {
        pairs[k].Name = LLVMOrcLLJITMangleAndIntern(j, rows[k].name);
        pairs[k].Sym.Address = (LLVMOrcExecutorAddress)(uintptr_t)rows[k].fn;
        pairs[k].Sym.Flags.GenericFlags = LLVMJITSymbolGenericFlagsExported | LLVMJITSymbolGenericFlagsCallable;
        pairs[k].Sym.Flags.TargetFlags = 0;
    }
    LLVMErrorRef err = LLVMOrcJITDylibDefine(dylib, LLVMOrcAbsoluteSymbols(pairs, N));
    LLVMOrcDefinitionGeneratorRef process;
    if (!err)
        err = LLVMOrcCreateDynamicLibrarySearchGeneratorForProcess(&process, LLVMOrcLLJITGetGlobalPrefix(j), NULL, NULL);
    if (!err)
        LLVMOrcJITDylibAddGenerator(dylib, process);
    return err;
}

Jit *jit_open_objects(Ctx *ctx, const LoopModule *m, const CodegenOptions *o, const CodeObject *objects, int n) {
    LLVMTargetMachineRef tm = object_machine(ctx, m->target, o->level, true);
    Jit *jit = ARENA_NEW(&ctx->perm, Jit);
    bool ok = false;
    if (tm) {
        LLVMOrcLLJITBuilderRef b = LLVMOrcCreateLLJITBuilder();
        LLVMOrcLLJITBuilderSetJITTargetMachineBuilder(b, LLVMOrcJITTargetMachineBuilderCreateFromTargetMachine(tm));
        ok = !failed(ctx, LLVMOrcCreateLLJIT(&jit->lljit, b)) && !failed(ctx, add_symbols(jit->lljit));
    }
    for (int k = 0; ok && k < n; k++) {
        LLVMMemoryBufferRef mb = LLVMCreateMemoryBufferWithMemoryRangeCopy(objects[k].bytes, objects[k].len, str_fmt(ctx, "cnnc%d", k));
        ok = !failed(ctx, LLVMOrcLLJITAddObjectFile(jit->lljit, LLVMOrcLLJITGetMainJITDylib(jit->lljit), mb));
    }
    if (ok)
        return jit;
    jit_close(jit);
    return NULL;
}

Jit *jit_open(Ctx *ctx, const LoopModule *m, const CodegenOptions *o) {
    CodegenOptions with = *o;
    Arena scratch;
    int n = 0;
    with.trampolines = true;
    arena_init(&scratch, ctx);
    const CodeObject *objects = codegen_objects(ctx, &scratch, m, &with, &n);
    Jit *jit = objects ? jit_open_objects(ctx, m, &with, objects, n) : NULL;
    arena_free(&scratch);
    return jit;
}

void *jit_lookup(Jit *j, const char *symbol) {
    LLVMOrcExecutorAddress at = 0;
    LLVMErrorRef err = LLVMOrcLLJITLookup(j->lljit, &at, symbol);
    if (err)
        LLVMConsumeError(err);
    return err ? NULL : (void *)(uintptr_t)at;
}

int jit_call(Jit *j, const char *entry, const CnncArg *args) {
    char name[256];
    size_t n = strlen(entry);
    if (n > sizeof name - 8)
        return INT32_MIN;
    memcpy(name, entry, n);
    memcpy(name + n, "__call", 7);
    void *at = jit_lookup(j, name);
    int (*fn)(const CnncArg *);
    if (!at)
        return INT32_MIN;
    memcpy(&fn, &at, sizeof fn);
    return fn(args);
}

void jit_close(Jit *j) {
    if (!j || !j->lljit)
        return;
    LLVMErrorRef err = LLVMOrcDisposeLLJIT(j->lljit);
    if (err)
        LLVMConsumeError(err);
    j->lljit = NULL;
}
