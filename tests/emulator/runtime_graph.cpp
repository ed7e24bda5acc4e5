/* Stand-in for the CUDA runtime: stream capture and graphs. Rules from the programming guide, section
 * "Creating a Graph Using Stream Capture", and from the Runtime API, "Stream Management" and "Graph
 * Management". */
#include <pthread.h>

#include <algorithm>
#include <set>

#include "standin.h"

using namespace standin;
typedef std::lock_guard<std::recursive_mutex> guard;

struct CUgraph_st {
    std::shared_ptr<const std::vector<node>> nodes;
};
struct CUgraphExec_st {
    std::shared_ptr<const std::vector<node>> nodes;
    int device;
    std::shared_ptr<launch> latest;
};

namespace
{
std::set<cudaGraph_t> &graphs = *new std::set<cudaGraph_t>;
std::set<cudaGraphExec_t> &execs = *new std::set<cudaGraphExec_t>;
std::vector<std::shared_ptr<capture>> &captures = *new std::vector<std::shared_ptr<capture>>; /* that go on */
uint64_t captures_made;
thread_local cudaStreamCaptureMode thread_mode = cudaStreamCaptureModeGlobal;

uint64_t this_thread()
{
    return (uint64_t)pthread_self();
}

/* Is node b reached from one of `ends` by going backwards? */
bool precedes(const std::vector<node> &nodes, int b, const std::vector<int> &ends)
{
    std::vector<char> seen(nodes.size());
    std::vector<int> todo(ends);
    while (!todo.empty()) {
        const int n = todo.back();
        todo.pop_back();
        if (n == b)
            return true;
        if (seen[(size_t)n])
            continue;
        seen[(size_t)n] = 1;
        todo.insert(todo.end(), nodes[(size_t)n].after.begin(), nodes[(size_t)n].after.end());
    }
    return false;
}
} // namespace

namespace standin
{

cudaError_t capture_break(capture &c, cudaError_t e)
{
    if (c.broken == cudaSuccess)
        c.broken = e;
    return e;
}

/* cudaThreadExchangeStreamCaptureMode: calls that may be unsafe (allocation, queries and waits among them)
 * are prohibited to every thread by a capture of mode global, and to the capturing thread by one of mode
 * thread-local. A call that is made all the same fails, and the capture with it. */
cudaError_t unsafe_call(const char *what)
{
    guard hold(books);
    if (thread_mode == cudaStreamCaptureModeRelaxed)
        return cudaSuccess;
    for (auto &c : captures) {
        const bool mine = c->thread == this_thread() && c->mode != cudaStreamCaptureModeRelaxed;
        const bool global =
            c->mode == cudaStreamCaptureModeGlobal && thread_mode == cudaStreamCaptureModeGlobal;
        if (mine || global) {
            capture_break(*c, cudaErrorStreamCaptureInvalidated);
            return broke(cudaErrorStreamCaptureUnsupported, "%s while stream %u is captured", what,
                         c->origin->number);
        }
    }
    return cudaSuccess;
}

cudaError_t capture_add(queue &q, const std::shared_ptr<work> &w)
{
    capture &c = *q.capturing;
    if (c.broken != cudaSuccess)
        return cudaErrorStreamCaptureInvalidated;
    node n = {w, q.frontier, (int)q.number};
    const int me = (int)c.nodes.size();
    if (w->chain()) {
        auto last =
            std::find_if(c.chains.begin(), c.chains.end(),
                         [&](const std::pair<const void *, int> &p) { return p.first == w->chain(); });
        if (last == c.chains.end())
            c.chains.push_back({w->chain(), me});
        else {
            n.after.push_back(last->second);
            last->second = me;
        }
    }
    c.nodes.push_back(std::move(n));
    q.frontier.assign(1, me);
    return cudaSuccess;
}

std::shared_ptr<launch> launch_make(const std::shared_ptr<const std::vector<node>> &nodes)
{
    auto l = std::make_shared<launch>();
    l->nodes = nodes;
    l->followers.resize(nodes->size());
    l->luck = chance64() | 1;
    l->left = nodes->size();
    for (size_t i = 0; i < nodes->size(); i++) {
        const node &n = (*nodes)[i];
        l->missing.push_back((int)n.after.size());
        for (int a : n.after)
            l->followers[(size_t)a].push_back((int)i);
        l->works.push_back(n.w->issue(n.w, true));
    }
    return l;
}

} // namespace standin

