/* Ranks that are processes: on which host each runs, and how long it should poll. */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/transport.h"

enum { CPU_WORDS = CPU_SETSIZE / 64 };

/* What tells nodes apart, "NAME BOOT PIDS USER": the name, with a pseudo-node's; the boot's id, because
 * clones share names; the namespace of process numbers and the user, because memory is found through
 * /proc/PID/fd (segment.c): ranks in containers of their own on one host are nodes of their own. */
static void name_host(char name[DDP_COMM_HOST_BYTES])
{
    char host[200] = "", boot[40] = "";
    const char *pseudo = getenv("DDP_COMM_NODE");
    gethostname(host, sizeof host - 1);
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t n = read(fd, boot, sizeof boot - 1);
        boot[n > 0 ? n : 0] = '\0';
        boot[strcspn(boot, "\n")] = '\0';
        close(fd);
    }
    char pids[40] = "";
    const ssize_t len = readlink("/proc/self/ns/pid", pids, sizeof pids - 1);
    pids[len > 0 ? len : 0] = '\0';
    const bool is_pseudo = pseudo != NULL && *pseudo != '\0';
    memset(name, 0, DDP_COMM_HOST_BYTES);
    snprintf(name, DDP_COMM_HOST_BYTES, "%s%s%.60s %s %s %u", host, is_pseudo ? "/" : "",
             is_pseudo ? pseudo : "", boot, pids, (unsigned)geteuid());
}

int ddp_comm_spin(int size, int me, int words, const uint64_t *cpus)
{
    const uint64_t *mine = cpus + (size_t)me * (size_t)words;
    for (int cpu = 0; cpu < 64 * words; cpu++) {
        if (!(mine[cpu / 64] >> (cpu % 64) & 1))
            continue;
        double load = 0; /* a rank that may use k CPUs asks 1/k of each */
        for (int r = 0; r < size; r++) {
            const uint64_t *mask = cpus + (size_t)r * (size_t)words;
            int allowed = 0;
            for (int w = 0; w < words; w++)
                allowed += __builtin_popcountll(mask[w]);
            if (mask[cpu / 64] >> (cpu % 64) & 1)
                load += 1.0 / allowed;
        }
        if (load > 1.001)
            return 0;
    }
    return DDP_COMM_SPIN;
}

int ddp_comm_look_around(struct ddp_comm *c, struct ddp_error *err)
{
    struct place {
        char host[DDP_COMM_HOST_BYTES];
        uint64_t cpus[CPU_WORDS];
    } mine;
    memset(&mine, 0, sizeof mine);
    name_host(mine.host);
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
            mine.cpus[cpu / 64] |= (uint64_t)(CPU_ISSET(cpu, &set) != 0) << (cpu % 64);

    size_t n = (size_t)c->size;
    struct place *all = ddp_calloc(n, sizeof *all);
    char(*hosts)[DDP_COMM_HOST_BYTES] = ddp_calloc(n, sizeof *hosts);
    uint64_t *cpus = ddp_calloc(n, sizeof mine.cpus); /* of my machine's ranks */
    int code = ddp_comm_allgather(c, &mine, all, sizeof mine, err);
    if (code == 0) {
        for (size_t r = 0; r < n; r++)
            memcpy(hosts[r], all[r].host, sizeof hosts[r]);
        ddp_comm_cut(c, (const char(*)[DDP_COMM_HOST_BYTES])hosts);
        int here = 0, me = 0;
        for (int r = 0; r < c->size; r++) {
            if (c->at[c->node_of[r]].machine != c->at[c->node].machine)
                continue;
            me = r == c->rank ? here : me;
            memcpy(cpus + (size_t)here++ * CPU_WORDS, all[r].cpus, sizeof mine.cpus);
        }
        c->spin = ddp_comm_spin(here, me, CPU_WORDS, cpus);
    }
    free(cpus);
    free(hosts);
    free(all);
    return code;
}
