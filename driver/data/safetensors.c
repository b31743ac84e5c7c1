/* safetensors (huggingface/safetensors, format description): u64 length, JSON header, data without holes. Jansson parses the
 * header; everything else is checked here. */
#include <jansson.h>
#include <string.h>

#include "driver/data/array.h"

enum { MOST_HEADER = 100000000, MOST_TENSORS = 1000000 };

static const struct {
    const char *name;
    Cell cell;
} types[] = {{"BOOL", CELL_BOOL}, {"U8", CELL_U8}, {"I8", CELL_I8}, {"U16", CELL_U16}, {"I16", CELL_I16}, {"U32", CELL_U32},
             {"I32", CELL_I32}, {"U64", CELL_U64}, {"I64", CELL_I64}, {"F32", CELL_F32}, {"F64", CELL_F64}};

typedef struct Reader {
    Session *s;
    const char *path, *data;
    size_t len; /* of data */
    uint64_t covered;
} Reader;

static bool bad(Session *s, const char *path, const char *why) {
    session_file_error(s, (Span){0}, "`%s` is no safetensors file that can be read: %s", path, why);
    return false;
}

static bool whole(json_t *v, int64_t *out) {
    if (!json_is_integer(v) || json_integer_value(v) < 0)
        return false;
    *out = json_integer_value(v);
    return true;
}

static bool tensor(Reader *r, Tensors *out, const char *name, json_t *t) {
    Session *s = r->s;
    json_t *dtype = json_object_get(t, "dtype"), *dims = json_object_get(t, "shape"), *offsets = json_object_get(t, "data_offsets");
    int64_t shape[ARRAY_MOST_RANK], from, to, count = 1;
    if (!json_is_string(dtype) || !json_is_array(dims) || !json_is_array(offsets) || json_array_size(offsets) != 2 || json_object_size(t) != 3)
        return bad(s, r->path, str_fmt(s->ctx, "tensor `%.100s` has no dtype, shape and data_offsets", name));
    if (json_array_size(dims) > ARRAY_MOST_RANK)
        return bad(s, r->path, str_fmt(s->ctx, "tensor `%.100s` has too many axes", name));
    for (size_t k = 0; k < json_array_size(dims); k++)
        if (!whole(json_array_get(dims, k), &shape[k]) || __builtin_mul_overflow(count, shape[k], &count))
            return bad(s, r->path, str_fmt(s->ctx, "tensor `%.100s` has a shape that is no list of sizes", name));
    if (!whole(json_array_get(offsets, 0), &from) || !whole(json_array_get(offsets, 1), &to) || from > to || (uint64_t)to > r->len)
        return bad(s, r->path, str_fmt(s->ctx, "tensor `%.100s` has offsets outside the data", name));
    for (size_t k = 0; k < sizeof types / sizeof *types; k++) {
        int64_t bytes;
        if (strcmp(types[k].name, json_string_value(dtype)) != 0)
            continue;
        if (__builtin_mul_overflow(count, (int64_t)cell_size(types[k].cell), &bytes) || bytes != to - from)
            return bad(s, r->path, str_fmt(s->ctx, "tensor `%.100s` has offsets that do not match its shape", name));
        Array *a = array_new(s, types[k].cell, (int)json_array_size(dims), shape, str_fmt(s->ctx, "%s:%s", r->path, name));
        if (!a)
            return false;
        if (bytes)
            memcpy(a->data, r->data + from, (size_t)bytes);
        r->covered += (uint64_t)bytes;
        NamedArray n = {str_of(s->ctx, name), a};
        vec_push(s->arena, &out->all, n);
        return true;
    }
    return bad(s, r->path, str_fmt(s->ctx, "tensor `%.100s` has the unknown dtype %.20s", name, json_string_value(dtype)));
}

static bool metadata(Reader *r, Tensors *out, json_t *m) {
    const char *key;
    json_t *v;
    if (!json_is_object(m))
        return bad(r->s, r->path, "its __metadata__ is no object");
    json_object_foreach(m, key, v) {
        if (!json_is_string(v))
            return bad(r->s, r->path, "its __metadata__ holds more than texts");
        Array *a = ARENA_NEW(r->s->arena, Array);
        a->origin = str_of(r->s->ctx, json_string_value(v));
        vec_push(r->s->arena, &out->meta, (NamedArray){str_of(r->s->ctx, key), a});
    }
    return true;
}

