/* Allocation that cannot fail half-way: programs end with a clear message when the system has no memory for
 * small things; what is large is planned and checked before (model/memory_plan.h). */
#ifndef DDP_BASE_ALLOC_H
#define DDP_BASE_ALLOC_H

#include <stddef.h>

/* malloc/calloc/realloc/strdup that abort() with a message when out of memory. Free with free(). */
void *ddp_malloc(size_t bytes);
void *ddp_calloc(size_t count, size_t bytes);
void *ddp_realloc(void *p, size_t bytes);
char *ddp_strdup(const char *s);

/* Zeroed memory aligned to a page, for large buffers; NULL when the system has none. Free with
 * ddp_pages_free. */
void *ddp_pages_alloc(size_t bytes);
void ddp_pages_free(void *p, size_t bytes);

/* Number of calls of the functions above by this process so far: the hot path must not move it. */
long ddp_alloc_count(void);

/* Many small objects with one life: freed together. */
struct ddp_arena;
struct ddp_arena *ddp_arena_create(void);
void ddp_arena_destroy(struct ddp_arena *a);              /* NULL is fine */
void *ddp_arena_alloc(struct ddp_arena *a, size_t bytes); /* zeroed, 16-byte aligned */
char *ddp_arena_strdup(struct ddp_arena *a, const char *s);

#endif
