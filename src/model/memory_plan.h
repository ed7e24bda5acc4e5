/* Where one rank's activations, gradients, saved data and scratch lie: life times from stages.h, sizes from
 * the device. One block of memory holds everything:
 *
 *   [shard area, leaves of running statistics] for each resident shard, all alike
 *   [scratch]                                  what calls share
 *   [leaf] for each resident shard, [sum]      of synchronised statistics
 *
 * In a shard area two spans share bytes only when they never live at the same time. */
#ifndef DDP_MODEL_MEMORY_PLAN_H
#define DDP_MODEL_MEMORY_PLAN_H

#include "model/stages.h"

/* What a device needs, in bytes; 0: nothing. */
struct ddp_memory_form {
    size_t (*value)(const void *ctx, int value, bool grad);
    size_t (*saved)(const void *ctx, int stage);
    size_t (*scratch)(const void *ctx, int stage);
    int (*sync_doubles)(const void *ctx, int stage); /* each way, for each shard */
    bool over;                                       /* gradients take the place of values that say so */
    const void *ctx;
    size_t align; /* of all offsets and sizes: a power of two */
};

enum ddp_span_kind { DDP_SPAN_VALUE, DDP_SPAN_GRAD, DDP_SPAN_SAVED };

struct ddp_span {
    enum ddp_span_kind kind;
    int index; /* value or stage */
    size_t bytes;
    struct ddp_life life;
    size_t offset; /* result: from the start of the shard area */
};

struct ddp_memory {
    int nspans;
    struct ddp_span *span;
    /* span of each value, value's gradient, its second part, stage; -1: none. A gradient may have its
     * value's, or another gradient's. */
    int *value, *grad, *aside, *saved;
    size_t align;
    size_t shard_bytes, stats_bytes, scratch_bytes;
    int sync_doubles; /* of the widest stage */
};

/* Fills out; finish it. */
void ddp_memory_plan(const struct ddp_stages *p, bool training, const struct ddp_memory_form *form,
                     struct ddp_memory *out);
/* The same with the sizes of the CPU: vectors of cache lines. */
void ddp_memory_plan_cpu(const struct ddp_stages *p, bool training, struct ddp_memory *out);
void ddp_memory_finish(struct ddp_memory *mem); /* a zeroed one is fine */
/* Of all, with so many resident shards. */
size_t ddp_memory_bytes(const struct ddp_memory *mem, int resident);

/* Where things are in a block that starts at `base`; NULL: there is no such span. */
char *ddp_memory_area(const struct ddp_memory *mem, char *base, int shard);
float *ddp_memory_stats(const struct ddp_memory *mem, char *area);
void *ddp_memory_span(const struct ddp_memory *mem, char *area, int span);
void *ddp_memory_scratch(const struct ddp_memory *mem, char *base, int resident);
double *ddp_memory_sync(const struct ddp_memory *mem, char *base, int resident,
                        int shard); /* shard == resident: the sum */

/* A value, or its gradient, as a tensor of ddp/op.h without memory yet. Returns its floats, *lead of which
 * lie before t->p. */
int64_t ddp_value_tensor(const struct ddp_value *v, int batch, bool grad, struct ddp_tensor *t,
                         int64_t *lead);

/* Give each span an offset so that no two spans that live at the same time overlap: the largest first, each
 * as low as it fits. Returns the bytes needed. */
size_t ddp_memory_place(struct ddp_span *span, int n, size_t align);

#endif
