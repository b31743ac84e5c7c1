/* cnnc FILE.cnn -o OUT: compiles; the kind comes from the suffix of each output. */
#include <string.h>
#include <sys/stat.h>

#include "driver/cache.h"
#include "driver/session.h"
#include "driver/sha256.h"

typedef struct Output {
    const char *kind, *path;
} Output;

static bool known_kind(const char *kind) {
    static const char *const kinds[] = {"so", "o", "a", "s", "ll", "bc", "h", "py", "dot", "manifest"};
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        if (strcmp(kinds[k], kind) == 0)
            return true;
    return false;
}

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

static void add(Session *s, Outputs *all, const char *kind, const char *path) {
    if (!known_kind(kind))
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

static Outputs outputs_of(Session *s, const char *base) {
    Outputs all = {0};
    const char *only = s->o.object ? "o" : s->o.assembly ? "s" : s->o.llvm ? "ll" : NULL;
    for (int k = 0; k < s->o.out.n; k++) {
        const char *kind = suffix_of(s->o.out.p[k]);
        add(s, &all, only && !known_kind(kind) ? only : kind, s->o.out.p[k]);
    }
    for (int k = 0; k < s->o.emit.n; k++)
        add(s, &all, s->o.emit.p[k], emitted_name(s, base, s->o.emit.p[k]));
    if (only && !s->o.out.n)
        add(s, &all, only, str_fmt(s->ctx, "%s.%s", base, only));
    if (!all.n && !s->status)
        session_usage(s, "say where to: -o %s.so (or .o .a .s .ll .bc .h .py .dot)", base);
    return all;
}

/* m.so and m.a come with m.h beside them, unless it is asked for elsewhere. */
static const char *header_beside(Session *s, const Outputs *all, const char *path) {
    for (int k = 0; k < all->n; k++)
        if (strcmp(all->p[k].kind, "h") == 0)
            return NULL;
    const char *dot = strrchr(path, '.');
    return str_fmt(s->ctx, "%.*s.h", (int)(dot - path), path);
}

typedef struct Texts {
    const LoopModule *m;
    CodegenOptions o;
    const char *base, *header, *manifest, *python, *dot;
} Texts;

static bool write_text(Session *s, const Texts *t, EmitKind kind, const char *path) {
    size_t len;
    const char *text = codegen_emit(s->ctx, s->arena, t->m, &t->o, kind, &len);
    return text && session_write(s, path, text, len);
}

static bool write_so(Session *s, Texts *t, const char *path) {
    int n;
    const CodeObject *objects = cache_objects(s, t->m, &t->o, &n);
    return objects && codegen_link_so(s->ctx, t->m, t->base, objects, n, path);
}

static bool write_archive(Session *s, Texts *t, const char *path) {
    size_t len;
    const char *object = codegen_emit(s->ctx, s->arena, t->m, &t->o, EMIT_OBJECT, &len);
    return object && codegen_archive(s->ctx, object, len, path);
}

static bool write_output(Session *s, Texts *t, Output out) {
    if (strcmp(out.kind, "so") == 0)
        return write_so(s, t, out.path);
    if (strcmp(out.kind, "a") == 0)
        return write_archive(s, t, out.path);
    if (strcmp(out.kind, "h") == 0)
        return session_write(s, out.path, t->header, strlen(t->header));
    if (strcmp(out.kind, "py") == 0)
        return session_write(s, out.path, t->python, strlen(t->python));
    if (strcmp(out.kind, "dot") == 0)
        return session_write(s, out.path, t->dot, strlen(t->dot));
    if (strcmp(out.kind, "manifest") == 0)
        return session_write(s, out.path, t->manifest, strlen(t->manifest));
    return write_text(s, t, strcmp(out.kind, "o") == 0 ? EMIT_OBJECT : strcmp(out.kind, "s") == 0 ? EMIT_ASM : strcmp(out.kind, "ll") == 0 ? EMIT_LLVM : EMIT_BITCODE,
                      out.path);
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

static bool wants(const Outputs *all, const char *kind) {
    for (int k = 0; k < all->n; k++)
        if (strcmp(all->p[k].kind, kind) == 0)
            return true;
    return false;
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
    const char *dot = !s->status && wants(&all, "dot") ? draw_graph(s, path) : NULL;
    LoopModule *m = s->status || diag_any_error(s->ctx) ? NULL : session_compile(s, path, NULL);
    if (!m)
        return;
    char sha[65];
    const SourceFile *source = &s->ctx->files[1];
    sha256_hex(source->text, source->len, sha);
    loop_assign_offsets(m);
    Texts t = {.m = m, .o = session_codegen(s), .base = base, .dot = dot};
    t.header = codegen_header(s->ctx, s->arena, m, base, sha);
    t.manifest = codegen_manifest(s->ctx, s->arena, m, base, sha);
    t.python = codegen_python(s->ctx, s->arena, m, base, sha);
    t.o.base = base;
    t.o.manifest = t.manifest;
    for (int k = 0; k < all.n; k++) {
        bool library = strcmp(all.p[k].kind, "so") == 0 || strcmp(all.p[k].kind, "a") == 0;
        const char *beside = library ? header_beside(s, &all, all.p[k].path) : NULL;
        if (!write_output(s, &t, all.p[k]) || (beside && !session_write(s, beside, t.header, strlen(t.header)))) {
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
        session_print_kernels(s, m);
}
