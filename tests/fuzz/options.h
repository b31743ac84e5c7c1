/* Options of the programs that draw others at random. */
#ifndef CNNC_TESTS_FUZZ_OPTIONS_H
#define CNNC_TESTS_FUZZ_OPTIONS_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "ir/target.h"

enum { SKIPPED = 77 }; /* a target that this machine cannot run; as in CMakeLists.txt */

typedef struct FuzzOptions {
    long count, seed; /* programs, the first one's seed */
    bool show;
    const char *disabled[4]; /* passes */
    int n_disabled;
    const Target *target; /* NULL: that of this machine */
    long cache;           /* bytes of its second-level cache; 0: as it is */
} FuzzOptions;

/* The target with the caches that were asked for: small ones make small programs leave them, which passes then treat as large ones. */
static inline const Target *fuzz_target(const FuzzOptions *o, const Target *host, Target *room) {
    *room = o->target ? *o->target : *host;
    if (o->cache) {
        room->l2_bytes = o->cache;
        room->l1_bytes = o->cache < 8 * room->l1_bytes ? o->cache / 8 : room->l1_bytes;
    }
    return room;
}

static inline bool runs_here(const Target *t) {
#if defined(__x86_64__)
    if (strcmp(t->name, "x86-64-v4") == 0)
        return __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512bw");
    if (strcmp(t->name, "x86-64-v3") == 0)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    return strcmp(t->name, "x86-64") == 0;
#else
    return strcmp(t->name, "aarch64") == 0;
#endif
}

/* 0, or what main returns; that has been said. */
static inline int fuzz_options(int argc, char **argv, FuzzOptions *o) {
    *o = (FuzzOptions){.count = 200, .seed = 1};
    for (int k = 1; k < argc; k++) {
        if (sscanf(argv[k], "--count=%ld", &o->count) == 1 ||
            sscanf(argv[k], "--seed=%ld", &o->seed) == 1 ||
            sscanf(argv[k], "--cache=%ld", &o->cache) == 1)
            continue;
        if (strcmp(argv[k], "--show") == 0)
            o->show = true;
        else if (strncmp(argv[k], "--disable-pass=", 15) == 0 && o->n_disabled < 4)
            o->disabled[o->n_disabled++] = argv[k] + 15;
        else if (strncmp(argv[k], "--target=", 9) == 0 && target_named(argv[k] + 9))
            o->target = target_named(argv[k] + 9);
        else
            return fprintf(stderr,
                           "usage: %s [--count=N] [--seed=S] [--show] [--disable-pass=P]... "
                           "[--target=T] [--cache=BYTES]\n",
                           argv[0]),
                   2;
    }
    if (!o->target || runs_here(o->target))
        return 0;
    printf("this machine cannot run code for %s\n", o->target->name);
    return SKIPPED;
}

#endif
