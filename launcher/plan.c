/* From machine, command line and config to the ranks: how many, and where. */
#include "launcher/plan.h"

#include <stdio.h>
#include <stdlib.h>

/* One rank per GPU, or without them per core, or per group of cores when ranks have threads; no more than
 * there are shards. */
static int default_ranks(const struct ddp_machine *m, const struct ddp_config *cfg, int gpus)
{
    const int64_t threads = cfg->train.threads > 0 ? cfg->train.threads : 1;
    int64_t n = gpus > 0 ? gpus : ddp_machine_cores(m) / threads;
    n = n < 1 ? 1 : n;
    return (int)(n < cfg->train.shards ? n : cfg->train.shards);
}

/* 8 shards on 5 ranks: one of them has 2, and all wait for it as they would on 4. */
static void note_uneven(int ranks, int64_t shards, char *note, size_t size)
{
    const int64_t most = (shards + ranks - 1) / ranks;
    const int64_t enough = (shards + most - 1) / most;
    if (enough < ranks)
        snprintf(note, size, "%lld shards on %d ranks: some have %lld, so this is no faster than -n %lld",
                 (long long)shards, ranks, (long long)most, (long long)enough);
}

int ddp_launch_plan_make(const struct ddp_machine *m, const struct ddp_options *opt,
                         const struct ddp_config *cfg, const struct ddp_place_gpus *gpus,
                         struct ddp_launch_plan *out, struct ddp_error *err)
{
    static const enum ddp_bind_policy policies[] = {[DDP_BIND_COMPACT] = DDP_PLACE_COMPACT,
                                                    [DDP_BIND_SPREAD] = DDP_PLACE_SPREAD,
                                                    [DDP_BIND_NONE] = DDP_PLACE_NONE};
    const bool cuda = gpus && gpus->n > 0;
    struct ddp_launch_plan plan = {.cuda = cuda, .decided = cfg->device == DDP_DEVICE_AUTO};
    plan.ranks = opt->ranks ? opt->ranks : default_ranks(m, cfg, cuda ? gpus->n : 0);
    const int64_t shards = cfg->train.shards * cfg->train.accumulate;
    int rc = ddp_ranks_check_shards(plan.ranks, shards, cfg->train.accumulate, err);
    if (rc != 0)
        return rc;

    const struct ddp_place_request req = {.ranks = plan.ranks,
                                          .threads = (int)cfg->train.threads,
                                          .policy = policies[cfg->launch.bind],
                                          .hyperthreads = cfg->launch.hyperthreads};
    rc = cuda ? ddp_placement_create_on_gpus(m, &req, gpus, &plan.placement, err)
              : ddp_placement_create(m, &req, &plan.placement, err);
    if (rc != 0)
        return rc;
    for (int r = 0; r < plan.ranks && !cfg->launch.memory_bind; r++)
        plan.placement->place[r].numa = -1; /* no node to bind memory to */
    note_uneven(plan.ranks, shards, plan.note, sizeof plan.note);
    *out = plan;
    return 0;
}

void ddp_launch_plan_finish(struct ddp_launch_plan *plan)
{
    ddp_placement_destroy(plan->placement);
    plan->placement = NULL;
}

char *ddp_launch_plan_line(const struct ddp_launch_plan *plan)
{
    struct ddp_text t;
    ddp_text_init(&t);
    for (int r = 0; r < plan->ranks; r++) {
        const struct ddp_place *place = &plan->placement->place[r];
        const bool oversubscribed = plan->placement->oversubscribed;
        const int size = ddp_place_format(place, oversubscribed, NULL, 0) + 1;
        char *text = ddp_malloc((size_t)size);
        ddp_place_format(place, oversubscribed, text, size);
        ddp_text_add(&t, "%s%d@%s", r ? "; " : "", r, text);
        free(text);
    }
    return t.s;
}
