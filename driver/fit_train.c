/* Training by compiled mini-batch steps.
 *
 * This file owns the permutation of an epoch (counter-based, key (seed, epoch)), the gathering of
 * rows into a batch buffer, epochs, stopping and files; compiled code owns everything from the
 * batch buffer to the updated model. It calls only what the generated header declares, so a C
 * program can do the same (examples/train.c). */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "driver/fit_train.h"
#include "runtime/rt.h"

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- rows */

enum { ROWS_A_JOB = 16 };

typedef struct RowCopy {
    char *to;
    const char *from;
    size_t bytes;
    const int64_t *order, n;
} RowCopy;

/* Copies rows that lie anywhere. The processor foresees nothing here, so it is told what comes next. */
static void copy_some(void *arg, int job) {
    enum { LINE = 64, AHEAD = 16 << 10 };
    const RowCopy *c = arg;
    int64_t first = (int64_t)job * ROWS_A_JOB, end = first + ROWS_A_JOB < c->n ? first + ROWS_A_JOB : c->n;
    int64_t ahead = 1 + (int64_t)(AHEAD / (c->bytes + 1)), asked = first;
    for (int64_t r = first; r < end; r++) {
        for (; asked < end && asked <= r + ahead; asked++)
            for (size_t at = 0; at < c->bytes; at += LINE)
                __builtin_prefetch(c->from + (size_t)c->order[asked] * c->bytes + at);
        memcpy(c->to + (size_t)r * c->bytes, c->from + (size_t)c->order[r] * c->bytes, c->bytes);
    }
}

/* exec: NULL, or whose threads help where that is worth a call. */
static void copy_rows(RowCopy c, const Exec *exec) {
    enum { WORTH = 64 << 10 };
    int jobs = (int)((c.n + ROWS_A_JOB - 1) / ROWS_A_JOB);
    if (exec && exec->run && c.bytes * (size_t)c.n > WORTH) {
        exec->run(exec->self, jobs, copy_some, &c);
        return;
    }
    for (int k = 0; k < jobs; k++)
        copy_some(&c, k);
}

/* The rows order[0..n-1] of every column with rows, others whole. */
static FitData gather(Session *s, const FitData *d, const int64_t *order, int64_t n,
                      FitData *buffer, const Exec *exec) {
    FitData b = *d;
    if (!buffer->columns) {
        buffer->columns = ARENA_ARRAY(s->arena, FitColumn, d->n + 1);
        buffer->n = d->n;
        buffer->rows = 0;
    }
    for (int k = 0; k < d->n; k++) {
        FitColumn *to = &buffer->columns[k];
        const FitColumn *from = &d->columns[k];
        if (!from->by_row || !from->cells) {
            *to = *from;
            continue;
        }
        if (buffer->rows < n) {
            *to = *from;
            to->cells = arena_array(s->arena, (size_t)n + 1, from->row_bytes + 1);
        }
        copy_rows((RowCopy){to->cells, from->cells, from->row_bytes, order, n}, exec);
    }
    buffer->rows = buffer->rows < n ? n : buffer->rows;
    b.columns = buffer->columns;
    b.rows = n;
    return b;
}

/* A permutation by sorting keys would do; Fisher and Yates with Philox words does it in place. */
static void permute(int64_t *order, int64_t n, uint64_t seed, uint64_t epoch) {
    for (int64_t k = n - 1; k > 0; k--) {
        uint64_t counter[4] = {(uint64_t)k, epoch, 0, 0x73687566}, key[2] = {seed, 1}, w[4];
        rt_philox(counter, key, w);
        int64_t j = (int64_t)(w[0] % (uint64_t)(k + 1)), t = order[k];
        order[k] = order[j];
        order[j] = t;
    }
}

/* ---- training */

typedef struct Training {
    Session *s;
    Fit *f;
    FitData all, rows, held, test, buffer;
    int64_t *order, batch, epochs, step, patience_left;
    double loss, seconds, best;
    int64_t best_epoch;
    void *best_params, *best_state;
    Report last_report, last_test, best_report, best_test;
    Call call;
} Training;

