/* Items, statements and recovery; expressions are in parse_expr.c. */
#include "frontend/parse.h"

#include <string.h>

#include "frontend/parse_priv.h"

/* --- tokens and errors --- */

bool parse_is_silent(const Parser *p) {
    bool at_end = is_kind(p, TOK_EOF);
    return is_kind(p, TOK_BAD) || (at_end && (p->ask_more || p->t->cut));
}

void parse_unwind(Parser *p) {
    if (is_kind(p, TOK_EOF) && p->ask_more)
        p->incomplete = true;
    longjmp(*p->recover, 1);
}

void parse_skip(Parser *p) {
    if (!is_kind(p, TOK_EOF))
        p->at++;
}

bool parse_accept(Parser *p, TokKind k) {
    if (!is_kind(p, k))
        return false;
    parse_skip(p);
    return true;
}

CNNC_NORETURN static void expected(Parser *p, const char *what) {
    if (!parse_is_silent(p))
        diag_error(p->ctx, "E0203", here(p), "expected %s, found %s", what, tok_describe(p->ctx, p->t, p->at));
    parse_unwind(p);
}

void parse_expect(Parser *p, TokKind k, const char *context) {
    if (!parse_accept(p, k))
        expected(p, str_fmt(p->ctx, "`%s` %s", tok_kind_text(k), context));
}

void parse_close(Parser *p, TokKind k, uint32_t open) {
    if (parse_accept(p, k))
        return;
    if (!parse_is_silent(p)) {
        Diag *d = diag_error(p->ctx, "E0212", here(p), "expected `,` or `%s`, found %s", tok_kind_text(k),
                             tok_describe(p->ctx, p->t, p->at));
        diag_label(p->ctx, d, tok_span(p->t, open), "opened here");
    }
    parse_unwind(p);
}

Name parse_name(Parser *p, const char *what) {
    if (!is_kind(p, TOK_NAME)) {
        if (!parse_is_silent(p) && tok_is_reserved(kind(p)))
            diag_error(p->ctx, "E0204", here(p), "`%s` is a reserved word, it cannot be %s", tok_kind_text(kind(p)), what);
        else if (!parse_is_silent(p))
            diag_error(p->ctx, "E0205", here(p), "expected %s, found %s", what, tok_describe(p->ctx, p->t, p->at));
        parse_unwind(p);
    }
    Name n = {tok_text(p->ctx, p->t, p->at), here(p)};
    parse_skip(p);
    return n;
}

/* path = NAME { "." NAME } . */
Path parse_path(Parser *p, const char *what) {
    VEC(Name) v = {0};
    Name first = parse_name(p, what);
    vec_push(&p->ctx->perm, &v, first);
    while (parse_accept(p, TOK_DOT)) {
        Name next = parse_name(p, "a name after the `.`");
        vec_push(&p->ctx->perm, &v, next);
    }
    return (Path){v.p, v.n, parse_join(first.span, v.p[v.n - 1].span)};
}

/* Calls fn; false if a mistake unwound it. */
static bool attempt(Parser *p, void (*fn)(Parser *p, void *arg), void *arg) {
    jmp_buf here_, *volatile outer = p->recover;
    volatile bool ok = false;
    p->recover = &here_;
    p->nesting = 0;
    p->around = AROUND_NOTHING;
    if (setjmp(here_) == 0) {
        fn(p, arg);
        ok = true;
    }
    p->recover = outer;
    return ok;
}

/* --- words that begin items and statements: keywords only there --- */

static const char *const item_words[] = {"import", "const", "def", "model", "estimator", "optimizer", "test"};
enum { N_ITEM_WORDS = sizeof item_words / sizeof *item_words };
static const char *const stmt_words[] = {"param", "state", "data", "const", "return", "minimize", "expect", "report", "using"};
enum { N_STMT_WORDS = sizeof stmt_words / sizeof *stmt_words };

const char *item_keyword(ItemKind k) { return item_words[k]; }

const char *stmt_keyword(StmtKind k) {
    return k < STMT_BIND ? stmt_words[k] : k == STMT_BIND ? "=" : k == STMT_TILDE ? "~" : ":=";
}

