/* Running statistics of batch norm.
 *
 *   running = (1 - momentum) * running + momentum * sum / count
 *
 * sum is the tree sum of the shards' leaves, count_s * value_s with count_s = samples * H * W; count is the
 * sum of the count_s that went in: all for means, those of at least 2 for unbiased variances. Nothing went
 * in: nothing changes. */
#include "model/graph.h"

/* Elements per channel in all shards that have at least `least` of them. */
static int64_t elements(int64_t count, int shards, int64_t pixels, int64_t least)
{
    int64_t sum = 0;
    for (int s = 0; s < shards; s++) {
        int64_t n = (count * (s + 1) / shards - count * s / shards) * pixels;
        sum += n >= least ? n : 0;
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
        int64_t n = elements(count, shards, t->stat_pixels, var ? 2 : 1);
        if (n == 0)
            continue;
        double new_weight = t->param.momentum, old_weight = 1 - new_weight;
        for (int64_t k = a; k < b; k++)
            params[k] = (float)(old_weight * params[k] + new_weight * (sum[k - lo] / (double)n));
    }
}
