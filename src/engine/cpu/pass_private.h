/* Private to src/engine/cpu: one rank's memory for a model, and the state of the pass that runs in it. */
#ifndef DDP_CPU_PASS_PRIVATE_H
#define DDP_CPU_PASS_PRIVATE_H

#include "engine/cpu/pass.h"
#include "model/memory_plan.h"

/* A shard in memory. Tensors point into its area of the pages and never move. */
struct ddp_cpu_resident {
    char *area;
    struct ddp_tensor *value, *grad; /* [nvalues]; p NULL: does not exist */
    float *stats;                    /* leaves of running statistics, [flat.metrics - flat.stats] */
    struct ddp_shard shard;          /* of the last forward */
    float loss;
    float error;
    int64_t correct;
};

struct ddp_cpu_pass {
    struct ddp_cpu_pass_conf conf;
    const struct ddp_stages *plan;
    struct ddp_memory mem;
    /* [mem.nspans] shares bytes with something of another form: its border, which kernels never write, must
     * be zeroed before each use. */
    bool *dirty;
    struct ddp_cpu_pages own, *pages;
    size_t bytes; /* of the pages that are its own, or that it borrows */
    void *scratch;
    struct ddp_cpu_resident *res; /* [conf.resident] */
    double *sync_leaves, *sync_sum;
    /* of the last forward */
    int n; /* shards */
    int64_t epoch, count;
    struct ddp_probe *probe; /* who is told what ops compute; NULL: nobody */
    int first;               /* of the shards in memory, among those of the step */
};

/* Before p writes in its pages: they are as it left them, or zeros. */
void ddp_cpu_pass_hold(struct ddp_cpu_pass *p);

/* probe.c: tell what stage s made of resident shard i; p->probe is not NULL. */
void ddp_cpu_pass_tell_forward(const struct ddp_cpu_pass *p, int s, int i, const struct ddp_op_call *c);
void ddp_cpu_pass_tell_backward(const struct ddp_cpu_pass *p, int s, int i, const struct ddp_op_call *c);

#endif
