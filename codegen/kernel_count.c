/* How much a kernel computes: its operations as a formula in the dims, and as numbers at given
 * ones, with the cycles that a simple model predicts. */
#include <string.h>

#include "codegen/emit.h"

/* What a kernel's loop does whatever the indices around it are. */
typedef struct Counted {
    const LoopStmt *s;
    double flops, cycles;
    bool at_most;
} Counted;

typedef struct Counter {
    Ctx *ctx;
    Arena *arena;
    const LoopFunc *f;
    const Target *target;
    const LoopStmt **def;   /* by value id: its statement */
    VEC(DimValue) env;      /* dims, and indices of the loops around */
    VEC(DimBinding) walked; /* formulas: indices of those around that are gone through */
    const KernelInfo *kernels;
    int n_kernels;
    KernelWork *work; /* by kernel */
    VEC(Counted) counted;
} Counter;

static void note_defs(Counter *c, const LoopBody *b) {
    for (int k = 0; k < b->stmts.n; k++) {
        c->def[b->stmts.p[k]->result.id] = b->stmts.p[k];
        note_defs(c, &b->stmts.p[k]->body);
        note_defs(c, &b->stmts.p[k]->orelse);
    }
}

static Counter counter_of(Ctx *ctx, Arena *arena, const Target *t, const LoopFunc *f) {
    Counter c = {.ctx = ctx, .arena = arena, .f = f, .target = t};
    c.def = ARENA_ARRAY(arena, const LoopStmt *, f->vals.n + 1);
    note_defs(&c, &f->body);
    c.def[0] = NULL;
    return c;
}

static double most(double a, double b) { return a > b ? a : b; }

/* ---- values that decide: conditions of loops and branches */

/* What a dim is here; an index of a loop around the kernel, which runs for many, counts as 0. */
static bool dim_here(void *counter, Dim d, int64_t *out) {
    Counter *c = counter;
    enum { MOST = 64 };
    DimSym syms[MOST];
    DimValue here[MOST];
    int n = dim_symbols(d, syms, MOST);
    for (int k = 0; k < n && k < MOST; k++) {
        here[k] = (DimValue){syms[k], 0};
        for (int j = c->env.n - 1; j >= 0; j--)
            if (c->env.p[j].sym == syms[k]) {
                here[k].value = c->env.p[j].value;
                break;
            }
    }
    return n <= MOST && dim_eval(d, here, n, out);
}

static bool value_of(Counter *c, LVal x, int64_t *out);

/* An element of a table that the program holds. */
static bool loaded(Counter *c, const LoopStmt *s, int64_t *out) {
    const LoopBuf *b = loop_bufp(c->f, s->buf);
    int64_t at = 0;
    while (b->kind == BUF_ALIAS && b->rank == 0)
        b = loop_bufp(c->f, b->alias);
    if (b->kind != BUF_CONST || !b->data || s->sub_vals || dtype_is_real(b->dt))
        return false;
    for (int a = 0; a < s->rank; a++) {
        int64_t extent, sub;
        if (!dim_is_const(b->shape[a], &extent) || !dim_here(c, s->subs[a], &sub) || sub < 0 ||
            sub >= extent)
            return false;
        at = at * extent + sub;
    }
    *out = b->data[at].i;
    return true;
}

static bool computed(Counter *c, const LoopStmt *s, int64_t *out) {
    ScalarValue v[3];
    memset(v, 0, sizeof v);
    LType t = loop_type(c->f, s->args[0]);
    if (dtype_is_real(t.dt) || dtype_is_real(s->type.dt) || s->n_args > 3 || t.lanes != 1 ||
        scalar_def(s->op)->result == SR_ATTR)
        return false;
    for (int k = 0; k < s->n_args; k++)
        if (!value_of(c, s->args[k], &v[k].i))
            return false;
    *out = scalar_eval(s->op, t.dt, s->type.dt, v).i;
    return true;
}

/* Of whole numbers and truth values that the dims and indices here decide. */
static bool value_of(Counter *c, LVal x, int64_t *out) {
    const LoopStmt *s = c->def[x.id];
    if (!s || s->type.lanes != 1)
        return false;
    switch (s->kind) {
    case LOOP_CONST:
        *out = s->k.i;
        return !dtype_is_real(s->type.dt);
    case LOOP_INDEX:
        return dim_here(c, s->subs[0], out);
    case LOOP_LOAD:
        return loaded(c, s, out);
    case LOOP_LET:
        return computed(c, s, out);
    default:
        return false;
    }
}

