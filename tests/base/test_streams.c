/* Requests to stop by signals, and standard output from the first to the last moment: each case in a process
 * of its own, which tells by its exit status. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "base/stop.h"

enum { LIMIT_S = 20, AT_ONCE = 20, PATIENT = 30 };

/* Exit status of a child, or 128 + its signal; -1: it had to be killed. */
static int end_of(pid_t pid)
{
    int status = 0;
    for (double end = ddp_now() + LIMIT_S; waitpid(pid, &status, WNOHANG) == 0; usleep(2000))
        if (ddp_now() > end) {
            kill(pid, SIGKILL);
            waitpid(pid, &status, 0);
            return -1;
        }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* ---- requests -------------------------------------------------------------------------------- */

/* What a process was started with. */
enum before { NORMAL, IGNORED, BLOCKED };

static volatile sig_atomic_t passed_on;

static void pass_on(int sig)
{
    passed_on += sig > 0;
}

static void test_stop_takes_requests_down(void **state)
{
    static const struct {
        const char *name;
        enum before before; /* of the first signal */
        bool alone;
        int sig[3];
        bool apart; /* a quarter of a second between them */
        int ends;   /* the signal that ddp_stop_asked gives, 0: none, or the status of an end: */
        int status;
    } table[] = {
        {"none", NORMAL, true, {0}, false, 0, 0},
        {"hang-up", NORMAL, true, {SIGHUP}, false, SIGHUP, 0},
        {"hang-up under nohup", IGNORED, true, {SIGHUP}, false, 0, 0},
        {"hang-up under nohup, then another", IGNORED, true, {SIGHUP, SIGUSR2}, false, SIGUSR2, 0},
        {"interrupt", NORMAL, true, {SIGINT}, false, SIGINT, 0},
        {"interrupt in the background of a script", IGNORED, true, {SIGINT}, false, SIGINT, 0},
        {"blocked by who started it", BLOCKED, true, {SIGTERM}, false, SIGTERM, 0},
        {"one request that comes twice", NORMAL, true, {SIGTERM, SIGTERM}, false, SIGTERM, 0},
        {"a second one", NORMAL, true, {SIGTERM, SIGTERM}, true, 0, DDP_EXIT_KILLED},
        {"a second one, of another kind", NORMAL, true, {SIGTERM, SIGINT}, true, 0, DDP_EXIT_KILLED},
        {"a second one is the launcher's to judge", NORMAL, false, {SIGTERM, SIGTERM}, true, SIGTERM, 0},
        {"soft ones, however often", NORMAL, true, {SIGUSR1, SIGHUP, SIGUSR2}, true, SIGUSR1, 0},
        {"the first interrupt after a soft one", NORMAL, true, {SIGUSR1, SIGINT}, true, SIGUSR1, 0},
        {"a reader that has left", NORMAL, true, {SIGPIPE}, false, 0, 0},
    };
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        const pid_t pid = fork();
        if (pid == 0) {
            sigset_t set;
            sigemptyset(&set);
            sigaddset(&set, table[i].sig[0]);
            if (table[i].before == IGNORED)
                signal(table[i].sig[0], SIG_IGN);
            if (table[i].before == BLOCKED)
                sigprocmask(SIG_BLOCK, &set, NULL);
            ddp_stop_catch(table[i].alone ? NULL : pass_on);
            for (int k = 0; k < 3 && table[i].sig[k]; k++) {
                if (k > 0 && table[i].apart)
                    usleep(250000);
                raise(table[i].sig[k]);
            }
            _exit(passed_on == (table[i].alone ? 0 : 2) ? ddp_stop_asked() : 96);
        }
        const int wanted = table[i].status ? table[i].status : table[i].ends, got = end_of(pid);
        if (got != wanted)
            fail_msg("%s: %d, not %d", table[i].name, got, wanted);
    }
}

static void test_stop_ends_last_words(void **state)
{
    static const int sigs[] = {SIGINT, SIGTERM, SIGHUP};
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(sigs); i++) {
        const pid_t pid = fork();
        if (pid == 0) {
            ddp_stop_catch(NULL);
            ddp_stop_end_with(7);
            raise(SIGUSR1);
            raise(sigs[i]);
            _exit(98);
        }
        assert_int_equal(end_of(pid), 7);
    }
}

/* ---- standard output ------------------------------------------------------------------------- */

/* A pipe that holds nothing more; its end to read. */
static int full_pipe(int fd)
{
    static const char zeros[4096];
    int ends[2];
    if (pipe(ends) != 0)
        _exit(97);
    fcntl(ends[1], F_SETFL, O_NONBLOCK);
    while (write(ends[1], zeros, sizeof zeros) > 0)
        ;
    fcntl(ends[1], F_SETFL, 0);
    dup2(ends[1], fd);
    close(ends[1]);
    return ends[0];
}

static void broken_pipe(int fd)
{
    close(full_pipe(fd));
    signal(SIGPIPE, SIG_IGN);
}

static void full_disk(int fd)
{
    const int full = open("/dev/full", O_WRONLY);
    dup2(full, fd);
    close(full);
}

static void nowhere(int fd)
{
    const int null = open("/dev/null", O_WRONLY);
    dup2(null, fd);
    close(null);
}

