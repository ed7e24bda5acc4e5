/* How many ranks, and where, from a machine and a config. */
#include "tests/topology/machines.h"

#include "launcher/plan.h"

/* Of this host, which nobody named. */
static int make(const struct ddp_machine *m, const struct ddp_options *opt, const struct ddp_config *cfg,
                const struct ddp_place_gpus *gpus, struct ddp_launch_plan *out, struct ddp_error *err)
{
    return ddp_launch_plan_hosts(&(struct ddp_hosts){0}, &(struct ddp_launch_site){m, gpus}, opt, cfg, out,
                                 err);
}

static void test_plan_chooses_ranks(void **state)
{
    static const struct {
        const char *machine;
        int asked;
        int64_t shards, threads;
        int ranks, rank_threads;
        const char *note; /* part of it; "" none */
    } table[] = {
        {LAPTOP, 0, 8, 0, 4, 1, ""},
        {LAPTOP, 0, 2, 0, 2, 2, ""},
        {LAPTOP, 0, 8, 2, 2, 2, ""},
        {LAPTOP, 0, 8, 16, 1, 16, ""},
        {LAPTOP, 3, 8, 0, 3, 1, ""},
        {LAPTOP, 8, 8, 0, 8, 1, ""},
        {LAPTOP, 5, 8, 1, 5, 1, "no faster than -n 4"},
        {EIGHT_NODES, 0, 8, 0, 8, 8, ""},
        {EIGHT_NODES, 0, 100, 0, 64, 1, "no faster than -n 50"},
        {EIGHT_NODES, 7, 8, 4, 7, 4, "no faster than -n 4"},
    };
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        struct ddp_machine *m = machine_synthetic(table[i].machine);
        struct ddp_config cfg = {
            .train = {.shards = table[i].shards, .accumulate = 1, .threads = table[i].threads}};
        const struct ddp_options opt = {.ranks = table[i].asked};
        struct ddp_launch_plan plan;
        struct ddp_error err = {0};
        cfg.launch.bind = DDP_BIND_COMPACT;
        assert_int_equal(make(m, &opt, &cfg, NULL, &plan, &err), 0);
        assert_int_equal(plan.ranks, table[i].ranks);
        assert_int_equal(plan.part[0].placement->ranks, table[i].ranks);
        assert_int_equal(plan.part[0].placement->place[0].threads, table[i].rank_threads);
        if (*table[i].note ? !strstr(plan.note, table[i].note) : *plan.note != '\0')
            fail_msg("case %zu: note '%s'", i, plan.note);
        ddp_launch_plan_finish(&plan);
        ddp_machine_destroy(m);
    }
}

/* One rank per GPU, up to the shards; -n wins, and says no when there are too few. */
static void test_plan_on_gpus(void **state)
{
    static const struct ddp_place_gpu gpu[] = {
        {"0001:00:00.0", "GPU-0", "x"}, {"0002:00:00.0", "GPU-1", "x"}, {"0003:00:00.0", "GPU-2", "x"}};
    static const struct {
        int gpus, asked;
        int64_t shards;
        bool share;
        int ranks; /* 0: refused */
    } table[] = {
        {3, 0, 8, false, 3}, {3, 0, 2, false, 2}, {1, 0, 8, false, 1}, {3, 2, 8, false, 2},
        {3, 4, 8, false, 0}, {3, 4, 8, true, 4},  {3, 0, 8, true, 3},  {0, 0, 8, false, 4},
    };
    (void)state;
    struct ddp_machine *m = machine_synthetic(LAPTOP);
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        const struct ddp_config cfg = {.train = {.shards = table[i].shards, .accumulate = 1}};
        const struct ddp_options opt = {.ranks = table[i].asked};
        const struct ddp_place_gpus gpus = {table[i].gpus, gpu, table[i].share};
        struct ddp_launch_plan plan;
        struct ddp_error err = {0};
        const int rc = make(m, &opt, &cfg, &gpus, &plan, &err);
        assert_int_equal(rc, table[i].ranks ? 0 : DDP_E_RESOURCE);
        if (rc != 0)
            continue;
        assert_int_equal(plan.ranks, table[i].ranks);
        assert_int_equal(plan.cuda, table[i].gpus > 0);
        assert_true(plan.decided); /* the config says auto */
        assert_int_equal(plan.part[0].placement->place[0].gpu[0] != '\0', table[i].gpus > 0);
        char *line = ddp_launch_plan_line(&plan);
        assert_int_equal(strstr(line, "gpu=GPU-0") != NULL, table[i].gpus > 0);
        free(line);
        ddp_launch_plan_finish(&plan);
    }
    ddp_machine_destroy(m);
}

