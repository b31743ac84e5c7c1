/* Warnings that a definition's text gives, once it has no errors: names that nothing uses, inverse
 * links in front of a distribution that takes the linear predictor, arguments outside the domain of a
 * function, parameters that reach the objective through no derivative, classes taken as numbers. */
#include "frontend/lower.h"
#include "ir/dist.h"

#include <string.h>

typedef struct Uses {
    Elab *e;
    VEC(Str) names;
} Uses;

static void use(Uses *u, Str name) {
    if (name)
        vec_push(u->e->arena, &u->names, name);
}

/* ---- names in expressions */

static void use_expr(Uses *u, const Expr *x) {
    if (!x)
        return;
    if (x->kind == EXPR_NAME)
        use(u, x->path.names[0].text);
    use_expr(u, x->x);
    use_expr(u, x->y);
    use_expr(u, x->z);
    for (int i = 0; i < x->n_items; i++)
        use_expr(u, x->items[i]);
    for (int i = 0; i < x->n_args; i++)
        use_expr(u, x->args[i].value);
    for (int i = 0; i < x->n_subs; i++) {
        use_expr(u, x->subs[i].lo);
        use_expr(u, x->subs[i].hi);
    }
    for (int i = 0; i < x->n_indices; i++)
        use_expr(u, x->indices[i].bound);
}

static void use_type(Uses *u, const TypeExpr *t) {
    for (int i = 0; t && i < t->rank; i++)
        use_expr(u, t->shape[i]);
    for (int i = 0; t && i < t->n_args; i++)
        use_expr(u, t->args[i].value);
}

/* A prior is no use of its parameter where the priors are dropped. */
static bool is_prior(const Item *item, const Stmt *s) {
    if (s->kind != STMT_TILDE)
        return false;
    for (int i = 0; i < item->n_body; i++)
        if (item->body[i]->kind == STMT_PARAM && item->body[i]->name.text == s->path.names[0].text)
            return true;
    return s->path.n > 1;
}

static Uses uses_of(Elab *e, const Item *item, bool mle) {
    Uses u = {.e = e};
    for (int i = 0; i < item->n_formals; i++) {
        use_type(&u, item->formals[i].type);
        use_expr(&u, item->formals[i].default_);
    }
    use_type(&u, item->type);
    for (int i = 0; i < item->n_body; i++) {
        const Stmt *s = item->body[i];
        if (mle && is_prior(item, s))
            continue;
        use_type(&u, s->type);
        use_expr(&u, s->value);
        use_expr(&u, s->when);
        for (int k = 0; k < s->n_subs; k++) {
            use_expr(&u, s->subs[k].lo);
            use_expr(&u, s->subs[k].hi);
        }
        if (s->kind == STMT_TILDE)
            use(&u, s->path.names[0].text);
    }
    return u;
}

static bool is_used(const Uses *u, Str name) {
    if (name[0] == '_')
        return true;
    for (int i = 0; i < u->names.n; i++)
        if (u->names.p[i] == name)
            return true;
    return false;
}

/* ---- -Wunused */

static void unused(Elab *e, const Uses *u, const Name *name, const char *what, bool mle) {
    if (is_used(u, name->text))
        return;
    Diag *d = diag_warning(e->ctx, "W0502", "unused", name->span, "the %s `%s` is never used%s", what,
                           name->text, mle ? " without the priors, which --mle drops" : "");
    if (mle)
        diag_help(e->ctx, d, "nothing determines it: fit with its prior, or delete it");
}

static bool has_axis(const TypeExpr *t, Str dim) {
    for (int i = 0; t && i < t->rank; i++)
        if (t->shape[i]->kind == EXPR_NAME && t->shape[i]->path.names[0].text == dim)
            return true;
    return false;
}

/* A formal may be there for its shape: it is the first that has one of the dims. */
static bool binds_dim(const Item *item, int formal) {
    for (int d = 0; d < item->n_dims; d++) {
        bool before = item->dims[d].value != NULL;
        for (int i = 0; i < formal; i++)
            before |= has_axis(item->formals[i].type, item->dims[d].name.text);
        if (!before && has_axis(item->formals[formal].type, item->dims[d].name.text))
            return true;
    }
    return false;
}

