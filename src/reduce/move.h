/* Host arrays between nodes, for both executors. */
#ifndef DDP_REDUCE_MOVE_H
#define DDP_REDUCE_MOVE_H

#include "reduce/layout.h"
#include "reduce/reduce.h"

/* ddp_reduce_move() for whoever has this layout; its ranks are the seats of comm. */
int ddp_reduce_move_parts(const struct ddp_reduce_layout *l, struct ddp_comm *comm, float *array,
                          enum ddp_reduce_way way, struct ddp_error *err);

#endif
