/* Exact fits: the compiled entry X_fit is called with the data and a start, and says what it found;
 * everything shown follows from that (fit_result.h). */
#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "driver/fit_exact.h"
#include "ir/dist.h"

enum { MOST_WITH_ERRORS = 4096 }; /* elements; their covariance takes 128 MiB */

/* ---- set-up */

static bool ends(const char *path, const char *suffix) {
    size_t n = strlen(path), m = strlen(suffix);
    return n >= m && strcmp(path + n - m, suffix) == 0;
}

bool exact_prepare(Exact *x, Session *s, Fit *f, const DataSet *given) {
    *x = (Exact){.s = s, .f = f};
    if (s->o.save && !ends(s->o.save, ".safetensors") && !ends(s->o.save, ".csv")) {
        session_usage(s, "--save writes .safetensors (the estimate) or .csv (the table), not `%s`",
                      s->o.save);
        return false;
    }
    if (s->o.starts < 1 || s->o.starts > 10000) {
        session_usage(s, "--starts is 1 to 10000");
        return false;
    }
    if (!fit_read_init(s, f, s->o.init) || !fit_bind_data(s, f, given, &f->env, &x->data, true))
        return false;
    fit_hyper(s, f->block, &f->hyper);
    if (!fit_init(s, f, &x->data))
        return false;
    x->elements = fit_elements(s, f->item, f->block, &f->env, &f->labels, &x->n);
    size_t n = (size_t)x->n, square = n <= MOST_WITH_ERRORS ? n * n : 0;
    x->params = arena_array(s->arena, n + 1, 8);
    x->best = ARENA_ARRAY(s->arena, double, n + 1);
    x->cov = square ? arena_array(s->arena, square, 8) : NULL;
    x->best_cov = square ? ARENA_ARRAY(s->arena, double, square) : NULL;
    return x->elements != NULL;
}

/* ---- the call */

static void take_best(Exact *x, const FitInfo *info, int status) {
    const AbiBlock *b = x->f->block;
    x->info = *info;
    x->status = status;
    for (int64_t k = 0; k < x->n; k++)
        x->best[k] = real_get(b, x->params, k);
    for (int64_t k = 0; x->cov && k < x->n * x->n; k++)
        x->best_cov[k] = real_get(b, x->cov, k);
}

/* What the fit makes greatest, at params. */
double exact_log_density(Exact *x) {
    const Fit *f = x->f;
    double v = NAN;
    Call c = call_new(&x->f->p, program_entry(&f->p, ENTRY_LOGP, f->block->name), &f->env);
    fit_set_inputs(&c, &x->data);
    call_set(&c, ARG_HYPER, &f->hyper);
    call_set(&c, ARG_PARAMS, x->params);
    call_set(&c, ARG_STATE, f->v.state);
    call_set(&c, ARG_LOGP, &v);
    return call_run(&c) == 0 ? v : NAN;
}

/* A converged start before one that is not, then the greater density. */
static bool better(int a_status, double a, int b_status, double b) {
    if ((a_status == FIT_CONVERGED) != (b_status == FIT_CONVERGED))
        return a_status == FIT_CONVERGED;
    return a > b || (isnan(b) && !isnan(a));
}

static bool stopped(const Exact *x) { return x->f->p.stop && *x->f->p.stop; }

/* No mode is found, and scales are far out: if the density rose all the way there, there is none.
 * On the way they keep their proportions, as shape and rate of a Gamma do that narrows without end.
 */
static void find_runaway(Exact *x) {
    static const double FAR = 1e10, STEP = 1e4, RISE = 1;
    int64_t first = -1;
    double f[3];
    for (int k = 0; k < 3; k++) { /* from near to far; at the end itself values are noise */
        for (int64_t i = 0; i < x->n; i++) {
            double v = x->best[i], by = k == 0 ? STEP * STEP : k == 1 ? STEP : 1;
            bool is_far = x->elements[i].kind == KIND_POSITIVE && !x->elements[i].held &&
                          (v > FAR || v < 1 / FAR);
            first = is_far && first < 0 ? i : first;
            real_set(x->f->block, x->params, i,
                     !is_far   ? v
                     : v > FAR ? v / by / STEP
                               : v * by * STEP);
        }
        f[k] = exact_log_density(x);
    }
    if (first < 0 || !(f[1] - f[0] > RISE && f[2] - f[1] > RISE))
        return;
    x->status = FIT_NO_MODE;
    x->info.where = first;
}

