/* Loads, stores and addresses of buffers. */
#include <string.h>

#include "codegen/emit.h"

/* Element offset of a cell as one dim. */
static Dim flat_offset(FnEmit *f, const LoopBuf *b, int rank, const Dim *subs) {
    Dim at = dim_const(f->e->ctx, 0);
    for (int k = 0; k < rank; k++)
        at = dim_add(f->e->ctx, dim_mul(f->e->ctx, at, b->shape[k]), subs[k]);
    return at;
}

static Dim stride_of(FnEmit *f, const LoopBuf *b, int axis) {
    Dim s = dim_const(f->e->ctx, 1);
    for (int k = axis + 1; k < b->rank; k++)
        s = dim_mul(f->e->ctx, s, b->shape[k]);
    return s;
}

static LLVMValueRef byte_offset(FnEmit *f, LLVMValueRef p, LLVMValueRef bytes) {
    return LLVMBuildInBoundsGEP2(f->b, f->e->i8, p, &bytes, 1, "");
}

static LLVMValueRef constant_data(FnEmit *f, const LoopBuf *b) {
    Emit *e = f->e;
    int64_t n = 1, d;
    for (int k = 0; k < b->rank; k++)
        n *= dim_is_const(b->shape[k], &d) ? d : 1;
    LLVMTypeRef el = emit_memory_type(e, b->dt);
    LLVMValueRef *all = ARENA_ARRAY(&e->ctx->perm, LLVMValueRef, n + 1);
    for (int64_t k = 0; k < n; k++)
        all[k] = dtype_is_real(b->dt) ? LLVMConstReal(el, b->data[k].f) : LLVMConstInt(el, (unsigned long long)b->data[k].i, 1);
    LLVMValueRef data = LLVMConstArray2(el, all, (uint64_t)n);
    LLVMValueRef g = LLVMAddGlobal(e->mod, LLVMTypeOf(data), str_fmt(e->ctx, "const.%s.%s", f->f->name, b->name));
    LLVMSetInitializer(g, data);
    LLVMSetGlobalConstant(g, 1);
    LLVMSetLinkage(g, LLVMPrivateLinkage);
    LLVMSetAlignment(g, 64);
    return g;
}

static bool is_by_value(const FnEmit *f, const LoopBuf *b) {
    AbiArgKind kind = b->kind == BUF_ARG ? f->f->entry->args.p[b->arg].kind : ARG_EXEC;
    return kind == ARG_SCALAR || kind == ARG_SEED;
}

/* offset: NULL where the argument is passed by value. */
static LLVMValueRef argument(FnEmit *f, const LoopBuf *b, LLVMValueRef offset) {
    if (offset)
        return byte_offset(f, emit_frame_load(f, f->layout.args + b->arg, f->e->ptr), offset);
    int slot = f->layout.values;
    for (int k = 0; f->f->bufs.p[k] != b; k++)
        slot += is_by_value(f, f->f->bufs.p[k]);
    return emit_frame_slot(f, slot);
}

/* Where subscript `number` of the first axis means the row that the job has been given, or the total. */
static LLVMValueRef at_own_row(FnEmit *f, const LoopBuf *b, LLVMValueRef base) {
    LLVMValueRef bytes = emit_dim(f, dim_scale(f->e->ctx, stride_of(f, b, 0), (int64_t)dtype_size(b->dt)));
    LLVMPositionBuilderBefore(f->b, f->levels.p[0].at);
    LLVMValueRef by = LLVMBuildMul(f->b, LLVMBuildSub(f->b, f->row, f->number, ""), bytes, "");
    LLVMValueRef own = LLVMBuildGEP2(f->b, f->e->i8, base, &by, 1, "");
    if (!f->totals)
        return own;
    LLVMValueRef total = emit_base(f, f->totals[b->id.id]);
    LLVMPositionBuilderBefore(f->b, f->levels.p[0].at);
    by = LLVMBuildNeg(f->b, LLVMBuildMul(f->b, f->number, bytes, ""), "");
    return LLVMBuildSelect(f->b, f->on_totals, LLVMBuildGEP2(f->b, f->e->i8, total, &by, 1, ""), own, "");
}

