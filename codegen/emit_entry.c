/* Entries: they check their arguments, build the frame on their stack and run. */
#include <string.h>

#include "codegen/emit.h"

static bool by_value(const LoopFunc *f, const LoopBuf *b) {
    if (b->kind != BUF_ARG)
        return false;
    AbiArgKind k = f->entry->args.p[b->arg].kind;
    return k == ARG_SCALAR || k == ARG_SEED;
}

FrameLayout emit_frame_layout(const LoopFunc *f) {
    FrameLayout l = {.args = 0};
    l.dims = f->entry->args.n;
    l.work = l.dims + f->dims.n;
    l.statuses = l.work + 1;
    l.arenas = l.statuses + 1;
    l.rows = l.arenas + 1;
    l.waiting = l.rows + 1;
    l.next = l.waiting + 1;
    l.busy = l.next + 1;
    l.open = l.busy + 1;
    l.begun = l.open + 1;
    l.ended = l.begun + 1;
    l.jobs = l.ended + 1;
    l.awake = l.jobs + 1;
    l.values = l.awake + 1;
    l.n = l.values;
    for (int k = 0; k < f->bufs.n; k++)
        l.n += by_value(f, f->bufs.p[k]);
    return l;
}

LLVMValueRef emit_frame_slot(FnEmit *f, int slot) {
    LLVMValueRef at = emit_i64(f->e, slot);
    return LLVMBuildInBoundsGEP2(f->b, f->e->i64, f->frame, &at, 1, "");
}

LLVMValueRef emit_frame_load(FnEmit *f, int slot, LLVMTypeRef t) { return LLVMBuildLoad2(f->b, t, emit_frame_slot(f, slot), ""); }

void emit_store_slot(FnEmit *f, int slot, LLVMValueRef v) { LLVMBuildStore(f->b, v, emit_frame_slot(f, slot)); }

LLVMValueRef emit_status_code(const FnEmit *f, int number) { return LLVMConstInt(f->e->i32, (unsigned long long)(-(number + 1)), 1); }

/* ---- floating point mode: flush to zero and denormals are zero, where real is f32 */

enum { FTZ_DAZ = 0x8040 };

LLVMValueRef emit_set_mode(FnEmit *f) {
    Emit *e = f->e;
    if (!e->x86 || f->f->real != DT_F32)
        return NULL;
    LLVMValueRef old = LLVMBuildAlloca(f->b, e->i32, "mode"), now = LLVMBuildAlloca(f->b, e->i32, "flush");
    emit_intrinsic(f, "llvm.x86.sse.stmxcsr", NULL, 0, &old, 1);
    LLVMValueRef v = LLVMBuildOr(f->b, LLVMBuildLoad2(f->b, e->i32, old, ""), LLVMConstInt(e->i32, FTZ_DAZ, 0), "");
    LLVMBuildStore(f->b, v, now);
    emit_intrinsic(f, "llvm.x86.sse.ldmxcsr", NULL, 0, &now, 1);
    return old;
}

void emit_restore_mode(FnEmit *f, LLVMValueRef old) {
    if (old)
        emit_intrinsic(f, "llvm.x86.sse.ldmxcsr", NULL, 0, &old, 1);
}

/* ---- entries */

static LLVMTypeRef arg_type(const Emit *e, const AbiArg *a) {
    switch (a->kind) {
    case ARG_DIM:
    case ARG_SEED:
        return e->i64;
    case ARG_SCALAR:
        return dtype_is_real(a->dt) ? e->f64 : e->i64;
    default:
        return e->ptr;
    }
}

static void fill_frame(FnEmit *f) {
    Emit *e = f->e;
    int dim = 0, value = f->layout.values;
    for (int k = 0; k < f->f->entry->args.n; k++) {
        LLVMValueRef v = LLVMGetParam(f->fn, (unsigned)k);
        emit_store_slot(f, f->layout.args + k, v);
        if (f->f->entry->args.p[k].kind == ARG_DIM)
            emit_store_slot(f, f->layout.dims + dim++, v);
    }
    if (f->f->groups > 1)
        emit_store_slot(f, f->layout.awake, emit_i64(e, 0));
    LLVMTypeRef list = LLVMArrayType2(e->i32, (uint64_t)(f->f->groups > 0 ? f->f->groups : 1));
    emit_store_slot(f, f->layout.statuses, LLVMBuildAlloca(f->b, list, "statuses"));
    list = LLVMArrayType2(e->i64, (uint64_t)(f->f->groups > 0 ? f->f->groups : 1) + 1);
    emit_store_slot(f, f->layout.waiting, LLVMBuildAlloca(f->b, list, "waiting"));
    for (int k = 0; k < f->f->bufs.n; k++) {
        const LoopBuf *b = f->f->bufs.p[k];
        if (!by_value(f->f, b))
            continue;
        LLVMValueRef v = LLVMGetParam(f->fn, (unsigned)b->arg);
        bool real = dtype_is_real(f->f->entry->args.p[b->arg].dt);
        if (dtype_is_real(b->dt))
            v = !real ? LLVMBuildSIToFP(f->b, v, emit_dtype(e, b->dt), "") : b->dt == DT_F32 ? LLVMBuildFPTrunc(f->b, v, e->f32, "") : v;
        else if (b->dt == DT_BOOL)
            v = LLVMBuildZExt(f->b, LLVMBuildICmp(f->b, LLVMIntNE, v, LLVMConstNull(LLVMTypeOf(v)), ""), e->i8, "");
        else if (b->dt == DT_I32)
            v = LLVMBuildTrunc(f->b, v, e->i32, "");
        emit_store_slot(f, value++, v);
    }
}

