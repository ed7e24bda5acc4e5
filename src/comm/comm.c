/* The face of comm: argument checks, agreement on errors, and the call into the transport. */
#include "comm/comm.h"

#include <stdlib.h>

#include "comm/transport.h"

int ddp_comm_wrap(const struct ddp_comm_ops *ops, void *self, int rank, int size, struct ddp_comm **out,
                  struct ddp_error *err)
{
    if (ops->name == NULL)
        return ddp_fail(err, DDP_E_USAGE, "transport: the table has no name");
    if (size < 1 || rank < 0 || rank >= size)
        return ddp_fail(err, DDP_E_USAGE, "transport '%s': rank %d of %d", ops->name, rank, size);
    const char *missing = NULL;
    if (ops->barrier == NULL)
        missing = "barrier";
    else if (ops->bcast == NULL)
        missing = "bcast";
    else if (ops->allgather == NULL)
        missing = "allgather";
    else if (ops->abort == NULL)
        missing = "abort";
    else if (ops->destroy == NULL)
        missing = "destroy";
    else if ((ops->shared_alloc == NULL) != (ops->shared_free == NULL))
        missing = ops->shared_alloc == NULL ? "shared_alloc, while it has shared_free"
                                            : "shared_free, while it has shared_alloc";
    else if ((ops->caps & DDP_COMM_ALLREDUCE) && (ops->allreduce_begin == NULL || ops->allreduce_end == NULL))
        missing = "allreduce_begin or allreduce_end, which DDP_COMM_ALLREDUCE promises";
    else if ((ops->caps & DDP_COMM_MESSAGES) &&
             (ops->exchange_create == NULL || ops->exchange_begin == NULL || ops->exchange_test == NULL ||
              ops->exchange_destroy == NULL))
        missing =
            "exchange_create, exchange_begin, exchange_test or exchange_destroy, which DDP_COMM_MESSAGES "
            "promises";
    if (missing != NULL)
        return ddp_fail(err, DDP_E_USAGE, "transport '%s': the table lacks %s", ops->name, missing);

    struct ddp_comm *c = ddp_calloc(1, sizeof *c);
    c->rank = rank;
    c->size = size;
    c->ops = ops;
    c->self = self;
    char(*one)[DDP_COMM_HOST_BYTES] = ddp_calloc((size_t)size, sizeof *one); /* nameless, all alike */
    ddp_comm_cut(c, (const char(*)[DDP_COMM_HOST_BYTES])one);
    free(one);
    *out = c;
    return 0;
}

void ddp_comm_destroy(struct ddp_comm *c)
{
    if (c == NULL)
        return;
    const double begun = ddp_pulse_wait_begin(DDP_WAIT_MEETING, 0);
    c->ops->destroy(c->self);
    ddp_pulse_wait_end(begun);
    free((void *)c->at);
    free((void *)c->rank_at);
    free((void *)c->node_of);
    free((void *)c->lane_rank);
    free(c);
}

static int need(const struct ddp_comm *c, const char *call, unsigned cap, const void *buf, size_t bytes,
                struct ddp_error *err)
{
    if (c == NULL)
        return ddp_fail(err, DDP_E_USAGE, "comm %s: no comm", call);
    if (cap != 0 && !(c->ops->caps & cap))
        return ddp_fail(err, DDP_E_COMM, "comm %s: the transport '%s' cannot do it", call, c->ops->name);
    if (buf == NULL && bytes > 0)
        return ddp_fail(err, DDP_E_USAGE, "comm %s: %zu bytes at a null pointer", call, bytes);
    return 0;
}

int ddp_comm_barrier(struct ddp_comm *c, struct ddp_error *err)
{
    int code = need(c, "barrier", 0, NULL, 0, err);
    if (code != 0)
        return code;
    const double begun = ddp_pulse_wait_begin(DDP_WAIT_MEETING, 0);
    code = c->ops->barrier(c->self, err);
    ddp_pulse_wait_end(begun);
    return code;
}

int ddp_comm_bcast(struct ddp_comm *c, void *buf, size_t bytes, int root, struct ddp_error *err)
{
    int code = need(c, "bcast", 0, buf, bytes, err);
    if (code != 0)
        return code;
    if (root < 0 || root >= c->size)
        return ddp_fail(err, DDP_E_USAGE, "comm bcast: root %d is not one of the ranks 0 to %d", root,
                        c->size - 1);
    if (bytes == 0)
        return 0;
    const double begun = ddp_pulse_wait_begin(DDP_WAIT_MEETING, 0);
    code = c->ops->bcast(c->self, buf, bytes, root, err);
    ddp_pulse_wait_end(begun);
    return code;
}

int ddp_comm_allgather(struct ddp_comm *c, const void *in, void *out, size_t bytes, struct ddp_error *err)
{
    int code = need(c, "allgather", 0, in, bytes, err);
    if (code == 0)
        code = need(c, "allgather", 0, out, bytes, err);
    if (code != 0 || bytes == 0)
        return code;
    const double begun = ddp_pulse_wait_begin(DDP_WAIT_MEETING, 0);
    code = c->ops->allgather(c->self, in, out, bytes, err);
    ddp_pulse_wait_end(begun);
    return code;
}

int ddp_comm_allreduce_begin(struct ddp_comm *c, float *buf, size_t count, void **request,
                             struct ddp_error *err)
{
    int code = need(c, "allreduce", DDP_COMM_ALLREDUCE, buf, count, err);
    if (code == 0)
        code = need(c, "allreduce", 0, request, sizeof *request, err);
    return code != 0 ? code : c->ops->allreduce_begin(c->self, buf, count, request, err);
}

int ddp_comm_allreduce_end(struct ddp_comm *c, void *request, struct ddp_error *err)
{
    int code = need(c, "allreduce", DDP_COMM_ALLREDUCE, request, 1, err);
    if (code != 0)
        return code;
    const double begun = ddp_pulse_wait_begin(DDP_WAIT_MEETING, 0);
    code = c->ops->allreduce_end(c->self, request, err);
    ddp_pulse_wait_end(begun);
    return code;
}

void ddp_comm_abort(struct ddp_comm *c, int status)
{
    if (c != NULL)
        c->ops->abort(c->self, status);
}

int ddp_comm_agree(struct ddp_comm *c, int code, struct ddp_error *err)
{
    struct ddp_error local = {0}, text = {0};
    int32_t mine = code;
    if (c == NULL)
        return ddp_fail(err, DDP_E_USAGE, "comm agree: no comm");
    if (c->size == 1)
        return code;
    if (err == NULL)
        err = &local;
    struct ddp_error *lost =
        code == 0 ? err : &local; /* a rank's own error matters more than a transport's */

    int32_t *codes = ddp_calloc((size_t)c->size, sizeof *codes);
    int first = 0, agreed = ddp_comm_allgather(c, &mine, codes, sizeof mine, lost);
    while (agreed == 0 && first < c->size && codes[first] == 0)
        first++;
    if (agreed == 0 && first < c->size) {
        if (first == c->rank) {
            text = *err;
            if (err->code != code) /* a caller that gave a code and no words */
                ddp_fail(&text, code, "%s", ddp_error_name(code));
        }
        int failed = codes[first];
        agreed = ddp_comm_bcast(c, &text, sizeof text, first, lost);
        if (agreed == 0 && code == 0)
            ddp_fail(err, failed, "rank %d: %s", first, text.text);
        else if (agreed == 0 && err->code == code)
            err->code = failed;
        if (agreed == 0)
            agreed = code = failed;
    }
    free(codes);
    return code != 0 ? code : agreed;
}
