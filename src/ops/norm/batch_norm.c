/* Batch normalisation (Ioffe, Szegedy, 2015), per shard or over the global batch.
 *
 *   xhat    = (x - mean) / sqrt(var + eps)
 *   out     = max(0, weight * xhat + bias + in[1])        (in[1] and max only when fused)
 *
 *   dz      = dout where out > 0
 *   dbias   = sum dz
 *   dweight = sum dz xhat
 *   din[1]  = dz
 *   din[0]  = weight / sqrt(var + eps) * (dz - mean(dz) - xhat * mean(dz xhat))
 *
 * [N, C, H, W], statistics over N, H, W of one channel; var is the biased one. Training uses the shard's own
 * samples; evaluation the running statistics. params: weight, bias (only when affine), running_mean,
 * running_var.
 *
 * Sums: each picture and channel block has its mean and its squares about that mean from kernels (norm_cpu.c:
 * chains by column, doubles by chunk), pictures are then combined in double in sample order. The mean is kept
 * as two floats, so that neither statistics nor output lose digits to a large mean.
 *
 * Leaves of the running statistics (grad[] of a training forward): count * mean and count * unbiased var,
 * count = n H W. A shard of fewer than 2 elements per channel adds no variance, an empty one nothing.
 *
 * sync = true: one round of sums each way, in doubles. forward_stats writes sum(x - s) and sum((x - s)^2) of
 * its shard, s = the running mean, which all ranks share: made from the shard's own centred sums, and with 53
 * bits for the last subtraction, so the variance has a float's digits while s is up to 10,000 deviations off.
 * backward_stats writes sum dz and sum dz xhat. Gradients of weight and bias stay the shard's own. The
 * running leaves are count * global mean and count * global unbiased var with the shard's own count, so the
 * count-weighted mean over shards is the global value; only a global batch of fewer than 2 elements adds no
 * variance. Shards that have no samples still take part with zeros. */
#include "ops/ops.h"

#include <string.h>

#include "ops/norm/batch_norm.h"
#include "ops/norm/norm_cpu.h"
#include "ops/builtin.h"
#include "ops/walk.h"

static const struct ddp_key keys[] = {
    {.name = "eps",
     .type = DDP_KEY_FLOAT,
     .offset = offsetof(struct ddp_batch_norm_conf, eps),
     .dflt = "1e-5",
     .min = 1e-30,
     .max = 1,
     .flags = DDP_KEY_RESULT,
     .doc = "added to the variance before its root is taken"},
    {.name = "momentum",
     .type = DDP_KEY_FLOAT,
     .offset = offsetof(struct ddp_batch_norm_conf, momentum),
     .dflt = "0.1",
     .min = 0,
     .max = 1,
     .flags = DDP_KEY_RESULT,
     .doc = "weight of a step's statistics in the running ones"},
    {.name = "affine",
     .type = DDP_KEY_BOOL,
     .offset = offsetof(struct ddp_batch_norm_conf, affine),
     .dflt = "true",
     .flags = DDP_KEY_RESULT,
     .doc = "learn a weight and a bias for each channel"},
    {.name = "sync",
     .type = DDP_KEY_BOOL,
     .offset = offsetof(struct ddp_batch_norm_conf, sync),
     .dflt = "false",
     .flags = DDP_KEY_RESULT,
     .doc = "take statistics over the global batch instead of the shard"},
    {0},
};

/* Vectors of ceil16(C) floats: kept in `saved` when training, in `scratch` when not. */
enum {
    MEAN,
    REST,
    INV_STD,
    SCALE,
    SHIFT,
    COEFS,
    OWN_DZ = COEFS,
    OWN_DZX,
    SAVED,
    M1 = 0,
    M2,
    SCRATCH = COEFS
};

/* One call, its memory cut up. part: [n][block] pairs of double[16]; sums: the same
 * combined, [2][ceil16(C)]. */
struct work {
    const struct ddp_op_call *call;
    const struct ddp_batch_norm_conf *conf;
    int c, c16, blocks, h, w;
    int64_t count; /* elements per channel in this shard */
    double *part, *sums;
    float *coef, *means;
};

