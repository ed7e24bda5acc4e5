/* What is said of jobs that have too many ranks. */
#include "base/ranks.h"

#include <stdio.h>

int ddp_ranks_check_shards(int ranks, int64_t shards, int64_t accumulate, struct ddp_error *err)
{
    char of[96] = "";
    if (ranks <= shards)
        return 0;
    if (accumulate > 1)
        snprintf(of, sizeof of, " (train.shards = %lld x train.accumulate = %lld)",
                 (long long)(shards / accumulate), (long long)accumulate);
    const long long wanted = accumulate > 1 ? (ranks + accumulate - 1) / accumulate : ranks;
    return ddp_fail(
        err, DDP_E_CONFIG,
        "%d ranks, but only %lld shard%s%s, and each rank needs one of its own: start at most %lld "
        "(-n %lld), or set train.shards=%lld, which makes it another experiment with other results",
        ranks, (long long)shards, shards == 1 ? "" : "s", of, (long long)shards, (long long)shards, wanted);
}

int ddp_ranks_check_gpus(int ranks, int gpus, struct ddp_error *err)
{
    if (ranks <= gpus)
        return 0;
    return ddp_fail(
        err, DDP_E_RESOURCE,
        "%d ranks, but %d GPU%s on this host, and each rank wants one of its own: start %d (-n %d; "
        "the result is the same to the bit), or let them share with comm.share_gpu=true (a test of "
        "correctness: it is slow)",
        ranks, gpus, gpus == 1 ? "" : "s", gpus, gpus);
}
