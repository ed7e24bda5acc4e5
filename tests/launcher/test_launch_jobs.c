/* Jobs of a fake rank under the real mpirun: the result, failures and their names, signals, pauses. */
#include "launch.h"

static void test_job_ends_with_the_result(void **state)
{
    static const char *const programs[] = {FAKE_RANK, FAKE_RANK_MPI};
    static const char *const ranks[] = {"1", "2", "8"}; /* 8: more than the cores of most test machines */
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(programs); i++)
        for (size_t k = 0; k < DDP_COUNT(ranks); k++) {
            struct launch l;
            launch_run(
                &l, NULL,
                (const char *const[]){"-n", ranks[k], "--program", programs[i], "c.cfg", "seed=7", NULL});
            assert_status(&l, 0);
            char last[32];
            snprintf(last, sizeof last, "out of rank %d\n", atoi(ranks[k]) - 1);
            assert_says(l.out, last);
            assert_says(l.err, "err of rank 0\n");
            const size_t n = strlen(l.out), m = strlen("run: /runs/fake-1\nweights: 0123abcd\n");
            assert_true(n >= m);
            assert_string_equal(l.out + n - m, "run: /runs/fake-1\nweights: 0123abcd\n");
        }
}

static void test_job_quiet_prints_two_lines(void **state)
{
    struct launch l;
    (void)state;
    launch_run(&l, NULL,
               (const char *const[]){"-n", "3", "--quiet", "--program", FAKE_RANK_MPI, "c.cfg", NULL});
    assert_status(&l, 0);
    assert_string_equal(l.out, "run: /runs/fake-1\nweights: 0123abcd\n");
    assert_string_equal(l.err, "");
}

static void test_job_ranks_are_told_their_place(void **state)
{
    struct launch l;
    char text[512], place[512];
    (void)state;
    launch_start(&l, (const char *const[]){"RANK_MODE=stop", NULL},
                 (const char *const[]){"-n", "2", "--threads", "1", "--program", FAKE_RANK_MPI, "c.cfg",
                                       "optim.lr=0.5", "--eval", "w.safetensors", NULL});
    launch_wait_ranks(&l, 2);
    launch_learn_job(&l);
    const pid_t rank = launch_rank_pid(&l, 1);
    assert_true(process_variable(rank, "DDP_PLACE", place, sizeof place));
    assert_says(place, "threads=1");
    assert_non_null(strchr(place, ';'));
    assert_true(process_variable(rank, "DDP_COMMAND", text, sizeof text));
    assert_says(text, "\"optim.lr=0.5\"");
    assert_true(process_variable(rank, "DDP_STARTED", text, sizeof text));
    assert_in_range((long)((ddp_now() - strtod(text, NULL)) * 1e3), 0, LAUNCH_LIMIT_S * 1000);
    launch_read(&l, "1", text, sizeof text);
    assert_says(text, "c.cfg\ntrain.threads=1\noptim.lr=0.5\n--eval\nw.safetensors\n");
    int pid, cpus, blocked = -1;
    assert_int_equal(sscanf(text, "%d %d %d", &pid, &cpus, &blocked), 3);
    assert_int_equal(blocked, 0); /* mpirun's blocked signals do not reach the ranks */
    kill(l.pid, SIGTERM);
    launch_wait(&l, ddp_now());
    assert_status(&l, 75);
    launch_end(&l);
}

static void test_job_names_the_first_failure(void **state)
{
    char host[256];
    static const struct {
        const char *mode;
        int status;
        const char *says; /* behind "rank 2 on HOST " */
        bool mpi_only;
    } table[] = {
        {"error-config", 2, "failed: layer 'fc1': 10 inputs came in, 20 were wanted\n", false},
        {"error-data", 3, "failed: train-images.gz: truncated after 100 bytes\n", false},
        {"error-comm", 4, "failed: loss is not finite at step 7\n", false},
        {"abort", 4, "was killed by signal 6 (Aborted)\n", false},
        {"segfault", 4, "was killed by signal 11 (Segmentation fault)\n", false},
        {"exit", 4, "ended with exit status 7 before it was done\n", false},
        {"die-early", 4, "ended before it could report to ddp-launch\n", false},
        {"mpi-abort", 4, "ended with exit status 9 before it was done\n", true},
    };
    (void)state;
    gethostname(host, sizeof host);
    for (size_t i = 0; i < DDP_COUNT(table); i++)
        for (int mpi = table[i].mpi_only; mpi < 2; mpi++) {
            struct launch l;
            char mode[64], says[512];
            snprintf(mode, sizeof mode, "RANK_MODE=%s", table[i].mode);
            snprintf(says, sizeof says, "ddp-launch: rank 2 on %s %s", host, table[i].says);
            launch_run(&l, (const char *const[]){mode, "RANK_WHO=2", NULL},
                       (const char *const[]){"-n", "4", "--program", mpi ? FAKE_RANK_MPI : FAKE_RANK, "c.cfg",
                                             NULL});
            assert_status(&l, table[i].status);
            assert_says(l.err, says);
            assert_silent_about(l.err, "mpirun");
            assert_silent_about(l.err, "MPI_ABORT");
            assert_silent_about(l.out, "weights:");
            assert_true(l.seconds < 5);
        }
}

