/* Waiting on a 32-bit word in memory that threads or processes share: spin, then futex. */
#ifndef DDP_BASE_WAIT_H
#define DDP_BASE_WAIT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef _Atomic uint32_t ddp_word;

/* Wait until (int32_t)(*word - target) >= 0. spin: polls before sleeping (0 when ranks exceed cores, some
 * 2000 else). stop: NULL, or a word that ends the wait when it becomes non-zero (looked at every 100 ms at
 * the latest); then false. */
bool ddp_wait_reached(ddp_word *word, uint32_t target, int spin, const ddp_word *stop);
/* Add to the word (release) and wake all who wait on it. */
void ddp_wait_add(ddp_word *word, uint32_t n);

#endif
