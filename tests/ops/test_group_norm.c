/* group_norm and layer_norm against their definition in double: values, gradients by differences, gradients
 * of weight and bias, large means, empty batches. */
#include "op_kit.h"
#include "ops/norm/group_norm.h"

#include <math.h>

/* A reference layer over n samples. */
struct norm {
    struct ddp_shape s;
    int n, groups; /* groups 0: layer_norm */
    double eps;
    const float *weight, *bias; /* NULL: 1 and 0 */
};

static int64_t scale_at(const struct norm *l, int64_t i)
{
    const int pixels = l->s.h * l->s.w;
    const int64_t element = i % ((int64_t)l->s.c * pixels);
    return l->groups ? element / pixels : element;
}

static void xhat_of(const struct norm *l, const double *x, double *y)
{
    const int groups = l->groups ? l->groups : 1;
    const int64_t size = (int64_t)l->s.c / groups * l->s.h * l->s.w; /* groups lie beside each other */
    for (int64_t g = 0; g < (int64_t)l->n * groups; g++) {
        double mean = 0, var = 0;
        for (int64_t i = 0; i < size; i++)
            mean += x[g * size + i] / (double)size;
        for (int64_t i = 0; i < size; i++)
            var += (x[g * size + i] - mean) * (x[g * size + i] - mean) / (double)size;
        for (int64_t i = 0; i < size; i++)
            y[g * size + i] = (x[g * size + i] - mean) / sqrt(var + l->eps);
    }
}

static void norm_of(const void *ctx, const double *x, double *y)
{
    const struct norm *l = ctx;
    xhat_of(l, x, y);
    for (int64_t i = 0; i < (int64_t)l->n * l->s.c * l->s.h * l->s.w; i++)
        if (l->weight)
            y[i] = y[i] * l->weight[scale_at(l, i)] + l->bias[scale_at(l, i)];
}

static const struct {
    struct ddp_shape s;
    int groups;
} problems[] = {
    {{6, 4, 4}, 2},   {{20, 3, 2}, 4}, {{33, 5, 3}, 3}, {{16, 2, 9}, 1}, {{40, 1, 1}, 8}, {{12, 7, 1}, 12},
    {{300, 1, 1}, 2}, {{3, 5, 7}, 0},  {{20, 3, 2}, 0}, {{10, 1, 1}, 0}, {{1, 4, 4}, 0},  {{300, 1, 1}, 0},
};

static void check(size_t p, int mode) /* 0: write, 1: accumulate, 2: no weights */
{
    const struct ddp_group_norm_conf conf = {1e-5, mode != 2, problems[p].groups};
    const struct ddp_shape s = problems[p].s;
    const int64_t elements = (int64_t)s.c * s.h * s.w, scales = problems[p].groups ? s.c : elements;
    struct kit_args a = {.op = problems[p].groups ? &ddp_op_group_norm : &ddp_op_layer_norm,
                         .conf = &conf,
                         .in = s,
                         .batch = 3,
                         .n = 3 - (int)p % 2};
    const int64_t n = a.n * elements;
    float *x = kit_random(n, -2, 3, 1), *dout = kit_random(n, -1, 1, 2), *before = kit_random(n, -1, 1, 3),
          *weight = kit_random(scales, 0.5f, 1.5f, 4), *bias = kit_random(scales, -1, 1, 5);
    const struct norm l = {s, a.n, problems[p].groups, conf.eps, conf.affine ? weight : NULL, bias};
    double *wide = kit_widen(x, n), *y = malloc((size_t)n * 8 + 1), *dx = malloc((size_t)n * 8 + 1),
           *dw = calloc((size_t)scales, 8), *db = calloc((size_t)scales, 8);
    norm_of(&l, wide, y);
    kit_differences(norm_of, &l, wide, n, dout, n, dx);
    a.x[0] = x;
    a.dout = dout;
    a.before[0] = mode == 1 ? before : NULL;
    a.param[0] = weight;
    a.param[1] = bias;
    struct kit_result r;
    kit_run_all(&a, &r);
    kit_close_to("y", r.y, y, n, 2e-6, 1);
    for (int64_t i = 0; i < n; i++)
        dx[i] += mode == 1 ? before[i] : 0;
    kit_close_to("dx", r.dx[0], dx, n, 1e-5, 1);
    assert_int_equal(r.nparams, conf.affine ? 2 : 0);
    if (conf.affine) {
        xhat_of(&l, wide, y);
        for (int64_t i = 0; i < n; i++) {
            dw[scale_at(&l, i)] += dout[i] * y[i];
            db[scale_at(&l, i)] += dout[i];
        }
        kit_close_to("dweight", r.grad[0], dw, scales, 2e-6, 4);
        kit_close_to("dbias", r.grad[1], db, scales, 2e-6, 4);
        for (int i = 0; i < 2; i++)
            for (int64_t k = scales; k < r.size[i]; k++)
                assert_true(r.grad[i][k] == 0);
    }
    kit_free(&r);
    a.evaluate = true; /* the same function */
    kit_run_all(&a, &r);
    norm_of(&l, wide, y);
    kit_close_to("y in evaluation", r.y, y, n, 2e-6, 1);
    kit_free(&r);
    free(x);
    free(dout);
    free(before);
    free(weight);
    free(bias);
    free(wide);
    free(y);
    free(dx);
    free(dw);
    free(db);
}

