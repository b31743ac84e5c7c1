/* tile: products of matrices that leave the cache, by columns.
 *
 *   for jobs: columns of their own { for k chunks { pack these columns; for rows { tiles } } }
 *
 * A factor whose rows are contiguous along the sum is read where it lies: a tile of few rows meets
 * a line of each for as many steps as it has elements, and the rows of a block stay in the first
 * cache while they meet all of the job's columns. Those are packed by the job, into memory that
 * stays in the second one. Nothing is packed into far memory and read back: that costs more than
 * the packing of a small product would tell. */
#include "passes/tile_priv.h"

/* Rows of a power-of-two pitch share the sets of the first cache, which has at least so many ways.
 */
enum { WAYS = 8, PARTS = 8, NEAR = 1024 };

/* Bytes of a row of the result that a job computes, at least. */
enum { RUN = 256 };

static int64_t ceil_of(int64_t n, int64_t by) { return (n + by - 1) / by; }

static int64_t blocks_of(const Contraction *c, const Scheme *s) {
    return ceil_of(c->out[s->v].n, (int64_t)s->vectors * s->lanes);
}

static int64_t parts_of(const Contraction *c) { return c->f->groups > 1 ? c->f->groups : PARTS; }

/* Blocks of vectors that are packed together: those of a job, or half of them where whole parts
 * would be too few for all jobs. */
static int64_t group_of(const Contraction *c, const Scheme *s) {
    int64_t blocks = blocks_of(c, s), parts = parts_of(c), group = ceil_of(blocks, parts);
    return ceil_of(blocks, group) < parts ? ceil_of(group, 2) : group;
}

/* Share of the time for which jobs wait that have fewer columns than others, if all run at once. */
static double idle(const Contraction *c, const Scheme *s) {
    int64_t blocks = blocks_of(c, s), parts = parts_of(c), group = group_of(c, s),
            groups = ceil_of(blocks, group), most = ceil_of(groups, parts) * group;
    return 1 - (double)blocks / (double)(most * parts);
}

double tile_by_columns(const Contraction *c, const Target *t, const Scheme *s) {
    const double FAR = 0.96; /* of what both factors cost that are packed into far memory */
    const TileLoop *u = &c->out[s->u], *v = &c->out[s->v], *red = &c->red[0];
    const LoopStmt *a = c->load[1 - s->b];
    double size = (double)dtype_size(c->dt);
    enum { PAGE = 4096, TALL = 2 };
    int64_t coef;
    if (c->n_out != 2 || c->n_red != 1 || !s->direct_out || s->rows > WAYS || c->copy[0] ||
        c->copy[1] || c->spread || u->n <= 0 || v->n <= 0 || red->n <= 0 ||
        !tile_plain_range(red) || tile_axis(c, a, red->sym, &coef) != a->rank - 1 || coef != 1 ||
        dim_mentions(a->subs[a->rank - 1], u->sym) || blocks_of(c, s) < parts_of(c))
        return 0;
    double rows = (double)u->n, columns = (double)v->n, length = size * (double)red->n;
    double cells = rows * (double)(group_of(c, s) * s->vectors * s->lanes);
    /* small factors are packed in no time; and a job writes runs of some lines */
    if (length * (rows + columns) <= (double)t->l2_bytes ||
        columns * size < RUN * (double)parts_of(c))
        return 0;
    /* several rows in a page are not fetched ahead by themselves: not to be read from far too often
     */
    if (length < PAGE && length * rows > (double)t->l2_bytes && rows > TALL * columns)
        return 0;
    /* the epilogue finds a job's cells in the second cache */
    if (c->n_post && cells * size > (double)t->l2_bytes / 2)
        return 0;
    return FAR + idle(c, s) / 8;
}

void tile_columns(const Contraction *c, const Target *t, Scheme *s) {
    enum { LEAST = 256 }; /* values of the sum, so that the result is seldom read and written */
    int64_t step = (int64_t)dtype_size(c->dt) * s->vectors * s->lanes, k = c->red[0].n,
            room = t->l2_bytes / 2 / step, group = group_of(c, s);
    while (group > 1 && room / group < LEAST && room / group < k)
        group = ceil_of(group, 2);
    int64_t most = room / group > 0 ? room / group : 1;
    s->n_items = 0;
    if (k > most) { /* parts of the same size */
        s->chunk = ceil_of(ceil_of(k, ceil_of(k, most)), s->lanes) * s->lanes;
        s->split = true;
        s->items[s->n_items++] = (TileItem){TILE_RED, 0};
    }
    s->job = -1;
    s->jobs = 1;
    s->group = (int)group;
    int64_t groups = ceil_of(blocks_of(c, s), group);
    if (c->f->groups > 1) {
        s->job = s->n_items;
        s->jobs = groups < c->f->groups ? (int)groups : c->f->groups;
    }
    s->items[s->n_items++] = (TileItem){TILE_V_GROUPS, s->v};
    s->items[s->n_items++] = (TileItem){TILE_U_BLOCKS, s->u};
}

/* Rows whose number is known when it runs: they are packed before the jobs, the last block padded.
 * Fewer do not pay for packing the columns; a job of many has rows of its own. */
bool tile_choose_some(const Contraction *c, const Target *t, const Scheme *many, Scheme *some,
                      int64_t below[2]) {
    enum { FROM = 24, BELOW = 1024 };
    double best = 1e30;
    if (c->out[many->v].n * (int64_t)dtype_size(c->dt) < RUN * parts_of(c) || c->red[0].n <= 0 ||
        !tile_plain_range(&c->red[0]))
        return false;
    Scheme s = {.v = many->v, .u = many->u, .b = many->b, .lanes = many->lanes};
    s.pack_a = s.direct_out = s.by_columns = true;
    s.chunk = s.n_inner = 1;
    for (s.vectors = 1; s.vectors <= TILE_V; s.vectors++)
        for (s.rows = 1; s.rows <= WAYS; s.rows++) {
            if (c->out[s.v].n % (s.vectors * s.lanes) || !tile_fits(c, t, s.vectors, s.rows) ||
                blocks_of(c, &s) < parts_of(c))
                continue;
            s.cost = tile_step_cost(c, s.vectors, s.rows) / (s.vectors * s.rows);
            s.cost *= 1 + idle(c, &s);
            if (s.cost < best * 0.999) {
                best = s.cost;
                *some = s;
            }
        }
    if (best > 1e29)
        return false;
    tile_columns(c, t, some);
    some->n_pieces = 1;
    some->pieces[0] =
        (TilePiece){.lo = dim_const(c->ctx, 0),
                    .hi = dim_ceildiv(c->ctx, c->out[s.u].extent, dim_const(c->ctx, some->rows)),
                    .rows = some->rows,
                    .fixed = -1,
                    .padded = true};
    some->place_b = some->split ? 2 : 1;
    some->place_out = some->split ? 0 : 1;
    some->ahead = NEAR / (int64_t)dtype_size(c->dt);
    below[0] = FROM;
    below[1] = BELOW;
    return some->pieces[0].hi != NULL;
}
