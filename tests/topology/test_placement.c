/* Plans on synthetic machines, each as the list of hardware threads of every rank. */
#include "machines.h"

/* "0,2|4,6": the hardware threads of each rank in order. */
static void placement_text(const struct ddp_placement *p, struct ddp_text *out)
{
    for (int r = 0; r < p->ranks; r++) {
        ddp_text_add(out, "%s", r ? "|" : "");
        for (int i = 0; i < p->place[r].npus; i++)
            ddp_text_add(out, "%s%d", i ? "," : "", p->place[r].pus[i]);
    }
}

struct plan_case {
    const char *machine, *allowed; /* allowed: NULL all */
    struct ddp_place_request req;
    const char *want;
    int threads; /* of rank 0 */
    bool oversubscribed;
};

#define C     DDP_PLACE_COMPACT
#define S     DDP_PLACE_SPREAD
#define HT    true
#define NO_HT false

static const struct plan_case plans[] = {
    /* one thread per core, ranks with their share */
    {LAPTOP, NULL, {1, 0, C, HT, 0}, "0,1,2,3", 4, false},
    {LAPTOP, NULL, {2, 0, C, HT, 0}, "0,1|2,3", 2, false},
    {LAPTOP, NULL, {3, 0, C, HT, 0}, "0|1|2", 1, false},
    {LAPTOP, NULL, {4, 0, C, HT, 0}, "0|1|2|3", 1, false},
    {LAPTOP, NULL, {2, 1, C, HT, 0}, "0|1", 1, false},
    /* threads per rank: whole cores while they last, then shared */
    {LAPTOP, NULL, {2, 3, C, HT, 0}, "0,1|2,3", 3, true},
    {LAPTOP, NULL, {3, 2, C, HT, 0}, "0|1|2", 2, true},
    {LAPTOP, NULL, {1, 4, C, HT, 0}, "0,1,2,3", 4, false},
    /* more ranks than cores */
    {LAPTOP, NULL, {8, 1, C, HT, 0}, "0|0|1|1|2|2|3|3", 1, true},
    {LAPTOP, NULL, {6, 0, C, HT, 0}, "0|0|1|1|2|3", 1, true},
    {LAPTOP, NULL, {6, 0, S, HT, 0}, "0|1|2|3|0|1", 1, true},
    {LAPTOP, NULL, {9, 1, C, HT, 0}, "0|0|0|1|1|2|2|3|3", 1, true},
    /* hyperthreads: whole cores first, first threads before second ones */
    {LAPTOP_HT, NULL, {2, 0, C, HT, 0}, "0,2,1,3|4,6,5,7", 4, false},
    {LAPTOP_HT, NULL, {2, 3, C, HT, 0}, "0,2,1|4,6,5", 3, false},
    {LAPTOP_HT, NULL, {2, 0, C, NO_HT, 0}, "0,2|4,6", 2, false},
    {LAPTOP_HT, NULL, {2, 4, C, HT, 0}, "0,2,1,3|4,6,5,7", 4, false},
    {LAPTOP_HT, NULL, {2, 4, C, NO_HT, 0}, "0,2|4,6", 4, true},
    {LAPTOP_HT, NULL, {4, 1, C, HT, 0}, "0|2|4|6", 1, false},
    {LAPTOP_HT, NULL, {4, 0, C, HT, 0}, "0,1|2,3|4,5|6,7", 2, false},
    {LAPTOP_HT, NULL, {4, 1, C, NO_HT, 0}, "0|2|4|6", 1, false},
    {LAPTOP_HT, NULL, {6, 1, C, HT, 0}, "0|1|2|3|4|6", 1, false},
    {LAPTOP_HT, NULL, {6, 1, C, NO_HT, 0}, "0|0|2|2|4|6", 1, true},
    {LAPTOP_HT, NULL, {8, 1, C, HT, 0}, "0|1|2|3|4|5|6|7", 1, false},
    {LAPTOP_HT, NULL, {8, 1, S, HT, 0}, "0|2|4|6|1|3|5|7", 1, false},
    {LAPTOP_HT, NULL, {10, 1, C, HT, 0}, "0,1|0,1|0,1|2,3|2,3|2,3|4|5|6|7", 1, true},
    {SMT8, NULL, {4, 4, C, HT, 0}, "0,1,2,3|4,5,6,7|8,9,10,11|12,13,14,15", 4, false},
    {SMT8, NULL, {4, 8, C, HT, 0}, "0,1,2,3|4,5,6,7|8,9,10,11|12,13,14,15", 8, true},
    /* packages: fill one, or go round them */
    {TWO_PACKAGES, NULL, {2, 1, C, NO_HT, 0}, "0|2", 1, false},
    {TWO_PACKAGES, NULL, {2, 1, S, NO_HT, 0}, "0|8", 1, false},
    {TWO_PACKAGES, NULL, {4, 1, S, NO_HT, 0}, "0|8|2|10", 1, false},
    {TWO_PACKAGES, NULL, {2, 0, C, NO_HT, 0}, "0,2,4,6|8,10,12,14", 4, false},
    /* three cores each: rank 1 does not straddle, rank 2 has to share the remainder of package 0 and 1 */
    {TWO_PACKAGES, NULL, {2, 3, C, NO_HT, 0}, "0,2,4|8,10,12", 3, false},
    {TWO_PACKAGES, NULL, {3, 2, C, NO_HT, 0}, "0,2|4,6|8,10", 2, false},
    {TWO_PACKAGES, NULL, {10, 1, S, NO_HT, 0}, "0|8|2|10|4|12|6|14|0|8", 1, true},
    /* 8 NUMA nodes of 8 cores */
    {EIGHT_NODES, NULL, {4, 1, S, NO_HT, 0}, "0|64|16|80", 1, false},
    {EIGHT_NODES, NULL, {9, 1, C, NO_HT, 0}, "0|2|4|6|8|10|12|14|16", 1, false},
    {EIGHT_NODES, NULL, {3, 5, C, NO_HT, 0}, "0,2,4,6,8|16,18,20,22,24|32,34,36,38,40", 5, false},
    {EIGHT_NODES,
     NULL,
     {2, 12, S, NO_HT, 0},
     "0,2,4,6,8,10,12,14,16,18,20,22|64,66,68,70,72,74,76,78,80,82,84,86",
     12,
     false},
    /* a share that fits into no node, or package: somewhat less than a share */
    {"package:2 numa:2 core:4 pu:1", NULL, {3, 0, C, NO_HT, 0}, "0,1,2,3|4,5,6,7|8,9,10,11", 4, false},
    {"package:2 numa:1 core:6 pu:1", NULL, {3, 0, C, NO_HT, 0}, "0,1,2|3,4,5|6,7,8", 3, false},
    {"package:2 numa:1 core:8 pu:1",
     NULL,
     {5, 0, C, NO_HT, 0},
     "0,1,2|3,4,5|8,9,10|11,12,13|6,7,14",
     3,
     false},
    {"package:2 numa:2 core:2 pu:1", NULL, {1, 0, C, NO_HT, 0}, "0,1,2,3,4,5,6,7", 8, false},
    /* cpusets with holes */
    {TWO_PACKAGES, "0,3,5-7", {2, 1, C, HT, 0}, "0|3", 1, false},
    {TWO_PACKAGES, "0,3,5-7", {2, 0, C, HT, 0}, "0,3|5,6,7", 2, false},
    {TWO_PACKAGES, "0,3,5-7", {5, 1, C, HT, 0}, "0|3|5|6|7", 1, false},
    {TWO_PACKAGES, "0,3,5-7", {5, 1, C, NO_HT, 0}, "0|0|3|5|6", 1, true},
    {TWO_PACKAGES, "5,12-15", {2, 1, S, NO_HT, 0}, "12|5", 1, false},
    {TWO_PACKAGES, "5,12-15", {2, 2, C, NO_HT, 0}, "5|12", 2, true},
    {NO_CORES, NULL, {2, 0, C, HT, 0}, "0,1|2,3", 2, false},
    /* not bound */
    {LAPTOP, NULL, {2, 0, DDP_PLACE_NONE, HT, 0}, "|", 2, false},
    {LAPTOP, NULL, {5, 0, DDP_PLACE_NONE, HT, 0}, "||||", 1, true},
};

