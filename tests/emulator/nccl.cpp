/* Stand-in for NCCL: its calls. Rules from the NCCL user guide, sections named below. */
#include <sys/random.h>

#include <cstring>
#include <set>

#include "nccl_standin.h"

using namespace standin;
typedef std::lock_guard<std::recursive_mutex> guard;

struct ncclComm {
    std::shared_ptr<member> m;
};

namespace
{
struct grouped {
    ncclComm_t comm;
    cudaStream_t stream;
    one_call c;
};
thread_local int depth;
thread_local ncclResult_t group_error;
thread_local std::vector<grouped> *group_calls;
thread_local std::string thread_error; /* of calls without a communicator */

std::set<ncclComm_t> &comms = *new std::set<ncclComm_t>;
const char ID_MARK[] = "ddp emulated nccl";

int version()
{
    return (int)setting("DDP_EMU_NCCL_VERSION", NCCL_VERSION_CODE);
}

ncclResult_t wrong(ncclResult_t r, const std::string &text)
{
    thread_error = text;
    broke(cudaSuccess, "NCCL: %s", text.c_str());
    return r;
}

/* Put what was called on its stream. */
void enqueue_call(const std::shared_ptr<queue> &q, const std::shared_ptr<work> &w)
{
    if (q->capturing) {
        capture_add(*q, w);
        return;
    }
    item i;
    i.w = w->issue(w, false);
    enqueue(q, std::move(i));
}

/* "Fault Tolerance": while ncclCommGetAsyncError() says ncclInProgress, the calls of a group may not have
 * been enqueued yet. So they are not, every other time, and the stream must not be used before. */
ncclResult_t hand_over(ncclComm_t comm, const std::shared_ptr<queue> &q, std::vector<one_call> &&calls)
{
    auto m = comm->m;
    auto w = nccl_work(m, std::move(calls));
    if (m->blocking || chance(2) == 0) {
        enqueue_call(q, w);
        return ncclSuccess;
    }
    q->held = true;
    m->deferred.push_back({q, w});
    m->delay = 1 + (int)chance(3);
    m->state = ncclInProgress;
    return ncclInProgress;
}

/* A communicator that may be called now. */
ncclResult_t callable(ncclComm_t comm, const char *what)
{
    if (!comms.count(comm))
        return wrong(ncclInvalidArgument, std::string(what) + ": no such communicator");
    member &m = *comm->m;
    if (m.failed())
        return m.state;
    if (m.state == ncclInProgress || m.finalized)
        return wrong(ncclInvalidUsage,
                     std::string(what) + " while the communicator is " +
                         (m.finalized ? "being closed" : "in progress: ask ncclCommGetAsyncError() first"));
    return ncclSuccess;
}

ncclResult_t check_call(const grouped &g)
{
    const member &m = *g.comm->m;
    const one_call &c = g.c;
    const size_t bytes = c.count * nccl_type_bytes(c.type);
    if (nccl_type_bytes(c.type) == 0)
        return wrong(ncclInvalidArgument, "no such type of elements");
    if (c.root < 0 || c.root >= m.size)
        return wrong(ncclInvalidArgument, "rank " + std::to_string(c.root) + " of " + std::to_string(m.size));
    if (c.what == call::all_reduce && !nccl_can_sum(c.type))
        return wrong(ncclInvalidArgument, "the stand-in sums floats, doubles and integers of 4 and 8 bytes");
    if ((c.from && c.count && !device_range(c.from, bytes)) ||
        (c.to && c.count && !device_range(c.to, nccl_room(c, m.size))))
        return wrong(ncclInvalidArgument,
                     "a buffer of " + std::to_string(bytes) + " bytes is not device memory, or leaves it");
    if (!c.from && !c.to)
        return wrong(ncclInvalidArgument, "no buffer");
    return ncclSuccess;
}

/* All calls of a communicator in a group; they must be on one stream here, NCCL would join several. */
ncclResult_t submit(std::vector<grouped> &all)
{
    ncclResult_t r = ncclSuccess;
    while (!all.empty()) {
        ncclComm_t comm = all[0].comm;
        cudaStream_t stream = all[0].stream;
        std::vector<one_call> mine;
        std::vector<grouped> rest;
        for (grouped &g : all)
            if (g.comm != comm)
                rest.push_back(g);
            else if (g.stream != stream)
                return wrong(ncclInvalidUsage,
                             "one group on two streams: NCCL allows it, the stand-in does not know it");
            else if (g.c.count)
                mine.push_back(g.c);
        all.swap(rest);
        auto q = queue_of(stream);
        if (!q || q->device != comm->m->device)
            return wrong(ncclInvalidArgument, "a stream of another device, or none");
        if (mine.empty())
            continue;
        /* "Using NCCL with CUDA Graphs", and NCCL_GRAPH_MIXING_SUPPORT: without that support, a graph launch
         * may not be outstanding when a call follows that is not captured. */
        const char *mixing = getenv("NCCL_GRAPH_MIXING_SUPPORT");
        if (!q->capturing && comm->m->graphs > 0 && !(mixing && strcmp(mixing, "1") == 0))
            return nccl_fail(
                *comm->m, ncclInvalidUsage,
                "a call that is not captured while a graph with calls of the communicator is under way");
        if (hand_over(comm, q, std::move(mine)) == ncclInProgress)
            r = ncclInProgress;
    }
    return r;
}

ncclResult_t make_call(const char *what, ncclComm_t comm, cudaStream_t stream, const one_call &c)
{
    guard hold(books);
    const grouped g = {comm, stream, c};
    ncclResult_t r = callable(comm, what);
    if (r == ncclSuccess && entered() != cudaSuccess)
        r = ncclUnhandledCudaError;
    if (r == ncclSuccess)
        r = check_call(g);
    if (depth > 0) {
        if (r == ncclSuccess)
            group_calls->push_back(g);
        else if (group_error == ncclSuccess)
            group_error = r;
        return r;
    }
    if (r != ncclSuccess)
        return r;
    std::vector<grouped> one(1, g);
    return submit(one);
}

/* One step of what goes on behind ncclInProgress. */
void advance(member &m)
{
    if (m.state != ncclInProgress) {
        link_pump(m); /* peers that died */
        return;
    }
    if (!m.deferred.empty() || m.finalized) {
        if (--m.delay > 0)
            return;
        m.state = ncclSuccess;
        for (auto &d : m.deferred) {
            d.q->held = false;
            enqueue_call(d.q, d.w);
        }
        m.deferred.clear();
        return;
    }
    if (link_join(m) && !m.failed() && --m.delay <= 0)
        m.state = ncclSuccess;
}

void wait_a_little(const member &m, int ms)
{
    std::vector<struct pollfd> fds;
    {
        guard hold(books);
        link_waits_for(m, fds);
    }
    poll(fds.data(), (nfds_t)fds.size(), ms);
}
} // namespace

