/* Reads the text of the graph IR.
 *
 *     module = "graph" STRING { block } { func }
 *     func   = "func" STRING dtype [ "block" INT ] span
 *              "{" [ "dims" dims ] [ entry ] { check } { line } "}"
 *     check  = "check" dim STRING span
 *     line   = value ":" type "=" role [ STRING ] [ "bound" dim ] [ "tensor" INT ] span
 *            | [ value ":" type { "," value ":" type } "=" ]
 *              op [ "{" attribute "}" ] [ "(" values ")" ] [ STRING ] span
 *            | result [ STRING ] value [ "of" INT ]
 *
 * Blocks and entries are those of abi_text.h, nests those of graph_body.c. */
#include <inttypes.h>
#include <string.h>

#include "ir/abi_text.h"
#include "ir/graph_text.h"

extern const char *const graph_role_names[], *const graph_result_names[];

Val graph_read_val(IrReader *r) {
    text_expect(&r->t, "%");
    int64_t id = text_int(&r->t, "the number of a value");
    if (!r->t.failed && (id < 1 || id >= r->f->vals.n))
        text_fail(&r->t, "%%%" PRId64 " is not defined before", id);
    return (Val){r->t.failed ? 0 : (uint32_t)id};
}

/* Functions may be named before they come: they get their number by a scan of the text when reading
 * begins. */
FuncId graph_read_func(IrReader *r) {
    Str name = text_string(&r->t, "a function");
    const Func *f = r->t.failed ? NULL : graph_func_named(r->m, name);
    if (!f)
        text_fail(&r->t, "there is no function `%s`", name);
    return f ? f->id : (FuncId){0};
}

static int word_number(const TextReader *t, const char *const *names, int n) {
    for (int k = 0; k < n && t->kind == TEXT_WORD; k++)
        if (strcmp(t->str, names[k]) == 0)
            return k;
    return -1;
}

static int small_int(TextReader *t, const char *what) {
    int64_t v = text_int(t, what);
    if (v < 0 || v > INT32_MAX)
        text_fail(t, "%s is out of range", what);
    return (int)v;
}

static void read_param(IrReader *r, int role, Type type) {
    TextReader *t = &r->t;
    Param p = {.role = (Role)role, .tensor = -1};
    text_next(t);
    if (t->kind == TEXT_STRING)
        p.name = text_string(t, "a name");
    if (text_accept(t, "bound"))
        p.bound = text_dim(t);
    if (text_accept(t, "tensor"))
        p.tensor = small_int(t, "the number of a tensor");
    p.span = text_span(t);
    if (r->f->insts.n)
        text_fail(t, "a param after an instruction");
    if (!t->failed)
        graph_param(r->m, r->f, p, type);
}

static void read_args(IrReader *r) {
    text_expect(&r->t, "(");
    while (!text_is(&r->t, ")") && !r->t.failed) {
        Val v = graph_read_val(r);
        vec_push(r->m->arena, &r->args, v);
        if (!text_accept(&r->t, ","))
            break;
    }
    text_expect(&r->t, ")");
}

/* The types of the results must be those of the op's rule. */
static void check_types(IrReader *r, const OpDef *op, Span at, const void *attr, const Type *types,
                        int n) {
    Span token = r->t.at;
    Type *want = ARENA_ARRAY(r->m->arena, Type, MAX_RESULTS);
    int n_want = 0;
    if (r->t.failed || !op->type)
        return;
    r->t.at = at;
    if (op->n_args >= 0 && op->n_args != r->args.n) {
        text_fail(&r->t, "%s has %d operands, not %d", op->name, op->n_args, r->args.n);
        return;
    }
    const char *why = op->type(r->m, r->f, r->args.p, r->args.n, attr, want, &n_want);
    if (why)
        text_fail(&r->t, "%s: %s", op->name, why);
    else if (n_want != n)
        text_fail(&r->t, "%s has %d results, not %d", op->name, n_want, n);
    for (int k = 0; k < n && !r->t.failed; k++)
        if (!type_equal(types[k], want[k]))
            text_fail(&r->t, "%s has a result of another type", op->name);
    r->t.at = token;
}

static void read_inst(IrReader *r, const Type *types, int n, Span line) {
    TextReader *t = &r->t;
    const OpDef *op = t->kind == TEXT_WORD ? op_named(t->str) : NULL;
    if (!op) {
        t->at = line;
        text_fail(t, "this line is no instruction");
        return;
    }
    Span at = t->at;
    text_next(t);
    r->args.n = 0;
    r->args.cap = 0;
    r->args.p = NULL;
    r->type = n ? types[0] : (Type){.dt = DT_NONE};
    const void *attr = op->read ? op->read(r) : NULL;
    if (!(op->flags & OPF_TEXT) && op->n_args && !t->failed)
        read_args(r);
    Str name = t->kind == TEXT_STRING ? text_string(t, "a name") : NULL;
    if (!text_is(t, "@"))
        text_fail(t, "an instruction ends with its span");
    Span span = text_span(t);
    if ((op->flags & OPF_TEXT) && n != 1)
        text_fail(t, "%s has one result", op->name);
    /* bodies of batch and fused may come later: their types are checked when all is read */
    if (!(op->flags & OPF_FUNCS))
        check_types(r, op, at, attr, types, n);
    if (!t->failed)
        graph_inst_typed(r->m, r->f, op, r->args.p, r->args.n, attr, span, name, types, n);
}

