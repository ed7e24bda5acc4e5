/* Files mapped for reading, and what is said when one of them shrinks while it is read: the kernel has
 * only SIGBUS for that. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fileio.h"
#include "base/hash.h"

/* ---- what is mapped, for the handler --------------------------------------------------------- */

enum { MAPS = 64 }; /* those past it are not named */

static struct {
    _Atomic(uintptr_t) start; /* 0: free; written last, cleared first */
    size_t bytes;
    char path[512];
} maps[MAPS];

static struct sigaction before_us; /* MPI and sanitizers have handlers of their own */

/* Name the file, then leave the signal to who had it before. Only calls that a handler may make. */
static void on_bus_error(int sig, siginfo_t *info, void *context)
{
    static const char before[] = "data file ",
                      after[] = ": cut short, or its disk failed, while it was read (bus error); "
                                "replace files by renaming a new one over them\n";
    const uintptr_t at = (uintptr_t)info->si_addr;
    (void)context;
    for (int i = 0; i < MAPS; i++) {
        const uintptr_t start = atomic_load(&maps[i].start);
        if (start == 0 || at < start || at - start >= maps[i].bytes)
            continue;
        char text[sizeof before + sizeof maps[i].path + sizeof after];
        size_t n = sizeof before - 1;
        memcpy(text, before, n);
        const size_t path = strlen(maps[i].path);
        memcpy(text + n, maps[i].path, path);
        memcpy(text + n + path, after, sizeof after - 1);
        n += path + sizeof after - 1;
        if (write(STDERR_FILENO, text, n) < 0)
            break;
    }
    sigaction(sig, &before_us, NULL); /* the access is made again, and meets who was there before */
}

static void watch(void)
{
    struct sigaction now, ours = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO};
    sigemptyset(&ours.sa_mask);
    if (sigaction(SIGBUS, NULL, &now) != 0 || now.sa_sigaction == on_bus_error)
        return;
    before_us = now;
    sigaction(SIGBUS, &ours, NULL);
}

static void remember(const void *p, size_t bytes, const char *path)
{
    static const uintptr_t taken = 1; /* no address of a page */
    watch();
    for (int i = 0; p && i < MAPS; i++) {
        uintptr_t free_slot = 0;
        if (!atomic_compare_exchange_strong(&maps[i].start, &free_slot, taken))
            continue;
        maps[i].bytes = bytes;
        snprintf(maps[i].path, sizeof maps[i].path, "%s", path);
        atomic_store(&maps[i].start, (uintptr_t)p);
        return;
    }
}

static void forget(const void *p)
{
    for (int i = 0; i < MAPS; i++)
        if (atomic_load(&maps[i].start) == (uintptr_t)p)
            atomic_store(&maps[i].start, 0);
}

/* ---- mapping --------------------------------------------------------------------------------- */

int ddp_file_map(const char *path, const void **data, size_t *bytes, struct ddp_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe is refused, not waited for */
    if (fd < 0)
        return ddp_fail(err, DDP_E_IO, "%s: cannot open: %s", path, strerror(errno));
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        int e = errno;
        bool regular = S_ISREG(st.st_mode);
        close(fd);
        return ddp_fail(err, DDP_E_IO, "%s: %s", path, regular ? strerror(e) : "not a regular file");
    }
    void *p = NULL;
    if (st.st_size > 0) {
        p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED) {
            int e = errno;
            close(fd);
            return ddp_fail(err, DDP_E_IO, "%s: cannot map: %s", path, strerror(e));
        }
    }
    close(fd);
    remember(p, (size_t)st.st_size, path);
    *data = p;
    *bytes = (size_t)st.st_size;
    return 0;
}

void ddp_file_unmap(const void *data, size_t bytes)
{
    if (!data)
        return;
    forget(data);
    munmap((void *)(uintptr_t)data, bytes);
}

int ddp_file_sha256(const char *path, char hex[65], struct ddp_error *err)
{
    const void *data = NULL;
    size_t bytes = 0;
    const int status = ddp_file_map(path, &data, &bytes, err);
    if (status)
        return status;
    struct ddp_sha256 h;
    ddp_sha256_init(&h);
    if (bytes > 0)
        ddp_sha256_update(&h, data, bytes);
    ddp_sha256_hex(&h, hex);
    ddp_file_unmap(data, bytes);
    return 0;
}
