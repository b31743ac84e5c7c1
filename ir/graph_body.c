/* The text of nests. Instructions of a body that are used more than once are named by `let $0 =
 * ...;`; leaves stand in place.
 *
 *     nest = "[" dims "]" reducer body "over" indices [ "where" guards ] [ "in" "f64" ] [ "needs" dim ]
 *            [ "then" body ] [ "from" value ]
 *     body = { "let" "$" INT "=" expr ";" } expr
 *     expr = sum [ ("<" | "<=" | "==" | "!=") sum ]      the infix forms of scalar.def
 *     prim = value [ "?" const ] "[" dims "]" | row "(" expr { "," expr } ")" | const
 *          | "{" dim "}" | "$" INT | "acc" | "(" expr ")"
 *
 * A constant without a type is i64 if whole, of the function's real otherwise; `f64(e)` is a cast.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "ir/graph_text.h"

static const char *const reducers[] = {"=", "+=", "max=", "min=", "argmax="};

/* ---- printing */

typedef struct BodyPrinter {
    StrBuf *sb;
    const Body *b;
    const Val *args;
    DType real;
    int *uses;
    int *name; /* of the let, or -1 */
} BodyPrinter;

static void print_const(BodyPrinter *p, DType dt, ScalarValue v) {
    if (dt == DT_BOOL) {
        sb_put(p->sb, v.i ? "true" : "false");
        return;
    }
    if (dtype_is_real(dt))
        sb_real(p->sb, v.f);
    else
        sb_printf(p->sb, "%" PRId64, v.i);
    if (dt != p->real && dt != DT_I64)
        sb_printf(p->sb, " %s", dtype_name(dt));
}

static void print_expr(BodyPrinter *p, int k, int level);

static void print_op(BodyPrinter *p, const BodyInst *i, int level) {
    const ScalarDef *d = scalar_def(i->op);
    if (d->infix && d->level < 3) {
        bool parens = d->level < level;
        sb_put(p->sb, parens ? "(" : "");
        print_expr(p, i->args[0], d->level == 0 ? 1 : d->level);
        sb_printf(p->sb, " %s ", d->infix);
        print_expr(p, i->args[1], d->level + 1);
        sb_put(p->sb, parens ? ")" : "");
        return;
    }
    if (i->op == SC_cast)
        sb_put(p->sb, dtype_name(i->dt));
    else if (i->op == SC_bitcast)
        sb_printf(p->sb, "bitcast.%s", dtype_name(i->dt));
    else
        sb_put(p->sb, d->name);
    sb_putc(p->sb, '(');
    for (int k = 0; k < d->arity; k++) {
        sb_put(p->sb, k ? ", " : "");
        print_expr(p, i->args[k], 0);
    }
    sb_putc(p->sb, ')');
}

static void print_inst(BodyPrinter *p, const BodyInst *i, int level) {
    switch (i->kind) {
    case BODY_OP:
        print_op(p, i, level);
        break;
    case BODY_READ:
        sb_printf(p->sb, "%%%" PRIu32, p->args[i->operand].id);
        if (i->has_fill) {
            sb_putc(p->sb, '?');
            print_const(p, i->dt == DT_F32 || i->dt == DT_F64 ? p->real : DT_I64, i->k);
        }
        sb_putc(p->sb, '[');
        text_print_dims(p->sb, i->map, i->rank);
        sb_putc(p->sb, ']');
        break;
    case BODY_INDEX:
    case BODY_DIM:
        sb_putc(p->sb, '{');
        dim_print(p->sb, i->dim);
        sb_putc(p->sb, '}');
        break;
    case BODY_CONST:
        print_const(p, i->dt, i->k);
        break;
    case BODY_ACC:
        sb_put(p->sb, "acc");
        break;
    }
}

static void print_expr(BodyPrinter *p, int k, int level) {
    if (p->name[k] >= 0)
        sb_printf(p->sb, "$%d", p->name[k]);
    else
        print_inst(p, &p->b->insts[k], level);
}

