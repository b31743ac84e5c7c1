/* What is known of kernels without running them: operations, the block of sums in registers, spills
 * in the assembly that LLVM makes of them, and the share of the machine's multiply-add peak that a
 * simple model predicts. */
#include <stdlib.h>
#include <string.h>

#include "codegen/emit.h"

/* ---- counting. A loop whose inner bounds depend on its index is walked; an extent that is not
 * known counts as one, and stands in the formula. */

typedef struct Count {
    Dim formula; /* NULL: none that is a dim */
    double flops;
    double ops, memory; /* cycles of the statements here, by the ports they take */
    double slots;       /* instructions */
    double inside;      /* cycles of the loops inside */
    bool at_most;       /* of conditions the longer arm is counted */
} Count;

static double most(double a, double b) { return a > b ? a : b; }

/* Two operations and two loads start in a cycle, six instructions in all. */
static double cycles_of(const Count *n, double least) {
    return most(most(n->ops, n->memory), most(n->slots / 6, least)) + n->inside;
}

typedef struct Counter {
    Ctx *ctx;
    const LoopFunc *f;
    const Target *target;
    VEC(DimBinding) env;
} Counter;

static bool known(Counter *c, const Dim *d, int n, bool most, int64_t *out) {
    for (int k = 0; k < n; k++) {
        int64_t v;
        Dim at = dim_subst(c->ctx, d[k], c->env.p, c->env.n);
        if (!at || !dim_is_const(at, &v))
            return false;
        *out = k == 0 || (most ? v > *out : v < *out) ? v : *out;
    }
    return n > 0;
}

static bool bounds_mention(const LoopBody *b, DimSym s) {
    for (int k = 0; k < b->stmts.n; k++) {
        const LoopStmt *x = b->stmts.p[k];
        for (int j = 0; j < x->n_lo; j++)
            if (dim_mentions(x->lo[j], s))
                return true;
        for (int j = 0; j < x->n_hi; j++)
            if (dim_mentions(x->hi[j], s))
                return true;
        if (bounds_mention(&x->body, s) || bounds_mention(&x->orelse, s))
            return true;
    }
    return false;
}

static Dim plus(Counter *c, Dim a, Dim b) { return a && b ? dim_add(c->ctx, a, b) : NULL; }

static int lanes_of(const LoopFunc *f, const LoopStmt *s) {
    return s->n_args ? loop_type(f, s->args[s->n_args - 1]).lanes : 1;
}

static void count_let(Counter *c, const LoopStmt *s, Count *n) {
    int lanes = lanes_of(c->f, s), per = 0, wide = c->target->vector_bytes >= 64 ? 16 : 8;
    double cycles = 0.5;
    switch (s->op) {
    case SC_fma:
        per = 2;
        break;
    case SC_add:
    case SC_sub:
    case SC_mul:
    case SC_max:
    case SC_min:
    case SC_neg:
        per = 1;
        break;
    case SC_div:
    case SC_sqrt:
        per = 1;
        cycles = lanes > 1 ? wide : 4;
        break;
    case SC_lane_sum:
    case SC_lane_max:
    case SC_lane_min:
        per = 1;
        cycles = 8;
        break;
    case SC_splat:
        cycles = 0;
        break;
    default:
        break;
    }
    per = dtype_is_real(s->n_args ? loop_type(c->f, s->args[s->n_args - 1]).dt : DT_NONE) ? per : 0;
    n->flops += per * lanes;
    n->formula = plus(c, n->formula, dim_const(c->ctx, per * lanes));
    n->ops += cycles;
    n->slots += cycles > 0;
}

static Count count_body(Counter *c, const LoopBody *b);

/* Two multiply-adds of a sum wait for each other. */
static double waiting(const LoopStmt *s) {
    enum { LATENCY = 4 };
    int links = 0;
    for (int k = 0; k < s->body.stmts.n; k++) {
        const LoopStmt *x = s->body.stmts.p[k];
        if (x->kind == LOOP_FOR)
            return 0;
        links += x->kind == LOOP_LET &&
                 (x->op == SC_fma || x->op == SC_add || x->op == SC_max || x->op == SC_min);
    }
    return s->n_carried ? LATENCY * (double)links / s->n_carried : 0;
}

