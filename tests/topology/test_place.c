/* A place as text and back, and binding to it. */
#include <sched.h>

#include "machines.h"

static void test_place_text_round_trips(void **state)
{
    static const struct {
        const char *text;
        int npus, first, last, numa, package, threads;
        bool oversubscribed;
    } table[] = {
        {"cpus=0-3 numa=0 package=0 threads=4 spin=2000", 4, 0, 3, 0, 0, 4, false},
        {"cpus=0,2,1,3 numa=1 package=0 threads=2 spin=0", 4, 0, 3, 1, 0, 2, true},
        {"cpus=7 numa=-1 package=-1 threads=1 spin=2000", 1, 7, 7, -1, -1, 1, false},
        {"cpus=4,0-2,9-10 numa=0 package=1 threads=6 spin=0", 6, 4, 10, 0, 1, 6, true},
        {"cpus=any numa=-1 package=-1 threads=3 spin=2000", 0, 0, 0, -1, -1, 3, false},
        {"cpus=1 numa=0 package=0 threads=1 spin=2000 gpu=MIG-0a1b2c3d-0000-1111-2222-333344445555", 1, 1, 1,
         0, 0, 1, false},
    };
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        struct ddp_place p;
        struct ddp_error err = {0};
        bool oversubscribed;
        char again[256];
        assert_int_equal(ddp_place_parse(table[i].text, &p, &oversubscribed, &err), 0);
        assert_int_equal(p.npus, table[i].npus);
        if (p.npus) {
            assert_int_equal(p.pus[0], table[i].first);
            assert_int_equal(p.pus[p.npus - 1], table[i].last);
        }
        assert_int_equal(p.numa, table[i].numa);
        assert_int_equal(p.package, table[i].package);
        assert_int_equal(p.threads, table[i].threads);
        assert_int_equal(oversubscribed, table[i].oversubscribed);
        assert_int_equal(ddp_place_format(&p, oversubscribed, again, sizeof again), strlen(table[i].text));
        assert_string_equal(again, table[i].text);
        assert_int_equal(ddp_place_format(&p, oversubscribed, again, 6), strlen(table[i].text));
        assert_string_equal(again, "cpus=");
        ddp_place_finish(&p);
    }
}

static void test_place_refuses_bad_text(void **state)
{
    static const char *const table[] = {
        "",
        "numa=0 threads=1",
        "cpus=",
        "cpus=a",
        "cpus=3-1",
        "cpus=-1",
        "cpus=4096",
        "cpus=0-4095,0",
        "cpus=0,",
        "cpus=0 threads=0",
        "cpus=0 threads=x",
        "cpus=0 numa=-2",
        "cpus=0 spin=-1",
        "cpus=0 cpus=1",
        "cpus=0 colour=red",
        "cpus=0;threads=2",
        "cpus=0threads=2",
        "cpus=0 gpu=",
        "cpus=0 gpu=GPU-0123456789012345678901234567890123456789012345678901234567890123456789",
    };
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        struct ddp_place p = {.npus = -7};
        struct ddp_error err = {0};
        bool oversubscribed;
        if (ddp_place_parse(table[i], &p, &oversubscribed, &err) != DDP_E_USAGE)
            fail_msg("'%s' was accepted", table[i]);
        assert_int_equal(p.npus, -7);
        assert_non_null(strstr(err.text, "place '"));
    }
}

/* A rank of a machine with thousands of cores, of which every other one is its own. */
static void test_place_is_read_whole(void **state)
{
    struct ddp_text t;
    struct ddp_place p;
    struct ddp_error err = {0};
    bool oversubscribed;
    (void)state;
    ddp_text_init(&t);
    ddp_text_add(&t, "cpus=7 numa=0 package=0 threads=1 spin=0;cpus=");
    for (int cpu = 0; cpu < DDP_CPUSET_MAX; cpu += 2)
        ddp_text_add(&t, "%s%d", cpu ? "," : "", cpu);
    ddp_text_add(&t, " numa=3 package=2 threads=1200 spin=2000;cpus=9 threads=2");
    assert_true(t.len > 8192);
    assert_int_equal(ddp_place_parse_nth(t.s, 1, &p, &oversubscribed, &err), 0);
    assert_int_equal(p.npus, DDP_CPUSET_MAX / 2);
    assert_int_equal(p.pus[p.npus - 1], DDP_CPUSET_MAX - 2);
    assert_int_equal(p.numa, 3);
    assert_int_equal(p.package, 2);
    assert_int_equal(p.threads, 1200);
    assert_false(oversubscribed);
    ddp_place_finish(&p);
    assert_int_equal(ddp_place_parse_nth(t.s, 0, &p, &oversubscribed, &err), 0);
    assert_int_equal(p.pus[0], 7);
    assert_true(oversubscribed);
    ddp_place_finish(&p);
    assert_int_equal(ddp_place_parse_nth(t.s, 2, &p, &oversubscribed, &err), 0);
    assert_int_equal(p.threads, 2);
    ddp_place_finish(&p);
    assert_int_equal(ddp_place_parse_nth(t.s, 3, &p, &oversubscribed, &err), DDP_E_USAGE);
    assert_non_null(strstr(err.text, "no place for local rank 3"));
    ddp_text_finish(&t);
}

static void test_place_bind_sets_the_mask(void **state)
{
    cpu_set_t old, now;
    struct ddp_error err = {0};
    (void)state;

    assert_int_equal(sched_getaffinity(0, sizeof old, &old), 0);
    int cpu = 0;
    while (!CPU_ISSET(cpu, &old))
        cpu++;
    const struct ddp_place p = {.npus = 1, .pus = &cpu, .numa = 0, .threads = 1};
    assert_int_equal(ddp_place_bind(&p, true, &err), 0);
    assert_int_equal(sched_getaffinity(0, sizeof now, &now), 0);
    assert_int_equal(CPU_COUNT(&now), 1);
    assert_true(CPU_ISSET(cpu, &now));
    assert_int_equal(sched_setaffinity(0, sizeof old, &old), 0);

    /* an unbound place leaves the mask as it is */
    const struct ddp_place anywhere = {.numa = -1, .threads = 1};
    assert_int_equal(ddp_place_bind(&anywhere, true, &err), 0);
    assert_int_equal(sched_getaffinity(0, sizeof now, &now), 0);
    assert_true(CPU_EQUAL(&now, &old));
}

static void test_place_bind_names_a_missing_cpu(void **state)
{
    int cpu = DDP_CPUSET_MAX - 1;
    const struct ddp_place p = {.npus = 1, .pus = &cpu, .numa = -1, .threads = 1};
    struct ddp_error err = {0};
    (void)state;
    assert_int_equal(ddp_place_bind(&p, false, &err), DDP_E_RESOURCE);
    assert_non_null(strstr(err.text, "cpus=4095"));
    assert_non_null(strstr(err.text, "launch.bind"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_place_text_round_trips),
        cmocka_unit_test(test_place_refuses_bad_text),
        cmocka_unit_test(test_place_is_read_whole),
        cmocka_unit_test(test_place_bind_sets_the_mask),
        cmocka_unit_test(test_place_bind_names_a_missing_cpu),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
