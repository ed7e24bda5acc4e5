/* Kernels behind the ddp_vec_*() of ops.h. */
#ifndef DDP_COMPUTE_VECOPS_H
#define DDP_COMPUTE_VECOPS_H

#include <stdint.h>

#include "ops/cpu/cpu.h"

struct ddp_vec_kernels {
    void (*add)(float *a, const float *b, int64_t n);
    void (*sumsq16)(const float *a, int64_t n, double lane[16]); /* lane[i]: elements i, i + 16, ... */
    int (*finite)(const float *a, int64_t n);
};

DDP_CPU_TABLE(struct ddp_vec_kernels, ddp_vec_kernels)

#endif
