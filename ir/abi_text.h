/* The text of blocks and entries (ir/abi.h), which both IRs print as part of their modules.
 *
 *     model "LeNet5" lenet5 f32 @11:1-30:2 {
 *       dims N
 *       param "C1.w" C1_W f32[6, 1, 5, 5] real learned 150 offset 0 @12:3-12:20
 *     }
 *     entry forward "lenet5_forward" of "LeNet5" @11:1-30:2 {
 *       exec "ex"
 *       input "x" f32 const bytes 3136*N
 *     } */
#ifndef CNNC_IR_ABI_TEXT_H
#define CNNC_IR_ABI_TEXT_H

#include "ir/abi.h"
#include "ir/text.h"

void abi_print_block(StrBuf *sb, Ctx *ctx, Str source, const AbiBlock *b);
/* indent: blanks before each line. */
void abi_print_entry(StrBuf *sb, Ctx *ctx, Str source, const AbiEntry *e, int indent);
/* NULL where the token is neither `model` nor `estimator`. */
AbiBlock *abi_read_block(TextReader *r);
/* NULL where the token is not `entry`. */
AbiEntry *abi_read_entry(TextReader *r);
/* "N, M >= 0": the least value is printed where it is not 1. */
void abi_print_dims(StrBuf *sb, const DimSym *dims, int n);

#endif
