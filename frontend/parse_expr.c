#include <stdlib.h>
#include <string.h>

#include "frontend/parse_priv.h"

Span parse_join(Span a, Span b) {
    a.end_line = b.end_line;
    a.end_col = b.end_col;
    return a;
}

CNNC_NORETURN static void too_deep(Parser *p) {
    if (!parse_is_silent(p)) {
        Diag *d = diag_error(p->ctx, "E0211", here(p), "this is nested deeper than %d levels",
                             MAX_NESTING);
        diag_help(p->ctx, d, "give parts of it names of their own");
    }
    parse_unwind(p);
}

static void enter(Parser *p) {
    if (++p->nesting > MAX_NESTING)
        too_deep(p);
}

static void leave(Parser *p) { p->nesting--; }

static Expr *new_expr(Parser *p, ExprKind kind_, Span span, Span op_span) {
    Expr *e = ARENA_NEW(&p->ctx->perm, Expr);
    e->kind = kind_;
    e->span = span;
    e->op_span = op_span;
    return e;
}

/* Notes that e has the child c. */
static void above(Parser *p, Expr *e, const Expr *c) {
    if (c && e->depth <= c->depth)
        e->depth = c->depth + 1;
    if (e->depth <= MAX_DEPTH)
        return;
    if (!parse_is_silent(p)) {
        Diag *d = diag_error(p->ctx, "E0218", e->op_span, "more than %d operators on one another",
                             MAX_DEPTH);
        diag_help(p->ctx, d, "give parts of it names of their own");
    }
    parse_unwind(p);
}

static Expr *new_binary(Parser *p, AstOp op, Span op_span, Expr *x, Expr *y) {
    Expr *e = new_expr(p, EXPR_BINARY, parse_join(x->span, y->span), op_span);
    e->op = op;
    e->x = x;
    e->y = y;
    above(p, e, x);
    above(p, e, y);
    return e;
}

static Expr *new_unary(Parser *p, AstOp op, Span op_span, Expr *x) {
    Expr *e = new_expr(p, EXPR_UNARY, parse_join(op_span, x->span), op_span);
    e->op = op;
    e->x = x;
    above(p, e, x);
    return e;
}

/* arg = [ NAME "=" ] expr . */
static Arg parse_arg(Parser *p) {
    Arg a = {.span = here(p)};
    if (is_kind(p, TOK_NAME) && kind_at(p, 1) == TOK_ASSIGN) {
        a.name = parse_name(p, "the name of an argument");
        parse_skip(p);
    } else if (tok_is_reserved(kind(p)) && kind_at(p, 1) == TOK_ASSIGN) {
        parse_name(p, "the name of an argument");
    }
    a.value = parse_expr(p);
    a.span = parse_join(a.span, a.value->span);
    return a;
}

/* "(" args ")", args = [ arg { "," arg } ] ; *first stands before them if it is not NULL. */
static void parse_args(Parser *p, Expr *first, Arg **args, int *n) {
    VEC(Arg) v = {0};
    uint32_t open = p->at;
    Around around = p->around;
    if (first)
        vec_push(&p->ctx->perm, &v, (Arg){.value = first, .span = first->span});
    p->around = AROUND_PARENS;
    parse_skip(p);
    if (!is_kind(p, TOK_RPAREN)) {
        do {
            Arg a = parse_arg(p);
            vec_push(&p->ctx->perm, &v, a);
        } while (parse_accept(p, TOK_COMMA));
    }
    parse_close(p, TOK_RPAREN, open);
    p->around = around;
    *args = v.p;
    *n = v.n;
}

Expr *parse_call(Parser *p, Path path, Expr *piped) {
    Expr *e = new_expr(p, EXPR_CALL, piped ? piped->span : path.span, here(p));
    e->path = path;
    e->piped = piped != NULL;
    parse_args(p, piped, &e->args, &e->n_args);
    e->close = last_span(p);
    e->span = parse_join(e->span, e->close);
    for (int i = 0; i < e->n_args; i++)
        above(p, e, e->args[i].value);
    return e;
}

