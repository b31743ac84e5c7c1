/* Calls: arguments to formals, a frame for the callee, its body, and the result in the caller's
 * terms (rule 3). */
#include "frontend/lower.h"

#include <string.h>

/* ---- arguments */

static int find_name(const char *const *names, Str name) {
    for (int i = 0; names[i]; i++)
        if (!strcmp(names[i], name))
            return i;
    return -1;
}

static void note_names(Elab *e, Diag *d, const char *callee, const char *const *names) {
    StrBuf sb = sb_new(e->arena);
    for (int i = 0; names[i]; i++)
        sb_printf(&sb, i ? ", %s" : "%s", names[i]);
    if (sb.len)
        diag_note(e->ctx, d, (Span){0}, "`%s` takes %s", callee, sb.text);
}

static bool take_arg(Elab *e, const Expr *x, const Arg *a, const char *const *names, int *next,
                     const Expr **out) {
    const char *callee = x->path.names[x->path.n - 1].text;
    int k, n = 0;
    while (names[n])
        n++;
    if (a->name.text) {
        k = find_name(names, a->name.text);
        if (k < 0) {
            elab_unknown_argument(e, &a->name, callee, names);
            return false;
        }
    } else {
        k = (*next)++;
        if (k >= n) {
            Diag *d = elab_error(e, "E0408", a->span, "`%s` takes %s, and this is one more", callee,
                                 elab_count(e, n, "argument", "arguments"));
            note_names(e, d, callee, names);
            return false;
        }
    }
    if (out[k]) {
        elab_error(e, "E0409", a->name.text ? a->name.span : a->span,
                   "the argument `%s` of `%s` is given twice", names[k], callee);
        return false;
    }
    out[k] = a->value;
    return true;
}

bool elab_args(Elab *e, const Expr *x, const char *const *names, int required, const Expr **out) {
    int next = 0;
    for (int i = 0; names[i]; i++)
        out[i] = NULL;
    for (int i = 0; i < x->n_args; i++)
        if (!take_arg(e, x, &x->args[i], names, &next, out))
            return false;
    for (int i = 0; i < required; i++)
        if (!out[i]) {
            const char *callee = x->path.names[x->path.n - 1].text;
            Diag *d = elab_error(e, "E0412", x->path.span, "`%s` needs its argument `%s`", callee,
                                 names[i]);
            note_names(e, d, callee, names);
            return false;
        }
    return true;
}

/* ---- formals */

static void bind_int(Elab *e, const Formal *f, Value v) {
    Frame *fr = e->frame;
    if (v.kind == V_LIST) {
        for (int i = 0; i < v.n_items; i++) {
            DimSym own =
                dim_symbol_new(e->ctx, str_fmt(e->ctx, "%s[%d]", f->name.text, i), 1, false);
            vec_push(e->arena, &fr->back, (DimBinding){own, v.items[i].name});
            v.items[i].name = dim_of(e->ctx, own);
        }
    } else {
        DimSym own = dim_symbol_new(e->ctx, f->name.text, 1, false);
        vec_push(e->arena, &fr->back, (DimBinding){own, v.name});
        v.name = dim_of(e->ctx, own);
    }
    elab_bind(e, f->name, B_FORMAL, v);
}

/* index(K) binds K from the kind of the argument. */
static void bind_index(Elab *e, const TypeExpr *t, Dim bound) {
    if (!bound || !t->kind.text || strcmp(t->kind.text, "index") || t->n_args != 1 ||
        t->args[0].value->kind != EXPR_NAME)
        return;
    TypeExpr one = *t;
    one.rank = 1;
    one.shape = ARENA_ARRAY(e->arena, Expr *, 1);
    one.shape[0] = t->args[0].value;
    Axis a = axis_dim(bound, bound);
    elab_bind_axes(e, &one, &a, 1, t->span, "index");
}

static bool unknown_dim(Elab *e, Str dim, Span at) {
    elab_error(e, "E0413", at, "the dim `%s` of `%s` is not known from these arguments", dim,
               e->frame->item->name.text);
    return false;
}

