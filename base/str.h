/* Strings: interning, and a growing text buffer. */
#ifndef CNNC_BASE_STR_H
#define CNNC_BASE_STR_H

#include "base/ctx.h"

Str str_intern(Ctx *ctx, const char *s, size_t len);
Str str_of(Ctx *ctx, const char *s);
/* Formats and interns. */
Str str_fmt(Ctx *ctx, const char *fmt, ...) CNNC_PRINTF(2, 3);

/* Text being built; text is NUL-terminated at all times. Initialise with sb_new. */
typedef struct StrBuf {
    Arena *arena;
    char *text;
    size_t len, cap;
} StrBuf;

StrBuf sb_new(Arena *arena);
void sb_reserve(StrBuf *sb, size_t more); /* memory for so many more characters */
void sb_put(StrBuf *sb, const char *s);
void sb_putn(StrBuf *sb, const char *s, size_t len);
void sb_putc(StrBuf *sb, char c);
void sb_printf(StrBuf *sb, const char *fmt, ...) CNNC_PRINTF(2, 3);
void sb_vprintf(StrBuf *sb, const char *fmt, va_list ap);
/* The shortest decimal text that reads back as x: "0.1", "1e-05", "inf", "-inf", "nan"; always with '.', 'e' or a word, so "3.0". */
void sb_real(StrBuf *sb, double x);

#endif
