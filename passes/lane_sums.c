#include "passes/lane_sums.h"

#include <string.h>

enum { FEWEST = 5, MOST_LANES = 16, MOST_RUN = 64, MOST_NODES = 12 };

typedef struct Sums {
    Ctx *ctx;
    Arena *arena, *scratch;
    LoopFunc *f;
    const Target *target;
    LoopCursor cur;
    int *uses;       /* by value id */
    LoopStmt **defs; /* by value id: its statement in the body at hand, or NULL */
} Sums;

/* One cell: the store of something computed from the sum of a vector's lanes, and what this takes:
 * operations after their operands, the sum, and loads of this cell or of one that belongs to it. */
typedef struct Cell {
    LoopStmt *store, *sum, *nodes[MOST_NODES];
    int n;
} Cell;

typedef struct Run {
    Cell cells[MOST_RUN];
    int n;
    int axis; /* from here on the axes are one */
    Dim at;   /* of the first cell there */
} Run;

/* ---- recognising */

static bool same_cell(const LoopStmt *a, const LoopStmt *b) {
    if (a->buf.id != b->buf.id || a->rank != b->rank)
        return false;
    for (int k = 0; k < a->rank; k++)
        if (a->subs[k] != b->subs[k])
            return false;
    return true;
}

static bool plain(const LoopStmt *s) {
    return s->type.lanes == 1 && !s->sub_vals && s->status < 0 && !s->checked && !s->active &&
           !s->ahead && s->rank > 0 && dtype_is_real(s->type.dt);
}

/* Adds what x is computed from; values that others use too are the same in all cells. */
static bool collect(const Sums *z, Cell *c, LVal x) {
    LoopStmt *s = z->defs[x.id];
    if (!s || z->uses[x.id] != 1 || s->kind == LOOP_CONST)
        return true;
    if (c->n == MOST_NODES || s->type.lanes != 1)
        return false;
    if (s->kind == LOOP_LOAD && plain(s)) {
        c->nodes[c->n++] = s;
        return s->type.dt == c->store->type.dt;
    }
    if (s->kind != LOOP_LET || (s->type.dt != DT_BOOL && s->type.dt != c->store->type.dt))
        return false;
    bool sum = s->op == SC_lane_sum && !c->sum;
    if (!sum && (scalar_def(s->op)->flags & (SF_LANES | SF_LIBM)))
        return false;
    for (int k = 0; !sum && k < s->n_args; k++)
        if (!collect(z, c, s->args[k]))
            return false;
    c->sum = sum ? s : c->sum;
    if (c->n == MOST_NODES)
        return false;
    c->nodes[c->n++] = s;
    return true;
}

static bool match_cell(const Sums *z, LoopStmt *store, Cell *c) {
    *c = (Cell){.store = store};
    return store->kind == LOOP_STORE && plain(store) && collect(z, c, store->args[0]) && c->sum &&
           loop_type(z->f, c->sum->args[0]).lanes == target_lanes(z->target, store->type.dt);
}

/* The number of the node that computes x, or -1. */
static int node_of(const Cell *c, LVal x) {
    for (int k = 0; k < c->n; k++)
        if (c->nodes[k]->result.id == x.id)
            return k;
    return -1;
}

static bool same_constant(const Sums *z, LVal a, LVal b) {
    const LoopStmt *x = z->defs[a.id], *y = z->defs[b.id];
    return x && y && x->kind == LOOP_CONST && y->kind == LOOP_CONST && x->type.dt == y->type.dt &&
           memcmp(&x->k, &y->k, sizeof x->k) == 0;
}

