/* The flat layout of a small model, filled with numbers that tell where they belong. */
#include "toy_model.h"

#include <stdlib.h>
#include <string.h>

const struct ddp_flat *ddp_model_flat(const struct ddp_model *m)
{
    return &m->flat;
}

static void add(struct toy *t, int *n, int64_t *offset, const char *name, struct ddp_param param)
{
    struct ddp_flat_tensor *x = &t->model.tensor[(*n)++];
    strcpy(x->name, name);
    x->param = param;
    x->param.name = strrchr(x->name, '.') + 1;
    x->param.groups = 1;
    x->offset = *offset;
    x->size = ddp_layout_size(&x->param);
    *offset += (x->size + DDP_BLOCK - 1) / DDP_BLOCK * DDP_BLOCK;
}

void toy_fill(struct toy *t, uint32_t seed)
{
    const struct ddp_flat *flat = &t->model.flat;
    for (int i = 0; i < TOY_TENSORS; i++) {
        const struct ddp_flat_tensor *x = &flat->tensor[i];
        int64_t n = ddp_layout_plain_size(&x->param);
        float *plain = ddp_malloc((size_t)n * sizeof *plain);
        for (int a = -1; a < (i < TOY_TRAINED ? ddp_optim_arrays(t->optim) : 0); a++) {
            const char *name;
            float *base = a < 0 ? t->params : ddp_optim_array(t->optim, a, &name);
            for (int64_t e = 0; e < n; e++)
                plain[e] =
                    ddp_uniform(ddp_philox4((uint32_t)e, (uint32_t)i, (uint32_t)(a + 1), 0, seed).v[0]) -
                    0.5f;
            ddp_layout_pack(&x->param, plain, base + x->offset);
        }
        free(plain);
    }
}

void toy_init(struct toy *t, int classes, int optim, uint32_t seed)
{
    memset(t, 0, sizeof *t);
    int n = 0;
    int64_t at = 0;
    add(t, &n, &at, "conv1.weight",
        (struct ddp_param){.layout = DDP_LAYOUT_CONV, .ndim = 4, .dims = {20, 3, 3, 3}});
    add(t, &n, &at, "bn1.weight", (struct ddp_param){.ndim = 1, .dims = {20}, .no_decay = true});
    add(t, &n, &at, "bn1.bias", (struct ddp_param){.ndim = 1, .dims = {20}, .no_decay = true});
    add(t, &n, &at, "fc.weight",
        (struct ddp_param){.layout = DDP_LAYOUT_CONV, .ndim = 2, .dims = {classes, 80}, .in = {20, 2, 2}});
    add(t, &n, &at, "fc.bias", (struct ddp_param){.ndim = 1, .dims = {classes}, .no_decay = true});
    int64_t stats = at;
    add(t, &n, &at, "bn1.running_mean",
        (struct ddp_param){.role = DDP_PARAM_RUNNING_MEAN, .ndim = 1, .dims = {20}});
    add(t, &n, &at, "bn1.running_var",
        (struct ddp_param){.role = DDP_PARAM_RUNNING_VAR, .ndim = 1, .dims = {20}});
    t->model.flat = (struct ddp_flat){.ntensors = n,
                                      .tensor = t->model.tensor,
                                      .ntrained = TOY_TRAINED,
                                      .stats = stats,
                                      .metrics = at,
                                      .total = at + DDP_BLOCK};
    t->cfg.optim.type = optim;
    t->cfg.optim.lr = 0.1;
    t->cfg.optim.momentum = 0.9;
    t->cfg.optim.beta1 = 0.9;
    t->cfg.optim.beta2 = 0.999;
    t->cfg.optim.eps = 1e-8;
    t->cfg.optim.centered = true; /* rmsprop: all of its arrays */
    struct ddp_error err = {0};
    assert_int_equal(ddp_comm_self_create(&t->comm, &err), 0);
    t->params = ddp_calloc((size_t)t->model.flat.total, sizeof *t->params);
    if (ddp_optim_create(&t->cfg, &t->model.flat, t->comm, t->params, 100, 10, &t->optim, &err) != 0)
        fail_msg("%s", err.text);
    toy_fill(t, seed);
    t->state = (struct ddp_train_state){.step = 500,
                                        .epoch = 3,
                                        .batch = 17,
                                        .batches_tracked = 500,
                                        .best_loss = 0.1,
                                        .best_accuracy = 0.98765432101234567,
                                        .best_step = 400,
                                        .evals_since_best = 2,
                                        .epoch_loss_sum = 1e-310,
                                        .epoch_correct = 1234,
                                        .epoch_count = 2048,
                                        .evaluations = 5,
                                        .config_hash = "c0ffee"};
}

void toy_finish(struct toy *t)
{
    ddp_optim_destroy(t->optim);
    ddp_comm_destroy(t->comm);
    free(t->params);
}

void toy_hash(struct toy *t, char hex[65])
{
    struct ddp_sha256 h;
    ddp_sha256_init(&h);
    size_t bytes = (size_t)t->model.flat.total * sizeof(float);
    ddp_sha256_update(&h, t->params, bytes);
    for (int i = 0; i < ddp_optim_arrays(t->optim); i++) {
        const char *name;
        ddp_sha256_update(&h, ddp_optim_array(t->optim, i, &name), bytes);
    }
    ddp_sha256_hex(&h, hex);
}

void toy_save(struct toy *t, const char *dir, int64_t step, bool best)
{
    struct ddp_snapshot *snap;
    struct ddp_saver *saver;
    struct ddp_error err = {0};
    t->state.step = step;
    assert_int_equal(ddp_snapshot_create(&t->model, t->optim, &snap, &err), 0);
    ddp_snapshot_take(snap, t->params, &t->state);
    assert_int_equal(ddp_saver_create(dir, 0, false, &saver, &err), 0);
    if (ddp_saver_save(saver, snap, best, &err) != 0)
        fail_msg("%s", err.text);
    ddp_saver_destroy(saver);
    ddp_snapshot_destroy(snap);
}