/* A scalar fills a formal [K] only if another argument has told K. */
static bool axes_known(Elab *e, const TypeExpr *t, Span at) {
    const Item *item = e->frame->item;
    for (int k = 0; k < t->rank; k++)
        for (int i = 0; i < item->n_dims; i++)
            if (t->shape[k]->kind == EXPR_NAME &&
                t->shape[k]->path.names[0].text == item->dims[i].name.text &&
                !elab_lookup(e->frame, item->dims[i].name.text))
                return unknown_dim(e, item->dims[i].name.text, at);
    return true;
}

/* A derivative with respect to `name` somewhere in x. */
static bool is_differentiated(const Expr *x, Str name) {
    static const char *const forms[] = {"grad", "vjp", "jvp", "hessian"};
    if (!x)
        return false;
    if (x->kind == EXPR_CALL && x->path.n == 1 && x->n_args > 1) {
        const Expr *w = x->args[1].value;
        for (size_t k = 0; k < sizeof forms / sizeof *forms; k++)
            if (strcmp(x->path.names[0].text, forms[k]) == 0 && w->kind == EXPR_NAME &&
                w->path.n == 1 && w->path.names[0].text == name)
                return true;
    }
    bool any = is_differentiated(x->x, name) || is_differentiated(x->y, name) ||
               is_differentiated(x->z, name);
    for (int i = 0; i < x->n_items && !any; i++)
        any = is_differentiated(x->items[i], name);
    for (int i = 0; i < x->n_args && !any; i++)
        any = is_differentiated(x->args[i].value, name);
    for (int i = 0; i < x->n_subs && !any; i++)
        any = is_differentiated(x->subs[i].lo, name) || is_differentiated(x->subs[i].hi, name);
    return any;
}

static bool body_differentiates(const Item *item, Str name) {
    for (int i = 0; i < item->n_body; i++)
        if (is_differentiated(item->body[i]->value, name))
            return true;
    return false;
}

/* The axes that `...` stands for get names of their own here, so that tensors of fewer axes match
 * them by name (rule 4) where the caller's are numbers or twice the same. */
static Value name_rest(Elab *e, const TypeExpr *t, const Node *n) {
    Node *own = arena_dup(e->arena, n, sizeof *n);
    own->axes = arena_dup(e->arena, n->axes, sizeof *n->axes * (size_t)(n->rank ? n->rank : 1));
    for (int i = 0; i < n->rank - t->rank; i++) {
        DimSym sym = dim_symbol_new(e->ctx, dim_text(e->ctx, n->axes[i].name), 1, false);
        vec_push(e->arena, &e->frame->back, (DimBinding){sym, n->axes[i].name});
        own->axes[i].name = dim_of(e->ctx, sym);
    }
    return value_node(own);
}

static bool bind_formal(Elab *e, const Formal *f, Value v, Span at) {
    Declared d = {0};
    if (v.kind == V_ERROR)
        return false;
    if (f->type) {
        const char *what = str_fmt(e->ctx, "`%s`", f->name.text);
        Value as = v;
        if (v.kind == V_LIST && f->type->has_shape &&
            !(f->type->kind.text && !strcmp(f->type->kind.text, "int")))
            as = value_node(node_of(e, &v, DT_NONE));
        if (as.kind == V_ERROR)
            return false;
        if (as.kind == V_NODE && (as.node->rank || !f->type->has_shape)) {
            bind_index(e, f->type, as.node->bound);
            if (f->type->rest)
                as = name_rest(e, f->type, as.node);
            int lead = f->type->rest && as.node->rank > f->type->rank ? as.node->rank - f->type->rank : 0;
            const Axis *axes = as.node->axes; /* NULL of a scalar */
            if (!elab_bind_axes(e, f->type, lead ? axes + lead : axes, as.node->rank - lead, at, what))
                return false;
        }
        if (!axes_known(e, f->type, at))
            return false;
        d = elab_type_of(e, f->type, &as);
        v = elab_convert(e, as.kind == V_NODE ? as : v, &d, at, what);
        if (v.kind == V_ERROR)
            return false;
    }
    if (f->type && d.kind == KIND_INT && (v.kind == V_DIM || v.kind == V_LIST)) {
        bind_int(e, f, v);
        return true;
    }
    bool wrt = body_differentiates(e->frame->item, f->name.text);
    if (v.kind == V_REAL && wrt) /* a number, too, is something to differentiate by */
        v = value_node(node_of(e, &v, e->real));
    if (v.kind == V_NODE)
        v.node = gen_settle(e, v.node);
    /* A tensor of reals stands as a value of its own: the body may differentiate by it. */
    if (v.kind == V_NODE && (v.node->rank || wrt) && dtype_is_real(v.node->dt) && !v.node->open)
        v.node = gen_leaf(e, v.node);
    Binding *b = elab_bind(e, f->name, B_FORMAL, v);
    if (v.kind == V_NODE)
        b->leaf = v.node->val;
    return true;
}

