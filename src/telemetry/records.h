/* Files of one JSON record a line, each with a "step". Private to src/telemetry. */
#ifndef DDP_TELEMETRY_RECORDS_H
#define DDP_TELEMETRY_RECORDS_H

#include "base/base.h"

/* Open for appending. append: a resumed run goes on in the same file; records after `step`, and a line cut by
 * a crash, are dropped (they are done again). Else the file starts empty. */
int ddp_records_open(const char *path, bool append, int64_t step, int *fd, struct ddp_error *err);

#endif
