/* vectorize: one loop of every nest runs on vectors of the target's width.
 *
 *   for j in 0..4 {
 *     for row in 0..16 {
 *       %1 = for k in 0..8 with %2 = 0 { yield fma(w[j, k], x[k, row], %2) }
 *       store y[j, row] = %1
 *
 * becomes (16 lanes; the row loop has one iteration, so it is gone)
 *
 *   for j in 0..4 {
 *     %1 = for k in 0..8 with %2 = f32x16 0 { yield fma(splat(w[j, k]), f32x16 x[k, 0], %2) }
 *     store y[j, 0] = %1
 *
 * Any loop whose iterations are independent may be taken, with the loops inside it; or one whose
 * carried values are sums: each lane adds up its own, also through the loops around that only pass
 * the sum on, and the lanes are added once at the end (the order of that sum is lane_sum's). Lanes
 * past the end are masked by `active`. Of the loops of a nest the one is taken that needs the
 * fewest operations, strided accesses counting once a lane. Loops with calls, conditions or checked
 * subscripts stay as they are. Before, loops over neighbouring axes become one (collapse.c); last,
 * copies between two orders of axes go by squares (turn.c), output loops around reductions go by
 * strips where an operand would leave the cache (strips.c), and are unrolled and jammed (jam.c). It
 * does not tile. Where a sum has the vectors, what is computed from it becomes a loop of its own
 * before (epilogue.c).
 */
#include "passes/abreast.h"
#include "passes/ahead.h"
#include "passes/collapse.h"
#include "passes/epilogue.h"
#include "passes/jam.h"
#include "passes/lane_sums.h"
#include "passes/lines.h"
#include "passes/merge.h"
#include "passes/pass.h"
#include "passes/strips.h"
#include "passes/turn.h"
#include "passes/widen.h"

/* ---- may a loop run on vectors, and what does it cost? */

/* At most one upper bound may fall inside a vector: that of `active`. */
static bool plan_mask(Vectorize *z, const LoopStmt *s, WidenPlan *plan) {
    plan->mask = NULL;
    plan->single = plan->closed = false;
    int open = 0;
    for (int k = 0; k < s->n_hi; k++) {
        Dim span = s->n_lo == 1 ? dim_sub(z->ctx, s->hi[k], s->lo[0]) : NULL, rest = NULL;
        int64_t n;
        if (span && dim_is_const(span, &n) && n <= z->lanes)
            plan->single = true;
        if (span && dim_divide(z->ctx, span, dim_const(z->ctx, z->lanes), &rest) && rest &&
            dim_is_zero(rest)) {
            if (dim_is_const(s->lo[0], &plan->lo) && dim_is_const(s->hi[k], &plan->hi))
                plan->closed = true;
            continue;
        }
        open++;
        plan->mask = dim_sub(z->ctx, s->hi[k], dim_of(z->ctx, s->index));
        if (!plan->closed && !s->n_carried && span && dim_is_const(s->lo[0], &plan->lo) &&
            dim_is_const(s->hi[k], &plan->hi)) {
            plan->hi += (z->lanes - (plan->hi - plan->lo) % z->lanes) % z->lanes;
            plan->closed = true;
        }
    }
    return open <= 1 && (!open || plan->mask);
}

static bool accesses_allowed(const Vary *v) {
    for (int k = 0; k < v->accesses.n; k++) {
        const LoopStmt *s = v->accesses.p[k];
        int axis;
        int64_t coef;
        if (!vary_axis(v, s, &axis, &coef) || (s->kind == LOOP_STORE && axis < 0))
            return false;
        for (int a = 0; s->kind == LOOP_STORE && s->sub_vals && a < s->rank; a++)
            if (s->sub_vals[a].id && v->varies[s->sub_vals[a].id])
                return false;
    }
    return true;
}

static bool indices_allowed(const Vary *v, const LoopBody *b) {
    for (int k = 0; k < b->stmts.n; k++) {
        const LoopStmt *s = b->stmts.p[k];
        int64_t coef;
        if ((s->kind == LOOP_INDEX && !vary_coef(v, s->subs[0], &coef)) ||
            !indices_allowed(v, &s->body))
            return false;
    }
    return true;
}

static bool may_vectorize(Vectorize *z, const Vary *v, WidenPlan *plan) {
    const LoopStmt *s = v->loop;
    if (s->parallel || s->step != 1 || !v->plain || !v->accesses.n)
        return false;
    for (int k = 0; k < s->n_carried; k++) {
        VarySum links = {0};
        if (vary_reduction(v, k, &links) == SC_NONE)
            return false;
    }
    return accesses_allowed(v) && indices_allowed(v, &s->body) && vary_independent(v) &&
           plan_mask(z, s, plan);
}