LLVMValueRef emit_base(FnEmit *f, BufId id) {
    const LoopBuf *b = loop_storage(f->f, id);
    LLVMValueRef *base = &f->base[b->id.id - 1];
    if (*base)
        return *base;
    LLVMBasicBlockRef here = LLVMGetInsertBlock(f->b);
    LLVMMetadataRef line = LLVMGetCurrentDebugLocation2(f->b);
    LLVMValueRef work = NULL, offset = NULL;
    if (b->kind == BUF_JOB) {
        Dim fixed = dim_add(f->e->ctx, f->f->work_fixed, b->offset);
        offset = emit_dim(f, fixed);
        LLVMValueRef size = emit_dim(f, f->f->work_job);
        LLVMPositionBuilderBefore(f->b, f->levels.p[0].at);
        CTX_ASSERT(f->e->ctx, f->arena != NULL);
        offset = LLVMBuildAdd(f->b, offset, LLVMBuildMul(f->b, size, f->arena, ""), "");
    } else if (b->kind == BUF_WORK || (b->kind == BUF_ARG && !is_by_value(f, b))) {
        offset = emit_dim(f, b->offset); /* leaves the builder at the end of its block */
    }
    LLVMPositionBuilderBefore(f->b, f->levels.p[0].at);
    if (b->kind == BUF_WORK || b->kind == BUF_JOB) {
        work = emit_frame_load(f, f->layout.work, f->e->ptr);
        LLVMPositionBuilderBefore(f->b, f->levels.p[0].at);
        *base = byte_offset(f, work, offset);
        if (f->job && f->rows_of[b->id.id] == f->job)
            *base = at_own_row(f, b, *base);
    } else if (b->kind == BUF_CONST) {
        *base = constant_data(f, b);
    } else {
        *base = argument(f, b, offset);
    }
    LLVMPositionBuilderAtEnd(f->b, here);
    LLVMSetCurrentDebugLocation2(f->b, line);
    return *base;
}

/* The constant part of the offset comes last: it folds into the access, and neighbours share the rest. */
LLVMValueRef emit_element(FnEmit *f, BufId id, int rank, const Dim *subs) {
    const LoopBuf *b = loop_bufp(f->f, id);
    Dim at = flat_offset(f, b, rank, subs);
    int64_t constant = 0;
    for (int k = 0; k < dim_n_terms(at); k++)
        if (!dim_term(at, k).n_atoms)
            constant = dim_term(at, k).coef;
    LLVMTypeRef cell = emit_memory_type(f->e, b->dt);
    LLVMValueRef p = emit_base(f, id), last = emit_i64(f->e, constant);
    Dim rest = dim_addk(f->e->ctx, at, -constant);
    if (!dim_is_zero(rest)) {
        LLVMValueRef first = emit_dim(f, rest);
        p = LLVMBuildGEP2(f->b, cell, p, &first, 1, "");
    }
    return constant ? LLVMBuildGEP2(f->b, cell, p, &last, 1, "") : p;
}

/* ---- accesses */

typedef struct Access {
    const LoopBuf *b;
    LLVMTypeRef cell;         /* memory type of one element */
    LLVMValueRef p;           /* pointer to lane 0, or to the element at subs alone where offsets is set */
    LLVMValueRef offsets;     /* vector of element offsets of the lanes, or NULL: contiguous */
    LLVMValueRef mask;        /* active lanes, or NULL: all */
    int step;                 /* > 1: lanes that far apart, loaded as so many vectors; offsets is NULL then */
} Access;

/* Leaves with the status where a user's subscript is outside its axis. */
static void check_subscript(FnEmit *f, const LoopStmt *s, const LoopBuf *b, int axis, LLVMValueRef sub, int n) {
    LLVMValueRef low = emit_splat(f, emit_dim(f, s->subs[axis]), n), at = LLVMBuildAdd(f->b, low, sub, "");
    LLVMValueRef extent = emit_splat(f, emit_dim(f, b->shape[axis]), n);
    LLVMValueRef bad = LLVMBuildICmp(f->b, LLVMIntUGE, at, extent, "");
    if (n > 1) {
        LLVMTypeRef bits = LLVMIntTypeInContext(f->e->c, (unsigned)n);
        bad = LLVMBuildICmp(f->b, LLVMIntNE, LLVMBuildBitCast(f->b, bad, bits, ""), LLVMConstNull(bits), "");
    }
    emit_return_if(f, bad, LLVMConstInt(f->e->i32, (unsigned long long)(-(s->status + 1)), 1));
}

