/* Plans for several hosts, of one kind and of different kinds, each with its topology as it would come from
 * there. */
#include "tests/topology/machines.h"

#include "launcher/hosts_find.h"
#include "launcher/plan.h"

enum { HOSTS = 3 };

/* As another host sends it. */
static struct ddp_machine *machine_of(const char *description)
{
    struct ddp_machine *m = NULL, *there = NULL;
    struct ddp_error err = {0};
    char *xml;
    if (strstr(description, ".xml")) {
        setenv("HWLOC_XMLFILE", description, 1);
        assert_int_equal(ddp_machine_create_with_io(&m, &err), 0);
        unsetenv("HWLOC_XMLFILE");
    } else {
        m = machine_synthetic(description);
    }
    assert_int_equal(ddp_machine_xml(m, &xml, &err), 0);
    if (ddp_machine_from_xml(xml, &there, &err) != 0)
        fail_msg("%s: %s", description, err.text);
    free(xml);
    ddp_machine_destroy(m);
    return there;
}

struct cluster {
    struct ddp_hosts hosts;
    struct ddp_machine *machine[HOSTS];
    struct ddp_place_gpu *gpu[HOSTS];
    struct ddp_place_gpus gpus[HOSTS];
    struct ddp_launch_site site[HOSTS];
};

static void build(const char *list, bool allocated, const char *const *machines, struct cluster *c)
{
    struct ddp_error err = {0};
    *c = (struct cluster){0};
    assert_int_equal(ddp_hosts_parse(list, &c->hosts, &err), 0);
    c->hosts.allocated = allocated;
    for (int h = 0; h < c->hosts.n; h++) {
        c->machine[h] = machine_of(machines[h]);
        c->gpus[h].n = ddp_machine_gpus(c->machine[h], &c->gpu[h]);
        c->gpus[h].gpu = c->gpu[h];
        c->site[h] = (struct ddp_launch_site){c->machine[h], &c->gpus[h]};
    }
}

static void tear_down(struct cluster *c)
{
    for (int h = 0; h < c->hosts.n; h++) {
        ddp_machine_destroy(c->machine[h]);
        free(c->gpu[h]);
    }
    ddp_hosts_finish(&c->hosts);
}

#define GPUS DDP_MACHINES "/four-gpus.xml"

