/* Private to src/engine: the engines there are. */
#ifndef DDP_ENGINE_PRIVATE_H
#define DDP_ENGINE_PRIVATE_H

#include "engine/engine.h"

extern const struct ddp_engine_ops ddp_engine_cpu; /* cpu/engine.c */
extern const struct ddp_engine_ops ddp_engine_gpu; /* gpu/engine.c */

#endif
