/* The barrier of the hot path. Only the last to arrive wakes the others: if each arrival did, N ranks on few
 * cores would be woken N times a barrier. */
#include "comm/transport.h"

bool ddp_barrier_meet(struct ddp_barrier *b, int size, int spin, const ddp_word *stop, uint32_t *round)
{
    uint32_t mine = ++*round;
    if (size == 1)
        return true;
    uint32_t before = atomic_fetch_add_explicit(&b->arrived, 1, memory_order_acq_rel);
    if (before + 1 == mine * (uint32_t)size) { /* both wrap alike */
        ddp_wait_add(&b->passed, 1);
        return true;
    }
    return ddp_wait_reached(&b->passed, mine, spin, stop);
}

bool ddp_barrier_wait(struct ddp_barrier *b, struct ddp_comm *c, uint32_t *round)
{
    return ddp_barrier_meet(b, c->local_size, c->spin, c->stop_word, round);
}
