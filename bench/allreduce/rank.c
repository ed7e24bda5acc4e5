/* One rank of ours: sums by src/reduce over a list of sizes, checked, then timed.
 *
 * What is timed is a step of the reduction without its forward and backward: every rank has written its leaf,
 * all of it is final at once, owners add up their slices and write the sums to the array that all ranks of a
 * node read. When a call returns, all sums are there for all ranks. */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/allreduce/allreduce.h"
#include "reduce/reduce.h"
#include "train/session.h"

struct ring {
    struct ddp_comm *comm;
    struct ddp_reduce *reduce;
    struct ddp_reduce_apply apply;
    float *result;
    float *in, *out;      /* this rank's own; out NULL: the sums are read where they are */
    double writing;       /* seconds that it takes to write a leaf, at best */
    int64_t count, total; /* floats; whole blocks */
};

/* ---- one sum --------------------------------------------------------------------------------- */

static int64_t apply(void *ctx, int stage, int64_t lo, int64_t hi, float *sum, double *values)
{
    const struct ring *g = ctx;
    (void)stage, (void)values;
    memcpy(g->result + lo, sum, (size_t)(hi - lo) * sizeof *sum);
    return -1;
}

static void write_leaf(const struct ring *g, float *leaf)
{
    memcpy(leaf, g->in, (size_t)g->total * sizeof *leaf);
}

static int call(struct ring *g, struct ddp_error *err)
{
    const int shard = ddp_reduce_first_shard(g->reduce);
    bool stop;
    ddp_reduce_begin(g->reduce);
    write_leaf(g, ddp_reduce_leaf(g->reduce, shard));
    ddp_reduce_ready(g->reduce, shard, 0, g->total, &g->apply);
    const int status = ddp_reduce_finish(g->reduce, &g->apply, false, &stop, err);
    if (g->out)
        memcpy(g->out, g->result, (size_t)g->total * sizeof *g->out);
    return status;
}

/* ---- a size ---------------------------------------------------------------------------------- */

static int make(struct ring *g, struct ddp_comm *comm, const struct bench_reduce_task *task, int64_t bytes,
                struct ddp_error *err)
{
    *g = (struct ring){.comm = comm, .count = bytes / (int64_t)sizeof(float)};
    g->total = (g->count + DDP_BLOCK - 1) / DDP_BLOCK * DDP_BLOCK;
    g->in = ddp_pages_alloc((size_t)g->total * sizeof(float));
    g->out = task->copied ? ddp_pages_alloc((size_t)g->total * sizeof(float)) : NULL;
    if (!g->in || (task->copied && !g->out))
        return ddp_fail(err, DDP_E_RESOURCE, "no memory for %lld bytes", (long long)bytes);
    for (int64_t i = 0; i < g->count; i++)
        g->in[i] = bench_reduce_input(i, comm->rank);
    g->apply = (struct ddp_reduce_apply){.ctx = g, .stages = 1, .run = apply};
    const int status =
        ddp_comm_shared_alloc(comm, (size_t)g->total * sizeof(float), (void **)&g->result, err);
    const struct ddp_reduce_conf conf = {.shards = comm->size,
                                         .fast = task->fast != 0,
                                         .total = g->total,
                                         .bucket = task->bucket / (int64_t)sizeof(float),
                                         .result = g->result};
    return status ? status : ddp_reduce_create(&conf, comm, NULL, &g->reduce, err);
}

static void drop(struct ring *g)
{
    ddp_pages_free(g->in, (size_t)g->total * sizeof(float));
    ddp_pages_free(g->out, (size_t)g->total * sizeof(float));
    ddp_reduce_destroy(g->reduce);
    if (g->result)
        ddp_comm_shared_free(g->comm, g->result, (size_t)g->total * sizeof(float));
}

/* Seconds of writing the leaf and a call, by the slowest rank. What writing takes by itself is noted, to be
 * taken off: what is left has the price of fetching fresh data from another rank's cache, as in training. */
static int time_calls(struct ring *g, int calls, double *seconds, struct ddp_error *err)
{
    float *leaf = ddp_reduce_leaf(g->reduce, ddp_reduce_first_shard(g->reduce));
    double began = ddp_now();
    for (int i = 0; i < calls; i++)
        write_leaf(g, leaf);
    const double writing = (ddp_now() - began) / calls;
    g->writing = g->writing > 0 && g->writing < writing ? g->writing : writing;
    int status = ddp_comm_barrier(g->comm, err);
    began = ddp_now();
    for (int i = 0; i < calls && status == 0; i++)
        status = call(g, err);
    *seconds = (ddp_now() - began) / calls;
    return status ? status : bench_reduce_largest(g->comm, seconds, err);
}

