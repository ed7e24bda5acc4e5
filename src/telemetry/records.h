/* Files of one JSON record a line, each with a "step". Private to src/telemetry. */
#ifndef DDP_TELEMETRY_RECORDS_H
#define DDP_TELEMETRY_RECORDS_H

#include "telemetry/telemetry.h"

/* Open for appending; the file exists with its first line `head` ("" or a whole line) from now on, also after
 * a power cut (once `later` is settled). from: a resumed run goes on in the same file; what comes after is
 * dropped, and so is what a crash or power cut tore. NULL: the file starts anew. */
int ddp_records_open(const char *path, const char *head, const struct ddp_records_from *from,
                     struct ddp_later *later, int *fd, struct ddp_error *err);

#endif
