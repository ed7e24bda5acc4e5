/* Activations, sums and copies on planes (point_cpu.c). */
#ifndef DDP_OPS_POINT_CPU_H
#define DDP_OPS_POINT_CPU_H

#include "ops/cpu/plane.h"

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

#endif