static void print_body(StrBuf *sb, const Body *b, const Val *args, DType real) {
    BodyPrinter p = {.sb = sb, .b = b, .args = args, .real = real};
    p.uses = ARENA_ARRAY(sb->arena, int, b->n + 1);
    p.name = ARENA_ARRAY(sb->arena, int, b->n + 1);
    p.uses[b->n - 1] = 1;
    for (int k = b->n; k-- > 0;) { /* uses by instructions that are needed */
        const BodyInst *i = &b->insts[k];
        for (int a = 0; p.uses[k] && i->kind == BODY_OP && a < scalar_def(i->op)->arity; a++)
            p.uses[i->args[a]]++;
        p.name[k] = -1;
    }
    int n = 0;
    for (int k = 0; k < b->n - 1; k++) {
        if (p.uses[k] < 2 || b->insts[k].kind != BODY_OP)
            continue;
        sb_printf(sb, "let $%d = ", n);
        print_inst(&p, &b->insts[k], 0);
        sb_put(sb, "; ");
        p.name[k] = n++;
    }
    print_expr(&p, b->n - 1, 0);
}

void graph_print_nest(StrBuf *sb, const Inst *i, DType real) {
    const Nest *n = i->attr;
    sb_put(sb, "[");
    text_print_dims(sb, n->map, n->rank);
    sb_printf(sb, "] %s ", reducers[n->op]);
    print_body(sb, &n->body, i->args, real);
    sb_put(sb, " over");
    for (int k = 0; k < n->n_box; k++) {
        sb_printf(sb, "%s %s<", k ? "," : "", n->box[k].sym->name);
        dim_print(sb, n->box[k].extent);
    }
    for (int k = 0; k < n->n_guards; k++) {
        sb_put(sb, k ? ", 0 <= " : " where 0 <= ");
        dim_print(sb, n->guards[k].form);
        sb_put(sb, " < ");
        dim_print(sb, n->guards[k].extent);
    }
    if (n->wide)
        sb_put(sb, " in f64");
    if (n->need) {
        sb_put(sb, " needs ");
        dim_print(sb, n->need);
    }
    if (n->post.n) {
        sb_put(sb, " then ");
        print_body(sb, &n->post, i->args, real);
    }
    if (n->init >= 0)
        sb_printf(sb, " from %%%" PRIu32, i->args[n->init].id);
}

/* ---- reading */

typedef struct BodyReader {
    IrReader *r;
    VEC(BodyInst) insts;
    VEC(int) lets;
    DType acc; /* type of `acc`, DT_NONE outside post */
    int depth;
} BodyReader;

static Arena *arena_of(BodyReader *b) { return &b->r->t.ctx->perm; }

static bool same_leaf(const BodyInst *a, const BodyInst *b) {
    if (a->kind != b->kind || a->dt != b->dt || a->kind == BODY_OP || a->dim != b->dim ||
        a->operand != b->operand || a->rank != b->rank || a->has_fill != b->has_fill)
        return false;
    for (int k = 0; k < a->rank; k++)
        if (a->map[k] != b->map[k])
            return false;
    return memcmp(&a->k.f, &b->k.f, sizeof a->k.f) == 0 && a->k.i == b->k.i;
}

static int push(BodyReader *b, BodyInst i) {
    for (int k = 0; k < b->insts.n; k++)
        if (same_leaf(&b->insts.p[k], &i))
            return k;
    vec_push(arena_of(b), &b->insts, i);
    return b->insts.n - 1;
}

static DType dt_of(BodyReader *b, int k) { return b->insts.n ? b->insts.p[k].dt : DT_NONE; }

static DType suffix(IrReader *r, DType plain) {
    if (r->t.kind != TEXT_WORD || dtype_named(r->t.str) == DT_NONE)
        return plain;
    return text_dtype(&r->t);
}

