/* cnnc derive FILE [ESTIMATOR]: the log density, what was recognised, the equations and their
 * solution. */
#include "driver/derive.h"

#include <string.h>

#include "driver/call.h"
#include "ir/op.h"
#include "passes/estimate_squares.h"

enum { MOST_NODES = 400000, MOST_PRINTED = 600, LINE = 118, MOST_WIDTH = 24 };

/* ---- lines */

static bool is_latex(const Derive *d) { return d->print.style == SYM_LATEX; }

Str derive_pick(const Derive *d, Str text, Str latex) { return is_latex(d) ? latex : text; }

void derive_equation(Derive *d, Str lhs, Str rhs, Str note) {
    vec_push(&d->ctx->perm, &d->lines, (DeriveLine){lhs, rhs, note});
}

void derive_words(Derive *d, Str text) {
    vec_push(&d->ctx->perm, &d->lines, (DeriveLine){NULL, text, NULL});
}

Str derive_sym(const Derive *d, Sym e) { return e ? sym_text(&d->print, e) : "..."; }

void derive_answer(Derive *d, Str label, Sym lhs, Sym rhs) {
    DeriveAnswer a = {.label = label};
    a.text = str_fmt(d->ctx, "%s = %s", derive_sym(d, lhs), derive_sym(d, rhs));
    a.formula =
        rhs ? str_fmt(d->ctx, "%s = %s", sym_text(&d->formula, lhs), sym_text(&d->formula, rhs))
            : NULL;
    vec_push(&d->ctx->perm, &d->answers, a);
}

/* ---- what is derived from */

static Sym value_of(Derive *d, const Func *f, bool names) {
    SymGraph g = {.c = &d->c, .m = d->m, .f = f, .block = d->block, .names = names};
    Sym e = sym_of_val(&g, f->results.p[0].val, NULL);
    for (int k = 0; k < g.notes.n; k++)
        vec_push(&d->ctx->perm, &d->notes, g.notes.p[k]);
    return e;
}

/* With bindings put in where that stays short, else by their names. */
static Sym log_density(Derive *d, bool names, bool *dropped) {
    Sym e = sym_drop_constants(&d->c, value_of(d, d->loglik, names), dropped);
    if (d->block->is_minimize)
        e = e ? sym_neg(&d->c, e) : NULL;
    if (!d->logprior)
        return e;
    return sym_add(&d->c, e, sym_drop_constants(&d->c, value_of(d, d->logprior, names), dropped));
}

/* Without what no parameter is in; *dropped as in sym_drop_constants. NULL: too long. */
static Sym derive_log_density(Derive *d, bool *dropped) {
    *dropped = false;
    Sym e = log_density(d, false, dropped);
    if (e && sym_size(e) <= MOST_PRINTED)
        return e;
    d->c.n_nodes = 0;
    d->notes.n = 0;
    *dropped = false;
    e = log_density(d, true, dropped);
    return e && sym_size(e) <= MOST_PRINTED ? e : NULL;
}

/* Name of the k-th free index: j, k, .. */
static Str free_letter(const Derive *d, int k) {
    static const char *const letters[] = {"j", "k", "l", "a", "b", "c", "d", "e"};
    for (int i = 0; i < 8; i++) {
        bool used = false;
        for (int j = 0; j < d->taken.n; j++)
            used |= strcmp(d->taken.p[j], letters[i]) == 0;
        if (!used && k-- == 0)
            return str_of(d->ctx, letters[i]);
    }
    return str_fmt(d->ctx, "j%d", k + 1);
}

Sym derive_element(Derive *d, int tensor, Sym *subs) {
    const AbiTensor *t = &d->block->params.p[tensor];
    unsigned flags = 0;
    if (t->kind == KIND_POSITIVE || t->kind == KIND_PROB || t->kind == KIND_SIMPLEX)
        flags = SYM_POSITIVE;
    for (int k = 0; k < t->type.rank; k++)
        subs[k] = sym_index(&d->c, free_letter(d, k));
    return sym_param(&d->c, t->path, flags, (uint64_t)1 << tensor % 64, subs, t->type.rank);
}

