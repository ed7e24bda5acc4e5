/* News, signals and time, and what follows. */
#include "launcher/head_private.h"

#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>

#include "launcher/late.h"
#include "launcher/signals.h"

void ddp_head_say(const struct ddp_head *h, const char *fmt, ...)
{
    va_list ap;
    char text[1024], line[1100];
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    snprintf(line, sizeof line, "ddp-launch: %s\n", text);
    ddp_local_agent_say(h->here, line);
}

const char *ddp_head_host_of(const struct ddp_head *h, int rank)
{
    return h->outcome->host_of ? h->outcome->host_of[rank] : h->job->host;
}

/* ---- what follows ---------------------------------------------------------------------------- */

static void order_all(const struct ddp_head *h, enum ddp_order order)
{
    for (int i = 0; i < h->nagents; i++)
        ddp_agent_order(h->agent[i], order);
}

static void ask_stop(struct ddp_head *h)
{
    char limit[64] = "";
    h->outcome->stop_signal = h->signal;
    h->asked = ddp_now();
    order_all(h, DDP_ORDER_STOP);
    if (isfinite(h->life.grace))
        snprintf(limit, sizeof limit, ", within %g s (launch.grace)", h->life.grace);
    if (!h->quiet)
        ddp_head_say(h, "%s: stopping after this %s%s; Ctrl-C (again) ends at once",
                     ddp_signal_name(h->signal), h->job->evaluates ? "batch" : "step and saving", limit);
}

/* They have not stopped in time. */
static void name_late(struct ddp_head *h)
{
    struct ddp_outcome *o = h->outcome;
    if (o->late[0])
        return;
    o->grace = h->life.grace;
    char text[1024];
    const int rank = ddp_watch_culprit(&h->pulses.watch, text, sizeof text);
    if (rank >= 0)
        snprintf(o->late, sizeof o->late, "rank %d on %s, which %s,", rank, ddp_head_host_of(h, rank), text);
    else
        ddp_late_name(o->ranks, h->ended, h->job->host, o->host_of, o->late, sizeof o->late);
}

void ddp_head_act(struct ddp_head *h, unsigned actions)
{
    if (actions & DDP_LIFE_ASK_STOP)
        ask_stop(h);
    if (h->life.overdue)
        name_late(h);
    if (actions & DDP_LIFE_KILL_RANKS)
        order_all(h, DDP_ORDER_KILL_RANKS);
    if (actions & DDP_LIFE_KILL_STARTER)
        order_all(h, DDP_ORDER_KILL_STARTER);
    if (actions & DDP_LIFE_SWEEP)
        order_all(h, DDP_ORDER_SWEEP);
}

void ddp_head_happened(struct ddp_head *h, enum ddp_life_event event)
{
    ddp_head_act(h, ddp_life_on(&h->life, event, ddp_now()));
}

/* ---- what happens ---------------------------------------------------------------------------- */

static void note_end(struct ddp_head *h, int rank, enum ddp_ended how)
{
    if (rank >= 0 && rank < h->outcome->ranks)
        h->ended[rank] = (unsigned char)how;
}

static void on_bye(struct ddp_head *h, const char *host, const struct ddp_news *n)
{
    struct ddp_outcome *o = h->outcome;
    char how[64];

    note_end(h, n->rank, DDP_ENDED_SAYS);
    o->byes++;
    if (o->byes == o->ranks)
        ddp_pulses_done(&h->pulses);
    o->stopped += n->value == DDP_EXIT_STOPPED;
    if (n->value == DDP_EXIT_OK || n->value == DDP_EXIT_STOPPED)
        return;
    snprintf(how, sizeof how, "ended with exit status %d", n->value);
    ddp_outcome_fail(o, host, n->rank, false, n->value, how);
    ddp_head_happened(h, DDP_LIFE_FAILED);
}

/* The starter's program runs here and has started ranks on all hosts. */
static void on_starter_ended(struct ddp_head *h, int of, const struct ddp_news *n)
{
    if (of == 0) {
        h->outcome->starter_status = n->value;
        h->outcome->starter_killed = n->killed;
        for (int i = 1; i < h->nagents; i++)
            ddp_agent_order(h->agent[i], DDP_ORDER_NO_STARTER);
    }
    ddp_head_happened(h, DDP_LIFE_STARTER_ENDED);
}

