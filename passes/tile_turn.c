/* tile: transposed copies in registers. A square of lanes x lanes elements is loaded by rows,
 * zipped log2(lanes) times, and stored by columns: zip(v[i], v[i + n/2]) for all i rotates the bits
 * of (row, column) by one place. */
#include "passes/tile_emit.h"

enum { MOST_LANES = 16 };

/* The buffer with its axes from .. from + n - 1 as one. */
BufId tile_merged(TileEmit *e, BufId buf, int from, int n) {
    const Contraction *c = e->c;
    LoopBuf b = *loop_bufp(c->f, buf);
    Dim shape[MAX_RANK + 2], one = dim_const(c->ctx, 1);
    int rank = 0;
    if (n == 1)
        return buf;
    for (int a = 0; a < b.rank; a++) {
        if (a >= from && a < from + n)
            one = dim_mul(c->ctx, one, b.shape[a]);
        else
            shape[rank++] = b.shape[a];
        if (a == from + n - 1)
            shape[rank++] = one;
    }
    b.kind = BUF_ALIAS;
    b.alias = buf;
    b.offset = NULL;
    b.data = NULL;
    b.written = false;
    b.rank = rank;
    b.shape = shape;
    return one ? loop_buf(c->m, c->f, b) : (BufId){0};
}

static const Dim *moved(const TileEmit *e, const Dim *subs, int rank, int axis, int64_t by) {
    Dim *to = arena_dup(e->c->arena, subs, sizeof *to * (size_t)rank);
    to[axis] = dim_addk(e->c->ctx, to[axis], by);
    return to;
}

/* All of n lanes where more than i are left, else none. */
static Dim if_left(const TileEmit *e, Dim left, int i, int n) {
    int64_t k;
    if (left && dim_is_const(left, &k))
        return k > i ? NULL : dim_const(e->c->ctx, 0);
    return left ? dim_scale(e->c->ctx, dim_addk(e->c->ctx, left, -i), n) : NULL;
}

static bool none(Dim active) { return active && dim_is_zero(active); }

static void square(TileEmit *e, const Turn *t, Dim rows_left, Dim lanes_left) {
    LoopCursor *c = &e->cur;
    int n = e->s->lanes;
    LVal v[MOST_LANES], next[MOST_LANES];
    int from_rank = loop_bufp(e->c->f, t->from)->rank, to_rank = loop_bufp(e->c->f, t->to)->rank;
    for (int i = 0; i < n; i++) {
        if (i >= t->n_from) {
            v[i] = v[0]; /* columns past the end are not stored */
            continue;
        }
        const Dim *subs = moved(e, t->from_subs, from_rank, t->from_axis, i * t->from_step);
        Dim active = lanes_left ? lanes_left : if_left(e, rows_left, i, n);
        if (none(active)) {
            v[i] = v[0];
            continue;
        }
        v[i] = loop_load_lanes(c, t->from, subs, n, active)->result;
    }
    for (int half = n / 2, round = 1; round < n; round *= 2) {
        for (int i = 0; i < half; i++) {
            LVal pair[2] = {v[i], v[i + half]};
            next[2 * i] = loop_let(c, SC_zip_low, pair, 2, DT_NONE);
            next[2 * i + 1] = loop_let(c, SC_zip_high, pair, 2, DT_NONE);
        }
        for (int i = 0; i < n; i++)
            v[i] = next[i];
    }
    for (int i = 0; i < n; i++) {
        const Dim *subs = moved(e, t->to_subs, to_rank, t->to_axis, i * t->to_step);
        Dim active = rows_left ? rows_left : if_left(e, lanes_left, i, n);
        if (none(active))
            continue;
        LoopStmt *s = loop_store(c, t->to, subs, v[i]);
        s->active = active || t->n_from == n ? active : dim_const(e->c->ctx, t->n_from);
    }
}

void tile_turn(TileEmit *e, const Turn *t, DimSym at, Dim from, Dim end) {
    Ctx *ctx = e->c->ctx;
    int lanes = e->s->lanes;
    Dim count = dim_sub(ctx, end, from), size = dim_const(ctx, lanes);
    Dim whole = dim_scale(ctx, dim_floordiv(ctx, count, size), lanes),
        past = dim_sub(ctx, count, whole);
    Dim full = dim_add(ctx, from, whole);
    LoopBody *outer = e->cur.at;
    if (!dim_is_zero(whole)) {
        LoopStmt *s = loop_for(&e->cur, at, &from, 1, &full, 1, lanes, NULL, 0);
        square(e, t, NULL, NULL);
        loop_end(&e->cur, s, outer, NULL);
    }
    if (dim_is_zero(past))
        return;
    LoopStmt *s = loop_for(&e->cur, at, &full, 1, &end, 1, lanes, NULL, 0);
    square(e, t, t->by_rows ? past : NULL, t->by_rows ? NULL : past);
    loop_end(&e->cur, s, outer, NULL);
}