/* Lanes 0 to `active` - 1. A mask of AVX-512 is made as the number it is; elsewhere lanes of the elements' width are compared. */
static LLVMValueRef mask_of(FnEmit *f, Dim active, int n, DType dt) {
    enum { MASKS = 64 };
    LLVMTypeRef i64 = f->e->i64, bits = LLVMIntTypeInContext(f->e->c, (unsigned)n);
    bool number = f->e->m->target->vector_bytes >= MASKS && n < MASKS;
    LLVMTypeRef t = number || dtype_size(dt) == 8 ? i64 : f->e->i32;
    LLVMValueRef end = emit_dim(f, active), zero = emit_i64(f->e, 0), all = emit_i64(f->e, n), lanes[MASKS];
    end = LLVMBuildSelect(f->b, LLVMBuildICmp(f->b, LLVMIntSLT, end, all, ""), end, all, "");
    end = LLVMBuildSelect(f->b, LLVMBuildICmp(f->b, LLVMIntSGT, end, zero, ""), end, zero, "");
    if (number) {
        LLVMValueRef one = emit_i64(f->e, 1), past = LLVMBuildShl(f->b, one, end, "");
        LLVMValueRef mask = LLVMBuildTrunc(f->b, LLVMBuildSub(f->b, past, one, ""), bits, "");
        return LLVMBuildBitCast(f->b, mask, LLVMVectorType(f->e->i1, (unsigned)n), "");
    }
    for (int k = 0; k < n; k++)
        lanes[k] = LLVMConstInt(t, (unsigned long long)k, 0);
    end = emit_splat(f, LLVMBuildTrunc(f->b, end, t, ""), n);
    return LLVMBuildICmp(f->b, LLVMIntSLT, LLVMConstVector(lanes, (unsigned)n), end, "");
}

static LLVMValueRef lane_numbers(FnEmit *f, int n, int64_t step) {
    LLVMValueRef v[64];
    for (int k = 0; k < n; k++)
        v[k] = emit_i64(f->e, k * step);
    return LLVMConstVector(v, (unsigned)n);
}

/* Lanes a few elements apart on the last axis: vectors and shuffles are faster than a gather, where the target has masked loads
 * of this type (else LLVM makes branches of them). */
static int small_step(const FnEmit *f, const LoopStmt *s, const LoopBuf *b) {
    enum { MOST = 4, AVX = 32 };
    bool small = s->kind == LOOP_LOAD && s->lane_axis == s->rank - 1 && s->lane_step > 1 && s->lane_step <= MOST;
    return small && dtype_size(b->dt) >= 4 && f->e->m->target->vector_bytes >= AVX ? (int)s->lane_step : 1;
}

static Access access_of(FnEmit *f, const LoopStmt *s) {
    Access a = {.b = loop_bufp(f->f, s->buf)};
    int n = s->type.lanes;
    LLVMValueRef scalar = NULL, vector = NULL; /* what SSA subscripts add, in elements */
    a.cell = emit_memory_type(f->e, a.b->dt);
    for (int k = 0; k < s->rank && s->sub_vals; k++) {
        if (!s->sub_vals[k].id)
            continue;
        LLVMValueRef v = f->vals[s->sub_vals[k].id], stride = emit_dim(f, stride_of(f, a.b, k));
        int lanes = loop_type(f->f, s->sub_vals[k]).lanes;
        if (s->checked)
            check_subscript(f, s, a.b, k, v, lanes);
        LLVMValueRef *sum = lanes > 1 ? &vector : &scalar;
        v = LLVMBuildMul(f->b, v, emit_splat(f, stride, lanes), "");
        *sum = *sum ? LLVMBuildAdd(f->b, *sum, v, "") : v;
    }
    a.p = emit_element(f, s->buf, s->rank, s->subs);
    if (scalar)
        a.p = LLVMBuildGEP2(f->b, a.cell, a.p, &scalar, 1, "");
    if (n == 1)
        return a;
    a.step = vector ? 1 : small_step(f, s, a.b);
    Dim apart = stride_of(f, a.b, s->lane_axis); /* 1 behind the last axis, or where those behind have one element */
    if (vector || (a.step == 1 && (s->lane_step != 1 || apart != dim_const(f->e->ctx, 1)))) {
        LLVMValueRef stride = emit_splat(f, emit_dim(f, apart), n);
        a.offsets = LLVMBuildMul(f->b, lane_numbers(f, n, s->lane_step), stride, "");
        a.offsets = vector ? LLVMBuildAdd(f->b, a.offsets, vector, "") : a.offsets;
    }
    if (s->active)
        a.mask = mask_of(f, s->active, n, a.b->dt);
    else if (s->kind == LOOP_LOAD)
        a.mask = f->lines_on;
    return a;
}