static LLVMValueRef below(FnEmit *f, LLVMValueRef v, int64_t least) { return LLVMBuildICmp(f->b, LLVMIntSLT, v, emit_i64(f->e, least), ""); }

/* Dims at least 1 (their symbol's least), sizes that fit, conditions of the source, pointers. */
static void check_arguments(FnEmit *f) {
    Emit *e = f->e;
    const AbiEntry *entry = f->f->entry;
    LLVMValueRef no = LLVMConstInt(e->i1, 0, 0), bad = no;
    for (int k = 0; k < f->f->dims.n; k++)
        bad = LLVMBuildOr(f->b, bad, below(f, emit_frame_load(f, f->layout.dims + k, e->i64), f->f->dims.p[k]->least), "");
    emit_return_if(f, bad, emit_status_code(f, f->f->status_dim));
    LLVMValueRef *bytes = ARENA_ARRAY(&e->ctx->perm, LLVMValueRef, entry->args.n + 1);
    bad = no;
    for (int k = 0; k < entry->args.n; k++)
        if (entry->args.p[k].bytes)
            bytes[k] = emit_dim_checked(f, entry->args.p[k].bytes, &bad);
    LLVMValueRef work = entry->work_bytes ? emit_dim_checked(f, entry->work_bytes, &bad) : NULL;
    for (int k = 0; k < entry->args.n; k++)
        if (entry->args.p[k].kind == ARG_WORK)
            bytes[k] = work;
    emit_return_if(f, bad, emit_status_code(f, f->f->status_overflow));
    for (int k = 0; k < f->f->checks.n; k++) {
        bad = no;
        LLVMValueRef v = emit_dim_checked(f, f->f->checks.p[k].cond, &bad);
        emit_return_if(f, LLVMBuildOr(f->b, bad, below(f, v, 0), ""), emit_status_code(f, f->f->checks.p[k].status));
    }
    bad = no;
    for (int k = 0; k < entry->args.n; k++) {
        AbiArgKind kind = entry->args.p[k].kind;
        if (kind == ARG_EXEC || kind == ARG_COV || kind == ARG_INFO || arg_type(e, &entry->args.p[k]) != e->ptr)
            continue;
        LLVMValueRef null = LLVMBuildIsNull(f->b, LLVMGetParam(f->fn, (unsigned)k), "");
        if (bytes[k])
            null = LLVMBuildAnd(f->b, null, LLVMBuildICmp(f->b, LLVMIntNE, bytes[k], emit_i64(e, 0), ""), "");
        bad = LLVMBuildOr(f->b, bad, null, "");
    }
    emit_return_if(f, bad, emit_status_code(f, f->f->status_null));
}

static void align_work(FnEmit *f) {
    Emit *e = f->e;
    for (int k = 0; k < f->f->entry->args.n; k++) {
        if (f->f->entry->args.p[k].kind != ARG_WORK)
            continue;
        LLVMValueRef p = LLVMBuildPtrToInt(f->b, LLVMGetParam(f->fn, (unsigned)k), e->i64, "");
        p = LLVMBuildAnd(f->b, LLVMBuildAdd(f->b, p, emit_i64(e, 63), ""), emit_i64(e, -64), "");
        emit_store_slot(f, f->layout.work, LLVMBuildIntToPtr(f->b, p, e->ptr, ""));
    }
}

/* int NAME__call(const union CnncArg *slots): one 8-byte slot an argument. */
static void trampoline(Emit *e, const LoopFunc *lf, LLVMTypeRef type, LLVMValueRef fn) {
    LLVMTypeRef slots = LLVMFunctionType(e->i32, &e->ptr, 1, 0);
    LLVMValueRef t = LLVMAddFunction(e->mod, str_fmt(e->ctx, "%s__call", lf->entry->cname), slots), args[64];
    LLVMBuilderRef b = LLVMCreateBuilderInContext(e->c);
    emit_function_attributes(e, t);
    LLVMPositionBuilderAtEnd(b, LLVMAppendBasicBlockInContext(e->c, t, "call"));
    int n = lf->entry->args.n;
    CTX_ASSERT(e->ctx, n <= 64);
    for (int k = 0; k < n; k++) {
        LLVMValueRef at = emit_i64(e, k), p = LLVMGetParam(t, 0);
        args[k] = LLVMBuildLoad2(b, arg_type(e, &lf->entry->args.p[k]), LLVMBuildInBoundsGEP2(b, e->i64, p, &at, 1, ""), "");
    }
    LLVMBuildRet(b, LLVMBuildCall2(b, type, fn, args, (unsigned)n, ""));
    LLVMDisposeBuilder(b);
}

