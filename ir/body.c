/* BodyBuilder: scalar bodies with shared instructions and exact folding; indices of nests. */
#include <math.h>
#include <string.h>

#include "ir/nest.h"

BodyBuilder body_new(Ctx *ctx) { return (BodyBuilder){.ctx = ctx}; }

DType body_type(const BodyBuilder *b, int a) { return b->insts.p[a].dt; }

/* ---- sharing */

/* Same bits: -0 is not 0, a NaN is itself. */
static bool same_value(DType dt, ScalarValue a, ScalarValue b) {
    return dtype_is_real(dt) ? memcmp(&a.f, &b.f, sizeof a.f) == 0 : a.i == b.i;
}

static bool same_args(const BodyInst *a, const BodyInst *b) {
    if (memcmp(a->args, b->args, sizeof a->args) == 0)
        return true;
    return (scalar_def(a->op)->flags & SF_COMMUTES) && a->args[0] == b->args[1] &&
           a->args[1] == b->args[0];
}

static bool same_inst(const BodyInst *a, const BodyInst *b) {
    if (a->kind != b->kind || a->dt != b->dt)
        return false;
    switch (a->kind) {
    case BODY_OP:
        return a->op == b->op && same_args(a, b);
    case BODY_READ:
        if (a->operand != b->operand || a->rank != b->rank || a->has_fill != b->has_fill)
            return false;
        for (int k = 0; k < a->rank; k++)
            if (a->map[k] != b->map[k])
                return false;
        return !a->has_fill || same_value(a->dt, a->k, b->k);
    case BODY_INDEX:
    case BODY_DIM:
        return a->dim == b->dim;
    case BODY_CONST:
        return same_value(a->dt, a->k, b->k);
    default:
        return true;
    }
}

static uint64_t mix(uint64_t h, uint64_t v) { return (h ^ v) * 0x9e3779b97f4a7c15u ^ h >> 29; }

/* Equal for what same_inst calls the same. */
static uint64_t hash_inst(const BodyInst *i) {
    uint64_t h = mix((uint64_t)i->kind, (uint64_t)i->dt), bits;
    switch (i->kind) {
    case BODY_OP:
        h = mix(h, (uint64_t)i->op);
        if (scalar_def(i->op)->flags & SF_COMMUTES)
            return mix(h, (uint64_t)i->args[0] + (uint64_t)i->args[1]);
        for (int k = 0; k < 3; k++)
            h = mix(h, (uint64_t)i->args[k]);
        return h;
    case BODY_READ:
        h = mix(h, (uint64_t)i->operand);
        for (int k = 0; k < i->rank; k++)
            h = mix(h, (uint64_t)(uintptr_t)i->map[k]);
        return h;
    case BODY_CONST:
        memcpy(&bits, &i->k, sizeof bits);
        return mix(h, bits);
    default:
        return mix(h, (uint64_t)(uintptr_t)i->dim);
    }
}

/* The slot of an equal instruction, or the free one where it belongs. */
static int slot_of(const BodyBuilder *b, const BodyInst *i) {
    int at = (int)(hash_inst(i) >> 33) & (b->n_slots - 1);
    while (b->slots[at] >= 0 && !same_inst(&b->insts.p[b->slots[at]], i))
        at = (at + 1) & (b->n_slots - 1);
    return at;
}

/* All instructions are in the table, and half of it is free. */
static void fill_slots(BodyBuilder *b) {
    if (2 * b->insts.n >= b->n_slots || b->n_hashed > b->insts.n) {
        b->n_slots = b->n_slots ? b->n_slots : 64;
        while (2 * b->insts.n >= b->n_slots)
            b->n_slots *= 2;
        b->slots = ARENA_ARRAY(&b->ctx->perm, int, b->n_slots);
        memset(b->slots, -1, sizeof *b->slots * (size_t)b->n_slots);
        b->n_hashed = 0;
    }
    for (; b->n_hashed < b->insts.n; b->n_hashed++) {
        int at = slot_of(b, &b->insts.p[b->n_hashed]);
        if (b->slots[at] < 0)
            b->slots[at] = b->n_hashed;
    }
}

