/* Work that several threads divide: each has a part of its own, takes from its front, and then what is left
 * of the others' parts, so that one that is held up holds up nobody. A thread comes back to the same memory
 * as long as all are on time. */
#ifndef DDP_BASE_PARTS_H
#define DDP_BASE_PARTS_H

#include <stdatomic.h>
#include <stdint.h>

struct ddp_part {
    _Alignas(64) _Atomic int64_t next;
    int64_t end;
};

/* Items [0, items) cut into n parts, as equal as can be. Before the threads see them. */
static inline void ddp_parts_cut(struct ddp_part *part, int n, int64_t items)
{
    for (int i = 0; i < n; i++) {
        atomic_store_explicit(&part[i].next, items * i / n, memory_order_relaxed);
        part[i].end = items * (i + 1) / n;
    }
}

/* An item that nobody has had yet, of part `own` first; -1: none is left. Each is handed out once. */
static inline int64_t ddp_parts_take(struct ddp_part *part, int n, int own)
{
    for (int i = 0; i < n; i++) {
        struct ddp_part *p = &part[own + i < n ? own + i : own + i - n];
        if (atomic_load_explicit(&p->next, memory_order_relaxed) >= p->end)
            continue;
        const int64_t item = atomic_fetch_add_explicit(&p->next, 1, memory_order_relaxed);
        if (item < p->end)
            return item;
    }
    return -1;
}

#endif