static bool bind_dims(Elab *e, const Item *item) {
    for (int i = 0; i < item->n_dims; i++) {
        const DimDecl *d = &item->dims[i];
        Value v;
        if (!d->value)
            continue;
        if (!elab_dim_value(e, d->value, &v))
            return false;
        DimSym own = dim_symbol_new(e->ctx, d->name.text, 1, false);
        vec_push(e->arena, &e->frame->back, (DimBinding){own, v.name});
        v.name = dim_of(e->ctx, own);
        elab_bind(e, d->name, B_DIM, v);
    }
    return true;
}

static bool dims_bound(Elab *e, const Item *item, Span at) {
    for (int i = 0; i < item->n_dims; i++)
        if (!elab_lookup(e->frame, item->dims[i].name.text))
            return unknown_dim(e, item->dims[i].name.text, at);
    return true;
}

/* ---- frames */

Frame *elab_frame(Elab *e, const Item *item, Lib *lib, Span call) {
    Frame *fr = ARENA_NEW(e->arena, Frame), *up = e->frame;
    fr->caller = up;
    fr->item = item;
    fr->lib = lib;
    fr->call = call;
    fr->path = up ? up->path : str_of(e->ctx, "");
    fr->loops = e->loops.n;
    if (!up)
        fr->label = item->name.text ? item->name.text : str_of(e->ctx, "test");
    else if (up->lib->is_prelude)
        fr->label = up->label;
    else
        fr->label = str_fmt(e->ctx, "%s.%s", elab_label(e), item->name.text);
    return fr;
}

/* The result in the caller's names. */
static Value leave(Elab *e, Frame *fr, Value v) {
    if (v.kind == V_DIM) {
        Dim name = dim_subst(e->ctx, v.name, fr->back.p, fr->back.n);
        v.name = name ? name : v.dim;
    }
    if (v.kind != V_NODE || !v.node->rank)
        return v;
    Node *n = arena_dup(e->arena, v.node, sizeof *n);
    n->axes = arena_dup(e->arena, v.node->axes, sizeof *n->axes * (size_t)n->rank);
    for (int i = 0; i < n->rank; i++) {
        Dim name = dim_subst(e->ctx, n->axes[i].name, fr->back.p, fr->back.n);
        n->axes[i].name = name ? name : n->axes[i].value;
    }
    n->span = e->frame && fr->lib->is_prelude ? elab_span(e, fr->call) : n->span;
    v.node = n;
    return v;
}

Value elab_run(Elab *e, Frame *fr) {
    const Item *item = fr->item;
    const Stmt *ret = NULL;
    for (int i = 0; i < item->n_body; i++) {
        elab_stmt(e, item->body[i]);
        if (item->body[i]->kind == STMT_RETURN)
            ret = item->body[i];
    }
    Value v = fr->returned ? fr->result : value_error();
    if (item->type && v.kind != V_ERROR) {
        Declared d = elab_type_of(e, item->type, &v);
        v = elab_convert(e, v, &d, ret ? ret->value->span : item->name.span,
                         str_fmt(e->ctx, "the result of `%s`", item->name.text));
    }
    return v;
}

