/* An optimizer on a device: sibling of struct ddp_optim. It owns the state of what this rank updates and the
 * settings of tensors, and enqueues the stages of the list (kind.h) as the reduction asks for them. */
#ifndef DDP_OPTIM_DEVICE_H
#define DDP_OPTIM_DEVICE_H

#include "config/config.h"
#include "reduce/device.h"

struct ddp_optim_device_conf {
    const struct ddp_config *cfg; /* borrowed */
    const struct ddp_flat *flat;  /* borrowed */
    int64_t kept;                 /* elements that this rank updates: ddp_gpu_reduce_kept() */
    enum ddp_gpu_type type;       /* of the weights */
    bool scaled;                  /* loss scaling */
    int interval;                 /* scaled: good steps until the scale doubles, at least 1 */
};

struct ddp_optim_device;

/* Blocks. reduce: what calls it, made with the same flat space and type; borrowed. State is zero until set.
 * Errors: DDP_E_CONFIG settings that do not fit; DDP_E_USAGE; DDP_E_RESOURCE no memory; DDP_E_DEVICE. */
int ddp_optim_device_create(const struct ddp_optim_device_conf *conf, struct ddp_gpu_reduce *reduce,
                            struct ddp_optim_device **out, struct ddp_error *err);
void ddp_optim_device_destroy(struct ddp_optim_device *o); /* NULL is fine */
/* Device bytes that create() takes, before anything is there. */
size_t ddp_optim_device_bytes(const struct ddp_optim_device_conf *conf);
/* For the reduction's conf and apply: doubles per block, stages. */
int ddp_optim_device_block_values(const struct ddp_config *cfg, bool scaled);
int ddp_optim_device_stages(const struct ddp_optim_device *o);

/* What the host fills of a step that is copied up. */
void ddp_optim_device_step(const struct ddp_config *cfg, int64_t step, int64_t total_steps,
                           int64_t steps_per_epoch, struct ddp_gpu_step *out);
/* step: on the device, valid until the work of this step is done. */
void ddp_optim_device_begin(struct ddp_optim_device *o, const struct ddp_gpu_step *step);
/* As struct ddp_gpu_apply's. */
void ddp_optim_device_run(struct ddp_optim_device *o, int stage, const struct ddp_gpu_slice *slice,
                          double *values, struct ddp_gpu_stream *stream);
void ddp_optim_device_between(struct ddp_optim_device *o, int stage, const double *values,
                              struct ddp_gpu_stream *stream);

/* On the device, [2]: clipping factor, and norm of the mean gradient. NULL: no clipping. */
const double *ddp_optim_device_factor(const struct ddp_optim_device *o);
/* The average that optim.ema asks for: on the device, [kept]. NULL: off. */
const float *ddp_optim_device_average(const struct ddp_optim_device *o);
/* State array i, as ddp_optim_array() counts them: on the device, [kept]. NULL: there is none. */
float *ddp_optim_device_array(const struct ddp_optim_device *o, int i);

#endif