static void test_job_fails_when_nobody_reports(void **state)
{
    static const struct {
        const char *mode, *program;
    } table[] = {
        {"RANK_MODE=done", "/bin/true"},
        {"RANK_MODE=done", "/bin/false"},
        {"RANK_MODE=die-early", FAKE_RANK}, /* all of them, by a signal */
        {"RANK_MODE=die-early", FAKE_RANK_MPI},
    };
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        struct launch l;
        launch_run(&l, (const char *const[]){table[i].mode, NULL},
                   (const char *const[]){"-n", "2", "--program", table[i].program, "c.cfg", NULL});
        assert_status(&l, 4);
        assert_says(l.err, "0 of 2 ranks on");
        assert_true(l.seconds < 3);
    }
}

/* Options that mpirun does not know: what it says is shown, because nothing else explains the failure. */
static void test_job_shows_what_mpirun_said(void **state)
{
    struct launch l;
    (void)state;
    launch_run(&l, (const char *const[]){"OMPI_MCA_ess=nonsense", NULL},
               (const char *const[]){"-n", "2", "--program", FAKE_RANK, "c.cfg", NULL});
    assert_status(&l, 4);
    assert_says(l.err, "0 of 2 ranks on");
    assert_says(l.err, "mpirun ended with exit status 1 and said:");
}

static void test_job_stops_softly_on_signals(void **state)
{
    static const struct {
        int sig;
        const char *says;
    } table[] = {
        {SIGINT, "SIGINT"},   {SIGTERM, "SIGTERM"}, {SIGHUP, "SIGHUP"},
        {SIGUSR1, "SIGUSR1"}, {SIGUSR2, "SIGUSR2"},
    };
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        struct launch l;
        launch_start(&l, (const char *const[]){"RANK_MODE=stop", NULL},
                     (const char *const[]){"-n", "4", "--program", FAKE_RANK_MPI, "c.cfg", NULL});
        launch_wait_ranks(&l, 4);
        launch_learn_job(&l);
        const double t = ddp_now();
        kill(l.pid, table[i].sig);
        launch_wait(&l, t);
        assert_status(&l, 75);
        assert_says(l.err, table[i].says);
        assert_says(l.out, "run: /runs/fake-1\nweights: 0123abcd\n");
        assert_true(l.seconds < 2);
        assert_nothing_left(&l, 0);
        launch_end(&l);
    }
}

/* `timeout` signals us and then our whole group: one request, and no business of mpirun's. */
static void test_job_takes_a_doubled_signal_as_one(void **state)
{
    struct launch l;
    (void)state;
    launch_start(&l, (const char *const[]){"RANK_MODE=stop", NULL},
                 (const char *const[]){"-n", "2", "--program", FAKE_RANK_MPI, "c.cfg", NULL});
    launch_wait_ranks(&l, 2);
    launch_learn_job(&l);
    kill(parent_of(launch_rank_pid(&l, 0)), SIGTERM);
    kill(l.pid, SIGTERM);
    kill(-l.pid, SIGTERM);
    launch_wait(&l, ddp_now());
    assert_status(&l, 75);
    assert_nothing_left(&l, 0);
    launch_end(&l);
}

static void test_job_second_ctrl_c_ends_at_once(void **state)
{
    struct launch l;
    (void)state;
    launch_start(&l, (const char *const[]){"RANK_MODE=ignore-stop", NULL},
                 (const char *const[]){"-n", "4", "--program", FAKE_RANK_MPI, "c.cfg", NULL});
    launch_wait_ranks(&l, 4);
    launch_learn_job(&l);
    kill(l.pid, SIGINT);
    usleep(400000);
    assert_int_equal(waitpid(l.pid, NULL, WNOHANG), 0);
    assert_int_equal(launch_processes(&l), 5);
    const double t = ddp_now();
    kill(l.pid, SIGINT);
    launch_wait(&l, t);
    assert_status(&l, 130);
    assert_true(l.seconds < 1);
    assert_says(l.err, "ended at once by a second signal");
    assert_silent_about(l.out, "weights:");
    assert_nothing_left(&l, 0);
    launch_end(&l);
}

static void test_job_says_who_is_stopped(void **state)
{
    struct launch l;
    char says[64];
    (void)state;
    launch_start(&l, (const char *const[]){"RANK_MODE=stop-itself", "RANK_WHO=1", NULL},
                 (const char *const[]){"-n", "2", "--program", FAKE_RANK, "c.cfg", NULL});
    launch_wait_ranks(&l, 2);
    snprintf(says, sizeof says, "kill -CONT %d", (int)launch_rank_pid(&l, 1));
    for (double end = ddp_now() + 10; ddp_now() < end && !strstr(l.err, says); usleep(20000))
        launch_read(&l, "err", l.err, sizeof l.err);
    assert_says(l.err, says);
    kill(launch_rank_pid(&l, 1), SIGCONT);
    kill(l.pid, SIGINT);
    launch_wait(&l, ddp_now());
    assert_status(&l, 75);
    launch_end(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_job_ends_with_the_result),
        cmocka_unit_test(test_job_quiet_prints_two_lines),
        cmocka_unit_test(test_job_ranks_are_told_their_place),
        cmocka_unit_test(test_job_names_the_first_failure),
        cmocka_unit_test(test_job_fails_when_nobody_reports),
        cmocka_unit_test(test_job_shows_what_mpirun_said),
        cmocka_unit_test(test_job_stops_softly_on_signals),
        cmocka_unit_test(test_job_takes_a_doubled_signal_as_one),
        cmocka_unit_test(test_job_second_ctrl_c_ends_at_once),
        cmocka_unit_test(test_job_says_who_is_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
