/* tile: few rows of a factor that all of them share.
 *
 * A dense layer with few rows reads its weights once or twice; packing them costs more than it
 * gains. Their rows are contiguous, so the vectors of a step are loaded from where they are, and
 * fetched some steps before. The other factor is packed in blocks of rows, the last of which is
 * padded. Jobs take blocks of vectors: each reads weights of its own. Of weights that leave the
 * second cache they take some rows at a time, each of which is then read in one run of memory: down
 * a column, every step would be in another page. */
#include "passes/tile_priv.h"

/* Rows from which packing pays: it takes about as long as a few rows of tiles. */
enum { BELOW = 80, LIKELY = 16, MOST_ROWS = 8 };

/* Rows of a tile where their number is known, as far as they pay; rows of weights that are read
 * side by side, and the bytes of each that a job reads, at least. */
enum { KNOWN_ROWS = 16, CHUNK = 32, RUN = 256 };

/* Cycles for a lane of a step for the likely number of rows: the first block waits for memory, the
 * others find in the second cache what it has read. */
static double cost_of(const Contraction *c, const Scheme *s) {
    const double stream = 10; /* bytes in a cycle, about */
    double bytes = (double)dtype_size(c->dt) * s->vectors * s->lanes,
           step = tile_step_cost(c, s->vectors, s->rows), first = bytes / stream;
    const TileLoop *u = &c->out[s->u];
    int blocks = ((u->n > 0 ? (int)u->n : LIKELY) + s->rows - 1) / s->rows;
    return ((first > step ? first : step) + (blocks - 1) * step) / (s->vectors * s->lanes);
}

/* Bytes of the factor that the vectors are read from; 0: not known. */
static double bytes_of(const Contraction *c, const Scheme *s) {
    const LoopBuf *buf = loop_bufp(c->f, c->load[s->b]->buf);
    double bytes = (double)dtype_size(c->dt);
    int64_t n;
    for (int a = 0; a < buf->rank; a++)
        bytes *= dim_is_const(buf->shape[a], &n) ? (double)n : 0;
    return bytes;
}

static bool is_few(const TileLoop *u) {
    DimSym rows = dim_as_symbol(u->extent);
    return u->n > 0 ? u->n > 1 && u->n <= KNOWN_ROWS : rows && !rows->is_index;
}

/* Is a row of the vectors' factor contiguous, for one reduction, and is the other factor packed? */
static bool allowed(const Contraction *c, const Target *t, const Scheme *many) {
    const LoopStmt *b = c->load[many->b];
    const TileLoop *v = &c->out[many->v];
    int64_t coef;
    if (c->n_out != 2 || c->n_red != 1 || !many->pack_a || !many->direct_out || many->partial ||
        c->copy[0] || c->copy[1] || c->spread || !is_few(&c->out[many->u]) || v->n <= 0 ||
        v->n % many->lanes || tile_axis(c, b, v->sym, &coef) != b->rank - 1 || coef != 1)
        return false;
    return bytes_of(c, many) > (double)t->l2_bytes / 4; /* less is packed in no time */
}

/* Do vectors run along the rows of one factor and of the result, and varies the other one with u?
 */
static bool oriented(const Contraction *c, int b, int v) {
    int64_t coef = 0;
    const LoopStmt *with[3] = {c->load[b], c->store, c->init};
    for (int k = 0; k < 3; k++)
        if ((with[k]->kind == LOOP_LOAD || with[k]->kind == LOOP_STORE) &&
            (tile_axis(c, with[k], c->out[v].sym, &coef) != with[k]->rank - 1 || coef != 1))
            return false;
    if (tile_axis(c, c->load[1 - b], c->out[1 - v].sym, &coef) < 0 ||
        tile_axis(c, c->load[1 - b], c->red[0].sym, &coef) < 0)
        return false; /* it cannot be packed */
    return !tile_in(c->load[1 - b], c->out[v].sym) && !tile_in(c->load[b], c->out[1 - v].sym);
}

bool tile_choose_known(const Contraction *c, const Target *t, Scheme *few) {
    int64_t below;
    if (c->n_out != 2 || c->n_red != 1 || !tile_plain_range(&c->red[0]))
        return false;
    for (int b = 0; b < 2; b++)
        for (int v = 0; v < 2; v++) {
            Scheme s = {.v = v,
                        .u = 1 - v,
                        .b = b,
                        .lanes = target_lanes(t, c->dt),
                        .pack_a = true,
                        .direct_out = true};
            double run = (double)c->out[v].n * (double)dtype_size(c->dt) / c->f->groups;
            if (c->out[s.u].n > 0 && run >= RUN && oriented(c, b, v) &&
                tile_choose_few(c, t, &s, few, &below))
                return true;
        }
    return false;
}

bool tile_choose_few(const Contraction *c, const Target *t, const Scheme *many, Scheme *few,
                     int64_t *below) {
    if (!allowed(c, t, many))
        return false;
    double best = 1e30;
    Scheme s = {.v = many->v, .u = many->u, .b = many->b, .lanes = many->lanes, .group = 1};
    s.pack_a = s.direct_out = s.in_place = true;
    s.chunk = s.n_inner = 1;
    if (c->red[0].n > 2 * CHUNK && tile_plain_range(&c->red[0]) &&
        bytes_of(c, many) > (double)t->l2_bytes) {
        s.split = true;
        s.chunk = CHUNK;
        s.items[s.n_items++] = (TileItem){TILE_RED, 0};
    }
    s.items[s.n_items++] = (TileItem){TILE_V_GROUPS, s.v};
    s.items[s.n_items++] = (TileItem){TILE_U_BLOCKS, s.u};
    s.place_b = -1;
    s.place_out = s.split ? 0 : 1;
    int most = c->out[s.u].n > 0 ? KNOWN_ROWS : MOST_ROWS;
    for (s.vectors = 1; s.vectors <= TILE_V; s.vectors++)
        for (s.rows = 1; s.rows <= most; s.rows++) {
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
    few->job = few->jobs > 1 ? few->n_items - 2 : -1;
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