static void warn_unused(Elab *e, const Item *item) {
    bool mle = e->o && e->o->mle && item->kind == ITEM_ESTIMATOR;
    Uses u = uses_of(e, item, false), without = uses_of(e, item, mle);
    for (int i = item->kind == ITEM_OPTIMIZER ? 1 : 0; i < item->n_formals; i++)
        if (!binds_dim(item, i))
            unused(e, &u, &item->formals[i].name, "formal", false);
    for (int i = 0; i < item->n_body; i++) {
        const Stmt *s = item->body[i];
        if (s->kind == STMT_BIND || s->kind == STMT_CONST)
            unused(e, &u, &s->name, s->kind == STMT_BIND ? "binding" : "const", false);
        else if (s->kind == STMT_DATA)
            unused(e, &u, &s->name, "data", false);
        else if (s->kind == STMT_PARAM && is_used(&u, s->name.text))
            unused(e, &without, &s->name, "param", mle);
        else if (s->kind == STMT_PARAM)
            unused(e, &u, &s->name, "param", false);
    }
}

/* ---- -Wlogit */

static const struct {
    const char *function, *dist, *param;
} links[] = {{"sigmoid", "Bernoulli", "logit"}, {"sigmoid", "Binomial", "logit"},
             {"softmax", "Categorical", "logit"}, {"softmax", "Multinomial", "logit"},
             {"exp", "Poisson", "log"},           {"exp", "NegativeBinomial", "log"}};

/* The call that a binding of the block gives the name, or the expression itself. */
static const Expr *meaning(const Item *item, const Expr *x) {
    for (int i = 0; x->kind == EXPR_NAME && x->path.n == 1 && i < item->n_body; i++)
        if (item->body[i]->kind == STMT_BIND && item->body[i]->name.text == x->path.names[0].text)
            return item->body[i]->value;
    return x;
}

static void logit_call(Elab *e, const Item *item, const Expr *x) {
    const char *dist = x->path.names[x->path.n - 1].text;
    for (int i = 0; i < x->n_args; i++) {
        const Expr *given = x->args[i].value, *a = meaning(item, given);
        if (!a || a->kind != EXPR_CALL || a->path.n != 1)
            continue;
        for (size_t k = 0; k < sizeof links / sizeof *links; k++) {
            if (strcmp(links[k].dist, dist) || strcmp(links[k].function, a->path.names[0].text))
                continue;
            Diag *d = diag_warning(e->ctx, "W0503", "logit", given->span,
                                   "`%s` of `%s` overflows and loses digits where `%s = ` does not",
                                   dist, links[k].function, links[k].param);
            diag_help(e->ctx, d, "write `%s(%s = ...)` with what stands inside `%s`", dist,
                      links[k].param, links[k].function);
        }
    }
}

/* ---- -Wdomain */

typedef struct Domain {
    const char *function, *needs;
    bool (*ok)(double x);
} Domain;

static bool above_zero(double x) { return x > 0; }
static bool not_negative(double x) { return x >= 0; }
static bool above_minus_one(double x) { return x > -1; }
static bool within_one(double x) { return x >= -1 && x <= 1; }
static bool from_one(double x) { return x >= 1; }
static bool inside_one(double x) { return x > -1 && x < 1; }

static const Domain domains[] = {
    {"log", "above 0", above_zero},           {"log2", "above 0", above_zero},
    {"log10", "above 0", above_zero},         {"log1p", "above -1", above_minus_one},
    {"sqrt", "0 or more", not_negative},      {"rsqrt", "above 0", above_zero},
    {"asin", "between -1 and 1", within_one}, {"acos", "between -1 and 1", within_one},
    {"acosh", "1 or more", from_one},         {"atanh", "inside -1 and 1", inside_one}};

static bool literal(const Expr *x, double *out) {
    if (x->kind == EXPR_UNARY && x->op == OP_NEG && literal(x->x, out)) {
        *out = -*out;
        return true;
    }
    *out = x->real;
    return x->kind == EXPR_INT || x->kind == EXPR_REAL;
}

