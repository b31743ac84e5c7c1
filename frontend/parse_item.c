/* Items, files, and the lines of the REPL. */
#include <string.h>

#include "frontend/parse_priv.h"

/* dims = "[" dim { "," dim } "]" .  dim = NAME [ "=" expr ] . */
static void parse_dims(Parser *p, Item *it) {
    VEC(DimDecl) v = {0};
    uint32_t open = p->at;
    p->around = AROUND_PARENS;
    do {
        parse_skip(p); /* `[`, then each comma */
        DimDecl d = {.name = parse_name(p, "the name of a dim")};
        if (parse_accept(p, TOK_ASSIGN))
            d.value = parse_expr(p);
        vec_push(&p->ctx->perm, &v, d);
    } while (is_kind(p, TOK_COMMA));
    parse_close(p, TOK_RBRACKET, open);
    p->around = AROUND_NOTHING;
    it->dims = v.p;
    it->n_dims = v.n;
}

/* formals = "(" [ formal { "," formal } ] ")" .  formal = NAME [ ":" type ] [ "=" expr ] . */
static void parse_formals(Parser *p, Item *it) {
    VEC(Formal) v = {0};
    uint32_t open = p->at;
    p->around = AROUND_PARENS;
    p->declares = true;
    parse_skip(p);
    if (!is_kind(p, TOK_RPAREN)) {
        do {
            Formal f = {.name = parse_name(p, "the name of a formal")};
            if (parse_accept(p, TOK_COLON))
                f.type = parse_type(p);
            if (parse_accept(p, TOK_ASSIGN))
                f.default_ = parse_expr(p);
            f.span = parse_join(f.name.span, last_span(p));
            vec_push(&p->ctx->perm, &v, f);
        } while (parse_accept(p, TOK_COMMA));
    }
    parse_close(p, TOK_RPAREN, open);
    p->declares = false;
    p->around = AROUND_NOTHING;
    it->has_formals = true;
    it->formals = v.p;
    it->n_formals = v.n;
}

static const char *body_help(const Parser *p, const Item *it) {
    bool def = it->kind == ITEM_DEF;
    switch (kind(p)) {
    case TOK_COLON:
        if (it->has_formals && !it->type &&
            (kind_at(p, 1) == TOK_LBRACKET ||
             (kind_at(p, 1) == TOK_NAME && kind_at(p, 2) == TOK_ASSIGN)))
            return "the type of the result stands after `->`";
        return def ? "a body is `= VALUE`, or statements in braces: `{ ... return VALUE }`"
                   : "a block stands in braces: `{ ... }`";
    case TOK_ASSIGN:
        return "only a def has a body without braces: `{ return VALUE }`";
    case TOK_FATARROW:
        return def ? "a body is `= VALUE`: `def f(x: real) = x + 1`" : NULL;
    case TOK_LPAREN:
        return "dims stand in brackets: `NAME[N](x: [N])`";
    case TOK_NAME:
    case TOK_LBRACKET:
        return it->has_formals && !it->type && !p->t->tok[p->at].first
                   ? "the type of the result stands after `->`"
               : def && it->type && !p->t->tok[p->at].first
                   ? "a body is `= VALUE`: write `=` before it"
                   : NULL;
    default:
        return NULL;
    }
}

/* ( "=" expr | block ), the first for a def only. */
static void parse_body(Parser *p, Item *it) {
    if (is_kind(p, TOK_LBRACE)) {
        parse_block(p, it);
        return;
    }
    Span op = here(p);
    if (it->kind != ITEM_DEF || !parse_accept(p, TOK_ASSIGN))
        parse_expected(p,
                       str_fmt(p->ctx,
                               it->kind == ITEM_DEF ? "`=` or `{` and the body of `%s`"
                                                    : "`{` and the body of `%s`",
                               it->name.text ? it->name.text : "the test"),
                       body_help(p, it));
    Stmt *s = ARENA_NEW(&p->ctx->perm, Stmt);
    s->kind = STMT_RETURN;
    s->op = op;
    s->value = parse_expr(p);
    s->span = s->value->span;
    s->head = (Span){s->span.file, s->span.line, s->span.col, s->span.line, s->span.col + 1};
    it->short_body = true;
    it->body = ARENA_NEW(&p->ctx->perm, Stmt *);
    it->body[0] = s;
    it->n_body = 1;
}

