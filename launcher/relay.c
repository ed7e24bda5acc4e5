/* Output of the ranks, line by line: passed on, or kept as the starter's own. */
#include "launcher/relay.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK_LINES = 60, CHUNK = 4096 /* PIPE_BUF: does not block once poll has said that there is room */ };

void ddp_relay_init(struct ddp_relay *r, const struct ddp_starter *starter, int from, int to, bool discard,
                    struct ddp_text *own)
{
    *r = (struct ddp_relay){.starter = starter, .from = from, .to = to, .discard = discard, .own = own};
    ddp_text_init(&r->line);
    ddp_text_init(&r->block);
    ddp_text_init(&r->pending);
}

void ddp_relay_finish(struct ddp_relay *r)
{
    if (r->from >= 0)
        close(r->from);
    r->from = -1;
    ddp_text_finish(&r->line);
    ddp_text_finish(&r->block);
    ddp_text_finish(&r->pending);
}

static void clear(struct ddp_text *t)
{
    t->len = 0;
    t->s[0] = '\0';
}

/* ---- out ------------------------------------------------------------------------------------- */

static void keep_tail(struct ddp_relay *r, const char *s, size_t n)
{
    if (n > DDP_RELAY_TAIL) {
        s += n - DDP_RELAY_TAIL;
        n = DDP_RELAY_TAIL;
    }
    const size_t keep = r->ntail + n > DDP_RELAY_TAIL ? DDP_RELAY_TAIL - n : r->ntail;
    memmove(r->tail, r->tail + r->ntail - keep, keep);
    memcpy(r->tail + keep, s, n);
    r->ntail = keep + n;
    r->tail[r->ntail] = '\0';
}

static void pass_on(struct ddp_relay *r, const char *s, size_t n)
{
    keep_tail(r, s, n);
    if (!r->discard && !r->broken)
        ddp_text_append(&r->pending, s, n);
}

static void write_some(struct ddp_relay *r)
{
    const size_t left = r->pending.len - r->written;
    if (left == 0)
        return;
    const ssize_t n = write(r->to, r->pending.s + r->written, left < CHUNK ? left : CHUNK);
    if (n > 0)
        r->written += (size_t)n;
    else if (n < 0 && errno != EINTR && errno != EAGAIN)
        r->broken = true; /* "| head": training goes on */
    if (r->broken || r->written == r->pending.len) {
        clear(&r->pending);
        r->written = 0;
    }
}

/* ---- whose text is it? ----------------------------------------------------------------------- */

static void end_block(struct ddp_relay *r)
{
    if (r->starter->is_own_block(r->block.s))
        ddp_text_append(r->own, r->block.s, r->block.len);
    else
        pass_on(r, r->block.s, r->block.len);
    clear(&r->block);
    r->in_block = false;
}

/* r->line holds one line with its newline. */
static void judge_line(struct ddp_relay *r)
{
    const bool rule = r->starter->is_block_line(r->line.s, r->line.len - 1);

    if (r->in_block || rule) {
        ddp_text_append(&r->block, r->line.s, r->line.len);
        int lines = 0;
        for (const char *s = r->block.s; (s = strchr(s, '\n')); s++)
            lines++;
        const bool ends = r->in_block && (rule || lines > BLOCK_LINES);
        r->in_block = true;
        if (ends)
            end_block(r);
    } else if (r->starter->is_own_line(r->line.s)) {
        ddp_text_append(r->own, r->line.s, r->line.len);
    } else {
        pass_on(r, r->line.s, r->line.len);
    }
    clear(&r->line);
}

/* A line without its end yet goes on at once (progress bars, prompts), unless it may become one of the
 * starter's. */
static void judge_partial(struct ddp_relay *r)
{
    if (r->line.len == 0 || r->in_block || r->line.s[0] == '-' || r->line.s[0] == 'm' || r->line.s[0] == '[')
        return;
    pass_on(r, r->line.s, r->line.len);
    clear(&r->line);
    r->midline = true;
}

static void judge(struct ddp_relay *r, const char *s, size_t n)
{
    while (n > 0) {
        const char *end = memchr(s, '\n', n);
        const size_t take = end ? (size_t)(end - s) + 1 : n;
        if (r->midline) {
            pass_on(r, s, take);
            r->midline = !end;
        } else {
            ddp_text_append(&r->line, s, take);
            if (end)
                judge_line(r);
        }
        s += take;
        n -= take;
    }
    judge_partial(r);
}

/* ---- in -------------------------------------------------------------------------------------- */

static void at_end(struct ddp_relay *r)
{
    if (r->line.len > 0) {
        if (r->in_block)
            ddp_text_append(&r->block, r->line.s, r->line.len);
        else
            pass_on(r, r->line.s, r->line.len);
        clear(&r->line);
    }
    if (r->in_block)
        end_block(r);
}

/* False when there is nothing to read for now. */
static bool read_some(struct ddp_relay *r)
{
    char buf[65536];
    if (r->from < 0)
        return false;
    const ssize_t n = read(r->from, buf, sizeof buf);
    if (n > 0) {
        judge(r, buf, (size_t)n);
        return true;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    close(r->from);
    r->from = -1;
    at_end(r);
    return false;
}

struct pollfd ddp_relay_poll(const struct ddp_relay *r)
{
    if (r->pending.len > 0 && !(r->hurry && r->from >= 0))
        return (struct pollfd){.fd = r->to, .events = POLLOUT};
    return (struct pollfd){.fd = r->from, .events = POLLIN};
}

void ddp_relay_move(struct ddp_relay *r)
{
    if (r->pending.len == 0 || r->hurry)
        read_some(r);
    struct pollfd p = {.fd = r->to, .events = POLLOUT};
    while (r->pending.len > 0 && poll(&p, 1, 0) > 0)
        write_some(r);
}

void ddp_relay_hurry(struct ddp_relay *r)
{
    r->hurry = true;
}

void ddp_relay_drain(struct ddp_relay *r, double seconds)
{
    const double until = ddp_now() + seconds;
    while (r->from >= 0 && ddp_now() < until)
        if (!read_some(r) && r->from >= 0) {
            struct pollfd p = {.fd = r->from, .events = POLLIN};
            poll(&p, 1, 20);
        }
    at_end(r);
    while (r->pending.len > 0)
        write_some(r);
}
