/* The ledger against the rules as one would write them down: from every state that a step can be in, every
 * report that one could make, right or wrong; and every order in which blocks can be reported. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "reduce/ledger.h"

enum { MOST_BLOCKS = 4, MOST_SHARDS = 6 };

/* One rank and its ledger. */
struct rank {
    struct ddp_reduce_layout layout;
    struct ddp_schedule schedule;
    struct ddp_ledger ledger;
    struct ddp_range early;
    int blocks, mine; /* mine: shards */
};

static void rank_init(struct rank *r, struct ddp_schedule_conf schedule, int ranks, int rank, int blocks,
                      int each, struct ddp_range early)
{
    memset(r, 0, sizeof *r);
    const struct ddp_reduce_layout_conf layout = {.shards = schedule.shards,
                                                  .total = (int64_t)blocks * DDP_BLOCK,
                                                  .bucket = (int64_t)each * DDP_BLOCK,
                                                  .nodes = 1,
                                                  .size = ranks};
    ddp_reduce_layout_init(&r->layout, &layout);
    ddp_schedule_init(&r->schedule, &schedule, ranks, rank);
    ddp_ledger_init(&r->ledger, &(struct ddp_ledger_conf){&r->layout, &r->schedule, rank, early});
    r->early = early;
    r->blocks = blocks;
    r->mine = r->schedule.last - r->schedule.first;
}

static void rank_finish(struct rank *r)
{
    ddp_ledger_finish(&r->ledger);
    ddp_schedule_finish(&r->schedule);
    ddp_reduce_layout_finish(&r->layout);
}

/* ---- the rules, once more: a state is how many shards have reported each block ---- */

struct state {
    int done[MOST_BLOCKS];
};

static bool all_done(const struct rank *r, const struct state *s, struct ddp_range blocks)
{
    for (int64_t b = blocks.lo; b < blocks.hi; b++)
        if (s->done[b] < r->mine)
            return false;
    return true;
}

/* What a report must be: a phrase of the message where it breaks a rule, "" where nothing follows, NULL where
 * it is taken; *after is the state then. */
static const char *judge(const struct rank *r, const struct state *s, int shard, int64_t lo, int64_t hi,
                         struct state *after)
{
    *after = *s;
    if (shard < r->schedule.first || shard >= r->schedule.last)
        return "which has shards";
    if (lo < 0 || hi > (int64_t)r->blocks * DDP_BLOCK || lo > hi || lo % DDP_BLOCK || hi % DDP_BLOCK)
        return "whole blocks";
    for (int64_t b = lo / DDP_BLOCK; b < hi / DDP_BLOCK; b++) {
        if (s->done[b] == r->mine)
            return "no shard was due";
        if (s->done[b] != shard - r->schedule.first)
            return "was due: each block once";
        after->done[b]++;
    }
    if (lo == hi)
        return "";
    for (int64_t k = 0; k < r->layout.buckets; k++) {
        struct ddp_range bucket = ddp_reduce_layout_bucket(&r->layout, k);
        if (all_done(r, after, bucket) && !all_done(r, s, bucket) && !all_done(r, after, r->early))
            return "they come first";
    }
    return NULL;
}

/* The entry for a report that is taken. */
static void check_entry(const struct rank *r, const struct ddp_ledger_entry *e, const struct state *s,
                        const struct state *after, int shard, int64_t lo, int64_t hi)
{
    const int k = shard - r->schedule.first;
    assert_true(e->blocks.lo == lo / DDP_BLOCK && e->blocks.hi == hi / DDP_BLOCK);
    assert_ptr_equal(e->merge, r->schedule.merge + r->schedule.start[k]);
    assert_int_equal(e->merges, r->schedule.start[k + 1] - r->schedule.start[k]);
    assert_int_equal(e->last, k + 1 == r->mine);
    assert_int_equal(e->early, ddp_range_size(r->early) > 0 && all_done(r, after, r->early) &&
                                   !all_done(r, s, r->early));
    for (int64_t b = 0; b < r->layout.buckets; b++) {
        struct ddp_range bucket = ddp_reduce_layout_bucket(&r->layout, b);
        assert_int_equal(b >= e->complete.lo && b < e->complete.hi,
                         all_done(r, after, bucket) && !all_done(r, s, bucket));
    }
}

