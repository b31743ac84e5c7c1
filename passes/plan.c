/* plan: work buffers share memory where their lives do not overlap.
 *
 * Statements are numbered in the order of the text. A buffer lives from the first statement that
 * touches it to the last, whole statements of the innermost body that holds all of them; if an
 * iteration of that body's loop may see what an earlier one left (the first access is no store, or
 * an access mentions the loop's index), it lives as long as the loop does. Buffers shared by jobs
 * live at the top level, those of a job inside its loop.
 *
 * Buffers whose size depends on dims lie in regions, measured in units, as (N + 15) // 16 for the
 * slices of a batch: at the lowest free number of units that are provably as large. Regions whose
 * members do not live at the same time take turns in a slot, as large as the largest of them: a
 * max() in the formula if none is that for all dims. Each buffer, largest first, goes where memory
 * grows least with every dim at NOMINAL. Those of constant size, if not small, go where it does not
 * grow. Small ones, and those for which there is no such place, are put largest first at the lowest
 * free offset, before all slots. Offsets are multiples of 64. */
#include "passes/plan.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/diag.h"
#include "passes/pass.h"

enum { MOST_DEPTH = 64 };

/* So many units are as large as a buffer; 0: that is not known. */
typedef struct Fit {
    Dim unit, bytes;
    int64_t times;
} Fit;

enum { NOMINAL = 1000, MOST_FITS = 1024 }; /* the value of all dims at which sizes are compared */

/* Where a statement stands: the loops and conditions around it. Level 0 is the function's body,
 * level k + 1 a body of around[k]. */
typedef struct Place {
    const LoopStmt *around[MOST_DEPTH];
    int first[MOST_DEPTH], last[MOST_DEPTH]; /* numbers of each level's statement that holds it */
    int n;                                   /* levels */
} Place;

typedef struct Life {
    LoopBuf *buf;
    Dim bytes;
    bool used, starts_with_store;
    int deepest_if; /* around the first access; -1: none */
    Place place;    /* the levels common to all accesses, as deep as it may live */
    int from, to;
    int64_t size, at; /* in bytes; in a region, in its units */
    bool placed;
} Life;

typedef struct Plan {
    Ctx *ctx;
    Arena *arena; /* scratch */
    const LoopModule *m;
    const LoopFunc *f;
    Life *lives; /* by buffer id */
    Place here;
    int next; /* number of the next statement */
    DimValue *nominal; /* the function's dims */
    Fit *fits;  /* MOST_FITS, by unit and bytes: what has been proved lately */
} Plan;

/* ---- lives */

static bool mentions(const Dim *subs, int rank, DimSym s) {
    for (int k = 0; k < rank; k++)
        if (dim_mentions(subs[k], s))
            return true;
    return false;
}

/* May l live inside around[level], as far as this access shows? Every iteration then writes the
 * cells that it reads, because all iterations touch the same cells and the first one can read
 * nothing else. */
static bool may_live_inside(const Life *l, const LoopStmt *s, int level, const Dim *subs,
                            int rank) {
    if (s->kind == LOOP_IF)
        return true;
    if (s->kind == LOOP_FOR && s->parallel)
        return l->buf->kind == BUF_JOB;
    if (!l->starts_with_store || l->deepest_if > level)
        return false;
    return s->kind == LOOP_WHILE || !mentions(subs, rank, s->index);
}

static void touch(Plan *p, BufId id, const Dim *subs, int rank, bool stores) {
    Life *l = &p->lives[loop_storage(p->f, id)->id.id];
    const Place *here = &p->here;
    if (l->buf->kind != BUF_WORK && l->buf->kind != BUF_JOB)
        return;
    if (!l->used) {
        l->used = true;
        l->starts_with_store = stores;
        l->place = *here;
        l->deepest_if = -1;
        for (int k = 0; k + 1 < here->n; k++)
            l->deepest_if = here->around[k]->kind == LOOP_IF ? k : l->deepest_if;
    }
    int common = here->n < l->place.n ? here->n : l->place.n;
    for (int k = 0; k + 1 < common; k++)
        if (here->around[k] != l->place.around[k] ||
            !may_live_inside(l, here->around[k], k, subs, rank))
            common = k + 1;
    l->place.n = common;
    for (int k = 0; k < common; k++)
        l->place.last[k] = here->last[k] > l->place.last[k] ? here->last[k] : l->place.last[k];
}

