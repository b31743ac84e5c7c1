/* The C names of what is exported: none of them C has already, and no two are equal. */
#include <string.h>

#include "frontend/lower.h"

typedef struct Symbol {
    Str name;
    Str decl;       /* the declaration it is made for */
    bool generated; /* not the declaration's own name */
    Span span;
} Symbol;

typedef struct Symbols {
    Elab *e;
    VEC(Symbol) all;
} Symbols;

static Span span_of(const Elab *e, Str decl, Span else_) {
    for (int k = 0; k < e->file->ast->n_items; k++)
        if (e->file->ast->items[k]->name.text == decl)
            return e->file->ast->items[k]->name.span;
    return else_;
}

static void clash(Symbols *s, const Symbol *a, const Symbol *b) {
    Ctx *ctx = s->e->ctx;
    Diag *d = elab_error(s->e, "E0438", b->span, "two C names are equal: `%s`", b->name);
    diag_here(ctx, d, "for `%s`", b->decl);
    if (a->span.file)
        diag_label(ctx, d, a->span, "and for `%s`", a->decl);
    else
        diag_note(ctx, d, (Span){0},
                  "the other one is a function of the whole library, named after the file or by "
                  "--prefix");
}

static void add(Symbols *s, Str name, Str decl, Span span) {
    Symbol sym = {
        .name = name, .decl = decl, .generated = name != lower_cname(s->e, decl), .span = span};
    Ctx *ctx = s->e->ctx;
    const char *taken = abi_taken(ctx, name);
    if (taken) {
        Diag *d = sym.generated
                      ? elab_error(s->e, "E0437", span,
                                   "the C name `%s`, generated for `%s`, is %s", name, decl, taken)
                      : elab_error(s->e, "E0437", span, "`%s` is %s, so no C function can have it",
                                   name, taken);
        diag_help(ctx, d, "rename it, or `--prefix=p_` puts `p_` before every C name");
    }
    for (int k = 0; k < s->all.n; k++)
        if (s->all.p[k].name == name) {
            clash(s, &s->all.p[k], &sym);
            return;
        }
    vec_push(s->e->arena, &s->all, sym);
}

static void add_function(Symbols *s, Str name, Str decl, Span span) {
    add(s, name, decl, span);
    add(s, str_fmt(s->e->ctx, "%s_work_bytes", name), decl, span);
}

static void add_block(Symbols *s, const AbiBlock *b) {
    static const char *const model[] = {"init", "forward", NULL};
    static const char *const exact[] = {"init", "report", "predict",   "fit",
                                        "logp", "grad",   "posterior", NULL};
    static const char *const training[] = {"init", "report", "predict", "loss_grad", "step", NULL};
    Ctx *ctx = s->e->ctx;
    Span at = span_of(s->e, b->name, b->span);
    for (const char *const *f = !b->is_estimator    ? model
                                : b->using_.present ? training
                                                    : exact;
         *f; f++)
        add_function(s, str_fmt(ctx, "%s_%s", b->cname, *f), b->name, at);
    if (b->is_estimator) {
        add(s, str_fmt(ctx, "%s_hyper", b->cname), b->name, at);
        add(s, abi_upper(ctx, str_fmt(ctx, "%s_hyper_init", b->cname)), b->name, at);
    }
    AbiSizes sizes = abi_sizes(ctx, s->e->arena, b);
    for (int k = 0; k < sizes.n; k++) {
        const AbiTensor *t = sizes.p[k].tensor;
        add(s, sizes.p[k].name, t ? str_fmt(ctx, "%s.%s", b->name, t->path) : b->name,
            t ? t->span : at);
    }
}

void check_symbols(Elab *e) {
    Symbols s = {.e = e};
    static const char *const of_file[] = {"strerror", "manifest"};
    for (int k = 0; k < 2; k++) {
        Symbol sym = {.name = str_fmt(e->ctx, "%s_%s", e->o->base, of_file[k]), .decl = e->o->base};
        vec_push(e->arena, &s.all, sym);
    }
    for (int k = 0; k < e->m->blocks.n; k++)
        add_block(&s, e->m->blocks.p[k]);
    for (int k = 0; k < e->m->funcs.n; k++) {
        const Func *f = e->m->funcs.p[k];
        if (f && f->entry && f->entry->kind == ENTRY_DEF)
            add_function(&s, f->entry->cname, f->entry->decl,
                         span_of(e, f->entry->decl, f->entry->span));
    }
}
