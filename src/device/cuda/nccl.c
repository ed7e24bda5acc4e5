/* NCCL behind struct ddp_gpu_api.
 *
 * Communicators do not block (ncclConfig blocking = 0), so that a rank whose peers are gone can abort: every
 * call may answer ncclInProgress, and nothing else may be asked of the communicator until
 * ncclCommGetAsyncError() says something else (NCCL user guide, "Fault Tolerance"). settle() is that wait; it
 * ends at the communicator's time-out. */
#include <errno.h>
#include <nccl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "device/cuda/private.h"

enum { NCCL_HAS_MULTI_RANK = 23000 }; /* the first version that lets several ranks share a GPU when asked */

struct ddp_gpu_comm {
    struct ddp_gpu *gpu;
    ncclComm_t nccl;
    int rank;
    double timeout_s;
    bool grouped; /* between group_begin and group_end: settled at the end */
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int ddp_cuda_nccl_version(void)
{
    int v = 0;
    return ncclGetVersion(&v) == ncclSuccess ? v : 0;
}

static int wrong(struct ddp_error *err, ncclComm_t comm, ncclResult_t r, const char *what)
{
    const char *last = ncclGetLastError(comm); /* what its log would say; "" when there is nothing */
    bool more = last && *last;
    return ddp_fail(err, DDP_E_COMM, "NCCL: %s: %s%s%s%s%s", what, ncclGetErrorString(r), more ? ": " : "",
                    more ? last : "", r == ncclRemoteError ? "; another rank failed first" : "",
                    r == ncclUnhandledCudaError || r == ncclSystemError ? " (NCCL_DEBUG=WARN shows more)"
                                                                        : "");
}

/* Wait until the communicator has left ncclInProgress. */
static int settle(ncclComm_t comm, ncclResult_t r, double timeout_s, const char *what, struct ddp_error *err)
{
    if (r != ncclSuccess && r != ncclInProgress)
        return wrong(err, comm, r, what);
    double end = now() + timeout_s;
    for (int turn = 0;; turn++) {
        ncclResult_t state = ncclSuccess;
        r = ncclCommGetAsyncError(comm, &state);
        if (r != ncclSuccess)
            return wrong(err, comm, r, what);
        if (state == ncclSuccess)
            return 0;
        if (state != ncclInProgress)
            return wrong(err, comm, state, what);
        if (now() > end)
            return ddp_fail(err, DDP_E_COMM,
                            "NCCL: %s: not done after %g s (comm.timeout_s): another rank is late, hangs or "
                            "cannot be reached",
                            what, timeout_s);
        if (turn > 1000) { /* a set-up that takes its time: leave the core to NCCL's own threads */
            struct timespec nap = {.tv_nsec = 50000};
            nanosleep(&nap, NULL);
        }
    }
}

static int comm_id(char id[DDP_GPU_ID_BYTES], struct ddp_error *err)
{
    ncclUniqueId u;
    _Static_assert(sizeof u.internal == DDP_GPU_ID_BYTES, "an id of NCCL");
    ncclResult_t r = ncclGetUniqueId(&u);
    if (r != ncclSuccess)
        return wrong(err, NULL, r, "no id for a communicator");
    memcpy(id, u.internal, DDP_GPU_ID_BYTES);
    return 0;
}

/* Several ranks on one GPU are refused, unless NCCL is told that it may (2.30 on), or takes each rank for a
 * host of its own; then they talk over sockets. Read at the start of a communicator. */
static int allow_sharing(int rank, enum ddp_gpu_sharing share, struct ddp_error *err)
{
    int bad = 0;
    if (ddp_cuda_nccl_version() >= NCCL_HAS_MULTI_RANK) {
        bad = setenv("NCCL_MULTI_RANK_GPU_ENABLE", "1", 1);
    } else {
        char host[64] = "", id[96];
        (void)gethostname(host, sizeof host - 1);
        snprintf(id, sizeof id, "ddp-%s-%d", host, rank);
        bad = setenv("NCCL_HOSTID", id, 1) != 0 ||
              (share == DDP_GPU_SHARE_HERE && setenv("NCCL_SOCKET_IFNAME", "lo", 0) != 0);
    }
    return bad ? ddp_fail(err, DDP_E_RESOURCE, "NCCL: cannot set its environment: %s", strerror(errno)) : 0;
}

static int comm_open(struct ddp_gpu *gpu, const char id[DDP_GPU_ID_BYTES], int rank, int size,
                     enum ddp_gpu_sharing share, double timeout_s, struct ddp_gpu_comm **out,
                     struct ddp_error *err)
{
    /* Registering the buffers of captured calls is known to hang; its gain is none for our sizes. Calls that
     * are captured and others never meet (the engine drains its stream between them), so NCCL need not order
     * them, which costs a host callback a launch. */
    if (setenv("NCCL_GRAPH_REGISTER", "0", 0) != 0 || setenv("NCCL_GRAPH_MIXING_SUPPORT", "0", 0) != 0)
        return ddp_fail(err, DDP_E_RESOURCE, "NCCL: cannot set its environment: %s", strerror(errno));
    if (share != DDP_GPU_SHARE_NOT) {
        int code = allow_sharing(rank, share, err);
        if (code)
            return code;
    }
    struct ddp_gpu_comm *c = calloc(1, sizeof *c);
    if (!c)
        return ddp_fail(err, DDP_E_RESOURCE, "NCCL: out of host memory");
    c->gpu = gpu;
    c->rank = rank;
    c->timeout_s = timeout_s;
    ncclUniqueId u;
    memcpy(u.internal, id, sizeof u.internal);
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    ncclResult_t r = ncclCommInitRankConfig(&c->nccl, size, u, rank, &config);
    int code = settle(c->nccl, r, timeout_s, "opening the communicator", err);
    if (code) {
        if (c->nccl)
            (void)ncclCommAbort(c->nccl);
        free(c);
        return code;
    }
    *out = c;
    return 0;
}

static void comm_close(struct ddp_gpu_comm *c, bool abort)
{
    if (!c)
        return;
    /* Finalize waits for the others, who do not come when something failed. */
    if (!abort && ddp_gpu_works(c->gpu) &&
        settle(c->nccl, ncclCommFinalize(c->nccl), c->timeout_s, "closing", NULL) == 0)
        (void)ncclCommDestroy(c->nccl);
    else
        (void)ncclCommAbort(c->nccl);
    free(c);
}

static int comm_check(struct ddp_gpu_comm *c, struct ddp_error *err)
{
    ncclResult_t state = ncclSuccess;
    ncclResult_t r = ncclCommGetAsyncError(c->nccl, &state);
    if (r != ncclSuccess)
        return wrong(err, c->nccl, r, "asking for errors");
    return state == ncclSuccess || state == ncclInProgress ? 0
                                                           : wrong(err, c->nccl, state, "asynchronous error");
}

/* ---- what is enqueued ---- */

static void keep(struct ddp_gpu_comm *c, ncclResult_t r, const char *what)
{
    struct ddp_error err = {0};
    int code = 0;
    if (c->grouped) { /* the group's end settles: nothing may be asked of the communicator inside */
        if (r != ncclSuccess && r != ncclInProgress)
            code = wrong(&err, c->nccl, r, what);
    } else {
        code = settle(c->nccl, r, c->timeout_s, what, &err);
    }
    if (code)
        ddp_gpu_fail(c->gpu, code, "%s", err.text);
}

static void group_begin(struct ddp_gpu_comm *c)
{
    if (!ddp_gpu_works(c->gpu))
        return;
    ncclResult_t r = ncclGroupStart();
    c->grouped = r == ncclSuccess;
    if (!c->grouped)
        keep(c, r, "beginning a group");
}

static void group_end(struct ddp_gpu_comm *c)
{
    if (!c->grouped)
        return;
    c->grouped =
        false; /* also after a failure: groups nest, so one that stays open would swallow all that follows */
    keep(c, ncclGroupEnd(), "sending and receiving");
}

static void comm_send(struct ddp_gpu_comm *c, struct ddp_gpu_stream *s, const float *p, size_t count, int to)
{
    if (count > 0 && ddp_gpu_works(c->gpu))
        keep(c, ncclSend(p, count, ncclFloat32, to, c->nccl, ddp_stream_cuda(s)), "sending");
}

static void comm_recv(struct ddp_gpu_comm *c, struct ddp_gpu_stream *s, float *p, size_t count, int from)
{
    if (count > 0 && ddp_gpu_works(c->gpu))
        keep(c, ncclRecv(p, count, ncclFloat32, from, c->nccl, ddp_stream_cuda(s)), "receiving");
}

static void comm_bcast(struct ddp_gpu_comm *c, struct ddp_gpu_stream *s, float *p, size_t count, int root)
{
    if (count > 0 && ddp_gpu_works(c->gpu))
        keep(c, ncclBroadcast(p, p, count, ncclFloat32, root, c->nccl, ddp_stream_cuda(s)), "broadcasting");
}

static void comm_allreduce(struct ddp_gpu_comm *c, struct ddp_gpu_stream *s, float *p, size_t count)
{
    if (count > 0 && ddp_gpu_works(c->gpu))
        keep(c, ncclAllReduce(p, p, count, ncclFloat32, ncclSum, c->nccl, ddp_stream_cuda(s)), "summing");
}

static void comm_allgather(struct ddp_gpu_comm *c, struct ddp_gpu_stream *s, float *p, size_t count)
{
    if (count > 0 && ddp_gpu_works(c->gpu))
        keep(c,
             ncclAllGather(p + (size_t)c->rank * count, p, count, ncclFloat32, c->nccl, ddp_stream_cuda(s)),
             "gathering");
}

void ddp_cuda_nccl_fill(struct ddp_gpu_api *api)
{
    api->comm_id = comm_id;
    api->comm_open = comm_open;
    api->comm_close = comm_close;
    api->comm_check = comm_check;
    api->group_begin = group_begin;
    api->group_end = group_end;
    api->send = comm_send;
    api->recv = comm_recv;
    api->bcast = comm_bcast;
    api->allreduce = comm_allreduce;
    api->allgather = comm_allgather;
}
