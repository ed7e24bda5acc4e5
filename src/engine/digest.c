/* Digests of the host's state, block by block. */
#include <stdlib.h>
#include <string.h>

#include "engine/private.h"

/* In memory of the node: [arrays][blocks][DDP_DIGEST], the gradient's behind the others. */
struct ddp_digest_board {
    uint8_t *digest;
    size_t bytes;
    int arrays; /* parameters and optimizer */
    int64_t blocks;
    bool gradient; /* that of the last step is there */
};

int ddp_engine_board_create(struct ddp_engine *e, struct ddp_error *err)
{
    struct ddp_digest_board *b = ddp_calloc(1, sizeof *b);
    void *shared = NULL;
    b->arrays = 1 + ddp_optim_arrays(e->optim);
    b->blocks = e->flat->total / DDP_BLOCK;
    b->bytes = (size_t)(b->arrays + 1) * (size_t)b->blocks * DDP_DIGEST;
    const int status = ddp_comm_shared_alloc(e->conf.comm, b->bytes, &shared, err);
    b->digest = shared;
    e->board = b;
    return status;
}

void ddp_engine_board_destroy(struct ddp_engine *e)
{
    if (e->board)
        ddp_comm_shared_free(e->conf.comm, e->board->digest, e->board->bytes);
    free(e->board);
    e->board = NULL;
}

static uint8_t *digest_at(const struct ddp_digest_board *b, int array, int64_t block)
{
    return b->digest + ((size_t)array * (size_t)b->blocks + (size_t)block) * DDP_DIGEST;
}

struct hashing {
    const struct ddp_digest_board *board;
    const float *base; /* of block 0 */
    int array, tasks;
    struct ddp_range blocks;
};

/* Task t of the threads: a part of the blocks. */
static void hash_task(void *ctx, int task)
{
    const struct hashing *h = ctx;
    const int64_t n = ddp_range_size(h->blocks), lo = h->blocks.lo + n * task / h->tasks,
                  hi = h->blocks.lo + n * (task + 1) / h->tasks;
    struct ddp_sha256 sha;
    ddp_sha256_init(&sha);
    for (int64_t i = lo; i < hi; i++) {
        ddp_sha256_update(&sha, h->base + i * DDP_BLOCK, DDP_BLOCK * sizeof(float));
        ddp_sha256_bytes(&sha, digest_at(h->board, h->array, i), DDP_DIGEST);
    }
}

static void hash_blocks(const struct ddp_engine *e, int array, const float *base, struct ddp_range blocks)
{
    const int64_t n = ddp_range_size(blocks), threads = ddp_pool_threads(e->conf.pool);
    const struct hashing h = {e->board, base, array, (int)(n < threads ? n : threads), blocks};
    ddp_parallel(e->conf.pool, h.tasks, hash_task, (void *)&h); /* NOLINT: only read */
}

/* This rank's part of the state: every rank of the first node has one. */
static void hash_state(struct ddp_engine *e)
{
    const struct ddp_comm *c = e->conf.comm;
    const int64_t blocks = e->board->blocks;
    const struct ddp_range mine = {blocks * c->local_rank / c->local_size,
                                   blocks * (c->local_rank + 1) / c->local_size};
    hash_blocks(e, 0, e->params, mine);
    for (int i = 1; i < e->board->arrays; i++) {
        const char *name;
        hash_blocks(e, i, ddp_optim_array(e->optim, i - 1, &name), mine);
    }
}

static void hash_sums(struct ddp_engine *e)
{
    struct ddp_range blocks;
    const float *sum;
    for (int64_t i = 0; e->ops->own_sums(e, i, &blocks, &sum); i++)
        hash_blocks(e, e->board->arrays, sum - blocks.lo * DDP_BLOCK, blocks);
}

int ddp_engine_digest(struct ddp_engine *e, bool gradient, struct ddp_error *err)
{
    const struct ddp_engine_conf *c = &e->conf;
    if (!e->board || e->pending)
        return ddp_fail(err, DDP_E_USAGE, "ddp_engine_digest: %s",
                        e->board ? "steps are pending" : "train.trail_every is 0");
    e->board->gradient = gradient && e->ops->own_sums && c->comm->nodes == 1 && ddp_optim_keeps_sum(c->cfg);
    if (c->comm->node == 0)
        hash_state(e);
    if (e->board->gradient)
        hash_sums(e);
    return ddp_comm_barrier(c->comm, err);
}

const uint8_t *ddp_engine_digests(const struct ddp_engine *e, int array)
{
    const struct ddp_digest_board *b = e->board;
    if (array == DDP_DIGEST_GRADIENT)
        return b->gradient ? digest_at(b, b->arrays, 0) : NULL;
    return array < b->arrays ? digest_at(b, array, 0) : NULL;
}
