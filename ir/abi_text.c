#include "ir/abi_text.h"

#include <inttypes.h>
#include <string.h>

static const char *const kind_names[] = {"real",     "int",      "bool",    "index",   "prob",
                                         "positive", "interval", "simplex", "ordered", "cholesky"};
static const char *const entry_names[] = {"def",    "forward", "init", "loss_grad", "step",
                                          "report", "predict", "logp", "grad",      "fit", "posterior"};
static const char *const arg_names[] = {"exec",  "hyper",  "dim",    "seed", "scalar",
                                        "input", "params", "state",  "opt",  "out",
                                        "loss",  "grad",   "values", "logp", "cov", "info", "work"};
#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))

static int name_number(TextReader *r, const char *const *names, int n, const char *what) {
    for (int k = 0; k < n; k++)
        if (text_accept(r, names[k]))
            return k;
    text_fail(r, "expected %s", what);
    return 0;
}

/* ---- printing */

static void put_span(StrBuf *sb, Ctx *ctx, Str source, Span s) {
    if (s.file) {
        sb_putc(sb, ' ');
        text_print_span(sb, ctx, source, s);
    }
}

static void put_quoted(StrBuf *sb, const char *before, const char *s) {
    sb_put(sb, before);
    text_print_string(sb, s ? s : "");
}

static void put_dim(StrBuf *sb, const char *before, Dim d) {
    if (d) {
        sb_put(sb, before);
        dim_print(sb, d);
    }
}

static void put_kind(StrBuf *sb, AbiKind k) { sb_printf(sb, " %s", kind_names[k]); }

void abi_print_dims(StrBuf *sb, const DimSym *dims, int n) {
    for (int k = 0; k < n; k++) {
        sb_printf(sb, "%s%s", k ? ", " : "", dims[k]->name);
        if (dims[k]->least != 1)
            sb_printf(sb, " >= %" PRId64, dims[k]->least);
    }
}

/* "mask (0 3, 2 2) "X..XX."": axis and extent of each of the table's axes, then its elements. */
static void put_mask(StrBuf *sb, const AbiMask *m) {
    sb_put(sb, " mask (");
    for (int k = 0; k < m->rank; k++)
        sb_printf(sb, "%s%d %" PRId64, k ? ", " : "", m->axis[k], m->extent[k]);
    sb_put(sb, ") \"");
    for (int64_t k = 0; k < m->n; k++)
        sb_putc(sb, m->learned[k] ? 'X' : '.');
    sb_putc(sb, '"');
}

static void print_tensor(StrBuf *sb, Ctx *ctx, Str source, const char *what, const AbiTensor *t) {
    sb_printf(sb, "  %s", what);
    put_quoted(sb, " ", t->path);
    sb_printf(sb, " %s ", t->cname);
    type_print(sb, t->type);
    put_kind(sb, t->kind);
    if (t->kind == KIND_INTERVAL) {
        sb_putc(sb, '(');
        sb_real(sb, t->lo);
        sb_put(sb, ", ");
        sb_real(sb, t->hi);
        sb_putc(sb, ')');
    }
    put_dim(sb, " learned ", t->learned);
    if (t->mask)
        put_mask(sb, t->mask);
    put_dim(sb, " offset ", t->offset);
    put_span(sb, ctx, source, t->span);
    sb_putc(sb, '\n');
}

