/* Which pictures there are: the folders' part of packing. Private to pack.c. */
#ifndef DDP_DATA_PACK_SCAN_H
#define DDP_DATA_PACK_SCAN_H

#include "data/pack.h"
#include "ddp/dataset.h"

struct ddp_pack_item {
    char *path;
    int32_t label;
};

struct ddp_pack_scan {
    char **class_names; /* sorted */
    int classes;
    struct ddp_pack_item *item[2]; /* of each split, by class, then by name */
    int64_t count[2];
    int64_t ignored;
    int at_fault; /* after an error: the split whose folder is at fault, -1: both have the same */
};

int ddp_pack_scan(const struct ddp_pack_options *opt, struct ddp_pack_scan *scan, struct ddp_error *err);
/* Take pictures out: those with out[i], [count[split]]. */
void ddp_pack_scan_drop(struct ddp_pack_scan *scan, int split, const bool *out);
void ddp_pack_scan_finish(struct ddp_pack_scan *scan);

#endif