static void count_loop(Counter *c, const LoopStmt *s, Count *n) {
    int64_t lo = 0, hi = 0, trips = 1;
    bool constant = known(c, s->lo, s->n_lo, true, &lo) && known(c, s->hi, s->n_hi, false, &hi);
    trips = constant ? (hi > lo ? (hi - lo + s->step - 1) / s->step : 0) : 1;
    if (constant && bounds_mention(&s->body, s->index)) {
        for (int64_t i = lo; i < hi; i += s->step) {
            vec_push(&c->ctx->perm, &c->env, (DimBinding){s->index, dim_const(c->ctx, i)});
            Count one = count_body(c, &s->body);
            c->env.n--;
            n->flops += one.flops;
            n->inside += cycles_of(&one, waiting(s)) + 1;
            n->at_most |= one.at_most;
            n->formula = plus(c, n->formula, one.formula);
        }
        return;
    }
    Count one = count_body(c, &s->body);
    Dim times =
        constant ? dim_const(c->ctx, trips)
        : s->n_lo == 1 && s->n_hi == 1
            ? dim_ceildiv(c->ctx, dim_sub(c->ctx, s->hi[0], s->lo[0]), dim_const(c->ctx, s->step))
            : NULL;
    n->flops += (double)trips * one.flops;
    n->inside += (double)trips * (cycles_of(&one, waiting(s)) + 1);
    n->formula =
        plus(c, n->formula, times && one.formula ? dim_mul(c->ctx, times, one.formula) : NULL);
}

static Count count_body(Counter *c, const LoopBody *b) {
    Count n = {.formula = dim_const(c->ctx, 0)};
    for (int k = 0; k < b->stmts.n; k++) {
        const LoopStmt *s = b->stmts.p[k];
        bool gather = (s->kind == LOOP_LOAD || s->kind == LOOP_STORE) && s->type.lanes > 1 &&
                      (s->lane_axis != s->rank - 1 || s->lane_step != 1);
        switch (s->kind) {
        case LOOP_FOR:
            count_loop(c, s, &n);
            break;
        case LOOP_LET:
            count_let(c, s, &n);
            break;
        case LOOP_LOAD:
            n.memory += gather ? 0.75 * s->type.lanes : 0.5;
            n.slots++;
            break;
        case LOOP_STORE:
            n.memory += gather ? s->type.lanes : 1;
            n.slots++;
            break;
        case LOOP_IF: {
            Count yes = count_body(c, &s->body), no = count_body(c, &s->orelse);
            const Count *more = yes.flops > no.flops ? &yes : &no;
            n.flops += more->flops;
            n.inside += cycles_of(more, 0);
            n.at_most = true;
            n.formula = NULL;
            break;
        }
        case LOOP_WHILE:
            n.formula = NULL;
            break;
        case LOOP_CALL:
            n.inside += 20;
            break;
        default:
            break;
        }
    }
    return n;
}

/* ---- the block: the innermost loop that carries the most sums */

static void find_block(const LoopFunc *f, const LoopBody *b, KernelInfo *i) {
    for (int k = 0; k < b->stmts.n; k++) {
        const LoopStmt *s = b->stmts.p[k];
        if (s->kind == LOOP_STORE && s->type.lanes > i->lanes && !i->sums)
            *i = (KernelInfo){.name = i->name,
                              .lanes = s->type.lanes,
                              .dt = s->type.dt,
                              .axis = s->lane_axis - s->rank};
        if (s->kind == LOOP_FOR && s->n_carried > i->sums)
            *i = (KernelInfo){.name = i->name,
                              .sums = s->n_carried,
                              .lanes = s->carried[0].lanes,
                              .dt = s->carried[0].dt,
                              .axis = i->axis};
        find_block(f, &s->body, i);
        find_block(f, &s->orelse, i);
    }
    for (int k = 0; k < b->stmts.n; k++) /* the lanes lie along the axis of what is stored */
        if (b->stmts.p[k]->kind == LOOP_STORE && b->stmts.p[k]->type.lanes > 1)
            i->axis = b->stmts.p[k]->lane_axis - b->stmts.p[k]->rank;
}

