/* What the text of attributes is printed and read with (columns print and read of ir/op.h). */
#ifndef CNNC_IR_GRAPH_TEXT_H
#define CNNC_IR_GRAPH_TEXT_H

#include "ir/op.h"
#include "ir/text.h"

struct IrReader {
    TextReader t;
    Module *m;
    Func *f;
    VEC(Val) args; /* operands of the instruction being read; filled by attributes with OPF_TEXT */
    Type type;     /* of its first result */
};
typedef struct IrReader IrReader;

/* A value by its number, "%5"; id 0 after a failure. */
Val graph_read_val(IrReader *r);
/* "name" of a function of the module, which may come later in the text. */
FuncId graph_read_func(IrReader *r);
void graph_print_func_name(StrBuf *sb, const Module *m, FuncId id);

/* All of a nest after its name, graph_body.c:
 *     [n, o] += %1?0.0[n, i - 1] * %2[i, o] over n<N, o<6, i<3 where 0 <= i - n < 2
 *       then max(acc, 0.0) from %3 */
void graph_print_nest(StrBuf *sb, const Inst *i, DType real);
const Nest *graph_read_nest(IrReader *r);

#endif
