/* Statements of defs, models and estimators that compute: bindings, parameters, states, updates. */
#include "frontend/elab.h"

#include <math.h>
#include <string.h>

#include "ir/transform.h"

Str elab_path(Elab *e, Str prefix, Str name) {
    return prefix[0] ? str_fmt(e->ctx, "%s.%s", prefix, name) : name;
}

Slot *elab_slot(Elab *e, Str path) {
    for (int i = 0; i < e->params.n; i++)
        if (e->params.p[i].path == path)
            return &e->params.p[i];
    for (int i = 0; i < e->states.n; i++)
        if (e->states.p[i].path == path)
            return &e->states.p[i];
    return NULL;
}

static Type declared_type(Elab *e, const Declared *d) {
    Dim shape[LANG_RANK];
    for (int i = 0; i < d->rank; i++)
        shape[i] = d->axes[i].value;
    return type_new(e->ctx, d->dt, d->rank, shape);
}

/* ---- initial values */

/* 0 on the unconstrained scale. */
static Node *neutral_init(Elab *e, const Declared *d, Span at) {
    double x = d->kind == KIND_PROB       ? 0.5
               : d->kind == KIND_POSITIVE ? 1
               : d->kind == KIND_INTERVAL ? (d->lo + d->hi) / 2
                                          : 0;
    Node *n = node_const(e, d->dt, x, at);
    if (d->kind == KIND_SIMPLEX) {
        Node *kids[2] = {node_const(e, d->dt, 1, at),
                         node_cast(e, d->dt, node_dim(e, d->axes[d->rank - 1].value, at))};
        n = node_op(e, SC_div, kids, 2, d->dt, at);
    }
    if (d->kind != KIND_ORDERED && d->kind != KIND_CHOLESKY)
        return node_fill(e, n, d->rank, d->axes);
    LoopIndex idx[LANG_RANK];
    int loops = e->loops.n;
    for (int i = 0; i < d->rank; i++) {
        idx[i] = (LoopIndex){nest_index(e->ctx, "i"), d->axes[i].value};
        vec_push(e->arena, &e->loops, idx[i]);
    }
    Node *last = node_dim(e, dim_of(e->ctx, idx[d->rank - 1].sym), at);
    if (d->kind == KIND_ORDERED) {
        n = node_cast(e, d->dt, last);
    } else {
        Node *kids[2] = {node_dim(e, dim_of(e->ctx, idx[d->rank - 2].sym), at), last};
        n = node_cast(e, d->dt, node_op(e, SC_eq, kids, 2, DT_BOOL, at));
    }
    n = node_for(e, idx, d->axes, d->rank, n, at);
    e->loops.n = loops;
    return n;
}

static bool has_seed(const Elab *e) {
    const Frame *root = e->frame;
    while (root && root->caller)
        root = root->caller;
    return root && root->item &&
           (root->item->kind == ITEM_MODEL || root->item->kind == ITEM_ESTIMATOR);
}

/* A def's C function takes no seed: its random numbers are keyed by the call site alone. */
Val elab_seed(Elab *e) {
    if (!e->seed.id && !has_seed(e))
        e->seed = gen_value(e, node_const(e, DT_I64, 0, (Span){0}));
    if (!e->seed.id) {
        Param p = {.name = str_of(e->ctx, "seed"), .role = ROLE_SEED, .tensor = -1};
        e->seed = graph_param(e->m, e->f, p, type_scalar(DT_I64));
    }
    return e->seed;
}

Val elab_rng_step(Elab *e) {
    if (!e->rng_step.id && e->training && has_seed(e)) {
        Param p = {.name = str_of(e->ctx, "step"), .role = ROLE_STEP, .tensor = -1};
        e->rng_step = graph_param(e->m, e->f, p, type_scalar(DT_I64));
    }
    if (!e->rng_step.id)
        e->rng_step = gen_value(e, node_const(e, DT_I64, 0, (Span){0}));
    return e->rng_step;
}

Val elab_random(Elab *e, int kind, Dim k, Type t, Val step, Span at) {
    RandomAttr *a = ARENA_NEW(e->m->arena, RandomAttr);
    a->kind = kind;
    a->site = e->sites++;
    a->k = k;
    a->row0 = dim_const(e->ctx, 0);
    a->type = t;
    Val args[2] = {elab_seed(e), step};
    return inst_result(
        graph_inst(e->m, e->f, &op_random, args, 2, a, elab_span(e, at), elab_label(e)), 0);
}

static Node *scaled(Elab *e, Node *x, double scale, double shift, Value factor, Span at) {
    Value v = elab_binary(e, OP_SUB, value_node(x), value_real(shift, at), at, at);
    v = elab_binary(e, OP_MUL, v, value_real(scale, at), at, at);
    v = elab_binary(e, OP_MUL, v, factor, at, at);
    return v.kind == V_NODE ? v.node : NULL;
}

