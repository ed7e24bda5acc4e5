/* How long nothing has been heard of agents. */
#include "launcher/silence.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/base.h"

static const double WARN_S = 10, ENDING_S = 10;
static const double PATIENCE = 3; /* times the limit of the warning, at least, until the end */
static const double PASSED_S = 2; /* an agent that works is heard more often, and passes on as often */
static const double LOOKED_S = 1; /* time between judgements that counts at most: we may have been paused */

void ddp_silence_init(struct ddp_silence *s, int agents, double stuck_after)
{
    *s = (struct ddp_silence){.agents = agents, .stuck_after = stuck_after};
    s->agent = ddp_calloc((size_t)agents, sizeof *s->agent);
    for (int i = 0; i < agents; i++)
        s->agent[i].through = -1;
}

void ddp_silence_through(struct ddp_silence *s, int agent, int through)
{
    s->agent[agent].through = through;
}

void ddp_silence_finish(struct ddp_silence *s)
{
    free(s->agent);
    s->agent = NULL;
}

void ddp_silence_hear(struct ddp_silence *s, int agent, bool ends)
{
    s->agent[agent].silent = 0;
    s->agent[agent].left |= ends;
}

static double warn_after(const struct ddp_silence *s)
{
    return s->stuck_after > 0 ? fmin(WARN_S, s->stuck_after / PATIENCE) : WARN_S;
}

static double end_after(const struct ddp_silence *s, bool ending)
{
    if (ending)
        return ENDING_S;
    return s->stuck_after > 0 ? fmax(s->stuck_after, PATIENCE * warn_after(s)) : HUGE_VAL;
}

static enum ddp_silence_says judge_one(struct ddp_silence *s, int i, bool ending, char *text, int size)
{
    const double silent = s->agent[i].silent, told = s->agent[i].told;
    if (silent >= end_after(s, ending)) {
        s->agent[i].left = true;
        snprintf(text, (size_t)size, "is lost: its agent has said nothing for %.0f s; is it stopped?%s",
                 silent, ending ? "" : " (launch.stuck_after)");
        return DDP_SILENCE_ENDS;
    }
    if (told > 0 && silent < told) {
        s->agent[i].told = 0;
        snprintf(text, (size_t)size, "is heard of again after %.0f s", told);
        return DDP_SILENCE_OVER;
    }
    if (told > 0)
        s->agent[i].told = silent;
    if (told > 0 || ending || silent < warn_after(s))
        return DDP_SILENCE_NOTHING;
    s->agent[i].told = silent;
    const int n = snprintf(text, (size_t)size,
                           "does not answer: its agent has said nothing for %.0f s; is it stopped?", silent);
    if (s->stuck_after > 0 && n > 0 && n < size)
        snprintf(text + n, (size_t)(size - n), " After %.0f s of it the job is ended (launch.stuck_after)",
                 end_after(s, false));
    return DDP_SILENCE_WARNS;
}

/* Whether it may speak, and the one that passes it on does not. */
static bool is_behind_silence(const struct ddp_silence *s, int i)
{
    const struct ddp_unheard *by = s->agent[i].through >= 0 ? &s->agent[s->agent[i].through] : NULL;
    return by && !by->left && by->silent > PASSED_S;
}

bool ddp_silence_is_told(const struct ddp_silence *s)
{
    bool told = false;
    for (int i = 0; i < s->agents; i++)
        told |= !s->agent[i].left && s->agent[i].told > 0;
    return told;
}

enum ddp_silence_says ddp_silence_judge(struct ddp_silence *s, double now, bool ending, int *agent,
                                        char *text, int size)
{
    const double gap = s->at > 0 ? fmin(now - s->at, LOOKED_S) : 0;
    enum ddp_silence_says says = DDP_SILENCE_NOTHING;
    s->at = now;
    for (int i = 0; i < s->agents; i++)
        s->agent[i].silent = is_behind_silence(s, i) ? 0 : s->agent[i].silent + gap;
    for (int i = 0; i < s->agents && says == DDP_SILENCE_NOTHING; i++) {
        *agent = i;
        if (!s->agent[i].left && !is_behind_silence(s, i))
            says = judge_one(s, i, ending, text, size);
    }
    return says;
}
