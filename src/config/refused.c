/* Keys that were refused while a config is loaded: what is read from them is a default that nobody asked for,
 * and no rule may complain about it. */
#include "config/parts.h"

#include <string.h>

void ddp_config_refuse(struct ddp_config *cfg, const char *key)
{
    if (cfg->refused && strcmp(cfg->refused->key, key) == 0)
        return;
    struct ddp_refused *r = ddp_arena_alloc(cfg->arena, sizeof *r);
    *r = (struct ddp_refused){ddp_arena_strdup(cfg->arena, key), cfg->refused};
    cfg->refused = r;
}

/* "optim" for "optim.lr" and "optim[0]", "model.layers" for "model.layers[3].out". */
static bool begins(const char *path, const char *with)
{
    const size_t n = strlen(with);
    return strncmp(path, with, n) == 0 && strchr(".[", path[n]); /* strchr finds the end of path, too */
}

bool ddp_config_usable(const struct ddp_config *cfg, const char *key)
{
    for (const struct ddp_refused *r = cfg->refused; r; r = r->next)
        if (begins(r->key, key) || begins(key, r->key))
            return false;
    return true;
}
