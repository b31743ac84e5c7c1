/* The graph IR as a drawing for Graphviz: a cluster for each function, a node for each instruction,
 * an edge for each use. */
#include "ir/graph.h"
#include "ir/op.h"

static void put_text(StrBuf *sb, const char *text) {
    for (; text && *text; text++) {
        if (*text == '"' || *text == '\\')
            sb_putc(sb, '\\');
        sb_putc(sb, *text);
    }
}

static void put_node(StrBuf *sb, uint32_t func, uint32_t val, const char *op, const char *name,
                     Type t, const char *style) {
    sb_printf(sb, "    f%u_%u [label=\"%s", func, val, op);
    if (name && *name) {
        sb_put(sb, *op ? "\\n" : "");
        put_text(sb, name);
    }
    sb_put(sb, "\\n");
    type_print(sb, t);
    sb_printf(sb, "\"%s];\n", style);
}

static void put_func(StrBuf *sb, const Func *f) {
    uint32_t id = f->id.id;
    sb_printf(sb, "  subgraph cluster_%u {\n    label=\"", id);
    put_text(sb, f->name);
    sb_put(sb, "\";\n");
    for (int k = 0; k < f->params.n; k++)
        put_node(sb, id, f->params.p[k].val.id, "", f->params.p[k].name,
                 graph_type(f, f->params.p[k].val), ", style=filled, fillcolor=\"#e8f0fe\"");
    for (int k = 0; k < f->insts.n; k++) {
        const Inst *i = f->insts.p[k];
        put_node(sb, id, i->first.id, i->op->name, i->name, graph_type(f, i->first), "");
        for (int j = 0; j < i->n_args; j++) {
            const Inst *from = graph_def(f, i->args[j]);
            sb_printf(sb, "    f%u_%u -> f%u_%u;\n", id, from ? from->first.id : i->args[j].id, id,
                      i->first.id);
        }
    }
    for (int k = 0; k < f->results.n; k++) {
        const Inst *from = graph_def(f, f->results.p[k].val);
        sb_printf(sb, "    f%u_out%d [label=\"", id, k);
        put_text(sb, f->results.p[k].name);
        sb_printf(sb, "\", shape=oval];\n    f%u_%u -> f%u_out%d;\n", id,
                  from ? from->first.id : f->results.p[k].val.id, id, k);
    }
    sb_put(sb, "  }\n");
}

void graph_dot(StrBuf *sb, const Module *m) {
    sb_put(sb, "digraph {\n  node [shape=box, fontname=\"sans-serif\", fontsize=10];\n  label=\"");
    put_text(sb, m->source);
    sb_put(sb, "\";\n");
    for (int k = 0; k < m->funcs.n; k++)
        if (m->funcs.p[k])
            put_func(sb, m->funcs.p[k]);
    sb_put(sb, "}\n");
}
