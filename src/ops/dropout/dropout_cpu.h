/* Dropout (dropout_cpu.c); the numbers are described in dropout.c. */
#ifndef DDP_OPS_DROPOUT_CPU_H
#define DDP_OPS_DROPOUT_CPU_H

#include "ddp/op.h"
#include "ops/cpu/cpu.h"

struct ddp_dropout {
    const struct ddp_tensor *in, *out; /* backward: dout, din */
    uint16_t *kept; /* [n][blocks][groups][4], or [n][blocks] when h = w = 1; bit = channel */
    uint64_t seed;
    uint32_t stream;    /* counter word 3, without the sample's high half */
    uint32_t threshold; /* kept when word >= threshold */
    float scale;
    const int64_t *sample;
    bool accumulate; /* backward */
};

struct ddp_dropout_kernels {
    /* Pixel groups [g0, g1) of 4 pixels, samples [n0, n1), one channel block. */
    void (*forward)(const struct ddp_dropout *d, int block, int g0, int g1, int n0, int n1);
    void (*backward)(const struct ddp_dropout *d, int block, int g0, int g1, int n0, int n1);
    /* The same where h = w = 1. */
    void (*forward_vectors)(const struct ddp_dropout *d, int block, int n0, int n1);
    void (*backward_vectors)(const struct ddp_dropout *d, int block, int n0, int n1);
};
DDP_CPU_TABLE(struct ddp_dropout_kernels, ddp_dropout_kernels)

#endif
