/* The loop interpreter: what native code does, bit for bit. Arithmetic: loop_scalar.c. */
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "ir/loop.h"
#include "ir/target.h"

/* A dim ready for evaluation: constant + sum of coef * slot; other dims are evaluated as they are.
 */
typedef struct DimCode {
    Dim dim;
    bool linear;
    int64_t k;
    int n;
    struct {
        int64_t coef;
        int slot;
    } terms[];
} DimCode;

typedef struct Interp {
    Ctx *ctx;
    Arena *arena;
    const LoopModule *m;
    const LoopFunc *f;
    const LoopArg *args;
    LoopRun *run;
    const char **why;
    bool flush; /* FTZ and DAZ */
    VEC(DimValue) env;
    DimCode **codes; /* a hash table by dim */
    size_t n_codes, cap_codes;
    ScalarValue **vals; /* by value id: its lanes */
    struct RowCode {    /* by row: its expansion in f32 and f64, once it is called */
        Body body;
        ScalarValue *vals;
    } (*rows)[2];
    ScalarValue *temp;  /* see temporary */
    int n_temp;
    char **mem; /* by buffer id: its first byte */
    char *work; /* the caller's, rounded up */
    int status; /* what the call returns; 0 so far */
} Interp;

static bool error(Interp *in, const char *fmt, ...) CNNC_PRINTF(2, 3);

static bool error(Interp *in, const char *fmt, ...) {
    StrBuf sb = sb_new(&in->ctx->perm);
    sb_printf(&sb, "%s: ", in->f->name);
    va_list ap;
    va_start(ap, fmt);
    sb_vprintf(&sb, fmt, ap);
    va_end(ap);
    if (in->why)
        *in->why = sb.text;
    in->status = INT_MIN;
    return false;
}

static const char *stmt_text(Interp *in, const LoopStmt *s) {
    StrBuf sb = sb_new(&in->ctx->perm);
    loop_print_stmt(&sb, in->m, in->f, s);
    return sb.text;
}

/* ---- dims */

static int slot_of(Interp *in, DimSym s) {
    for (int k = 0; k < in->env.n; k++)
        if (in->env.p[k].sym == s)
            return k;
    vec_push(in->arena, &in->env, (DimValue){s, 0});
    return in->env.n - 1;
}

static DimCode *compile_dim(Interp *in, Dim d) {
    int n = dim_n_terms(d);
    DimCode *c = arena_alloc(in->arena, sizeof *c + (size_t)n * sizeof c->terms[0]);
    c->dim = d;
    c->linear = true;
    for (int k = 0; k < n; k++) {
        DimTerm t = dim_term(d, k);
        if (t.n_atoms == 0) {
            c->k += t.coef;
        } else if (t.n_atoms == 1 && t.atoms[0]->sym) {
            c->terms[c->n].coef = t.coef;
            c->terms[c->n++].slot = slot_of(in, t.atoms[0]->sym);
        } else {
            c->linear = false;
        }
    }
    return c;
}

static size_t hash_dim(Dim d) { return (size_t)((uintptr_t)d >> 4) * 0x9e3779b97f4a7c15u >> 20; }

static void grow_codes(Interp *in) {
    size_t cap = in->cap_codes ? 2 * in->cap_codes : 256;
    DimCode **codes = ARENA_ARRAY(in->arena, DimCode *, cap);
    for (size_t i = 0; i < in->cap_codes; i++) {
        if (!in->codes[i])
            continue;
        size_t k = hash_dim(in->codes[i]->dim) & (cap - 1);
        while (codes[k])
            k = (k + 1) & (cap - 1);
        codes[k] = in->codes[i];
    }
    in->codes = codes;
    in->cap_codes = cap;
}

static const DimCode *code_of(Interp *in, Dim d) {
    if (2 * (in->n_codes + 1) > in->cap_codes)
        grow_codes(in);
    size_t k = hash_dim(d) & (in->cap_codes - 1);
    for (; in->codes[k]; k = (k + 1) & (in->cap_codes - 1))
        if (in->codes[k]->dim == d)
            return in->codes[k];
    in->n_codes++;
    return in->codes[k] = compile_dim(in, d);
}

