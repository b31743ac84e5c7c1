/* Arrays of a .npz file: a zip archive of .npy files, stored or deflated (numpy.savez,
 * savez_compressed). The directory at its end says where they are; every number in it is checked
 * against the file before it is used. */
#include <string.h>
#include <zlib.h>

#include "driver/data/array.h"

enum {
    END = 22,
    ENTRY = 46,
    LOCAL = 30,
    MOST_COMMENT = 65535,
    MOST_FOLD = 1032 /* deflate's best ratio */
};

typedef struct Zip {
    Session *s;
    const char *path;
    const unsigned char *b;
    size_t len;
} Zip;

typedef struct Entry {
    const char *name; /* without .npy */
    unsigned method, flags;
    uint32_t crc;
    uint64_t packed, size, local;
} Entry;

typedef VEC(Entry) Entries;

static uint64_t number(const unsigned char *b, int n) {
    uint64_t v = 0;
    for (int k = 0; k < n; k++)
        v |= (uint64_t)b[k] << (8 * k);
    return v;
}

static bool bad(const Zip *z, const char *why) {
    session_file_error(z->s, (Span){0}, "`%s` is no .npz archive that can be read: %s", z->path,
                       why);
    return false;
}

/* The record at the end of the file, before its comment; SIZE_MAX: there is none. */
static size_t find_end(const Zip *z) {
    for (size_t back = END; back <= z->len && back <= END + MOST_COMMENT; back++)
        if (memcmp(z->b + z->len - back, "PK\5\6", 4) == 0)
            return z->len - back;
    return SIZE_MAX;
}

/* Large archives: sizes that 32 bits do not hold stand in a field of their own, in this order. */
static bool wide_sizes(Entry *e, const unsigned char *extra, size_t n) {
    uint64_t *fields[] = {&e->size, &e->packed, &e->local};
    while (n >= 4) {
        size_t own = (size_t)number(extra + 2, 2);
        if (own > n - 4)
            return false;
        const unsigned char *at = extra + 4;
        for (int k = 0; number(extra, 2) == 1 && k < 3; k++) {
            if (*fields[k] != UINT32_MAX)
                continue;
            if (own < 8)
                return false;
            *fields[k] = number(at, 8);
            at += 8;
            own -= 8;
        }
        size_t step = 4 + (size_t)number(extra + 2, 2);
        extra += step;
        n -= step;
    }
    return true;
}

static bool read_entry(Zip *z, size_t *at, Entry *e) {
    if (z->len < ENTRY || *at > z->len - ENTRY || memcmp(z->b + *at, "PK\1\2", 4) != 0)
        return bad(z, "its directory is damaged");
    const unsigned char *b = z->b + *at;
    size_t name = (size_t)number(b + 28, 2), extra = (size_t)number(b + 30, 2),
           comment = (size_t)number(b + 32, 2);
    if (name + extra + comment > z->len - *at - ENTRY)
        return bad(z, "its directory is damaged");
    const char *text = (const char *)b + ENTRY;
    size_t npy = name > 4 && memcmp(text + name - 4, ".npy", 4) == 0 ? 4 : 0;
    *e = (Entry){.name = str_intern(z->s->ctx, text, name - npy),
                 .flags = (unsigned)number(b + 8, 2),
                 .method = (unsigned)number(b + 10, 2),
                 .crc = (uint32_t)number(b + 16, 4),
                 .packed = number(b + 20, 4),
                 .size = number(b + 24, 4),
                 .local = number(b + 42, 4)};
    *at += ENTRY + name + extra + comment;
    return wide_sizes(e, b + ENTRY + name, extra) || bad(z, "its directory is damaged");
}

static bool read_directory(Zip *z, Entries *all) {
    size_t end = find_end(z);
    if (end == SIZE_MAX)
        return bad(z, "it does not end in a directory");
    uint64_t n = number(z->b + end + 10, 2), at = number(z->b + end + 16, 4);
    if (at == UINT32_MAX && end >= 20 &&
        memcmp(z->b + end - 20, "PK\6\7", 4) == 0) { /* the directory lies beyond 4 GB */
        uint64_t wide = number(z->b + end - 12, 8);
        if (z->len < 56 || wide > z->len - 56 || memcmp(z->b + wide, "PK\6\6", 4) != 0)
            return bad(z, "its directory is damaged");
        at = number(z->b + wide + 48, 8);
    }
    if (at > z->len)
        return bad(z, "its directory is damaged");
    size_t next = (size_t)at;
    for (uint64_t k = 0; k < n; k++) {
        Entry e;
        if (!read_entry(z, &next, &e))
            return false;
        vec_push(z->s->arena, all, e);
    }
    return true;
}

