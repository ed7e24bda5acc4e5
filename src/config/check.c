/* Rules between keys: what no single row of the table can say. */
#include "config/parts.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MAX_LEAVES = 65536, MAX_CHANNELS = 4, MAX_LAYERS = 10000 };

struct checker {
    const struct ddp_config *cfg;
    struct ddp_config *loaded; /* the same, in the making; NULL: it is whole */
    struct ddp_error *err;
};

static void broken(struct checker *c, const char *key, const char *fmt, ...) DDP_PRINTF(3, 4);

/* A rule is asked only where all keys that it reads are what the user gave. */
static bool usable(const struct checker *c, const char *a, const char *b)
{
    return ddp_config_usable(c->cfg, a) && (!b || ddp_config_usable(c->cfg, b));
}

static void broken(struct checker *c, const char *key, const char *fmt, ...)
{
    char where[DDP_WHERE_SIZE], text[1024];
    const struct ddp_node *node = ddp_node_get(c->cfg->tree, key);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (c->loaded)
        ddp_config_refuse(c->loaded, key);
    ddp_error_add(c->err, DDP_E_CONFIG, "%s: %s: %s", node ? ddp_node_where(node, where) : DDP_DEFAULT_FILE,
                  key, text);
}

static void check_train(struct checker *c)
{
    const struct ddp_config *cfg = c->cfg;
    int64_t batch = cfg->train.batch, shards = cfg->train.shards, k = cfg->train.accumulate;
    if (batch < shards && cfg->train.batch_per_rank == 0 && usable(c, "train.batch", "train.shards"))
        broken(
            c, "train.batch",
            "a batch of %" PRId64 " image%s cannot be cut into train.shards = %" PRId64
            " shards; wants train.batch >= train.shards (raise the batch, or lower train.shards to %" PRId64
            " or less)",
            batch, ddp_plural(batch), shards, batch);
    if (shards * k > MAX_LEAVES && usable(c, "train.shards", "train.accumulate"))
        broken(c, "train.accumulate", "train.shards * train.accumulate is %" PRId64 "; wants at most %d",
               shards * k, MAX_LEAVES);
    if (cfg->train.early_stop > 0 && cfg->eval.every_epochs == 0 &&
        usable(c, "train.early_stop", "eval.every_epochs"))
        broken(c, "train.early_stop",
               "stops by evaluations, but eval.every_epochs = 0 makes none before the end; "
               "wants eval.every_epochs >= 1");
}

/* Values per rank, which ddp_config_for_ranks makes whole. */
static void check_ranks(struct checker *c)
{
    const struct ddp_config *cfg = c->cfg;
    if (cfg->optim.lr_rule != 0 && cfg->train.batch_per_rank == 0 &&
        usable(c, "optim.lr_rule", "train.batch_per_rank"))
        broken(c, "optim.lr_rule",
               "is for batches that grow with the number of ranks; wants train.batch_per_rank");
}

static void check_precision(struct checker *c)
{
    double scale = c->cfg->train.loss_scale;
    while (scale > 1)
        scale /= 2;
    if (scale != 1) {
        char got[32];
        broken(c, "train.loss_scale", "wants a power of two (65536, 1024, 1), got %s: scaling is then exact",
               ddp_double_text(c->cfg->train.loss_scale, got));
    }
}

static void check_model(struct checker *c)
{
    const struct ddp_config *cfg = c->cfg;
    if (!usable(c, "model.layers", "model.input"))
        return;
    const int layers = cfg->model.layers ? ddp_node_count(cfg->model.layers) : 0;
    if (layers > MAX_LAYERS)
        broken(c, "model.layers", "has %d layers; wants at most %d", layers, MAX_LAYERS);
    if (!cfg->model.layers)
        broken(c, "model.layers",
               "the model has no layers; wants model = \"mnist_cnn\" (a file in configs/model), or "
               "layers = ( { type = \"..\"; }, .. )");
    else if (cfg->model.layers->type != DDP_NODE_LIST)
        broken(c, "model.layers", "wants a list of groups ( {..}, {..} ), got a group; put ( ) around it");
    if (cfg->model.input.n != 0 && cfg->model.input.n != 3)
        broken(c, "model.input", "wants [channels, height, width] or [ ], got %d number%s",
               cfg->model.input.n, ddp_plural(cfg->model.input.n));
    for (int i = 0; i < cfg->model.input.n; i++)
        if (cfg->model.input.v[i] != (double)(int64_t)cfg->model.input.v[i])
            broken(c, "model.input", "wants whole numbers");
}

static bool of_pictures(const char *format)
{
    static const char *const pictures[] = {"digits", "idx",    "cifar10", "cifar100",
                                           "packed", "folder", "noise"};
    for (size_t i = 0; i < DDP_COUNT(pictures); i++)
        if (strcmp(format, pictures[i]) == 0)
            return true;
    return false;
}

static void check_noise(struct checker *c)
{
    const struct ddp_floats *s = &c->cfg->data.shape;
    bool whole = s->n == 3 && s->v[0] <= MAX_CHANNELS;
    for (int i = 0; i < s->n; i++)
        whole = whole && s->v[i] == (double)(int64_t)s->v[i];
    if (!whole && usable(c, "data.shape", NULL))
        broken(c, "data.shape", "wants [channels, height, width], whole numbers, of 1 to %d channels",
               MAX_CHANNELS);
}

