/* Sockets, pidfds and deaths of the ranks of this host. */
#include "launcher/ranks.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launcher/process.h"

/* PIDFD_GET_INFO with PIDFD_INFO_EXIT (Linux 6.15) tells how a process ended even after its
 * parent reaped it. */
struct pidfd_exit_info {
    uint64_t mask, cgroup;
    uint32_t ids[11]; /* pid, tgid, ppid, and eight user and group ids */
    int32_t exit_code;
};
#define PIDFD_GET_INFO_OURS _IOWR(0xFF, 11, struct pidfd_exit_info)
enum { SO_PEERPIDFD_OURS = 77 }; /* of Linux's generic <asm/socket.h>: x86-64, aarch64 */
enum { PIDFD_INFO_EXIT_OURS = 1 << 3, DEATH_WAIT_US = 500000, RECORD_WAIT_US = 20000 };

/* ---- joining --------------------------------------------------------------------------------- */

int ddp_ranks_open(const char *name, int expected, bool children, struct ddp_ranks *out,
                   struct ddp_error *err)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    const size_t n = strlen(name);
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    memcpy(a.sun_path + 1, name, n); /* abstract: begins with NUL, leaves nothing on disk */
    if (fd < 0 ||
        bind(fd, (struct sockaddr *)&a, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n)) != 0 ||
        listen(fd, 4096) != 0) {
        const int rc =
            ddp_fail(err, DDP_E_RESOURCE, "no socket to supervise the ranks with: %s", strerror(errno));
        if (fd >= 0)
            close(fd);
        return rc;
    }
    *out = (struct ddp_ranks){.expected = expected, .children = children, .listener = fd};
    out->rank = ddp_calloc((size_t)expected, sizeof *out->rank);
    return 0;
}

void ddp_ranks_close(struct ddp_ranks *ranks)
{
    for (int i = 0; i < ranks->n; i++) {
        if (ranks->rank[i].line >= 0)
            close(ranks->rank[i].line);
        if (ranks->rank[i].pidfd >= 0)
            close(ranks->rank[i].pidfd);
        ddp_pulse_unmap(ranks->rank[i].pulse);
    }
    free(ranks->rank);
    close(ranks->listener);
}

/* The kernel's own descriptor for the peer (Linux 6.5; since 6.16 even for one that has ended), else one by
 * its number. */
static int peer_pidfd(int line, pid_t pid)
{
    int fd = -1;
    socklen_t size = sizeof fd;
    if (getsockopt(line, SOL_SOCKET, SO_PEERPIDFD_OURS, &fd, &size) == 0)
        return fd;
    return (int)syscall(SYS_pidfd_open, pid, 0);
}

static pid_t parent_of(pid_t pid)
{
    char buf[1024], *fields;
    int parent = 0;
    if (!ddp_process_stat(pid, buf, sizeof buf, &fields) || sscanf(fields, "%*c %d", &parent) != 1)
        return 0;
    return parent > 1 && parent != getpid() ? parent : 0;
}

struct ddp_rank *ddp_ranks_accept(struct ddp_ranks *ranks)
{
    struct ucred who;
    socklen_t size = sizeof who;
    const int fd = accept4(ranks->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0)
        return NULL;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) != 0 || who.uid != geteuid() ||
        ranks->n == ranks->expected) {
        close(fd);
        return NULL;
    }
    struct ddp_rank *rank = &ranks->rank[ranks->n++];
    *rank = (struct ddp_rank){.number = -1, .pid = who.pid, .line = fd, .wait_status = -1};
    rank->pidfd = ranks->children ? -1 : peer_pidfd(fd, who.pid);
    rank->parent = ranks->children ? 0 : parent_of(who.pid);
    return rank;
}

struct ddp_rank *ddp_ranks_find(const struct ddp_ranks *ranks, int number)
{
    for (int i = 0; i < ranks->n; i++)
        if (ranks->rank[i].number == number)
            return &ranks->rank[i];
    return NULL;
}

/* ---- talking --------------------------------------------------------------------------------- */

