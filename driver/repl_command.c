/* Colon commands, help and completion. A command is a row of the table at the end. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver/repl_priv.h"
#include "ir/scalar.h"
#include "passes/pass.h"

typedef struct Command {
    const char *name, *args, *help;
    void (*run)(Eval *e,
                const char *arg); /* arg: what follows the name, without blanks around it */
} Command;

#define N_COMMANDS 22
static const Command commands[N_COMMANDS];

static const Span nowhere;

static const char *trim(Ctx *ctx, const char *s, size_t len) {
    while (len && isspace((unsigned char)*s))
        s++, len--;
    while (len && isspace((unsigned char)s[len - 1]))
        len--;
    return str_intern(ctx, s, len);
}

static bool is_name(const char *s) {
    bool ok = isalpha((unsigned char)*s) || *s == '_';
    for (; ok && *s; s++)
        ok = isalnum((unsigned char)*s) || *s == '_';
    return ok;
}

Expr *repl_parse(Eval *e, const char *text) {
    if (!*text) {
        diag_error(e->ctx, "E1102", nowhere, "the command needs an argument");
        return NULL;
    }
    Expr *x = parse_expr_text(e->ctx, ctx_add_file(e->ctx, "input", text, strlen(text)));
    return !diag_any_error(e->ctx) && repl_take_loads(e, x) ? x : NULL;
}

/* --- definitions --- */

/* The item of this name among the definitions, else in the library; *text: the source it stands in.
 */
static const Item *find_item(Eval *e, const char *name, const char **text) {
    for (int library = 0; library < 2; library++) {
        uint32_t prelude =
            library ? ctx_add_file(e->ctx, "prelude.cnn", frontend_prelude, frontend_prelude_len)
                    : 0;
        const AstFile *f = library ? parse_file(e->ctx, prelude) : repl_ast(e->s, e->ctx, NULL);
        for (int i = 0; i < f->n_items; i++) {
            const Item *it = f->items[i];
            if (it->name.text && strcmp(it->name.text, name) == 0) {
                *text = e->ctx->files[it->span.file].text;
                return it;
            }
        }
    }
    return NULL;
}

/* The head of a definition, "def f[N](x: [N]) -> real", on one line. */
static void put_head(StrBuf *out, const Item *it, const char *text) {
    const char *s = text + it->from, *end = text + it->to;
    while (*s == '#') /* its documentation */
        s = strchr(s, '\n') + 1;
    s += strspn(s, " \t");
    int depth = 0;
    for (bool blank = false; s < end; s++) {
        if (depth == 0 && (*s == '{' || (*s == '=' && s[1] != '=')))
            break;
        depth += (*s == '(' || *s == '[') - (*s == ')' || *s == ']');
        if (isspace((unsigned char)*s)) {
            blank = true;
            continue;
        }
        if (blank)
            sb_putc(out, ' ');
        blank = false;
        sb_putc(out, *s);
    }
    sb_putc(out, '\n');
}

static void unknown_name(Eval *e, const char *name) {
    const char *names[512];
    int n = repl_complete(e, "", names, 512);
    Diag *d = diag_error(e->ctx, "E1105", nowhere, "nothing is known of `%s`", name);
    const char *near_one = diag_nearest(name, names, n);
    if (near_one)
        diag_help(e->ctx, d, "did you mean `%s`?", near_one);
}

static void do_doc(Eval *e, const char *arg) {
    const char *text;
    const Item *it = find_item(e, arg, &text);
    if (it) {
        put_head(&e->out, it, text);
        if (it->doc)
            sb_printf(&e->out, "%s\n", it->doc);
        return;
    }
    const ReplValue *v = repl_value(e->s, arg);
    const char *doc = v ? NULL : frontend_doc(e->ctx, repl_ast(e->s, e->ctx, NULL), arg);
    if (v)
        sb_printf(&e->out, "%s : %s\n", v->name, v->type_text);
    else if (doc)
        sb_printf(&e->out, "%s: %s\n", arg, doc);
    else
        unknown_name(e, arg);
}

static void do_source(Eval *e, const char *arg) {
    const char *text;
    const Item *it = find_item(e, arg, &text);
    if (!it) {
        unknown_name(e, arg);
        return;
    }
    sb_putn(&e->out, text + it->from, it->to - it->from);
    sb_putc(&e->out, '\n');
}

