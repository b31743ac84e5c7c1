/* What people of other languages mean by tokens that do not fit here. */
#include "frontend/foreign.h"
#include "frontend/parse_priv.h"

static TokKind at(const Parser *p, uint32_t i) {
    return i < p->t->n_tok ? (TokKind)p->t->tok[i].kind : TOK_EOF;
}

/* Tokens i and i + 1 stand side by side. */
static bool pair(const Parser *p, uint32_t i, TokKind a, TokKind b) {
    return at(p, i) == a && at(p, i + 1) == b && p->t->tok[i].to == p->t->tok[i + 1].from;
}

static bool is_arithmetic(TokKind k) {
    return k == TOK_PLUS || k == TOK_MINUS || k == TOK_STAR || k == TOK_SLASH || k == TOK_CARET ||
           k == TOK_AT;
}

/* Operators of two or three characters that this language does not have, around token i. */
static const char *hint_of_operator(const Parser *p, uint32_t i) {
    TokKind k = at(p, i);
    if (i && pair(p, i - 1, TOK_STAR, TOK_STAR))
        return "a power is `x ^ 2`";
    if (i && pair(p, i - 1, TOK_PERCENT, TOK_STAR))
        return "a matrix product is `a @ b`";
    if (i && pair(p, i - 1, TOK_PERCENT, TOK_PERCENT))
        return "the remainder is `a % b`";
    if (i && is_arithmetic(at(p, i - 1)) && pair(p, i - 1, at(p, i - 1), TOK_ASSIGN))
        return "a name has one value: give the new value a new name; a state is updated by `NAME := NAME "
               "+ ...`";
    if (i && at(p, i - 1) == TOK_PLUS && pair(p, i - 1, TOK_PLUS, TOK_PLUS))
        return "write `x + 1`, under a new name";
    if (i && at(p, i - 1) == TOK_DOT && (is_arithmetic(k) || k == TOK_LPAREN))
        return "operators and functions of scalars are elementwise already: leave the `.` out";
    if (i && pair(p, i - 1, TOK_LT, TOK_GT))
        return "unequal is `!=`";
    if (i && pair(p, i - 1, TOK_EQ, TOK_ASSIGN))
        return "equal is `==`";
    if (k == TOK_DOTS)
        return "in subscripts a `:` stands for each axis that is kept, `x[:, :, 0]`; `...` begins a declared shape";
    if (k == TOK_COLON && i && at(p, i - 1) == TOK_COLON)
        return "a slice has no step: `for i < N // 2 => x[2*i]`";
    if (k == TOK_LT && pair(p, i, TOK_LT, TOK_MINUS))
        return "a binding is `NAME = ...`";
    if (k == TOK_SLASH2)
        return "a comment begins with `#`";
    if (k == TOK_SLASH && pair(p, i, TOK_SLASH, TOK_STAR))
        return "a comment begins with `#`, on every line";
    if (k == TOK_QUOTE)
        return "strings have double quotes: \"...\"";
    if (k == TOK_LE && i > 1 && at(p, i - 2) == TOK_FOR)
        return "an index runs from 0 to the bound less 1: `for i < N`";
    return NULL;
}

/* Whether `NAME(...)` or `NAME[...]` that ends at the bracket i begins its line. */
static bool begins_line(const Parser *p, uint32_t i, TokKind open, TokKind close) {
    int depth = 0;
    for (; i > 0; i--) {
        TokKind k = at(p, i);
        depth += (k == close) - (k == open);
        if (depth == 0)
            break;
    }
    return i && at(p, i - 1) == TOK_NAME && (i == 1 || p->t->tok[i - 1].first);
}

