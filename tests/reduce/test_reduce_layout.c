/* Who owns what: for all small shapes, on one node and on several, equal and unequal. What every rank, lane
 * and node is given; then the walk over two levels, done with tree nodes in place of numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "reduce/layout.h"
#include "reduce/schedule.h"

enum { MOST_NODES = 4, MOST_RANKS = 64, MOST_SHARDS = 64 };

/* ---- shapes: all ways to cut n ranks into up to MOST_NODES nodes ---- */

typedef void shape_fn(void *ctx, int nodes, const int *ranks);

static void all_cuts(int left, int nodes, int *ranks, shape_fn *fn, void *ctx)
{
    if (left == 0) {
        fn(ctx, nodes, ranks);
        return;
    }
    for (int n = nodes + 1 < MOST_NODES ? 1 : left; n <= left; n++) {
        ranks[nodes] = n;
        all_cuts(left - n, nodes + 1, ranks, fn, ctx);
    }
}

static void all_shapes(int ranks, shape_fn *fn, void *ctx)
{
    int of[MOST_NODES];
    all_cuts(ranks, 0, of, fn, ctx);
}

static struct ddp_reduce_layout layout_with(int shards, int64_t blocks, int64_t each, int64_t front,
                                            int nodes, const int *ranks)
{
    struct ddp_reduce_layout l;
    struct ddp_reduce_layout_conf conf = {.shards = shards,
                                          .total = blocks * DDP_BLOCK,
                                          .bucket = each * DDP_BLOCK,
                                          .front = front * DDP_BLOCK,
                                          .nodes = nodes,
                                          .ranks = ranks};
    for (int i = 0; i < nodes; i++)
        conf.size += ranks[i];
    ddp_reduce_layout_init(&l, &conf);
    return l;
}

static struct ddp_reduce_layout layout_of(int shards, int64_t blocks, int64_t each, int nodes,
                                          const int *ranks)
{
    return layout_with(shards, blocks, each, 0, nodes, ranks);
}

/* ---- places ---- */

static void test_layout_places_by_hand(void **state)
{
    (void)state;
    static const struct {
        int nodes, ranks[MOST_NODES], lanes;
        struct ddp_reduce_place place[8]; /* of ranks 0, 1, ..: node, local, lane, member */
    } cases[] = {
        {1, {3}, 3, {{0, 0, 0, 0}, {0, 1, 1, 0}, {0, 2, 2, 0}}},
        {2, {2, 2}, 2, {{0, 0, 0, 0}, {0, 1, 1, 0}, {1, 0, 0, 0}, {1, 1, 1, 0}}},
        {2, {3, 2}, 2, {{0, 0, 0, 0}, {0, 1, 1, 0}, {0, 2, 0, 1}, {1, 0, 0, 0}, {1, 1, 1, 0}}},
        {3,
         {1, 3, 2},
         1,
         {{0, 0, 0, 0}, {1, 0, 0, 0}, {1, 1, 0, 1}, {1, 2, 0, 2}, {2, 0, 0, 0}, {2, 1, 0, 1}}},
    };
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        struct ddp_reduce_layout l = layout_of(8, 4, 2, cases[i].nodes, cases[i].ranks);
        assert_int_equal(l.lanes, cases[i].lanes);
        for (int rank = 0; rank < l.size; rank++) {
            struct ddp_reduce_place p = ddp_reduce_layout_place(&l, rank), want = cases[i].place[rank];
            assert_memory_equal(&p, &want, sizeof p);
        }
        ddp_reduce_layout_finish(&l);
    }
}

