/* Stand-in for the CUDA runtime: an adversarial device. It does what the CUDA Runtime API reference and the
 * programming guide allow a device to do, and not what they do not promise.
 *
 *   - Device memory is closed to the host: touching it ends the process with a message. Fresh memory is NaN.
 *   - Nothing runs until somebody asks. Then a seeded scheduler picks among what the order of streams, the
 *     events and the graphs allow, so that a wait that was forgotten shows as wrong numbers.
 *   - A query may say "not yet" for no reason.
 *
 * A call that breaks a rule of CUDA gets CUDA's error, and one line on stderr says which rule. Breaking a
 * rule that CUDA does not check (touching device memory) ends the process.
 *
 * Environment, read at the first call:
 *   DDP_EMU_SEED=n           order of everything (1)
 *   DDP_EMU_DEVICES=n        devices (8); CUDA_VISIBLE_DEVICES is heeded
 *   DDP_EMU_MEMORY=bytes     of each device (2 GiB)
 *   DDP_EMU_CC=x.y           compute capability (9.0)
 *   DDP_EMU_NAME=text        name of the devices
 *   DDP_EMU_DRIVER=0|old|v   no driver, one that is too old, or CUDA version v (13000)
 *   DDP_EMU_LOST_AT=k        the k-th kernel of the process fails and takes the device with it
 *   DDP_EMU_DROP_WAIT=k      the k-th cudaStreamWaitEvent of the process is forgotten: do tests notice?
 *   DDP_EMU_PROGRESS=ms      collectives that wait go on by themselves after this time (250; 0: never)
 *   DDP_EMU_QUIET=1          no lines on stderr about broken rules
 *
 * Everything but emu_enqueue_named() is for the stand-in's own files. */
#ifndef DDP_EMU_STANDIN_H
#define DDP_EMU_STANDIN_H

#include <poll.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "cuda_runtime_api.h"

/* Run work on the stream, after what is on it already, device memory open; captured work runs as often as its
 * graph is launched. name: for messages. kernel: counted by DDP_EMU_LOST_AT. */
cudaError_t emu_enqueue_named(cudaStream_t stream, const char *name, bool kernel, std::function<void()> work);

