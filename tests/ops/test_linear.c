/* linear against plain loops in double, from pictures and vectors, and what it refuses. */
#include "conv_check.h"

#define LINEAR .r = 1, .s = 1, .stride = 1, .groups = 1, .linear = true

static const struct conv_case cases[] = {
    {LINEAR, .c = 64, .h = 1, .w = 1, .k = 10, .n = 8},
    {LINEAR, .c = 784, .h = 1, .w = 1, .k = 32, .n = 14, .relu = true},
    {LINEAR, .c = 13, .h = 1, .w = 1, .k = 17, .n = 16, .accumulate = true},
    {LINEAR, .c = 1, .h = 1, .w = 1, .k = 1, .n = 1, .no_bias = true},
    {LINEAR, .c = 300, .h = 1, .w = 1, .k = 50, .n = 64, .relu = true},
    {LINEAR, .c = 64, .h = 3, .w = 2, .k = 48, .n = 33, .relu = true},
    {LINEAR, .c = 32, .h = 5, .w = 5, .k = 10, .n = 2, .accumulate = true},
    {LINEAR, .c = 20, .h = 3, .w = 3, .k = 21, .n = 5, .relu = true}, /* padded channels between features */
    {LINEAR, .c = 20, .h = 1, .w = 2, .k = 16, .n = 9, .accumulate = true},
    {LINEAR, .c = 48, .h = 1, .w = 1, .k = 120, .n = 3, .planned = 16, .relu = true},
    {LINEAR, .c = 32, .h = 2, .w = 2, .k = 33, .n = 70, .no_din = true},
    {LINEAR, .c = 40, .h = 1, .w = 1, .k = 20, .n = 5, .scale = 1e-21f},
    /* chunks of 512 features: 4, 5 the last of them short, 13 */
    {LINEAR, .c = 2048, .h = 1, .w = 1, .k = 33, .n = 3, .relu = true},
    {LINEAR, .c = 2050, .h = 1, .w = 1, .k = 17, .n = 20, .planned = 24, .relu = true},
    {LINEAR, .c = 1100, .h = 3, .w = 2, .k = 5, .n = 2, .no_bias = true},
};

static void test_linear_matches_double_on_every_isa_and_thread_count(void **state)
{
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        rng = (uint32_t)i + 1;
        layer_check_everywhere(&cases[i]);
    }
}

/* Positive features all round their sums the same way: the error does not grow with how many there are. */
static void test_linear_keeps_digits_of_long_sums(void **state)
{
    (void)state;
    static const int features[] = {1000, 12288};
    for (size_t i = 0; i < DDP_COUNT(features); i++) {
        struct conv_case c = {LINEAR, .c = features[i], .h = 1, .w = 1, .k = 64, .n = 16, .no_bias = true};
        struct layer l = layer_create(&c);
        double most = 0;
        for (int64_t k = 0; k < l.nx; k++)
            l.x[k] = fabsf(l.x[k]);
        for (int64_t k = 0; k < (int64_t)c.k * c.c; k++)
            l.w[k] = fabsf(l.w[k]);
        layer_run(&l, NULL, NULL);
        for (int n = 0; n < c.n; n++)
            for (int k = 0; k < c.k; k++) {
                double want = 0;
                for (int f = 0; f < c.c; f++)
                    want += (double)l.x[n * c.c + f] * (double)l.w[k * c.c + f];
                most = fmax(most, fabs(l.out[n * c.k + k] / want - 1));
            }
        if (most > 1e-6)
            fail_msg("%d features: relative error %g", c.c, most);
        layer_destroy(&l);
    }
}

