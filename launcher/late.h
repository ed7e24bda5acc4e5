/* Who has not stopped in time, in words: a pure function of what was heard of the ranks. */
#ifndef DDP_LAUNCHER_LATE_H
#define DDP_LAUNCHER_LATE_H

#include <stddef.h>

enum ddp_ended {
    DDP_ENDED_NOT,
    DDP_ENDED_SAYS, /* it has said goodbye, and may wait for others to come to their end */
    DDP_ENDED,
};

/* "rank 1 on a", "ranks 0, 1 and 2 on a", "rank 0 on a, rank 4 on b and 60 more": those that have not said
 * goodbye, or where all have, those that have not ended. ended: [ranks] enum ddp_ended. host_of: [ranks];
 * NULL: all on `host`. buf as snprintf. */
void ddp_late_name(int ranks, const unsigned char *ended, const char *host, const char *const *host_of,
                   char *buf, size_t size);

#endif