static void parse_text(Parser *p, Item *it, const char *what, const char *help) {
    if (!is_kind(p, TOK_STRING))
        parse_expected(p, what, is_kind(p, TOK_NAME) ? help : NULL);
    it->text = tok_text(p->ctx, p->t, p->at);
    it->text_span = here(p);
    parse_skip(p);
}

/* Behind the name of an import an item begins, or the text ends: in `import "f.cnn" as def g(..)`
 * the word is the next item's, wherever lines end. */
static bool is_next_item(const Parser *p) {
    bool word =
        is_kind(p, TOK_NAME) && parse_find_word(p, p->at, parse_item_words, N_ITEM_WORDS) >= 0;
    return word && p->t->tok[p->at + 1].kind != TOK_EOF &&
           parse_find_word(p, p->at + 1, parse_item_words, N_ITEM_WORDS) < 0;
}

/* "import" STRING [ "as" NAME ] */
static void parse_import(Parser *p, Item *it) {
    parse_text(
        p, it, "a string with the name of a file",
        "write the name of a file in quotes: `import \"layers.cnn\"`; the library needs no import");
    if (is_kind(p, TOK_NAME) && parse_is_word(p, p->at, "as") && !p->t->tok[p->at].first) {
        parse_skip(p);
        if (is_next_item(p))
            parse_expected(p, "the name of an import", "write a name, or leave out `as`");
        it->name = parse_name(p, "the name of an import");
    }
}

/* "const" NAME [ ":" type ] "=" expr */
static void parse_const(Parser *p, Item *it) {
    it->name = parse_name(p, "the name of a const");
    if (parse_accept(p, TOK_COLON))
        it->type = parse_type(p);
    if (!is_kind(p, TOK_ASSIGN))
        parse_expected(p, str_fmt(p->ctx, "`=` and the value of `%s`", it->name.text),
                       is_kind(p, TOK_NAME) && !p->t->tok[p->at].first
                           ? str_fmt(p->ctx, "a type stands after the name: `const %s: %s = ...`",
                                     tok_text(p->ctx, p->t, p->at), it->name.text)
                           : NULL);
    parse_skip(p);
    it->value = parse_expr(p);
}

/* "def" NAME [ dims ] formals [ "->" type ] ( "=" expr | block ) | "model" NAME [ dims ] formals [
 * "->" type ] block | "estimator" NAME [ dims ] [ formals ] block | "optimizer" NAME formals block
 */
static void parse_definition(Parser *p, Item *it) {
    static const char *const what[] = {[ITEM_DEF] = "the name of a def",
                                       [ITEM_MODEL] = "the name of a model",
                                       [ITEM_ESTIMATOR] = "the name of an estimator",
                                       [ITEM_OPTIMIZER] = "the name of an optimizer"};
    it->name = parse_name(p, what[it->kind]);
    if (it->kind != ITEM_OPTIMIZER && is_kind(p, TOK_LBRACKET))
        parse_dims(p, it);
    if (is_kind(p, TOK_LPAREN))
        parse_formals(p, it);
    else if (it->kind != ITEM_ESTIMATOR)
        parse_expected(
            p, str_fmt(p->ctx, "`(` and the formals of `%s`", it->name.text),
            is_kind(p, TOK_LT)
                ? str_fmt(p->ctx, "dims stand in brackets: `%s[N](x: [N])`", it->name.text)
                : str_fmt(p->ctx, "write `%s()` where there are none", it->name.text));
    if ((it->kind == ITEM_DEF || it->kind == ITEM_MODEL) && parse_accept(p, TOK_ARROW))
        it->type = parse_type(p);
    parse_body(p, it);
}

static void parse_item(Parser *p, void *arg) {
    Item *it = arg;
    it->head = it->span = here(p);
    it->from = p->t->tok[p->at].from;
    it->doc = tok_doc(p->ctx, p->t, p->at, &it->from);
    it->kind = (ItemKind)parse_find_word(p, p->at, parse_item_words, N_ITEM_WORDS);
    parse_skip(p);
    switch (it->kind) {
    case ITEM_IMPORT:
        parse_import(p, it);
        break;
    case ITEM_CONST:
        parse_const(p, it);
        break;
    case ITEM_TEST:
        parse_text(p, it, "a string with the name of the test", "write the name in quotes");
        parse_body(p, it);
        break;
    default:
        parse_definition(p, it);
        break;
    }
    it->span = parse_join(it->span, last_span(p));
    it->to = p->t->tok[p->at - 1].to;
}

