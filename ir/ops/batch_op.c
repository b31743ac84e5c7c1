/* batch: a body function on slices of rows (see BatchAttr). */
#include <string.h>

#include "ir/ops/attr.h"

static bool is_row_of(Module *m, Type one, Type whole, bool cut) {
    return type_equal(one, cut ? type_new(m->ctx, whole.dt, whole.rank - 1, whole.shape + 1) : whole);
}

/* A stack of the slices that a body gives or takes. */
static Type stack_of(Module *m, Type slice, const BatchAttr *a) {
    Dim shape[MAX_RANK + 1];
    shape[0] = dim_ceildiv(m->ctx, a->n, dim_const(m->ctx, a->rows));
    for (int x = 0; x < slice.rank; x++)
        shape[x + 1] = slice.shape[x];
    return type_new(m->ctx, slice.dt, slice.rank + 1, shape);
}

static const char *operand_type(Module *m, Type whole, Type slice, const BatchAttr *a, int k) {
    const char *name = graph_func(m, a->body)->name;
    bool cut = a->args[k] == BATCH_CUT || a->args[k] == BATCH_ROWS;
    if (cut && (whole.rank < 1 || whole.shape[0] != a->n))
        return type_error(m, "operand %d is cut but its first axis is not the rows", k);
    if (a->args[k] == BATCH_SLICE && (slice.rank + 1 > MAX_RANK || !type_equal(whole, stack_of(m, slice, a))))
        return type_error(m, "operand %d is no stack of slices as %s takes them", k, name);
    if (a->args[k] != BATCH_SLICE && (whole.dt != slice.dt || whole.rank != slice.rank))
        return type_error(m, "operand %d has another type than in %s", k, name);
    return NULL;
}

/* The body for one row takes and gives the same, without rows. */
static const char *one_type(Module *m, const Func *f, const Val *args, const BatchAttr *a, const Type *out) {
    const Func *one = graph_func(m, a->one);
    if (!a->one.id)
        return NULL;
    if (!one || one->params.n != a->n_args || one->results.n != a->n_results || one->dims.n < 2 || a->below < 1)
        return type_error(m, "the body for one row does not match");
    for (int k = 0; k < a->n_args; k++)
        if (!is_row_of(m, graph_type(one, one->params.p[k].val), graph_type(f, args[k]), a->args[k] == BATCH_CUT))
            return type_error(m, "operand %d has another type than in %s", k, one->name);
    for (int k = 0; k < a->n_results; k++)
        if (a->results[k] != BATCH_CAT || !is_row_of(m, graph_type(one, one->results.p[k].val), out[k], true))
            return type_error(m, "result %d has another type than in %s", k, one->name);
    return NULL;
}

/* The body for all rows takes and gives what the op does. */
static const char *all_type(Module *m, const Func *f, const Val *args, const BatchAttr *a, const Type *out) {
    const Func *all = graph_func(m, a->all);
    if (!a->all.id)
        return NULL;
    if (!all || all->params.n != a->n_args || all->results.n != a->n_results || a->above < 1)
        return type_error(m, "the body for all rows does not match");
    for (int k = 0; k < a->n_args; k++)
        if (!type_equal(graph_type(all, all->params.p[k].val), graph_type(f, args[k])))
            return type_error(m, "operand %d has another type than in %s", k, all->name);
    for (int k = 0; k < a->n_results; k++)
        if (!type_equal(graph_type(all, all->results.p[k].val), out[k]))
            return type_error(m, "result %d has another type than in %s", k, all->name);
    return NULL;
}

