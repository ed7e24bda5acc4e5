/* Fork and join of streams. */
#include "engine/gpu/branches.h"

int ddp_gpu_branches_create(struct ddp_gpu_branches *b, const struct ddp_gpu_api *api, struct ddp_gpu *gpu,
                            int n, struct ddp_error *err)
{
    *b = (struct ddp_gpu_branches){.api = api, .n = n};
    int status = n > 1 ? api->event_create(gpu, &b->forked, err) : 0;
    for (int i = 0; n > 1 && i < n && status == 0; i++) {
        status = api->stream_create(gpu, false, &b->stream[i], err);
        if (status == 0)
            status = api->event_create(gpu, &b->done[i], err);
    }
    return status;
}

void ddp_gpu_branches_destroy(struct ddp_gpu_branches *b)
{
    for (int i = 0; b->n > 1 && i < b->n; i++) {
        if (b->done[i])
            b->api->event_destroy(b->done[i]);
        if (b->stream[i])
            b->api->stream_destroy(b->stream[i]);
    }
    if (b->forked)
        b->api->event_destroy(b->forked);
    *b = (struct ddp_gpu_branches){0};
}

void ddp_gpu_branches_fork(const struct ddp_gpu_branches *b, struct ddp_gpu_stream *trunk, int n)
{
    if (b->n == 1)
        return;
    b->api->record(b->forked, trunk);
    for (int i = 0; i < b->n && i < n; i++)
        b->api->wait(b->stream[i], b->forked);
}

void ddp_gpu_branches_join(struct ddp_gpu_branches *b, struct ddp_gpu_stream *trunk)
{
    for (int i = 0; b->n > 1 && i < b->n; i++) {
        if (!b->busy[i])
            continue;
        b->api->record(b->done[i], b->stream[i]);
        b->api->wait(trunk, b->done[i]);
        b->busy[i] = false;
    }
}