static int count_stmts(const LoopBody *b) {
    int n = b->stmts.n;
    for (int k = 0; k < b->stmts.n; k++)
        n += count_stmts(&b->stmts.p[k]->body) + count_stmts(&b->stmts.p[k]->orelse);
    return n;
}

static void touch_body(Plan *p, const LoopBody *b) {
    int level = p->here.n - 1;
    if (p->here.n == MOST_DEPTH)
        ctx_internal(p->ctx, "loops are nested too deeply");
    for (int k = 0; k < b->stmts.n; k++) {
        const LoopStmt *s = b->stmts.p[k];
        p->here.first[level] = p->next++;
        p->here.last[level] =
            p->here.first[level] + count_stmts(&s->body) + count_stmts(&s->orelse);
        if (s->kind == LOOP_LOAD || s->kind == LOOP_STORE)
            touch(p, s->buf, s->subs, s->rank, s->kind == LOOP_STORE);
        for (int j = 0; j < s->n_bufs; j++)
            touch(p, s->bufs[j], s->buf_subs[j], loop_bufp(p->f, s->bufs[j])->rank, false);
        p->here.around[level] = s;
        p->here.n++;
        touch_body(p, &s->body);
        touch_body(p, &s->orelse);
        p->here.n--;
    }
}

static Plan lives_of(Ctx *ctx, Arena *arena, const LoopModule *m, const LoopFunc *f) {
    Plan p = {.ctx = ctx, .arena = arena, .m = m, .f = f};
    p.fits = ARENA_ARRAY(arena, Fit, MOST_FITS);
    p.nominal = ARENA_ARRAY(arena, DimValue, f->dims.n + 1);
    for (int k = 0; k < f->dims.n; k++)
        p.nominal[k] = (DimValue){f->dims.p[k], NOMINAL};
    p.lives = ARENA_ARRAY(arena, Life, f->bufs.n + 1);
    for (int k = 0; k < f->bufs.n; k++) {
        p.lives[k + 1].buf = f->bufs.p[k];
        p.lives[k + 1].bytes = loop_buf_bytes(ctx, f->bufs.p[k]);
    }
    p.here.n = 1;
    touch_body(&p, &f->body);
    for (int k = 1; k <= f->bufs.n; k++) {
        Life *l = &p.lives[k];
        l->from = l->used ? l->place.first[l->place.n - 1] : 0;
        l->to = l->used ? l->place.last[l->place.n - 1] : -1;
    }
    return p;
}

static bool overlap(const Life *a, const Life *b) { return a->from <= b->to && b->from <= a->to; }

/* ---- placing */

static int64_t nominal_size(const Plan *p, Dim bytes) {
    int64_t v;
    return dim_eval(bytes, p->nominal, p->f->dims.n, &v) ? v : INT64_MAX;
}

static int by_size(const void *a, const void *b) {
    const Life *x = *(const Life *const *)a, *y = *(const Life *const *)b;
    if (x->size != y->size)
        return x->size < y->size ? 1 : -1;
    return x->buf->id.id < y->buf->id.id ? -1 : 1;
}

/* Buffers of a kind that are used, those of constant size or the others, largest first. */
static Life **sorted(const Plan *p, BufKind kind, bool constant, int *n) {
    Life **list = ARENA_ARRAY(p->arena, Life *, p->f->bufs.n + 1);
    *n = 0;
    for (int k = 1; k <= p->f->bufs.n; k++) {
        Life *l = &p->lives[k];
        if (l->buf->kind != kind || dim_is_const(l->bytes, NULL) != constant)
            continue;
        if (!l->used) { /* its nest was rewritten: it needs no memory */
            l->buf->offset = dim_const(p->ctx, 0);
            continue;
        }
        l->size = nominal_size(p, l->bytes);
        list[(*n)++] = l;
    }
    qsort(list, (size_t)*n, sizeof *list, by_size);
    return list;
}

