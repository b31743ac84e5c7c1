/* Jobs: the iterations of a parallel loop are one internal function, called by the caller's `run` or in a plain loop; each
 * stores its status, and the first error in the order of the jobs wins. What a loop does in order behind each of them is a
 * second function, run by the threads that end jobs. */
#include "codegen/emit.h"

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
        emit_return_if(f, stop_asked(f), emit_status_code(f, f->f->status_stop));
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

/* i64: the lowest bit of set. */
static LLVMValueRef lowest(FnEmit *f, LLVMValueRef set) {
    LLVMValueRef args[2] = {set, LLVMConstInt(f->e->i1, 0, 0)};
    return emit_intrinsic(f, "llvm.cttz", &f->e->i64, 1, args, 2);
}

static LLVMValueRef take_first(FnEmit *f, int slot) {
    LLVMBuilderRef b = f->b;
    LLVMValueRef set = emit_frame_slot(f, slot), first = LLVMBuildLoad2(b, f->e->i64, set, "");
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
    return lowest(f, old);
}

static void give_back(FnEmit *f, int slot, LLVMValueRef number) {
    LLVMValueRef bit = LLVMBuildShl(f->b, emit_i64(f->e, 1), number, "");
    LLVMBuildAtomicRMW(f->b, LLVMAtomicRMWBinOpOr, emit_frame_slot(f, slot), bit, LLVMAtomicOrderingRelease, 0);
}

static LLVMValueRef atomic_load(FnEmit *f, LLVMValueRef p) {
    LLVMValueRef v = LLVMBuildLoad2(f->b, f->e->i64, p, "");
    LLVMSetAlignment(v, 8);
    LLVMSetOrdering(v, LLVMAtomicOrderingSequentiallyConsistent);
    return v;
}

static void atomic_store(FnEmit *f, LLVMValueRef v, LLVMValueRef p) {
    LLVMValueRef s = LLVMBuildStore(f->b, v, p);
    LLVMSetAlignment(s, 8);
    LLVMSetOrdering(s, LLVMAtomicOrderingSequentiallyConsistent);
}

/* What stands for the row of a job that works on the totals: no row has this number, as there are fewer groups. */
static LLVMValueRef on_totals(const FnEmit *f) { return emit_i64(f->e, INT32_MAX); }

/* The totals that jobs may work on, or NULL. */
static const BufId *totals_of(const FnEmit *f, const LoopStmt *s, const LoopStmt **rows_of) {
    return s->onto && shares_arenas(f->f) ? loop_totals_of_rows(&f->e->ctx->perm, f->e->ctx, f->f, s, rows_of) : NULL;
}

/* Which of the open jobs a thread takes: the one whose turn has come, if it is open and may work on the totals; else one
 * from the middle on, so that the thread that works on them goes on with the next and need not wait for the row of another. */
static LLVMValueRef choose_job(FnEmit *j, LLVMValueRef open, LLVMValueRef may, LLVMValueRef turn) {
    LLVMBuilderRef b = j->b;
    LLVMValueRef one = emit_i64(j->e, 1), zero = emit_i64(j->e, 0), jobs = emit_frame_load(j, j->layout.jobs, j->e->i64);
    LLVMValueRef half = LLVMBuildLShr(b, LLVMBuildAdd(b, jobs, one, ""), one, "");
    LLVMValueRef upper = LLVMBuildAnd(b, open, LLVMBuildNeg(b, LLVMBuildShl(b, one, half, ""), ""), "");
    LLVMValueRef low = LLVMBuildOr(b, LLVMBuildNot(b, may, ""), LLVMBuildICmp(b, LLVMIntEQ, upper, zero, ""), "");
    LLVMValueRef mine = LLVMBuildAnd(b, open, LLVMBuildShl(b, one, LLVMBuildAnd(b, turn, emit_i64(j->e, 63), ""), ""), "");
    mine = LLVMBuildAnd(b, may, LLVMBuildICmp(b, LLVMIntNE, mine, zero, ""), "");
    return LLVMBuildSelect(b, mine, turn, lowest(j, LLVMBuildSelect(b, low, open, upper, "")), "");
}

/* The number of the job that this thread takes, and its row: the totals where its turn has come and it may work on them. What
 * is open stays so until it is taken: a turn does not pass by an open job. */
