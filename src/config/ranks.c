/* What a config says per rank becomes what it says of the whole, once it is known how many ranks there are:
 * from then on it is a config like any other, and means the same on any number of them. */
#include "config/parts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { WORD = -1, NONE = 0, SQRT = 2 }; /* train.shards = "ranks"; optim.lr_rule */

bool ddp_config_by_ranks(const struct ddp_config *cfg)
{
    return cfg->train.batch_per_rank > 0 || cfg->train.shards == WORD || cfg->optim.lr_rule != NONE;
}

/* A key's node in the tree takes the value; it keeps saying where it was written. */
static struct ddp_node *node_of(struct ddp_config *cfg, const char *key, enum ddp_node_type type)
{
    struct ddp_node *n = (struct ddp_node *)(uintptr_t)ddp_node_get(cfg->tree, key);
    n->type = type;
    return n;
}

static void set_int(struct ddp_config *cfg, const char *key, int64_t *field, int64_t value)
{
    *field = value;
    node_of(cfg, key, DDP_NODE_INT)->i = value;
}

static double factor(const struct ddp_config *cfg, int ranks)
{
    return cfg->optim.lr_rule == NONE   ? 1
           : cfg->optim.lr_rule == SQRT ? ddp_sqrt((double)ranks)
                                        : (double)ranks;
}

static int check(const struct ddp_config *cfg, int ranks, struct ddp_error *err)
{
    char where[DDP_WHERE_SIZE], text[32];
    const double lr = cfg->optim.lr * factor(cfg, ranks);
    const int64_t batch = cfg->train.batch_per_rank, most = ddp_key_find(ddp_config_keys, "train.batch")->max;
    if (batch > most / ranks)
        return ddp_fail(err, DDP_E_CONFIG,
                        "%strain.batch_per_rank = %lld on %d ranks makes a batch of more than %lld images",
                        ddp_config_where(cfg, "train.batch_per_rank", where, sizeof where), (long long)batch,
                        ranks, (long long)most);
    if (lr > ddp_key_find(ddp_config_keys, "optim.lr")->max)
        return ddp_fail(err, DDP_E_CONFIG,
                        "%soptim.lr_rule makes a learning rate of %s on %d ranks, above what is allowed",
                        ddp_config_where(cfg, "optim.lr_rule", where, sizeof where),
                        ddp_double_text(lr, text), ranks);
    return 0;
}

int ddp_config_for_ranks(struct ddp_config *cfg, int ranks, struct ddp_text *notes, struct ddp_error *err)
{
    char lr[32];
    if (!ddp_config_by_ranks(cfg))
        return 0;
    const int status = check(cfg, ranks, err);
    if (status)
        return status;
    const double scale = factor(cfg, ranks);
    if (cfg->train.batch_per_rank > 0)
        set_int(cfg, "train.batch", &cfg->train.batch, cfg->train.batch_per_rank * ranks);
    if (cfg->train.shards == WORD)
        set_int(cfg, "train.shards", &cfg->train.shards, ranks);
    if (scale != 1)
        node_of(cfg, "optim.lr", DDP_NODE_FLOAT)->f = cfg->optim.lr = cfg->optim.lr * scale;
    set_int(cfg, "train.batch_per_rank", &cfg->train.batch_per_rank, 0);
    node_of(cfg, "optim.lr_rule", DDP_NODE_STRING)->s = "none";
    cfg->optim.lr_rule = NONE;
    ddp_text_add(
        notes,
        "by the number of ranks, %d: train.batch = %lld, train.shards = %lld, optim.lr = %s. The result "
        "depends on this number; the run's config.cfg has these values, and with it the result is the "
        "same on any\n",
        ranks, (long long)cfg->train.batch, (long long)cfg->train.shards, ddp_double_text(cfg->optim.lr, lr));
    return ddp_config_check_whole(cfg, err);
}
