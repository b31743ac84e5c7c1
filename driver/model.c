#include "driver/model.h"

#include <string.h>

static Cell real_cell(const AbiBlock *b) { return b->real == DT_F32 ? CELL_F32 : CELL_F64; }

static int64_t count(Session *s, const DimEnv *env, Type t, const char *what) {
    int64_t n;
    return env_eval(s, env, type_count(s->ctx, t), what, &n) ? n : -1;
}

static bool total(Session *s, const DimEnv *env, const AbiTensor *t, int n, int64_t *out) {
    *out = 0;
    for (int k = 0; k < n; k++) {
        int64_t c = count(s, env, t[k].type, t[k].path);
        if (c < 0)
            return false;
        *out += c;
    }
    return true;
}

bool model_alloc(Session *s, const AbiBlock *b, const DimEnv *env, ModelValues *v) {
    *v = (ModelValues){.block = b};
    size_t real = dtype_size(b->real);
    if (!total(s, env, b->params.p, b->params.n, &v->n_params) || !total(s, env, b->states.p, b->states.n, &v->n_state))
        return false;
    bool header = b->opts.n && b->opts.p[0].type.dt == DT_I64;
    v->opt_bytes = header ? 0 : 16;
    for (int k = 0; k < b->opts.n; k++) {
        int64_t c = count(s, env, b->opts.p[k].type, b->opts.p[k].path);
        if (c < 0)
            return false;
        v->opt_bytes += c * (int64_t)dtype_size(b->opts.p[k].type.dt);
    }
    v->params = arena_array(s->arena, (size_t)v->n_params + 1, real);
    v->state = arena_array(s->arena, (size_t)v->n_state + 1, real);
    v->opt = arena_alloc(s->arena, (size_t)v->opt_bytes + 1);
    return true;
}

int64_t model_learned(Session *s, const AbiBlock *b, const DimEnv *env) {
    int64_t sum = 0, n;
    for (int k = 0; k < b->params.n; k++) {
        Dim d = b->params.p[k].learned ? b->params.p[k].learned : type_count(s->ctx, b->params.p[k].type);
        if (env_eval(s, env, d, b->params.p[k].path, &n))
            sum += n;
    }
    return sum;
}

/* The tensor of this path; a prefix that all names of the file share ("z.") may be missing or more. */
static Array *tensor_of(const Tensors *t, const char *path) {
    for (int k = 0; k < t->all.n; k++)
        if (strcmp(t->all.p[k].name, path) == 0)
            return t->all.p[k].array;
    size_t n = strlen(path);
    for (int k = 0; k < t->all.n; k++) {
        size_t m = strlen(t->all.p[k].name);
        if (m > n && t->all.p[k].name[m - n - 1] == '.' && strcmp(t->all.p[k].name + m - n, path) == 0)
            return t->all.p[k].array;
    }
    return NULL;
}

static bool load_table(Session *s, const DimEnv *env, const AbiTensor *t, int n, const Tensors *from, const char *path, DType real, char *to) {
    for (int k = 0; k < n; k++) {
        Array *a = tensor_of(from, t[k].path);
        DimEnv e = *env;
        if (!a) {
            session_file_error(s, (Span){0}, "`%s` has no tensor `%s`", path, t[k].path);
            return false;
        }
        if (!bind_shape(s, &e, t[k].path, t[k].type, a))
            return false;
        void *cells = bind_cells(s, t[k].path, a, real, KIND_REAL, 0);
        if (!cells)
            return false;
        memcpy(to, cells, (size_t)a->count * dtype_size(real));
        to += (size_t)a->count * dtype_size(real);
    }
    return true;
}

bool model_load(Session *s, ModelValues *v, const DimEnv *env, const Tensors *t, const char *path) {
    const AbiBlock *b = v->block;
    return load_table(s, env, b->params.p, b->params.n, t, path, b->real, v->params) && load_table(s, env, b->states.p, b->states.n, t, path, b->real, v->state);
}

static void put_table(Session *s, const DimEnv *env, const AbiTensor *t, int n, Cell cell, const char *from, Tensors *out) {
    for (int k = 0; k < n; k++) {
        int64_t shape[ARRAY_MOST_RANK];
        for (int d = 0; d < t[k].type.rank; d++)
            if (!env_eval(s, env, t[k].type.shape[d], t[k].path, &shape[d]))
                return;
        Array *a = array_new(s, cell, t[k].type.rank, shape, t[k].path);
        memcpy(a->data, from, (size_t)a->count * cell_size(cell));
        from += (size_t)a->count * cell_size(cell);
        vec_push(s->arena, &out->all, (NamedArray){t[k].path, a});
    }
}

void model_tensors(Session *s, const ModelValues *v, const DimEnv *env, Tensors *out) {
    const AbiBlock *b = v->block;
    put_table(s, env, b->params.p, b->params.n, real_cell(b), v->params, out);
    put_table(s, env, b->states.p, b->states.n, real_cell(b), v->state, out);
}

bool model_bind(Session *s, Program *p, Call *c, const char *name) {
    const AbiBlock *b = program_block(p, name);
    ModelValues v;
    if (!b || !model_alloc(s, b, &c->env, &v))
        return false;
    if (s->o.weights) {
        Tensors t;
        if (!safetensors_read(s, s->o.weights, &t) || !model_load(s, &v, &c->env, &t, s->o.weights))
            return false;
    } else {
        const LoopFunc *init = program_entry(p, ENTRY_INIT, name);
        Call i = call_new(p, init, &c->env);
        int seed = call_arg(init, ARG_SEED), status;
        call_set(&i, ARG_PARAMS, v.params);
        call_set(&i, ARG_STATE, v.state);
        if (seed >= 0)
            i.args[seed].i = s->o.seed;
        if ((status = call_run(&i))) {
            session_file_error(s, (Span){0}, "%s", call_status(p, status));
            return false;
        }
    }
    call_set(c, ARG_PARAMS, v.params);
    call_set(c, ARG_STATE, v.state);
    return true;
}
