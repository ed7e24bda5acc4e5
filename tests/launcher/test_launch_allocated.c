/* The hosts of a scheduler's job, from the variables that Slurm, LSF, PBS and Flux set. */
#include <sys/stat.h>

#include "tests/launcher/hosts_text.h"

#include "launcher/hosts_flux.h"

enum { VARIABLES = 12 };

static void test_allocated(void **state)
{
    static const struct {
        const char *env[VARIABLES], *hosts, *from;
    } table[] = {
        {{"PATH=/bin", "SLURM_CONF=/etc/slurm.conf"}, "", ""},
        /* Slurm */
        {{"SLURM_JOB_ID=7", "SLURM_JOB_NODELIST=n[0-2]", "SLURM_JOB_CPUS_PER_NODE=4(x2),3",
          "SLURM_TASKS_PER_NODE=4(x2),3"},
         "n0c4 n1c4 n2c3",
         "Slurm job 7"},
        {{"SLURM_JOB_ID=7", "SLURM_JOB_NODELIST=n[0-2]", "SLURM_NTASKS=5", "SLURM_JOB_CPUS_PER_NODE=8(x3)",
          "SLURM_TASKS_PER_NODE=2(x2),1"},
         "n0/2c8 n1/2c8 n2/1c8",
         "Slurm job 7"},
        {{"SLURM_JOB_ID=7", "SLURM_JOB_NODELIST=n0,m1", "SLURM_NTASKS_PER_NODE=3",
          "SLURM_TASKS_PER_NODE=3(x2)", "SLURM_GPUS_PER_NODE=a100:2,v100:1"},
         "n0/3g3 m1/3g3",
         "Slurm job 7"},
        {{"SLURM_JOB_ID=7", "SLURM_JOB_NODELIST=n[0-1]", "SLURM_GPUS_ON_NODE=4", "SLURMD_NODENAME=n1"},
         "n0 n1g4",
         "Slurm job 7"},
        {{"SLURM_JOB_ID=7", "SLURM_JOB_NODELIST=n[0-1]", "SLURM_GPUS_PER_NODE=2", "SLURM_GPUS_ON_NODE=4",
          "SLURMD_NODENAME=n1"},
         "n0g2 n1g2",
         "Slurm job 7"},
        {{"SLURM_JOB_ID=7", "SLURM_JOB_NODELIST=n5", "SLURM_GPUS_ON_NODE=4", "SLURM_JOB_CPUS_PER_NODE=16"},
         "n5c16g4",
         "Slurm job 7"},
        {{"SLURM_JOB_ID=7", "SLURM_JOB_NODELIST=n[0-3]", "SLURM_NTASKS=1", "SLURM_TASKS_PER_NODE=1",
          "SLURM_JOB_CPUS_PER_NODE=4(x4)"},
         "n0c4 n1c4 n2c4 n3c4", /* the counts are those of a step on one of them */
         "Slurm job 7"},
        {{"SLURM_JOB_ID=7", "SLURM_HET_SIZE=2", "SLURM_JOB_NODELIST=big",
          "SLURM_JOB_NODELIST_HET_GROUP_0=big", "SLURM_JOB_NODELIST_HET_GROUP_1=n[0-1]",
          "SLURM_JOB_CPUS_PER_NODE_HET_GROUP_0=64", "SLURM_JOB_CPUS_PER_NODE_HET_GROUP_1=4(x2)",
          "SLURM_GPUS_PER_NODE_HET_GROUP_0=8"},
         "bigc64g8 n0c4 n1c4",
         "Slurm job 7"},
        {{"SLURM_JOB_NODELIST=n0"}, "", ""}, /* no job */
        {{"SLURM_JOB_ID=7", "SLURM_JOB_NODELIST="}, "", ""},
        /* LSF: slots are cores */
        {{"LSB_JOBID=9", "LSB_MCPU_HOSTS=n0 4 n1 2 "}, "n0c4 n1c2", "LSF job 9"},
        {{"LSB_JOBID=9", "LSB_HOSTS=n0 n0 n1"}, "n0c2 n1c1", "LSF job 9"},
        {{"LSB_JOBID=9", "LSB_HOSTS=n0 n0 n1", "LSB_MCPU_HOSTS=n0 3 n1 1"}, "n0c3 n1c1", "LSF job 9"},
        {{"LSB_JOBID=9", "LSB_DJOB_HOSTFILE=/nonexistent/file", "LSB_MCPU_HOSTS=n0 4"}, "n0c4", "LSF job 9"},
        {{"LSB_HOSTS=n0"}, "", ""},
        {{"PBS_NODEFILE=/nonexistent"}, "", ""},
    };
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        struct ddp_hosts hosts;
        struct ddp_error err = {0};
        if (ddp_hosts_allocated(table[i].env, &hosts, &err) != 0)
            fail_msg("case %zu: %s", i, err.text);
        assert_string_equal(hosts.from, table[i].from);
        assert_int_equal(hosts.allocated, *table[i].hosts != '\0');
        assert_hosts(table[i].env[0], &hosts, table[i].hosts);
    }
}

