/* Ranks on GPUs: a machine of two packages with two NUMA nodes of four cores each (tests/topology/machines).
 * GPU 0 hangs on node 0 with mlx5_0 behind the same switch, 1 and 2 on node 2 with mlx5_1, 3 on node 3; node
 * 1 has a network card and no GPU. */
#include "machines.h"

#define C    DDP_PLACE_COMPACT
#define S    DDP_PLACE_SPREAD
#define NONE DDP_PLACE_NONE

static struct ddp_machine *four_gpus(void)
{
    struct ddp_machine *m = NULL;
    struct ddp_error err = {0};
    setenv("HWLOC_XMLFILE", DDP_MACHINES "/four-gpus.xml", 1);
    const int rc = ddp_machine_create_with_io(&m, &err);
    unsetenv("HWLOC_XMLFILE");
    if (rc != 0)
        fail_msg("%s", err.text);
    return m;
}

static const struct ddp_place_gpu all[] = {
    /* as CUDA might number them: not as they lie */
    {"0000:d8:00.0", "GPU-3", "H100"},
    {"0000:87:00.0", "GPU-2", "H100"},
    {"0000:3b:00.0", "GPU-0", "H100"},
    {"0000:86:00.0", "GPU-1", "H100"},
};
static const struct ddp_place_gpu hidden[] = {{"0001:00:00.0", "GPU-8", "H100"},
                                              {"0002:00:00.0", "GPU-9", "H100"}};
static const struct ddp_place_gpu mixed[] = {{"0001:00:00.0", "GPU-8", "H100"},
                                             {"0000:3b:00.0", "GPU-0", "H100"}};

/* "cpus gpu nic|cpus gpu nic" */
static void write_plan(const struct ddp_placement *p, char *out, size_t size)
{
    size_t n = 0;
    out[0] = '\0';
    for (int r = 0; r < p->ranks; r++) {
        n += (size_t)snprintf(out + n, size - n, "%s", r ? "|" : "");
        for (int i = 0; i < p->place[r].npus; i++)
            n += (size_t)snprintf(out + n, size - n, "%s%d", i ? "," : "", p->place[r].pus[i]);
        n += (size_t)snprintf(out + n, size - n, " %s %s", p->place[r].gpu, p->place[r].nic);
    }
}

static void test_gpu_placement(void **state)
{
    (void)state;
    static const struct {
        struct ddp_place_request req;
        struct ddp_place_gpus gpus;
        const char *plan;
        bool oversubscribed;
    } cases[] = {
        /* each rank beside its GPU; ranks in the order of the machine; two on node 2 share its cores */
        {{4, 0, C, false, 0},
         {4, all, false},
         "0,1,2,3 GPU-0 mlx5_0|8,9 GPU-2 mlx5_1|10,11 GPU-1 mlx5_1|12,13,14,15 GPU-3 mlx5_1",
         false},
        {{1, 0, C, false, 0}, {4, all, false}, "0,1,2,3 GPU-0 mlx5_0", false},
        {{4, 1, C, false, 0},
         {4, all, false},
         "0 GPU-0 mlx5_0|8 GPU-2 mlx5_1|9 GPU-1 mlx5_1|12 GPU-3 mlx5_1",
         false},
        {{1, 3, C, false, 0}, {1, all, false}, "12,13,14 GPU-3 mlx5_1", false},
        /* packages in turn */
        {{2, 0, S, false, 0}, {4, all, false}, "0,1,2,3 GPU-0 mlx5_0|8,9,10,11 GPU-2 mlx5_1", false},
        /* shared GPUs: neighbours on one, cores of its node divided */
        {{8, 0, C, false, 0},
         {4, all, true},
         "0,1 GPU-0 mlx5_0|2,3 GPU-0 mlx5_0|8 GPU-2 mlx5_1|9 GPU-2 mlx5_1|10 GPU-1 mlx5_1|11 GPU-1 "
         "mlx5_1|12,13 GPU-3 mlx5_1|14,15 GPU-3 mlx5_1",
         false},
        /* more ranks than near cores: free ones elsewhere first */
        {{6, 1, C, false, 0},
         {1, all, true},
         "12 GPU-3 mlx5_1|13 GPU-3 mlx5_1|14 GPU-3 mlx5_1|15 GPU-3 mlx5_1|0 GPU-3 mlx5_1|1 GPU-3 mlx5_1",
         false},
        {{2, 16, C, false, 0}, {4, all, false}, "0,1,2,3 GPU-0 mlx5_0|8,9,10,11 GPU-2 mlx5_1", true},
        /* GPUs that the topology does not show may be near anything, and leave near cores to others */
        {{2, 0, C, false, 0},
         {2, hidden, false},
         "0,1,2,3,4,5,6,7 GPU-8 |8,9,10,11,12,13,14,15 GPU-9 ",
         false},
        {{2, 0, C, false, 0}, {2, mixed, false}, "0,1,2,3 GPU-0 mlx5_0|4,5,6,7,8,9,10,11 GPU-8 ", false},
        {{2, 0, NONE, false, 0}, {4, all, false}, " GPU-0 mlx5_0| GPU-2 mlx5_1", false},
    };
    struct ddp_machine *m = four_gpus();
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        struct ddp_placement *p = NULL;
        struct ddp_error err = {0};
        char plan[1024];
        if (ddp_placement_create_on_gpus(m, &cases[i].req, &cases[i].gpus, &p, &err) != 0)
            fail_msg("case %zu: %s", i, err.text);
        write_plan(p, plan, sizeof plan);
        if (strcmp(plan, cases[i].plan) != 0)
            fail_msg("case %zu:\n  %s\nwanted\n  %s", i, plan, cases[i].plan);
        assert_int_equal(p->oversubscribed, cases[i].oversubscribed);
        ddp_placement_destroy(p);
    }
    ddp_machine_destroy(m);
}

