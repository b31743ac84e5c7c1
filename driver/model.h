/* Parameters and states of a block: sizes, files, initial values. */
#ifndef CNNC_DRIVER_MODEL_H
#define CNNC_DRIVER_MODEL_H

#include "driver/bind.h"

typedef struct ModelValues {
    const AbiBlock *block;
    int64_t n_params, n_state, opt_bytes;
    void *params, *state, *opt; /* real of the block; opt: bytes */
} ModelValues;

/* Allocates for the dims of env; false after errors. */
bool model_alloc(Session *s, const AbiBlock *b, const DimEnv *env, ModelValues *out);
/* From a safetensors file; every tensor of the block must be there with its shape. Names may share a prefix. */
bool model_load(Session *s, ModelValues *v, const DimEnv *env, const Tensors *t, const char *path);
void model_tensors(Session *s, const ModelValues *v, const DimEnv *env, Tensors *out);
/* params (and state) of a model's forward call: --weights, else its init with --seed. */
bool model_bind(Session *s, Program *p, Call *c, const char *name);
int64_t model_learned(Session *s, const AbiBlock *b, const DimEnv *env);

#endif
