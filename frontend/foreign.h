/* Words of other languages: a hint where one stands in place of ours. */
#ifndef CNNC_FRONTEND_FOREIGN_H
#define CNNC_FRONTEND_FOREIGN_H

typedef enum ForeignPlace {
    FOREIGN_ITEM,
    FOREIGN_STMT,
    FOREIGN_TYPE,
    FOREIGN_VALUE,
    FOREIGN_FUNCTION,
    FOREIGN_ARGUMENT
} ForeignPlace;

/* What this language writes in its place, or NULL. */
const char *foreign_help(ForeignPlace place, const char *word);

#endif
