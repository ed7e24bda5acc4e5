/* The agent of another host: a process of its own behind a wire, on this host's loopback. It tells what the
 * agent of this process tells, and when one end of the wire is gone the other cleans up. The starter of its
 * ranks is a line of shell that the test runs, as another host's would be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent_log.h"
#include "launcher/address.h"
#include "launcher/agent_main.h"
#include "launcher/agent_remote.h"
#include "launcher/crew.h"

struct stage { /* a head and one agent */
    struct ddp_crew crew;
    pid_t process; /* the agent's */
    pid_t starter; /* 0: it has been waited for */
    struct ddp_agent *agent;
    char job[64], dir[128];
};
static struct stage stage;

static void start_agent(const char *token, int port)
{
    char number[16];
    snprintf(number, sizeof number, "%d", port);
    stage.process = fork();
    if (stage.process == 0) {
        setenv(DDP_AGENT_TOKEN, token, 1);
        /* the first address answers to nobody: 192.0.2.0/24 is kept for examples */
        execl(DDP_LAUNCH, DDP_LAUNCH, DDP_AGENT_OPTION, "127.0.0.1", number, (char *)NULL);
        _exit(98);
    }
}

static void open_stage(int ranks)
{
    static int count;
    struct ddp_error err = {0};
    struct ddp_words hosts = {0};
    char host[256];
    stage = (struct stage){0};
    gethostname(host, sizeof host);
    ddp_words_add(&hosts, "%s", host);
    assert_int_equal(ddp_crew_open(&hosts, &stage.crew, &err), 0);
    ddp_words_finish(&hosts);
    start_agent(stage.crew.token, stage.crew.port);
    if (ddp_crew_gather(&stage.crew, LIMIT_S, &err) != 0)
        fail_msg("%s", err.text);
    snprintf(stage.job, sizeof stage.job, "ddp-job-%d-remote-%d", (int)getpid(), count++);
    snprintf(stage.dir, sizeof stage.dir, "/tmp/%s", stage.job);
    json_t *task = json_pack("{s:s,s:s,s:s,s:s,s:i,s:s,s:[ss],s:f}", "do", "open", "job", stage.job, "host",
                             host, "base", "/tmp", "ranks", ranks, "config", "seed = 1;\n", "env",
                             "A_WORD=of the head", "DDP_STARTED=0", "elapsed", 0.5);
    if (ddp_crew_ask(&stage.crew, &task, LIMIT_S, &err) != 0)
        fail_msg("%s", err.text);
    stage.agent = ddp_remote_agent_create(host, ranks, &stage.crew.member[0].wire);
}

/* What another host's starter does: `ranks` processes with the job's tag. */
static void start_ranks(int ranks, const char *mode, const char *who)
{
    stage.starter = fork();
    if (stage.starter == 0) {
        char number[16];
        snprintf(number, sizeof number, "%d", ranks);
        setenv("RANKS", number, 1);
        setenv("DDP_LIFELINE", stage.job, 1);
        setenv("RANK_MODE", mode, 1);
        if (*who)
            setenv("RANK_WHO", who, 1);
        execl("/bin/sh", "sh", "-c",
              "exec >/dev/null 2>&1; r=0; while [ $r -lt $RANKS ]; do OMPI_COMM_WORLD_RANK=$r \"$0\" & "
              "r=$((r + 1)); done; wait",
              FAKE_RANK, (char *)NULL);
        _exit(97);
    }
}

/* The starter's end is heard on the head's host, and told. */
static void look_at_starter(struct ddp_agent *a)
{
    if (stage.starter > 0 && waitpid(stage.starter, NULL, WNOHANG) == stage.starter) {
        stage.starter = 0;
        ddp_agent_order(a, DDP_ORDER_NO_STARTER);
    }
}

static bool waits(bool (*what)(void))
{
    for (const double end = ddp_now() + LIMIT_S; ddp_now() < end; usleep(2000))
        if (what())
            return true;
    return false;
}

static bool is_agent_over(void)
{
    return waitpid(stage.process, NULL, WNOHANG) == stage.process;
}

static bool is_starter_over(void)
{
    return waitpid(stage.starter, NULL, WNOHANG) == stage.starter;
}

static bool is_folder_gone(void)
{
    return !ddp_path_exists(stage.dir);
}

