/* What goes to our own stdout or stderr. */
#include "launcher/sink.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { CHUNK = 4096 /* PIPE_BUF: does not block once poll has said that there is room */ };

void ddp_sink_init(struct ddp_sink *s, int to, bool discard)
{
    *s = (struct ddp_sink){.to = to, .discard = discard};
    ddp_text_init(&s->pending);
}

void ddp_sink_finish(struct ddp_sink *s)
{
    ddp_text_finish(&s->pending);
}

static void keep_tail(struct ddp_sink *s, const char *bytes, size_t n)
{
    if (n > DDP_SINK_TAIL) {
        bytes += n - DDP_SINK_TAIL;
        n = DDP_SINK_TAIL;
    }
    const size_t keep = s->ntail + n > DDP_SINK_TAIL ? DDP_SINK_TAIL - n : s->ntail;
    memmove(s->tail, s->tail + s->ntail - keep, keep);
    memcpy(s->tail + keep, bytes, n);
    s->ntail = keep + n;
    s->tail[s->ntail] = '\0';
}

static void add(struct ddp_sink *s, const char *bytes, size_t n)
{
    keep_tail(s, bytes, n);
    if (!s->discard && !s->broken)
        ddp_text_append(&s->pending, bytes, n);
}

void ddp_sink_put(struct ddp_sink *s, const void *who, const char *bytes, size_t n)
{
    if (n == 0)
        return;
    if (s->midline && s->midline != who)
        add(s, "\n", 1);
    add(s, bytes, n);
    s->midline = bytes[n - 1] == '\n' ? NULL : who;
}

void ddp_sink_say(struct ddp_sink *s, const char *line, size_t n)
{
    if (s->broken)
        return;
    if (s->midline)
        ddp_text_append(&s->pending, "\n", 1);
    ddp_text_append(&s->pending, line, n);
    s->midline = NULL;
    ddp_sink_move(s);
}

bool ddp_sink_is_full(const struct ddp_sink *s)
{
    return s->pending.len > 0;
}

struct pollfd ddp_sink_poll(const struct ddp_sink *s)
{
    return (struct pollfd){.fd = ddp_sink_is_full(s) ? s->to : -1, .events = POLLOUT};
}

static void write_some(struct ddp_sink *s)
{
    const size_t left = s->pending.len - s->written;
    if (left == 0)
        return;
    const ssize_t n = write(s->to, s->pending.s + s->written, left < CHUNK ? left : CHUNK);
    if (n > 0)
        s->written += (size_t)n;
    else if (n < 0 && errno != EINTR && errno != EAGAIN) {
        s->broken = true; /* "| head", a full disk: training goes on */
        if (s->to == STDOUT_FILENO)
            ddp_stream_failed(errno);
    }
    if (s->broken || s->written == s->pending.len) {
        s->pending.len = 0;
        s->pending.s[0] = '\0';
        s->written = 0;
    }
}

void ddp_sink_move(struct ddp_sink *s)
{
    struct pollfd p = {.fd = s->to, .events = POLLOUT};
    while (ddp_sink_is_full(s) && poll(&p, 1, 0) > 0)
        write_some(s);
}

void ddp_sink_drain(struct ddp_sink *s)
{
    while (ddp_sink_is_full(s))
        write_some(s);
}
