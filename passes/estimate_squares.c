/* Recognising sums of squares by the structure of E.loglik and E.logprior: a sum over all cells of
 * densities whose distribution is_square, scales linear in one parameter (or free of all), means
 * that do not depend on it. */
#include "passes/estimate_squares.h"

#include "ir/dist.h"
#include "passes/degree.h"

enum { MOST_TERMS = 64 };

typedef struct Terms {
    Unit *u;
    const Func *f;
    SquareTerm *p;
    int n;
    bool prior;
    Str why;
} Terms;

static bool refuse(Terms *t, const char *why) {
    if (!t->why)
        t->why = str_of(t->u->ctx, why);
    return false;
}

/* ---- the terms of a sum */

/* What a sum adds: cells of v, or select(mask[..], v[..], 0). */
typedef struct Summand {
    const BodyInst *v, *mask; /* reads; mask may be NULL */
} Summand;

static const BodyInst *past_cast(const Body *b, const BodyInst *i) {
    return i->kind == BODY_OP && i->op == SC_cast ? &b->insts[i->args[0]] : i;
}

static bool is_read(const BodyInst *i) { return i->kind == BODY_READ && !i->has_fill; }

static bool summand_of(const Body *b, Summand *s) {
    const BodyInst *last = past_cast(b, &b->insts[b->n - 1]);
    *s = (Summand){.v = last};
    if (last->kind == BODY_OP && last->op == SC_select) {
        const BodyInst *zero = past_cast(b, &b->insts[last->args[2]]);
        if (zero->kind != BODY_CONST || zero->k.f != 0)
            return false;
        s->mask = &b->insts[last->args[0]];
        s->v = past_cast(b, &b->insts[last->args[1]]);
    }
    return is_read(s->v) && (!s->mask || is_read(s->mask));
}

/* Does the sum visit every cell of what it reads once? */
static bool sums_all(const Nest *n, const BodyInst *read, Type t) {
    if (n->op != NEST_SUM || n->rank || n->n_guards || n->post.n || n->init >= 0 ||
        n->n_box != t.rank)
        return false;
    for (int a = 0; a < t.rank; a++)
        if (dim_as_symbol(read->map[a]) != n->box[a].sym || n->box[a].extent != t.shape[a])
            return false;
    return true;
}

static bool collect(Terms *t, Val v);

/* A scalar body that adds what it reads. */
static bool collect_body(Terms *t, const Inst *i, const Body *b, int k) {
    const BodyInst *x = &b->insts[k];
    if (x->kind == BODY_READ)
        return collect(t, i->args[x->operand]);
    if (x->kind == BODY_CONST && x->k.f == 0)
        return true;
    if (x->kind == BODY_OP && x->op == SC_cast)
        return collect_body(t, i, b, x->args[0]);
    if (x->kind == BODY_OP && x->op == SC_add)
        return collect_body(t, i, b, x->args[0]) && collect_body(t, i, b, x->args[1]);
    return refuse(t, "the log density is no sum of log densities");
}

static bool collect_density(Terms *t, const Inst *i) {
    const DensityAttr *a = i->attr;
    if (!a->dist->is_square)
        return refuse(t, str_fmt(t->u->ctx, "%s is no Normal", a->dist->name));
    if (t->n == MOST_TERMS)
        return refuse(t, "there are too many statements");
    Dim count = type_count(t->u->ctx, a->type);
    for (int k = 0; k < t->n; k++)
        if (t->p[k].density == i)
            return refuse(t, "a log density counts twice");
    t->p[t->n++] = (SquareTerm){.density = i, .count = count, .counted = count, .prior = t->prior};
    return count != NULL;
}

/* The cells of the last term that count are those of a constant mask. */
static bool count_masked(Terms *t, const Inst *i, const Nest *n, const BodyInst *read) {
    SquareTerm *term = &t->p[t->n - 1];
    const Inst *mask = graph_def(t->f, i->args[read->operand]);
    if (!mask || mask->op != &op_const)
        return false;
    const ConstAttr *a = mask->attr;
    int *axes = ARENA_ARRAY(t->u->arena, int, MAX_RANK);
    int64_t cells = 1, length, on = 0;
    for (int k = 0; k < read->rank; k++) {
        axes[k] = -1;
        for (int j = 0; j < n->n_box; j++)
            if (dim_as_symbol(read->map[k]) == n->box[j].sym)
                axes[k] = j;
        if (axes[k] < 0 || !dim_is_const(a->type.shape[k], &length) ||
            n->box[axes[k]].extent != a->type.shape[k])
            return false;
        cells *= length;
    }
    for (int64_t k = 0; k < cells; k++)
        on += a->values[k].i != 0;
    Dim rest, others = dim_divide(t->u->ctx, term->count, dim_const(t->u->ctx, cells), &rest);
    term->counted = others ? dim_scale(t->u->ctx, others, on) : NULL;
    term->mask = mask;
    term->axes = axes;
    t->n -= on == 0; /* all is held: it says nothing */
    return term->counted && dim_is_zero(rest);
}

