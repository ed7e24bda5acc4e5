/* Cutting the flat space: buckets from the end, slices by rank, the odd blocks going round. */
#include "reduce/bucket.h"

int64_t ddp_bucket_count(int64_t blocks, int64_t each)
{
    return (blocks + each - 1) / each;
}

struct ddp_range ddp_bucket_span(int64_t blocks, int64_t each, int64_t bucket)
{
    int64_t hi = blocks - bucket * each;
    return (struct ddp_range){hi > each ? hi - each : 0, hi};
}

int64_t ddp_bucket_of(int64_t blocks, int64_t each, int64_t block)
{
    return (blocks - 1 - block) / each;
}

struct ddp_range ddp_bucket_slice(int64_t blocks, int64_t each, int64_t bucket, int ranks, int rank)
{
    struct ddp_range all = ddp_bucket_span(blocks, each, bucket);
    int64_t base = (all.hi - all.lo) / ranks, rest = (all.hi - all.lo) % ranks;
    /* Blocks left over in the buckets before went to the ranks before `turn`; go on from there. */
    int64_t turn = bucket * each % ranks;
    int64_t lo = all.lo + rank * base, extra = 0;
    for (int r = 0; r <= rank; r++) {
        extra = (r - turn + ranks) % ranks < rest;
        if (r < rank)
            lo += extra;
    }
    return (struct ddp_range){lo, lo + base + extra};
}
