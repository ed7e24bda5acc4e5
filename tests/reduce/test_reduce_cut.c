/* Buckets and slices, for all small sizes: every block in one bucket and with one owner, and nobody owns more
 * than his share. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "reduce/bucket.h"

static void test_buckets_tile_from_the_end(void **state)
{
    (void)state;
    for (int64_t blocks = 1; blocks <= 40; blocks++) {
        for (int64_t each = 1; each <= 45; each++) {
            int64_t n = ddp_bucket_count(blocks, each), end = blocks;
            for (int64_t b = 0; b < n; b++) {
                struct ddp_range s = ddp_bucket_span(blocks, each, b);
                assert_int_equal(s.hi, end);
                assert_true(s.lo < s.hi);
                if (b + 1 < n)
                    assert_int_equal(s.hi - s.lo, each);
                else
                    assert_true(s.hi - s.lo <= each);
                for (int64_t block = s.lo; block < s.hi; block++)
                    assert_int_equal(ddp_bucket_of(blocks, each, block), b);
                end = s.lo;
            }
            assert_int_equal(end, 0);
        }
    }
}

static void test_slices_tile_each_bucket_evenly(void **state)
{
    (void)state;
    for (int64_t blocks = 1; blocks <= 33; blocks++) {
        for (int64_t each = 1; each <= 35; each++) {
            for (int ranks = 1; ranks <= 9; ranks++) {
                int64_t owned[9] = {0}, least = INT64_MAX, most = 0;
                for (int64_t b = 0; b < ddp_bucket_count(blocks, each); b++) {
                    struct ddp_range all = ddp_bucket_span(blocks, each, b);
                    int64_t at = all.lo, n = all.hi - all.lo;
                    for (int r = 0; r < ranks; r++) {
                        struct ddp_range s = ddp_bucket_slice(blocks, each, b, ranks, r);
                        assert_int_equal(s.lo, at);
                        assert_in_range(s.hi - s.lo, n / ranks, (n + ranks - 1) / ranks);
                        at = s.hi;
                        owned[r] += s.hi - s.lo;
                    }
                    assert_int_equal(at, all.hi);
                }
                for (int r = 0; r < ranks; r++) {
                    least = owned[r] < least ? owned[r] : least;
                    most = owned[r] > most ? owned[r] : most;
                }
                assert_in_range(most - least, 0, 1);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buckets_tile_from_the_end),
        cmocka_unit_test(test_slices_tile_each_bucket_evenly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
