/* The body of a region for one row.
 *
 * A slice pads to 16 rows, so a call with one row would do the work of 16. Where a region only
 * writes rows (inference: nothing is summed over rows), it gets a second body that computes a
 * single row; there the row axis is gone, and other axes take the vectors. Calls with fewer than
 * `below` rows run it row by row, in jobs; the others run the slices, if any do.
 *
 *   %y: f32[6, 28, 28, 16] = nest += %x[c, i + a - 2, j + b - 2, n] * %w[o, c, a, b]
 *       where 0 <= i + a - 2 < 28, ..
 * has, beside it,
 *   %p: f32[1, 32, 32] = nest [c, i + 2, j + 2] = %x[c, i, j]
 *   %y: f32[6, 28, 28] = nest += %p[c, i + a, j + b] * %w[o, c, a, b]
 *
 * Borders are copied with their zeros, because bounds that depend on the vector's index would keep
 * it from being one. Where another axis of a convolution fills the vectors better than the last (16
 * channels of 10 x 10 pixels), the result is computed with that axis last (batch_turn.c). */
#include "ir/build.h"
#include "passes/batch_priv.h"

enum { FAR = 16 }; /* second-level caches */

/* An operand with zeros around it: `first` of them (negative) before its cells. */
typedef struct Padded {
    Val of, with;
    int64_t first[MAX_RANK], extent[MAX_RANK];
} Padded;

typedef struct OneRow {
    Batch *b;
    Func *f;
    DimSym row0;
    Val *to;    /* by value id of the function */
    Val *back;  /* likewise: the value as the function has it, where to[] is turned */
    int *moved; /* likewise: 1 + the axis that stands last in to[]; 0: none */
    VEC(Padded) padded;
} OneRow;

static Ctx *ctx_of(const OneRow *o) { return o->b->r.u->ctx; }

static Type without_rows(const OneRow *o, Type t) {
    return type_new(ctx_of(o), t.dt, t.rank - 1, t.shape + 1);
}

static void params(OneRow *o, const Val *args, const BatchArg *kinds, int n) {
    for (int k = 0; k < n; k++) {
        Type t = graph_type(o->b->f, args[k]);
        Param p = {.name = o->b->f->vals.p[args[k].id].name,
                   .role = ROLE_LOCAL,
                   .tensor = -1,
                   .span = o->b->f->span};
        if (!p.name)
            p.name = str_fmt(ctx_of(o), "a%d", k);
        o->to[args[k].id] =
            graph_param(o->b->r.m, o->f, p, kinds[k] == BATCH_CUT ? without_rows(o, t) : t);
    }
}

/* ---- nests */

static Body row_body(const OneRow *o, const Inst *i, const Body *from, DimSym row) {
    if (!from->n)
        return *from;
    BodyInst *insts = arena_dup(o->b->r.u->arena, from->insts, sizeof *insts * (size_t)from->n);
    DimBinding at = {row, dim_of(ctx_of(o), o->row0)};
    for (int k = 0; k < from->n; k++) {
        BodyInst *x = &insts[k];
        if (x->kind == BODY_READ && batch_has_rows(o->b, i->args[x->operand])) {
            x->map++;
            x->rank--;
        } else if (x->kind == BODY_INDEX) {
            x->dim = dim_subst(ctx_of(o), x->dim, &at, 1);
        }
    }
    return (Body){from->n, insts};
}

/* The axis of a read of the nest that the guard keeps inside its operand, or -1. */
static int guarded_axis(const OneRow *o, const NestOp *n, const NestGuard *g, int *read) {
    for (int k = 0; k < n->nest.body.n; k++) {
        const BodyInst *x = &n->nest.body.insts[k];
        if (x->kind != BODY_READ || x->has_fill)
            continue;
        Type t = graph_type(o->f, n->args[x->operand]);
        for (int a = 0; a < x->rank; a++)
            if (x->map[a] == g->form && t.shape[a] == g->extent) {
                *read = k;
                return a;
            }
    }
    return -1;
}

/* Are all cells of `want` among those of p? */
static bool holds(const Padded *p, const Padded *want, int rank) {
    bool all = p->of.id == want->of.id;
    for (int a = 0; all && a < rank; a++)
        all = (p->extent[a] < 0 && want->extent[a] < 0) ||
              (p->extent[a] >= 0 && want->extent[a] >= 0 && p->first[a] <= want->first[a] &&
               p->first[a] + p->extent[a] >= want->first[a] + want->extent[a]);
    return all;
}

/* The copy; one that was made for another nest serves where it has all cells (the four gradients
 * of a convolution with stride 2 by its image: one copy). */
