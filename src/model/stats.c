/* Running statistics of batch norm.
 *
 *   running = (1 - momentum) * running + momentum * sum / count
 *
 * sum is the tree sum of the shards' leaves, count_s * value_s with count_s = samples * H * W; count is the
 * sum of the count_s that went in: all for means; for unbiased variances those of at least 2, where the
 * layer is synchronised all of a global batch of at least 2. Nothing went in: nothing changes. */
#include "model/graph.h"

/* Samples of shard s. */
static int64_t shard_samples(int64_t count, int shards, int s)
{
    return count * (s + 1) / shards - count * s / shards;
}

/* Elements per channel in all shards whose statistics are over at least `least` of them. */
static int64_t elements(const struct ddp_flat_tensor *t, int64_t count, int shards, int64_t least)
{
    int64_t sum = 0;
    for (int s = 0; s < shards; s++) {
        int64_t n = shard_samples(count, shards, s) * t->stat_pixels;
        sum += (t->stat_synced ? count * t->stat_pixels : n) >= least ? n : 0;
    }
    return sum;
}

void ddp_model_apply_stats(const struct ddp_model *m, int64_t count, int shards, int64_t lo, int64_t hi,
                           const float *sum, float *params)
{
    const struct ddp_flat *f = &m->flat;
    for (int i = f->ntrained; i < f->ntensors; i++) {
        const struct ddp_flat_tensor *t = &f->tensor[i];
        int64_t a = t->offset > lo ? t->offset : lo, b = t->offset + t->size < hi ? t->offset + t->size : hi;
        if (a >= b)
            continue;
        bool var = t->param.role == DDP_PARAM_RUNNING_VAR;
        int64_t n = elements(t, count, shards, var ? 2 : 1);
        if (n == 0)
            continue;
        double new_weight = t->param.momentum, old_weight = 1 - new_weight;
        for (int64_t k = a; k < b; k++)
            params[k] = (float)(old_weight * params[k] + new_weight * (sum[k - lo] / (double)n));
    }
}

int ddp_model_check_batch(const struct ddp_model *m, int64_t count, int shards, struct ddp_error *err)
{
    bool single = false;
    char where[512];
    for (int s = 0; s < shards && !single; s++)
        single = shard_samples(count, shards, s) == 1;
    for (int i = m->flat.ntrained; i < m->flat.ntensors && single; i++) {
        const struct ddp_flat_tensor *t = &m->flat.tensor[i];
        if (t->stat_pixels == 1 && !t->stat_synced)
            return ddp_fail(
                err, DDP_E_SHAPE,
                "%s: a batch of %lld sample%s in %d shard%s gives it one value per channel in a "
                "shard, which has no variance: its output would be its bias, whatever comes in. Set "
                "sync = true in it to normalise over the global batch, or see to 2 samples in each "
                "shard (a larger train.batch, or fewer train.shards)",
                ddp_layer_where(&m->layer[t->layer], where, sizeof where), (long long)count,
                ddp_plural(count), shards, ddp_plural(shards));
    }
    return 0;
}
