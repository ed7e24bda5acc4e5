/* Jobs of a fake rank, started by the launcher itself and by the real mpirun: the result, failures and their
 * names, signals, pauses. */
#include "launch.h"

static void test_job_ends_with_the_result(void **state)
{
    static const char *const ranks[] = {"1", "2", "8"}; /* 8: more than the cores of most test machines */
    (void)state;
    for (size_t i = 0; i < HOWS; i++)
        for (size_t k = 0; k < DDP_COUNT(ranks); k++) {
            struct launch l;
            launch_run(&l, NULL,
                       (const char *const[]){hows[i].starter, "-n", ranks[k], "--program", hows[i].program,
                                             "c.cfg", "seed=7", NULL});
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
    (void)state;
    for (size_t i = 0; i < HOWS; i++) {
        struct launch l;
        launch_run(&l, NULL,
                   (const char *const[]){hows[i].starter, "-n", "3", "--quiet", "--program", hows[i].program,
                                         "c.cfg", NULL});
        assert_status(&l, 0);
        assert_string_equal(l.out, "run: /runs/fake-1\nweights: 0123abcd\n");
        assert_string_equal(l.err, "");
    }
}

/* How many ranks the lines that hold `what` speak for; *lines: how many lines there are. */
static int count_speakers(const char *text, const char *what, int *lines)
{
    int speakers = 0;
    *lines = 0;
    for (const char *s = text; (s = strstr(s, what)); s++, ++*lines) {
        const char *line = s;
        int n = 1;
        while (line > text && line[-1] != '\n')
            line--;
        if (sscanf(line, "all %d ranks: ", &n) != 1 && sscanf(line, "%d ranks (", &n) != 1)
            sscanf(line, "%d times: ", &n);
        speakers += n;
    }
    return speakers;
}

/* A machine that is busy may keep a rank from its word for longer than the others' lines wait. */
static void test_job_shows_a_line_of_all_ranks_once(void **state)
{
    enum { TRIES = 10 };
    static const char what[] = "warning: the driver is old\n";
    (void)state;
    for (size_t i = 0; i < HOWS; i++) {
        struct launch l;
        int lines = 0;
        for (int tries = 0; tries < TRIES && lines != 1; tries++) {
            launch_run(&l, (const char *const[]){"RANK_MODE=warns", "RANK_COUNT=4", NULL},
                       (const char *const[]){hows[i].starter, "-n", "4", "--program", hows[i].program,
                                             "c.cfg", NULL});
            assert_status(&l, 0);
            assert_int_equal(count_speakers(l.err, what, &lines), 4);
        }
        assert_int_equal(lines, 1);
        assert_says(l.err, hows[i].processes ? "4 times: warning" : "all 4 ranks: warning");
    }
}

static void ranks_are_told_their_place(const struct how *how)
{
    struct launch l;
    char text[512], place[512];
    launch_start(&l, (const char *const[]){"RANK_MODE=stop", NULL},
                 (const char *const[]){how->starter, "-n", "2", "--threads", "1", "--program", how->program,
                                       "c.cfg", "optim.lr=0.5", "--eval", "w.safetensors", NULL});
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
    assert_int_equal(blocked, 0); /* what we block does not reach the ranks */
    kill(l.pid, SIGTERM);
    launch_wait(&l, ddp_now());
    assert_status(&l, 75);
    launch_end(&l);
}

static void test_job_ranks_are_told_their_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < HOWS; i++)
        ranks_are_told_their_place(&hows[i]);
}

