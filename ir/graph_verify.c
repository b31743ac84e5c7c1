/* The invariants of the graph IR: order of definitions, types by the ops' rules, dims in scope,
 * roles. */
#include <string.h>

#include "ir/op.h"

typedef struct Verifier {
    const Module *m;
    const Func *f;
    const char *why;
} Verifier;

static void broken(Verifier *v, const char *fmt, ...) CNNC_PRINTF(2, 3);

static void broken(Verifier *v, const char *fmt, ...) {
    if (v->why)
        return;
    StrBuf sb = sb_new(&v->m->ctx->perm);
    va_list ap;
    sb_printf(&sb, "in %s: ", v->f->name);
    va_start(ap, fmt);
    sb_vprintf(&sb, fmt, ap);
    va_end(ap);
    v->why = sb.text;
}

static bool has_dim(const Func *f, DimSym s) {
    for (int k = 0; k < f->dims.n; k++)
        if (f->dims.p[k] == s)
            return true;
    return false;
}

/* Every symbol of d is a dim of the function. */
static void check_dim(Verifier *v, Dim d, const char *what) {
    DimSym s[64];
    int n = d ? dim_symbols(d, s, 64) : 0;
    if (!d)
        broken(v, "%s has no value", what);
    for (int k = 0; k < n && k < 64; k++)
        if (!has_dim(v->f, s[k]))
            broken(v, "%s mentions %s, which is no dim of the function", what, s[k]->name);
}

static void check_type(Verifier *v, Val x) {
    Type t = graph_type(v->f, x);
    if (t.dt == DT_NONE || t.rank < 0 || t.rank > MAX_RANK)
        broken(v, "value %u has no type", x.id);
    for (int k = 0; k < t.rank && !v->why; k++)
        check_dim(v, t.shape[k], "a shape");
}

static bool is_val(const Func *f, Val x) { return x.id >= 1 && x.id < (uint32_t)f->vals.n; }

static void check_params(Verifier *v) {
    const Func *f = v->f;
    const AbiBlock *b =
        f->block >= 0 && f->block < v->m->blocks.n ? v->m->blocks.p[f->block] : NULL;
    if (f->block >= v->m->blocks.n)
        broken(v, "block %d is not there", f->block);
    for (int k = 0; k < f->params.n && !v->why; k++) {
        const Param *p = &f->params.p[k];
        if (!is_val(f, p->val) || f->vals.p[p->val.id].inst >= 0) {
            broken(v, "param %d is no value of its own", k);
            return;
        }
        check_type(v, p->val);
        if (p->bound)
            check_dim(v, p->bound, "a bound");
        bool tensor = p->role == ROLE_PARAM || p->role == ROLE_STATE || p->role == ROLE_OPT ||
                      p->role == ROLE_HYPER;
        int n = !tensor                 ? -1
                : !b                    ? 0
                : p->role == ROLE_PARAM ? b->params.n
                : p->role == ROLE_STATE ? b->states.n
                : p->role == ROLE_OPT   ? b->opts.n
                                        : b->formals.n;
        if (f->entry && n >= 0 && (p->tensor < 0 || p->tensor >= n))
            broken(v, "param %s stands for tensor %d, which the block does not have",
                   p->name ? p->name : "?", p->tensor);
    }
}

static void check_rule(Verifier *v, const Inst *i, Type *want) {
    int n = 0;
    if (i->op->n_args >= 0 && i->op->n_args != i->n_args) {
        broken(v, "%s has %d operands, not %d", i->op->name, i->op->n_args, i->n_args);
        return;
    }
    if (i->op->type) {
        const char *why = i->op->type((Module *)v->m, v->f, i->args, i->n_args, i->attr, want, &n);
        if (why)
            broken(v, "%s: %s", i->op->name, why);
        else if (n != i->n_results)
            broken(v, "%s has %d results, not %d", i->op->name, n, i->n_results);
        for (int k = 0; k < n && !v->why; k++)
            if (!type_equal(want[k], graph_type(v->f, inst_result(i, k))))
                broken(v, "%%%u = %s: the type is not that of the op's rule", inst_result(i, k).id,
                       i->op->name);
    }
    const char *why = i->op->verify && !v->why ? i->op->verify(v->m, v->f, i) : NULL;
    if (why)
        broken(v, "%%%u = %s: %s", i->first.id, i->op->name, why);
}

static void check_insts(Verifier *v, Type *want) {
    const Func *f = v->f;
    for (int k = 0; k < f->insts.n && !v->why; k++) {
        const Inst *i = f->insts.p[k];
        for (int a = 0; a < i->n_args; a++)
            if (!is_val(f, i->args[a]) || f->vals.p[i->args[a].id].inst >= k)
                broken(v, "%s uses a value that is not defined before", i->op->name);
        for (int r = 0; r < i->n_results && !v->why; r++) {
            if (!is_val(f, inst_result(i, r)) || f->vals.p[inst_result(i, r).id].inst != k)
                broken(v, "the results of instruction %d are not its own", k);
            else
                check_type(v, inst_result(i, r));
        }
        if (!v->why)
            check_rule(v, i, want);
    }
}

static void check_results(Verifier *v) {
    const Func *f = v->f;
    for (int k = 0; k < f->results.n && !v->why; k++) {
        const Result *r = &f->results.p[k];
        bool of = r->role == RES_GRAD || r->role == RES_NEW_PARAM || r->role == RES_NEW_STATE ||
                  r->role == RES_NEW_OPT;
        if (!is_val(f, r->val)) {
            broken(v, "result %d is no value", k);
        } else if (f->entry && f->entry->kind == ENTRY_INIT) {
            if (of && r->of < 0)
                broken(v, "result %d stands for no tensor", k);
        } else if (r->of >= f->params.n || (of && r->of < 0)) {
            broken(v, "result %d stands for a param that is not there", k);
        } else if (of) {
            Type a = graph_type(f, r->val), b = graph_type(f, f->params.p[r->of].val);
            if (!type_equal(a, b))
                broken(v, "result %d has another type than its param", k);
        }
    }
}

static void check_func(Verifier *v, Type *want) {
    const Func *f = v->f;
    for (int k = 0; k < f->dims.n; k++)
        for (int a = 0; a < k; a++)
            if (f->dims.p[a]->name == f->dims.p[k]->name)
                broken(v, "two dims are called %s", f->dims.p[k]->name);
    for (int k = 0; k < f->checks.n && !v->why; k++)
        check_dim(v, f->checks.p[k].cond, "a check");
    check_params(v);
    check_insts(v, want);
    check_results(v);
}

const char *graph_verify(const Module *m) {
    Verifier v = {.m = m};
    Type *want = ARENA_ARRAY(&m->ctx->perm, Type, MAX_RESULTS);
    for (int k = 0; k < m->funcs.n && !v.why; k++) {
        v.f = m->funcs.p[k];
        if (!v.f)
            continue;
        for (int a = 0; a < k; a++)
            if (m->funcs.p[a] && m->funcs.p[a]->name == v.f->name)
                broken(&v, "the function is there twice");
        check_func(&v, want);
    }
    return v.why;
}
