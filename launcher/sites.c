/* Looking at the hosts of a job. */
#include "launcher/sites.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "launcher/fields.h"
#include "launcher/hosts_find.h"

static bool has_others(const struct ddp_hosts *hosts)
{
    char self[256] = "localhost";
    gethostname(self, sizeof self - 1);
    for (int i = 0; i < hosts->n; i++)
        if (!ddp_host_is_self(hosts->host[i].name, self))
            return true;
    return false;
}

/* Of a described machine each host that is named has one; the scheduler's are real and not that. */
static int find_hosts(const struct ddp_options *opt, bool described, struct ddp_sites *s,
                      struct ddp_error *err)
{
    extern char **environ;
    char self[256] = "localhost";
    s->starter = ddp_starter_choose(opt->starter, false);
    if (described && !opt->hosts && !opt->hostfile)
        return 0;
    const int rc = ddp_hosts_find(opt, (const char *const *)environ, &s->hosts, err);
    if (rc != 0 || described)
        return rc;
    for (int i = 0; i < opt->without.n; i++)
        ddp_hosts_remove(&s->hosts, opt->without.w[i]);
    if (opt->without.n > 0 && s->hosts.n == 0)
        return ddp_fail(err, DDP_E_RESOURCE, "no host is left to go on with");
    s->starter = ddp_starter_choose(opt->starter, has_others(&s->hosts));
    if (s->starter->agents && has_others(&s->hosts))
        return 0;
    gethostname(self, sizeof self - 1);
    return ddp_hosts_keep_self(&s->hosts, self, s->note, sizeof s->note, err);
}

/* ---- this host ------------------------------------------------------------------------------- */

static int look_here(const struct ddp_options *opt, const struct ddp_config *cfg, bool described,
                     struct ddp_sites *s, struct ddp_error *err)
{
    struct ddp_options each = *opt; /* ranks on several hosts are no one host's */
    int rc = 0;
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

/* ---- several hosts --------------------------------------------------------------------------- */

static int read_site(const struct ddp_config *cfg, const json_t *facts, struct ddp_site_there *t,
                     struct ddp_error *err)
{
    const json_t *gpus = json_object_get(facts, "gpus");
    const char *xml = json_string_value(json_object_get(facts, "machine"));
    const size_t n = json_array_size(gpus);
    struct ddp_place_gpu *gpu = ddp_calloc(n + 1, sizeof *gpu);
    for (size_t i = 0; i < n; i++) {
        const json_t *g = json_array_get(gpus, i);
        snprintf(gpu[i].pci, sizeof gpu[i].pci, "%s", ddp_field_text(g, "pci"));
        snprintf(gpu[i].uuid, sizeof gpu[i].uuid, "%s", ddp_field_text(g, "uuid"));
        snprintf(gpu[i].name, sizeof gpu[i].name, "%s", ddp_field_text(g, "name"));
    }
    t->gpus = (struct ddp_place_gpus){.n = (int)n, .gpu = gpu, .share = cfg->comm.share_gpu};
    return xml ? ddp_machine_from_xml(xml, &t->machine, err)
               : ddp_fail(err, DDP_E_RESOURCE, "its topology is not known: %s",
                          json_string_value(json_object_get(json_object_get(facts, "faults"), "machine")));
}

/* No host has a GPU, and the job wants some: the first one's reason. */
static int check_gpus(const struct ddp_config *cfg, const struct ddp_sites *s, struct ddp_error *err)
{
    int gpus = 0;
    for (int h = 0; h < s->hosts.n; h++)
        gpus += s->there[h].gpus.n;
    const json_t *faults = json_object_get(s->team.facts[0].facts, "faults");
    const char *why = json_string_value(json_object_get(faults, "gpus"));
    if (cfg->device != DDP_DEVICE_CUDA || gpus > 0 || !why)
        return 0;
    return ddp_fail(err, DDP_E_RESOURCE, "no GPU on any of the %d hosts; host %s: %s", s->hosts.n,
                    s->hosts.host[0].name, why);
}

static int look_there(const struct ddp_options *opt, const struct ddp_config *cfg, struct ddp_sites *s,
                      struct ddp_error *err)
{
    char program[PATH_MAX];
    int rc = ddp_job_program(opt->program, program, err);
    if (rc == 0)
        rc = ddp_team_call(s->starter, &s->hosts, &s->team, err);
    if (rc == 0)
        rc = ddp_team_look(&s->team, cfg, program, !opt->eval, opt->check != 0, &s->claim, err);
    if (rc != 0)
        return rc;
    s->there = ddp_calloc((size_t)s->hosts.n, sizeof *s->there);
    s->site = ddp_calloc((size_t)s->hosts.n, sizeof *s->site);
    for (int h = 0; h < s->hosts.n && rc == 0; h++) {
        rc = read_site(cfg, s->team.facts[h].facts, &s->there[h], err);
        if (rc != 0)
            return ddp_error_prefix(err, "host %s", s->hosts.host[h].name);
        s->site[h] = (struct ddp_launch_site){s->there[h].machine, &s->there[h].gpus};
    }
    rc = check_gpus(cfg, s, err);
    return rc ? rc : ddp_machine_create(&s->machine, err);
}

int ddp_sites_find(const struct ddp_options *opt, const struct ddp_config *cfg, struct ddp_sites *s,
                   struct ddp_error *err)
{
    const bool described = ddp_launch_described();
    s->claim.folder = -1;
    const int rc = find_hosts(opt, described, s, err);
    if (rc != 0)
        return rc;
    return !described && has_others(&s->hosts) ? look_there(opt, cfg, s, err)
                                               : look_here(opt, cfg, described, s, err);
}

void ddp_sites_hold(struct ddp_sites *s, const struct ddp_launch_plan *plan)
{
    for (int i = 0; i < plan->nparts; i++) {
        if (s->team.n > 0 && s->team.member[i] >= 0) /* its agent does */
            continue;
        int n;
        int *pus = ddp_launch_part_pus(&plan->part[i], &n);
        ddp_claim_take(&s->claim, pus, n);
        free(pus);
    }
}

void ddp_sites_finish(struct ddp_sites *s)
{
    ddp_claim_close(&s->claim);
    for (int h = 0; h < s->hosts.n && s->there; h++) {
        ddp_machine_destroy(s->there[h].machine);
        free((struct ddp_place_gpu *)(uintptr_t)s->there[h].gpus.gpu);
    }
    free(s->there);
    free(s->site);
    ddp_team_dismiss(&s->team);
    ddp_launch_gpus_finish(&s->gpus);
    ddp_machine_destroy(s->machine);
    ddp_hosts_finish(&s->hosts);
}
