/* Index ranges: clipping, for all small ones, against counting. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/range.h"

static int64_t in_both(struct ddp_range a, struct ddp_range b)
{
    int64_t n = 0;
    for (int64_t i = a.lo; i < a.hi; i++)
        n += i >= b.lo && i < b.hi;
    return n;
}

static void test_range_clip_keeps_what_is_in_both(void **state)
{
    (void)state;
    enum { END = 6 };
    for (int64_t alo = 0; alo <= END; alo++)
        for (int64_t ahi = alo; ahi <= END; ahi++)
            for (int64_t blo = 0; blo <= END; blo++)
                for (int64_t bhi = blo; bhi <= END; bhi++) {
                    struct ddp_range a = {alo, ahi}, b = {blo, bhi}, c = ddp_range_clip(a, b);
                    assert_int_equal(ddp_range_size(c), in_both(a, b));
                    assert_true(b.lo <= c.lo && c.lo <= c.hi && c.hi <= b.hi);
                    assert_int_equal(ddp_range_size(c), in_both(c, a));
                }
}

static void test_range_elements_are_whole_blocks(void **state)
{
    (void)state;
    struct ddp_range e = ddp_range_elements((struct ddp_range){3, (int64_t)1 << 40});
    assert_true(e.lo == 3 * 4096 && e.hi == (int64_t)1 << 52);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_range_clip_keeps_what_is_in_both),
        cmocka_unit_test(test_range_elements_are_whole_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
