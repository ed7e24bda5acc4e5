/* conv_cudnn.c against a cuDNN that only notes what it is asked for: which of the plans that qualify is
 * taken, with what it runs, and that nothing is left behind. Which plans qualify is test_cudnn_plans'
 * subject. */
#include "cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "device/cuda/conv_graph.h"
#include "device/cuda/plan.h"
#include "device/cuda/probe.h"
#include "fake_cudart.h"

/* ---- plans, in place of conv_graph.c and conv_plans.c ---- */

struct candidate {
    const char *lock;
    size_t workspace;
    double us;
    bool runs, captures;
};
static const struct candidate *offered;
static int noffered, handles, graphs, descriptors, packs, executed;
static cudaStream_t on_stream;

struct ddp_conv_graph {
    int next;
};

/* A descriptor of the fake: a plan, or a variant pack. */
struct cudnnBackendDescriptor_fake {
    const struct candidate *plan;
    int64_t id[4], n;
    void *data[4], *workspace;
    bool finalised;
};

static struct cudnnBackendDescriptor_fake *of(cudnnBackendDescriptor_t d)
{
    return (struct cudnnBackendDescriptor_fake *)d;
}

static struct ddp_conv_choice choice_of(const struct candidate *c)
{
    struct ddp_conv_choice out = {.workspace = c->workspace};
    snprintf(out.lock, sizeof out.lock, "%s", c->lock);
    struct cudnnBackendDescriptor_fake *d = calloc(1, sizeof *d);
    d->plan = c;
    descriptors++;
    out.plan = (cudnnBackendDescriptor_t)d;
    return out;
}

int ddp_conv_graph_create(const struct ddp_gpu_conv *c, enum ddp_gpu_conv_pass pass, cudnnHandle_t handle,
                          cudnnBackendDescriptor_t device, struct ddp_conv_graph **out, struct ddp_error *err)
{
    (void)c, (void)pass, (void)err;
    assert_non_null(handle);
    assert_null(device);
    graphs++;
    *out = calloc(1, sizeof **out);
    return 0;
}

void ddp_conv_graph_destroy(struct ddp_conv_graph *g)
{
    graphs -= g != NULL;
    free(g);
}

int ddp_conv_graph_next(struct ddp_conv_graph *g, struct ddp_conv_choice *out, struct ddp_error *err)
{
    (void)err;
    *out = g->next < noffered ? choice_of(&offered[g->next++]) : (struct ddp_conv_choice){0};
    return 0;
}

const char *ddp_conv_graph_passed(const struct ddp_conv_graph *g, int *count)
{
    (void)g;
    *count = 3;
    return "eng=9: not deterministic";
}

int ddp_conv_graph_replay(struct ddp_conv_graph *g, const char *lock, struct ddp_conv_choice *out,
                          struct ddp_error *err)
{
    (void)g;
    for (int i = 0; i < noffered; i++)
        if (strcmp(offered[i].lock, lock) == 0) {
            *out = choice_of(&offered[i]);
            return 0;
        }
    return ddp_fail(err, DDP_E_CONFIG, "no '%s'", lock);
}

void ddp_conv_choice_finish(struct ddp_conv_choice *c)
{
    descriptors -= c->plan != NULL;
    free((void *)c->plan);
    c->plan = NULL;
}

int ddp_cudnn_fail(struct ddp_error *err, int code, cudnnStatus_t status, const char *what)
{
    return ddp_fail(err, code, "cuDNN: %s: %d", what, (int)status);
}

/* ---- cuDNN ---- */

size_t cudnnGetVersion(void)
{
    return 91900;
}

