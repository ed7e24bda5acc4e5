/* The head of a running job: takes the news of agents, signals and time to the life of the job, and acts. */
#include "launcher/supervise.h"

#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher/agent_local.h"
#include "launcher/late.h"
#include "launcher/life.h"
#include "launcher/oom.h"
#include "launcher/pulses.h"
#include "launcher/roll.h"
#include "launcher/signals.h"
#include "launcher/verdict.h"
#include "record/record.h"

enum { LONGEST_WAIT_S = 60 };

struct head {
    const struct ddp_starter *starter;
    const struct ddp_job *job;
    bool quiet;
    struct ddp_local_agent *here;
    int nagents;
    struct ddp_agent **agent; /* [nagents] of each host; the first is `here` */
    int signals;              /* descriptor */
    int signal;               /* the last that came */
    double asked;             /* when ranks were asked to stop; 0: they were not */
    unsigned char *ended;     /* [ranks] enum ddp_ended */
    struct ddp_life life;
    struct ddp_roll roll;
    struct ddp_outcome *outcome;
    struct ddp_pulses pulses;
    struct ddp_oom memory; /* as it stood at the start */
};

/* A line of ours on stderr. */
static void DDP_PRINTF(2, 3) say(const struct head *h, const char *fmt, ...)
{
    va_list ap;
    char text[1024], line[1100];
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    snprintf(line, sizeof line, "ddp-launch: %s\n", text);
    ddp_local_agent_say(h->here, line);
}

static const char *host_of(const struct head *h, int rank)
{
    return h->outcome->host_of ? h->outcome->host_of[rank] : h->job->host;
}

/* ---- what follows ---------------------------------------------------------------------------- */

static void order_all(const struct head *h, enum ddp_order order)
{
    for (int i = 0; i < h->nagents; i++)
        ddp_agent_order(h->agent[i], order);
}

static void ask_stop(struct head *h)
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
static void name_late(struct head *h)
{
    struct ddp_outcome *o = h->outcome;
    if (o->late[0])
        return;
    o->grace = h->life.grace;
    char text[1024];
    const int rank = ddp_watch_culprit(&h->pulses.watch, text, sizeof text);
    if (rank >= 0)
        snprintf(o->late, sizeof o->late, "rank %d on %s, which %s,", rank, host_of(h, rank), text);
    else
        ddp_late_name(o->ranks, h->ended, h->job->host, o->host_of, o->late, sizeof o->late);
}

static void act(struct head *h, unsigned actions)
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

static void happened(struct head *h, enum ddp_life_event event)
{
    act(h, ddp_life_on(&h->life, event, ddp_now()));
}

/* ---- what happens ---------------------------------------------------------------------------- */

static void note_end(struct head *h, int rank, enum ddp_ended how)
{
    if (rank >= 0 && rank < h->outcome->ranks)
        h->ended[rank] = (unsigned char)how;
}

static void on_bye(struct head *h, const char *host, const struct ddp_news *n)
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
static void on_starter_ended(struct head *h, const struct ddp_agent *from, const struct ddp_news *n)
{
    if (from == h->agent[0]) {
        h->outcome->starter_status = n->value;
        h->outcome->starter_killed = n->killed;
        for (int i = 1; i < h->nagents; i++)
            ddp_agent_order(h->agent[i], DDP_ORDER_NO_STARTER);
    }
    happened(h, DDP_LIFE_STARTER_ENDED);
}

/* Rank 0 writes it down. */
static void note_slow(const struct head *h, const struct ddp_finding *f)
{
    char text[DDP_SLOW_TEXT];
    struct ddp_slow_rank slow = f->slow;
    snprintf(slow.host, sizeof slow.host, "%s", host_of(h, f->rank));
    ddp_slow_format(&slow, text);
    for (int i = 0; i < h->nagents; i++)
        ddp_agent_note(h->agent[i], 0, text);
}

/* Ranks that hold up the others, while nobody has ended them. */
static void judge(struct head *h)
{
    struct ddp_finding f;
    while (h->life.state <= DDP_LIFE_STOPPING && ddp_pulses_next(&h->pulses, ddp_now(), &f)) {
        if (f.kind == DDP_FINDING_SLOW || f.kind == DDP_FINDING_NOTE)
            note_slow(h, &f);
        if (f.kind == DDP_FINDING_END) {
            ddp_outcome_fail(h->outcome, f.rank < 0 ? "" : host_of(h, f.rank),
                             f.rank < 0 ? DDP_OUTCOME_ALL : f.rank, false, 0, f.text);
            happened(h, DDP_LIFE_STUCK);
        } else if (f.kind == DDP_FINDING_STUCK && f.rank < 0) {
            say(h, "%s", f.text);
        } else if (f.kind == DDP_FINDING_STUCK || (f.kind == DDP_FINDING_SLOW && !h->quiet)) {
            say(h, "rank %d on %s %s", f.rank, host_of(h, f.rank), f.text);
        }
    }
}

