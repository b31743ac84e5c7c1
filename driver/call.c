#include "driver/call.h"

#include "driver/cache.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const Span nowhere = {0};

/* ---- programs */

bool program_open_module(Session *s, Program *p, Module *m, const volatile int *stop) {
    Unit u = session_unit(s, m);
    *p = (Program){.s = s, .stop = stop};
    if (!session_passes(s, &u))
        return false;
    CodegenOptions o = session_codegen(s);
    o.poll_stop = true;
    o.trampolines = true;
    int n;
    const CodeObject *objects = NULL;
    for (LoopModule *next = u.loops; next;) {
        CodeSpills spills = {0};
        p->m = next;
        o.spills = session_sees_spills(next, &o) ? &spills : NULL;
        objects = cache_objects(s, next, &o, &n);
        next = objects ? session_next_tiles(s, &spills) : NULL;
    }
    o.spills = NULL;
    p->jit = objects ? jit_open_objects(s->ctx, p->m, &o, objects, n) : NULL;
    p->pool = p->jit ? pool_new((int)s->o.threads, stop) : NULL;
    if (!p->jit)
        session_fail(s, EXIT_PROGRAM);
    return p->jit != NULL;
}

bool program_open(Session *s, Program *p, const char *path, const char *only, const volatile int *stop) {
    AstFile *file = session_parse(s, path);
    Module *m = file ? session_lower(s, file, only) : NULL;
    *p = (Program){.s = s};
    return m && program_open_module(s, p, m, stop);
}

void program_close(Program *p) {
    pool_free(p->pool);
    jit_close(p->jit);
}

const LoopFunc *program_entry(const Program *p, AbiEntryKind kind, const char *decl) {
    for (int k = 0; k < p->m->funcs.n; k++) {
        const AbiEntry *e = p->m->funcs.p[k]->entry;
        if (e->kind == kind && (!decl || strcmp(e->decl, decl) == 0))
            return p->m->funcs.p[k];
    }
    return NULL;
}

const AbiBlock *program_block(const Program *p, const char *decl) {
    for (int k = 0; k < p->m->blocks.n; k++)
        if (strcmp(p->m->blocks.p[k]->name, decl) == 0)
            return p->m->blocks.p[k];
    return NULL;
}

/* ---- dims */

bool env_get(const DimEnv *e, DimSym s, int64_t *v) {
    for (int k = 0; k < e->v.n; k++)
        if (e->v.p[k].sym == s || strcmp(e->v.p[k].sym->name, s->name) == 0) {
            *v = e->v.p[k].value;
            return true;
        }
    return false;
}

void env_set(Session *s, DimEnv *e, DimSym sym, int64_t v) {
    for (int k = 0; k < e->v.n; k++)
        if (e->v.p[k].sym == sym) {
            e->v.p[k].value = v;
            return;
        }
    vec_push(s->arena, &e->v, (DimValue){sym, v});
}

/* The symbols of d with their values; false if one has none. */
static bool values_of(Session *s, const DimEnv *e, Dim d, DimValue *out, int *n) {
    DimSym syms[64];
    (void)s;
    *n = dim_symbols(d, syms, 64);
    for (int k = 0; k < *n; k++) {
        out[k].sym = syms[k];
        if (!env_get(e, syms[k], &out[k].value))
            return false;
    }
    return true;
}

bool env_eval(Session *s, const DimEnv *e, Dim d, const char *what, int64_t *v) {
    DimValue values[64];
    int n;
    if (values_of(s, e, d, values, &n) && dim_eval(d, values, n, v))
        return true;
    session_file_error(s, nowhere, "%s: the size %s is not known from the data", what, dim_text(s->ctx, d));
    return false;
}

DimEnv env_copy(Session *s, const DimEnv *e) {
    DimEnv c = {0};
    for (int k = 0; k < e->v.n; k++)
        vec_push(s->arena, &c.v, e->v.p[k]);
    return c;
}

/* ---- calls */

Call call_new(Program *p, const LoopFunc *f, const DimEnv *env) {
    Call c = {.p = p, .f = f};
    c.env = env_copy(p->s, env);
    return c;
}

const LoopBuf *call_arg_buf(const LoopFunc *f, int arg) {
    for (int k = 0; k < f->bufs.n; k++)
        if (f->bufs.p[k]->kind == BUF_ARG && f->bufs.p[k]->arg == arg)
            return f->bufs.p[k];
    return NULL;
}

int call_arg(const LoopFunc *f, AbiArgKind kind) {
    for (int k = 0; k < f->entry->args.n; k++)
        if (f->entry->args.p[k].kind == kind)
            return k;
    return -1;
}

int call_arg_named(const LoopFunc *f, const char *name) {
    for (int k = 0; k < f->entry->args.n; k++) {
        const AbiArg *a = &f->entry->args.p[k];
        if ((a->kind == ARG_INPUT || a->kind == ARG_SCALAR) && strcmp(a->name, name) == 0)
            return k;
    }
    return -1;
}

void call_set(Call *c, AbiArgKind kind, const void *p) {
    for (int k = 0; k < c->f->entry->args.n; k++)
        if (c->f->entry->args.p[k].kind == kind)
            c->args[k].p = p;
}