Str derive_slope(Derive *d, Sym element) {
    Str name = derive_sym(d, element);
    return derive_pick(d, str_fmt(d->ctx, "d/d%s", name),
                       str_fmt(d->ctx, "\\frac{\\partial}{\\partial %s} \\log p", name));
}

/* ---- numeric ways */

static void numeric_method(Derive *d) {
    int64_t n = 0, count;
    bool known = true, training = d->block->using_.present;
    for (int k = 0; k < d->block->params.n; k++) {
        known &= dim_is_const(type_count(d->ctx, d->block->params.p[k].type), &count);
        n += known ? count : 0;
    }
    if (training)
        d->method = str_fmt(d->ctx, "training by mini-batches (%s)", d->block->using_.optimizer);
    else if (d->normal)
        d->method = d->affine ? "least squares (Householder QR)"
                              : "least squares (Levenberg-Marquardt on the compiled Jacobian)";
    else if (known && n > 200)
        d->method = "L-BFGS on the compiled gradient: there are more than 200 parameters";
    else
        d->method = "Newton on the compiled gradient and Hessian";
}

void derive_general(Derive *d, Sym e) {
    for (int k = 0; k < d->block->params.n; k++) {
        Sym subs[MAX_RANK], at = derive_element(d, k, subs);
        Sym slope = e ? sym_tidy(&d->c, sym_diff(&d->c, e, at)) : NULL;
        if (slope && sym_size(slope) <= MOST_PRINTED)
            derive_equation(d, derive_slope(d, at), derive_sym(d, slope), NULL);
        else
            derive_words(d, str_fmt(d->ctx,
                                    "the derivative by `%s` is too long to show, or passes through "
                                    "what is not written out",
                                    d->block->params.p[k].path));
    }
    numeric_method(d);
    derive_words(d, str_fmt(d->ctx, "no closed form: %s",
                            d->why ? d->why : "the equations are not those of a known rule"));
    derive_words(d, str_fmt(d->ctx, "found by %s", d->method));
}

/* ---- the head: p(x, phi) and the statements' place */

/* Is the data (or parameter) p on the left side of a statement in f? Where nothing is a density,
 * all data are. */
static bool is_left(Derive *d, const Func *f, const Param *p) {
    bool *reached = ARENA_ARRAY(&d->ctx->perm, bool, f->vals.n + 1), any = false;
    reached[p->val.id] = true;
    for (int k = 0; k < f->insts.n; k++) {
        const Inst *i = f->insts.p[k];
        any |= i->op == &op_density;
        if (i->op == &op_density && reached[i->args[0].id])
            return true;
        for (int j = 0; j < i->n_args; j++)
            for (int r = 0; r < i->n_results; r++)
                reached[inst_result(i, r).id] |= reached[i->args[j].id];
    }
    return !any && p->role == ROLE_INPUT;
}

static void put_name(Derive *d, StrBuf *sb, Str name) {
    sb_printf(sb, "%s%s", sb->len ? ", " : "", sym_print_name(&d->print, name));
}

static Str head_text(Derive *d) {
    StrBuf left = sb_new(&d->ctx->perm), right = sb_new(&d->ctx->perm);
    for (int role = ROLE_INPUT; role <= ROLE_PARAM; role++)
        for (int k = 0; k < d->loglik->params.n; k++) {
            const Param *p = &d->loglik->params.p[k];
            if ((int)p->role != role)
                continue;
            bool on_left = p->role == ROLE_INPUT && is_left(d, d->loglik, p);
            for (int j = 0; d->logprior && p->role == ROLE_PARAM && j < d->logprior->params.n; j++)
                if (d->logprior->params.p[j].role == ROLE_PARAM &&
                    d->logprior->params.p[j].name == p->name)
                    on_left |= is_left(d, d->logprior, &d->logprior->params.p[j]);
            put_name(d, on_left ? &left : &right, p->name);
        }
    Str log = derive_pick(d, "log", "\\log"), bar = derive_pick(d, "|", "\\mid");
    if (d->block->is_minimize)
        return derive_pick(d, "-objective", "-\\mathrm{objective}");
    if (!right.len)
        return str_fmt(d->ctx, "%s p(%s)", log, left.text);
    return str_fmt(d->ctx, "%s p(%s %s %s)", log, left.text ? left.text : "", bar, right.text);
}