/* The lowest offset where l fits beside the n placed buffers that live at the same time. */
static int64_t lowest_free(Life *const *placed, int n, const Life *l) {
    int64_t at = 0;
    for (bool moved = true; moved;) {
        moved = false;
        for (int k = 0; k < n; k++) {
            const Life *o = placed[k];
            if (overlap(o, l) && o->at < at + l->size && at < o->at + o->size) {
                at = o->at + o->size;
                moved = true;
            }
        }
    }
    return at;
}

static int64_t place_constants(const Plan *p, BufKind kind) {
    int n, placed = 0;
    int64_t end = 0;
    Life **list = sorted(p, kind, true, &n);
    for (int k = 0; k < n; k++) {
        Life *l = list[k];
        if (l->placed)
            continue;
        l->at = lowest_free(list, placed, l);
        l->buf->offset = dim_const(p->ctx, l->at);
        if (__builtin_add_overflow(l->at, l->size, &l->at))
            return -1;
        end = l->at > end ? l->at : end;
        l->at -= l->size;
        list[placed++] = l;
    }
    return end;
}

/* Memory of `end` units; all places in it and sizes of members are multiples of `grain` units. */
typedef struct Region {
    Dim unit;
    int64_t one, grain, end; /* one: a unit's bytes where every dim is NOMINAL */
    bool has_one; /* a unit is 1 at least */
    VEC(Life *) members;
} Region;

/* Memory of regions that take turns: no two members of different ones live at the same time. */
typedef struct Slot {
    VEC(Region *) regions;
} Slot;
typedef VEC(Slot) Slots;

/* The unit that a size is a multiple of: a region's, if it begins one. */
static Region unit_of(const Plan *p, Dim bytes, int64_t *times) {
    DimFacts none = {0};
    Region r = {.unit = bytes, .grain = 1};
    Dim rest = NULL;
    *times = 1;
    DimTerm t = dim_n_terms(bytes) == 1 ? dim_term(bytes, 0) : (DimTerm){0};
    if (t.coef > 0 && t.coef % 64 == 0 && (t.n_atoms || dim_is_const(bytes, NULL))) {
        Dim unit = dim_divide(p->ctx, bytes, dim_const(p->ctx, t.coef), &rest);
        if (unit && rest && dim_is_zero(rest)) {
            r.unit = unit;
            r.grain = 64;
            *times = t.coef;
        }
    }
    r.one = nominal_size(p, r.unit);
    r.has_one = dim_prove_positive(p->ctx, &none, r.unit);
    return r;
}

/* Units of the region that are as large as a buffer; 0: that is not known, or the region has not so many. */
static int64_t units_for(const Plan *p, const Region *r, Dim bytes, int64_t size) {
    DimFacts none = {0};
    if (dim_is_const(bytes, NULL) && r->grain == 64)
        return r->has_one ? size : 0; /* multiples of 64 */
    int64_t times = r->one > 0 ? (size - 1) / r->one + 1 : 0;
    times = (times + r->grain - 1) / r->grain * r->grain;
    if (times <= 0 || times > r->end)
        return 0;
    Fit *fit = &p->fits[((uintptr_t)r->unit / 16 * 31 + (uintptr_t)bytes / 16) % MOST_FITS];
    if (fit->unit != r->unit || fit->bytes != bytes) {
        Dim spare = dim_sub(p->ctx, dim_scale(p->ctx, r->unit, times), bytes);
        *fit = (Fit){r->unit, bytes, dim_prove_nonneg(p->ctx, &none, spare) ? times : 0};
    }
    return fit->times;
}

static int64_t region_size(const Region *r, int64_t end) {
    int64_t size;
    return __builtin_mul_overflow(r->one, end, &size) ? INT64_MAX : size;
}

static int64_t slot_size(const Slot *s) {
    int64_t most = 0;
    for (int k = 0; k < s->regions.n; k++) {
        int64_t size = region_size(s->regions.p[k], s->regions.p[k]->end);
        most = size > most ? size : most;
    }
    return most;
}

/* Does a member of the slot live at the same time as l, one of the region `but` aside? */
static bool clashes(const Slot *s, const Region *but, const Life *l) {
    for (int k = 0; k < s->regions.n; k++)
        for (int j = 0; j < s->regions.p[k]->members.n && s->regions.p[k] != but; j++)
            if (overlap(s->regions.p[k]->members.p[j], l))
                return true;
    return false;
}

