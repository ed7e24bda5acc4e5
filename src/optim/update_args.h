/* What an update is computed from, on CPUs and GPUs alike: the config's numbers, those of a step and tensor,
 * and what stages leave for each other. Headers named *_args.h are read by both halves of an optimizer, so
 * that its scalars are worded once: plain data, and arithmetic in double that IEEE rounds the same
 * everywhere. */
#ifndef DDP_OPTIM_UPDATE_ARGS_H
#define DDP_OPTIM_UPDATE_ARGS_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#ifdef __CUDACC__
#define DDP_BOTH static __host__ __device__ inline
#else
#define DDP_BOTH static inline
#endif

enum {
    DDP_OPTIM_STAGES = 2, /* most that an optimizer has of its own */
    DDP_OPTIM_ARRAYS = 3, /* most state arrays */
};

/* Keys of the config that shape an update (src/config/schema.c says what each is). */
struct ddp_optim_hyper {
    double momentum, dampening, beta1, beta2, alpha, eps, trust;
    bool nesterov, centered;
};

/* One step of one tensor. g = sum * (float)mean is the mean gradient, rounded once. */
struct ddp_optim_now {
    double lr;           /* of the step, times the tensor's lr_scale */
    double mean;         /* clipping factor / count of samples, with the loss scale taken out */
    double bias1, bias2; /* 1 - beta^t, t from 1: what moments that began at zero fall short of */
    double weight_decay; /* of the tensor */
    double trust;        /* of the tensor: its trust ratio, 1 without */
    bool first;          /* first step of all */
};

/* What a stage leaves per block of the flat space for what comes after: sums of squares over the block (of
 * the sum of gradients, the parameters, the update that stands where the sum was), and how many gradients are
 * not finite. */
enum ddp_optim_value { DDP_VALUE_GRADIENT, DDP_VALUE_PARAM, DDP_VALUE_UPDATE, DDP_VALUE_BAD, DDP_VALUES };

/* Values of a block lie together, those that some stage leaves: `stride` doubles a block, value v at slot[v];
 * -1: no stage leaves it. */
struct ddp_optim_layout {
    int32_t stride, slot[DDP_VALUES];
};

/* Norms of a tensor for its trust ratio: of the mean gradient, the parameters and the update; 0 where no
 * stage of the optimizer leaves the value. */
struct ddp_optim_norms {
    double gradient, param, update;
};

#endif