/* Begin a step and lead it to a state, the early blocks first. False: the rules do not allow that state. */
static bool replay(struct rank *r, const struct state *to)
{
    struct state s = {0}, after;
    ddp_ledger_open(&r->ledger);
    for (int k = 0; k < r->mine; k++)
        for (int early = 1; early >= 0; early--)
            for (int b = 0; b < r->blocks; b++) {
                struct ddp_ledger_entry e;
                int shard = r->schedule.first + k;
                if ((b >= r->early.lo && b < r->early.hi) != early || to->done[b] <= k)
                    continue;
                int64_t lo = (int64_t)b * DDP_BLOCK;
                if (judge(r, &s, shard, lo, lo + DDP_BLOCK, &after) != NULL)
                    return false;
                assert_true(ddp_ledger_report(&r->ledger, shard, lo, lo + DDP_BLOCK, &e));
                check_entry(r, &e, &s, &after, shard, lo, lo + DDP_BLOCK);
                s = after;
            }
    return true;
}

static bool is_whole(const struct rank *r, const struct state *s)
{
    return all_done(r, s, (struct ddp_range){0, r->blocks});
}

/* In this state: close, and after a report of [lo, hi) of a shard close again. A copy of the ledger takes the
 * report, so that the state stays. */
static void try_report(struct rank *r, const struct state *s, int shard, int64_t lo, int64_t hi)
{
    struct ddp_ledger l = r->ledger;
    int due[MOST_BLOCKS];
    int64_t missing[MOST_BLOCKS];
    struct state after;
    struct ddp_error err = {0};
    struct ddp_ledger_entry e;
    l.due = memcpy(due, l.due, (size_t)r->blocks * sizeof *due);
    l.missing = memcpy(missing, l.missing, (size_t)r->layout.buckets * sizeof *missing);
    const char *wrong = judge(r, s, shard, lo, hi, &after);
    assert_int_equal(ddp_ledger_report(&l, shard, lo, hi, &e), wrong == NULL);
    assert_int_equal(ddp_ledger_broken(&l), wrong != NULL && *wrong != '\0');
    if (wrong == NULL)
        check_entry(r, &e, s, &after, shard, lo, hi);
    bool fine = wrong == NULL || *wrong == '\0';
    int code = ddp_ledger_close(&l, &err);
    assert_int_equal(code, fine && is_whole(r, &after) ? 0 : DDP_E_USAGE);
    if (code != 0)
        assert_non_null(strstr(err.text, fine ? "was reported ready" : wrong));
    if (!fine) { /* nothing is taken after it, and the reason stays */
        ddp_ledger_open(&l);
        assert_false(ddp_ledger_report(&l, r->schedule.first, 0, DDP_BLOCK, &e));
        assert_int_equal(ddp_ledger_close(&l, &err), DDP_E_USAGE);
        assert_non_null(strstr(err.text, wrong));
    }
}

static void try_all_reports(struct rank *r, const struct state *s)
{
    for (int shard = r->schedule.first - 1; shard <= r->schedule.last; shard++)
        for (int lo = -1; lo <= r->blocks + 1; lo++)
            for (int hi = -1; hi <= r->blocks + 1; hi++)
                try_report(r, s, shard, (int64_t)lo * DDP_BLOCK, (int64_t)hi * DDP_BLOCK);
    int first = r->schedule.first;
    try_report(r, s, first, 1, DDP_BLOCK);
    try_report(r, s, first, 0, DDP_BLOCK - 1);
    try_report(r, s, first, DDP_BLOCK / 2, DDP_BLOCK / 2);
    try_report(r, s, first, INT64_MIN, INT64_MAX);
}

static int64_t power(int64_t base, int e)
{
    return e == 0 ? 1 : base * power(base, e - 1);
}

static int try_all_states(struct rank *r)
{
    int reached = 0;
    for (int64_t n = power(r->mine + 1, r->blocks), i = 0; i < n; i++) {
        struct state s = {0};
        int64_t digits = i;
        for (int b = 0; b < r->blocks; b++, digits /= r->mine + 1)
            s.done[b] = (int)(digits % (r->mine + 1));
        if (replay(r, &s)) {
            try_all_reports(r, &s);
            reached++;
        }
        memset(&r->ledger.broken, 0, sizeof r->ledger.broken);
        r->ledger.open = false;
    }
    return reached;
}

