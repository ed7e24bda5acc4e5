/* Plans of the real cuDNN without a device: for each GPU of devices/ (figures of their public specifications)
 * every convolution of every shipped model has a deterministic plan that we accept, and its lock text gives
 * that plan again. DDP_TEST_VERBOSE=1 prints what was taken.
 *
 * Engines that are compiled when a plan is made want a driver: without one they are passed over, as our code
 * does with anything that does not work out. */
#include "cmocka_all.h"

#include <cudnn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "device/cuda/conv_graph.h"
#include "device/lock.h"
#include "ops/conv/conv2d.h"
#include "model/graph.h"

enum { MAX_PROBLEMS = 256, BATCH = 64 };

static struct ddp_gpu_conv problems[MAX_PROBLEMS]; /* type and tf32 left open; each once */
static int nproblems;
static bool verbose;

static void add_problem(const struct ddp_layer *l, struct ddp_shape in, struct ddp_shape out)
{
    const struct ddp_conv2d_conf *conf = l->conf;
    const int kernel = (int)conf->kernel, kernel_w = (int)conf->kernel_w;
    const struct ddp_gpu_conv c = {.n = BATCH,
                                   .h = in.h,
                                   .w = in.w,
                                   .c = ddp_gpu_pad(in.c),
                                   .k = ddp_gpu_pad(out.c),
                                   .r = kernel,
                                   .s = kernel_w ? kernel_w : kernel,
                                   .stride = (int)conf->stride,
                                   .pad = (int)conf->padding,
                                   .groups = (int)conf->groups};
    for (int i = 0; i < nproblems; i++)
        if (memcmp(&problems[i], &c, sizeof c) == 0)
            return;
    assert_true(nproblems < MAX_PROBLEMS);
    problems[nproblems++] = c;
}

static void add_model(const char *name, struct ddp_shape input)
{
    char text[64];
    snprintf(text, sizeof text, "model=%s", name);
    const char *overrides[] = {text};
    const struct ddp_config_options opt = {
        .overrides = overrides, .noverrides = 1, .configs_dir = DDP_TEST_CONFIGS};
    struct ddp_error err = {0};
    struct ddp_config *cfg = NULL;
    struct ddp_model *m = NULL;
    if (ddp_config_load(&opt, &cfg, &err) != 0 || ddp_model_build(cfg, input, 10, BATCH, 0, &m, &err) != 0)
        fail_msg("%s", err.text);
    for (int i = 0; i < m->nlayers; i++) {
        const struct ddp_layer *l = &m->layer[i];
        if (ddp_layer_is(l, "conv2d"))
            add_problem(l, l->shape[0], l->plan.out);
    }
    ddp_model_destroy(m);
    ddp_config_destroy(cfg);
}

static int collect(void **state)
{
    (void)state;
    verbose = getenv("DDP_TEST_VERBOSE") != NULL;
    unsetenv("DDP_TEST_VERBOSE"); /* configs refuse what begins with DDP_ and means nothing to them */
    const struct ddp_shape grey = {1, 28, 28}, colour = {3, 32, 32};
    static const char *const names[] = {DDP_TEST_MODELS}, *const colour_only[] = {"vgg11"},
                             *const grey_only[] = {"lenet5", "mnist_cnn", "fashion_cnn"};
    for (size_t i = 0; i < DDP_COUNT(names); i++) {
        bool as_grey = true, as_colour = true;
        for (size_t j = 0; j < DDP_COUNT(colour_only); j++)
            as_grey = as_grey && strcmp(names[i], colour_only[j]) != 0;
        for (size_t j = 0; j < DDP_COUNT(grey_only); j++)
            as_colour = as_colour && strcmp(names[i], grey_only[j]) != 0;
        if (as_grey)
            add_model(names[i], grey);
        if (as_colour)
            add_model(names[i], colour);
    }
    return nproblems > 10 ? 0 : -1;
}

static cudnnBackendDescriptor_t device(const char *name)
{
    char path[512], *json;
    size_t bytes;
    struct ddp_error err;
    snprintf(path, sizeof path, "%s/%s.json", DDP_TEST_DEVICES, name);
    if (ddp_file_read(path, 0, &json, &bytes, &err) != 0)
        fail_msg("%s", err.text);
    cudnnBackendDescriptor_t d;
    assert_int_equal(cudnnBackendCreateDescriptor(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, &d), 0);
    assert_int_equal(cudnnBackendSetAttribute(d, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
                                              (int64_t)bytes, json),
                     0);
    const cudnnStatus_t s = cudnnBackendFinalize(d);
    if (s != CUDNN_STATUS_SUCCESS) {
        ddp_cudnn_fail(&err, DDP_E_RESOURCE, s, path);
        fail_msg("%s", err.text);
    }
    free(json);
    return d;
}

