/* Starting on several hosts, as far as it needs none: the commands of starters, what of an environment
 * travels, and what is made of what ssh and mpirun say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "launcher/missing.h"
#include "launcher/rank_env.h"
#include "launcher/starter.h"

static void join(const struct ddp_words *words, struct ddp_text *out)
{
    ddp_text_init(out);
    for (int i = 0; i < words->n; i++)
        ddp_text_add(out, "%s%s", i ? " " : "", words->w[i]);
}

static void assert_holds(const char *text, const char *what)
{
    if (!strstr(text, what))
        fail_msg("'%s' is not in: %s", what, text);
}

/* ---- commands -------------------------------------------------------------------------------- */

static const struct {
    const struct ddp_starter *starter;
    bool by_node;
    const char *network;
    const char *holds[6]; /* in the command or its environment */
} commands[] = {
    {&ddp_starter_mpirun,
     false,
     "10.77.0.0/24",
     {"mpirun --host n0:2,n2:1 -np 3 --bind-to none --map-by slot:OVERSUBSCRIBE",
      "--mca btl_tcp_if_include 10.77.0.0/24", "--mca oob_tcp_if_include 10.77.0.0/24",
      "/bin/ddp-launch --rank /dev/shm/j /bin/ddp-train c.cfg", "-x PATH",
      "--mca plm_rsh_agent /bin/ddp-launch --ssh"}},
    {&ddp_starter_mpirun, true, "", {"--map-by node:OVERSUBSCRIBE"}},
    {&ddp_starter_srun,
     false,
     "10.77.0.0/24",
     {"srun --overlap", "--mpi=pmix --ntasks=3 --distribution=arbitrary", "SLURM_PMIX_FENCE=tree",
      "/bin/ddp-launch --rank /dev/shm/j /bin/ddp-train c.cfg", "SLURM_HOSTFILE=/dev/shm/j/hosts",
      "OMPI_MCA_btl_tcp_if_include=10.77.0.0/24"}},
};

static void test_starters_name_hosts_and_network(void **state)
{
    static struct ddp_job_host hosts[] = {
        {(char *)(uintptr_t) "n0", 2}, {(char *)(uintptr_t) "n1", 0}, {(char *)(uintptr_t) "n2", 1}};
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(commands); i++) {
        struct ddp_job job = {.lock = -1, .ranks = 3, .nhosts = 3, .host_list = hosts};
        struct ddp_words argv = {0}, env = {0};
        struct ddp_text text, added;
        job.by_node = commands[i].by_node;
        strcpy(job.network, commands[i].network);
        strcpy(job.dir, "/dev/shm/j");
        strcpy(job.launcher, "/bin/ddp-launch");
        strcpy(job.program, "/bin/ddp-train");
        ddp_words_add(&job.args, "c.cfg");
        commands[i].starter->command(&job, &argv, &env);
        join(&argv, &text);
        join(&env, &added);
        ddp_text_add(&text, " %s", added.s);
        for (size_t k = 0; k < DDP_COUNT(commands[i].holds) && commands[i].holds[k]; k++)
            assert_holds(text.s, commands[i].holds[k]);
        if (!*commands[i].network)
            assert_null(strstr(text.s, "if_include"));
        ddp_text_finish(&text);
        ddp_text_finish(&added);
        ddp_words_finish(&argv);
        ddp_words_finish(&env);
        ddp_words_finish(&job.args);
    }
}

static void test_starters_start_an_agent_a_host(void **state)
{
    static const struct {
        const struct ddp_starter *starter;
        const char *holds[3];
    } cases[] = {
        {&ddp_starter_mpirun,
         {"mpirun --host n1,n2", "-np 2 --bind-to none --map-by ppr:1:node", "-x DDP_AGENT_TOKEN"}},
        {&ddp_starter_srun, {"--mpi=none --ntasks-per-node=1 --nodes=2 --ntasks=2", "--nodelist=n1,n2"}},
    };
    (void)state;
    assert_null(ddp_starter_local.agents);
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        struct ddp_words hosts = {0}, agent = {0}, argv = {0}, env = {0};
        struct ddp_text text;
        ddp_words_add_all(&hosts, (const char *const[]){"n1", "n2", NULL});
        ddp_words_add_all(&agent,
                          (const char *const[]){"/bin/ddp-launch", "--agent", "10.0.0.1", "77", NULL});
        cases[i].starter->agents(&hosts, &agent, &argv, &env);
        join(&argv, &text);
        for (size_t k = 0; k < DDP_COUNT(cases[i].holds) && cases[i].holds[k]; k++)
            assert_holds(text.s, cases[i].holds[k]);
        assert_holds(text.s, "/bin/ddp-launch --agent 10.0.0.1 77");
        ddp_text_finish(&text);
        ddp_words_finish(&hosts);
        ddp_words_finish(&agent);
        ddp_words_finish(&argv);
        ddp_words_finish(&env);
    }
}

static void test_starter_is_chosen_by_what_there_is(void **state)
{
    (void)state;
    unsetenv("SLURM_JOB_ID");
    assert_ptr_equal(ddp_starter_choose(NULL, false), &ddp_starter_local);
    assert_ptr_equal(ddp_starter_choose("auto", true), &ddp_starter_mpirun);
    assert_ptr_equal(ddp_starter_choose("srun", false), &ddp_starter_srun);
    assert_true(ddp_starter_known("auto"));
    assert_false(ddp_starter_known("bsub"));
}

/* ---- the environment ------------------------------------------------------------------------- */

