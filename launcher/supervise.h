/* Watching over a running job: whoever dies first ends it, is named, and nothing is left behind. */
#ifndef DDP_LAUNCHER_SUPERVISE_H
#define DDP_LAUNCHER_SUPERVISE_H

#include "launcher/starter.h"

/* Start the job's ranks through the starter and stay until the end. Output of the ranks goes to our stdout
 * and stderr, the reason of a failure to stderr, rank 0's result to stdout. *exit_code is the job's; an
 * error only when nothing could be started. The caller has opened the job and started the janitor. */
int ddp_supervise_job(const struct ddp_starter *starter, const struct ddp_job *job, bool quiet,
                      int *exit_code, struct ddp_error *err);

#endif
