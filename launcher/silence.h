/* Agents of other hosts that are not heard any more although their host is there: somebody has stopped
 * them, or all of their host. What they have seen of their ranks is old, and they carry out no order. Pure:
 * it makes no system call and reads no clock.
 *
 *     warn  after  10 s; a third of stuck_after where that is less
 *     end   after  stuck_after (0: never), and three times the limit of the warning; 10 s when all end
 *
 * Of one that is heard through another nothing is said while the other is not heard either. */
#ifndef DDP_LAUNCHER_SILENCE_H
#define DDP_LAUNCHER_SILENCE_H

#include <stdbool.h>

struct ddp_unheard { /* an agent */
    bool left;       /* nothing is expected of it */
    int through;     /* the agent that it is heard through; -1: none */
    double silent, told;
};

struct ddp_silence {
    int agents;
    double stuck_after, at; /* when it last judged */
    struct ddp_unheard *agent;
};

enum ddp_silence_says {
    DDP_SILENCE_NOTHING,
    DDP_SILENCE_WARNS, /* once for each time */
    DDP_SILENCE_OVER,  /* it is heard again */
    DDP_SILENCE_ENDS,  /* it counts as lost; it has left */
};

/* stuck_after: launch.stuck_after. */
void ddp_silence_init(struct ddp_silence *s, int agents, double stuck_after);
void ddp_silence_finish(struct ddp_silence *s);
void ddp_silence_through(struct ddp_silence *s, int agent, int through);
/* It has said something; ends: for the last time. */
void ddp_silence_hear(struct ddp_silence *s, int agent, bool ends);
/* Whether one is silent that was warned of: it may be what all others wait for. */
bool ddp_silence_is_told(const struct ddp_silence *s);
/* What is to be said at `now`, *agent: of whom, and in words behind "host HOST ", in text as snprintf.
 * ending: the job is being ended. Call until it says nothing. */
enum ddp_silence_says ddp_silence_judge(struct ddp_silence *s, double now, bool ending, int *agent,
                                        char *text, int size);

#endif