/* Where a buffer may lie, and by how much its memory then grows where every dim is NOMINAL. */
typedef struct Room {
    int slot;       /* < 0: a new one */
    Region *region; /* NULL: a new one */
    int64_t at, times, cost;
} Room;

static void consider(Room *best, Room r) {
    if (r.cost < best->cost)
        *best = r;
}

static Room room_for(const Plan *p, const Slots *all, const Life *l, const Region *own, int64_t times) {
    bool known = dim_is_const(l->bytes, NULL);
    Room best = {.slot = -1, .times = times, .cost = known ? 1 : l->size}; /* of constant size, it may not cost anything */
    Life in_units = *l;
    for (int k = 0; k < all->n && best.cost > 0; k++) {
        const Slot *s = &all->p[k];
        int64_t now = slot_size(s);
        for (int j = 0; j < s->regions.n; j++) {
            Region *r = s->regions.p[j];
            bool same = r->unit == own->unit;
            if (clashes(s, r, l) || !(in_units.size = same ? times : units_for(p, r, l->bytes, l->size)))
                continue;
            int64_t at = lowest_free(r->members.p, r->members.n, &in_units), end = at + in_units.size,
                    size = region_size(r, end);
            if (end <= r->end)
                consider(&best, (Room){k, r, at, in_units.size, 0});
            else if (same && !known)
                consider(&best, (Room){k, r, at, in_units.size, size > now ? size - now : 0});
        }
    }
    for (int k = 0; k < all->n && best.cost > 0; k++)
        if (!clashes(&all->p[k], NULL, l)) {
            int64_t now = slot_size(&all->p[k]);
            consider(&best, (Room){k, NULL, 0, times, l->size > now ? l->size - now : 0});
        }
    return best;
}

static void place_in(const Plan *p, Slots *all, Life *l, Room room, const Region *own) {
    if (room.slot < 0) {
        room.slot = all->n;
        vec_push(p->arena, all, (Slot){0});
    }
    if (!room.region) {
        room.region = ARENA_NEW(p->arena, Region);
        *room.region = *own;
        vec_push(p->arena, &all->p[room.slot].regions, room.region);
    }
    l->at = room.at;
    l->size = room.times;
    l->placed = true;
    room.region->end = l->at + l->size > room.region->end ? l->at + l->size : room.region->end;
    vec_push(p->arena, &room.region->members, l);
}

/* False: one is too large. */
static bool slots_of(const Plan *p, BufKind kind, Slots *all) {
    enum { LEAST = 4096 }; /* smaller ones of constant size keep constant offsets */
    static const int64_t most = (int64_t)1 << 48;
    for (int known = 0; known < 2; known++) {
        int n;
        Life **list = sorted(p, kind, known, &n);
        for (int k = 0; k < n && (!known || list[k]->size >= LEAST); k++) {
            int64_t times;
            Region own = unit_of(p, list[k]->bytes, &times);
            if (times > most)
                return false;
            Room room = room_for(p, all, list[k], &own, times);
            if (!known || room.slot >= 0)
                place_in(p, all, list[k], room, &own);
        }
    }
    return true;
}

/* At least a and b. */
static Dim at_least_both(const Plan *p, Dim a, Dim b) {
    DimFacts none = {0};
    Dim more = a && b ? dim_sub(p->ctx, a, b) : NULL;
    return !more                                                    ? NULL
           : dim_prove_nonneg(p->ctx, &none, more)                  ? a
           : dim_prove_nonneg(p->ctx, &none, dim_neg(p->ctx, more)) ? b
                                                                    : dim_max(p->ctx, a, b);
}

/* Slots stand one after the other from `end` on; NULL: overflow. */
static Dim place_slots(const Plan *p, const Slots *all, Dim end) {
    for (int k = 0; k < all->n && end; k++) {
        Dim size = dim_const(p->ctx, 0);
        for (int j = 0; j < all->p[k].regions.n; j++) {
            const Region *r = all->p[k].regions.p[j];
            for (int i = 0; i < r->members.n; i++) {
                Life *l = r->members.p[i];
                l->buf->offset = dim_add(p->ctx, end, dim_scale(p->ctx, r->unit, l->at));
            }
            size = at_least_both(p, size, dim_scale(p->ctx, r->unit, r->end));
        }
        end = dim_add(p->ctx, end, size);
    }
    return end;
}

