/* Above launch.fanout hosts the head does not talk to all of them itself: it would hold a connection to each
 * and read each one's news. The first ones pass on what the others say and are told (branch.h).
 *
 *     fanout 2:   head --- a --- c
 *                    |      `--- e
 *                    `---- b --- d
 *
 * A host that does not reach the one it should be behind keeps its own connection. When one is lost that
 * others are behind, these are lost to the head as well, and the job ends as it does for any host; only the
 * one that is really gone is named, and left out by --restarts. */
#ifndef DDP_LAUNCHER_TEAM_SPREAD_H
#define DDP_LAUNCHER_TEAM_SPREAD_H

#include "launcher/team.h"

/* computes: [n] indices of the team's hosts that have ranks and an agent, in the order in which the head
 * hears them. through: [n] filled in, which of computes (its place there) each is heard through; -1: none.
 * Errors: an agent that is lost. */
int ddp_team_spread(struct ddp_team *team, const int *computes, int n, int fanout, int *through,
                    struct ddp_error *err);

#endif
