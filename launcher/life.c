/* The tables of a job's life, and the one place that moves between its states. */
#include "launcher/life.h"

#include <assert.h>
#include <math.h>

/* From the kill of ranks to that of their starter: every starter has its own. From the request to stop to the
 * kill of ranks: the user's. */
#define STARTERS_OWN (-1.0)
#define GRACE        (-2.0)
#define NO_LIMIT     HUGE_VAL

static const double HURRY_S = 0.35;       /* left to the failing, once one of them is gone */
static const double SAME_REQUEST_S = 0.2; /* `timeout` and batch systems signal us and then our group again */

static const struct {
    const char *name;
    double limit;     /* seconds until DEADLINE */
    unsigned actions; /* when it is entered */
} states[] = {
    [DDP_LIFE_STARTING] = {"starting", NO_LIMIT, 0},
    [DDP_LIFE_RUNNING] = {"running", NO_LIMIT, 0},
    [DDP_LIFE_STOPPING] = {"stopping", GRACE, DDP_LIFE_ASK_STOP},
    [DDP_LIFE_FAILING] = {"failing", 0.7, 0},
    [DDP_LIFE_KILLING_RANKS] = {"killing ranks", STARTERS_OWN, DDP_LIFE_KILL_RANKS},
    [DDP_LIFE_LEAVING] = {"leaving", 2.0, 0},
    [DDP_LIFE_KILLING_STARTER] = {"killing starter", NO_LIMIT, DDP_LIFE_KILL_RANKS | DDP_LIFE_KILL_STARTER},
    [DDP_LIFE_SWEEPING] = {"sweeping", 2.0, DDP_LIFE_SWEEP},
    [DDP_LIFE_DRAINING] = {"draining", 0.5, 0},
    [DDP_LIFE_OVER] = {"over", NO_LIMIT, 0},
};

/* Events that move only when all of these have had theirs. */
static const enum {
    ONE,
    RANKS,
    HOSTS
} of_all[DDP_LIFE_EVENTS] = {
    [DDP_LIFE_JOINED] = RANKS, [DDP_LIFE_GONE] = RANKS,         [DDP_LIFE_STARTER_ENDED] = HOSTS,
    [DDP_LIFE_SWEPT] = HOSTS,  [DDP_LIFE_OUTPUT_ENDED] = HOSTS,
};

// clang-format off
enum { ___, RUN, STOP, FAIL, KILL, LEAVE, FELL, SWEEP, DRAIN, OVER };
static const enum ddp_life_state state_of[] = {
    [RUN]   = DDP_LIFE_RUNNING,       [STOP]  = DDP_LIFE_STOPPING, [FAIL] = DDP_LIFE_FAILING,
    [KILL]  = DDP_LIFE_KILLING_RANKS, [LEAVE] = DDP_LIFE_LEAVING,  [FELL] = DDP_LIFE_KILLING_STARTER,
    [SWEEP] = DDP_LIFE_SWEEPING,      [DRAIN] = DDP_LIFE_DRAINING, [OVER] = DDP_LIFE_OVER,
};

