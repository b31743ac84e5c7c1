/* Works on tokens and comments, line by line; the syntax tree only tells where items and statements
 * begin.
 *
 * Columns: a token that stands below or above one of its kind in the same column, with two blanks
 * or more before one of them, is aligned with it; numbers are aligned by their ends. The members of
 * such a group are put at the least common column, from left to right. */
#include "frontend/format.h"

#include <string.h>

#include "base/diag.h"
#include "frontend/lex.h"
#include "frontend/parse.h"

enum {
    INDENT = 2,
    COMMENT_GAP = 2, /* blanks before a comment that follows code, at least */
    TAB = 8,
    IS_COMMENT = N_TOK_KINDS
};

/* A token or comment, with its place in the source and in the result; columns count from 0. */
typedef struct Piece {
    uint32_t from, to; /* bytes */
    uint32_t line;
    int kind;       /* TokKind, or IS_COMMENT */
    int col, width; /* in the source */
    int reach;      /* width of what is aligned: of a `-` with its number, else width */
    int gap;        /* blanks before it in the source */
    int want;       /* blanks before it in the result, at least */
    bool head;      /* begins an item or statement */
    bool numeric;   /* aligned by its end */
    int group;      /* or -1 */
    int at;         /* column in the result */
} Piece;

typedef struct Line {
    int first, n;     /* pieces */
    int indent;       /* in the source, tabs expanded; then in the result */
    bool after_blank; /* empty lines stand before it */
} Line;

typedef struct Layout {
    Ctx *ctx;
    const Tokens *t;
    VEC(Piece) pieces;
    VEC(Line) lines;
    VEC(int) columns; /* of the groups: where their members begin, or end if numeric */
} Layout;

/* --- reading: pieces and lines --- */

static int leading_blanks(const char *text, uint32_t at) {
    uint32_t start = at;
    int n = 0;
    while (start > 0 && text[start - 1] != '\n')
        start--;
    for (; start < at; start++)
        n = text[start] == '\t' ? (n / TAB + 1) * TAB : n + (text[start] == ' ');
    return n;
}

static int width_of(const char *text, uint32_t from, uint32_t to) {
    int n = 0;
    for (; from < to; from++)
        n += (text[from] & 0xc0) != 0x80;
    return n;
}

static void add_piece(Layout *l, Piece p) {
    const Piece *last = l->pieces.n ? &l->pieces.p[l->pieces.n - 1] : NULL;
    if (!last || p.line != last->line) {
        Line n = {.first = l->pieces.n,
                  .indent = leading_blanks(l->t->text, p.from),
                  .after_blank = last && p.line > last->line + 1};
        vec_push(&l->ctx->perm, &l->lines, n);
    } else {
        p.gap = p.col - (last->col + last->width);
    }
    p.group = -1;
    p.reach = p.width;
    vec_push(&l->ctx->perm, &l->pieces, p);
    l->lines.p[l->lines.n - 1].n++;
}

static void read_pieces(Layout *l) {
    const Tokens *t = l->t;
    for (uint32_t i = 0, c = 0; i < t->n_tok; i++) {
        for (; c < t->n_com && t->com[c].next == i; c++) {
            const Comment *k = &t->com[c];
            add_piece(l, (Piece){.from = k->from,
                                 .to = k->to,
                                 .line = k->line,
                                 .kind = IS_COMMENT,
                                 .col = (int)k->col - 1,
                                 .width = width_of(t->text, k->from, k->to)});
        }
        const Token *k = &t->tok[i];
        if (k->kind != TOK_EOF)
            add_piece(l, (Piece){.from = k->from,
                                 .to = k->to,
                                 .line = k->line,
                                 .kind = k->kind,
                                 .col = (int)k->col - 1,
                                 .width = (int)(k->end_col - k->col)});
    }
}

/* Marks the piece at this place, which comes after piece i; returns its number. */
static int mark_head(Layout *l, int i, Span head) {
    while (l->pieces.p[i].line != head.line || l->pieces.p[i].col != (int)head.col - 1)
        i++;
    l->pieces.p[i].head = true;
    return i;
}