/* A constant; a fill has the type of its operand. */
static int read_const(BodyReader *b, DType fill) {
    TextReader *t = &b->r->t;
    BodyInst i = {.kind = BODY_CONST};
    if (text_is(t, "true") || text_is(t, "false")) {
        i.dt = DT_BOOL;
        i.k.i = text_is(t, "true");
        text_next(t);
        return push(b, i);
    }
    TextReader ahead = *t;
    bool minus = text_is(t, "-");
    if (minus)
        text_next(&ahead);
    bool whole = ahead.kind == TEXT_INT;
    if (fill != DT_NONE ? !dtype_is_real(fill) : whole) {
        i.k.i = text_int(t, "an integer");
        i.dt = fill != DT_NONE ? fill : suffix(b->r, DT_I64);
        if (dtype_is_real(i.dt))
            i.k = (ScalarValue){.f = (double)i.k.i};
    } else {
        i.k.f = text_real(t);
        i.dt = fill != DT_NONE ? fill : suffix(b->r, b->r->f->real);
        if (!dtype_is_real(i.dt))
            text_fail(t, "a real constant of type %s", dtype_name(i.dt));
    }
    return push(b, i);
}

static int read_expr(BodyReader *b, int level);

static int operand_number(BodyReader *b, Val v) {
    for (int k = 0; k < b->r->args.n; k++)
        if (b->r->args.p[k].id == v.id)
            return k;
    vec_push(arena_of(b), &b->r->args, v);
    return b->r->args.n - 1;
}

static int read_read(BodyReader *b) {
    TextReader *t = &b->r->t;
    Val v = graph_read_val(b->r);
    if (t->failed)
        return 0;
    Type type = graph_type(b->r->f, v);
    BodyInst i = {
        .kind = BODY_READ, .dt = type.dt, .operand = operand_number(b, v), .rank = type.rank};
    if (text_accept(t, "?")) {
        BodyReader fill = {.r = b->r};
        int k = read_const(&fill, type.dt);
        i.has_fill = true;
        i.k = t->failed ? i.k : fill.insts.p[k].k;
    }
    Dim *map = ARENA_ARRAY(arena_of(b), Dim, type.rank + 1);
    text_expect(t, "[");
    for (int k = 0; k < type.rank; k++) {
        if (k)
            text_expect(t, ",");
        map[k] = text_dim(t);
    }
    text_expect(t, "]");
    i.map = map;
    return push(b, i);
}

static int op_inst(BodyReader *b, ScalarOp op, DType to, const int *a) {
    const ScalarDef *d = scalar_def(op);
    int first = op == SC_select;
    DType dt = b->r->t.failed ? DT_NONE : dt_of(b, a[first]);
    for (int k = first; k < d->arity && !b->r->t.failed; k++)
        if (dt_of(b, a[k]) != dt)
            text_fail(&b->r->t, "%s of %s and %s", d->name, dtype_name(dt),
                      dtype_name(dt_of(b, a[k])));
    BodyInst i = {.kind = BODY_OP,
                  .op = op,
                  .dt = d->result == SR_ATTR   ? to
                        : d->result == SR_BOOL ? DT_BOOL
                                               : dt};
    memcpy(i.args, a, (size_t)d->arity * sizeof *a);
    vec_push(arena_of(b), &b->insts, i);
    return b->insts.n - 1;
}

/* row "(" arguments ")" */
static int read_call(BodyReader *b) {
    TextReader *t = &b->r->t;
    Str name = text_word(t, "an operation");
    ScalarOp op = dtype_named(name) != DT_NONE        ? SC_cast
                  : strncmp(name, "bitcast.", 8) == 0 ? SC_bitcast
                                                      : scalar_named(name);
    DType to = op == SC_cast      ? dtype_named(name)
               : op == SC_bitcast ? dtype_named(name + 8)
                                  : DT_NONE;
    int a[3] = {0, 0, 0};
    if (op == SC_NONE || (scalar_def(op)->flags & SF_LANES) ||
        ((op == SC_cast || op == SC_bitcast) && to == DT_NONE)) {
        text_fail(t, "`%s` is no scalar operation", name);
        return 0;
    }
    text_expect(t, "(");
    for (int k = 0; k < scalar_def(op)->arity && !t->failed; k++) {
        if (k)
            text_expect(t, ",");
        a[k] = read_expr(b, 0);
    }
    text_expect(t, ")");
    return op_inst(b, op, to, a);
}