static LLVMValueRef all_lanes(const FnEmit *f, int n) { return LLVMConstAllOnes(LLVMVectorType(f->e->i1, (unsigned)n)); }

/* llvm.masked.*: the alignment is an operand until LLVM 21, an attribute afterwards. */
static LLVMValueRef masked(FnEmit *f, const char *name, LLVMTypeRef *overloads, LLVMValueRef *args, int n, int align_at, unsigned align) {
    unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    LLVMValueRef fn = LLVMGetIntrinsicDeclaration(f->e->mod, id, overloads, 2);
    LLVMTypeRef type = LLVMIntrinsicGetType(f->e->c, id, overloads, 2);
    LLVMValueRef with[5];
    int count = 0;
    bool operand = (int)LLVMCountParamTypes(type) == n + 1;
    for (int k = 0; k < n; k++) {
        if (operand && k == align_at)
            with[count++] = LLVMConstInt(f->e->i32, align, 0);
        with[count++] = args[k];
    }
    if (operand && align_at == n)
        with[count++] = LLVMConstInt(f->e->i32, align, 0);
    return LLVMBuildCall2(f->b, type, fn, with, (unsigned)count, "");
}

static LLVMValueRef pointers(FnEmit *f, Access *a) {
    return LLVMBuildGEP2(f->b, a->cell, a->p, &a->offsets, 1, "");
}

/* Lanes j*n .. j*n + m - 1 of those elements from lane 0's to the last active lane's. */
static LLVMValueRef part_mask(FnEmit *f, const LoopStmt *s, int step, int j, int m) {
    int n = s->type.lanes;
    LLVMValueRef at[64], end = emit_i64(f->e, (n - 1) * step + 1);
    for (int k = 0; k < m; k++)
        at[k] = emit_i64(f->e, j * n + k);
    if (s->active) {
        Dim last = dim_addk(f->e->ctx, dim_scale(f->e->ctx, dim_addk(f->e->ctx, s->active, -1), step), 1);
        LLVMValueRef v = emit_dim(f, last);
        end = LLVMBuildSelect(f->b, LLVMBuildICmp(f->b, LLVMIntSLT, v, end, ""), v, end, "");
    }
    return LLVMBuildICmp(f->b, LLVMIntSLT, LLVMConstVector(at, (unsigned)m), emit_splat(f, end, m), "");
}

/* Lanes of part j that are loaded: half or a quarter of a vector where the others are known to be off. A masked load
 * reads a line of the cache where all its lanes are off all the same. */
static int lanes_used(const LoopStmt *s, int step, int j) {
    int64_t active, n = s->type.lanes;
    if (!s->active || !dim_is_const(s->active, &active) || active < 1)
        return (int)n;
    int64_t used = (active - 1) * step + 1 - j * n, lanes = n;
    while (lanes > 4 && used <= lanes / 2)
        lanes /= 2;
    return (int)lanes;
}

/* The first m of n lanes, then zeros. */
static LLVMValueRef widened(FnEmit *f, LLVMValueRef x, int m, int n) {
    LLVMValueRef pick[64];
    for (int k = 0; k < n; k++)
        pick[k] = LLVMConstInt(f->e->i32, (unsigned long long)(k < m ? k : m), 0);
    return LLVMBuildShuffleVector(f->b, x, LLVMConstNull(LLVMTypeOf(x)), LLVMConstVector(pick, (unsigned)n), "");
}

