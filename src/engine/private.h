/* Private to src/engine: the engines there are. */
#ifndef DDP_ENGINE_PRIVATE_H
#define DDP_ENGINE_PRIVATE_H

#include "engine/engine.h"

extern const struct ddp_engine_ops ddp_engine_cpu; /* cpu/engine.c */
extern const struct ddp_engine_ops ddp_engine_gpu; /* gpu/engine.c */

/* digest.c: the memory for digests; collective, and local. */
int ddp_engine_board_create(struct ddp_engine *e, struct ddp_error *err);
void ddp_engine_board_destroy(struct ddp_engine *e);

#endif
