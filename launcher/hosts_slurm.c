/* The hosts of a job of Slurm: its variables, for the whole job or for each of its components. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/hosts_add.h"

/* ---- counts ---------------------------------------------------------------------------------- */

static int read_count(const char *text, const char **at, long *out, struct ddp_error *err)
{
    char *end;
    *out = strtol(*at, &end, 10);
    if (end == *at || **at < '0' || **at > '9' || *out < 0 || *out > DDP_SLOTS_MAX)
        return ddp_hostlist_fail(err, text, *at,
                                 "a number from 0 to %d is missing; counts of Slurm look like "
                                 "4(x2),3",
                                 DDP_SLOTS_MAX);
    *at = end;
    return 0;
}

/* "4(x2),3" to 4 4 3 in out[n]. *found: how many there are, which may be more or fewer than n. */
static int read_counts(const char *text, int n, int *out, long *found, struct ddp_error *err)
{
    const char *at = text;
    *found = 0;
    for (;;) {
        long value, times = 1;
        int rc = read_count(text, &at, &value, err);
        if (rc == 0 && strncmp(at, "(x", 2) == 0) {
            at += 2;
            rc = read_count(text, &at, &times, err);
            if (rc == 0 && *at++ != ')')
                rc = ddp_hostlist_fail(err, text, at - 1, "')' is missing, as in 4(x2)");
        }
        if (rc != 0)
            return rc;
        for (long k = 0; k < times; k++, ++*found)
            if (*found < n)
                out[*found] = (int)value;
        if (*at == '\0')
            return 0;
        if (*at++ != ',')
            return ddp_hostlist_fail(err, text, at - 1, "counts are parted by commas, as in 4(x2),3");
    }
}

/* A variable with a count for each host. Those of a step are for the step's hosts: not ours when there are
 * fewer or more. */
static int counts_of(const char *const *env, const char *name, int n, int *out, bool *known,
                     struct ddp_error *err)
{
    const char *text = ddp_hosts_env(env, name);
    long found = 0;
    const int rc = text ? read_counts(text, n, out, &found, err) : 0;
    *known = text && found == n;
    return rc ? ddp_error_prefix(err, "%s=%.60s", name, text) : 0;
}

/* "4", "a100:4", "a100:2,v100:1": GPUs of each host; -1 not said. */
static int gpus_per_node(const char *text)
{
    int n = text ? 0 : -1;
    while (text) {
        const size_t len = strcspn(text, ",");
        const char *colon = memchr(text, ':', len), *number = colon ? colon + 1 : text;
        n += *number >= '0' && *number <= '9' && atoi(number) <= DDP_SLOTS_MAX ? atoi(number) : 0;
        text = text[len] ? text + len + 1 : NULL;
    }
    return n;
}

/* ---- the hosts --------------------------------------------------------------------------------- */

/* One component of a job; group "" or, in a heterogeneous job, "_HET_GROUP_2". */
static int read_component(const char *const *env, const char *group, struct ddp_hosts_adder *a,
                          struct ddp_error *err)
{
    char name[64];
    struct ddp_words names = {0};
    snprintf(name, sizeof name, "SLURM_JOB_NODELIST%s", group);
    const char *list = ddp_hosts_env(env, name);
    if (!list)
        return ddp_fail(err, DDP_E_USAGE,
                        "%s is not set in a job of several components; name the hosts with -H", name);
    int rc = ddp_hostlist_expand(list, &names, err);
    if (rc != 0)
        ddp_error_prefix(err, "%s=%.60s", name, list);
    int *tasks = ddp_calloc((size_t)names.n + 1, sizeof *tasks),
        *cpus = ddp_calloc((size_t)names.n + 1, sizeof *cpus);
    bool tasks_known = false, cpus_known = false;
    snprintf(name, sizeof name, "SLURM_JOB_CPUS_PER_NODE%s", group);
    if (rc == 0)
        rc = counts_of(env, name, names.n, cpus, &cpus_known, err);
    snprintf(name, sizeof name, "SLURM_TASKS_PER_NODE%s", group);
    if (rc == 0)
        rc = counts_of(env, name, names.n, tasks, &tasks_known, err);
    /* who asked for no number of tasks has one for each CPU there, which says nothing */
    tasks_known =
        tasks_known && (ddp_hosts_env(env, "SLURM_NTASKS") || ddp_hosts_env(env, "SLURM_NTASKS_PER_NODE"));
    snprintf(name, sizeof name, "SLURM_GPUS_PER_NODE%s", group);
    const int gpus = gpus_per_node(ddp_hosts_env(env, name));
    for (int i = 0; i < names.n && rc == 0; i++) {
        const int known = a->hosts.n;
        rc = ddp_hosts_add(a, names.w[i], tasks_known ? tasks[i] : 0, err);
        if (rc != 0 || a->hosts.n == known)
            continue; /* a host of two components: as the first says */
        a->hosts.host[known].cpus = cpus_known ? cpus[i] : 0;
        a->hosts.host[known].gpus = gpus;
    }
    free(cpus);
    free(tasks);
    ddp_words_finish(&names);
    return rc;
}

int ddp_hosts_of_slurm(const char *const *env, struct ddp_hosts *out, struct ddp_error *err)
{
    const char *size = ddp_hosts_env(env, "SLURM_HET_SIZE"), *here = ddp_hosts_env(env, "SLURMD_NODENAME"),
               *job = ddp_hosts_env(env, "SLURM_JOB_ID"), *gpus = ddp_hosts_env(env, "SLURM_GPUS_ON_NODE");
    const int groups = size && atoi(size) > 1 && atoi(size) <= DDP_HOSTS_MAX ? atoi(size) : 0;
    struct ddp_hosts_adder a = {0};
    int rc = groups ? 0 : read_component(env, "", &a, err);
    for (int g = 0; g < groups && rc == 0; g++) {
        char group[32];
        snprintf(group, sizeof group, "_HET_GROUP_%d", g);
        rc = read_component(env, group, &a, err);
    }
    if (rc != 0) {
        ddp_hosts_drop(&a);
        return rc;
    }
    ddp_hosts_added(&a, out);
    for (int i = 0; i < out->n && gpus; i++) /* this one says it of this host only */
        if (out->host[i].gpus < 0 && (out->n == 1 || (here && strcmp(out->host[i].name, here) == 0)))
            out->host[i].gpus = gpus_per_node(gpus);
    snprintf(out->from, sizeof out->from, "Slurm job %.32s", job ? job : "?");
    return 0;
}