/* What cuDNN itself writes of a plan's engine: "engine":{...} at the end of its JSON, malloc'd. */
static char *engine_json(cudnnBackendDescriptor_t plan)
{
    int64_t n = 0;
    assert_int_equal(cudnnBackendGetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION,
                                              CUDNN_TYPE_CHAR, 0, &n, NULL),
                     0);
    char *json = calloc((size_t)n + 1, 1);
    assert_non_null(json);
    assert_int_equal(cudnnBackendGetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION,
                                              CUDNN_TYPE_CHAR, n, &n, json),
                     0);
    const char *engine = strstr(json, "\"engine\":");
    assert_non_null(engine);
    memmove(json, engine, strlen(engine) + 1);
    return json;
}

/* One problem: a plan, and the same again from its text. Returns whether it has one. */
static bool check(cudnnBackendDescriptor_t dev, const char *dev_name, const struct ddp_gpu_conv *c,
                  enum ddp_gpu_conv_pass pass)
{
    char signature[DDP_GPU_SIGNATURE];
    ddp_gpu_conv_signature(c, pass, signature);
    struct ddp_conv_graph *g;
    struct ddp_error err = {0};
    if (ddp_conv_graph_create(c, pass, NULL, dev, &g, &err) != 0)
        fail_msg("%s: %s: %s", dev_name, signature, err.text);
    struct ddp_conv_choice first, again;
    if (ddp_conv_graph_next(g, &first, &err) != 0)
        fail_msg("%s: %s: %s", dev_name, signature, err.text);
    int passed;
    const char *why = ddp_conv_graph_passed(g, &passed);
    if (!first.plan) {
        print_error("%s: %s: no plan; %d passed over, last: %s\n", dev_name, signature, passed, why);
        ddp_conv_graph_destroy(g);
        return false;
    }
    if (verbose)
        printf("%-5s %-58s %-60s %9zu bytes, %d passed over%s%s\n", dev_name, signature, first.lock,
               first.workspace, passed, passed ? ", last: " : "", why);

    char *want = engine_json(first.plan);
    ddp_conv_graph_destroy(g); /* a plan stands on its own */
    if (ddp_conv_graph_create(c, pass, NULL, dev, &g, &err) != 0 ||
        ddp_conv_graph_replay(g, first.lock, &again, &err) != 0)
        fail_msg("%s: %s: %s", dev_name, signature, err.text);
    char *got = engine_json(again.plan);
    assert_string_equal(got, want);
    assert_string_equal(again.lock, first.lock);
    assert_int_equal(again.workspace, first.workspace);
    free(want);
    free(got);
    ddp_conv_choice_finish(&first);
    ddp_conv_choice_finish(&again);
    ddp_conv_graph_destroy(g);
    return true;
}

static void check_device(const char *name, enum ddp_gpu_type narrow)
{
    cudnnBackendDescriptor_t d = device(name);
    int without = 0;
    for (int i = 0; i < nproblems; i++)
        for (int fp32 = 0; fp32 < 2; fp32++)
            for (int pass = DDP_GPU_CONV_FORWARD; pass <= DDP_GPU_CONV_WGRAD; pass++) {
                struct ddp_gpu_conv c = problems[i];
                c.type = fp32 ? DDP_GPU_F32 : narrow;
                without += !check(d, name, &c, (enum ddp_gpu_conv_pass)pass);
            }
    cudnnBackendDestroyDescriptor(d);
    assert_int_equal(without, 0);
}

static void test_every_convolution_has_a_plan_on_t4(void **state)
{
    (void)state;
    check_device("t4", DDP_GPU_F16);
}

static void test_every_convolution_has_a_plan_on_a100(void **state)
{
    (void)state;
    check_device("a100", DDP_GPU_BF16);
}

static void test_every_convolution_has_a_plan_on_h100(void **state)
{
    (void)state;
    check_device("h100", DDP_GPU_BF16);
}

