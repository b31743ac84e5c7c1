/* The LLVM module: types, functions, attributes. */
#include <string.h>

#include "codegen/emit.h"

LLVMTypeRef emit_dtype(const Emit *e, DType dt) {
    switch (dt) {
    case DT_BOOL:
        return e->i1;
    case DT_I32:
        return e->i32;
    case DT_I64:
        return e->i64;
    case DT_F32:
        return e->f32;
    default:
        return e->f64;
    }
}

LLVMTypeRef emit_memory_type(const Emit *e, DType dt) { return dt == DT_BOOL ? e->i8 : emit_dtype(e, dt); }

LLVMTypeRef emit_ltype(const Emit *e, LType t) {
    LLVMTypeRef el = emit_dtype(e, t.dt);
    return t.lanes == 1 ? el : LLVMVectorType(el, (unsigned)t.lanes);
}

LLVMValueRef emit_i64(const Emit *e, int64_t v) { return LLVMConstInt(e->i64, (unsigned long long)v, 1); }

LLVMValueRef emit_intrinsic(FnEmit *f, const char *name, LLVMTypeRef *overloads, int n, LLVMValueRef *args, int n_args) {
    unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    LLVMValueRef fn = LLVMGetIntrinsicDeclaration(f->e->mod, id, overloads, (size_t)n);
    LLVMTypeRef type = LLVMIntrinsicGetType(f->e->c, id, overloads, (size_t)n);
    return LLVMBuildCall2(f->b, type, fn, args, (unsigned)n_args, "");
}

void emit_function_attribute(Emit *e, LLVMValueRef fn, const char *key, const char *value) {
    LLVMAttributeRef a = LLVMCreateStringAttribute(e->c, key, (unsigned)strlen(key), value, (unsigned)strlen(value));
    LLVMAddAttributeAtIndex(fn, (LLVMAttributeIndex)LLVMAttributeFunctionIndex, a);
}

static void enum_attribute(Emit *e, LLVMValueRef fn, const char *key) {
    unsigned kind = LLVMGetEnumAttributeKindForName(key, strlen(key));
    if (kind) /* 0: this LLVM has no such attribute */
        LLVMAddAttributeAtIndex(fn, (LLVMAttributeIndex)LLVMAttributeFunctionIndex, LLVMCreateEnumAttribute(e->c, kind, 0));
}

void emit_function_attributes(Emit *e, LLVMValueRef fn) {
    const char *bits = str_fmt(e->ctx, "%d", 8 * e->m->target->vector_bytes);
    enum_attribute(e, fn, "nounwind");
    emit_function_attribute(e, fn, "target-cpu", e->m->target->cpu);
    if (e->m->target->features && *e->m->target->features)
        emit_function_attribute(e, fn, "target-features", e->m->target->features);
    emit_function_attribute(e, fn, "prefer-vector-width", bits);
    emit_function_attribute(e, fn, "min-legal-vector-width", bits);
    if (e->o->debug_lines)
        emit_function_attribute(e, fn, "frame-pointer", "all");
}

LLVMValueRef emit_text(Emit *e, const char *text, const char *name) {
    LLVMValueRef data = LLVMConstStringInContext2(e->c, text, strlen(text), 0);
    LLVMValueRef g = LLVMAddGlobal(e->mod, LLVMTypeOf(data), name);
    LLVMSetInitializer(g, data);
    LLVMSetGlobalConstant(g, 1);
    LLVMSetLinkage(g, LLVMPrivateLinkage);
    LLVMSetUnnamedAddress(g, LLVMGlobalUnnamedAddr);
    return g;
}

LLVMBasicBlockRef emit_block(FnEmit *f, const char *name) { return LLVMAppendBasicBlockInContext(f->e->c, f->fn, name); }

/* Polls stand in the bodies of `while` at the top level. */
static bool has_poll(const LoopFunc *lf) {
    for (int k = 0; k < lf->body.stmts.n; k++) {
        const LoopStmt *s = lf->body.stmts.p[k];
        for (int j = 0; s->kind == LOOP_WHILE && j < s->body.stmts.n; j++)
            if (s->body.stmts.p[j]->kind == LOOP_POLL)
                return true;
    }
    return false;
}

FnEmit emit_open(Emit *e, const LoopFunc *lf, LLVMValueRef fn, Span span) {
    FnEmit f = {.e = e, .f = lf, .fn = fn, .span = span, .waits = has_poll(lf), .layout = emit_frame_layout(lf)};
    arena_init(&f.scratch, e->ctx);
    Arena *a = &f.scratch;
    emit_function_attributes(e, fn);
    f.b = LLVMCreateBuilderInContext(e->c);
    f.vals = ARENA_ARRAY(a, LLVMValueRef, lf->vals.n + 1);
    f.base = ARENA_ARRAY(a, LLVMValueRef, lf->bufs.n + 1);
    f.dims = ARENA_ARRAY(a, LLVMValueRef, lf->dims.n + 1);
    LLVMBasicBlockRef head = emit_block(&f, "head"), body = emit_block(&f, "body");
    f.leave = emit_block(&f, "leave");
    LLVMPositionBuilderAtEnd(f.b, f.leave);
    f.status = LLVMBuildPhi(f.b, e->i32, "status");
    LLVMPositionBuilderAtEnd(f.b, head);
    LLVMValueRef at = LLVMBuildBr(f.b, body);
    vec_push(&e->ctx->perm, &f.levels, (Level){.at = at});
    LLVMPositionBuilderAtEnd(f.b, body);
    return f;
}

static void leave_with(FnEmit *f, LLVMValueRef status) {
    LLVMBasicBlockRef here = LLVMGetInsertBlock(f->b);
    LLVMAddIncoming(f->status, &status, &here, 1);
}

void emit_return_if(FnEmit *f, LLVMValueRef failed, LLVMValueRef status) {
    LLVMBasicBlockRef next = emit_block(f, "ok");
    leave_with(f, status);
    LLVMBuildCondBr(f->b, failed, f->leave, next);
    LLVMPositionBuilderAtEnd(f->b, next);
}

void emit_close(FnEmit *f) {
    leave_with(f, LLVMConstInt(f->e->i32, 0, 0));
    LLVMBuildBr(f->b, f->leave);
    LLVMPositionBuilderAtEnd(f->b, f->leave);
    arena_free(&f->scratch);
}

void emit_begin(Emit *e, LLVMTargetMachineRef tm) {
    e->c = LLVMContextCreate();
    e->mod = LLVMModuleCreateWithNameInContext(e->m->source, e->c);
    e->i1 = LLVMInt1TypeInContext(e->c);
    e->i8 = LLVMInt8TypeInContext(e->c);
    e->i32 = LLVMInt32TypeInContext(e->c);
    e->i64 = LLVMInt64TypeInContext(e->c);
    e->f32 = LLVMFloatTypeInContext(e->c);
    e->f64 = LLVMDoubleTypeInContext(e->c);
    e->ptr = LLVMPointerTypeInContext(e->c, 0);
    e->void_ = LLVMVoidTypeInContext(e->c);
    char *triple = LLVMGetTargetMachineTriple(tm);
    LLVMSetTarget(e->mod, triple);
    e->x86 = strncmp(triple, "x86_64", 6) == 0;
    LLVMDisposeMessage(triple);
    LLVMTargetDataRef td = LLVMCreateTargetDataLayout(tm);
    LLVMSetModuleDataLayout(e->mod, td);
    LLVMDisposeTargetData(td);
    LLVMSetSourceFileName(e->mod, e->m->source, strlen(e->m->source));
    debug_begin(e);
}

void emit_end(Emit *e) { debug_end(e); }
