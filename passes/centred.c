/* centred: sums of deviations from their mean are zero.
 *
 *   %s = nest [i] += %x[n, i] over i<C, n<N
 *   %m = nest [i] = %s[i] / f32({N}) over i<C
 *   %d = nest [n, i] = %x[n, i] - %m[i] over n<N, i<C
 *   %a = nest [i] += %c[i] * (%d[n, i] + %d[n, i]) over i<C, n<N     -- is 0
 *
 * The derivative of a variance by its mean is such a sum, so the mean of a batch norm gets nothing
 * of it: the way back needs one pass over the batch less. A cotangent of deviations that is the sum
 * of a part of this kind and of another one passes on the other one alone. It holds whatever x is,
 * so derivatives of what is left are derivatives of the whole.
 *
 * Seen through casts, signs, factors and divisors that do not depend on what is summed, sums of
 * such terms, and nests without a sum. Not seen: a mean of an expression that is no value of its
 * own, sums with guards. */
#include "passes/centred.h"

#include "ir/build.h"
#include "ir/op.h"

enum { DEEPEST = 4, MOST_INDICES = 64 }; /* nests that one looks through */

/* A nest, and the indices (a mask of its box) that are summed. */
typedef struct Scope {
    const Centred *c;
    Nest nest;
    const Val *args;
    uint64_t sum;
    bool *varies;      /* by body instruction: it depends on an index of `sum` */
    signed char *zero; /* by body instruction: its sum is 0; -1: not asked yet */
    int depth;
} Scope;

static bool mentions(const Scope *z, Dim form) {
    for (int j = 0; j < z->nest.n_box; j++)
        if (z->sum >> j & 1 && dim_mentions(form, z->nest.box[j].sym))
            return true;
    return false;
}

static Scope scope_of(const Centred *c, const Inst *def, uint64_t sum, int depth) {
    NestOp n = nestop_of(c->f, def);
    Scope z = {c, n.nest, n.args, sum, NULL, NULL, depth};
    z.varies = ARENA_ARRAY(c->arena, bool, n.nest.body.n + 1);
    z.zero = ARENA_ARRAY(c->arena, signed char, n.nest.body.n + 1);
    for (int k = 0; k < n.nest.body.n; k++) {
        const BodyInst *i = &n.nest.body.insts[k];
        z.zero[k] = -1;
        for (int a = 0; i->kind == BODY_READ && a < i->rank; a++)
            z.varies[k] |= mentions(&z, i->map[a]);
        for (int a = 0; i->kind == BODY_OP && a < scalar_def(i->op)->arity; a++)
            z.varies[k] |= z.varies[i->args[a]];
        if (i->kind == BODY_INDEX)
            z.varies[k] |= mentions(&z, i->dim);
    }
    return z;
}

static bool is_op(const BodyInst *i, ScalarOp op) { return i->kind == BODY_OP && i->op == op; }

static int behind_casts(const Body *b, int k) {
    while (is_op(&b->insts[k], SC_cast) && dtype_is_real(b->insts[b->insts[k].args[0]].dt))
        k = b->insts[k].args[0];
    return k;
}

/* The nest that computes v, if that may be looked through: no guards, nothing behind its sums. */
static const Inst *open_nest(const Centred *c, Val v) {
    const Inst *def = (int)v.id < c->n_held && c->held[v.id] ? NULL : graph_def(c->f, v);
    if (!def || def->op != &op_nest)
        return NULL;
    const Nest *n = def->attr;
    bool sums = n->op == NEST_SUM || n->op == NEST_STORE;
    return sums && !n->n_guards && n->post.n == 0 && n->n_box <= MOST_INDICES && nest_plain_map(n)
               ? def
               : NULL;
}

/* ---- means */

/* s = sum of x over axes on which `z` has indices that it sums, each from end to end; the other
 * axes at the places where z reads them. at[j]: the place of axis j of s. The number of elements
 * that were summed, or NULL. */
static Dim summed(const Scope *z, const BodyInst *x, Val s, const Dim *at) {
    const Centred *c = z->c;
    const Inst *def = open_nest(c, s);
    const Nest *n = def ? def->attr : NULL;
    if (!n || n->op != NEST_SUM || n->init >= 0)
        return NULL;
    const BodyInst *r = &n->body.insts[behind_casts(&n->body, n->body.n - 1)];
    if (r->kind != BODY_READ || r->has_fill || def->args[r->operand].id != z->args[x->operand].id)
        return NULL;
    Dim count = dim_const(c->m->ctx, 1);
    uint64_t seen = 0;
    for (int a = 0; a < r->rank; a++) {
        int j = nest_box_of(n, dim_as_symbol(r->map[a])), mine = nest_box_of(&z->nest, dim_as_symbol(x->map[a])), axis = -1;
        if (j < 0 || seen >> j & 1)
            return NULL;
        seen |= (uint64_t)1 << j;
        for (int k = 0; k < n->rank; k++)
            axis = n->map[k] == r->map[a] ? k : axis;
        if (axis >= 0 && at[axis] != x->map[a])
            return NULL;
        if (axis >= 0)
            continue;
        if (mine < 0 || !(z->sum >> mine & 1) || z->nest.box[mine].extent != n->box[j].extent)
            return NULL;
        for (int b = 0; b < a; b++)
            if (x->map[b] == x->map[a])
                return NULL;
        count = dim_mul(c->m->ctx, count, n->box[j].extent);
    }
    uint64_t all = n->n_box == 64 ? ~(uint64_t)0 : ((uint64_t)1 << n->n_box) - 1;
    return seen == all ? count : NULL;
}

