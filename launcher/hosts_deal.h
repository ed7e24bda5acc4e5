/* How many ranks a job has, and which host each runs on. Pure.
 *
 *   blocks    (default) host by host, so that neighbours in rank, and in shard, share a host. A list that
 *             gives slots for every host is filled in its order, as mpirun does; otherwise each host gets a
 *             part that fits what it has (GPUs, cores, the scheduler's tasks)
 *   by node   ranks go round the hosts
 *
 * More ranks than that go round too, where it is no limit: a list's slots are one. */
#ifndef DDP_LAUNCHER_HOSTS_DEAL_H
#define DDP_LAUNCHER_HOSTS_DEAL_H

#include "launcher/hosts.h"

/* units: [hosts->n] what each host can run at full speed: its GPUs (gpus true), or its cores in groups of a
 * rank's threads. */
struct ddp_deal {
    const struct ddp_hosts *hosts;
    const int *units;
    bool gpus;
    bool by_node;
};

/* Ranks where -n does not say: one for each unit, no more than a list's slots, or a scheduler's tasks on
 * CPUs. At least 1. */
int ddp_deal_ranks(const struct ddp_deal *deal);

/* host_of: [ranks] index of each rank's host. DDP_E_USAGE when the list has fewer slots, with the way out. */
int ddp_deal_hosts(const struct ddp_deal *deal, int ranks, int *host_of, struct ddp_error *err);

#endif
