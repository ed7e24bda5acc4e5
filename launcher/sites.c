/* Looking at the hosts of a job. */
#include "launcher/sites.h"

#include <stdlib.h>
#include <unistd.h>

#include "launcher/hosts_find.h"

/* Of a described machine each host that is named has one; the scheduler's are real and not that. */
static int find_hosts(const struct ddp_options *opt, bool described, struct ddp_sites *s,
                      struct ddp_error *err)
{
    extern char **environ;
    char self[256] = "localhost";
    if (described && !opt->hosts && !opt->hostfile)
        return 0;
    const int rc = ddp_hosts_find(opt, (const char *const *)environ, &s->hosts, err);
    if (rc != 0 || described)
        return rc;
    gethostname(self, sizeof self - 1);
    return ddp_hosts_keep_self(&s->hosts, self, s->note, sizeof s->note, err);
}

int ddp_sites_find(const struct ddp_options *opt, const struct ddp_config *cfg, struct ddp_sites *s,
                   struct ddp_error *err)
{
    const bool described = ddp_launch_described();
    s->claim.folder = -1;
    struct ddp_options each = *opt; /* ranks on several hosts are no one host's */
    int rc = find_hosts(opt, described, s, err);
    if (rc != 0)
        return rc;
    each.ranks = s->hosts.n > 1 ? 0 : opt->ranks;
    if (!described && (rc = ddp_launch_gpus_find(cfg, &each, &s->gpus, err)) != 0)
        return rc;
    rc = described || s->gpus.list.n > 0 ? ddp_machine_create_with_io(&s->machine, err)
                                         : ddp_machine_create(&s->machine, err);
    if (rc != 0)
        return rc;
    if (!described) {
        ddp_claim_open(&s->claim);
        ddp_claim_look(&s->claim, s->machine);
    }
    if (described && (rc = ddp_launch_gpus_described(s->machine, cfg, &each, &s->gpus, err)) != 0)
        return rc;
    const int n = s->hosts.n > 0 ? s->hosts.n : 1;
    s->site = ddp_calloc((size_t)n, sizeof *s->site);
    for (int h = 0; h < n; h++)
        s->site[h] = (struct ddp_launch_site){s->machine, &s->gpus.list};
    return 0;
}

void ddp_sites_hold(struct ddp_sites *s, const struct ddp_launch_plan *plan)
{
    if (plan->part[0].placement)
        ddp_claim_take(&s->claim, plan->part[0].placement);
}

void ddp_sites_finish(struct ddp_sites *s)
{
    ddp_claim_close(&s->claim);
    free(s->site);
    ddp_launch_gpus_finish(&s->gpus);
    ddp_machine_destroy(s->machine);
    ddp_hosts_finish(&s->hosts);
}