static void check_places(void *ctx, int nodes, const int *ranks)
{
    (void)ctx;
    struct ddp_reduce_layout l = layout_of(MOST_RANKS, 1, 1, nodes, ranks);
    int rank = 0, least = ranks[0];
    for (int node = 0; node < nodes; node++) {
        int members[MOST_RANKS] = {0};
        least = ranks[node] < least ? ranks[node] : least;
        for (int local = 0; local < ranks[node]; local++, rank++) {
            struct ddp_reduce_place p = ddp_reduce_layout_place(&l, rank);
            assert_true(p.node == node && p.local == local && p.lane < l.lanes);
            assert_int_equal(p.member, members[p.lane]++);
            assert_int_equal(ddp_reduce_layout_port(&l, p.lane, node) == rank, p.member == 0);
            assert_int_equal(ddp_reduce_layout_member(&l, p.lane, node, p.member), rank);
        }
        for (int lane = 0; lane < l.lanes; lane++)
            assert_int_equal(ddp_reduce_layout_members(&l, lane, node), members[lane]);
    }
    assert_int_equal(l.lanes, least);
    ddp_reduce_layout_finish(&l);
}

static void test_layout_every_rank_has_a_lane(void **state)
{
    (void)state;
    for (int n = 1; n <= 12; n++)
        all_shapes(n, check_places, NULL);
}

/* ---- cutting ---- */

static void test_layout_buckets_tile_from_the_end(void **state)
{
    (void)state;
    const int one = 1;
    for (int64_t blocks = 1; blocks <= 40; blocks++) {
        for (int64_t each = 1; each <= 45; each++) {
            struct ddp_reduce_layout l = layout_of(1, blocks, each, 1, &one);
            int64_t end = blocks;
            for (int64_t b = 0; b < l.buckets; b++) {
                struct ddp_range s = ddp_reduce_layout_bucket(&l, b);
                assert_int_equal(s.hi, end);
                assert_true(s.lo < s.hi);
                if (b + 1 < l.buckets)
                    assert_int_equal(s.hi - s.lo, each);
                else
                    assert_true(s.hi - s.lo <= each);
                for (int64_t block = s.lo; block < s.hi; block++)
                    assert_int_equal(ddp_reduce_layout_bucket_of(&l, block), b);
                end = s.lo;
            }
            assert_int_equal(end, 0);
            ddp_reduce_layout_finish(&l);
        }
    }
}

/* The front bucket has its size where there are several buckets; what is left is the one before it. Blocks
 * that are left over go round as ever. */
static void test_layout_front_bucket_has_its_size(void **state)
{
    (void)state;
    for (int ranks = 1; ranks <= 4; ranks++)
        for (int64_t blocks = 1; blocks <= 30; blocks++)
            for (int64_t each = 1; each <= 12; each++)
                for (int64_t front = 1; front <= 13; front++) {
                    struct ddp_reduce_layout l = layout_with(4, blocks, each, front, 1, &ranks);
                    const bool own = blocks > each && front < each;
                    int64_t end = blocks;
                    int next = 0;
                    for (int64_t b = 0; b < l.buckets; b++) {
                        const struct ddp_range all = ddp_reduce_layout_bucket(&l, b);
                        const int64_t left = end - (own ? front : 0);
                        assert_int_equal(all.hi, end);
                        assert_int_equal(ddp_range_size(all), own && left == 0 ? front
                                                              : left < each    ? left
                                                                               : each);
                        assert_int_equal(ddp_reduce_layout_bucket_of(&l, all.lo), b);
                        assert_int_equal(ddp_reduce_layout_bucket_of(&l, all.hi - 1), b);
                        int64_t at = all.lo;
                        for (int rank = 0; rank < ranks; rank++) {
                            const struct ddp_range s = ddp_reduce_layout_slice(&l, b, rank);
                            const int64_t rest = ddp_range_size(all) % ranks;
                            assert_int_equal(s.lo, at);
                            assert_int_equal(ddp_range_size(s), ddp_range_size(all) / ranks +
                                                                    ((rank - next + ranks) % ranks < rest));
                            at = s.hi;
                        }
                        next = (int)((next + ddp_range_size(all)) % ranks);
                        end = all.lo;
                    }
                    assert_int_equal(end, 0);
                    ddp_reduce_layout_finish(&l);
                }
}

/* Slices of one node, written down a second time: rank after rank, and blocks that are left over go on from
 * the rank after the last that got one. Checkpoints' hashes of every run so far stand on it. */
