/* Which transport the process was started for. */
#include <stdlib.h>
#include <string.h>

#include "base/plugin.h"
#include "comm/transport.h"

int ddp_comm_launched(struct ddp_error *err)
{
    /* Open MPI's mpirun; MPICH's and Intel's hydra, srun --mpi=pmi2; Slurm and PRRTE with PMIx give a rank
     * only */
    static const char *const sizes[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"};
    static const char *const ranks[] = {"PMIX_RANK", "PMI_RANK", "PMI_FD"};
    for (size_t i = 0; i < DDP_COUNT(sizes); i++) {
        const char *text = getenv(sizes[i]);
        int64_t n;
        if (text == NULL)
            continue;
        if (!ddp_parse_int(text, &n) || n < 1 || n > 1000000)
            return ddp_fail(err, DDP_E_COMM, "environment variable %s=\"%s\" is not a number of ranks",
                            sizes[i], text);
        return (int)n;
    }
    for (size_t i = 0; i < DDP_COUNT(ranks); i++)
        if (getenv(ranks[i]) != NULL)
            return 0;

    const char *tasks =
        getenv("SLURM_STEP_NUM_TASKS"); /* set by srun in a step's tasks, not in batch scripts */
    if (tasks != NULL && strcmp(tasks, "1") != 0)
        return ddp_fail(
            err, DDP_E_COMM,
            "srun started %s tasks without telling them of each other, so each would train alone: use "
            "'srun --mpi=pmix' ('srun --mpi=list' shows what there is), or mpirun",
            tasks);
    return 1;
}

/* Ranks that ddp-launch started itself: how many, 0 where it did not. */
static int read_own(int *rank, struct ddp_error *err)
{
    const char *ranks = getenv("DDP_RANKS"), *mine = getenv("DDP_RANK");
    int64_t n, r;
    if (ranks == NULL)
        return 0;
    if (!ddp_parse_int(ranks, &n) || mine == NULL || !ddp_parse_int(mine, &r) || n < 1 || r < 0 || r >= n ||
        n > DDP_COMM_NODE_RANKS)
        return ddp_fail(err, DDP_E_COMM,
                        "environment variables DDP_RANK=\"%s\", DDP_RANKS=\"%s\" are no rank and number of "
                        "ranks; ddp-launch sets them for its ranks: unset both",
                        mine ? mine : "", ranks);
    *rank = (int)r;
    return (int)n;
}

int ddp_comm_announced_local_rank(void)
{
    /* ddp-launch, Open MPI, hydra; srun, also where MPI's launcher runs in a task of it */
    static const char *const names[] = {"DDP_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID",
                                        "SLURM_LOCALID"};
    for (size_t i = 0; i < DDP_COUNT(names); i++) {
        const char *text = getenv(names[i]);
        int64_t n;
        if (text != NULL && ddp_parse_int(text, &n) && n >= 0 && n < 1000000)
            return (int)n;
    }
    return -1;
}

/* MPI's own plug-ins look for its symbols among all: global. */
static const struct ddp_plugin mpi_plugin = {
    .what = "MPI plug-in",
    .file = "libddp_mpi.so",
    .variable = "DDP_MPI_PLUGIN",
    .entry = DDP_COMM_ENTRY,
    .version = DDP_COMM_PLUGIN_VERSION,
    .global = true,
    .missing =
        "A launcher of MPI started this program, so its ranks meet over MPI. Install it beside ddp (it is "
        "built with ddp), name it in DDP_MPI_PLUGIN, or start one rank without mpirun or srun",
    .broken = "Is the MPI that it was built with where the loader looks (LD_LIBRARY_PATH, modules)?",
};

/* The ranks that a plug-in's launcher started. */
static int join(int *argc, char ***argv, struct ddp_comm **out, struct ddp_error *err)
{
    const void *table = NULL;
    void *self = NULL;
    int rank = 0, size = 0, code = ddp_plugin_open(&mpi_plugin, &table, err);
    if (code != 0)
        return code;
    const struct ddp_comm_plugin *plugin = table;
    const double begun = ddp_pulse_wait_begin(DDP_WAIT_MEETING, 0);
    code = plugin->create(argc, argv, ddp_lifeline_meet, &self, &rank, &size, err);
    ddp_pulse_wait_end(begun);
    if (code != 0)
        return code;
    struct ddp_comm *c = NULL;
    code = ddp_comm_wrap(plugin->ops, self, rank, size, &c, err);
    if (code != 0) {
        plugin->ops->destroy(self);
        return code;
    }
    code = ddp_comm_look_around(c, err);
    if (code != 0)
        ddp_comm_destroy(c);
    else
        *out = c;
    return code;
}

/* The ranks that ddp-launch started itself. */
static int meet(int rank, int size, struct ddp_comm **out, struct ddp_error *err)
{
    if (size == 1)
        return ddp_comm_self_create(out, err);
    const int memory = ddp_lifeline_memory();
    if (memory < 0)
        return ddp_fail(err, DDP_E_COMM,
                        "DDP_RANKS=%d says that ddp-launch started this process, but no ddp-launch answers: "
                        "unset DDP_RANK and DDP_RANKS, or start the ranks by ddp-launch",
                        size);
    return ddp_comm_node_create(memory, rank, size, out, err);
}

int ddp_comm_world_create(int *argc, char ***argv, struct ddp_comm **out, struct ddp_error *err)
{
    int rank = 0, own = read_own(&rank, err);
    if (own < 0)
        return own;
    if (own > 0)
        return meet(rank, own, out, err);
    int ranks = ddp_comm_launched(err);
    if (ranks < 0)
        return ranks;
    return ranks == 1 ? ddp_comm_self_create(out, err) : join(argc, argv, out, err);
}
