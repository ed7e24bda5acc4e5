/* The canonical tree, for all N <= S <= 96: every rank's streaming schedule and the owner's program give
 * tree(0, S) to the bit, within the bounds of the design. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "reduce/schedule.h"

enum { MOST = 96, WIDTH = 3 };

struct item {
    float v[WIDTH];
};

/* Numbers of very different sizes, so that the order of additions shows. */
static float number(int shard, int i)
{
    uint32_t h = (uint32_t)(shard * 31 + i) * 2654435761u + 12345u;
    h = (h ^ h >> 15) * 0x846ca68bu;
    h ^= h >> 13;
    float mantissa = (float)(h & 0xffff) / 65536.0f - 0.47f;
    int e = (int)(h >> 20 & 15);
    return mantissa * (float)(1 << e);
}

static struct item leaf(int shard)
{
    struct item x;
    for (int i = 0; i < WIDTH; i++)
        x.v[i] = number(shard, i);
    return x;
}

static struct item plus(struct item a, struct item b)
{
    for (int i = 0; i < WIDTH; i++)
        a.v[i] = a.v[i] + b.v[i];
    return a;
}

/* The definition, written down a second time. */
static struct item tree(int lo, int hi)
{
    if (hi - lo == 1)
        return leaf(lo);
    int half = 1;
    while (half * 2 < hi - lo)
        half *= 2;
    return plus(tree(lo, lo + half), tree(lo + half, hi));
}

