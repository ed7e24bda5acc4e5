/* What the files of ddp-bench gpu share: gpu.c has the command and its tables, gpu_time.c the measuring,
 * gpu_cases.c what is measured. */
#ifndef DDP_BENCH_GPU_BENCH_H
#define DDP_BENCH_GPU_BENCH_H

#include "bench/report.h"
#include "gpu_cases.h"

enum { BENCH_ROUNDS_MOST = 99 };

struct bench_options {
    int64_t size_mb, channels, rounds, device;
    const char *only;
    bool named; /* the device */
    struct bench_outputs outputs;
};

struct bench {
    struct bench_options o;
    const struct ddp_gpu_api *api;
    struct ddp_gpu *gpu;
    struct ddp_gpu_info info;
    struct bench_place p;
    size_t tensor_bytes;
    char *host; /* pinned, BLOCK bytes: what tensors are filled with */
    int64_t *host_sample;
    float *host_channel;
    struct bench_small *host_small;
    double copy_rate; /* bytes/s */
    double worst;     /* spread */
    struct bench_table *kernels, *launches;
};

struct bench_timing {
    double s;      /* of one run */
    double spread; /* (longest - shortest) / median */
};

/* Memory for all cases, by b->o; it lives until the program ends. */
int bench_place_make(struct bench *b, struct ddp_error *err);

/* Get the tensors ready for a case in this type. */
int bench_place_fill(struct bench *b, enum ddp_gpu_type type, struct ddp_error *err);

/* Time of one kernel, in a graph that has it as often as makes a round. */
int bench_time_kernel(struct bench *b, void (*work)(const struct bench_place *p), struct bench_timing *out,
                      struct ddp_error *err);

/* Time of one launch: of a graph of so many empty kernels, or, 0, of one by itself. */
int bench_time_launch(struct bench *b, int in_graph, struct bench_timing *out, struct ddp_error *err);

#endif