static void test_plan_over_hosts(void **state)
{
    static const struct {
        const char *list;
        bool allocated;
        const char *machine[HOSTS];
        int ranks, by_node;
        int64_t shards, threads;
        const char *hosts;        /* a digit for each rank */
        const char *threads_each; /* likewise */
        const char *note;         /* part of it; "" none */
    } table[] = {
        {"a:2,b:2", false, {LAPTOP, LAPTOP}, 0, 0, 8, 0, "0011", "2222", ""},
        {"a,b", false, {LAPTOP, LAPTOP}, 0, 0, 8, 0, "00001111", "11111111", ""},
        {"a,b", false, {LAPTOP, LAPTOP}, 0, 1, 8, 0, "01010101", "11111111", ""},
        {"a,b", false, {LAPTOP, LAPTOP}, 2, 0, 8, 0, "01", "44", ""},
        {"a,b", false, {LAPTOP, LAPTOP}, 0, 0, 8, 2, "0011", "2222", ""},
        {"a,b,c", false, {LAPTOP, LAPTOP, LAPTOP}, 6, 0, 6, 0, "001122", "222222", ""},
        {"a:3,b:2,c:1", false, {LAPTOP, LAPTOP, LAPTOP}, 0, 0, 6, 1, "000112", "111111", ""},
        {"a,b", false, {LAPTOP, LAPTOP}, 0, 0, 2, 0, "01", "44", ""},
        /* of different kinds */
        {"a,b", false, {TWO_PACKAGES, LAPTOP}, 0, 0, 12, 0, "000000001111", "111111111111", ""},
        {"a,b", false, {EIGHT_NODES, LAPTOP}, 2, 0, 8, 0, "00", NULL, "b gets no rank"},
        {"a:1,b:1",
         false,
         {EIGHT_NODES, LAPTOP},
         0,
         0,
         8,
         0,
         "01",
         NULL,
         "ranks on b have 4 cores each and those on a 64"},
        {"a:4,b:4,c:4",
         false,
         {LAPTOP, LAPTOP, LAPTOP},
         3,
         0,
         8,
         0,
         "000",
         "111",
         "2 hosts get no rank, the first of them b"},
        {"a,b", false, {LAPTOP, LAPTOP}, 5, 0, 8, 0, "00011", "11122", "no faster than -n 4"},
        /* a scheduler's tasks */
        {"a:2,b:1",
         true,
         {LAPTOP, LAPTOP},
         0,
         0,
         8,
         0,
         "001",
         "224",
         "ranks on a have 2 cores each and those on b 4"},
    };
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        struct cluster c;
        struct ddp_launch_plan plan;
        struct ddp_error err = {0};
        const struct ddp_config cfg = {
            .device = DDP_DEVICE_CPU,
            .train = {.shards = table[i].shards, .accumulate = 1, .threads = table[i].threads}};
        const struct ddp_options opt = {.ranks = table[i].ranks, .by_node = table[i].by_node};
        build(table[i].list, table[i].allocated, table[i].machine, &c);
        if (ddp_launch_plan_hosts(&c.hosts, c.site, &opt, &cfg, &plan, &err) != 0)
            fail_msg("case %zu: %s", i, err.text);
        assert_int_equal(plan.nparts, c.hosts.n);
        assert_int_equal(plan.ranks, strlen(table[i].hosts));
        int seen = 0;
        for (int r = 0; r < plan.ranks; r++) {
            const struct ddp_launch_spot spot = plan.spot[r];
            const struct ddp_launch_part *part = &plan.part[spot.part];
            if (spot.part != table[i].hosts[r] - '0')
                fail_msg("case %zu: rank %d is on %s", i, r, part->host);
            assert_int_equal(part->rank[spot.local], r);
            assert_true(spot.local == 0 || part->rank[spot.local - 1] < r);
            const int threads = part->placement->place[spot.local].threads;
            if (table[i].threads_each && threads != table[i].threads_each[r] - '0')
                fail_msg("case %zu: rank %d has %d threads", i, r, threads);
        }
        for (int h = 0; h < plan.nparts; h++)
            seen += plan.part[h].ranks;
        assert_int_equal(seen, plan.ranks);
        if (*table[i].note ? !strstr(plan.note, table[i].note) : *plan.note != '\0')
            fail_msg("case %zu: note '%s'", i, plan.note);
        ddp_launch_plan_finish(&plan);
        tear_down(&c);
    }
}

