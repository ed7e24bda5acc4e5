/* The device that a test program works on, through the plug-in that DDP_CUDA_PLUGIN names. Included by the
 * test programs. */
#ifndef DDP_TESTS_DEVICE_OPENED_H
#define DDP_TESTS_DEVICE_OPENED_H

#include "cmocka_all.h"

#include <stdio.h>

#include "base/base.h"
#include "device/api.h"

static const struct ddp_gpu_api *api;
static struct ddp_gpu *gpu;
static struct ddp_gpu_stream *stream;

/* Device 0, with a stream; of a group's set-up. */
static int open_device(void **state)
{
    struct ddp_error err = {0};
    (void)state;
    if (ddp_gpu_api_open(&api, &err) != 0 || api->open(0, &gpu, &err) != 0 ||
        api->stream_create(gpu, false, &stream, &err) != 0) {
        fprintf(stderr, "%s\n", err.text);
        return -1;
    }
    return 0;
}

static int close_device(void **state)
{
    (void)state;
    api->stream_destroy(stream);
    api->close(gpu);
    return 0;
}

/* Wait for all work on the stream. */
static void idle(void)
{
    struct ddp_error err = {0};
    while (!api->idle(stream))
        ;
    if (api->check(gpu, &err) != 0)
        fail_msg("%s", err.text);
}

static void *device(size_t bytes)
{
    struct ddp_error err = {0};
    void *p;
    if (api->alloc(gpu, bytes, &p, &err) != 0)
        fail_msg("%s", err.text);
    return p;
}

static void *pinned(size_t bytes)
{
    void *p;
    assert_int_equal(api->alloc_pinned(gpu, bytes, &p, NULL), 0);
    return p;
}

#endif