/* Short bodies are searched from their end; long ones have a table. */
static int add_inst(BodyBuilder *b, BodyInst i) {
    enum { SHORT = 32 };
    if (b->insts.n < SHORT) {
        for (int k = b->insts.n; k-- > 0;)
            if (same_inst(&b->insts.p[k], &i))
                return k;
    } else {
        fill_slots(b);
        int at = b->slots[slot_of(b, &i)];
        if (at >= 0)
            return at;
    }
    vec_push(&b->ctx->perm, &b->insts, i);
    return b->insts.n - 1;
}

/* ---- leaves */

int body_real(BodyBuilder *b, DType dt, double v) {
    return add_inst(b, (BodyInst){.kind = BODY_CONST, .dt = dt, .k = {.f = v}});
}

int body_int(BodyBuilder *b, DType dt, int64_t v) {
    return add_inst(b, (BodyInst){.kind = BODY_CONST, .dt = dt, .k = {.i = v}});
}

static bool has_index(Dim d) {
    DimSym syms[64];
    int n = dim_symbols(d, syms, 64);
    for (int k = 0; k < n && k < 64; k++)
        if (syms[k]->is_index)
            return true;
    return false;
}

int body_index(BodyBuilder *b, Dim affine) {
    if (!has_index(affine))
        return body_dim(b, affine);
    return add_inst(b, (BodyInst){.kind = BODY_INDEX, .dt = DT_I64, .dim = affine});
}

int body_dim(BodyBuilder *b, Dim d) {
    int64_t v;
    if (dim_is_const(d, &v))
        return body_int(b, DT_I64, v);
    return add_inst(b, (BodyInst){.kind = BODY_DIM, .dt = DT_I64, .dim = d});
}

int body_acc(BodyBuilder *b, DType dt) {
    return add_inst(b, (BodyInst){.kind = BODY_ACC, .dt = dt});
}

static int add_read(BodyBuilder *b, DType dt, int operand, int rank, const Dim *map, bool has_fill,
                    ScalarValue fill) {
    const Dim *copy = rank ? arena_dup(&b->ctx->perm, map, (size_t)rank * sizeof *map) : NULL;
    return add_inst(b, (BodyInst){.kind = BODY_READ,
                                  .dt = dt,
                                  .operand = operand,
                                  .rank = rank,
                                  .map = copy,
                                  .has_fill = has_fill,
                                  .k = fill});
}

int body_read(BodyBuilder *b, DType dt, int operand, int rank, const Dim *map) {
    return add_read(b, dt, operand, rank, map, false, (ScalarValue){0});
}

int body_read_fill(BodyBuilder *b, DType dt, int operand, int rank, const Dim *map,
                   ScalarValue fill) {
    return add_read(b, dt, operand, rank, map, true, fill);
}

/* ---- operations */

static const BodyInst *inst(const BodyBuilder *b, int a) { return &b->insts.p[a]; }

static bool is_const(const BodyBuilder *b, int a) { return inst(b, a)->kind == BODY_CONST; }

static bool is_number(const BodyBuilder *b, int a, double v) {
    const BodyInst *i = inst(b, a);
    return i->kind == BODY_CONST &&
           (dtype_is_real(i->dt) ? i->k.f == v && !(v == 0 && signbit(i->k.f))
                                 : (double)i->k.i == v);
}

static bool fits(DType dt, double v) { return dt != DT_F32 || (double)(float)v == v; }

/* Is the real result r of row op on constants v exact, so that f32, f64 and the reference agree on
 * it? */
static bool is_exact(ScalarOp op, DType dt, const ScalarValue *v, double r) {
    if (!isfinite(r) || !fits(dt, r) || !fits(dt, v[0].f))
        return false;
    double x = v[0].f, y = v[1].f, t;
    switch (op) {
    case SC_sub:
        y = -y; /* fall through */
    case SC_add:
        t = r - x; /* Knuth's error of a sum */
        return fits(dt, y) && (x - (r - t)) + (y - t) == 0;
    case SC_mul:
        return fits(dt, y) && fma(x, y, -r) == 0 && (r != 0 || x == 0 || y == 0);
    case SC_div:
        return fits(dt, y) && fma(r, y, -x) == 0 && (r != 0 || x == 0);
    case SC_sqrt:
        return fma(r, r, -x) == 0;
    case SC_max:
    case SC_min:
        return fits(dt, y);
    case SC_neg:
    case SC_abs:
    case SC_floor:
    case SC_ceil:
    case SC_round:
        return true;
    default:
        return false;
    }
}