static LLVMValueRef take_job(FnEmit *j, const LoopStmt *s, LLVMValueRef *row) {
    LLVMBuilderRef b = j->b;
    LLVMValueRef zero = emit_i64(j->e, 0), one = emit_i64(j->e, 1), may = LLVMBuildICmp(b, LLVMIntEQ, emit_dim(j, s->onto_if), zero, "");
    LLVMValueRef first = atomic_load(j, emit_frame_slot(j, j->layout.open));
    LLVMBasicBlockRef before = LLVMGetInsertBlock(b), again = emit_block(j, "choose"), taken = emit_block(j, "chosen"), own = emit_block(j, "own"), end = emit_block(j, "row");
    LLVMBuildBr(b, again);
    LLVMPositionBuilderAtEnd(b, again);
    LLVMValueRef open = LLVMBuildPhi(b, j->e->i64, ""), turn = atomic_load(j, emit_frame_slot(j, j->layout.next)), k = choose_job(j, open, may, turn);
    LLVMValueRef rest = LLVMBuildXor(b, open, LLVMBuildShl(b, one, k, ""), "");
    LLVMValueRef pair = LLVMBuildAtomicCmpXchg(b, emit_frame_slot(j, j->layout.open), open, rest, LLVMAtomicOrderingSequentiallyConsistent, LLVMAtomicOrderingSequentiallyConsistent, 0);
    LLVMValueRef in[2] = {first, LLVMBuildExtractValue(b, pair, 0, "")};
    LLVMBasicBlockRef from[2] = {before, again};
    LLVMAddIncoming(open, in, from, 2);
    LLVMBuildCondBr(b, LLVMBuildExtractValue(b, pair, 1, ""), taken, again);
    LLVMPositionBuilderAtEnd(b, taken);
    LLVMValueRef allowed = LLVMBuildOr(b, may, LLVMBuildICmp(b, LLVMIntEQ, k, zero, ""), "");
    LLVMBuildCondBr(b, LLVMBuildAnd(b, LLVMBuildICmp(b, LLVMIntEQ, turn, k, ""), allowed, ""), end, own);
    LLVMPositionBuilderAtEnd(b, own);
    LLVMValueRef rows[2] = {on_totals(j), take_first(j, j->layout.rows)};
    LLVMBasicBlockRef of[2] = {taken, LLVMGetInsertBlock(b)};
    LLVMBuildBr(b, end);
    LLVMPositionBuilderAtEnd(b, end);
    *row = LLVMBuildPhi(b, j->e->i64, "");
    LLVMAddIncoming(*row, rows, of, 2);
    return k;
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

static LLVMValueRef most_of(FnEmit *f, LLVMValueRef a, LLVMValueRef b, LLVMIntPredicate p) {
    return LLVMBuildSelect(f->b, LLVMBuildICmp(f->b, p, a, b, ""), a, b, "");
}

/* The first lines of each page of what a job works in are fetched before it begins. Addresses are then translated several at a
 * time, not one by one where the job's stores come to a new page: in a virtual machine an untranslated page can cost as much
 * as a thousand cycles, and a caller with many work memories pays for all pages in each call. And hardware, which fetches what
 * follows after a few lines in order, but not across pages, starts with them. */
static void fetch_pages(FnEmit *f, LLVMValueRef from, LLVMValueRef bytes) {
    enum { PAGE = 4096, LINE = 64, LINES = 4, MOST = 1 << 21 };
    Emit *e = f->e;
    LLVMValueRef at = LLVMBuildPtrToInt(f->b, from, e->i64, ""), into = LLVMBuildAnd(f->b, at, emit_i64(e, PAGE - 1), "");
    bytes = LLVMBuildAdd(f->b, most_of(f, bytes, emit_i64(e, MOST), LLVMIntSLT), into, "");
    CountLoop c = count_loop(f, LLVMBuildUDiv(f->b, LLVMBuildAdd(f->b, bytes, emit_i64(e, PAGE - 1), ""), emit_i64(e, PAGE), ""));
    LLVMValueRef page = LLVMBuildSub(f->b, LLVMBuildMul(f->b, c.k, emit_i64(e, PAGE), ""), into, ""), args[4];
    for (unsigned k = 1; k < 4; k++)
        args[k] = LLVMConstInt(e->i32, k == 2 ? 3 : 1, 0); /* for writing, into the first cache, data */
    for (int k = 0; k < LINES; k++) {
        at = LLVMBuildAdd(f->b, page, emit_i64(e, k * LINE), "");
        args[0] = LLVMBuildGEP2(f->b, e->i8, from, &at, 1, "");
        emit_intrinsic(f, "llvm.prefetch", &e->ptr, 1, args, 4);
    }
    count_end(f, &c);
}

static void fetch_arena(FnEmit *f) {
    LLVMValueRef bytes = emit_dim(f, f->f->work_job), from = emit_dim(f, f->f->work_fixed);
    from = LLVMBuildAdd(f->b, from, LLVMBuildMul(f->b, bytes, f->arena, ""), "");
    fetch_pages(f, LLVMBuildGEP2(f->b, f->e->i8, emit_frame_load(f, f->layout.work, f->e->ptr), &from, 1, ""), bytes);
}

/* The rows, or totals, that a job's sums go to. */
static void fetch_rows(FnEmit *f) {
    Ctx *ctx = f->e->ctx;
    for (int k = 0; k < f->f->bufs.n; k++) {
        const LoopBuf *b = f->f->bufs.p[k];
        if (b->kind != BUF_WORK || f->rows_of[b->id.id] != f->job)
            continue;
        Dim *subs = ARENA_ARRAY(&ctx->perm, Dim, b->rank + 1), bytes = dim_const(ctx, (int64_t)dtype_size(b->dt));
        subs[0] = dim_of(ctx, f->job->index);
        for (int a = 1; a < b->rank; a++) {
            subs[a] = dim_const(ctx, 0);
            bytes = bytes ? dim_mul(ctx, bytes, b->shape[a]) : NULL;
        }
        if (bytes)
            fetch_pages(f, emit_element(f, b->id, b->rank, subs), emit_dim(f, bytes));
    }
}

/* i32 (frame, number, arena, row): what an iteration does, or its part in order. */
static LLVMTypeRef part_type(const Emit *e) {
    LLVMTypeRef types[4] = {e->ptr, e->i64, e->i64, e->i64};
    return LLVMFunctionType(e->i32, types, 4, 0);
}

static LLVMValueRef part_function(FnEmit *f, const LoopStmt *s, const LoopBody *what, const char *name) {
    const LoopStmt **rows_of = loop_rows_of_jobs(&f->e->ctx->perm, f->f);
    const BufId *totals = what == &s->body ? totals_of(f, s, rows_of) : NULL;
    Emit *e = f->e;
    LLVMValueRef body = LLVMAddFunction(e->mod, name, part_type(e));
    LLVMSetLinkage(body, LLVMInternalLinkage);
    FnEmit b = emit_open(e, f->f, body, s->span);
    b.frame = LLVMGetParam(body, 0);
    b.waits = f->waits;
    b.number = LLVMGetParam(body, 1);
    b.arena = LLVMGetParam(body, 2);
    b.row = LLVMGetParam(body, 3);
    b.job = s;
    b.rows_of = rows_of;
    b.totals = totals;
    debug_function(&b, name, s->span);
    emit_poll(&b);
    LLVMValueRef index = LLVMBuildAdd(b.b, LLVMBuildMul(b.b, LLVMGetParam(body, 1), emit_i64(e, s->step), ""), emit_dim(&b, s->lo[0]), "");
    LLVMBasicBlockRef inside = emit_block(&b, "iteration");
    Level level = {.at = LLVMBuildBr(b.b, inside), .index = s->index, .value = index};
    LLVMPositionBuilderBefore(b.b, b.levels.p[0].at);
    if (s->onto) {
        LLVMValueRef is = LLVMBuildICmp(b.b, LLVMIntEQ, b.row, on_totals(f), ""), later = LLVMBuildICmp(b.b, LLVMIntNE, b.number, emit_i64(e, 0), "");
        b.on_totals = is;
        Level onto = {.at = b.levels.p[0].at, .index = s->onto, .value = LLVMBuildZExt(b.b, LLVMBuildAnd(b.b, is, later, ""), e->i64, "onto")};
        vec_push(&e->ctx->perm, &b.levels, onto);
    }
    LLVMPositionBuilderAtEnd(b.b, inside);
    vec_push(&e->ctx->perm, &b.levels, level);
    if (s->fetch && what == &s->body) {
        fetch_arena(&b);
        fetch_rows(&b);
    }
    emit_body(&b, what);
    emit_close(&b);
    LLVMBuildRet(b.b, b.status);
    LLVMDisposeBuilder(b.b);
    return body;
}

static LLVMValueRef status_of(FnEmit *f, LLVMValueRef k) {
    LLVMValueRef statuses = emit_frame_load(f, f->layout.statuses, f->e->ptr);
    return LLVMBuildInBoundsGEP2(f->b, f->e->i32, statuses, &k, 1, "");
}

/* The slot where job k says that it waits: its row + 1. Where that is the totals, nothing is left to do. One behind the last job stays 0. */
static LLVMValueRef waiting(FnEmit *f, LLVMValueRef k) {
    return LLVMBuildInBoundsGEP2(f->b, f->e->i64, emit_frame_load(f, f->layout.waiting, f->e->ptr), &k, 1, "");
}

/* void turns(frame): while the next job in order waits, its part is run, by one thread at a time. Whoever finds a thread at it
 * leaves his job to that one, which looks again after it has left off. */
static LLVMValueRef turns_function(FnEmit *f, const LoopStmt *s, LLVMValueRef part, const char *name) {
    Emit *e = f->e;
    LLVMTypeRef type = LLVMFunctionType(e->void_, &e->ptr, 1, 0);
    LLVMValueRef fn = LLVMAddFunction(e->mod, name, type);
    LLVMSetLinkage(fn, LLVMInternalLinkage);
    FnEmit t = emit_open(e, f->f, fn, s->span);
    t.frame = LLVMGetParam(fn, 0);
    debug_function(&t, name, s->span);
    LLVMBuilderRef b = t.b;
    LLVMBasicBlockRef enter = emit_block(&t, "enter"), look = emit_block(&t, "look"), run = emit_block(&t, "run"), add = emit_block(&t, "add"), failed = emit_block(&t, "failed"),
                      ran = emit_block(&t, "ran"), done = emit_block(&t, "next"), leave = emit_block(&t, "done"), out = emit_block(&t, "out");
    LLVMValueRef zero = emit_i64(e, 0), one = emit_i64(e, 1), busy = emit_frame_slot(&t, t.layout.busy), next = emit_frame_slot(&t, t.layout.next);
    LLVMBuildBr(b, enter);
    LLVMPositionBuilderAtEnd(b, enter);
    LLVMValueRef pair = LLVMBuildAtomicCmpXchg(b, busy, zero, one, LLVMAtomicOrderingSequentiallyConsistent, LLVMAtomicOrderingSequentiallyConsistent, 0);
    LLVMBuildCondBr(b, LLVMBuildExtractValue(b, pair, 1, ""), look, out);
    LLVMPositionBuilderAtEnd(b, look);
    LLVMValueRef k = LLVMBuildLoad2(b, e->i64, next, ""), row = atomic_load(&t, waiting(&t, k));
    LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntNE, row, zero, ""), run, leave);
    LLVMPositionBuilderAtEnd(b, run);
    row = LLVMBuildSub(b, row, one, "");
    LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntEQ, row, on_totals(&t), ""), done, add);
    LLVMPositionBuilderAtEnd(b, add);
    LLVMValueRef args[4] = {t.frame, k, k, row}, status = LLVMBuildCall2(b, part_type(e), part, args, 4, "");
    LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntNE, status, LLVMConstInt(e->i32, 0, 0), ""), failed, ran);
    LLVMPositionBuilderAtEnd(b, failed);
    LLVMBuildStore(b, status, status_of(&t, k));
    LLVMBuildBr(b, ran);
    LLVMPositionBuilderAtEnd(b, ran);
    give_back(&t, t.layout.rows, row);
    LLVMBuildBr(b, done);
    LLVMPositionBuilderAtEnd(b, done);
    atomic_store(&t, LLVMBuildAdd(b, k, one, ""), next);
    LLVMBuildBr(b, look);
    LLVMPositionBuilderAtEnd(b, leave);
    atomic_store(&t, zero, busy);
    LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntNE, atomic_load(&t, waiting(&t, k)), zero, ""), enter, out);
    LLVMPositionBuilderAtEnd(b, out);
    emit_close(&t);
    LLVMBuildRetVoid(b);
    LLVMDisposeBuilder(b);
    return fn;
}

