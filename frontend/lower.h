/* From declarations to the functions of a module (the list is in frontend.h). A model or estimator
 * is elaborated into one scratch function in training and one in inference; what is exported are
 * slices of these. */
#ifndef CNNC_FRONTEND_LOWER_H
#define CNNC_FRONTEND_LOWER_H

#include "frontend/elab.h"

/* ---- lower_root.c */
/* An empty function to elaborate `item` in, and its frame; dims without a value become symbols. */
Func *lower_begin(Elab *e, const Item *item, DType real, bool training);
bool lower_formals_known(
    Elab *e, const Item *item); /* fully typed, int formals with values: it can be exported */
bool lower_def(Elab *e, const Item *item);
bool lower_model(Elab *e, const Item *item);
void lower_init(Elab *e, const Item *item, int block); /* E.init, a slice of e->f */
AbiEntry *lower_entry(Elab *e, const Item *item, AbiEntryKind kind, const char *suffix);
AbiEntry *lower_entry_named(Elab *e, const Item *item, AbiEntryKind kind, Str cname);
Str lower_cname(Elab *e, Str name); /* prefix and lower case */
AbiBlock *lower_block(Elab *e, const Item *item, DType real);
/* Elements of `params` and `states` so far, with their offsets; calls of models. */
void lower_tables(Elab *e, AbiBlock *b);
/* What the command line gives for DECL.NAME, or for NAME in all declarations. */
const Define *lower_define(Elab *e, const char *decl, Str name);

/* ---- lower_slice.c */
typedef struct Slice {
    Str name;
    AbiEntry *entry;
    int block;
    Span span;
    bool all_dims; /* not only those that are mentioned */
    unsigned keep; /* roles (1 << ROLE) whose params stay though nothing uses them */
    VEC(Result)
    results; /* in the scratch function; `of` of RES_NEW_*: number of the slot (Param.tensor) */
} Slice;
Func *lower_slice(Elab *e, const Func *from, const Slice *s);
/* live[v.id] becomes true for v and all that it is computed from. */
void lower_mark(const Func *f, Val v, bool *live);
/* Does v depend on a param of this role? */
bool lower_reaches(Elab *e, const Func *f, Val from, Val to); /* is `to` computed from `from`? */
bool lower_depends(Elab *e, const Func *f, Val v, Role role);

/* ---- lower_estimator.c, lower_optimizer.c, lower_dist.c */
bool lower_estimator(Elab *e, const Item *item);
/* `using`: fills b->using_ and adds E.update. */
bool lower_using(Elab *e, const Stmt *s, AbiBlock *b, int block, const Item *item);
Node *lower_density(Elab *e, Node *x, const DistValue *d,
                    Span at); /* log density of each draw, or NULL */
void lower_check_support(Elab *e, const Slot *slot, const DistValue *d, Span at); /* -Wsupport */
Node *lower_dist_mean(Elab *e, Node *x, const DistValue *d, Span at);

/* ---- warn.c: of items without errors */
void warn_item(Elab *e, const Item *item);
/* Parameters on which the terms of the objective depend, but not smoothly. */
void warn_dead_grad(Elab *e, const Func *f, const Val *terms, int n);

/* ---- check.c */
/* Names, places of statements, recursion: what can be said about a definition without its calls. */
void check_file(Elab *e);
bool check_names(Elab *e, const Item *item); /* check_names.c; false after messages */
bool check_is_broken(const Elab *e, const Item *item);
void check_symbols(Elab *e); /* check_symbols.c: C names of what was lowered */

#endif
