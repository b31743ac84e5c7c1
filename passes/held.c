#include "passes/held.h"

enum { FEWEST = 4, MOST_DEPTH = 64 };

typedef struct Held {
    Ctx *ctx;
    Arena *arena, *scratch;
    LoopModule *m;
    LoopFunc *f;
    int *uses;       /* by value id */
    LoopStmt **defs; /* by value id: its statement in the body at hand and those around */
    Str around[MOST_DEPTH];
    int depth;
} Held;

static const LoopStmt *def_of(const Held *h, LVal x) { return h->defs[x.id]; }

/* The scalar condition c of select(c, 0, load) whose load nothing else uses; id 0: another
 * statement. */
static LVal condition_of(const Held *h, const LoopStmt *s) {
    LVal none = {0};
    if (s->kind != LOOP_LET || s->op != SC_select)
        return none;
    const LoopStmt *c = def_of(h, s->args[0]), *zero = def_of(h, s->args[1]),
                   *load = def_of(h, s->args[2]);
    if (!c || !zero || !load || zero->kind != LOOP_CONST || zero->k.f != 0 || zero->k.i != 0 ||
        load->kind != LOOP_LOAD || load->sub_vals || load->status >= 0 ||
        h->uses[load->result.id] != 1)
        return none;
    if (loop_type(h->f, s->args[0]).lanes == 1)
        return s->args[0];
    return c->kind == LOOP_LET && c->op == SC_splat ? c->args[0] : none;
}

static bool touches_memory(const LoopStmt *s) {
    return s->kind != LOOP_LET && s->kind != LOOP_CONST && s->kind != LOOP_INDEX &&
           s->kind != LOOP_LOAD;
}

/* Does x stand before position `at` of the body, or outside it? */
static bool is_before(const LoopBody *b, int at, LVal x) {
    for (int k = at; k < b->stmts.n; k++)
        if (b->stmts.p[k]->result.id == x.id)
            return false;
    return true;
}

/* Statements from `at` to the end of the straight line that are such selects by c. */
static int selects_from(const Held *h, const LoopBody *b, int at, LVal c) {
    int n = 0;
    for (int k = at; k < b->stmts.n && !touches_memory(b->stmts.p[k]); k++)
        n += condition_of(h, b->stmts.p[k]).id == c.id;
    return n;
}

static bool is_around(const Held *h, Str name) {
    for (int k = 0; k < h->depth; k++)
        if (h->around[k] == name)
            return true;
    return false;
}

/* The loop of at most one iteration that loads for the n selects by c from `at` on. */
static LoopStmt *held_loop(Held *h, LoopCursor *c, const LoopBody *b, int at, LVal cond, int n) {
    LVal *init = ARENA_ARRAY(h->scratch, LVal, n), *loaded = ARENA_ARRAY(h->scratch, LVal, n);
    LoopStmt **selects = ARENA_ARRAY(h->scratch, LoopStmt *, n);
    int found = 0;
    for (int k = at; found < n; k++) {
        if (condition_of(h, b->stmts.p[k]).id != cond.id)
            continue;
        selects[found] = b->stmts.p[k];
        init[found] = selects[found]->args[1];
        loaded[found] = selects[found]->args[2];
        found++;
    }
    Str name = str_of(h->ctx, "held");
    while (is_around(h, name))
        name = str_fmt(h->ctx, "%s_", name);
    Dim zero = dim_const(h->ctx, 0), one = dim_const(h->ctx, 1);
    LVal wanted = loop_let(c, SC_not, &cond, 1, DT_NONE);
    LoopBody *outer = c->at;
    LoopStmt *s = loop_for(c, dim_symbol_new(h->ctx, name, 0, true), &zero, 1, &one, 1, 1, init, n);
    loop_when(c, s, wanted);
    for (int j = 0; j < n; j++)
        vec_push(h->arena, &s->body.stmts, h->defs[loaded[j].id]);
    loop_end(c, s, outer, loaded);
    for (int j = 0; j < n; j++)
        s->out[j] = selects[j]->result;
    return s;
}

/* One group of selects; false: there is none. */
static bool hold(Held *h, LoopBody *b) {
    for (int at = 0; at < b->stmts.n; at++) {
        LVal c = condition_of(h, b->stmts.p[at]);
        int n = c.id ? selects_from(h, b, at, c) : 0;
        if (n < FEWEST)
            continue;
        LoopBody to = {0};
        LoopCursor cursor = {.m = h->m, .f = h->f, .at = &to, .span = b->stmts.p[at]->span};
        int first = at; /* the straight line that the loads may leave */
        while (first > 0 && !touches_memory(b->stmts.p[first - 1]))
            first--;
        bool *gone = ARENA_ARRAY(h->scratch, bool, b->stmts.n);
        for (int k = at, left = n; left; k++) {
            if (condition_of(h, b->stmts.p[k]).id != c.id)
                continue;
            left--;
            gone[k] = true;
            int load = first;
            if (!is_before(b, at, b->stmts.p[k]->args[1]))
                return false;
            while (load < k && b->stmts.p[load]->result.id != b->stmts.p[k]->args[2].id)
                load++;
            if (load == k) /* it stands before other accesses */
                return false;
            gone[load] = true;
        }
        for (int k = 0; k < b->stmts.n; k++) {
            if (k == at)
                held_loop(h, &cursor, b, at, c, n);
            if (!gone[k])
                vec_push(h->arena, &to.stmts, b->stmts.p[k]);
        }
        *b = to;
        return true;
    }
    return false;
}

static void visit(Held *h, LoopBody *b) {
    for (int k = 0; k < b->stmts.n; k++)
        h->defs[b->stmts.p[k]->result.id] = b->stmts.p[k];
    if (hold(h, b))
        return;
    for (int k = 0; k < b->stmts.n; k++) {
        LoopStmt *s = b->stmts.p[k];
        bool is_for = s->kind == LOOP_FOR && h->depth < MOST_DEPTH;
        if (is_for)
            h->around[h->depth++] = s->index->name;
        visit(h, &s->body);
        visit(h, &s->orelse);
        h->depth -= is_for;
    }
}

void held_loads(Ctx *ctx, Arena *arena, LoopModule *m, LoopFunc *f) {
    Arena scratch;
    arena_init(&scratch, ctx);
    Held h = {.ctx = ctx, .arena = arena, .scratch = &scratch, .m = m, .f = f};
    h.uses = ARENA_ARRAY(&scratch, int, f->vals.n + 1);
    h.defs = ARENA_ARRAY(&scratch, LoopStmt *, f->vals.n + 1);
    loop_count_uses(&f->body, h.uses);
    visit(&h, &f->body);
    arena_free(&scratch);
}
