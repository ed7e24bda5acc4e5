/* The rules of a reduction: what create refuses, what finish reports, what happens when a rank goes, and when
 * apply runs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "comm/ranks.h"
#include "comm/transport.h"
#include "reduce/reduce.h"

static const struct ddp_reduce_conf good = {.shards = 4, .total = 6 * DDP_BLOCK, .bucket = 2 * DDP_BLOCK};

static int64_t count_run(void *ctx, int stage, int64_t lo, int64_t hi, float *sum, double *values)
{
    (void)stage, (void)sum, (void)values;
    atomic_fetch_add((atomic_int *)ctx, (int)((hi - lo) / DDP_BLOCK));
    return -1;
}

static void test_create_refuses(void **state)
{
    (void)state;
    struct ddp_comm *c = NULL;
    assert_int_equal(ddp_comm_self_create(&c, NULL), 0);
    static const struct {
        struct ddp_reduce_conf conf;
        const char *says; /* NULL: fine */
    } cases[] = {
        {{.shards = 4, .total = 4096, .bucket = 4096}, NULL},
        {{.shards = 65536, .total = 4096, .bucket = 1}, NULL},
        {{.shards = 1, .total = 8192, .bucket = 1 << 30, .block_values = 4}, NULL},
        {{.shards = 0, .total = 4096, .bucket = 4096}, "0 shards"},
        {{.shards = 65537, .total = 4096, .bucket = 4096}, "65537 shards"},
        {{.shards = 4, .total = 0, .bucket = 4096}, "0 elements"},
        {{.shards = 4, .total = 4097, .bucket = 4096}, "4097 elements"},
        {{.shards = 4, .total = -4096, .bucket = 4096}, "-4096 elements"},
        {{.shards = 4, .total = 4096, .bucket = 0}, "buckets of 0"},
        {{.shards = 4, .total = 4096, .bucket = 4096, .block_values = 5}, "5 values"},
        {{.shards = 4, .total = 4096, .bucket = 4096, .block_values = -1}, "-1 values"},
    };
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        struct ddp_error err = {0};
        struct ddp_reduce *r = NULL;
        int code = ddp_reduce_create(&cases[i].conf, c, NULL, &r, &err);
        assert_int_equal(code, cases[i].says == NULL ? 0 : DDP_E_USAGE);
        if (cases[i].says != NULL) {
            assert_non_null(strstr(err.text, cases[i].says));
            assert_null(r);
        }
        ddp_reduce_destroy(r);
    }
    struct ddp_error err = {0};
    struct ddp_reduce_conf vast = {.shards = 4, .total = (int64_t)1 << 45, .bucket = (int64_t)1 << 40};
    struct ddp_reduce *r = NULL;
    assert_int_equal(ddp_reduce_create(&vast, c, NULL, &r, &err), DDP_E_RESOURCE);
    assert_non_null(strstr(err.text, "4 shards on 1 ranks"));
    assert_null(r);

    struct ddp_comm_ops poor = *c->ops; /* transports that can less */
    c->ops = &poor;
    poor.caps = 0;
    struct ddp_reduce_conf fast = good;
    fast.fast = true;
    assert_int_equal(ddp_reduce_create(&fast, c, NULL, &r, &err), DDP_E_COMM);
    assert_non_null(strstr(err.text, "canonical"));
    assert_int_equal(ddp_reduce_create(&good, c, NULL, &r, &err), 0);
    ddp_reduce_destroy(r);
    ddp_comm_destroy(c);

    struct ddp_small *s = NULL;
    assert_int_equal(ddp_comm_self_create(&c, NULL), 0);
    assert_int_equal(ddp_small_create(c, 0, 5, &s, &err), DDP_E_USAGE);
    assert_int_equal(ddp_small_create(c, 65537, 5, &s, &err), DDP_E_USAGE);
    assert_int_equal(ddp_small_create(c, 5, 0, &s, &err), DDP_E_USAGE);
    assert_null(s);
    ddp_small_destroy(NULL);
    ddp_reduce_destroy(NULL);
    ddp_comm_destroy(c);
}

