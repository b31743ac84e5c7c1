/* The loop IR: loops over buffers with scalar and vector SSA values. What runs, in which order, is
 * spelled out here: the order of every reduction, fma where the target has it, polynomials instead
 * of exp. It has no tensor ops; targets translate it one to one. Subscripts and bounds are dims
 * (affine objects over loop indices and the function's dims), never SSA arithmetic. */
#ifndef CNNC_IR_LOOP_H
#define CNNC_IR_LOOP_H

#include "ir/abi.h"
#include "ir/nest.h"
#include "ir/rt_call.h"
#include "ir/scalar.h"

typedef struct LVal {
    uint32_t id; /* 0: none */
} LVal;
typedef struct BufId {
    uint32_t id; /* 0: none */
} BufId;

typedef struct LType { /* of a value */
    DType dt;
    int lanes; /* 1: scalar */
} LType;

typedef enum BufKind {
    BUF_ARG,   /* in the memory of a C argument, at a byte offset. Of an argument passed by value
                * (ARG_SCALAR, ARG_SEED):   rank 0, a slot that holds the value converted to dt */
    BUF_WORK,  /* in `work`, shared by all jobs */
    BUF_JOB,   /* in `work`, one copy for each iteration of the parallel loop that uses it */
    BUF_CONST, /* read-only data of the module */
    BUF_ALIAS  /* another buffer under this shape (reshape) */
} BufKind;

typedef struct LoopBuf {
    BufId id;
    Str name;
    BufKind kind;
    DType dt; /* bool is one byte */
    int rank;
    const Dim *shape;
    int arg;     /* BUF_ARG: number in entry->args */
    Dim offset;  /* BUF_ARG: bytes; BUF_WORK, BUF_JOB: bytes in the arena, set by `plan` (NULL
                    before) */
    BufId alias; /* BUF_ALIAS */
    const ScalarValue *data; /* BUF_CONST */
    bool written;            /* stored to */
    Span span;
} LoopBuf;

typedef enum LoopKind {
    LOOP_FOR, /* for index in max(lo) .. min(hi) by step, with carried values; with an operand, only
                 when that is true */
    LOOP_WHILE, /* body computes cond; repeats while it is true, with carried values */
    LOOP_IF,    /* then and else bodies; no results */
    LOOP_LET,   /* one scalar.def row on lanes; one that has an expansion is a call of that, on a scalar */
    LOOP_CONST, /* a constant in every lane */
    LOOP_INDEX, /* the value of a dim (i64); lanes > 1: value + lane * lane_step */
    LOOP_LOAD,
    LOOP_STORE,
    LOOP_CALL,   /* a runtime function (rt.def) */
    LOOP_STATUS, /* ends the call (or the job) with a status if the bool value is false */
    LOOP_POLL,   /* in a `while`, in no loop with an index: whether the caller asks to stop, as i64; an entry
                    that has one ends where it says, not wherever it would poll */
    LOOP_RETURN, /* at the top level: ends the call with the i32 value unless that is 0 */
    LOOP_YIELD   /* last statement of a body with carried values (while: cond first) */
} LoopKind;

typedef struct LoopStmt LoopStmt;
typedef struct LoopBody {
    VEC(LoopStmt *) stmts;
} LoopBody;