static void test_job_names_the_first_failure(void **state)
{
    char host[256];
    static const struct {
        const char *mode;
        int status;
        const char *says; /* behind "rank 2 on HOST " */
        const char *under_mpirun;
    } table[] = {
        {"error-config", 2, "failed: layer 'fc1': 10 inputs came in, 20 were wanted\n", NULL},
        {"error-data", 3, "failed: train-images.gz: truncated after 100 bytes\n", NULL},
        {"error-comm", 4, "failed: loss is not finite at step 7\n", NULL},
        {"error-gone", 3, "failed: the disk is full\n", NULL},
        {"abort", 4, "was killed by signal 6 (Aborted)\n", NULL},
        {"segfault", 4, "was killed by signal 11 (Segmentation fault)\n", NULL},
        {"exit", 4, "ended with exit status 7 before it was done\n", NULL},
        {"die-early", 4, "was killed by signal 9 (Killed) before it could report to ddp-launch\n",
         "ended before it could report to ddp-launch\n"},
        {"mpi-abort", 4, NULL, "ended with exit status 9 before it was done\n"},
    };
    (void)state;
    gethostname(host, sizeof host);
    for (size_t i = 0; i < DDP_COUNT(table); i++)
        for (size_t k = 0; k < HOWS; k++) {
            struct launch l;
            char mode[64], says[512];
            const char *what = k == 1 && table[i].under_mpirun ? table[i].under_mpirun : table[i].says;
            if (!what)
                continue;
            snprintf(mode, sizeof mode, "RANK_MODE=%s", table[i].mode);
            snprintf(says, sizeof says, "ddp-launch: rank 2 on %s %s", host, what);
            launch_run(&l, (const char *const[]){mode, "RANK_WHO=2", NULL},
                       (const char *const[]){hows[k].starter, "-n", "4", "--program", hows[k].program,
                                             "c.cfg", NULL});
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
        const char *starter, *mode, *program, *says;
    } table[] = {
        {"--starter=local", "RANK_MODE=done", "/bin/true",
         "ended with exit status 0 before it could report to ddp-launch (a --program must be"},
        {"--starter=local", "RANK_MODE=done", "/bin/false",
         "ended with exit status 1 before it could report"},
        {"--starter=local", "RANK_MODE=die-early", FAKE_RANK, "was killed by signal 9 (Killed) before it"},
        {"--starter=mpirun", "RANK_MODE=done", "/bin/false", "0 of 2 ranks on"},
        {"--starter=mpirun", "RANK_MODE=die-early", FAKE_RANK_MPI, "0 of 2 ranks on"},
    };
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        struct launch l;
        if (HOWS < 2 && strstr(table[i].starter, "mpirun"))
            continue;
        launch_run(
            &l, (const char *const[]){table[i].mode, NULL},
            (const char *const[]){table[i].starter, "-n", "2", "--program", table[i].program, "c.cfg", NULL});
        assert_status(&l, 4);
        assert_says(l.err, table[i].says);
        assert_true(l.seconds < 3);
    }
}

/* Options that mpirun does not know: what it says is shown, because nothing else explains the failure. */
static void test_job_shows_what_mpirun_said(void **state)
{
    struct launch l;
    (void)state;
    if (HOWS < 2)
        skip();
    launch_run(&l, (const char *const[]){"OMPI_MCA_ess=nonsense", NULL},
               (const char *const[]){"--starter=mpirun", "-n", "2", "--program", FAKE_RANK, "c.cfg", NULL});
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
    for (size_t k = 0; k < HOWS * DDP_COUNT(table); k++) {
        const struct how *how = &hows[k % HOWS];
        const size_t i = k / HOWS;
        struct launch l;
        launch_start(
            &l, (const char *const[]){"RANK_MODE=stop", NULL},
            (const char *const[]){how->starter, "-n", "4", "--program", how->program, "c.cfg", NULL});
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

/* Batch systems and closed sessions signal every process of a job; and who signals one rank means the job. */
static void test_job_stops_softly_on_signals_to_ranks(void **state)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2};
    (void)state;
    for (size_t k = 0; k < 2 * HOWS * DDP_COUNT(signals); k++) {
        const struct how *how = &hows[k % HOWS];
        const int sig = signals[k / HOWS % DDP_COUNT(signals)];
        const bool all = k >= HOWS * DDP_COUNT(signals);
        struct launch l;
        launch_start(
            &l, (const char *const[]){"RANK_MODE=stop", NULL},
            (const char *const[]){how->starter, "-n", "3", "--program", how->program, "c.cfg", NULL});
        launch_wait_ranks(&l, 3);
        launch_learn_job(&l);
        const double t = ddp_now();
        for (int r = 0; r < 3; r++)
            if (all || r == 1) /* the launcher tells the others */
                kill(launch_rank_pid(&l, r), sig);
        if (all)
            kill(l.pid, sig);
        launch_wait(&l, t);
        assert_status(&l, 75);
        assert_says(l.err, "stopped by SIG");
        assert_nothing_left(&l, 0);
        launch_end(&l);
    }
}

