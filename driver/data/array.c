#include "driver/data/array.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MOST_BITS = 40 };

static const struct {
    const char *name;
    size_t size;
} cells[] = {{"bool", 1}, {"u8", 1}, {"i8", 1}, {"u16", 2}, {"i16", 2}, {"u32", 4}, {"i32", 4}, {"u64", 8}, {"i64", 8}, {"f32", 4}, {"f64", 8}};

size_t cell_size(Cell c) { return cells[c].size; }
const char *cell_name(Cell c) { return cells[c].name; }
bool cell_is_real(Cell c) { return c == CELL_F32 || c == CELL_F64; }

double array_get(const Array *a, int64_t k) {
    const void *d = a->data;
    switch (a->cell) {
    case CELL_BOOL:
    case CELL_U8: return ((const uint8_t *)d)[k];
    case CELL_I8: return ((const int8_t *)d)[k];
    case CELL_U16: return ((const uint16_t *)d)[k];
    case CELL_I16: return ((const int16_t *)d)[k];
    case CELL_U32: return ((const uint32_t *)d)[k];
    case CELL_I32: return ((const int32_t *)d)[k];
    case CELL_U64: return (double)((const uint64_t *)d)[k];
    case CELL_I64: return (double)((const int64_t *)d)[k];
    case CELL_F32: return (double)((const float *)d)[k];
    case CELL_F64: break;
    }
    return ((const double *)d)[k];
}

Array *array_over(Session *s, Cell c, int rank, const int64_t *shape, const char *origin, void *data) {
    Array *a = ARENA_NEW(s->arena, Array);
    *a = (Array){.cell = c, .rank = rank, .count = 1, .origin = origin};
    for (int k = 0; k < rank; k++) {
        a->shape[k] = shape[k];
        if (shape[k] < 0 || __builtin_mul_overflow(a->count, shape[k], &a->count) || a->count > (int64_t)1 << MOST_BITS) {
            session_file_error(s, (Span){0}, "`%s`: its shape has too many elements", origin);
            return NULL;
        }
    }
    a->data = data;
    return a;
}

Array *array_new(Session *s, Cell c, int rank, const int64_t *shape, const char *origin) {
    Array *a = array_over(s, c, rank, shape, origin, NULL);
    if (a)
        a->data = arena_array(s->arena, (size_t)a->count, cell_size(c));
    return a;
}

const char *array_shape_text(Session *s, const Array *a) {
    StrBuf sb = sb_new(s->arena);
    sb_putc(&sb, '[');
    for (int k = 0; k < a->rank; k++)
        sb_printf(&sb, "%s%lld", k ? ", " : "", (long long)a->shape[k]);
    sb_putc(&sb, ']');
    return sb.text;
}

/* ---- literals: nested lists of numbers and true, false */

typedef struct Lit {
    Session *s;
    const char *at;
    VEC(double) v;
    int rank, depth;
    int64_t shape[ARRAY_MOST_RANK];
    bool bad, is_int;
} Lit;

static void blanks(Lit *l) { l->at += strspn(l->at, " \t\n"); }

static void number(Lit *l) {
    char *end;
    double v;
    blanks(l);
    if (strncmp(l->at, "true", 4) == 0 || strncmp(l->at, "false", 5) == 0) {
        v = l->at[0] == 't';
        end = (char *)(uintptr_t)l->at + (v != 0 ? 4 : 5);
    } else {
        v = strtod(l->at, &end);
        l->is_int &= real_is_int(v) && !memchr(l->at, '.', (size_t)(end - l->at));
    }
    l->bad |= end == l->at || l->rank != l->depth;
    l->at = end;
    vec_push(l->s->arena, &l->v, v);
}

static void list(Lit *l) {
    blanks(l);
    if (*l->at != '[') {
        if (l->rank < l->depth)
            l->rank = l->depth;
        number(l);
        return;
    }
    int level = l->depth++;
    int64_t n = 0;
    l->at++;
    blanks(l);
    if (l->depth > ARRAY_MOST_RANK) {
        l->bad = true;
        return;
    }
    while (!l->bad && *l->at != ']') {
        list(l);
        n++;
        blanks(l);
        if (*l->at == ',')
            l->at++;
        else if (*l->at != ']')
            l->bad = true;
        blanks(l);
    }
    l->at += *l->at == ']';
    if (l->shape[level] < 0)
        l->shape[level] = n;
    l->bad |= l->shape[level] != n;
    l->depth = level;
}

Array *literal_read(Session *s, const char *text) {
    Lit l = {.s = s, .at = text, .is_int = true};
    for (int k = 0; k < ARRAY_MOST_RANK; k++)
        l.shape[k] = -1;
    list(&l);
    blanks(&l);
    if (l.v.n == 0 && l.rank == 0)
        l.rank = 1;
    if (l.bad || *l.at) {
        session_file_error(s, (Span){0}, "`%.100s` is no number and no list of numbers of equal lengths", text);
        return NULL;
    }
    Array *a = array_new(s, CELL_F64, l.rank, l.shape, text);
    if (a && l.v.n)
        memcpy(a->data, l.v.p, sizeof(double) * (size_t)l.v.n);
    return a;
}

