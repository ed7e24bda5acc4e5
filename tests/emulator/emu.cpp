/* The scheduler: threads of a block in random order, barriers, shuffles.
 *
 * A fiber is a worker: it takes a thread that has not begun, calls the kernel for it, and takes the next.
 * Only when a thread has to wait does it keep its fiber, and another one goes on. So a kernel without
 * barriers is a loop of calls on one fiber. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>
#include <string>
#include <vector>

#include "private.h"

enum { MAX_THREADS = 1024, LANES = 32 };
static const int64_t MAX_BLOCKS = 0x7fffffff;

struct emu_now emu_now = {(char *)~(uintptr_t)0, 0, 0, 0, 0, 0, NULL, NULL, 0, 0, 0};
std::mutex emu_mutex;
int64_t emu_accesses;
void (*emu_on_launch)(void *, struct emu_work *);

namespace
{
enum state : uint8_t { NEW, RUNNING, READY, AT_BARRIER, AT_WARP, DONE };

struct place {
    const char *file;
    int line;
};

struct warp {
    int lanes, arrived;
    bool shuffle; /* what the first to arrive waits in, and where */
    place at;
    uint16_t epoch;
    int parity; /* of shuffles: two sets of values, so that one wait is enough */
};

state states[MAX_THREADS];
place waits[MAX_THREADS];
emu_fiber *fibers[MAX_THREADS]; /* of a thread that waits */
uint64_t values[2][MAX_THREADS];
warp warps[MAX_THREADS / LANES];
uint16_t ready[MAX_THREADS]; /* may go on, or begin */
int nready, ndone, nthreads;
int nblocks_grid;

auto &idle = emu_immortal<std::vector<emu_fiber *>>(), &all = emu_immortal<std::vector<emu_fiber *>>();
emu_fiber *fiber; /* that runs */
void *scheduler;  /* where run_block() waits */
bool given_up;

/* Blocks in the order of the launch; the first interval of each. */
auto &order = emu_immortal<std::vector<uint32_t>>(), &first_of = emu_immortal<std::vector<uint32_t>>();
struct emu_counts totals_;

uint64_t seed = 0, random_state = 1;

inline uint32_t random_below(uint32_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)((random_state >> 32) * n >> 32);
}

/* ---- who goes next ---- */

inline int pick()
{
    if (nready == 0)
        return -1;
    const uint32_t k = random_below((uint32_t)nready);
    const int t = ready[k];
    ready[k] = ready[--nready];
    return t;
}

inline void enter(int t)
{
    emu_now.thread = (uint16_t)t;
    emu_now.warp_epoch = warps[t / LANES].epoch;
}

void leave(emu_fiber *self, emu_fiber *to)
{
    totals_.switches++;
    fiber = to;
    emu_now.stack = to->stack;
    emu_switch(&self->sp, to->sp);
}

void worker()
{
    for (;;) {
        const int t = emu_now.thread;
        states[t] = RUNNING;
        emu_now.work->call();
        states[t] = DONE;
        ndone++;
        const int next = pick();
        if (LIKELY(next >= 0 && states[next] == NEW)) {
            enter(next);
            continue;
        }
        emu_fiber *self = fiber;
        idle.push_back(self);
        if (next >= 0) {
            enter(next);
            leave(self, fibers[next]);
        } else
            emu_switch(&self->sp, scheduler);
    }
}

emu_fiber *take_fiber()
{
    if (idle.empty()) {
        emu_fiber *f = emu_fiber_create((int)all.size());
        emu_fiber_reset(f, worker);
        all.push_back(f);
        return f;
    }
    emu_fiber *f = idle.back();
    idle.pop_back();
    return f;
}

/* The thread at hand waits: others go on until it is ready again. */
void wait()
{
    const int me = emu_now.thread;
    emu_fiber *self = fiber;
    fibers[me] = self;
    const int next = pick();
    if (next == me)
        ;
    else if (next < 0)
        emu_switch(&self->sp, scheduler);
    else {
        emu_fiber *to = states[next] == NEW ? take_fiber() : fibers[next];
        enter(next);
        leave(self, to);
    }
    /* whoever came back to us has said so in emu_now */
    states[me] = RUNNING;
    enter(me);
}

/* From the scheduler. */
void resume(int t)
{
    emu_fiber *to = states[t] == NEW ? take_fiber() : fibers[t];
    enter(t);
    fiber = to;
    emu_now.stack = to->stack;
    totals_.switches++;
    emu_switch(&scheduler, to->sp);
}

