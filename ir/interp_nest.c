#include "ir/interp_nest.h"

#include <math.h>
#include <string.h>

#include "ir/nest_alg.h"

/* An affine form of the box's indices at the running dims. */
typedef struct Form {
    int64_t at0;
    int64_t *coef; /* by box number */
} Form;

typedef struct RunBody {
    const Body *b;
    Form *forms;      /* of INDEX and DIM, by instruction */
    Form *subs;       /* of reads: [instruction * MAX_RANK + axis] */
    ScalarValue *val; /* of the point */
    int64_t *stamp;   /* point at which val was computed */
} RunBody;

typedef struct RunNest {
    Interp *in;
    const Inst *inst;
    const Nest *n;
    const Tensor *const *args;
    Tensor *out;
    int64_t extent[64], index[64];
    int64_t point;
    DimValue *env; /* dims, then indices */
    int n_env;
    Form *map, *guards;
    int64_t *guard_extent;
    ScalarValue acc;
    bool is_term, failed;
} RunNest;

static int64_t eval_at(RunNest *r, Dim d) {
    int64_t v = 0;
    if (!r->failed && !dim_eval(d, r->env, r->n_env, &v)) {
        r->failed = true;
        interp_fail(r->in, "the dim %s has no value", dim_text(r->in->ctx, d));
    }
    return v;
}

static Form form_of(RunNest *r, Dim d) {
    Form f = {.coef = ARENA_ARRAY(r->in->arena, int64_t, r->n->n_box + 1)};
    DimValue *index = r->env + r->in->n_dims;
    f.at0 = eval_at(r, d);
    for (int k = 0; k < r->n->n_box; k++) {
        index[k].value = 1;
        f.coef[k] = dim_mentions(d, index[k].sym) ? eval_at(r, d) - f.at0 : 0;
        index[k].value = 0;
    }
    return f;
}

static int64_t form_value(const RunNest *r, const Form *f) {
    int64_t v = f->at0;
    for (int k = 0; k < r->n->n_box; k++)
        v += f->coef[k] * r->index[k];
    return v;
}

static RunBody body_of(RunNest *r, const Body *b) {
    Arena *a = r->in->arena;
    RunBody rb = {.b = b,
                  .forms = ARENA_ARRAY(a, Form, b->n + 1),
                  .subs = ARENA_ARRAY(a, Form, (b->n + 1) * MAX_RANK)};
    rb.val = ARENA_ARRAY(a, ScalarValue, b->n + 1);
    rb.stamp = ARENA_ARRAY(a, int64_t, b->n + 1);
    for (int k = 0; k < b->n; k++) {
        const BodyInst *i = &b->insts[k];
        if (i->kind == BODY_INDEX || i->kind == BODY_DIM)
            rb.forms[k] = form_of(r, i->dim);
        for (int x = 0; i->kind == BODY_READ && x < i->rank; x++)
            rb.subs[k * MAX_RANK + x] = form_of(r, i->map[x]);
    }
    return rb;
}

static ScalarValue tensor_get(const Tensor *t, int64_t at) {
    return t->f ? (ScalarValue){.f = t->f[at]} : (ScalarValue){.i = t->i[at]};
}

static void tensor_set(Tensor *t, int64_t at, ScalarValue v) {
    if (t->f)
        t->f[at] = v.f;
    else
        t->i[at] = v.i;
}

static ScalarValue read_operand(RunNest *r, const RunBody *b, int k) {
    const BodyInst *i = &b->b->insts[k];
    const Tensor *t = r->args[i->operand];
    int64_t at = 0;
    for (int x = 0; x < i->rank; x++) {
        int64_t s = form_value(r, &b->subs[k * MAX_RANK + x]);
        if (s < 0 || s >= t->shape[x]) {
            if (i->has_fill)
                return i->k;
            if (!r->failed)
                interp_fail(r->in, "a subscript of operand %d is %lld, outside 0..%lld", i->operand,
                            (long long)s, (long long)t->shape[x] - 1);
            r->failed = true;
            return (ScalarValue){.f = 0};
        }
        at = at * t->shape[x] + s;
    }
    return tensor_get(t, at);
}

