/* Calls of rows that are no instructions: their expansion as a function of the module, once for all
 * calls. */
#include "codegen/emit.h"

static void emit_row_body(Emit *e, LLVMValueRef fn, const Body *b) {
    FnEmit f = {.e = e, .fn = fn, .b = LLVMCreateBuilderInContext(e->c)};
    LLVMValueRef *v = ARENA_ARRAY(&e->ctx->perm, LLVMValueRef, b->n), args[3];
    LLVMPositionBuilderAtEnd(f.b, LLVMAppendBasicBlockInContext(e->c, fn, "row"));
    for (int k = 0; k < b->n; k++) {
        const BodyInst *i = &b->insts[k];
        LoopStmt s = {.kind = LOOP_LET, .op = i->op, .type = {i->dt, 1}};
        int n = i->kind == BODY_OP ? scalar_def(i->op)->arity : 0;
        for (int j = 0; j < n; j++)
            args[j] = v[i->args[j]];
        if (i->kind == BODY_READ)
            v[k] = LLVMGetParam(fn, (unsigned)i->operand);
        else if (i->kind == BODY_CONST)
            v[k] = emit_constant(e, s.type, i->k);
        else
            v[k] = emit_scalar(&f, &s, args, (LType){b->insts[i->args[n - 1]].dt, 1});
    }
    LLVMBuildRet(f.b, v[b->n - 1]);
    LLVMDisposeBuilder(f.b);
}

LLVMValueRef emit_row(FnEmit *f, ScalarOp op, LLVMValueRef *args, DType dt) {
    Emit *e = f->e;
    const ScalarDef *d = scalar_def(op);
    LLVMTypeRef t = emit_dtype(e, dt), params[3] = {t, t, t},
                type = LLVMFunctionType(t, params, (unsigned)d->arity, 0);
    const char *name = str_fmt(e->ctx, "cnnc.%s.%s", d->name, dtype_name(dt));
    LLVMValueRef fn = LLVMGetNamedFunction(e->mod, name);
    if (!fn) {
        Body b = body_of_row(e->ctx, op, dt, e->m->target->fma);
        fn = LLVMAddFunction(e->mod, name, type);
        LLVMSetLinkage(fn, LLVMInternalLinkage);
        emit_function_attributes(e, fn);
        emit_row_body(e, fn, &b);
    }
    return LLVMBuildCall2(f->b, type, fn, args, (unsigned)d->arity, "");
}