/* One packet and the descriptor that came with it, -1 without. */
static ssize_t receive(int line, struct ddp_lifeline_msg *msg, int *fd)
{
    union {
        struct cmsghdr aligned;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec part = {.iov_base = msg, .iov_len = sizeof *msg};
    struct msghdr h = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    const ssize_t n = recvmsg(line, &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    const struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&h) : NULL;
    *fd = -1;
    if (c != NULL && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
        memcpy(fd, CMSG_DATA(c), sizeof *fd);
    return n;
}

int ddp_rank_receive(struct ddp_rank *rank, struct ddp_lifeline_msg *msg)
{
    const size_t head = offsetof(struct ddp_lifeline_msg, text);
    ssize_t n;
    int fd;

    if (rank->line < 0)
        return -1;
    /* a rank that has ended without reading our request to stop resets its line: what it said comes after */
    while ((n = receive(rank->line, msg, &fd)) < 0 && (errno == EINTR || errno == ECONNRESET))
        ;
    if (fd >= 0) {
        if (rank->pulse == NULL)
            rank->pulse = ddp_pulse_map(fd);
        close(fd);
    }
    if (n < 0 && errno == EAGAIN)
        return 0;
    if (n <= 0) {
        close(rank->line);
        rank->line = -1;
        return -1;
    }
    if ((size_t)n < head)
        return 0;
    const size_t text = (size_t)n - head;
    msg->text[text < DDP_LIFELINE_TEXT ? text : DDP_LIFELINE_TEXT - 1] = '\0';
    return 1;
}

static void tell(const struct ddp_rank *rank, enum ddp_lifeline_kind kind)
{
    const struct ddp_lifeline_msg m = {.kind = kind, .rank = rank->number};
    if (rank->line >= 0)
        send(rank->line, &m, offsetof(struct ddp_lifeline_msg, text) + 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void ddp_rank_stop(struct ddp_rank *rank)
{
    tell(rank, DDP_LIFELINE_STOP);
}

void ddp_rank_all_met(struct ddp_rank *rank)
{
    tell(rank, DDP_LIFELINE_ALL_MET);
}

void ddp_rank_note(struct ddp_rank *rank, const char *text)
{
    struct ddp_lifeline_msg m = {.kind = DDP_LIFELINE_SLOW, .rank = rank->number};
    snprintf(m.text, sizeof m.text, "%s", text);
    if (rank->line >= 0)
        send(rank->line, &m, offsetof(struct ddp_lifeline_msg, text) + strlen(m.text) + 1,
             MSG_NOSIGNAL | MSG_DONTWAIT);
}

void ddp_rank_hand(struct ddp_rank *rank, int memory)
{
    union {
        struct cmsghdr aligned;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct ddp_lifeline_msg m = {.kind = DDP_LIFELINE_MEMORY, .rank = rank->number};
    struct iovec part = {.iov_base = &m, .iov_len = offsetof(struct ddp_lifeline_msg, text) + 1};
    struct msghdr h = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    struct cmsghdr *c = CMSG_FIRSTHDR(&h);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof memory);
    memcpy(CMSG_DATA(c), &memory, sizeof memory);
    if (rank->line >= 0)
        sendmsg(rank->line, &h, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void ddp_rank_signal(const struct ddp_rank *rank, int sig)
{
    if (rank->pidfd >= 0) /* always the right process, dead or alive */
        syscall(SYS_pidfd_send_signal, rank->pidfd, sig, NULL, 0);
    else if (!rank->gone)
        kill(rank->pid, sig);
}

void ddp_ranks_signal(const struct ddp_ranks *ranks, int sig)
{
    for (int i = 0; i < ranks->n; i++)
        ddp_rank_signal(&ranks->rank[i], sig);
}

/* ---- how it ended ---------------------------------------------------------------------------- */

/* The wait status, from whoever still knows it. */
static bool find_status(const struct ddp_rank *rank, int *status)
{
    char buf[1024], *fields;
    struct pidfd_exit_info info = {.mask = PIDFD_INFO_EXIT_OURS};
    siginfo_t child = {0};

    if (rank->wait_status != -1) {
        *status = rank->wait_status;
        return true;
    }
    if (waitid(P_PID, (id_t)rank->pid, &child, WEXITED | WNOHANG | WNOWAIT) == 0 &&
        child.si_pid == rank->pid) {
        const bool core = child.si_code == CLD_DUMPED; /* our child: told even where /proc tells nothing */
        *status = child.si_code == CLD_EXITED ? child.si_status << 8 : child.si_status | (core ? 0x80 : 0);
        return true;
    }
    if (ddp_process_stat(rank->pid, buf, sizeof buf, &fields) && fields[0] == 'Z') {
        *status = atoi(strrchr(fields, ' ') + 1); /* the last field */
        return true;
    }
    if (rank->pidfd >= 0 && ioctl(rank->pidfd, PIDFD_GET_INFO_OURS, &info) == 0 &&
        (info.mask & PIDFD_INFO_EXIT_OURS)) {
        *status = info.exit_code;
        return true;
    }
    return false;
}

void ddp_wait_status_text(int status, char *buf, size_t size)
{
    if (WIFSIGNALED(status))
        snprintf(buf, size, "was killed by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        snprintf(buf, size, "ended with exit status %d", WEXITSTATUS(status));
}

void ddp_rank_death(const struct ddp_rank *rank, char *buf, size_t size)
{
    int status = 0;
    bool known = find_status(rank, &status);

    for (int waited = 0; !known && waited < DEATH_WAIT_US; waited += 200) {
        /* its line is closed before it is a zombie; once it is gone for good, no record will come */
        if (waited > RECORD_WAIT_US && ddp_process_state(rank->pid, NULL) == 0)
            break;
        usleep(200);
        known = find_status(rank, &status);
    }
    if (!known) {
        snprintf(buf, size, "died (the system kept no record of how)");
        return;
    }
    ddp_wait_status_text(status, buf, size);
    if (!WIFSIGNALED(status))
        snprintf(buf + strlen(buf), size - strlen(buf), " before it was done");
}