static Value root_of(Elab *e, Value a, Value b, double top, Span at) {
    Value sum = b.kind == V_ERROR ? a : elab_binary(e, OP_ADD, a, b, at, at);
    Value q = elab_binary(e, OP_DIV, value_real(top, at), sum, at, at);
    return q.kind == V_ERROR ? q : elab_scalar_call(e, SC_sqrt, &q, 1, at, at);
}

static Node *random_init(Elab *e, const InitValue *init, const Declared *d) {
    Val zero = gen_value(e, node_const(e, DT_I64, 0, init->span));
    if (init->kind == INIT_PICK)
        return elab_pick(e, init);
    bool he = init->kind == INIT_HE;
    Val r = elab_random(e, he ? RANDOM_NORMAL : RANDOM_UNIFORM, NULL, declared_type(e, d), zero,
                        init->span);
    Node *x = node_leaf(e, r, d->axes, init->span);
    Value factor = he ? root_of(e, init->fan_in, value_error(), 2, init->span)
                      : root_of(e, init->fan_in, init->fan_out, 6, init->span);
    if (!he)
        factor = elab_binary(e, OP_MUL, factor, init->gain, init->span, init->span);
    return he ? scaled(e, x, 1, 0, factor, init->span) : scaled(e, x, 2, 0.5, factor, init->span);
}

static Node *initial(Elab *e, const Stmt *s, const Declared *d) {
    if (!s->value)
        return neutral_init(e, d, s->span);
    bool in_place = e->in_place; /* an init gets no work memory: no scalar is computed apart */
    e->in_place = true;
    Value v = elab_expr(e, s->value);
    if (v.kind == V_INIT)
        v = value_node(random_init(e, v.init, d));
    v = elab_convert(e, v, d, s->value->span, "the initial value");
    e->in_place = in_place;
    Node *n = v.kind == V_ERROR ? NULL : node_of(e, &v, d->dt);
    return n ? node_cast(e, d->dt, n) : NULL;
}

/* ---- param ... when */

typedef enum When { WHEN_YES, WHEN_NO, WHEN_MASK, WHEN_BAD } When;

static When when_of(Elab *e, const Stmt *s, Node **mask) {
    if (!s->when)
        return WHEN_YES;
    Value v = elab_expr(e, s->when);
    if (v.kind == V_ERROR)
        return WHEN_BAD;
    if (v.kind == V_BOOL)
        return v.truth ? WHEN_YES : WHEN_NO;
    if (v.kind == V_LIST)
        v = value_node(node_of(e, &v, DT_NONE));
    if (v.kind == V_NODE && v.node->dt == DT_BOOL && v.node->kind == N_CONST)
        return v.node->k.i ? WHEN_YES : WHEN_NO;
    if (v.kind == V_NODE && v.node->dt == DT_BOOL && v.node->data) {
        *mask = gen_leaf(e, v.node);
        return WHEN_MASK;
    }
    if (v.kind != V_ERROR)
        elab_error(e, "E0506", s->when->span,
                   "`when` needs a bool known when compiling, or a const bool array");
    return WHEN_BAD;
}

static Node *select3(Elab *e, Node *c, Node *a, Node *b, Span at) {
    Node *kids[3] = {c, a, b};
    return node_op(e, SC_select, kids, 3, a->dt, at);
}

/* A table of `when`, and the axis of the parameter for each of its axes. */
typedef struct Mask {
    Node *node; /* NULL: all elements are learned */
    int map[LANG_RANK];
} Mask;

static const AbiMask *held_by(Elab *e, const Mask *mask) {
    const Node *n = mask->node;
    if (!n)
        return NULL;
    AbiMask *m = ARENA_NEW(e->m->arena, AbiMask);
    int *axis = ARENA_ARRAY(e->m->arena, int, n->rank + 1);
    int64_t *extent = ARENA_ARRAY(e->m->arena, int64_t, n->rank + 1);
    *m = (AbiMask){.rank = n->rank, .axis = axis, .extent = extent, .n = 1};
    for (int i = 0; i < n->rank; i++) {
        axis[i] = mask->map[i];
        dim_is_const(n->axes[i].value, &extent[i]);
        m->n *= extent[i];
    }
    bool *learned = ARENA_ARRAY(e->m->arena, bool, m->n + 1);
    for (int64_t i = 0; i < m->n; i++) {
        learned[i] = n->data[i].i != 0;
        m->n_learned += learned[i];
    }
    m->learned = learned;
    return m;
}

