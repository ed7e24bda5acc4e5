/* The hosts that a scheduler gave to the job that this process runs in. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/hosts_flux.h"
#include "launcher/hosts_add.h"

/* ---- LSF ------------------------------------------------------------------------------------- */

/* "n0 4 n1 2" */
static int read_pairs(const char *text, struct ddp_hosts_adder *a, struct ddp_error *err)
{
    const char *at = text;
    while (*(at += strspn(at, " "))) {
        struct ddp_words names = {0};
        int64_t slots = 0;
        int rc = ddp_hostlist_item(text, &at, &names, err);
        at += strspn(at, " ");
        if (rc == 0)
            rc = ddp_hosts_read_slots(text, &at, &slots, err);
        if (rc == 0)
            rc = ddp_hosts_add_all(a, &names, slots, err);
        ddp_words_finish(&names);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* "n0 n0 n1" */
static int read_names(const char *text, struct ddp_hosts_adder *a, struct ddp_error *err)
{
    const char *at = text;
    while (*(at += strspn(at, " "))) {
        struct ddp_words names = {0};
        int rc = ddp_hostlist_item(text, &at, &names, err);
        if (rc == 0)
            rc = ddp_hosts_add_all(a, &names, 1, err);
        ddp_words_finish(&names);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* A line for each slot in the file; the file may lie on another host's disk; the list of names is missing
 * where it would be long. */
static int read_lsf(const char *const *env, struct ddp_hosts *out, struct ddp_error *err)
{
    const char *file = ddp_hosts_env(env, "LSB_DJOB_HOSTFILE"), *pairs = ddp_hosts_env(env, "LSB_MCPU_HOSTS"),
               *names = ddp_hosts_env(env, "LSB_HOSTS");
    struct ddp_hosts_adder a = {0};
    int rc;
    if (file && (ddp_path_exists(file) || (!pairs && !names))) {
        if ((rc = ddp_hosts_read_lines(file, &a, err)) != 0)
            ddp_error_prefix(err, "LSB_DJOB_HOSTFILE");
    } else if (pairs) {
        if ((rc = read_pairs(pairs, &a, err)) != 0)
            ddp_error_prefix(err, "LSB_MCPU_HOSTS=%.60s", pairs);
    } else {
        if ((rc = read_names(names, &a, err)) != 0)
            ddp_error_prefix(err, "LSB_HOSTS=%.60s", names);
    }
    if (rc != 0) {
        ddp_hosts_drop(&a);
        return rc;
    }
    ddp_hosts_added(&a, out);
    for (int i = 0; i < out->n; i++) { /* LSF's slots are cores: how many ranks they make is ours to say */
        out->host[i].cpus = out->host[i].slots ? out->host[i].slots : 1;
        out->host[i].slots = 0;
    }
    snprintf(out->from, sizeof out->from, "LSF job %.32s", ddp_hosts_env(env, "LSB_JOBID"));
    return 0;
}

/* ---- PBS ------------------------------------------------------------------------------------- */

static int read_pbs(const char *const *env, struct ddp_hosts *out, struct ddp_error *err)
{
    const char *file = ddp_hosts_env(env, "PBS_NODEFILE"), *job = ddp_hosts_env(env, "PBS_JOBID"),
               *cpus = ddp_hosts_env(env, "NCPUS");
    struct ddp_hosts_adder a = {0};
    const int rc = ddp_hosts_read_lines(file, &a, err);
    if (rc != 0) {
        ddp_hosts_drop(&a);
        return ddp_error_prefix(err, "PBS_NODEFILE (name the hosts with -H, or unset it outside of a job)");
    }
    ddp_hosts_added(&a, out);
    for (int i = 0; i < out->n; i++) /* a line for each process */
        out->host[i].slots = out->host[i].slots ? out->host[i].slots : 1;
    if (out->n == 1 && cpus && atoi(cpus) > 0 && atoi(cpus) <= DDP_SLOTS_MAX)
        out->host[0].cpus = atoi(cpus);
    snprintf(out->from, sizeof out->from, "PBS job %.32s", job ? job : "?");
    return 0;
}

/* ---- Flux ------------------------------------------------------------------------------------ */

static int read_flux(const char *const *env, struct ddp_hosts *out, struct ddp_error *err)
{
    (void)env;
    const int rc = ddp_flux_ask(out, err);
    if (rc == 0)
        snprintf(out->from, sizeof out->from, "Flux instance");
    return rc;
}

/* ---- the face -------------------------------------------------------------------------------- */

/* All variables of a row are set in a job of that scheduler, or of one of the rows. Flux first: it is started
 * inside jobs of the others. */
static const struct {
    const char *variable[2];
    int (*read)(const char *const *env, struct ddp_hosts *out, struct ddp_error *err);
} schedulers[] = {
    {{"FLUX_URI", "FLUX_URI"}, read_flux},
    {{"SLURM_JOB_ID", "SLURM_JOB_NODELIST"}, ddp_hosts_of_slurm},
    {{"LSB_JOBID", "LSB_DJOB_HOSTFILE"}, read_lsf},
    {{"LSB_JOBID", "LSB_MCPU_HOSTS"}, read_lsf},
    {{"LSB_JOBID", "LSB_HOSTS"}, read_lsf},
    {{"PBS_JOBID", "PBS_NODEFILE"}, read_pbs},
};

int ddp_hosts_allocated(const char *const *env, struct ddp_hosts *out, struct ddp_error *err)
{
    struct ddp_hosts hosts = {0};
    for (size_t i = 0; i < DDP_COUNT(schedulers); i++)
        if (ddp_hosts_env(env, schedulers[i].variable[0]) && ddp_hosts_env(env, schedulers[i].variable[1])) {
            const int rc = schedulers[i].read(env, &hosts, err);
            if (rc != 0)
                return rc;
            break;
        }
    hosts.allocated = hosts.n > 0;
    *out = hosts;
    return 0;
}
