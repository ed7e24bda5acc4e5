/* Elementary functions on arrays (vmath_cpu.c). */
#ifndef DDP_OPS_VMATH_CPU_H
#define DDP_OPS_VMATH_CPU_H

#include <stdint.h>

#include "ops/cpu/cpu.h"

struct ddp_vmath {
    void (*exp)(const float *x, float *y, int64_t n);
    void (*log)(const float *x, float *y, int64_t n);
    void (*tanh)(const float *x, float *y, int64_t n);
    void (*erf)(const float *x, float *y, int64_t n);
};
DDP_CPU_TABLE(struct ddp_vmath, ddp_vmath)

#endif
