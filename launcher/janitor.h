/* A small process that outlives the launcher: however the launcher ends, the janitor sees it on a pipe, kills
 * what is left of the job, removes its folder and closes the record of its run. */
#ifndef DDP_LAUNCHER_JANITOR_H
#define DDP_LAUNCHER_JANITOR_H

#include <sys/types.h>

#include "launcher/job.h"

struct ddp_janitor {
    struct ddp_job *job;
    pid_t pid;
    int life; /* write end of the pipe; closes with the launcher */
};

/* Fork it. From then on job->record tells it of a record, which it closes `patience` seconds after our end:
 * there may be somebody who knows better why. Call after ddp_job_locate and before anything is made or
 * started: what it is to clean up must not exist without it, not even for the moment in which a signal may
 * end the launcher. */
int ddp_janitor_start(struct ddp_job *job, int patience, struct ddp_janitor *out, struct ddp_error *err);
/* All is cleaned up: let it go and wait for it. */
void ddp_janitor_dismiss(struct ddp_janitor *j);
/* The job has not ended well: somebody elsewhere may still be starting something of it here, so it stays and
 * cleans up for some seconds more. Does not wait for it. */
void ddp_janitor_linger(struct ddp_janitor *j);
/* Leave it the record to close, and what else there is of the job: it does as if this process had died. */
void ddp_janitor_leave(struct ddp_janitor *j);

#endif
