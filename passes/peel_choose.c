/* Which axis a function is peeled along.
 *
 * Candidates are the first axes of arguments. All large contractions must have the candidate as an
 * output that stands alone on one axis of everything with rows that they touch, so that each row is
 * computed on its own; and what is left for a row must be large too, with two more axes of unknown
 * extent. Then cells decide. A loop over K reads what has no axis K again for each k: a row must do
 * 16 products or more for each cell of that (and 8 for each cell that has an axis K). A loop over slices of 16 of N reads what has no axis N
 * again for each slice, and reads and writes sums over N. (Unknown extents count as 64.) Components
 * of a mixture are peeled: parameters K*D*D and points N*D, so slices of points would move
 * N/16*K*D*D, components K*N*D. */
#include "passes/peel_priv.h"

enum { UNKNOWN = 64, SLICE = 16, LARGE_AXES = 2, MOST_APART = 16, LEAST_REUSE = 16, LEAST_DENSE = 8 };

static double size_of(Dim d) {
    int64_t k;
    return dim_is_const(d, &k) ? (double)k : UNKNOWN;
}

static double points_of(const Nest *n) {
    double points = 1;
    for (int k = 0; k < n->n_box; k++)
        points *= size_of(n->box[k].extent);
    return points;
}

/* Contractions that count: their products are at least 1/16 of the largest one's. */
static bool *large_ones(Unit *u, const Func *f) {
    bool *large = ARENA_ARRAY(u->arena, bool, f->insts.n + 1);
    double most = 0;
    for (int k = 0; k < f->insts.n; k++) {
        const Inst *i = f->insts.p[k];
        large[k] = i->op == &op_nest && nest_is_contraction(u->ctx, i->attr);
        if (large[k] && points_of(i->attr) > most)
            most = points_of(i->attr);
    }
    for (int k = 0; k < f->insts.n; k++)
        large[k] = large[k] && points_of(f->insts.p[k]->attr) * MOST_APART >= most;
    return large;
}

/* ---- facts */

static int axis_of(const Peel *p, Type t) {
    int axis = NO_AXIS;
    for (int a = 0; a < t.rank; a++) {
        if (!dim_mentions(t.shape[a], p->sym))
            continue;
        if (axis != NO_AXIS || t.shape[a] != p->n)
            return MIXED;
        axis = a;
    }
    return axis;
}

/* What nests alone make and read may have its axes in another order; a sum and what it starts from
 * have the same. */
static void choose_front(Peel *p) {
    const Func *f = p->f;
    for (int v = 1; v < f->vals.n; v++) {
        const Inst *def = graph_def(f, (Val){(uint32_t)v});
        p->front[v] = p->axis[v] > 0 && def && def->op == &op_nest;
    }
    for (int k = 0; k < f->results.n; k++)
        p->front[f->results.p[k].val.id] = false;
    for (int k = 0; k < f->insts.n; k++)
        for (int j = 0; f->insts.p[k]->op != &op_nest && j < f->insts.p[k]->n_args; j++)
            p->front[f->insts.p[k]->args[j].id] = false;
    for (bool again = true; again;) {
        again = false;
        for (int k = 0; k < f->insts.n; k++) {
            const Inst *i = f->insts.p[k];
            int init = i->op == &op_nest ? ((const Nest *)i->attr)->init : -1;
            if (init < 0 || p->front[i->args[init].id] == p->front[i->first.id])
                continue;
            p->front[i->args[init].id] = p->front[i->first.id] = false;
            again = true;
        }
    }
}

DimSym peel_index(const Peel *p, const Nest *n) {
    DimSym row = NULL;
    for (int k = 0; k < n->n_box; k++) {
        if (!dim_mentions(n->box[k].extent, p->sym))
            continue;
        if (row || n->box[k].extent != p->n)
            return NULL;
        row = n->box[k].sym;
    }
    return row;
}

/* The index stands alone on `axis`, or nowhere. */
static bool map_fits(const Dim *map, int rank, int axis, DimSym row) {
    for (int a = 0; a < rank; a++)
        if (a == axis ? dim_as_symbol(map[a]) != row : dim_mentions(map[a], row))
            return false;
    return true;
}

static bool at_front(const Peel *p, Val v) { return p->axis[v.id] == 0 || p->front[v.id]; }

static bool body_fits(const Peel *p, const Inst *i, const Body *b, DimSym row) {
    for (int k = 0; k < b->n; k++) {
        const BodyInst *x = &b->insts[k];
        if (x->kind != BODY_READ)
            continue;
        int axis = p->axis[i->args[x->operand].id];
        if (axis == MIXED || !map_fits(x->map, x->rank, axis, row) ||
            (axis >= 0 && !at_front(p, i->args[x->operand])))
            return false;
    }
    return true;
}

static bool fits(const Peel *p, const Inst *i) {
    if (i->op != &op_nest)
        return false;
    const Nest *n = i->attr;
    DimSym row = peel_index(p, n);
    uint64_t out;
    if (!row || p->axis[i->first.id] < 0 || !at_front(p, i->first) ||
        !nest_outputs(p->u->ctx, n, &out))
        return false;
    for (int k = 0; k < n->n_guards; k++)
        if (dim_mentions(n->guards[k].form, row) || dim_mentions(n->guards[k].extent, p->sym))
            return false;
    if (n->init >= 0 && !at_front(p, i->args[n->init]))
        return false;
    return map_fits(n->map, n->rank, p->axis[i->first.id], row) && body_fits(p, i, &n->body, row) &&
           body_fits(p, i, &n->post, row);
}

