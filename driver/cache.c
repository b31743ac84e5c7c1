/* --cache=DIR: objects by the content they are made of. The key is the SHA-256 of the loop IR, the
 * target, the options and the versions of cnnc and LLVM; an entry holds its key and the SHA-256 of
 * its bytes. Entries are written under a temporary name and renamed. One that is no plain file of
 * this user, that others may write, or whose sizes or sums do not agree is not used. */
#include "driver/cache.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "driver/sha256.h"

enum { HEX = 64, MOST_OBJECTS = 1024 };
static const char MAGIC[8] = "cnncobj1";
static const size_t MOST_BYTES = (size_t)1 << 30;

/* The file: magic, key, sum of what follows, number of objects, their sizes, their bytes. */
typedef struct Head {
    char magic[8], key[HEX], sum[HEX];
    uint64_t n;
} Head;

static void key_of(Session *s, const LoopModule *m, const CodegenOptions *o, char *hex) {
    StrBuf sb = sb_new(s->arena);
    const Target *t = m->target;
    sb_printf(&sb, "%s %s\n%s %s %s\n%d %d %d %d %d\n%s\n%s\n", CNNC_VERSION,
              codegen_version(s->ctx), t->triple ? t->triple : codegen_triple(s->ctx), t->cpu,
              t->features ? t->features : "", o->level, o->debug_lines, o->lines_apart,
              o->poll_stop, o->trampolines, o->base ? o->base : "", o->manifest ? o->manifest : "");
    for (uint32_t k = 1; k <= s->ctx->n_files;
         k++) { /* line entries name them, without their folders */
        const char *name = s->ctx->files[k].name, *slash = strrchr(name, '/');
        sb_printf(&sb, "%s\n", slash ? slash + 1 : name);
    }
    loop_print(&sb, m);
    sha256_hex(sb.text, sb.len, hex);
}

static bool read_all(int fd, char *to, size_t len) {
    while (len) {
        ssize_t n = read(fd, to, len);
        if (n <= 0)
            return false;
        to += n;
        len -= (size_t)n;
    }
    return true;
}

/* The whole file if it is one to trust: plain, ours, and nobody else's to write. */
static char *read_entry(Session *s, const char *path, size_t *len) {
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    char *text = NULL;
    if (fd < 0)
        return NULL;
    bool good = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() &&
                !(st.st_mode & (S_IWGRP | S_IWOTH)) && st.st_size >= (off_t)sizeof(Head) &&
                (size_t)st.st_size <= MOST_BYTES;
    if (good) {
        *len = (size_t)st.st_size;
        text = arena_alloc(s->arena, *len);
        good = read_all(fd, text, *len);
    }
    close(fd);
    return good ? text : NULL;
}

static const CodeObject *entry_of(Session *s, const char *path, const char *key, int *n) {
    size_t len = 0;
    const char *text = read_entry(s, path, &len);
    Head h;
    char sum[HEX + 1];
    if (!text)
        return NULL;
    memcpy(&h, text, sizeof h);
    const char *rest = text + sizeof h;
    size_t left = len - sizeof h;
    if (memcmp(h.magic, MAGIC, sizeof MAGIC) != 0 || memcmp(h.key, key, HEX) != 0 || !h.n ||
        h.n > MOST_OBJECTS || left < h.n * sizeof(uint64_t))
        return NULL;
    sha256_hex(rest, left, sum);
    if (memcmp(h.sum, sum, HEX) != 0)
        return NULL;
    CodeObject *all = ARENA_ARRAY(s->arena, CodeObject, h.n);
    const char *at = rest + h.n * sizeof(uint64_t);
    left -= h.n * sizeof(uint64_t);
    for (uint64_t k = 0; k < h.n; k++) {
        uint64_t size;
        memcpy(&size, rest + k * sizeof size, sizeof size);
        if (size > left)
            return NULL;
        all[k] = (CodeObject){at, (size_t)size};
        at += size;
        left -= (size_t)size;
    }
    *n = (int)h.n;
    return left ? NULL : all;
}

static bool save_entry(Session *s, const char *path, const char *key, const CodeObject *all,
                       int n) {
    StrBuf sb = sb_new(s->arena);
    Head h = {.n = (uint64_t)n};
    char sum[HEX + 1];
    for (int k = 0; k < n; k++) {
        uint64_t size = all[k].len;
        sb_putn(&sb, (const char *)&size, sizeof size);
    }
    for (int k = 0; k < n; k++)
        sb_putn(&sb, all[k].bytes, all[k].len);
    memcpy(h.magic, MAGIC, sizeof MAGIC);
    memcpy(h.key, key, HEX);
    sha256_hex(sb.text, sb.len, sum);
    memcpy(h.sum, sum, HEX);
    StrBuf whole = sb_new(s->arena);
    sb_putn(&whole, (const char *)&h, sizeof h);
    sb_putn(&whole, sb.text, sb.len);
    mode_t mask = umask(077);
    bool ok = session_write(s, path, whole.text, whole.len);
    umask(mask);
    return ok;
}

const CodeObject *cache_objects(Session *s, const LoopModule *m, const CodegenOptions *o, int *n) {
    if (!s->o.cache)
        return codegen_objects(s->ctx, s->arena, m, o, n);
    char key[HEX + 1];
    loop_assign_offsets((LoopModule *)(uintptr_t)m);
    if (diag_any_error(s->ctx))
        return NULL;
    key_of(s, m, o, key);
    const char *path = str_fmt(s->ctx, "%s/%s", s->o.cache, key);
    const CodeObject *all = entry_of(s, path, key, n);
    if (all)
        return all;
    all = codegen_objects(s->ctx, s->arena, m, o, n);
    if (!all || (o->spills && o->spills->tiles.n)) /* what will not be used is not kept */
        return all;
    mkdir(s->o.cache,
          0700); /* where it cannot be made, the file cannot be written: the error names it */
    return save_entry(s, path, key, all, *n) ? all : NULL;
}
