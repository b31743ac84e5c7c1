/* Objects of a loop module, from the folder of --cache where they are there. */
#ifndef CNNC_DRIVER_CACHE_H
#define CNNC_DRIVER_CACHE_H

#include "driver/session.h"

/* As codegen_objects; without --cache just that. */
const CodeObject *cache_objects(Session *s, const LoopModule *m, const CodegenOptions *o, int *n);

#endif
