/* The body of a region for all rows.
 *
 * A slice of 16 rows reads all weights: 32 operations for the 4 bytes of one. Where they do not fit into
 * the second-level cache, or are of unknown extents, and a region only writes rows (inference), it gets another body: its
 * instructions as they were, which `tile` computes with the weights packed once. That pays from some
 * slices on; calls with fewer rows run the slices, except where all is dense layers. */
#include "passes/batch_priv.h"

/* Slices that take as long as packing and tiles do: a perceptron 784-512-256-10 needs about the same
 * time both ways for 64 rows, and for 256 rows 0.6 of it without slices. */
enum { SLICES = 5, FEW = 2, OPEN = 16 };

/* Does the region multiply rows by matrices alone? Tiles then compute few rows, too, without packing
 * (tile_few.c), and slices have no use; small matrices of unknown extents are quicker in slices. */
static bool all_dense(const Batch *b, int region, bool *open) {
    for (int k = 0; k < b->f->insts.n; k++) {
        const Inst *i = b->f->insts.p[k];
        const Nest *n = i->op == &op_nest ? i->attr : NULL;
        if (!n || b->place[k] == OUTSIDE || b->region[k] != region ||
            !nest_is_contraction(b->r.u->ctx, n))
            continue;
        if (n->n_box != 3 || n->rank != 2 || n->n_guards)
            return false;
        for (int j = 0; j < n->body.n; j++)
            if (n->body.insts[j].kind == BODY_READ && n->body.insts[j].rank != 2)
                return false;
        for (int j = 0; j < n->n_box; j++)
            *open |= n->box[j].extent != b->n && !dim_is_const(n->box[j].extent, NULL);
    }
    return true;
}

/* Every result is what an instruction of the region computes, each another one: the body writes it in place. */
static bool results_apart(const Batch *b, const BatchAttr *a, const Val *results) {
    for (int k = 0; k < a->n_results; k++) {
        const Inst *def = graph_def(b->f, results[k]);
        if (!def || def->op != &op_nest)
            return false;
        for (int j = 0; j < k; j++)
            if (results[j].id == results[k].id)
                return false;
    }
    return true;
}

void batch_all(Batch *b, int region, BatchAttr *a, const Val *args, const Val *results) {
    if (!batch_is_plain(b, region, a) || !results_apart(b, a, results))
        return;
    Ctx *ctx = b->r.u->ctx;
    Module *m = b->r.m;
    const Func *body = graph_func(m, a->body);
    Func *f = graph_func_new(m, str_fmt(ctx, "%s.all%d", b->f->name, region), b->f->span);
    ValMap map = valmap_new(b->r.u->arena, b->f);
    f->real = body->real;
    f->block = body->block;
    for (int k = 0; k < b->f->dims.n; k++)
        vec_push(b->r.u->arena, &f->dims, b->f->dims.p[k]);
    for (int k = 0; k < a->n_args; k++) {
        Str name = b->f->vals.p[args[k].id].name;
        Param p = {.name = name ? name : str_fmt(ctx, "a%d", k), .role = ROLE_LOCAL, .tensor = -1, .span = b->f->span};
        map.to[args[k].id] = graph_param(m, f, p, graph_type(b->f, args[k]));
    }
    for (int k = 0; k < b->f->insts.n; k++)
        if (b->place[k] != OUTSIDE && b->region[k] == region)
            graph_copy_inst(m, f, b->f, b->f->insts.p[k], &map);
    for (int k = 0; k < a->n_results; k++) {
        Result r = body->results.p[k];
        r.val = map.to[results[k].id];
        graph_result(m, f, r);
    }
    a->all = f->id;
    bool open = false, dense = all_dense(b, region, &open);
    a->above = !dense ? SLICES * a->rows : open ? OPEN : FEW;
}
