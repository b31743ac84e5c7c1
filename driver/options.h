/* Parsing of the command line from options.def. */
#ifndef CNNC_DRIVER_OPTIONS_H
#define CNNC_DRIVER_OPTIONS_H

#include "driver/session.h"

void options_defaults(Options *o);
/* Fills s->o and s->args; mistakes are usage errors. */
void options_parse(Session *s, int argc, char **argv);
void options_help(StrBuf *out);

#endif
