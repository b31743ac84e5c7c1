/* What is wrong with a declaration whatever its calls are: names given twice, statements in the
 * wrong place, dims that nothing binds, recursion. A declaration with such an error is broken: it
 * is not elaborated, and calls of it stay silent. */
#include <string.h>
#include <strings.h>

#include "frontend/lower.h"
#include "ir/dist.h"

bool check_is_broken(const Elab *e, const Item *item) {
    for (int i = 0; i < e->broken.n; i++)
        if (e->broken.p[i] == item)
            return true;
    return item->broken;
}

static void mark_broken(Elab *e, const Item *item) {
    if (!check_is_broken(e, item))
        vec_push(e->arena, &e->broken, item);
}

/* ---- names given twice */

static bool is_function(const Item *it) {
    return it->kind == ITEM_DEF || it->kind == ITEM_MODEL || it->kind == ITEM_ESTIMATOR ||
           it->kind == ITEM_OPTIMIZER;
}

static void check_twice(Elab *e, const Item *a, const Item *b) {
    if (!a->name.text || !b->name.text || is_function(a) != is_function(b) ||
        a->kind == ITEM_IMPORT || b->kind == ITEM_IMPORT)
        return;
    if (a->name.text == b->name.text) {
        Diag *d = elab_error(e, "E0430", b->name.span, "`%s` is declared twice", b->name.text);
        diag_note(e->ctx, d, a->name.span, "first here");
        mark_broken(e, b);
    } else if (is_function(a) && a->kind != ITEM_OPTIMIZER && b->kind != ITEM_OPTIMIZER &&
               strcasecmp(a->name.text, b->name.text) == 0) {
        Diag *d = elab_error(e, "E0431", b->name.span,
                             "`%s` and `%s` are one name in lower case, which the C functions have",
                             a->name.text, b->name.text);
        diag_note(e->ctx, d, a->name.span, "the other one is here");
        mark_broken(e, b);
    }
}

static void twice_error(Elab *e, const Item *item, const Name *n, const char *what) {
    elab_error(e, "E0432", n->span, "the %s `%s` stands here twice", what, n->text);
    mark_broken(e, item);
}

static void check_lists(Elab *e, const Item *item) {
    for (int i = 0; i < item->n_dims; i++)
        for (int k = 0; k < i; k++)
            if (item->dims[i].name.text == item->dims[k].name.text)
                twice_error(e, item, &item->dims[i].name, "dim");
    for (int i = 0; i < item->n_formals; i++) {
        for (int k = 0; k < i; k++)
            if (item->formals[i].name.text == item->formals[k].name.text)
                twice_error(e, item, &item->formals[i].name, "formal");
        for (int k = 0; k < item->n_dims; k++)
            if (item->formals[i].name.text == item->dims[k].name.text)
                twice_error(e, item, &item->formals[i].name, "name");
    }
}

/* ---- dims: each is bound by an axis in which it stands alone or with a factor, or by index(K) */

static bool axis_binds(const Expr *x, Str dim) {
    if (x->kind == EXPR_BINARY && x->op == OP_MUL)
        return (x->x->kind == EXPR_INT && axis_binds(x->y, dim)) ||
               (x->y->kind == EXPR_INT && axis_binds(x->x, dim));
    return x->kind == EXPR_NAME && x->path.n == 1 && x->path.names[0].text == dim;
}

static bool type_binds(const TypeExpr *t, Str dim) {
    if (!t)
        return false;
    for (int i = 0; i < t->rank; i++)
        if (axis_binds(t->shape[i], dim))
            return true;
    return t->kind.text && !strcmp(t->kind.text, "index") && t->n_args == 1 &&
           axis_binds(t->args[0].value, dim);
}

/* Names of nothing that stand as axes: no dim, no formal, no const. */
typedef struct Missing {
    Elab *e;
    const Item *item;
    VEC(const Expr *) axes; /* the first place of each */
} Missing;

static bool is_declared(const Elab *e, const Item *item, Str name) {
    for (int i = 0; i < item->n_dims; i++)
        if (item->dims[i].name.text == name)
            return true;
    for (int i = 0; i < item->n_formals; i++)
        if (item->formals[i].name.text == name)
            return true;
    for (int l = 0; l < e->libs.n; l++)
        for (int i = 0; i < e->libs.p[l]->ast->n_items; i++)
            if (e->libs.p[l]->ast->items[i]->kind == ITEM_CONST &&
                e->libs.p[l]->ast->items[i]->name.text == name)
                return true;
    return false;
}

