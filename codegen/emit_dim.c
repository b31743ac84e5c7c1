/* Dims as LLVM values. A dim is split by the loop level of its symbols: what depends on outer loops only is computed in
 * their heads and shared, so an innermost loop adds little to an address. */
#include "codegen/emit.h"

static int level_of_symbol(const FnEmit *f, DimSym s) {
    for (int k = f->levels.n - 1; k > 0; k--)
        if (f->levels.p[k].index == s)
            return k;
    return 0;
}

static int level_of(const FnEmit *f, Dim d) {
    DimSym syms[64];
    int n = dim_symbols(d, syms, 64), level = 0;
    for (int k = 0; k < n && k < 64; k++) {
        int l = level_of_symbol(f, syms[k]);
        level = l > level ? l : level;
    }
    return level;
}

static LLVMValueRef symbol(FnEmit *f, DimSym s) {
    int level = level_of_symbol(f, s);
    if (level)
        return f->levels.p[level].value;
    for (int k = 0; k < f->f->dims.n; k++) {
        if (f->f->dims.p[k] != s)
            continue;
        if (!f->dims[k]) {
            LLVMBasicBlockRef here = LLVMGetInsertBlock(f->b);
            LLVMMetadataRef line = LLVMGetCurrentDebugLocation2(f->b);
            LLVMValueRef next = f->at;
            LLVMPositionBuilderBefore(f->b, f->levels.p[0].at);
            f->dims[k] = emit_frame_load(f, f->layout.dims + k, f->e->i64);
            if (next)
                LLVMPositionBuilderBefore(f->b, next);
            else
                LLVMPositionBuilderAtEnd(f->b, here);
            LLVMSetCurrentDebugLocation2(f->b, line); /* positioning takes that of the instruction there */
        }
        return f->dims[k];
    }
    ctx_internal(f->e->ctx, "no value for the symbol %s in %s", s->name, f->f->name);
}

/* Rounds to minus infinity; b >= 1. */
LLVMValueRef emit_floor_div(FnEmit *f, LLVMValueRef a, LLVMValueRef b) {
    LLVMBuilderRef l = f->b;
    LLVMValueRef q = LLVMBuildSDiv(l, a, b, ""), r = LLVMBuildSub(l, a, LLVMBuildMul(l, q, b, ""), "");
    LLVMValueRef below = LLVMBuildICmp(l, LLVMIntSLT, r, LLVMConstNull(LLVMTypeOf(r)), "");
    return LLVMBuildSub(l, q, LLVMBuildZExt(l, below, f->e->i64, ""), "");
}

static LLVMValueRef term_value(FnEmit *f, DimTerm t);

static LLVMValueRef sum_value(FnEmit *f, Dim d) {
    LLVMValueRef sum = NULL;
    for (int k = 0; k < dim_n_terms(d); k++) {
        LLVMValueRef v = term_value(f, dim_term(d, k));
        sum = sum ? LLVMBuildAdd(f->b, sum, v, "") : v;
    }
    return sum ? sum : emit_i64(f->e, 0);
}

/* Is no term below 0? */
static bool not_negative(Dim d) {
    for (int k = 0; k < dim_n_terms(d); k++) {
        DimTerm t = dim_term(d, k);
        if (t.coef < 0)
            return false;
        for (int j = 0; j < t.n_atoms; j++) {
            const DimAtom *a = t.atoms[j];
            if (a->sym ? a->sym->least < 0 : !not_negative(a->num) && (a->kind == DIM_FLOOR || !not_negative(a->den)))
                return false;
        }
    }
    return true;
}

static LLVMValueRef larger(FnEmit *f, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildSelect(f->b, LLVMBuildICmp(f->b, LLVMIntSGT, a, b, ""), a, b, "");
}

static LLVMValueRef atom_value(FnEmit *f, const DimAtom *a) {
    if (a->sym)
        return symbol(f, a->sym);
    if (a->kind == DIM_MAX)
        return larger(f, sum_value(f, a->num), sum_value(f, a->den));
    if (not_negative(a->num)) /* then LLVM makes one shift of a division by 8; loop_verify and loop_interp: indices begin at least at `least` */
        return LLVMBuildUDiv(f->b, sum_value(f, a->num), sum_value(f, a->den), "");
    return emit_floor_div(f, sum_value(f, a->num), sum_value(f, a->den));
}

