/* What ranks send each other on devices, all in one communicator whose ranks are numbered as slices are
 * (layout.h). Everything here is enqueued, on the side stream unless it says otherwise. Between two ranks
 * messages match in their order: tree node after tree node on both sides. */
#include "reduce/device_private.h"

static int number(const struct ddp_gpu_reduce *r, int rank)
{
    return ddp_reduce_layout_slot(&r->layout, rank);
}

/* Of a rank in a bucket, in elements that move. */
static struct ddp_range share(const struct ddp_gpu_reduce *r, int64_t b, int rank)
{
    return ddp_gpu_reduce_moved(r, ddp_range_elements(ddp_reduce_layout_share(&r->layout, b, rank)));
}

static struct ddp_range slice(const struct ddp_gpu_reduce *r, int64_t b, int rank)
{
    return ddp_gpu_reduce_moved(r, ddp_range_elements(ddp_reduce_layout_slice(&r->layout, b, rank)));
}

static void send(struct ddp_gpu_reduce *r, const float *from, struct ddp_range a, int rank)
{
    if (a.lo < a.hi)
        r->api->send(r->comm, r->side, from, (size_t)ddp_range_size(a), number(r, rank));
}

static void receive(struct ddp_gpu_reduce *r, float *to, struct ddp_range a, int rank)
{
    if (a.lo < a.hi)
        r->api->recv(r->comm, r->side, to, (size_t)ddp_range_size(a), number(r, rank));
}

/* ---- metrics ---- */

void ddp_gpu_wire_metrics(struct ddp_gpu_reduce *r)
{
    const int64_t metrics = r->conf.flat->metrics;
    if (r->conf.size == 1)
        return;
    for (int i = 0; i < r->nodes; i++)
        if (r->node[i].rank == r->conf.rank)
            r->api->copy(r->side, ddp_gpu_reduce_metrics_at(r, &r->node[i]),
                         ddp_gpu_reduce_buffer(r, r->node[i].buffer) + metrics,
                         DDP_GPU_METRICS * sizeof(float));
    if (r->conf.fast)
        r->api->allreduce(r->comm, r->side, r->at[DDP_REGION_GUARD], DDP_GPU_METRICS);
    else
        r->api->allgather(r->comm, r->side, r->at[DDP_REGION_GUARD], (size_t)r->rows * DDP_GPU_METRICS);
}

/* ---- gradients ---- */

void ddp_gpu_wire_inputs(struct ddp_gpu_reduce *r, int64_t b)
{
    const int *first = &r->layout.first[r->place.node];
    const struct ddp_range mine = share(r, b, r->conf.rank);
    r->api->group_begin(r->comm);
    for (int i = 0; i < r->inputs; i++) {
        const struct ddp_gpu_reduce_node *n = &r->input[i];
        if (n->slot >= 0)
            receive(r, ddp_gpu_reduce_input_at(r, &r->bucket[b], i, mine.lo), mine, n->rank);
        for (int rank = first[0]; n->slot < 0 && rank < first[1]; rank++) {
            const struct ddp_range theirs = share(r, b, rank);
            if (rank != r->conf.rank)
                send(r, ddp_gpu_reduce_buffer(r, n->buffer) + theirs.lo, theirs, rank);
        }
    }
    r->api->group_end(r->comm);
}

/* My node's sums to a rank of my lane. */
static void send_covers(struct ddp_gpu_reduce *r, int64_t b, int rank)
{
    const struct ddp_range a = ddp_range_clip(share(r, b, r->conf.rank), slice(r, b, rank));
    for (int i = 0; i < r->covers && rank != r->conf.rank; i++)
        send(r, ddp_gpu_reduce_cover_at(r, &r->bucket[b], i, a.lo), a, rank);
}

/* A term from those of its node that have summed it, in my lane. */
static void receive_term(struct ddp_gpu_reduce *r, int64_t b, int i)
{
    const struct ddp_reduce_layout *l = &r->layout;
    const struct ddp_gpu_reduce_term *t = &r->term[i];
    const int members = ddp_reduce_layout_members(l, r->place.lane, t->node);
    for (int m = 0; t->row >= 0 && m < members; m++) {
        const int rank = ddp_reduce_layout_member(l, r->place.lane, t->node, m);
        const struct ddp_range a = ddp_range_clip(share(r, b, rank), slice(r, b, r->conf.rank));
        float *to = ddp_gpu_reduce_term_at(r, &r->bucket[b], i, a.lo);
        if (rank != r->conf.rank)
            receive(r, to, a, rank);
        else if (a.lo < a.hi)
            r->api->copy(r->side, to, ddp_gpu_reduce_cover_at(r, &r->bucket[b], t->nth, a.lo),
                         (size_t)ddp_range_size(a) * sizeof *to);
    }
}