static void test_every_convolution_has_a_plan_on_h200(void **state)
{
    (void)state;
    check_device("h200", DDP_GPU_BF16);
}

static void test_every_convolution_has_a_plan_on_b200(void **state)
{
    (void)state;
    check_device("b200", DDP_GPU_BF16);
}

static const struct ddp_gpu_conv middle = {BATCH, 16, 16, 64, 64, 3, 3, 1, 1, 1, DDP_GPU_F32, false, 1, 0};

/* Tuning may take any candidate: each has a text that gives it again. */
static void test_every_candidate_replays(void **state)
{
    (void)state;
    static const char *const names[] = {"t4", "a100", "h100", "b200"};
    int candidates = 0;
    for (size_t i = 0; i < DDP_COUNT(names); i++) {
        cudnnBackendDescriptor_t d = device(names[i]);
        for (int variant = 0; variant < 6; variant++) {
            struct ddp_gpu_conv p = middle;
            p.type = variant % 2 ? DDP_GPU_F16 : DDP_GPU_F32;
            p.tf32 = true;
            struct ddp_conv_graph *g;
            struct ddp_error err = {0};
            assert_int_equal(
                ddp_conv_graph_create(&p, (enum ddp_gpu_conv_pass)(variant / 2), NULL, d, &g, &err), 0);
            for (;; candidates++) {
                struct ddp_conv_choice c, again;
                assert_int_equal(ddp_conv_graph_next(g, &c, &err), 0);
                if (!c.plan)
                    break;
                if (ddp_conv_graph_replay(g, c.lock, &again, &err) != 0)
                    fail_msg("%s: %s", names[i], err.text);
                char *want = engine_json(c.plan), *got = engine_json(again.plan);
                assert_string_equal(got, want);
                free(want);
                free(got);
                ddp_conv_choice_finish(&c);
                ddp_conv_choice_finish(&again);
            }
            ddp_conv_graph_destroy(g);
        }
        cudnnBackendDestroyDescriptor(d);
    }
    assert_true(candidates > 300);
}

/* TF32 changes which engines may: without it none with tensor cores is taken. */
static void test_tf32_is_taken_only_where_allowed(void **state)
{
    (void)state;
    cudnnBackendDescriptor_t d = device("h100");
    struct ddp_conv_graph *g;
    struct ddp_conv_choice c;
    struct ddp_error err;
    int candidates[2] = {0};
    char *locks[2] = {0};
    for (int tf32 = 0; tf32 < 2; tf32++) {
        struct ddp_gpu_conv p = middle;
        p.tf32 = tf32;
        assert_int_equal(ddp_conv_graph_create(&p, DDP_GPU_CONV_FORWARD, NULL, d, &g, &err), 0);
        for (;;) {
            assert_int_equal(ddp_conv_graph_next(g, &c, &err), 0);
            if (!c.plan)
                break;
            if (candidates[tf32]++ == 0)
                locks[tf32] = ddp_strdup(c.lock);
            ddp_conv_choice_finish(&c);
        }
        ddp_conv_graph_destroy(g);
    }
    assert_true(candidates[0] > 0);
    assert_true(candidates[1] > candidates[0]);
    assert_string_not_equal(locks[0], locks[1]);

    /* nor by a lock that was made where it is allowed */
    assert_int_equal(ddp_conv_graph_create(&middle, DDP_GPU_CONV_FORWARD, NULL, d, &g, &err), 0);
    assert_int_equal(ddp_conv_graph_replay(g, locks[1], &c, &err), DDP_E_CONFIG);
    assert_non_null(strstr(err.text, "TF32"));
    ddp_conv_graph_destroy(g);
    free(locks[0]);
    free(locks[1]);
    cudnnBackendDestroyDescriptor(d);
}

static void test_groups_of_whole_channels_have_plans(void **state)
{
    (void)state;
    cudnnBackendDescriptor_t d = device("h100");
    for (int type = DDP_GPU_F32; type <= DDP_GPU_BF16; type++)
        for (int pass = DDP_GPU_CONV_FORWARD; pass <= DDP_GPU_CONV_WGRAD; pass++) {
            struct ddp_gpu_conv c = middle;
            c.type = (enum ddp_gpu_type)type;
            c.groups = 4;
            assert_true(check(d, "h100", &c, (enum ddp_gpu_conv_pass)pass));
        }
    cudnnBackendDestroyDescriptor(d);
}

