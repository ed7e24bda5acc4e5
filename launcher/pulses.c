/* From looks to findings. */
#include "launcher/pulses.h"

static const double JUDGE_S = 0.1; /* between judgements, at least */

void ddp_pulses_init(struct ddp_pulses *p, int ranks, double stuck_after)
{
    ddp_watch_init(&p->watch, ranks, stuck_after);
    ddp_slow_init(&p->slow, ranks);
    p->judged = 0;
}

void ddp_pulses_finish(struct ddp_pulses *p)
{
    ddp_watch_finish(&p->watch);
    ddp_slow_finish(&p->slow);
}

void ddp_pulses_take(struct ddp_pulses *p, const struct ddp_news *n)
{
    struct ddp_sample s;
    const struct ddp_sample *seen = ddp_sample_parse(n->text, &s) ? &s : NULL;
    ddp_watch_take(&p->watch, n->rank, seen);
    ddp_slow_take(&p->slow, n->rank, seen);
}

void ddp_pulses_left(struct ddp_pulses *p, int rank)
{
    ddp_watch_left(&p->watch, rank);
    ddp_slow_left(&p->slow, rank);
}

void ddp_pulses_done(struct ddp_pulses *p)
{
    ddp_watch_done(&p->watch);
}

static bool find_slow(struct ddp_pulses *p, struct ddp_finding *out)
{
    const struct ddp_slow_rank *who;
    const enum ddp_slow_says says = ddp_slow_judge(&p->slow, &who);
    if (says == DDP_SLOW_NOTHING)
        return false;
    out->kind = says == DDP_SLOW_GOES_ON ? DDP_FINDING_NOTE : DDP_FINDING_SLOW;
    out->rank = who->rank;
    out->slow = *who;
    ddp_slow_text(who, says, out->text, sizeof out->text);
    return true;
}

bool ddp_pulses_next(struct ddp_pulses *p, double now, struct ddp_finding *out)
{
    if (find_slow(p, out))
        return true;
    if (now - p->judged < JUDGE_S)
        return false;
    const enum ddp_watch_says says = ddp_watch_judge(&p->watch, now, &out->rank, out->text, sizeof out->text);
    out->kind = says == DDP_WATCH_ENDS   ? DDP_FINDING_END
                : says == DDP_WATCH_DONE ? DDP_FINDING_DONE
                                         : DDP_FINDING_STUCK;
    if (says == DDP_WATCH_NOTHING || says == DDP_WATCH_ENDS || says == DDP_WATCH_DONE)
        p->judged = now;
    return says != DDP_WATCH_NOTHING;
}
