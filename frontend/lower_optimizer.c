/* `using`: the optimizer, written for one scalar parameter and its gradient, mapped over all
 * parameters (rule 14). A constrained parameter moves on the unconstrained scale (ir/transform.h):
 * u is the copy that the optimizer keeps of inverse(p), its gradient a vjp of forward(u), and p =
 * forward(u) again. States of the optimizer have the shape of u. */
#include <string.h>

#include "frontend/lower.h"
#include "ir/transform.h"

typedef struct Use {
    Elab *e;
    const Expr *call;
    const Item *opt;
    Lib *lib;
    AbiBlock *b;
    Frame *outer;      /* of the estimator: where the arguments are computed */
    const Expr **args; /* by formal */
    Slice slice;
    Dim opt_bytes;
} Use;

/* ---- one parameter */

/* A tensor of `opt` in the shape of s; its number is that of the last one then. */
static Val opt_tensor(Use *u, const Slot *s, Str path) {
    Elab *e = u->e;
    int number = u->b->opts.n;
    AbiTensor row = {.path = path,
                     .cname = abi_upper(e->ctx, path),
                     .type = s->type,
                     .kind = KIND_REAL,
                     .span = s->span,
                     .learned = dim_const(e->ctx, 0),
                     .offset = u->opt_bytes};
    vec_push(e->m->arena, &u->b->opts, row);
    Dim bytes = dim_scale(e->ctx, type_count(e->ctx, s->type), (int64_t)dtype_size(s->type.dt));
    u->opt_bytes = dim_or_error(e, dim_add(e->ctx, u->opt_bytes, bytes), s->span);
    Param p = {.name = path, .role = ROLE_OPT, .span = s->span, .tensor = number};
    return graph_param(e->m, e->f, p, s->type);
}

static bool bind_state(Use *u, const Slot *s, const Stmt *st) {
    Elab *e = u->e;
    Value v = elab_expr(e, st->value);
    double zero;
    if (v.kind == V_ERROR)
        return false;
    if (!value_const(&v, &zero) || zero != 0) {
        elab_error(e, "E0522", st->value->span, "a state of an optimizer starts at 0");
        return false;
    }
    Val old = opt_tensor(u, s, str_fmt(e->ctx, "%s.%s", s->path, st->name.text));
    Node *n = node_leaf(e, old, s->leaf->axes, s->span);
    Binding *b = elab_bind(e, st->name, B_STATE, value_node(n));
    b->param = u->b->opts.n - 1;
    return true;
}

/* Filled up to the parameter's shape, of its type, computed. */
static Node *shaped(Elab *e, Value v, const Slot *s, Span at) {
    Declared d = {.kind = KIND_REAL,
                  .dt = s->type.dt,
                  .rank = s->type.rank,
                  .has_shape = s->type.rank > 0,
                  .span = at};
    axes_copy(d.axes, s->leaf->axes, d.rank);
    v = elab_convert(e, v, &d, at, "the update");
    Node *n = v.kind == V_ERROR ? NULL : node_of(e, &v, d.dt);
    return n ? gen_leaf(e, n) : NULL;
}

static bool update(Use *u, const Slot *s, const Stmt *st) {
    Elab *e = u->e;
    Binding *b = elab_lookup(e->frame, st->name.text);
    if (!b || b->kind != B_STATE) {
        elab_error(e, "E0508", st->head, "`:=` updates a state or the parameter, and `%s` is none",
                   st->name.text);
        return false;
    }
    Value v = elab_expr(e, st->value);
    Node *n = v.kind == V_ERROR ? NULL : shaped(e, v, s, st->value->span);
    if (n)
        elab_lookup(e->frame, st->name.text)->v = value_node(n);
    return n != NULL;
}

static bool run_body(Use *u, const Slot *s) {
    bool ok = true;
    for (int i = 0; i < u->opt->n_body && ok; i++) {
        const Stmt *st = u->opt->body[i];
        if (st->kind == STMT_STATE)
            ok = bind_state(u, s, st);
        else if (st->kind == STMT_UPDATE)
            ok = update(u, s, st);
        else
            elab_stmt(u->e, st);
    }
    return ok;
}

static Node *keep_masked(Elab *e, const Slot *s, Node *now, Node *old) {
    if (!s->mask)
        return now;
    Value v = elab_select(e, value_node(s->mask), value_node(now), value_node(old), s->span);
    return v.kind == V_NODE ? gen_leaf(e, v.node) : now;
}