static void test_linear_of_no_samples_has_zero_gradients(void **state)
{
    (void)state;
    struct conv_case c = {LINEAR, .c = 20, .h = 1, .w = 1, .k = 20, .n = 0, .planned = 4};
    struct layer l = layer_create(&c);
    layer_run(&l, NULL, NULL);
    for (int64_t i = 0; i < l.nwf; i++)
        assert_true(l.dw_flat[i] == 0);
    for (int64_t i = 0; i < l.nbf; i++)
        assert_true(l.db_flat[i] == 0);
    layer_destroy(&l);
}

/* A sample's result does not depend on its place or on who sits beside it. */
static void test_linear_sample_is_independent_of_the_batch(void **state)
{
    (void)state;
    struct conv_case c = {LINEAR, .c = 400, .h = 1, .w = 1, .k = 40, .n = 30};
    struct layer l = layer_create(&c);
    layer_run(&l, NULL, NULL);
    float *out = copy_of(l.out, l.no);
    for (int n = 1; n < 30; n += 6) {
        l.c.n = n; /* the first n samples only */
        l.nx = n * 400, l.no = n * 40;
        layer_run(&l, NULL, NULL);
        assert_memory_equal(out, l.out, (size_t)n * 40 * sizeof(float));
    }
    free(out);
    layer_destroy(&l);
}

static void test_linear_lets_bad_values_through(void **state)
{
    (void)state;
    struct conv_case c = {LINEAR, .c = 20, .h = 1, .w = 1, .k = 20, .n = 3, .relu = true};
    struct layer l = layer_create(&c);
    l.x[20 + 19] = NAN; /* sample 1 */
    layer_run(&l, NULL, NULL);
    for (int k = 0; k < 20; k++) {
        assert_false(isnan(l.out[k]));
        assert_true(isnan(l.out[20 + k]));
        assert_true(isnan(l.dw[k * 20 + 19]));
        assert_false(isnan(l.dw[k * 20 + 18]));
    }
    layer_destroy(&l);
}

static void test_linear_plans_pytorch_parameters(void **state)
{
    (void)state;
    struct conv_case c = {LINEAR, .c = 64, .h = 12, .w = 12, .k = 128, .n = 1};
    struct layer l = layer_create(&c);
    assert_true(l.plan.features);
    assert_int_equal(l.plan.out.c, 128);
    assert_int_equal(l.plan.params[0].ndim, 2);
    assert_int_equal(l.plan.params[0].dims[0], 128);
    assert_int_equal(l.plan.params[0].dims[1], 9216);
    assert_int_equal(l.plan.params[0].in.h, 12);
    assert_int_equal(ddp_layout_size(&l.plan.params[0]), 128 * 9216);
    assert_true(fabs(l.plan.params[0].gain * sqrt(3.0 / 9216) - 1 / 96.0) < 1e-15);
    assert_true(fabs(l.plan.params[1].gain - 1 / 96.0) < 1e-15);
    assert_true(l.plan.flops == 2.0 * 128 * 9216);
    layer_destroy(&l);
}

static void test_linear_rejects_too_many_features(void **state)
{
    (void)state;
    struct conv_case c = {LINEAR, .c = 4096, .h = 100, .w = 100, .k = 4, .n = 1};
    void *conf = conf_of(&ddp_op_linear, &c);
    struct ddp_layer_plan p = {0};
    struct ddp_error err;
    assert_int_equal(ddp_op_linear.plan(conf, &(struct ddp_shape){4096, 100, 100}, 1, 1, &p, &err),
                     DDP_E_SHAPE);
    assert_non_null(strstr(err.text, "40960000 features"));
    free(conf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linear_matches_double_on_every_isa_and_thread_count),
        cmocka_unit_test(test_linear_keeps_digits_of_long_sums),
        cmocka_unit_test(test_linear_of_no_samples_has_zero_gradients),
        cmocka_unit_test(test_linear_sample_is_independent_of_the_batch),
        cmocka_unit_test(test_linear_lets_bad_values_through),
        cmocka_unit_test(test_linear_plans_pytorch_parameters),
        cmocka_unit_test(test_linear_rejects_too_many_features),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
