/* Where the time from a command to its first step goes: one phase ends where the next begins, first in the
 * launcher, then in the ranks that it starts (rank 0's is recorded). A phase that is waited for others in
 * holds that wait. The launcher hands on what its phases took as text, since clocks of hosts differ. Each
 * thread has phases of its own, since ranks may be threads of one process. */
#ifndef DDP_BASE_STARTUP_H
#define DDP_BASE_STARTUP_H

#include <stdbool.h>

/* In order; those up to PLAN are the launcher's. Name in records, and in words. */
#define DDP_STARTUP(X)                                                                                       \
    X(CONFIG, "config", "the launcher reads and checks the config")                                          \
    X(HOSTS, "hosts", "it looks at its hosts and their machines")                                            \
    X(PLAN, "plan", "it places the ranks")                                                                   \
    X(START, "start", "processes start, up to their main()")                                                 \
    X(JOIN, "join", "ranks bind to their cores and meet")                                                    \
    X(READ, "read", "they read the config")                                                                  \
    X(DATA, "data", "the data sets are opened and identified")                                               \
    X(MODEL, "model", "the model is planned, its memory made")                                               \
    X(WEIGHTS, "weights", "the first weights are made or read")                                              \
    X(RECORD, "record", "the run directory is made")                                                         \
    X(STEP, "step", "the first step")

#define DDP_STARTUP_NUMBER(NAME, name, words) DDP_STARTUP_##NAME,
enum ddp_startup { DDP_STARTUP(DDP_STARTUP_NUMBER) DDP_STARTUP_COUNT };

enum { DDP_STARTUP_TEXT = 128 };

/* The first phase began at `started` (ddp_now()); what was noted before is forgotten. */
void ddp_startup_begin(double started);
/* `phase` ends now; phases that never ended before it took no time. */
void ddp_startup_end(enum ddp_startup phase);
/* Seconds that it took; 0 where it did not end. */
double ddp_startup_seconds(enum ddp_startup phase);
const char *ddp_startup_name(enum ddp_startup phase);
const char *ddp_startup_words(enum ddp_startup phase);

/* What the phases took so far, for another process; returns buf. */
const char *ddp_startup_tell(char buf[DDP_STARTUP_TEXT]);
/* Go on where the process that told left off; `started` on this host's clock. NULL: a process of its own. */
void ddp_startup_take(double started, const char *told);

#endif
