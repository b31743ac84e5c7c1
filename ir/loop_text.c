/* The text of the loop IR. Values are numbered in the order of the text; a statement's span is
 * printed where it differs from that of the loop around it. Grammar: loop_read.c.
 *
 *     loops "lenet5.cnn" for "x86-64-v4"
 *     status 0 "lenet5.cnn:20: y holds a label outside 0..9"
 *     func "sum" f32 groups 8 @1:1-3:4 {
 *       dims N
 *       entry def "sum" { ... }
 *       buf x f32[N] = arg 2 at 0
 *       buf out f32 = arg 3 at 0 written
 *       %1 = f32x16 0.0
 *       %2 = for n in 0..N step 16 with %3 = %1 "sum" {
 *         %4 = load f32x16 x[n] active N - n
 *         %5 = add(%3, %4)
 *         yield %5
 *       }
 *       %6 = lane_sum(%2)
 *       store out[] = %6
 *     } */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "ir/abi_text.h"
#include "ir/loop.h"
#include "ir/target.h"

typedef struct Printer {
    StrBuf *sb;
    const LoopModule *m;
    const LoopFunc *f;
    uint32_t *number; /* by value id; 0: not yet printed */
    uint32_t next;
} Printer;

static void put_type(Printer *p, LType t) {
    sb_put(p->sb, dtype_name(t.dt));
    if (t.lanes > 1)
        sb_printf(p->sb, "x%d", t.lanes);
}

static void put_val(Printer *p, LVal v) {
    if (v.id && v.id < (uint32_t)p->f->vals.n) {
        if (!p->number[v.id])
            p->number[v.id] = p->next++;
        sb_printf(p->sb, "%%%" PRIu32, p->number[v.id]);
    } else {
        sb_put(p->sb, "%0"); /* of IR that does not verify */
    }
}

static void put_vals(Printer *p, const LVal *v, int n) {
    for (int k = 0; k < n; k++) {
        sb_put(p->sb, k ? ", " : "");
        put_val(p, v[k]);
    }
}

static void put_bounds(Printer *p, const char *fn, const Dim *d, int n) {
    if (n != 1)
        sb_printf(p->sb, "%s(", fn);
    text_print_dims(p->sb, d, n);
    if (n != 1)
        sb_putc(p->sb, ')');
}

/* The double of the shortest decimal text that reads as x in f32. */
static double shortest_f32(double x) {
    char text[32];
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, x);
        if ((double)strtof(text, NULL) == x)
            return strtod(text, NULL);
    }
    return x;
}

static void put_constant(StrBuf *sb, DType dt, ScalarValue k) {
    if (dtype_is_real(dt))
        sb_real(sb, dt == DT_F32 ? shortest_f32(k.f) : k.f);
    else
        sb_printf(sb, "%" PRId64, k.i);
}

static const char *buf_name(Printer *p, BufId id) {
    const LoopBuf *b = loop_bufp(p->f, id);
    return b ? b->name : "?";
}

static void put_element(Printer *p, BufId buf, const Dim *subs, int rank, const LVal *sub_vals) {
    sb_printf(p->sb, "%s[", buf_name(p, buf));
    for (int k = 0; k < rank; k++) {
        sb_put(p->sb, k ? ", " : "");
        dim_print(p->sb, subs[k]);
        if (sub_vals && sub_vals[k].id) {
            sb_put(p->sb, " + ");
            put_val(p, sub_vals[k]);
        }
    }
    sb_putc(p->sb, ']');
}

static void put_access(Printer *p, const LoopStmt *s) {
    if (s->type.lanes > 1) {
        if (s->lane_axis != s->rank - 1)
            sb_printf(p->sb, " axis %d", s->lane_axis);
        if (s->lane_step != 1)
            sb_printf(p->sb, " by %" PRId64, s->lane_step);
    }
    if (s->active) {
        sb_put(p->sb, " active ");
        dim_print(p->sb, s->active);
    }
    if (s->checked)
        sb_put(p->sb, " checked");
    if (s->again)
        sb_put(p->sb, " again");
    if (s->ahead) {
        sb_put(p->sb, " ahead ");
        dim_print(p->sb, s->ahead);
    }
    if (s->status >= 0)
        sb_printf(p->sb, " else %d", s->status);
}

static void put_call(Printer *p, const LoopStmt *s) {
    sb_printf(p->sb, "call %s(", s->callee);
    for (int k = 0; k < s->n_bufs; k++) {
        sb_put(p->sb, k ? ", " : "");
        const LoopBuf *b = loop_bufp(p->f, s->bufs[k]);
        put_element(p, s->bufs[k], s->buf_subs[k], b ? b->rank : 0, NULL);
    }
    sb_put(p->sb, s->n_bufs && s->n_args ? ", " : "");
    put_vals(p, s->args, s->n_args);
    sb_putc(p->sb, ')');
    if (s->result.id) {
        sb_put(p->sb, " : ");
        put_type(p, s->type);
    }
}

