/* Trying out a plan on the device. */
#include "device/cuda/probe.h"

#include <stdio.h>
#include <string.h>

int ddp_probe_workspace(struct ddp_probe *p, size_t bytes, struct ddp_error *err)
{
    if (bytes <= p->workspace_bytes)
        return 0;
    cudaFree(p->workspace);
    p->workspace = NULL;
    p->workspace_bytes = 0;
    cudaError_t e = cudaMalloc(&p->workspace, bytes);
    if (e != cudaSuccess) {
        (void)cudaGetLastError();
        return ddp_fail(err, DDP_E_RESOURCE,
                        "no device memory for a workspace of %zu bytes to try a plan with: %s", bytes,
                        cudaGetErrorString(e));
    }
    p->workspace_bytes = bytes;
    return 0;
}

int ddp_probe_create(const size_t bytes[DDP_PROBE_OPERANDS], struct ddp_probe *p, struct ddp_error *err)
{
    memset(p, 0, sizeof *p);
    cudaError_t e = cudaStreamCreateWithFlags(&p->stream, cudaStreamNonBlocking);
    if (e == cudaSuccess)
        e = cudaEventCreate(&p->begin);
    if (e == cudaSuccess)
        e = cudaEventCreate(&p->end);
    for (int i = 0; i < DDP_PROBE_OPERANDS && e == cudaSuccess; i++) {
        e = cudaMalloc(&p->operand[i], bytes[i]);
        if (e == cudaSuccess)
            e = cudaMemsetAsync(p->operand[i], 0, bytes[i], p->stream);
    }
    if (e == cudaSuccess)
        return 0;
    (void)cudaGetLastError();
    ddp_probe_destroy(p);
    return ddp_fail(err, DDP_E_RESOURCE, "no device memory for %zu + %zu + %zu bytes to try a plan with: %s",
                    bytes[0], bytes[1], bytes[2], cudaGetErrorString(e));
}

void ddp_probe_destroy(struct ddp_probe *p)
{
    if (p->stream)
        cudaStreamSynchronize(p->stream);
    for (int i = 0; i < DDP_PROBE_OPERANDS; i++)
        cudaFree(p->operand[i]);
    cudaFree(p->workspace);
    if (p->begin)
        cudaEventDestroy(p->begin);
    if (p->end)
        cudaEventDestroy(p->end);
    if (p->stream)
        cudaStreamDestroy(p->stream);
    memset(p, 0, sizeof *p);
}

/* What a run left behind: 0 and *works, or the reason; DDP_E_DEVICE when nothing runs any more. */
static int outcome(const char *what, cudaError_t e, bool *works, char *why, size_t size,
                   struct ddp_error *err)
{
    *works = e == cudaSuccess;
    if (*works)
        return 0;
    snprintf(why, size, "%s: %s", what, cudaGetErrorString(e));
    (void)cudaGetLastError();
    e = cudaDeviceSynchronize();
    if (e != cudaSuccess)
        return ddp_fail(err, DDP_E_DEVICE, "the GPU failed while a plan was tried: %s: %s", why,
                        cudaGetErrorString(e));
    return 0;
}

/* Events around `times` runs, in microseconds each. */
static cudaError_t measure(struct ddp_probe *p, ddp_probe_fn run, void *ctx, int times, float *us)
{
    char why[256];
    float ms = 0;
    cudaError_t e = cudaEventRecord(p->begin, p->stream);
    for (int i = 0; i < times && e == cudaSuccess; i++)
        if (!run(ctx, p, why, sizeof why))
            e = cudaErrorLaunchFailure;
    if (e == cudaSuccess)
        e = cudaEventRecord(p->end, p->stream);
    if (e == cudaSuccess)
        e = cudaEventSynchronize(p->end);
    if (e == cudaSuccess)
        e = cudaEventElapsedTime(&ms, p->begin, p->end);
    *us = ms * 1000 / (float)times;
    return e;
}

enum { ROUNDS = 3, ROUND_US = 1000, MAX_TIMES = 50 };

/* The best of some rounds of about a millisecond: what disturbs only ever adds. */
static cudaError_t best_time(struct ddp_probe *p, ddp_probe_fn run, void *ctx, float *best)
{
    float us;
    cudaError_t e = measure(p, run, ctx, 1, &us);
    int times = us > 0 ? (int)(ROUND_US / us) + 1 : MAX_TIMES;
    if (times > MAX_TIMES)
        times = MAX_TIMES;
    *best = us;
    for (int i = 0; i < ROUNDS && e == cudaSuccess; i++) {
        e = measure(p, run, ctx, times, &us);
        if (i == 0 || us < *best)
            *best = us;
    }
    return e;
}

int ddp_probe_try(struct ddp_probe *p, ddp_probe_fn run, void *ctx, bool *works, float *microseconds,
                  char *why, size_t size, struct ddp_error *err)
{
    *works = false;
    /* first outside of a capture: libraries load their kernels then, which a capture may not allow */
    if (!run(ctx, p, why, size)) {
        bool fine;
        char again[256];
        return outcome("", cudaStreamSynchronize(p->stream), &fine, again, sizeof again, err);
    }
    int rc = outcome("run", cudaStreamSynchronize(p->stream), works, why, size, err);
    if (rc || !*works)
        return rc;

    cudaGraph_t graph = NULL;
    cudaError_t e = cudaStreamBeginCapture(p->stream, cudaStreamCaptureModeThreadLocal);
    bool ran = e == cudaSuccess && run(ctx, p, why, size);
    if (e == cudaSuccess)
        e = cudaStreamEndCapture(p->stream, &graph);
    if (graph)
        cudaGraphDestroy(graph);
    if (e == cudaSuccess && !ran) {
        *works = false;
        return 0;
    }
    rc = outcome("capture in a graph", e, works, why, size, err);
    if (rc || !*works || !microseconds)
        return rc;
    return outcome("timed run", best_time(p, run, ctx, microseconds), works, why, size, err);
}