/* nohup: what was ignored at the start stays so, in the launcher and in its ranks. */
static void test_job_goes_on_under_nohup(void **state)
{
    (void)state;
    for (size_t i = 0; i < HOWS; i++) {
        struct launch l;
        signal(SIGHUP, SIG_IGN);
        launch_start(
            &l, (const char *const[]){"RANK_MODE=stop", NULL},
            (const char *const[]){hows[i].starter, "-n", "2", "--program", hows[i].program, "c.cfg", NULL});
        signal(SIGHUP, SIG_DFL);
        launch_wait_ranks(&l, 2);
        launch_learn_job(&l);
        for (int r = 0; r < 2; r++)
            kill(launch_rank_pid(&l, r), SIGHUP);
        kill(l.pid, SIGHUP);
        usleep(300000);
        assert_int_equal(waitpid(l.pid, NULL, WNOHANG), 0);
        assert_int_equal(launch_processes(&l), 2 + hows[i].processes);
        kill(l.pid, SIGTERM);
        launch_wait(&l, ddp_now());
        assert_status(&l, 75);
        assert_says(l.err, "stopped by SIGTERM");
        launch_end(&l);
    }
}

/* launch.grace seconds after a request, who has not stopped is named and killed. */
static void test_job_names_who_does_not_stop(void **state)
{
    static const struct {
        const char *who, *says;
    } table[] = {{"RANK_WHO=1", ": rank 1 on "}, {"RANK_WHO=-1", ": ranks 0, 1 and 2 on "}};
    (void)state;
    for (size_t k = 0; k < HOWS * DDP_COUNT(table); k++) {
        const struct how *how = &hows[k % HOWS];
        struct launch l;
        launch_start(&l, (const char *const[]){"RANK_MODE=ignore-stop", table[k / HOWS].who, NULL},
                     (const char *const[]){how->starter, "-n", "3", "--program", how->program, "c.cfg",
                                           "launch.grace=1", NULL});
        launch_wait_ranks(&l, 3);
        launch_learn_job(&l);
        const double t = ddp_now();
        kill(l.pid, SIGTERM);
        launch_wait(&l, t);
        assert_status(&l, 4);
        assert_true(l.seconds >= 1);
        assert_says(l.err, "SIGTERM: stopping after this step and saving, within 1 s (launch.grace)");
        assert_says(l.err, table[k / HOWS].says);
        assert_says(l.err, " did not stop within 1 s of SIGTERM (launch.grace) and had to be killed");
        assert_silent_about(l.out, "weights:");
        assert_nothing_left(&l, 1);
        launch_end(&l);
    }
}

