/* The head of a job, in the midst of it: what the news of agents, signals and time are to the job's life
 * (life.h), and what it orders and says then. */
#ifndef DDP_LAUNCHER_HEAD_H
#define DDP_LAUNCHER_HEAD_H

#include "launcher/agent_local.h"
#include "launcher/life.h"
#include "launcher/oom.h"
#include "launcher/pulses.h"
#include "launcher/roll.h"
#include "launcher/silence.h"
#include "launcher/verdict.h"

struct ddp_head {
    const struct ddp_starter *starter;
    const struct ddp_job *job;
    bool quiet;
    struct ddp_local_agent *here;
    int nagents;
    struct ddp_agent **agent; /* [nagents] of each host; the first is `here` */
    int signals;              /* descriptor */
    int signal;               /* the last that came */
    double asked;             /* when ranks were asked to stop; 0: they were not */
    int met;                  /* ranks that are through MPI_Init */
    unsigned char *ended;     /* [ranks] enum ddp_ended */
    struct ddp_life life;
    struct ddp_roll roll;
    struct ddp_outcome *outcome;
    struct ddp_pulses pulses;
    struct ddp_silence silence; /* of agent[i] */
    struct ddp_oom memory;      /* as it stood at the start */
};

/* The host that a rank is on. */
const char *ddp_head_host_of(const struct ddp_head *h, int rank);

/* Agent number `i` has told something. */
void ddp_head_hear(struct ddp_head *h, int i, const struct ddp_news *n);
/* A signal has come; 0: none. */
void ddp_head_signal(struct ddp_head *h, int sig);
/* Time has passed; to be called after all news: who holds the others up, who has not come, limits that are
 * over. */
void ddp_head_look(struct ddp_head *h);

#endif
