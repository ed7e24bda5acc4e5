/* For tests of the stand-ins: each case runs in a process of its own, so that settings, faults and the end of
 * the process are the case's. */
#ifndef DDP_EMU_FORKED_H
#define DDP_EMU_FORKED_H

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "cuda_runtime_api.h"

/* In a case: ends it with the place. */
#define CHECK(x)                                                                                             \
    do {                                                                                                     \
        if (!(x)) {                                                                                          \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #x);                            \
            _exit(99);                                                                                       \
        }                                                                                                    \
    } while (0)
#define OK(call)                                                                                             \
    do {                                                                                                     \
        const int e_ = (int)(call);                                                                          \
        if (e_ != 0) {                                                                                       \
            fprintf(stderr, "%s:%d: %s gives %d\n", __FILE__, __LINE__, #call, e_);                          \
            _exit(98);                                                                                       \
        }                                                                                                    \
    } while (0)

typedef std::vector<std::pair<const char *, std::string>> settings;

struct ending {
    int status; /* exit status, or -signal */
    std::string said;
    bool says(const char *text) const { return said.find(text) != std::string::npos; }
};

static inline ending run_forked(const std::function<void()> &fn, const settings &env = {},
                                unsigned seconds = 20)
{
    int out[2];
    if (pipe(out) != 0)
        abort();
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        alarm(seconds);
        dup2(out[1], STDERR_FILENO);
        close(out[0]);
        close(out[1]);
        for (int sig : {SIGSEGV, SIGABRT, SIGBUS}) /* cmocka's */
            signal(sig, SIG_DFL);
        for (auto &e : env)
            setenv(e.first, e.second.c_str(), 1);
        fn();
        _exit(0);
    }
    close(out[1]);
    ending end = {0, ""};
    char text[4096];
    for (ssize_t n; (n = read(out[0], text, sizeof text)) > 0;)
        end.said.append(text, (size_t)n);
    close(out[0]);
    int status = 0;
    waitpid(child, &status, 0);
    end.status = WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
    return end;
}

/* A case that must go well. */
#define RUNS(...)                                                                                            \
    do {                                                                                                     \
        const ending end_ = run_forked(__VA_ARGS__);                                                         \
        if (end_.status != 0)                                                                                \
            fail_msg("ended with %d: %s", end_.status, end_.said.c_str());                                   \
    } while (0)

#endif