static int plan_layer(const void *conf_, const struct ddp_shape *in, int nin, int batch,
                      struct ddp_layer_plan *plan, struct ddp_error *err)
{
    const struct ddp_batch_norm_conf *conf = conf_;
    (void)nin;
    if (!(conf->eps > 0))
        return ddp_fail(err, DDP_E_CONFIG, "batch_norm: eps is %g, it must be above 0", conf->eps);
    if (!(conf->momentum >= 0 && conf->momentum <= 1))
        return ddp_fail(err, DDP_E_CONFIG, "batch_norm: momentum is %g, allowed is 0 to 1", conf->momentum);
    int c = in[0].c, c16 = ddp_blocks(c) * DDP_CBLOCK;
    plan->out = in[0];
    const struct ddp_param vector = {
        .layout = DDP_LAYOUT_VECTOR, .ndim = 1, .dims = {c}, .groups = 1, .no_decay = true};
    struct ddp_param *p = plan->params;
    if (conf->affine) {
        *p = vector;
        p->name = "weight";
        p++->init = DDP_INIT_ONE;
        *p = vector;
        p->name = "bias";
        p++->init = DDP_INIT_ZERO;
    }
    *p = vector;
    p->name = "running_mean";
    p->role = DDP_PARAM_RUNNING_MEAN;
    p->momentum = conf->momentum;
    p++->init = DDP_INIT_ZERO;
    *p = vector;
    p->name = "running_var";
    p->role = DDP_PARAM_RUNNING_VAR;
    p->momentum = conf->momentum;
    p++->init = DDP_INIT_ONE;
    plan->nparams = (int)(p - plan->params);
    plan->any_strides = true;
    plan->over_in = DDP_OVER_MASKED;
    plan->saved_bytes = (size_t)c16 * SAVED * sizeof(float);
    plan->scratch_bytes =
        ((size_t)batch * c16 * 2 + (size_t)c16 * 2) * sizeof(double) + (size_t)c16 * SCRATCH * sizeof(float);
    plan->sync_doubles = conf->sync ? 2 * c16 : 0;
    plan->flops = 4.0 * in[0].c * in[0].h * in[0].w;
    return 0;
}

static struct work work_of(const struct ddp_op_call *call)
{
    const struct ddp_tensor *x = call->in[0];
    struct work k = {
        .call = call, .conf = call->conf, .c = x->c, .blocks = ddp_blocks(x->c), .h = x->h, .w = x->w};
    k.c16 = k.blocks * DDP_CBLOCK;
    k.count = (int64_t)x->n * x->h * x->w;
    k.sums = call->scratch;
    k.means = (float *)(k.sums + 2 * k.c16);
    k.part = (double *)(k.means + SCRATCH * k.c16);
    k.coef = call->training ? call->saved : k.means;
    return k;
}

static int running_index(const struct work *k)
{
    return k->conf->affine ? 2 : 0;
}

static struct ddp_norm_coef coef_of(const struct work *k, int block)
{
    const float *p = k->coef + block * DDP_CBLOCK, *m = k->means + block * DDP_CBLOCK;
    return (struct ddp_norm_coef){
        .mean = p + MEAN * k->c16,
        .rest = p + REST * k->c16,
        .inv_std = p + INV_STD * k->c16,
        .scale = p + SCALE * k->c16,
        .shift = p + SHIFT * k->c16,
        .m1 = m + M1 * k->c16,
        .m2 = m + M2 * k->c16,
    };
}

static enum ddp_norm_mask mask_of(const struct ddp_op_call *call)
{
    if (!(call->fused & DDP_FUSE_RELU))
        return DDP_NORM_MASK_NONE;
    return call->fused & DDP_FUSE_ADD ? DDP_NORM_MASK_OUT : DDP_NORM_MASK_INPUT;
}

static double *part_of(const struct work *k, int n, int block)
{
    return k->part + ((int64_t)n * k->blocks + block) * 2 * DDP_CBLOCK;
}

/* ---- forward ---- */

static void moments_task(void *ctx, int task)
{
    const struct work *k = ctx;
    int n = task / k->blocks, block = task % k->blocks;
    double *part = part_of(k, n, block);
    ddp_norm_kernels()->moments(k->h, k->w, ddp_plane_of(k->call->in[0], n, block), part, part + DDP_CBLOCK);
}

/* sums <- mean of the shard and squares about it: pictures weigh the same, so the mean is the mean of their
 * means. */
static void join_moments_task(void *ctx, int block)
{
    const struct work *k = ctx;
    int n = k->call->in[0]->n;
    double *mean = k->sums + block * DDP_CBLOCK, *m2 = mean + k->c16, pixels = (double)k->h * k->w;
    memset(mean, 0, DDP_CBLOCK * sizeof *mean);
    memset(m2, 0, DDP_CBLOCK * sizeof *m2);
    for (int i = 0; i < n; i++)
        for (int c = 0; c < DDP_CBLOCK; c++)
            mean[c] += part_of(k, i, block)[c];
    for (int c = 0; c < DDP_CBLOCK; c++)
        mean[c] /= n;
    for (int i = 0; i < n; i++) {
        const double *part = part_of(k, i, block);
        for (int c = 0; c < DDP_CBLOCK; c++) {
            double off = part[c] - mean[c];
            m2[c] += part[DDP_CBLOCK + c] + pixels * (off * off);
        }
    }
}

