/* Kernels: the outermost loop of a nest as a function of its own, that debuggers and profilers show
 * by its name.
 *
 *     i32 kernel(ptr buffer..., i64 symbol..., [ptr exec])
 *
 * A kernel knows nothing of the function it was taken from: the pointers to the buffers that it
 * touches and the values of the dims and outer indices that it mentions are arguments. So two loops
 * that are equal up to buffers, symbols and the numbers of values are one kernel, compiled once;
 * the entries of an estimator share most of theirs. Equality is that of a canonical form, in which
 * buffers, values and symbols are numbered in the order of their first use. Where line entries are
 * asked for (-g), names and lines are part of it; else a kernel keeps those of its first loop, and
 * the other names are symbols of the same code. */
#include <stdlib.h>
#include <string.h>

#include "codegen/emit.h"

typedef struct Canon {
    Emit *e;
    const LoopFunc *f;
    StrBuf key;
    VEC(BufId) bufs;         /* storage, by number */
    VEC(BufId) views;        /* buffers as accessed, by number */
    VEC(DimBinding) symbols; /* to their canonical ones */
    VEC(DimSym) free, bound; /* symbols that are arguments; indices of the loops inside */
    uint32_t *number, next;  /* of values */
} Canon;

static void put(Canon *c, int64_t v) { sb_putn(&c->key, (const char *)&v, sizeof v); }

/* The k-th canonical symbol; the same in all kernels. */
static DimSym canonical(Emit *e, int k) {
    Kernels *all = e->kernels;
    for (int n = all->canonical.n; n <= k; n++)
        vec_push(&e->ctx->perm, &all->canonical,
                 dim_symbol_new(e->ctx, str_fmt(e->ctx, "k%d", n), 0, true));
    return all->canonical.p[k];
}

static bool has_symbol(const Canon *c, DimSym s) {
    for (int k = 0; k < c->symbols.n; k++)
        if (c->symbols.p[k].sym == s)
            return true;
    return false;
}

static void add_symbol(Canon *c, DimSym s, bool bound) {
    Ctx *ctx = c->e->ctx;
    if (bound)
        vec_push(&ctx->perm, &c->bound, s);
    if (has_symbol(c, s))
        return;
    if (!bound)
        vec_push(&ctx->perm, &c->free, s);
    DimBinding b = {s, dim_of(ctx, canonical(c->e, c->symbols.n))};
    vec_push(&ctx->perm, &c->symbols, b);
}

/* Dims are interned: the address of the canonical one says which it is. */
static void put_dim(Canon *c, Dim d) {
    enum { MOST = 64 };
    DimSym syms[MOST];
    int n = d ? dim_symbols(d, syms, MOST) : 0;
    CTX_ASSERT(c->e->ctx, n <= MOST);
    for (int k = 0; k < n; k++)
        add_symbol(c, syms[k], false);
    Dim to = d && n ? dim_subst(c->e->ctx, d, c->symbols.p, c->symbols.n) : d;
    put(c, (int64_t)(intptr_t)to);
}

static void put_dims(Canon *c, const Dim *d, int n) {
    put(c, n);
    for (int k = 0; k < n; k++)
        put_dim(c, d[k]);
}

static void put_val(Canon *c, LVal v) {
    if (v.id && !c->number[v.id])
        c->number[v.id] = ++c->next;
    put(c, v.id ? c->number[v.id] : 0);
}

static void put_vals(Canon *c, const LVal *v, int n) {
    put(c, v ? n : -1);
    for (int k = 0; v && k < n; k++)
        put_val(c, v[k]);
}

static int number_of(Emit *e, BufId id, BufId **list, int *n, int *cap) {
    for (int k = 0; k < *n; k++)
        if ((*list)[k].id == id.id)
            return k;
    VEC(BufId) v = {*list, *n, *cap};
    vec_push(&e->ctx->perm, &v, id);
    *list = v.p;
    *cap = v.cap;
    return (*n = v.n) - 1;
}

static void put_buf(Canon *c, BufId id) {
    int before = c->views.n, view = number_of(c->e, id, &c->views.p, &c->views.n, &c->views.cap);
    put(c, view);
    if (view < before)
        return;
    const LoopBuf *b = loop_bufp(c->f, id);
    put(c, number_of(c->e, loop_storage(c->f, id)->id, &c->bufs.p, &c->bufs.n, &c->bufs.cap));
    put(c, b->dt);
    put_dims(c, b->shape, b->rank);
}

static void put_body(Canon *c, const LoopBody *b);

static void put_type(Canon *c, LType t) {
    put(c, t.dt);
    put(c, t.lanes);
}

