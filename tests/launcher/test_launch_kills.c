/* kill -9 of a rank, of mpirun, of the launcher, and of launcher and janitor: the job ends within 2 s, the
 * first death is named, and neither processes nor files are left. */
#include "launch.h"

enum { RANKS = 4, ROUNDS = 4 };

static void start_job(struct launch *l, const struct how *how)
{
    launch_start(l, (const char *const[]){"RANK_MODE=stop", NULL},
                 (const char *const[]){how->starter, "-n", "4", "--program", how->program, "c.cfg", NULL});
    launch_wait_ranks(l, RANKS);
    launch_learn_job(l);
    assert_int_equal(launch_processes(l), RANKS + how->processes);
    assert_int_equal(launch_folders(l), how->folder);
}

static void test_kill_of_a_rank_is_named(void **state)
{
    char host[256], says[512];
    static const int signals[] = {SIGKILL, SIGSEGV, SIGKILL, SIGABRT};
    (void)state;
    gethostname(host, sizeof host);
    for (int round = 0; round < ROUNDS; round++) {
        struct launch l;
        start_job(&l, &hows[round % HOWS]);
        const double t = ddp_now();
        kill(launch_rank_pid(&l, round % RANKS), signals[round]);
        launch_wait(&l, t);
        assert_status(&l, 4);
        snprintf(says, sizeof says, "ddp-launch: rank %d on %s was killed by signal %d (%s)\n", round % RANKS,
                 host, signals[round], strsignal(signals[round]));
        assert_says(l.err, says);
        assert_true(l.seconds < 2);
        assert_nothing_left(&l, 0);
        launch_end(&l);
    }
}

static void kill_of_several_ranks_names_one_of_them(const struct how *how)
{
    struct launch l;
    start_job(&l, how);
    kill(launch_rank_pid(&l, 1), SIGKILL);
    kill(launch_rank_pid(&l, 3), SIGKILL);
    launch_wait(&l, ddp_now());
    assert_status(&l, 4);
    assert_says(l.err, "was killed by signal 9 (Killed)");
    assert_silent_about(l.err, "rank 0 on");
    assert_silent_about(l.err, "rank 2 on");
    assert_nothing_left(&l, 0);
    launch_end(&l);
}

static void test_kill_of_several_ranks_names_one_of_them(void **state)
{
    (void)state;
    for (size_t i = 0; i < HOWS; i++)
        kill_of_several_ranks_names_one_of_them(&hows[i]);
}

static void test_kill_of_mpirun_blames_no_rank(void **state)
{
    (void)state;
    if (HOWS < 2)
        skip();
    for (int round = 0; round < 2; round++) {
        struct launch l;
        start_job(&l, &hows[1]);
        const double t = ddp_now();
        kill(parent_of(launch_rank_pid(&l, 0)), SIGKILL);
        launch_wait(&l, t);
        assert_status(&l, 4);
        assert_says(l.err, "ddp-launch: mpirun on ");
        assert_says(l.err, "was killed by signal 9 (Killed)");
        assert_silent_about(l.err, "ddp-launch: rank");
        assert_true(l.seconds < 2);
        assert_nothing_left(&l, 0);
        launch_end(&l);
    }
}

static void test_kill_of_the_launcher_leaves_nothing(void **state)
{
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        struct launch l;
        start_job(&l, &hows[round % HOWS]);
        kill(l.pid, SIGKILL);
        launch_wait(&l, ddp_now());
        assert_status(&l, 128 + SIGKILL);
        assert_nothing_left(&l, 2);
        launch_end(&l);
    }
}

/* While ranks are being started: at random moments, nothing may be left either. */
static void test_kill_of_the_launcher_at_start_leaves_nothing(void **state)
{
    char folders[64];
    (void)state;
    for (int round = 0; round < 10; round++) {
        struct launch l;
        launch_start(&l, (const char *const[]){"RANK_MODE=stop", NULL},
                     (const char *const[]){hows[round % HOWS].starter, "-n", "2", "--program",
                                           hows[round % HOWS].program, "c.cfg", NULL});
        usleep((useconds_t)(round % HOWS == 0 ? 500 + 2000 * round : 1000 + 13000 * round));
        kill(l.pid, SIGKILL);
        launch_wait(&l, ddp_now());
        snprintf(l.job, sizeof l.job, "ddp-job-%d-", (int)l.pid); /* the tag begins so */
        snprintf(folders, sizeof folders, "/dev/shm/%s*", l.job);
        for (double end = ddp_now() + 2; ddp_now() < end && count_paths(folders) > 0;)
            usleep(5000);
        assert_int_equal(count_paths(folders), 0);
        launch_end(&l);
    }
}

static pid_t janitor_of(pid_t launcher)
{
    DIR *d = opendir("/proc");
    pid_t found = -1;
    for (struct dirent *e; (e = readdir(d));) {
        char path[300], name[64] = "";
        snprintf(path, sizeof path, "/proc/%s/comm", e->d_name);
        FILE *f = isdigit((unsigned char)e->d_name[0]) ? fopen(path, "re") : NULL;
        if (f) {
            if (!fgets(name, sizeof name, f))
                name[0] = '\0';
            fclose(f);
        }
        if (strcmp(name, "ddp-janitor\n") == 0 && parent_of(atoi(e->d_name)) == launcher)
            found = atoi(e->d_name);
    }
    closedir(d);
    return found;
}

static void test_double_kill_is_swept_at_the_next_start(void **state)
{
    struct launch l, next;
    (void)state;
    if (HOWS < 2)
        skip();
    start_job(&l, &hows[1]);
    const pid_t janitor = janitor_of(l.pid);
    assert_true(janitor > 0);
    kill(janitor, SIGKILL);
    kill(l.pid, SIGKILL);
    launch_wait(&l, ddp_now());
    for (double end = ddp_now() + 2; launch_processes(&l) > 0 && ddp_now() < end;)
        usleep(5000);
    assert_int_equal(launch_processes(&l), 0);
    assert_int_equal(launch_folders(&l), 1);
    launch_run(&next, NULL,
               (const char *const[]){"--starter=mpirun", "-n", "1", "--program", FAKE_RANK, "c.cfg", NULL});
    assert_status(&next, 0);
    assert_int_equal(launch_folders(&l), 0);
    launch_end(&l);
}

static void test_kill_of_the_janitor_does_not_disturb(void **state)
{
    struct launch l;
    (void)state;
    start_job(&l, &hows[0]);
    kill(janitor_of(l.pid), SIGKILL);
    usleep(20000);
    kill(l.pid, SIGTERM);
    launch_wait(&l, ddp_now());
    assert_status(&l, 75);
    assert_nothing_left(&l, 0);
    launch_end(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kill_of_a_rank_is_named),
        cmocka_unit_test(test_kill_of_several_ranks_names_one_of_them),
        cmocka_unit_test(test_kill_of_mpirun_blames_no_rank),
        cmocka_unit_test(test_kill_of_the_launcher_leaves_nothing),
        cmocka_unit_test(test_kill_of_the_launcher_at_start_leaves_nothing),
        cmocka_unit_test(test_double_kill_is_swept_at_the_next_start),
        cmocka_unit_test(test_kill_of_the_janitor_does_not_disturb),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
