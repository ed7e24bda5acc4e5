/* All headers for authors in one: kept for programs that include it. Newer ones name what they need:
 * ddp/key.h, ddp/op.h, ddp/dataset.h. */
#ifndef DDP_EXTEND_H
#define DDP_EXTEND_H

#include "ddp/dataset.h"
#include "ddp/key.h"
#include "ddp/op.h"
#include "ddp/op_device.h"

#endif
