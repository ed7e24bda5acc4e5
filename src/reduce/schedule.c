/* Buffers, merges and additions, worked out from the tree before step 0. */
#include "reduce/schedule.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"

/* What init() works on: the tree nodes that are not merged yet. */
struct stack {
    int depth;
    int buffer[DDP_TREE_MAX_NODES + 1];
    bool *used; /* [shards of the rank] buffers, until the end of a group */
};

static int take_lowest(struct ddp_schedule *s, struct stack *stack)
{
    int buffer = 0;
    while (stack->used[buffer])
        buffer++;
    stack->used[buffer] = true;
    if (s->buffers <= buffer)
        s->buffers = buffer + 1;
    return buffer;
}

/* The buffers of the n leaves from shard k of mine on: those that no tree node lies in. */
static void place_group(struct ddp_schedule *s, struct stack *stack, int k, int n)
{
    memset(stack->used, 0, (size_t)(s->last - s->first) * sizeof *stack->used);
    for (int i = 0; i < stack->depth; i++)
        stack->used[stack->buffer[i]] = true;
    for (int i = 0; i < n; i++)
        s->leaf[k + i] = take_lowest(s, stack);
}

static int merges_behind(const struct ddp_schedule_conf *conf, const struct ddp_schedule *s, int k)
{
    const int shard = s->first + k;
    return conf->fast ? k > 0 : ddp_tree_merges_after(conf->shards, s->first, shard, shard + 1);
}

/* Shard k's leaf comes onto the stack. Returns how many merges there are by then. */
static int push(struct ddp_schedule *s, struct stack *stack, int k, int count, int merges)
{
    stack->buffer[stack->depth++] = s->leaf[k];
    for (int i = 0; i < count; i++) {
        const int from = stack->buffer[--stack->depth], into = stack->buffer[stack->depth - 1];
        s->merge[merges++] = (struct ddp_merge){into, from};
    }
    return merges;
}

static void take_stack(const struct ddp_schedule_conf *conf, struct ddp_schedule *s,
                       const struct stack *stack)
{
    s->nodes = conf->fast ? 1 : ddp_tree_cover(conf->shards, s->first, s->last, s->node);
    if (conf->fast)
        s->node[0] = (struct ddp_tree_node){s->first, s->last};
    for (int i = 0; i < s->nodes; i++)
        s->node_buffer[i] = stack->buffer[i];
}

void ddp_schedule_init(struct ddp_schedule *s, const struct ddp_schedule_conf *conf, int ranks, int rank)
{
    memset(s, 0, sizeof *s);
    s->first = ddp_tree_first_shard(conf->shards, ranks, rank);
    s->last = ddp_tree_first_shard(conf->shards, ranks, rank + 1);
    const int n = s->last - s->first, beside = conf->beside > 1 ? conf->beside : 1;
    int merges = 0;
    s->leaf = ddp_calloc((size_t)n, sizeof *s->leaf);
    s->start = ddp_calloc((size_t)n + 1, sizeof *s->start);
    s->merge = ddp_calloc((size_t)n, sizeof *s->merge); /* each merge uses up a leaf */
    struct stack stack = {.used = ddp_calloc((size_t)n, sizeof *stack.used)};

    for (int k = 0; k < n; k++) {
        s->start[k] = merges;
        if (k % beside == 0)
            place_group(s, &stack, k, n - k < beside ? n - k : beside);
        merges = push(s, &stack, k, merges_behind(conf, s, k), merges);
    }
    s->start[n] = merges;
    take_stack(conf, s, &stack);
    free(stack.used);
}

int ddp_schedule_buffers(const struct ddp_schedule_conf *conf, int ranks, int rank)
{
    struct ddp_schedule s;
    ddp_schedule_init(&s, conf, ranks, rank);
    const int buffers = s.buffers;
    ddp_schedule_finish(&s);
    return buffers;
}

void ddp_schedule_finish(struct ddp_schedule *s)
{
    free(s->leaf);
    free(s->start);
    free(s->merge);
    memset(s, 0, sizeof *s);
}

int ddp_schedule_shipments(const struct ddp_schedule_conf *conf, int ranks, struct ddp_shipment **out)
{
    struct ddp_shipment *all = NULL;
    int n = 0, room = 0;
    for (int rank = 0; rank < ranks; rank++) {
        struct ddp_schedule s;
        ddp_schedule_init(&s, conf, ranks, rank);
        if (n + s.nodes > room) {
            room = 2 * (n + s.nodes);
            all = ddp_realloc(all, (size_t)room * sizeof *all);
        }
        for (int i = 0; i < s.nodes; i++)
            all[n++] = (struct ddp_shipment){rank, s.node_buffer[i], s.node[i]};
        ddp_schedule_finish(&s);
    }
    *out = all;
    return n;
}

struct emitter {
    struct ddp_combine *out;
    const struct ddp_tree_node *nodes;
    int next; /* the input that comes next from the left */
};

/* Emits what makes [lo, hi); `level` temporaries are in use. Returns the operand that names the result. */
static int emit(struct emitter *e, int lo, int hi, int level)
{
    const struct ddp_tree_node *node = &e->nodes[e->next];
    if (node->lo == lo && node->hi == hi)
        return e->next++;
    int mid = ddp_tree_split(lo, hi);
    int x = emit(e, lo, mid, level);
    int y = emit(e, mid, hi, level + (x < 0));
    e->out->add[e->out->nadds++] = (struct ddp_add){x, y, level};
    if (level + 1 > e->out->temps)
        e->out->temps = level + 1;
    return -1 - level;
}

void ddp_combine_init(struct ddp_combine *c, struct ddp_tree_node top, const struct ddp_tree_node *nodes,
                      int n)
{
    memset(c, 0, sizeof *c);
    c->add = ddp_calloc((size_t)n, sizeof *c->add);
    struct emitter e = {c, nodes, 0};
    emit(&e, top.lo, top.hi, 0);
}

void ddp_combine_finish(struct ddp_combine *c)
{
    free(c->add);
    memset(c, 0, sizeof *c);
}
