/* Losses of one sample (loss_cpu.c). */
#ifndef DDP_OPS_LOSS_CPU_H
#define DDP_OPS_LOSS_CPU_H

#include "ddp/op.h"
#include "ops/cpu/cpu.h"

struct ddp_loss_sample {
    const float *x; /* block b at x + b * sb */
    int64_t sb;
    int classes, label;
    int other;           /* mixed: the second label, which has what own leaves; else any */
    float own;           /* 1: label alone */
    const float *target; /* [classes] real ones; NULL: labels */
    float *dx;           /* NULL: not wanted; block b at dx + b * dsb */
    int64_t dsb;
    bool accumulate;
};

struct ddp_loss_score {
    int best;    /* with a label: the class with the largest x, the lowest of equals */
    float error; /* with targets: mean absolute error */
};

struct ddp_loss_kernels {
    /* Return the sample's loss. */
    float (*softmax_cross_entropy)(const struct ddp_loss_sample *s, float smoothing,
                                   struct ddp_loss_score *score);
    float (*mse)(const struct ddp_loss_sample *s, struct ddp_loss_score *score);
    float (*mae)(const struct ddp_loss_sample *s, struct ddp_loss_score *score);
    float (*huber)(const struct ddp_loss_sample *s, float delta, struct ddp_loss_score *score);
};
DDP_CPU_TABLE(struct ddp_loss_kernels, ddp_loss_kernels)

#endif