/* ---- communicators ---- */

ncclResult_t ncclGetVersion(int *v)
{
    if (!v)
        return ncclInvalidArgument;
    *v = version();
    return ncclSuccess;
}

ncclResult_t ncclGetUniqueId(ncclUniqueId *id)
{
    if (!id)
        return ncclInvalidArgument;
    memset(id, 0, sizeof *id);
    memcpy(id->internal, ID_MARK, sizeof ID_MARK);
    return getrandom(id->internal + 32, 8, 0) == 8 ? ncclSuccess : ncclSystemError;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t *out, int size, ncclUniqueId id, int rank,
                                    ncclConfig_t *config)
{
    std::shared_ptr<member> m;
    {
        guard hold(books);
        if (!out || size < 1 || rank < 0 || rank >= size || memcmp(id.internal, ID_MARK, sizeof ID_MARK) != 0)
            return wrong(ncclInvalidArgument, "rank " + std::to_string(rank) + " of " + std::to_string(size) +
                                                  ", or an id that is none");
        if (config && (config->magic != NCCL_CONFIG_MAGIC || config->size > sizeof *config))
            return wrong(ncclInvalidArgument, "the configuration was not made by NCCL_CONFIG_INITIALIZER");
        if (depth > 0)
            return wrong(ncclInvalidUsage,
                         "a communicator is opened in a group: the stand-in does not know it");
        const cudaError_t e = entered();
        if (e != cudaSuccess)
            return wrong(ncclUnhandledCudaError, cudaGetErrorString(e));
        m = std::make_shared<member>();
        memcpy(&m->id, id.internal + 32, 8);
        m->rank = rank;
        m->size = size;
        m->device = current_device();
        m->version = version();
        m->blocking = !config || config->blocking != 0;
        m->delay = 1 + (int)chance(3);
        ncclComm_t c = new ncclComm;
        c->m = m;
        comms.insert(c);
        *out = c;
        schedule_watch();
        if (link_begin(*m) != ncclSuccess)
            return m->state;
    }
    if (!m->blocking)
        return ncclInProgress;
    for (;;) {
        {
            guard hold(books);
            m->delay = 0;
            advance(*m);
            if (m->state != ncclInProgress)
                return m->state;
        }
        wait_a_little(*m, 5);
    }
}

