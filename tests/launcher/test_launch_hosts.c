/* Hosts from -H and --hostfile: brackets multiplied out, slots counted, and what is refused with the place
 * and the way out. */
#include "tests/launcher/hosts_text.h"

#define LONG60  "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffff"
#define LONG240 LONG60 LONG60 LONG60 LONG60

/* ---- bracket lists --------------------------------------------------------------------------- */

static void test_hostlist_multiplies_out(void **state)
{
    static const char *const table[][2] = {
        {"n0", "n0"},
        {"a,b,a", "a b a"},
        {"n[0]", "n0"},
        {"n[0-3]", "n0 n1 n2 n3"},
        {"n[2,0]", "n2 n0"},
        {"n[8-11]", "n8 n9 n10 n11"},
        {"n[08-11]", "n08 n09 n10 n11"},
        {"n[001,003-005]", "n001 n003 n004 n005"},
        {"n[098-101]", "n098 n099 n100 n101"},
        {"n[99-101]", "n99 n100 n101"},
        {"n[0-1,00-01]", "n0 n1 n00 n01"},
        {"n[1-1]", "n1"},
        {"n[00-1]", "n00 n01"},
        {"[0-1]", "0 1"},
        {"[0-1]n", "0n 1n"},
        {"n[0-1]-ib0.cluster", "n0-ib0.cluster n1-ib0.cluster"},
        {"r[0-1]_b[0-1]", "r0_b0 r0_b1 r1_b0 r1_b1"},
        {"r[0-1][0-1]", "r00 r01 r10 r11"},
        {"r[0,2]b[1]c[3-4]x", "r0b1c3x r0b1c4x r2b1c3x r2b1c4x"},
        {"nodeA,nodeB[001,003-004],rack[0-1]_blade[0-1]",
         "nodeA nodeB001 nodeB003 nodeB004 rack0_blade0 rack0_blade1 rack1_blade0 rack1_blade1"},
        {"10.0.0.[1-2]", "10.0.0.1 10.0.0.2"},
        {"n[999999998-999999999]", "n999999998 n999999999"},
    };
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        struct ddp_words names = {0};
        struct ddp_error err = {0};
        struct ddp_text t;
        if (ddp_hostlist_expand(table[i][0], &names, &err) != 0)
            fail_msg("%s: %s", table[i][0], err.text);
        ddp_text_init(&t);
        for (int k = 0; k < names.n; k++)
            ddp_text_add(&t, "%s%s", k ? " " : "", names.w[k]);
        if (strcmp(t.s, table[i][1]) != 0)
            fail_msg("%s: '%s' and not '%s'", table[i][0], t.s, table[i][1]);
        ddp_text_finish(&t);
        ddp_words_finish(&names);
    }
}

