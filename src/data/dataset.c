/* Data sets: the list of formats, opening one as the config describes it. */
#include "data/data.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "data/formats.h"
#include "data/scaling.h"

enum { MAX_REGISTERED = 32 };

static const struct ddp_dataset_ops *const built_in[] = {
    &ddp_digits_format, &ddp_idx_format,      &ddp_cifar10_format,  &ddp_cifar100_format, &ddp_packed_format,
    &ddp_csv_format,    &ddp_idx_real_format, &ddp_friedman_format, &ddp_noise_format,    &ddp_folder_format};
static const struct ddp_dataset_ops *registered[MAX_REGISTERED];
static int nregistered;
static pthread_mutex_t registry = PTHREAD_MUTEX_INITIALIZER;

const struct ddp_dataset_ops *ddp_dataset_format_at(int i)
{
    const struct ddp_dataset_ops *ops = NULL;
    pthread_mutex_lock(&registry);
    if (i >= 0 && i < (int)DDP_COUNT(built_in))
        ops = built_in[i];
    else if (i >= (int)DDP_COUNT(built_in) && i < (int)DDP_COUNT(built_in) + nregistered)
        ops = registered[i - (int)DDP_COUNT(built_in)];
    pthread_mutex_unlock(&registry);
    return ops;
}

static const struct ddp_dataset_ops *find_format(const char *name)
{
    const struct ddp_dataset_ops *ops;
    for (int i = 0; (ops = ddp_dataset_format_at(i)) != NULL; i++)
        if (strcmp(ops->name, name) == 0)
            return ops;
    return NULL;
}

int ddp_dataset_register(const struct ddp_dataset_ops *ops, struct ddp_error *err)
{
    if (!ops || !ops->name || !ops->name[0])
        return ddp_fail(err, DDP_E_USAGE, "ddp_dataset_register: a data set format needs a name");
    const struct {
        const char *name;
        bool missing;
    } members[] = {{"open", !ops->open},
                   {"info", !ops->info},
                   {"get", !ops->get && !ops->get_real},
                   {"digest", !ops->digest},
                   {"close", !ops->close}};
    for (size_t i = 0; i < DDP_COUNT(members); i++)
        if (members[i].missing)
            return ddp_fail(err, DDP_E_USAGE,
                            "ddp_dataset_register: format '%s' has no %s(), which is required", ops->name,
                            members[i].name);
    if (find_format(ops->name))
        return ddp_fail(err, DDP_E_USAGE,
                        "ddp_dataset_register: there is a data set format '%s' already; choose "
                        "another name",
                        ops->name);
    int rc = 0;
    pthread_mutex_lock(&registry);
    if (nregistered < MAX_REGISTERED)
        registered[nregistered++] = ops;
    else
        rc = ddp_fail(err, DDP_E_USAGE,
                      "ddp_dataset_register: no room for format '%s': %d are registered already", ops->name,
                      MAX_REGISTERED);
    pthread_mutex_unlock(&registry);
    return rc;
}

/* ---- open ------------------------------------------------------------------------------------ */

static int unknown_format(const struct ddp_config *cfg, struct ddp_error *err)
{
    const char *format = cfg->data.format;
    char where[512];
    struct ddp_text names;
    ddp_text_init(&names);
    const struct ddp_dataset_ops *ops;
    const char *nearest = "";
    int best = 1 << 20;
    for (int i = 0; (ops = ddp_dataset_format_at(i)) != NULL; i++) {
        ddp_text_add(&names, "%s%s", i ? ", " : "", ops->name);
        int distance = ddp_edit_distance(format, ops->name);
        if (distance < best) {
            best = distance;
            nearest = ops->name;
        }
    }
    int rc = ddp_error_add(
        err, DDP_E_CONFIG, "%sdata.format = \"%s\" is no known format; known are %s; nearest is %s",
        ddp_config_where(cfg, "data.format", where, sizeof where), format, names.s, nearest);
    ddp_text_finish(&names);
    return rc;
}

bool ddp_dataset_is_made(const char *format)
{
    return strcmp(format, ddp_digits_format.name) == 0 || strcmp(format, ddp_friedman_format.name) == 0 ||
           strcmp(format, ddp_noise_format.name) == 0;
}

