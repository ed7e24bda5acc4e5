/* What hosts say of themselves, compared: each planted fault is one line with its host and a way out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "launcher/facts.h"

enum { HOSTS = 3 };

/* A host with which nothing is wrong. */
static json_t *good(void)
{
    return json_pack("{s:s,s:s,s:[ss],s:b,s:f,s:f,s:[],s:{}}", "program", "aaaa", "mpi", "bbbb", "data",
                     "cccc", "dddd", "run", 1, "shm", 1e9, "memory", 8e9, "gpus", "faults");
}

static const struct {
    const char *what;
    int host;
    const char *key, *value; /* a fact of that host; "{name}": a fault of it */
    double skew;
    bool computes;
    const char *says; /* "": nothing is wrong */
} cases[] = {
    {"nothing", 1, "x", "y", 0.3, true, ""},
    {"another binary", 1, "program", "eeee", 0, true,
     "n1: has another build of the program than the others; install or copy the same build to all hosts\n"},
    {"another binary, where nothing is computed", 2, "program", "eeee", 0, false,
     "n2: has another build of the program"},
    {"another plug-in", 2, "mpi", "eeee", 0, true, "n2: has another libddp_mpi.so"},
    {"other data", 1, "data", "eeee", 0, true, "n1: has other data than the others; copy the same files"},
    {"other data, where nothing is computed", 1, "data", "eeee", 0, false, ""},
    {"no data", 2, "{data}", "train-images.gz is not there", 0, true,
     "n2: train-images.gz is not there; copy"},
    {"an unwritable folder", 1, "{run}", "run.dir = \"/ro\": no", 0, true,
     "n1: run.dir = \"/ro\": no; choose a run.dir"},
    {"a folder that is missing", 1, "{folder}", "/home/me: No such file", 0, true,
     "n1: /home/me: No such file; start"},
    {"another version's keys", 1, "{config}", "unknown key 'train.x'", 0, true,
     "n1: unknown key 'train.x'; install the same version"},
    {"a clock that is ahead", 2, "x", "y", 40, true,
     "n2: its clock is 40.0 s ahead of this host's; set it by NTP"},
    {"a clock that is behind", 1, "x", "y", -40, true, "n1: its clock is 40.0 s behind this host's"},
    {"no room", 1, "shm", "1000", 0, true, "n1: /dev/shm has 1"},
};

static void plant(json_t *facts, const char *key, const char *value)
{
    if (*key == '{')
        json_object_set_new(json_object_get(facts, "faults"),
                            strcmp(key, "{data}") == 0     ? "data"
                            : strcmp(key, "{run}") == 0    ? "run"
                            : strcmp(key, "{folder}") == 0 ? "folder"
                                                           : "config",
                            json_string(value));
    else if (strcmp(key, "shm") == 0)
        json_object_set_new(facts, key, json_real(atof(value)));
    else if (strcmp(key, "data") == 0)
        json_object_set_new(facts, key, json_pack("[s]", value));
    else
        json_object_set_new(facts, key, json_string(value));
}

static void test_check_names_each_fault_once(void **state)
{
    static const char *const names[HOSTS] = {"n0", "n1", "n2"};
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        struct ddp_host_facts host[HOSTS];
        struct ddp_check_row *rows;
        struct ddp_text all;
        json_t *facts[HOSTS];
        for (int h = 0; h < HOSTS; h++) {
            facts[h] = good();
            host[h] = (struct ddp_host_facts){
                .host = names[h], .facts = facts[h], .computes = true, .skew_off = 0.1};
        }
        plant(facts[cases[i].host], cases[i].key, cases[i].value);
        host[cases[i].host].skew = cases[i].skew;
        host[cases[i].host].computes = cases[i].computes;
        const int n = ddp_facts_compare(host, HOSTS, &rows);
        ddp_text_init(&all);
        for (int r = 0; r < n; r++)
            ddp_text_append(&all, rows[r].faults.s, rows[r].faults.len);
        int lines = 0;
        for (const char *s = all.s; (s = strchr(s, '\n')); s++)
            lines++;
        if (!strstr(all.s, cases[i].says) || lines != (*cases[i].says != '\0'))
            fail_msg("%s: %s", cases[i].what, all.s);
        ddp_check_rows_free(rows, n);
        ddp_text_finish(&all);
        for (int h = 0; h < HOSTS; h++)
            json_decref(facts[h]);
    }
}

