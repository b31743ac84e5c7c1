/* cnnc gradcheck FILE [ESTIMATOR]: the compiled gradient against central differences with one Richardson step, in f64 unless
 * --real says otherwise. Data of the declared kinds are drawn with small dims, parameters near their start. Of a large tensor,
 * elements are drawn by the seed. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "driver/fit.h"
#include "runtime/rt.h"

enum { MOST_ELEMENTS = 24 };

typedef struct Check {
    Session *s;
    Fit *f;
    Call call;
    double value, *grad64;
    void *grad;
    uint64_t draws;
} Check;

static double uniform(Check *c) {
    uint64_t counter[4] = {c->draws++, 0, 0, 0x67726164}, key[2] = {(uint64_t)c->s->o.seed, 2}, w[4];
    rt_philox(counter, key, w);
    return (double)(w[0] >> 11) * 0x1p-53;
}

static double normal(Check *c) { return sqrt(-2 * log(1 - uniform(c))) * cos(6.283185307179586 * uniform(c)); }

static double draw(Check *c, AbiKind kind, DType dt, int64_t bound) {
    switch (kind) {
    case KIND_BOOL: return uniform(c) < 0.5;
    case KIND_INDEX: return floor(uniform(c) * (double)(bound > 0 ? bound : 2));
    case KIND_INT: return floor(uniform(c) * 5);
    case KIND_PROB: return 0.05 + 0.9 * uniform(c);
    case KIND_POSITIVE: return exp(0.5 * normal(c));
    default: break;
    }
    return dt == DT_BOOL ? (double)(uniform(c) < 0.5) : dtype_is_real(dt) ? normal(c) : floor(uniform(c) * 5);
}

/* ---- dims and data */

static void free_dims(Check *c) {
    static const int64_t sizes[] = {5, 3, 2, 4};
    const AbiBlock *b = c->f->block;
    for (int k = 0; k < b->dims.n; k++)
        env_set(c->s, &c->f->env, b->dims.p[k], sizes[k % 4]);
}

static void store(void *out, int64_t k, DType dt, double v) {
    switch (dt) {
    case DT_BOOL: ((uint8_t *)out)[k] = v != 0; break;
    case DT_I32: ((int32_t *)out)[k] = (int32_t)v; break;
    case DT_I64: ((int64_t *)out)[k] = (int64_t)v; break;
    case DT_F32: ((float *)out)[k] = (float)v; break;
    default: ((double *)out)[k] = v; break;
    }
}

static double fetch(const void *p, int64_t k, DType dt) { return dt == DT_F32 ? (double)((const float *)p)[k] : ((const double *)p)[k]; }

static bool draw_data(Check *c, FitData *d) {
    const AbiBlock *b = c->f->block;
    *d = (FitData){.columns = ARENA_ARRAY(c->s->arena, FitColumn, b->data.n + 1), .n = b->data.n};
    for (int k = 0; k < b->data.n; k++) {
        const AbiData *a = &b->data.p[k];
        int64_t n, bound = 0;
        if (!env_eval(c->s, &c->f->env, type_count(c->s->ctx, a->type), a->name, &n) || (a->bound && !env_eval(c->s, &c->f->env, a->bound, a->name, &bound)))
            return false;
        d->columns[k].data = a;
        d->columns[k].cells = arena_array(c->s->arena, (size_t)n + 1, 8);
        for (int64_t j = 0; j < n; j++)
            store(d->columns[k].cells, j, a->type.dt, draw(c, a->kind, a->type.dt, bound));
    }
    return true;
}

/* A point near the start that keeps to the kind. */
static double moved(Check *c, const AbiTensor *t, double v) {
    double z = 0.1 * normal(c), lo = t->kind == KIND_INTERVAL ? t->lo : 0, hi = t->kind == KIND_INTERVAL ? t->hi : 1;
    if (t->kind == KIND_POSITIVE)
        return (v > 0 ? v : 1) * exp(z);
    if (t->kind == KIND_PROB || t->kind == KIND_INTERVAL) {
        double p = v > lo && v < hi ? (v - lo) / (hi - lo) : 0.5;
        return lo + (hi - lo) / (1 + exp(-(log(p / (1 - p)) + z)));
    }
    return v + z;
}

