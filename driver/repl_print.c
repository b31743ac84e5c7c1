/* Values as the session prints them: scalars to the last digit, tensors as NumPy does, in columns,
 * with at most eight decimals, and of large ones the corners. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver/repl_priv.h"

enum {
    EDGE = 3,
    MOST_SHOWN = 1000, /* of larger values, the first and last EDGE of each axis are shown */
    MOST_DECIMALS = 8,
    TEXT = 64
};

static bool is_real(const ReplValue *v) { return dtype_is_real(v->dt); }

static double element(const ReplValue *v, size_t i) {
    return v->dt == DT_F32 ? (double)((const float *)v->data)[i] : ((const double *)v->data)[i];
}

/* The digits behind the first one of the shortest decimal that reads back, which is left in text.
 */
static int shortest(double x, bool single, char *text) {
    int digits = 0;
    for (; digits < 17; digits++) {
        snprintf(text, TEXT, "%.*e", digits, x);
        if (single ? strtof(text, NULL) == (float)x : strtod(text, NULL) == x)
            break;
    }
    return digits;
}

/* A scalar: "50.0", "0.1", "1e-07". */
static void put_scalar(StrBuf *out, double x, bool single) {
    char text[TEXT];
    if (!isfinite(x)) {
        sb_real(out, x);
        return;
    }
    int digits = shortest(x, single, text), exponent = atoi(strchr(text, 'e') + 1);
    if (exponent < -5 || exponent > 15)
        sb_put(out, text);
    else
        sb_printf(out, "%.*f", digits - exponent > 1 ? digits - exponent : 1, x);
}

/* ---- the columns of a tensor */

typedef struct Columns {
    const ReplValue *v;
    bool scientific;
    int decimals, width;
    double most, least; /* magnitudes of what is shown, but for 0 */
} Columns;

static void put_element(const Columns *c, size_t i, char *text) {
    const ReplValue *v = c->v;
    if (v->dt == DT_BOOL)
        snprintf(text, TEXT, "%s", ((const uint8_t *)v->data)[i] ? "true" : "false");
    else if (v->dt == DT_I32)
        snprintf(text, TEXT, "%d", ((const int32_t *)v->data)[i]);
    else if (v->dt == DT_I64)
        snprintf(text, TEXT, "%lld", (long long)((const int64_t *)v->data)[i]);
    else if (!isfinite(element(v, i)))
        snprintf(text, TEXT, "%s",
                 isnan(element(v, i)) ? "nan"
                 : element(v, i) > 0  ? "inf"
                                      : "-inf");
    else
        snprintf(text, TEXT, c->scientific ? "%.*e" : "%.*f", c->decimals, element(v, i));
}

/* Decimals behind the point that an element needs: those of its shortest form, or what remains of
 * MOST_DECIMALS without the zeros at the end. */
static int needed(const Columns *c, size_t i) {
    char text[TEXT * 6];
    double x = element(c->v, i);
    if (!isfinite(x))
        return 0;
    int digits = shortest(x, c->v->dt == DT_F32, text);
    int n = c->scientific ? digits : digits - atoi(strchr(text, 'e') + 1);
    if (n <= MOST_DECIMALS)
        return n > 1 ? n : 1;
    snprintf(text, sizeof text, c->scientific ? "%.*e" : "%.*f", MOST_DECIMALS, x);
    size_t end = c->scientific ? (size_t)(strchr(text, 'e') - text) : strlen(text);
    for (n = MOST_DECIMALS; n > 1 && text[end - 1] == '0'; n--)
        end--;
    return n;
}

static void magnitude(Columns *c, size_t i) {
    double x = fabs(element(c->v, i));
    if (!isfinite(x) || x == 0)
        return;
    c->most = fmax(c->most, x);
    c->least = fmin(c->least, x);
}

static void decimals(Columns *c, size_t i) {
    int n = needed(c, i);
    c->decimals = n > c->decimals ? n : c->decimals;
}

static void width(Columns *c, size_t i) {
    char text[TEXT];
    put_element(c, i, text);
    int n = (int)strlen(text);
    c->width = n > c->width ? n : c->width;
}

/* Every element that is shown, in order. */
static void each_shown(Columns *c, void (*visit)(Columns *, size_t), int axis, size_t at,
                       size_t stride) {
    const ReplValue *v = c->v;
    if (axis == v->rank) {
        visit(c, at);
        return;
    }
    int64_t n = v->shape[axis];
    size_t inner = n ? stride / (size_t)n : 0;
    for (int64_t i = 0; i < n; i++) {
        if (v->count > MOST_SHOWN && i == EDGE && n > 2 * EDGE)
            i = n - EDGE;
        each_shown(c, visit, axis + 1, at + (size_t)i * inner, inner);
    }
}

static Columns columns_of(const ReplValue *v) {
    Columns c = {.v = v, .least = INFINITY};
    if (is_real(v)) {
        each_shown(&c, magnitude, 0, 0, v->count);
        c.scientific = c.most >= 1e10 || (c.most > 0 && (c.most < 1e-4 || c.most / c.least > 1e8));
        each_shown(&c, decimals, 0, 0, v->count);
    }
    each_shown(&c, width, 0, 0, v->count);
    return c;
}

static void put_axis(StrBuf *out, const Columns *c, int axis, size_t at, size_t stride) {
    const ReplValue *v = c->v;
    if (axis == v->rank) {
        char text[TEXT];
        put_element(c, at, text);
        sb_printf(out, "%*s", c->width, text);
        return;
    }
    int64_t n = v->shape[axis];
    size_t inner = n ? stride / (size_t)n : 0;
    sb_putc(out, '[');
    for (int64_t i = 0; i < n; i++) {
        if (i > 0 && axis == v->rank - 1)
            sb_put(out, ", ");
        else if (i > 0)
            sb_printf(out, ",\n%*s", axis + 1, "");
        if (v->count > MOST_SHOWN && i == EDGE && n > 2 * EDGE) {
            sb_put(out, "...");
            i = n - EDGE - 1;
            continue;
        }
        put_axis(out, c, axis + 1, at + (size_t)i * inner, inner);
    }
    sb_putc(out, ']');
}

void repl_put_value(StrBuf *out, const ReplValue *v) {
    if (v->rank == 0 && is_real(v)) {
        put_scalar(out, element(v, 0), v->dt == DT_F32);
    } else {
        Columns c = columns_of(v);
        put_axis(out, &c, 0, 0, v->count);
    }
    sb_putc(out, '\n');
}
