/* Stand-in for the CUDA runtime: memory and copies.
 *
 * Device memory is the emulator's (emu.h), each allocation on pages of its own, which the host may not touch:
 * they are open only while emulated work runs. Pinned memory is the host's; what a pending copy will write
 * there is NaN until the copy has run. */
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>

#include "emu.h"
#include "standin.h"

namespace standin
{
namespace
{
struct block {
    size_t bytes, pages;
    int device;
    bool live;
};
struct pinned {
    size_t bytes, pages;
    bool live = true;
    int pending = 0; /* copies on their way from or to it */
};

typedef std::map<char *, block> device_map;
typedef std::map<char *, std::shared_ptr<pinned>> pinned_map;
device_map &devices = *new device_map;
pinned_map &hosts = *new pinned_map;
int opened;
struct sigaction before;

template <class M> typename M::iterator holder(M &m, const void *p)
{
    auto it = m.upper_bound((char *)p);
    return it == m.begin() ? m.end() : --it;
}

/* Runs in the thread that faults, which holds the lock or nobody does; the tables are only read. */
void on_fault(int sig, siginfo_t *info, void *)
{
    char text[400] = "";
    const char *p = (const char *)info->si_addr;
    auto d = holder(devices, p);
    auto h = holder(hosts, p);
    if (d != devices.end() && p < d->first + d->second.pages + sysconf(_SC_PAGESIZE)) {
        const block &b = d->second;
        snprintf(text, sizeof text,
                 "emulated CUDA: %s touches %s of device %d at %p: byte %zu of %zu at %p\n",
                 opened ? "work on a stream" : "the host", b.live ? "memory" : "freed memory", b.device,
                 (const void *)p, (size_t)(p - d->first), b.bytes, (void *)d->first);
    } else if (h != hosts.end() && !h->second->live && p < h->first + h->second->pages) {
        snprintf(text, sizeof text, "emulated CUDA: freed pinned memory is touched at %p: byte %zu of %zu\n",
                 (const void *)p, (size_t)(p - h->first), h->second->bytes);
    }
    if (text[0] && write(STDERR_FILENO, text, strlen(text)) < 0)
        _exit(139);
    sigaction(sig, &before, NULL); /* the access is repeated, and ends as it would without us */
}

void watch_faults()
{
    static bool done;
    if (done)
        return;
    done = true;
    struct sigaction sa = {};
    sa.sa_sigaction = on_fault;
    sa.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigaction(SIGSEGV, &sa, &before);
}

void protect(int access)
{
    for (auto &d : devices)
        if (d.second.live && mprotect(d.first, d.second.pages, access) != 0)
            die("mprotect of device memory failed: out of memory maps?");
}

std::shared_ptr<pinned> pinned_range(const void *p, size_t bytes)
{
    auto h = holder(hosts, p);
    if (h == hosts.end() || !h->second->live)
        return nullptr;
    const size_t in = (size_t)((const char *)p - h->first);
    return in <= h->second->bytes && bytes <= h->second->bytes - in ? h->second : nullptr;
}

/* A copy or memset; `from` NULL: memset. */
struct transfer : work {
    void *to;
    const void *from;
    size_t bytes;
    int value = 0;
    bool to_device = true, from_device = false;
    std::vector<std::shared_ptr<pinned>> hold;
    bool issued = false;

    transfer(void *t, const void *f, size_t n) : to(t), from(f), bytes(n) {}
    ~transfer() override { release(); }
    void release()
    {
        for (auto &h : hold)
            h->pending--;
        hold.clear();
    }
    const char *name() const override { return from ? "memcpy" : "memset"; }

    /* From now on the memory belongs to the copy: what the host would read there is NaN. Not while an older
     * copy still needs what is in it. */
    std::shared_ptr<work> issue(const std::shared_ptr<work> &self, bool graph) override
    {
        std::shared_ptr<work> mine = self;
        if (graph) {
            auto t = std::make_shared<transfer>(to, from, bytes);
            t->value = value, t->to_device = to_device, t->from_device = from_device;
            mine = t;
        }
        transfer &t = static_cast<transfer &>(*mine);
        auto target = to_device ? nullptr : pinned_range(to, bytes);
        auto source = from && !from_device ? pinned_range(from, bytes) : nullptr;
        if (target && target->pending == 0)
            memset(to, 0xff, bytes);
        for (auto &h : {target, source})
            if (h) {
                h->pending++;
                t.hold.push_back(h);
            }
        return mine;
    }

