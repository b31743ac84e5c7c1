/* Estimators: data, formals, likelihood and prior terms, reports, predictions. */
#include <string.h>

#include "frontend/lower.h"

typedef struct Term { /* one statement `left ~ D` */
    const Stmt *s;
    Str name; /* of the left side */
    bool prior;
    Node *x; /* the left side */
    const DistValue *d;
} Term;

typedef struct Report {
    Str name;
    Node *n;
} Report;

typedef struct Est {
    Elab *e;
    const Item *item;
    AbiBlock *b;
    VEC(Term) terms;
    VEC(Node *) like, prior; /* f64 scalars */
    Dim observations;        /* elements of the likelihood's densities; NULL: too many */
    VEC(Report) reports;
    Node *minimize;
    const Stmt *using_, *minimize_at;
    int n_hyper;
    bool bad;
} Est;

/* ---- data and formals */

static void est_data(Est *t, const Stmt *s) {
    Elab *e = t->e;
    Declared d = elab_type(e, s->type);
    if (d.bad) {
        elab_bind(e, s->name, B_DATA, value_error());
        return;
    }
    Dim shape[LANG_RANK];
    for (int i = 0; i < d.rank; i++)
        shape[i] = d.axes[i].value;
    Param p = {
        .name = s->name.text, .role = ROLE_INPUT, .span = s->span, .bound = d.bound, .tensor = -1};
    Type type = type_new(e->ctx, d.dt, d.rank, shape);
    Val v = graph_param(e->m, e->f, p, type);
    Node *n = node_leaf(e, v, d.axes, s->name.span);
    n->bound = d.bound;
    Binding *b = elab_bind(e, s->name, B_DATA, value_node(n));
    b->leaf = v;
    b->from_data = true;
    if (t->b) {
        AbiData row = {
            .name = s->name.text, .type = type, .kind = d.kind, .bound = d.bound, .span = s->span};
        vec_push(e->m->arena, &t->b->data, row);
    }
}

static Value formal_default(Est *t, const Formal *f, const Declared *d) {
    Elab *e = t->e;
    const Define *def = lower_define(e, t->item->name.text, f->name.text);
    Value v = def           ? def->is_int ? value_int(e, (int64_t)def->value, f->span)
                                          : value_real(def->value, f->span)
              : f->default_ ? elab_expr(e, f->default_)
                            : value_error();
    if (!def && !f->default_)
        elab_error(e, "E0512", f->span, "the formal `%s` of an estimator needs a default",
                   f->name.text);
    return elab_convert(e, v, d, f->default_ ? f->default_->span : f->span,
                        str_fmt(e->ctx, "`%s`", f->name.text));
}

static void est_formal(Est *t, const Formal *f) {
    Elab *e = t->e;
    Declared d = f->type ? elab_type(e, f->type)
                         : (Declared){.kind = KIND_REAL, .dt = e->real, .span = f->span};
    if (d.bad || d.has_shape) {
        if (!d.bad)
            elab_error(e, "E0514", f->span, "the formals of an estimator are scalars");
        elab_bind(e, f->name, B_FORMAL, value_error());
        return;
    }
    Value given = formal_default(t, f, &d);
    double x = 0;
    if (given.kind != V_ERROR && d.kind != KIND_INT && !value_const(&given, &x)) {
        elab_error(e, "E0513", f->span, "the default of `%s` is not a constant", f->name.text);
        given = value_error();
    }
    if (given.kind == V_ERROR || d.kind == KIND_INT ||
        d.kind == KIND_BOOL) { /* known when compiling */
        elab_bind(e, f->name, B_FORMAL, given);
        return;
    }
    bool is_int = d.kind == KIND_INDEX;
    Param p = {.name = f->name.text, .role = ROLE_HYPER, .span = f->span, .tensor = t->n_hyper++};
    Val v = graph_param(e->m, e->f, p, type_scalar(is_int ? DT_I64 : d.dt));
    elab_bind(e, f->name, B_FORMAL, value_node(node_leaf(e, v, NULL, f->span)))->leaf = v;
    if (t->b) {
        AbiFormal row = {
            .name = f->name.text, .is_int = is_int, .value = x, .kind = d.kind, .span = f->span};
        vec_push(e->m->arena, &t->b->formals, row);
    }
}