static bool is_count(const Body *b, int k, Dim count) {
    while (is_op(&b->insts[k], SC_cast))
        k = b->insts[k].args[0];
    const BodyInst *i = &b->insts[k];
    int64_t number;
    if (i->kind == BODY_DIM)
        return i->dim == count;
    return i->kind == BODY_CONST && dim_is_const(count, &number) &&
           (dtype_is_real(i->dt) ? i->k.f == (double)number : i->k.i == number);
}

/* Is instruction k of a body, whose nest's indices stand at the places `at` of z, the mean of what
 * z reads as x? */
static bool is_mean(const Scope *z, const BodyInst *x, const Nest *n, const Val *args, int k,
                    const DimBinding *at, int depth) {
    Ctx *ctx = z->c->m->ctx;
    k = behind_casts(&n->body, k);
    const BodyInst *i = &n->body.insts[k];
    bool is_quotient = is_op(i, SC_div);
    const BodyInst *r = is_quotient ? &n->body.insts[behind_casts(&n->body, i->args[0])] : i;
    if (r->kind != BODY_READ || r->has_fill)
        return false;
    Dim *place = ARENA_ARRAY(z->c->arena, Dim, r->rank + 1);
    for (int a = 0; a < r->rank; a++) {
        place[a] = at ? dim_subst(ctx, r->map[a], at, n->n_box) : r->map[a];
        if (!place[a])
            return false;
    }
    if (is_quotient) {
        Dim count = summed(z, x, args[r->operand], place);
        return count && is_count(&n->body, i->args[1], count);
    }
    const Inst *def = open_nest(z->c, args[r->operand]);
    const Nest *p = def ? def->attr : NULL;
    if (!p || depth == DEEPEST || p->init >= 0 || p->n_box != p->rank)
        return false;
    DimBinding *to = ARENA_ARRAY(z->c->arena, DimBinding, p->n_box + 1);
    for (int a = 0; a < p->rank; a++)
        to[a] = (DimBinding){dim_as_symbol(p->map[a]), place[a]};
    return is_mean(z, x, p, def->args, p->body.n - 1, to, depth + 1);
}

static bool is_deviation(const Scope *z, const BodyInst *i) {
    const Body *b = &z->nest.body;
    const BodyInst *x = &b->insts[behind_casts(b, i->args[0])];
    return x->kind == BODY_READ && !x->has_fill && !z->varies[i->args[1]] &&
           is_mean(z, x, &z->nest, z->args, i->args[1], NULL, 0);
}

/* ---- sums that are zero */

static bool is_zero(Scope *z, int k);

/* The box indices of an elementwise nest that follow indices which z sums, each from end to end; 0:
 * others do too. */
static uint64_t followed(const Scope *z, const Nest *p, const BodyInst *read) {
    uint64_t mask = 0, seen = 0;
    for (int a = 0; a < read->rank; a++) {
        int mine = nest_box_of(&z->nest, dim_as_symbol(read->map[a])), its = nest_box_of(p, dim_as_symbol(p->map[a]));
        if (mine < 0 || !(z->sum >> mine & 1)) {
            if (mentions(z, read->map[a]))
                return 0;
            continue;
        }
        if (seen >> mine & 1 || z->nest.box[mine].extent != p->box[its].extent)
            return 0;
        seen |= (uint64_t)1 << mine;
        mask |= (uint64_t)1 << its;
    }
    return mask;
}

/* What the nest def adds to what was before, summed as z sums what it reads. */
static bool link_is_zero(const Scope *z, const Inst *def, const BodyInst *read) {
    const Nest *p = def->attr;
    uint64_t sum = z->depth < DEEPEST && p->n_box == p->rank ? followed(z, p, read) : 0;
    if (!sum)
        return false;
    Scope inner = scope_of(z->c, def, sum, z->depth + 1);
    return is_zero(&inner, p->body.n - 1);
}

static bool value_is_zero(const Scope *z, Val v, const BodyInst *read) {
    for (;;) {
        const Inst *def = open_nest(z->c, v);
        if (!def || !link_is_zero(z, def, read))
            return false;
        const Nest *p = def->attr;
        if (p->init < 0)
            return true;
        v = def->args[p->init];
    }
}