/* sub = expr [ ":" [ expr ] ] | ":" [ expr ] . */
static Sub parse_sub(Parser *p) {
    Sub s = {.span = here(p)};
    if (!is_kind(p, TOK_COLON))
        s.lo = parse_expr(p);
    if (parse_accept(p, TOK_COLON)) {
        s.colon = true;
        if (!is_kind(p, TOK_COMMA) && !is_kind(p, TOK_RBRACKET))
            s.hi = parse_expr(p);
    }
    s.span = parse_join(s.span, last_span(p));
    return s;
}

/* "[" subs "]", subs = sub { "," sub } . */
void parse_subs(Parser *p, Sub **subs, int *n) {
    VEC(Sub) v = {0};
    uint32_t open = p->at;
    Around around = p->around;
    p->around = AROUND_PARENS;
    parse_skip(p);
    do {
        Sub s = parse_sub(p);
        vec_push(&p->ctx->perm, &v, s);
    } while (parse_accept(p, TOK_COMMA));
    parse_close(p, TOK_RBRACKET, open);
    p->around = around;
    *subs = v.p;
    *n = v.n;
}

/* "[" [ expr { "," expr } ] "]" : a list, or a shape, which may begin with "..." (rest). */
static void parse_list(Parser *p, Around inside, bool *rest, Expr ***items, int *n) {
    VEC(Expr *) v = {0};
    uint32_t open = p->at;
    Around around = p->around;
    p->around = inside;
    parse_skip(p);
    if (rest)
        *rest = parse_accept(p, TOK_DOTS);
    if (rest && *rest ? parse_accept(p, TOK_COMMA) : !is_kind(p, TOK_RBRACKET)) {
        do {
            Expr *item = parse_expr(p);
            vec_push(&p->ctx->perm, &v, item);
        } while (parse_accept(p, TOK_COMMA));
    }
    parse_close(p, TOK_RBRACKET, open);
    p->around = around;
    *items = v.p;
    *n = v.n;
}

CNNC_NORETURN static void no_expression(Parser *p) {
    if (!parse_is_silent(p) && (is_kind(p, TOK_IF) || is_kind(p, TOK_FOR))) {
        const char *word = tok_kind_text(kind(p));
        Diag *d =
            diag_error(p->ctx, "E0214", here(p), "`%s` as an operand needs parentheses", word);
        diag_help(p->ctx, d, "write `(%s ...)`", word);
    } else if (!parse_is_silent(p)) {
        parse_help(p,
                   diag_error(p->ctx, "E0206", here(p), "expected an expression, found %s",
                              tok_describe(p->ctx, p->t, p->at)),
                   parse_hint_found(p, p->at));
    }
    parse_unwind(p);
}

/* "(" expr ")" */
static Expr *parse_parens(Parser *p) {
    uint32_t open = p->at;
    Span from = here(p);
    Around around = p->around;
    p->around = AROUND_PARENS;
    parse_skip(p);
    Expr *e = parse_expr(p);
    parse_close(p, TOK_RPAREN, open);
    p->around = around;
    e->parens = true;
    e->span = parse_join(from, last_span(p));
    return e;
}

/* NUMBER | STRING | "true" | "false" | NAME */
static Expr *parse_atom(Parser *p) {
    static const ExprKind kinds[] = {
        [TOK_INT] = EXPR_INT,   [TOK_REAL] = EXPR_REAL, [TOK_STRING] = EXPR_STRING,
        [TOK_NAME] = EXPR_NAME, [TOK_TRUE] = EXPR_BOOL, [TOK_FALSE] = EXPR_BOOL};
    TokKind k = kind(p);
    Expr *e = new_expr(p, kinds[k], here(p), here(p));
    Str text = tok_text(p->ctx, p->t, p->at);
    if (k == TOK_NAME) {
        e->path = parse_path(p, "a name");
        e->span = e->path.span;
        return e;
    }
    if (k == TOK_INT)
        e->i = strtoll(text, NULL, 10);
    if (k == TOK_INT || k == TOK_REAL)
        e->real = strtod(text, NULL);
    e->text = k == TOK_STRING ? text : NULL;
    e->truth = k == TOK_TRUE;
    parse_skip(p);
    return e;
}

/* primary = NUMBER | STRING | "true" | "false" | NAME | "(" expr ")" | "[" [ expr { "," expr } ]
 * "]" . */
