/* Trying out a plan on the device. */
#include "device/cuda/probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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

/* ---- operands ---- */

enum { FILL = 1 << 20, SEEN = 2 << 20 }; /* bytes of the pattern; of a result's beginning, and end */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
double (*ddp_probe_clock)(void) = now;

/* Numbers of magnitude 0.5 to 1 and both signs in every type: sign and mantissa are drawn, the exponent is
 * not. */
static void make_pattern(enum ddp_gpu_type type, uint32_t *pattern)
{
    static const struct {
        uint32_t drawn, fixed;
    } bits[] = {[DDP_GPU_F32] = {0x807fffffu, 0x3f000000u},
                [DDP_GPU_BF16] = {0x807f807fu, 0x3f003f00u},
                [DDP_GPU_F16] = {0x83ff83ffu, 0x38003800u}};
    uint32_t x = 1;
    for (size_t i = 0; i < FILL / sizeof *pattern; i++) {
        x ^= x << 13, x ^= x >> 17, x ^= x << 5; /* xorshift32 */
        pattern[i] = (x & bits[type].drawn) | bits[type].fixed;
    }
}

static cudaError_t fill(struct ddp_probe *p, int i, const uint32_t *pattern)
{
    cudaError_t e = cudaSuccess;
    for (size_t at = 0; at < p->of[i].bytes && e == cudaSuccess; at += FILL) {
        const size_t left = p->of[i].bytes - at;
        e = cudaMemcpyAsync((char *)p->operand[i] + at, pattern, left < FILL ? left : FILL,
                            cudaMemcpyHostToDevice, p->stream);
    }
    return e; /* the pattern was read: it is no pinned memory */
}

static cudaError_t make_operands(struct ddp_probe *p)
{
    uint32_t *pattern = malloc(FILL);
    cudaError_t e = pattern && p->seen[0] && p->seen[1] ? cudaSuccess : cudaErrorMemoryAllocation;
    for (int i = 0; i < DDP_PROBE_OPERANDS && e == cudaSuccess; i++) {
        if (p->of[i].bytes == 0)
            continue;
        make_pattern(p->of[i].type, pattern);
        e = cudaMalloc(&p->operand[i], p->of[i].bytes);
        if (e == cudaSuccess)
            e = fill(p, i, pattern);
    }
    free(pattern);
    return e;
}

int ddp_probe_create(const struct ddp_probe_operand of[DDP_PROBE_OPERANDS], struct ddp_probe *p,
                     struct ddp_error *err)
{
    memset(p, 0, sizeof *p);
    memcpy(p->of, of, sizeof p->of);
    for (int i = 0; i < DDP_PROBE_OPERANDS; i++)
        p->result = of[i].result ? i : p->result;
    for (int i = 0; i < 2; i++)
        p->seen[i] = malloc(2 * SEEN);
    p->left = DDP_PROBE_CANDIDATES;
    p->until = ddp_probe_clock() + DDP_PROBE_SECONDS;
    cudaError_t e = cudaStreamCreateWithFlags(&p->stream, cudaStreamNonBlocking);
    if (e == cudaSuccess)
        e = cudaEventCreate(&p->begin);
    if (e == cudaSuccess)
        e = cudaEventCreate(&p->end);
    if (e == cudaSuccess)
        e = make_operands(p);
    if (e == cudaSuccess)
        return 0;
    (void)cudaGetLastError();
    ddp_probe_destroy(p);
    if (e != cudaErrorMemoryAllocation)
        return ddp_fail(err, DDP_E_DEVICE, "the GPU failed before a plan was tried: %s",
                        cudaGetErrorString(e));
    return ddp_fail(err, DDP_E_RESOURCE, "no device memory for %zu + %zu + %zu bytes to try a plan with: %s",
                    of[0].bytes, of[1].bytes, of[2].bytes, cudaGetErrorString(e));
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
    free(p->seen[0]);
    free(p->seen[1]);
    memset(p, 0, sizeof *p);
}

bool ddp_probe_more(const struct ddp_probe *p)
{
    return p->left == DDP_PROBE_CANDIDATES || (p->left > 0 && ddp_probe_clock() < p->until);
}

/* ---- a trial ---- */

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

/* What is no number where the result goes, and then what stands there: of a large one beginning and end. */
static cudaError_t poison(struct ddp_probe *p)
{
    return cudaMemsetAsync(p->operand[p->result], 0xff, p->of[p->result].bytes, p->stream);
}

static size_t seen_bytes(const struct ddp_probe *p)
{
    const size_t bytes = p->of[p->result].bytes;
    return bytes < 2 * SEEN ? bytes : 2 * SEEN;
}

static cudaError_t see(struct ddp_probe *p, char *to)
{
    const char *from = p->operand[p->result];
    const size_t bytes = p->of[p->result].bytes, n = seen_bytes(p), half = n / 2;
    cudaError_t e = cudaMemcpyAsync(to, from, half, cudaMemcpyDeviceToHost, p->stream);
    if (e == cudaSuccess)
        e = cudaMemcpyAsync(to + half, from + bytes - (n - half), n - half, cudaMemcpyDeviceToHost,
                            p->stream);
    return e == cudaSuccess ? cudaStreamSynchronize(p->stream) : e;
}