static void axis_missing(Missing *m, const Expr *x) {
    if (x->kind != EXPR_NAME || x->path.n != 1 || is_declared(m->e, m->item, x->path.names[0].text))
        return;
    for (int i = 0; i < m->axes.n; i++)
        if (m->axes.p[i]->path.names[0].text == x->path.names[0].text)
            return;
    vec_push(m->e->arena, &m->axes, x);
}

static void type_missing(Missing *m, const TypeExpr *t) {
    for (int i = 0; t && i < t->rank; i++)
        axis_missing(m, t->shape[i]);
    if (t && t->kind.text && !strcmp(t->kind.text, "index") && t->n_args == 1)
        axis_missing(m, t->args[0].value);
}

/* The head of the item as it should be: `line[N, D]`. */
static const char *head_with(const Missing *m) {
    StrBuf sb = sb_new(m->e->arena);
    sb_printf(&sb, "%s[", m->item->name.text);
    for (int i = 0; i < m->item->n_dims; i++)
        sb_printf(&sb, "%s%s", i ? ", " : "", m->item->dims[i].name.text);
    for (int i = 0; i < m->axes.n; i++)
        sb_printf(&sb, "%s%s", i || m->item->n_dims ? ", " : "", m->axes.p[i]->path.names[0].text);
    sb_put(&sb, "]");
    return sb.text;
}

static bool axes_known(Elab *e, const Item *item) {
    Missing m = {.e = e, .item = item};
    for (int k = 0; k < item->n_formals; k++)
        type_missing(&m, item->formals[k].type);
    for (int k = 0; k < item->n_body; k++)
        if (item->body[k]->kind == STMT_DATA)
            type_missing(&m, item->body[k]->type);
    for (int k = 0; k < m.axes.n; k++) {
        const Expr *x = m.axes.p[k];
        Diag *d = elab_error(e, "E0401", x->span, "unknown value `%s`", x->path.names[0].text);
        diag_help(e->ctx, d, "declare the dim: `%s`", head_with(&m));
        mark_broken(e, item);
    }
    return m.axes.n == 0;
}

static void check_dims(Elab *e, const Item *item) {
    if (!axes_known(e, item))
        return;
    for (int i = 0; i < item->n_dims; i++) {
        Str name = item->dims[i].name.text;
        bool bound = item->dims[i].value != NULL;
        for (int k = 0; k < item->n_formals; k++)
            bound |= type_binds(item->formals[k].type, name);
        for (int k = 0; k < item->n_body; k++)
            bound |= item->body[k]->kind == STMT_DATA && type_binds(item->body[k]->type, name);
        if (bound)
            continue;
        Diag *d =
            elab_error(e, "E0433", item->dims[i].name.span, "nothing binds the dim `%s`", name);
        diag_help(
            e->ctx, d,
            "a dim stands alone, or with a constant factor, as an axis of a formal or of data");
        mark_broken(e, item);
    }
}

/* ---- statements in their places */

static bool allowed(ItemKind in, StmtKind s) {
    bool model = in == ITEM_MODEL, est = in == ITEM_ESTIMATOR;
    switch (s) {
    case STMT_BIND:
        return true;
    case STMT_CONST:
        return in != ITEM_OPTIMIZER;
    case STMT_PARAM:
        return model || est;
    case STMT_STATE:
        return model || est || in == ITEM_OPTIMIZER;
    case STMT_UPDATE:
        return model || in == ITEM_OPTIMIZER;
    case STMT_RETURN:
        return model || in == ITEM_DEF;
    case STMT_EXPECT:
        return in == ITEM_TEST;
    default:
        return est;
    }
}

static const char *homes(StmtKind s) {
    switch (s) {
    case STMT_PARAM:
        return "models and estimators";
    case STMT_STATE:
        return "models, estimators and optimizers";
    case STMT_UPDATE:
        return "models and optimizers, where it updates a state";
    case STMT_RETURN:
        return "defs and models";
    case STMT_EXPECT:
        return "tests";
    case STMT_CONST:
        return "files, defs, models, estimators and tests";
    default:
        return "estimators";
    }
}

static const char *instead(const Item *in, const Stmt *s) {
    bool def = in->kind == ITEM_DEF;
    switch (s->kind) {
    case STMT_PARAM:
    case STMT_STATE:
        return def ? "make it a `model`, or pass the value as an argument" : NULL;
    case STMT_UPDATE:
        return def || in->kind == ITEM_TEST
                   ? "a binding is `NAME = ...`; a new value takes a new name"
                   : "bind a new name; only the states of a model change";
    case STMT_RETURN:
        return in->kind == ITEM_ESTIMATOR ? "an estimator shows values by `report NAME = ...`"
                                          : "delete it";
    case STMT_EXPECT:
        return "write it in a test: `test \"name\" { expect ... }`";
    case STMT_DATA:
        return in->kind == ITEM_MODEL || def ? "what a model or def is given are its formals" : NULL;
    case STMT_TILDE:
        return "write an estimator that calls the model and says it there: `y ~ ...`";
    default:
        return "write it in an estimator";
    }
}

