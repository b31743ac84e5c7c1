/* Rows of scalar.def as LLVM instructions: exactly what scalar_eval computes, on scalars and on vectors. */
#include <string.h>

#include "codegen/emit.h"

LLVMValueRef emit_splat(FnEmit *f, LLVMValueRef v, int lanes) {
    if (lanes == 1)
        return v;
    LLVMTypeRef t = LLVMVectorType(LLVMTypeOf(v), (unsigned)lanes);
    LLVMValueRef one = LLVMBuildInsertElement(f->b, LLVMGetPoison(t), v, LLVMConstInt(f->e->i32, 0, 0), "");
    LLVMTypeRef mask = LLVMVectorType(f->e->i32, (unsigned)lanes);
    return LLVMBuildShuffleVector(f->b, one, LLVMGetPoison(t), LLVMConstNull(mask), "");
}

LLVMValueRef emit_constant(const Emit *e, LType t, ScalarValue k) {
    LLVMTypeRef el = emit_dtype(e, t.dt);
    LLVMValueRef one = dtype_is_real(t.dt) ? LLVMConstReal(el, k.f) : LLVMConstInt(el, (unsigned long long)k.i, 1);
    if (t.lanes == 1)
        return one;
    LLVMValueRef *all = ARENA_ARRAY(&e->ctx->perm, LLVMValueRef, t.lanes);
    for (int j = 0; j < t.lanes; j++)
        all[j] = one;
    return LLVMConstVector(all, (unsigned)t.lanes);
}

static LLVMValueRef real_const(const FnEmit *f, LType t, double v) { return emit_constant(f->e, t, (ScalarValue){.f = v, .i = (int64_t)v}); }

static LLVMValueRef unary(FnEmit *f, const char *name, LLVMValueRef a) {
    LLVMTypeRef t = LLVMTypeOf(a);
    return emit_intrinsic(f, name, &t, 1, &a, 1);
}

static LLVMValueRef compare(FnEmit *f, ScalarOp op, const LLVMValueRef *a, DType dt) {
    if (dtype_is_real(dt)) {
        LLVMRealPredicate p = op == SC_lt ? LLVMRealOLT : op == SC_le ? LLVMRealOLE : op == SC_eq ? LLVMRealOEQ : LLVMRealUNE;
        return LLVMBuildFCmp(f->b, p, a[0], a[1], "");
    }
    LLVMIntPredicate p = op == SC_lt ? LLVMIntSLT : op == SC_le ? LLVMIntSLE : op == SC_eq ? LLVMIntEQ : LLVMIntNE;
    return LLVMBuildICmp(f->b, p, a[0], a[1], "");
}

/* select(b <= a or a is NaN, a, b) and its mirror. */
static LLVMValueRef extremum(FnEmit *f, bool max, const LLVMValueRef *a, DType dt) {
    LLVMValueRef first;
    if (dtype_is_real(dt)) {
        LLVMValueRef wins = LLVMBuildFCmp(f->b, LLVMRealOLE, max ? a[1] : a[0], max ? a[0] : a[1], "");
        first = LLVMBuildOr(f->b, wins, LLVMBuildFCmp(f->b, LLVMRealUNO, a[0], a[0], ""), "");
    } else {
        first = LLVMBuildICmp(f->b, LLVMIntSLE, max ? a[1] : a[0], max ? a[0] : a[1], "");
    }
    return LLVMBuildSelect(f->b, first, a[0], a[1], "");
}

/* Quotient to minus infinity; 0 where b is 0, and no trap at the least integer over -1. */
static LLVMValueRef floor_div(FnEmit *f, LLVMValueRef a, LLVMValueRef b) {
    LLVMBuilderRef l = f->b;
    LLVMTypeRef t = LLVMTypeOf(a);
    LLVMValueRef zero = LLVMConstNull(t), none = LLVMConstAllOnes(t);
    LLVMValueRef by_zero = LLVMBuildICmp(l, LLVMIntEQ, b, zero, ""), by_minus = LLVMBuildICmp(l, LLVMIntEQ, b, none, "");
    LLVMValueRef two = LLVMBuildSub(l, LLVMBuildSub(l, zero, none, ""), none, ""); /* any divisor that is safe */
    LLVMValueRef d = LLVMBuildSelect(l, LLVMBuildOr(l, by_zero, by_minus, ""), two, b, "");
    LLVMValueRef q = LLVMBuildSDiv(l, a, d, ""), r = LLVMBuildSub(l, a, LLVMBuildMul(l, q, d, ""), "");
    LLVMValueRef uneven = LLVMBuildICmp(l, LLVMIntNE, r, zero, "");
    LLVMValueRef signs = LLVMBuildICmp(l, LLVMIntSLT, LLVMBuildXor(l, a, d, ""), zero, "");
    q = LLVMBuildAdd(l, q, LLVMBuildSExt(l, LLVMBuildAnd(l, uneven, signs, ""), t, ""), "");
    q = LLVMBuildSelect(l, by_minus, LLVMBuildSub(l, zero, a, ""), q, "");
    return LLVMBuildSelect(l, by_zero, zero, q, "");
}

