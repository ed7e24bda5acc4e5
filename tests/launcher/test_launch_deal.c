/* How many ranks, and on which host each. */
#include "tests/launcher/hosts_text.h"

#include "launcher/hosts_deal.h"

enum { HOSTS = 5, RANKS = 64 };

static struct ddp_hosts parse(const char *list, bool allocated)
{
    struct ddp_hosts hosts;
    struct ddp_error err = {0};
    if (ddp_hosts_parse(list, &hosts, &err) != 0)
        fail_msg("%s", err.text);
    hosts.allocated = allocated;
    return hosts;
}

static void test_deal(void **state)
{
    static const struct {
        const char *list;
        bool allocated, gpus, by_node;
        int units[HOSTS];
        int ranks;           /* 0: as many as make sense */
        const char *host_of; /* a digit for each rank */
    } table[] = {
        /* slots of a list: filled in order */
        {"n0:4,n1:4", false, false, false, {64, 64}, 0, "00001111"},
        {"n0:3,n1:2,n2:1", false, false, false, {1, 1, 1}, 0, "000112"},
        {"n0:3,n1:2,n2:1", false, false, false, {9, 9, 9}, 4, "0001"},
        {"n0:3,n1:2,n2:1", false, false, true, {9, 9, 9}, 0, "012010"},
        {"n0:3,n1:2,n2:1", false, false, true, {9, 9, 9}, 4, "0120"},
        {"n0:4", false, false, false, {1}, 0, "0000"},
        /* no slots: in parts that fit what the hosts have */
        {"n0,n1", false, false, false, {4, 4}, 0, "00001111"},
        {"n0,n1", false, false, false, {32, 32}, 8, "00001111"},
        {"n0,n1", false, false, false, {6, 2}, 4, "0001"},
        {"n0,n1,n2", false, false, false, {2, 1, 1}, 4, "0012"},
        {"n0,n1", false, false, true, {4, 4}, 0, "01010101"},
        {"n0,n1", false, false, true, {1, 3}, 0, "0111"},
        {"n0,n1", false, false, false, {1, 1}, 4, "0011"}, /* they take turns there */
        {"n0,n1", false, false, false, {3, 1}, 6, "000011"},
        {"n0,n1", false, false, true, {1, 1}, 4, "0101"},
        {"n0,n1", false, false, false, {64, 1}, 4, "0000"},
        {"n0", false, false, false, {0}, 0, "0"},
        /* some have slots */
        {"n0:2,n1", false, false, false, {8, 8}, 5, "01111"},
        {"n0:2,n1", false, false, false, {8, 2}, 8, "00111111"},
        /* GPUs: one rank each, no more than slots */
        {"n0,n1", false, true, false, {4, 2}, 0, "000011"},
        {"n0:64,n1:64", false, true, false, {4, 2}, 0, "000011"},
        {"n0:1,n1:2", false, true, false, {4, 4}, 0, "011"},
        {"n0:64,n1:64", false, true, false, {4, 2}, 5, "00001"},
        {"n0:2,n1", false, true, true, {4, 4}, 0, "010111"},
        /* a scheduler's tasks are a proposal, on CPUs */
        {"n0:2,n1:2", true, false, false, {8, 8}, 0, "0011"},
        {"n0:2,n1:2", true, false, false, {8, 8}, 6, "000111"},
        {"n0:4,n1:4", true, false, false, {8, 8}, 4, "0011"},
        {"n0:1,n1:1", true, true, false, {4, 4}, 0, "00001111"},
        {"n0:2,n1:1", true, false, false, {8, 8}, 0, "001"},
    };
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        struct ddp_hosts hosts = parse(table[i].list, table[i].allocated);
        const struct ddp_deal deal = {&hosts, table[i].units, table[i].gpus, table[i].by_node};
        const int ranks = table[i].ranks ? table[i].ranks : ddp_deal_ranks(&deal);
        int host_of[RANKS];
        char text[RANKS + 1] = "";
        struct ddp_error err = {0};
        assert_in_range(ranks, 1, RANKS);
        if (ddp_deal_hosts(&deal, ranks, host_of, &err) != 0)
            fail_msg("case %zu: %s", i, err.text);
        for (int r = 0; r < ranks; r++)
            text[r] = (char)('0' + host_of[r]);
        if (strcmp(text, table[i].host_of) != 0)
            fail_msg("case %zu, %s: %s and not %s", i, table[i].list, text, table[i].host_of);
        ddp_hosts_finish(&hosts);
    }
}

static void test_deal_keeps_to_slots(void **state)
{
    struct ddp_hosts hosts = parse("n0:4,n1:3", false);
    const int units[] = {64, 64};
    struct ddp_deal deal = {&hosts, units, false, false};
    int host_of[RANKS];
    struct ddp_error err = {0};
    (void)state;
    for (int by_node = 0; by_node < 2; by_node++) {
        deal.by_node = by_node;
        assert_int_equal(ddp_deal_hosts(&deal, 7, host_of, &err), 0);
        assert_int_equal(ddp_deal_hosts(&deal, 8, host_of, &err), DDP_E_USAGE);
        assert_says("8", &err, (const char *const[]){"-n 8: -H has 7 slots", "-n 7;", "n0:8", NULL});
    }
    ddp_hosts_finish(&hosts);
}

/* Of all small jobs: every rank has a host; a block has no gap and its ranks no other host between them; no
 * host has more than its part while another one has less; nothing depends on anything else. */
static void test_deal_properties(void **state)
{
    static const int most[] = {0, 1, 2, 3, 7};
    static const char *const lists[] = {"a,b,c", "a:2,b,c", "a:1,b:3,c:2"};
    (void)state;
    for (int c = 0; c < 3 * 2 * 2 * 2 * 125; c++) {
        struct ddp_hosts hosts = parse(lists[c % 3], c / 3 % 2);
        const int k = c / 24, units[] = {most[k % 5], most[k / 5 % 5], most[k / 25]};
        const struct ddp_deal deal = {&hosts, units, c / 6 % 2, c / 12 % 2};
        const int fair = ddp_deal_ranks(&deal);
        for (int ranks = 1; ranks <= fair; ranks++) {
            int host_of[RANKS], again[RANKS], count[3] = {0};
            assert_int_equal(ddp_deal_hosts(&deal, ranks, host_of, NULL), 0);
            assert_int_equal(ddp_deal_hosts(&deal, ranks, again, NULL), 0);
            assert_memory_equal(host_of, again, (size_t)ranks * sizeof *host_of);
            for (int r = 0; r < ranks; r++) {
                assert_in_range(host_of[r], 0, 2);
                count[host_of[r]]++;
                assert_true(deal.by_node || r == 0 || host_of[r] >= host_of[r - 1]);
            }
            for (int h = 0; h < 3; h++) {
                const int slots = hosts.host[h].slots;
                assert_true(hosts.allocated || slots == 0 || count[h] <= slots);
                assert_true((slots > 0 && !deal.gpus) || count[h] <= units[h] || fair == 1);
            }
        }
        ddp_hosts_finish(&hosts);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deal),
        cmocka_unit_test(test_deal_keeps_to_slots),
        cmocka_unit_test(test_deal_properties),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
