/* Reduction over the transports: plain with cmocka on self and threads; `test_reduce world` under mpirun. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "reduce/steps.h"
#include "reduce/tree.h"

static const struct plan plans[] = {
    {.shards = 1, .blocks = 5, .bucket_blocks = 2, .stages = 1, .order = BACKWARD, .threads = 1, .steps = 4},
    {.shards = 8, .blocks = 9, .bucket_blocks = 4, .stages = 1, .order = BACKWARD, .threads = 1, .steps = 6},
    {.shards = 8, .blocks = 9, .bucket_blocks = 4, .stages = 3, .order = BACKWARD, .threads = 1, .steps = 6},
    {.shards = 8, .blocks = 40, .bucket_blocks = 100, .stages = 1, .order = WHOLE, .threads = 2, .steps = 3},
    {.shards = 8,
     .blocks = 41,
     .bucket_blocks = 13,
     .stages = 3,
     .order = FORWARD_THREES,
     .threads = 3,
     .steps = 3},
    {.shards = 13,
     .blocks = 7,
     .bucket_blocks = 1,
     .stages = 1,
     .order = SCRAMBLED,
     .threads = 1,
     .steps = 5},
    {.shards = 13,
     .blocks = 7,
     .bucket_blocks = 3,
     .stages = 1,
     .order = FORWARD_THREES,
     .threads = 2,
     .steps = 3},
    {.shards = 13,
     .blocks = 7,
     .bucket_blocks = 3,
     .stages = 3,
     .order = SCRAMBLED,
     .threads = 1,
     .steps = 3,
     .empties = true},
    {.shards = 24,
     .blocks = 4,
     .bucket_blocks = 2,
     .stages = 1,
     .order = BACKWARD,
     .threads = 1,
     .steps = 3,
     .empties = true},
    {.shards = 6,
     .blocks = 3,
     .bucket_blocks = 1,
     .stages = 1,
     .order = WHOLE,
     .threads = 1,
     .steps = 3,
     .empties = true},
    {.shards = 13,
     .blocks = 7,
     .bucket_blocks = 2,
     .side_by_side = true,
     .stages = 1,
     .order = SCRAMBLED,
     .threads = 1,
     .steps = 3},
    {.shards = 11,
     .blocks = 7,
     .bucket_blocks = 2,
     .side_by_side = true,
     .interleaved = true,
     .stages = 3,
     .order = BACKWARD,
     .threads = 2,
     .steps = 3},
    {.shards = 3, .blocks = 1, .bucket_blocks = 1, .stages = 1, .order = WHOLE, .threads = 1, .steps = 12},
};

/* Every plan on c's number of ranks; NULL: on n threads. */
static int canonical(struct ddp_comm *c, int n)
{
    for (size_t i = 0; i < DDP_COUNT(plans); i++) {
        struct plan p = plans[i];
        if (n > p.shards)
            continue;
        p.exact = 1;
        steps_prepare(&p, n);
        int line = c != NULL ? steps_run(c, &p) : ranks_run(n, steps_run, &p);
        steps_forget(&p);
        if (line != 0) {
            fprintf(stderr, "plan %zu on %d ranks\n", i, n);
            return line;
        }
    }
    return 0;
}

static int fast(struct ddp_comm *c, int n, int shards, int exact, int stages)
{
    struct plan p = {.shards = shards,
                     .blocks = 9,
                     .bucket_blocks = 2,
                     .fast = true,
                     .stages = stages,
                     .order = BACKWARD,
                     .threads = 1,
                     .steps = 4,
                     .exact = exact};
    steps_prepare(&p, n);
    int line = c != NULL ? steps_run(c, &p) : ranks_run(n, steps_run, &p);
    steps_forget(&p);
    return line;
}

static void test_self_gives_the_tree(void **state)
{
    (void)state;
    struct ddp_comm *c = NULL;
    assert_int_equal(ddp_comm_self_create(&c, NULL), 0);
    assert_int_equal(canonical(c, 1), 0);
    assert_int_equal(fast(c, 1, 8, 1, 1), 0);
    ddp_comm_destroy(c);
}

static void test_threads_give_the_tree(void **state)
{
    (void)state;
    static const int ranks[] = {1, 2, 3, 5, 8};
    for (size_t i = 0; i < DDP_COUNT(ranks); i++)
        assert_int_equal(canonical(NULL, ranks[i]), 0);
}

/* All ways of reporting, all small bucket sizes, at a number of ranks that divides nothing. */
static void test_threads_any_cut_any_order(void **state)
{
    (void)state;
    for (enum order order = 0; order < ORDERS; order++) {
        for (int bucket = 1; bucket <= 8; bucket++) {
            struct plan p = {.shards = 7,
                             .blocks = 7,
                             .bucket_blocks = bucket,
                             .stages = bucket % 2 ? 1 : 3,
                             .order = order,
                             .threads = 1,
                             .steps = 2,
                             .exact = 1};
            steps_prepare(&p, 3);
            assert_int_equal(ranks_run(3, steps_run, &p), 0);
            steps_forget(&p);
        }
    }
}

