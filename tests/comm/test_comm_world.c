/* How a process finds out whether it is one of several, and on what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/transport.h"

static const char *const variables[] = {"OMPI_COMM_WORLD_SIZE",
                                        "PMI_SIZE",
                                        "PMIX_RANK",
                                        "PMI_RANK",
                                        "PMI_FD",
                                        "SLURM_PROCID",
                                        "SLURM_STEP_NUM_TASKS",
                                        "OMPI_COMM_WORLD_LOCAL_RANK",
                                        "MPI_LOCALRANKID",
                                        "SLURM_LOCALID",
                                        "DDP_RANK",
                                        "DDP_RANKS"};

static void forget(void)
{
    for (size_t i = 0; i < DDP_COUNT(variables); i++)
        unsetenv(variables[i]);
}

static void test_launched_reads_environment(void **state)
{
    (void)state;
    static const struct {
        const char *name, *value, *name2, *value2;
        int want;
    } cases[] = {
        {NULL, NULL, NULL, NULL, 1},
        {"OMPI_COMM_WORLD_SIZE", "4", NULL, NULL, 4},
        {"OMPI_COMM_WORLD_SIZE", "1", NULL, NULL, 1},
        {"OMPI_COMM_WORLD_SIZE", "2", "PMI_SIZE", "1", 2},
        {"PMI_SIZE", "3", NULL, NULL, 3},
        {"PMI_SIZE", "3", "PMI_RANK", "0", 3},
        {"PMIX_RANK", "0", NULL, NULL, 0},
        {"PMI_FD", "7", NULL, NULL, 0},
        {"SLURM_PROCID", "0", NULL, NULL, 1},         /* a batch script */
        {"SLURM_STEP_NUM_TASKS", "1", NULL, NULL, 1}, /* srun -n 1 */
        {"SLURM_STEP_NUM_TASKS", "4", "PMIX_RANK", "0", 0},
        {"SLURM_STEP_NUM_TASKS", "4", NULL, NULL, DDP_E_COMM},
        {"OMPI_COMM_WORLD_SIZE", "", NULL, NULL, DDP_E_COMM},
        {"OMPI_COMM_WORLD_SIZE", "0", NULL, NULL, DDP_E_COMM},
        {"OMPI_COMM_WORLD_SIZE", "two", NULL, NULL, DDP_E_COMM},
        {"PMI_SIZE", "-1", NULL, NULL, DDP_E_COMM},
    };
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        struct ddp_error err = {0};
        forget();
        if (cases[i].name != NULL)
            setenv(cases[i].name, cases[i].value, 1);
        if (cases[i].name2 != NULL)
            setenv(cases[i].name2, cases[i].value2, 1);
        assert_int_equal(ddp_comm_launched(&err), cases[i].want);
        assert_int_equal(err.code, cases[i].want < 0 ? cases[i].want : 0);
        if (cases[i].want < 0)
            assert_non_null(strstr(err.text, cases[i].name[0] == 'S' ? "--mpi=pmix" : cases[i].name));
    }
    forget();
}

static bool is_loaded(const char *library)
{
    char line[4200];
    bool found = false;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps != NULL && fgets(line, sizeof line, maps) != NULL)
        found = found || strstr(line, library) != NULL;
    if (maps != NULL)
        fclose(maps);
    return found;
}

/* A lone program must not pay for MPI. */
static void test_world_alone_leaves_mpi_alone(void **state)
{
    (void)state;
    struct ddp_comm *c = NULL;
    forget();
    double from = ddp_now();
    assert_int_equal(ddp_comm_world_create(NULL, NULL, &c, NULL), 0);
    assert_true(ddp_now() - from < 0.05);
    assert_string_equal(c->ops->name, "self");
    assert_true(is_loaded("libc.so"));
    assert_false(is_loaded("libmpi"));
    assert_false(is_loaded("libddp_mpi"));
    ddp_comm_destroy(c);
    struct ddp_error err = {0};
    c = NULL;
    setenv("PMI_SIZE", "many", 1);
    assert_int_equal(ddp_comm_world_create(NULL, NULL, &c, &err), DDP_E_COMM);
    assert_null(c);
    forget();
}

