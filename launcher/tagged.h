/* Processes of a job, found by the tag in their environment and not by name or number: whoever was started
 * with DDP_LIFELINE=NAME belongs to the job, whatever became of its parents. */
#ifndef DDP_LAUNCHER_TAGGED_H
#define DDP_LAUNCHER_TAGGED_H

/* SIGKILL every living process of the job (not the caller). Returns how many there were. */
int ddp_tagged_kill(const char *job_name);

#endif