/* ---- a block ---- */

const char *short_name(const char *file)
{
    const char *s = strrchr(file, '/');
    return s ? s + 1 : file;
}

std::string where(int t)
{
    switch (states[t]) {
    case AT_BARRIER:
        return std::string("waits in the barrier of ") + short_name(waits[t].file) + ":" +
               std::to_string(waits[t].line);
    case AT_WARP:
        return std::string(warps[t / LANES].shuffle ? "waits in the shuffle of "
                                                    : "waits in the warp's barrier of ") +
               short_name(waits[t].file) + ":" + std::to_string(waits[t].line);
    case DONE:
        return "has ended";
    default:
        return "runs";
    }
}

void report_stuck()
{
    std::string text = "not all threads of the block reach one barrier:";
    int said = 0;
    std::string last;
    for (int t = 0; t < nthreads && said < 3; t++) {
        std::string now = where(t);
        if (now != last) {
            text += (said++ ? "; thread " : " thread ") + std::to_string(t) + " " + now;
            last = now;
        }
    }
    emu_fault_at(EMU_DIVERGED, NULL, text);
    given_up = true;
}

bool all_at_one_barrier()
{
    for (int t = 0; t < nthreads; t++)
        if (states[t] != AT_BARRIER || waits[t].line != waits[0].line ||
            (waits[t].file != waits[0].file && strcmp(waits[t].file, waits[0].file) != 0))
            return false;
    return true;
}

void next_interval()
{
    if (++emu_now.interval == 0) {
        fprintf(stderr, "emu: more than 2^32 barriers and blocks in one process\n");
        abort();
    }
}

void run_block(int64_t block)
{
    next_interval();
    emu_now.block = block;
    emu_now.block_first = emu_now.interval;
    emu_now.block_number++;
    first_of.push_back(emu_now.interval);
    nready = nthreads;
    ndone = 0;
    for (int t = 0; t < nthreads; t++) {
        states[t] = NEW;
        ready[t] = (uint16_t)t;
    }
    for (int w = 0; w * LANES < nthreads; w++)
        warps[w] = {std::min<int>(LANES, nthreads - w * LANES), 0, false, {NULL, 0}, 0, 0};
    while (!given_up) {
        if (nready > 0)
            resume(pick());
        if (given_up || ndone == nthreads)
            break;
        if (!all_at_one_barrier()) {
            report_stuck();
            break;
        }
        next_interval();
        for (int t = 0; t < nthreads; t++) {
            states[t] = READY;
            ready[nready++] = (uint16_t)t;
        }
    }
    totals_.blocks++;
    totals_.threads += nthreads;
}

bool can_launch(const emu_work *w)
{
    if (w->threads < 1 || w->threads > MAX_THREADS || w->blocks > MAX_BLOCKS) {
        emu_fault(EMU_LAUNCH, "%s: %lld blocks of %d threads: a GPU takes 1 to %d threads and %lld blocks",
                  w->name, (long long)w->blocks, w->threads, MAX_THREADS, (long long)MAX_BLOCKS);
        return false;
    }
    return true;
}

/* Fibers of threads that never ended go back to their beginning. */
void drop_fibers()
{
    idle.clear();
    for (emu_fiber *f : all) {
        emu_fiber_reset(f, worker);
        idle.push_back(f);
    }
}
} // namespace

/* ---- launches ---- */

void emu_start(void *cuda_stream, struct emu_work *work)
{
    if (emu_on_launch) {
        emu_on_launch(cuda_stream, work);
        return;
    }
    emu_work_run(work);
    emu_work_free(work);
}

void emu_work_run(struct emu_work *work)
{
    if (!can_launch(work))
        return;
    std::lock_guard<std::mutex> hold(emu_mutex);
    emu_memory_open();
    emu_note_kernel(work);
    if (seed == 0) {
        const char *s = getenv("DDP_EMU_SEED");
        seed = s ? strtoull(s, NULL, 10) : 1;
        random_state = seed * 0x9e3779b97f4a7c15ull | 1;
    }
    emu_now.work = work;
    emu_now.launch_first = emu_now.interval + 1;
    emu_now.base = emu_memory.base;
    emu_now.launch++;
    nthreads = work->threads;
    nblocks_grid = (int)work->blocks;
    emu_shared_begin();
    first_of.clear();
    order.resize((size_t)work->blocks);
    for (size_t i = 0; i < order.size(); i++)
        order[i] = (uint32_t)i;
    for (size_t i = order.size(); i-- > 1;)
        std::swap(order[i], order[random_below((uint32_t)i + 1)]);
    given_up = false;
    for (uint32_t block : order) {
        run_block(block);
        if (given_up)
            break;
    }
    if (given_up)
        drop_fibers();
    emu_now.base = (char *)~(uintptr_t)0;
    emu_now.work = NULL;
    totals_.launches++;
}