struct LoopStmt {
    LoopKind kind;
    Span span;
    Str name;    /* FOR: kernel name "LeNet5.C3.conv.bwd.w" on the outermost loop of a kernel */
    LVal result; /* LET CONST INDEX LOAD; CALL with a result */
    LType type;  /* of result; STORE: of the value */
    /* LET */
    ScalarOp op;
    int n_args; /* LET: operands; STORE: value; YIELD: values; CALL: values; STATUS: the bool; IF:
                   condition; RETURN: the code; FOR: none, or a bool: no iteration where it is false
                 */
    LVal *args;
    ScalarValue k; /* CONST */
    /* LOAD STORE: buf[subs] (INDEX: subs[0] is the dim). A value in sub_vals[axis] (i64 scalar, or
     * lanes: a gather) is added to that axis; NULL if none. Lanes step by lane_step along axis
     * lane_axis (1 on the last axis: contiguous). */
    BufId buf;
    int rank; /* 0 where subs is NULL */
    const Dim *subs;
    const LVal *sub_vals;
    int lane_axis;
    int64_t lane_step;
    Dim active;   /* lanes k >= active are off: loads give 0, stores write nothing; NULL: all on */
    bool checked; /* interpreter and -g builds verify subscripts; gathers of user indices: status
                     where outside */
    bool again;   /* LOAD: what was loaded before is loaded again after this point, not kept: values
                     that live long would take the registers of a tile */
    Dim ahead;    /* without gather or scatter: what lies so many elements further is fetched meanwhile, for
                     later; NULL: nothing. A load that nothing uses is kept where it is 0: it only fetches */
    int status;   /* STATUS, checked gathers: number in the module's table */
    /* FOR */
    DimSym index;
    int n_lo, n_hi;
    const Dim *lo, *hi; /* lo = max of lo[], hi = min of hi[], exclusive; step >= 1 */
    Dim need; /* an upper bound, too, but not one of the range: iterations from there on may run as well,
                 no one reads what they store; NULL: none */
    int64_t step;
    bool parallel; /* iterations are independent jobs; inside nothing but `while` and `if`; no
                      carried values, no outer SSA values. `orelse` is run once behind the body of
                      each, one at a time, in the order of the iterations */
    DimSym onto; /* parallel, with a part in order; NULL: none. 1 in a job that works on the totals themselves: it
                    starts when its turn has come, its rows (loop_rows_of_jobs) are what the part adds them to, and
                    it has no part; else 0. Where onto_if is not 0, only the first job may. What a job stores
                    to its rows where it is 0, it adds to them where it is 1 */
    Dim onto_if;
    bool fetch;    /* parallel: a job begins by fetching some lines of each page of its arena, of which it uses nearly all, and of its rows */
    bool awake;    /* parallel: little work, divided only where the caller's threads have run jobs of this call */
    int unroll;    /* hint for `tile`: 0 none */
    BufId lines;   /* the vectors may begin where this buffer's lines of the cache do (passes/lines.c): no result
                      depends on it. id 0: they begin at lo */
    /* FOR WHILE: carried values: init -> (inside) phi -> yield -> (after) out */
    int n_carried;
    LVal *init, *phi, *out;
    LType *carried;
    LoopBody body, orelse; /* IF: then and else; parallel FOR: the part in order */
    /* CALL: row of rt.def by name; buffer arguments with subscripts of their first element */
    Str callee;
    int n_bufs;
    BufId *bufs;
    const Dim *const *buf_subs;
};

typedef struct LoopStatus { /* what strerror says of -(number + 1) */
    Str text;               /* "lenet5.cnn:20: y holds a label outside 0..9" */
} LoopStatus;

typedef struct LoopCheck { /* cond >= 0 at the call, else the status */
    Dim cond;
    int status;
} LoopCheck;

typedef struct LoopFunc {
    Str name;
    Span span;
    AbiEntry *entry; /* every function of the loop IR is an entry: graph functions were inlined */
    DType real;      /* f32: FTZ/DAZ is set on entry and in jobs */
    int groups;      /* most jobs of a parallel loop */
    VEC(DimSym) dims;
    VEC(LoopCheck) checks;
    VEC(LoopBuf *) bufs; /* bufs.p[id - 1] */
    VEC(LType) vals;     /* types by id; [0] unused */
    LoopBody body;
    /* set by plan */
    Dim work_fixed; /* bytes of BUF_WORK buffers */
    Dim work_job;   /* bytes of one job's BUF_JOB arena (a multiple of 64) */
    Dim jobs;       /* number of job arenas: min(groups, ...) as a dim or constant */
    /* status numbers of the entry's own checks */
    int status_null, status_dim, status_stop, status_overflow;
} LoopFunc;

/* A tile of registers that the pass `tile` made: the name of its loops, and how many sums it has. */
typedef struct LoopTile {
    Str name;
    int sums;
} LoopTile;

typedef struct LoopModule {
    Ctx *ctx;
    Arena *arena;
    Str source;
    VEC(LoopFunc *) funcs;
    VEC(AbiBlock *) blocks;
    VEC(LoopStatus) statuses;
    const struct Target *target;
    VEC(LoopTile) tiles; /* of this process: not part of the text */
} LoopModule;

LoopModule *loop_module_new(Ctx *ctx, Arena *arena, Str source);
LoopFunc *loop_func_new(LoopModule *m, Str name, Span span);
int loop_status(LoopModule *m, Str text);              /* number of a text, shared */
BufId loop_buf(LoopModule *m, LoopFunc *f, LoopBuf b); /* b.name is made unique */
LoopBuf *loop_bufp(const LoopFunc *f, BufId id);
LoopBuf *loop_storage(const LoopFunc *f, BufId id); /* behind all aliases */