static void print_members(StrBuf *sb, Ctx *ctx, Str source, const AbiBlock *b) {
    for (int k = 0; k < b->params.n; k++)
        print_tensor(sb, ctx, source, "param", &b->params.p[k]);
    for (int k = 0; k < b->states.n; k++)
        print_tensor(sb, ctx, source, "state", &b->states.p[k]);
    for (int k = 0; k < b->opts.n; k++)
        print_tensor(sb, ctx, source, "opt", &b->opts.p[k]);
    for (int k = 0; k < b->formals.n; k++) {
        const AbiFormal *f = &b->formals.p[k];
        put_quoted(sb, "  hyper ", f->name);
        sb_put(sb, f->is_int ? " int " : " ");
        sb_real(sb, f->value);
        put_kind(sb, f->kind);
        put_span(sb, ctx, source, f->span);
        sb_putc(sb, '\n');
    }
    for (int k = 0; k < b->data.n; k++) {
        const AbiData *d = &b->data.p[k];
        put_quoted(sb, "  data ", d->name);
        sb_putc(sb, ' ');
        type_print(sb, d->type);
        put_kind(sb, d->kind);
        put_dim(sb, " bound ", d->bound);
        put_span(sb, ctx, source, d->span);
        sb_putc(sb, '\n');
    }
    for (int k = 0; k < b->reports.n; k++) {
        put_quoted(sb, "  report ", b->reports.p[k]);
        sb_putc(sb, '\n');
    }
    for (int k = 0; k < b->subs.n; k++) {
        const AbiSub *s = &b->subs.p[k];
        put_quoted(sb, "  sub ", s->path);
        sb_printf(sb, " %s", s->cname);
        put_quoted(sb, " ", s->model);
        put_dim(sb, " offset ", s->offset);
        put_dim(sb, " state ", s->state_offset);
        sb_putc(sb, '\n');
    }
}

void abi_print_block(StrBuf *sb, Ctx *ctx, Str source, const AbiBlock *b) {
    put_quoted(sb, b->is_estimator ? "estimator " : "model ", b->name);
    sb_printf(sb, " %s %s%s%s", b->cname, dtype_name(b->real), b->has_prior ? " prior" : "",
              b->is_minimize ? " minimize" : "");
    put_span(sb, ctx, source, b->span);
    sb_put(sb, " {\n");
    if (b->doc) {
        put_quoted(sb, "  doc ", b->doc);
        sb_putc(sb, '\n');
    }
    if (b->dims.n) {
        sb_put(sb, "  dims ");
        abi_print_dims(sb, b->dims.p, b->dims.n);
        sb_putc(sb, '\n');
    }
    print_members(sb, ctx, source, b);
    if (b->observations) {
        put_dim(sb, "  observations ", b->observations);
        sb_putc(sb, '\n');
    }
    if (b->fit.present) {
        sb_printf(sb, "  fit scale %d", b->fit.scale);
        if (b->fit.rule)
            put_quoted(sb, " rule ", b->fit.rule);
        for (int k = 0; k < b->fit.posteriors.n; k++) {
            const AbiPosterior *p = &b->fit.posteriors.p[k];
            sb_printf(sb, " posterior %d %s %d", p->tensor, p->family, p->n_values);
        }
        sb_putc(sb, '\n');
    }
    if (b->using_.present) {
        put_quoted(sb, "  using ", b->using_.optimizer);
        sb_printf(sb, " batch %" PRId64 " epochs %" PRId64, b->using_.batch, b->using_.epochs);
        if (b->using_.rows)
            sb_printf(sb, " rows %s", b->using_.rows->name);
        sb_putc(sb, '\n');
    }
    sb_put(sb, "}\n");
}

void abi_print_entry(StrBuf *sb, Ctx *ctx, Str source, const AbiEntry *e, int indent) {
    sb_printf(sb, "%*sentry %s", indent, "", entry_names[e->kind]);
    put_quoted(sb, " ", e->cname);
    if (e->decl)
        put_quoted(sb, " of ", e->decl);
    if (e->doc)
        put_quoted(sb, " doc ", e->doc);
    put_dim(sb, " work ", e->work_bytes);
    put_span(sb, ctx, source, e->span);
    sb_put(sb, " {\n");
    for (int k = 0; k < e->args.n; k++) {
        const AbiArg *a = &e->args.p[k];
        sb_printf(sb, "%*s  %s", indent, "", arg_names[a->kind]);
        put_quoted(sb, " ", a->name);
        if (a->dt != DT_NONE)
            sb_printf(sb, " %s", dtype_name(a->dt));
        sb_put(sb, a->is_const ? " const" : "");
        if (a->dim)
            sb_printf(sb, " is %s", a->dim->name);
        put_dim(sb, " bytes ", a->bytes);
        put_span(sb, ctx, source, a->span);
        sb_putc(sb, '\n');
    }
    sb_printf(sb, "%*s}\n", indent, "");
}

/* ---- reading */

static DimSym read_dim_symbol(TextReader *r) {
    Str name = text_word(r, "a dim");
    return text_dim_symbol(r, name, text_accept(r, ">=") ? text_int(r, "a number") : 1);
}

