/* A loop over vectors whose loads begin at cache lines (LoopStmt.lines). A load that crosses a line takes twice as long,
 * and where rows lie is known when the code runs. With `past` the number of elements by which a row begins behind a line:
 *
 *   i = lo - past                       lanes past.. are on
 *   i = lo - past + n, .. hi - past - n all are
 *   i = hi - past                       lanes below past are on
 *
 * Lane j then has the terms of lane j - past, in their order, and the sums are turned back by so many lanes: no bit
 * depends on `past`. */
#include "codegen/emit.h"

/* Elements from the line in which the buffer begins to its beginning. */
static LLVMValueRef elements_past(FnEmit *f, const LoopStmt *s) {
    int64_t size = (int64_t)dtype_size(loop_bufp(f->f, s->lines)->dt);
    LLVMValueRef at = LLVMBuildPtrToInt(f->b, emit_base(f, s->lines), f->e->i64, "");
    at = LLVMBuildAnd(f->b, at, emit_i64(f->e, s->step * size - 1), "");
    return LLVMBuildUDiv(f->b, at, emit_i64(f->e, size), "");
}

/* Lanes below `past`; on: the others. */
static LLVMValueRef mask_of(FnEmit *f, LLVMValueRef past, int n, bool on) {
    LLVMTypeRef bits = LLVMIntTypeInContext(f->e->c, (unsigned)n);
    LLVMValueRef one = emit_i64(f->e, 1), mask = LLVMBuildSub(f->b, LLVMBuildShl(f->b, one, past, ""), one, "");
    mask = LLVMBuildTrunc(f->b, on ? LLVMBuildNot(f->b, mask, "") : mask, bits, "");
    return LLVMBuildBitCast(f->b, mask, LLVMVectorType(f->e->i1, (unsigned)n), "");
}

/* One iteration with some lanes on; carried: the values before, and then after. */
static void some_lanes(FnEmit *f, const LoopStmt *s, LLVMValueRef at, LLVMValueRef on, LLVMValueRef *carried) {
    const LoopStmt *yield = s->body.stmts.p[s->body.stmts.n - 1];
    LLVMBasicBlockRef body = emit_block(f, "lanes");
    for (int k = 0; k < s->n_carried; k++)
        f->vals[s->phi[k].id] = carried[k];
    vec_push(&f->e->ctx->perm, &f->levels, ((Level){.at = LLVMBuildBr(f->b, body), .index = s->index, .value = at}));
    LLVMPositionBuilderAtEnd(f->b, body);
    f->lines_on = on;
    emit_body(f, &s->body);
    f->lines_on = NULL;
    for (int k = 0; k < s->n_carried; k++)
        carried[k] = LLVMBuildSelect(f->b, on, f->vals[yield->args[k].id], carried[k], "");
    f->levels.n--;
}

/* Lane k has what lane (k + past) mod n has. */
static LLVMValueRef turned_back(FnEmit *f, LLVMValueRef v, LType t, LLVMValueRef past) {
    bool f32 = t.dt == DT_F32;
    LLVMTypeRef i = f32 ? f->e->i32 : f->e->i64;
    LLVMValueRef lane[64];
    for (int k = 0; k < t.lanes; k++)
        lane[k] = LLVMConstInt(i, (unsigned long long)k, 0);
    LLVMValueRef by = emit_splat(f, LLVMBuildTrunc(f->b, past, i, ""), t.lanes);
    LLVMValueRef args[2] = {v, LLVMBuildAdd(f->b, LLVMConstVector(lane, (unsigned)t.lanes), by, "")};
    return emit_intrinsic(f, f32 ? "llvm.x86.avx512.permvar.sf.512" : "llvm.x86.avx512.permvar.df.512", NULL, 0, args, 2);
}

void emit_by_lines(FnEmit *f, const LoopStmt *s) {
    int n = (int)s->step;
    LLVMValueRef past = elements_past(f, s), lo = emit_dim(f, s->lo[0]), hi = emit_dim(f, s->hi[0]);
    LLVMValueRef *carried = ARENA_ARRAY(&f->e->ctx->perm, LLVMValueRef, s->n_carried + 1);
    LLVMValueRef *out = ARENA_ARRAY(&f->e->ctx->perm, LLVMValueRef, s->n_carried + 1);
    for (int k = 0; k < s->n_carried; k++)
        carried[k] = f->vals[s->init[k].id];
    lo = LLVMBuildSub(f->b, lo, past, "");
    hi = LLVMBuildSub(f->b, hi, past, "");
    some_lanes(f, s, lo, mask_of(f, past, n, true), carried);
    emit_iterations(f, s, LLVMBuildAdd(f->b, lo, emit_i64(f->e, n), ""), hi, carried, out);
    some_lanes(f, s, hi, mask_of(f, past, n, false), out);
    for (int k = 0; k < s->n_carried; k++)
        f->vals[s->out[k].id] = turned_back(f, out[k], s->carried[k], past);
}
