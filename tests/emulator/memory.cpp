/* Device memory: one stretch of addresses, allocations on pages of their own, and for each byte whether it
 * may be accessed and whether something wrote it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <map>

#include "private.h"

struct emu_memory emu_memory;

namespace
{
struct block {
    size_t bytes, pages; /* asked for; taken, the page without access behind it included */
};
auto &live = emu_immortal<std::map<size_t, block>>(),
     &gone = emu_immortal<std::map<size_t, block>>(); /* by offset */
size_t top, page;

void *reserve(size_t bytes, int access)
{
    void *p = mmap(NULL, bytes, access, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) {
        perror("emu: no addresses for the emulated device's memory");
        abort();
    }
    return p;
}

/* Addresses are used again only when there are no fresh ones: a stale pointer stays one. */
bool find_room(size_t pages, size_t *at)
{
    if (EMU_ARENA - top >= pages) {
        *at = top;
        top += pages;
        return true;
    }
    for (auto it = gone.begin(); it != gone.end(); ++it)
        if (it->second.pages >= pages) {
            *at = it->first;
            const block rest = {0, it->second.pages - pages};
            gone.erase(it);
            if (rest.pages)
                gone[*at + pages] = rest;
            return true;
        }
    return false;
}

size_t offset_of(const void *p)
{
    return (size_t)((const char *)p - emu_memory.base);
}

const std::pair<const size_t, block> *holder(const void *p, size_t bytes)
{
    if (!emu_memory.base || offset_of(p) >= EMU_ARENA)
        return NULL;
    auto it = live.upper_bound(offset_of(p));
    if (it == live.begin())
        return NULL;
    --it;
    const size_t in = offset_of(p) - it->first;
    return in <= it->second.bytes && bytes <= it->second.bytes - in ? &*it : NULL;
}

int64_t first_unwritten(const void *p, size_t bytes)
{
    if (!emu_checked())
        return -1;
    for (size_t i = 0, o = offset_of(p); i < bytes; i++, o++)
        if (!(emu_memory.state[o / 4] >> (4 + o % 4) & 1))
            return (int64_t)i;
    return -1;
}
} // namespace

void emu_memory_open()
{
    if (emu_memory.base)
        return;
    page = (size_t)sysconf(_SC_PAGESIZE);
    emu_memory.state = (uint8_t *)reserve(EMU_ARENA / 4, PROT_READ | PROT_WRITE);
    if (emu_checked()) {
        emu_memory.cells =
            (emu_cell *)reserve(EMU_ARENA / EMU_GRANULE * sizeof(emu_cell), PROT_READ | PROT_WRITE);
        emu_memory.fine =
            (emu_fine **)reserve(EMU_ARENA / EMU_CHUNK * sizeof(emu_fine *), PROT_READ | PROT_WRITE);
    }
    emu_memory.base = (char *)reserve(EMU_ARENA, PROT_NONE);
    if (mprotect(emu_memory.base, EMU_SHARED, PROT_READ | PROT_WRITE) != 0)
        abort();
    top = EMU_SHARED + page;
}

void emu_state_set(size_t offset, size_t bytes, bool can, bool written)
{
    const uint8_t full = (uint8_t)((can ? 0x0f : 0) | (written ? 0xf0 : 0));
    uint8_t *s = emu_memory.state;
    const size_t end = offset + bytes;
    auto one = [&](size_t o) {
        const uint8_t bits = (uint8_t)(0x11 << o % 4);
        s[o / 4] = (uint8_t)((s[o / 4] & ~bits) | (full & bits));
    };
    for (; offset < end && offset % 4; offset++)
        one(offset);
    if (end - offset >= 4) {
        memset(s + offset / 4, full, (end - offset) / 4);
        offset += (end - offset) / 4 * 4;
    }
    for (; offset < end; offset++)
        one(offset);
}

void *emu_alloc(size_t bytes)
{
    std::lock_guard<std::mutex> hold(emu_mutex);
    emu_memory_open();
    if (bytes > EMU_ARENA)
        return NULL;
    const size_t room = (bytes + page - 1) / page * page;
    size_t at;
    if (!find_room(room + page, &at))
        return NULL;
    char *p = emu_memory.base + at;
    if (room && mprotect(p, room, PROT_READ | PROT_WRITE) != 0) {
        perror("emu: mprotect");
        abort();
    }
    live[at] = {bytes, room + page};
    memset(p, 0xff, room);
    emu_state_set(at, bytes, true, false);
    return p;
}

