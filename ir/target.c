#include "ir/target.h"

#include <string.h>

static const Target table[] = {
#define TARGET(name, triple, cpu, features, bytes, registers, fma, l1, l2, cpus, doc)              \
    {name, triple, cpu, features, bytes, registers, fma, l1, l2, doc},
#include "ir/targets.def"
#undef TARGET
};

static const char *const cpus_of[] = {
#define TARGET(name, triple, cpu, features, bytes, registers, fma, l1, l2, cpus, doc) cpus,
#include "ir/targets.def"
#undef TARGET
};

enum { N_TARGETS = sizeof table / sizeof *table };

const Target *target_all(int *n) {
    *n = N_TARGETS;
    return table;
}

const Target *target_named(const char *name) {
    for (int k = 0; k < N_TARGETS; k++)
        if (strcmp(table[k].name, name) == 0)
            return &table[k];
    return NULL;
}

const Target *target_for_cpu(const char *cpu) {
    size_t len = strlen(cpu);
    if (!len || strchr(cpu, ' '))
        return NULL;
    for (int k = 0; k < N_TARGETS; k++)
        for (const char *p = cpus_of[k]; (p = strstr(p, cpu)); p++)
            if (p[-1] == ' ' && p[len] == ' ')
                return &table[k];
    return NULL;
}

int target_lanes(const Target *t, DType dt) { return t->vector_bytes / (int)dtype_size(dt); }