static void test_layout_of_one_node_goes_round(void **state)
{
    (void)state;
    for (int ranks = 1; ranks <= 9; ranks++) {
        for (int64_t blocks = 1; blocks <= 33; blocks++) {
            for (int64_t each = 1; each <= 35; each++) {
                struct ddp_reduce_layout l = layout_of(9, blocks, each, 1, &ranks);
                int next = 0;
                for (int64_t b = 0; b < l.buckets; b++) {
                    struct ddp_range all = ddp_reduce_layout_bucket(&l, b);
                    int64_t size[9], at = all.lo;
                    for (int r = 0; r < ranks; r++)
                        size[r] = ddp_range_size(all) / ranks;
                    for (int64_t left = ddp_range_size(all) % ranks; left > 0;
                         left--, next = (next + 1) % ranks)
                        size[next]++;
                    for (int r = 0; r < ranks; r++, at += size[r - 1]) {
                        struct ddp_range s = ddp_reduce_layout_slice(&l, b, r);
                        assert_true(s.lo == at && s.hi == at + size[r]);
                        struct ddp_range share = ddp_reduce_layout_share(&l, b, r);
                        assert_true(share.lo == s.lo && share.hi == s.hi);
                    }
                }
                ddp_reduce_layout_finish(&l);
            }
        }
    }
}

/* b follows on a, without a gap. */
static void follows(int64_t *at, struct ddp_range b)
{
    assert_true(b.lo == *at && b.lo <= b.hi);
    *at = b.hi;
}

/* Every block once: lanes tile a bucket, parts a lane, slices a part, and on each node
 * shares tile the lane. */
static void check_bucket(const struct ddp_reduce_layout *l, int64_t b, int64_t *owned)
{
    struct ddp_range bucket = ddp_reduce_layout_bucket(l, b);
    int64_t lanes = bucket.lo, parts = bucket.lo, slices = bucket.lo;
    int slot = 0;
    for (int lane = 0; lane < l->lanes; lane++) {
        struct ddp_range all = ddp_reduce_layout_lane(l, b, lane);
        follows(&lanes, all);
        for (int node = 0; node < l->nodes; node++) {
            int64_t shares = all.lo;
            struct ddp_range part = ddp_reduce_layout_part(l, b, lane, node);
            follows(&parts, part);
            int members = ddp_reduce_layout_members(l, lane, node);
            for (int m = 0; m < members; m++) {
                int rank = ddp_reduce_layout_member(l, lane, node, m);
                assert_int_equal(ddp_reduce_layout_slot(l, rank), slot++);
                struct ddp_range slice = ddp_reduce_layout_slice(l, b, rank),
                                 share = ddp_reduce_layout_share(l, b, rank);
                follows(&slices, slice);
                assert_true(part.lo <= slice.lo && slice.hi <= part.hi);
                assert_in_range(ddp_range_size(slice), ddp_range_size(bucket) / l->size,
                                (ddp_range_size(bucket) + l->size - 1) / l->size);
                follows(&shares, share);
                assert_in_range(ddp_range_size(share), ddp_range_size(all) / members,
                                (ddp_range_size(all) + members - 1) / members);
                owned[rank] += ddp_range_size(slice);
            }
            assert_int_equal(shares, all.hi);
            assert_int_equal(parts, slices);
        }
        assert_int_equal(lanes, parts);
    }
    assert_int_equal(lanes, bucket.hi);
}

struct cut {
    int64_t blocks, each;
};

static void check_cut(void *ctx, int nodes, const int *ranks)
{
    const struct cut *c = ctx;
    struct ddp_reduce_layout l = layout_of(MOST_SHARDS, c->blocks, c->each, nodes, ranks);
    int64_t owned[MOST_RANKS] = {0}, least = INT64_MAX, most = 0;
    for (int64_t b = 0; b < l.buckets; b++)
        check_bucket(&l, b, owned);
    for (int r = 0; r < l.size; r++) {
        least = owned[r] < least ? owned[r] : least;
        most = owned[r] > most ? owned[r] : most;
    }
    assert_in_range(most - least, 0, 1);
    ddp_reduce_layout_finish(&l);
}

