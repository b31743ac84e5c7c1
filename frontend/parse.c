/* Tokens, errors, statements and recovery; items are in parse_item.c, expressions in
 * parse_expr.c. */
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

void parse_expected(Parser *p, const char *what, const char *help) {
    if (!parse_is_silent(p))
        parse_help(p,
                   diag_error(p->ctx, "E0203", here(p), "expected %s, found %s", what,
                              tok_describe(p->ctx, p->t, p->at)),
                   help ? help : parse_hint_found(p, p->at));
    parse_unwind(p);
}

void parse_expect(Parser *p, TokKind k, const char *context) {
    if (!parse_accept(p, k))
        parse_expected(p, str_fmt(p->ctx, "`%s` %s", tok_kind_text(k), context), NULL);
}

/* `f(float x)`, `f(x real)`, `[1 2]`, `(a, b c)` */
static const char *hint_in_brackets(const Parser *p, uint32_t open) {
    if (is_kind(p, TOK_FOR) && p->t->tok[open].kind == TOK_LBRACKET)
        return "a tensor is built by `for i < N => 2 * x[i]`, without brackets";
    const char *found = parse_hint_found(p, p->at);
    TokKind before = p->at ? (TokKind)p->t->tok[p->at - 1].kind : TOK_EOF;
    bool named = open && p->t->tok[open - 1].kind == TOK_NAME;
    if (found || p->t->tok[p->at].first)
        return found;
    if (is_kind(p, TOK_NAME) && before == TOK_NAME && p->declares)
        return "a type stands after the name and a colon: `x: real`";
    if (is_kind(p, TOK_NAME) || is_kind(p, TOK_INT) || is_kind(p, TOK_REAL))
        return named ? NULL : "elements of a list have commas between them: `[1, 2]`";
    return is_kind(p, TOK_IF) ? "a choice is `if c then a else b`" : NULL;
}

void parse_close(Parser *p, TokKind k, uint32_t open) {
    if (parse_accept(p, k))
        return;
    if (!parse_is_silent(p)) {
        Diag *d = diag_error(p->ctx, "E0212", here(p), "expected `,` or `%s`, found %s",
                             tok_kind_text(k), tok_describe(p->ctx, p->t, p->at));
        diag_label(p->ctx, d, tok_span(p->t, open), "opened here");
        parse_help(p, d, hint_in_brackets(p, open));
    }
    parse_unwind(p);
}