static void shard_moments(struct work *k)
{
    ddp_parallel(k->call->pool, k->call->in[0]->n * k->blocks, moments_task, k);
    ddp_parallel(k->call->pool, k->blocks, join_moments_task, k);
}

/* What the kernels need, from the statistics of channel c. */
static void set_coef(const struct work *k, int c, double mean, double var)
{
    double inv_std = 1.0 / ddp_sqrt(var + k->conf->eps);
    float high = (float)mean, scale = (float)(k->conf->affine ? k->call->param[0][c] * inv_std : inv_std);
    double low = mean - (double)high, bias = k->conf->affine ? k->call->param[1][c] : 0;
    k->coef[MEAN * k->c16 + c] = high;
    k->coef[REST * k->c16 + c] = (float)(-low * inv_std);
    k->coef[INV_STD * k->c16 + c] = (float)inv_std;
    k->coef[SCALE * k->c16 + c] = scale;
    k->coef[SHIFT * k->c16 + c] = (float)(bias - low * (double)scale);
}

/* total: elements that the statistics are over. */
static void set_leaves(const struct work *k, int c, double mean, double var, double total)
{
    float *const *leaf = k->call->grad + running_index(k);
    if (leaf[0])
        leaf[0][c] = (float)((double)k->count * mean);
    if (leaf[1])
        leaf[1][c] = total < 2 ? 0.0f : (float)((double)k->count * (var * (total / (total - 1))));
}

static void zero_leaves(const struct work *k)
{
    float *const *leaf = k->call->grad + running_index(k);
    for (int i = 0; i < 2; i++)
        if (leaf[i])
            memset(leaf[i], 0, (size_t)k->c16 * sizeof(float));
}

static void normalise_task(void *ctx, int task)
{
    const struct work *k = ctx;
    const struct ddp_op_call *call = k->call;
    int n = task / k->blocks, block = task % k->blocks;
    struct ddp_norm_coef coef = coef_of(k, block);
    struct ddp_plane plus = {0};
    if (call->fused & DDP_FUSE_ADD)
        plus = ddp_plane_of(call->in[1], n, block);
    ddp_norm_kernels()->normalise(k->h, k->w, &coef, ddp_plane_of(call->in[0], n, block), plus,
                                  call->fused & DDP_FUSE_RELU, ddp_plane_of(call->out, n, block));
}

static void forward_stats(const struct ddp_op_call *call)
{
    struct work k = work_of(call);
    const float *shift = call->param[running_index(&k)];
    memset(call->sync, 0, 2 * (size_t)k.c16 * sizeof *call->sync);
    if (k.count == 0)
        return;
    shard_moments(&k);
    for (int c = 0; c < k.c; c++) {
        double off = k.sums[c] - (double)shift[c];
        call->sync[c] = (double)k.count * off;
        call->sync[k.c16 + c] = k.sums[k.c16 + c] + (double)k.count * (off * off);
    }
}

/* Mean and biased variance of channel c over the global batch, from the sums of all shards. */
static void global_moments(const struct work *k, int c, double *mean, double *var)
{
    double count = (double)k->call->sync_count * k->h * k->w;
    double off = k->call->sync[c] / count, square = k->call->sync[k->c16 + c] / count - off * off;
    *mean = (double)k->call->param[running_index(k)][c] + off;
    *var = square < 0 ? 0 : square; /* NaN stays */
}

static void forward(const struct ddp_op_call *call)
{
    struct work k = work_of(call);
    if (call->training)
        zero_leaves(&k);
    if (k.count == 0)
        return;
    if (call->training && !k.conf->sync)
        shard_moments(&k);
    memset(k.coef, 0, COEFS * (size_t)k.c16 * sizeof(float)); /* padded channels: out = 0 * x + 0 */
    for (int c = 0; c < k.c; c++) {
        double mean, var, total = (double)k.count;
        if (!call->training) {
            mean = call->param[running_index(&k)][c];
            var = call->param[running_index(&k) + 1][c];
        } else if (k.conf->sync) {
            global_moments(&k, c, &mean, &var);
            total = (double)call->sync_count * k.h * k.w;
        } else {
            mean = k.sums[c];
            var = k.sums[k.c16 + c] / total;
        }
        set_coef(&k, c, mean, var);
        if (call->training)
            set_leaves(&k, c, mean, var, total);
    }
    ddp_parallel(call->pool, call->in[0]->n * k.blocks, normalise_task, &k);
}

/* ---- backward ---- */

static void grad_sums_task(void *ctx, int task)
{
    const struct work *k = ctx;
    int n = task / k->blocks, block = task % k->blocks;
    struct ddp_norm_coef coef = coef_of(k, block);
    double *part = part_of(k, n, block);
    ddp_norm_kernels()->grad_sums(k->h, k->w, &coef, mask_of(k->call), ddp_plane_of(k->call->in[0], n, block),
                                  ddp_plane_of(k->call->out, n, block), ddp_plane_of(k->call->dout, n, block),
                                  part, part + DDP_CBLOCK);
}