static void test_placement_follows_the_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(plans); i++) {
        const struct plan_case *c = &plans[i];
        struct ddp_machine *m =
            c->allowed ? machine_with_holes(c->machine, c->allowed) : machine_synthetic(c->machine);
        struct ddp_placement *p = NULL;
        struct ddp_error err = {0};
        struct ddp_text text;
        ddp_text_init(&text);
        assert_int_equal(ddp_placement_create(m, &c->req, &p, &err), 0);
        placement_text(p, &text);
        if (strcmp(text.s, c->want) != 0 || p->place[0].threads != c->threads ||
            p->oversubscribed != c->oversubscribed)
            fail_msg("plan %zu (%s, %d ranks x %d): got %s, %d threads, oversubscribed %d; want %s, %d, %d",
                     i, c->machine, c->req.ranks, c->req.threads, text.s, p->place[0].threads,
                     p->oversubscribed, c->want, c->threads, c->oversubscribed);
        assert_int_equal(p->ranks, c->req.ranks);
        assert_int_equal(p->bound, c->req.policy != DDP_PLACE_NONE);
        assert_int_equal(p->note[0] != '\0', c->oversubscribed);
        ddp_text_finish(&text);
        ddp_placement_destroy(p);
        ddp_machine_destroy(m);
    }
}

/* Whatever the numbers: no hardware thread is given to two threads while others are free, nothing barred is
 * used, and a rank that fits into a NUMA node lies in one as long as there is one. */