static void put_loop(Canon *c, const LoopStmt *s) {
    put_dims(c, s->lo, s->n_lo);
    put_dims(c, s->hi, s->n_hi);
    put_dims(c, &s->need, s->need != NULL);
    put(c, s->lines.id != 0);
    if (s->lines.id)
        put_buf(c, s->lines);
    if (s->index) {
        add_symbol(c, s->index, true);
        put_dim(c, dim_of(c->e->ctx, s->index));
    }
    put(c, s->step);
    put_vals(c, s->init, s->n_carried);
    put_vals(c, s->phi, s->n_carried);
    for (int k = 0; k < s->n_carried; k++)
        put_type(c, s->carried[k]);
}

static void put_access(Canon *c, const LoopStmt *s) {
    bool access = s->kind == LOOP_LOAD || s->kind == LOOP_STORE;
    if (access)
        put_buf(c, s->buf);
    put_dims(c, s->subs, s->subs ? (access ? s->rank : s->kind == LOOP_INDEX ? 1 : 0) : 0);
    put_vals(c, access ? s->sub_vals : NULL, s->rank);
    put(c, s->lane_axis);
    put(c, s->lane_step);
    put_dim(c, s->active);
    put_dim(c, s->ahead);
    put(c, s->checked);
    put(c, s->again);
    put(c, s->status);
}

static void put_stmt(Canon *c, const LoopStmt *s) {
    put(c, s->kind);
    if (c->e->o->lines_apart) {
        put(c, s->span.file);
        put(c, s->span.line);
        put(c, s->span.col);
        put(c, (int64_t)(intptr_t)s->name);
    }
    put_type(c, s->type);
    put(c, s->op);
    put_vals(c, s->args, s->n_args);
    put(c, s->k.i);
    sb_putn(&c->key, (const char *)&s->k.f, sizeof s->k.f);
    put_access(c, s);
    if (s->kind == LOOP_FOR || s->kind == LOOP_WHILE)
        put_loop(c, s);
    put(c, (int64_t)(intptr_t)s->callee);
    put(c, s->n_bufs);
    for (int k = 0; k < s->n_bufs; k++) {
        put_buf(c, s->bufs[k]);
        put_dims(c, s->buf_subs[k], loop_bufp(c->f, s->bufs[k])->rank);
    }
    put_val(c, s->result);
    put_body(c, &s->body);
    put_body(c, &s->orelse);
    put_vals(c, s->out, s->n_carried);
}

static void put_body(Canon *c, const LoopBody *b) {
    put(c, b->stmts.n);
    for (int k = 0; k < b->stmts.n; k++)
        put_stmt(c, b->stmts.p[k]);
}

/* ---- the list of kernels */

static int cost_of(const LoopBody *b) {
    int n = b->stmts.n;
    for (int k = 0; k < b->stmts.n; k++)
        n += cost_of(&b->stmts.p[k]->body) + cost_of(&b->stmts.p[k]->orelse);
    return n;
}

static bool ends_with(const char *name, const char *suffix) {
    size_t n = strlen(name), m = strlen(suffix);
    return n >= m && strcmp(name + n - m, suffix) == 0;
}

static bool taken(const Kernels *all, Str symbol) {
    for (int k = 0; k < all->names.n; k++)
        if (all->names.p[k] == symbol)
            return true;
    return false;
}

/* A symbol that no other kernel, no entry, no job and no function of a library has. */
static Str symbol_of(Emit *e, Str name) {
    bool plain = !strchr(name, '.') || ends_with(name, ".job") || ends_with(name, ".run");
    Str base = plain ? str_fmt(e->ctx, "%s.loop", name) : name, symbol = base;
    for (int n = 2; taken(e->kernels, symbol); n++)
        symbol = str_fmt(e->ctx, "%s.%d", base, n);
    vec_push(&e->ctx->perm, &e->kernels->names, symbol);
    return symbol;
}

static bool has_name(const Kernel *k, Str name) {
    for (int j = 0; j < k->also.n; j++)
        if (k->also.p[j].name == name)
            return true;
    return k->name == name;
}

