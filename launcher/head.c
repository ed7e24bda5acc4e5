/* News, signals and time, and what follows. */
#include "launcher/head.h"

#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>

#include "launcher/late.h"
#include "launcher/signals.h"

/* A line of ours on stderr. */
static void DDP_PRINTF(2, 3) say(const struct ddp_head *h, const char *fmt, ...)
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
        say(h, "%s: stopping after this %s%s; Ctrl-C (again) ends at once", ddp_signal_name(h->signal),
            h->job->evaluates ? "batch" : "step and saving", limit);
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

static void act(struct ddp_head *h, unsigned actions)
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

static void happened(struct ddp_head *h, enum ddp_life_event event)
{
    act(h, ddp_life_on(&h->life, event, ddp_now()));
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
    o->stopped += n->value == DDP_EXIT_STOPPED;
    if (n->value == DDP_EXIT_OK || n->value == DDP_EXIT_STOPPED)
        return;
    snprintf(how, sizeof how, "ended with exit status %d", n->value);
    ddp_outcome_fail(o, host, n->rank, false, n->value, how);
    happened(h, DDP_LIFE_FAILED);
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
    happened(h, DDP_LIFE_STARTER_ENDED);
}

/* Rank 0 writes it down. */
static void note_slow(const struct ddp_head *h, const struct ddp_finding *f)
{
    char text[DDP_SLOW_TEXT];
    struct ddp_slow_rank slow = f->slow;
    snprintf(slow.host, sizeof slow.host, "%s", ddp_head_host_of(h, f->rank));
    ddp_slow_format(&slow, text);
    for (int i = 0; i < h->nagents; i++)
        ddp_agent_note(h->agent[i], 0, text);
}

/* Ranks that hold up the others, while nobody has ended them. */
static void judge(struct ddp_head *h)
{
    struct ddp_finding f;
    while (h->life.state <= DDP_LIFE_STOPPING && ddp_pulses_next(&h->pulses, ddp_now(), &f)) {
        if (f.kind == DDP_FINDING_SLOW || f.kind == DDP_FINDING_NOTE)
            note_slow(h, &f);
        if (f.kind == DDP_FINDING_END) {
            ddp_outcome_fail(h->outcome, f.rank < 0 ? "" : ddp_head_host_of(h, f.rank),
                             f.rank < 0 ? DDP_OUTCOME_ALL : f.rank, false, 0, f.text);
            happened(h, DDP_LIFE_STUCK);
        } else if (f.kind == DDP_FINDING_STUCK && f.rank < 0) {
            say(h, "%s", f.text);
        } else if (f.kind == DDP_FINDING_STUCK || (f.kind == DDP_FINDING_SLOW && !h->quiet)) {
            say(h, "rank %d on %s %s", f.rank, ddp_head_host_of(h, f.rank), f.text);
        }
    }
}

/* Agents that are not heard: their hosts are there, else their wires would have ended. */
static void judge_silence(struct ddp_head *h)
{
    const bool ending = h->life.state > DDP_LIFE_STOPPING;
    enum ddp_silence_says says;
    char text[256];
    int i;
    while ((says = ddp_silence_judge(&h->silence, ddp_now(), ending, &i, text, sizeof text))) {
        const char *host = h->agent[i]->host;
        if (says != DDP_SILENCE_ENDS) {
            say(h, "host %s %s", host, text);
            continue;
        }
        if (!ending) {
            ddp_outcome_lose(h->outcome, host, text);
            happened(h, DDP_LIFE_HOST_LOST);
        }
        ddp_agent_order(h->agent[i], DDP_ORDER_GIVE_UP);
    }
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
        happened(h, DDP_LIFE_JOINED);
        break;
    case DDP_NEWS_ERROR:
        ddp_outcome_fail(o, host, n->rank, true, n->value, n->text);
        happened(h, DDP_LIFE_FAILED);
        break;
    case DDP_NEWS_CUT:
        ddp_outcome_cut(o, host, n->rank, n->value, n->text);
        happened(h, DDP_LIFE_FAILED);
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
        happened(h, DDP_LIFE_STOP); /* an interrupt of ours is another matter */
        break;
    case DDP_NEWS_NOTICE:
        say(h, "%s", n->text);
        break;
    case DDP_NEWS_BYE:
        on_bye(h, host, n);
        break;
    case DDP_NEWS_DIED:
        ddp_outcome_fail(o, host, n->rank, false, 0, n->text);
        happened(h, DDP_LIFE_DIED);
        break;
    case DDP_NEWS_GONE:
        note_end(h, n->rank, DDP_ENDED);
        ddp_pulses_left(&h->pulses, n->rank);
        happened(h, DDP_LIFE_GONE);
        break;
    case DDP_NEWS_MISSING:
        ddp_outcome_fail(o, host, n->rank, false, 0, n->text);
        happened(h, DDP_LIFE_MISSING);
        break;
    case DDP_NEWS_NOBODY:
        happened(h, DDP_LIFE_NOBODY);
        break;
    case DDP_NEWS_HALTED:
        say(h, "%s", n->text);
        break;
    case DDP_NEWS_PULSE:
        ddp_pulses_take(&h->pulses, n);
        break;
    case DDP_NEWS_ALIVE:
        break;
    case DDP_NEWS_STARTER_LOST:
        happened(h, DDP_LIFE_STARTER_LOST);
        break;
    case DDP_NEWS_LOST: /* its starter may have seen it first: that says less than this */
        if (!n->killed || !o->failure.known)
            ddp_outcome_lose(o, host, n->text);
        happened(h, DDP_LIFE_HOST_LOST);
        break;
    case DDP_NEWS_STARTER_ENDED:
        on_starter_ended(h, i, n);
        break;
    case DDP_NEWS_SWEPT:
        happened(h, DDP_LIFE_SWEPT);
        break;
    case DDP_NEWS_OUTPUT_ENDED:
        happened(h, DDP_LIFE_OUTPUT_ENDED);
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
        happened(h, sig == SIGINT || sig == SIGTERM ? DDP_LIFE_INTERRUPT : DDP_LIFE_STOP);
    }
}

static void call_roll(struct ddp_head *h)
{
    char why[256];
    if (h->life.state != DDP_LIFE_STARTING || ddp_now() < ddp_roll_due(&h->roll))
        return;
    const char *host = ddp_roll_explain(&h->roll, why, sizeof why);
    ddp_outcome_fail(h->outcome, host, -1, false, 0, why);
    happened(h, DDP_LIFE_MISSING);
}

void ddp_head_look(struct ddp_head *h)
{
    judge(h);
    judge_silence(h);
    call_roll(h);
    act(h, ddp_life_pass_time(&h->life, ddp_now()));
}
