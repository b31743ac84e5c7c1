/* Defs and models as entries, and the tables of blocks. */
#include "frontend/lower.h"

#include <string.h>

static const Define *define_named(Elab *e, Str name) {
    for (int i = 0; e->o && i < e->o->n_defines; i++)
        if (e->o->defines[i].name == name) {
            e->o->defines[i].used = true;
            return &e->o->defines[i];
        }
    return NULL;
}

const Define *lower_define(Elab *e, const char *decl, Str name) {
    const Define *d = define_named(e, str_fmt(e->ctx, "%s.%s", decl, name));
    for (int i = 0; i < e->file->ast->n_items; i++) /* `-D NAME` is a const where there is one */
        if (e->file->ast->items[i]->kind == ITEM_CONST && e->file->ast->items[i]->name.text == name)
            return d;
    return d ? d : define_named(e, name);
}

static void root_dims(Elab *e, const Item *item) {
    for (int i = 0; i < item->n_dims; i++) {
        const DimDecl *d = &item->dims[i];
        const Define *def = lower_define(e, item->name.text, d->name.text);
        Value v = value_error();
        if (def && !def->is_int) {
            elab_error(e, "E0602", d->name.span, "the dim `%s` is %g: dims are whole numbers, at least 1", d->name.text, def->value);
        } else if (def) {
            v = value_int(e, (int64_t)def->value, d->name.span);
        } else if (d->value) {
            elab_dim_value(e, d->value, &v);
        }
        int64_t k;
        if (value_int_const(&v, &k) && k < 1) {
            elab_error(e, "E0602", d->name.span, "the dim `%s` is %lld: dims are at least 1",
                       d->name.text, (long long)k);
            v = value_error();
        }
        DimSym s = dim_symbol_new(e->ctx, d->name.text, 1, false);
        if (v.kind == V_DIM) {
            v.name = dim_of(e->ctx, s);
        } else if (!d->value || def) {
            v = value_dim(dim_of(e->ctx, s), dim_of(e->ctx, s), d->name.span);
            vec_push(e->m->arena, &e->f->dims, s);
        }
        elab_bind(e, d->name, B_DIM, v);
    }
}

Func *lower_begin(Elab *e, const Item *item, DType real, bool training) {
    e->f = graph_func_new(e->m, str_fmt(e->ctx, "%s", item->name.text ? item->name.text : "test"),
                          item->span);
    e->f->block = -1;
    e->f->real = e->real = real;
    e->training = training;
    e->params.n = e->states.n = e->subs.n = e->loops.n = e->when.n = 0;
    e->conditions = e->depth = 0;
    e->oversized = false;
    e->n_nodes = 0;
    e->seed = e->rng_step = (Val){0};
    e->sites = 0;
    e->step = e->epoch = NULL;
    e->wide = NULL;
    e->frame = NULL;
    e->frame = elab_frame(e, item, e->file, item->name.span);
    root_dims(e, item);
    return e->f;
}

/* -D f.k=5 for an int formal that is a scalar. */
static const Define *formal_define(Elab *e, const Formal *f, const Item *item) {
    bool is_int = f->type && !f->type->has_shape && f->type->kind.text && strcmp(f->type->kind.text, "int") == 0;
    return is_int ? lower_define(e, item->name.text, f->name.text) : NULL;
}

bool lower_formals_known(Elab *e, const Item *item) {
    for (int i = 0; i < item->n_formals; i++) {
        const TypeExpr *t = item->formals[i].type;
        if (!t || t->rest)
            return false;
        const char *kind = t->kind.text ? t->kind.text : "real";
        bool model = item->kind == ITEM_MODEL;
        bool fixed =
            (!strcmp(kind, "int") && (!t->has_shape || model)) || (!strcmp(kind, "bool") && model);
        if (fixed && !item->formals[i].default_ && !formal_define(e, &item->formals[i], item))
            return false;
    }
    return true;
}

static bool compile_time(const Formal *f, const Item *item) {
    const char *kind = f->type->kind.text ? f->type->kind.text : "real";
    bool scalar = !f->type->has_shape;
    if (!strcmp(kind, "int"))
        return f->default_ && (scalar || f->type->rank == 1);
    return item->kind == ITEM_MODEL && f->default_ && (scalar || !strcmp(kind, "bool"));
}

