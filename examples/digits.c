#include "digits.h"

#include <math.h>

/* Each digit is a polyline in the unit square, y downwards, ended by -2. */
static const float STROKES[10][32] = {
    {.5f, .05f, .2f, .2f, .15f, .5f, .2f, .8f, .5f, .95f, .8f, .8f, .85f, .5f, .8f, .2f, .5f, .05f, -2},
    {.3f, .25f, .55f, .05f, .55f, .95f, -2},
    {.15f, .25f, .4f, .05f, .75f, .12f, .8f, .35f, .5f, .6f, .15f, .95f, .85f, .95f, -2},
    {.2f, .1f, .7f, .08f, .78f, .3f, .45f, .47f, .8f, .65f, .72f, .9f, .2f, .92f, -2},
    {.65f, .95f, .65f, .05f, .15f, .65f, .88f, .65f, -2},
    {.8f, .06f, .28f, .06f, .22f, .45f, .6f, .42f, .82f, .65f, .65f, .92f, .18f, .9f, -2},
    {.7f, .05f, .35f, .3f, .18f, .65f, .35f, .93f, .7f, .9f, .8f, .65f, .55f, .5f, .22f, .62f, -2},
    {.15f, .08f, .85f, .08f, .45f, .95f, -2},
    {.5f, .48f, .22f, .3f, .3f, .08f, .7f, .08f, .78f, .3f, .5f, .48f, .18f, .72f, .3f, .93f, .7f, .93f, .82f, .72f, .5f, .48f, -2},
    {.78f, .38f, .45f, .5f, .2f, .3f, .4f, .06f, .72f, .1f, .78f, .38f, .65f, .95f, -2}};

static unsigned next(unsigned *s) { /* xorshift32 (Marsaglia 2003) */
    *s ^= *s << 13;
    *s ^= *s >> 17;
    return *s ^= *s << 5;
}

static float uniform(unsigned *s, float lo, float hi) {
    return lo + (hi - lo) * (float)(next(s) >> 8) / 16777216.0f;
}

/* Distance from (x, y) to the segment (ax, ay) - (bx, by). */
static float distance(float x, float y, float ax, float ay, float bx, float by) {
    float dx = bx - ax, dy = by - ay;
    float t = ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy + 1e-9f);
    t = t < 0 ? 0 : t > 1 ? 1 : t;
    return hypotf(x - ax - t * dx, y - ay - t * dy);
}

/* The strokes of a digit, bent, slanted, turned and placed; returns how many numbers p has. */
static int place(int digit, unsigned *s, float *p) {
    float angle = uniform(s, -.25f, .25f), slant = uniform(s, -.3f, .3f);
    float sx = uniform(s, 11, 16), sy = uniform(s, 16, 20);
    float cx = 14 + uniform(s, -2, 2), cy = 14 + uniform(s, -2, 2);
    int n = 0;
    for (const float *q = STROKES[digit]; *q != -2; q += 2, n += 2) {
        float u = (q[0] - .5f + uniform(s, -.05f, .05f)) * sx;
        float v = (q[1] - .5f + uniform(s, -.05f, .05f)) * sy;
        u -= slant * v;
        p[n] = cx + u * cosf(angle) - v * sinf(angle);
        p[n + 1] = cy + u * sinf(angle) + v * cosf(angle);
    }
    return n;
}

static void draw(int digit, unsigned *s, float *image) {
    float p[32], pen = uniform(s, .9f, 1.7f);
    int n = place(digit, s, p);
    for (int i = 0; i < 28; i++)
        for (int j = 0; j < 28; j++) {
            float d = 99;
            for (int k = 0; k + 3 < n; k += 2)
                d = fminf(d, distance((float)j, (float)i, p[k], p[k + 1], p[k + 2], p[k + 3]));
            float ink = 255 * fminf(1, fmaxf(0, pen + .5f - d)) + uniform(s, -12, 12);
            image[28 * i + j] = rintf(fminf(255, fmaxf(0, ink)));
        }
}

void draw_digits(int n, unsigned seed, float *images, int *labels) {
    unsigned s = seed * 2654435761u + 1;
    for (int k = 0; k < n; k++) {
        labels[k] = (int)(next(&s) >> 8) % 10;
        draw(labels[k], &s, images + 784 * k);
    }
}
