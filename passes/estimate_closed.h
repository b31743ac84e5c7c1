/* E.fit where the estimate is a formula, and the entry that gives the posterior. */
#ifndef CNNC_PASSES_ESTIMATE_CLOSED_H
#define CNNC_PASSES_ESTIMATE_CLOSED_H

#include "passes/closed.h"
#include "passes/estimate_priv.h"

void est_fit_closed(Build *e, const Parts *p, const Closed *c);
/* E.posterior, where there are priors. */
void est_make_posterior(Unit *u, int block, const Parts *p, const Closed *c);

#endif
