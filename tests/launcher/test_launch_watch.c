/* The watch over ranks that stand still: who is named, after how long, and who never is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "launcher/watch.h"

enum { MOST = 4 };

/* A rank: what it does (of step 9), for how long it has been seen still, what is usual. */
struct seen {
    enum ddp_phase phase;
    enum ddp_pulse_wait wait;
    double still, longest;
    int64_t steps;
    bool halted, traced;
};

// clang-format off
#define WORKS(phase, still, longest) {DDP_PHASE_##phase, DDP_WAIT_NONE, still, longest, 50, false, false}
#define WAITS(still)                 {DDP_PHASE_UPDATE, DDP_WAIT_BUCKET, still, 0.01, 50, false, false}
#define NEW(phase, still)            {DDP_PHASE_##phase, DDP_WAIT_NONE, still, 0.0, 0, false, false}
#define HELD(phase, still)           {DDP_PHASE_##phase, DDP_WAIT_NONE, still, 0.01, 50, true, true}
#define HALTED(phase, wait, still)   {DDP_PHASE_##phase, DDP_WAIT_##wait, still, 0.01, 50, true, false}
#define NEW_WAITS(phase, still)      {DDP_PHASE_##phase, DDP_WAIT_MEETING, still, 0.0, 0, false, false}
#define STOPPED(still)               {DDP_PHASE_UPDATE, DDP_WAIT_STEP, still, 0.01, 50, true, false}