/* ---- files by suffix */

static bool ends(const char *path, const char *suffix) {
    size_t n = strlen(path), m = strlen(suffix);
    return n >= m && strcmp(path + n - m, suffix) == 0;
}

static bool is_literal(const char *text) {
    char *end;
    text += strspn(text, " ");
    strtod(text, &end);
    return *text == '[' || (end != text && *end == 0) || strcmp(text, "true") == 0 || strcmp(text, "false") == 0;
}

/* FILE.csv:1,age -> FILE.csv and the columns; FILE.npz:x -> FILE.npz and the array */
static const char *split_columns(Session *s, const char *text, const char **columns) {
    const char *at = strstr(text, ".csv:");
    at = at ? at : strstr(text, ".npz:");
    *columns = at ? at + 5 : NULL;
    return at ? str_intern(s->ctx, text, (size_t)(at - text) + 4) : text;
}

/* What to do with a file of this suffix. */
static const char *instead_of(const char *path) {
    static const struct {
        const char *suffix, *help;
    } rows[] = {{".jpg", "convert it to .png"}, {".jpeg", "convert it to .png"}, {".gif", "convert it to .png"}, {".webp", "convert it to .png"},
                {".bmp", "convert it to .png"}, {".xlsx", "export it as .csv"}, {".xls", "export it as .csv"}, {".ods", "export it as .csv"},
                {".tsv", "write it with commas, as .csv"}, {".txt", "a table is a .csv file with a header"}, {".dat", "a table is a .csv file with a header"},
                {".json", "write the numbers as .csv or .npy"}, {".parquet", "export it as .csv or .npy"}, {".feather", "export it as .csv or .npy"},
                {".pkl", "save the array as .npy"}, {".mat", "save the array as .npy"}, {".h5", "save the array as .npy"},
                {".pt", "save the array as .npy, weights as .safetensors"}, {".pth", "save the array as .npy, weights as .safetensors"},
                {".safetensors", "weights are given by --init or --weights"}};
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++)
        if (ends(path, rows[k].suffix))
            return rows[k].help;
    return NULL;
}

/* The text of a csv file; several columns' arguments read it once. A file that has changed in
 * between, or is no regular one, is read again. */
typedef struct Table {
    const char *path;
    char *bytes;
    size_t len;
    struct stat st;
    struct Table *next;
} Table;

static bool same_file(const struct stat *a, const struct stat *b) {
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static char *table_read(Session *s, const char *path, size_t *len) {
    struct stat st;
    bool regular = stat(path, &st) == 0 && S_ISREG(st.st_mode);
    for (Table *t = s->tables; t && regular; t = t->next)
        if (strcmp(t->path, path) == 0 && same_file(&t->st, &st)) {
            *len = t->len;
            return t->bytes;
        }
    char *bytes = session_read(s, path, len);
    if (!bytes || !regular)
        return bytes;
    Table *t = ARENA_NEW(s->arena, Table);
    *t = (Table){path, bytes, *len, st, s->tables};
    s->tables = t;
    return bytes;
}

Array *data_load(Session *s, const char *text) {
    const char *columns;
    size_t len;
    if (is_literal(text))
        return literal_read(s, text);
    const char *path = split_columns(s, text, &columns);
    char *bytes = ends(path, ".csv") ? table_read(s, path, &len) : session_read(s, path, &len);
    if (!bytes)
        return NULL;
    if (ends(path, ".npy"))
        return npy_read(s, path, bytes, len);
    if (ends(path, ".npz"))
        return npz_read(s, path, bytes, len, columns);
    if (ends(path, ".csv"))
        return csv_read(s, path, bytes, len, columns);
    if (ends(path, ".png"))
        return png_read(s, path, bytes, len);
    if (ends(path, ".pgm") || ends(path, ".ppm"))
        return pnm_read(s, path, bytes, len);
    if (ends(path, ".gz") || ends(path, "-ubyte") || ends(path, ".idx") || (len > 3 && bytes[0] == 0 && bytes[1] == 0))
        return idx_read(s, path, bytes, len);
    Diag *d = session_file_error(s, (Span){0}, "`%s`: its suffix is none of .npy .npz .csv .png .pgm .ppm .idx .gz", path);
    if (instead_of(path))
        diag_help(s->ctx, d, "%s", instead_of(path));
    return NULL;
}

bool data_save(Session *s, const char *path, const Array *a) {
    StrBuf sb = sb_new(s->arena);
    bool ok = true;
    if (ends(path, ".npy"))
        npy_write(&sb, a);
    else if (ends(path, ".csv"))
        csv_write(&sb, a);
    else if (ends(path, ".png"))
        ok = png_write(s, &sb, path, a);
    else if (ends(path, ".pgm") || ends(path, ".ppm"))
        ok = pnm_write(s, &sb, path, a);
    else if (session_is_special(path)) /* a device or pipe has no suffix: text */
        csv_write(&sb, a);
    else {
        session_usage(s, "`%s`: its suffix is none of .npy .csv .png .pgm .ppm", path);
        return false;
    }
    return ok && session_write(s, path, sb.text, sb.len);
}
