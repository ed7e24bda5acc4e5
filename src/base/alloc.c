/* Zeroed memory or a clear end of the program; whole pages for what is large. */
#include "base/alloc.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static atomic_long calls;

static void *checked(void *p, size_t bytes)
{
    atomic_fetch_add_explicit(&calls, 1, memory_order_relaxed);
    if (!p && bytes) {
        fprintf(stderr, "ddp: out of memory (%zu bytes)\n", bytes);
        abort();
    }
    return p;
}

void *ddp_malloc(size_t bytes)
{
    return checked(malloc(bytes ? bytes : 1), bytes);
}
void *ddp_calloc(size_t count, size_t bytes)
{
    return checked(calloc(count ? count : 1, bytes ? bytes : 1), bytes);
}
void *ddp_realloc(void *p, size_t bytes)
{
    return checked(realloc(p, bytes ? bytes : 1), bytes);
}

char *ddp_strdup(const char *s)
{
    size_t n = strlen(s) + 1;
    return memcpy(ddp_malloc(n), s, n);
}

long ddp_alloc_count(void)
{
    return atomic_load_explicit(&calls, memory_order_relaxed);
}

void *ddp_pages_alloc(size_t bytes)
{
    atomic_fetch_add_explicit(&calls, 1, memory_order_relaxed);
    void *p = mmap(NULL, bytes ? bytes : 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

void ddp_pages_free(void *p, size_t bytes)
{
    if (p)
        munmap(p, bytes ? bytes : 1);
}

/* ---- arena: a list of chunks, the newest first ----------------------------------------------- */

struct chunk {
    struct chunk *next;
    size_t used, cap;
    _Alignas(16) char data[];
};

struct ddp_arena {
    struct chunk *head;
};

struct ddp_arena *ddp_arena_create(void)
{
    return ddp_calloc(1, sizeof(struct ddp_arena));
}

void ddp_arena_destroy(struct ddp_arena *a)
{
    if (!a)
        return;
    for (struct chunk *c = a->head, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    free(a);
}

void *ddp_arena_alloc(struct ddp_arena *a, size_t bytes)
{
    bytes = (bytes + 15) & ~(size_t)15;
    if (!a->head || a->head->cap - a->head->used < bytes) {
        size_t cap = bytes > 16384 ? bytes : 16384;
        struct chunk *c = ddp_calloc(1, sizeof *c + cap);
        c->cap = cap;
        c->next = a->head;
        a->head = c;
    }
    void *p = a->head->data + a->head->used;
    a->head->used += bytes;
    return p;
}

char *ddp_arena_strdup(struct ddp_arena *a, const char *s)
{
    size_t n = strlen(s) + 1;
    return memcpy(ddp_arena_alloc(a, n), s, n);
}