/* Whatever is asked for: every rank has a GPU and a core, and no core has two ranks
 * while another has none. */
static void test_gpu_placement_complete(void **state)
{
    (void)state;
    struct ddp_machine *m = four_gpus();
    for (int policy = 0; policy < 2; policy++)
        for (int gpus = 1; gpus <= 4; gpus++)
            for (int ranks = 1; ranks <= 40; ranks++) {
                const struct ddp_place_request req = {ranks, 1, policy ? DDP_PLACE_SPREAD : DDP_PLACE_COMPACT,
                                                      false, 0};
                const struct ddp_place_gpus from = {gpus, all, true};
                struct ddp_placement *p = NULL;
                struct ddp_error err = {0};
                int load[16] = {0}, least = 1000, most = 0, on[4] = {0};
                assert_int_equal(ddp_placement_create_on_gpus(m, &req, &from, &p, &err), 0);
                for (int r = 0; r < ranks; r++) {
                    assert_int_equal(p->place[r].npus, 1);
                    load[p->place[r].pus[0]]++;
                    for (int g = 0; g < gpus; g++)
                        on[g] += strcmp(p->place[r].gpu, all[g].uuid) == 0;
                }
                for (int i = 0; i < 16; i++) {
                    least = load[i] < least ? load[i] : least;
                    most = load[i] > most ? load[i] : most;
                }
                assert_true(most == 1 || least >= 1);
                assert_int_equal(p->oversubscribed, most > 1);
                for (int g = 0; g < gpus; g++)
                    assert_true(on[g] >= ranks / gpus && on[g] <= (ranks + gpus - 1) / gpus);
                ddp_placement_destroy(p);
            }
    ddp_machine_destroy(m);
}

static void test_gpu_placement_refuses(void **state)
{
    (void)state;
    struct ddp_machine *m = four_gpus();
    struct ddp_placement *p = NULL;
    struct ddp_error err = {0};
    const struct ddp_place_request req = {3, 0, DDP_PLACE_COMPACT, false, 0};
    const struct ddp_place_gpus one = {1, all, false};
    assert_int_equal(ddp_placement_create_on_gpus(m, &req, &one, &p, &err), DDP_E_RESOURCE);
    assert_non_null(strstr(err.text, "3 ranks, but 1 GPU on this host"));
    assert_non_null(strstr(err.text, "-n 1"));
    assert_non_null(strstr(err.text, "comm.share_gpu=true"));
    ddp_machine_destroy(m);
}

