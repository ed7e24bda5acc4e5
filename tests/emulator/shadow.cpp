/* The hooks that -fsanitize=thread puts before each access of a kernel, ours instead of libtsan's: is the
 * memory the kernel's to touch, was it written, and does another thread of the launch touch it without a
 * barrier between.
 *
 * For each 16 bytes (smaller granules where a kernel accesses smaller pieces) a cell keeps the last write and
 * the last reads. The last write is enough: an earlier one that raced with it has been reported. Of reads the
 * cell keeps one and whether there were others: of the same warp since its last barrier, of other warps in
 * the stretch between two barriers of the block, of other blocks in the launch. So nothing is missed, and
 * shuffles order nothing, as CUDA's documentation has it ("do not imply a memory barrier"). */
#include <stdlib.h>
#include <string.h>

#include <link.h>

#include "private.h"

bool emu_checked()
{
    return true;
}

namespace
{
std::string other_thread(uint16_t by)
{
    return "thread " + std::to_string(by & EMU_THREAD) + " of the same block";
}

__attribute__((noinline)) void race(const emu_cell &c, bool write, bool with_write, bool blocks, size_t at,
                                    void *pc)
{
    std::string what =
        std::string(write ? "write" : "read") + " races with a " + (with_write ? "write" : "read") + " by ";
    if (!blocks)
        what += other_thread(with_write ? c.wrote_by : c.read_by) + ", no barrier between them";
    else if (!with_write && c.read >= emu_now.block_first)
        what += "another block";
    else
        what += "block " + std::to_string(emu_block_of(with_write ? c.wrote : c.read)) + ", thread " +
                std::to_string((with_write ? c.wrote_by : c.read_by) & EMU_THREAD);
    emu_fault_at(blocks ? EMU_RACE_BLOCKS : EMU_RACE, pc, what + ": " + emu_place(emu_memory.base + at));
}

inline bool same_warp(unsigned a, unsigned b)
{
    return (a ^ b) < 32;
}

/* One granule of memory at offset `at` is read or written by the thread at hand. */
inline void touch(emu_cell &c, bool write, bool shared, size_t at, void *pc)
{
    const struct emu_now &now = emu_now;
    const unsigned me = now.thread;
    if (c.wrote >= now.launch_first) {
        if (c.wrote == now.interval) {
            if (UNLIKELY(c.wrote_by != me && !(same_warp(c.wrote_by, me) && c.wrote_epoch != now.warp_epoch)))
                race(c, write, true, false, at, pc);
        } else if (UNLIKELY(c.wrote < now.block_first && !shared))
            race(c, write, true, true, at, pc);
    }
    if (write) {
        if (c.read >= now.launch_first) {
            const unsigned by = c.read_by & EMU_THREAD;
            if (c.read == now.interval &&
                UNLIKELY((c.read_by & EMU_WARPS) || !same_warp(by, me) ||
                         (c.read_epoch == now.warp_epoch && (by != me || (c.read_by & EMU_LANES)))))
                race(c, true, false, false, at, pc);
            else if (UNLIKELY(!shared && ((c.read_by & EMU_BLOCKS) || c.read < now.block_first)))
                race(c, true, false, true, at, pc);
        }
        c.wrote = now.interval;
        c.wrote_by = (uint16_t)me;
        c.wrote_epoch = now.warp_epoch;
    } else if (c.read != now.interval) {
        const bool others =
            c.read >= now.launch_first && (c.read < now.block_first || (c.read_by & EMU_BLOCKS));
        c.read = now.interval;
        c.read_by = (uint16_t)(me | (others ? EMU_BLOCKS : 0));
        c.read_epoch = now.warp_epoch;
    } else {
        const unsigned by = c.read_by & EMU_THREAD;
        if (!same_warp(by, me))
            c.read_by |= EMU_WARPS;
        else if (c.read_epoch != now.warp_epoch) {
            c.read_by = (uint16_t)(me | (c.read_by & (EMU_WARPS | EMU_BLOCKS)));
            c.read_epoch = now.warp_epoch;
        } else if (by != me)
            c.read_by |= EMU_LANES;
    }
}

/* Cells of granules of at most 1 << shift bytes for the chunk, from those that it has. */
__attribute__((noinline)) emu_fine *refine(size_t chunk, int shift)
{
    emu_fine *old = emu_memory.fine[chunk];
    const size_t n = (size_t)EMU_CHUNK >> shift;
    emu_fine *f = (emu_fine *)malloc(sizeof *f + n * sizeof(emu_cell));
    if (!f)
        abort();
    f->shift = shift;
    for (size_t i = 0; i < n; i++)
        f->cell[i] = old ? old->cell[(i << shift) >> old->shift]
                         : emu_memory.cells[(chunk * EMU_CHUNK + (i << shift)) / EMU_GRANULE];
    free(old);
    return emu_memory.fine[chunk] = f;
}

/* An aligned access of 1 << shift bytes. */
inline void touch_all(size_t at, int shift, bool write, void *pc)
{
    const bool shared = at < EMU_SHARED;
    emu_fine *f = emu_memory.fine[at / EMU_CHUNK];
    if (!f && shift == 4) {
        touch(emu_memory.cells[at / EMU_GRANULE], write, shared, at, pc);
        return;
    }
    if (UNLIKELY(!f || f->shift > shift))
        f = refine(at / EMU_CHUNK, shift);
    emu_cell *c = &f->cell[at % EMU_CHUNK >> f->shift];
    for (size_t o = at; o < at + ((size_t)1 << shift); o += (size_t)1 << f->shift)
        touch(*c++, write, shared, o, pc);
}

struct module_search {
    uintptr_t p;
    bool found;
};
int constant_of(struct dl_phdr_info *info, size_t, void *data)
{
    module_search *s = (module_search *)data;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) &h = info->dlpi_phdr[i];
        if (h.p_type == PT_LOAD && !(h.p_flags & PF_W) && s->p - (info->dlpi_addr + h.p_vaddr) < h.p_memsz)
            s->found = true;
        if (h.p_type == PT_GNU_RELRO && s->p - (info->dlpi_addr + h.p_vaddr) < h.p_memsz)
            s->found = true; /* constants with relocations */
    }
    return s->found;
}

