/* SHA-256 of bytes that come in pieces, and a 32-bit hash of names. */
#include "base/hash.h"

#include <nettle/nettle-types.h>

#include "ddp/dataset.h"

void ddp_sha256_init(struct ddp_sha256 *h)
{
    sha256_init(&h->ctx);
}

void ddp_sha256_update(struct ddp_sha256 *h, const void *data, size_t bytes)
{
    if (bytes)
        sha256_update(&h->ctx, bytes, data);
}

void ddp_sha256_hex(struct ddp_sha256 *h, char hex[65])
{
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_digest(&h->ctx, sizeof digest, digest);
    for (int i = 0; i < SHA256_DIGEST_SIZE; i++) {
        hex[2 * i] = "0123456789abcdef"[digest[i] >> 4];
        hex[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
    }
    hex[64] = '\0';
}

void ddp_sha256_bytes(struct ddp_sha256 *h, uint8_t *digest, size_t bytes)
{
    sha256_digest(&h->ctx, bytes, digest);
}

void ddp_sha256_text(const void *data, size_t bytes, char hex[65])
{
    struct ddp_sha256 h;
    ddp_sha256_init(&h);
    ddp_sha256_update(&h, data, bytes);
    ddp_sha256_hex(&h, hex);
}

uint32_t ddp_name_hash(const char *name)
{
    uint32_t h = 2166136261u;
    for (; *name; name++)
        h = (h ^ (unsigned char)*name) * 16777619u;
    return h;
}