static int read_primary(BodyReader *b) {
    TextReader *t = &b->r->t;
    int r = 0;
    if (t->failed)
        return 0;
    if (text_is(t, "%"))
        return read_read(b);
    if (text_accept(t, "(")) {
        r = read_expr(b, 0);
        text_expect(t, ")");
        return r;
    }
    if (text_accept(t, "$")) {
        int64_t k = text_int(t, "a number after $");
        if (k < 0 || k >= b->lets.n)
            text_fail(t, "$%lld is not defined before", (long long)k);
        return t->failed ? 0 : b->lets.p[k];
    }
    if (text_accept(t, "{")) {
        Dim d = text_dim(t);
        DimSym s[64];
        int n = dim_symbols(d, s, 64);
        BodyKind kind = BODY_DIM;
        for (int k = 0; k < n && k < 64; k++)
            kind = s[k]->is_index ? BODY_INDEX : kind;
        text_expect(t, "}");
        return push(b, (BodyInst){.kind = kind, .dt = DT_I64, .dim = d});
    }
    if (text_is(t, "acc")) {
        if (b->acc == DT_NONE)
            text_fail(t, "`acc` stands outside of `then`");
        text_next(t);
        return push(b, (BodyInst){.kind = BODY_ACC, .dt = b->acc});
    }
    if (t->kind != TEXT_WORD || text_is(t, "true") || text_is(t, "false") || text_is(t, "inf") ||
        text_is(t, "nan"))
        return read_const(b, DT_NONE);
    return read_call(b);
}

static ScalarOp infix_at(const TextReader *t, int level) {
    for (int k = 1; k < SC_COUNT && t->kind == TEXT_MARK; k++) {
        const ScalarDef *d = scalar_def((ScalarOp)k);
        if (d->infix && d->level == level && strcmp(d->infix, t->str) == 0)
            return (ScalarOp)k;
    }
    return SC_NONE;
}

static int read_expr(BodyReader *b, int level) {
    TextReader *t = &b->r->t;
    int r = 0;
    if (++b->depth > 2000)
        text_fail(t, "a body is nested too deeply");
    else
        r = level == 3 ? read_primary(b) : read_expr(b, level + 1);
    for (ScalarOp op; level < 3 && !t->failed && (op = infix_at(t, level)) != SC_NONE;) {
        text_next(t);
        int other = level == 2 ? read_primary(b) : read_expr(b, level + 1);
        r = op_inst(b, op, DT_NONE, (int[]){r, other});
    }
    b->depth--;
    return r;
}

static Body read_body(IrReader *r, DType acc) {
    BodyReader b = {.r = r, .acc = acc};
    while (text_accept(&r->t, "let")) {
        text_expect(&r->t, "$");
        int64_t k = text_int(&r->t, "a number after $");
        if (!r->t.failed && k != b.lets.n)
            text_fail(&r->t, "expected $%d here", b.lets.n);
        text_expect(&r->t, "=");
        int v = read_expr(&b, 0);
        text_expect(&r->t, ";");
        vec_push(arena_of(&b), &b.lets, v);
    }
    int last = read_expr(&b, 0);
    if (r->t.failed)
        return (Body){0, NULL};
    if (last !=
        b.insts.n -
            1) { /* a leaf, or a let, that stands earlier: the result is the last instruction */
        BodyInst i = b.insts.p[last];
        vec_push(arena_of(&b), &b.insts, i);
    }
    return (Body){b.insts.n, b.insts.p};
}

