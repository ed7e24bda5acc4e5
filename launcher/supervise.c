/* A job from start to end: agents are woken and heard until its life is over, and the verdict is given. */
#include "launcher/supervise.h"

#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher/head.h"
#include "launcher/signals.h"
#include "record/record.h"

enum { LONGEST_WAIT_S = 60 };

/* ---- waiting --------------------------------------------------------------------------------- */

static int wait_ms(double until)
{
    const double s = until - ddp_now();
    return s < 0 ? 0 : s > LONGEST_WAIT_S ? LONGEST_WAIT_S * 1000 : (int)(s * 1e3) + 1;
}

/* Wait for signals and agents. fds: room for all of their descriptors; at: [nagents], to note where each
 * one's begin. */
static void wait_for_news(struct ddp_head *h, struct pollfd *fds, int *at)
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
        ddp_head_signal(h, ddp_signals_read(h->signals));
    for (int i = 0; i < h->nagents; i++)
        ddp_agent_woken(h->agent[i], fds + at[i]);
}

static void watch(struct ddp_head *h)
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
                ddp_head_hear(h, i, news);
        ddp_head_look(h);
    }
    free(at);
    free(news);
    free(fds);
}

/* ---- the end --------------------------------------------------------------------------------- */

/* Nothing of the job runs any more: a record that its ranks could not close says why. text: what the user is
 * told. */
static void close_record(const struct ddp_head *h, const char *text)
{
    const struct ddp_outcome *o = h->outcome;
    static const char name[] = "ddp-launch: ";
    char cause[4096];
    if (!*o->run)
        return;
    text += strncmp(text, name, sizeof name - 1) == 0 ? sizeof name - 1 : 0;
    snprintf(cause, sizeof cause, "%.*s", (int)strcspn(text, "\n"), text);
    ddp_run_close_of(o->run, o->run_pid, *cause ? cause : "it ended without a word");
}

/* For the reader of our output: whoever asked for a stop has launch.grace from then on. */
static double patience(const struct ddp_head *h)
{
    return h->asked > 0 ? h->asked + h->life.grace - ddp_now() : HUGE_VAL;
}

/* Ranks that have held up the others, over the whole job. */
static void add_slow(const struct ddp_head *h, struct ddp_text *text)
{
    struct ddp_slow_rank slow;
    char words[512];
    for (int i = 0; i < h->job->ranks; i++)
        if (ddp_slow_total(&h->pulses.slow, i, &slow)) {
            ddp_slow_text(&slow, DDP_SLOW_GOES_ON, words, sizeof words);
            ddp_text_add(text, "ddp-launch: rank %d on %s %s\n", i, ddp_head_host_of(h, i), words);
        }
}

static int conclude(struct ddp_head *h)
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

static void tell_ending(const struct ddp_head *h, struct ddp_ending *ending)
{
    const struct ddp_outcome *o = h->outcome;
    snprintf(ending->run, sizeof ending->run, "%s", o->run);
    snprintf(ending->host, sizeof ending->host, "%s", o->failure.lost ? o->failure.host : "");
    ending->asked = h->signal != 0;
}

/* ---- all of it ------------------------------------------------------------------------------- */

int ddp_supervise_job(const struct ddp_starter *starter, const struct ddp_job *job,
                      const struct ddp_elsewhere *others, bool quiet, int *exit_code,
                      struct ddp_ending *ending, struct ddp_error *err)
{
    static const struct ddp_elsewhere none = {0};
    struct ddp_head h = {.starter = starter, .job = job, .quiet = quiet};
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
    ddp_silence_init(&h.silence, h.nagents, job->stuck_after);
    ddp_silence_hear(&h.silence, 0, true); /* we are that one */
    for (int i = 0; i < others->n; i++)
        if (others->through[i] >= 0)
            ddp_silence_through(&h.silence, 1 + i, 1 + others->through[i]);
    watch(&h);
    *exit_code = conclude(&h);
    tell_ending(&h, ending);
    ddp_silence_finish(&h.silence);
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
