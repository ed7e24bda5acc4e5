/* What the losses share: per-sample losses in parallel, then one fixed sum. */
#ifndef DDP_COMPUTE_LOSS_H
#define DDP_COMPUTE_LOSS_H

#include "ops/loss/loss_cpu.h"

typedef float (*ddp_loss_fn)(const struct ddp_op_call *call, const struct ddp_loss_sample *s,
                             struct ddp_loss_score *score);

/* The plan of a loss over vectors of classes: out = in, scratch for one float and one flag a sample. */
int ddp_loss_plan(const char *name, struct ddp_shape in, int batch, struct ddp_layer_plan *plan,
                  struct ddp_error *err);

/* Loss and gradient of each sample by fn, then *loss = their sum as a tree over neighbours (stride 1, 2, 4,
 * ..., a function of n alone) and *correct = samples whose largest class is the label (of mixed ones that
 * with the larger part, the first of equal ones), or, with targets, *error = the same sum of mean absolute
 * errors. call->out is not written. */
void ddp_loss_run(const struct ddp_op_call *call, ddp_loss_fn fn);

#endif
