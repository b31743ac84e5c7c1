/* Names and messages of the elaboration. */
#include "frontend/elab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frontend/parse.h"
#include "ir/dist.h"

static Lib *lib_new(Elab *e, const AstFile *ast, bool is_prelude) {
    Lib *l = ARENA_NEW(e->arena, Lib);
    l->ast = ast;
    l->is_prelude = is_prelude;
    vec_push(e->arena, &e->libs, l);
    return l;
}

static void load_imports(Elab *e, Lib *l) {
    for (int i = 0; i < l->ast->n_items; i++) {
        const Item *it = l->ast->items[i];
        if (it->kind != ITEM_IMPORT || it->broken)
            continue;
        uint32_t file = 0;
        const char *bad =
            e->o && e->o->load_import
                ? e->o->load_import(e->ctx, e->o->load_self, it->text, it->text_span, &file)
                : "imports are not available here";
        if (bad) {
            diag_error(e->ctx, "E0410", it->text_span, "cannot import \"%s\": %s", it->text, bad);
            Import lost = {it->name.text, NULL};
            vec_push(e->arena, &l->imports, lost);
            l->lacks_import |= !it->name.text;
            continue;
        }
        Lib *found = NULL;
        for (int k = 0; k < e->libs.n; k++)
            if (e->libs.p[k]->ast->file == file)
                found = e->libs.p[k];
        if (!found) {
            found = lib_new(e, parse_file(e->ctx, file), false);
            load_imports(e, found);
        }
        Import import = {it->name.text, found};
        vec_push(e->arena, &l->imports, import);
    }
}

Elab *elab_new(Ctx *ctx, Arena *arena, const AstFile *file, const LowerOptions *o) {
    Elab *e = ARENA_NEW(arena, Elab);
    e->ctx = ctx;
    e->arena = arena;
    e->o = o;
    uint32_t lib = 0;
    for (uint32_t k = 1; k <= ctx->n_files; k++)
        if (!strcmp(ctx->files[k].name, "prelude.cnn") && ctx->files[k].len == frontend_prelude_len)
            lib = k;
    if (!lib)
        lib = ctx_add_file(ctx, "prelude.cnn", frontend_prelude, frontend_prelude_len);
    e->prelude = lib_new(e, parse_file(ctx, lib), true);
    e->file = lib_new(e, file, false);
    load_imports(e, e->file);
    return e;
}

Span elab_span(const Elab *e, Span span) {
    uint32_t lib = e->prelude->ast->file;
    for (const Frame *fr = e->frame; fr && span.file == lib; fr = fr->caller)
        span = fr->call;
    return span;
}

Str elab_label(const Elab *e) {
    const Frame *fr = e->frame;
    if (!fr)
        return NULL;
    if (!fr->binding || fr->lib->is_prelude)
        return fr->label;
    return str_fmt(e->ctx, "%s.%s", fr->label, fr->binding);
}

static bool same_span(Span a, Span b) {
    return a.file == b.file && a.line == b.line && a.col == b.col;
}

/* "in conv, called here with out = 16": what the call made of the int formals. */
static void note_calls(Elab *e, Diag *d, Span at) {
    int shown = 0;
    for (const Frame *fr = e->frame; fr && fr->caller && shown < 4; fr = fr->caller) {
        StrBuf sb = sb_new(e->arena);
        const char *sep = " with ";
        for (int i = 0; i < fr->names.n; i++) {
            const Binding *b = &fr->names.p[i];
            if ((b->kind != B_FORMAL && b->kind != B_DIM) || b->v.kind != V_DIM)
                continue;
            sb_printf(&sb, "%s%s = %s", sep, b->name, dim_text(e->ctx, b->v.dim));
            sep = ", ";
        }
        diag_note(e->ctx, d, same_span(fr->call, at) ? (Span){0} : fr->call, "in %s, called here%s",
                  fr->item->name.text, sb.len ? sb.text : "");
        shown++;
    }
}

const char *elab_number(Elab *e, double x) {
    char text[40];
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, x);
        if (strtod(text, NULL) == x)
            break;
    }
    return str_of(e->ctx, text);
}