/* ---- capture ---- */

cudaError_t cudaThreadExchangeStreamCaptureMode(enum cudaStreamCaptureMode *mode)
{
    if (!mode || *mode < cudaStreamCaptureModeGlobal || *mode > cudaStreamCaptureModeRelaxed)
        return left(cudaErrorInvalidValue);
    std::swap(*mode, thread_mode);
    return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t s, enum cudaStreamCaptureMode mode)
{
    guard hold(books);
    cudaError_t e = entered();
    auto q = e == cudaSuccess ? queue_of(s) : nullptr;
    if (e != cudaSuccess || !q)
        return left(e != cudaSuccess ? e : cudaErrorInvalidResourceHandle);
    if (mode < cudaStreamCaptureModeGlobal || mode > cudaStreamCaptureModeRelaxed)
        return left(cudaErrorInvalidValue);
    if (q->legacy) /* "Capture may not be initiated if stream is cudaStreamLegacy" */
        return left(broke(cudaErrorStreamCaptureUnsupported, "the default stream cannot be captured"));
    if (q->capturing)
        return left(broke(cudaErrorIllegalState, "stream %u is captured already", q->number));
    auto c = std::make_shared<capture>();
    c->id = ++captures_made;
    c->mode = mode;
    c->thread = this_thread();
    c->origin = q.get();
    c->members.push_back(q);
    q->capturing = c;
    q->frontier.clear();
    captures.push_back(c);
    return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t s, enum cudaStreamCaptureStatus *out)
{
    guard hold(books);
    cudaError_t e = entered();
    auto q = e == cudaSuccess ? queue_of(s) : nullptr;
    if (e == cudaSuccess && (!q || !out))
        e = q ? cudaErrorInvalidValue : cudaErrorInvalidResourceHandle;
    if (e == cudaSuccess)
        *out = !q->capturing                         ? cudaStreamCaptureStatusNone
               : q->capturing->broken == cudaSuccess ? cudaStreamCaptureStatusActive
                                                     : cudaStreamCaptureStatusInvalidated;
    return left(e);
}

cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *out)
{
    guard hold(books);
    cudaError_t e = entered();
    auto q = e == cudaSuccess ? queue_of(s) : nullptr;
    if (out)
        *out = NULL;
    if (e != cudaSuccess || !q || !out)
        return left(e != cudaSuccess ? e : q ? cudaErrorInvalidValue : cudaErrorInvalidResourceHandle);
    auto c = q->capturing;
    if (!c)
        return left(broke(cudaErrorIllegalState, "stream %u is not captured", q->number));
    /* "Capture must have been initiated on stream", and, unless relaxed, by this thread */
    if (c->origin != q.get()) {
        capture_break(*c, cudaErrorStreamCaptureInvalidated);
        return left(broke(cudaErrorStreamCaptureUnmatched, "stream %u is captured since stream %u was",
                          q->number, c->origin->number));
    }
    if (c->mode != cudaStreamCaptureModeRelaxed && c->thread != this_thread())
        return left(
            broke(cudaErrorStreamCaptureWrongThread, "stream %u is captured by another thread", q->number));
    /* "all other streams that were captured must have been joined to the origin" */
    if (c->broken == cudaSuccess)
        for (auto &m : c->members)
            for (int n : m->frontier)
                if (m != q && c->broken == cudaSuccess && !precedes(c->nodes, n, q->frontier))
                    c->broken = broke(cudaErrorStreamCaptureUnjoined,
                                      "stream %u was captured, but stream %u does not wait for its %s",
                                      m->number, q->number, c->nodes[(size_t)n].w->name());
    c->open = false;
    for (auto &m : c->members) {
        m->capturing = nullptr;
        m->frontier.clear();
    }
    captures.erase(std::find(captures.begin(), captures.end(), c));
    if (c->broken != cudaSuccess)
        return left(c->broken);
    cudaGraph_t g = new CUgraph_st;
    g->nodes = std::make_shared<std::vector<node>>(std::move(c->nodes));
    graphs.insert(g);
    *out = g;
    return cudaSuccess;
}

