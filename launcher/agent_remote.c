/* An agent behind a wire. */
#include "launcher/agent_remote.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct remote {
    struct ddp_agent agent;
    struct ddp_wire *wire;
    int ranks, gone;    /* those that are expected, those that have ended */
    bool killed, swept; /* what it was told */
    bool told_lost, told_ended, told_swept, told_output;
};

/* ---- news as bytes --------------------------------------------------------------------------- */

void ddp_wire_send_news(struct ddp_wire *w, const struct ddp_news *news)
{
    struct ddp_wire_news m = {
        .kind = news->kind, .rank = news->rank, .value = news->value, .killed = news->killed};
    snprintf(m.text, sizeof m.text, "%s", news->text);
    ddp_wire_send(w, DDP_WIRE_NEWS, &m, offsetof(struct ddp_wire_news, text) + strlen(m.text) + 1);
}

bool ddp_wire_read_news(const struct ddp_frame *frame, struct ddp_news *out)
{
    struct ddp_wire_news m;
    const size_t fixed = offsetof(struct ddp_wire_news, text);
    if (frame->kind != DDP_WIRE_NEWS || frame->n <= fixed || frame->n > sizeof m)
        return false;
    memcpy(&m, frame->bytes, frame->n);
    if (m.kind < 0 || m.kind > DDP_NEWS_OUTPUT_ENDED)
        return false;
    out->kind = (enum ddp_news_kind)m.kind;
    out->rank = m.rank;
    out->value = m.value;
    out->killed = m.killed != 0;
    snprintf(out->text, sizeof out->text, "%.*s", (int)(frame->n - fixed), m.text);
    return true;
}

/* ---- the agent ------------------------------------------------------------------------------- */

static void order(struct ddp_agent *agent, enum ddp_order order)
{
    struct remote *r = (struct remote *)agent;
    const int32_t word = order;
    r->killed |= order == DDP_ORDER_KILL_RANKS || order == DDP_ORDER_KILL_STARTER || order == DDP_ORDER_SWEEP;
    r->swept |= order == DDP_ORDER_SWEEP;
    if (order == DDP_ORDER_GIVE_UP) {
        r->told_lost = true;
        ddp_wire_cut(r->wire, "is not heard any more");
        return;
    }
    ddp_wire_send(r->wire, DDP_WIRE_ORDER, &word, sizeof word);
}

static void note(struct ddp_agent *agent, int rank, const char *text)
{
    struct ddp_wire_note m = {.rank = rank};
    snprintf(m.text, sizeof m.text, "%s", text);
    ddp_wire_send(((struct remote *)agent)->wire, DDP_WIRE_NOTE, &m, sizeof m);
}

static int watches(const struct ddp_agent *agent)
{
    (void)agent;
    return 1;
}

static int watch(const struct ddp_agent *agent, struct pollfd *fds, double *until)
{
    (void)until;
    fds[0] = ddp_wire_poll(((const struct remote *)agent)->wire);
    return 1;
}

static void woken(struct ddp_agent *agent, const struct pollfd *fds)
{
    if (fds[0].revents)
        ddp_wire_move(((struct remote *)agent)->wire);
}

/* The next thing that a lost agent would have said. */
static bool say_for_it(struct remote *r, struct ddp_news *out)
{
    const struct {
        bool due, *told;
        enum ddp_news_kind kind;
    } last[] = {
        {r->gone < r->ranks && !r->told_swept, &r->told_lost, DDP_NEWS_LOST},
        {true, &r->told_ended, DDP_NEWS_STARTER_ENDED},
        {r->swept, &r->told_swept, DDP_NEWS_SWEPT},
        {r->swept, &r->told_output, DDP_NEWS_OUTPUT_ENDED},
    };
    *out = (struct ddp_news){.rank = -1};
    for (size_t i = 0; i < DDP_COUNT(last); i++)
        if (last[i].due && !*last[i].told) {
            out->kind = last[i].kind;
            out->killed = out->kind == DDP_NEWS_LOST && r->killed;
            snprintf(out->text, sizeof out->text, "is lost: its agent %s", r->wire->why);
            return *last[i].told = true;
        }
    return false;
}

static bool next(struct ddp_agent *agent, double now, struct ddp_news *out)
{
    struct remote *r = (struct remote *)agent;
    struct ddp_frame frame;
    (void)now;
    while (ddp_wire_next(r->wire, &frame))
        if (ddp_wire_read_news(&frame, out)) {
            r->gone += out->kind == DDP_NEWS_GONE;
            r->told_ended |= out->kind == DDP_NEWS_STARTER_ENDED;
            r->told_swept |= out->kind == DDP_NEWS_SWEPT;
            r->told_output |= out->kind == DDP_NEWS_OUTPUT_ENDED;
            return true;
        }
    return r->wire->over && say_for_it(r, out);
}

static void destroy(struct ddp_agent *agent)
{
    free(agent);
}

static const struct ddp_agent_ops remote_ops = {.order = order,
                                                .note = note,
                                                .watches = watches,
                                                .watch = watch,
                                                .woken = woken,
                                                .next = next,
                                                .destroy = destroy};

struct ddp_agent *ddp_remote_agent_create(const char *host, int ranks, struct ddp_wire *wire)
{
    struct remote *r = ddp_calloc(1, sizeof *r);
    r->agent.ops = &remote_ops;
    snprintf(r->agent.host, sizeof r->agent.host, "%s", host);
    r->wire = wire;
    r->ranks = ranks;
    return &r->agent;
}
