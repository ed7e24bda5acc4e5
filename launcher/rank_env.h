/* The environment of ranks that a starter's program starts on several hosts: the user's own, with what the
 * launcher has to say, in a file of the job's folder on each host. Programs that start processes elsewhere
 * forward what they are told to, each in its own way and not all values; a file holds them all. What the host
 * and its scheduler say about themselves stays as it is there. */
#ifndef DDP_LAUNCHER_RANK_ENV_H
#define DDP_LAUNCHER_RANK_ENV_H

#include "launcher/job.h"

#define DDP_RANK_OPTION "--rank"

/* Whether a variable of the head's environment is for other hosts, too: not what names a host, a terminal or
 * a session, nor what schedulers and MPI's launchers set. */
bool ddp_rank_env_travels(const char *entry);
/* Our environment, as far as it travels, added to words as NAME=VALUE. */
void ddp_rank_env_collect(struct ddp_words *out);

/* job->env into the job's folder on this host. */
int ddp_rank_env_write(const struct ddp_job *job, struct ddp_error *err);

/* "ddp-launch --rank FOLDER PROGRAM ARGS..": take over the folder's environment and become PROGRAM. argv: the
 * words behind --rank, ends with NULL. Returns only when it cannot, with the exit status. */
int ddp_rank_main(int argc, char **argv);

#endif
