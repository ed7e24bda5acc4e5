/* Private to src/model: where activations, gradients, saved data and scratch of one rank lie.
 *
 * One block of pages holds everything: first one shard area per resident shard, all alike, then what calls
 * share (scratch). Time is counted in calls: with S stages forward of stage s is time s, its backward 2S - 1
 * - s. Two spans may share bytes only when their times do not meet. */
#ifndef DDP_MODEL_MEMORY_PLAN_H
#define DDP_MODEL_MEMORY_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ddp/op.h"

struct ddp_model;

enum ddp_span_kind { DDP_SPAN_VALUE, DDP_SPAN_GRAD, DDP_SPAN_SAVED };

struct ddp_span {
    enum ddp_span_kind kind;
    int index; /* value or stage */
    size_t bytes;
    int first, last;          /* alive from the start of time `first` to the end of time `last` */
    size_t offset;            /* result: from the start of the shard area, a multiple of 64 */
    struct ddp_tensor tensor; /* VALUE, GRAD: p counts from the start of the span (see lead) */
    int64_t lead;             /* floats from the span's start to tensor.p */
    bool
        dirty_halo; /* shares bytes with something of another form: the halo must be zeroed before each use */
};

struct ddp_memory {
    int nspans;
    struct ddp_span *span;
    int *value, *grad, *saved; /* span of each value, value's gradient, stage; -1: none */
    size_t shard_bytes;        /* of one shard area */
    size_t scratch_bytes;
};

/* Give each span an offset so that no two spans that are alive together overlap: the largest first, each as
 * low as it fits. Returns the bytes needed. */
size_t ddp_memory_place(struct ddp_span *span, int n);

/* Plan for training or evaluation. reuse false: every span has its own bytes. */
void ddp_memory_plan(const struct ddp_model *m, bool training, bool reuse, struct ddp_memory *out);

#endif
