/* Norms over blocks: each block's sum of squares is left by its owner, and every rank adds them in one tree
 * over block numbers. So neither owners nor slices enter the result. */
#include "optim/private.h"

double ddp_optim_tree(const double *values, int stride, int64_t lo, int64_t hi)
{
    if (hi - lo == 1)
        return values[lo * stride];
    int64_t half = 1;
    while (half * 2 < hi - lo)
        half *= 2;
    return ddp_optim_tree(values, stride, lo, lo + half) + ddp_optim_tree(values, stride, lo + half, hi);
}

double ddp_optim_tensor_sum(const struct ddp_optim *o, const double *values, int value, int i)
{
    const struct ddp_flat *flat = o->flat;
    int64_t end = i + 1 < flat->ntrained ? flat->tensor[i + 1].offset : flat->stats;
    return ddp_optim_tree(values + o->plan.values.slot[value], o->plan.values.stride,
                          flat->tensor[i].offset / DDP_BLOCK, end / DDP_BLOCK);
}