static Expr *parse_primary(Parser *p) {
    switch (kind(p)) {
    case TOK_LPAREN:
        return parse_parens(p);
    case TOK_LBRACKET: {
        Expr *e = new_expr(p, EXPR_LIST, here(p), here(p));
        parse_list(p, AROUND_LIST, NULL, &e->items, &e->n_items);
        e->close = last_span(p);
        e->span = parse_join(e->span, e->close);
        for (int i = 0; i < e->n_items; i++)
            above(p, e, e->items[i]);
        return e;
    }
    case TOK_INT:
    case TOK_REAL:
    case TOK_STRING:
    case TOK_NAME:
    case TOK_TRUE:
    case TOK_FALSE:
        return parse_atom(p);
    default:
        no_expression(p);
    }
}

CNNC_NORETURN static void not_callable(Parser *p, const Expr *e) {
    Diag *d = diag_error(p->ctx, "E0215", here(p), "only a name can be called");
    diag_label(p->ctx, d, e->span, "this is not the name of a function");
    if (e->kind == EXPR_INT || e->kind == EXPR_REAL || e->parens)
        diag_help(p->ctx, d, "a product needs its `*`");
    parse_unwind(p);
}

/* postfix = primary { "(" args ")" | "[" subs "]" | "." NAME | "'" } ; a path is read with its
 * first name. */
static Expr *parse_postfix(Parser *p) {
    Expr *x = parse_primary(p);
    for (;;) {
        Expr *e;
        if (is_kind(p, TOK_LPAREN)) {
            if (x->kind != EXPR_NAME || x->parens)
                not_callable(p, x);
            e = parse_call(p, x->path, NULL);
        } else if (is_kind(p, TOK_LBRACKET)) {
            e = new_expr(p, EXPR_INDEX, x->span, here(p));
            e->x = x;
            parse_subs(p, &e->subs, &e->n_subs);
            e->close = last_span(p);
            e->span = parse_join(e->span, e->close);
            for (int i = 0; i < e->n_subs; i++) {
                above(p, e, e->subs[i].lo);
                above(p, e, e->subs[i].hi);
            }
            above(p, e, x);
        } else if (is_kind(p, TOK_QUOTE)) {
            e = new_expr(p, EXPR_TRANSPOSE, parse_join(x->span, here(p)), here(p));
            e->x = x;
            above(p, e, x);
            parse_skip(p);
        } else if (is_kind(p, TOK_DOT)) {
            diag_error(p->ctx, "E0216", here(p),
                       "a `.` follows a name only: values have no fields");
            parse_unwind(p);
        } else {
            return x;
        }
        x = e;
    }
}

static Expr *parse_unary(Parser *p);

/* power = postfix [ "^" unary ] . */
static Expr *parse_power(Parser *p) {
    Expr *x = parse_postfix(p);
    if (!is_kind(p, TOK_CARET))
        return x;
    Span op = here(p);
    parse_skip(p);
    enter(p);
    Expr *y = parse_unary(p);
    leave(p);
    return new_binary(p, OP_POW, op, x, y);
}

/* unary = "-" unary | power . */
static Expr *parse_unary(Parser *p) {
    if (!is_kind(p, TOK_MINUS))
        return parse_power(p);
    Span op = here(p);
    parse_skip(p);
    enter(p);
    Expr *x = parse_unary(p);
    leave(p);
    return new_unary(p, OP_NEG, op, x);
}

/* The operator of the current token if it is one of the n of this level. */
typedef struct OpToken {
    TokKind kind;
    AstOp op;
} OpToken;

static AstOp op_here(const Parser *p, const OpToken *ops, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (ops[i].kind == kind(p))
            return ops[i].op;
    return OP_NONE;
}

/* term = unary { ( "*" | "/" | "//" | "%" | "@" ) unary } . */
static Expr *parse_term(Parser *p) {
    static const OpToken ops[] = {{TOK_STAR, OP_MUL},
                                  {TOK_SLASH, OP_DIV},
                                  {TOK_SLASH2, OP_FLOORDIV},
                                  {TOK_PERCENT, OP_MOD},
                                  {TOK_AT, OP_MATMUL}};
    Expr *x = parse_unary(p);
    for (AstOp op; (op = op_here(p, ops, sizeof ops / sizeof *ops)) != OP_NONE;) {
        Span span = here(p);
        parse_skip(p);
        x = new_binary(p, op, span, x, parse_unary(p));
    }
    return x;
}

