#include "passes/joint.h"

enum { MOST_OUTS = 12, MOST_PARTS = 16, MOST_SHARED = 32, LEAST = 4 };

/* A nest, and which of its output loops is divided. */
typedef struct Part {
    LoopStmt *top, *x, *outs[MOST_OUTS];
    int n_outs;
    LoopAccesses all;
} Part;

/* A buffer that a part of the run stores to, and its axis along which the run is divided. */
typedef struct Shared {
    const LoopBuf *buf;
    int axis;
} Shared;

typedef struct Joint {
    Ctx *ctx;
    Arena *arena;
    LoopModule *m;
    LoopFunc *f;
    const Target *target;
    LoopBody *body;
    int first, n; /* the parts are statements first .. first + n - 1 */
    Part parts[MOST_PARTS];
    Shared shared[MOST_SHARED];
    int n_shared;
    int64_t extent;
} Joint;

/* ---- parts */

static LoopStmt *only_loop(const LoopBody *b) {
    LoopStmt *found = NULL;
    for (int k = 0; k < b->stmts.n; k++)
        if (b->stmts.p[k]->kind == LOOP_FOR) {
            if (found)
                return NULL;
            found = b->stmts.p[k];
        }
    return found;
}

static bool part_of(const Joint *j, LoopStmt *s, Part *p) {
    *p = (Part){.top = s};
    if (s->kind != LOOP_FOR || s->n_carried || !loop_accesses(j->arena, s, &p->all))
        return false;
    for (; s && !s->n_carried && p->n_outs < MOST_OUTS; s = only_loop(&s->body))
        p->outs[p->n_outs++] = s;
    return true;
}

/* Iterations of a loop from 0 on, on which no loop inside depends; 0: it is another one. */
static int64_t extent_of(const Part *p, const LoopStmt *x) {
    int64_t hi;
    bool is = x->step == 1 && x->n_lo == 1 && x->n_hi == 1 && dim_is_zero(x->lo[0]) && dim_is_const(x->hi[0], &hi) &&
              !loop_bounds_inside_mention(p->top, x->index);
    return is ? hi : 0;
}

/* The axis along which an access is at x, nothing else; -1: none. */
static int axis_at(const LoopStmt *access, DimSym x) {
    int axis = -1;
    for (int a = 0; a < access->rank; a++) {
        if (!dim_mentions(access->subs[a], x))
            continue;
        if (axis >= 0 || dim_as_symbol(access->subs[a]) != x)
            return -1;
        axis = a;
    }
    return axis;
}

static const LoopBuf *storage(const Joint *j, const LoopStmt *access) { return loop_storage(j->f, access->buf); }

static const Shared *shared_of(const Joint *j, const LoopBuf *buf) {
    for (int k = 0; k < j->n_shared; k++)
        if (j->shared[k].buf == buf)
            return &j->shared[k];
    return NULL;
}

/* Are all accesses of the part to the buffer at x along this axis? */
static bool all_at(const Joint *j, const Part *p, const LoopBuf *buf, int axis) {
    for (int k = 0; k < p->all.n; k++)
        if (storage(j, p->all.p[k]) == buf && (p->all.p[k]->buf.id != buf->id.id || axis_at(p->all.p[k], p->x->index) != axis))
            return false;
    return true;
}

static bool touches(const Joint *j, const Part *p, const LoopBuf *buf) {
    for (int k = 0; k < p->all.n; k++)
        if (storage(j, p->all.p[k]) == buf)
            return true;
    return false;
}

/* What the part stores to becomes shared; false: iterations of p->x would meet in it. */
static bool share_stores(Joint *j, const Part *p) {
    for (int k = 0; k < p->all.n; k++) {
        const LoopStmt *s = p->all.p[k];
        const LoopBuf *buf = storage(j, s);
        if (s->kind != LOOP_STORE || shared_of(j, buf))
            continue;
        int axis = axis_at(s, p->x->index);
        bool apart = axis >= 0 && j->n_shared < MOST_SHARED;
        for (int q = 0; q < j->n && apart; q++)
            apart = all_at(j, &j->parts[q], buf, axis);
        if (!apart)
            return false;
        j->shared[j->n_shared++] = (Shared){buf, axis};
    }
    return true;
}

/* The part joins the run, its loop x being divided. */
static bool join(Joint *j, Part *p, LoopStmt *x) {
    int before = j->n_shared;
    bool meets = !j->n;
    p->x = x;
    for (int k = 0; k < before && !meets; k++)
        meets = touches(j, p, j->shared[k].buf);
    bool may = meets && extent_of(p, x) == j->extent && share_stores(j, p);
    for (int k = 0; k < j->n_shared && may; k++)
        may = all_at(j, p, j->shared[k].buf, j->shared[k].axis);
    if (may)
        j->parts[j->n++] = *p;
    else
        j->n_shared = before;
    return may;
}

