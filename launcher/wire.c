/* Frames over a socket that never blocks. */
#include "launcher/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct head {
    uint32_t kind, bytes;
};

/* A host is gone when it has acknowledged nothing for this long: probes begin after 2 s without traffic. */
enum { SILENCE_MS = 7000, PROBE_AFTER_S = 2, PROBE_EVERY_S = 1, PROBES = 5, READ_MOST = 1 << 20 };

void ddp_wire_init(struct ddp_wire *w, int fd)
{
    const int on = 1, after = PROBE_AFTER_S, every = PROBE_EVERY_S, probes = PROBES, silence = SILENCE_MS;
    *w = (struct ddp_wire){.fd = fd, .most = DDP_WIRE_STRANGER};
    ddp_text_init(&w->in);
    ddp_text_init(&w->out);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &after, sizeof after);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every, sizeof every);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &silence, sizeof silence);
}

void ddp_wire_finish(struct ddp_wire *w)
{
    if (w->fd >= 0)
        close(w->fd);
    w->fd = -1;
    ddp_text_finish(&w->in);
    ddp_text_finish(&w->out);
}

static void end(struct ddp_wire *w, const char *why)
{
    if (w->over)
        return;
    w->over = true;
    snprintf(w->why, sizeof w->why, "%s", why);
}

static void end_with(struct ddp_wire *w, int code)
{
    char why[128];
    if (code == ETIMEDOUT || code == EHOSTUNREACH || code == ENETUNREACH || code == EHOSTDOWN)
        snprintf(why, sizeof why, "does not answer any more (%s)", strerror(code));
    else if (code == ECONNRESET || code == EPIPE)
        snprintf(why, sizeof why, "closed the connection");
    else
        snprintf(why, sizeof why, "is cut off: %s", strerror(code));
    end(w, why);
}

static void write_some(struct ddp_wire *w)
{
    while (!w->over && w->written < w->out.len) {
        const ssize_t n = send(w->fd, w->out.s + w->written, w->out.len - w->written, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN)
            end_with(w, errno);
        if (n < 0)
            return;
        w->written += (size_t)n;
    }
    w->out.len = w->written = 0;
    w->out.s[0] = '\0';
}

static void read_some(struct ddp_wire *w)
{
    char buf[65536];
    for (size_t have = 0; !w->over && have < READ_MOST;) {
        const ssize_t n = recv(w->fd, buf, sizeof buf, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0)
            end(w, "closed the connection");
        else if (n < 0 && errno != EAGAIN)
            end_with(w, errno);
        if (n <= 0)
            return;
        ddp_text_append(&w->in, buf, (size_t)n);
        have += (size_t)n;
    }
}

void ddp_wire_send(struct ddp_wire *w, enum ddp_wire_kind kind, const void *bytes, size_t n)
{
    const struct head head = {.kind = kind, .bytes = (uint32_t)n};
    if (w->over)
        return;
    ddp_text_append(&w->out, (const char *)&head, sizeof head);
    ddp_text_append(&w->out, bytes, n);
    write_some(w);
}

/* What has been taken makes room for what comes. */
static void drop_taken(struct ddp_wire *w)
{
    memmove(w->in.s, w->in.s + w->taken, w->in.len - w->taken);
    w->in.len -= w->taken;
    w->in.s[w->in.len] = '\0';
    w->taken = 0;
}

/* Behind a frame comes another's head: its bytes move over their own head, to have room for a NUL. */
bool ddp_wire_next(struct ddp_wire *w, struct ddp_frame *out)
{
    struct head head;
    if (w->in.len - w->taken < sizeof head) {
        drop_taken(w);
        return false;
    }
    char *at = w->in.s + w->taken;
    memcpy(&head, at, sizeof head);
    if (head.bytes > w->most) {
        end(w, "speaks another language than ddp-launch");
        return false;
    }
    if (w->in.len - w->taken < sizeof head + head.bytes) {
        drop_taken(w);
        return false;
    }
    memmove(at, at + sizeof head, head.bytes);
    at[head.bytes] = '\0';
    w->taken += sizeof head + head.bytes;
    *out = (struct ddp_frame){.kind = (enum ddp_wire_kind)head.kind, .bytes = at, .n = head.bytes};
    return true;
}

void ddp_wire_cut(struct ddp_wire *w, const char *why)
{
    end(w, why);
}

struct pollfd ddp_wire_poll(const struct ddp_wire *w)
{
    const short events = (short)(POLLIN | (w->written < w->out.len ? POLLOUT : 0));
    return (struct pollfd){.fd = w->over ? -1 : w->fd, .events = events};
}

void ddp_wire_move(struct ddp_wire *w)
{
    write_some(w);
    read_some(w);
}

bool ddp_wire_wait(struct ddp_wire *w, double until, struct ddp_frame *out)
{
    for (;;) {
        if (ddp_wire_next(w, out))
            return true;
        const double left = until - ddp_now();
        struct pollfd p = ddp_wire_poll(w);
        if (w->over || left <= 0)
            return false;
        if (poll(&p, 1, (int)(left * 1e3) + 1) > 0)
            ddp_wire_move(w);
    }
}
