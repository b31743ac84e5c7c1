/* From the graph IR to expressions: an element of a value at subscripts. */
#include <string.h>

#include "driver/sym.h"
#include "ir/dist.h"
#include "ir/op.h"

/* Bits of the parameters that v is computed from. */
static uint64_t deps_of(SymGraph *g, Val v) {
    const Func *f = g->f;
    if (!g->deps) {
        g->deps = ARENA_ARRAY(&g->c->ctx->perm, uint64_t, f->vals.n + 1);
        for (int k = 0; k < f->params.n; k++)
            if (f->params.p[k].role == ROLE_PARAM)
                g->deps[f->params.p[k].val.id] = (uint64_t)1 << f->params.p[k].tensor % 64;
        for (int k = 0; k < f->insts.n; k++)
            for (int r = 0; r < f->insts.p[k]->n_results; r++)
                for (int j = 0; j < f->insts.p[k]->n_args; j++)
                    g->deps[inst_result(f->insts.p[k], r).id] |= g->deps[f->insts.p[k]->args[j].id];
    }
    return g->deps[v.id];
}

static Sym named(SymGraph *g, Str name, uint64_t deps, const Sym *at, int n) {
    return deps ? sym_param(g->c, name, SYM_OPAQUE, deps, at, n) : sym_name(g->c, name, 0, at, n);
}

/* "trisolve of L": the op and the params among its operands. */
static Str what_text(SymGraph *g, const Inst *i) {
    StrBuf sb = sb_new(&g->c->ctx->perm);
    sb_put(&sb, i->op->name);
    bool any = false;
    for (int k = 0; k < i->n_args; k++)
        for (int j = 0; j < g->f->params.n; j++)
            if (g->f->params.p[j].val.id == i->args[k].id) {
                sb_printf(&sb, "%s%s", any ? ", " : " of ", g->f->params.p[j].name);
                any = true;
            }
    return sb.text;
}

static Sym opaque(SymGraph *g, Val v, const Sym *at) {
    Type t = graph_type(g->f, v);
    for (int k = 0; k < g->notes.n; k++)
        if (g->notes.p[k].v.id == v.id)
            return named(g, g->notes.p[k].name->name, g->notes.p[k].name->deps, at, t.rank);
    const Inst *i = graph_def(g->f, v);
    Str name = str_fmt(g->c->ctx, "u%d", g->notes.n + 1);
    const char *dot = i->name ? strrchr(i->name, '.') : NULL;
    if (g->names && dot)
        name = str_of(g->c->ctx, dot + 1);
    uint64_t deps = deps_of(g, v);
    SymNote note = {v, named(g, name, deps, NULL, 0), i->span, what_text(g, i)};
    vec_push(&g->c->ctx->perm, &g->notes, note);
    return named(g, name, deps, at, t.rank);
}

static AbiKind kind_of(const SymGraph *g, const Param *p) {
    const AbiBlock *b = g->block;
    if (b && p->role == ROLE_PARAM && p->tensor >= 0)
        return b->params.p[p->tensor].kind;
    if (b && p->role == ROLE_HYPER && p->tensor >= 0)
        return b->formals.p[p->tensor].kind;
    for (int k = 0; b && p->role == ROLE_INPUT && k < b->data.n; k++)
        if (b->data.p[k].name == p->name)
            return b->data.p[k].kind;
    return KIND_REAL;
}

static Sym of_param(SymGraph *g, const Param *p, Val v, const Sym *at) {
    if (g->up)
        return sym_of_val(g->up, g->args[p->tensor], at);
    AbiKind kind = kind_of(g, p);
    bool positive = kind == KIND_POSITIVE || kind == KIND_PROB || kind == KIND_SIMPLEX;
    unsigned flags = positive ? SYM_POSITIVE : 0;
    int rank = graph_type(g->f, v).rank;
    if (p->role == ROLE_PARAM)
        return sym_param(g->c, p->name, flags, (uint64_t)1 << p->tensor % 64, at, rank);
    return sym_name(g->c, p->name, flags, at, rank);
}

/* ---- bodies */

