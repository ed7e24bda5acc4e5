/* SHA-256 (nettle) and a small hash for keys. */
#ifndef DDP_BASE_HASH_H
#define DDP_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <nettle/sha2.h>

struct ddp_sha256 {
    struct sha256_ctx ctx;
};

void ddp_sha256_init(struct ddp_sha256 *h);
void ddp_sha256_update(struct ddp_sha256 *h, const void *data, size_t bytes);
void ddp_sha256_hex(struct ddp_sha256 *h, char hex[65]);                    /* also restarts it */
void ddp_sha256_bytes(struct ddp_sha256 *h, uint8_t *digest, size_t bytes); /* the first of 32; restarts it */

/* FNV-1a of a string, 32 bits: key of a tensor or layer in random numbers. */
uint32_t ddp_name_hash(const char *name);

#endif
