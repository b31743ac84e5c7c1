/* Sums whose vectors lie along the sum leave one number for each cell. What is computed from it then stands in scalars:
 *
 *   for i in 0..N {
 *     %1 = for d in 0..D with %2 = 0 { yield fma(X[i, d], w[d], %2) }
 *     store y[i] = sigmoid(%1)
 *
 * becomes
 *
 *   for i in 0..N {
 *     %1 = for d in 0..D with %2 = 0 { yield fma(X[i, d], w[d], %2) }
 *     store y[i] = %1
 *   for i in 0..N {
 *     %3 = load y[i]
 *     store y[i] = sigmoid(%3)
 *
 * whose second loop has vectors of its own. (Where the vectors lie along the cells, block.c does this for a block.) */
#include "passes/epilogue.h"

#include "passes/vary.h"

enum { LONG = 6 }; /* operations */

static bool is_value(const LoopStmt *s) {
    return s->kind == LOOP_LET || s->kind == LOOP_CONST || s->kind == LOOP_INDEX ||
           (s->kind == LOOP_LOAD && s->status < 0 && !s->checked);
}

/* Does anything inside load from where the store goes? */
static bool loads_of(const LoopFunc *f, const LoopBody *b, BufId stored) {
    for (int k = 0; k < b->stmts.n; k++) {
        const LoopStmt *s = b->stmts.p[k];
        if ((s->kind == LOOP_LOAD && loop_storage(f, s->buf) == loop_storage(f, stored)) || loads_of(f, &s->body, stored))
            return true;
    }
    return false;
}

LoopStmt *epilogue_sum(Ctx *ctx, const LoopFunc *f, const LoopStmt *output) {
    const LoopStmt *store = NULL;
    LoopStmt *sum = NULL;
    int after = 0;
    if (output->parallel || output->n_carried || output->n_args)
        return NULL;
    for (int k = 0; k < output->body.stmts.n; k++) {
        LoopStmt *s = output->body.stmts.p[k];
        bool is_sum = s->kind == LOOP_FOR && s->n_carried == 1 && !s->n_args;
        if (store || (is_sum ? sum != NULL : s->kind != LOOP_STORE && !is_value(s)))
            return NULL;
        sum = is_sum ? s : sum;
        store = s->kind == LOOP_STORE ? s : NULL;
        after += sum && s->kind == LOOP_LET;
    }
    if (!sum || !store || store->sub_vals || after < LONG || loop_bufp(f, store->buf)->dt != sum->carried[0].dt ||
        loads_of(f, &output->body, store->buf))
        return NULL;
    Arena scratch;
    arena_init(&scratch, ctx);
    Vary v = vary_of(ctx, &scratch, f, output);
    bool good = v.plain && vary_independent(&v);
    arena_free(&scratch);
    return good ? sum : NULL;
}

void epilogue_split(Arena *arena, LoopModule *m, LoopFunc *f, LoopBody *b, int at, LoopStmt *sum) {
    LoopStmt *first = b->stmts.p[at], *second = arena_dup(arena, first, sizeof *first);
    LoopBody *body = &first->body;
    const LoopStmt *store = body->stmts.p[body->stmts.n - 1];
    LVal *now = ARENA_ARRAY(arena, LVal, f->vals.n);
    second->body = (LoopBody){0};
    int place = loop_position(body, sum);
    for (int k = 0; k < body->stmts.n; k++) {
        const LoopStmt *s = body->stmts.p[k];
        LoopStmt load = *store;
        if (k == place) {
            load.kind = LOOP_LOAD;
            load.args = NULL;
            load.n_args = 0;
            load.result = sum->out[0];
            load.type = sum->carried[0];
            load.status = -1;
            s = &load;
        }
        vec_push(arena, &second->body.stmts, loop_copy_stmt(arena, m, f, s, now, (DimBinding){0}));
    }
    LoopStmt *raw = arena_dup(arena, store, sizeof *store);
    raw->args = ARENA_NEW(arena, LVal);
    raw->args[0] = sum->out[0];
    body->stmts.n = place + 1; /* what follows has copies */
    vec_push(arena, &body->stmts, raw);
    loop_replace(arena, b, at, (LoopStmt *const[]){first, second}, 2);
}
