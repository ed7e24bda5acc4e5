/* Private to src/engine: the engines there are. */
#ifndef DDP_ENGINE_PRIVATE_H
#define DDP_ENGINE_PRIVATE_H

#include "engine/engine.h"

extern const struct ddp_engine_ops ddp_engine_cpu; /* cpu/engine.c */
extern const struct ddp_engine_ops ddp_engine_gpu; /* gpu/engine.c */

/* Elements of a bucket: reduce.bucket_mb, or where that is 0 what this engine takes, in MB. */
static inline int64_t ddp_engine_bucket(const struct ddp_config *cfg, double otherwise)
{
    const double mb = cfg->reduce.bucket_mb > 0 ? cfg->reduce.bucket_mb : otherwise;
    return (int64_t)(mb * 1e6 / sizeof(float));
}

/* digest.c: the memory for digests; collective, and local. */
int ddp_engine_board_create(struct ddp_engine *e, struct ddp_error *err);
void ddp_engine_board_destroy(struct ddp_engine *e);

#endif
