/* Group norm, one channel block of one sample (group_norm_cpu.c). A coefficient has 16 floats, one for each
 * channel; a weight has 16 for the block (pitch 0) or 16 for each pixel (pitch 16). */
#ifndef DDP_OPS_GROUP_NORM_CPU_H
#define DDP_OPS_GROUP_NORM_CPU_H

#include "ops/cpu/plane.h"

enum { DDP_GROUP_ROWS = 8 }; /* chains of a channel's sum, see group_norm.c */

/* Of one channel block; 64-byte aligned. */
struct ddp_group_coef {
    float centre[16], rest[16], inv_std[16]; /* xhat = (x - centre) * inv_std + rest */
    float m1[16], m2[16];                    /* backward: means of g and of g xhat over the group */
} __attribute__((aligned(64)));

struct ddp_group_scale { /* NULL: 1 and 0 */
    const float *weight, *bias;
    int pitch;
};

struct ddp_group_norm_kernels {
    /* sum[16] of d = x - centre, and square[16] of d^2 */
    void (*sums)(int h, int w, struct ddp_plane x, const float *centre, float *sum, float *square);
    /* y = xhat * weight + bias */
    void (*apply)(int h, int w, const struct ddp_group_coef *k, struct ddp_group_scale s, struct ddp_plane x,
                  struct ddp_plane y);
    /* sum[16] of g, and product[16] of g xhat; g = dy * weight */
    void (*grad_sums)(int h, int w, const struct ddp_group_coef *k, struct ddp_group_scale s,
                      struct ddp_plane x, struct ddp_plane dy, float *sum, float *product);
    /* dx (+)= inv_std * (g - m1 - xhat * m2) */
    void (*gradient)(int h, int w, const struct ddp_group_coef *k, struct ddp_group_scale s,
                     struct ddp_plane x, struct ddp_plane dy, struct ddp_plane dx, bool accumulate);
    /* of each element: dbias += dy, dweight += dy xhat; [pixels][16] each */
    void (*elements)(int h, int w, const struct ddp_group_coef *k, struct ddp_plane x, struct ddp_plane dy,
                     float *dweight, float *dbias);
};
DDP_CPU_TABLE(struct ddp_group_norm_kernels, ddp_group_norm_kernels)

#endif
