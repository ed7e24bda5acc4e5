/* The promise of the same bits, as far as a config can break it. Private to src/train. */
#ifndef DDP_TRAIN_PROMISE_H
#define DDP_TRAIN_PROMISE_H

#include "base/base.h"
#include "config/config.h"

enum { DDP_PROMISE_KEYS = 8 };

/* The keys by which cfg breaks it, whatever repro.level says; returns how many. */
int ddp_promise_broken(const struct ddp_config *cfg, const char *key[DDP_PROMISE_KEYS]);
/* repro.level = bitwise: a fault for each, in *err. */
void ddp_promise_check(const struct ddp_config *cfg, struct ddp_error *err);
/* repro.level = warn: a line for each. */
void ddp_promise_note(const struct ddp_config *cfg, struct ddp_text *notes);

#endif
