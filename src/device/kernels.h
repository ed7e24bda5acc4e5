/* What our own kernels on the device share: the step at hand, loss scaling, nodes of the canonical tree. What
 * each computes, and its arguments, stands in NAME_kernels.h beside NAME.cu and the CPU kernels (NAME_cpu.c)
 * that it is a sibling of, with the same equations and variable names. The plug-in's table has a pointer for
 * each room (struct ddp_gpu_kernels in api.h).
 *
 * All pointers are device memory. Activations are [pixels][c] with pixels = n*h*w and c padded to
 * DDP_GPU_CPAD, of type `type`; everything else is fp32 unless it says otherwise. A shard has a fixed shape
 * of `batch` samples, of which the first *n are real: n is read on the device. Padding samples must not
 * influence anything: they bring no loss, no gradient and no statistics. Arithmetic is fp32 with explicit
 * fmaf, inputs converted on load, outputs rounded once on store (nearest even). Every sum has one fixed
 * order, a function of the shape. No atomics on floats. din may be dout's memory, out in's, for elementwise
 * kernels. accumulate: add to what is in din (in fp32, rounded once) instead of writing it. */
#ifndef DDP_GPU_KERNELS_H
#define DDP_GPU_KERNELS_H

#include "base/range.h"
#include "device/api.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The step at hand, filled by the host in the slot that is copied up with each batch. */
struct ddp_gpu_step {
    int64_t step, epoch; /* from 0 */
    int64_t count;       /* samples in the global batch */
    uint32_t stop_vote;  /* this rank wants to stop */
    /* optimizer: doubles as src/optim computes them */
    double lr, bias1, bias2; /* learning rate; 1 - beta^t */
    uint32_t first;          /* first step of all */
    uint32_t pad;
};

/* State that stays on the device from step to step: whether a step may update anything, and loss scaling.
 * The host starts it as {scale, 0, 0, 0, 1 / scale, 0}, without loss scaling {1, 0, 0, 0, 1, 0}. */
struct ddp_gpu_scale {
    float scale;  /* that the next backward is to use, a power of two; between() changes it */
    int32_t good; /* steps since the last change */
    int32_t skip; /* of this step nothing is updated: its gradients are not finite (between()), or halted */
    int32_t skipped; /* steps that loss scaling skipped in all */
    float inverse;   /* 1 / the scale that this step's gradients were made with, set by between() */
    int32_t halted;  /* the loss of this or an earlier step is not finite (guard()): stays set */
};

enum { DDP_GPU_SUM_ROWS = 512 }; /* pixels in one partial sum */
/* Floats that sums over pixels want as scratch, for up to 3 sums. */
static inline int64_t ddp_gpu_partials(int64_t pixels, int c)
{
    return 3 * (pixels + DDP_GPU_SUM_ROWS - 1) / DDP_GPU_SUM_ROWS * c + 3 * c;
}

/* The nodes of the canonical tree that cover all shards, in order: node i is added after `merges[i]`: push
 * node i, then merges[i] times pop the two on top and push their sum (lower + upper). Ends with one value. */
struct ddp_gpu_nodes {
    int n;
    const float *const *node; /* [n] device array: each counted from the range's first element */
    const int32_t *merges;    /* [n] */
};

#ifdef __cplusplus
}
#endif
#endif