/* Between nodes: what lacks is said on all ranks alike. */
static int refused_on_two_nodes(struct ddp_comm *c, void *ctx)
{
    (void)ctx;
    struct ddp_error err = {0};
    struct ddp_reduce *r = NULL;
    struct ddp_reduce_conf conf = good;
    CHECK(c, ddp_reduce_create(&conf, c, NULL, &r, &err) == DDP_E_USAGE && r == NULL);
    CHECK(c, strstr(err.text, "2 nodes, but no results") != NULL);
    void *result = NULL;
    CHECK_OK(c, ddp_comm_shared_alloc(c, 8, &result, &err), &err);
    conf = (struct ddp_reduce_conf){.shards = 4, .total = 40000 * DDP_BLOCK, .bucket = 1, .result = result};
    CHECK(c, ddp_reduce_create(&conf, c, NULL, &r, &err) == DDP_E_CONFIG && r == NULL);
    CHECK(c, strstr(err.text, "40000 buckets") != NULL && strstr(err.text, "reduce.bucket_mb") != NULL);
    struct ddp_comm_ops poor = *c->ops;
    const struct ddp_comm_ops *rich = c->ops;
    c->ops = &poor;
    poor.caps = DDP_COMM_ALLREDUCE;
    conf.bucket = conf.total;
    CHECK(c, ddp_reduce_create(&conf, c, NULL, &r, &err) == DDP_E_COMM && r == NULL);
    CHECK(c, strstr(err.text, "no messages") != NULL);
    CHECK_OK(c, ddp_comm_barrier(c, &err), &err);
    c->ops = rich;
    ddp_comm_shared_free(c, result, 8);
    return 0;
}

static void test_reduce_refuses_nodes(void **state)
{
    (void)state;
    static const int node[3] = {5, 5, 6};
    assert_int_equal(ranks_run_on(3, node, refused_on_two_nodes, NULL), 0);
}

/* Five ranks: too many for 4 shards; a conf of its own on one rank. All ranks hear of both. */
static int refused_together(struct ddp_comm *c, void *ctx)
{
    struct ddp_error err = {0};
    struct ddp_reduce *r = NULL;
    struct ddp_reduce_conf conf = good;
    CHECK(c, ddp_reduce_create(&conf, c, NULL, &r, &err) == DDP_E_CONFIG);
    CHECK(c, strstr(err.text, "-n 4") != NULL);
    for (int field = 0; field < 6; field++) {
        conf = good;
        conf.shards = 9;
        if (c->rank == 3) {
            conf.shards += field == 0;
            conf.fast = field == 1;
            conf.total += (field == 2) * DDP_BLOCK;
            conf.bucket += field == 3;
            conf.block_values += field == 4;
            conf.side_by_side = field == 5;
        }
        CHECK(c, ddp_reduce_create(&conf, c, NULL, &r, &err) == DDP_E_COMM);
        CHECK(c, strstr(err.text, "rank 3") != NULL);
    }
    conf.total = c->rank == 2 ? 5 : good.total; /* wrong on one rank only */
    CHECK(c, ddp_reduce_create(&conf, c, NULL, &r, &err) == DDP_E_USAGE);
    CHECK(c, r == NULL && ctx == NULL);
    return 0;
}

static void test_create_refuses_on_all_ranks(void **state)
{
    (void)state;
    assert_int_equal(ranks_run(5, refused_together, NULL), 0);
}