void peel_facts(Peel *p) {
    Arena *arena = p->u->arena;
    const Func *f = p->f;
    p->axis = ARENA_ARRAY(arena, int, f->vals.n + 1);
    p->front = ARENA_ARRAY(arena, bool, f->vals.n + 1);
    p->by_row = ARENA_ARRAY(arena, bool, f->insts.n + 1);
    for (int v = 1; v < f->vals.n; v++)
        p->axis[v] = axis_of(p, f->vals.p[v].type);
    choose_front(p);
    for (int k = 0; k < f->insts.n; k++)
        p->by_row[k] = fits(p, f->insts.p[k]);
}

/* ---- bytes */

static double cells_of(Type t) {
    double cells = 1;
    for (int a = 0; a < t.rank; a++)
        cells *= size_of(t.shape[a]);
    return cells;
}

static bool has(Type t, DimSym s) {
    for (int a = 0; a < t.rank; a++)
        if (dim_mentions(t.shape[a], s))
            return true;
    return false;
}

static double rows_of(const Nest *n, DimSym s) {
    for (int k = 0; k < n->n_box; k++)
        if (dim_as_symbol(n->box[k].extent) == s)
            return size_of(n->box[k].extent);
    return 0;
}

/* Cells that the large contractions move again and again, in a loop over s; each: rows a step. */
static double moved(const Func *f, const bool *large, DimSym s, double each) {
    double cells = 0;
    for (int k = 0; k < f->insts.n; k++) {
        const Inst *i = f->insts.p[k];
        if (!large[k])
            continue;
        const Nest *n = i->attr;
        double steps = rows_of(n, s) / each;
        for (int j = 0; j < i->n_args; j++) {
            Type t = graph_type(f, i->args[j]);
            cells += has(t, s) ? 0 : steps * cells_of(t);
        }
        Type t = graph_type(f, i->first);
        cells += has(t, s) ? 0 : 2 * steps * cells_of(t);
    }
    return cells;
}

/* ---- the choice */

static double work_of(const Peel *p) {
    double work = 0;
    for (int k = 0; k < p->f->insts.n; k++)
        work += p->large[k] ? points_of(p->f->insts.p[k]->attr) : 0;
    return work;
}

/* What has a row's axis goes through memory once for every contraction: each cell of it must take some products. */
static bool is_dense(const Peel *p) {
    double cells = 0;
    for (int k = 0; k < p->f->insts.n; k++) {
        const Inst *i = p->f->insts.p[k];
        if (!p->large[k])
            continue;
        cells += cells_of(graph_type(p->f, i->first));
        for (int j = 0; j < i->n_args; j++)
            cells += p->axis[i->args[j].id] >= 0 ? cells_of(graph_type(p->f, i->args[j])) : 0;
    }
    return cells * LEAST_DENSE <= work_of(p);
}

static bool leaves_much(const Peel *p, const Nest *n) {
    int axes = 0;
    for (int k = 0; k < n->n_box; k++)
        axes += !dim_is_const(n->box[k].extent, NULL) && n->box[k].extent != p->n;
    return axes >= LARGE_AXES;
}

/* Every large contraction is computed row by row, and much is left for each row. */
static bool all_fit(Peel *p) {
    bool any = false;
    peel_facts(p);
    for (int k = 0; k < p->f->insts.n; k++) {
        const Inst *i = p->f->insts.p[k];
        if (!p->large[k])
            continue;
        any = true;
        if (!p->by_row[k] || !leaves_much(p, i->attr))
            return false;
    }
    return any;
}

/* Is there a contraction with an axis of unknown extent to peel and enough left? */
static bool any_deep(const Func *f, const bool *large) {
    for (int k = 0; k < f->insts.n; k++) {
        const Nest *n = large[k] ? f->insts.p[k]->attr : NULL;
        int axes = 0;
        for (int j = 0; n && j < n->n_box; j++)
            axes += !dim_is_const(n->box[j].extent, NULL);
        if (axes > LARGE_AXES)
            return true;
    }
    return false;
}

/* Might slices of the axis do? Then it is one index of each large contraction. */
static bool may_slice(const Peel *p) {
    for (int k = 0; k < p->f->insts.n; k++)
        if (p->large[k] && !peel_index(p, p->f->insts.p[k]->attr))
            return false;
    return true;
}

/* The least that slices of another axis move; -1: there is none. */
static double least_sliced(const Peel *p) {
    double least = -1;
    for (int k = 0; k < p->f->params.n; k++) {
        Type t = graph_type(p->f, p->f->params.p[k].val);
        DimSym s = t.rank ? dim_as_symbol(t.shape[0]) : NULL;
        Peel other = {
            .u = p->u, .f = p->f, .sym = s, .n = s ? t.shape[0] : NULL, .large = p->large};
        if (!s || s == p->sym || !may_slice(&other))
            continue;
        double cells = moved(p->f, p->large, s, SLICE);
        least = least < 0 || cells < least ? cells : least;
    }
    return least;
}

bool peel_choose(Unit *u, const Func *f, Peel *out) {
    double best = -1;
    bool *large = large_ones(u, f);
    for (int k = 0; any_deep(f, large) && k < f->params.n; k++) {
        Type t = graph_type(f, f->params.p[k].val);
        DimSym s = t.rank ? dim_as_symbol(t.shape[0]) : NULL;
        Peel p = {.u = u, .f = f, .sym = s, .n = s ? t.shape[0] : NULL, .large = large};
        if (!s || !all_fit(&p) || !is_dense(&p))
            continue;
        double cells = moved(f, large, s, 1), sliced = least_sliced(&p);
        if (cells * LEAST_REUSE <= work_of(&p) && (best < 0 || cells < best) &&
            (sliced < 0 || cells <= sliced)) {
            *out = p;
            best = cells;
        }
    }
    return best >= 0;
}