static void close_stage(void)
{
    ddp_agent_destroy(stage.agent);
    ddp_crew_dismiss(&stage.crew);
    assert_true(waits(is_agent_over));
    assert_true(waits(is_folder_gone));
    if (stage.starter > 0)
        assert_true(waits(is_starter_over));
}

/* ---- news and orders ------------------------------------------------------------------------- */

static const struct agent_case cases[] = {
    {"done", "", 1, NO_ORDER, "result bye=0 ended swept output ", ""},
    {"stop", "", 1, DDP_ORDER_STOP, "result bye=75 ended swept output ", ""},
    {"error-data", "", 1, NO_ORDER, "error:0 bye=3 ended swept output ", "truncated after 100 bytes"},
    {"error-cut", "", 1, NO_ORDER, "cut:0 bye=4 ended swept output ", "connection reset"},
    {"segfault", "1", 2, NO_ORDER, "died:1 ended swept output ",
     "was killed by signal 11 (Segmentation fault)"},
    {"exit", "0", 2, NO_ORDER, "died:0 ended swept output ", "ended with exit status 7"},
    {"stop", "", 2, DDP_ORDER_KILL_RANKS, "ended swept output ", ""},
    {"die-early", "", 1, NO_ORDER, "lost ended swept output ", ""},
};

static void test_remote_agent_tells_what_happens(void **state)
{
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        struct log log = {0};
        open_stage(cases[i].ranks);
        start_ranks(cases[i].ranks, cases[i].mode, cases[i].who);
        live(stage.agent, cases[i].ranks, cases[i].order, look_at_starter, &log);
        assert_case(&cases[i], &log);
        assert_int_equal(log.gone, log.joined);
        close_stage();
    }
}

/* The rank ends when it hears of a slow one, which it is told once it has been looked at. */
static struct log heard;

static void note_and_look(struct ddp_agent *a)
{
    const struct ddp_slow_rank slow = {.rank = 7, .to = 9, .host = "n0", .cause = "it is asleep"};
    char text[DDP_SLOW_TEXT];
    ddp_slow_format(&slow, text);
    if (heard.pulses > 0) {
        ddp_agent_note(a, 5, text); /* there is no such rank */
        ddp_agent_note(a, 0, text);
    }
    look_at_starter(a);
}

static void test_remote_agent_looks_and_passes_notes_on(void **state)
{
    static const struct agent_case hears = {"hears", "", 1, NO_ORDER, "result bye=0 ended swept output ", ""};
    (void)state;
    open_stage(1);
    start_ranks(1, hears.mode, "");
    live(stage.agent, 1, NO_ORDER, note_and_look, &heard);
    assert_case(&hears, &heard);
    assert_true(heard.pulses > 0);
    assert_true(heard.alive > 0);
    close_stage();
}

/* ---- an end of the wire is gone -------------------------------------------------------------- */

static void kill_agent(struct ddp_agent *a)
{
    static bool killed;
    (void)a;
    if (!killed)
        kill(stage.process, SIGKILL);
    killed = true;
}

static void test_remote_agent_that_is_killed_is_a_lost_host(void **state)
{
    struct log log = {0};
    (void)state;
    open_stage(2);
    start_ranks(2, "stop", "");
    live(stage.agent, 2, NO_ORDER, kill_agent, &log);
    assert_string_equal(log.news, "host ended swept output ");
    close_stage(); /* its janitor has removed the folder, and its ranks have seen it go */
}

static void kill_agent_that_was_to_kill(struct ddp_agent *a)
{
    static bool killed;
    if (!killed) {
        kill(stage.process, SIGSTOP);
        ddp_agent_order(a, DDP_ORDER_KILL_RANKS);
        kill(stage.process, SIGKILL);
    }
    killed = true;
}

/* mpirun may see first that a host is gone, and end: the host is named all the same. */
static void test_remote_agent_that_is_lost_after_its_starter(void **state)
{
    struct log log = {0};
    (void)state;
    open_stage(2);
    start_ranks(2, "stop", "");
    live(stage.agent, 2, NO_ORDER, kill_agent_that_was_to_kill, &log);
    assert_string_equal(log.news, "host ended swept output ");
    close_stage();
}