static Kernel *kernel_of(FnEmit *f, const LoopStmt *s, Canon *c) {
    Emit *e = f->e;
    Kernels *all = e->kernels;
    Str name = s->name ? s->name : f->f->name;
    for (int k = 0; k < all->list.n; k++) {
        Kernel *old = all->list.p[k];
        if (old->key_len != c->key.len || memcmp(old->key, c->key.text, c->key.len) != 0)
            continue;
        if (!has_name(old, name))
            vec_push(&e->ctx->perm, &old->also, (KernelName){name, symbol_of(e, name)});
        vec_push(&e->ctx->perm, &old->loops, s);
        return old;
    }
    Kernel *k = ARENA_NEW(&e->ctx->perm, Kernel);
    LoopStmt *one[1] = {(LoopStmt *)(uintptr_t)s};
    LoopBody body = {.stmts = {one, 1, 1}};
    *k = (Kernel){.number = all->list.n,
                  .key = c->key.text,
                  .key_len = c->key.len,
                  .name = name,
                  .symbol = symbol_of(e, name),
                  .f = f->f,
                  .s = s,
                  .cost = cost_of(&body)};
    k->may_fail = emit_has_status(&body) || e->o->poll_stop;
    k->n_bufs = c->bufs.n;
    k->bufs = c->bufs.p;
    k->n_symbols = c->free.n;
    k->symbols = c->free.p;
    vec_push(&e->ctx->perm, &k->loops, s);
    vec_push(&e->ctx->perm, &all->list, k);
    return k;
}

static LLVMTypeRef kernel_type(Emit *e, const Kernel *k) {
    int n = k->n_bufs + k->n_symbols + 1;
    LLVMTypeRef *types = ARENA_ARRAY(&e->ctx->perm, LLVMTypeRef, n);
    for (int j = 0; j < n; j++)
        types[j] = j < k->n_bufs || j == n - 1 ? e->ptr : e->i64;
    return LLVMFunctionType(e->i32, types, (unsigned)(n - !e->o->poll_stop), 0);
}

/* Its function in the module of e: internal to it, or hidden where kernels have modules of their
 * own. */
static LLVMValueRef kernel_function(Emit *e, const Kernel *k) {
    while (e->functions.n <= k->number)
        vec_push(&e->ctx->perm, &e->functions, NULL);
    LLVMValueRef *fn = &e->functions.p[k->number];
    if (*fn)
        return *fn;
    *fn = LLVMAddFunction(e->mod, k->symbol, kernel_type(e, k));
    CTX_ASSERT(e->ctx, strcmp(LLVMGetValueName(*fn), k->symbol) == 0);
    if (e->kernels->apart)
        LLVMSetVisibility(*fn, LLVMHiddenVisibility);
    else
        LLVMSetLinkage(*fn, LLVMInternalLinkage);
    return *fn;
}

static LLVMValueRef ticks(FnEmit *f) { return emit_intrinsic(f, "llvm.readcyclecounter", NULL, 0, NULL, 0); }

static void count(FnEmit *f, const uint64_t *at, LLVMValueRef v) {
    LLVMValueRef p = LLVMBuildIntToPtr(f->b, emit_i64(f->e, (int64_t)(intptr_t)at), f->e->ptr, "");
    LLVMBuildAtomicRMW(f->b, LLVMAtomicRMWBinOpAdd, p, v, LLVMAtomicOrderingMonotonic, 0);
}

void kernel_call(FnEmit *f, const LoopStmt *s) {
    Emit *e = f->e;
    LoopStmt plain = *s; /* its own name says nothing of what it computes */
    Canon c = {.e = e, .f = f->f, .key = sb_new(&e->ctx->perm)};
    Arena scratch; /* as large as the function, for each of its kernels */
    arena_init(&scratch, e->ctx);
    c.number = ARENA_ARRAY(&scratch, uint32_t, f->f->vals.n + 1);
    plain.name = NULL;
    put_stmt(&c, e->o->lines_apart ? s : &plain);
    put(&c, e->o->poll_stop ? f->f->status_stop : 0);
    arena_free(&scratch);
    const Kernel *k = kernel_of(f, s, &c);
    LLVMValueRef *args = ARENA_ARRAY(&e->ctx->perm, LLVMValueRef, k->n_bufs + k->n_symbols + 1);
    int n = 0;
    for (int j = 0; j < c.bufs.n; j++)
        args[n++] = emit_base(f, c.bufs.p[j]);
    for (int j = 0; j < c.free.n; j++)
        args[n++] = emit_dim(f, dim_of(e->ctx, c.free.p[j]));
    if (e->o->poll_stop)
        args[n++] = f->waits ? LLVMConstNull(e->ptr) : emit_exec(f);
    LLVMValueRef before = e->o->counters ? ticks(f) : NULL;
    LLVMValueRef status =
        LLVMBuildCall2(f->b, kernel_type(e, k), kernel_function(e, k), args, (unsigned)n, "");
    if (before) {
        count(f, &e->o->counters[2 * k->number], emit_i64(e, 1));
        count(f, &e->o->counters[2 * k->number + 1], LLVMBuildSub(f->b, ticks(f), before, ""));
    }
    if (k->may_fail) {
        LLVMValueRef failed =
            LLVMBuildICmp(f->b, LLVMIntNE, status, LLVMConstInt(e->i32, 0, 0), "");
        emit_return_if(f, failed, status);
    }
}

