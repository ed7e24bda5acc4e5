/* The face of src/optim: from the sum of gradients to new parameters, a slice at a time. State is sharded by
 * ownership: it lives in arrays over the whole flat space that all ranks share and each owner touches its own
 * slices (ZeRO stage 1).
 *
 * What an optimizer is stands in kind.h, each one's equations in NAME_args.h; names and formulas are
 * PyTorch's where torch.optim has them. docs/optim.md is for who writes configs. */
#ifndef DDP_OPTIM_H
#define DDP_OPTIM_H

#include "comm/comm.h"
#include "config/config.h"
#include "model/flat.h"
#include "reduce/reduce.h"

struct ddp_optim;

/* Collective (shares the state). params: the shared flat parameters that run() updates in place. total_steps:
 * planned length of training, which schedules scale to; steps_per_epoch for milestones. */
int ddp_optim_create(const struct ddp_config *cfg, const struct ddp_flat *flat, struct ddp_comm *comm,
                     float *params, int64_t total_steps, int64_t steps_per_epoch, struct ddp_optim **out,
                     struct ddp_error *err);
void ddp_optim_destroy(struct ddp_optim *o);
/* Shared bytes of state and how many values per block the norms need (struct
 * ddp_reduce_conf.block_values). */
size_t ddp_optim_bytes(const struct ddp_config *cfg, const struct ddp_flat *flat);
int ddp_optim_block_values(const struct ddp_config *cfg);
int ddp_optim_stages(const struct ddp_config *cfg);

/* Before each step: step counts from 0, count: samples in the global batch (the sums are divided by it). */
void ddp_optim_begin(struct ddp_optim *o, int64_t step, int64_t count);
/* Stage `stage` for [lo, hi), blocks of trained parameters only; arguments and result as in struct
 * ddp_reduce_apply. A block whose sums are not finite is refused: nothing of it changes. Where a stage leaves
 * values, nothing at all changes behind it: on all ranks, as all have the same values. */
int64_t ddp_optim_run(struct ddp_optim *o, int stage, int64_t lo, int64_t hi, float *sum, double *values);
void ddp_optim_between(struct ddp_optim *o, int stage, const double *values, int64_t blocks);

double ddp_optim_lr(const struct ddp_optim *o); /* of the step begun last */
double ddp_optim_norm(
    const struct ddp_optim *o); /* gradient norm of the last step when clipping; -1 when not computed */

/* State arrays for checkpoints: array i, its name ("momentum", "exp_avg", ..., "ema"), [flat total] shared
 * floats. */
int ddp_optim_arrays(const struct ddp_optim *o);
float *ddp_optim_array(struct ddp_optim *o, int i, const char **name);

/* Whether the gradient's sums are still what they were behind its stages. */
bool ddp_optim_keeps_sum(const struct ddp_config *cfg);

/* The exponential moving average of the weights that optim.ema asks for: [flat total] shared floats, one of
 * the state arrays; NULL: off. Trained parameters move with each step, e = decay * e + (1 - decay) * p. All
 * else is a copy of the parameters' own, running statistics too, as in torch.optim.swa_utils.AveragedModel:
 * whoever writes those calls copy() for what it wrote. At first it is a copy of all. */
float *ddp_optim_average(const struct ddp_optim *o);
void ddp_optim_average_copy(struct ddp_optim *o, int64_t lo, int64_t hi); /* no average: nothing happens */

/* ---- the pure parts, for who runs the updates elsewhere (GPUs) ---- */

/* What one tensor is updated with. */
struct ddp_optim_setting {
    double lr_scale, weight_decay;
    bool adapt; /* LARS, LAMB: takes part in the trust ratio (what decays by default: no norms, no biases) */
    double trust; /* LARS, LAMB: trust ratio of this step, 1 at first */
};
/* Of each trained tensor, from its flags, optim.no_decay and optim.groups. out: [ntrained]. DDP_E_CONFIG: a
 * group or pattern that fits nothing, or a value that the optimizer cannot work with. */
int ddp_optim_settings(const struct ddp_config *cfg, const struct ddp_flat *flat,
                       struct ddp_optim_setting *out, struct ddp_error *err);
/* What of that shows without a model. ddp_optim_check: values that the optimizer cannot work with, the first;
 * ddp_optim_check_groups: the keys of optim.groups, all faults added to err. */
int ddp_optim_check(const struct ddp_config *cfg, struct ddp_error *err);
int ddp_optim_check_groups(const struct ddp_config *cfg, struct ddp_error *err);
/* The trained tensor of each trained block; free(3) it. */
int32_t *ddp_optim_block_tensors(const struct ddp_flat *flat);
/* State arrays that a config has: ddp_optim_arrays() without an optimizer. */
int ddp_optim_array_count(const struct ddp_config *cfg);
/* 1 - beta^(step + 1): what Adam's moments fall short of after a step. */
double ddp_optim_bias(double beta, int64_t step);

/* Learning rate at a step: pure. */
double ddp_schedule_lr(const struct ddp_config *cfg, int64_t step, int64_t total_steps,
                       int64_t steps_per_epoch);

#endif
