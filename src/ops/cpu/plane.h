/* What CPU kernels that are not convolutions work on: planes of `rows` x `run` vectors of 16 channels, sh
 * floats from row to row, sw from vector to vector. Outputs may be the same memory as inputs where both have
 * the same strides (each vector is read before it is written).
 *
 * A room's kernels are in NAME_cpu.c, compiled once per instruction set (cpu.h) with the same bits from each,
 * and declared in NAME_cpu.h. */
#ifndef DDP_OPS_PLANE_H
#define DDP_OPS_PLANE_H

#include "ddp/op.h"
#include "ops/cpu/cpu.h"

struct ddp_plane {
    float *p; /* 64-byte aligned; NULL: not there */
    int64_t sh, sw;
};

#endif