static const Padded *with_zeros(OneRow *o, const NestOp *n, Padded *want, int rank) {
    Ctx *ctx = ctx_of(o);
    for (int k = 0; k < o->padded.n; k++)
        if (holds(&o->padded.p[k], want, rank))
            return &o->padded.p[k];
    Type t = graph_type(o->f, want->of);
    NestMaker copy = nest_maker(o->b->r.m, o->f, NEST_STORE);
    Dim from[MAX_RANK], to[MAX_RANK], shape[MAX_RANK];
    for (int a = 0; a < rank; a++) {
        from[a] = maker_index(&copy, "i", t.shape[a]);
        to[a] = dim_addk(ctx, from[a], -want->first[a]);
        shape[a] = want->extent[a] < 0 ? t.shape[a] : dim_const(ctx, want->extent[a]);
    }
    want->with =
        maker_done(&copy, maker_read(&copy, want->of, from), rank, to, shape, n->span, n->name);
    vec_push(o->b->r.u->arena, &o->padded, *want);
    return &o->padded.p[o->padded.n - 1];
}

/* Cells behind a row of `extent` cells, so that vectors along the last axis of the result need no
 * mask to read it; 0 where these were more than a quarter. */
static int64_t lanes_past(const OneRow *o, const NestOp *n, Dim at, int64_t extent) {
    int lanes = target_lanes(o->b->r.u->target, o->b->f->real);
    DimSym along = n->nest.rank ? dim_as_symbol(n->nest.map[n->nest.rank - 1]) : NULL;
    Dim step, rest;
    int64_t coef, e;
    for (int k = 0; along && k < n->nest.n_box; k++) {
        if (n->nest.box[k].sym != along || !dim_is_const(n->nest.box[k].extent, &e) ||
            !dim_linear_in(ctx_of(o), at, along, &step, &rest) || !dim_is_const(step, &coef) ||
            coef != 1)
            continue;
        int64_t past = (lanes - e % lanes) % lanes;
        return 4 * past <= extent ? past : 0;
    }
    return 0;
}

/* A factor's operand with zeros around it, for all guards on its axes; false where there are none.
 */
static bool pad_one(OneRow *o, NestOp *n) {
    Ctx *ctx = ctx_of(o);
    Arena *arena = o->b->r.u->arena;
    int read = -1;
    for (int k = 0; read < 0 && k < n->nest.n_guards; k++)
        guarded_axis(o, n, &n->nest.guards[k], &read);
    if (read < 0)
        return false;
    BodyInst *insts = arena_dup(arena, n->nest.body.insts, sizeof *insts * (size_t)n->nest.body.n),
             *x = &insts[read];
    NestGuard *rest = ARENA_ARRAY(arena, NestGuard, n->nest.n_guards);
    Dim *map = arena_dup(arena, x->map, sizeof *map * (size_t)x->rank);
    Type t = graph_type(o->f, n->args[x->operand]);
    bool padded[MAX_RANK] = {false};
    int n_rest = 0;
    for (int k = 0; k < n->nest.n_guards; k++) {
        int other = read, axis = guarded_axis(o, n, &n->nest.guards[k], &other);
        if (axis >= 0 && other == read)
            padded[axis] = true;
        else
            rest[n_rest++] = n->nest.guards[k];
    }
    Padded want = {.of = n->args[x->operand]};
    for (int a = 0; a < x->rank; a++) {
        Dim lo, hi;
        int64_t first = 0, last = 0, extent;
        want.extent[a] = -1; /* as it is */
        if (!padded[a])
            continue;
        nest_span(ctx, &n->nest, x->map[a], &lo, &hi);
        if (!dim_is_const(lo, &first) || !dim_is_const(hi, &last) ||
            !dim_is_const(t.shape[a], &extent))
            return false;
        want.first[a] = first < 0 ? first : 0;
        want.extent[a] = (last < extent ? extent - 1 : last) - want.first[a] + 1;
        if (a == x->rank - 1)
            want.extent[a] += lanes_past(o, n, x->map[a], want.extent[a]);
    }
    const Padded *have = with_zeros(o, n, &want, x->rank);
    for (int a = 0; a < x->rank; a++)
        map[a] = dim_addk(ctx, map[a], -have->first[a]);
    Val with = have->with;
    Val *args = ARENA_ARRAY(arena, Val, n->n_args + 1);
    for (int k = 0; k < n->n_args; k++)
        args[k] = n->args[k];
    args[n->n_args] = with;
    x->operand = n->n_args;
    x->map = map;
    n->args = args;
    n->n_args++;
    n->nest.body.insts = insts;
    n->nest.guards = rest;
    n->nest.n_guards = n_rest;
    return true;
}

