/* What fit, predict and gradcheck share: an estimator with data, parameters and its hyper struct.
 */
#ifndef CNNC_DRIVER_FIT_H
#define CNNC_DRIVER_FIT_H

#include <stdlib.h>

#include "driver/model.h"

enum { HYPER_MOST = 64 };

/* As in the generated header: every field 8 bytes. */
typedef struct Hyper {
    size_t size;
    double prior;
    int64_t n_total, epoch;
    uint64_t seed;
    union {
        double f;
        int64_t i;
    } formals[HYPER_MOST];
} Hyper;

typedef struct FitColumn { /* one `data` */
    const AbiData *data;
    void *cells;       /* in the declared storage; NULL: not given */
    const Array *from; /* as it was read */
    size_t row_bytes;  /* of one row, or of all if it has none */
    bool by_row;
} FitColumn;

typedef struct FitData {
    FitColumn *columns;
    int n;
    int64_t rows;
    int64_t dropped; /* rows left out for missing cells */
} FitData;

typedef struct Fit {
    Program p;
    const Item *item; /* the estimator's text */
    const AbiBlock *block;
    DimEnv env;
    LabelList labels;
    const char *init_path; /* of --init or a checkpoint; NULL: none */
    Tensors init;          /* read from there */
    ModelValues v;
    Hyper hyper;
} Fit;

/* FILE [ESTIMATOR] of the command line, compiled. */
bool fit_open(Session *s, Fit *f, const volatile int *stop);
/* The compiled block of an estimator of the file; NULL after an error that says why there is none. */
const AbiBlock *fit_block(Session *s, const Program *p, const AstFile *file, const char *name);
/* The estimator o->only of a parsed file. */
bool fit_open_item(Session *s, Fit *f, const AstFile *file, const LowerOptions *o,
                   const volatile int *stop);
/* Binds what is given to the block of f, dims to env and labels to f; need_all: nothing may be
 * missing. */
bool fit_bind_data(Session *s, Fit *f, const DataSet *given, DimEnv *env, FitData *out,
                   bool need_all);
void fit_set_inputs(Call *c, const FitData *d);
void fit_hyper(Session *s, const AbiBlock *b, Hyper *h);
/* Reads an estimate or a checkpoint (path may be NULL) that fit_init loads, and takes over the
 * labels that it knows; before the data are bound. */
bool fit_read_init(Session *s, Fit *f, const char *path);
/* Adds values of J and label texts to what is saved. */
void fit_save_meta(Session *s, const Fit *f, Tensors *t);
/* Parameters from --init or from the estimator's initial values. */
bool fit_init(Session *s, Fit *f, const FitData *d);
/* Loads the data, trains, prints and saves. */
void fit_train(Session *s, Fit *f);
/* Loads the data, estimates, prints and saves. */
void fit_exact(Session *s, Fit *f);

#endif