static LLVMValueRef term_value(FnEmit *f, DimTerm t) {
    LLVMValueRef v = NULL;
    for (int k = 0; k < t.n_atoms; k++) {
        LLVMValueRef x = atom_value(f, t.atoms[k]);
        v = v ? LLVMBuildMul(f->b, v, x, "") : x;
    }
    if (!v)
        return emit_i64(f->e, t.coef);
    return t.coef == 1 ? v : LLVMBuildMul(f->b, v, emit_i64(f->e, t.coef), "");
}

/* Terms of d whose level is below `level`. */
static Dim outer_part(FnEmit *f, Dim d, int level) {
    Dim outer = dim_const(f->e->ctx, 0);
    for (int k = 0; k < dim_n_terms(d); k++) {
        DimTerm t = dim_term(d, k);
        Dim one = dim_const(f->e->ctx, t.coef);
        for (int j = 0; j < t.n_atoms; j++) {
            one = dim_mul(f->e->ctx, one, dim_of_atom(f->e->ctx, t.atoms[j]));
        }
        if (level_of(f, one) < level)
            outer = dim_add(f->e->ctx, outer, one);
    }
    return outer;
}

LLVMValueRef emit_dim(FnEmit *f, Dim d) {
    int64_t k;
    CTX_ASSERT(f->e->ctx, d != NULL);
    if (dim_is_const(d, &k))
        return emit_i64(f->e, k);
    int level = level_of(f, d);
    for (int j = 0; j < f->levels.p[level].cache.n; j++)
        if (f->levels.p[level].cache.p[j].d == d)
            return f->levels.p[level].cache.p[j].v;
    LLVMValueRef outer = NULL;
    Dim own = d;
    if (level > 0) {
        Dim rest = outer_part(f, d, level);
        if (!dim_is_zero(rest)) {
            outer = emit_dim(f, rest);
            own = dim_sub(f->e->ctx, d, rest);
        }
    }
    LLVMBasicBlockRef here = LLVMGetInsertBlock(f->b);
    LLVMMetadataRef line = LLVMGetCurrentDebugLocation2(f->b);
    LLVMPositionBuilderBefore(f->b, f->at = f->levels.p[level].at);
    LLVMValueRef v = sum_value(f, own);
    if (outer)
        v = LLVMBuildAdd(f->b, outer, v, "");
    LLVMPositionBuilderAtEnd(f->b, here);
    LLVMSetCurrentDebugLocation2(f->b, line);
    f->at = NULL;
    vec_push(&f->e->ctx->perm, &f->levels.p[level].cache, (Cached){d, v});
    return v;
}

/* ---- checked, for sizes */

static LLVMValueRef with_overflow(FnEmit *f, const char *name, LLVMValueRef a, LLVMValueRef b, LLVMValueRef *bad) {
    LLVMValueRef args[2] = {a, b}, r = emit_intrinsic(f, name, &f->e->i64, 1, args, 2);
    *bad = LLVMBuildOr(f->b, *bad, LLVMBuildExtractValue(f->b, r, 1, ""), "");
    return LLVMBuildExtractValue(f->b, r, 0, "");
}

static LLVMValueRef atom_checked(FnEmit *f, const DimAtom *a, LLVMValueRef *bad) {
    if (a->sym)
        return symbol(f, a->sym);
    LLVMValueRef one = emit_i64(f->e, 1), p = emit_dim_checked(f, a->num, bad), q = emit_dim_checked(f, a->den, bad);
    if (a->kind == DIM_MAX)
        return larger(f, p, q);
    LLVMValueRef low = LLVMBuildICmp(f->b, LLVMIntSLT, q, one, "");
    *bad = LLVMBuildOr(f->b, *bad, low, "");
    return emit_floor_div(f, p, LLVMBuildSelect(f->b, low, one, q, ""));
}

LLVMValueRef emit_dim_checked(FnEmit *f, Dim d, LLVMValueRef *bad) {
    LLVMValueRef sum = emit_i64(f->e, 0);
    for (int k = 0; k < dim_n_terms(d); k++) {
        DimTerm t = dim_term(d, k);
        LLVMValueRef v = emit_i64(f->e, t.coef);
        for (int j = 0; j < t.n_atoms; j++)
            v = with_overflow(f, "llvm.smul.with.overflow", v, atom_checked(f, t.atoms[j], bad), bad);
        sum = with_overflow(f, "llvm.sadd.with.overflow", sum, v, bad);
    }
    return sum;
}