static bool eval_dim(void *self, Dim d, int64_t *out) {
    Interp *in = self;
    const DimCode *c = code_of(in, d);
    if (c->linear) {
        int64_t v = c->k, t;
        bool over = false;
        for (int k = 0; k < c->n; k++) {
            over |= __builtin_mul_overflow(c->terms[k].coef, in->env.p[c->terms[k].slot].value, &t);
            over |= __builtin_add_overflow(v, t, &v);
        }
        *out = v;
        if (!over)
            return true;
    } else if (dim_eval(d, in->env.p, in->env.n, out)) {
        return true;
    }
    return error(in, "the value of `%s` overflows", dim_text(in->ctx, d));
}

/* ---- values */

/* Room for n values until the next call, so that long loops need no memory. */
static ScalarValue *temporary(Interp *in, int n) {
    if (n > in->n_temp) {
        in->n_temp = 2 * n;
        in->temp = ARENA_ARRAY(in->arena, ScalarValue, in->n_temp);
    }
    return in->temp;
}

static ScalarValue reduce_lanes(Interp *in, ScalarOp op, LType t, const ScalarValue *v) {
    ScalarOp row = op == SC_lane_sum ? SC_add : op == SC_lane_max ? SC_max : SC_min;
    ScalarValue *w = temporary(in, t.lanes);
    memcpy(w, v, (size_t)t.lanes * sizeof *v);
    for (int half = t.lanes / 2; half > 0; half /= 2)
        for (int k = 0; k < half; k++) {
            ScalarValue pair[2] = {w[k], w[k + half]};
            w[k] = loop_eval_row(in->flush, row, t.dt, t.dt, pair, 2);
        }
    return w[0];
}

/* Half of two vectors, lanes in turn. */
static void zip(Interp *in, const LoopStmt *s, ScalarValue *out) {
    int n = s->type.lanes, from = s->op == SC_zip_high ? n / 2 : 0;
    const ScalarValue *a = in->vals[s->args[0].id], *b = in->vals[s->args[1].id];
    for (int k = 0; k < n / 2; k++) {
        out[2 * k] = a[from + k];
        out[2 * k + 1] = b[from + k];
    }
}

/* A row that is no instruction: its expansion, as native code has it. */
static ScalarValue call_row(Interp *in, ScalarOp op, DType dt, const ScalarValue *args) {
    struct RowCode *code = &in->rows[op][dt == DT_F64];
    if (!code->vals) {
        code->body = body_of_row(in->ctx, op, dt, in->m->target->fma);
        code->vals = ARENA_ARRAY(in->arena, ScalarValue, code->body.n);
    }
    const Body *row = &code->body;
    ScalarValue *v = code->vals;
    for (int k = 0; k < row->n; k++) {
        const BodyInst *i = &row->insts[k];
        int n = i->kind == BODY_OP ? scalar_def(i->op)->arity : 0;
        ScalarValue a[3];
        for (int j = 0; j < n; j++)
            a[j] = v[i->args[j]];
        v[k] = i->kind == BODY_READ ? args[i->operand] : i->k;
        if (n)
            v[k] = loop_eval_row(in->flush, i->op, row->insts[i->args[n - 1]].dt, i->dt, a, n);
    }
    return v[row->n - 1];
}

static void exec_let(Interp *in, const LoopStmt *s) {
    ScalarValue *out = in->vals[s->result.id];
    LType from = loop_type(in->f, s->args[s->n_args - 1]);
    if (s->op == SC_zip_low || s->op == SC_zip_high) {
        zip(in, s, out);
        return;
    }
    if ((scalar_def(s->op)->flags & SF_LANES) && s->op != SC_splat) {
        *out = reduce_lanes(in, s->op, from, in->vals[s->args[0].id]);
        return;
    }
    for (int lane = 0; lane < s->type.lanes; lane++) {
        ScalarValue args[3];
        for (int k = 0; k < s->n_args; k++)
            args[k] = in->vals[s->args[k].id][s->op == SC_splat ? 0 : lane];
        out[lane] = s->op == SC_splat ? args[0]
                    : scalar_def(s->op)->expand
                        ? call_row(in, s->op, from.dt, args)
                        : loop_eval_row(in->flush, s->op, from.dt, s->type.dt, args, s->n_args);
    }
}

/* ---- memory */

static ScalarValue read_element(DType dt, const char *p) {
    ScalarValue v = {0};
    float f;
    int32_t i;
    switch (dt) {
    case DT_BOOL:
        v.i = *p != 0;
        break;
    case DT_I32:
        memcpy(&i, p, sizeof i);
        v.i = i;
        break;
    case DT_I64:
        memcpy(&v.i, p, sizeof v.i);
        break;
    case DT_F32:
        memcpy(&f, p, sizeof f);
        v.f = (double)f;
        break;
    case DT_F64:
        memcpy(&v.f, p, sizeof v.f);
        break;
    case DT_NONE:
        break;
    }
    return v;
}

