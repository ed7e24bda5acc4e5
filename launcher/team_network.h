/* The network of a team: all hosts that compute try each other, at once. */
#ifndef DDP_LAUNCHER_TEAM_NETWORK_H
#define DDP_LAUNCHER_TEAM_NETWORK_H

#include "launcher/network.h"
#include "launcher/team.h"

/* Find the network of the hosts that .facts say compute. wanted: comm.interface. full: also measure every
 * pair, and add a line for each to *table (NULL: no table). Faults are lines with host and way out. */
int ddp_team_connect(struct ddp_team *team, const char *wanted, bool full, struct ddp_text *table,
                     struct ddp_text *faults, struct ddp_error *err);

#endif
