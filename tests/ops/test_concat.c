/* concat against its definition: values, gradients, padding, orders, inputs of any number of channels. */
#include "op_kit.h"

static const struct {
    int c0, c1, h, w;
} problems[] = {{16, 16, 4, 4}, {32, 7, 3, 2}, {3, 5, 5, 7}, {20, 33, 2, 3}, {1, 1, 1, 1}, {17, 48, 1, 1}};

static void test_concat_joins_channels(void **state)
{
    (void)state;
    for (size_t p = 0; p < DDP_COUNT(problems); p++)
        for (int accumulate = 0; accumulate < 4; accumulate++) {
            const int c[2] = {problems[p].c0, problems[p].c1}, pixels = problems[p].h * problems[p].w;
            struct kit_args a = {.op = &ddp_op_concat,
                                 .in = {c[0], problems[p].h, problems[p].w},
                                 .second = {c[1], problems[p].h, problems[p].w},
                                 .batch = 3,
                                 .n = 2};
            const int64_t all = (int64_t)a.n * (c[0] + c[1]) * pixels;
            float *x[2], *before[2], *dout = kit_random(all, -1, 1, 3);
            for (int i = 0; i < 2; i++) {
                a.x[i] = x[i] = kit_random((int64_t)a.n * c[i] * pixels, -1, 1, (uint32_t)i);
                before[i] = kit_random((int64_t)a.n * c[i] * pixels, -1, 1, (uint32_t)i + 5);
                a.before[i] = accumulate >> i & 1 ? before[i] : NULL;
            }
            a.dout = dout;
            struct kit_result r;
            kit_run_all(&a, &r);
            assert_int_equal(r.out.c, c[0] + c[1]);
            for (int64_t i = 0; i < all; i++) {
                const int channel = (int)(i / pixels % (c[0] + c[1])), which = channel >= c[0];
                const int64_t n = i / pixels / (c[0] + c[1]),
                              at = (n * c[which] + channel - which * c[0]) * pixels + i % pixels;
                assert_true(r.y[i] == x[which][at]);
                assert_true(r.dx[which][at] ==
                            (accumulate >> which & 1 ? before[which][at] + dout[i] : dout[i]));
            }
            kit_free(&r);
            for (int i = 0; i < 2; i++) {
                free(x[i]);
                free(before[i]);
            }
            free(dout);
        }
}

static void test_concat_rejects(void **state)
{
    (void)state;
    kit_expect_plan_error(&ddp_op_concat, NULL, (struct ddp_shape[]){{16, 4, 4}, {8, 4, 5}}, 2, DDP_E_SHAPE,
                          (const char *const[]){"16 x 4 x 4", "8 x 4 x 5", "pool", NULL});
    kit_expect_plan_error(&ddp_op_concat, NULL, (struct ddp_shape[]){{16, 4, 4}}, 1, DDP_E_CONFIG,
                          (const char *const[]){"1 input", NULL});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_concat_joins_channels),
        cmocka_unit_test(test_concat_rejects),
    };
    return KIT_MAIN(tests);
}
