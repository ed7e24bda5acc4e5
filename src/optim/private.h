/* What the files of src/optim share that run updates on CPUs. */
#ifndef DDP_OPTIM_PRIVATE_H
#define DDP_OPTIM_PRIVATE_H

#include "optim/kind.h"
#include "optim/optim.h"

struct ddp_optim {
    const struct ddp_config *cfg;
    const struct ddp_flat *flat;
    struct ddp_comm *comm;
    float *params;
    int64_t total_steps, steps_per_epoch;
    struct ddp_optim_plan plan;
    struct ddp_optim_hyper hyper;
    float *array[DDP_OPTIM_ALL_ARRAYS]; /* as the kind counts them, then the average; NULL: not used */
    size_t array_bytes;
    int32_t *tensor;                   /* of each trained block */
    struct ddp_optim_setting *setting; /* [ntrained] */
    /* of the step begun last */
    int64_t step, count;
    double lr, norm;
    double bias1, bias2; /* 1 - beta^t of Adam's moments, t = step + 1 */
    double factor;       /* of clipping, 1 when off */
    bool refused;        /* values that stages left are not finite: the stages behind do nothing */
};

/* Sum of one value over blocks [lo, hi) in the canonical tree over block numbers. values: [blocks][stride],
 * from the value of block 0. */
double ddp_optim_tree(const double *values, int stride, int64_t lo, int64_t hi);
/* The same over the blocks of trained tensor i; value: DDP_VALUE_*, one that some stage leaves. */
double ddp_optim_tensor_sum(const struct ddp_optim *o, const double *values, int value, int i);

#endif
