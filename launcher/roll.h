/* The roll call of a job on several hosts: how many ranks each has sent, and who keeps the others waiting. An
 * agent cannot know that a rank of its host will never come; where all wait for it, the head can. Pure. */
#ifndef DDP_LAUNCHER_ROLL_H
#define DDP_LAUNCHER_ROLL_H

#include "base/base.h"

struct ddp_roll {
    int ranks, joined;
    double last;                /* when the last one came; 0: none has */
    const char *const *host_of; /* [ranks]; NULL: all on one host, nothing is called */
    int *come; /* [ranks] at the index of the first rank of a host: those of it that have joined */
};

void ddp_roll_init(struct ddp_roll *roll, int ranks, const char *const *host_of);
void ddp_roll_finish(struct ddp_roll *roll);
/* A rank has joined on `host` at `now`. */
void ddp_roll_join(struct ddp_roll *roll, const char *host, double now);
/* So many seconds, in which everything was paused, do not count. */
void ddp_roll_skip_time(struct ddp_roll *roll, double seconds);
/* When those that have come will have waited long enough for the others; HUGE_VAL: nobody waits. */
double ddp_roll_due(const struct ddp_roll *roll);
/* The first host that has not sent all its ranks: its name, and "1 of 2 ranks did not report ..". */
const char *ddp_roll_explain(const struct ddp_roll *roll, char *buf, size_t size);

#endif
