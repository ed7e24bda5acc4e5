/* Probing: what is counted on machines of several shapes, and what is refused. */
#include <sched.h>

#include "machines.h"

static void test_machine_counts_synthetic_machines(void **state)
{
    static const struct {
        const char *description;
        int cores, pus, numa;
        const char *text;
    } table[] = {
        {LAPTOP, 4, 4, 1, "1 package, 1 NUMA node, 4 cores, 4 threads"},
        {LAPTOP_HT, 4, 8, 1, "1 package, 1 NUMA node, 4 cores, 8 threads"},
        {TWO_PACKAGES, 8, 16, 2, "2 packages, 2 NUMA nodes, 8 cores, 16 threads"},
        {EIGHT_NODES, 64, 128, 8, "2 packages, 8 NUMA nodes, 64 cores, 128 threads"},
        {NO_CORES, 4, 4, 1, "1 package, 1 NUMA node, 4 cores, 4 threads"},
    };
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        struct ddp_machine *m = machine_synthetic(table[i].description);
        assert_true(ddp_machine_is_synthetic(m));
        assert_int_equal(ddp_machine_cores(m), table[i].cores);
        assert_int_equal(ddp_machine_pus(m), table[i].pus);
        assert_int_equal(ddp_machine_numa_nodes(m), table[i].numa);
        assert_string_equal(ddp_machine_text(m), table[i].text);
        ddp_machine_destroy(m);
    }
}

static void test_machine_leaves_out_what_is_barred(void **state)
{
    static const struct {
        const char *allowed;
        int cores, pus, numa;
    } table[] = {
        {"0-15", 8, 16, 2},
        {"0,3,5-7", 4, 5, 1},
        {"0,15", 2, 2, 2},
        {"9", 1, 1, 1},
    };
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        struct ddp_machine *m = machine_with_holes(TWO_PACKAGES, table[i].allowed);
        assert_int_equal(ddp_machine_cores(m), table[i].cores);
        assert_int_equal(ddp_machine_pus(m), table[i].pus);
        assert_int_equal(ddp_machine_numa_nodes(m), table[i].numa);
        ddp_machine_destroy(m);
    }
}

static void test_machine_honours_the_affinity_mask(void **state)
{
    cpu_set_t old, one;
    struct ddp_machine *m = NULL;
    struct ddp_error err = {0};
    (void)state;

    assert_int_equal(sched_getaffinity(0, sizeof old, &old), 0);
    int cpu = CPU_SETSIZE - 1;
    while (!CPU_ISSET(cpu, &old))
        cpu--;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(ddp_machine_create(&m, &err), 0);
    assert_int_equal(sched_setaffinity(0, sizeof old, &old), 0);

    assert_false(ddp_machine_is_synthetic(m));
    assert_int_equal(ddp_machine_cores(m), 1);
    assert_int_equal(ddp_machine_pus(m), 1);
    struct ddp_placement *p = NULL;
    assert_int_equal(ddp_placement_create(m, &(struct ddp_place_request){.ranks = 1}, &p, &err), 0);
    assert_int_equal(p->place[0].npus, 1);
    assert_int_equal(p->place[0].pus[0], cpu);
    ddp_placement_destroy(p);
    ddp_machine_destroy(m);
}

static void test_machine_refuses_what_it_cannot_read(void **state)
{
    static const struct {
        const char *variable, *value;
    } table[] = {
        {"HWLOC_SYNTHETIC", "a castle:3"}, {"HWLOC_XMLFILE", "/nonexistent/machine.xml"},
        {"HWLOC_XMLFILE", "/dev/null"},    {"HWLOC_XMLFILE", "/etc/passwd"},
        {"HWLOC_XMLFILE", "/tmp"},
    };
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        struct ddp_machine *m = NULL;
        struct ddp_error err = {0};
        setenv(table[i].variable, table[i].value, 1);
        const int rc = ddp_machine_create(&m, &err);
        unsetenv(table[i].variable);
        assert_true(rc < 0);
        assert_null(m);
        assert_non_null(strstr(err.text, table[i].value));
    }
}

static void test_machine_xml_describes_the_same_machine(void **state)
{
    char path[] = "/tmp/ddp-topology-XXXXXX";
    struct ddp_error err = {0};
    struct ddp_machine *m = machine_synthetic(EIGHT_NODES), *again = NULL;
    (void)state;

    close(mkstemp(path));
    assert_int_equal(ddp_machine_export_xml(m, path, &err), 0);
    setenv("HWLOC_XMLFILE", path, 1);
    assert_int_equal(ddp_machine_create(&again, &err), 0);
    unsetenv("HWLOC_XMLFILE");
    unlink(path);
    assert_string_equal(ddp_machine_text(again), ddp_machine_text(m));
    assert_int_equal(ddp_machine_export_xml(m, "/nonexistent/x.xml", &err), DDP_E_IO);
    ddp_machine_destroy(again);
    ddp_machine_destroy(m);
    ddp_machine_destroy(NULL);
}

/* As an agent on another host sends it: what is barred there stays barred here. */
static void test_machine_travels_as_text(void **state)
{
    struct ddp_machine *m = machine_with_holes(TWO_PACKAGES, "0,3,5-7"), *there = NULL;
    struct ddp_error err = {0};
    char *xml = NULL;
    (void)state;
    assert_int_equal(ddp_machine_xml(m, &xml, &err), 0);
    setenv("HWLOC_SYNTHETIC", LAPTOP, 1); /* that is another matter */
    assert_int_equal(ddp_machine_from_xml(xml, &there, &err), 0);
    unsetenv("HWLOC_SYNTHETIC");
    assert_string_equal(ddp_machine_text(there), ddp_machine_text(m));
    assert_int_equal(ddp_machine_cores(there), 4);
    assert_int_equal(ddp_machine_pus(there), 5);
    ddp_machine_destroy(there);
    free(xml);
    there = NULL;
    assert_int_equal(ddp_machine_from_xml("<topology>", &there, &err), DDP_E_COMM);
    assert_int_equal(ddp_machine_from_xml("", &there, &err), DDP_E_COMM);
    assert_null(there);
    ddp_machine_destroy(m);
}

/* A machine of this affinity mask, as another host sees it. */
static void test_machine_travels_with_the_affinity_mask(void **state)
{
    cpu_set_t old, one;
    struct ddp_machine *m = NULL, *there = NULL;
    struct ddp_error err = {0};
    char *xml = NULL;
    (void)state;
    assert_int_equal(sched_getaffinity(0, sizeof old, &old), 0);
    int cpu = 0;
    while (!CPU_ISSET(cpu, &old))
        cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(ddp_machine_create(&m, &err), 0);
    assert_int_equal(sched_setaffinity(0, sizeof old, &old), 0);
    assert_int_equal(ddp_machine_xml(m, &xml, &err), 0);
    assert_int_equal(ddp_machine_from_xml(xml, &there, &err), 0);
    assert_int_equal(ddp_machine_pus(there), 1);
    assert_true(ddp_machine_is_synthetic(there));
    free(xml);
    ddp_machine_destroy(there);
    ddp_machine_destroy(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_machine_counts_synthetic_machines),
        cmocka_unit_test(test_machine_leaves_out_what_is_barred),
        cmocka_unit_test(test_machine_honours_the_affinity_mask),
        cmocka_unit_test(test_machine_refuses_what_it_cannot_read),
        cmocka_unit_test(test_machine_xml_describes_the_same_machine),
        cmocka_unit_test(test_machine_travels_as_text),
        cmocka_unit_test(test_machine_travels_with_the_affinity_mask),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
