/* What a rank notes of the time of its steps, and what all come to in the end. Private to src/train. */
#ifndef DDP_TRAIN_TIMES_H
#define DDP_TRAIN_TIMES_H

#include "comm/comm.h"
#include "telemetry/telemetry.h"

enum {
    DDP_TIMES_MOST = 1000,  /* steps of this process: the last ones */
    DDP_TIMES_THREADS = 64, /* whose delays are looked at */
};

struct ddp_train_times {
    struct ddp_step_time ring[DDP_TIMES_MOST]; /* of step i of this process at i % DDP_TIMES_MOST */
    int64_t steps;
    double now[DDP_TIME_REST];              /* of the step at hand */
    double delayed[DDP_TIMES_THREADS], cpu; /* when training began: of each thread, of this process */
};

/* Training begins; pool: this rank's threads. */
void ddp_train_times_begin(struct ddp_train_times *t, struct ddp_pool *pool);
/* The step at hand took `wall` seconds in all. */
void ddp_train_times_add(struct ddp_train_times *t, double wall);
/* Collective: all ranks have made the same steps. *out is filled in on the lead, its `rank` malloc'd; others
 * get ranks 0. */
int ddp_train_times_gather(struct ddp_train_times *t, struct ddp_pool *pool, struct ddp_comm *comm,
                           struct ddp_time_summary *out, struct ddp_error *err);

#endif
