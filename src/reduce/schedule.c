/* Buffers, merges and additions, worked out from the tree before step 0. */
#include "reduce/schedule.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"

int ddp_schedule_buffers(const struct ddp_schedule_conf *conf, int ranks, int rank)
{
    int first = ddp_tree_first_shard(conf->shards, ranks, rank);
    int last = ddp_tree_first_shard(conf->shards, ranks, rank + 1);
    if (conf->side_by_side)
        return last - first;
    if (conf->fast)
        return last - first > 1 ? 2 : 1;
    return ddp_tree_buffers(conf->shards, first, last);
}

void ddp_schedule_init(struct ddp_schedule *s, const struct ddp_schedule_conf *conf, int ranks, int rank)
{
    memset(s, 0, sizeof *s);
    s->first = ddp_tree_first_shard(conf->shards, ranks, rank);
    s->last = ddp_tree_first_shard(conf->shards, ranks, rank + 1);
    s->buffers = ddp_schedule_buffers(conf, ranks, rank);
    int n = s->last - s->first, merges = 0;
    s->leaf = ddp_calloc((size_t)n, sizeof *s->leaf);
    s->start = ddp_calloc((size_t)n + 1, sizeof *s->start);
    s->merge = ddp_calloc((size_t)n, sizeof *s->merge); /* each merge uses up a leaf */

    for (int k = 0; k < n; k++) {
        struct ddp_tree_node stack[DDP_TREE_MAX_NODES];
        s->start[k] = merges;
        if (conf->fast) {
            s->leaf[k] = conf->side_by_side ? k : k > 0;
            if (k > 0)
                s->merge[merges++] = (struct ddp_merge){0, s->leaf[k]};
            continue;
        }
        int top, count = ddp_tree_merges(conf->shards, s->first, s->first + k, &top);
        ddp_tree_cover(conf->shards, s->first, s->first + k, stack);
        s->leaf[k] = conf->side_by_side ? k : top;
        int from = s->leaf[k];
        for (int i = 0; i < count; i++) {
            int into = conf->side_by_side ? stack[top - 1 - i].lo - s->first : top - 1 - i;
            s->merge[merges++] = (struct ddp_merge){into, from};
            from = into;
        }
    }
    s->start[n] = merges;

    if (conf->fast) {
        s->nodes = 1;
        s->node[0] = (struct ddp_tree_node){s->first, s->last};
        return;
    }
    s->nodes = ddp_tree_cover(conf->shards, s->first, s->last, s->node);
    for (int i = 0; i < s->nodes; i++)
        s->node_buffer[i] = conf->side_by_side ? s->node[i].lo - s->first : i;
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