static void test_plan_over_hosts_with_gpus(void **state)
{
    static const struct {
        const char *list;
        const char *machine[HOSTS];
        int device, ranks, by_node;
        const char *hosts; /* NULL: refused */
        bool cuda;
        const char *says; /* part of the note or the error */
    } table[] = {
        {"a,b", {GPUS, GPUS}, DDP_DEVICE_AUTO, 0, 0, "00001111", true, ""},
        {"a,b", {GPUS, GPUS}, DDP_DEVICE_AUTO, 4, 0, "0011", true, ""},
        {"a,b", {GPUS, GPUS}, DDP_DEVICE_AUTO, 4, 1, "0101", true, ""},
        {"a:64,b:64", {GPUS, GPUS}, DDP_DEVICE_AUTO, 0, 0, "00001111", true, ""},
        {"a:1,b:2", {GPUS, GPUS}, DDP_DEVICE_AUTO, 0, 0, "011", true, ""},
        {"a,b", {GPUS, LAPTOP}, DDP_DEVICE_AUTO, 0, 0, "0000", true, "b gets no rank"},
        {"a,b", {LAPTOP, GPUS}, DDP_DEVICE_CUDA, 2, 0, "11", true, "a gets no rank"},
        {"a,b", {GPUS, LAPTOP}, DDP_DEVICE_AUTO, 8, 0, NULL, false, "only 4 GPUs; -n 4 would use them"},
        {"a,b", {GPUS, LAPTOP}, DDP_DEVICE_CUDA, 8, 0, NULL, true, "8 ranks, but 4 GPUs on the 2 hosts"},
        {"a,b", {LAPTOP, LAPTOP}, DDP_DEVICE_AUTO, 0, 0, "00001111", false, ""},
    };
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        struct cluster c;
        struct ddp_launch_plan plan = {0};
        struct ddp_error err = {0};
        const struct ddp_config cfg = {.device = table[i].device, .train = {.shards = 8, .accumulate = 1}};
        const struct ddp_options opt = {.ranks = table[i].ranks, .by_node = table[i].by_node};
        build(table[i].list, false, table[i].machine, &c);
        const int rc = ddp_launch_plan_hosts(&c.hosts, c.site, &opt, &cfg, &plan, &err);
        const char *said = rc ? err.text : plan.note;
        if (*table[i].says ? !strstr(said, table[i].says) : *said != '\0')
            fail_msg("case %zu: '%s'", i, said);
        for (int r = 0; rc == 0 && table[i].hosts && r < plan.ranks; r++) {
            const struct ddp_launch_spot spot = plan.spot[r];
            assert_int_equal(spot.part, table[i].hosts[r] - '0');
            assert_int_equal(plan.part[spot.part].placement->place[spot.local].gpu[0] != '\0', table[i].cuda);
        }
        if (rc == 0) {
            assert_int_equal(plan.cuda, table[i].cuda);
            assert_true(!table[i].hosts || plan.ranks == (int)strlen(table[i].hosts));
            ddp_launch_plan_finish(&plan);
        }
        tear_down(&c);
    }
}

/* GPUs that a scheduler gave, where more can be seen. */
static void test_plan_keeps_to_given_gpus(void **state)
{
    struct cluster c;
    struct ddp_launch_plan plan;
    struct ddp_error err = {0};
    struct ddp_config cfg = {.device = DDP_DEVICE_CUDA, .train = {.shards = 8, .accumulate = 1}};
    (void)state;
    build("a,b", true, (const char *const[]){GPUS, GPUS}, &c);
    c.hosts.host[0].gpus = 2;
    c.hosts.host[1].gpus = 4;
    assert_int_equal(ddp_launch_plan_hosts(&c.hosts, c.site, &(struct ddp_options){0}, &cfg, &plan, &err), 0);
    assert_int_equal(plan.part[0].ranks, 2);
    assert_int_equal(plan.part[1].ranks, 4);
    assert_int_equal(plan.part[0].placement->ngpus, 2);
    ddp_launch_plan_finish(&plan);

    c.hosts.host[0].gpus = c.hosts.host[1].gpus = 0;
    assert_int_equal(ddp_launch_plan_hosts(&c.hosts, c.site, &(struct ddp_options){0}, &cfg, &plan, &err),
                     DDP_E_RESOURCE);
    assert_non_null(strstr(err.text, "device=cuda: -H has no GPU for this job"));
    cfg.device = DDP_DEVICE_AUTO;
    assert_int_equal(ddp_launch_plan_hosts(&c.hosts, c.site, &(struct ddp_options){0}, &cfg, &plan, &err), 0);
    assert_false(plan.cuda);
    ddp_launch_plan_finish(&plan);
    tear_down(&c);
}

