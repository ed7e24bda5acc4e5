/* The CUDA runtime behind struct ddp_gpu_api: streams, events, copies, graphs. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "device/cuda/private.h"
#include "device/cuda/runtime.h"

struct ddp_gpu_stream {
    struct ddp_gpu *gpu;
    cudaStream_t cuda;
    bool capturing;
};
struct ddp_gpu_event {
    struct ddp_gpu *gpu;
    cudaEvent_t cuda;
};
struct ddp_gpu_graph {
    cudaGraphExec_t exec;
};

/* ---- for those who launch on a stream ---- */

void *ddp_stream_cuda(struct ddp_gpu_stream *s)
{
    return s->cuda;
}
bool ddp_stream_works(const struct ddp_gpu_stream *s)
{
    return ddp_gpu_works(s->gpu);
}
void ddp_stream_launched(struct ddp_gpu_stream *s, const char *what)
{
    ddp_cuda_keep(s->gpu, cudaGetLastError(), what);
}
void ddp_stream_fail(struct ddp_gpu_stream *s, int code, const char *fmt, ...)
{
    char text[2048];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    ddp_gpu_fail(s->gpu, code, "%s", text);
}

/* ---- streams and events ---- */

static int stream_create(struct ddp_gpu *gpu, bool high_priority, struct ddp_gpu_stream **out,
                         struct ddp_error *err)
{
    struct ddp_gpu_stream *s = calloc(1, sizeof *s);
    if (!s)
        return ddp_fail(err, DDP_E_RESOURCE, "GPU %d (%s): out of host memory", gpu->device, gpu->name);
    s->gpu = gpu;
    int least = 0, greatest = 0;
    cudaError_t e = cudaDeviceGetStreamPriorityRange(&least, &greatest);
    if (e == cudaSuccess)
        e = cudaStreamCreateWithPriority(&s->cuda, cudaStreamNonBlocking, high_priority ? greatest : least);
    if (e != cudaSuccess) {
        (void)cudaGetLastError();
        free(s);
        return ddp_cuda_word(err, gpu, e, "a stream");
    }
    *out = s;
    return 0;
}

static void stream_destroy(struct ddp_gpu_stream *s)
{
    if (!s)
        return;
    if (cudaStreamDestroy(s->cuda) != cudaSuccess)
        (void)cudaGetLastError();
    free(s);
}

static int event_create(struct ddp_gpu *gpu, struct ddp_gpu_event **out, struct ddp_error *err)
{
    struct ddp_gpu_event *v = calloc(1, sizeof *v);
    if (!v)
        return ddp_fail(err, DDP_E_RESOURCE, "GPU %d (%s): out of host memory", gpu->device, gpu->name);
    v->gpu = gpu;
    cudaError_t e = cudaEventCreateWithFlags(&v->cuda, cudaEventDisableTiming);
    if (e != cudaSuccess) {
        (void)cudaGetLastError();
        free(v);
        return ddp_cuda_word(err, gpu, e, "an event");
    }
    *out = v;
    return 0;
}

static void event_destroy(struct ddp_gpu_event *v)
{
    if (!v)
        return;
    if (cudaEventDestroy(v->cuda) != cudaSuccess)
        (void)cudaGetLastError();
    free(v);
}

static void event_record(struct ddp_gpu_event *v, struct ddp_gpu_stream *s)
{
    if (ddp_stream_works(s))
        ddp_cuda_keep(s->gpu, cudaEventRecord(v->cuda, s->cuda), "recording an event");
}

static void stream_wait(struct ddp_gpu_stream *s, struct ddp_gpu_event *v)
{
    if (ddp_stream_works(s))
        ddp_cuda_keep(s->gpu, cudaStreamWaitEvent(s->cuda, v->cuda, 0), "waiting for an event");
}

/* Queries bring to light what failed on the device since the last call. */
static bool over(struct ddp_gpu *gpu, cudaError_t e)
{
    if (e == cudaErrorNotReady) {
        (void)cudaGetLastError(); /* "not yet" is remembered as if it were a failure */
        return false;
    }
    ddp_cuda_keep(gpu, e, "work on the device");
    return true;
}

