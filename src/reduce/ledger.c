/* Which shard has reported what, and what follows. */
#include "reduce/ledger.h"

#include <stdlib.h>
#include <string.h>

void ddp_ledger_init(struct ddp_ledger *l, const struct ddp_ledger_conf *conf)
{
    *l = (struct ddp_ledger){.conf = *conf};
    l->due = ddp_calloc((size_t)conf->layout->blocks, sizeof *l->due);
    l->missing = ddp_calloc((size_t)conf->layout->buckets, sizeof *l->missing);
}

void ddp_ledger_finish(struct ddp_ledger *l)
{
    free(l->due);
    free(l->missing);
    memset(l, 0, sizeof *l);
}

size_t ddp_ledger_bytes(const struct ddp_reduce_layout *layout)
{
    const struct ddp_ledger *l = NULL;
    return (size_t)layout->blocks * sizeof *l->due + (size_t)layout->buckets * sizeof *l->missing;
}

bool ddp_ledger_broken(const struct ddp_ledger *l)
{
    return l->broken.code != 0;
}

void ddp_ledger_open(struct ddp_ledger *l)
{
    const struct ddp_reduce_layout *layout = l->conf.layout;
    const struct ddp_schedule *s = l->conf.schedule;
    if (l->open && !ddp_ledger_broken(l))
        ddp_fail(&l->broken, DDP_E_USAGE,
                 "reduce: a step began on rank %d before the one before was finished", l->conf.rank);
    l->open = true;
    for (int64_t block = 0; block < layout->blocks; block++)
        l->due[block] = s->first;
    for (int64_t b = 0; b < layout->buckets; b++)
        l->missing[b] = ddp_range_size(ddp_reduce_layout_bucket(layout, b));
    l->early = ddp_range_size(l->conf.early);
    l->left = layout->blocks * (s->last - s->first);
}

int ddp_ledger_leaf(const struct ddp_ledger *l, int shard)
{
    const struct ddp_schedule *s = l->conf.schedule;
    return shard < s->first || shard >= s->last ? -1 : s->leaf[shard - s->first];
}

/* ---- rules ---- */

static bool check_what(struct ddp_ledger *l, int shard, int64_t lo, int64_t hi)
{
    const struct ddp_schedule *s = l->conf.schedule;
    const int64_t total = l->conf.layout->blocks * DDP_BLOCK;
    if (!l->open)
        ddp_fail(&l->broken, DDP_E_USAGE, "reduce: shard %d was reported by rank %d, but no step has begun",
                 shard, l->conf.rank);
    else if (shard < s->first || shard >= s->last)
        ddp_fail(&l->broken, DDP_E_USAGE,
                 "reduce: shard %d was reported by rank %d, which has shards %d to %d", shard, l->conf.rank,
                 s->first, s->last - 1);
    else if (lo < 0 || hi > total || lo > hi || lo % DDP_BLOCK != 0 || hi % DDP_BLOCK != 0)
        ddp_fail(
            &l->broken, DDP_E_USAGE,
            "reduce: shard %d: [%lld, %lld) was reported, but ranges are whole blocks of %d in [0, %lld)",
            shard, (long long)lo, (long long)hi, DDP_BLOCK, (long long)total);
    return !ddp_ledger_broken(l);
}

static void fail_order(struct ddp_ledger *l, int shard, int64_t block)
{
    const struct ddp_schedule *s = l->conf.schedule;
    if (l->due[block] == s->last)
        ddp_fail(&l->broken, DDP_E_USAGE,
                 "reduce: block %lld of shard %d was reported when no shard was due: each block once per "
                 "shard, and rank %d has shards %d to %d",
                 (long long)block, shard, l->conf.rank, s->first, s->last - 1);
    else
        ddp_fail(&l->broken, DDP_E_USAGE,
                 "reduce: block %lld of shard %d was reported when shard %d was due: each block once per "
                 "shard, shard after shard",
                 (long long)block, shard, l->due[block]);
}