/* A call that does not give a formal means its default. */
static bool is_left_out(const LowerOptions *o, const Formal *f) {
    if (!o || !o->given)
        return false;
    for (int i = 0; i < o->n_given; i++)
        if (strcmp(o->given[i], f->name.text) == 0)
            return false;
    return true;
}

static bool root_formal(Elab *e, const Formal *f, const Item *item) {
    Declared d = elab_type(e, f->type);
    if (d.bad)
        return false;
    const Define *def = formal_define(e, f, item);
    bool fixed = def || compile_time(f, item);
    if (def || f->default_) { /* where the C function has the formal, a wrong default is an error all the same */
        Value v = elab_convert(e, def ? value_int(e, (int64_t)def->value, f->span) : elab_expr(e, f->default_), &d,
                               f->default_ ? f->default_->span : f->span, str_fmt(e->ctx, "`%s`", f->name.text));
        if (fixed || v.kind == V_ERROR || is_left_out(e->o, f)) {
            elab_bind(e, f->name, B_FORMAL, v);
            return v.kind != V_ERROR;
        }
    }
    Dim shape[LANG_RANK];
    for (int i = 0; i < d.rank; i++)
        shape[i] = d.axes[i].value;
    Param p = {
        .name = f->name.text, .role = ROLE_INPUT, .span = f->span, .bound = d.bound, .tensor = -1};
    Val v = graph_param(e->m, e->f, p, type_new(e->ctx, d.dt, d.rank, shape));
    Node *n = node_leaf(e, v, d.axes, f->span);
    n->bound = d.bound;
    elab_bind(e, f->name, B_FORMAL, value_node(n))->leaf = v;
    return true;
}

static bool root_formals(Elab *e, const Item *item) {
    bool ok = true;
    for (int i = 0; i < item->n_formals; i++)
        ok &= root_formal(e, &item->formals[i], item);
    return ok;
}

static Node *root_result(Elab *e, const Item *item) {
    int errors = diags_of(e->ctx)->n_errors;
    Value v = elab_run(e, e->frame);
    if (v.kind == V_ERROR || diags_of(e->ctx)->n_errors > errors)
        return NULL;
    Node *n = node_of(e, &v, DT_NONE);
    (void)item;
    return n ? gen_leaf(e, n) : NULL;
}

Str lower_cname(Elab *e, Str name) {
    Str low = abi_lower(e->ctx, name);
    return e->o && e->o->prefix ? str_fmt(e->ctx, "%s%s", e->o->prefix, low) : low;
}

AbiEntry *lower_entry(Elab *e, const Item *item, AbiEntryKind kind, const char *suffix) {
    Str low = lower_cname(e, item->name.text);
    return lower_entry_named(e, item, kind, suffix ? str_fmt(e->ctx, "%s_%s", low, suffix) : low);
}

AbiEntry *lower_entry_named(Elab *e, const Item *item, AbiEntryKind kind, Str cname) {
    AbiEntry *a = ARENA_NEW(e->m->arena, AbiEntry);
    a->kind = kind;
    a->cname = cname;
    a->decl = item->name.text;
    a->doc = item->doc;
    a->span = item->span;
    return a;
}

bool lower_def(Elab *e, const Item *item) {
    Func *f = lower_begin(e, item, e->o && e->o->real ? e->o->real : DT_F64, false);
    e->in_model = false;
    Node *n = root_formals(e, item) ? root_result(e, item) : NULL;
    if (!n) {
        graph_func_remove(e->m, f->id);
        return false;
    }
    f->entry = lower_entry(e, item, ENTRY_DEF, NULL);
    Result r = {.val = n->val, .name = str_of(e->ctx, "out"), .role = RES_OUT, .of = -1};
    graph_result(e->m, f, r);
    return true;
}

/* ---- blocks */

AbiBlock *lower_block(Elab *e, const Item *item, DType real) {
    AbiBlock *b = ARENA_NEW(e->m->arena, AbiBlock);
    b->name = item->name.text;
    b->cname = lower_cname(e, item->name.text);
    b->doc = item->doc;
    b->is_estimator = item->kind == ITEM_ESTIMATOR;
    b->span = item->span;
    b->real = real;
    for (int i = 0; i < e->f->dims.n; i++)
        vec_push(e->m->arena, &b->dims, e->f->dims.p[i]);
    return b;
}

static Dim slot_offset(Elab *e, const Slot *s, int n) {
    Dim at = dim_const(e->ctx, 0);
    for (int i = 0; i < n; i++)
        at = dim_or_error(e, dim_add(e->ctx, at, type_count(e->ctx, s[i].type)), s[i].span);
    return at;
}