static const Stmt *param_of(const Item *item, const Expr *x) {
    for (int i = 0; x->kind == EXPR_NAME && x->path.n == 1 && i < item->n_body; i++)
        if (item->body[i]->kind == STMT_PARAM && item->body[i]->name.text == x->path.names[0].text)
            return item->body[i];
    return NULL;
}

static bool is_plain_real(const TypeExpr *t) {
    return !t->kind.text || !strcmp(t->kind.text, "real") || !strcmp(t->kind.text, "f32") ||
           !strcmp(t->kind.text, "f64");
}

static void domain_call(Elab *e, const Item *item, const Expr *x) {
    double k;
    for (size_t i = 0; x->path.n == 1 && x->n_args == 1 && i < sizeof domains / sizeof *domains; i++) {
        const Expr *a = x->args[0].value;
        if (strcmp(domains[i].function, x->path.names[0].text))
            continue;
        const Stmt *p = param_of(item, a);
        if (literal(a, &k) && !domains[i].ok(k))
            diag_warning(e->ctx, "W0504", "domain", a->span, "`%s` of a number that is not %s",
                         domains[i].function, domains[i].needs);
        else if (p && p->type && is_plain_real(p->type) && !domains[i].ok(0)) {
            Diag *d = diag_warning(e->ctx, "W0504", "domain", a->span,
                                   "`%s` needs a number %s, and the param `%s` is any real",
                                   domains[i].function, domains[i].needs, p->name.text);
            diag_help(e->ctx, d, "declare it `positive`");
        }
    }
    const DistDef *def = x->path.n == 1 ? dist_named(x->path.names[0].text) : NULL;
    for (int i = 0; def && i < x->n_args && i < def->forms[0].n_params; i++) {
        const Stmt *p = param_of(item, x->args[i].value);
        const DistParam *want = &def->forms[0].params[i];
        for (int f = 0; x->args[i].name.text && f < def->n_forms; f++)
            for (int j = 0; j < def->forms[f].n_params; j++)
                if (!strcmp(def->forms[f].params[j].name, x->args[i].name.text))
                    want = &def->forms[f].params[j];
        if (!p || !p->type || !is_plain_real(p->type) ||
            (want->kind != KIND_POSITIVE && want->kind != KIND_PROB))
            continue;
        const char *kind = want->kind == KIND_PROB ? "prob" : "positive";
        Diag *d = diag_warning(e->ctx, "W0504", "domain", x->args[i].value->span,
                               "the parameter `%s` of `%s` is %s, and the param `%s` is any real",
                               want->name, def->name, kind, p->name.text);
        diag_help(e->ctx, d, "declare it `%s`", kind);
    }
}

/* ---- -Wcast: classes have no order and no distances */

static const Expr *class_data(const Item *item, const Expr *x) {
    for (int i = 0; x->kind == EXPR_NAME && x->path.n == 1 && i < item->n_body; i++) {
        const Stmt *s = item->body[i];
        if (s->kind == STMT_DATA && s->name.text == x->path.names[0].text && s->type->kind.text &&
            !strcmp(s->type->kind.text, "index"))
            return x;
    }
    return NULL;
}

static void cast_binary(Elab *e, const Item *item, const Expr *x) {
    if (x->op != OP_ADD && x->op != OP_SUB && x->op != OP_MUL && x->op != OP_DIV && x->op != OP_POW &&
        x->op != OP_MATMUL)
        return;
    const Expr *c = class_data(item, x->x);
    c = c ? c : class_data(item, x->y);
    if (!c)
        return;
    Diag *d = diag_warning(e->ctx, "W0506", "cast", c->span,
                           "the numbers of the classes `%s` are taken as quantities",
                           c->path.names[0].text);
    diag_help(e->ctx, d, "give each class an effect: `param b: [K]`, then `b[%s]`",
              c->path.names[0].text);
}

/* ---- walks */