void ddp_head_hear(struct ddp_head *h, int i, const struct ddp_news *n)
{
    struct ddp_outcome *o = h->outcome;
    const char *host = h->agent[i]->host;

    ddp_silence_hear(&h->silence, i, n->kind == DDP_NEWS_OUTPUT_ENDED || n->kind == DDP_NEWS_LOST);
    switch (n->kind) {
    case DDP_NEWS_JOINED:
        o->joined++;
        ddp_roll_join(&h->roll, host, ddp_now());
        ddp_head_happened(h, DDP_LIFE_JOINED);
        break;
    case DDP_NEWS_MET:
        if (++h->met == o->ranks)
            order_all(h, DDP_ORDER_ALL_MET);
        break;
    case DDP_NEWS_ERROR:
        ddp_outcome_fail(o, host, n->rank, true, n->value, n->text);
        ddp_head_happened(h, DDP_LIFE_FAILED);
        break;
    case DDP_NEWS_CUT:
        ddp_outcome_cut(o, host, n->rank, n->value, n->text);
        ddp_head_happened(h, DDP_LIFE_FAILED);
        break;
    case DDP_NEWS_RESULT:
        snprintf(o->result, sizeof o->result, "%s", n->text);
        break;
    case DDP_NEWS_SAVED:
        snprintf(o->saved, sizeof o->saved, "%s", n->text);
        break;
    case DDP_NEWS_RUN:
        snprintf(o->run, sizeof o->run, "%s", n->text);
        o->run_pid = n->value;
        break;
    case DDP_NEWS_ASKED:
        h->signal = n->value;
        ddp_head_happened(h, DDP_LIFE_STOP); /* an interrupt of ours is another matter */
        break;
    case DDP_NEWS_NOTICE:
        ddp_head_say(h, "%s", n->text);
        break;
    case DDP_NEWS_BYE:
        on_bye(h, host, n);
        break;
    case DDP_NEWS_DIED:
        ddp_outcome_fail(o, host, n->rank, false, 0, n->text);
        ddp_head_happened(h, DDP_LIFE_DIED);
        break;
    case DDP_NEWS_GONE:
        note_end(h, n->rank, DDP_ENDED);
        ddp_pulses_left(&h->pulses, n->rank);
        ddp_head_happened(h, DDP_LIFE_GONE);
        break;
    case DDP_NEWS_MISSING:
        ddp_outcome_fail(o, host, n->rank, false, 0, n->text);
        ddp_head_happened(h, DDP_LIFE_MISSING);
        break;
    case DDP_NEWS_NOBODY:
        ddp_head_happened(h, DDP_LIFE_NOBODY);
        break;
    case DDP_NEWS_HALTED:
        ddp_head_say(h, "%s", n->text);
        break;
    case DDP_NEWS_PULSE:
        ddp_pulses_take(&h->pulses, n);
        break;
    case DDP_NEWS_ALIVE:
        break;
    case DDP_NEWS_STARTER_LOST:
        ddp_head_happened(h, DDP_LIFE_STARTER_LOST);
        break;
    case DDP_NEWS_LOST: /* its starter may have seen it first: that says less than this */
        if (!n->killed || !o->failure.known)
            ddp_outcome_lose(o, host, n->text);
        ddp_head_happened(h, DDP_LIFE_HOST_LOST);
        break;
    case DDP_NEWS_STARTER_ENDED:
        on_starter_ended(h, i, n);
        break;
    case DDP_NEWS_SWEPT:
        ddp_head_happened(h, DDP_LIFE_SWEPT);
        break;
    case DDP_NEWS_OUTPUT_ENDED:
        ddp_head_happened(h, DDP_LIFE_OUTPUT_ENDED);
        break;
    }
}

static void pause_all(struct ddp_head *h)
{
    const double before = ddp_now();
    order_all(h, DDP_ORDER_PAUSE);
    raise(SIGSTOP);
    order_all(h, DDP_ORDER_GO_ON);
    ddp_life_skip_time(&h->life, ddp_now() - before);
    ddp_roll_skip_time(&h->roll, ddp_now() - before);
}

void ddp_head_signal(struct ddp_head *h, int sig)
{
    switch (sig) {
    case 0:
    case SIGCHLD: /* the agent looks at its children whenever it is woken */
        break;
    case SIGTSTP: /* the ranks are in another process group and pause with us */
        pause_all(h);
        break;
    default:
        h->signal = sig;
        ddp_head_happened(h, sig == SIGINT || sig == SIGTERM ? DDP_LIFE_INTERRUPT : DDP_LIFE_STOP);
    }
}
