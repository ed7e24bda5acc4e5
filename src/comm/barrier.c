/* The barrier of the hot path. Only the last to arrive wakes the others: if each arrival did, N ranks on few
 * cores would be woken N times a barrier. */
#include "comm/comm.h"

bool ddp_barrier_wait(struct ddp_barrier *b, struct ddp_comm *c, uint32_t *round)
{
    uint32_t mine = ++*round;
    if (c->size == 1)
        return true;
    uint32_t before = atomic_fetch_add_explicit(&b->arrived, 1, memory_order_acq_rel);
    if (before + 1 == mine * (uint32_t)c->size) { /* both wrap alike */
        ddp_wait_add(&b->passed, 1);
        return true;
    }
    return ddp_wait_reached(&b->passed, mine, c->spin, c->stop_word);
}
