/* What an agent sees by looking: processes that somebody has stopped, wherever in the job they are, and none
 * while the job is paused; and which processes are a job's. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent_log.h"
#include "launcher/agent_local.h"
#include "launcher/process.h"
#include "launcher/silence.h"
#include "launcher/tagged.h"

/* ---- agents ---------------------------------------------------------------------------------- */

static void command(const struct ddp_job *job, struct ddp_words *argv, struct ddp_words *env)
{
    (void)env;
    ddp_words_add_all(argv, (const char *const[]){"sh", "-c", NULL});
    ddp_words_add(argv,
                  "[ \"$RANK_MODE\" != starter ] || kill -STOP $$; for r in 0 1; do OMPI_COMM_WORLD_RANK=$r "
                  "\"$0\" & done; wait");
    ddp_words_add(argv, "%s", job->program);
}

static const struct ddp_starter shell = {.name = "sh", .forks = true, .command = command};

static struct ddp_local_agent *agent;
static struct ddp_job job;
static struct log seen;

static void open_job(const struct ddp_starter *starter, const char *mode)
{
    static int count;
    struct ddp_error err = {0};
    sigset_t mask;
    sigemptyset(&mask);
    memset(&seen, 0, sizeof seen);
    job = (struct ddp_job){.lock = -1, .ranks = 2, .host = "n0"};
    strcpy(job.program, FAKE_RANK);
    snprintf(job.name, sizeof job.name, "ddp-looks-%d-%d", (int)getpid(), count++);
    ddp_words_add(&job.env, "DDP_LIFELINE=%s", job.name);
    ddp_words_add(&job.env, "RANK_MODE=%s", mode);
    ddp_words_add(&job.env, "RANK_WHO=1");
    assert_int_equal(ddp_local_agent_create(starter, &job, 2, &mask, true, &agent, &err), 0);
}

static void close_job(void)
{
    ddp_agent_destroy(ddp_agent_here(agent));
    ddp_words_finish(&job.env);
}

static void kill_when_seen(struct ddp_agent *a)
{
    if (!*seen.halted)
        return;
    ddp_agent_order(a, DDP_ORDER_KILL_RANKS);
    ddp_agent_order(a, DDP_ORDER_KILL_STARTER);
}

static void test_who_is_halted_is_told(void **state)
{
    static const struct {
        const struct ddp_starter *starter;
        const char *mode, *text;
    } cases[] = {
        {&shell, "stop-itself", "rank 1 on n0 (process "},
        {&shell, "stop-early", "a process of this job on n0 ("},
        {&shell, "starter", "a process of this job on n0 ("},
        {&ddp_starter_local, "stop-early", "a process of this job on n0 ("},
    };
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        open_job(cases[i].starter, cases[i].mode);
        live(ddp_agent_here(agent), 2, NO_ORDER, kill_when_seen, &seen);
        if (strncmp(seen.halted, cases[i].text, strlen(cases[i].text)) != 0 ||
            !strstr(seen.halted, "is stopped") || !strstr(seen.halted, "'kill -CONT "))
            fail_msg("%s: %s", cases[i].mode, seen.halted);
        close_job();
    }
}

/* For longer than it takes to see who is halted. */
static double paused_at;

static void pause_and_go_on(struct ddp_agent *a)
{
    static int before;
    if (seen.pulses < 4)
        return;
    if (paused_at == 0) {
        paused_at = ddp_now();
        ddp_agent_order(a, DDP_ORDER_PAUSE);
        before = -1;
    }
    const double since = ddp_now() - paused_at;
    if (since > 0.6 && before < 0)
        before = seen.pulses;
    if (since > 4.6 && before >= 0) {
        assert_int_equal(seen.pulses, before);
        before = -2;
        ddp_agent_order(a, DDP_ORDER_GO_ON);
        ddp_agent_order(a, DDP_ORDER_STOP);
    }
}

static void test_a_paused_job_is_not_halted(void **state)
{
    (void)state;
    open_job(&ddp_starter_local, "stop");
    live(ddp_agent_here(agent), 2, NO_ORDER, pause_and_go_on, &seen);
    assert_non_null(strstr(seen.news, "ended swept output "));
    assert_int_equal(seen.stopped, 2);
    assert_string_equal(seen.halted, "");
    close_job();
}

