/* C signatures: exec, hyper, dims, inputs, params, state, opt, outputs, work (docs/c-abi.md). */
#include "ir/signature.h"

#include "ir/op.h"

/* Bytes in the hyper struct: size, prior, n_total, epoch, seed, then the formals, 8 bytes each. */
enum {
    HYPER_PRIOR = 8,
    HYPER_NTOTAL = 16,
    HYPER_EPOCH = 24,
    HYPER_SEED = 32,
    HYPER_FORMALS = 40,
    OPT_HEADER = 16
};

typedef struct Builder {
    Module *m;
    Func *f;
    AbiEntry *e;
    const AbiBlock *block; /* or NULL */
    AbiMap map;
    int arg_of[ARG_WORK + 1]; /* number of the argument of a kind that stands once, else -1 */
} Builder;

static Ctx *ctx_of(Builder *b) { return b->m->ctx; }
static Dim bytes(Builder *b, int64_t n) { return dim_const(ctx_of(b), n); }

static Dim checked(Builder *b, Dim d) {
    if (!d)
        ctx_internal(ctx_of(b), "the size of an argument of %s overflows", b->f->name);
    return d;
}

static Dim scaled(Builder *b, Dim count, DType dt) {
    return checked(b, count ? dim_scale(ctx_of(b), count, (int64_t)dtype_size(dt)) : NULL);
}

static Dim plus(Builder *b, Dim x, Dim y) { return checked(b, dim_add(ctx_of(b), x, y)); }

static Dim type_bytes(Builder *b, Type t) { return scaled(b, type_count(ctx_of(b), t), t.dt); }

static int add_arg(Builder *b, AbiArg a) {
    vec_push(b->m->arena, &b->e->args, a);
    b->arg_of[a.kind] = b->e->args.n - 1;
    return b->e->args.n - 1;
}

static int add_pointer(Builder *b, AbiArgKind kind, const char *name, DType dt, bool is_const,
                       Dim size) {
    return add_arg(b, (AbiArg){.kind = kind,
                               .name = str_of(ctx_of(b), name),
                               .dt = dt,
                               .is_const = is_const,
                               .bytes = size,
                               .span = b->f->span});
}

/* ---- tables of the block; dims of the block are those of its functions, by name */

/* d, which speaks in the symbols of the block, in those of the function. */
static Dim in_func(Builder *b, Dim d) {
    DimBinding bind[64];
    int n = 0;
    for (int k = 0; d && k < b->block->dims.n && n < 64; k++)
        for (int j = 0; j < b->f->dims.n; j++)
            if (b->f->dims.p[j] != b->block->dims.p[k] &&
                b->f->dims.p[j]->name == b->block->dims.p[k]->name)
                bind[n++] = (DimBinding){b->block->dims.p[k], dim_of(ctx_of(b), b->f->dims.p[j])};
    return checked(b, d && n ? dim_subst(ctx_of(b), d, bind, n) : d);
}

typedef struct Table {
    const AbiTensor *p;
    int n;
} Table;

static Table table_of(Builder *b, Role role) {
    if (!b->block)
        return (Table){NULL, 0};
    if (role == ROLE_PARAM)
        return (Table){b->block->params.p, b->block->params.n};
    if (role == ROLE_STATE)
        return (Table){b->block->states.p, b->block->states.n};
    return (Table){b->block->opts.p, b->block->opts.n};
}

/* Bytes before tensor n of a table (all of them: n == t.n). */
static Dim bytes_before(Builder *b, Table t, int n, int64_t header) {
    Dim sum = bytes(b, header);
    for (int k = 0; k < n && k < t.n; k++)
        sum = plus(b, sum, in_func(b, type_bytes(b, t.p[k].type)));
    return sum;
}

/* ---- arguments */

static bool mentions(Dim d, DimSym s) { return d && dim_mentions(d, s); }

static bool type_mentions(Type t, DimSym s) {
    for (int k = 0; k < t.rank; k++)
        if (mentions(t.shape[k], s))
            return true;
    return false;
}

/* Dims that an init needs: those of what it computes. */
static bool is_used(const Func *f, DimSym s) {
    for (int k = 1; k < f->vals.n; k++)
        if (type_mentions(f->vals.p[k].type, s))
            return true;
    for (int k = 0; k < f->insts.n; k++) {
        const Nest *n = f->insts.p[k]->op == &op_nest ? f->insts.p[k]->attr : NULL;
        for (int j = 0; n && j < n->body.n; j++)
            if (mentions(n->body.insts[j].dim, s))
                return true;
        for (int j = 0; n && j < n->n_box; j++)
            if (mentions(n->box[j].extent, s))
                return true;
    }
    return false;
}

static void add_dims(Builder *b) {
    for (int k = 0; k < b->f->dims.n; k++) {
        DimSym s = b->f->dims.p[k];
        if (b->e->kind == ENTRY_INIT && !is_used(b->f, s))
            continue;
        add_arg(
            b,
            (AbiArg){.kind = ARG_DIM, .name = s->name, .dt = DT_I64, .dim = s, .span = b->f->span});
    }
}

