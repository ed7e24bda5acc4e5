/* The config as a whole, before anything starts. */
#include "train/check.h"

#include <stdlib.h>

#include "optim/optim.h"
#include "train/plan.h"
#include "train/promise.h"

/* ---- what shows without the data ---- */

void ddp_train_check_keys(struct ddp_config *cfg, void *user, struct ddp_error *err)
{
    struct ddp_train_check *check = user;
    bool layers = true;
    if (cfg->model.layers && cfg->model.layers->type == DDP_NODE_LIST &&
        ddp_config_usable(cfg, "model.layers"))
        ddp_model_check_layers(cfg, check->open, &layers, err);
    const bool format = ddp_dataset_known(cfg);
    if (!format && !check->open && ddp_config_usable(cfg, "data.format"))
        ddp_dataset_check(cfg, err);
    if (cfg->optim.groups && cfg->optim.groups->type == DDP_NODE_LIST &&
        ddp_config_usable(cfg, "optim.groups"))
        ddp_optim_check_groups(cfg, err);
    struct ddp_error found = {0};
    if (ddp_config_usable(cfg, "optim") && ddp_optim_check(cfg, &found) != 0)
        ddp_error_add(err, found.code, "%s", found.text);
    if (ddp_config_usable(cfg, "reduce.mode") && ddp_config_usable(cfg, "repro.level"))
        ddp_promise_check(cfg, err);
    check->known = layers && format;
}

/* ---- with model and data ---- */

/* Every batch of an epoch can be trained on: the short last one too, if the run gets there. */
static void check_batches(const struct ddp_config *cfg, const struct ddp_model *m,
                          const struct ddp_train_plan *p, int64_t samples, struct ddp_error *err)
{
    struct ddp_error found = {0};
    const int shards = (int)(cfg->train.shards * cfg->train.accumulate);
    const int64_t last = samples % p->batch;
    if (samples >= p->batch && ddp_model_check_batch(m, p->batch, shards, &found) != 0)
        ddp_error_add(err, found.code, "%s", found.text);
    else if (last != 0 && p->last_step >= p->per_epoch && ddp_model_check_batch(m, last, shards, &found) != 0)
        ddp_error_add(err, found.code, "the last batch of an epoch over %lld samples has %lld: %s",
                      (long long)samples, (long long)last, found.text);
}

static void check_settings(const struct ddp_config *cfg, const struct ddp_model *m, struct ddp_error *err)
{
    const struct ddp_flat *flat = ddp_model_flat(m);
    struct ddp_error found = {0};
    struct ddp_optim_setting *setting = ddp_calloc((size_t)flat->ntrained + 1, sizeof *setting);
    if (ddp_optim_settings(cfg, flat, setting, &found) != 0)
        ddp_error_add(err, found.code, "%s", found.text);
    free(setting);
}

int ddp_train_check_model(const struct ddp_config *cfg, const struct ddp_model *m, int64_t samples,
                          struct ddp_text *notes, struct ddp_error *err)
{
    struct ddp_error found = {0};
    struct ddp_train_plan plan = {.batch = cfg->train.batch * cfg->train.accumulate};
    ddp_train_plan_steps(&plan, cfg, samples);
    if (samples > 0) {
        check_batches(cfg, m, &plan, samples, &found);
        check_settings(cfg, m, &found);
        ddp_train_note_keys(cfg, plan.last_step, notes);
        ddp_promise_note(cfg, notes);
    }
    return found.code ? ddp_fail(err, found.code, "%s", found.text) : 0;
}

int ddp_train_check(struct ddp_config *cfg, bool eval_only, struct ddp_text *notes, struct ddp_error *err)
{
    struct ddp_dataset *test = NULL, *train = NULL;
    struct ddp_model *model = NULL;
    int status = ddp_dataset_glance(cfg, DDP_SPLIT_TEST, &test, err);
    if (status == 0 && !eval_only)
        status = ddp_dataset_glance(cfg, DDP_SPLIT_TRAIN, &train, err);
    if (status == 0 && train)
        status = ddp_dataset_check_splits(&train->info, &test->info, err);
    if (status == 0)
        status = ddp_cpu_select(NULL, err);
    const int64_t shards = cfg->train.shards;
    if (status == 0)
        status = ddp_model_create(cfg, test->info.shape, ddp_dataset_outputs(&test->info),
                                  (int)((cfg->train.batch + shards - 1) / shards), DDP_MODEL_FOR_HOST, &model,
                                  err);
    if (status == 0)
        status = ddp_train_check_model(cfg, model, train ? train->info.count : 0, notes, err);
    ddp_model_destroy(model);
    ddp_dataset_close(train);
    ddp_dataset_close(test);
    return status;
}