/* ---- terms */

static Node *total(Elab *e, Node *n, Span at) {
    n = node_cast(e, DT_F64, n);
    return gen_leaf(e, n->rank ? node_reduce(e, NEST_SUM, n, (1u << n->rank) - 1, at) : n);
}

static void add_term(Est *t, const Stmt *s, Str name, bool prior, Node *x, Node *mask,
                     const DistValue *d) {
    Elab *e = t->e;
    Node *n = lower_density(e, x, d, s->head);
    if (!n) {
        t->bad = true;
        return;
    }
    if (mask) {
        Value v = elab_select(e, value_node(mask), value_node(n), value_real(0, s->span), s->span);
        n = v.kind == V_NODE ? v.node : n;
    }
    Dim count = dim_const(e->ctx, 1);
    for (int i = 0; i < n->rank; i++)
        count = count ? dim_mul(e->ctx, count, n->axes[i].value) : NULL;
    if (!prior)
        t->observations = t->observations && count ? dim_add(e->ctx, t->observations, count) : NULL;
    Node *sum = total(e, n, s->span);
    if (prior)
        vec_push(e->arena, &t->prior, sum);
    else
        vec_push(e->arena, &t->like, sum);
    Term term = {s, name, prior, x, d};
    vec_push(e->arena, &t->terms, term);
}

/* `*` is any path, also an empty one where more follows. */
static bool path_matches(const Path *p, const char *at) {
    for (int i = 0; i < p->n; i++) {
        const char *want = p->names[i].text, *dot = strchr(at, '.');
        bool last = i == p->n - 1;
        if (!strcmp(want, "*")) {
            Path rest = {p->names + i + 1, p->n - i - 1, p->span};
            for (; at && !last; dot = at ? strchr(at, '.') : NULL) {
                if (path_matches(&rest, at))
                    return true;
                at = dot ? dot + 1 : NULL;
            }
            return last && *at;
        }
        size_t len = dot ? (size_t)(dot - at) : strlen(at);
        if (strlen(want) != len || strncmp(want, at, len) != 0 || last != !dot)
            return false;
        at += len + 1;
    }
    return true;
}

static const DistValue *dist_of(Est *t, const Stmt *s) {
    Value v = elab_expr(t->e, s->value);
    if (v.kind == V_DIST)
        return v.dist;
    if (v.kind != V_ERROR)
        elab_error(t->e, "E0444", s->value->span,
                   "a distribution stands to the right of `~`, and this is %s",
                   value_what(t->e, &v));
    t->bad = true;
    return NULL;
}

static void unknown_paths(Elab *e, const Path *path) {
    const char *text = elab_path_text(e, path), *paths[100];
    int n = 0;
    for (int i = 0; i < e->params.n && n < 100; i++)
        paths[n++] = e->params.p[i].path;
    Diag *d = elab_error(e, "E0401", path->span, "no parameter has the path `%s`", text);
    const char *near = diag_nearest(text, paths, n);
    if (near)
        diag_help(e->ctx, d, "did you mean `%s`?", near);
    else if (n)
        diag_help(e->ctx, d, "the parameters so far are %s%s%s%s", paths[0], n > 1 ? ", " : "",
                  n > 1 ? paths[1] : "", n > 2 ? ", ..." : "");
    else
        diag_help(e->ctx, d, "there are no parameters before this line: bind the model first");
}

/* z.*, z.*.w, z.C1.w: every parameter that the pattern names. */
static void prior_paths(Est *t, const Stmt *s) {
    Elab *e = t->e;
    const DistValue *d = dist_of(t, s);
    bool any = false;
    for (int i = 0; d && i < e->params.n; i++) {
        Slot slot = e->params.p[i];
        if (!path_matches(&s->path, slot.path))
            continue;
        any = true;
        if (t->b)
            lower_check_support(e, &slot, d, s->head);
        add_term(t, s, slot.path, true, slot.leaf, slot.mask, d);
    }
    if (d && !any) {
        unknown_paths(e, &s->path);
        t->bad = true;
    }
}

