/* What dialect/ddp_device.h makes of a kernel and its launch: the side of the emulator that kernels see. */
#ifndef DDP_EMU_LAUNCH_H
#define DDP_EMU_LAUNCH_H

#include <stddef.h>
#include <stdint.h>

#include <tuple>
#include <type_traits>
#include <utility>

#include "emu.h"

#pragma GCC visibility push(default) /* for kernels of other programs, see emu.map */
/* The thread at hand. For a kernel these never change, so calls may be merged. */
extern "C" {
int emu_thread(void) __attribute__((const));
int emu_threads(void) __attribute__((const));
int emu_block(void) __attribute__((const));
int emu_blocks(void) __attribute__((const));
void emu_sync(const char *file, int line);
void emu_sync_warp(const char *file, int line);
/* Value of the lane `delta` above; its own where there is none. No barrier for memory, as on the device. */
uint64_t emu_shuffle_down(uint64_t v, int delta, const char *file, int line);
void emu_raise(int32_t *p, int32_t v); /* an atomic maximum: no race, in whatever order */
void emu_misaligned(const void *p, size_t bytes);
void *emu_memcpy(void *to, const void *from, size_t n);
void *emu_memset(void *to, int c, size_t n);
}

/* A DDP_SHARED: one copy for a block, from the first thread that gets there. */
struct emu_site {
    void *p;
    uint64_t launch, block;
};
extern "C" void *emu_shared(struct emu_site *site, const char *name, size_t bytes, size_t align);

static inline void emu_aligned(const void *p, size_t bytes)
{
    if ((uintptr_t)p & (bytes - 1))
        emu_misaligned(p, bytes);
}

struct emu_work {
    const char *name;
    void *kernel; /* its address, for its full name */
    int64_t blocks;
    int threads;
    size_t bytes; /* of the whole object, arguments included */
    virtual void call() const = 0;
    virtual ~emu_work() {}
};
extern "C" void emu_start(void *cuda_stream, struct emu_work *work); /* takes it over */
#pragma GCC visibility pop

template <class... P> struct emu_closure : emu_work {
    void (*fn)(P...);
    std::tuple<std::decay_t<P>...> args;
    const void *place[sizeof...(P) + 1]; /* of each argument */

    template <class... A> emu_closure(void (*f)(P...), A &&...a) : fn(f), args(static_cast<P>(a)...)
    {
        int i = 0;
        std::apply([&](auto &...arg) { ((place[i++] = &arg), ...); }, args);
    }
    void call() const override { with(std::index_sequence_for<P...>()); }
    /* Reads of the closure are the launch's, not the kernel's. */
    template <size_t... I> __attribute__((no_sanitize("thread"))) void with(std::index_sequence<I...>) const
    {
        const emu_closure *self = this;
        self->fn(*(const std::decay_t<P> *)self->place[I]...);
    }
};

/* As CUDA does: the arguments become the kernel's parameters now, whenever it runs. */
template <class... P, class... A>
void emu_launch(void *cuda_stream, const char *name, void (*kernel)(P...), int64_t blocks, int threads,
                A &&...a)
{
    static_assert((sizeof(std::decay_t<P>) + ... + 0) <= 4096, "CUDA passes 4 KiB of arguments at most");
    auto *w = new emu_closure<P...>(kernel, static_cast<A &&>(a)...);
    w->name = name;
    w->kernel = (void *)kernel;
    w->blocks = blocks;
    w->threads = threads;
    w->bytes = sizeof *w;
    emu_start(cuda_stream, w);
}

#endif