/* ---- calls */

static bool calls_itself(Elab *e, const Item *item, Span at) {
    for (const Frame *fr = e->frame; fr; fr = fr->caller)
        if (fr->item == item) {
            elab_error(e, "E0414", at, "`%s` calls itself: recursion has no end here",
                       item->name.text);
            return true;
        }
    if (e->depth < 100)
        return false;
    elab_error(e, "E0414", at, "calls nest deeper than 100");
    return true;
}

/* `share = za`: the parameters of that call. */
static bool model_frame(Elab *e, Frame *fr, const Expr *share) {
    Frame *up = e->frame;
    fr->shared = up->shared;
    if (up->binding)
        fr->path = elab_path(e, up->path, up->binding);
    if (!share) {
        if (up->binding)
            vec_push(e->arena, &up->calls, (BoundCall){up->binding, fr});
        if (e->loops.n || e->conditions) {
            elab_error(
                e, "E0502", fr->call,
                "a model is called inside a comprehension or a condition known at run time only");
            return false;
        }
        return true;
    }
    for (int i = 0; share->kind == EXPR_NAME && share->path.n == 1 && i < up->calls.n; i++)
        if (up->calls.p[i].name == share->path.names[0].text &&
            up->calls.p[i].frame->item == fr->item) {
            fr->path = up->calls.p[i].frame->path;
            fr->shared = true;
            return true;
        }
    elab_error(e, "E0503", share->span, "`share` names the binding of an earlier call of `%s`",
               fr->item->name.text);
    return false;
}

static bool callable(Elab *e, const Item *item, Span at) {
    if (check_is_broken(e, item))
        return false;
    if (item->kind == ITEM_ESTIMATOR || item->kind == ITEM_OPTIMIZER) {
        elab_error(e, "E0415", at, "`%s` is an %s, which cannot be called", item->name.text,
                   item_keyword(item->kind));
        return false;
    }
    if (item->kind == ITEM_MODEL && !e->in_model) {
        elab_error(e, "E0504", at, "`%s` is a model: only models and estimators call models",
                   item->name.text);
        return false;
    }
    return !calls_itself(e, item, at);
}

/* The expressions of the arguments by formal (after the formals: `share`), and their values. */
static bool call_args(Elab *e, const Expr *x, const Item *item, const Expr **args, Value *values) {
    int n = item->n_formals;
    const char **names = ARENA_ARRAY(e->arena, const char *, n + 2);
    for (int i = 0; i < n; i++)
        names[i] = item->formals[i].name.text;
    if (item->kind == ITEM_MODEL)
        names[n] = "share";
    if (!elab_args(e, x, names, 0, args))
        return false;
    for (int i = 0; i < n; i++) {
        if (!args[i] && !item->formals[i].default_) {
            Diag *d = elab_error(e, "E0412", x->path.span, "`%s` needs its argument `%s`",
                                 item->name.text, names[i]);
            note_names(e, d, item->name.text, names);
            return false;
        }
        if (args[i] && (values[i] = elab_expr(e, args[i])).kind == V_ERROR)
            return false;
    }
    return true;
}

/* In the callee's frame: binds dims and formals, and runs the body. */
static Value enter(Elab *e, Frame *fr, const Expr **args, const Value *values, Span at) {
    const Item *item = fr->item;
    bool ok = bind_dims(e, item);
    for (int i = 0; i < item->n_formals && ok; i++) {
        const Formal *f = &item->formals[i];
        ok = args[i] ? bind_formal(e, f, values[i], args[i]->span)
                     : bind_formal(e, f, elab_expr(e, f->default_), f->span);
    }
    return ok && dims_bound(e, item, at) ? elab_run(e, fr) : value_error();
}

