/* The order in which an epoch shows the samples, and which of a batch belong to which shard. */
#include "data/data.h"

/* Fisher and Yates' shuffle, word i of the stream {i/4, epoch, 0, DDP_STREAM_ORDER} deciding swap i. No
 * state: epoch 7 can be had without epochs 0 to 6, and nobody has to tell the sampler that an epoch began. */
void ddp_order_epoch(uint64_t seed, int64_t epoch, int64_t count, bool shuffle, int64_t *perm)
{
    for (int64_t i = 0; i < count; i++)
        perm[i] = i;
    if (!shuffle)
        return;
    struct ddp_philox4 words = {{0}};
    for (int64_t i = 0; i + 1 < count; i++) {
        if (i % 4 == 0)
            words = ddp_philox4((uint32_t)(i / 4), (uint32_t)epoch, 0, DDP_STREAM_ORDER, seed);
        int64_t j = i + ddp_uniform_int(words.v[i % 4], (uint32_t)(count - i));
        int64_t other = perm[j];
        perm[j] = perm[i];
        perm[i] = other;
    }
}

int64_t ddp_order_batches(int64_t count, int64_t batch)
{
    return (count + batch - 1) / batch;
}

void ddp_order_shard(int64_t count, int64_t batch, int64_t b, int shards, int shard, int64_t *begin,
                     int64_t *end)
{
    int64_t first = b * batch, m = count - first < batch ? count - first : batch;
    *begin = first + m * shard / shards;
    *end = first + m * (shard + 1) / shards;
}
