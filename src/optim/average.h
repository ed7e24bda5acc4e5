/* The kernel behind optim.ema, compiled once per instruction set. */
#ifndef DDP_OPTIM_AVERAGE_H
#define DDP_OPTIM_AVERAGE_H

#include <stdint.h>

#include "ops/cpu/cpu.h"

struct ddp_average_cpu {
    /* blend: (float)(1 - decay); n: a multiple of 16 */
    void (*step)(float blend, int64_t n, const float *param, float *average);
};
DDP_CPU_TABLE(struct ddp_average_cpu, ddp_average_cpu)

#endif
