/* Slices of a function: what some of its results need. */
#include "frontend/lower.h"

void lower_mark(const Func *f, Val v, bool *live) {
    if (live[v.id])
        return;
    live[v.id] = true;
    const Inst *i = graph_def(f, v);
    for (int k = 0; i && k < i->n_args; k++)
        lower_mark(f, i->args[k], live);
}

bool lower_reaches(Elab *e, const Func *f, Val from, Val to) {
    bool *live = ARENA_ARRAY(e->arena, bool, f->vals.n + 1);
    lower_mark(f, to, live);
    return live[from.id];
}

bool lower_depends(Elab *e, const Func *f, Val v, Role role) {
    bool *live = ARENA_ARRAY(e->arena, bool, f->vals.n + 1);
    lower_mark(f, v, live);
    for (int k = 0; k < f->params.n; k++)
        if (f->params.p[k].role == role && live[f->params.p[k].val.id])
            return true;
    return false;
}

static bool any_live(const Inst *i, const bool *live) {
    for (int k = 0; k < i->n_results; k++)
        if (live[i->first.id + (uint32_t)k])
            return true;
    return false;
}

static void copy_results(Elab *e, Func *to, const Slice *s, const ValMap *map) {
    for (int k = 0; k < s->results.n; k++) {
        Result r = s->results.p[k];
        r.val = map->to[r.val.id];
        Role role = r.role == RES_NEW_STATE ? ROLE_STATE
                    : r.role == RES_NEW_OPT ? ROLE_OPT
                                            : ROLE_PARAM;
        int tensor = r.of;
        bool init =
            to->entry && to->entry->kind == ENTRY_INIT; /* `of` stays the number in the table */
        r.of = init ? tensor : -1;
        for (int j = 0; tensor >= 0 && j < to->params.n; j++)
            if (to->params.p[j].role == role && to->params.p[j].tensor == tensor)
                r.of = j;
        graph_result(e->m, to, r);
    }
}

static bool mentions(const Func *f, DimSym s) {
    for (int v = 1; v < f->vals.n; v++)
        for (int k = 0; k < f->vals.p[v].type.rank; k++)
            if (dim_mentions(f->vals.p[v].type.shape[k], s))
                return true;
    for (int i = 0; i < f->insts.n; i++) {
        if (f->insts.p[i]->op != &op_nest)
            continue;
        const Nest *n = f->insts.p[i]->attr;
        for (int k = 0; k < n->n_box; k++)
            if (dim_mentions(n->box[k].extent, s))
                return true;
        for (int k = 0; k < n->body.n; k++)
            if (n->body.insts[k].kind == BODY_DIM && dim_mentions(n->body.insts[k].dim, s))
                return true;
    }
    return false;
}

/* Checks that speak of dims this function has. */
static void copy_checks(Elab *e, Func *to, const Func *from) {
    for (int k = 0; k < from->checks.n; k++) {
        DimSym s[32];
        int n = dim_symbols(from->checks.p[k].cond, s, 32);
        bool known = n <= 32;
        for (int i = 0; known && i < n; i++) {
            known = false;
            for (int j = 0; j < to->dims.n; j++)
                known |= to->dims.p[j] == s[i];
        }
        if (known)
            vec_push(e->m->arena, &to->checks, from->checks.p[k]);
    }
}

Func *lower_slice(Elab *e, const Func *from, const Slice *s) {
    bool *live = ARENA_ARRAY(e->arena, bool, from->vals.n + 1);
    for (int k = 0; k < s->results.n; k++)
        lower_mark(from, s->results.p[k].val, live);
    Func *to = graph_func_new(e->m, s->name, s->span);
    to->real = from->real;
    to->entry = s->entry;
    to->block = s->block;
    ValMap map = valmap_new(e->arena, from);
    for (int role = ROLE_INPUT; role <= ROLE_LOCAL; role++)
        for (int k = 0; k < from->params.n; k++) {
            const Param *p = &from->params.p[k];
            if ((int)p->role == role && (live[p->val.id] || (s->keep >> role & 1)))
                map.to[p->val.id] = graph_param(e->m, to, *p, graph_type(from, p->val));
        }
    for (int k = 0; k < from->insts.n; k++)
        if (any_live(from->insts.p[k], live))
            graph_copy_inst(e->m, to, from, from->insts.p[k], &map);
    copy_results(e, to, s, &map);
    for (int k = 0; k < from->dims.n; k++)
        if (s->all_dims || mentions(to, from->dims.p[k]))
            vec_push(e->m->arena, &to->dims, from->dims.p[k]);
    copy_checks(e, to, from);
    return to;
}
