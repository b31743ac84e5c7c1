/* IDX, the format of MNIST (yann.lecun.com/exdb/mnist): 0 0 type rank, big-endian extents, data; gzip accepted. */
#include <string.h>
#include <zlib.h>

#include "driver/data/array.h"

static Array *bad(Session *s, const char *path, const char *why) {
    session_file_error(s, (Span){0}, "`%s` is no IDX file that can be read: %s", path, why);
    return NULL;
}

typedef struct Source {
    const char *bytes;
    size_t len, at;
    z_stream z;
    bool gzip, failed;
} Source;

/* Exactly n bytes, or false. */
static bool take(Source *src, void *out, size_t n) {
    if (!src->gzip) {
        if (n > src->len - src->at)
            return false;
        memcpy(out, src->bytes + src->at, n);
        src->at += n;
        return true;
    }
    char *to = out;
    while (n) {
        uInt part = n > 1u << 30 ? 1u << 30 : (uInt)n;
        src->z.next_out = (Bytef *)to;
        src->z.avail_out = part;
        int rc = inflate(&src->z, Z_NO_FLUSH);
        size_t got = part - src->z.avail_out;
        to += got;
        n -= got;
        if (rc == Z_STREAM_END && n && src->z.avail_in) { /* concatenated members */
            if (inflateReset(&src->z) != Z_OK)
                return false;
        } else if (n && (rc != Z_OK || got == 0)) {
            return false;
        }
    }
    return true;
}

/* Nothing but the end (and a right checksum) may follow. */
static bool at_end(Source *src) {
    char more;
    if (!src->gzip)
        return src->at == src->len;
    src->z.next_out = (Bytef *)&more;
    src->z.avail_out = 1;
    int rc = inflate(&src->z, Z_FINISH);
    return rc == Z_STREAM_END && src->z.avail_out == 1 && src->z.avail_in == 0;
}

static void big_endian(void *data, size_t n, size_t size) {
    for (char *p = data; n && size > 1; n--, p += size)
        for (size_t k = 0; k < size / 2; k++) {
            char t = p[k];
            p[k] = p[size - 1 - k];
            p[size - 1 - k] = t;
        }
}

static Array *read_from(Session *s, const char *path, Source *src) {
    static const struct {
        unsigned char code;
        Cell cell;
    } types[] = {{0x08, CELL_U8}, {0x09, CELL_I8}, {0x0b, CELL_I16}, {0x0c, CELL_I32}, {0x0d, CELL_F32}, {0x0e, CELL_F64}};
    unsigned char magic[4], d[4];
    int64_t shape[ARRAY_MOST_RANK], count = 1;
    if (!take(src, magic, 4) || magic[0] || magic[1])
        return bad(s, path, "it does not begin with two zero bytes");
    if (magic[3] < 1 || magic[3] > ARRAY_MOST_RANK)
        return bad(s, path, str_fmt(s->ctx, "its rank is %d", magic[3]));
    for (int k = 0; k < magic[3]; k++) {
        if (!take(src, d, 4))
            return bad(s, path, "it ends in its header");
        shape[k] = (int64_t)d[0] << 24 | d[1] << 16 | d[2] << 8 | d[3];
        if (__builtin_mul_overflow(count, shape[k], &count))
            return bad(s, path, "its shape overflows");
    }
    for (size_t k = 0; k < sizeof types / sizeof *types; k++) {
        if (types[k].code != magic[2])
            continue;
        size_t size = cell_size(types[k].cell);
        /* gzip shrinks at most by 1032 : 1 (zlib), so a short file cannot hold much */
        uint64_t most = (uint64_t)src->len * (src->gzip ? 1040 : 1);
        if ((uint64_t)count > most / size)
            return bad(s, path, "its header promises more data than the file can hold");
        Array *a = array_new(s, types[k].cell, magic[3], shape, path);
        if (!a || !take(src, a->data, (size_t)count * size))
            return a ? bad(s, path, "it ends before its data do") : NULL;
        if (!at_end(src))
            return bad(s, path, src->gzip ? "its checksum is wrong, or data follow its end" : "data follow its end");
        big_endian(a->data, (size_t)count, size);
        return a;
    }
    return bad(s, path, str_fmt(s->ctx, "its element type 0x%02x is unknown", magic[2]));
}

Array *idx_read(Session *s, const char *path, const char *bytes, size_t len) {
    Source src = {.bytes = bytes, .len = len};
    src.gzip = len > 2 && (unsigned char)bytes[0] == 0x1f && (unsigned char)bytes[1] == 0x8b;
    if (src.gzip) {
        src.z.next_in = (Bytef *)(uintptr_t)bytes;
        src.z.avail_in = (uInt)len;
        if (len > UINT32_MAX || inflateInit2(&src.z, 16 + 15) != Z_OK)
            return bad(s, path, "zlib cannot begin");
    }
    Array *a = read_from(s, path, &src);
    if (src.gzip)
        inflateEnd(&src.z);
    return a;
}
