/* Reads the text of the loop IR (loop_text.c). Errors are E0801 (malformed text) and E0802 (it does
 * not verify).
 *
 *     module = "loops" STRING ["for" STRING] { "status" INT STRING } { block } { func }
 *     func   = "func" STRING dtype "groups" INT span "{" { fact } [entry] { buf } { stmt } "}"
 *     fact   = "dims" dim {"," dim} | "status" statuses | "check" DIM "else" INT
 *            | "plan" "fixed" DIM "job" DIM "jobs" DIM
 *     buf    = "buf" NAME TYPE "=" memory ["at" DIM] ["written"] [span]
 *     memory = "arg" INT | "work" | "job" | "alias" NAME | "const" "[" numbers "]"
 *     stmt   = [values "="] form [span] [body [("else" | "ordered") body]]
 *     form   = "poll" | ltype NUMBER | "index" ltype DIM ["by" INT]
 *            | "load" ltype element access | "store" element "=" value access
 *            | ROW "(" values ")" [":" ltype] | "call" NAME "(" elements, values ")" [":" ltype]
 *            | "require" value "else" INT | "return" value | "if" value | "yield" values | "while" [with]
 *            | "for" NAME "in" bounds ".." bounds ["step" INT] ["needs" DIM] ["lines" NAME] ["when" value] [with]
 *              ["parallel" ["onto" NAME "if" dim] ["fetch"] ["awake"]] ["unroll" INT] [STRING]
 *     access = ["axis" INT] ["by" INT] ["active" DIM] ["checked"] ["again"] ["ahead" DIM] ["else" INT] */
#include <stdlib.h>
#include <string.h>

#include "ir/abi_text.h"
#include "ir/loop.h"
#include "ir/target.h"

typedef VEC(LVal) ValList;

typedef struct Reader {
    TextReader t;
    LoopModule *m;
    LoopFunc *f;
    LoopCursor c;
    ValList vals;  /* by the text's number; id 0: not defined */
    int depth;     /* of bodies */
    Span defining; /* place of the value that is being defined */
} Reader;

static bool at_value(const Reader *r) { return text_is(&r->t, "%"); }

static int64_t value_number(Reader *r) {
    text_expect(&r->t, "%");
    int64_t n = text_int(&r->t, "the number of a value");
    if (n < 1 || n > 100000000)
        text_fail(&r->t, "the number of a value is out of range");
    return r->t.failed ? 0 : n;
}

static LVal read_use(Reader *r) {
    Span at = r->t.at;
    int64_t n = value_number(r);
    if (n < r->vals.n && r->vals.p[n].id)
        return r->vals.p[n];
    if (!r->t.failed)
        r->t.at = at;
    text_fail(&r->t, "value %%%lld is used before it is defined", (long long)n);
    return (LVal){0};
}

static void define(Reader *r, int64_t n, LVal v) {
    if (r->t.failed)
        return;
    while (r->vals.n <= n)
        vec_push(r->t.arena, &r->vals, (LVal){0});
    if (r->vals.p[n].id) {
        r->t.at = r->defining;
        text_fail(&r->t, "value %%%lld is defined twice", (long long)n);
        return;
    }
    r->vals.p[n] = v;
}

/* f32, f32x16 */
static LType read_ltype(Reader *r) {
    LType t = {DT_NONE, 1};
    const char *x = r->t.kind == TEXT_WORD ? strchr(r->t.str, 'x') : NULL;
    if (!x) {
        t.dt = text_dtype(&r->t);
        return t;
    }
    t.dt = dtype_named(str_intern(r->t.ctx, r->t.str, (size_t)(x - r->t.str)));
    char *end;
    long lanes = strtol(x + 1, &end, 10);
    if (t.dt == DT_NONE || *end || lanes < 2 || lanes > 1024)
        text_fail(&r->t, "expected a type such as f32 or f32x16");
    t.lanes = (int)lanes;
    text_next(&r->t);
    return t;
}