/* Notes the blocks, up to one that is not in order. */
static bool take(struct ddp_ledger *l, int shard, struct ddp_range blocks)
{
    int *due = l->due;
    for (int64_t block = blocks.lo; block < blocks.hi; block++) {
        if (due[block] != shard) {
            fail_order(l, shard, block);
            return false;
        }
        due[block]++;
    }
    l->left -= ddp_range_size(blocks);
    return true;
}

static bool check_early(struct ddp_ledger *l, int shard, struct ddp_range blocks)
{
    struct ddp_range early = ddp_range_elements(l->conf.early), all = ddp_range_elements(blocks);
    if (l->early > 0)
        ddp_fail(
            &l->broken, DDP_E_USAGE,
            "reduce: [%lld, %lld) of shard %d was reported and completes a bucket, but the shard's metrics "
            "[%lld, %lld) were not; they come first",
            (long long)all.lo, (long long)all.hi, shard, (long long)early.lo, (long long)early.hi);
    return l->early == 0;
}

/* ---- reports ---- */

/* Blocks of the last shard: the buckets that they complete. Of those that they touch, all between the first
 * and the last lie in this report wholly. */
static struct ddp_range complete(struct ddp_ledger *l, struct ddp_range blocks)
{
    const struct ddp_reduce_layout *layout = l->conf.layout;
    const int64_t first = ddp_reduce_layout_bucket_of(layout, blocks.hi - 1);
    struct ddp_range touched = {first, first}, bucket = blocks;
    while (bucket.lo > blocks.lo || touched.hi == first) {
        bucket = ddp_reduce_layout_bucket(layout, touched.hi);
        l->missing[touched.hi++] -= ddp_range_size(ddp_range_clip(blocks, bucket));
    }
    if (l->missing[touched.lo] > 0)
        touched.lo++;
    if (touched.lo < touched.hi && l->missing[touched.hi - 1] > 0)
        touched.hi--;
    return touched;
}

bool ddp_ledger_report(struct ddp_ledger *l, int shard, int64_t lo, int64_t hi, struct ddp_ledger_entry *out)
{
    if (ddp_ledger_broken(l) || !check_what(l, shard, lo, hi) || lo == hi)
        return false;
    const struct ddp_schedule *s = l->conf.schedule;
    const int mine = shard - s->first;
    const struct ddp_range blocks = {lo / DDP_BLOCK, hi / DDP_BLOCK};
    if (!take(l, shard, blocks))
        return false;
    *out = (struct ddp_ledger_entry){.blocks = blocks,
                                     .merge = s->merge + s->start[mine],
                                     .merges = s->start[mine + 1] - s->start[mine],
                                     .last = shard + 1 == s->last};
    if (!out->last)
        return true;
    const int64_t early = ddp_range_size(ddp_range_clip(blocks, l->conf.early));
    l->early -= early;
    out->early = early > 0 && l->early == 0;
    out->complete = complete(l, blocks);
    return ddp_range_size(out->complete) == 0 || check_early(l, shard, blocks);
}

static int64_t first_missing(const struct ddp_ledger *l)
{
    int64_t block = 0;
    while (l->due[block] == l->conf.schedule->last)
        block++;
    return block;
}

int ddp_ledger_close(struct ddp_ledger *l, struct ddp_error *err)
{
    if (ddp_ledger_broken(l))
        return ddp_fail(err, l->broken.code, "%s", l->broken.text);
    if (!l->open)
        return ddp_fail(err, DDP_E_USAGE, "reduce: finish on rank %d, but no step has begun", l->conf.rank);
    if (l->left > 0) {
        int64_t block = first_missing(l);
        return ddp_fail(err, DDP_E_USAGE, "reduce: finish before block %lld of shard %d was reported ready",
                        (long long)block, l->due[block]);
    }
    l->open = false;
    return 0;
}