const char *ast_op_text(AstOp op) {
    static const char *const text[] = {"", "-", "not", "+", "-", "*", "/", "//", "%", "@", "^",
                                       "==", "!=", "<", "<=", ">", ">=", "and", "or"};
    return text[op];
}

static bool is_word(const Parser *p, uint32_t i, const char *word) {
    const Token *k = &p->t->tok[i];
    return k->to - k->from == strlen(word) && memcmp(p->t->text + k->from, word, strlen(word)) == 0;
}

static int find_word(const Parser *p, uint32_t i, const char *const *words, int n) {
    for (int k = 0; k < n; k++)
        if (is_word(p, i, words[k]))
            return k;
    return -1;
}

/* Token i begins an item: its word, then a name, string or a reserved word by mistake. */
static bool begins_item(const Parser *p, uint32_t i) {
    if (p->t->tok[i].kind != TOK_NAME || find_word(p, i, item_words, N_ITEM_WORDS) < 0)
        return false;
    TokKind next = (TokKind)p->t->tok[i + 1].kind;
    return next == TOK_NAME || next == TOK_STRING || tok_is_reserved(next);
}

/* An item that no statement looks like: the block around it was not closed. */
static bool ends_block(const Parser *p) {
    return p->t->tok[p->at].first && begins_item(p, p->at) && !is_word(p, p->at, "const");
}

/* The statement of a keyword at token i, or STMT_BIND. `data = 3` and `test.w ~ ...` are about values. */
static StmtKind keyword_of(const Parser *p, uint32_t i) {
    int k = find_word(p, i, stmt_words, N_STMT_WORDS);
    if (k < 0)
        return STMT_BIND;
    switch (p->t->tok[i + 1].kind) {
    case TOK_ASSIGN: case TOK_COLON: case TOK_UPDATE: case TOK_TILDE: case TOK_DOT: case TOK_LBRACKET:
        return p->t->tok[i].kind == TOK_NAME ? STMT_BIND : (StmtKind)k;
    default:
        return (StmtKind)k;
    }
}

/* Token i looks like the beginning of a statement; a name counts outside open brackets only: `f(a,\n k = 2)`. */
static bool begins_stmt(const Parser *p, uint32_t i, bool in_brackets) {
    TokKind k = (TokKind)p->t->tok[i].kind;
    if (!p->t->tok[i].first || (k != TOK_NAME && !tok_is_reserved(k)))
        return false;
    if (keyword_of(p, i) != STMT_BIND)
        return true;
    TokKind next = (TokKind)p->t->tok[i + 1].kind;
    return k == TOK_NAME && !in_brackets &&
           (next == TOK_ASSIGN || next == TOK_COLON || next == TOK_UPDATE || next == TOK_TILDE || next == TOK_DOT || next == TOK_LBRACKET);
}

/* --- recovery: skip to where the next statement or item begins --- */

static int bracket_step(TokKind k) {
    return k == TOK_LPAREN || k == TOK_LBRACKET ? 1 : k == TOK_RPAREN || k == TOK_RBRACKET ? -1 : 0;
}

static void skip_to_stmt(Parser *p, uint32_t start) {
    uint32_t wrong = p->at; /* itself no sign of where brackets end */
    int braces = 0, brackets = 0;
    for (uint32_t i = start; i < p->at; i++)
        brackets += bracket_step((TokKind)p->t->tok[i].kind);
    for (; !is_kind(p, TOK_EOF); p->at++) {
        TokKind k = kind(p);
        if (braces == 0 && (k == TOK_RBRACE || ends_block(p)))
            return;
        if (braces == 0 && p->at > start && begins_stmt(p, p->at, brackets > 0))
            return;
        braces += (k == TOK_LBRACE) - (k == TOK_RBRACE);
        if (p->at != wrong)
            brackets += bracket_step(k);
    }
}

static void skip_to_item(Parser *p, uint32_t start) {
    int braces = 0;
    for (uint32_t i = start; i < p->at; i++)
        braces += (p->t->tok[i].kind == TOK_LBRACE) - (p->t->tok[i].kind == TOK_RBRACE);
    if (p->at == start)
        p->at++;
    for (; !is_kind(p, TOK_EOF); p->at++) {
        const Token *k = &p->t->tok[p->at];
        if (k->first && (braces <= 0 || k->col == 1) && begins_item(p, p->at))
            return;
        braces += (k->kind == TOK_LBRACE) - (k->kind == TOK_RBRACE);
    }
}

