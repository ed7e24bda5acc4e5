/* A generation counter that starts the threads, and one that says when all have ended. */
#include "base/pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fmath.h"
#include "base/parts.h"
#include "base/wait.h"

struct ddp_pool {
    int threads, spin;
    pthread_t *handle; /* [threads]; 0 is the caller and unused */
    struct worker *worker;
    /* one job at a time; written by the caller before `round` is raised, read by workers after it */
    struct ddp_part *part; /* [threads] of the tasks */
    ddp_task_fn fn;
    void *ctx;
    bool quit;
    void (*between)(void *ctx); /* the caller's alone */
    void *between_ctx;
    ddp_word round, done;
    uint32_t rounds; /* raised so far, the caller's copy */
};

struct worker {
    struct ddp_pool *pool;
    int index, cpu;
};

static _Thread_local bool is_worker;

void ddp_pool_pause(struct ddp_pool *p)
{
    if (p && p->between && !is_worker)
        p->between(p->between_ctx);
}

static void run_part(struct ddp_pool *p, int index)
{
    for (int64_t task; (task = ddp_parts_take(p->part, p->threads, index)) >= 0;) {
        p->fn(p->ctx, (int)task);
        ddp_pool_pause(p);
    }
}

static void *work(void *arg)
{
    struct worker *w = arg;
    struct ddp_pool *p = w->pool;
    is_worker = true;
    if (w->cpu >= 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(w->cpu, &set);
        pthread_setaffinity_np(pthread_self(), sizeof set,
                               &set); /* best effort: the plan was checked before */
    }
    ddp_float_mode();
    for (uint32_t round = 1;; round++) {
        ddp_wait_reached(&p->round, round, p->spin, NULL);
        if (p->quit)
            return NULL;
        run_part(p, w->index);
        ddp_wait_add(&p->done, 1);
    }
}

int ddp_pool_create(int threads, const int *cpus, int spin, struct ddp_pool **out, struct ddp_error *err)
{
    if (threads < 1)
        return ddp_fail(err, DDP_E_USAGE, "a pool needs at least 1 thread, got %d", threads);
    struct ddp_pool *p = ddp_calloc(1, sizeof *p);
    p->spin = spin;
    p->threads = 1;
    p->handle = ddp_calloc((size_t)threads, sizeof *p->handle);
    p->worker = ddp_calloc((size_t)threads, sizeof *p->worker);
    p->part = aligned_alloc(sizeof *p->part, (size_t)threads * sizeof *p->part);
    if (!p->part)
        abort();
    for (int i = 1; i < threads; i++) {
        p->worker[i] = (struct worker){p, i, cpus ? cpus[i] : -1};
        int e = pthread_create(&p->handle[i], NULL, work, &p->worker[i]);
        if (e) {
            ddp_pool_destroy(p);
            return ddp_fail(
                err, DDP_E_RESOURCE,
                "cannot start thread %d of %d: %s; ask for fewer, or raise the limit of processes "
                "(ulimit -u)",
                i + 1, threads, strerror(e));
        }
        p->threads = i + 1;
    }
    *out = p;
    return 0;
}

static void raise_round(struct ddp_pool *p)
{
    p->rounds++;
    ddp_wait_add(&p->round, 1);
}

void ddp_pool_destroy(struct ddp_pool *p)
{
    if (!p)
        return;
    if (p->threads > 1) {
        p->quit = true;
        raise_round(p);
        for (int i = 1; i < p->threads; i++)
            pthread_join(p->handle[i], NULL);
    }
    free(p->handle);
    free(p->worker);
    free(p->part);
    free(p);
}

int ddp_pool_threads(const struct ddp_pool *p)
{
    return p ? p->threads : 1;
}

void ddp_pool_between(struct ddp_pool *p, void (*fn)(void *ctx), void *ctx)
{
    if (!p)
        return;
    p->between = fn;
    p->between_ctx = ctx;
}

void ddp_parallel(struct ddp_pool *p, int tasks, ddp_task_fn fn, void *ctx)
{
    if (!p || p->threads == 1 || tasks <= 1) {
        for (int i = 0; i < tasks; i++) {
            fn(ctx, i);
            ddp_pool_pause(p);
        }
        return;
    }
    ddp_parts_cut(p->part, p->threads, tasks);
    p->fn = fn;
    p->ctx = ctx;
    raise_round(p);
    run_part(p, 0);
    ddp_wait_reached(&p->done, p->rounds * (uint32_t)(p->threads - 1), p->spin, NULL);
}