static DType wide(DType dt) { return dt == DT_F32 ? DT_F64 : dt; }

static ScalarValue value_at(RunNest *r, const RunBody *b, int k) {
    const BodyInst *i = &b->b->insts[k];
    if (b->stamp[k] == r->point)
        return b->val[k];
    ScalarValue v = i->k;
    if (i->kind == BODY_READ) {
        v = read_operand(r, b, k);
    } else if (i->kind == BODY_INDEX || i->kind == BODY_DIM) {
        v.i = form_value(r, &b->forms[k]);
    } else if (i->kind == BODY_ACC) {
        v = r->acc;
    } else if (i->kind == BODY_OP && i->op == SC_select) {
        v = value_at(r, b, i->args[value_at(r, b, i->args[0]).i ? 1 : 2]);
    } else if (i->kind == BODY_OP) {
        ScalarValue a[3] = {v, v, v};
        for (int x = 0; x < scalar_def(i->op)->arity; x++)
            a[x] = value_at(r, b, i->args[x]);
        v = scalar_eval(i->op, wide(b->b->insts[i->args[0]].dt), wide(i->dt), a);
    }
    b->stamp[k] = r->point;
    return b->val[k] = v;
}

/* Position of the point's cell in the result, or -1 outside of it. */
static int64_t cell_of(RunNest *r) {
    int64_t at = 0;
    for (int k = 0; k < r->n->rank; k++) {
        int64_t s = form_value(r, &r->map[k]);
        if (s < 0 || s >= r->out->shape[k]) {
            if (!r->failed)
                interp_fail(r->in, "a nest writes cell %lld of axis %d, outside 0..%lld",
                            (long long)s, k, (long long)r->out->shape[k] - 1);
            r->failed = true;
            return -1;
        }
        at = at * r->out->shape[k] + s;
    }
    return at;
}

/* The next point of the box, the last index fastest; only those in `only`. False after the last
 * one. */
static bool next_point(RunNest *r, uint64_t only) {
    for (int k = r->n->n_box; k-- > 0;) {
        if (!(only >> k & 1))
            continue;
        if (++r->index[k] < r->extent[k])
            return true;
        r->index[k] = 0;
    }
    return false;
}

static bool guards_hold(const RunNest *r) {
    for (int k = 0; k < r->n->n_guards; k++) {
        int64_t v = form_value(r, &r->guards[k]);
        if (v < 0 || v >= r->guard_extent[k])
            return false;
    }
    return true;
}

static ScalarValue neutral(NestOpKind op, DType dt) {
    int64_t most = dt == DT_I32 ? INT32_MAX : INT64_MAX;
    if (op == NEST_MAX || op == NEST_MIN)
        return (ScalarValue){.f = op == NEST_MAX ? -INFINITY : INFINITY,
                             .i = op == NEST_MAX ? -most - 1 : most};
    return (ScalarValue){.i = op == NEST_ARGMAX ? -1 : 0};
}

/* Row-major number of the point among the reduced indices. */
static int64_t reduced_number(const RunNest *r, uint64_t outputs) {
    int64_t v = 0;
    for (int k = 0; k < r->n->n_box; k++)
        if (!(outputs >> k & 1))
            v = v * r->extent[k] + r->index[k];
    return v;
}

static void reduce(RunNest *r, Tensor *acc, Tensor *best, int64_t at, ScalarValue v, DType dt,
                   uint64_t outputs) {
    ScalarValue a[2] = {tensor_get(acc, at), v};
    switch (r->n->op) {
    case NEST_STORE:
        tensor_set(acc, at, v);
        break;
    case NEST_SUM:
        tensor_set(acc, at, r->is_term ? v : scalar_eval(SC_add, dt, dt, a));
        break;
    case NEST_MAX:
        tensor_set(acc, at, scalar_eval(SC_max, dt, dt, a));
        break;
    case NEST_MIN:
        tensor_set(acc, at, scalar_eval(SC_min, dt, dt, a));
        break;
    case NEST_ARGMAX:
        if (acc->i[at] >= 0) {
            ScalarValue old = tensor_get(best, at);
            bool better = best->f ? !(v.f <= old.f) && old.f == old.f : v.i > old.i;
            if (!better)
                break;
        }
        tensor_set(best, at, v);
        acc->i[at] = reduced_number(r, outputs);
        break;
    }
}