/* Terms of a product that a guard leaves out are 0 with zeros around the factor. */
static void pad(OneRow *o, NestOp *n) {
    const Body *b = &n->nest.body;
    if (n->nest.op != NEST_SUM || !nest_is_contraction(ctx_of(o), &n->nest) ||
        b->insts[b->n - 1].op != SC_mul)
        return;
    for (int k = 0; k < b->n - 1; k++)
        if (b->insts[k].kind != BODY_READ)
            return;
    while (n->nest.n_guards && pad_one(o, n))
        continue; /* the other factor may have guards too */
}

/* ---- what follows a sum */

/* Does the result of the body need nothing but instruction `cut` and constants? */
static bool only_through(const Body *b, int cut, int k) {
    if (k == cut || b->insts[k].kind == BODY_CONST)
        return true;
    if (k < cut || b->insts[k].kind != BODY_OP)
        return false;
    for (int j = 0; j < scalar_def(b->insts[k].op)->arity; j++)
        if (!only_through(b, cut, b->insts[k].args[j]))
            return false;
    return true;
}

static bool is_heavy(const Body *b, int from) {
    for (int k = from; k < b->n; k++)
        if (b->insts[k].kind == BODY_OP &&
            (scalar_def(b->insts[k].op)->expand || (scalar_def(b->insts[k].op)->flags & SF_LIBM)))
            return true;
    return false;
}

/* The instruction of a sum's post after which a function of one value is left that takes many
 * operations; -1: none. */
static int cut_of(OneRow *o, const NestOp *n) {
    const Body *post = &n->nest.post;
    if (!post->n || n->nest.op != NEST_SUM || !nest_is_contraction(ctx_of(o), &n->nest))
        return -1;
    for (int k = 0; k + 1 < post->n; k++)
        if (post->insts[k].kind != BODY_CONST && only_through(post, k, post->n - 1))
            return is_heavy(post, k + 1) ? k : -1;
    return -1;
}

/* f(y) for every cell of y, f: what stands after `cut` in the body. All cells are one axis then,
 * whichever took the lanes of the sum, and the sums' registers are free. */
static Val apply_rest(OneRow *o, const NestOp *n, const Body *b, int cut, Val y) {
    Type t = graph_type(o->f, y);
    NestMaker m = nest_maker(o->b->r.m, o->f, NEST_STORE);
    Dim at[MAX_RANK];
    int *to = ARENA_ARRAY(o->b->r.u->arena, int, b->n);
    maker_cells(&m, t, at);
    to[cut] = maker_read(&m, y, at);
    for (int k = 0; k < b->n; k++) {
        BodyInst x = b->insts[k];
        if (x.kind == BODY_CONST) {
            to[k] = body_import(&m.b, &(Body){1, &x}, NULL, 0, NULL);
        } else if (k > cut && x.kind == BODY_OP && only_through(b, cut, k)) {
            for (int j = 0; j < scalar_def(x.op)->arity; j++)
                x.args[j] = to[x.args[j]];
            vec_push(&ctx_of(o)->perm, &m.b.insts, x);
            to[k] = m.b.insts.n - 1;
        }
    }
    return maker_done(&m, to[b->n - 1], t.rank, at, t.shape, n->span, n->name);
}

static Val emit_row(OneRow *o, NestOp *n) {
    int cut = cut_of(o, n);
    Body post = n->nest.post;
    if (cut < 0) {
        *n = nestop_compact(ctx_of(o), n);
        return nestop_emit(o->b->r.m, o->f, n);
    }
    n->nest.post = cut || post.insts[0].kind != BODY_ACC ? (Body){cut + 1, post.insts} : (Body){0};
    n->type = type_with(n->type, post.insts[cut].dt);
    *n = nestop_compact(ctx_of(o), n);
    return apply_rest(o, n, &post, cut, nestop_emit(o->b->r.m, o->f, n));
}

/* The value with its axes in the order of the function. */
static Val in_order(OneRow *o, Val v) {
    if (!o->moved[v.id])
        return o->to[v.id];
    if (!o->back[v.id].id)
        o->back[v.id] =
            turn_back(o->b->r.m, o->f, o->to[v.id], o->moved[v.id] - 1, graph_def(o->b->f, v));
    return o->back[v.id];
}

/* Operands whose axes are in another order: read in that order, or (contractions, which want their
 * last axes) put back. The axis of the result that such an order of an operand suggests, or -1. */