static Str place(Derive *d) {
    uint32_t lo = 0, hi = 0;
    Span at = d->loglik->span;
    const Func *parts[2] = {d->loglik, d->logprior};
    for (int j = 0; j < 2; j++)
        for (int k = 0; parts[j] && k < parts[j]->insts.n; k++) {
            const Inst *i = parts[j]->insts.p[k];
            if (i->op != &op_density)
                continue;
            lo = !lo || i->span.line < lo ? i->span.line : lo;
            hi = i->span.line > hi ? i->span.line : hi;
            at = i->span;
        }
    if (!lo)
        lo = hi = at.line;
    const char *file = d->ctx->files[at.file].name, *slash = strrchr(file, '/');
    file = slash ? slash + 1 : file;
    return lo == hi ? str_fmt(d->ctx, "%s:%u", file, lo)
                    : str_fmt(d->ctx, "%s:%u-%u", file, lo, hi);
}

/* ---- is it least squares? As the pass that fits sees it. */

static bool is_normal(Unit *u, Derive *d, int block) {
    Parts parts = {.loglik = d->loglik, .logprior = d->logprior};
    Squares squares;
    Str why;
    if (d->block->is_minimize || !est_squares(u, block, &parts, &squares, &why))
        return false;
    d->affine = squares.affine;
    return true;
}

/* The likelihood's only statement: mean and left side at a draw. */
static void note_mean(Derive *d) {
    const Inst *only = NULL;
    for (int k = 0; k < d->loglik->insts.n; k++)
        if (d->loglik->insts.p[k]->op == &op_density) {
            if (only)
                return;
            only = d->loglik->insts.p[k];
        }
    if (!only || graph_type(d->loglik, only->args[1]).rank != 1 ||
        graph_type(d->loglik, only->args[2]).rank != 0)
        return;
    SymGraph g = {.c = &d->c, .m = d->m, .f = d->loglik, .block = d->block};
    d->row = sym_index(&d->c, str_of(d->ctx, "i"));
    d->left = sym_of_val(&g, only->args[0], &d->row);
    d->mean = sym_of_val(&g, only->args[1], &d->row);
}

/* ---- all of one estimator */

static void take_names(Derive *d) {
    Arena *a = &d->ctx->perm;
    const AbiBlock *b = d->block;
    for (int k = 0; k < b->dims.n; k++)
        vec_push(a, &d->taken, b->dims.p[k]->name);
    for (int k = 0; k < b->params.n; k++)
        vec_push(a, &d->taken, b->params.p[k].path);
    for (int k = 0; k < b->formals.n; k++)
        vec_push(a, &d->taken, b->formals.p[k].name);
    for (int k = 0; k < b->data.n; k++)
        vec_push(a, &d->taken, b->data.p[k].name);
}

