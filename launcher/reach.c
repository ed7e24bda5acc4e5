/* Asking and answering between hosts. */
#include "launcher/reach.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "launcher/address.h"

enum { TOKEN = 32, ROUND_TRIPS = 64, BLOCK = 1 << 20, TRIES_MOST = 16384 };
static const double STREAM_S = 0.3;

struct question {
    char token[TOKEN];
    int64_t bytes; /* that follow, in blocks that are answered by a byte each; 0: none */
};

static void limit_wait(int fd, double seconds)
{
    const struct timeval t = {(time_t)seconds, (suseconds_t)((seconds - (double)(time_t)seconds) * 1e6)};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t);
}

static bool receive_all(int fd, void *out, size_t n)
{
    char *at = out;
    while (n > 0) {
        const ssize_t r = recv(fd, at, n, 0);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            return false;
        at += r;
        n -= (size_t)r;
    }
    return true;
}

static bool send_all(int fd, const void *bytes, size_t n)
{
    const char *at = bytes;
    while (n > 0) {
        const ssize_t r = send(fd, at, n, MSG_NOSIGNAL);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            return false;
        at += r;
        n -= (size_t)r;
    }
    return true;
}

/* ---- answering ------------------------------------------------------------------------------- */

static void answer(int fd, const char *token, const char host[DDP_REACH_NAME], char *block)
{
    struct question q;
    char done = 0;
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
    limit_wait(fd, 2);
    while (receive_all(fd, &q, sizeof q) && memcmp(q.token, token, TOKEN) == 0 &&
           send_all(fd, host, DDP_REACH_NAME))
        for (int64_t left = q.bytes; left > 0; left -= BLOCK)
            if (!receive_all(fd, block, (size_t)(left < BLOCK ? left : BLOCK)) || !send_all(fd, &done, 1))
                return;
}

int ddp_reach_answer(const char *token, const char *host, pid_t *pid, int *port, struct ddp_error *err)
{
    int listener;
    const int rc = ddp_address_listen(&listener, port, err);
    if (rc != 0)
        return rc;
    const pid_t parent = getpid();
    *pid = fork();
    if (*pid == 0) {
        char name[DDP_REACH_NAME] = "";
        char *block = ddp_calloc(1, BLOCK);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        snprintf(name, sizeof name, "%s", host);
        while (getppid() == parent) {
            struct pollfd p = {.fd = listener, .events = POLLIN};
            const int fd = poll(&p, 1, 1000) > 0 ? accept4(listener, NULL, NULL, SOCK_CLOEXEC) : -1;
            if (fd >= 0) {
                answer(fd, token, name, block);
                close(fd);
            }
        }
        _exit(0);
    }
    close(listener);
    return *pid > 0 ? 0
                    : ddp_fail(err, DDP_E_RESOURCE, "no process to answer other hosts: %s", strerror(errno));
}

/* ---- trying ---------------------------------------------------------------------------------- */

struct attempt {
    const char *host, *address;
    int fd; /* -1: over */
    bool asked;
    size_t heard;
    char name[DDP_REACH_NAME];
};

static int begin_all(const json_t *peers, struct attempt **out)
{
    struct attempt *t = ddp_calloc(TRIES_MOST, sizeof *t);
    size_t i, k;
    json_t *peer, *a;
    int n = 0;
    json_array_foreach(peers, i, peer)
        json_array_foreach(json_object_get(peer, "addresses"), k, a) {
            const char *address = json_string_value(json_object_get(a, "address"));
            const int port = (int)json_integer_value(json_object_get(peer, "port"));
            if (n == TRIES_MOST || !address)
                continue;
            t[n].host = json_string_value(json_object_get(peer, "host"));
            t[n].address = address;
            t[n].fd = ddp_address_connect(address, port);
            n += t[n].fd >= 0;
        }
    *out = t;
    return n;
}

static void give_up(struct attempt *t)
{
    close(t->fd);
    t->fd = -1;
}