static bool value_mentions(Counter *c, LVal x, DimSym i) {
    const LoopStmt *s = c->def[x.id];
    if (!s)
        return false;
    for (int k = 0; (s->kind == LOOP_LOAD || s->kind == LOOP_INDEX) &&
                    k < (s->kind == LOOP_LOAD ? s->rank : 1);
         k++)
        if (dim_mentions(s->subs[k], i))
            return true;
    for (int k = 0; s->kind == LOOP_LET && k < s->n_args; k++)
        if (value_mentions(c, s->args[k], i))
            return true;
    return false;
}

/* Does how often anything in the body runs depend on the index? */
static bool mentions(Counter *c, const LoopBody *b, DimSym i) {
    for (int k = 0; k < b->stmts.n; k++) {
        const LoopStmt *x = b->stmts.p[k];
        if (loop_bounds_mention(x, i))
            return true;
        if ((x->kind == LOOP_FOR || x->kind == LOOP_IF) && x->n_args &&
            value_mentions(c, x->args[0], i))
            return true;
        if (mentions(c, &x->body, i) || mentions(c, &x->orelse, i))
            return true;
    }
    return false;
}

/* ---- one statement */

static int lanes_of(const LoopFunc *f, const LoopStmt *s) {
    return s->n_args ? loop_type(f, s->args[s->n_args - 1]).lanes : 1;
}

/* Operations of a value; *cycles: half of those that it keeps a port busy on its own. */
static int let_flops(Counter *c, const LoopStmt *s, double *cycles) {
    int lanes = lanes_of(c->f, s), per = 0, wide = c->target->vector_bytes >= 64 ? 16 : 8;
    *cycles = 0.5;
    switch (s->op) {
    case SC_fma:
        per = 2;
        break;
    case SC_add:
    case SC_sub:
    case SC_mul:
    case SC_max:
    case SC_min:
    case SC_neg:
        per = 1;
        break;
    case SC_div:
    case SC_sqrt:
        per = 1;
        *cycles = lanes > 1 ? wide : 4;
        break;
    case SC_lane_sum:
    case SC_lane_max:
    case SC_lane_min:
        per = 1;
        *cycles = 8;
        break;
    case SC_splat:
        *cycles = 0;
        break;
    default:
        break;
    }
    bool real = s->n_args && dtype_is_real(loop_type(c->f, s->args[s->n_args - 1]).dt);
    return real ? per * lanes : 0;
}

/* ---- numbers */

typedef struct Count {
    double flops;
    double ops, memory; /* cycles of the statements here, by the ports they take */
    double slots;       /* instructions */
    double inside;      /* cycles of the loops inside */
    bool at_most;       /* of conditions that nothing here decides the longer arm is counted */
} Count;

/* Two operations and two loads start in a cycle, six instructions in all. */
static double cycles_of(const Count *n, double least) {
    return most(most(n->ops, n->memory), most(n->slots / 6, least)) + n->inside;
}

static Count count_body(Counter *c, const LoopBody *b);

/* Two multiply-adds of a sum wait for each other. */
static double waiting(const LoopStmt *s) {
    enum { LATENCY = 4 };
    int links = 0;
    for (int k = 0; k < s->body.stmts.n; k++) {
        const LoopStmt *x = s->body.stmts.p[k];
        if (x->kind == LOOP_FOR)
            return 0;
        links += x->kind == LOOP_LET &&
                 (x->op == SC_fma || x->op == SC_add || x->op == SC_max || x->op == SC_min);
    }
    return s->n_carried ? LATENCY * (double)links / s->n_carried : 0;
}

/* The range of a loop here; false: it is not a number. */
static bool range_here(Counter *c, const LoopStmt *s, int64_t *lo, int64_t *hi) {
    bool known = loop_range(s, dim_here, c, lo, hi);
    *hi = known && *hi < *lo ? *lo : *hi;
    return known;
}

static void count_loop(Counter *c, const LoopStmt *s, Count *n) {
    int64_t lo = 0, hi = 1, yes = 1;
    if (s->n_args) {
        n->at_most |= !value_of(c, s->args[0], &yes);
        if (!yes)
            return;
    }
    bool known = range_here(c, s, &lo, &hi), walk = known && mentions(c, &s->body, s->index);
    int64_t trips = known ? (hi - lo + s->step - 1) / s->step : 1;
    n->at_most |= s->need != NULL;
    for (int64_t k = 0; k < (walk ? trips : trips > 0); k++) {
        double times = walk ? 1 : (double)trips;
        vec_push(c->arena, &c->env, (DimValue){s->index, lo + k * s->step});
        Count one = count_body(c, &s->body);
        c->env.n--;
        n->flops += times * one.flops;
        n->inside += times * (cycles_of(&one, waiting(s)) + 1);
        n->at_most |= one.at_most;
    }
}