static Node *left_side(Est *t, const Stmt *s, const Binding *b) {
    Elab *e = t->e;
    if (b->v.kind != V_NODE) {
        elab_error(e, "E0445", s->path.span, "`%s` is neither data nor a parameter: it is %s",
                   s->path.names[0].text, value_what(e, &b->v));
        return NULL;
    }
    if (!s->n_subs)
        return b->kind == B_PARAM ? e->params.p[b->param].leaf : b->v.node;
    Expr name = {.kind = EXPR_NAME, .path = s->path, .span = s->path.span};
    Expr x = {.kind = EXPR_INDEX,
              .x = &name,
              .subs = s->subs,
              .n_subs = s->n_subs,
              .span = s->path.span,
              .op_span = s->path.span};
    Value v = elab_expr(e, &x);
    return v.kind == V_NODE ? v.node : NULL;
}

static bool twice(Est *t, const Stmt *s) {
    for (int i = 0; i < t->terms.n; i++) {
        const Stmt *o = t->terms.p[i].s;
        if (o == s || o->path.n != 1 || o->path.names[0].text != s->path.names[0].text ||
            (o->n_subs && s->n_subs))
            continue;
        Diag *d = elab_error(t->e, "E0511", s->head, "`%s` has a statement already",
                             s->path.names[0].text);
        diag_note(t->e->ctx, d, o->span, "the first one");
        return true;
    }
    return false;
}

static void est_tilde(Est *t, const Stmt *s) {
    Elab *e = t->e;
    if (s->path.n > 1) {
        prior_paths(t, s);
        return;
    }
    Str name = s->path.names[0].text;
    const Binding *b = elab_lookup(e->frame, name);
    if (!b) {
        elab_unknown_value(e, &s->path, s->path.span, NULL, 0);
        t->bad = true;
        return;
    }
    t->bad |= b->v.kind == V_ERROR || twice(t, s);
    const DistValue *d = b->v.kind == V_ERROR || t->bad ? NULL : dist_of(t, s);
    b = elab_lookup(e->frame, name);
    Node *x = d ? left_side(t, s, b) : NULL;
    if (!x) {
        t->bad = true;
        return;
    }
    bool prior = b->kind == B_PARAM;
    if (!prior && lower_depends(e, e->f, gen_value(e, x), ROLE_PARAM)) {
        Diag *g = elab_error(e, "E0515", s->head,
                             "`%s` depends on parameters: its density would need a Jacobian", name);
        diag_help(e->ctx, g, "state the distribution of the data, or `minimize` a loss");
        t->bad = true;
        return;
    }
    if (prior && t->b)
        lower_check_support(e, &e->params.p[b->param], d, s->head);
    add_term(t, s, name, prior, x, prior ? e->params.p[b->param].mask : NULL, d);
}

/* ---- minimize, report */

static Node *wide_value(Est *t, const Expr *x) {
    Elab *e = t->e;
    e->wide = e->frame;
    Value v = elab_expr(e, x);
    Node *n = v.kind == V_ERROR ? NULL : node_of(e, &v, DT_F64);
    e->wide = NULL;
    if (!n)
        t->bad = true;
    return n ? gen_leaf(e, node_cast(e, DT_F64, n)) : NULL;
}

static void est_minimize(Est *t, const Stmt *s) {
    t->minimize_at = s;
    t->minimize = wide_value(t, s->value);
    if (t->minimize && t->minimize->rank) {
        elab_error(t->e, "E0516", s->value->span,
                   "minimize takes a scalar, and this has the shape %s",
                   axes_text(t->e, t->minimize->axes, t->minimize->rank));
        t->bad = true;
    }
}