static void move_params(Check *c) {
    const AbiBlock *b = c->f->block;
    int64_t at = 0, n;
    for (int k = 0; k < b->params.n; k++) {
        env_eval(c->s, &c->f->env, type_count(c->s->ctx, b->params.p[k].type), b->params.p[k].path, &n);
        double sum = 0;
        for (int64_t j = 0; j < n; j++) {
            double v = moved(c, &b->params.p[k], fetch(c->f->v.params, at + j, b->real));
            v = b->params.p[k].kind == KIND_SIMPLEX ? fabs(v) + 0.1 : v;
            sum += v;
            store(c->f->v.params, at + j, b->real, v);
        }
        for (int64_t j = 0; j < n && b->params.p[k].kind == KIND_SIMPLEX; j++)
            store(c->f->v.params, at + j, b->real, fetch(c->f->v.params, at + j, b->real) / sum);
        at += n;
    }
}

/* ---- differences */

static bool evaluate(Check *c) {
    int status = call_run(&c->call);
    if (status && status != INT32_MIN) {
        diag_error(c->s->ctx, "E1303", c->f->block->span, "%s: %s", c->f->block->name, call_status(&c->f->p, status));
        session_fail(c->s, EXIT_CHECK);
    }
    return status == 0;
}

static bool difference(Check *c, int64_t at, double h, double *out) {
    DType real = c->f->block->real;
    double old = fetch(c->f->v.params, at, real), up, down;
    store(c->f->v.params, at, real, old + h);
    double high = fetch(c->f->v.params, at, real);
    bool ok = evaluate(c);
    up = c->value;
    store(c->f->v.params, at, real, old - h);
    double low = fetch(c->f->v.params, at, real);
    ok = ok && evaluate(c);
    down = c->value;
    store(c->f->v.params, at, real, old);
    *out = (up - down) / (high - low);
    return ok;
}

/* One Richardson step on central differences. */
static double tolerance(DType real) { return real == DT_F32 ? 1e-2 : 1e-6; }

static bool numeric(Check *c, int64_t at, double scale, double *out) {
    DType real = c->f->block->real;
    double h = scale * (real == DT_F32 ? 1e-2 : 1e-3) * fmax(1e-2, fmin(1, fabs(fetch(c->f->v.params, at, real)))), a, b;
    if (!difference(c, at, h, &a) || !difference(c, at, h / 2, &b))
        return false;
    *out = (4 * b - a) / 3;
    return true;
}

static const char *element_name(Check *c, const AbiTensor *t, int64_t k) {
    int64_t shape[MAX_RANK], step = 1;
    StrBuf sb = sb_new(c->s->arena);
    sb_put(&sb, t->path);
    for (int d = 0; d < t->type.rank; d++) {
        env_eval(c->s, &c->f->env, t->type.shape[d], t->path, &shape[d]);
        step *= shape[d];
    }
    for (int d = 0; d < t->type.rank; d++) {
        step /= shape[d];
        sb_printf(&sb, "%s%lld", d ? "," : "[", (long long)(k / step));
        k %= step;
    }
    sb_put(&sb, t->type.rank ? "]" : "");
    return sb.text;
}

/* Element k of a tensor; its gradient is 0, whatever differences say. */
static bool is_held(Check *c, const AbiTensor *t, int64_t k) {
    int64_t at[MAX_RANK], length = 1;
    for (int d = t->type.rank - 1; d >= 0; k /= length, d--) {
        env_eval(c->s, &c->f->env, t->type.shape[d], t->path, &length);
        at[d] = k % length;
    }
    return abi_is_held(t, at);
}

typedef struct Worst {
    int64_t at;
    double analytic, numeric, error;
} Worst;

static bool check_tensor(Check *c, const AbiTensor *t, int64_t first, int64_t n, Worst *w) {
    *w = (Worst){.error = -1};
    for (int64_t j = 0; j < n && j < MOST_ELEMENTS; j++) {
        int64_t at = n <= MOST_ELEMENTS ? j : (int64_t)(uniform(c) * (double)n);
        double num = 0;
        double analytic = c->grad64[first + at], error = 1;
        if (t->mask && is_held(c, t, at))
            error = fabs(analytic);
        /* A kink (of relu, of max) between the points spoils a difference: it rarely lies between nearer ones, and a
         * gradient that is wrong agrees with none. */
        for (double scale = 1; scale > 1e-4 && !(error <= tolerance(c->f->block->real)); scale /= 32) {
            if (!numeric(c, first + at, scale, &num))
                return false;
            error = fabs(analytic - num) / fmax(1, fabs(num));
            if (c->f->block->real == DT_F32)
                break;
        }
        if (!(error <= w->error))
            *w = (Worst){at, analytic, num, error};
    }
    return true;
}

