#include "passes/lane_sums.h"

enum { FEWEST = 5, MOST_LANES = 16, MOST_RUN = 64 };

typedef struct Sums {
    Ctx *ctx;
    Arena *arena, *scratch;
    LoopFunc *f;
    const Target *target;
    LoopCursor cur;
    int *uses;       /* by value id */
    LoopStmt **defs; /* by value id: its statement in the body at hand, or NULL */
} Sums;

/* One cell: store(add(start, lane_sum(vector))), start being select(c, 0, load of that cell). */
typedef struct Cell {
    LoopStmt *store, *add, *sum, *start, *load;
    const LoopStmt *zero;
    bool start_first; /* of add's operands */
} Cell;

typedef struct Run {
    Cell cells[MOST_RUN];
    int n;
    int axis; /* from here on the axes are one */
    Dim at;   /* of the first cell there */
} Run;

/* ---- recognising */

static LoopStmt *let_of(const Sums *z, LVal x, ScalarOp op) {
    LoopStmt *s = z->defs[x.id];
    return s && s->kind == LOOP_LET && s->op == op && z->uses[x.id] == 1 ? s : NULL;
}

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

static bool match_start(const Sums *z, Cell *c, LVal x) {
    c->start = let_of(z, x, SC_select);
    if (!c->start)
        return false;
    c->zero = z->defs[c->start->args[1].id];
    c->load = z->defs[c->start->args[2].id];
    return c->zero && c->zero->kind == LOOP_CONST && c->zero->k.f == 0 && c->load &&
           c->load->kind == LOOP_LOAD && z->uses[c->load->result.id] == 1 && plain(c->load) &&
           same_cell(c->load, c->store);
}

static bool match_cell(const Sums *z, LoopStmt *store, Cell *c) {
    *c = (Cell){.store = store};
    if (store->kind != LOOP_STORE || !plain(store))
        return false;
    c->add = let_of(z, store->args[0], SC_add);
    for (int k = 0; c->add && k < 2; k++) {
        c->sum = let_of(z, c->add->args[k], SC_lane_sum);
        c->start_first = k == 1;
        if (c->sum && match_start(z, c, c->add->args[1 - k]))
            return loop_type(z->f, c->sum->args[0]).lanes ==
                   target_lanes(z->target, store->type.dt);
    }
    return false;
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
    if (first->buf.id != s->buf.id || r->cells[0].start->args[0].id != c->start->args[0].id ||
        r->cells[0].start_first != c->start_first)
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
        if (!may_move(z, b, r->cells[j].load, k))
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

static void put_vector(Sums *z, const Run *r, BufId view, int from, int n, int lanes) {
    const Cell *first = &r->cells[0];
    Dim subs[MAX_RANK], active = n < lanes ? dim_const(z->ctx, n) : NULL;
    for (int a = 0; a < r->axis; a++)
        subs[a] = first->store->subs[a];
    subs[r->axis] = dim_addk(z->ctx, r->at, from);
    LType t = {first->store->type.dt, lanes};
    LVal sum = sum_tree(z, r->cells + from, n, lanes),
         zero = loop_const(&z->cur, t, (ScalarValue){0});
    LVal load = loop_load_lanes(&z->cur, view, subs, lanes, active)->result;
    LVal when = loop_splat(&z->cur, first->start->args[0], lanes);
    LVal start = loop_let(&z->cur, SC_select, (LVal[]){when, zero, load}, 3, DT_NONE);
    LVal args[2] = {first->start_first ? start : sum, first->start_first ? sum : start};
    loop_store(&z->cur, view, subs, loop_let(&z->cur, SC_add, args, 2, DT_NONE))->active = active;
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
            note(gone, b, c->add);
            note(gone, b, c->sum);
            note(gone, b, c->start);
            note(gone, b, c->load);
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