/* --- statements --- */

/* [ ":" type ] "=" expr, the type required or not. */
static void parse_typed_value(Parser *p, Stmt *s, bool need_type, bool need_value) {
    if (parse_accept(p, TOK_COLON))
        s->type = parse_type(p);
    else if (need_type)
        expected(p, str_fmt(p->ctx, "`:` and the type of `%s`", s->name.text));
    s->op = here(p);
    if (parse_accept(p, TOK_ASSIGN))
        s->value = parse_expr(p);
    else if (need_value)
        expected(p, str_fmt(p->ctx, "`=` and the value of `%s`", s->name.text));
    else
        s->op = (Span){0};
}

static void parse_using(Parser *p, Stmt *s) {
    Path path = parse_path(p, "the name of an optimizer");
    if (!is_kind(p, TOK_LPAREN))
        expected(p, str_fmt(p->ctx, "`(` and the arguments of `%s`", path.names[path.n - 1].text));
    s->name = path.names[path.n - 1];
    s->value = parse_call(p, path, NULL);
}

/* What follows a keyword.
 * stmt = "param" NAME ":" type [ "=" expr ] [ "when" expr ] | "state" NAME ":" type "=" expr | "data" NAME ":" type
 *      | "const" NAME [ ":" type ] "=" expr | "return" expr | "minimize" expr | "expect" expr
 *      | "report" NAME "=" expr | "using" path "(" args ")" | ... */
static void parse_keyword_stmt(Parser *p, Stmt *s) {
    static const char *const what[] = {"the name of a param", "the name of a state", "the name of the data", "the name of a const"};
    parse_skip(p);
    switch (s->kind) {
    case STMT_RETURN: case STMT_MINIMIZE: case STMT_EXPECT:
        s->value = parse_expr(p);
        return;
    case STMT_USING:
        parse_using(p, s);
        return;
    case STMT_REPORT:
        s->name = parse_name(p, "the name of a report");
        s->op = here(p);
        parse_expect(p, TOK_ASSIGN, "after the name of a report");
        s->value = parse_expr(p);
        return;
    default:
        s->name = parse_name(p, what[s->kind]);
        break;
    }
    if (s->kind == STMT_DATA) {
        parse_expect(p, TOK_COLON, str_fmt(p->ctx, "and the type of `%s`", s->name.text));
        s->type = parse_type(p);
        return;
    }
    parse_typed_value(p, s, s->kind != STMT_CONST, s->kind != STMT_PARAM);
    if (s->kind == STMT_PARAM && parse_accept(p, TOK_WHEN))
        s->when = parse_expr(p);
}

/* NAME { "." ( NAME | "*" ) } [ "[" subs "]" ] "~" expr , after the first name. */
static void parse_tilde(Parser *p, Stmt *s) {
    VEC(Name) v = {0};
    vec_push(&p->ctx->perm, &v, s->name);
    while (parse_accept(p, TOK_DOT)) {
        Name next = {str_of(p->ctx, "*"), here(p)};
        if (!parse_accept(p, TOK_STAR))
            next = parse_name(p, "a name or `*` after the `.`");
        vec_push(&p->ctx->perm, &v, next);
    }
    s->path = (Path){v.p, v.n, parse_join(s->name.span, last_span(p))};
    if (is_kind(p, TOK_LBRACKET))
        parse_subs(p, &s->subs, &s->n_subs);
    if (!is_kind(p, TOK_TILDE) && (v.n > 1 || s->n_subs) && !parse_is_silent(p)) {
        Diag *d = diag_error(p->ctx, "E0217", here(p), "expected `~` and a distribution, found %s", tok_describe(p->ctx, p->t, p->at));
        diag_help(p->ctx, d, "elements are not assigned: a tensor is built by `for i < n => ...`");
        parse_unwind(p);
    }
    s->op = here(p);
    parse_expect(p, TOK_TILDE, "and a distribution");
    s->kind = STMT_TILDE;
    s->value = parse_expr(p);
}