static void put_worst(Check *c, const AbiTensor *t, const Worst *w) {
    StrBuf *out = &c->s->out;
    const char *name = element_name(c, t, w->at);
    if (c->s->o.json) {
        sb_printf(out, "{\"entry\":\"%s\",\"parameter\":\"%s\",\"analytic\":", c->f->block->name, name);
        json_real(out, w->analytic);
        sb_put(out, ",\"numeric\":");
        json_real(out, w->numeric);
        sb_put(out, ",\"worst\":");
        json_real(out, w->error);
        sb_put(out, "}\n");
    } else {
        sb_printf(out, "%-10s %-24s analytic %15.8g   numeric %15.8g   error %.1e\n", c->f->block->name, name, w->analytic, w->numeric, w->error);
    }
}

static bool prepare(Check *c, FitData *d) {
    Fit *f = c->f;
    const LoopFunc *lf = program_entry(&f->p, f->block->using_.present ? ENTRY_LOSS_GRAD : ENTRY_GRAD, f->block->name);
    free_dims(c);
    if (!lf || !draw_data(c, d))
        return false;
    fit_hyper(c->s, f->block, &f->hyper);
    if (!fit_init(c->s, f, d))
        return false;
    move_params(c);
    c->grad = arena_array(c->s->arena, (size_t)f->v.n_params + 1, 8);
    c->grad64 = ARENA_ARRAY(c->s->arena, double, f->v.n_params + 1);
    c->call = call_new(&f->p, lf, &f->env);
    fit_set_inputs(&c->call, d);
    call_set(&c->call, ARG_HYPER, &f->hyper);
    call_set(&c->call, ARG_PARAMS, f->v.params);
    call_set(&c->call, ARG_STATE, f->v.state);
    call_set(&c->call, ARG_LOSS, &c->value);
    call_set(&c->call, ARG_LOGP, &c->value);
    call_set(&c->call, ARG_GRAD, c->grad);
    return true;
}

static void check_estimator(Session *s, Fit *f) {
    Check c = {.s = s, .f = f};
    FitData d;
    const AbiBlock *b = f->block;
    if (!prepare(&c, &d) || !evaluate(&c))
        return;
    if (!isfinite(c.value)) {
        diag_error(s->ctx, "E1303", b->span, "%s: the objective is %g at the drawn data and parameters", b->name, c.value);
        session_fail(s, EXIT_CHECK);
        return;
    }
    for (int64_t k = 0; k < f->v.n_params; k++)
        c.grad64[k] = fetch(c.grad, k, b->real);
    double limit = tolerance(b->real);
    int64_t at = 0, n;
    for (int k = 0; k < b->params.n; k++) {
        Worst w;
        env_eval(s, &f->env, type_count(s->ctx, b->params.p[k].type), b->params.p[k].path, &n);
        if (n && !check_tensor(&c, &b->params.p[k], at, n, &w))
            return;
        if (n)
            put_worst(&c, &b->params.p[k], &w);
        if (n && !(w.error <= limit)) {
            diag_error(s->ctx, "E1304", b->params.p[k].span, "the gradient of %s is %.9g, differences give %.9g", element_name(&c, &b->params.p[k], w.at), w.analytic, w.numeric);
            session_fail(s, EXIT_CHECK);
        }
        at += n;
    }
}

void command_gradcheck(Session *s) {
    if (s->args.n < 2) {
        session_usage(s, "`cnnc gradcheck` wants a file");
        return;
    }
    SESSION_SKIP(ENTRY_FORWARD, ENTRY_STEP, ENTRY_REPORT, ENTRY_PREDICT, ENTRY_LOGP, ENTRY_FIT);
    if (!s->o.real)
        s->o.real = "f64";
    AstFile *file = session_parse(s, s->args.p[1]);
    bool found = false;
    for (int k = 0; file && k < file->n_items; k++) {
        const Item *item = file->items[k];
        if (item->kind != ITEM_ESTIMATOR || (s->args.n > 2 && strcmp(item->name.text, s->args.p[2]) != 0))
            continue;
        Fit f = {0};
        found = true;
        Module *m = session_lower(s, file, item->name.text);
        if (m && program_open_module(s, &f.p, m, NULL)) {
            f.block = fit_block(s, &f.p, file, item->name.text);
            if (f.block)
                check_estimator(s, &f);
        }
        program_close(&f.p);
    }
    if (file && !found && s->args.n > 2)
        session_usage(s, "there is no estimator `%s`", s->args.p[2]);
}