/* What finish must report, one wrong thing at a time. */
static void test_finish_reports_misuse(void **state)
{
    (void)state;
    static const struct {
        int shard;
        int64_t lo, hi; /* in blocks, except for odd */
        int64_t odd;
        const char *says; /* NULL: fine */
    } cases[] = {
        {2, 0, 6, 0, NULL},
        {2, 6, 6, 0, NULL},
        {-1, 0, 6, 0, "shard -1"},
        {4, 0, 6, 0, "shard 4 was reported by rank 0, which has shards 0 to 3"},
        {2, -1, 5, 0, "[-4096, 20480)"},
        {2, 0, 7, 0, "[0, 28672)"},
        {2, 3, 2, 0, "[12288, 8192)"},
        {2, 0, 6, 5, "[5, "},
        {3, 5, 6, 0, "block 5 of shard 3 was reported when shard 2 was due"},
        {1, 4, 5, 0, "block 4 of shard 1 was reported when shard 2 was due"},
    };
    struct ddp_comm *c = NULL;
    assert_int_equal(ddp_comm_self_create(&c, NULL), 0);
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        struct ddp_error err = {0};
        struct ddp_reduce *r = NULL;
        atomic_int count = 0;
        bool stop = false;
        struct ddp_reduce_apply apply = {.ctx = &count, .stages = 1, .run = count_run};
        assert_int_equal(ddp_reduce_create(&good, c, NULL, &r, &err), 0);
        ddp_reduce_begin(r);
        ddp_reduce_ready(r, 0, 0, good.total, &apply);
        ddp_reduce_ready(r, 1, 0, good.total, &apply);
        ddp_reduce_ready(r, cases[i].shard, cases[i].lo * DDP_BLOCK + cases[i].odd, cases[i].hi * DDP_BLOCK,
                         &apply);
        bool whole = i == 0;
        if (!whole && cases[i].says == NULL)
            ddp_reduce_ready(r, 2, 0, good.total, &apply);
        ddp_reduce_ready(r, 3, 0, good.total, &apply);
        if (cases[i].says == NULL) {
            assert_int_equal(ddp_reduce_finish(r, &apply, false, &stop, &err), 0);
            assert_int_equal(count, 6);
        } else {
            assert_int_equal(ddp_reduce_finish(r, &apply, false, &stop, &err), DDP_E_USAGE);
            assert_non_null(strstr(err.text, cases[i].says));
            assert_int_equal(count, 0);
        }
        ddp_reduce_destroy(r);
    }
    ddp_comm_destroy(c);
}

static void test_finish_reports_what_is_missing(void **state)
{
    (void)state;
    struct ddp_comm *c = NULL;
    struct ddp_error err = {0};
    struct ddp_reduce *r = NULL;
    atomic_int count = 0;
    bool stop = false;
    struct ddp_reduce_apply apply = {.ctx = &count, .stages = 1, .run = count_run};
    assert_int_equal(ddp_comm_self_create(&c, NULL), 0);
    assert_int_equal(ddp_reduce_create(&good, c, NULL, &r, &err), 0);
    assert_int_equal(ddp_reduce_first_shard(r), 0);
    assert_int_equal(ddp_reduce_last_shard(r), 4);
    assert_null(ddp_reduce_leaf(r, -1));
    assert_null(ddp_reduce_leaf(r, 4));
    assert_non_null(ddp_reduce_leaf(r, 3));
    ddp_reduce_begin(r);
    for (int s = 0; s < 4; s++)
        ddp_reduce_ready(r, s, s == 3 ? DDP_BLOCK : 0, good.total, &apply);
    assert_int_equal(ddp_reduce_finish(r, &apply, false, &stop, &err), DDP_E_USAGE);
    assert_non_null(strstr(err.text, "block 0 of shard 3"));
    ddp_reduce_ready(r, 3, 0, DDP_BLOCK, &apply);
    assert_int_equal(ddp_reduce_finish(r, NULL, false, &stop, &err), DDP_E_USAGE);
    struct ddp_reduce_apply bad = apply;
    bad.stages = 0;
    assert_int_equal(ddp_reduce_finish(r, &bad, false, &stop, &err), DDP_E_USAGE);
    bad = apply;
    bad.run = NULL;
    assert_int_equal(ddp_reduce_finish(r, &bad, false, &stop, &err), DDP_E_USAGE);
    assert_int_equal(ddp_reduce_finish(r, &apply, false, &stop, &err), 0);
    ddp_reduce_destroy(r);
    ddp_comm_destroy(c);
}

