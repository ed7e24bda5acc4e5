/* Scaling of real inputs and targets. Private to src/data and its tests. */
#ifndef DDP_DATA_SCALING_H
#define DDP_DATA_SCALING_H

#include "data/data.h"

/* Means and deviations of the channels of real inputs (data.normalize; data.mean and data.std take their
 * place where they are given) and of targets (data.normalize_targets), measured over the training split
 * `train` of `info`, which is read twice. *in and *out are always to be finished. */
int ddp_scaling_make(const struct ddp_config *cfg, const struct ddp_dataset_ops *ops, const void *train,
                     const struct ddp_dataset_info *info, struct ddp_scaling *in, struct ddp_scaling *out,
                     struct ddp_error *err);
void ddp_scaling_finish(struct ddp_scaling *s);
/* v [n][each], in place. */
void ddp_scaling_apply(const struct ddp_scaling *s, int each, float *v);

#endif