static Dim place_kind(const Plan *p, BufKind kind) {
    Slots slots = {0};
    bool fit = slots_of(p, kind, &slots);
    int64_t end = fit ? place_constants(p, kind) : -1;
    return end < 0 ? NULL : place_slots(p, &slots, dim_const(p->ctx, end));
}

static bool sizes_known(const Plan *p) {
    for (int k = 1; k <= p->f->bufs.n; k++)
        if (!p->lives[k].bytes)
            return false;
    return true;
}

void pass_plan(Unit *u) {
    for (int k = 0; k < u->loops->funcs.n; k++) {
        LoopFunc *f = u->loops->funcs.p[k];
        Arena scratch;
        arena_init(&scratch, u->ctx);
        Plan p = lives_of(u->ctx, &scratch, u->loops, f);
        bool known = sizes_known(&p);
        Dim fixed = known ? place_kind(&p, BUF_WORK) : NULL,
            job = known ? place_kind(&p, BUF_JOB) : NULL;
        arena_free(&scratch);
        loop_set_work(u->loops, f, fixed, job);
    }
}

/* ---- figures */

static bool add_to(int64_t *sum, int64_t v) { return !__builtin_add_overflow(*sum, v, sum); }

/* The most that is live at one time: only the starts of lives can be such times. */
static bool most_live(const Plan *p, BufKind kind, const DimValue *dims, int n, int64_t *live,
                      int64_t *apart) {
    *live = *apart = 0;
    for (int k = 1; k <= p->f->bufs.n; k++) {
        const Life *l = &p->lives[k];
        int64_t now = 0, size;
        if (l->buf->kind != kind)
            continue;
        if (!l->bytes || !dim_eval(l->bytes, dims, n, &size) || !add_to(apart, size))
            return false;
        for (int j = 1; j <= p->f->bufs.n && l->used; j++) {
            const Life *o = &p->lives[j];
            if (o->buf->kind == kind && o->used && o->from <= l->from && l->from <= o->to &&
                (!dim_eval(o->bytes, dims, n, &size) || !add_to(&now, size)))
                return false;
        }
        *live = now > *live ? now : *live;
    }
    return true;
}

bool plan_bytes(const LoopModule *m, const LoopFunc *f, const DimValue *dims, int n,
                PlanBytes *out) {
    Arena scratch;
    arena_init(&scratch, m->ctx);
    Plan p = lives_of(m->ctx, &scratch, m, f);
    bool ok = f->work_fixed && dim_eval(f->work_fixed, dims, n, &out->fixed) &&
              dim_eval(f->work_job, dims, n, &out->job) &&
              most_live(&p, BUF_WORK, dims, n, &out->live_fixed, &out->apart_fixed) &&
              most_live(&p, BUF_JOB, dims, n, &out->live_job, &out->apart_job);
    arena_free(&scratch);
    return ok;
}

void plan_print(StrBuf *sb, const LoopModule *m, int64_t at) {
    for (int k = 0; k < m->funcs.n; k++) {
        const LoopFunc *f = m->funcs.p[k];
        DimValue *dims = ARENA_ARRAY(sb->arena, DimValue, f->dims.n + 1);
        for (int j = 0; j < f->dims.n; j++)
            dims[j] = (DimValue){f->dims.p[j], at};
        PlanBytes b;
        if (!f->work_fixed || !f->entry)
            continue;
        sb_printf(sb, "%s: work = ", f->entry->cname);
        dim_print(sb, f->entry->work_bytes);
        sb_put(sb, " bytes (shared ");
        dim_print(sb, f->work_fixed);
        sb_put(sb, ", a job ");
        dim_print(sb, f->work_job);
        sb_put(sb, ", jobs ");
        dim_print(sb, f->jobs);
        sb_put(sb, ")\n");
        if (plan_bytes(m, f, dims, f->dims.n, &b))
            sb_printf(sb,
                      "  with every dim %" PRId64 ": shared %" PRId64 ", lower bound %" PRId64
                      ", without sharing %" PRId64 "; a job %" PRId64 ", lower bound %" PRId64
                      ", without sharing %" PRId64 "\n",
                      at, b.fixed, b.live_fixed, b.apart_fixed, b.job, b.live_job, b.apart_job);
    }
}
