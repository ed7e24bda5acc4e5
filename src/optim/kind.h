/* What an optimizer is: one table, in the file of its name. Beside NAME.c stand
 *
 *   NAME_args.h   equation, and the scalars of one tensor's update     CPU and CUDA
 *   NAME_cpu.c    its stages as loops over a block                     once per instruction set
 *   NAME.cu       the same stages as kernels (struct ddp_gpu_optim)
 *
 * and a line in config/optims.h. A gradient slice meets a list of stages; who walks the list (optim.c on
 * CPUs, device.c on GPUs) knows clipping, loss scaling and how blocks become norms, and no optimizer. */
#ifndef DDP_OPTIM_KIND_H
#define DDP_OPTIM_KIND_H

#include "base/base.h"
#include "config/config.h"
#include "ops/cpu/cpu.h"
#include "optim/update_args.h"

/* A block of the flat space, or as much of it as lies in its tensor: n, a multiple of 16, elements from each
 * of these. */
struct ddp_optim_block {
    int64_t n;
    float *sum, *param;             /* sum: of gradients over the global batch; stages may write over it */
    float *state[DDP_OPTIM_ARRAYS]; /* in the order of the table; NULL: the config has none */
};

/* The CPU's half, a table of each instruction set. Every multiply-add that is written FMA rounds once,
 * everything else rounds per operation; sqrt and division are IEEE's: each element has one result, whatever
 * the vector width and wherever a range is cut. Zero stays zero where sum, state and parameter are zero
 * (padding), as eps > 0. */
struct ddp_optim_cpu {
    void (*stage[DDP_OPTIM_STAGES])(const struct ddp_optim_hyper *h, const struct ddp_optim_now *t,
                                    const struct ddp_optim_block *b); /* NULL: computes nothing */
};

/* All slices pass a stage before any passes the next. */
struct ddp_optim_stage {
    bool factor;     /* uses `mean`: runs when the clipping factor, and whether to skip the step, is known */
    bool trust;      /* uses the trust ratios: runs when what stages before left has become norms */
    unsigned leaves; /* bits 1 << DDP_VALUE_*: taken after it ran */
};

enum { DDP_READS_NESTEROV = 1, DDP_READS_BETAS = 2, DDP_READS_EPS = 4 };

struct ddp_optim_kind {
    const char *name;
    unsigned reads; /* DDP_READS_*: what of struct ddp_optim_hyper it is checked for; EPS: it divides by it */
    struct {
        const char *name;                             /* in checkpoints; torch.optim's */
        bool (*used)(const struct ddp_optim_hyper *); /* NULL: always */
    } array[DDP_OPTIM_ARRAYS];
    bool writes_sum; /* a stage writes over the gradient's sums */
    int nstages;
    struct ddp_optim_stage stage[DDP_OPTIM_STAGES];
    const struct ddp_optim_cpu *(*cpu)(void); /* of this machine */
    /* Trust ratio of a tensor that takes part in it. NULL: no stage has .trust */
    double (*trust)(const struct ddp_optim_hyper *h, double weight_decay, struct ddp_optim_norms norms);
};

struct ddp_optim_hyper ddp_optim_hyper(const struct ddp_config *cfg);
const struct ddp_optim_kind *ddp_optim_kind(const struct ddp_config *cfg);

/* ---- the list of stages that a gradient slice passes under a config ---- */

struct ddp_optim_pass {
    int stage; /* of the kind; -1: a stage of clipping's and loss scaling's own, which only leaves values */
    unsigned leaves; /* bits 1 << DDP_VALUE_* */
    bool factor;     /* behind it the clipping factor is computed, and whether the step is skipped */
    bool trust;      /* behind it the trust ratios are computed */
};

/* What follows the last stage where optim.ema asks for it is no optimizer's either: the moving average of the
 * new parameters, kept as one more state array. */
enum { DDP_OPTIM_AVERAGE = DDP_OPTIM_ARRAYS, DDP_OPTIM_ALL_ARRAYS };

struct ddp_optim_plan {
    const struct ddp_optim_kind *kind;
    int npasses;
    struct ddp_optim_pass pass[DDP_OPTIM_STAGES + 1];
    struct ddp_optim_layout values;
    int narrays;
    int array[DDP_OPTIM_ALL_ARRAYS]; /* which of the kind's arrays there are, then maybe DDP_OPTIM_AVERAGE */
    bool average;
    float blend; /* of the average: 1 - decay */
};

/* scaled: a loss scale is adapted, so steps with gradients that are not finite are skipped. With clipping or
 * scaling the first pass leaves what is needed for it: the kind's own first stage if that uses no factor,
 * else one before. */
struct ddp_optim_plan ddp_optim_plan(const struct ddp_config *cfg, bool scaled);
/* In checkpoints: of state array i of narrays. */
const char *ddp_optim_array_name(const struct ddp_optim_plan *p, int i);

#endif