    outcome run() override
    {
        if (to_device && !device_range(to, bytes))
            die("%s writes %zu bytes at %p: freed device memory, or less", name(), bytes, to);
        if (from && from_device) {
            if (!device_range(from, bytes))
                die("memcpy reads %zu bytes at %p: freed device memory, or less", bytes, from);
            const int64_t at = emu_unwritten(from, bytes);
            if (at >= 0)
                emu_fault(EMU_UNWRITTEN, "a copy of %zu bytes from %p: nothing wrote byte %lld", bytes, from,
                          (long long)at);
        }
        if (from)
            memmove(to, from, bytes);
        else
            memset(to, value, bytes);
        if (to_device)
            emu_mark_written(to, bytes);
        release();
        return outcome::done;
    }
};

/* Where memory is that a copy names, and whether the whole copy lies in it. */
enum where { DEVICE, PINNED, PAGEABLE };
bool place(const void *p, size_t bytes, where *out)
{
    if (device_range(p, 1)) {
        *out = DEVICE;
        return device_range(p, bytes);
    }
    if (holder(devices, p) != devices.end() &&
        (char *)p < holder(devices, p)->first + holder(devices, p)->second.pages)
        return false; /* freed, or behind its end */
    *out = pinned_range(p, 1) ? PINNED : PAGEABLE;
    return *out == PAGEABLE || pinned_range(p, bytes);
}

cudaError_t direction(where to, where from, cudaMemcpyKind kind)
{
    const cudaMemcpyKind is = to == DEVICE
                                  ? (from == DEVICE ? cudaMemcpyDeviceToDevice : cudaMemcpyHostToDevice)
                                  : (from == DEVICE ? cudaMemcpyDeviceToHost : cudaMemcpyHostToHost);
    if (kind < cudaMemcpyHostToHost || kind > cudaMemcpyDefault)
        return cudaErrorInvalidMemcpyDirection;
    return kind == cudaMemcpyDefault || kind == is
               ? cudaSuccess
               : broke(cudaErrorInvalidValue, "a copy of kind %d between pointers of kind %d", (int)kind,
                       (int)is);
}

cudaError_t copy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind, cudaStream_t s, bool async)
{
    if (bytes == 0)
        return cudaSuccess;
    if (!to || !from)
        return cudaErrorInvalidValue;
    where t, f;
    if (!place(to, bytes, &t) || !place(from, bytes, &f))
        return broke(cudaErrorInvalidValue,
                     "a copy of %zu bytes from %p to %p leaves its allocation, or that is freed", bytes, from,
                     to);
    const cudaError_t e = direction(t, f, kind);
    if (e != cudaSuccess)
        return e;
    /* Runtime API, "API synchronization behavior": from and to pageable memory a copy is staged, and may or
     * may not have returned before it is done. Nobody can rely on either, so we refuse it. */
    if (async && (t == PAGEABLE || f == PAGEABLE))
        return broke(cudaErrorInvalidValue,
                     "cudaMemcpyAsync between %p and pageable memory: not asynchronous",
                     t == PAGEABLE ? from : to);
    auto w = std::make_shared<transfer>(to, from, bytes);
    w->to_device = t == DEVICE;
    w->from_device = f == DEVICE;
    return enqueue_work(s, w);
}

cudaError_t fill(void *p, int value, size_t bytes, cudaStream_t s)
{
    if (bytes == 0)
        return cudaSuccess;
    if (!device_range(p, bytes))
        return broke(cudaErrorInvalidValue, "a memset of %zu bytes at %p, which is not all in one allocation",
                     bytes, p);
    auto w = std::make_shared<transfer>(p, nullptr, bytes);
    w->value = value;
    return enqueue_work(s, w);
}
} // namespace

void memory_open()
{
    if (opened++ == 0)
        protect(PROT_READ | PROT_WRITE);
}

void memory_close()
{
    if (--opened == 0)
        protect(PROT_NONE);
}

bool device_range(const void *p, size_t bytes)
{
    auto d = holder(devices, p);
    if (d == devices.end() || !d->second.live)
        return false;
    const size_t in = (size_t)((const char *)p - d->first);
    return in <= d->second.bytes && bytes <= d->second.bytes - in;
}

static void release_block(std::pair<char *const, block> &d)
{
    device_of(d.second.device).used -= d.second.pages;
    d.second.live = false;
    emu_free(d.first);
}

void memory_reset(int device)
{
    for (auto &d : devices)
        if (d.second.live && d.second.device == device)
            release_block(d);
}

} // namespace standin

using namespace standin;
typedef std::lock_guard<std::recursive_mutex> guard;

cudaError_t cudaMalloc(void **out, size_t bytes)
{
    guard hold(books);
    cudaError_t e = entered();
    if (e == cudaSuccess)
        e = out ? unsafe_call("cudaMalloc") : cudaErrorInvalidValue;
    if (e != cudaSuccess)
        return left(e);
    *out = NULL;
    if (bytes == 0)
        return cudaSuccess;
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t free, total;
    cudaMemGetInfo(&free, &total);
    if (bytes > free || (bytes + page - 1) / page * page > free)
        return left(cudaErrorMemoryAllocation);
    watch_faults();
    char *p = (char *)emu_alloc(bytes);
    if (!p)
        return left(cudaErrorMemoryAllocation);
    void *first;
    const size_t pages = emu_alloc_pages(p, &first);
    /* addresses that were freed long ago may come back as parts of it */
    auto old = devices.lower_bound(p);
    while (old != devices.end() && old->first < p + pages)
        old = devices.erase(old);
    devices[p] = {bytes, pages, current_device(), true};
    device_of(current_device()).used += pages;
    if (!opened && mprotect(p, pages, PROT_NONE) != 0)
        die("mprotect of device memory failed");
    *out = p;
    return cudaSuccess;
}

