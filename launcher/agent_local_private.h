/* What agent_local.c, agent_orders.c and agent_news.c share: the agent of this process. */
#ifndef DDP_LAUNCHER_AGENT_LOCAL_PRIVATE_H
#define DDP_LAUNCHER_AGENT_LOCAL_PRIVATE_H

#include "launcher/agent_local.h"
#include "launcher/ranks.h"
#include "launcher/relay.h"
#include "launcher/spawn.h"

static const double DDP_AGENT_COUNT_S = 0.02; /* between counts of the starter's children, ranks missing */
static const double DDP_AGENT_LOOK_S = 2.0;   /* between looks for ranks that somebody stopped */

struct ddp_worker { /* a process that we have started: a rank, or the starter's program */
    struct ddp_child child;
    bool ended;
    int wait_status; /* once it has */
    bool told_missing;
    struct ddp_relay out, err;
};

struct ddp_local_agent {
    struct ddp_agent agent;
    const struct ddp_starter *starter;
    const struct ddp_job *job;
    struct ddp_worker *worker; /* [nworkers] of a direct starter the ranks in order, else its program alone */
    int nworkers;              /* 0: they are started elsewhere */
    struct ddp_ranks ranks;
    int byes;
    int memory,
        handed; /* in which the ranks meet, and how many have it; -1: they meet otherwise, or all have */
    struct ddp_sink out, err;
    struct ddp_fold out_lines, err_lines; /* on their way there */
    struct ddp_text starter_text;

    /* what it was told */
    bool stopping, paused, killed_ranks, killed_starter, swept;
    /* what has happened .. */
    bool knocked;       /* somebody wants to connect */
    bool starter_ended; /* all workers have */
    /* .. and what of it is no news any more */
    bool told_lost, told_ended, told_swept, told_output;

    double look_at, count_at; /* when to look for halted ranks, and for missing ones */
    double pulse_at;          /* when to begin the next round of looks at pulses .. */
    int pulse_of;             /* .. and how far this one is */
    double alive_at;          /* when to say that the agent is there */
    pid_t other;              /* process of the job, but no rank, that was found halted; 0: none .. */
    int other_seen;           /* .. in so many looks */
    int children;             /* the starter's living children .. */
    double children_since;    /* .. since when they are as many .. */
    bool children_seen;       /* .. and whether there ever were any */
};

/* Whether the head has no other way to see that this process lives. */
static inline bool ddp_agent_is_away(const struct ddp_local_agent *a)
{
    return a->nworkers == 0;
}

/* Whether the starter's children are counted, to see that some will never report. */
static inline bool ddp_agent_is_counting(const struct ddp_local_agent *a)
{
    return a->nworkers > 0 && a->starter->forks && a->ranks.expected == a->job->ranks &&
           a->ranks.n < a->ranks.expected && !a->killed_ranks && !a->starter_ended;
}

static inline struct ddp_local_agent *ddp_agent_as_local(struct ddp_agent *agent)
{
    return (struct ddp_local_agent *)agent; /* its first member */
}

static inline const struct ddp_local_agent *ddp_agent_as_local_const(const struct ddp_agent *agent)
{
    return (const struct ddp_local_agent *)agent;
}

void ddp_local_agent_order(struct ddp_agent *agent, enum ddp_order order);
void ddp_local_agent_note(struct ddp_agent *agent, int rank, const char *text);
bool ddp_local_agent_next(struct ddp_agent *agent, double now, struct ddp_news *out);
/* News of looking: a rank's pulse, a process that somebody has stopped, a sign of life of the agent's own. */
bool ddp_local_agent_look(struct ddp_local_agent *a, double now, struct ddp_news *out);

void ddp_local_agent_kill_ranks(struct ddp_local_agent *a);
void ddp_local_agent_kill_workers(const struct ddp_local_agent *a, int sig);
/* Collect children that have ended: ranks or the starter's program, and orphans that they have left to us. */
void ddp_local_agent_reap(struct ddp_local_agent *a);

#endif
