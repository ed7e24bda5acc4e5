/* What the files of src/optim share. */
#ifndef DDP_OPTIM_PRIVATE_H
#define DDP_OPTIM_PRIVATE_H

#include "base/base.h"
#include "optim/optim.h"

/* The part of one block that lies in its tensor. */
struct ddp_optim_run {
    const struct ddp_optim_setting *setting;
    int64_t at, n; /* flat index, elements: a multiple of 16 */
    float *sum;    /* of `at` */
    double *value; /* of the block */
};

/* One kind of optimizer. Stages 0..stages-1 are its own; a clipping stage comes before them and is norm.c's.
 */
struct ddp_optim_kind {
    const char *name;
    int stages;
    int values;          /* doubles per block that its stages leave for each other */
    bool gradient_norms; /* its stage 0 leaves the squared norm of the gradients' sum per block as */
    int gradient_value;  /* this value: clipping needs no stage of its own */
    int narrays;
    const char *array[2];
    /* One block of one tensor. */
    void (*run)(const struct ddp_optim *o, int stage, const struct ddp_optim_run *r);
    /* After its stage 0, on every rank. NULL when stages == 1. */
    void (*between)(struct ddp_optim *o, const double *values);
};

extern const struct ddp_optim_kind ddp_optim_sgd, ddp_optim_sgd_plain, ddp_optim_adamw, ddp_optim_lars,
    ddp_optim_lars_plain, ddp_optim_lamb;
const struct ddp_optim_kind *ddp_optim_kind(const struct ddp_config *cfg);
/* Values that the optimizer of this config cannot work with. */
int ddp_optim_check(const struct ddp_config *cfg, struct ddp_error *err);

struct ddp_optim {
    const struct ddp_config *cfg;
    const struct ddp_flat *flat;
    const struct ddp_optim_kind *kind;
    struct ddp_comm *comm;
    float *params;
    float *array[2];
    size_t array_bytes;
    int64_t total_steps, steps_per_epoch;
    int values;                        /* per block: the kind's, then one for clipping */
    int clip_stages;                   /* 0 or 1 */
    int32_t *tensor;                   /* of each trained block */
    struct ddp_optim_setting *setting; /* [ntrained] */
    /* of the step begun last */
    int64_t step, count;
    double lr, norm;
    double bias1, bias2; /* 1 - beta^t of Adam's moments, t = step + 1 */
    double factor;       /* of clipping, 1 when off */
};

/* Sum of value k over blocks [lo, hi) in the canonical tree over block numbers. values: [blocks][stride]. */
double ddp_optim_tree(const double *values, int stride, int k, int64_t lo, int64_t hi);
/* The same over the blocks of trained tensor i. */
double ddp_optim_tensor_sum(const struct ddp_optim *o, const double *values, int k, int i);

/* (float)(clip factor / count): what sums of gradients are multiplied by. */
static inline float ddp_optim_scale(const struct ddp_optim *o)
{
    return (float)(o->factor / (double)o->count);
}

#endif