static void test_plan_notes_other_gpus(void **state)
{
    struct cluster c;
    struct ddp_launch_plan plan;
    struct ddp_error err = {0};
    const struct ddp_config cfg = {.device = DDP_DEVICE_CUDA, .train = {.shards = 8, .accumulate = 1}};
    (void)state;
    build("a,b", false, (const char *const[]){GPUS, GPUS}, &c);
    strcpy(c.gpu[1][2].name, "NVIDIA Other");
    assert_int_equal(ddp_launch_plan_hosts(&c.hosts, c.site, &(struct ddp_options){0}, &cfg, &plan, &err), 0);
    assert_non_null(strstr(plan.note, "b NVIDIA Other: results of different kinds of GPUs differ"));
    ddp_launch_plan_finish(&plan);
    tear_down(&c);
}

static void test_plan_over_hosts_as_text(void **state)
{
    struct cluster c;
    struct ddp_launch_plan plan;
    struct ddp_error err = {0};
    const struct ddp_config cfg = {.device = DDP_DEVICE_CPU, .train = {.shards = 8, .accumulate = 1}};
    (void)state;
    build("a:2,b:1,c:1", false, (const char *const[]){LAPTOP, LAPTOP, TWO_PACKAGES}, &c);
    assert_int_equal(ddp_launch_plan_hosts(&c.hosts, c.site,
                                           &(struct ddp_options){.ranks = 3, .by_node = true}, &cfg, &plan,
                                           &err),
                     0);
    char *line = ddp_launch_plan_line(&plan), *places = ddp_launch_part_places(&plan.part[2]),
         *map = ddp_launch_plan_map(&plan, c.site);
    assert_string_equal(line,
                        "0@a cpus=0-3 numa=-1 package=0 threads=4 spin=2000; 1@b cpus=0-3 numa=-1 package=0 "
                        "threads=4 spin=2000; 2@c cpus=0,2,4,6,8,10,12,14 numa=-1 package=-1 threads=8 "
                        "spin=2000");
    assert_string_equal(places, "cpus=0,2,4,6,8,10,12,14 numa=-1 package=-1 threads=8 spin=2000");
    static const char *const shown[] = {
        "host a, 1 rank\n1 package", "host b, 1 rank",        "host c, 1 rank",
        "rank      2 2 2 2",         "rank 2   cpus=0,2,4,6", "note: ranks on a have 4"};
    assert_null(strstr(map, "described by"));
    for (size_t i = 0; i < DDP_COUNT(shown); i++)
        if (!strstr(map, shown[i]))
            fail_msg("'%s' is not in\n%s", shown[i], map);
    free(map);
    free(places);
    free(line);
    ddp_launch_plan_finish(&plan);

    /* -n 1: the others are shown, too */
    assert_int_equal(
        ddp_launch_plan_hosts(&c.hosts, c.site, &(struct ddp_options){.ranks = 1}, &cfg, &plan, &err), 0);
    map = ddp_launch_plan_map(&plan, c.site);
    assert_non_null(strstr(map, "\nhost c, 0 ranks\n2 packages, 2 NUMA nodes, 8 cores, 16 threads"));
    free(map);
    ddp_launch_plan_finish(&plan);
    tear_down(&c);
}

