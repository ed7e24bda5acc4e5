/* What ddp-launch says of itself. */
#ifndef DDP_LAUNCHER_MANUAL_H
#define DDP_LAUNCHER_MANUAL_H

#include "base/base.h"

enum option_id {
    OPT_RANKS = 1,
    OPT_HOSTS,
    OPT_HOSTFILE,
    OPT_MAP_BY,
    OPT_THREADS,
    OPT_BIND,
    OPT_CHECK,
    OPT_RESTARTS,
    OPT_MAP,
    OPT_PRINT_CONFIG,
    OPT_DRY_RUN,
    OPT_QUIET,
    OPT_RESUME,
    OPT_EVAL,
    OPT_PROGRAM,
    OPT_STARTER,
    OPT_TUNE,
    OPT_RELOCK,
    OPT_BATCH, /* from here on they belong to --batch */
    OPT_SUBMIT,
    OPT_TIME,
    OPT_PARTITION,
    OPT_ACCOUNT,
    OPT_NODES,
    OPT_GPUS_PER_NODE,
    OPT_BATCH_ARG,
};

extern const struct ddp_manual ddp_launch_manual;

#endif
