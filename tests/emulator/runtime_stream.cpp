/* Stand-in for the CUDA runtime: streams. */
#include <set>

#include "emu.h"
#include "standin.h"

using namespace standin;
typedef std::lock_guard<std::recursive_mutex> guard;

/* What the handles point to. Handles are remembered for good, so that a stale one is told from a live one. */
struct CUstream_st {
    std::shared_ptr<queue> q;
};

namespace
{
std::set<cudaStream_t> &streams = *new std::set<cudaStream_t>, &destroyed = *new std::set<cudaStream_t>;
uint32_t streams_made;

struct closure : work {
    const char *what;
    bool is_kernel;
    std::function<void()> fn;
    closure(const char *w, bool k, std::function<void()> f) : what(w), is_kernel(k), fn(std::move(f)) {}
    const char *name() const override { return what; }
    bool kernel() const override { return is_kernel; }
    outcome run() override
    {
        fn();
        return outcome::done;
    }
};

std::shared_ptr<queue> make_queue(bool nonblocking, bool legacy, int priority)
{
    auto q = std::make_shared<queue>();
    q->device = current_device();
    q->nonblocking = nonblocking;
    q->legacy = legacy;
    q->priority = priority;
    q->number = streams_made++;
    schedule_add(q);
    return q;
}

/* A launch of the emulator's: runs when its turn comes, from a graph many times. */
void on_launch(void *stream, struct emu_work *w)
{
    std::shared_ptr<struct emu_work> owner(w, emu_work_free);
    emu_enqueue_named((cudaStream_t)stream, emu_work_name(w), true, [owner] { emu_work_run(owner.get()); });
}
__attribute__((constructor)) void take_launches()
{
    emu_on_launch = on_launch;
}
} // namespace

namespace standin
{

bool mark::reached() const
{
    return !q || q->finished >= at;
}

mark mark_of(const std::shared_ptr<queue> &q)
{
    mark m;
    m.q = q;
    m.at = q->issued;
    return m;
}

std::shared_ptr<queue> queue_of(cudaStream_t s)
{
    if (s == NULL) {
        auto &legacy = device_of(current_device()).legacy;
        if (!legacy)
            legacy = make_queue(false, true, 0);
        return legacy;
    }
    if (!streams.count(s))
        return nullptr;
    if (s->q->held)
        die("stream %u is used while a call of NCCL on it is in progress: ask ncclCommGetAsyncError() first",
            s->q->number);
    return s->q;
}

/* Programming guide, "Default Stream": work on the legacy stream comes after all work on blocking streams
 * that was enqueued before it, and before all that is enqueued after it. */
void order_legacy(const std::shared_ptr<queue> &q)
{
    auto follow = [&](const std::shared_ptr<queue> &other) {
        if (other && other != q && !mark_of(other).reached()) {
            item i;
            i.wait = mark_of(other);
            q->items.push_back(std::move(i));
            q->issued++;
        }
    };
    if (q->legacy) {
        for (cudaStream_t s : streams)
            if (!s->q->nonblocking && s->q->device == q->device)
                follow(s->q);
    } else if (!q->nonblocking)
        follow(device_of(q->device).legacy);
}

cudaError_t enqueue(const std::shared_ptr<queue> &q, item &&i)
{
    order_legacy(q);
    q->items.push_back(std::move(i));
    q->issued++;
    return cudaSuccess;
}

/* Programming guide, "Prohibited and Unhandled Operations": no call to the legacy stream while a stream that
 * blocks it is captured. */
cudaError_t legacy_free(const queue &q)
{
    if (q.legacy)
        for (cudaStream_t s : streams)
            if (s->q->capturing && !s->q->nonblocking && s->q->device == q.device) {
                capture_break(*s->q->capturing, cudaErrorStreamCaptureInvalidated);
                return broke(cudaErrorStreamCaptureImplicit,
                             "the default stream is used while stream %u is captured", s->q->number);
            }
    return cudaSuccess;
}

cudaError_t enqueue_work(cudaStream_t s, const std::shared_ptr<work> &w)
{
    auto q = queue_of(s);
    if (!q)
        return broke(cudaErrorInvalidResourceHandle, "%s on a stream that does not exist", w->name());
    if (q->device != current_device() && w->kernel())
        return broke(cudaErrorInvalidResourceHandle,
                     "kernel %s on a stream of device %d while device %d is current", w->name(), q->device,
                     current_device());
    const cudaError_t e = legacy_free(*q);
    if (e != cudaSuccess)
        return e;
    if (q->capturing)
        return capture_add(*q, w);
    item i;
    i.w = w->issue(w, false);
    return enqueue(q, std::move(i));
}

} // namespace standin