static void write_element(DType dt, char *p, ScalarValue v) {
    float f = (float)v.f;
    int32_t i = (int32_t)v.i;
    switch (dt) {
    case DT_BOOL:
        *p = v.i != 0;
        break;
    case DT_I32:
        memcpy(p, &i, sizeof i);
        break;
    case DT_I64:
        memcpy(p, &v.i, sizeof v.i);
        break;
    case DT_F32:
        memcpy(p, &f, sizeof f);
        break;
    case DT_F64:
        memcpy(p, &v.f, sizeof v.f);
        break;
    case DT_NONE:
        break;
    }
}

/* Address of lane `lane`; NULL with a status or error where a subscript is outside. */
static char *element(Interp *in, const LoopStmt *s, const LoopBuf *b, const int64_t *base,
                     int lane) {
    int64_t at = 0;
    for (int a = 0; a < s->rank; a++) {
        int64_t i = base[a], extent;
        if (s->sub_vals && s->sub_vals[a].id) {
            int lanes = loop_type(in->f, s->sub_vals[a]).lanes;
            i += in->vals[s->sub_vals[a].id][lanes > 1 ? lane : 0].i;
        }
        if (s->type.lanes > 1 && a == s->lane_axis)
            i += lane * s->lane_step;
        if (!eval_dim(in, b->shape[a], &extent))
            return NULL;
        if ((i < 0 || i >= extent) && s->checked && s->status >= 0) {
            in->status = -(s->status + 1);
            return NULL;
        }
        if (i < 0 || i >= extent) {
            error(in, "subscript %" PRId64 " of axis %d is outside 0..%" PRId64 " at `%s`", i, a,
                  extent, stmt_text(in, s));
            return NULL;
        }
        at = at * extent + i;
    }
    return in->mem[b->id.id] + at * (int64_t)dtype_size(b->dt);
}

static bool exec_access(Interp *in, const LoopStmt *s) {
    const LoopBuf *b = loop_bufp(in->f, s->buf);
    int64_t base[MAX_RANK + 1], active = s->type.lanes;
    for (int a = 0; a < s->rank; a++)
        if (!eval_dim(in, s->subs[a], &base[a]))
            return false;
    if (s->active && !eval_dim(in, s->active, &active))
        return false;
    for (int lane = 0; lane < s->type.lanes; lane++) {
        char *p = lane < active ? element(in, s, b, base, lane) : NULL;
        if (lane < active && !p)
            return false;
        if (s->kind == LOOP_STORE && p)
            write_element(b->dt, p, in->vals[s->args[0].id][lane]);
        else if (s->kind == LOOP_LOAD)
            in->vals[s->result.id][lane] = p ? read_element(b->dt, p) : (ScalarValue){0};
    }
    return true;
}

static bool exec_call(Interp *in, const LoopStmt *s) {
    enum { MOST = 32 };
    void *bufs[MOST];
    ScalarValue *args = temporary(in, s->n_args), result = {0, 0};
    if (s->n_bufs > MOST)
        return error(in, "a call with more than %d buffers", MOST);
    for (int k = 0; k < s->n_bufs; k++) {
        const LoopBuf *b = loop_bufp(in->f, s->bufs[k]);
        int64_t at = 0, i, extent;
        for (int a = 0; a < b->rank; a++) {
            if (!eval_dim(in, s->buf_subs[k][a], &i) || !eval_dim(in, b->shape[a], &extent))
                return false;
            if (i < 0 || i > extent)
                return error(in,
                             "subscript %" PRId64 " of axis %d is outside 0..%" PRId64 " at `%s`",
                             i, a, extent, stmt_text(in, s));
            at = at * extent + i;
        }
        bufs[k] = in->mem[b->id.id] + at * (int64_t)dtype_size(b->dt);
    }
    for (int k = 0; k < s->n_args; k++)
        args[k] = in->vals[s->args[k].id][0];
    if (!in->run || !in->run->call || !in->run->call(in->run->self, s->callee, bufs, args, &result))
        return error(in, "there is no runtime function `%s`", s->callee);
    if (s->result.id)
        *in->vals[s->result.id] = result;
    return true;
}

