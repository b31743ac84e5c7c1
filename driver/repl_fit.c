/* :data, :fit and :derive. An input has a context of its own (repl_priv.h); a driver session on it
 * fits as `cnnc fit` does. */
#include <ctype.h>
#include <string.h>

#include "driver/derive.h"
#include "driver/fit_exact.h"
#include "driver/options.h"
#include "driver/repl_priv.h"

/* The words of a line; blanks inside brackets and quotes do not end one, quotes are left out. */
static int split(Arena *a, const char *line, char ***words) {
    int n = 0;
    size_t len = strlen(line);
    *words = ARENA_ARRAY(a, char *, len + 2);
    for (const char *at = line; *(at += strspn(at, " \t"));) {
        char *word = arena_alloc(a, len + 1), quote = 0;
        size_t size = 0;
        for (int depth = 0; *at && (depth > 0 || quote || !isspace((unsigned char)*at)); at++) {
            if (quote ? *at == quote : *at == '"' || *at == '\'') {
                quote = quote ? 0 : *at;
                continue;
            }
            depth += (*at == '[') - (*at == ']');
            word[size++] = *at;
        }
        (*words)[n++] = word;
    }
    return n;
}

/* ---- :data */

static void put_data(Eval *e) {
    for (int k = 0; k < e->s->data.n; k++)
        sb_printf(&e->out, "%s\n", e->s->data.p[k].text);
}

/* Loads it once, so that what is wrong with it is said now. */
static bool can_be_loaded(Eval *e, const char *value) {
    Session s = {.ctx = e->ctx, .arena = &e->arena};
    options_defaults(&s.o);
    s.o.na = "drop"; /* what to do with missing values is said when it is fitted */
    return repl_value(e->s, value) || data_load(&s, value);
}

void repl_data(Eval *e, const char *line) {
    char **words;
    int n = split(&e->arena, line, &words);
    if (n == 0)
        put_data(e);
    for (int k = 0; k < n; k++) {
        const char *eq = strchr(words[k], '=');
        if (!eq || eq == words[k])
            diag_error(e->ctx, "E1111", (Span){0},
                       "data are given as NAME=FILE or NAME=[...], not `%s`", words[k]);
        else if (can_be_loaded(e, eq + 1))
            repl_keep_data(e->s, str_intern(e->ctx, words[k], (size_t)(eq - words[k])), words[k]);
    }
}

/* ---- :fit */

static Array *array_of(Session *s, const ReplValue *v) {
    static const Cell cells[] = {[DT_BOOL] = CELL_BOOL,
                                 [DT_I32] = CELL_I32,
                                 [DT_I64] = CELL_I64,
                                 [DT_F32] = CELL_F32,
                                 [DT_F64] = CELL_F64};
    Array *a = array_new(s, cells[v->dt], v->rank, v->shape, v->name);
    if (a && v->count)
        memcpy(a->data, v->data, v->count * dtype_size(v->dt));
    return a;
}

/* One NAME=VALUE: a value of the session, else a literal or a file. */
static bool add_data(Eval *e, Session *s, DataSet *to, const char *text) {
    const char *eq = strchr(text, '=');
    const char *name = str_intern(s->ctx, text, (size_t)(eq - text));
    const ReplValue *v = repl_value(e->s, eq + 1);
    Array *a = v ? array_of(s, v) : data_load(s, eq + 1);
    if (a)
        vec_push(s->arena, &to->all, (NamedArray){name, a});
    return a != NULL;
}

static bool has_data(const AbiBlock *b, const char *name) {
    for (int k = 0; k < b->data.n; k++)
        if (strcmp(b->data.p[k].name, name) == 0)
            return true;
    return false;
}

/* What the line gives, and for the rest what :data did. */
static bool gather_data(Eval *e, Session *s, const AbiBlock *b, DataSet *to) {
    *to = (DataSet){0};
    for (int k = 0; k < s->o.data.n; k++)
        if (!add_data(e, s, to, s->o.data.p[k]))
            return false;
    for (int k = 0; k < e->s->data.n; k++) {
        const ReplData *d = &e->s->data.p[k];
        if (has_data(b, d->name) && !dataset_get(to, d->name) && !add_data(e, s, to, d->text))
            return false;
    }
    return true;
}