/* `timeout` signals us and then our whole group: one request, and no business of mpirun's. */
static void test_job_takes_a_doubled_signal_as_one(void **state)
{
    struct launch l;
    (void)state;
    if (HOWS < 2)
        skip();
    launch_start(
        &l, (const char *const[]){"RANK_MODE=stop", NULL},
        (const char *const[]){"--starter=mpirun", "-n", "2", "--program", FAKE_RANK_MPI, "c.cfg", NULL});
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

static void second_ctrl_c_ends_at_once(const struct how *how)
{
    struct launch l;
    launch_start(&l, (const char *const[]){"RANK_MODE=ignore-stop", NULL},
                 (const char *const[]){how->starter, "-n", "4", "--program", how->program, "c.cfg", NULL});
    launch_wait_ranks(&l, 4);
    launch_learn_job(&l);
    kill(l.pid, SIGINT);
    usleep(400000);
    assert_int_equal(waitpid(l.pid, NULL, WNOHANG), 0);
    assert_int_equal(launch_processes(&l), 4 + how->processes);
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

static void test_job_second_ctrl_c_ends_at_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < HOWS; i++)
        second_ctrl_c_ends_at_once(&hows[i]);
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

/* What broke mpirun on one machine is no business of ranks that we start ourselves: nothing on PATH, no HOME,
 * another launcher's variables, few descriptors, a program that may be run but not read, no root. */
static void test_job_needs_nothing_of_the_system(void **state)
{
    static const struct {
        const char *script, *says;
        int status;
    } table[] = {
        {"exec env -i DDP_CONFIGS_DIR=$DDP_CONFIGS_DIR RANK_DIR=. \"$0\" -n 4 --program \"$1\" c.cfg",
         "weights:", 0},
        {"PATH=/nonexistent; exec \"$0\" -n 2 --program \"$1\" c.cfg", "weights:", 0},
        {"export OMPI_COMM_WORLD_SIZE=3 OMPI_COMM_WORLD_RANK=2 PMIX_RANK=2 PMI_SIZE=9 SLURM_JOB_ID=1 "
         "DDP_RANK=7 "
         "DDP_RANKS=8; exec \"$0\" -n 2 --program \"$1\" c.cfg",
         "weights:", 0},
        {"trap '' CHLD HUP INT TERM PIPE ALRM USR1 USR2; exec \"$0\" -n 2 --program \"$1\" c.cfg",
         "weights:", 0},
        {"exec \"$0\" -n 2 --program \"$1\" c.cfg <&-", "weights:", 0},
        {"exec \"$0\" -n 2 --program \"$1\" c.cfg >&-", "err of rank 0", 0},
        {"exec \"$0\" -n 2 --program \"$1\" c.cfg 2>&-", "weights:", 0},
        {"exec \"$0\" -n 2 --program \"$1\" c.cfg <&- >&- 2>&-", "", 0},
        {"ulimit -n 40; exec \"$0\" -n 4 --program \"$1\" c.cfg", "weights:", 0},
        {"ulimit -n 256; exec \"$0\" -n 64 --program \"$1\" c.cfg train.shards=64 train.batch=64",
         "weights:", 0},
        {"ulimit -Sn 32; exec \"$0\" -n 64 --program \"$1\" c.cfg train.shards=64 train.batch=64",
         "weights:", 0},
        {"ulimit -n 100; exec \"$0\" -n 64 --program \"$1\" c.cfg train.shards=64 train.batch=64",
         "64 ranks need 212 open files, and the limit is 100", 3},
        {"cp \"$1\" run; chmod 111 run; chmod 777 .; exec setpriv --reuid 12345 --regid 12345 --clear-groups "
         "env -u "
         "HOME \"$0\" -n 2 --program ./run c.cfg run.dir=.",
         "weights:", 0},
    };
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        struct launch l = {0};
        if (geteuid() != 0 && strstr(table[i].script, "setpriv"))
            continue;
        strcpy(l.dir, "/tmp/ddp-test-launch-XXXXXX");
        assert_non_null(mkdtemp(l.dir));
        launch_config(l.dir);
        const double since = ddp_now();
        l.pid = fork();
        if (l.pid == 0) {
            if (chdir(l.dir) != 0)
                _exit(99);
            setenv("DDP_CONFIGS_DIR", SOURCE_DIR "/configs", 1);
            const int out = open("out", O_WRONLY | O_CREAT, 0600),
                      err = open("err", O_WRONLY | O_CREAT, 0600);
            dup2(out, 1);
            dup2(err, 2);
            execl("/bin/bash", "bash", "-c", table[i].script, DDP_LAUNCH, FAKE_RANK, (char *)NULL);
            _exit(98);
        }
        launch_wait(&l, since);
        launch_end(&l);
        if (l.status != table[i].status || !(strstr(l.out, table[i].says) || strstr(l.err, table[i].says)))
            fail_msg("%s: exit status %d; stdout: %s; stderr: %s", table[i].script, l.status, l.out, l.err);
    }
}

/* Nobody reads our output, and its pipe stays open: a signal stops the job all the same, and launch.grace
 * after it no word is waited for. */
