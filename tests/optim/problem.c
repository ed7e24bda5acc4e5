/* The small model, its gradients, and steps of an optimizer over any cut of it. */
#include "problem.h"

#include <stdlib.h>
#include <string.h>

static void add_tensor(struct problem *p, int i, const char *name, int64_t size, int64_t *offset,
                       bool no_decay)
{
    struct ddp_flat_tensor *t = &p->tensor[i];
    snprintf(t->name, sizeof t->name, "%s", name);
    t->param = (struct ddp_param){.name = strrchr(t->name, '.') + 1,
                                  .layout = DDP_LAYOUT_VECTOR,
                                  .ndim = 1,
                                  .dims = {size},
                                  .groups = 1,
                                  .no_decay = no_decay};
    t->offset = *offset;
    t->size = size;
    *offset += (size + DDP_BLOCK - 1) / DDP_BLOCK * DDP_BLOCK;
}

static float uniform(int64_t i, uint32_t stream)
{
    return ddp_uniform(ddp_philox4((uint32_t)i, 0, 0, stream, 42).v[0]) * 2 - 1;
}

void problem_init(struct problem *p)
{
    memset(p, 0, sizeof *p);
    int64_t offset = 0;
    add_tensor(p, 0, "conv.weight", 10000, &offset, false);
    add_tensor(p, 1, "conv.bias", 48, &offset, true);
    add_tensor(p, 2, "fc.weight", 8192, &offset, false);
    add_tensor(p, 3, "fc.bias", 16, &offset, true);
    assert_int_equal(offset, TRAINED);
    add_tensor(p, 4, "bn.running_mean", 16, &offset, true);
    p->tensor[4].param.role = DDP_PARAM_RUNNING_MEAN;
    p->flat = (struct ddp_flat){.ntensors = TENSORS + 1,
                                .tensor = p->tensor,
                                .ntrained = TENSORS,
                                .stats = TRAINED,
                                .metrics = TRAINED + DDP_BLOCK,
                                .total = TOTAL};
    p->cfg.optim.type = DDP_OPTIM_SGD;
    p->cfg.optim.lr = 0.1;
    p->cfg.optim.beta1 = 0.9;
    p->cfg.optim.beta2 = 0.99;
    p->cfg.optim.alpha = 0.99;
    p->cfg.optim.eps = 1e-6;
    p->cfg.optim.trust = 0.02;
    struct ddp_error err = {0};
    assert_int_equal(ddp_comm_self_create(&p->comm, &err), 0);
    p->params = ddp_calloc(TOTAL, sizeof *p->params);
    p->sum = ddp_calloc(TOTAL, sizeof *p->sum);
    p->values = ddp_calloc(4 * TOTAL / DDP_BLOCK, sizeof *p->values);
    for (int t = 0; t <= TENSORS; t++)
        for (int64_t i = 0; i < p->tensor[t].size; i++)
            p->params[p->tensor[t].offset + i] = uniform(p->tensor[t].offset + i, 1);
}

void problem_start(struct problem *p)
{
    struct ddp_error err = {0};
    if (ddp_optim_create(&p->cfg, &p->flat, p->comm, p->params, 100, 10, &p->optim, &err) != 0)
        fail_msg("%s", err.text);
}

void problem_finish(struct problem *p)
{
    ddp_optim_destroy(p->optim);
    ddp_comm_destroy(p->comm);
    free(p->params);
    free(p->sum);
    free(p->values);
    memset(p, 0, sizeof *p);
}

void problem_gradient(struct problem *p, int64_t step)
{
    memset(p->sum, 0, TOTAL * sizeof *p->sum);
    for (int t = 0; t < TENSORS; t++)
        for (int64_t i = 0; i < p->tensor[t].size; i++)
            p->sum[p->tensor[t].offset + i] = uniform(p->tensor[t].offset + i, 100 + (uint32_t)step) * 3;
}

void problem_step(struct problem *p, int64_t step, int64_t count, const int *cuts, int ncuts)
{
    int stages = ddp_optim_stages(&p->cfg);
    ddp_optim_begin(p->optim, step, count);
    for (int stage = 0; stage < stages; stage++) {
        /* slices in falling order: the order must not matter either */
        for (int s = ncuts; s >= 0; s--) {
            int64_t lo = s == 0 ? 0 : (int64_t)cuts[s - 1] * DDP_BLOCK;
            int64_t hi = s == ncuts ? TRAINED : (int64_t)cuts[s] * DDP_BLOCK;
            ddp_optim_run(p->optim, stage, lo, hi, p->sum + lo, p->values);
        }
        if (stage + 1 < stages)
            ddp_optim_between(p->optim, stage, p->values, TOTAL / DDP_BLOCK);
    }
}

void problem_hash(struct problem *p, char hex[65])
{
    struct ddp_sha256 h;
    ddp_sha256_init(&h);
    ddp_sha256_update(&h, p->params, TOTAL * sizeof *p->params);
    for (int i = 0; i < ddp_optim_arrays(p->optim); i++) {
        const char *name;
        ddp_sha256_update(&h, ddp_optim_array(p->optim, i, &name), TOTAL * sizeof(float));
    }
    ddp_sha256_hex(&h, hex);
}
