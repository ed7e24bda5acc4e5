/* Job scripts for batch systems: what a user would write by hand from a config and a few wishes. A script
 * runs ddp-launch with --resume auto in the job's allocation, and turns the end of its time into a stop at a
 * checkpoint (exit code 75) and another turn in the queue:
 *
 *   Slurm   --signal=B:USR1 to the script, which passes it on and calls `scontrol requeue`
 *   LSF     USR2 (-wa) to every process of the job; -Q 75 puts it into the queue again
 *
 * What ends a job otherwise (scancel, a preemption, `scontrol requeue`) reaches the launcher as SIGTERM from
 * the batch system itself, and is a stop at a checkpoint too. */
#ifndef DDP_LAUNCHER_BATCH_H
#define DDP_LAUNCHER_BATCH_H

#include "launcher/words.h"

/* What the command line asks for. Strings borrowed; NULL and 0: not asked for. */
struct ddp_batch_wishes {
    const char *system; /* "slurm" or "lsf"; NULL: no script is wanted */
    bool submit;
    const char *partition, *account; /* LSF: queue, project */
    int minutes;                     /* of wall time */
    int nodes, gpus_per_node;
    struct ddp_words lines; /* more options of the batch system, as they stand behind #SBATCH or #BSUB */
};

/* What the script starts. Borrowed. */
struct ddp_batch_job {
    const char *name, *folder, *program; /* of the job; where it runs; the file of ddp-launch */
    const char *log_folder;              /* for what it prints */
    int ranks, threads;                  /* 0: not said */
    const struct ddp_words *words;       /* of the command behind the program */
};

/* "90" (minutes), "02:00:00", "1-12:00:00" -> whole minutes, rounded up. DDP_E_USAGE. */
int ddp_batch_minutes(const char *text, int *minutes, struct ddp_error *err);

/* Whether a batch system of that name is known. */
bool ddp_batch_known(const char *name);

/* The script, added to out (initialised). DDP_E_USAGE: wishes that contradict each other or the job. */
int ddp_batch_script(const struct ddp_batch_wishes *w, const struct ddp_batch_job *job, struct ddp_text *out,
                     struct ddp_error *err);

/* Hand the script to sbatch or bsub, which print the job's number. DDP_E_RESOURCE: it is not there or
 * refuses. */
int ddp_batch_submit(const struct ddp_batch_wishes *w, const char *script, struct ddp_error *err);

#endif
