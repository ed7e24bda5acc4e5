/* The state of supervision, shared by supervise.c (the life of a job), events.c (what ranks and signals say)
 * and deadlines.c (what is done because time has passed). */
#ifndef DDP_LAUNCHER_SUPERVISOR_H
#define DDP_LAUNCHER_SUPERVISOR_H

#include "launcher/starter.h"
#include "launcher/ranks.h"
#include "launcher/relay.h"
#include "launcher/spawn.h"
#include "launcher/verdict.h"

struct ddp_supervisor {
    const struct ddp_starter *starter;
    const struct ddp_job *job;
    bool quiet;
    struct ddp_ranks ranks;
    struct ddp_child child;
    struct ddp_relay out, err;
    struct ddp_text starter_text;
    struct ddp_outcome *outcome;
    int signals;      /* signalfd */
    int urgent;       /* SIGINT and SIGTERM so far .. */
    double urgent_at; /* .. and the last of them */
    bool starter_done;
    bool killing; /* the ranks were killed by us: their deaths mean nothing */
    /* what is to be done when (ddp_now()); 0: not planned */
    double kill_ranks_at, kill_starter_at, look_at, count_at;
    int children;          /* the starter's living children .. */
    double children_since; /* .. since when they are as many .. */
    bool children_seen;    /* .. and whether there ever were any */
};

/* A line of ours on stderr. */
void ddp_supervisor_say(struct ddp_supervisor *s, const char *fmt, ...) DDP_PRINTF(2, 3);

/* ---- events.c ---- */

/* Kill all ranks now, and the starter a little later. */
void ddp_supervisor_kill_ranks(struct ddp_supervisor *s);
void ddp_supervisor_kill_starter(struct ddp_supervisor *s);
/* The first failure counts; one that gives its reason replaces one that only ended. */
void ddp_supervisor_note_failure(struct ddp_supervisor *s, const struct ddp_rank *rank, bool error,
                                 int status, const char *reason);
/* Read all that a rank has said; a closed line without goodbye is a death. */
void ddp_supervisor_hear(struct ddp_supervisor *s, struct ddp_rank *rank);
/* Block our signals and open a descriptor for them; *old is the mask before. -1 with errno. */
int ddp_supervisor_open_signals(struct ddp_supervisor *s, sigset_t *old);
void ddp_supervisor_on_signal(struct ddp_supervisor *s);
void ddp_supervisor_reap(struct ddp_supervisor *s);

/* ---- deadlines.c ---- */

void ddp_supervisor_start_clocks(struct ddp_supervisor *s);
void ddp_supervisor_act_on_time(struct ddp_supervisor *s);
int ddp_supervisor_next_wait_ms(const struct ddp_supervisor *s);

#endif
