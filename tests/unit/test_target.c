/* ir/target.c: rows are found by their name and by the names of cpus. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ir/target.h"

static void rows_are_found(void **state) {
    (void)state;
    int n;
    const Target *all = target_all(&n);
    assert_true(n >= 4);
    for (int k = 0; k < n; k++)
        assert_ptr_equal(target_named(all[k].name), &all[k]);
    assert_null(target_named("vax"));
    assert_string_equal(target_for_cpu("skylake-avx512")->name, "x86-64-v4");
    assert_string_equal(target_for_cpu("skylake")->name, "x86-64-v3");
    assert_string_equal(target_for_cpu("haswell")->name, "x86-64-v3");
    assert_null(target_for_cpu("lake"));
    assert_null(target_for_cpu(""));
    assert_int_equal(target_lanes(target_named("x86-64-v4"), DT_F32), 16);
    assert_int_equal(target_lanes(target_named("x86-64-v3"), DT_F64), 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(rows_are_found)};
    return cmocka_run_group_tests_name("target", tests, NULL, NULL);
}