namespace standin
{

enum class outcome { done, blocked };

/* Something that a stream does when its turn comes. Device memory is open while run() runs. */
struct work {
    virtual ~work() {}
    virtual const char *name() const = 0;
    virtual outcome run() = 0;
    virtual bool kernel() const { return false; }
    /* Its turn in the stream has come; is it allowed to begin? */
    virtual bool ready() const { return true; }
    /* Called when it goes onto a stream (or a graph with it: then the copy that this launch runs). */
    virtual std::shared_ptr<work> issue(const std::shared_ptr<work> &self, bool graph)
    {
        (void)graph;
        return self;
    }
    /* Blocked: what to wait for. */
    virtual void waits_for(std::vector<struct pollfd> &) const {}
    /* What later works of the same owner in a graph must follow (a communicator); NULL: none. */
    virtual const void *chain() const { return nullptr; }
    virtual bool collective() const { return false; }
};

struct queue;
struct capture;
struct launch;

/* The work on a queue up to a point. */
struct mark {
    std::shared_ptr<queue> q; /* NULL: nothing */
    uint64_t at = 0;
    bool reached() const;
};

struct item { /* one of the three */
    std::shared_ptr<work> w;
    std::shared_ptr<launch> graph;
    mark wait;
};

/* What a stream is made of; lives on after cudaStreamDestroy() until its work is done. */
struct queue {
    int device = 0;
    bool nonblocking = false, legacy = false;
    int priority = 0;
    uint32_t number = 0; /* for messages */
    uint64_t issued = 0, finished = 0;
    std::deque<item> items;
    uint64_t luck = 0; /* the scheduler's liking */
    std::shared_ptr<standin::capture> capturing;
    std::vector<int> frontier; /* nodes of the capture that the next one follows */
    bool held = false;         /* by a call of NCCL that is not enqueued yet: hands off */
};

struct node {
    std::shared_ptr<work> w;
    std::vector<int> after;
    int lane; /* number of the queue that it was captured on */
};

struct capture {
    uint64_t id = 0;
    cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
    uint64_t thread = 0;
    queue *origin = nullptr;
    std::vector<node> nodes;
    std::vector<std::shared_ptr<queue>> members;      /* origin first */
    std::vector<std::pair<const void *, int>> chains; /* last node of each */
    cudaError_t broken = cudaSuccess;
    bool open = true;
};

/* One launch of a graph. */
struct launch {
    std::shared_ptr<const std::vector<node>> nodes;
    std::vector<std::shared_ptr<work>> works; /* of this launch */
    std::vector<std::vector<int>> followers;
    std::vector<int> missing; /* predecessors that are not done; -1: done itself */
    size_t left = 0;
    std::weak_ptr<queue> on;
    std::shared_ptr<launch> before; /* the launch of the same graph that must end first */
    bool over = false;
    uint64_t luck = 0;
};

/* ---- runtime_device.cpp, runtime_error.cpp ---- */
struct device {
    cudaError_t lost = cudaSuccess; /* sticky */
    std::shared_ptr<queue> legacy;
    size_t used = 0;
};
/* One lock for all: the runtime's books, and who runs work. Never held while waiting. */
extern std::recursive_mutex &books;
device &device_of(int number);
int current_device();
int device_total(); /* that this process sees */
void device_id(int number, char pci[16]);
int64_t setting(const char *name, int64_t otherwise); /* an environment variable that is a number */
uint32_t chance(uint32_t below);                      /* seeded; with the lock held */
uint64_t chance64();
/* What every call that wants a device begins with: no driver, a lost device. */
cudaError_t entered();
/* What every call ends with: remembers a failure for cudaGetLastError(). */
cudaError_t left(cudaError_t e);
/* One line about a broken rule; returns e. */
cudaError_t broke(cudaError_t e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
[[noreturn]] void die(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* ---- runtime_memory.cpp ---- */
void memory_open(); /* nests */
void memory_close();
bool device_range(const void *p, size_t bytes); /* all of it in one live allocation */
struct pinned_use;                              /* a pending copy's hold on pinned memory */
void memory_reset(int device);

/* ---- runtime_stream.cpp ---- */
std::shared_ptr<queue> queue_of(cudaStream_t s); /* NULL when it is no stream (any more) */
cudaError_t enqueue(const std::shared_ptr<queue> &q, item &&i);
cudaError_t enqueue_work(cudaStream_t s, const std::shared_ptr<work> &w);
mark mark_of(const std::shared_ptr<queue> &q);
void order_legacy(const std::shared_ptr<queue> &q); /* before something is put on it */
cudaError_t legacy_free(const queue &q);            /* may it be used while others are captured? */

/* ---- schedule.cpp ---- */
void schedule_add(const std::shared_ptr<queue> &q);
/* Run at most `budget` works towards `target`. */
enum class progress { reached, stopped, blocked, stuck }; /* stuck: and nothing else could run either */
progress schedule(const mark &target, uint64_t budget);
/* Wait at most ms for what the blocked works wait for; without the lock. */
void schedule_wait(int ms);
cudaError_t query(const mark &target);       /* lock held once */
cudaError_t synchronize(const mark &target); /* lock not held */
cudaError_t synchronize_device(int device);
cudaError_t schedule_some(int device); /* what can run now, without waiting */
void schedule_lost(int device, cudaError_t e);
void schedule_watch(); /* start the thread that keeps collectives going */

/* ---- runtime_graph.cpp ---- */
/* cudaSuccess, or the error for a call that may not be made while this thread captures. */
cudaError_t unsafe_call(const char *what);
cudaError_t capture_add(queue &q, const std::shared_ptr<work> &w);
cudaError_t capture_break(capture &c, cudaError_t e);
std::shared_ptr<launch> launch_make(const std::shared_ptr<const std::vector<node>> &nodes);

} // namespace standin
#endif
