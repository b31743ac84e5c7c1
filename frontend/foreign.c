#include "frontend/foreign.h"

#include <stddef.h>
#include <strings.h>

static const struct {
    ForeignPlace place;
    const char *word, *help;
} words[] = {
#define FOREIGN(place, word, help) {FOREIGN_##place, word, help},
#include "frontend/foreign.def"
#undef FOREIGN
};

const char *foreign_help(ForeignPlace place, const char *word) {
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (words[i].place == place && strcasecmp(words[i].word, word) == 0)
            return words[i].help;
    return NULL;
}
