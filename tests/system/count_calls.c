/* Preloaded into a rank by test_hot_loop.py: counts what steps must not do, and writes the counts when the
 * process ends. Only the program's own calls through libc are seen; that is where ours are. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static atomic_long allocations, frees, locks, maps;

/* glibc's own names of its allocator: no dlsym() before there is memory. */
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void __libc_free(void *);

void *malloc(size_t n)
{
    atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
    return __libc_malloc(n);
}

void *calloc(size_t n, size_t each)
{
    atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
    return __libc_calloc(n, each);
}

void *realloc(void *p, size_t n)
{
    atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
    return __libc_realloc(p, n);
}

void free(void *p)
{
    if (p != NULL)
        atomic_fetch_add_explicit(&frees, 1, memory_order_relaxed);
    __libc_free(p);
}

static void *next(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

int pthread_mutex_lock(pthread_mutex_t *m)
{
    static int (*real)(pthread_mutex_t *);
    if (!real)
        *(void **)&real = next("pthread_mutex_lock");
    atomic_fetch_add_explicit(&locks, 1, memory_order_relaxed);
    return real(m);
}

int pthread_rwlock_wrlock(pthread_rwlock_t *m)
{
    static int (*real)(pthread_rwlock_t *);
    if (!real)
        *(void **)&real = next("pthread_rwlock_wrlock");
    atomic_fetch_add_explicit(&locks, 1, memory_order_relaxed);
    return real(m);
}

void *mmap(void *at, size_t n, int protection, int flags, int fd, off_t offset)
{
    static void *(*real)(void *, size_t, int, int, int, off_t);
    if (!real)
        *(void **)&real = next("mmap");
    atomic_fetch_add_explicit(&maps, 1, memory_order_relaxed);
    return real(at, n, protection, flags, fd, offset);
}

/* COUNT_CALLS=FOLDER: one file for each process. */
static void __attribute__((destructor)) tell(void)
{
    const char *folder = getenv("COUNT_CALLS");
    char path[4096], text[256];
    if (!folder)
        return;
    const int n =
        snprintf(text, sizeof text, "{\"allocations\": %ld, \"frees\": %ld, \"locks\": %ld, \"maps\": %ld}\n",
                 atomic_load(&allocations), atomic_load(&frees), atomic_load(&locks), atomic_load(&maps));
    snprintf(path, sizeof path, "%s/%s.%s", folder, getenv("DDP_RANK") ? getenv("DDP_RANK") : "launcher",
             "json");
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd >= 0 && write(fd, text, (size_t)n) == n)
        close(fd);
}
