/* The invariants of the loop IR. The first broken one is told with the statement that breaks it. */
#include "ir/loop.h"

#include <inttypes.h>

typedef struct Verifier {
    const LoopModule *m;
    const LoopFunc *f;
    const char *why;    /* the first broken invariant */
    VEC(DimSym) syms;   /* dims and the indices of the loops around */
    VEC(uint32_t) live; /* values defined so far in the bodies around */
    int *place;         /* by value id: 1 + position in live, 0: not visible */
    bool *defined;      /* by value id: defined anywhere before */
    int outside;        /* values below this position lie outside the parallel loop around */
    int depth;
    bool in_job;
    bool in_for; /* inside a loop with an index */
} Verifier;

static void fail(Verifier *v, const LoopStmt *s, const char *fmt, ...) CNNC_PRINTF(3, 4);

static void fail(Verifier *v, const LoopStmt *s, const char *fmt, ...) {
    if (v->why)
        return;
    StrBuf sb = sb_new(&v->m->ctx->perm);
    sb_printf(&sb, "in %s", v->f->name);
    if (s) {
        sb_put(&sb, ", at `");
        loop_print_stmt(&sb, v->m, v->f, s);
        sb_putc(&sb, '`');
    }
    sb_put(&sb, ": ");
    va_list ap;
    va_start(ap, fmt);
    sb_vprintf(&sb, fmt, ap);
    va_end(ap);
    v->why = sb.text;
}

static bool same_type(LType a, LType b) { return a.dt == b.dt && a.lanes == b.lanes; }

static bool good_lanes(int n) { return n >= 1 && n <= 1024 && (n & (n - 1)) == 0; }

/* ---- dims and values */

enum { MOST_SYMBOLS = 128 };

static void check_dim(Verifier *v, const LoopStmt *s, Dim d) {
    DimSym used[MOST_SYMBOLS];
    if (!d) {
        fail(v, s, "a dim is missing");
        return;
    }
    int n = dim_symbols(d, used, MOST_SYMBOLS);
    for (int k = 0; k < n && k < MOST_SYMBOLS; k++) {
        bool found = false;
        for (int j = 0; j < v->syms.n && !found; j++)
            found = v->syms.p[j] == used[k];
        if (!found)
            fail(v, s, "`%s` is neither a dim of the function nor the index of a loop around",
                 used[k]->name);
    }
}

static LType use(Verifier *v, const LoopStmt *s, LVal x) {
    if (!x.id || x.id >= (uint32_t)v->f->vals.n)
        fail(v, s, "there is no value %%%" PRIu32, x.id);
    else if (!v->place[x.id])
        fail(v, s, "value %%%" PRIu32 " is not defined on the way here", x.id);
    else if (v->place[x.id] <= v->outside)
        fail(v, s, "value %%%" PRIu32 " comes from outside the parallel loop", x.id);
    return loop_type(v->f, x);
}

static void define(Verifier *v, const LoopStmt *s, LVal x, LType t) {
    if (!x.id || x.id >= (uint32_t)v->f->vals.n) {
        fail(v, s, "a result has no value");
        return;
    }
    if (v->defined[x.id])
        fail(v, s, "value %%%" PRIu32 " is defined twice", x.id);
    if (!same_type(loop_type(v->f, x), t))
        fail(v, s, "the result's type differs from its value's");
    if (t.dt == DT_NONE || !good_lanes(t.lanes))
        fail(v, s, "a value has a type, and 1, 2, 4, ... lanes");
    v->defined[x.id] = true;
    vec_push(&v->m->ctx->perm, &v->live, x.id);
    v->place[x.id] = v->live.n;
}

static void leave(Verifier *v, int live, int syms) {
    while (v->live.n > live)
        v->place[v->live.p[--v->live.n]] = 0;
    v->syms.n = syms;
}

static void check_status(Verifier *v, const LoopStmt *s, int status) {
    if (status < 0 || status >= v->m->statuses.n)
        fail(v, s, "status %d is not in the module's table", status);
}

