/* Devices, memory, streams, events, graphs and NCCL of a plug-in: on the GPU of this machine, or on the
 * emulated one where DDP_CUDA_PLUGIN names that. Ends with 77 where there is no device. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include "device/kernels.h"
#include "reduce/flat_kernels.h"

enum { COUNT = 100000, SKIP = 77, LIMIT_S = 20 };

static const struct ddp_gpu_api *api;
static struct ddp_gpu *gpu;
static struct ddp_error err;

#define OK(call)                                                                                             \
    do {                                                                                                     \
        if ((call) != 0)                                                                                     \
            fail_msg("%s: %s", #call, err.text);                                                             \
    } while (0)

static void finish(struct ddp_gpu_stream *s)
{
    const double end = ddp_now() + LIMIT_S;
    while (!api->idle(s))
        if (ddp_now() > end)
            fail_msg("a stream does not come to an end");
    OK(api->check(gpu, &err));
}

static float *pinned(float first)
{
    void *p;
    OK(api->alloc_pinned(gpu, COUNT * sizeof(float), &p, &err));
    float *f = p;
    for (int i = 0; i < COUNT; i++)
        f[i] = first + (float)(i % 1000);
    return f;
}

static float *device(void)
{
    void *p;
    OK(api->alloc(gpu, COUNT * sizeof(float), &p, &err));
    assert_int_equal((uintptr_t)p % DDP_GPU_ALIGN, 0);
    return p;
}

static struct ddp_gpu_stream *stream(bool high)
{
    struct ddp_gpu_stream *s;
    OK(api->stream_create(gpu, high, &s, &err));
    return s;
}

static void test_memory_comes_zeroed(void **state)
{
    (void)state;
    struct ddp_gpu_stream *s = stream(false);
    float *host = pinned(1), *dev = device();
    size_t avail = 0, total = 0;
    OK(api->memory(gpu, &avail, &total, &err));
    assert_true(avail > 0 && avail <= total);
    api->copy(s, host, dev, COUNT * sizeof(float));
    finish(s);
    for (int i = 0; i < COUNT; i++)
        assert_true(host[i] == 0);
    for (int i = 0; i < COUNT; i++)
        host[i] = (float)i;
    api->copy(s, dev, host, COUNT * sizeof(float));
    api->zero(s, dev + 10, 40);
    api->copy(s, host, dev, COUNT * sizeof(float));
    finish(s);
    for (int i = 0; i < COUNT; i++)
        assert_true(host[i] == (i >= 10 && i < 20 ? 0 : (float)i));
    api->release(gpu, dev);
    api->release_pinned(gpu, host);
    api->stream_destroy(s);
}

static void test_memory_that_is_not_there(void **state)
{
    (void)state;
    void *p = NULL;
    assert_int_equal(api->alloc(gpu, (size_t)1 << 46, &p, &err), DDP_E_RESOURCE);
    assert_null(p);
    assert_non_null(strstr(err.text, "out of memory: 67108864 MiB wanted"));
    OK(api->check(gpu, &err)); /* a refusal is no failure of the device */
}

/* b comes after a by an event, across streams: x = 1 + 2 + .. */
static void test_events_order_streams(void **state)
{
    (void)state;
    struct ddp_gpu_stream *a = stream(false), *b = stream(true);
    struct ddp_gpu_event *up, *added;
    OK(api->event_create(gpu, &up, &err));
    OK(api->event_create(gpu, &added, &err));
    float *one = pinned(1), *two = pinned(2), *x = device(), *y = device(), *out = pinned(0);
    api->copy(a, x, one, COUNT * sizeof(float));
    api->copy(a, y, two, COUNT * sizeof(float));
    api->record(up, a);
    api->wait(b, up);
    const struct ddp_gpu_range_args add = {.count = COUNT, .a = x, .b = y};
    api->kernels->flat->add_range(b, &add);
    api->kernels->flat->add_range(b, &add);
    api->record(added, b);
    api->wait(a, added);
    api->copy(a, out, x, COUNT * sizeof(float));
    finish(a);
    assert_true(api->reached(added));
    for (int i = 0; i < COUNT; i++)
        assert_true(out[i] == one[i] + two[i] + two[i]);
    api->event_destroy(up);
    api->event_destroy(added);
    api->stream_destroy(a);
    api->stream_destroy(b);
    api->release(gpu, x);
    api->release(gpu, y);
    api->release_pinned(gpu, one);
    api->release_pinned(gpu, two);
    api->release_pinned(gpu, out);
}

