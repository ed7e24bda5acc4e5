/* The face of src/base: errors, logging, memory, hashing, random numbers, files, threads, waiting. Depends on
 * nothing. */
#ifndef DDP_BASE_H
#define DDP_BASE_H

#include <stdbool.h>

#include "ddp/error.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/commands.h"
#include "base/error.h"
#include "base/fileio.h"
#include "base/fmath.h"
#include "base/hash.h"
#include "base/later.h"
#include "base/log.h"
#include "base/manual.h"
#include "base/philox.h"
#include "base/pool.h"
#include "base/pulse.h"
#include "base/range.h"
#include "base/lifeline.h"
#include "base/ranks.h"
#include "base/startup.h"
#include "base/streams.h"
#include "base/text.h"
#include "base/wait.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "numbers go into checkpoints and hashes as they lie in memory: ddp needs a little-endian machine"
#endif

#define DDP_COUNT(array) (sizeof(array) / sizeof((array)[0]))

#endif
