/* A rank's end of the line to ddp-launch. */
#include "base/lifeline.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/delay.h"
#include "base/log.h"
#include "base/stop.h"
#include "base/text.h"

static int line = -1; /* the socket; -1: no launcher */
static int my_rank;
enum { SLOW_WORDS = 16 };
static struct { /* what the launcher has said of slow ranks */
    struct ddp_slow_rank word[SLOW_WORDS];
    unsigned heard, told;
} slow;
static bool told; /* by the launcher, to stop */

static int rank_from_environment(void)
{
    static const char *const names[] = {"DDP_RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK",
                                        "SLURM_PROCID"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *s = getenv(names[i]);
        int64_t v;
        if (s && ddp_parse_int(s, &v))
            return (int)v;
    }
    return 0;
}

static void tell(enum ddp_lifeline_kind kind, int value, const char *text)
{
    if (line < 0)
        return;
    struct ddp_lifeline_msg m = {.kind = kind, .rank = my_rank, .pid = getpid(), .value = value};
    snprintf(m.text, sizeof m.text, "%s", text);
    size_t bytes = offsetof(struct ddp_lifeline_msg, text) + strlen(m.text) + 1;
    while (send(line, &m, bytes, MSG_NOSIGNAL) < 0 && errno == EINTR)
        ;
}

/* With the page in which the launcher sees what this rank does. */
static void say_hello(void)
{
    union {
        struct cmsghdr aligned;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct ddp_lifeline_msg m = {.kind = DDP_LIFELINE_HELLO, .rank = my_rank, .pid = getpid()};
    struct iovec part = {.iov_base = &m, .iov_len = offsetof(struct ddp_lifeline_msg, text) + 1};
    struct msghdr h = {.msg_iov = &part, .msg_iovlen = 1};
    const int pulse = ddp_pulse_open();
    if (pulse >= 0) {
        h.msg_control = &control;
        h.msg_controllen = sizeof control;
        struct cmsghdr *c = CMSG_FIRSTHDR(&h);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof pulse);
        memcpy(CMSG_DATA(c), &pulse, sizeof pulse);
    }
    while (sendmsg(line, &h, MSG_NOSIGNAL) < 0 && (errno == EINTR || h.msg_controllen > 0))
        if (errno != EINTR)
            h.msg_controllen = 0; /* too many descriptors under way: without */
    if (pulse >= 0)
        close(pulse);
}

