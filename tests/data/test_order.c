/* The order of an epoch and the cut into shards. */
#include "data_testing.h"

static bool is_permutation(const int64_t *perm, int64_t n)
{
    bool *seen = calloc((size_t)n, sizeof *seen), ok = true;
    for (int64_t i = 0; i < n; i++) {
        ok = ok && perm[i] >= 0 && perm[i] < n && !seen[perm[i]];
        if (ok)
            seen[perm[i]] = true;
    }
    free(seen);
    return ok;
}

static void test_order_shows_every_sample_once(void **state)
{
    (void)state;
    static const int64_t counts[] = {1, 2, 3, 4, 5, 7, 8, 9, 63, 64, 65, 1000, 4099};
    for (size_t i = 0; i < DDP_COUNT(counts); i++)
        for (int64_t epoch = 0; epoch < 3; epoch++) {
            int64_t perm[4099];
            ddp_order_epoch(5, epoch, counts[i], true, perm);
            assert_true(is_permutation(perm, counts[i]));
        }
}

static void test_order_is_known(void **state)
{
    (void)state;
    /* follows from Philox 4x32-10 by hand: word i decides which of the rest comes to place i */
    int64_t perm[10], want[10];
    for (uint64_t seed = 0; seed < 4; seed++) {
        for (int64_t i = 0; i < 10; i++)
            want[i] = i;
        for (uint32_t i = 0; i < 9; i++) {
            uint32_t word = ddp_philox4(i / 4, 6, 0, DDP_STREAM_ORDER, seed).v[i % 4];
            uint32_t j = i + (uint32_t)(((uint64_t)word * (10 - i)) >> 32);
            int64_t t = want[i];
            want[i] = want[j];
            want[j] = t;
        }
        ddp_order_epoch(seed, 6, 10, true, perm);
        assert_memory_equal(perm, want, sizeof want);
    }
    int64_t many[1000];
    ddp_order_epoch(1, 0, 1000, true, many);
    assert_sha(many, sizeof many, "e870c65cb6711c3d9221469000cb10686545483f5dcd345faa1898baf9f73f44");
}

static void test_order_changes_with_seed_and_epoch_only(void **state)
{
    (void)state;
    int64_t a[500], b[500];
    ddp_order_epoch(1, 3, 500, true, a);
    ddp_order_epoch(1, 3, 500, true, b);
    assert_memory_equal(a, b, sizeof a);
    ddp_order_epoch(1, 4, 500, true, b);
    assert_memory_not_equal(a, b, sizeof a);
    ddp_order_epoch(2, 3, 500, true, b);
    assert_memory_not_equal(a, b, sizeof a);
    ddp_order_epoch(1 + (UINT64_C(1) << 32), 3, 500, true, b);
    assert_memory_not_equal(a, b, sizeof a);
}

static void test_order_is_uniform(void **state)
{
    (void)state;
    /* sample 0's place over 6000 epochs of 6 samples: 1000 expected, deviation 29 */
    int place[6] = {0};
    for (int64_t epoch = 0; epoch < 6000; epoch++) {
        int64_t perm[6];
        ddp_order_epoch(11, epoch, 6, true, perm);
        for (int i = 0; i < 6; i++)
            if (perm[i] == 0)
                place[i]++;
    }
    for (int i = 0; i < 6; i++)
        assert_in_range(place[i], 850, 1150);
}

static void test_order_without_shuffle_is_the_identity(void **state)
{
    (void)state;
    int64_t perm[100];
    ddp_order_epoch(5, 9, 100, false, perm);
    for (int64_t i = 0; i < 100; i++)
        assert_int_equal(perm[i], i);
}

static void test_batches_round_up(void **state)
{
    (void)state;
    static const int64_t table[][3] = {{1, 1, 1},    {1, 64, 1},       {64, 64, 1}, {65, 64, 2},
                                       {128, 64, 2}, {60000, 64, 938}, {7, 2, 4}};
    for (size_t i = 0; i < DDP_COUNT(table); i++)
        assert_int_equal(ddp_order_batches(table[i][0], table[i][1]), table[i][2]);
}

static void test_shards_cover_each_batch_evenly(void **state)
{
    (void)state;
    for (int64_t count = 1; count <= 40; count++)
        for (int64_t batch = 1; batch <= 20; batch++)
            for (int shards = 1; shards <= 9; shards++) {
                int64_t at = 0;
                for (int64_t b = 0; b < ddp_order_batches(count, batch); b++) {
                    int64_t m = count - b * batch < batch ? count - b * batch : batch;
                    for (int s = 0; s < shards; s++) {
                        int64_t begin, end;
                        ddp_order_shard(count, batch, b, shards, s, &begin, &end);
                        assert_int_equal(begin, at);
                        assert_true(end - begin == m / shards || end - begin == m / shards + 1);
                        assert_true(end - begin <= (batch + shards - 1) / shards);
                        at = end;
                    }
                    assert_int_equal(at, b * batch + m);
                }
                assert_int_equal(at, count);
            }
}

static void test_shards_spread_the_rest_from_the_documented_places(void **state)
{
    (void)state;
    /* 10 samples on 4 shards: 10*s/4 = 0 2 5 7 10 */
    static const int64_t want[5] = {0, 2, 5, 7, 10};
    for (int s = 0; s < 4; s++) {
        int64_t begin, end;
        ddp_order_shard(90, 40, 2, 4, s, &begin, &end);
        assert_int_equal(begin, 80 + want[s]);
        assert_int_equal(end, 80 + want[s + 1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_shows_every_sample_once),
        cmocka_unit_test(test_order_is_known),
        cmocka_unit_test(test_order_changes_with_seed_and_epoch_only),
        cmocka_unit_test(test_order_is_uniform),
        cmocka_unit_test(test_order_without_shuffle_is_the_identity),
        cmocka_unit_test(test_batches_round_up),
        cmocka_unit_test(test_shards_cover_each_batch_evenly),
        cmocka_unit_test(test_shards_spread_the_rest_from_the_documented_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
