/* Images: PNG by libpng, PGM and PPM by hand. [H, W], or [C, H, W] with C 1 or 3; an alpha channel is dropped. Output rounds
 * to the nearest (ties to even) and clamps to 0..255. */
#include <math.h>
#include <png.h>
#include <string.h>

#include "driver/data/array.h"

enum { MOST_PIXELS = 1 << 28 };

static Array *bad(Session *s, const char *path, const char *why) {
    session_file_error(s, (Span){0}, "`%s` is no image that can be read: %s", path, why);
    return NULL;
}

/* [H, W, C] bytes -> [C, H, W], or [H, W] where C is 1 */
static Array *planes(Session *s, const char *path, const uint8_t *rgb, int64_t h, int64_t w, int c) {
    int64_t shape[3] = {c, h, w};
    Array *a = array_new(s, CELL_U8, c == 1 ? 2 : 3, c == 1 ? shape + 1 : shape, path);
    for (int64_t k = 0; a && k < h * w; k++)
        for (int j = 0; j < c; j++)
            ((uint8_t *)a->data)[j * h * w + k] = rgb[k * c + j];
    return a;
}

Array *png_read(Session *s, const char *path, const char *bytes, size_t len) {
    png_image img = {.version = PNG_IMAGE_VERSION};
    if (!png_image_begin_read_from_memory(&img, bytes, len))
        return bad(s, path, img.message);
    if ((uint64_t)img.width * img.height > MOST_PIXELS) {
        png_image_free(&img);
        return bad(s, path, "it has more than 2^28 pixels");
    }
    bool color = img.format & PNG_FORMAT_FLAG_COLOR;
    img.format = color ? PNG_FORMAT_RGBA : PNG_FORMAT_GA;
    int c = color ? 4 : 2;
    uint8_t *all = arena_array(s->arena, (size_t)img.width * img.height, (size_t)c);
    int64_t h = img.height, w = img.width;
    if (!png_image_finish_read(&img, NULL, all, 0, NULL))
        return bad(s, path, img.message);
    for (int64_t k = 0; k < h * w; k++)
        memmove(all + k * (c - 1), all + k * c, (size_t)c - 1);
    return planes(s, path, all, h, w, c - 1);
}

/* The image as interleaved bytes; false with a message if its shape is none. */
static bool interleaved(Session *s, const char *path, const Array *a, uint8_t **out, int64_t *h, int64_t *w, int *c) {
    bool rgb = a->rank == 3 && (a->shape[0] == 3 || a->shape[0] == 1);
    if (a->rank != 2 && !rgb) {
        session_file_error(s, (Span){0}, "`%s`: an image is [H, W], [1, H, W] or [3, H, W], not %s", path, array_shape_text(s, a));
        return false;
    }
    *c = rgb ? (int)a->shape[0] : 1;
    *h = a->shape[a->rank - 2];
    *w = a->shape[a->rank - 1];
    *out = arena_array(s->arena, (size_t)(*h * *w), (size_t)*c);
    for (int64_t k = 0; k < *h * *w; k++)
        for (int j = 0; j < *c; j++) {
            double v = rint(array_get(a, j * *h * *w + k));
            (*out)[k * *c + j] = (uint8_t)(v > 255 ? 255 : v > 0 ? v : 0);
        }
    return true;
}

bool png_write(Session *s, StrBuf *sb, const char *path, const Array *a) {
    uint8_t *all;
    int64_t h, w;
    int c;
    if (!interleaved(s, path, a, &all, &h, &w, &c))
        return false;
    png_image img = {.version = PNG_IMAGE_VERSION, .width = (png_uint_32)w, .height = (png_uint_32)h};
    img.format = c == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
    png_alloc_size_t n = 0;
    bool ok = png_image_write_get_memory_size(img, n, 0, all, 0, NULL);
    char *bytes = ok ? arena_alloc(s->arena, n) : NULL;
    ok = ok && png_image_write_to_memory(&img, bytes, &n, 0, all, 0, NULL);
    if (!ok)
        session_file_error(s, (Span){0}, "`%s` cannot be written: %s", path, img.message);
    else
        sb_putn(sb, bytes, n);
    return ok;
}

/* ---- PGM P5, PPM P6, 8 bits */

static bool header_number(const char **p, const char *end, int64_t *v) {
    while (*p < end && (strchr(" \t\r\n", **p) || **p == '#')) {
        if (**p == '#')
            while (*p < end && **p != '\n')
                (*p)++;
        else
            (*p)++;
    }
    int digits = 0;
    for (*v = 0; *p < end && **p >= '0' && **p <= '9' && digits < 9; (*p)++, digits++)
        *v = 10 * *v + (**p - '0');
    return digits > 0;
}

Array *pnm_read(Session *s, const char *path, const char *bytes, size_t len) {
    const char *p = bytes + 2, *end = bytes + len;
    int64_t w, h, top;
    int c = len > 2 && bytes[1] == '6' ? 3 : 1;
    if (len < 3 || bytes[0] != 'P' || (bytes[1] != '5' && bytes[1] != '6'))
        return bad(s, path, "it begins with neither P5 nor P6");
    if (!header_number(&p, end, &w) || !header_number(&p, end, &h) || !header_number(&p, end, &top) || top != 255 || p == end)
        return bad(s, path, "its header is not WIDTH HEIGHT 255");
    p++;
    if (w * h > MOST_PIXELS || end - p != w * h * c)
        return bad(s, path, "its size does not match its header");
    return planes(s, path, (const uint8_t *)p, h, w, c);
}

bool pnm_write(Session *s, StrBuf *sb, const char *path, const Array *a) {
    uint8_t *all;
    int64_t h, w;
    int c;
    if (!interleaved(s, path, a, &all, &h, &w, &c))
        return false;
    sb_printf(sb, "P%c\n%lld %lld\n255\n", c == 3 ? '6' : '5', (long long)w, (long long)h);
    sb_putn(sb, (const char *)all, (size_t)(h * w * c));
    return true;
}
