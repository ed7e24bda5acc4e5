/* What to start, as a pure function of machine, command line and config. */
#ifndef DDP_LAUNCHER_PLAN_H
#define DDP_LAUNCHER_PLAN_H

#include "config/config.h"
#include "launcher/options.h"
#include "topology/topology.h"

struct ddp_launch_plan {
    int ranks;
    bool cuda;    /* ranks compute on GPUs */
    bool decided; /* the config says auto: the ranks are told which it is */
    struct ddp_placement *placement;
    char note[1024]; /* what a user should know, one or more lines; "" nothing */
};

/* gpus: NULL, or n 0, is the CPU; else one rank per GPU unless -n says otherwise. Errors: more ranks than
 * shards or GPUs (with the cure), nonsense in the request. Free with
 * ddp_launch_plan_finish. */
int ddp_launch_plan_make(const struct ddp_machine *m, const struct ddp_options *opt,
                         const struct ddp_config *cfg, const struct ddp_place_gpus *gpus,
                         struct ddp_launch_plan *out, struct ddp_error *err);
void ddp_launch_plan_finish(struct ddp_launch_plan *plan);

/* The placement as one line for run.json: "0@cpus=0-3 numa=0; 1@cpus=4-7 numa=1". malloc'd. */
char *ddp_launch_plan_line(const struct ddp_launch_plan *plan);

#endif