/* Where each event leads from each state; ___ stays. */
static const unsigned char moves[DDP_LIFE_EVENTS][DDP_LIFE_STATES] = {
    /*                             starting      stopping      kill ranks    kill starter  draining
                                          running       failing       leaving       sweeping      over */
    [DDP_LIFE_JOINED]          = { RUN,   ___,   ___,   ___,   ___,   ___,   ___,   ___,   ___,   ___},
    [DDP_LIFE_FAILED]          = { FAIL,  FAIL,  FAIL,  ___,   ___,   ___,   ___,   ___,   ___,   ___},
    [DDP_LIFE_GONE]            = { ___,   LEAVE, LEAVE, ___,   ___,   ___,   ___,   ___,   ___,   ___},
    [DDP_LIFE_DIED]            = { KILL,  KILL,  KILL,  KILL,  ___,   ___,   ___,   ___,   ___,   ___},
    [DDP_LIFE_MISSING]         = { KILL,  KILL,  KILL,  KILL,  ___,   ___,   ___,   ___,   ___,   ___},
    [DDP_LIFE_STUCK]           = { KILL,  KILL,  KILL,  KILL,  ___,   ___,   ___,   ___,   ___,   ___},
    [DDP_LIFE_DONE]            = { ___,   LEAVE, LEAVE, ___,   ___,   ___,   ___,   ___,   ___,   ___},
    [DDP_LIFE_NOBODY]          = { FELL,  FELL,  FELL,  FELL,  ___,   ___,   ___,   ___,   ___,   ___},
    [DDP_LIFE_STARTER_LOST]    = { KILL,  KILL,  KILL,  KILL,  ___,   ___,   ___,   ___,   ___,   ___},
    [DDP_LIFE_HOST_LOST]       = { KILL,  KILL,  KILL,  KILL,  ___,   ___,   ___,   ___,   ___,   ___},
    [DDP_LIFE_STARTER_ENDED]   = { SWEEP, SWEEP, SWEEP, SWEEP, SWEEP, SWEEP, SWEEP, ___,   ___,   ___},
    [DDP_LIFE_SWEPT]           = { ___,   ___,   ___,   ___,   ___,   ___,   ___,   DRAIN, ___,   ___},
    [DDP_LIFE_OUTPUT_ENDED]    = { ___,   ___,   ___,   ___,   ___,   ___,   ___,   ___,   OVER,  ___},
    [DDP_LIFE_STOP]            = { STOP,  STOP,  ___,   ___,   ___,   ___,   ___,   ___,   ___,   ___},
    [DDP_LIFE_INTERRUPT]       = { STOP,  STOP,  ___,   ___,   ___,   ___,   ___,   ___,   ___,   ___},
    [DDP_LIFE_INTERRUPT_AGAIN] = { FELL,  FELL,  FELL,  FELL,  FELL,  FELL,  ___,   ___,   ___,   ___},
    [DDP_LIFE_DEADLINE]        = { ___,   ___,   KILL,  KILL,  FELL,  FELL,  ___,   DRAIN, OVER,  ___},
};
// clang-format on
static_assert(sizeof states / sizeof *states == DDP_LIFE_STATES, "every state has its row");

enum ddp_life_state ddp_life_next(enum ddp_life_state state, enum ddp_life_event event)
{
    const unsigned char to = moves[event][state];
    return to ? state_of[to] : state;
}

const char *ddp_life_state_name(enum ddp_life_state state)
{
    return states[state].name;
}

void ddp_life_init(struct ddp_life *life, int ranks, int hosts, double kill_after, double grace)
{
    *life = (struct ddp_life){
        .deadline = NO_LIMIT, .ranks = ranks, .hosts = hosts, .kill_after = kill_after, .grace = grace};
}

static unsigned enter(struct ddp_life *life, enum ddp_life_state state, double now)
{
    const double limit = states[state].limit;
    life->state = state;
    life->deadline = now + (limit == STARTERS_OWN ? life->kill_after : limit == GRACE ? life->grace : limit);
    return states[state].actions;
}

/* The second interrupt is another event; one that only repeats the first at once is none. */
static enum ddp_life_event read_interrupt(struct ddp_life *life, double now)
{
    const int before = life->seen[DDP_LIFE_INTERRUPT];
    if (before > 0 && now - life->interrupted < SAME_REQUEST_S)
        return DDP_LIFE_EVENTS;
    life->interrupted = now;
    return before > 0 ? DDP_LIFE_INTERRUPT_AGAIN : DDP_LIFE_INTERRUPT;
}

unsigned ddp_life_on(struct ddp_life *life, enum ddp_life_event event, double now)
{
    if (event == DDP_LIFE_INTERRUPT)
        event = read_interrupt(life, now);
    if (event == DDP_LIFE_EVENTS)
        return 0;
    const int needed = of_all[event] == RANKS ? life->ranks : of_all[event] == HOSTS ? life->hosts : 1;
    const int seen = ++life->seen[event];
    if (event == DDP_LIFE_GONE && life->state == DDP_LIFE_FAILING)
        life->deadline = fmin(life->deadline, now + HURRY_S);
    const enum ddp_life_state next = ddp_life_next(life->state, event);
    if (seen < needed || next == life->state)
        return 0;
    life->forced |= event == DDP_LIFE_INTERRUPT_AGAIN;
    life->overdue |= event == DDP_LIFE_DEADLINE && life->state == DDP_LIFE_STOPPING;
    return enter(life, next, now);
}

unsigned ddp_life_pass_time(struct ddp_life *life, double now)
{
    return now >= life->deadline ? ddp_life_on(life, DDP_LIFE_DEADLINE, now) : 0;
}

void ddp_life_skip_time(struct ddp_life *life, double seconds)
{
    life->deadline += seconds;
}