static const Entry *choose(const Zip *z, const Entries *all, const char *name) {
    StrBuf names = sb_new(z->s->arena);
    for (int k = 0; k < all->n; k++) {
        if (name ? strcmp(all->p[k].name, name) == 0 : all->n == 1)
            return &all->p[k];
        if (k < 8)
            sb_printf(&names, "%s`%s`", k ? ", " : "", all->p[k].name);
    }
    const char *more = all->n > 8 ? ", ..." : "";
    if (!all->n)
        session_file_error(z->s, (Span){0}, "`%s` holds no array", z->path);
    else if (name)
        session_file_error(z->s, (Span){0}, "`%s` holds no array `%s`; it has %s%s", z->path, name,
                           names.text, more);
    else
        session_file_error(z->s, (Span){0},
                           "`%s` holds %d arrays: say which, `%s:NAME`; it has %s%s", z->path,
                           all->n, z->path, names.text, more);
    return NULL;
}

static bool inflate_entry(const unsigned char *from, const Entry *e, char *to) {
    z_stream st = {.next_in = (unsigned char *)(uintptr_t)from, .next_out = (unsigned char *)to};
    if (inflateInit2(&st, -MAX_WBITS) != Z_OK)
        return false;
    uint64_t in = e->packed, out = e->size;
    int rc = Z_OK;
    while (rc == Z_OK) { /* zlib counts in 32 bits */
        st.avail_in = in > 1u << 30 ? 1u << 30 : (unsigned)in;
        st.avail_out = out > 1u << 30 ? 1u << 30 : (unsigned)out;
        unsigned had_in = st.avail_in, had_out = st.avail_out;
        rc = inflate(&st, Z_NO_FLUSH);
        in -= had_in - st.avail_in;
        out -= had_out - st.avail_out;
        if (rc == Z_OK && had_in == st.avail_in && had_out == st.avail_out)
            break;
    }
    inflateEnd(&st);
    return rc == Z_STREAM_END && in == 0 && out == 0;
}

static bool crc_holds(const Entry *e, const char *bytes) {
    uLong crc = crc32_z(crc32(0, NULL, 0), (const unsigned char *)bytes, (size_t)e->size);
    return (uint32_t)crc == e->crc;
}

/* The bytes of an entry, in the arena. */
static char *unpack(const Zip *z, const Entry *e) {
    if (e->flags & 1)
        return bad(z, "it is encrypted"), NULL;
    if (e->method != 0 && e->method != 8)
        return bad(z, "an array is compressed in another way than deflate"), NULL;
    if (z->len < LOCAL || e->local > z->len - LOCAL || memcmp(z->b + e->local, "PK\3\4", 4) != 0)
        return bad(z, "its directory is damaged"), NULL;
    uint64_t start =
        e->local + LOCAL + number(z->b + e->local + 26, 2) + number(z->b + e->local + 28, 2);
    bool stored = e->method == 0;
    if (start > z->len || e->packed > z->len - start ||
        (stored ? e->size != e->packed : e->size / MOST_FOLD > e->packed))
        return bad(z, "a size in its directory cannot be"), NULL;
    char *to = arena_alloc(z->s->arena, (size_t)e->size + 1);
    if (stored)
        memcpy(to, z->b + start, (size_t)e->size);
    if ((!stored && !inflate_entry(z->b + start, e, to)) || !crc_holds(e, to))
        return bad(z, "an array is damaged: its checksum does not hold"), NULL;
    return to;
}

Array *npz_read(Session *s, const char *path, const char *bytes, size_t len, const char *name) {
    Zip z = {s, path, (const unsigned char *)bytes, len};
    Entries all = {0};
    if (!read_directory(&z, &all))
        return NULL;
    const Entry *e = choose(&z, &all, name);
    char *npy = e ? unpack(&z, e) : NULL;
    return npy ? npy_read(s, str_fmt(s->ctx, "%s:%s", path, e->name), npy, (size_t)e->size) : NULL;
}