/* ---- statements */

static void check_args(Verifier *v, const LoopStmt *s, int n) {
    if (s->n_args != n)
        fail(v, s, "%d operands, expected %d", s->n_args, n);
    for (int k = 0; k < s->n_args; k++)
        use(v, s, s->args[k]);
}

static void check_condition(Verifier *v, const LoopStmt *s) {
    check_args(v, s, 1);
    if (!v->why && !same_type(loop_type(v->f, s->args[0]), (LType){DT_BOOL, 1}))
        fail(v, s, "the condition is not one bool");
}

static unsigned class_of(DType dt) {
    return dt == DT_BOOL ? SF_BOOL : dtype_is_real(dt) ? SF_REAL : SF_INT;
}

static void check_let(Verifier *v, const LoopStmt *s) {
    if (s->op <= SC_NONE || s->op >= SC_COUNT) {
        fail(v, s, "no such row");
        return;
    }
    const ScalarDef *d = scalar_def(s->op);
    check_args(v, s, d->arity);
    if (v->why)
        return;
    LType last = loop_type(v->f, s->args[s->n_args - 1]);
    for (int k = 0; k < s->n_args; k++) {
        LType t = loop_type(v->f, s->args[k]);
        LType want = s->op == SC_select && k == 0 ? (LType){DT_BOOL, last.lanes} : last;
        if (!same_type(t, want))
            fail(v, s, "operand %d has another type than the last one", k + 1);
    }
    if (!(d->flags & class_of(last.dt)))
        fail(v, s, "`%s` is not defined on %s", d->name, dtype_name(last.dt));
    if (d->expand && last.lanes != 1)
        fail(v, s, "`%s` takes scalars: it is no instruction", d->name);
    if (s->op == SC_bitcast && dtype_size(last.dt) != dtype_size(s->type.dt))
        fail(v, s, "a bitcast keeps the size");
    if (s->op == SC_splat) {
        if (last.lanes != 1 || s->type.dt != last.dt)
            fail(v, s, "a splat takes a scalar of its type");
    } else if (!same_type(s->type, loop_let_type(v->f, s->op, s->args, s->n_args, s->type.dt))) {
        fail(v, s, "the type of the result does not follow from the operands");
    }
    define(v, s, s->result, s->type);
}

static void check_element(Verifier *v, const LoopStmt *s, BufId id, const Dim *subs, int rank) {
    const LoopBuf *b = loop_bufp(v->f, id);
    if (!b) {
        fail(v, s, "there is no such buffer");
        return;
    }
    if (b->rank != rank)
        fail(v, s, "%d subscripts for a buffer of rank %d", rank, b->rank);
    for (int k = 0; k < rank && !v->why; k++)
        check_dim(v, s, subs[k]);
    if (loop_storage(v->f, id)->kind == BUF_JOB && !v->in_job)
        fail(v, s, "a buffer of a job is used outside parallel loops");
}

static void check_writable(Verifier *v, const LoopStmt *s, BufId id) {
    const LoopBuf *b = loop_storage(v->f, id);
    if (b->kind == BUF_CONST || (b->kind == BUF_ARG && v->f->entry->args.p[b->arg].is_const))
        fail(v, s, "`%s` is read-only", b->name);
    else if (!b->written)
        fail(v, s, "`%s` is stored to but not marked as written", b->name);
}

static void check_access(Verifier *v, const LoopStmt *s) {
    check_element(v, s, s->buf, s->subs, s->rank);
    if (v->why)
        return;
    if (loop_bufp(v->f, s->buf)->dt != s->type.dt)
        fail(v, s, "the buffer holds another type");
    for (int k = 0; s->sub_vals && k < s->rank; k++) {
        if (!s->sub_vals[k].id)
            continue;
        LType t = use(v, s, s->sub_vals[k]);
        if (t.dt != DT_I64 || (t.lanes != 1 && t.lanes != s->type.lanes))
            fail(v, s, "the value of a subscript is one i64, or one a lane");
    }
    if (s->type.lanes > 1 && (s->lane_axis < 0 || s->lane_axis >= s->rank))
        fail(v, s, "the lanes run along no axis");
    if (s->active)
        check_dim(v, s, s->active);
    if (s->ahead)
        check_dim(v, s, s->ahead);
    if (s->status >= 0)
        check_status(v, s, s->status);
}

