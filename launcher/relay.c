/* Output of the ranks, line by line: handed on, or kept as the starter's own. */
#include "launcher/relay.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK_LINES = 60, LONGEST_LINE = 65536 /* that is kept together */ };

void ddp_relay_init(struct ddp_relay *r, const struct ddp_starter *starter, int from, int rank,
                    struct ddp_fold *fold, struct ddp_text *own)
{
    *r = (struct ddp_relay){
        .starter = starter, .fold = fold, .from = from, .rank = starter->direct ? rank : -1, .own = own};
    ddp_text_init(&r->line);
    ddp_text_init(&r->block);
}

void ddp_relay_finish(struct ddp_relay *r)
{
    if (r->from >= 0)
        close(r->from);
    r->from = -1;
    ddp_text_finish(&r->line);
    ddp_text_finish(&r->block);
}

static void clear(struct ddp_text *t)
{
    t->len = 0;
    t->s[0] = '\0';
}

static void pass_part(struct ddp_relay *r, const char *s, size_t n)
{
    ddp_fold_part(r->fold, r->rank, r, s, n);
}

/* ---- whose text is it? ----------------------------------------------------------------------- */

static void end_block(struct ddp_relay *r)
{
    if (r->starter->is_own_block(r->block.s))
        ddp_text_append(r->own, r->block.s, r->block.len);
    else
        pass_part(r, r->block.s, r->block.len);
    clear(&r->block);
    r->in_block = false;
}

/* r->line holds the beginning of a line that is a rank's. */
static void pass_beginning(struct ddp_relay *r)
{
    char mark[32];
    if (r->rank > 0)
        pass_part(r, mark, (size_t)snprintf(mark, sizeof mark, "rank %d: ", r->rank));
    pass_part(r, r->line.s, r->line.len);
}

/* r->line holds one line with its newline. */
static void judge_line(struct ddp_relay *r)
{
    const struct ddp_starter *starter = r->starter;
    const bool rule = starter->is_block_line && starter->is_block_line(r->line.s, r->line.len - 1);

    if (r->in_block || rule) {
        ddp_text_append(&r->block, r->line.s, r->line.len);
        int lines = 0;
        for (const char *s = r->block.s; (s = strchr(s, '\n')); s++)
            lines++;
        const bool ends = r->in_block && (rule || lines > BLOCK_LINES);
        r->in_block = true;
        if (ends)
            end_block(r);
    } else if (starter->is_own_line && starter->is_own_line(r->line.s)) {
        ddp_text_append(r->own, r->line.s, r->line.len);
    } else {
        ddp_fold_put(r->fold, r->rank, r->line.s, r->line.len, ddp_now());
    }
    clear(&r->line);
}

/* A line without its end yet goes on at once (progress bars, prompts), unless it may become one of the
 * starter's. */
static void judge_partial(struct ddp_relay *r)
{
    const bool suspect = r->starter->is_own_line && r->line.len > 0 && strchr("-m[", r->line.s[0]);
    if (r->line.len == 0 || r->in_block || suspect || (r->rank > 0 && r->line.len < LONGEST_LINE))
        return;
    pass_beginning(r);
    clear(&r->line);
    r->midline = true;
}

static void judge(struct ddp_relay *r, const char *s, size_t n)
{
    while (n > 0) {
        const char *end = memchr(s, '\n', n);
        const size_t take = end ? (size_t)(end - s) + 1 : n;
        if (r->midline) {
            pass_part(r, s, take);
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

void ddp_relay_end(struct ddp_relay *r)
{
    if (r->line.len > 0) {
        if (r->in_block)
            ddp_text_append(&r->block, r->line.s, r->line.len);
        else
            pass_beginning(r);
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
    ddp_relay_end(r);
    return false;
}

struct pollfd ddp_relay_poll(const struct ddp_relay *r)
{
    return (struct pollfd){.fd = ddp_sink_is_full(r->fold->sink) && !r->hurry ? -1 : r->from,
                           .events = POLLIN};
}

void ddp_relay_move(struct ddp_relay *r)
{
    if (!ddp_sink_is_full(r->fold->sink) || r->hurry)
        read_some(r);
    ddp_sink_move(r->fold->sink);
}

void ddp_relay_hurry(struct ddp_relay *r)
{
    r->hurry = true;
}
