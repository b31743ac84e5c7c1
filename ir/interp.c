#include "ir/interp.h"

#include <string.h>

Tensor tensor_new(Arena *arena, DType dt, int rank, const int64_t *shape) {
    Tensor t = {.dt = dt, .rank = rank, .count = 1};
    for (int k = 0; k < rank; k++) {
        t.shape[k] = shape[k];
        t.count = shape[k] > 0 ? t.count * shape[k] : 0;
    }
    if (dtype_is_real(dt))
        t.f = ARENA_ARRAY(arena, double, t.count + 1);
    else
        t.i = ARENA_ARRAY(arena, int64_t, t.count + 1);
    return t;
}

bool interp_fail(Interp *in, const char *fmt, ...) {
    StrBuf sb = sb_new(in->arena);
    va_list ap;
    va_start(ap, fmt);
    sb_vprintf(&sb, fmt, ap);
    va_end(ap);
    if (!in->status)
        in->status = sb.text;
    return false;
}

int64_t interp_dim(const Interp *in, Dim d) {
    int64_t v = 0;
    if (!d || !dim_eval(d, in->dims, in->n_dims, &v))
        interp_fail((Interp *)in, "the dim %s has no value", d ? dim_text(in->ctx, d) : "?");
    return v;
}

enum { MOST_ELEMENTS = 1 << 28 };

bool interp_tensor(Interp *in, Type t, Tensor *out) {
    int64_t shape[MAX_RANK], count = 1;
    for (int k = 0; k < t.rank; k++) {
        shape[k] = interp_dim(in, t.shape[k]);
        if (shape[k] < 0)
            return interp_fail(in, "the extent %s is %lld", dim_text(in->ctx, t.shape[k]),
                               (long long)shape[k]);
        count = shape[k] && count > MOST_ELEMENTS / shape[k] ? MOST_ELEMENTS + 1 : count * shape[k];
    }
    if (in->status)
        return false;
    if (count > MOST_ELEMENTS)
        return interp_fail(in, "a tensor has more than %d elements", MOST_ELEMENTS);
    *out = tensor_new(in->arena, t.dt, t.rank, shape);
    return true;
}

static bool run_inst(Interp *in, const Func *f, const Inst *i, Tensor *vals) {
    const Tensor **args = ARENA_ARRAY(in->arena, const Tensor *, i->n_args + 1);
    Tensor *out = ARENA_ARRAY(in->arena, Tensor, i->n_results + 1);
    for (int k = 0; k < i->n_args; k++)
        args[k] = &vals[i->args[k].id];
    in->vals = vals;
    if (!i->op->eval(in, f, i, args, out))
        return in->status ? false : interp_fail(in, "%s failed", i->op->name);
    if (i->n_results)
        memcpy(&vals[i->first.id], out, (size_t)i->n_results * sizeof *out);
    return true;
}

static bool check_dims(Interp *in, const Func *f) {
    for (int k = 0; k < f->checks.n; k++)
        if (interp_dim(in, f->checks.p[k].cond) < 0)
            return interp_fail(in, "%s", f->checks.p[k].message);
    return in->status == NULL;
}

/* The values of index(K) kind that C entries check. */
static bool check_bounds(Interp *in, const Param *p, const Tensor *t) {
    if (!p->bound || !t->i)
        return true;
    int64_t bound = interp_dim(in, p->bound);
    for (int64_t k = 0; k < t->count; k++)
        if (t->i[k] < 0 || t->i[k] >= bound)
            return interp_fail(in, "%s holds a label outside 0..%lld", p->name,
                               (long long)bound - 1);
    return in->status == NULL;
}

static bool bind_param(Interp *in, const Func *f, const Param *p, const Tensor *arg, Tensor *vals) {
    Tensor want;
    if (!interp_tensor(in, graph_type(f, p->val), &want))
        return false;
    if (want.rank != arg->rank ||
        memcmp(want.shape, arg->shape, (size_t)want.rank * sizeof *want.shape) != 0 ||
        !want.f != !arg->f)
        return interp_fail(in, "%s has another shape or type than the function says",
                           p->name ? p->name : "an operand");
    vals[p->val.id] = *arg;
    return check_bounds(in, p, arg);
}

bool interp_run(Interp *in, const Func *f, const DimValue *dims, int n_dims,
                const Tensor *const *args, Tensor *results) {
    Interp outer = *in;
    Tensor *vals = ARENA_ARRAY(in->arena, Tensor, f->vals.n + 1);
    in->dims = dims;
    in->n_dims = n_dims;
    bool ok = check_dims(in, f);
    for (int k = 0; ok && k < f->params.n; k++)
        ok = bind_param(in, f, &f->params.p[k], args[k], vals);
    for (int k = 0; ok && k < f->insts.n; k++)
        ok = run_inst(in, f, f->insts.p[k], vals);
    for (int k = 0; ok && k < f->results.n; k++)
        results[k] = vals[f->results.p[k].val.id];
    in->dims = outer.dims;
    in->n_dims = outer.n_dims;
    in->vals = outer.vals;
    return ok;
}

bool interp_replay(Interp *in, const Func *f, const bool *given, Val until, Tensor *vals) {
    bool *changed = ARENA_ARRAY(in->arena, bool, f->vals.n);
    const Tensor *outer = in->vals;
    bool ok = true;
    memcpy(changed, given, (size_t)f->vals.n * sizeof *changed);
    for (int k = 0; ok && k < f->insts.n && k <= f->vals.p[until.id].inst; k++) {
        const Inst *i = f->insts.p[k];
        bool depends = false, fixed = i->n_results > 0;
        for (int a = 0; a < i->n_args; a++)
            depends |= changed[i->args[a].id];
        for (int r = 0; r < i->n_results; r++)
            fixed &= given[inst_result(i, r).id];
        if (!depends || fixed || i->op == &op_stop)
            continue;
        ok = run_inst(in, f, i, vals);
        for (int r = 0; r < i->n_results; r++)
            changed[inst_result(i, r).id] = true;
    }
    in->vals = outer;
    return ok;
}
