/* Batch norm, one channel block of one sample (norm_cpu.c). */
#ifndef DDP_OPS_NORM_CPU_H
#define DDP_OPS_NORM_CPU_H

#include "ops/cpu/plane.h"

enum ddp_norm_mask {
    DDP_NORM_MASK_NONE,
    DDP_NORM_MASK_OUT,   /* dz = dout where out > 0 */
    DDP_NORM_MASK_INPUT, /* the same, out computed again from x (fewer bytes; nothing was added to it) */
};

/* Of dx. */
enum ddp_norm_store {
    DDP_NORM_STORE,
    DDP_NORM_STORE_ADD,
    DDP_NORM_STORE_MASKED, /* zero where x is not positive; dx may be x */
};

/* 16 floats each. */
struct ddp_norm_coef {
    const float *mean, *rest, *inv_std; /* xhat = (x - mean) * inv_std + rest */
    const float *scale, *shift;         /* y = (x - mean) * scale + shift */
    const float *m1, *m2;               /* backward: means of dz and of dz * xhat */
};

struct ddp_norm_kernels {
    /* mean[16] and the sum of squared differences from it, m2[16]. */
    void (*moments)(int h, int w, struct ddp_plane x, double *mean, double *m2);
    /* out = y + add, then max(., 0) */
    void (*normalise)(int h, int w, const struct ddp_norm_coef *k, struct ddp_plane x, struct ddp_plane add,
                      bool relu, struct ddp_plane out);
    /* dz[16] = sum dz, dzx[16] = sum dz * xhat */
    void (*grad_sums)(int h, int w, const struct ddp_norm_coef *k, enum ddp_norm_mask mask,
                      struct ddp_plane x, struct ddp_plane out, struct ddp_plane dout, double *dz,
                      double *dzx);
    /* dx (+)= scale * (dz - m1 - xhat * m2), dadd (+)= dz; either may be NULL, dx may be x unless it adds */
    void (*gradient)(int h, int w, const struct ddp_norm_coef *k, enum ddp_norm_mask mask, struct ddp_plane x,
                     struct ddp_plane out, struct ddp_plane dout, struct ddp_plane dx,
                     enum ddp_norm_store store, struct ddp_plane dadd, bool dadd_accumulate);
};
DDP_CPU_TABLE(struct ddp_norm_kernels, ddp_norm_kernels)

#endif
