/* Starting a run that was done before, and waiting for it. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "again.h"

int ddp_again_own_folder(char *out, size_t size, struct ddp_error *err)
{
    const ssize_t n = readlink("/proc/self/exe", out, size - 1);
    out[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(out, '/');
    if (!slash)
        return ddp_fail(err, DDP_E_RESOURCE, "/proc is not there: where ddp-launch is cannot be known");
    *slash = '\0';
    return 0;
}

/* Its last two lines name the run. All it prints is passed on where it is to be shown. */
static void read_output(FILE *f, bool show, char *run, size_t size)
{
    char *line = NULL;
    size_t room = 0;
    while (getline(&line, &room, f) > 0) {
        if (show) {
            fputs(line, stdout);
            fflush(stdout);
        }
        if (strncmp(line, "run: ", 5) == 0) {
            line[strcspn(line, "\n")] = '\0';
            snprintf(run, size, "%s", line + 5);
        }
    }
    free(line);
}

static volatile pid_t child; /* for the handler; 0: none */

static void pass_on(int sig)
{
    if (child > 0)
        kill(child, sig);
}

/* Requests to stop go to the new run, which saves and ends with 75. A reader of our output that has left ends
 * nothing, and children are waited for, whatever this process was started with. */
void ddp_again_signals(void)
{
    static const int requests[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2};
    struct sigaction act = {.sa_handler = pass_on, .sa_flags = SA_RESTART}, old;
    sigemptyset(&act.sa_mask);
    for (size_t i = 0; i < DDP_COUNT(requests); i++) {
        sigaction(requests[i], NULL, &old);
        if (requests[i] != SIGHUP || old.sa_handler != SIG_IGN) /* nohup */
            sigaction(requests[i], &act, NULL);
    }
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_DFL);
}

int ddp_again_run(char *const *words, bool show, char *run, size_t size)
{
    int ends[2], state = 0;
    *run = '\0';
    if (pipe2(ends, O_CLOEXEC) != 0)
        return DDP_EXIT_RESOURCE;
    fflush(stdout);
    const pid_t pid = fork();
    if (pid == 0) {
        signal(SIGPIPE, SIG_DFL);
        dup2(ends[1], STDOUT_FILENO);
        execv(words[0], words); /* handlers become the default again */
        ddp_say("ddp-runs", "%s: %s", words[0], strerror(errno));
        _exit(DDP_EXIT_RESOURCE);
    }
    child = pid;
    close(ends[1]);
    FILE *f = fdopen(ends[0], "r");
    if (pid > 0 && f)
        read_output(f, show, run, size);
    if (f)
        fclose(f);
    else
        close(ends[0]);
    while (pid > 0 && waitpid(pid, &state, 0) < 0 && errno == EINTR)
        ;
    child = 0;
    return pid < 0 || !WIFEXITED(state) ? DDP_EXIT_RANK : WEXITSTATUS(state);
}
