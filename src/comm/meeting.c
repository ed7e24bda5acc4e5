/* Barrier, broadcast, all-gather and all-reduce through memory that all ranks see. */
#include "comm/meeting.h"

#include <stdlib.h>
#include <string.h>

struct ddp_pending {
    float *buf;
    size_t count;
    bool used;
};

size_t ddp_meeting_bytes(int size)
{
    return sizeof(struct ddp_meeting) + ((size_t)size + 1) * DDP_STAGE_BYTES;
}

void ddp_attendee_finish(struct ddp_attendee *k)
{
    free(k->pending);
    k->pending = NULL;
}

static int say_ended(struct ddp_error *err)
{
    return ddp_fail(err, DDP_E_COMM, "another rank has ended the job");
}

static int meet(struct ddp_attendee *k, struct ddp_error *err)
{
    struct ddp_meeting *m = k->at;
    if (ddp_barrier_meet(&m->barrier, k->comm->size, k->comm->spin, &m->stop, &k->round))
        return 0;
    return say_ended(err);
}

/* Before a stage is written: when the job has ended, others may still read what we wrote before. */
static int begin(const struct ddp_attendee *k, struct ddp_error *err)
{
    return atomic_load_explicit(&k->at->stop, memory_order_acquire) ? say_ended(err) : 0;
}

int ddp_meeting_barrier(void *self, struct ddp_error *err)
{
    return meet(self, err);
}

int ddp_meeting_bcast(void *self, void *buf, size_t bytes, int root, struct ddp_error *err)
{
    struct ddp_attendee *k = self;
    int code = begin(k, err);
    if (code != 0)
        return code;
    for (size_t at = 0; at < bytes; at += DDP_STAGE_BYTES) {
        const size_t n = bytes - at < DDP_STAGE_BYTES ? bytes - at : DDP_STAGE_BYTES;
        if (k->comm->rank == root)
            memcpy(k->at->stage[root], (char *)buf + at, n);
        code = meet(k, err);
        if (code != 0)
            return code;
        if (k->comm->rank != root)
            memcpy((char *)buf + at, k->at->stage[root], n);
        code = meet(k, err);
        if (code != 0)
            return code;
    }
    return 0;
}

int ddp_meeting_allgather(void *self, const void *in, void *out, size_t bytes, struct ddp_error *err)
{
    struct ddp_attendee *k = self;
    int code = begin(k, err);
    if (code != 0)
        return code;
    for (size_t at = 0; at < bytes; at += DDP_STAGE_BYTES) {
        const size_t n = bytes - at < DDP_STAGE_BYTES ? bytes - at : DDP_STAGE_BYTES;
        memcpy(k->at->stage[k->comm->rank], (const char *)in + at, n);
        code = meet(k, err);
        if (code != 0)
            return code;
        for (int r = 0; r < k->comm->size; r++)
            memcpy((char *)out + (size_t)r * bytes + at, k->at->stage[r], n);
        code = meet(k, err);
        if (code != 0)
            return code;
    }
    return 0;
}

int ddp_meeting_allreduce_begin(void *self, float *buf, size_t count, void **request, struct ddp_error *err)
{
    struct ddp_attendee *k = self;
    (void)err;
    int slot = 0;
    while (slot < k->npending && k->pending[slot].used)
        slot++;
    if (slot == k->npending) {
        k->npending = 2 * k->npending + 8;
        k->pending = ddp_realloc(k->pending, (size_t)k->npending * sizeof *k->pending);
        memset(k->pending + slot, 0, (size_t)(k->npending - slot) * sizeof *k->pending);
    }
    k->pending[slot] = (struct ddp_pending){.buf = buf, .count = count, .used = true};
    *request = (void *)(uintptr_t)(slot + 1);
    return 0;
}

/* Each rank sums a part of every piece, ranks in order, and all read the sums. */
int ddp_meeting_allreduce_end(void *self, void *request, struct ddp_error *err)
{
    struct ddp_attendee *k = self;
    const int slot = (int)(uintptr_t)request - 1;
    const size_t ranks = (size_t)k->comm->size, me = (size_t)k->comm->rank;
    if (slot < 0 || slot >= k->npending || !k->pending[slot].used)
        return ddp_fail(err, DDP_E_USAGE, "transport '%s': end of an all-reduce that was not begun",
                        k->comm->ops->name);
    const struct ddp_pending p = k->pending[slot];
    k->pending[slot].used = false;
    const size_t most = DDP_STAGE_BYTES / sizeof(float);
    float *sum = (float *)(void *)k->at->stage[ranks];
    int code = begin(k, err);
    if (code != 0)
        return code;
    for (size_t at = 0; at < p.count; at += most) {
        const size_t n = p.count - at < most ? p.count - at : most;
        memcpy(k->at->stage[me], p.buf + at, n * sizeof *sum);
        code = meet(k, err);
        if (code != 0)
            return code;
        const size_t from = n * me / ranks, to = n * (me + 1) / ranks;
        memcpy(sum + from, (const float *)(const void *)k->at->stage[0] + from, (to - from) * sizeof *sum);
        for (size_t r = 1; r < ranks; r++) {
            const float *other = (const float *)(const void *)k->at->stage[r];
            for (size_t i = from; i < to; i++)
                sum[i] += other[i];
        }
        code = meet(k, err);
        if (code != 0)
            return code;
        memcpy(p.buf + at, sum, n * sizeof *sum);
    }
    return 0;
}

void ddp_meeting_abort(void *self, int status)
{
    struct ddp_attendee *k = self;
    (void)status;
    atomic_store_explicit(&k->at->stop, 1, memory_order_release);
}
