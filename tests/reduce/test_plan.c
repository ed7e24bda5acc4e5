/* A rank's part in a job: the parts of all ranks are the whole, in order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "reduce/plan.h"

static void test_plan_covers_all_shards(void **state)
{
    (void)state;
    for (int accumulate = 1; accumulate <= 3; accumulate++)
        for (int shards = 1; shards <= 9; shards++)
            for (int size = 1; size <= shards * accumulate; size++) {
                int next = 0, eval_next = 0;
                for (int rank = 0; rank < size; rank++) {
                    const struct ddp_comm comm = {.rank = rank,
                                                  .seat = rank,
                                                  .size = size,
                                                  .nodes = 1,
                                                  .local_rank = rank,
                                                  .local_size = size};
                    struct ddp_rank_plan p;
                    assert_int_equal(ddp_rank_plan_init(&comm, shards, accumulate, &p, NULL), 0);
                    assert_int_equal(p.rank, rank);
                    assert_int_equal(p.size, size);
                    assert_int_equal(p.local_rank, rank);
                    assert_int_equal(p.local_size, size);
                    assert_int_equal(p.shards, shards * accumulate);
                    assert_int_equal(p.eval_shards, shards);
                    assert_int_equal(p.first, next);
                    assert_int_equal(p.eval_first, eval_next);
                    assert_true(ddp_rank_plan_mine(&p) >= 1);
                    assert_true(p.eval_last >= p.eval_first);
                    next = p.last;
                    eval_next = p.eval_last;
                }
                assert_int_equal(next, shards * accumulate);
                assert_int_equal(eval_next, shards);
            }
}

static void test_plan_refuses_ranks_without_shards(void **state)
{
    (void)state;
    struct ddp_error err = {0};
    const struct ddp_comm comm = {.rank = 0, .size = 9, .nodes = 1};
    struct ddp_rank_plan p = {.shards = -1};
    assert_int_equal(ddp_rank_plan_init(&comm, 8, 1, &p, &err), DDP_E_CONFIG);
    assert_non_null(strstr(err.text, "9 ranks, but only 8 shards"));
    assert_int_equal(p.shards, -1);
    assert_int_equal(ddp_rank_plan_init(&comm, 8, 2, &p, &err), 0);
}

/* Round robin over two hosts: the shards of each lie together. */
static void test_plan_deals_shards_out_by_seat(void **state)
{
    (void)state;
    static const int seat[4] = {0, 2, 1, 3};
    for (int rank = 0; rank < 4; rank++) {
        const struct ddp_comm comm = {.rank = rank, .seat = seat[rank], .size = 4, .nodes = 2};
        struct ddp_rank_plan p;
        assert_int_equal(ddp_rank_plan_init(&comm, 8, 1, &p, NULL), 0);
        assert_int_equal(p.rank, rank);
        assert_int_equal(p.first, 2 * seat[rank]);
        assert_int_equal(p.eval_first, 2 * seat[rank]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plan_covers_all_shards),
        cmocka_unit_test(test_plan_refuses_ranks_without_shards),
        cmocka_unit_test(test_plan_deals_shards_out_by_seat),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
