/* The prior of an estimator as its source has it, with the values of its formals. */
#include <string.h>

#include "driver/fit_exact.h"

/* The text of a place within one line (columns are characters); NULL where it has more. */
static const char *span_text(Ctx *ctx, Span s) {
    const char *at = ctx->files[s.file].text, *from = NULL;
    if (s.line != s.end_line)
        return NULL;
    for (uint32_t line = 1; line < s.line; line++)
        at = strchr(at, '\n') + 1;
    for (uint32_t col = 1; col < s.end_col && *at; col++) {
        from = col == s.col ? at : from;
        do
            at++;
        while ((*at & 0xc0) == 0x80);
    }
    return from ? str_intern(ctx, from, (size_t)(at - from)) : NULL;
}

static bool is_param(const AbiBlock *b, const char *name) {
    for (int k = 0; k < b->params.n; k++)
        if (strcmp(b->params.p[k].path, name) == 0)
            return true;
    return false;
}

static const AbiFormal *formal_of(const AbiBlock *b, const Expr *e) {
    for (int k = 0; e->kind == EXPR_NAME && e->path.n == 1 && k < b->formals.n; k++)
        if (strcmp(b->formals.p[k].name, e->path.names[0].text) == 0)
            return &b->formals.p[k];
    return NULL;
}

const char *prior_text(Session *s, const Fit *f) {
    const Stmt *prior = NULL;
    for (int k = 0; f->item && k < f->item->n_body; k++) {
        const Stmt *t = f->item->body[k];
        bool is_prior =
            t->kind == STMT_TILDE && (t->path.n > 1 || is_param(f->block, t->path.names[0].text));
        if (is_prior && prior)
            return NULL;
        prior = is_prior ? t : prior;
    }
    const Expr *d = prior ? prior->value : NULL;
    if (!d || d->kind != EXPR_CALL || d->path.n != 1)
        return NULL;
    StrBuf sb = sb_new(s->arena);
    sb_printf(&sb, "%s(", d->path.names[0].text);
    for (int k = 0; k < d->n_args; k++) {
        const AbiFormal *formal = formal_of(f->block, d->args[k].value);
        const char *text = formal ? str_fmt(s->ctx, "%.10g", formal->value)
                                  : span_text(s->ctx, d->args[k].value->span);
        if (!text)
            return NULL;
        sb_put(&sb, k ? ", " : "");
        if (d->args[k].name.text)
            sb_printf(&sb, "%s = ", d->args[k].name.text);
        sb_put(&sb, text);
    }
    sb_putc(&sb, ')');
    return sb.text;
}