cudaError_t emu_enqueue_named(cudaStream_t stream, const char *name, bool kernel, std::function<void()> fn)
{
    guard hold(books);
    cudaError_t e = entered();
    if (e == cudaSuccess)
        e = enqueue_work(stream, std::make_shared<closure>(name, kernel, std::move(fn)));
    return left(e);
}

/* ---- streams ---- */

cudaError_t cudaStreamCreateWithPriority(cudaStream_t *out, unsigned int flags, int priority)
{
    guard hold(books);
    cudaError_t e = entered();
    if (e == cudaSuccess && (!out || flags > cudaStreamNonBlocking))
        e = cudaErrorInvalidValue;
    if (e != cudaSuccess)
        return left(e);
    /* "If it is outside of this range, it will be automatically clamped." */
    priority = priority > 0 ? 0 : priority < -5 ? -5 : priority;
    cudaStream_t s = new CUstream_st;
    s->q = make_queue(flags == cudaStreamNonBlocking, false, priority);
    streams.insert(s);
    *out = s;
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned int flags)
{
    return cudaStreamCreateWithPriority(out, flags, 0);
}
cudaError_t cudaStreamCreate(cudaStream_t *out)
{
    return cudaStreamCreateWithPriority(out, cudaStreamDefault, 0);
}

cudaError_t cudaStreamGetPriority(cudaStream_t s, int *priority)
{
    guard hold(books);
    cudaError_t e = entered();
    auto q = e == cudaSuccess ? queue_of(s) : nullptr;
    if (e == cudaSuccess && (!q || !priority))
        e = q ? cudaErrorInvalidValue : cudaErrorInvalidResourceHandle;
    if (e == cudaSuccess)
        *priority = q->priority;
    return left(e);
}

/* "In case the device is still doing work in the stream when cudaStreamDestroy() is called, the function will
 * return immediately and the resources [...] will be released automatically once the device has completed all
 * work": the scheduler keeps the queue. */
cudaError_t cudaStreamDestroy(cudaStream_t s)
{
    guard hold(books);
    const cudaError_t e = entered();
    if (!streams.count(s))
        return left(broke(cudaErrorInvalidResourceHandle, "a stream is destroyed that does not exist"));
    if (s->q->capturing)
        capture_break(*s->q->capturing, cudaErrorStreamCaptureInvalidated);
    streams.erase(s);
    destroyed.insert(s);
    s->q = nullptr; /* the handle itself stays: its address shall not come back as another stream */
    return left(e);
}

/* Asking a stream that is captured whether it is done: there is nothing to be done. */
static cudaError_t askable(const std::shared_ptr<queue> &q, const char *what)
{
    if (!q)
        return broke(cudaErrorInvalidResourceHandle, "%s: no such stream", what);
    if (q->capturing) {
        capture_break(*q->capturing, cudaErrorStreamCaptureInvalidated);
        return broke(cudaErrorStreamCaptureUnsupported, "%s of stream %u, which is captured", what,
                     q->number);
    }
    return unsafe_call(what);
}

cudaError_t cudaStreamQuery(cudaStream_t s)
{
    mark m;
    {
        guard hold(books);
        cudaError_t e = entered();
        auto q = e == cudaSuccess ? queue_of(s) : nullptr;
        if (e == cudaSuccess)
            e = askable(q, "cudaStreamQuery");
        if (e != cudaSuccess)
            return left(e);
        m = mark_of(q);
    }
    return left(query(m));
}

cudaError_t cudaStreamSynchronize(cudaStream_t s)
{
    mark m;
    {
        guard hold(books);
        cudaError_t e = entered();
        auto q = e == cudaSuccess ? queue_of(s) : nullptr;
        if (e == cudaSuccess)
            e = askable(q, "cudaStreamSynchronize");
        if (e != cudaSuccess)
            return left(e);
        m = mark_of(q);
    }
    return left(synchronize(m));
}

cudaError_t cudaDeviceSynchronize()
{
    cudaError_t e = entered();
    if (e == cudaSuccess)
        e = unsafe_call("cudaDeviceSynchronize");
    return left(e != cudaSuccess ? e : synchronize_device(current_device()));
}

cudaError_t cudaDeviceReset()
{
    cudaError_t e = device_total() ? unsafe_call("cudaDeviceReset") : entered();
    if (e != cudaSuccess)
        return left(e);
    guard hold(books);
    schedule_lost(current_device(), cudaErrorUnknown); /* drops what is enqueued */
    device_of(current_device()).lost = cudaSuccess;
    for (auto it = streams.begin(); it != streams.end();)
        it = (*it)->q->device == current_device() ? streams.erase(it) : std::next(it);
    memory_reset(current_device());
    return cudaSuccess;
}