static void on_news(struct head *h, const struct ddp_agent *from, const struct ddp_news *n)
{
    struct ddp_outcome *o = h->outcome;
    const char *host = from->host;

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
    case DDP_NEWS_STARTER_LOST:
        happened(h, DDP_LIFE_STARTER_LOST);
        break;
    case DDP_NEWS_LOST:
        ddp_outcome_lose(o, host, n->text);
        happened(h, DDP_LIFE_HOST_LOST);
        break;
    case DDP_NEWS_STARTER_ENDED:
        on_starter_ended(h, from, n);
        break;
    case DDP_NEWS_SWEPT:
        happened(h, DDP_LIFE_SWEPT);
        break;
    case DDP_NEWS_OUTPUT_ENDED:
        happened(h, DDP_LIFE_OUTPUT_ENDED);
        break;
    }
}

static void pause_all(struct head *h)
{
    const double before = ddp_now();
    order_all(h, DDP_ORDER_PAUSE);
    raise(SIGSTOP);
    order_all(h, DDP_ORDER_GO_ON);
    ddp_life_skip_time(&h->life, ddp_now() - before);
}

static void on_signal(struct head *h, int sig)
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

/* ---- the life of a job ----------------------------------------------------------------------- */

static int wait_ms(double until)
{
    const double s = until - ddp_now();
    return s < 0 ? 0 : s > LONGEST_WAIT_S ? LONGEST_WAIT_S * 1000 : (int)(s * 1e3) + 1;
}

/* Wait for signals and agents. fds: room for all of their descriptors; at: [nagents], to note where each
 * one's begin. */
static void wait_for_news(struct head *h, struct pollfd *fds, int *at)
{
    const bool calls = h->life.state == DDP_LIFE_STARTING;
    double until = calls ? fmin(h->life.deadline, ddp_roll_due(&h->roll)) : h->life.deadline;
    int n = 1;
    fds[0] = (struct pollfd){.fd = h->signals, .events = POLLIN};
    for (int i = 0; i < h->nagents; i++) {
        at[i] = n;
        n += ddp_agent_watch(h->agent[i], fds + n, &until);
    }
    if (poll(fds, (nfds_t)n, wait_ms(until)) <= 0)
        return;
    if (fds[0].revents) /* before the agents: a child's end that comes after their look wakes us again */
        on_signal(h, ddp_signals_read(h->signals));
    for (int i = 0; i < h->nagents; i++)
        ddp_agent_woken(h->agent[i], fds + at[i]);
}

static void call_roll(struct head *h)
{
    char why[256];
    if (h->life.state != DDP_LIFE_STARTING || ddp_now() < ddp_roll_due(&h->roll))
        return;
    const char *host = ddp_roll_explain(&h->roll, why, sizeof why);
    ddp_outcome_fail(h->outcome, host, -1, false, 0, why);
    happened(h, DDP_LIFE_MISSING);
}

static void watch(struct head *h)
{
    int most = 1;
    for (int i = 0; i < h->nagents; i++)
        most += ddp_agent_watches(h->agent[i]);
    struct pollfd *fds = ddp_calloc((size_t)most, sizeof *fds);
    struct ddp_news *news = ddp_calloc(1, sizeof *news);
    int *at = ddp_calloc((size_t)h->nagents, sizeof *at);

    while (h->life.state != DDP_LIFE_OVER) {
        wait_for_news(h, fds, at);
        for (int i = 0; i < h->nagents; i++)
            while (ddp_agent_next(h->agent[i], ddp_now(), news))
                on_news(h, h->agent[i], news);
        judge(h);
        call_roll(h);
        act(h, ddp_life_pass_time(&h->life, ddp_now()));
    }
    free(at);
    free(news);
    free(fds);
}

/* Nothing of the job runs any more: a record that its ranks could not close says why. text: what the user is
 * told. */
static void close_record(const struct head *h, const char *text)
{
    const struct ddp_outcome *o = h->outcome;
    static const char name[] = "ddp-launch: ";
    char cause[4096];
    if (!*o->run)
        return;
    text += strncmp(text, name, sizeof name - 1) == 0 ? sizeof name - 1 : 0;
    snprintf(cause, sizeof cause, "%.*s", (int)strcspn(text, "\n"), text);
    ddp_run_close(o->run, *cause ? cause : "it ended without a word");
}