/* ---- statements */

static bool exec_body(Interp *in, const LoopBody *b);

static void move(Interp *in, LVal to, LVal from) {
    memcpy(in->vals[to.id], in->vals[from.id],
           (size_t)loop_type(in->f, to).lanes * sizeof(ScalarValue));
}

/* The yielded values become the next phis; all are read before any is written. */
static void carry(Interp *in, const LoopStmt *s, const LVal *to, const LVal *from) {
    if (s->n_carried == 1) {
        move(in, to[0], from[0]);
        return;
    }
    int lanes = 0, at = 0;
    for (int k = 0; k < s->n_carried; k++)
        lanes += s->carried[k].lanes;
    ScalarValue *kept = temporary(in, lanes);
    for (int k = 0; k < s->n_carried; at += s->carried[k++].lanes)
        memcpy(kept + at, in->vals[from[k].id], (size_t)s->carried[k].lanes * sizeof *kept);
    at = 0;
    for (int k = 0; k < s->n_carried; at += s->carried[k++].lanes)
        memcpy(in->vals[to[k].id], kept + at, (size_t)s->carried[k].lanes * sizeof *kept);
}

static const LVal *yielded(const LoopStmt *s) {
    return s->body.stmts.n ? s->body.stmts.p[s->body.stmts.n - 1]->args : NULL;
}

static bool bounds(Interp *in, const LoopStmt *s, int64_t *lo, int64_t *hi) {
    int64_t v = 0;
    if (!loop_range(s, eval_dim, in, lo, hi))
        return false;
    if (!s->need)
        return true;
    bool known = eval_dim(in, s->need, &v);
    *hi = v < *hi ? v : *hi;
    return known;
}

static bool place_jobs(Interp *in, int64_t job);

/* Every job runs, also after one has failed; the first failure in their order is the call's. */
static bool exec_jobs(Interp *in, const LoopStmt *s, int64_t lo, int64_t hi) {
    int first = 0, onto = s->onto ? slot_of(in, s->onto) : -1, slot = slot_of(in, s->index);
    if (onto >= 0)
        in->env.p[onto].value = 0;
    for (int64_t i = lo, job = 0; i < hi; i += s->step, job++) {
        in->env.p[slot].value = i;
        if (!place_jobs(in, job))
            return false;
        for (int part = 0; part < 2; part++) {
            if (!exec_body(in, part ? &s->orelse : &s->body) && !first)
                first = in->status;
            if (in->status == INT_MIN)
                return false;
            in->status = 0;
        }
    }
    in->status = first;
    return first == 0;
}

static bool exec_for(Interp *in, const LoopStmt *s) {
    int64_t lo = 0, hi = 0;
    if (!bounds(in, s, &lo, &hi))
        return false;
    if (lo < s->index->least && lo < hi)
        return error(in, "the index `%s` begins at %" PRId64 ", below %" PRId64, s->index->name, lo, s->index->least);
    if (s->parallel)
        return exec_jobs(in, s, lo, hi);
    int slot = slot_of(in, s->index);
    carry(in, s, s->phi, s->init);
    if (s->n_args && !in->vals[s->args[0].id]->i)
        hi = lo;
    for (int64_t i = lo; i < hi; i += s->step) {
        in->env.p[slot].value = i;
        if (!exec_body(in, &s->body))
            return false;
        if (s->n_carried)
            carry(in, s, s->phi, yielded(s));
    }
    carry(in, s, s->out, s->phi);
    return true;
}

static bool exec_while(Interp *in, const LoopStmt *s) {
    carry(in, s, s->phi, s->init);
    for (bool again = true; again;) {
        if (!exec_body(in, &s->body))
            return false;
        again = in->vals[yielded(s)[0].id]->i != 0;
        carry(in, s, s->phi, yielded(s) + 1);
    }
    carry(in, s, s->out, s->phi);
    return true;
}

