/* Whether the data of a run are here, and the same. */
#include <stdlib.h>
#include <string.h>

#include "again.h"
#include "config/config.h"
#include "data/data.h"

static void check_split(const struct ddp_past *p, const struct ddp_config *cfg, int split,
                        struct ddp_again *a)
{
    static const char *const names[2] = {"training data", "held-out data"};
    static const char *const at[2] = {"data[0].sha256", "data[1].sha256"};
    const char *then = ddp_past_text(p, at[split]);
    struct ddp_error err = {0};
    struct ddp_dataset *set = NULL;
    char hex[65];
    int status = ddp_dataset_open(cfg, split ? DDP_SPLIT_TEST : DDP_SPLIT_TRAIN, &set, &err);
    if (status == 0)
        status = set->ops->digest(set->self, hex, &err);
    if (status)
        ddp_again_note(a, DDP_AGAIN_MISSING, names[split], "%s", err.text);
    else if (strcmp(hex, then) != 0)
        ddp_again_note(
            a, split ? DDP_AGAIN_OTHER : DDP_AGAIN_MISSING, names[split],
            "they are others: %.12s then, %.12s here; name the right ones with data.root=.. or data.path=..",
            then, hex);
    else
        ddp_again_note(a, DDP_AGAIN_SAME, names[split], "%.12s, as recorded", hex);
    ddp_dataset_close(set);
}

void ddp_again_check_data(const struct ddp_past *p, const struct ddp_again_options *opt, struct ddp_again *a)
{
    char path[4200];
    struct ddp_config *cfg;
    struct ddp_error err = {0};
    snprintf(path, sizeof path, "%s/config.cfg", p->path);
    const struct ddp_config_options config = {
        .path = path, .overrides = opt->words, .noverrides = opt->nwords};
    if (ddp_config_load(&config, &cfg, &err) != 0) {
        ddp_again_note(a, DDP_AGAIN_MISSING, "config", "%s", err.text);
        return;
    }
    const bool same = ddp_again_check_config(p, cfg, a);
    for (int split = 0; split < 2 && same; split++)
        check_split(p, cfg, split, a);
    ddp_config_destroy(cfg);
}
