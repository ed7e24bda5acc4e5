/* The activations, as the kernels of CPU and device know them; equations in activation.c. */
#ifndef DDP_OPS_ACT_KERNELS_H
#define DDP_OPS_ACT_KERNELS_H

#include <stdbool.h>

enum ddp_act { DDP_ACT_RELU, DDP_ACT_GELU, DDP_ACT_SILU, DDP_ACT_TANH, DDP_ACT_SIGMOID, DDP_ACT_LEAKY_RELU };

/* Whether backward looks at out, where the others look at in. */
static inline bool ddp_act_reads_out(enum ddp_act f)
{
    return f == DDP_ACT_RELU || f == DDP_ACT_TANH || f == DDP_ACT_SIGMOID;
}

#endif
