/* Who a rank is, and its shards of a step and of an evaluation. */
#include "reduce/plan.h"

#include "base/ranks.h"
#include "reduce/tree.h"

int ddp_rank_plan_init(const struct ddp_comm *comm, int train_shards, int accumulate,
                       struct ddp_rank_plan *out, struct ddp_error *err)
{
    const int seat = comm->seat, size = comm->size, shards = train_shards * accumulate;
    const int code = ddp_ranks_check_shards(size, shards, accumulate, err);
    if (code != 0)
        return code;
    *out = (struct ddp_rank_plan){
        .rank = comm->rank,
        .size = size,
        .node = comm->node,
        .nodes = comm->nodes,
        .local_rank = comm->local_rank,
        .local_size = comm->local_size,
        .shards = shards,
        .first = ddp_tree_first_shard(shards, size, seat),
        .last = ddp_tree_first_shard(shards, size, seat + 1),
        .eval_shards = train_shards,
        .eval_first = ddp_tree_first_shard(train_shards, size, seat),
        .eval_last = ddp_tree_first_shard(train_shards, size, seat + 1),
    };
    return 0;
}
