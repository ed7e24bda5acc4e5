/* Reduction between nodes: the bits of one rank on nodes of all shapes, plain with cmocka on threads and on
 * processes; `test_reduce_nodes world` under mpirun, where DDP_COMM_NODE makes nodes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "reduce/steps.h"

enum { MOST = 12 };

static const struct {
    int n, node[MOST];
} shapes[] = {
    {2, {0, 1}},
    {3, {0, 1, 2}},
    {4, {0, 1, 2, 3}},
    {4, {0, 0, 1, 1}},
    {5, {0, 0, 0, 0, 1}},
    {5, {0, 1, 1, 1, 1}},
    {6, {0, 0, 0, 1, 1, 2}},
    {6, {0, 0, 1, 1, 2, 2}},
    {7, {0, 0, 0, 1, 1, 1, 1}},    /* lanes with members */
    {6, {0, 1, 0, 1, 0, 1}},       /* dealt out in turn */
    {6, {2, 0, 1, 1, 0, 2}},       /* in no order */
    {8, {0, 0, 0, 0, 0, 1, 1, 2}}, /* one lane, five members */
    {12, {0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3}},
};

static void test_nodes_give_the_tree(void **state)
{
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(shapes); i++) {
        const int line = steps_canonical(NULL, shapes[i].n, shapes[i].node);
        if (line != 0)
            fprintf(stderr, "shape %zu\n", i);
        assert_int_equal(line, 0);
    }
}

/* All numbers of shards, so that nodes come down to one tree node and to many. */
static void test_nodes_any_number_of_shards(void **state)
{
    (void)state;
    static const int node[5] = {0, 0, 0, 1, 2};
    for (int shards = 5; shards <= 24; shards++)
        for (int bucket = 1; bucket <= 4; bucket += 3) {
            struct plan p = {.shards = shards,
                             .blocks = 5 + shards % 3,
                             .bucket_blocks = bucket,
                             .side_by_side = shards % 4 == 1,
                             .stages = shards % 2 ? 1 : 3,
                             .order = (enum order)(shards % ORDERS),
                             .threads = 1 + (shards % 5 == 0),
                             .steps = 2,
                             .exact = 1};
            steps_prepare(&p, 5);
            const int line = ranks_run_on(5, node, steps_run, &p);
            steps_forget(&p);
            assert_int_equal(line, 0);
        }
}

/* Ranks that pause and compute at random: parts are added up and applied between tasks, a few blocks at a
 * time. */
static void test_nodes_in_any_interleaving(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 24; seed++) {
        const size_t i = seed % DDP_COUNT(shapes);
        struct plan p = {.shards = 12 + (int)(seed % 2),
                         .blocks = 9 + 31 * (int)(seed % 3),
                         .bucket_blocks = 3 + 20 * (int)(seed % 4),
                         .stages = seed % 5 ? 1 : 3,
                         .order = seed % 2 ? BACKWARD : FORWARD_THREES,
                         .threads = 1 + (int)(seed % 2),
                         .steps = 3,
                         .stir = seed,
                         .exact = 1};
        steps_prepare(&p, shapes[i].n);
        const int line = ranks_run_on(shapes[i].n, shapes[i].node, steps_run, &p);
        steps_forget(&p);
        if (line != 0)
            fprintf(stderr, "seed %u\n", seed);
        assert_int_equal(line, 0);
    }
}

static void test_processes_on_nodes(void **state)
{
    (void)state;
    static const int node[5] = {0, 0, 0, 1, 1};
    for (int stages = 1; stages <= 3; stages += 2) {
        struct plan p = {.shards = 13,
                         .blocks = 9,
                         .bucket_blocks = 2,
                         .stages = stages,
                         .order = BACKWARD,
                         .threads = 1,
                         .steps = 6,
                         .may_allocate = true, /* what comes before it is expected */
                         .exact = 1};
        steps_prepare(&p, 5);
        assert_int_equal(ranks_run_forked(5, node, steps_run, &p), 0);
        steps_forget(&p);
    }
}

static int fast(struct ddp_comm *c, int n, const int *node, int stages, int exact)
{
    struct plan p = {.shards = 8,
                     .blocks = 9,
                     .bucket_blocks = 2,
                     .fast = true,
                     .stages = stages,
                     .order = BACKWARD,
                     .threads = 1,
                     .steps = 4,
                     .exact = exact};
    steps_prepare(&p, n);
    const int line = c != NULL ? steps_run(c, &p) : ranks_run_on(n, node, steps_run, &p);
    steps_forget(&p);
    return line;
}

static void test_fast_on_nodes(void **state)
{
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(shapes); i++) {
        bool in_order = true; /* threads add in the order of ranks */
        for (int r = 1; r < shapes[i].n; r++)
            in_order = in_order && shapes[i].node[r] >= shapes[i].node[r - 1];
        for (int stages = 1; stages <= (in_order ? 3 : 1) && shapes[i].n <= 8; stages += 2)
            assert_int_equal(fast(NULL, shapes[i].n, shapes[i].node, stages, in_order), 0);
    }
}

static void test_small_sums_on_nodes(void **state)
{
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(shapes); i++)
        for (int shards = 1; shards <= 50; shards += shards < 14 ? 1 : 12)
            assert_int_equal(ranks_run_on(shapes[i].n, shapes[i].node, steps_small, &shards), 0);
}

/* ---- what crosses the network ---- */

struct counted { /* by the rank of this thread */
    const struct ddp_comm_ops *ops;
    int messages;
    int64_t bytes;
};
static _Thread_local struct counted counted;

