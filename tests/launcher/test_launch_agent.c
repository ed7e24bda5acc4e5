/* The agent of a host and its news: with ranks that are its children, and under a starter that is a line of
 * shell: no mpirun, no MPI. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent_log.h"
#include "launcher/agent_local.h"

/* ---- the starter ----------------------------------------------------------------------------- */

static int check(struct ddp_error *err)
{
    (void)err;
    return 0;
}

static void command(const struct ddp_job *job, struct ddp_words *argv, struct ddp_words *env)
{
    ddp_words_add(env, "RANKS=%d", job->ranks);
    ddp_words_add_all(argv, (const char *const[]){"sh", "-c", NULL});
    ddp_words_add(argv,
                  "r=0; while [ $r -lt $RANKS ]; do OMPI_COMM_WORLD_RANK=$r \"$0\" & r=$((r + 1)); done; "
                  "wait");
    ddp_words_add(argv, "%s", job->program);
}

static const struct ddp_starter shell = {
    .name = "sh", .forks = true, .check = check, .command = command, .kill_after_ms = 100};

/* ---- what it sees ---------------------------------------------------------------------------- */

static const struct agent_case shell_cases[] = {
    {"done", "", 1, NO_ORDER, "result bye=0 ended swept output ", ""},
    {"done", "", 1, DDP_ORDER_STOP, "result bye=0 ended swept output ", ""}, /* never reads it */
    {"stop", "", 1, DDP_ORDER_STOP, "result bye=75 ended swept output ", ""},
    {"error-data", "", 1, NO_ORDER, "error:0 bye=3 ended swept output ", "truncated after 100 bytes"},
    {"segfault", "1", 2, NO_ORDER, "died:1 ended swept output ",
     "was killed by signal 11 (Segmentation fault)"},
    {"exit", "0", 2, NO_ORDER, "died:0 ended swept output ", "ended with exit status 7"},
    {"die-early", "1", 2, NO_ORDER, "missing:1 ended swept output ",
     "ended before it could report to ddp-launch"},
    {"die-early", "", 2, NO_ORDER, "lost ended swept output ", ""},
    {"stop", "", 2, DDP_ORDER_KILL_RANKS, "ended swept output ", ""},
    {"stop", "", 2, DDP_ORDER_KILL_STARTER, "lost ended:killed swept output ", ""},
};

/* The same with ranks that are the agent's own children: what it could only guess of others, it sees. */
static const struct agent_case own_cases[] = {
    {"done", "", 1, NO_ORDER, "result bye=0 ended swept output ", ""},
    {"done", "", 1, DDP_ORDER_STOP, "result bye=0 ended swept output ", ""},
    {"stop", "", 1, DDP_ORDER_STOP, "result bye=75 ended swept output ", ""},
    {"error-data", "", 1, NO_ORDER, "error:0 bye=3 ended swept output ", "truncated after 100 bytes"},
    {"segfault", "1", 2, NO_ORDER, "died:1 ended swept output ",
     "was killed by signal 11 (Segmentation fault)"},
    {"exit", "0", 2, NO_ORDER, "died:0 ended swept output ", "ended with exit status 7 before it was done"},
    {"die-early", "1", 2, NO_ORDER, "missing:1 ended swept output ",
     "was killed by signal 9 (Killed) before it could report"},
    {"die-early", "", 1, NO_ORDER, "missing:0 ended swept output ", "was killed by signal 9 (Killed)"},
    {"exit-early", "1", 2, NO_ORDER, "missing:1 ended swept output ", "exit status 7 before it could report"},
    {"meets", "", 1, DDP_ORDER_ALL_MET, "result bye=0 ended swept output ", ""},
    {"meets", "", 2, DDP_ORDER_KILL_RANKS, "ended swept output ", ""}, /* they wait for the others */
    {"error-gone", "1", 2, NO_ORDER, "error:1 died:1 ended swept output ", "ended with exit status 3"},
    {"stop", "", 2, DDP_ORDER_KILL_RANKS, "ended swept output ", ""},
};

static void run_cases(const struct ddp_starter *starter, const struct agent_case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct ddp_job job = {.lock = -1, .ranks = cases[i].ranks, .host = "n0"};
        struct log log = {0};
        struct ddp_local_agent *agent = NULL;
        struct ddp_error err = {0};
        sigset_t mask;
        sigemptyset(&mask);
        strcpy(job.program, FAKE_RANK);
        snprintf(job.name, sizeof job.name, "ddp-agent-%d-%s-%zu", (int)getpid(), starter->name, i);
        ddp_words_add(&job.env, "DDP_LIFELINE=%s", job.name);
        ddp_words_add(&job.env, "RANK_MODE=%s", cases[i].mode);
        if (cases[i].who[0])
            ddp_words_add(&job.env, "RANK_WHO=%s", cases[i].who);
        assert_int_equal(ddp_local_agent_create(starter, &job, job.ranks, &mask, true, &agent, &err), 0);
        live(ddp_agent_here(agent), cases[i].ranks, cases[i].order, NULL, &log);
        assert_case(&cases[i], &log);
        if (cases[i].order !=
            DDP_ORDER_KILL_STARTER) /* those may outlive it by the time that a signal takes */
            assert_int_equal(log.gone, log.joined);
        ddp_agent_destroy(ddp_agent_here(agent));
        ddp_words_finish(&job.env);
    }
}

static void test_agent_tells_what_happens(void **state)
{
    (void)state;
    run_cases(&shell, shell_cases, DDP_COUNT(shell_cases));
}

static void test_agent_tells_of_its_own_children(void **state)
{
    (void)state;
    run_cases(&ddp_starter_local, own_cases, DDP_COUNT(own_cases));
}

/* The limit is named at once, and nothing has been started. */
static void test_agent_names_the_limit_of_descriptors(void **state)
{
    struct ddp_job job = {.lock = -1, .ranks = 64, .host = "n0", .name = "ddp-agent-limit"};
    struct ddp_local_agent *agent = NULL;
    struct ddp_error err = {0};
    sigset_t mask;
    (void)state;
    sigemptyset(&mask);
    fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0) {
        setrlimit(RLIMIT_NOFILE, &(struct rlimit){100, 100});
        const int code =
            ddp_local_agent_create(&ddp_starter_local, &job, job.ranks, &mask, true, &agent, &err);
        _exit(code == DDP_E_RESOURCE && strstr(err.text, "64 ranks need") && strstr(err.text, "limit is 100")
                  ? 0
                  : 1);
    }
    int status = -1;
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
}

static void test_agent_fails_without_its_starter(void **state)
{
    struct ddp_job job = {.lock = -1, .ranks = 1, .host = "n0", .name = "ddp-agent-none"};
    struct ddp_local_agent *agent = NULL;
    struct ddp_error err = {0};
    sigset_t mask;
    (void)state;
    sigemptyset(&mask);
    setenv("PATH", "/nowhere", 1);
    assert_int_equal(ddp_local_agent_create(&shell, &job, job.ranks, &mask, true, &agent, &err),
                     DDP_E_RESOURCE);
    assert_non_null(strstr(err.text, "sh cannot be started"));
    assert_null(agent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agent_tells_what_happens),
        cmocka_unit_test(test_agent_tells_of_its_own_children),
        cmocka_unit_test(test_agent_names_the_limit_of_descriptors),
        cmocka_unit_test(test_agent_fails_without_its_starter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