bool exact_run(Exact *x, bool map) {
    Session *s = x->s;
    Fit *f = x->f;
    const LoopFunc *entry = program_entry(&f->p, ENTRY_FIT, f->block->name);
    if (!entry) {
        session_usage(s, "`%s` has nothing to fit: %s", f->block->name,
                      f->block->params.n ? "neither a likelihood nor `minimize`"
                                         : "it has no parameters");
        return false;
    }
    Call c = call_new(&f->p, entry, &f->env);
    FitInfo info;
    int error = 0;
    double best = NAN;
    bool any = false;
    memcpy(x->params, f->v.params, (size_t)x->n * dtype_size(f->block->real));
    f->hyper.prior = map;
    fit_set_inputs(&c, &x->data);
    call_set(&c, ARG_HYPER, &f->hyper);
    call_set(&c, ARG_PARAMS, x->params);
    call_set(&c, ARG_STATE, f->v.state);
    call_set(&c, ARG_COV, x->cov);
    call_set(&c, ARG_INFO, &info);
    for (int64_t k = 0; k < s->o.starts && !stopped(x); k++) {
        if (k == 0 ? !start_given(x) : !start_another(x, k))
            return false;
        info = (FitInfo){.size = sizeof info,
                         .where = -1,
                         .loglik = NAN,
                         .logprior = NAN,
                         .grad_norm = NAN,
                         .s2 = NAN,
                         .df = NAN,
                         .r2 = NAN};
        int status = call_run(&c);
        if (status == INT32_MIN)
            return false;
        if (status < 0)
            error = status;
        double density = status >= 0 && s->o.starts > 1 ? exact_log_density(x) : NAN;
        if (status >= 0 && (!any || better(status, density, x->status, best))) {
            take_best(x, &info, status);
            best = density;
        }
        any |= status >= 0;
        x->started = k + 1;
    }
    if (stopped(x))
        session_fail(s, EXIT_STOPPED);
    if (any && x->status == FIT_NOT_CONVERGED)
        find_runaway(x);
    if (any || stopped(x) || x->silent)
        return any;
    x->info = info;
    exact_doubts(x, diag_error(s->ctx, "E1207", f->block->span, "`%s` cannot be fitted: %s",
                               f->block->name, call_status(&f->p, error)));
    session_fail(s, EXIT_CHECK);
    return false;
}

/* ---- the result */

static bool is_one(const char *name) { return strcmp(name, "1") == 0; }

/* Columns of the matrices of real data whose rows are observations; those of ones are no features.
 */
static int64_t count_features(const Exact *x) {
    const AbiBlock *b = x->f->block;
    int64_t n = -1, width;
    for (int k = 0; k < b->data.n; k++) {
        const AbiData *d = &b->data.p[k];
        if (d->type.rank != 2 || !dtype_is_real(d->type.dt) || !b->dims.n ||
            d->type.shape[0] != dim_of(x->s->ctx, b->dims.p[0]) ||
            !env_eval(x->s, &x->f->env, d->type.shape[1], d->name, &width))
            continue;
        n = (n < 0 ? 0 : n) + width;
        for (int j = 0; j < x->f->labels.n; j++)
            for (int64_t i = 0;
                 strcmp(x->f->labels.p[j].data, d->name) == 0 && i < x->f->labels.p[j].n; i++)
                n -= is_one(x->f->labels.p[j].names[i]);
    }
    return n;
}

static bool is_constrained(AbiKind k) {
    return k == KIND_POSITIVE || k == KIND_PROB || k == KIND_INTERVAL;
}

/* Errors belong to a mode of a density. */
static bool has_errors(const Exact *x) {
    return x->cov && !x->f->block->is_minimize && x->status != FIT_STOPPED;
}