static bool find_zero(Scope *z, const BodyInst *i) {
    if (i->kind == BODY_READ)
        return !i->has_fill && value_is_zero(z, z->args[i->operand], i);
    if (i->kind != BODY_OP || !dtype_is_real(i->dt))
        return false;
    switch (i->op) {
    case SC_add:
        return is_zero(z, i->args[0]) && is_zero(z, i->args[1]);
    case SC_sub:
        return is_deviation(z, i) || (is_zero(z, i->args[0]) && is_zero(z, i->args[1]));
    case SC_neg:
    case SC_cast:
        return is_zero(z, i->args[0]);
    case SC_mul:
        return (!z->varies[i->args[1]] && is_zero(z, i->args[0])) ||
               (!z->varies[i->args[0]] && is_zero(z, i->args[1]));
    case SC_div:
        return !z->varies[i->args[1]] && is_zero(z, i->args[0]);
    default:
        return false;
    }
}

static bool is_zero(Scope *z, int k) {
    if (z->zero[k] < 0)
        z->zero[k] = z->varies[k] && find_zero(z, &z->nest.body.insts[k]);
    return z->zero[k];
}

/* ---- cotangents */

/* The read that the body is, up to a factor that does not vary; -1: it is more. */
static int scaled_read(const Scope *z) {
    const Body *b = &z->nest.body;
    int k = b->n - 1;
    while (b->insts[k].kind == BODY_OP) {
        const BodyInst *i = &b->insts[k];
        if (i->op == SC_neg || i->op == SC_cast)
            k = i->args[0];
        else if (i->op == SC_mul && z->varies[i->args[0]] != z->varies[i->args[1]])
            k = i->args[z->varies[i->args[1]]];
        else if (i->op == SC_div && !z->varies[i->args[1]])
            k = i->args[0];
        else
            return -1;
    }
    return b->insts[k].kind == BODY_READ && !b->insts[k].has_fill ? k : -1;
}

/* What is read there, without its last parts whose sum is zero. */
static Val rest_of(const Scope *z, int read) {
    const BodyInst *r = &z->nest.body.insts[read];
    Val v = z->args[r->operand];
    for (;;) {
        const Inst *def = open_nest(z->c, v);
        const Nest *p = def ? def->attr : NULL;
        if (!p || p->init < 0 || !link_is_zero(z, def, r))
            return v;
        v = def->args[p->init];
    }
}

/* A sum whose terms vary, all of whose points are visited. */
static bool is_full_sum(const Centred *c, const Inst *def, uint64_t *sum) {
    const Nest *n = def->attr;
    uint64_t out;
    if (n->op != NEST_SUM || n->n_guards || n->post.n || n->n_box >= MOST_INDICES ||
        !nest_outputs(c->m->ctx, n, &out))
        return false;
    *sum = ~out & (((uint64_t)1 << n->n_box) - 1);
    return *sum != 0;
}

static Val again(const Centred *c, const Inst *def, int operand, Val arg, Val init) {
    NestOp n = nestop_of(c->f, def);
    Val *args = ARENA_ARRAY(c->arena, Val, n.n_args + 1);
    for (int k = 0; k < n.n_args; k++)
        args[k] = n.args[k];
    n.args = args;
    if (operand >= 0)
        args[operand] = arg;
    if (n.nest.init >= 0 && init.id)
        args[n.nest.init] = init;
    else
        n.nest.init = -1;
    n = nestop_compact(c->m->ctx, &n);
    return nestop_emit(c->m, c->f, &n);
}

Val centred_rest(const Centred *c, Val d, Val acc, int begin) {
    if (!d.id || d.id == acc.id || c->f->vals.p[d.id].inst < begin)
        return d;
    const Inst *def = graph_def(c->f, d);
    if (!def || def->op != &op_nest)
        return d;
    const Nest *n = def->attr;
    Val init = n->init >= 0 ? def->args[n->init] : (Val){0},
        before = init.id ? centred_rest(c, init, acc, begin) : init;
    uint64_t sum;
    if (!is_full_sum(c, def, &sum))
        return before.id == init.id ? d : again(c, def, -1, init, before);
    Scope z = scope_of(c, def, sum, 0);
    if (is_zero(&z, n->body.n - 1))
        return before;
    int read = scaled_read(&z), operand = read < 0 ? -1 : n->body.insts[read].operand;
    for (int k = 0; operand >= 0 && k < n->body.n; k++) /* one read of it alone */
        if (k != read && n->body.insts[k].kind == BODY_READ && n->body.insts[k].operand == operand)
            operand = -1;
    Val rest = operand < 0 ? init : rest_of(&z, read);
    if (operand >= 0 && rest.id == def->args[operand].id)
        operand = -1;
    return operand < 0 && before.id == init.id ? d : again(c, def, operand, rest, before);
}
