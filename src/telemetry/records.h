/* Files of one JSON record a line, each with a "step". Private to src/telemetry. */
#ifndef DDP_TELEMETRY_RECORDS_H
#define DDP_TELEMETRY_RECORDS_H

#include "base/base.h"

/* Open for appending; the file exists with its first line `head` ("" or a whole line) from now on, also after
 * a power cut. append: a resumed run goes on in the same file; records after `step` are dropped (they are
 * done again), with `owed` the evaluations of `step` too, and so is what a crash or power cut tore. Else the
 * file starts anew. */
int ddp_records_open(const char *path, const char *head, bool append, int64_t step, bool owed, int *fd,
                     struct ddp_error *err);

#endif