/* A launcher without the plug-in: the reason, and the way out. */
static void test_world_without_plugin_says_so(void **state)
{
    (void)state;
    struct ddp_comm *c = NULL;
    struct ddp_error err = {0};
    forget();
    setenv("OMPI_COMM_WORLD_SIZE", "2", 1);
    setenv("DDP_MPI_PLUGIN", "/no/such/libddp_mpi.so", 1);
    assert_int_equal(ddp_comm_world_create(NULL, NULL, &c, &err), DDP_E_RESOURCE);
    assert_non_null(
        strstr(err.text, "the MPI plug-in /no/such/libddp_mpi.so (DDP_MPI_PLUGIN) cannot be loaded"));
    assert_null(c);
    unsetenv("DDP_MPI_PLUGIN");
    forget();
}

/* Ranks of ddp-launch: its numbers go before those of a launcher of MPI around it, and nothing is believed
 * without a launcher that answers. */
static void test_world_of_the_launchers_own_ranks(void **state)
{
    (void)state;
    static const struct {
        const char *rank, *ranks;
        int code;
        const char *says; /* of a failure */
    } cases[] = {
        {"0", "1", 0, NULL},
        {"0", "2", DDP_E_COMM, "no ddp-launch answers"},
        {"2", "2", DDP_E_COMM, "unset both"},
        {"-1", "2", DDP_E_COMM, "unset both"},
        {NULL, "2", DDP_E_COMM, "unset both"},
        {"0", "many", DDP_E_COMM, "unset both"},
        {"0", "0", DDP_E_COMM, "unset both"},
        {"0", "1000000", DDP_E_COMM, "unset both"},
    };
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        struct ddp_error err = {0};
        struct ddp_comm *c = NULL;
        forget();
        setenv("OMPI_COMM_WORLD_SIZE", "3", 1);
        setenv("DDP_RANKS", cases[i].ranks, 1);
        if (cases[i].rank != NULL)
            setenv("DDP_RANK", cases[i].rank, 1);
        assert_int_equal(ddp_comm_world_create(NULL, NULL, &c, &err), cases[i].code);
        if (cases[i].code == 0)
            assert_string_equal(c->ops->name, "self");
        else
            assert_non_null(strstr(err.text, cases[i].says));
        assert_false(is_loaded("libddp_mpi"));
        ddp_comm_destroy(c);
    }
    forget();
}

static void test_announced_local_rank(void **state)
{
    (void)state;
    static const struct {
        const char *name, *value;
        int want;
    } cases[] = {
        {NULL, NULL, -1},
        {"OMPI_COMM_WORLD_LOCAL_RANK", "0", 0},
        {"OMPI_COMM_WORLD_LOCAL_RANK", "3", 3},
        {"OMPI_COMM_WORLD_LOCAL_RANK", "x", -1},
        {"OMPI_COMM_WORLD_LOCAL_RANK", "-2", -1},
        {"MPI_LOCALRANKID", "5", 5},
        {"SLURM_LOCALID", "6", 6},
        {"DDP_RANK", "7", 7},
    };
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        forget();
        if (cases[i].name != NULL)
            setenv(cases[i].name, cases[i].value, 1);
        assert_int_equal(ddp_comm_announced_local_rank(), cases[i].want);
    }
    forget();
}

