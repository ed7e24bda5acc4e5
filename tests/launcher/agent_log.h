/* A head that only writes down what an agent tells. Included by the test programs. */
#ifndef TESTS_LAUNCHER_AGENT_LOG_H
#define TESTS_LAUNCHER_AGENT_LOG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "launcher/agent.h"
#include "launcher/sample.h"

enum { LIMIT_S = 20, NO_ORDER = -1 };

static const char *const names[] = {
    [DDP_NEWS_ERROR] = "error",   [DDP_NEWS_RESULT] = "result",      [DDP_NEWS_SAVED] = "saved",
    [DDP_NEWS_BYE] = "bye",       [DDP_NEWS_DIED] = "died",          [DDP_NEWS_MISSING] = "missing",
    [DDP_NEWS_NOBODY] = "nobody", [DDP_NEWS_HALTED] = "halted",      [DDP_NEWS_CUT] = "cut",
    [DDP_NEWS_LOST] = "host",     [DDP_NEWS_STARTER_LOST] = "lost",  [DDP_NEWS_STARTER_ENDED] = "ended",
    [DDP_NEWS_SWEPT] = "swept",   [DDP_NEWS_OUTPUT_ENDED] = "output"};

struct log {
    char news[512]; /* their names; rank of a failure, status of a goodbye */
    char text[512]; /* of the first failure */
    int joined, met, gone, pulses, alive, stopped;
    char halted[256]; /* the first that is */
};

static inline void write_down(struct log *log, const struct ddp_news *n)
{
    const size_t len = strlen(log->news);
    log->joined += n->kind == DDP_NEWS_JOINED;
    log->met += n->kind == DDP_NEWS_MET;
    log->gone += n->kind == DDP_NEWS_GONE;
    log->stopped += n->kind == DDP_NEWS_BYE && n->value == DDP_EXIT_STOPPED;
    log->alive += n->kind == DDP_NEWS_ALIVE;
    if (n->kind == DDP_NEWS_HALTED && !*log->halted)
        snprintf(log->halted, sizeof log->halted, "%.255s", n->text);
    struct ddp_sample sample;
    log->pulses += n->kind == DDP_NEWS_PULSE && ddp_sample_parse(n->text, &sample);
    if (n->kind == DDP_NEWS_JOINED || n->kind == DDP_NEWS_MET || n->kind == DDP_NEWS_GONE ||
        n->kind == DDP_NEWS_PULSE || n->kind == DDP_NEWS_ALIVE)
        return; /* when, is the kernel's business */
    const char *end = n->kind == DDP_NEWS_STARTER_ENDED && n->killed ? ":killed" : "";
    if (n->kind == DDP_NEWS_ERROR || n->kind == DDP_NEWS_CUT || n->kind == DDP_NEWS_DIED ||
        n->kind == DDP_NEWS_MISSING) {
        snprintf(log->news + len, sizeof log->news - len, "%s:%d ", names[n->kind], n->rank);
        snprintf(log->text, sizeof log->text, "%.500s", n->text);
    } else if (n->kind == DDP_NEWS_BYE) {
        snprintf(log->news + len, sizeof log->news - len, "bye=%d ", n->value);
    } else {
        snprintf(log->news + len, sizeof log->news - len, "%s%s ", names[n->kind], end);
    }
}

/* What the head of a job would do next; `order` is given when all ranks have joined, ALL_MET when all have
 * met. between: what else
 * happens meanwhile, NULL nothing. */
static inline void live(struct ddp_agent *a, int ranks, int order, void (*between)(struct ddp_agent *a),
                        struct log *log)
{
    struct pollfd fds[32];
    static struct ddp_news news;
    bool over = false;
    const double end = ddp_now() + LIMIT_S;
    assert_true(ddp_agent_watches(a) <= (int)DDP_COUNT(fds));
    while (!over && ddp_now() < end) {
        double until = ddp_now() + 0.01;
        const int n = ddp_agent_watch(a, fds, &until);
        poll(fds, (nfds_t)n, 10);
        ddp_agent_woken(a, fds);
        while (ddp_agent_next(a, ddp_now(), &news)) {
            write_down(log, &news);
            const bool met = order == DDP_ORDER_ALL_MET;
            if (order >= 0 && news.kind == (met ? DDP_NEWS_MET : DDP_NEWS_JOINED) &&
                (met ? log->met : log->joined) == ranks)
                ddp_agent_order(a, (enum ddp_order)order);
            if (news.kind == DDP_NEWS_MISSING || news.kind == DDP_NEWS_LOST)
                ddp_agent_order(a, DDP_ORDER_KILL_RANKS);
            if (news.kind == DDP_NEWS_STARTER_ENDED)
                ddp_agent_order(a, DDP_ORDER_SWEEP);
            over |= news.kind == DDP_NEWS_OUTPUT_ENDED;
        }
        if (between)
            between(a);
    }
    assert_true(over);
}

struct agent_case {
    const char *mode, *who;
    int ranks;
    int order;
    const char *news, *text;
};

static inline void assert_case(const struct agent_case *c, const struct log *log)
{
    if (strcmp(log->news, c->news) != 0 || !strstr(log->text, c->text))
        fail_msg("%s %s: %s(%s), not %s(%s)", c->mode, c->who, log->news, log->text, c->news, c->text);
}

#endif