static BufId read_buf_name(Reader *r) {
    Str name = r->t.str;
    if (r->t.kind == TEXT_WORD)
        for (int k = 0; k < r->f->bufs.n; k++)
            if (r->f->bufs.p[k]->name == name) {
                text_next(&r->t);
                return r->f->bufs.p[k]->id;
            }
    text_fail(&r->t, "expected the name of a buffer");
    return (BufId){0};
}

/* name[dim + %value, ...]; subscripts and values of exactly the buffer's rank. */
static BufId read_element(Reader *r, Dim *subs, LVal *sub_vals) {
    BufId id = read_buf_name(r);
    text_expect(&r->t, "[");
    int rank = id.id ? loop_bufp(r->f, id)->rank : 0;
    for (int k = 0; k < rank; k++) {
        if (k)
            text_expect(&r->t, ",");
        subs[k] = text_dim(&r->t);
        sub_vals[k] = text_accept(&r->t, "+") ? read_use(r) : (LVal){0};
    }
    text_expect(&r->t, "]");
    return id;
}

static const LVal *keep_sub_vals(Reader *r, const LVal *v, int rank) {
    for (int k = 0; k < rank; k++)
        if (v[k].id)
            return arena_dup(r->t.arena, v, (size_t)rank * sizeof *v);
    return NULL;
}

static void read_access(Reader *r, LoopStmt *s) {
    TextReader *t = &r->t;
    if (text_accept(t, "axis"))
        s->lane_axis = (int)text_int(t, "an axis");
    if (text_accept(t, "by"))
        s->lane_step = text_int(t, "a step");
    if (text_accept(t, "active"))
        s->active = text_dim(t);
    s->checked = text_accept(t, "checked");
    s->again = text_accept(t, "again");
    s->ahead = text_accept(t, "ahead") ? text_dim(t) : NULL;
    s->status = text_accept(t, "else") ? (int)text_int(t, "a status") : -1;
}

static LVal read_load(Reader *r) {
    Dim subs[MAX_RANK];
    LVal sub_vals[MAX_RANK];
    LType t = read_ltype(r);
    BufId b = read_element(r, subs, sub_vals);
    if (r->t.failed)
        return (LVal){0};
    if (loop_bufp(r->f, b)->dt != t.dt)
        text_fail(&r->t, "the buffer holds %s", dtype_name(loop_bufp(r->f, b)->dt));
    LoopStmt *s = loop_load_lanes(&r->c, b, subs, t.lanes, NULL);
    s->sub_vals = keep_sub_vals(r, sub_vals, s->rank);
    read_access(r, s);
    return s->result;
}

static void read_store(Reader *r) {
    Dim subs[MAX_RANK];
    LVal sub_vals[MAX_RANK];
    BufId b = read_element(r, subs, sub_vals);
    text_expect(&r->t, "=");
    LVal v = read_use(r);
    if (r->t.failed)
        return;
    bool written = loop_storage(r->f, b)->written;
    LoopStmt *s = loop_store(&r->c, b, subs, v);
    loop_storage(r->f, b)->written = written; /* as the text says */
    s->sub_vals = keep_sub_vals(r, sub_vals, s->rank);
    read_access(r, s);
}

static ScalarValue read_constant(Reader *r, DType dt) {
    if (dtype_is_real(dt)) {
        double v = text_real(&r->t);
        return (ScalarValue){.f = dt == DT_F32 ? (double)(float)v : v};
    }
    return (ScalarValue){.i = text_int(&r->t, "a whole number")};
}

static LVal read_let(Reader *r) {
    ScalarOp op = scalar_named(r->t.str);
    LVal args[3];
    int n = 0;
    text_next(&r->t);
    text_expect(&r->t, "(");
    while (!r->t.failed && n < scalar_def(op)->arity) {
        if (n)
            text_expect(&r->t, ",");
        args[n++] = read_use(r);
    }
    text_expect(&r->t, ")");
    LType to = {DT_NONE, 1};
    if (scalar_def(op)->result == SR_ATTR || op == SC_splat) {
        text_expect(&r->t, ":");
        to = read_ltype(r);
    }
    if (r->t.failed)
        return (LVal){0};
    if (op != SC_splat)
        return loop_let(&r->c, op, args, n, to.dt);
    if (loop_type(r->f, args[0]).dt != to.dt || loop_type(r->f, args[0]).lanes == to.lanes)
        text_fail(&r->t, "a splat of %s cannot be %s", dtype_name(loop_type(r->f, args[0]).dt),
                  dtype_name(to.dt));
    return loop_splat(&r->c, args[0], to.lanes);
}

