/* The small verbs: check, fmt, ir, list, explain, repl. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "driver/explain.h"
#include "driver/output.h"
#include "driver/repl.h"
#include "driver/session.h"
#include "frontend/format.h"
#include "ir/dist.h"
#include "ir/op.h"

static const char *one_file(Session *s) {
    if (s->args.n == 2)
        return s->args.p[1];
    session_usage(s, s->args.n < 2 ? "`cnnc %s` wants a file" : "`cnnc %s` wants one file", s->verb);
    return NULL;
}

void command_check(Session *s) {
    const char *path = one_file(s);
    AstFile *file = path ? session_parse(s, path) : NULL;
    if (!file || !session_lower(s, file, NULL))
        return;
    LowerOptions o = session_lower_options(s, NULL);
    frontend_tests(s->ctx, s->arena, file, &o);
    if (diag_any_error(s->ctx))
        session_fail(s, EXIT_PROGRAM);
}

void command_fmt(Session *s) {
    const char *path = one_file(s);
    size_t len, n;
    char *text = path ? session_read(s, path, &len) : NULL;
    if (!text)
        return;
    const char *out = format_file(s->ctx, ctx_add_file(s->ctx, path, text, len), &n);
    if (!out) {
        session_fail(s, EXIT_PROGRAM);
        return;
    }
    bool same = n == len && memcmp(out, text, n) == 0;
    if (s->o.check) {
        if (!same) {
            diag_error(s->ctx, "E1003", (Span){0}, "`%s` is not in the layout of `cnnc fmt`", path);
            session_fail(s, EXIT_CHECK);
        }
    } else if (s->o.w) {
        if (!same)
            session_write(s, path, out, n);
    } else {
        sb_putn(&s->out, out, n);
    }
}

/* IR text: loop IR begins with its own word; which reader is asked first does not matter to the user. */
static bool read_ir(Session *s, const char *path, Unit *u) {
    size_t len;
    char *text = session_read(s, path, &len);
    if (!text)
        return false;
    uint32_t file = ctx_add_file(s->ctx, path, text, len);
    *u = session_unit(s, NULL);
    if (strncmp(text, "loops ", 6) == 0 || strncmp(text, "loop ", 5) == 0)
        u->loops = loop_read(s->ctx, s->arena, file);
    else
        u->graph = graph_read(s->ctx, s->arena, file);
    if (u->loops || u->graph)
        return true;
    session_fail(s, EXIT_PROGRAM);
    return false;
}

void command_ir(Session *s) {
    const char *path = one_file(s);
    Unit u;
    if (!path)
        return;
    bool text = session_is_ir(path);
    bool passes = s->o.only.n || s->o.stop_after || (s->o.print_kernels && !text) || s->o.before.n || s->o.after.n;
    if (text) {
        if (!read_ir(s, path, &u))
            return;
    } else {
        AstFile *file = session_parse(s, path);
        Module *m = file ? session_lower(s, file, NULL) : NULL;
        if (!m)
            return;
        u = session_unit(s, m);
    }
    if (passes && !session_passes(s, &u))
        return;
    if (s->o.print_kernels && !u.loops)
        session_usage(s, "--print-kernels is of loops: run the passes up to one of those (--stop-after=plan)");
    else if (s->o.print_kernels)
        session_print_kernels(s, text || s->o.stop_after || s->o.only.n ? u.loops : output_settled(s, u.loops), !text);
    else if (u.loops)
        loop_print(&s->out, u.loops);
    else
        graph_print(&s->out, u.graph);
}

/* ---- list */

static void list_ops(Session *s) {
    int n;
    const OpDef *const *ops = op_all(&n);
    for (int k = 0; k < n; k++)
        sb_printf(&s->out, "%-12s %s\n", ops[k]->name, ops[k]->doc);
    for (int k = 1; k < SC_COUNT; k++)
        if (!(scalar_def((ScalarOp)k)->flags & SF_INTERNAL))
            sb_printf(&s->out, "%-12s elementwise: %s\n", scalar_def((ScalarOp)k)->name, scalar_def((ScalarOp)k)->doc);
}

static void list_passes(Session *s) {
    for (int k = 0; k < n_passes; k++)
        sb_printf(&s->out, "%-12s %s\n", pass_table[k].name, pass_table[k].help);
}