static const struct {
    const char *name;
    double stuck_after;
    int ranks;
    struct seen rank[MOST];
    enum ddp_watch_says says;
    int who;
    const char *text; /* part of it */
} table[] = {
    {"all is well", 600, 2, {WORKS(DATA, 0.1, 0.01), WAITS(0.1)}, DDP_WATCH_NOTHING, 0, ""},
    {"below ten seconds", 600, 2, {WORKS(DATA, 9.9, 0.01), WAITS(9.9)}, DDP_WATCH_NOTHING, 0, ""},
    {"ten seconds", 600, 2, {WORKS(DATA, 10, 0.01), WAITS(10)}, DDP_WATCH_WARNS, 0,
     "has been reading data for step 9 for 10 s, and rank 1 waits for it in bucket 3 of step 9; process 7 "
     "sleeps (x). After 10 min of it the job is ended (launch.stuck_after)"},
    {"it is the one that does not wait", 600, 4, {WAITS(50), WAITS(50), WORKS(FORWARD, 50, 0.01), WAITS(50)},
     DDP_WATCH_WARNS, 2, "in the forward pass of step 9 for 50 s, and rank 0 waits for it in bucket 3 of step 9 (3 ranks wait in all)"},
    {"long steps have long limits", 600, 2, {WORKS(FORWARD, 100, 6), WAITS(100)}, DDP_WATCH_NOTHING, 0, ""},
    {"and are not ended early", 600, 2, {WORKS(FORWARD, 700, 36), WAITS(700)}, DDP_WATCH_NOTHING, 0, ""},
    {"twenty times the usual", 600, 2, {WORKS(FORWARD, 121, 6), WAITS(100)}, DDP_WATCH_WARNS, 0, "for 2 min"},
    {"three times the limit", 600, 2, {WORKS(FORWARD, 2161, 36), WAITS(700)}, DDP_WATCH_ENDS, 0, "is ended for it (launch.stuck_after = 600)"},
    {"the end", 600, 2, {WORKS(DATA, 600, 0.01), WAITS(600)}, DDP_WATCH_ENDS, 0, "reading data for step 9 for 10 min"},
    {"never an end", 0, 2, {WORKS(DATA, 1e6, 0.01), WAITS(1e6)}, DDP_WATCH_WARNS, 0, "; process 7 sleeps (x)"},
    {"a short limit of the user's: a third of it", 6, 2, {WORKS(DATA, 2, 0.01), WAITS(1)}, DDP_WATCH_WARNS, 0, "for 2 s"},
    {"and its end", 6, 2, {WORKS(DATA, 6, 0.01), WAITS(1)}, DDP_WATCH_ENDS, 0, ""},
    {"which long steps move", 6, 2, {WORKS(DATA, 50, 1), WAITS(1)}, DDP_WATCH_WARNS, 0, "After 60 s of it"},
    {"the first step may take longer", 600, 2, {NEW(FORWARD, 59), WAITS(59)}, DDP_WATCH_NOTHING, 0, ""},
    {"but not for ever", 600, 2, {NEW(FORWARD, 60), WAITS(60)}, DDP_WATCH_WARNS, 0, ""},
    {"so may a hook", 600, 2, {WORKS(HOOK, 59, 0.01), WAITS(59)}, DDP_WATCH_NOTHING, 0, ""},
    {"and a checkpoint", 600, 2, {WORKS(SAVE, 61, 0.01), WAITS(61)}, DDP_WATCH_WARNS, 0, "saving a checkpoint after step 9"},
    {"nobody waits for it: it has more to do", 600, 2, {WORKS(DATA, 99, 0.01), WORKS(FORWARD, 1, 0.01)}, DDP_WATCH_NOTHING, 0, ""},
    {"nobody to wait", 600, 1, {WORKS(DATA, 99, 0.01)}, DDP_WATCH_WARNS, 0, "for 99 s; process 7"},
    {"held by a debugger, never an end", 600, 2, {HELD(DATA, 1e5), WAITS(1e5)}, DDP_WATCH_WARNS, 0, "sleeps (x)"},
    {"stopped while it waited", 600, 2, {WAITS(20), STOPPED(20)}, DDP_WATCH_WARNS, 1, "and rank 0 waits for it in bucket 3"},
    {"stopped in its own code", 600, 2, {HALTED(OWN, NONE, 600), WAITS(600)}, DDP_WATCH_ENDS, 0, "in the program's own code for 10 min"},
    {"stopped where MPI starts", 600, 2, {HALTED(START, MEETING, 600), NEW_WAITS(START, 600)}, DDP_WATCH_ENDS, 0,
     "has been starting for 10 min, and rank 1 waits for it where all ranks meet"},
    {"stopped behind its goodbye", 600, 2, {NEW_WAITS(LEAVE, 600), HALTED(LEAVE, MEETING, 600)}, DDP_WATCH_ENDS, 1, "has been leaving the job for 10 min"},
    {"all are stopped", 600, 2, {HALTED(DATA, NONE, 600), HALTED(UPDATE, BUCKET, 600)}, DDP_WATCH_ENDS, 0, "reading data for step 9 for 10 min"},
    {"alone, and stopped in its own code", 600, 1, {HALTED(OWN, NONE, 600)}, DDP_WATCH_ENDS, 0, ""},
    {"stopped, but nobody has come to wait for it", 600, 2, {HALTED(DATA, NONE, 600), WORKS(OWN, 600, 0.01)}, DDP_WATCH_NOTHING, 0, ""},
    {"all wait where MPI starts", 600, 2, {NEW_WAITS(START, 60), NEW_WAITS(START, 60)}, DDP_WATCH_WARNS, -1, "rank 1 where all ranks meet"},
    {"a program's own code, never an end", 600, 2, {WORKS(OWN, 1e5, 0.01), WAITS(1e5)}, DDP_WATCH_WARNS, 0, "in the program's own code for"},
    {"and alone in it, no word", 600, 1, {WORKS(OWN, 1e5, 0.01)}, DDP_WATCH_NOTHING, 0, ""},
    {"all wait", 600, 2, {WAITS(60), {DDP_PHASE_HOOK, DDP_WAIT_MEETING, 61, 0.01, 50, false, false}}, DDP_WATCH_WARNS, -1,
     "all ranks have waited for one another for 60 s: rank 0 in bucket 3 of step 9, rank 1 where all ranks meet after step 9"},
    {"not yet", 600, 2, {WAITS(59), WAITS(70)}, DDP_WATCH_NOTHING, -1, ""},
    {"all wait for good", 600, 2, {WAITS(600), WAITS(600)}, DDP_WATCH_ENDS, -1, "The job is ended for it"},
};
// clang-format on

static struct ddp_sample sample_of(const struct seen *r)
{
    struct ddp_sample s = {.pid = 7,
                           .phase = r->phase,
                           .wait = r->wait,
                           .which = 3,
                           .step = 9,
                           .shards = 1,
                           .still = r->still,
                           .longest = r->longest,
                           .steps = r->steps,
                           .halted = r->halted,
                           .traced = r->traced};
    if (r->wait == DDP_WAIT_NONE && r->still >= 1.5)
        strcpy(s.doing, "process 7 sleeps (x)");
    return s;
}

static void test_watch_names_who_holds_up(void **state)
{
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        struct ddp_watch w;
        char text[1024];
        int who;
        ddp_watch_init(&w, table[i].ranks, table[i].stuck_after);
        for (int r = 0; r < table[i].ranks; r++) {
            const struct ddp_sample s = sample_of(&table[i].rank[r]);
            ddp_watch_take(&w, r, &s);
        }
        const enum ddp_watch_says says = ddp_watch_judge(&w, 1, &who, text, sizeof text);
        if (says != table[i].says || (says != DDP_WATCH_NOTHING && who != table[i].who) ||
            !strstr(text, table[i].text))
            fail_msg("%s: %d of %d: %s", table[i].name, says, who, text);
        ddp_watch_finish(&w);
    }
}

