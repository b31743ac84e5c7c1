/* Names in definitions that nobody elaborates: those with formals that only a call can know. */
#include "frontend/lower.h"
#include "ir/dist.h"

#include <string.h>

typedef struct Names {
    Elab *e;
    const Item *item;
    VEC(Str) known;
    bool bad;
} Names;

static void know(Names *n, Str name) {
    if (name)
        vec_push(n->e->arena, &n->known, name);
}

static bool is_const(const Elab *e, Str name) {
    for (int l = 0; l < e->libs.n; l++)
        for (int i = 0; i < e->libs.p[l]->ast->n_items; i++) {
            const Item *it = e->libs.p[l]->ast->items[i];
            if (it->kind == ITEM_CONST && it->name.text == name)
                return true;
        }
    return false;
}

static bool predefined(const char *name) {
    static const char *const all[] = {"training", "step", "epoch", "inf", "pi"};
    for (int i = 0; i < 5; i++)
        if (!strcmp(all[i], name))
            return true;
    return false;
}

static void check_value(Names *n, const Expr *x) {
    Str name = x->path.names[0].text;
    if (x->path.n != 1 || is_const(n->e, name) || predefined(name) ||
        elab_may_be_imported(n->e, &x->path))
        return;
    for (int i = 0; i < n->known.n; i++)
        if (n->known.p[i] == name)
            return;
    elab_unknown_value(n->e, &x->path, x->span, n->known.p, n->known.n);
    n->bad = true;
}

static void check_function(Names *n, const Expr *x) {
    Lib *lib;
    Str name = x->path.names[x->path.n - 1].text;
    bool wrapper =
        !strcmp(name, "Mixture") || !strcmp(name, "Weighted") || !strcmp(name, "LogDensity");
    if (elab_function(n->e, n->e->file, &x->path, &lib))
        return;
    if (x->path.n == 1 && (elab_is_builtin(name) || dist_named(name) || wrapper))
        return;
    bool first = false;
    for (int i = 0; i < n->known.n; i++)
        first |= n->known.p[i] == x->path.names[0].text;
    if (elab_may_be_imported(n->e, &x->path))
        return;
    elab_unknown_function(n->e, &x->path, first);
    n->bad = true;
}

static void check_expr(Names *n, const Expr *x) {
    if (!x)
        return;
    int mark = n->known.n;
    if (x->kind == EXPR_NAME)
        check_value(n, x);
    if (x->kind == EXPR_CALL)
        check_function(n, x);
    for (int i = 0; i < x->n_indices; i++)
        check_expr(n, x->indices[i].bound);
    for (int i = 0; i < x->n_indices; i++)
        know(n, x->indices[i].name.text);
    check_expr(n, x->x);
    check_expr(n, x->y);
    check_expr(n, x->z);
    n->known.n = mark;
    for (int i = 0; i < x->n_items; i++)
        check_expr(n, x->items[i]);
    for (int i = 0; i < x->n_args; i++)
        if (!x->args[i].name.text || strcmp(x->args[i].name.text, "share") != 0)
            check_expr(n, x->args[i].value);
    for (int i = 0; i < x->n_subs; i++) {
        check_expr(n, x->subs[i].lo);
        check_expr(n, x->subs[i].hi);
    }
}

static void check_type(Names *n, const TypeExpr *t) {
    for (int i = 0; t && i < t->rank; i++)
        check_expr(n, t->shape[i]);
    for (int i = 0; t && i < t->n_args; i++)
        check_expr(n, t->args[i].value);
}

bool check_names(Elab *e, const Item *item) {
    Names n = {.e = e, .item = item};
    for (int i = 0; i < item->n_dims; i++)
        know(&n, item->dims[i].name.text);
    for (int i = 0; i < item->n_formals; i++) {
        check_type(&n, item->formals[i].type);
        check_expr(&n, item->formals[i].default_);
        know(&n, item->formals[i].name.text);
    }
    check_type(&n, item->type);
    for (int i = 0; i < item->n_body; i++) {
        const Stmt *s = item->body[i];
        check_type(&n, s->type);
        check_expr(&n, s->value);
        check_expr(&n, s->when);
        if (s->kind != STMT_TILDE && s->kind != STMT_UPDATE)
            know(&n, s->name.text);
    }
    return !n.bad;
}
