/* driver/bind.h and the CSV reader: shapes with axes of length 1, missing cells, texts as labels.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "driver/bind.h"

typedef struct World {
    Session s;
    DimEnv env;
    DimSym n, d, j;
    AbiBlock block;
    LabelList labels;
    DataSet data;
} World;

static void set_up(World *w) {
    memset(w, 0, sizeof *w);
    w->s.ctx = ctx_new(0);
    assert_non_null(w->s.ctx);
    w->s.arena = &w->s.ctx->perm;
    w->n = dim_symbol_new(w->s.ctx, str_of(w->s.ctx, "N"), 1, false);
    w->d = dim_symbol_new(w->s.ctx, str_of(w->s.ctx, "D"), 1, false);
    w->j = dim_symbol_new(w->s.ctx, str_of(w->s.ctx, "J"), 1, false);
}

static void tear_down(World *w) { ctx_free(w->s.ctx); }

/* The message of the last error, and forgets all. */
static const char *last_error(World *w) {
    Diags *d = diags_of(w->s.ctx);
    const char *text = d->all.n ? d->all.p[d->all.n - 1]->message : "";
    diag_clear(w->s.ctx);
    w->s.status = 0;
    return text;
}

static Array *csv(World *w, const char *text, const char *columns) {
    return csv_read(&w->s, "t.csv", text, strlen(text), columns);
}

static void add_data(World *w, const char *name, AbiKind kind, Dim bound, Dim rows, Array *a) {
    AbiData d = {.name = str_of(w->s.ctx, name),
                 .type = type_new(w->s.ctx, DT_I32, 1, &rows),
                 .kind = kind,
                 .bound = bound};
    vec_push(w->s.arena, &w->block.data, d);
    vec_push(w->s.arena, &w->data.all, (NamedArray){d.name, a});
}

static void axes_of_length_one_may_be_left_out_on_both_sides(void **state) {
    World w;
    int64_t n = 0, d = 0;
    (void)state;
    set_up(&w);
    Ctx *ctx = w.s.ctx;
    Dim nd[2] = {dim_of(ctx, w.n), dim_of(ctx, w.d)},
        image[4] = {dim_of(ctx, w.n), dim_const(ctx, 1), dim_const(ctx, 28), dim_const(ctx, 28)};
    Type t = type_new(ctx, DT_F64, 2, nd), x = type_new(ctx, DT_F64, 4, image);
    int64_t shapes[][3] = {{20, 0, 0}, {20, 3, 0}, {20, 1, 3}, {7, 28, 28}, {28, 28, 0}, {1, 1, 0}};
    DimEnv e = {0};
    assert_true(bind_shape(&w.s, &e, "X", t, array_new(&w.s, CELL_F64, 1, shapes[0], "a")));
    assert_true(env_get(&e, w.n, &n) && env_get(&e, w.d, &d) && n == 20 &&
                d == 1); /* one feature */
    e = (DimEnv){0};
    assert_true(bind_shape(&w.s, &e, "X", t, array_new(&w.s, CELL_F64, 2, shapes[1], "a")));
    assert_true(env_get(&e, w.d, &d) && d == 3);
    assert_true(bind_shape(&w.s, &e, "X", t, array_new(&w.s, CELL_F64, 3, shapes[2], "a")));
    e = (DimEnv){0};
    assert_true(bind_shape(&w.s, &e, "x", x, array_new(&w.s, CELL_F64, 3, shapes[3], "a")));
    assert_true(env_get(&e, w.n, &n) && n == 7);
    e = (DimEnv){0};
    assert_true(bind_shape(&w.s, &e, "x", x, array_new(&w.s, CELL_F64, 2, shapes[4], "a")));
    assert_true(env_get(&e, w.n, &n) && n == 1); /* a single picture */
    e = (DimEnv){0};
    assert_true(bind_shape(&w.s, &e, "X", t, array_new(&w.s, CELL_F64, 0, NULL, "a")));
    assert_true(env_get(&e, w.n, &n) && env_get(&e, w.d, &d) && n == 1 && d == 1);
    e = (DimEnv){0};
    env_set(&w.s, &e, w.n, 20);
    assert_false(bind_shape(&w.s, &e, "X", t, array_new(&w.s, CELL_F64, 3, shapes[3], "a")));
    assert_string_equal(last_error(&w),
                        "X: `a` has shape [7, 28, 28], declared is [N, D] with N = 20");
    assert_int_equal(e.v.n, 1); /* nothing stays bound */
    tear_down(&w);
}