/* Not in device memory: the kernel's stack, its arguments and constants, or a fault. Accesses of the host's
 * part of a .cu file come here too; they are told by their stack. */
__attribute__((noinline)) void outside(const char *p, size_t bytes, bool write, void *pc)
{
    const struct emu_now &now = emu_now;
    const bool in_kernel =
        now.work && (size_t)((char *)__builtin_frame_address(0) - now.stack) < (size_t)EMU_STACK;
    if (!in_kernel) {
        if (emu_memory.base && (size_t)(p - emu_memory.base) < EMU_ARENA)
            emu_fault_at(EMU_HOST, pc,
                         std::string("the host ") + (write ? "writes " : "reads ") + emu_place(p));
        return;
    }
    if ((size_t)(p - now.stack) < (size_t)EMU_STACK)
        return;
    if (!write && (size_t)(p - (const char *)now.work) < now.work->bytes)
        return;
    if (!write) {
        module_search s = {(uintptr_t)p, false};
        dl_iterate_phdr(constant_of, &s);
        if (s.found)
            return;
    }
    emu_fault_at(EMU_BOUNDS, pc,
                 std::string(write ? "write of " : "read of ") + std::to_string(bytes) + " bytes at " +
                     emu_place(p));
    emu_give_up();
}

/* Is every byte live and, read, written? Marks a write. */
inline void look(size_t at, size_t bytes, bool write, void *pc)
{
    uint8_t *s = emu_memory.state;
    for (size_t o = at; o < at + bytes; o++) {
        const uint8_t live = (uint8_t)(1 << o % 4), written = (uint8_t)(16 << o % 4);
        if (UNLIKELY(!(s[o / 4] & live))) {
            emu_fault_at(EMU_BOUNDS, pc,
                         std::string(write ? "write of " : "read of ") + std::to_string(bytes) +
                             " bytes at " + emu_place(emu_memory.base + o));
            emu_give_up();
        }
        if (write)
            s[o / 4] |= written;
        else if (UNLIKELY(!(s[o / 4] & written))) {
            emu_fault_at(EMU_UNWRITTEN, pc, "read of what nothing wrote: " + emu_place(emu_memory.base + o));
            emu_state_set(o, at + bytes - o, true, true); /* said once */
        }
    }
}

