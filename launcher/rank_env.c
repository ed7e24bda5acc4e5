/* What a rank's environment is made of, and the step between a starter's program and the rank. */
#include "launcher/rank_env.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST = 1 << 24 };

extern char **environ;

static bool begins(const char *entry, const char *prefix)
{
    return strncmp(entry, prefix, strlen(prefix)) == 0;
}

bool ddp_rank_env_travels(const char *entry)
{
    /* a name ends with '=', a prefix does not */
    static const char *const stays[] = {"HOSTNAME=",
                                        "HOST=",
                                        "HOME=",
                                        "USER=",
                                        "LOGNAME=",
                                        "SHELL=",
                                        "MAIL=",
                                        "PWD=",
                                        "OLDPWD=",
                                        "SHLVL=",
                                        "_=",
                                        "TERM=",
                                        "DISPLAY=",
                                        "XAUTHORITY=",
                                        "KRB5CCNAME=",
                                        "SSH_",
                                        "XDG_",
                                        "DBUS_",
                                        "SLURM_",
                                        "SLURMD_",
                                        "SBATCH_",
                                        "SRUN_",
                                        "OMPI_",
                                        "OPAL_",
                                        "ORTE_",
                                        "PMIX_",
                                        "PMI_",
                                        "PRTE_",
                                        "HYDRA_",
                                        "MPI_LOCAL",
                                        "LSB_",
                                        "LS_",
                                        "LSF_",
                                        "PBS_",
                                        "FLUX_",
                                        "CUDA_VISIBLE_DEVICES=",
                                        "GPU_DEVICE_ORDINAL=",
                                        "ROCR_VISIBLE_DEVICES=",
                                        "DDP_RANK=",
                                        "DDP_RANKS=",
                                        "DDP_LIFELINE=",
                                        "DDP_AGENT_TOKEN="};
    for (size_t i = 0; i < DDP_COUNT(stays); i++)
        if (begins(entry, stays[i]))
            return false;
    return strchr(entry, '=') != NULL;
}

void ddp_rank_env_collect(struct ddp_words *out)
{
    for (char **e = environ; *e; e++)
        if (ddp_rank_env_travels(*e))
            ddp_words_add(out, "%s", *e);
}

int ddp_rank_env_write(const struct ddp_job *job, struct ddp_error *err)
{
    char path[PATH_MAX + 16];
    snprintf(path, sizeof path, "%s/environ", job->dir);
    FILE *f = fopen(path, "wex");
    bool written = f != NULL;
    for (int i = 0; i < job->env.n && written; i++)
        written = fwrite(job->env.w[i], strlen(job->env.w[i]) + 1, 1, f) == 1;
    if (f && fclose(f) != 0)
        written = false;
    return written ? 0 : ddp_fail(err, DDP_E_RESOURCE, "%s: cannot be written: %s", path, strerror(errno));
}

int ddp_rank_main(int argc, char **argv)
{
    char path[PATH_MAX + 16];
    char *data = NULL; /* stays: the environment points into it */
    size_t n = 0;
    struct ddp_error err = {0};
    if (argc < 2) {
        fprintf(stderr, "ddp-launch: --rank is what ddp-launch starts ranks with; it is of no use by hand\n");
        return DDP_EXIT_USAGE;
    }
    snprintf(path, sizeof path, "%s/environ", argv[0]);
    if (ddp_file_read(path, MOST, &data, &n, &err) != 0) {
        fprintf(stderr, "ddp-launch: %s\n", err.text);
        return DDP_EXIT_RESOURCE;
    }
    for (char *e = data; e < data + n; e += strlen(e) + 1)
        if (strchr(e, '='))
            putenv(e);
        else
            unsetenv(e);
    execvp(argv[1], argv + 1);
    fprintf(stderr, "ddp-launch: %s cannot be started: %s\n", argv[1], strerror(errno));
    return DDP_EXIT_RESOURCE;
}
