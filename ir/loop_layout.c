/* Where work buffers lie. A call's arena, at `work` rounded up to 64 bytes, holds the BUF_WORK
 * buffers (work_fixed bytes), then `jobs` arenas of work_job bytes, one for each iteration of a
 * parallel loop. */
#include "base/diag.h"
#include "ir/loop.h"

enum { LINE = 64 };

Dim loop_round_up(Ctx *ctx, Dim bytes) {
    return bytes ? dim_scale(ctx, dim_ceildiv(ctx, bytes, dim_const(ctx, LINE)), LINE) : NULL;
}

Dim loop_buf_bytes(Ctx *ctx, const LoopBuf *b) {
    Dim bytes = dim_const(ctx, (int64_t)dtype_size(b->dt));
    for (int k = 0; k < b->rank; k++)
        bytes = dim_mul(ctx, bytes, b->shape[k]);
    return loop_round_up(ctx, bytes);
}

/* The most iterations of a parallel loop: from a constant bound if it has one. */
static Dim iterations(Ctx *ctx, const LoopStmt *s) {
    Dim lo = s->lo[0], hi = s->hi[0];
    for (int k = 0; k < s->n_lo; k++)
        lo = dim_is_const(s->lo[k], NULL) ? s->lo[k] : lo;
    for (int k = 0; k < s->n_hi; k++)
        hi = dim_is_const(s->hi[k], NULL) ? s->hi[k] : hi;
    return dim_ceildiv(ctx, dim_sub(ctx, hi, lo), dim_const(ctx, s->step));
}

/* At least `jobs`, and those of any parallel loop: it stands at the top, or in `while` or `if`. */
static Dim most_jobs(Ctx *ctx, const LoopBody *b, Dim jobs) {
    DimFacts none = {0};
    for (int k = 0; k < b->stmts.n; k++) {
        const LoopStmt *s = b->stmts.p[k];
        if (s->kind == LOOP_WHILE || s->kind == LOOP_IF)
            jobs = most_jobs(ctx, &s->orelse, most_jobs(ctx, &s->body, jobs));
        if (!jobs || s->kind != LOOP_FOR || !s->parallel)
            continue;
        Dim n = iterations(ctx, s);
        if (!n || dim_prove_nonneg(ctx, &none, dim_sub(ctx, jobs, n)))
            continue;
        jobs = dim_prove_nonneg(ctx, &none, dim_sub(ctx, n, jobs)) ? n : dim_add(ctx, jobs, n);
    }
    return jobs;
}

void loop_set_work(LoopModule *m, LoopFunc *f, Dim fixed, Dim job) {
    Ctx *ctx = m->ctx;
    Dim total = job && dim_is_zero(job) ? fixed : NULL;
    f->jobs = most_jobs(ctx, &f->body, dim_const(ctx, 0));
    if (!total && fixed && job && f->jobs)
        total = dim_add(ctx, fixed, dim_mul(ctx, f->jobs, job));
    if (total && !dim_is_zero(total))
        total = dim_addk(ctx, total, LINE - 1);
    if (!total) {
        diag_error(ctx, "E0803", f->span, "the work memory of `%s` is too large to be addressed",
                   f->name);
        fixed = job = total = dim_const(ctx, 0);
    }
    f->work_fixed = fixed;
    f->work_job = job;
    if (f->entry)
        f->entry->work_bytes = total;
}

static Dim place(Ctx *ctx, LoopBuf *b, Dim end) {
    Dim bytes = loop_buf_bytes(ctx, b);
    b->offset = end ? end : dim_const(ctx, 0);
    return end && bytes ? dim_add(ctx, end, bytes) : NULL;
}

void loop_assign_offsets(LoopModule *m) {
    for (int n = 0; n < m->funcs.n; n++) {
        LoopFunc *f = m->funcs.p[n];
        if (f->work_fixed)
            continue;
        Dim fixed = dim_const(m->ctx, 0), job = fixed;
        for (int k = 0; k < f->bufs.n; k++) {
            if (f->bufs.p[k]->kind == BUF_WORK)
                fixed = place(m->ctx, f->bufs.p[k], fixed);
            else if (f->bufs.p[k]->kind == BUF_JOB)
                job = place(m->ctx, f->bufs.p[k], job);
        }
        loop_set_work(m, f, fixed, job);
    }
}
