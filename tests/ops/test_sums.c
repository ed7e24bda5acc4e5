/* The error of long sums, of conv2d and linear, against double: it must not grow with their length, as that
 * of one chain does (0.24 times the root of its terms, in units of 2^-24 of the result). */
#include "conv_check.h"

#define CONV(C, H, K, R, ...)                                                                                \
    {                                                                                                        \
        .c = (C), .h = (H), .w = (H), .k = (K), .r = (R), .s = (R), .stride = 1, .groups = 1, __VA_ARGS__    \
    }
#define LINEAR(C, K, N)                                                                                      \
    {                                                                                                        \
        .c = (C), .h = 1, .w = 1, .k = (K), .r = 1, .s = 1, .stride = 1, .groups = 1, .n = (N),              \
        .linear = true                                                                                       \
    }

/* Root mean square of got - want against that of want, in units of 2^-24. */
static double units(const float *got, const double *want, int64_t n)
{
    double off = 0, all = 0;
    for (int64_t i = 0; i < n; i++) {
        const double d = (double)got[i] - want[i];
        off += d * d;
        all += want[i] * want[i];
    }
    return sqrt(off / all) * 0x1p24;
}

static void test_long_sums_stay_exact(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        struct conv_case c;
        double out, din, dw; /* at most */
    } rows[] = {
        /* in one chain 22 to 26 */
        {"tiles, 256 channels in", CONV(256, 8, 16, 3, .pad = 1, .n = 1), 14, 14, 14},
        {"tiles, 256 channels out", CONV(16, 8, 256, 3, .pad = 1, .n = 1), 14, 14, 14},
        /* 11 */
        {"direct, 2,304 products", CONV(256, 9, 16, 3, .pad = 3, .n = 1), 8, 8, 8},
        {"direct, back from 2,304", CONV(16, 9, 256, 3, .pad = 3, .n = 1), 8, 8, 8},
        /* 15 */
        {"direct, 4,096 pixels", CONV(1, 66, 16, 3, .n = 1), 8, 8, 13},
        /* 11 */
        {"linear, 2,048 features", LINEAR(2048, 16, 16), 8, 8, 8},
        {"linear, 2,048 outputs", LINEAR(16, 2048, 16), 8, 8, 8},
        {"linear, 2,048 samples", LINEAR(16, 16, 2048), 8, 8, 8},
    };
    for (size_t i = 0; i < DDP_COUNT(rows); i++) {
        struct conv_case c = rows[i].c;
        c.no_bias = true;
        rng = 1;
        struct layer l = layer_create(&c);
        layer_run(&l, NULL, NULL);
        struct reference f = reference_create(&l);
        const double out = units(l.out, f.out, l.no), din = units(l.din, f.din, l.nx),
                     dw = units(l.dw, f.dw, l.nw);
        if (!(out <= rows[i].out && din <= rows[i].din && dw <= rows[i].dw))
            fail_msg("%s: out %.1f (at most %g), din %.1f (%g), dweight %.1f (%g)", rows[i].what, out,
                     rows[i].out, din, rows[i].din, dw, rows[i].dw);
        layer_destroy(&l);
        free(f.out), free(f.out_abs), free(f.din), free(f.din_abs);
        free(f.dw), free(f.dw_abs), free(f.db), free(f.db_abs);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_long_sums_stay_exact)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