static void check_places(Elab *e, const Item *item) {
    for (int i = 0; i < item->n_body; i++) {
        const Stmt *s = item->body[i];
        if (allowed(item->kind, s->kind))
            continue;
        Diag *d =
            elab_error(e, "E0434", s->head, "`%s` in %s %s", stmt_keyword(s->kind),
                       item->kind == ITEM_ESTIMATOR || item->kind == ITEM_OPTIMIZER ? "an" : "a",
                       item_keyword(item->kind));
        diag_note(e->ctx, d, (Span){0}, "`%s` stands in %s", stmt_keyword(s->kind), homes(s->kind));
        const char *help = instead(item, s);
        if (help)
            diag_help(e->ctx, d, "%s", help);
        mark_broken(e, item);
    }
}

static void check_return(Elab *e, const Item *item) {
    if ((item->kind != ITEM_DEF && item->kind != ITEM_MODEL) || check_is_broken(e, item))
        return;
    int at = -1;
    for (int i = 0; i < item->n_body && at < 0; i++)
        if (item->body[i]->kind == STMT_RETURN)
            at = i;
    if (at < 0) {
        elab_error(e, "E0435", item->close.file ? item->close : item->name.span,
                   "`%s` has no return", item->name.text);
    } else if (at < item->n_body - 1) {
        elab_error(e, "E0436", item->body[at + 1]->head,
                   "a statement after return: return is the last statement of `%s`",
                   item->name.text);
    } else {
        return;
    }
    mark_broken(e, item);
}

/* A name is bound once in a block. */
/* `x = Normal(..)`, and an optimizer's `p = p - ..`: another sign was meant. */
static void help_rebound(Elab *e, Diag *d, const Item *item, const Stmt *s) {
    const Expr *x = s->value;
    if (x && x->kind == EXPR_CALL && x->path.n == 1 && dist_named(x->path.names[0].text))
        diag_help(e->ctx, d, "a distribution is stated by `~`: `%s ~ %s(...)`", s->name.text, x->path.names[0].text);
    else if (item->kind == ITEM_OPTIMIZER || item->kind == ITEM_MODEL)
        diag_help(e->ctx, d, item->kind == ITEM_OPTIMIZER ? "an update is `%s := ...`" : "take another name; a state is updated by `:=`", s->name.text);
}

static void check_bindings(Elab *e, const Item *item) {
    for (int i = 0; i < item->n_body; i++) {
        const Stmt *s = item->body[i];
        bool binds = s->kind == STMT_BIND || s->kind == STMT_CONST || s->kind == STMT_PARAM ||
                     s->kind == STMT_STATE || s->kind == STMT_DATA;
        Span first = {0};
        for (int k = 0; binds && k < i; k++) {
            StmtKind kind = item->body[k]->kind;
            if ((kind == STMT_BIND || kind == STMT_CONST || kind == STMT_PARAM ||
                 kind == STMT_STATE || kind == STMT_DATA) &&
                item->body[k]->name.text == s->name.text)
                first = item->body[k]->name.span;
        }
        for (int k = 0; binds && k < item->n_formals; k++)
            if (item->formals[k].name.text == s->name.text)
                first = item->formals[k].name.span;
        for (int k = 0; binds && k < item->n_dims; k++)
            if (item->dims[k].name.text == s->name.text)
                first = item->dims[k].name.span;
        if (!first.file)
            continue;
        Diag *d = elab_error(e, "E0405", s->name.span, "the name `%s` has a value here already",
                             s->name.text);
        diag_note(e->ctx, d, first, "it got it here");
        help_rebound(e, d, item, s);
        mark_broken(e, item);
    }
}

static void check_reports(Elab *e, const Item *item) {
    for (int i = 0; i < item->n_body; i++)
        for (int k = 0; k < i; k++)
            if (item->body[i]->kind == STMT_REPORT && item->body[k]->kind == STMT_REPORT &&
                item->body[i]->name.text == item->body[k]->name.text) {
                twice_error(e, item, &item->body[i]->name, "report");
                return;
            }
}

/* ---- optimizers: whether one is used or not */