static void test_remote_agent_ends_all_when_the_head_is_gone(void **state)
{
    (void)state;
    open_stage(2);
    start_ranks(2, "ignore-stop", "");
    static struct ddp_news news;
    int joined = 0;
    for (const double end = ddp_now() + LIMIT_S; joined < 2 && ddp_now() < end; usleep(2000)) {
        struct pollfd p = ddp_wire_poll(&stage.crew.member[0].wire);
        poll(&p, 1, 10);
        ddp_wire_move(&stage.crew.member[0].wire);
        while (ddp_agent_next(stage.agent, ddp_now(), &news))
            joined += news.kind == DDP_NEWS_JOINED;
    }
    assert_int_equal(joined, 2);
    close_stage();
}

/* Its host is there and answers for it, but it says nothing and hears no order: the head does without. */
static struct log silent;
static double heard_at;

static void stop_agent(struct ddp_agent *a)
{
    (void)a;
    if (silent.joined == 2 && heard_at == 0) {
        kill(stage.process, SIGSTOP);
        heard_at = ddp_now();
        silent.alive = 0;
    }
    if (heard_at > 0 && ddp_now() - heard_at > 1) {
        ddp_agent_order(a, DDP_ORDER_KILL_RANKS);
        ddp_agent_order(a, DDP_ORDER_GIVE_UP);
        ddp_agent_order(a, DDP_ORDER_SWEEP);
    }
}

static void test_remote_agent_that_is_stopped_is_given_up(void **state)
{
    (void)state;
    open_stage(2);
    start_ranks(2, "stop", "");
    live(stage.agent, 2, NO_ORDER, stop_agent, &silent);
    assert_string_equal(silent.news, "ended swept output ");
    assert_true(silent.alive <= 1); /* what was under way */
    kill(stage.process, SIGCONT);
    close_stage();
}

/* The folder of a job that has failed, made again by who was late to hear of its end. */
static void test_remote_agent_leaves_a_janitor(void **state)
{
    char job[64], dir[128];
    struct log log = {0};
    (void)state;
    open_stage(2);
    strcpy(job, stage.job);
    strcpy(dir, stage.dir);
    start_ranks(2, "segfault", "1");
    live(stage.agent, 2, NO_ORDER, look_at_starter, &log);
    close_stage();
    assert_int_equal(mkdir(dir, 0700), 0);
    setenv("DDP_LIFELINE", job, 1);
    const pid_t late = fork();
    if (late == 0) {
        execl("/bin/sleep", "sleep", "60", (char *)NULL);
        _exit(97);
    }
    unsetenv("DDP_LIFELINE");
    strcpy(stage.dir, dir);
    assert_true(waits(is_folder_gone));
    stage.process = late;
    assert_true(waits(is_agent_over));
}

/* ---- strangers ------------------------------------------------------------------------------- */

/* Who does not know the token is no agent, and hears nothing of it. */
static void test_crew_sends_strangers_away(void **state)
{
    struct ddp_error err = {0};
    struct ddp_words hosts = {0};
    char host[256], byte;
    (void)state;
    gethostname(host, sizeof host);
    ddp_words_add(&hosts, "%s", host);
    stage = (struct stage){0};
    assert_int_equal(ddp_crew_open(&hosts, &stage.crew, &err), 0);
    ddp_words_finish(&hosts);
    const int noise = ddp_address_connect("127.0.0.1", stage.crew.port);
    assert_true(noise >= 0);
    start_agent("00000000000000000000000000000000", stage.crew.port);
    assert_int_equal(send(noise, "GET / HTTP/1.1\r\n\r\n", 18, MSG_NOSIGNAL), 18);
    assert_int_equal(ddp_crew_gather(&stage.crew, 1.5, &err), DDP_E_RESOURCE);
    assert_non_null(strstr(err.text, "1 of 1 other hosts did not report"));
    assert_non_null(strstr(err.text, host));
    assert_true(recv(noise, &byte, 1, MSG_DONTWAIT) <= 0);
    close(noise);
    ddp_crew_dismiss(&stage.crew);
    assert_true(waits(is_agent_over));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_remote_agent_tells_what_happens),
        cmocka_unit_test(test_remote_agent_looks_and_passes_notes_on),
        cmocka_unit_test(test_remote_agent_that_is_killed_is_a_lost_host),
        cmocka_unit_test(test_remote_agent_that_is_lost_after_its_starter),
        cmocka_unit_test(test_remote_agent_ends_all_when_the_head_is_gone),
        cmocka_unit_test(test_remote_agent_that_is_stopped_is_given_up),
        cmocka_unit_test(test_remote_agent_leaves_a_janitor),
        cmocka_unit_test(test_crew_sends_strangers_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
