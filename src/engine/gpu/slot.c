/* A batch on its way to the device. */
#include <stdlib.h>
#include <string.h>

#include "engine/gpu/private.h"

struct ddp_gpu_layout ddp_gpu_slot_layout(int shards, int batch, size_t picture, size_t answer, bool resident)
{
    const size_t samples = (size_t)shards * (size_t)batch;
    struct ddp_gpu_layout l = {
        .shards = shards, .batch = batch, .picture = picture, .answer = answer, .resident = resident};
    l.n = ddp_gpu_align(sizeof(struct ddp_gpu_step));
    l.sample = l.n + ddp_gpu_align((size_t)shards * sizeof(int32_t));
    l.label = l.sample + ddp_gpu_align(samples * sizeof(int64_t));
    l.pixels = l.label + ddp_gpu_align(samples * answer);
    l.total = l.pixels + (resident ? 0 : ddp_gpu_align(samples * picture));
    return l;
}

struct ddp_gpu_layout ddp_gpu_slot_train_layout(struct ddp_gpu_engine *e, int batch, bool resident)
{
    const struct ddp_shape s = e->base.conf.test_set->info.shape;
    const bool mixed = e->base.conf.cfg->data.mixup > 0;
    const size_t floats = (size_t)s.c * (size_t)s.h * (size_t)s.w * sizeof(float);
    struct ddp_gpu_layout l = ddp_gpu_slot_layout(e->base.my_shards, batch, mixed ? floats : e->picture,
                                                  mixed ? sizeof(struct ddp_mixed) : e->answer, resident);
    l.mixed = mixed;
    if (mixed)
        e->base.form = DDP_LOADER_FLOATS;
    return l;
}

int ddp_gpu_slot_create(struct ddp_gpu_engine *e, const struct ddp_gpu_layout *l, struct ddp_gpu_slot *s,
                        struct ddp_error *err)
{
    void *host = NULL, *device = NULL, *result = NULL;
    const size_t outcome = sizeof(struct ddp_gpu_outcome) + (size_t)l->shards * sizeof(float);
    int status = e->api->alloc_pinned(e->gpu, l->total, &host, err);
    if (status == 0)
        status = e->api->alloc(e->gpu, l->total, &device, err);
    if (status == 0)
        status = e->api->alloc_pinned(e->gpu, outcome, &result, err);
    s->host = host;
    s->device = device;
    s->result_host = result;
    if (status == 0)
        status = e->api->event_create(e->gpu, &s->up, err);
    if (status == 0)
        status = e->api->event_create(e->gpu, &s->done, err);
    if (status)
        return status;
    memset(s->host, 0, l->total);
    s->shard = ddp_calloc((size_t)l->shards + 1, sizeof *s->shard);
    for (int i = 0; i < l->shards; i++) {
        const size_t at = (size_t)i * (size_t)l->batch;
        const void *answer = s->device + l->label + at * l->answer;
        s->shard[i] = (struct ddp_gpu_shard){
            .pixels = l->resident ? e->data : (const uint8_t *)s->device + l->pixels + at * l->picture,
            .resident = l->resident,
            .sample = (const int64_t *)(const void *)(s->device + l->sample) + at,
            .label = e->targets || l->mixed ? NULL : answer,
            .target = e->targets ? answer : NULL,
            .mixed = l->mixed ? answer : NULL,
            .n = (const int32_t *)(const void *)(s->device + l->n) + i};
    }
    return 0;
}

void ddp_gpu_slot_destroy(struct ddp_gpu_engine *e, struct ddp_gpu_slot *s)
{
    if (s->graph)
        e->api->graph_destroy(s->graph);
    if (s->up)
        e->api->event_destroy(s->up);
    if (s->done)
        e->api->event_destroy(s->done);
    e->api->release_pinned(e->gpu, s->result_host);
    e->api->release(e->gpu, s->device);
    e->api->release_pinned(e->gpu, s->host);
    free(s->shard);
    memset(s, 0, sizeof *s);
}

const struct ddp_gpu_step *ddp_gpu_slot_step(const struct ddp_gpu_slot *s)
{
    return (const struct ddp_gpu_step *)(const void *)s->device;
}

/* Shard i's part: what is behind its real samples keeps what it held, numbers all the same. */
static void fill_shard(const struct ddp_gpu_engine *e, const struct ddp_gpu_layout *l, struct ddp_gpu_slot *s,
                       int i, const struct ddp_shard *from)
{
    const size_t at = (size_t)i * (size_t)l->batch, n = (size_t)from->n;
    char *label = s->host + l->label + at * l->answer;
    ((int32_t *)(void *)(s->host + l->n))[i] = from->n;
    memcpy((int64_t *)(void *)(s->host + l->sample) + at, from->sample, n * sizeof *from->sample);
    if (l->resident) {
        for (size_t k = 0; k < n; k++)
            memcpy(label + k * l->answer, e->label + (size_t)from->sample[k] * l->answer, l->answer);
    } else {
        const void *answer = e->targets ? (const void *)from->target : from->label;
        const void *pixels = from->bytes;
        memcpy(label, l->mixed ? from->mixed : answer, n * l->answer);
        memcpy(s->host + l->pixels + at * l->picture, l->mixed ? from->pixels : pixels, n * l->picture);
    }
}

void ddp_gpu_slot_fill(struct ddp_gpu_engine *e, const struct ddp_gpu_layout *l, struct ddp_gpu_slot *s,
                       const struct ddp_batch *batch, const struct ddp_gpu_step *step)
{
    memcpy(s->host, step, sizeof *step);
    for (int i = 0; i < l->shards; i++)
        fill_shard(e, l, s, i, &batch->shard[i]);
    e->api->copy(e->copy, s->device, s->host, l->total);
    e->api->record(s->up, e->copy);
    e->api->wait(e->compute, s->up);
}
