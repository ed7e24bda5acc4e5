/* What the agent in this process does when it is told, and how it collects what has ended. */
#include "launcher/agent_local_private.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launcher/process.h"
#include "launcher/tagged.h"

static void hurry(struct ddp_local_agent *a)
{
    for (int i = 0; i < a->nworkers; i++) {
        ddp_relay_hurry(&a->worker[i].out);
        ddp_relay_hurry(&a->worker[i].err);
    }
}

static void stop_ranks(struct ddp_local_agent *a)
{
    a->stopping = true;
    hurry(a);
    for (int i = 0; i < a->ranks.n; i++)
        ddp_rank_stop(&a->ranks.rank[i]);
}

static void let_ranks_go_on(struct ddp_local_agent *a)
{
    for (int i = 0; i < a->ranks.n; i++)
        ddp_rank_all_met(&a->ranks.rank[i]);
}

void ddp_local_agent_kill_workers(const struct ddp_local_agent *a, int sig)
{
    for (int i = 0; i < a->nworkers; i++)
        if (!a->worker[i].ended)
            kill(a->worker[i].child.pid, sig);
}

static void signal_ranks(const struct ddp_local_agent *a, int sig)
{
    ddp_ranks_signal(&a->ranks, sig);
    if (a->starter->direct) /* those that have not joined, too */
        ddp_local_agent_kill_workers(a, sig);
}

void ddp_local_agent_kill_ranks(struct ddp_local_agent *a)
{
    a->killed_ranks = true;
    signal_ranks(a, SIGKILL);
}

static void kill_starter(struct ddp_local_agent *a)
{
    if (a->starter_ended)
        return;
    a->killed_starter = true;
    for (int i = 0; i < a->nworkers; i++)
        if (!a->worker[i].ended)
            ddp_process_kill_family(a->worker[i].child.pid);
}

/* What they had said is there by now, if nobody has read it yet. */
void ddp_local_agent_reap(struct ddp_local_agent *a)
{
    pid_t pid;
    int status;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        for (int i = 0; i < a->nworkers; i++)
            if (a->worker[i].child.pid == pid && !a->worker[i].ended) {
                a->worker[i].ended = a->knocked = true;
                a->worker[i].wait_status = status;
            }
        for (int i = 0; i < a->ranks.n; i++)
            if (a->ranks.rank[i].pid == pid)
                a->ranks.rank[i].wait_status = status;
        for (int i = 0; i < a->ranks.n; i++)
            a->ranks.rank[i].calls = true;
    }
    bool ended = a->nworkers > 0;
    for (int i = 0; i < a->nworkers; i++)
        ended &= a->worker[i].ended;
    a->starter_ended |= ended;
}

static void sweep(struct ddp_local_agent *a)
{
    ddp_local_agent_kill_ranks(a);
    for (int i = 0; i < a->ranks.n; i++)
        if (a->ranks.rank[i].pidfd >= 0) {
            struct pollfd p = {.fd = a->ranks.rank[i].pidfd, .events = POLLIN};
            poll(&p, 1, 1000);
        }
    /* ranks that never said hello, children of ranks; where all have ended well, ssh behind a cut link */
    for (int tries = 0; tries < 50 && ddp_tagged_kill(a->job->name, ddp_local_agent_well(a)) > 0; tries++)
        usleep(2000);
    ddp_local_agent_reap(a);
    hurry(a);
    a->swept = true;
}

static void pause_ranks(struct ddp_local_agent *a)
{
    a->paused = true;
    signal_ranks(a, SIGSTOP);
}

static void go_on(struct ddp_local_agent *a)
{
    signal_ranks(a, SIGCONT);
    a->paused = false;
}

bool ddp_local_agent_well(const struct ddp_local_agent *a)
{
    return a->byes == a->ranks.expected;
}

void ddp_daemon_kill(pid_t pid)
{
    if (ddp_is_daemon(pid))
        kill(pid, SIGKILL);
}

void ddp_local_agent_kill_daemons(const struct ddp_local_agent *a)
{
    for (int i = 0; i < a->ranks.n; i++)
        ddp_daemon_kill(a->ranks.rank[i].parent);
}

/* Ranks that another host's starter has started: they have no more to say than what is on its way. */
static void lose_starter(struct ddp_local_agent *a)
{
    a->starter_ended |= a->nworkers == 0;
}

/* Of an agent that is not heard: not this one. */
static void give_up(struct ddp_local_agent *a)
{
    (void)a;
}

void ddp_local_agent_order(struct ddp_agent *agent, enum ddp_order order)
{
    static void (*const does[DDP_ORDERS])(struct ddp_local_agent *) = {
        [DDP_ORDER_STOP] = stop_ranks,
        [DDP_ORDER_ALL_MET] = let_ranks_go_on,
        [DDP_ORDER_KILL_RANKS] = ddp_local_agent_kill_ranks,
        [DDP_ORDER_KILL_STARTER] = kill_starter,
        [DDP_ORDER_NO_STARTER] = lose_starter,
        [DDP_ORDER_SWEEP] = sweep,
        [DDP_ORDER_GIVE_UP] = give_up,
        [DDP_ORDER_PAUSE] = pause_ranks,
        [DDP_ORDER_GO_ON] = go_on,
    };
    does[order](ddp_agent_as_local(agent));
}

void ddp_local_agent_note(struct ddp_agent *agent, int rank, const char *text)
{
    struct ddp_rank *r = ddp_ranks_find(&ddp_agent_as_local(agent)->ranks, rank);
    if (r)
        ddp_rank_note(r, text);
}