static bool step_batch(Training *t, const int64_t *order, int64_t n, double *loss) {
    Fit *f = t->f;
    FitData d = gather(t->s, &t->rows, order, n, &t->buffer, pool_exec(f->p.pool));
    env_set(t->s, &t->call.env, f->block->using_.rows, n);
    fit_set_inputs(&t->call, &d);
    call_set(&t->call, ARG_LOSS, loss);
    int status = call_run(&t->call);
    if (status == 0)
        return true;
    const char *text = call_status(&f->p, status);
    if (*f->p.stop)
        return false;
    diag_error(t->s->ctx, "E1201", (Span){0}, "training stopped in epoch %lld, step %lld: %s",
               (long long)f->hyper.epoch + 1, (long long)t->step + 1, text);
    session_fail(t->s, EXIT_CHECK);
    return false;
}

/* A training loss may contain the log prior (rule 19): then it says so. */
static bool has_priors(const Training *t) {
    return t->f->block->has_prior && t->f->hyper.prior != 0;
}

static const char *loss_name(const Training *t) {
    return has_priors(t) ? "loss (with priors)" : "loss";
}

static void progress(Training *t, int64_t done, int64_t n, double loss) {
    if (t->s->o.json || t->s->o.quiet || !isatty(2))
        return;
    fprintf(stderr, "\repoch %lld  %lld/%lld  %s %.4f  ", (long long)t->f->hyper.epoch + 1,
            (long long)done, (long long)n, loss_name(t), loss);
}

static bool epoch(Training *t) {
    int64_t n = t->rows.rows;
    double sum = 0;
    for (int64_t k = 0; k < n; k++)
        t->order[k] = k;
    permute(t->order, n, t->f->hyper.seed, (uint64_t)t->f->hyper.epoch);
    for (int64_t at = 0; at < n; at += t->batch) {
        int64_t rows = n - at < t->batch ? n - at : t->batch;
        double loss = 0;
        if (!step_batch(t, t->order + at, rows, &loss))
            return false;
        sum += loss * (double)rows;
        if (++t->step % 64 == 0)
            progress(t, at, n, loss);
    }
    t->loss = sum / (double)n;
    return true;
}

static void put_epoch(Training *t) {
    Session *s = t->s;
    StrBuf sb = sb_new(s->arena);
    if (s->o.json) {
        sb_printf(&sb, "{\"epoch\":%lld,\"step\":%lld,\"loss\":", (long long)t->f->hyper.epoch + 1,
                  (long long)t->step);
        json_real(&sb, t->loss);
        sb_put(&sb, has_priors(t) ? ",\"with_priors\":true" : ",\"with_priors\":false");
        sb_put(&sb, ",\"seconds\":");
        json_real(&sb, t->seconds);
        sb_put(&sb, ",\"report\":");
        report_json(&sb, &t->last_report);
        sb_put(&sb, ",\"test\":");
        report_json(&sb, &t->last_test);
        sb_put(&sb, "}\n");
    } else if (!s->o.quiet) {
        sb_printf(&sb, "%sepoch %3lld   %s %.5f", isatty(2) ? "\r\033[K" : "",
                  (long long)t->f->hyper.epoch + 1, loss_name(t), t->loss);
        report_text(&sb, "", &t->last_report);
        report_text(&sb, "test ", &t->last_test);
        sb_printf(&sb, "   %.1f s\n", t->seconds);
    }
    fwrite(sb.text, 1, sb.len, stdout);
    fflush(stdout);
}

static bool reports(Training *t) {
    bool on_rows = !t->held.rows && !t->test.rows;
    const FitData *d = t->held.rows ? &t->held : &t->rows;
    t->last_report = t->last_test = (Report){0};
    if ((t->held.rows || on_rows) && !report_run(t->s, t->f, d, &t->last_report))
        return false;
    return !t->test.rows || report_run(t->s, t->f, &t->test, &t->last_test);
}

/* The saved parameters are those of the lowest first report on the held-out rows, else the last. */
static void keep_best(Training *t) {
    Fit *f = t->f;
    bool chosen = t->held.rows && t->last_report.n;
    double v = chosen ? t->last_report.values[0].at[0] : 0;
    if (chosen && t->best_epoch && !(v < t->best)) {
        t->patience_left--;
        return;
    }
    size_t real = dtype_size(f->block->real);
    t->best = v;
    t->best_epoch = f->hyper.epoch + 1;
    t->patience_left = t->s->o.patience;
    t->best_report = t->last_report;
    t->best_test = t->last_test;
    memcpy(t->best_params, f->v.params, (size_t)f->v.n_params * real);
    memcpy(t->best_state, f->v.state, (size_t)f->v.n_state * real);
}

