/* Pictures and curves as text. */
#include "driver/draw.h"

#include <math.h>
#include <string.h>

/* ---- pictures */

typedef struct Shades {
    double black, white;
} Shades;

static Shades shades_of(const Picture *p) {
    double least = INFINITY, most = -INFINITY;
    for (int64_t k = 0; k < p->channels * p->height * p->width; k++)
        if (isfinite(p->data[k])) {
            least = fmin(least, p->data[k]);
            most = fmax(most, p->data[k]);
        }
    if (least >= 0 && most > 1 && most <= 255)
        return (Shades){0, 255};
    return (Shades){least, most > least ? most : least + 1};
}

/* The mean of the pixels of a cell of a coarser grid, 0 .. 1. */
static double cell(const Picture *p, Shades s, int64_t c, const int64_t at[4]) {
    double sum = 0;
    for (int64_t i = at[0]; i < at[1]; i++)
        for (int64_t j = at[2]; j < at[3]; j++)
            sum += p->data[(c * p->height + i) * p->width + j];
    double mean = sum / (double)((at[1] - at[0]) * (at[3] - at[2]));
    double t = (mean - s.black) / (s.white - s.black);
    return t >= 0 ? fmin(t, 1) : 0; /* NaN is black */
}

typedef struct Grid {
    const Picture *p;
    Shades s;
    int64_t rows, columns;
} Grid;

static double pixel(const Grid *g, int64_t c, int64_t row, int64_t column) {
    if (row >= g->rows)
        return 0;
    int64_t at[4] = {row * g->p->height / g->rows, (row + 1) * g->p->height / g->rows,
                     column * g->p->width / g->columns, (column + 1) * g->p->width / g->columns};
    return cell(g->p, g->s, g->p->channels == 3 ? c : 0, at);
}

static void put_half_block(StrBuf *sb, const Grid *g, int64_t row, int64_t column) {
    int v[6];
    for (int k = 0; k < 6; k++)
        v[k] = (int)lrint(255 * pixel(g, k % 3, row + k / 3, column));
    sb_printf(sb, "\x1b[38;2;%d;%d;%d;48;2;%d;%d;%dm▀", v[0], v[1], v[2], v[3], v[4], v[5]);
}

static void put_shade(StrBuf *sb, const Grid *g, int64_t row, int64_t column) {
    static const char *const shades[] = {" ", "░", "▒", "▓", "█"};
    double sum = 0;
    for (int k = 0; k < 6; k++)
        sum += pixel(g, k % 3, row + k / 3 < g->rows ? row + k / 3 : row, column) / 6;
    sb_put(sb, shades[(int)lrint(4 * sum)]);
}

void draw_picture(StrBuf *sb, const Picture *p, int columns, bool color) {
    if (p->height < 1 || p->width < 1)
        return;
    Grid g = {.p = p, .s = shades_of(p), .rows = p->height, .columns = p->width};
    if (p->width > columns) {
        g.columns = columns;
        g.rows = p->height * columns / p->width;
        g.rows = g.rows ? g.rows : 1;
    }
    for (int64_t row = 0; row < g.rows; row += 2) {
        for (int64_t column = 0; column < g.columns; column++)
            (color ? put_half_block : put_shade)(sb, &g, row, column);
        sb_put(sb, color ? "\x1b[0m\n" : "\n");
    }
}

/* ---- curves */

typedef struct Range {
    double least, most;
} Range;

static double x_of(const Curve *c, int64_t k) { return c->x ? c->x[k] : (double)k; }

static void widen(Range *r, double v) {
    r->least = fmin(r->least, v);
    r->most = fmax(r->most, v);
}

typedef struct Axes {
    Range x, y;
} Axes;

static bool is_shown(const Curve *c, int64_t k) {
    return isfinite(x_of(c, k)) && isfinite(c->y[k]);
}

/* The ranges of all points; false: there is none. A range of one value is widened by 1. */
static bool axes_of(const Curve *c, int n, Axes *a) {
    *a = (Axes){{INFINITY, -INFINITY}, {INFINITY, -INFINITY}};
    for (int i = 0; i < n; i++)
        for (int64_t k = 0; k < c[i].n; k++)
            if (is_shown(&c[i], k)) {
                widen(&a->x, x_of(&c[i], k));
                widen(&a->y, c[i].y[k]);
            }
    if (!(a->x.least <= a->x.most))
        return false;
    Range *both[2] = {&a->x, &a->y};
    for (int k = 0; k < 2; k++)
        if (both[k]->least == both[k]->most) {
            both[k]->least -= 0.5;
            both[k]->most += 0.5;
        }
    return true;
}

static double share(Range r, double v) { return (v - r.least) / (r.most - r.least); }

enum { MOST_COLUMNS = 240, MOST_ROWS = 80 };

typedef struct Dots {
    uint8_t cells[MOST_ROWS][MOST_COLUMNS]; /* bits of the braille pattern */
    int columns, rows;
} Dots;

/* x, y in dots; y counts from the top. Bits: Unicode, block Braille Patterns. */
static void set_dot(Dots *d, int x, int y) {
    static const uint8_t bits[4][2] = {{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}};
    if (x >= 0 && y >= 0 && x < 2 * d->columns && y < 4 * d->rows)
        d->cells[y / 4][x / 2] |= bits[y % 4][x % 2];
}