static DType result_type(const BodyBuilder *b, ScalarOp op, const int *a) {
    const ScalarDef *d = scalar_def(op);
    return d->result == SR_BOOL ? DT_BOOL : inst(b, a[d->arity - 1])->dt;
}

/* The value of a row on constants, or -1. */
static int fold(BodyBuilder *b, ScalarOp op, const int *a) {
    const ScalarDef *d = scalar_def(op);
    ScalarValue v[3];
    memset(v, 0, sizeof v);
    if (!(d->flags & SF_NATIVE) || (d->flags & SF_LANES))
        return -1;
    for (int k = 0; k < d->arity; k++) {
        if (!is_const(b, a[k]))
            return -1;
        v[k] = inst(b, a[k])->k;
    }
    DType dt = inst(b, a[0])->dt, to = result_type(b, op, a);
    ScalarValue r = scalar_eval(op, dt == DT_F32 ? DT_F64 : dt, to, v);
    if (dtype_is_real(to))
        return is_exact(op, dt, v, r.f) ? body_real(b, to, r.f) : -1;
    for (int k = 0; k < d->arity && dtype_is_real(dt); k++)
        if (!fits(dt, v[k].f))
            return -1;
    return body_int(b, to, r.i);
}

/* Identities that hold for every value, -0 and NaN included; -1: none applies. */
static int simplify(BodyBuilder *b, ScalarOp op, const int *a) {
    bool integer = !dtype_is_real(inst(b, a[0])->dt);
    switch (op) {
    case SC_add:
        if (integer && is_number(b, a[0], 0))
            return a[1];
        return integer && is_number(b, a[1], 0) ? a[0] : -1;
    case SC_sub:
        return is_number(b, a[1], 0) ? a[0] : -1;
    case SC_mul:
        if (is_number(b, a[0], 1))
            return a[1];
        if (is_number(b, a[1], 1))
            return a[0];
        if (is_number(b, a[0], -1))
            return body_op1(b, SC_neg, a[1]);
        return is_number(b, a[1], -1) ? body_op1(b, SC_neg, a[0]) : -1;
    case SC_div:
        return is_number(b, a[1], 1) ? a[0] : -1;
    case SC_pow: /* whole powers that are one operation are that operation */
        if (is_number(b, a[1], 0))
            return body_real(b, inst(b, a[0])->dt, 1);
        if (is_number(b, a[1], 1))
            return a[0];
        if (is_number(b, a[1], 2))
            return body_op2(b, SC_mul, a[0], a[0]);
        if (is_number(b, a[1], -1))
            return body_op2(b, SC_div, body_real(b, inst(b, a[0])->dt, 1), a[0]);
        return -1;
    case SC_log:
        return is_number(b, a[0], 1) ? body_real(b, inst(b, a[0])->dt, 0) : -1;
    case SC_exp:
        return is_number(b, a[0], 0) ? body_real(b, inst(b, a[0])->dt, 1) : -1;
    case SC_neg:
    case SC_not:
        return inst(b, a[0])->kind == BODY_OP && inst(b, a[0])->op == op ? inst(b, a[0])->args[0]
                                                                         : -1;
    case SC_and:
    case SC_or: {
        int unit = op == SC_and;
        for (int k = 0; k < 2; k++)
            if (is_const(b, a[k]))
                return inst(b, a[k])->k.i == unit ? a[1 - k] : a[k];
        return a[0] == a[1] ? a[0] : -1;
    }
    case SC_select:
        if (a[1] == a[2])
            return a[1];
        return is_const(b, a[0]) ? a[inst(b, a[0])->k.i ? 1 : 2] : -1;
    default:
        return -1;
    }
}