void emit_entry(Emit *e, const LoopFunc *lf) {
    LLVMTypeRef types[64];
    int n = lf->entry->args.n;
    CTX_ASSERT(e->ctx, n <= 64);
    for (int k = 0; k < n; k++)
        types[k] = arg_type(e, &lf->entry->args.p[k]);
    LLVMTypeRef type = LLVMFunctionType(e->i32, types, (unsigned)n, 0);
    LLVMValueRef fn = LLVMAddFunction(e->mod, lf->entry->cname, type);
    /* The checks run first; the work itself is a level below, so that nothing is hoisted above them. */
    FnEmit f = emit_open(e, lf, fn, lf->entry->span);
    debug_function(&f, lf->entry->cname, lf->entry->span);
    LLVMBasicBlockRef body = LLVMGetInsertBlock(f.b);
    LLVMMetadataRef line = LLVMGetCurrentDebugLocation2(f.b);
    LLVMPositionBuilderBefore(f.b, f.levels.p[0].at);
    f.frame = LLVMBuildAlloca(f.b, LLVMArrayType2(e->i64, (uint64_t)f.layout.n), "frame");
    fill_frame(&f);
    LLVMPositionBuilderAtEnd(f.b, body);
    LLVMSetCurrentDebugLocation2(f.b, line);
    check_arguments(&f);
    align_work(&f);
    LLVMValueRef mode = emit_set_mode(&f);
    FnEmit checks = f; /* failed checks leave before the mode is set */
    LLVMBasicBlockRef leave = emit_block(&f, "restore"), run = emit_block(&f, "run");
    LLVMValueRef start = LLVMBuildBr(f.b, run);
    f.levels.p[0] = (Level){.at = start};
    memset(f.dims, 0, sizeof *f.dims * (size_t)lf->dims.n);
    LLVMPositionBuilderAtEnd(f.b, leave);
    f.leave = leave;
    f.status = LLVMBuildPhi(f.b, e->i32, "status");
    LLVMPositionBuilderAtEnd(f.b, run);
    emit_body(&f, &lf->body);
    emit_close(&f);
    emit_restore_mode(&f, mode);
    LLVMBasicBlockRef done = LLVMGetInsertBlock(f.b);
    LLVMAddIncoming(checks.status, &f.status, &done, 1);
    LLVMBuildBr(f.b, checks.leave);
    LLVMPositionBuilderAtEnd(f.b, checks.leave);
    LLVMBuildRet(f.b, checks.status);
    LLVMDisposeBuilder(f.b);
    if (e->o->trampolines)
        trampoline(e, lf, type, fn);
}

/* ---- const char *BASE_strerror(int code), const char BASE_manifest[] */

void emit_strerror(Emit *e) {
    LLVMTypeRef type = LLVMFunctionType(e->ptr, &e->i32, 1, 0);
    LLVMValueRef fn = LLVMAddFunction(e->mod, str_fmt(e->ctx, "%s_strerror", e->o->base), type);
    emit_function_attributes(e, fn);
    LLVMBuilderRef b = LLVMCreateBuilderInContext(e->c);
    LLVMBasicBlockRef start = LLVMAppendBasicBlockInContext(e->c, fn, "start"), other = LLVMAppendBasicBlockInContext(e->c, fn, "other");
    LLVMPositionBuilderAtEnd(b, start);
    LLVMValueRef sw = LLVMBuildSwitch(b, LLVMGetParam(fn, 0), other, (unsigned)e->m->statuses.n + 1);
    LLVMPositionBuilderAtEnd(b, other);
    LLVMBuildRet(b, emit_text(e, "unknown status", "status.other"));
    for (int k = -1; k < e->m->statuses.n; k++) {
        LLVMBasicBlockRef at = LLVMAppendBasicBlockInContext(e->c, fn, "text");
        LLVMPositionBuilderAtEnd(b, at);
        LLVMBuildRet(b, emit_text(e, k < 0 ? "ok" : e->m->statuses.p[k].text, str_fmt(e->ctx, "status.%d", k + 1)));
        LLVMAddCase(sw, LLVMConstInt(e->i32, (unsigned long long)(k < 0 ? 0 : -(k + 1)), 1), at);
    }
    LLVMDisposeBuilder(b);
    if (!e->o->manifest)
        return;
    LLVMValueRef data = LLVMConstStringInContext2(e->c, e->o->manifest, strlen(e->o->manifest), 0);
    LLVMValueRef g = LLVMAddGlobal(e->mod, LLVMTypeOf(data), str_fmt(e->ctx, "%s_manifest", e->o->base));
    LLVMSetInitializer(g, data);
    LLVMSetGlobalConstant(g, 1);
}
