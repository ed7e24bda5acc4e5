/* From the command line and the environment to the hosts of a job. */
#include "launcher/hosts_find.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int ddp_hosts_find(const struct ddp_options *opt, const char *const *env, struct ddp_hosts *out,
                   struct ddp_error *err)
{
    if (opt->hosts)
        return ddp_hosts_parse(opt->hosts, out, err);
    if (opt->hostfile)
        return ddp_hosts_read(opt->hostfile, out, err);
    return ddp_hosts_allocated(env, out, err);
}

void ddp_hosts_remove(struct ddp_hosts *hosts, const char *name)
{
    int kept = 0;
    for (int i = 0; i < hosts->n; i++)
        if (strcmp(hosts->host[i].name, name) == 0)
            free(hosts->host[i].name);
        else
            hosts->host[kept++] = hosts->host[i];
    hosts->n = kept;
}

int ddp_hosts_keep_self(struct ddp_hosts *hosts, const char *self, char *note, int size,
                        struct ddp_error *err)
{
    int other = -1, own = -1;
    *note = '\0';
    for (int i = 0; i < hosts->n; i++)
        if (ddp_host_is_self(hosts->host[i].name, self))
            own = own < 0 ? i : own;
        else
            other = other < 0 ? i : other;
    if (other < 0 && hosts->n <= 1)
        return 0;
    if (!hosts->allocated)
        return ddp_fail(err, DDP_E_USAGE,
                        "%s: this is %s, and --starter local starts no ranks on other hosts (%s): take "
                        "--starter auto, mpirun or srun, or name this host alone",
                        hosts->from, self, hosts->host[other < 0 ? 1 : other].name);
    snprintf(note, (size_t)size,
             "%s has %d host%s, and --starter local starts ranks on this one only (%s): it runs here alone",
             hosts->from, hosts->n, hosts->n == 1 ? "" : "s", self);
    if (own > 0) {
        const struct ddp_host mine = hosts->host[own];
        hosts->host[own] = hosts->host[0];
        hosts->host[0] = mine;
    }
    for (int i = own < 0 ? 0 : 1; i < hosts->n; i++)
        free(hosts->host[i].name);
    hosts->n = own < 0 ? 0 : 1;
    if (hosts->n == 0) {
        free(hosts->host);
        hosts->host = NULL;
    }
    return 0;
}
