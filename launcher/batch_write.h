/* --batch: from a command line and its config to a job script, printed or handed in. */
#ifndef DDP_LAUNCHER_BATCH_WRITE_H
#define DDP_LAUNCHER_BATCH_WRITE_H

#include "config/config.h"
#include "launcher/options.h"

/* The script that opt->batch asks for, on standard output or (--submit) to the batch system, whose folder for
 * the job's log is made. DDP_E_USAGE, DDP_E_RESOURCE, DDP_E_IO. */
int ddp_batch_write(const struct ddp_options *opt, const struct ddp_config *cfg, struct ddp_error *err);

#endif