/* What has to be seen while densities are instructions; then the styles. */
static Derive begin(Unit *u, int block, DeriveFormat format) {
    Derive d = {.ctx = u->ctx, .m = u->graph, .block = u->graph->blocks.p[block]};
    d.c = (SymCtx){.ctx = u->ctx, .most = MOST_NODES};
    d.loglik = graph_func_named(
        d.m, str_fmt(d.ctx, "%s.%s", d.block->name, d.block->is_minimize ? "objective" : "loglik"));
    d.logprior = graph_func_named(d.m, str_fmt(d.ctx, "%s.logprior", d.block->name));
    take_names(&d);
    SymStyle style = format == DERIVE_TEXT || format == DERIVE_JSON ? SYM_TEXT : SYM_LATEX;
    d.print = (SymPrint){d.ctx, style, NULL, 0};
    d.formula = (SymPrint){d.ctx, SYM_FORMULA, NULL, 0};
    d.where = place(&d);
    d.like_text = head_text(&d);
    d.normal = is_normal(u, &d, block);
    if (d.normal)
        note_mean(&d);
    if (!d.block->is_minimize && !d.block->using_.present)
        d.closed = closed_form(u, block, d.loglik, d.logprior, &d.form, &d.why);
    else
        d.why =
            d.block->is_minimize ? "`minimize` states no densities" : "`using` asks for training";
    d.density = derive_log_density(&d, &d.dropped);
    bool dropped = false;
    int n_notes = d.notes.n;
    d.like = sym_drop_constants(&d.c, value_of(&d, d.loglik, false), &dropped);
    d.notes.n = n_notes; /* the same again */
    return d;
}

static void derive_block(Derive *d) {
    if (d->closed) /* a pass has put a new function in place */
        d->form.part = graph_func_named(d->m, str_fmt(d->ctx, "%s.closed", d->block->name));
    /* Free indices and names of statistics are not for sums. */
    int most = 0;
    for (int k = 0; k < d->block->params.n; k++)
        most = d->block->params.p[k].type.rank > most ? d->block->params.p[k].type.rank : most;
    VEC(Str) taken = {0};
    for (int k = 0; k < d->taken.n; k++)
        vec_push(&d->ctx->perm, &taken, d->taken.p[k]);
    for (int k = 0; k < most; k++)
        vec_push(&d->ctx->perm, &taken, free_letter(d, k));
    d->print.taken = d->formula.taken = taken.p;
    d->print.n_taken = d->formula.n_taken = taken.n;
    Sym e = d->density;
    Str rhs = e ? derive_sym(d, e) : "(too long to show)";
    if (e && d->dropped)
        rhs = str_fmt(d->ctx, "%s + %s", rhs, derive_pick(d, "const", "\\mathrm{const}"));
    derive_equation(d, d->like_text, rhs, d->where);
    for (int k = 0; e && k < d->notes.n; k++)
        derive_words(d, str_fmt(d->ctx, "where %s is %s (line %u)", d->notes.p[k].name->name,
                                d->notes.p[k].text, d->notes.p[k].span.line));
    for (int k = 0; k < d->block->params.n; k++)
        if (d->block->params.p[k].mask)
            derive_words(d, str_fmt(d->ctx,
                                    "elements of %s that `when` (line %u) holds are constants: "
                                    "prior and equations are of the others",
                                    sym_print_name(&d->print, d->block->params.p[k].path),
                                    d->block->params.p[k].span.line));
    if (d->closed)
        derive_closed(d);
    else if (!derive_lsq(d, e))
        derive_general(d, e);
}

/* ---- output */

static void text_answers(const Derive *d, StrBuf *out) {
    size_t len = 0;
    for (int k = 0; k < d->answers.n; k++)
        len += strlen(d->answers.p[k].label) + strlen(d->answers.p[k].text) + 5;
    for (int k = 0; k < d->answers.n; k++) {
        const DeriveAnswer *a = &d->answers.p[k];
        sb_put(out, !k ? "" : len <= LINE ? "   " : "\n");
        sb_printf(out, strcmp(a->label, "posterior") == 0 ? "%s %s" : "%s  %s", a->label, a->text);
    }
    sb_put(out, d->answers.n ? "\n" : "");
}