/* Thousands of ranks: what is said of them fits into a variable, and no time is lost. */
static void test_plan_over_many_hosts(void **state)
{
    static const char *const lines[] = {"0-63@n0000; 64-127@n0001; ",
                                        "32768 ranks round 512 hosts, from n0000 on"};
    struct ddp_machine *m = machine_of(EIGHT_NODES);
    struct ddp_launch_site *site = ddp_calloc(512, sizeof *site);
    const struct ddp_config cfg = {.device = DDP_DEVICE_CPU, .train = {.shards = 32768, .accumulate = 1}};
    (void)state;
    for (int h = 0; h < 512; h++)
        site[h].machine = m;
    for (int by_node = 0; by_node < 2; by_node++) {
        const struct ddp_options opt = {.by_node = by_node};
        struct ddp_hosts hosts;
        struct ddp_launch_plan plan;
        struct ddp_error err = {0};
        assert_int_equal(ddp_hosts_parse("n[0000-0511]", &hosts, &err), 0);
        assert_int_equal(ddp_launch_plan_hosts(&hosts, site, &opt, &cfg, &plan, &err), 0);
        assert_int_equal(plan.ranks, 32768);
        for (int r = 0; r < plan.ranks; r++)
            assert_int_equal(plan.spot[r].part, by_node ? r % 512 : r / 64);
        char *line = ddp_launch_plan_line(&plan), *places = ddp_launch_part_places(&plan.part[511]);
        assert_memory_equal(line, lines[by_node], strlen(lines[by_node]));
        assert_true(strlen(line) < 131072);
        assert_true(strlen(places) < 8192);
        free(places);
        free(line);
        ddp_launch_plan_finish(&plan);
        ddp_hosts_finish(&hosts);
    }
    free(site);
    ddp_machine_destroy(m);
}

/* Ranks that share a hardware thread, numbered round the hosts. */
static void test_plan_over_hosts_shares_cores(void **state)
{
    static const char one[] = "package:1 numa:1 core:1 pu:1";
    struct cluster c;
    struct ddp_launch_plan plan;
    struct ddp_error err = {0};
    const struct ddp_config cfg = {.device = DDP_DEVICE_CPU, .train = {.shards = 8, .accumulate = 1}};
    (void)state;
    for (int by_node = 0; by_node < 2; by_node++) {
        const struct ddp_options opt = {.ranks = 6, .by_node = by_node};
        build("a,b", false, (const char *const[]){one, one}, &c);
        assert_int_equal(ddp_launch_plan_hosts(&c.hosts, c.site, &opt, &cfg, &plan, &err), 0);
        char *map = ddp_launch_plan_map(&plan, c.site);
        assert_non_null(strstr(map, by_node ? "    rank      0,2,4\n" : "    rank      0-2\n"));
        assert_non_null(strstr(map, by_node ? "    rank      1,3,5\n" : "    rank      3-5\n"));
        assert_non_null(strstr(map, "note: 3 ranks share 1 core"));
        free(map);
        ddp_launch_plan_finish(&plan);
        tear_down(&c);
    }
}

static void test_plan_over_hosts_refuses(void **state)
{
    struct cluster c;
    struct ddp_launch_plan plan = {.ranks = -1};
    struct ddp_error err = {0};
    struct ddp_config cfg = {.device = DDP_DEVICE_CPU, .train = {.shards = 8, .accumulate = 1}};
    (void)state;
    build("a:2,b:2", false, (const char *const[]){LAPTOP, LAPTOP}, &c);
    assert_int_equal(
        ddp_launch_plan_hosts(&c.hosts, c.site, &(struct ddp_options){.ranks = 5}, &cfg, &plan, &err),
        DDP_E_USAGE);
    assert_non_null(strstr(err.text, "-n 5: -H has 4 slots"));
    cfg.train.shards = 3;
    assert_int_equal(
        ddp_launch_plan_hosts(&c.hosts, c.site, &(struct ddp_options){.ranks = 4}, &cfg, &plan, &err),
        DDP_E_CONFIG);
    assert_int_equal(plan.ranks, -1);
    tear_down(&c);
}

/* CPUs that a scheduler gave, where more can be seen. */
static void test_plan_keeps_to_given_cpus(void **state)
{
    struct cluster c;
    struct ddp_launch_plan plan;
    struct ddp_error err = {0};
    const struct ddp_config cfg = {.device = DDP_DEVICE_CPU, .train = {.shards = 64, .accumulate = 1}};
    (void)state;
    build("a,b", true, (const char *const[]){EIGHT_NODES, EIGHT_NODES}, &c);
    c.hosts.host[0].cpus = 4;
    c.hosts.host[1].cpus = 128; /* hardware threads of all cores */
    assert_int_equal(ddp_launch_plan_hosts(&c.hosts, c.site, &(struct ddp_options){0}, &cfg, &plan, &err), 0);
    assert_int_equal(plan.ranks, 64);
    assert_int_equal(plan.part[0].ranks, 4);
    assert_int_equal(plan.part[1].ranks, 60);
    assert_false(plan.part[0].placement->bound);
    assert_true(plan.part[1].placement->bound);
    ddp_launch_plan_finish(&plan);
    tear_down(&c);
}