/* What cuDNN offers for a bias and ReLU behind a convolution; engines that fuse in narrow types are compiled
 * when their plan is made, which wants a driver: without one they are passed over, or not even offered. What
 * is not passed over replays. */
static void test_epilogues_are_described_and_offered(void **state)
{
    (void)state;
    cudnnBackendDescriptor_t d = device("h100");
    int of_fp32 = 0;
    for (int variant = 0; variant < 6; variant++) {
        struct ddp_gpu_conv p = middle;
        p.type = (enum ddp_gpu_type)(variant % 3);
        p.epilogue = variant / 3 ? DDP_GPU_BIAS_RELU : DDP_GPU_BIAS;
        struct ddp_conv_graph *g;
        struct ddp_error err = {0};
        if (ddp_conv_graph_create(&p, DDP_GPU_CONV_FORWARD, NULL, d, &g, &err) != 0)
            fail_msg("%s", err.text);
        int taken = 0, passed;
        for (struct ddp_conv_choice c, again;; taken++) {
            assert_int_equal(ddp_conv_graph_next(g, &c, &err), 0);
            if (!c.plan)
                break;
            if (ddp_conv_graph_replay(g, c.lock, &again, &err) != 0)
                fail_msg("%s", err.text);
            ddp_conv_choice_finish(&again);
            ddp_conv_choice_finish(&c);
        }
        const char *why = ddp_conv_graph_passed(g, &passed);
        if (verbose)
            printf("type %d, epilogue %u: %d plans, %d passed over, last: %s\n", (int)p.type, p.epilogue,
                   taken, passed, why);
        of_fp32 += p.type == DDP_GPU_F32 && taken > 0;
        ddp_conv_graph_destroy(g);
    }
    assert_int_equal(of_fp32, 2);
    cudnnBackendDestroyDescriptor(d);
}

static void test_bad_locks_are_refused_with_a_reason(void **state)
{
    (void)state;
    cudnnBackendDescriptor_t d = device("h100");
    struct ddp_conv_graph *g;
    struct ddp_error err;
    assert_int_equal(ddp_conv_graph_create(&middle, DDP_GPU_CONV_WGRAD, NULL, d, &g, &err), 0);
    static const char *const bad[] = {
        "",           "emu",       "eng",         "eng=",      "eng=1;", "eng=1;k",       "eng=1 ",
        "eng=1;k2",   "eng=1;k2=", "eng=1;k2=1;", "eng=99999", "eng=-1", "eng=0;k9999=1", "eng=0;k2=99999999",
        "eng=1;x2=1", "ENG=1"};
    for (size_t i = 0; i < DDP_COUNT(bad); i++) {
        struct ddp_conv_choice c = {0};
        if (ddp_conv_graph_replay(g, bad[i], &c, &err) != DDP_E_CONFIG)
            fail_msg("'%s' was taken", bad[i]);
        assert_null(c.plan);
        assert_non_null(strstr(err.text, bad[i]));
    }
    ddp_conv_graph_destroy(g);

    struct ddp_gpu_conv odd = middle;
    odd.c = 3;
    assert_int_equal(ddp_conv_graph_create(&odd, DDP_GPU_CONV_FORWARD, NULL, d, &g, &err), DDP_E_SHAPE);
    cudnnBackendDestroyDescriptor(d);
}

int main(void)
{
    if (cudnnGetVersion() < 90800) {
        printf("skipped: cuDNN %zu makes no plans without a device, 9.8 and newer do\n", cudnnGetVersion());
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_convolution_has_a_plan_on_t4),
        cmocka_unit_test(test_every_convolution_has_a_plan_on_a100),
        cmocka_unit_test(test_every_convolution_has_a_plan_on_h100),
        cmocka_unit_test(test_every_convolution_has_a_plan_on_h200),
        cmocka_unit_test(test_every_convolution_has_a_plan_on_b200),
        cmocka_unit_test(test_every_candidate_replays),
        cmocka_unit_test(test_tf32_is_taken_only_where_allowed),
        cmocka_unit_test(test_groups_of_whole_channels_have_plans),
        cmocka_unit_test(test_epilogues_are_described_and_offered),
        cmocka_unit_test(test_bad_locks_are_refused_with_a_reason),
    };
    return cmocka_run_group_tests(tests, collect, NULL);
}