static void add_notes(Exact *x, FitResult *r) {
    Arena *a = x->s->arena;
    if (x->data.dropped)
        vec_push(a, &r->notes,
                 str_fmt(x->s->ctx, "%lld row%s with missing values left out",
                         (long long)x->data.dropped, x->data.dropped == 1 ? "" : "s"));
    if (x->status == FIT_STOPPED)
        vec_push(a, &r->notes,
                 "stopped before it had converged: this is the best point so far, and no estimate");
    else if (stopped(x))
        vec_push(a, &r->notes,
                 str_fmt(x->s->ctx, "stopped after %lld of %lld starts: this is the best of them",
                         (long long)x->started, (long long)x->s->o.starts));
    if (x->info.method == BY_LSQ && x->info.df == 0 && x->n)
        vec_push(a, &r->notes,
                 "as many observations as coefficients: no degree of freedom is left for an error");
    for (int64_t k = 0; x->status == FIT_CONVERGED && has_errors(x) && k < x->n; k++)
        if (!x->elements[k].held &&
            (fit_at_border(&x->elements[k], x->best[k]) ||
             (is_constrained(x->elements[k].kind) && isnan(x->best_cov[k * x->n + k]))))
            vec_push(a, &r->notes,
                     str_fmt(x->s->ctx, "%s is at the border of its kind: no standard error",
                             x->elements[k].name));
    for (int64_t k = 0; x->status == FIT_CONVERGED && has_errors(x) && k < x->n; k++) {
        double v = x->best_cov[k * x->n + k];
        const FitElement *e = &x->elements[k];
        if (!e->structural && !e->held && !fit_at_border(e, x->best[k]) && x->info.s2 != 0 &&
            (isinf(v) || (v >= 0 && v < DBL_MIN)))
            vec_push(a, &r->notes,
                     str_fmt(x->s->ctx, "the variance of %s is no double: use another unit",
                             x->elements[k].name));
    }
    if (!x->cov && x->n && !x->f->block->is_minimize)
        vec_push(
            a, &r->notes,
            str_fmt(x->s->ctx, "no standard errors: more than %d parameters", MOST_WITH_ERRORS));
}

/* The distribution of a rule's part, whose names are in lower case; NULL: it is something else. */
static const char *dist_of_part(const char *part, size_t len) {
    int n;
    const DistDef *const *all = dist_all(&n);
    for (int k = 0; k < n; k++)
        if (strlen(all[k]->name) == len && strncasecmp(all[k]->name, part, len) == 0)
            return all[k]->name;
    return NULL;
}

/* "Beta-Bernoulli" of "beta.bernoulli", "Uniform" of "uniform.lo" */
static const char *rule_name(Session *s, const char *rule) {
    StrBuf sb = sb_new(s->arena);
    for (const char *at = rule; at && *at;) {
        size_t len = strcspn(at, ".");
        const char *name = dist_of_part(at, len);
        if (name)
            sb_printf(&sb, sb.len ? "-%s" : "%s", name);
        at += len + (at[len] == '.');
    }
    return sb.len ? sb.text : NULL;
}

/* The densities of a parameter whose values begin at `at`; where it lies in `params` by its
 * elements. */
static FitPosterior posterior_of(const Exact *x, const AbiPosterior *p, const double *at) {
    const AbiTensor *t = &x->f->block->params.p[p->tensor];
    const DistDef *d = dist_named(p->family);
    FitPosterior q = {
        .family = p->family, .n_values = p->n_values, .values = at, .width = 1, .path = t->path};
    while (q.elements == NULL || q.elements->tensor != p->tensor)
        q.elements = q.elements ? q.elements + 1 : x->elements;
    while (q.elements + q.count < x->elements + x->n && q.elements[q.count].tensor == p->tensor)
        q.count++;
    if (d && d->vector_draws && t->type.rank)
        env_eval(x->s, &x->f->env, t->type.shape[t->type.rank - 1], t->path, &q.width);
    return q;
}