/* The longest run from a statement on, if a loop of that is divided. */
static bool find_run(Joint *j, int at, const Part *start, LoopStmt *x) {
    Part p = *start;
    j->first = at;
    j->n = j->n_shared = 0;
    j->extent = extent_of(&p, x);
    if (j->extent < 2 * LEAST || !join(j, &p, x))
        return false;
    for (int k = at + 1; k < j->body->stmts.n && j->n < MOST_PARTS; k++) {
        bool joined = false;
        if (!part_of(j, j->body->stmts.p[k], &p))
            break;
        for (int q = 0; q < p.n_outs && !joined; q++)
            joined = join(j, &p, p.outs[q]);
        if (!joined)
            break;
    }
    return j->n > 1;
}

/* ---- is it worth it? */

/* Bytes of the buffer for each step along the axis, those of the axes behind it; 0: not constant. */
static double bytes_of(const LoopBuf *buf, int axis) {
    double bytes = (double)dtype_size(buf->dt);
    for (int a = axis + 1; a < buf->rank; a++) {
        int64_t n;
        if (!dim_is_const(buf->shape[a], &n))
            return 0;
        bytes *= (double)n;
    }
    return bytes;
}

typedef enum Count { FIRST, EVERY } Count;

/* Bytes of what the parts touch at x, for each step: once, or as often as a part touches it. */
static double bytes_at(const Joint *j, Count count) {
    VEC(const LoopBuf *) seen = {0};
    double bytes = 0;
    for (int k = 0; k < j->n; k++) {
        int before = count == FIRST ? 0 : seen.n;
        for (int q = 0; q < j->parts[k].all.n; q++) {
            const LoopStmt *s = j->parts[k].all.p[q];
            const LoopBuf *buf = storage(j, s);
            int axis = axis_at(s, j->parts[k].x->index);
            bool known = axis < 0 || s->buf.id != buf->id.id;
            for (int i = before; i < seen.n; i++)
                known |= seen.p[i] == buf;
            if (known)
                continue;
            vec_push(j->arena, &seen, buf);
            bytes += bytes_of(buf, axis);
        }
    }
    return bytes;
}

static bool mentions_loop(const LoopStmt *s, Dim d) {
    if (s->kind == LOOP_FOR && dim_mentions(d, s->index))
        return true;
    for (int k = 0; k < s->body.stmts.n; k++)
        if (mentions_loop(s->body.stmts.p[k], d))
            return true;
    return false;
}

/* Bytes of what a part reads of a buffer in each band anew: the axes along which it walks. */
static double walked(const Part *p, const LoopStmt *load, const LoopBuf *buf) {
    double bytes = (double)dtype_size(buf->dt);
    for (int a = 0; a < load->rank; a++) {
        int64_t n = 1;
        bool walks = mentions_loop(p->top, load->subs[a]);
        if (walks && !dim_is_const(buf->shape[a], &n))
            return 0;
        bytes *= (double)n;
    }
    return bytes;
}

/* Bytes that a part reads of buffers that it does not divide. */
static double undivided(const Joint *j, const Part *p) {
    double bytes = 0;
    for (int k = 0; k < p->all.n; k++) {
        const LoopStmt *s = p->all.p[k];
        bool first = s->kind == LOOP_LOAD && axis_at(s, p->x->index) < 0;
        for (int q = 0; q < k && first; q++)
            first = storage(j, p->all.p[q]) != storage(j, s);
        bytes += first ? walked(p, s, loop_bufp(j->f, s->buf)) : 0;
    }
    return bytes;
}

/* Steps of a band; 0: it is not worth it. All but the first of the parts that touch a buffer find it in the cache; what
 * is not divided is read in every band. */
static int64_t band_of(const Joint *j) {
    double most = (double)j->target->l2_bytes / 2, all = bytes_at(j, FIRST), extent = (double)j->extent;
    double found = (bytes_at(j, EVERY) - all) * extent, anew = 0;
    int64_t best = j->extent % LEAST == 0 ? LEAST : 0;
    for (int64_t n = LEAST; n < j->extent; n++)
        if (j->extent % n == 0 && (double)n * all <= most)
            best = n;
    for (int k = 0; k < j->n && best; k++)
        anew += undivided(j, &j->parts[k]) * (extent / (double)best - 1);
    return found > most && found > anew ? best : 0;
}

/* ---- the bands */

typedef struct Uses {
    const Joint *j;
    const LoopBuf *buf;
    int n;
} Uses;

