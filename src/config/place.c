/* What of a config depends on where the program runs. Names of files and folders that are read are made
 * absolute, so that the resolved config means the same from everywhere:
 *
 *   written in a file            relative to the folder of that file
 *   command line, default        relative to the working directory
 *   data.path                    the same; if nothing is there, below data.root. A data.root that was given
 *                                comes first
 *
 * A data.path found nowhere stays as it is: it may lie below data.root on another host. */
#include "config/parts.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Set a key's text in tree and struct; the node keeps saying where it was written. A node that was refused
 * may be missing or of another type. */
static void set_text(struct ddp_config *cfg, const struct ddp_key *key, const char *text)
{
    struct ddp_node *node = (struct ddp_node *)(uintptr_t)ddp_node_get(cfg->tree, key->name);
    const char *copy = ddp_arena_strdup(cfg->arena, text);
    if (node && node->type == DDP_NODE_STRING)
        node->s = copy;
    *(const char **)((char *)cfg + key->offset) = copy;
}

static void set_default(struct ddp_config *cfg, const char *name, const char *text)
{
    const struct ddp_key *key = ddp_key_find(ddp_config_keys, name);
    if (!(*(const char **)((char *)cfg + key->offset))[0])
        set_text(cfg, key, text);
}

static void set_run_name(struct ddp_config *cfg, const char *path)
{
    const char *slash = path ? strrchr(path, '/') : NULL;
    char *name = ddp_arena_strdup(cfg->arena, path ? slash ? slash + 1 : path : "run");
    char *dot = strrchr(name, '.');
    if (dot && dot != name)
        *dot = '\0';
    set_default(cfg, "run.name", name[0] ? name : "run");
}

static char *join(struct ddp_config *cfg, const char *folder, const char *rest)
{
    while (strncmp(rest, "./", 2) == 0)
        for (rest += 2; *rest == '/'; rest++)
            ;
    if (rest[0] == '/' || !folder[0])
        return ddp_arena_strdup(cfg->arena, rest);
    size_t n = strlen(folder) + strlen(rest) + 2;
    char *path = ddp_arena_alloc(cfg->arena, n);
    snprintf(path, n, "%s%s%s", folder, folder[strlen(folder) - 1] == '/' ? "" : "/", rest);
    return path;
}

/* The folder that what stands in a node is relative to; "": the working directory is gone. A config that
 * comes through a pipe lies nowhere. */
static const char *folder_of(struct ddp_config *cfg, const struct ddp_node *node)
{
    char here[PATH_MAX];
    if (!getcwd(here, sizeof here))
        here[0] = '\0';
    const char *slash = node && node->line > 0 ? strrchr(node->file, '/') : NULL;
    if (!slash || strncmp(node->file, "/dev/", 5) == 0 || strncmp(node->file, "/proc/", 6) == 0)
        return ddp_arena_strdup(cfg->arena, here);
    char *folder = ddp_arena_strdup(cfg->arena, node->file);
    folder[slash == node->file ? 1 : slash - node->file] = '\0';
    return join(cfg, here, folder);
}

/* data.root is absolute by now. */
static void find_data(struct ddp_config *cfg, const struct ddp_key *key)
{
    const char *folder = folder_of(cfg, ddp_node_get(cfg->tree, key->name));
    const struct ddp_node *root = ddp_node_get(cfg->tree, "data.root");
    const bool root_given = root && strcmp(root->file, DDP_DEFAULT_FILE) != 0;
    const char *at[2] = {join(cfg, folder, cfg->data.path), join(cfg, cfg->data.root, cfg->data.path)};
    for (int i = 0; i < 2; i++)
        if (ddp_path_exists(at[i ^ root_given])) {
            set_text(cfg, key, at[i ^ root_given]);
            return;
        }
    if (strcmp(folder, cfg->data.root) != 0)
        cfg->data_beside = folder;
}

void ddp_config_place(struct ddp_config *cfg, const char *path)
{
    const char *dir = getenv("DDP_DATA_DIR");
    set_default(cfg, "data.root", dir && dir[0] ? dir : "data");
    set_run_name(cfg, path);
    for (const struct ddp_key *key = ddp_config_keys; key->name; key++) {
        const char *value = key->flags & DDP_KEY_PATH ? *(const char **)((char *)cfg + key->offset) : "";
        if (!value[0] || value[0] == '/')
            continue;
        if (strcmp(key->name, "data.path") == 0)
            find_data(cfg, key);
        else
            set_text(cfg, key, join(cfg, folder_of(cfg, ddp_node_get(cfg->tree, key->name)), value));
    }
}