static void dims_in_formulas_are_checked_when_they_are_known(void **state) {
    World w;
    (void)state;
    set_up(&w);
    Ctx *ctx = w.s.ctx;
    Dim s[2] = {dim_addk(ctx, dim_of(ctx, w.n), -2), dim_of(ctx, w.n)},
        twice[1] = {dim_scale(ctx, dim_of(ctx, w.d), 2)};
    int64_t good[] = {3, 5}, bad[] = {4, 5}, odd[] = {7};
    DimEnv e = {0};
    assert_true(bind_shape(&w.s, &e, "x", type_new(ctx, DT_F64, 2, s),
                           array_new(&w.s, CELL_F64, 2, good, "a")));
    e = (DimEnv){0};
    assert_false(bind_shape(&w.s, &e, "x", type_new(ctx, DT_F64, 2, s),
                            array_new(&w.s, CELL_F64, 2, bad, "a")));
    assert_false(bind_shape(&w.s, &e, "x", type_new(ctx, DT_F64, 1, twice),
                            array_new(&w.s, CELL_F64, 1, odd, "a")));
    tear_down(&w);
}

/* Short decimals take a path of their own: the number is that of strtod to the bit. */
static void csv_numbers_are_exact(void **state) {
    static const char *const texts[] = {
        "0", "-0", "+7", "5.", ".5", "-.25", "0.1", "123456.789012", "9007199254740991",
        "9007199254740992", "9007199254740993", "1234567890123456789", "12345678901234567890",
        "0.3e1", "1e22", "1e23", "-1E-22", "1e-23", "4.35", "2.2250738585072011e-308", "1e400",
        "179769313486231580793e289", "0.000001", "100e-2", "00012.50", "6.02214076e+23",
        "0.1e1000000000000"};
    World w;
    (void)state;
    set_up(&w);
    for (size_t k = 0; k < sizeof texts / sizeof *texts; k++) {
        Array *a = csv(&w, str_fmt(w.s.ctx, "x\n%s\n", texts[k]), NULL);
        double v = a ? array_get(a, 0) : NAN, want = strtod(texts[k], NULL);
        if (!a || memcmp(&v, &want, sizeof v) != 0)
            fail_msg("%s: %.17g, not %.17g", texts[k], v, want);
    }
    static const char *const wrong[] = {".", "-", "1e", "1e+", "1.2.3", "0x10", "1 2", "12a", "e5"};
    for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++) {
        Array *a = csv(&w, str_fmt(w.s.ctx, "x\n%s\n", wrong[k]), NULL);
        assert_true(a && a->texts && strcmp(a->texts[0], wrong[k]) == 0);
    }
    tear_down(&w);
}

