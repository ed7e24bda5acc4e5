/* Small tree sums in the middle of a pass: every rank puts its leaves into shared memory, all meet once, and
 * each adds up a copy of its own. Calls take turns between two halves, so that a slow reader is not
 * overtaken. */
#include "reduce/reduce.h"

#include <stdlib.h>
#include <string.h>

#include "reduce/plan.h"
#include "reduce/tree.h"

struct shared {
    struct ddp_barrier barrier;
    _Alignas(64) double leaf[]; /* [2][shards][max_width] */
};

struct ddp_small {
    struct ddp_comm *comm;
    struct shared *shared;
    size_t bytes;
    int shards, first, last, max_width;
    uint32_t round;
    double *work; /* [shards][max_width] */
};

int ddp_small_create(struct ddp_comm *comm, int shards, int max_width, struct ddp_small **out,
                     struct ddp_error *err)
{
    int code = 0;
    if (shards < 1 || shards > DDP_TREE_MAX_SHARDS || max_width < 1)
        code = ddp_fail(err, DDP_E_USAGE,
                        "small sum: %d shards of width %d; 1 to %d shards of at least 1 are possible", shards,
                        max_width, DDP_TREE_MAX_SHARDS);
    if (code == 0)
        code = ddp_ranks_check_one_node(comm, err);
    code = ddp_comm_agree(comm, code, err);
    if (code != 0)
        return code;

    struct ddp_small *s = ddp_calloc(1, sizeof *s);
    size_t doubles = (size_t)shards * (size_t)max_width;
    s->comm = comm;
    s->shards = shards;
    s->first = ddp_tree_first_shard(shards, comm->size, comm->rank);
    s->last = ddp_tree_first_shard(shards, comm->size, comm->rank + 1);
    s->max_width = max_width;
    s->bytes = sizeof *s->shared + 2 * doubles * sizeof(double);
    void *base = NULL;
    code = ddp_comm_shared_alloc(comm, s->bytes, &base, err);
    s->shared = base;
    if (code == 0 && (s->work = ddp_pages_alloc(doubles * sizeof *s->work)) == NULL)
        code = ddp_fail(err, DDP_E_RESOURCE, "small sum: no memory for %zu doubles", doubles);
    code = ddp_comm_agree(comm, code, err);
    if (code != 0) {
        ddp_small_destroy(s);
        return code;
    }
    *out = s;
    return 0;
}

void ddp_small_destroy(struct ddp_small *s)
{
    if (s == NULL)
        return;
    ddp_comm_shared_free(s->comm, s->shared, s->bytes);
    ddp_pages_free(s->work, (size_t)s->shards * (size_t)s->max_width * sizeof *s->work);
    free(s);
}

int ddp_small_sum(struct ddp_small *s, int width, const double *leaves, double *out, struct ddp_error *err)
{
    if (width < 1 || width > s->max_width)
        return ddp_fail(err, DDP_E_USAGE, "small sum: width %d; 1 to %d are possible", width, s->max_width);
    double *half = s->shared->leaf + s->round % 2 * (size_t)s->shards * (size_t)s->max_width;
    size_t row = (size_t)width;
    memcpy(half + (size_t)s->first * row, leaves, (size_t)(s->last - s->first) * row * sizeof *half);
    const double begun = ddp_pulse_wait_begin(DDP_WAIT_STATISTICS, 0);
    const bool all = ddp_barrier_wait(&s->shared->barrier, s->comm, &s->round);
    ddp_pulse_wait_end(begun);
    if (!all)
        return ddp_fail(err, DDP_E_COMM, "small sum: another rank ended the job");
    memcpy(s->work, half, (size_t)s->shards * row * sizeof *half);
    ddp_tree_sum_double(s->shards, width, s->work, out);
    return 0;
}