/* Lane k is element k*step of `step` vectors: two of them at a time are put together. */
static LLVMValueRef load_apart(FnEmit *f, const LoopStmt *s, Access *a, LLVMTypeRef t, unsigned align) {
    int n = s->type.lanes, step = a->step;
    LLVMTypeRef over[2] = {t, f->e->ptr};
    LLVMValueRef sum = NULL, pick[64];
    for (int j = 0; j < step; j++) {
        LLVMValueRef at = emit_i64(f->e, j * n), p = j ? LLVMBuildGEP2(f->b, a->cell, a->p, &at, 1, "") : a->p;
        int m = lanes_used(s, step, j);
        over[0] = m < n ? LLVMVectorType(LLVMGetElementType(t), (unsigned)m) : t;
        LLVMValueRef args[3] = {p, part_mask(f, s, step, j, m), LLVMConstNull(over[0])};
        LLVMValueRef part = masked(f, "llvm.masked.load", over, args, 3, 1, align);
        part = m < n ? widened(f, part, m, n) : part;
        for (int k = 0; k < n; k++) { /* from the lanes so far (after the first: in place), or from this part */
            int from = k * step / n, lane = k * step % n;
            pick[k] = LLVMConstInt(f->e->i32, (unsigned long long)(from == j ? n + lane : j == 1 ? lane : k), 0);
        }
        sum = j ? LLVMBuildShuffleVector(f->b, sum, part, LLVMConstVector(pick, (unsigned)n), "") : part;
    }
    return sum; /* lanes that are off lie past the last part that is loaded: 0 */
}

/* Hardware does not see in a gather that its lanes walk along rows: in each iteration one of them is fetched ahead, in
 * turn; a row's next line is needed once in so many iterations. */
static void fetch_ahead(FnEmit *f, const LoopStmt *s, const Access *a) {
    enum { AHEAD = 256, LINE = 64 };
    const Level *loop = &f->levels.p[f->levels.n - 1];
    int n = s->type.lanes, size = (int)dtype_size(a->b->dt);
    Dim last = s->rank ? s->subs[s->rank - 1] : NULL, rest, coef;
    if (!last || !loop->index || s->sub_vals || s->lane_axis == s->rank - 1 || n * size < LINE ||
        !dim_linear_in(f->e->ctx, last, loop->index, &coef, &rest) || coef != dim_const(f->e->ctx, 1))
        return;
    LLVMValueRef lane = LLVMBuildAnd(f->b, loop->value, emit_i64(f->e, n - 1), "");
    LLVMValueRef stride = emit_dim(f, dim_scale(f->e->ctx, stride_of(f, a->b, s->lane_axis), s->lane_step));
    LLVMValueRef at = LLVMBuildMul(f->b, lane, stride, ""), ahead = emit_i64(f->e, AHEAD / size);
    LLVMValueRef p = LLVMBuildGEP2(f->b, a->cell, a->p, &at, 1, "");
    LLVMValueRef i32[3] = {LLVMConstInt(f->e->i32, 0, 0), LLVMConstInt(f->e->i32, 3, 0), LLVMConstInt(f->e->i32, 1, 0)};
    LLVMValueRef args[4] = {LLVMBuildGEP2(f->b, a->cell, p, &ahead, 1, ""), i32[0], i32[1], i32[2]};
    emit_intrinsic(f, "llvm.prefetch", &f->e->ptr, 1, args, 4);
}