static void fit_both(Eval *e, Exact *x) {
    bool prior = x->f->block->has_prior, map = prior && !x->s->o.mle,
         both = map && x->f->block->params.n;
    FitResult mle = {0};
    if (both) {
        x->silent = true; /* without its prior an estimator may well have no mode */
        both = exact_run(x, false) && x->status == FIT_CONVERGED;
        if (both)
            mle = exact_result(x, false);
        x->silent = false;
    }
    if (!exact_run(x, map))
        return;
    FitResult r = exact_result(x, map);
    if (x->status == FIT_CONVERGED && map)
        fit_table_both(&e->out, both ? &mle : NULL, &r);
    else if (exact_has_table(x))
        fit_table(&e->out, &r);
    exact_complain(x);
    exact_warn_ident(x);
}

static void fit_opened(Eval *e, Session *s, Fit *f) {
    DataSet given;
    Exact x;
    if (!gather_data(e, s, f->block, &given))
        return;
    if (f->block->using_.present)
        diag_error(e->ctx, "E1112", f->block->span,
                   "`%s` is trained by mini-batches: `cnnc fit` does that", f->block->name);
    else if (exact_prepare(&x, s, f, &given))
        fit_both(e, &x);
}

static bool is_estimator(const AstFile *file, const char *name) {
    for (int k = 0; k < file->n_items; k++)
        if (file->items[k]->kind == ITEM_ESTIMATOR && strcmp(file->items[k]->name.text, name) == 0)
            return true;
    return false;
}

/* The options and data of the line; the estimator's name stands first. */
static bool parse_line(Session *s, int n, char **words) {
    static char program[] = "cnnc", verb[] = "fit";
    char **argv = ARENA_ARRAY(s->arena, char *, n + 2);
    argv[0] = program;
    argv[1] = verb;
    for (int k = 0; k < n; k++)
        argv[2 + k] = words[k];
    options_defaults(&s->o);
    options_parse(s, n + 2, argv);
    for (int k = 2; k < s->args.n; k++) {
        if (strchr(s->args.p[k], '='))
            vec_push(s->arena, &s->o.data, s->args.p[k]);
        else
            session_usage(s, "data are given as NAME=FILE or NAME=[...], not `%s`", s->args.p[k]);
    }
    return s->status == 0;
}

/* Those that there are, as help. */
static void no_estimator(Eval *e, const AstFile *file, Diag *d) {
    StrBuf has = sb_new(&e->arena);
    for (int k = 0; file && k < file->n_items; k++)
        if (file->items[k]->kind == ITEM_ESTIMATOR && file->items[k]->name.text)
            sb_printf(&has, "%s`%s`", has.len ? ", " : "", file->items[k]->name.text);
    diag_help(e->ctx, d, has.len ? "this session has %s" : "there is none yet: `:load FILE` takes those of a file%s", has.text);
}

void repl_derive(Eval *e, const char *line) {
    const AstFile *file = repl_ast(e->s, e->ctx, NULL);
    LowerOptions o = repl_lower_options(e->s);
    if (!is_estimator(file, line)) {
        no_estimator(e, file,
                     *line ? diag_error(e->ctx, "E1114", (Span){0}, "there is no estimator `%s`", line)
                           : diag_error(e->ctx, "E1114", (Span){0}, "`:derive` wants an estimator: `:derive coin`"));
        return;
    }
    o.only = str_of(e->ctx, line);
    Module *m = frontend_lower(e->ctx, &e->arena, file, &o);
    if (m && !diag_any_error(e->ctx))
        derive_module(e->ctx, &e->arena, m, o.only, DERIVE_TEXT, &e->out);
}

void repl_fit(Eval *e, const char *line) {
    Session s = {.ctx = e->ctx, .arena = &e->arena, .verb = "fit"};
    const AstFile *file = repl_ast(e->s, e->ctx, NULL);
    char **words;
    int n = split(&e->arena, line, &words);
    if (n == 0 || !is_estimator(file, words[0])) {
        no_estimator(e, file,
                     n ? diag_error(e->ctx, "E1113", (Span){0}, "there is no estimator `%s`", words[0])
                       : diag_error(e->ctx, "E1113", (Span){0}, "`:fit` wants an estimator: `:fit coin x=[1,1,0]`"));
        return;
    }
    if (!parse_line(&s, n, words))
        return;
    Fit f;
    LowerOptions o = session_lower_options(&s, str_of(e->ctx, words[0]));
    LowerOptions mine = repl_lower_options(e->s);
    o.load_import = mine.load_import;
    o.real = s.o.real ? o.real : mine.real;
    if (fit_open_item(&s, &f, file, &o, e->s->stop))
        fit_opened(e, &s, &f);
    if (*e->s->stop)
        sb_put(&e->out, "interrupted\n");
    program_close(&f.p);
}