static AbiTensor table_row(Elab *e, const Slot *all, int k) {
    const Slot *s = &all[k];
    return (AbiTensor){.path = s->path,
                       .cname = s->cname,
                       .type = s->type,
                       .kind = s->kind,
                       .lo = s->lo,
                       .hi = s->hi,
                       .span = s->span,
                       .learned = s->learned,
                       .mask = s->held,
                       .offset = slot_offset(e, all, k)};
}

void lower_tables(Elab *e, AbiBlock *b) {
    for (int k = 0; k < e->params.n; k++)
        vec_push(e->m->arena, &b->params, table_row(e, e->params.p, k));
    for (int k = 0; k < e->states.n; k++) {
        AbiTensor t = table_row(e, e->states.p, k);
        t.learned = dim_const(e->ctx, 0);
        vec_push(e->m->arena, &b->states, t);
    }
    for (int k = 0; k < e->subs.n; k++) {
        const SubMark *m = &e->subs.p[k];
        int same = 0; /* calls of one binding have one path, which names no block then */
        for (int i = 0; i < e->subs.n; i++)
            same += e->subs.p[i].path == m->path;
        if (same > 1)
            continue;
        AbiSub s = {.path = m->path,
                    .cname = abi_upper(e->ctx, m->path),
                    .model = m->model,
                    .offset = slot_offset(e, e->params.p, m->param),
                    .state_offset = slot_offset(e, e->states.p, m->state)};
        vec_push(e->m->arena, &b->subs, s);
    }
}

static AbiData data_row(Elab *e, const Param *p) {
    Type t = graph_type(e->f, p->val);
    AbiKind kind = p->bound              ? KIND_INDEX
                   : t.dt == DT_BOOL     ? KIND_BOOL
                   : dtype_is_real(t.dt) ? KIND_REAL
                                         : KIND_INT;
    return (AbiData){.name = p->name, .type = t, .kind = kind, .bound = p->bound, .span = p->span};
}

/* Initial values of all params, then of all states. */
static void add_inits(Elab *e, Slice *s) {
    for (int pass = 0; pass < 2; pass++) {
        int n = pass ? e->states.n : e->params.n;
        for (int k = 0; k < n; k++) {
            const Slot *slot = pass ? &e->states.p[k] : &e->params.p[k];
            Result r = {.val = gen_value(e, slot->init),
                        .name = slot->path,
                        .role = pass ? RES_NEW_STATE : RES_NEW_PARAM,
                        .of = k};
            vec_push(e->arena, &s->results, r);
        }
    }
}

void lower_init(Elab *e, const Item *item, int block) {
    Slice s = {.name = str_fmt(e->ctx, "%s.init", item->name.text),
               .entry = lower_entry(e, item, ENTRY_INIT, "init"),
               .block = block,
               .span = item->span,
               .keep = 1u << ROLE_SEED};
    elab_seed(e);
    add_inits(e, &s);
    lower_slice(e, e->f, &s);
}

bool lower_model(Elab *e, const Item *item) {
    DType real = e->o && e->o->real ? e->o->real : DT_F32;
    Func *f = lower_begin(e, item, real, false);
    e->in_model = true;
    Node *out = root_formals(e, item) ? root_result(e, item) : NULL;
    if (out) {
        AbiBlock *b = lower_block(e, item, real);
        int block = e->m->blocks.n;
        vec_push(e->m->arena, &e->m->blocks, b);
        lower_tables(e, b);
        for (int k = 0; k < f->params.n; k++)
            if (f->params.p[k].role == ROLE_INPUT)
                vec_push(e->m->arena, &b->data, data_row(e, &f->params.p[k]));
        Slice s = {.name = str_fmt(e->ctx, "%s.forward", item->name.text),
                   .entry = lower_entry(e, item, ENTRY_FORWARD, "forward"),
                   .block = block,
                   .span = item->span,
                   .all_dims = true,
                   .keep = 1u << ROLE_INPUT | 1u << ROLE_PARAM | 1u << ROLE_STATE};
        Result r = {.val = out->val, .name = str_of(e->ctx, "out"), .role = RES_OUT, .of = -1};
        vec_push(e->arena, &s.results, r);
        lower_slice(e, f, &s);
        lower_init(e, item, block);
    }
    graph_func_remove(e->m, f->id);
    return out != NULL;
}