static void count_if(Counter *c, const LoopStmt *s, Count *n) {
    int64_t yes = 0;
    bool known = value_of(c, s->args[0], &yes);
    Count first = {0}, second = {0};
    if (!known || yes)
        first = count_body(c, &s->body);
    if (!known || !yes)
        second = count_body(c, &s->orelse);
    const Count *more = cycles_of(&first, 0) > cycles_of(&second, 0) ? &first : &second;
    n->flops += most(first.flops, second.flops);
    n->inside += cycles_of(more, 0);
    n->at_most |= more->at_most || (!known && first.flops != second.flops);
}

static Count count_body(Counter *c, const LoopBody *b) {
    Count n = {0};
    for (int k = 0; k < b->stmts.n; k++) {
        const LoopStmt *s = b->stmts.p[k];
        bool gather = (s->kind == LOOP_LOAD || s->kind == LOOP_STORE) && s->type.lanes > 1 &&
                      (s->lane_axis != s->rank - 1 || s->lane_step != 1);
        double cycles;
        switch (s->kind) {
        case LOOP_FOR:
            count_loop(c, s, &n);
            break;
        case LOOP_LET:
            n.flops += let_flops(c, s, &cycles);
            n.ops += cycles;
            n.slots += cycles > 0;
            break;
        case LOOP_LOAD:
            n.memory += gather ? 0.75 * s->type.lanes : 0.5;
            n.slots++;
            break;
        case LOOP_STORE:
            n.memory += gather ? s->type.lanes : 1;
            n.slots++;
            break;
        case LOOP_IF:
            count_if(c, s, &n);
            break;
        case LOOP_CALL:
            n.inside += 20;
            break;
        default:
            break;
        }
    }
    return n;
}

/* ---- a formula */

static Dim formula_body(Counter *c, const LoopBody *b, bool *at_most);

/* Of indices that are gone through, their values are known. */
static bool constant(void *counter, Dim d, int64_t *out) {
    Counter *c = counter;
    Dim at = dim_subst(c->ctx, d, c->walked.p, c->walked.n);
    return at && dim_is_const(at, out);
}

static Dim plus(Counter *c, Dim a, Dim b) { return a && b ? dim_add(c->ctx, a, b) : NULL; }

static Dim formula_loop(Counter *c, const LoopStmt *s, bool *at_most) {
    int64_t lo = 0, hi = 0;
    bool known = loop_range(s, constant, c, &lo, &hi);
    Dim sum = dim_const(c->ctx, 0);
    *at_most |= s->n_args || s->need;
    if (known && mentions(c, &s->body, s->index)) {
        for (int64_t i = lo; sum && i < hi; i += s->step) {
            vec_push(c->arena, &c->walked, (DimBinding){s->index, dim_const(c->ctx, i)});
            sum = plus(c, sum, formula_body(c, &s->body, at_most));
            c->walked.n--;
        }
        return sum;
    }
    Dim one = formula_body(c, &s->body, at_most), times = NULL;
    if (one && dim_is_zero(one))
        return one;
    if (known)
        times = dim_const(c->ctx, hi > lo ? (hi - lo + s->step - 1) / s->step : 0);
    else if (s->n_lo == 1 && s->n_hi == 1)
        times =
            dim_ceildiv(c->ctx, dim_sub(c->ctx, s->hi[0], s->lo[0]), dim_const(c->ctx, s->step));
    return times && one ? dim_mul(c->ctx, times, one) : NULL;
}

/* The longer arm, where it is the longer one at all dims. */
static Dim formula_if(Counter *c, const LoopStmt *s, bool *at_most) {
    Dim yes = formula_body(c, &s->body, at_most), no = formula_body(c, &s->orelse, at_most);
    int64_t more;
    Dim apart = yes && no ? dim_sub(c->ctx, yes, no) : NULL;
    *at_most |= yes != no;
    if (!apart || yes == no || dim_is_zero(yes) || dim_is_zero(no))
        return !apart ? NULL : dim_is_zero(yes) ? no : yes;
    return dim_is_const(apart, &more) ? (more > 0 ? yes : no) : NULL;
}

