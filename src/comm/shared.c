/* Memory of a node, from the transport or by segments between processes. */
#include <stdlib.h>

#include "comm/segment.h"
#include "comm/transport.h"

/* Between ranks that are processes: the first rank of each node makes a segment (segment.c), the others of
 * its node open it, all meet, the first closes its descriptor: from then on only the mappings hold the
 * memory. Every rank takes part in every step whatever failed before, so nobody waits for ever. */
static int map_shared(struct ddp_comm *c, size_t bytes, void **out, struct ddp_error *err)
{
    const bool maker = c->local_rank == 0;
    const int first = c->at[c->node].first;
    struct ddp_segment_key mine = {.bytes = bytes}, *all = ddp_calloc((size_t)c->size, sizeof *all);
    void *base = NULL;
    int code = maker ? ddp_segment_create(bytes, &mine, &base, err) : 0;
    code = ddp_comm_agree(c, code, err);
    if (code == 0)
        code = ddp_comm_allgather(c, &mine, all, sizeof mine, err);
    if (code == 0 && all[first].bytes != bytes)
        code = ddp_fail(err, DDP_E_COMM, "shared segment: rank %d asks for %llu bytes, rank %d for %zu",
                        first, (unsigned long long)all[first].bytes, c->rank, bytes);
    else if (code == 0 && !maker)
        code = ddp_segment_open(&all[first], &base, err);
    code = ddp_comm_agree(c, code, err);
    free(all);
    if (maker && base != NULL)
        ddp_segment_close(&mine);
    if (code != 0)
        ddp_segment_unmap(base, bytes);
    else
        *out = base;
    return code;
}

int ddp_comm_shared_alloc(struct ddp_comm *c, size_t bytes, void **out, struct ddp_error *err)
{
    if (c == NULL || out == NULL)
        return ddp_fail(err, DDP_E_USAGE, "comm shared_alloc: no %s",
                        c == NULL ? "comm" : "place for the result");
    if (bytes == 0)
        return ddp_fail(err, DDP_E_USAGE, "comm shared_alloc: a segment of 0 bytes");
    if (c->ops->shared_alloc == NULL)
        return map_shared(c, bytes, out, err);
    void *base = NULL;
    const int code = ddp_comm_agree(c, c->ops->shared_alloc(c->self, bytes, &base, err), err);
    if (code == 0)
        *out = base;
    else if (base != NULL)
        c->ops->shared_free(c->self, base, bytes);
    return code;
}

void ddp_comm_shared_free(struct ddp_comm *c, void *base, size_t bytes)
{
    if (c == NULL || base == NULL)
        return;
    if (c->ops->shared_free != NULL)
        c->ops->shared_free(c->self, base, bytes);
    else
        ddp_segment_unmap(base, bytes);
}
