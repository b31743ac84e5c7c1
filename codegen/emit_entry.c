/* Entries and jobs.
 *
 * An entry checks its arguments, builds the frame on its stack and runs. The iterations of a parallel loop are jobs: one
 * internal function, called by the caller's `run` or in a plain loop; each stores its status, and the first error in the
 * order of the jobs wins. */
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
    l.values = l.arenas + 1;
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

static void store_slot(FnEmit *f, int slot, LLVMValueRef v) { LLVMBuildStore(f->b, v, emit_frame_slot(f, slot)); }

static LLVMValueRef status_const(const FnEmit *f, int number) { return LLVMConstInt(f->e->i32, (unsigned long long)(-(number + 1)), 1); }

/* ---- floating point mode: flush to zero and denormals are zero, where real is f32 */

enum { FTZ_DAZ = 0x8040 };

static LLVMValueRef set_mode(FnEmit *f) {
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

static void restore_mode(FnEmit *f, LLVMValueRef old) {
    if (old)
        emit_intrinsic(f, "llvm.x86.sse.ldmxcsr", NULL, 0, &old, 1);
}

/* ---- jobs. struct cnnc_exec { int threads; void *self; const volatile int *stop; void (*run)(self, jobs, job, arg); } */

enum { EXEC_THREADS = 0, EXEC_SELF = 1, EXEC_STOP = 2, EXEC_RUN = 3 };

static int exec_arg(const LoopFunc *f) {
    for (int k = 0; k < f->entry->args.n; k++)
        if (f->entry->args.p[k].kind == ARG_EXEC)
            return k;
    return -1;
}

static LLVMValueRef exec_field(FnEmit *f, LLVMValueRef exec, int field, LLVMTypeRef t) {
    LLVMValueRef at = emit_i64(f->e, field);
    return LLVMBuildLoad2(f->b, t, LLVMBuildInBoundsGEP2(f->b, f->e->i64, exec, &at, 1, ""), "");
}

LLVMValueRef emit_exec(FnEmit *f) {
    int arg = exec_arg(f->f);
    if (f->exec || arg < 0)
        return f->exec ? f->exec : LLVMConstNull(f->e->ptr);
    return emit_frame_load(f, f->layout.args + arg, f->e->ptr);
}

/* i1: the caller asks to stop. Blocks are added; false where there is no exec or no flag. */
static LLVMValueRef stop_asked(FnEmit *f) {
    Emit *e = f->e;
    int arg = exec_arg(f->f);
    if (arg < 0)
        return LLVMConstInt(e->i1, 0, 0);
    LLVMValueRef exec = emit_exec(f), no = LLVMConstInt(e->i1, 0, 0);
    LLVMBasicBlockRef from[3] = {LLVMGetInsertBlock(f->b)}, has = emit_block(f, "exec"), flag = emit_block(f, "flag"), end = emit_block(f, "polled");
    LLVMBuildCondBr(f->b, LLVMBuildIsNull(f->b, exec, ""), end, has);
    LLVMPositionBuilderAtEnd(f->b, from[1] = has);
    LLVMValueRef stop = exec_field(f, exec, EXEC_STOP, e->ptr);
    LLVMBuildCondBr(f->b, LLVMBuildIsNull(f->b, stop, ""), end, flag);
    LLVMPositionBuilderAtEnd(f->b, from[2] = flag);
    LLVMValueRef v = LLVMBuildLoad2(f->b, e->i32, stop, "");
    LLVMSetVolatile(v, 1);
    LLVMValueRef set = LLVMBuildICmp(f->b, LLVMIntNE, v, LLVMConstInt(e->i32, 0, 0), "");
    LLVMBuildBr(f->b, end);
    LLVMPositionBuilderAtEnd(f->b, end);
    LLVMValueRef r = LLVMBuildPhi(f->b, e->i1, ""), in[3] = {no, no, set};
    LLVMAddIncoming(r, in, from, 3);
    return r;
}

void emit_poll(FnEmit *f) {
    if (!f->waits)
        emit_return_if(f, stop_asked(f), status_const(f, f->f->status_stop));
}

LLVMValueRef emit_asked(FnEmit *f) { return LLVMBuildZExt(f->b, stop_asked(f), f->e->i64, "asked"); }

/* Arenas do not belong to jobs: a job takes the first one that is free, so that one thread works in one arena, which
 * stays in its cache. There are as many as jobs that may run at a time. */
enum { MOST_ARENAS = 64 };

static bool shares_arenas(const LoopFunc *f) { return f->groups > 1 && f->groups <= MOST_ARENAS; }

static LLVMValueRef free_arenas(const FnEmit *f) {
    uint64_t all = f->f->groups >= MOST_ARENAS ? ~(uint64_t)0 : ((uint64_t)1 << f->f->groups) - 1;
    return LLVMConstInt(f->e->i64, all, 0);
}

static LLVMValueRef take_arena(FnEmit *f) {
    LLVMBuilderRef b = f->b;
    LLVMValueRef set = emit_frame_slot(f, f->layout.arenas), first = LLVMBuildLoad2(b, f->e->i64, set, "");
    LLVMSetAlignment(first, 8);
    LLVMSetOrdering(first, LLVMAtomicOrderingMonotonic);
    LLVMBasicBlockRef before = LLVMGetInsertBlock(b), again = emit_block(f, "take"), taken = emit_block(f, "taken");
    LLVMBuildBr(b, again);
    LLVMPositionBuilderAtEnd(b, again);
    LLVMValueRef old = LLVMBuildPhi(b, f->e->i64, "");
    LLVMValueRef rest = LLVMBuildAnd(b, old, LLVMBuildSub(b, old, emit_i64(f->e, 1), ""), "");
    LLVMValueRef pair = LLVMBuildAtomicCmpXchg(b, set, old, rest, LLVMAtomicOrderingAcquire, LLVMAtomicOrderingMonotonic, 0);
    LLVMValueRef now = LLVMBuildExtractValue(b, pair, 0, ""), in[2] = {first, now};
    LLVMBasicBlockRef from[2] = {before, again};
    LLVMAddIncoming(old, in, from, 2);
    LLVMBuildCondBr(b, LLVMBuildExtractValue(b, pair, 1, ""), taken, again);
    LLVMPositionBuilderAtEnd(b, taken);
    LLVMValueRef args[2] = {old, LLVMConstInt(f->e->i1, 0, 0)};
    return emit_intrinsic(f, "llvm.cttz", &f->e->i64, 1, args, 2);
}

static void give_arena(FnEmit *f, LLVMValueRef arena) {
    LLVMValueRef bit = LLVMBuildShl(f->b, emit_i64(f->e, 1), arena, "");
    LLVMBuildAtomicRMW(f->b, LLVMAtomicRMWBinOpOr, emit_frame_slot(f, f->layout.arenas), bit, LLVMAtomicOrderingRelease, 0);
}

/* i32 job body, then void job(void *frame, int k) that sets the mode and stores the status. */
static LLVMValueRef job_function(FnEmit *f, const LoopStmt *s) {
    Emit *e = f->e;
    LLVMTypeRef body_types[3] = {e->ptr, e->i64, e->i64}, job_types[2] = {e->ptr, e->i32};
    LLVMTypeRef body_type = LLVMFunctionType(e->i32, body_types, 3, 0), job_type = LLVMFunctionType(e->void_, job_types, 2, 0);
    const char *name = str_fmt(e->ctx, "%s.job", s->name ? s->name : f->f->name);
    LLVMValueRef body = LLVMAddFunction(e->mod, name, body_type), job = LLVMAddFunction(e->mod, str_fmt(e->ctx, "%s.run", name), job_type);
    LLVMSetLinkage(body, LLVMInternalLinkage);
    LLVMSetLinkage(job, LLVMInternalLinkage);
    FnEmit b = emit_open(e, f->f, body, s->span);
    b.frame = LLVMGetParam(body, 0);
    b.arena = LLVMGetParam(body, 2);
    debug_function(&b, name, s->span);
    emit_poll(&b);
    LLVMValueRef index = LLVMBuildAdd(b.b, LLVMBuildMul(b.b, LLVMGetParam(body, 1), emit_i64(e, s->step), ""), emit_dim(&b, s->lo[0]), "");
    LLVMBasicBlockRef inside = emit_block(&b, "iteration");
    Level level = {.at = LLVMBuildBr(b.b, inside), .index = s->index, .value = index};
    LLVMPositionBuilderAtEnd(b.b, inside);
    vec_push(&e->ctx->perm, &b.levels, level);
    emit_body(&b, &s->body);
    emit_close(&b);
    LLVMBuildRet(b.b, b.status);
    LLVMDisposeBuilder(b.b);

    FnEmit j = emit_open(e, f->f, job, s->span);
    j.frame = LLVMGetParam(job, 0);
    debug_function(&j, str_fmt(e->ctx, "%s.run", name), s->span);
    LLVMValueRef mode = set_mode(&j), k = LLVMBuildSExt(j.b, LLVMGetParam(job, 1), e->i64, "");
    LLVMValueRef arena = shares_arenas(f->f) ? take_arena(&j) : k, args[3] = {j.frame, k, arena};
    LLVMValueRef status = LLVMBuildCall2(j.b, body_type, body, args, 3, "");
    if (shares_arenas(f->f))
        give_arena(&j, arena);
    restore_mode(&j, mode);
    LLVMValueRef statuses = emit_frame_load(&j, j.layout.statuses, e->ptr);
    LLVMBuildStore(j.b, status, LLVMBuildInBoundsGEP2(j.b, e->i32, statuses, &k, 1, ""));
    emit_close(&j);
    LLVMBuildRetVoid(j.b);
    LLVMDisposeBuilder(j.b);
    return job;
}

/* for (k = 0; k < n; k++) body(k), at the current point. */
typedef struct CountLoop {
    LLVMValueRef k, n;
    LLVMBasicBlockRef head, after;
} CountLoop;

static CountLoop count_loop(FnEmit *f, LLVMValueRef n) {
    CountLoop c = {.n = n, .head = emit_block(f, "each"), .after = emit_block(f, "all")};
    LLVMBasicBlockRef before = LLVMGetInsertBlock(f->b);
    LLVMValueRef zero = emit_i64(f->e, 0);
    LLVMBuildCondBr(f->b, LLVMBuildICmp(f->b, LLVMIntSLT, zero, n, ""), c.head, c.after);
    LLVMPositionBuilderAtEnd(f->b, c.head);
    c.k = LLVMBuildPhi(f->b, f->e->i64, "");
    LLVMAddIncoming(c.k, &zero, &before, 1);
    return c;
}

static void count_end(FnEmit *f, CountLoop *c) {
    LLVMBasicBlockRef end = LLVMGetInsertBlock(f->b);
    LLVMValueRef next = LLVMBuildAdd(f->b, c->k, emit_i64(f->e, 1), "");
    LLVMAddIncoming(c->k, &next, &end, 1);
    LLVMBuildCondBr(f->b, LLVMBuildICmp(f->b, LLVMIntSLT, next, c->n, ""), c->head, c->after);
    LLVMPositionBuilderAtEnd(f->b, c->after);
}

static void run_here(FnEmit *f, LLVMTypeRef type, LLVMValueRef job, LLVMValueRef jobs) {
    CountLoop c = count_loop(f, jobs);
    LLVMValueRef args[2] = {f->frame, LLVMBuildTrunc(f->b, c.k, f->e->i32, "")};
    LLVMBuildCall2(f->b, type, job, args, 2, "");
    count_end(f, &c);
}

static void dispatch(FnEmit *f, LLVMValueRef job, LLVMValueRef jobs) {
    Emit *e = f->e;
    LLVMTypeRef job_types[2] = {e->ptr, e->i32}, job_type = LLVMFunctionType(e->void_, job_types, 2, 0);
    LLVMTypeRef run_types[4] = {e->ptr, e->i32, e->ptr, e->ptr}, run_type = LLVMFunctionType(e->void_, run_types, 4, 0);
    int arg = exec_arg(f->f);
    if (arg < 0) {
        run_here(f, job_type, job, jobs);
        return;
    }
    LLVMValueRef exec = emit_frame_load(f, f->layout.args + arg, e->ptr);
    LLVMBasicBlockRef has = emit_block(f, "exec"), theirs = emit_block(f, "run"), ours = emit_block(f, "here"), end = emit_block(f, "ran");
    LLVMBuildCondBr(f->b, LLVMBuildIsNull(f->b, exec, ""), ours, has);
    LLVMPositionBuilderAtEnd(f->b, has);
    LLVMValueRef run = exec_field(f, exec, EXEC_RUN, e->ptr), self = exec_field(f, exec, EXEC_SELF, e->ptr);
    LLVMBuildCondBr(f->b, LLVMBuildIsNull(f->b, run, ""), ours, theirs);
    LLVMPositionBuilderAtEnd(f->b, theirs);
    LLVMValueRef args[4] = {self, LLVMBuildTrunc(f->b, jobs, e->i32, ""), job, f->frame};
    LLVMBuildCall2(f->b, run_type, run, args, 4, "");
    LLVMBuildBr(f->b, end);
    LLVMPositionBuilderAtEnd(f->b, ours);
    run_here(f, job_type, job, jobs);
    LLVMBuildBr(f->b, end);
    LLVMPositionBuilderAtEnd(f->b, end);
}

static LLVMValueRef most_of(FnEmit *f, LLVMValueRef a, LLVMValueRef b, LLVMIntPredicate p) {
    return LLVMBuildSelect(f->b, LLVMBuildICmp(f->b, p, a, b, ""), a, b, "");
}

void emit_parallel(FnEmit *f, const LoopStmt *s) {
    Emit *e = f->e;
    LLVMValueRef hi = emit_dim(f, s->hi[0]), zero = emit_i64(e, 0);
    CTX_ASSERT(e->ctx, s->n_lo == 1);
    for (int k = 1; k < s->n_hi; k++)
        hi = most_of(f, hi, emit_dim(f, s->hi[k]), LLVMIntSLT);
    LLVMValueRef span = LLVMBuildSub(f->b, hi, emit_dim(f, s->lo[0]), "");
    LLVMValueRef up = LLVMBuildAdd(f->b, span, emit_i64(e, s->step - 1), "");
    LLVMValueRef jobs = most_of(f, LLVMBuildSDiv(f->b, up, emit_i64(e, s->step), ""), zero, LLVMIntSGT);
    LLVMValueRef job = job_function(f, s);
    emit_poll(f);
    store_slot(f, f->layout.arenas, free_arenas(f));
    dispatch(f, job, jobs);
    LLVMValueRef statuses = emit_frame_load(f, f->layout.statuses, e->ptr);
    CountLoop c = count_loop(f, jobs);
    LLVMValueRef status = LLVMBuildLoad2(f->b, e->i32, LLVMBuildInBoundsGEP2(f->b, e->i32, statuses, &c.k, 1, ""), "");
    emit_return_if(f, LLVMBuildICmp(f->b, LLVMIntNE, status, LLVMConstInt(e->i32, 0, 0), ""), status);
    count_end(f, &c);
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
        store_slot(f, f->layout.args + k, v);
        if (f->f->entry->args.p[k].kind == ARG_DIM)
            store_slot(f, f->layout.dims + dim++, v);
    }
    LLVMTypeRef list = LLVMArrayType2(e->i32, (uint64_t)(f->f->groups > 0 ? f->f->groups : 1));
    store_slot(f, f->layout.statuses, LLVMBuildAlloca(f->b, list, "statuses"));
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
        store_slot(f, value++, v);
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
    emit_return_if(f, bad, status_const(f, f->f->status_dim));
    LLVMValueRef *bytes = ARENA_ARRAY(&e->ctx->perm, LLVMValueRef, entry->args.n + 1);
    bad = no;
    for (int k = 0; k < entry->args.n; k++)
        if (entry->args.p[k].bytes)
            bytes[k] = emit_dim_checked(f, entry->args.p[k].bytes, &bad);
    LLVMValueRef work = entry->work_bytes ? emit_dim_checked(f, entry->work_bytes, &bad) : NULL;
    for (int k = 0; k < entry->args.n; k++)
        if (entry->args.p[k].kind == ARG_WORK)
            bytes[k] = work;
    emit_return_if(f, bad, status_const(f, f->f->status_overflow));
    for (int k = 0; k < f->f->checks.n; k++) {
        bad = no;
        LLVMValueRef v = emit_dim_checked(f, f->f->checks.p[k].cond, &bad);
        emit_return_if(f, LLVMBuildOr(f->b, bad, below(f, v, 0), ""), status_const(f, f->f->checks.p[k].status));
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
    emit_return_if(f, bad, status_const(f, f->f->status_null));
}

static void align_work(FnEmit *f) {
    Emit *e = f->e;
    for (int k = 0; k < f->f->entry->args.n; k++) {
        if (f->f->entry->args.p[k].kind != ARG_WORK)
            continue;
        LLVMValueRef p = LLVMBuildPtrToInt(f->b, LLVMGetParam(f->fn, (unsigned)k), e->i64, "");
        p = LLVMBuildAnd(f->b, LLVMBuildAdd(f->b, p, emit_i64(e, 63), ""), emit_i64(e, -64), "");
        store_slot(f, f->layout.work, LLVMBuildIntToPtr(f->b, p, e->ptr, ""));
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
    LLVMValueRef mode = set_mode(&f);
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
    restore_mode(&f, mode);
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
