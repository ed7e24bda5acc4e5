/* From a path and overrides to a checked config, in named steps. Faults of all steps are collected; a step is
 * left out only where an earlier fault would make it complain about things that are not there. */
#include "config/parts.h"

#include <string.h>

/* Every key of the table gets a node in the tree. */
static void complete_tree(struct ddp_config *cfg)
{
    for (const struct ddp_key *key = ddp_config_keys; key->name; key++) {
        struct ddp_node *group = cfg->tree;
        const char *name = key->name, *dot = strchr(name, '.');
        if (dot) {
            char *text = ddp_arena_strdup(cfg->arena, name);
            text[dot - name] = '\0';
            group = ddp_node_child(cfg->tree, text);
            if (!group) {
                group = ddp_node_create(cfg->arena, DDP_NODE_GROUP, text, DDP_DEFAULT_FILE, 0);
                ddp_node_add(cfg->tree, group);
            }
            name = dot + 1;
        }
        if (group->type == DDP_NODE_GROUP && !ddp_node_child(group, name) && key->dflt)
            ddp_node_add(group, ddp_key_default(cfg->arena, key, name));
    }
}

static int read_file(struct ddp_config *cfg, const char *path, struct ddp_error *err)
{
    if (path)
        return ddp_parse_file(cfg->arena, path, &cfg->tree, err);
    cfg->tree = ddp_node_create(cfg->arena, DDP_NODE_GROUP, NULL, DDP_COMMAND_LINE, 0);
    return 0;
}

int ddp_config_load(const struct ddp_config_options *opt, struct ddp_config **out, struct ddp_error *err)
{
    struct ddp_error faults = {0};
    struct ddp_arena *arena = ddp_arena_create();
    struct ddp_config *cfg = ddp_arena_alloc(arena, sizeof *cfg);
    cfg->arena = arena;
    struct ddp_override *overrides;
    int n;

    ddp_env_check(&faults);
    ddp_overrides_parse(cfg, opt, &overrides, &n, &faults);
    if (read_file(cfg, opt->path, &faults) < 0)
        goto done;
    ddp_overrides_choose(cfg, overrides, n, &faults);
    ddp_groups_read(cfg, opt, &faults);
    ddp_overrides_apply(cfg, overrides, n, &faults);
    ddp_keys_read(cfg, cfg->tree, ddp_config_keys, NULL, cfg, &faults);
    complete_tree(cfg);
    ddp_config_place(cfg, opt->path);
    ddp_config_check(cfg, &faults);
    if (opt->check)
        opt->check(cfg, opt->user, &faults);
done:
    if (faults.code) {
        ddp_arena_destroy(arena);
        return ddp_error_add(err, faults.code, "%s", faults.text);
    }
    *out = cfg;
    return 0;
}

void ddp_config_destroy(struct ddp_config *cfg)
{
    if (cfg)
        ddp_arena_destroy(cfg->arena);
}
