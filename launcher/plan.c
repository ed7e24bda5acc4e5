/* From hosts, their machines, command line and config to the ranks: how many, and where. */
#include "launcher/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/note.h"
#include "launcher/hosts_deal.h"

struct planner {
    const struct ddp_hosts *hosts;
    const struct ddp_launch_site *site;
    const struct ddp_options *opt;
    const struct ddp_config *cfg;
    struct ddp_launch_plan plan;
    int *units;   /* [hosts->n] ranks at full speed */
    int *host_of; /* [ranks] */
};

/* ---- how many -------------------------------------------------------------------------------- */

/* GPUs there that are the job's. */
static int gpus_of(const struct planner *p, int h)
{
    const int seen = p->site[h].gpus ? p->site[h].gpus->n : 0, given = p->hosts->host[h].gpus;
    return given >= 0 && given < seen ? given : seen;
}

/* Cores that the job may keep busy there. */
static int cores_of(const struct planner *p, int h)
{
    const int cores = ddp_machine_capacity(p->site[h].machine, p->cfg->launch.hyperthreads),
              given = p->hosts->host[h].cpus;
    return given > 0 && given < cores ? given : cores;
}

/* GPUs where there are some. Who asks for more ranks than there are, and says nothing of devices, wants the
 * job to run. */
static int decide_device(struct planner *p, struct ddp_error *err)
{
    int gpus = 0;
    bool share = false;
    for (int h = 0; h < p->hosts->n; h++) {
        gpus += gpus_of(p, h);
        share = share || (p->site[h].gpus && p->site[h].gpus->share);
    }
    p->plan.decided = p->cfg->device == DDP_DEVICE_AUTO;
    p->plan.cuda = gpus > 0;
    if (p->hosts->n > 1 && gpus > 0 && p->plan.decided && !share && p->opt->ranks > gpus) {
        p->plan.cuda = false;
        ddp_note_add(
            p->plan.note, sizeof p->plan.note,
            "device=auto: %d ranks compute on the CPUs, because the hosts have only %d GPU%s; -n %d would "
            "use %s, with other bits (device=cpu is the CPU at any -n)",
            p->opt->ranks, gpus, gpus == 1 ? "" : "s", gpus, gpus == 1 ? "it" : "them");
    }
    if (p->cfg->device == DDP_DEVICE_CUDA && gpus == 0)
        return ddp_fail(err, DDP_E_RESOURCE,
                        "device=cuda: %s has no GPU for this job; device=cpu, or ask for some when it is "
                        "submitted",
                        *p->hosts->from ? p->hosts->from : "this host");
    if (p->cfg->device == DDP_DEVICE_CUDA && p->hosts->n > 1 && !share && p->opt->ranks > gpus)
        return ddp_fail(
            err, DDP_E_RESOURCE,
            "%d ranks, but %d GPU%s on the %d hosts, and each rank wants one of its own: start %d "
            "(-n %d; the result is the same to the bit), name more hosts, or let them share with "
            "comm.share_gpu=true (a test of correctness: it is slow)",
            p->opt->ranks, gpus, gpus == 1 ? "" : "s", p->hosts->n, gpus, gpus);
    return 0;
}

static void count_units(struct planner *p)
{
    const int64_t threads = p->cfg->train.threads > 0 ? p->cfg->train.threads : 1;
    for (int h = 0; h < p->hosts->n; h++) {
        const int64_t groups = cores_of(p, h) / threads;
        p->units[h] = p->plan.cuda ? gpus_of(p, h) : (int)(groups < 1 ? 1 : groups);
    }
}

/* 8 shards on 5 ranks: one of them has 2, and all wait for it as they would on 4. */
static void note_uneven(struct planner *p, int64_t shards)
{
    if (shards < 0)
        return;
    const int64_t ranks = p->plan.ranks, most = (shards + ranks - 1) / ranks,
                  enough = (shards + most - 1) / most;
    if (enough < ranks)
        ddp_note_add(p->plan.note, sizeof p->plan.note,
                     "%lld shards on %lld ranks: some have %lld, so this is no faster than -n %lld",
                     (long long)shards, (long long)ranks, (long long)most, (long long)enough);
}

