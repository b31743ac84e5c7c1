#include "driver/explain.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

static const ExplainPage pages[] = {
#define PAGE(code, title, text, wrong, right) {#code, title, text, wrong, right},
#include "driver/explain.def"
#undef PAGE
};

const ExplainPage *explain_pages(int *n) {
    *n = (int)(sizeof pages / sizeof *pages);
    return pages;
}

/* E0312, and what one types for it: e0312, E312, 312. */
const ExplainPage *explain_find(const char *code) {
    char letter = *code >= '0' && *code <= '9' ? 'E' : *code;
    const char *digits = code + strcspn(code, "0123456789");
    char full[8] = {letter, '0', '0', '0', '0'};
    size_t n = strlen(digits);
    if (digits - code <= 1 && n <= 4 && strspn(digits, "0123456789") == n)
        memcpy(full + 5 - n, digits, n);
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++)
        if (strcasecmp(pages[i].code, full) == 0)
            return &pages[i];
    return NULL;
}

/* Every line of a program indented by four blanks. */
static void put_program(StrBuf *out, const char *head, const char *text) {
    if (!text)
        return;
    sb_printf(out, "\n%s\n\n", head);
    for (bool start = true; *text; text++) {
        if (start && *text != '\n')
            sb_put(out, "    ");
        sb_putc(out, *text);
        start = *text == '\n';
    }
}

void explain_print(const ExplainPage *page, StrBuf *out) {
    sb_printf(out, "%s: %s\n\n%s\n", page->code, page->title, page->text);
    put_program(out, "Wrong:", page->wrong);
    put_program(out, "Right:", page->right);
}