static bool same(struct item a, struct item b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

static int log2_up(int n)
{
    int k = 0;
    while ((1 << k) < n)
        k++;
    return k;
}

static void test_split_is_largest_power_below(void **state)
{
    (void)state;
    static const int cases[][3] = {{0, 2, 1},      {0, 3, 2},         {0, 4, 2},        {0, 5, 4},
                                   {0, 8, 4},      {0, 9, 8},         {4, 8, 6},        {4, 7, 6},
                                   {8, 9 + 4, 12}, {0, 65536, 32768}, {0, 65535, 32768}};
    for (size_t i = 0; i < DDP_COUNT(cases); i++)
        assert_int_equal(ddp_tree_split(cases[i][0], cases[i][1]), cases[i][2]);
}

static bool listed(int a, int b, int lo, int hi)
{
    if (a == lo && b == hi)
        return true;
    if (b - a < 2)
        return false;
    int half = 1;
    while (half * 2 < b - a)
        half *= 2;
    return listed(a, a + half, lo, hi) || listed(a + half, b, lo, hi);
}

static void test_is_node_agrees_with_listing(void **state)
{
    (void)state;
    for (int shards = 1; shards <= 20; shards++)
        for (int lo = 0; lo <= shards; lo++)
            for (int hi = lo; hi <= shards + 1; hi++)
                assert_int_equal(ddp_tree_is_node(shards, lo, hi), listed(0, shards, lo, hi));
}

static void test_first_shard_spreads(void **state)
{
    (void)state;
    for (int shards = 1; shards <= MOST; shards++)
        for (int ranks = 1; ranks <= shards; ranks++) {
            assert_int_equal(ddp_tree_first_shard(shards, ranks, 0), 0);
            assert_int_equal(ddp_tree_first_shard(shards, ranks, ranks), shards);
            for (int r = 0; r < ranks; r++) {
                int n = ddp_tree_first_shard(shards, ranks, r + 1) - ddp_tree_first_shard(shards, ranks, r);
                assert_in_range(n, shards / ranks, (shards + ranks - 1) / ranks);
            }
        }
    assert_int_equal(ddp_tree_first_shard(65536, 65536, 65535), 65535); /* no overflow */
}

static void test_cover_is_minimal_and_bounded(void **state)
{
    (void)state;
    for (int shards = 1; shards <= MOST; shards++) {
        for (int ranks = 1; ranks <= shards; ranks++) {
            int most = (shards + ranks - 1) / ranks, nodes_bound = 2 * log2_up(most + 1) - 1;
            int quotient = shards / ranks;
            bool power = shards % ranks == 0 && (quotient & (quotient - 1)) == 0;
            for (int r = 0; r < ranks; r++) {
                struct ddp_tree_node node[DDP_TREE_MAX_NODES];
                int first = ddp_tree_first_shard(shards, ranks, r),
                    last = ddp_tree_first_shard(shards, ranks, r + 1);
                int n = ddp_tree_cover(shards, first, last, node);
                assert_in_range(n, 1, power ? 1 : nodes_bound);
                for (int i = 0; i < n; i++) {
                    assert_true(ddp_tree_is_node(shards, node[i].lo, node[i].hi));
                    assert_int_equal(node[i].lo, i == 0 ? first : node[i - 1].hi);
                    for (int j = i + 1; j < n; j++) /* no larger node would do */
                        assert_false(ddp_tree_is_node(shards, node[i].lo, node[j].hi));
                }
                assert_int_equal(node[n - 1].hi, last);
            }
        }
    }
    struct ddp_tree_node node[DDP_TREE_MAX_NODES];
    assert_int_equal(ddp_tree_cover(8, 3, 3, node), 0);
    assert_in_range(ddp_tree_cover(65536, 1, 65535, node), 30, DDP_TREE_MAX_NODES);
}

/* Known schedules, worked out by hand: shard -> buffer, merges. */
static void test_merges_by_hand(void **state)
{
    (void)state;
    static const struct {
        int shards, first, shard, buffer, merges;
    } cases[] = {
        {8, 0, 0, 0, 0}, {8, 0, 1, 1, 1}, {8, 0, 2, 1, 0}, {8, 0, 3, 2, 2}, {8, 0, 7, 3, 3},
        {5, 0, 4, 1, 1}, /* ((0 1)(2 3)) 4: the odd one merges with all before it */
        {3, 0, 2, 1, 1}, {8, 3, 3, 0, 0}, {8, 3, 4, 1, 0}, /* 3 | 4: not brothers */
        {8, 5, 5, 0, 0}, {8, 5, 6, 1, 0}, {8, 5, 7, 2, 1}, {7, 4, 6, 1, 1}, {7, 2, 6, 2, 1},
    };
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        struct ddp_tree_node node[DDP_TREE_MAX_NODES];
        const int shards = cases[i].shards, first = cases[i].first, shard = cases[i].shard;
        assert_int_equal(ddp_tree_merges_after(shards, first, shard, shard + 1), cases[i].merges);
        assert_int_equal(ddp_tree_cover(shards, first, shard, node), cases[i].buffer);
    }
}

/* What all ranks ship, pushed on a stack one after the other, as kernels do it. */
static struct item on_a_stack(int shards, const struct ddp_tree_node *node, const struct item *shipped, int n)
{
    struct item stack[2 * MOST];
    int depth = 0;
    for (int i = 0; i < n; i++) {
        stack[depth++] = shipped[i];
        for (int m = ddp_tree_merges_after(shards, 0, node[i].lo, node[i].hi); m > 0; m--, depth--)
            stack[depth - 2] = plus(stack[depth - 2], stack[depth - 1]);
    }
    assert_int_equal(depth, 1);
    return stack[0];
}

static void check_shipments(const struct ddp_schedule_conf *conf, int ranks, const struct ddp_tree_node *node,
                            int n)
{
    struct ddp_shipment *all = NULL;
    assert_int_equal(ddp_schedule_shipments(conf, ranks, &all), n);
    for (int i = 0; i < n; i++) {
        assert_true(all[i].node.lo == node[i].lo && all[i].node.hi == node[i].hi);
        assert_true(all[i].buffer == 0 || all[i].rank == all[i - 1].rank);
    }
    assert_int_equal(all[n - 1].rank, ranks - 1);
    free(all);
}

