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
    assert_int_equal(steps_canonical(c, 1, NULL), 0);
    assert_int_equal(fast(c, 1, 8, 1, 1), 0);
    ddp_comm_destroy(c);
}

static void test_threads_give_the_tree(void **state)
{
    (void)state;
    static const int ranks[] = {1, 2, 3, 5, 8};
    for (size_t i = 0; i < DDP_COUNT(ranks); i++)
        assert_int_equal(steps_canonical(NULL, ranks[i], NULL), 0);
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

static const int small_shards[] = {1, 2, 3, 8, 13, 50}; /* fewer than ranks is fine here: evaluation */

static void test_small_sums_the_tree(void **state)
{
    (void)state;
    for (int n = 1; n <= 8; n += n < 3 ? 1 : 5)
        for (size_t i = 0; i < DDP_COUNT(small_shards); i++) {
            int shards = small_shards[i];
            assert_int_equal(ranks_run(n, steps_small, &shards), 0);
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
    int bad = steps_canonical(c, c->size, NULL) != 0;
    if (!bad && c->size <= 8) /* MPI adds in an order of its own */
        bad = fast(c, c->size, 8, 0, 1) != 0 || (c->size == 3 && fast(c, 3, 8, -1, 1) != 0);
    for (size_t i = 0; i < DDP_COUNT(small_shards) && !bad; i++) {
        int shards = small_shards[i];
        bad = steps_small(c, &shards) != 0;
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