static void set_line(Dots *d, const double from[2], const double to[2]) {
    double steps = ceil(fmax(fmax(fabs(to[0] - from[0]), fabs(to[1] - from[1])), 1));
    for (double k = 0; k <= steps; k++)
        set_dot(d, (int)lrint(from[0] + (to[0] - from[0]) * k / steps),
                (int)lrint(from[1] + (to[1] - from[1]) * k / steps));
}

static void set_curve(Dots *d, const Axes *a, const Curve *c) {
    double last[2] = {0, 0};
    bool joined = false;
    for (int64_t k = 0; k < c->n; k++) {
        if (!is_shown(c, k)) {
            joined = false;
            continue;
        }
        double at[2] = {share(a->x, x_of(c, k)) * (2 * d->columns - 1),
                        (1 - share(a->y, c->y[k])) * (4 * d->rows - 1)};
        set_line(d, joined ? last : at, at);
        memcpy(last, at, sizeof last);
        joined = true;
    }
}

static void put_braille(StrBuf *sb, uint8_t bits) {
    uint32_t c = 0x2800u + bits; /* three bytes of UTF-8 */
    sb_putc(sb, (char)(0xe0 | c >> 12));
    sb_putc(sb, (char)(0x80 | (c >> 6 & 0x3f)));
    sb_putc(sb, (char)(0x80 | (c & 0x3f)));
}

void draw_curves(StrBuf *sb, const Curve *c, int n, int columns, int rows) {
    Axes a;
    if (!axes_of(c, n, &a))
        return;
    Dots d = {.columns = columns < MOST_COLUMNS ? columns : MOST_COLUMNS,
              .rows = rows < MOST_ROWS ? rows : MOST_ROWS};
    for (int k = 0; k < n; k++)
        set_curve(&d, &a, &c[k]);
    for (int row = 0; row < d.rows; row++) {
        if (row == 0 || row == d.rows - 1)
            sb_printf(sb, "%11.5g ", row ? a.y.least : a.y.most);
        else
            sb_printf(sb, "%12s", "");
        sb_put(sb, "│");
        for (int k = 0; k < d.columns; k++)
            put_braille(sb, d.cells[row][k]);
        sb_putc(sb, '\n');
    }
    sb_printf(sb, "%12s└", "");
    for (int k = 0; k < d.columns; k++)
        sb_put(sb, "─");
    sb_printf(sb, "\n%12s%-*.5g%.5g\n", "", d.columns - 6, a.x.least, a.x.most);
}

/* ---- SVG: 640 x 400, margins for the labels */

enum { WIDTH = 640, HEIGHT = 400, LEFT = 70, RIGHT = 20, TOP = 20, BOTTOM = 40 };

static void put_label(StrBuf *sb, double x, double y, const char *anchor, double value) {
    sb_printf(sb, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%.5g</text>\n", x, y, anchor,
              value);
}

static void put_ticks(StrBuf *sb, const Axes *a) {
    for (int k = 0; k <= 4; k++) {
        double x = LEFT + k * (WIDTH - LEFT - RIGHT) / 4.0,
               y = HEIGHT - BOTTOM - k * (HEIGHT - TOP - BOTTOM) / 4.0;
        put_label(sb, x, HEIGHT - BOTTOM + 18, "middle",
                  a->x.least + k * (a->x.most - a->x.least) / 4);
        put_label(sb, LEFT - 8, y + 4, "end", a->y.least + k * (a->y.most - a->y.least) / 4);
        sb_printf(sb, "<path d=\"M%d %.1fH%d\" stroke=\"#ddd\"/>\n", LEFT, y, WIDTH - RIGHT);
    }
}

static void put_path(StrBuf *sb, const Axes *a, const Curve *c, const char *color) {
    bool joined = false;
    sb_put(sb, "<path fill=\"none\" stroke-width=\"1.5\" stroke=\"");
    sb_printf(sb, "%s\" d=\"", color);
    for (int64_t k = 0; k < c->n; k++) {
        bool shown = is_shown(c, k);
        if (shown)
            sb_printf(sb, "%s%.2f %.2f", joined ? "L" : "M",
                      LEFT + share(a->x, x_of(c, k)) * (WIDTH - LEFT - RIGHT),
                      HEIGHT - BOTTOM - share(a->y, c->y[k]) * (HEIGHT - TOP - BOTTOM));
        joined = shown;
    }
    sb_put(sb, "\"/>\n");
}

void draw_curves_svg(StrBuf *sb, const Curve *c, int n) {
    /* Okabe and Ito's palette, which the colour-blind tell apart */
    static const char *const colors[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                         "#e69f00", "#56b4e9", "#f0e442", "#000000"};
    sb_printf(sb,
              "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" "
              "font-family=\"sans-serif\" "
              "font-size=\"12\">\n<rect width=\"%d\" height=\"%d\" fill=\"white\"/>\n",
              WIDTH, HEIGHT, WIDTH, HEIGHT);
    Axes a;
    if (axes_of(c, n, &a)) {
        put_ticks(sb, &a);
        for (int k = 0; k < n; k++)
            put_path(sb, &a, &c[k], colors[k % 8]);
        sb_printf(sb, "<path d=\"M%d %dV%dH%d\" fill=\"none\" stroke=\"black\"/>\n", LEFT, TOP,
                  HEIGHT - BOTTOM, WIDTH - RIGHT);
    }
    sb_put(sb, "</svg>\n");
}