static void test_placement_shares_nothing_while_cores_are_free(void **state)
{
    static const char *const machines[] = {LAPTOP_HT, TWO_PACKAGES, EIGHT_NODES, SMT8};
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(machines); i++) {
        struct ddp_machine *m = machine_synthetic(machines[i]);
        const int pus = ddp_machine_pus(m);
        for (int n = 1; n <= pus + 3; n++)
            for (int policy = 0; policy < 2; policy++) {
                const struct ddp_place_request req = {n, 1, policy ? S : C, HT, 0};
                struct ddp_placement *p = NULL;
                struct ddp_error err = {0};
                double users[256] = {0}; /* a rank that may run on two is half on each */
                assert_int_equal(ddp_placement_create(m, &req, &p, &err), 0);
                for (int r = 0; r < n; r++) {
                    assert_true(p->place[r].npus >= 1);
                    assert_true(p->place[r].numa >= 0);
                    for (int k = 0; k < p->place[r].npus; k++) {
                        assert_in_range(p->place[r].pus[k], 0, pus - 1);
                        users[p->place[r].pus[k]] += 1.0 / p->place[r].npus;
                    }
                }
                for (int pu = 0; pu < pus; pu++)
                    assert_true(users[pu] < (n + pus - 1) / pus + 1e-9);
                assert_int_equal(p->oversubscribed, n > pus);
                ddp_placement_destroy(p);
            }
        ddp_machine_destroy(m);
    }
}

static void test_placement_names_the_numa_node(void **state)
{
    static const struct {
        struct ddp_place_request req;
        int rank, numa, package;
    } table[] = {
        {{8, 8, C, NO_HT, 0}, 0, 0, 0},   {{8, 8, C, NO_HT, 0}, 7, 7, 1},    {{8, 8, S, NO_HT, 0}, 1, 4, 1},
        {{2, 12, C, NO_HT, 0}, 0, -1, 0}, {{1, 64, C, NO_HT, 0}, 0, -1, -1}, {{200, 1, C, HT, 0}, 199, 7, 1},
    };
    struct ddp_machine *m = machine_synthetic(EIGHT_NODES);
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        struct ddp_placement *p = NULL;
        struct ddp_error err = {0};
        assert_int_equal(ddp_placement_create(m, &table[i].req, &p, &err), 0);
        assert_int_equal(p->place[table[i].rank].numa, table[i].numa);
        assert_int_equal(p->place[table[i].rank].package, table[i].package);
        ddp_placement_destroy(p);
    }
    ddp_machine_destroy(m);
}

static void test_placement_refuses_nonsense(void **state)
{
    static const struct ddp_place_request table[] = {
        {0, 1, C, HT, 0},  {-1, 1, C, HT, 0},   {65537, 1, C, HT, 0},
        {1, -1, C, HT, 0}, {1, 4097, C, HT, 0}, {1, 1, (enum ddp_bind_policy)9, HT, 0},
    };
    struct ddp_machine *m = machine_synthetic(LAPTOP);
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        struct ddp_placement *p = NULL;
        struct ddp_error err = {0};
        assert_int_equal(ddp_placement_create(m, &table[i], &p, &err), DDP_E_USAGE);
        assert_null(p);
        assert_true(err.text[0] != '\0');
    }
    ddp_machine_destroy(m);
}

static void test_placement_map_draws_the_ranks(void **state)
{
    struct ddp_machine *m = machine_with_holes(TWO_PACKAGES, "0-5,8-15");
    struct ddp_placement *p = NULL;
    struct ddp_error err = {0};
    (void)state;
    assert_int_equal(ddp_placement_create(m, &(struct ddp_place_request){9, 1, C, HT, 0}, &p, &err), 0);
    char *map = ddp_placement_map(m, p, NULL);
    static const char want[] =
        "2 packages, 2 NUMA nodes, 8 cores, 16 threads (described by HWLOC_SYNTHETIC or HWLOC_XMLFILE)\n"
        "package 0\n"
        "  NUMA node 0\n"
        "    core      0 1 2 3\n"
        "    rank      0 2 4 -\n"
        "    thread 2  1 3 . -\n"
        "package 1\n"
        "  NUMA node 1\n"
        "    core      4 5 6 7\n"
        "    rank      5 6 7 8\n"
        "    thread 2  . . . .\n"
        "('.' no rank, '-' not for this process)\n"
        "rank 0   cpus=0 numa=0 package=0 threads=1 spin=2000\n";
    if (strncmp(map, want, strlen(want)) != 0)
        fail_msg("map is\n%s\nwant\n%s", map, want);
    free(map);
    ddp_placement_destroy(p);

    assert_int_equal(ddp_placement_create(m, &(struct ddp_place_request){30, 1, C, HT, 0}, &p, &err), 0);
    map = ddp_placement_map(m, p, NULL);
    assert_non_null(strstr(map, "note: 30 ranks share 14 hardware threads"));
    assert_non_null(strstr(map, "spin=0"));
    free(map);
    ddp_placement_destroy(p);
    ddp_machine_destroy(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_placement_follows_the_table),
        cmocka_unit_test(test_placement_shares_nothing_while_cores_are_free),
        cmocka_unit_test(test_placement_names_the_numa_node),
        cmocka_unit_test(test_placement_refuses_nonsense),
        cmocka_unit_test(test_placement_map_draws_the_ranks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