/* Parameters by place, alternatives divided by bars: "mean | log, alpha". */
static void dist_params(StrBuf *sb, const DistDef *d) {
    for (int p = 0; p < d->forms[0].n_params; p++)
        for (int f = 0; f < d->n_forms; f++) {
            bool again = false;
            for (int g = 0; g < f; g++)
                again |= strcmp(d->forms[g].params[p].name, d->forms[f].params[p].name) == 0;
            if (!again)
                sb_printf(sb, "%s%s", f ? " | " : p ? ", " : "", d->forms[f].params[p].name);
        }
}

static void dist_closed(StrBuf *sb, const DistDef *d) {
    for (const DistLink *l = d->links; l->rule; l++)
        sb_printf(sb, "; closed form of %s%s%s", d->forms[l->form].params[l->arg].name, l->prior ? " with the prior " : "", l->prior ? l->prior->name : "");
}

static void list_dists(Session *s) {
    static const char *const draws[] = {"real", "positive", "(0, 1)", "simplex", "bool", "count", "class"};
    int n;
    const DistDef *const *all = dist_all(&n);
    for (int k = 0; k < n; k++) {
        StrBuf sb = sb_new(s->arena), more = sb_new(s->arena);
        sb_printf(&sb, "%s(", all[k]->name);
        dist_params(&sb, all[k]);
        sb_put(&more, "");
        dist_closed(&more, all[k]);
        const char *what = draws[all[k]->support];
        sb_printf(&s->out, "%-34s  %-9s %s%s\n", str_fmt(s->ctx, "%s)", sb.text), all[k]->vector_draws && all[k]->support != SUPPORT_SIMPLEX ? str_fmt(s->ctx, "%s[K]", what) : what,
                  all[k]->doc, more.text);
    }
}

static void list_targets(Session *s) {
    int n;
    const Target *all = target_all(&n);
    for (int k = 0; k < n; k++)
        sb_printf(&s->out, "%-12s %s%s\n", all[k].name, all[k].doc, &all[k] == codegen_host(s->ctx) ? "  (this machine)" : "");
}

void command_list(Session *s) {
    static const struct {
        const char *name;
        void (*run)(Session *s);
    } lists[] = {{"ops", list_ops}, {"passes", list_passes}, {"dists", list_dists}, {"targets", list_targets}};
    const char *names[sizeof lists / sizeof *lists];
    for (size_t k = 0; k < sizeof lists / sizeof *lists; k++) {
        names[k] = lists[k].name;
        if (s->args.n == 2 && strcmp(lists[k].name, s->args.p[1]) == 0) {
            lists[k].run(s);
            return;
        }
    }
    const char *near = s->args.n == 2 ? diag_nearest(s->args.p[1], names, (int)(sizeof names / sizeof *names)) : NULL;
    if (near)
        session_usage(s, "there is no list `%s`; did you mean `%s`?", s->args.p[1], near);
    else if (s->args.n == 2)
        session_usage(s, "there is no list `%s`: ops, passes, dists or targets", s->args.p[1]);
    else
        session_usage(s, "list what? ops, passes, dists or targets");
}

void command_explain(Session *s) {
    int n;
    const ExplainPage *all = explain_pages(&n);
    for (int k = 0; s->args.n == 1 && k < n; k++)
        sb_printf(&s->out, "%s  %s\n", all[k].code, all[k].title);
    if (s->args.n == 1)
        return;
    const ExplainPage *p = s->args.n == 2 ? explain_find(s->args.p[1]) : NULL;
    if (p)
        explain_print(p, &s->out);
    else
        session_usage(s, s->args.n == 2 ? "there is no message `%s`" : "explain which code? such as%s E0312", s->args.n == 2 ? s->args.p[1] : "");
}

void command_repl(Session *s) {
    const char *color = s->o.color ? s->o.color : "auto";
    ReplOptions o = {.code = s->o.code, .file = s->o.file, .seed = (uint64_t)s->o.seed, .terminal = isatty(0) && !s->o.code && !s->o.file};
    o.real = !s->o.real ? DT_NONE : strcmp(s->o.real, "f32") == 0 ? DT_F32 : DT_F64;
    o.color = strcmp(color, "always") == 0 || (strcmp(color, "auto") == 0 && isatty(2));
    session_fail(s, repl_run(&o));
}