static LLVMValueRef cast(FnEmit *f, LLVMValueRef a, LType from, LType to) {
    LLVMBuilderRef l = f->b;
    LLVMTypeRef t = emit_ltype(f->e, to);
    bool real = dtype_is_real(from.dt);
    if (from.dt == to.dt)
        return a;
    if (to.dt == DT_BOOL)
        return real ? LLVMBuildFCmp(l, LLVMRealUNE, a, LLVMConstNull(LLVMTypeOf(a)), "") : LLVMBuildICmp(l, LLVMIntNE, a, LLVMConstNull(LLVMTypeOf(a)), "");
    if (dtype_is_real(to.dt)) {
        if (real)
            return to.dt == DT_F64 ? LLVMBuildFPExt(l, a, t, "") : LLVMBuildFPTrunc(l, a, t, "");
        return from.dt == DT_BOOL ? LLVMBuildUIToFP(l, a, t, "") : LLVMBuildSIToFP(l, a, t, "");
    }
    if (real) { /* towards 0, saturating, NaN is 0 */
        LLVMTypeRef both[2] = {t, LLVMTypeOf(a)};
        return emit_intrinsic(f, "llvm.fptosi.sat", both, 2, &a, 1);
    }
    if (from.dt == DT_BOOL)
        return LLVMBuildZExt(l, a, t, "");
    return to.dt == DT_I64 ? LLVMBuildSExt(l, a, t, "") : LLVMBuildTrunc(l, a, t, "");
}

static LLVMValueRef shift(FnEmit *f, ScalarOp op, const LLVMValueRef *a, LType t) {
    LLVMValueRef by = LLVMBuildAnd(f->b, a[1], real_const(f, t, t.dt == DT_I32 ? 31 : 63), "");
    return op == SC_shl ? LLVMBuildShl(f->b, a[0], by, "") : op == SC_ashr ? LLVMBuildAShr(f->b, a[0], by, "") : LLVMBuildLShr(f->b, a[0], by, "");
}

/* The upper half is combined with the lower until one lane is left. */
static LLVMValueRef lanes(FnEmit *f, ScalarOp op, LLVMValueRef v, LType t) {
    LLVMValueRef mask[64];
    for (int n = t.lanes / 2; n >= 1; n /= 2) {
        LLVMValueRef half[2];
        for (int h = 0; h < 2; h++) {
            for (int k = 0; k < n; k++)
                mask[k] = LLVMConstInt(f->e->i32, (unsigned long long)(h * n + k), 0);
            half[h] = LLVMBuildShuffleVector(f->b, v, LLVMGetPoison(LLVMTypeOf(v)), LLVMConstVector(mask, (unsigned)n), "");
        }
        if (op != SC_lane_sum)
            v = extremum(f, op == SC_lane_max, half, t.dt);
        else
            v = dtype_is_real(t.dt) ? LLVMBuildFAdd(f->b, half[0], half[1], "") : LLVMBuildAdd(f->b, half[0], half[1], "");
    }
    return LLVMBuildExtractElement(f->b, v, LLVMConstInt(f->e->i32, 0, 0), "");
}

static LLVMValueRef zip(FnEmit *f, bool high, const LLVMValueRef *a, int n) {
    LLVMValueRef mask[64];
    for (int k = 0; k < n / 2; k++) {
        int at = k + (high ? n / 2 : 0);
        mask[2 * k] = LLVMConstInt(f->e->i32, (unsigned long long)at, 0);
        mask[2 * k + 1] = LLVMConstInt(f->e->i32, (unsigned long long)(at + n), 0);
    }
    return LLVMBuildShuffleVector(f->b, a[0], a[1], LLVMConstVector(mask, (unsigned)n), "");
}

/* The libm function of the row, lane by lane. */
static LLVMValueRef libm(FnEmit *f, ScalarOp op, const LLVMValueRef *a, LType t) {
    Emit *e = f->e;
    const ScalarDef *d = scalar_def(op);
    LLVMTypeRef el = emit_dtype(e, t.dt), params[3] = {el, el, el}, type = LLVMFunctionType(el, params, (unsigned)d->arity, 0);
    const char *name = str_fmt(e->ctx, "%s%s", d->name, t.dt == DT_F32 ? "f" : "");
    LLVMValueRef fn = LLVMGetNamedFunction(e->mod, name), args[3];
    fn = fn ? fn : LLVMAddFunction(e->mod, name, type);
    if (t.lanes == 1)
        return LLVMBuildCall2(f->b, type, fn, (LLVMValueRef *)(uintptr_t)a, (unsigned)d->arity, "");
    LLVMValueRef r = LLVMGetPoison(emit_ltype(e, t));
    for (int k = 0; k < t.lanes; k++) {
        LLVMValueRef at = LLVMConstInt(e->i32, (unsigned long long)k, 0);
        for (int j = 0; j < d->arity; j++)
            args[j] = LLVMBuildExtractElement(f->b, a[j], at, "");
        r = LLVMBuildInsertElement(f->b, r, LLVMBuildCall2(f->b, type, fn, args, (unsigned)d->arity, ""), at, "");
    }
    return r;
}

