/* load("FILE") in an expression. It is no function of the language: each call becomes the name of a value of the session that lives as long as the input
 * does. The name is the text of the call, so that messages name what the user wrote. */
#include <string.h>

#include "driver/data/array.h"
#include "driver/repl_priv.h"
#include "driver/session.h"

static DType value_type(const Array *a) {
    return a->cell == CELL_BOOL ? DT_BOOL : a->cell == CELL_F32 || a->cell == CELL_F64 ? DT_F64 : DT_I64;
}

static bool read_value(Eval *e, const char *path, ReplValue *v) {
    Session s = {.ctx = e->ctx, .arena = &e->arena};
    Array *a = data_load(&s, path);
    if (!a)
        return false;
    *v = (ReplValue){.dt = value_type(a), .rank = a->rank, .count = (size_t)a->count, .name = ""};
    int64_t *shape = ARENA_ARRAY(&e->arena, int64_t, a->rank + 1);
    memcpy(shape, a->shape, sizeof *shape * (size_t)a->rank);
    v->shape = shape;
    char *data = ARENA_ARRAY(&e->arena, char, v->count * 8 + 8);
    for (size_t k = 0; k < v->count; k++) {
        double f = array_get(a, (int64_t)k);
        if (v->dt == DT_F64)
            ((double *)(void *)data)[k] = f;
        else if (v->dt == DT_I64)
            ((int64_t *)(void *)data)[k] = (int64_t)f;
        else
            data[k] = f != 0;
    }
    v->data = data;
    StrBuf t = sb_new(&e->arena);
    sb_put(&t, v->dt == DT_F64 ? "f64" : v->dt == DT_I64 ? "i64" : "bool");
    for (int k = 0; k < v->rank; k++)
        sb_printf(&t, "%s%lld", k ? ", " : "[", (long long)v->shape[k]);
    sb_put(&t, v->rank ? "]" : "");
    v->type_text = t.text;
    return true;
}

static bool is_load(const Eval *e, const Expr *x) {
    return x->kind == EXPR_CALL && x->path.n == 1 && strcmp(x->path.names[0].text, "load") == 0 && !repl_def(e->s, "load");
}

/* The call x becomes a name. */
static bool load_call(Eval *e, Expr *x) {
    const Expr *file = x->n_args == 1 && !x->args[0].name.text ? x->args[0].value : NULL;
    if (!file || file->kind != EXPR_STRING) {
        Diag *d = diag_error(e->ctx, "E1115", x->path.span, "`load` takes the name of a file, in quotes");
        diag_help(e->ctx, d, "write `load(\"x.npy\")`");
        return false;
    }
    Str name = str_fmt(e->ctx, "load(\"%s\")", file->text);
    ReplValue v;
    if (!repl_value(e->s, name)) {
        if (!read_value(e, file->text, &v))
            return false;
        repl_bind(e->s, name, &v);
    }
    Name *path = ARENA_NEW(&e->ctx->perm, Name);
    *path = (Name){name, x->span};
    *x = (Expr){.kind = EXPR_NAME, .path = {path, 1, x->span}, .parens = x->parens, .span = x->span, .op_span = x->span};
    return true;
}

bool repl_take_loads(Eval *e, Expr *x) {
    if (!x)
        return true;
    if (is_load(e, x))
        return load_call(e, x);
    bool ok = repl_take_loads(e, x->x) && repl_take_loads(e, x->y) && repl_take_loads(e, x->z);
    for (int k = 0; k < x->n_items && ok; k++)
        ok = repl_take_loads(e, x->items[k]);
    for (int k = 0; k < x->n_args && ok; k++)
        ok = repl_take_loads(e, x->args[k].value);
    for (int k = 0; k < x->n_subs && ok; k++)
        ok = repl_take_loads(e, x->subs[k].lo) && repl_take_loads(e, x->subs[k].hi);
    for (int k = 0; k < x->n_indices && ok; k++)
        ok = repl_take_loads(e, x->indices[k].bound);
    return ok;
}

void repl_drop_loads(ReplSession *s) {
    for (int k = s->values.n - 1; k >= 0; k--)
        if (strchr(s->values.p[k].name, '('))
            repl_drop_value(s, &s->values.p[k]);
}
