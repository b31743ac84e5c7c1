/* Modules, functions and instructions of the graph IR: building, copying, splicing. */
#include "ir/graph.h"

#include <string.h>

#include "ir/op.h"

Module *graph_module_new(Ctx *ctx, Arena *arena, Str source) {
    Module *m = ARENA_NEW(arena, Module);
    m->ctx = ctx;
    m->arena = arena;
    m->source = source;
    return m;
}

/* ---- functions */

static Func *new_func(Module *m, Str name, Span span) {
    Func *f = ARENA_NEW(m->arena, Func);
    f->name = name;
    f->span = span;
    f->real = DT_F64;
    f->block = -1;
    vec_push(m->arena, &f->vals, (ValInfo){.inst = -1});
    return f;
}

Func *graph_func_new(Module *m, Str name, Span span) {
    Func *f = new_func(m, name, span);
    vec_push(m->arena, &m->funcs, f);
    f->id = (FuncId){(uint32_t)m->funcs.n};
    return f;
}

Func *graph_func(const Module *m, FuncId id) {
    return id.id >= 1 && id.id <= (uint32_t)m->funcs.n ? m->funcs.p[id.id - 1] : NULL;
}

Func *graph_func_named(const Module *m, Str name) {
    for (int k = 0; k < m->funcs.n; k++)
        if (m->funcs.p[k] && strcmp(m->funcs.p[k]->name, name) == 0)
            return m->funcs.p[k];
    return NULL;
}

void graph_func_remove(Module *m, FuncId id) {
    CTX_ASSERT(m->ctx, graph_func(m, id));
    m->funcs.p[id.id - 1] = NULL;
}

Func *graph_func_like(Module *m, const Func *f) {
    Func *g = new_func(m, f->name, f->span);
    g->id = f->id;
    g->real = f->real;
    g->entry = f->entry;
    g->block = f->block;
    for (int k = 0; k < f->dims.n; k++)
        vec_push(m->arena, &g->dims, f->dims.p[k]);
    for (int k = 0; k < f->checks.n; k++)
        vec_push(m->arena, &g->checks, f->checks.p[k]);
    return g;
}

void graph_func_replace(Module *m, FuncId id, Func *with) {
    CTX_ASSERT(m->ctx, graph_func(m, id));
    with->id = id;
    m->funcs.p[id.id - 1] = with;
}

/* ---- values and instructions */

static Val new_val(Module *m, Func *f, Type t, int inst, Str name) {
    vec_push(m->arena, &f->vals, (ValInfo){t, inst, name});
    return (Val){(uint32_t)f->vals.n - 1};
}

Val graph_param(Module *m, Func *f, Param p, Type t) {
    p.val = new_val(m, f, t, -1, p.name);
    vec_push(m->arena, &f->params, p);
    return p.val;
}

void graph_result(Module *m, Func *f, Result r) { vec_push(m->arena, &f->results, r); }

Type graph_type(const Func *f, Val v) { return f->vals.p[v.id].type; }

Inst *graph_def(const Func *f, Val v) {
    int k = f->vals.p[v.id].inst;
    return k < 0 ? NULL : f->insts.p[k];
}

static const Val *copy_vals(Module *m, const Val *v, int n) {
    return n ? arena_dup(m->arena, v, (size_t)n * sizeof *v) : NULL;
}

/* Appends an instruction with results of these types. */
static Inst *append(Module *m, Func *f, const OpDef *op, const Val *args, int n_args,
                    const void *attr, Span span, Str name, const Type *types, int n_results) {
    for (int k = 0; k < n_args; k++)
        if (args[k].id == 0 || args[k].id >= (uint32_t)f->vals.n)
            ctx_internal(m->ctx, "operand %d of %s in %s is no value", k, op->name, f->name);
    Inst *i = ARENA_NEW(m->arena, Inst);
    *i = (Inst){.op = op,
                .span = span,
                .name = name,
                .n_args = n_args,
                .attr = attr,
                .n_results = n_results};
    i->args = copy_vals(m, args, n_args);
    i->first = (Val){(uint32_t)f->vals.n};
    vec_push(m->arena, &f->insts, i);
    for (int k = 0; k < n_results; k++)
        new_val(m, f, types[k], f->insts.n - 1, name);
    return i;
}

Inst *graph_inst(Module *m, Func *f, const OpDef *op, const Val *args, int n_args, const void *attr,
                 Span span, Str name) {
    Type types[MAX_RESULTS];
    int n = 0;
    if (!op->type)
        ctx_internal(m->ctx, "%s has no type rule: its type must be given", op->name);
    if (op->n_args >= 0 && op->n_args != n_args)
        ctx_internal(m->ctx, "%s has %d operands, not %d", op->name, op->n_args, n_args);
    const char *why = op->type(m, f, args, n_args, attr, types, &n);
    if (why)
        ctx_internal(m->ctx, "%s in %s: %s", op->name, f->name, why);
    return append(m, f, op, args, n_args, attr, span, name, types, n);
}

