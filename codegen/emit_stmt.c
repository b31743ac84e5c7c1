/* Statements: loops, values, calls. */
#include "codegen/emit.h"

static LLVMValueRef extreme_of(FnEmit *f, const Dim *d, int n, bool max) {
    LLVMValueRef v = emit_dim(f, d[0]);
    for (int k = 1; k < n; k++) {
        LLVMValueRef x = emit_dim(f, d[k]);
        LLVMValueRef take = LLVMBuildICmp(f->b, max ? LLVMIntSGT : LLVMIntSLT, x, v, "");
        v = LLVMBuildSelect(f->b, take, x, v, "");
    }
    return v;
}

/* At the end of an iteration of an outermost loop, about every 2^12 steps of its index. */
static void poll(FnEmit *f, const LoopStmt *s, LLVMValueRef i) {
    enum { PERIOD = 1 << 12 };
    LLVMBuilderRef b = f->b;
    bool leaf = true;
    for (int k = 0; k < s->body.stmts.n; k++)
        leaf = leaf && s->body.stmts.p[k]->kind != LOOP_FOR && s->body.stmts.p[k]->kind != LOOP_WHILE;
    if (!leaf || s->step >= PERIOD) {
        emit_poll(f);
        return;
    }
    LLVMBasicBlockRef now = emit_block(f, "poll"), after = emit_block(f, "go");
    LLVMValueRef phase = LLVMBuildAnd(b, i, emit_i64(f->e, PERIOD - 1), "");
    LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntULT, phase, emit_i64(f->e, s->step), ""), now, after);
    LLVMPositionBuilderAtEnd(b, now);
    emit_poll(f);
    LLVMBuildBr(b, after);
    LLVMPositionBuilderAtEnd(b, after);
}

/* for (i = lo; i < hi; i += step): tested before, then at the bottom; carried values are phis. */
void emit_iterations(FnEmit *f, const LoopStmt *s, LLVMValueRef lo, LLVMValueRef hi, const LLVMValueRef *init, LLVMValueRef *out) {
    Arena *a = &f->e->ctx->perm;
    LLVMBuilderRef b = f->b;
    LLVMBasicBlockRef before = LLVMGetInsertBlock(b), head = emit_block(f, "loop"), body = emit_block(f, "do"), after = emit_block(f, "done");
    LLVMValueRef runs = LLVMBuildICmp(b, LLVMIntSLT, lo, hi, "");
    if (s->n_args)
        runs = LLVMBuildAnd(b, runs, f->vals[s->args[0].id], "");
    LLVMBuildCondBr(b, runs, head, after);
    LLVMPositionBuilderAtEnd(b, head);
    LLVMValueRef i = LLVMBuildPhi(b, f->e->i64, s->index->name);
    LLVMAddIncoming(i, &lo, &before, 1);
    for (int k = 0; k < s->n_carried; k++) {
        f->vals[s->phi[k].id] = LLVMBuildPhi(b, emit_ltype(f->e, s->carried[k]), "");
        LLVMAddIncoming(f->vals[s->phi[k].id], (LLVMValueRef *)&init[k], &before, 1);
    }
    Level level = {.at = LLVMBuildBr(b, body), .index = s->index, .value = i};
    vec_push(a, &f->levels, level);
    LLVMPositionBuilderAtEnd(b, body);
    bool outermost = !f->in_loop;
    f->in_loop = true;
    emit_body(f, &s->body);
    f->in_loop = !outermost;
    if (outermost && f->e->o->poll_stop)
        poll(f, s, i);
    const LoopStmt *last = s->body.stmts.n ? s->body.stmts.p[s->body.stmts.n - 1] : NULL;
    LLVMBasicBlockRef end = LLVMGetInsertBlock(b);
    LLVMValueRef next = LLVMBuildNSWAdd(b, i, emit_i64(f->e, s->step), "");
    LLVMAddIncoming(i, &next, &end, 1);
    LLVMValueRef *yield = ARENA_ARRAY(a, LLVMValueRef, s->n_carried + 1);
    for (int k = 0; k < s->n_carried; k++) {
        yield[k] = f->vals[last->args[k].id];
        LLVMAddIncoming(f->vals[s->phi[k].id], &yield[k], &end, 1);
    }
    LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntSLT, next, hi, ""), head, after);
    f->levels.n--;
    LLVMPositionBuilderAtEnd(b, after);
    for (int k = 0; k < s->n_carried; k++) {
        out[k] = LLVMBuildPhi(b, emit_ltype(f->e, s->carried[k]), "");
        LLVMAddIncoming(out[k], (LLVMValueRef *)&init[k], &before, 1);
        LLVMAddIncoming(out[k], &yield[k], &end, 1);
    }
}

