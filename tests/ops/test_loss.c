/* Losses against their definitions in double; gradients by differences. */
#include "op_kit.h"

#include <math.h>

enum kind { CROSS_ENTROPY, MSE, MAE, HUBER, KINDS };

static const struct ddp_op *const op_of[KINDS] = {&ddp_op_softmax_cross_entropy, &ddp_op_mse, &ddp_op_mae,
                                                  &ddp_op_huber};

struct conf {
    double value; /* label_smoothing, delta */
};

struct loss {
    enum kind kind;
    int n, classes;
    const int32_t *label;
    const float *target;           /* NULL: labels */
    const struct ddp_mixed *mixed; /* NULL: not mixed */
    double value;
};

static double residual_loss(const struct loss *l, double d)
{
    const double size = fabs(d), delta = l->value;
    return l->kind == MSE   ? d * d
           : l->kind == MAE ? size
           : size > delta   ? delta * (size - delta / 2)
                            : d * d / 2;
}

/* y[0] = the loss sum */
static void loss_of(const void *ctx, const double *x, double *y)
{
    const struct loss *l = ctx;
    y[0] = 0;
    for (int n = 0; n < l->n; n++, x += l->classes) {
        double largest = x[0], sum = 0;
        for (int c = 1; c < l->classes; c++)
            largest = x[c] > largest ? x[c] : largest;
        for (int c = 0; c < l->classes; c++)
            sum += exp(x[c] - largest);
        for (int c = 0; c < l->classes; c++) {
            double hit = l->target ? l->target[n * l->classes + c] : c == l->label[n];
            if (l->mixed)
                hit = (c == l->mixed[n].label) * (double)l->mixed[n].own +
                      (c == l->mixed[n].other) * (1 - (double)l->mixed[n].own);
            double q = l->value / l->classes + (1 - l->value) * hit;
            y[0] += l->kind == CROSS_ENTROPY ? -q * (x[c] - largest - log(sum))
                                             : residual_loss(l, x[c] - hit) / l->classes;
        }
    }
}

enum answer { LABELS, TARGETS, MIXED };

/* One loss over n samples, in every way. */
static void check_loss(enum kind kind, int classes, int n, double value, enum answer answer)
{
    static const float parts[] = {0.7f, 0.25f, 0.5f, 1, 0, 0.9f};
    int32_t label[37];
    struct ddp_mixed mixed[37];
    const bool targets = answer == TARGETS;
    int64_t nx = (int64_t)n * classes;
    struct conf conf = {value};
    float *x = kit_random(nx, -5, 5, 1), *target = kit_random(nx, -4, 4, 2), one = 1;
    double *wide = kit_widen(x, nx), *dx = malloc((size_t)nx * 8), y, error = 0;
    int64_t right = 0;
    for (int i = 0; i < n; i++) {
        int best = 0;
        for (int c = 1; c < classes; c++)
            best = x[i * classes + c] > x[i * classes + best] ? c : best;
        label[i] = i % 3 ? best : (best * 7 + i) % classes;
        mixed[i] = (struct ddp_mixed){label[i], i % 4 ? (label[i] + i) % classes : best, parts[i % 6]};
        right += (answer == MIXED && parts[i % 6] < 0.5f ? mixed[i].other : label[i]) == best;
    }
    for (int64_t i = 0; i < nx; i++)
        error += fabs((double)x[i] - (double)target[i]) / classes;
    struct loss l = {kind, n, classes, label, targets ? target : NULL, answer == MIXED ? mixed : NULL, value};
    loss_of(&l, wide, &y);
    kit_differences(loss_of, &l, wide, nx, &one, 1, dx);
    struct kit_args a = {
        .op = op_of[kind], .conf = &conf, .in = {classes, 1, 1}, .batch = n + 1, .n = n, .x = {x}};
    if (targets)
        a.target = target;
    else if (answer == MIXED)
        a.mixed = mixed;
    else
        a.label = label;
    struct kit_result r, plain;
    kit_run_all(&a, &r);
    kit_close_to("loss", &r.loss, &y, 1, 1e-6, 1);
    kit_close_to("dx", r.dx[0], dx, nx, 2e-6, 1);
    if (targets)
        kit_close_to("error", &r.error, &error, 1, 1e-6, 1);
    else
        assert_int_equal(r.correct, right);
    assert_memory_equal(r.y, x, (size_t)nx * 4);
    if (!kit_on_device()) { /* there a loss writes and never adds */
        struct kit_result more;
        a.before[0] = x;
        kit_run_all(&a, &more);
        for (int64_t i = 0; i < nx; i++)
            assert_true(more.dx[0][i] == x[i] + r.dx[0][i]);
        a.before[0] = NULL;
        kit_free(&more);
    }
    a.evaluate = true; /* the same sums without a gradient */
    kit_run_all(&a, &plain);
    assert_memory_equal(&plain.loss, &r.loss, 4);
    assert_memory_equal(&plain.error, &r.error, 4);
    assert_int_equal(plain.correct, r.correct);
    kit_free(&r);
    kit_free(&plain);
    free(x);
    free(target);
    free(wide);
    free(dx);
}

