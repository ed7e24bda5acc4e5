/* relu, gelu, silu, add, flatten: values, gradients against differences in double,
 * orders, poisoned borders. */
#include "op_kit.h"
#include "ops/point/point.h"

#include <math.h>

static const struct ddp_leaky_relu_conf leaky = {0.125};

static double act_of(const struct ddp_op *op, double x)
{
    if (op == &ddp_op_relu)
        return x > 0 ? x : 0;
    if (op == &ddp_op_gelu)
        return x * 0.5 * (1 + erf(x / sqrt(2)));
    if (op == &ddp_op_tanh)
        return tanh(x);
    if (op == &ddp_op_sigmoid)
        return 1 / (1 + exp(-x));
    if (op == &ddp_op_leaky_relu)
        return x > 0 ? x : leaky.slope * x;
    return x / (1 + exp(-x));
}

static const struct ddp_shape shapes[] = {{1, 1, 1},  {3, 5, 7},  {10, 1, 1},
                                          {16, 4, 4}, {20, 3, 2}, {33, 1, 6}};
static const struct ddp_op *const acts[] = {&ddp_op_relu, &ddp_op_gelu,    &ddp_op_silu,
                                            &ddp_op_tanh, &ddp_op_sigmoid, &ddp_op_leaky_relu};
enum { RELU_LIKE = 3 }; /* the first of them: x far to the right, 0 far to the left */

static void test_activation_forward_and_backward(void **state)
{
    (void)state;
    for (size_t f = 0; f < DDP_COUNT(acts); f++)
        for (size_t s = 0; s < DDP_COUNT(shapes); s++)
            for (int accumulate = 0; accumulate < 2; accumulate++) {
                struct kit_args a = {
                    .op = acts[f], .conf = &leaky, .in = shapes[s], .batch = 3, .n = 3 - (int)s % 2};
                int64_t n = (int64_t)a.n * a.in.c * a.in.h * a.in.w;
                float *x = kit_random(n, -4, 4, 1), *dout = kit_random(n, -1, 1, 2),
                      *before = kit_random(n, -1, 1, 3);
                double *y = malloc((size_t)n * 8), *dx = malloc((size_t)n * 8);
                for (int64_t i = 0; i < n; i++) {
                    const double h = 1e-6;
                    y[i] = act_of(acts[f], x[i]);
                    dx[i] = dout[i] * (act_of(acts[f], x[i] + h) - act_of(acts[f], x[i] - h)) / (2 * h) +
                            (accumulate ? before[i] : 0);
                }
                a.x[0] = x;
                a.dout = dout;
                a.before[0] = accumulate ? before : NULL;
                struct kit_result r;
                kit_run_all(&a, &r);
                kit_close_to("y", r.y, y, n, 4e-7, 1);
                kit_close_to("dx", r.dx[0], dx, n, 2e-6, 1);
                kit_free(&r);
                free(x);
                free(dout);
                free(before);
                free(y);
                free(dx);
            }
}

static void test_activation_far_arguments(void **state)
{
    (void)state;
    const float x[] = {0.0f, -0.0f, 40.0f, -40.0f, 100.0f, -100.0f, 1e30f, -1e30f, 1e-40f};
    const float ones[] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
    for (size_t f = 0; f < RELU_LIKE; f++) {
        struct kit_args a = {.op = acts[f], .in = {9, 1, 1}, .batch = 1, .n = 1, .x = {x}, .dout = ones};
        struct kit_result r;
        kit_run_all(&a, &r);
        double y[9], slope[9];
        for (int i = 0; i < 9; i++) {
            y[i] = x[i] > 0 ? x[i] : 0;
            slope[i] = x[i] > 1;
        }
        kit_close_to("y", r.y, y, 8, 1e-6, 1e-9);
        if (f == 0) {
            assert_true(r.dx[0][0] == 0 && r.dx[0][1] == 0);  /* PyTorch: no gradient at 0 */
            assert_true(r.dx[0][8] == 1 && r.y[8] == 1e-40f); /* denormals count */
        } else {
            slope[0] = slope[1] = slope[8] = 0.5;
        }
        kit_close_to("dx", r.dx[0], slope, 8, 1e-6, 1e-9);
        kit_free(&r);
    }
}

