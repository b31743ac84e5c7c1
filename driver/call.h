/* Calling compiled entries: programs in the JIT, arrays bound to declared shapes, arguments in C order. */
#ifndef CNNC_DRIVER_CALL_H
#define CNNC_DRIVER_CALL_H

#include "driver/data/array.h"
#include "driver/pool.h"

typedef struct Program {
    Session *s;
    LoopModule *m;
    Jit *jit;
    Pool *pool;
    const volatile int *stop;
} Program;

/* Compiles PATH (exporting `only`) into the JIT; false after errors. */
bool program_open(Session *s, Program *p, const char *path, const char *only, const volatile int *stop);
bool program_open_module(Session *s, Program *p, Module *m, const volatile int *stop);
void program_close(Program *p);
const LoopFunc *program_entry(const Program *p, AbiEntryKind kind, const char *decl); /* NULL if there is none */
const AbiBlock *program_block(const Program *p, const char *decl);

/* ---- values of dims */
typedef struct DimEnv {
    VEC(DimValue) v;
} DimEnv;
bool env_get(const DimEnv *e, DimSym s, int64_t *v);
void env_set(Session *s, DimEnv *e, DimSym sym, int64_t v);
/* Value of a dim; an unbound symbol or overflow is an error that names `what`. */
bool env_eval(Session *s, const DimEnv *e, Dim d, const char *what, int64_t *v);

DimEnv env_copy(Session *s, const DimEnv *e);

/* ---- a call */
typedef struct Call {
    Program *p;
    const LoopFunc *f;
    DimEnv env;
    CnncArg args[64];
    void *work;
} Call;
Call call_new(Program *p, const LoopFunc *f, const DimEnv *env);
/* The buffer of an argument: type with its shape; NULL if there is none. */
const LoopBuf *call_arg_buf(const LoopFunc *f, int arg);
int call_arg(const LoopFunc *f, AbiArgKind kind);          /* first of the kind, or -1 */
int call_arg_named(const LoopFunc *f, const char *name);   /* input, or -1 */
void call_set(Call *c, AbiArgKind kind, const void *p);    /* all arguments of the kind */
/* Fills dims, exec, work (allocated) and calls; 0 or the status. */
int call_run(Call *c);
const char *call_status(const Program *p, int status);     /* its text */

/* The result of ARG_OUT number k as an array. */
Array *call_out(Call *c, int arg, const char *name);
void print_array(Session *s, StrBuf *sb, const Array *a);                     /* nested lists */
void print_array_json(Session *s, StrBuf *sb, const char *name, const Array *a);
void json_real(StrBuf *sb, double v);                                         /* 17 digits, null if not finite */

/* --data, --test: NAME=VALUE; the loaded array of a name or NULL. */
typedef struct DataSet {
    VEC(NamedArray) all;
} DataSet;
bool dataset_load(Session *s, const Strings *given, DataSet *out);
Array *dataset_get(const DataSet *d, const char *name);

#endif