static void emit_for(FnEmit *f, const LoopStmt *s) {
    enum { AVX512 = 64 };
    if (s->lines.id && f->e->m->target->vector_bytes >= AVX512) {
        emit_by_lines(f, s);
        return;
    }
    LLVMValueRef lo = extreme_of(f, s->lo, s->n_lo, true), hi = extreme_of(f, s->hi, s->n_hi, false);
    if (s->need) {
        LLVMValueRef need = emit_dim(f, s->need);
        hi = LLVMBuildSelect(f->b, LLVMBuildICmp(f->b, LLVMIntSLT, need, hi, ""), need, hi, "");
    }
    LLVMValueRef *init = ARENA_ARRAY(&f->e->ctx->perm, LLVMValueRef, s->n_carried + 1);
    LLVMValueRef *out = ARENA_ARRAY(&f->e->ctx->perm, LLVMValueRef, s->n_carried + 1);
    for (int k = 0; k < s->n_carried; k++)
        init[k] = f->vals[s->init[k].id];
    emit_iterations(f, s, lo, hi, init, out);
    for (int k = 0; k < s->n_carried; k++)
        f->vals[s->out[k].id] = out[k];
}

static void emit_while(FnEmit *f, const LoopStmt *s) {
    LLVMBuilderRef b = f->b;
    LLVMBasicBlockRef before = LLVMGetInsertBlock(b), head = emit_block(f, "while"), body = emit_block(f, "do"), after = emit_block(f, "done");
    LLVMBuildBr(b, head);
    LLVMPositionBuilderAtEnd(b, head);
    for (int k = 0; k < s->n_carried; k++) {
        f->vals[s->phi[k].id] = LLVMBuildPhi(b, emit_ltype(f->e, s->carried[k]), "");
        LLVMAddIncoming(f->vals[s->phi[k].id], &f->vals[s->init[k].id], &before, 1);
    }
    vec_push(&f->e->ctx->perm, &f->levels, (Level){.at = LLVMBuildBr(b, body)});
    LLVMPositionBuilderAtEnd(b, body);
    emit_body(f, &s->body);
    if (!f->in_loop && !f->in_kernel) /* an iteration of an optimiser */
        emit_poll(f);
    const LoopStmt *last = s->body.stmts.p[s->body.stmts.n - 1];
    LLVMBasicBlockRef end = LLVMGetInsertBlock(b);
    for (int k = 0; k < s->n_carried; k++) {
        f->vals[s->out[k].id] = f->vals[last->args[k + 1].id];
        LLVMAddIncoming(f->vals[s->phi[k].id], &f->vals[s->out[k].id], &end, 1);
    }
    LLVMBuildCondBr(b, f->vals[last->args[0].id], head, after);
    f->levels.n--;
    LLVMPositionBuilderAtEnd(b, after);
}

/* Nothing hoisted out of an arm may be missing in the other: each arm is a level of its own. */
static void emit_arm(FnEmit *f, const LoopBody *arm, LLVMBasicBlockRef head, LLVMBasicBlockRef after) {
    LLVMBasicBlockRef body = emit_block(f, "arm");
    LLVMPositionBuilderAtEnd(f->b, head);
    vec_push(&f->e->ctx->perm, &f->levels, (Level){.at = LLVMBuildBr(f->b, body)});
    LLVMPositionBuilderAtEnd(f->b, body);
    emit_body(f, arm);
    LLVMBuildBr(f->b, after);
    f->levels.n--;
}

static void emit_if(FnEmit *f, const LoopStmt *s) {
    LLVMBasicBlockRef yes = emit_block(f, "then"), no = emit_block(f, "else"), after = emit_block(f, "end");
    LLVMBuildCondBr(f->b, f->vals[s->args[0].id], yes, no);
    emit_arm(f, &s->body, yes, after);
    emit_arm(f, &s->orelse, no, after);
    LLVMPositionBuilderAtEnd(f->b, after);
}

