/* Which starter a job has. */
#include "launcher/starter.h"

#include <stdlib.h>
#include <string.h>

const struct ddp_starter *ddp_starter_find(const char *name)
{
    static const struct {
        const char *name;
        const struct ddp_starter *starter;
    } known[] = {{"local", &ddp_starter_local}, {"mpirun", &ddp_starter_mpirun}, {"srun", &ddp_starter_srun}};
    for (size_t i = 0; i < DDP_COUNT(known); i++)
        if (strcmp(known[i].name, name) == 0)
            return known[i].starter;
    return NULL;
}

bool ddp_starter_known(const char *name)
{
    return strcmp(name, "auto") == 0 || ddp_starter_find(name) != NULL;
}

const struct ddp_starter *ddp_starter_choose(const char *name, bool others)
{
    if (name && strcmp(name, "auto") != 0)
        return ddp_starter_find(name);
    if (!others)
        return &ddp_starter_local;
    return getenv("SLURM_JOB_ID") && ddp_starter_srun.check(NULL) == 0 ? &ddp_starter_srun
                                                                       : &ddp_starter_mpirun;
}
