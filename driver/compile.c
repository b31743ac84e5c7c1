/* cnnc FILE.cnn -o OUT: compiles; the kind comes from the suffix of each output. */
#include <string.h>
#include <sys/stat.h>

#include "driver/output.h"

typedef struct Output {
    const char *kind, *path;
} Output;

static const char *suffix_of(const char *path) {
    const char *dot = strrchr(path, '.'), *slash = strrchr(path, '/');
    return dot && (!slash || dot > slash) ? dot + 1 : "";
}

static bool is_folder(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool same_file(const char *a, const char *b) {
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

typedef VEC(Output) Outputs;

/* The file that the Python module loads, which lies beside it. */
static const char *library_name(Session *s, const Outputs *all, const char *base) {
    for (int k = 0; k < all->n; k++)
        if (strcmp(all->p[k].kind, "so") == 0)
            return strrchr(all->p[k].path, '/') ? strrchr(all->p[k].path, '/') + 1 : all->p[k].path;
    return str_fmt(s->ctx, "%s.so", base);
}

static void add(Session *s, Outputs *all, const char *kind, const char *path) {
    if (!output_known(kind))
        session_usage(s, "the output `%s` has no suffix that says what it is: .so .o .a .s .ll .bc .h .py or .dot", path);
    else if (is_folder(path))
        session_file_error(s, (Span){0}, "the output `%s` is a folder", path);
    else if (same_file(path, s->args.p[0]))
        session_usage(s, "the output `%s` is the source", path);
    else
        vec_push(s->arena, all, (Output){kind, path});
}

/* Python takes a m.so beside m.py for the module m, so the one is named after the other. */
static const char *emitted_name(Session *s, const char *base, const char *kind) {
    if (strcmp(kind, "py") == 0)
        return str_fmt(s->ctx, "%s_py.py", base);
    return str_fmt(s->ctx, "%s.%s", base, strcmp(kind, "manifest") ? kind : "json");
}

/* Without -o after the source; else after the first -o, in its folder: a library and what goes with it lie side by side. */
static const char *emitted_base(Session *s, const char *base) {
    const char *first = s->o.out.n ? s->o.out.p[0] : base, *suffix = suffix_of(first);
    return *suffix ? str_fmt(s->ctx, "%.*s", (int)(suffix - 1 - first), first) : first;
}

/* -c, -S, -emit-llvm, or a single --emit: the kind of an -o whose suffix says none. */
static const char *only_kind(const Session *s) {
    bool single = s->o.emit.n == 1 && s->o.out.n == 1;
    return s->o.object ? "o" : s->o.assembly ? "s" : s->o.llvm ? "ll" : single ? s->o.emit.p[0] : NULL;
}

static bool is_written(const Outputs *all, const char *kind) {
    for (int k = 0; k < all->n; k++)
        if (strcmp(all->p[k].kind, kind) == 0)
            return true;
    return false;
}

static Outputs outputs_of(Session *s, const char *base) {
    Outputs all = {0};
    const char *only = only_kind(s);
    for (int k = 0; k < s->o.emit.n; k++)
        if (!output_known(s->o.emit.p[k]))
            session_usage(s, "there is no output `%s`: --emit takes so, o, a, s, ll, bc, h, py, dot and manifest", s->o.emit.p[k]);
    for (int k = 0; k < s->o.out.n; k++) {
        const char *kind = suffix_of(s->o.out.p[k]);
        add(s, &all, only && !output_known(kind) ? only : kind, s->o.out.p[k]);
    }
    for (int k = 0; k < s->o.emit.n && !s->status; k++)
        if (s->o.out.n != 1 || !is_written(&all, s->o.emit.p[k])) /* else that -o names it */
            add(s, &all, s->o.emit.p[k], emitted_name(s, emitted_base(s, base), s->o.emit.p[k]));
    if (only && !s->o.out.n)
        add(s, &all, only, str_fmt(s->ctx, "%s.%s", base, only));
    if (!all.n && !s->status)
        session_usage(s, "say where to: -o %s.so (or .o .a .s .ll .bc .h .py .dot)", base);
    return all;
}

/* m.so and m.a come with m.h beside them, unless it is asked for elsewhere. */
static const char *header_beside(Session *s, const Outputs *all, const char *path) {
    if (is_written(all, "h"))
        return NULL;
    const char *dot = strrchr(path, '.');
    return str_fmt(s->ctx, "%.*s.h", (int)(dot - path), path);
}

static void print_memory(Session *s, const LoopModule *m) {
    for (int k = 0; k < m->funcs.n; k++)
        if (m->funcs.p[k]->entry->work_bytes)
            sb_printf(&s->out, "%s_work_bytes = %s\n", m->funcs.p[k]->entry->cname, dim_text(s->ctx, m->funcs.p[k]->entry->work_bytes));
}

/* A name as make reads it. */
static void put_make_name(StrBuf *sb, const char *name) {
    for (; *name; name++) {
        if (*name == '$')
            sb_putc(sb, '$');
        if (*name == ' ' || *name == '#' || *name == '\\' || *name == ':')
            sb_putc(sb, '\\');
        sb_putc(sb, *name);
    }
}

/* OUT...: the source and what it imports; an empty rule for each import, so that one may be removed. */
static bool write_deps(Session *s, const Outputs *all) {
    StrBuf sb = sb_new(s->arena);
    for (int k = 0; k < all->n; k++) {
        sb_put(&sb, k ? " " : "");
        put_make_name(&sb, all->p[k].path);
    }
    sb_put(&sb, ":");
    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t k = 1, n = 0; k <= s->ctx->n_files; k++) {
            if (strcmp(s->ctx->files[k].name, "prelude.cnn") == 0 || strcmp(s->ctx->files[k].name, "-") == 0)
                continue;
            if (pass && !n++)
                continue;
            sb_put(&sb, pass ? "" : " ");
            put_make_name(&sb, s->ctx->files[k].name);
            sb_put(&sb, pass ? ":\n" : "");
        }
        sb_put(&sb, pass ? "" : "\n");
    }
    const char *path = s->o.deps_file, *first = all->p[0].path, *dot = strrchr(first, '.'), *slash = strrchr(first, '/');
    int stem = dot && (!slash || dot > slash) ? (int)(dot - first) : (int)strlen(first);
    return session_write(s, path ? path : str_fmt(s->ctx, "%.*s.d", stem, first), sb.text, sb.len);
}