/* rt_NAME(buffers..., values...) */
static void emit_call(FnEmit *f, const LoopStmt *s) {
    Emit *e = f->e;
    LLVMTypeRef types[40];
    LLVMValueRef args[40];
    int n = 0;
    CTX_ASSERT(e->ctx, s->n_bufs + s->n_args <= 40);
    for (int k = 0; k < s->n_bufs; k++) {
        args[n] = emit_element(f, s->bufs[k], loop_bufp(f->f, s->bufs[k])->rank, s->buf_subs[k]);
        types[n++] = e->ptr;
    }
    for (int k = 0; k < s->n_args; k++) {
        args[n] = f->vals[s->args[k].id];
        types[n++] = emit_ltype(e, loop_type(f->f, s->args[k]));
    }
    LLVMTypeRef result = s->result.id ? emit_ltype(e, s->type) : e->void_;
    LLVMTypeRef type = LLVMFunctionType(result, types, (unsigned)n, 0);
    const char *name = str_fmt(e->ctx, "rt_%s", s->callee);
    LLVMValueRef fn = LLVMGetNamedFunction(e->mod, name);
    fn = fn ? fn : LLVMAddFunction(e->mod, name, type);
    LLVMValueRef v = LLVMBuildCall2(f->b, type, fn, args, (unsigned)n, "");
    if (s->result.id)
        f->vals[s->result.id] = v;
}

static void emit_index(FnEmit *f, const LoopStmt *s) {
    LLVMValueRef v = emit_splat(f, emit_dim(f, s->subs[0]), s->type.lanes), steps[64];
    if (s->type.lanes > 1) {
        for (int k = 0; k < s->type.lanes; k++)
            steps[k] = emit_i64(f->e, k * s->lane_step);
        v = LLVMBuildAdd(f->b, v, LLVMConstVector(steps, (unsigned)s->type.lanes), "");
    }
    f->vals[s->result.id] = v;
}

static void emit_let(FnEmit *f, const LoopStmt *s) {
    LLVMValueRef args[3];
    LType t = {DT_NONE, 1};
    for (int k = 0; k < s->n_args; k++) {
        args[k] = f->vals[s->args[k].id];
        t = loop_type(f->f, s->args[k]); /* of the last operand: select's first is a bool */
    }
    f->vals[s->result.id] = scalar_def(s->op)->expand ? emit_row(f, s->op, args, t.dt) : emit_scalar(f, s, args, t);
}

static void emit_status(FnEmit *f, const LoopStmt *s) {
    LLVMValueRef failed = LLVMBuildNot(f->b, f->vals[s->args[0].id], "");
    emit_return_if(f, failed, LLVMConstInt(f->e->i32, (unsigned long long)(-(s->status + 1)), 1));
}

/* ---- kernels use no value from outside */

typedef struct Closed {
    bool *defined; /* by value id */
    bool ok;
} Closed;

static void visit_values(Closed *c, const LoopStmt *s);

static void visit_body(Closed *c, const LoopBody *b) {
    for (int k = 0; k < b->stmts.n; k++)
        visit_values(c, b->stmts.p[k]);
}

static void use(Closed *c, LVal v) { c->ok &= v.id == 0 || c->defined[v.id]; }

static void visit_values(Closed *c, const LoopStmt *s) {
    for (int k = 0; k < s->n_args; k++)
        use(c, s->args[k]);
    for (int k = 0; s->sub_vals && k < s->rank; k++)
        use(c, s->sub_vals[k]);
    for (int k = 0; k < s->n_carried; k++) {
        use(c, s->init[k]);
        c->defined[s->phi[k].id] = c->defined[s->out[k].id] = true;
    }
    c->defined[s->result.id] = true;
    visit_body(c, &s->body);
    visit_body(c, &s->orelse);
}

static bool is_closed(FnEmit *f, const LoopStmt *s) {
    Closed c = {ARENA_ARRAY(&f->e->ctx->perm, bool, f->f->vals.n + 1), true};
    visit_values(&c, s);
    return c.ok;
}

