/* From an object to a shared library or archive, by the system's ld and ar, without a shell. Everything is made under
 * temporary names in the output's directory and renamed at the end: nothing is half-written. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/diag.h"
#include "codegen/codegen.h"

extern char **environ;

static const Span nowhere = {0};

static bool fail(Ctx *ctx, const char *what, const char *path) {
    diag_error(ctx, "E0904", nowhere, "cannot %s `%s`: %s", what, path, strerror(errno));
    return false;
}

/* A new file beside path, mode 0600, with this content; its name, or NULL. */
static const char *temporary(Ctx *ctx, const char *path, const char *suffix, const char *data, size_t len) {
    for (int k = 0; k < 100; k++) {
        Str name = str_fmt(ctx, "%s.%ld.%d%s", path, (long)getpid(), k, suffix);
        int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0 && errno == EEXIST)
            continue;
        if (fd < 0)
            break;
        while (len) {
            ssize_t n = write(fd, data, len);
            if (n < 0 && errno == EINTR)
                continue;
            if (n <= 0)
                break;
            data += n;
            len -= (size_t)n;
        }
        int saved = errno;
        bool ok = close(fd) == 0 && len == 0;
        if (ok)
            return name;
        errno = len ? saved : errno;
        unlink(name);
        break;
    }
    fail(ctx, "write", path);
    return NULL;
}

