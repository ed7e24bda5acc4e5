/* Functions of CUDA's runtime, and of runtime.c, for tests of how plans are chosen. */
#include "fake_cudart.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/cuda/private.h"

struct fake_cudart fake;

void fake_reset(void)
{
    fake = (struct fake_cudart){.major = 9};
}

void fake_work(double us, bool capturable)
{
    if (!fake.capturing)
        fake.clock_us += us;
    else if (!capturable)
        fake.capture_broken = true;
}

double fake_clock(void)
{
    return fake.clock_us * 1e-6;
}

static void *handle(void)
{
    fake.live++;
    return malloc(sizeof(double));
}

static cudaError_t drop(void *p)
{
    fake.live -= p != NULL;
    free(p);
    return cudaSuccess;
}

cudaError_t cudaMalloc(void **p, size_t bytes)
{
    if (fake.memory && bytes > fake.memory)
        return cudaErrorMemoryAllocation;
    fake.live++;
    *p = aligned_alloc(256, (bytes + 255) / 256 * 256);
    memset(*p, 0xff, bytes);
    return cudaSuccess;
}

cudaError_t cudaFree(void *p)
{
    return drop(p);
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind,
                            cudaStream_t s)
{
    (void)kind;
    (void)s;
    memcpy(to, from, bytes);
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t s)
{
    (void)s;
    memset(p, value, bytes);
    fake.set = p;
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned flags)
{
    (void)flags;
    *s = handle();
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t s)
{
    return drop(s);
}

cudaError_t cudaStreamSynchronize(cudaStream_t s)
{
    (void)s;
    const cudaError_t e = fake.at_synchronize;
    if (!fake.lost)
        fake.at_synchronize = cudaSuccess;
    return e;
}

cudaError_t cudaDeviceSynchronize(void)
{
    return fake.lost ? cudaErrorIllegalAddress : cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t s, enum cudaStreamCaptureMode mode)
{
    (void)s;
    fake.capturing = true;
    fake.capture_broken = false;
    return mode == cudaStreamCaptureModeThreadLocal ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *g)
{
    (void)s;
    fake.capturing = false;
    *g = fake.capture_broken ? NULL : handle();
    return fake.capture_broken ? cudaErrorStreamCaptureInvalidated : cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t g)
{
    return drop(g);
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t g, unsigned long long flags)
{
    (void)g;
    (void)flags;
    *exec = handle();
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t s)
{
    (void)exec;
    (void)s;
    if (fake.replay)
        fake.replay();
    if (++fake.launches == fake.wrong_launch)
        *(char *)fake.set ^= 1;
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    return drop(exec);
}

cudaError_t cudaEventCreate(cudaEvent_t *e)
{
    *e = handle();
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t e)
{
    return drop(e);
}

cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s)
{
    (void)s;
    *(double *)(void *)e = fake.clock_us;
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t e)
{
    (void)e;
    return cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t a, cudaEvent_t b)
{
    *ms = (float)((*(double *)(void *)b - *(double *)(void *)a) / 1000);
    return cudaSuccess;
}

cudaError_t cudaGetLastError(void)
{
    return cudaSuccess;
}

const char *cudaGetErrorString(cudaError_t e)
{
    return e == cudaErrorMemoryAllocation ? "out of memory"
           : e == cudaErrorIllegalAddress ? "illegal address"
                                          : "error";
}

cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int device)
{
    (void)device;
    *value = attribute == cudaDevAttrComputeCapabilityMajor ? fake.major : 0;
    return cudaSuccess;
}

/* ---- runtime.c ---- */

void *ddp_stream_cuda(struct ddp_gpu_stream *s)
{
    return s;
}

bool ddp_stream_works(const struct ddp_gpu_stream *s)
{
    (void)s;
    return !fake.failure[0];
}

void ddp_stream_fail(struct ddp_gpu_stream *s, int code, const char *fmt, ...)
{
    (void)s;
    (void)code;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(fake.failure, sizeof fake.failure, fmt, ap);
    va_end(ap);
}

int ddp_gpu_ordinal(const struct ddp_gpu *gpu)
{
    (void)gpu;
    return 0;
}
