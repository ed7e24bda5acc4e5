/* The face of src/base: errors, logging, memory, hashing, random numbers, files, threads, waiting. Depends on
 * nothing. */
#ifndef DDP_BASE_H
#define DDP_BASE_H

#include <stdbool.h>

#include "ddp/error.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/commands.h"
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

/* Put '?' in place of what a terminal would obey and not show: control characters but for newline and tab,
 * DEL, and the controls of U+0080 to U+009F. Names of files and words of other processes are shown through
 * it. */
void ddp_text_plain(char *s);
/* Put a text (an advice that only the caller knows) behind err's. */
void ddp_error_suffix(struct ddp_error *err, const char *text);
/* Whether err's text has no room for another line: ddp_error_add() then only says that there are more. */
bool ddp_error_is_full(const struct ddp_error *err);

#define DDP_COUNT(array) (sizeof(array) / sizeof((array)[0]))

#endif
