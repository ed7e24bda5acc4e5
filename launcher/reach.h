/* Which hosts reach which, at which addresses, and how fast: each host answers on a port of its own and tries
 * all others. Who answers says its name, as other hosts may have the same address for themselves (bridges of
 * containers do). */
#ifndef DDP_LAUNCHER_REACH_H
#define DDP_LAUNCHER_REACH_H

#include <jansson.h>
#include <sys/types.h>

#include "base/base.h"

enum { DDP_REACH_NAME = 256 };

/* Answer for `host` until this process ends, or the answering one is killed: a process of its own. */
int ddp_reach_answer(const char *token, const char *host, pid_t *pid, int *port, struct ddp_error *err);

/* Try every address of every peer at once: peers [{host, port, addresses: [{address, ..}]}]. Returns {host:
 * [address ..]} of those that answered by the right name, within limit_s. A new reference. */
json_t *ddp_reach_try(const char *token, const json_t *peers, double limit_s);

struct ddp_reach_speed {
    double latency_s; /* there and back again, half of it */
    double bytes_s;   /* one way */
};
/* Between this host and the one that answers at address and port; about half a second. */
int ddp_reach_measure(const char *token, const char *address, int port, struct ddp_reach_speed *out,
                      struct ddp_error *err);

#endif