/* tanh and sigmoid end at their limits, flat; what is no number stays none. */
static void test_activation_saturates(void **state)
{
    (void)state;
    const float x[] = {0.0f, 40.0f, -40.0f, 1e30f, -1e30f, INFINITY, -INFINITY, 0.0f}, nan[] = {NAN};
    const float ones[] = {1, 1, 1, 1, 1, 1, 1, 1};
    for (size_t f = RELU_LIKE; f < DDP_COUNT(acts); f++) {
        struct kit_args a = {
            .op = acts[f], .conf = &leaky, .in = {8, 1, 1}, .batch = 1, .n = 1, .x = {x}, .dout = ones};
        struct kit_result r;
        kit_run_all(&a, &r);
        if (acts[f] != &ddp_op_leaky_relu)
            for (int i = 1; i < 7; i++) {
                const double limit = x[i] > 0 ? 1 : acts[f] == &ddp_op_tanh ? -1 : 0;
                assert_true(fabs(r.y[i] - limit) < 1e-8 && fabs(r.dx[0][i]) < 1e-8);
            }
        else
            assert_true(r.dx[0][0] == 0.125f && r.y[4] == -0.125f * 1e30f); /* PyTorch: the slope at 0 */
        kit_free(&r);
        a = (struct kit_args){
            .op = acts[f], .conf = &leaky, .in = {1, 1, 1}, .batch = 1, .n = 1, .x = {nan}, .dout = ones};
        kit_run(&a, &(struct kit_variant){0}, &r);
        assert_true(r.y[0] != r.y[0]);
        kit_free(&r);
    }
}

/* What backward reads may be all that is left. */
static void test_activation_in_place(void **state)
{
    (void)state;
    static const struct ddp_op *const table[] = {&ddp_op_relu, &ddp_op_tanh, &ddp_op_sigmoid};
    int64_t n = 3 * 20 * 9;
    float *x = kit_random(n, -1, 1, 1), *dout = kit_random(n, -1, 1, 2);
    for (size_t f = 0; f < DDP_COUNT(table); f++) {
        struct kit_args a = {.op = table[f], .in = {20, 3, 3}, .batch = 4, .n = 3, .x = {x}, .dout = dout};
        struct kit_result apart, within;
        kit_run_all(&a, &apart);
        a.in_place = true;
        kit_run_all(&a, &within);
        assert_memory_equal(apart.y, within.y, (size_t)n * 4);
        assert_memory_equal(apart.dx[0], within.dx[0], (size_t)n * 4);
        kit_free(&apart);
        kit_free(&within);
    }
    free(x);
    free(dout);
}

static void test_add_sums_and_passes_gradients(void **state)
{
    (void)state;
    for (size_t s = 0; s < DDP_COUNT(shapes); s++)
        for (int relu = 0; relu < 2; relu++)
            for (int accumulate = 0; accumulate < 4; accumulate++) {
                struct kit_args a = {.op = &ddp_op_add,
                                     .in = shapes[s],
                                     .batch = 3,
                                     .n = 2,
                                     .fused = relu ? DDP_FUSE_RELU : 0};
                int64_t n = 2 * (int64_t)a.in.c * a.in.h * a.in.w;
                float *x = kit_random(n, -1, 1, 1), *z = kit_random(n, -1, 1, 2),
                      *dout = kit_random(n, -1, 1, 3), *before = kit_random(n, -1, 1, 4);
                a.x[0] = x;
                a.x[1] = z;
                a.dout = dout;
                for (int i = 0; i < 2; i++)
                    a.before[i] = accumulate >> i & 1 ? before : NULL;
                struct kit_result r;
                kit_run_all(&a, &r);
                for (int64_t i = 0; i < n; i++) {
                    float y = x[i] + z[i], g = relu && y <= 0 ? 0 : dout[i];
                    assert_true(r.y[i] == (relu && y <= 0 ? 0 : y));
                    assert_true(r.dx[0][i] == (accumulate & 1 ? before[i] + g : g));
                    assert_true(r.dx[1][i] == (accumulate & 2 ? before[i] + g : g));
                }
                kit_free(&r);
                free(x);
                free(z);
                free(dout);
                free(before);
            }
}

/* One gradient in dout's own memory, whichever it is: the other must still see dout. */
static void test_add_gradient_may_be_douts_memory(void **state)
{
    (void)state;
    kit_cpu_only();
    float *x = kit_random(64, -1, 1, 1), *dout = kit_random(64, -1, 1, 2);
    for (int which = 0; which < 2; which++) {
        struct kit_args a = {.op = &ddp_op_add,
                             .in = {16, 2, 2},
                             .batch = 1,
                             .n = 1,
                             .x = {x, x},
                             .dout = dout,
                             .before = {x, x}};
        struct kit k;
        struct kit_result r;
        kit_open(&k, &a, &(struct kit_variant){0});
        kit_forward(&k);
        k.call.din[which] = &k.dout.t;
        k.call.accumulate[which] = true;
        kit_backward(&k);
        for (int p = 0; p < 4; p++)
            for (int c = 0; c < 16; c++) {
                assert_true(ddp_at(&k.dout.t, 0, 0, p / 2, p % 2)[c] == 2 * dout[c * 4 + p]);
                assert_true(ddp_at(&k.din[1 - which].t, 0, 0, p / 2, p % 2)[c] ==
                            x[c * 4 + p] + dout[c * 4 + p]);
            }
        kit_close(&k, &r);
        kit_free(&r);
    }
    free(x);
    free(dout);
}