static int read_turned(OneRow *o, const Inst *i, NestOp *n, bool keep) {
    int axis = -1;
    Body *bodies[2] = {&n->nest.body, &n->nest.post};
    for (int j = 0; j < 2; j++) {
        if (!bodies[j]->n)
            continue;
        BodyInst *insts =
            arena_dup(o->b->r.u->arena, bodies[j]->insts, sizeof *insts * (size_t)bodies[j]->n);
        for (int k = 0; k < bodies[j]->n && keep; k++) {
            int moved = insts[k].kind == BODY_READ ? o->moved[i->args[insts[k].operand].id] : 0;
            if (!moved)
                continue;
            for (int a = 0; a + 1 < n->nest.rank; a++)
                axis = dim_as_symbol(insts[k].map[moved - 1]) &&
                               n->nest.map[a] == insts[k].map[moved - 1]
                           ? a
                           : axis;
            insts[k].map = turn_dims(o->b->r.u->arena, insts[k].map, insts[k].rank, moved - 1);
        }
        bodies[j]->insts = insts;
    }
    Val *args = ARENA_ARRAY(o->b->r.u->arena, Val, n->n_args + 1);
    for (int k = 0; k < n->n_args; k++)
        args[k] = keep ? o->to[i->args[k].id] : in_order(o, i->args[k]);
    n->args = args;
    return axis;
}

static void row_nest(OneRow *o, const Inst *i) {
    Arena *arena = o->b->r.u->arena;
    NestOp n = nestop_of(o->b->f, i);
    DimSym row = batch_row_index(o->b, &n.nest);
    NestIndex *box = ARENA_ARRAY(arena, NestIndex, n.nest.n_box);
    int n_box = 0;
    for (int k = 0; k < n.nest.n_box; k++)
        if (n.nest.box[k].sym != row)
            box[n_box++] = n.nest.box[k];
    n.nest.box = box;
    n.nest.n_box = n_box;
    n.nest.body = row_body(o, i, &n.nest.body, row);
    n.nest.post = row_body(o, i, &n.nest.post, row);
    n.nest.map++;
    n.nest.rank--;
    n.type = without_rows(o, n.type);
    NestOp plain = n;
    batch_drop_mask(o->b, i, &plain);
    int factor, axis = turn_axis(o->b, &plain, &factor);
    n = axis >= 0 ? plain : n;
    bool contraction = nest_is_contraction(ctx_of(o), &n.nest);
    int like = read_turned(o, i, &n, axis >= 0 || !contraction);
    if (axis >= 0)
        turn_factor(o->b->r.m, o->f, &n, factor, n.nest.map[axis]);
    else if (!contraction && n.nest.init < 0)
        axis = like;
    if (axis >= 0 && axis < n.nest.rank - 1) {
        turn_result(ctx_of(o), &n, axis);
        o->moved[i->first.id] = axis + 1;
    } else if (axis < 0) {
        pad(o, &n);
    }
    o->to[i->first.id] = emit_row(o, &n);
}

static void row_view(OneRow *o, const Inst *i) {
    Val arg = in_order(o, i->args[0]);
    ReshapeAttr *r = ARENA_NEW(o->b->r.u->arena, ReshapeAttr);
    r->type = without_rows(o, graph_type(o->b->f, i->first));
    o->to[i->first.id] = graph_inst(o->b->r.m, o->f, i->op, &arg, 1, r, i->span, i->name)->first;
}

/* ---- is it worth it? */

/* Vectors of a row's work in the nest, its best axis taking the lanes: the output or reduced index
 * with the fewest lanes idle among those that step through some operand's or the result's last
 * axis. */
static double vectors(const Inst *i, int lanes) {
    const Nest *n = i->attr;
    double points = 1, best = 1;
    for (int k = 0; k < n->n_box; k++) {
        int64_t extent;
        if (!dim_is_const(n->box[k].extent, &extent))
            return -1;
        points *= (double)extent;
        bool last = n->rank && dim_mentions(n->map[n->rank - 1], n->box[k].sym);
        for (int j = 0; j < n->body.n; j++) {
            const BodyInst *x = &n->body.insts[j];
            last |=
                x->kind == BODY_READ && x->rank && dim_mentions(x->map[x->rank - 1], n->box[k].sym);
        }
        double used = (double)extent / (double)((extent + lanes - 1) / lanes);
        best = last && used > best ? used : best;
    }
    return points / best;
}

/* The same for all rows? */
static bool is_whole(const OneRow *o, const BatchAttr *a, Val v) {
    for (int k = 0; k < a->n_args; k++)
        if (o->f->params.p[k].val.id == v.id)
            return a->args[k] == BATCH_WHOLE;
    return false;
}