static void check_data(struct checker *c)
{
    const struct ddp_config *cfg = c->cfg;
    int means = cfg->data.mean.n, stds = cfg->data.std.n;
    if (!usable(c, "data.mean", "data.std"))
        means = stds = 0;
    if (means != stds)
        broken(c, means ? "data.mean" : "data.std",
               "data.mean has %d number%s and data.std %d; wants one of each per channel", means,
               ddp_plural(means), stds);
    else if (means > MAX_CHANNELS && of_pictures(cfg->data.format))
        broken(c, "data.mean", "has %d numbers; pictures have 1 to %d channels", means, MAX_CHANNELS);
    if (!usable(c, "data.format", "data.path"))
        return;
    if (!cfg->data.format[0])
        broken(c, "data.format",
               "is empty; wants digits, idx, cifar10, cifar100, packed, folder, csv, idx_real, friedman, "
               "noise or a "
               "registered format");
    check_noise(c);
    static const char *const stored[] = {"idx", "cifar10", "cifar100", "packed", "folder", "csv", "idx_real"};
    for (size_t i = 0; i < DDP_COUNT(stored); i++)
        if (strcmp(cfg->data.format, stored[i]) == 0 && !cfg->data.path[0])
            broken(c, "data.path",
                   "is empty; format \"%s\" wants the %s below data.root = \"%.200s\" (data.path=..)",
                   stored[i], i == 3 ? "file that `ddp-data pack` wrote" : "folder of the data set",
                   cfg->data.root);
}

static void check_optim(struct checker *c)
{
    const struct ddp_config *cfg = c->cfg;
    const struct ddp_floats *m = &cfg->optim.milestones;
    const bool steps = usable(c, "optim.milestones", "optim.schedule");
    for (int i = 1; i < m->n && steps; i++)
        if (!(m->v[i] > m->v[i - 1])) {
            char a[32], b[32];
            broken(c, "optim.milestones", "wants ascending epochs, but %s follows %s",
                   ddp_double_text(m->v[i], a), ddp_double_text(m->v[i - 1], b));
            break;
        }
    if (cfg->optim.schedule == DDP_SCHEDULE_STEP && m->n == 0 && steps)
        broken(c, "optim.milestones",
               "is empty; schedule \"step\" wants the epochs after which to multiply by optim.gamma");
    bool ends = cfg->optim.schedule == DDP_SCHEDULE_COSINE || cfg->optim.schedule == DDP_SCHEDULE_POLY;
    if (ends && cfg->optim.final_lr > cfg->optim.lr && usable(c, "optim.final_lr", "optim.lr") &&
        usable(c, "optim.schedule", NULL))
        broken(c, "optim.final_lr",
               "is above optim.lr, which schedules \"cosine\" and \"poly\" come down from");
    if (cfg->optim.nesterov && (cfg->optim.momentum <= 0 || cfg->optim.dampening != 0) &&
        usable(c, "optim.momentum", "optim.dampening") && usable(c, "optim.nesterov", NULL))
        broken(c, "optim.nesterov", "wants optim.momentum > 0 and optim.dampening = 0");
    if (cfg->optim.groups && usable(c, "optim.groups", NULL) && cfg->optim.groups->type != DDP_NODE_LIST)
        broken(c, "optim.groups", "wants a list of groups ( {..}, {..} ), got a group; put ( ) around it");
}

void ddp_config_check(struct ddp_config *cfg, struct ddp_error *err)
{
    struct checker c = {cfg, cfg, err};
    check_train(&c);
    check_ranks(&c);
    check_precision(&c);
    check_model(&c);
    check_data(&c);
    check_optim(&c);
    if (!cfg->run.dir[0] && usable(&c, "run.dir", NULL))
        broken(&c, "run.dir", "is empty; wants a folder (\".\" is the current one)");
    if (strchr(cfg->run.name, '/') && usable(&c, "run.name", NULL))
        broken(&c, "run.name",
               "is a part of a folder's name and cannot hold '/' (run.dir says where runs lie)");
}

int ddp_config_check_whole(const struct ddp_config *cfg, struct ddp_error *err)
{
    struct ddp_error found = {0};
    struct checker c = {cfg, NULL, &found};
    check_train(&c);
    return found.code ? ddp_fail(err, found.code, "%s", found.text) : 0;
}

int ddp_config_check_device(const struct ddp_config *cfg, bool cuda, struct ddp_error *err)
{
    struct ddp_error found = {0};
    struct checker c = {cfg, NULL, &found};
    if (!cuda && cfg->train.precision != DDP_PRECISION_FP32)
        broken(&c, "train.precision",
               "%s is for GPUs, and this run computes on the CPU (device=%s); wants fp32 there, or a GPU: "
               "device=cuda says why none is taken",
               cfg->train.precision == DDP_PRECISION_BF16 ? "bf16" : "fp16",
               cfg->device == DDP_DEVICE_AUTO ? "auto found no GPU" : "cpu");
    if (!cuda && cfg->train.tf32)
        broken(&c, "train.tf32",
               "true is for GPUs, and this run computes on the CPU (device=%s); wants false there, or a GPU: "
               "device=cuda says why none is taken",
               cfg->device == DDP_DEVICE_AUTO ? "auto found no GPU" : "cpu");
    return found.code ? ddp_fail(err, found.code, "%s", found.text) : 0;
}