static void out(Use *u, Node *n, Str name, ResRole role, int of) {
    Result r = {.val = gen_value(u->e, n), .name = name, .role = role, .of = of};
    vec_push(u->e->arena, &u->slice.results, r);
}

static bool bind_args(Use *u) {
    Elab *e = u->e;
    for (int i = 2; i < u->opt->n_formals; i++) {
        const Formal *f = &u->opt->formals[i];
        Frame *own = e->frame;
        Value v;
        if (u->args[i]) {
            e->frame = u->outer;
            v = elab_expr(e, u->args[i]);
            e->frame = own;
        } else if (f->default_) {
            v = elab_expr(e, f->default_);
        } else {
            elab_error(e, "E0412", u->call->path.span, "`%s` needs its argument `%s`",
                       u->opt->name.text, f->name.text);
            return false;
        }
        if (f->type && v.kind != V_ERROR) {
            Declared d = elab_type(e, f->type);
            v = elab_convert(e, v, &d, u->args[i] ? u->args[i]->span : f->span,
                             str_fmt(e->ctx, "`%s`", f->name.text));
        }
        if (v.kind == V_ERROR)
            return false;
        if (v.kind == V_NODE)
            v.node = gen_settle(e, v.node);
        elab_bind(e, f->name, B_FORMAL, v);
    }
    return true;
}

/* What moves: the parameter itself, or its free reals. */
typedef struct Moving {
    Slot s; /* with the type, and the value, of what moves */
    TransformCall c;
    const TransformDef *d; /* NULL: the parameter itself */
    int copy;              /* number in `opts`, or -1 */
} Moving;

static Moving moving(Use *u, int k) {
    Elab *e = u->e;
    Slot s = e->params.p[k];
    Moving m = {.s = s, .copy = -1};
    if (s.kind == KIND_REAL)
        return m;
    m.d = transform_of(s.kind);
    m.c = (TransformCall){e->m, e->f, &u->b->params.p[k], s.type, s.span};
    m.s.type = m.d->free_type(e->ctx, s.type);
    Axis axes[LANG_RANK];
    for (int i = 0; i < m.s.type.rank; i++)
        axes[i] = m.d->axes ? axis_dim(m.s.type.shape[i], m.s.type.shape[i]) : s.leaf->axes[i];
    Val copy = opt_tensor(u, &m.s, s.path);
    m.copy = u->b->opts.n - 1;
    m.s.leaf = node_leaf(e, transform_recall(m.d, &m.c, s.leaf->val, copy), axes, s.span);
    return m;
}

/* The results that the new value of what moves gives. */
static void move(Use *u, const Moving *m, Node *now, int k) {
    Elab *e = u->e;
    const Slot *s = &e->params.p[k];
    Node *p = m->d ? node_leaf(e, m->d->forward(&m->c, now->val), s->leaf->axes, s->span) : now;
    out(u, keep_masked(e, s, p, s->leaf), s->path, RES_NEW_PARAM, k);
    if (m->d)
        out(u, now, s->path, RES_NEW_OPT, m->copy);
    for (int i = 0; i < e->frame->names.n; i++) {
        const Binding *b = &e->frame->names.p[i];
        if (b->kind == B_STATE && b->param >= 0)
            out(u, b->v.node, u->b->opts.p[b->param].path, RES_NEW_OPT, b->param);
    }
}

static bool one_param(Use *u, int k) {
    Elab *e = u->e;
    Moving m = moving(u, k);
    Span at = u->call->span;
    Param gp = {.name = m.s.path, .role = ROLE_GRAD, .span = m.s.span, .tensor = k};
    Val g = graph_param(e->m, e->f, gp, e->params.p[k].type), free = m.s.leaf->val;
    if (m.d)
        g = elab_vjp(e, m.d->forward(&m.c, free), g, free, at);
    e->frame = elab_frame(e, u->opt, u->lib, u->call->path.span);
    e->frame->label = str_fmt(e->ctx, "%s.%s.%s", u->b->name, u->opt->name.text, m.s.path);
    elab_bind(e, u->opt->formals[0].name, B_STATE, value_node(m.s.leaf));
    elab_bind(e, u->opt->formals[1].name, B_FORMAL,
              value_node(node_leaf(e, g, m.s.leaf->axes, m.s.span)));
    bool ok = bind_args(u) && run_body(u, &m.s);
    if (ok) {
        Value now = elab_lookup(e->frame, u->opt->formals[0].name.text)->v;
        Node *n = now.kind == V_ERROR ? NULL : shaped(e, now, &m.s, at);
        ok = n != NULL;
        if (ok)
            move(u, &m, n, k);
    }
    e->frame = u->outer;
    return ok;
}