static void mark_heads(Layout *l, const AstFile *f) {
    int at = 0;
    for (int i = 0; i < f->n_items; i++) {
        const Item *it = f->items[i];
        at = mark_head(l, at, it->head);
        for (int k = 0; k < it->n_body && !it->short_body; k++)
            at = mark_head(l, at, it->body[k]->head);
    }
}

/* --- blanks between two tokens --- */

static bool is_operand_end(int k) {
    return (k >= TOK_NAME && k <= TOK_STRING) || k == TOK_TRUE || k == TOK_FALSE ||
           k == TOK_RPAREN || k == TOK_RBRACKET || k == TOK_QUOTE;
}

static bool is_arithmetic(int k) { return k >= TOK_PLUS && k <= TOK_CARET; }
static bool is_opening(int k) { return k == TOK_LPAREN || k == TOK_LBRACKET; }
static bool is_closing(int k) { return k == TOK_RPAREN || k == TOK_RBRACKET; }

/* What the pairwise rule has to know of a token's surroundings. */
typedef struct Around {
    bool unary;  /* a `-` before its operand, or the `*` of a path */
    bool in_sub; /* directly inside square brackets */
    bool tight;  /* an arithmetic operator without blanks on both sides: the user's choice */
} Around;

static int wanted(const Piece *a, const Piece *b, Around x, Around y) {
    int p = a->kind, q = b->kind;
    if (q == IS_COMMENT)
        return b->gap > COMMENT_GAP ? b->gap : COMMENT_GAP;
    if (p == TOK_DOT || q == TOK_DOT || q == TOK_COMMA || q == TOK_QUOTE || is_opening(p) ||
        is_closing(q))
        return 0;
    if (p == TOK_COMMA)
        return 1;
    if (q == TOK_LBRACKET || q == TOK_LPAREN) {
        if (is_operand_end(p) && p != TOK_TRUE && p != TOK_FALSE)
            return 0;
    }
    if (q == TOK_COLON)
        return 0;
    if (p == TOK_COLON)
        return x.in_sub ? 0 : 1;
    if (x.unary)
        return p == TOK_STAR;
    if (is_arithmetic(p) && x.tight)
        return 0;
    if (is_arithmetic(q) && !y.unary && y.tight)
        return 0;
    return 1;
}

/* The last token before piece i on its line or an earlier one, or -1. */
static int token_before(const Layout *l, int i) {
    do
        i--;
    while (i >= 0 && l->pieces.p[i].kind == IS_COMMENT);
    return i;
}

static bool is_first(const Layout *l, int i) {
    return i == 0 || l->pieces.p[i - 1].line != l->pieces.p[i].line;
}
static bool is_last(const Layout *l, int i) {
    return i + 1 == l->pieces.n || l->pieces.p[i + 1].line != l->pieces.p[i].line;
}

static void set_wants(Layout *l) {
    VEC(int) brackets = {0};
    Around before = {0};
    for (int i = 0; i < l->pieces.n; i++) {
        Piece *p = &l->pieces.p[i];
        int k = p->kind, prev = token_before(l, i);
        int prev_kind = prev < 0 ? TOK_EOF : l->pieces.p[prev].kind;
        Around here = {.in_sub = brackets.n && brackets.p[brackets.n - 1] == TOK_LBRACKET};
        here.unary = (k == TOK_MINUS && !is_operand_end(prev_kind)) ||
                     (k == TOK_STAR && prev_kind == TOK_DOT);
        bool free_before = is_first(l, i) || p->gap > 0,
             free_after = is_last(l, i) || l->pieces.p[i + 1].gap > 0;
        here.tight = is_arithmetic(k) && !here.unary && !free_before && !free_after;
        if (is_opening(k) || k == TOK_LBRACE)
            vec_push(&l->ctx->perm, &brackets, k);
        else if ((is_closing(k) || k == TOK_RBRACE) && brackets.n)
            brackets.n--;
        bool is_number = k == TOK_INT || k == TOK_REAL;
        bool is_negative =
            k == TOK_MINUS && here.unary && !is_last(l, i) &&
            (l->pieces.p[i + 1].kind == TOK_INT || l->pieces.p[i + 1].kind == TOK_REAL);
        p->numeric = is_number || is_negative;
        if (is_negative)
            p->reach = l->pieces.p[i + 1].col + l->pieces.p[i + 1].width - p->col;
        if (!is_first(l, i))
            p->want = wanted(&l->pieces.p[i - 1], p, before, here);
        if (k != IS_COMMENT)
            before = here;
    }
}

