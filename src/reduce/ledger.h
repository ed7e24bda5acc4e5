/* The rules of a step, once for every executor: which shard has reported what, which rule was broken, and
 * what follows from a report. Pure; a step allocates nothing.
 *
 *   open()      begins a step; the step before was closed
 *   report()    [lo, hi) of a shard's leaf is final: whole blocks, of a shard of this rank, each block once
 *               per shard, blocks in any order, but for each block shard after shard; of the last shard the
 *               blocks in `early` before what completes a bucket
 *   close()     ends it, when everything was reported
 *
 * What follows from a report, for 4 shards on one rank (buffers of a stack, src/reduce/schedule.h):
 *
 *     shard   leaf in buffer   merges               left over
 *     0       0                -                    0
 *     1       1                0 += 1               0..1
 *     2       1                -                    0..1, 2
 *     3       2                1 += 2, 0 += 1       0..3    (was it the last block: a bucket is complete)
 *
 * The first rule that is broken is kept: nothing is accepted any more, and close() says which it was. Only
 * what is missing in close() may still be reported. */
#ifndef DDP_REDUCE_LEDGER_H
#define DDP_REDUCE_LEDGER_H

#include "reduce/layout.h"
#include "reduce/schedule.h"

struct ddp_ledger_conf {
    const struct ddp_reduce_layout *layout;
    const struct ddp_schedule *schedule; /* of this rank */
    int rank;                            /* for messages */
    struct ddp_range early;              /* blocks (the metrics, on a device); empty: no such rule */
};

struct ddp_ledger {
    struct ddp_ledger_conf conf;
    bool open;
    int *due;         /* [blocks] the shard that reports this block next */
    int64_t *missing; /* [buckets] blocks that my last shard has not reported in this step */
    int64_t early;    /* the same of conf.early */
    int64_t left;     /* blocks of all my shards together */
    struct ddp_error broken;
};

/* What follows from a report, in this order. */
struct ddp_ledger_entry {
    struct ddp_range blocks;       /* that were reported */
    const struct ddp_merge *merge; /* [merges] to be done in them, one after the other */
    int merges;
    bool last;                 /* this rank's last shard: in these blocks its tree nodes are final */
    bool early;                /* with this report all of conf.early is final */
    struct ddp_range complete; /* buckets in which with this report all blocks are final */
};

/* layout and schedule are borrowed. */
void ddp_ledger_init(struct ddp_ledger *l, const struct ddp_ledger_conf *conf);
void ddp_ledger_finish(struct ddp_ledger *l); /* frees */
/* What init() takes, for the memory plan. */
size_t ddp_ledger_bytes(const struct ddp_reduce_layout *layout);

void ddp_ledger_open(struct ddp_ledger *l);
/* The buffer of a shard's leaf, -1 for a shard that is not mine. */
int ddp_ledger_leaf(const struct ddp_ledger *l, int shard);
/* [lo, hi) in elements. False: nothing follows, as the range is empty or a rule is broken. */
bool ddp_ledger_report(struct ddp_ledger *l, int shard, int64_t lo, int64_t hi, struct ddp_ledger_entry *out);
bool ddp_ledger_broken(const struct ddp_ledger *l);
/* DDP_E_USAGE: a rule was broken, or something was not reported. */
int ddp_ledger_close(struct ddp_ledger *l, struct ddp_error *err);

#endif