/* ---- a state that nothing reads is none */

static Param *opt_param(Func *f, int number) {
    for (int k = 0; k < f->params.n; k++)
        if (f->params.p[k].role == ROLE_OPT && f->params.p[k].tensor == number)
            return &f->params.p[k];
    return NULL;
}

/* Marks what new parameters are computed from, and the new values of the states among it. */
static void mark_needed(Use *u, bool *live) {
    Func *f = u->e->f;
    bool *done = ARENA_ARRAY(u->e->arena, bool, u->slice.results.n + 1);
    for (bool more = true; more;) {
        more = false;
        for (int k = 0; k < u->slice.results.n; k++) {
            const Result *r = &u->slice.results.p[k];
            if (done[k] || (r->role == RES_NEW_OPT && !live[opt_param(f, r->of)->val.id]))
                continue;
            lower_mark(f, r->val, live);
            done[k] = more = true;
        }
    }
}

/* The rows of `opt` that are left move up; number[k] becomes the new number of row k, or -1. */
static void keep_rows(Use *u, const bool *live, int *number) {
    Elab *e = u->e;
    Func *f = e->f;
    int n = u->b->opts.n;
    const AbiTensor *was = u->b->opts.p;
    Dim at = dim_const(e->ctx, 0);
    u->b->opts.n = 0;
    for (int k = 0; k < n; k++) {
        Param *p = opt_param(f, k);
        number[k] = k == 0 || live[p->val.id] ? u->b->opts.n++ : -1;
        if (number[k] < 0) {
            p->role = ROLE_LOCAL; /* of the scratch function alone */
            p->tensor = -1;
            continue;
        }
        AbiTensor *row = &u->b->opts.p[number[k]];
        *row = was[k];
        row->offset = at;
        p->tensor = number[k];
        Dim bytes =
            dim_scale(e->ctx, type_count(e->ctx, row->type), (int64_t)dtype_size(row->type.dt));
        at = dim_add(e->ctx, at, bytes);
    }
}

/* Momentum 0 asks for no velocity: states that no new parameter reads, be it by way of other
 * states, take no part in `opt`. */
static void drop_dead_states(Use *u) {
    Elab *e = u->e;
    bool *live = ARENA_ARRAY(e->arena, bool, e->f->vals.n + 1);
    int *number = ARENA_ARRAY(e->arena, int, u->b->opts.n), n = 0;
    mark_needed(u, live);
    keep_rows(u, live, number);
    for (int k = 0; k < u->slice.results.n; k++) {
        Result r = u->slice.results.p[k];
        if (r.role == RES_NEW_OPT) {
            r.of = number[r.of];
            if (r.of < 0)
                continue;
        }
        u->slice.results.p[n++] = r;
    }
    u->slice.results.n = n;
}

/* ---- the statement */

static bool count_arg(Elab *e, const Expr *x, int64_t *outv) {
    Value v = elab_expr(e, x);
    if (v.kind == V_ERROR)
        return false;
    if (value_int_const(&v, outv) && *outv >= 1)
        return true;
    elab_error(e, "E0523", x->span, "batch and epochs are constants of at least 1");
    return false;
}

/* batch and epochs have names: 32 after the learning rate is no batch size but the next formal of
 * the optimizer. */
static bool counts_are_named(Elab *e, const Expr *call, int n_formals) {
    for (int i = 0; i < call->n_args; i++) {
        if (call->args[i].name.text || i < n_formals)
            continue;
        Diag *d = elab_error(e, "E0529", call->args[i].value->span,
                             "`%s` takes %d arguments by position, and this is one more",
                             call->path.names[call->path.n - 1].text, n_formals);
        diag_help(e->ctx, d, "`batch` and `epochs` are given by name: `batch = 64, epochs = 20`");
        return false;
    }
    return true;
}