static void test_layout_owns_every_block_once(void **state)
{
    (void)state;
    for (int n = 1; n <= 8; n++)
        for (int64_t blocks = 1; blocks <= 21; blocks += 1 + (blocks > 9))
            for (int64_t each = 1; each <= blocks; each += 1 + (each > 6))
                all_shapes(n, check_cut, &(struct cut){blocks, each});
}

/* ---- the sums of two levels ----
 * A number is the tree node that it is the sum of; adding what the tree does not add gives rubbish. */

struct world {
    int shards;
    int nodes;                 /* of the tree, as all ranks leave them */
    int first[MOST_RANKS + 1]; /* of rank r in node[]; what lies before rank r */
    struct ddp_tree_node node[MOST_SHARDS];
    bool seen[MOST_SHARDS + 1][MOST_SHARDS + 1][MOST_SHARDS + 1]; /* cuts of the shards that were summed */
    int64_t shapes, sums;
};

static struct ddp_tree_node plus(int shards, struct ddp_tree_node a, struct ddp_tree_node b)
{
    const struct ddp_tree_node sum = {a.lo, b.hi}, rubbish = {-1, -1};
    bool right = a.lo >= 0 && a.hi == b.lo && ddp_tree_is_node(shards, sum.lo, sum.hi) &&
                 ddp_tree_split(sum.lo, sum.hi) == a.hi;
    return right ? sum : rubbish;
}

/* The program for `top`, run on in[]. */
static struct ddp_tree_node run(int shards, struct ddp_tree_node top, const struct ddp_tree_node *in, int n)
{
    struct ddp_tree_node temp[32], sum = in[0];
    struct ddp_combine c;
    ddp_combine_init(&c, top, in, n);
    assert_true(c.nadds == n - 1 && c.temps <= 32);
    for (int i = 0; i < c.nadds; i++) {
        const struct ddp_add *a = &c.add[i];
        sum = plus(shards, a->x < 0 ? temp[-1 - a->x] : in[a->x], a->y < 0 ? temp[-1 - a->y] : in[a->y]);
        temp[a->dst] = sum;
    }
    ddp_combine_finish(&c);
    return sum;
}

static bool same(struct ddp_tree_node a, struct ddp_tree_node b)
{
    return a.lo == b.lo && a.hi == b.hi;
}

/* Level 1 on ranks [from, to): what they leave becomes the cover of their shards, node for node. */
static void check_level_1(const struct world *w, int ranks, int from, int to)
{
    struct ddp_tree_node cover[DDP_TREE_MAX_NODES];
    int n = ddp_tree_cover(w->shards, ddp_tree_first_shard(w->shards, ranks, from),
                           ddp_tree_first_shard(w->shards, ranks, to), cover);
    int at = w->first[from];
    for (int i = 0; i < n; i++) {
        int inputs = 0;
        while (at + inputs < w->first[to] && w->node[at + inputs].hi <= cover[i].hi)
            inputs++;
        assert_true(same(run(w->shards, cover[i], w->node + at, inputs), cover[i]));
        at += inputs;
    }
    assert_int_equal(at, w->first[to]);
}

/* Level 2: what the nodes leave becomes the sum. It depends on where the shards are cut only. */
static void check_level_2(void *ctx, int nodes, const int *ranks)
{
    struct world *w = ctx;
    struct ddp_reduce_layout l = layout_of(w->shards, 1, 1, nodes, ranks);
    int64_t cut[MOST_NODES] = {0}, at = 0;
    w->shapes++;
    for (int node = 0; node < nodes; node++) {
        struct ddp_range s = ddp_reduce_layout_node_shards(&l, node);
        assert_int_equal(s.lo, at);
        cut[node] = at = s.hi;
    }
    assert_int_equal(at, w->shards);
    bool *seen = &w->seen[nodes > 1 ? cut[0] : 0][nodes > 2 ? cut[1] : 0][nodes > 3 ? cut[2] : 0];
    if (!*seen) {
        struct ddp_tree_node all[MOST_NODES * DDP_TREE_MAX_NODES], top = {0, w->shards};
        int n = 0;
        for (int node = 0; node < nodes; node++)
            n += ddp_reduce_layout_cover(&l, node, all + n);
        assert_true(same(run(w->shards, top, all, n), top));
        w->sums++;
    }
    *seen = true;
    ddp_reduce_layout_finish(&l);
}

