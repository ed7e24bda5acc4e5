/* Shared memory: the DDP_SHARED arrays of a launch in the arena's first bytes, one copy for the block at
 * hand, between bytes that belong to none; fresh for each block. */
#include <string.h>

#include <vector>

#include "private.h"

namespace
{
enum { MAX_SHARED = 48 << 10, RED_ZONE = 64 };

struct shared_array {
    const char *name;
    size_t offset, bytes;
};
auto &arrays = emu_immortal<std::vector<shared_array>>();
size_t top, total;

void *place(const char *name, size_t bytes, size_t align)
{
    const size_t least = align > 16 ? align : 16, start = (top + RED_ZONE + least - 1) / least * least;
    total += bytes;
    if (total > MAX_SHARED || start + bytes + RED_ZONE > EMU_SHARED) {
        emu_fault_at(EMU_LAUNCH, NULL,
                     std::to_string(total) + " bytes of shared memory: a block has " +
                         std::to_string(MAX_SHARED));
        emu_give_up();
    }
    top = start + bytes;
    arrays.push_back({name, start, bytes});
    return emu_memory.base + start;
}
} // namespace

void emu_shared_begin()
{
    emu_state_set(0, top, false, false); /* what the launch before had */
    top = total = 0;
    arrays.clear();
}

void *emu_shared(struct emu_site *site, const char *name, size_t bytes, size_t align)
{
    if (LIKELY(site->block == emu_now.block_number))
        return site->p;
    if (site->launch != emu_now.launch) {
        site->p = place(name, bytes, align);
        site->launch = emu_now.launch;
    }
    site->block = emu_now.block_number;
    emu_state_set((size_t)((char *)site->p - emu_memory.base), bytes, true, false);
    memset(site->p, 0xff, bytes);
    return site->p;
}

std::string emu_shared_place(size_t offset)
{
    for (const shared_array &a : arrays)
        if (offset + RED_ZONE >= a.offset && offset < a.offset + a.bytes + RED_ZONE)
            return std::string("shared memory '") + a.name + "' (" + std::to_string(a.bytes) +
                   " bytes), byte " + std::to_string((int64_t)offset - (int64_t)a.offset);
    return "shared memory";
}