static bool exec_stmt(Interp *in, const LoopStmt *s) {
    switch (s->kind) {
    case LOOP_LET:
        exec_let(in, s);
        return true;
    case LOOP_CONST:
        for (int k = 0; k < s->type.lanes; k++)
            in->vals[s->result.id][k] = s->k;
        return true;
    case LOOP_INDEX: {
        int64_t v;
        if (!eval_dim(in, s->subs[0], &v))
            return false;
        for (int k = 0; k < s->type.lanes; k++)
            in->vals[s->result.id][k].i =
                (int64_t)((uint64_t)v + (uint64_t)k * (uint64_t)s->lane_step);
        return true;
    }
    case LOOP_LOAD:
    case LOOP_STORE:
        return exec_access(in, s);
    case LOOP_CALL:
        return exec_call(in, s);
    case LOOP_POLL: /* nobody asks */
        in->vals[s->result.id]->i = 0;
        return true;
    case LOOP_STATUS:
        if (in->vals[s->args[0].id]->i)
            return true;
        in->status = -(s->status + 1);
        return false;
    case LOOP_RETURN:
        in->status = (int)in->vals[s->args[0].id]->i;
        return in->status == 0;
    case LOOP_IF:
        return exec_body(in, in->vals[s->args[0].id]->i ? &s->body : &s->orelse);
    case LOOP_FOR:
        return exec_for(in, s);
    case LOOP_WHILE:
        return exec_while(in, s);
    case LOOP_YIELD:
        return true;
    }
    return true;
}

static bool exec_body(Interp *in, const LoopBody *b) {
    for (int k = 0; k < b->stmts.n; k++) {
        if (in->run)
            in->run->steps++;
        if (!exec_stmt(in, b->stmts.p[k]))
            return false;
    }
    return true;
}

/* ---- the call */

static bool buf_size(Interp *in, const LoopBuf *b, int64_t *bytes) {
    *bytes = (int64_t)dtype_size(b->dt);
    for (int a = 0; a < b->rank; a++) {
        int64_t extent;
        if (!eval_dim(in, b->shape[a], &extent))
            return false;
        if (extent < 0 || __builtin_mul_overflow(*bytes, extent, bytes))
            return error(in, "buffer `%s` has an impossible size", b->name);
    }
    return true;
}

/* Unplanned buffers are filled with ones (NaN), so that reading what was never written shows. */
static bool own_memory(Interp *in, const LoopBuf *b) {
    int64_t bytes;
    if (!buf_size(in, b, &bytes))
        return false;
    if (!in->mem[b->id.id])
        in->mem[b->id.id] = arena_alloc(in->arena, (size_t)bytes + 64);
    memset(in->mem[b->id.id], 0xff, (size_t)bytes);
    return true;
}

static void place_aliases(Interp *in) {
    for (int k = 0; k < in->f->bufs.n; k++)
        if (in->f->bufs.p[k]->kind == BUF_ALIAS)
            in->mem[k + 1] = in->mem[loop_storage(in->f, in->f->bufs.p[k]->id)->id.id];
}

static bool place_jobs(Interp *in, int64_t job) {
    int64_t fixed = 0, size = 0, jobs = 0, at;
    const LoopFunc *f = in->f;
    if (f->work_fixed && (!eval_dim(in, f->work_fixed, &fixed) ||
                          !eval_dim(in, f->work_job, &size) || !eval_dim(in, f->jobs, &jobs)))
        return false;
    for (int k = 0; k < f->bufs.n; k++) {
        const LoopBuf *b = f->bufs.p[k];
        if (b->kind != BUF_JOB)
            continue;
        if (!b->offset) {
            if (!own_memory(in, b))
                return false;
            continue;
        }
        if (job >= jobs)
            return error(in, "job %" PRId64 " has no arena", job);
        if (!eval_dim(in, b->offset, &at))
            return false;
        in->mem[k + 1] = in->work + fixed + job * size + at;
    }
    place_aliases(in);
    return true;
}

static char *constant_memory(Interp *in, const LoopBuf *b) {
    int64_t bytes, size = (int64_t)dtype_size(b->dt);
    if (!buf_size(in, b, &bytes))
        return NULL;
    char *p = arena_alloc(in->arena, (size_t)bytes + 1);
    for (int64_t k = 0; k < bytes / size; k++)
        write_element(b->dt, p + k * size, b->data[k]);
    return p;
}

/* An argument passed by value, as an element of dt. */
static char *value_slot(Interp *in, const LoopBuf *b) {
    const AbiArg *a = &in->f->entry->args.p[b->arg];
    LoopArg v = in->args[b->arg];
    bool real = a->kind == ARG_SCALAR && dtype_is_real(a->dt);
    ScalarValue from = real ? (ScalarValue){.f = v.f} : (ScalarValue){.i = v.i};
    char *p = arena_alloc(in->arena, 8);
    write_element(b->dt, p, scalar_eval(SC_cast, real ? DT_F64 : DT_I64, b->dt, &from));
    return p;
}

