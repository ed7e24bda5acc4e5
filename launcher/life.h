/* The life of a job as tables: the states it can be in, what can happen, what follows. Pure: it makes no
 * system call, reads no clock and speaks to nobody; who drives it says what has happened and when, and does
 * what it answers. What is seen on the hosts comes from their agents (agent.h), signals and time from the
 * head (head.h).
 *
 *                  all joined            a stop is asked
 *   STARTING ---------------------> RUNNING ----------> STOPPING       (a stop while STARTING: STOPPING too)
 *      |                               |                    |    all ranks are gone,
 *      +-------------------------------+--------------------+--- or only wait for MPI -> LEAVING
 *      |                               |                                                    |
 *      | a rank says that it fails     | a rank dies or never joins,                        | 2 s
 *      |                               | a starter dies, a host is lost                              |
 *      v            0.7 s              v                 the starter's own time             v
 *   FAILING ---------------------> KILLING_RANKS --------------------------------> KILLING_STARTER
 *                                                       (a second SIGINT or SIGTERM: at once)
 *
 *   each of these -- all starters have ended --> SWEEPING -- swept --> DRAINING -- output ended --> OVER
 *                                                         or after 2 s          or after 0.5 s
 *
 * Ranks that the launcher starts itself are their own starter: it has ended when the last of them has.
 *
 *   state            entered with                      its limit
 *   STARTING         not all ranks have joined         none: agents see ranks that will never join
 *   RUNNING          all have                          none
 *   STOPPING         ranks are asked to stop and save  launch.grace: who has not stopped is named
 *   FAILING          nothing: ranks agree on the error 0.7 s; 0.35 s from the moment that one is gone
 *   KILLING_RANKS    ranks are killed                  the starter's kill_after_ms
 *   LEAVING          nothing: starters end themselves  2 s
 *   KILLING_STARTER  ranks and starters are killed     none: the kernel ends them, and an agent that does not
 *                                                      say so is given up (silence.h)
 *   SWEEPING         agents look for what is left      2 s
 *   DRAINING         the last output is passed on      0.5 s: somebody else may hold the pipe open
 *   OVER             the verdict follows               none
 */
#ifndef DDP_LAUNCHER_LIFE_H
#define DDP_LAUNCHER_LIFE_H

#include <stdbool.h>

enum ddp_life_state {
    DDP_LIFE_STARTING,
    DDP_LIFE_RUNNING,
    DDP_LIFE_STOPPING,
    DDP_LIFE_FAILING,
    DDP_LIFE_KILLING_RANKS,
    DDP_LIFE_LEAVING,
    DDP_LIFE_KILLING_STARTER,
    DDP_LIFE_SWEEPING,
    DDP_LIFE_DRAINING,
    DDP_LIFE_OVER,
    DDP_LIFE_STATES,
};

enum ddp_life_event {
    DDP_LIFE_JOINED,        /* a rank has connected (moves when it was the last one) */
    DDP_LIFE_FAILED,        /* a rank says why it fails, or leaves with a status that means failure */
    DDP_LIFE_GONE,          /* a rank has ended, however (moves when it was the last one) */
    DDP_LIFE_DIED,          /* .. and it had said nothing; its GONE follows */
    DDP_LIFE_MISSING,       /* a rank has ended before it joined */
    DDP_LIFE_STUCK,         /* a rank does not go on, and its time is up */
    DDP_LIFE_DONE,          /* all ranks have said goodbye, and wait for an end that will not come */
    DDP_LIFE_NOBODY,        /* a starter has no ranks and will get none */
    DDP_LIFE_STARTER_LOST,  /* a starter ends while ranks of it are there */
    DDP_LIFE_HOST_LOST,     /* nothing is heard of a host any more, or of its agent */
    DDP_LIFE_STARTER_ENDED, /* a host's starter has ended (moves when it was the last one) */
    DDP_LIFE_SWEPT,         /* nothing is left on a host (moves when it was the last one) */
    DDP_LIFE_OUTPUT_ENDED,  /* all of a host's output has been read (moves when it was the last one) */
    DDP_LIFE_STOP,          /* SIGHUP, SIGUSR1, SIGUSR2: stop softly, however often it comes */
    DDP_LIFE_INTERRUPT,     /* SIGINT, SIGTERM: the first is STOP, the second INTERRUPT_AGAIN */
    DDP_LIFE_INTERRUPT_AGAIN,
    DDP_LIFE_DEADLINE, /* the state's limit is reached */
    DDP_LIFE_EVENTS,
};

/* What is to be done, a set of these. */
enum ddp_life_action {
    DDP_LIFE_ASK_STOP = 1 << 0,     /* ask all ranks to stop after the step in hand and save */
    DDP_LIFE_KILL_RANKS = 1 << 1,   /* their deaths mean nothing from now on */
    DDP_LIFE_KILL_STARTER = 1 << 2, /* on every host */
    DDP_LIFE_SWEEP = 1 << 3,        /* kill what is left of the job on every host, then say SWEPT */
};

struct ddp_life {
    enum ddp_life_state state;
    double deadline; /* when ddp_life_pass_time moves on; HUGE_VAL: it does not */
    int ranks, hosts;
    int seen[DDP_LIFE_EVENTS]; /* how often each has happened */
    double kill_after;         /* seconds from the ranks' death to the starter's */
    double grace;              /* seconds from the request to stop to the ranks' death; HUGE_VAL: no limit */
    double interrupted;        /* when, last */
    bool forced;               /* a second interrupt ended it */
    bool overdue;              /* ranks had not stopped in time */
};

/* A job of so many ranks on so many hosts, STARTING. */
void ddp_life_init(struct ddp_life *life, int ranks, int hosts, double kill_after, double grace);
/* This has happened at `now` (seconds on any clock that does not jump). Returns what is to be done. */
unsigned ddp_life_on(struct ddp_life *life, enum ddp_life_event event, double now);
/* DDP_LIFE_DEADLINE if it is time for it. */
unsigned ddp_life_pass_time(struct ddp_life *life, double now);
/* So many seconds, in which everything was paused, do not count. */
void ddp_life_skip_time(struct ddp_life *life, double seconds);

/* "killing ranks". Static. */
const char *ddp_life_state_name(enum ddp_life_state state);
/* Where the event leads from a state; the state itself where it does not move. */
enum ddp_life_state ddp_life_next(enum ddp_life_state state, enum ddp_life_event event);

#endif
