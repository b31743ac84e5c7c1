/* Names that mean nothing here: what may have been meant. */
#include "frontend/elab.h"
#include "frontend/foreign.h"
#include "ir/dist.h"

#include <string.h>
#include <strings.h>

typedef VEC(const char *) Names;

static bool is_function(const Item *it) {
    return it->kind == ITEM_DEF || it->kind == ITEM_MODEL || it->kind == ITEM_ESTIMATOR ||
           it->kind == ITEM_OPTIMIZER;
}

static void add_items(Elab *e, const Lib *lib, bool functions, Names *all) {
    for (int i = 0; i < lib->ast->n_items; i++) {
        const Item *it = lib->ast->items[i];
        if (functions ? is_function(it) : it->kind == ITEM_CONST)
            vec_push(e->arena, all, it->name.text);
    }
}

static void add_imports(Elab *e, const Lib *lib, bool functions, Names *all) {
    for (int i = 0; i < lib->imports.n; i++)
        if (!lib->imports.p[i].as && lib->imports.p[i].lib)
            add_items(e, lib->imports.p[i].lib, functions, all);
}

static const Lib *lib_here(const Elab *e) { return e->frame ? e->frame->lib : e->file; }

static Names functions_here(Elab *e) {
    Names all = {0};
    const char *names[200];
    int n = elab_builtins(names, 200);
    for (int i = 0; i < n; i++)
        vec_push(e->arena, &all, names[i]);
    add_items(e, lib_here(e), true, &all);
    add_imports(e, lib_here(e), true, &all);
    add_items(e, e->prelude, true, &all);
    const DistDef *const *dists = dist_all(&n);
    for (int i = 0; i < n; i++)
        vec_push(e->arena, &all, dists[i]->name);
    static const char *const wrappers[] = {"Mixture", "Weighted", "LogDensity"};
    for (int i = 0; i < 3; i++)
        vec_push(e->arena, &all, wrappers[i]);
    return all;
}

int elab_values(const char **names, int max) {
    static const char *const all[] = {"training", "step", "epoch", "inf", "pi"};
    int n = 0;
    for (; n < 5 && n < max; n++)
        names[n] = all[n];
    return n;
}

static Names values_here(Elab *e) {
    Names all = {0};
    for (int i = 0; e->frame && i < e->frame->names.n; i++)
        vec_push(e->arena, &all, e->frame->names.p[i].name);
    add_items(e, lib_here(e), false, &all);
    add_imports(e, lib_here(e), false, &all);
    const char *names[8];
    int n = elab_values(names, 8);
    for (int i = 0; i < n; i++)
        vec_push(e->arena, &all, names[i]);
    vec_push(e->arena, &all, "true");
    vec_push(e->arena, &all, "false");
    return all;
}

const char *elab_suggest_function(Elab *e, Str name) {
    Names all = functions_here(e);
    return diag_nearest(name, all.p, all.n);
}

const char *elab_suggest_value(Elab *e, Str name) {
    Names all = values_here(e);
    return diag_nearest(name, all.p, all.n);
}

/* A word of another language counts more than a name that is merely near, less than one that
 * differs in case alone. */
static bool suggest(Elab *e, Diag *d, ForeignPlace place, Str name, const Names *all) {
    const char *near = diag_nearest(name, all->p, all->n), *other = foreign_help(place, name);
    if (near && (!other || !strcasecmp(near, name)))
        diag_help(e->ctx, d, "did you mean `%s`?", near);
    else if (other)
        diag_help(e->ctx, d, "%s", other);
    return near || other;
}

static const Import *import_as(const Lib *lib, Str name) {
    for (int i = 0; i < lib->imports.n; i++)
        if (lib->imports.p[i].as == name)
            return &lib->imports.p[i];
    return NULL;
}

static bool is_value(Elab *e, Str name) {
    if (e->frame && elab_lookup(e->frame, name))
        return true;
    Names all = {0};
    add_items(e, lib_here(e), false, &all);
    for (int i = 0; i < all.n; i++)
        if (all.p[i] == name)
            return true;
    return false;
}

static bool is_known_function(Elab *e, Str name) {
    Names all = functions_here(e);
    for (int i = 0; i < all.n; i++)
        if (!strcmp(all.p[i], name))
            return true;
    return false;
}

bool elab_may_be_imported(const Elab *e, const Path *path) {
    const Lib *lib = lib_here(e);
    const Import *i = path->n > 1 ? import_as(lib, path->names[0].text) : NULL;
    return path->n > 1 ? i && !i->lib : lib->lacks_import;
}

/* L.f, x.f(), np.f() */
static void unknown_dotted(Elab *e, Diag *d, const Path *path, bool first_is_value) {
    Str first = path->names[0].text, last = path->names[path->n - 1].text;
    const Import *i = import_as(lib_here(e), first);
    if (i) {
        Names all = {0};
        add_items(e, i->lib, true, &all);
        const char *near = diag_nearest(last, all.p, all.n);
        if (near)
            diag_help(e->ctx, d, "did you mean `%s.%s`?", first, near);
        else
            diag_help(e->ctx, d, "the file imported as `%s` has no function of this name", first);
    } else if (is_known_function(e, last)) {
        if (first_is_value)
            diag_help(e->ctx, d, "values have no methods: write `%s(%s)` or `%s |> %s`", last, first,
                      first, last);
        else
            diag_help(e->ctx, d, "functions need no prefix: `%s(...)`", last);
    } else if (is_known_function(e, first)) {
        diag_help(e->ctx, d, "a model or def is called by its own name: `%s(...)`", first);
    } else {
        Names all = functions_here(e);
        suggest(e, d, FOREIGN_FUNCTION, last, &all);
    }
}

