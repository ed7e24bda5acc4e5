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

#include "launcher/agent_local.h"

enum { LIMIT_S = 20, NO_ORDER = -1 };

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
    .name = "sh", .check = check, .command = command, .kill_after_ms = 100};

/* ---- a head that only writes down ------------------------------------------------------------ */

static const char *const names[] = {[DDP_NEWS_ERROR] = "error",       [DDP_NEWS_RESULT] = "result",
                                    [DDP_NEWS_SAVED] = "saved",       [DDP_NEWS_BYE] = "bye",
                                    [DDP_NEWS_DIED] = "died",         [DDP_NEWS_MISSING] = "missing",
                                    [DDP_NEWS_NOBODY] = "nobody",     [DDP_NEWS_HALTED] = "halted",
                                    [DDP_NEWS_STARTER_LOST] = "lost", [DDP_NEWS_STARTER_ENDED] = "ended",
                                    [DDP_NEWS_SWEPT] = "swept",       [DDP_NEWS_OUTPUT_ENDED] = "output"};

struct log {
    char news[512]; /* their names; rank of a failure, status of a goodbye */
    char text[512]; /* of the first failure */
    int joined, gone;
};

static void write_down(struct log *log, const struct ddp_news *n)
{
    const size_t len = strlen(log->news);
    log->joined += n->kind == DDP_NEWS_JOINED;
    log->gone += n->kind == DDP_NEWS_GONE;
    if (n->kind == DDP_NEWS_JOINED || n->kind == DDP_NEWS_GONE) /* when, is the kernel's business */
        return;
    const char *end = n->kind == DDP_NEWS_STARTER_ENDED && n->killed ? ":killed" : "";
    if (n->kind == DDP_NEWS_ERROR || n->kind == DDP_NEWS_DIED || n->kind == DDP_NEWS_MISSING) {
        snprintf(log->news + len, sizeof log->news - len, "%s:%d ", names[n->kind], n->rank);
        snprintf(log->text, sizeof log->text, "%.500s", n->text);
    } else if (n->kind == DDP_NEWS_BYE) {
        snprintf(log->news + len, sizeof log->news - len, "bye=%d ", n->value);
    } else {
        snprintf(log->news + len, sizeof log->news - len, "%s%s ", names[n->kind], end);
    }
}

/* What the head of a job would do next; `order` is given when all ranks have joined. */
static void live(struct ddp_agent *a, int ranks, int order, struct log *log)
{
    struct pollfd fds[32];
    static struct ddp_news news;
    bool over = false;
    const double end = ddp_now() + LIMIT_S;
    assert_true(ddp_agent_watches(a) <= (int)DDP_COUNT(fds));
    while (!over && ddp_now() < end) {
        double until = ddp_now() + 0.01;
        const int n = ddp_agent_watch(a, fds, &until);
        poll(fds, (nfds_t)n, 10);
        ddp_agent_woken(a, fds);
        while (ddp_agent_next(a, ddp_now(), &news)) {
            write_down(log, &news);
            if (news.kind == DDP_NEWS_JOINED && log->joined == ranks && order >= 0)
                ddp_agent_order(a, (enum ddp_order)order);
            if (news.kind == DDP_NEWS_MISSING)
                ddp_agent_order(a, DDP_ORDER_KILL_RANKS);
            if (news.kind == DDP_NEWS_STARTER_ENDED)
                ddp_agent_order(a, DDP_ORDER_SWEEP);
            over |= news.kind == DDP_NEWS_OUTPUT_ENDED;
        }
    }
    assert_true(over);
}

/* ---- what it sees ---------------------------------------------------------------------------- */

struct agent_case {
    const char *mode, *who;
    int ranks;
    int order;
    const char *news, *text;
};

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
        live(ddp_agent_here(agent), cases[i].ranks, cases[i].order, &log);
        if (strcmp(log.news, cases[i].news) != 0 || !strstr(log.text, cases[i].text))
            fail_msg("%s %s: %s(%s), not %s(%s)", cases[i].mode, cases[i].who, log.news, log.text,
                     cases[i].news, cases[i].text);
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