static void test_hostlist_refuses(void **state)
{
    static const struct {
        const char *text, *says[3];
    } table[] = {
        {"", {"at its end, character 1", "a host's name is missing"}},
        {"a,", {"at its end, character 3", "name is missing"}},
        {",a", {"at character 1, before ',a'", "name is missing"}},
        {"a,,b", {"at character 3, before ',b'"}},
        {"n[", {"at its end, character 3", "a number is missing", "[001,003-010]"}},
        {"n[]", {"at character 3, before ']'", "a number is missing"}},
        {"n[0-]", {"at character 5, before ']'", "a number is missing"}},
        {"n[0", {"at its end", "']' is missing"}},
        {"n[0-3", {"at its end", "']' is missing"}},
        {"n[0-3,", {"at its end", "a number is missing"}},
        {"n[0;3]", {"at character 4, before ';3]'", "inside brackets there are numbers"}},
        {"n[a-b]", {"at character 3, before 'a-b]'", "a number is missing"}},
        {"n[-3]", {"at character 3", "a number is missing"}},
        {"n[0--3]", {"at character 5", "a number is missing"}},
        {"n[0-3-5]", {"at character 6, before '-5]'", "inside brackets"}},
        {"n[[0]]", {"at character 3, before '[0]]'", "a number is missing"}},
        {"n[5-3]", {"at character 3, before '5-3]'", "backwards"}},
        {"n[1-010]", {"at character 3", "leading zeros", "[001-010] or [1-10]"}},
        {"n]", {"at character 2, before ']'", "no bracket is open"}},
        {"n[0]]", {"at character 5, before ']'", "no bracket is open"}},
        {"n[1234567890]", {"at character 3", "more than 9 digits"}},
        {"n[0-999999999]", {"at character 3, before '0-999999999]'", "more than 65536 hosts"}},
        {"n[0-65536]", {"more than 65536 hosts"}},
        {"n[0-255][0-256]", {"at character 10, before '0-256]'", "more than 65536 hosts"}},
        {"n[0-65535][0-65535][0-65535]", {"at character 12", "more than 65536 hosts"}},
        {"n[0-40000],m[0-40000]", {"more than 65536 hosts"}},
        {"root@n0", {"at character 5, before '@n0'", "without a user", "~/.ssh/config"}},
        {"-oProxyCommand=x", {"at character 1", "begins with '-'"}},
        {".n", {"begins with '.'"}},
        {"a;b", {"at character 2, before ';b'", "letters, digits, '-', '_' and '.'"}},
        {"a/b", {"at character 2, before '/b'"}},
        {"a\033[2J", {"at character 2, before '?[2J'"}},
        {"a b", {"at character 2, before ' b'", "parted by commas"}},
        {LONG240 "0123456789abcd", {"at character 1", "more than 253 characters"}},
    };
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        struct ddp_words names = {0};
        struct ddp_error err = {0};
        const char *says[4] = {table[i].says[0], table[i].says[1], table[i].says[2], NULL};
        if (ddp_hostlist_expand(table[i].text, &names, &err) != DDP_E_USAGE)
            fail_msg("'%s' was accepted", table[i].text);
        assert_says(table[i].text, &err, says);
        ddp_words_finish(&names);
    }
}

/* Whatever is asked for, nothing is made that is too much: memory and time stay small. */
static void test_hostlist_refuses_before_it_expands(void **state)
{
    (void)state;
    const long before = ddp_alloc_count();
    struct ddp_words names = {0};
    struct ddp_error err = {0};
    assert_int_equal(ddp_hostlist_expand("n[0-999999999]", &names, &err), DDP_E_USAGE);
    assert_int_equal(ddp_hostlist_expand("n[0-9][0-999999999][0-999999999]", &names, &err), DDP_E_USAGE);
    assert_true(ddp_alloc_count() - before < 100);
    ddp_words_finish(&names);
}

/* ---- -H -------------------------------------------------------------------------------------- */

static void test_hosts_parse(void **state)
{
    static const char *const table[][2] = {
        {"n0", "n0"},
        {"n0,n1", "n0 n1"},
        {"n0:4,n1:4", "n0/4 n1/4"},
        {" n0:4 , n1 ", "n0/4 n1"},
        {"n[0-2]:2", "n0/2 n1/2 n2/2"},
        {"n[0-1]:2,n2:1", "n0/2 n1/2 n2/1"},
        {"n0,n0", "n0/2"},
        {"n0,n1,n0,n0", "n0/3 n1"},
        {"n0:4,n0", "n0/5"},
        {"n0,n0:4", "n0/5"},
        {"n0:2,n0:3", "n0/5"},
        {"n1,n0", "n1 n0"},
        {"localhost:2", "localhost/2"},
        {"10.1.2.3:65536", "10.1.2.3/65536"},
        {"n0:007", "n0/7"},
    };
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        struct ddp_hosts hosts;
        struct ddp_error err = {0};
        if (ddp_hosts_parse(table[i][0], &hosts, &err) != 0)
            fail_msg("%s: %s", table[i][0], err.text);
        assert_string_equal(hosts.from, "-H");
        assert_false(hosts.allocated);
        assert_hosts(table[i][0], &hosts, table[i][1]);
    }
}