int call_run(Call *c) {
    const AbiEntry *e = c->f->entry;
    Session *s = c->p->s;
    for (int k = 0; k < e->args.n; k++) {
        const AbiArg *a = &e->args.p[k];
        int64_t v = 0, bytes;
        if (a->kind == ARG_EXEC)
            c->args[k].p = pool_exec(c->p->pool);
        if (a->kind == ARG_DIM) {
            if (!env_get(&c->env, a->dim, &v)) {
                session_usage(s, "the dim %s of %s has no value: give the data that have it, or -D %s=...", a->dim->name, e->decl, a->dim->name);
                return INT32_MIN;
            }
            c->args[k].i = v;
        }
        if (a->kind == ARG_WORK && !c->work) {
            if (e->work_bytes && !env_eval(s, &c->env, e->work_bytes, e->cname, &bytes))
                return INT32_MIN;
            c->work = arena_array(s->arena, (size_t)(e->work_bytes ? bytes : 0) + 64, 1);
        }
        if (a->kind == ARG_WORK)
            c->args[k].p = c->work;
    }
    return jit_call(c->p->jit, e->cname, c->args);
}

const char *call_status(const Program *p, int status) {
    int64_t k = -(int64_t)status - 1;
    return k >= 0 && k < p->m->statuses.n ? p->m->statuses.p[k].text : "unknown status";
}

static Cell cell_of(DType dt) {
    switch (dt) {
    case DT_BOOL: return CELL_BOOL;
    case DT_I32: return CELL_I32;
    case DT_I64: return CELL_I64;
    case DT_F32: return CELL_F32;
    default: return CELL_F64;
    }
}

Array *call_out(Call *c, int arg, const char *name) {
    const LoopBuf *b = call_arg_buf(c->f, arg);
    int64_t shape[ARRAY_MOST_RANK];
    CTX_ASSERT(c->p->s->ctx, b != NULL);
    for (int k = 0; k < b->rank; k++)
        if (!env_eval(c->p->s, &c->env, b->shape[k], name, &shape[k]))
            return NULL;
    return array_new(c->p->s, cell_of(b->dt), b->rank, shape, name);
}

/* ---- printing */

void json_real(StrBuf *sb, double v) {
    if (isfinite(v))
        sb_printf(sb, "%.17g", v);
    else
        sb_put(sb, "null");
}

static void print_value(StrBuf *sb, const Array *a, int64_t k) {
    double v = array_get(a, k);
    if (a->cell == CELL_BOOL)
        sb_put(sb, v != 0 ? "true" : "false");
    else if (!cell_is_real(a->cell))
        sb_printf(sb, "%.0f", v);
    else if (a->cell == CELL_F32)
        sb_printf(sb, "%.9g", v);
    else if (v == rint(v) && fabs(v) < 1e15)
        sb_printf(sb, "%.0f", v + 0.0);
    else
        sb_real(sb, v);
}

static void print_axis(StrBuf *sb, const Array *a, int axis, int64_t *at) {
    if (axis == a->rank) {
        print_value(sb, a, (*at)++);
        return;
    }
    sb_putc(sb, '[');
    for (int64_t k = 0; k < a->shape[axis]; k++) {
        if (k)
            sb_put(sb, axis + 1 < a->rank ? ",\n" : ", ");
        for (int j = 0; k && axis + 1 < a->rank && j <= axis; j++)
            sb_putc(sb, ' ');
        print_axis(sb, a, axis + 1, at);
    }
    sb_putc(sb, ']');
}

void print_array(Session *s, StrBuf *sb, const Array *a) {
    int64_t at = 0;
    (void)s;
    print_axis(sb, a, 0, &at);
    sb_putc(sb, '\n');
}

void print_array_json(Session *s, StrBuf *sb, const char *name, const Array *a) {
    (void)s;
    sb_printf(sb, "{\"name\":\"%s\",\"dtype\":\"%s\",\"shape\":[", name, cell_name(a->cell));
    for (int k = 0; k < a->rank; k++)
        sb_printf(sb, "%s%lld", k ? "," : "", (long long)a->shape[k]);
    sb_put(sb, "],\"data\":[");
    for (int64_t k = 0; k < a->count; k++) {
        sb_put(sb, k ? "," : "");
        json_real(sb, array_get(a, k));
    }
    sb_put(sb, "]}\n");
}

/* ---- --data */

bool dataset_load(Session *s, const Strings *given, DataSet *out) {
    *out = (DataSet){0};
    for (int k = 0; k < given->n; k++) {
        const char *text = given->p[k], *eq = strchr(text, '=');
        if (!eq || eq == text) {
            session_usage(s, "data are given as NAME=FILE or NAME=FILE:COLUMNS, not `%s`", text);
            return false;
        }
        const char *name = str_intern(s->ctx, text, (size_t)(eq - text));
        if (dataset_get(out, name)) {
            session_usage(s, "`%s` is given twice", name);
            return false;
        }
        Array *a = data_load(s, eq + 1);
        if (!a)
            return false;
        vec_push(s->arena, &out->all, (NamedArray){name, a});
    }
    return true;
}

Array *dataset_get(const DataSet *d, const char *name) {
    for (int k = 0; k < d->all.n; k++)
        if (strcmp(d->all.p[k].name, name) == 0)
            return d->all.p[k].array;
    return NULL;
}
