/* What is known of kernels without running them: operations and the share of the machine's
 * multiply-add peak that a simple model predicts (kernel_count.c), the block of sums in registers,
 * spills in the assembly that LLVM makes of them. */
#include <stdlib.h>
#include <string.h>

#include "codegen/emit.h"

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

double codegen_share(const Target *t, DType dt, double flops, double cycles) {
    double peak = 4.0 * target_lanes(t, dt == DT_F64 ? DT_F64 : DT_F32) / (t->fma ? 1 : 2);
    return cycles > 0 ? flops / (cycles * peak) : 0;
}

static KernelInfo info_of(Ctx *ctx, const Target *t, const Kernel *k, const char *assembly) {
    LoopStmt *one[1] = {(LoopStmt *)(uintptr_t)k->s};
    LoopBody body = {.stmts = {one, 1, 1}};
    KernelInfo i = {.name = k->symbol, .lanes = 1, .dt = DT_NONE, .axis = 0};
    find_block(k->f, &body, &i);
    i.measured = -1;
    i.entry = k->f->entry->cname;
    i.loops = k->loops.p;
    i.n_loops = k->loops.n;
    i.spills = spills_of(assembly, k->symbol);
    kernel_count(ctx, t, k, &i);
    i.predicted = codegen_share(t, i.dt, i.flops, i.cycles);
    return i;
}

KernelInfo *codegen_kernels(Ctx *ctx, Arena *arena, const LoopModule *m, const CodegenOptions *o,
                            int *n) {
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

static bool any_measured(const KernelInfo *all, int n) {
    for (int k = 0; k < n; k++)
        if (all[k].measured >= 0)
            return true;
    return false;
}

void codegen_print_kernels(Ctx *ctx, StrBuf *out, const KernelInfo *all, int n) {
    bool measured = any_measured(all, n);
    sb_printf(out, "%-36s %14s %-12s %-10s %7s %10s%s\n", "kernel", "FLOPs", "block", "lanes",
              "spills", "predicted", measured ? "   measured" : "");
    for (int k = 0; k < n; k++) {
        const KernelInfo *i = &all[k];
        const char *type = i->dt == DT_NONE ? "-"
                           : i->lanes > 1   ? str_fmt(ctx, "%sx%d", dtype_name(i->dt), i->lanes)
                                            : dtype_name(i->dt);
        const char *block = i->sums ? str_fmt(ctx, "%d x %s", i->sums, type) : type;
        const char *flops = i->formula ? dim_text(ctx, i->formula) : str_fmt(ctx, "%.0f", i->flops);
        flops = i->at_most ? str_fmt(ctx, "<= %s", flops) : flops;
        sb_printf(out, "%-36s %14s %-12s %-10s %7d %9.0f%%", i->name, flops, block,
                  layout_of(ctx, i), i->spills, 100 * i->predicted);
        if (measured && i->measured >= 0)
            sb_printf(out, " %9.0f%%", 100 * i->measured);
        else if (measured)
            sb_printf(out, " %10s", "-");
        sb_put(out, "\n");
    }
}