static const char *batch_type(Module *m, const Func *f, const Val *args, int n_args,
                              const void *attr, Type *out, int *n_out) {
    const BatchAttr *a = attr;
    const Func *body = graph_func(m, a->body);
    if (!body)
        return type_error(m, "names no function");
    if (n_args != a->n_args || body->params.n != n_args || body->results.n != a->n_results ||
        a->n_results > MAX_RESULTS)
        return type_error(m, "operands or results do not match those of %s", body->name);
    if (body->dims.n < 2 || a->rows < 1 || a->groups < 1)
        return type_error(m, "%s has no dims of rows", body->name);
    for (int k = 0; k < n_args; k++) {
        Type slice = graph_type(body, body->params.p[k].val);
        const char *wrong = operand_type(m, graph_type(f, args[k]), slice, a, k);
        if (wrong)
            return wrong;
    }
    for (int k = 0; k < a->n_results; k++) {
        Type t = graph_type(body, body->results.p[k].val);
        if (a->results[k] == BATCH_CAT) {
            Dim shape[MAX_RANK];
            if (t.rank < 1)
                return type_error(m, "result %d has no axis of rows", k);
            for (int x = 1; x < t.rank; x++)
                shape[x] = t.shape[x - 1];
            shape[0] = a->n;
            t = type_new(m->ctx, t.dt, t.rank, shape);
        }
        if (a->results[k] == BATCH_SLICES) {
            if (t.rank + 1 > MAX_RANK)
                return type_error(m, "result %d has too many axes for a stack of slices", k);
            t = stack_of(m, t, a);
        }
        out[(*n_out)++] = t;
    }
    const char *wrong = one_type(m, f, args, a, out);
    return wrong ? wrong : all_type(m, f, args, a, out);
}

/* Moves rows between the whole's [n, ..] and the slice's [.., rows]; rows past the end of the slice
 * become 0. */
static void move_rows(const Tensor *whole, const Tensor *slice, int64_t row0, int64_t valid,
                      bool to_slice) {
    int64_t rows = slice->shape[slice->rank - 1], inner = rows ? slice->count / rows : 0;
    for (int64_t c = 0; c < inner; c++)
        for (int64_t r = 0; r < rows; r++) {
            int64_t s = c * rows + r, w = (row0 + r) * inner + c;
            bool inside = r < valid;
            if (to_slice && slice->f)
                slice->f[s] = inside ? whole->f[w] : 0;
            else if (to_slice)
                slice->i[s] = inside ? whole->i[w] : 0;
            else if (inside && slice->f)
                whole->f[w] = slice->f[s];
            else if (inside)
                whole->i[w] = slice->i[s];
        }
}

/* The slice's [rows, ..], likewise. */
static void copy_rows(const Tensor *whole, const Tensor *slice, int64_t row0, int64_t valid) {
    int64_t inner = slice->shape[0] ? slice->count / slice->shape[0] : 0;
    for (int64_t k = 0; k < slice->count; k++) {
        bool inside = k < valid * inner;
        if (slice->f)
            slice->f[k] = inside ? whole->f[row0 * inner + k] : 0;
        else
            slice->i[k] = inside ? whole->i[row0 * inner + k] : 0;
    }
}

static void add_to(Tensor *sum, const Tensor *t) {
    for (int64_t k = 0; k < sum->count; k++) {
        if (sum->f)
            sum->f[k] += t->f[k];
        else
            sum->i[k] += t->i[k];
    }
}

/* One of the things that the first axis numbers: a row, or a slice of a stack. */
static Tensor row_of(const Tensor *t, int64_t row) {
    Tensor r = *t;
    r.rank--;
    for (int k = 0; k < r.rank; k++)
        r.shape[k] = t->shape[k + 1];
    r.count = t->shape[0] ? t->count / t->shape[0] : 0;
    r.f = t->f ? t->f + row * r.count : NULL;
    r.i = t->i ? t->i + row * r.count : NULL;
    return r;
}

static void copy_to(const Tensor *to, const Tensor *from) {
    for (int64_t c = 0; c < to->count; c++) {
        if (to->f)
            to->f[c] = from->f[c];
        else
            to->i[c] = from->i[c];
    }
}

