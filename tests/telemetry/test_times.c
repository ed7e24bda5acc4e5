/* Where the time of steps goes: notes of all ranks, added up by hand. */
#include "cmocka_all.h"

#include <math.h>
#include <string.h>

#include "telemetry/telemetry.h"

enum { RANKS = 2, STEPS = 48 };

/* Rank 1 computes 2 ms longer, rank 0 waits for it; the first tenth is slow, one step in the middle very. */
static void fill(struct ddp_step_time t[RANKS][STEPS])
{
    memset(t, 0, RANKS * sizeof *t);
    for (int r = 0; r < RANKS; r++)
        for (int i = 0; i < STEPS; i++) {
            float *part = t[r][i].part;
            part[DDP_TIME_DATA] = 0.001f;
            part[DDP_TIME_FORWARD] = i < 10 ? 0.1f : 0.004f;
            part[DDP_TIME_BACKWARD] = r == 0 ? 0.008f : 0.010f;
            part[DDP_TIME_REDUCE] = 0.0005f;
            part[DDP_TIME_WAIT] = r == 0 ? 0.003f : 0.001f;
            part[DDP_TIME_REST] = i == 30 ? 9 : 0;
        }
}

static double sum(const double *part)
{
    double s = 0;
    for (int p = 0; p < DDP_TIME_COUNT; p++)
        s += part[p];
    return s;
}

static void test_parts_add_up_to_the_middle_step(void **state)
{
    (void)state;
    struct ddp_step_time t[RANKS][STEPS];
    struct ddp_rank_time rank[RANKS];
    struct ddp_time_summary s = {.rank = rank};
    fill(t);
    ddp_times_summarize(&t[0][0], RANKS, STEPS, &s);
    assert_int_equal(s.ranks, RANKS);
    assert_int_equal(s.steps, STEPS - ddp_times_warm_up(STEPS));
    assert_float_equal(s.median, 0.0165, 1e-8);
    assert_float_equal(sum(s.mean), 0.0165, 1e-8); /* the one slow step is none of the middle half */
    assert_float_equal(sum(rank[0].part), sum(rank[1].part), 1e-8);
    assert_float_equal(rank[1].part[DDP_TIME_BACKWARD], 0.010, 1e-8);
    assert_float_equal(s.mean[DDP_TIME_BACKWARD], 0.009, 1e-8);
    assert_float_equal(s.imbalance, 0.001, 1e-8); /* 15.5 ms of work against 14.5 on average */
    assert_float_equal(s.low, 0.0165, 1e-8);
}

static void test_few_steps_all_count(void **state)
{
    (void)state;
    struct ddp_step_time t[1][3] = {{{{1}}, {{2}}, {{6}}}};
    struct ddp_rank_time rank[1];
    struct ddp_time_summary s = {.rank = rank};
    ddp_times_summarize(&t[0][0], 1, 3, &s);
    assert_int_equal(s.steps, 3);
    assert_float_equal(s.median, 2, 1e-6);
    assert_float_equal(s.mean[DDP_TIME_DATA], 3, 1e-6);
    ddp_times_summarize(&t[0][0], 1, 0, &s);
    assert_int_equal(s.steps, 0);
    assert_float_equal(s.median, 0, 0);
}

static void test_warm_up_leaves_most_steps(void **state)
{
    (void)state;
    for (int n = 0; n < 2000; n++)
        assert_true(ddp_times_warm_up(n) * 3 <= n && ddp_times_warm_up(n) <= 10);
    assert_int_equal(ddp_times_warm_up(1000), 10);
}

static void test_text(void **state)
{
    (void)state;
    struct ddp_step_time t[RANKS][STEPS];
    struct ddp_rank_time rank[RANKS];
    struct ddp_time_summary s = {.rank = rank};
    char text[256], small[16];
    fill(t);
    ddp_times_summarize(&t[0][0], RANKS, STEPS, &s);
    ddp_times_text(&s, text, sizeof text);
    assert_string_equal(
        text, "a step takes 16.50 ms: data 6.1 %, forward 24.2 %, backward 54.5 %, optimizer 0.0 %, "
              "reduce 3.0 %, wait 12.1 %, rest 0.0 %");
    ddp_times_text(&s, small, sizeof small);
    assert_string_equal(small, "a step takes 16");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts_add_up_to_the_middle_step),
        cmocka_unit_test(test_few_steps_all_count),
        cmocka_unit_test(test_warm_up_leaves_most_steps),
        cmocka_unit_test(test_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
