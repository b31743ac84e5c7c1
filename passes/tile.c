/* tile: products of tensors that are summed are computed in tiles of registers.
 *
 *   for i in 0..M { for j in 0..64 { %1 = f32 0.0
 *     %2 = for k in 0..K with %3 = %1 { yield fma(a[i, k], b[k, j], %3) }
 *     store c[i, j] = %2 } }
 *
 * becomes, with two vectors of 16 lanes along j and 14 rows of i (a and b copied into blocks of
 * 14 rows and 32 columns, a.p and b.p),
 *
 *   for jb in 0..2 { for ib in 0..M // 14 {
 *     %1, ... (28) = for k in 0..K with ... {
 *       f32x16 b.p[jb, k, 0], f32x16 b.p[jb, k, 16], for each of 14 rows a.p[ib, k, row]: 2 fma }
 *     28 stores } }  and the rows that are left
 *
 * A nest is a contraction if its body is a product of two reads and it has an output that only one
 * of them depends on, and another that only the other one depends on: matrix products in any
 * layout, convolutions in their three directions, whatever a user writes with `for`. Each sum is
 * added up in the order of the nest: no bit changes, but where a sum over images is divided into
 * jobs (divide_images in tile_plan.c), whose sums are added in order. Where the bounds of a
 * reduction depend on the row (padding), every stretch of rows has the loops that it needs, and no
 * product is computed in vain. Nests inside batches have their rows innermost and are left alone.
 *
 * A long sum goes by chunks that fit into the first cache: a tile takes its sums from the result
 * and puts them back there, still in the order of the nest.
 *
 * The choice is in tile_plan.c, dense copies in tile_dense.c, packing in tile_pack.c, the tile in
 * tile_kernel.c. It does not fuse the epilogue into the registers. */
#include "passes/collapse.h"
#include "passes/pass.h"
#include "passes/tile_priv.h"

typedef VEC(DenseCopy *) DenseCopies;

static void make_dense(Unit *u, LoopFunc *f, DenseCopies *copies) {
    LoopBody to = {0};
    for (int k = 0; k < f->body.stmts.n; k++) {
        LoopStmt *s = f->body.stmts.p[k];
        Contraction c;
        DenseCopy copy;
        if (s->kind == LOOP_FOR && tile_match(u->ctx, u->arena, u->loops, f, s, &c) &&
            tile_dense(&c, &to, &copy)) {
            copy.lanes = target_lanes(u->target, c.dt);
            vec_push(u->arena, copies, arena_dup(u->arena, &copy, sizeof copy));
        } else {
            vec_push(u->arena, &to.stmts, s);
        }
    }
    if (!copies->n)
        return;
    f->body = to;
    collapse_loops(u->ctx, u->arena, u->loops, f);
}

static const DenseCopy *copy_of(const LoopFunc *f, const DenseCopies *copies, BufId buf) {
    for (int k = 0; k < copies->n; k++)
        if (loop_storage(f, buf) == loop_storage(f, copies->p[k]->dense))
            return copies->p[k];
    return NULL;
}

/* The copy that a statement reads or writes. */
static const DenseCopy *copy_in(const LoopFunc *f, const DenseCopies *copies, const LoopStmt *s) {
    const DenseCopy *found = s->buf.id ? copy_of(f, copies, s->buf) : NULL;
    for (int k = 0; k < s->body.stmts.n && !found; k++)
        found = copy_in(f, copies, s->body.stmts.p[k]);
    return found;
}

static Str name_of(const Contraction *c) { return c->root->name ? c->root->name : c->f->name; }

/* Tiles with as many sums have spilled: the next ones have fewer. */
static int most_sums(const Unit *u, const Contraction *c) {
    int most = 0;
    for (int k = 0; k < u->n_spilled; k++)
        if (u->spilled[k].name == name_of(c) && (!most || u->spilled[k].sums <= most))
            most = u->spilled[k].sums - 1;
    return most;
}

static void emit(Unit *u, const Contraction *c, const Scheme *s, LoopBody *to) {
    LoopTile made = {name_of(c), s->vectors * s->rows};
    vec_push(u->arena, &u->loops->tiles, made);
    tile_emit(c, u->target, s, to);
}

/* if least <= extent { to be filled } else { } */
static LoopStmt *open_choice(LoopCursor *cur, int64_t least, Dim extent) {
    LVal args[2] = {loop_int(cur, (LType){DT_I64, 1}, least), loop_index(cur, extent, 1, 0)};
    return loop_if(cur, loop_let(cur, SC_le, args, 2, DT_NONE));
}

/* Few images and many have tiles of their own: with few, a factor that all images share is used
 * little.
 */
