/* Arrays as files hold them, and the readers and writers. Input is hostile: sizes are checked before anything is
 * allocated; an error is a diagnostic (exit status 3) and NULL. */
#ifndef CNNC_DRIVER_DATA_ARRAY_H
#define CNNC_DRIVER_DATA_ARRAY_H

#include "driver/session.h"
#include "ir/type.h"

typedef enum Cell { CELL_BOOL, CELL_U8, CELL_I8, CELL_U16, CELL_I16, CELL_U32, CELL_I32, CELL_U64, CELL_I64, CELL_F32, CELL_F64 } Cell;

enum { ARRAY_MOST_RANK = 16 };

typedef struct Array {
    Cell cell;
    int rank;
    int64_t shape[ARRAY_MOST_RANK];
    int64_t count;
    void *data;            /* row-major, in this machine's byte order */
    const char **texts;    /* CSV with texts: of every cell (data: NaN where it is no number), NULL: missing; else NULL */
    const char *const *columns; /* names of the last axis (CSV), or NULL */
    int64_t n_columns;
    uint32_t file;         /* for places; 0: none */
    const uint32_t *lines; /* of each row in the file (CSV), else NULL */
    const char *origin;    /* "d.csv:age", for messages */
} Array;

size_t cell_size(Cell c);
bool cell_is_real(Cell c);
const char *cell_name(Cell c);
double array_get(const Array *a, int64_t k);
/* Zeroed; NULL with a message if the product of the shape overflows or exceeds 2^40 cells. */
Array *array_new(Session *s, Cell c, int rank, const int64_t *shape, const char *origin);
/* The same of cells that are there already. */
Array *array_over(Session *s, Cell c, int rank, const int64_t *shape, const char *origin, void *data);
/* "[60000, 28, 28]" */
const char *array_shape_text(Session *s, const Array *a);

/* A value of the command line: a literal ([1,1,0], 2.5) or FILE[:COLUMNS]. */
Array *data_load(Session *s, const char *text);

Array *literal_read(Session *s, const char *text);
Array *npy_read(Session *s, const char *path, char *bytes, size_t len); /* the bytes become the array's */
Array *npz_read(Session *s, const char *path, const char *bytes, size_t len, const char *name); /* NULL: the only one */
Array *idx_read(Session *s, const char *path, const char *bytes, size_t len); /* gzip accepted */
Array *csv_read(Session *s, const char *path, const char *bytes, size_t len, const char *columns);
Array *png_read(Session *s, const char *path, const char *bytes, size_t len);
Array *pnm_read(Session *s, const char *path, const char *bytes, size_t len);

/* The kind of output by the suffix: .npy .csv .png .pgm .ppm. */
bool data_save(Session *s, const char *path, const Array *a);
void npy_write(StrBuf *sb, const Array *a);
void csv_write(StrBuf *sb, const Array *a);
void csv_put_text(StrBuf *sb, const char *text); /* in quotes where it needs them */
bool png_write(Session *s, StrBuf *sb, const char *path, const Array *a);
bool pnm_write(Session *s, StrBuf *sb, const char *path, const Array *a);

/* ---- safetensors */
typedef struct NamedArray {
    const char *name;
    Array *array;
} NamedArray;
typedef struct Tensors {
    VEC(NamedArray) all;
    VEC(NamedArray) meta; /* name and text (in array->origin) of __metadata__ */
} Tensors;
bool safetensors_read(Session *s, const char *path, Tensors *out);
/* The texts of a JSON list; false if it is something else. */
bool json_texts(Session *s, const char *text, const char ***texts, int64_t *n);
bool safetensors_write(Session *s, const char *path, const Tensors *t);

#endif
