/* What a reduction on a device needs: allocated and uploaded before step 0. */
#include "reduce/device_private.h"

#include <stdlib.h>
#include <string.h>

static int allocate(struct ddp_gpu_reduce *r, struct ddp_error *err)
{
    int status = r->api->alloc_pinned(r->gpu, DDP_GPU_PINNED, &r->transfer.pinned, err);
    for (int i = 0; status == 0 && i < DDP_REGIONS; i++)
        if (r->bytes[i] > 0)
            status = r->api->alloc(r->gpu, r->bytes[i], &r->at[i], err);
    if (status == 0)
        status = r->api->stream_create(r->gpu, true, &r->side, err);
    if (status == 0)
        status = r->api->event_create(r->gpu, &r->losses, err);
    if (status == 0)
        status = r->api->event_create(r->gpu, &r->done, err);
    for (int64_t b = 0; status == 0 && b < r->layout.buckets; b++)
        status = r->api->event_create(r->gpu, &r->bucket[b].complete, err);
    r->transfer.stream = r->side;
    if (status)
        ddp_error_prefix(err, "reduction on the device");
    return status;
}

/* How the tree over all shards is walked, and where their leaves lie in DDP_REGION_SMALL: rank after rank in
 * the order of slices. */
static int upload_small(struct ddp_gpu_reduce *r, struct ddp_error *err)
{
    const int shards = r->conf.shards, most = ddp_gpu_reduce_most(r);
    int32_t *merges = ddp_calloc(2 * (size_t)shards, sizeof *merges), *place = merges + shards;
    for (int rank = 0; rank < r->conf.size; rank++) {
        const struct ddp_range its = ddp_reduce_layout_shards(&r->layout, rank);
        for (int s = (int)its.lo; s < its.hi; s++) {
            merges[s] = ddp_tree_merges_after(shards, 0, s, s + 1);
            place[s] = ddp_reduce_layout_slot(&r->layout, rank) * most + (s - (int)its.lo);
        }
    }
    const int status = ddp_gpu_upload(&r->transfer, r->at[DDP_REGION_SMALL_MERGES], merges,
                                      2 * (size_t)shards * sizeof *merges, err);
    free(merges);
    return status;
}

static int upload_merges(struct ddp_gpu_reduce *r, struct ddp_error *err)
{
    const int all = r->nodes + r->inputs + r->terms;
    int32_t *merges = ddp_calloc((size_t)all, sizeof *merges);
    int32_t *inner = merges + r->nodes, *terms = inner + r->inputs;
    for (int i = 0; i < r->nodes; i++)
        merges[i] = r->node[i].merges;
    for (int i = 0; i < r->inputs; i++)
        inner[i] = r->input[i].inner;
    for (int i = 0; i < r->terms; i++)
        terms[i] = r->several ? r->term[i].merges : r->input[i].merges;
    int status =
        ddp_gpu_upload(&r->transfer, r->at[DDP_REGION_MERGES], merges, (size_t)all * sizeof *merges, err);
    free(merges);
    return status == 0 && r->conf.small_width > 0 ? upload_small(r, err) : status;
}

static int upload_nodes(struct ddp_gpu_reduce *r, struct ddp_error *err)
{
    const size_t row = (size_t)r->inputs + 2 * (size_t)r->terms + 1, n = (size_t)r->layout.buckets * row;
    const float **host = ddp_calloc(n, sizeof *host);
    const float *const *device = r->at[DDP_REGION_NODE];
    for (int64_t b = 0; b < r->layout.buckets; b++) {
        struct ddp_gpu_reduce_bucket *k = &r->bucket[b];
        const int64_t lo = k->mine.lo * DDP_BLOCK, stats = r->conf.flat->stats;
        const float **inputs = host + (size_t)b * row, **to = inputs + r->inputs;
        k->inputs = device + (size_t)b * row;
        k->trained = k->inputs + r->inputs;
        k->stats = k->trained + r->terms;
        k->summed = k->stats + r->terms;
        for (int i = 0; i < r->inputs; i++)
            inputs[i] = ddp_gpu_reduce_input_at(r, k, i, k->share.lo * DDP_BLOCK);
        if (k->mine.lo == k->mine.hi)
            continue;
        for (int i = 0; i < r->terms; i++) {
            to[i] = ddp_gpu_reduce_term_at(r, k, i, lo);
            to[r->terms + i] = ddp_gpu_reduce_term_at(r, k, i, lo > stats ? lo : stats);
        }
        to[2 * r->terms] = ddp_gpu_reduce_buffer(r, 0) + (lo > stats ? lo : stats);
    }
    int status = ddp_gpu_upload(&r->transfer, r->at[DDP_REGION_NODE], host, n * sizeof *host, err);
    free(host);
    return status;
}

static int upload_guard(struct ddp_gpu_reduce *r, struct ddp_error *err)
{
    const float **host = ddp_calloc((size_t)r->nodes, sizeof *host);
    for (int i = 0; i < r->nodes; i++)
        host[i] = ddp_gpu_reduce_metrics_at(r, &r->node[i]);
    const int status = ddp_gpu_upload(&r->transfer, r->at[DDP_REGION_GUARD_NODE], host,
                                      (size_t)r->nodes * sizeof *host, err);
    free(host);
    return status;
}

