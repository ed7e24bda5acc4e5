/* The flat layout, and running statistics in it. */
#include "models.h"

static void test_flat_is_trained_then_running_then_metrics(void **state)
{
    (void)state;
    for (int i = 0; i < nshipped; i++) {
        struct ddp_model *m = model_named(shipped[i].name, shipped[i].input, 4, 0);
        const struct ddp_flat *f = ddp_model_flat(m);
        int64_t at = 0, plain = 0;
        for (int k = 0; k < f->ntensors; k++) {
            const struct ddp_flat_tensor *t = &f->tensor[k];
            assert_int_equal(t->offset, at);
            assert_int_equal(t->offset % DDP_BLOCK, 0);
            assert_int_equal(t->size, ddp_layout_size(&t->param));
            assert_int_equal(t->param.role == DDP_PARAM_TRAINED, k < f->ntrained);
            assert_int_equal(t->offset < f->stats, k < f->ntrained);
            assert_true(k == 0 || k == f->ntrained || t->layer >= t[-1].layer);
            assert_ptr_equal(strstr(t->name, m->layer[t->layer].name), t->name);
            assert_string_equal(t->name + strlen(m->layer[t->layer].name) + 1, t->param.name);
            assert_int_equal(ddp_flat_find(f, t->offset), k);
            assert_int_equal(ddp_flat_find(f, t->offset + t->size - 1), k);
            plain += k < f->ntrained ? ddp_layout_plain_size(&t->param) : 0;
            at = (t->offset + t->size + DDP_BLOCK - 1) / DDP_BLOCK * DDP_BLOCK;
            assert_int_equal(ddp_flat_find(f, t->offset + t->size),
                             t->size % DDP_BLOCK == 0 && k + 1 < f->ntensors ? k + 1 : -1);
        }
        assert_int_equal(f->metrics, at);
        assert_int_equal(f->total, at + DDP_BLOCK);
        assert_int_equal(plain, shipped[i].parameters);
        assert_int_equal(ddp_flat_find(f, -1), -1);
        assert_int_equal(ddp_flat_find(f, f->metrics), -1);
        assert_int_equal(ddp_flat_find(f, f->total), -1);
        ddp_model_destroy(m);
    }
}

static void test_flat_names_are_pytorchs(void **state)
{
    (void)state;
    static const struct {
        const char *model, *tensor;
        struct ddp_shape input;
        int ndim;
        int64_t dims[4];
        bool no_decay;
    } want[] = {
        {"mnist_cnn", "conv1.weight", {1, 28, 28}, 4, {32, 1, 3, 3}, false},
        {"mnist_cnn", "fc1.weight", {1, 28, 28}, 2, {128, 9216}, false},
        {"mnist_cnn", "fc2.bias", {1, 28, 28}, 1, {10}, true},
        {"fashion_cnn", "layer1.1.weight", {1, 28, 28}, 1, {32}, true},
        {"fashion_cnn", "layer2.1.running_var", {1, 28, 28}, 1, {64}, true},
        {"fashion_cnn", "fc1.weight", {1, 28, 28}, 2, {600, 2304}, false},
        {"linear", "fc.weight", {1, 28, 28}, 2, {10, 784}, false},
        {"vgg11", "features.0.weight", {3, 32, 32}, 4, {64, 3, 3, 3}, false},
        {"vgg11", "features.18.weight", {3, 32, 32}, 4, {512, 512, 3, 3}, false},
        {"vgg11", "classifier.weight", {3, 32, 32}, 2, {10, 512}, false},
        {"resnet18", "layer2.0.downsample.0.weight", {3, 32, 32}, 4, {128, 64, 1, 1}, false},
        {"resnet18", "layer4.1.bn2.running_mean", {3, 32, 32}, 1, {512}, true},
    };
    for (size_t i = 0; i < DDP_COUNT(want); i++) {
        struct ddp_model *m = model_named(want[i].model, want[i].input, 4, 0);
        const struct ddp_flat *f = ddp_model_flat(m);
        int k = 0;
        while (k < f->ntensors && strcmp(f->tensor[k].name, want[i].tensor) != 0)
            k++;
        if (k == f->ntensors)
            fail_msg("%s has no %s", want[i].model, want[i].tensor);
        assert_int_equal(f->tensor[k].param.ndim, want[i].ndim);
        for (int d = 0; d < want[i].ndim; d++)
            assert_int_equal(f->tensor[k].param.dims[d], want[i].dims[d]);
        if (f->tensor[k].param.role == DDP_PARAM_TRAINED)
            assert_int_equal(f->tensor[k].param.no_decay, want[i].no_decay);
        ddp_model_destroy(m);
    }
}

/* ---- running statistics ---- */

#define STATS_MODEL                                                                                          \
    "{type = \"conv2d\", out = 3, kernel = 3}, {type = \"batch_norm\", name = \"bn\", momentum = 0.25},"     \
    "{type = \"global_avg_pool\"}, {type = \"flatten\"}, {type = \"linear\", name = \"fc\", out = 2},"       \
    "{type = \"softmax_cross_entropy\"}"

static const struct ddp_flat_tensor *running(const struct ddp_flat *f, enum ddp_param_role role)
{
    for (int i = f->ntrained; i < f->ntensors; i++)
        if (f->tensor[i].param.role == role)
            return &f->tensor[i];
    fail_msg("no running statistic");
    return NULL;
}