static void put_last(Training *t, double seconds) {
    Session *s = t->s;
    Fit *f = t->f;
    StrBuf sb = sb_new(s->arena);
    long long learned = (long long)model_learned(s, f->block, &f->env);
    if (s->o.json) {
        sb_printf(&sb,
                  "{\"estimator\":\"%s\",\"method\":\"training\",\"epochs\":%lld,\"best_epoch\":%"
                  "lld,\"parameters\":%lld,\"learned\":%lld,\"seconds\":",
                  f->block->name, (long long)f->hyper.epoch, (long long)t->best_epoch,
                  (long long)f->v.n_params, learned);
        json_real(&sb, seconds);
        sb_put(&sb, ",\"report\":");
        report_json(&sb, &t->best_report);
        sb_put(&sb, ",\"test\":");
        report_json(&sb, &t->best_test);
        sb_put(&sb, "}\n");
    } else if (!s->o.quiet) {
        sb_printf(&sb, "%s: %lld parameters, %lld learned, %lld epochs, %.1f s", f->block->name,
                  (long long)f->v.n_params, learned, (long long)f->hyper.epoch, seconds);
        report_text(&sb, "", &t->best_report);
        report_text(&sb, "test ", &t->best_test);
        sb_putc(&sb, '\n');
        if (*f->p.stop)
            sb_printf(&sb, "stopped in epoch %lld%s\n", (long long)f->hyper.epoch + 1,
                      !s->o.save      ? ""
                      : t->held.rows ? "; the best epoch so far is saved"
                                     : "; what it had learned is saved");
    }
    fwrite(sb.text, 1, sb.len, stdout);
}

/* ---- files */

static void put_meta(Session *s, Tensors *t, const char *name, const char *text) {
    Array *a = ARENA_NEW(s->arena, Array);
    a->origin = text;
    vec_push(s->arena, &t->meta, (NamedArray){name, a});
}

static void save(Training *t) {
    Fit *f = t->f;
    Tensors out = {0};
    ModelValues best = f->v;
    best.params = t->best_params;
    best.state = t->best_state;
    model_tensors(t->s, &best, &f->env, &out);
    fit_save_meta(t->s, f, &out);
    if (t->s->o.save)
        safetensors_write(t->s, t->s->o.save, &out);
}

/* params, state, opt and where training stands. */
static void checkpoint(Training *t) {
    Session *s = t->s;
    Fit *f = t->f;
    Tensors out = {0};
    int64_t n = f->v.opt_bytes;
    model_tensors(s, &f->v, &f->env, &out);
    Array *opt = array_new(s, CELL_U8, 1, &n, "opt");
    memcpy(opt->data, f->v.opt, (size_t)n);
    vec_push(s->arena, &out.all, (NamedArray){"__opt__", opt});
    fit_save_meta(s, f, &out);
    put_meta(s, &out, "format", "cnnc checkpoint 1");
    put_meta(s, &out, "seed", str_fmt(s->ctx, "%llu", (unsigned long long)f->hyper.seed));
    put_meta(s, &out, "epoch", str_fmt(s->ctx, "%lld", (long long)f->hyper.epoch + 1));
    put_meta(s, &out, "step", str_fmt(s->ctx, "%lld", (long long)t->step));
    put_meta(s, &out, "best_epoch", str_fmt(s->ctx, "%lld", (long long)t->best_epoch));
    put_meta(s, &out, "best", str_fmt(s->ctx, "%.17g", t->best));
    safetensors_write(s, s->o.resume, &out);
}

static int64_t meta_int(const Tensors *t, const char *name, int64_t otherwise) {
    for (int k = 0; k < t->meta.n; k++)
        if (strcmp(t->meta.p[k].name, name) == 0)
            return strtoll(t->meta.p[k].array->origin, NULL, 10);
    return otherwise;
}

/* The optimizer's state and the counts of a checkpoint; parameters and state are those of fit_init.
 */
static bool resume(Training *t) {
    Session *s = t->s;
    Fit *f = t->f;
    const Tensors *in = &f->init;
    for (int k = 0; k < in->all.n; k++) {
        Array *a = in->all.p[k].array;
        if (strcmp(in->all.p[k].name, "__opt__") != 0)
            continue;
        if (a->cell != CELL_U8 || a->count != f->v.opt_bytes) {
            session_file_error(s, (Span){0}, "`%s` is a checkpoint of another optimizer",
                               s->o.resume);
            return false;
        }
        memcpy(f->v.opt, a->data, (size_t)a->count);
        f->hyper.seed = (uint64_t)meta_int(in, "seed", s->o.seed);
        f->hyper.epoch = meta_int(in, "epoch", 0);
        t->step = meta_int(in, "step", 0);
        return true;
    }
    session_file_error(s, (Span){0}, "`%s` is no checkpoint: it has no optimizer state",
                       s->o.resume);
    return false;
}