static void test_plan_refuses_more_ranks_than_shards(void **state)
{
    struct ddp_machine *m = machine_synthetic(LAPTOP);
    struct ddp_config cfg = {.train = {.shards = 8, .accumulate = 1}};
    struct ddp_launch_plan plan = {.ranks = -1};
    struct ddp_error err = {0};
    (void)state;
    assert_int_equal(make(m, &(struct ddp_options){.ranks = 9}, &cfg, NULL, &plan, &err), DDP_E_CONFIG);
    assert_non_null(strstr(err.text, "at most 8 (-n 8), or set train.shards=9"));
    assert_int_equal(plan.ranks, -1);

    cfg.train.accumulate = 2; /* 16 leaves */
    assert_int_equal(make(m, &(struct ddp_options){.ranks = 17}, &cfg, NULL, &plan, &err), DDP_E_CONFIG);
    assert_non_null(strstr(err.text, "train.shards = 8 x train.accumulate = 2"));
    assert_int_equal(make(m, &(struct ddp_options){.ranks = 16}, &cfg, NULL, &plan, &err), 0);
    assert_int_equal(plan.ranks, 16);
    ddp_launch_plan_finish(&plan);
    ddp_machine_destroy(m);
}

static void test_plan_follows_the_bind_keys(void **state)
{
    static const struct {
        int bind;
        bool memory_bind;
        const char *line;
    } table[] = {
        {DDP_BIND_COMPACT, true,
         "0@cpus=0 numa=0 package=0 threads=1 spin=2000; 1@cpus=2 numa=0 package=0 threads=1 spin=2000"},
        {DDP_BIND_COMPACT, false,
         "0@cpus=0 numa=-1 package=0 threads=1 spin=2000; 1@cpus=2 numa=-1 package=0 threads=1 spin=2000"},
        {DDP_BIND_SPREAD, true,
         "0@cpus=0 numa=0 package=0 threads=1 spin=2000; 1@cpus=8 numa=1 package=1 threads=1 spin=2000"},
        {DDP_BIND_NONE, true,
         "0@cpus=any numa=-1 package=-1 threads=1 spin=2000; 1@cpus=any numa=-1 package=-1 "
         "threads=1 spin=2000"},
    };
    struct ddp_machine *m = machine_synthetic(TWO_PACKAGES);
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        struct ddp_config cfg = {.train = {.shards = 8, .accumulate = 1, .threads = 1}};
        struct ddp_launch_plan plan;
        struct ddp_error err = {0};
        cfg.launch.bind = table[i].bind;
        cfg.launch.memory_bind = table[i].memory_bind;
        assert_int_equal(make(m, &(struct ddp_options){.ranks = 2}, &cfg, NULL, &plan, &err), 0);
        char *line = ddp_launch_plan_line(&plan);
        assert_string_equal(line, table[i].line);
        free(line);
        ddp_launch_plan_finish(&plan);
    }
    ddp_machine_destroy(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plan_chooses_ranks),
        cmocka_unit_test(test_plan_on_gpus),
        cmocka_unit_test(test_plan_refuses_more_ranks_than_shards),
        cmocka_unit_test(test_plan_follows_the_bind_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