static void fill_guard(struct ddp_gpu_reduce *r)
{
    r->guard = (struct ddp_gpu_guard_args){
        .nodes = {r->nodes, r->at[DDP_REGION_GUARD_NODE], r->at[DDP_REGION_MERGES]},
        .scale = r->at[DDP_REGION_SCALE],
        .metrics = (float *)r->at[DDP_REGION_PARAMS] + r->conf.flat->metrics,
    };
}

int ddp_gpu_reduce_create(const struct ddp_gpu_reduce_conf *conf, const struct ddp_gpu_api *api,
                          struct ddp_gpu *gpu, struct ddp_gpu_comm *comm, struct ddp_gpu_stream *compute,
                          struct ddp_gpu_reduce **out, struct ddp_error *err)
{
    int status = ddp_gpu_reduce_check(conf, comm, err);
    if (status)
        return status;
    struct ddp_gpu_reduce *r = ddp_calloc(1, sizeof *r);
    r->api = api;
    r->gpu = gpu;
    r->comm = comm;
    r->compute = compute;
    r->transfer = (struct ddp_gpu_transfer){.api = api, .gpu = gpu, .comm = comm};
    ddp_gpu_reduce_plan(r, conf);
    const struct ddp_range metrics = {conf->flat->metrics / DDP_BLOCK, conf->flat->total / DDP_BLOCK};
    ddp_ledger_init(&r->ledger, &(struct ddp_ledger_conf){&r->layout, &r->schedule, conf->rank, metrics});
    const float start = conf->loss_scale > 0 ? (float)conf->loss_scale : 1;
    status = allocate(r, err);
    if (status == 0)
        status = upload_merges(r, err);
    if (status == 0)
        status = upload_nodes(r, err);
    if (status == 0)
        status = upload_guard(r, err);
    if (status == 0 && r->spans > 0)
        status = ddp_gpu_upload(&r->transfer, r->at[DDP_REGION_SPANS], r->span,
                                (size_t)r->spans * sizeof *r->span, err);
    if (status == 0)
        status = ddp_gpu_upload(&r->transfer, r->at[DDP_REGION_SCALE],
                                &(struct ddp_gpu_scale){.scale = start, .inverse = 1 / start},
                                sizeof(struct ddp_gpu_scale), err);
    if (status) {
        ddp_gpu_reduce_destroy(r);
        return status;
    }
    fill_guard(r);
    *out = r;
    return 0;
}

void ddp_gpu_reduce_destroy(struct ddp_gpu_reduce *r)
{
    if (!r)
        return;
    for (int64_t b = r->layout.buckets - 1; b >= 0; b--)
        if (r->bucket[b].complete)
            r->api->event_destroy(r->bucket[b].complete);
    if (r->done)
        r->api->event_destroy(r->done);
    if (r->losses)
        r->api->event_destroy(r->losses);
    if (r->side)
        r->api->stream_destroy(r->side);
    for (int i = DDP_REGIONS - 1; i >= 0; i--)
        r->api->release(r->gpu, r->at[i]);
    r->api->release_pinned(r->gpu, r->transfer.pinned);
    ddp_ledger_finish(&r->ledger);
    ddp_gpu_reduce_unplan(r);
    free(r);
}

int ddp_gpu_reduce_first_shard(const struct ddp_gpu_reduce *r)
{
    return r->schedule.first;
}

int ddp_gpu_reduce_last_shard(const struct ddp_gpu_reduce *r)
{
    return r->schedule.last;
}

float *ddp_gpu_reduce_params(struct ddp_gpu_reduce *r)
{
    return r->at[DDP_REGION_PARAMS];
}

void *ddp_gpu_reduce_weights(struct ddp_gpu_reduce *r)
{
    return r->conf.type == DDP_GPU_F32 ? r->at[DDP_REGION_PARAMS] : r->at[DDP_REGION_WEIGHTS];
}

const struct ddp_gpu_scale *ddp_gpu_reduce_scale(const struct ddp_gpu_reduce *r)
{
    return r->conf.loss_scale > 0 ? r->at[DDP_REGION_SCALE] : NULL;
}

struct ddp_gpu_scale *ddp_gpu_reduce_guard(struct ddp_gpu_reduce *r)
{
    return r->at[DDP_REGION_SCALE];
}

int32_t *ddp_gpu_reduce_refused(struct ddp_gpu_reduce *r)
{
    const int row = ddp_gpu_reduce_alone(r) ? 0 : ddp_reduce_layout_slot(&r->layout, r->conf.rank);
    return (int32_t *)r->at[DDP_REGION_REFUSED] + row * DDP_GPU_REFUSED;
}

const int32_t *ddp_gpu_reduce_refusals(const struct ddp_gpu_reduce *r, int *rows)
{
    *rows = ddp_gpu_reduce_rows(r);
    return r->at[DDP_REGION_REFUSED];
}

const struct ddp_gpu_transfer *ddp_gpu_reduce_transfer(const struct ddp_gpu_reduce *r)
{
    return &r->transfer;
}