static void rank_nodes(struct world *w, int ranks)
{
    const struct ddp_schedule_conf conf = {.shards = w->shards};
    struct ddp_shipment *all = NULL;
    w->nodes = ddp_schedule_shipments(&conf, ranks, &all);
    for (int i = 0, rank = -1; i < w->nodes; i++) {
        while (rank < all[i].rank)
            w->first[++rank] = i;
        w->node[i] = all[i].node;
    }
    w->first[ranks] = w->nodes;
    free(all);
}

/* All N <= S <= 64, all ways to cut N ranks into up to 4 nodes. */
static void test_layout_sums_of_two_levels_are_the_tree(void **state)
{
    (void)state;
    struct world *w = ddp_calloc(1, sizeof *w);
    for (w->shards = 1; w->shards <= MOST_SHARDS; w->shards++) {
        memset(w->seen, 0, sizeof w->seen);
        for (int ranks = 1; ranks <= w->shards; ranks++) {
            rank_nodes(w, ranks);
            for (int from = 0; from < ranks; from++)
                for (int to = from + 1; to <= ranks; to++)
                    check_level_1(w, ranks, from, to);
            all_shapes(ranks, check_level_2, w);
        }
    }
    assert_true(w->shapes > 8000000 &&
                w->sums > 600000); /* C(65, 2) + .. + C(65, 5); C(64, 1) + .. + C(64, 4) */
    free(w);
}

/* ---- the whole walk: every block, through every message ---- */

enum { WALK_BLOCKS = 11, WALK_RANKS = 7 };

struct walk {
    int shards;
    int64_t each;
};

/* A rank's memory, and what its node shares. */
struct walker {
    int nodes; /* shipped */
    struct ddp_tree_node leaf[DDP_TREE_MAX_NODES];
    int sent, received;
};
struct machine {
    int ncover;
    struct ddp_tree_node cover[DDP_TREE_MAX_NODES];
    struct ddp_tree_node sum[DDP_TREE_MAX_NODES][WALK_BLOCKS];              /* level 1: the node's own */
    struct ddp_tree_node from[MOST_NODES][DDP_TREE_MAX_NODES][WALK_BLOCKS]; /* what ports received */
    struct ddp_tree_node result[WALK_BLOCKS];
    int crossed_in[WALK_BLOCKS], crossed_out[WALK_BLOCKS]; /* results over the network */
};

/* Step 1: a rank adds its node's leaves over its share. */
static void add_share(const struct ddp_reduce_layout *l, struct machine *m, const struct walker *of_node,
                      int ranks, struct ddp_range share)
{
    struct ddp_tree_node in[WALK_RANKS * DDP_TREE_MAX_NODES];
    int n = 0, at = 0;
    for (int r = 0; r < ranks; r++)
        for (int i = 0; i < of_node[r].nodes; i++)
            in[n++] = of_node[r].leaf[i];
    for (int i = 0; i < m->ncover; i++) {
        int inputs = 0;
        while (at + inputs < n && in[at + inputs].hi <= m->cover[i].hi)
            inputs++;
        for (int64_t block = share.lo; block < share.hi; block++) {
            assert_int_equal(m->sum[i][block].hi, 0); /* nobody else did */
            m->sum[i][block] = run(l->shards, m->cover[i], in + at, inputs);
        }
        at += inputs;
    }
}