static enum ddp_watch_says see(struct ddp_watch *w, double now, const struct seen *zero,
                               const struct seen *one)
{
    char text[1024];
    int who;
    const struct ddp_sample a = sample_of(zero), b = sample_of(one);
    ddp_watch_take(w, 0, &a);
    ddp_watch_take(w, 1, &b);
    return ddp_watch_judge(w, now, &who, text, sizeof text);
}

/* Once for each time; and a word when it goes on. */
static void test_watch_says_it_once(void **state)
{
    (void)state;
    const struct seen waits = WAITS(20), still = WORKS(DATA, 12, 0.01), more = WORKS(DATA, 30, 0.01),
                      goes = WORKS(DATA, 0, 0.01), then = WAITS(0);
    struct ddp_watch w;
    ddp_watch_init(&w, 2, 600);
    assert_int_equal(see(&w, 1, &waits, &still), DDP_WATCH_WARNS);
    assert_int_equal(see(&w, 2, &waits, &still), DDP_WATCH_NOTHING);
    assert_int_equal(see(&w, 3, &waits, &more), DDP_WATCH_NOTHING);
    assert_int_equal(see(&w, 4, &waits, &goes), DDP_WATCH_RELIEVED);
    assert_int_equal(see(&w, 5, &waits, &goes), DDP_WATCH_NOTHING);
    assert_int_equal(see(&w, 6, &waits, &still), DDP_WATCH_WARNS);
    assert_int_equal(see(&w, 7, &goes, &then), DDP_WATCH_RELIEVED);
    ddp_watch_finish(&w);
}

/* Of a rank that never reports only time is known, and only such as was watched. */
static void test_watch_misses_a_rank(void **state)
{
    (void)state;
    const struct ddp_sample waits =
        sample_of(&(struct seen){DDP_PHASE_START, DDP_WAIT_MEETING, 5, 0, 0, false, false});
    struct ddp_watch w;
    char text[1024];
    int who, warned = 0, at = 0;
    ddp_watch_init(&w, 2, 600);
    ddp_watch_take(&w, 0, &waits);
    ddp_watch_judge(&w, 1, &who, text, sizeof text);
    assert_int_equal(ddp_watch_judge(&w, 3600, &who, text, sizeof text), DDP_WATCH_NOTHING); /* was paused */
    for (int s = 1; s < 100 && !warned; s++) {
        warned = ddp_watch_judge(&w, 3600 + s, &who, text, sizeof text) == DDP_WATCH_WARNS;
        at = s;
    }
    assert_true(warned && at >= 58 && at <= 61);
    assert_int_equal(who, 1);
    assert_non_null(strstr(text, "has not reported to ddp-launch for 60 s, and rank 0 waits for it"));
    ddp_watch_finish(&w);
}

/* Many that have not reported are one line, and one when they do. */
static void test_watch_misses_many_at_once(void **state)
{
    (void)state;
    const struct ddp_sample goes = sample_of(&(struct seen)WORKS(DATA, 0, 0.01));
    struct ddp_watch w;
    char text[1024];
    int who, warned = 0, relieved = 0;
    ddp_watch_init(&w, 3, 600);
    for (int s = 1; s < 100; s++)
        if (ddp_watch_judge(&w, s, &who, text, sizeof text) == DDP_WATCH_WARNS) {
            warned++;
            assert_int_equal(who, 0);
            assert_non_null(
                strstr(text, "has not reported to ddp-launch for 60 s, nor have 2 others. After "));
        }
    assert_int_equal(warned, 1);
    for (int r = 0; r < 3; r++)
        ddp_watch_take(&w, r, &goes);
    for (int s = 0; s < 4; s++)
        relieved += ddp_watch_judge(&w, 100 + s, &who, text, sizeof text) == DDP_WATCH_RELIEVED;
    assert_int_equal(relieved, 1);
    ddp_watch_finish(&w);
}

/* What is left of the job is the end of MPI: soon enough, and no failure. */
static void test_watch_does_not_wait_for_the_end_of_mpi(void **state)
{
    (void)state;
    const struct seen waits = NEW_WAITS(LEAVE, 4.9), more = NEW_WAITS(LEAVE, 5), own = WORKS(OWN, 1e5, 0.01);
    struct ddp_watch w;
    ddp_watch_init(&w, 3, 3);
    ddp_watch_left(&w, 2); /* it died there */
    ddp_watch_done(&w);
    assert_int_equal(see(&w, 1, &waits, &more), DDP_WATCH_NOTHING);
    assert_int_equal(see(&w, 2, &more, &own), DDP_WATCH_WARNS); /* its own code: named, but it goes on */
    assert_int_equal(see(&w, 3, &more, &more), DDP_WATCH_DONE);
    ddp_watch_finish(&w);
}