/* count samples in `shards` shards of 3x3 pictures (one pixel behind the convolution) or 5x5 (nine). */
static void test_stats_follow_the_formula(void **state)
{
    (void)state;
    static const struct {
        int side, shards;
        int64_t count, mean_elements, var_elements;
    } cases[] = {
        {5, 1, 4, 36, 36},
        {5, 3, 4, 36, 36}, /* nine elements from a single sample are enough for a variance */
        {3, 2, 4, 4, 4},   /* 2 + 2 */
        {3, 2, 3, 3, 2},   /* 1 + 2: the shard of one adds no variance */
        {3, 3, 3, 3, 0},   /* 1 + 1 + 1: no variance at all */
        {3, 4, 6, 6, 4},   /* 1 + 2 + 1 + 2 */
        {5, 8, 3, 27, 27}, /* five empty shards */
        {5, 2, 0, 0, 0},
    };
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        struct ddp_model *m =
            model_layers(STATS_MODEL, (struct ddp_shape){1, cases[i].side, cases[i].side}, 4, 0);
        const struct ddp_flat *f = ddp_model_flat(m);
        const struct ddp_flat_tensor *mean = running(f, DDP_PARAM_RUNNING_MEAN),
                                     *var = running(f, DDP_PARAM_RUNNING_VAR);
        float *params = calloc(f->total, sizeof *params), *sum = calloc(f->metrics - f->stats, sizeof *sum);
        for (int c = 0; c < 3; c++) {
            params[mean->offset + c] = 1.0f + c;
            params[var->offset + c] = 5.0f + c;
            sum[mean->offset - f->stats + c] = 7.0f * (c + 1);
            sum[var->offset - f->stats + c] = 11.0f * (c + 1);
        }
        params[0] = 42;
        ddp_model_apply_stats(m, cases[i].count, cases[i].shards, f->stats, f->metrics, sum, params);
        for (int c = 0; c < 3; c++) {
            double em = 1.0 + c, ev = 5.0 + c;
            if (cases[i].mean_elements)
                em = 0.75 * em + 0.25 * 7 * (c + 1) / cases[i].mean_elements;
            if (cases[i].var_elements)
                ev = 0.75 * ev + 0.25 * 11 * (c + 1) / cases[i].var_elements;
            assert_float_equal(params[mean->offset + c], em, 1e-6);
            assert_float_equal(params[var->offset + c], ev, 1e-6);
        }
        assert_float_equal(params[0], 42, 0);
        free(sum);
        free(params);
        ddp_model_destroy(m);
    }
}

/* One value per channel has no variance: unless the global batch decides. */
static void test_batches_of_single_values_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *sync;
        int side;
        int64_t count;
        int shards;
        bool good;
    } cases[] = {
        {"", 1, 16, 8, true},           {"", 1, 8, 8, false}, {"", 1, 12, 8, false},
        {"", 1, 1, 1, false},           {"", 1, 2, 1, true},  {"", 2, 8, 8, true},
        {"", 1, 3, 8, false}, /* five are empty, three have one */
        {", sync=true", 1, 8, 8, true},
    };
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        char layers[256];
        struct ddp_error err = {0};
        snprintf(layers, sizeof layers,
                 "{type=\"batch_norm\", name=\"n\"%s}, {type=\"flatten\"}, {type=\"linear\", out=3}, "
                 "{type=\"mse\"}",
                 cases[i].sync);
        struct ddp_model *m = model_layers(layers, (struct ddp_shape){4, cases[i].side, cases[i].side}, 4, 0);
        const int status = ddp_model_check_batch(m, cases[i].count, cases[i].shards, &err);
        assert_int_equal(status, cases[i].good ? 0 : DDP_E_SHAPE);
        if (!cases[i].good)
            assert_true(strstr(err.text, "layer 'n' (batch_norm)") &&
                        strstr(err.text, "one value per channel") && strstr(err.text, "sync = true"));
        ddp_model_destroy(m);
    }
}

/* Slice by slice, as the owners of slices do it, gives what one call gives. */
static void test_stats_may_be_applied_in_slices(void **state)
{
    (void)state;
    struct ddp_model *m = model_named("resnet8", (struct ddp_shape){3, 16, 16}, 4, 0);
    const struct ddp_flat *f = ddp_model_flat(m);
    float *a = malloc(f->total * sizeof *a), *b = malloc(f->total * sizeof *b);
    float *sum = malloc((f->metrics - f->stats) * sizeof *sum);
    ddp_model_init(m, 3, a);
    memcpy(b, a, f->total * sizeof *a);
    for (int64_t k = 0; k < f->metrics - f->stats; k++)
        sum[k] = random_uniform((uint32_t)k, 1);
    ddp_model_apply_stats(m, 32, 8, f->stats, f->metrics, sum, a);
    for (int64_t lo = f->stats; lo < f->metrics; lo += 2 * DDP_BLOCK) {
        int64_t hi = lo + 2 * DDP_BLOCK < f->metrics ? lo + 2 * DDP_BLOCK : f->metrics;
        ddp_model_apply_stats(m, 32, 8, lo, hi, sum + (lo - f->stats), b);
    }
    assert_memory_equal(a, b, f->total * sizeof *a);
    ddp_model_init(m, 3, b);
    assert_memory_not_equal(a, b, f->total * sizeof *a);
    free(sum);
    free(b);
    free(a);
    ddp_model_destroy(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flat_is_trained_then_running_then_metrics),
        cmocka_unit_test(test_flat_names_are_pytorchs),
        cmocka_unit_test(test_stats_follow_the_formula),
        cmocka_unit_test(test_batches_of_single_values_are_refused),
        cmocka_unit_test(test_stats_may_be_applied_in_slices),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    models_finish();
    return rc;
}