static LVal read_call(Reader *r) {
    VEC(BufId) bufs = {0};
    VEC(const Dim *) subs = {0};
    ValList vals = {0};
    Str callee = text_word(&r->t, "a function");
    text_expect(&r->t, "(");
    while (!r->t.failed && !text_is(&r->t, ")")) {
        if (bufs.n + vals.n)
            text_expect(&r->t, ",");
        if (at_value(r)) {
            vec_push(r->t.arena, &vals, read_use(r));
            continue;
        }
        if (vals.n)
            text_fail(&r->t, "buffers stand before values");
        Dim d[MAX_RANK];
        LVal none[MAX_RANK];
        BufId b = read_element(r, d, none);
        if (keep_sub_vals(r, none, b.id ? loop_bufp(r->f, b)->rank : 0))
            text_fail(&r->t, "a call's subscripts are dims");
        vec_push(r->t.arena, &bufs, b);
        vec_push(r->t.arena, &subs, arena_dup(r->t.arena, d, sizeof d));
    }
    text_expect(&r->t, ")");
    LType t = {DT_NONE, 1};
    if (text_accept(&r->t, ":"))
        t = read_ltype(r);
    if (r->t.failed)
        return (LVal){0};
    loop_call(&r->c, callee, bufs.p, subs.p, bufs.n, vals.p, vals.n, t);
    return r->c.at->stmts.p[r->c.at->stmts.n - 1]->result;
}

static LVal read_index(Reader *r) {
    LType t = read_ltype(r);
    Dim d = text_dim(&r->t);
    int64_t by = t.lanes > 1 && text_accept(&r->t, "by") ? text_int(&r->t, "a step") : 1;
    if (t.dt != DT_I64)
        text_fail(&r->t, "an index is i64");
    return loop_index(&r->c, d, t.lanes, by);
}

static int read_bounds(Reader *r, const char *fn, Dim *out, int most) {
    int n = 0;
    const char *q = r->t.p;
    bool many = text_is(&r->t, fn) && *q == '(';
    if (many) {
        text_next(&r->t);
        text_next(&r->t);
    }
    do
        if (n < most)
            out[n++] = text_dim(&r->t);
        else
            text_fail(&r->t, "more than %d bounds", most);
    while (many && text_accept(&r->t, ","));
    if (many)
        text_expect(&r->t, ")");
    return n;
}

static void read_body(Reader *r, LoopBody *b, Span outer);

typedef VEC(int64_t) Numbers;

/* with %5 = %1, ... : the numbers of the phis in order, the initial values in init. */
static void read_carried(Reader *r, Numbers *phis, ValList *init) {
    if (!text_accept(&r->t, "with"))
        return;
    do {
        r->defining = r->t.at;
        vec_push(r->t.arena, phis, value_number(r));
        text_expect(&r->t, "=");
        vec_push(r->t.arena, init, read_use(r));
    } while (text_accept(&r->t, ","));
}

/* Bounds are read before the loop's index is in scope; the loop is appended when its head is
 * complete. */