/* Behind the body of job k: its part in order, now or when its turn comes. */
static void take_turn(FnEmit *j, LLVMValueRef turns, LLVMValueRef k, LLVMValueRef row) {
    Emit *e = j->e;
    LLVMTypeRef type = LLVMFunctionType(e->void_, &e->ptr, 1, 0);
    atomic_store(j, LLVMBuildAdd(j->b, row, emit_i64(e, 1), ""), waiting(j, k));
    LLVMBuildCall2(j->b, type, turns, &j->frame, 1, "");
}

/* How often a thread looks whether the others have ended: 40 us in all where a pause takes 25 cycles, 200 us where it takes 140. */
enum { LOOKS = 4096 };

static void pause_thread(FnEmit *j) {
    if (j->e->x86)
        emit_intrinsic(j, "llvm.x86.sse2.pause", NULL, 0, NULL, 0);
}

static LLVMValueRef count_up(FnEmit *j, int slot) {
    return LLVMBuildAtomicRMW(j->b, LLVMAtomicRMWBinOpAdd, emit_frame_slot(j, slot), emit_i64(j->e, 1), LLVMAtomicOrderingMonotonic, 0);
}

/* i1: all jobs are counted in slot. */
static LLVMValueRef all_counted(FnEmit *j, int slot) {
    LLVMValueRef v = LLVMBuildLoad2(j->b, j->e->i64, emit_frame_slot(j, slot), "");
    LLVMSetAlignment(v, 8);
    LLVMSetOrdering(v, LLVMAtomicOrderingMonotonic);
    return LLVMBuildICmp(j->b, LLVMIntSGE, v, emit_frame_load(j, j->layout.jobs, j->e->i64), "");
}