/* A token where an operator or the end of a statement is needed. */
static const char *hint_after_value(const Parser *p, uint32_t i) {
    switch (at(p, i)) {
    case TOK_ELSE:
    case TOK_THEN:
        return "a choice is `if c then a else b`";
    case TOK_IF:
        return "a choice is `if c then a else b`";
    case TOK_FOR:
        return "a comprehension begins with `for`: `for i < N => x[i]`";
    case TOK_ASSIGN:
        if (i && begins_line(p, i - 1, TOK_LPAREN, TOK_RPAREN))
            return "a function is `def f(x: real) -> real = ...`";
        if (i && begins_line(p, i - 1, TOK_LBRACKET, TOK_RBRACKET))
            return "elements are not assigned: `for i < N => ...` builds a tensor with all of them";
        return "a comparison is `==`";
    case TOK_COMMA:
        return "there is one value: a tensor of several is `[a, b]`, and several results are several "
               "defs";
    case TOK_COLON:
        return i && (parse_is_word(p, i - 1, "lambda") || (i > 1 && parse_is_word(p, i - 2, "lambda")))
                   ? "functions have names: declare a `def`"
                   : "a range is `for i < N => i`, a type stands after the name: `x: real = ...`";
    case TOK_LBRACE:
        return "blocks in braces belong to items only: `if c then a else b`, `for i < N => ...`";
    case TOK_PLUS:
    case TOK_MINUS:
    case TOK_STAR:
    case TOK_SLASH:
        return "a pipe ends its expression: put it into parentheses, `(x |> f) + 1`";
    case TOK_LT:
        return "constrained kinds are `positive`, `prob` and `interval(a, b)`";
    case TOK_LPAREN:
        return "a product needs its `*`";
    case TOK_NAME:
        return i ? foreign_help(FOREIGN_VALUE, tok_text(p->ctx, p->t, i - 1)) : NULL;
    case TOK_RPAREN:
    case TOK_RBRACKET:
        return "this bracket closes nothing: delete it";
    case TOK_TILDE:
        return "a prior is a statement of its own, on the next line: `NAME ~ Normal(0, 1)`";
    default:
        return NULL;
    }
}

/* A name as the beginning of a statement, by what follows it. */
static const char *hint_after_name(const Parser *p, uint32_t i) {
    TokKind next = at(p, i + 1);
    if (next == TOK_COMMA)
        return "a statement binds one name: write one line for each";
    if (next == TOK_EQ)
        return "a binding is `NAME = ...`; `==` compares";
    if (next == TOK_LT && pair(p, i + 1, TOK_LT, TOK_MINUS))
        return "a binding is `NAME = ...`";
    if (is_arithmetic(next) && pair(p, i + 1, next, TOK_ASSIGN))
        return hint_of_operator(p, i + 2);
    if (next == TOK_LPAREN)
        return "a value without a name has no effect: bind it, `NAME = f(...)`, `return` it, or in a test `expect` it";
    if (is_arithmetic(next))
        return "a value alone has no effect: `return` it, or bind it, `NAME = ...`";
    return "after a name stands `=`, `:`, `:=` or `~`";
}

const char *parse_hint_statement(const Parser *p, uint32_t i) {
    const char *own = hint_of_operator(p, i);
    TokKind k = at(p, i);
    if (own)
        return own;
    if (k == TOK_STRING)
        return "what a definition does is written in `##` lines above it";
    if (k != TOK_NAME && !tok_is_reserved(k))
        return NULL;
    own = foreign_help(FOREIGN_STMT, tok_text(p->ctx, p->t, i));
    return own || k != TOK_NAME ? own : hint_after_name(p, i);
}

const char *parse_hint_item(const Parser *p, uint32_t i) {
    const char *own = hint_of_operator(p, i);
    TokKind k = at(p, i);
    if (k == TOK_PERCENT)
        return "a comment begins with `#`";
    if (own || (k != TOK_NAME && !tok_is_reserved(k)))
        return own;
    own = foreign_help(FOREIGN_ITEM, tok_text(p->ctx, p->t, i));
    if (own)
        return own;
    if (at(p, i + 1) == TOK_LT && pair(p, i + 1, TOK_LT, TOK_MINUS))
        return "a value of the file is `const NAME = ...`, a function `def NAME(x: real) -> real = ...`";
    return NULL;
}

const char *parse_hint_rest(const Parser *p, uint32_t i) {
    const char *own = hint_of_operator(p, i + 1);
    own = own ? own : hint_of_operator(p, i);
    return own ? own : hint_after_value(p, i);
}

const char *parse_hint_found(const Parser *p, uint32_t i) {
    const char *own = hint_of_operator(p, i);
    TokKind before = i ? at(p, i - 1) : TOK_EOF;
    if (own)
        return own;
    if (before == TOK_MINIMIZE && (at(p, i) == TOK_ASSIGN || at(p, i) == TOK_TILDE))
        return "no sign stands between: `minimize mean((x - mu)^2)`";
    if (at(p, i) == TOK_LBRACE && before == TOK_ASSIGN)
        return "a block follows the head without `=`: `def f(x: real) -> real { ... }`";
    if (at(p, i) == TOK_STRING)
        return "a name has no quotes";
    if (at(p, i) == TOK_NAME && parse_is_word(p, i, "elif"))
        return "write `else if`";
    if (at(p, i) == TOK_NAME && parse_is_word(p, i, "elseif"))
        return "write `else if`";
    return NULL;
}