static void join_grad_sums_task(void *ctx, int block)
{
    const struct work *k = ctx;
    double *dz = k->sums + block * DDP_CBLOCK, *dzx = dz + k->c16;
    memset(dz, 0, DDP_CBLOCK * sizeof *dz);
    memset(dzx, 0, DDP_CBLOCK * sizeof *dzx);
    for (int i = 0; i < k->call->in[0]->n; i++) {
        const double *part = part_of(k, i, block);
        for (int c = 0; c < DDP_CBLOCK; c++) {
            dz[c] += part[c];
            dzx[c] += part[DDP_CBLOCK + c];
        }
    }
}

/* The shard's own sums of dz and dz * xhat into sums, and into own[OWN_DZ], own[OWN_DZX] of saved; zeros when
 * it is empty. */
static void shard_grad_sums(struct work *k)
{
    float *own = k->coef + OWN_DZ * k->c16;
    memset(own, 0, 2 * (size_t)k->c16 * sizeof *own);
    memset(k->sums, 0, 2 * (size_t)k->c16 * sizeof *k->sums);
    if (k->count == 0)
        return;
    ddp_parallel(k->call->pool, k->call->in[0]->n * k->blocks, grad_sums_task, k);
    ddp_parallel(k->call->pool, k->blocks, join_grad_sums_task, k);
    for (int c = 0; c < k->c; c++) {
        own[c] = (float)k->sums[c];
        own[k->c16 + c] = (float)k->sums[k->c16 + c];
    }
}

static void gradient_task(void *ctx, int task)
{
    const struct work *k = ctx;
    const struct ddp_op_call *call = k->call;
    int n = task / k->blocks, block = task % k->blocks;
    struct ddp_norm_coef coef = coef_of(k, block);
    struct ddp_plane dx = {0}, dadd = {0};
    if (call->din[0])
        dx = ddp_plane_of(call->din[0], n, block);
    if ((call->fused & DDP_FUSE_ADD) && call->din[1])
        dadd = ddp_plane_of(call->din[1], n, block);
    const enum ddp_norm_store store = call->mask_din        ? DDP_NORM_STORE_MASKED
                                      : call->accumulate[0] ? DDP_NORM_STORE_ADD
                                                            : DDP_NORM_STORE;
    ddp_norm_kernels()->gradient(k->h, k->w, &coef, mask_of(call), ddp_plane_of(call->in[0], n, block),
                                 ddp_plane_of(call->out, n, block), ddp_plane_of(call->dout, n, block), dx,
                                 store, dadd, call->accumulate[1]);
}

static void backward_stats(const struct ddp_op_call *call)
{
    struct work k = work_of(call);
    shard_grad_sums(&k);
    memset(call->sync, 0, 2 * (size_t)k.c16 * sizeof *call->sync);
    memcpy(call->sync, k.sums, (size_t)k.c * sizeof *call->sync);
    memcpy(call->sync + k.c16, k.sums + k.c16, (size_t)k.c * sizeof *call->sync);
}

static void backward(const struct ddp_op_call *call)
{
    struct work k = work_of(call);
    if (!k.conf->sync)
        shard_grad_sums(&k);
    const float *own = k.coef + OWN_DZ * k.c16;
    if (k.conf->affine) {
        memcpy(call->grad[0], own + k.c16, (size_t)k.c16 * sizeof(float));
        memcpy(call->grad[1], own, (size_t)k.c16 * sizeof(float));
    }
    if (k.count == 0)
        return;
    double count = k.conf->sync ? (double)call->sync_count * k.h * k.w : (double)k.count;
    for (int c = 0; c < 2 * k.c16; c++) /* of the shard: of its gradients as they were rounded */
        k.means[M1 * k.c16 + c] = (float)((k.conf->sync ? call->sync[c] : (double)own[c]) / count);
    if (call->din[0] || ((call->fused & DDP_FUSE_ADD) && call->din[1]))
        ddp_parallel(call->pool, call->in[0]->n * k.blocks, gradient_task, &k);
}

const struct ddp_op ddp_op_batch_norm = {
    .name = "batch_norm",
    .doc = "normalise each channel to mean 0 and variance 1, then scale and shift",
    .conf_bytes = sizeof(struct ddp_batch_norm_conf),
    .keys = keys,
    .nin = 1,
    .fuses = DDP_FUSE_ADD | DDP_FUSE_RELU,
    .out_use = DDP_OUT_MASK_ADDED,
    .plan = plan_layer,
    .forward = forward,
    .backward = backward,
    .forward_stats = forward_stats,
    .backward_stats = backward_stats,
    .device = &ddp_batch_norm_device,
};