/* ---- building. A cursor is the body that statements are appended to. */
typedef struct LoopCursor {
    LoopModule *m;
    LoopFunc *f;
    LoopBody *at;
    Span span; /* given to new statements */
} LoopCursor;
LVal loop_const(LoopCursor *c, LType t, ScalarValue k);
LVal loop_real(LoopCursor *c, LType t, double v);
LVal loop_int(LoopCursor *c, LType t, int64_t v);
LVal loop_index(LoopCursor *c, Dim d, int lanes, int64_t lane_step);
LVal loop_let(LoopCursor *c, ScalarOp op, const LVal *args, int n, DType to /* SR_ATTR rows */);
LType loop_let_type(const LoopFunc *f, ScalarOp op, const LVal *args, int n,
                    DType to);                           /* not of splat */
LVal loop_splat(LoopCursor *c, LVal v, int lanes);       /* v itself if it has that many */
LVal loop_load(LoopCursor *c, BufId b, const Dim *subs); /* scalar */
/* Contiguous lanes along the last axis; the caller may change lane_axis, lane_step, sub_vals,
 * checked, status. */
LoopStmt *loop_load_lanes(LoopCursor *c, BufId b, const Dim *subs, int lanes, Dim active);
/* As many lanes as v has, likewise; marks the buffer as written. */
LoopStmt *loop_store(LoopCursor *c, BufId b, const Dim *subs, LVal v);
LoopStmt *loop_require(LoopCursor *c, LVal cond, int status); /* LOOP_STATUS */
LVal loop_poll(LoopCursor *c);
LoopStmt *loop_return(LoopCursor *c, LVal code);
/* result.dt == DT_NONE: no result. Buffers that the function writes must be marked by the caller
 * (written). */
LoopStmt *loop_call(LoopCursor *c, Str callee, const BufId *bufs, const Dim *const *buf_subs,
                    int n_bufs, const LVal *args, int n, LType result);
/* Opens a loop: statements go into its body until loop_end. init: carried values (n may be 0); the
 * phis are in the returned statement. */
LoopStmt *loop_for(LoopCursor *c, DimSym index, const Dim *lo, int n_lo, const Dim *hi, int n_hi,
                   int64_t step, const LVal *init, int n);
/* Gives a loop its condition (id 0: none). */
void loop_when(LoopCursor *c, LoopStmt *loop, LVal when);
/* A loop that runs its body at least once; yield: the condition (bool) to go on, then the carried
 * values. */
LoopStmt *loop_while(LoopCursor *c, const LVal *init, int n);
/* Opens `then`; set c->at = &s->orelse for the other arm. */
LoopStmt *loop_if(LoopCursor *c, LVal cond);
/* Closes a loop (or if) with the yielded values; c->at goes back to `outer`. The results are in
 * s->out. */
void loop_end(LoopCursor *c, LoopStmt *s, LoopBody *outer, const LVal *yield);
LoopStmt *loop_stmt(LoopCursor *c, LoopKind kind);  /* appends an empty statement */
LVal loop_val(LoopModule *m, LoopFunc *f, LType t); /* a fresh value */
LType loop_type(const LoopFunc *f, LVal v);
bool loop_bounds_mention(const LoopStmt *loop, DimSym x);
bool loop_bounds_inside_mention(const LoopStmt *loop, DimSym x); /* of this loop (unless x is its index) or one inside */
/* Puts to->value for the index in a statement and all inside: subscripts, bounds, masks, what is fetched ahead. */
void loop_subst(Ctx *ctx, Arena *arena, LoopStmt *s, const DimBinding *to);
typedef VEC(LoopStmt *) LoopAccesses;
/* Loads and stores of a statement, in order; false: something else than plain loops, values and unchecked accesses is there. */
bool loop_accesses(Arena *arena, LoopStmt *s, LoopAccesses *to);
/* An index that no loop of the function has: base, else base and a number. */
DimSym loop_fresh_index(Ctx *ctx, const LoopFunc *f, Str base);

/* The range of a `for`: its greatest lower bound to its least upper one, as value() gives them; not what
 * `need` leaves out. False: value() has none. An empty loop may have hi < lo. */