/* The dim of that name; it was declared before. */
static DimSym known_dim(TextReader *r) {
    DimSym s = dim_as_symbol(text_dim(r));
    if (!s)
        text_fail(r, "expected the name of a dim before this");
    return s;
}

/* The next axis of a table: one that it does not have yet, with the extent of the parameter's. */
static bool read_axis(TextReader *r, Type t, int *axis, int64_t *extent, int n) {
    int64_t k = text_int(r, "an axis"), own = 0;
    extent[n] = text_int(r, "an extent");
    bool good = k >= 0 && k < t.rank && dim_is_const(t.shape[k], &own) && own == extent[n];
    for (int j = 0; j < n; j++)
        good &= axis[j] != k;
    if (!good)
        text_fail(r, "expected an axis of the parameter and its extent");
    axis[n] = (int)k;
    return good && !r->failed;
}

/* NULL after an error. */
static const AbiMask *read_mask(TextReader *r, Type t) {
    int *axis = ARENA_ARRAY(r->arena, int, MAX_RANK), rank = 0;
    int64_t *extent = ARENA_ARRAY(r->arena, int64_t, MAX_RANK), n = 1, on = 0;
    text_expect(r, "(");
    while (rank < t.rank && !text_is(r, ")")) {
        if (rank)
            text_expect(r, ",");
        if (!read_axis(r, t, axis, extent, rank))
            return NULL;
        n = n <= INT32_MAX / extent[rank] ? n * extent[rank] : 0;
        rank++;
    }
    text_expect(r, ")");
    Str cells = text_string(r, "a table of X and .");
    if (r->failed || n < 1 || (int64_t)strlen(cells) != n) {
        text_fail(r, "expected %" PRId64 " cells of X and .", n);
        return NULL;
    }
    bool *learned = ARENA_ARRAY(r->arena, bool, n + 1);
    for (int64_t k = 0; k < n; k++) {
        learned[k] = cells[k] == 'X';
        on += learned[k];
    }
    AbiMask *m = ARENA_NEW(r->arena, AbiMask);
    *m = (AbiMask){rank, axis, extent, n, on, learned};
    return m;
}

static AbiTensor read_tensor(TextReader *r) {
    AbiTensor t = {.path = text_string(r, "a path")};
    t.cname = text_word(r, "a macro name");
    t.type = text_type(r);
    t.kind = (AbiKind)name_number(r, kind_names, COUNT(kind_names), "a kind (real, int, ...)");
    if (t.kind == KIND_INTERVAL) {
        text_expect(r, "(");
        t.lo = text_real(r);
        text_expect(r, ",");
        t.hi = text_real(r);
        text_expect(r, ")");
    }
    if (text_accept(r, "learned"))
        t.learned = text_dim(r);
    if (text_accept(r, "mask"))
        t.mask = read_mask(r, t.type);
    if (text_accept(r, "offset"))
        t.offset = text_dim(r);
    t.span = text_span(r);
    return t;
}

static AbiFormal read_formal(TextReader *r) {
    AbiFormal f = {.name = text_string(r, "a name")};
    f.is_int = text_accept(r, "int");
    f.value = text_real(r);
    f.kind = (AbiKind)name_number(r, kind_names, COUNT(kind_names), "a kind (real, int, ...)");
    f.span = text_span(r);
    return f;
}

static AbiData read_data(TextReader *r) {
    AbiData d = {.name = text_string(r, "a name")};
    d.type = text_type(r);
    d.kind = (AbiKind)name_number(r, kind_names, COUNT(kind_names), "a kind (real, int, ...)");
    if (text_accept(r, "bound"))
        d.bound = text_dim(r);
    d.span = text_span(r);
    return d;
}

static AbiSub read_sub(TextReader *r) {
    AbiSub s = {.path = text_string(r, "a path")};
    s.cname = text_word(r, "a macro name");
    s.model = text_string(r, "a model");
    if (text_accept(r, "offset"))
        s.offset = text_dim(r);
    if (text_accept(r, "state"))
        s.state_offset = text_dim(r);
    return s;
}

static AbiUsing read_using(TextReader *r) {
    AbiUsing u = {.present = true, .optimizer = text_string(r, "an optimizer")};
    text_expect(r, "batch");
    u.batch = text_int(r, "a number");
    text_expect(r, "epochs");
    u.epochs = text_int(r, "a number");
    if (text_accept(r, "rows"))
        u.rows = known_dim(r);
    return u;
}