static LoopStmt *read_for_head(Reader *r, Numbers *phis) {
    enum { MOST = 16 };
    Dim lo[MOST], hi[MOST];
    ValList init = {0};
    Str name = text_word(&r->t, "an index");
    text_expect(&r->t, "in");
    int n_lo = read_bounds(r, "max", lo, MOST);
    text_expect(&r->t, "..");
    int n_hi = read_bounds(r, "min", hi, MOST);
    int64_t step = text_accept(&r->t, "step") ? text_int(&r->t, "a step") : 1;
    Dim need = text_accept(&r->t, "needs") ? text_dim(&r->t) : NULL;
    BufId lines = text_accept(&r->t, "lines") ? read_buf_name(r) : (BufId){0};
    LVal when = {0};
    if (text_accept(&r->t, "when"))
        when = read_use(r);
    read_carried(r, phis, &init);
    DimSym index = text_index_symbol(&r->t, name, 0);
    LoopStmt *s = loop_for(&r->c, index, lo, n_lo, hi, n_hi, step, init.p, init.n);
    s->need = need;
    s->lines = lines;
    loop_when(&r->c, s, when);
    return s;
}

static Span read_stmt_span(Reader *r, Span outer) {
    return text_is(&r->t, "@") ? text_span(&r->t) : outer;
}

static void read_loop(Reader *r, bool is_for, const Numbers *outs, Span outer) {
    LoopBody *at = r->c.at;
    Numbers phis = {0};
    ValList init = {0};
    int scope = r->t.syms.n;
    LoopStmt *s;
    if (is_for) {
        s = read_for_head(r, &phis);
    } else {
        read_carried(r, &phis, &init);
        s = loop_while(&r->c, init.p, init.n);
    }
    s->parallel = text_accept(&r->t, "parallel");
    if (s->parallel && text_accept(&r->t, "onto")) {
        Str onto = text_word(&r->t, "a name");
        text_expect(&r->t, "if");
        s->onto_if = text_dim(&r->t);
        s->onto = text_index_symbol(&r->t, onto, 0);
    }
    s->fetch = s->parallel && text_accept(&r->t, "fetch");
    s->awake = s->parallel && text_accept(&r->t, "awake");
    s->unroll = text_accept(&r->t, "unroll") ? (int)text_int(&r->t, "a number") : 0;
    if (r->t.kind == TEXT_STRING)
        s->name = text_string(&r->t, "a name");
    s->span = read_stmt_span(r, outer);
    for (int k = 0; k < phis.n; k++)
        define(r, phis.p[k], s->phi[k]);
    read_body(r, &s->body, s->span);
    if (s->parallel && text_accept(&r->t, "ordered"))
        read_body(r, &s->orelse, s->span);
    r->t.syms.n = scope;
    if (outs->n != s->n_carried)
        text_fail(&r->t, "%d results of a loop with %d carried values", outs->n, s->n_carried);
    for (int k = 0; k < s->n_carried && !r->t.failed; k++)
        define(r, outs->p[k], s->out[k] = loop_val(r->m, r->f, s->carried[k]));
    r->c.at = at;
}

static void read_if(Reader *r, Span outer) {
    LoopBody *at = r->c.at;
    LoopStmt *s = loop_if(&r->c, read_use(r));
    s->span = read_stmt_span(r, outer);
    read_body(r, &s->body, s->span);
    if (text_accept(&r->t, "else"))
        read_body(r, &s->orelse, s->span);
    r->c.at = at;
}

static void read_yield(Reader *r) {
    ValList vals = {0};
    do
        vec_push(r->t.arena, &vals, read_use(r));
    while (text_accept(&r->t, ","));
    LoopStmt *s = loop_stmt(&r->c, LOOP_YIELD);
    s->n_args = vals.n;
    s->args = vals.p;
}

/* The forms that define one value. */
static LVal read_value_form(Reader *r) {
    TextReader *t = &r->t;
    if (text_accept(t, "index"))
        return read_index(r);
    if (text_accept(t, "load"))
        return read_load(r);
    if (text_accept(t, "call"))
        return read_call(r);
    if (text_accept(t, "poll"))
        return loop_poll(&r->c);
    if (t->kind == TEXT_WORD && scalar_named(t->str) != SC_NONE)
        return read_let(r);
    LType type = read_ltype(r);
    return loop_const(&r->c, type, read_constant(r, type.dt));
}