static void csv_cells(void **state) {
    World w;
    (void)state;
    set_up(&w);
    Array *a =
        csv(&w, "a,\"b \"\"q\"\"\",c\r\n 1 ,\"2\",x\r\n\r\n-3e2,.5,\"y\nz\"\r\n", "1,b \"q\",a");
    assert_true(a && a->rank == 2 && a->shape[0] == 2 && a->shape[1] == 3 && !a->texts);
    static const double want[] = {1, 2, 1, 1, 0.5, -300};
    for (int k = 0; k < 6; k++)
        assert_true(array_get(a, k) == want[k]);
    assert_true(a->lines[0] == 2 && a->lines[1] == 4 && a->n_columns == 3);
    Array *t = csv(&w, "g\nred\n\"bl\"\"ue\"\n7\n", NULL);
    assert_true(t && t->texts && strcmp(t->texts[1], "bl\"ue") == 0 &&
                strcmp(t->texts[2], "7") == 0 && array_get(t, 2) == 7);
    assert_null(bind_cells(&w.s, "x", t, DT_F64, KIND_REAL, 0));
    assert_string_equal(last_error(&w),
                        "x: t.csv, row 2, column `g` holds `red`, which is no number");
    static const struct {
        const char *text, *columns, *message;
    } wrong[] = {
        {"a,b\n1,2\n3\n", NULL, "t.csv, row 3: it has 1 fields, the header 2"},
        {"a,b\n1,2\n", "1,c", "t.csv, row 1: there is no column `c`; the header has `a`, `b`"},
        {"alpha,b\n1,2\n", "alhpa", "t.csv, row 1: there is no column `alhpa`; did you mean `alpha`?"},
        {"a,b\n1,2\n", "", "t.csv, row 1: no column is named after the `:`"},
        {"a,b\n1,2\n3,\n", NULL,
         "t.csv, row 3: column `b` holds nothing: a missing value (`--na=drop` leaves such rows out)"},
        {"a,b\n1,NA\n", NULL,
         "t.csv, row 2: column `b` holds `NA`: a missing value (`--na=drop` leaves such rows out)"},
        {"a\n1\nnan\n", NULL,
         "t.csv, row 3: column `a` holds `nan`: a missing value (`--na=drop` leaves such rows out)"},
        {"", NULL, "t.csv, row 1: it is empty"},
        {"a,b\n", NULL, "t.csv, row 2: it has a header and no rows"},
        {"a\n\"1\n", NULL, "t.csv, row 2: a quote is not closed"},
        {"a\n\"1\"2\n", NULL, "t.csv, row 2: text follows a closing quote"},
    };
    for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++) {
        assert_null(csv(&w, wrong[k].text, wrong[k].columns));
        assert_string_equal(last_error(&w), wrong[k].message);
    }
    static const char *const no_numbers[] = {"0x10", "1e", "1,5", "--1", "1 2"};
    for (size_t k = 0; k < sizeof no_numbers / sizeof *no_numbers; k++) {
        a = csv(&w, str_fmt(w.s.ctx, "a\n\"%s\"\n", no_numbers[k]), NULL);
        assert_true(a && a->texts && isnan(array_get(a, 0)));
    }
    tear_down(&w);
}

static void rows_with_missing_cells_are_dropped_from_all_data(void **state) {
    World w;
    int64_t dropped;
    (void)state;
    set_up(&w);
    w.s.o.na = "drop";
    const char *text = "a,b,g,y\n1,2,u,5\n,4,v,6\n7,8,NA,7\n9,10,w,8\n11,12,u,\n";
    Dim rows = dim_of(w.s.ctx, w.n);
    add_data(&w, "X", KIND_REAL, NULL, rows, csv(&w, text, "a,b"));
    add_data(&w, "g", KIND_INDEX, dim_of(w.s.ctx, w.j), rows, csv(&w, text, "g"));
    add_data(&w, "y", KIND_REAL, NULL, rows, csv(&w, text, "y"));
    assert_true(bind_drop_missing(&w.s, &w.block, &w.data, &dropped));
    assert_int_equal(dropped, 3);
    const Array *x = w.data.all.p[0].array, *g = w.data.all.p[1].array, *y = w.data.all.p[2].array;
    assert_true(x->count == 4 && array_get(x, 2) == 9 && array_get(x, 3) == 10 && x->lines[1] == 5);
    assert_true(g->count == 2 && strcmp(g->texts[1], "w") == 0);
    assert_true(y->count == 2 && array_get(y, 0) == 5 && array_get(y, 1) == 8);
    assert_true(bind_labels(&w.s, &w.block, &w.data, &w.env, &w.labels));
    assert_true(array_get(g, 0) == 0 && array_get(g, 1) == 1 && w.labels.p[0].n == 2);
    tear_down(&w);
}

