/* The hosts of a job and what each has, as far as it is known before anything starts. */
#ifndef DDP_LAUNCHER_SITES_H
#define DDP_LAUNCHER_SITES_H

#include "launcher/gpus.h"
#include "launcher/plan.h"
#include "launcher/team.h"

struct ddp_sites {
    struct ddp_hosts hosts;
    char note[512]; /* on them; "" nothing to say */
    const struct ddp_starter *starter;
    struct ddp_team team;        /* its agents; .n 0: ranks are on this host only */
    struct ddp_machine *machine; /* this one, or as all hosts are described to be */
    struct ddp_claim claim;      /* on cores of this one */
    struct ddp_launch_gpus gpus;
    struct ddp_site_there { /* what was found on each host of the team, storage of .site */
        struct ddp_machine *machine;
        struct ddp_place_gpus gpus;
    } * there;
    struct ddp_launch_site *site; /* [max(1, hosts.n)] */
};

/* Find the hosts (-H, --hostfile, a scheduler's job, or this one), call agents on the others, and look at
 * their machines, GPUs, and cores that other jobs hold. Other launchers on these machines
 * that get here wait until ddp_sites_hold or ddp_sites_finish. out: zeroed; also after an error, free with
 * ddp_sites_finish. */
int ddp_sites_find(const struct ddp_options *opt, const struct ddp_config *cfg, struct ddp_sites *out,
                   struct ddp_error *err);
/* Hold the cores of this host's ranks until ddp_sites_finish or our end. */
void ddp_sites_hold(struct ddp_sites *sites, const struct ddp_launch_plan *plan);
void ddp_sites_finish(struct ddp_sites *sites);

#endif
