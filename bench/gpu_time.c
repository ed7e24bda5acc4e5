/* Measuring for ddp-bench gpu.
 *
 * The plug-in's table has no clock, so time is the host's, from the launch of one graph that holds a kernel
 * many times (ROUND_S of work, so that neither launch nor polling shows) until the stream is idle: the median
 * of several rounds, after one that warms up. */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "gpu_bench.h"

enum { REPEAT_MOST = 200, LAUNCHES_MOST = 5000, BLOCK = 4 << 20 };
static const double ROUND_S = 0.01, LIMIT_S = 120; /* one round; a drain, then the device is given up */

/* ---- memory ---- */

static int pinned(struct bench *b, void *out, size_t bytes, struct ddp_error *err)
{
    void *p = NULL;
    const int code = b->api->alloc_pinned(b->gpu, bytes, &p, err);
    memcpy(out, &p, sizeof p);
    return code;
}

static int device(struct bench *b, void *out, size_t bytes, struct ddp_error *err)
{
    void *p = NULL;
    const int code = b->api->alloc(b->gpu, bytes, &p, err);
    memcpy(out, &p, sizeof p);
    return code;
}

/* What depends on the type: narrow elements are more. */
static void set_type(struct bench *b, enum ddp_gpu_type type)
{
    struct bench_place *p = &b->p;
    const int64_t picture = (int64_t)BENCH_SIDE * BENCH_SIDE * p->c;
    const int64_t batch = (b->o.size_mb << 20) / (picture * (int64_t)ddp_gpu_type_bytes(type));
    p->type = type;
    p->batch = batch > 0 ? (int)batch : 1;
    p->elements = p->batch * picture;
    p->pictures = (int)(p->elements / (BENCH_SIDE * BENCH_SIDE * 8));
}

/* Everything is allocated here and lives until the program ends. */
int bench_place_make(struct bench *b, struct ddp_error *err)
{
    struct bench_place *p = &b->p;
    int code;
    p->api = b->api;
    p->c = (int)b->o.channels;
    set_type(b, DDP_GPU_F32);
    b->tensor_bytes = (size_t)p->elements * sizeof(float);
    set_type(b, DDP_GPU_BF16);
    if (b->tensor_bytes < (size_t)b->o.size_mb << 20)
        b->tensor_bytes = (size_t)b->o.size_mb << 20;
    p->flat = (int64_t)(b->tensor_bytes / sizeof(float)) / DDP_BLOCK * DDP_BLOCK;
    const size_t blocks = (size_t)(p->flat / DDP_BLOCK), samples = (size_t)p->pictures * sizeof(int64_t),
                 channel = (size_t)p->c * sizeof(float);
    const size_t partial = (size_t)ddp_gpu_partials(p->elements / p->c, p->c) * sizeof(float);
    if ((code = b->api->stream_create(b->gpu, false, &p->s, err)) ||
        (code = pinned(b, &b->host, BLOCK, err)) || (code = pinned(b, &b->host_sample, samples, err)) ||
        (code = pinned(b, &b->host_channel, channel, err)) ||
        (code = pinned(b, &b->host_small, sizeof *b->host_small, err)) ||
        (code = device(b, &p->small, sizeof *p->small, err)) ||
        (code = device(b, &p->sample, samples, err)) || (code = device(b, &p->partial, partial, err)) ||
        (code = device(b, &p->tensor_of, blocks * sizeof(int32_t), err)) ||
        (code = device(b, &p->values, blocks * 4 * sizeof(double), err)))
        return code;
    for (int i = 0; i < BENCH_CHANNELS; i++)
        if ((code = device(b, &p->channel[i], channel, err)))
            return code;
    for (int i = 0; i < BENCH_TENSORS; i++)
        if (device(b, &p->tensor[i], b->tensor_bytes, err))
            return ddp_error_prefix(err, "%d tensors of --size %lld MB", BENCH_TENSORS,
                                    (long long)b->o.size_mb);
    return 0;
}

/* Waits for the stream, and says what failed on it. */
static int drain(struct bench *b, struct ddp_error *err)
{
    const double end = ddp_now() + LIMIT_S;
    while (!b->api->idle(b->p.s))
        if (ddp_now() > end)
            return ddp_fail(err, DDP_E_DEVICE, "the device has not come to an end in %.0f s", LIMIT_S);
    return b->api->check(b->gpu, err);
}

/* Random numbers in [-1, 1) of the type: zeros are quicker than data. Channels' vectors are positive, as
 * variances have to be. */
