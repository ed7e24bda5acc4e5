/* The kernels that ddp-bench gpu measures, each with the bytes that it moves: gpu_cases.c has the table. */
#ifndef DDP_BENCH_GPU_CASES_H
#define DDP_BENCH_GPU_CASES_H

#include "optim/update_kernels.h"

enum {
    BENCH_TENSORS = 5,
    BENCH_NODES = 4,    /* of norms() */
    BENCH_SIDE = 32,    /* height and width of a picture */
    BENCH_CHANNELS = 6, /* vectors of [c] floats: see bench_place.channel */
};

/* Small things on the device. */
struct bench_small {
    struct ddp_gpu_step step;
    struct ddp_gpu_setting setting;
    const float *node[BENCH_NODES];
    int32_t merges[BENCH_NODES];
    int32_t batch, pictures; /* all samples are real */
};

/* What a case works on. All pointers but api and s are device memory. */
struct bench_place {
    const struct ddp_gpu_api *api;
    struct ddp_gpu_stream *s;
    enum ddp_gpu_type type;
    int c, batch;                /* activations: [batch][BENCH_SIDE][BENCH_SIDE][c] of type */
    int pictures;                /* augment(): the same bytes as [pictures][BENCH_SIDE][BENCH_SIDE][8] */
    int64_t elements;            /* of the activations */
    int64_t flat;                /* fp32 elements of the flat space, whole blocks */
    void *tensor[BENCH_TENSORS]; /* each large enough for either; values in [-1, 1) of `type` */
    float *channel[BENCH_CHANNELS];
    float *partial;
    int64_t *sample;    /* [pictures], all different and below pictures */
    int32_t *tensor_of; /* [blocks] zeros: one tensor */
    double *values;     /* [blocks][4] */
    struct bench_small *small;
};

/* Bytes of one run: elements * (wide * size of the type + plain + copy * size of the type, where the type is
 * not fp32). The elements are those of the activations, or of the flat space. This is what has to pass
 * through the memory: partial sums (24 bytes a channel and 512 pixels) stay in the cache and do not count. */
struct bench_case {
    const char *name; /* the kernel's in its room's table, then what is chosen */
    bool f32, bf16;   /* types that it is measured in */
    bool flat;
    double wide, plain, copy;
    void (*prepare)(const struct bench_place *p); /* NULL: the tensors will do */
    void (*enqueue)(const struct bench_place *p);
};

extern const struct bench_case bench_cases[]; /* the first is the copy that all are compared with */
extern const int bench_cases_count;

double bench_case_bytes(const struct bench_case *c, const struct bench_place *p);

/* A kernel that does next to nothing: what is left is its launch. */
void bench_empty_kernel(const struct bench_place *p);

#endif
