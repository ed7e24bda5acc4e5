/* What the ops of a run computed, as its directory tells (RUN/probe, docs/run.md): read from the files of all
 * its ranks, put together, and compared with that of another run. */
#ifndef DDP_RUNS_PROBED_H
#define DDP_RUNS_PROBED_H

#include "base/base.h"

enum { DDP_PROBED_DIGITS = 16 };

struct ddp_probed_node {
    int64_t step;
    int at;                 /* place in the step */
    char *kind, *name, *op; /* "forward", "conv1", "conv2d+relu" or "" */
    char unit[8];           /* "shards", "blocks", "one" */
    int64_t of;             /* parts */
    char *hash;             /* [of][DDP_PROBED_DIGITS]; a part that begins with '\0' is not there */
};

struct ddp_probed {
    struct ddp_probed_node *node; /* by step, then place */
    int n;
    char fault[400]; /* of a file that is damaged or no record: what is wrong; "" else */
};

/* DDP_E_DATA: there is nothing to be read. */
int ddp_probed_read(const char *run, struct ddp_probed *out, struct ddp_error *err);
void ddp_probed_finish(struct ddp_probed *p);

/* Where two part: the first node, by step and place, that both have and that differs. */
struct ddp_parting {
    const struct ddp_probed_node *a, *b; /* NULL: all that both have is equal */
    int64_t part;   /* the first that differs; -1: they have different numbers of parts */
    int64_t differ; /* how many do */
    int64_t steps;  /* that both have, up to and with that step */
    int64_t equal;  /* nodes of that step, or of all steps, that are equal */
    /* what only one of them computes between the last equal one and that */
    const struct ddp_probed_node *only_a, *only_b;
};
void ddp_probed_part(const struct ddp_probed *a, const struct ddp_probed *b, struct ddp_parting *out);

/* "forward of 'conv1' (conv2d+relu)", "gradient of fc1.weight in backward of 'fc1' (linear)"; malloc'd. */
char *ddp_probed_words(const struct ddp_probed_node *node);

/* The first element of a part that differs, from the values that both runs kept (probe.values). */
struct ddp_element {
    int ndim;
    int64_t index[4];
    double a, b;
    bool integer;
    char a_text[32], b_text[32]; /* exact */
    int64_t differ, elements;
};
/* Of node's part; blocks: of the whole tensor. False: a run has kept no such values, or nothing differs
 * (then elements is > 0). */
bool ddp_probed_element(const char *run_a, const char *run_b, const struct ddp_probed_node *node,
                        int64_t part, struct ddp_element *out);

#endif
