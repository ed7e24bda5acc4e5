/* What owners have updated, to all ranks: each gets what it reads. Passes read the parameters in the compute
 * type, as their owner has rounded them, and a few tensors in fp32: biases, norms, running statistics. Those
 * are small and lie scattered, each in blocks of its own, so their elements alone travel, packed:
 *
 *     weights   [ . . . | my slice | . . . ]     bucket after bucket, all-gather in place  2 bytes an element
 *     rows      [ rank a | me | rank b | . . ]   once a step, with the last bucket         4 bytes an element
 *
 * Where the compute type is F32 the parameters themselves are what goes. */
#include "ops/point/point_kernels.h"
#include "reduce/device_private.h"

/* ---- publishing ---- */

struct arrays { /* over the flat space, on the device */
    float *params;
    void *weights;
};

static void move_spans(struct ddp_gpu_reduce *r, const struct arrays *a, struct ddp_range spans, bool pack)
{
    const struct ddp_gpu_spans_args args = {.span = (struct ddp_gpu_span *)r->at[DDP_REGION_SPANS] + spans.lo,
                                            .spans = ddp_range_size(spans),
                                            .flat = a->params,
                                            .rows = r->at[DDP_REGION_ROWS],
                                            .pack = pack};
    if (args.spans > 0)
        r->api->kernels->flat->move_spans(r->side, &args);
}

/* A bucket, statistics included, and the metrics, which are the same everywhere already: without them their
 * bucket would not be of equal slices. */
static void spread(struct ddp_gpu_reduce *r, int64_t b, const struct arrays *a, unsigned with)
{
    const struct ddp_range all = {0, r->layout.blocks};
    const size_t bytes = DDP_BLOCK * ddp_gpu_type_bytes(r->conf.type);
    const bool rows = with & DDP_GPU_WITH_ROWS;
    if (rows)
        move_spans(r, a, r->my_spans, true);
    ddp_gpu_wire_spread(r, b, all, r->conf.type == DDP_GPU_F32 ? a->params : a->weights,
                        (int64_t)(bytes / sizeof(float)), with);
    if (rows)
        move_spans(r, a, (struct ddp_range){0, r->spans}, false);
}

void ddp_gpu_reduce_publish(struct ddp_gpu_reduce *r, int64_t b, bool last)
{
    const struct arrays a = {r->at[DDP_REGION_PARAMS], r->at[DDP_REGION_WEIGHTS]};
    spread(r, b, &a, last ? DDP_GPU_WITH_REFUSED | DDP_GPU_WITH_ROWS : 0);
}

/* ---- averages ---- */

/* What I update of a bucket. */
static void unfold(struct ddp_gpu_reduce *r, int64_t b, const float *kept, const struct arrays *a)
{
    const struct ddp_gpu_reduce_bucket *k = &r->bucket[b];
    const struct ddp_range mine = ddp_gpu_reduce_trained(r, ddp_range_elements(k->mine));
    if (mine.lo == mine.hi)
        return;
    r->api->copy(r->side, a->params + mine.lo, kept + k->kept, (size_t)ddp_range_size(mine) * sizeof *kept);
    const struct ddp_gpu_cast_args cast = {.type = r->conf.type,
                                           .count = ddp_range_size(mine),
                                           .f = a->params + mine.lo,
                                           .t = (char *)a->weights +
                                                (size_t)mine.lo * ddp_gpu_type_bytes(r->conf.type)};
    if (r->conf.type != DDP_GPU_F32)
        r->api->kernels->point->cast_from_float(r->side, &cast);
}

void ddp_gpu_reduce_gather(struct ddp_gpu_reduce *r, const float *kept, float *full, void *weights)
{
    const struct arrays a = {full, weights};
    const int64_t stats = r->conf.flat->stats;
    r->api->copy(r->side, full + stats, (float *)r->at[DDP_REGION_PARAMS] + stats,
                 (size_t)(r->total - stats) * sizeof *full);
    for (int64_t b = 0; b < r->layout.buckets; b++)
        unfold(r, b, kept, &a);
    for (int64_t b = 0; b < r->layout.buckets; b++)
        spread(r, b, &a, b + 1 == r->layout.buckets ? DDP_GPU_WITH_ROWS : 0);
    r->api->record(r->done, r->side);
    r->api->wait(r->compute, r->done);
}