static void count_use(void *arg, LoopStmt *s) {
    Uses *u = arg;
    u->n += (s->kind == LOOP_LOAD || s->kind == LOOP_STORE) && storage(u->j, s) == u->buf;
    for (int k = 0; k < s->n_bufs; k++)
        u->n += loop_storage(u->j->f, s->bufs[k]) == u->buf;
}

/* Is the buffer filled and read in the run alone? Then it holds one band. */
static bool is_own(const Joint *j, const Shared *s) {
    Uses u = {j, s->buf, 0};
    int here = 0;
    bool filled = false;
    loop_walk(&j->f->body, count_use, &u);
    for (int k = 0; k < j->n; k++) {
        bool loads = false, any = false;
        for (int q = 0; q < j->parts[k].all.n; q++) {
            bool is = storage(j, j->parts[k].all.p[q]) == s->buf;
            here += is;
            any |= is;
            loads |= is && j->parts[k].all.p[q]->kind == LOOP_LOAD;
        }
        if (any && !filled && loads)
            return false;
        filled |= any;
    }
    return s->buf->kind == BUF_JOB && here == u.n;
}

static void keep_one_band(const Joint *j, const Shared *s, int64_t band) {
    LoopBuf *buf = loop_bufp(j->f, s->buf->id);
    Dim *shape = arena_dup(j->arena, buf->shape, sizeof *shape * (size_t)buf->rank);
    shape[s->axis] = dim_const(j->ctx, band);
    buf->shape = shape;
    for (int k = 0; k < j->n; k++)
        for (int q = 0; q < j->parts[k].all.n; q++) {
            LoopStmt *access = j->parts[k].all.p[q];
            if (storage(j, access) != buf)
                continue;
            Dim *subs = arena_dup(j->arena, access->subs, sizeof *subs * (size_t)access->rank);
            subs[s->axis] = dim_of(j->ctx, j->parts[k].x->index);
            access->subs = subs;
        }
}

static void make_bands(const Joint *j, int64_t band) {
    Ctx *ctx = j->ctx;
    const Part *first = &j->parts[0];
    DimSym number = loop_fresh_index(ctx, j->f, str_fmt(ctx, "%sb", first->x->index->name));
    Dim from = dim_scale(ctx, dim_of(ctx, number), band), zero = dim_const(ctx, 0), hi = dim_const(ctx, band),
        n = dim_const(ctx, j->extent / band);
    LoopBody to = {0};
    LoopCursor cur = {.m = j->m, .f = j->f, .at = &to, .span = first->top->span};
    LoopStmt *loop = loop_for(&cur, number, &zero, 1, &n, 1, 1, NULL, 0);
    for (int k = 0; k < j->n; k++) {
        const Part *p = &j->parts[k];
        DimBinding by = {p->x->index, dim_add(ctx, from, dim_of(ctx, p->x->index))};
        loop_subst(ctx, j->arena, p->top, &by);
        p->x->hi = arena_dup(j->arena, &hi, sizeof hi);
        vec_push(j->arena, &loop->body.stmts, p->top);
    }
    loop_end(&cur, loop, &to, NULL);
    for (int k = 0; k < j->n_shared; k++)
        if (is_own(j, &j->shared[k]))
            keep_one_band(j, &j->shared[k], band);
    j->body->stmts.p[j->first] = loop;
    for (int k = j->first + 1; k + j->n - 1 < j->body->stmts.n; k++)
        j->body->stmts.p[k] = j->body->stmts.p[k + j->n - 1];
    j->body->stmts.n -= j->n - 1;
}

static bool try_run(Joint *j, int at) {
    Part start;
    if (!part_of(j, j->body->stmts.p[at], &start))
        return false;
    for (int k = 0; k < start.n_outs; k++) {
        int64_t band = find_run(j, at, &start, start.outs[k]) ? band_of(j) : 0;
        if (band)
            make_bands(j, band);
        if (band)
            return true;
    }
    return false;
}

static void visit(Joint *j, LoopBody *body, bool in_job) {
    for (int k = 0; k < body->stmts.n; k++) {
        LoopStmt *s = body->stmts.p[k];
        j->body = body;
        if ((in_job && try_run(j, k)) || (s->kind != LOOP_FOR && s->kind != LOOP_IF))
            continue;
        visit(j, &s->body, in_job || s->parallel);
        visit(j, &s->orelse, in_job && !s->parallel);
    }
}

void joint_loops(Ctx *ctx, Arena *arena, LoopModule *m, LoopFunc *f, const Target *target) {
    Joint *j = ARENA_NEW(arena, Joint);
    *j = (Joint){.ctx = ctx, .arena = arena, .m = m, .f = f, .target = target};
    visit(j, &f->body, false);
}
