/* How a run goes on: a leg of it in the same directory, a new run that forks off, or nothing left to do.
 * Decided by the lead, before any file is touched. Private to src/train. */
#ifndef DDP_TRAIN_LEG_H
#define DDP_TRAIN_LEG_H

#include "telemetry/telemetry.h"

enum ddp_leg_kind {
    DDP_LEG_NEW,    /* a run from the start, in a directory of its own */
    DDP_LEG_APPEND, /* the same experiment goes on in its directory */
    DDP_LEG_FORK,   /* a new directory whose record names its parent */
    DDP_LEG_OVER,   /* finished: its files stay as they are */
};

struct ddp_leg {
    enum ddp_leg_kind kind;
    char run[1024];  /* that the checkpoint lies in; "": in none */
    char why[2048];  /* of a fork, in words */
    bool other_test; /* the held-out data differ: what was the best before is not comparable */
    int nchanges;    /* keys that differ: of a fork those that affect results, else all */
    struct ddp_key_change *change;
    struct ddp_arena *arena; /* of the changes */
};

struct ddp_trainer;

/* From t's config, data and state (of the checkpoint t->resumed_from, when there is one). nothing_left: no
 * step and no evaluation is. Errors: DDP_E_USAGE where other result-keys could change nothing any more. */
int ddp_leg_decide(struct ddp_trainer *t, bool nothing_left, struct ddp_leg *leg, struct ddp_error *err);
void ddp_leg_finish(struct ddp_leg *leg);

#endif