static bool defined_on(const ScalarDef *d, DType dt) {
    unsigned need = dt == DT_BOOL ? SF_BOOL : dtype_is_real(dt) ? SF_REAL : SF_INT;
    return (d->flags & need) != 0;
}

static int body_op(BodyBuilder *b, ScalarOp op, int arity, const int *a) {
    const ScalarDef *d = scalar_def(op);
    CTX_ASSERT(b->ctx, op != SC_NONE && d->arity == arity && d->result != SR_ATTR);
    for (int k = 0; k < arity; k++)
        CTX_ASSERT(b->ctx, a[k] >= 0 && a[k] < b->insts.n);
    int first = op == SC_select;
    CTX_ASSERT(b->ctx, !first || inst(b, a[0])->dt == DT_BOOL);
    for (int k = first; k < arity; k++)
        if (inst(b, a[k])->dt != inst(b, a[first])->dt || !defined_on(d, inst(b, a[k])->dt))
            ctx_internal(b->ctx, "%s of %s and %s in a body", d->name,
                         dtype_name(inst(b, a[first])->dt), dtype_name(inst(b, a[k])->dt));
    int r = simplify(b, op, a);
    if (r < 0)
        r = fold(b, op, a);
    if (r >= 0)
        return r;
    BodyInst i = {.kind = BODY_OP, .op = op, .dt = result_type(b, op, a)};
    memcpy(i.args, a, (size_t)arity * sizeof *a);
    return add_inst(b, i);
}

int body_op1(BodyBuilder *b, ScalarOp op, int a) { return body_op(b, op, 1, (int[]){a}); }
int body_op2(BodyBuilder *b, ScalarOp op, int a, int c) { return body_op(b, op, 2, (int[]){a, c}); }
int body_op3(BodyBuilder *b, ScalarOp op, int a, int c, int d) {
    return body_op(b, op, 3, (int[]){a, c, d});
}

int body_cast(BodyBuilder *b, DType to, int a) {
    DType from = inst(b, a)->dt;
    if (from == to)
        return a;
    if (is_const(b, a)) {
        ScalarValue v = inst(b, a)->k, r = scalar_eval(SC_cast, from, to, &v);
        bool real = dtype_is_real(from);
        if (real && dtype_is_real(to))
            return body_real(b, to, v.f); /* rounded at use */
        if (dtype_is_real(to) && r.f == (double)v.i && (int64_t)r.f == v.i)
            return body_real(b, to, r.f);
        if (!dtype_is_real(to) && (real ? (double)r.i == v.f && fits(from, v.f) : true))
            return body_int(b, to, r.i);
    }
    return add_inst(b, (BodyInst){.kind = BODY_OP, .op = SC_cast, .dt = to, .args = {a}});
}

int body_bitcast(BodyBuilder *b, DType to, int a) {
    DType from = inst(b, a)->dt;
    CTX_ASSERT(b->ctx, dtype_size(from) == dtype_size(to) && from != DT_BOOL && to != DT_BOOL);
    if (from == to)
        return a;
    return add_inst(b, (BodyInst){.kind = BODY_OP, .op = SC_bitcast, .dt = to, .args = {a}});
}

/* ---- whole bodies */

static int arity_of(const BodyInst *i) { return i->kind == BODY_OP ? scalar_def(i->op)->arity : 0; }

/* order[k]: the k-th instruction that `result` needs, operands first and from left to right, so
 * that the order depends on the expression alone and not on how it was built. Returns their number.
 */
static int needed(Ctx *ctx, const BodyInst *insts, int n, int result, int *order) {
    typedef struct Visit {
        int inst, next;
    } Visit;
    Visit *stack = ARENA_ARRAY(&ctx->perm, Visit, n + 1);
    bool *seen = ARENA_ARRAY(&ctx->perm, bool, n + 1);
    int depth = 0, count = 0;
    stack[depth++] = (Visit){result, 0};
    seen[result] = true;
    while (depth) {
        Visit *v = &stack[depth - 1];
        if (v->next == arity_of(&insts[v->inst])) {
            order[count++] = v->inst;
            depth--;
            continue;
        }
        int a = insts[v->inst].args[v->next++];
        if (!seen[a]) {
            seen[a] = true;
            stack[depth++] = (Visit){a, 0};
        }
    }
    return count;
}

