/* How the flat space is cut: pure functions of the number of blocks, the blocks in a bucket and the ranks.
 * All in blocks.
 *
 * Bucket 0 is the end of the space (backward finishes there first), the last one what is left at the front.
 * In each bucket slice r belongs to rank r, slices lie in rank order, and the blocks that do not divide
 * evenly go round, so that over all buckets no rank owns two blocks more than another. */
#ifndef DDP_REDUCE_BUCKET_H
#define DDP_REDUCE_BUCKET_H

#include "base/range.h"

int64_t ddp_bucket_count(int64_t blocks, int64_t each);
struct ddp_range ddp_bucket_span(int64_t blocks, int64_t each, int64_t bucket);
/* The bucket that holds a block. */
int64_t ddp_bucket_of(int64_t blocks, int64_t each, int64_t block);
/* What rank owns of a bucket; may be empty. */
struct ddp_range ddp_bucket_slice(int64_t blocks, int64_t each, int64_t bucket, int ranks, int rank);

#endif