static bool find_optimizer(Use *u) {
    Elab *e = u->e;
    u->opt = elab_function(e, e->file, &u->call->path, &u->lib);
    Str name = u->call->path.names[u->call->path.n - 1].text;
    if (u->opt && u->opt->kind == ITEM_OPTIMIZER && !check_is_broken(e, u->opt)) {
        if (u->opt->n_formals >= 2)
            return true;
        elab_error(e, "E0524", u->opt->name.span,
                   "the first two formals of an optimizer are the parameter and its gradient");
        return false;
    }
    if (u->opt && check_is_broken(e, u->opt))
        return false;
    VEC(const char *) all = {0};
    const Lib *libs[2] = {e->file, e->prelude};
    for (int l = 0; l < 2; l++)
        for (int i = 0; i < libs[l]->ast->n_items; i++)
            if (libs[l]->ast->items[i]->kind == ITEM_OPTIMIZER)
                vec_push(e->arena, &all, libs[l]->ast->items[i]->name.text);
    const char *near = diag_nearest(name, all.p, all.n);
    Diag *d = elab_error(e, "E0525", u->call->path.span, "unknown optimizer `%s`", name);
    if (near)
        diag_help(e->ctx, d, "did you mean `%s`?", near);
    return false;
}

static bool use_args(Use *u) {
    Elab *e = u->e;
    int n = u->opt->n_formals;
    const char **names = ARENA_ARRAY(e->arena, const char *, n + 2);
    const Expr **args = ARENA_ARRAY(e->arena, const Expr *, n + 2);
    for (int i = 2; i < n; i++)
        names[i - 2] = u->opt->formals[i].name.text;
    names[n - 2] = "batch";
    names[n - 1] = "epochs";
    if (!elab_args(e, u->call, names, 0, args) || !counts_are_named(e, u->call, n - 2))
        return false;
    u->args = ARENA_ARRAY(e->arena, const Expr *, n + 1);
    for (int i = 2; i < n; i++)
        u->args[i] = args[i - 2];
    u->b->using_ = (AbiUsing){.present = true,
                              .optimizer = u->opt->name.text,
                              .batch = 32,
                              .epochs = 10,
                              .rows = u->b->dims.n ? u->b->dims.p[0] : NULL};
    return (!args[n - 2] || count_arg(e, args[n - 2], &u->b->using_.batch)) &&
           (!args[n - 1] || count_arg(e, args[n - 1], &u->b->using_.epochs));
}

static Node *scalar_param(Use *u, Role role, const char *name) {
    Elab *e = u->e;
    Param p = {.name = str_of(e->ctx, name), .role = role, .span = u->call->span, .tensor = -1};
    return node_leaf(e, graph_param(e->m, e->f, p, type_scalar(DT_I64)), NULL, u->call->span);
}

static void opt_header(Use *u) {
    Elab *e = u->e;
    Dim two = dim_const(e->ctx, 2);
    AbiTensor row = {.path = str_of(e->ctx, "steps"),
                     .cname = str_of(e->ctx, "STEPS"),
                     .type = type_new(e->ctx, DT_I64, 1, &two),
                     .kind = KIND_INT,
                     .span = u->call->span,
                     .learned = dim_const(e->ctx, 0),
                     .offset = dim_const(e->ctx, 0)};
    vec_push(e->m->arena, &u->b->opts, row);
    Param p = {.name = row.path, .role = ROLE_OPT, .span = u->call->span, .tensor = 0};
    graph_param(e->m, e->f, p, row.type);
    u->opt_bytes = dim_const(e->ctx, 16);
}

bool lower_using(Elab *e, const Stmt *s, AbiBlock *b, int block, const Item *item) {
    Use u = {.e = e, .call = s->value, .b = b, .outer = e->frame};
    if (!b->dims.n) {
        elab_error(e, "E0526", s->head,
                   "`using` needs a batch dim: the first dim of the estimator");
        return false;
    }
    if (s->value->kind != EXPR_CALL || !find_optimizer(&u) || !use_args(&u))
        return false;
    u.slice = (Slice){.name = str_fmt(e->ctx, "%s.update", item->name.text),
                      .block = block,
                      .span = s->span,
                      .all_dims = true,
                      .keep = 1u << ROLE_PARAM | 1u << ROLE_GRAD | 1u << ROLE_OPT |
                              1u << ROLE_STEP | 1u << ROLE_EPOCH};
    opt_header(&u);
    e->step = scalar_param(&u, ROLE_STEP, "step");
    e->epoch = scalar_param(&u, ROLE_EPOCH, "epoch");
    bool ok = true;
    for (int k = 0; k < e->params.n && ok; k++)
        ok = one_param(&u, k);
    e->step = e->epoch = NULL;
    if (ok) {
        drop_dead_states(&u);
        lower_slice(e, e->f, &u.slice);
    }
    return ok;
}
