/* Which network hosts use: chosen from what they have and whom they reached (pure), and the reaching itself,
 * over this host's loopback. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "launcher/network.h"
#include "launcher/reach.h"

/* ---- choosing -------------------------------------------------------------------------------- */

enum { MOST = 3 };

/* "eth0 10.1.0.1 10.1.0.0/24; docker0 172.17.0.1 172.17.0.0/16" */
static json_t *read_addresses(const char *text)
{
    json_t *list = json_array();
    for (const char *at = text; *at;) {
        char interface[16], address[32], net[32];
        int used = 0;
        assert_int_equal(sscanf(at, " %15s %31s %31[^;]%n", interface, address, net, &used), 3);
        json_array_append_new(list, json_pack("{s:s,s:s,s:s,s:b}", "interface", interface, "address", address,
                                              "net", net, "bridge", 0));
        at += used + (at[used] == ';');
    }
    return list;
}

/* "n1 10.1.0.2; n2 10.1.0.3" */
static json_t *read_reached(const char *text)
{
    json_t *all = json_object();
    for (const char *at = text; *at;) {
        char host[16], address[32];
        int used = 0;
        assert_int_equal(sscanf(at, " %15s %31[^;]%n", host, address, &used), 2);
        if (!json_object_get(all, host))
            json_object_set_new(all, host, json_array());
        json_array_append_new(json_object_get(all, host), json_string(address));
        at += used + (at[used] == ';');
    }
    return all;
}

static const struct {
    const char *what;
    struct {
        const char *addresses, *reached;
    } host[MOST]; /* n0, n1, .. */
    const char *wanted, *net, *interface1, *fault;
} cases[] = {
    {"one network",
     {{"eth0 10.1.0.1 10.1.0.0/24", "n1 10.1.0.2"}, {"eth0 10.1.0.2 10.1.0.0/24", "n0 10.1.0.1"}},
     "",
     "10.1.0.0/24",
     "eth0",
     ""},
    {"interfaces with other names, and one of an administrator's that others do not have",
     {{"mgmt 192.168.9.1 192.168.9.0/24; ib0 10.1.0.1 10.1.0.0/24", "n1 10.1.0.2"},
      {"ib1 10.1.0.2 10.1.0.0/24", "n0 10.1.0.1"}},
     "",
     "10.1.0.0/24",
     "ib1",
     ""},
    {"a bridge of containers on every host, with the same address",
     {{"docker0 172.17.0.1 172.17.0.0/16; eth0 10.1.0.1 10.1.0.0/24", "n1 10.1.0.2"},
      {"docker0 172.17.0.1 172.17.0.0/16; eth0 10.1.0.2 10.1.0.0/24", "n0 10.1.0.1"}},
     "",
     "10.1.0.0/24",
     "eth0",
     ""},
    {"the first of two that both work",
     {{"eth0 10.1.0.1 10.1.0.0/24; eth1 10.2.0.1 10.2.0.0/24", "n1 10.1.0.2; n1 10.2.0.2"},
      {"eth0 10.1.0.2 10.1.0.0/24; eth1 10.2.0.2 10.2.0.0/24", "n0 10.1.0.1; n0 10.2.0.1"}},
     "",
     "10.1.0.0/24",
     "eth0",
     ""},
    {"the one that was asked for",
     {{"eth0 10.1.0.1 10.1.0.0/24; eth1 10.2.0.1 10.2.0.0/24", "n1 10.1.0.2; n1 10.2.0.2"},
      {"eth0 10.1.0.2 10.1.0.0/24; eth1 10.2.0.2 10.2.0.0/24", "n0 10.1.0.1; n0 10.2.0.1"}},
     "eth1",
     "10.2.0.0/24",
     "eth1",
     ""},
    {"a net that was asked for",
     {{"eth0 10.1.0.1 10.1.0.0/24; eth1 10.2.0.1 10.2.0.0/24", "n1 10.1.0.2; n1 10.2.0.2"},
      {"eth0 10.1.0.2 10.1.0.0/24; eth5 10.2.0.2 10.2.0.0/24", "n0 10.1.0.1; n0 10.2.0.1"}},
     "10.2.0.0/24",
     "10.2.0.0/24",
     "eth5",
     ""},
    {"hosts in different nets that are routed",
     {{"eth0 10.1.0.1 10.1.0.0/24", "n1 10.2.0.2"}, {"eth0 10.2.0.2 10.2.0.0/24", "n0 10.1.0.1"}},
     "",
     "",
     "",
     ""},
    {"and an interface by its name there",
     {{"eth0 10.1.0.1 10.1.0.0/24", "n1 10.2.0.2"}, {"eth0 10.2.0.2 10.2.0.0/24", "n0 10.1.0.1"}},
     "eth0",
     "eth0",
     "eth0",
     ""},
    {"one that is not there",
     {{"eth0 10.1.0.1 10.1.0.0/24", "n1 10.1.0.2"}, {"eth0 10.1.0.2 10.1.0.0/24", "n0 10.1.0.1"}},
     "ib0",
     "",
     "",
     "n1: comm.interface = \"ib0\" is not there; it has eth0 (10.1.0.0/24)"},
    {"a firewall before one",
     {{"eth0 10.1.0.1 10.1.0.0/24", "n2 10.1.0.3"},
      {"eth0 10.1.0.2 10.1.0.0/24", "n0 10.1.0.1; n2 10.1.0.3"},
      {"eth0 10.1.0.3 10.1.0.0/24", "n0 10.1.0.1; n1 10.1.0.2"}},
     "",
     "",
     "",
     "n1: cannot be reached from n0 (tried 10.1.0.2"},
};