/* For the reader of our output: whoever asked for a stop has launch.grace from then on. */
static double patience(const struct head *h)
{
    return h->asked > 0 ? h->asked + h->life.grace - ddp_now() : HUGE_VAL;
}

/* Ranks that have held up the others, over the whole job. */
static void add_slow(const struct head *h, struct ddp_text *text)
{
    struct ddp_slow_rank slow;
    char words[512];
    for (int i = 0; i < h->job->ranks; i++)
        if (ddp_slow_total(&h->pulses.slow, i, &slow)) {
            ddp_slow_text(&slow, DDP_SLOW_GOES_ON, words, sizeof words);
            ddp_text_add(text, "ddp-launch: rank %d on %s %s\n", i, host_of(h, i), words);
        }
}

static int conclude(struct head *h)
{
    struct ddp_outcome *o = h->outcome;
    struct ddp_text text;
    struct ddp_oom memory;

    ddp_local_agent_end_output(h->here);
    ddp_oom_read("", &memory);
    ddp_oom_word(&h->memory, &memory, o->memory, sizeof o->memory);
    o->killed = h->life.forced;
    o->again = h->job->again;
    o->evaluates = h->job->evaluates;
    ddp_text_init(&text);
    const int code = ddp_verdict(o, h->job->host, h->starter->direct ? "" : h->starter->name,
                                 ddp_local_agent_starter_text(h->here),
                                 h->quiet ? ddp_local_agent_last_lines(h->here) : "", &text);
    close_record(h, text.s);
    if (!h->quiet)
        add_slow(h, &text);
    ddp_signals_end_with(h->signals, code, patience(h));
    ddp_local_agent_flush(h->here);
    if (text.len > 0 && !(h->quiet && code == DDP_EXIT_STOPPED)) {
        if (ddp_local_agent_midline(h->here))
            fputc('\n', stderr);
        ddp_text_plain(text.s);
        fputs(text.s, stderr);
    }
    if (*o->result && (code == DDP_EXIT_OK || code == DDP_EXIT_STOPPED))
        printf("%s\n", o->result);
    ddp_text_finish(&text);
    return code;
}

static void tell_ending(const struct head *h, struct ddp_ending *ending)
{
    const struct ddp_outcome *o = h->outcome;
    snprintf(ending->run, sizeof ending->run, "%s", o->run);
    snprintf(ending->host, sizeof ending->host, "%s", o->failure.lost ? o->failure.host : "");
    ending->asked = h->signal != 0;
}

int ddp_supervise_job(const struct ddp_starter *starter, const struct ddp_job *job,
                      const struct ddp_elsewhere *others, bool quiet, int *exit_code,
                      struct ddp_ending *ending, struct ddp_error *err)
{
    static const struct ddp_elsewhere none = {0};
    struct head h = {.starter = starter, .job = job, .quiet = quiet};
    const int ranks_here = others ? others->ranks_here : job->ranks;
    sigset_t mask;

    others = others ? others : &none;
    ddp_oom_read("", &h.memory);
    int rc = ddp_signals_open(&h.signals, &mask, err);
    if (rc != 0)
        return rc;
    if (!starter->direct)
        ddp_signals_add(&mask);
    if ((rc = ddp_local_agent_create(starter, job, ranks_here, &mask, quiet, &h.here, err)) != 0)
        goto out;
    h.agent = ddp_calloc((size_t)others->n + 1, sizeof(void *));
    h.agent[h.nagents++] = ddp_agent_here(h.here);
    for (int i = 0; i < others->n; i++)
        h.agent[h.nagents++] = others->agent[i];
    h.outcome = ddp_calloc(1, sizeof *h.outcome);
    h.outcome->ranks = job->ranks;
    h.outcome->host_of = others->host_of;
    ddp_roll_init(&h.roll, job->ranks, others->host_of);
    h.ended = ddp_calloc((size_t)job->ranks, 1);
    ddp_life_init(&h.life, job->ranks, h.nagents, starter->kill_after_ms / 1e3, job->grace);
    ddp_pulses_init(&h.pulses, job->ranks, job->stuck_after);
    watch(&h);
    *exit_code = conclude(&h);
    tell_ending(&h, ending);
    ddp_pulses_finish(&h.pulses);
    ddp_roll_finish(&h.roll);
    free(h.ended);
    free(h.outcome);
    free(h.agent);
    ddp_agent_destroy(ddp_agent_here(h.here));
out:
    close(h.signals);
    return rc;
}