static void test_loss_value_gradient_and_score(void **state)
{
    (void)state;
    static const int classes[] = {1, 3, 10, 16, 20, 33};
    static const double smoothing[] = {0, 0.1, 1};
    for (size_t k = 0; k < DDP_COUNT(classes); k++)
        for (size_t s = 0; s < DDP_COUNT(smoothing); s++)
            for (int n = 1; n <= 37; n += 18)
                check_loss(CROSS_ENTROPY, classes[k], n, smoothing[s], n == 19 && s == 1 ? MIXED : LABELS);
}

/* With targets in all sizes, with labels and other deltas in one. */
static void test_residuals_value_gradient_and_score(void **state)
{
    (void)state;
    static const int features[] = {1, 3, 16, 33};
    for (enum kind kind = MSE; kind < KINDS; kind++) {
        for (size_t k = 0; k < DDP_COUNT(features); k++)
            for (int n = 1; n <= 37; n += 36)
                check_loss(kind, features[k], n, 1, TARGETS);
        check_loss(kind, 10, 19, 0.3, LABELS);
        check_loss(kind, 10, 19, 0.3, MIXED);
        check_loss(kind, 33, 37, 1, MIXED);
        check_loss(kind, 20, 19, 20, TARGETS);
        check_loss(kind, 20, 19, 0.3, TARGETS);
    }
}

/* Where the error is none, exactly delta, or beyond: no jump but that of |d| at 0, which is 0. */
static void test_residuals_at_their_corners(void **state)
{
    (void)state;
    static const float x[5] = {2, 2.5f, 1.5f, 9, -9}, target[5] = {2, 2, 2, 2, 2};
    static const float want[KINDS][5] = {[MSE] = {0, 0.2f, -0.2f, 2.8f, -4.4f},
                                         [MAE] = {0, 0.2f, -0.2f, 0.2f, -0.2f},
                                         [HUBER] = {0, 0.1f, -0.1f, 0.1f, -0.1f}};
    const struct conf conf = {0.5};
    for (enum kind kind = MSE; kind < KINDS; kind++) {
        struct kit_args a = {.op = op_of[kind],
                             .conf = &conf,
                             .in = {5, 1, 1},
                             .batch = 1,
                             .n = 1,
                             .x = {x},
                             .target = target};
        struct kit_result r;
        kit_run(&a, &(struct kit_variant){0}, &r);
        for (int c = 0; c < 5; c++)
            assert_true(r.dx[0][c] == want[kind][c]);
        kit_free(&r);
    }
}

static void test_loss_ties_go_to_the_lowest_class(void **state)
{
    (void)state;
    const float x[20] = {0, 1, 3, 2, 1, 3, [18] = 3};
    const struct conf conf = {0.5};
    for (int o = 0; o < KINDS; o++)
        for (int32_t label = 0; label < 20; label++) {
            struct kit_args a = {.op = op_of[o],
                                 .conf = &conf,
                                 .in = {20, 1, 1},
                                 .batch = 1,
                                 .n = 1,
                                 .x = {x},
                                 .label = &label};
            struct kit_result r;
            kit_run(&a, &(struct kit_variant){0}, &r);
            assert_int_equal(r.correct, label == 2);
            kit_free(&r);
        }
}

/* Far apart logits: no overflow, the loss is the distance; the classes of the padding
 * (zeros) take no part. */