static void test_hosts_parse_refuses(void **state)
{
    static const struct {
        const char *text, *says[3];
    } table[] = {
        {"", {"-H :", "a host's name is missing"}},
        {"n0:", {"-H n0:: at its end", "from 1 to 65536"}},
        {"n0:0", {"at character 4, before '0'", "from 1 to 65536"}},
        {"n0:-1", {"at character 4, before '-1'"}},
        {"n0:x", {"at character 4, before 'x'"}},
        {"n0:4x", {"at character 5, before 'x'", "as in n0:4,n1:4"}},
        {"n0:65537", {"from 1 to 65536"}},
        {"n0:99999999999999999999", {"from 1 to 65536"}},
        {"n0:65536,n0:1", {"host n0 has more than 65536 slots"}},
        {"n0 n1", {"-H n0 n1: at character 4, before 'n1'", "parted by commas"}},
        {"n0=4", {"at character 3, before '=4'", "n0:4,n1:4"}},
        {"fe80:1:2", {"an IPv6 address needs a name"}},
        {"::1", {"at character 1, before '::1'", "name is missing"}},
        {"n0,n[0-", {"at its end, character 8"}},
    };
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        struct ddp_hosts hosts;
        struct ddp_error err = {0};
        const char *says[4] = {table[i].says[0], table[i].says[1], table[i].says[2], NULL};
        if (ddp_hosts_parse(table[i].text, &hosts, &err) != DDP_E_USAGE)
            fail_msg("'%s' was accepted", table[i].text);
        assert_says(table[i].text, &err, says);
    }
}

/* 65,536 hosts, each named twice: found again by hash. */
static void test_hosts_parse_many(void **state)
{
    struct ddp_hosts hosts;
    struct ddp_error err = {0};
    (void)state;
    assert_int_equal(ddp_hosts_parse("n[00000-65535]:1,n[00000-65535]:3", &hosts, &err), 0);
    assert_int_equal(hosts.n, 65536);
    for (int i = 0; i < hosts.n; i++) {
        char name[16];
        snprintf(name, sizeof name, "n%05d", i);
        assert_string_equal(hosts.host[i].name, name);
        assert_int_equal(hosts.host[i].slots, 4);
    }
    ddp_hosts_finish(&hosts);
    assert_int_equal(ddp_hosts_parse("n[0-65535],m", &hosts, &err), DDP_E_USAGE);
    assert_non_null(strstr(err.text, "more than 65536 hosts"));
}

/* ---- --hostfile ------------------------------------------------------------------------------ */

static void test_hosts_read(void **state)
{
    static const char *const table[][2] = {
        {"n0\n", "n0"},
        {"n0", "n0"},
        {"n0 slots=4\nn1 slots=2\n", "n0/4 n1/2"},
        {"n0:4\nn1:2\n", "n0/4 n1/2"},
        {"n0 4\nn1 2\n", "n0/4 n1/2"},
        {"# all of it\n\n  n0 slots=4 # the first\n\t n1\n#n2\n", "n0/4 n1"},
        {"n0 slots = 4 max_slots = 8\n", "n0/4"},
        {"n0 max-slots=8 slots=4\n", "n0/4"},
        {"n0 max_slots=8\n", "n0/8"},
        {"n0 SLOTS=4\n", "n0/4"},
        {"n0 cpu=4\n", "n0/4"},
        {"n0 slots=4\r\nn1:2\r\nn2\r\n", "n0/4 n1/2 n2"},
        {"n0\nn0\nn1\n", "n0/2 n1"},
        {"n0 slots=2\nn1\nn0 slots=2\n", "n0/4 n1"},
        {"n[01-03] slots=2\nm[0-1]:3\n", "n01/2 n02/2 n03/2 m0/3 m1/3"},
        {"n0:2 max_slots=4\n", "n0/2"},
    };
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        char path[64], from[128];
        struct ddp_hosts hosts;
        struct ddp_error err = {0};
        write_hosts_file(path, table[i][0]);
        if (ddp_hosts_read(path, &hosts, &err) != 0)
            fail_msg("%s: %s", table[i][0], err.text);
        unlink(path);
        snprintf(from, sizeof from, "--hostfile %s", path);
        assert_string_equal(hosts.from, from);
        assert_hosts(table[i][0], &hosts, table[i][1]);
    }
}