static Dim subst(BodyBuilder *b, Dim d, const DimBinding *bindings, int n) {
    Dim r = n ? dim_subst(b->ctx, d, bindings, n) : d;
    if (!r)
        ctx_internal(b->ctx, "a subscript overflows when indices are substituted");
    return r;
}

static int import_inst(BodyBuilder *b, const BodyInst *i, const int *to, const DimBinding *bindings,
                       int n, const int *operand_map) {
    int a[3];
    for (int k = 0; k < arity_of(i); k++)
        a[k] = to[i->args[k]];
    switch (i->kind) {
    case BODY_OP:
        if (i->op == SC_cast)
            return body_cast(b, i->dt, a[0]);
        if (i->op == SC_bitcast)
            return body_bitcast(b, i->dt, a[0]);
        return body_op(b, i->op, scalar_def(i->op)->arity, a);
    case BODY_READ: {
        Dim map[MAX_RANK];
        for (int k = 0; k < i->rank; k++)
            map[k] = subst(b, i->map[k], bindings, n);
        return add_read(b, i->dt, operand_map ? operand_map[i->operand] : i->operand, i->rank, map,
                        i->has_fill, i->k);
    }
    case BODY_INDEX:
        return body_index(b, subst(b, i->dim, bindings, n));
    case BODY_DIM:
        return body_dim(b, subst(b, i->dim, bindings, n));
    default:
        return add_inst(b, *i);
    }
}

int body_import(BodyBuilder *b, const Body *from, const DimBinding *bindings, int n_bindings,
                const int *operand_map) {
    int *to = ARENA_ARRAY(&b->ctx->perm, int, from->n + 1),
        *order = ARENA_ARRAY(&b->ctx->perm, int, from->n + 1);
    CTX_ASSERT(b->ctx, from->n > 0);
    int n = needed(b->ctx, from->insts, from->n, from->n - 1, order);
    for (int k = 0; k < n; k++)
        to[order[k]] =
            import_inst(b, &from->insts[order[k]], to, bindings, n_bindings, operand_map);
    return to[from->n - 1];
}

void body_import_all(BodyBuilder *b, const Body *from, int *to) {
    for (int k = 0; k < from->n; k++)
        to[k] = import_inst(b, &from->insts[k], to, NULL, 0, NULL);
}

Body body_done(BodyBuilder *b, int result) {
    CTX_ASSERT(b->ctx, result >= 0 && result < b->insts.n);
    int *order = ARENA_ARRAY(&b->ctx->perm, int, b->insts.n),
        *to = ARENA_ARRAY(&b->ctx->perm, int, b->insts.n);
    int n = needed(b->ctx, b->insts.p, b->insts.n, result, order);
    BodyInst *out = ARENA_ARRAY(&b->ctx->perm, BodyInst, n);
    for (int k = 0; k < n; k++) {
        out[k] = b->insts.p[order[k]];
        for (int a = 0; a < arity_of(&out[k]); a++)
            out[k].args[a] = to[out[k].args[a]];
        to[order[k]] = k;
    }
    return (Body){n, out};
}

/* ---- indices */

DimSym nest_index(Ctx *ctx, const char *name) {
    return dim_symbol_new(ctx, str_of(ctx, name), 0, true);
}

DimSym nest_fresh_index(Ctx *ctx, const char *base, const NestIndex *box, int n_box) {
    Str name = str_of(ctx, base);
    for (int n = 1;; n++) {
        bool taken = false;
        for (int k = 0; k < n_box; k++)
            taken |= box[k].sym->name == name;
        if (!taken)
            return nest_index(ctx, name);
        name = str_fmt(ctx, "%s%d", base, n);
    }
}

DimFacts nest_facts(Ctx *ctx, const Nest *n) {
    DimIndex *index = ARENA_ARRAY(&ctx->perm, DimIndex, n->n_box + 1);
    for (int k = 0; k < n->n_box; k++)
        index[k] = (DimIndex){n->box[k].sym, n->box[k].extent};
    return (DimFacts){.index = index, .n_index = n->n_box};
}
