/* The agent of a host: it hears what the host's ranks say, sees how they die and leaves nothing behind. The
 * head (head.h) knows ranks only through agents: it gives orders and takes news; what follows from news
 * is the business of life.h. An agent is a table with two halves beside each other:
 *
 *   agent_local.h    the agent of this process: ranks that it starts, or that a starter's program starts
 *   agent_remote.h   what stands in the head for the agent of another host, which is a process of its own
 *                    (agent_main.c) with a local agent in it; orders and news travel as they are
 *
 *                     orders: STOP, KILL_RANKS, KILL_STARTER, SWEEP, ..
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

#include "base/base.h"

enum ddp_news_kind {
    DDP_NEWS_JOINED,  /* a rank has connected */
    DDP_NEWS_MET,     /* rank: it is through MPI_Init, and waits for all others */
    DDP_NEWS_ERROR,   /* rank, value: exit status to come, text: why it fails */
    DDP_NEWS_CUT,     /* the same of a rank that only cannot reach others: they may have ended */
    DDP_NEWS_RUN,     /* text: the run directory whose record is open, value: the process that writes it */
    DDP_NEWS_ASKED,   /* value: a signal that a rank was sent asks for a stop of all */
    DDP_NEWS_NOTICE,  /* text: what the user is told, also when quiet */
    DDP_NEWS_RESULT,  /* text: the job's last two lines */
    DDP_NEWS_SAVED,   /* text: where the state is saved */
    DDP_NEWS_BYE,     /* rank, value: exit status that it leaves with */
    DDP_NEWS_DIED,    /* rank, text: how it ended without a word; the host's others are killed already */
    DDP_NEWS_GONE,    /* rank: it has ended; the last that is heard of it */
    DDP_NEWS_MISSING, /* rank (-1: nobody knows which), text: it ended before it connected */
    DDP_NEWS_NOBODY,  /* the starter has no ranks, and will have none */
    DDP_NEWS_HALTED,  /* text: somebody has stopped a process of the job, what lets it go on */
    DDP_NEWS_LOST,    /* text: the agent itself or its host is gone, and what there is to say of that */
    DDP_NEWS_PULSE,   /* rank, text: a look at it (sample.h), some times a second; "": it has no pulse */
    DDP_NEWS_ALIVE,   /* the agent of another host says so, some times a second */
    DDP_NEWS_STARTER_LOST,  /* the starter ends while its ranks are there */
    DDP_NEWS_STARTER_ENDED, /* value: its wait status (0: a direct one), killed; no rank has more to say */
    DDP_NEWS_SWEPT,         /* nothing is left on the host */
    DDP_NEWS_OUTPUT_ENDED,  /* after SWEPT: nobody will print more */
};

struct ddp_news {
    enum ddp_news_kind kind;
    int rank, value;
    bool killed;                  /* by an order: STARTER_ENDED: the starter; LOST: its ranks, before */
    char text[DDP_LIFELINE_TEXT]; /* of those kinds that have one, else not set */
};

enum ddp_order {
    /* Ask the ranks, also those that join later, to stop after this step and save. From now on what they
     * print is read at once, so that none waits for a reader of ours. */
    DDP_ORDER_STOP,
    DDP_ORDER_ALL_MET,      /* all ranks of the job are through MPI_Init: let those of this host go on */
    DDP_ORDER_KILL_RANKS,   /* SIGKILL for all ranks; their deaths are no news from now on */
    DDP_ORDER_KILL_STARTER, /* of an agent that has one */
    DDP_ORDER_NO_STARTER,   /* the starter on another host, which started these ranks too, has ended */
    DDP_ORDER_SWEEP,        /* once the starter has ended: kill every process of the job that is left */
    DDP_ORDER_GIVE_UP,      /* an agent that is not heard any more counts as gone, without a word of it */
    DDP_ORDER_PAUSE,        /* Ctrl-Z: ranks are in another process group and pause with the head */
    DDP_ORDER_GO_ON,
    DDP_ORDERS,
};

struct ddp_agent;

struct ddp_agent_ops { /* all required; what they do stands at the functions below */
    void (*order)(struct ddp_agent *a, enum ddp_order order);
    void (*note)(struct ddp_agent *a, int rank, const char *text);
    int (*watches)(const struct ddp_agent *a);
    int (*watch)(const struct ddp_agent *a, struct pollfd *fds, double *until);
    void (*woken)(struct ddp_agent *a, const struct pollfd *fds);
    bool (*next)(struct ddp_agent *a, double now, struct ddp_news *out);
    void (*destroy)(struct ddp_agent *a);
};

struct ddp_agent { /* the beginning of each kind of agent */
    const struct ddp_agent_ops *ops;
    char host[256]; /* as users know it */
};

static inline void ddp_agent_order(struct ddp_agent *a, enum ddp_order order)
{
    a->ops->order(a, order);
}

/* Pass a note (base/slow.h) on to this rank, if it is one of the agent's. */
static inline void ddp_agent_note(struct ddp_agent *a, int rank, const char *text)
{
    a->ops->note(a, rank, text);
}

/* How many descriptors ddp_agent_watch will want at most. */
static inline int ddp_agent_watches(const struct ddp_agent *a)
{
    return a->ops->watches(a);
}

/* What to poll for; lowers *until to the moment at which the agent wants to look at its ranks. Returns how
 * many of fds are filled. */
static inline int ddp_agent_watch(const struct ddp_agent *a, struct pollfd *fds, double *until)
{
    return a->ops->watch(a, fds, until);
}

/* fds as poll has left them. Passes output on. Call it after a signal that a child has ended, too. */
static inline void ddp_agent_woken(struct ddp_agent *a, const struct pollfd *fds)
{
    a->ops->woken(a, fds);
}

/* The next of its news at `now` (ddp_now()); false: none for the moment. */
static inline bool ddp_agent_next(struct ddp_agent *a, double now, struct ddp_news *out)
{
    return a->ops->next(a, now, out);
}

/* After its output has ended; NULL is fine. */
static inline void ddp_agent_destroy(struct ddp_agent *a)
{
    if (a)
        a->ops->destroy(a);
}

#endif