CNNC_NORETURN static void no_stmt(Parser *p, uint32_t start) {
    if (!parse_is_silent(p)) {
        Diag *d = diag_error(p->ctx, "E0210", tok_span(p->t, start), "expected a statement, found %s", tok_describe(p->ctx, p->t, start));
        const char *word = p->t->tok[start].kind == TOK_NAME ? diag_nearest(tok_text(p->ctx, p->t, start), stmt_words, N_STMT_WORDS) : NULL;
        if (word)
            diag_help(p->ctx, d, "did you mean `%s`?", word);
        else if (p->t->tok[start].kind == TOK_NAME)
            diag_help(p->ctx, d, "after a name stands `=`, `:`, `:=` or `~`");
    }
    parse_unwind(p);
}

/* stmt = ... | NAME [ ":" type ] "=" expr | NAME ... "~" expr | NAME ":=" expr . */
static void parse_name_stmt(Parser *p, Stmt *s) {
    uint32_t start = p->at;
    if (!is_kind(p, TOK_NAME))
        no_stmt(p, start);
    s->name = parse_name(p, "a name");
    s->op = here(p);
    switch (kind(p)) {
    case TOK_COLON: case TOK_ASSIGN:
        parse_typed_value(p, s, false, true);
        return;
    case TOK_UPDATE:
        s->kind = STMT_UPDATE;
        parse_skip(p);
        s->value = parse_expr(p);
        return;
    case TOK_DOT: case TOK_LBRACKET: case TOK_TILDE:
        parse_tilde(p, s);
        return;
    default:
        no_stmt(p, start);
    }
}

static void parse_stmt(Parser *p, void *arg) {
    Stmt *s = *(Stmt **)arg = ARENA_NEW(&p->ctx->perm, Stmt);
    s->doc = tok_doc(p->ctx, p->t, p->at, NULL);
    s->span = s->head = here(p);
    s->kind = is_kind(p, TOK_NAME) || tok_is_reserved(kind(p)) ? keyword_of(p, p->at) : STMT_BIND;
    if (s->kind == STMT_BIND)
        parse_name_stmt(p, s);
    else
        parse_keyword_stmt(p, s);
    s->span = parse_join(s->span, last_span(p));
}

/* block = "{" { stmt } "}" . */
static void parse_block(Parser *p, Item *it) {
    VEC(Stmt *) v = {0};
    uint32_t open = p->at;
    parse_skip(p);
    while (!is_kind(p, TOK_RBRACE)) {
        if (is_kind(p, TOK_EOF) || ends_block(p)) {
            if (!parse_is_silent(p)) {
                Diag *d = diag_error(p->ctx, "E0208", tok_span(p->t, open), "this block has no closing `}`");
                diag_label(p->ctx, d, here(p), "expected `}` before %s", tok_describe(p->ctx, p->t, p->at));
            }
            parse_unwind(p);
        }
        Stmt *s = NULL;
        uint32_t start = p->at;
        if (attempt(p, parse_stmt, &s)) {
            vec_push(&p->ctx->perm, &v, s);
        } else {
            it->broken = true;
            if (p->incomplete)
                parse_unwind(p);
            skip_to_stmt(p, start);
        }
    }
    it->close = here(p);
    parse_skip(p);
    it->body = v.p;
    it->n_body = v.n;
}

/* --- items --- */

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
    p->around = AROUND_NOTHING;
    it->has_formals = true;
    it->formals = v.p;
    it->n_formals = v.n;
}

