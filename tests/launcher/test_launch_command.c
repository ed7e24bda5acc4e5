/* The program as a user types it, where nothing is started: maps, plans, references, and slips with exit code
 * 2 or 3. */
#include "launch.h"

#define EIGHT_NODES "HWLOC_SYNTHETIC=package:2 numa:4 core:8 pu:2"

static void test_command_shows_without_starting(void **state)
{
    static const struct {
        const char *env[3], *args[10], *says[4];
    } table[] = {
        {{NULL}, {"--help"}, {"usage: ddp-launch", "75        stopped by a signal", "--dry-run"}},
        {{NULL}, {"--version"}, {"ddp-launch "}},
        {{NULL}, {"--help-config", "optim.lr"}, {"optim.lr"}},
        {{NULL}, {"--help-config", "train", "--markdown"}, {"train.shards"}},
        {{NULL}, {"--print-config", "c.cfg", "optim.lr=0.125"}, {"0.125", "shards"}},
        {{EIGHT_NODES},
         {"--map", "-n", "8", "c.cfg"},
         {"8 NUMA nodes, 64 cores, 128 threads", "rank 7   cpus=112,", "numa=7"}},
        {{EIGHT_NODES},
         {"--map", "-n", "2", "--threads", "1", "--bind", "spread", "c.cfg"},
         {"rank 1   cpus=64 numa=4 package=1"}},
        {{EIGHT_NODES},
         {"--dry-run", "-n", "2", "--starter", "mpirun", "--program", FAKE_RANK, "c.cfg"},
         {"mpirun --host localhost:2 -np 2", "DDP_PLACE=", FAKE_RANK " c.cfg"}},
        {{EIGHT_NODES},
         {"--dry-run", "-n", "2", "--program", FAKE_RANK, "c.cfg"},
         {"with DDP_RANK=0 to 1", "export DDP_RANKS=2\n", "\n" FAKE_RANK " c.cfg"}},
        {{NULL},
         {"--dry-run", "-n", "1", "--program", FAKE_RANK, "--resume", "latest", "c.cfg", "seed=5"},
         {"c.cfg seed=5 --resume latest", "DDP_COMMAND="}},
    };
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        struct launch l;
        launch_run(&l, table[i].env, table[i].args);
        assert_status(&l, 0);
        for (int k = 0; table[i].says[k]; k++)
            assert_says(l.out, table[i].says[k]);
        assert_int_equal(l.err[0], '\0');
    }
}

static void test_command_refuses_with_the_way_out(void **state)
{
    static const struct {
        const char *env[3], *args[10];
        int status;
        const char *says;
    } table[] = {
        {{NULL}, {NULL}, 2, "no CONFIG given"},
        {{NULL}, {"--theads", "2", "c.cfg"}, 2, "the nearest known one is --threads"},
        {{NULL}, {"nowhere.cfg"}, 2, "nowhere.cfg"},
        {{NULL}, {"c.cfg", "optim.lrr=1"}, 2, "optim.lr"},
        {{NULL}, {"c.cfg", "optim.lr=fast"}, 2, "optim.lr"},
        {{NULL}, {"-n", "9", "c.cfg"}, 2, "at most 8 (-n 8), or set train.shards=9"},
        {{"DDP_DATADIR=/x"}, {"c.cfg"}, 2, "DDP_DATA_DIR"},
        {{"HWLOC_SYNTHETIC=castle:1"}, {"--map", "c.cfg"}, 2, "castle:1"},
        {{"HWLOC_XMLFILE=/nonexistent.xml"}, {"--map", "c.cfg"}, 3, "/nonexistent.xml"},
        {{EIGHT_NODES}, {"-n", "2", "--program", FAKE_RANK, "c.cfg"}, 2, "--map or --dry-run"},
        {{NULL}, {"--program", "/nonexistent/program", "c.cfg"}, 3, "/nonexistent/program"},
        {{NULL}, {"--program", "/usr/lib", "c.cfg"}, 3, "/usr/lib is a folder, not a program"},
        {{NULL}, {"--program", "no-such-program-here", "c.cfg"}, 3, "no-such-program-here"},
        {{"PATH=/nonexistent"}, {"--starter=mpirun", "--program", FAKE_RANK, "c.cfg"}, 3, "openmpi-bin"},
        {{NULL}, {"--starter", "hydra", "c.cfg"}, 2, "auto, local, mpirun and srun are known"},
        {{NULL}, {"--starter", "srun", "c.cfg"}, 2, "inside a job of Slurm, and this is none"},
        {{NULL}, {"--check=all", "c.cfg"}, 2, "--check alone and --check=full are known"},
        {{NULL}, {"--program", FAKE_RANK, "c.cfg", "run.dir=/proc/runs"}, 3, "run.dir"},
    };
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        struct launch l;
        launch_run(&l, table[i].env, table[i].args);
        assert_status(&l, table[i].status);
        assert_says(l.err, table[i].says);
        assert_says(l.err, "ddp-launch: ");
        assert_int_equal(l.out[0], '\0');
    }
}

/* Open MPI 5 ends at once with these, outside and inside of a Slurm allocation. */
static void test_command_has_no_option_that_open_mpi_5_refuses(void **state)
{
    static const char *const environments[][2] = {{NULL}, {"SLURM_JOB_ID=1", NULL}};
    static const char *const refused[] = {"oob_tcp_if_include", "isolated"};
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(environments); i++) {
        struct launch l;
        launch_run(&l, environments[i],
                   (const char *const[]){"--dry-run", "--starter=mpirun", "-n", "2", "--program", FAKE_RANK,
                                         "c.cfg", NULL});
        assert_status(&l, 0);
        assert_says(l.out, "mpirun --host");
        for (size_t k = 0; k < DDP_COUNT(refused); k++)
            assert_null(strstr(l.out, refused[k]));
    }
}

static void test_command_refuses_another_mpirun(void **state)
{
    static const char script[] = "#!/bin/sh\necho 'HYDRA build details: Version 4.0'\n";
    char bin[] = "/tmp/ddp-test-bin-XXXXXX", path[64], env[128];
    struct ddp_error err = {0};
    struct launch l;
    (void)state;
    assert_non_null(mkdtemp(bin));
    snprintf(path, sizeof path, "%s/mpirun", bin);
    assert_int_equal(ddp_file_write(path, script, sizeof script - 1, &err), 0);
    assert_int_equal(chmod(path, 0755), 0);
    snprintf(env, sizeof env, "PATH=%s:/usr/bin:/bin", bin);
    launch_run(&l, (const char *const[]){env, NULL},
               (const char *const[]){"--starter=mpirun", "--program", FAKE_RANK, "c.cfg", NULL});
    ddp_dir_remove(bin, NULL);
    assert_status(&l, 3);
    assert_says(l.err, "HYDRA build details");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_command_shows_without_starting),
        cmocka_unit_test(test_command_refuses_with_the_way_out),
        cmocka_unit_test(test_command_has_no_option_that_open_mpi_5_refuses),
        cmocka_unit_test(test_command_refuses_another_mpirun),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