static int choose_ranks(struct planner *p, struct ddp_error *err)
{
    const struct ddp_deal deal = {p->hosts, p->units, p->plan.cuda, p->opt->by_node};
    const bool any = p->cfg->train.shards < 0; /* one for each rank, however many */
    const int64_t shards = p->cfg->train.shards * p->cfg->train.accumulate;
    const int most = ddp_deal_ranks(&deal);
    p->plan.ranks = p->opt->ranks                        ? p->opt->ranks
                    : any || most < p->cfg->train.shards ? most
                                                         : (int)p->cfg->train.shards;
    const int rc = any ? 0 : ddp_ranks_check_shards(p->plan.ranks, shards, p->cfg->train.accumulate, err);
    if (rc != 0)
        return rc;
    p->host_of = ddp_calloc((size_t)p->plan.ranks, sizeof *p->host_of);
    return ddp_deal_hosts(&deal, p->plan.ranks, p->host_of, err);
}

/* ---- where ----------------------------------------------------------------------------------- */

static void make_parts(struct planner *p)
{
    struct ddp_launch_plan *plan = &p->plan;
    plan->nparts = p->hosts->n;
    plan->part = ddp_calloc((size_t)plan->nparts, sizeof *plan->part);
    plan->spot = ddp_calloc((size_t)plan->ranks, sizeof *plan->spot);
    for (int h = 0; h < plan->nparts; h++)
        plan->part[h].host = ddp_strdup(p->hosts->host[h].name);
    for (int r = 0; r < plan->ranks; r++)
        plan->spot[r] = (struct ddp_launch_spot){p->host_of[r], plan->part[p->host_of[r]].ranks++};
    for (int h = 0; h < plan->nparts; h++)
        plan->part[h].rank = ddp_calloc((size_t)plan->part[h].ranks + 1, sizeof *plan->part[h].rank);
    for (int r = 0; r < plan->ranks; r++)
        plan->part[plan->spot[r].part].rank[plan->spot[r].local] = r;
}

static int place_part(struct planner *p, int h, struct ddp_error *err)
{
    static const enum ddp_bind_policy policies[] = {[DDP_BIND_COMPACT] = DDP_PLACE_COMPACT,
                                                    [DDP_BIND_SPREAD] = DDP_PLACE_SPREAD,
                                                    [DDP_BIND_NONE] = DDP_PLACE_NONE};
    struct ddp_launch_part *part = &p->plan.part[h];
    const struct ddp_place_request req = {.ranks = part->ranks,
                                          .threads = (int)p->cfg->train.threads,
                                          .policy = policies[p->cfg->launch.bind],
                                          .hyperthreads = p->cfg->launch.hyperthreads,
                                          .cores = p->hosts->host[h].cpus};
    if (part->ranks == 0)
        return 0;
    struct ddp_place_gpus gpus = {0};
    if (p->plan.cuda) {
        gpus = *p->site[h].gpus;
        gpus.n = gpus_of(p, h);
    }
    const int rc = p->plan.cuda
                       ? ddp_placement_create_on_gpus(p->site[h].machine, &req, &gpus, &part->placement, err)
                       : ddp_placement_create(p->site[h].machine, &req, &part->placement, err);
    if (rc != 0)
        return *part->host ? ddp_error_prefix(err, "%s", part->host) : rc;
    for (int r = 0; r < part->ranks && !p->cfg->launch.memory_bind; r++)
        part->placement->place[r].numa = -1; /* no node to bind memory to */
    return 0;
}

/* ---- hosts of different kinds ---------------------------------------------------------------- */

/* Threads of the slowest rank of a part. */
static int threads_of(const struct ddp_launch_part *part)
{
    int least = 0;
    for (int r = 0; r < part->ranks; r++) {
        const int threads = part->placement->place[r].threads;
        least = r == 0 || threads < least ? threads : least;
    }
    return least;
}

