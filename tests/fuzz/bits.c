/* The deterministic side of fuzzing: all truncations and single-bit flips of small files.
 *
 *   bits_TARGET [--every=K] FILE...
 *
 * Each K-th of them goes through the target (K = 1: all). Files above 4 KB are cut. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "target.h"

enum { MOST = 4096 };

static void one_file(const char *path, size_t every, size_t *count) {
    uint8_t text[MOST];
    FILE *f = fopen(path, "rb");
    if (!f) {
        fprintf(stderr, "cannot read %s\n", path);
        exit(3);
    }
    size_t n = fread(text, 1, sizeof text, f);
    fclose(f);
    for (size_t k = 0; k <= n; k += every, ++*count) {
        uint8_t *part = malloc(k + 1); /* of its own size, so that a read past it is found */
        memcpy(part, text, k);
        LLVMFuzzerTestOneInput(part, k);
        free(part);
    }
    for (size_t bit = 0; bit < 8 * n; bit += every, ++*count) {
        text[bit / 8] ^= (uint8_t)(1 << bit % 8);
        LLVMFuzzerTestOneInput(text, n);
        text[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

int main(int argc, char **argv) {
    size_t every = 1, count = 0;
    for (int k = 1; k < argc; k++) {
        if (strncmp(argv[k], "--every=", 8) == 0)
            every = strtoul(argv[k] + 8, NULL, 10) > 0 ? strtoul(argv[k] + 8, NULL, 10) : 1;
        else
            one_file(argv[k], every, &count);
    }
    printf("%zu inputs\n", count);
    return count == 0;
}