/* Into the first cache what is near, else into the second one: it is for later. */
static void fetch(FnEmit *f, const LoopStmt *s, const Access *a) {
    enum { NEAR = 4096, FIRST = 3, SECOND = 2, LINE = 64 };
    LLVMValueRef by = emit_dim(f, s->ahead), i32[3];
    int64_t elements;
    bool near = dim_is_const(s->ahead, &elements) && elements * (int64_t)dtype_size(a->b->dt) <= NEAR;
    for (unsigned k = 0; k < 3; k++) /* a read or a write, for that cache, data */
        i32[k] = LLVMConstInt(f->e->i32, k == 0 ? s->kind == LOOP_STORE : k == 1 ? (near ? FIRST : SECOND) : 1, 0);
    int64_t lanes = s->type.lanes, size = (int64_t)dtype_size(a->b->dt), some;
    if (s->active && dim_is_const(s->active, &some) && some < lanes)
        lanes = some;
    int64_t bytes = a->step > 1 ? ((lanes - 1) * a->step + 1) * size : 1; /* lanes apart lie in several lines */
    bool ends = a->step > 1 && lanes < s->type.lanes; /* a row's end may lie in one more line, which no other load fetches */
    int64_t lines = (bytes + LINE - 1) / LINE;
    for (int64_t k = 0; k < lines + ends; k++) {
        LLVMValueRef to = LLVMBuildAdd(f->b, by, emit_i64(f->e, (k < lines ? k * LINE : bytes - size) / size), "");
        LLVMValueRef args[4] = {LLVMBuildGEP2(f->b, a->cell, a->p, &to, 1, ""), i32[0], i32[1], i32[2]};
        emit_intrinsic(f, "llvm.prefetch", &f->e->ptr, 1, args, 4);
    }
}

void emit_load(FnEmit *f, const LoopStmt *s) {
    Access a = access_of(f, s);
    int n = s->type.lanes;
    unsigned align = (unsigned)dtype_size(a.b->dt);
    LLVMTypeRef t = n == 1 ? a.cell : LLVMVectorType(a.cell, (unsigned)n);
    LLVMValueRef v;
    if (s->ahead && !a.offsets)
        fetch(f, s, &a);
    if (s->again) /* no instruction; LLVM shares no load, and moves none, across it */
        LLVMBuildFence(f->b, LLVMAtomicOrderingSequentiallyConsistent, true, "");
    if (a.offsets) {
        LLVMTypeRef over[2] = {t, LLVMVectorType(f->e->ptr, (unsigned)n)};
        LLVMValueRef args[3] = {pointers(f, &a), a.mask ? a.mask : all_lanes(f, n), LLVMConstNull(t)};
        fetch_ahead(f, s, &a);
        v = masked(f, "llvm.masked.gather", over, args, 3, 1, align);
    } else if (n > 1 && a.step > 1) {
        v = load_apart(f, s, &a, t, align);
    } else if (a.mask) {
        LLVMTypeRef over[2] = {t, f->e->ptr};
        LLVMValueRef args[3] = {a.p, a.mask, LLVMConstNull(t)};
        v = masked(f, "llvm.masked.load", over, args, 3, 1, align);
    } else {
        v = LLVMBuildLoad2(f->b, t, a.p, "");
        LLVMSetAlignment(v, align);
    }
    if (a.b->dt == DT_BOOL)
        v = LLVMBuildICmp(f->b, LLVMIntNE, v, LLVMConstNull(t), "");
    f->vals[s->result.id] = v;
}

void emit_store(FnEmit *f, const LoopStmt *s) {
    Access a = access_of(f, s);
    int n = s->type.lanes;
    unsigned align = (unsigned)dtype_size(a.b->dt);
    LLVMTypeRef t = n == 1 ? a.cell : LLVMVectorType(a.cell, (unsigned)n);
    LLVMValueRef v = f->vals[s->args[0].id];
    if (s->ahead && !a.offsets)
        fetch(f, s, &a);
    if (a.b->dt == DT_BOOL)
        v = LLVMBuildZExt(f->b, v, t, "");
    if (a.offsets) {
        LLVMTypeRef over[2] = {t, LLVMVectorType(f->e->ptr, (unsigned)n)};
        LLVMValueRef args[3] = {v, pointers(f, &a), a.mask ? a.mask : all_lanes(f, n)};
        masked(f, "llvm.masked.scatter", over, args, 3, 2, align);
    } else if (a.mask) {
        LLVMTypeRef over[2] = {t, f->e->ptr};
        LLVMValueRef args[3] = {v, a.p, a.mask};
        masked(f, "llvm.masked.store", over, args, 3, 2, align);
    } else {
        LLVMSetAlignment(LLVMBuildStore(f->b, v, a.p), align);
    }
}