const char *elab_count(Elab *e, int n, const char *one, const char *many) {
    return str_fmt(e->ctx, "%d %s", n, n == 1 ? one : many);
}

Diag *elab_error(Elab *e, const char *code, Span span, const char *fmt, ...) {
    Span at = elab_span(e, span);
    va_list ap;
    va_start(ap, fmt);
    StrBuf sb = sb_new(e->arena);
    sb_vprintf(&sb, fmt, ap);
    va_end(ap);
    Diags *all = diags_of(e->ctx);
    for (int i = 0; i < all->all.n; i++)
        if (all->all.p[i]->severity == SEV_ERROR && same_span(all->all.p[i]->span, at))
            return ARENA_NEW(&e->ctx->perm, Diag);
    Diag *d = diag_error(e->ctx, code, at, "%s", sb.text);
    note_calls(e, d, at);
    return d;
}

/* ---- functions */

static const struct {
    const char *name, *doc;
} builtins[] = {
    {"sum", "sum(x): the sum of all elements; `over = N` or `axis = 1`: of these axes"},
    {"mean", "mean(x): the mean; `over`, `axis` as in sum"},
    {"var",
     "var(x): the mean squared deviation from the mean (divides by n); `over`, `axis` as in sum"},
    {"sd", "sd(x): the square root of var"},
    {"max", "max(x): the greatest element; max(a, b): elementwise"},
    {"min", "min(x): the least element; min(a, b): elementwise"},
    {"argmax", "argmax(x, axis = 1): the number of the first greatest element, of kind index"},
    {"prod", "prod(x): the product of at most 16 elements"},
    {"any", "any(x): does one of the bools hold?"},
    {"all", "all(x): do all of the bools hold?"},
    {"softmax", "softmax(x, axis = 1): exp(x) over its sum"},
    {"logsumexp", "logsumexp(x, axis = 1): log(sum(exp(x))), without overflow"},
    {"pad", "pad(x, before, after, fill = 0): elements added to each axis"},
    {"zeropad", "zeropad(x, p): p zeros around the last two axes"},
    {"concat", "concat(a, b, axis = 0): one after the other"},
    {"reshape", "reshape(x, [N, M]): the same elements in row-major order"},
    {"fill", "fill([N, M], v): v in every element"},
    {"eye", "eye(n): the unit matrix"},
    {"cholesky", "cholesky(a): the lower factor of a symmetric positive definite matrix"},
    {"solve", "solve(a, b): x with a @ x == b"},
    {"mask", "mask(\"X.\", \".X\"): a table of bools, X is true"},
    {"glorot",
     "glorot(fan_in, fan_out, gain = 1): an initial value, uniform (Glorot and Bengio 2010)"},
    {"he", "he(fan_in): an initial value, Normal with sd sqrt(2 / fan_in)"},
    {"pick", "pick(x, K): an initial value, K rows of x by k-means++"},
    {"uniform", "uniform(x): random numbers in 0 .. 1, shaped like x"},
    {"randint", "randint(k, [N]): random numbers of kind index(k)"},
    {"grad", "grad(e, w): the gradient of the scalar e"},
    {"hessian", "hessian(e, w): the matrix of second derivatives of the scalar e"},
    {"jvp", "jvp(e, w, v): the derivative of e in the direction v of w"},
    {"vjp", "vjp(e, w, v): the gradient of sum(v * e)"},
    {"stop", "stop(e): e, held constant by derivatives"},
    {"logpdf", "logpdf(D, x): the log density of x"},
    {"close", "close(a, b, tol): do all elements agree up to rounding?"},
    {"polygamma", "polygamma(n, x): derivatives of digamma, n from 0 to 12"},
};
enum { N_BUILTINS = sizeof builtins / sizeof builtins[0] };

const char *elab_builtin_doc(const char *name) {
    for (int i = 0; i < N_BUILTINS; i++)
        if (!strcmp(builtins[i].name, name))
            return builtins[i].doc;
    return NULL;
}

