/* A rank's pulse as its reader sees it, through a descriptor as an agent has it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/base.h"
#include "base/delay.h"

static const struct ddp_pulse_page *page;

static void nap(double seconds)
{
    const struct timespec t = {0, (long)(seconds * 1e9)};
    nanosleep(&t, NULL);
}

static struct ddp_pulse look(void)
{
    struct ddp_pulse p;
    ddp_pulse_read(page, &p);
    return p;
}

/* First: before there is a page the calls tell the time, and nothing else. */
static void test_pulse_without_a_reader(void **state)
{
    (void)state;
    ddp_pulse_step(1);
    ddp_pulse_phase(DDP_PHASE_FORWARD);
    const double begun = ddp_pulse_wait_begin(DDP_WAIT_BUCKET, 1);
    nap(0.01);
    assert_true(ddp_pulse_wait_end(begun) >= 0.01);
    ddp_pulse_step_done();
}

static void test_pulse_page_is_mapped(void **state)
{
    (void)state;
    const int fd = ddp_pulse_open();
    assert_true(fd >= 0);
    page = ddp_pulse_map(fd);
    assert_non_null(page);
    assert_int_not_equal(ftruncate(fd, 0), 0); /* nobody can cut it under its reader */
    close(fd);
}

static void test_pulse_refuses_other_descriptors(void **state)
{
    (void)state;
    int pipes[2];
    const int empty = memfd_create("empty", MFD_CLOEXEC), zeros = memfd_create("zeros", MFD_ALLOW_SEALING);
    assert_int_equal(pipe(pipes), 0);
    assert_int_equal(ftruncate(zeros, 8192), 0);
    assert_null(ddp_pulse_map(empty));
    assert_null(ddp_pulse_map(zeros));
    assert_null(ddp_pulse_map(pipes[0]));
    assert_null(ddp_pulse_map(-1));
    ddp_pulse_unmap(NULL);
    close(empty);
    close(zeros);
    close(pipes[0]);
    close(pipes[1]);
}

static void test_pulse_tells_phase_and_wait(void **state)
{
    (void)state;
    ddp_pulse_shards(3);
    ddp_pulse_step(7);
    struct ddp_pulse p = look();
    assert_int_equal(p.phase, DDP_PHASE_DATA);
    assert_int_equal(p.step, 7);
    assert_int_equal(p.shards, 3);
    assert_int_equal(p.wait, DDP_WAIT_NONE);
    const int64_t beats = p.beats;
    assert_int_equal(look().beats, beats); /* nothing happens, nothing beats */

    ddp_pulse_phase(DDP_PHASE_UPDATE);
    const double outer = ddp_pulse_wait_begin(DDP_WAIT_BUCKET, 5);
    const double inner = ddp_pulse_wait_begin(DDP_WAIT_MEETING, 0);
    p = look();
    assert_true(p.beats > beats);
    assert_int_equal(p.wait, DDP_WAIT_BUCKET); /* the outermost is shown */
    assert_int_equal(p.which, 5);
    ddp_pulse_wait_end(inner);
    assert_int_equal(look().wait, DDP_WAIT_BUCKET);
    ddp_pulse_wait_end(outer);
    assert_int_equal(look().wait, DDP_WAIT_NONE);
}

/* A step of 20 ms of data, 40 of computing and 60 of waiting; then 30 beside the next. */
static void test_pulse_cuts_a_step_up(void **state)
{
    (void)state;
    ddp_pulse_step(1);
    ddp_pulse_step_done();
    ddp_pulse_step(2);
    nap(0.02);
    ddp_pulse_phase(DDP_PHASE_FORWARD);
    nap(0.04);
    ddp_pulse_phase(DDP_PHASE_UPDATE);
    const double begun = ddp_pulse_wait_begin(DDP_WAIT_STEP, 0);
    nap(0.06);
    ddp_pulse_wait_end(begun);
    ddp_pulse_step_done();
    struct ddp_pulse p = look();
    const struct ddp_pulse_step *s = &p.recent[(p.steps - 1) % DDP_PULSE_STEPS];
    assert_int_equal(s->step, 2);
    assert_true(s->wall >= 0.12);
    assert_true(s->waited >= 0.06 && s->waited <= s->wall - 0.06);
    assert_true(s->data >= 0.02 && s->data <= s->wall - 0.10);
    assert_true(s->aside < 0.01);
    assert_true(p.longest[DDP_PHASE_FORWARD] >= 0.04);
    assert_true(p.longest[DDP_PHASE_UPDATE] <= s->wall - s->waited); /* waits are nobody's work */

    ddp_pulse_phase(DDP_PHASE_RECORD);
    nap(0.03);
    ddp_pulse_step(3);
    ddp_pulse_step_done();
    p = look();
    assert_true(p.recent[(p.steps - 1) % DDP_PULSE_STEPS].aside >= 0.03);
    const double before = p.longest[DDP_PHASE_FORWARD];
    for (int i = 0; i < 400; i++) { /* what was slow once is forgotten */
        ddp_pulse_phase(DDP_PHASE_FORWARD);
        ddp_pulse_phase(DDP_PHASE_BACKWARD);
    }
    assert_true(look().longest[DDP_PHASE_FORWARD] < before / 4);
}