/* Free reals that are learned: the mask's true ones, once for each element of the other axes. */
static Dim learned_of(Elab *e, const AbiMask *m, AbiKind kind, Type t) {
    Dim count = type_count(e->ctx, transform_of(kind)->free_type(e->ctx, t)), rest;
    if (!m)
        return count;
    Dim all = dim_divide(e->ctx, count, dim_const(e->ctx, m->n), &rest);
    return dim_scale(e->ctx, all, m->n_learned);
}

static Node *masked_param(Elab *e, Node *mask, Node *leaf, Span at) {
    Val v = leaf->val;
    v = inst_result(graph_inst(e->m, e->f, &op_stop, &v, 1, NULL, elab_span(e, at), elab_label(e)),
                    0);
    return select3(e, mask, leaf, node_leaf(e, v, leaf->axes, at), at);
}

/* A simplex, ordered or cholesky value moves as one: its elements cannot be held one by one. */
static bool whole_values(Elab *e, const Stmt *s, const Declared *d, const Mask *mask) {
    int axes = transform_of(d->kind)->axes;
    for (int i = 0; i < mask->node->rank; i++)
        if (mask->map[i] >= d->rank - axes) {
            elab_error(e, "E0521", s->when->span,
                       "`when` holds single elements of `%s`: a value of kind %s is learned or "
                       "held as a whole",
                       s->name.text, s->type->kind.text);
            return false;
        }
    return true;
}

static void slot_error(Elab *e, Str path) {
    Diag *d = elab_error(e, "E0505", e->frame->caller ? e->frame->call : (Span){0},
                         "two calls would create the parameter `%s`", path);
    const char *callee = e->frame->item->name.text;
    diag_help(e->ctx, d,
              "bind one of the calls by itself, `first = %s(...)`, and write `first` in its place",
              callee ? callee : "f");
}

static Value shared_slot(Elab *e, Str path) {
    Slot *s = elab_slot(e, path);
    return s ? value_node(s->node) : value_error();
}

static void make_slot(Elab *e, const Stmt *s, const Declared *d, const Mask *mask, Node *init,
                      bool is_state) {
    Str path = elab_path(e, e->frame->path, s->name.text);
    if (elab_slot(e, path)) {
        slot_error(e, path);
        elab_bind(e, s->name, B_LOCAL, value_error());
        return;
    }
    Type t = declared_type(e, d);
    int number = is_state ? e->states.n : e->params.n;
    Param p = {.name = path,
               .role = is_state ? ROLE_STATE : ROLE_PARAM,
               .span = elab_span(e, s->span),
               .tensor = number};
    Slot slot = {.path = path,
                 .name = s->name.text,
                 .type = t,
                 .kind = d->kind,
                 .lo = d->lo,
                 .hi = d->hi,
                 .span = elab_span(e, s->span),
                 .frame = e->frame,
                 .mask = mask->node,
                 .held = held_by(e, mask),
                 .init = init};
    slot.cname = abi_upper(e->ctx, path);
    slot.val = graph_param(e->m, e->f, p, t);
    slot.leaf = node_leaf(e, slot.val, d->axes, s->span);
    slot.node = mask->node ? masked_param(e, mask->node, slot.leaf, s->span) : slot.leaf;
    slot.learned = learned_of(e, slot.held, d->kind, t);
    if (is_state)
        vec_push(e->arena, &e->states, slot);
    else
        vec_push(e->arena, &e->params, slot);
    Binding *b = elab_bind(e, s->name, is_state ? B_STATE : B_PARAM, value_node(slot.node));
    b->leaf = slot.val;
    b->param = number;
}

static bool is_init_random(const Stmt *s) {
    return s->value && s->value->kind == EXPR_CALL && s->value->path.n == 1 &&
           (!strcmp(s->value->path.names[0].text, "glorot") ||
            !strcmp(s->value->path.names[0].text, "he"));
}

static void stmt_param(Elab *e, const Stmt *s) {
    Declared d = elab_type(e, s->type);
    Mask mask = {.node = NULL};
    if (!d.bad && (d.kind == KIND_INT || d.kind == KIND_BOOL || d.kind == KIND_INDEX)) {
        elab_error(e, "E0507", s->type->span, "a param is made of reals, not of %s",
                   s->type->kind.text);
        d.bad = true;
    }
    When w = d.bad ? WHEN_BAD : when_of(e, s, &mask.node);
    if (w == WHEN_BAD) {
        elab_bind(e, s->name, B_LOCAL, value_error());
        return;
    }
    if (e->frame->shared) {
        Value v = w == WHEN_NO ? value_node(initial(e, s, &d))
                               : shared_slot(e, elab_path(e, e->frame->path, s->name.text));
        elab_bind(e, s->name, B_LOCAL, v);
        return;
    }
    Node *init = initial(e, s, &d);
    if (!init || w == WHEN_NO) {
        Value v = value_node(init);
        elab_bind(e, s->name, B_LOCAL, v);
        return;
    }
    if (mask.node) {
        Node *shape = node_fill(e, node_const(e, d.dt, 0, s->span), d.rank, d.axes);
        if ((mask.node->rank &&
             !node_align(e, mask.node, shape, mask.map, s->when->span, "when", false)) ||
            !whole_values(e, s, &d, &mask)) {
            elab_bind(e, s->name, B_LOCAL, value_error());
            return;
        }
        if (is_init_random(s))
            init = select3(e, mask.node, init, shape, s->span);
    }
    make_slot(e, s, &d, &mask, init, false);
}