static bool has_named_loop(const LoopBody *b) {
    for (int k = 0; k < b->stmts.n; k++) {
        const LoopStmt *s = b->stmts.p[k];
        if ((s->kind == LOOP_FOR && s->name) || has_named_loop(&s->body) || has_named_loop(&s->orelse))
            return true;
    }
    return false;
}

/* Loops at the top, in a job or in a slice are kernels; of those without a name the larger ones, where no kernel stands inside.
 * A pass that names loops further inside wants their registers for themselves. */
static bool is_kernel(FnEmit *f, const LoopStmt *s) {
    enum { SMALL = 4, DEEP = 8 };
    bool named = s->name || (s->body.stmts.n >= SMALL && !has_named_loop(&s->body));
    int level = f->levels.n - (f->job && f->job->onto); /* whether a job works on totals is a level, but no loop */
    return named && !f->in_kernel && level <= (s->name ? DEEP : 3) && !s->n_carried && is_closed(f, s);
}

static bool is_kept(const LoopFunc *f, BufId id) {
    const LoopBuf *b = loop_storage(f, id);
    const AbiArg *a = b->kind == BUF_ARG ? &f->entry->args.p[b->arg] : NULL;
    return a && !a->is_const && (a->kind == ARG_PARAMS || a->kind == ARG_STATE || a->kind == ARG_OPT);
}

/* May it store to what the caller keeps: params, state, the optimizer's? Calls may to all their buffers. */
static bool changes_kept(const LoopFunc *f, const LoopStmt *s) {
    bool changes = s->kind == LOOP_STORE && is_kept(f, s->buf);
    for (int k = 0; k < s->n_bufs && !changes; k++)
        changes = is_kept(f, s->bufs[k]);
    for (int k = 0; k < s->body.stmts.n && !changes; k++)
        changes = changes_kept(f, s->body.stmts.p[k]);
    for (int k = 0; k < s->orelse.stmts.n && !changes; k++)
        changes = changes_kept(f, s->orelse.stmts.p[k]);
    return changes;
}

static void emit_stmt(FnEmit *f, const LoopStmt *s) {
    debug_location(f, s->span);
    switch (s->kind) {
    case LOOP_FOR:
        if (s->parallel)
            emit_parallel(f, s);
        else if (is_kernel(f, s))
            kernel_call(f, s);
        else
            emit_for(f, s);
        break;
    case LOOP_WHILE:
        emit_while(f, s);
        break;
    case LOOP_IF:
        emit_if(f, s);
        break;
    case LOOP_LET:
        emit_let(f, s);
        break;
    case LOOP_CONST:
        f->vals[s->result.id] = emit_constant(f->e, s->type, s->k);
        break;
    case LOOP_INDEX:
        emit_index(f, s);
        break;
    case LOOP_LOAD:
        emit_load(f, s);
        break;
    case LOOP_STORE:
        emit_store(f, s);
        break;
    case LOOP_CALL:
        emit_call(f, s);
        break;
    case LOOP_POLL:
        f->vals[s->result.id] = emit_asked(f);
        break;
    case LOOP_STATUS:
        emit_status(f, s);
        break;
    case LOOP_RETURN:
        emit_return_if(f, LLVMBuildICmp(f->b, LLVMIntNE, f->vals[s->args[0].id], LLVMConstInt(f->e->i32, 0, 0), ""), f->vals[s->args[0].id]);
        break;
    case LOOP_YIELD:
        break;
    }
}

/* What has begun to change what the caller keeps is not stopped any more: it would be left half changed. */
void emit_body(FnEmit *f, const LoopBody *b) {
    for (int k = 0; k < b->stmts.n; k++) {
        if (b == &f->f->body && !f->waits)
            f->waits = changes_kept(f->f, b->stmts.p[k]);
        emit_stmt(f, b->stmts.p[k]);
    }
}

bool emit_has_status(const LoopBody *b) {
    for (int k = 0; k < b->stmts.n; k++) {
        const LoopStmt *s = b->stmts.p[k];
        if (s->kind == LOOP_STATUS || s->checked || emit_has_status(&s->body) || emit_has_status(&s->orelse))
            return true;
    }
    return false;
}
