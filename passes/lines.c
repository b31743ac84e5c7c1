#include "passes/lines.h"

enum { LINE = 64, LEAST_TRIPS = 8, FAR = 1 << 15 /* bytes that leave the first cache */ };

/* Vectors of consecutive elements, one for each iteration; past: by how many these begin behind the
 * index, modulo a vector. */
static bool is_vector(Ctx *ctx, const LoopStmt *loop, const LoopStmt *s, int64_t *past) {
    Dim coef, rest;
    if (s->type.lanes != loop->step || s->lane_axis != s->rank - 1 || s->lane_step != 1 ||
        s->active || s->sub_vals || s->checked || s->status >= 0)
        return false;
    for (int a = 0; a + 1 < s->rank; a++)
        if (dim_mentions(s->subs[a], loop->index))
            return false;
    if (!dim_linear_in(ctx, s->subs[s->rank - 1], loop->index, &coef, &rest) ||
        coef != dim_const(ctx, 1) || !dim_is_const(rest, past))
        return false;
    *past = (*past % loop->step + loop->step) % loop->step;
    return true;
}

/* Lane by lane: iterations may take other lanes together. */
static bool by_lanes(Ctx *ctx, const LoopStmt *loop) {
    int64_t past;
    for (int k = 0; k < loop->body.stmts.n; k++) {
        const LoopStmt *s = loop->body.stmts.p[k];
        bool let = s->kind == LOOP_LET && !(scalar_def(s->op)->flags & SF_LANES);
        if (s->kind != LOOP_YIELD && !let &&
            !(s->kind == LOOP_LOAD && is_vector(ctx, loop, s, &past)))
            return false;
    }
    return true;
}

/* Does every carried value begin with a constant, the same in all lanes? */
static bool begins_alike(const LoopStmt *loop, const LoopBody *around) {
    for (int k = 0; k < loop->n_carried; k++) {
        bool constant = false;
        for (int j = 0; j < around->stmts.n && around->stmts.p[j] != loop; j++)
            constant |= around->stmts.p[j]->kind == LOOP_CONST &&
                        around->stmts.p[j]->result.id == loop->init[k].id;
        if (!constant || loop->carried[k].lanes != loop->step ||
            !dtype_is_real(loop->carried[k].dt) ||
            loop->step * (int64_t)dtype_size(loop->carried[k].dt) != LINE)
            return false;
    }
    return loop->n_carried > 0;
}

static bool is_long(const LoopStmt *loop) {
    int64_t lo, hi;
    return loop->n_lo == 1 && loop->n_hi == 1 && dim_is_const(loop->lo[0], &lo) &&
           dim_is_const(loop->hi[0], &hi) && (hi - lo) % loop->step == 0 && lo % loop->step == 0 &&
           hi - lo >= LEAST_TRIPS * loop->step;
}

/* A caller's buffer with many rows, which all begin at the same place within a line. */
static bool has_rows(Ctx *ctx, const LoopFunc *f, const LoopStmt *loop, const LoopStmt *load) {
    const LoopBuf *b = loop_bufp(f, load->buf);
    int64_t past, extent = 0, bytes = (int64_t)dtype_size(b->dt);
    for (int a = 0; a < b->rank; a++) {
        if (!dim_is_const(b->shape[a], &extent))
            return false;
        bytes *= extent;
    }
    return loop_storage(f, load->buf)->kind == BUF_ARG && b->rank > 1 && extent % loop->step == 0 &&
           bytes >= FAR && is_vector(ctx, loop, load, &past) && past == 0;
}

static void mark(Ctx *ctx, LoopFunc *f, const LoopBody *around, LoopStmt *loop) {
    if (loop->kind != LOOP_FOR || loop->parallel || loop->n_args || loop->need || !is_long(loop) ||
        !begins_alike(loop, around) || !by_lanes(ctx, loop))
        return;
    int rows = 0, others = 0;
    for (int k = 0; k < loop->body.stmts.n; k++) {
        const LoopStmt *s = loop->body.stmts.p[k];
        if (s->kind != LOOP_LOAD)
            continue;
        if (has_rows(ctx, f, loop, s) && (!loop->lines.id || loop->lines.id == s->buf.id)) {
            loop->lines = s->buf;
            rows++;
        } else {
            others++;
        }
    }
    if (rows <= others)
        loop->lines = (BufId){0};
}

/* inside: in a loop. */
static void visit(Ctx *ctx, LoopFunc *f, LoopBody *b, bool inside) {
    for (int k = 0; k < b->stmts.n; k++) {
        LoopStmt *s = b->stmts.p[k];
        if (inside)
            mark(ctx, f, b, s);
        visit(ctx, f, &s->body, s->kind == LOOP_FOR ? !s->parallel : inside);
        visit(ctx, f, &s->orelse, inside);
    }
}

void lines_mark(Ctx *ctx, LoopFunc *f, const Target *target) {
    if (target->vector_bytes == LINE)
        visit(ctx, f, &f->body, false);
}
