/* tile: few rows of a factor that all of them share.
 *
 * A dense layer with few rows reads its weights once or twice; packing them costs more than it
 * gains. Their rows are contiguous, so the vectors of a step are loaded from where they are, and
 * fetched some steps before. The other factor is packed in blocks of rows, the last of which is
 * padded. Jobs take blocks of vectors: each reads weights of its own. */
#include "passes/tile_priv.h"

/* Rows from which packing pays: it takes about as long as a few rows of tiles. */
enum { BELOW = 80, LIKELY = 16, MOST_ROWS = 8 };

/* Cycles for a lane of a step for the likely number of rows: the first block waits for memory, the
 * others find in the second cache what it has read. */
static double cost_of(const Contraction *c, const Scheme *s) {
    const double stream = 10; /* bytes in a cycle, about */
    double bytes = (double)dtype_size(c->dt) * s->vectors * s->lanes,
           step = tile_step_cost(c, s->vectors, s->rows), first = bytes / stream;
    int blocks = (LIKELY + s->rows - 1) / s->rows;
    return ((first > step ? first : step) + (blocks - 1) * step) / (s->vectors * s->lanes);
}

/* Is a row of the vectors' factor contiguous, for one reduction, and is the other factor packed? */
static bool allowed(const Contraction *c, const Target *t, const Scheme *many) {
    const LoopStmt *b = c->load[many->b];
    const TileLoop *u = &c->out[many->u], *v = &c->out[many->v];
    const LoopBuf *buf = loop_bufp(c->f, b->buf);
    double bytes = (double)dtype_size(c->dt);
    int64_t coef, n;
    DimSym rows = dim_as_symbol(u->extent);
    if (c->n_out != 2 || c->n_red != 1 || !many->pack_a || !many->direct_out || many->partial ||
        c->copy[0] || c->copy[1] || c->spread || u->n > 0 || !rows || rows->is_index || v->n <= 0 ||
        v->n % many->lanes || tile_axis(c, b, v->sym, &coef) != b->rank - 1 || coef != 1)
        return false;
    for (int a = 0; a < buf->rank; a++)
        bytes *= dim_is_const(buf->shape[a], &n) ? (double)n : 0;
    return bytes > (double)t->l2_bytes / 4; /* less is packed in no time */
}

bool tile_choose_few(const Contraction *c, const Target *t, const Scheme *many, Scheme *few,
                     int64_t *below) {
    if (!allowed(c, t, many))
        return false;
    double best = 1e30;
    Scheme s = {.v = many->v, .u = many->u, .b = many->b, .lanes = many->lanes, .group = 1};
    s.pack_a = s.direct_out = s.in_place = true;
    s.n_items = 2;
    s.items[0] = (TileItem){TILE_V_GROUPS, s.v};
    s.items[1] = (TileItem){TILE_U_BLOCKS, s.u};
    s.chunk = s.n_inner = 1;
    s.place_b = -1;
    s.place_out = 1;
    for (s.vectors = 1; s.vectors <= TILE_V; s.vectors++)
        for (s.rows = 1; s.rows <= MOST_ROWS; s.rows++) {
            if (c->out[s.v].n % (s.vectors * s.lanes) || !tile_fits(c, t, s.vectors, s.rows))
                continue;
            s.cost = cost_of(c, &s);
            if (s.cost < best * 0.999) {
                best = s.cost;
                *few = s;
            }
        }
    if (best > 1e29)
        return false;
    int64_t blocks = c->out[s.v].n / (few->vectors * few->lanes);
    few->jobs = blocks < c->f->groups ? (int)blocks : c->f->groups;
    few->job = few->jobs > 1 ? 0 : -1;
    few->n_pieces = 1;
    few->pieces[0] =
        (TilePiece){.lo = dim_const(c->ctx, 0),
                    .hi = dim_ceildiv(c->ctx, c->out[s.u].extent, dim_const(c->ctx, few->rows)),
                    .rows = few->rows,
                    .fixed = -1,
                    .padded = true};
    *below = BELOW;
    return few->pieces[0].hi != NULL;
}
