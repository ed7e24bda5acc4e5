/* Activations, sums and copies on planes (point_cpu.c). */
#ifndef DDP_OPS_POINT_CPU_H
#define DDP_OPS_POINT_CPU_H

#include "ops/cpu/plane.h"
#include "ops/point/act_kernels.h"

struct ddp_point_kernels {
    /* y = f(x); slope: of LEAKY_RELU */
    void (*act)(enum ddp_act f, float slope, int rows, int run, struct ddp_plane x, struct ddp_plane y);
    /* dx (+)= dy f'(x); x is y where ddp_act_reads_out(f) */
    void (*act_grad)(enum ddp_act f, float slope, int rows, int run, struct ddp_plane x, struct ddp_plane dy,
                     struct ddp_plane dx, bool accumulate);
    /* y = a + b, then max(y, 0) */
    void (*add)(bool relu, int rows, int run, struct ddp_plane a, struct ddp_plane b, struct ddp_plane y);
    /* y (+)= x */
    void (*copy)(int rows, int run, struct ddp_plane x, struct ddp_plane y, bool accumulate);
};
DDP_CPU_TABLE(struct ddp_point_kernels, ddp_point_kernels)

#endif