/* Step 2: a port sends parts of its node's sums to the ports of its lane. */
static void send_parts(const struct ddp_reduce_layout *l, int64_t b, struct machine *m, struct walker *w,
                       int rank)
{
    struct ddp_reduce_place p = ddp_reduce_layout_place(l, rank);
    for (int to = 0; p.member == 0 && to < l->nodes; to++) {
        struct ddp_range part = ddp_reduce_layout_part(l, b, p.lane, to);
        for (int i = 0; to != p.node && i < m[p.node].ncover; i++) {
            memcpy(&m[to].from[p.node][i][part.lo], &m[p.node].sum[i][part.lo],
                   (size_t)ddp_range_size(part) * sizeof m->sum[0][0]);
            w[rank].sent++;
            w[ddp_reduce_layout_port(l, p.lane, to)].received++;
        }
    }
}

/* Step 3: the owner adds all nodes' sums over its slice. */
static void add_slice(const struct ddp_reduce_layout *l, struct machine *m, int node, struct ddp_range slice)
{
    for (int64_t block = slice.lo; block < slice.hi; block++) {
        struct ddp_tree_node in[MOST_NODES * DDP_TREE_MAX_NODES];
        int n = 0;
        for (int from = 0; from < l->nodes; from++)
            for (int i = 0; i < m[from].ncover; i++)
                in[n++] = from == node ? m[node].sum[i][block] : m[node].from[from][i][block];
        m[node].result[block] = run(l->shards, (struct ddp_tree_node){0, l->shards}, in, n);
    }
}

/* Step 4: a port sends its part of the results to the ports of its lane. */
static void send_results(const struct ddp_reduce_layout *l, int64_t b, struct machine *m, struct walker *w,
                         int rank)
{
    struct ddp_reduce_place p = ddp_reduce_layout_place(l, rank);
    struct ddp_range part = ddp_reduce_layout_part(l, b, p.lane, p.node);
    for (int to = 0; p.member == 0 && to < l->nodes; to++) {
        if (to == p.node)
            continue;
        w[rank].sent++;
        w[ddp_reduce_layout_port(l, p.lane, to)].received++;
        for (int64_t block = part.lo; block < part.hi; block++) {
            m[to].result[block] = m[p.node].result[block];
            m[to].crossed_in[block]++;
            m[p.node].crossed_out[block]++;
        }
    }
}

static void check_walk(void *ctx, int nodes, const int *ranks)
{
    const struct walk *k = ctx;
    struct ddp_reduce_layout l = layout_of(k->shards, WALK_BLOCKS, k->each, nodes, ranks);
    struct machine *m = ddp_calloc((size_t)nodes, sizeof *m);
    struct walker w[WALK_RANKS] = {0};
    for (int node = 0; node < nodes; node++)
        m[node].ncover = ddp_reduce_layout_cover(&l, node, m[node].cover);
    for (int r = 0; r < l.size; r++) {
        struct ddp_range s = ddp_reduce_layout_shards(&l, r);
        w[r].nodes = ddp_tree_cover(k->shards, (int)s.lo, (int)s.hi, w[r].leaf);
    }
    for (int64_t b = 0; b < l.buckets; b++) {
        for (int r = 0; r < l.size; r++) {
            int node = ddp_reduce_layout_place(&l, r).node;
            add_share(&l, &m[node], w + l.first[node], ranks[node], ddp_reduce_layout_share(&l, b, r));
        }
        for (int r = 0; r < l.size; r++)
            send_parts(&l, b, m, w, r);
        for (int r = 0; r < l.size; r++)
            add_slice(&l, m, ddp_reduce_layout_place(&l, r).node, ddp_reduce_layout_slice(&l, b, r));
        for (int r = 0; r < l.size; r++)
            send_results(&l, b, m, w, r);
    }
    for (int node = 0; node < nodes; node++)
        for (int block = 0; block < WALK_BLOCKS; block++) {
            assert_true(same(m[node].result[block], (struct ddp_tree_node){0, k->shards}));
            assert_int_equal(m[node].crossed_in[block], m[node].crossed_out[block] > 0 ? 0 : nodes > 1);
        }
    for (int r = 0; r < l.size; r++) { /* messages grow with nodes, not with ranks */
        struct ddp_reduce_place p = ddp_reduce_layout_place(&l, r);
        int64_t others = p.member == 0 ? nodes - 1 : 0;
        assert_int_equal(w[r].sent, l.buckets * others * (m[p.node].ncover + 1));
        int64_t received = 0;
        for (int node = 0; node < nodes; node++)
            received += p.member == 0 && node != p.node ? l.buckets * (m[node].ncover + 1) : 0;
        assert_int_equal(w[r].received, received);
    }
    free(m);
    ddp_reduce_layout_finish(&l);
}

