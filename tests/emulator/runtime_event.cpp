/* Stand-in for the CUDA runtime: events. */
#include <set>

#include "standin.h"

using namespace standin;
typedef std::lock_guard<std::recursive_mutex> guard;

struct CUevent_st {
    bool timing;
    mark at;
    std::shared_ptr<capture> captured; /* last recorded in a capture: at these nodes */
    std::vector<int> nodes;
};

namespace
{
std::set<cudaEvent_t> &events = *new std::set<cudaEvent_t>;     /* that exist */
std::vector<cudaEvent_t> &gone = *new std::vector<cudaEvent_t>; /* handles are never used again */
} // namespace

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned int flags)
{
    guard hold(books);
    cudaError_t e = entered();
    if (e == cudaSuccess && (!out || (flags & ~(cudaEventBlockingSync | cudaEventDisableTiming))))
        e = cudaErrorInvalidValue;
    if (e != cudaSuccess)
        return left(e);
    cudaEvent_t v = new CUevent_st;
    v->timing = !(flags & cudaEventDisableTiming);
    events.insert(v);
    *out = v;
    return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t *out)
{
    return cudaEventCreateWithFlags(out, cudaEventDefault);
}

/* "An event may be destroyed before it is complete". */
cudaError_t cudaEventDestroy(cudaEvent_t v)
{
    guard hold(books);
    const cudaError_t e = entered();
    if (!events.erase(v))
        return left(broke(cudaErrorInvalidResourceHandle, "an event is destroyed that does not exist"));
    gone.push_back(v);
    v->at = mark();
    v->captured = nullptr;
    return left(e);
}

cudaError_t cudaEventRecord(cudaEvent_t v, cudaStream_t s)
{
    guard hold(books);
    cudaError_t e = entered();
    auto q = e == cudaSuccess ? queue_of(s) : nullptr;
    if (e != cudaSuccess || !q || !events.count(v))
        return left(e != cudaSuccess ? e : cudaErrorInvalidResourceHandle);
    /* "Event and stream must be on the same CUDA context" is not looked at: one device to a rank. */
    v->captured = q->capturing;
    if (q->capturing) {
        if (q->capturing->broken != cudaSuccess)
            return left(cudaErrorStreamCaptureInvalidated);
        v->nodes = q->frontier;
        v->at = mark();
        return cudaSuccess;
    }
    e = legacy_free(*q);
    if (e == cudaSuccess) {
        order_legacy(q);
        v->at = mark_of(q);
    }
    return left(e);
}

/* Programming guide, "Cross-stream Dependencies and Events" of stream capture. */
static cudaError_t wait_captured(const std::shared_ptr<queue> &q, cudaEvent_t v)
{
    auto c = v->captured;
    if (!c->open)
        return broke(cudaErrorCapturedEvent,
                     "stream %u waits for an event that was recorded in a capture, which has ended",
                     q->number);
    if (c->broken != cudaSuccess)
        return cudaErrorStreamCaptureInvalidated;
    if (q->capturing && q->capturing != c) {
        capture_break(*q->capturing, cudaErrorStreamCaptureInvalidated);
        capture_break(*c, cudaErrorStreamCaptureInvalidated);
        return broke(cudaErrorStreamCaptureMerge, "stream %u waits for an event of another capture",
                     q->number);
    }
    if (q->legacy) {
        capture_break(*c, cudaErrorStreamCaptureInvalidated);
        return broke(cudaErrorStreamCaptureImplicit, "the default stream waits for an event of a capture");
    }
    if (!q->capturing) { /* from now on a part of it */
        q->capturing = c;
        q->frontier.clear();
        c->members.push_back(q);
    }
    for (int n : v->nodes) {
        bool there = false;
        for (int f : q->frontier)
            there |= f == n;
        if (!there)
            q->frontier.push_back(n);
    }
    return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t v, unsigned int flags)
{
    guard hold(books);
    cudaError_t e = entered();
    auto q = e == cudaSuccess ? queue_of(s) : nullptr;
    if (e == cudaSuccess && (!q || !events.count(v)))
        e = cudaErrorInvalidResourceHandle;
    if (e == cudaSuccess && flags != cudaEventWaitDefault)
        e = cudaErrorInvalidValue;
    if (e != cudaSuccess)
        return left(e);
    static int64_t waits;
    if (++waits == setting("DDP_EMU_DROP_WAIT", 0)) {
        broke(cudaSuccess, "wait %lld, of stream %u%s, is dropped (DDP_EMU_DROP_WAIT)", (long long)waits,
              q->number, q->capturing || v->captured ? ", captured" : "");
        return cudaSuccess;
    }
    if (v->captured)
        return left(wait_captured(q, v));
    /* "if cudaEventRecord() has not been called on event, this call acts as if the record has already
     * completed" */
    if (!v->at.q)
        return cudaSuccess;
    if (q->capturing) {
        capture_break(*q->capturing, cudaErrorStreamCaptureInvalidated);
        return left(broke(cudaErrorStreamCaptureIsolation,
                          "stream %u, which is captured, waits for an event that was recorded outside",
                          q->number));
    }
    item i;
    i.wait = v->at;
    return left(enqueue(q, std::move(i)));
}

static cudaError_t event_point(cudaEvent_t v, const char *what, mark *out)
{
    guard hold(books);
    cudaError_t e = entered();
    if (e == cudaSuccess && !events.count(v))
        e = broke(cudaErrorInvalidResourceHandle, "%s: no such event", what);
    if (e == cudaSuccess && v->captured) {
        if (v->captured->open)
            capture_break(*v->captured, cudaErrorStreamCaptureInvalidated);
        e = broke(cudaErrorCapturedEvent, "%s of an event that was recorded in a capture", what);
    }
    if (e == cudaSuccess)
        e = unsafe_call(what);
    if (e == cudaSuccess)
        *out = v->at;
    return e;
}

cudaError_t cudaEventQuery(cudaEvent_t v)
{
    mark m;
    const cudaError_t e = event_point(v, "cudaEventQuery", &m);
    return left(e != cudaSuccess ? e : query(m));
}

cudaError_t cudaEventSynchronize(cudaEvent_t v)
{
    mark m;
    const cudaError_t e = event_point(v, "cudaEventSynchronize", &m);
    return left(e != cudaSuccess ? e : synchronize(m));
}

/* Emulated time says nothing: a millisecond for every piece of work between the two. */
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to)
{
    guard hold(books);
    cudaError_t e = entered();
    if (e == cudaSuccess && (!ms || !events.count(from) || !events.count(to)))
        e = cudaErrorInvalidResourceHandle;
    if (e == cudaSuccess && (!from->timing || !to->timing || !from->at.q || !to->at.q))
        e = cudaErrorInvalidResourceHandle;
    if (e == cudaSuccess && (!from->at.reached() || !to->at.reached()))
        e = cudaErrorNotReady;
    if (e == cudaSuccess)
        *ms = from->at.q == to->at.q ? (float)(to->at.at - from->at.at) : 1.0f;
    return left(e);
}