static void test_nodes_are_cut_by_host(void **state)
{
    (void)state;
    static const struct {
        const char *hosts[12];
        int size, nodes;
        const char *last; /* the last one's host */
        int first;        /* and its lowest rank */
    } cases[] = {
        {{"a 1", "a 1", "a 1"}, 3, 1, "a", 0},
        {{"a 1", "a 1", "a 1", "node-b 2", "a 1", "c 1"}, 6, 3, "c", 5},
        {{"a 1", "a 9"}, 2, 2, "a", 1}, /* two machines of one name */
        {{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"}, 10, 10, "j", 9},
    };
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        char hosts[12][DDP_COMM_HOST_BYTES] = {""};
        for (int r = 0; r < cases[i].size; r++)
            strcpy(hosts[r], cases[i].hosts[r]);
        struct ddp_comm c = {.size = cases[i].size};
        ddp_comm_cut(&c, (const char(*)[DDP_COMM_HOST_BYTES])hosts);
        assert_int_equal(c.nodes, cases[i].nodes);
        assert_string_equal(c.at[c.nodes - 1].host, cases[i].last);
        assert_int_equal(c.at[c.nodes - 1].first, cases[i].first);
        free((void *)c.at);
        free((void *)c.rank_at);
        free((void *)c.node_of);
        free((void *)c.lane_rank);
    }
}

/* Pseudo-nodes, and containers with process numbers of their own, share the CPUs of their machine. */
static void test_nodes_of_one_machine_are_known(void **state)
{
    (void)state;
    char hosts[6][DDP_COMM_HOST_BYTES] = {"a/0 boot1 pid:1 0", "a/1 boot1 pid:1 0", "b boot2 pid:1 0",
                                          "b boot2 pid:2 0",   "c boot1 pid:1 0",   "d"};
    static const int machine[6] = {0, 0, 2, 2, 0, 5};
    struct ddp_comm c = {.size = 6};
    ddp_comm_cut(&c, (const char(*)[DDP_COMM_HOST_BYTES])hosts);
    assert_int_equal(c.nodes, 6);
    for (int n = 0; n < 6; n++)
        assert_int_equal(c.at[n].machine, machine[n]);
    free((void *)c.at);
    free((void *)c.rank_at);
    free((void *)c.node_of);
    free((void *)c.lane_rank);
}

static void test_spin_only_with_spare_cpus(void **state)
{
    (void)state;
    static const struct {
        int size, me;
        uint64_t cpus[4][2];
        int want;
    } cases[] = {
        {1, 0, {{1, 0}}, DDP_COMM_SPIN},
        {2, 0, {{3, 0}, {3, 0}}, DDP_COMM_SPIN},         /* two ranks, two CPUs, not pinned */
        {3, 0, {{3, 0}, {3, 0}, {3, 0}}, 0},             /* three on two */
        {2, 0, {{1, 0}, {2, 0}}, DDP_COMM_SPIN},         /* pinned apart */
        {2, 1, {{1, 0}, {1, 0}}, 0},                     /* pinned together */
        {3, 0, {{1, 0}, {2, 0}, {2, 0}}, DDP_COMM_SPIN}, /* the others share, I do not */
        {3, 2, {{1, 0}, {2, 0}, {2, 0}}, 0},             /* I share */
        {2, 0, {{0, 1}, {0, 2}}, DDP_COMM_SPIN},         /* CPUs 64 and 65 */
        {2, 1, {{0, 1}, {1, 1}}, 0},                     /* 1 + 1/2 on CPU 64 */
        {4, 3, {{15, 0}, {15, 0}, {15, 0}, {15, 0}}, DDP_COMM_SPIN},
    };
    for (size_t i = 0; i < DDP_COUNT(cases); i++)
        assert_int_equal(ddp_comm_spin(cases[i].size, cases[i].me, 2, &cases[i].cpus[0][0]), cases[i].want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_launched_reads_environment),
        cmocka_unit_test(test_world_alone_leaves_mpi_alone),
        cmocka_unit_test(test_world_without_plugin_says_so),
        cmocka_unit_test(test_world_of_the_launchers_own_ranks),
        cmocka_unit_test(test_announced_local_rank),
        cmocka_unit_test(test_nodes_are_cut_by_host),
        cmocka_unit_test(test_nodes_of_one_machine_are_known),
        cmocka_unit_test(test_spin_only_with_spare_cpus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
