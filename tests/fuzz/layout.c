#include "layout.h"

#include <stdio.h>
#include <string.h>

#include "base/diag.h"
#include "frontend/format.h"
#include "frontend/lex.h"
#include "frontend/parse.h"

/* --- the tree as text --- */

static void put_expr(StrBuf *sb, const Expr *e);

static void put_word(StrBuf *sb, const char *text) { sb_printf(sb, " %s", text ? text : "-"); }

static void put_path(StrBuf *sb, const Path *p) {
    for (int k = 0; k < p->n; k++)
        sb_printf(sb, "%s%s", k ? "." : " ", p->names[k].text);
}

static void put_args(StrBuf *sb, const Arg *args, int n) {
    for (int k = 0; k < n; k++) {
        if (args[k].name.text)
            sb_printf(sb, " %s=", args[k].name.text);
        put_expr(sb, args[k].value);
    }
}

static void put_subs(StrBuf *sb, const Sub *subs, int n) {
    sb_put(sb, " [");
    for (int k = 0; k < n; k++) {
        put_expr(sb, subs[k].lo);
        sb_put(sb, subs[k].colon ? ":" : ",");
        put_expr(sb, subs[k].hi);
    }
    sb_put(sb, "]");
}

static void put_list(StrBuf *sb, Expr *const *items, int n) {
    for (int k = 0; k < n; k++)
        put_expr(sb, items[k]);
}

/* Every field of every node; a NULL is `-`. */
static void put_expr(StrBuf *sb, const Expr *e) {
    if (!e) {
        sb_put(sb, " -");
        return;
    }
    sb_printf(sb, " (%d %d %d%d%d %lld %a", (int)e->kind, (int)e->op, e->piped, e->parens, e->truth,
              (long long)e->i, e->real);
    put_word(sb, e->text);
    put_path(sb, &e->path);
    if (e->x || e->y || e->z)
        put_list(sb, (Expr *const[]){e->x, e->y, e->z}, 3);
    put_list(sb, e->items, e->n_items);
    put_args(sb, e->args, e->n_args);
    if (e->n_subs)
        put_subs(sb, e->subs, e->n_subs);
    for (int k = 0; k < e->n_indices; k++) {
        sb_printf(sb, " %s<", e->indices[k].name.text);
        put_expr(sb, e->indices[k].bound);
    }
    sb_put(sb, ")");
}

static void put_type(StrBuf *sb, const TypeExpr *t) {
    if (!t) {
        sb_put(sb, " -");
        return;
    }
    sb_put(sb, " {");
    put_word(sb, t->kind.text);
    put_args(sb, t->args, t->n_args);
    sb_put(sb, t->has_shape ? " [" : " .");
    put_list(sb, t->shape, t->rank);
    sb_put(sb, "}");
}

static void put_stmt(StrBuf *sb, const Stmt *s) {
    sb_printf(sb, "\n  %d", (int)s->kind);
    put_word(sb, s->name.text);
    put_word(sb, s->doc);
    put_type(sb, s->type);
    put_path(sb, &s->path);
    put_subs(sb, s->subs, s->n_subs);
    put_expr(sb, s->value);
    put_expr(sb, s->when);
}

static void put_item(StrBuf *sb, const Item *it) {
    sb_printf(sb, "%s %d%d", item_keyword(it->kind), it->has_formals, it->short_body);
    put_word(sb, it->name.text);
    put_word(sb, it->text);
    put_word(sb, it->doc);
    for (int k = 0; k < it->n_dims; k++) {
        sb_printf(sb, " dim %s", it->dims[k].name.text);
        put_expr(sb, it->dims[k].value);
    }
    for (int k = 0; k < it->n_formals; k++) {
        sb_printf(sb, " formal %s", it->formals[k].name.text);
        put_type(sb, it->formals[k].type);
        put_expr(sb, it->formals[k].default_);
    }
    put_type(sb, it->type);
    put_expr(sb, it->value);
    for (int k = 0; k < it->n_body; k++)
        put_stmt(sb, it->body[k]);
    sb_put(sb, "\n");
}

const char *layout_tree(Ctx *ctx, const AstFile *f) {
    StrBuf sb = sb_new(&ctx->perm);
    sb_put(&sb, "");
    for (int k = 0; k < f->n_items; k++)
        put_item(&sb, f->items[k]);
    return sb.text;
}

/* --- tokens and comments --- */

static bool same_bytes(const Tokens *a, uint32_t from, uint32_t to, const Tokens *b,
                       uint32_t from_b, uint32_t to_b) {
    return to - from == to_b - from_b && !memcmp(a->text + from, b->text + from_b, to - from);
}

/* A comment loses the blanks at its end. */
static uint32_t comment_end(const Tokens *t, const Comment *c) {
    uint32_t to = c->to;
    while (to > c->from && strchr(" \t\r", t->text[to - 1]))
        to--;
    return to;
}

static bool same_pieces(const Tokens *a, const Tokens *b) {
    bool same = a->n_tok == b->n_tok && a->n_com == b->n_com;
    for (uint32_t i = 0; same && i < a->n_tok; i++)
        same = a->tok[i].kind == b->tok[i].kind &&
               same_bytes(a, a->tok[i].from, a->tok[i].to, b, b->tok[i].from, b->tok[i].to);
    for (uint32_t i = 0; same && i < a->n_com; i++)
        same = a->com[i].next == b->com[i].next &&
               same_bytes(a, a->com[i].from, comment_end(a, &a->com[i]), b, b->com[i].from,
                          comment_end(b, &b->com[i]));
    return same;
}

const char *layout_fault(Ctx *ctx, uint32_t file, const char **formatted) {
    size_t n, m;
    const char *once = *formatted = format_file(ctx, file, &n);
    if (!once)
        return NULL;
    uint32_t again = ctx_add_file(ctx, "once.cnn", once, n);
    const char *twice = format_file(ctx, again, &m);
    if (!twice)
        return "the result does not parse";
    if (n != m || memcmp(once, twice, n))
        return "formatting twice is not formatting once";
    if (!same_pieces(lex_file(ctx, file), lex_file(ctx, again)))
        return "other tokens or comments";
    if (strcmp(layout_tree(ctx, parse_file(ctx, file)), layout_tree(ctx, parse_file(ctx, again))))
        return "the result means something else";
    return NULL;
}
