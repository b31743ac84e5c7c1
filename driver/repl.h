/* `cnnc repl`: definitions, bindings and expressions, compiled as they are entered. */
#ifndef CNNC_DRIVER_REPL_H
#define CNNC_DRIVER_REPL_H

#include "ir/type.h"

typedef struct ReplOptions {
    const char *code; /* -c CODE: its lines instead of standard input; or NULL */
    const char *file; /* -f FILE: likewise; or NULL */
    DType real;       /* --real; DT_NONE: f64 */
    bool color;       /* of messages */
    bool terminal;    /* standard input is one: prompt, line editing, history */
    uint64_t seed;
} ReplOptions;

/* Runs until the end of the input or :quit. The exit status: 0; 1 after an error in what was not
 * typed on a terminal; 3 if FILE cannot be read; 70 after an internal error. */
int repl_run(const ReplOptions *o);

#endif
