/* What the head concludes as time passes: who holds up the others, who is not heard, who has not come. */
#include "launcher/head_private.h"

#include <stdio.h>

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
            ddp_head_happened(h, DDP_LIFE_STUCK);
        } else if (f.kind == DDP_FINDING_DONE) {
            if (!h->quiet)
                ddp_head_say(h, "%s", f.text);
            ddp_head_happened(h, DDP_LIFE_DONE);
        } else if (f.kind == DDP_FINDING_STUCK && f.rank < 0) {
            ddp_head_say(h, "%s", f.text);
        } else if (f.kind == DDP_FINDING_STUCK || (f.kind == DDP_FINDING_SLOW && !h->quiet)) {
            ddp_head_say(h, "rank %d on %s %s", f.rank, ddp_head_host_of(h, f.rank), f.text);
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
            ddp_head_say(h, "host %s %s", host, text);
            continue;
        }
        if (!ending) {
            ddp_outcome_lose(h->outcome, host, text);
            ddp_head_happened(h, DDP_LIFE_HOST_LOST);
        }
        ddp_agent_order(h->agent[i], DDP_ORDER_GIVE_UP);
    }
}

static void call_roll(struct ddp_head *h)
{
    char why[256];
    if (h->life.state != DDP_LIFE_STARTING || ddp_now() < ddp_roll_due(&h->roll))
        return;
    const char *host = ddp_roll_explain(&h->roll, why, sizeof why);
    ddp_outcome_fail(h->outcome, host, -1, false, 0, why);
    ddp_head_happened(h, DDP_LIFE_MISSING);
}

void ddp_head_look(struct ddp_head *h)
{
    judge_silence(h);
    if (!ddp_silence_is_told(&h->silence))
        judge(h);
    call_roll(h);
    ddp_head_act(h, ddp_life_pass_time(&h->life, ddp_now()));
}
