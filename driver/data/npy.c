/* NumPy's .npy, versions 1 to 3 (numpy/lib/format.py). The header is a Python literal of three keys; it is matched, never
 * evaluated. */
#include <string.h>

#include "driver/data/array.h"

enum { MOST_HEADER = 65536 };

static Array *bad(Session *s, const char *path, const char *why) {
    session_file_error(s, (Span){0}, "`%s` is no .npy array that can be read: %s", path, why);
    return NULL;
}

static const struct {
    const char *descr;
    Cell cell;
} types[] = {{"|b1", CELL_BOOL}, {"|u1", CELL_U8}, {"|i1", CELL_I8}, {"<u2", CELL_U16}, {"<i2", CELL_I16}, {"<u4", CELL_U32},
             {"<i4", CELL_I32}, {"<u8", CELL_U64}, {"<i8", CELL_I64}, {"<f4", CELL_F32}, {"<f8", CELL_F64}};

/* The text after `'key':`, or NULL. */
static const char *value_of(const char *header, const char *key) {
    const char *p = strstr(header, key);
    if (!p)
        return NULL;
    p += strlen(key);
    p += strspn(p, " ");
    if (*p != ':')
        return NULL;
    return p + 1 + strspn(p + 1, " ");
}

static bool parse_shape(const char *p, int *rank, int64_t *shape) {
    *rank = 0;
    if (*p++ != '(')
        return false;
    for (;;) {
        p += strspn(p, " ");
        if (*p == ')')
            return true;
        int64_t v = 0;
        int digits = 0;
        for (; *p >= '0' && *p <= '9' && digits < 18; p++, digits++)
            v = 10 * v + (*p - '0');
        if (!digits || *rank == ARRAY_MOST_RANK)
            return false;
        shape[(*rank)++] = v;
        p += strspn(p, " L");
        if (*p == ',')
            p++;
        else if (*p != ')')
            return false;
    }
}

/* Column-major data become row-major. */
static void transpose(Session *s, Array *a) {
    size_t size = cell_size(a->cell);
    char *from = a->data, *to = arena_array(s->arena, (size_t)a->count, size);
    int64_t at[ARRAY_MOST_RANK] = {0};
    for (int64_t k = 0; k < a->count; k++) {
        int64_t f = 0, step = 1;
        for (int d = 0; d < a->rank; d++) {
            f += at[d] * step;
            step *= a->shape[d];
        }
        memcpy(to + (size_t)k * size, from + (size_t)f * size, size);
        for (int d = a->rank - 1; d >= 0 && ++at[d] == a->shape[d]; d--)
            at[d] = 0;
    }
    a->data = to;
}

/* The cells of the file, which are the array's from now on where their place in memory suits them. */
static Array *array_of(Session *s, Cell c, int rank, const int64_t *shape, const char *path,
                       char *bytes) {
    if ((uintptr_t)bytes % cell_size(c) == 0)
        return array_over(s, c, rank, shape, path, bytes);
    Array *a = array_new(s, c, rank, shape, path);
    if (a)
        memcpy(a->data, bytes, (size_t)a->count * cell_size(c));
    return a;
}

Array *npy_read(Session *s, const char *path, char *b, size_t len) {
    const unsigned char *u = (const unsigned char *)b;
    if (len < 10 || memcmp(b, "\x93NUMPY", 6) != 0 || u[6] < 1 || u[6] > 3)
        return bad(s, path, "it does not begin with the magic of versions 1 to 3");
    size_t head = u[6] == 1 ? 10 : 12, n = u[8] | (size_t)u[9] << 8;
    if (u[6] > 1 && len >= 12)
        n |= (size_t)u[10] << 16 | (size_t)u[11] << 24;
    if (len < head || n > len - head || n > MOST_HEADER)
        return bad(s, path, "its header is longer than the file");
    const char *header = str_intern(s->ctx, b + head, n);
    const char *descr = value_of(header, "'descr'"), *order = value_of(header, "'fortran_order'"), *dims = value_of(header, "'shape'");
    int rank;
    int64_t shape[ARRAY_MOST_RANK];
    if (header[0] != '{' || !descr || !order || !dims || !parse_shape(dims, &rank, shape))
        return bad(s, path, "its header is not {'descr': .., 'fortran_order': .., 'shape': ..}");
    for (size_t k = 0; k < sizeof types / sizeof *types; k++) {
        if (descr[0] != '\'' || strncmp(descr + 1, types[k].descr, 3) != 0 || descr[4] != '\'')
            continue;
        int64_t count = 1;
        for (int d = 0; d < rank; d++)
            if (__builtin_mul_overflow(count, shape[d], &count))
                return bad(s, path, "its shape overflows");
        if ((uint64_t)count > SIZE_MAX / 8 || (size_t)count * cell_size(types[k].cell) != len - head - n)
            return bad(s, path, "its size does not match its shape");
        Array *a = array_of(s, types[k].cell, rank, shape, path, b + head + n);
        if (a && strncmp(order, "True", 4) == 0)
            transpose(s, a);
        return a;
    }
    int shown = *descr == '\'' ? 2 + (int)strcspn(descr + 1, "'") : 20;
    return bad(s, path, str_fmt(s->ctx, "the element type %.*s is none of little-endian integers, bools and reals of 4 or 8 bytes", shown < 20 ? shown : 20, descr));
}

void npy_write(StrBuf *sb, const Array *a) {
    StrBuf h = sb_new(sb->arena);
    const char *descr = "<f8";
    for (size_t k = 0; k < sizeof types / sizeof *types; k++)
        descr = types[k].cell == a->cell ? types[k].descr : descr;
    sb_printf(&h, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
    for (int k = 0; k < a->rank; k++)
        sb_printf(&h, "%lld%s", (long long)a->shape[k], a->rank == 1 ? "," : k + 1 < a->rank ? ", " : "");
    sb_put(&h, "), }");
    while ((10 + h.len + 1) % 64)
        sb_putc(&h, ' ');
    sb_putc(&h, '\n');
    sb_putn(sb, "\x93NUMPY\x01\x00", 8);
    sb_putc(sb, (char)(h.len & 255));
    sb_putc(sb, (char)(h.len >> 8));
    sb_putn(sb, h.text, h.len);
    sb_putn(sb, a->data, (size_t)a->count * cell_size(a->cell));
}