static bool run_row(Interp *in, const Inst *i, const Tensor *const *args, int64_t row, Tensor *out) {
    const BatchAttr *a = i->attr;
    const Func *one = graph_func(in->m, a->one);
    int n = in->n_dims + 2;
    DimValue *dims = ARENA_ARRAY(in->arena, DimValue, n);
    memcpy(dims, in->dims, (size_t)in->n_dims * sizeof *dims);
    dims[n - 2] = (DimValue){one->dims.p[one->dims.n - 2], row};
    dims[n - 1] = (DimValue){one->dims.p[one->dims.n - 1], 1};
    const Tensor **with = ARENA_ARRAY(in->arena, const Tensor *, a->n_args + 1);
    for (int k = 0; k < a->n_args; k++) {
        Tensor t = a->args[k] == BATCH_CUT ? row_of(args[k], row) : *args[k];
        with[k] = arena_dup(in->arena, &t, sizeof t);
    }
    Tensor *results = ARENA_ARRAY(in->arena, Tensor, a->n_results + 1);
    if (!interp_run(in, one, dims, n, with, results))
        return false;
    for (int k = 0; k < a->n_results; k++) {
        Tensor to = row_of(&out[k], row);
        copy_to(&to, &results[k]);
    }
    return true;
}

static bool run_slice(Interp *in, const Inst *i, const Tensor *const *args, int64_t row0,
                      int64_t valid, Tensor *out) {
    const BatchAttr *a = i->attr;
    const Func *body = graph_func(in->m, a->body);
    int n = in->n_dims + 2;
    DimValue *dims = ARENA_ARRAY(in->arena, DimValue, n);
    memcpy(dims, in->dims, (size_t)in->n_dims * sizeof *dims);
    dims[n - 2] = (DimValue){body->dims.p[body->dims.n - 2], row0};
    dims[n - 1] = (DimValue){body->dims.p[body->dims.n - 1], valid};
    const Tensor **slice = ARENA_ARRAY(in->arena, const Tensor *, a->n_args + 1);
    for (int k = 0; k < a->n_args; k++) {
        slice[k] = args[k];
        if (a->args[k] == BATCH_SLICE) {
            Tensor t = row_of(args[k], row0 / a->rows);
            slice[k] = arena_dup(in->arena, &t, sizeof t);
        }
        if (a->args[k] != BATCH_CUT && a->args[k] != BATCH_ROWS)
            continue;
        int64_t shape[MAX_RANK];
        bool first = a->args[k] == BATCH_ROWS;
        for (int x = 0; x + 1 < args[k]->rank; x++)
            shape[first ? x + 1 : x] = args[k]->shape[x + 1];
        shape[first ? 0 : args[k]->rank - 1] = a->rows;
        Tensor t = tensor_new(in->arena, args[k]->dt, args[k]->rank, shape);
        if (first)
            copy_rows(args[k], &t, row0, valid);
        else
            move_rows(args[k], &t, row0, valid, true);
        slice[k] = arena_dup(in->arena, &t, sizeof t);
    }
    Tensor *results = ARENA_ARRAY(in->arena, Tensor, a->n_results + 1);
    if (!interp_run(in, body, dims, n, slice, results))
        return false;
    for (int k = 0; k < a->n_results; k++) {
        Tensor to = a->results[k] == BATCH_SLICES ? row_of(&out[k], row0 / a->rows) : out[k];
        if (a->results[k] == BATCH_SLICES)
            copy_to(&to, &results[k]);
        else if (a->results[k] == BATCH_CAT)
            move_rows(&out[k], &results[k], row0, valid, false);
        else
            add_to(&out[k], &results[k]);
    }
    return true;
}

static bool batch_eval(Interp *in, const Func *f, const Inst *i, const Tensor *const *args,
                       Tensor *out) {
    const BatchAttr *a = i->attr;
    int64_t n = interp_dim(in, a->n);
    for (int k = 0; k < i->n_results; k++)
        if (!interp_tensor(in, graph_type(f, inst_result(i, k)), &out[k]))
            return false;
    if (a->all.id && n >= a->above)
        return interp_run(in, graph_func(in->m, a->all), in->dims, in->n_dims, args, out) && in->status == NULL;
    if (a->one.id && n < a->below) {
        for (int64_t row = 0; row < n; row++)
            if (!run_row(in, i, args, row, out))
                return false;
        return in->status == NULL;
    }
    for (int64_t row0 = 0; row0 < n; row0 += a->rows)
        if (!run_slice(in, i, args, row0, n - row0 < a->rows ? n - row0 : a->rows, out))
            return false;
    return in->status == NULL;
}