void elab_unknown_function(Elab *e, const Path *path, bool first_is_value) {
    Str name = path->names[path->n - 1].text;
    if (elab_may_be_imported(e, path))
        return;
    Diag *d = elab_error(e, "E0406", path->span, "unknown function `%s`",
                         path->n == 1 ? name : elab_path_text(e, path));
    if (path->n > 1) {
        unknown_dotted(e, d, path, first_is_value || is_value(e, path->names[0].text));
        return;
    }
    Names all = functions_here(e);
    suggest(e, d, FOREIGN_FUNCTION, name, &all);
}

const char *elab_path_text(Elab *e, const Path *path) {
    StrBuf sb = sb_new(e->arena);
    for (int i = 0; i < path->n; i++)
        sb_printf(&sb, i ? ".%s" : "%s", path->names[i].text);
    return sb.text;
}

/* z.w, L.k, x.shape */
static void unknown_path(Elab *e, const Path *path, Span at) {
    Str first = path->names[0].text, last = path->names[path->n - 1].text;
    const char *text = elab_path_text(e, path);
    Diag *d = elab_error(e, "E0401", at, "unknown value `%s`", text);
    const Import *i = import_as(lib_here(e), first);
    Names all = {0};
    if (i) {
        add_items(e, i->lib, false, &all);
        const char *near = diag_nearest(last, all.p, all.n);
        if (near)
            diag_help(e->ctx, d, "did you mean `%s.%s`?", first, near);
        return;
    }
    for (int k = 0; k < e->params.n; k++)
        vec_push(e->arena, &all, e->params.p[k].path);
    const char *near = diag_nearest(text, all.p, all.n), *other = foreign_help(FOREIGN_FUNCTION, last);
    const char *prefix = foreign_help(FOREIGN_VALUE, first);
    if (near)
        diag_help(e->ctx, d, "did you mean `%s`?", near);
    else if (other || prefix)
        diag_help(e->ctx, d, "%s", other ? other : prefix);
    else
        diag_help(e->ctx, d, "values have no fields; `%s.` would name an import or a bound model", first);
}

/* The statement of the block around that binds the name. */
static const Stmt *bound_later(Elab *e, Str name) {
    const Item *item = e->frame ? e->frame->item : NULL;
    for (int i = 0; item && i < item->n_body; i++) {
        const Stmt *s = item->body[i];
        if (s->name.text == name && s->kind != STMT_TILDE && s->kind != STMT_UPDATE && s->kind != STMT_REPORT && s->kind != STMT_USING)
            return s;
    }
    return NULL;
}

static bool is_within(Span in, Span outer) {
    return outer.file == in.file && (in.line > outer.line || (in.line == outer.line && in.col >= outer.col)) &&
           (in.end_line < outer.end_line || (in.end_line == outer.end_line && in.end_col <= outer.end_col));
}

static bool is_before(Span a, Span b) { return a.line < b.line || (a.line == b.line && a.col < b.col); }

/* Where a declaration is what is missing. */
static void help_declare(Elab *e, Diag *d, Str name, Span at) {
    const Item *item = e->frame ? e->frame->item : NULL;
    if (item && item->type && is_within(at, item->type->span))
        diag_help(e->ctx, d, "an axis of the result is a number, or made of dims of the arguments");
    else if (item && item->kind == ITEM_ESTIMATOR && item->n_body && !is_before(at, item->body[0]->span))
        diag_help(e->ctx, d, "declare it, `data %s: [N]` or `param %s: real`, or bind it before this line", name, name);
}

void elab_unknown_value(Elab *e, const Path *path, Span at, const char *const *known, int n) {
    if (elab_may_be_imported(e, path))
        return;
    if (path->n > 1) {
        unknown_path(e, path, at);
        return;
    }
    Str name = path->names[0].text;
    Diag *d = elab_error(e, "E0401", at, "unknown value `%s`", name);
    const Stmt *later = bound_later(e, name);
    if (later) {
        diag_help(e->ctx, d, "it gets its value in line %u: move that line up", later->span.line);
        return;
    }
    Names all = values_here(e);
    for (int i = 0; i < n; i++)
        vec_push(e->arena, &all, known[i]);
    if (!suggest(e, d, FOREIGN_VALUE, name, &all))
        help_declare(e, d, name, at);
}

void elab_unknown_argument(Elab *e, const Name *name, const char *callee, const char *const *names) {
    Names all = {0};
    StrBuf sb = sb_new(e->arena);
    for (int i = 0; names[i]; i++) {
        vec_push(e->arena, &all, names[i]);
        sb_printf(&sb, i ? ", %s" : "%s", names[i]);
    }
    Diag *d = elab_error(e, "E0407", name->span, "`%s` has no argument `%s`", callee, name->text);
    diag_note(e->ctx, d, (Span){0}, "`%s` takes %s", callee, all.n ? sb.text : "no arguments");
    suggest(e, d, FOREIGN_ARGUMENT, name->text, &all);
}