static bool scalar_function(const ScalarDef *d) {
    return !d->infix && !(d->flags & (SF_INTERNAL | SF_LANES)) && strcmp(d->name, "neg") &&
           strcmp(d->name, "and") && strcmp(d->name, "or") && strcmp(d->name, "not");
}

bool elab_is_builtin(Str name) {
    for (int i = 0; i < N_BUILTINS; i++)
        if (!strcmp(builtins[i].name, name))
            return true;
    ScalarOp op = scalar_named(name);
    return op != SC_NONE && scalar_function(scalar_def(op));
}

static bool is_function(const Item *it) {
    return it->kind == ITEM_DEF || it->kind == ITEM_MODEL || it->kind == ITEM_ESTIMATOR ||
           it->kind == ITEM_OPTIMIZER;
}

static const Item *find_in(const Lib *l, Str name) {
    for (int i = 0; i < l->ast->n_items; i++)
        if (is_function(l->ast->items[i]) && l->ast->items[i]->name.text == name)
            return l->ast->items[i];
    return NULL;
}

const Item *elab_function(Elab *e, const Lib *lib, const Path *path, Lib **where) {
    if (path->n == 2) {
        for (int i = 0; i < lib->imports.n; i++)
            if (lib->imports.p[i].as == path->names[0].text && lib->imports.p[i].lib) {
                *where = lib->imports.p[i].lib;
                return find_in(*where, path->names[1].text);
            }
        return NULL;
    }
    if (path->n != 1)
        return NULL;
    Str name = path->names[0].text;
    for (int i = 0; i < e->libs.n; i++)
        if (e->libs.p[i] == lib && find_in(lib, name)) {
            *where = e->libs.p[i];
            return find_in(lib, name);
        }
    for (int i = 0; i < lib->imports.n; i++)
        if (!lib->imports.p[i].as && lib->imports.p[i].lib && find_in(lib->imports.p[i].lib, name)) {
            *where = lib->imports.p[i].lib;
            return find_in(*where, name);
        }
    *where = e->prelude;
    return find_in(e->prelude, name);
}

int elab_builtins(const char **names, int max) {
    int n = 0;
    for (int i = 0; i < N_BUILTINS && n < max; i++)
        names[n++] = builtins[i].name;
    for (int op = SC_NONE + 1; op < SC_COUNT && n < max; op++)
        if (scalar_function(scalar_def((ScalarOp)op)))
            names[n++] = scalar_def((ScalarOp)op)->name;
    return n;
}

/* ---- values */

Binding *elab_lookup(Frame *fr, Str name) {
    for (int i = fr->names.n - 1; i >= 0; i--)
        if (fr->names.p[i].name == name)
            return &fr->names.p[i];
    return NULL;
}

Binding *elab_bind(Elab *e, Name name, BindKind kind, Value v) {
    Binding b = {.name = name.text, .kind = kind, .v = v, .span = name.span, .param = -1};
    vec_push(e->arena, &e->frame->names, b);
    return &e->frame->names.p[e->frame->names.n - 1];
}

static const Define *find_define(const Elab *e, const Lib *lib, Str name) {
    if (!e->o || lib != e->file)
        return NULL;
    for (int i = 0; i < e->o->n_defines; i++)
        if (e->o->defines[i].name == name) {
            e->o->defines[i].used = true;
            return &e->o->defines[i];
        }
    return NULL;
}

/* An int const stays a symbol in the names of axes. */
static Value const_named(Elab *e, const Item *it, Value v) {
    if (v.kind != V_DIM)
        return v;
    v.why = NULL;
    v.name = dim_of(e->ctx, dim_symbol_new(e->ctx, it->name.text, 1, false));
    return v;
}