static void add_input(Builder *b, int k) {
    const Param *p = &b->f->params.p[k];
    Type t = graph_type(b->f, p->val);
    AbiArg a = {.kind = t.rank ? ARG_INPUT : ARG_SCALAR,
                .name = p->name,
                .dt = t.dt,
                .is_const = true,
                .span = p->span};
    DType storage = t.dt;
    if (t.rank)
        a.bytes = type_bytes(b, t);
    else
        storage = dtype_is_real(t.dt) ? DT_F64 : DT_I64;
    b->map.params[k] = (AbiSlot){add_arg(b, a), bytes(b, 0), storage};
}

static void add_inputs(Builder *b) {
    for (int k = 0; k < b->f->params.n; k++)
        if (b->f->params.p[k].role == ROLE_INPUT)
            add_input(b, k);
}

static bool updates(const Func *f, ResRole role) {
    for (int k = 0; k < f->results.n; k++)
        if (f->results.p[k].role == role)
            return true;
    return false;
}

/* The arrays of the block; parts of them are the params of those roles. */
static void add_blocks(Builder *b) {
    static const char *const names[] = {"params", "state"};
    bool init = b->e->kind == ENTRY_INIT, step = b->e->kind == ENTRY_STEP;
    for (int s = 0; s < 2 && b->block; s++) {
        Role role = s ? ROLE_STATE : ROLE_PARAM;
        Table t = table_of(b, role);
        if (s && !t.n)
            continue;
        bool written = init || step || updates(b->f, s ? RES_NEW_STATE : RES_NEW_PARAM);
        int arg = add_pointer(b, s ? ARG_STATE : ARG_PARAMS, names[s], b->block->real, !written,
                              bytes_before(b, t, t.n, 0));
        for (int k = 0; k < b->f->params.n; k++)
            if (b->f->params.p[k].role == role)
                b->map.params[k] = (AbiSlot){arg, bytes_before(b, t, b->f->params.p[k].tensor, 0),
                                             graph_type(b->f, b->f->params.p[k].val).dt};
    }
    if (!step)
        return;
    /* opt: the header i64[2], then the optimizer's states; the header may stand in the table as its
     * first tensor */
    Table t = table_of(b, ROLE_OPT);
    bool has_header = t.n && t.p[0].type.dt == DT_I64;
    int64_t header = has_header ? 0 : OPT_HEADER;
    int arg = add_pointer(b, ARG_OPT, "opt", DT_NONE, false, bytes_before(b, t, t.n, header));
    for (int k = 0; k < b->f->params.n; k++) {
        const Param *p = &b->f->params.p[k];
        Type type = graph_type(b->f, p->val);
        Dim at = p->tensor < 0 || type.dt == DT_I64 ? bytes(b, 0)
                                                    : bytes_before(b, t, p->tensor, header);
        if (p->role == ROLE_OPT)
            b->map.params[k] = (AbiSlot){arg, at, type.dt};
    }
}

static void bind_hyper(Builder *b) {
    for (int k = 0; k < b->f->params.n; k++) {
        const Param *p = &b->f->params.p[k];
        AbiSlot s = {b->arg_of[ARG_HYPER], bytes(b, 0), DT_I64};
        switch (p->role) {
        case ROLE_PRIOR:
            s.offset = bytes(b, HYPER_PRIOR);
            s.storage = DT_F64;
            break;
        case ROLE_NTOTAL:
            s.offset = bytes(b, HYPER_NTOTAL);
            break;
        case ROLE_EPOCH:
            s.offset = bytes(b, HYPER_EPOCH);
            break;
        case ROLE_SEED:
            if (b->arg_of[ARG_SEED] >= 0)
                s.arg = b->arg_of[ARG_SEED];
            else
                s.offset = bytes(b, HYPER_SEED);
            break;
        case ROLE_HYPER:
            s.offset = bytes(b, HYPER_FORMALS + 8 * (int64_t)p->tensor);
            s.storage = dtype_is_real(graph_type(b->f, p->val).dt) ? DT_F64 : DT_I64;
            break;
        default:
            continue;
        }
        if (s.arg < 0)
            ctx_internal(ctx_of(b), "%s asks for a field of a hyper struct it does not get",
                         b->f->name);
        b->map.params[k] = s;
    }
}

/* ---- results */

static int count_results(const Func *f, ResRole role) {
    int n = 0;
    for (int k = 0; k < f->results.n; k++)
        n += f->results.p[k].role == role;
    return n;
}

static void add_out(Builder *b, int k) {
    const Result *r = &b->f->results.p[k];
    Type t = graph_type(b->f, r->val);
    bool single = count_results(b->f, RES_OUT) == 1 || !r->name;
    Str name = single ? str_of(ctx_of(b), "out") : str_fmt(ctx_of(b), "out_%s", r->name);
    int arg = add_pointer(b, ARG_OUT, name, t.dt, false, type_bytes(b, t));
    b->map.results[k] = (AbiSlot){arg, bytes(b, 0), t.dt};
}