static void test_pulse_keeps_the_last_steps(void **state)
{
    (void)state;
    const int64_t before = look().steps;
    for (int i = 1; i <= 100; i++) {
        ddp_pulse_step(i);
        ddp_pulse_step_done();
    }
    const struct ddp_pulse p = look();
    assert_int_equal(p.steps - before, 100);
    for (int64_t k = p.steps - DDP_PULSE_STEPS; k < p.steps; k++)
        assert_int_equal(p.recent[k % DDP_PULSE_STEPS].step, k - before + 1);
}

static void test_pulse_in_words(void **state)
{
    (void)state;
    static const struct {
        enum ddp_phase phase;
        int64_t step;
        const char *text;
    } phases[] = {
        {DDP_PHASE_START, 0, "starting"},
        {DDP_PHASE_OPEN, 0, "opening its data sets"},
        {DDP_PHASE_DATA, 57, "reading data for step 57"},
        {DDP_PHASE_FORWARD, 1, "in the forward pass of step 1"},
        {DDP_PHASE_HOOK, 9, "in the user's on_step hook after step 9"},
    };
    static const struct {
        enum ddp_pulse_wait wait;
        int64_t which, step;
        const char *text;
    } waits[] = {
        {DDP_WAIT_NONE, 0, 5, ""},
        {DDP_WAIT_BUCKET, 2, 57, "in bucket 2 of step 57"},
        {DDP_WAIT_STEP, 0, 57, "at the end of step 57"},
        {DDP_WAIT_MEETING, 0, 0, "where all ranks meet"},
        {DDP_WAIT_MEETING, 0, 3, "where all ranks meet after step 3"},
    };
    char text[96];
    for (size_t i = 0; i < DDP_COUNT(phases); i++)
        assert_string_equal(ddp_phase_text(phases[i].phase, phases[i].step, text, sizeof text),
                            phases[i].text);
    for (size_t i = 0; i < DDP_COUNT(waits); i++)
        assert_string_equal(ddp_wait_text(waits[i].wait, waits[i].which, waits[i].step, text, sizeof text),
                            waits[i].text);
}

/* Times that this process has slept. The clock would not do: a busy machine keeps anybody waiting. */
static long sleeps(void)
{
    struct rusage u;
    assert_int_equal(getrusage(RUSAGE_SELF, &u), 0);
    return u.ru_nvcsw;
}

static void test_delay_is_planted(void **state)
{
    (void)state;
    setenv("DDP_TEST_DELAY", "3:forward:2-3:0.05", 1);
    static const struct {
        int rank;
        enum ddp_phase phase;
        int64_t step;
        bool sleeps;
    } table[] = {
        {2, DDP_PHASE_FORWARD, 2, false}, {3, DDP_PHASE_FORWARD, 1, false}, {3, DDP_PHASE_DATA, 2, false},
        {3, DDP_PHASE_FORWARD, 2, true},  {3, DDP_PHASE_FORWARD, 2, false}, /* once a step */
        {3, DDP_PHASE_FORWARD, 3, true},  {3, DDP_PHASE_FORWARD, 4, false},
    };
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        ddp_delay_plant(table[i].rank);
        struct timespec a, b;
        const long before = sleeps();
        clock_gettime(CLOCK_MONOTONIC, &a);
        ddp_delay(table[i].phase, table[i].step);
        clock_gettime(CLOCK_MONOTONIC, &b);
        const double took = (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) * 1e-9;
        assert_int_equal(sleeps() > before, table[i].sleeps);
        assert_true(!table[i].sleeps || took >= 0.05);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pulse_without_a_reader),
        cmocka_unit_test(test_pulse_page_is_mapped),
        cmocka_unit_test(test_pulse_refuses_other_descriptors),
        cmocka_unit_test(test_pulse_tells_phase_and_wait),
        cmocka_unit_test(test_pulse_cuts_a_step_up),
        cmocka_unit_test(test_pulse_keeps_the_last_steps),
        cmocka_unit_test(test_pulse_in_words),
        cmocka_unit_test(test_delay_is_planted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
