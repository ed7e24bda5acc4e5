/* The watch over ranks that do not go on: from what agents see of them (sample.h) to a rank that holds all
 * others up. Pure: it makes no system call and reads no clock.
 *
 * A rank that waits for others is never the cause, however long, unless somebody has stopped its process. One
 * that does not wait is, when it has stood still for long and another waits, or all are stopped:
 *
 *     warn  after  max(F, 20 x the longest that it has lately been in this phase, or in a step)
 *     end   after  max(stuck_after, 3 x warn)
 *
 *     F     10 s in steps; 60 s in hooks and checkpoints, and where nothing is learned yet (start-up, the
 *           first steps, evaluations). A third of stuck_after where that is less
 *
 * No end: stuck_after 0, a debugger that holds the rank, the program's own code between calls of ours (unless
 * somebody has stopped it there).
 * When every rank waits for another for 60 s, all are named. Once all have said goodbye there is nothing left
 * to wait for but the end of MPI, which never comes when one has died in it: 5 s of that are enough. */
#ifndef DDP_LAUNCHER_WATCH_H
#define DDP_LAUNCHER_WATCH_H

#include "launcher/sample.h"

enum ddp_watch_says {
    DDP_WATCH_NOTHING,
    DDP_WATCH_WARNS, /* once for each time that a rank stands still */
    DDP_WATCH_RELIEVED,
    DDP_WATCH_ENDS, /* the job is to be ended */
    DDP_WATCH_DONE, /* all that there was to do is done, and the job is to be ended, which is no failure */
};

struct ddp_watched {
    enum { DDP_UNSEEN, DDP_SEEN, DDP_BLIND, DDP_LEFT } state; /* BLIND: it has no pulse */
    struct ddp_sample s;
    double told; /* warned of at so many seconds; 0: not; below: with another that has not reported */
};

struct ddp_watch {
    int ranks;
    double stuck_after;
    double since, at; /* how long it has watched, and when it last did */
    bool told_all;    /* warned that all wait */
    bool done;        /* all have said goodbye */
    struct ddp_watched *rank;
};

/* stuck_after: launch.stuck_after. */
void ddp_watch_init(struct ddp_watch *w, int ranks, double stuck_after);
void ddp_watch_finish(struct ddp_watch *w);
/* A look at a rank; NULL: there is no pulse to look at. */
void ddp_watch_take(struct ddp_watch *w, int rank, const struct ddp_sample *s);
void ddp_watch_left(struct ddp_watch *w, int rank); /* it has ended */
void ddp_watch_done(struct ddp_watch *w);           /* all have said goodbye */
/* What is to be said at `now`, *rank: of whom (-1: of all), and in words behind "rank R on HOST ", in text as
 * snprintf. */
enum ddp_watch_says ddp_watch_judge(struct ddp_watch *w, double now, int *rank, char *text, int size);
/* The rank that has stood still longest while others wait for it, whatever the limits; -1: there is none.
 * text as snprintf: "has been reading data for step 9 for 5 s, ..". */
int ddp_watch_culprit(const struct ddp_watch *w, char *text, int size);

#endif
