/* The life of a job, event by event: states and actions, limits of time, counts of ranks and hosts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include "launcher/life.h"

enum { MOST = 16, ASK = DDP_LIFE_ASK_STOP, RANKS = DDP_LIFE_KILL_RANKS, STARTER = DDP_LIFE_KILL_STARTER };
static const double KILL_AFTER_S = 0.1, GRACE_S = 1000;

/* One event at a time; then the state, and what was to be done. WAIT: nothing happens, time passes. */
#define WAIT DDP_LIFE_EVENTS
struct step {
    double at;
    enum ddp_life_event event;
    enum ddp_life_state state;
    unsigned actions;
};
// clang-format off
#define S(at, event, state, actions) {at, DDP_LIFE_##event, DDP_LIFE_##state, actions}
#define W(at, state, actions) {at, WAIT, DDP_LIFE_##state, actions}
#define END_AT(at)                                                                                           \
    S(at, STARTER_ENDED, SWEEPING, DDP_LIFE_SWEEP), S(at, SWEPT, DRAINING, 0), S(at, OUTPUT_ENDED, OVER, 0)

static const struct {
    const char *name;
    int ranks, hosts;
    bool forced, overdue;
    struct step steps[MOST]; /* up to OVER */
} lives[] = {
    {"a job that is done", 2, 1, false, false,
     {S(0, JOINED, STARTING, 0), S(0, JOINED, RUNNING, 0), S(9, GONE, RUNNING, 0), S(9, GONE, LEAVING, 0),
      END_AT(9.1)}},
    {"ranks that leave before others join", 2, 1, false, false,
     {S(0, JOINED, STARTING, 0), S(1, GONE, STARTING, 0), S(2, JOINED, RUNNING, 0), S(3, GONE, LEAVING, 0),
      END_AT(3)}},
    {"a starter that does not end", 1, 1, false, false,
     {S(0, JOINED, RUNNING, 0), S(5, GONE, LEAVING, 0), W(6.9, LEAVING, 0),
      W(7.1, KILLING_STARTER, RANKS | STARTER), W(99, KILLING_STARTER, 0), END_AT(100)}},
    {"a soft stop", 1, 1, false, false,
     {S(0, JOINED, RUNNING, 0), S(1, STOP, STOPPING, ASK), S(2, STOP, STOPPING, 0), W(999, STOPPING, 0),
      S(999, GONE, LEAVING, 0), END_AT(999)}},
    {"a soft stop that one does not follow", 2, 1, false, true,
     {S(0, JOINED, STARTING, 0), S(0, JOINED, RUNNING, 0), S(1, STOP, STOPPING, ASK),
      S(500, STOP, STOPPING, 0),
      W(1000.9, STOPPING, 0), W(1001.1, KILLING_RANKS, RANKS), W(1001.3, KILLING_STARTER, RANKS | STARTER),
      END_AT(1002)}},
    {"a stop of ranks that never join", 2, 1, false, true,
     {S(0, JOINED, STARTING, 0), S(1, INTERRUPT, STOPPING, ASK), W(1002, KILLING_RANKS, RANKS),
      END_AT(1002)}},
    {"a soft stop before all have joined", 2, 1, false, false,
     {S(0, JOINED, STARTING, 0), S(1, INTERRUPT, STOPPING, ASK), S(2, JOINED, STOPPING, 0),
      S(3, GONE, STOPPING, 0), S(3, GONE, LEAVING, 0), END_AT(3)}},
    {"one interrupt that comes twice", 1, 1, false, false,
     {S(0, JOINED, RUNNING, 0), S(1, INTERRUPT, STOPPING, ASK), S(1.1, INTERRUPT, STOPPING, 0),
      S(1.15, STOP, STOPPING, 0), S(2, GONE, LEAVING, 0), END_AT(2)}},
    {"a second interrupt", 1, 1, true, false,
     {S(0, JOINED, RUNNING, 0), S(1, INTERRUPT, STOPPING, ASK), S(1.1, INTERRUPT, STOPPING, 0),
      S(1.3, INTERRUPT, KILLING_STARTER, RANKS | STARTER), S(1.3, GONE, KILLING_STARTER, 0), END_AT(1.3)}},
    {"an interrupt after a soft stop is the first", 1, 1, true, false,
     {S(0, JOINED, RUNNING, 0), S(1, STOP, STOPPING, ASK), S(2, INTERRUPT, STOPPING, 0),
      S(3, INTERRUPT, KILLING_STARTER, RANKS | STARTER), END_AT(3)}},
    {"an interrupt once the starter has ended changes nothing", 1, 1, false, false,
     {S(0, JOINED, RUNNING, 0), S(0, INTERRUPT, STOPPING, ASK), S(1, GONE, LEAVING, 0),
      S(1, STARTER_ENDED, SWEEPING, DDP_LIFE_SWEEP), S(1, INTERRUPT, SWEEPING, 0), S(1, SWEPT, DRAINING, 0),
      S(2, OUTPUT_ENDED, OVER, 0)}},
    {"a rank dies", 3, 1, false, false,
     {S(0, JOINED, STARTING, 0), S(0, JOINED, STARTING, 0), S(0, JOINED, RUNNING, 0),
      S(5, DIED, KILLING_RANKS, RANKS), S(5, GONE, KILLING_RANKS, 0), S(5, GONE, KILLING_RANKS, 0),
      S(5, GONE, KILLING_RANKS, 0), W(5.05, KILLING_RANKS, 0), W(5.11, KILLING_STARTER, RANKS | STARTER),
      END_AT(5.2)}},
    {"a rank dies while it stops", 1, 1, false, false,
     {S(0, JOINED, RUNNING, 0), S(1, STOP, STOPPING, ASK), S(2, DIED, KILLING_RANKS, RANKS),
      S(2, STOP, KILLING_RANKS, 0), END_AT(2)}},
    {"a rank does not go on", 1, 1, false, false,
     {S(0, JOINED, RUNNING, 0), S(9, STUCK, KILLING_RANKS, RANKS), S(9, STUCK, KILLING_RANKS, 0),
      S(9, GONE, KILLING_RANKS, 0), END_AT(9)}},
    {"all are done, and MPI does not end", 2, 1, false, false,
     {S(0, JOINED, STARTING, 0), S(0, JOINED, RUNNING, 0), S(8, GONE, RUNNING, 0), S(9, DONE, LEAVING, 0),
      S(9, DONE, LEAVING, 0), W(11.1, KILLING_STARTER, RANKS | STARTER), END_AT(12)}},
    {"a rank never joins", 2, 1, false, false,
     {S(0, JOINED, STARTING, 0), S(1, MISSING, KILLING_RANKS, RANKS), S(1, GONE, KILLING_RANKS, 0),
      END_AT(1)}},
    {"nobody joins", 2, 1, false, false,
     {W(29, STARTING, 0), S(30, NOBODY, KILLING_STARTER, RANKS | STARTER), S(31, NOBODY, KILLING_STARTER, 0),
      END_AT(31)}},
    {"an error that ranks agree on", 2, 1, false, false,
     {S(0, JOINED, STARTING, 0), S(0, JOINED, RUNNING, 0), S(5, FAILED, FAILING, 0),
      S(5.2, FAILED, FAILING, 0), S(5.21, GONE, FAILING, 0), S(5.22, GONE, FAILING, 0), END_AT(5.3)}},
    {"an error of one rank, others hang", 2, 1, false, false,
     {S(0, JOINED, STARTING, 0), S(0, JOINED, RUNNING, 0), S(5, FAILED, FAILING, 0), W(5.69, FAILING, 0),
      W(5.71, KILLING_RANKS, RANKS), W(5.82, KILLING_STARTER, RANKS | STARTER), END_AT(6)}},
    {"an error of one rank, which is gone at once", 2, 1, false, false,
     {S(0, JOINED, STARTING, 0), S(0, JOINED, RUNNING, 0), S(5, FAILED, FAILING, 0), S(5, GONE, FAILING, 0),
      W(5.34, FAILING, 0), W(5.36, KILLING_RANKS, RANKS), END_AT(6)}},
    {"the end of one gives the failing no more time", 2, 1, false, false,
     {S(0, JOINED, STARTING, 0), S(0, JOINED, RUNNING, 0), S(5, FAILED, FAILING, 0), S(5.6, GONE, FAILING, 0),
      W(5.71, KILLING_RANKS, RANKS), END_AT(6)}},
    {"a death among the failing", 2, 1, false, false,
     {S(0, JOINED, STARTING, 0), S(0, FAILED, FAILING, 0), S(0.1, DIED, KILLING_RANKS, RANKS), END_AT(1)}},
    {"a stop of the failing is too late, a second one is not", 1, 1, true, false,
     {S(0, JOINED, RUNNING, 0), S(1, FAILED, FAILING, 0), S(1.1, INTERRUPT, FAILING, 0),
      S(1.4, INTERRUPT, KILLING_STARTER, RANKS | STARTER), END_AT(2)}},
    {"a starter that dies", 1, 1, false, false,
     {S(0, JOINED, RUNNING, 0), S(1, STARTER_LOST, KILLING_RANKS, RANKS), S(1, GONE, KILLING_RANKS, 0),
      END_AT(1)}},
    {"a sweep and an output without end", 1, 1, false, false,
     {S(0, STARTER_ENDED, SWEEPING, DDP_LIFE_SWEEP), W(1.9, SWEEPING, 0), W(2.1, DRAINING, 0),
      S(2.2, SWEPT, DRAINING, 0), W(2.5, DRAINING, 0), W(2.7, OVER, 0)}},
    {"two hosts: each comes to its end", 2, 2, false, false,
     {S(0, JOINED, STARTING, 0), S(0, JOINED, RUNNING, 0), S(1, GONE, RUNNING, 0),
      S(1, STARTER_ENDED, RUNNING, 0), S(2, GONE, LEAVING, 0), S(2, STARTER_ENDED, SWEEPING, DDP_LIFE_SWEEP),
      S(2, SWEPT, SWEEPING, 0), S(2, SWEPT, DRAINING, 0), S(2, OUTPUT_ENDED, DRAINING, 0),
      S(2, OUTPUT_ENDED, OVER, 0)}},
    {"two hosts: the death of a starter ends the other", 2, 2, false, false,
     {S(0, JOINED, STARTING, 0), S(0, JOINED, RUNNING, 0), S(1, STARTER_LOST, KILLING_RANKS, RANKS),
      S(1, STARTER_ENDED, KILLING_RANKS, 0), W(1.2, KILLING_STARTER, RANKS | STARTER),
      S(1.2, STARTER_ENDED, SWEEPING, DDP_LIFE_SWEEP), S(2, SWEPT, SWEEPING, 0), S(2, SWEPT, DRAINING, 0),
      W(9, OVER, 0)}},
    {"two hosts: one is lost while the other says that it cannot reach it", 2, 2, false, false,
     {S(0, JOINED, STARTING, 0), S(0, JOINED, RUNNING, 0), S(5, FAILED, FAILING, 0),
      S(5.3, HOST_LOST, KILLING_RANKS, RANKS), S(5.3, STARTER_ENDED, KILLING_RANKS, 0),
      S(5.4, STARTER_ENDED, SWEEPING, DDP_LIFE_SWEEP), S(5.4, SWEPT, SWEEPING, 0), S(5.4, SWEPT, DRAINING, 0),
      S(5.4, OUTPUT_ENDED, DRAINING, 0), S(5.4, OUTPUT_ENDED, OVER, 0)}},
};
// clang-format on