/* What every format must deliver; said here once so that the formats of others are held to it too. */
static int check_info(const struct ddp_dataset_ops *ops, const struct ddp_dataset_info *info,
                      struct ddp_error *err)
{
    const struct ddp_shape *s = &info->shape;
    const bool numbers = info->real || info->targets > 0;
    if (numbers ? !ops->get_real : !ops->get)
        return ddp_fail(err, DDP_E_USAGE, "its format '%s' has no %s, which samples of %s are read with",
                        ops->name, numbers ? "get_real" : "get",
                        numbers ? "real numbers" : "pictures and labels");
    if (info->count < 1)
        return ddp_fail(err, DDP_E_DATA, "holds no sample");
    if (info->count > UINT32_MAX)
        return ddp_fail(err, DDP_E_DATA,
                        "holds %lld samples; at most 4294967295 can be told apart by the random numbers",
                        (long long)info->count);
    if (info->real && (s->c < 1 || s->c > 1 << 20 || s->h < 1 || s->w < 1))
        return ddp_fail(err, DDP_E_DATA, "has inputs of shape [%d, %d, %d]; at least one number is needed",
                        s->c, s->h, s->w);
    if (!info->real && (s->c < 1 || s->c > 4 || s->h < 1 || s->w < 1))
        return ddp_fail(err, DDP_E_DATA,
                        "has pictures of shape [%d, %d, %d]; allowed are 1 to 4 channels and at least "
                        "one pixel",
                        s->c, s->h, s->w);
    if (info->targets < 0 || (info->targets > 0 && info->classes != 0))
        return ddp_fail(err, DDP_E_DATA, "has %d targets and %d classes; it wants one kind", info->targets,
                        info->classes);
    if (info->targets == 0 && info->classes < 1)
        return ddp_fail(err, DDP_E_DATA, "has %d classes; at least 1 is needed", info->classes);
    return 0;
}

/* What is written for pictures and cannot act on real numbers. */
static int check_kind(const struct ddp_config *cfg, const struct ddp_dataset_info *info,
                      struct ddp_error *err)
{
    char where[512];
    const struct {
        const char *key;
        bool on, pictures;
    } keys[] = {{"data.crop_padding", cfg->data.crop_padding > 0, true},
                {"data.flip", cfg->data.flip, true},
                {"data.cutout", cfg->data.cutout > 0, true},
                {"data.crop_area", cfg->data.crop_area.n > 0, true},
                {"data.rotate", cfg->data.rotate > 0, true},
                {"data.translate", cfg->data.translate > 0, true},
                {"data.scale", cfg->data.scale.n > 0, true},
                {"data.shear", cfg->data.shear > 0, true},
                {"data.brightness", cfg->data.brightness > 0, true},
                {"data.contrast", cfg->data.contrast > 0, true},
                {"data.saturation", cfg->data.saturation > 0, true},
                {"data.hue", cfg->data.hue > 0, true},
                {"data.mixup", cfg->data.mixup > 0, true},
                {"data.normalize_targets", cfg->data.normalize_targets, false}};
    for (size_t i = 0; i < DDP_COUNT(keys); i++)
        if (keys[i].on && (keys[i].pictures ? info->real : info->targets == 0))
            return ddp_fail(err, DDP_E_CONFIG, "%s%s is for %s, which this data is not; leave it out",
                            ddp_config_where(cfg, keys[i].key, where, sizeof where), keys[i].key,
                            keys[i].pictures ? "pictures" : "real targets");
    return ddp_augment_check(cfg, info, err);
}

static int check_floats(const struct ddp_config *cfg, const char *key, const struct ddp_floats *f,
                        int channels, bool positive, struct ddp_error *err)
{
    char where[512];
    ddp_config_where(cfg, key, where, sizeof where);
    if (f->n != 0 && f->n != 1 && f->n != channels)
        return ddp_fail(err, DDP_E_CONFIG,
                        "%s%s has %d value%s, but the data has %d channel%s; give one for all, or one "
                        "for each",
                        where, key, f->n, ddp_plural(f->n), channels, ddp_plural(channels));
    for (int i = 0; positive && i < f->n; i++)
        if (!(f->v[i] > 0.0))
            return ddp_fail(err, DDP_E_CONFIG, "%s%s[%d] must be above 0: pixels are divided by it", where,
                            key, i);
    return 0;
}

/* Keys that this data cannot take: errors say where they were given. */
static int check_keys(const struct ddp_config *cfg, const struct ddp_dataset_info *info,
                      struct ddp_error *err)
{
    int status = check_floats(cfg, "data.mean", &cfg->data.mean, info->shape.c, false, err);
    if (status == 0)
        status = check_floats(cfg, "data.std", &cfg->data.std, info->shape.c, true, err);
    return status ? status : check_kind(cfg, info, err);
}

bool ddp_dataset_known(const struct ddp_config *cfg)
{
    return find_format(cfg->data.format) != NULL;
}

int ddp_dataset_check(const struct ddp_config *cfg, struct ddp_error *err)
{
    return ddp_dataset_known(cfg) ? 0 : unknown_format(cfg, err);
}