/* ---- processes of a job ---------------------------------------------------------------------- */

/* It waits for nothing, without a child. */
static pid_t start(const char *path, const char *lifeline, const char *argument)
{
    int silent[2];
    assert_int_equal(pipe2(silent, O_CLOEXEC), 0);
    const pid_t pid = fork();
    if (pid == 0) {
        dup2(silent[0], STDIN_FILENO);
        setenv("DDP_LIFELINE", lifeline, 1);
        execl(path, path, "-c", "read line; true", argument, (char *)NULL);
        _exit(97);
    }
    close(silent[0]); /* the other end stays open for as long as we are there */
    char name[32];
    for (int tries = 0;
         tries < 5000 && strcmp(ddp_process_name(pid, name, sizeof name), strrchr(path, '/') + 1) != 0;
         tries++)
        usleep(1000);
    return pid;
}

/* Killed: gone, or a zombie of ours. */
static bool ends(pid_t pid)
{
    int status = 0;
    for (int tries = 0; tries < 100; tries++, usleep(1000))
        if (waitpid(pid, &status, WNOHANG) == pid)
            return WIFSIGNALED(status);
    return false;
}

static void test_daemons_are_a_jobs_by_their_arguments(void **state)
{
    char dir[] = "/tmp/ddp-looks-XXXXXX", orted[64], job_name[64], job_dir[80];
    pid_t halted[4];
    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(orted, sizeof orted, "%s/orted", dir);
    assert_int_equal(symlink("/bin/sh", orted), 0);
    snprintf(job_name, sizeof job_name, "ddp-looks-%d-x", (int)getpid());
    snprintf(job_dir, sizeof job_dir, "/dev/shm/%s", job_name);
    const pid_t mine = start(orted, "", job_dir), another = start(orted, "", "/dev/shm/ddp-job-y"),
                reader = start("/bin/sh", "", job_dir), child = start("/bin/sh", job_name, "");
    kill(child, SIGSTOP);
    kill(reader, SIGSTOP);
    for (int tries = 0; tries < 5000 && ddp_process_state(child, NULL) != 'T'; tries++)
        usleep(1000);
    assert_int_equal(ddp_tagged_halted(job_name, halted, 4), 1);
    assert_int_equal(halted[0], child);
    assert_true(ddp_tagged_kill(job_name, true) ==
                1); /* of a job that ended well: what a rank left may stay */
    assert_true(ends(mine));
    assert_false(ends(child));
    assert_true(ddp_tagged_kill(job_name, false) >= 1);
    assert_true(ends(child));
    assert_false(ends(another));
    assert_false(ends(reader));
    for (int i = 0; i < 2; i++) {
        kill(i ? another : reader, SIGKILL);
        waitpid(i ? another : reader, NULL, 0);
    }
    unlink(orted);
    rmdir(dir);
}

/* ---- agents that are not heard --------------------------------------------------------------- */

static enum ddp_silence_says wait_for(struct ddp_silence *s, double *now, double seconds, bool ending,
                                      char *text)
{
    enum ddp_silence_says says = DDP_SILENCE_NOTHING;
    int who = -1;
    for (const double end = *now + seconds; *now < end && says == DDP_SILENCE_NOTHING; *now += 0.25) {
        ddp_silence_hear(s, 0, false); /* it goes on talking */
        says = ddp_silence_judge(s, *now, ending, &who, text, 256);
    }
    if (says != DDP_SILENCE_NOTHING)
        assert_int_equal(who, 1);
    return says;
}

