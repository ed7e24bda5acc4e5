/* The tags that messages of a reduction go under (comm/comm.h): those of buckets, and these from the
 * end. */
#ifndef DDP_REDUCE_TAGS_H
#define DDP_REDUCE_TAGS_H

#include "comm/comm.h"

enum {
    DDP_TAG_VALUES = DDP_EXCHANGE_TAGS - 1, /* block values, behind a stage */
    DDP_TAG_VOTES = DDP_TAG_VALUES - 1,     /* to stop */
    DDP_TAG_MOVE = DDP_TAG_VOTES - 1,       /* state between its owners and others */
    DDP_TAG_SMALL = DDP_TAG_MOVE - 1,       /* small sums */

    DDP_TAG_BUCKETS = DDP_TAG_SMALL / 2 /* so many buckets at most */
};

static inline int ddp_tag_sums(int64_t bucket)
{
    return (int)(2 * bucket);
}

static inline int ddp_tag_results(int64_t bucket)
{
    return (int)(2 * bucket + 1);
}

#endif
