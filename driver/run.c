/* cnnc run FILE FUNCTION name=value...: calls a def or a model once. */
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
                      "values (`k: int = 3`)",
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

void command_run(Session *s) {
    Strings values = {0};
    DataSet given;
    Program p = {0};
    if (s->args.n < 3) {
        session_usage(s, "`cnnc run` wants a file and a function");
        return;
    }
    const char *path = s->args.p[1], *name = s->args.p[2];
    for (int k = 3; k < s->args.n; k++)
        vec_push(s->arena, &values, s->args.p[k]);
    AstFile *file = session_parse(s, path);
    if (!file)
        return;
    if (!function_named(file, name)) {
        session_usage(s, "%s has no function `%s`%s", path, name, instead_of(s, file, name));
        return;
    }
    if (!dataset_load(s, &values, &given))
        return;
    Module *m = session_lower(s, file, name);
    if (m && program_open_module(s, &p, m, NULL))
        call(s, &p, name, &given);
    program_close(&p);
}
