/* Small tree sums in the middle of a pass. On one node every rank puts its leaves into shared memory, all
 * meet once, and each adds up a copy of its own; calls take turns between two halves, so that a slow reader
 * is not overtaken.
 *
 * Of several nodes the first rank of each adds its node's leaves up to the tree nodes that cover them,
 * sends those to its like, adds all of them in tree order and leaves the sum to its node. Rows of messages
 * have the least power of two of doubles that holds what is asked for: their exchanges are made before
 * step 0. */
#include "reduce/reduce.h"

#include <stdlib.h>
#include <string.h>

#include "reduce/schedule.h"
#include "reduce/tags.h"

enum { LEAST_ROW = 16, SIZES = 24 }; /* doubles of the smallest message's rows; sizes of messages */

struct shared {
    struct ddp_barrier barrier;
    _Alignas(64)
        ddp_word arrived; /* several nodes: ranks but the first that have put their leaves, over all calls */
    _Alignas(64) ddp_word done; /* several nodes: calls whose sum is there */
    _Alignas(64) double leaf[]; /* [2][shards][max_width], several nodes: [max_width] the sum behind them */
};

/* What the first rank of a node has, where there are several. */
struct across {
    int covers, all;                               /* tree nodes of my node, of all */
    struct ddp_tree_node mine[DDP_TREE_MAX_NODES]; /* [covers] */
    int before;                                    /* how many of all lie before mine */
    struct ddp_combine combine;                    /* of all */
    double *row, *in, *temp;                       /* [covers][row], [all - covers][row], [temps][row] */
    const double **input;                          /* [all] */
    int sizes;
    struct ddp_exchange *exchange[SIZES]; /* of rows of LEAST_ROW << i doubles */
};

struct ddp_small {
    struct ddp_comm *comm;
    struct shared *shared;
    size_t bytes;
    int shards, first, last, max_width;
    uint32_t round;
    double *work; /* [shards][max_width]; one node only */
    struct across *across;
};

static double *total_of(const struct ddp_small *s)
{
    return s->shared->leaf + 2 * (size_t)s->shards * (size_t)s->max_width;
}

/* ---- several nodes ---- */

static int first_seat(const struct ddp_comm *c, int node)
{
    int seat = 0;
    for (int n = 0; n < node; n++)
        seat += c->at[n].size;
    return seat;
}

static int cover_of(const struct ddp_small *s, int node, struct ddp_tree_node cover[DDP_TREE_MAX_NODES])
{
    const struct ddp_comm *c = s->comm;
    const int seat = first_seat(c, node);
    return ddp_tree_cover(s->shards, ddp_tree_first_shard(s->shards, c->size, seat),
                          ddp_tree_first_shard(s->shards, c->size, seat + c->at[node].size), cover);
}

static int plan_exchange(struct ddp_small *s, int size, struct ddp_error *err)
{
    struct across *a = s->across;
    const struct ddp_comm *c = s->comm;
    const size_t row = (size_t)LEAST_ROW << size;
    struct ddp_message *list = ddp_calloc(2 * (size_t)c->nodes, sizeof *list);
    double *in = a->in;
    int n = 0;
    for (int node = 0; node < c->nodes; node++) {
        struct ddp_tree_node cover[DDP_TREE_MAX_NODES];
        const size_t covers = (size_t)cover_of(s, node, cover);
        if (node == c->node)
            continue;
        if (covers > 0)
            list[n++] = (struct ddp_message){c->at[node].first, false, in, covers * row * sizeof *in};
        if (a->covers > 0)
            list[n++] =
                (struct ddp_message){c->at[node].first, true, a->row, (size_t)a->covers * row * sizeof *in};
        in += covers * row;
    }
    const int code = ddp_exchange_create(s->comm, list, n, DDP_TAG_SMALL, &a->exchange[size], err);
    free(list);
    return code;
}

static int plan_across(struct ddp_small *s, struct ddp_error *err)
{
    const struct ddp_comm *c = s->comm;
    struct across *a = s->across = ddp_calloc(1, sizeof *a);
    struct ddp_tree_node *nodes = ddp_calloc((size_t)c->nodes * DDP_TREE_MAX_NODES, sizeof *nodes);
    for (int node = 0; node < c->nodes; node++) {
        if (node == c->node) {
            a->before = a->all;
            a->covers = cover_of(s, node, a->mine);
        }
        a->all += cover_of(s, node, nodes + a->all);
    }
    ddp_combine_init(&a->combine, (struct ddp_tree_node){0, s->shards}, nodes, a->all);
    free(nodes);

    a->sizes = 1;
    while (LEAST_ROW << (a->sizes - 1) < s->max_width)
        a->sizes++;
    const size_t row = (size_t)LEAST_ROW << (a->sizes - 1);
    a->row = ddp_calloc((size_t)a->covers * row + 1, sizeof *a->row);
    a->in = ddp_calloc((size_t)a->all * row + 1, sizeof *a->in);
    a->temp = ddp_calloc((size_t)(a->combine.temps + 1) * row, sizeof *a->temp);
    a->input = ddp_calloc((size_t)a->all, sizeof *a->input);
    int code = 0;
    for (int i = 0; i < a->sizes && code == 0; i++)
        code = plan_exchange(s, i, err);
    return code;
}