ncclResult_t ncclCommInitRank(ncclComm_t *out, int size, ncclUniqueId id, int rank)
{
    return ncclCommInitRankConfig(out, size, id, rank, NULL);
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *out)
{
    guard hold(books);
    if (!comms.count(comm) || !out)
        return wrong(ncclInvalidArgument, "ncclCommGetAsyncError: no such communicator");
    advance(*comm->m);
    *out = comm->m->state;
    return ncclSuccess;
}

/* Wait for what was called. Not after a failure. */
static ncclResult_t drain(member &m)
{
    for (;;) {
        {
            guard hold(books);
            if (m.failed() || (m.order.empty() && m.state != ncclInProgress))
                return m.state;
            advance(m);
        }
        const cudaError_t e = schedule_some(m.device);
        if (e != cudaSuccess)
            return nccl_fail(m, ncclUnhandledCudaError, cudaGetErrorString(e));
        schedule_wait(5);
    }
}

ncclResult_t ncclCommFinalize(ncclComm_t comm)
{
    {
        guard hold(books);
        const ncclResult_t r = callable(comm, "ncclCommFinalize");
        if (r != ncclSuccess)
            return r;
    }
    member &m = *comm->m;
    const ncclResult_t r = drain(m);
    guard hold(books);
    if (r != ncclSuccess)
        return r;
    m.finalized = true;
    if (m.blocking)
        return ncclSuccess;
    m.delay = 1 + (int)chance(3);
    m.state = ncclInProgress;
    return ncclInProgress;
}

static void forget(ncclComm_t comm, bool leave)
{
    member &m = *comm->m;
    for (auto &d : m.deferred)
        d.q->held = false;
    m.deferred.clear();
    if (leave)
        link_leave(m);
    else
        link_close(m);
    m.aborted = true; /* what is left of its works ends */
    comms.erase(comm);
    comm->m = nullptr; /* the handle stays, so that a stale one is told */
}

ncclResult_t ncclCommDestroy(ncclComm_t comm)
{
    std::shared_ptr<member> m;
    {
        guard hold(books);
        if (!comms.count(comm))
            return wrong(ncclInvalidArgument, "ncclCommDestroy: no such communicator");
        m = comm->m;
        if (m->state == ncclInProgress && m->finalized)
            return wrong(ncclInvalidUsage, "ncclCommDestroy while ncclCommFinalize is in progress");
    }
    const ncclResult_t r = drain(*m);
    guard hold(books);
    forget(comm, r == ncclSuccess);
    return r;
}