/* Any size and alignment. */
void access_any(const char *p, size_t bytes, bool write, void *pc)
{
    const size_t at = (size_t)(p - emu_now.base);
    if (UNLIKELY(at >= EMU_ARENA)) {
        outside(p, bytes, write, pc);
        return;
    }
    emu_accesses++;
    look(at, bytes, write, pc);
    for (size_t o = at, end = at + bytes; o < end;) {
        int shift = 4;
        while (o % ((size_t)1 << shift) || end - o < (size_t)1 << shift)
            shift--;
        touch_all(o, shift, write, pc);
        o += (size_t)1 << shift;
    }
}

template <unsigned N, bool W> inline void access_aligned(void *address, void *pc)
{
    const char *p = (const char *)address;
    const size_t at = (size_t)(p - emu_now.base);
    if (at >= EMU_ARENA) {
        if ((size_t)(p - emu_now.stack) >= (size_t)EMU_STACK)
            outside(p, N, W, pc);
        return;
    }
    if (UNLIKELY(at % N)) {
        emu_misaligned(p, N);
        return;
    }
    emu_accesses++;
    uint8_t *s = emu_memory.state + at / 4;
    bool fine = true;
    if (N < 4) {
        const uint8_t live = (uint8_t)(((1 << N) - 1) << at % 4), need = (uint8_t)(W ? live : live * 17);
        fine = (*s & need) == need;
        if (W)
            *s |= (uint8_t)((*s & live) << 4);
    }
    for (unsigned i = 0; i < N / 4; i++) {
        fine &= W ? (s[i] & 0x0f) == 0x0f : s[i] == 0xff;
        if (W)
            s[i] |= (uint8_t)(s[i] << 4); /* what is live is written */
    }
    if (!fine)
        look(at, N, W, pc);
    touch_all(at, __builtin_ctz(N), W, pc);
}
} // namespace

void emu_misaligned(const void *p, size_t bytes)
{
    emu_fault_at(EMU_ALIGNMENT, __builtin_return_address(0),
                 "access of " + std::to_string(bytes) + " bytes, which has to be aligned to them, at " +
                     emu_place(p));
    if (emu_now.work)
        emu_give_up();
}

/* ---- what the compiler calls ---- */

#define HOOKS(n)                                                                                             \
    void __tsan_read##n(void *p)                                                                             \
    {                                                                                                        \
        access_aligned<n, false>(p, __builtin_return_address(0));                                            \
    }                                                                                                        \
    void __tsan_write##n(void *p)                                                                            \
    {                                                                                                        \
        access_aligned<n, true>(p, __builtin_return_address(0));                                             \
    }                                                                                                        \
    void __tsan_volatile_read##n(void *p)                                                                    \
    {                                                                                                        \
        access_aligned<n, false>(p, __builtin_return_address(0));                                            \
    }                                                                                                        \
    void __tsan_volatile_write##n(void *p)                                                                   \
    {                                                                                                        \
        access_aligned<n, true>(p, __builtin_return_address(0));                                             \
    }                                                                                                        \
    void __tsan_unaligned_read##n(void *p)                                                                   \
    {                                                                                                        \
        access_any((char *)p, n, false, __builtin_return_address(0));                                        \
    }                                                                                                        \
    void __tsan_unaligned_write##n(void *p)                                                                  \
    {                                                                                                        \
        access_any((char *)p, n, true, __builtin_return_address(0));                                         \
    }

#pragma GCC visibility push(hidden)
extern "C" {
HOOKS(1)
HOOKS(2)
HOOKS(4)
HOOKS(8)
HOOKS(16)
void __tsan_read_range(void *p, size_t n)
{
    access_any((char *)p, n, false, __builtin_return_address(0));
}
void __tsan_write_range(void *p, size_t n)
{
    access_any((char *)p, n, true, __builtin_return_address(0));
}
/* memcpy and memset of kernels: dialect/ddp_device.h sends them here. */
void *emu_memcpy(void *to, const void *from, size_t n)
{
    access_any((const char *)from, n, false, __builtin_return_address(0));
    access_any((char *)to, n, true, __builtin_return_address(0));
    return memcpy(to, from, n);
}
void *emu_memset(void *to, int c, size_t n)
{
    access_any((char *)to, n, true, __builtin_return_address(0));
    return memset(to, c, n);
}
void __tsan_init() {}
void __tsan_func_entry(void *) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void **, void *) {}
void __tsan_vptr_read(void **) {}
}
#pragma GCC visibility pop