void ddp_gpu_wire_covers(struct ddp_gpu_reduce *r, int64_t b)
{
    const struct ddp_reduce_layout *l = &r->layout;
    r->api->group_begin(r->comm);
    for (int node = 0; node < l->nodes; node++)
        for (int m = 0; m < ddp_reduce_layout_members(l, r->place.lane, node); m++)
            send_covers(r, b, ddp_reduce_layout_member(l, r->place.lane, node, m));
    for (int i = 0; i < r->terms; i++)
        receive_term(r, b, i);
    r->api->group_end(r->comm);
}

/* ---- what owners have ---- */

/* All ranks' slices are equal there, and lie in the order of the communicator. */
static bool is_even(const struct ddp_gpu_reduce *r, int64_t b, struct ddp_range within)
{
    const struct ddp_range all = ddp_range_clip(ddp_reduce_layout_bucket(&r->layout, b), within);
    const int64_t each = ddp_range_size(all) / r->conf.size;
    for (int rank = 0; rank < r->conf.size; rank++)
        if (each == 0 ||
            ddp_range_size(ddp_range_clip(ddp_reduce_layout_slice(&r->layout, b, rank), within)) != each)
            return false;
    return true;
}

/* One by one; within a group. */
static void spread_unequal(struct ddp_gpu_reduce *r, int64_t b, struct ddp_range within, float *array,
                           int64_t each)
{
    for (int rank = 0; rank < r->conf.size; rank++) {
        const struct ddp_range a = ddp_range_clip(ddp_reduce_layout_slice(&r->layout, b, rank), within);
        if (a.lo < a.hi)
            r->api->bcast(r->comm, r->side, array + a.lo * each, (size_t)(ddp_range_size(a) * each),
                          number(r, rank));
    }
}

void ddp_gpu_wire_spread(struct ddp_gpu_reduce *r, int64_t b, struct ddp_range within, void *array,
                         int64_t each, unsigned with)
{
    const struct ddp_range all = ddp_range_clip(ddp_reduce_layout_bucket(&r->layout, b), within);
    if (ddp_gpu_reduce_alone(r) || each == 0)
        return;
    const bool even = is_even(r, b, within), grouped = !even || with != 0;
    if (grouped)
        r->api->group_begin(r->comm);
    if (even)
        r->api->allgather(r->comm, r->side, (float *)array + all.lo * each,
                          (size_t)(ddp_range_size(all) / r->conf.size * each));
    else
        spread_unequal(r, b, within, array, each);
    if (with & DDP_GPU_WITH_REFUSED) /* moved as they are */
        r->api->allgather(r->comm, r->side, r->at[DDP_REGION_REFUSED], DDP_GPU_REFUSED);
    if (with & DDP_GPU_WITH_ROWS && r->row > 0)
        r->api->allgather(r->comm, r->side, r->at[DDP_REGION_ROWS], (size_t)r->row);
    if (grouped)
        r->api->group_end(r->comm);
}

/* ---- in the middle of a pass ---- */

/* Rows are as wide as what is asked for, so that a rank's lie in one piece, and all ranks have as many. */
void ddp_gpu_reduce_small(struct ddp_gpu_reduce *r, struct ddp_gpu_stream *stream, int width,
                          const double *leaves, double *out)
{
    const struct ddp_gpu_reduce_conf *c = &r->conf;
    const int64_t each = (int64_t)ddp_gpu_reduce_most(r) * width, slot = number(r, c->rank);
    const int32_t *merges = r->at[DDP_REGION_SMALL_MERGES];
    double *all = r->at[DDP_REGION_SMALL];
    if (c->size > 1) {
        r->api->copy(stream, all + slot * each, leaves,
                     (size_t)(r->schedule.last - r->schedule.first) * (size_t)width * sizeof *all);
        r->api->allgather(r->comm, stream, (float *)(void *)all, 2 * (size_t)each); /* moved as they are */
    }
    r->api->kernels->flat->sum_shards(
        stream, &(struct ddp_gpu_shards_args){.count = width,
                                              .shards = c->shards,
                                              .row = width,
                                              .leaves = c->size > 1 ? all : leaves,
                                              .place = c->size > 1 ? merges + c->shards : NULL,
                                              .merges = merges,
                                              .out = out});
}
