/* to_loops: rows of residuals that are folded instead of kept.
 *
 * A fit by least squares wants all rows [J, residual] in its triangle (rt_qr_rows). Where one batch
 * computes them, a group of its slices fills a block of 256 rows and folds it into a triangle of
 * its own; triangles of groups are blocks in turn, in order. So a pass over the rows needs the
 * memory of one block a group, and no bit depends on threads. In a pass of refinement (ctl says so)
 * the same blocks are summed up in a part for each group. */
#include "passes/to_loops.h"

enum { BLOCK = 256, PART = 64 }; /* rows; words before those of a part that p counts (rt_fit.h) */

static Ctx *ctx_of(const LowerBuilder *lb) { return lb->c.m->ctx; }

bool fold_possible(const Func *body, RowFold *f) {
    Val v = body->results.p[0].val;
    const Inst *i = graph_def(body, v);
    const BatchAttr *a = i && i->op == &op_batch ? i->attr : NULL;
    if (!a || a->results[v.id - i->first.id] != BATCH_CAT || a->rows == 1 || BLOCK % a->rows)
        return false;
    for (int k = 1; k < body->results.n; k++)
        if (body->results.p[k].val.id == v.id)
            return false;
    for (int k = 0; k < body->insts.n; k++)
        for (int j = 0; j < body->insts.p[k]->n_args; j++)
            if (body->insts.p[k]->args[j].id == v.id)
                return false;
    f->func = body;
    f->rows = v;
    return true;
}

int64_t fold_groups_of(const RowFold *f) {
    return ((const BatchAttr *)graph_def(f->func, f->rows)->attr)->groups;
}

/* ---- calls */

static LVal let(LowerBuilder *lb, ScalarOp op, LVal a, LVal b) {
    return loop_let(&lb->c, op, (LVal[]){a, b}, 2, DT_NONE);
}

static LVal number(LowerBuilder *lb, int64_t k) { return loop_int(&lb->c, (LType){DT_I64, 1}, k); }

/* bufs: from group `at` of those that have groups (rank 2 or 3 with a Dim), else from the first
 * element. */
static void call(LowerBuilder *lb, const char *name, const BufId *bufs, const Dim *at, int n_bufs,
                 const LVal *args, int n) {
    Ctx *ctx = ctx_of(lb);
    const Dim *subs[2];
    for (int k = 0; k < n_bufs; k++) {
        Dim *s = ARENA_ARRAY(&ctx->perm, Dim, MAX_RANK);
        for (int a = 0; a < MAX_RANK; a++)
            s[a] = dim_const(ctx, 0);
        if (at[k])
            s[0] = at[k];
        subs[k] = s;
        LoopBuf *b = loop_storage(lb->c.f, bufs[k]);
        b->written |= b->kind == BUF_WORK || b->kind == BUF_JOB;
    }
    loop_call(&lb->c, str_of(ctx, name), bufs, subs, n_bufs, args, n, (LType){DT_NONE, 0});
}

static LVal is_refinement(LowerBuilder *lb, const RowFold *f) {
    Dim zero = dim_const(ctx_of(lb), 0);
    return let(lb, SC_eq, loop_load(&lb->c, f->ctl, &zero), number(lb, 2));
}

/* ---- the job of a group */

typedef struct ZeroCell {
    BufId to;
    Dim group;
} ZeroCell;

static void zero_cell(LowerBuilder *lb, const Dim *subs, void *arg) {
    const ZeroCell *z = arg;
    Dim at[3] = {z->group, subs[0], subs[1]};
    loop_store(&lb->c, z->to, at, loop_real(&lb->c, (LType){DT_F64, 1}, 0));
}

BufId fold_begin(LowerBuilder *lb, const RowFold *f, Dim group) {
    Ctx *ctx = ctx_of(lb);
    Dim q = dim_addk(ctx, f->p, 1), shape[2] = {dim_const(ctx, BLOCK), q}, square[2] = {q, q};
    LVal p = loop_index(&lb->c, f->p, 1, 0);
    if (f->parts.id)
        call(lb, "lsq_part", (BufId[]){f->parts, f->state}, (Dim[]){group, NULL}, 2, &p, 1);
    ZeroCell z = {f->triangles, group};
    lower_cells(lb, 2, arena_dup(&ctx->perm, square, sizeof square), zero_cell, &z);
    Type t = type_new(ctx, DT_F64, 2, shape);
    return lower_new_buf(lb, t, str_of(ctx, "block"), lb->c.span);
}

typedef struct CopyCell {
    const FoldSlice *s;
    BufId block;
    Dim at; /* row of the block that the slice starts at */
} CopyCell;

