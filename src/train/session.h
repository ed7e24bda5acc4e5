/* A process's part in a job, behind the public interface (ddp/ddp.h) and ddp-train. Private to the
 * project. */
#ifndef DDP_SESSION_H
#define DDP_SESSION_H

#include "train/train.h"

struct ddp_session {
    struct ddp_comm *comm;
    struct ddp_config *cfg;
    bool placed; /* by ddp-launch */
    struct ddp_place place;
    int cpus; /* not placed: this rank's share */
    int argc; /* the user's command, for run.json */
    const char **command;
    struct ddp_arena *arena;
    double started;
    const char *resume, *eval_only; /* borrowed from argv; NULL: no */
    bool quiet, relock;
    bool speaks; /* this rank reports the error that the last call returned */
    int status;  /* of the last call: what this rank ends with */
    int failed;  /* code of a failure that the others do not share: close aborts them */
};

#endif