void emu_work_free(struct emu_work *work)
{
    delete work;
}
const char *emu_work_name(const struct emu_work *work)
{
    return work->name;
}
int64_t emu_work_blocks(const struct emu_work *work)
{
    return work->blocks;
}
int emu_work_threads(const struct emu_work *work)
{
    return work->threads;
}

void emu_give_up()
{
    if ((size_t)((char *)__builtin_frame_address(0) - fiber->stack) >= (size_t)EMU_STACK) {
        fprintf(stderr, "emu: the host touched device memory while a kernel of another thread ran\n");
        abort();
    }
    given_up = true;
    nready = 0;
    void *nowhere;
    emu_switch(&nowhere, scheduler);
    abort();
}

int64_t emu_block_of(uint32_t interval)
{
    size_t i = (size_t)(std::upper_bound(first_of.begin(), first_of.end(), interval) - first_of.begin());
    return i ? (int64_t)order[i - 1] : -1;
}

void emu_set_seed(uint64_t s)
{
    std::lock_guard<std::mutex> hold(emu_mutex);
    seed = s ? s : 1;
    random_state = seed * 0x9e3779b97f4a7c15ull | 1;
}

struct emu_counts emu_totals()
{
    totals_.accesses = emu_accesses;
    return totals_;
}

/* ---- what kernels call ---- */

int emu_thread()
{
    return emu_now.thread;
}
int emu_threads()
{
    return nthreads;
}
int emu_block()
{
    return (int)emu_now.block;
}
int emu_blocks()
{
    return nblocks_grid;
}

void emu_sync(const char *file, int line)
{
    const int me = emu_now.thread;
    states[me] = AT_BARRIER;
    waits[me] = {file, line};
    wait();
}

/* All lanes of the warp, in one place. */
static void meet(const char *file, int line, bool shuffle)
{
    const int me = emu_now.thread, first = me / LANES * LANES;
    warp &w = warps[me / LANES];
    if (w.arrived == 0) {
        w.shuffle = shuffle;
        w.at = {file, line};
    } else if (w.shuffle != shuffle || w.at.line != line ||
               (w.at.file != file && strcmp(w.at.file, file) != 0)) {
        emu_fault_at(EMU_DIVERGED, NULL,
                     std::string("lanes of one warp wait in different places: ") + short_name(w.at.file) +
                         ":" + std::to_string(w.at.line) + " and " + short_name(file) + ":" +
                         std::to_string(line));
        emu_give_up();
    }
    states[me] = AT_WARP;
    waits[me] = {file, line};
    if (++w.arrived == w.lanes) {
        w.arrived = 0;
        if (shuffle)
            w.parity ^= 1;
        else
            w.epoch++;
        for (int t = first; t < first + w.lanes; t++) {
            states[t] = READY;
            ready[nready++] = (uint16_t)t;
        }
    }
    wait();
}

void emu_sync_warp(const char *file, int line)
{
    meet(file, line, false);
}

void emu_raise(int32_t *p, int32_t v)
{
    int32_t was = __atomic_load_n(p, __ATOMIC_RELAXED);
    while (was < v && !__atomic_compare_exchange_n(p, &was, v, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
}

uint64_t emu_shuffle_down(uint64_t v, int delta, const char *file, int line)
{
    const int me = emu_now.thread, lane = me % LANES;
    warp &w = warps[me / LANES];
    if (w.lanes != LANES) {
        emu_fault_at(EMU_DIVERGED, NULL,
                     "shuffle in a warp of " + std::to_string(w.lanes) + " threads, " + short_name(file) +
                         ":" + std::to_string(line) + ": it takes all 32");
        emu_give_up();
    }
    const int set = w.parity;
    values[set][me] = v;
    meet(file, line, true);
    return delta >= 0 && lane + delta < LANES ? values[set][me + delta] : v;
}