/* Loads of the cells that are stored to, or of cells `by` apart on the last axis. */
static bool loads_follow(const Sums *z, const Cell *a, const LoopStmt *x, const Cell *b,
                         const LoopStmt *y, int by) {
    int64_t step;
    if (same_cell(x, a->store) || same_cell(y, b->store))
        return same_cell(x, a->store) && same_cell(y, b->store);
    if (x->buf.id != y->buf.id || x->rank != y->rank ||
        loop_storage(z->f, x->buf) == loop_storage(z->f, a->store->buf))
        return false;
    for (int k = 0; k + 1 < x->rank; k++)
        if (x->subs[k] != y->subs[k])
            return false;
    Dim d = dim_sub(z->ctx, y->subs[x->rank - 1], x->subs[x->rank - 1]);
    return d && dim_is_const(d, &step) && step == by;
}

/* Is b computed as a is? */
static bool alike(const Sums *z, const Cell *a, const Cell *b, int by) {
    if (a->n != b->n)
        return false;
    for (int k = 0; k < a->n; k++) {
        const LoopStmt *x = a->nodes[k], *y = b->nodes[k];
        if (x->kind != y->kind || x->op != y->op || x->type.dt != y->type.dt ||
            (x == a->sum) != (y == b->sum))
            return false;
        if (x->kind == LOOP_LOAD && !loads_follow(z, a, x, b, y, by))
            return false;
        for (int j = 0; x->kind == LOOP_LET && x != a->sum && j < x->n_args; j++)
            if (node_of(a, x->args[j]) != node_of(b, y->args[j]) ||
                (node_of(a, x->args[j]) < 0 && x->args[j].id != y->args[j].id &&
                 !same_constant(z, x->args[j], y->args[j])))
                return false;
    }
    return true;
}

/* The axes from `axis` on as one: the number of the cell there; NULL: unknown. */
static Dim inner(const Sums *z, const LoopStmt *s, int axis) {
    const LoopBuf *b = loop_bufp(z->f, s->buf);
    Dim at = s->subs[axis];
    for (int a = axis + 1; a < s->rank && at; a++) {
        at = dim_mul(z->ctx, at, b->shape[a]);
        at = at ? dim_add(z->ctx, at, s->subs[a]) : NULL;
    }
    return at;
}

static bool follows(const Sums *z, const Run *r, const Cell *c) {
    const LoopStmt *first = r->cells[0].store, *s = c->store;
    int64_t by;
    if (first->buf.id != s->buf.id || !alike(z, &r->cells[0], c, r->n))
        return false;
    for (int a = 0; a < r->axis; a++)
        if (first->subs[a] != s->subs[a])
            return false;
    Dim at = inner(z, s, r->axis), step = at && r->at ? dim_sub(z->ctx, at, r->at) : NULL;
    return step && dim_is_const(step, &by) && by == r->n;
}

/* The longest run of stores from statement k on. */
static void run_from(const Sums *z, const LoopBody *b, int k, Run *r) {
    Run best = {.n = 0};
    Cell first, next;
    r->n = 0;
    if (!match_cell(z, b->stmts.p[k], &first))
        return;
    for (int axis = first.store->rank - 1; axis >= 0; axis--) {
        *r = (Run){.cells = {first}, .n = 1, .axis = axis};
        r->at = inner(z, first.store, axis);
        while (r->n < MOST_RUN && k + r->n < b->stmts.n &&
               match_cell(z, b->stmts.p[k + r->n], &next) && follows(z, r, &next))
            r->cells[r->n++] = next;
        best = r->n > best.n ? *r : best;
    }
    *r = best;
}

/* Do both touch one buffer, at cells that are never the same? */
static bool apart(const Sums *z, const LoopStmt *a, const LoopStmt *b) {
    int64_t by;
    if (a->kind != LOOP_STORE || !plain(a) || a->buf.id != b->buf.id)
        return false;
    for (int k = 0; k < a->rank; k++) {
        Dim step = dim_sub(z->ctx, a->subs[k], b->subs[k]);
        if (step && dim_is_const(step, &by) && by)
            return true;
    }
    return false;
}