/* Bytes of a slice of the largest factor of a nest that has rows. */
static double factor_bytes(const OneRow *o, const BatchAttr *attr, const Inst *i) {
    double most = 0;
    for (int k = 0; k < i->n_args; k++) {
        if (is_whole(o, attr, i->args[k]))
            continue;
        Type t = graph_type(o->f, i->args[k]);
        double bytes = (double)attr->rows * (double)dtype_size(t.dt);
        int64_t extent;
        for (int a = 0; a < t.rank; a++)
            bytes *= dim_is_const(t.shape[a], &extent) ? (double)extent : 0;
        most = bytes > most ? bytes : most;
    }
    return most;
}

/* Rows up to which row by row is faster than a slice; BATCH_ALWAYS where it is for a whole slice.
 * What a loop costs beside its vectors counts half as much again. A contraction that reads its
 * factors from far behind the second-level cache, tap after tap, takes twice as long in slices:
 * what it reads of a single row in between stays there (gradient of a stem by its image, 64 x 112 x
 * 112 to 3 x 224 x 224: 0.55 of the time row by row). */
static int64_t rows_below(const OneRow *o, const BatchAttr *a) {
    int64_t rows = a->rows;
    int lanes = target_lanes(o->b->r.u->target, o->b->f->real);
    double one = 0, slice = 0;
    for (int k = 0; k < o->f->insts.n; k++) {
        const Inst *i = o->f->insts.p[k];
        if (i->op != &op_nest)
            continue;
        double v = vectors(i, lanes), points = v < 0 ? -1 : 1;
        const Nest *n = i->attr;
        for (int j = 0; j < n->n_box && points > 0; j++) {
            int64_t extent;
            points = dim_is_const(n->box[j].extent, &extent) ? points * (double)extent : -1;
        }
        if (points < 0)
            return 0;
        bool far = nest_is_contraction(ctx_of(o), n) &&
                   factor_bytes(o, a, i) > FAR * (double)o->b->r.u->target->l2_bytes;
        one += 1.5 * v;
        slice += (far ? 2 : 1) * points * (double)((rows + lanes - 1) / lanes);
    }
    double below = one > 0 ? slice / one : 0;
    return below >= (double)rows ? BATCH_ALWAYS : (int64_t)below;
}

bool batch_is_plain(const Batch *b, int region, const BatchAttr *a) {
    for (int k = 0; k < a->n_args; k++)
        if (a->args[k] == BATCH_SLICE)
            return false;
    for (int k = 0; k < a->n_results; k++)
        if (a->results[k] != BATCH_CAT)
            return false;
    for (int k = 0; k < b->f->insts.n; k++) {
        const Inst *i = b->f->insts.p[k];
        if (b->place[k] != OUTSIDE && b->region[k] == region &&
            (b->place[k] != BY_ROW || (i->op != &op_nest && i->op != &op_reshape)))
            return false;
    }
    return true;
}

void batch_one(Batch *b, int region, BatchAttr *a, const Val *args, const Val *results) {
    if (!batch_is_plain(b, region, a))
        return;
    const Func *body = graph_func(b->r.m, a->body);
    Func *f =
        graph_func_new(b->r.m, str_fmt(b->r.u->ctx, "%s.row%d", b->f->name, region), b->f->span);
    OneRow o = {.b = b,
                .f = f,
                .row0 = body->dims.p[body->dims.n - 2],
                .to = ARENA_ARRAY(b->r.u->arena, Val, b->f->vals.n + 1),
                .back = ARENA_ARRAY(b->r.u->arena, Val, b->f->vals.n + 1),
                .moved = ARENA_ARRAY(b->r.u->arena, int, b->f->vals.n + 1)};
    f->real = body->real;
    f->block = body->block;
    for (int k = 0; k < body->dims.n; k++)
        vec_push(b->r.u->arena, &f->dims, body->dims.p[k]);
    params(&o, args, a->args, a->n_args);
    for (int k = 0; k < b->f->insts.n; k++) {
        const Inst *i = b->f->insts.p[k];
        if (b->place[k] == OUTSIDE || b->region[k] != region)
            continue;
        if (i->op == &op_nest)
            row_nest(&o, i);
        else
            row_view(&o, i);
    }
    for (int k = 0; k < a->n_results; k++) {
        Result r = body->results.p[k];
        r.val = in_order(&o, results[k]);
        graph_result(b->r.m, f, r);
    }
    int64_t below = rows_below(&o, a);
    if (below < 2) {
        graph_func_remove(b->r.m, f->id);
        return;
    }
    a->one = f->id;
    a->below = below;
}
