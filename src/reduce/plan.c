/* Who a rank is, and its shards of a step and of an evaluation. */
#include "reduce/plan.h"

#include "base/ranks.h"
#include "reduce/tree.h"

int ddp_rank_plan_init(const struct ddp_comm *comm, int train_shards, int accumulate,
                       struct ddp_rank_plan *out, struct ddp_error *err)
{
    const int rank = comm->rank, size = comm->size, shards = train_shards * accumulate;
    const int code = ddp_ranks_check_shards(size, shards, accumulate, err);
    if (code != 0)
        return code;
    *out = (struct ddp_rank_plan){
        .rank = rank,
        .size = size,
        .shards = shards,
        .first = ddp_tree_first_shard(shards, size, rank),
        .last = ddp_tree_first_shard(shards, size, rank + 1),
        .eval_shards = train_shards,
        .eval_first = ddp_tree_first_shard(train_shards, size, rank),
        .eval_last = ddp_tree_first_shard(train_shards, size, rank + 1),
    };
    return 0;
}
