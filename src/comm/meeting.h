/* Ranks that meet in memory that all of them see: threads of one process (comm_threads.c) or processes of one
 * host (comm_node.c). A barrier, a word that ends all waits, and a stage through which bytes pass: data never
 * go straight from one rank's buffer to another's, because after an abort a rank may leave a collective, and
 * its buffer with it, while another still reads.
 *
 *   struct ddp_meeting | stage of rank 0 | stage of rank 1 | ... | sums of all-reduces
 */
#ifndef DDP_COMM_MEETING_H
#define DDP_COMM_MEETING_H

#include "comm/transport.h"

enum { DDP_STAGE_BYTES = 16384 }; /* of each rank */

struct ddp_meeting { /* zeroed memory is one that nobody has come to */
    struct ddp_barrier barrier;
    _Alignas(64) ddp_word stop;                 /* set by abort: ends all waits */
    _Alignas(64) char stage[][DDP_STAGE_BYTES]; /* [size + 1] */
};

size_t ddp_meeting_bytes(int size);

/* A rank's part in it. */
struct ddp_attendee {
    struct ddp_meeting *at;
    const struct ddp_comm *comm; /* rank, size, how to wait */
    uint32_t round;
    struct ddp_pending *pending; /* all-reduces that were begun: the work is done in end */
    int npending;
};

void ddp_attendee_finish(struct ddp_attendee *k);

/* Members of struct ddp_comm_ops, for a transport whose `self` begins with its struct ddp_attendee. */
int ddp_meeting_barrier(void *self, struct ddp_error *err);
int ddp_meeting_bcast(void *self, void *buf, size_t bytes, int root, struct ddp_error *err);
int ddp_meeting_allgather(void *self, const void *in, void *out, size_t bytes, struct ddp_error *err);
int ddp_meeting_allreduce_begin(void *self, float *buf, size_t count, void **request, struct ddp_error *err);
int ddp_meeting_allreduce_end(void *self, void *request, struct ddp_error *err);
void ddp_meeting_abort(void *self, int status);

#endif
