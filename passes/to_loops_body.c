/* to_loops: scalar bodies. */
#include "passes/to_loops.h"

#include <math.h>

static Ctx *ctx_of(const BodyEmit *e) { return e->lb->c.m->ctx; }

/* Instructions that are computed at every point, not only in an arm of a select. */
static bool *always_taken(Ctx *ctx, const Body *b) {
    bool *always = ARENA_ARRAY(&ctx->perm, bool, b->n);
    always[b->n - 1] = true;
    for (int k = b->n - 1; k >= 0; k--) {
        const BodyInst *i = &b->insts[k];
        if (!always[k] || i->kind != BODY_OP)
            continue;
        int n = i->op == SC_select ? 1 : scalar_def(i->op)->arity;
        for (int j = 0; j < n; j++)
            always[i->args[j]] = true;
    }
    return always;
}

static LVal emit_int(const BodyEmit *e, DType dt, int64_t v) {
    return loop_int(&e->lb->c, (LType){dt, 1}, v);
}

static LVal let2(const BodyEmit *e, ScalarOp op, LVal a, LVal b) {
    return loop_let(&e->lb->c, op, (LVal[]){a, b}, 2, DT_NONE);
}

/* Facts at a point of the nest: index ranges and guards; behind the sums, those of the output's indices alone. */
static DimFacts facts_of(const BodyEmit *e) {
    Ctx *ctx = ctx_of(e);
    DimFacts facts = nest_facts(ctx, e->nest);
    Dim *when = ARENA_ARRAY(&ctx->perm, Dim, 2 * e->nest->n_guards + 1);
    uint64_t out, gone = 0; /* gone: the indices of the sums */
    int n = 0;
    if (e->after && nest_outputs(ctx, e->nest, &out)) {
        DimIndex *index = ARENA_ARRAY(&ctx->perm, DimIndex, facts.n_index + 1);
        facts.n_index = 0;
        for (int k = 0; k < e->nest->n_box; k++)
            if (out >> k & 1)
                index[facts.n_index++] = (DimIndex){e->nest->box[k].sym, e->nest->box[k].extent};
            else
                gone |= (uint64_t)1 << k;
        facts.index = index;
    } else if (e->after) {
        return (DimFacts){0};
    }
    for (int k = 0; k < e->nest->n_guards; k++) {
        const NestGuard *g = &e->nest->guards[k];
        bool holds = true;
        for (int j = 0; j < e->nest->n_box && gone; j++)
            holds = holds && !(gone >> j & 1 && dim_mentions(g->form, e->nest->box[j].sym));
        if (!holds)
            continue;
        when[n++] = g->form;
        when[n++] = dim_sub(ctx, dim_addk(ctx, g->extent, -1), g->form);
    }
    facts.when = when;
    facts.n_when = n;
    return facts;
}

/* A read; axes that may leave the operand are clamped, and *inside is the condition that none did (id 0: none may). */
static LVal emit_read(const BodyEmit *e, const BodyInst *i, LVal *inside) {
    Ctx *ctx = ctx_of(e);
    LoopCursor *c = &e->lb->c;
    BufId buf = e->operands[i->operand];
    const LoopBuf *b = loop_bufp(c->f, buf);
    DimFacts facts = facts_of(e), none = {0};
    Dim *subs = ARENA_ARRAY(&ctx->perm, Dim, i->rank + 1);
    LVal *vals = NULL;
    *inside = (LVal){0};
    for (int a = 0; a < i->rank; a++) {
        Dim last = dim_addk(ctx, b->shape[a], -1);
        subs[a] = i->map[a];
        bool low = dim_prove_nonneg(ctx, &facts, i->map[a]);
        bool high = dim_prove_nonneg(ctx, &facts, dim_sub(ctx, last, i->map[a]));
        if (low && high)
            continue;
        if (!vals)
            vals = ARENA_ARRAY(&ctx->perm, LVal, i->rank);
        LVal at = loop_index(c, i->map[a], 1, 0), ok = {0}, clamped = at;
        bool empty = !high && !dim_prove_nonneg(ctx, &none, last); /* then the greatest index is below 0 */
        if (!low)
            ok = let2(e, SC_le, emit_int(e, DT_I64, 0), at);
        if (!low && !empty)
            clamped = let2(e, SC_max, clamped, emit_int(e, DT_I64, 0));
        if (!high) {
            LVal top = loop_index(c, last, 1, 0), below = let2(e, SC_le, at, top);
            ok = ok.id ? let2(e, SC_and, ok, below) : below;
            clamped = let2(e, SC_min, clamped, top);
        }
        if (empty)
            clamped = let2(e, SC_max, clamped, emit_int(e, DT_I64, 0));
        *inside = inside->id ? let2(e, SC_and, *inside, ok) : ok;
        vals[a] = clamped;
        subs[a] = dim_const(ctx, 0);
    }
    LVal v = loop_load(c, buf, subs);
    c->at->stmts.p[c->at->stmts.n - 1]->sub_vals = vals;
    return v;
}

