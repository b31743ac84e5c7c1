/* symmetric: of a sum that equals its own transpose, one triangle is computed.
 *
 *   %t: f64[N, D] = nest [n, b] = %x[n, b] * %w[n] over n<N, b<D
 *   %h: f64[D, D] = nest [a, b] += %t[n, b] * %x[n, a] over n<N, a<D, b<D
 * becomes, %t staying as it is,
 *   %l: f64[D, D] = nest [a, b] += %t[n, b] * %x[n, a] over n<N, a<D, b<D needs a - b
 *   %h: f64[D, D] = nest [a, b] = select({b} <= {a}, %l[a, b], %l[b, a]) over a<D, b<D
 *
 * The terms are products, seen through the elementwise nests that compute their factors. A factor
 * that depends on neither of two indices is of no interest; the reads that are left must be the
 * same set after the two are exchanged. Loops may still compute cells that are not needed where
 * whole blocks are faster. Sums over a constant extent are left alone: there the copy counts. */
#include "ir/build.h"
#include "passes/rewrite.h"

enum { MOST_READS = 8, MOST_DEPTH = 4 };

typedef struct Leaf {
    Val of;
    int rank;
    const Dim *map;
} Leaf;

/* The reads in the factors of a term that mention a or b; all_zero: the term is 0. */
typedef struct Factors {
    bool known, all_zero;
    int n;
    Leaf p[MOST_READS];
} Factors;

typedef struct Symmetry {
    Ctx *ctx;
    const Func *f;
    DimSym a, b;
} Symmetry;

/* A body whose indices stand for dims of the nest at hand. */
typedef struct Inner {
    const Body *body;
    const Val *args;
    const DimBinding *bind;
    int n_bind, depth;
} Inner;

static const Factors unknown = {0};

static bool mentions(const Symmetry *s, Dim d) {
    return dim_mentions(d, s->a) || dim_mentions(d, s->b);
}

static bool same_leaf(const Leaf *x, const Leaf *y) {
    bool same = x->of.id == y->of.id && x->rank == y->rank;
    for (int k = 0; same && k < x->rank; k++)
        same = x->map[k] == y->map[k];
    return same;
}

/* As sets in which an element may stand twice. */
static bool same_factors(const Factors *x, const Factors *y) {
    bool used[MOST_READS] = {false};
    int found = 0;
    for (int k = 0; k < x->n; k++)
        for (int j = 0; j < y->n; j++)
            if (!used[j] && same_leaf(&x->p[k], &y->p[j])) {
                used[j] = true;
                found++;
                break;
            }
    return x->n == y->n && found == x->n;
}

static Factors product(Factors x, const Factors *y) {
    if (!x.known || !y->known || x.n + y->n > MOST_READS)
        return unknown;
    for (int k = 0; k < y->n; k++)
        x.p[x.n++] = y->p[k];
    x.all_zero = x.all_zero || y->all_zero;
    return x;
}

/* Of x + y, or of one of them: what both have. */
static Factors either(const Factors *x, const Factors *y) {
    if (!x->known || !y->known)
        return unknown;
    if (x->all_zero || y->all_zero)
        return x->all_zero ? *y : *x;
    return same_factors(x, y) ? *x : unknown;
}

static Factors factors_of(const Symmetry *s, const Inner *in, int k);

/* What the nest that computes v element by element makes of it. */
static Factors through(const Symmetry *s, const Leaf *l, int depth) {
    const Inst *def = graph_def(s->f, l->of);
    if (!def || def->op != &op_nest || depth == MOST_DEPTH)
        return unknown;
    NestOp n = nestop_of(s->f, def);
    if (!nest_elementwise(s->ctx, &n))
        return unknown;
    DimBinding *bind = ARENA_ARRAY(&s->ctx->perm, DimBinding, l->rank + 1);
    for (int a = 0; a < l->rank; a++)
        bind[a] = (DimBinding){dim_as_symbol(n.nest.map[a]), l->map[a]};
    Inner in = {&n.nest.body, n.args, bind, l->rank, depth + 1};
    return factors_of(s, &in, n.nest.body.n - 1);
}

static Factors of_read(const Symmetry *s, const Inner *in, const BodyInst *x) {
    Factors r = {.known = true};
    Dim *map = ARENA_ARRAY(&s->ctx->perm, Dim, x->rank + 1);
    bool any = false;
    for (int a = 0; a < x->rank; a++) {
        map[a] = in->n_bind ? dim_subst(s->ctx, x->map[a], in->bind, in->n_bind) : x->map[a];
        if (!map[a])
            return unknown;
        any = any || mentions(s, map[a]);
    }
    if (!any || x->has_fill)
        return any ? unknown : r;
    r.p[r.n++] = (Leaf){in->args[x->operand], x->rank, map};
    Factors inside = through(s, &r.p[0], in->depth);
    return inside.known ? inside : r;
}

static bool is_free(const Factors *x) { return x->known && !x->n; }

