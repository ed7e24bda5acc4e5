/* Messages between processes of one host, through memory that all of them see: one ring of bytes for each
 * ordered pair of ranks, and a word for each rank that says that something moved on one of its rings. A send
 * is done when all its bytes are in the ring. Every rank empties its rings whenever it is polled, into
 * letters of its own where no receive is posted yet, so that no message waits behind one of another tag. */
#ifndef DDP_COMM_POST_H
#define DDP_COMM_POST_H

#include "comm/transport.h"

struct ddp_post; /* a rank's part in it */
struct ddp_posting;

/* Zeroed memory for `size` ranks. */
size_t ddp_post_bytes(int size);
struct ddp_post *ddp_post_create(void *memory, int rank, int size);
/* All exchanges are destroyed. NULL is fine. */
void ddp_post_destroy(struct ddp_post *post);

/* As the members of struct ddp_comm_ops; stop: ends waits when it becomes non-zero. */
struct ddp_posting *ddp_posting_create(struct ddp_post *post, const struct ddp_message *list, int n, int tag);
void ddp_posting_begin(struct ddp_posting *x);
int ddp_posting_test(struct ddp_posting *x, bool wait, int spin, const ddp_word *stop, bool *done,
                     struct ddp_error *err);
void ddp_posting_destroy(struct ddp_posting *x);

#endif