static AbiFit read_fit(TextReader *r) {
    AbiFit f = {.present = true};
    text_expect(r, "scale");
    f.scale = (int)text_int(r, "the number of a parameter");
    if (text_accept(r, "rule"))
        f.rule = text_string(r, "a rule");
    while (text_accept(r, "posterior")) {
        AbiPosterior p = {.tensor = (int)text_int(r, "the number of a parameter")};
        p.family = text_word(r, "a family");
        p.n_values = (int)text_int(r, "a number");
        vec_push(r->arena, &f.posteriors, p);
    }
    return f;
}

static bool read_member(TextReader *r, AbiBlock *b) {
    if (text_accept(r, "doc"))
        b->doc = text_string(r, "a text");
    else if (text_accept(r, "dims"))
        do
            vec_push(r->arena, &b->dims, read_dim_symbol(r));
        while (text_accept(r, ","));
    else if (text_accept(r, "param"))
        vec_push(r->arena, &b->params, read_tensor(r));
    else if (text_accept(r, "state"))
        vec_push(r->arena, &b->states, read_tensor(r));
    else if (text_accept(r, "opt"))
        vec_push(r->arena, &b->opts, read_tensor(r));
    else if (text_accept(r, "hyper"))
        vec_push(r->arena, &b->formals, read_formal(r));
    else if (text_accept(r, "data"))
        vec_push(r->arena, &b->data, read_data(r));
    else if (text_accept(r, "report"))
        vec_push(r->arena, &b->reports, text_string(r, "a name"));
    else if (text_accept(r, "sub"))
        vec_push(r->arena, &b->subs, read_sub(r));
    else if (text_accept(r, "observations"))
        b->observations = text_dim(r);
    else if (text_accept(r, "fit"))
        b->fit = read_fit(r);
    else if (text_accept(r, "using"))
        b->using_ = read_using(r);
    else
        return false;
    return true;
}

AbiBlock *abi_read_block(TextReader *r) {
    bool is_estimator = text_is(r, "estimator");
    if (!is_estimator && !text_is(r, "model"))
        return NULL;
    text_next(r);
    AbiBlock *b = ARENA_NEW(r->arena, AbiBlock);
    b->is_estimator = is_estimator;
    b->name = text_string(r, "a name");
    b->cname = text_word(r, "a C name");
    b->real = text_dtype(r);
    b->has_prior = text_accept(r, "prior");
    b->is_minimize = text_accept(r, "minimize");
    b->span = text_span(r);
    text_expect(r, "{");
    while (read_member(r, b)) {
    }
    text_expect(r, "}");
    return b;
}

static AbiArg read_arg(TextReader *r) {
    AbiArg a = {.kind = (AbiArgKind)name_number(r, arg_names, COUNT(arg_names),
                                                "an argument (exec, dim, input, ...)")};
    a.name = text_string(r, "a name");
    if (r->kind == TEXT_WORD && dtype_named(r->str) != DT_NONE)
        a.dt = text_dtype(r);
    a.is_const = text_accept(r, "const");
    if (text_accept(r, "is"))
        a.dim = known_dim(r);
    if (text_accept(r, "bytes"))
        a.bytes = text_dim(r);
    a.span = text_span(r);
    return a;
}

AbiEntry *abi_read_entry(TextReader *r) {
    if (!text_accept(r, "entry"))
        return NULL;
    AbiEntry *e = ARENA_NEW(r->arena, AbiEntry);
    e->kind = (AbiEntryKind)name_number(r, entry_names, COUNT(entry_names),
                                        "a kind of entry (def, forward, ...)");
    e->cname = text_string(r, "a C name");
    if (text_accept(r, "of"))
        e->decl = text_string(r, "a declaration");
    if (text_accept(r, "doc"))
        e->doc = text_string(r, "a text");
    if (text_accept(r, "work"))
        e->work_bytes = text_dim(r);
    e->span = text_span(r);
    text_expect(r, "{");
    while (!text_is(r, "}") && r->kind != TEXT_END)
        vec_push(r->arena, &e->args, read_arg(r));
    text_expect(r, "}");
    return e;
}