static void do_load(Eval *e, const char *arg) {
    size_t len;
    const char *text = repl_read_file(e->ctx, arg, &len);
    if (!text)
        return;
    ReplSession *s = e->s;
    AstFile *f = parse_file(e->ctx, ctx_add_file(e->ctx, arg, text, len));
    if (diag_any_error(e->ctx))
        return;
    LowerOptions o = repl_lower_options(s);
    frontend_lower(e->ctx, &e->arena, f, &o);
    if (diag_any_error(e->ctx))
        return;
    for (int i = 0; i < f->n_items; i++)
        repl_define(s, e->ctx, f->items[i], text, arg);
    if (s->loaded == arg)
        return;
    Arena old = s->loaded_mem;
    arena_init(&s->loaded_mem, s->ctx);
    s->loaded = arena_dup(&s->loaded_mem, arg, strlen(arg) + 1);
    arena_free(&old);
}

static void do_reload(Eval *e, const char *arg) {
    (void)arg;
    if (e->s->loaded)
        do_load(e, str_of(e->ctx, e->s->loaded));
    else
        diag_error(e->ctx, "E1106", nowhere, "no file was loaded");
}

static void do_save(Eval *e, const char *arg) {
    FILE *f = *arg ? fopen(arg, "wb") : NULL;
    bool ok = f != NULL;
    for (int i = 0; i < e->s->defs.n && ok; i++)
        ok = fprintf(f, "%s%s\n", i ? "\n" : "", e->s->defs.p[i].text) > 0;
    int error = *arg ? errno : EINVAL;
    if (f && fclose(f) != 0) {
        ok = false;
        error = errno;
    }
    if (!ok)
        diag_error(e->ctx, "E1107", nowhere, "cannot write `%s`: %s", arg, strerror(error));
}

/* --- expressions --- */

static void do_type(Eval *e, const char *arg) {
    const char *text;
    const Item *it = is_name(arg) && !repl_value(e->s, arg) ? find_item(e, arg, &text) : NULL;
    if (it && it->kind != ITEM_CONST) {
        put_head(&e->out, it, text);
        return;
    }
    const Expr *x = repl_parse(e, arg);
    Type t;
    const char *type = x ? repl_type(e, repl_ast(e->s, e->ctx, NULL), x, &t) : NULL;
    if (type)
        sb_printf(&e->out, "%s\n", type);
}

static void do_shape(Eval *e, const char *arg) {
    const Expr *x = repl_parse(e, arg);
    Type t;
    if (!x || !repl_type(e, repl_ast(e->s, e->ctx, NULL), x, &t))
        return;
    sb_putc(&e->out, '[');
    for (int i = 0; i < t.rank; i++)
        sb_printf(&e->out, "%s%s", i ? ", " : "", dim_text(e->ctx, t.shape[i]));
    sb_put(&e->out, "]\n");
}

/* `E by V` is the expression grad(E, V). */
static void do_grad(Eval *e, const char *arg) {
    const char *by = NULL;
    for (const char *s = strstr(arg, " by "); s; s = strstr(s + 1, " by "))
        by = s;
    if (!by) {
        diag_error(e->ctx, "E1108", nowhere,
                   "write `:grad E by V`: the derivative of the expression E by the value V");
        return;
    }
    const Expr *x = repl_parse(e, str_fmt(e->ctx, "grad(%.*s, %s)", (int)(by - arg), arg, by + 4));
    ReplValue v;
    if (x && repl_evaluate(e, x, &v)) {
        repl_put_value(&e->out, &v);
        repl_bind(e->s, "_", &v);
    }
}

static void do_time(Eval *e, const char *arg) {
    const Expr *x = repl_parse(e, arg);
    Compiled c;
    if (!x || !repl_compile(e, repl_ast(e->s, e->ctx, NULL), x, &c))
        return;
    int calls;
    double t = repl_time(e, &c, &calls);
    if (t < 0)
        return;
    const char *unit = t < 1e-6 ? "ns" : t < 1e-3 ? "us" : t < 1 ? "ms" : "s";
    double scale = t < 1e-6 ? 1e9 : t < 1e-3 ? 1e6 : t < 1 ? 1e3 : 1;
    sb_printf(&e->out, "%.3g %s (fastest of %d calls)\n", t * scale, unit, calls);
}

/* --- looking into the compiler --- */

