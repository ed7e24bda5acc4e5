/* Whether RUN/config.cfg is still what the run recorded: doing another one again proves nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "again.h"
#include "config/config.h"
#include "ddp/dataset.h"
#include "differ.h"

enum { MOST_NAMED = 3 };

/* The hash that the run would record of this config, against that of its first leg. */
static bool has_recorded_hash(const struct ddp_past *p, const struct ddp_config *cfg)
{
    const char *then = ddp_past_text(p, "legs[0].config_hash"),
               *lock = ddp_past_text(p, "gpu.plan_lock_sha256");
    char hex[65], both[512];
    ddp_config_hash(cfg, hex);
    snprintf(both, sizeof both, "%s%.128s", hex, lock);
    if (*lock)
        ddp_sha256_text(both, strlen(both), hex);
    return strcmp(hex, *then ? then : ddp_past_text(p, "config_hash")) == 0;
}

/* Whether a result depends on it. A key that config.json does not have is younger than the record. */
static bool counts(const struct ddp_difference *d)
{
    return d->weight != DDP_WEIGHT_NONE && d->weight != DDP_WEIGHT_DOUBT &&
           (strcmp(d->a, "-") != 0 || strchr(d->key, '['));
}

/* "optim.lr is 0.2, not 0.05; ..; and 4 keys more" into *out; how many differ. */
static int name_keys(const struct ddp_differences *found, struct ddp_text *out)
{
    int n = 0;
    for (int i = 0; i < found->n; i++) {
        const struct ddp_difference *d = &found->item[i];
        if (counts(d) && n++ < MOST_NAMED)
            ddp_text_add(out, "%s%s is %.60s, not %.60s", n > 1 ? "; " : "", d->key, d->b, d->a);
    }
    if (n > MOST_NAMED)
        ddp_text_add(out, "; and %d key%s more", n - MOST_NAMED, ddp_plural(n - MOST_NAMED));
    return n;
}

/* The values in config.json against those of config.cfg: how many differ, and which. */
static int compare_values(const struct ddp_past *p, const struct ddp_config *cfg, struct ddp_text *out)
{
    char *dump = NULL;
    if (ddp_config_dump_json(cfg, &dump, NULL) != 0)
        return 0;
    json_t *now = json_loads(dump, 0, NULL);
    struct ddp_differences found;
    ddp_differ_configs(p->config, now, &found);
    const int n = name_keys(&found, out);
    ddp_differences_finish(&found);
    json_decref(now);
    free(dump);
    return n;
}

bool ddp_again_check_config(const struct ddp_past *p, const struct ddp_config *cfg, struct ddp_again *a)
{
    struct ddp_text keys;
    if (has_recorded_hash(p, cfg)) {
        ddp_again_note(a, DDP_AGAIN_SAME, "config", "as recorded");
        return true;
    }
    if (!p->config) {
        ddp_again_note(a, a->same_program ? DDP_AGAIN_MISSING : DDP_AGAIN_OTHER, "config",
                       "%s/config.cfg has another hash than the run recorded, and no config.json that can be "
                       "read tells why",
                       p->path);
        return !a->same_program;
    }
    ddp_text_init(&keys);
    const int n = compare_values(p, cfg, &keys);
    const bool both = n == 0 && a->same_program && !*ddp_past_text(p, "gpu.plan_lock_sha256");
    if (n > 0)
        ddp_again_note(a, DDP_AGAIN_MISSING, "config",
                       "%s/config.cfg is not what the run recorded (%s): write the values of its config.json "
                       "back into it, or start an experiment of its own with ddp-launch",
                       p->path, keys.s);
    else if (both)
        ddp_again_note(a, DDP_AGAIN_MISSING, "config",
                       "%s/config.cfg is not what the run recorded (another hash), and neither is its "
                       "config.json: bring both back from a copy of the run",
                       p->path);
    else
        ddp_again_note(a, DDP_AGAIN_SAME, "config", "the values that were recorded");
    ddp_text_finish(&keys);
    return n == 0 && !both;
}
