#include "ir/lower.h"

Dim lower_dim(const LowerBuilder *lb, Dim d) {
    return dim_subst(lb->c.m->ctx, d, lb->bindings, lb->n_bindings);
}

Type lower_type(const LowerBuilder *lb, Type type) {
    Dim shape[MAX_RANK];
    for (int k = 0; k < type.rank; k++)
        shape[k] = lower_dim(lb, type.shape[k]);
    return type_new(lb->c.m->ctx, type.dt, type.rank, shape);
}

BufId lower_new_buf(LowerBuilder *lb, Type type, Str name, Span span) {
    LoopBuf b = {.name = name,
                 .kind = lb->in_job ? BUF_JOB : BUF_WORK,
                 .dt = type.dt,
                 .rank = type.rank,
                 .shape = type.shape};
    b.written = true;
    b.span = span;
    return loop_buf(lb->c.m, lb->c.f, b);
}

BufId lower_buf(LowerBuilder *lb, Val v) { return lb->buf_of[v.id]; }

BufId lower_result(LowerBuilder *lb, const Inst *i, int k) {
    Val v = inst_result(i, k), root = v;
    while (lb->same_as && lb->same_as[root.id].id)
        root = lb->same_as[root.id];
    if (!lb->buf_of[root.id].id) {
        Type type = lower_type(lb, graph_type(lb->func, root));
        Str name = lb->func->vals.p[v.id].name ? lb->func->vals.p[v.id].name : i->name;
        lb->buf_of[root.id] = lower_new_buf(lb, type, name, i->span);
    }
    return lb->buf_of[v.id] = lb->buf_of[root.id];
}

int lower_status(LowerBuilder *lb, Span span, Str message) {
    Str text = str_fmt(lb->c.m->ctx, "%s:%u: %s", lb->c.m->source, span.line, message);
    return loop_status(lb->c.m, text);
}