/* True when it has answered, by the right name. */
static bool go_on(struct attempt *t, const char *token)
{
    if (!t->asked) {
        struct question q = {.bytes = 0};
        memcpy(q.token, token, TOKEN);
        t->asked = ddp_address_connected(t->fd) && send(t->fd, &q, sizeof q, MSG_NOSIGNAL) == sizeof q;
        if (!t->asked)
            give_up(t);
        return false;
    }
    const ssize_t n = recv(t->fd, t->name + t->heard, sizeof t->name - t->heard, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    t->heard += n > 0 ? (size_t)n : 0;
    if (n > 0 && t->heard < sizeof t->name)
        return false;
    give_up(t);
    return t->heard == sizeof t->name && strcmp(t->name, t->host) == 0;
}

json_t *ddp_reach_try(const char *token, const json_t *peers, double limit_s)
{
    struct attempt *t;
    json_t *reached = json_object();
    const int n = begin_all(peers, &t);
    struct pollfd *fds = ddp_calloc((size_t)n + 1, sizeof *fds);
    const double until = ddp_now() + limit_s;
    for (int open = n; open > 0 && ddp_now() < until;) {
        for (int i = 0; i < n; i++)
            fds[i] = (struct pollfd){.fd = t[i].fd, .events = t[i].asked ? POLLIN : POLLOUT};
        poll(fds, (nfds_t)n, 100);
        open = 0;
        for (int i = 0; i < n; i++) {
            if (t[i].fd >= 0 && fds[i].revents && go_on(&t[i], token)) {
                if (!json_object_get(reached, t[i].host))
                    json_object_set_new(reached, t[i].host, json_array());
                json_array_append_new(json_object_get(reached, t[i].host), json_string(t[i].address));
            }
            open += t[i].fd >= 0;
        }
    }
    for (int i = 0; i < n; i++)
        if (t[i].fd >= 0)
            give_up(&t[i]);
    free(fds);
    free(t);
    return reached;
}

/* ---- measuring ------------------------------------------------------------------------------- */

static bool ask(int fd, const char *token, int64_t bytes)
{
    struct question q = {.bytes = bytes};
    char name[DDP_REACH_NAME];
    memcpy(q.token, token, TOKEN);
    return send_all(fd, &q, sizeof q) && receive_all(fd, name, sizeof name);
}

/* The fastest of some, as anything else on the way only adds to it. */
static bool time_trips(int fd, const char *token, double *out)
{
    *out = 1e9;
    for (int i = 0; i < ROUND_TRIPS; i++) {
        const double began = ddp_now();
        if (!ask(fd, token, 0))
            return false;
        const double took = (ddp_now() - began) / 2;
        *out = took < *out ? took : *out;
    }
    return true;
}

static bool time_stream(int fd, const char *token, double *out)
{
    char *block = ddp_calloc(1, BLOCK), done;
    const int ahead = 8, most = 1 << 14;
    bool good = ask(fd, token, (int64_t)most * BLOCK);
    const double began = ddp_now();
    int sent = 0, heard = 0;
    while (good && sent < most && ddp_now() - began < STREAM_S) {
        good = send_all(fd, block, BLOCK);
        sent += good;
        if (good && sent - heard > ahead)
            heard += (good = receive_all(fd, &done, 1));
    }
    while (good && heard < sent)
        heard += (good = receive_all(fd, &done, 1));
    *out = (double)heard * BLOCK / (ddp_now() - began);
    free(block);
    return good;
}

int ddp_reach_measure(const char *token, const char *address, int port, struct ddp_reach_speed *out,
                      struct ddp_error *err)
{
    const int fd = ddp_address_connect(address, port);
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    bool good = fd >= 0 && poll(&p, 1, 3000) > 0 && ddp_address_connected(fd);
    if (good) {
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
        limit_wait(fd, 5);
        good = time_trips(fd, token, &out->latency_s) && time_stream(fd, token, &out->bytes_s);
    }
    if (fd >= 0)
        close(fd); /* in the middle of the stream's bytes: the other side sees the end */
    return good ? 0 : ddp_fail(err, DDP_E_COMM, "%s does not answer at port %d", address, port);
}