static void check_store(Verifier *v, const LoopStmt *s) {
    check_access(v, s);
    check_args(v, s, 1);
    if (v->why)
        return;
    if (!same_type(s->type, loop_type(v->f, s->args[0])))
        fail(v, s, "the type differs from the value's");
    check_writable(v, s, s->buf);
}

static void check_call(Verifier *v, const LoopStmt *s) {
    if (!s->callee)
        fail(v, s, "a call without a name");
    for (int k = 0; k < s->n_bufs && !v->why; k++) {
        const LoopBuf *b = loop_bufp(v->f, s->bufs[k]);
        check_element(v, s, s->bufs[k], s->buf_subs[k], b ? b->rank : 0);
    }
    check_args(v, s, s->n_args);
    if (s->result.id && s->type.lanes != 1)
        fail(v, s, "a call gives a scalar");
    if (s->result.id)
        define(v, s, s->result, s->type);
}

static void check_body(Verifier *v, const LoopBody *b, const LoopStmt *owner);

/* The last statement of a body with carried values, and of no other. */
static void check_yield(Verifier *v, const LoopStmt *owner) {
    const LoopBody *b = &owner->body;
    int is_while = owner->kind == LOOP_WHILE;
    const LoopStmt *y = b->stmts.n ? b->stmts.p[b->stmts.n - 1] : NULL;
    if (owner->n_carried + is_while == 0)
        return;
    if (!y || y->kind != LOOP_YIELD || y->n_args != owner->n_carried + is_while) {
        fail(v, owner, "the body does not end with a yield of its %d values",
             owner->n_carried + is_while);
        return;
    }
    if (is_while && !same_type(loop_type(v->f, y->args[0]), (LType){DT_BOOL, 1}))
        fail(v, y, "a while yields its condition first");
    for (int k = 0; k < owner->n_carried; k++)
        if (!same_type(loop_type(v->f, y->args[k + is_while]), owner->carried[k]))
            fail(v, y, "value %d has another type than the carried one", k + 1);
}

/* One range, and lanes of one loop: any start shifts them all. */
static void check_lines(Verifier *v, const LoopStmt *s) {
    bool fits = s->n_lo == 1 && s->n_hi == 1 && !s->parallel && !s->n_args && !s->need && loop_bufp(v->f, s->lines);
    for (int k = 0; k < s->n_carried; k++)
        fits = fits && s->carried[k].lanes == s->step && dtype_is_real(s->carried[k].dt);
    if (!fits)
        fail(v, s, "a loop by lines has one range, and sums of as many lanes as its step");
}

static bool below(Dim d, int64_t least) {
    int64_t k, n = dim_n_terms(d), rest = 0;
    if (dim_is_const(d, &k))
        return k < least;
    for (int t = 0; t < n; t++) { /* c - N: N is at least its own `least` */
        DimTerm x = dim_term(d, t);
        if (x.n_atoms > 1 || (x.n_atoms && (!x.atoms[0]->sym || x.coef > 0)))
            return false;
        rest += x.coef * (x.n_atoms ? x.atoms[0]->sym->least : 1);
    }
    return rest < least;
}

/* Is the index certainly below its `least` at first? Proofs count on `least`, and code divides an index without a sign.
 * What the bounds do not tell is found where the loop is interpreted. */
static bool begins_below(const LoopStmt *s) {
    for (int k = 0; k < s->n_lo; k++)
        if (!below(s->lo[k], s->index->least))
            return false;
    return true;
}