static void texts_become_labels_that_later_data_keep(void **state) {
    World w;
    int64_t v;
    (void)state;
    set_up(&w);
    Dim j = dim_of(w.s.ctx, w.j), rows = dim_of(w.s.ctx, w.n);
    add_data(&w, "g", KIND_INDEX, j, rows, csv(&w, "g\nred\nblue\nred\n", NULL));
    add_data(&w, "h", KIND_INDEX, j, rows, csv(&w, "h\ngreen\nblue\ngreen\n", NULL));
    add_data(&w, "c", KIND_INDEX, dim_const(w.s.ctx, 2), rows, csv(&w, "c\nyes\nno\nno\n", NULL));
    assert_true(bind_labels(&w.s, &w.block, &w.data, &w.env, &w.labels));
    assert_true(env_get(&w.env, w.j, &v) && v == 3); /* blue green red: of both */
    static const double g[] = {2, 0, 2}, h[] = {1, 0, 1}, c[] = {1, 0, 0};
    for (int k = 0; k < 3; k++)
        assert_true(array_get(w.data.all.p[0].array, k) == g[k] &&
                    array_get(w.data.all.p[1].array, k) == h[k] &&
                    array_get(w.data.all.p[2].array, k) == c[k]);
    assert_true(w.labels.n == 2 && w.labels.p[1].dim == NULL &&
                strcmp(w.labels.p[1].names[0], "no") == 0);
    /* later data */
    w.data.all.n = 1;
    w.data.all.p[0].array = csv(&w, "g\ngreen\n", NULL);
    assert_true(bind_labels(&w.s, &w.block, &w.data, &w.env, &w.labels));
    assert_true(array_get(w.data.all.p[0].array, 0) == 1);
    w.data.all.p[0].array = csv(&w, "g\ngreen\ngrene\n", NULL);
    assert_false(bind_labels(&w.s, &w.block, &w.data, &w.env, &w.labels));
    assert_string_equal(
        last_error(&w),
        "g: t.csv, row 3, column `g` holds `grene`, a text that the fit has not seen");
    w.data.all.p[0].array = csv(&w, "g\n1\n", NULL);
    assert_false(bind_labels(&w.s, &w.block, &w.data, &w.env, &w.labels));
    assert_string_equal(last_error(&w), "g: `t.csv` holds numbers, but the labels are texts");
    tear_down(&w);
}

static void numbers_bind_one_more_than_the_greatest(void **state) {
    World w;
    int64_t v;
    (void)state;
    set_up(&w);
    Dim rows = dim_of(w.s.ctx, w.n);
    add_data(&w, "g", KIND_INDEX, dim_of(w.s.ctx, w.j), rows, csv(&w, "g\n0\n4\n2\n", NULL));
    assert_true(bind_labels(&w.s, &w.block, &w.data, &w.env, &w.labels));
    assert_true(env_get(&w.env, w.j, &v) && v == 5 && w.labels.n == 0);
    add_data(&w, "c", KIND_INDEX, dim_const(w.s.ctx, 2), rows, csv(&w, "c\na\nb\nc\n", NULL));
    assert_false(bind_labels(&w.s, &w.block, &w.data, &w.env, &w.labels));
    assert_string_equal(last_error(&w), "c: `t.csv` holds 3 different texts, index(2) takes 2");
    tear_down(&w);
}

static void reals_are_finite(void **state) {
    World w;
    (void)state;
    set_up(&w);
    int64_t n = 3;
    Array *a = array_new(&w.s, CELL_F64, 1, &n, "x.npy");
    assert_true(bind_finite(&w.s, "x", a));
    ((double *)a->data)[1] = INFINITY;
    assert_false(bind_finite(&w.s, "x", a));
    assert_string_equal(last_error(&w), "x: x.npy[1] holds inf, which is not finite");
    ((double *)a->data)[0] = NAN;
    assert_false(bind_finite(&w.s, "x", a));
    assert_string_equal(
        last_error(&w),
        "x: x.npy[0] holds nan, a missing value (`--na=drop` leaves such rows out)");
    tear_down(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(axes_of_length_one_may_be_left_out_on_both_sides),
        cmocka_unit_test(dims_in_formulas_are_checked_when_they_are_known),
        cmocka_unit_test(csv_cells), cmocka_unit_test(csv_numbers_are_exact),
        cmocka_unit_test(rows_with_missing_cells_are_dropped_from_all_data),
        cmocka_unit_test(texts_become_labels_that_later_data_keep),
        cmocka_unit_test(numbers_bind_one_more_than_the_greatest),
        cmocka_unit_test(reals_are_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