static void test_allocated_refuses(void **state)
{
    static const struct {
        const char *env[VARIABLES], *says[3];
    } table[] = {
        {{"SLURM_JOB_ID=7", "SLURM_JOB_NODELIST=n[0-"}, {"SLURM_JOB_NODELIST=n[0-: at its end"}},
        {{"SLURM_JOB_ID=7", "SLURM_JOB_NODELIST=n0", "SLURM_JOB_CPUS_PER_NODE=four"},
         {"SLURM_JOB_CPUS_PER_NODE=four: at character 1, before 'four'", "4(x2),3"}},
        {{"SLURM_JOB_ID=7", "SLURM_JOB_NODELIST=n0", "SLURM_TASKS_PER_NODE=4(x2"},
         {"SLURM_TASKS_PER_NODE=4(x2: at its end", "')' is missing"}},
        {{"SLURM_JOB_ID=7", "SLURM_JOB_NODELIST=n0", "SLURM_TASKS_PER_NODE=4(2)"},
         {"at character 2, before '(2)'", "parted by commas"}},
        {{"SLURM_JOB_ID=7", "SLURM_JOB_NODELIST=n0", "SLURM_TASKS_PER_NODE=-4"}, {"before '-4'"}},
        {{"SLURM_JOB_ID=7", "SLURM_JOB_NODELIST=n0", "SLURM_TASKS_PER_NODE=99999999999999999999"},
         {"a number from 0 to 65536"}},
        {{"SLURM_JOB_ID=7", "SLURM_JOB_NODELIST=n0", "SLURM_TASKS_PER_NODE=4,"}, {"at its end, character 3"}},
        {{"SLURM_JOB_ID=7", "SLURM_JOB_NODELIST=n0", "SLURM_HET_SIZE=2", "SLURM_JOB_NODELIST_HET_GROUP_0=n0"},
         {"SLURM_JOB_NODELIST_HET_GROUP_1 is not set", "-H"}},
        {{"LSB_JOBID=9", "LSB_MCPU_HOSTS=n0 4 n1"}, {"LSB_MCPU_HOSTS=n0 4 n1: at its end"}},
        {{"LSB_JOBID=9", "LSB_MCPU_HOSTS=4,n0"}, {"LSB_MCPU_HOSTS=4,n0: at character 2"}},
        {{"LSB_JOBID=9", "LSB_HOSTS=n0,n1"}, {"LSB_HOSTS=n0,n1: at character 3"}},
        {{"LSB_JOBID=9", "LSB_DJOB_HOSTFILE=/nonexistent/file"}, {"LSB_DJOB_HOSTFILE: /nonexistent/file"}},
        {{"PBS_JOBID=3", "PBS_NODEFILE=/nonexistent/file"},
         {"PBS_NODEFILE", "-H, or unset it", "/nonexistent/file"}},
    };
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        struct ddp_hosts hosts = {.n = -1};
        struct ddp_error err = {0};
        const char *says[4] = {table[i].says[0], table[i].says[1], table[i].says[2], NULL};
        if (ddp_hosts_allocated(table[i].env, &hosts, &err) == 0)
            fail_msg("case %zu was accepted", i);
        assert_int_equal(hosts.n, -1);
        assert_says(table[i].env[1], &err, says);
    }
}

static void test_allocated_reads_files(void **state)
{
    static const struct {
        const char *job, *variable, *text, *more, *hosts;
    } table[] = {
        {"LSB_JOBID=9", "LSB_DJOB_HOSTFILE", "n0\nn0\nn0\nn1\n", "LSB_MCPU_HOSTS=x 1", "n0c3 n1c1"},
        {"LSB_JOBID=9", "LSB_DJOB_HOSTFILE", "n0\n", "A=", "n0c1"},
        {"PBS_JOBID=3.server", "PBS_NODEFILE", "n0\nn0\nn1\nn1\n", "NCPUS=8", "n0/2 n1/2"},
        {"PBS_JOBID=3.server", "PBS_NODEFILE", "n0\n", "NCPUS=8", "n0/1c8"},
    };
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        char path[64], variable[128];
        struct ddp_hosts hosts;
        struct ddp_error err = {0};
        write_hosts_file(path, table[i].text);
        snprintf(variable, sizeof variable, "%s=%s", table[i].variable, path);
        const char *const env[] = {table[i].job, variable, table[i].more, NULL};
        if (ddp_hosts_allocated(env, &hosts, &err) != 0)
            fail_msg("case %zu: %s", i, err.text);
        unlink(path);
        assert_true(hosts.allocated);
        assert_hosts(table[i].variable, &hosts, table[i].hosts);
    }
}