static bool empty(const RunNest *r) {
    for (int k = 0; k < r->n->n_box; k++)
        if (r->extent[k] <= 0)
            return true;
    return false;
}

static void run_post(RunNest *r, const Tensor *acc, uint64_t outputs) {
    RunBody post = body_of(r, &r->n->post);
    memset(r->index, 0, sizeof r->index);
    for (int k = 0; k < r->n->n_box; k++)
        if ((outputs >> k & 1) && r->extent[k] <= 0)
            return;
    do {
        r->point++;
        int64_t at = cell_of(r);
        if (at < 0)
            return;
        r->acc = tensor_get(acc, at);
        tensor_set(r->out, at, value_at(r, &post, r->n->post.n - 1));
    } while (!r->failed && next_point(r, outputs));
}

static bool prepare(RunNest *r) {
    const Nest *n = r->n;
    Interp *in = r->in;
    r->env = ARENA_ARRAY(in->arena, DimValue, in->n_dims + n->n_box + 1);
    if (in->n_dims)
        memcpy(r->env, in->dims, (size_t)in->n_dims * sizeof *in->dims);
    r->n_env = in->n_dims;
    for (int k = 0; k < n->n_box; k++)
        r->extent[k] = eval_at(r, n->box[k].extent);
    for (int k = 0; k < n->n_box; k++)
        r->env[r->n_env++] = (DimValue){n->box[k].sym, 0};
    r->map = ARENA_ARRAY(in->arena, Form, n->rank + 1);
    for (int k = 0; k < n->rank; k++)
        r->map[k] = form_of(r, n->map[k]);
    r->guards = ARENA_ARRAY(in->arena, Form, n->n_guards + 1);
    r->guard_extent = ARENA_ARRAY(in->arena, int64_t, n->n_guards + 1);
    for (int k = 0; k < n->n_guards; k++) {
        r->guards[k] = form_of(r, n->guards[k].form);
        r->guard_extent[k] = eval_at(r, n->guards[k].extent);
    }
    return !r->failed;
}

bool interp_nest(Interp *in, const Func *f, const Inst *i, const Tensor *const *args, Tensor *out) {
    const Nest *n = i->attr;
    RunNest r = {.in = in, .inst = i, .n = n, .args = args, .out = out, .is_term = nest_is_term(n)};
    if (n->n_box > 64)
        return interp_fail(in, "a nest has more than 64 indices");
    if (!interp_tensor(in, graph_type(f, i->first), out) || !prepare(&r))
        return false;
    DType dt = n->body.insts[n->body.n - 1].dt;
    Tensor acc = tensor_new(in->arena, n->op == NEST_ARGMAX ? DT_I32 : dt, out->rank, out->shape);
    Tensor best = n->op == NEST_ARGMAX ? tensor_new(in->arena, dt, out->rank, out->shape) : acc;
    for (int64_t k = 0; k < acc.count; k++)
        tensor_set(&acc, k, n->init >= 0 ? tensor_get(args[n->init], k) : neutral(n->op, dt));
    uint64_t outputs = 0;
    if (n->op == NEST_ARGMAX || n->post.n)
        nest_outputs(in->ctx, n, &outputs);
    RunBody body = body_of(&r, &n->body);
    if (!r.failed && !empty(&r))
        do {
            if (!guards_hold(&r))
                continue;
            r.point++;
            int64_t at = cell_of(&r);
            if (at >= 0)
                reduce(&r, &acc, &best, at, value_at(&r, &body, n->body.n - 1), wide(dt), outputs);
        } while (!r.failed && next_point(&r, ~(uint64_t)0));
    in->points += r.point;
    if (n->post.n && !r.failed) {
        for (int64_t k = 0; k < acc.count; k++)
            if (acc.dt == out->dt || (acc.f && out->f))
                tensor_set(out, k, tensor_get(&acc, k));
        run_post(&r, &acc, outputs);
    } else {
        *out = acc;
    }
    out->dt = graph_type(f, i->first).dt;
    return !r.failed;
}