static void put_let(Printer *p, const LoopStmt *s) {
    sb_printf(p->sb, "%s(", scalar_def(s->op)->name);
    put_vals(p, s->args, s->n_args);
    sb_putc(p->sb, ')');
    if (scalar_def(s->op)->result == SR_ATTR || s->op == SC_splat) {
        sb_put(p->sb, " : ");
        put_type(p, s->type);
    }
}

static void put_loop_head(Printer *p, const LoopStmt *s) {
    if (s->n_carried) {
        put_vals(p, s->out, s->n_carried);
        sb_put(p->sb, " = ");
    }
    if (s->kind == LOOP_FOR) {
        sb_printf(p->sb, "for %s in ", s->index->name);
        put_bounds(p, "max", s->lo, s->n_lo);
        sb_put(p->sb, "..");
        put_bounds(p, "min", s->hi, s->n_hi);
        if (s->step != 1)
            sb_printf(p->sb, " step %" PRId64, s->step);
        if (s->need) {
            sb_put(p->sb, " needs ");
            dim_print(p->sb, s->need);
        }
        if (s->lines.id)
            sb_printf(p->sb, " lines %s", loop_bufp(p->f, s->lines)->name);
        if (s->n_args) {
            sb_put(p->sb, " when ");
            put_val(p, s->args[0]);
        }
    } else {
        sb_put(p->sb, "while");
    }
    for (int k = 0; k < s->n_carried; k++) {
        sb_put(p->sb, k ? ", " : " with ");
        put_val(p, s->phi[k]);
        sb_put(p->sb, " = ");
        put_val(p, s->init[k]);
    }
    if (s->parallel)
        sb_put(p->sb, " parallel");
    if (s->onto) {
        sb_printf(p->sb, " onto %s if ", s->onto->name);
        dim_print(p->sb, s->onto_if);
    }
    if (s->fetch)
        sb_put(p->sb, " fetch");
    if (s->awake)
        sb_put(p->sb, " awake");
    if (s->unroll)
        sb_printf(p->sb, " unroll %d", s->unroll);
    if (s->name) {
        sb_putc(p->sb, ' ');
        text_print_string(p->sb, s->name);
    }
}

static void put_simple(Printer *p, const LoopStmt *s) {
    switch (s->kind) {
    case LOOP_LET:
        put_let(p, s);
        break;
    case LOOP_CONST:
        put_type(p, s->type);
        sb_putc(p->sb, ' ');
        put_constant(p->sb, s->type.dt, s->k);
        break;
    case LOOP_INDEX:
        sb_put(p->sb, "index ");
        put_type(p, s->type);
        sb_putc(p->sb, ' ');
        dim_print(p->sb, s->subs[0]);
        if (s->type.lanes > 1)
            sb_printf(p->sb, " by %" PRId64, s->lane_step);
        break;
    case LOOP_LOAD:
        sb_put(p->sb, "load ");
        put_type(p, s->type);
        sb_putc(p->sb, ' ');
        put_element(p, s->buf, s->subs, s->rank, s->sub_vals);
        put_access(p, s);
        break;
    case LOOP_STORE:
        sb_put(p->sb, "store ");
        put_element(p, s->buf, s->subs, s->rank, s->sub_vals);
        sb_put(p->sb, " = ");
        put_vals(p, s->args, s->n_args);
        put_access(p, s);
        break;
    case LOOP_CALL:
        put_call(p, s);
        break;
    case LOOP_POLL:
        sb_put(p->sb, "poll");
        break;
    case LOOP_STATUS:
        sb_put(p->sb, "require ");
        put_vals(p, s->args, s->n_args);
        sb_printf(p->sb, " else %d", s->status);
        break;
    case LOOP_RETURN:
        sb_put(p->sb, "return ");
        put_vals(p, s->args, s->n_args);
        break;
    case LOOP_IF:
        sb_put(p->sb, "if ");
        put_vals(p, s->args, s->n_args);
        break;
    case LOOP_YIELD:
        sb_put(p->sb, "yield ");
        put_vals(p, s->args, s->n_args);
        break;
    case LOOP_FOR:
    case LOOP_WHILE:
        put_loop_head(p, s);
        break;
    }
}

static void put_body(Printer *p, const LoopBody *b, Span outer, int depth);

static void put_stmt(Printer *p, const LoopStmt *s, Span outer, int depth) {
    sb_printf(p->sb, "%*s", 2 * depth, "");
    if (s->result.id) {
        put_val(p, s->result);
        sb_put(p->sb, " = ");
    }
    put_simple(p, s);
    if (!text_same_span(s->span, outer)) {
        sb_putc(p->sb, ' ');
        text_print_span(p->sb, p->m->ctx, p->m->source, s->span);
    }
    if (s->kind == LOOP_FOR || s->kind == LOOP_WHILE || s->kind == LOOP_IF) {
        sb_put(p->sb, " {\n");
        put_body(p, &s->body, s->span, depth + 1);
        if (s->orelse.stmts.n) {
            sb_printf(p->sb, "%*s} %s {\n", 2 * depth, "", s->kind == LOOP_IF ? "else" : "ordered");
            put_body(p, &s->orelse, s->span, depth + 1);
        }
        sb_printf(p->sb, "%*s}", 2 * depth, "");
    }
    sb_putc(p->sb, '\n');
}