Inst *graph_inst_typed(Module *m, Func *f, const OpDef *op, const Val *args, int n_args,
                       const void *attr, Span span, Str name, const Type *types, int n_results) {
    return append(m, f, op, args, n_args, attr, span, name, types, n_results);
}

Val graph_nest(Module *m, Func *f, const Nest *n, const Val *args, int n_args, DType dt,
               const Dim *shape, Span span, Str name) {
    Type t = type_new(m->ctx, dt, n->rank, shape);
    const Nest *attr = arena_dup(m->arena, n, sizeof *n);
    return append(m, f, &op_nest, args, n_args, attr, span, name, &t, 1)->first;
}

int *graph_uses(Arena *arena, const Func *f) {
    int *uses = ARENA_ARRAY(arena, int, f->vals.n);
    for (int k = 0; k < f->insts.n; k++)
        for (int a = 0; a < f->insts.p[k]->n_args; a++)
            uses[f->insts.p[k]->args[a].id]++;
    for (int k = 0; k < f->results.n; k++)
        uses[f->results.p[k].val.id]++;
    return uses;
}

/* ---- copying */

ValMap valmap_new(Arena *arena, const Func *from) {
    return (ValMap){ARENA_ARRAY(arena, Val, from->vals.n)};
}

static Val mapped(Module *m, const ValMap *map, Val v, const Func *src) {
    if (!map->to[v.id].id)
        ctx_internal(m->ctx, "value %u of %s is used before it is copied", v.id, src->name);
    return map->to[v.id];
}

static Dim subst_dim(Module *m, Dim d, const DimBinding *b, int n) {
    Dim r = d && n ? dim_subst(m->ctx, d, b, n) : d;
    if (d && !r)
        ctx_internal(m->ctx, "a shape overflows when dims are substituted");
    return r;
}

static Type subst_type(Module *m, Type t, const DimBinding *b, int n) {
    Dim shape[MAX_RANK];
    for (int k = 0; k < t.rank; k++)
        shape[k] = subst_dim(m, t.shape[k], b, n);
    return n ? type_new(m->ctx, t.dt, t.rank, shape) : t;
}

static Inst *copy_inst(Module *m, Func *dst, const Func *src, const Inst *i, ValMap *map,
                       const DimBinding *b, int n_b, Str name) {
    Val *args = ARENA_ARRAY(m->arena, Val, i->n_args + 1);
    for (int k = 0; k < i->n_args; k++)
        args[k] = mapped(m, map, i->args[k], src);
    Type types[MAX_RESULTS];
    for (int k = 0; k < i->n_results; k++)
        types[k] = subst_type(m, graph_type(src, inst_result(i, k)), b, n_b);
    const void *attr = n_b && i->op->subst ? i->op->subst(m->ctx, i->attr, b, n_b) : i->attr;
    Inst *c = append(m, dst, i->op, args, i->n_args, attr, i->span, name, types, i->n_results);
    for (int k = 0; k < i->n_results; k++)
        map->to[inst_result(i, k).id] = inst_result(c, k);
    return c;
}

Inst *graph_copy_inst(Module *m, Func *dst, const Func *src, const Inst *i, ValMap *map) {
    return copy_inst(m, dst, src, i, map, NULL, 0, i->name);
}

void graph_copy_params(Module *m, Func *dst, const Func *src, ValMap *map) {
    for (int k = 0; k < src->params.n; k++) {
        Param p = src->params.p[k];
        map->to[p.val.id] = graph_param(m, dst, p, graph_type(src, p.val));
    }
}

void graph_copy_results(Module *m, Func *dst, const Func *src, const ValMap *map) {
    for (int k = 0; k < src->results.n; k++) {
        Result r = src->results.p[k];
        r.val = mapped(m, map, r.val, src);
        graph_result(m, dst, r);
    }
}

void graph_splice(Module *m, Func *dst, const Func *src, const Val *args,
                  const DimBinding *bindings, int n_bindings, Str prefix, Val *outs) {
    ValMap map = valmap_new(m->arena, src);
    for (int k = 0; k < src->params.n; k++)
        map.to[src->params.p[k].val.id] = args[k];
    for (int k = 0; k < src->insts.n; k++) {
        const Inst *i = src->insts.p[k];
        Str name = prefix && i->name ? str_fmt(m->ctx, "%s.%s", prefix, i->name)
                   : i->name         ? i->name
                                     : prefix;
        copy_inst(m, dst, src, i, &map, bindings, n_bindings, name);
    }
    for (int k = 0; k < src->results.n; k++)
        outs[k] = mapped(m, &map, src->results.p[k].val, src);
}