/* ---- Flux ------------------------------------------------------------------------------------ */

#define RESOURCES                                                                                            \
    "{\"version\":1,\"execution\":{\"R_lite\":[{\"rank\":\"0-1\",\"children\":{\"core\":\"0-3\","            \
    "\"gpu\":\"0,2\"}},{\"rank\":\"4\",\"children\":{\"core\":\"1-2,7\"}}],\"starttime\":0.0,"               \
    "\"nodelist\":[\"n[3-4]\",\"m0\"]}}"

static void test_flux_reads_its_resource_set(void **state)
{
    static const struct {
        const char *json, *says;
    } refused[] = {
        {"", "line 1"},
        {"[]", "names no host"},
        {"{\"execution\":{\"nodelist\":[\"n0\"],\"R_lite\":[{\"rank\":\"0-1\"}]}}", "its ranks are others"},
        {"{\"execution\":{\"nodelist\":[\"n[0-\"],\"R_lite\":[{\"rank\":\"0\"}]}}", "a number is missing"},
        {"{\"execution\":{\"nodelist\":[\"n0,n0\"],\"R_lite\":[{\"rank\":\"0-1\"}]}}", "host n0 twice"},
        {"{\"execution\":{\"nodelist\":[\"n0\"],\"R_lite\":[{\"rank\":\"x\"}]}}", "its ranks are others"},
    };
    struct ddp_hosts hosts;
    struct ddp_error err = {0};
    (void)state;
    assert_int_equal(ddp_flux_read(RESOURCES, &hosts, &err), 0);
    assert_hosts("R", &hosts, "n3c4g2 n4c4g2 m0c3g0");
    for (size_t i = 0; i < DDP_COUNT(refused); i++) {
        assert_int_not_equal(ddp_flux_read(refused[i].json, &hosts, &err), 0);
        assert_says(refused[i].json, &err, (const char *const[]){"flux kvs get", refused[i].says, NULL});
    }
}

/* A stand-in for Flux's command on PATH. */
static void write_command(const char *dir, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/flux", dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    assert_int_equal(chmod(path, 0700), 0);
}

static void test_flux_is_asked(void **state)
{
    static const char *const env[] = {"FLUX_URI=local:///x", "SLURM_JOB_ID=7", "SLURM_JOB_NODELIST=s[0-9]",
                                      NULL};
    char dir[] = "/tmp/ddp-flux-XXXXXX", path[256];
    struct ddp_hosts hosts;
    struct ddp_error err = {0};
    (void)state;
    assert_non_null(mkdtemp(dir));
    char *old = ddp_strdup(getenv("PATH"));
    snprintf(path, sizeof path, "%s:/usr/bin:/bin", dir);
    setenv("PATH", path, 1);

    write_command(dir,
                  "#!/bin/sh\n[ \"$*\" = 'kvs get resource.R' ] || exit 9\ncat <<'X'\n" RESOURCES "\nX\n");
    assert_int_equal(ddp_hosts_allocated(env, &hosts, &err), 0);
    assert_string_equal(hosts.from, "Flux instance");
    assert_hosts("asked", &hosts, "n3c4g2 n4c4g2 m0c3g0");

    write_command(dir, "#!/bin/sh\necho 'flux: no broker' >&2\nexit 1\n");
    assert_int_equal(ddp_hosts_allocated(env, &hosts, &err), DDP_E_RESOURCE);
    assert_says("failed", &err,
                (const char *const[]){"FLUX_URI is set", "flux: no broker", "-H, or unset FLUX_URI", NULL});

    setenv("PATH", old, 1);
    free(old);
    assert_int_equal(ddp_dir_remove(dir, &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_allocated),
        cmocka_unit_test(test_allocated_refuses),
        cmocka_unit_test(test_allocated_reads_files),
        cmocka_unit_test(test_flux_reads_its_resource_set),
        cmocka_unit_test(test_flux_is_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