static Value call_item(Elab *e, const Expr *x, const Item *item, Lib *lib) {
    Span at = x->path.span;
    int n = item->n_formals;
    const Expr **args = ARENA_ARRAY(e->arena, const Expr *, n + 2);
    Value *values = ARENA_ARRAY(e->arena, Value, n + 1);
    if (!callable(e, item, at) || !call_args(e, x, item, args, values))
        return value_error();
    Frame *fr = elab_frame(e, item, lib, elab_span(e, at)), *up = e->frame;
    if (item->kind == ITEM_MODEL && !model_frame(e, fr, args[n]))
        return value_error();
    int params = e->params.n, states = e->states.n;
    e->frame = fr;
    e->depth++;
    Value v = enter(e, fr, args, values, at);
    e->depth--;
    e->frame = up;
    if (item->kind == ITEM_MODEL && up->binding && !args[n] &&
        e->params.n + e->states.n > params + states)
        vec_push(e->arena, &e->subs, (SubMark){fr->path, item->name.text, params, states});
    v = leave(e, fr, v);
    if (v.kind == V_NODE && lib->is_prelude && x->span.file != lib->ast->file) {
        v.node = arena_dup(e->arena, v.node, sizeof *v.node);
        v.node->span = x->span;
    }
    if (v.kind != V_ERROR)
        v.span = x->span;
    return v;
}

static Value unknown_function(Elab *e, const Expr *x) {
    Str name = x->path.names[x->path.n - 1].text;
    if (x->path.n == 1 && e->frame && elab_lookup(e->frame, name)) {
        if (elab_lookup(e->frame, name)->v.kind == V_ERROR)
            return value_error();
        elab_error(e, "E0416", x->path.span, "`%s` is a value, and a function is needed here",
                   name);
        return value_error();
    }
    elab_unknown_function(e, &x->path, false);
    return value_error();
}

static bool scalar_call(Elab *e, const Expr *x, Value *out) {
    ScalarOp op = scalar_named(x->path.names[0].text);
    if (op == SC_NONE || op == SC_max || op == SC_min)
        return false;
    const ScalarDef *d = scalar_def(op);
    static const char *const names[][4] = {{"x", NULL}, {"x", "y", NULL}, {"x", "y", "z", NULL}};
    const Expr *args[3];
    Value v[3];
    *out = value_error();
    if (!elab_args(e, x, names[d->arity - 1], d->arity, args))
        return true;
    for (int i = 0; i < d->arity; i++) {
        v[i] = elab_expr(e, args[i]);
        if (v[i].kind == V_ERROR)
            return true;
    }
    *out = elab_scalar_call(e, op, v, d->arity, x->span, x->path.span);
    return true;
}

/* A few lines of calls that call one another twice make more operations than any memory holds. */
static bool too_long(Elab *e) {
    enum { MOST_NODES = 100000 };
    if (e->n_nodes > MOST_NODES && !e->overlong) {
        Diag *d = diag_error(e->ctx, "E0604", e->f->span, "`%s` becomes more than 100,000 operations", e->f->name);
        diag_note(e->ctx, d, (Span){0}, "every call is expanded: definitions that call others twice double at each level");
        e->overlong = true;
    }
    return e->overlong;
}

Value elab_call(Elab *e, const Expr *x) {
    Frame none = {.lib = e->file, .path = str_of(e->ctx, ""), .label = str_of(e->ctx, "_")},
          *saved = e->frame;
    if (!e->frame)
        e->frame = &none;
    Lib *lib = NULL;
    Value v = value_error();
    if (too_long(e)) {
        e->frame = saved;
        return v;
    }
    const Item *item = elab_function(e, e->frame->lib, &x->path, &lib);
    bool own = item && !lib->is_prelude;
    if (own)
        v = call_item(e, x, item, lib);
    else if (x->path.n == 1 && elab_is_builtin(x->path.names[0].text) &&
             (elab_builtin(e, x, &v) || elab_special(e, x, &v) || scalar_call(e, x, &v)))
        ;
    else if (x->path.n == 1 && elab_distribution(e, x, &v))
        ;
    else
        v = item ? call_item(e, x, item, lib) : unknown_function(e, x);
    e->frame = saved;
    return v;
}