static void est_stmt(Est *t, const Stmt *s) {
    switch (s->kind) {
    case STMT_DATA:
        est_data(t, s);
        break;
    case STMT_TILDE:
        est_tilde(t, s);
        break;
    case STMT_MINIMIZE:
        est_minimize(t, s);
        break;
    case STMT_REPORT: {
        Node *n = wide_value(t, s->value);
        if (n)
            vec_push(t->e->arena, &t->reports, (Report){s->name.text, n});
        break;
    }
    case STMT_USING:
        if (t->using_) {
            elab_error(t->e, "E0517", s->head, "a second `using`");
            t->bad = true;
        }
        t->using_ = s;
        break;
    default:
        elab_stmt(t->e, s);
    }
}

static bool est_checks(Est *t) {
    Elab *e = t->e;
    if (t->minimize_at)
        for (int i = 0; i < t->terms.n; i++)
            if (!t->terms.p[i].prior) {
                elab_error(e, "E0518", t->minimize_at->head,
                           "minimize excludes likelihood statements");
                return false;
            }
    if (!t->minimize_at && !t->like.n && !t->prior.n && !t->bad) {
        elab_error(e, "E0519", t->item->name.span, "the estimator `%s` says nothing about its data",
                   t->item->name.text);
        return false;
    }
    if (!t->using_ || t->bad)
        return !t->bad;
    DimSym rows = t->b && t->b->dims.n ? t->b->dims.p[0] : NULL;
    for (int i = 0; i < t->terms.n && rows; i++) {
        const Term *m = &t->terms.p[i];
        if (m->prior || (m->x->rank && dim_as_symbol(m->x->axes[0].value) == rows))
            continue;
        Diag *d =
            elab_error(e, "E0520", m->s->head,
                       "rows depend on each other: the first axis of `%s` is not the batch dim %s",
                       m->name, rows->name);
        diag_help(e->ctx, d, "remove `using`");
        return false;
    }
    for (int i = 0; i < e->params.n && rows; i++)
        for (int k = 0; k < e->params.p[i].type.rank; k++)
            if (dim_mentions(e->params.p[i].type.shape[k], rows)) {
                elab_error(e, "E0520", e->params.p[i].span,
                           "rows depend on each other: `%s` has the batch dim %s; remove `using`",
                           e->params.p[i].path, rows->name);
                return false;
            }
    return true;
}

/* ---- one elaboration */

static bool elaborate(Est *t, DType real, bool training) {
    Elab *e = t->e;
    lower_begin(e, t->item, real, training);
    if (training)
        t->b = lower_block(e, t->item, real);
    e->in_model = true;
    int errors = diags_of(e->ctx)->n_errors;
    for (int i = 0; i < t->item->n_formals; i++)
        est_formal(t, &t->item->formals[i]);
    for (int i = 0; i < t->item->n_body; i++)
        est_stmt(t, t->item->body[i]);
    return est_checks(t) && diags_of(e->ctx)->n_errors == errors;
}

static Val sum_terms(Elab *e, Node *const *terms, int n, Span at) {
    Node *sum = n ? terms[0] : node_const(e, DT_F64, 0, at);
    for (int i = 1; i < n; i++) {
        Node *kids[2] = {sum, terms[i]};
        sum = node_op(e, SC_add, kids, 2, DT_F64, at);
    }
    return gen_value(e, sum);
}

static void slice_out(Elab *e, Slice *s, Val v, const char *name, ResRole role, int of) {
    Result r = {.val = v, .name = str_of(e->ctx, name), .role = role, .of = of};
    vec_push(e->arena, &s->results, r);
}

static Slice part(Est *t, const char *suffix, int block) {
    return (Slice){.name = str_fmt(t->e->ctx, "%s.%s", t->item->name.text, suffix),
                   .block = block,
                   .span = t->item->span,
                   .all_dims = true,
                   .keep = 1u << ROLE_PARAM | 1u << ROLE_STATE};
}