/* A thread that ends a job when all others have begun stays for a moment, until they have ended: to the caller's threads it
 * is at work, and so awake when the next jobs come, which are often of the same call. Nothing depends on how long it stays. */
static void stay(FnEmit *j) {
    LLVMBuilderRef b = j->b;
    LLVMBasicBlockRef before, look = emit_block(j, "look"), again = emit_block(j, "again"), left = emit_block(j, "left");
    count_up(j, j->layout.ended);
    LLVMValueRef idle = all_counted(j, j->layout.begun), zero = emit_i64(j->e, 0);
    before = LLVMGetInsertBlock(b);
    LLVMBuildCondBr(b, idle, look, left);
    LLVMPositionBuilderAtEnd(b, look);
    LLVMValueRef n = LLVMBuildPhi(b, j->e->i64, "");
    LLVMValueRef over = LLVMBuildICmp(b, LLVMIntSGE, n, emit_i64(j->e, LOOKS), "");
    LLVMBuildCondBr(b, LLVMBuildOr(b, all_counted(j, j->layout.ended), over, ""), left, again);
    LLVMPositionBuilderAtEnd(b, again);
    pause_thread(j);
    LLVMValueRef in[2] = {zero, LLVMBuildAdd(b, n, emit_i64(j->e, 1), "")};
    LLVMBasicBlockRef from[2] = {before, again};
    LLVMAddIncoming(n, in, from, 2);
    LLVMBuildBr(b, look);
    LLVMPositionBuilderAtEnd(b, left);
}