/* ---- graphs ---- */

cudaError_t cudaGraphGetNodes(cudaGraph_t g, cudaGraphNode_t *nodes, size_t *count)
{
    guard hold(books);
    if (!graphs.count(g) || !count)
        return left(cudaErrorInvalidValue);
    for (size_t i = 0; nodes && i < *count; i++)
        nodes[i] = i < g->nodes->size() ? (cudaGraphNode_t) & (*g->nodes)[i] : NULL;
    if (!nodes || *count > g->nodes->size())
        *count = g->nodes->size();
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t g)
{
    guard hold(books);
    if (!graphs.erase(g))
        return left(broke(cudaErrorInvalidValue, "a graph is destroyed that does not exist"));
    g->nodes = nullptr;
    return left(entered());
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *out, cudaGraph_t g, unsigned long long flags)
{
    guard hold(books);
    cudaError_t e = entered();
    if (e == cudaSuccess && (!out || !graphs.count(g)))
        e = cudaErrorInvalidValue;
    if (e == cudaSuccess && (flags & ~(unsigned long long)cudaGraphInstantiateFlagUseNodePriority) != 0)
        e = cudaErrorNotSupported;
    if (e == cudaSuccess)
        e = unsafe_call("cudaGraphInstantiate");
    if (e != cudaSuccess)
        return left(e);
    cudaGraphExec_t x = new CUgraphExec_st;
    x->nodes = g->nodes;
    x->device = current_device();
    execs.insert(x);
    *out = x;
    return cudaSuccess;
}

static cudaError_t launchable(cudaGraphExec_t x, cudaStream_t s, std::shared_ptr<queue> *q)
{
    const cudaError_t e = entered();
    if (e != cudaSuccess)
        return e;
    *q = queue_of(s);
    if (!*q)
        return cudaErrorInvalidResourceHandle;
    if (!execs.count(x))
        return broke(cudaErrorInvalidValue, "a graph is launched that does not exist");
    if ((*q)->capturing) {
        capture_break(*(*q)->capturing, cudaErrorStreamCaptureInvalidated);
        return broke(cudaErrorNotSupported,
                     "a graph is launched into a capture: the stand-in knows no child graphs");
    }
    return cudaSuccess;
}

cudaError_t cudaGraphUpload(cudaGraphExec_t x, cudaStream_t s)
{
    guard hold(books);
    std::shared_ptr<queue> q;
    return left(launchable(x, s, &q));
}

/* "Each launch is ordered behind both any previous work in stream and any previous launches of graphExec." */
cudaError_t cudaGraphLaunch(cudaGraphExec_t x, cudaStream_t s)
{
    guard hold(books);
    std::shared_ptr<queue> q;
    const cudaError_t e = launchable(x, s, &q);
    if (e != cudaSuccess)
        return left(e);
    item i;
    i.graph = launch_make(x->nodes);
    i.graph->on = q;
    if (x->latest && !x->latest->over)
        i.graph->before = x->latest;
    x->latest = i.graph;
    return left(enqueue(q, std::move(i)));
}

/* A launch that is under way keeps what it needs. */
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t x)
{
    guard hold(books);
    if (!execs.erase(x))
        return left(broke(cudaErrorInvalidValue, "an executable graph is destroyed that does not exist"));
    x->nodes = nullptr;
    x->latest = nullptr;
    return left(entered());
}
