/* Reading all of a data set. */
#include "sets.h"

#include "data/data.h"
#include "fuzz.h"

enum { MOST_SAMPLES = 2000 };

static void read_split(const struct ddp_config *cfg, enum ddp_split split)
{
    struct ddp_error err = {0};
    struct ddp_dataset *ds = NULL;
    const int status = ddp_dataset_open(cfg, split, &ds, &err);
    FUZZ_CHECK_WORDS(status, err);
    if (status)
        return;
    fuzz_taken++;
    const struct ddp_dataset_info *info = &ds->info;
    void *x = malloc(ddp_dataset_input_bytes(info)), *y = malloc(ddp_dataset_answer_bytes(info));
    char hex[65];
    FUZZ_CHECK(x && y);
    for (int64_t i = 0; i < info->count && i < MOST_SAMPLES; i++)
        if (ddp_dataset_get(ds, i, x, y, &err) == 0 && info->targets == 0)
            FUZZ_CHECK(*(int32_t *)y >= 0 && *(int32_t *)y < info->classes);
    ds->ops->digest(ds->self, hex, &err);
    free(x);
    free(y);
    ddp_dataset_close(ds);
}

void fuzz_read_sets(const char *const *overrides, int n)
{
    struct ddp_config *cfg = NULL;
    struct ddp_error err = {0};
    const struct ddp_config_options opt = {.overrides = overrides, .noverrides = n};
    if (ddp_config_load(&opt, &cfg, &err) != 0) {
        fprintf(stderr, "%s\n", err.text);
        abort();
    }
    read_split(cfg, DDP_SPLIT_TRAIN);
    read_split(cfg, DDP_SPLIT_TEST);
    ddp_config_destroy(cfg);
}