void emu_free(void *p)
{
    if (!p)
        return;
    std::lock_guard<std::mutex> hold(emu_mutex);
    auto it = emu_memory.base ? live.find(offset_of(p)) : live.end();
    if (it == live.end()) {
        emu_fault(EMU_BOUNDS, "free of %p, which is no device memory", p);
        return;
    }
    const block b = it->second;
    emu_state_set(it->first, b.bytes, false, false);
    if (b.pages > page) {
        madvise(p, b.pages - page, MADV_DONTNEED);
        mprotect(p, b.pages - page, PROT_NONE);
    }
    gone[it->first] = b;
    live.erase(it);
}

size_t emu_alloc_pages(const void *p, void **first)
{
    std::lock_guard<std::mutex> hold(emu_mutex);
    auto *h = holder(p, 0);
    if (!h)
        return 0;
    *first = emu_memory.base + h->first;
    return h->second.pages - page;
}

bool emu_owns(const void *p, size_t bytes)
{
    std::lock_guard<std::mutex> hold(emu_mutex);
    return holder(p, bytes) != NULL;
}

void emu_mark_written(const void *p, size_t bytes)
{
    std::lock_guard<std::mutex> hold(emu_mutex);
    if (holder(p, bytes))
        emu_state_set(offset_of(p), bytes, true, true);
    else
        emu_fault(EMU_BOUNDS, "the host writes %zu bytes: %s", bytes, emu_place(p).c_str());
}

void emu_poison(void *p, size_t bytes)
{
    std::lock_guard<std::mutex> hold(emu_mutex);
    if (!holder(p, bytes)) {
        emu_fault(EMU_BOUNDS, "the host poisons %zu bytes: %s", bytes, emu_place(p).c_str());
        return;
    }
    memset(p, 0xff, bytes);
    emu_state_set(offset_of(p), bytes, true, false);
}

int64_t emu_unwritten(const void *p, size_t bytes)
{
    std::lock_guard<std::mutex> hold(emu_mutex);
    return holder(p, bytes) ? first_unwritten(p, bytes) : 0;
}

void emu_copy_in(void *device, const void *host, size_t bytes)
{
    emu_mark_written(device, bytes);
    if (emu_owns(device, bytes))
        memcpy(device, host, bytes);
}

void emu_copy_out(void *host, const void *device, size_t bytes)
{
    std::lock_guard<std::mutex> hold(emu_mutex);
    if (!holder(device, bytes)) {
        emu_fault(EMU_BOUNDS, "the host reads %zu bytes: %s", bytes, emu_place(device).c_str());
        return;
    }
    const int64_t at = first_unwritten(device, bytes);
    if (at >= 0)
        emu_fault(EMU_UNWRITTEN, "the host reads %zu bytes, of which byte %lld was never written: %s", bytes,
                  (long long)at, emu_place((const char *)device + at).c_str());
    memcpy(host, device, bytes);
}

std::string emu_place(const void *p)
{
    char text[200];
    const size_t o = offset_of(p);
    if (!emu_memory.base || o >= EMU_ARENA) {
        snprintf(text, sizeof text, "address %p, which is no device memory", p);
        return text;
    }
    if (o < EMU_SHARED)
        return emu_shared_place(o);
    auto it = live.upper_bound(o);
    if (it == live.begin()) {
        snprintf(text, sizeof text, "device address %p before all memory", p);
        return text;
    }
    --it;
    const size_t in = o - it->first;
    if (in < it->second.bytes)
        snprintf(text, sizeof text, "device memory of %zu bytes at %p, byte %zu", it->second.bytes,
                 (void *)(emu_memory.base + it->first), in);
    else
        snprintf(text, sizeof text, "%zu bytes behind the end of device memory of %zu bytes at %p",
                 in - it->second.bytes, it->second.bytes, (void *)(emu_memory.base + it->first));
    return text;
}