/* In a signal handler: it may interrupt anything, and waits for nothing. */
static void pass_on(int sig)
{
    const int before = errno;
    struct ddp_lifeline_msg m; /* its head alone is sent, and a NUL */
    m.kind = DDP_LIFELINE_ASKED;
    m.rank = my_rank;
    m.pid = getpid();
    m.value = sig;
    m.text[0] = '\0';
    send(line, &m, offsetof(struct ddp_lifeline_msg, text) + 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    errno = before;
}

void ddp_lifeline_join(void)
{
    my_rank = rank_from_environment();
    ddp_delay_plant(my_rank);
    const char *name = getenv("DDP_LIFELINE");
    const bool alone = !name || !*name;
    ddp_stop_catch(alone ? NULL : pass_on); /* batch systems signal every process */
    if (alone)
        return;
    pid_t parent = getppid();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(111); /* the parent went before the signal was armed */
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    size_t n = strlen(name);
    if (n > sizeof a.sun_path - 1)
        _exit(111);
    memcpy(a.sun_path + 1, name, n); /* abstract: begins with NUL */
    line = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (line < 0 || connect(line, (struct sockaddr *)&a,
                            (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n)) != 0)
        _exit(111); /* the launcher is gone: never start */
    say_hello();
    if (ddp_stop_asked()) /* before there was a line */
        pass_on(ddp_stop_asked());
}

/* One packet and the descriptor that came with it, -1 without. */
static ssize_t receive(struct ddp_lifeline_msg *m, int *fd)
{
    union {
        struct cmsghdr aligned;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec part = {.iov_base = m, .iov_len = sizeof *m};
    struct msghdr h = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t n;
    *fd = -1;
    while ((n = recvmsg(line, &h, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR)
        ;
    const struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&h) : NULL;
    if (c != NULL && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
        memcpy(fd, CMSG_DATA(c), sizeof *fd);
    return n;
}

/* The next packet of this kind, and the descriptor that came with it; what else comes meanwhile can only be a
 * request to stop. */
static int wait_for(enum ddp_lifeline_kind kind)
{
    struct ddp_lifeline_msg m;
    int fd;
    do {
        if (receive(&m, &fd) < (ssize_t)offsetof(struct ddp_lifeline_msg, text))
            _exit(112);
        told |= m.kind == DDP_LIFELINE_STOP;
    } while (m.kind != kind);
    return fd;
}

int ddp_lifeline_memory(void)
{
    return line < 0 ? -1 : wait_for(DDP_LIFELINE_MEMORY);
}

void ddp_lifeline_meet(void)
{
    if (line < 0)
        return;
    tell(DDP_LIFELINE_MET, 0, "");
    wait_for(DDP_LIFELINE_ALL_MET);
}

static void keep_slow(struct ddp_lifeline_msg *m, size_t bytes)
{
    const size_t text = bytes - offsetof(struct ddp_lifeline_msg, text);
    m->text[text < sizeof m->text ? text : sizeof m->text - 1] = '\0';
    if (ddp_slow_parse(m->text, &slow.word[slow.heard % SLOW_WORDS]))
        slow.heard++;
}

bool ddp_lifeline_slow(struct ddp_slow_rank *out)
{
    if (slow.heard - slow.told > SLOW_WORDS)
        slow.told = slow.heard - SLOW_WORDS;
    if (slow.told == slow.heard)
        return false;
    *out = slow.word[slow.told++ % SLOW_WORDS];
    return true;
}

bool ddp_lifeline_stop_requested(void)
{
    while (line >= 0 && !told) {
        struct ddp_lifeline_msg m;
        ssize_t n = recv(line, &m, sizeof m, MSG_DONTWAIT);
        if (n == 0)
            _exit(112);
        if (n < (ssize_t)offsetof(struct ddp_lifeline_msg, text))
            break;
        told = m.kind == DDP_LIFELINE_STOP;
        if (m.kind == DDP_LIFELINE_SLOW)
            keep_slow(&m, (size_t)n);
    }
    return told || ddp_stop_asked() != 0;
}

void ddp_lifeline_error(int status, const char *text)
{
    tell(DDP_LIFELINE_ERROR, status, text);
}

void ddp_lifeline_cut(int status, const char *text)
{
    tell(DDP_LIFELINE_CUT, status, text);
}

void ddp_lifeline_wait(double seconds)
{
    struct pollfd p = {.fd = line, .events = 0}; /* to see it close */
    if (line >= 0)
        poll(&p, 1, (int)(seconds * 1e3));
}

void ddp_lifeline_result(const char *run_dir, const char *weights_hash)
{
    char text[DDP_LIFELINE_TEXT];
    snprintf(text, sizeof text, "run: %s\nweights: %s", run_dir, weights_hash);
    tell(DDP_LIFELINE_RESULT, 0, text);
}

void ddp_lifeline_saved(const char *run_dir)
{
    tell(DDP_LIFELINE_SAVED, 0, run_dir);
}

void ddp_lifeline_run(const char *run_dir)
{
    tell(DDP_LIFELINE_RUN, 0, run_dir);
}

void ddp_lifeline_notice(const char *text)
{
    if (line >= 0)
        tell(DDP_LIFELINE_NOTICE, 0, text);
    else
        ddp_log_always("%s", text);
}

void ddp_lifeline_bye(int status)
{
    tell(DDP_LIFELINE_BYE, status, "");
}
bool ddp_lifeline_active(void)
{
    return line >= 0;
}
