/* Lists of numbers on a command line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "bench/lists.h"

static void test_lists(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int n; /* below 0: refused */
        long last;
        const char *says;
    } table[] = {
        {"1", 1, 1, NULL},
        {"1,2,64", 3, 64, NULL},
        {"0x10", 1, 16, NULL},
        {"1,2,3,4", 4, 4, NULL},
        {"1,2,3,4,5", -1, 0, "-n 1,2,3,4,5: more than 4 numbers"},
        {"", -1, 0, "'' is no whole number from 1 to 64"},
        {"1,", -1, 0, "'' is no whole number"},
        {",1", -1, 0, "'' is no whole number"},
        {"0", -1, 0, "'0' is no"},
        {"65", -1, 0, "'65' is no"},
        {"2.5", -1, 0, "'2.5' is no"},
        {"1111111111111111111111111111111111111111", -1, 0, "is no whole number"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct ddp_error err = {0};
        long v[4] = {0};
        const int n = bench_list_parse("-n", table[i].text, 1, 64, 4, v, &err);
        if (table[i].n < 0) {
            assert_int_equal(n, DDP_E_USAGE);
            assert_non_null(strstr(err.text, table[i].says));
        } else {
            assert_int_equal(n, table[i].n);
            assert_int_equal(v[n - 1], table[i].last);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lists)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