/* With one stage the work is done under backward: block by block on one rank, and never on several stages. */
static void test_ready_applies_complete_buckets(void **state)
{
    (void)state;
    struct ddp_comm *c = NULL;
    struct ddp_reduce *r = NULL;
    bool stop = true;
    assert_int_equal(ddp_comm_self_create(&c, NULL), 0);
    assert_int_equal(ddp_reduce_create(&good, c, NULL, &r, NULL), 0);
    for (int stages = 1; stages <= 2; stages++) {
        atomic_int count = 0;
        struct ddp_reduce_apply apply = {.ctx = &count, .stages = stages, .run = count_run};
        ddp_reduce_begin(r);
        for (int s = 0; s < 3; s++)
            ddp_reduce_ready(r, s, 0, good.total, &apply);
        assert_int_equal(count, 0);
        static const int done[] = {0, 2, 2, 4, 4, 6};
        for (int block = 5; block >= 0; block--) {
            ddp_reduce_ready(r, 3, block * DDP_BLOCK, (block + 1) * DDP_BLOCK, &apply);
            assert_int_equal(count, stages == 1 ? done[5 - block] : 0);
        }
        assert_int_equal(ddp_reduce_finish(r, &apply, false, &stop, NULL), 0);
        assert_int_equal(count, 6 * stages);
        assert_false(stop);
    }
    assert_true(ddp_reduce_waited(r) == 0);
    ddp_reduce_destroy(r);
    ddp_comm_destroy(c);
}

/* Two ranks: the one that comes last finds the other's part done; the first one is not kept in ready. Waiting
 * is counted. */
static int late(struct ddp_comm *c, void *ctx)
{
    (void)ctx;
    struct ddp_error err = {0};
    struct ddp_reduce *r = NULL;
    atomic_int count = 0;
    bool stop = true;
    struct ddp_reduce_apply apply = {.ctx = &count, .stages = 1, .run = count_run};
    const double born = ddp_now();
    CHECK_OK(c, ddp_reduce_create(&good, c, NULL, &r, &err), &err);
    ddp_reduce_begin(r);
    if (c->rank == 1)
        CHECK_OK(c, ddp_comm_barrier(c, &err), &err);
    for (int s = ddp_reduce_first_shard(r); s < ddp_reduce_last_shard(r); s++)
        ddp_reduce_empty(r, s, &apply);
    CHECK(c, count == (c->rank == 1 ? 3 : 0));
    if (c->rank == 0)
        CHECK_OK(c, ddp_comm_barrier(c, &err), &err);
    CHECK_OK(c, ddp_reduce_finish(r, &apply, false, &stop, &err), &err);
    CHECK(c, count == 3);

    ddp_reduce_waited(r);
    ddp_reduce_begin(r);
    if (c->rank == 1)
        usleep(60000);
    for (int s = ddp_reduce_first_shard(r); s < ddp_reduce_last_shard(r); s++)
        ddp_reduce_empty(r, s, &apply);
    double from = ddp_now();
    CHECK_OK(c, ddp_reduce_finish(r, &apply, false, &stop, &err), &err);
    double most = ddp_now() - from, waited = ddp_reduce_waited(r);
    CHECK(c, waited >= 0 && waited <= most);
    CHECK(c, c->rank == 1 || waited > 0.03);
    CHECK(c, ddp_reduce_waited(r) == 0);
    const struct ddp_reduce_spent spent = ddp_reduce_spent(r);
    CHECK(c, spent.under > 0 && spent.apply > 0);
    CHECK(c, spent.under + spent.apply < ddp_now() - born);
    ddp_reduce_destroy(r);
    return 0;
}

static void test_ready_does_not_wait(void **state)
{
    (void)state;
    assert_int_equal(ranks_run(2, late, NULL), 0);
}

/* The last rank goes, before it reports (stage 0 waits), or after (the barrier of the stages waits). */
static int left_alone(struct ddp_comm *c, void *ctx)
{
    bool fast = *(bool *)ctx;
    struct ddp_error err = {0};
    struct ddp_reduce *r = NULL;
    struct ddp_small *small = NULL;
    double x[4] = {0}, sum[1];
    atomic_int count = 0;
    bool stop = false;
    struct ddp_reduce_conf conf = good;
    struct ddp_reduce_apply apply = {.ctx = &count, .stages = 1, .run = count_run};
    conf.fast = fast;
    CHECK_OK(c, ddp_reduce_create(&conf, c, NULL, &r, &err), &err);
    CHECK_OK(c, ddp_small_create(c, 4, 1, &small, &err), &err);
    ddp_reduce_begin(r);
    if (c->rank == c->size - 1) {
        usleep(20000);
        ddp_comm_abort(c, 4);
    } else {
        for (int s = ddp_reduce_first_shard(r); s < ddp_reduce_last_shard(r); s++)
            ddp_reduce_empty(r, s, &apply);
        double from = ddp_now();
        CHECK(c, ddp_reduce_finish(r, &apply, false, &stop, &err) == DDP_E_COMM);
        CHECK(c, strstr(err.text, "ended the job") != NULL);
        CHECK(c, ddp_small_sum(small, 1, x, sum, &err) == DDP_E_COMM);
        CHECK(c, ddp_now() - from < 1.0);
        CHECK(c, ddp_reduce_waited(r) > 0);
    }
    ddp_small_destroy(small);
    ddp_reduce_destroy(r);
    return 0;
}