static void check_for_head(Verifier *v, const LoopStmt *s) {
    if (s->step < 1 || s->n_lo < 1 || s->n_hi < 1)
        fail(v, s, "a loop has bounds and a step of at least 1");
    for (int k = 0; k < s->n_lo; k++)
        check_dim(v, s, s->lo[k]);
    for (int k = 0; k < s->n_hi; k++)
        check_dim(v, s, s->hi[k]);
    if (!v->why && begins_below(s))
        fail(v, s, "the index begins below %" PRId64, s->index->least);
    if (s->need)
        check_dim(v, s, s->need);
    if (s->lines.id)
        check_lines(v, s);
    if (s->onto_if)
        check_dim(v, s, s->onto_if);
    if (s->onto && (!s->parallel || !s->onto_if))
        fail(v, s, "only a parallel loop has jobs that work on totals");
    if (s->parallel && (v->in_for || s->n_carried || s->n_args))
        fail(v, s, "a parallel loop stands in no other `for` and carries nothing");
    for (int k = 0; k < v->syms.n; k++)
        if (v->syms.p[k]->name == s->index->name)
            fail(v, s, "the index hides another `%s`", s->index->name);
}

static void check_loop(Verifier *v, const LoopStmt *s) {
    for (int k = 0; k < s->n_carried; k++)
        if (!same_type(use(v, s, s->init[k]), s->carried[k]))
            fail(v, s, "initial value %d has another type than the carried one", k + 1);
    if (s->kind == LOOP_FOR)
        check_for_head(v, s);
    if (s->n_args)
        check_condition(v, s);
    if (v->why)
        return;
    int live = v->live.n, syms = v->syms.n, outside = v->outside;
    bool in_job = v->in_job, in_for = v->in_for;
    v->in_for |= s->kind == LOOP_FOR;
    if (s->parallel) {
        v->outside = live;
        v->in_job = true;
    }
    if (s->kind == LOOP_FOR)
        vec_push(&v->m->ctx->perm, &v->syms, s->index);
    if (s->onto)
        vec_push(&v->m->ctx->perm, &v->syms, s->onto);
    for (int k = 0; k < s->n_carried; k++)
        define(v, s, s->phi[k], s->carried[k]);
    check_body(v, &s->body, s);
    v->in_job = in_job;
    if (s->parallel) {
        leave(v, live, syms + 1);
        check_body(v, &s->orelse, s);
    } else if (s->orelse.stmts.n) {
        fail(v, s, "only a parallel loop has a part in order");
    }
    leave(v, live, syms);
    v->outside = outside;
    v->in_for = in_for;
    for (int k = 0; k < s->n_carried; k++)
        define(v, s, s->out[k], s->carried[k]);
}

static void check_if(Verifier *v, const LoopStmt *s) {
    check_condition(v, s);
    int live = v->live.n, syms = v->syms.n;
    check_body(v, &s->body, s);
    leave(v, live, syms);
    check_body(v, &s->orelse, s);
    leave(v, live, syms);
}

static void check_stmt(Verifier *v, const LoopStmt *s, const LoopStmt *owner, bool last) {
    switch (s->kind) {
    case LOOP_FOR:
    case LOOP_WHILE:
        check_loop(v, s);
        break;
    case LOOP_IF:
        check_if(v, s);
        break;
    case LOOP_LET:
        check_let(v, s);
        break;
    case LOOP_CONST:
        define(v, s, s->result, s->type);
        break;
    case LOOP_INDEX:
        check_dim(v, s, s->rank == 1 ? s->subs[0] : NULL);
        if (s->type.dt != DT_I64)
            fail(v, s, "an index is i64");
        define(v, s, s->result, s->type);
        break;
    case LOOP_LOAD:
        check_access(v, s);
        define(v, s, s->result, s->type);
        break;
    case LOOP_STORE:
        check_store(v, s);
        break;
    case LOOP_CALL:
        check_call(v, s);
        break;
    case LOOP_POLL:
        if (!owner || owner->kind != LOOP_WHILE || v->in_for)
            fail(v, s, "a poll stands in a while, in no loop with an index");
        define(v, s, s->result, s->type);
        break;
    case LOOP_STATUS:
        check_condition(v, s);
        check_status(v, s, s->status);
        break;
    case LOOP_RETURN:
        check_args(v, s, 1);
        if (!v->why && (owner || !same_type(loop_type(v->f, s->args[0]), (LType){DT_I32, 1})))
            fail(v, s, "a return stands at the top level and takes one i32");
        break;
    case LOOP_YIELD:
        check_args(v, s, s->n_args);
        if (!last || !owner || owner->kind == LOOP_IF ||
            owner->n_carried + (owner->kind == LOOP_WHILE) == 0)
            fail(v, s, "a yield outside a loop that carries values, or before its end");
        break;
    }
}