static void read_defining(Reader *r, Span outer) {
    Numbers outs = {0};
    Span at = r->t.at;
    do
        vec_push(r->t.arena, &outs, value_number(r));
    while (text_accept(&r->t, ","));
    text_expect(&r->t, "=");
    if (text_is(&r->t, "for") || text_is(&r->t, "while")) {
        bool is_for = text_is(&r->t, "for");
        text_next(&r->t);
        read_loop(r, is_for, &outs, outer);
        return;
    }
    LVal v = read_value_form(r);
    r->defining = at;
    if (outs.n != 1 || !v.id)
        text_fail(&r->t, "this statement has one result");
    define(r, outs.p[0], v);
}

static void read_effect(Reader *r, Span outer) {
    TextReader *t = &r->t;
    Numbers none = {0};
    if (text_accept(t, "for")) {
        read_loop(r, true, &none, outer);
    } else if (text_accept(t, "while")) {
        read_loop(r, false, &none, outer);
    } else if (text_accept(t, "if")) {
        read_if(r, outer);
    } else if (text_accept(t, "store")) {
        read_store(r);
    } else if (text_accept(t, "yield")) {
        read_yield(r);
    } else if (text_accept(t, "call")) {
        if (read_call(r).id)
            text_fail(t, "the result of a call has no name");
    } else if (text_accept(t, "return")) {
        loop_return(&r->c, read_use(r));
    } else if (text_accept(t, "require")) {
        LVal v = read_use(r);
        text_expect(t, "else");
        loop_require(&r->c, v, (int)text_int(t, "a status"));
    } else {
        text_fail(t, "expected a statement");
    }
}

static void read_stmts(Reader *r, Span outer) {
    while (!text_is(&r->t, "}") && r->t.kind != TEXT_END) {
        r->c.span = outer;
        LoopBody *at = r->c.at;
        int before = at->stmts.n;
        if (at_value(r))
            read_defining(r, outer);
        else
            read_effect(r, outer);
        if (text_is(&r->t, "@") && at->stmts.n > before)
            at->stmts.p[at->stmts.n - 1]->span = text_span(&r->t);
    }
}

static void read_body(Reader *r, LoopBody *b, Span outer) {
    r->c.at = b;
    text_expect(&r->t, "{");
    if (++r->depth > 256)
        text_fail(&r->t, "bodies are nested too deeply");
    read_stmts(r, outer);
    r->depth--;
    text_expect(&r->t, "}");
}

/* ---- functions */

static const ScalarValue *read_data(Reader *r, DType dt, int64_t *n) {
    VEC(ScalarValue) v = {0};
    text_expect(&r->t, "[");
    if (!text_is(&r->t, "]"))
        do
            vec_push(r->t.arena, &v, read_constant(r, dt));
        while (text_accept(&r->t, ","));
    text_expect(&r->t, "]");
    *n = v.n;
    return v.p;
}

static int64_t count_of(const LoopBuf *b) {
    int64_t n = 1, extent;
    for (int k = 0; k < b->rank; k++)
        if (!dim_is_const(b->shape[k], &extent) || extent < 0 ||
            __builtin_mul_overflow(n, extent, &n))
            return -1;
    return n;
}

static void read_buf(Reader *r) {
    TextReader *t = &r->t;
    LoopBuf b = {.name = text_word(t, "a name")};
    Type type = text_type(t);
    b.dt = type.dt;
    b.rank = type.rank;
    b.shape = type.shape;
    text_expect(t, "=");
    if (text_accept(t, "arg")) {
        b.kind = BUF_ARG;
        b.arg = (int)text_int(t, "the number of an argument");
    } else if (text_accept(t, "work")) {
        b.kind = BUF_WORK;
    } else if (text_accept(t, "job")) {
        b.kind = BUF_JOB;
    } else if (text_accept(t, "alias")) {
        b.kind = BUF_ALIAS;
        b.alias = read_buf_name(r);
    } else {
        text_expect(t, "const");
        b.kind = BUF_CONST;
        int64_t n;
        b.data = read_data(r, b.dt, &n);
        if (count_of(&b) != n)
            text_fail(t, "the shape and the number of elements differ");
    }
    if (text_accept(t, "at"))
        b.offset = text_dim(t);
    b.written = text_accept(t, "written");
    b.span = read_stmt_span(r, r->f->span);
    for (int k = 0; k < r->f->bufs.n; k++)
        if (r->f->bufs.p[k]->name == b.name)
            text_fail(t, "two buffers are called `%s`", b.name);
    loop_buf(r->m, r->f, b);
}