static void warn_gradients(Est *t) {
    Elab *e = t->e;
    VEC(Val) terms = {0};
    if (t->minimize)
        vec_push(e->arena, &terms, t->minimize->val);
    for (int i = 0; i < t->like.n; i++)
        vec_push(e->arena, &terms, gen_value(e, t->like.p[i]));
    for (int i = 0; i < t->prior.n; i++)
        vec_push(e->arena, &terms, gen_value(e, t->prior.p[i]));
    warn_dead_grad(e, e->f, terms.p, terms.n);
}

static void emit_training(Est *t, int block) {
    Elab *e = t->e;
    Func *f = e->f;
    Slice like = part(t, t->minimize ? "objective" : "loglik", block);
    like.keep |= 1u << ROLE_INPUT | 1u << ROLE_HYPER;
    Val v = t->minimize ? t->minimize->val : sum_terms(e, t->like.p, t->like.n, t->item->span);
    slice_out(e, &like, v, t->minimize ? "objective" : "loglik", RES_VALUE, -1);
    for (int k = 0; k < e->states.n; k++)
        if (e->states.p[k].next)
            slice_out(e, &like, gen_value(e, e->states.p[k].next), e->states.p[k].path,
                      RES_NEW_STATE, k);
    lower_slice(e, f, &like);
    if (t->prior.n) {
        Slice prior = part(t, "logprior", block);
        slice_out(e, &prior, sum_terms(e, t->prior.p, t->prior.n, t->item->span), "logprior",
                  RES_VALUE, -1);
        lower_slice(e, f, &prior);
    }
    lower_init(e, t->item, block);
}

static void emit_inference(Est *t, int block) {
    Elab *e = t->e;
    Slice rep = part(t, "report", block), pred = part(t, "predict", block);
    for (int k = 0; k < t->reports.n; k++) {
        slice_out(e, &rep, t->reports.p[k].n->val, t->reports.p[k].name, RES_REPORT, -1);
        vec_push(e->m->arena, &e->m->blocks.p[block]->reports, t->reports.p[k].name);
    }
    rep.keep |= 1u << ROLE_INPUT;
    for (int k = 0; k < t->terms.n; k++) {
        const Term *m = &t->terms.p[k];
        Node *mean = m->prior ? NULL : lower_dist_mean(e, m->x, m->d, m->s->span);
        if (mean)
            slice_out(e, &pred, mean->val, m->name, RES_OUT, -1);
    }
    rep.entry = lower_entry(e, t->item, ENTRY_REPORT, "report");
    pred.entry = lower_entry(e, t->item, ENTRY_PREDICT, "predict");
    if (rep.results.n)
        lower_slice(e, e->f, &rep);
    if (pred.results.n)
        lower_slice(e, e->f, &pred);
}

bool lower_estimator(Elab *e, const Item *item) {
    bool trains = false;
    for (int i = 0; i < item->n_body; i++)
        trains |= item->body[i]->kind == STMT_USING;
    DType real = e->o && e->o->real ? e->o->real : trains ? DT_F32 : DT_F64;
    Est t = {.e = e, .item = item, .observations = dim_const(e->ctx, 0)};
    bool ok = elaborate(&t, real, true);
    int block = e->m->blocks.n;
    Func *scratch = e->f;
    if (ok) {
        t.b->has_prior = t.prior.n > 0;
        t.b->is_minimize = t.minimize != NULL;
        t.b->observations = t.like.n ? t.observations : NULL;
        vec_push(e->m->arena, &e->m->blocks, t.b);
        lower_tables(e, t.b);
        if (!e->o || !e->o->only)
            warn_gradients(&t);
        emit_training(&t, block);
        if (t.using_)
            ok = lower_using(e, t.using_, t.b, block, item);
    }
    graph_func_remove(e->m, scratch->id);
    if (!ok)
        return false;
    Est again = {.e = e, .item = item};
    ok = elaborate(&again, real, false);
    scratch = e->f;
    if (ok)
        emit_inference(&again, block);
    graph_func_remove(e->m, scratch->id);
    return ok;
}
