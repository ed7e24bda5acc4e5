/* Initial values: PyTorch's bounds, the right moments, and independence of everything but seed, name and
 * element. */
#include "models.h"

#include <math.h>

static float *init(const struct ddp_model *m, uint64_t seed)
{
    float *params = malloc(m->flat.total * sizeof *params);
    ddp_model_init(m, seed, params);
    return params;
}

/* Plain copy of a tensor by name; *n elements. */
static float *plain(const struct ddp_model *m, const float *params, const char *name, int64_t *n)
{
    for (int i = 0; i < m->flat.ntensors; i++) {
        const struct ddp_flat_tensor *t = &m->flat.tensor[i];
        if (strcmp(t->name, name) != 0)
            continue;
        *n = ddp_layout_plain_size(&t->param);
        float *out = malloc(*n * sizeof *out);
        ddp_layout_unpack(&t->param, params + t->offset, out);
        return out;
    }
    fail_msg("no tensor %s", name);
    return NULL;
}

static void moments(const float *v, int64_t n, double *mean, double *var, double *max)
{
    double s = 0, q = 0;
    *max = 0;
    for (int64_t i = 0; i < n; i++) {
        s += v[i];
        q += (double)v[i] * v[i];
        *max = fabs(v[i]) > *max ? fabs(v[i]) : *max;
    }
    *mean = s / n;
    *var = q / n - *mean * *mean;
}

static void test_init_has_pytorchs_bounds(void **state)
{
    (void)state;
    static const struct {
        const char *model, *tensor;
        struct ddp_shape input;
        double fan_in; /* U(-1/sqrt(fan_in), 1/sqrt(fan_in)); 0: all ones; -1: all zeros */
    } want[] = {
        {"mnist_cnn", "conv2.weight", {1, 28, 28}, 288},
        {"mnist_cnn", "conv2.bias", {1, 28, 28}, 288},
        {"mnist_cnn", "fc1.weight", {1, 28, 28}, 9216},
        {"mnist_cnn", "fc1.bias", {1, 28, 28}, 9216},
        {"linear", "fc.weight", {3, 32, 32}, 3072},
        {"resnet18", "layer2.0.conv1.weight", {3, 32, 32}, 576},
        {"fashion_cnn", "layer1.1.weight", {1, 28, 28}, 0},
        {"fashion_cnn", "layer1.1.bias", {1, 28, 28}, -1},
        {"fashion_cnn", "layer1.1.running_var", {1, 28, 28}, 0},
        {"fashion_cnn", "layer1.1.running_mean", {1, 28, 28}, -1},
    };
    for (size_t i = 0; i < DDP_COUNT(want); i++) {
        struct ddp_model *m = model_named(want[i].model, want[i].input, 4, 0);
        float *params = init(m, 1);
        int64_t n;
        double mean, var, max;
        float *v = plain(m, params, want[i].tensor, &n);
        moments(v, n, &mean, &var, &max);
        if (want[i].fan_in > 0) {
            double b = 1 / sqrt(want[i].fan_in);
            assert_true(max <= b * (1 + 1e-6));
            assert_true(max > b * (n > 1000 ? 0.998 : 0.85));
            if (n > 1000) {
                assert_true(fabs(mean) < 5 * b / sqrt(3.0 * n));
                assert_true(fabs(var / (b * b / 3) - 1) < 5 / sqrt(n));
            }
        } else {
            for (int64_t k = 0; k < n; k++)
                assert_float_equal(v[k], want[i].fan_in == 0, 0);
        }
        free(v);
        free(params);
        ddp_model_destroy(m);
    }
}

static void test_init_normal_has_its_moments(void **state)
{
    (void)state;
    struct ddp_model *m =
        model_layers("{type = \"conv2d\", name = \"c\", out = 64, kernel = 3, init = \"kaiming_normal\"},"
                     "{type = \"global_avg_pool\"}, {type = \"flatten\"}, {type = \"linear\", out = 10},"
                     "{type = \"softmax_cross_entropy\"}",
                     (struct ddp_shape){64, 8, 8}, 4, 0);
    float *params = init(m, 1);
    int64_t n;
    double mean, var, max, fourth = 0;
    float *v = plain(m, params, "c.weight", &n);
    const struct ddp_param *p = &m->flat.tensor[0].param;
    moments(v, n, &mean, &var, &max);
    double want = p->gain * p->gain / p->fan_in;
    for (int64_t k = 0; k < n; k++)
        fourth += pow(v[k], 4) / n;
    assert_true(fabs(mean) < 5 * sqrt(want / n));
    assert_true(fabs(var / want - 1) < 0.04);
    assert_true(fabs(fourth / (3 * want * want) - 1) < 0.1);
    assert_true(max > 3.5 * sqrt(want) && max < 6 * sqrt(want));
    free(v);
    free(params);
    ddp_model_destroy(m);
}

#define NARROW(n) "{type = \"conv2d\", name = \"" n "\", out = 5, kernel = 3, padding = 1},"
#define TAIL                                                                                                 \
    "{type = \"flatten\"}, {type = \"linear\", name = \"fc\", out = 3}, {type = \"softmax_cross_entropy\"}"

/* Another layer before it, another number of padded channels around it: the same tensor
 * gets the same values. */
static void test_init_depends_on_name_and_seed_only(void **state)
{
    (void)state;
    const struct ddp_shape in = {5, 6, 6};
    struct ddp_model *a = model_layers(NARROW("x") NARROW("y") TAIL, in, 4, 0);
    struct ddp_model *b = model_layers(NARROW("w") NARROW("y") NARROW("x") TAIL, in, 4, 0);
    float *pa = init(a, 1), *pb = init(b, 1), *pc = init(b, 2);
    int64_t n;
    float *xa = plain(a, pa, "x.weight", &n), *xb = plain(b, pb, "x.weight", &n),
          *xc = plain(b, pc, "x.weight", &n);
    float *ya = plain(a, pa, "y.weight", &n);
    assert_memory_equal(xa, xb, n * sizeof *xa);
    assert_memory_not_equal(xb, xc, n * sizeof *xa);
    assert_memory_not_equal(xa, ya, n * sizeof *xa);
    /* padding of blocks and between tensors is zero */
    int64_t nonzero = 0, all = 0;
    for (int64_t k = 0; k < a->flat.total; k++)
        nonzero += pa[k] != 0;
    for (int i = 0; i < a->flat.ntensors; i++)
        all += ddp_layout_plain_size(&a->flat.tensor[i].param);
    assert_true(nonzero <= all && nonzero > all - 3);
    free(xa), free(xb), free(xc), free(ya), free(pa), free(pb), free(pc);
    ddp_model_destroy(a);
    ddp_model_destroy(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_init_has_pytorchs_bounds),
        cmocka_unit_test(test_init_normal_has_its_moments),
        cmocka_unit_test(test_init_depends_on_name_and_seed_only),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    models_finish();
    return rc;
}