static void add_outputs(Builder *b) {
    const Func *f = b->f;
    Dim values = bytes(b, 0);
    for (int k = 0; k < f->results.n; k++) {
        const Result *r = &f->results.p[k];
        if (r->role == RES_OUT || r->role == RES_LOCAL)
            add_out(b, k);
        else if (r->role == RES_VALUE || r->role == RES_LOSS)
            b->map.results[k] = (AbiSlot){add_pointer(b, r->role == RES_LOSS ? ARG_LOSS : ARG_LOGP,
                                                      r->role == RES_LOSS ? "loss" : "logp", DT_F64,
                                                      false, bytes(b, 8)),
                                          bytes(b, 0), DT_F64};
    }
    if (b->e->kind == ENTRY_LOSS_GRAD || b->e->kind == ENTRY_GRAD) {
        Table t = table_of(b, ROLE_PARAM);
        add_pointer(b, ARG_GRAD, "grad", b->block ? b->block->real : f->real, false,
                    bytes_before(b, t, t.n, 0));
    }
    if (b->e->kind == ENTRY_FIT) { /* either may be NULL */
        DType real = b->block ? b->block->real : f->real;
        add_pointer(b, ARG_COV, "cov", real, false, NULL);
        add_pointer(b, ARG_INFO, "info", DT_NONE, false, NULL);
        for (int k = 0; k < f->results.n; k++) {
            ResRole role = f->results.p[k].role;
            if (role == RES_COV || role == RES_INFO)
                b->map.results[k] = (AbiSlot){b->arg_of[role == RES_COV ? ARG_COV : ARG_INFO],
                                              bytes(b, 0), role == RES_COV ? real : DT_I64};
        }
    }
    if (b->e->kind == ENTRY_REPORT || b->e->kind == ENTRY_POSTERIOR) {
        int arg = add_pointer(b, ARG_VALUES, "values", DT_F64, false, NULL);
        for (int k = 0; k < f->results.n; k++) {
            if (f->results.p[k].role != RES_REPORT)
                continue;
            b->map.results[k] = (AbiSlot){arg, values, DT_F64};
            values =
                plus(b, values,
                     scaled(b, type_count(ctx_of(b), graph_type(f, f->results.p[k].val)), DT_F64));
        }
        b->e->args.p[arg].bytes = values;
    }
}

/* An init has no params to update: `of` is the number of the tensor in the block's table. */
static AbiSlot initial_slot(Builder *b, const Result *r) {
    Role role = r->role == RES_NEW_STATE ? ROLE_STATE : ROLE_PARAM;
    Dim at = bytes_before(b, table_of(b, role), r->of, 0);
    return (AbiSlot){b->arg_of[role == ROLE_STATE ? ARG_STATE : ARG_PARAMS], at,
                     graph_type(b->f, r->val).dt};
}

static void bind_updates(Builder *b) {
    for (int k = 0; k < b->f->results.n; k++) {
        const Result *r = &b->f->results.p[k];
        if (r->role == RES_GRAD) {
            b->map.results[k] = b->map.params[r->of];
            b->map.results[k].arg = b->arg_of[ARG_GRAD];
            CTX_ASSERT(ctx_of(b), b->arg_of[ARG_GRAD] >= 0);
        } else if (r->role == RES_NEW_PARAM || r->role == RES_NEW_STATE || r->role == RES_NEW_OPT) {
            b->map.results[k] =
                b->e->kind == ENTRY_INIT ? initial_slot(b, r) : b->map.params[r->of];
        }
    }
}

AbiMap abi_signature(Module *m, Func *f) {
    Builder b = {.m = m, .f = f, .e = f->entry};
    CTX_ASSERT(m->ctx, f->entry);
    b.block = f->block >= 0 && f->entry->kind != ENTRY_DEF ? m->blocks.p[f->block] : NULL;
    b.map.params = ARENA_ARRAY(m->arena, AbiSlot, f->params.n + 1);
    b.map.results = ARENA_ARRAY(m->arena, AbiSlot, f->results.n + 1);
    for (int k = 0; k <= ARG_WORK; k++)
        b.arg_of[k] = -1;
    f->entry->args.n = 0;
    bool init = f->entry->kind == ENTRY_INIT, estimator = b.block && b.block->is_estimator;
    if (!init)
        add_pointer(&b, ARG_EXEC, "ex", DT_NONE, true, NULL);
    if (estimator)
        add_pointer(&b, ARG_HYPER, "h", DT_NONE, true,
                    bytes(&b, HYPER_FORMALS + 8 * (int64_t)b.block->formals.n));
    else if (init)
        add_arg(&b, (AbiArg){.kind = ARG_SEED,
                             .name = str_of(m->ctx, "seed"),
                             .dt = DT_I64,
                             .span = f->span});
    add_dims(&b);
    add_inputs(&b);
    if (b.e->kind != ENTRY_POSTERIOR)
        add_blocks(&b);
    bind_hyper(&b);
    add_outputs(&b);
    bind_updates(&b);
    if (!init)
        add_pointer(&b, ARG_WORK, "work", DT_NONE, false, NULL);
    return b.map;
}
