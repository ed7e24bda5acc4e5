/* Which learning rate and weight decay each tensor gets.
 *
 * Decay is off for tensors that their op marks (norms, biases) and for those that a pattern of optim.no_decay
 * names. Then optim.groups applies in order, each to all tensors that its pattern matches: a key that a group
 * sets replaces what was before it, so that a group may also give a norm its decay back. Patterns are those
 * of fnmatch(3) over whole names, "layer1.*" or "*.bias". */
#include <fnmatch.h>

#include "optim/kind.h"
#include "optim/optim.h"

struct group {
    const char *match;
    double lr_scale, weight_decay;
};

static const struct ddp_key group_keys[] = {
    {.name = "match",
     .type = DDP_KEY_STRING,
     .offset = offsetof(struct group, match),
     .flags = DDP_KEY_RESULT | DDP_KEY_REQUIRED,
     .doc = "Pattern of tensor names, as in the shell: \"*.bias\""},
    {.name = "lr_scale",
     .type = DDP_KEY_FLOAT,
     .offset = offsetof(struct group, lr_scale),
     .dflt = "1.0",
     .min = 0,
     .max = 1e6,
     .flags = DDP_KEY_RESULT,
     .doc = "Factor of the learning rate; 0 freezes the tensors"},
    {.name = "weight_decay",
     .type = DDP_KEY_FLOAT,
     .offset = offsetof(struct group, weight_decay),
     .dflt = "0.0",
     .min = 0,
     .max = 1e3,
     .flags = DDP_KEY_RESULT,
     .doc = "Weight decay of the tensors, in place of optim.weight_decay"},
    {.name = NULL},
};

static bool decays(const struct ddp_config *cfg, const struct ddp_flat_tensor *t)
{
    if (t->param.no_decay)
        return false;
    for (int i = 0; i < cfg->optim.no_decay.n; i++)
        if (fnmatch(cfg->optim.no_decay.v[i], t->name, 0) == 0)
            return false;
    return true;
}

static int read_group(const struct ddp_config *cfg, const struct ddp_node *node, struct group *g,
                      struct ddp_error *err)
{
    /* reading adds strings to the arena of cfg and changes nothing else in it */
    return ddp_keys_read((struct ddp_config *)(uintptr_t)cfg, node, group_keys, NULL, g, err);
}

static const struct ddp_node *first_group(const struct ddp_config *cfg)
{
    return cfg->optim.groups ? cfg->optim.groups->first : NULL;
}

int ddp_optim_check_groups(const struct ddp_config *cfg, struct ddp_error *err)
{
    struct ddp_error found = {0};
    struct group g;
    for (const struct ddp_node *node = first_group(cfg); node; node = node->next)
        read_group(cfg, node, &g, &found);
    return found.code ? ddp_error_add(err, found.code, "%s", found.text) : 0;
}

/* The trained tensor whose name is nearest to a pattern that fits none; "" where there are none. */
static const char *nearest_tensor(const struct ddp_flat *flat, const char *pattern)
{
    const char *nearest = flat->ntrained ? flat->tensor[0].name : "";
    for (int i = 1; i < flat->ntrained; i++)
        if (ddp_edit_distance(pattern, flat->tensor[i].name) < ddp_edit_distance(pattern, nearest))
            nearest = flat->tensor[i].name;
    return nearest;
}

static bool fits_any(const struct ddp_flat *flat, const char *pattern)
{
    for (int i = 0; i < flat->ntrained; i++)
        if (fnmatch(pattern, flat->tensor[i].name, 0) == 0)
            return true;
    return false;
}

static int apply_group(const struct ddp_config *cfg, const struct ddp_node *node, const struct ddp_flat *flat,
                       struct ddp_optim_setting *out, struct ddp_error *err)
{
    struct group g;
    int status = read_group(cfg, node, &g, err);
    if (status)
        return status;
    char path[256], where[512];
    if (!fits_any(flat, g.match))
        return ddp_error_add(
            err, DDP_E_CONFIG,
            "%s%s.match = \"%s\" fits none of the model's %d tensor%s (the nearest name is '%s'); use a "
            "pattern such as \"%s*\" or remove the group",
            ddp_node_place(node, where, sizeof where), ddp_node_path(node, path, sizeof path), g.match,
            flat->ntrained, ddp_plural(flat->ntrained), nearest_tensor(flat, g.match),
            flat->ntrained ? flat->tensor[0].name : "");
    for (int i = 0; i < flat->ntrained; i++) {
        if (fnmatch(g.match, flat->tensor[i].name, 0) != 0)
            continue;
        if (ddp_node_get(node, "lr_scale"))
            out[i].lr_scale = g.lr_scale;
        if (ddp_node_get(node, "weight_decay"))
            out[i].weight_decay = g.weight_decay;
    }
    return 0;
}

/* A pattern that fits nothing is a slip: what it was meant for would decay. */
static void check_no_decay(const struct ddp_config *cfg, const struct ddp_flat *flat, struct ddp_error *err)
{
    char where[512];
    for (int i = 0; i < cfg->optim.no_decay.n; i++) {
        const char *pattern = cfg->optim.no_decay.v[i];
        if (!fits_any(flat, pattern))
            ddp_error_add(
                err, DDP_E_CONFIG,
                "%soptim.no_decay: \"%s\" fits none of the model's %d tensor%s (the nearest name is "
                "'%s'); use a pattern such as \"%s*\" or leave it out",
                ddp_config_where(cfg, "optim.no_decay", where, sizeof where), pattern, flat->ntrained,
                ddp_plural(flat->ntrained), nearest_tensor(flat, pattern),
                flat->ntrained ? flat->tensor[0].name : "");
    }
}

int ddp_optim_settings(const struct ddp_config *cfg, const struct ddp_flat *flat,
                       struct ddp_optim_setting *out, struct ddp_error *err)
{
    int status = ddp_optim_check(cfg, err);
    if (status)
        return status;
    for (int i = 0; i < flat->ntrained; i++) {
        bool d = decays(cfg, &flat->tensor[i]);
        out[i] = (struct ddp_optim_setting){
            .lr_scale = 1, .weight_decay = d ? cfg->optim.weight_decay : 0, .adapt = d, .trust = 1};
    }
    struct ddp_error found = {0};
    check_no_decay(cfg, flat, &found);
    for (const struct ddp_node *node = first_group(cfg); node; node = node->next)
        apply_group(cfg, node, flat, out, &found);
    return found.code ? ddp_fail(err, found.code, "%s", found.text) : 0;
}