/* What the closed form knows beyond its mode, by an entry of its own. */
static void add_posterior(Exact *x, FitResult *r) {
    Fit *f = x->f;
    const AbiFit *fit = &f->block->fit;
    const LoopFunc *lf = program_entry(&f->p, ENTRY_POSTERIOR, f->block->name);
    int arg = lf ? call_arg(lf, ARG_VALUES) : -1;
    int64_t bytes;
    if (arg < 0 || x->info.method != BY_CLOSED ||
        !env_eval(x->s, &f->env, lf->entry->args.p[arg].bytes, "posterior", &bytes))
        return;
    Call c = call_new(&f->p, lf, &f->env);
    double *values = arena_alloc(x->s->arena, (size_t)bytes + 8);
    fit_set_inputs(&c, &x->data);
    call_set(&c, ARG_HYPER, &f->hyper);
    call_set(&c, ARG_VALUES, values);
    if (call_run(&c) != 0)
        return;
    StrBuf sb = sb_new(x->s->arena);
    for (int k = 0; k < fit->posteriors.n; k++) {
        FitPosterior p = posterior_of(x, &fit->posteriors.p[k], values);
        p.alone = fit->posteriors.n == 1 && p.count == p.width;
        fit_posterior_text(&sb, &p);
        if (p.alone && p.count == 1)
            r->posterior_mean =
                fit_posterior_mean(x->s->ctx, x->s->arena, p.family, values, p.n_values);
        values += p.n_values * p.count;
    }
    r->posterior = sb.len ? sb.text : NULL;
}

FitResult exact_result(Exact *x, bool map) {
    const AbiBlock *b = x->f->block;
    FitResult r = {.estimator = b->name,
                   .map = map,
                   .status = x->status,
                   .info = x->info,
                   .posterior_mean = NAN};
    r.by_t = x->info.method == BY_LSQ && b->fit.scale >= 0 && isfinite(x->info.df);
    r.closed = x->info.method == BY_CLOSED ? rule_name(x->s, b->fit.rule) : NULL;
    r.counted = fit_counted(x->s, b, &x->f->env);
    r.features = count_features(x);
    r.prior = map ? prior_text(x->s, x->f) : NULL;
    if (b->is_minimize) { /* an objective is no likelihood; rows are counted instead */
        r.info.loglik = r.info.logprior = NAN;
        if (b->dims.n)
            env_get(&x->f->env, b->dims.p[0], &r.info.observations);
    }
    fit_rows(x->s->arena, &r, x->elements, x->n, x->best, has_errors(x) ? x->best_cov : NULL);
    if (map)
        add_posterior(x, &r);
    add_notes(x, &r);
    return r;
}

bool exact_has_table(const Exact *x) {
    return x->status == FIT_CONVERGED || x->status == FIT_NOT_CONVERGED || x->status == FIT_STOPPED;
}

/* ---- why a fit ended early */

/* "`w[age]`", or the estimator where no element is to blame; its place. */
static const char *culprit(const Exact *x, Span *span) {
    const AbiBlock *b = x->f->block;
    *span = b->span;
    if (x->info.where < 0 || x->info.where >= x->n)
        return b->name;
    *span = b->params.p[x->elements[x->info.where].tensor].span;
    return x->elements[x->info.where].name;
}

static Diag *dependent(Exact *x, Span span, const char *name) {
    Diag *d = diag_error(x->s->ctx, "E1203", span,
                         "`%s` is not determined: its column is a combination of the others", name);
    diag_help(x->s->ctx, d,
              x->f->block->has_prior ? "leave the column out, or fit with the prior"
                                     : "leave the column out, or give the coefficients a prior");
    return d;
}

/* The column of real data with this last axis that moves the mean most: its spread times the
 * coefficient; if it does so more than *most, it becomes the culprit. A column of ones has no
 * spread, so it is not blamed for what the others do. */
