/* Bounds on memory, read from copies of /proc and /sys in a folder of our own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "comm/memory.h"
#include "comm/segment.h"

static char root[64];

static void put(const char *path, const char *text)
{
    char full[512];
    snprintf(full, sizeof full, "%s%s", root, path);
    *strrchr(full, '/') = '\0';
    assert_int_equal(ddp_dir_make(full, NULL), 0);
    snprintf(full, sizeof full, "%s%s", root, path);
    FILE *f = fopen(full, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int make_root(void **state)
{
    (void)state;
    strcpy(root, "/tmp/ddp-test-memory-XXXXXX");
    return mkdtemp(root) == NULL;
}

static int remove_root(void **state)
{
    (void)state;
    return ddp_dir_remove(root, NULL);
}

#define MEMINFO "MemTotal:       4000 kB\nMemFree:         100 kB\nMemAvailable:   3000 kB\nBuffers: 1 kB\n"

static void test_available_unknown_without_files(void **state)
{
    (void)state;
    const char *limit = NULL;
    assert_true(ddp_memory_available(root, &limit) == UINT64_MAX);
    assert_string_equal(limit, "unknown");
    assert_int_equal(ddp_memory_check(root, (uint64_t)1 << 60, "x", NULL), 0);
}

static void test_available_from_meminfo(void **state)
{
    (void)state;
    const char *limit = NULL;
    put("/proc/meminfo", MEMINFO);
    assert_int_equal(ddp_memory_available(root, &limit), 3000 * 1024);
    assert_non_null(strstr(limit, "MemAvailable"));
    put("/proc/self/cgroup", "garbage\n1:name=systemd:/x\n0::relative\n\n");
    assert_int_equal(ddp_memory_available(root, NULL), 3000 * 1024);
}

static void test_available_from_group_v2(void **state)
{
    (void)state;
    const char *limit = NULL;
    put("/proc/meminfo", MEMINFO);
    put("/proc/self/cgroup", "1:name=systemd:/job\n0::/job/step\n");
    put("/sys/fs/cgroup/job/step/memory.max", "max\n");
    put("/sys/fs/cgroup/job/step/memory.current", "5\n");
    assert_int_equal(ddp_memory_available(root, &limit), 3000 * 1024); /* no limit of its own */
    put("/sys/fs/cgroup/job/memory.max", "1000000\n");
    put("/sys/fs/cgroup/job/memory.current", "400000\n");
    assert_int_equal(ddp_memory_available(root, &limit), 600000); /* the parent's counts */
    assert_non_null(strstr(limit, "control group"));
    put("/sys/fs/cgroup/job/memory.stat", "anon 5\ninactive_file 100000\nslab 3\n");
    assert_int_equal(ddp_memory_available(root, NULL), 700000); /* page cache can go */
    put("/sys/fs/cgroup/job/step/memory.max", "500\n");
    assert_int_equal(ddp_memory_available(root, NULL), 495); /* the least of all levels */
    put("/sys/fs/cgroup/job/step/memory.current", "900\n");
    assert_int_equal(ddp_memory_available(root, NULL), 0); /* over the limit already */
    put("/sys/fs/cgroup/job/step/memory.current", "5\n");
    put("/sys/fs/cgroup/memory.max", "300\n"); /* the root of a container */
    put("/sys/fs/cgroup/memory.current", "0\n");
    assert_int_equal(ddp_memory_available(root, NULL), 300);
}

static void test_available_from_group_v1(void **state)
{
    (void)state;
    put("/proc/meminfo", MEMINFO);
    put("/proc/self/cgroup", "5:cpu,cpuacct:/a\n9:memory:/docker/x\n");
    put("/sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes", "2000000\n");
    put("/sys/fs/cgroup/memory/docker/x/memory.usage_in_bytes", "500000\n");
    assert_int_equal(ddp_memory_available(root, NULL), 1500000);
    put("/sys/fs/cgroup/memory/docker/x/memory.stat", "inactive_file 7\ntotal_inactive_file 1000\n");
    assert_int_equal(ddp_memory_available(root, NULL), 1501000);
    put("/sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes", "9223372036854771712\n"); /* none */
    assert_int_equal(ddp_memory_available(root, NULL), 3000 * 1024);
}

static void test_check_names_sizes(void **state)
{
    (void)state;
    struct ddp_error err = {0};
    put("/proc/meminfo", MEMINFO);
    assert_int_equal(ddp_memory_check(root, 3000 * 1024, "segment", &err), 0);
    assert_int_equal(ddp_memory_check(root, 3000 * 1024 + 1, "segment", &err), DDP_E_RESOURCE);
    assert_non_null(strstr(err.text, "segment: 3.1 MB of memory are needed, 3.1 MB are available"));
}

/* A key that does not lead to rank 0's segment is refused, not mapped. */
static void test_segment_open_refuses_others(void **state)
{
    (void)state;
    struct ddp_error err = {0};
    struct ddp_segment_key key, wrong;
    void *base = NULL, *other = NULL;
    assert_int_equal(ddp_segment_create(8192, &key, &base, &err), 0);
    ((char *)base)[5000] = 7;
    assert_int_equal(ddp_segment_open(&key, &other, &err), 0);
    assert_ptr_not_equal(base, other);
    assert_int_equal(((char *)other)[5000], 7);
    ddp_segment_unmap(other, 8192);
    other = NULL;
    wrong = key;
    wrong.inode++;
    assert_int_equal(ddp_segment_open(&wrong, &other, &err), DDP_E_RESOURCE);
    wrong = key;
    wrong.bytes += 4096;
    assert_int_equal(ddp_segment_open(&wrong, &other, &err), DDP_E_RESOURCE);
    assert_non_null(strstr(err.text, "PID namespaces"));
    wrong = key;
    wrong.fd = 100000;
    assert_int_equal(ddp_segment_open(&wrong, &other, &err), DDP_E_RESOURCE);
    ddp_segment_close(&key);
    assert_int_equal(ddp_segment_open(&key, &other, &err), DDP_E_RESOURCE);
    assert_null(other);
    ddp_segment_unmap(base, 8192);
    ddp_segment_unmap(NULL, 8192);
}

int main(void)
{
#define IN_ROOT(test) cmocka_unit_test_setup_teardown(test, make_root, remove_root)
    const struct CMUnitTest tests[] = {
        IN_ROOT(test_available_unknown_without_files),
        IN_ROOT(test_available_from_meminfo),
        IN_ROOT(test_available_from_group_v2),
        IN_ROOT(test_available_from_group_v1),
        IN_ROOT(test_check_names_sizes),
        cmocka_unit_test(test_segment_open_refuses_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
