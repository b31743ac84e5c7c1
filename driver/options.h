/* Parsing of the command line from options.def. */
#ifndef CNNC_DRIVER_OPTIONS_H
#define CNNC_DRIVER_OPTIONS_H

#include "driver/session.h"

void options_defaults(Options *o);
/* Fills s->o and s->args; mistakes are usage errors. */
void options_parse(Session *s, int argc, char **argv);
void options_messages(Session *s); /* what the options say about messages, to the context */
/* The names of -W and -Wno-, NULL after the last. */
extern const char *const options_warnings[];
typedef struct OptionInfo {
    const char *name, *value, *help; /* value NULL: a flag */
} OptionInfo;
const OptionInfo *options_all(Session *s, int *n);
void options_help(StrBuf *out);

#endif