static void test_streams_close_tells_what_was_lost(void **state)
{
    static const struct {
        const char *name;
        void (*to)(int fd);
        int lines, status, wanted;
        const char *says;
    } table[] = {
        {"all is well", nowhere, 1, 0, 0, ""},
        {"nothing to say", full_disk, 0, 0, 0, ""},
        {"a full disk, at the end", full_disk, 1, 0, 3, "prog: standard output: No space left on device"},
        {"a full disk, on the way", full_disk, 10000, 0, 3, "prog: standard output: "},
        {"another failure counts more", full_disk, 1, 75, 75, "prog: standard output: No space left"},
        {"a reader that has left", broken_pipe, 1, 0, 0, ""},
        {"a reader that has left early", broken_pipe, 10000, 0, 0, ""},
    };
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        char said[512] = "";
        int err[2];
        assert_int_equal(pipe(err), 0);
        fflush(NULL);
        const pid_t pid = fork();
        if (pid == 0) {
            dup2(err[1], STDERR_FILENO);
            table[i].to(STDOUT_FILENO);
            for (int k = 0; k < table[i].lines; k++)
                printf("line %d\n", k);
            _exit(ddp_streams_close("prog", table[i].status));
        }
        close(err[1]);
        const int got = end_of(pid);
        const ssize_t n = read(err[0], said, sizeof said - 1);
        close(err[0]);
        said[n > 0 ? n : 0] = '\0';
        if (got != table[i].wanted || !strstr(said, table[i].says) || (!*table[i].says && *said))
            fail_msg("%s: %d, not %d; said: %s", table[i].name, got, table[i].wanted, said);
    }
}

/* Thread sanitizers hold signals back until the next call that they know: a write inside of stdio is none. */
#if defined(__SANITIZE_THREAD__)
enum { SIGNALS_COME_LATE = 1 };
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
enum { SIGNALS_COME_LATE = 1 };
#else
enum { SIGNALS_COME_LATE = 0 };
#endif
#else
enum { SIGNALS_COME_LATE = 0 };
#endif

/* One that nobody reads holds up neither an end that was asked for nor last words. */
static void test_streams_wait_for_no_reader_once_asked(void **state)
{
    static const struct {
        const char *name;
        bool log, asked, ask_later;
        int wanted;
    } table[] = {
        {"a log, then asked", true, false, true, AT_ONCE},
        {"a log, after being asked", true, true, false, AT_ONCE},
        {"last words, then asked", false, false, true, 5},
        {"last words, after being asked", false, true, false, 5},
    };
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        int ready[2];
        char byte;
        if (SIGNALS_COME_LATE && table[i].ask_later)
            continue;
        assert_int_equal(pipe(ready), 0);
        fflush(NULL);
        const pid_t pid = fork();
        if (pid == 0) {
            full_pipe(STDERR_FILENO);
            full_pipe(STDOUT_FILENO);
            ddp_stop_catch(NULL);
            if (table[i].asked)
                raise(SIGTERM);
            if (write(ready[1], "r", 1) != 1)
                _exit(97);
            for (int k = 0; table[i].log && k < 100; k++)
                ddp_log(DDP_LOG_ERROR, "line %d", k);
            if (table[i].log)
                _exit(AT_ONCE);
            printf("results\n");
            _exit(ddp_streams_close("prog", 5));
        }
        assert_int_equal(read(ready[0], &byte, 1), 1);
        close(ready[0]);
        close(ready[1]);
        if (table[i].ask_later) {
            usleep(300000);
            assert_int_equal(waitpid(pid, NULL, WNOHANG), 0); /* it waits for its reader */
            kill(pid, SIGTERM);
        }
        const int got = end_of(pid);
        if (got != table[i].wanted)
            fail_msg("%s: %d, not %d", table[i].name, got, table[i].wanted);
    }
}

/* A reader who is only late gets all. */
static void test_streams_wait_for_a_slow_reader(void **state)
{
    (void)state;
    int ends[2];
    char buf[4096];
    size_t got = 0;
    assert_int_equal(pipe(ends), 0);
    const pid_t pid = fork();
    if (pid == 0) {
        static char line[300000];
        memset(line, 'x', sizeof line);
        close(ends[0]);
        fcntl(ends[1], F_SETFL, O_NONBLOCK); /* as a shell may leave it to us */
        _exit(ddp_stream_write(ends[1], line, sizeof line) ? PATIENT : 1);
    }
    close(ends[1]);
    usleep(100000);
    for (ssize_t n; (n = read(ends[0], buf, sizeof buf)) > 0;)
        got += (size_t)n;
    close(ends[0]);
    assert_int_equal(end_of(pid), PATIENT);
    assert_int_equal(got, 300000);
}

static void test_streams_open_what_is_closed(void **state)
{
    (void)state;
    for (int closed = 0; closed < 8; closed++) {
        const pid_t pid = fork();
        if (pid == 0) {
            for (int fd = 0; fd < 3; fd++)
                if (closed & 1 << fd)
                    close(fd);
            ddp_streams_open();
            const int next = open("/dev/null", O_RDONLY);
            _exit(next > 2 && fcntl(0, F_GETFD) >= 0 && fcntl(1, F_GETFD) >= 0 && fcntl(2, F_GETFD) >= 0
                      ? AT_ONCE
                      : 1);
        }
        assert_int_equal(end_of(pid), AT_ONCE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stop_takes_requests_down),
        cmocka_unit_test(test_stop_ends_last_words),
        cmocka_unit_test(test_streams_open_what_is_closed),
        cmocka_unit_test(test_streams_close_tells_what_was_lost),
        cmocka_unit_test(test_streams_wait_for_no_reader_once_asked),
        cmocka_unit_test(test_streams_wait_for_a_slow_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
