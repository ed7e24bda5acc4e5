/* The packed file: a whole data set in one file that ranks map. Private to src/data, ddp-data and their
 * tests.
 *
 *   0      struct ddp_packed_head         1 KB; everything known before the first picture is decoded
 *   1024   class names, each with its NUL
 *          labels of train, then of test  int32, from a multiple of 64
 *          pixels of train, then of test  uint8 [count][c][h][w], from a multiple of 4096
 *   end    struct ddp_packed_tail         what is known after the last: statistics, checksums
 *
 * Numbers are in the byte order of the machine that wrote it; `order` tells. */
#ifndef DDP_DATA_PACKED_H
#define DDP_DATA_PACKED_H

#include "data/formats.h"

#define DDP_PACKED_MAGIC "ddppack\n"
enum { DDP_PACKED_VERSION = 1, DDP_PACKED_ORDER = 0x01020304, DDP_PACKED_HEAD_BYTES = 1024 };

struct ddp_packed_head {
    char magic[8];
    uint32_t order, version;
    uint32_t c, h, w, classes;
    uint64_t count[2]; /* of train, test */
    uint64_t names_bytes;
    uint64_t labels_at, pixels_at, tail_at, file_bytes;
    uint8_t reserved[1024 - 88 - 32];
    uint8_t sha256[32]; /* of the head before it, and of the names */
};

struct ddp_packed_tail {
    char magic[8];
    double mean[4], std[4]; /* of the training pictures, in [0, 1] units */
    uint8_t digest[2][32];  /* SHA-256 of each split: its labels, then its pixels */
    uint8_t reserved[24];
    uint8_t sha256[32]; /* of the tail before it */
};

_Static_assert(sizeof(struct ddp_packed_head) == DDP_PACKED_HEAD_BYTES, "the head has no holes");
_Static_assert(sizeof(struct ddp_packed_tail) == 192, "the tail has no holes");

/* Fill in the places of everything from c, h, w, count and names_bytes; false when they do not fit into 63
 * bits. */
bool ddp_packed_layout(struct ddp_packed_head *head);
void ddp_packed_seal_head(struct ddp_packed_head *head, const char *names);
void ddp_packed_seal_tail(struct ddp_packed_tail *tail);

#endif