/* What is captured is not run, and runs as often as it is launched, a second stream and its join included. */
static void test_graph_replays(void **state)
{
    (void)state;
    struct ddp_gpu_stream *a = stream(false), *b = stream(false);
    struct ddp_gpu_event *fork, *join;
    struct ddp_gpu_graph *graph = NULL;
    OK(api->event_create(gpu, &fork, &err));
    OK(api->event_create(gpu, &join, &err));
    float *one = pinned(1), *x = device(), *y = device(), *out = pinned(0);
    api->copy(a, y, one, COUNT * sizeof(float));
    finish(a);
    const struct ddp_gpu_range_args add = {.count = COUNT, .a = x, .b = y};
    api->capture_begin(a);
    api->kernels->flat->add_range(a, &add);
    api->record(fork, a);
    api->wait(b, fork);
    api->kernels->flat->add_range(b, &add);
    api->record(join, b);
    api->wait(a, join);
    OK(api->capture_end(a, &graph, &err));
    for (int i = 0; i < 3; i++)
        api->launch(a, graph);
    api->copy(a, out, x, COUNT * sizeof(float));
    finish(a);
    for (int i = 0; i < COUNT; i++)
        assert_true(out[i] == 6 * one[i]);
    api->graph_destroy(graph);
    api->event_destroy(fork);
    api->event_destroy(join);
    api->stream_destroy(a);
    api->stream_destroy(b);
    api->release(gpu, x);
    api->release(gpu, y);
    api->release_pinned(gpu, one);
    api->release_pinned(gpu, out);
}

/* A communicator of one rank: the calls, captured and not. */
static void test_communicator_of_one(void **state)
{
    (void)state;
    char id[DDP_GPU_ID_BYTES];
    struct ddp_gpu_comm *comm = NULL;
    struct ddp_gpu_stream *s = stream(true);
    OK(api->comm_id(id, &err));
    OK(api->comm_open(gpu, id, 0, 1, DDP_GPU_SHARE_NOT, LIMIT_S, &comm, &err));
    float *one = pinned(1), *x = device(), *y = device(), *out = pinned(0);
    api->copy(s, x, one, COUNT * sizeof(float));
    api->bcast(comm, s, x, COUNT, 0);
    api->allreduce(comm, s, x, COUNT);
    api->group_begin(comm);
    api->send(comm, s, x, COUNT, 0);
    api->recv(comm, s, y, COUNT, 0);
    api->group_end(comm);
    api->copy(s, out, y, COUNT * sizeof(float));
    finish(s);
    OK(api->comm_check(comm, &err));
    for (int i = 0; i < COUNT; i++)
        assert_true(out[i] == one[i]);
    api->comm_close(comm, false);
    api->stream_destroy(s);
    api->release(gpu, x);
    api->release(gpu, y);
    api->release_pinned(gpu, one);
    api->release_pinned(gpu, out);
}

/* A rank that waits for another that does not come ends with an error in time, and the device goes on. */
static void test_communicator_that_nobody_joins(void **state)
{
    (void)state;
    char id[DDP_GPU_ID_BYTES];
    struct ddp_gpu_comm *comm = NULL;
    const double began = ddp_now();
    OK(api->comm_id(id, &err));
    assert_int_equal(api->comm_open(gpu, id, 0, 2, DDP_GPU_SHARE_NOT, 1, &comm, &err), DDP_E_COMM);
    assert_null(comm);
    assert_true(ddp_now() - began < LIMIT_S);
    assert_non_null(strstr(err.text, "not done after 1 s (comm.timeout_s)"));
    OK(api->check(gpu, &err));
}

/* Nothing of the above was answered by a device that had failed. */
static void test_nothing_failed(void **state)
{
    (void)state;
    struct ddp_gpu_versions v;
    OK(api->check(gpu, &err));
    api->versions(&v);
    assert_true(v.driver > 0 && v.runtime >= 12040 && v.nccl >= 21800);
}

int main(void)
{
    int n = 0;
    if (ddp_gpu_api_open(&api, &err) != 0 || api->count(&n, &err) != 0) {
        printf("skipped: no CUDA device: %s\n", err.text);
        return SKIP;
    }
    if (api->open(0, &gpu, &err) != 0) {
        printf("the device cannot be opened: %s\n", err.text);
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_comes_zeroed),  cmocka_unit_test(test_memory_that_is_not_there),
        cmocka_unit_test(test_events_order_streams), cmocka_unit_test(test_graph_replays),
        cmocka_unit_test(test_communicator_of_one),  cmocka_unit_test(test_communicator_that_nobody_joins),
        cmocka_unit_test(test_nothing_failed),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    api->close(gpu);
    return failed;
}