/* void job(void *frame, int k): sets the mode, runs the iteration and stores the status. */
static LLVMValueRef job_function(FnEmit *f, const LoopStmt *s) {
    Emit *e = f->e;
    LLVMTypeRef job_types[2] = {e->ptr, e->i32}, job_type = LLVMFunctionType(e->void_, job_types, 2, 0);
    const char *name = str_fmt(e->ctx, "%s.job", s->name ? s->name : f->f->name);
    bool ordered = s->orelse.stmts.n > 0;
    LLVMValueRef body = part_function(f, s, &s->body, name), turns = NULL;
    if (ordered)
        turns = turns_function(f, s, part_function(f, s, &s->orelse, str_fmt(e->ctx, "%s.ordered", name)), str_fmt(e->ctx, "%s.turns", name));
    LLVMValueRef job = LLVMAddFunction(e->mod, str_fmt(e->ctx, "%s.run", name), job_type);
    LLVMSetLinkage(job, LLVMInternalLinkage);
    FnEmit j = emit_open(e, f->f, job, s->span);
    j.frame = LLVMGetParam(job, 0);
    debug_function(&j, str_fmt(e->ctx, "%s.run", name), s->span);
    count_up(&j, j.layout.begun);
    LLVMValueRef mode = emit_set_mode(&j), k = LLVMBuildSExt(j.b, LLVMGetParam(job, 1), e->i64, "");
    bool shares = shares_arenas(f->f);
    LLVMValueRef row = k;
    if (ordered && totals_of(&j, s, loop_rows_of_jobs(&e->ctx->perm, f->f)))
        k = take_job(&j, s, &row);
    else if (ordered && shares)
        row = take_first(&j, j.layout.rows);
    LLVMValueRef arena = shares ? take_first(&j, j.layout.arenas) : k;
    LLVMValueRef args[4] = {j.frame, k, arena, row};
    LLVMBuildStore(j.b, LLVMBuildCall2(j.b, part_type(e), body, args, 4, ""), status_of(&j, k));
    if (shares)
        give_back(&j, j.layout.arenas, arena);
    if (ordered)
        take_turn(&j, turns, k, row);
    emit_restore_mode(&j, mode);
    stay(&j);
    emit_close(&j);
    LLVMBuildRetVoid(j.b);
    LLVMDisposeBuilder(j.b);
    return job;
}