cudaError_t cudaFree(void *p)
{
    cudaError_t e = entered();
    if (e == cudaSuccess)
        e = unsafe_call("cudaFree");
    if (e != cudaSuccess || !p)
        return left(e);
    /* Runtime API, cudaFree: "may perform implicit synchronization"; we let all work that was enqueued before
     * have its memory still, and nothing after it. */
    e = synchronize_device(current_device());
    guard hold(books);
    auto d = devices.find((char *)p);
    if (e == cudaSuccess && (d == devices.end() || !d->second.live))
        e = broke(cudaErrorInvalidValue, "cudaFree of %p, which is %s", p,
                  d == devices.end() ? "no allocation" : "free already");
    if (e == cudaSuccess)
        release_block(*d);
    return left(e);
}

cudaError_t cudaHostAlloc(void **out, size_t bytes, unsigned int flags)
{
    guard hold(books);
    cudaError_t e = entered();
    if (e == cudaSuccess)
        e = out && flags <= 7 ? unsafe_call("cudaHostAlloc") : cudaErrorInvalidValue;
    if (e != cudaSuccess)
        return left(e);
    *out = NULL;
    if (bytes == 0)
        return cudaSuccess;
    watch_faults();
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), pages = (bytes + page - 1) / page * page;
    void *p = mmap(NULL, pages, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return left(cudaErrorMemoryAllocation);
    memset(p, 0xff, pages);
    auto h = std::make_shared<pinned>();
    h->bytes = bytes;
    h->pages = pages;
    hosts[(char *)p] = h;
    *out = p;
    return cudaSuccess;
}

cudaError_t cudaMallocHost(void **out, size_t bytes)
{
    return cudaHostAlloc(out, bytes, cudaHostAllocDefault);
}

cudaError_t cudaFreeHost(void *p)
{
    cudaError_t e = entered();
    if (e == cudaSuccess)
        e = unsafe_call("cudaFreeHost");
    if (e != cudaSuccess || !p)
        return left(e);
    e = synchronize_device(current_device());
    guard hold(books);
    auto h = hosts.find((char *)p);
    if (e == cudaSuccess && (h == hosts.end() || !h->second->live))
        e = broke(cudaErrorInvalidValue, "cudaFreeHost of %p, which is not pinned memory", p);
    if (e == cudaSuccess) { /* the addresses stay taken, so that a stale pointer is found */
        h->second->live = false;
        madvise(p, h->second->pages, MADV_DONTNEED);
        mprotect(p, h->second->pages, PROT_NONE);
    }
    return left(e);
}

cudaError_t cudaPointerGetAttributes(struct cudaPointerAttributes *a, const void *p)
{
    guard hold(books);
    const cudaError_t e = entered();
    if (e != cudaSuccess || !a)
        return left(a ? e : cudaErrorInvalidValue);
    memset(a, 0, sizeof *a);
    a->device = -1;
    if (device_range(p, 1)) {
        a->type = cudaMemoryTypeDevice;
        a->device = holder(devices, p)->second.device;
        a->devicePointer = (void *)p;
    } else if (pinned_range(p, 1)) {
        a->type = cudaMemoryTypeHost;
        a->device = current_device();
        a->devicePointer = a->hostPointer = (void *)p;
    }
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind,
                            cudaStream_t s)
{
    guard hold(books);
    const cudaError_t e = entered();
    return left(e != cudaSuccess ? e : copy(to, from, bytes, kind, s, true));
}

cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t s)
{
    guard hold(books);
    const cudaError_t e = entered();
    return left(e != cudaSuccess ? e : fill(p, value, bytes, s));
}

/* On the legacy default stream; the host waits. */
cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind)
{
    cudaError_t e = entered();
    if (e == cudaSuccess)
        e = unsafe_call("cudaMemcpy");
    mark end;
    if (e == cudaSuccess) {
        guard hold(books);
        e = copy(to, from, bytes, kind, NULL, false);
        end = mark_of(queue_of(NULL));
    }
    return left(e != cudaSuccess ? e : synchronize(end));
}

/* Runtime API, "API synchronization behavior": cudaMemset is asynchronous to the host,
 * but for pinned memory. */
cudaError_t cudaMemset(void *p, int value, size_t bytes)
{
    guard hold(books);
    cudaError_t e = entered();
    if (e == cudaSuccess)
        e = unsafe_call("cudaMemset");
    return left(e != cudaSuccess ? e : fill(p, value, bytes, NULL));
}
