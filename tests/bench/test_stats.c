/* Medians, their intervals, and least squares: against numbers worked out by hand. */
#include "cmocka_all.h"

#include <math.h>
#include <stdlib.h>

#include "base/base.h"
#include "bench/stats.h"

static void test_median_and_quantiles(void **state)
{
    (void)state;
    const double odd[] = {5, 1, 3}, even[] = {4, 1, 3, 2}, one[] = {7};
    assert_float_equal(bench_median(odd, 3), 3, 0);
    assert_float_equal(bench_median(even, 4), 2.5, 0);
    assert_float_equal(bench_median(one, 1), 7, 0);
    assert_float_equal(bench_quantile(even, 4, 0), 1, 0);
    assert_float_equal(bench_quantile(even, 4, 1), 4, 0);
    assert_float_equal(bench_quantile(even, 4, 0.25), 1.75, 1e-12);
    assert_float_equal(bench_spread(even, 4), 0.6, 1e-12);
    assert_float_equal(odd[0], 5, 0); /* it stays as it was */
}

/* Tables of the sign test: 6 values: 1 - 2/64; 10: second to ninth, 1 - 2 (1 + 10)/1024. */
static void test_interval_of_the_median(void **state)
{
    (void)state;
    double v[20];
    for (int i = 0; i < 20; i++)
        v[i] = (i * 7) % 20 + 1; /* 1 .. 20 */
    static const struct {
        int n;
        double low, high, covers;
    } table[] = {{5, 1, 5, 0.9375}, {6, 1, 6, 0.96875}, {9, 2, 8, 0.9609375}, {10, 2, 9, 1 - 22.0 / 1024}};
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        double upto[20];
        for (int k = 0; k < table[i].n; k++)
            upto[k] = table[i].n - k;
        const struct bench_interval c = bench_median_interval(upto, table[i].n);
        assert_float_equal(c.low, table[i].low, 0);
        assert_float_equal(c.high, table[i].high, 0);
        assert_float_equal(c.covers, table[i].covers, 1e-12);
    }
    const struct bench_interval c = bench_median_interval(v, 20);
    assert_float_equal(c.low, 6, 0);
    assert_float_equal(c.high, 15, 0);
    assert_float_equal(bench_interval_width(&c), 4.5 / 10.5, 1e-12);
    assert_float_equal(bench_median_interval(v, 1).covers, 0, 0);
}

/* What it promises: 95 of 100 intervals hold the median, of a lopsided distribution too. */
static void test_interval_covers(void **state)
{
    (void)state;
    uint64_t s = 1;
    int held = 0;
    for (int trial = 0; trial < 4000; trial++) {
        double v[12];
        for (int i = 0; i < 12; i++) {
            s = s * 6364136223846793005ull + 1442695040888963407ull;
            v[i] = -log(((double)(s >> 11) + 0.5) * 0x1p-53); /* its median is ln 2 */
        }
        const struct bench_interval c = bench_median_interval(v, 12);
        held += c.low <= 0.6931471805599453 && c.high >= 0.6931471805599453;
    }
    assert_in_range(held, 3800, 4000);
}

static void test_fit(void **state)
{
    (void)state;
    const double n[] = {1, 2, 4, 8, 16};
    double x[15], y[5], c[3];
    for (int i = 0; i < 5; i++) {
        x[3 * i] = 1;
        x[3 * i + 1] = 1 / n[i];
        x[3 * i + 2] = log2(n[i]);
        y[i] = 3 + 40 / n[i] + 0.5 * log2(n[i]);
    }
    assert_true(bench_fit(x, y, NULL, 5, 3, c));
    assert_float_equal(c[0], 3, 1e-9);
    assert_float_equal(c[1], 40, 1e-9);
    assert_float_equal(c[2], 0.5, 1e-9);
    assert_false(bench_fit(x, y, NULL, 2, 3, c)); /* fewer points than terms */
    const double same[] = {1, 2, 1, 2, 1, 2};
    assert_false(bench_fit(same, y, NULL, 3, 2, c)); /* terms in proportion */
}

static void test_fit_stays_positive(void **state)
{
    (void)state;
    const double x[] = {1, 1, 1, 2, 1, 3}, y[] = {10, 8, 6.1}; /* falls: its slope would be negative */
    double c[2];
    assert_true(bench_fit_positive(x, y, NULL, 3, 2, c));
    assert_float_equal(c[1], 0, 0);
    assert_float_equal(c[0], 24.1 / 3, 1e-9);
    const double weight[] = {1, 0, 0};
    assert_true(bench_fit_positive(x, y, weight, 3, 1, c));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_median_and_quantiles), cmocka_unit_test(test_interval_of_the_median),
        cmocka_unit_test(test_interval_covers),      cmocka_unit_test(test_fit),
        cmocka_unit_test(test_fit_stays_positive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