static void check_body(Verifier *v, const LoopBody *b, const LoopStmt *owner) {
    v->depth += owner != NULL;
    for (int k = 0; k < b->stmts.n && !v->why; k++)
        check_stmt(v, b->stmts.p[k], owner, k == b->stmts.n - 1);
    if (owner && owner->kind != LOOP_IF && !v->why)
        check_yield(v, owner);
    v->depth -= owner != NULL;
}

/* ---- functions */

static void check_buf(Verifier *v, const LoopBuf *b) {
    for (int k = 0; k < b->rank; k++)
        check_dim(v, NULL, b->shape[k]);
    if (b->offset)
        check_dim(v, NULL, b->offset);
    if (b->dt == DT_NONE)
        fail(v, NULL, "buffer `%s` has no element type", b->name);
    if (b->kind == BUF_ALIAS && (!loop_bufp(v->f, b->alias) || b->alias.id >= b->id.id))
        fail(v, NULL, "`%s` is an alias of no buffer before it", b->name);
    if (b->kind == BUF_ARG &&
        (!v->f->entry || b->arg < 0 || b->arg >= v->f->entry->args.n || !b->offset))
        fail(v, NULL, "`%s` lies in no argument", b->name);
    for (int k = 0; b->kind == BUF_CONST && k < b->rank; k++)
        if (!dim_is_const(b->shape[k], NULL))
            fail(v, NULL, "the shape of the constant `%s` is not constant", b->name);
    for (int k = 0; k < v->f->bufs.n; k++)
        if (v->f->bufs.p[k] != b && v->f->bufs.p[k]->name == b->name)
            fail(v, NULL, "two buffers are called `%s`", b->name);
}

static void check_func(Verifier *v) {
    const LoopFunc *f = v->f;
    Arena *perm = &v->m->ctx->perm;
    v->place = ARENA_ARRAY(perm, int, f->vals.n);
    v->defined = ARENA_ARRAY(perm, bool, f->vals.n);
    for (int k = 0; k < f->dims.n; k++)
        vec_push(perm, &v->syms, f->dims.p[k]);
    for (int k = 0; k < f->bufs.n; k++)
        check_buf(v, f->bufs.p[k]);
    for (int k = 0; k < f->checks.n; k++) {
        check_dim(v, NULL, f->checks.p[k].cond);
        check_status(v, NULL, f->checks.p[k].status);
    }
    if (f->groups < 1)
        fail(v, NULL, "a function has at least one group");
    if (v->m->statuses.n) {
        check_status(v, NULL, f->status_null);
        check_status(v, NULL, f->status_dim);
        check_status(v, NULL, f->status_stop);
        check_status(v, NULL, f->status_overflow);
    }
    if (!v->why)
        check_body(v, &f->body, NULL);
}

const char *loop_verify(const LoopModule *m) {
    for (int k = 0; k < m->funcs.n; k++) {
        Verifier v = {.m = m, .f = m->funcs.p[k]};
        check_func(&v);
        if (v.why)
            return v.why;
    }
    return NULL;
}