/* The reciprocal of a power of two, of which products are quotients to the last bit; 0: none. A
 * division takes as long as 30 products. */
static double exact_reciprocal(const BodyInst *i) {
    int power;
    if (i->kind != BODY_CONST || !dtype_is_real(i->dt) || i->k.f == 0 || !isfinite(i->k.f) ||
        fabs(frexp(i->k.f, &power)) != 0.5)
        return 0;
    int most = i->dt == DT_F32 ? 125 : 1021; /* both are normal numbers then */
    return power >= -most && power <= most ? 1 / i->k.f : 0;
}

static LVal emit_inst(const BodyEmit *e, const Body *b, int k, const LVal *vals, bool always) {
    const BodyInst *i = &b->insts[k];
    LoopCursor *c = &e->lb->c;
    LType t = {i->dt, 1};
    switch (i->kind) {
    case BODY_READ: {
        LVal inside;
        if (!i->has_fill && always) {
            const LVal v = loop_load(c, e->operands[i->operand], i->map);
            return v;
        }
        LVal v = emit_read(e, i, &inside);
        if (!i->has_fill || !inside.id)
            return v;
        return loop_let(c, SC_select, (LVal[]){inside, v, loop_const(c, t, i->k)}, 3, DT_NONE);
    }
    case BODY_INDEX:
    case BODY_DIM:
        return loop_index(c, i->dim, 1, 0);
    case BODY_CONST:
        return loop_const(c, t, i->k);
    case BODY_ACC:
        return e->acc;
    case BODY_OP:
        break;
    }
    LVal args[3];
    int n = scalar_def(i->op)->arity;
    for (int j = 0; j < n; j++)
        args[j] = vals[i->args[j]];
    double by = i->op == SC_div ? exact_reciprocal(&b->insts[i->args[1]]) : 0;
    if (by != 0) {
        args[1] = loop_const(c, t, (ScalarValue){.f = by});
        return loop_let(c, SC_mul, args, n, i->dt);
    }
    return loop_let(c, i->op, args, n, i->dt);
}

static LVal *emit_all(const BodyEmit *e, const Body *b, int n) {
    Ctx *ctx = ctx_of(e);
    LVal *vals = ARENA_ARRAY(&ctx->perm, LVal, b->n);
    bool *always = always_taken(ctx, b);
    for (int k = 0; k < n; k++)
        vals[k] = emit_inst(e, b, k, vals, always[k]);
    return vals;
}

LVal lower_body(const BodyEmit *e, const Body *b) { return emit_all(e, b, b->n)[b->n - 1]; }

bool lower_body_product(const BodyEmit *e, const Body *b, LVal *x, LVal *y) {
    const BodyInst *last = &b->insts[b->n - 1];
    if (last->kind != BODY_OP || last->op != SC_mul || !dtype_is_real(last->dt) || !e->lb->target->fma)
        return false;
    LVal *vals = emit_all(e, b, b->n - 1);
    *x = vals[last->args[0]];
    *y = vals[last->args[1]];
    return true;
}