static void stmt_state(Elab *e, const Stmt *s) {
    Declared d = elab_type(e, s->type);
    if (e->frame->shared) {
        elab_bind(e, s->name, B_STATE, shared_slot(e, elab_path(e, e->frame->path, s->name.text)));
        return;
    }
    Node *init = d.bad ? NULL : initial(e, s, &d);
    if (init)
        make_slot(e, s, &d, &(Mask){.node = NULL}, init, true);
    else
        elab_bind(e, s->name, B_LOCAL, value_error());
}

static void stmt_update(Elab *e, const Stmt *s) {
    Binding *b = elab_lookup(e->frame, s->name.text);
    if (!b || b->kind != B_STATE) {
        if (!b || b->v.kind != V_ERROR)
            elab_error(e, "E0508", s->head, "`:=` updates a state, and `%s` is none", s->name.text);
        return;
    }
    Value v = elab_expr(e, s->value);
    Slot *slot = elab_slot(e, elab_path(e, e->frame->path, s->name.text));
    if (v.kind == V_ERROR || !slot)
        return;
    Declared d = {.kind = KIND_REAL,
                  .dt = slot->type.dt,
                  .rank = slot->type.rank,
                  .has_shape = slot->type.rank > 0,
                  .span = s->span};
    axes_copy(d.axes, slot->leaf->axes, d.rank);
    v = elab_convert(e, v, &d, s->value->span, "the state");
    Node *n = v.kind == V_ERROR ? NULL : node_of(e, &v, d.dt);
    if (!n || !e->training)
        return;
    slot->next = slot->node = gen_leaf(e, n);
    elab_lookup(e->frame, s->name.text)->v = value_node(slot->next);
}

/* ---- bindings */

static Value settled(Elab *e, Value v) {
    if (v.kind == V_NODE)
        v.node = gen_settle(e, v.node);
    return v;
}

void elab_rebind(Elab *e, const Stmt *s, Binding *b) {
    Str saved = e->frame->binding, name = b->name;
    e->frame->binding = s->name.text;
    Value v = elab_expr(e, s->value);
    if (s->type && v.kind != V_ERROR) {
        Declared d = elab_type_of(e, s->type, &v);
        v = elab_convert(e, v, &d, s->value->span, str_fmt(e->ctx, "`%s`", name));
    }
    e->frame->binding = saved;
    elab_lookup(e->frame, name)->v = settled(e, v);
}

static void stmt_bind(Elab *e, const Stmt *s) {
    Frame *fr = e->frame;
    const Binding *old = elab_lookup(fr, s->name.text);
    if (old) {
        Diag *d = elab_error(e, "E0405", s->name.span, "the name `%s` has a value here already",
                             s->name.text);
        diag_note(e->ctx, d, elab_span(e, old->span), "it got it here");
        return;
    }
    fr->binding = s->name.text;
    Value v = elab_expr(e, s->value);
    if (s->type && v.kind != V_ERROR) {
        Declared d = elab_type_of(e, s->type, &v);
        v = elab_convert(e, v, &d, s->value->span, str_fmt(e->ctx, "`%s`", s->name.text));
    }
    if (v.kind == V_INIT || v.kind == V_DIST)
        v = value_node(node_of(e, &v, DT_NONE));
    v = settled(e, v);
    fr->binding = NULL;
    if (s->kind == STMT_CONST && v.kind == V_DIM)
        v.name = dim_of(e->ctx, dim_symbol_new(e->ctx, s->name.text, 1, false));
    Binding *b = elab_bind(e, s->name, B_LOCAL, v);
    if (v.kind == V_NODE && v.node->kind == N_LEAF)
        b->leaf = v.node->val;
}

void elab_stmt(Elab *e, const Stmt *s) {
    switch (s->kind) {
    case STMT_PARAM:
        stmt_param(e, s);
        break;
    case STMT_STATE:
        stmt_state(e, s);
        break;
    case STMT_UPDATE:
        stmt_update(e, s);
        break;
    case STMT_CONST:
    case STMT_BIND:
        stmt_bind(e, s);
        break;
    case STMT_RETURN:
        e->frame->result = elab_expr(e, s->value);
        e->frame->returned = true;
        break;
    default:
        break; /* of estimators and tests, which see to them */
    }
}