/* In a folder with standard input from a file there, or where and as this process is (NULL). */
static int start(pid_t *pid, char *const argv[], const char *folder, const char *input) {
    posix_spawn_file_actions_t actions;
    int rc = posix_spawn_file_actions_init(&actions);
    if (rc == 0 && folder)
        rc = posix_spawn_file_actions_addchdir_np(&actions, folder);
    if (rc == 0 && input)
        rc = posix_spawn_file_actions_addopen(&actions, 0, input, O_RDONLY, 0);
    rc = rc ? rc : posix_spawnp(pid, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    return rc;
}

static bool run(Ctx *ctx, char *const argv[], const char *folder, const char *input) {
    pid_t pid;
    int status = 0, rc = start(&pid, argv, folder, input);
    if (rc) {
        errno = rc;
        return fail(ctx, "run", argv[0]);
    }
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return fail(ctx, "wait for", argv[0]);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return true;
    diag_error(ctx, "E0905", nowhere, "`%s` failed with status %d", argv[0], WIFEXITED(status) ? WEXITSTATUS(status) : -1);
    return false;
}

/* The folder of the program, or of libcnnc where the compiler is part of another one. */
static const char *own_folder(Ctx *ctx, bool library) {
    char exe[4096];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    static const char here = 0;
    Dl_info info;
    exe[n < 0 ? 0 : n] = 0;
    if (library && (!dladdr(&here, &info) || !realpath(info.dli_fname, exe)))
        return NULL;
    const char *slash = strrchr(exe, '/');
    return slash ? str_intern(ctx, exe, (size_t)(slash - exe)) : NULL;
}

/* The runtime's archive: beside the program or library, in the installation, or where it was built. */
static const char *runtime_archive(Ctx *ctx) {
    static const char *const places[] = {"libcnnrt.a", "../lib/cnnc/libcnnrt.a", "cnnc/libcnnrt.a", "../cnnc/libcnnrt.a"};
    for (int library = 0; library < 2; library++) {
        const char *folder = own_folder(ctx, library);
        for (size_t k = 0; folder && k < sizeof places / sizeof *places; k++) {
            const char *path = str_fmt(ctx, "%s/%s", folder, places[k]);
            if (access(path, R_OK) == 0)
                return path;
        }
    }
    if (access(CNNC_RUNTIME_ARCHIVE, R_OK) == 0)
        return CNNC_RUNTIME_ARCHIVE;
    diag_error(ctx, "E0906", nowhere, "the runtime library libcnnrt.a is not found beside cnnc");
    return NULL;
}

static const char *version_script(Ctx *ctx, const LoopModule *m, const char *base) {
    StrBuf sb = sb_new(&ctx->perm);
    sb_printf(&sb, "{ global: %s_strerror; %s_manifest;", base, base);
    for (int k = 0; k < m->funcs.n; k++)
        sb_printf(&sb, " %s;", m->funcs.p[k]->entry->cname);
    sb_put(&sb, " local: *; };\n");
    return sb.text;
}

static bool rename_over(Ctx *ctx, const char *from, const char *to, mode_t mode) {
    mode_t mask = umask(0);
    umask(mask);
    if (chmod(from, mode & ~mask) == 0 && rename(from, to) == 0)
        return true;
    fail(ctx, "write", to);
    unlink(from);
    return false;
}

bool codegen_link_so(Ctx *ctx, const LoopModule *m, const char *base, const CodeObject *objects, int n, const char *path) {
    const char *rt = runtime_archive(ctx), *script = version_script(ctx, m, base);
    VEC(const char *) made = {0}, args = {0};
    Arena *a = &ctx->perm;
    bool ok = rt != NULL;
    for (int k = 0; ok && k < n; k++) {
        const char *o = temporary(ctx, path, ".o", objects[k].bytes, objects[k].len);
        if ((ok = o != NULL))
            vec_push(a, &made, o);
    }
    const char *v = ok ? temporary(ctx, path, ".ver", script, strlen(script)) : NULL;
    const char *out = v ? temporary(ctx, path, ".so", "", 0) : NULL;
    ok = false;
    if (out) {
        const char *before[] = {"ld", "-shared", "-o", out};
        const char *after[] = {rt, str_fmt(ctx, "--version-script=%s", v), "-z", "relro", "-z", "now", "-z", "noexecstack",
                               "--build-id=none", "--hash-style=gnu", "--gc-sections", "--as-needed", "-l:libm.so.6", "-l:libc.so.6", NULL};
        for (size_t k = 0; k < sizeof before / sizeof *before; k++)
            vec_push(a, &args, before[k]);
        for (int k = 0; k < made.n; k++)
            vec_push(a, &args, made.p[k]);
        for (size_t k = 0; k < sizeof after / sizeof *after; k++)
            vec_push(a, &args, after[k]);
        ok = run(ctx, (char *const *)(uintptr_t)args.p, NULL, NULL) && rename_over(ctx, out, path, 0777);
        if (!ok)
            unlink(out);
    }
    for (int k = 0; k < made.n; k++)
        unlink(made.p[k]);
    if (v)
        unlink(v);
    return ok;
}

static bool put(Ctx *ctx, const char *path, const char *data, size_t len) {
    const char *made = temporary(ctx, path, "", data, len);
    return made && rename_over(ctx, made, path, 0600);
}

/* Its members are BASE.o and the runtime's: what it needs of that, a program takes from the first archive that has it. A member has the
 * name of its file, so all happens in a folder of its own, by short names. */
bool codegen_archive(Ctx *ctx, const char *base, const char *object, size_t len, const char *path) {
    const char *rt = runtime_archive(ctx), *folder = str_fmt(ctx, "%s.%ld.dir", path, (long)getpid());
    if (!rt || mkdir(folder, 0700) != 0)
        return rt && fail(ctx, "write", path);
    const char *script = str_fmt(ctx, "create out.a\naddmod %s.o\naddlib rt.a\nsave\nend\n", base);
    const char *o = str_fmt(ctx, "%s/%s.o", folder, base), *link = str_fmt(ctx, "%s/rt.a", folder);
    const char *steps = str_fmt(ctx, "%s/steps", folder), *out = str_fmt(ctx, "%s/out.a", folder);
    const char *argv[] = {"ar", "-MD", NULL};
    bool ok = put(ctx, o, object, len) && put(ctx, steps, script, strlen(script));
    if (ok && symlink(rt, link) != 0)
        ok = fail(ctx, "write", link);
    ok = ok && run(ctx, (char *const *)(uintptr_t)argv, folder, "steps") && rename_over(ctx, out, path, 0666);
    const char *made[] = {o, link, steps, out};
    for (size_t k = 0; k < sizeof made / sizeof *made; k++)
        unlink(made[k]);
    rmdir(folder);
    return ok;
}
