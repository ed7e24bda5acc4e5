/* The face of src/train: from a config to a finished run. trainer.c is the life of a run, step.c one step,
 * evaluate.c the held-out pass. What computes is an engine (engine/engine.h); nothing here asks which. */
#ifndef DDP_TRAIN_H
#define DDP_TRAIN_H

#include "checkpoint/checkpoint.h"
#include "ddp/ddp.h"
#include "engine/engine.h"
#include "telemetry/telemetry.h"
#include "topology/topology.h"

struct ddp_train_options {
    struct ddp_config *cfg;        /* borrowed */
    struct ddp_comm *comm;         /* borrowed */
    const struct ddp_place *place; /* where this rank runs; NULL: unplaced */
    int threads;                   /* of this rank */
    int argc;                      /* the user's command, for run.json */
    const char *const *command;
    const char *program;   /* of the user's own, absolute, for run.json; NULL: ddp-train, or not known */
    const char *resume;    /* run, checkpoint or "latest"; NULL: from the start */
    const char *eval_only; /* run, checkpoint, file or "latest": evaluate it and end; NULL: train */
    bool relock; /* what the engine of the resumed run chose, and does not fit here, is chosen anew */
    const struct ddp_engine_ops *engine; /* NULL: what the config asks for and this machine has */
    const char *map;                     /* placement as text for run.json; NULL none */
    const char *network;                 /* between hosts, for run.json; NULL none */
    double started;                      /* ddp_now() when the job began (the launcher's start) */
    struct ddp_hooks hooks;
    /* Out, may be NULL: on failure, whether all ranks return the same error (and can leave in order), or this
     * one is alone with it (and must abort the others). */
    bool *agreed;
};

/* Collective. DDP_E_STOPPED: stopped by request after saving; *result is filled in. */
int ddp_train_run(const struct ddp_train_options *opt, struct ddp_result *result, struct ddp_error *err);

#endif