/* ---- until ranks are started elsewhere ------------------------------------------------------- */

static void test_hosts_are_this_one(void **state)
{
    static const struct {
        const char *list;
        bool allocated;
        const char *kept; /* NULL: refused */
        const char *says;
    } table[] = {
        {"n0", false, "n0", ""},
        {"n0.cluster", false, "n0.cluster", ""},
        {"localhost:4", false, "localhost", ""},
        {"n1", false, NULL, "-H: this is n0, and --starter local starts no ranks on other hosts (n1)"},
        {"n0,n1", false, NULL, "(n1)"},
        {"n0,localhost", false, NULL, "(localhost)"},
        {"n0", true, "n0", ""},
        {"n1,n0,n2", true, "n0", "has 3 hosts, and --starter local starts ranks on this one only (n0)"},
        {"n1", true, "", "has 1 host,"},
    };
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        struct ddp_hosts hosts;
        struct ddp_error err = {0};
        char note[512];
        assert_int_equal(ddp_hosts_parse(table[i].list, &hosts, &err), 0);
        hosts.allocated = table[i].allocated;
        const int rc = ddp_hosts_keep_self(&hosts, "n0", note, sizeof note, &err);
        const char *said = rc ? err.text : note;
        assert_int_equal(rc, table[i].kept ? 0 : DDP_E_USAGE);
        if (*table[i].says ? !strstr(said, table[i].says) : *said != '\0')
            fail_msg("case %zu: '%s'", i, said);
        if (rc == 0) {
            assert_int_equal(hosts.n, *table[i].kept != '\0');
            assert_string_equal(hosts.n ? hosts.host[0].name : "", table[i].kept);
        }
        ddp_hosts_finish(&hosts);
    }
}

static void test_hosts_are_found(void **state)
{
    static const char *const env[] = {"SLURM_JOB_ID=7", "SLURM_JOB_NODELIST=s[0-1]", NULL};
    char path[] = "/tmp/ddp-hosts-XXXXXX";
    struct ddp_hosts hosts;
    struct ddp_error err = {0};
    (void)state;
    const int fd = mkstemp(path);
    assert_int_equal(write(fd, "f0\n", 3), 3);
    close(fd);
    const struct ddp_options options[] = {{.hosts = "h0"}, {.hostfile = path}, {0}};
    static const char *const first[] = {"h0", "f0", "s0"};
    for (size_t i = 0; i < DDP_COUNT(first); i++) {
        assert_int_equal(ddp_hosts_find(&options[i], env, &hosts, &err), 0);
        assert_string_equal(hosts.host[0].name, first[i]);
        assert_int_equal(hosts.allocated, i == 2);
        ddp_hosts_finish(&hosts);
    }
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plan_over_hosts),
        cmocka_unit_test(test_plan_over_hosts_with_gpus),
        cmocka_unit_test(test_plan_notes_other_gpus),
        cmocka_unit_test(test_plan_keeps_to_given_gpus),
        cmocka_unit_test(test_plan_over_hosts_as_text),
        cmocka_unit_test(test_plan_over_many_hosts),
        cmocka_unit_test(test_plan_over_hosts_refuses),
        cmocka_unit_test(test_plan_keeps_to_given_cpus),
        cmocka_unit_test(test_hosts_are_this_one),
        cmocka_unit_test(test_hosts_are_found),
        cmocka_unit_test(test_plan_over_hosts_shares_cores),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