static void text_lines(const Derive *d, StrBuf *out) {
    size_t width = 0;
    for (int k = 0; k < d->lines.n; k++) {
        size_t len = d->lines.p[k].lhs ? strlen(d->lines.p[k].lhs) : 0;
        width = len > width && len <= MOST_WIDTH ? len : width;
    }
    for (int k = 0; k < d->lines.n; k++) {
        const DeriveLine *l = &d->lines.p[k];
        if (l->lhs)
            sb_printf(out, "%-*s = %s", (int)width, l->lhs, l->rhs);
        else
            sb_put(out, l->rhs);
        sb_printf(out, "%s%s\n", l->note ? "   " : "", l->note ? l->note : "");
    }
    text_answers(d, out);
}

/* Words within LaTeX. */
static void latex_words(StrBuf *out, const char *s) {
    bool code = false;
    for (; *s; s++) {
        if (*s == '`') {
            sb_put(out, code ? "}" : "\\texttt{");
            code = !code;
        } else {
            sb_printf(out, strchr("_&%#$", *s) ? "\\%c" : "%c", *s);
        }
    }
    sb_put(out, code ? "}" : "");
}

static void latex_lines(const Derive *d, StrBuf *out) {
    sb_put(out, "\\begin{align*}\n");
    for (int k = 0; k < d->lines.n; k++) {
        const DeriveLine *l = &d->lines.p[k];
        if (!l->lhs) {
            sb_put(out, "\\intertext{");
            latex_words(out, l->rhs);
            sb_put(out, "}\n");
            continue;
        }
        sb_printf(out, "%s &= %s", l->lhs, l->rhs);
        if (l->note) {
            sb_put(out, " && \\text{");
            latex_words(out, l->note);
            sb_put(out, "}");
        }
        sb_put(out, " \\\\\n");
    }
    for (int k = 0; k < d->answers.n; k++) {
        const DeriveAnswer *a = &d->answers.p[k];
        sb_printf(out, "\\text{%s:}\\quad & %s%s\n", a->label, a->text,
                  k + 1 < d->answers.n ? " \\\\" : "");
    }
    sb_put(out, "\\end{align*}\n");
}

static void markdown_lines(const Derive *d, StrBuf *out) {
    sb_printf(out, "## %s\n\n", d->block->name);
    Str lhs = "";
    for (int k = 0; k < d->lines.n; k++) {
        const DeriveLine *l = &d->lines.p[k];
        if (!l->lhs) {
            sb_printf(out, "%s\n\n", l->rhs);
            continue;
        }
        lhs = l->lhs[0] ? l->lhs : lhs;
        sb_printf(out, "$$%s = %s$$\n\n", lhs, l->rhs);
        if (l->note)
            sb_printf(out, "*%s*\n\n", l->note);
    }
    for (int k = 0; k < d->answers.n; k++)
        sb_printf(out, "**%s**: $%s$%s", d->answers.p[k].label, d->answers.p[k].text,
                  k + 1 < d->answers.n ? "  \n" : "\n\n");
}

/* Our own texts and the user's names: quotes and backslashes are all that needs care. */
static void json_string(StrBuf *out, const char *s) {
    sb_putc(out, '"');
    for (; *s; s++)
        sb_printf(out, strchr("\"\\", *s) ? "\\%c" : "%c", *s);
    sb_putc(out, '"');
}

static void json_answer(const Derive *d, StrBuf *out, const char *label) {
    StrBuf sb = sb_new(&d->ctx->perm);
    bool whole = true;
    for (int k = 0; k < d->answers.n; k++) {
        const DeriveAnswer *a = &d->answers.p[k];
        if (strncmp(a->label, label, strlen(label)) != 0)
            continue;
        whole &= a->formula != NULL;
        sb_printf(&sb, "%s%s", sb.len ? "; " : "", a->formula ? a->formula : "");
    }
    if (sb.len && whole)
        json_string(out, sb.text);
    else
        sb_put(out, "null");
}