static LLVMValueRef arithmetic(FnEmit *f, ScalarOp op, const LLVMValueRef *a, DType dt) {
    LLVMBuilderRef l = f->b;
    bool real = dtype_is_real(dt);
    switch (op) {
    case SC_add:
        return real ? LLVMBuildFAdd(l, a[0], a[1], "") : LLVMBuildAdd(l, a[0], a[1], "");
    case SC_sub:
        return real ? LLVMBuildFSub(l, a[0], a[1], "") : LLVMBuildSub(l, a[0], a[1], "");
    case SC_mul:
        return real ? LLVMBuildFMul(l, a[0], a[1], "") : LLVMBuildMul(l, a[0], a[1], "");
    case SC_div:
        return LLVMBuildFDiv(l, a[0], a[1], "");
    case SC_neg:
        return real ? LLVMBuildFNeg(l, a[0], "") : LLVMBuildNeg(l, a[0], "");
    case SC_iand:
    case SC_and:
        return LLVMBuildAnd(l, a[0], a[1], "");
    case SC_ior:
    case SC_or:
        return LLVMBuildOr(l, a[0], a[1], "");
    default:
        return LLVMBuildXor(l, a[0], a[1], "");
    }
}

LLVMValueRef emit_scalar(FnEmit *f, const LoopStmt *s, const LLVMValueRef *a, LType t) {
    LLVMBuilderRef l = f->b;
    switch (s->op) {
    case SC_add:
    case SC_sub:
    case SC_mul:
    case SC_div:
    case SC_neg:
    case SC_iand:
    case SC_and:
    case SC_ior:
    case SC_or:
    case SC_ixor:
        return arithmetic(f, s->op, a, t.dt);
    case SC_not:
        return LLVMBuildNot(l, a[0], "");
    case SC_fma: {
        LLVMTypeRef type = LLVMTypeOf(a[0]);
        return emit_intrinsic(f, "llvm.fma", &type, 1, (LLVMValueRef *)(uintptr_t)a, 3);
    }
    case SC_floordiv:
        return floor_div(f, a[0], a[1]);
    case SC_mod:
        return LLVMBuildSub(l, a[0], LLVMBuildMul(l, a[1], floor_div(f, a[0], a[1]), ""), "");
    case SC_max:
    case SC_min:
        return extremum(f, s->op == SC_max, a, t.dt);
    case SC_abs:
        if (dtype_is_real(t.dt))
            return unary(f, "llvm.fabs", a[0]);
        return LLVMBuildSelect(l, LLVMBuildICmp(l, LLVMIntSLT, a[0], LLVMConstNull(LLVMTypeOf(a[0])), ""), LLVMBuildNeg(l, a[0], ""), a[0], "");
    case SC_floor:
        return unary(f, "llvm.floor", a[0]);
    case SC_ceil:
        return unary(f, "llvm.ceil", a[0]);
    case SC_round:
        return unary(f, "llvm.rint", a[0]);
    case SC_sqrt:
        return unary(f, "llvm.sqrt", a[0]);
    case SC_lt:
    case SC_le:
    case SC_eq:
    case SC_ne:
        return compare(f, s->op, a, t.dt);
    case SC_select:
        return LLVMBuildSelect(l, a[0], a[1], a[2], "");
    case SC_cast:
        return cast(f, a[0], t, s->type);
    case SC_bitcast:
        return LLVMBuildBitCast(l, a[0], emit_ltype(f->e, s->type), "");
    case SC_shl:
    case SC_ashr:
    case SC_lshr:
        return shift(f, s->op, a, t);
    case SC_splat:
        return emit_splat(f, a[0], s->type.lanes);
    case SC_zip_low:
    case SC_zip_high:
        return zip(f, s->op == SC_zip_high, a, t.lanes);
    case SC_lane_sum:
    case SC_lane_max:
    case SC_lane_min:
        return lanes(f, s->op, a[0], t);
    default:
        break;
    }
    if (!(scalar_def(s->op)->flags & SF_LIBM))
        ctx_internal(f->e->ctx, "no code for the scalar row %s", scalar_def(s->op)->name);
    return libm(f, s->op, a, t);
}
