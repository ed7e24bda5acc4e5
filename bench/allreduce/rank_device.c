/* One rank on a GPU: NCCL's all-reduce by itself over a list of sizes, through the plug-in.
 *
 * As nccl-tests does it: in place, calls enqueued one behind the other on one stream, and the time from a
 * barrier to the last call's end by the number of calls, by the slowest rank. Sums of zeros are timed, which
 * stay zeros however often they are summed; every size is checked before. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "bench/allreduce/allreduce.h"
#include "device/device.h"

static const double LIMIT_S = 60; /* that others are waited for */

struct card {
    struct ddp_comm *ranks;
    const struct ddp_gpu_api *api;
    struct ddp_gpu *gpu;
    struct ddp_gpu_comm *nccl;
    struct ddp_gpu_stream *stream;
    float *sum, *host; /* of the size at hand: on the device; pinned */
};

/* All that is enqueued is over. */
static int drain(const struct card *c, struct ddp_error *err)
{
    const double began = ddp_now();
    double looked = began;
    int status = 0;
    while (status == 0 && !c->api->idle(c->stream)) {
        const double now = ddp_now();
        if (now - looked < 0.01)
            continue;
        looked = now;
        nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL); /* where ranks are more than CPUs */
        status = c->api->comm_check(c->nccl, err);
        if (status == 0 && now - began > LIMIT_S)
            status = ddp_fail(err, DDP_E_COMM, "NCCL has not answered for %.0f s", LIMIT_S);
    }
    return status ? status : c->api->check(c->gpu, err);
}

static int check(const struct card *c, int64_t count, double *wrong, struct ddp_error *err)
{
    for (int64_t i = 0; i < count; i++)
        c->host[i] = bench_reduce_input(i, c->ranks->rank);
    c->api->copy(c->stream, c->sum, c->host, (size_t)count * sizeof *c->sum);
    c->api->allreduce(c->nccl, c->stream, c->sum, (size_t)count);
    c->api->copy(c->stream, c->host, c->sum, (size_t)count * sizeof *c->sum);
    const int status = drain(c, err);
    *wrong = status ? 0 : (double)bench_reduce_wrong(c->host, count, c->ranks->size);
    return status ? status : bench_reduce_largest(c->ranks, wrong, err);
}

static int time_calls(const struct card *c, int64_t count, int calls, double *seconds, struct ddp_error *err)
{
    int status = ddp_comm_barrier(c->ranks, err);
    const double began = ddp_now();
    for (int i = 0; i < calls && status == 0; i++)
        c->api->allreduce(c->nccl, c->stream, c->sum, (size_t)count);
    if (status == 0)
        status = drain(c, err);
    *seconds = (ddp_now() - began) / calls;
    return status ? status : bench_reduce_largest(c->ranks, seconds, err);
}

static int measure(struct card *c, const struct bench_reduce_task *task, long bytes, struct ddp_text *row,
                   struct ddp_error *err)
{
    const int64_t count = bytes / (int64_t)sizeof *c->sum;
    double wrong = 0, took = 0;
    int status = check(c, count, &wrong, err);
    c->api->zero(c->stream, c->sum, (size_t)bytes);
    if (status == 0)
        status = time_calls(c, count, 3, &took, err);
    const int calls = bench_reduce_calls(took);
    ddp_text_add(row, "row %ld %.0f", bytes, wrong);
    for (long round = 0; round < task->rounds && status == 0; round++) {
        status = time_calls(c, count, calls, &took, err);
        ddp_text_add(row, " %.9f", took);
    }
    return status;
}

static int measure_size(struct card *c, const struct bench_reduce_task *task, long bytes,
                        struct ddp_error *err)
{
    void *sum = NULL, *host = NULL;
    struct ddp_text row;
    ddp_text_init(&row);
    int status = c->api->alloc(c->gpu, (size_t)bytes, &sum, err);
    if (status == 0)
        status = c->api->alloc_pinned(c->gpu, (size_t)bytes, &host, err);
    c->sum = sum;
    c->host = host;
    status = ddp_comm_agree(c->ranks, status, err);
    if (status == 0 && c->sum && c->host)
        status = measure(c, task, bytes, &row, err);
    if (status == 0 && c->ranks->rank == 0) {
        puts(row.s);
        fflush(stdout);
    }
    ddp_text_finish(&row);
    c->api->release(c->gpu, sum);
    c->api->release_pinned(c->gpu, host);
    return status;
}

static int meet(struct card *c, struct ddp_error *err)
{
    const struct ddp_comm *ranks = c->ranks;
    char id[DDP_GPU_ID_BYTES] = "";
    int status = ranks->rank == 0 ? c->api->comm_id(id, err) : 0;
    status = ddp_comm_agree(c->ranks, status, err);
    if (status == 0)
        status = ddp_comm_bcast(c->ranks, id, sizeof id, 0, err);
    if (status == 0)
        status = c->api->comm_open(c->gpu, id, ranks->rank, ranks->size, DDP_GPU_SHARE_NOT, LIMIT_S, &c->nccl,
                                   err);
    return status;
}

int bench_reduce_device(struct ddp_comm *comm, const struct bench_reduce_task *task, const char *gpu,
                        struct ddp_error *err)
{
    struct card c = {.ranks = comm};
    int device = 0, status = ddp_gpu_api_open(&c.api, err);
    if (status == 0)
        status = ddp_gpu_device_pick(c.api, gpu, comm->local_rank, comm->local_size, false, &device, err);
    if (status == 0)
        status = c.api->open(device, &c.gpu, err);
    if (status == 0)
        status = c.api->stream_create(c.gpu, false, &c.stream, err);
    status = ddp_comm_agree(comm, status, err);
    if (status == 0)
        status = ddp_comm_agree(comm, meet(&c, err), err);
    for (long bytes = task->first; bytes <= task->last && status == 0; bytes *= task->factor)
        status = measure_size(&c, task, bytes, err);
    if (c.nccl)
        c.api->comm_close(c.nccl, status != 0);
    if (c.stream)
        c.api->stream_destroy(c.stream);
    if (c.gpu)
        c.api->close(c.gpu);
    return status;
}