Sym sym_of_body(SymBody *b, int k) {
    const BodyInst *i = &b->insts[k];
    Sym args[3];
    switch (i->kind) {
    case BODY_READ:
        return b->read(b, i);
    case BODY_INDEX:
    case BODY_DIM:
        return sym_of_dim(b->c, i->dim, b->indices, b->values, b->n_indices);
    case BODY_CONST:
        return sym_num(b->c, dtype_is_real(i->dt) ? i->k.f : (double)i->k.i);
    case BODY_ACC:
        return b->acc;
    case BODY_OP:
        break;
    }
    if (i->op == SC_select && b->held && b->held(b, i))
        return sym_of_body(b, i->args[1]);
    int n = scalar_def(i->op)->arity;
    for (int j = 0; j < n; j++)
        args[j] = sym_of_body(b, i->args[j]);
    return sym_call(b->c, i->op, args, n);
}

typedef struct Reader {
    SymGraph *g;
    const Inst *i;
} Reader;

static Sym inside(SymCtx *c, Sym at, Dim extent) {
    Sym low = sym_call(c, SC_le, (Sym[]){sym_num(c, 0), at}, 2);
    Sym high = sym_call(c, SC_lt, (Sym[]){at, sym_of_dim(c, extent, NULL, NULL, 0)}, 2);
    return sym_call(c, SC_and, (Sym[]){low, high}, 2);
}

static Sym read_operand(SymBody *b, const BodyInst *i) {
    const Reader *r = b->at;
    Sym at[MAX_RANK];
    for (int k = 0; k < i->rank; k++)
        at[k] = sym_of_dim(b->c, i->map[k], b->indices, b->values, b->n_indices);
    Val v = r->i->args[i->operand];
    Sym e = sym_of_val(r->g, v, at);
    for (int k = 0; i->has_fill && !r->g->guarded && k < i->rank;
         k++) /* the fill where a subscript is outside */
        e = sym_select(b->c, inside(b->c, at[k], graph_type(r->g->f, v).shape[k]), e,
                       sym_num(b->c, dtype_is_real(i->dt) ? i->k.f : (double)i->k.i));
    return e;
}

static bool has_mask(const SymGraph *g, Val v) {
    for (int k = 0; g->block && k < g->f->params.n; k++) {
        const Param *p = &g->f->params.p[k];
        if (p->val.id == v.id)
            return p->role == ROLE_PARAM && g->block->params.p[p->tensor].mask;
    }
    return false;
}

/* select(mask, w, stop(w)), as each mention of w is; or select(mask, density of w, 0), its prior.
 */
static bool is_held(const SymBody *b, const BodyInst *select) {
    const Reader *r = b->at;
    const BodyInst *x = &b->insts[select->args[1]], *y = &b->insts[select->args[2]];
    if (x->kind != BODY_READ)
        return false;
    Val v = r->i->args[x->operand];
    const Inst *of = graph_def(r->g->f, v);
    if (y->kind == BODY_CONST)
        return y->k.f == 0 && of && of->op == &op_density && has_mask(r->g, of->args[0]);
    const Inst *held = y->kind == BODY_READ ? graph_def(r->g->f, r->i->args[y->operand]) : NULL;
    return held && held->op == &op_stop && held->args[0].id == v.id && has_mask(r->g, v);
}

/* ---- nests */

/* What the nest's indices are at the cell `at`: outputs are found from the map, others are summed
 * over; *where: what the map leaves to require (a product of deltas). */
typedef struct Point {
    DimSym sym[64];
    Sym value[64];
    bool summed[64];
    int n;
    Sym where;
} Point;

static bool point_at(SymCtx *c, const Nest *n, const Sym *at, Point *p) {
    if (n->n_box > 64)
        return false;
    *p = (Point){.n = n->n_box, .where = sym_num(c, 1)};
    for (int k = 0; k < n->n_box; k++)
        p->sym[k] = n->box[k].sym;
    for (int a = 0; a < n->rank; a++)
        for (int k = 0; k < p->n; k++)
            if (dim_as_symbol(n->map[a]) == p->sym[k] && !p->value[k])
                p->value[k] = at[a];
    for (int k = 0; k < p->n; k++)
        if (!p->value[k]) {
            p->value[k] = sym_index(c, NULL);
            p->summed[k] = true;
        }
    for (int a = 0; a < n->rank; a++)
        p->where = sym_mul(c, p->where,
                           sym_delta(c, at[a], sym_of_dim(c, n->map[a], p->sym, p->value, p->n)));
    return true;
}

