/* Parameters of which some elements are held: their free reals in u are a block [learned, rest..]
 * of the cells that the mask learns, one for each element of the axes that the mask lacks. */
#ifndef CNNC_PASSES_ESTIMATE_MASK_H
#define CNNC_PASSES_ESTIMATE_MASK_H

#include "passes/estimate_priv.h"

/* The mask of t, or NULL where all elements are learned. */
const AbiMask *mask_of(const AbiTensor *t);
Type mask_block(Ctx *ctx, const AbiMask *m, Type full);
/* The learned cells of x, whose first axes are the parameter's. */
Val mask_take(Build *e, const AbiMask *m, Val x);
/* The block in a tensor of type `full`, 0 where elements are held. */
Val mask_put(Build *e, const AbiMask *m, Val block, Type full);
/* x where elements are learned, y where they are held. */
Val mask_select(Build *e, const AbiMask *m, Val x, Val y);

#endif
