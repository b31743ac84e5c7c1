#include "driver/session.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "frontend/parse.h"

static const Span nowhere = {0};

void session_fail(Session *s, int status) { s->status = s->status ? s->status : status; }

static const char *formatted(Session *s, const char *fmt, va_list ap) {
    StrBuf sb = sb_new(&s->ctx->perm);
    sb_vprintf(&sb, fmt, ap);
    return sb.text;
}

void session_usage(Session *s, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    diag_error(s->ctx, "E1001", nowhere, "%s", formatted(s, fmt, ap));
    va_end(ap);
    session_fail(s, EXIT_USAGE);
}

Diag *session_file_error(Session *s, Span span, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    Diag *d = diag_error(s->ctx, "E1002", span, "%s", formatted(s, fmt, ap));
    va_end(ap);
    session_fail(s, EXIT_FILE);
    return d;
}

void session_say(const Session *s, const char *fmt, ...) {
    va_list ap;
    if (!s->o.verbose)
        return;
    va_start(ap, fmt);
    fputs("cnnc: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
}

/* ---- files */

char *session_read(Session *s, const char *path, size_t *len) {
    session_say(s, "reading %s", path);
    FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    struct stat st;
    if (!f || (f != stdin && fstat(fileno(f), &st) == 0 && S_ISDIR(st.st_mode))) {
        session_file_error(s, nowhere, "cannot read `%s`: %s", path, strerror(f ? EISDIR : errno));
        if (f)
            fclose(f);
        return NULL;
    }
    StrBuf sb = sb_new(s->arena);
    static const size_t most = (size_t)1 << 40;
    if (f != stdin && S_ISREG(st.st_mode) && st.st_size > 0 && (size_t)st.st_size < most)
        sb_reserve(&sb, (size_t)st.st_size + 1);
    if (sb.cap) { /* straight to its place */
        sb.len = fread(sb.text, 1, sb.cap - 1, f);
        sb.text[sb.len] = 0;
    }
    char block[65536];
    for (size_t n; (n = fread(block, 1, sizeof block, f)) > 0;)
        sb_putn(&sb, block, n);
    bool bad = ferror(f);
    int why = errno;
    if (f != stdin)
        fclose(f);
    if (bad) {
        session_file_error(s, nowhere, "cannot read `%s`: %s", path, strerror(why));
        return NULL;
    }
    *len = sb.len;
    return sb.text;
}

static bool write_all(int fd, const char *data, size_t len) {
    while (len) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

/* Devices and pipes are written as they are, /dev/stdout too where it is a file: a rename would replace the link. */
bool session_is_special(const char *path) {
    struct stat st;
    if (strncmp(path, "/dev/", 5) == 0)
        return true;
    return stat(path, &st) == 0 && !S_ISREG(st.st_mode);
}

static void sync_folder(const char *path) {
    char folder[4096];
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) + 1 : 1;
    if (n >= sizeof folder)
        return;
    memcpy(folder, slash ? path : ".", n);
    folder[n] = 0;
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
}

/* The special file itself, or a new file beside `path` that takes its place when it is whole. */
static int open_for(Session *s, const char *path, bool special, const char **name) {
    *name = special ? path : str_fmt(s->ctx, "%s.%ld.tmp", path, (long)getpid());
    return special ? open(*name, O_WRONLY | O_CLOEXEC) : open(*name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
}

static void cannot_write(Session *s, const char *path, int why) {
    session_file_error(s, nowhere, "cannot write `%s`: %s", path, strerror(why));
}

bool session_can_write(Session *s, const char *path) {
    const char *name;
    bool special = session_is_special(path);
    if (special && access(path, W_OK) == 0 && strncmp(path, "/dev/", 5) == 0)
        return true; /* opening one may have an effect */
    int fd = open_for(s, path, special, &name);
    if (fd < 0) {
        cannot_write(s, path, errno);
        return false;
    }
    close(fd);
    if (!special)
        unlink(name);
    return true;
}

bool session_write(Session *s, const char *path, const char *data, size_t len) {
    session_say(s, "writing %s, %zu bytes", path, len);
    const char *name;
    bool special = session_is_special(path), ok = false;
    int fd = open_for(s, path, special, &name);
    if (fd >= 0) {
        ok = write_all(fd, data, len) && (special || fsync(fd) == 0);
        int why = errno;
        ok = close(fd) == 0 && ok;
        ok = ok && (special || rename(name, path) == 0);
        errno = ok ? 0 : errno ? errno : why;
    }
    if (ok) {
        sync_folder(path);
        return true;
    }
    int why = errno;
    if (!special && fd >= 0)
        unlink(name);
    cannot_write(s, path, why);
    return false;
}

static bool is_identifier(const char *s) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
    return *s && strchr(letters, *s) && s[strspn(s, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")] == 0;
}

const char *session_base(Session *s, const char *path) {
    if (s->o.prefix) { /* `p_` goes before every C name, those of the file too */
        size_t n = strlen(s->o.prefix);
        while (n > 1 && s->o.prefix[n - 1] == '_')
            n--;
        if (!is_identifier(s->o.prefix))
            session_usage(s, "--prefix=%s: it is a name of C, or the beginning of one that ends in `_`", s->o.prefix);
        return str_fmt(s->ctx, "%.*s", (int)n, s->o.prefix);
    }
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *dot = strrchr(name, '.');
    if (strcmp(path, "-") == 0)
        return "stdin";
    char *base = arena_dup(s->arena, name, strlen(name) + 1);
    if (dot && dot != name)
        base[dot - name] = 0;
    for (char *c = base; *c; c++) /* a C identifier */
        if (!(*c >= 'a' && *c <= 'z') && !(*c >= 'A' && *c <= 'Z') && !(*c >= '0' && *c <= '9' && c != base))
            *c = '_';
    return base;
}

bool session_is_ir(const char *path) {
    size_t n = strlen(path);
    return n > 3 && strcmp(path + n - 3, ".ir") == 0;
}

/* ---- steps */

/* A data file in the place of the program, known by its suffix. */
static bool is_data_file(const char *path) {
    static const char *const suffixes[] = {".csv", ".npy", ".npz", ".png", ".pgm", ".ppm", ".gz", ".idx", ".safetensors"};
    size_t n = strlen(path);
    for (size_t k = 0; k < sizeof suffixes / sizeof *suffixes; k++)
        if (n > strlen(suffixes[k]) && strcmp(path + n - strlen(suffixes[k]), suffixes[k]) == 0)
            return true;
    return false;
}

AstFile *session_parse(Session *s, const char *path) {
    size_t len;
    if (is_data_file(path)) {
        session_usage(s, "`%s` holds data: the program, a .cnn file, comes first, and data follow `--data x=%s`", path, path);
        return NULL;
    }
    char *text = session_read(s, path, &len);
    return text ? session_parse_text(s, path, text, len) : NULL;
}

AstFile *session_parse_text(Session *s, const char *name, const char *text, size_t len) {
    AstFile *file = parse_file(s->ctx, ctx_add_file(s->ctx, name, text, len));
    if (!diag_any_error(s->ctx))
        return file;
    session_fail(s, EXIT_PROGRAM);
    return NULL;
}

/* A file is read once, whatever it is called, so that imports in a circle end. */
static uint32_t read_before(const Ctx *ctx, const char *path) {
    struct stat x, y;
    if (stat(path, &x))
        return 0;
    for (uint32_t k = 1; k <= ctx->n_files; k++)
        if (stat(ctx->files[k].name, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino)
            return k;
    return 0;
}

/* Beside the importing file, else in the folders of -I. */
static const char *find_import(Session *s, const char *from, const char *path) {
    const char *slash = strrchr(from, '/');
    const char *first = path[0] == '/' || !slash ? path : str_fmt(s->ctx, "%.*s/%s", (int)(slash - from), from, path);
    if (path[0] == '/' || access(first, R_OK) == 0)
        return first;
    for (int k = 0; k < s->o.include.n; k++) {
        const char *other = str_fmt(s->ctx, "%s/%s", s->o.include.p[k], path);
        if (access(other, R_OK) == 0)
            return other;
    }
    return first;
}

static const char *load_import(Ctx *ctx, void *self, const char *path, Span span, uint32_t *file) {
    Session *s = self;
    const char *full = find_import(s, ctx->files[span.file].name, path);
    struct stat st;
    FILE *f = fopen(full, "rb");
    if (!f || (fstat(fileno(f), &st) == 0 && S_ISDIR(st.st_mode))) {
        const char *why = str_fmt(ctx, "cannot read `%s`: %s", full, strerror(f ? EISDIR : errno));
        session_fail(s, EXIT_FILE);
        if (f)
            fclose(f);
        return why;
    }
    if ((*file = read_before(ctx, full)) != 0) {
        fclose(f);
        return NULL;
    }
    StrBuf sb = sb_new(s->arena);
    static const size_t most = (size_t)1 << 40;
    if (f != stdin && S_ISREG(st.st_mode) && st.st_size > 0 && (size_t)st.st_size < most)
        sb_reserve(&sb, (size_t)st.st_size + 1);
    char block[65536];
    for (size_t n; (n = fread(block, 1, sizeof block, f)) > 0;)
        sb_putn(&sb, block, n);
    fclose(f);
    *file = ctx_add_file(ctx, full, sb.text, sb.len);
    return NULL;
}

static void parse_defines(Session *s) {
    if (s->defines || !s->o.define.n)
        return;
    s->defines = ARENA_ARRAY(s->arena, Define, s->o.define.n);
    for (int k = 0; k < s->o.define.n; k++) {
        const char *text = s->o.define.p[k], *eq = strchr(text, '=');
        char *end = NULL;
        Define *d = &s->defines[s->n_defines++];
        double v = eq ? strtod(eq + 1, &end) : 0;
        if (!eq || end == eq + 1 || *end) {
            session_usage(s, "-D wants NAME=VALUE, not `%s`", text);
            continue;
        }
        *d = (Define){.name = str_intern(s->ctx, text, (size_t)(eq - text)), .value = v};
        d->is_int = !strpbrk(eq + 1, ".eE") && real_is_int(v);
    }
}

LowerOptions session_lower_options(Session *s, const char *only) {
    parse_defines(s);
    LowerOptions o = {.mle = s->o.mle, .defines = s->defines, .n_defines = s->n_defines, .only = only, .load_import = load_import, .load_self = s};
    o.real = !s->o.real ? DT_NONE : strcmp(s->o.real, "f32") == 0 ? DT_F32 : DT_F64;
    return o;
}

Module *session_lower(Session *s, const AstFile *file, const char *only) {
    LowerOptions o = session_lower_options(s, only);
    return session_lower_with(s, file, &o);
}

Module *session_lower_with(Session *s, const AstFile *file, const LowerOptions *given) {
    LowerOptions o = *given;
    size_t n = s->o.prefix ? strlen(s->o.prefix) : 0;
    o.base = session_base(s, s->ctx->files[file->file].name);
    o.prefix = n && s->o.prefix[n - 1] == '_' ? s->o.prefix : NULL;
    Module *m = s->status ? NULL : frontend_lower(s->ctx, s->arena, file, &o);
    for (int k = 0; m && k < s->n_defines; k++)
        if (!s->defines[k].used)
            session_usage(s, "-D %s: there is no such constant, dim or formal", s->defines[k].name);
    if (diag_any_error(s->ctx))
        session_fail(s, EXIT_PROGRAM);
    return s->status ? NULL : m;
}

/* A row by its name, or the plainest one of a triple's architecture: x86_64-pc-linux-gnu. */
static const Target *target_of_name(Session *s, const char *name) {
    const Target *t = target_named(name);
    size_t n = strcspn(name, "-");
    if (!t && strstr(name + n, "linux"))
        t = target_for_cpu(str_intern(s->ctx, name, n));
    if (!t)
        session_usage(s, "there is no target `%s`: a row of `cnnc list targets`, or a triple of Linux, x86_64-linux-gnu or aarch64-linux-gnu", name);
    return t;
}

static const Target *row_of_target(Session *s) {
    const char *cpu = s->o.mcpu ? s->o.mcpu : s->o.march;
    if (s->o.target)
        return target_of_name(s, s->o.target);
    if (cpu && strcmp(cpu, "native") != 0) {
        const Target *t = target_for_cpu(cpu);
        if (!t)
            session_usage(s, "the CPU `%s` is not known; `cnnc list targets` shows those that are", cpu);
        return t;
    }
    return codegen_host(s->ctx);
}

/* "+vaes,-gfni": each with its sign. */
static bool are_features(const char *text) {
    for (;; text++) {
        size_t n = strcspn(text, ",");
        if (n < 2 || (*text != '+' && *text != '-'))
            return false;
        text += n;
        if (!*text)
            return true;
    }
}

/* -mattr changes what LLVM may use, not what the passes plan for. */
static const Target *target_of(Session *s) {
    const Target *row = row_of_target(s);
    if (!row || !s->o.mattr)
        return row;
    if (!are_features(s->o.mattr)) {
        session_usage(s, "-mattr is a list of features, each with its sign: -mattr=+vaes,-gfni");
        return row;
    }
    Target *t = ARENA_NEW(s->arena, Target);
    *t = *row;
    t->features = row->features && *row->features ? str_fmt(s->ctx, "%s,%s", row->features, s->o.mattr) : s->o.mattr;
    return t;
}

void session_skip(Session *s, const AbiEntryKind *kinds, int n) {
    for (int k = 0; k < n; k++)
        s->skip_entries |= 1u << kinds[k];
}

Unit session_unit(Session *s, Module *m) {
    Unit u = {.ctx = s->ctx, .arena = s->arena, .graph = m, .target = target_of(s), .groups = (int)s->o.groups, .rows = 16, .skip_entries = s->skip_entries};
    if (s->o.method && !pass_fit_way(s->o.method, &u.fit_way))
        session_usage(s, "--method=%s: it is one of auto, closed, lsq, newton, lbfgs", s->o.method);
    return u;
}

static PassOptions pass_options(const Session *s, StrBuf *dumps) {
    const Options *o = &s->o;
    return (PassOptions){.only = o->only.n ? o->only.p : NULL, .n_only = o->only.n, .stop_after = o->stop_after, .disabled = o->disabled.p, .n_disabled = o->disabled.n,
                     .print_before = o->before.p, .n_print_before = o->before.n, .print_after = o->after.p, .n_print_after = o->after.n, .time_passes = o->time_passes, .dumps = dumps};
}

bool session_passes(Session *s, Unit *u) {
    StrBuf dumps = sb_new(s->arena);
    PassOptions p = pass_options(s, &dumps);
    const char *why = NULL;
    u->keep_before_tile = true;
    if (s->status || !u->target)
        return false;
    session_say(s, "%s compiled for %s by the passes of cnnc " CNNC_VERSION " and %s", u->graph->source, u->target->name, codegen_version(s->ctx));
    bool ok = pass_run(u, &p, &why);
    fwrite(dumps.text, 1, dumps.len, stderr);
    if (!ok)
        session_usage(s, "%s", why);
    else if (diag_any_error(s->ctx))
        session_fail(s, EXIT_PROGRAM);
    s->unit = *u;
    s->tilings = 0;
    return s->status == 0;
}

bool session_sees_spills(const LoopModule *m, const CodegenOptions *o) { return m->tiles.n && o->level >= 2; }

/* Is there a tile with fewer sums than those of its name that are given up already? Else what spills is no tile, and taking
 * others would change nothing. */
static bool has_next_tiles(const Unit *u, const CodeSpills *spills) {
    for (int k = 0; k < spills->tiles.n; k++) {
        bool known = false;
        for (int j = 0; j < u->n_spilled; j++)
            known |= u->spilled[j].name == spills->tiles.p[k].name && u->spilled[j].sums <= spills->tiles.p[k].sums;
        if (!known)
            return true;
    }
    return false;
}

LoopModule *session_next_tiles(Session *s, const CodeSpills *spills) {
    enum { MOST = 8 };
    Unit *u = &s->unit;
    int n = u->n_spilled + spills->tiles.n;
    if (!has_next_tiles(u, spills) || !u->before_tile || s->tilings++ == MOST)
        return NULL;
    LoopTile *all = ARENA_ARRAY(s->arena, LoopTile, n);
    for (int k = 0; k < n; k++)
        all[k] = k < u->n_spilled ? u->spilled[k] : spills->tiles.p[k - u->n_spilled];
    u->spilled = all;
    u->n_spilled = n;
    StrBuf dumps = sb_new(s->arena);
    PassOptions p = pass_options(s, &dumps);
    session_say(s, "%d loops with tiles spill: others are taken", spills->tiles.n);
    pass_again(u, &p);
    fwrite(dumps.text, 1, dumps.len, stderr);
    return u->loops;
}

LoopModule *session_compile(Session *s, const char *path, const char *only) { return session_compile_file(s, session_parse(s, path), only); }

LoopModule *session_compile_file(Session *s, const AstFile *file, const char *only) {
    Module *m = file ? session_lower(s, file, only) : NULL;
    if (!m)
        return NULL;
    Unit u = session_unit(s, m);
    if (s->o.stop_after) {
        session_usage(s, "--stop-after is for `cnnc ir`");
        return NULL;
    }
    return session_passes(s, &u) ? u.loops : NULL;
}

CodegenOptions session_codegen(const Session *s) { return (CodegenOptions){.level = (int)s->o.level, .debug_lines = true, .lines_apart = s->o.debug}; }

void session_print_kernels(Session *s, LoopModule *m, bool run) {
    int n;
    CodegenOptions o = session_codegen(s);
    KernelInfo *all = codegen_kernels(s->ctx, s->arena, m, &o, &n);
    const Options *q = &s->o;
    if (all && run && !q->target && !q->mcpu && !q->march && !q->mattr)
        bench_kernels(s, m, all, n);
    if (all)
        codegen_print_kernels(s->ctx, &s->out, all, n);
}
