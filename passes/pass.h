/* Passes and their runner. A pass is a row in passes.def and one file whose entry stands last. */
#ifndef CNNC_PASSES_PASS_H
#define CNNC_PASSES_PASS_H

#include "ir/graph.h"
#include "ir/loop.h"
#include "ir/target.h"

/* How exact estimators are fitted: what suits them, or one way (an error where it does not exist). */
typedef enum FitWay {
    FIT_WAY_AUTO,
    FIT_WAY_CLOSED,
    FIT_WAY_LSQ,
    FIT_WAY_NEWTON,
    FIT_WAY_LBFGS
} FitWay;
bool pass_fit_way(const char *name, FitWay *out); /* auto, closed, lsq, newton, lbfgs */

/* What a pass works on: the graph module until to_loops, the loop module from then on. */
typedef struct Unit {
    Ctx *ctx;
    Arena *arena;
    Module *graph;
    LoopModule *loops; /* NULL before to_loops */
    const Target *target;
    int groups; /* jobs of a batch, 8 */
    int rows;   /* rows of a slice, 16 */
    FitWay fit_way; /* --method= */
    unsigned skip_entries; /* bits by AbiEntryKind: entries of which no loops are made */
    bool keep_before_tile;
    const LoopModule *before_tile; /* a copy of the loops as they were, if asked for */
    const LoopTile *spilled; /* nests of these names take fewer sums than that */
    int n_spilled;
} Unit;

typedef enum PassLevel { LEVEL_GRAPH, LEVEL_TO_LOOPS, LEVEL_LOOP } PassLevel;

/* Properties that passes need, set and clear; the chain is checked at start-up. */
enum {
    PROP_INLINED = 1,   /* no call op */
    PROP_ESTIMATED = 2, /* estimators have become entries */
    PROP_EXPANDED = 4,  /* no density op */
    PROP_DERIVED = 8,   /* no vjp op */
    PROP_GATHERED = 16, /* no nest scatters unless named as serial */
    PROP_LOOPS = 32,
    PROP_PLANNED = 64 /* buffers have offsets */
};

typedef struct PassDef {
    const char *name;
    PassLevel level;
    void (*run)(Unit *u);
    unsigned needs, sets, clears;
    bool optional; /* may be disabled: declared exact (cse dce fuse plan-sharing), or an
                      optimisation */
    const char *help;
} PassDef;

extern const PassDef pass_table[]; /* in pipeline order, from passes.def */
extern const int n_passes;
const PassDef *pass_named(const char *name);

typedef struct PassOptions {
    const char *const *only; /* --passes: these, in this order (NULL: the pipeline); sets of earlier
                                passes are taken as given */
    int n_only;
    const char *stop_after; /* or NULL */
    const char *const *disabled;
    int n_disabled;
    const char *const *print_before, *const *print_after; /* names, or "all" */
    int n_print_before, n_print_after;
    bool time_passes;
    StrBuf *dumps; /* receives printed IR (under a line `; IR before fuse`), "(unchanged)" notes,
                      and the time table */
} PassOptions;

/* Runs the pipeline on u; the verifier runs after every pass (a failure is an internal error that
 * names the pass). False with a text in *why: a bad option (unknown pass; a disabled pass that
 * later ones need: exit status 2). */
bool pass_run(Unit *u, const PassOptions *o, const char **why);

/* From before_tile on once more, with what has been added to `spilled`: u->loops is a new module. */
void pass_again(Unit *u, const PassOptions *o);

#define PASS(name, level, needs, sets, clears, optional, help) void pass_##name(Unit *u);
#include "passes/passes.def"
#undef PASS

#endif