/* --- columns --- */

/* Kinds that stand in one column: the signs between a name and its value, operands, one and the
 * same token. */
static int column_class(const Piece *p) {
    switch (p->kind) {
    case TOK_ASSIGN:
    case TOK_UPDATE:
    case TOK_TILDE:
        return TOK_ASSIGN;
    case TOK_NAME:
    case TOK_STRING:
    case TOK_INT:
    case TOK_REAL:
    case TOK_LPAREN:
    case TOK_LBRACKET:
    case TOK_MINUS:
    case TOK_NOT:
    case TOK_TRUE:
    case TOK_FALSE:
        return TOK_NAME;
    default:
        return p->kind;
    }
}

static bool aligned(const Piece *a, const Piece *b) {
    if (a->numeric && b->numeric)
        return a->col + a->reach == b->col + b->reach && (a->gap > a->want || b->gap > b->want);
    if (a->gap < 1 || b->gap < 1 || (a->gap < 2 && b->gap < 2))
        return false;
    return a->col == b->col && !a->numeric && !b->numeric && column_class(a) == column_class(b);
}

static int line_end(const Layout *l, const Line *n) {
    const Piece *last = &l->pieces.p[n->first + n->n - 1];
    return last->col + last->width;
}

/* The piece that p (of line k) is aligned with in the nearest line above that reaches as far, or
 * NULL. */
static Piece *partner_above(Layout *l, int k, const Piece *p) {
    for (int j = k - 1; j >= 0 && !l->lines.p[j + 1].after_blank; j--) {
        Line *n = &l->lines.p[j];
        for (int i = 1; i < n->n; i++)
            if (aligned(&l->pieces.p[n->first + i], p))
                return &l->pieces.p[n->first + i];
        if (line_end(l, n) > p->col)
            return NULL;
    }
    return NULL;
}

static void find_groups(Layout *l) {
    for (int k = 1; k < l->lines.n; k++) {
        for (int i = 1; i < l->lines.p[k].n; i++) {
            Piece *p = &l->pieces.p[l->lines.p[k].first + i];
            Piece *up = p->gap > 0 || p->numeric ? partner_above(l, k, p) : NULL;
            if (!up)
                continue;
            if (up->group < 0) {
                up->group = l->columns.n;
                vec_push(&l->ctx->perm, &l->columns, 0);
            }
            p->group = up->group;
        }
    }
    for (int i = 0; i < l->pieces.n; i++) /* in a column, a comment may come nearer */
        if (l->pieces.p[i].group >= 0 && l->pieces.p[i].kind == IS_COMMENT && !is_first(l, i))
            l->pieces.p[i].want = COMMENT_GAP;
}

/* One sweep from left to right; true if a column moved. */
static bool place_line(Layout *l, const Line *n) {
    bool moved = false;
    int at = n->indent;
    for (int i = 0; i < n->n; i++) {
        Piece *p = &l->pieces.p[n->first + i];
        at += i ? p->want : 0;
        if (p->group >= 0) {
            int *column = &l->columns.p[p->group], extra = p->numeric ? p->reach : 0;
            at = at + extra < *column ? *column - extra : at;
            moved = moved || *column != at + extra;
            *column = at + extra;
        }
        p->at = at;
        at += p->width;
    }
    return moved;
}

/* Columns only move right and depend on what is left of them, so the sweeps come to rest; the limit
 * is for texts with long chains of columns, which stay a little ragged. */
static void place(Layout *l) {
    for (int sweep = 0, moved = 1; moved && sweep < 100; sweep++) {
        moved = 0;
        for (int k = 0; k < l->lines.n; k++)
            moved |= place_line(l, &l->lines.p[k]);
    }
}

/* --- indentation --- */

/* Lines that begin a statement or item are indented by their depth; lines that go on keep their
 * distance from them; a comment is indented like what follows it, or stays below the comment it
 * goes on from. */