static void warn_expr(Elab *e, const Item *item, const Expr *x) {
    if (!x)
        return;
    if (x->kind == EXPR_CALL) {
        logit_call(e, item, x);
        domain_call(e, item, x);
    }
    if (x->kind == EXPR_BINARY)
        cast_binary(e, item, x);
    warn_expr(e, item, x->x);
    warn_expr(e, item, x->y);
    warn_expr(e, item, x->z);
    for (int i = 0; i < x->n_items; i++)
        warn_expr(e, item, x->items[i]);
    for (int i = 0; i < x->n_args; i++)
        warn_expr(e, item, x->args[i].value);
    for (int i = 0; i < x->n_subs; i++) {
        warn_expr(e, item, x->subs[i].lo);
        warn_expr(e, item, x->subs[i].hi);
    }
    for (int i = 0; i < x->n_indices; i++)
        warn_expr(e, item, x->indices[i].bound);
}

void warn_item(Elab *e, const Item *item) {
    if (item->kind == ITEM_CONST)
        warn_expr(e, item, item->value);
    if (item->kind == ITEM_CONST || item->kind == ITEM_IMPORT)
        return;
    warn_unused(e, item);
    for (int i = 0; i < item->n_body; i++)
        warn_expr(e, item, item->body[i]->value);
}

/* ---- -Wdead-grad */

/* The operands of which the body is a smooth function somewhere. */
static void smooth_reads(Elab *e, const Body *b, bool *operands) {
    bool *live = ARENA_ARRAY(e->arena, bool, b->n + 1);
    for (int k = b->n - 1; k >= 0; k--) {
        const BodyInst *i = &b->insts[k];
        live[k] |= k == b->n - 1;
        if (!live[k] || !dtype_is_real(i->dt))
            continue;
        if (i->kind == BODY_READ)
            operands[i->operand] = true;
        const ScalarDef *d = i->kind == BODY_OP ? scalar_def(i->op) : NULL;
        for (int a = 0; d && d->vjp && a < d->arity; a++)
            live[i->args[a]] = true;
    }
}

static bool *smooth_args(Elab *e, const Inst *i) {
    bool *by = ARENA_ARRAY(e->arena, bool, i->n_args + 1);
    if (i->op != &op_nest) {
        for (int a = 0; a < i->n_args; a++)
            by[a] = i->op != &op_stop;
        return by;
    }
    const Nest *n = i->attr;
    smooth_reads(e, &n->body, by);
    smooth_reads(e, &n->post, by);
    if (n->init >= 0)
        by[n->init] = true;
    return by;
}

/* Values whose derivative reaches `to`: not through stop, nor through what is no real (a class, a
 * comparison). */
static void mark_smooth(Elab *e, const Func *f, Val to, bool *live) {
    live[to.id] = true;
    for (int k = f->insts.n - 1; k >= 0; k--) {
        const Inst *i = f->insts.p[k];
        bool any = false;
        for (int r = 0; r < i->n_results; r++) {
            Val v = inst_result(i, r);
            any |= live[v.id] && dtype_is_real(graph_type(f, v).dt);
        }
        const bool *by = any ? smooth_args(e, i) : NULL;
        for (int a = 0; any && a < i->n_args; a++)
            live[i->args[a].id] |= by[a] && dtype_is_real(graph_type(f, i->args[a]).dt);
    }
}

void warn_dead_grad(Elab *e, const Func *f, const Val *terms, int n) {
    bool *smooth = ARENA_ARRAY(e->arena, bool, f->vals.n + 1);
    bool *some = ARENA_ARRAY(e->arena, bool, f->vals.n + 1);
    for (int i = 0; i < n; i++) {
        bool *one = ARENA_ARRAY(e->arena, bool, f->vals.n + 1);
        mark_smooth(e, f, terms[i], one);
        for (int k = 0; k < f->vals.n; k++)
            smooth[k] |= one[k];
    }
    for (int k = 0; k < e->params.n; k++)
        for (int i = 0; i < n; i++)
            some[e->params.p[k].val.id] |= lower_reaches(e, f, e->params.p[k].val, terms[i]);
    for (int k = 0; k < e->params.n; k++) {
        const Slot *s = &e->params.p[k];
        if (!some[s->val.id] || smooth[s->val.id])
            continue;
        diag_warning(e->ctx, "W0505", "dead-grad", s->span,
                     "the gradient of `%s` is 0 everywhere: it is reached through `stop`, a "
                     "comparison or a class only",
                     s->path);
    }
}