cudnnStatus_t cudnnCreate(cudnnHandle_t *h)
{
    handles++;
    *h = malloc(1);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnDestroy(cudnnHandle_t h)
{
    handles--;
    free((void *)h);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetStream(cudnnHandle_t h, cudaStream_t s)
{
    (void)h;
    on_stream = s;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t *d)
{
    assert_int_equal(type, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    packs++;
    descriptors++;
    *d = calloc(1, sizeof(struct cudnnBackendDescriptor_fake));
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t d)
{
    descriptors--;
    free((void *)d);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t n, const void *value)
{
    struct cudnnBackendDescriptor_fake *p = of(d);
    assert_int_equal(type,
                     name == CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS ? CUDNN_TYPE_INT64 : CUDNN_TYPE_VOID_PTR);
    if (name == CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS)
        memcpy(p->id, value, (size_t)n * sizeof(int64_t)), p->n = n;
    else if (name == CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS)
        memcpy(p->data, value, (size_t)n * sizeof(void *));
    else
        memcpy(&p->workspace, value, sizeof(void *));
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t d)
{
    of(d)->finalised = true;
    return CUDNN_STATUS_SUCCESS;
}

static struct cudnnBackendDescriptor_fake last;

/* Of all plans that ran: operands, and how many of them begin with two numbers that differ or with poison. */
static int operands, drawn;
static bool hides_nan; /* the fake's epilogues: y is 0 where the bias is not */

static void look_at(void *const *data, int n)
{
    for (int i = 0; i < n; i++) {
        uint16_t v[2];
        memcpy(v, data[i], sizeof v);
        operands++;
        drawn += v[0] != v[1] || v[0] == 0xffff;
    }
}

/* What there is of an epilogue, now or when its graph is launched: the bias, or 0. */
static void write_bias(void)
{
    memset(last.data[2], hides_nan ? 0 : *(const uint8_t *)last.data[3], 4096);
}

cudnnStatus_t cudnnBackendExecute(cudnnHandle_t h, cudnnBackendDescriptor_t plan,
                                  cudnnBackendDescriptor_t pack)
{
    (void)h;
    const struct candidate *c = of(plan)->plan;
    last = *of(pack);
    assert_true(last.finalised);
    if (!c->runs)
        return CUDNN_STATUS_EXECUTION_FAILED;
    if (c->workspace)
        memset(last.workspace, 0xff, c->workspace);
    else
        assert_null(last.workspace);
    executed++;
    fake.replay = last.n == 4 ? write_bias : NULL;
    if (fake.replay && !fake.capturing)
        write_bias();
    else if (!fake.replay)
        look_at(last.data, 3);
    fake_work(c->us, c->captures);
    return CUDNN_STATUS_SUCCESS;
}

/* ---- tests ---- */

static struct ddp_gpu *const gpu = (struct ddp_gpu *)&handles, *const other_gpu = (struct ddp_gpu *)&graphs;
static struct ddp_gpu_stream *const stream = (struct ddp_gpu_stream *)&handles;
static const struct ddp_gpu_conv small = {2, 8, 8, 8, 16, 3, 3, 1, 1, 1, DDP_GPU_BF16, false, 1, 0};

static void offer(const struct candidate *list, int n)
{
    fake_reset();
    offered = list;
    noffered = n;
    packs = executed = operands = drawn = 0;
}

static int nothing_is_left(void **state)
{
    (void)state;
    return handles == 0 && graphs == 0 && descriptors == 0 && fake.live == 0 ? 0 : -1;
}

static const struct candidate list[] = {
    {"eng=1", 0, 1, false, true},      {"eng=2", 4096, 1, true, false}, {"eng=3", 2000, 90, true, true},
    {"eng=4", 100000, 30, true, true}, {"eng=5", 0, 20, true, true},    {"eng=6", 8, 21, true, true},
};

static void test_the_first_that_works_or_the_fastest_is_taken(void **state)
{
    (void)state;
    offer(list, DDP_COUNT(list));
    for (int tune = 0; tune < 2; tune++) {
        struct ddp_gpu_plan *plan, *again, *elsewhere;
        struct ddp_error err = {0};
        assert_int_equal(ddp_cuda_conv_plan(gpu, &small, DDP_GPU_CONV_DGRAD, NULL, tune, &plan, &err), 0);
        assert_string_equal(ddp_cuda_plan_lock(plan), tune ? "eng=5" : "eng=3");
        assert_int_equal(ddp_cuda_plan_workspace(plan), tune ? 0 : 2000);

        const int before = executed; /* a lock is taken as it is */
        assert_int_equal(ddp_cuda_conv_plan(gpu, &small, DDP_GPU_CONV_DGRAD, "eng=1", true, &again, &err), 0);
        assert_int_equal(executed, before);
        assert_string_equal(ddp_cuda_plan_lock(again), "eng=1");
        assert_int_equal(handles, 1);
        assert_int_equal(
            ddp_cuda_conv_plan(other_gpu, &small, DDP_GPU_CONV_DGRAD, "eng=4", true, &elsewhere, &err), 0);
        assert_int_equal(handles, 2);
        ddp_cuda_plan_destroy(plan);
        ddp_cuda_plan_destroy(elsewhere);
        assert_int_equal(handles, 1);
        ddp_cuda_plan_destroy(again);
    }
}

/* Tuning tries so many, and so long; the first in any case. */
static void test_tuning_has_a_budget(void **state)
{
    (void)state;
    struct candidate many[40];
    struct ddp_gpu_plan *plan;
    ddp_probe_clock = fake_clock;
    for (int i = 0; i < 40; i++) {
        static char lock[40][8];
        snprintf(lock[i], sizeof lock[i], "eng=%d", i);
        many[i] = (struct candidate){lock[i], 0, 1000 - 10 * i, i % 8 != 1, true};
    }
    offer(many, 40); /* the fastest comes last; two of those before do not work */
    assert_int_equal(ddp_cuda_conv_plan(gpu, &small, DDP_GPU_CONV_FORWARD, NULL, true, &plan, NULL), 0);
    assert_string_equal(ddp_cuda_plan_lock(plan), "eng=18");
    ddp_cuda_plan_destroy(plan);

    for (int i = 0; i < 3; i++)
        many[i].us = 1e6 * (3 - i); /* the first takes longer than there is */
    offer(many, 40);
    assert_int_equal(ddp_cuda_conv_plan(gpu, &small, DDP_GPU_CONV_FORWARD, NULL, true, &plan, NULL), 0);
    assert_string_equal(ddp_cuda_plan_lock(plan), "eng=0");
    ddp_cuda_plan_destroy(plan);
}

/* What its graph leaves is compared with what the plan does outside of one; numbers are not zeros. */
static void test_a_graph_that_computes_something_else_is_passed_over(void **state)
{
    (void)state;
    struct ddp_gpu_plan *plan;
    for (int tune = 0; tune < 2; tune++) {
        offer(&list[2], 2);
        fake.wrong_launch = 1;
        assert_int_equal(ddp_cuda_conv_plan(gpu, &small, DDP_GPU_CONV_WGRAD, NULL, tune, &plan, NULL), 0);
        assert_string_equal(ddp_cuda_plan_lock(plan), "eng=4");
        assert_int_equal(fake.launches, 2);
        ddp_cuda_plan_destroy(plan);
    }
    struct ddp_error err = {0};
    offer(&list[2], 1);
    fake.wrong_launch = 1;
    assert_int_equal(ddp_cuda_conv_plan(gpu, &small, DDP_GPU_CONV_FORWARD, NULL, false, &plan, &err),
                     DDP_E_RESOURCE);
    assert_non_null(strstr(err.text, "its graph computes something else"));
    assert_true(operands > 0 && drawn == operands); /* and the result, which is no number yet */
}

static void test_runs_with_the_memory_of_each_call(void **state)
{
    (void)state;
    static char memory[4][2048];
    offer(&list[2], 1);
    struct ddp_gpu_plan *plan;
    assert_int_equal(ddp_cuda_conv_plan(gpu, &small, DDP_GPU_CONV_WGRAD, NULL, false, &plan, NULL), 0);
    packs = executed = 0;
    for (int i = 0; i < 6; i++) { /* two calls with the same memory, three times */
        void *x = memory[i / 2], *w = memory[3 - i / 2], *y = memory[1] + 16;
        ddp_cuda_conv_run(stream, plan, x, w, y, NULL, memory[2]);
        assert_string_equal(fake.failure, "");
        assert_ptr_equal(on_stream, stream);
        const int64_t ids[3] = {DDP_CONV_X, DDP_CONV_W, DDP_CONV_Y};
        assert_memory_equal(last.id, ids, sizeof ids);
        assert_ptr_equal(last.data[0], x);
        assert_ptr_equal(last.data[1], w);
        assert_ptr_equal(last.data[2], y);
        assert_ptr_equal(last.workspace, memory[2]);
    }
    assert_int_equal(executed, 6);
    assert_int_equal(packs, 3);
    ddp_cuda_plan_destroy(plan);
}

/* With an epilogue the bias goes along. A plan whose ReLU makes numbers of what is none is passed over. */
static void test_an_epilogue_keeps_what_is_no_number(void **state)
{
    (void)state;
    static char memory[5][2048];
    struct ddp_gpu_conv whole = small;
    struct ddp_gpu_plan *plan;
    struct ddp_error err = {0};
    whole.epilogue = DDP_GPU_BIAS_RELU;
    offer(&list[2], 1);
    assert_int_equal(ddp_cuda_conv_plan(gpu, &whole, DDP_GPU_CONV_FORWARD, NULL, false, &plan, &err), 0);
    offer(&list[2], 1);
    hides_nan = true;
    struct ddp_gpu_plan *none = NULL;
    assert_int_equal(ddp_cuda_conv_plan(gpu, &whole, DDP_GPU_CONV_FORWARD, NULL, true, &none, &err),
                     DDP_E_RESOURCE);
    hides_nan = false;
    assert_null(none);
    assert_non_null(strstr(err.text, "makes numbers of what is none"));
    static char y[4096];
    ddp_cuda_conv_run(stream, plan, memory[0], memory[1], y, (const float *)(const void *)memory[3],
                      memory[4]);
    assert_string_equal(fake.failure, "");
    assert_int_equal(last.n, 4);
    assert_int_equal(last.id[3], DDP_CONV_BIAS);
    assert_ptr_equal(last.data[3], memory[3]);
    assert_ptr_equal(last.workspace, memory[4]);
    ddp_cuda_plan_destroy(plan);
}

static void test_a_run_that_fails_is_kept_by_the_device(void **state)
{
    (void)state;
    offer(list, DDP_COUNT(list));
    struct ddp_gpu_plan *plan;
    assert_int_equal(ddp_cuda_conv_plan(gpu, &small, DDP_GPU_CONV_FORWARD, "eng=1", false, &plan, NULL), 0);
    ddp_cuda_conv_run(stream, plan, plan, plan, plan, NULL, NULL);
    assert_non_null(strstr(fake.failure, "convolution"));
    packs = 0; /* and nothing is done after it */
    ddp_cuda_conv_run(stream, plan, gpu, gpu, gpu, NULL, NULL);
    assert_int_equal(packs, 0);
    ddp_cuda_plan_destroy(plan);
}

static void test_failures_name_the_reason(void **state)
{
    (void)state;
    struct ddp_gpu_plan *plan = NULL;
    struct ddp_error err = {0};
    offer(list, 2); /* neither works */
    assert_int_equal(ddp_cuda_conv_plan(gpu, &small, DDP_GPU_CONV_FORWARD, NULL, false, &plan, &err),
                     DDP_E_RESOURCE);
    static const char *const words[] = {"forward of a 3x3 convolution of 8x8x8 to 16 channels",
                                        "3 did not qualify", "not deterministic", "2 were tried", "capture"};
    for (size_t i = 0; i < DDP_COUNT(words); i++)
        if (!strstr(err.text, words[i]))
            fail_msg("'%s' is not in: %s", words[i], err.text);

    offer(&list[2], 3); /* the second candidate's workspace does not fit */
    fake.memory = 8192;
    assert_int_equal(ddp_cuda_conv_plan(gpu, &small, DDP_GPU_CONV_FORWARD, NULL, true, &plan, &err),
                     DDP_E_RESOURCE);
    assert_non_null(strstr(err.text, "100000 bytes"));
    fake.memory = 100; /* nor do the operands */
    assert_int_equal(ddp_cuda_conv_plan(gpu, &small, DDP_GPU_CONV_FORWARD, NULL, true, &plan, &err),
                     DDP_E_RESOURCE);
    assert_non_null(strstr(err.text, "2048 + 2304 + 4096 bytes"));

    offer(list, DDP_COUNT(list));
    fake.at_synchronize = cudaErrorIllegalAddress;
    fake.lost = true;
    assert_int_equal(ddp_cuda_conv_plan(gpu, &small, DDP_GPU_CONV_FORWARD, NULL, false, &plan, &err),
                     DDP_E_DEVICE);

    offer(list, DDP_COUNT(list));
    assert_int_equal(ddp_cuda_conv_plan(gpu, &small, DDP_GPU_CONV_FORWARD, "eng=77", false, &plan, &err),
                     DDP_E_CONFIG);
    struct ddp_gpu_conv odd = small;
    odd.groups = 3;
    assert_int_equal(ddp_cuda_conv_plan(gpu, &odd, DDP_GPU_CONV_FORWARD, NULL, false, &plan, &err),
                     DDP_E_SHAPE);
    assert_null(plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_the_first_that_works_or_the_fastest_is_taken, nothing_is_left),
        cmocka_unit_test_teardown(test_tuning_has_a_budget, nothing_is_left),
        cmocka_unit_test_teardown(test_a_graph_that_computes_something_else_is_passed_over, nothing_is_left),
        cmocka_unit_test_teardown(test_runs_with_the_memory_of_each_call, nothing_is_left),
        cmocka_unit_test_teardown(test_an_epilogue_keeps_what_is_no_number, nothing_is_left),
        cmocka_unit_test_teardown(test_a_run_that_fails_is_kept_by_the_device, nothing_is_left),
        cmocka_unit_test_teardown(test_failures_name_the_reason, nothing_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