static bool stores_anything(const LoopStmt *s) {
    if (s->kind != LOOP_LET && s->kind != LOOP_CONST && s->kind != LOOP_INDEX &&
        s->kind != LOOP_LOAD && s->kind != LOOP_FOR && s->kind != LOOP_YIELD)
        return true;
    for (int k = 0; k < s->body.stmts.n; k++)
        if (stores_anything(s->body.stmts.p[k]))
            return true;
    return false;
}

/* May the load be made at statement k? */
static bool may_move(const Sums *z, const LoopBody *b, const LoopStmt *load, int k) {
    int from = loop_position(b, load);
    for (int j = from; j >= 0 && j < k; j++)
        if (stores_anything(b->stmts.p[j]) && !apart(z, b->stmts.p[j], load))
            return false;
    return from >= 0;
}

static bool loads_may_move(const Sums *z, const LoopBody *b, int k, const Run *r) {
    for (int j = 0; j < r->n; j++)
        for (int i = 0; i < r->cells[j].n; i++)
            if (r->cells[j].nodes[i]->kind == LOOP_LOAD && !may_move(z, b, r->cells[j].nodes[i], k))
                return false;
    return true;
}

/* ---- rewriting */

static BufId merged(Sums *z, BufId buf, int axis) {
    LoopBuf b = *loop_bufp(z->f, buf);
    Dim *shape = ARENA_ARRAY(z->arena, Dim, axis + 1);
    if (axis == b.rank - 1)
        return buf;
    for (int a = 0; a < b.rank; a++)
        shape[a < axis ? a : axis] =
            a > axis ? dim_mul(z->ctx, shape[axis], b.shape[a]) : b.shape[a];
    b.kind = BUF_ALIAS;
    b.alias = buf;
    b.offset = NULL;
    b.data = NULL;
    b.written = false; /* of its storage */
    b.rank = axis + 1;
    b.shape = shape;
    return loop_buf(z->cur.m, z->f, b);
}

/* Lane k is the sum of the lanes of cell k's vector. */
static LVal sum_tree(Sums *z, const Cell *cells, int n, int lanes) {
    LVal v[MOST_LANES] = {{0}};
    for (int k = 0; k < n; k++)
        v[k] = cells[k].sum->args[0];
    for (int half = lanes / 2; half; half /= 2)
        for (int k = 0; k < half && v[k].id; k++) {
            LVal pair[2] = {v[k], v[k + half].id ? v[k + half] : v[k]};
            LVal ends[2] = {loop_let(&z->cur, SC_zip_low, pair, 2, DT_NONE),
                            loop_let(&z->cur, SC_zip_high, pair, 2, DT_NONE)};
            v[k] = loop_let(&z->cur, SC_add, ends, 2, DT_NONE);
        }
    return v[0];
}

/* Of the cells from `from` on: what each loads, as one vector. */
static LVal load_all(Sums *z, const Run *r, const LoopStmt *load, LoopStmt *store, int from) {
    int lanes = store->type.lanes;
    if (same_cell(load, r->cells[0].store))
        return loop_load_lanes(&z->cur, store->buf, store->subs, lanes, store->active)->result;
    Dim subs[MAX_RANK];
    for (int a = 0; a < load->rank; a++)
        subs[a] = dim_addk(z->ctx, load->subs[a], a == load->rank - 1 ? from : 0);
    return loop_load_lanes(&z->cur, load->buf, subs, lanes, store->active)->result;
}

static LVal operand(Sums *z, const Cell *c, const LVal *to, LVal x, int lanes) {
    int node = node_of(c, x);
    const LoopStmt *s = z->defs[x.id];
    if (node >= 0)
        return to[node];
    if (s && s->kind == LOOP_CONST)
        return loop_const(&z->cur, (LType){s->type.dt, lanes}, s->k);
    return loop_splat(&z->cur, x, lanes);
}