/* ---- spills */

/* Vector registers that the function of this name stores to or loads from its stack, by LLVM's
 * comments. */
static int spills_of(const char *text, const char *symbol) {
    size_t n = strlen(symbol);
    for (const char *at = text; (at = strstr(at, symbol)); at += n) {
        bool label = (at == text || at[-1] == '\n' || at[-1] == '"') &&
                     (at[n] == ':' || (at[n] == '"' && at[n + 1] == ':'));
        if (!label)
            continue;
        const char *end = strstr(at, ".size");
        int spills = 0;
        static const char *const marks[] = {"16-byte Spill",        "32-byte Spill",
                                            "64-byte Spill",        "16-byte Folded Spill",
                                            "32-byte Folded Spill", "64-byte Folded Spill"};
        for (size_t m = 0; m < sizeof marks / sizeof *marks; m++)
            for (const char *p = at; (p = strstr(p, marks[m])) && (!end || p < end); p++)
                spills++;
        return spills;
    }
    return -1;
}

/* ---- */

static KernelInfo info_of(Ctx *ctx, const Target *t, const Kernel *k, const char *assembly) {
    Counter c = {.ctx = ctx, .f = k->f, .target = t};
    LoopStmt *one[1] = {(LoopStmt *)(uintptr_t)k->s};
    LoopBody body = {.stmts = {one, 1, 1}};
    Count n = count_body(&c, &body);
    KernelInfo i = {.name = k->symbol, .lanes = 1, .dt = DT_NONE, .axis = 0};
    find_block(k->f, &body, &i);
    i.entry = k->f->entry->cname;
    i.flops = n.flops;
    i.formula = n.formula;
    i.at_most = n.at_most;
    i.spills = spills_of(assembly, k->symbol);
    double peak =
        4.0 * target_lanes(t, i.dt == DT_F64 ? DT_F64 : DT_F32) / (t->fma ? 1 : 2); /* a cycle */
    double cycles = cycles_of(&n, 0);
    i.predicted = cycles > 0 ? n.flops / (cycles * peak) : 0;
    return i;
}

const KernelInfo *codegen_kernels(Ctx *ctx, Arena *arena, const LoopModule *m,
                                  const CodegenOptions *o, int *n) {
    Kernels kernels = {.apart = false};
    size_t len;
    const char *assembly = codegen_assembly(ctx, arena, m, o, &kernels, &len);
    if (!assembly)
        return NULL;
    *n = kernels.list.n;
    KernelInfo *all = ARENA_ARRAY(arena, KernelInfo, *n + 1);
    for (int k = 0; k < *n; k++)
        all[k] = info_of(ctx, m->target, kernels.list.p[k], assembly);
    return all;
}

static const char *layout_of(Ctx *ctx, const KernelInfo *i) {
    if (i->lanes <= 1)
        return "-";
    return i->axis == -1 ? "last axis" : i->axis ? str_fmt(ctx, "axis %d", i->axis) : "sums";
}

void codegen_print_kernels(Ctx *ctx, StrBuf *out, const KernelInfo *all, int n) {
    sb_printf(out, "%-36s %14s %-12s %-10s %7s %10s\n", "kernel", "FLOPs", "block", "lanes",
              "spills", "predicted");
    for (int k = 0; k < n; k++) {
        const KernelInfo *i = &all[k];
        const char *type = i->dt == DT_NONE ? "-"
                           : i->lanes > 1   ? str_fmt(ctx, "%sx%d", dtype_name(i->dt), i->lanes)
                                            : dtype_name(i->dt);
        const char *block = i->sums ? str_fmt(ctx, "%d x %s", i->sums, type) : type;
        const char *flops = i->formula ? dim_text(ctx, i->formula) : str_fmt(ctx, "%.0f", i->flops);
        flops = i->at_most ? str_fmt(ctx, "<= %s", flops) : flops;
        sb_printf(out, "%-36s %14s %-12s %-10s %7d %9.0f%%\n", i->name, flops, block,
                  layout_of(ctx, i), i->spills, 100 * i->predicted);
    }
}