/* All ranks wait for the slowest in every step. */
static void note_slow_hosts(struct planner *p)
{
    const struct ddp_launch_part *slow = NULL, *fast = NULL;
    for (int h = 0; h < p->plan.nparts; h++) {
        const struct ddp_launch_part *part = &p->plan.part[h];
        if (part->ranks == 0)
            continue;
        slow = !slow || threads_of(part) < threads_of(slow) ? part : slow;
        fast = !fast || threads_of(part) > threads_of(fast) ? part : fast;
    }
    if (slow && !p->plan.cuda && threads_of(fast) >= 2 * threads_of(slow))
        ddp_note_add(
            p->plan.note, sizeof p->plan.note,
            "ranks on %s have %d core%s each and those on %s %d: all wait for the slowest in every step; "
            "see whether the job is faster without %s",
            slow->host, threads_of(slow), threads_of(slow) == 1 ? "" : "s", fast->host, threads_of(fast),
            slow->host);
}

/* "n2 gets no rank" */
static void note_idle_hosts(struct planner *p)
{
    const char *first = NULL;
    int idle = 0;
    for (int h = 0; h < p->plan.nparts; h++)
        if (p->plan.part[h].ranks == 0) {
            first = first ? first : p->plan.part[h].host;
            idle++;
        }
    if (idle == 1)
        ddp_note_add(p->plan.note, sizeof p->plan.note, "%s gets no rank", first);
    else if (idle > 1)
        ddp_note_add(p->plan.note, sizeof p->plan.note, "%d hosts get no rank, the first of them %s", idle,
                     first);
}

/* The same bits are promised on one kind of GPU. */
static void note_other_gpus(struct planner *p)
{
    const char *name = NULL, *host = NULL;
    for (int h = 0; h < p->plan.nparts && p->plan.cuda; h++)
        for (int g = 0; g < gpus_of(p, h) && p->plan.part[h].ranks > 0; g++) {
            const char *other = p->site[h].gpus->gpu[g].name;
            if (name && strcmp(name, other) != 0) {
                ddp_note_add(
                    p->plan.note, sizeof p->plan.note,
                    "%s has %s and %s %s: results of different kinds of GPUs differ in their last bits, "
                    "so these depend on which rank is where",
                    host, name, p->plan.part[h].host, other);
                return;
            }
            name = other;
            host = p->plan.part[h].host;
        }
}

/* ---- the face -------------------------------------------------------------------------------- */

static int make(struct planner *p, struct ddp_error *err)
{
    int rc = decide_device(p, err);
    if (rc != 0)
        return rc;
    count_units(p);
    rc = choose_ranks(p, err);
    if (rc != 0)
        return rc;
    make_parts(p);
    for (int h = 0; h < p->plan.nparts && rc == 0; h++)
        rc = place_part(p, h, err);
    if (rc != 0)
        return rc;
    note_uneven(p, p->cfg->train.shards * p->cfg->train.accumulate);
    if (p->plan.nparts > 1) {
        note_idle_hosts(p);
        note_slow_hosts(p);
        note_other_gpus(p);
    }
    return 0;
}

int ddp_launch_plan_hosts(const struct ddp_hosts *hosts, const struct ddp_launch_site *site,
                          const struct ddp_options *opt, const struct ddp_config *cfg,
                          struct ddp_launch_plan *out, struct ddp_error *err)
{
    char none[] = "";
    struct ddp_host unnamed = {.name = none, .gpus = -1};
    const struct ddp_hosts this_one = {.n = 1, .host = &unnamed, .allocated = true};
    struct planner p = {.hosts = hosts->n > 0 ? hosts : &this_one, .site = site, .opt = opt, .cfg = cfg};
    p.units = ddp_calloc((size_t)p.hosts->n, sizeof *p.units);
    const int rc = make(&p, err);
    free(p.units);
    free(p.host_of);
    if (rc != 0)
        ddp_launch_plan_finish(&p.plan);
    else
        *out = p.plan;
    return rc;
}

void ddp_launch_plan_finish(struct ddp_launch_plan *plan)
{
    for (int h = 0; h < plan->nparts; h++) {
        ddp_placement_destroy(plan->part[h].placement);
        free(plan->part[h].rank);
        free(plan->part[h].host);
    }
    free(plan->part);
    free(plan->spot);
    *plan = (struct ddp_launch_plan){0};
}
