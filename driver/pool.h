/* Threads for the jobs of compiled code: the caller's side of cnnc_exec (docs/c-abi.md). */
#ifndef CNNC_DRIVER_POOL_H
#define CNNC_DRIVER_POOL_H

#include <stddef.h>

/* As in the generated header. */
typedef struct Exec {
    int threads;
    void *self;
    const volatile int *stop;
    void (*run)(void *self, int jobs, void (*job)(void *arg, int k), void *arg);
} Exec;

typedef struct Pool Pool;
/* threads: 0 for the processors; 1 makes no threads. NULL when out of memory. */
Pool *pool_new(int threads, const volatile int *stop);
const Exec *pool_exec(const Pool *p);
void pool_free(Pool *p);

#endif