/* The statistics are the training split's, whichever is opened. */
static int scale(const struct ddp_config *cfg, const struct ddp_dataset_conf *conf, struct ddp_dataset *ds,
                 struct ddp_error *err)
{
    struct ddp_dataset_info info = ds->info;
    void *train = ds->self;
    int status = 0;
    const bool needed =
        (info.real && cfg->data.normalize) || (info.targets > 0 && cfg->data.normalize_targets);
    if (!needed)
        return 0;
    if (ds->split != DDP_SPLIT_TRAIN) {
        *conf->at_fault = DDP_SPLIT_TRAIN;
        status = ds->ops->open(conf, DDP_SPLIT_TRAIN, &train, err);
        if (status)
            return status;
        ds->ops->info(train, &info);
        status = ddp_data_blame(conf, DDP_SPLITS_BOTH, ddp_dataset_check_splits(&info, &ds->info, err));
    }
    if (status == 0)
        status = ddp_scaling_make(cfg, ds->ops, train, &info, &ds->inputs, &ds->targets, err);
    if (status == 0)
        *conf->at_fault = (int)ds->split;
    if (train != ds->self)
        ds->ops->close(train);
    return status;
}

/* Checked with the config, which tests make by hand. */
static struct ddp_shape shape_of(const struct ddp_floats *s)
{
    return s->n == 3 ? (struct ddp_shape){(int)s->v[0], (int)s->v[1], (int)s->v[2]} : (struct ddp_shape){0};
}

/* Which data an error is of, and which split, where it is one's alone. */
static int name_split(struct ddp_error *err, const char *name, int split)
{
    return ddp_error_prefix(err, "data '%s'%s", name,
                            split == DDP_SPLIT_TRAIN  ? ", train split"
                            : split == DDP_SPLIT_TEST ? ", test split"
                                                      : "");
}

static int open_split(const struct ddp_config *cfg, enum ddp_split split, bool glance,
                      struct ddp_dataset **out, struct ddp_error *err)
{
    const char *env = getenv("DDP_DATA_DIR"), *root = cfg->data.root;
    int at_fault = (int)split;
    struct ddp_dataset_conf conf = {
        .at_fault = &at_fault,
        .format = cfg->data.format ? cfg->data.format : "",
        .root = root && root[0] ? root
                : env && env[0] ? env
                                : "data",
        .path = cfg->data.path ? cfg->data.path : "",
        .beside = cfg->data_beside,
        .files = cfg->data.files,
        .train_count = cfg->data.train_count,
        .test_count = cfg->data.test_count,
        .seed = (uint64_t)cfg->data.seed,
        .verify = cfg->data.verify && !glance,
        .glance = glance,
        .inputs = cfg->data.inputs,
        .targets = cfg->data.targets,
        .shape = shape_of(&cfg->data.shape),
        .classes = (int)cfg->data.classes,
    };
    const int64_t limit = split == DDP_SPLIT_TRAIN ? cfg->data.limit_train : cfg->data.limit_test;
    const char *name = cfg->data.name && cfg->data.name[0] ? cfg->data.name : conf.format;
    const struct ddp_dataset_ops *ops = find_format(conf.format);
    if (!ops)
        return unknown_format(cfg, err);

    bool key = false; /* a key is wrong, and its error says where it stands */
    struct ddp_dataset *ds = ddp_calloc(1, sizeof *ds);
    ds->ops = ops;
    ds->split = split;
    int rc = ops->open(&conf, split, &ds->self, err);
    if (rc)
        goto free_ds;
    ops->info(ds->self, &ds->info);
    rc = check_info(ops, &ds->info, err);
    if (!rc) {
        rc = check_keys(cfg, &ds->info, err);
        key = rc != 0;
    }
    if (!rc && !glance)
        rc = scale(cfg, &conf, ds, err);
    if (!rc && glance && limit > 0 && limit < ds->info.count)
        ds->info.count = limit;
    else if (!rc && !glance)
        rc = ddp_dataset_limit(ds, limit, conf.seed, err);
    if (rc)
        goto close_self;
    *out = ds;
    return 0;

close_self:
    ddp_scaling_finish(&ds->inputs);
    ddp_scaling_finish(&ds->targets);
    ops->close(ds->self);
free_ds:
    free(ds);
    return key ? rc : name_split(err, name, rc == DDP_E_CONFIG ? DDP_SPLITS_BOTH : at_fault);
}

int ddp_dataset_open(const struct ddp_config *cfg, enum ddp_split split, struct ddp_dataset **out,
                     struct ddp_error *err)
{
    return open_split(cfg, split, false, out, err);
}

int ddp_dataset_glance(const struct ddp_config *cfg, enum ddp_split split, struct ddp_dataset **out,
                       struct ddp_error *err)
{
    return open_split(cfg, split, true, out, err);
}

void ddp_dataset_close(struct ddp_dataset *ds)
{
    if (!ds)
        return;
    ddp_scaling_finish(&ds->inputs);
    ddp_scaling_finish(&ds->targets);
    ds->ops->close(ds->self);
    free(ds->pick);
    free(ds);
}