/* ( "=" expr | block ), the first for a def only. */
static void parse_body(Parser *p, Item *it) {
    if (is_kind(p, TOK_LBRACE)) {
        parse_block(p, it);
        return;
    }
    Span op = here(p);
    if (it->kind != ITEM_DEF || !parse_accept(p, TOK_ASSIGN))
        expected(p, str_fmt(p->ctx, it->kind == ITEM_DEF ? "`=` or `{` and the body of `%s`" : "`{` and the body of `%s`",
                            it->name.text ? it->name.text : "the test"));
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

static void parse_text(Parser *p, Item *it, const char *what) {
    if (!is_kind(p, TOK_STRING))
        expected(p, what);
    it->text = tok_text(p->ctx, p->t, p->at);
    it->text_span = here(p);
    parse_skip(p);
}

/* "import" STRING [ "as" NAME ] */
static void parse_import(Parser *p, Item *it) {
    parse_text(p, it, "a string with the name of a file");
    if (is_kind(p, TOK_NAME) && is_word(p, p->at, "as") && !p->t->tok[p->at].first) {
        parse_skip(p);
        it->name = parse_name(p, "the name of an import");
    }
}

/* "const" NAME [ ":" type ] "=" expr */
static void parse_const(Parser *p, Item *it) {
    it->name = parse_name(p, "the name of a const");
    if (parse_accept(p, TOK_COLON))
        it->type = parse_type(p);
    parse_expect(p, TOK_ASSIGN, str_fmt(p->ctx, "and the value of `%s`", it->name.text));
    it->value = parse_expr(p);
}

/* "def" NAME [ dims ] formals [ "->" type ] ( "=" expr | block ) | "model" NAME [ dims ] formals [ "->" type ] block
 * | "estimator" NAME [ dims ] [ formals ] block | "optimizer" NAME formals block */
static void parse_definition(Parser *p, Item *it) {
    static const char *const what[] = {[ITEM_DEF] = "the name of a def", [ITEM_MODEL] = "the name of a model",
                                       [ITEM_ESTIMATOR] = "the name of an estimator", [ITEM_OPTIMIZER] = "the name of an optimizer"};
    it->name = parse_name(p, what[it->kind]);
    if (it->kind != ITEM_OPTIMIZER && is_kind(p, TOK_LBRACKET))
        parse_dims(p, it);
    if (is_kind(p, TOK_LPAREN))
        parse_formals(p, it);
    else if (it->kind != ITEM_ESTIMATOR)
        expected(p, str_fmt(p->ctx, "`(` and the formals of `%s`", it->name.text));
    if ((it->kind == ITEM_DEF || it->kind == ITEM_MODEL) && parse_accept(p, TOK_ARROW))
        it->type = parse_type(p);
    parse_body(p, it);
}

static void parse_item(Parser *p, void *arg) {
    Item *it = arg;
    it->head = it->span = here(p);
    it->from = p->t->tok[p->at].from;
    it->doc = tok_doc(p->ctx, p->t, p->at, &it->from);
    it->kind = (ItemKind)find_word(p, p->at, item_words, N_ITEM_WORDS);
    parse_skip(p);
    switch (it->kind) {
    case ITEM_IMPORT:
        parse_import(p, it);
        break;
    case ITEM_CONST:
        parse_const(p, it);
        break;
    case ITEM_TEST:
        parse_text(p, it, "a string with the name of the test");
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
    Diag *d = diag_error(p->ctx, "E0201", here(p), "expected an item (`def`, `model`, `estimator`, ...), found %s", found);
    if (!is_kind(p, TOK_NAME))
        return;
    const char *word = diag_nearest(tok_text(p->ctx, p->t, p->at), item_words, N_ITEM_WORDS);
    if (word)
        diag_help(p->ctx, d, "did you mean `%s`?", word);
    else if (kind_at(p, 1) == TOK_ASSIGN)
        diag_help(p->ctx, d, "a value of the file is a `const`");
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
            parse_skip(p);
        } else if (!is_kind(p, TOK_NAME) || find_word(p, p->at, item_words, N_ITEM_WORDS) < 0) {
            no_item(p);
            skip_to_item(p, start);
        } else {
            Item *it = ARENA_NEW(&p->ctx->perm, Item);
            bool ok = attempt(p, parse_item, it);
            if (p->incomplete)
                break;
            it->broken = it->broken || !ok;
            if (ok)
                vec_push(&p->ctx->perm, &v, it);
            else
                skip_to_item(p, start);
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
        expected(p, "the end of the input");
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
    bool is_binding = is_kind(&p, TOK_NAME) && (kind_at(&p, 1) == TOK_ASSIGN || kind_at(&p, 1) == TOK_COLON);
    if (begins_item(&p, 0)) {
        in.kind = REPL_ITEMS;
        in.items = parse_items(&p);
    } else if (is_binding) {
        in.kind = REPL_STMT;
        attempt(&p, parse_lone_stmt, &in.stmt);
    } else {
        in.kind = REPL_EXPR;
        attempt(&p, parse_lone_expr, &in.expr);
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
    if (attempt(&p, parse_lone_expr, &e))
        return e;
    e = ARENA_NEW(&ctx->perm, Expr);
    e->kind = EXPR_ERROR;
    e->span = here(&p);
    return e;
}