/* Of one execution of a body on vectors; v NULL: on scalars, with the best choice for the loops
 * inside. */
static double body_cost(Vectorize *z, const LoopBody *b, const Vary *v);

static double access_cost(const Vectorize *z, const LoopStmt *s, const Vary *v) {
    int axis;
    int64_t coef;
    if (!v || (s->kind == LOOP_LOAD && !v->varies[s->result.id]))
        return 1;
    bool contiguous = vary_axis(v, s, &axis, &coef) && axis == s->rank - 1 && coef == 1;
    for (int a = 0; s->sub_vals && a < s->rank; a++)
        contiguous = contiguous && !(s->sub_vals[a].id && v->varies[s->sub_vals[a].id]);
    return contiguous ? 1 : 1.5 * z->lanes;
}

static double vector_cost(Vectorize *z, const Vary *v) {
    const LoopStmt *s = v->loop;
    int64_t trip = vary_trip(s), steps = (trip + z->lanes - 1) / z->lanes;
    return (double)steps * body_cost(z, &s->body, v) + 3.0 * s->n_carried;
}

static double loop_cost(Vectorize *z, LoopStmt *s, bool *take, WidenPlan *plan) {
    Arena scratch;
    arena_init(&scratch, z->ctx);
    Vary v = vary_of(z->ctx, &scratch, z->f, s);
    double cost = (double)vary_trip(s) * body_cost(z, &s->body, NULL);
    *take = false;
    if (s->kind == LOOP_FOR && may_vectorize(z, &v, plan)) {
        double vector = vector_cost(z, &v);
        *take = vector < cost;
        cost = *take ? vector : cost;
    }
    arena_free(&scratch);
    return cost;
}

static double body_cost(Vectorize *z, const LoopBody *b, const Vary *v) {
    double cost = 0.5; /* of the loop itself */
    for (int k = 0; k < b->stmts.n; k++) {
        LoopStmt *s = b->stmts.p[k];
        bool take;
        WidenPlan plan;
        switch (s->kind) {
        case LOOP_FOR:
            cost += v ? (double)vary_trip(s) * body_cost(z, &s->body, v)
                      : loop_cost(z, s, &take, &plan);
            break;
        case LOOP_WHILE:
        case LOOP_IF:
            cost += body_cost(z, &s->body, NULL) + body_cost(z, &s->orelse, NULL);
            break;
        case LOOP_LOAD:
        case LOOP_STORE:
            cost += access_cost(z, s, v);
            break;
        case LOOP_LET:
            cost += v && (scalar_def(s->op)->flags & SF_LIBM) && v->varies[s->result.id]
                        ? 20.0 * z->lanes
                    : scalar_def(s->op)->flags & SF_LIBM ? 20
                                                         : 1;
            break;
        case LOOP_CONST:
        case LOOP_INDEX:
        case LOOP_YIELD:
            break;
        case LOOP_CALL:
        case LOOP_POLL:
        case LOOP_STATUS:
        case LOOP_RETURN:
            cost += 2;
            break;
        }
    }
    return cost;
}

/* ---- the function */

/* The most bytes of a real number in a body; 0: there is none. */
static size_t widest(const LoopFunc *f, const LoopBody *b) {
    size_t most = 0;
    for (int k = 0; k < b->stmts.n; k++) {
        const LoopStmt *s = b->stmts.p[k];
        bool has_value = s->kind == LOOP_LOAD || s->kind == LOOP_CONST || s->kind == LOOP_LET;
        DType dt = s->kind == LOOP_STORE ? loop_bufp(f, s->buf)->dt : has_value ? s->type.dt : DT_BOOL;
        size_t inside = widest(f, &s->body), other = widest(f, &s->orelse),
               own = dtype_is_real(dt) ? dtype_size(dt) : 0;
        inside = inside > other ? inside : other;
        own = own > inside ? own : inside;
        most = own > most ? own : most;
    }
    return most;
}

/* As many lanes as the function's reals have; more in a loop whose reals are all narrower. */
static int lanes_in(const Vectorize *z, const LoopStmt *s) {
    int lanes = target_lanes(z->target, z->f->real);
    size_t bytes = widest(z->f, &s->body);
    return bytes && z->target->vector_bytes / (int)bytes > lanes ? z->target->vector_bytes / (int)bytes : lanes;
}

