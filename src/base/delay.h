/* Planted delays, for tests of what names slow and stuck ranks. */
#ifndef DDP_BASE_DELAY_H
#define DDP_BASE_DELAY_H

#include "base/pulse.h"

/* DDP_TEST_DELAY=RANK:PHASE:FROM-TO:SECONDS: this rank sleeps so long when it comes to the phase (a name of
 * DDP_PHASES) in or after a step from FROM to TO, once a step. Read once; rank: this process's. */
void ddp_delay_plant(int rank);
bool ddp_delay_is_planted(void);
/* The process comes to this phase of this step. */
void ddp_delay(enum ddp_phase phase, int64_t step);

#endif
