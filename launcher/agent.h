/* The agent of a host: it starts the host's ranks, hears what they say, sees how they die, passes on what
 * they print and leaves nothing behind. The head (supervise.c) knows ranks only through agents: it gives
 * orders and takes news; what follows from news is the business of life.h. There is one agent, in the head's
 * own process; one on another host sends the same news and takes the same orders.
 *
 *                     orders: stop, kill_ranks, kill_starter, sweep, pause, go_on
 *        head  ------------------------------------------------------------------->  agent  --> starter
 *   (signals, life,   <-------------------------------------------------------------    |         |
 *      verdict)       news: JOINED .. GONE, STARTER_ENDED, SWEPT, OUTPUT_ENDED          +------ ranks
 *
 * The head waits for the descriptors of ddp_agent_watch, no longer than its *until, calls ddp_agent_woken,
 * and takes news from ddp_agent_next as long as there are any. */
#ifndef DDP_LAUNCHER_AGENT_H
#define DDP_LAUNCHER_AGENT_H

#include <poll.h>
#include <signal.h>

#include "launcher/starter.h"

enum ddp_news_kind {
    DDP_NEWS_JOINED,       /* a rank has connected */
    DDP_NEWS_ERROR,        /* rank, value: exit status to come, text: why it fails */
    DDP_NEWS_RUN,          /* text: the run directory whose record is open */
    DDP_NEWS_NOTICE,       /* text: what the user is told, also when quiet */
    DDP_NEWS_RESULT,       /* text: the job's last two lines */
    DDP_NEWS_SAVED,        /* text: where the state is saved */
    DDP_NEWS_BYE,          /* rank, value: exit status that it leaves with */
    DDP_NEWS_DIED,         /* rank, text: how it ended without a word; the host's others are killed already */
    DDP_NEWS_GONE,         /* rank: it has ended; the last that is heard of it */
    DDP_NEWS_MISSING,      /* rank (-1: nobody knows which), text: it ended before it connected */
    DDP_NEWS_NOBODY,       /* the starter has no ranks, and will have none */
    DDP_NEWS_HALTED,       /* rank, text: somebody has stopped its process, what lets it go on */
    DDP_NEWS_STARTER_LOST, /* the starter ends while its ranks are there */
    DDP_NEWS_STARTER_ENDED, /* value: its wait status (0: a direct one), killed; no rank has more to say */
    DDP_NEWS_SWEPT,         /* nothing is left on the host */
    DDP_NEWS_OUTPUT_ENDED,  /* after SWEPT: nobody will print more */
};

struct ddp_news {
    enum ddp_news_kind kind;
    int rank, value;
    bool killed;                  /* STARTER_ENDED: it was ddp_agent_kill_starter that ended it */
    char text[DDP_LIFELINE_TEXT]; /* of those kinds that have one, else not set */
};

struct ddp_agent;

/* Start the job's ranks of this host. mask: signals that what is started shall have blocked; quiet:
 * keep the tail of the output, show none. starter and job stay the caller's and must live as long. Makes this
 * process the reaper of what its children leave behind. */
int ddp_agent_create(const struct ddp_starter *starter, const struct ddp_job *job, const sigset_t *mask,
                     bool quiet, struct ddp_agent **out, struct ddp_error *err);
void ddp_agent_destroy(struct ddp_agent *a); /* after its output has ended; NULL is fine */

/* How many descriptors ddp_agent_watch will want at most. */
int ddp_agent_watches(const struct ddp_agent *a);
/* What to poll for; lowers *until to the moment at which the agent wants to look at its ranks. Returns how
 * many of fds are filled. */
int ddp_agent_watch(const struct ddp_agent *a, struct pollfd *fds, double *until);
/* fds as poll has left them. Passes output on. Call it after a signal that a child has ended, too. */
void ddp_agent_woken(struct ddp_agent *a, const struct pollfd *fds);
/* The next of its news at `now` (ddp_now()); false: none for the moment. */
bool ddp_agent_next(struct ddp_agent *a, double now, struct ddp_news *out);

/* Ask the ranks, also those that join later, to stop after the step in hand and save. */
void ddp_agent_stop(struct ddp_agent *a);
/* SIGKILL for all ranks; their deaths are no news from now on. */
void ddp_agent_kill_ranks(struct ddp_agent *a);
void ddp_agent_kill_starter(struct ddp_agent *a);
/* Once the starter has ended: kill every process of the job that is left. */
void ddp_agent_sweep(struct ddp_agent *a);
/* Ctrl-Z: ranks are in another process group and pause with the head. */
void ddp_agent_pause(struct ddp_agent *a);
void ddp_agent_go_on(struct ddp_agent *a);
/* A line of the head's own on stderr, behind what the ranks have printed; never waits for the reader. */
void ddp_agent_say(struct ddp_agent *a, const char *line);
/* Nothing more is read: what is held of a line counts as one. */
void ddp_agent_end_output(struct ddp_agent *a);
/* Write all output that is still held, however long the reader takes. */
void ddp_agent_flush(struct ddp_agent *a);

/* Whether the cursor on stderr stands in a line of a rank's, behind a progress bar. */
bool ddp_agent_midline(const struct ddp_agent *a);
/* What the starter's program said itself; the ranks' last lines on stderr. The agent's own. */
const char *ddp_agent_starter_text(const struct ddp_agent *a);
const char *ddp_agent_last_lines(const struct ddp_agent *a);

#endif