static void test_life_follows_the_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(lives); i++) {
        struct ddp_life life;
        ddp_life_init(&life, lives[i].ranks, lives[i].hosts, KILL_AFTER_S, GRACE_S);
        for (int k = 0; k < MOST && life.state != DDP_LIFE_OVER; k++) {
            const struct step *s = &lives[i].steps[k];
            const unsigned actions =
                s->event == WAIT ? ddp_life_pass_time(&life, s->at) : ddp_life_on(&life, s->event, s->at);
            if (life.state != s->state)
                fail_msg("%s, step %d: %s, not %s", lives[i].name, k, ddp_life_state_name(life.state),
                         ddp_life_state_name(s->state));
            if (actions != s->actions)
                fail_msg("%s, step %d: actions %x, not %x", lives[i].name, k, actions, s->actions);
        }
        if (life.state != DDP_LIFE_OVER || life.forced != lives[i].forced || life.overdue != lives[i].overdue)
            fail_msg("%s: %s, %sforced, %soverdue", lives[i].name, ddp_life_state_name(life.state),
                     life.forced ? "" : "not ", life.overdue ? "" : "not ");
    }
}

/* Whatever has happened, the end of the starter leads to the end; nothing leads out of it, or back. */
static void test_life_always_ends(void **state)
{
    (void)state;
    for (int s = 0; s < DDP_LIFE_STATES; s++) {
        enum ddp_life_state at = ddp_life_next((enum ddp_life_state)s, DDP_LIFE_STARTER_ENDED);
        at = ddp_life_next(ddp_life_next(at, DDP_LIFE_SWEPT), DDP_LIFE_OUTPUT_ENDED);
        assert_int_equal(at, DDP_LIFE_OVER);
        for (int e = 0; e < DDP_LIFE_EVENTS; e++)
            assert_true((int)ddp_life_next((enum ddp_life_state)s, (enum ddp_life_event)e) >= s);
    }
}