/* Values on the left of `=`, numbered in order. Returns how many. */
static int read_left(IrReader *r, Type *types) {
    TextReader *t = &r->t;
    int n = 0;
    while (text_is(t, "%") && !t->failed) {
        text_next(t);
        int64_t id = text_int(t, "the number of a value");
        if (!t->failed && id != r->f->vals.n + n)
            text_fail(t, "expected %%%d here: values are numbered in order", r->f->vals.n + n);
        text_expect(t, ":");
        if (n == MAX_RESULTS)
            text_fail(t, "more than %d results", MAX_RESULTS);
        if (!t->failed)
            types[n++] = text_type(t);
        if (!text_accept(t, ","))
            break;
    }
    if (n)
        text_expect(t, "=");
    return n;
}

static void read_result(IrReader *r, int role) {
    TextReader *t = &r->t;
    Result x = {.role = (ResRole)role, .of = -1};
    text_next(t);
    if (t->kind == TEXT_STRING)
        x.name = text_string(t, "a name");
    x.val = graph_read_val(r);
    if (text_accept(t, "of"))
        x.of = small_int(t, "the number of a param");
    if (!t->failed)
        graph_result(r->m, r->f, x);
}

static void read_line(IrReader *r, Type *types) {
    TextReader *t = &r->t;
    Span line = t->at;
    line.col = 1;
    int result = word_number(t, graph_result_names, RES_LOCAL + 1), role = -1;
    if (result >= 0) {
        read_result(r, result);
        return;
    }
    int n = read_left(r, types);
    if (n == 1 && (role = word_number(t, graph_role_names, ROLE_LOCAL + 1)) >= 0)
        read_param(r, role, types[0]);
    else if (!t->failed)
        read_inst(r, types, n, line);
}

static void read_head(IrReader *r) {
    TextReader *t = &r->t;
    r->f->real = text_dtype(t);
    if (text_accept(t, "block"))
        r->f->block = small_int(t, "the number of a block");
    r->f->span = text_span(t);
    text_expect(t, "{");
    if (text_accept(t, "dims"))
        do {
            Str name = text_word(t, "a dim");
            int64_t least = text_accept(t, ">=") ? text_int(t, "the least value") : 1;
            if (!t->failed)
                vec_push(r->m->arena, &r->f->dims, text_dim_symbol(t, name, least));
        } while (text_accept(t, ","));
    r->f->entry = abi_read_entry(t);
    while (text_accept(t, "check")) {
        EntryCheck c;
        c.cond = text_dim(t);
        c.message = text_string(t, "a message");
        c.span = text_span(t);
        vec_push(r->m->arena, &r->f->checks, c);
    }
}

/* Inside a function only its dims are known; others of the same name and least value are the same
 * symbol. */
static void hide_other_dims(TextReader *t, const Func *f) {
    int n = 0;
    TextSym *keep = ARENA_ARRAY(t->arena, TextSym, t->syms.n + 1);
    for (int pass = 0; pass < 2; pass++)
        for (int k = 0; k < t->syms.n; k++) {
            bool own = false;
            for (int d = 0; d < f->dims.n; d++)
                own |= f->dims.p[d] == t->syms.p[k].sym;
            if (own == (pass == 1))
                keep[n++] = t->syms.p[k];
        }
    for (int k = 0; k < n; k++)
        t->syms.p[k] = keep[k]; /* the last one of a name is found */
}

static void read_func(IrReader *r, Type *types) {
    TextReader *t = &r->t;
    text_expect(t, "func");
    Str name = text_string(t, "a function");
    r->f = t->failed ? NULL : graph_func_named(r->m, name);
    if (!r->f || r->f->vals.n > 1 || r->f->params.n || r->f->results.n) {
        text_fail(t, "the function `%s` is there twice", name);
        return;
    }
    read_head(r);
    hide_other_dims(t, r->f);
    while (!t->failed && !text_is(t, "}")) {
        if (t->kind == TEXT_END)
            text_fail(t, "the text ends inside the function `%s`", name);
        else
            read_line(r, types);
    }
    text_expect(t, "}");
}

/* Makes the functions of the rest of the text, empty, so that they can be named before they come.
 */
static void declare_funcs(IrReader *r) {
    TextReader ahead = r->t;
    int depth = 0;
    while (ahead.kind != TEXT_END && !ahead.failed) {
        if (text_is(&ahead, "{") || text_is(&ahead, "}"))
            depth += text_is(&ahead, "{") ? 1 : -1;
        bool is_func = depth == 0 && text_is(&ahead, "func");
        text_next(&ahead);
        if (is_func && ahead.kind == TEXT_STRING) {
            if (graph_func_named(r->m, ahead.str))
                text_fail(&ahead, "the function `%s` is there twice", ahead.str);
            else
                graph_func_new(r->m, ahead.str, (Span){0});
        }
    }
    r->t.failed = ahead.failed;
}

Module *graph_read(Ctx *ctx, Arena *arena, uint32_t file) {
    IrReader r = {.t = text_open(ctx, arena, file, "E0701")};
    TextReader *t = &r.t;
    text_expect(t, "graph");
    Str source = text_string(t, "the name of the source");
    r.m = graph_module_new(ctx, arena, source);
    if (!t->failed)
        text_source(t, source);
    for (AbiBlock *b; (b = abi_read_block(t));)
        vec_push(arena, &r.m->blocks, b);
    if (!t->failed)
        declare_funcs(&r);
    Type *types = ARENA_ARRAY(arena, Type, MAX_RESULTS);
    while (!t->failed && t->kind != TEXT_END)
        read_func(&r, types);
    if (t->failed)
        return NULL;
    const char *why = graph_verify(r.m);
    if (why) {
        Span start = {file, 1, 1, 1, 1};
        diag_error(ctx, "E0702", start, "this graph IR does not hold together: %s", why);
        return NULL;
    }
    return r.m;
}