/* One column: the slice's rows. */
static void copy_cell(LowerBuilder *lb, const Dim *subs, void *arg) {
    const CopyCell *k = arg;
    Ctx *ctx = ctx_of(lb);
    LoopBody *outer = lb->c.at;
    DimSym row = nest_index(ctx, "row");
    Dim zero = dim_const(ctx, 0), hi = dim_const(ctx, k->s->rows);
    LoopStmt *loop = loop_for(&lb->c, row, &zero, 1, &hi, 1, 1, NULL, 0);
    Dim from[2] = {subs[0], dim_of(ctx, row)},
        to[2] = {dim_add(ctx, k->at, dim_of(ctx, row)), subs[0]};
    loop_store(&lb->c, k->block, to, loop_load(&lb->c, k->s->from, from));
    loop_end(&lb->c, loop, outer, NULL);
}

/* Rows in the block, of which this slice is the last: those of the whole slices before it and its
 * own. */
static LVal rows_in(LowerBuilder *lb, const FoldSlice *s, Dim at) {
    LVal full = loop_index(&lb->c, dim_addk(ctx_of(lb), at, s->rows), 1, 0);
    LVal left = loop_index(&lb->c, dim_add(ctx_of(lb), at, s->left), 1, 0);
    LVal args[3] = {let(lb, SC_lt, left, full), left, full};
    return loop_let(&lb->c, SC_select, args, 3, DT_NONE);
}

void fold_slice(LowerBuilder *lb, const RowFold *f, BufId block, const FoldSlice *s) {
    Ctx *ctx = ctx_of(lb);
    LoopCursor *c = &lb->c;
    int64_t each = BLOCK / s->rows;
    Dim in_block = dim_mod(ctx, s->first, dim_const(ctx, each)),
        at = dim_scale(ctx, in_block, s->rows), q = dim_addk(ctx, f->p, 1),
        next = dim_addk(ctx, s->number, 1);
    CopyCell cell = {s, block, at};
    lower_cells(lb, 1, arena_dup(&ctx->perm, &q, sizeof q), copy_cell, &cell);
    LVal full = let(lb, SC_eq, loop_index(c, in_block, 1, 0), number(lb, each - 1)),
         last = let(lb, SC_eq, loop_index(c, next, 1, 0), loop_index(c, s->slices, 1, 0)),
         end = let(lb, SC_eq, loop_index(c, next, 1, 0), loop_index(c, s->end, 1, 0));
    LoopBody *outer = c->at;
    LoopStmt *flush = loop_if(c, let(lb, SC_or, full, let(lb, SC_or, last, end)));
    LVal rows = rows_in(lb, s, at), width = loop_index(c, q, 1, 0), p = loop_index(c, f->p, 1, 0);
    LoopBody *inner = c->at;
    LoopStmt *which = loop_if(c, is_refinement(lb, f));
    if (f->parts.id)
        call(lb, "lsq_rows", (BufId[]){f->parts, block}, (Dim[]){s->group, NULL}, 2,
             (LVal[]){rows, p}, 2);
    c->at = &which->orelse;
    call(lb, "qr_rows", (BufId[]){f->triangles, block}, (Dim[]){s->group, NULL}, 2,
         (LVal[]){rows, width}, 2);
    loop_end(c, which, inner, NULL);
    loop_end(c, flush, outer, NULL);
}

/* ---- all groups */

void fold_end(LowerBuilder *lb, const RowFold *f) {
    Ctx *ctx = ctx_of(lb);
    LoopCursor *c = &lb->c;
    LoopBody *outer = c->at;
    Dim q = dim_addk(ctx, f->p, 1), zero = dim_const(ctx, 0),
        groups = dim_const(ctx, fold_groups_of(f));
    LoopStmt *which = loop_if(c, is_refinement(lb, f));
    DimSym g = nest_index(ctx, "group");
    LoopBody *inner = c->at;
    if (f->parts.id) {
        LVal p = loop_index(c, f->p, 1, 0);
        LoopStmt *s = loop_for(c, g, &zero, 1, &groups, 1, 1, NULL, 0);
        call(lb, "lsq_join", (BufId[]){f->state, f->parts}, (Dim[]){NULL, dim_of(ctx, g)}, 2, &p,
             1);
        loop_end(c, s, inner, NULL);
    }
    c->at = &which->orelse;
    LVal width = loop_index(c, q, 1, 0);
    lower_fill(lb, f->r, (ScalarValue){0});
    inner = c->at;
    g = nest_index(ctx, "group");
    LoopStmt *s = loop_for(c, g, &zero, 1, &groups, 1, 1, NULL, 0);
    call(lb, "qr_rows", (BufId[]){f->r, f->triangles}, (Dim[]){NULL, dim_of(ctx, g)}, 2,
         (LVal[]){width, width}, 2);
    loop_end(c, s, inner, NULL);
    loop_end(c, which, outer, NULL);
}