static void test_group_norm_forward_and_backward(void **state)
{
    (void)state;
    for (size_t p = 0; p < DDP_COUNT(problems); p++)
        for (int mode = 0; mode < 3; mode++)
            check(p, mode);
}

/* A mean of a million times the deviation costs what its own rounding does, and no more. */
static void test_group_norm_large_mean(void **state)
{
    (void)state;
    const struct ddp_group_norm_conf conf = {1e-5, false, 2};
    struct kit_args a = {
        .op = &ddp_op_group_norm, .conf = &conf, .in = {8, 9, 9}, .batch = 1, .n = 1, .evaluate = true};
    const int64_t n = 8 * 81;
    float *x = kit_random(n, 0, 1, 1);
    for (int64_t i = 0; i < n; i++)
        x[i] = 65536.0f + floorf(x[i] * 128) / 128;
    const struct norm l = {a.in, 1, 2, conf.eps, NULL, NULL};
    double *wide = kit_widen(x, n), *y = malloc((size_t)n * 8);
    norm_of(&l, wide, y);
    a.x[0] = x;
    struct kit_result r;
    kit_run_all(&a, &r);
    kit_close_to("y", r.y, y, n, 2e-6, 1);
    kit_free(&r);
    free(x);
    free(wide);
    free(y);
}

static void test_group_norm_takes_an_empty_batch(void **state)
{
    (void)state;
    const struct ddp_group_norm_conf conf[] = {{1e-5, true, 2}, {1e-5, true, 0}};
    for (int i = 0; i < 2; i++) {
        float *ones = kit_random(6 * 4, 1, 1, 1);
        struct kit_args a = {.op = i ? &ddp_op_layer_norm : &ddp_op_group_norm,
                             .conf = &conf[i],
                             .in = {6, 2, 2},
                             .batch = 2,
                             .x = {ones},
                             .dout = ones,
                             .param = {ones, ones}};
        struct kit_result r;
        kit_run_all(&a, &r);
        for (int k = 0; k < 2; k++)
            for (int64_t j = 0; j < r.size[k]; j++)
                assert_true(r.grad[k][j] == 0);
        kit_free(&r);
        free(ones);
    }
}

static void test_group_norm_rejects(void **state)
{
    (void)state;
    const struct ddp_group_norm_conf conf = {1e-5, true, 3};
    kit_expect_plan_error(&ddp_op_group_norm, &conf, (struct ddp_shape[]){{16, 4, 4}}, 1, DDP_E_SHAPE,
                          (const char *const[]){"groups = 3", "16", NULL});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_group_norm_forward_and_backward),
        cmocka_unit_test(test_group_norm_large_mean),
        cmocka_unit_test(test_group_norm_takes_an_empty_batch),
        cmocka_unit_test(test_group_norm_rejects),
    };
    return KIT_MAIN(tests);
}