static const char *const arg_names[] = {[BATCH_CUT] = "cut", [BATCH_WHOLE] = "whole", [BATCH_SLICE] = "slice", [BATCH_ROWS] = "rows"};
static const char *const result_names[] = {[BATCH_CAT] = "cat", [BATCH_SUM] = "sum", [BATCH_SLICES] = "slices"};
enum { N_ARG_KINDS = 4, N_RESULT_KINDS = 3 };

static int kind_named(IrReader *r, const char *const *names, int n) {
    for (int k = 0; k < n; k++)
        if (text_is(&r->t, names[k])) {
            text_next(&r->t);
            return k;
        }
    return -1;
}

static void batch_print(StrBuf *sb, const Module *m, const Func *f, const Inst *i) {
    (void)f;
    const BatchAttr *a = i->attr;
    sb_putc(sb, '{');
    graph_print_func_name(sb, m, a->body);
    sb_put(sb, " n ");
    dim_print(sb, a->n);
    sb_printf(sb, " rows %lld groups %lld", (long long)a->rows, (long long)a->groups);
    if (a->one.id) {
        if (a->below == BATCH_ALWAYS)
            sb_put(sb, " always ");
        else
            sb_printf(sb, " below %lld ", (long long)a->below);
        graph_print_func_name(sb, m, a->one);
    }
    if (a->all.id) {
        sb_printf(sb, " above %lld ", (long long)a->above);
        graph_print_func_name(sb, m, a->all);
    }
    sb_put(sb, " args");
    for (int k = 0; k < a->n_args; k++)
        sb_printf(sb, " %s", arg_names[a->args[k]]);
    sb_put(sb, " results");
    for (int k = 0; k < a->n_results; k++)
        sb_printf(sb, " %s", result_names[a->results[k]]);
    sb_putc(sb, '}');
}

static const void *batch_read(IrReader *r) {
    BatchAttr a = {.n = NULL};
    VEC(BatchArg) args = {0};
    VEC(BatchRes) results = {0};
    Arena *arena = &r->t.ctx->perm;
    text_expect(&r->t, "{");
    a.body = graph_read_func(r);
    text_expect(&r->t, "n");
    a.n = text_dim(&r->t);
    text_expect(&r->t, "rows");
    a.rows = text_int(&r->t, "the rows of a slice");
    text_expect(&r->t, "groups");
    a.groups = text_int(&r->t, "a number of groups");
    bool always = text_is(&r->t, "always");
    if (always || text_is(&r->t, "below")) {
        text_next(&r->t);
        a.below = always ? BATCH_ALWAYS : text_int(&r->t, "a number of rows");
        a.one = graph_read_func(r);
    }
    if (text_is(&r->t, "above")) {
        text_next(&r->t);
        a.above = text_int(&r->t, "a number of rows");
        a.all = graph_read_func(r);
    }
    text_expect(&r->t, "args");
    for (int k; (k = kind_named(r, arg_names, N_ARG_KINDS)) >= 0;)
        vec_push(arena, &args, (BatchArg)k);
    text_expect(&r->t, "results");
    for (int k; (k = kind_named(r, result_names, N_RESULT_KINDS)) >= 0;)
        vec_push(arena, &results, (BatchRes)k);
    text_expect(&r->t, "}");
    a.args = args.p;
    a.n_args = args.n;
    a.results = results.p;
    a.n_results = results.n;
    return ATTR_COPY(r->t.ctx, &a);
}

static const void *batch_subst(Ctx *ctx, const void *attr, const DimBinding *b, int n) {
    BatchAttr a = *(const BatchAttr *)attr;
    a.n = attr_dim(ctx, a.n, b, n);
    return ATTR_COPY(ctx, &a);
}

const OpDef op_batch = {
    .name = "batch",
    .n_args = -1,
    .family = FAM_CONTROL,
    .flags = OPF_PURE | OPF_FUNCS,
    .doc = "a body function on slices of rows",
    .type = batch_type,
    .eval = batch_eval,
    .print = batch_print,
    .read = batch_read,
    .subst = batch_subst,
};
