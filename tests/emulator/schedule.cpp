/* Stand-in for the CUDA runtime: which work runs next.
 *
 * Candidates are the first item of every stream, or of a graph launch there, every node whose predecessors
 * are done, provided that no event or older launch of the same graph stands before them. Who forces a point
 * gets one of four policies by chance: only what the point needs; everything alike; what the point does not
 * need first; streams by a random rank, so that one runs far ahead of another. */
#include <pthread.h>
#include <time.h>

#include <algorithm>

#include "standin.h"

namespace standin
{
namespace
{
std::vector<std::shared_ptr<queue>> &queues = *new std::vector<std::shared_ptr<queue>>;
int64_t kernels_run;
int64_t last_push; /* when somebody last forced work, ms */

struct pick {
    std::shared_ptr<queue> q;
    int node; /* -1: not of a graph */
    std::shared_ptr<work> w;
    uint64_t luck;
    bool needed;
};

int64_t now_ms()
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Items at the front that take no work: waits for what is over, launches that have ended. */
bool tidy(queue &q)
{
    bool any = false;
    while (!q.items.empty()) {
        item &i = q.items.front();
        if (i.w || (i.graph && i.graph->left > 0) || !i.wait.reached())
            break;
        if (i.graph) {
            if (i.graph->before && !i.graph->before->over)
                break;
            i.graph->over = true;
            i.graph->before = nullptr;
        }
        q.items.pop_front();
        q.finished++;
        any = true;
    }
    return any;
}

void tidy_all()
{
    for (bool any = true; any;) {
        any = false;
        for (auto &q : queues)
            any |= tidy(*q);
    }
    /* queues of destroyed streams, once empty */
    queues.erase(std::remove_if(
                     queues.begin(), queues.end(),
                     [](const std::shared_ptr<queue> &q) { return q.use_count() == 1 && q->items.empty(); }),
                 queues.end());
}

void need(const std::shared_ptr<queue> &q, std::vector<queue *> &found)
{
    if (!q || std::find(found.begin(), found.end(), q.get()) != found.end())
        return;
    found.push_back(q.get());
    if (q->items.empty())
        return;
    const item &i = q->items.front();
    need(i.wait.reached() ? nullptr : i.wait.q, found);
    if (i.graph && i.graph->before && !i.graph->before->over)
        need(i.graph->before->on.lock(), found);
}

std::vector<pick> candidates(const mark &target, const std::vector<work *> &blocked)
{
    std::vector<pick> found;
    std::vector<queue *> needed;
    need(target.q, needed);
    auto add = [&](const std::shared_ptr<queue> &q, int node, const std::shared_ptr<work> &w, uint64_t luck) {
        if (w->ready() && std::find(blocked.begin(), blocked.end(), w.get()) == blocked.end())
            found.push_back(
                {q, node, w, luck, std::find(needed.begin(), needed.end(), q.get()) != needed.end()});
    };
    for (auto &q : queues) {
        if (q->items.empty())
            continue;
        item &i = q->items.front();
        if (i.w)
            add(q, -1, i.w, q->luck);
        else if (i.graph && (!i.graph->before || i.graph->before->over))
            for (size_t n = 0; n < i.graph->missing.size(); n++)
                if (i.graph->missing[n] == 0)
                    add(q, (int)n, i.graph->works[n],
                        q->luck ^ (i.graph->luck * (uint64_t)((*i.graph->nodes)[n].lane + 1)));
    }
    return found;
}

void finish(const pick &p)
{
    item &i = p.q->items.front();
    if (p.node < 0) {
        p.q->items.pop_front();
        p.q->finished++;
    } else {
        launch &l = *i.graph;
        l.missing[(size_t)p.node] = -1;
        l.works[(size_t)p.node] = nullptr;
        for (int f : l.followers[(size_t)p.node])
            l.missing[(size_t)f]--;
        l.left--;
    }
}

enum policy { LAZY, RANKED, ALIKE, ASIDE };

policy policy_now()
{
    static const policy often[] = {LAZY, LAZY, LAZY, LAZY, RANKED, RANKED, ALIKE, ASIDE};
    static policy now;
    static bool drawn;
    if (!drawn || chance(16) == 0) {
        drawn = true;
        now = often[chance(8)];
        for (auto &q : queues)
            q->luck = chance64();
    }
    return now;
}

/* NULL: nothing that the policy lets run, though other streams have work. That it does not last for ever is
 * the next policy's doing. */
const pick *choose(const std::vector<pick> &all, policy how)
{
    std::vector<const pick *> some;
    for (const pick &p : all)
        if ((how != LAZY || p.needed) && (how != ASIDE || !p.needed))
            some.push_back(&p);
    if (some.empty() && how == LAZY)
        return NULL;
    if (some.empty())
        for (const pick &p : all)
            some.push_back(&p);
    if (how == RANKED)
        return *std::max_element(some.begin(), some.end(),
                                 [](const pick *x, const pick *y) { return x->luck < y->luck; });
    return some[chance((uint32_t)some.size())];
}

void fail(int number, const char *name)
{
    broke(cudaErrorLaunchFailure, "kernel %s fails and device %d is lost (DDP_EMU_LOST_AT)", name, number);
    schedule_lost(number, cudaErrorLaunchFailure);
}

std::vector<struct pollfd> awaited()
{
    std::vector<struct pollfd> fds;
    for (auto &q : queues) {
        if (q->items.empty())
            continue;
        item &i = q->items.front();
        if (i.w)
            i.w->waits_for(fds);
        else if (i.graph)
            for (size_t n = 0; n < i.graph->missing.size(); n++)
                if (i.graph->missing[n] == 0)
                    i.graph->works[n]->waits_for(fds);
    }
    return fds;
}
} // namespace

void schedule_add(const std::shared_ptr<queue> &q)
{
    q->luck = chance64();
    queues.push_back(q);
}

void schedule_lost(int number, cudaError_t e)
{
    device_of(number).lost = e;
    for (auto &q : queues)
        if (q->device == number) {
            for (item &i : q->items)
                if (i.graph)
                    i.graph->over = true;
            q->items.clear();
            q->finished = q->issued;
        }
}

progress schedule(const mark &target, uint64_t budget)
{
    last_push = now_ms();
    std::vector<work *> blocked;
    const policy how = policy_now();
    const int64_t lost_at = setting("DDP_EMU_LOST_AT", 0);
    progress went = progress::stopped;
    bool open = false;
    while (budget-- > 0) {
        tidy_all();
        if (target.reached()) {
            went = progress::reached;
            break;
        }
        const std::vector<pick> all = candidates(target, blocked);
        const pick *p = all.empty() ? NULL : choose(all, how);
        if (!p) {
            went = all.empty() ? progress::stuck : progress::blocked;
            break;
        }
        if (!open)
            memory_open();
        open = true;
        if (p->w->kernel() && ++kernels_run == lost_at)
            fail(p->q->device, p->w->name());
        else if (p->w->run() != outcome::done)
            blocked.push_back(p->w.get());
        else {
            finish(*p);
            if (chance(4) == 0)
                blocked
                    .clear(); /* what waits for other ranks may go on before what runs beside it is through */
        }
    }
    tidy_all();
    if (target.reached())
        went = progress::reached;
    if (open)
        memory_close();
    return went;
}

void schedule_wait(int ms)
{
    std::vector<struct pollfd> fds;
    {
        std::lock_guard<std::recursive_mutex> hold(books);
        fds = awaited();
    }
    poll(fds.data(), (nfds_t)fds.size(), ms);
}

/* Not done? Then maybe do something for it. "Not yet" is an answer that CUDA may give at any time before. */
cudaError_t query(const mark &target)
{
    progress went = progress::stopped;
    {
        std::lock_guard<std::recursive_mutex> hold(books);
        tidy_all();
        if (target.reached())
            return entered();
        if (chance(3) > 0)
            went = schedule(target, 1 + chance(256));
        if (entered() != cudaSuccess)
            return entered();
    }
    if (went == progress::blocked || went == progress::stuck)
        schedule_wait(1);
    return went == progress::reached ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t synchronize(const mark &target)
{
    for (;;) {
        progress went;
        {
            std::lock_guard<std::recursive_mutex> hold(books);
            went = schedule(target, UINT64_MAX);
            if (went == progress::reached || entered() != cudaSuccess)
                return entered();
            if (went == progress::stuck && awaited().empty())
                die("deadlock: stream %u never ends: it waits for a communicator that has failed, or for "
                    "itself",
                    target.q->number);
        }
        schedule_wait(20);
    }
}

cudaError_t synchronize_device(int number)
{
    std::vector<mark> all;
    {
        std::lock_guard<std::recursive_mutex> hold(books);
        for (auto &q : queues)
            if (q->device == number && !q->capturing)
                all.push_back(mark_of(q));
    }
    for (const mark &m : all) {
        const cudaError_t e = synchronize(m);
        if (e != cudaSuccess)
            return e;
    }
    return cudaSuccess;
}

cudaError_t schedule_some(int number)
{
    std::lock_guard<std::recursive_mutex> hold(books);
    for (auto q : std::vector<std::shared_ptr<queue>>(queues))
        if (q->device == number)
            schedule(mark_of(q), UINT64_MAX);
    return entered();
}

/* ---- a device works without being asked ----
 * Ranks that wait for a collective wait for a rank whose host may wait for something else; so collectives
 * that nobody has asked for go on after a while. */

namespace
{
bool collective_waits()
{
    for (auto &q : queues)
        for (item &i : q->items) {
            if (i.w && i.w->collective())
                return true;
            for (size_t n = 0; i.graph && n < i.graph->works.size(); n++)
                if (i.graph->works[n] && i.graph->works[n]->collective())
                    return true;
        }
    return false;
}

void *watch(void *)
{
    const int64_t after = setting("DDP_EMU_PROGRESS", 250);
    for (;;) {
        struct timespec nap = {0, 50 * 1000000};
        nanosleep(&nap, NULL);
        std::lock_guard<std::recursive_mutex> hold(books);
        if (now_ms() - last_push < after || !collective_waits())
            continue;
        for (auto q : std::vector<std::shared_ptr<queue>>(queues))
            if (!mark_of(q).reached())
                schedule(mark_of(q), 64);
        last_push = 0; /* go on at the next turn */
    }
    return NULL;
}
} // namespace

void schedule_watch()
{
    static bool running;
    if (running || setting("DDP_EMU_PROGRESS", 250) <= 0)
        return;
    running = true;
    pthread_t t;
    if (pthread_create(&t, NULL, watch, NULL) == 0)
        pthread_detach(t);
}

} // namespace standin