static void test_add_rejects_shapes_that_differ(void **state)
{
    (void)state;
    static const struct ddp_shape other[] = {{17, 4, 4}, {16, 3, 4}, {16, 4, 5}};
    for (size_t i = 0; i < DDP_COUNT(other); i++)
        kit_expect_plan_error(&ddp_op_add, NULL, (struct ddp_shape[]){{16, 4, 4}, other[i]}, 2, DDP_E_SHAPE,
                              (const char *const[]){"16 x 4 x 4", "1x1 convolution", NULL});
    kit_expect_plan_error(&ddp_op_add, NULL, (struct ddp_shape[]){{16, 4, 4}}, 1, DDP_E_CONFIG,
                          (const char *const[]){"1 input", NULL});
}

static void test_flatten_keeps_plain_order(void **state)
{
    (void)state;
    static const struct {
        struct ddp_shape in, out;
    } table[] = {
        {{1, 1, 1}, {1, 1, 1}},    {{10, 1, 1}, {10, 1, 1}},   {{16, 5, 5}, {400, 1, 1}},
        {{32, 2, 3}, {192, 1, 1}}, {{1, 28, 28}, {784, 1, 1}}, {{3, 4, 5}, {60, 1, 1}},
        {{20, 3, 3}, {180, 1, 1}}, {{6, 5, 5}, {150, 1, 1}},
    };
    for (size_t t = 0; t < DDP_COUNT(table); t++)
        for (int accumulate = 0; accumulate < 2; accumulate++) {
            struct kit_args a = {.op = &ddp_op_flatten, .in = table[t].in, .batch = 3, .n = 2};
            int64_t n = 2 * (int64_t)a.in.c * a.in.h * a.in.w;
            float *x = kit_random(n, -1, 1, 1), *dout = kit_random(n, -1, 1, 2);
            a.x[0] = x;
            a.dout = dout;
            a.before[0] = accumulate ? x : NULL;
            struct kit_result r;
            kit_run_all(&a, &r);
            assert_memory_equal(&r.out, &table[t].out, sizeof r.out);
            assert_memory_equal(r.y, x, (size_t)n * 4); /* plain order is kept by definition */
            for (int64_t i = 0; i < n; i++)
                assert_true(r.dx[0][i] == (accumulate ? x[i] + dout[i] : dout[i]));
            kit_free(&r);
            free(x);
            free(dout);
        }
    kit_expect_plan_error(&ddp_op_flatten, NULL, (struct ddp_shape[]){{3, 20000, 20000}}, 1, DDP_E_SHAPE,
                          (const char *const[]){"3 x 20000 x 20000", NULL});
}

static void test_elementwise_ops_take_an_empty_batch(void **state)
{
    (void)state;
    static const struct ddp_op *const ops[] = {&ddp_op_relu, &ddp_op_gelu, &ddp_op_silu, &ddp_op_add,
                                               &ddp_op_flatten};
    for (size_t i = 0; i < DDP_COUNT(ops); i++)
        for (int c = 10; c <= 16; c += 6) {
            const float none = 0;
            struct kit_args a = {
                .op = ops[i], .in = {c, 2, 2}, .batch = 3, .x = {&none, &none}, .dout = &none};
            struct kit_result r;
            kit_run_all(&a, &r); /* nothing is written: kit_close() looks */
            assert_int_equal(r.nx[0], 0);
            kit_free(&r);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_activation_forward_and_backward),
        cmocka_unit_test(test_activation_far_arguments),
        cmocka_unit_test(test_activation_saturates),
        cmocka_unit_test(test_activation_in_place),
        cmocka_unit_test(test_add_sums_and_passes_gradients),
        cmocka_unit_test(test_add_gradient_may_be_douts_memory),
        cmocka_unit_test(test_add_rejects_shapes_that_differ),
        cmocka_unit_test(test_flatten_keeps_plain_order),
        cmocka_unit_test(test_elementwise_ops_take_an_empty_batch),
    };
    return KIT_MAIN(tests);
}