/* All shards and ranks up to a size; the early blocks are none, the last one, the first two, or all. */
static void test_ledger_keeps_the_rules_in_every_state(void **state)
{
    (void)state;
    int reached = 0;
    for (int shards = 1; shards <= MOST_SHARDS; shards++)
        for (int ranks = (shards + 2) / 3; ranks <= shards; ranks++)
            for (int rank = 0; rank < ranks; rank++)
                for (int blocks = 1; blocks <= (shards <= 4 ? MOST_BLOCKS : 3); blocks++)
                    for (int each = 1; each <= blocks; each++)
                        for (int early = 0; early < 4; early++) {
                            const struct ddp_range ranges[] = {
                                {0, 0}, {blocks - 1, blocks}, {0, blocks < 2 ? blocks : 2}, {0, blocks}};
                            struct rank r;
                            rank_init(&r, (struct ddp_schedule_conf){.shards = shards}, ranks, rank, blocks,
                                      each, ranges[early]);
                            reached += try_all_states(&r);
                            rank_finish(&r);
                        }
    assert_in_range(reached, 10000, 10000000);
}

/* ---- steps that begin and end out of turn ---- */

static void test_ledger_wants_steps_in_turn(void **state)
{
    (void)state;
    struct rank r;
    struct ddp_error err = {0};
    struct ddp_ledger_entry e;
    const struct ddp_schedule_conf one = {.shards = 1};
    rank_init(&r, one, 1, 0, 2, 1, (struct ddp_range){0, 0});
    assert_int_equal(ddp_ledger_close(&r.ledger, &err), DDP_E_USAGE);
    assert_non_null(strstr(err.text, "no step has begun"));
    for (int step = 0; step < 3; step++) {
        ddp_ledger_open(&r.ledger);
        assert_true(ddp_ledger_report(&r.ledger, 0, 0, 2 * DDP_BLOCK, &e));
        assert_int_equal(ddp_ledger_close(&r.ledger, &err), 0);
    }
    assert_int_equal(ddp_ledger_close(&r.ledger, &err), DDP_E_USAGE); /* twice */
    assert_false(ddp_ledger_report(&r.ledger, 0, 0, DDP_BLOCK, &e));
    assert_int_equal(ddp_ledger_close(&r.ledger, &err), DDP_E_USAGE);
    assert_non_null(strstr(err.text, "shard 0 was reported by rank 0, but no step has begun"));
    rank_finish(&r);

    rank_init(&r, one, 1, 0, 2, 1, (struct ddp_range){0, 0});
    ddp_ledger_open(&r.ledger);
    assert_true(ddp_ledger_report(&r.ledger, 0, 0, DDP_BLOCK, &e));
    assert_int_equal(ddp_ledger_close(&r.ledger, &err), DDP_E_USAGE); /* what is missing may still come */
    assert_non_null(strstr(err.text, "block 1 of shard 0"));
    ddp_ledger_open(&r.ledger);
    assert_false(ddp_ledger_report(&r.ledger, 0, 0, 2 * DDP_BLOCK, &e));
    assert_int_equal(ddp_ledger_close(&r.ledger, &err), DDP_E_USAGE);
    assert_non_null(strstr(err.text, "began on rank 0 before the one before was finished"));
    rank_finish(&r);
}

/* ---- what the entries say, done on sums: every order of blocks ---- */

struct sums {
    struct rank *r;
    struct ddp_tree_node buffer[MOST_SHARDS][MOST_BLOCKS]; /* the shards in it; {-1, -1}: rubbish */
    int64_t orders;
};

static struct ddp_tree_node plus(const struct rank *r, struct ddp_tree_node a, struct ddp_tree_node b,
                                 bool fast)
{
    const struct ddp_tree_node sum = {a.lo, b.hi}, rubbish = {-1, -1};
    if (a.lo < 0 || b.lo < 0 || a.hi != b.lo)
        return rubbish;
    if (fast)
        return b.hi == b.lo + 1 && a.lo == r->schedule.first ? sum : rubbish;
    return ddp_tree_is_node(r->layout.shards, sum.lo, sum.hi) && ddp_tree_split(sum.lo, sum.hi) == a.hi
               ? sum
               : rubbish;
}