static void test_an_agent_that_is_not_heard_is_lost(void **state)
{
    static const struct {
        double stuck_after, warn, end;
    } limits[] = {{600, 10, 600}, {6, 2, 6}, {12, 4, 12}, {0, 10, 0}};
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(limits); i++) {
        struct ddp_silence s;
        double now = 1000;
        char text[256];
        ddp_silence_init(&s, 2, limits[i].stuck_after);
        assert_int_equal(wait_for(&s, &now, limits[i].warn - 0.5, false, text), DDP_SILENCE_NOTHING);
        now += 3600; /* we were paused */
        assert_int_equal(wait_for(&s, &now, 2, false, text), DDP_SILENCE_WARNS);
        assert_non_null(strstr(text, "does not answer: its agent has said nothing for "));
        assert_true((strstr(text, "the job is ended") != NULL) == (limits[i].end > 0));
        assert_true(ddp_silence_is_told(&s));
        ddp_silence_hear(&s, 1, false);
        assert_int_equal(wait_for(&s, &now, 1, false, text), DDP_SILENCE_OVER);
        assert_false(ddp_silence_is_told(&s));
        assert_int_equal(wait_for(&s, &now, limits[i].warn + 1, false, text), DDP_SILENCE_WARNS);
        const enum ddp_silence_says says = wait_for(&s, &now, 2000, false, text);
        assert_int_equal(says, limits[i].end > 0 ? DDP_SILENCE_ENDS : DDP_SILENCE_NOTHING);
        if (limits[i].end > 0)
            assert_non_null(strstr(text, "is lost: its agent has said nothing for "));
        assert_int_equal(wait_for(&s, &now, 2000, false, text), DDP_SILENCE_NOTHING); /* it is lost once */
        ddp_silence_finish(&s);
    }
}

/* It may be stopped while all are to end: nobody waits for its user's patience then. */
static void test_the_end_does_not_wait_for_an_agent(void **state)
{
    struct ddp_silence s;
    double now = 1000;
    char text[256];
    (void)state;
    ddp_silence_init(&s, 2, 0);
    assert_int_equal(wait_for(&s, &now, 9, true, text), DDP_SILENCE_NOTHING);
    assert_int_equal(wait_for(&s, &now, 3, true, text), DDP_SILENCE_ENDS);
    ddp_silence_finish(&s);
    ddp_silence_init(&s, 2, 600);
    ddp_silence_hear(&s, 1, true); /* its last word */
    assert_int_equal(wait_for(&s, &now, 2000, true, text), DDP_SILENCE_NOTHING);
    ddp_silence_finish(&s);
}

/* Of those that are heard through an agent that is stopped nothing is known: it alone is named, and what it
 * goes on to say of them counts from then. */
static void test_those_behind_a_silent_agent_are_not_blamed(void **state)
{
    struct ddp_silence s;
    double now = 1000;
    char text[256];
    int who = -1, named = 0;
    (void)state;
    ddp_silence_init(&s, 4, 60);
    for (int i = 2; i < 4; i++)
        ddp_silence_through(&s, i, 1);
    for (const double end = now + 40; now < end; now += 0.25) {
        ddp_silence_hear(&s, 0, false);
        if (ddp_silence_judge(&s, now, false, &who, text, sizeof text) == DDP_SILENCE_NOTHING)
            continue;
        assert_int_equal(who, 1);
        named++;
    }
    assert_int_equal(named, 1);
    ddp_silence_hear(&s, 1, false);
    assert_int_equal(ddp_silence_judge(&s, now, false, &who, text, sizeof text), DDP_SILENCE_OVER);
    assert_int_equal(ddp_silence_judge(&s, now, false, &who, text, sizeof text), DDP_SILENCE_NOTHING);
    named = 0;
    for (const double end = now + 12; now < end; now += 0.25) { /* 3 is stopped as well */
        for (int i = 0; i < 3; i++)
            ddp_silence_hear(&s, i, false);
        if (ddp_silence_judge(&s, now, false, &who, text, sizeof text) == DDP_SILENCE_NOTHING)
            continue;
        assert_int_equal(who, 3);
        named++;
    }
    assert_int_equal(named, 1);
    ddp_silence_finish(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_those_behind_a_silent_agent_are_not_blamed),
        cmocka_unit_test(test_who_is_halted_is_told),
        cmocka_unit_test(test_a_paused_job_is_not_halted),
        cmocka_unit_test(test_daemons_are_a_jobs_by_their_arguments),
        cmocka_unit_test(test_an_agent_that_is_not_heard_is_lost),
        cmocka_unit_test(test_the_end_does_not_wait_for_an_agent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