/* The GPUs of a machine that only a file describes, and the map with them. */
static void test_gpu_map(void **state)
{
    (void)state;
    struct ddp_machine *m = four_gpus();
    struct ddp_place_gpu *gpus = NULL;
    const int n = ddp_machine_gpus(m, &gpus);
    assert_int_equal(n, 4);
    assert_string_equal(gpus[0].pci, "0000:3b:00.0");
    assert_string_equal(gpus[0].uuid, "GPU-00000000-0000-0000-0000-000000000000");
    assert_string_equal(gpus[3].pci, "0000:d8:00.0");
    struct ddp_placement *p = NULL;
    struct ddp_error err = {0};
    const struct ddp_place_request req = {2, 0, DDP_PLACE_COMPACT, false, 0};
    const struct ddp_place_gpus from = {n, gpus, false};
    assert_int_equal(ddp_placement_create_on_gpus(m, &req, &from, &p, &err), 0);
    char *map = ddp_placement_map(m, p, NULL);
    assert_non_null(strstr(map, "  0000:3b:00.0  NUMA node 0  NIC mlx5_0  rank 0  GH100 [H100 PCIe] "
                                "(GPU-00000000-0000-0000-0000-000000000000)\n"));
    assert_non_null(strstr(map, "  0000:86:00.0  NUMA node 2  NIC mlx5_1  rank 1  GH100"));
    assert_non_null(strstr(map, "  0000:d8:00.0  NUMA node 3  NIC mlx5_1  no rank  GH100"));
    assert_non_null(strstr(map, "spin=2000 gpu=GPU-00000001-0000-0000-0000-000000000000\n"));
    free(map);
    ddp_placement_destroy(p);
    free(gpus);
    ddp_machine_destroy(m);
}

/* A machine without PCI devices has no GPUs, and a topology without its devices still plans. */
static void test_gpu_none(void **state)
{
    (void)state;
    struct ddp_machine *m = machine_synthetic(LAPTOP);
    struct ddp_place_gpu *gpus = NULL;
    assert_int_equal(ddp_machine_gpus(m, &gpus), 0);
    free(gpus);
    struct ddp_placement *p = NULL;
    struct ddp_error err = {0};
    const struct ddp_place_request req = {2, 0, DDP_PLACE_COMPACT, false, 0};
    const struct ddp_place_gpus from = {2, all, false};
    char plan[256];
    assert_int_equal(ddp_placement_create_on_gpus(m, &req, &from, &p, &err), 0);
    write_plan(p, plan, sizeof plan);
    assert_string_equal(plan, "0,1 GPU-3 |2,3 GPU-2 ");
    ddp_placement_destroy(p);
    ddp_machine_destroy(m);
}

/* Cores beside a GPU that another job holds: the rank has those that are left there, and where none are,
 * another GPU. */
static void test_gpu_placement_leaves_held_cores_alone(void **state)
{
    static const struct {
        int held, ranks, threads;
        const char *plan;
    } cases[] = {
        {2, 1, 0, "2,3 GPU-0 mlx5_0"},
        {4, 1, 1, "8 GPU-2 mlx5_1"},  /* a GPU with free cores beside it goes first */
        {16, 1, 1, "0 GPU-0 mlx5_0"}, /* all are: shared */
    };
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        struct ddp_machine *m = four_gpus();
        const struct ddp_place_request req = {cases[i].ranks, cases[i].threads, C, false, 0};
        const struct ddp_place_gpus from = {4, all, false};
        struct ddp_placement *p = NULL;
        struct ddp_error err = {0};
        int held[16];
        char text[512];
        for (int k = 0; k < cases[i].held; k++)
            held[k] = k;
        ddp_machine_mark_held(m, held, cases[i].held);
        assert_int_equal(ddp_placement_create_on_gpus(m, &req, &from, &p, &err), 0);
        write_plan(p, text, sizeof text);
        if (strcmp(text, cases[i].plan) != 0)
            fail_msg("case %zu: %s", i, text);
        ddp_placement_destroy(p);
        ddp_machine_destroy(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gpu_placement),
        cmocka_unit_test(test_gpu_placement_complete),
        cmocka_unit_test(test_gpu_placement_refuses),
        cmocka_unit_test(test_gpu_placement_leaves_held_cores_alone),
        cmocka_unit_test(test_gpu_map),
        cmocka_unit_test(test_gpu_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