int bench_place_fill(struct bench *b, enum ddp_gpu_type type, struct ddp_error *err)
{
    set_type(b, type);
    struct bench_place *p = &b->p;
    struct bench_small *small = b->host_small;
    uint32_t state = 1;
    for (size_t i = 0; i < BLOCK / sizeof(float); i++) {
        state = state * 1664525u + 1013904223u;
        float v = (float)(int32_t)state * 0x1p-31f;
        uint32_t bits;
        memcpy(&bits, &v, sizeof bits);
        if (p->type == DDP_GPU_F32)
            memcpy(b->host + i * 4, &bits, 4);
        else /* as it stands in the upper half of a float; the other one from the middle of the number */
            bits = (bits & 0xffff0000u) | ((bits >> 8 & 0x7fu) | 0x3f00u), memcpy(b->host + i * 4, &bits, 4);
    }
    for (int t = 0; t < BENCH_TENSORS; t++)
        for (size_t at = 0; at < b->tensor_bytes; at += BLOCK)
            b->api->copy(p->s, (char *)p->tensor[t] + at, b->host,
                         b->tensor_bytes - at < BLOCK ? b->tensor_bytes - at : BLOCK);
    for (int i = 0; i < p->c; i++)
        b->host_channel[i] = 0.5f + (float)(i % 7) / 8;
    for (int i = 0; i < BENCH_CHANNELS; i++)
        b->api->copy(p->s, p->channel[i], b->host_channel, (size_t)p->c * sizeof(float));
    for (int64_t i = 0; i < p->pictures; i++) /* odd multiples, modulo a number without that factor */
        b->host_sample[i] = i * 7919 % p->pictures;
    b->api->copy(p->s, p->sample, b->host_sample, (size_t)p->pictures * sizeof(int64_t));
    *small = (struct bench_small){
        .step = {.step = 9, .count = p->batch, .lr = 1e-3, .bias1 = 0.5, .bias2 = 0.01},
        .setting = {.lr_scale = 1,
                    .weight_decay = 5e-4,
                    .trust = 1,
                    .end = p->flat,
                    .blocks = (int32_t)(p->flat / DDP_BLOCK)},
        .merges = {0, 1, 0, 2},
        .batch = p->batch,
        .pictures = p->pictures,
    };
    for (int i = 0; i < BENCH_NODES; i++)
        small->node[i] = p->tensor[i];
    b->api->copy(p->s, p->small, small, sizeof *small);
    return drain(b, err);
}

/* ---- measuring ---- */

typedef void (*work_fn)(const struct bench_place *p);

static int capture(struct bench *b, work_fn work, int times, struct ddp_gpu_graph **out,
                   struct ddp_error *err)
{
    b->api->capture_begin(b->p.s);
    for (int i = 0; i < times; i++)
        work(&b->p);
    return b->api->capture_end(b->p.s, out, err);
}

/* `times` launches of the graph, or, NULL, of the work itself; *s: of all together. */
static int run_once(struct bench *b, struct ddp_gpu_graph *graph, work_fn work, int times, double *s,
                    struct ddp_error *err)
{
    const double begin = ddp_now();
    for (int i = 0; i < times; i++) {
        if (graph)
            b->api->launch(b->p.s, graph);
        else
            work(&b->p);
    }
    const int code = drain(b, err);
    *s = ddp_now() - begin;
    return code;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Rounds of `times` launches; out->s is of one launch. */
static int run_rounds(struct bench *b, struct ddp_gpu_graph *graph, work_fn work, int times,
                      struct bench_timing *out, struct ddp_error *err)
{
    double s[BENCH_ROUNDS_MOST];
    const int rounds = (int)b->o.rounds;
    for (int i = -1; i < rounds; i++) { /* the first warms up */
        const int code = run_once(b, graph, work, times, &s[i < 0 ? 0 : i], err);
        if (code)
            return code;
    }
    qsort(s, (size_t)rounds, sizeof *s, by_value);
    out->s = s[rounds / 2] / times;
    out->spread = (s[rounds - 1] - s[0]) / s[rounds / 2];
    return 0;
}

static int as_many(double one_s, int most)
{
    const double n = ROUND_S / one_s;
    return n < 1 ? 1 : n > most ? most : (int)n;
}

/* Of one kernel, in a graph that has it as often as makes a round. */
int bench_time_kernel(struct bench *b, work_fn work, struct bench_timing *out, struct ddp_error *err)
{
    struct ddp_gpu_graph *graph = NULL;
    double s = 0;
    int code = run_once(b, NULL, work, 1, &s, err); /* code is loaded at the first launch */
    if (!code)
        code = run_once(b, NULL, work, 1, &s, err);
    const int times = as_many(s, REPEAT_MOST);
    if (!code)
        code = capture(b, work, times, &graph, err);
    if (!code)
        code = run_rounds(b, graph, NULL, 1, out, err);
    out->s /= times;
    b->api->graph_destroy(graph);
    return code;
}

/* Of one launch: of a graph of so many kernels, or, 0, of a kernel by itself. */
int bench_time_launch(struct bench *b, int in_graph, struct bench_timing *out, struct ddp_error *err)
{
    struct ddp_gpu_graph *graph = NULL;
    double s = 0;
    int code = in_graph ? capture(b, bench_empty_kernel, in_graph, &graph, err) : 0;
    for (int i = 0; i < 2 && !code; i++)
        code = run_once(b, graph, bench_empty_kernel, 1, &s, err);
    if (!code)
        code = run_rounds(b, graph, bench_empty_kernel, as_many(s, LAUNCHES_MOST), out, err);
    if (graph)
        b->api->graph_destroy(graph);
    return code;
}