static void no_item(Parser *p) {
    if (parse_is_silent(p))
        return;
    const char *found = tok_describe(p->ctx, p->t, p->at);
    Diag *d = diag_error(p->ctx, "E0201", here(p),
                         "expected an item (`def`, `model`, `estimator`, ...), found %s", found);
    const char *own = parse_hint_item(p, p->at);
    const char *word =
        own || !is_kind(p, TOK_NAME) || kind_at(p, 1) == TOK_ASSIGN
            ? NULL
            : diag_nearest(tok_text(p->ctx, p->t, p->at), parse_item_words, N_ITEM_WORDS);
    parse_help(p, d, own);
    if (word)
        diag_help(p->ctx, d, "did you mean `%s`?", word);
}

/* file = { item } . */
static AstFile *parse_items(Parser *p) {
    AstFile *f = ARENA_NEW(&p->ctx->perm, AstFile);
    VEC(Item *) v = {0};
    f->file = p->t->file;
    while (!is_kind(p, TOK_EOF)) {
        uint32_t start = p->at;
        if (is_kind(p, TOK_RBRACE)) {
            diag_error(p->ctx, "E0202", here(p), "this `}` closes nothing");
            p->goes_on = false;
            parse_skip(p);
        } else if (!is_kind(p, TOK_NAME) ||
                   parse_find_word(p, p->at, parse_item_words, N_ITEM_WORDS) < 0) {
            if (!p->goes_on || !parse_goes_on(p, p->at, "item"))
                no_item(p);
            p->goes_on = false;
            parse_skip_to_item(p, start);
        } else {
            Item *it = ARENA_NEW(&p->ctx->perm, Item);
            bool ok = parse_attempt(p, parse_item, it);
            if (p->incomplete)
                break;
            it->broken = it->broken || !ok;
            p->goes_on = ok && it->short_body;
            p->goes_on |= ok && it->kind == ITEM_CONST;
            if (ok)
                vec_push(&p->ctx->perm, &v, it);
            else
                parse_skip_to_item(p, start);
        }
    }
    f->items = v.p;
    f->n_items = v.n;
    return f;
}

AstFile *parse_file(Ctx *ctx, uint32_t file) {
    Parser p = {.ctx = ctx, .t = lex_file(ctx, file)};
    return parse_items(&p);
}

/* --- a line of the REPL, an expression alone --- */

static void at_end(Parser *p) {
    if (!is_kind(p, TOK_EOF))
        parse_expected(p, "the end of the input", parse_hint_rest(p, p->at));
}

static void parse_lone_expr(Parser *p, void *arg) {
    *(Expr **)arg = parse_expr(p);
    at_end(p);
}

static void parse_lone_stmt(Parser *p, void *arg) {
    parse_stmt(p, arg);
    at_end(p);
}

ReplInput parse_repl_line(Ctx *ctx, uint32_t file, bool final) {
    ReplInput in = {.kind = REPL_EMPTY};
    int errors = diags_of(ctx)->n_errors;
    Parser p = {.ctx = ctx, .t = lex_file(ctx, file), .ask_more = !final};
    if (is_kind(&p, TOK_EOF) && !p.t->cut)
        return in;
    bool is_binding =
        is_kind(&p, TOK_NAME) && (kind_at(&p, 1) == TOK_ASSIGN || kind_at(&p, 1) == TOK_COLON);
    if (parse_begins_item(&p, 0)) {
        in.kind = REPL_ITEMS;
        in.items = parse_items(&p);
    } else if (is_binding) {
        in.kind = REPL_STMT;
        parse_attempt(&p, parse_lone_stmt, &in.stmt);
    } else {
        in.kind = REPL_EXPR;
        parse_attempt(&p, parse_lone_expr, &in.expr);
    }
    if (diags_of(ctx)->n_errors > errors)
        in.kind = REPL_ERROR;
    else if (p.incomplete)
        in.kind = REPL_INCOMPLETE;
    return in;
}

Expr *parse_expr_text(Ctx *ctx, uint32_t file) {
    Parser p = {.ctx = ctx, .t = lex_file(ctx, file)};
    Expr *e = NULL;
    if (parse_attempt(&p, parse_lone_expr, &e))
        return e;
    e = ARENA_NEW(&ctx->perm, Expr);
    e->kind = EXPR_ERROR;
    e->span = here(&p);
    return e;
}