/* Report every block that may be next, and go on from there. */
static void all_orders(struct sums *x, const struct state *s, const struct ddp_schedule_conf *conf)
{
    struct rank *r = x->r;
    if (is_whole(r, s)) {
        for (int n = 0; n < r->schedule.nodes; n++)
            for (int b = 0; b < r->blocks; b++) {
                const struct ddp_tree_node is = x->buffer[r->schedule.node_buffer[n]][b];
                assert_true(is.lo == r->schedule.node[n].lo && is.hi == r->schedule.node[n].hi);
            }
        x->orders++;
        return;
    }
    for (int b = 0; b < r->blocks; b++) {
        struct sums next = *x;
        struct state after;
        struct ddp_ledger_entry e;
        const int shard = r->schedule.first + s->done[b];
        const int64_t lo = (int64_t)b * DDP_BLOCK;
        if (judge(r, s, shard, lo, lo + DDP_BLOCK, &after) != NULL)
            continue;
        assert_true(replay(r, s));
        assert_true(ddp_ledger_report(&r->ledger, shard, lo, lo + DDP_BLOCK, &e));
        r->ledger.open = false;
        next.buffer[ddp_ledger_leaf(&r->ledger, shard)][b] = (struct ddp_tree_node){shard, shard + 1};
        for (int i = 0; i < e.merges; i++) {
            struct ddp_tree_node *into = &next.buffer[e.merge[i].into][b];
            *into = plus(r, *into, next.buffer[e.merge[i].from][b], conf->fast);
        }
        all_orders(&next, &after, conf);
        x->orders = next.orders;
    }
}

static void test_ledger_sums_in_every_order(void **state)
{
    (void)state;
    int64_t orders = 0;
    for (int shards = 1; shards <= MOST_SHARDS; shards++)
        for (int ranks = (shards + 2) / 3; ranks <= shards; ranks++)
            for (int rank = 0; rank < ranks; rank++)
                for (int kind = 0; kind < 3; kind++) {
                    const struct ddp_schedule_conf conf = {shards, kind == 2, kind == 1};
                    struct rank r;
                    rank_init(&r, conf, ranks, rank, 3, 2, (struct ddp_range){0, 0});
                    struct sums x = {.r = &r};
                    memset(x.buffer, 0xff, sizeof x.buffer);
                    all_orders(&x, &(struct state){0}, &conf);
                    orders += x.orders;
                    assert_int_equal(ddp_ledger_leaf(&r.ledger, r.schedule.first - 1), -1);
                    assert_int_equal(ddp_ledger_leaf(&r.ledger, r.schedule.last), -1);
                    rank_finish(&r);
                }
    assert_in_range(orders, 10000, 1000000);
}

/* A step allocates nothing; init takes what it says. */
static void test_ledger_allocates_before_the_step(void **state)
{
    (void)state;
    struct rank r;
    struct ddp_error err = {0};
    struct ddp_ledger_entry e;
    rank_init(&r, (struct ddp_schedule_conf){.shards = 5}, 1, 0, 4, 3, (struct ddp_range){3, 4});
    assert_int_equal(ddp_ledger_bytes(&r.layout), 4 * sizeof(int) + 2 * sizeof(int64_t));
    long allocations = ddp_alloc_count();
    ddp_ledger_open(&r.ledger);
    for (int shard = 0; shard < 5; shard++)
        assert_true(ddp_ledger_report(&r.ledger, shard, 0, 4 * DDP_BLOCK, &e));
    assert_int_equal(ddp_ledger_close(&r.ledger, &err), 0);
    assert_int_equal(ddp_alloc_count(), allocations);
    rank_finish(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ledger_keeps_the_rules_in_every_state),
        cmocka_unit_test(test_ledger_wants_steps_in_turn),
        cmocka_unit_test(test_ledger_sums_in_every_order),
        cmocka_unit_test(test_ledger_allocates_before_the_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
