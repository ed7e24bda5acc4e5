/* One rank: every collective is done as soon as it is called, and there is nobody to send messages to. */
#include <string.h>

#include "comm/memory.h"
#include "comm/transport.h"

static int self_barrier(void *self, struct ddp_error *err)
{
    (void)self, (void)err;
    return 0;
}

static int self_bcast(void *self, void *buf, size_t bytes, int root, struct ddp_error *err)
{
    (void)self, (void)buf, (void)bytes, (void)root, (void)err;
    return 0;
}

static int self_allgather(void *self, const void *in, void *out, size_t bytes, struct ddp_error *err)
{
    (void)self, (void)err;
    memmove(out, in, bytes);
    return 0;
}

static int self_shared_alloc(void *self, size_t bytes, void **out, struct ddp_error *err)
{
    (void)self;
    int code = ddp_memory_check("", bytes, "gradients and parameters", err);
    if (code != 0)
        return code;
    *out = ddp_pages_alloc(bytes);
    return *out != NULL ? 0 : ddp_fail(err, DDP_E_RESOURCE, "the system refused %zu bytes of memory", bytes);
}

static void self_shared_free(void *self, void *base, size_t bytes)
{
    (void)self;
    ddp_pages_free(base, bytes);
}

static int self_allreduce_begin(void *self, float *buf, size_t count, void **request, struct ddp_error *err)
{
    (void)count, (void)err;
    *request = buf != NULL ? (void *)buf : self;
    return 0;
}

static int self_allreduce_end(void *self, void *request, struct ddp_error *err)
{
    (void)self, (void)request, (void)err;
    return 0;
}

/* There is nobody else to end; the program goes on to its own exit. */
static void self_abort(void *self, int status)
{
    (void)self, (void)status;
}

static void self_destroy(void *self)
{
    (void)self;
}

static const struct ddp_comm_ops self_ops = {
    .name = "self",
    .caps = DDP_COMM_ALLREDUCE,
    .barrier = self_barrier,
    .bcast = self_bcast,
    .allgather = self_allgather,
    .shared_alloc = self_shared_alloc,
    .shared_free = self_shared_free,
    .allreduce_begin = self_allreduce_begin,
    .allreduce_end = self_allreduce_end,
    .abort = self_abort,
    .destroy = self_destroy,
};

int ddp_comm_self_create(struct ddp_comm **out, struct ddp_error *err)
{
    static char state; /* an address to hand out as the request of an empty all-reduce */
    int code = ddp_comm_wrap(&self_ops, &state, 0, 1, out, err);
    if (code == 0)
        (*out)->spin = DDP_COMM_SPIN; /* for what else a rank waits on: its threads */
    return code;
}