static void put_vector(Sums *z, const Run *r, BufId view, int from, int n, int lanes) {
    const Cell *first = &r->cells[0];
    Dim subs[MAX_RANK];
    for (int a = 0; a < r->axis; a++)
        subs[a] = first->store->subs[a];
    subs[r->axis] = dim_addk(z->ctx, r->at, from);
    LoopStmt store = {.buf = view,
                      .subs = subs,
                      .rank = r->axis + 1,
                      .type.lanes = lanes,
                      .active = n < lanes ? dim_const(z->ctx, n) : NULL};
    LVal to[MOST_NODES], args[3];
    for (int k = 0; k < first->n; k++) {
        const LoopStmt *s = first->nodes[k];
        if (s == first->sum) {
            to[k] = sum_tree(z, r->cells + from, n, lanes);
        } else if (s->kind == LOOP_LOAD) {
            to[k] = load_all(z, r, s, &store, from);
        } else {
            for (int j = 0; j < s->n_args; j++)
                args[j] = operand(z, first, to, s->args[j], lanes);
            to[k] = loop_let(&z->cur, s->op, args, s->n_args, s->type.dt);
        }
    }
    loop_store(&z->cur, view, subs, to[first->n - 1])->active = store.active;
}

static void put_run(Sums *z, const Run *r) {
    int lanes = target_lanes(z->target, r->cells[0].store->type.dt);
    BufId view = merged(z, r->cells[0].store->buf, r->axis);
    z->cur.span = r->cells[0].store->span;
    for (int from = 0; from < r->n; from += lanes)
        put_vector(z, r, view, from, r->n - from < lanes ? r->n - from : lanes, lanes);
}

static void note(bool *gone, const LoopBody *b, const LoopStmt *s) {
    gone[loop_position(b, s)] = true;
}

static void visit(Sums *z, LoopBody *b) {
    for (int k = 0; k < b->stmts.n; k++) {
        visit(z, &b->stmts.p[k]->body);
        visit(z, &b->stmts.p[k]->orelse);
    }
    for (int k = 0; k < b->stmts.n; k++)
        z->defs[b->stmts.p[k]->result.id] = b->stmts.p[k];
    z->defs[0] = NULL;
    Run **at = ARENA_ARRAY(z->scratch, Run *, b->stmts.n + 1); /* by first store */
    bool *gone = ARENA_ARRAY(z->scratch, bool, b->stmts.n + 1), any = false;
    Run r;
    for (int k = 0; k < b->stmts.n; k++) {
        run_from(z, b, k, &r);
        if (r.n < FEWEST || !loads_may_move(z, b, k, &r))
            continue;
        any = true;
        at[k] = arena_dup(z->scratch, &r, sizeof r);
        for (int j = 0; j < r.n; j++) {
            const Cell *c = &r.cells[j];
            note(gone, b, c->store);
            for (int i = 0; i < c->n; i++)
                note(gone, b, c->nodes[i]);
        }
        k += r.n - 1;
    }
    if (!any)
        return;
    LoopBody to = {0};
    z->cur.at = &to;
    for (int k = 0; k < b->stmts.n; k++) {
        if (at[k])
            put_run(z, at[k]);
        if (!gone[k])
            vec_push(z->arena, &to.stmts, b->stmts.p[k]);
    }
    z->cur.at = b;
    *b = to;
}

void lane_sums(Ctx *ctx, Arena *arena, LoopModule *m, LoopFunc *f, const Target *target) {
    Arena scratch;
    arena_init(&scratch, ctx);
    Sums z = {.ctx = ctx,
              .arena = arena,
              .scratch = &scratch,
              .f = f,
              .target = target,
              .cur = {.m = m, .f = f}};
    z.uses = ARENA_ARRAY(&scratch, int, f->vals.n + 1);
    z.defs = ARENA_ARRAY(&scratch, LoopStmt *, f->vals.n + 1);
    loop_count_uses(&f->body, z.uses);
    visit(&z, &f->body);
    arena_free(&scratch);
}