static void test_watch_forgets_who_has_left(void **state)
{
    (void)state;
    const struct ddp_sample waits = sample_of(&(struct seen)WAITS(100)),
                            still = sample_of(&(struct seen)WORKS(DATA, 100, 0));
    struct ddp_watch w;
    char text[1024];
    int who;
    ddp_watch_init(&w, 3, 600);
    ddp_watch_take(&w, 0, &waits);
    ddp_watch_take(&w, 1, &still);
    ddp_watch_take(&w, 2, NULL); /* has no pulse: may be anywhere */
    ddp_watch_left(&w, 1);
    ddp_watch_take(&w, 1, &still);  /* too late */
    ddp_watch_take(&w, 17, &still); /* no rank of ours */
    assert_int_equal(ddp_watch_judge(&w, 1, &who, text, sizeof text), DDP_WATCH_NOTHING);
    ddp_watch_finish(&w);
}

/* When a stop takes too long, whatever the limits: who it is that does not come. */
static void test_watch_knows_the_culprit(void **state)
{
    (void)state;
    static const struct {
        struct seen rank[3];
        int who;
        const char *text;
    } stops[] = {
        {{WAITS(9), WORKS(DATA, 5, 1), WAITS(9)},
         1,
         "has been reading data for step 9 for 5 s, and rank 0 waits for it in bucket 3 of step 9 (2 ranks "
         "wait in "
         "all); process 7 sleeps (x)"},
        {{WORKS(DATA, 5, 1), WORKS(SAVE, 7, 1), WAITS(9)}, 1, "saving a checkpoint"},
        {{WAITS(9), WAITS(3), STOPPED(4)}, 2, "in the reduction and update"},
        {{WORKS(DATA, 0.1, 1), WAITS(9), WAITS(9)}, -1, ""}, /* it goes on */
        {{WAITS(9), WAITS(9), WAITS(9)}, -1, ""},
        {{WORKS(DATA, 9, 1), WORKS(DATA, 8, 1), WORKS(DATA, 9, 1)}, -1, ""}, /* nobody waits */
    };
    for (size_t i = 0; i < DDP_COUNT(stops); i++) {
        struct ddp_watch w;
        char text[1024] = "";
        ddp_watch_init(&w, 3, 0);
        for (int r = 0; r < 3; r++) {
            const struct ddp_sample s = sample_of(&stops[i].rank[r]);
            ddp_watch_take(&w, r, &s);
        }
        assert_int_equal(ddp_watch_culprit(&w, text, sizeof text), stops[i].who);
        assert_non_null(strstr(text, stops[i].text));
        ddp_watch_finish(&w);
    }
}

static void test_sample_survives_the_wire(void **state)
{
    (void)state;
    const struct ddp_sample s = {.pid = 4242,
                                 .phase = DDP_PHASE_HOOK,
                                 .wait = DDP_WAIT_MESSAGE,
                                 .which = 1LL << 40,
                                 .step = 123456789,
                                 .shards = 3,
                                 .still = 12.25,
                                 .longest = 0.001234,
                                 .steps = 77,
                                 .fresh = 5,
                                 .wall = 0.5,
                                 .busy = 0.25,
                                 .data = 0.125,
                                 .aside = 1e-6,
                                 .span = 0.25,
                                 .ran = 0.1,
                                 .queued = 0.05,
                                 .mhz = 3100,
                                 .halted = true,
                                 .traced = true,
                                 .doing = "process 4242 opens a FIFO that nobody writes to, /a b (x)"};
    char text[DDP_SAMPLE_TEXT], again[DDP_SAMPLE_TEXT];
    struct ddp_sample back;
    ddp_sample_format(&s, text);
    assert_true(ddp_sample_parse(text, &back));
    ddp_sample_format(&back, again);
    assert_string_equal(text, again);
    assert_string_equal(back.doing, s.doing);
    assert_int_equal(back.wait, s.wait);
    assert_true(back.still == 12.25 && back.queued > 0.0499 && back.queued < 0.0501);
    static const char *const bad[] = {"", "1 2 3", "x", "1 99 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 ",
                                      "1 0 -1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 "};
    for (size_t i = 0; i < DDP_COUNT(bad); i++)
        assert_false(ddp_sample_parse(bad[i], &back));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_watch_names_who_holds_up),
        cmocka_unit_test(test_watch_says_it_once),
        cmocka_unit_test(test_watch_misses_a_rank),
        cmocka_unit_test(test_watch_forgets_who_has_left),
        cmocka_unit_test(test_watch_does_not_wait_for_the_end_of_mpi),
        cmocka_unit_test(test_watch_misses_many_at_once),
        cmocka_unit_test(test_watch_knows_the_culprit),
        cmocka_unit_test(test_sample_survives_the_wire),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