static void test_rank_env_leaves_what_is_the_hosts_own(void **state)
{
    static const struct {
        const char *entry;
        bool travels;
    } cases[] = {{"NCCL_DEBUG=INFO", true},
                 {"DDP_DATA_DIR=/data", true},
                 {"OMP_NUM_THREADS=4", true},
                 {"MODULEPATH=/opt/m", true},
                 {"HOMEBREW=1", true},
                 {"HOME=/root", false},
                 {"HOSTNAME=head", false},
                 {"SLURM_NTASKS=4", false},
                 {"OMPI_COMM_WORLD_RANK=1", false},
                 {"CUDA_VISIBLE_DEVICES=0", false},
                 {"DDP_RANK=0", false},
                 {"PMIX_RANK=3", false},
                 {"BASH_FUNC_module%%=() {\n echo\n}", true}};
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(cases); i++)
        if (ddp_rank_env_travels(cases[i].entry) != cases[i].travels)
            fail_msg("%s %s", cases[i].entry, cases[i].travels ? "stays" : "travels");
}

static void test_rank_main_takes_over_the_folders_environment(void **state)
{
    struct ddp_job job = {.lock = -1};
    struct ddp_error err = {0};
    int status = -1;
    (void)state;
    strcpy(job.dir, "/tmp/ddp-test-env-XXXXXX");
    assert_non_null(mkdtemp(job.dir));
    ddp_words_add(&job.env, "%s", "A_WORD=of two; lines\nand more");
    ddp_words_add(&job.env, "NOT_WANTED");
    assert_int_equal(ddp_rank_env_write(&job, &err), 0);
    const pid_t pid = fork();
    if (pid == 0) {
        setenv("NOT_WANTED", "1", 1);
        char *argv[] = {
            job.dir, (char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c",
            (char *)(uintptr_t) "[ \"$A_WORD\" = \"of two; lines\nand more\" ] && [ -z \"$NOT_WANTED\" ]",
            NULL};
        _exit(ddp_rank_main(4, argv));
    }
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
    ddp_dir_remove(job.dir, NULL);
    ddp_words_finish(&job.env);
}

/* ---- who is missing -------------------------------------------------------------------------- */

static void test_missing_hosts_are_explained(void **state)
{
    static const struct {
        const char *missing[3], *said, *holds, *lacks;
    } cases[] = {
        {{"n1", "n7"},
         "ssh: Could not resolve hostname n7: Name or service not known\r\n-----\nORTE was unable to "
         "reliably "
         "start one or more daemons.\n  target node:  n1\n",
         "n7: ssh: Could not resolve hostname n7: Name or service not known; 'ssh n7 true' must work",
         "n1:"},
        {{"n1", "n10"}, "ssh: connect to host n10 port 22: No route to host\n", "n10: ssh: connect", "n1:"},
        {{"n2"}, "root@n2: Permission denied (publickey).\n", "n2: root@n2: Permission denied", "ORTE"},
        {{"n2"},
         "n2 cannot reach the host of ddp-launch at port 4 of 10.1.1.1\n",
         "n2: n2 cannot reach the host of ddp-launch at port 4 of 10.1.1.1; n2 must reach this host at any "
         "port",
         "ssh"},
        {{"n2"},
         "srun: error: n2: task 0: Exited with exit code 1\n",
         "'srun --overlap -w n2 true' must work",
         "ssh"},
        {{"n1", "n2"},
         "Host key verification failed.\r\n-----\nORTE was unable to reliably start\n",
         "2 of 4 other hosts did not report: n1, n2; each must be reachable from here ('ssh n1 true'), see "
         "the "
         "same folders, and reach this host at any port; what was said:\nHost key verification failed.",
         "ORTE"},
        {{"n1", "n2"}, "it fell over\n", "2 of 4 other hosts did not report: n1, n2;", "n1:"},
        {{"n1", "n2"}, "it fell over\n\n", "what was said:\nit fell over", "n1:"},
        {{"n1", "n2"},
         "Timeout, server n2 not responding.\r\n",
         "n2: Timeout, server n2 not responding.; 'ssh n2 true'",
         "n1:"},
        {{"n1", "n2"},
         "an inability to create a connection back\nConnection closed by 10.77.0.2 port 22\n",
         "n1: Connection closed by 10.77.0.2 port 22; 'ssh n1 true'",
         "n2:"},
        {{"n1", "n2"},
         "client_loop: send disconnect: Broken pipe\nn2 does not answer at port 22\n",
         "n2: n2 does not answer at port 22; 'ssh n2 true'",
         "n1:"},
        {{"n3"}, "", "1 of 4 other hosts did not report: n3; each must be reachable", "what was said"},
    };
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        struct ddp_words missing = {0}, address = {0};
        struct ddp_text out;
        ddp_text_init(&out);
        ddp_words_add_all(&missing, cases[i].missing);
        for (int k = 0; k < missing.n; k++)
            ddp_words_add(&address, k == 0 ? "fe80::2 10.77.0.2" : "10.77.0.20");
        ddp_missing_explain(&missing, &address, 4, cases[i].said, &out);
        assert_holds(out.s, cases[i].holds);
        if (strstr(out.s, cases[i].lacks))
            fail_msg("'%s' is in: %s", cases[i].lacks, out.s);
        ddp_text_finish(&out);
        ddp_words_finish(&missing);
        ddp_words_finish(&address);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_starters_name_hosts_and_network),
        cmocka_unit_test(test_starters_start_an_agent_a_host),
        cmocka_unit_test(test_starter_is_chosen_by_what_there_is),
        cmocka_unit_test(test_rank_env_leaves_what_is_the_hosts_own),
        cmocka_unit_test(test_rank_main_takes_over_the_folders_environment),
        cmocka_unit_test(test_missing_hosts_are_explained),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
