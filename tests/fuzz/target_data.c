/* Any bytes as a data file: the first byte chooses the reader. Every reader answers with an array or
 * a message. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "driver/data/array.h"
#include "target.h"

typedef struct Input {
    Session *s;
    const uint8_t *data;
    size_t size;
} Input;

static void safetensors(Session *s, const char *bytes, size_t len) {
    Tensors t;
    char path[64];
    int fd = memfd_create("fuzz", 0);
    if (fd < 0 || write(fd, bytes, len) != (ssize_t)len)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    safetensors_read(s, path, &t);
    close(fd);
}

static void body(void *arg) {
    const Input *in = arg;
    Session *s = in->s;
    const char *bytes = (const char *)in->data + 1;
    size_t len = in->size - 1;
    s->arena = &s->ctx->perm;
    s->out = sb_new(s->arena);
    char *text = arena_alloc(s->arena, len + 1); /* zeroed, so that it ends */
    memcpy(text, bytes, len);
    switch (in->data[0] % 8) {
    case 0:
        npy_read(s, "a.npy", text, len);
        break;
    case 1:
        idx_read(s, "a.idx", bytes, len);
        break;
    case 2:
        csv_read(s, "a.csv", bytes, len, NULL);
        break;
    case 3:
        png_read(s, "a.png", bytes, len);
        break;
    case 4:
        pnm_read(s, "a.pgm", bytes, len);
        break;
    case 5:
        literal_read(s, text);
        break;
    case 6:
        npz_read(s, "a.npz", bytes, len, NULL);
        break;
    default:
        safetensors(s, bytes, len);
    }
    StrBuf sb = sb_new(s->arena);
    diag_render_all(s->ctx, false, true, &sb);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!size)
        return 0;
    Session s = {.ctx = ctx_new(0)};
    Input in = {&s, data, size};
    if (!s.ctx || ctx_protect(s.ctx, body, &in) != CTX_OK) {
        fprintf(stderr, "internal error: %s\n", s.ctx ? s.ctx->internal : "no context");
        abort();
    }
    ctx_free(s.ctx);
    return 0;
}
