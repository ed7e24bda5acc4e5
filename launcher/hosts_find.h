/* Which hosts a job is for. */
#ifndef DDP_LAUNCHER_HOSTS_FIND_H
#define DDP_LAUNCHER_HOSTS_FIND_H

#include "launcher/hosts.h"
#include "launcher/options.h"

/* Those of -H or --hostfile, else of the scheduler's job that `env` is from, else none: out->n = 0. */
int ddp_hosts_find(const struct ddp_options *opt, const char *const *env, struct ddp_hosts *out,
                   struct ddp_error *err);

/* Take the host of that name out, if it is there. */
void ddp_hosts_remove(struct ddp_hosts *hosts, const char *name);

/* For a starter that knows this host only, called `self`: DDP_E_USAGE when a list names another one. Of a
 * scheduler's hosts only this one is kept, and *note (of size bytes) says so; "" nothing to say. */
int ddp_hosts_keep_self(struct ddp_hosts *hosts, const char *self, char *note, int size,
                        struct ddp_error *err);

#endif