/* Would a loop of the sums and one of what is computed from them, on vectors, cost less? */
static bool is_better_apart(Vectorize *z, const LoopStmt *output, LoopStmt *sum, double cost) {
    int64_t trip = vary_trip(output);
    bool take;
    WidenPlan plan;
    LoopBody after = {0};
    Arena scratch;
    arena_init(&scratch, z->ctx);
    Vary v = vary_of(z->ctx, &scratch, z->f, output);
    for (int k = loop_position(&output->body, sum) + 1; k < output->body.stmts.n; k++)
        vec_push(&scratch, &after.stmts, output->body.stmts.p[k]);
    double sums = (double)trip * (loop_cost(z, sum, &take, &plan) + 2),
           rest = (double)((trip + z->lanes - 1) / z->lanes) * (body_cost(z, &after, &v) + 1); /* the sum is loaded */
    arena_free(&scratch);
    return sums + rest < cost;
}

static void visit(Vectorize *z, LoopBody *b, Around *around) {
    for (int k = 0; k < b->stmts.n; k++) {
        LoopStmt *s = b->stmts.p[k];
        bool take = false;
        WidenPlan plan;
        if (s->kind == LOOP_FOR && !s->parallel) {
            z->lanes = lanes_in(z, s);
            double cost = loop_cost(z, s, &take, &plan);
            LoopStmt *sum = epilogue_sum(z->ctx, z->f, s);
            if (sum && is_better_apart(z, s, sum, cost)) {
                epilogue_split(z->arena, z->m, z->f, b, k, sum);
                loop_cost(z, s, &take, &plan);
            }
        }
        if (take) {
            Arena scratch;
            arena_init(&scratch, z->ctx);
            Vary v = vary_of(z->ctx, &scratch, z->f, s);
            int n = b->stmts.n;
            widen_loop(z, &v, plan, b, around);
            k += b->stmts.n - n;
            arena_free(&scratch);
            continue;
        }
        bool loop = s->kind == LOOP_FOR && around->n < 64;
        if (loop) {
            around->loops[around->n] = s;
            around->bodies[around->n++] = b;
        }
        visit(z, &s->body, around);
        visit(z, &s->orelse, around);
        around->n -= loop;
    }
}

/* ---- what nothing uses any more: scalars of which only the splat is wanted */

static void sweep(LoopBody *b, int *uses) {
    int kept = b->stmts.n;
    for (int k = b->stmts.n - 1; k >= 0; k--) {
        LoopStmt *s = b->stmts.p[k];
        bool value = s->kind == LOOP_CONST || s->kind == LOOP_INDEX || s->kind == LOOP_LET ||
                     (s->kind == LOOP_LOAD && s->status < 0 &&
                      !(s->ahead && dim_is_zero(s->ahead))); /* that only fetches */
        sweep(&s->orelse, uses);
        sweep(&s->body, uses);
        if (value && !uses[s->result.id]) {
            for (int j = 0; j < s->n_args; j++)
                uses[s->args[j].id]--;
            for (int j = 0; s->sub_vals && j < s->rank; j++)
                uses[s->sub_vals[j].id]--;
            continue;
        }
        b->stmts.p[--kept] = s;
    }
    b->stmts.n -= kept;
    for (int k = 0; k < b->stmts.n; k++)
        b->stmts.p[k] = b->stmts.p[kept + k];
}

void pass_vectorize(Unit *u) {
    for (int k = 0; k < u->loops->funcs.n; k++) {
        LoopFunc *f = u->loops->funcs.p[k];
        Vectorize z = {.ctx = u->ctx,
                       .arena = u->arena,
                       .m = u->loops,
                       .f = f,
                       .target = u->target};
        Around around = {.n = 0};
        collapse_loops(u->ctx, u->arena, u->loops, f);
        visit(&z, &f->body, &around);
        Arena scratch;
        arena_init(&scratch, u->ctx);
        int *uses = ARENA_ARRAY(&scratch, int, f->vals.n);
        loop_count_uses(&f->body, uses);
        sweep(&f->body, uses);
        arena_free(&scratch);
        turn_loops(u->ctx, u->arena, u->loops, f);
        strip_loops(u->ctx, u->arena, u->loops, f, u->target);
        jam_loops(u->ctx, u->arena, u->loops, f, u->target);
        collapse_loops(u->ctx, u->arena, u->loops, f); /* epilogues that stand apart */
        lane_sums(u->ctx, u->arena, u->loops, f, u->target);
        merge_loops(u->ctx, u->arena, u->loops, f);
        abreast_loops(u->ctx, u->arena, u->loops, f, u->target);
        ahead_of_stores(u->ctx, f);
        lines_mark(u->ctx, f, u->target);
    }
}