/* `[1 -4]` and a line that begins with `-4` read like two values, but they are one difference. */
static void check_spacing(Parser *p) {
    const Token *m = &p->t->tok[p->at];
    char before = p->t->text[m->from - 1], after = p->t->text[m->to];
    bool looks_unary = strchr(" \t\r\n", before) && !strchr(" \t\r\n", after);
    if (looks_unary && (p->around == AROUND_LIST || (m->first && p->around == AROUND_NOTHING))) {
        Diag *d = diag_warning(p->ctx, "W0201", "spacing", here(p),
                               "this `-` subtracts: it continues the expression before it");
        diag_help(p->ctx, d,
                  p->around == AROUND_LIST
                      ? "write `, -` for two elements, or a blank after the `-`"
                      : "write a blank after the `-`, or end the line above with it");
    }
}

/* sum = term { ( "+" | "-" ) term } . */
static Expr *parse_sum(Parser *p) {
    Expr *x = parse_term(p);
    while (is_kind(p, TOK_PLUS) || is_kind(p, TOK_MINUS)) {
        AstOp op = is_kind(p, TOK_PLUS) ? OP_ADD : OP_SUB;
        Span span = here(p);
        if (op == OP_SUB)
            check_spacing(p);
        parse_skip(p);
        x = new_binary(p, op, span, x, parse_term(p));
    }
    return x;
}

static const OpToken comparisons[] = {{TOK_EQ, OP_EQ}, {TOK_NE, OP_NE}, {TOK_LT, OP_LT},
                                      {TOK_LE, OP_LE}, {TOK_GT, OP_GT}, {TOK_GE, OP_GE}};

/* cmp = sum [ ( "==" | "!=" | "<" | "<=" | ">" | ">=" ) sum ] . */
static Expr *parse_cmp(Parser *p) {
    enum { N_OPS = sizeof comparisons / sizeof *comparisons };
    Expr *x = parse_sum(p);
    AstOp op = op_here(p, comparisons, N_OPS);
    if (op == OP_NONE)
        return x;
    Span span = here(p);
    parse_skip(p);
    Expr *e = new_binary(p, op, span, x, parse_sum(p));
    if (op_here(p, comparisons, N_OPS) != OP_NONE) {
        Diag *d = diag_error(p->ctx, "E0209", here(p), "comparisons do not chain");
        diag_label(p->ctx, d, span, "the first comparison");
        diag_help(p->ctx, d, "join two comparisons by `and`: `a < b and b < c`");
        parse_unwind(p);
    }
    return e;
}

/* not = "not" not | cmp . */
static Expr *parse_not(Parser *p) {
    if (!is_kind(p, TOK_NOT))
        return parse_cmp(p);
    Span op = here(p);
    parse_skip(p);
    enter(p);
    Expr *x = parse_not(p);
    leave(p);
    return new_unary(p, OP_NOT, op, x);
}

/* and = not { "and" not } . */
static Expr *parse_and(Parser *p) {
    Expr *x = parse_not(p);
    while (is_kind(p, TOK_AND)) {
        Span span = here(p);
        parse_skip(p);
        x = new_binary(p, OP_AND, span, x, parse_not(p));
    }
    return x;
}

/* or = and { "or" and } . */
static Expr *parse_or(Parser *p) {
    Expr *x = parse_and(p);
    while (is_kind(p, TOK_OR)) {
        Span span = here(p);
        parse_skip(p);
        x = new_binary(p, OP_OR, span, x, parse_and(p));
    }
    return x;
}

/* pipe = or { "|>" path [ "(" args ")" ] } . */
static Expr *parse_pipe(Parser *p) {
    Expr *x = parse_or(p);
    while (is_kind(p, TOK_PIPE)) {
        Span span = here(p);
        parse_skip(p);
        Path path = parse_path(p, "the name of a function after `|>`");
        Expr *e;
        if (is_kind(p, TOK_LPAREN)) {
            e = parse_call(p, path, x);
        } else {
            e = new_expr(p, EXPR_CALL, parse_join(x->span, path.span), span);
            e->path = path;
            e->piped = true;
            e->args = ARENA_NEW(&p->ctx->perm, Arg);
            e->args[0] = (Arg){.value = x, .span = x->span};
            e->n_args = 1;
            e->close = tok_span(p->t, p->at - 1);
            above(p, e, x);
        }
        e->op_span = span;
        x = e;
    }
    return x;
}

