/* Frames over a socket that never blocks. */
#include "launcher/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
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

static void end(struct ddp_wire *w, const char *why)
{
    char theirs[sizeof w->why];
    if (w->over)
        return;
    w->over = true;
    snprintf(w->why, sizeof w->why, "%s", why);
    snprintf(theirs, sizeof theirs, "is behind another host's, which %.90s", why);
    for (int i = 0; i < w->ncarried; i++)
        if (w->carried[i])
            end(w->carried[i], theirs);
}

void ddp_wire_finish(struct ddp_wire *w)
{
    if (w->by)
        w->by->carried[w->number] = NULL;
    end(w, "is over");
    for (int i = 0; i < w->ncarried; i++)
        if (w->carried[i])
            w->carried[i]->by = NULL;
    if (w->fd >= 0)
        close(w->fd);
    free(w->carried);
    ddp_text_finish(&w->in);
    ddp_text_finish(&w->out);
    ddp_text_finish(&w->mixed);
    *w = (struct ddp_wire){.fd = -1, .over = true};
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
        ddp_text_append(w->ncarried ? &w->mixed : &w->in, buf, (size_t)n);
        have += (size_t)n;
    }
}

static void queue(struct ddp_wire *w, enum ddp_wire_kind kind, const void *first, size_t nfirst,
                  const void *bytes, size_t n)
{
    const struct head head = {.kind = kind, .bytes = (uint32_t)(nfirst + n)};
    ddp_text_append(&w->out, (const char *)&head, sizeof head);
    ddp_text_append(&w->out, first, nfirst);
    ddp_text_append(&w->out, bytes, n);
    write_some(w);
}

void ddp_wire_send(struct ddp_wire *w, enum ddp_wire_kind kind, const void *bytes, size_t n)
{
    const struct ddp_wire_passed passed = {.number = w->number, .kind = kind};
    if (w->over)
        return;
    if (w->by)
        queue(w->by, DDP_WIRE_PASSED, &passed, sizeof passed, bytes, n);
    else
        queue(w, kind, "", 0, bytes, n);
}

/* ---- reading --------------------------------------------------------------------------------- */

/* The frame that begins at `at`, of `have` bytes; false: it has not come whole. */
static bool find_frame(struct ddp_wire *w, const char *at, size_t have, struct head *out)
{
    if (have < sizeof *out)
        return false;
    memcpy(out, at, sizeof *out);
    if (out->bytes > w->most) {
        end(w, "speaks another language than ddp-launch");
        return false;
    }
    return have >= sizeof *out + out->bytes;
}

static void drop(struct ddp_text *t, size_t n)
{
    memmove(t->s, t->s + n, t->len - n);
    t->len -= n;
    t->s[t->len] = '\0';
}

/* Behind a frame comes another's head: its bytes move over their own head, to have room for a NUL. */
bool ddp_wire_next(struct ddp_wire *w, struct ddp_frame *out)
{
    struct head head;
    char *at = w->in.s + w->taken;
    if (!find_frame(w, at, w->in.len - w->taken, &head)) {
        drop(&w->in, w->taken); /* makes room for what comes */
        w->taken = 0;
        return false;
    }
    memmove(at, at + sizeof head, head.bytes);
    at[head.bytes] = '\0';
    w->taken += sizeof head + head.bytes;
    *out = (struct ddp_frame){.kind = (enum ddp_wire_kind)head.kind, .bytes = at, .n = head.bytes};
    return true;
}

/* ---- wires in a wire ------------------------------------------------------------------------- */

static struct ddp_wire *carried_by(const struct ddp_wire *w, int32_t number)
{
    return number >= 0 && number < w->ncarried ? w->carried[number] : NULL;
}

static void hand_out(struct ddp_wire *w, const struct head *head, const char *bytes)
{
    struct ddp_wire_passed passed = {.number = -1};
    struct ddp_wire *to = w;
    struct head inner = *head;
    char why[sizeof w->why];
    if (head->kind == DDP_WIRE_PASSED && head->bytes >= sizeof passed) {
        memcpy(&passed, bytes, sizeof passed);
        to = carried_by(w, passed.number);
        inner = (struct head){.kind = (uint32_t)passed.kind, .bytes = head->bytes - (uint32_t)sizeof passed};
        bytes += sizeof passed;
    } else if (head->kind == DDP_WIRE_CUT && head->bytes > sizeof passed.number) {
        memcpy(&passed.number, bytes, sizeof passed.number);
        to = carried_by(w, passed.number);
        snprintf(why, sizeof why, "%.*s", (int)(head->bytes - sizeof passed.number),
                 bytes + sizeof passed.number);
        if (to)
            end(to, why);
        return;
    }
    if (!to || to->over)
        return;
    ddp_text_append(&to->in, (const char *)&inner, sizeof inner);
    ddp_text_append(&to->in, bytes, inner.bytes);
}

static void sort_mixed(struct ddp_wire *w)
{
    struct head head;
    size_t at = 0;
    while (find_frame(w, w->mixed.s + at, w->mixed.len - at, &head)) {
        hand_out(w, &head, w->mixed.s + at + sizeof head);
        at += sizeof head + head.bytes;
    }
    drop(&w->mixed, at);
}

void ddp_wire_carry(struct ddp_wire *w, struct ddp_wire *by, int number)
{
    if (by->ncarried == 0) { /* what came and was not taken may be the beginning of a frame */
        ddp_text_init(&by->mixed);
        ddp_text_append(&by->mixed, by->in.s + by->taken, by->in.len - by->taken);
        drop(&by->in, by->in.len);
        by->taken = 0;
    }
    if (number >= by->ncarried) {
        by->carried = ddp_realloc(by->carried, ((size_t)number + 1) * sizeof(void *));
        for (int i = by->ncarried; i <= number; i++)
            by->carried[i] = NULL;
        by->ncarried = number + 1;
    }
    by->carried[number] = w;
    w->by = by;
    w->number = number;
    if (w->fd >= 0)
        close(w->fd);
    w->fd = -1;
    if (by->over)
        end(w, "is behind another host's, which is lost");
    sort_mixed(by);
}

/* ---- waiting --------------------------------------------------------------------------------- */

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
    if (w->by)
        return;
    write_some(w);
    read_some(w);
    if (w->ncarried)
        sort_mixed(w);
}

void ddp_wire_flush(struct ddp_wire *w, double until)
{
    while (!w->over && w->written < w->out.len && ddp_now() < until) {
        struct pollfd p = {.fd = w->fd, .events = POLLOUT};
        poll(&p, 1, 100);
        write_some(w);
    }
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