/* Run every rank's schedule and the owner's program on numbers. */
static struct item simulate(const struct ddp_schedule_conf *conf, int ranks, bool *bounds)
{
    struct item shipped[2 * MOST], temp[32], out;
    struct ddp_tree_node node[2 * MOST];
    int n = 0;
    for (int r = 0; r < ranks; r++) {
        struct ddp_schedule s;
        struct item buffer[MOST];
        ddp_schedule_init(&s, conf, ranks, r);
        memset(buffer, 0xff, sizeof buffer); /* nan */
        for (int k = s.first, beside = conf->beside > 1 ? conf->beside : 1; k < s.last; k++) {
            *bounds = *bounds && s.leaf[k - s.first] < s.buffers;
            for (int i = k; (k - s.first) % beside == 0 && i < k + beside && i < s.last; i++)
                buffer[s.leaf[i - s.first]] = leaf(i); /* of the whole group, before anything is merged */
            for (int i = s.start[k - s.first]; i < s.start[k - s.first + 1]; i++) {
                *bounds = *bounds && s.merge[i].into < s.buffers && s.merge[i].from < s.buffers;
                buffer[s.merge[i].into] = plus(buffer[s.merge[i].into], buffer[s.merge[i].from]);
            }
        }
        *bounds = *bounds && s.buffers == ddp_schedule_buffers(conf, ranks, r) && s.node_buffer[0] == 0;
        for (int i = 0; i < s.nodes; i++, n++) {
            node[n] = s.node[i];
            shipped[n] = buffer[s.node_buffer[i]];
        }
        ddp_schedule_finish(&s);
    }
    check_shipments(conf, ranks, node, n);
    if (conf->fast) { /* the transport's part: in order of ranks */
        for (int i = 1; i < n; i++)
            shipped[0] = plus(shipped[0], shipped[i]);
        return shipped[0];
    }
    struct ddp_combine c;
    ddp_combine_init(&c, (struct ddp_tree_node){0, conf->shards}, node, n);
    *bounds = *bounds && c.nadds == n - 1 && c.temps <= 32;
    out = shipped[0];
    for (int i = 0; i < c.nadds; i++) {
        const struct ddp_add *a = &c.add[i];
        *bounds = *bounds && a->dst < c.temps && -1 - a->x < c.temps && -1 - a->y < c.temps;
        struct item x = a->x < 0 ? temp[-1 - a->x] : shipped[a->x];
        struct item y = a->y < 0 ? temp[-1 - a->y] : shipped[a->y];
        out = temp[a->dst] = plus(x, y);
    }
    ddp_combine_finish(&c);
    assert_true(same(out, on_a_stack(conf->shards, node, shipped, n)));
    return out;
}

static void test_schedules_give_the_tree(void **state)
{
    (void)state;
    for (int shards = 1; shards <= MOST; shards++) {
        struct item want = tree(0, shards);
        for (int ranks = 1; ranks <= shards; ranks++) {
            bool bounds = true;
            struct ddp_schedule_conf conf = {.shards = shards};
            const int most = (shards + ranks - 1) / ranks;
            for (int rank = 0; rank < ranks; rank++)
                assert_in_range(ddp_schedule_buffers(&conf, ranks, rank), 1, 2 * log2_up(most + 1));
            for (conf.beside = 0; conf.beside <= shards; conf.beside += 1 + conf.beside / 6)
                assert_true(same(simulate(&conf, ranks, &bounds), want));
            assert_true(bounds);
        }
    }
}

/* fast: each rank left to right; differs from the tree somewhere, and agrees where each rank has two shards
 * or one. */
