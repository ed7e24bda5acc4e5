/* What is done because time has passed: killing what did not end by itself, and looking for ranks that are
 * stopped or missing. */
#include <stdio.h>

#include "launcher/supervisor.h"

static const double COUNT_S = 0.02;  /* between counts of the starter's children while ranks are missing */
static const double MISSING_S = 0.8; /* for so long they must have been too few */
static const double NOBODY_S = 30;   /* for a starter that has started none */
static const double LOOK_S = 2.0;    /* between looks for ranks that somebody stopped */
enum { LOOKS_STOPPED = 2 };

static void look_for_stopped(struct ddp_supervisor *s)
{
    s->look_at = ddp_now() + LOOK_S;
    for (int i = 0; i < s->ranks.n; i++) {
        struct ddp_rank *r = &s->ranks.rank[i];
        if (r->gone || ddp_process_state(r->pid, NULL) != 'T') {
            r->stopped_seen = 0;
            continue;
        }
        if (++r->stopped_seen == LOOKS_STOPPED)
            ddp_supervisor_say(
                s,
                "rank %d on %s (process %d) is stopped, and all others wait for it: 'kill -CONT %d' lets it "
                "go on",
                r->number, s->job->host, (int)r->pid, (int)r->pid);
    }
}

/* A rank that dies before its hello is missed by nobody, mpirun would wait for ever: the starter has fewer
 * children than there are ranks, and that does not change for a while. */
static void look_for_missing(struct ddp_supervisor *s)
{
    struct ddp_rank missing = {.number = -1};
    const int n = ddp_process_children(s->child.pid), expected = s->ranks.expected;
    const double now = ddp_now();

    s->count_at = now + COUNT_S;
    s->children_seen |= n > 0 || ddp_process_has_reaped(s->child.pid);
    if (n != s->children)
        s->children_since = now;
    s->children = n;
    const double same = now - s->children_since;
    if (s->killing || n >= expected)
        return;
    if (n == 0) { /* all gone; or it has not got so far yet */
        if (same > (s->children_seen || s->ranks.n > 0 ? MISSING_S : NOBODY_S))
            ddp_supervisor_kill_starter(s);
        return;
    }
    if (s->ranks.n == 0 ||
        same < MISSING_S) /* without a single hello it may be a program that does not speak to us */
        return;
    if (s->ranks.n == expected - 1) { /* the number that nobody has is the sum of all less those we know */
        missing.number = (int)((long)expected * (expected - 1) / 2);
        for (int i = 0; i < s->ranks.n; i++)
            missing.number -= s->ranks.rank[i].number;
    }
    ddp_supervisor_note_failure(s, &missing, false, 0, "ended before it could report to ddp-launch");
    ddp_supervisor_kill_ranks(s);
}

void ddp_supervisor_act_on_time(struct ddp_supervisor *s)
{
    const double now = ddp_now();
    if (s->ranks.n < s->ranks.expected && now >= s->count_at)
        look_for_missing(s);
    if (s->kill_ranks_at != 0 && now >= s->kill_ranks_at)
        ddp_supervisor_kill_ranks(s);
    if (s->kill_starter_at != 0 && now >= s->kill_starter_at)
        ddp_supervisor_kill_starter(s);
    if (now >= s->look_at)
        look_for_stopped(s);
}

void ddp_supervisor_start_clocks(struct ddp_supervisor *s)
{
    s->look_at = ddp_now() + LOOK_S;
    s->count_at = ddp_now() + COUNT_S;
    s->children_since = ddp_now();
}

int ddp_supervisor_next_wait_ms(const struct ddp_supervisor *s)
{
    double at = s->look_at;
    at = s->ranks.n < s->ranks.expected && s->count_at < at ? s->count_at : at;
    at = s->kill_ranks_at != 0 && s->kill_ranks_at < at ? s->kill_ranks_at : at;
    at = s->kill_starter_at != 0 && s->kill_starter_at < at ? s->kill_starter_at : at;
    const double ms = (at - ddp_now()) * 1e3;
    return ms < 0 ? 0 : (int)ms + 1;
}
