#include "passes/degree.h"

#include "ir/nest.h"

/* Of a sum of both, or of either. */
static Degree join(Degree a, Degree b) {
    if (a == b)
        return a;
    return a == DEG_OTHER || b == DEG_OTHER ? DEG_OTHER : DEG_AFFINE;
}

static bool is_zero(const BodyInst *i) {
    return i->kind == BODY_CONST && (dtype_is_real(i->dt) ? i->k.f == 0 : i->k.i == 0);
}

/* A value that is 0 is linear, too. */
static Degree join_insts(const BodyInst *insts, const Degree *of, int a, int b) {
    if (is_zero(&insts[a]))
        return of[b] == DEG_FREE ? DEG_FREE : of[b];
    if (is_zero(&insts[b]))
        return of[a];
    return join(of[a], of[b]);
}

static Degree op_degree(const BodyInst *insts, const BodyInst *i, const Degree *of) {
    Degree x = of[i->args[0]];
    int arity = scalar_def(i->op)->arity;
    bool free = true;
    for (int k = 0; k < arity; k++)
        free &= of[i->args[k]] == DEG_FREE;
    if (free)
        return DEG_FREE;
    switch (i->op) {
    case SC_neg:
        return x;
    case SC_cast:
        return dtype_is_real(i->dt) ? x : DEG_OTHER;
    case SC_add:
    case SC_sub:
        return join_insts(insts, of, i->args[0], i->args[1]);
    case SC_mul:
        return x == DEG_FREE ? of[i->args[1]] : of[i->args[1]] == DEG_FREE ? x : DEG_OTHER;
    case SC_div:
        return of[i->args[1]] == DEG_FREE ? x : DEG_OTHER;
    case SC_select:
        return x == DEG_FREE ? join_insts(insts, of, i->args[1], i->args[2]) : DEG_OTHER;
    default:
        return DEG_OTHER;
    }
}

static Degree body_degree(Arena *arena, const Inst *i, const Body *b, const Degree *vals,
                          Degree acc) {
    Degree *of = ARENA_ARRAY(arena, Degree, b->n + 1);
    for (int k = 0; k < b->n; k++) {
        const BodyInst *x = &b->insts[k];
        of[k] = DEG_FREE;
        if (x->kind == BODY_READ) {
            of[k] = vals[i->args[x->operand].id];
            if (x->has_fill && x->k.f != 0)
                of[k] = join(of[k], DEG_FREE);
        } else if (x->kind == BODY_ACC) {
            of[k] = acc;
        } else if (x->kind == BODY_OP) {
            of[k] = op_degree(b->insts, x, of);
        }
    }
    return b->n ? of[b->n - 1] : acc;
}

static Degree nest_degree(Arena *arena, const Inst *i, const Degree *vals) {
    const Nest *n = i->attr;
    Degree d = body_degree(arena, i, &n->body, vals, DEG_FREE);
    if (n->init >= 0)
        d = join(d, vals[i->args[n->init].id]);
    if (d != DEG_FREE && n->op != NEST_STORE && n->op != NEST_SUM)
        return DEG_OTHER;
    return n->post.n ? body_degree(arena, i, &n->post, vals, d) : d;
}

static bool is_held(const Func *f, const Inst *i, const bool *held) {
    for (int k = 0; held && i->op == &op_stop && k < f->params.n; k++)
        if (f->params.p[k].val.id == i->args[0].id)
            return held[k];
    return false;
}

static Degree inst_degree(Arena *arena, const Inst *i, const Degree *vals) {
    if (i->op == &op_nest)
        return nest_degree(arena, i, vals);
    bool free = true, rest = true;
    for (int k = 0; k < i->n_args; k++) {
        free &= vals[i->args[k].id] == DEG_FREE;
        rest &= k == 0 || vals[i->args[k].id] == DEG_FREE;
    }
    if (free)
        return DEG_FREE;
    return (i->op->flags & OPF_MOVES) && rest ? vals[i->args[0].id] : DEG_OTHER;
}

Degree *degree_of(Arena *arena, const Func *f, const bool *is_var, const bool *held) {
    Degree *vals = ARENA_ARRAY(arena, Degree, f->vals.n + 1);
    for (int k = 0; k < f->params.n; k++)
        vals[f->params.p[k].val.id] = is_var[k] ? DEG_LINEAR : DEG_FREE;
    for (int k = 0; k < f->insts.n; k++) {
        const Inst *i = f->insts.p[k];
        Degree d = is_held(f, i, held) ? vals[i->args[0].id] : inst_degree(arena, i, vals);
        for (int j = 0; j < i->n_results; j++)
            vals[inst_result(i, j).id] = d;
    }
    return vals;
}
