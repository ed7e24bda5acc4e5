/* What an agent sees by looking, some times a second: pulses of ranks, processes that are stopped. */
#include "launcher/agent_local_private.h"

#include <stdio.h>

#include "launcher/process.h"
#include "launcher/tagged.h"

enum { LOOKS_HALTED = 2, OTHERS = 16 };

/* ---- who is halted --------------------------------------------------------------------------- */

static bool is_rank(const struct ddp_local_agent *a, pid_t pid)
{
    for (int i = 0; i < a->ranks.n; i++)
        if (a->ranks.rank[i].pid == pid)
            return true;
    return false;
}

static pid_t halted(pid_t pid)
{
    return pid > 0 && ddp_process_state(pid, NULL) == 'T' ? pid : 0;
}

/* Of those that are no ranks, or not yet: the starter's program here, what has started ranks; and until all
 * have come, whatever there is of the job. 0: none. */
static pid_t find_other(const struct ddp_local_agent *a)
{
    pid_t pid[OTHERS], found = 0;
    for (int i = 0; i < a->nworkers && found == 0 && !a->starter->direct; i++)
        found = a->worker[i].ended ? 0 : halted(a->worker[i].child.pid);
    for (int i = 0; i < a->ranks.n && found == 0; i++)
        found = halted(a->ranks.rank[i].parent);
    if (found != 0 || a->ranks.n == a->ranks.expected)
        return found;
    const int n = ddp_tagged_halted(a->job->name, pid, OTHERS);
    for (int i = 0; i < n && found == 0; i++)
        found = is_rank(a, pid[i]) ? 0 : pid[i];
    return found;
}

/* Looks at which a process was found halted are counted; beyond the last it has been told. */
static int count_look(int seen, bool is_halted)
{
    return !is_halted ? 0 : seen < LOOKS_HALTED ? seen + 1 : seen;
}

static void look_for_halted(struct ddp_local_agent *a, double now)
{
    a->look_at = now + DDP_AGENT_LOOK_S;
    for (int i = 0; i < a->ranks.n; i++) {
        struct ddp_rank *r = &a->ranks.rank[i];
        r->halted_seen = count_look(r->halted_seen, !a->paused && !r->gone && halted(r->pid) != 0);
    }
    const pid_t other = a->paused ? 0 : find_other(a);
    a->other_seen = count_look(other == a->other ? a->other_seen : 0, other != 0);
    a->other = other;
}

static bool tell_halted(struct ddp_local_agent *a, struct ddp_news *out)
{
    for (int i = 0; i < a->ranks.n; i++) {
        struct ddp_rank *r = &a->ranks.rank[i];
        if (r->halted_seen != LOOKS_HALTED)
            continue;
        r->halted_seen++;
        out->kind = DDP_NEWS_HALTED;
        out->rank = r->number;
        snprintf(out->text, sizeof out->text,
                 "rank %d on %s (process %d) is stopped, and all others wait for it: 'kill -CONT %d' lets it "
                 "go on",
                 r->number, a->job->host, (int)r->pid, (int)r->pid);
        return true;
    }
    if (a->other_seen != LOOKS_HALTED)
        return false;
    a->other_seen++;
    char name[32];
    out->kind = DDP_NEWS_HALTED;
    snprintf(out->text, sizeof out->text,
             "a process of this job on %s (%d, %s) is stopped: 'kill -CONT %d' lets it go on", a->job->host,
             (int)a->other, ddp_process_name(a->other, name, sizeof name), (int)a->other);
    return true;
}

/* ---- pulses ---------------------------------------------------------------------------------- */

/* Each rank once a round. */
static bool tell_pulse(struct ddp_local_agent *a, double now, struct ddp_news *out)
{
    while (a->pulse_of < a->ranks.n) {
        struct ddp_rank *r = &a->ranks.rank[a->pulse_of++];
        struct ddp_sample s;
        if (r->number < 0 || r->gone)
            continue;
        out->kind = DDP_NEWS_PULSE;
        out->rank = r->number;
        out->text[0] = '\0';
        if (r->pulse) {
            ddp_look_at(&r->look, r->pulse, r->pid, now, &s);
            ddp_sample_format(&s, out->text);
        }
        return true;
    }
    if (now >= a->pulse_at && !a->starter_ended && !a->killed_ranks) {
        a->pulse_at = now + DDP_LOOK_S;
        a->pulse_of = a->paused ? a->ranks.n : 0; /* they stand still because they are paused */
        return tell_pulse(a, now, out);
    }
    return false;
}

static bool tell_alive(struct ddp_local_agent *a, double now, struct ddp_news *out)
{
    if (!ddp_agent_is_away(a) || a->told_output || now < a->alive_at)
        return false;
    a->alive_at = now + DDP_LOOK_S;
    out->kind = DDP_NEWS_ALIVE;
    return true;
}

bool ddp_local_agent_look(struct ddp_local_agent *a, double now, struct ddp_news *out)
{
    if (!a->starter_ended && now >= a->look_at)
        look_for_halted(a, now);
    return tell_halted(a, out) || tell_pulse(a, now, out) || tell_alive(a, now, out);
}
