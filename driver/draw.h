/* Pictures and curves as text: for terminals, and curves as SVG. */
#ifndef CNNC_DRIVER_DRAW_H
#define CNNC_DRIVER_DRAW_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

/* Pixels by row; channels 1 (grey) or 3 (red, green, blue), one plane after the other. */
typedef struct Picture {
    const double *data;
    int64_t channels, height, width;
} Picture;

/* Half blocks of two pixels each, in 24-bit colour, or shades of grey without colour. At most
 * `columns` wide; larger pictures are averaged down. Black is the least value shown, white the
 * greatest, unless all lie in 0 .. 255 and some exceed 1: then these are black and white. */
void draw_picture(StrBuf *sb, const Picture *p, int columns, bool color);

/* Points joined in order; what is not finite leaves a gap. */
typedef struct Curve {
    const double *x, *y; /* x NULL: 0, 1, 2, ... */
    int64_t n;
} Curve;

/* Braille dots, two by four in a character, with the ranges of both axes. All curves share the
 * axes. */
void draw_curves(StrBuf *sb, const Curve *c, int n, int columns, int rows);
void draw_curves_svg(StrBuf *sb, const Curve *c, int n);

#endif