/* The graph as lowered: passes rewrite the module, so it is drawn before them. */
static const char *draw_graph(Session *s, const char *path) {
    AstFile *file = session_parse(s, path);
    Module *m = file ? session_lower(s, file, NULL) : NULL;
    StrBuf sb = sb_new(s->arena);
    if (!m)
        return NULL;
    graph_dot(&sb, m);
    return sb.text;
}

void command_compile(Session *s) {
    const char *path = s->args.p[0], *base = session_base(s, path);
    if (s->args.n > 1)
        session_usage(s, "one source file at a time: what is `%s`?", s->args.p[1]);
    Outputs all = outputs_of(s, base);
    const char *dot = !s->status && is_written(&all, "dot") ? draw_graph(s, path) : NULL;
    LoopModule *m = s->status || diag_any_error(s->ctx) ? NULL : session_compile(s, path, NULL);
    if (!m)
        return;
    Compiled c = compiled_of(s, m, base, library_name(s, &all, base));
    c.dot = dot;
    m = s->unit.loops;
    for (int k = 0; k < all.n; k++) {
        bool library = strcmp(all.p[k].kind, "so") == 0 || strcmp(all.p[k].kind, "a") == 0;
        const char *beside = library ? header_beside(s, &all, all.p[k].path) : NULL;
        if (!output_write(s, &c, all.p[k].kind, all.p[k].path) || (beside && !output_write(s, &c, "h", beside))) {
            session_fail(s, EXIT_FILE);
            return;
        }
    }
    if ((s->o.deps || s->o.deps_file) && !write_deps(s, &all)) {
        session_fail(s, EXIT_FILE);
        return;
    }
    if (s->o.print_memory)
        print_memory(s, m);
    if (s->o.print_kernels)
        session_print_kernels(s, m, false);
}