static int count_messages(void *self, const struct ddp_message *list, int n, int tag, void **exchange,
                          struct ddp_error *err)
{
    for (int i = 0; i < n; i++) {
        counted.messages += list[i].send;
        counted.bytes += list[i].send ? (int64_t)list[i].bytes : 0;
    }
    return counted.ops->exchange_create(self, list, n, tag, exchange, err);
}

/* A step's messages are those of the exchanges that were made for it: each is begun once. Nodes of one tree
 * node: (nodes - 1) * 2 a bucket and port; all of a node's ports send (nodes - 1) / nodes of the flat space
 * twice. The vote to stop is one more to each node, from lane 0. */
static int count_crossing(struct ddp_comm *c, void *ctx)
{
    enum { BUCKETS = 3, BUCKET = 32 };
    struct ddp_error err = {0};
    struct ddp_reduce *r = NULL;
    struct ddp_comm_ops counting = *c->ops;
    void *result = NULL;
    const int64_t total = (int64_t)BUCKETS * BUCKET * DDP_BLOCK, others = c->nodes - 1;
    const struct ddp_comm_ops *plain = c->ops;
    (void)ctx;
    CHECK_OK(c, ddp_comm_shared_alloc(c, (size_t)total * sizeof(float), &result, &err), &err);
    counted = (struct counted){.ops = plain};
    counting.exchange_create = count_messages;
    c->ops = &counting;
    const struct ddp_reduce_conf conf = {
        .shards = 2 * c->size, .total = total, .bucket = (int64_t)BUCKET * DDP_BLOCK, .result = result};
    CHECK_OK(c, ddp_reduce_create(&conf, c, NULL, &r, &err), &err);
    const int votes = c->lane == 0 ? (int)others : 0;
    CHECK(c, counted.messages == BUCKETS * 2 * others + votes);
    CHECK(c,
          (counted.bytes - 8 * votes) * c->lanes == 2 * total / c->nodes * others * (int64_t)sizeof(float));
    c->ops = plain;
    ddp_reduce_destroy(r);
    ddp_comm_shared_free(c, result, (size_t)total * sizeof(float));
    return 0;
}

static void test_messages_grow_with_nodes_not_with_ranks(void **state)
{
    (void)state;
    for (int nodes = 2; nodes <= 8; nodes *= 2)
        for (int each = 1; each <= 2; each++) {
            int node[16];
            for (int rank = 0; rank < nodes * each; rank++)
                node[rank] = rank / each;
            assert_int_equal(ranks_run_on(nodes * each, node, count_crossing, NULL), 0);
        }
}

/* ---- a rank goes ---- */

static int64_t copy(void *ctx, int stage, int64_t lo, int64_t hi, float *sum, double *values)
{
    (void)ctx, (void)stage, (void)lo, (void)hi, (void)sum, (void)values;
    return -1;
}

/* Rank 2 ends the job in its second step; the others hear of it wherever they wait. */
static int leave(struct ddp_comm *c, void *ctx)
{
    struct ddp_error err = {0};
    struct ddp_reduce *r = NULL;
    const struct ddp_reduce_apply apply = {.ctx = ctx, .stages = 1, .run = copy};
    struct ddp_reduce_conf conf = {.shards = 8, .total = 6 * DDP_BLOCK, .bucket = 2 * DDP_BLOCK};
    void *result = NULL;
    bool stop;
    int code = 0;
    CHECK_OK(c, ddp_comm_shared_alloc(c, (size_t)conf.total * sizeof(float), &result, &err), &err);
    conf.result = result;
    CHECK_OK(c, ddp_reduce_create(&conf, c, NULL, &r, &err), &err);
    for (int step = 0; step < 2; step++) {
        ddp_reduce_begin(r);
        if (step == 1 && c->rank == 2) {
            ddp_comm_abort(c, 1);
            break;
        }
        for (int s = ddp_reduce_first_shard(r); s < ddp_reduce_last_shard(r); s++)
            ddp_reduce_empty(r, s, &apply);
        code = ddp_reduce_finish(r, &apply, false, &stop, &err); /* the first step's too, on who is late */
        if (code != 0)
            break;
    }
    if (code != (c->rank == 2 ? 0 : DDP_E_COMM))
        return __LINE__;
    ddp_reduce_destroy(r);
    ddp_comm_shared_free(c, result, (size_t)conf.total * sizeof(float));
    return 0;
}

static void test_abort_ends_finish_on_all_nodes(void **state)
{
    (void)state;
    static const int node[2][5] = {{0, 0, 0, 1, 1}, {0, 1, 2, 2, 2}};
    for (int i = 0; i < 2; i++)
        assert_int_equal(ranks_run_on(5, node[i], leave, NULL), 0);
}

static int run_world(int argc, char **argv)
{
    struct ddp_error err = {0};
    struct ddp_comm *c = NULL;
    if (ddp_comm_world_create(&argc, &argv, &c, &err) != 0) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    int bad = c->nodes < 2 || steps_canonical(c, c->size, NULL) != 0 || fast(c, c->size, NULL, 1, 0) != 0;
    for (int shards = 1; shards <= 13 && !bad; shards += 4)
        bad = steps_small(c, &shards) != 0;
    ddp_comm_destroy(c);
    return bad;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "world") == 0)
        return run_world(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nodes_give_the_tree),
        cmocka_unit_test(test_nodes_any_number_of_shards),
        cmocka_unit_test(test_nodes_in_any_interleaving),
        cmocka_unit_test(test_processes_on_nodes),
        cmocka_unit_test(test_fast_on_nodes),
        cmocka_unit_test(test_messages_grow_with_nodes_not_with_ranks),
        cmocka_unit_test(test_small_sums_on_nodes),
        cmocka_unit_test(test_abort_ends_finish_on_all_nodes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
