/* What an owner enqueues over its slices of a bucket: the optimizer over trained parameters, running
 * statistics over what lies behind them. Where the device's reduction, optimizer and model meet. */
#ifndef DDP_ENGINE_GPU_UPDATE_H
#define DDP_ENGINE_GPU_UPDATE_H

#include "model/stats_kernels.h"
#include "optim/device.h"

struct ddp_gpu_updater {
    struct ddp_gpu_apply apply; /* for ddp_gpu_reduce_begin() */
    struct ddp_gpu_reduce *reduce;
    struct ddp_optim_device *optim;
    struct ddp_gpu_stats_args stats; /* what all slices share */
    void *stat;                      /* struct ddp_gpu_stat [statistics], on the device */
    /* optim.ema: parameters for evaluations, [flat total], as complete as the reduction's, and their copy in
     * the compute type (F32: the same); NULL: none */
    float *average;
    void *average_weights;
    struct ddp_optim_device_conf conf;
};

/* Borrows reduce and what conf points to; shards: leaves of the tree. Blocks. Errors are
 * ddp_optim_device_create()'s. finish takes a struct of zeros and one whose init failed. */
int ddp_gpu_updater_init(struct ddp_gpu_updater *u, const struct ddp_optim_device_conf *conf, int shards,
                         struct ddp_gpu_reduce *reduce, struct ddp_error *err);
void ddp_gpu_updater_finish(struct ddp_gpu_updater *u);
/* Device bytes that init() takes. */
size_t ddp_gpu_updater_bytes(const struct ddp_optim_device_conf *conf);

/* step: on the device, valid until the work of this step is done. Then begin, ready and finish of the
 * reduction. */
void ddp_gpu_updater_begin(struct ddp_gpu_updater *u, const struct ddp_gpu_step *step);
/* Between steps: average and average_weights as of now (ddp_gpu_reduce_gather()). Enqueues; collective;
 * nothing happens without optim.ema. */
void ddp_gpu_updater_gather(struct ddp_gpu_updater *u);

#endif
