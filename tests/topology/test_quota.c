/* CPU quotas, in trees of files as the kernel shows them, and what becomes of plans under one. */
#include "machines.h"

static char root[] = "/tmp/ddp-test-quota-XXXXXX";

static void put(const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", root, name);
    char *slash = strrchr(path, '/');
    *slash = '\0';
    assert_int_equal(ddp_dir_make(path, NULL), 0);
    *slash = '/';
    assert_int_equal(ddp_file_write(path, text, strlen(text), NULL), 0);
}

#define V2     "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
#define V1     "33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
#define HYBRID V1 "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"

static const struct {
    const char *name, *cgroup, *mounts;
    struct {
        const char *name, *text;
    } file[5];
    double cpus;
    const char *says; /* the file; "" none */
} cases[] = {
    {"no groups", "", "", {{NULL, NULL}}, 0, ""},
    {"version 2",
     "0::/job/7\n",
     V2,
     {{"sys/fs/cgroup/job/7/cpu.max", "150000 100000\n"}},
     1.5,
     "/sys/fs/cgroup/job/7/cpu.max"},
    {"version 2, none", "0::/job/7\n", V2, {{"sys/fs/cgroup/job/7/cpu.max", "max 100000\n"}}, 0, ""},
    {"version 2, the parent's",
     "0::/job/7/step\n",
     V2,
     {{"sys/fs/cgroup/job/7/step/cpu.max", "max 100000\n"},
      {"sys/fs/cgroup/job/7/cpu.max", "400000 100000\n"},
      {"sys/fs/cgroup/job/cpu.max", "300000 50000\n"}},
     4,
     "/sys/fs/cgroup/job/7/cpu.max"},
    {"version 2, the least is above",
     "0::/job/7\n",
     V2,
     {{"sys/fs/cgroup/job/7/cpu.max", "800000 100000\n"}, {"sys/fs/cgroup/job/cpu.max", "50000 100000\n"}},
     0.5,
     "/sys/fs/cgroup/job/cpu.max"},
    {"version 2 in a container's name space",
     "0::/\n",
     V2,
     {{"sys/fs/cgroup/cpu.max", "200000 100000\n"}},
     2,
     "/sys/fs/cgroup/cpu.max"},
    {"version 2 in a container that shows the host's path",
     "0::/docker/abc\n",
     "30 23 0:26 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup rw\n",
     {{"sys/fs/cgroup/cpu.max", "200000 100000\n"}},
     2,
     "/sys/fs/cgroup/cpu.max"},
    {"a mount that is not above the group",
     "0::/docker/abcd\n",
     "30 23 0:26 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup rw\n",
     {{"sys/fs/cgroup/cpu.max", "200000 100000\n"}},
     2,
     "/sys/fs/cgroup/cpu.max"},
    {"outside of the name space",
     "0::/../other\n",
     V2,
     {{"sys/fs/cgroup/cpu.max", "200000 100000\n"}},
     2,
     "/sys/fs/cgroup/cpu.max"},
    {"version 1",
     "4:memory:/m\n3:cpu,cpuacct:/job\n0::/\n",
     V1,
     {{"sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "50000\n"},
      {"sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us", "100000\n"},
      {"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n"}},
     0.5,
     "/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us"},
    {"version 1, none",
     "3:cpu,cpuacct:/job\n",
     V1,
     {{"sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "-1\n"},
      {"sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us", "100000\n"}},
     0,
     ""},
    {"version 1, the parent's",
     "3:cpuacct,cpu:/a/b\n",
     V1,
     {{"sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_quota_us", "-1\n"},
      {"sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "250000\n"},
      {"sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n"}},
     2.5,
     "/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us"},
    {"both versions, the least counts",
     "3:cpu,cpuacct:/a\n0::/b\n",
     HYBRID,
     {{"sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "400000\n"},
      {"sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n"},
      {"sys/fs/cgroup/unified/b/cpu.max", "300000 100000\n"}},
     3,
     "/sys/fs/cgroup/unified/b/cpu.max"},
    {"cpuset is not cpu",
     "3:cpuset:/a\n",
     "33 31 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n",
     {{"sys/fs/cgroup/cpuset/a/cpu.cfs_quota_us", "400000\n"},
      {"sys/fs/cgroup/cpuset/a/cpu.cfs_period_us", "100000\n"}},
     0,
     ""},
    {"a blank in the path",
     "0::/a\n",
     "30 23 0:26 / /sys/my\\040groups rw - cgroup2 cgroup2 rw\n",
     {{"sys/my groups/a/cpu.max", "100000 100000\n"}},
     1,
     "/sys/my groups/a/cpu.max"},
    {"files that make no sense",
     "no colon\n0::/a\n:\n",
     V2 "short - line\n\n",
     {{"sys/fs/cgroup/a/cpu.max", "garbage\n"}, {"sys/fs/cgroup/cpu.max", "100000 0\n"}},
     0,
     ""},
};

static void test_quota_is_the_least(void **state)
{
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        struct ddp_cpu_quota quota;
        assert_int_equal(ddp_dir_remove(root, NULL), 0);
        put("proc/self/cgroup", cases[i].cgroup);
        put("proc/self/mountinfo", cases[i].mounts);
        for (int k = 0; cases[i].file[k].name; k++)
            put(cases[i].file[k].name, cases[i].file[k].text);
        ddp_cpu_quota_read(root, &quota);
        if (quota.cpus != cases[i].cpus || strcmp(quota.file, cases[i].says) != 0)
            fail_msg("%s: %g CPUs by '%s'", cases[i].name, quota.cpus, quota.file);
    }
}

/* A machine with a quota, as it comes from another host. */
static struct ddp_machine *machine_with_quota(const char *description, const char *cpus)
{
    struct ddp_machine *plain = machine_synthetic(description), *m = NULL;
    struct ddp_error err = {0};
    struct ddp_text t;
    char *xml = NULL;
    assert_int_equal(ddp_machine_xml(plain, &xml, &err), 0);
    char *object = strstr(xml, "<object type=\"Machine\""), *behind = strchr(object, '>') + 1;
    ddp_text_init(&t);
    ddp_text_append(&t, xml, (size_t)(behind - xml));
    ddp_text_add(&t,
                 "<info name=\"DDPQuota\" value=\"%s\"/><info name=\"DDPQuotaFile\" value=\"/q/cpu.max\"/>%s",
                 cpus, behind);
    if (ddp_machine_from_xml(t.s, &m, &err) != 0)
        fail_msg("%s", err.text);
    ddp_text_finish(&t);
    free(xml);
    ddp_machine_destroy(plain);
    return m;
}

static void test_quota_counts_in_plans(void **state)
{
    static const struct {
        const char *cpus;
        int ranks, threads, given; /* given: by a scheduler */
        int capacity;              /* of the machine */
        int rank_threads;
        bool bound, oversubscribed;
        const char *note; /* part of it; "" none at all */
    } table[] = {
        {"0.5", 1, 0, 0, 1, 1, false, false, "pays for 0.5 of the 16 CPUs that can be seen (/q/cpu.max)"},
        {"0.5", 2, 0, 0, 1, 1, false, true, "2 ranks share 1 CPU: they"},
        {"1", 1, 0, 0, 1, 1, false, false, "planned for 1 and not bound"},
        {"2.5", 2, 0, 0, 2, 1, false, false, "pays for 2.5 of the 16"},
        {"4", 2, 0, 0, 4, 2, false, false, "planned for 4"},
        {"4", 2, 3, 0, 4, 3, false, true, "train.threads=2 fits"},
        {"4", 1, 0, 2, 4, 2, false, false, "2 of the 8 cores that can be seen are the job's"},
        {"8", 2, 0, 0, 8, 4, true, false, ""},
        {"64", 2, 0, 0, 8, 4, true, false, ""},
        {"64", 2, 0, 6, 8, 3, false, false, "6 of the 8 cores that can be seen are the job's"},
        {"64", 2, 0, 8, 8, 4, true, false, ""},
        {"64", 2, 0, 16, 8, 4, true, false, ""}, /* hardware threads were counted */
    };
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        struct ddp_machine *m = machine_with_quota(TWO_PACKAGES, table[i].cpus);
        const struct ddp_place_request req = {
            .ranks = table[i].ranks, .threads = table[i].threads, .cores = table[i].given};
        struct ddp_placement *p = NULL;
        struct ddp_error err = {0};
        assert_int_equal(ddp_machine_capacity(m, false), table[i].capacity);
        assert_int_equal(ddp_placement_create(m, &req, &p, &err), 0);
        if (p->bound != table[i].bound || p->oversubscribed != table[i].oversubscribed ||
            p->place[0].threads != table[i].rank_threads || (p->place[0].npus > 0) != table[i].bound ||
            (*table[i].note ? !strstr(p->note, table[i].note) : *p->note != '\0'))
            fail_msg("case %zu: bound %d, oversubscribed %d, %d threads, note '%s'", i, p->bound,
                     p->oversubscribed, p->place[0].threads, p->note);
        char *map = ddp_placement_map(m, p, NULL);
        assert_int_equal(strstr(map, "ranks are not bound") != NULL, !table[i].bound);
        assert_int_equal(strstr(map, "note: ") != NULL, *table[i].note != '\0');
        free(map);
        ddp_placement_destroy(p);
        ddp_machine_destroy(m);
    }
}

/* A scheduler's number of cores is no limit on the hardware threads of as many. */
static void test_all_cores_are_no_limit(void **state)
{
    struct ddp_machine *m = machine_synthetic(TWO_PACKAGES);
    struct ddp_placement *p = NULL;
    struct ddp_error err = {0};
    (void)state;
    assert_int_equal(
        ddp_placement_create(m, &(struct ddp_place_request){.ranks = 2, .hyperthreads = true, .cores = 8}, &p,
                             &err),
        0);
    assert_true(p->bound);
    assert_int_equal(p->place[0].threads, 8);
    ddp_placement_destroy(p);
    ddp_machine_destroy(m);
}

static int set_up(void **state)
{
    (void)state;
    return mkdtemp(root) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    return ddp_dir_remove(root, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quota_is_the_least),
        cmocka_unit_test(test_quota_counts_in_plans),
        cmocka_unit_test(test_all_cores_are_no_limit),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