typedef bool LoopDimValue(void *self, Dim d, int64_t *out);
bool loop_range(const LoopStmt *s, LoopDimValue *value, void *self, int64_t *lo, int64_t *hi);
int loop_position(const LoopBody *b, const LoopStmt *s); /* -1: not there */
/* A copy of a value's statement or a store. now: by value id what stands for it in the copy (id 0: itself); the copy's result,
 * a fresh value, is put there. at: what stands for an index; sym NULL: nothing. */
LoopStmt *loop_copy_stmt(Arena *arena, LoopModule *m, LoopFunc *f, const LoopStmt *s, LVal *now, DimBinding at);
/* n statements (0: none) take the place of statement `at`; nothing for at < 0. */
void loop_replace(Arena *arena, LoopBody *b, int at, LoopStmt *const *with, int n);
/* Adds, by value id, how often statements of a body use a value. */
void loop_count_uses(const LoopBody *b, int *uses);
/* By buffer: the parallel loop that alone touches it, each job the row of its own number; NULL: none. Native code gives
 * a job any free row until its part in order has run, so that few rows are touched. */
const LoopStmt **loop_rows_of_jobs(Arena *arena, const LoopFunc *f);
/* By buffer of which jobs of this loop have rows: what its part in order copies or adds them to. NULL: the part does more
 * than that, or a job touches one of these. */
const BufId *loop_totals_of_rows(Arena *arena, Ctx *ctx, const LoopFunc *f, const LoopStmt *loop,
                                 const LoopStmt **rows_of);
/* Every statement of a body, in order, those in nested bodies after the one that holds them. */
void loop_walk(LoopBody *b, void (*visit)(void *arg, LoopStmt *s), void *arg);

/* loop_copy.c: the same module with statements, buffers and entries of its own; dims, texts and constants are shared. */
LoopModule *loop_module_copy(Arena *arena, const LoopModule *from);
/* loop_text.c, loop_read.c: complete text, reads back exactly. loop_verify.c: first broken
 * invariant or NULL (dominance, types, lanes, ranks, parallel restrictions, that every store's
 * buffer may be written). */
void loop_print(StrBuf *sb, const LoopModule *m);
void loop_print_func(StrBuf *sb, const LoopModule *m, const LoopFunc *f);
void loop_print_stmt(StrBuf *sb, const LoopModule *m, const LoopFunc *f,
                     const LoopStmt *s); /* one line, no body */
/* NULL: diagnostics E0801 (malformed) or E0802 (does not verify). */
LoopModule *loop_read(Ctx *ctx, Arena *arena, uint32_t file);
const char *loop_verify(const LoopModule *m);

/* loop_interp.c: runs a function on the caller's memory, exactly as native code does: f32
 * arithmetic in float, FTZ/DAZ modelled where real is f32, fma fused, the same order. args follow
 * entry->args: pointers, int64_t, double. Subscripts are bounds-checked (text in *why). Returns the
 * status (0 ok, negative as native code). */
typedef union LoopArg {
    void *p;
    int64_t i;
    double f;
} LoopArg;
typedef struct LoopRun {
    LoopCallFn *call; /* NULL: any CALL is an error */
    void *self;
    int64_t steps; /* statements executed so far */
} LoopRun;
/* run may be NULL. A failed bounds check, an undefined callee: INT_MIN, with *why. */
int loop_run(Ctx *ctx, const LoopModule *m, const LoopFunc *f, const LoopArg *args, LoopRun *run,
             const char **why);
/* loop_scalar.c: a row of scalar.def on one lane; f32_mode: with FTZ and DAZ. */
ScalarValue loop_eval_row(bool f32_mode, ScalarOp op, DType dt, DType to, const ScalarValue *args,
                          int n);
/* loop_layout.c: gives BUF_WORK and BUF_JOB buffers without offsets distinct 64-byte aligned
 * places, and sets work_fixed, work_job, jobs and entry->work_bytes of every function that has
 * none. */
void loop_assign_offsets(LoopModule *m);
Dim loop_round_up(Ctx *ctx, Dim bytes); /* to 64; NULL: overflow */
Dim loop_buf_bytes(Ctx *ctx,
                   const LoopBuf *b); /* its place in an arena, a multiple of 64; NULL: overflow */
void loop_set_work(LoopModule *m, LoopFunc *f, Dim fixed,
                   Dim job); /* and jobs, entry->work_bytes */

#endif