/* Time in which all were paused is none, and without a limit none comes. */
static void test_life_grace_is_time_to_work(void **state)
{
    struct ddp_life life;
    (void)state;
    ddp_life_init(&life, 1, 1, KILL_AFTER_S, 10);
    ddp_life_on(&life, DDP_LIFE_JOINED, 0);
    ddp_life_on(&life, DDP_LIFE_STOP, 1);
    ddp_life_skip_time(&life, 100);
    assert_int_equal(ddp_life_pass_time(&life, 110.9), 0);
    assert_int_equal(ddp_life_pass_time(&life, 111.1), RANKS);
    ddp_life_init(&life, 1, 1, KILL_AFTER_S, HUGE_VAL);
    ddp_life_on(&life, DDP_LIFE_STOP, 1);
    ddp_life_skip_time(&life, 100);
    assert_int_equal(ddp_life_pass_time(&life, 1e9), 0);
    assert_int_equal(life.state, DDP_LIFE_STOPPING);
}

/* A state has a limit exactly where the table knows what follows it. */
static void test_life_limits_have_a_consequence(void **state)
{
    static const struct {
        int n;
        enum ddp_life_event events[4];
    } ways[DDP_LIFE_STATES] = {
        [DDP_LIFE_STARTING] = {0, {0}},
        [DDP_LIFE_RUNNING] = {1, {DDP_LIFE_JOINED}},
        [DDP_LIFE_STOPPING] = {1, {DDP_LIFE_STOP}},
        [DDP_LIFE_FAILING] = {1, {DDP_LIFE_FAILED}},
        [DDP_LIFE_KILLING_RANKS] = {1, {DDP_LIFE_DIED}},
        [DDP_LIFE_LEAVING] = {2, {DDP_LIFE_JOINED, DDP_LIFE_GONE}},
        [DDP_LIFE_KILLING_STARTER] = {1, {DDP_LIFE_NOBODY}},
        [DDP_LIFE_SWEEPING] = {1, {DDP_LIFE_STARTER_ENDED}},
        [DDP_LIFE_DRAINING] = {2, {DDP_LIFE_STARTER_ENDED, DDP_LIFE_SWEPT}},
        [DDP_LIFE_OVER] = {3, {DDP_LIFE_STARTER_ENDED, DDP_LIFE_SWEPT, DDP_LIFE_OUTPUT_ENDED}},
    };
    (void)state;
    for (int s = 0; s < DDP_LIFE_STATES; s++) {
        struct ddp_life life;
        ddp_life_init(&life, 1, 1, KILL_AFTER_S, GRACE_S);
        for (int k = 0; k < ways[s].n; k++)
            ddp_life_on(&life, ways[s].events[k], 0);
        assert_int_equal(life.state, s);
        const bool moves = ddp_life_next((enum ddp_life_state)s, DDP_LIFE_DEADLINE) != (enum ddp_life_state)s;
        if (moves != isfinite(life.deadline))
            fail_msg("%s: a limit without a consequence, or the reverse", ddp_life_state_name(life.state));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_life_follows_the_table),
        cmocka_unit_test(test_life_always_ends),
        cmocka_unit_test(test_life_grace_is_time_to_work),
        cmocka_unit_test(test_life_limits_have_a_consequence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