static bool tile_nest(Unit *u, Contraction *c, LoopBody *to) {
    enum { LIKELY = 16 };
    Scheme many, few, some;
    bool three = false;
    int64_t below[2];
    c->most = most_sums(u, c);
    c->rows = LIKELY;
    c->outside = -1;
    c->few = NULL;
    if (!tile_choose(c, u->target, &many))
        return false;
    if (tile_choose_known(c, u->target, &few)) {
        emit(u, c, &few, to);
        return true;
    }
    Dim rows = tile_rows(c, &many);
    int64_t least = c->f->groups;
    bool both = false;
    if (rows) {
        c->rows = 1;
        c->outside = many.partial ? -1 : many.items[0].at;
        both = tile_choose(c, u->target, &few);
    } else if (tile_choose_few(c, u->target, &many, &few, &least)) {
        both = true;
        rows = c->out[many.u].extent;
        three = tile_choose_some(c, u->target, &many, &some, below);
    }
    if (!both) {
        emit(u, c, &many, to);
        return true;
    }
    LoopCursor cur = {.m = c->m, .f = c->f, .at = to, .span = c->root->span};
    LoopStmt *s = open_choice(&cur, three ? below[1] : least, rows), *in = NULL;
    emit(u, c, &many, &s->body);
    cur.at = &s->orelse;
    if (three) {
        in = open_choice(&cur, below[0], rows);
        emit(u, c, &some, &in->body);
        cur.at = &in->orelse;
    }
    c->few = few.in_place ? NULL : rows;
    emit(u, c, &few, cur.at);
    if (in)
        loop_end(&cur, in, &s->orelse, NULL);
    loop_end(&cur, s, to, NULL);
    return true;
}

/* A nest that has no tiles, and its copy around it. */
static void keep(Unit *u, LoopFunc *f, const DenseCopies *copies, LoopStmt *s, LoopBody *to) {
    const DenseCopy *d = copies->n ? copy_in(f, copies, s) : NULL;
    LoopCursor cur = {.m = u->loops, .f = f, .at = to, .span = s->span};
    if (d && !d->result)
        tile_dense_copy(&cur, d, d->dense, NULL, 0);
    vec_push(u->arena, &to->stmts, s);
    if (d && d->result)
        tile_dense_copy(&cur, d, d->dense, NULL, 0);
}

/* The nests of a body, and of the branches in it. */
static void tile_body(Unit *u, LoopFunc *f, const DenseCopies *copies, LoopBody *body) {
    LoopBody to = {0};
    for (int k = 0; k < body->stmts.n; k++) {
        LoopStmt *s = body->stmts.p[k];
        Contraction c;
        if (s->kind == LOOP_IF) {
            tile_body(u, f, copies, &s->body);
            tile_body(u, f, copies, &s->orelse);
        }
        if (s->kind == LOOP_FOR && tile_match(u->ctx, u->arena, u->loops, f, s, &c)) {
            for (int j = 0; j < 2; j++)
                c.copy[j] = copy_of(f, copies, c.load[j]->buf);
            c.spread = copy_of(f, copies, c.store->buf);
            if (tile_nest(u, &c, &to))
                continue;
        }
        keep(u, f, copies, s, &to);
    }
    *body = to;
}

static void tile_func(Unit *u, LoopFunc *f) {
    collapse_loops(u->ctx, u->arena, u->loops, f); /* neighbouring axes: longer vectors and rows */
    DenseCopies copies = {0};
    make_dense(u, f, &copies);
    tile_body(u, f, &copies, &f->body);
}

static bool sums_up(const LoopBody *b) {
    for (int k = 0; k < b->stmts.n; k++)
        if (b->stmts.p[k]->n_carried || sums_up(&b->stmts.p[k]->body))
            return true;
    return false;
}

/* Is there a nest that might be tiled? */
static bool any_nest(const LoopBody *b) {
    for (int k = 0; k < b->stmts.n; k++) {
        const LoopStmt *s = b->stmts.p[k];
        if (s->kind == LOOP_IF && (any_nest(&s->body) || any_nest(&s->orelse)))
            return true;
        if (s->kind == LOOP_FOR && !s->parallel && sums_up(&s->body))
            return true;
    }
    return false;
}

static void keep_loops(Unit *u) {
    bool any = false;
    for (int k = 0; k < u->loops->funcs.n; k++)
        any = any || any_nest(&u->loops->funcs.p[k]->body);
    if (!any)
        return;
    u->before_tile = loop_module_copy(u->arena, u->loops);
}

void pass_tile(Unit *u) {
    if (u->keep_before_tile)
        keep_loops(u);
    for (int k = 0; k < u->loops->funcs.n; k++)
        tile_func(u, u->loops->funcs.p[k]);
}
