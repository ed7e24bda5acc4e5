/* State between its owners and others, between steps: the same parts as the results of a step, from and to
 * any array that each node has a copy of. */
#include <stdlib.h>

#include "reduce/host_private.h"
#include "reduce/move.h"
#include "reduce/tags.h"

/* Whether node `from` sends what node `owner` owns to node `to`. */
static bool is_sent(enum ddp_reduce_way way, int owner, int from, int to)
{
    switch (way) {
    case DDP_REDUCE_TO_ALL:
        return from == owner && to != owner;
    case DDP_REDUCE_TO_FIRST:
        return from == owner && owner != 0 && to == 0;
    case DDP_REDUCE_FROM_FIRST:
        return from == 0 && owner != 0 && to == owner;
    }
    return false;
}

int ddp_reduce_move(struct ddp_reduce *r, float *array, enum ddp_reduce_way way, struct ddp_error *err)
{
    return ddp_reduce_move_parts(&r->layout, r->comm, array, way, err);
}

int ddp_reduce_move_parts(const struct ddp_reduce_layout *l, struct ddp_comm *comm, float *array,
                          enum ddp_reduce_way way, struct ddp_error *err)
{
    const struct ddp_reduce_place place = ddp_reduce_layout_place(l, comm->seat);
    struct ddp_exchange *x = NULL;
    const int me = place.node;
    if (l->nodes == 1 || place.member > 0)
        return 0;
    struct ddp_message *list = ddp_calloc(2 * (size_t)l->buckets * (size_t)l->nodes, sizeof *list);
    int n = 0;
    for (int64_t b = 0; b < l->buckets; b++)
        for (int owner = 0; owner < l->nodes; owner++) {
            const struct ddp_range part = ddp_reduce_layout_part(l, b, place.lane, owner);
            for (int other = 0; other < l->nodes && ddp_range_size(part) > 0; other++) {
                const bool send = is_sent(way, owner, me, other);
                if (send || is_sent(way, owner, other, me))
                    list[n++] =
                        (struct ddp_message){comm->rank_at[ddp_reduce_layout_port(l, place.lane, other)],
                                             send, array + part.lo * DDP_BLOCK,
                                             (size_t)ddp_range_size(part) * DDP_BLOCK * sizeof(float)};
            }
        }
    int code = ddp_exchange_create(comm, list, n, DDP_TAG_MOVE, &x, err);
    free(list);
    if (code == 0)
        code = ddp_exchange_begin(x, err);
    if (code == 0)
        code = ddp_exchange_finish(x, err);
    ddp_exchange_destroy(x);
    return code;
}
