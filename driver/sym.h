/* Symbolic expressions, for derivations that people read: built from the graph IR (sym_graph.c),
 * kept in a normal form (sym.c), differentiated by the scalar table (sym_diff.c) and printed as
 * text or LaTeX (sym_print.c). Nothing is computed from them. */
#ifndef CNNC_DRIVER_SYM_H
#define CNNC_DRIVER_SYM_H

#include "ir/graph.h"

typedef enum SymKind {
    SYM_NUM,
    SYM_NAME,   /* a value of the program, kids: its subscripts */
    SYM_INDEX,  /* of a sum, or a free one; identity is the pointer */
    SYM_ADD,    /* of at least two terms, a number last */
    SYM_MUL,    /* of at least two factors, a number first */
    SYM_POW,    /* base, exponent */
    SYM_CALL,   /* a row of scalar.def that has no kind of its own */
    SYM_SELECT, /* condition, then, else */
    SYM_SUM,    /* index, extent, body */
    SYM_MAX,    /* the greatest of the bodies: index, extent, body */
    SYM_MIN,
    SYM_DELTA, /* 1 where both kids are equal, else 0 */
    SYM_STOP   /* a value that derivatives take as constant */
} SymKind;

typedef struct SymNode SymNode;
typedef const SymNode *Sym;

enum { /* flags of names */
       SYM_PARAM = 1,
       SYM_DIM = 2,
       SYM_POSITIVE = 4,
       SYM_OPAQUE = 8 /* stands for a value that is not written out */
};

struct SymNode {
    SymKind kind;
    unsigned flags;
    ScalarOp op;   /* SYM_CALL */
    double num;    /* SYM_NUM */
    uint64_t deps; /* SYM_NAME: the parameters it is or depends on, bit `number % 64` */
    Str name;      /* SYM_NAME; SYM_INDEX: or NULL, then printing finds one */
    int n;
    const Sym *kids;
};

/* Memory and a limit: past `most` nodes every result is NULL, and so is what is built from it. */
typedef struct SymCtx {
    Ctx *ctx;
    int n_nodes, most;
} SymCtx;

Sym sym_num(SymCtx *c, double v);
Sym sym_name(SymCtx *c, Str name, unsigned flags, const Sym *subs, int n);
Sym sym_param(SymCtx *c, Str name, unsigned flags, uint64_t deps, const Sym *subs, int n);
Sym sym_index(SymCtx *c, Str name);
Sym sym_add(SymCtx *c, Sym a, Sym b);
Sym sym_sub(SymCtx *c, Sym a, Sym b);
Sym sym_mul(SymCtx *c, Sym a, Sym b);
Sym sym_div(SymCtx *c, Sym a, Sym b);
Sym sym_pow(SymCtx *c, Sym base, Sym exponent);
Sym sym_neg(SymCtx *c, Sym a);
Sym sym_call(SymCtx *c, ScalarOp op, const Sym *args, int n); /* any row, arithmetic too */
Sym sym_select(SymCtx *c, Sym cond, Sym a, Sym b);
Sym sym_delta(SymCtx *c, Sym a, Sym b);
Sym sym_stop(SymCtx *c, Sym a);
/* SYM_SUM, SYM_MAX, SYM_MIN over index < extent. Sums over a delta are its one term. */
Sym sym_over(SymCtx *c, SymKind kind, Sym index, Sym extent, Sym body);
Sym sym_of_dim(SymCtx *c, Dim d, const DimSym *indices, const Sym *values, int n);

bool sym_equal(Sym a, Sym b); /* up to the indices of sums */
bool sym_mentions(Sym e, Sym part);
bool sym_mentions_flag(Sym e, unsigned flag);
bool sym_is_num(Sym e, double v);
int sym_size(Sym e);
/* e with every part that equals `part` replaced. */
Sym sym_replace(SymCtx *c, Sym e, Sym part, Sym with);
/* e with fn applied to its kids, in normal form; NULL where one of them is. */
typedef Sym (*SymFn)(SymCtx *c, Sym e, void *user);
Sym sym_map(SymCtx *c, Sym e, SymFn fn, void *user);
/* Products multiplied out, sums taken apart, factors before them. */
Sym sym_expand(SymCtx *c, Sym e);
/* e, where parts of it are simpler multiplied out, or with common factors before sums, in that
 * form. */
Sym sym_tidy(SymCtx *c, Sym e);
int sym_cost(Sym e); /* to read */
/* The terms of a sum; another e is its only term. */
int sym_n_terms(Sym e);
Sym sym_term(Sym e, int k);
/* Factors of a term that do not mention `part` go to *rest, the others are returned. */
Sym sym_split(SymCtx *c, Sym term, Sym part, Sym *rest);
/* e without the terms that mention no parameter, inside sums too; *dropped if there were any. */
Sym sym_drop_constants(SymCtx *c, Sym e, bool *dropped);

/* sym_diff.c: the derivative of e by the element `at` (a name with subscripts), NULL where there is
 * no formula. */
Sym sym_diff(SymCtx *c, Sym e, Sym at);

/* sym_graph.c: the element of v at subscripts. Log densities are written out. Values for
 * which there is no formula, and with
 * `names` those that a binding of the source names, stand as names, and are noted. */
typedef struct SymNote {
    Val v;
    Sym name; /* without subscripts */
    Span span;
    Str text; /* "trisolve of L" */
} SymNote;
typedef struct SymGraph {
    SymCtx *c;
    const Module *m;
    const Func *f;
    const AbiBlock *block; /* kinds of params, or NULL */
    bool names;
    VEC(SymNote) notes;
    bool guarded;        /* reads outside of an operand stand only where they do not count */
    struct SymGraph *up; /* f is a part of its function: params are its values */
    const Val *args;
    uint64_t *deps; /* by value id, once asked for */
} SymGraph;
Sym sym_of_val(SymGraph *g, Val v, const Sym *at);
/* Instruction k of a body whose operand reads are `reads` (by operand number), post's ACC `acc`. */
typedef struct SymBody {
    SymCtx *c;
    const BodyInst *insts;
    Sym (*read)(struct SymBody *b, const BodyInst *i);
    /* Is the select one between a parameter and what `when` holds of it? Then it is the parameter. NULL: none is. */
    bool (*held)(const struct SymBody *b, const BodyInst *select);
    void *at;
    const DimSym *indices; /* what their symbols stand for */
    const Sym *values;
    int n_indices;
    Sym acc;
} SymBody;
Sym sym_of_body(SymBody *b, int k);

/* sym_print.c */
typedef enum SymStyle { SYM_TEXT, SYM_FORMULA /* text with every `*` */, SYM_LATEX } SymStyle;
typedef struct SymPrint {
    Ctx *ctx;
    SymStyle style;
    const Str *taken; /* names that indices may not have */
    int n_taken;
} SymPrint;
void sym_print(const SymPrint *p, StrBuf *out, Sym e);
Str sym_text(const SymPrint *p, Sym e);
/* A name as the style writes it: "phi", "\phi". */
Str sym_print_name(const SymPrint *p, Str name);

#endif
