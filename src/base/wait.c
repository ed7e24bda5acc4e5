/* Polling, then sleeping on a futex that other processes may wake. */
#include "base/wait.h"

#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

bool ddp_wait_reached(ddp_word *word, uint32_t target, int spin, const ddp_word *stop)
{
    for (int i = 0;; i++) {
        uint32_t v = atomic_load_explicit(word, memory_order_acquire);
        if ((int32_t)(v - target) >= 0)
            return true;
        if (stop && atomic_load_explicit(stop, memory_order_acquire))
            return false;
        if (i < spin) {
            relax();
            continue;
        }
        /* Not FUTEX_PRIVATE: the word may be shared by processes. The time-out only bounds how late `stop` is
         * seen. */
        struct timespec t = {0, 100 * 1000 * 1000};
        syscall(SYS_futex, word, FUTEX_WAIT, v, &t, NULL, 0);
    }
}

void ddp_wait_add(ddp_word *word, uint32_t n)
{
    atomic_fetch_add_explicit(word, n, memory_order_acq_rel);
    syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}
