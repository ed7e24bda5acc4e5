/* Whether two runs went through the same states, else where they part, in which tensors, and why perhaps.
 *
 * Witnesses are weights.trail (hashes of every tensor after a step), metrics.jsonl (losses, learning rates
 * and evaluations, exact) and the hash of the final weights. The first step that differs is that of the
 * first record of any of them that does; the truth lies behind the last record before it, all of which
 * agree. */
#ifndef DDP_RUNS_VERDICT_H
#define DDP_RUNS_VERDICT_H

#include "differ.h"

enum ddp_verdict_kind {
    DDP_VERDICT_EQUAL,
    DDP_VERDICT_SO_FAR,    /* nothing differs as far as both go, and one goes further or has no result */
    DDP_VERDICT_DIFFERENT, /* from first_step on */
    DDP_VERDICT_UNKNOWN    /* they have no record of the same step */
};

struct ddp_cause {
    char *text;  /* "optim.lr = 0.1 / 0.2" */
    char *key;   /* "optim.lr"; "" where it is none */
    char *a, *b; /* its values; NULL: none */
    int weight;  /* enum ddp_weight */
    int score;   /* the likeliest first */
    bool likely; /* false: possible */
};

enum { DDP_VERDICT_NOTES = 8 };

struct ddp_verdict {
    enum ddp_verdict_kind kind;
    int64_t first_step;    /* that differs; -1: none */
    int64_t equal_step;    /* the last of which both have a record, all that differ being later; -1: none */
    int64_t records;       /* compared and equal before that */
    char part[32];         /* of the state: "parameters"; or "loss", "lr", "evaluation", "weights" */
    int64_t tensors_step;  /* of the tensors; -1: none are known */
    char tensors_part[32]; /* gradient, optimizer or parameters; "": none */
    char **tensor;         /* that differ in the first record of the trail that does, in its order */
    int ntensors, tensors_of; /* of so many */
    struct ddp_cause *cause;  /* only of DDP_VERDICT_DIFFERENT */
    int ncauses;
    char note[DDP_VERDICT_NOTES][512]; /* what was damaged, missing, or is to be known */
    int nnotes;
};

/* a, b: whole (ddp_past_read_whole). */
void ddp_verdict_reach(const struct ddp_past *a, const struct ddp_past *b, struct ddp_verdict *out);
void ddp_verdict_finish(struct ddp_verdict *v);

/* causes.c: rank what differs by how well it explains where they part; fills in cause, ncauses. */
void ddp_causes_find(const struct ddp_differences *d, struct ddp_verdict *v);

/* verdict_json.c: the verdict as a JSON object: equal, first_divergent_step, last_equal_step, part, tensors,
 * tensors_step, causes, notes, and a word for the kind. */
json_t *ddp_verdict_json(const struct ddp_verdict *v);

#endif
