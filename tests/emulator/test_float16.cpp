/* bf16 and fp16 of the emulated device: all 65,536 patterns, and rounding between every two neighbours. */
#include <math.h>

#include "dialect/ddp_float16.h"

extern "C" {
#include "cmocka_all.h"
}

struct format {
    int fraction, bias; /* bits of the fraction; of the exponent */
    uint16_t infinity;
    float (*to_float)(uint16_t);
    uint16_t (*from_float)(float);
};

static const format bf16 = {7, 127, 0x7f80, [](uint16_t u) { return ddp_bf16_float({u}); },
                            [](float v) { return ddp_bf16_from(v).bits; }};
static const format f16 = {10, 15, 0x7c00, [](uint16_t u) { return ddp_f16_float({u}); },
                           [](float v) { return ddp_f16_from(v).bits; }};

/* By the definition. */
static double value_of(const format &f, uint16_t u)
{
    const int exponent = (u & 0x7fff) >> f.fraction, fraction = u & ((1 << f.fraction) - 1);
    const double v = exponent ? ldexp(fraction + (1 << f.fraction), exponent - f.bias - f.fraction)
                              : ldexp(fraction, 1 - f.bias - f.fraction);
    return u & 0x8000 ? -v : v;
}

static void check_all(const format &f)
{
    for (unsigned u = 0; u < 65536; u++) {
        const float v = f.to_float((uint16_t)u);
        const unsigned a = u & 0x7fff;
        assert_int_equal(signbit(v) != 0, u >> 15);
        if (a > f.infinity) {
            assert_true(isnan(v));
            assert_int_equal(f.from_float(v), 0x7fff);
            continue;
        }
        if (a == f.infinity)
            assert_true(isinf(v));
        else
            assert_true((double)v == value_of(f, (uint16_t)u));
        assert_int_equal(f.from_float(v), u);
    }
}

/* Between u and u + 1, half way goes to the even one, anything beside it to the nearer one. */
static void check_rounding(const format &f)
{
    for (unsigned sign = 0; sign < 2; sign++)
        for (unsigned a = 0; a < f.infinity; a++) {
            const uint16_t u = (uint16_t)(sign << 15 | a);
            const double low = value_of(f, u),
                         high = value_of(f, (uint16_t)(u + 1)); /* of infinity: what would be next */
            const float half = (float)((low + high) / 2);
            assert_true((double)half == (low + high) / 2);
            assert_int_equal(f.from_float(half), a % 2 ? u + 1 : u);
            const float above = nextafterf(half, sign ? -INFINITY : INFINITY), below = nextafterf(half, 0);
            assert_int_equal(f.from_float(above), u + 1);
            assert_int_equal(f.from_float(below), u);
        }
}

static void test_bf16(void **)
{
    check_all(bf16);
    check_rounding(bf16);
}

static void test_f16(void **)
{
    check_all(f16);
    check_rounding(f16);
}

static void test_extremes(void **)
{
    const struct {
        float v;
        uint16_t bf16, f16;
    } cases[] = {
        {0.0f, 0, 0},
        {-0.0f, 0x8000, 0x8000},
        {1.0f, 0x3f80, 0x3c00},
        {-2.0f, 0xc000, 0xc000},
        {65504.0f, 0x4780, 0x7bff},
        {65519.996f, 0x4780, 0x7bff},
        {65520.0f, 0x4780, 0x7c00},
        {3.4028235e38f, 0x7f80, 0x7c00},
        {-3.4028235e38f, 0xff80, 0xfc00},
        {INFINITY, 0x7f80, 0x7c00},
        {-INFINITY, 0xff80, 0xfc00},
        {1e-45f, 0, 0},
        {-1e-45f, 0x8000, 0x8000},
        {0x1p-24f, 0x3380, 0x0001},
        {0x1p-25f, 0x3300, 0x0000},
        {0x1.000002p-25f, 0x3300, 0x0001},
        {0x1p-133f, 0x0001, 0},
        {0x1p-134f, 0x0000, 0},
        {NAN, 0x7fff, 0x7fff},
        {-NAN, 0x7fff, 0x7fff},
    };
    for (auto &c : cases) {
        assert_int_equal(ddp_bf16_from(c.v).bits, c.bf16);
        assert_int_equal(ddp_f16_from(c.v).bits, c.f16);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_bf16), cmocka_unit_test(test_f16),
                                       cmocka_unit_test(test_extremes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