static bool event_reached(struct ddp_gpu_event *v)
{
    return !ddp_gpu_works(v->gpu) || over(v->gpu, cudaEventQuery(v->cuda));
}

static bool stream_idle(struct ddp_gpu_stream *s)
{
    return !ddp_stream_works(s) || over(s->gpu, cudaStreamQuery(s->cuda));
}

static void stream_copy(struct ddp_gpu_stream *s, void *to, const void *from, size_t bytes)
{
    if (bytes > 0 && ddp_stream_works(s))
        ddp_cuda_keep(s->gpu, cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, s->cuda), "a copy");
}

static void stream_zero(struct ddp_gpu_stream *s, void *p, size_t bytes)
{
    if (bytes > 0 && ddp_stream_works(s))
        ddp_cuda_keep(s->gpu, cudaMemsetAsync(p, 0, bytes, s->cuda), "zeroing");
}

/* ---- graphs ---- */

static void capture_begin(struct ddp_gpu_stream *s)
{
    if (!ddp_stream_works(s))
        return;
    /* Thread-local: what other threads (NCCL's proxies) do meanwhile is none of the capture's business. */
    cudaError_t e = cudaStreamBeginCapture(s->cuda, cudaStreamCaptureModeThreadLocal);
    s->capturing = e == cudaSuccess;
    ddp_cuda_keep(s->gpu, e, "beginning a capture");
}

static int capture_end(struct ddp_gpu_stream *s, struct ddp_gpu_graph **out, struct ddp_error *err)
{
    cudaGraph_t graph = NULL;
    cudaGraphExec_t exec = NULL;
    if (s->capturing) { /* also after a failure: the stream must come out of its capture */
        s->capturing = false;
        ddp_cuda_keep(s->gpu, cudaStreamEndCapture(s->cuda, &graph), "ending a capture");
    }
    if (graph && ddp_stream_works(s))
        ddp_cuda_keep(s->gpu, cudaGraphInstantiate(&exec, graph, cudaGraphInstantiateFlagUseNodePriority),
                      "making a graph");
    if (graph && cudaGraphDestroy(graph) != cudaSuccess)
        (void)cudaGetLastError();
    struct ddp_gpu_graph *g = ddp_stream_works(s) ? calloc(1, sizeof *g) : NULL;
    if (g) {
        g->exec = exec;
        *out = g;
        return 0;
    }
    if (exec)
        (void)cudaGraphExecDestroy(exec);
    int code = ddp_cuda_check(s->gpu, err);
    return code ? code
                : ddp_fail(err, DDP_E_RESOURCE, "GPU %d (%s): out of host memory", s->gpu->device,
                           s->gpu->name);
}

static void graph_launch(struct ddp_gpu_stream *s, struct ddp_gpu_graph *g)
{
    if (ddp_stream_works(s))
        ddp_cuda_keep(s->gpu, cudaGraphLaunch(g->exec, s->cuda), "launching a graph");
}

static void graph_destroy(struct ddp_gpu_graph *g)
{
    if (!g)
        return;
    if (cudaGraphExecDestroy(g->exec) != cudaSuccess)
        (void)cudaGetLastError();
    free(g);
}

static void stream_fail(struct ddp_gpu_stream *s, const char *what, const char *why)
{
    ddp_stream_fail(s, DDP_E_DEVICE, "%s: %s", what, why);
}

void ddp_cuda_stream_fill(struct ddp_gpu_api *api)
{
    api->stream_handle = ddp_stream_cuda;
    api->stream_fail = stream_fail;
    api->stream_create = stream_create;
    api->stream_destroy = stream_destroy;
    api->event_create = event_create;
    api->event_destroy = event_destroy;
    api->record = event_record;
    api->wait = stream_wait;
    api->reached = event_reached;
    api->idle = stream_idle;
    api->copy = stream_copy;
    api->zero = stream_zero;
    api->capture_begin = capture_begin;
    api->capture_end = capture_end;
    api->launch = graph_launch;
    api->graph_destroy = graph_destroy;
}