static void test_network_is_one_in_which_all_reach_all(void **state)
{
    static const char *const names[] = {"n0", "n1", "n2"};
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        struct ddp_network_host host[MOST];
        struct ddp_network net;
        struct ddp_text faults;
        int n = 0;
        for (; n < MOST && cases[i].host[n].addresses; n++)
            host[n] = (struct ddp_network_host){names[n], read_addresses(cases[i].host[n].addresses),
                                                read_reached(cases[i].host[n].reached)};
        ddp_text_init(&faults);
        ddp_network_choose(host, n, cases[i].wanted, &net, &faults);
        if (strcmp(net.net, cases[i].net) != 0 || strcmp(net.interface[1], cases[i].interface1) != 0 ||
            !strstr(faults.s, cases[i].fault) || (faults.len > 0) != (*cases[i].fault != '\0'))
            fail_msg("%s: '%s', '%s', faults: %s", cases[i].what, net.net, net.interface[1], faults.s);
        for (int k = 0; k < n; k++) {
            json_decref((json_t *)(uintptr_t)host[k].addresses);
            json_decref((json_t *)(uintptr_t)host[k].reached);
        }
        free(net.interface);
        ddp_text_finish(&faults);
    }
}

/* ---- reaching -------------------------------------------------------------------------------- */

static const char token[] = "0123456789abcdef0123456789abcdef", wrong[] = "ffffffffffffffffffffffffffffffff";

static void test_reach_hears_only_the_right_host(void **state)
{
    struct ddp_error err = {0};
    pid_t pid = 0;
    int port = 0;
    (void)state;
    assert_int_equal(ddp_reach_answer(token, "n1", &pid, &port, &err), 0);
    /* n2 has the same address for itself, as two hosts' bridges have: n1 answers */
    json_t *peers = json_pack("[{s:s,s:i,s:[{s:s},{s:s}]},{s:s,s:i,s:[{s:s}]}]", "host", "n1", "port", port,
                              "addresses", "address", "127.0.0.1", "address", "127.0.0.2", "host", "n2",
                              "port", port, "addresses", "address", "127.0.0.1");
    json_t *reached = ddp_reach_try(token, peers, 10);
    assert_int_equal(json_array_size(json_object_get(reached, "n1")), 2);
    assert_null(json_object_get(reached, "n2"));
    json_decref(reached);
    reached = ddp_reach_try(wrong, peers, 10);
    assert_int_equal(json_object_size(reached), 0);
    json_decref(reached);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    reached = ddp_reach_try(token, peers, 10); /* refused */
    assert_int_equal(json_object_size(reached), 0);
    json_decref(reached);
    json_decref(peers);
}

static void test_reach_measures(void **state)
{
    struct ddp_error err = {0};
    struct ddp_reach_speed speed = {0};
    pid_t pid = 0;
    int port = 0;
    (void)state;
    assert_int_equal(ddp_reach_answer(token, "n1", &pid, &port, &err), 0);
    if (ddp_reach_measure(token, "127.0.0.1", port, &speed, &err) != 0)
        fail_msg("%s", err.text);
    assert_true(speed.latency_s > 0 && speed.latency_s < 1);
    assert_true(speed.bytes_s > 1e6);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    assert_int_equal(ddp_reach_measure(token, "127.0.0.1", port, &speed, &err), DDP_E_COMM);
    assert_non_null(strstr(err.text, "127.0.0.1 does not answer"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_network_is_one_in_which_all_reach_all),
        cmocka_unit_test(test_reach_hears_only_the_right_host),
        cmocka_unit_test(test_reach_measures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