static bool collect(Terms *t, Val v) {
    const Inst *i = graph_def(t->f, v);
    if (i && i->op == &op_density)
        return collect_density(t, i);
    if (!i || i->op != &op_nest)
        return refuse(t, "the log density is no sum of log densities");
    const Nest *n = i->attr;
    if (!n->n_box && !n->rank && n->op == NEST_STORE && n->init < 0)
        return collect_body(t, i, &n->body, n->body.n - 1);
    Summand s;
    if (!summand_of(&n->body, &s) || !sums_all(n, s.v, graph_type(t->f, i->args[s.v->operand])))
        return refuse(t, "the log density is no sum of log densities");
    int before = t->n;
    Val cells = i->args[s.v->operand];
    if (!collect(t, cells))
        return false;
    if (!s.mask)
        return true;
    bool one = t->n == before + 1 && t->p[before].density->first.id == cells.id;
    return (one && count_masked(t, i, n, s.mask)) ||
           refuse(t, "the log density is no sum of log densities");
}

/* ---- what they depend on */

typedef struct Depends { /* by value id */
    const Degree *all;   /* on all parameters */
    const Degree **each; /* on one */
} Depends;

static Depends depends_of(Unit *u, const Func *f, const AbiBlock *b) {
    Depends d = {.each = ARENA_ARRAY(u->arena, const Degree *, b->params.n + 1)};
    bool *var = ARENA_ARRAY(u->arena, bool, f->params.n + 1),
         *held = ARENA_ARRAY(u->arena, bool, f->params.n + 1);
    for (int j = 0; j < f->params.n; j++) {
        var[j] = f->params.p[j].role == ROLE_PARAM;
        held[j] = var[j] && b->params.p[f->params.p[j].tensor].mask;
    }
    d.all = degree_of(u->arena, f, var, held);
    for (int k = 0; k < b->params.n; k++) {
        for (int j = 0; j < f->params.n; j++)
            var[j] = f->params.p[j].role == ROLE_PARAM && f->params.p[j].tensor == k;
        d.each[k] = degree_of(u->arena, f, var, held);
    }
    return d;
}

typedef struct Judge {
    Terms *t;
    const AbiBlock *block;
    Depends like, prior;
    Squares *out;
    bool *used; /* by parameter: some mean or left side depends on it */
} Judge;

static bool is_scale(const AbiTensor *t) { return t->kind == KIND_POSITIVE && !t->type.rank; }

/* The parameter that the scales of the likelihood are multiples of; -1: none, -2: it is not so. */
static int find_scale(Judge *j) {
    int found = -1;
    for (int k = 0; k < j->t->n; k++) {
        Val s = j->t->p[k].density->args[2];
        if (j->t->p[k].prior)
            continue;
        int mine = -1;
        for (int n = 0; n < j->block->params.n && j->like.all[s.id] != DEG_FREE; n++) {
            if (j->like.each[n][s.id] == DEG_FREE)
                continue;
            bool good =
                mine < 0 && j->like.each[n][s.id] == DEG_LINEAR && is_scale(&j->block->params.p[n]);
            mine = good ? n : -2;
        }
        if (mine == -2 || (k && mine != found))
            return -2;
        found = mine;
    }
    return found;
}

static bool judge_term(Judge *j, const SquareTerm *t) {
    const Depends *d = t->prior ? &j->prior : &j->like;
    const Val *a = t->density->args; /* x, mean, scale */
    int scale = j->out->scale;
    for (int n = 0; n < j->block->params.n; n++) {
        const Degree *by = d->each[n];
        bool in_scale = by[a[2].id] != DEG_FREE;
        if (n == scale ? by[a[2].id] != DEG_LINEAR : in_scale)
            return refuse(j->t,
                          "a scale is neither known nor a multiple of one positive parameter");
        for (int k = 0; k < 2; k++) {
            if (by[a[k].id] != DEG_FREE && n == scale)
                return refuse(j->t, "the scale stands in a mean, too");
            j->used[n] |= by[a[k].id] != DEG_FREE;
        }
    }
    for (int k = 0; k < 2; k++)
        j->out->affine &= d->all[a[k].id] != DEG_OTHER;
    return true;
}

