/* What a compiled module becomes: header, manifest, object, library ..., in memory or as a file. */
#ifndef CNNC_DRIVER_OUTPUT_H
#define CNNC_DRIVER_OUTPUT_H

#include "driver/session.h"

typedef struct Compiled {
    const LoopModule *m;
    CodegenOptions o;
    const char *base, *header, *manifest, *python;
    const CodeObject *objects; /* made already where tiles might spill, or NULL */
    int n_objects;
    const char *dot; /* drawn before the passes by those who want it, or NULL */
} Compiled;

/* m was made of the context's first file; library: the name of the .so that the Python module loads. */
Compiled compiled_of(Session *s, LoopModule *m, const char *base, const char *library);

/* The loops that would be compiled: with tiles that do not spill. */
LoopModule *output_settled(Session *s, LoopModule *m);

bool output_known(const char *kind); /* so o a s ll bc h py dot manifest */
/* The bytes of any kind but `so` and `a`, which are made by linking. NULL after an error. */
const char *output_bytes(Session *s, const Compiled *c, const char *kind, size_t *len);
bool output_write(Session *s, const Compiled *c, const char *kind, const char *path);

#endif