static bool place_buf(Interp *in, const LoopBuf *b) {
    int64_t at = 0;
    char **to = &in->mem[b->id.id];
    if (b->offset && !eval_dim(in, b->offset, &at))
        return false;
    switch (b->kind) {
    case BUF_ARG: {
        AbiArgKind kind = in->f->entry->args.p[b->arg].kind;
        bool by_value = kind == ARG_SCALAR || kind == ARG_SEED || kind == ARG_DIM;
        *to = by_value ? value_slot(in, b) : (char *)in->args[b->arg].p + at;
        return true;
    }
    case BUF_WORK:
        if (!b->offset)
            return own_memory(in, b);
        *to = in->work + at;
        return true;
    case BUF_CONST:
        *to = constant_memory(in, b);
        return *to != NULL;
    case BUF_JOB:
    case BUF_ALIAS:
        return true;
    }
    return true;
}

static bool refuse(Interp *in, int status) {
    in->status = -(status + 1);
    return false;
}

/* The entry's own checks, in the order of native code: dims, sizes, conditions on dims, pointers.
 */
static bool check_call(Interp *in) {
    const LoopFunc *f = in->f;
    int n = f->entry ? f->entry->args.n : 0;
    int64_t bytes;
    for (int k = 0; k < n; k++) {
        const AbiArg *a = &f->entry->args.p[k];
        if (a->kind != ARG_DIM)
            continue;
        int slot = slot_of(in, a->dim); /* may move env.p */
        in->env.p[slot].value = in->args[k].i;
        if (in->args[k].i < a->dim->least)
            return refuse(in, f->status_dim);
    }
    for (int k = 0; k < n; k++)
        if (f->entry->args.p[k].bytes &&
            !dim_eval(f->entry->args.p[k].bytes, in->env.p, in->env.n, &bytes))
            return refuse(in, f->status_overflow);
    for (int k = 0; k < f->checks.n; k++) {
        if (!dim_eval(f->checks.p[k].cond, in->env.p, in->env.n, &bytes))
            return refuse(in, f->status_overflow);
        if (bytes < 0)
            return refuse(in, f->checks.p[k].status);
    }
    for (int k = 0; k < n; k++) {
        const AbiArg *a = &f->entry->args.p[k];
        if (!a->bytes || a->kind == ARG_EXEC || in->args[k].p)
            continue;
        dim_eval(a->bytes, in->env.p, in->env.n, &bytes);
        if (bytes > 0)
            return refuse(in, f->status_null);
    }
    return true;
}

static void start(Interp *in) {
    const LoopFunc *f = in->f;
    in->vals = ARENA_ARRAY(in->arena, ScalarValue *, f->vals.n);
    in->rows = arena_array(in->arena, SC_COUNT, sizeof *in->rows);
    for (int k = 1; k < f->vals.n; k++)
        in->vals[k] =
            ARENA_ARRAY(in->arena, ScalarValue, f->vals.p[k].lanes > 1 ? f->vals.p[k].lanes : 1);
    in->mem = ARENA_ARRAY(in->arena, char *, f->bufs.n + 1);
    for (int k = 0; f->entry && k < f->entry->args.n; k++)
        if (f->entry->args.p[k].kind == ARG_WORK)
            in->work = (char *)(((uintptr_t)in->args[k].p + 63) & ~(uintptr_t)63);
}

static void call(void *arg) {
    Interp *in = arg;
    start(in);
    if (!check_call(in))
        return;
    for (int k = 0; k < in->f->bufs.n; k++)
        if (!place_buf(in, in->f->bufs.p[k]))
            return;
    place_aliases(in);
    exec_body(in, &in->f->body);
}

int loop_run(Ctx *ctx, const LoopModule *m, const LoopFunc *f, const LoopArg *args, LoopRun *run,
             const char **why) {
    Arena scratch;
    arena_init(&scratch, ctx);
    Interp in = {
        .ctx = ctx, .arena = &scratch, .m = m, .f = f, .args = args, .run = run, .why = why};
    in.flush = f->real == DT_F32;
    CtxStatus status = ctx_protect(ctx, call, &in);
    arena_free(&scratch);
    if (status == CTX_OOM)
        ctx_oom(ctx);
    if (status != CTX_OK)
        ctx_internal(ctx, "%s", str_of(ctx, ctx->internal));
    return in.status;
}