static int left_in_barrier(struct ddp_comm *c, void *ctx)
{
    (void)ctx;
    struct ddp_error err = {0};
    struct ddp_reduce *r = NULL;
    atomic_int count = 0;
    bool stop = false;
    struct ddp_reduce_apply apply = {.ctx = &count, .stages = 2, .run = count_run};
    CHECK_OK(c, ddp_reduce_create(&good, c, NULL, &r, &err), &err);
    ddp_reduce_begin(r);
    for (int s = ddp_reduce_first_shard(r); s < ddp_reduce_last_shard(r); s++)
        ddp_reduce_empty(r, s, &apply);
    if (c->rank == c->size - 1) {
        usleep(20000);
        ddp_comm_abort(c, 4);
    } else {
        CHECK(c, ddp_reduce_finish(r, &apply, false, &stop, &err) == DDP_E_COMM);
        CHECK(c, count > 0);
    }
    ddp_reduce_destroy(r);
    return 0;
}

static void test_abort_ends_finish(void **state)
{
    (void)state;
    for (int fast = 0; fast < 2; fast++) {
        bool mode = fast;
        assert_int_equal(ranks_run(2, left_alone, &mode), 0);
        assert_int_equal(ranks_run(4, left_alone, &mode), 0);
    }
    assert_int_equal(ranks_run(3, left_in_barrier, NULL), 0);
}

/* The memory plan: buffers of all ranks and little else. */
static void test_bytes_counts_buffers(void **state)
{
    (void)state;
    static const struct {
        int shards, ranks;
        bool fast, side;
        size_t buffers;
    } cases[] = {
        {1, 1, false, false, 1}, {8, 1, false, false, 4}, {8, 8, false, false, 8}, {8, 3, false, false, 7},
        {8, 2, false, true, 8},  {8, 3, true, false, 6},  {8, 8, true, false, 8},
    };
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        struct ddp_reduce_conf conf = {.shards = cases[i].shards,
                                       .fast = cases[i].fast,
                                       .side_by_side = cases[i].side,
                                       .total = 1000 * DDP_BLOCK,
                                       .bucket = 10 * DDP_BLOCK,
                                       .block_values = 2};
        const struct ddp_comm comm = {.size = cases[i].ranks, .nodes = 1};
        size_t shared = 0, own = 0, buffers = cases[i].buffers * 1000 * DDP_BLOCK * sizeof(float);
        ddp_reduce_bytes(&conf, &comm, &shared, &own);
        assert_in_range(shared - buffers, 2 * 1000 * 2 * sizeof(double), 80000);
        assert_in_range(own, 1000 * sizeof(int), 100000);
        size_t all = 0;
        conf.bucket = DDP_BLOCK; /* 900 more buckets, each with two cache lines */
        ddp_reduce_bytes(&conf, &comm, &all, &own);
        assert_in_range(all - shared, 900 * 128 - 4096, 900 * 128 + 4096);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reduce_refuses_nodes),
        cmocka_unit_test(test_create_refuses),
        cmocka_unit_test(test_create_refuses_on_all_ranks),
        cmocka_unit_test(test_finish_reports_misuse),
        cmocka_unit_test(test_finish_reports_what_is_missing),
        cmocka_unit_test(test_ready_applies_complete_buckets),
        cmocka_unit_test(test_ready_does_not_wait),
        cmocka_unit_test(test_abort_ends_finish),
        cmocka_unit_test(test_bytes_counts_buffers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
