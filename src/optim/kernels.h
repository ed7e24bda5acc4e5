/* Update kernels: elementwise over a run of one tensor, compiled once per instruction set (ops/cpu/cpu.h).
 *
 * All take n, a multiple of 16 elements, and arrays of 4-byte alignment or better. `sum` is the sum of
 * gradients over the global batch; g = sum * scale is their mean, scale = (float)(clip factor / count),
 * rounded once. Every multiply-add that is written FMA rounds once, everything else rounds per operation;
 * sqrt and division are IEEE's. So each element has one result, whatever the vector width and wherever a
 * range is cut. All are bound by memory: the traffic is given with each.
 *
 * Zero stays zero where sum, state and parameter are zero (padding), for every kernel, as eps > 0. */
#ifndef DDP_OPTIM_KERNELS_H
#define DDP_OPTIM_KERNELS_H

#include <stdbool.h>
#include <stdint.h>

#include "ops/cpu/cpu.h"

struct ddp_sgd_args {
    float scale, decay, trust; /* trust: LARS' local rate; 1 for SGD */
    float momentum, undamped;  /* undamped: 1 - dampening */
    float lr;
    bool nesterov;
    bool first; /* first step of all: the buffer starts as the gradient */
};

struct ddp_sgd_kernels {
    /* buffer NULL: no momentum */
    void (*step)(const struct ddp_sgd_args *a, int64_t n, const float *sum, float *buffer, float *param);
};
DDP_CPU_TABLE(struct ddp_sgd_kernels, ddp_sgd_kernels)

struct ddp_adam_args {
    float scale;
    float blend1;        /* 1 - beta1 */
    float beta2, blend2; /* blend2: 1 - beta2 */
    float inv1;          /* LAMB: 1 / (1 - beta1^t) */
    float inv_sqrt2;     /* 1 / sqrt(1 - beta2^t) */
    float eps;
    float keep;  /* AdamW: 1 - lr * weight decay */
    float step;  /* AdamW: lr / (1 - beta1^t) */
    float decay; /* LAMB */
};

struct ddp_adamw_kernels {
    void (*step)(const struct ddp_adam_args *a, int64_t n, const float *sum, float *m, float *v,
                 float *param);
};
DDP_CPU_TABLE(struct ddp_adamw_kernels, ddp_adamw_kernels)

struct ddp_lamb_kernels {
    /* Moments, and the update before the trust ratio over sum. */
    void (*update)(const struct ddp_adam_args *a, int64_t n, float *sum, float *m, float *v,
                   const float *param);
    /* param -= rate * update */
    void (*apply)(float rate, int64_t n, const float *update, float *param);
};
DDP_CPU_TABLE(struct ddp_lamb_kernels, ddp_lamb_kernels)

#endif
