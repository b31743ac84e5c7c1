/* cnnc fit FILE [ESTIMATOR]: what training and exact fits share, and the choice between them. */
#include <signal.h>
#include <string.h>

#include "codegen/codegen.h"
#include "driver/fit.h"

static volatile int stop_flag;

static void on_interrupt(int sig) {
    (void)sig;
    stop_flag = 1;
}

/* ---- hyper: the struct of the header, every field 8 bytes */

void fit_hyper(Session *s, const AbiBlock *b, Hyper *h) {
    *h = (Hyper){.size = 40 + 8 * (size_t)b->formals.n,
                 .prior = s->o.mle ? 0 : 1,
                 .seed = (uint64_t)s->o.seed};
    for (int k = 0; k < b->formals.n && k < HYPER_MOST; k++) {
        const AbiFormal *f = &b->formals.p[k];
        if (f->is_int)
            h->formals[k].i = (int64_t)f->value;
        else
            h->formals[k].f = f->value;
    }
}

bool fit_init(Session *s, Fit *f, const FitData *d) {
    const LoopFunc *init = program_entry(&f->p, ENTRY_INIT, f->block->name);
    if (!model_alloc(s, f->block, &f->env, &f->v))
        return false;
    if (f->init_path)
        return model_load(s, &f->v, &f->env, &f->init, f->init_path);
    Call c = call_new(&f->p, init, &f->env);
    fit_set_inputs(&c, d);
    call_set(&c, ARG_HYPER, &f->hyper);
    call_set(&c, ARG_PARAMS, f->v.params);
    call_set(&c, ARG_STATE, f->v.state);
    int status = call_run(&c);
    if (status)
        session_file_error(s, (Span){0}, "%s", call_status(&f->p, status));
    return status == 0;
}

/* ---- the command */

static const char *estimator_of(Session *s, const AstFile *file) {
    const char *only = NULL, *names[256] = {0};
    int n = 0;
    for (int k = 0; k < file->n_items; k++)
        if (file->items[k]->kind == ITEM_ESTIMATOR && n < 256)
            names[n++] = file->items[k]->name.text;
    for (int k = 0; s->args.n > 2 && k < n; k++)
        only = strcmp(names[k], s->args.p[2]) == 0 ? names[k] : only;
    if (s->args.n > 2 && !only) {
        const char *near = diag_nearest(s->args.p[2], names, n);
        const char *eq = strchr(s->args.p[2], '=');
        StrBuf all = sb_new(s->arena);
        for (int k = 0; k < n; k++)
            sb_printf(&all, "%s`%s`", k ? ", " : "", names[k]);
        session_usage(s,
                      eq     ? "there is no estimator `%s`; data are given as `--data %s`"
                      : near ? "there is no estimator `%s`; did you mean `%s`?"
                      : n    ? "there is no estimator `%s`; the file has %s"
                             : "there is no estimator `%s`",
                      s->args.p[2],
                      eq     ? s->args.p[2]
                      : near ? near
                             : all.text);
    } else if (s->args.n <= 2 && n == 1) {
        only = names[0];
    } else if (s->args.n <= 2) {
        session_usage(s, n ? "say which estimator: the file has %d" : "the file has no estimator",
                      n);
    }
    return only;
}

static const Item *item_of(const AstFile *file, const char *name) {
    for (int k = 0; k < file->n_items; k++)
        if (file->items[k]->kind == ITEM_ESTIMATOR && strcmp(file->items[k]->name.text, name) == 0)
            return file->items[k];
    return NULL;
}

/* What is not fully known is not compiled: a formal without a type, or an int without a value. */
static void explain_missing(Session *s, const Item *item, const char *name) {
    for (int k = 0; item && k < item->n_formals; k++) {
        const Formal *f = &item->formals[k];
        if (!f->type) {
            session_usage(s, "`%s` is not compiled: its formal `%s` has no type; write `%s: real`",
                          name, f->name.text, f->name.text);
            return;
        }
        if (!f->default_ && f->type->kind.text && strcmp(f->type->kind.text, "int") == 0) {
            session_usage(s, "`%s` is not compiled: its formal `%s` has no value; say `-D %s=2`",
                          name, f->name.text, f->name.text);
            return;
        }
    }
    session_usage(s, "`%s` is not compiled: its formals are not fully known", name);
}

const AbiBlock *fit_block(Session *s, const Program *p, const AstFile *file, const char *name) {
    const AbiBlock *b = program_block(p, name);
    if (!b)
        explain_missing(s, item_of(file, name), name);
    return b;
}

bool fit_open_item(Session *s, Fit *f, const AstFile *file, const LowerOptions *o,
                   const volatile int *stop) {
    *f = (Fit){0};
    Module *m = session_lower_with(s, file, o);
    if (!m || !program_open_module(s, &f->p, m, stop))
        return false;
    f->block = fit_block(s, &f->p, file, o->only);
    f->item = item_of(file, o->only);
    return f->block != NULL;
}

static bool is_trained(const Item *estimator) {
    for (int k = 0; k < estimator->n_body; k++)
        if (estimator->body[k]->kind == STMT_USING)
            return true;
    return false;
}

bool fit_open(Session *s, Fit *f, const volatile int *stop) {
    *f = (Fit){0};
    if (s->args.n < 2) {
        session_usage(s, "`cnnc %s` wants a file", s->verb);
        return false;
    }
    AstFile *file = session_parse(s, s->args.p[1]);
    const char *name = file ? estimator_of(s, file) : NULL;
    LowerOptions o = session_lower_options(s, name);
    if (name && !is_trained(item_of(file, name)))
        codegen_for_one_run();
    return name && fit_open_item(s, f, file, &o, stop);
}

/* What says how to train says nothing to an exact fit, and the other way round: it is not passed over without a word. */
static bool options_apply(Session *s, const Fit *f) {
    const Options *o = &s->o;
    bool trains = f->block->using_.present;
    const char *other = trains ? (o->start.n        ? "--start"
                                  : o->starts != 1  ? "--starts"
                                  : o->method       ? "--method"
                                                    : NULL)
                               : (o->batch          ? "--batch"
                                  : o->epochs >= 0  ? "--epochs"
                                  : o->holdout != 0 ? "--holdout"
                                  : o->patience     ? "--patience"
                                  : o->resume       ? "--resume"
                                                    : NULL);
    if (other)
        session_usage(s, trains ? "%s is for exact fits, and `%s` says `using`: it is trained" : "%s is for training, and `%s` has no `using`: it is fitted exactly", other, f->block->name);
    return !other;
}

void command_fit(Session *s) {
    Fit f;
    SESSION_SKIP(ENTRY_FORWARD, ENTRY_LOSS_GRAD, ENTRY_PREDICT, ENTRY_GRAD);
    signal(SIGINT, on_interrupt);
    f = (Fit){0};
    bool can = (!s->o.save || session_can_write(s, s->o.save)) && (!s->o.resume || session_can_write(s, s->o.resume));
    if (can && fit_open(s, &f, &stop_flag) && options_apply(s, &f)) {
        if (f.block->using_.present)
            fit_train(s, &f);
        else
            fit_exact(s, &f);
    }
    program_close(&f.p);
}
