/* The data set format "csv": tables of numbers, train.csv and test.csv (or what data.files names) below
 * data.path; some columns are predicted from others. Tables are read into the memory of each rank. */
#include <stdlib.h>
#include <string.h>

#include "data/formats.h"
#include "data/table.h"

struct csv {
    struct ddp_table table; /* inputs, then targets */
    int inputs, targets;
};

static char *path_of(const struct ddp_dataset_conf *conf, enum ddp_split split)
{
    static const char *const names[] = {"train.csv", "test.csv"};
    return ddp_data_path(conf, conf->files.n == 2 ? conf->files.v[split] : names[split]);
}

static bool has(const struct ddp_strings *list, const char *name)
{
    for (int i = 0; i < list->n; i++)
        if (strcmp(list->v[i], name) == 0)
            return true;
    return false;
}

/* The columns to read, inputs first: what the config says, by the training file's names. v: room for all. */
static int choose(const struct ddp_dataset_conf *conf, const struct ddp_table *all, const char **v,
                  struct csv *d, struct ddp_error *err)
{
    const char *last = all->name[all->columns - 1];
    const struct ddp_strings one = {1, &last}, *targets = conf->targets.n ? &conf->targets : &one;
    int n = 0;
    if (conf->inputs.n > all->columns || targets->n > all->columns)
        return ddp_fail(err, DDP_E_CONFIG,
                        "data.inputs and data.targets name more columns than the table has: %d",
                        all->columns);
    for (int i = 0; i < conf->inputs.n; i++) {
        const struct ddp_strings before = {n, v};
        if (has(&before, conf->inputs.v[i]))
            return ddp_fail(err, DDP_E_CONFIG, "column \"%s\" is twice in data.inputs", conf->inputs.v[i]);
        v[n++] = conf->inputs.v[i];
    }
    for (int i = 0; i < all->columns && conf->inputs.n == 0; i++)
        if (!has(targets, all->name[i]))
            v[n++] = all->name[i];
    d->inputs = n;
    for (int i = 0; i < targets->n; i++) {
        const struct ddp_strings inputs = {d->inputs, v}, before = {n, v};
        if (has(&before, targets->v[i]))
            return ddp_fail(err, DDP_E_CONFIG, "column \"%s\" is %s data.targets", targets->v[i],
                            has(&inputs, targets->v[i]) ? "in data.inputs and in" : "twice in");
        v[n++] = targets->v[i];
    }
    d->targets = targets->n;
    if (d->inputs == 0)
        return ddp_fail(err, DDP_E_CONFIG, "no column is left to predict from: all are targets");
    return 0;
}

static void csv_close(void *ds)
{
    struct csv *d = ds;
    ddp_table_finish(&d->table);
    free(d);
}

static int csv_open(const struct ddp_dataset_conf *conf, enum ddp_split split, void **out,
                    struct ddp_error *err)
{
    if (conf->files.n != 0 && conf->files.n != 2)
        return ddp_fail(
            err, DDP_E_CONFIG,
            "data.files has %d names; format \"csv\" takes two: the training table, the test table",
            conf->files.n);
    char *train = path_of(conf, DDP_SPLIT_TRAIN), *path = path_of(conf, split);
    struct csv *d = ddp_calloc(1, sizeof *d);
    struct ddp_table all = {0};
    const char **names = NULL;
    int status = 0;
    for (int i = 0; i < 2 && status == 0; i++)
        if (!ddp_path_exists(i ? path : train)) {
            const char *file = strrchr(i ? path : train, '/');
            status = ddp_data_blame(conf, i ? (int)split : DDP_SPLIT_TRAIN,
                                    ddp_data_missing(conf, file ? file + 1 : "table", err));
        }
    if (status == 0)
        status = ddp_data_blame(conf, DDP_SPLIT_TRAIN, ddp_table_names(train, &all, err));
    if (status == 0) {
        names = ddp_calloc((size_t)all.columns * 2 + 1, sizeof *names);
        status = choose(conf, &all, names, d, err);
    }
    const struct ddp_strings wanted = {d->inputs + d->targets, names};
    if (status == 0) /* what the keys name and the first table has not */
        status = ddp_data_blame(conf, DDP_SPLITS_BOTH, ddp_table_find(train, &all, &wanted, err));
    if (status == 0) {
        status = ddp_table_read(path, &wanted, &d->table, err);
    }
    free(names);
    ddp_table_finish(&all);
    free(train);
    free(path);
    if (status)
        csv_close(d);
    else
        *out = d;
    return status;
}

static void csv_info(const void *ds, struct ddp_dataset_info *info)
{
    const struct csv *d = ds;
    *info = (struct ddp_dataset_info){.count = d->table.rows,
                                      .shape = {d->inputs, 1, 1},
                                      .real = true,
                                      .targets = d->targets,
                                      .input_names = (const char *const *)d->table.name,
                                      .target_names = (const char *const *)d->table.name + d->inputs};
}

static int csv_get(const void *ds, int64_t index, void *inputs, void *targets, struct ddp_error *err)
{
    const struct csv *d = ds;
    const float *row = d->table.value + index * d->table.columns;
    (void)err;
    memcpy(inputs, row, (size_t)d->inputs * sizeof *row);
    memcpy(targets, row + d->inputs, (size_t)d->targets * sizeof *row);
    return 0;
}

/* Names and numbers: the same table written in another way is the same data. */
static int csv_digest(const void *ds, char hex[65], struct ddp_error *err)
{
    const struct csv *d = ds;
    struct ddp_sha256 sha;
    (void)err;
    ddp_sha256_init(&sha);
    for (int i = 0; i < d->table.columns; i++)
        ddp_sha256_update(&sha, d->table.name[i], strlen(d->table.name[i]) + 1);
    ddp_sha256_update(&sha, d->table.value,
                      (size_t)d->table.rows * (size_t)d->table.columns * sizeof *d->table.value);
    ddp_sha256_hex(&sha, hex);
    return 0;
}

const struct ddp_dataset_ops ddp_csv_format = {
    .name = "csv",
    .doc = "tables of numbers: columns to predict from, and real targets",
    .open = csv_open,
    .info = csv_info,
    .get_real = csv_get,
    .digest = csv_digest,
    .close = csv_close,
};
