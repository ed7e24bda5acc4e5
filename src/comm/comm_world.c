/* Which transport the process was started for. */
#include <stdlib.h>
#include <string.h>

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

int ddp_comm_world_create(int *argc, char ***argv, struct ddp_comm **out, struct ddp_error *err)
{
    int ranks = ddp_comm_launched(err);
    if (ranks < 0)
        return ranks;
    return ranks == 1 ? ddp_comm_self_create(out, err) : ddp_comm_mpi_create(argc, argv, out, err);
}