/* What another job holds travels with the topology. */
static void test_facts_tell_cores_that_are_held(void **state)
{
    char dir[] = "/tmp/ddp-test-cores-XXXXXX";
    struct ddp_claim other = {-1}, mine = {-1};
    struct ddp_machine *here = NULL, *there = NULL;
    struct ddp_error err = {0};
    const struct ddp_facts_ask ask = {"nonsense = 1;\n", "/bin/sh", "/", "", "", false, &mine, false};
    (void)state;
    assert_non_null(mkdtemp(dir));
    setenv("DDP_CORES_DIR", dir, 1);
    assert_int_equal(ddp_machine_create(&here, &err), 0);
    for (int held = 0; held < 2; held++) {
        json_t *facts = ddp_facts_read(&ask);
        const char *xml = json_string_value(json_object_get(facts, "machine"));
        assert_int_equal(ddp_machine_from_xml(xml, &there, &err), 0);
        assert_int_equal(ddp_machine_held(there) > 0, held);
        ddp_machine_destroy(there);
        json_decref(facts);
        ddp_claim_close(&mine);
        if (held)
            continue;
        const struct ddp_place_request req = {.ranks = 1, .threads = 1};
        struct ddp_placement *p;
        assert_int_equal(ddp_placement_create(here, &req, &p, &err), 0);
        ddp_claim_open(&other);
        ddp_claim_take(&other, p->place[0].pus, p->place[0].npus);
        ddp_placement_destroy(p);
    }
    ddp_claim_close(&other);
    ddp_machine_destroy(here);
    unsetenv("DDP_CORES_DIR");
    rmdir(dir);
}

/* This host, with a config that has its data in itself. */
static void test_facts_are_those_of_this_host(void **state)
{
    static const char config[] = "data = {format = \"digits\"; train_count = 64; test_count = 16;};\n";
    (void)state;
    const struct ddp_facts_ask asks[] = {
        {config, "/bin/sh", "/", "/tmp", "", false, NULL, false},
        {config, "/bin/sh", "/", "/nowhere/at/all", "/tmp/no-such-marker", true, NULL, false},
        {"nonsense = 1;\n", "/no/such/program", "/no/such/folder", "", "", true, NULL, false},
    };
    json_t *a = ddp_facts_read(&asks[0]), *b = ddp_facts_read(&asks[1]), *c = ddp_facts_read(&asks[2]);
    assert_int_equal(json_object_size(json_object_get(a, "faults")), 0);
    assert_int_equal(strlen(json_string_value(json_object_get(a, "program"))), 64);
    assert_int_equal(json_array_size(json_object_get(a, "data")), 2);
    assert_true(json_equal(json_object_get(a, "data"), json_object_get(b, "data")));
    assert_non_null(strstr(json_string_value(json_object_get(a, "machine")), "<topology"));
    assert_non_null(json_object_get(json_object_get(b, "faults"), "run"));
    static const char *const faults[] = {"config", "program", "folder"};
    for (size_t i = 0; i < DDP_COUNT(faults); i++)
        assert_non_null(json_object_get(json_object_get(c, "faults"), faults[i]));
    json_decref(a);
    json_decref(b);
    json_decref(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check_names_each_fault_once),
        cmocka_unit_test(test_facts_are_those_of_this_host),
        cmocka_unit_test(test_facts_tell_cores_that_are_held),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
