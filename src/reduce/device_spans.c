/* Which parts of the flat space other ranks read in fp32 beside the compute type, and where these lie in the
 * rows that ranks send: one row a rank, as long as that of the rank that has most. A function of the conf. */
#include <stdlib.h>

#include "reduce/device_private.h"

/* [blocks without the metrics]: elements of each that are read in fp32. */
static int32_t *read_in_fp32(const struct ddp_flat *flat, const bool *masters)
{
    int32_t *count = ddp_calloc((size_t)(flat->metrics / DDP_BLOCK), sizeof *count);
    for (int t = 0; t < flat->ntensors; t++) {
        const int64_t size = (flat->tensor[t].size + 3) / 4 * 4, first = flat->tensor[t].offset / DDP_BLOCK;
        if (t < flat->ntrained && masters && !masters[t])
            continue;
        for (int64_t at = 0; at < size; at += DDP_BLOCK)
            count[first + at / DDP_BLOCK] = (int32_t)(size - at < DDP_BLOCK ? size - at : DDP_BLOCK);
    }
    return count;
}

/* Of one rank, behind those that there are; returns the elements of its row. */
static int64_t add_spans(struct ddp_gpu_reduce *r, int rank, const int32_t *count)
{
    const struct ddp_range blocks = {0, r->conf.flat->metrics / DDP_BLOCK};
    int64_t row = 0;
    for (int64_t b = 0; b < r->layout.buckets; b++) {
        const struct ddp_range its = ddp_range_clip(ddp_reduce_layout_slice(&r->layout, b, rank), blocks);
        for (int64_t i = its.lo; i < its.hi; i++) {
            if (count[i] == 0)
                continue;
            r->span[r->spans++] = (struct ddp_gpu_span){.flat = i * DDP_BLOCK, .row = row, .count = count[i]};
            row += count[i];
        }
    }
    return row;
}

void ddp_gpu_reduce_plan_spans(struct ddp_gpu_reduce *r, const bool *masters)
{
    const int64_t blocks = r->conf.flat->metrics / DDP_BLOCK;
    if (ddp_gpu_reduce_alone(r) || r->conf.type == DDP_GPU_F32)
        return;
    int32_t *count = read_in_fp32(r->conf.flat, masters);
    struct ddp_range *its = ddp_calloc((size_t)r->conf.size, sizeof *its);
    r->span = ddp_calloc((size_t)blocks, sizeof *r->span);
    for (int rank = 0; rank < r->conf.size; rank++) {
        its[rank].lo = r->spans;
        const int64_t row = add_spans(r, rank, count);
        its[rank].hi = r->spans;
        r->row = row > r->row ? row : r->row;
    }
    for (int rank = 0; rank < r->conf.size; rank++)
        for (int64_t i = its[rank].lo; i < its[rank].hi; i++)
            r->span[i].row += ddp_reduce_layout_slot(&r->layout, rank) * r->row;
    r->my_spans = its[r->conf.rank];
    free(its);
    free(count);
}