static int check(struct ring *g, double *wrong, struct ddp_error *err)
{
    int status = call(g, err);
    *wrong = status ? 0 : (double)bench_reduce_wrong(g->out ? g->out : g->result, g->count, g->comm->size);
    return status ? status : bench_reduce_largest(g->comm, wrong, err);
}

static int measure(struct ddp_comm *comm, const struct bench_reduce_task *task, long bytes,
                   struct ddp_error *err)
{
    struct ring g;
    double once = 0, wrong = 0;
    struct ddp_text row;
    ddp_text_init(&row);
    int status = make(&g, comm, task, bytes, err);
    if (status == 0)
        status = check(&g, &wrong, err);
    if (status == 0)
        status = time_calls(&g, 3, &once, err);
    const int calls = bench_reduce_calls(once);
    ddp_text_add(&row, "row %ld %.0f", bytes, wrong);
    double *took = ddp_calloc((size_t)task->rounds, sizeof *took);
    for (long round = 0; round < task->rounds && status == 0; round++)
        status = time_calls(&g, calls, &took[round], err);
    for (long round = 0; round < task->rounds && status == 0; round++)
        ddp_text_add(&row, " %.9f", took[round] > g.writing ? took[round] - g.writing : 0.0);
    free(took);
    if (status == 0 && comm->rank == 0) {
        puts(row.s);
        fflush(stdout);
    }
    ddp_text_finish(&row);
    drop(&g);
    return status;
}

static int measure_all(struct ddp_comm *comm, const struct bench_reduce_task *task, struct ddp_error *err)
{
    int status = 0;
    for (long bytes = task->first; bytes <= task->last && status == 0; bytes *= task->factor)
        status = measure(comm, task, bytes, err);
    return status;
}

/* ---- ranks as threads ------------------------------------------------------------------------ */

struct member {
    pthread_t thread;
    const struct bench_reduce_task *task;
    struct ddp_comm *comm;
    int status;
    struct ddp_error err;
};

/* A CPU for each, where there are enough. */
static void bind_member(int rank, int ranks)
{
    cpu_set_t all, one;
    if (sched_getaffinity(0, sizeof all, &all) != 0 || CPU_COUNT(&all) < ranks)
        return;
    int cpu = -1;
    for (int k = 0; k <= rank; k++)
        do
            cpu++;
        while (!CPU_ISSET(cpu, &all));
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    sched_setaffinity(0, sizeof one, &one);
}

static void *run_member(void *ctx)
{
    struct member *m = ctx;
    bind_member(m->comm->rank, m->comm->size);
    m->status = measure_all(m->comm, m->task, &m->err);
    if (m->status)
        ddp_comm_abort(m->comm, 1);
    return NULL;
}

static int run_threads(const struct bench_reduce_task *task, struct ddp_error *err)
{
    const int n = (int)task->threads;
    struct ddp_comm **comm = ddp_calloc((size_t)n, sizeof(struct ddp_comm *));
    struct member *member = ddp_calloc((size_t)n, sizeof *member);
    int status = ddp_comm_threads_create(n, comm, err), started = 0;
    for (int i = 0; i < n && status == 0; i++) {
        member[i] = (struct member){.task = task, .comm = comm[i]};
        if (pthread_create(&member[i].thread, NULL, run_member, &member[i]) != 0)
            status = ddp_fail(err, DDP_E_RESOURCE, "no thread for rank %d", i);
        else
            started++;
    }
    if (status && started > 0)
        ddp_comm_abort(comm[0], 1);
    for (int i = 0; i < started; i++)
        pthread_join(member[i].thread, NULL);
    for (int i = 0; i < started && status == 0; i++)
        if ((status = member[i].status) != 0)
            *err = member[i].err;
    for (int i = 0; i < n; i++)
        ddp_comm_destroy(comm[i]);
    free(member);
    free(comm);
    return status;
}

/* ---- ranks as processes ---------------------------------------------------------------------- */

static int run_process(const struct bench_reduce_task *task, int argc, char **argv, struct ddp_error *err)
{
    struct ddp_session *s = NULL;
    int status = ddp_session_open(&argc, &argv, &s, err);
    if (status)
        return status;
    status = task->device ? bench_reduce_device(s->comm, task, s->place.gpu[0] ? s->place.gpu : NULL, err)
                          : measure_all(s->comm, task, err);
    s->status = s->failed = status;
    ddp_session_close(s, err);
    return status;
}

int bench_reduce_rank(const struct bench_reduce_task *task, int argc, char **argv)
{
    struct ddp_error err = {0};
    const int status = task->threads > 0 ? run_threads(task, &err) : run_process(task, argc, argv, &err);
    return status ? ddp_report("ddp-bench allreduce", &err) : DDP_EXIT_OK;
}
