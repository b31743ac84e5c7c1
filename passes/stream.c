#include "passes/stream.h"

typedef struct Stream {
    Arena *arena, *scratch;
    const LoopBody *from;
    int first_id; /* values from here on may be defined in the body */
    int *def;     /* by value id - first_id: 1 + position of its statement */
    int n_ids;
    uint32_t *set; /* by position: buffer that the operand comes from, 0: no operand */
    bool *placed;
    LoopBody to;
} Stream;

static int def_of(const Stream *z, LVal x) {
    int k = (int)x.id - z->first_id;
    return x.id && k >= 0 && k < z->n_ids ? z->def[k] - 1 : -1;
}

static void number_defs(Stream *z, const LoopFunc *f) {
    z->first_id = f->vals.n;
    for (int k = 0; k < z->from->stmts.n; k++) {
        int id = (int)z->from->stmts.p[k]->result.id;
        z->first_id = id && id < z->first_id ? id : z->first_id;
    }
    z->n_ids = f->vals.n - z->first_id;
    z->def = ARENA_ARRAY(z->scratch, int, z->n_ids + 1);
    for (int k = 0; k < z->from->stmts.n; k++)
        if (z->from->stmts.p[k]->result.id)
            z->def[(int)z->from->stmts.p[k]->result.id - z->first_id] = k + 1;
}

/* A load, or what makes a vector of one. */
static void find_sets(Stream *z) {
    for (int k = 0; k < z->from->stmts.n; k++) {
        const LoopStmt *s = z->from->stmts.p[k];
        int at = s->kind == LOOP_LET && s->op == SC_splat ? def_of(z, s->args[0]) : -1;
        if (s->kind == LOOP_LOAD && !s->sub_vals)
            z->set[k] = s->buf.id;
        else if (at >= 0)
            z->set[k] = z->set[at];
    }
}

/* The two buffers whose operands meet, the one with fewer first; false: there are not two. */
static bool two_sets(const Stream *z, uint32_t *few, uint32_t *many) {
    int n[2] = {0, 0};
    uint32_t set[2] = {0, 0};
    for (int k = 0; k < z->from->stmts.n; k++) {
        const LoopStmt *s = z->from->stmts.p[k];
        if (!z->set[k] || s->type.lanes == 1)
            continue;
        int j = !set[0] || set[0] == z->set[k] ? 0 : 1;
        if (j && set[1] && set[1] != z->set[k])
            return false;
        set[j] = z->set[k];
        n[j]++;
    }
    *few = set[n[1] < n[0]];
    *many = set[n[1] >= n[0]];
    return set[0] && set[1];
}

static bool is_ready(const Stream *z, const LoopStmt *s) {
    for (int k = 0; k < s->n_args; k++) {
        int at = def_of(z, s->args[k]);
        if (at >= 0 && !z->placed[at])
            return false;
    }
    for (int k = 0; s->sub_vals && k < s->rank; k++) {
        int at = def_of(z, s->sub_vals[k]);
        if (at >= 0 && !z->placed[at])
            return false;
    }
    return true;
}

static void place(Stream *z, int k) {
    if (z->placed[k])
        return;
    const LoopStmt *s = z->from->stmts.p[k];
    for (int j = 0; j < s->n_args; j++)
        if (def_of(z, s->args[j]) >= 0)
            place(z, def_of(z, s->args[j]));
    z->placed[k] = true;
    vec_push(z->arena, &z->to.stmts, z->from->stmts.p[k]);
}

static void place_ready(Stream *z) {
    for (int k = 0; k < z->from->stmts.n; k++)
        if (!z->placed[k] && !z->set[k] && z->from->stmts.p[k]->kind != LOOP_YIELD &&
            is_ready(z, z->from->stmts.p[k]))
            place(z, k);
}

void stream_order(Arena *arena, Arena *scratch, const LoopFunc *f, LoopBody *b) {
    Stream z = {.arena = arena, .scratch = scratch, .from = b};
    uint32_t few, many;
    for (int k = 0; k < b->stmts.n; k++)
        if (b->stmts.p[k]->kind != LOOP_LET && b->stmts.p[k]->kind != LOOP_LOAD &&
            b->stmts.p[k]->kind != LOOP_YIELD && b->stmts.p[k]->kind != LOOP_CONST)
            return;
    z.set = ARENA_ARRAY(scratch, uint32_t, b->stmts.n + 1);
    z.placed = ARENA_ARRAY(scratch, bool, b->stmts.n + 1);
    number_defs(&z, f);
    find_sets(&z);
    if (!two_sets(&z, &few, &many))
        return;
    for (int k = 0; k < b->stmts.n; k++)
        if (z.set[k] == few)
            place(&z, k);
    for (int k = 0; k < b->stmts.n; k++) {
        bool wide = b->stmts.p[k]->type.lanes > 1;
        if (z.set[k] != many || !wide)
            continue;
        place(&z, k);
        place_ready(&z);
    }
    for (int k = 0; k < b->stmts.n; k++)
        place(&z, k);
    *b = z.to;
}
