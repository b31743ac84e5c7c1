/* cnnc run FILE FUNCTION name=value...: calls a def or a model once. */
#include <stdlib.h>
#include <string.h>

#include "driver/call.h"
#include "driver/model.h"

static bool is_callable(const Item *i) { return i->kind == ITEM_DEF || i->kind == ITEM_MODEL; }

/* What else of that name there is, or the nearest name, or what there is to call. */
static const char *instead_of(Session *s, const AstFile *file, const char *name) {
    static const char *const what[] = {
        [ITEM_CONST] = "const", [ITEM_ESTIMATOR] = "estimator", [ITEM_OPTIMIZER] = "optimizer"};
    const char *names[256] = {0};
    int n = 0;
    for (int k = 0; k < file->n_items && n < 256; k++) {
        const Item *i = file->items[k];
        if (!i->name.text)
            continue;
        if (is_callable(i))
            names[n++] = i->name.text;
        else if (strcmp(i->name.text, name) == 0 && (size_t)i->kind < sizeof what / sizeof *what &&
                 what[i->kind])
            return str_fmt(s->ctx, ": `%s` is %s %s, and a def or a model can be called", name,
                           strchr("aeiou", what[i->kind][0]) ? "an" : "a", what[i->kind]);
    }
    const char *near = diag_nearest(name, names, n);
    if (near)
        return str_fmt(s->ctx, "; did you mean `%s`?", near);
    StrBuf sb = sb_new(s->arena);
    for (int k = 0; k < n && k < 12; k++)
        sb_printf(&sb, "%s `%s`", k ? "," : "; it has", names[k]);
    return n ? str_of(s->ctx, sb.text) : ": it has no def and no model";
}

static const Item *function_named(const AstFile *file, const char *name) {
    for (int k = 0; k < file->n_items; k++) {
        const Item *i = file->items[k];
        if (is_callable(i) && i->name.text && strcmp(i->name.text, name) == 0)
            return i;
    }
    return NULL;
}

/* name=value arguments, all of them, bound to the inputs of f. */
static bool bind_inputs(Session *s, Call *c, const DataSet *given) {
    const LoopFunc *f = c->f;
    for (int k = 0; k < given->all.n; k++)
        if (call_arg_named(f, given->all.p[k].name) < 0) {
            session_usage(s, "`%s` has no input `%s`", f->entry->decl, given->all.p[k].name);
            return false;
        }
    for (int pass = 0; pass < 2; pass++)
        for (int k = 0; k < f->entry->args.n; k++) {
            const AbiArg *a = &f->entry->args.p[k];
            const LoopBuf *b = call_arg_buf(f, k);
            if (a->kind != ARG_INPUT && a->kind != ARG_SCALAR)
                continue;
            Array *v = dataset_get(given, a->name);
            if (!v) {
                session_usage(s, "`%s` wants the input `%s`", f->entry->decl, a->name);
                return false;
            }
            if (a->kind == ARG_SCALAR) {
                if (v->count != 1) {
                    session_file_error(s, (Span){0}, "%s: a number is wanted, not %s", a->name, array_shape_text(s, v));
                    return false;
                }
                if (!dtype_is_real(a->dt) && (v->texts || !real_is_int(array_get(v, 0)))) {
                    session_file_error(s, (Span){0}, "%s: a whole number is wanted", a->name);
                    return false;
                }
                if (dtype_is_real(a->dt))
                    c->args[k].f = array_get(v, 0);
                else
                    c->args[k].i = (int64_t)array_get(v, 0);
            } else if (pass == 0) {
                if (b && !bind_shape(s, &c->env, a->name, (Type){b->dt, b->rank, b->shape}, v))
                    return false;
            } else {
                c->args[k].p = bind_cells(s, a->name, v, a->dt, KIND_REAL, 0);
                if (!c->args[k].p)
                    return false;
            }
        }
    return true;
}

static void finish(Session *s, const char *name, const Array *a) {
    if (s->o.out_file)
        data_save(s, s->o.out_file, a);
    else if (s->o.json)
        print_array_json(s, &s->out, name, a);
    else
        print_array(s, &s->out, a);
}

static void call(Session *s, Program *p, const char *name, const DataSet *given) {
    const LoopFunc *f = program_entry(p, ENTRY_DEF, name);
    f = f ? f : program_entry(p, ENTRY_FORWARD, name);
    if (!f) {
        session_usage(s,
                      "`%s` cannot be called by itself: its formals need types, and its int formals "
                      "values (`k: int = 3`, or `k=3` here)",
                      name);
        return;
    }
    DimEnv env = {0};
    Call c = call_new(p, f, &env);
    if (!bind_inputs(s, &c, given) || (f->entry->kind == ENTRY_FORWARD && !model_bind(s, p, &c, name)))
        return;
    int arg = call_arg(f, ARG_OUT);
    Array *out = call_out(&c, arg, name);
    if (!out)
        return;
    c.args[arg].p = out->data;
    int status = call_run(&c);
    if (status) {
        if (status != INT32_MIN)
            session_file_error(s, (Span){0}, "%s", call_status(p, status));
        return;
    }
    finish(s, name, out);
}

/* NAME=VALUE: of an int formal, which is known when compiling, a -D; of others, an input. */
static void take_value(Session *s, const Item *f, const char *text, Strings *values, Strings *names) {
    const char *eq = strchr(text, '=');
    Str name = str_intern(s->ctx, text, eq ? (size_t)(eq - text) : 0);
    for (int k = 0; eq && k < f->n_formals; k++) {
        const TypeExpr *t = f->formals[k].type;
        if (f->formals[k].name.text != name)
            continue;
        for (int i = 1; i < names->n; i++)
            if (strcmp(names->p[i], name) == 0)
                session_usage(s, "`%s` is given twice", name);
        vec_push(s->arena, names, name);
        if (!t || t->has_shape || !t->kind.text || strcmp(t->kind.text, "int") != 0)
            continue;
        char *end;
        (void)strtoll(eq + 1, &end, 10);
        if (end == eq + 1 || *end)
            session_file_error(s, (Span){0}, "%s: a whole number is wanted", name);
        else
            vec_push(s->arena, &s->o.define, str_fmt(s->ctx, "%s.%s", f->name.text, text));
        return;
    }
    vec_push(s->arena, values, text);
}

void command_run(Session *s) {
    Strings values = {0}, names = {0};
    DataSet given;
    Program p = {0};
    if (s->args.n < 3) {
        session_usage(s, "`cnnc run` wants a file and a function");
        return;
    }
    const char *path = s->args.p[1], *name = s->args.p[2];
    AstFile *file = session_parse(s, path);
    if (!file)
        return;
    const Item *item = function_named(file, name);
    if (!item) {
        session_usage(s, "%s has no function `%s`%s", path, name, instead_of(s, file, name));
        return;
    }
    vec_push(s->arena, &names, name);
    for (int k = 3; k < s->args.n; k++)
        take_value(s, item, s->args.p[k], &values, &names);
    if (s->status || !dataset_load(s, &values, &given))
        return;
    LowerOptions o = session_lower_options(s, name);
    o.given = names.p;
    o.n_given = names.n;
    Module *m = session_lower_with(s, file, &o);
    if (m && program_open_module(s, &p, m, NULL))
        call(s, &p, name, &given);
    program_close(&p);
}
