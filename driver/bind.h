/* Arrays bound to what a program declares: shapes, kinds, labels, rows with missing cells. */
#ifndef CNNC_DRIVER_BIND_H
#define CNNC_DRIVER_BIND_H

#include "driver/call.h"

/* Matches an array with a declared type: equal shapes after axes of length 1 are removed; symbols
 * are bound. */
bool bind_shape(Session *s, DimEnv *e, const char *name, Type t, const Array *a);
/* The cells in the declared storage, checked against their kind (whole numbers, 0 and 1, labels in
 * range). */
void *bind_cells(Session *s, const char *name, const Array *a, DType dt, AbiKind kind,
                 int64_t bound);
/* False with an error that names the first cell that is no finite number. */
bool bind_finite(Session *s, const char *name, const Array *a);

/* Names of the positions of an axis: CSV columns, or the texts of an index(J). */
typedef struct AxisLabels {
    DimSym dim;       /* NULL: the texts of an index with a constant bound */
    const char *data; /* whose columns or texts they are */
    const char *const *names;
    int64_t n;
} AxisLabels;
typedef VEC(AxisLabels) LabelList;

/* The data of kind index: texts become their numbers in `labels` (those of an earlier fit, which a
 * new text is not in, or else all distinct ones, sorted, which are added); a free index(J) binds J
 * to their number, or to 1 + the greatest label. Data with the same J share their labels. */
bool bind_labels(Session *s, const AbiBlock *b, const DataSet *given, DimEnv *env,
                 LabelList *labels);
/* Leaves the rows out in which one of the data that share them has a missing cell. */
bool bind_drop_missing(Session *s, const AbiBlock *b, const DataSet *given, int64_t *dropped);

#endif