static Sym guarded(SymCtx *c, const Nest *n, const Point *p, Sym body) {
    for (int k = 0; k < n->n_guards; k++) {
        Sym form = sym_of_dim(c, n->guards[k].form, p->sym, p->value, p->n);
        Sym extent = sym_of_dim(c, n->guards[k].extent, p->sym, p->value, p->n);
        Sym low = sym_call(c, SC_le, (Sym[]){sym_num(c, 0), form}, 2);
        Sym high = sym_call(c, SC_lt, (Sym[]){form, extent}, 2);
        body = sym_select(c, sym_call(c, SC_and, (Sym[]){low, high}, 2), body, sym_num(c, 0));
    }
    return body;
}

static Sym of_nest(SymGraph *g, const Inst *i, const Sym *at) {
    SymCtx *c = g->c;
    const Nest *n = i->attr;
    Point p;
    if (n->op == NEST_ARGMAX || !point_at(c, n, at, &p))
        return NULL;
    Reader r = {g, i};
    SymBody b = {.c = c,
                 .insts = n->body.insts,
                 .read = read_operand,
                 .held = is_held,
                 .at = &r,
                 .indices = p.sym,
                 .values = p.value,
                 .n_indices = p.n};
    Sym e = sym_of_body(&b, n->body.n - 1);
    if (n->op == NEST_MAX || n->op == NEST_MIN) {
        if (!sym_is_num(p.where, 1) || n->n_guards)
            return NULL;
    } else {
        e = guarded(c, n, &p, sym_mul(c, p.where, e));
    }
    SymKind kind = n->op == NEST_MAX ? SYM_MAX : n->op == NEST_MIN ? SYM_MIN : SYM_SUM;
    for (int k = p.n - 1; k >= 0; k--)
        if (p.summed[k])
            e = sym_over(c, kind, p.value[k], sym_of_dim(c, n->box[k].extent, p.sym, p.value, p.n),
                         e);
    if (n->init >= 0)
        e = sym_add(c, sym_of_val(g, i->args[n->init], at), e);
    if (!n->post.n)
        return e;
    SymBody post = b;
    post.insts = n->post.insts;
    post.acc = e;
    return sym_of_body(&post, n->post.n - 1);
}

/* ---- other ops with a formula */

/* out[r.., s.., t..] = x[i[s..], r.., t..] */
static Sym of_gather(SymGraph *g, const Inst *i, const Sym *at) {
    const GatherAttr *a = i->attr;
    Sym sub[MAX_RANK], *from = sub + 1;
    int n_s = graph_type(g->f, i->args[1]).rank, rank = graph_type(g->f, i->args[0]).rank;
    sub[0] = sym_of_val(g, i->args[1], at + a->at);
    for (int k = 0; k + 1 < rank; k++)
        from[k] = at[k < a->at ? k : k + n_s];
    return sub[0] ? sym_of_val(g, i->args[0], sub) : NULL;
}

/* x with u[r.., s.., t..] added to x[i[s..], r.., t..] */
static Sym of_scatter(SymGraph *g, const Inst *i, const Sym *at) {
    SymCtx *c = g->c;
    const GatherAttr *a = i->attr;
    Type s = graph_type(g->f, i->args[1]), u = graph_type(g->f, i->args[2]);
    Sym from[MAX_RANK];
    for (int k = 0; k < u.rank; k++)
        from[k] = k < a->at            ? at[k + 1]
                  : k < a->at + s.rank ? sym_index(c, NULL)
                                       : at[k - s.rank + 1];
    Sym sub = sym_of_val(g, i->args[1], from + a->at);
    Sym e = sym_mul(c, sym_delta(c, sub, at[0]), sym_of_val(g, i->args[2], from));
    for (int k = s.rank - 1; k >= 0; k--)
        e = sym_over(c, SYM_SUM, from[a->at + k], sym_of_dim(c, s.shape[k], NULL, NULL, 0), e);
    return sym_add(c, sym_of_val(g, i->args[0], at), e);
}

