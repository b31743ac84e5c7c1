/* `cnnc fmt`: one way to lay out .cnn text. Line breaks, tokens and comments stay as they are;
 * indentation, blanks between tokens and runs of empty lines are made regular, and what the user
 * has put in columns stays in columns. Formatting formatted text changes nothing. */
#ifndef CNNC_FRONTEND_FORMAT_H
#define CNNC_FRONTEND_FORMAT_H

#include "base/ctx.h"

/* The formatted text of a registered file (NUL-terminated; *len may be NULL), or NULL if it does
 * not parse: the errors are in the context's diagnostics. */
const char *format_file(Ctx *ctx, uint32_t file, size_t *len);

#endif