static Factors of_op(const Symmetry *s, const Inner *in, const BodyInst *x) {
    Factors p[3] = {unknown, unknown, unknown};
    int arity = scalar_def(x->op)->arity;
    bool free = true;
    for (int k = 0; k < arity; k++) {
        p[k] = factors_of(s, in, x->args[k]);
        free = free && is_free(&p[k]);
    }
    Factors both;
    switch (x->op) {
    case SC_mul:
        return product(p[0], &p[1]);
    case SC_fma:
        both = product(p[0], &p[1]);
        return either(&both, &p[2]);
    case SC_neg:
        return p[0];
    case SC_div:
        return is_free(&p[1]) ? p[0] : unknown;
    case SC_add:
    case SC_sub:
        return either(&p[0], &p[1]);
    case SC_select:
        return is_free(&p[0]) ? either(&p[1], &p[2]) : unknown;
    default:
        return (Factors){.known = free};
    }
}

static Factors factors_of(const Symmetry *s, const Inner *in, int k) {
    const BodyInst *x = &in->body->insts[k];
    switch (x->kind) {
    case BODY_READ:
        return of_read(s, in, x);
    case BODY_OP:
        return of_op(s, in, x);
    case BODY_INDEX: {
        Dim d = in->n_bind ? dim_subst(s->ctx, x->dim, in->bind, in->n_bind) : x->dim;
        return (Factors){.known = d && !mentions(s, d)};
    }
    case BODY_CONST:
        return (Factors){.known = true,
                         .all_zero = dtype_is_real(x->dt) ? x->k.f == 0 : x->k.i == 0};
    case BODY_DIM:
        return (Factors){.known = true};
    case BODY_ACC:
        break;
    }
    return unknown;
}

/* Does the body stay what it is when the two indices are exchanged? */
static bool is_symmetric(const Symmetry *s, const NestOp *n) {
    Inner in = {&n->nest.body, n->args, NULL, 0, 0};
    Factors x = factors_of(s, &in, n->nest.body.n - 1), y = x;
    DimBinding exchange[2] = {{s->a, dim_of(s->ctx, s->b)}, {s->b, dim_of(s->ctx, s->a)}};
    for (int k = 0; k < y.n; k++) {
        Dim *map = ARENA_ARRAY(&s->ctx->perm, Dim, y.p[k].rank + 1);
        for (int a = 0; a < y.p[k].rank; a++)
            if (!(map[a] = dim_subst(s->ctx, y.p[k].map[a], exchange, 2)))
                return false;
        y.p[k].map = map;
    }
    return x.known && x.n > 0 && same_factors(&x, &y);
}

/* A sum into cells of its own that are all of the result, over an extent that is known at run time
 * only. */
static bool may_halve(Ctx *ctx, const NestOp *n) {
    const Nest *x = &n->nest;
    uint64_t out;
    bool open = false;
    if (x->op != NEST_SUM || x->init >= 0 || x->post.n || x->n_guards || x->need ||
        !nest_plain_map(x) || !nest_covers(ctx, n) || !nest_outputs(ctx, x, &out))
        return false;
    for (int k = 0; k < x->n_box; k++)
        open = open || (!(out >> k & 1) && !dim_is_const(x->box[k].extent, NULL));
    return open;
}

/* Two axes of the result, a before b; false: there are none. */
static bool find_axes(const Rewrite *r, const NestOp *n, int *a, int *b) {
    Ctx *ctx = r->u->ctx;
    int64_t extent;
    if (!may_halve(ctx, n))
        return false;
    for (*a = 0; *a < n->nest.rank; ++*a)
        for (*b = *a + 1; *b < n->nest.rank; ++*b) {
            Symmetry s = {ctx, r->from, dim_as_symbol(n->nest.map[*a]),
                          dim_as_symbol(n->nest.map[*b])};
            bool one = dim_is_const(n->type.shape[*a], &extent) && extent < 2;
            if (n->type.shape[*a] == n->type.shape[*b] && !one && is_symmetric(&s, n))
                return true;
        }
    return false;
}

static Val mirror(Rewrite *r, const NestOp *n, Val half, int a, int b) {
    NestMaker m = nest_maker(r->m, r->to, NEST_STORE);
    Dim at[MAX_RANK], other[MAX_RANK];
    maker_cells(&m, n->type, at);
    for (int k = 0; k < n->type.rank; k++)
        other[k] = at[k == a ? b : k == b ? a : k];
    int lower = body_op2(&m.b, SC_le, body_index(&m.b, at[b]), body_index(&m.b, at[a]));
    int cell =
        body_op3(&m.b, SC_select, lower, maker_read(&m, half, at), maker_read(&m, half, other));
    return maker_done(&m, cell, n->type.rank, at, n->type.shape, n->span, n->name);
}

static void symmetric_func(Unit *u, Func *f) {
    Rewrite r = rewrite_begin(u, f);
    for (int k = 0; k < f->insts.n; k++) {
        const Inst *i = f->insts.p[k];
        int a = 0, b = 0;
        NestOp old;
        if (i->op == &op_nest)
            old = nestop_of(f, i);
        if (i->op != &op_nest || !find_axes(&r, &old, &a, &b)) {
            rewrite_copy(&r, i);
            continue;
        }
        NestOp n = rewrite_nestop(&r, i);
        n.nest.need = dim_sub(u->ctx, n.nest.map[a], n.nest.map[b]);
        r.map.to[i->first.id] = mirror(&r, &n, nestop_emit(r.m, r.to, &n), a, b);
    }
    rewrite_end(&r);
}

void pass_symmetric(Unit *u) { each_func(u, symmetric_func); }