static void test_layout_walk_ends_with_the_tree_everywhere(void **state)
{
    (void)state;
    for (int n = 1; n <= WALK_RANKS; n++)
        for (int shards = n; shards <= 13; shards += 3)
            for (int64_t each = 1; each <= WALK_BLOCKS; each += 3)
                all_shapes(n, check_walk, &(struct walk){shards, each});
}

/* ---- what is refused ---- */

static void test_layout_refuses_sizes(void **state)
{
    (void)state;
    static const int two[] = {3, 2}, gap[] = {3, 0}, negative[] = {6, -1};
    const struct {
        struct ddp_reduce_layout_conf conf;
        int code;
        const char *says;
    } cases[] = {
        {{8, 4096, 1, 1, NULL, 8, 0}, 0, NULL},
        {{5, 4096, 1, 2, two, 5, 0}, 0, NULL},
        {{65536, 8192, INT64_MAX, 1, NULL, 1, 0}, 0, NULL},
        {{0, 4096, 1, 1, NULL, 1, 0}, DDP_E_USAGE, "0 shards"},
        {{65537, 4096, 1, 1, NULL, 1, 0}, DDP_E_USAGE, "65537 shards"},
        {{8, 4096, 1, 1, NULL, 9, 0}, DDP_E_CONFIG, "-n 8"},
        {{4, 4096, 1, 2, two, 5, 0}, DDP_E_CONFIG, "-n 4"},
        {{8, 4096, 1, 0, NULL, 1, 0}, DDP_E_USAGE, "0 nodes"},
        {{8, 4096, 1, 2, NULL, 5, 0}, DDP_E_USAGE, "2 nodes"},
        {{8, 4096, 1, 1, NULL, 0, 0}, DDP_E_USAGE, "node 0 has 0 ranks"},
        {{8, 4096, 1, 2, gap, 3, 0}, DDP_E_USAGE, "node 1 has 0 ranks"},
        {{8, 4096, 1, 2, negative, 5, 0}, DDP_E_USAGE, "node 1 has -1 ranks"},
        {{8, 4096, 1, 2, two, 6, 0}, DDP_E_USAGE, "5 ranks lie on nodes, and there are 6"},
        {{8, 0, 1, 1, NULL, 1, 0}, DDP_E_USAGE, "0 elements"},
        {{8, 4097, 1, 1, NULL, 1, 0}, DDP_E_USAGE, "4097 elements"},
        {{8, -4096, 1, 1, NULL, 1, 0}, DDP_E_USAGE, "-4096 elements"},
        {{8, 4096, 0, 1, NULL, 1, 0}, DDP_E_USAGE, "buckets of 0"},
        {{8, 4096, 1, 1, NULL, 8, -1}, DDP_E_USAGE, "front bucket of -1"},
    };
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        struct ddp_error err = {0};
        assert_int_equal(ddp_reduce_layout_check(&cases[i].conf, &err), cases[i].code);
        if (cases[i].says != NULL)
            assert_non_null(strstr(err.text, cases[i].says));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout_places_by_hand),
        cmocka_unit_test(test_layout_every_rank_has_a_lane),
        cmocka_unit_test(test_layout_buckets_tile_from_the_end),
        cmocka_unit_test(test_layout_front_bucket_has_its_size),
        cmocka_unit_test(test_layout_of_one_node_goes_round),
        cmocka_unit_test(test_layout_owns_every_block_once),
        cmocka_unit_test(test_layout_sums_of_two_levels_are_the_tree),
        cmocka_unit_test(test_layout_walk_ends_with_the_tree_everywhere),
        cmocka_unit_test(test_layout_refuses_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