static Value const_value(Elab *e, Lib *lib, const Item *it) {
    ConstMemo *memo = NULL;
    for (int i = 0; i < lib->consts.n; i++)
        if (lib->consts.p[i]->item == it)
            memo = lib->consts.p[i];
    if (!memo) {
        memo = ARENA_NEW(e->arena, ConstMemo);
        memo->item = it;
        vec_push(e->arena, &lib->consts, memo);
    }
    if (memo->state == CONST_BUSY) {
        elab_error(e, "E0411", it->name.span, "the constant `%s` needs itself", it->name.text);
        return value_error();
    }
    if (memo->state == CONST_DONE && (memo->v.kind != V_NODE || memo->func == e->f))
        return memo->v;
    memo->state = CONST_BUSY;
    Frame *saved = e->frame, fr = {.item = it,
                                   .lib = lib,
                                   .call = it->name.span,
                                   .path = str_of(e->ctx, ""),
                                   .label = it->name.text};
    int loops = e->loops.n, when = e->when.n, conditions = e->conditions;
    e->frame = &fr;
    e->conditions = 0;
    const Define *d = find_define(e, lib, it->name.text);
    Value v = d ? d->is_int ? value_int(e, (int64_t)d->value, it->name.span)
                            : value_real(d->value, it->name.span)
                : elab_expr(e, it->value);
    if (it->type && v.kind != V_ERROR) {
        Declared t = elab_type_of(e, it->type, &v);
        v = t.bad ? value_error() : elab_convert(e, v, &t, it->value->span, "const");
    }
    e->frame = saved;
    e->loops.n = loops;
    e->when.n = when;
    e->conditions = conditions;
    memo->v = const_named(e, it, v);
    memo->func = e->f;
    memo->state = CONST_DONE;
    return memo->v;
}

static bool find_const(Elab *e, Lib *lib, Str name, Value *out) {
    for (int i = 0; i < lib->ast->n_items; i++) {
        const Item *it = lib->ast->items[i];
        if (it->kind == ITEM_CONST && it->name.text == name) {
            *out = it->broken || !it->value ? value_error() : const_value(e, lib, it);
            return true;
        }
    }
    return false;
}

static bool predefined(Elab *e, const char *name, Span span, Value *out) {
    if (!strcmp(name, "pi"))
        *out = value_real(3.14159265358979323846, span);
    else if (!strcmp(name, "inf"))
        *out = value_real((double)1e308 * 10, span);
    else if (!strcmp(name, "training"))
        *out = value_bool(e->training, span);
    else if (!strcmp(name, "step") && e->step)
        *out = value_node((Node *)e->step);
    else if (!strcmp(name, "epoch") && e->epoch)
        *out = value_node((Node *)e->epoch);
    else
        return false;
    return true;
}

static Value unknown_value(Elab *e, const Expr *x) {
    Str name = x->path.names[0].text;
    Lib *where;
    Path one = {&x->path.names[0], 1, x->path.span};
    if (x->path.n == 1 && (elab_is_builtin(name) || elab_function(e, e->frame->lib, &one, &where))) {
        Diag *d =
            elab_error(e, "E0402", x->span, "`%s` is a function, and a value is needed here", name);
        diag_help(e->ctx, d, "call it: `%s(...)`", name);
    } else if (x->path.n == 1 && (!strcmp(name, "step") || !strcmp(name, "epoch"))) {
        elab_error(e, "E0403", x->span,
                   "`%s` has a value in training only: in optimizers and the arguments of `using`",
                   name);
    } else {
        elab_unknown_value(e, &x->path, x->span, NULL, 0);
    }
    return value_error();
}

Value elab_global(Elab *e, const Expr *x) {
    Lib *lib = e->frame ? e->frame->lib : e->file;
    Str name = x->path.names[0].text;
    Value v;
    if (x->path.n == 2) {
        for (int i = 0; i < lib->imports.n; i++)
            if (lib->imports.p[i].as == name && lib->imports.p[i].lib &&
                find_const(e, lib->imports.p[i].lib, x->path.names[1].text, &v))
                return v;
        return unknown_value(e, x);
    }
    if (x->path.n == 1) {
        if (find_const(e, lib, name, &v))
            return v;
        for (int i = 0; i < lib->imports.n; i++)
            if (!lib->imports.p[i].as && lib->imports.p[i].lib &&
                find_const(e, lib->imports.p[i].lib, name, &v))
                return v;
        if (find_const(e, e->prelude, name, &v) || predefined(e, name, x->span, &v)) {
            v.span = x->span;
            return v;
        }
    }
    return unknown_value(e, x);
}