/* "if" expr "then" expr "else" expr */
static Expr *parse_if(Parser *p) {
    Expr *e = new_expr(p, EXPR_IF, here(p), here(p));
    parse_skip(p);
    e->x = parse_expr(p);
    if (!is_kind(p, TOK_THEN))
        parse_expected(p, "`then` after the condition of an `if`",
                       is_kind(p, TOK_ASSIGN)           ? "`==` compares: `if x == 0 then a else b`"
                       : parse_hint_found(p, p->at) ? NULL
                                                        : "a choice is `if c then a else b`");
    parse_skip(p);
    e->y = parse_expr(p);
    if (!is_kind(p, TOK_ELSE))
        parse_expected(p, "`else` and a value: an `if` has both", parse_hint_found(p, p->at) ? NULL : "a choice is `if c then a else b`");
    parse_skip(p);
    e->z = parse_expr(p);
    e->span = parse_join(e->span, e->z->span);
    above(p, e, e->x);
    above(p, e, e->y);
    above(p, e, e->z);
    return e;
}

/* "for" index { "," index } "=>" expr .  index = NAME "<" sum . */
static Expr *parse_for(Parser *p) {
    VEC(Index) v = {0};
    Expr *e = new_expr(p, EXPR_FOR, here(p), here(p));
    do {
        parse_skip(p); /* `for`, then each comma */
        if (is_kind(p, TOK_INT))
            parse_expected(p, "the name of an index", "an index runs from 0 to the bound less 1: `for i < N => x[i + 1]`");
        Index ix = {.name = parse_name(p, "the name of an index")};
        if (!is_kind(p, TOK_LT))
            parse_expected(p, "`<` and the bound of the index", "an index runs from 0 to the bound less 1: `for i < N => x[i]`");
        parse_skip(p);
        ix.bound = parse_sum(p);
        above(p, e, ix.bound);
        vec_push(&p->ctx->perm, &v, ix);
    } while (is_kind(p, TOK_COMMA));
    if (!is_kind(p, TOK_FATARROW))
        parse_expected(p, "`=>` after the indices of a `for`", "write `=>` between the indices and the element: `for i < N => x[i]`");
    parse_skip(p);
    e->indices = v.p;
    e->n_indices = v.n;
    e->x = parse_expr(p);
    e->span = parse_join(e->span, e->x->span);
    above(p, e, e->x);
    return e;
}

/* expr = "if" ... | "for" ... | pipe . */
Expr *parse_expr(Parser *p) {
    enter(p);
    Expr *e = is_kind(p, TOK_IF) ? parse_if(p) : is_kind(p, TOK_FOR) ? parse_for(p) : parse_pipe(p);
    leave(p);
    return e;
}

/* type = NAME [ "(" args ")" ] [ shape ] | shape .
   shape = "[" [ ( "..." | expr ) { "," expr } ] "]" . */
TypeExpr *parse_type(Parser *p) {
    TypeExpr *t = ARENA_NEW(&p->ctx->perm, TypeExpr);
    t->span = here(p);
    if (!is_kind(p, TOK_NAME) && !is_kind(p, TOK_LBRACKET)) {
        if (!parse_is_silent(p)) {
            Diag *d = diag_error(p->ctx, "E0207", here(p), "expected a type, found %s",
                                 tok_describe(p->ctx, p->t, p->at));
            diag_help(p->ctx, d, "a type is a kind, a shape or both: `real`, `[N, 3]`, `bool[N]`");
        }
        parse_unwind(p);
    }
    if (is_kind(p, TOK_NAME)) {
        t->kind = parse_name(p, "a kind");
        if (is_kind(p, TOK_LPAREN))
            parse_args(p, NULL, &t->args, &t->n_args);
    }
    if (is_kind(p, TOK_LBRACKET)) {
        t->has_shape = true;
        t->shape_span = here(p);
        parse_list(p, AROUND_PARENS, &t->rest, &t->shape, &t->rank);
        t->shape_span = parse_join(t->shape_span, last_span(p));
    }
    t->span = parse_join(t->span, last_span(p));
    return t;
}
