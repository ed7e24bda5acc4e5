/* What the head makes of the looks at ranks that agents tell it: who stands still (watch.h), who is slow
 * (slow.h), and what is to be done about it. */
#ifndef DDP_LAUNCHER_PULSES_H
#define DDP_LAUNCHER_PULSES_H

#include "launcher/agent.h"
#include "launcher/slow.h"
#include "launcher/watch.h"

struct ddp_pulses {
    struct ddp_watch watch;
    struct ddp_slow slow;
    double judged; /* when, last */
};

struct ddp_finding {
    enum {
        DDP_FINDING_STUCK, /* what the user is told, also when quiet */
        DDP_FINDING_SLOW,  /* what the user is told */
        DDP_FINDING_NOTE,  /* slow: newer numbers for the records */
        DDP_FINDING_END,   /* the job is to be ended for it */
        DDP_FINDING_DONE,  /* the job is done, and is to be ended for that */
    } kind;
    int rank;                  /* text stands behind "rank R on HOST "; -1: is of all ranks */
    struct ddp_slow_rank slow; /* SLOW, NOTE: without its host */
    char text[1024];
};

/* stuck_after: launch.stuck_after. */
void ddp_pulses_init(struct ddp_pulses *p, int ranks, double stuck_after);
void ddp_pulses_finish(struct ddp_pulses *p);
/* News of kind PULSE. */
void ddp_pulses_take(struct ddp_pulses *p, const struct ddp_news *n);
void ddp_pulses_left(struct ddp_pulses *p, int rank); /* it has ended */
void ddp_pulses_done(struct ddp_pulses *p);           /* all have said goodbye */
/* The next thing that was found at `now`; false: none. */
bool ddp_pulses_next(struct ddp_pulses *p, double now, struct ddp_finding *out);

#endif
