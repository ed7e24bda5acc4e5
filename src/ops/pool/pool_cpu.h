/* Pooling, one channel block of one sample (pool_cpu.c). */
#ifndef DDP_OPS_POOL_CPU_H
#define DDP_OPS_POOL_CPU_H

#include "ops/cpu/plane.h"

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

#endif
