/* In what two runs differ, by what their records say: one list, each entry with what it can have done. */
#ifndef DDP_RUNS_DIFFER_H
#define DDP_RUNS_DIFFER_H

#include "past.h"

enum ddp_section {
    DDP_SECTION_CONFIG,
    DDP_SECTION_CODE,
    DDP_SECTION_DATA,
    DDP_SECTION_LIBRARIES,
    DDP_SECTION_MACHINE,
    DDP_SECTION_JOB, /* ranks, legs, environment */
    DDP_SECTION_RESULT,
    DDP_SECTIONS
};

enum ddp_weight {
    DDP_WEIGHT_BITS,  /* results are a function of it */
    DDP_WEIGHT_DOUBT, /* they may be: code, compilers, libraries */
    DDP_WEIGHT_EVAL,  /* only of what is evaluated, and what follows from that */
    DDP_WEIGHT_END,   /* only how far it gets */
    DDP_WEIGHT_NONE,  /* by the promise they are not */
    DDP_WEIGHT_RESULT /* it is a result */
};

struct ddp_difference {
    enum ddp_section section;
    enum ddp_weight weight;
    char *key, *a, *b; /* texts; "-": not there */
};

struct ddp_differences {
    struct ddp_difference *item;
    int n;
};

const char *ddp_section_name(enum ddp_section s); /* static */
/* Of all sections, in their order. */
void ddp_differ(const struct ddp_past *a, const struct ddp_past *b, struct ddp_differences *out);
/* Of two configs as config.json has them alone, in the order of the keys in it. NULL is an empty one. */
void ddp_differ_configs(const json_t *a, const json_t *b, struct ddp_differences *out);
void ddp_differences_finish(struct ddp_differences *d);

#endif
