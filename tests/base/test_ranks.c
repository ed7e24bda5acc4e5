/* What a job with too many ranks is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/base.h"
#include "base/ranks.h"

static void test_ranks_against_shards(void **state)
{
    (void)state;
    static const struct {
        int ranks, shards, accumulate;
        const char *says[2]; /* NULL: accepted */
    } table[] = {
        {1, 1, 1, {NULL}},
        {8, 8, 1, {NULL}},
        {3, 8, 1, {NULL}},
        {9, 8, 1, {"9 ranks, but only 8 shards, and", "at most 8 (-n 8), or set train.shards=9,"}},
        {2, 1, 1, {"2 ranks, but only 1 shard, and", "(-n 1), or set train.shards=2,"}},
        {16, 16, 2, {NULL}},
        {17,
         16,
         2,
         {"only 16 shards (train.shards = 8 x train.accumulate = 2)", "-n 16), or set train.shards=9,"}},
        {18, 16, 2, {"18 ranks", "train.shards=9,"}}, /* 9 x 2 are enough */
        {19, 16, 2, {"19 ranks", "train.shards=10,"}},
    };
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        struct ddp_error err = {0};
        const int code = ddp_ranks_check_shards(table[i].ranks, table[i].shards, table[i].accumulate, &err);
        assert_int_equal(code, table[i].says[0] ? DDP_E_CONFIG : 0);
        for (int k = 0; k < 2 && table[i].says[0]; k++)
            assert_non_null(strstr(err.text, table[i].says[k]));
    }
}

static void test_ranks_against_gpus(void **state)
{
    (void)state;
    struct ddp_error err = {0};
    assert_int_equal(ddp_ranks_check_gpus(4, 4, &err), 0);
    assert_int_equal(ddp_ranks_check_gpus(4, 2, &err), DDP_E_RESOURCE);
    assert_non_null(strstr(err.text, "4 ranks, but 2 GPUs on this host"));
    assert_non_null(strstr(err.text, "start 2 (-n 2;"));
    assert_int_equal(ddp_ranks_check_gpus(2, 1, &err), DDP_E_RESOURCE);
    assert_non_null(strstr(err.text, "2 ranks, but 1 GPU on this host"));
    assert_non_null(strstr(err.text, "comm.share_gpu=true"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranks_against_shards),
        cmocka_unit_test(test_ranks_against_gpus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