/* The module of a definition or expression. */
static Module *module_of(Eval *e, const char *arg) {
    const ReplDef *d = repl_def(e->s, arg);
    const AstFile *items = repl_ast(e->s, e->ctx, NULL);
    LowerOptions o = repl_lower_options(e->s);
    const char *type;
    Module *m = NULL;
    if (d && !d->is_const) {
        o.only = str_of(e->ctx, arg);
        m = frontend_lower(e->ctx, &e->arena, items, &o);
    } else {
        const Expr *x = repl_parse(e, arg);
        if (x)
            m = frontend_expr(e->ctx, &e->arena, items, x, repl_values(e->s, e->ctx),
                              e->s->values.n, &o, &type);
    }
    return diag_any_error(e->ctx) ? NULL : m;
}

static LoopModule *loops_of(Eval *e, const char *arg) {
    Module *m = module_of(e, arg);
    LoopModule *loops = NULL;
    return m && repl_passes(e, m, NULL, &loops, &m) ? loops : NULL;
}

static void do_ir(Eval *e, const char *arg) {
    const char *blank = strrchr(arg, ' ');
    const PassDef *pass = blank ? pass_named(blank + 1) : NULL;
    Module *m = module_of(e, pass ? trim(e->ctx, arg, (size_t)(blank - arg)) : arg);
    LoopModule *loops = NULL;
    if (!m || (pass && !repl_passes(e, m, pass->name, &loops, &m)))
        return;
    if (loops)
        loop_print(&e->out, loops);
    else
        graph_print(&e->out, m);
}

static void do_loops(Eval *e, const char *arg) {
    LoopModule *loops = loops_of(e, arg);
    if (loops)
        loop_print(&e->out, loops);
}

static void put_code(Eval *e, const char *arg, EmitKind kind) {
    LoopModule *loops = loops_of(e, arg);
    CodegenOptions o = {.level = 2};
    size_t len;
    const char *text = loops ? codegen_emit(e->ctx, &e->arena, loops, &o, kind, &len) : NULL;
    if (text)
        sb_putn(&e->out, text, len);
}

static void do_llvm(Eval *e, const char *arg) { put_code(e, arg, EMIT_LLVM); }
static void do_asm(Eval *e, const char *arg) { put_code(e, arg, EMIT_ASM); }

static void do_memory(Eval *e, const char *arg) {
    const LoopModule *loops = loops_of(e, arg);
    for (int i = 0; loops && i < loops->funcs.n; i++) {
        const AbiEntry *en = loops->funcs.p[i]->entry;
        sb_printf(&e->out, "%s: %s bytes of work memory\n", en->cname,
                  dim_text(e->ctx, en->work_bytes));
    }
}

/* --- settings and help --- */

static void do_set(Eval *e, const char *arg) {
    ReplSession *s = e->s;
    char name[16] = "", value[32] = "";
    int n = sscanf(arg, "%15s %31s", name, value);
    char *end = value;
    uint64_t seed = strtoull(value, &end, 10);
    if (n == 2 && strcmp(name, "real") == 0 &&
        (strcmp(value, "f32") == 0 || strcmp(value, "f64") == 0))
        s->real = strcmp(value, "f32") == 0 ? DT_F32 : DT_F64;
    else if (n == 2 && strcmp(name, "seed") == 0 && isdigit((unsigned char)*value) && !*end)
        s->seed = seed;
    else if (n > 0)
        diag_help(e->ctx, diag_error(e->ctx, "E1109", nowhere, "there is no setting `%s`", arg),
                  "`:set real f32`, `:set real f64`, `:set seed 7`");
    else
        sb_printf(&e->out, "real %s\nseed %llu\n", s->real == DT_F32 ? "f32" : "f64",
                  (unsigned long long)s->seed);
}

static void do_quit(Eval *e, const char *arg) {
    (void)arg;
    e->s->quit = true;
}

static void do_help(Eval *e, const char *arg) {
    if (*arg) {
        do_doc(e, arg);
        return;
    }
    sb_put(&e->out, "An item, a binding `x = 3` or an expression is compiled and run; `_` is the "
                    "last value.\n");
    for (int i = 0; i < N_COMMANDS; i++)
        sb_printf(&e->out, "  :%-7s %-14s %s\n", commands[i].name, commands[i].args,
                  commands[i].help);
    sb_put(&e->out, "  ?NAME                   the same as :doc NAME\n"
                    "A command may be cut short while it is the only one that begins so: `:q`.\n");
}