static void test_hosts_read_refuses(void **state)
{
    static const struct {
        const char *text, *says[3];
    } table[] = {
        {"", {"no host is named in it", "n0 slots=4"}},
        {"# n0\n\n", {"no host is named in it"}},
        {"n0\nn1 slots=\n", {":2: at its end", "from 1 to 65536"}},
        {"n0 slots=0\n", {":1: at character 10, before '0'"}},
        {"n0 slots=4x\n", {":1: at character 11, before 'x'", "a blank is missing"}},
        {"n0 slots=4 slots=5\n", {":1: at character 12", "given twice"}},
        {"n0:4 slots=5\n", {"given twice"}},
        {"n0 4 5\n", {"given twice"}},
        {"n0 slots=4 max_slots=2\n", {"slots=4 is more than max_slots=2"}},
        {"n0 slot4\n", {"at character 4, before 'slot4'", "name slots=4"}},
        {"n0 user=me\n", {"at character 4, before 'user=me'", "not understood"}},
        {"n0:4 ifname=eth0\n", {"not understood"}},
        {"n0,n1\n", {":1: at character 3, before ',n1'", "one host or bracket list on each line"}},
        {"n0=4\n", {"at character 3, before '=4'", "not understood"}},
        {"\n\n\nn[3-1]\n", {":4: at character 3", "backwards"}},
        {"me@n0\n", {"without a user"}},
        {"n0:x\n", {"from 1 to 65536"}},
    };
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        char path[64];
        struct ddp_hosts hosts;
        struct ddp_error err = {0};
        const char *says[6] = {"--hostfile: ", path, table[i].says[0], table[i].says[1], table[i].says[2]};
        write_hosts_file(path, table[i].text);
        if (ddp_hosts_read(path, &hosts, &err) != DDP_E_USAGE)
            fail_msg("'%s' was accepted", table[i].text);
        assert_says(table[i].text, &err, says);
        unlink(path);
    }
    struct ddp_hosts hosts;
    struct ddp_error err = {0};
    assert_int_equal(ddp_hosts_read("/nonexistent/hosts", &hosts, &err), DDP_E_IO);
    assert_says("missing", &err, (const char *const[]){"--hostfile: /nonexistent/hosts", NULL});
}

static void test_hosts_read_refuses_bytes(void **state)
{
    char path[] = "/tmp/ddp-hosts-XXXXXX";
    struct ddp_hosts hosts;
    struct ddp_error err = {0};
    (void)state;
    const int fd = mkstemp(path);
    assert_int_equal(write(fd, "n0\n\0n1\n", 7), 7);
    close(fd);
    assert_int_equal(ddp_hosts_read(path, &hosts, &err), DDP_E_USAGE);
    assert_says("NUL", &err, (const char *const[]){path, "no text: a byte 0 at 3", NULL});
    unlink(path);
}

/* ---- this host ------------------------------------------------------------------------------- */

static void test_host_is_self(void **state)
{
    static const struct {
        const char *name, *self;
        bool is;
    } table[] = {
        {"n0", "n0", true},
        {"N0", "n0", true},
        {"n0", "n0.cluster.org", true},
        {"n0.cluster.org", "n0", true},
        {"n0.cluster", "n0.cluster.org", true},
        {"n0", "n01", false},
        {"n01", "n0", false},
        {"n0.a", "n0.b", false},
        {"n1", "n0", false},
        {"", "n0", false},
        {"n0", "", false},
        {"localhost", "n0", true},
        {"127.0.0.1", "n0", true},
        {"127.0.1.1", "n0", true},
        {"10.0.0.1", "10.0.0.1", true},
        {"10.0.0", "10.0.0.1", false},
        {"10.0.0.1", "n0", false},
    };
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(table); i++)
        if (ddp_host_is_self(table[i].name, table[i].self) != table[i].is)
            fail_msg("'%s' on '%s'", table[i].name, table[i].self);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hostlist_multiplies_out),
        cmocka_unit_test(test_hostlist_refuses),
        cmocka_unit_test(test_hostlist_refuses_before_it_expands),
        cmocka_unit_test(test_hosts_parse),
        cmocka_unit_test(test_hosts_parse_refuses),
        cmocka_unit_test(test_hosts_parse_many),
        cmocka_unit_test(test_hosts_read),
        cmocka_unit_test(test_hosts_read_refuses),
        cmocka_unit_test(test_hosts_read_refuses_bytes),
        cmocka_unit_test(test_host_is_self),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