static Sym of_const(SymGraph *g, const Inst *i, const Sym *at) {
    const ConstAttr *a = i->attr;
    int64_t count = 1, extent, flat = 0;
    for (int k = 0; k < a->type.rank; k++) {
        if (!dim_is_const(a->type.shape[k], &extent))
            return NULL;
        count *= extent;
        flat = flat * extent + (at[k]->kind == SYM_NUM ? (int64_t)at[k]->num : 0);
    }
    bool real = dtype_is_real(a->type.dt), same = true, known = true;
    for (int k = 0; k < a->type.rank; k++)
        known &= at[k]->kind == SYM_NUM;
    for (int64_t k = 1; k < count; k++)
        same &= real ? a->values[k].f == a->values[0].f : a->values[k].i == a->values[0].i;
    if (!same && !known)
        return NULL;
    const ScalarValue *v = &a->values[known ? flat : 0];
    return sym_num(g->c, real ? v->f : (double)v->i);
}

/* A log density by its formula at one draw. */
typedef struct Draw {
    SymGraph *g;
    const Inst *i;
    const Sym *at;
} Draw;

static Sym read_draw(SymBody *b, const BodyInst *i) {
    const Draw *d = b->at;
    Val v = d->i->args[i->operand];
    return sym_of_val(d->g, v, d->at); /* a scalar has no subscripts */
}

static Sym of_body(SymGraph *g, const Inst *i, const Sym *at) {
    const DensityAttr *a = i->attr;
    BodyBuilder b = body_new(g->c->ctx);
    int r[DIST_MOST_PARAMS + 1];
    for (int k = 0; k < i->n_args; k++)
        r[k] = body_read(&b, k || a->dist->support != SUPPORT_BOOL ? DT_F64 : DT_BOOL, k, 0, NULL);
    int e = (a->dist->formula ? a->dist->formula : a->dist->body)(&b, a->form, r[0], r + 1);
    Draw d = {g, i, at};
    SymBody s = {.c = g->c, .insts = b.insts.p, .read = read_draw, .at = &d};
    return sym_of_body(&s, e);
}

/* What a stanza builds from instructions: as a function of its own. */
static Sym of_built(SymGraph *g, const Inst *i, const Sym *at) {
    Ctx *ctx = g->c->ctx;
    Module *m = graph_module_new(ctx, &ctx->perm, g->m->source);
    Func *f = dist_function(m, g->f, i);
    SymGraph in = {.c = g->c, .m = m, .f = f, .guarded = true, .up = g, .args = i->args};
    return sym_of_val(&in, f->results.p[0].val, at);
}

static Sym of_inst(SymGraph *g, const Inst *i, const Sym *at) {
    if (i->op == &op_nest)
        return of_nest(g, i, at);
    if (i->op == &op_density)
        return (((const DensityAttr *)i->attr)->dist->body ? of_body : of_built)(g, i, at);
    if (i->op == &op_gather)
        return of_gather(g, i, at);
    if (i->op == &op_scatter_add)
        return of_scatter(g, i, at);
    if (i->op == &op_const)
        return of_const(g, i, at);
    if (i->op == &op_stop) {
        Sym e = sym_of_val(g, i->args[0], at);
        return e ? sym_stop(g->c, e) : NULL;
    }
    return NULL;
}

Sym sym_of_val(SymGraph *g, Val v, const Sym *at) {
    for (int k = 0; k < graph_type(g->f, v).rank; k++)
        if (!at[k])
            return NULL;
    const Inst *i = graph_def(g->f, v);
    if (!i) {
        for (int k = 0; k < g->f->params.n; k++)
            if (g->f->params.p[k].val.id == v.id)
                return of_param(g, &g->f->params.p[k], v, at);
        return NULL;
    }
    const char *dot = i->name ? strrchr(i->name, '.') : NULL;
    Sym e = g->names && dot && graph_type(g->f, v).rank ? NULL : of_inst(g, i, at);
    return e || g->c->n_nodes > g->c->most ? e : opaque(g, v, at);
}
