/* Keys that were set and have no effect: not wrong, but hardly what was meant. */
#include <stdio.h>
#include <string.h>

#include "train/check.h"
#include "train/plan.h"

#define OPTIM(NAME) (1u << DDP_OPTIM_##NAME)

static bool steps(const struct ddp_config *c)
{
    return c->optim.schedule == DDP_SCHEDULE_STEP;
}
static bool comes_down(const struct ddp_config *c)
{
    return c->optim.schedule == DDP_SCHEDULE_COSINE || c->optim.schedule == DDP_SCHEDULE_POLY;
}
static bool poly(const struct ddp_config *c)
{
    return c->optim.schedule == DDP_SCHEDULE_POLY;
}
static bool onecycle(const struct ddp_config *c)
{
    return c->optim.schedule == DDP_SCHEDULE_ONECYCLE;
}
static bool warms_up(const struct ddp_config *c)
{
    return c->optim.warmup_steps > 0;
}
static bool is_fp16(const struct ddp_config *c)
{
    return c->train.precision == DDP_PRECISION_FP16;
}
static bool reads_files(const struct ddp_config *c)
{
    return !ddp_dataset_is_made(c->data.format);
}
static bool is_noise(const struct ddp_config *c)
{
    return strcmp(c->data.format, "noise") == 0;
}
static bool crops_areas(const struct ddp_config *c)
{
    return c->data.crop_area.n > 0;
}
static bool normalizes(const struct ddp_config *c)
{
    return c->data.normalize;
}
static bool optim_is(const struct ddp_config *c, unsigned kinds)
{
    return kinds >> c->optim.type & 1;
}

/* A key, and when it acts: for these optimizers, or where a predicate holds. */
static const struct {
    const char *key;
    unsigned kinds; /* 0: `acts` says */
    bool (*acts)(const struct ddp_config *cfg);
    const char *wants; /* for whom, in words */
} rules[] = {
    {"optim.momentum", OPTIM(SGD) | OPTIM(LARS) | OPTIM(RMSPROP), NULL, "optim.type sgd, lars or rmsprop"},
    {"optim.dampening", OPTIM(SGD) | OPTIM(LARS), NULL, "optim.type sgd or lars"},
    {"optim.nesterov", OPTIM(SGD) | OPTIM(LARS), NULL, "optim.type sgd or lars"},
    {"optim.beta1", OPTIM(ADAM) | OPTIM(ADAMW) | OPTIM(LAMB), NULL, "optim.type adam, adamw or lamb"},
    {"optim.beta2", OPTIM(ADAM) | OPTIM(ADAMW) | OPTIM(LAMB), NULL, "optim.type adam, adamw or lamb"},
    {"optim.alpha", OPTIM(RMSPROP), NULL, "optim.type rmsprop"},
    {"optim.centered", OPTIM(RMSPROP), NULL, "optim.type rmsprop"},
    {"optim.trust", OPTIM(LARS), NULL, "optim.type lars"},
    {"optim.milestones", 0, steps, "optim.schedule step"},
    {"optim.gamma", 0, steps, "optim.schedule step"},
    {"optim.final_lr", 0, comes_down, "optim.schedule cosine or poly"},
    {"optim.power", 0, poly, "optim.schedule poly"},
    {"optim.pct_start", 0, onecycle, "optim.schedule onecycle"},
    {"optim.div_factor", 0, onecycle, "optim.schedule onecycle"},
    {"optim.final_div_factor", 0, onecycle, "optim.schedule onecycle"},
    {"optim.warmup_start", 0, warms_up, "optim.warmup_steps above 0"},
    {"train.loss_scale", 0, is_fp16, "train.precision fp16"},
    {"train.loss_scale_interval", 0, is_fp16, "train.precision fp16"},
    {"data.path", 0, reads_files, "a data.format that is read from files"},
    {"data.files", 0, reads_files, "a data.format that is read from files"},
    {"data.shape", 0, is_noise, "data.format noise"},
    {"data.classes", 0, is_noise, "data.format noise"},
    {"data.crop_ratio", 0, crops_areas, "data.crop_area, which is not set"},
    {"data.mean", 0, normalizes, "data.normalize true"},
    {"data.std", 0, normalizes, "data.normalize true"},
};

struct noting {
    const struct ddp_config *cfg;
    struct ddp_text *notes;
};

static void note(void *user, const char *key, const char *value, const char *dflt)
{
    const struct noting *n = user;
    char where[512];
    (void)dflt;
    for (size_t i = 0; i < DDP_COUNT(rules); i++) {
        if (strcmp(rules[i].key, key) != 0 ||
            (rules[i].kinds ? optim_is(n->cfg, rules[i].kinds) : rules[i].acts(n->cfg)))
            continue;
        ddp_text_add(n->notes, "%s%s = %s has no effect: it is for %s\n",
                     ddp_config_where(n->cfg, key, where, sizeof where), key, value, rules[i].wants);
    }
}

void ddp_train_note_keys(const struct ddp_config *cfg, int64_t last_step, struct ddp_text *notes)
{
    struct noting n = {cfg, notes};
    char where[512];
    ddp_config_not_default(cfg, note, &n);
    if (cfg->optim.warmup_steps > 0 && cfg->optim.warmup_steps >= last_step)
        ddp_text_add(
            notes,
            "%soptim.warmup_steps = %lld: the run ends after step %lld, before the learning rate has "
            "come up to optim.lr\n",
            ddp_config_where(cfg, "optim.warmup_steps", where, sizeof where),
            (long long)cfg->optim.warmup_steps, (long long)last_step);
}