/* ---- set-up */

static bool split_rows(Training *t) {
    Session *s = t->s;
    int64_t n = t->all.rows, held = (int64_t)(s->o.holdout * (double)n + 0.5);
    int64_t *order = ARENA_ARRAY(s->arena, int64_t, n + 1);
    t->rows = t->all;
    if (s->o.holdout < 0 || s->o.holdout >= 1 || (held && held >= n)) {
        session_usage(s, "--holdout is a fraction below 1 that leaves rows to train on");
        return false;
    }
    if (!held)
        return true;
    FitData a = {0}, b = {0};
    for (int64_t k = 0; k < n; k++)
        order[k] = k;
    permute(order, n, (uint64_t)s->o.seed, UINT64_MAX);
    t->held = gather(s, &t->all, order, held, &a, NULL);
    t->rows = gather(s, &t->all, order + held, n - held, &b, NULL);
    return true;
}

static bool prepare(Training *t) {
    Session *s = t->s;
    Fit *f = t->f;
    DataSet given, tests;
    DimEnv test_env = {0};
    bool again = s->o.resume && access(s->o.resume, F_OK) == 0;
    if (!dataset_load(s, &s->o.data, &given) || !dataset_load(s, &s->o.test, &tests) ||
        !fit_read_init(s, f, again ? s->o.resume : s->o.init) ||
        !fit_bind_data(s, f, &given, &f->env, &t->all, true))
        return false;
    for (int k = 0; k < f->env.v.n; k++)
        if (f->env.v.p[k].sym != f->block->using_.rows)
            env_set(s, &test_env, f->env.v.p[k].sym, f->env.v.p[k].value);
    if (tests.all.n && !fit_bind_data(s, f, &tests, &test_env, &t->test, true))
        return false;
    fit_hyper(s, f->block, &f->hyper);
    if (!split_rows(t) || !fit_init(s, f, &t->all))
        return false;
    f->hyper.n_total = t->rows.rows;
    t->batch = s->o.batch > 0               ? s->o.batch
               : f->block->using_.batch > 0 ? f->block->using_.batch
                                            : t->rows.rows;
    t->epochs = s->o.epochs >= 0 ? s->o.epochs : f->block->using_.epochs;
    t->order = ARENA_ARRAY(s->arena, int64_t, t->rows.rows + 1);
    t->best_params = arena_array(s->arena, (size_t)f->v.n_params + 1, 8);
    t->best_state = arena_array(s->arena, (size_t)f->v.n_state + 1, 8);
    t->call = call_new(&f->p, program_entry(&f->p, ENTRY_STEP, f->block->name), &f->env);
    env_set(s, &t->call.env, f->block->using_.rows,
            t->batch < t->rows.rows ? t->batch : t->rows.rows);
    call_set(&t->call, ARG_HYPER, &f->hyper);
    call_set(&t->call, ARG_PARAMS, f->v.params);
    call_set(&t->call, ARG_STATE, f->v.state);
    call_set(&t->call, ARG_OPT, f->v.opt);
    return !again || resume(t); /* else the first run: there is nothing to go on from yet */
}

void fit_train(Session *s, Fit *f) {
    Training t = {.s = s, .f = f};
    double start = now();
    if (!prepare(&t))
        return;
    bool ok = true;
    t.patience_left = s->o.patience;
    while (ok && f->hyper.epoch < t.epochs) {
        double began = now();
        ok = epoch(&t);
        t.seconds = now() - began;
        ok = ok && reports(&t);
        if (!ok)
            break;
        put_epoch(&t);
        keep_best(&t);
        if (s->o.resume)
            checkpoint(&t);
        f->hyper.epoch++;
        if (s->o.patience > 0 && t.patience_left <= 0)
            break;
    }
    if (*f->p.stop) {
        t.best_epoch = t.best_epoch ? t.best_epoch : f->hyper.epoch;
        if (!t.held.rows) { /* keep what there is */
            memcpy(t.best_params, f->v.params, (size_t)f->v.n_params * dtype_size(f->block->real));
            memcpy(t.best_state, f->v.state, (size_t)f->v.n_state * dtype_size(f->block->real));
        }
        session_fail(s, EXIT_STOPPED);
    } else if (s->status) {
        return;
    }
    put_last(&t, now() - start);
    save(&t);
}
