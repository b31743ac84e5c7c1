/* The runner: every pass gets verification, timing, dumps, stopping and disabling for free. */
#include "passes/pass.h"

#include <string.h>
#include <time.h>

#include "base/diag.h"

const PassDef pass_table[] = {
#define PASS(name, level, needs, sets, clears, optional, help)                                     \
    {#name, level, pass_##name, needs, sets, clears, optional, help},
#include "passes/passes.def"
#undef PASS
};
const int n_passes = (int)(sizeof pass_table / sizeof *pass_table);

const PassDef *pass_named(const char *name) {
    for (int k = 0; k < n_passes; k++)
        if (strcmp(pass_table[k].name, name) == 0)
            return &pass_table[k];
    return NULL;
}

/* ---- options */

static bool listed(const char *const *names, int n, const char *name) {
    for (int k = 0; k < n; k++)
        if (strcmp(names[k], name) == 0 || strcmp(names[k], "all") == 0)
            return true;
    return false;
}

static const char *unknown(Ctx *ctx, const char *name) {
    const char *names[64];
    for (int k = 0; k < n_passes; k++)
        names[k] = pass_table[k].name;
    const char *near = diag_nearest(name, names, n_passes);
    if (near)
        return str_fmt(ctx, "there is no pass `%s`; did you mean `%s`?", name, near);
    return str_fmt(ctx, "there is no pass `%s`; `cnnc list passes` shows them", name);
}

static const char *check_names(Ctx *ctx, const char *const *names, int n, bool all) {
    for (int k = 0; k < n; k++)
        if (!pass_named(names[k]) && !(all && strcmp(names[k], "all") == 0))
            return unknown(ctx, names[k]);
    return NULL;
}

static const char *check_options(Ctx *ctx, const PassOptions *o) {
    const char *why = check_names(ctx, o->only, o->only ? o->n_only : 0, false);
    why = why ? why : check_names(ctx, o->disabled, o->n_disabled, false);
    why = why ? why : check_names(ctx, o->print_before, o->n_print_before, true);
    why = why ? why : check_names(ctx, o->print_after, o->n_print_after, true);
    return why || !o->stop_after ? why : check_names(ctx, &o->stop_after, 1, false);
}

/* A pass that later ones need cannot be left out; dropping an optional one clears nothing that is
 * needed. */
static const char *check_disabled(Ctx *ctx, const PassOptions *o) {
    for (int k = 0; k < o->n_disabled; k++) {
        const PassDef *p = pass_named(o->disabled[k]);
        if (!p->optional)
            return str_fmt(ctx, "the pass `%s` cannot be disabled: later passes need it", p->name);
    }
    return NULL;
}

/* The pipeline's needs are all set by passes before. */
static void check_chain(Ctx *ctx) {
    unsigned have = 0;
    for (int k = 0; k < n_passes; k++) {
        const PassDef *p = &pass_table[k];
        if ((p->needs & have) != p->needs)
            ctx_internal(ctx, "pass %s stands before what it needs", p->name);
        have = (have | p->sets) & ~p->clears;
    }
}

/* ---- one pass */

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static const char *text_of(Unit *u) {
    StrBuf sb = sb_new(u->arena);
    if (u->loops)
        loop_print(&sb, u->loops);
    else
        graph_print(&sb, u->graph);
    return sb.text;
}

static void verify(Unit *u) {
    const char *why = u->loops ? loop_verify(u->loops) : graph_verify(u->graph);
    if (why)
        ctx_internal(u->ctx, "the verifier: %s", why);
}

typedef struct Times {
    const PassDef *pass;
    double seconds;
} Times;

static void run_one(Unit *u, const PassOptions *o, const PassDef *p, Times *t) {
    bool before = listed(o->print_before, o->n_print_before, p->name),
         after = listed(o->print_after, o->n_print_after, p->name);
    const char *old = before || after ? text_of(u) : NULL;
    if (before)
        sb_printf(o->dumps, "; IR before %s\n%s", p->name, old);
    double start = seconds();
    u->ctx->running_pass = p->name;
    p->run(u);
    *t = (Times){p, seconds() - start};
    verify(u);
    u->ctx->running_pass = NULL;
    if (!after)
        return;
    const char *now = text_of(u);
    sb_printf(o->dumps, "; IR after %s\n%s", p->name,
              strcmp(old, now) == 0 ? "(unchanged)\n" : now);
}

static void time_table(const PassOptions *o, const Times *t, int n) {
    double sum = 0;
    sb_put(o->dumps, "pass              milliseconds\n");
    for (int k = 0; k < n; k++) {
        sb_printf(o->dumps, "%-16s %13.3f\n", t[k].pass->name, 1e3 * t[k].seconds);
        sum += t[k].seconds;
    }
    sb_printf(o->dumps, "%-16s %13.3f\n", "total", 1e3 * sum);
}

bool pass_fit_way(const char *name, FitWay *out) {
    static const char *const names[] = {"auto", "closed", "lsq", "newton", "lbfgs"};
    for (int k = 0; k < (int)(sizeof names / sizeof *names); k++)
        if (strcmp(names[k], name) == 0) {
            *out = (FitWay)k;
            return true;
        }
    return false;
}

/* ---- entry */

static const char *fits_level(Ctx *ctx, const Unit *u, const PassDef *p) {
    if ((p->level == LEVEL_LOOP) != (u->loops != NULL))
        return str_fmt(ctx, "the pass `%s` works on %s IR", p->name,
                       p->level == LEVEL_LOOP ? "loop" : "graph");
    return NULL;
}

bool pass_run(Unit *u, const PassOptions *o, const char **why) {
    Ctx *ctx = u->ctx;
    check_chain(ctx);
    *why = check_options(ctx, o);
    *why = *why ? *why : check_disabled(ctx, o);
    if (*why)
        return false;
    int n = o->only ? o->n_only : n_passes, done = 0;
    Times *times = ARENA_ARRAY(&ctx->perm, Times, n + 1);
    for (int k = 0; k < n; k++) {
        const PassDef *p = o->only ? pass_named(o->only[k]) : &pass_table[k];
        bool skip = !o->only && p->level != LEVEL_LOOP &&
                    u->loops; /* loop IR text: the graph passes are behind it */
        if (!skip && (*why = fits_level(ctx, u, p)))
            return false;
        if (!skip && !listed(o->disabled, o->n_disabled, p->name))
            run_one(u, o, p, &times[done++]);
        if (o->stop_after && strcmp(o->stop_after, p->name) == 0)
            break;
    }
    if (o->time_passes)
        time_table(o, times, done);
    return true;
}

void pass_again(Unit *u, const PassOptions *o) {
    Times time;
    u->loops = loop_module_copy(u->arena, u->before_tile);
    bool from_here = false;
    for (int k = 0; k < n_passes; k++) {
        from_here = from_here || pass_table[k].run == pass_tile;
        if (from_here && !listed(o->disabled, o->n_disabled, pass_table[k].name))
            run_one(u, o, &pass_table[k], &time);
    }
}
