/* What --print-memory shows of the plan. */
#ifndef CNNC_PASSES_PLAN_H
#define CNNC_PASSES_PLAN_H

#include "ir/loop.h"

/* For each function: the arena as a formula, and with every dim = `at` its bytes beside the lower
 * bound (the most that is live at one time) and the bytes without sharing. */
void plan_print(StrBuf *sb, const LoopModule *m, int64_t at);

typedef struct PlanBytes {
    int64_t fixed, job;             /* arenas as planned */
    int64_t live_fixed, live_job;   /* lower bounds */
    int64_t apart_fixed, apart_job; /* without sharing */
} PlanBytes;
/* False: overflow. */
bool plan_bytes(const LoopModule *m, const LoopFunc *f, const DimValue *dims, int n,
                PlanBytes *out);

#endif
