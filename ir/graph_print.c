/* The text of the graph IR. Grammar: graph_read.c.
 *
 *     graph "lenet5.cnn"
 *     model "LeNet5" lenet5 f32 @11:1-30:2 { ... }
 *     func "LeNet5.forward" f32 block 0 @11:1-30:2 {
 *       dims N
 *       entry forward "lenet5_forward" of "LeNet5" @11:1-30:2 { ... }
 *       check H - 2 "the extent H - 2 is negative" @12:3-12:8
 *       %1: f32[N, 784] = input "x" @11:20-11:30
 *       %2: f32[784, 10] = param "w" tensor 0 @12:3-12:9
 *       %3: f32[N, 10] = nest [n, o] += %1[n, i] * %2[i, o] over n<N, o<10, i<784 "y" @13:7-13:12
 *       out "out" %3
 *     } */
#include <inttypes.h>

#include "ir/abi_text.h"
#include "ir/graph_text.h"

const char *const graph_role_names[] = {"input",   "param", "state", "opt",  "hyper", "prior",
                                        "n_total", "epoch", "seed",  "grad", "step",  "local"};
const char *const graph_result_names[] = {"out",       "value",   "loss",   "grad", "new_param",
                                          "new_state", "new_opt", "report", "cov",  "info",
                                          "code",      "local"};

void graph_print_func_name(StrBuf *sb, const Module *m, FuncId id) {
    const Func *f = graph_func(m, id);
    text_print_string(sb, f ? f->name : "?");
}

typedef struct Printer {
    StrBuf *sb;
    const Module *m;
    const Func *f;
} Printer;

static void put_span(Printer *p, Span s) {
    sb_putc(p->sb, ' ');
    text_print_span(p->sb, p->m->ctx, p->m->source, s);
}

static void put_quoted(Printer *p, Str s) {
    if (!s)
        return;
    sb_putc(p->sb, ' ');
    text_print_string(p->sb, s);
}

static void put_param(Printer *p, const Param *x) {
    sb_printf(p->sb, "  %%%" PRIu32 ": ", x->val.id);
    type_print(p->sb, graph_type(p->f, x->val));
    sb_printf(p->sb, " = %s", graph_role_names[x->role]);
    put_quoted(p, x->name);
    if (x->bound) {
        sb_put(p->sb, " bound ");
        dim_print(p->sb, x->bound);
    }
    if (x->tensor >= 0)
        sb_printf(p->sb, " tensor %d", x->tensor);
    put_span(p, x->span);
    sb_putc(p->sb, '\n');
}

static void put_args(Printer *p, const Inst *i) {
    sb_putc(p->sb, '(');
    for (int k = 0; k < i->n_args; k++)
        sb_printf(p->sb, "%s%%%" PRIu32, k ? ", " : "", i->args[k].id);
    sb_putc(p->sb, ')');
}

static void put_inst(Printer *p, const Inst *i) {
    sb_put(p->sb, "  ");
    for (int k = 0; k < i->n_results; k++) {
        sb_printf(p->sb, "%s%%%" PRIu32 ": ", k ? ", " : "", inst_result(i, k).id);
        type_print(p->sb, graph_type(p->f, inst_result(i, k)));
    }
    sb_printf(p->sb, "%s%s", i->n_results ? " = " : "", i->op->name);
    if (i->op->flags & OPF_TEXT)
        sb_putc(p->sb, ' ');
    if (i->op->print)
        i->op->print(p->sb, p->m, p->f, i);
    if (!(i->op->flags & OPF_TEXT) && i->op->n_args)
        put_args(p, i);
    put_quoted(p, i->name);
    put_span(p, i->span);
    sb_putc(p->sb, '\n');
}

static void put_result(Printer *p, const Result *r) {
    sb_printf(p->sb, "  %s", graph_result_names[r->role]);
    put_quoted(p, r->name);
    sb_printf(p->sb, " %%%" PRIu32, r->val.id);
    if (r->of >= 0)
        sb_printf(p->sb, " of %d", r->of);
    sb_putc(p->sb, '\n');
}

static void put_func(Printer *p) {
    const Func *f = p->f;
    sb_put(p->sb, "func");
    put_quoted(p, f->name);
    sb_printf(p->sb, " %s", dtype_name(f->real));
    if (f->block >= 0)
        sb_printf(p->sb, " block %d", f->block);
    put_span(p, f->span);
    sb_put(p->sb, " {\n");
    if (f->dims.n) {
        sb_put(p->sb, "  dims ");
        abi_print_dims(p->sb, f->dims.p, f->dims.n);
        sb_putc(p->sb, '\n');
    }
    if (f->entry)
        abi_print_entry(p->sb, p->m->ctx, p->m->source, f->entry, 2);
    for (int k = 0; k < f->checks.n; k++) {
        sb_put(p->sb, "  check ");
        dim_print(p->sb, f->checks.p[k].cond);
        put_quoted(p, f->checks.p[k].message);
        put_span(p, f->checks.p[k].span);
        sb_putc(p->sb, '\n');
    }
    for (int k = 0; k < f->params.n; k++)
        put_param(p, &f->params.p[k]);
    for (int k = 0; k < f->insts.n; k++)
        put_inst(p, f->insts.p[k]);
    for (int k = 0; k < f->results.n; k++)
        put_result(p, &f->results.p[k]);
    sb_put(p->sb, "}\n");
}

/* Are the params numbered first, in order? Instructions always follow in order. */
static bool is_in_order(const Func *f) {
    for (int k = 0; k < f->params.n; k++)
        if (f->params.p[k].val.id != (uint32_t)k + 1)
            return false;
    return true;
}

/* A copy with params first, so that the numbers of the text are those of its order. */
static const Func *in_order(const Module *m, const Func *f) {
    Module scratch = {.ctx = m->ctx, .arena = &m->ctx->perm, .source = m->source};
    Func *g = graph_func_like(&scratch, f);
    ValMap map = valmap_new(scratch.arena, f);
    graph_copy_params(&scratch, g, f, &map);
    for (int k = 0; k < f->insts.n; k++)
        graph_copy_inst(&scratch, g, f, f->insts.p[k], &map);
    graph_copy_results(&scratch, g, f, &map);
    return g;
}

void graph_print_func(StrBuf *sb, const Module *m, const Func *f) {
    Printer p = {sb, m, is_in_order(f) ? f : in_order(m, f)};
    put_func(&p);
}

void graph_print(StrBuf *sb, const Module *m) {
    sb_put(sb, "graph ");
    text_print_string(sb, m->source ? m->source : "");
    sb_putc(sb, '\n');
    for (int k = 0; k < m->blocks.n; k++)
        abi_print_block(sb, m->ctx, m->source, m->blocks.p[k]);
    for (int k = 0; k < m->funcs.n; k++)
        if (m->funcs.p[k])
            graph_print_func(sb, m, m->funcs.p[k]);
}