/* fast: the transport's own sums. Equal to rank order on threads; the negative control of the numerics
 * contract. */
static void test_fast_sums_ranks(void **state)
{
    (void)state;
    for (int n = 1; n <= 5; n++) {
        assert_int_equal(fast(NULL, n, 8, 1, 1), 0);
        assert_int_equal(fast(NULL, n, 8, 1, 3), 0);
    }
}

static void test_fast_differs_where_it_must(void **state)
{
    (void)state;
    assert_int_equal(fast(NULL, 3, 8, -1, 1), 0); /* S=8 on 3 ranks: other bits than the tree's */
    struct plan p = {.shards = 4,
                     .blocks = 9,
                     .bucket_blocks = 2,
                     .fast = true,
                     .stages = 1,
                     .order = BACKWARD,
                     .threads = 1,
                     .steps = 4,
                     .exact = 0};
    steps_prepare(&p, 3);
    p.exact = 1; /* S=4 on 3 ranks: the tree's own bits */
    assert_int_equal(ranks_run(3, steps_run, &p), 0);
    steps_forget(&p);
}

/* ---- small sums ---- */

static double small_value(int round, int shard, int i)
{
    uint32_t h = (uint32_t)(round * 7919 + shard * 131 + i) * 2654435761u;
    h ^= h >> 15;
    return ((double)(h & 0xffff) - 30000) * (1 << (h >> 16 & 7)) / 1025; /* more digits than a float has */
}

static int small(struct ddp_comm *c, void *ctx)
{
    int shards = *(int *)ctx;
    enum { WIDTH = 37, ROUNDS = 50 };
    struct ddp_error err = {0};
    struct ddp_small *s = NULL;
    static const int widths[] = {1, 5, WIDTH};
    static _Thread_local double leaves[64 * WIDTH], all[64 * WIDTH];
    double want[WIDTH], got[WIDTH + 1];
    CHECK_OK(c, ddp_small_create(c, shards, WIDTH, &s, &err), &err);
    CHECK(c, ddp_small_sum(s, 0, leaves, got, &err) == DDP_E_USAGE);
    CHECK(c, ddp_small_sum(s, WIDTH + 1, leaves, got, &err) == DDP_E_USAGE);
    int first = ddp_tree_first_shard(shards, c->size, c->rank),
        last = ddp_tree_first_shard(shards, c->size, c->rank + 1);
    CHECK_OK(c, ddp_comm_barrier(c, &err), &err);
    long allocations = ddp_alloc_count();
    CHECK_OK(c, ddp_comm_barrier(c, &err), &err);
    for (int round = 0; round < ROUNDS; round++) {
        int width = widths[round % 3];
        for (int k = 0; k < shards; k++)
            for (int i = 0; i < width; i++) {
                all[k * width + i] = small_value(round, k, i);
                if (k >= first && k < last)
                    leaves[(k - first) * width + i] = all[k * width + i];
            }
        got[width] = 77;
        CHECK_OK(c, ddp_small_sum(s, width, leaves, got, &err), &err);
        ddp_tree_sum_double(shards, width, all, want);
        CHECK(c, memcmp(got, want, (size_t)width * sizeof *got) == 0 && got[width] == 77);
    }
    CHECK_OK(c, ddp_comm_barrier(c, &err), &err);
    CHECK(c, ddp_alloc_count() == allocations);
    CHECK_OK(c, ddp_comm_barrier(c, &err), &err);
    ddp_small_destroy(s);
    return 0;
}

static const int small_shards[] = {1, 2, 3, 8, 13, 50}; /* fewer than ranks is fine here: evaluation */

static void test_small_sums_the_tree(void **state)
{
    (void)state;
    for (int n = 1; n <= 8; n += n < 3 ? 1 : 5)
        for (size_t i = 0; i < DDP_COUNT(small_shards); i++) {
            int shards = small_shards[i];
            assert_int_equal(ranks_run(n, small, &shards), 0);
        }
}

static int run_world(int argc, char **argv)
{
    struct ddp_error err = {0};
    struct ddp_comm *c = NULL;
    if (ddp_comm_world_create(&argc, &argv, &c, &err) != 0) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    int bad = canonical(c, c->size) != 0;
    if (!bad && c->size <= 8) /* MPI adds in an order of its own */
        bad = fast(c, c->size, 8, 0, 1) != 0 || (c->size == 3 && fast(c, 3, 8, -1, 1) != 0);
    for (size_t i = 0; i < DDP_COUNT(small_shards) && !bad; i++) {
        int shards = small_shards[i];
        bad = small(c, &shards) != 0;
    }
    ddp_comm_destroy(c);
    return bad;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "world") == 0)
        return run_world(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_self_gives_the_tree),        cmocka_unit_test(test_threads_give_the_tree),
        cmocka_unit_test(test_threads_any_cut_any_order),  cmocka_unit_test(test_fast_sums_ranks),
        cmocka_unit_test(test_fast_differs_where_it_must), cmocka_unit_test(test_small_sums_the_tree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
