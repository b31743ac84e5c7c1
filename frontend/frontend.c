/* The front end's interface: which declarations become functions. */
#include "frontend/frontend.h"

#include <string.h>

#include "frontend/lower.h"

static Str base_name(Ctx *ctx, uint32_t file) {
    if (!file || file > ctx->n_files)
        return str_of(ctx, "");
    const char *name = ctx->files[file].name, *slash = strrchr(name, '/');
    return str_of(ctx, slash ? slash + 1 : name);
}

static Elab *start(Ctx *ctx, Arena *arena, const AstFile *file, const LowerOptions *o) {
    Elab *e = elab_new(ctx, arena, file, o);
    e->m = graph_module_new(ctx, arena, base_name(ctx, file->file));
    check_file(e);
    return e;
}

static void lower_item(Elab *e, const Item *item) {
    if (item->broken || check_is_broken(e, item) || !lower_formals_known(e, item))
        return;
    if (item->kind == ITEM_DEF)
        lower_def(e, item);
    else if (item->kind == ITEM_MODEL)
        lower_model(e, item);
    else if (item->kind == ITEM_ESTIMATOR)
        lower_estimator(e, item);
}

/* Consts nobody uses are computed too: an error in one is an error of the file. */
static void lower_consts(Elab *e) {
    Func *f = graph_func_new(e->m, str_of(e->ctx, "const"), (Span){0});
    e->f = f;
    e->real = DT_F64;
    e->frame = NULL;
    for (int i = 0; i < e->file->ast->n_items; i++) {
        const Item *it = e->file->ast->items[i];
        if (it->kind != ITEM_CONST || it->broken)
            continue;
        Name *name = ARENA_NEW(e->arena, Name);
        *name = it->name;
        Expr x = {.kind = EXPR_NAME, .path = {name, 1, it->name.span}, .span = it->name.span};
        Value v = elab_global(e, &x);
        if (v.kind == V_LIST)
            node_of(e, &v, DT_NONE);
    }
    graph_func_remove(e->m, f->id);
}

Module *frontend_lower(Ctx *ctx, Arena *arena, const AstFile *file, const LowerOptions *o) {
    Elab *e = start(ctx, arena, file, o);
    lower_consts(e);
    for (int i = 0; i < file->n_items; i++) {
        const Item *it = file->items[i];
        if (!o || !o->only || (it->name.text && !strcmp(it->name.text, o->only)))
            lower_item(e, it);
    }
    if (o && o->base)
        check_symbols(e);
    for (int i = 0; i < file->n_items && !diag_any_error(ctx); i++)
        if (!o || !o->only)
            warn_item(e, file->items[i]);
    return diag_any_error(ctx) ? NULL : e->m;
}

/* ---- tests */

static void lower_expect(Elab *e, const Stmt *s) {
    Value v = elab_expr(e, s->value);
    if (v.kind == V_ERROR)
        return;
    Node *n = node_of(e, &v, DT_NONE);
    if (!n || n->dt != DT_BOOL || n->rank) {
        if (n) {
            Diag *d = elab_error(e, "E0335", s->value->span, "expect needs a bool, and this is %s",
                                 value_what(e, &v));
            diag_help(e->ctx, d, n->dt == DT_BOOL ? "`all(...)` makes one bool of a tensor of them"
                                                  : "compare: `expect close(a, b)`");
        }
        return;
    }
    Result r = {.val = gen_value(e, n),
                .role = RES_OUT,
                .of = -1,
                .name = str_fmt(e->ctx, "%u:%u", s->span.line, s->span.col)};
    graph_result(e->m, e->f, r);
}

static void lower_test(Elab *e, const Item *item) {
    DType real = e->o && e->o->real ? e->o->real : DT_F64;
    Func *f = lower_begin(e, item, real, false);
    f->name = item->text;
    f->entry = lower_entry_named(e, item, ENTRY_DEF, str_fmt(e->ctx, "test_%u", f->id.id));
    f->entry->decl = item->text;
    e->in_model = false;
    for (int i = 0; i < item->n_body; i++) {
        if (item->body[i]->kind == STMT_EXPECT)
            lower_expect(e, item->body[i]);
        else
            elab_stmt(e, item->body[i]);
    }
}

Module *frontend_tests(Ctx *ctx, Arena *arena, const AstFile *file, const LowerOptions *o) {
    Elab *e = start(ctx, arena, file, o);
    lower_consts(e);
    for (int i = 0; i < file->n_items; i++)
        if (file->items[i]->kind == ITEM_TEST && !file->items[i]->broken &&
            !check_is_broken(e, file->items[i]))
            lower_test(e, file->items[i]);
    return diag_any_error(ctx) ? NULL : e->m;
}

/* ---- REPL */

Module *frontend_expr(Ctx *ctx, Arena *arena, const AstFile *file, const Expr *x,
                      const SessionValue *values, int n_values, const LowerOptions *o,
                      const char **type_text) {
    Elab *e = start(ctx, arena, file, o);
    if (diag_any_error(ctx))
        return NULL;
    Item *item = ARENA_NEW(arena, Item);
    item->kind = ITEM_DEF;
    item->name = (Name){str_of(ctx, "_"), x->span};
    item->span = x->span;
    Func *f = lower_begin(e, item, o && o->real ? o->real : DT_F64, false);
    e->in_model = false;
    for (int i = 0; i < n_values; i++) {
        Param p = {.name = values[i].name, .role = ROLE_INPUT, .span = x->span, .tensor = -1};
        Val v = graph_param(e->m, f, p, values[i].type);
        elab_bind(e, (Name){values[i].name, x->span}, B_FORMAL,
                  value_node(node_leaf(e, v, NULL, x->span)))
            ->leaf = v;
    }
    Value v = elab_expr(e, x);
    Node *n = v.kind == V_ERROR ? NULL : node_of(e, &v, DT_NONE);
    if (!n || diag_any_error(ctx))
        return NULL;
    n = gen_leaf(e, n);
    f->entry = lower_entry_named(e, item, ENTRY_DEF, str_of(ctx, "_"));
    Result r = {.val = n->val, .name = str_of(ctx, "out"), .role = RES_OUT, .of = -1};
    graph_result(e->m, f, r);
    if (type_text) {
        StrBuf sb = sb_new(arena);
        type_print(&sb, graph_type(f, n->val));
        *type_text = sb.text;
    }
    return e->m;
}

int frontend_words(FrontendWords which, const char **names, int max) {
    return which == FRONTEND_KINDS    ? elab_kinds(names, max)
           : which == FRONTEND_VALUES ? elab_values(names, max)
                                      : elab_builtins(names, max);
}

const char *frontend_doc(Ctx *ctx, const AstFile *file, const char *name) {
    for (int i = 0; file && i < file->n_items; i++)
        if (file->items[i]->name.text && !strcmp(file->items[i]->name.text, name))
            return file->items[i]->doc;
    Arena scratch;
    arena_init(&scratch, ctx);
    static const AstFile empty;
    Elab *e = elab_new(ctx, &scratch, &empty, NULL);
    const char *doc = NULL;
    const AstFile *lib = e->prelude->ast;
    for (int i = 0; i < lib->n_items; i++)
        if (lib->items[i]->name.text && !strcmp(lib->items[i]->name.text, name))
            doc = lib->items[i]->doc;
    arena_free(&scratch);
    if (!doc)
        doc = elab_builtin_doc(name);
    ScalarOp op = scalar_named(str_of(ctx, name));
    return doc                                                   ? doc
           : op != SC_NONE && elab_is_builtin(str_of(ctx, name)) ? scalar_def(op)->doc
                                                                 : NULL;
}