static void put_body(Printer *p, const LoopBody *b, Span outer, int depth) {
    for (int k = 0; k < b->stmts.n; k++)
        put_stmt(p, b->stmts.p[k], outer, depth);
}

static void put_buf(Printer *p, const LoopBuf *b) {
    static const char *const kinds[] = {"arg", "work", "job", "const", "alias"};
    sb_printf(p->sb, "  buf %s ", b->name);
    type_print(p->sb, (Type){b->dt, b->rank, b->shape});
    sb_printf(p->sb, " = %s", kinds[b->kind]);
    if (b->kind == BUF_ARG)
        sb_printf(p->sb, " %d", b->arg);
    if (b->kind == BUF_ALIAS)
        sb_printf(p->sb, " %s", buf_name(p, b->alias));
    if (b->kind == BUF_CONST) {
        int64_t n = 1, extent;
        for (int k = 0; k < b->rank; k++)
            n = dim_is_const(b->shape[k], &extent) ? n * extent : 0;
        sb_put(p->sb, " [");
        for (int64_t k = 0; k < n; k++) {
            sb_put(p->sb, k ? ", " : "");
            put_constant(p->sb, b->dt, b->data[k]);
        }
        sb_putc(p->sb, ']');
    }
    if (b->offset) {
        sb_put(p->sb, " at ");
        dim_print(p->sb, b->offset);
    }
    sb_put(p->sb, b->written ? " written" : "");
    if (!text_same_span(b->span, p->f->span)) {
        sb_putc(p->sb, ' ');
        text_print_span(p->sb, p->m->ctx, p->m->source, b->span);
    }
    sb_putc(p->sb, '\n');
}

static void put_facts(Printer *p) {
    const LoopFunc *f = p->f;
    StrBuf *sb = p->sb;
    if (f->dims.n) {
        sb_put(sb, "  dims ");
        abi_print_dims(sb, f->dims.p, f->dims.n);
        sb_putc(sb, '\n');
    }
    sb_printf(sb, "  status null %d dim %d stop %d overflow %d\n", f->status_null, f->status_dim,
              f->status_stop, f->status_overflow);
    for (int k = 0; k < f->checks.n; k++) {
        sb_put(sb, "  check ");
        dim_print(sb, f->checks.p[k].cond);
        sb_printf(sb, " else %d\n", f->checks.p[k].status);
    }
    if (f->work_fixed && f->work_job && f->jobs) {
        sb_put(sb, "  plan fixed ");
        dim_print(sb, f->work_fixed);
        sb_put(sb, " job ");
        dim_print(sb, f->work_job);
        sb_put(sb, " jobs ");
        dim_print(sb, f->jobs);
        sb_putc(sb, '\n');
    }
    if (f->entry)
        abi_print_entry(sb, p->m->ctx, p->m->source, f->entry, 2);
}

void loop_print_func(StrBuf *sb, const LoopModule *m, const LoopFunc *f) {
    Printer p = {.sb = sb, .m = m, .f = f, .next = 1};
    p.number = ARENA_ARRAY(sb->arena, uint32_t, f->vals.n);
    sb_put(sb, "func ");
    text_print_string(sb, f->name);
    sb_printf(sb, " %s groups %d ", dtype_name(f->real), f->groups);
    text_print_span(sb, m->ctx, m->source, f->span);
    sb_put(sb, " {\n");
    put_facts(&p);
    for (int k = 0; k < f->bufs.n; k++)
        put_buf(&p, f->bufs.p[k]);
    put_body(&p, &f->body, f->span, 1);
    sb_put(sb, "}\n");
}

void loop_print_stmt(StrBuf *sb, const LoopModule *m, const LoopFunc *f, const LoopStmt *s) {
    Printer p = {.sb = sb, .m = m, .f = f, .next = 1};
    p.number = ARENA_ARRAY(sb->arena, uint32_t, f->vals.n);
    for (int k = 0; k < f->vals.n; k++)
        p.number[k] = (uint32_t)k; /* as they are in memory */
    if (s->result.id) {
        put_val(&p, s->result);
        sb_put(sb, " = ");
    }
    put_simple(&p, s);
}

void loop_print(StrBuf *sb, const LoopModule *m) {
    sb_put(sb, "loops ");
    text_print_string(sb, m->source);
    if (m->target) {
        sb_put(sb, " for ");
        text_print_string(sb, m->target->name);
    }
    sb_putc(sb, '\n');
    for (int k = 0; k < m->statuses.n; k++) {
        sb_printf(sb, "status %d ", k);
        text_print_string(sb, m->statuses.p[k].text);
        sb_putc(sb, '\n');
    }
    for (int k = 0; k < m->blocks.n; k++) {
        sb_putc(sb, '\n');
        abi_print_block(sb, m->ctx, m->source, m->blocks.p[k]);
    }
    for (int k = 0; k < m->funcs.n; k++) {
        sb_putc(sb, '\n');
        loop_print_func(sb, m, m->funcs.p[k]);
    }
}
