/* The CPU kernels of the ops that are not convolutions: what each table entry computes. One source per table
 * under cpu/, compiled once per instruction set (cpu.h), the same bits from each.
 *
 * A kernel works on planes: `rows` x `run` vectors of 16 channels, sh floats from row to row, sw from vector
 * to vector. Outputs may be the same memory as inputs where both have the same strides (each vector is read
 * before it is written). */
#ifndef DDP_COMPUTE_OP_KERNELS_H
#define DDP_COMPUTE_OP_KERNELS_H

#include "ops/cpu/cpu.h"
#include "ddp/op.h"

struct ddp_plane {
    float *p; /* 64-byte aligned; NULL: not there */
    int64_t sh, sw;
};

/* ---- activations, sums, copies: point_cpu.c ---- */

enum ddp_act { DDP_ACT_RELU, DDP_ACT_GELU, DDP_ACT_SILU };

struct ddp_point_kernels {
    /* y = f(x) */
    void (*act)(enum ddp_act f, int rows, int run, struct ddp_plane x, struct ddp_plane y);
    /* dx (+)= dy f'(x); ReLU takes y instead of x: dx (+)= dy where y > 0 */
    void (*act_grad)(enum ddp_act f, int rows, int run, struct ddp_plane x, struct ddp_plane dy,
                     struct ddp_plane dx, bool accumulate);
    /* y = a + b, then max(y, 0) */
    void (*add)(bool relu, int rows, int run, struct ddp_plane a, struct ddp_plane b, struct ddp_plane y);
    /* y (+)= x */
    void (*copy)(int rows, int run, struct ddp_plane x, struct ddp_plane y, bool accumulate);
};
DDP_CPU_TABLE(struct ddp_point_kernels, ddp_point_kernels)

/* ---- batch norm, one channel block of one sample: norm_cpu.c ---- */

enum ddp_norm_mask {
    DDP_NORM_MASK_NONE,
    DDP_NORM_MASK_OUT,   /* dz = dout where out > 0 */
    DDP_NORM_MASK_INPUT, /* the same, out computed again from x (fewer bytes; nothing was added to it) */
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
    /* dx (+)= scale * (dz - m1 - xhat * m2), dadd (+)= dz; either may be NULL */
    void (*gradient)(int h, int w, const struct ddp_norm_coef *k, enum ddp_norm_mask mask, struct ddp_plane x,
                     struct ddp_plane out, struct ddp_plane dout, struct ddp_plane dx, bool dx_accumulate,
                     struct ddp_plane dadd, bool dadd_accumulate);
};
DDP_CPU_TABLE(struct ddp_norm_kernels, ddp_norm_kernels)

/* ---- pooling, one channel block of one sample: pool_cpu.c ---- */

struct ddp_window {
    int kernel, stride, padding;
    int h, w;   /* in */
    int oh, ow; /* out */
    bool include_pad;
};

struct ddp_pool_kernels {
    /* argmax: [oh][ow][16] index ky * kernel + kx in the window, or NULL. */
    void (*max)(const struct ddp_window *s, struct ddp_plane in, struct ddp_plane out, uint8_t *argmax);
    void (*max_grad)(const struct ddp_window *s, struct ddp_plane dout, const uint8_t *argmax,
                     struct ddp_plane din, bool accumulate);
    void (*avg)(const struct ddp_window *s, struct ddp_plane in, struct ddp_plane out);
    void (*avg_grad)(const struct ddp_window *s, struct ddp_plane dout, struct ddp_plane din,
                     bool accumulate);
    /* out[16] = mean over the plane, and din (+)= dout[16] / (h * w) */
    void (*global)(int h, int w, struct ddp_plane in, float *out);
    void (*global_grad)(int h, int w, const float *dout, struct ddp_plane din, bool accumulate);
};
DDP_CPU_TABLE(struct ddp_pool_kernels, ddp_pool_kernels)

/* ---- dropout: dropout_cpu.c; the numbers are described in dropout.c ---- */

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

/* ---- losses, one sample: loss_cpu.c ---- */

struct ddp_loss_sample {
    const float *x; /* block b at x + b * sb */
    int64_t sb;
    int classes, label;
    float *dx; /* NULL: not wanted; block b at dx + b * dsb */
    int64_t dsb;
    bool accumulate;
};

struct ddp_loss_kernels {
    /* Return the sample's loss; *best is the class with the largest x, the lowest of equals. */
    float (*softmax_cross_entropy)(const struct ddp_loss_sample *s, float smoothing, int *best);
    float (*mse)(const struct ddp_loss_sample *s, int *best);
};
DDP_CPU_TABLE(struct ddp_loss_kernels, ddp_loss_kernels)

/* ---- elementary functions on arrays: vmath_cpu.c ---- */

struct ddp_vmath {
    void (*exp)(const float *x, float *y, int64_t n);
    void (*log)(const float *x, float *y, int64_t n);
    void (*tanh)(const float *x, float *y, int64_t n);
    void (*erf)(const float *x, float *y, int64_t n);
};
DDP_CPU_TABLE(struct ddp_vmath, ddp_vmath)

#endif
