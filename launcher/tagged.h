/* Processes of a job on this host, found by a tag and not by name or number: whoever was started with
 * DDP_LIFELINE=NAME in its environment belongs to the job, whatever became of its parents; and of the
 * daemons of MPI's launcher, which are started by ssh without an environment, those that were given the
 * job's folder. */
#ifndef DDP_LAUNCHER_TAGGED_H
#define DDP_LAUNCHER_TAGGED_H

#include <stdbool.h>
#include <sys/types.h>

/* SIGKILL every living process of the job (not the caller); helpers: only daemons of MPI's launcher and
 * what it has called them by, not what a rank has started to outlive it. Returns how many there were. */
int ddp_tagged_kill(const char *job_name, bool helpers);
/* Those of them that somebody has stopped: the first `most`. Returns how many of pid are filled. */
int ddp_tagged_halted(const char *job_name, pid_t *pid, int most);
/* Whether a process is a daemon of MPI's launcher, by its name. */
bool ddp_is_daemon(pid_t pid);

#endif