/* First outside of a capture: libraries load their kernels then, which a capture may not allow. */
static int try_eager(struct ddp_probe *p, ddp_probe_fn run, void *ctx, bool *works, char *why, size_t size,
                     struct ddp_error *err)
{
    cudaError_t e = poison(p);
    if (e == cudaSuccess && !run(ctx, p, why, size)) {
        bool fine;
        char again[256];
        *works = false;
        return outcome("", cudaStreamSynchronize(p->stream), &fine, again, sizeof again, err);
    }
    return outcome("run", e == cudaSuccess ? see(p, p->seen[0]) : e, works, why, size, err);
}

static cudaError_t launch(struct ddp_probe *p, cudaGraph_t graph)
{
    cudaGraphExec_t exec = NULL;
    cudaError_t e = cudaGraphInstantiate(&exec, graph, 0);
    if (e == cudaSuccess)
        e = poison(p);
    if (e == cudaSuccess)
        e = cudaGraphLaunch(exec, p->stream);
    if (e == cudaSuccess)
        e = see(p, p->seen[1]);
    if (exec)
        cudaGraphExecDestroy(exec);
    return e;
}

static int try_captured(struct ddp_probe *p, ddp_probe_fn run, void *ctx, bool *works, char *why, size_t size,
                        struct ddp_error *err)
{
    cudaGraph_t graph = NULL;
    cudaError_t e = cudaStreamBeginCapture(p->stream, cudaStreamCaptureModeThreadLocal);
    const bool ran = e == cudaSuccess && run(ctx, p, why, size);
    if (e == cudaSuccess)
        e = cudaStreamEndCapture(p->stream, &graph);
    *works = e != cudaSuccess || ran;
    int rc = *works ? outcome("capture in a graph", e, works, why, size, err) : 0;
    if (rc == 0 && *works)
        rc = outcome("launch of its graph", launch(p, graph), works, why, size, err);
    if (graph)
        cudaGraphDestroy(graph);
    if (rc == 0 && *works && memcmp(p->seen[0], p->seen[1], seen_bytes(p)) != 0) {
        snprintf(why, size, "its graph computes something else than it does outside of one");
        *works = false;
    }
    return rc;
}

/* All ones in the exponent, and something behind it. */
static bool all_are_nan(const struct ddp_probe *p, const char *seen)
{
    const enum ddp_gpu_type type = p->of[p->result].type;
    const size_t size = ddp_gpu_type_bytes(type);
    const uint32_t exponent = type == DDP_GPU_F32    ? 0x7f800000u
                              : type == DDP_GPU_BF16 ? 0x7f80u
                                                     : 0x7c00u,
                   sign = type == DDP_GPU_F32 ? 0x80000000u : 0x8000u;
    for (size_t at = 0; at + size <= seen_bytes(p); at += size) {
        uint32_t bits = 0;
        memcpy(&bits, seen + at, size); /* little-endian, as all hosts of GPUs are */
        if ((bits & ~sign) <= exponent)
            return false;
    }
    return true;
}

/* A ReLU that makes 0 of what is no number would hide that a run has failed. */
static int try_nan(struct ddp_probe *p, ddp_probe_fn run, void *ctx, bool *works, char *why, size_t size,
                   struct ddp_error *err)
{
    uint32_t *pattern = malloc(FILL);
    cudaError_t e =
        pattern ? cudaMemsetAsync(p->operand[DDP_PROBE_BIAS], 0xff, p->of[DDP_PROBE_BIAS].bytes, p->stream)
                : cudaErrorMemoryAllocation;
    if (e == cudaSuccess)
        e = cudaMemsetAsync(p->operand[p->result], 0, p->of[p->result].bytes, p->stream);
    const bool ran = e == cudaSuccess && run(ctx, p, why, size);
    if (e == cudaSuccess)
        e = see(p, p->seen[0]);
    if (e == cudaSuccess) {
        make_pattern(p->of[DDP_PROBE_BIAS].type, pattern);
        e = fill(p, DDP_PROBE_BIAS, pattern);
    }
    if (e == cudaSuccess)
        e = cudaStreamSynchronize(p->stream);
    free(pattern);
    const int rc = outcome("run with a bias that is no number", e, works, why, size, err);
    if (rc == 0 && *works && !ran)
        *works = false;
    if (rc == 0 && *works && !all_are_nan(p, p->seen[0])) {
        snprintf(why, size, "its epilogue makes numbers of what is none");
        *works = false;
    }
    return rc;
}

int ddp_probe_try(struct ddp_probe *p, ddp_probe_fn run, void *ctx, bool *works, float *microseconds,
                  char *why, size_t size, struct ddp_error *err)
{
    int rc = try_eager(p, run, ctx, works, why, size, err);
    if (rc == 0 && *works)
        rc = try_captured(p, run, ctx, works, why, size, err);
    if (rc == 0 && *works && p->of[DDP_PROBE_BIAS].bytes > 0)
        rc = try_nan(p, run, ctx, works, why, size, err);
    if (rc == 0 && *works && microseconds)
        rc = outcome("timed run", best_time(p, run, ctx, microseconds), works, why, size, err);
    p->left -= *works;
    return rc;
}
