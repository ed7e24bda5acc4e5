/* ln, exp, pow, sin, cos against long double over their domains, and their special values. */
#include "cmocka_all.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"

static double worst_ulp(double (*ours)(double), long double (*exact)(long double), double lo, double hi)
{
    double worst = 0;
    for (int i = 0; i < 20000; i++) {
        struct ddp_philox4 r = ddp_philox4((uint32_t)i, 0, 0, 0, 7);
        double x = lo + (hi - lo) * ((double)r.v[0] / 4294967296.0 + r.v[1] / 4294967296.0 / 4294967296.0);
        long double want = exact((long double)x);
        double got = ours(x), ulp = nextafter(fabs((double)want), INFINITY) - fabs((double)want);
        double off = (double)(fabsl(want - got)) / ulp;
        if (off > worst)
            worst = off;
    }
    return worst;
}

static void test_fmath_is_within_two_ulp(void **s)
{
    (void)s;
    assert_true(worst_ulp(ddp_exp, expl, -20, 20) < 2);
    assert_true(worst_ulp(ddp_exp, expl, -700, 700) < 2);
    assert_true(worst_ulp(ddp_ln, logl, 1e-300, 1e-3) < 2);
    assert_true(worst_ulp(ddp_ln, logl, 0.5, 2) < 2);
    assert_true(worst_ulp(ddp_ln, logl, 2, 1e6) < 2);
    assert_true(worst_ulp(ddp_sin, sinl, -0.7, 0.7) < 2);
}

static void test_fmath_sin_and_cos_keep_absolute_accuracy(void **s)
{
    (void)s;
    for (int i = -100000; i <= 100000; i += 7) {
        double x = i * 0.37;
        if (fabs(x) > 1e5)
            continue;
        assert_true(fabsl(sinl((long double)x) - ddp_sin(x)) < 3e-16);
        assert_true(fabsl(cosl((long double)x) - ddp_cos(x)) < 3e-16);
    }
}

static void test_fmath_knows_special_values(void **s)
{
    (void)s;
    assert_true(ddp_exp(0) == 1 && ddp_exp(-INFINITY) == 0 && isinf(ddp_exp(711)) && isnan(ddp_exp(NAN)));
    assert_true(ddp_exp(-745) > 0 && ddp_exp(-745) < 1e-300);
    assert_true(ddp_ln(1) == 0 && ddp_ln(0) == -INFINITY && isnan(ddp_ln(-1)) && isinf(ddp_ln(INFINITY)));
    assert_true(fabs(ddp_ln(5e-324) - -744.4400719213812) < 1e-9);
    assert_true(ddp_pow(2, 0) == 1 && ddp_pow(0, 3) == 0 && isinf(ddp_pow(0, -1)));
    assert_true(fabs(ddp_pow(0.9, 1000) / pow(0.9, 1000) - 1) < 1e-13);
    assert_true(isnan(ddp_sin(1e6)) && isnan(ddp_cos(NAN)));
}

/* Golden bits: a compiler or library that changes them breaks every recorded result. */
static void test_fmath_bits_are_fixed(void **s)
{
    (void)s;
    struct ddp_sha256 h;
    char hex[65];
    ddp_sha256_init(&h);
    for (int i = 1; i < 5000; i++) {
        double v[4] = {ddp_exp(i * 0.01 - 25), ddp_ln(i * 0.37), ddp_sin(i * 0.11), ddp_cos(i * 0.13)};
        ddp_sha256_update(&h, v, sizeof v);
    }
    ddp_sha256_hex(&h, hex);
    assert_string_equal(hex, "3031011856ce0eb572d452ed1845f0d76f1677263002f2215cb6cbf9c75af18a");
}

int main(void)
{
    ddp_float_mode();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fmath_is_within_two_ulp),
        cmocka_unit_test(test_fmath_sin_and_cos_keep_absolute_accuracy),
        cmocka_unit_test(test_fmath_knows_special_values),
        cmocka_unit_test(test_fmath_bits_are_fixed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
