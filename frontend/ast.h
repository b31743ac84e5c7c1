/* The abstract syntax of .cnn text (docs: the grammar of the language). All nodes live in Ctx.perm,
 * all names are interned, and lists are arrays with a count. Nodes of text that did not parse are
 * EXPR_ERROR: whoever meets one stays silent, its message is given already. */
#ifndef CNNC_FRONTEND_AST_H
#define CNNC_FRONTEND_AST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/ctx.h"

typedef struct Expr Expr;

/* An identifier and its place; text NULL: absent. */
typedef struct Name {
    Str text;
    Span span;
} Name;

/* a.b.c; on the left of `~` an element may be `*`. */
typedef struct Path {
    Name *names;
    int n;
    Span span;
} Path;

/* [ NAME "=" ] expr */
typedef struct Arg {
    Name name;
    Expr *value;
    Span span;
} Arg;

/* One subscript: `e` (colon false), `lo:hi`, `lo:`, `:hi` or `:` (colon true; lo and hi may be
 * NULL). */
typedef struct Sub {
    Expr *lo, *hi;
    bool colon;
    Span span;
} Sub;

/* An index of a comprehension: NAME "<" sum. */
typedef struct Index {
    Name name;
    Expr *bound;
} Index;

/* NAME [ "(" args ")" ] [ shape ] | shape; shape = "[" [ "..." | expr ] { "," expr } "]"; a bare shape has kind.text NULL and means real. */
typedef struct TypeExpr {
    Name kind;
    Arg *args;
    int n_args;
    bool has_shape;
    bool rest; /* the shape begins with `...`: any axes before those in `shape` */
    Expr **shape;
    int rank;
    Span shape_span; /* with its brackets */
    Span span;
} TypeExpr;

typedef enum ExprKind {
    EXPR_ERROR,
    EXPR_INT,       /* i (and real, its f64 value) */
    EXPR_REAL,      /* real */
    EXPR_STRING,    /* text, without the quotes */
    EXPR_BOOL,      /* truth */
    EXPR_NAME,      /* path: a value; one name, or z.C1.w, or L.f after an import */
    EXPR_LIST,      /* items */
    EXPR_UNARY,     /* op x: OP_NEG, OP_NOT */
    EXPR_BINARY,    /* x op y */
    EXPR_TRANSPOSE, /* x' */
    EXPR_CALL,      /* path(args); `x |> f(a)` is the call f(x, a) with piped set */
    EXPR_INDEX,     /* x[subs] */
    EXPR_IF,        /* if x then y else z */
    EXPR_FOR        /* for indices => x */
} ExprKind;

typedef enum AstOp {
    OP_NONE,
    OP_NEG,
    OP_NOT,
    OP_ADD,
    OP_SUB,
    OP_MUL,
    OP_DIV,
    OP_FLOORDIV,
    OP_MOD,
    OP_MATMUL,
    OP_POW,
    OP_EQ,
    OP_NE,
    OP_LT,
    OP_LE,
    OP_GT,
    OP_GE,
    OP_AND,
    OP_OR
} AstOp;

struct Expr {
    ExprKind kind;
    AstOp op;
    bool piped;  /* of a call: args[0] stood before `|>` */
    bool parens; /* stood in parentheses, which span includes */
    bool truth;
    int64_t i;
    double real;
    Str text;
    Path path; /* EXPR_NAME, EXPR_CALL: the callee */
    Expr *x, *y, *z;
    Expr **items; /* EXPR_LIST */
    int n_items;
    Arg *args; /* EXPR_CALL */
    int n_args;
    Sub *subs; /* EXPR_INDEX */
    int n_subs;
    Index *indices; /* EXPR_FOR */
    int n_indices;
    int depth; /* levels of expressions below; the parser limits it, so recursion over expressions
                  is safe */
    Span span; /* the whole expression */
    Span op_span; /* the operator token: of unary and binary ones, `|>`, `'`, the `(` of a call, the
                     `[` of an index or list, `if`, `for` */
    Span close;   /* the closing bracket of a call, index or list */
};

typedef enum StmtKind {
    STMT_PARAM,    /* param name: type [= value] [when cond] */
    STMT_STATE,    /* state name: type = value */
    STMT_DATA,     /* data name: type */
    STMT_CONST,    /* const name [: type] = value */
    STMT_RETURN,   /* return value */
    STMT_MINIMIZE, /* minimize value */
    STMT_EXPECT,   /* expect value */
    STMT_REPORT,   /* report name = value */
    STMT_USING,    /* using path(args): value is an EXPR_CALL */
    STMT_BIND,     /* name [: type] = value */
    STMT_TILDE,    /* path[subs] ~ value */
    STMT_UPDATE    /* name := value */
} StmtKind;

typedef struct Stmt {
    StmtKind kind;
    Name name;
    TypeExpr *type; /* or NULL */
    Expr *value;    /* or NULL */
    Expr *when;     /* or NULL */
    Path path;      /* STMT_TILDE */
    Sub *subs;
    int n_subs;
    Str doc;   /* the `##` lines before it, or NULL */
    Span span; /* the whole statement */
    Span head; /* its first token: the keyword or name */
    Span op;   /* `=`, `~`, `:=`; else of file 0 */
} Stmt;

/* One entry of a dims list: NAME [ "=" value ]. */
typedef struct DimDecl {
    Name name;
    Expr *value; /* or NULL */
} DimDecl;

typedef struct Formal {
    Name name;
    TypeExpr *type; /* or NULL */
    Expr *default_; /* or NULL */
    Span span;
} Formal;

typedef enum ItemKind {
    ITEM_IMPORT, /* import text [as name] */
    ITEM_CONST,  /* const name [: type] = value */
    ITEM_DEF,
    ITEM_MODEL,
    ITEM_ESTIMATOR,
    ITEM_OPTIMIZER,
    ITEM_TEST /* test text block */
} ItemKind;

typedef struct Item {
    ItemKind kind;
    Name name;
    Str text; /* of an import or test, without the quotes */
    Span text_span;
    DimDecl *dims;
    int n_dims;
    bool has_formals;
    Formal *formals;
    int n_formals;
    TypeExpr *type; /* of the result or const, or NULL */
    Expr *value;    /* of a const */
    Stmt **body;    /* `= e` is one STMT_RETURN, short_body set */
    int n_body;
    bool short_body;
    bool broken;     /* an error inside: do not report what its text lacks */
    Str doc;         /* the `##` lines before it joined by newlines, without the marks, or NULL */
    Span span;       /* from its first to its last token */
    Span head;       /* its keyword */
    Span close;      /* `}` of the block; file 0 if there is none */
    size_t from, to; /* its bytes in the source text, documentation included */
} Item;

typedef struct AstFile {
    uint32_t file;
    Item **items;
    int n_items;
} AstFile;

const char *item_keyword(ItemKind kind); /* "def" */
const char *stmt_keyword(StmtKind kind); /* "param"; "=" "~" ":=" for the last three */
const char *ast_op_text(AstOp op);       /* "+", "and" */

#endif
