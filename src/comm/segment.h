/* A piece of memory that processes of one host share: a memfd that its maker holds open until the others have
 * opened it through /proc. It has no name in a file system, so nothing stays behind when ranks are killed,
 * and /dev/shm's size does not bound it (docs/adr/0002-shared-memory-by-memfd.md). */
#ifndef DDP_COMM_SEGMENT_H
#define DDP_COMM_SEGMENT_H

#include <stddef.h>
#include <stdint.h>

#include "ddp/error.h"

/* Where to find a segment; plain data, sent to the other ranks. */
struct ddp_segment_key {
    int32_t pid, fd;
    uint64_t inode, bytes;
};

/* Make and map a zeroed segment; *key->fd stays open until ddp_segment_close. */
int ddp_segment_create(size_t bytes, struct ddp_segment_key *key, void **base, struct ddp_error *err);
/* Map another process's segment. */
int ddp_segment_open(const struct ddp_segment_key *key, void **base, struct ddp_error *err);
/* The maker, once all have opened it. */
void ddp_segment_close(const struct ddp_segment_key *key);
void ddp_segment_unmap(void *base, size_t bytes);

#endif
