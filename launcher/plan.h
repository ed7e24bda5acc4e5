/* What to start, as a pure function of hosts, their machines, command line and config. */
#ifndef DDP_LAUNCHER_PLAN_H
#define DDP_LAUNCHER_PLAN_H

#include "config/config.h"
#include "launcher/hosts.h"
#include "launcher/options.h"
#include "topology/topology.h"

/* What a host has, as it was found there. */
struct ddp_launch_site {
    const struct ddp_machine *machine;
    const struct ddp_place_gpus *gpus; /* NULL, or n 0: it computes on CPUs */
};

/* A host's part of the job. */
struct ddp_launch_part {
    char *host;                      /* its name; "" this one, which nobody named */
    int ranks;                       /* 0: the job does without it */
    int *rank;                       /* [ranks] numbers in the job, ascending */
    struct ddp_placement *placement; /* of these ranks; NULL without any */
};

struct ddp_launch_spot {
    int part, local; /* rank = part[part].rank[local] */
};

struct ddp_launch_plan {
    int ranks;
    bool cuda;    /* ranks compute on GPUs */
    bool decided; /* the config says auto: the ranks are told which it is */
    int nparts;   /* one for each host, in their order */
    struct ddp_launch_part *part;
    struct ddp_launch_spot *spot; /* [ranks] where each rank is */
    char note[2048];              /* what a user should know, one or more lines; "" nothing */
};

/* Without -n one rank per GPU, or per core (per group of train.threads cores), within what the hosts' list
 * gives, up to the number of shards. Ranks lie host by host, with --map-by node round them. Hosts may be of
 * different kinds. hosts->n is 0 (this host) or more; site: [max(1, hosts->n)]. Errors: more ranks than
 * shards, slots or GPUs (with the cure), nonsense in the request. Free with ddp_launch_plan_finish. */
int ddp_launch_plan_hosts(const struct ddp_hosts *hosts, const struct ddp_launch_site *site,
                          const struct ddp_options *opt, const struct ddp_config *cfg,
                          struct ddp_launch_plan *out, struct ddp_error *err);
void ddp_launch_plan_finish(struct ddp_launch_plan *plan);

/* The places of a part's ranks in the order of their local numbers, as ranks read them (DDP_PLACE): "cpus=0
 * ...;cpus=1 ...". malloc'd. */
char *ddp_launch_part_places(const struct ddp_launch_part *part);
/* The hardware threads of its ranks, malloc'd; *n 0 where they are not bound. */
int *ddp_launch_part_pus(const struct ddp_launch_part *part, int *n);
/* The placement as one line for run.json: "0@cpus=0-3 numa=0; 1@cpus=4-7 numa=1", with several hosts "0@n0
 * cpus=.."; of thousands of ranks only where they are, "0-63@n0; 64-127@n1". malloc'd. */
char *ddp_launch_plan_line(const struct ddp_launch_plan *plan);
/* All hosts with their machines and ranks drawn into them, and all notes. site: as planned with. malloc'd. */
char *ddp_launch_plan_map(const struct ddp_launch_plan *plan, const struct ddp_launch_site *site);

#endif
