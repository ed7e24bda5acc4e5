/* The counters of the out-of-memory killer, in trees of files as the kernel shows them. */
#include "cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/oom.h"

static char root[] = "/tmp/ddp-test-oom-XXXXXX";

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

static const struct {
    const char *name, *cgroup, *file, *before, *after, *vmstat_before, *vmstat_after, *says; /* "": nothing */
} cases[] = {
    {"version 2", "0::/job/7\n", "sys/fs/cgroup/job/7/memory.events", "low 0\nmax 9\noom 1\noom_kill 1\n",
     "oom 2\noom_kill 2\n", "oom_kill 5\n", "oom_kill 6\n", "memory ran out"},
    {"version 2, nothing", "0::/job/7\n", "sys/fs/cgroup/job/7/memory.events", "oom_kill 1\n", "oom_kill 1\n",
     "oom_kill 5\n", "oom_kill 5\n", ""},
    {"version 2 in a container", "0::/docker/abc\n", "sys/fs/cgroup/memory.events", "oom_kill 0\n",
     "oom_kill 1\n", "", "", "memory.events: oom_kill 1, 0 before"},
    {"version 1", "9:cpu,cpuacct:/x\n4:hugetlb,memory:/job\n1:name=systemd:/\n0::/\n",
     "sys/fs/cgroup/memory/job/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n",
     "oom_kill_disable 0\nunder_oom 1\noom_kill 3\n", "oom_kill 0\n", "oom_kill 3\n",
     "oom_control: oom_kill 3"},
    {"hybrid", "0::/job\n", "sys/fs/cgroup/unified/job/memory.events", "oom_kill 0\n", "oom_kill 1\n", "", "",
     "memory ran out"},
    {"another group of this machine", "0::/job\n", "sys/fs/cgroup/job/memory.events", "oom_kill 0\n",
     "oom_kill 0\n", "oom_kill 2\n", "oom_kill 3\n", "on this machine meanwhile"},
    {"no groups", "", "sys/none", "", "", "oom_kill 2\n", "oom_kill 3\n", "may have run out"},
    {"no counters", "", "sys/none", "", "", "", "", ""},
};

static void test_oom_is_told_by_what_rose(void **state)
{
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        struct ddp_oom before, after;
        char text[1024];
        assert_int_equal(ddp_dir_remove(root, NULL), 0);
        put("proc/self/cgroup", cases[i].cgroup);
        put(cases[i].file, cases[i].before);
        put("proc/vmstat", cases[i].vmstat_before);
        ddp_oom_read(root, &before);
        put(cases[i].file, cases[i].after);
        put("proc/vmstat", cases[i].vmstat_after);
        ddp_oom_read(root, &after);
        ddp_oom_word(&before, &after, text, sizeof text);
        if (*cases[i].says ? !strstr(text, cases[i].says) : *text != '\0')
            fail_msg("%s: said '%s'", cases[i].name, text);
    }
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
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_oom_is_told_by_what_rose)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