/* The indices after `over`, found ahead of the body that uses them; t moves past them. */
static void read_box(TextReader *t, Nest *n) {
    VEC(NestIndex) box = {0};
    text_expect(t, "over");
    while (t->kind == TEXT_WORD && !text_is(t, "where") && !text_is(t, "needs") &&
           !text_is(t, "then") && !text_is(t, "from")) {
        Str name = text_word(t, "an index");
        text_expect(t, "<");
        Dim extent = text_dim(t);
        vec_push(&t->ctx->perm, &box, (NestIndex){dim_symbol_new(t->ctx, name, 0, true), extent});
        if (!text_accept(t, ","))
            break;
    }
    n->box = box.p;
    n->n_box = box.n;
    for (int k = 0; k < box.n; k++)
        vec_push(t->arena, &t->syms, (TextSym){box.p[k].sym->name, box.p[k].sym});
}

static void read_guards(IrReader *r, Nest *n) {
    TextReader *t = &r->t;
    VEC(NestGuard) guards = {0};
    if (!text_accept(t, "where"))
        return;
    do {
        NestGuard g;
        if (text_int(t, "0") != 0)
            text_fail(t, "a guard begins with 0");
        text_expect(t, "<=");
        g.form = text_dim(t);
        text_expect(t, "<");
        g.extent = text_dim(t);
        vec_push(&t->ctx->perm, &guards, g);
    } while (text_accept(t, ","));
    n->guards = guards.p;
    n->n_guards = guards.n;
}

static NestOpKind read_reducer(TextReader *t) {
    static const char *const words[] = {NULL, "+", "max", "min", "argmax"};
    for (int k = 1; k < 5; k++)
        if (text_accept(t, words[k])) {
            text_expect(t, "=");
            return (NestOpKind)k;
        }
    text_expect(t, "=");
    return NEST_STORE;
}

const Nest *graph_read_nest(IrReader *r) {
    TextReader *t = &r->t;
    Nest *n = ARENA_NEW(&t->ctx->perm, Nest);
    VEC(Dim) map = {0};
    int outer = t->syms.n;
    uint32_t line = t->at.line;
    n->init = -1;
    TextReader ahead = *t;
    Span last = t->at;
    while (ahead.kind != TEXT_END && ahead.at.line == line && !text_is(&ahead, "over")) {
        last = ahead.at;
        text_next(&ahead);
    }
    if (ahead.at.line != line || ahead.kind == TEXT_END) {
        ahead.at = last;
        text_fail(&ahead, "the line ends without `over` and the indices");
    }
    read_box(&ahead, n);
    t->failed = ahead.failed;
    if (t->failed) {
        *t = ahead;
        return n;
    }
    t->syms = ahead.syms;
    text_expect(t, "[");
    while (!text_is(t, "]") && !t->failed) {
        vec_push(&t->ctx->perm, &map, text_dim(t));
        if (!text_accept(t, ","))
            break;
    }
    text_expect(t, "]");
    n->map = map.p;
    n->rank = map.n;
    n->op = read_reducer(t);
    n->body = read_body(r, DT_NONE);
    if (!t->failed && !text_is(t, "over"))
        text_fail(t, "expected `over` after the body");
    if (!t->failed)
        *t = ahead; /* the indices were read above */
    read_guards(r, n);
    n->wide = text_accept(t, "in");
    if (n->wide)
        text_expect(t, "f64");
    if (text_accept(t, "needs"))
        n->need = text_dim(t);
    if (text_accept(t, "then"))
        n->post = read_body(r, n->op == NEST_ARGMAX ? DT_I32
                               : n->body.n          ? n->body.insts[n->body.n - 1].dt
                                                    : DT_NONE);
    if (text_accept(t, "from")) {
        Val v = graph_read_val(r);
        BodyReader b = {.r = r};
        n->init = t->failed ? -1 : operand_number(&b, v);
    }
    t->syms.n = outer;
    return n;
}
