/* What is said of a process that does not go on, tried on children that do one thing each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/base.h"
#include "launcher/doing.h"
#include "launcher/process.h"

static char fifo[] = "/tmp/ddp-doing-XXXXXX/fifo";
static int pipes[2];

static void sleeps(void)
{
    sleep(1000);
}

static void reads(void)
{
    char c;
    if (read(pipes[0], &c, 1) != 1)
        _exit(1);
}

static void opens(void)
{
    if (open(fifo, O_RDONLY | O_CLOEXEC) < 0)
        _exit(1);
}

static void spins(void)
{
    for (volatile int i = 0;; i++)
        ;
}

static void stops(void)
{
    raise(SIGSTOP);
}

static void *in_thread(void *unused)
{
    reads();
    return unused;
}

static void waits_for_thread(void)
{
    pthread_t t;
    pthread_create(&t, NULL, in_thread, NULL);
    pthread_join(t, NULL);
}

static const struct {
    void (*does)(void);
    const char *says; /* N: the process number */
    const char *file; /* where the kernel lets us see it */
} table[] = {
    {sleeps, "process N sleeps", ""},
    {reads, "process N reads from a pipe or FIFO that nobody writes to", "pipe:["},
    {opens, "process N opens a FIFO that nobody writes to", fifo},
    {spins, "process N is running", ""},
    {stops, "process N is stopped", ""},
    {waits_for_thread, "a thread of process N reads from a pipe or FIFO that nobody writes to", "pipe:["},
};

static pid_t start(void (*does)(void))
{
    const pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        does();
        _exit(0);
    }
    return pid;
}

static void expected(char *out, size_t size, const char *says, pid_t pid)
{
    const char *n = strchr(says, 'N');
    snprintf(out, size, "%.*s%d%s", (int)(n - says), says, (int)pid, n + 1);
}

/* Kernels that show no wait channels say less, and nothing wrong. */
static bool channels_are_shown(pid_t sleeping)
{
    char path[64], word[64] = "";
    snprintf(path, sizeof path, "/proc/%d/wchan", (int)sleeping);
    FILE *f = fopen(path, "re");
    const bool shown = f && fgets(word, sizeof word, f) && strlen(word) > 1;
    if (f)
        fclose(f);
    return shown;
}

static void test_doing_names_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        const pid_t pid = start(table[i].does);
        char says[128], doing[256] = "";
        bool found = false, hidden = false;
        expected(says, sizeof says, table[i].says, pid);
        for (double end = ddp_now() + 20; !found && !hidden && ddp_now() < end; usleep(5000)) {
            ddp_process_doing(pid, doing, sizeof doing);
            found = strncmp(doing, says, strlen(says)) == 0;
            hidden = table[i].does != spins && table[i].does != stops && ddp_now() > end - 15 &&
                     !channels_are_shown(pid);
        }
        if (found && geteuid() == 0 && !strstr(doing, table[i].file))
            found = access("/proc/self/syscall", R_OK) != 0;
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        if (!found && !hidden)
            fail_msg("'%s', and not '%s .. %s'", doing, says, table[i].file);
    }
}

static void test_doing_of_a_dead_process(void **state)
{
    (void)state;
    const pid_t pid = start(sleeps);
    char doing[256];
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    ddp_process_doing(pid, doing, sizeof doing);
    assert_non_null(strstr(doing, "is gone"));
}

static void test_process_times_grow(void **state)
{
    (void)state;
    double ran = 0, queued = 0, before;
    if (!ddp_process_times(getpid(), &before, &queued))
        skip();
    for (const double end = ddp_now() + 5; ran < before + 0.01 && ddp_now() < end;)
        assert_true(ddp_process_times(getpid(), &ran, &queued));
    assert_true(ran >= before + 0.01 && ran < before + 5);
    assert_false(ddp_process_times(0x7ffffff0, &ran, &queued));
    assert_true(ddp_process_mhz(getpid()) >= 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_doing_names_it),
        cmocka_unit_test(test_doing_of_a_dead_process),
        cmocka_unit_test(test_process_times_grow),
    };
    char *slash = strrchr(fifo, '/');
    *slash = '\0';
    if (!mkdtemp(fifo) || pipe(pipes) != 0)
        return 1;
    *slash = '/';
    if (mkfifo(fifo, 0600) != 0)
        return 1;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(fifo);
    *slash = '\0';
    rmdir(fifo);
    return failed;
}