static Dim formula_body(Counter *c, const LoopBody *b, bool *at_most) {
    Dim sum = dim_const(c->ctx, 0);
    double cycles;
    for (int k = 0; k < b->stmts.n && sum; k++) {
        const LoopStmt *s = b->stmts.p[k];
        if (s->kind == LOOP_FOR)
            sum = plus(c, sum, formula_loop(c, s, at_most));
        else if (s->kind == LOOP_IF)
            sum = plus(c, sum, formula_if(c, s, at_most));
        else if (s->kind == LOOP_LET)
            sum = plus(c, sum, dim_const(c->ctx, let_flops(c, s, &cycles)));
        else if (s->kind == LOOP_WHILE)
            sum = NULL;
    }
    return sum;
}

/* ---- one kernel, and all of a function */

void kernel_count(Ctx *ctx, const Target *t, const Kernel *k, KernelInfo *i) {
    enum { ROWS = 64, OTHER = 32 };
    Arena scratch;
    arena_init(&scratch, ctx);
    Counter c = counter_of(ctx, &scratch, t, k->f);
    LoopStmt *one[1] = {(LoopStmt *)(uintptr_t)k->s};
    LoopBody body = {.stmts = {one, 1, 1}};
    bool at_most = false;
    i->formula = formula_body(&c, &body, &at_most);
    for (int j = 0; j < k->f->dims.n; j++)
        vec_push(&scratch, &c.env, (DimValue){k->f->dims.p[j], j ? OTHER : ROWS});
    Count n = count_body(&c, &body);
    bool number = !i->formula || dim_is_const(i->formula, NULL);
    i->flops = n.flops;
    i->formula = number ? NULL : i->formula;
    i->at_most = number ? n.at_most : at_most;
    i->cycles = cycles_of(&n, 0);
    arena_free(&scratch);
}

static KernelWork *work_of(Counter *c, const LoopStmt *s) {
    for (int k = 0; k < c->n_kernels; k++)
        for (int j = 0; j < c->kernels[k].n_loops; j++)
            if (c->kernels[k].loops[j] == s)
                return &c->work[k];
    return NULL;
}

static bool same_everywhere(Counter *c, const LoopStmt *s) {
    LoopStmt *one[1] = {(LoopStmt *)(uintptr_t)s};
    LoopBody body = {.stmts = {one, 1, 1}};
    for (int k = c->f->dims.n; k < c->env.n; k++)
        if (mentions(c, &body, c->env.p[k].sym))
            return false;
    return true;
}

static Counted count_kernel(Counter *c, const LoopStmt *s) {
    for (int k = 0; k < c->counted.n; k++)
        if (c->counted.p[k].s == s)
            return c->counted.p[k];
    Count n = {0};
    count_loop(c, s, &n);
    Counted one = {s, n.flops, n.inside, n.at_most};
    if (same_everywhere(c, s))
        vec_push(c->arena, &c->counted, one);
    return one;
}

/* Not inside kernels: every one is met as often as it is called. */
static void walk(Counter *c, const LoopBody *b) {
    for (int k = 0; k < b->stmts.n; k++) {
        const LoopStmt *s = b->stmts.p[k];
        KernelWork *w = s->kind == LOOP_FOR ? work_of(c, s) : NULL;
        int64_t lo = 0, hi = 1, yes = 1;
        if (w) {
            Counted n = count_kernel(c, s);
            w->flops += n.flops;
            w->cycles += n.cycles;
            w->calls++;
            w->at_most |= n.at_most;
        } else if (s->kind == LOOP_FOR) {
            if ((s->n_args && value_of(c, s->args[0], &yes) && !yes) || !range_here(c, s, &lo, &hi))
                continue;
            for (int64_t i = lo; i < hi; i += s->step) {
                vec_push(c->arena, &c->env, (DimValue){s->index, i});
                walk(c, &s->body);
                walk(c, &s->orelse);
                c->env.n--;
            }
        } else if (s->kind == LOOP_IF) {
            bool known = value_of(c, s->args[0], &yes);
            if (!known || yes)
                walk(c, &s->body);
            if (!known || !yes)
                walk(c, &s->orelse);
        } else if (s->kind == LOOP_WHILE) {
            walk(c, &s->body);
        }
    }
}

void codegen_count(Ctx *ctx, const Target *t, const LoopFunc *f, const DimValue *dims,
                   const KernelInfo *kernels, int n, KernelWork *work) {
    Arena scratch;
    arena_init(&scratch, ctx);
    Counter c = counter_of(ctx, &scratch, t, f);
    c.kernels = kernels;
    c.n_kernels = n;
    c.work = work;
    for (int j = 0; j < f->dims.n; j++)
        vec_push(&scratch, &c.env, dims[j]);
    walk(&c, &f->body);
    arena_free(&scratch);
}