/* ---- their code */

static bool is_dim(const LoopFunc *f, DimSym s, int *number) {
    for (*number = 0; *number < f->dims.n; ++*number)
        if (f->dims.p[*number] == s)
            return true;
    return false;
}

void kernel_emit(Emit *e, const Kernel *k) {
    LLVMValueRef fn = kernel_function(e, k);
    FnEmit f = emit_open(e, k->f, fn, k->s->span);
    if (spills_watched(e, k))
        spills_watch(e, fn);
    f.in_kernel = true;
    f.waits = false; /* others share it; its caller passes no exec */
    debug_function(&f, k->name, k->s->span);
    for (int j = 0; j < k->n_bufs; j++)
        f.base[k->bufs[j].id - 1] = LLVMGetParam(fn, (unsigned)j);
    for (int j = 0; j < k->n_symbols; j++) {
        LLVMValueRef v = LLVMGetParam(fn, (unsigned)(k->n_bufs + j));
        int dim;
        if (is_dim(k->f, k->symbols[j], &dim)) {
            f.dims[dim] = v;
        } else { /* an outer index is a level without a loop here */
            Level level = {.at = f.levels.p[0].at, .index = k->symbols[j], .value = v};
            vec_push(&e->ctx->perm, &f.levels, level);
        }
    }
    if (e->o->poll_stop)
        f.exec = LLVMGetParam(fn, (unsigned)(k->n_bufs + k->n_symbols));
    LoopStmt *one[1] = {(LoopStmt *)(uintptr_t)k->s};
    LoopBody body = {.stmts = {one, 1, 1}};
    emit_body(&f, &body);
    emit_close(&f);
    LLVMBuildRet(f.b, f.status);
    LLVMDisposeBuilder(f.b);
    for (int j = 0; j < k->also.n; j++) {
        LLVMValueRef alias =
            LLVMAddAlias2(e->mod, LLVMGlobalGetValueType(fn), 0, fn, k->also.p[j].symbol);
        LLVMSetLinkage(alias, LLVMInternalLinkage);
    }
}

/* ---- parts */

int kernel_cost(const LoopModule *m) {
    int n = 0;
    for (int k = 0; k < m->funcs.n; k++)
        n += cost_of(&m->funcs.p[k]->body);
    return n;
}

static int least_loaded(const long *load, int n) {
    int least = 0;
    for (int p = 1; p < n; p++)
        least = load[p] < load[least] ? p : least;
    return least;
}

/* What an entry is likely to keep for itself: all but its named loops. */
static int own_cost(const LoopBody *b) {
    int n = b->stmts.n;
    for (int k = 0; k < b->stmts.n; k++) {
        const LoopStmt *s = b->stmts.p[k];
        n += s->kind == LOOP_FOR && s->name && !s->parallel ? 0 : own_cost(&s->body) + own_cost(&s->orelse);
    }
    return n;
}

int *kernel_deal_entries(Ctx *ctx, const LoopModule *m, long *load, int n_parts) {
    int *part = ARENA_ARRAY(&ctx->perm, int, m->funcs.n + 1);
    for (int k = 0; k < m->funcs.n; k++) {
        part[k] = least_loaded(load, n_parts);
        load[part[k]] += own_cost(&m->funcs.p[k]->body);
    }
    return part;
}

static int by_cost(const void *a, const void *b) {
    const Kernel *x = *(Kernel *const *)a, *y = *(Kernel *const *)b;
    return x->cost != y->cost ? (x->cost < y->cost ? 1 : -1) : x->number < y->number ? -1 : 1;
}

int *kernel_deal(Ctx *ctx, const Kernels *all, long *load, int n_parts) {
    int *part = ARENA_ARRAY(&ctx->perm, int, all->list.n + 1);
    Kernel **order = ARENA_ARRAY(&ctx->perm, Kernel *, all->list.n + 1);
    for (int k = 0; k < all->list.n; k++)
        order[k] = all->list.p[k];
    qsort(order, (size_t)all->list.n, sizeof *order, by_cost);
    for (int k = 0; k < all->list.n; k++) {
        int p = part[order[k]->number] = least_loaded(load, n_parts);
        load[p] += order[k]->cost;
    }
    return part;
}