/* Offsets that are inside, as long as their tensors, and together as long as the data could still overlap and leave holes. */
static bool without_holes(Reader *r, json_t *root) {
    const char *key;
    json_t *t;
    uint8_t *seen = arena_array(r->s->arena, r->len / 8 + 1, 1);
    json_object_foreach(root, key, t) {
        json_t *o = json_object_get(t, "data_offsets");
        if (strcmp(key, "__metadata__") == 0)
            continue;
        int64_t from = json_integer_value(json_array_get(o, 0)), to = json_integer_value(json_array_get(o, 1));
        for (int64_t k = from; k < to; k++) {
            if (seen[k / 8] >> (k % 8) & 1)
                return bad(r->s, r->path, str_fmt(r->s->ctx, "tensor `%.100s` overlaps another", key));
            seen[k / 8] = (uint8_t)(seen[k / 8] | 1 << (k % 8));
        }
    }
    return r->covered == r->len || bad(r->s, r->path, "its data have holes, or go on after the last tensor");
}

static bool entries(Reader *r, Tensors *out, json_t *root) {
    const char *key;
    json_t *v;
    if (json_object_size(root) > MOST_TENSORS)
        return bad(r->s, r->path, "it has too many tensors");
    json_object_foreach(root, key, v) {
        bool ok = strcmp(key, "__metadata__") == 0 ? metadata(r, out, v) : json_is_object(v) ? tensor(r, out, key, v) : bad(r->s, r->path, "an entry of its header is no object");
        if (!ok)
            return false;
    }
    return without_holes(r, root);
}

bool safetensors_read(Session *s, const char *path, Tensors *out) {
    size_t len;
    char *bytes = session_read(s, path, &len);
    uint64_t n = 0;
    *out = (Tensors){0};
    if (!bytes)
        return false;
    for (int k = 7; k >= 0 && len >= 8; k--)
        n = n << 8 | (unsigned char)bytes[k];
    if (len < 8 || n > MOST_HEADER || n > len - 8 || n < 2 || bytes[8] != '{')
        return bad(s, path, "its header does not fit into it");
    json_error_t err;
    json_t *root = json_loadb(bytes + 8, (size_t)n, JSON_REJECT_DUPLICATES, &err);
    if (!root || !json_is_object(root)) {
        json_decref(root);
        return bad(s, path, root ? "its header is no object" : err.text);
    }
    Reader r = {.s = s, .path = path, .data = bytes + 8 + n, .len = len - 8 - (size_t)n};
    bool ok = entries(&r, out, root);
    json_decref(root);
    return ok;
}

bool json_texts(Session *s, const char *text, const char ***texts, int64_t *n) {
    json_t *list = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    bool ok = json_is_array(list);
    *n = (int64_t)json_array_size(list);
    *texts = ARENA_ARRAY(s->arena, const char *, *n + 1);
    for (int64_t k = 0; k < *n && ok; k++) {
        const char *t = json_string_value(json_array_get(list, (size_t)k));
        ok = t != NULL;
        (*texts)[k] = ok ? str_of(s->ctx, t) : NULL;
    }
    json_decref(list);
    return ok;
}

bool safetensors_write(Session *s, const char *path, const Tensors *t) {
    StrBuf head = sb_new(s->arena), all = sb_new(s->arena);
    uint64_t at = 0;
    sb_putc(&head, '{');
    for (int k = 0; k < t->meta.n; k++) {
        sb_put(&head, k ? "," : "\"__metadata__\":{");
        diag_json_text(&head, t->meta.p[k].name);
        sb_putc(&head, ':');
        diag_json_text(&head, t->meta.p[k].array->origin);
        sb_put(&head, k + 1 == t->meta.n ? "}" : "");
    }
    for (int k = 0; k < t->all.n; k++) {
        const Array *a = t->all.p[k].array;
        uint64_t bytes = (uint64_t)a->count * cell_size(a->cell);
        const char *dtype = "F64";
        for (size_t j = 0; j < sizeof types / sizeof *types; j++)
            dtype = types[j].cell == a->cell ? types[j].name : dtype;
        sb_put(&head, k || t->meta.n ? "," : "");
        diag_json_text(&head, t->all.p[k].name);
        sb_printf(&head, ":{\"dtype\":\"%s\",\"shape\":[", dtype);
        for (int j = 0; j < a->rank; j++)
            sb_printf(&head, "%s%lld", j ? "," : "", (long long)a->shape[j]);
        sb_printf(&head, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)at, (unsigned long long)(at + bytes));
        at += bytes;
    }
    sb_putc(&head, '}');
    while (head.len % 8)
        sb_putc(&head, ' ');
    for (int k = 0; k < 8; k++)
        sb_putc(&all, (char)((uint64_t)head.len >> 8 * k & 255));
    sb_putn(&all, head.text, head.len);
    for (int k = 0; k < t->all.n; k++)
        sb_putn(&all, t->all.p[k].array->data, (size_t)t->all.p[k].array->count * cell_size(t->all.p[k].array->cell));
    return session_write(s, path, all.text, all.len);
}