static void read_plan(Reader *r) {
    text_expect(&r->t, "fixed");
    r->f->work_fixed = text_dim(&r->t);
    text_expect(&r->t, "job");
    r->f->work_job = text_dim(&r->t);
    text_expect(&r->t, "jobs");
    r->f->jobs = text_dim(&r->t);
}

static bool read_fact(Reader *r) {
    TextReader *t = &r->t;
    LoopFunc *f = r->f;
    if (text_accept(t, "dims")) {
        do {
            Str name = text_word(t, "a dim");
            int64_t least = text_accept(t, ">=") ? text_int(t, "a number") : 1;
            vec_push(t->arena, &f->dims, text_dim_symbol(t, name, least));
        } while (text_accept(t, ","));
    } else if (text_accept(t, "status")) {
        text_expect(t, "null");
        f->status_null = (int)text_int(t, "a status");
        text_expect(t, "dim");
        f->status_dim = (int)text_int(t, "a status");
        text_expect(t, "stop");
        f->status_stop = (int)text_int(t, "a status");
        text_expect(t, "overflow");
        f->status_overflow = (int)text_int(t, "a status");
    } else if (text_accept(t, "check")) {
        Dim cond = text_dim(t);
        text_expect(t, "else");
        vec_push(t->arena, &f->checks, (LoopCheck){cond, (int)text_int(t, "a status")});
    } else if (text_accept(t, "plan")) {
        read_plan(r);
    } else {
        return false;
    }
    return true;
}

static void read_func(Reader *r) {
    TextReader *t = &r->t;
    text_expect(t, "func");
    Str name = text_string(t, "a name");
    DType real = text_dtype(t);
    text_expect(t, "groups");
    int groups = (int)text_int(t, "a number");
    r->f = loop_func_new(r->m, name, text_span(t));
    r->f->real = real;
    r->f->groups = groups;
    r->vals.n = 0;
    text_expect(t, "{");
    while (read_fact(r)) {
    }
    r->f->entry = abi_read_entry(t);
    while (text_accept(t, "buf"))
        read_buf(r);
    r->c = (LoopCursor){.m = r->m, .f = r->f, .at = &r->f->body, .span = r->f->span};
    read_stmts(r, r->f->span);
    text_expect(t, "}");
}

static void read_statuses(Reader *r) {
    while (text_accept(&r->t, "status")) {
        if (text_int(&r->t, "the number of a status") != r->m->statuses.n)
            text_fail(&r->t, "statuses are numbered from 0");
        vec_push(r->t.arena, &r->m->statuses, (LoopStatus){text_string(&r->t, "a text")});
    }
}

LoopModule *loop_read(Ctx *ctx, Arena *arena, uint32_t file) {
    Reader r = {.t = text_open(ctx, arena, file, "E0801")};
    TextReader *t = &r.t;
    text_expect(t, "loops");
    Str source = text_string(t, "the name of the source");
    r.m = loop_module_new(ctx, arena, source);
    if (!t->failed)
        text_source(t, source);
    if (text_accept(t, "for")) {
        Str name = text_string(t, "a target");
        r.m->target = t->failed ? NULL : target_named(name);
        if (!r.m->target)
            text_fail(t, "`%s` is no target", name);
    }
    read_statuses(&r);
    for (AbiBlock *b; (b = abi_read_block(t));)
        vec_push(arena, &r.m->blocks, b);
    while (!t->failed && t->kind != TEXT_END)
        read_func(&r);
    if (t->failed)
        return NULL;
    const char *why = loop_verify(r.m);
    if (why) {
        Span start = {file, 1, 1, 1, 1};
        diag_error(ctx, "E0802", start, "this loop IR does not hold together: %s", why);
        return NULL;
    }
    return r.m;
}