ncclResult_t ncclCommAbort(ncclComm_t comm)
{
    guard hold(books);
    if (!comms.count(comm))
        return wrong(ncclInvalidArgument, "ncclCommAbort: no such communicator");
    auto m = comm->m;
    forget(comm, false);
    return ncclSuccess;
}

const char *ncclGetErrorString(ncclResult_t r)
{
    static const char *const texts[] = {"no error",
                                        "unhandled cuda error",
                                        "unhandled system error",
                                        "internal error",
                                        "invalid argument",
                                        "invalid usage",
                                        "remote process exited or there was a network error",
                                        "NCCL operation in progress"};
    return (unsigned)r < ncclNumResults ? texts[r] : "unknown result code";
}

const char *ncclGetLastError(ncclComm_t comm)
{
    guard hold(books);
    return comms.count(comm) && !comm->m->error.empty() ? comm->m->error.c_str() : thread_error.c_str();
}

ncclResult_t ncclCommCount(const ncclComm_t comm, int *n)
{
    guard hold(books);
    const ncclResult_t r = n ? callable(comm, "ncclCommCount") : ncclInvalidArgument;
    if (r == ncclSuccess)
        *n = comm->m->size;
    return r;
}
ncclResult_t ncclCommUserRank(const ncclComm_t comm, int *n)
{
    guard hold(books);
    const ncclResult_t r = n ? callable(comm, "ncclCommUserRank") : ncclInvalidArgument;
    if (r == ncclSuccess)
        *n = comm->m->rank;
    return r;
}
ncclResult_t ncclCommCuDevice(const ncclComm_t comm, int *n)
{
    guard hold(books);
    const ncclResult_t r = n ? callable(comm, "ncclCommCuDevice") : ncclInvalidArgument;
    if (r == ncclSuccess)
        *n = comm->m->device;
    return r;
}

/* ---- groups and calls ---- */

ncclResult_t ncclGroupStart()
{
    if (!group_calls)
        group_calls = new std::vector<grouped>;
    if (depth++ == 0)
        group_error = ncclSuccess;
    return ncclSuccess;
}

ncclResult_t ncclGroupEnd()
{
    if (depth == 0)
        return wrong(ncclInvalidUsage, "ncclGroupEnd without ncclGroupStart");
    if (--depth > 0)
        return ncclSuccess;
    std::vector<grouped> all;
    all.swap(*group_calls);
    if (group_error != ncclSuccess)
        return group_error;
    guard hold(books);
    return submit(all);
}

ncclResult_t ncclSend(const void *from, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream)
{
    return make_call("ncclSend", comm, stream, {call::send_recv, from, NULL, count, type, peer, true});
}

ncclResult_t ncclRecv(void *to, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream)
{
    return make_call("ncclRecv", comm, stream, {call::send_recv, NULL, to, count, type, peer, false});
}

ncclResult_t ncclBroadcast(const void *from, void *to, size_t count, ncclDataType_t type, int root,
                           ncclComm_t comm, cudaStream_t stream)
{
    return make_call("ncclBroadcast", comm, stream, {call::broadcast, from, to, count, type, root, false});
}

ncclResult_t ncclAllGather(const void *from, void *to, size_t count, ncclDataType_t type, ncclComm_t comm,
                           cudaStream_t stream)
{
    return make_call("ncclAllGather", comm, stream, {call::all_gather, from, to, count, type, 0, false});
}

ncclResult_t ncclAllReduce(const void *from, void *to, size_t count, ncclDataType_t type, ncclRedOp_t op,
                           ncclComm_t comm, cudaStream_t stream)
{
    if (op != ncclSum)
        return wrong(ncclInvalidArgument, "the stand-in knows ncclSum");
    return make_call("ncclAllReduce", comm, stream, {call::all_reduce, from, to, count, type, 0, false});
}