static void forget_across(struct across *a)
{
    if (a == NULL)
        return;
    for (int i = 0; i < a->sizes; i++)
        ddp_exchange_destroy(a->exchange[i]);
    ddp_combine_finish(&a->combine);
    free(a->row);
    free(a->in);
    free(a->temp);
    free(a->input);
    free(a);
}

/* All nodes' tree nodes -> out, in tree order. */
static void combine(const struct across *a, size_t row, int width, double *out)
{
    for (int i = 0; i < a->combine.nadds; i++) {
        const struct ddp_add *add = &a->combine.add[i];
        const double *x = add->x < 0 ? a->temp + (size_t)(-1 - add->x) * row : a->input[add->x];
        const double *y = add->y < 0 ? a->temp + (size_t)(-1 - add->y) * row : a->input[add->y];
        double *to = i + 1 < a->combine.nadds ? a->temp + (size_t)add->dst * row : out;
        for (int k = 0; k < width; k++)
            to[k] = x[k] + y[k];
    }
    if (a->combine.nadds == 0)
        memcpy(out, a->input[0], (size_t)width * sizeof *out);
}

/* The first rank of a node: its leaves, [shards][width], are there. They are overwritten. */
static int sum_across(struct ddp_small *s, int width, double *leaf, struct ddp_error *err)
{
    struct across *a = s->across;
    int size = 0;
    while (LEAST_ROW << size < width)
        size++;
    const size_t row = (size_t)LEAST_ROW << size;
    for (int i = 0; i < a->covers; i++) /* a subtree has the shape of the tree over as many leaves */
        ddp_tree_sum_double(a->mine[i].hi - a->mine[i].lo, width,
                            leaf + (size_t)a->mine[i].lo * (size_t)width, a->row + (size_t)i * row);
    for (int i = 0, in = 0; i < a->all; i++)
        a->input[i] = i >= a->before && i < a->before + a->covers ? a->row + (size_t)(i - a->before) * row
                                                                  : a->in + (size_t)in++ * row;
    int code = ddp_exchange_begin(a->exchange[size], err);
    if (code == 0)
        code = ddp_exchange_finish(a->exchange[size], err);
    if (code == 0)
        combine(a, row, width, total_of(s));
    return code;
}

static int gone(struct ddp_error *err)
{
    return ddp_fail(err, DDP_E_COMM, "small sum: another rank ended the job");
}

static int sum_nodes(struct ddp_small *s, int width, double *half, double *out, struct ddp_error *err)
{
    const struct ddp_comm *c = s->comm;
    s->round++;
    if (s->across == NULL) {
        ddp_wait_add(&s->shared->arrived, 1);
    } else {
        if (!ddp_wait_reached(&s->shared->arrived, s->round * (uint32_t)(c->local_size - 1), c->spin,
                              c->stop_word))
            return gone(err);
        const int code = sum_across(s, width, half, err);
        if (code != 0)
            return code;
        ddp_wait_add(&s->shared->done, 1);
    }
    if (!ddp_wait_reached(&s->shared->done, s->round, c->spin, c->stop_word))
        return gone(err);
    memcpy(out, total_of(s), (size_t)width * sizeof *out);
    return 0;
}

/* ---- life, and the call ---- */

int ddp_small_create(struct ddp_comm *comm, int shards, int max_width, struct ddp_small **out,
                     struct ddp_error *err)
{
    int code = 0;
    if (shards < 1 || shards > DDP_TREE_MAX_SHARDS || max_width < 1 || max_width > LEAST_ROW << (SIZES - 1))
        code = ddp_fail(err, DDP_E_USAGE,
                        "small sum: %d shards of width %d; 1 to %d shards of at least 1 are possible", shards,
                        max_width, DDP_TREE_MAX_SHARDS);
    code = ddp_comm_agree(comm, code, err);
    if (code != 0)
        return code;

    struct ddp_small *s = ddp_calloc(1, sizeof *s);
    size_t doubles = (size_t)shards * (size_t)max_width;
    s->comm = comm;
    s->shards = shards;
    s->first = ddp_tree_first_shard(shards, comm->size, comm->seat);
    s->last = ddp_tree_first_shard(shards, comm->size, comm->seat + 1);
    s->max_width = max_width;
    s->bytes = sizeof *s->shared + (2 * doubles + (size_t)max_width) * sizeof(double);
    void *base = NULL;
    code = ddp_comm_shared_alloc(comm, s->bytes, &base, err);
    s->shared = base;
    if (code == 0 && comm->nodes == 1 && (s->work = ddp_pages_alloc(doubles * sizeof *s->work)) == NULL)
        code = ddp_fail(err, DDP_E_RESOURCE, "small sum: no memory for %zu doubles", doubles);
    if (code == 0 && comm->nodes > 1 && comm->local_rank == 0)
        code = plan_across(s, err);
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
    forget_across(s->across);
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
    int code = 0;
    if (s->comm->nodes > 1)
        code = sum_nodes(s, width, half, out, err);
    else if (!ddp_barrier_wait(&s->shared->barrier, s->comm, &s->round))
        code = gone(err);
    ddp_pulse_wait_end(begun);
    if (code != 0 || s->comm->nodes > 1)
        return code;
    memcpy(s->work, half, (size_t)s->shards * row * sizeof *half);
    ddp_tree_sum_double(s->shards, width, s->work, out);
    return 0;
}
