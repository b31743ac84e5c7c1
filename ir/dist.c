#include "ir/dist.h"

#include <math.h>
#include <string.h>

#include "ir/op.h"

#define DIST(name) extern const DistDef dist_##name;
#include "ir/dists/dists.def"
#undef DIST

static const DistDef *const dists[] = {
#define DIST(name) &dist_##name,
#include "ir/dists/dists.def"
#undef DIST
};

const DistDef *const *dist_all(int *n) {
    *n = (int)(sizeof dists / sizeof *dists);
    return dists;
}

const DistDef *dist_named(Str name) {
    for (size_t k = 0; k < sizeof dists / sizeof *dists; k++)
        if (strcmp(dists[k]->name, name) == 0)
            return dists[k];
    return NULL;
}

int dist_form_named(const DistDef *d, const char *param) {
    for (int k = 0; k < d->n_forms; k++)
        for (int j = 0; j < d->forms[k].n_params; j++)
            if (strcmp(d->forms[k].params[j].name, param) == 0)
                return k;
    return -1;
}

const DistLink *dist_link(const DistDef *d, int form, int arg) {
    for (const DistLink *l = d->links; l->rule; l++)
        if (l->form == form && l->arg == arg)
            return l;
    return NULL;
}

/* ---- elementwise expansion */

typedef struct Cells {
    const DistCall *c;
    NestIndex *box;
    Dim *map;
    Val args[DIST_MOST_PARAMS + 1];
    int n_args;
} Cells;

static Cells cells_of(const DistCall *c) {
    Ctx *ctx = c->m->ctx;
    Cells s = {.c = c};
    s.box = ARENA_ARRAY(&ctx->perm, NestIndex, c->type.rank + 1);
    s.map = ARENA_ARRAY(&ctx->perm, Dim, c->type.rank + 1);
    for (int k = 0; k < c->type.rank; k++) {
        s.box[k] = (NestIndex){nest_index(ctx, str_fmt(ctx, "i%d", k)), c->type.shape[k]};
        s.map[k] = dim_of(ctx, s.box[k].sym);
    }
    return s;
}

static int read_at(Cells *s, BodyBuilder *b, Val v, bool to_real) {
    Type t = graph_type(s->c->f, v);
    s->args[s->n_args] = v;
    int r = body_read(b, t.dt, s->n_args++, t.rank, s->map);
    return to_real ? body_cast(b, s->c->type.dt, r) : r;
}

static Val emit_cells(Cells *s, BodyBuilder *b, int result) {
    const DistCall *c = s->c;
    Nest n = {.op = NEST_STORE,
              .n_box = c->type.rank,
              .box = s->box,
              .rank = c->type.rank,
              .map = s->map,
              .init = -1};
    n.body = body_done(b, result);
    return graph_nest(c->m, c->f, &n, s->args, s->n_args, c->type.dt, c->type.shape, c->span,
                      c->name);
}

/* x outside of the support: a condition, or -1 where there is none. */
static int outside(BodyBuilder *b, DistSupport s, int x) {
    if (s != SUPPORT_POSITIVE && s != SUPPORT_UNIT)
        return -1;
    DType dt = body_type(b, x);
    int below = body_op2(b, SC_lt, x, body_real(b, dt, 0));
    int above = body_op2(b, SC_lt, body_real(b, dt, 1), x);
    return s == SUPPORT_UNIT ? body_op2(b, SC_or, below, above) : below;
}

int dist_body(const DistDef *d, BodyBuilder *b, int form, int x, const int *p) {
    int off = outside(b, d->support, x), e = d->body(b, form, x, p);
    return off < 0 ? e : body_op3(b, SC_select, off, body_real(b, body_type(b, e), -INFINITY), e);
}

Val dist_logpdf(const DistDef *d, const DistCall *c) {
    if (!d->body)
        return d->logpdf(c);
    Cells s = cells_of(c);
    BodyBuilder b = body_new(c->m->ctx);
    int p[DIST_MOST_PARAMS], x = read_at(&s, &b, c->x, d->support != SUPPORT_BOOL);
    for (int k = 0; k < d->forms[c->form].n_params; k++)
        p[k] = read_at(&s, &b, c->params[k], true);
    return emit_cells(&s, &b, dist_body(d, &b, c->form, x, p));
}

Val dist_mean(const DistDef *d, const DistCall *c) {
    if (!d->mean_body)
        return d->mean(c);
    Cells s = cells_of(c);
    BodyBuilder b = body_new(c->m->ctx);
    int p[DIST_MOST_PARAMS];
    for (int k = 0; k < d->forms[c->form].n_params; k++)
        p[k] = read_at(&s, &b, c->params[k], true);
    return emit_cells(&s, &b, d->mean_body(&b, c->form, c->type.dt, p));
}

Func *dist_function(Module *m, const Func *f, const Inst *density) {
    const DensityAttr *a = density->attr;
    Func *d = graph_func_new(m, str_of(m->ctx, "density"), density->span);
    Val *v = ARENA_ARRAY(m->arena, Val, density->n_args + 1);
    for (int k = 0; k < density->n_args; k++) {
        Param p = {.name = str_of(m->ctx, "x"), .role = ROLE_LOCAL, .tensor = k};
        v[k] = graph_param(m, d, p, graph_type(f, density->args[k]));
    }
    for (int k = 0; k < f->dims.n; k++)
        vec_push(m->arena, &d->dims, f->dims.p[k]);
    DistCall c = {.m = m,
                  .f = d,
                  .form = a->form,
                  .x = v[0],
                  .params = v + 1,
                  .type = a->type,
                  .span = density->span,
                  .name = density->name};
    Val r = dist_logpdf(a->dist, &c);
    graph_result(m, d, (Result){.val = r, .name = str_of(m->ctx, "out"), .role = RES_LOCAL, .of = -1});
    return d;
}
