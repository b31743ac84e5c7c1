/* :img and :plot: a value as a picture or a curve, on the terminal or in a file; load("FILE"): a
 * value from one. */
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "driver/data/array.h"
#include "driver/draw.h"
#include "driver/repl_priv.h"

enum { COLUMNS = 72, ROWS = 16, LARGEST = 1 << 22 };

/* `E [FILE]`: the file is the last word if it has this suffix. */
static const char *split_file(Eval *e, const char *arg, const char *const *suffixes,
                              const char **file) {
    const char *blank = strrchr(arg, ' '), *dot = blank ? strrchr(blank, '.') : NULL;
    *file = NULL;
    for (int k = 0; dot && suffixes[k]; k++)
        if (strcmp(dot, suffixes[k]) == 0) {
            *file = blank + 1;
            return str_intern(e->ctx, arg, (size_t)(blank - arg));
        }
    return arg;
}

static bool value_of(Eval *e, const char *text, ReplValue *v) {
    const Expr *x = repl_parse(e, text);
    if (!x || !repl_evaluate(e, x, v))
        return false;
    repl_bind(e->s, "_", v);
    if (v->count <= LARGEST)
        return true;
    diag_error(e->ctx, "E1122", (Span){0}, "%zu elements are too many to draw", v->count);
    return false;
}

static double *reals_of(Eval *e, const ReplValue *v) {
    double *d = ARENA_ARRAY(&e->arena, double, v->count + 1);
    for (size_t i = 0; i < v->count; i++)
        d[i] = v->dt == DT_F32    ? (double)((const float *)v->data)[i]
               : v->dt == DT_F64  ? ((const double *)v->data)[i]
               : v->dt == DT_I32  ? (double)((const int32_t *)v->data)[i]
               : v->dt == DT_BOOL ? (double)((const uint8_t *)v->data)[i]
                                  : (double)((const int64_t *)v->data)[i];
    return d;
}

/* Columns of the terminal that it is drawn on, else COLUMNS. */
static int columns_of(const Eval *e) {
    struct winsize w;
    if (e->s->typed && ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 20)
        return w.ws_col < 120 ? w.ws_col - 16 : 104;
    return COLUMNS;
}

static bool save_array(Eval *e, const char *path, const double *d, const ReplValue *v) {
    Session s = {.ctx = e->ctx, .arena = &e->arena};
    Array *a = array_new(&s, CELL_F64, v->rank, v->shape, "the value");
    if (a)
        memcpy(a->data, d, v->count * sizeof *d);
    return a && data_save(&s, path, a);
}

void repl_img(Eval *e, const char *arg) {
    static const char *const suffixes[] = {".png", ".pgm", ".ppm", NULL};
    const char *file;
    ReplValue v;
    const char *text = split_file(e, arg, suffixes, &file);
    if (!value_of(e, text, &v))
        return;
    int64_t channels = v.rank == 3 ? v.shape[0] : 1;
    if ((v.rank != 2 && v.rank != 3) || (channels != 1 && channels != 3)) {
        Diag *d = diag_error(e->ctx, "E1120", (Span){0}, "%s is no picture", v.type_text);
        diag_help(e->ctx, d, "a picture is [height, width], or [3, height, width] in colour");
        return;
    }
    double *px = reals_of(e, &v);
    Picture p = {px, channels, v.shape[v.rank - 2], v.shape[v.rank - 1]};
    if (file)
        save_array(e, file, px, &v);
    else
        draw_picture(&e->out, &p, columns_of(e), e->s->options->color && e->s->typed);
}

/* The curves of a value: a vector; the rows of [K, N]; or, of [N, 2], points. */
static int curves_of(Eval *e, const ReplValue *v, Curve **out) {
    double *d = reals_of(e, v);
    bool points = v->rank == 2 && v->shape[1] == 2 && v->shape[0] > 2;
    int n = v->rank == 1 || points ? 1 : (int)v->shape[0];
    int64_t each = v->rank == 1 || points ? v->shape[0] : v->shape[1];
    *out = ARENA_ARRAY(&e->arena, Curve, n + 1);
    for (int k = 0; k < n; k++)
        (*out)[k] = (Curve){.y = d + k * each, .n = each};
    if (points) {
        double *x = ARENA_ARRAY(&e->arena, double, 2 * each + 1);
        for (int64_t k = 0; k < each; k++) {
            x[k] = d[2 * k];
            x[each + k] = d[2 * k + 1];
        }
        **out = (Curve){.x = x, .y = x + each, .n = each};
    }
    return n;
}

void repl_plot(Eval *e, const char *arg) {
    static const char *const suffixes[] = {".svg", NULL};
    const char *file;
    ReplValue v;
    const char *text = split_file(e, arg, suffixes, &file);
    if (!value_of(e, text, &v))
        return;
    if (v.rank != 1 && (v.rank != 2 || (v.shape[0] > 8 && v.shape[1] != 2))) {
        Diag *d = diag_error(e->ctx, "E1121", (Span){0}, "%s is no curve", v.type_text);
        diag_help(e->ctx, d,
                  "a curve is a vector, points are [N, 2], and [K, N] is K curves, 8 at most");
        return;
    }
    Curve *c;
    int n = curves_of(e, &v, &c);
    if (!file) {
        draw_curves(&e->out, c, n, columns_of(e), ROWS);
        return;
    }
    Session s = {.ctx = e->ctx, .arena = &e->arena};
    StrBuf svg = sb_new(&e->arena);
    draw_curves_svg(&svg, c, n);
    session_write(&s, file, svg.text, svg.len);
}