static void test_job_ends_though_nobody_reads(void **state)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(signals); i++) {
        struct launch l = {0};
        int pipes[2], status = 0;
        strcpy(l.dir, "/tmp/ddp-test-launch-XXXXXX");
        assert_non_null(mkdtemp(l.dir));
        launch_config(l.dir);
        assert_int_equal(pipe(pipes), 0);
        l.pid = fork();
        if (l.pid == 0) {
            if (chdir(l.dir) != 0)
                _exit(99);
            setenv("RANK_DIR", l.dir, 1);
            setenv("RANK_MODE", "flood", 1);
            setenv("DDP_CONFIGS_DIR", SOURCE_DIR "/configs", 1);
            dup2(pipes[1], 1);
            dup2(pipes[1], 2);
            execl(DDP_LAUNCH, DDP_LAUNCH, "-n", "2", "--program", FAKE_RANK, "c.cfg", "launch.grace=1",
                  (char *)NULL);
            _exit(98);
        }
        launch_wait_ranks(&l, 2);
        launch_learn_job(&l);
        usleep(300000);
        assert_int_equal(waitpid(l.pid, NULL, WNOHANG), 0);
        kill(l.pid, signals[i]);
        pid_t ended = 0;
        for (double end = ddp_now() + LAUNCH_LIMIT_S; ended == 0 && ddp_now() < end; usleep(10000))
            ended = waitpid(l.pid, &status, WNOHANG);
        if (ended == 0)
            kill(l.pid, SIGKILL);
        close(pipes[0]);
        close(pipes[1]);
        assert_int_equal(ended, l.pid);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 75)
            fail_msg("wait status %x", status);
        assert_nothing_left(&l, 2);
        launch_end(&l);
    }
}

/* One process group of their own, no terminal to read from, and each its number. */
static void test_job_ranks_are_children(void **state)
{
    struct launch l;
    (void)state;
    launch_start(&l, (const char *const[]){"RANK_MODE=stop", NULL},
                 (const char *const[]){"-n", "3", "--program", FAKE_RANK, "c.cfg", NULL});
    launch_wait_ranks(&l, 3);
    launch_learn_job(&l);
    assert_int_equal(launch_processes(&l), 3);
    assert_int_equal(launch_folders(&l), 0);
    for (int r = 0; r < 3; r++) {
        const pid_t pid = launch_rank_pid(&l, r);
        char path[64], target[64] = "", value[16];
        assert_int_equal(parent_of(pid), l.pid);
        assert_int_equal(getpgid(pid), launch_rank_pid(&l, 0));
        snprintf(path, sizeof path, "/proc/%d/fd/0", (int)pid);
        assert_true(readlink(path, target, sizeof target - 1) > 0);
        assert_string_equal(target, "/dev/null");
        assert_true(process_variable(pid, "DDP_RANK", value, sizeof value));
        assert_int_equal(atoi(value), r);
    }
    kill(l.pid, SIGTERM);
    launch_wait(&l, ddp_now());
    assert_status(&l, 75);
    launch_end(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_job_ends_with_the_result),
        cmocka_unit_test(test_job_quiet_prints_two_lines),
        cmocka_unit_test(test_job_shows_a_line_of_all_ranks_once),
        cmocka_unit_test(test_job_ranks_are_told_their_place),
        cmocka_unit_test(test_job_names_the_first_failure),
        cmocka_unit_test(test_job_fails_when_nobody_reports),
        cmocka_unit_test(test_job_shows_what_mpirun_said),
        cmocka_unit_test(test_job_stops_softly_on_signals),
        cmocka_unit_test(test_job_stops_softly_on_signals_to_ranks),
        cmocka_unit_test(test_job_goes_on_under_nohup),
        cmocka_unit_test(test_job_names_who_does_not_stop),
        cmocka_unit_test(test_job_takes_a_doubled_signal_as_one),
        cmocka_unit_test(test_job_second_ctrl_c_ends_at_once),
        cmocka_unit_test(test_job_says_who_is_stopped),
        cmocka_unit_test(test_job_needs_nothing_of_the_system),
        cmocka_unit_test(test_job_ranks_are_children),
        cmocka_unit_test(test_job_ends_though_nobody_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