bool est_squares(Unit *u, int block, const Parts *p, Squares *out, Str *why) {
    const AbiBlock *b = u->graph->blocks.p[block];
    Terms t = {.u = u, .f = p->loglik, .p = ARENA_ARRAY(u->arena, SquareTerm, MOST_TERMS)};
    Judge j = {
        .t = &t, .block = b, .out = out, .used = ARENA_ARRAY(u->arena, bool, b->params.n + 1)};
    *out = (Squares){.affine = true, .terms = t.p};
    bool good = p->loglik || refuse(&t, "it minimises");
    good = good && collect(&t, p->loglik->results.p[0].val);
    out->n_like = t.n;
    if (good && p->logprior) {
        t.f = p->logprior;
        t.prior = true;
        good = collect(&t, p->logprior->results.p[0].val);
        j.prior = depends_of(u, p->logprior, b);
    }
    out->n_terms = t.n;
    good = good && (out->n_like || refuse(&t, "there is no likelihood"));
    if (good) {
        j.like = depends_of(u, p->loglik, b);
        out->scale = find_scale(&j);
        good = out->scale > -2 ||
               refuse(&t, "a scale is neither known nor a multiple of one positive parameter");
    }
    for (int k = 0; good && k < t.n; k++)
        good = judge_term(&j, &t.p[k]);
    for (int n = 0; good && n < b->params.n; n++) {
        out->affine &= n == out->scale || b->params.p[n].kind == KIND_REAL;
        bool held = b->params.p[n].mask && !b->params.p[n].mask->n_learned;
        good = n == out->scale || j.used[n] || held || refuse(&t, "a parameter stands in no mean");
    }
    *why = t.why;
    return good;
}

/* ---- the residuals */

/* A function that yields the operands of the densities of one part. */
static Func *operands_of(Unit *u, const Func *part, const Squares *s, bool prior) {
    Func *f = graph_func_new(u->graph, str_fmt(u->ctx, "%s.operands", part->name), part->span);
    ValMap map = valmap_new(u->arena, part);
    f->real = part->real;
    f->block = part->block;
    for (int k = 0; k < part->dims.n; k++)
        vec_push(u->graph->arena, &f->dims, part->dims.p[k]);
    graph_copy_params(u->graph, f, part, &map);
    for (int k = 0; k < part->insts.n; k++)
        graph_copy_inst(u->graph, f, part, part->insts.p[k], &map);
    for (int k = 0; k < s->n_terms; k++)
        for (int a = 0; a < 3 && s->terms[k].prior == prior; a++)
            graph_result(u->graph, f,
                         (Result){.val = map.to[s->terms[k].density->args[a].id],
                                  .name = str_fmt(u->ctx, "operand%d", f->results.n),
                                  .role = RES_LOCAL,
                                  .of = -1});
    drop_dead(u, f);
    return graph_func_named(u->graph, str_fmt(u->ctx, "%s.operands", part->name));
}

/* An operand of the density's shape or a scalar. */
static int read_at(NestMaker *n, Val v, const Dim *at) {
    return body_cast(&n->b, DT_F64, maker_read(n, v, at));
}

static int read_mask(Build *e, NestMaker *n, const SquareTerm *t, const Dim *at) {
    const ConstAttr *a = t->mask->attr;
    Val mask = graph_inst(e->m, e->f, &op_const, NULL, 0, a, e->span, NULL)->first;
    Dim from[MAX_RANK];
    for (int k = 0; k < a->type.rank; k++)
        from[k] = at[t->axes[k]];
    return maker_read(n, mask, from);
}

static SquareRows rows_of(Build *e, const SquareTerm *t, const Val *operands) {
    SquareRows r = {.type = type_with(((const DensityAttr *)t->density->attr)->type, DT_F64)};
    Dim at[MAX_RANK];
    NestMaker n = nest_maker(e->m, e->f, NEST_STORE);
    maker_cells(&n, r.type, at);
    int x = read_at(&n, operands[0], at);
    r.x = maker_done(&n, x, r.type.rank, at, r.type.shape, e->span, NULL);
    n = nest_maker(e->m, e->f, NEST_STORE);
    maker_cells(&n, r.type, at);
    x = body_op2(&n.b, SC_sub, read_at(&n, operands[0], at), read_at(&n, operands[1], at));
    r.e = maker_done(&n, x, r.type.rank, at, r.type.shape, e->span, NULL);
    n = nest_maker(e->m, e->f, NEST_STORE);
    maker_cells(&n, r.type, at);
    x = body_op2(&n.b, SC_div, body_real(&n.b, DT_F64, 1), read_at(&n, operands[2], at));
    if (t->mask)
        x = body_op3(&n.b, SC_select, read_mask(e, &n, t, at), x, body_real(&n.b, DT_F64, 0));
    r.weight = maker_done(&n, x, r.type.rank, at, r.type.shape, e->span, NULL);
    return r;
}

SquareRows *est_square_rows(Build *e, const Parts *p, const Squares *s) {
    SquareRows *rows = ARENA_ARRAY(e->u->arena, SquareRows, s->n_terms + 1);
    for (int prior = 0; prior < 2; prior++) {
        const Func *part = prior ? p->logprior : p->loglik;
        if (!part)
            continue;
        Func *f = operands_of(e->u, part, s, prior);
        const Val *operands = est_splice(e, f);
        for (int k = 0; k < s->n_terms; k++)
            if (s->terms[k].prior == (prior == 1)) {
                rows[k] = rows_of(e, &s->terms[k], operands);
                operands += 3;
            }
        graph_func_remove(e->m, f->id);
    }
    return rows;
}