Name parse_name(Parser *p, const char *what) {
    if (!is_kind(p, TOK_NAME)) {
        if (!parse_is_silent(p) && tok_is_reserved(kind(p)))
            diag_error(p->ctx, "E0204", here(p), "`%s` is a reserved word, it cannot be %s",
                       tok_kind_text(kind(p)), what);
        else if (!parse_is_silent(p))
            parse_help(p,
                       diag_error(p->ctx, "E0205", here(p), "expected %s, found %s", what,
                                  tok_describe(p->ctx, p->t, p->at)),
                       parse_hint_found(p, p->at));
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
bool parse_attempt(Parser *p, void (*fn)(Parser *p, void *arg), void *arg) {
    jmp_buf here_, *volatile outer = p->recover;
    volatile bool ok = false;
    p->recover = &here_;
    p->nesting = 0;
    p->around = AROUND_NOTHING;
    p->declares = false;
    if (setjmp(here_) == 0) {
        fn(p, arg);
        ok = true;
    }
    p->recover = outer;
    return ok;
}

/* --- words that begin items and statements: keywords only there --- */

const char *const parse_item_words[N_ITEM_WORDS] = {"import",    "const",     "def", "model",
                                                    "estimator", "optimizer", "test"};
static const char *const stmt_words[] = {"param",    "state",  "data",   "const", "return",
                                         "minimize", "expect", "report", "using"};
enum { N_STMT_WORDS = sizeof stmt_words / sizeof *stmt_words };

const char *item_keyword(ItemKind k) { return parse_item_words[k]; }

const char *stmt_keyword(StmtKind k) {
    return k < STMT_BIND ? stmt_words[k] : k == STMT_BIND ? "=" : k == STMT_TILDE ? "~" : ":=";
}

const char *ast_op_text(AstOp op) {
    static const char *const text[] = {"",  "-",  "not", "+", "-",  "*", "/",  "//",  "%", "@",
                                       "^", "==", "!=",  "<", "<=", ">", ">=", "and", "or"};
    return text[op];
}

bool parse_is_word(const Parser *p, uint32_t i, const char *word) {
    const Token *k = &p->t->tok[i];
    return k->to - k->from == strlen(word) && memcmp(p->t->text + k->from, word, strlen(word)) == 0;
}

int parse_find_word(const Parser *p, uint32_t i, const char *const *words, int n) {
    for (int k = 0; k < n; k++)
        if (parse_is_word(p, i, words[k]))
            return k;
    return -1;
}

/* Token i begins an item: its word, then a name, string or a reserved word by mistake. */
bool parse_begins_item(const Parser *p, uint32_t i) {
    if (p->t->tok[i].kind != TOK_NAME || parse_find_word(p, i, parse_item_words, N_ITEM_WORDS) < 0)
        return false;
    TokKind next = (TokKind)p->t->tok[i + 1].kind;
    return next == TOK_NAME || next == TOK_STRING || tok_is_reserved(next);
}

/* An item that no statement looks like: the block around it was not closed. */
static bool ends_block(const Parser *p) {
    return p->t->tok[p->at].first && parse_begins_item(p, p->at) &&
           !parse_is_word(p, p->at, "const");
}

/* The statement of a keyword at token i, or STMT_BIND. `data = 3` and `test.w ~ ...` are about
 * values. */
static StmtKind keyword_of(const Parser *p, uint32_t i) {
    int k = parse_find_word(p, i, stmt_words, N_STMT_WORDS);
    if (k < 0)
        return STMT_BIND;
    switch (p->t->tok[i + 1].kind) {
    case TOK_ASSIGN:
    case TOK_COLON:
    case TOK_UPDATE:
    case TOK_TILDE:
    case TOK_DOT:
    case TOK_LBRACKET:
        return p->t->tok[i].kind == TOK_NAME ? STMT_BIND : (StmtKind)k;
    default:
        return (StmtKind)k;
    }
}

/* Token i looks like the beginning of a statement; a name counts outside open brackets only:
 * `f(a,\n k = 2)`. */
static bool begins_stmt(const Parser *p, uint32_t i, bool in_brackets) {
    TokKind k = (TokKind)p->t->tok[i].kind;
    if (!p->t->tok[i].first || (k != TOK_NAME && !tok_is_reserved(k)))
        return false;
    if (keyword_of(p, i) != STMT_BIND)
        return true;
    TokKind next = (TokKind)p->t->tok[i + 1].kind;
    return k == TOK_NAME && !in_brackets &&
           (next == TOK_ASSIGN || next == TOK_COLON || next == TOK_UPDATE || next == TOK_TILDE ||
            next == TOK_DOT || next == TOK_LBRACKET);
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

void parse_skip_to_item(Parser *p, uint32_t start) {
    int braces = 0;
    for (uint32_t i = start; i < p->at; i++)
        braces += (p->t->tok[i].kind == TOK_LBRACE) - (p->t->tok[i].kind == TOK_RBRACE);
    if (p->at == start)
        p->at++;
    for (; !is_kind(p, TOK_EOF); p->at++) {
        const Token *k = &p->t->tok[p->at];
        if (k->first && (braces <= 0 || k->col == 1) && parse_begins_item(p, p->at))
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
        parse_expected(p, str_fmt(p->ctx, "`:` and the type of `%s`", s->name.text),
                       str_fmt(p->ctx, "give it a type: `%s %s: real`", stmt_keyword(s->kind),
                               s->name.text));
    s->op = here(p);
    if (parse_accept(p, TOK_ASSIGN))
        s->value = parse_expr(p);
    else if (need_value)
        parse_expected(p, str_fmt(p->ctx, "`=` and the value of `%s`", s->name.text),
                       s->kind == STMT_STATE ? "a state begins with a value: write `= 0` behind its type" : NULL);
    else
        s->op = (Span){0};
}

static void parse_using(Parser *p, Stmt *s) {
    Path path = parse_path(p, "the name of an optimizer");
    if (!is_kind(p, TOK_LPAREN))
        parse_expected(
            p, str_fmt(p->ctx, "`(` and the arguments of `%s`", path.names[path.n - 1].text),
            str_fmt(p->ctx, "write `%s()` where there are none", path.names[path.n - 1].text));
    s->name = path.names[path.n - 1];
    s->value = parse_call(p, path, NULL);
}

/* What follows a keyword.
 * stmt = "param" NAME ":" type [ "=" expr ] [ "when" expr ] | "state" NAME ":" type "=" expr |
 * "data" NAME ":" type | "const" NAME [ ":" type ] "=" expr | "return" expr | "minimize" expr |
 * "expect" expr | "report" NAME "=" expr | "using" path "(" args ")" | ... */
static void parse_keyword_stmt(Parser *p, Stmt *s) {
    static const char *const what[] = {"the name of a param", "the name of a state",
                                       "the name of the data", "the name of a const"};
    parse_skip(p);
    switch (s->kind) {
    case STMT_RETURN:
    case STMT_MINIMIZE:
    case STMT_EXPECT:
        s->value = parse_expr(p);
        return;
    case STMT_USING:
        parse_using(p, s);
        return;
    case STMT_REPORT:
        s->name = parse_name(p, "the name of a report");
        s->op = here(p);
        if (!is_kind(p, TOK_ASSIGN))
            parse_expected(p, "`=` after the name of a report", "give the metric a name: `report NAME = ...`");
        parse_skip(p);
        s->value = parse_expr(p);
        return;
    default:
        s->name = parse_name(p, what[s->kind]);
        break;
    }
    if (s->kind == STMT_DATA) {
        if (!parse_accept(p, TOK_COLON))
            parse_expected(p, str_fmt(p->ctx, "`:` and the type of `%s`", s->name.text),
                           str_fmt(p->ctx, "give it a type: `data %s: [N]`", s->name.text));
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
        Diag *d = diag_error(p->ctx, "E0217", here(p), "expected `~` and a distribution, found %s",
                             tok_describe(p->ctx, p->t, p->at));
        diag_help(p->ctx, d, "elements are not assigned: a tensor is built by `for i < n => ...`");
        parse_unwind(p);
    }
    s->op = here(p);
    parse_expect(p, TOK_TILDE, "and a distribution");
    s->kind = STMT_TILDE;
    s->value = parse_expr(p);
}

bool parse_goes_on(Parser *p, uint32_t at, const char *what) {
    if (p->t->tok[at].first || !at)
        return false;
    if (!parse_is_silent(p))
        parse_help(p,
                   diag_error(p->ctx, "E0219", tok_span(p->t, at),
                              "expected an operator or the next %s, found %s", what,
                              tok_describe(p->ctx, p->t, at)),
                   parse_hint_rest(p, at));
    return true;
}

CNNC_NORETURN static void no_stmt(Parser *p, uint32_t start) {
    if (p->goes_on && parse_goes_on(p, start, "statement"))
        parse_unwind(p);
    if (!parse_is_silent(p)) {
        Diag *d = diag_error(p->ctx, "E0210", tok_span(p->t, start),
                             "expected a statement, found %s", tok_describe(p->ctx, p->t, start));
        TokKind next = (TokKind)p->t->tok[start + (start + 1 < p->t->n_tok)].kind;
        bool alone = p->t->tok[start].kind == TOK_NAME &&
                     (next == TOK_NAME || tok_is_reserved(next));
        const char *word =
            alone ? diag_nearest(tok_text(p->ctx, p->t, start), stmt_words, N_STMT_WORDS) : NULL;
        if (word)
            diag_help(p->ctx, d, "did you mean `%s`?", word);
        else
            parse_help(p, d, parse_hint_statement(p, start));
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
    case TOK_COLON:
    case TOK_ASSIGN:
        parse_typed_value(p, s, false, true);
        return;
    case TOK_UPDATE:
        s->kind = STMT_UPDATE;
        parse_skip(p);
        s->value = parse_expr(p);
        return;
    case TOK_DOT:
    case TOK_LBRACKET:
    case TOK_TILDE:
        parse_tilde(p, s);
        return;
    default:
        no_stmt(p, start);
    }
}

void parse_stmt(Parser *p, void *arg) {
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
void parse_block(Parser *p, Item *it) {
    VEC(Stmt *) v = {0};
    uint32_t open = p->at;
    parse_skip(p);
    p->goes_on = false;
    while (!is_kind(p, TOK_RBRACE)) {
        if (is_kind(p, TOK_EOF) || ends_block(p)) {
            if (!parse_is_silent(p)) {
                Diag *d = diag_error(p->ctx, "E0208", tok_span(p->t, open),
                                     "this block has no closing `}`");
                diag_label(p->ctx, d, here(p), "expected `}` before %s",
                           tok_describe(p->ctx, p->t, p->at));
                if (!is_kind(p, TOK_EOF) && p->t->tok[p->at].col > 1)
                    diag_help(p->ctx, d, "definitions do not nest: close the block before this one, or move it out");
            }
            parse_unwind(p);
        }
        Stmt *s = NULL;
        uint32_t start = p->at;
        if (parse_attempt(p, parse_stmt, &s)) {
            vec_push(&p->ctx->perm, &v, s);
            p->goes_on = true;
        } else {
            p->goes_on = false;
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