static void test_softmax_holds_for_far_logits(void **state)
{
    (void)state;
    const float x[3] = {-1000, -3000, -1200};
    const struct conf conf = {0};
    static const double loss[] = {0, 2000, 200};
    for (int32_t label = 0; label < 3; label++) {
        struct kit_args a = {.op = &ddp_op_softmax_cross_entropy,
                             .conf = &conf,
                             .in = {3, 1, 1},
                             .batch = 1,
                             .n = 1,
                             .x = {x},
                             .label = &label};
        struct kit_result r;
        kit_run_all(&a, &r);
        kit_close_to("loss", &r.loss, &loss[label], 1, 1e-7, 1);
        for (int c = 0; c < 3; c++)
            assert_true(r.dx[0][c] == (float)((c == 0) - (c == label)));
        kit_free(&r);
    }
}

static void test_loss_shows_values_that_are_not_finite(void **state)
{
    (void)state;
    const struct conf conf = {0.5};
    const int32_t label = 1;
    for (int o = 0; o < KINDS; o++)
        for (int c = 0; c < 18; c++)
            for (int inf = 0; inf < 2; inf++) {
                float x[18] = {1, 2, 3};
                x[c] = inf ? INFINITY : NAN;
                struct kit_args a = {.op = op_of[o],
                                     .conf = &conf,
                                     .in = {18, 1, 1},
                                     .batch = 1,
                                     .n = 1,
                                     .x = {x},
                                     .label = &label};
                struct kit_result r;
                kit_run(&a, &(struct kit_variant){0}, &r);
                assert_false(isfinite(r.loss));
                kit_free(&r);
            }
}

static void test_loss_of_an_empty_batch_is_zero(void **state)
{
    (void)state;
    kit_cpu_only();
    const struct conf conf = {0.5};
    const float none = 0;
    for (int o = 0; o < KINDS; o++) {
        struct kit_args a = {.op = op_of[o], .conf = &conf, .in = {10, 1, 1}, .batch = 2, .x = {&none}};
        struct kit k;
        struct kit_result r;
        kit_open(&k, &a, &(struct kit_variant){0});
        k.loss = 5;
        k.correct = 5;
        kit_forward(&k);
        kit_close(&k, &r);
        assert_true(r.loss == 0 && r.correct == 0);
        kit_free(&r);
    }
}

static void test_loss_rejects_pictures_and_smoothing(void **state)
{
    (void)state;
    const struct conf good = {0}, low = {-0.1}, high = {1.1};
    const struct ddp_shape pictures = {10, 1, 2}, vector = {10, 1, 1};
    kit_expect_plan_error(&ddp_op_softmax_cross_entropy, &good, &pictures, 1, DDP_E_SHAPE,
                          (const char *const[]){"softmax_cross_entropy", "10 x 1 x 2", "linear", NULL});
    kit_expect_plan_error(&ddp_op_mse, NULL, &pictures, 1, DDP_E_SHAPE,
                          (const char *const[]){"mse", "10 x 1 x 2", NULL});
    kit_expect_plan_error(&ddp_op_mae, NULL, &pictures, 1, DDP_E_SHAPE, (const char *const[]){"mae", NULL});
    kit_expect_plan_error(&ddp_op_huber, &good, &vector, 1, DDP_E_CONFIG,
                          (const char *const[]){"huber", "delta is 0", NULL});
    kit_expect_plan_error(&ddp_op_softmax_cross_entropy, &low, &vector, 1, DDP_E_CONFIG,
                          (const char *const[]){"-0.1", "0 to 1", NULL});
    kit_expect_plan_error(&ddp_op_softmax_cross_entropy, &high, &vector, 1, DDP_E_CONFIG,
                          (const char *const[]){"1.1", NULL});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loss_value_gradient_and_score),
        cmocka_unit_test(test_residuals_value_gradient_and_score),
        cmocka_unit_test(test_residuals_at_their_corners),
        cmocka_unit_test(test_loss_ties_go_to_the_lowest_class),
        cmocka_unit_test(test_softmax_holds_for_far_logits),
        cmocka_unit_test(test_loss_shows_values_that_are_not_finite),
        cmocka_unit_test(test_loss_of_an_empty_batch_is_zero),
        cmocka_unit_test(test_loss_rejects_pictures_and_smoothing),
    };
    return KIT_MAIN(tests);
}