static void moving_column(Exact *x, Dim axis, int64_t first, double *most) {
    const AbiBlock *b = x->f->block;
    int64_t width, rows;
    for (int k = 0; k < b->data.n; k++) {
        const AbiData *d = &b->data.p[k];
        const void *cells = x->data.columns[k].cells;
        if (d->type.rank != 2 || d->type.dt != b->real || d->type.shape[1] != axis ||
            !env_eval(x->s, &x->f->env, axis, d->name, &width) ||
            !env_eval(x->s, &x->f->env, d->type.shape[0], d->name, &rows))
            continue;
        for (int64_t j = 0; j < width; j++) {
            double low = INFINITY, high = -INFINITY;
            for (int64_t r = 0; r < rows; r++) {
                low = fmin(low, real_get(b, cells, r * width + j));
                high = fmax(high, real_get(b, cells, r * width + j));
            }
            double move = (high - low) * fabs(x->best[first + j]);
            x->info.where = move > *most ? first + j : x->info.where;
            *most = fmax(*most, move);
        }
    }
}

/* Many coefficients grow together: names the one that does the work. */
static void blame_column(Exact *x) {
    double most = -1;
    for (int64_t first = 0, k = 0; k < x->n; k++) {
        if (k && x->elements[k].tensor != x->elements[k - 1].tensor)
            first = k;
        const AbiTensor *t = &x->f->block->params.p[x->elements[k].tensor];
        if (k == first && t->type.rank == 1)
            moving_column(x, t->type.shape[0], first, &most);
    }
}

/* The culprit is a scale that goes to infinity, not to 0. */
static bool runs_up(const Exact *x) {
    int64_t k = x->info.where;
    return k >= 0 && k < x->n && x->elements[k].kind == KIND_POSITIVE && x->best[k] > 1;
}

static Diag *diverges(Exact *x) {
    Ctx *ctx = x->s->ctx;
    Span span;
    bool minimize = x->f->block->is_minimize;
    if (!minimize)
        blame_column(x);
    const char *name = culprit(x, &span);
    Diag *d = diag_error(ctx, "E1204", span, "`%s` grows without bound%s", name,
                         exact_is_discrete(x) ? ": the data are separated, or nearly so" : "");
    diag_note(ctx, d, (Span){0},
              "the %s for ever in this direction; the best point so far is no estimate",
              minimize ? "objective falls" : "likelihood rises");
    diag_help(ctx, d, "a prior makes the estimate finite: `~ %s`",
              runs_up(x) ? "Gamma(2, 0.1)" : "Normal(0, 10)");
    return d;
}

/* At a kink the steps end, and a slope without curvature is no lack of data. */
static Diag *at_kink(Exact *x, int64_t k) {
    const AbiBlock *b = x->f->block;
    Diag *d = diag_error(x->s->ctx, "E1202", b->span,
                         "`%s` has not converged after %d iterations: it has a kink along `%s`",
                         b->name, x->info.iterations, x->elements[k].name);
    diag_note(x->s->ctx, d, b->params.p[x->elements[k].tensor].span,
              "its slope jumps there, so steps by derivatives end at such points, which need not "
              "be the best ones");
    diag_help(x->s->ctx, d,
              "round the corners off: `h * softplus(r / h)` with a small h for `max(r, 0)`, "
              "`sqrt(r^2 + h^2)` for `abs(r)`");
    return d;
}

static Diag *unconverged(Exact *x) {
    const AbiBlock *b = x->f->block;
    Diag *d = diag_error(x->s->ctx, "E1202", b->span,
                         "`%s` has not converged after %d iterations: |grad| is %.1e", b->name,
                         x->info.iterations, x->info.grad_norm);
    diag_help(x->s->ctx, d,
              "start nearer (`--start NAME=V`), or try several starts (`--starts=8`)");
    return d;
}

static Diag *not_identified(Exact *x, Span span, const char *name) {
    Diag *d = diag_error(x->s->ctx, "E1206", span,
                         "`%s` is not identified: the density does not curve there, so the data do "
                         "not determine it",
                         name);
    diag_help(x->s->ctx, d,
              "fix it or give it a prior; of columns that are combinations of each other leave one "
              "out");
    return d;
}

