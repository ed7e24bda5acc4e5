/* Private to src/engine: how an engine tells what its ops computed (probe.h). A pass asks for the node of
 * what it has made, and hands over the tensor; all calls want a probe that is on (ddp_probe_begin). */
#ifndef DDP_ENGINE_PROBING_H
#define DDP_ENGINE_PROBING_H

#include "engine/engine.h"

struct ddp_probe {
    const struct ddp_engine *e;
    struct ddp_probe_node *node;
    int n;
    bool on, begun; /* the step at hand is looked at; one was */
    /* Where nodes are. The first of a row; begin and update have each state array of each trained tensor,
     * then each tensor: */
    int begin, input, sum, lr, norm, update;
    int *forward;              /* [stages] of its output, or its loss */
    int (*din)[DDP_OP_MAX_IN]; /* [stages]; -1: not wanted */
    int *leaf;                 /* [tensors] of what a shard adds: gradient or statistic */
    float *sums;  /* [flat total] of the node: where sums are kept whose values are wanted; NULL: none */
    float *plain; /* of the largest value */
};

/* Collective. Leaves e->probe NULL where probe.from is 0. DDP_E_CONFIG: an engine that does not tell, or a
 * pattern of probe.values that fits no node; the same on all ranks. */
int ddp_probe_create(struct ddp_engine *e, struct ddp_error *err);
void ddp_probe_destroy(struct ddp_engine *e); /* local; of a half-made one, too */

/* Before step `step` (from 0); digests the state where it is the first that is looked at. Without a probe
 * nothing happens. */
void ddp_probe_begin(struct ddp_engine *e, int64_t step);
/* After it: the state, and what it was updated with. */
void ddp_probe_end(struct ddp_engine *e);

static inline bool ddp_probe_on(const struct ddp_probe *p)
{
    return p && p->on;
}

/* What went into shard s of the step. */
void ddp_probe_shard(struct ddp_probe *p, int s, const struct ddp_shard *shard);
/* An activation, or the gradient of one. */
void ddp_probe_tensor(struct ddp_probe *p, int node, int s, const struct ddp_tensor *t);
/* What a shard adds to flat tensor i, at its place in the leaf. */
void ddp_probe_leaf(struct ddp_probe *p, int i, int s, const float *at);
void ddp_probe_loss(struct ddp_probe *p, int node, int s, float loss);
/* [lo, hi) of the sums over all shards, before anything is done to them. From several threads at once. */
void ddp_probe_sums(struct ddp_probe *p, int64_t lo, int64_t hi, const float *sum);

/* A pattern of probe.values. */
bool ddp_probe_fits(const struct ddp_probe_node *node, const char *pattern);
/* probe_nodes.c: the list, and its memory. */
void ddp_probe_list(struct ddp_probe *p);
void ddp_probe_unlist(struct ddp_probe *p);

#endif