static void json_line(const Derive *d, StrBuf *out) {
    sb_put(out, "{\"estimator\":");
    json_string(out, d->block->name);
    sb_put(out, ",\"rule\":");
    if (d->rule)
        json_string(out, d->rule);
    else
        sb_put(out, "null");
    sb_put(out, ",\"method\":");
    json_string(out, d->method);
    sb_put(out, ",\"map\":");
    json_answer(d, out, "MAP");
    sb_put(out, ",\"mle\":");
    json_answer(d, out, "MLE");
    sb_put(out, ",\"posterior\":");
    json_answer(d, out, "posterior");
    sb_put(out, ",\"steps\":[");
    for (int k = 0; k < d->lines.n; k++) {
        const DeriveLine *l = &d->lines.p[k];
        Str step = l->lhs ? str_fmt(d->ctx, "%s%s= %s%s%s", l->lhs, l->lhs[0] ? " " : "", l->rhs,
                                    l->note ? "   " : "", l->note ? l->note : "")
                          : l->rhs;
        sb_put(out, k ? "," : "");
        json_string(out, step);
    }
    sb_put(out, "]}\n");
}

/* Only the parts of closed forms have derivatives that are to be written out. */
static void keep_parts(Module *m, const Derive *all, int n) {
    for (int k = 0; k < m->funcs.n; k++) {
        bool keep = false;
        for (int j = 0; j < n; j++)
            keep |= all[j].closed && all[j].form.part == m->funcs.p[k];
        if (m->funcs.p[k] && !keep)
            graph_func_remove(m, m->funcs.p[k]->id);
    }
}

bool derive_module(Ctx *ctx, Arena *arena, Module *m, const char *only, DeriveFormat format,
                   StrBuf *out) {
    Unit u = {.ctx = ctx, .arena = arena, .graph = m, .groups = 8, .rows = 16};
    pass_named("inline")->run(&u);
    VEC(Derive) all = {0};
    for (int k = 0; k < m->blocks.n; k++) {
        const AbiBlock *b = m->blocks.p[k];
        if (b->is_estimator && (!only || strcmp(b->name, only) == 0))
            vec_push(arena, &all, begin(&u, k, format));
    }
    keep_parts(m, all.p, all.n);
    pass_named("density")->run(&u);
    pass_named("ad")->run(&u);
    for (int k = 0; k < all.n; k++) {
        Derive *d = &all.p[k];
        derive_block(d);
        if (format == DERIVE_TEXT && all.n > 1)
            sb_printf(out, "%s%s:\n", k ? "\n" : "", d->block->name);
        (format == DERIVE_TEXT       ? text_lines
         : format == DERIVE_LATEX    ? latex_lines
         : format == DERIVE_MARKDOWN ? markdown_lines
                                     : json_line)(d, out);
    }
    return all.n > 0;
}

/* ---- command */

static bool format_of(Session *s, DeriveFormat *out) {
    static const char *const names[] = {"text", "latex", "markdown", "json"};
    *out = s->o.json ? DERIVE_JSON : DERIVE_TEXT;
    for (int k = 0; s->o.format && k < 4; k++)
        if (strcmp(s->o.format, names[k]) == 0) {
            *out = (DeriveFormat)k;
            return true;
        }
    if (s->o.format)
        session_usage(s, "--format=%s: derivations come as text, latex, markdown or json",
                      s->o.format);
    return !s->o.format;
}

void command_derive(Session *s) {
    DeriveFormat format;
    if (s->args.n < 2 || s->args.n > 3) {
        session_usage(s, "`cnnc derive` wants a file and, where you like, an estimator");
        return;
    }
    if (!format_of(s, &format))
        return;
    const char *only = s->args.n == 3 ? s->args.p[2] : NULL;
    AstFile *file = session_parse(s, s->args.p[1]);
    Module *m = file ? session_lower(s, file, NULL) : NULL;
    if (m && !derive_module(s->ctx, s->arena, m, only, format, &s->out)) {
        if (only)
            session_usage(s, "`%s` has no estimator `%s`", s->args.p[1], only);
        else
            session_usage(s, "`%s` has no estimator", s->args.p[1]);
    }
}
