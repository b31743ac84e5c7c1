#include "base/utf8.h"

int utf8_decode(const char *s, size_t n, uint32_t *c) {
    const unsigned char *u = (const unsigned char *)s;
    if (u[0] < 0x80) {
        *c = u[0];
        return 1;
    }
    int len = u[0] >= 0xc2 && u[0] < 0xe0   ? 2
              : u[0] >= 0xe0 && u[0] < 0xf0 ? 3
              : u[0] >= 0xf0 && u[0] < 0xf5 ? 4
                                            : 0;
    if (len == 0 || (size_t)len > n)
        return 0;
    uint32_t v = u[0] & (0x7fu >> len);
    for (int i = 1; i < len; i++) {
        if ((u[i] & 0xc0) != 0x80)
            return 0;
        v = v << 6 | (u[i] & 0x3fu);
    }
    bool overlong = (len == 3 && v < 0x800) || (len == 4 && v < 0x10000);
    if (overlong || v > 0x10ffff || (v >= 0xd800 && v < 0xe000))
        return 0;
    *c = v;
    return len;
}

bool utf8_is_control(uint32_t c) {
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x200e || c == 0x200f ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}
