/* SHA-256 (FIPS 180-4), for the header's note of its source. */
#ifndef CNNC_DRIVER_SHA256_H
#define CNNC_DRIVER_SHA256_H

#include <stddef.h>

/* out: 64 hexadecimal digits and NUL. */
void sha256_hex(const void *data, size_t len, char out[65]);

#endif