static void run_here(FnEmit *f, LLVMTypeRef type, LLVMValueRef job, LLVMValueRef jobs) {
    CountLoop c = count_loop(f, jobs);
    LLVMValueRef args[2] = {f->frame, LLVMBuildTrunc(f->b, c.k, f->e->i32, "")};
    LLVMBuildCall2(f->b, type, job, args, 2, "");
    count_end(f, &c);
}

/* i1: there is more than one job, and work enough for several threads. */
static LLVMValueRef worth_dividing(FnEmit *f, const LoopStmt *s, LLVMValueRef jobs) {
    LLVMValueRef several = LLVMBuildICmp(f->b, LLVMIntSGT, jobs, emit_i64(f->e, 1), "");
    if (!s->awake)
        return several;
    LLVMValueRef awake = emit_frame_load(f, f->layout.awake, f->e->i64);
    return LLVMBuildAnd(f->b, several, LLVMBuildICmp(f->b, LLVMIntNE, awake, emit_i64(f->e, 0), ""), "");
}

static void dispatch(FnEmit *f, const LoopStmt *s, LLVMValueRef job, LLVMValueRef jobs) {
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
    LLVMBuildCondBr(f->b, LLVMBuildAnd(f->b, LLVMBuildIsNotNull(f->b, run, ""), worth_dividing(f, s, jobs), ""), theirs, ours);
    LLVMPositionBuilderAtEnd(f->b, theirs);
    emit_store_slot(f, f->layout.awake, emit_i64(e, 1));
    LLVMValueRef args[4] = {self, LLVMBuildTrunc(f->b, jobs, e->i32, ""), job, f->frame};
    LLVMBuildCall2(f->b, run_type, run, args, 4, "");
    LLVMBuildBr(f->b, end);
    LLVMPositionBuilderAtEnd(f->b, ours);
    run_here(f, job_type, job, jobs);
    LLVMBuildBr(f->b, end);
    LLVMPositionBuilderAtEnd(f->b, end);
}

/* No job waits, and one behind the last never will; all are open. */
static void begin_turns(FnEmit *f, LLVMValueRef jobs) {
    LLVMValueRef zero = emit_i64(f->e, 0), size = LLVMBuildMul(f->b, LLVMBuildAdd(f->b, jobs, emit_i64(f->e, 1), ""), emit_i64(f->e, 8), "");
    emit_store_slot(f, f->layout.rows, free_arenas(f));
    emit_store_slot(f, f->layout.next, zero);
    emit_store_slot(f, f->layout.busy, zero);
    LLVMValueRef all = emit_i64(f->e, -1), left = LLVMBuildSub(f->b, emit_i64(f->e, MOST_ARENAS), jobs, "");
    emit_store_slot(f, f->layout.open, LLVMBuildLShr(f->b, all, LLVMBuildAnd(f->b, left, emit_i64(f->e, MOST_ARENAS - 1), ""), ""));
    LLVMBuildMemSet(f->b, emit_frame_load(f, f->layout.waiting, f->e->ptr), LLVMConstInt(f->e->i8, 0, 0), size, 8);
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
    emit_store_slot(f, f->layout.arenas, free_arenas(f));
    emit_store_slot(f, f->layout.begun, zero);
    emit_store_slot(f, f->layout.ended, zero);
    emit_store_slot(f, f->layout.jobs, jobs);
    if (s->orelse.stmts.n)
        begin_turns(f, jobs);
    dispatch(f, s, job, jobs);
    LLVMValueRef statuses = emit_frame_load(f, f->layout.statuses, e->ptr);
    CountLoop c = count_loop(f, jobs);
    LLVMValueRef status = LLVMBuildLoad2(f->b, e->i32, LLVMBuildInBoundsGEP2(f->b, e->i32, statuses, &c.k, 1, ""), "");
    emit_return_if(f, LLVMBuildICmp(f->b, LLVMIntNE, status, LLVMConstInt(e->i32, 0, 0), ""), status);
    count_end(f, &c);
}
