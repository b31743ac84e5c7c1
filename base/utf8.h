/* UTF-8, read defensively. */
#ifndef CNNC_BASE_UTF8_H
#define CNNC_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The character at s (n > 0 bytes are there) and its length in bytes; 0 where no valid sequence
 * begins: overlong forms, surrogates, above U+10FFFF and cut ends (RFC 3629). */
int utf8_decode(const char *s, size_t n, uint32_t *c);
/* What a terminal may act on instead of showing: C0 and C1 controls, and the marks that reorder
 * text (UAX 9). */
bool utf8_is_control(uint32_t c);

#endif