static void test_fast_schedule_is_left_to_right(void **state)
{
    (void)state;
    int differ = 0;
    for (int shards = 1; shards <= MOST; shards++) {
        for (int ranks = 1; ranks <= shards; ranks++) {
            bool bounds = true;
            struct ddp_schedule_conf conf = {.shards = shards, .fast = true};
            struct item want = leaf(0), part;
            for (int r = 0; r < ranks; r++) {
                int first = ddp_tree_first_shard(shards, ranks, r),
                    last = ddp_tree_first_shard(shards, ranks, r + 1);
                part = leaf(first);
                for (int k = first + 1; k < last; k++)
                    part = plus(part, leaf(k));
                want = r == 0 ? part : plus(want, part);
            }
            struct item got = simulate(&conf, ranks, &bounds);
            assert_true(same(got, want));
            for (conf.beside = 2; conf.beside <= shards; conf.beside *= 2)
                assert_true(same(simulate(&conf, ranks, &bounds), want));
            assert_true(bounds);
            differ += !same(got, tree(0, shards));
        }
    }
    assert_in_range(differ, 1000, MOST * MOST);
}

static void test_buffers_saved(void **state)
{
    (void)state;
    static const struct {
        int shards, ranks, rank, stack, four, side, fast;
    } cases[] = {{1, 1, 0, 1, 1, 1, 1},   {8, 1, 0, 4, 5, 8, 2}, {8, 8, 3, 1, 1, 1, 1},
                 {8, 2, 1, 3, 4, 4, 2},   {8, 3, 1, 2, 3, 3, 2}, {64, 1, 0, 7, 8, 64, 2},
                 {50, 2, 1, 8, 10, 25, 2}};
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        struct ddp_schedule_conf conf = {.shards = cases[i].shards};
        assert_int_equal(ddp_schedule_buffers(&conf, cases[i].ranks, cases[i].rank), cases[i].stack);
        conf.beside = 4;
        assert_int_equal(ddp_schedule_buffers(&conf, cases[i].ranks, cases[i].rank), cases[i].four);
        conf.beside = cases[i].shards;
        assert_int_equal(ddp_schedule_buffers(&conf, cases[i].ranks, cases[i].rank), cases[i].side);
        conf = (struct ddp_schedule_conf){.shards = cases[i].shards, .fast = true};
        assert_int_equal(ddp_schedule_buffers(&conf, cases[i].ranks, cases[i].rank), cases[i].fast);
    }
}

static void test_tree_sum_matches(void **state)
{
    (void)state;
    for (int shards = 1; shards <= MOST; shards++) {
        float v[MOST * WIDTH], out[WIDTH + 1] = {[WIDTH] = 7};
        double dv[MOST * WIDTH], dout[WIDTH + 1] = {[WIDTH] = 7};
        for (int s = 0; s < shards; s++)
            for (int i = 0; i < WIDTH; i++) {
                v[s * WIDTH + i] = number(s, i);
                dv[s * WIDTH + i] = number(s, i);
            }
        ddp_tree_sum_float(shards, WIDTH, v, out);
        ddp_tree_sum_double(shards, WIDTH, dv, dout);
        struct item want = tree(0, shards);
        assert_memory_equal(out, want.v, sizeof want.v);
        assert_true(out[WIDTH] == 7 && dout[WIDTH] == 7); /* nothing behind the end */
        for (int i = 0; i < WIDTH; i++) {                 /* exact in double: 24 + 15 + 7 bits */
            double sum = 0;
            for (int s = 0; s < shards; s++)
                sum += number(s, i);
            assert_true(dout[i] == sum);
        }
    }
    double order[5] = {1e16, 1, 1, 1, -1e16}, out;
    ddp_tree_sum_double(5, 1, order, &out); /* ((1e16 + 1) + (1 + 1)) - 1e16 */
    assert_true(out == 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_split_is_largest_power_below),
        cmocka_unit_test(test_is_node_agrees_with_listing),
        cmocka_unit_test(test_first_shard_spreads),
        cmocka_unit_test(test_cover_is_minimal_and_bounded),
        cmocka_unit_test(test_merges_by_hand),
        cmocka_unit_test(test_schedules_give_the_tree),
        cmocka_unit_test(test_fast_schedule_is_left_to_right),
        cmocka_unit_test(test_buffers_saved),
        cmocka_unit_test(test_tree_sum_matches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