static bool is_prob(const Exact *x) {
    int64_t k = x->info.where;
    return k >= 0 && k < x->n && x->elements[k].kind == KIND_PROB;
}

void exact_complain(Exact *x) {
    Ctx *ctx = x->s->ctx;
    Span span;
    const char *name = culprit(x, &span);
    bool grows = runs_up(x), flat = x->status == FIT_NOT_IDENTIFIED;
    int64_t kink = flat || x->status == FIT_NOT_CONVERGED ? exact_kink(x) : -1;
    Diag *d = NULL;
    switch ((FitStatus)x->status) {
    case FIT_CONVERGED:
    case FIT_STOPPED: /* a note says it */
        return;
    case FIT_NOT_CONVERGED:
        d = kink < 0 ? unconverged(x) : at_kink(x, kink);
        break;
    case FIT_DEPENDENT:
        d = dependent(x, span, name);
        break;
    case FIT_SEPARATED:
        d = diverges(x);
        break;
    case FIT_NO_MODE:
        d = diag_error(ctx, "E1205", span,
                       "the density has no mode: it grows without bound as `%s` %s", name,
                       grows ? "grows" : "goes to the border of its kind");
        diag_help(ctx, d, "a prior that is 0 there gives a mode: `~ %s`",
                  is_prob(x) ? "Beta(2, 2)"
                  : grows    ? "Gamma(2, 0.1)"
                             : "InverseGamma(2, 1)");
        break;
    default:
        d = kink < 0 ? not_identified(x, span, name) : at_kink(x, kink);
        break;
    }
    if (kink < 0)
        exact_doubts(x, d);
    session_fail(x->s, EXIT_CHECK);
}

/* ---- the command */

static void put_notes(Session *s, const FitResult *r) {
    bool json = s->o.diagnostics && strcmp(s->o.diagnostics, "json") == 0;
    StrBuf sb = sb_new(s->arena);
    for (int k = 0; k < r->notes.n; k++) {
        sb_put(&sb, json ? "{\"severity\":\"note\",\"message\":" : "note: ");
        if (json)
            diag_json_text(&sb, r->notes.p[k]);
        else
            sb_put(&sb, r->notes.p[k]);
        sb_put(&sb, json ? "}\n" : "\n");
    }
    fwrite(sb.text, 1, sb.len, stderr);
}

static void save(Exact *x, const FitResult *r) {
    Session *s = x->s;
    StrBuf sb = sb_new(s->arena);
    if (ends(s->o.save, ".csv")) {
        fit_csv(&sb, r);
        session_write(s, s->o.save, sb.text, sb.len);
        return;
    }
    Tensors t = {0};
    ModelValues v = x->f->v;
    v.params = arena_array(s->arena, (size_t)x->n + 1, 8);
    for (int64_t k = 0; k < x->n; k++)
        real_set(x->f->block, v.params, k, x->best[k]);
    model_tensors(s, &v, &x->f->env, &t);
    fit_save_meta(s, x->f, &t);
    if (has_errors(x)) {
        int64_t shape[2] = {x->n, x->n};
        Array *a = array_new(s, CELL_F64, 2, shape, "covariance");
        memcpy(a->data, x->best_cov, sizeof(double) * (size_t)(x->n * x->n));
        vec_push(s->arena, &t.all, (NamedArray){"__cov__", a});
    }
    safetensors_write(s, s->o.save, &t);
}

void fit_exact(Session *s, Fit *f) {
    Exact x;
    DataSet given;
    bool map = f->block->has_prior && !s->o.mle;
    if (!dataset_load(s, &s->o.data, &given) || !exact_prepare(&x, s, f, &given) ||
        !exact_run(&x, map))
        return;
    FitResult r = exact_result(&x, map);
    if (s->o.json) {
        fit_json(&s->out, &r);
        put_notes(s, &r);
    } else if (exact_has_table(&x)) {
        fit_table(&s->out, &r);
    }
    exact_complain(&x);
    exact_warn_ident(&x);
    if (s->o.save && (x.status == FIT_CONVERGED || x.status == FIT_STOPPED))
        save(&x, &r);
}