static void check_optimizer(Elab *e, const Item *item) {
    if (item->kind != ITEM_OPTIMIZER || check_is_broken(e, item))
        return;
    bool updates = false;
    if (item->n_formals < 2) {
        elab_error(e, "E0524", item->name.span,
                   "the first two formals of an optimizer are the parameter and its gradient");
        mark_broken(e, item);
        return;
    }
    Str p = item->formals[0].name.text;
    for (int i = 0; i < item->n_body; i++) {
        const Stmt *s = item->body[i];
        updates |= s->kind == STMT_UPDATE && s->name.text == p;
        if (s->kind != STMT_STATE || !s->type->has_shape)
            continue;
        elab_error(e, "E0527", s->type->span, "the state `%s` of an optimizer has a shape",
                   s->name.text);
        mark_broken(e, item);
        return;
    }
    if (updates)
        return;
    Diag *d = elab_error(e, "E0528", item->close.file ? item->close : item->name.span,
                         "the optimizer `%s` never updates its parameter `%s`", item->name.text, p);
    diag_help(e->ctx, d, "update it: `%s := %s - lr * %s`", p, p, item->formals[1].name.text);
    mark_broken(e, item);
}

/* ---- recursion */

/* Each definition is walked once: what is done calls nothing that leads back to it. */
enum { MOST_DEPTH = 256 };
typedef struct Walk {
    Elab *e;
    const Item *stack[MOST_DEPTH];
    int depth;
    VEC(const Item *) done;
} Walk;

static bool is_done(const Walk *w, const Item *item) {
    for (int i = w->done.n; i-- > 0;)
        if (w->done.p[i] == item)
            return true;
    return false;
}

static void walk_item(Walk *w, const Item *item);

static void walk_call(Walk *w, const Expr *x) {
    Lib *lib;
    const Item *callee = elab_function(w->e, w->e->file, &x->path, &lib);
    if (!callee || lib != w->e->file)
        return;
    for (int i = 0; i < w->depth; i++)
        if (w->stack[i] == callee) {
            bool known = false;
            for (int k = i; k < w->depth; k++) {
                known |= check_is_broken(w->e, w->stack[k]);
                mark_broken(w->e, w->stack[k]);
            }
            if (!known)
                elab_error(w->e, "E0414", x->path.span,
                           "`%s` calls itself: recursion has no end here", callee->name.text);
            return;
        }
    if (w->depth < MOST_DEPTH && !check_is_broken(w->e, callee) && !is_done(w, callee))
        walk_item(w, callee);
}

static void walk_expr(Walk *w, const Expr *x) {
    if (!x)
        return;
    if (x->kind == EXPR_CALL)
        walk_call(w, x);
    walk_expr(w, x->x);
    walk_expr(w, x->y);
    walk_expr(w, x->z);
    for (int i = 0; i < x->n_items; i++)
        walk_expr(w, x->items[i]);
    for (int i = 0; i < x->n_args; i++)
        walk_expr(w, x->args[i].value);
    for (int i = 0; i < x->n_subs; i++) {
        walk_expr(w, x->subs[i].lo);
        walk_expr(w, x->subs[i].hi);
    }
    for (int i = 0; i < x->n_indices; i++)
        walk_expr(w, x->indices[i].bound);
}

static void walk_item(Walk *w, const Item *item) {
    w->stack[w->depth++] = item;
    for (int i = 0; i < item->n_formals; i++)
        walk_expr(w, item->formals[i].default_);
    for (int i = 0; i < item->n_body; i++) {
        walk_expr(w, item->body[i]->value);
        walk_expr(w, item->body[i]->when);
    }
    w->depth--;
    vec_push(w->e->arena, &w->done, item);
}

static void check_items(Elab *e, const AstFile *file) {
    for (int i = 0; i < file->n_items; i++) {
        const Item *it = file->items[i];
        for (int k = 0; k < i; k++)
            check_twice(e, file->items[k], it);
        if (it->broken || it->kind == ITEM_IMPORT || it->kind == ITEM_CONST)
            continue;
        check_lists(e, it);
        check_places(e, it);
        check_return(e, it);
        check_bindings(e, it);
        check_reports(e, it);
        check_optimizer(e, it);
        check_dims(e, it);
    }
}

void check_file(Elab *e) {
    for (int l = 0; l < e->libs.n; l++)
        if (e->libs.p[l] != e->prelude)
            check_items(e, e->libs.p[l]->ast);
    const AstFile *file = e->file->ast;
    Walk w = {.e = e};
    for (int i = 0; i < file->n_items; i++)
        if (is_function(file->items[i]) && !check_is_broken(e, file->items[i])) {
            if (!is_done(&w, file->items[i]))
                walk_item(&w, file->items[i]);
            bool elaborated =
                file->items[i]->kind != ITEM_OPTIMIZER && lower_formals_known(e, file->items[i]);
            if (!elaborated && !check_names(e, file->items[i]))
                mark_broken(e, file->items[i]);
        }
}
