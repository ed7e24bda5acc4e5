/* What the files of the emulator share. */
#ifndef DDP_EMU_PRIVATE_H
#define DDP_EMU_PRIVATE_H

#include <mutex>
#include <string>

#include "launch.h"

#define LIKELY(x)   __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

/* A variable of the file that outlives the process's destructors: threads may still launch then. */
template <class T> T &emu_immortal()
{
    return *new T;
}

/* ---- fiber.cpp ---- */
enum { EMU_STACK = 128 << 10 }; /* bytes; a page without access lies below */

struct emu_fiber {
    void *sp;    /* where it stopped */
    char *stack; /* lowest byte */
};
/* Store where we are to *from and go on at `to`. */
extern "C" void emu_switch(void **from, void *to);
emu_fiber *emu_fiber_create(int number);                 /* aborts when there is no memory */
void emu_fiber_reset(emu_fiber *f, void (*entry)(void)); /* the next switch to it calls entry() */

/* ---- emu.cpp: what runs now ----
 * interval: number of the stretch between two barriers of one block, unique in the process and growing: of
 * two accesses, the numbers tell whether they fall into the same launch (>= launch_first), block (>=
 * block_first), stretch (==). */
struct emu_now {
    char *base; /* of device memory; ~0 while no kernel runs, so that every access takes the slow way */
    uint32_t interval, block_first, launch_first;
    uint16_t thread, warp_epoch; /* DDP_SYNC_WARP()s of the warp in this block */
    char *stack;                 /* of the fiber at hand */
    const emu_work *work;        /* NULL: none */
    int64_t block;
    uint64_t launch, block_number; /* counted in the process: whose shared memory it is */
};
extern emu_now emu_now;
extern std::mutex emu_mutex;             /* of the launch at hand, and of the memory's books */
int64_t emu_block_of(uint32_t interval); /* in this launch */
[[noreturn]] void emu_give_up();         /* from a kernel: end the launch */
extern int64_t emu_accesses;

/* ---- memory.cpp: the arena, and what is known of each byte ---- */
static const size_t EMU_ARENA = 4ull << 30, EMU_SHARED = 128 << 10; /* shared memory is its first bytes */

/* Last accesses to a granule: who wrote, who read. thread of a read carries flags. */
struct emu_cell {
    uint32_t wrote;
    uint16_t wrote_by, wrote_epoch;
    uint32_t read;
    uint16_t read_by, read_epoch;
};
enum { EMU_THREAD = 0x3ff, EMU_LANES = 0x2000, EMU_WARPS = 0x4000, EMU_BLOCKS = 0x8000 };

/* A chunk of memory whose cells stand for less than 16 bytes each, because a kernel accessed
 * it in smaller pieces. */
enum { EMU_CHUNK = 1024, EMU_GRANULE = 16 };
struct emu_fine {
    int shift; /* granule: 1 << shift bytes, 8 at most */
    emu_cell cell[1];
};

struct emu_memory {
    char *base;      /* EMU_ARENA bytes */
    uint8_t *state;  /* of each 4 bytes: low half: byte may be accessed, high half: byte was written */
    emu_cell *cells; /* of each EMU_GRANULE bytes; checked only */
    emu_fine **fine; /* of each chunk; NULL: cells */
};
extern emu_memory emu_memory;
void emu_memory_open();
void emu_state_set(size_t offset, size_t bytes, bool live, bool written);
std::string emu_place(const void *p); /* "shared memory 'name' + 12", "16 bytes behind 4096 bytes at ..." */

/* ---- shared.cpp ---- */
void emu_shared_begin(); /* of a launch: nothing is there yet */
std::string emu_shared_place(size_t offset);

/* ---- report.cpp ---- */
void emu_fault_at(enum emu_fault kind, void *pc,
                  const std::string &what); /* names kernel, block, thread, place */
void emu_note_kernel(const emu_work *work);

#endif