static const Command commands[N_COMMANDS] = {
    {"asm", "F", "the machine code of a definition or expression, as assembly", do_asm},
    {"data", "NAME=FILE", "data for :fit: FILE[:COLUMNS], [...] or a value; alone: list them", repl_data},
    {"derive", "E", "the closed form of an estimator, or how it is found, with its derivation", repl_derive},
    {"doc", "NAME", "documentation of a definition or function", do_doc},
    {"fit", "E NAME=FILE", "fit an estimator; data as in :data, options as in `cnnc fit`", repl_fit},
    {"grad", "E by V", "the derivative of an expression by a value", do_grad},
    {"help", "", "this list", do_help},
    {"img", "E [FILE]", "a value as a picture; FILE: .png .pgm .ppm", repl_img},
    {"ir", "F [PASS]", "the graph IR of a definition or expression, after a pass", do_ir},
    {"llvm", "F", "its LLVM IR", do_llvm},
    {"load", "FILE", "take the definitions of a file", do_load},
    {"loops", "F", "its loop IR", do_loops},
    {"memory", "F", "the work memory it needs, as a formula in the dims", do_memory},
    {"plot", "E [FILE]", "a vector, points [N, 2] or K curves [K, N]; FILE: .svg", repl_plot},
    {"quit", "", "end", do_quit},
    {"reload", "", "load the last file again", do_reload},
    {"save", "FILE", "write all definitions", do_save},
    {"set", "[NAME VALUE]", "show or change settings: real, seed", do_set},
    {"shape", "E", "the shape of an expression", do_shape},
    {"source", "NAME", "the text of a definition", do_source},
    {"time", "E", "how long an expression takes", do_time},
    {"type", "E", "the type of an expression, or the head of a definition", do_type},
};

/* The one command that begins so; -1: none or several. */
static int the_only(const char *begin) {
    int found = -1;
    for (int i = 0; i < N_COMMANDS; i++)
        if (strncmp(commands[i].name, begin, strlen(begin)) == 0) {
            if (found >= 0)
                return -1;
            found = i;
        }
    return found;
}

void repl_command(Eval *e, const char *line) {
    size_t len = strlen(line);
    if (*line == '?') {
        do_help(e, trim(e->ctx, line + 1, len - 1));
        return;
    }
    size_t n = 1;
    while (isalpha((unsigned char)line[n]))
        n++;
    const char *name = str_intern(e->ctx, line + 1, n - 1), *arg = trim(e->ctx, line + n, len - n);
    const char *names[64];
    for (int i = 0; i < N_COMMANDS; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            commands[i].run(e, arg);
            return;
        }
        names[i] = commands[i].name;
    }
    int first = n > 1 ? the_only(name) : -1;
    if (first >= 0) {
        commands[first].run(e, arg);
        return;
    }
    const char *near_one = diag_nearest(name, names, N_COMMANDS);
    diag_help(e->ctx, diag_error(e->ctx, "E1110", nowhere, "there is no command `:%s`", name),
              near_one ? "did you mean `:%s`?" : "`:help` lists them all", near_one);
}

/* --- completion --- */

static int by_text(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

typedef struct Names {
    const char **names;
    int n, max;
    const char *prefix;
} Names;

static void offer(Names *l, const char *name) {
    if (l->n < l->max && *name && strncmp(name, l->prefix, strlen(l->prefix)) == 0)
        l->names[l->n++] = name;
}

int repl_complete(Eval *e, const char *prefix, const char **names, int max) {
    static const char *const words[] = {
        "and",    "const", "def", "else",      "estimator", "false",  "for",  "if",
        "import", "model", "not", "optimizer", "or",        "return", "then", "true"};
    Names l = {names, 0, max, *prefix == ':' ? prefix + 1 : prefix};
    if (*prefix == ':') {
        for (int i = 0; i < N_COMMANDS; i++)
            offer(&l, commands[i].name);
        return l.n;
    }
    for (int i = 0; i < e->s->defs.n; i++)
        offer(&l, e->s->defs.p[i].name);
    for (int i = 0; i < e->s->values.n; i++)
        offer(&l, e->s->values.p[i].name);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        offer(&l, words[i]);
    for (int i = SC_NONE + 1; i < SC_COUNT; i++)
        if (!(scalar_def((ScalarOp)i)->flags & (SF_INTERNAL | SF_LANES)))
            offer(&l, scalar_def((ScalarOp)i)->name);
    const AstFile *f = parse_file(
        e->ctx, ctx_add_file(e->ctx, "prelude.cnn", frontend_prelude, frontend_prelude_len));
    for (int i = 0; i < f->n_items; i++)
        if (f->items[i]->name.text)
            offer(&l, f->items[i]->name.text);
    qsort(names, (size_t)l.n, sizeof *names, by_text);
    return l.n;
}