static void indent_lines(Layout *l) {
    int depth = 0, from = 0,
        to = 0; /* from, to: of the line that began the statement, in the source and now */
    for (int k = 0; k < l->lines.n; k++) {
        Line *n = &l->lines.p[k];
        int first = n->first, old = n->indent;
        while (first < l->pieces.n && l->pieces.p[first].kind == IS_COMMENT)
            first++;
        const Piece *p = first < l->pieces.n ? &l->pieces.p[first] : NULL;
        bool own_comment = l->pieces.p[n->first].kind == IS_COMMENT;
        if (!p || p->head) {
            n->indent = depth * INDENT;
        } else if (p->kind == TOK_LBRACE || p->kind == TOK_RBRACE) {
            n->indent = own_comment ? depth * INDENT : 0;
        } else {
            int least = to + (is_closing(p->kind) ? 0 : INDENT), kept = old + to - from;
            n->indent = kept > least ? kept : least;
        }
        if (!own_comment && p && p->head) {
            from = old;
            to = n->indent;
        }
        for (int i = 0; i < n->n; i++)
            depth += (l->pieces.p[n->first + i].kind == TOK_LBRACE) -
                     (l->pieces.p[n->first + i].kind == TOK_RBRACE);
    }
}

/* A comment on its own line below a comment that follows code, in the same column. */
static bool continues_comment(const Layout *l, int k) {
    if (k == 0 || l->lines.p[k].after_blank || l->pieces.p[l->lines.p[k].first].kind != IS_COMMENT)
        return false;
    const Line *up = &l->lines.p[k - 1];
    const Piece *last = &l->pieces.p[up->first + up->n - 1],
                *own = &l->pieces.p[l->lines.p[k].first];
    return last->kind == IS_COMMENT && last->col == own->col &&
           (up->n > 1 || continues_comment(l, k - 1));
}

static void write_line(const Layout *l, int k, StrBuf *out) {
    const Line *n = &l->lines.p[k];
    const Piece *before = k ? &l->pieces.p[n->first - 1] : NULL, *first = &l->pieces.p[n->first];
    if (n->after_blank && before->kind != TOK_LBRACE && first->kind != TOK_RBRACE)
        sb_putc(out, '\n');
    int at = 0;
    for (int i = 0; i < n->n; i++) {
        const Piece *p = &l->pieces.p[n->first + i];
        sb_printf(out, "%*s", p->at - at, "");
        sb_putn(out, l->t->text + p->from, p->to - p->from);
        at = p->at + p->width;
    }
    sb_putc(out, '\n');
}

/* NULL if it does not parse. */
static const char *format_once(Ctx *ctx, uint32_t file, size_t *len) {
    int errors = diags_of(ctx)->n_errors;
    const AstFile *f = parse_file(ctx, file);
    if (diags_of(ctx)->n_errors > errors)
        return NULL;
    Layout l = {.ctx = ctx, .t = lex_file(ctx, file)};
    read_pieces(&l);
    mark_heads(&l, f);
    set_wants(&l);
    find_groups(&l);
    indent_lines(&l);
    place(&l);
    StrBuf out = sb_new(&ctx->perm);
    if (strncmp(l.t->text, "\xef\xbb\xbf", 3) == 0)
        sb_put(&out, "\xef\xbb\xbf");
    for (int k = 0; k < l.lines.n; k++) {
        if (continues_comment(&l, k))
            l.pieces.p[l.lines.p[k].first].at = l.pieces.p[l.lines.p[k].first - 1].at;
        write_line(&l, k, &out);
    }
    *len = out.len;
    return out.text;
}

/* What moves may end an alignment, or make one, so it is done again until nothing changes: the
 * result is then a fixed point by construction. Columns only come nearer, so few rounds are needed.
 */
const char *format_file(Ctx *ctx, uint32_t file, size_t *len) {
    enum { ROUNDS = 16 };
    size_t n = 0;
    const char *text = format_once(ctx, file, &n);
    for (int round = 1; text && round < ROUNDS; round++) {
        size_t m;
        const char *again = format_once(ctx, ctx_add_file(ctx, ctx->files[file].name, text, n), &m);
        if (!again || (m == n && memcmp(text, again, n) == 0))
            break;
        text = again;
        n = m;
    }
    if (len)
        *len = n;
    return text;
}
